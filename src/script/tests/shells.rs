//! What works while a cell runs: questions about code, a second shell over the same variables, changes of a training.

use rhapsode_script::{
    Completeness, Diagnostic, Event, Frontend, InterruptHandle, Kind, Record, Recorder, Session,
    SessionOptions,
};

const MODEL: &str = "let m = flow::rectified(#{ hidden: [8] }); let d = data::moons(50);";
const FIT: &str = "let run = m.fit(d, #{ steps: 1_000_000, batch: 8 });";

fn session() -> Session {
    Session::new(SessionOptions::default())
}

/// The text of a cell's output.
fn show(session: &mut Session, code: &str) -> String {
    match session.execute(code, &mut Recorder::default()) {
        Ok(display) => display.map_or(String::new(), |display| display.plain().to_string()),
        Err(diagnostic) => panic!("{code}: {}", diagnostic.render(false)),
    }
}

/// Does something when the cell shows its first progress, then stops it.
struct During<F> {
    work: Option<F>,
    cell: InterruptHandle,
    records: Vec<Record>,
}

impl<F: FnOnce()> Frontend for During<F> {
    fn event(&mut self, event: Event) {
        if matches!(event, Event::Progress(_))
            && let Some(work) = self.work.take()
        {
            work();
            self.cell.interrupt();
        } else if let Event::Record(record) = event {
            self.records.push(record);
        }
    }
}

/// Runs a cell that trains, and something else while it does.
fn during(session: &mut Session, code: &str, work: impl FnOnce()) -> Diagnostic {
    records_during(session, code, work).0
}

/// The same, with the records of the cell.
fn records_during(
    session: &mut Session,
    code: &str,
    work: impl FnOnce(),
) -> (Diagnostic, Vec<Record>) {
    let mut io = During {
        work: Some(work),
        cell: session.interrupt_handle(),
        records: Vec::new(),
    };
    let error = session.execute(code, &mut io).unwrap_err();
    assert!(io.work.is_none(), "nothing was done meanwhile");
    (error, io.records)
}

#[test]
fn questions_about_code_are_answered_while_a_cell_trains() {
    let mut main = session();
    show(&mut main, MODEL);
    show(&mut main, "/// Twice.\nfn twice(x) { 2 * x }");
    let glance = main.glance();
    let error = during(&mut main, FIT, || {
        let texts = |code: &str| -> Vec<String> {
            let found = glance.complete(code, code.chars().count());
            found.items.into_iter().map(|item| item.text).collect()
        };
        assert_eq!(texts("m.samp"), ["sample", "sample_with_log_prob"]);
        assert!(texts("twi").contains(&"twice".to_string()));
        assert!(glance.inspect("m.fit", 4).unwrap().text.contains("fit"));
        assert!(glance.help("twice").unwrap().text.contains("Twice."));
        assert_eq!(glance.is_complete("fn f() {"), Completeness::Incomplete(4));
        assert_eq!(glance.highlight("let x = 1").len(), 4);
        let model = glance.variables().into_iter().find(|v| v.name == "m");
        assert_eq!(model.unwrap().kind, "RectifiedFlow");
    });
    assert_eq!(error.kind, Kind::Interrupted);
}

#[test]
fn a_second_shell_works_with_what_the_first_one_trains() {
    let mut main = session();
    show(&mut main, MODEL);
    show(&mut main, "let n = [1]; fn count() { n.len() }");
    let mut beside = main.glance().session();
    let (error, mut records) = records_during(&mut main, FIT, || {
        assert_eq!(show(&mut beside, "m.sample(3).shape"), "[3, 2]");
        assert_eq!(show(&mut beside, "n.push(2); count()"), "2");
        assert_eq!(show(&mut beside, "running().len()"), "1");
        let lr = "running()[0].set(#{ lr: 1e-5 }); running()[0].loss.len() > 0";
        assert_eq!(show(&mut beside, lr), "true");
        let error = beside.execute("let z = 7;\nz + no_such", &mut Recorder::default());
        assert_eq!(error.unwrap_err().place.unwrap().line, 2);
    });
    assert_eq!(error.kind, Kind::Interrupted);
    assert_eq!(
        show(&mut main, "[z, n.len(), running().len()]"),
        "[7, 2, 0]"
    );
    // The change holds, and stands in the records: of the step that was taken with it before the interrupt came, or of
    // the next one.
    assert_eq!(show(&mut main, "run.metrics.lr"), "0.00001");
    let mut io = Recorder::default();
    main.execute("run.more(1);", &mut io).unwrap();
    records.append(&mut io.records);
    let set: Vec<_> = records.iter().filter(|r| r.source == "set").collect();
    assert_eq!(set.len(), 1);
    assert_eq!(set[0].values, [("lr".to_string(), 1e-5)]);
}

#[test]
fn an_interrupt_is_of_one_shell() {
    let mut main = session();
    show(&mut main, MODEL);
    let mut beside = main.glance().session();
    beside.interrupt_handle().interrupt();
    let other = beside.interrupt_handle();
    let error = during(&mut main, FIT, || {
        let error = during(&mut beside, "m.fit(d, #{ steps: 1_000_000 });", || {
            other.interrupt()
        });
        assert_eq!(error.kind, Kind::Interrupted);
        assert_eq!(show(&mut beside, "running().len()"), "1");
    });
    assert_eq!(error.kind, Kind::Interrupted);
}

#[test]
fn shells_see_what_others_assign_and_declare() {
    let mut main = session();
    show(
        &mut main,
        "let a = 1; const C = 5; let m = flow::rectified(#{ hidden: [4] }); fn f() { a }",
    );
    let mut beside = main.glance().session();
    assert_eq!(show(&mut beside, "a = 2; f() + C"), "7");
    assert_eq!(show(&mut main, "a"), "2");
    show(&mut main, "let a = 10;");
    assert_eq!(show(&mut beside, "f()"), "10");
    // A model's name that is given away is a new variable for all.
    show(&mut beside, "m = 3; let b = [1];");
    assert_eq!(show(&mut main, "b.push(m); b"), "[1, 3]");
    assert!(beside.execute("C = 6", &mut Recorder::default()).is_err());
    main.reset();
    assert!(beside.execute("a", &mut Recorder::default()).is_err());
    assert!(beside.execute("f()", &mut Recorder::default()).is_err());
}

#[test]
fn a_run_that_takes_steps_is_not_taken_twice() {
    let mut main = session();
    show(&mut main, MODEL);
    show(&mut main, "let run = m.fit(d, #{ steps: 2, batch: 8 });");
    let mut beside = main.glance().session();
    during(&mut main, "run.more(1_000_000);", || {
        let mut fails = |code: &str| beside.execute(code, &mut Recorder::default()).unwrap_err();
        assert!(
            fails("run.more(1)")
                .message
                .contains("taking steps already")
        );
        assert!(
            fails("running()[0].more(1)")
                .message
                .contains("goes on by itself")
        );
        assert!(fails("run.set(#{ lr: -1.0 })").message.contains("lr"));
        assert_eq!(show(&mut beside, "run.steps > 2"), "true");
    });
    assert_eq!(show(&mut main, "run.interrupted"), "true");
}

#[test]
fn a_shell_outlives_its_session_without_harm() {
    let main = session();
    let glance = main.glance();
    let mut beside = glance.session();
    drop(main);
    assert!(glance.variables().is_empty());
    // The engine lives as long as a shell does.
    assert_eq!(show(&mut beside, "1 + 1"), "2");
    drop(beside);
    assert!(glance.complete("linsp", 5).items.is_empty());
    let error = glance
        .session()
        .execute("1", &mut Recorder::default())
        .unwrap_err();
    assert_eq!(error.message, "the session is gone");
}
