//! Modules of the user's own: found beside the importing file, read again when they change, and their
//! errors name their file.

use std::{io::Write, path::PathBuf};

use rhapsode_script::{Diagnostic, Recorder, Session, SessionOptions, Unit};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("rhapsode-modules-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("lib")).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, code: &str) {
        let mut file = std::fs::File::create(self.0.join(name)).unwrap();
        file.write_all(code.as_bytes()).unwrap();
    }

    fn session(&self) -> Session {
        Session::new(SessionOptions {
            folder: Some(self.0.clone()),
            ..Default::default()
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn shows(session: &mut Session, code: &str) -> String {
    let shown = session.execute(code, &mut Recorder::default());
    let shown = shown.unwrap_or_else(|error| panic!("{}", error.render(false)));
    shown.unwrap().plain().to_string()
}

fn fails(session: &mut Session, code: &str) -> Diagnostic {
    session.execute(code, &mut Recorder::default()).unwrap_err()
}

#[test]
fn functions_and_constants_are_members() {
    let folder = Folder::new("members");
    folder.put("helpers.rhai", "const SCALE = 3;\nfn grow(x) { x * SCALE }\nfn total(t) { t.sum().item() }\nprivate fn hidden() { 1 }");
    let mut s = folder.session();
    assert_eq!(
        shows(&mut s, "import \"helpers\" as h;\nh::grow(2) + h::SCALE"),
        "9"
    );
    // In later cells, in functions and in closures.
    assert_eq!(shows(&mut s, "h::total(ones([2, 2]))"), "4.0");
    assert_eq!(
        shows(&mut s, "fn f(x) { h::grow(x) }\n[1, 2].map(|v| f(v))"),
        "[3, 6]"
    );
    let error = fails(&mut s, "h::hidden()");
    assert!(error.message.contains("hidden"), "{}", error.message);
    let items = s.complete("h::", 3).items;
    assert!(
        items.iter().any(|item| item.text == "grow")
            && items.iter().any(|item| item.text == "SCALE"),
        "{items:?}"
    );
}

#[test]
fn a_changed_file_is_read_again() {
    let folder = Folder::new("changed");
    folder.put("a.rhai", "import \"b\" as b;\nfn f() { b::g() }");
    folder.put("b.rhai", "fn g() { 1 }");
    let mut s = folder.session();
    assert_eq!(shows(&mut s, "import \"a\" as a; a::f()"), "1");
    folder.put("b.rhai", "fn g() { 22 }");
    assert_eq!(shows(&mut s, "import \"a\" as a; a::f()"), "22");
}

#[test]
fn paths_are_meant_from_the_importing_file() {
    let folder = Folder::new("paths");
    folder.put(
        "lib/one.rhai",
        "import \"two\" as two;\nfn f() { two::g() }",
    );
    folder.put("lib/two.rhai", "fn g() { \"two\" }");
    folder.put("main.rhai", "import \"lib/one\" as one;\none::f()");
    let mut s = Session::new(SessionOptions::default());
    let shown = s.execute_file(&folder.0.join("main.rhai"), &mut Recorder::default());
    assert_eq!(shown.unwrap().unwrap().plain(), "\"two\"");
}

#[test]
fn errors_inside_name_their_file() {
    let folder = Folder::new("errors");
    folder.put("bad.rhai", "fn f(x) {\n    x.summ()\n}");
    folder.put("broken.rhai", "fn f( { }");
    let mut s = folder.session();
    let error = fails(&mut s, "import \"bad\" as bad;\nbad::f(zeros([2]))");
    let place = error.place.unwrap();
    assert!(place.source.ends_with("bad.rhai"), "{place:?}");
    assert_eq!((place.line, place.column, place.end), (2, 7, 11));
    assert_eq!(error.trace[0].place.as_ref().unwrap().source, "cell 1");
    let error = fails(&mut s, "import \"broken\" as b;");
    assert!(
        error.place.unwrap().source.ends_with("broken.rhai"),
        "{}",
        error.message
    );
    let error = fails(&mut s, "import \"helper\" as h;");
    assert!(
        error.message.starts_with("there is no file"),
        "{}",
        error.message
    );
    let error = fails(&mut s, "import \"flow\" as flow;");
    assert!(error.hints[0].contains("always there"), "{:?}", error.hints);
}

#[test]
fn a_circle_is_an_error_that_names_the_chain() {
    let folder = Folder::new("circle");
    folder.put("a.rhai", "import \"b\" as b;");
    folder.put("b.rhai", "import \"a\" as a;");
    let mut s = folder.session();
    let error = fails(&mut s, "import \"a\" as a;");
    assert!(
        error.message.starts_with("modules import each other: "),
        "{}",
        error.message
    );
    assert_eq!(
        error.message.matches(" -> ").count(),
        2,
        "{}",
        error.message
    );
    // The session goes on, and so does the file once it is mended.
    folder.put("b.rhai", "fn g() { 5 }");
    folder.put("a.rhai", "import \"b\" as b;\nfn f() { b::g() }");
    assert_eq!(shows(&mut s, "import \"a\" as a; a::f()"), "5");
}

#[test]
fn check_knows_the_members_of_imports() {
    let folder = Folder::new("check");
    folder.put("helpers.rhai", "const SCALE = 3;\nfn grow(x) { x * SCALE }");
    let s = folder.session();
    assert_eq!(
        s.check(
            "cell 1",
            "import \"helpers\" as h;\nh::grow(h::SCALE)",
            Unit::Cell
        ),
        []
    );
    let found = s.check(
        "cell 1",
        "import \"helpers\" as h;\nh::grwo(1);\nimport \"helprs\" as g;",
        Unit::Cell,
    );
    let messages: Vec<&str> = found.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(messages[0], "module `h` has no function `grwo`");
    assert!(messages[1].starts_with("there is no file"), "{messages:?}");
    assert_eq!(found[1].hints, ["did you mean \"helpers\"?"]);
}
