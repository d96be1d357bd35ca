//! The documentation is true: every example runs and gives the value that it says.

use rhapsode_script::{Recorder, Session, SessionOptions, Severity, Unit};

/// The `rhai` blocks of a text that are meant to be run.
fn examples(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in markdown.lines() {
        match (line.trim(), block.take()) {
            ("```rhai", None) => block = Some(String::new()),
            ("```", Some(done)) => blocks.push(done),
            (_, Some(mut open)) => {
                open.push_str(line);
                open.push('\n');
                block = Some(open);
            }
            (_, None) => {}
        }
    }
    blocks
}

/// Runs an example line by line up to each `// => value`, which must be what is shown.
fn run(name: &str, example: &str) {
    let mut session = Session::new(SessionOptions {
        folder: Some(std::env::temp_dir()),
        ..Default::default()
    });
    let mut io = Recorder::default();
    let mut cell = String::new();
    for line in example.lines() {
        let (code, expected) = line
            .split_once("// =>")
            .map_or((line, None), |(code, value)| (code, Some(value.trim())));
        cell.push_str(code);
        cell.push('\n');
        if let Some(expected) = expected {
            quiet(&session, name, &cell);
            let shown = session
                .execute(&cell, &mut io)
                .unwrap_or_else(|error| panic!("{name}\n{}", error.render(false)));
            assert_eq!(
                shown.map(|display| display.plain().to_string()).as_deref(),
                Some(expected),
                "{name}: {cell}"
            );
            cell.clear();
        }
    }
    quiet(&session, name, &cell);
    if let Err(error) = session.execute(&cell, &mut io) {
        panic!("{name}\n{}", error.render(false));
    }
}

/// An example that works must not be called wrong.
fn quiet(session: &Session, name: &str, cell: &str) {
    let found = session.check("cell", cell, Unit::Cell);
    if let Some(error) = found.iter().find(|f| f.severity == Severity::Error) {
        panic!("{name}: check\n{}", error.render(false));
    }
}

#[test]
fn every_example_runs_and_gives_its_value() {
    let session = Session::new(SessionOptions::default());
    let mut count = 0;
    for name in session.topics() {
        for example in examples(&session.help(&name).unwrap().markdown) {
            run(&name, &example);
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn every_function_has_a_summary() {
    let session = Session::new(SessionOptions::default());
    for name in session.topics() {
        let help = session.help(&name).unwrap();
        let summary = help.text.lines().nth(2).unwrap_or("");
        assert!(!summary.trim().is_empty(), "{name} has no text");
        assert!(!help.text.contains("```"), "{name}: a fence in plain text");
    }
}
