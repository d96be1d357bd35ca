//! A training's bar in a notebook: one display that is updated in place and ends as the closing line with a
//! small loss curve. HTML with inline styles only, and the curve as a picture: what a notebook keeps of it
//! survives saving, reloading, an untrusted reader and nbconvert. No script, no widget.

use std::time::{Duration, Instant};

use rhapsode_script::{Display, Progress, ProgressState, Record, words};

use crate::curve::Curve;

/// Time between two drawings of the curve.
const REDRAW: Duration = Duration::from_millis(250);
/// Work without metrics that is done within this time shows no bar: sampling ten points should not talk.
const TRIFLE: Duration = Duration::from_millis(100);

/// The bars of a running cell.
pub struct Bars {
    prefix: String,
    bars: Vec<Bar>,
    /// Records of which no bar is known yet: the first of a training comes before its bar.
    early: Vec<Record>,
}

/// A new state of a bar.
#[derive(Debug)]
pub struct Shown {
    /// What it looks like.
    pub display: Display,
    /// Whether it was shown before.
    pub update: bool,
}

struct Bar {
    newest: Progress,
    started: Instant,
    /// The step at which it began; `run.more(..)` begins where the last run ended.
    first: u64,
    shown: bool,
    curve: Curve,
    /// The curve as it was last drawn, and when.
    picture: Option<(Instant, String)>,
}

impl Bars {
    /// No bars yet; their display ids begin with `prefix`.
    pub fn new(prefix: String) -> Self {
        Self {
            prefix,
            bars: Vec::new(),
            early: Vec::new(),
        }
    }

    /// Takes a new state of one piece of work; gives what is to be shown of it.
    pub fn update(&mut self, progress: Progress) -> Option<Shown> {
        let at = match self
            .bars
            .iter()
            .position(|bar| bar.newest.id == progress.id)
        {
            Some(at) => at,
            None => {
                self.bars.push(Bar::new(&progress));
                self.bars.len() - 1
            }
        };
        let bar = self.bars.get_mut(at)?;
        bar.newest = progress;
        for record in std::mem::take(&mut self.early) {
            bar.record(&record);
        }
        let shown = bar.show(&self.prefix);
        if bar.newest.state != ProgressState::Running {
            self.bars.remove(at);
        }
        shown
    }

    /// Takes metrics for the curve of the bar that they belong to.
    pub fn record(&mut self, record: &Record) {
        // The newest one: work inside of work is newer.
        match self.bars.iter_mut().rev().find(|bar| bar.owns(record)) {
            Some(bar) => bar.record(record),
            // A loop that logs without a bar would else fill the memory.
            None => self.early = vec![record.clone()],
        }
    }

    /// Closes what still runs because the cell ended.
    pub fn close(&mut self, state: ProgressState) -> Vec<Shown> {
        let Self { bars, prefix, .. } = self;
        let closed = bars.drain(..).filter_map(|mut bar| {
            bar.newest.state = state;
            bar.show(prefix)
        });
        closed.collect()
    }
}

impl Bar {
    fn new(progress: &Progress) -> Self {
        Self {
            newest: progress.clone(),
            started: Instant::now(),
            first: progress.step.saturating_sub(1),
            shown: false,
            curve: Curve::default(),
            picture: None,
        }
    }

    /// Whether a record is of this work: `fit` of `fit rectified flow`, and a loop's are those of `log`.
    fn owns(&self, record: &Record) -> bool {
        let source = self.newest.label.split(' ').next();
        record.source == "log" || source == Some(record.source.as_str())
    }

    fn record(&mut self, record: &Record) {
        if !self.owns(record) {
            return;
        }
        let loss = record.values.iter().find(|(name, _)| name == "loss");
        if let Some((name, value)) = loss.or(record.values.first()) {
            self.curve.add(name, *value);
        }
    }

    fn show(&mut self, prefix: &str) -> Option<Shown> {
        let elapsed = self.started.elapsed();
        let trifle = self.newest.metrics.is_empty() && elapsed < TRIFLE;
        if !self.shown && trifle {
            return None;
        }
        let running = self.newest.state == ProgressState::Running;
        let is_fresh = |(at, _): &(Instant, String)| running && at.elapsed() < REDRAW;
        let picture = match self.picture.take().filter(is_fresh) {
            Some(picture) => picture,
            None => (Instant::now(), self.curve.picture()),
        };
        let line = line(&self.newest, self.first, elapsed);
        let text = match running {
            true => format!("{} {} {line}", self.newest.label, characters(&self.newest)),
            false => format!(
                "{} {}  {line}",
                sign(self.newest.state).0,
                self.newest.label
            ),
        };
        let html = html(&self.newest, &line, &picture.1);
        self.picture = Some(picture);
        let update = std::mem::replace(&mut self.shown, true);
        Some(Shown {
            display: Display {
                forms: vec![("text/html".into(), html), ("text/plain".into(), text)],
                id: Some(format!("{prefix}-{}", self.newest.id)),
            },
            update,
        })
    }
}

/// A mark for how work ended, and its colour.
fn sign(state: ProgressState) -> (&'static str, &'static str) {
    match state {
        ProgressState::Running | ProgressState::Finished => ("✓", "#2a8a3e"),
        ProgressState::Interrupted => ("■", "#b08000"),
        ProgressState::Failed => ("✗", "#c03030"),
    }
}

/// Steps, speed, what is left, metrics.
fn line(progress: &Progress, first: u64, elapsed: Duration) -> String {
    let step = words::count(progress.step);
    let of = |word: &str| match progress.total {
        Some(total) if total != progress.step => format!("{word}{}", words::count(total)),
        _ => String::new(),
    };
    let steps = if progress.step == 1 { "step" } else { "steps" };
    let took = words::duration(elapsed);
    let done = progress.step.saturating_sub(first) as f64;
    let speed = done / elapsed.as_secs_f64();
    let mut parts = match progress.state {
        ProgressState::Running => vec![format!("{step}{}", of("/"))],
        ProgressState::Finished => vec![format!("{step} {steps}{} in {took}", of(" of "))],
        ProgressState::Interrupted => {
            vec![format!(
                "interrupted at step {step}{} after {took}",
                of(" of ")
            )]
        }
        ProgressState::Failed => vec![format!("failed at step {step}{} after {took}", of(" of "))],
    };
    // Of a single step there is no speed yet.
    if done > 1.0 && speed.is_finite() {
        parts.push(words::speed(speed));
        let left = progress
            .total
            .map(|total| total.saturating_sub(progress.step) as f64 / speed);
        let left = left.and_then(|left| Duration::try_from_secs_f64(left).ok());
        if let (ProgressState::Running, Some(left)) = (progress.state, left) {
            parts.push(format!("ETA {}", words::duration(left)));
        }
    }
    if !progress.metrics.is_empty() {
        parts.push(words::metrics(&progress.metrics));
    }
    parts.join(" · ")
}

/// The part that is done, from 0 to 1.
fn part(progress: &Progress) -> Option<f64> {
    let total = progress.total.filter(|&total| total > 0)?;
    Some((progress.step as f64 / total as f64).clamp(0.0, 1.0))
}

/// A bar in characters.
fn characters(progress: &Progress) -> String {
    const WIDTH: usize = 24;
    let full = part(progress).map_or(0, |part| (part * WIDTH as f64) as usize);
    format!("{}{}", "━".repeat(full), "─".repeat(WIDTH - full))
}

fn html(progress: &Progress, line: &str, picture: &str) -> String {
    let label = escape(&progress.label);
    let line = escape(line);
    let head = match (progress.state, part(progress)) {
        (ProgressState::Running, Some(part)) => format!(
            "<b>{label}</b> <progress value=\"{part:.4}\" max=\"1\" style=\"width: 180px; vertical-align: middle\"></progress>"
        ),
        (ProgressState::Running, None) => format!("<b>{label}</b>"),
        (state, _) => {
            let (sign, colour) = sign(state);
            format!("<span style=\"color: {colour}\">{sign}</span> <b>{label}</b>")
        }
    };
    format!(
        "<div style=\"min-height: 40px; line-height: 40px; white-space: nowrap\">{head} \
         <span style=\"font-variant-numeric: tabular-nums\">{line}</span> {picture}</div>"
    )
}

/// Text inside HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(step: u64, state: ProgressState) -> Progress {
        Progress {
            id: 7,
            label: "fit <flow>".into(),
            step,
            total: Some(3_000),
            metrics: vec![("loss".into(), 0.31249)],
            state,
        }
    }

    fn record(source: &str, step: u64) -> Record {
        let values = vec![("loss".into(), 1.0 / step as f64)];
        Record {
            source: source.into(),
            step,
            values,
        }
    }

    #[test]
    fn a_bar_is_one_display_that_ends_as_a_line_with_a_curve() {
        let mut bars = Bars::new("x".into());
        bars.record(&record("fit", 1));
        let first = bars.update(state(1, ProgressState::Running)).unwrap();
        assert!(!first.update);
        assert_eq!(first.display.id.as_deref(), Some("x-7"));
        for step in 2..=3_000 {
            bars.record(&record("fit", step));
        }
        let last = bars.update(state(3_000, ProgressState::Finished)).unwrap();
        assert!(last.update && last.display.id == first.display.id);
        let html = last.display.get("text/html").unwrap();
        assert!(
            html.contains("<b>fit &lt;flow&gt;</b>") && html.contains("3,000 steps in"),
            "{html}"
        );
        assert!(
            html.contains("<img") && html.contains("alt=\"loss: 1 to 3.333e-4\""),
            "{html}"
        );
        assert!(
            !html.contains("<progress") && !html.contains("<script"),
            "{html}"
        );
        assert!(
            last.display
                .plain()
                .starts_with("✓ fit <flow>  3,000 steps in")
        );
        assert!(bars.close(ProgressState::Failed).is_empty());
    }

    #[test]
    fn work_that_never_said_how_it_ended_is_closed_with_the_cell() {
        let mut bars = Bars::new("x".into());
        bars.update(state(1, ProgressState::Running));
        let closed = bars.close(ProgressState::Interrupted);
        assert_eq!(closed.len(), 1);
        let text = closed[0].display.plain();
        assert!(
            text.starts_with("■ fit <flow>  interrupted at step 1 of 3,000 after"),
            "{text}"
        );
    }

    #[test]
    fn short_work_without_metrics_shows_nothing() {
        let mut bars = Bars::new("x".into());
        let quiet = |step, how| Progress {
            metrics: Vec::new(),
            ..state(step, how)
        };
        assert!(bars.update(quiet(1, ProgressState::Running)).is_none());
        assert!(bars.update(quiet(2, ProgressState::Finished)).is_none());
    }

    #[test]
    fn the_line_tells_speed_and_what_is_left() {
        let running = line(
            &state(1_200, ProgressState::Running),
            200,
            Duration::from_secs(2),
        );
        assert_eq!(
            running,
            "1,200/3,000 · 500 steps/s · ETA 3.6 s · loss 0.3125"
        );
    }
}
