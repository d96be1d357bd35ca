//! What a user reads when something is wrong: kind, message, columns, hints.

use rhapsode_script::{Diagnostic, Kind, Recorder, Session, SessionOptions};

fn fails(code: &str) -> Diagnostic {
    let mut session = Session::new(SessionOptions::default());
    let mut io = Recorder::default();
    match session.execute(code, &mut io) {
        Ok(display) => panic!("{code} gives {display:?}"),
        Err(diagnostic) => diagnostic,
    }
}

/// Code, kind, message, what the caret marks, and a hint that must be there.
fn check(code: &str, kind: Kind, message: &str, marked: &str, hint: &str) {
    let diagnostic = fails(code);
    assert_eq!(
        (diagnostic.kind, diagnostic.message.as_str()),
        (kind, message),
        "{code}"
    );
    let place = diagnostic
        .place
        .unwrap_or_else(|| panic!("{code}: no place"));
    let text: String = place
        .text
        .chars()
        .skip(place.column - 1)
        .take(place.end - place.column)
        .collect();
    assert_eq!(
        text.trim(),
        marked,
        "{code}: columns {}..{} of line {}",
        place.column,
        place.end,
        place.line
    );
    if hint.is_empty() {
        assert!(
            diagnostic.hints.is_empty(),
            "{code}: {:?}",
            diagnostic.hints
        );
    } else {
        assert!(
            diagnostic.hints.iter().any(|h| h.contains(hint)),
            "{code}: {:?}",
            diagnostic.hints
        );
    }
}

#[test]
fn unknown_names() {
    check(
        "let weight = 1;\nlet y = weigth + 1;",
        Kind::Name,
        "unknown variable `weigth`",
        "weigth",
        "did you mean `weight`?",
    );
    check(
        "fn train(x) { x }\ntrian(1)",
        Kind::Name,
        "unknown function `trian`",
        "trian",
        "did you mean `train`?",
    );
    check(
        "pint(1)",
        Kind::Name,
        "unknown function `pint`",
        "pint",
        "did you mean `print`?",
    );
    check(
        "let xs = [1];\nxs.pushh(2);",
        Kind::Name,
        "array has no method `pushh`",
        "pushh",
        "did you mean `push`?",
    );
    check(
        "let m = #{ loss: 1 };\nm.los",
        Kind::Name,
        "the map has no key `los`",
        "los",
        "did you mean `loss`?",
    );
    check(
        "flwo::rectified(#{})",
        Kind::Name,
        "unknown module `flwo`",
        "flwo",
        "did you mean `flow`?",
    );
    check(
        "let f = |x| x; f(1)",
        Kind::Name,
        "unknown function `f`",
        "f",
        "write `f.call(...)`",
    );
    check(
        "let m = #{ a: #{ loss: 1 } };\nm.fresh = 2; m.a.lss",
        Kind::Name,
        "the map has no key `lss`",
        "lss",
        "did you mean `loss`?",
    );
    check("1.foo", Kind::Name, "int has no property `foo`", "foo", "");
    check(
        "fn a() { this.x } a()",
        Kind::Name,
        "`this` is bound only in a function that is called as a method",
        "this",
        "",
    );
}

#[test]
fn an_assignment_to_nothing_says_how_to_declare() {
    check(
        "fresh = 3;",
        Kind::Name,
        "unknown variable `fresh`",
        "fresh",
        "`let fresh = ...`",
    );
}

#[test]
fn wrong_types() {
    check(
        "let s = \"a\";\nlet t = s - 1;",
        Kind::Type,
        "`-` does not work between string and int",
        "-",
        "",
    );
    check("-\"a\"", Kind::Type, "`-` does not work on string", "-", "");
    check(
        "fn f(a, b) { a + b }\nf(1)",
        Kind::Type,
        "f does not take (int)",
        "f",
        "there is f(a, b)",
    );
    check(
        "sleep(\"a\")",
        Kind::Type,
        "sleep does not take (string)",
        "sleep",
        "there is sleep(seconds: float)",
    );
    check(
        "[1].push()",
        Kind::Type,
        "array.push does not take ()",
        "push",
        "there is push(array",
    );
    check(
        "if 1 { 2 }",
        Kind::Type,
        "expected a boolean expression, got a number",
        "1",
        "",
    );
    check(
        "for x in 5 { }",
        Kind::Type,
        "expected an iterable value, got a number",
        "5",
        "",
    );
    check(
        "let n = 5; for x in n { }",
        Kind::Type,
        "`for` cannot go through this value",
        "n",
        "ranges",
    );
    check(
        "let m = #{a: 1}; m[0]",
        Kind::Type,
        "expected string, got int",
        "0",
        "a map is read by its keys",
    );
}

#[test]
fn values_and_limits() {
    check(
        "let xs = [1, 2];\nxs[5]",
        Kind::Value,
        "index 5 is out of range for an array of 2",
        "5",
        "",
    );
    check(
        "\"abc\"[9]",
        Kind::Value,
        "index 9 is out of range for a string of 3",
        "9",
        "",
    );
    check(
        "1 / 0",
        Kind::Numeric,
        "division by zero: 1 / 0",
        "/",
        "ints cannot be divided by zero",
    );
    check(
        "9223372036854775807 + 1",
        Kind::Numeric,
        "addition overflow: 9223372036854775807 + 1",
        "+",
        "ints have 64 bits",
    );
    check(
        "const K = 1;\nfn f() { 1 }\nK = 2;",
        Kind::Syntax,
        "`K` is a constant and cannot be changed",
        "K",
        "declare it with `let K = ...`",
    );
    check(
        "const K = 1;\nfn bump() { K = 2; }\nbump()",
        Kind::Value,
        "`K` is a constant and cannot be changed",
        "K",
        "declare it with `let K = ...`",
    );
    check(
        "fn f(x) { f(x) } f(1)",
        Kind::Limit,
        "functions call each other more than 64 deep",
        "f",
        "loop",
    );
    check(
        "let a = []; a.pad(100_000_000_000, 0);",
        Kind::Limit,
        "size of array is over the limit",
        "pad",
        "tensor",
    );
}

#[test]
fn thrown_values() {
    check("throw \"my own\";", Kind::Thrown, "my own", "throw", "");
    check("throw 42;", Kind::Thrown, "42", "throw", "");
}

#[test]
fn code_that_cannot_be_parsed() {
    check(
        "let x = 1\nlet y = 2;",
        Kind::Syntax,
        "a `;` is missing before `let`",
        "",
        "a statement ends with `;`",
    );
    check(
        "let x = (1 + 2;",
        Kind::Syntax,
        "expected `)`, found `;`",
        ";",
        "`(` in line 1, column 9 is not closed",
    );
    check(
        "foo(1, 2",
        Kind::Syntax,
        "the code ends too early",
        "",
        "`(` in line 1, column 4 is not closed",
    );
    check(
        "let var = 1;",
        Kind::Syntax,
        "`var` is a reserved word",
        "var",
        "x.variance()",
    );
    check(
        "let let = 1;",
        Kind::Syntax,
        "`let` is a keyword and cannot be a name",
        "let",
        "",
    );
    check(
        "let s = \"abc;",
        Kind::Syntax,
        "the string is not closed",
        "\"abc;",
        "back-ticks",
    );
    check(
        "x++;",
        Kind::Syntax,
        "there is no operator `++`",
        "++",
        "write `x += 1`",
    );
    check(
        "1 = 2;",
        Kind::Syntax,
        "this cannot be assigned to",
        "1",
        "`==`",
    );
    check(
        "'ab'",
        Kind::Syntax,
        "`'ab'` is not one character",
        "'ab'",
        "strings stand in",
    );
    check(
        "fn f() { fn g() { 1 } }",
        Kind::Syntax,
        "functions are defined at the top of a cell, not inside a block or another function",
        "fn",
        "closure",
    );
    check(
        "let m = #{ a: 1, a: 2 };",
        Kind::Syntax,
        "key `a` is given twice",
        "a",
        "",
    );
    check(
        "break;",
        Kind::Syntax,
        "`break` and `continue` must stand in a loop",
        "break",
        "",
    );
    check(
        "fn f() { 1 } fn f() { 2 }",
        Kind::Syntax,
        "function `f` with 0 parameters is defined twice in one cell",
        "fn",
        "anew",
    );
    check(
        "def f(x):",
        Kind::Syntax,
        "a `;` is missing before `f`",
        "",
        "`def` is Python",
    );
    check(
        "lett x = 1;",
        Kind::Syntax,
        "a `;` is missing before `x`",
        "",
        "did you mean `let`?",
    );
    check(
        "\u{1F980}",
        Kind::Syntax,
        "`\u{1F980}` means nothing here",
        "\u{1F980}",
        "",
    );
}

#[test]
fn tabs_and_wide_characters_keep_their_columns() {
    let diagnostic = fails("let a = \"日本ä\";\t\tnothing;");
    let place = diagnostic.place.clone().unwrap();
    assert_eq!((place.column, place.end), (17, 24));
    let drawn = diagnostic.render(false);
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!(lines[3], " 1 | let a = \"日本ä\";        nothing;");
    assert_eq!(
        lines[4].find('^'),
        lines[3]
            .find("nothing")
            .map(|at| at - "日本ä".len() + "____a".len())
    );
}

#[test]
fn files_are_named_and_may_be_missing() {
    let mut session = Session::new(SessionOptions::default());
    let mut io = Recorder::default();
    let error = session
        .execute_file(std::path::Path::new("/nowhere/a.rhai"), &mut io)
        .unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (
            Kind::Io,
            "cannot read `/nowhere/a.rhai`: no such file or directory"
        )
    );
    let folder = std::env::temp_dir().join(format!("rhapsode-errors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("a.rhai");
    std::io::Write::write_all(
        &mut std::fs::File::create(&file).unwrap(),
        b"fn f() {\n  oops\n}\nf();",
    )
    .unwrap();
    let error = session.execute_file(&file, &mut io).unwrap_err();
    let place = error.place.unwrap();
    assert_eq!(
        (place.source, place.line, place.column),
        (file.display().to_string(), 2, 3)
    );
    assert_eq!(error.trace[0].place.as_ref().unwrap().line, 4);
    std::fs::remove_dir_all(&folder).unwrap();
}
