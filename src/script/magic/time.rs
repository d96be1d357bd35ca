//! `%time` and `%timeit`: how long code takes.

use std::time::{Duration, Instant};

use super::{Call, Magic, Outcome, Takes};
use crate::{Diagnostic, words::duration};

pub(super) const TIME: Magic = Magic {
    name: "time",
    line: Some("CODE"),
    cell: Some(""),
    takes: Takes::Code,
    code: true,
    doc: "Runs code and says how long it took. Its value is the cell's output, its variables stay.",
    run: time,
};

pub(super) const TIMEIT: Magic = Magic {
    name: "timeit",
    line: Some("CODE"),
    cell: Some(""),
    takes: Takes::Code,
    code: true,
    doc: "Runs code many times and says how long it takes. Seven rounds of so many runs that a round takes 0.1 s; \
          variables that the code declares end with it.",
    run: timeit,
};

/// Rounds of a measurement.
const ROUNDS: u32 = 7;
/// What a round should last.
const ROUND: Duration = Duration::from_millis(100);

fn time(call: &mut Call) -> Outcome {
    // Reading the code is no part of running it, except in a cell with magics of its own.
    let started;
    let outcome = if call.is_cell() {
        started = Instant::now();
        call.run_body()
    } else {
        let parsed = call.given_code()?;
        started = Instant::now();
        call.machine.run_parsed(call.source, &parsed)
    };
    let took = started.elapsed();
    call.print(format!("took {}", duration(took)));
    outcome
}

fn timeit(call: &mut Call) -> Outcome {
    let parsed = call.given_code()?;
    let mut round = |runs: u32| -> Result<Duration, Diagnostic> {
        let started = Instant::now();
        for _ in 0..runs {
            call.machine.run_block(call.source, &parsed)?;
        }
        Ok(started.elapsed())
    };
    let mut runs = 1;
    // The first run may fill caches; it is not counted.
    let mut took = round(1)?;
    while took < ROUND && runs < 100_000_000 {
        let one = (took / runs).max(Duration::from_nanos(1));
        let wanted = (ROUND.as_nanos() / one.as_nanos()).max(1) as u32;
        // Round numbers, and not more than ten times as many as are known to be fast.
        let next = 10u32
            .pow(wanted.ilog10())
            .clamp(runs + 1, runs.saturating_mul(10));
        runs = next;
        took = round(runs)?;
        if took * 2 >= ROUND {
            break;
        }
    }
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        seconds.push(round(runs)?.as_secs_f64() / f64::from(runs));
    }
    call.print(report(&seconds, runs));
    Ok(None)
}

/// `12.3 µs ± 0.4 µs a run (mean ± std of 7 rounds of 10,000 runs, best 11.9 µs)`.
fn report(seconds: &[f64], runs: u32) -> String {
    let count = seconds.len() as f64;
    let mean = seconds.iter().sum::<f64>() / count;
    let variance = seconds.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / count;
    let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let text = |seconds: f64| duration(Duration::from_secs_f64(seconds));
    format!(
        "{} ± {} a run (mean ± std of {} rounds of {runs} run{}, best {})",
        text(mean),
        text(variance.sqrt()),
        seconds.len(),
        if runs == 1 { "" } else { "s" },
        text(best)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_mean_spread_and_best() {
        assert_eq!(
            report(&[1e-3, 3e-3], 10),
            "2.0 ms ± 1.0 ms a run (mean ± std of 2 rounds of 10 runs, best 1.0 ms)"
        );
    }
}
