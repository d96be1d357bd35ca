//! `check` finds mistakes without running, and says nothing of code that works.

use rhapsode_script::{Recorder, Session, SessionOptions, Severity, Unit};

fn session() -> Session {
    Session::new(SessionOptions::default())
}

/// `line:column-end severity: message (hints)` of every finding of a script.
fn findings(code: &str) -> Vec<String> {
    let found = session().check("script.rhai", code, Unit::File);
    let line = |finding: rhapsode_script::Diagnostic| {
        let place = finding.place.unwrap();
        let how = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let hint = finding.hints.first().map(|h| format!(" ({h})"));
        format!(
            "{}:{}-{} {how}: {}{}",
            place.line,
            place.column,
            place.end,
            finding.message,
            hint.unwrap_or_default()
        )
    };
    found.into_iter().map(line).collect()
}

#[track_caller]
fn finds(code: &str, expected: &[&str]) {
    assert_eq!(findings(code), expected, "{code}");
}

#[test]
fn names() {
    finds(
        "zeross([2])",
        &["1:1-7 error: unknown function `zeross` (did you mean `zeros`?)"],
    );
    finds(
        "let alpha = 1; print(alpah);",
        &[
            "1:5-10 warning: variable `alpha` is never read (if that is meant, call it `_alpha`)",
            "1:22-27 error: unknown variable `alpah` (did you mean `alpha`?)",
        ],
    );
    finds(
        "flow::rectifed(#{})",
        &["1:1-15 error: module `flow` has no function `rectifed` (did you mean `rectified`?)"],
    );
    finds(
        "flwo::rectified(#{})",
        &["1:1-16 error: unknown module `flwo` (did you mean `flow`?)"],
    );
    finds(
        "help(flow::rectifed)",
        &["1:6-20 error: module `flow` has no `rectifed` (did you mean `rectified`?)"],
    );
    finds(
        "totl = 3;",
        &[
            "1:1-5 error: unknown variable `totl` (a new variable is declared with `let totl = ...`)",
        ],
    );
    finds(
        "zeros([2]).view([1, 2])",
        &["1:12-16 error: Tensor has no method `view` (here it is `Tensor.reshape`)"],
    );
}

#[test]
fn methods_by_inferred_types() {
    finds(
        "zeros([2]).summ()",
        &["1:12-16 error: Tensor has no method `summ` (did you mean `sum`?)"],
    );
    finds(
        "let x = randn([2, 2]) * 2 + 1; x.exp().matmull(x)",
        &["1:40-47 error: Tensor has no method `matmull` (did you mean `matmul`?)"],
    );
    finds(
        "let m = flow::rectified(); m.fit(data::moons(10)).mor(3)",
        &["1:51-54 error: Run has no method `mor` (did you mean `more`?)"],
    );
    finds(
        "zeros([2]).shape()",
        &[
            "1:12-17 error: Tensor has no method `shape` (`shape` is a property: write it without parentheses)",
        ],
    );
    finds(
        "let t = zeros([2]).sum;",
        &[
            "1:5-6 warning: variable `t` is never read (if that is meant, call it `_t`)",
            "1:20-23 error: Tensor has no property `sum` (`sum` is a method: write `.sum()`)",
        ],
    );
    finds(
        "[1, 2].pussh(3)",
        &["1:8-13 error: array has no method `pussh` (did you mean `push`?)"],
    );
    // Of an object of unknown type only a near miss is told, and only as a warning.
    finds(
        "fn f(x) { x.matmull(x) }\nf(1)",
        &["1:13-20 warning: nothing has a method `matmull` (did you mean `matmul`?)"],
    );
    finds("fn f(x) { x.qqxyzzy(x) }\nf(1)", &[]);
}

#[test]
fn options() {
    finds(
        "flow::rectified(#{ hiden: [8] })",
        &["1:20-25 error: unknown option `hiden` (did you mean `hidden`?)"],
    );
    finds(
        "flow::rectified(#{ dim: \"a\" })",
        &["1:25-28 error: option `dim`: expected int, got string \"a\""],
    );
    finds(
        "let m = flow::rectified(); m.sample(5, #{ solver: \"huen\" })",
        &["1:51-57 error: option `solver`: \"huen\" is not allowed (did you mean \"heun\"?)"],
    );
    finds(
        "let m = flow::rectified(); m.fit(data::moons(9), #{ steps: -1, btach: 3, optimizer: optim::adam(#{ rl: 1 }) });",
        &[
            "1:60-62 error: option `steps`: must be >= 0, got -1",
            "1:64-69 error: unknown option `btach` (did you mean `batch`?)",
            "1:100-102 error: unknown option `rl` (did you mean `lr`?)",
        ],
    );
}

#[test]
fn arguments() {
    finds(
        "fn f(a, b) { a + b }\nf(1)",
        &["2:1-2 error: f takes 2 arguments, got 1"],
    );
    finds(
        "seed(1, 2)",
        &["1:1-5 error: seed takes 0 or 1 arguments, got 2 (there is seed(n?: int) -> int)"],
    );
    finds(
        "seed(\"a\")",
        &["1:1-5 error: seed does not take (string) (there is seed(n?: int) -> int)"],
    );
}

#[test]
fn what_has_no_effect() {
    finds(
        "let x = ones([2]);\nx + 1;\nx.exp();\nx",
        &[
            "2:1-6 warning: this value is not used (keep it with `let y = ...;` or look at it with `show(...)`)",
            "3:1-8 warning: this value is not used (keep it with `let y = ...;` or look at it with `show(...)`)",
        ],
    );
    finds(
        "fn f(x) { return x; x + 1 }\nf(1)",
        &["1:21-22 warning: this is never reached"],
    );
    finds(
        "for i in 0..3 { let y = i; }",
        &["1:21-22 warning: variable `y` is never read (if that is meant, call it `_y`)"],
    );
    finds("let _y = 3; for i in 0..3 { break; }", &[]);
}

#[test]
fn closures_and_functions_see_what_they_see_at_run_time() {
    finds(
        "let k = 2; let f = |x| x * k + missing; f.call(1)",
        &["1:32-39 error: unknown variable `missing`"],
    );
    finds("fn f() { scale * 2 }\nlet scale = 3;\nf()", &[]);
    finds("let m = #{ f: |x| x }; m.f(3)", &[]);
    finds("let n = 0; [1].for_each(|v| n += v); n", &[]);
    finds("try { throw \"a\" } catch (e) { print(e) }", &[]);
    finds(
        "switch 3 { 1 => zeross([1]), _ => 2 }",
        &["1:17-23 error: unknown function `zeross` (did you mean `zeros`?)"],
    );
}

#[test]
fn a_script_that_cannot_be_parsed_has_one_finding() {
    finds(
        "let x = ;\nzeross(1)",
        &["1:9-10 error: `;` means nothing here"],
    );
}

#[test]
fn a_session_knows_its_variables() {
    let mut session = session();
    let code = "let data = zeros([2]); fn twice(x) { x * 2 }";
    session.execute(code, &mut Recorder::default()).unwrap();
    assert_eq!(session.check("cell 2", "twice(data).sum()", Unit::Cell), []);
    let found = session.check("cell 2", "data.summ(); twice(1, 2)", Unit::Cell);
    let messages: Vec<&str> = found.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "Tensor has no method `summ`",
            "twice takes 1 argument, got 2"
        ]
    );
}

#[test]
fn scripts_that_work_have_no_errors() {
    let scripts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let mut count = 0;
    for entry in std::fs::read_dir(scripts).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rhai") {
            let code = std::fs::read_to_string(&path).unwrap();
            let found = session().check(&path.display().to_string(), &code, Unit::File);
            let shown: Vec<String> = found.iter().map(|f| f.render(false)).collect();
            assert!(found.is_empty(), "{}", shown.join("\n"));
            count += 1;
        }
    }
    assert!(count > 0);
}
