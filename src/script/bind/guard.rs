//! The one guard around every long call: it forwards progress and metrics to the front end and
//! turns an interrupt into a stop that keeps what was done.

use std::{
    any::Any,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use rhai::NativeCallContext;
use rhapsode_models::{
    live::Live,
    observe::{Observer, Step},
    train::Run,
};

use super::{Outcome, run::Training};
use crate::{
    Event, Progress, ProgressState, Record,
    context::{self, Context},
    fault::{Fault, interrupted},
    trial::{Stopwatch, Trial},
};

/// Time between two states of a progress bar.
pub(crate) const REFRESH: Duration = Duration::from_millis(100);

/// Runs long work with an observer. When the user interrupts, the work returns what it has, that
/// becomes the value of the call, and the cell ends after its statement.
pub(crate) fn enter<R: 'static, E: Into<Fault>>(
    call: &NativeCallContext,
    work: impl FnOnce(&mut dyn Observer) -> Result<R, E>,
) -> Outcome<R> {
    let context = context::of_call(call)?;
    if context.must_stop() || context.has_yielded() {
        return Err(interrupted());
    }
    let mut watcher = Watcher {
        bar: Bar::new(Arc::clone(&context)),
        stopped: false,
        trial: context.trials().is_some().then(Stopwatch::start),
        seen: None,
        training: None,
    };
    let result = work(&mut watcher);
    watcher.forget_training();
    let stopped = watcher.stopped;
    let seen = watcher.seen.take();
    let bar = &mut watcher.bar;
    if let (Some(mut seen), Ok(value)) = (seen, &result) {
        // A training knows its size; other long work has none.
        if let Some(run) = (value as &dyn Any).downcast_ref::<Run>() {
            seen.parameters = Some(run.parameters());
            seen.state_bytes = Some(run.state_bytes());
        }
        context
            .trials()
            .iter_mut()
            .for_each(|trials| trials.push(seen.clone()));
    }
    // The work may have seen the interrupt in one of its operations, before its observer did.
    let stopped = stopped || context.interrupt_requested();
    match result {
        Ok(value) => {
            bar.finish(if stopped {
                ProgressState::Interrupted
            } else {
                ProgressState::Finished
            });
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
    /// Times the steps of a trial.
    trial: Option<Stopwatch>,
    /// What it has seen of a training: other work goes on to its end.
    seen: Option<Trial>,
    /// The training that is known to the session as one in progress.
    training: Option<Live>,
}

impl Watcher {
    /// The training is over, or another one begins.
    fn forget_training(&mut self) {
        if let Some(live) = self.training.take() {
            let mut trainings = self.bar.context.trainings();
            trainings.retain(|training| !training.is(&live));
        }
    }

    /// Records what was changed since the last step.
    fn record_changes(&self) {
        let changes = self.training.iter().flat_map(Live::take_changes);
        for (step, lr) in changes {
            self.bar.context.send(Event::Record(Record {
                source: "set".into(),
                step,
                values: vec![("lr".into(), lr)],
            }));
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Also after a panic.
        self.forget_training();
    }
}

impl Observer for Watcher {
    fn training(&mut self, live: &Live) {
        self.forget_training();
        self.training = Some(live.clone());
        let mut trainings = self.bar.context.trainings();
        trainings.push(Training::watched(live));
    }

    fn warn(&mut self, message: &str) {
        let text = format!("warning: {message}\n");
        self.bar.context.send(Event::Stderr(text));
    }

    fn step(&mut self, step: &Step) -> ControlFlow<()> {
        self.record_changes();
        let metrics = || {
            step.metrics
                .iter()
                .map(|(name, value)| (name.to_string(), *value))
                .collect::<Vec<_>>()
        };
        if !step.metrics.is_empty() {
            let source = step
                .label
                .split(' ')
                .next()
                .unwrap_or(step.label)
                .to_string();
            self.bar.context.send(Event::Record(Record {
                source,
                step: step.step,
                values: metrics(),
            }));
        }
        self.bar.update(step.label, step.step, step.total, metrics);
        if self.bar.context.must_stop() {
            self.stopped = true;
            return ControlFlow::Break(());
        }
        if let Some(watch) = self.trial.as_mut().filter(|_| !step.metrics.is_empty()) {
            let enough = watch.step();
            self.seen = watch.trial(step.label, step.total);
            if enough {
                return ControlFlow::Break(());
            }
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
        let progress = Progress {
            id: context.fresh_id(),
            label: String::new(),
            step: 0,
            total: None,
            metrics: Vec::new(),
            state: ProgressState::Running,
        };
        Self {
            context,
            progress,
            sent: None,
            pending: false,
        }
    }

    /// A new state; the metrics are asked for only when it is sent or was the last.
    pub fn update(
        &mut self,
        label: &str,
        step: u64,
        total: Option<u64>,
        metrics: impl FnOnce() -> Vec<(String, f64)>,
    ) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Frontend, InterruptHandle, Kind, Recorder, Session, SessionOptions, library::Library,
    };

    /// Work in steps of a millisecond that tells how many it did, a failure, a panic.
    fn bind(library: &mut Library) {
        crate::bind::all(library);
        library
            .function("work", "(steps: int) -> int", "Works.")
            .call(|call: NativeCallContext, steps: i64| {
                enter(&call, |observer| {
                    for step in 1..=steps as u64 {
                        std::thread::sleep(Duration::from_millis(1));
                        let metrics = [("loss", 1.0 / step as f64)];
                        if observer
                            .step(&Step {
                                label: "work hard",
                                step,
                                total: Some(steps as u64),
                                metrics: &metrics,
                            })
                            .is_break()
                        {
                            return Ok::<_, Fault>(step as i64);
                        }
                    }
                    Ok(steps)
                })
            });
        library
            .function("fail", "() -> int", "Fails.")
            .call(|call: NativeCallContext| {
                enter(&call, |observer| {
                    let _ = observer.step(&Step {
                        label: "fail",
                        step: 1,
                        total: None,
                        metrics: &[],
                    });
                    Err::<i64, _>(Fault::value("it went wrong"))
                })
            });
        library
            .function("broken", "() -> int", "Panics.")
            .call(|| -> i64 { panic!("a defect") });
    }

    fn session() -> Session {
        Session::with(SessionOptions::default(), bind)
    }

    /// Interrupts at the third record.
    struct Stopper {
        handle: InterruptHandle,
        inner: Recorder,
    }

    impl Frontend for Stopper {
        fn event(&mut self, event: Event) {
            if matches!(&event, Event::Record(record) if record.step == 3) {
                self.handle.interrupt();
            }
            self.inner.event(event);
        }
    }

    fn stopped(code: &str) -> (Session, Recorder) {
        let mut session = session();
        let mut io = Stopper {
            handle: session.interrupt_handle(),
            inner: Recorder::default(),
        };
        let error = session.execute(code, &mut io).unwrap_err();
        assert_eq!(error.kind, Kind::Interrupted, "{code}: {}", error.message);
        (session, io.inner)
    }

    fn show(session: &mut Session, code: &str) -> String {
        session
            .execute(code, &mut Recorder::default())
            .unwrap()
            .unwrap()
            .plain()
            .to_string()
    }

    #[test]
    fn progress_and_records_reach_the_front_end() {
        let mut io = Recorder::default();
        assert_eq!(
            session()
                .execute("work(5)", &mut io)
                .unwrap()
                .unwrap()
                .plain(),
            "5"
        );
        assert_eq!(
            io.records
                .iter()
                .map(|r| (r.source.as_str(), r.step))
                .collect::<Vec<_>>(),
            (1..=5).map(|i| ("work", i)).collect::<Vec<_>>()
        );
        let last = io.progress.last().unwrap();
        assert_eq!(
            (last.label.as_str(), last.step, last.total, last.state),
            ("work hard", 5, Some(5), ProgressState::Finished)
        );
        assert_eq!(last.metrics, [("loss".to_string(), 0.2)]);
    }

    #[test]
    fn an_interrupted_fit_still_assigns_its_run() {
        let (mut session, io) = stopped("let run = work(1_000_000);\nlet after = 1;");
        assert_eq!(
            io.progress.last().unwrap().state,
            ProgressState::Interrupted
        );
        let steps: u64 = show(&mut session, "run").parse().unwrap();
        assert!((3..1_000_000).contains(&steps), "{steps}");
        assert!(session.execute("after", &mut Recorder::default()).is_err());
        // Also as the last statement, and as the value of a function.
        let (mut session, _) = stopped("let run = work(1_000_000);");
        assert!(show(&mut session, "run > 2").contains("true"));
        let (mut session, _) =
            stopped("fn train() { let r = work(1_000_000); r } let run = train();");
        assert!(show(&mut session, "run > 2").contains("true"));
    }

    #[test]
    fn an_interrupt_ends_a_loop_of_long_calls() {
        let (mut session, io) =
            stopped("let done = 0; for i in 0..1000 { work(1_000_000); done += 1; }");
        assert_eq!(io.progress.len(), 1);
        let done: u64 = show(&mut session, "done").parse().unwrap();
        assert!(done <= 1, "{done}");
    }

    #[test]
    fn a_failure_closes_the_bar() {
        let mut io = Recorder::default();
        let error = session().execute("fail()", &mut io).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (Kind::Value, "it went wrong")
        );
        assert_eq!(io.progress.last().unwrap().state, ProgressState::Failed);
    }

    #[test]
    fn a_panic_is_an_error_and_the_session_goes_on() {
        let mut session = session();
        let error = session
            .execute("let x = 1;\nlet y = broken();", &mut Recorder::default())
            .unwrap_err();
        assert_eq!(error.kind, Kind::Internal);
        assert!(
            error.message.contains("a defect at ") && error.message.contains("guard.rs"),
            "{}",
            error.message
        );
        assert_eq!(error.place.unwrap().line, 2);
        assert!(error.hints[0].contains("report"), "{:?}", error.hints);
        assert_eq!(show(&mut session, "x + 1"), "2");
        let error = session
            .execute("[1, 2].map(|v| broken())", &mut Recorder::default())
            .unwrap_err();
        let chain: Vec<&str> = error
            .trace
            .iter()
            .map(|frame| frame.function.as_str())
            .collect();
        assert_eq!(
            (error.kind, chain),
            (Kind::Internal, vec!["closure", "map"])
        );
    }
}
