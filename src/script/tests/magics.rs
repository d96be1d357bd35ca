//! Magics as a user meets them: what they print and show, where their errors stand, what an editor learns of them.

use std::{fs, path::PathBuf};

use rhapsode_script::{
    Completeness, Diagnostic, Event, Frontend, InterruptHandle, Kind, Recorder, Session,
    SessionOptions, TokenKind, Unit,
};

/// A session in an empty folder of the test's own.
fn session(test: &str) -> (Session, PathBuf) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("magics")
        .join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let options = SessionOptions {
        folder: Some(folder.clone()),
        ..SessionOptions::default()
    };
    (Session::new(options), folder)
}

/// What a cell does.
#[track_caller]
fn run(session: &mut Session, code: &str) -> (Option<String>, Recorder) {
    let mut io = Recorder::default();
    match session.execute(code, &mut io) {
        Ok(display) => (display.map(|display| display.plain().to_string()), io),
        Err(error) => panic!("{}", error.render(false)),
    }
}

#[track_caller]
fn prints(session: &mut Session, code: &str) -> String {
    run(session, code).1.stdout
}

#[track_caller]
fn fails(session: &mut Session, code: &str) -> Diagnostic {
    let mut io = Recorder::default();
    match session.execute(code, &mut io) {
        Ok(display) => panic!("{code} gives {display:?}"),
        Err(error) => error,
    }
}

#[test]
fn lines_of_magics_stand_between_statements() {
    let (mut s, _) = session("between");
    let (output, io) = run(&mut s, "let x = 1\n%who\n!echo hi\nx + 1");
    assert_eq!(output.as_deref(), Some("2"));
    assert_eq!(io.stdout, "x\nhi\n");
    let (output, io) = run(&mut s, "%time x + 1");
    assert_eq!(output.as_deref(), Some("2"));
    assert!(io.stdout.starts_with("took "), "{}", io.stdout);
    // All of a cell is read before any of it is run.
    let error = fails(&mut s, "x = 5;\n%who\nlet y = (;");
    assert_eq!((error.kind, error.place.unwrap().line), (Kind::Syntax, 3));
    assert_eq!(run(&mut s, "x").0.as_deref(), Some("1"));
    // Functions are known to all of their cell.
    assert_eq!(
        run(&mut s, "let a = f(1);\n%who int\nfn f(x) { x + 1 }\na")
            .0
            .as_deref(),
        Some("2")
    );
}

#[test]
fn errors_keep_their_lines_and_quote_the_cell() {
    let (mut s, _) = session("lines");
    let error = fails(&mut s, "!ls\nlet x = 1;\n%time nowhere + x\n");
    let place = error.place.unwrap();
    assert_eq!((place.line, place.column, place.end), (3, 7, 14));
    assert_eq!(place.text, "%time nowhere + x");
    let error = fails(&mut s, "%%time\nlet a = \"ä\";\nnowhere");
    assert_eq!(
        (error.place.unwrap().line, error.message.as_str()),
        (3, "unknown variable `nowhere`")
    );
    let error = fails(&mut s, "fn f() { nowhere }\n%time f()");
    assert_eq!(error.trace[0].place.as_ref().unwrap().text, "%time f()");
}

#[test]
fn a_failing_command_is_an_error_with_its_status() {
    let (mut s, _) = session("status");
    let error = fails(&mut s, "!exit 3");
    assert_eq!(error.message, "the command failed with exit status 3");
    assert_eq!(error.place.unwrap().text, "!exit 3");
    let mut io = Recorder::default();
    let error = s
        .execute("%%bash\necho out\necho err >&2\nfalse\nexit 4", &mut io)
        .unwrap_err();
    assert_eq!((io.stdout.as_str(), io.stderr.as_str()), ("out\n", "err\n"));
    assert!(
        error.message.ends_with("exit status 4"),
        "{}",
        error.message
    );
    // Nothing can be asked.
    assert_eq!(prints(&mut s, "!cat; echo done"), "done\n");
}

/// Interrupts when a line comes.
struct Stopper(InterruptHandle, String);

impl Frontend for Stopper {
    fn event(&mut self, event: Event) {
        if let Event::Stdout(text) = event {
            self.1.push_str(&text);
            self.0.interrupt();
        }
    }
}

#[test]
fn output_comes_at_once_and_an_interrupt_ends_all_that_was_started() {
    let (mut s, folder) = session("stop");
    let mut io = Stopper(s.interrupt_handle(), String::new());
    let code = "%%bash\n(trap '' INT; echo $BASHPID > child; sleep 600) &\nwhile [ ! -s child ]; do sleep 0.01; done\n\
                echo ready\nwait";
    let error = s.execute(code, &mut io).unwrap_err();
    assert_eq!((error.kind, io.1.as_str()), (Kind::Interrupted, "ready\n"));
    let child = fs::read_to_string(folder.join("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    // A killed process is there until the system has come to it; one that is not killed sleeps for ten minutes.
    let runs = || fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z "));
    let since = std::time::Instant::now();
    while runs() {
        assert!(since.elapsed().as_secs() < 60, "{child} still runs");
        std::thread::yield_now();
    }
    assert_eq!(prints(&mut s, "!echo on"), "on\n");
}

#[test]
fn paths_begin_where_cd_says() {
    let (mut s, folder) = session("cd");
    fs::create_dir_all(folder.join("sub")).unwrap();
    let here = fs::canonicalize(&folder).unwrap();
    assert_eq!(prints(&mut s, "%cd").trim(), here.display().to_string());
    run(&mut s, "%cd sub");
    assert_eq!(
        prints(&mut s, "!pwd").trim(),
        here.join("sub").display().to_string()
    );
    run(&mut s, "plot::line([1, 2]).save(\"a.svg\");");
    assert!(folder.join("sub/a.svg").is_file());
    run(&mut s, "%%writefile m.rhai\nfn twice(x) { 2 * x }");
    assert_eq!(
        run(&mut s, "import \"m\" as m; m::twice(4)").0.as_deref(),
        Some("8")
    );
    let error = fails(&mut s, "%cd nowhere");
    assert_eq!(error.kind, Kind::Io);
    assert!(error.message.contains("nowhere"), "{}", error.message);
}

#[test]
fn files_are_written_run_and_loaded() {
    let (mut s, folder) = session("files");
    assert_eq!(
        prints(&mut s, "%%writefile a.rhai\nlet a = 20;\na + 1\n"),
        "wrote 18 bytes to a.rhai\n"
    );
    assert_eq!(
        prints(&mut s, "%%writefile -a a.rhai\na + 2"),
        "appended 6 bytes to a.rhai\n"
    );
    assert_eq!(
        fs::read_to_string(folder.join("a.rhai")).unwrap(),
        "let a = 20;\na + 1\na + 2\n"
    );
    run(&mut s, "%%writefile a.rhai\nlet a = 20;\na + 1\n");
    assert_eq!(run(&mut s, "%run a.rhai").0.as_deref(), Some("21"));
    assert_eq!(run(&mut s, "a").0.as_deref(), Some("20"));
    assert_eq!(
        run(&mut s, "%load a.rhai").1.next_input.as_deref(),
        Some("let a = 20;\na + 1\n")
    );
    let error = fails(&mut s, "%run b.rhai");
    assert_eq!(error.hints, ["did you mean `a.rhai`?"]);
    // A file has no magics, and says so.
    run(&mut s, "%%writefile c.rhai\n%time 1");
    let error = fails(&mut s, "%run c.rhai");
    assert!(
        error.message.contains("not to a script"),
        "{}",
        error.message
    );
    let error = s
        .execute_file(&folder.join("c.rhai"), &mut Recorder::default())
        .unwrap_err();
    assert!(
        error.message.contains("not to a script"),
        "{}",
        error.message
    );
}

#[test]
fn a_captured_cell_shows_nothing_until_it_is_asked() {
    let (mut s, _) = session("capture");
    let (output, io) = run(
        &mut s,
        "%%capture seen\nprint(1);\neprint(2);\nshow([3]);\n!echo 4\n5",
    );
    assert_eq!(output, None);
    assert_eq!(
        (io.stdout, io.stderr, io.displays),
        (String::new(), String::new(), Vec::new())
    );
    assert_eq!(
        run(&mut s, "seen.stdout").0.as_deref(),
        Some("\"1\\n4\\n\"")
    );
    let (_, io) = run(&mut s, "seen.show()");
    assert_eq!((io.stdout.as_str(), io.stderr.as_str()), ("1\n4\n", "2\n"));
    let shown: Vec<&str> = io.displays.iter().map(|display| display.plain()).collect();
    assert_eq!(shown, ["[3]", "5"]);
    // What was printed before an error is not lost.
    let mut io = Recorder::default();
    s.execute("%%capture\nprint(1);\nnowhere", &mut io)
        .unwrap_err();
    assert_eq!(io.stdout, "1\n");
    assert_eq!(fails(&mut s, "%%capture a b\n1").kind, Kind::Value);
}

#[test]
fn code_that_is_measured_leaves_no_variables() {
    let (mut s, _) = session("timeit");
    let text = prints(&mut s, "let n = 0;\n%timeit let here = n + 1;");
    assert!(
        text.contains(" a run (mean ± std of 7 rounds of "),
        "{text}"
    );
    assert_eq!(fails(&mut s, "here").kind, Kind::Name);
    assert_eq!(
        fails(&mut s, "%timeit").message,
        "`%timeit` needs code to run"
    );
}

#[test]
fn texts_are_shown_as_what_they_are() {
    let (mut s, _) = session("texts");
    for (code, mime, text) in [
        ("%%html\n<b>x</b>", "text/html", "<b>x</b>"),
        ("%%markdown\n# x", "text/markdown", "# x"),
        ("%%latex\nx^2", "text/latex", "$\\displaystyle x^2$"),
    ] {
        let (_, io) = run(&mut s, code);
        assert_eq!(io.displays[0].get(mime), Some(text), "{code}");
    }
}

#[test]
fn variables_environment_and_help() {
    let (mut s, _) = session("about");
    run(&mut s, "let x = tensor([1.0, 2.0]); let n = 3;");
    assert_eq!(prints(&mut s, "%who"), "x  n\n");
    assert_eq!(prints(&mut s, "%who Tensor"), "x\n");
    assert_eq!(
        fails(&mut s, "%who Tensr").hints,
        ["did you mean `Tensor`?"]
    );
    assert_eq!(
        prints(&mut s, "%env RHAPSODE_TEST=a b\n!echo $RHAPSODE_TEST"),
        "RHAPSODE_TEST=a b\na b\n"
    );
    assert_eq!(prints(&mut s, "%env RHAPSODE_TEST"), "a b\n");
    assert!(
        fails(&mut s, "%env RHAPSODE_NO")
            .message
            .contains("is not set")
    );
    let help = |s: &mut Session, code: &str| run(s, code).1.displays[0].plain().to_string();
    assert!(help(&mut s, "?plot::line").starts_with("plot::line("));
    assert!(help(&mut s, "n?").starts_with("n: int"));
    assert!(help(&mut s, "?%time").contains("says how long it took"));
    assert!(help(&mut s, "%lsmagic").contains("%%writefile [-a] FILE"));
    assert_eq!(
        fails(&mut s, "?plot::lin").hints[0],
        "did you mean `plot::line`?"
    );
    assert_eq!(
        prints(&mut s, "%reset"),
        "forgot all variables and functions\n"
    );
    assert_eq!(prints(&mut s, "%who"), "no variables\n");
}

#[test]
fn a_value_is_not_taken_for_a_command() {
    let (mut s, _) = session("values");
    run(&mut s, "let ready = false;");
    assert_eq!(run(&mut s, "!ready").0.as_deref(), Some("true"));
    assert_eq!(run(&mut s, "7\n% 4").0.as_deref(), Some("3"));
    assert_eq!(
        run(&mut s, "`a\n%time b`").0.as_deref(),
        Some("\"a\\n%time b\"")
    );
}

#[test]
fn editors_know_magics() {
    let (mut s, folder) = session("editors");
    rhapsode_script::write_atomic(&folder.join("data.csv"), b"a").unwrap();
    run(&mut s, "let number = 3;");
    let texts = |code: &str| -> Vec<String> {
        let found = s.complete(code, code.chars().count());
        found.items.into_iter().map(|item| item.text).collect()
    };
    assert_eq!(texts("%tim"), ["%time", "%%time", "%timeit", "%%timeit"]);
    assert_eq!(texts("%%wr"), ["%%writefile"]);
    assert_eq!(texts("%time numb"), ["number"]);
    assert_eq!(texts("%load da"), ["data.csv"]);
    assert_eq!(texts("!cat da"), ["data.csv"]);
    assert_eq!(texts("let ä = 1;\n!ls\nnumb"), ["number"]);
    let found = s.complete("%time numb", 10);
    assert_eq!((found.start, found.end), (6, 10));
    assert!(
        s.inspect("%time seed(0)", 2)
            .unwrap()
            .text
            .starts_with("%time CODE")
    );
    assert!(
        s.inspect("%time seed(0)", 7)
            .unwrap()
            .text
            .starts_with("seed(")
    );

    let complete = |code: &str| s.is_complete(code);
    assert_eq!(complete("%time 1 + 1"), Completeness::Complete);
    assert_eq!(complete("%time f("), Completeness::Incomplete(4));
    assert_eq!(complete("!ls \\"), Completeness::Incomplete(0));
    assert_eq!(complete("%%bash"), Completeness::Incomplete(0));
    assert_eq!(complete("%%bash\nls"), Completeness::Incomplete(0));
    assert_eq!(complete("%%bash\nls\n"), Completeness::Complete);
    assert_eq!(complete("%%time\nif x {\n"), Completeness::Incomplete(4));
    assert_eq!(complete("!ls\nlet x = ("), Completeness::Incomplete(4));

    let tokens = s.highlight("ä;\n%time number");
    let kinds: Vec<TokenKind> = tokens.iter().map(|token| token.kind).collect();
    assert_eq!(tokens[2].start..tokens[2].end, 4..9);
    assert_eq!(kinds[2..], [TokenKind::Keyword, TokenKind::Name]);
    let findings = s.check(
        "cell 9",
        "let q = 1\n%time print(nowhere)\n!ls\nq",
        Unit::Cell,
    );
    let places: Vec<usize> = findings
        .iter()
        .map(|f| f.place.as_ref().unwrap().line)
        .collect();
    assert_eq!(places, [2]);
}
