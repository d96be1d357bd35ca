//! Progress bars of long work: one live line each on standard error, a plain line when it ends.
//!
//! Where standard error is no terminal, or with `--quiet`, only the closing line is written.

use std::{
    collections::BTreeMap,
    fmt::Write,
    io,
    time::{Duration, Instant},
};

use console::style;
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rhapsode_script::{Progress, ProgressState, words};

/// With a known number of steps.
const BAR: &str =
    "{prefix:.cyan} {bar:24.green/dim} {human_pos}/{human_len} · {speed} · ETA {eta} · {wide_msg}";
/// Without one.
const SPINNER: &str =
    "{prefix:.cyan} {spinner:.green} {human_pos} · {speed} · {elapsed} · {wide_msg}";

/// Work that is done within this time leaves no line: sampling ten points should not talk.
const TRIFLE: Duration = Duration::from_millis(100);

/// The bars of the running cell.
pub struct Bars {
    /// Draws the live lines; hidden where nobody would see them.
    multi: MultiProgress,
    /// By the id of the work.
    bars: BTreeMap<u64, Bar>,
}

/// One piece of work.
struct Bar {
    /// The live line.
    line: ProgressBar,
    /// When its first step was reported.
    started: Instant,
    /// That first step; `run.more(..)` begins where the last run ended.
    first: u64,
    /// The newest state.
    newest: Progress,
}

impl Bars {
    /// Bars that are drawn live or only leave their closing lines.
    pub fn new(live: bool) -> Self {
        let target = if live {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            multi: MultiProgress::with_draw_target(target),
            bars: BTreeMap::new(),
        }
    }

    /// Takes a new state of one piece of work; gives its closing line when it ended and was no trifle.
    pub fn update(&mut self, progress: Progress) -> Option<String> {
        let multi = &self.multi;
        let bar = self
            .bars
            .entry(progress.id)
            .or_insert_with(|| Bar::start(multi, &progress));
        bar.show(progress);
        if bar.newest.state == ProgressState::Running {
            return None;
        }
        let id = bar.newest.id;
        self.bars.remove(&id).and_then(Bar::close)
    }

    /// Closes what is still running because the cell ended; gives the closing lines.
    pub fn close_all(&mut self, state: ProgressState) -> Vec<String> {
        std::mem::take(&mut self.bars)
            .into_values()
            .filter_map(|mut bar| {
                bar.newest.state = state;
                bar.close()
            })
            .collect()
    }

    /// Takes the live lines away while `write` writes to the terminal, then draws them again.
    pub fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        if self.bars.is_empty() {
            write()
        } else {
            self.multi.suspend(write)
        }
    }
}

impl Bar {
    /// A live line for work that has just been heard of.
    fn start(multi: &MultiProgress, progress: &Progress) -> Self {
        let line = match progress.total {
            Some(total) => ProgressBar::new(total).with_style(bar_style(BAR)),
            None => ProgressBar::no_length().with_style(bar_style(SPINNER)),
        };
        // The position is set before the line joins the others: steps of an earlier run are no speed.
        let line = multi.add(
            line.with_prefix(progress.label.clone())
                .with_position(progress.step),
        );
        line.reset_eta();
        Self {
            line,
            started: Instant::now(),
            first: progress.step,
            newest: progress.clone(),
        }
    }

    /// Moves the line on.
    fn show(&mut self, progress: Progress) {
        if let Some(total) = progress.total {
            self.line.set_length(total);
        }
        self.line.set_message(words::metrics(&progress.metrics));
        self.line.set_position(progress.step);
        self.newest = progress;
    }

    /// Takes the live line away and gives the one that stays; none for work that was done in no time.
    fn close(self) -> Option<String> {
        self.line.finish_and_clear();
        let elapsed = self.started.elapsed();
        let trifle = self.newest.state == ProgressState::Finished && elapsed < TRIFLE;
        (!trifle).then(|| closing_line(&self.newest, self.first, elapsed))
    }
}

/// The style of a live line, with steps a second in a width that does not jump.
fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key(
            "speed",
            |state: &indicatif::ProgressState, out: &mut dyn Write| {
                // A line that cannot be formatted is drawn without its speed.
                let _ = write!(out, "{}", words::speed(state.per_sec()));
            },
        )
        .progress_chars("━╸─")
}

/// The line that stays: what was done, how far, how fast, the newest metrics.
fn closing_line(progress: &Progress, first: u64, elapsed: Duration) -> String {
    let (sign, how) = match progress.state {
        ProgressState::Running | ProgressState::Finished => (style("✓").green(), ""),
        ProgressState::Interrupted => (style("■").yellow(), "interrupted at "),
        ProgressState::Failed => (style("✗").red(), "failed at "),
    };
    let of = match progress.total {
        Some(total) if total != progress.step => format!(" of {}", HumanCount(total)),
        _ => String::new(),
    };
    let steps = match how {
        "" => format!(
            "{} step{}{of} in {}",
            HumanCount(progress.step),
            if progress.step == 1 { "" } else { "s" },
            words::duration(elapsed)
        ),
        _ => format!(
            "{how}step {}{of} after {}",
            HumanCount(progress.step),
            words::duration(elapsed)
        ),
    };
    let mut line = format!(
        "{} {}  {steps}",
        sign.for_stderr(),
        style(progress.label.as_str()).for_stderr().cyan()
    );
    let done = progress.step.saturating_sub(first);
    if done > 0 && elapsed > Duration::ZERO {
        line += &format!(" · {}", words::speed(done as f64 / elapsed.as_secs_f64()));
    }
    if !progress.metrics.is_empty() {
        line += &format!(" · {}", words::metrics(&progress.metrics));
    }
    line
}

/// Writes closing lines to standard error.
pub fn write_lines(lines: &[String]) -> io::Result<()> {
    use io::Write;
    let mut stderr = io::stderr().lock();
    lines.iter().try_for_each(|line| writeln!(stderr, "{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(step: u64, state: ProgressState) -> Progress {
        Progress {
            id: 7,
            label: "fit rectified flow".into(),
            step,
            total: Some(3_000),
            metrics: vec![("loss".into(), 0.31249), ("accuracy".into(), 1.0)],
            state,
        }
    }

    fn plain(line: &str) -> String {
        console::strip_ansi_codes(line).into_owned()
    }

    #[test]
    fn the_closing_line_says_how_it_ended() {
        let line = |step, state, first, seconds| {
            plain(&closing_line(
                &progress(step, state),
                first,
                Duration::from_secs_f64(seconds),
            ))
        };
        assert_eq!(
            line(3_000, ProgressState::Finished, 0, 4.0),
            "✓ fit rectified flow  3,000 steps in 4.0 s · 750 steps/s · loss 0.3125 · accuracy 1"
        );
        assert_eq!(
            line(1_203, ProgressState::Interrupted, 1_003, 2.0),
            "■ fit rectified flow  interrupted at step 1,203 of 3,000 after 2.0 s · 100 steps/s · loss 0.3125 · accuracy 1"
        );
        assert_eq!(
            line(2, ProgressState::Failed, 2, 0.5),
            "✗ fit rectified flow  failed at step 2 of 3,000 after 500.0 ms · loss 0.3125 · accuracy 1"
        );
    }

    #[test]
    fn a_bar_lives_until_its_work_ends() {
        let mut bars = Bars::new(false);
        assert_eq!(bars.update(progress(1, ProgressState::Running)), None);
        assert_eq!(bars.update(progress(2, ProgressState::Running)), None);
        let line = bars
            .update(progress(9, ProgressState::Interrupted))
            .unwrap();
        assert!(
            plain(&line).contains("interrupted at step 9 of 3,000"),
            "{line}"
        );
        assert_eq!(bars.close_all(ProgressState::Failed), Vec::<String>::new());
        // Finished at once: nothing to tell.
        assert_eq!(bars.update(progress(3_000, ProgressState::Finished)), None);
    }

    #[test]
    fn work_that_never_said_how_it_ended_is_closed_with_the_cell() {
        let mut bars = Bars::new(false);
        bars.update(progress(12, ProgressState::Running));
        let lines = bars.close_all(ProgressState::Failed);
        assert_eq!(lines.len(), 1);
        assert!(
            plain(&lines[0]).starts_with("✗ fit rectified flow  failed at step 12 of 3,000"),
            "{lines:?}"
        );
    }
}
