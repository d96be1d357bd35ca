//! Cells as a user meets them: what lives on, what is shown, what an error leaves behind.

use rhapsode_script::{Diagnostic, Kind, Recorder, Session, SessionOptions};

fn session() -> Session {
    Session::new(SessionOptions::default())
}

/// The text of a cell's output.
fn show(session: &mut Session, code: &str) -> Option<String> {
    let mut io = Recorder::default();
    match session.execute(code, &mut io) {
        Ok(display) => display.map(|display| display.plain().to_string()),
        Err(diagnostic) => panic!("{}", diagnostic.render(false)),
    }
}

fn fails(session: &mut Session, code: &str) -> Diagnostic {
    let mut io = Recorder::default();
    match session.execute(code, &mut io) {
        Ok(display) => panic!("{code} gives {display:?}"),
        Err(diagnostic) => diagnostic,
    }
}

#[test]
fn the_last_expression_is_shown_unless_closed() {
    let s = &mut session();
    assert_eq!(show(s, "1 + 1").as_deref(), Some("2"));
    assert_eq!(show(s, "1 + 1;"), None);
    assert_eq!(show(s, "1 + 1; // why not"), None);
    assert_eq!(show(s, "let x = 3"), None);
    assert_eq!(show(s, "x * 2.5 // why not").as_deref(), Some("7.5"));
    assert_eq!(
        show(s, "if x > 2 { \"big\" } else { \"small\" }").as_deref(),
        Some("\"big\"")
    );
    assert_eq!(show(s, "()"), None);
    assert_eq!(show(s, "  \n// nothing\n"), None);
}

#[test]
fn functions_see_the_variables_as_they_are() {
    let s = &mut session();
    show(s, "let lr = 1.0; fn step(x) { x * lr }");
    assert_eq!(show(s, "step(2.0)").as_deref(), Some("2.0"));
    assert_eq!(show(s, "lr = 0.5; step(2.0)").as_deref(), Some("1.0"));
    assert_eq!(
        show(
            s,
            "let got = []; for i in 1..4 { lr = i; got.push(step(10)); } got"
        )
        .as_deref(),
        Some("[10, 20, 30]")
    );
    show(s, "let log = []; fn note(x) { log.push(x); }");
    assert_eq!(show(s, "note(1); note(2); log").as_deref(), Some("[1, 2]"));
    assert_eq!(
        show(s, "let n = 1; fn bump() { n += 1; } bump(); bump(); n").as_deref(),
        Some("3")
    );
    assert_eq!(
        show(s, "const C = 7; fn c() { C } c()").as_deref(),
        Some("7")
    );
    assert_eq!(
        show(s, "fn shadow(lr) { lr } shadow(99)").as_deref(),
        Some("99")
    );
    assert_eq!(
        show(
            s,
            "fn mapped(xs) { xs.map(|x| x * lr) } lr = 3; mapped([1, 2])"
        )
        .as_deref(),
        Some("[3, 6]")
    );
}

#[test]
fn variables_and_functions_may_be_made_anew() {
    let s = &mut session();
    show(s, "fn f() { 1 } fn g() { f() + 10 }");
    assert_eq!(show(s, "g()").as_deref(), Some("11"));
    assert_eq!(show(s, "fn f() { 2 }\ng()").as_deref(), Some("12"));
    show(s, "let x = 1; const K = 5;");
    assert_eq!(
        show(s, "let x = \"new\"; let y = x + \"er\"; y").as_deref(),
        Some("\"newer\"")
    );
    assert_eq!(show(s, "x").as_deref(), Some("\"new\""));
    assert_eq!(show(s, "let K = 6; K = 7; K").as_deref(), Some("7"));
    assert_eq!(show(s, "let f2 = |v| v + x.len();"), None);
    assert_eq!(show(s, "f2.call(1)").as_deref(), Some("4"));
    assert_eq!(
        s.variables()
            .iter()
            .map(|v| v.name.as_str())
            .collect::<Vec<_>>(),
        ["x", "K", "y", "f2"]
    );
}

#[test]
fn a_hidden_variable_is_dropped_at_once() {
    let s = &mut session();
    show(s, "const K = 5; let x = 1; let y = 2; let f = |v| v + x;");
    // The old `x` goes while later statements of the cell count on their places.
    let code = "let a = 10; let x = x + 1; let b = a + x; let y = y + b; a = a + y; [a, b, x, y]";
    assert_eq!(show(s, code).as_deref(), Some("[24, 12, 2, 14]"));
    assert_eq!(
        show(s, "[f.call(0), x, y, K]").as_deref(),
        Some("[1, 2, 14, 5]")
    );
    assert_eq!(
        fails(s, "K = 6;").message,
        "`K` is a constant and cannot be changed"
    );
    let names: Vec<String> = s.variables().into_iter().map(|v| v.name).collect();
    assert_eq!(names, ["K", "x", "y", "f", "a", "b"]);
}

#[test]
fn what_was_done_before_an_error_stays() {
    let s = &mut session();
    let error = fails(s, "let a = 1;\nlet b = 2;\nlet c = nothing;\nlet d = 4;");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::Name, "unknown variable `nothing`")
    );
    assert_eq!(show(s, "a + b").as_deref(), Some("3"));
    fails(s, "c");
    fails(s, "d");
    fails(s, "{ let inner = 1; nothing }");
    fails(s, "inner");
}

#[test]
fn return_ends_the_cell_with_its_value() {
    let s = &mut session();
    assert_eq!(
        show(s, "let x = 5; if x > 3 { return x * 2; } let y = 1; y").as_deref(),
        Some("10")
    );
    fails(s, "y");
    assert_eq!(show(s, "return 3; 4").as_deref(), Some("3"));
    assert_eq!(show(s, "exit(8); 4").as_deref(), Some("8"));
}

#[test]
fn print_arrives_in_order_and_fast() {
    let s = &mut session();
    let mut io = Recorder::default();
    s.execute("for i in 0..100_000 { print(i); }", &mut io)
        .unwrap();
    let lines: Vec<&str> = io.stdout.lines().collect();
    assert_eq!((lines.len(), lines[99_999]), (100_000, "99999"));
}

#[test]
fn reset_forgets() {
    let s = &mut session();
    show(s, "let x = 1; fn f() { 2 }");
    s.reset();
    assert!(s.variables().is_empty());
    assert_eq!(fails(s, "x").kind, Kind::Name);
    assert_eq!(fails(s, "f()").kind, Kind::Name);
    assert_eq!(show(s, "1 + 1").as_deref(), Some("2"));
}

#[test]
fn an_error_shows_the_chain_over_cells() {
    let s = &mut session();
    show(s, "fn inner(x) {\n    x.nope()\n}");
    show(s, "fn outer(x) { inner(x) + 1 }");
    let error = fails(s, "let y = 2;\nouter(y)");
    assert_eq!(error.message, "int has no method `nope`");
    let place = error.place.unwrap();
    assert_eq!(
        (place.source.as_str(), place.line, place.column, place.end),
        ("cell 1", 2, 7, 11)
    );
    let chain: Vec<_> = error
        .trace
        .iter()
        .map(|f| {
            (
                f.function.as_str(),
                f.place
                    .as_ref()
                    .map(|p| (p.source.clone(), p.line, p.column)),
            )
        })
        .collect();
    assert_eq!(
        chain,
        [
            ("inner", Some(("cell 2".into(), 1, 15))),
            ("outer", Some(("cell 3".into(), 2, 1)))
        ]
    );
    show(s, "let f = |v| v.nope();");
    let error = fails(s, "fn call_it(g) { g.call(1) }\ncall_it(f)");
    assert_eq!(error.place.unwrap().source, "cell 4");
    assert_eq!(
        error
            .trace
            .iter()
            .map(|f| f.function.as_str())
            .collect::<Vec<_>>(),
        ["closure", "call_it"]
    );
}

#[test]
fn limits_hold() {
    let s = &mut session();
    assert_eq!(fails(s, "fn f(x) { f(x + 1) } f(0)").kind, Kind::Limit);
    assert_eq!(
        fails(s, "let a = []; a.pad(100_000_000_000, 0);").kind,
        Kind::Limit
    );
    assert_eq!(
        fails(s, "let t = \"abc\"; loop { t += t; }").kind,
        Kind::Limit
    );
    assert_eq!(fails(s, "let a = [1]; loop { a += a; }").kind, Kind::Limit);
    assert_eq!(
        fails(s, "let a = [1]; loop { a = [a, a]; }").kind,
        Kind::Limit
    );
    assert_eq!(
        fails(
            s,
            &format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000))
        )
        .kind,
        Kind::Limit
    );
    assert_eq!(
        fails(s, &format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000))).kind,
        Kind::Limit
    );
    assert_eq!(fails(s, "9223372036854775807 + 1").kind, Kind::Numeric);
    assert_eq!(fails(s, "1 / 0").kind, Kind::Numeric);
    assert_eq!(show(s, "1 + 1").as_deref(), Some("2"));
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let options = |device: &str| SessionOptions {
        device: device.into(),
        ..Default::default()
    };
    let error = fails(&mut Session::new(options("gpu")), "1 + 1");
    assert_eq!(error.message, "\"gpu\" is not a device");
    let s = &mut Session::new(options("auto"));
    assert_eq!(show(s, "device()").as_deref(), Some("\"cpu\""));
}

#[test]
fn arguments_take_the_type_of_their_default() {
    let given = [
        ("lr", "1e-2"),
        ("steps", "1_000"),
        ("sizes", "[8, 16]"),
        ("name", "moons"),
        ("fast", "true"),
        ("typo", "1"),
    ];
    let args = given
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let s = &mut Session::new(SessionOptions {
        args,
        ..Default::default()
    });
    let code = "[arg(\"lr\", 1.0), arg(\"steps\", 5), arg(\"sizes\", [1]), arg(\"name\", \"\"), arg(\"fast\", false), arg(\"other\", 7)]";
    assert_eq!(
        show(s, code).as_deref(),
        Some("[0.01, 1000, [8, 16], \"moons\", true, 7]")
    );
    assert_eq!(s.unread_args(), ["typo"]);
    let error = fails(s, "arg(\"name\", 1.5)");
    assert_eq!(
        error.message,
        "`--set name=moons`: expected float, got \"moons\""
    );
}
