//! The user stops a cell: at once, and what was done stays.

use std::{
    thread,
    time::{Duration, Instant},
};

use rhapsode_script::{
    Event, Frontend, InterruptHandle, Kind, ProgressState, Recorder, Session, SessionOptions,
};

/// Interrupts as soon as the cell prints, and notes when.
struct Stopper {
    handle: InterruptHandle,
    asked: Option<Instant>,
    inner: Recorder,
}

impl Frontend for Stopper {
    fn event(&mut self, event: Event) {
        if matches!(event, Event::Stdout(_)) && self.asked.is_none() {
            self.handle.interrupt();
            self.asked = Some(Instant::now());
        }
        self.inner.event(event);
    }
}

fn interrupted(code: &str) -> (Session, Stopper, Duration) {
    let mut session = Session::new(SessionOptions::default());
    let mut io = Stopper {
        handle: session.interrupt_handle(),
        asked: None,
        inner: Recorder::default(),
    };
    let error = session.execute(code, &mut io).unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted, "{code}: {}", error.message);
    let took = io.asked.expect("the cell printed").elapsed();
    (session, io, took)
}

#[test]
fn loops_sleeps_and_questions_stop() {
    for code in [
        "print(1); loop { }",
        "print(1); let x = 0; while true { x += 1; }",
        "fn f() { loop { } } print(1); f();",
        "print(1); [1, 2].map(|x| loop { });",
        "print(1); sleep(1000);",
        "print(1); for i in progress(0..1_000_000_000) { }",
        "print(1); try { loop { } } catch { } loop { }",
    ] {
        let (mut session, _, took) = interrupted(code);
        // The promise is 100 ms; a loaded machine may be late, an ignored interrupt hangs.
        assert!(took < Duration::from_secs(5), "{code} took {took:?}");
        assert_eq!(
            session
                .execute("1 + 1", &mut Recorder::default())
                .unwrap()
                .unwrap()
                .plain(),
            "2"
        );
    }
}

#[test]
fn what_was_done_stays() {
    let (mut session, io, _) = interrupted(
        "let n = 0; for i in progress(0..1_000_000_000) { n += 1; if n == 10 { print(n); } }",
    );
    assert_eq!(
        io.inner.progress.last().unwrap().state,
        ProgressState::Interrupted
    );
    let shown = session
        .execute("n >= 10", &mut Recorder::default())
        .unwrap()
        .unwrap();
    assert_eq!(shown.plain(), "true");
}

#[test]
fn an_interrupt_without_a_cell_does_nothing() {
    let mut session = Session::new(SessionOptions::default());
    session.interrupt_handle().interrupt();
    assert_eq!(
        session
            .execute("1 + 1", &mut Recorder::default())
            .unwrap()
            .unwrap()
            .plain(),
        "2"
    );
}

#[test]
fn any_thread_may_interrupt() {
    let mut session = Session::new(SessionOptions::default());
    let handle = session.interrupt_handle();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    struct Signal(Option<std::sync::mpsc::Sender<()>>);
    impl Frontend for Signal {
        fn event(&mut self, _: Event) {
            self.0.take();
        }
    }
    let other = thread::spawn(move || {
        // Ends when the front end drops its sender: the cell is running then.
        let _ = receiver.recv();
        handle.interrupt();
    });
    let error = session
        .execute("print(1); loop { }", &mut Signal(Some(sender)))
        .unwrap_err();
    other.join().unwrap();
    assert_eq!(error.kind, Kind::Interrupted);
}

#[test]
fn a_front_end_that_panics_does_not_hang() {
    struct Broken;
    impl Frontend for Broken {
        fn event(&mut self, _: Event) {
            panic!("the front end is broken");
        }
    }
    let mut session = Session::new(SessionOptions::default());
    let run = std::panic::AssertUnwindSafe(|| session.execute("loop { print(1); }", &mut Broken));
    assert!(std::panic::catch_unwind(run).is_err());
    assert_eq!(
        session
            .execute("1 + 1", &mut Recorder::default())
            .unwrap()
            .unwrap()
            .plain(),
        "2"
    );
}

#[test]
fn a_session_can_move_to_another_thread() {
    let mut session = Session::new(SessionOptions::default());
    let shown = thread::spawn(move || session.execute("1 + 1", &mut Recorder::default()).unwrap());
    assert_eq!(shown.join().unwrap().unwrap().plain(), "2");
}
