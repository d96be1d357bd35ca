//! What a front end asks while code is being typed.

use rhapsode_script::{Completeness, Recorder, Session, SessionOptions, TokenKind};

fn session() -> Session {
    let mut session = Session::new(SessionOptions::default());
    let code = "/// Doubles.\n/// Any number.\nfn twice(x) { x * 2 }\nlet alpha = 1.5; let run = #{ loss: [1.0], steps: 3 }; let text = \"abc\";";
    session.execute(code, &mut Recorder::default()).unwrap();
    session
}

#[test]
fn completeness() {
    use Completeness::*;
    let s = session();
    for (code, expected) in [
        ("1 + 1", Complete),
        ("", Complete),
        ("fn f(x) { x }", Complete),
        ("let x =", Incomplete(4)),
        ("1 +", Incomplete(4)),
        ("foo(1,", Incomplete(4)),
        ("let m = f(#{", Incomplete(4)),
        ("for i in 0..3 {\n    if i > 1 {", Incomplete(8)),
        ("let t = `abc", Incomplete(0)),
        ("/* abc", Incomplete(0)),
        ("let s = \"abc\\", Incomplete(0)),
        ("let s = \"abc", Invalid),
        ("let x = );", Invalid),
        ("foo(]", Invalid),
        ("let x = 1 let y = 2", Invalid),
        ("let x = 1 +* 2", Invalid),
        ("fn f(", Incomplete(4)),
        ("if x", Incomplete(4)),
        ("try { 1 }", Incomplete(4)),
    ] {
        assert_eq!(s.is_complete(code), expected, "{code}");
    }
    assert_eq!(s.is_complete(&"(".repeat(100_000)), Invalid);
}

fn texts(session: &Session, code: &str) -> Vec<String> {
    // `|` marks the cursor.
    let cursor = code.chars().position(|c| c == '§').unwrap();
    let code = code.replace('§', "");
    session
        .complete(&code, cursor)
        .items
        .into_iter()
        .map(|item| item.text)
        .collect()
}

#[test]
fn completion_of_names() {
    let s = session();
    assert_eq!(texts(&s, "alp§")[0], "alpha");
    assert_eq!(texts(&s, "let y = twi§ + 1"), ["twice"]);
    assert!(texts(&s, "pro§").contains(&"progress".to_string()));
    assert!(texts(&s, "whi§").contains(&"while".to_string()));
    assert_eq!(texts(&s, "let better = 1; bet§"), ["better"]);
    assert_eq!(texts(&s, "fn f(argument) { arg§ }")[0], "argument");
    assert_eq!(texts(&s, "xs.map(|element| ele§)")[0], "element");
    assert!(texts(&s, "// alp§").is_empty());
    let found = s.complete("let ä = alp", 11);
    assert_eq!((found.start, found.end), (8, 11));
    assert_eq!(found.items[0].kind, "variable");
    assert!(
        found.items[0].detail.contains("float"),
        "{}",
        found.items[0].detail
    );
}

#[test]
fn completion_of_members() {
    let s = session();
    assert_eq!(texts(&s, "run.§")[..2], ["loss", "steps"]);
    assert_eq!(texts(&s, "run.lo§"), ["loss"]);
    assert!(texts(&s, "run.loss.pu§").contains(&"push".to_string()));
    assert!(texts(&s, "text.to_up§").contains(&"to_upper".to_string()));
    assert!(texts(&s, "[1].po§").contains(&"pop".to_string()));
}

#[test]
fn completion_of_files() {
    let folder = std::env::temp_dir().join(format!("rhapsode-tooling-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("deep")).unwrap();
    std::fs::File::create(folder.join("deep/points.csv")).unwrap();
    let s = Session::new(SessionOptions {
        folder: Some(folder.clone()),
        ..Default::default()
    });
    assert_eq!(texts(&s, "load(\"de§\")"), ["deep/"]);
    assert_eq!(texts(&s, "load(\"deep/po§\")"), ["points.csv"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn help_and_inspection() {
    let s = session();
    let help = s.help("twice").unwrap();
    assert_eq!(help.text, "twice(x)\n\nDoubles.\nAny number.");
    assert!(
        s.help("progress")
            .unwrap()
            .text
            .starts_with("progress(items: range | array | int, label?: string) -> Steps")
    );
    assert_eq!(
        s.help("progres").unwrap_err().hints,
        ["did you mean `progress`?"]
    );
    assert_eq!(s.inspect("twice(3)", 2).unwrap().name, "twice");
    assert_eq!(s.inspect("twice(3)", 7).unwrap().name, "twice");
    assert!(
        s.inspect("let y = alpha;", 10)
            .unwrap()
            .text
            .starts_with("alpha: float 1.5")
    );
    assert!(
        s.inspect("text.to_upper()", 8)
            .unwrap()
            .text
            .starts_with("to_upper(")
    );
    assert!(s.inspect("1 + 2", 1).is_none());
}

#[test]
fn highlighting() {
    use TokenKind::*;
    let s = session();
    let code = "let y = twice(1.5) + run.loss; // größe\nflow::rectified(#{ dim: \"a\" }) @ b; unknown(1) 'ab'";
    let tokens = s.highlight(code);
    let of = |text: &str| {
        tokens
            .iter()
            .find(|t| &code[t.start..t.end] == text)
            .unwrap_or_else(|| panic!("{text}"))
            .kind
    };
    for (text, kind) in [
        ("let", Keyword),
        ("y", Name),
        ("twice", Function),
        ("1.5", Number),
        ("run", Name),
        ("loss", Key),
        ("// größe", Comment),
        ("flow", Module),
        ("dim", Key),
        ("\"a\"", String),
        ("@", Operator),
        ("unknown", Name),
        ("#{", Operator),
    ] {
        assert_eq!(of(text), kind, "{text}");
    }
    let mut end = 0;
    for token in &tokens {
        assert!(token.start >= end && token.end > token.start);
        assert!(
            code[end..token.start].trim().is_empty(),
            "{:?} is not covered",
            &code[end..token.start]
        );
        end = token.end;
    }
    for part in 0..code.len() {
        if code.is_char_boundary(part) {
            s.highlight(&code[..part]);
        }
    }
}

/// The names that help by words finds, best first.
fn found(session: &Session, question: &str) -> Vec<String> {
    let text = session.help(question).unwrap().text;
    let rows = text.lines().filter_map(|line| line.strip_prefix("  "));
    rows.filter_map(|row| Some(row.split_whitespace().next()?.to_string()))
        .collect()
}

#[test]
fn questions_find_what_answers_them() {
    let s = session();
    for (question, name) in [
        ("how do I train on labels", "RectifiedFlow.fit"),
        ("gradient descent", "Optimizer.step"),
        ("set the learning rate", "Run.set"),
        ("draw random numbers", "randn"),
        ("distance between two sets of points", "metric::wasserstein"),
        ("show a progress bar", "progress"),
        ("settings from the command line", "arg"),
        ("save a model to a file", "save"),
        ("make runs reproducible", "seed"),
        ("the softmax of logits", "Tensor.softmax"),
    ] {
        let names = found(&s, question);
        assert!(names.contains(&name.to_string()), "{question}: {names:?}");
    }
    let help = s.help("view").unwrap();
    assert!(
        help.text.starts_with("`view` is `Tensor.reshape` here."),
        "{}",
        help.text
    );
    // What stands under the cursor is a name, never a question.
    assert!(s.inspect("let labels = 3; labels", 20).is_none());
}

#[test]
fn completion_by_the_types_that_code_declares() {
    let s = session();
    assert!(texts(&s, "let m = flow::rectified(); m.fi§").contains(&"fit".to_string()));
    let chain = "let m = flow::rectified(); let r = m.fit(data::moons(9)); r.mo§";
    assert_eq!(texts(&s, chain), ["more"]);
    assert_eq!(
        texts(&s, "let m = flow::rectified(); m.fit(data::moons(9)).los§"),
        ["loss"]
    );
    let keys = texts(
        &s,
        "let m = flow::rectified(); m.fit(x, #{ steps: 3, opt§ })",
    );
    assert_eq!(keys, ["optimizer: "]);
}
