//! Hundreds of cells that are wrong in every way: each gives a diagnostic, none a panic, an abort
//! or a hang, and the session goes on.

use rhapsode_script::{Kind, Recorder, Session, SessionOptions};

/// Runs cells that must all fail; gives how many there were.
fn all_fail(cells: impl IntoIterator<Item = String>) -> usize {
    let mut session = Session::new(SessionOptions::default());
    let mut count = 0;
    for code in cells {
        let shown: String = code.chars().take(200).collect();
        match session.execute(&code, &mut Recorder::default()) {
            Ok(display) => panic!("{shown}\ngives {display:?}"),
            Err(error) => {
                assert_ne!(
                    error.kind,
                    Kind::Internal,
                    "{shown}\n{}",
                    error.render(false)
                );
                assert!(
                    !error.message.is_empty() && !error.message.ends_with('.'),
                    "{shown}: {:?}",
                    error.message
                );
                error.render(true);
            }
        }
        count += 1;
    }
    let one = session
        .execute("1 + 1", &mut Recorder::default())
        .unwrap()
        .unwrap();
    assert_eq!(one.plain(), "2");
    count
}

fn cells<const N: usize>(list: [&str; N]) -> Vec<String> {
    list.map(str::to_string).to_vec()
}

const PROGRAMS: [&str; 8] = [
    "let x = zeros([2, 3]); x.sum(0).to_array()",
    "fn step(w, g) { w - g * 0.1 } let y = step(ones([2]), zeros([2])); y",
    "for i in progress(0..3) { log(#{ loss: i }); }",
    "let run = #{ loss: [1.0, 0.5], steps: 2 }; run.loss[1] + run.steps",
    "let f = |x| { let y = x * 2; y + (1 - 2) }; f.call(3)",
    "if 1 + (2 * 3) > 4 { print(`a ${[1, 2].len()} b`); } else { print(\"no\"); }",
    "let w = param(tensor([[1.0], [2.0]])); grad((w * w).sum(), [w])[0][[0, 0]].item()",
    "switch 3 { 1 => \"a\", 2..5 => { \"b\" }, _ => \"c\" }",
];

#[test]
fn brackets_that_do_not_match() {
    let mut broken = Vec::new();
    for program in PROGRAMS {
        for (at, bracket) in program
            .char_indices()
            .filter(|(_, c)| "()[]{}".contains(*c))
        {
            let without = format!("{}{}", &program[..at], &program[at + 1..]);
            let other = match bracket {
                '(' | '[' | '{' => ']',
                _ => '(',
            };
            let swapped = format!("{}{other}{}", &program[..at], &program[at + 1..]);
            // Without one bracket inside a string or `#{` the rest may still be code.
            broken.extend(
                [without, swapped]
                    .into_iter()
                    .filter(|code| unbalanced(code)),
            );
        }
    }
    assert!(all_fail(broken) > 150);
}

/// Whether brackets do not pair up, strings left out; a text in back-ticks may end anywhere.
fn unbalanced(code: &str) -> bool {
    if code.contains('`') && !code.contains("${[1, 2].len()}") {
        return false;
    }
    let mut open = Vec::new();
    let mut quote = None;
    for c in code.chars() {
        match (quote, c) {
            (None, '"') => quote = Some('"'),
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '(' | '[' | '{') => open.push(c),
            (None, ')' | ']' | '}') => {
                let fits = matches!(
                    (open.pop(), c),
                    (Some('('), ')') | (Some('['), ']') | (Some('{'), '}')
                );
                if !fits {
                    return true;
                }
            }
            _ => {}
        }
    }
    !open.is_empty()
}

#[test]
fn names_and_arguments_that_nothing_takes() {
    let session = Session::new(SessionOptions::default());
    let functions: Vec<String> = session
        .topics()
        .into_iter()
        .filter(|name| name.starts_with(|c: char| c.is_lowercase()) && !name.contains('.'))
        .collect();
    assert!(functions.len() > 30);
    let is_module = |name: &str| {
        !name.contains("::")
            && functions
                .iter()
                .any(|other| other.starts_with(&format!("{name}::")))
    };
    let mut wrong = Vec::new();
    for name in functions.iter().filter(|name| !is_module(name)) {
        wrong.push(format!("{name}x(1)"));
        wrong.push(format!("{name}(|a| a, |b| b, 1, 2, 3, 4, 5, \"s\")"));
        wrong.push(format!("let y = {name} + 1;"));
        wrong.push(format!("{name}::{name}"));
    }
    assert!(all_fail(wrong) > 120);
}

#[test]
fn types_values_and_options_that_do_not_fit() {
    let mut wrong = Vec::new();
    for make in [
        "zeros([2], OPTIONS)",
        "ones(3, OPTIONS)",
        "full([2], 1, OPTIONS)",
        "eye(2, OPTIONS)",
        "linspace(0, 1, 3, OPTIONS)",
        "rand([2], OPTIONS)",
        "tensor([1], OPTIONS)",
    ] {
        for options in [
            "#{ dtipe: \"f32\" }",
            "#{ dtype: \"f16\" }",
            "#{ dtype: 32 }",
            "#{ dtype: [] }",
            "#{ device: 0 }",
            "#{ device: \"gpu\" }",
            "#{ dtype: #{} }",
            "\"f32\"",
            "[]",
            "|x| x",
        ] {
            wrong.push(make.replace("OPTIONS", options));
        }
    }
    for shape in [
        "[-1]", "[2, -3]", "\"a\"", "[1.5]", "[[1]]", "()", "#{}", "|x| x", "[true]", "-1",
    ] {
        for make in ["zeros", "ones", "rand", "randn"] {
            wrong.push(format!("{make}({shape})"));
        }
        if shape != "[-1]" {
            wrong.push(format!("ones([2]).reshape({shape})"));
        }
        wrong.push(format!("ones([2]).broadcast_to({shape})"));
    }
    wrong.extend(cells([
        "tensor([[1], 2])",
        "tensor([1, [2]])",
        "tensor([[1, 2], [3]])",
        "tensor(\"a\")",
        "tensor(())",
        "tensor([\"a\"])",
        "tensor([#{}])",
        "tensor([[1.0], [\"b\"]])",
        "arange(0, 1, 0)",
        "arange(\"a\")",
        "arange(0.0, 0.0/0.0)",
        "linspace(0, 1, -1)",
        "linspace(\"a\", 1, 2)",
        "randint(5, 5, [2])",
        "randint(5, 1, [2])",
        "eye(-1)",
        "eye(2.0)",
        "full([2], \"a\")",
        "cat([])",
        "cat(3)",
        "stack([])",
        "stack([1, 2])",
        "seed(\"a\")",
        "seed(1.5)",
        "device(\"gpu\")",
        "device(\"cuda:x\")",
        "device(1)",
        "dtype(\"f16\")",
        "dtype(32)",
        "sleep(-1)",
        "sleep(0.0/0.0)",
        "sleep(1.0/0.0)",
        "sleep(\"a\")",
        "progress(\"a\")",
        "progress(|x| x)",
        "progress(1.5)",
        "log(#{ a: \"b\" })",
        "log(#{ a: [] })",
        "log(1)",
        "arg(1, 2)",
        "input()",
        "input(\"x\")",
        "password()",
        "help(\"zzqxzzqx\")",
        "clear_output(1)",
        "param(1)",
        "grad(1, 2)",
        "grad(ones([2]), ones([2]))",
        "grad(ones([1]), [])[0]",
        "grad(ones([]), 3)",
        "no_grad(3)",
        "no_grad(|x| x)",
        "time(3)",
        "time(|| nothing)",
        "where(1, 2, 3)",
        "where(ones([2]), \"a\", 1)",
        "where(ones([2]), ones([3]), 1)",
    ]));
    assert!(all_fail(wrong) > 180);
}

#[test]
fn shapes_that_do_not_fit() {
    let mut wrong = Vec::new();
    let shapes = [
        ("[2, 3]", "[4]"),
        ("[2, 3]", "[3, 2, 5]"),
        ("[5]", "[4]"),
        ("[2, 1, 4]", "[3, 3]"),
    ];
    for (a, b) in shapes {
        for operator in ["+", "-", "*", "/", "**", "@", ">", "=="] {
            wrong.push(format!("ones({a}) {operator} ones({b})"));
            wrong.push(format!("rand({b}) {operator} rand({a})"));
        }
        for method in ["add", "sub", "mul", "div", "matmul", "maximum", "gather"] {
            wrong.push(format!("ones({a}).{method}(ones({b}), 1, 2)"));
        }
        wrong.push(format!("cat([ones({a}), ones({b})], 1)"));
        wrong.push(format!("stack([ones({a}), ones({b})])"));
    }
    for call in [
        "sum(5)",
        "sum(-9)",
        "sum([0, 7])",
        "mean(\"a\")",
        "max(3)",
        "argmax(9)",
        "softmax(4)",
        "permute([0])",
        "permute([0, 0])",
        "permute([0, 5])",
        "squeeze(0)",
        "squeeze(9)",
        "unsqueeze(9)",
        "narrow(0, 0, 99)",
        "narrow(0, -9, 1)",
        "narrow(9, 0, 1)",
        "narrow(0, 0, -1)",
        "index_select(0, tensor([99]))",
        "index_select(0, tensor([-99]))",
        "index_select(0, tensor([0.5]))",
        "gather(0, tensor([1]))",
        "flip(7)",
        "reshape([7])",
        "reshape([-1, -1])",
        "reshape([-2])",
        "clamp(2, 1)",
        "clamp(\"a\", 1)",
        "item()",
        "to(\"f16\")",
        "to(\"cuda\")",
        "to(3)",
        "cross_entropy(tensor([9, 9]))",
        "sqrt(1)",
        "nope()",
        "shape(1)",
        "to_array(1)",
        "broadcast_to([5, 5])",
        "logsumexp(8)",
        "norm(8)",
    ] {
        wrong.push(format!("ones([2, 3]).{call}"));
    }
    for index in [
        "5",
        "-3",
        "[0, 9]",
        "[0, 0, 0]",
        "\"a\"",
        "1.5",
        "()",
        "#{}",
        "tensor([9])",
        "[\"a\"]",
        "ones([2]) > 0.5 ",
        "[(), tensor([5])]",
        "(ones([5]) > 0)",
    ] {
        if index != "ones([2]) > 0.5 " {
            wrong.push(format!("ones([2, 3])[{index}]"));
        }
    }
    wrong.push("tensor(1)[0]".into());
    wrong.push("let x = ones([2]); x[5] = 1;".into());
    wrong.push("let x = ones([2]); x.shape = 1;".into());
    wrong.push("for x in tensor(1).nope { }".into());
    assert!(all_fail(wrong) > 100);
}

#[test]
fn sizes_beyond_everything() {
    let mut wrong = Vec::new();
    for size in [
        "1_000_000_000_000",
        "9_000_000_000_000_000_000",
        "[1_000_000, 1_000_000_000]",
        "[9_000_000_000, 9_000_000_000, 9]",
    ] {
        for make in ["zeros", "ones", "rand", "randn"] {
            wrong.push(format!("{make}({size})"));
            wrong.push(format!("let x = {make}({size}, #{{ dtype: \"f64\" }});"));
        }
        wrong.push(format!("full({size}, 1)"));
        wrong.push(format!("randint(0, 9, {size})"));
        wrong.push(format!("ones([1]).broadcast_to([1, 1]).broadcast_to([9_000_000_000, 9_000_000_000]) + ones({size})"));
    }
    wrong.extend(cells([
        "eye(10_000_000)",
        "eye(9_000_000_000_000)",
        "arange(1_000_000_000_000)",
        "arange(0.0, 1.0, 1e-15)",
        "arange(-1e300, 1e300, 1.0)",
        "linspace(0, 1, 1_000_000_000_000)",
        "let a = []; a.pad(100_000_000_000, 0);",
        "let a = []; a.pad(5_000_000, 0);",
        "let s = \"\"; s.pad(100_000_000_000, 'x');",
        "blob(100_000_000_000)",
        "let a = [1]; loop { a += a; }",
        "let s = \"x\"; loop { s += s; }",
        "let a = [1]; loop { a = [a, a]; }",
        "let m = #{}; loop { m = #{ a: m, b: m }; }",
        "let s = \"xy\"; loop { s = `${s}${s}`; }",
        "let b = blob(9); loop { b += b; }",
        "ones([100_000, 1]) @ ones([1, 100_000_000])",
        "ones([3_000_000]).unsqueeze(0) + ones([3_000_000, 1])",
        "ones([5_000_000]).to_array()",
        "cat([ones([1]).broadcast_to([9_000_000_000_000]), ones([1])])",
    ]));
    assert!(all_fail(wrong) > 60);
}

#[test]
fn depths_beyond_everything() {
    let deep =
        |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    let mut wrong = vec![
        deep("(", ")", 100_000),
        deep("[", "]", 100_000),
        deep("{", "}", 100_000),
        deep("#{a:", "}", 50_000),
        deep("if true {", "}", 20_000),
        deep("|x| ", "", 20_000),
        deep("f(", ")", 50_000),
        deep("`${", "}`", 5_000),
        deep("loop { break ", " }", 5_000),
        deep("while true {", "}", 5_000),
        deep("[0][", "]", 20_000),
        "(".repeat(200_000),
        "[".repeat(200_000),
        "{".repeat(200_000),
        ")".repeat(1000),
        "}".repeat(1000),
        "!".repeat(100_000),
        "/*".repeat(100_000),
        "x.".repeat(50_000),
        "a::".repeat(50_000),
        "#".repeat(10_000),
        "\"".repeat(9_999),
        "`".repeat(9_999),
        "fn f(x) { f(x) } f(1)".into(),
        "fn f(x) { g(x) } fn g(x) { f(x) } f(1)".into(),
        "fn f(x) { [1].map(|y| f(x)) } f(1)".into(),
        "let f = |f| f.call(f); f.call(f)".into(),
        "fn f(x) { time(|| f(x)) } f(1)".into(),
        "fn f(x) { no_grad(|| f(x)) } f(1)".into(),
    ];
    wrong.push(format!(
        "let s = 1; {} 2",
        "if s == 0 { 1 } else ".repeat(20_000)
    ));
    wrong.push(format!("{}1", "-".repeat(100_001)));
    assert!(all_fail(wrong) > 30);
}

/// A chain of operators is no nesting to the eye; it must not end the process either.
#[test]
fn long_chains_are_run_or_refused() {
    let mut session = Session::new(SessionOptions::default());
    for chain in [
        vec!["1"; 100_000].join(" + "),
        vec!["true"; 100_000].join(" && "),
        format!("\"a\"{}", ".trim()".repeat(20_000)),
        format!("let x = [1];\n{}", "x.len();\n".repeat(60_000)),
    ] {
        if let Err(error) = session.execute(&chain, &mut Recorder::default()) {
            assert_ne!(error.kind, Kind::Internal, "{}", error.message);
        }
    }
}

#[test]
fn files_that_are_not_there() {
    let mut wrong = Vec::new();
    let session = Session::new(SessionOptions::default());
    let loaders = [
        "load",
        "data::csv",
        "data::npy",
        "data::mnist",
        "protein::load_pdb",
    ];
    for loader in loaders
        .iter()
        .filter(|name| session.topics().iter().any(|topic| topic == *name))
    {
        for path in [
            "\"nothing.here\"",
            "\"/\"",
            "\"\"",
            "\"a\\u0000b\"",
            "\"/proc/self/mem\"",
            "3",
            "()",
        ] {
            wrong.push(format!("{loader}({path})"));
        }
    }
    wrong.push("import \"nothing\" as n;".into());
    all_fail(wrong);
    let mut session = session;
    for path in ["/nowhere/x.rhai", "/", "", "/proc/self/mem"] {
        let error = session
            .execute_file(std::path::Path::new(path), &mut Recorder::default())
            .unwrap_err();
        assert_eq!(error.kind, Kind::Io, "{path}: {}", error.message);
    }
}

/// Random words in a row: most cannot be parsed, some run; nothing may break.
#[test]
fn word_salad_breaks_nothing() {
    const WORDS: [&str; 48] = [
        "let ",
        "x",
        "y",
        " = ",
        "1",
        "2.5",
        "\"s\"",
        "'c'",
        "`t ${",
        "}`",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "#{",
        "a: ",
        ", ",
        ";",
        ".",
        "::",
        "+",
        "-",
        "*",
        "/",
        "**",
        "@",
        "==",
        "!",
        "&&",
        " if ",
        " else ",
        " fn ",
        " return ",
        " throw ",
        "|v| ",
        "zeros",
        "ones([2])",
        "sum()",
        "shape",
        "..",
        "??",
        "?.",
        " in ",
        "\n",
        "// c\n",
        "tensor([1])",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    let mut session = Session::new(SessionOptions::default());
    for _ in 0..1500 {
        let length = 1 + next(14);
        let code: String = (0..length).map(|_| WORDS[next(WORDS.len())]).collect();
        let cursor = next(code.chars().count() + 1);
        session.is_complete(&code);
        session.highlight(&code);
        session.complete(&code, cursor);
        session.inspect(&code, cursor);
        if let Err(error) = session.execute(&code, &mut Recorder::default()) {
            assert_ne!(
                error.kind,
                Kind::Internal,
                "{code}\n{}",
                error.render(false)
            );
        }
    }
}
