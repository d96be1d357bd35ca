//! The one guard around every long call: it forwards progress and metrics to the front end and
//! turns an interrupt into a stop that keeps what was done.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use rhai::NativeCallContext;
use rhapsode_models::observe::{Observer, Step};

use super::Outcome;
use crate::{
    Event, Progress, ProgressState, Record,
    context::{self, Context},
    fault::{Fault, interrupted},
};

/// Time between two states of a progress bar.
pub(crate) const REFRESH: Duration = Duration::from_millis(100);

/// Runs long work with an observer. When the user interrupts, the work returns what it has, that
/// becomes the value of the call, and the cell ends after its statement.
pub(crate) fn enter<R, E: Into<Fault>>(call: &NativeCallContext, work: impl FnOnce(&mut dyn Observer) -> Result<R, E>) -> Outcome<R> {
    let context = context::of_call(call)?;
    if context.must_stop() || context.has_yielded() {
        return Err(interrupted());
    }
    let mut watcher = Watcher { bar: Bar::new(Arc::clone(&context)), stopped: false };
    let result = work(&mut watcher);
    let Watcher { mut bar, stopped } = watcher;
    // The work may have seen the interrupt in one of its operations, before its observer did.
    let stopped = stopped || context.interrupt_requested();
    match result {
        Ok(value) => {
            bar.finish(if stopped { ProgressState::Interrupted } else { ProgressState::Finished });
            if stopped {
                context.yield_to_interrupt();
            }
            Ok(value)
        }
        Err(_) if stopped => {
            bar.finish(ProgressState::Interrupted);
            Err(interrupted())
        }
        Err(error) => {
            bar.finish(ProgressState::Failed);
            Err(error.into().into())
        }
    }
}

struct Watcher {
    bar: Bar,
    stopped: bool,
}

impl Observer for Watcher {
    fn step(&mut self, step: &Step) -> ControlFlow<()> {
        let metrics = || step.metrics.iter().map(|(name, value)| (name.to_string(), *value)).collect::<Vec<_>>();
        if !step.metrics.is_empty() {
            let source = step.label.split(' ').next().unwrap_or(step.label).to_string();
            self.bar.context.send(Event::Record(Record { source, step: step.step, values: metrics() }));
        }
        self.bar.update(step.label, step.step, step.total, metrics);
        if self.bar.context.must_stop() {
            self.stopped = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// A progress bar: sends its state to the front end, not too often, and always the last one.
pub(crate) struct Bar {
    context: Arc<Context>,
    progress: Progress,
    sent: Option<Instant>,
    pending: bool,
}

impl Bar {
    /// A bar that shows nothing yet.
    pub fn new(context: Arc<Context>) -> Self {
        let progress =
            Progress { id: context.fresh_id(), label: String::new(), step: 0, total: None, metrics: Vec::new(), state: ProgressState::Running };
        Self { context, progress, sent: None, pending: false }
    }

    /// A new state; the metrics are asked for only when it is sent or was the last.
    pub fn update(&mut self, label: &str, step: u64, total: Option<u64>, metrics: impl FnOnce() -> Vec<(String, f64)>) {
        if self.progress.label != label {
            self.progress.label = label.to_string();
        }
        self.progress.step = step;
        self.progress.total = total;
        self.progress.metrics = metrics();
        self.pending = true;
        if self.sent.is_none_or(|sent| sent.elapsed() >= REFRESH) {
            self.send();
        }
    }

    /// The last state, when anything was ever shown.
    pub fn finish(&mut self, state: ProgressState) {
        if (self.sent.is_some() || self.pending) && self.progress.state == ProgressState::Running {
            self.progress.state = state;
            self.send();
        }
    }

    fn send(&mut self) {
        self.sent = Some(Instant::now());
        self.pending = false;
        self.context.send(Event::Progress(self.progress.clone()));
    }
}
