//! `rhapsode bench`: what this machine can do, and how near the main operations come.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use rhapsode_script::bench::{self, Bound, Limits, Measured};

use crate::{error::Error, table};

/// Measures and prints.
pub fn run() -> Result<ExitCode, Error> {
    let limits = Limits::measure();
    say(&format!(
        "{} threads, {}\nlimits: {:.0} GFLOP/s, {:.1} GB/s read, {:.1} GB/s updated in place\n",
        limits.threads,
        limits.level.name(),
        limits.flops,
        limits.read,
        limits.update
    ))?;
    let head = ["operation", "time", "rate", "of the limit"].map(String::from);
    let mut rows = vec![head.to_vec()];
    bench::run(&limits, &mut |measured| rows.push(cells(&measured)))
        .map_err(|error| Error::Measure(error.to_string()))?;
    say(&table::render(&rows))?;
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|source| Error::Stream {
        what: "write to standard output",
        source,
    })
}

fn cells(measured: &Measured) -> Vec<String> {
    let unit = match measured.bound {
        Bound::Flops => "GFLOP/s",
        Bound::Read | Bound::Update => "GB/s",
    };
    vec![
        measured.name.to_string(),
        time(measured.seconds),
        format!("{:.1} {unit}", measured.rate),
        format!("{:.0}%", 100.0 * measured.share),
    ]
}

fn time(seconds: f64) -> String {
    if seconds < 1e-3 {
        format!("{:.1} us", 1e6 * seconds)
    } else {
        format!("{:.2} ms", 1e3 * seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_well() {
        let measured = Measured {
            name: "sum, 16 M",
            seconds: 2.5e-3,
            bound: Bound::Read,
            rate: 26.84,
            share: 0.839,
        };
        assert_eq!(
            cells(&measured),
            ["sum, 16 M", "2.50 ms", "26.8 GB/s", "84%"]
        );
        assert_eq!(time(1.25e-5), "12.5 us");
    }
}
