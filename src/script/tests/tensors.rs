//! Tensors in scripts, as one coming from PyTorch would write them.

use rhapsode_script::{Diagnostic, Kind, Recorder, Session, SessionOptions};

fn run(code: &str) -> Result<Option<rhapsode_script::Display>, Diagnostic> {
    Session::new(SessionOptions::default()).execute(code, &mut Recorder::default())
}

fn show(code: &str) -> String {
    match run(code) {
        Ok(display) => display
            .unwrap_or_else(|| panic!("{code} shows nothing"))
            .plain()
            .to_string(),
        Err(diagnostic) => panic!("{code}\n{}", diagnostic.render(false)),
    }
}

fn all(pairs: &[(&str, &str)]) {
    for (code, expected) in pairs {
        assert_eq!(show(code), *expected, "{code}");
    }
}

#[test]
fn creation() {
    all(&[
        ("tensor([1, 2]).dtype", "\"i64\""),
        ("tensor([1, 2.5]).dtype", "\"f32\""),
        ("tensor([[1, 2], [3, 4]]).shape", "[2, 2]"),
        ("tensor(3).shape", "[]"),
        ("tensor([]).shape", "[0]"),
        ("tensor([[], []]).shape", "[2, 0]"),
        ("tensor([true, false]).to_array()", "[true, false]"),
        (
            "tensor([9007199254740993]).to_array()",
            "[9007199254740993]",
        ),
        ("tensor([1, 2], #{ dtype: \"f64\" }).dtype", "\"f64\""),
        (
            "tensor([ones([2]), zeros([2])]).to_array()",
            "[[1.0, 1.0], [0.0, 0.0]]",
        ),
        (
            "zeros([2, 3], #{ dtype: \"f64\", device: \"cpu\" }).dtype",
            "\"f64\"",
        ),
        ("zeros(3).shape", "[3]"),
        ("zeros([0, 3]).shape", "[0, 3]"),
        ("full([2], 7).to_array()", "[7.0, 7.0]"),
        ("full([2], 7, #{ dtype: \"i64\" }).to_array()", "[7, 7]"),
        ("eye(2).to_array()", "[[1.0, 0.0], [0.0, 1.0]]"),
        ("arange(2, 8, 3).to_array()", "[2, 5]"),
        ("arange(3, 0, -1).to_array()", "[3, 2, 1]"),
        (
            "arange(0.0, 1.0, 0.25).to_array()",
            "[0.0, 0.25, 0.5, 0.75]",
        ),
        (
            "linspace(0, 1, 5).to_array()",
            "[0.0, 0.25, 0.5, 0.75, 1.0]",
        ),
        ("dtype(\"f64\"); zeros([1]).dtype", "\"f64\""),
        ("randint(0, 3, [100]).max().item() < 3", "true"),
        (
            "stack([arange(2), arange(2)], 1).to_array()",
            "[[0, 0], [1, 1]]",
        ),
        ("cat([arange(2), ones([1])]).dtype", "\"f32\""),
        ("where(tensor([1, 0]), 1.5, 2).to_array()", "[1.5, 2.0]"),
    ]);
}

#[test]
fn arithmetic_mixes_numbers_and_tensors() {
    all(&[
        ("(tensor([1.0, 2.0]) * 2 + 1).to_array()", "[3.0, 5.0]"),
        ("(1 - tensor([1.0, 2.0])).to_array()", "[0.0, -1.0]"),
        ("(2.0 / tensor([1, 4])).to_array()", "[2.0, 0.5]"),
        ("(tensor([1, 2]) + 1).to_array()", "[2, 3]"),
        ("(tensor([1, 2]) + 0.5).to_array()", "[1.5, 2.5]"),
        ("(tensor([1, 2]) / 2).to_array()", "[0.5, 1.0]"),
        ("(tensor([1.0, 2.0]) ** 2).to_array()", "[1.0, 4.0]"),
        ("(2 ** tensor([1.0, 3.0])).to_array()", "[2.0, 8.0]"),
        (
            "(tensor([1, 2]) + tensor([0.5, 0.5])).to_array()",
            "[1.5, 2.5]",
        ),
        (
            "(tensor([1.0], #{ dtype: \"f64\" }) + ones([1])).dtype",
            "\"f64\"",
        ),
        ("(-tensor([1.0, 2.0])).to_array()", "[-1.0, -2.0]"),
        ("(-tensor([1, 2])).to_array()", "[-1, -2]"),
        ("let x = tensor([1.0]); x += 2; x *= 3; x.item()", "9.0"),
        (
            "(ones([2, 3]) @ ones([3, 2]) * ones([2, 2])).shape",
            "[2, 2]",
        ),
        ("(2 * ones([2, 3]) @ ones([3, 2]) ** 2).shape", "[2, 2]"),
        ("(ones([2, 3]) @ ones([3, 4])).shape", "[2, 4]"),
        (
            "(ones([2, 3]) @ ones([3, 2]) + 1).to_array()",
            "[[4.0, 4.0], [4.0, 4.0]]",
        ),
        ("ones([2, 3]).matmul(ones([3])).to_array()", "[3.0, 3.0]"),
        ("(tensor([1, 5]) > 3).to_array()", "[false, true]"),
        ("(3 < tensor([1, 5])).to_array()", "[false, true]"),
        (
            "(tensor([1.0, 5.0]) == tensor([1, 4])).to_array()",
            "[true, false]",
        ),
        ("(!(tensor([1, 5]) >= 5)).to_array()", "[true, false]"),
        ("(tensor([1, 2]) == tensor([1, 3])).mean().item()", "0.5"),
        (
            "tensor([[1.0], [2.0]]).add(tensor([10.0, 20.0])).to_array()",
            "[[11.0, 21.0], [12.0, 22.0]]",
        ),
        (
            "tensor([4.0]).sqrt().item() + sqrt(tensor([9.0])).item()",
            "5.0",
        ),
        (
            "const T = tensor([1.0]); (T + 1).item() + T.sum().item() + T[0].item()",
            "4.0",
        ),
    ]);
}

#[test]
fn indexing() {
    let x = "let x = arange(12).reshape([3, 4]); ";
    for (code, expected) in [
        ("x[0].to_array()", "[0, 1, 2, 3]"),
        ("x[-1].to_array()", "[8, 9, 10, 11]"),
        ("x[1..3].shape", "[2, 4]"),
        ("x[0..=1].shape", "[2, 4]"),
        ("x[-2..100].shape", "[2, 4]"),
        ("x[2..1].shape", "[0, 4]"),
        ("x[[1, 2]].item()", "6"),
        ("x[[(), 1]].to_array()", "[1, 5, 9]"),
        ("x[[0..2, 1..3]].to_array()", "[[1, 2], [5, 6]]"),
        ("x[[-1, ()]].to_array()", "[8, 9, 10, 11]"),
        ("x[tensor([2, 0])].shape", "[2, 4]"),
        (
            "x[[(), tensor([3, 0])]].to_array()",
            "[[3, 0], [7, 4], [11, 8]]",
        ),
        (
            "x[x[[(), 0]] > 3].to_array()",
            "[[4, 5, 6, 7], [8, 9, 10, 11]]",
        ),
        ("x[0][1].item()", "1"),
        (
            "let sum = 0; for row in x { sum += row[0].item(); } sum",
            "12",
        ),
        ("let f = |a| a[1][1].item(); f.call(x)", "5"),
    ] {
        assert_eq!(show(&format!("{x}{code}")), expected, "{code}");
    }
}

#[test]
fn methods() {
    all(&[
        ("ones([2, 3]).sum(0).to_array()", "[2.0, 2.0, 2.0]"),
        ("ones([2, 3]).sum([0, 1]).item()", "6.0"),
        ("arange(4).sum().item()", "6"),
        ("arange(4).mean().item()", "1.5"),
        ("tensor([1.0, 3.0]).std().item() > 1.41", "true"),
        (
            "tensor([[1.0, 5.0], [7.0, 2.0]]).max(1).to_array()",
            "[5.0, 7.0]",
        ),
        ("tensor([[1.0, 5.0], [7.0, 2.0]]).argmax().item()", "2"),
        ("tensor([[1, 5], [7, 2]]).argmin(1).to_array()", "[0, 1]"),
        ("zeros([2]).softmax().to_array()", "[0.5, 0.5]"),
        ("arange(6).reshape([2, -1]).t().shape", "[3, 2]"),
        ("zeros([2, 3, 4]).permute([2, 0, 1]).shape", "[4, 2, 3]"),
        ("zeros([1, 3, 1]).squeeze().shape", "[3]"),
        ("zeros([3]).unsqueeze(-1).shape", "[3, 1]"),
        ("arange(5).narrow(0, -2, 2).to_array()", "[3, 4]"),
        ("arange(3).flip(0).to_array()", "[2, 1, 0]"),
        ("tensor([-2, 5]).clamp(0, 1).to_array()", "[0.0, 1.0]"),
        ("tensor([2.0]).item() + 1", "3.0"),
        ("tensor([1, 2]).to(\"f64\").dtype", "\"f64\""),
        ("tensor([1.9]).to(\"i64\").item()", "1"),
        ("zeros([5, 2]).len()", "5"),
        ("zeros([5, 2]).size", "10"),
        ("zeros([5, 2]).rank", "2"),
        ("zeros([1]).device", "\"cpu\""),
        ("norm(tensor([3.0, 4.0])).item()", "5.0"),
    ]);
}

#[test]
fn gradients() {
    all(&[
        (
            "let w = param(tensor([1.0, 2.0])); grad((w ** 2).sum(), w).to_array()",
            "[2.0, 4.0]",
        ),
        (
            "let w = param(tensor([3.0])); let b = param(zeros([1])); let g = grad((w * 2 + b).sum(), [w, b]); [g[0].item(), g[1].item()]",
            "[2.0, 1.0]",
        ),
        (
            "let w = param(tensor([2.0])); let g = grad((w ** 3).sum(), w, #{ create_graph: true }); grad(g.sum(), w).item()",
            "12.0",
        ),
        ("let w = param(tensor([3])); w.dtype", "\"f32\""),
        (
            "let w = param(tensor([3.0])); fn f(w) { (w * w).sum() } grad(f(w), w).item()",
            "6.0",
        ),
    ]);
    let error = run("let w = param(tensor([3.0])); let y = no_grad(|| w * 2); grad(y.sum(), w)")
        .unwrap_err();
    assert_eq!(error.kind, Kind::Value, "{}", error.message);
}

#[test]
fn a_seed_repeats() {
    let draws = show(
        "seed(7); let a = randn([3]); let b = rand([2]); seed(7); let c = randn([3]); let d = rand([2]); [(a == c).sum().item(), (b == d).sum().item(), (randn([3]) == a).sum().item()]",
    );
    assert_eq!(draws, "[3, 2, 0]");
}

#[test]
fn a_tensor_shows_its_values() {
    let mut session = Session::new(SessionOptions::default());
    let mut io = Recorder::default();
    let display = session
        .execute("let x = tensor([[1.5, 2.0], [3.0, 4.0]]); x", &mut io)
        .unwrap()
        .unwrap();
    assert!(
        display.plain().contains("1.5") && display.plain().contains("[2, 2] f32 cpu"),
        "{}",
        display.plain()
    );
    let html = display.get("text/html").unwrap();
    assert!(
        html.contains(">1.5000</td>") && html.contains("[2, 2] f32"),
        "{html}"
    );
    session
        .execute("print(x); print(\"x\", 1);", &mut io)
        .unwrap();
    assert!(
        io.stdout.contains("[2, 2] f32 cpu") && io.stdout.ends_with("x 1\n"),
        "{}",
        io.stdout
    );
    let variable = &session.variables()[0];
    assert_eq!(
        (
            variable.kind.as_str(),
            variable.summary.as_str(),
            variable.bytes
        ),
        ("Tensor", "[2, 2] f32", Some(16))
    );
    assert!(
        session
            .complete("x.su", 4)
            .items
            .iter()
            .any(|item| item.text == "sum" && item.kind == "method")
    );
    assert!(
        session
            .complete("x.sum().me", 10)
            .items
            .iter()
            .any(|item| item.text == "mean")
    );
    assert!(
        session
            .complete("zeros([2], #{ dt", 16)
            .items
            .iter()
            .any(|item| item.text == "dtype: " && item.kind == "option")
    );
    assert_eq!(
        session
            .complete("zeros([2], #{ dtype: \"f", 23)
            .items
            .iter()
            .map(|i| i.text.as_str())
            .collect::<Vec<_>>(),
        ["f32", "f64"]
    );
    assert!(
        session
            .complete("zeros([2], #{ dtype: ", 21)
            .items
            .iter()
            .any(|item| item.text == "\"f64\"" && item.kind == "value")
    );
}

fn check(code: &str, kind: Kind, message: &str, marked: &str) {
    let error = run(code).unwrap_err();
    assert_eq!(error.kind, kind, "{code}: {}", error.message);
    assert!(error.message.contains(message), "{code}: {}", error.message);
    let place = error.place.unwrap_or_else(|| panic!("{code}: no place"));
    let text: String = place
        .text
        .chars()
        .skip(place.column - 1)
        .take(place.end - place.column)
        .collect();
    assert_eq!(text, marked, "{code}");
}

#[test]
fn errors_point_at_what_is_meant() {
    check(
        "let x = zeros([2, 3], #{ dtipe: \"f64\" });",
        Kind::Option,
        "unknown option `dtipe`",
        "dtipe",
    );
    check(
        "zeros([2], #{ dtype: \"f46\" })",
        Kind::Option,
        "option `dtype`: \"f46\" is not allowed",
        "\"f46\"",
    );
    check(
        "zeros([2], #{ dtype: 3 })",
        Kind::Option,
        "option `dtype`: expected \"f32\" | \"f64\" | \"bf16\" | \"i64\" | \"u8\" | \"bool\" | (), got int 3",
        "3",
    );
    check(
        "zeros([2], #{\n  device: \"cuda\" })",
        Kind::Value,
        "this build has no CUDA",
        "\"cuda\"",
    );
    check(
        "let o = #{ dtype: 3 };\nzeros([2], o)",
        Kind::Option,
        "option `dtype`: expected \"f32\" | \"f64\" | \"bf16\" | \"i64\" | \"u8\" | \"bool\" | (), got int 3",
        "3",
    );
    check(
        "zeros([2, -3])",
        Kind::Shape,
        "a size must be >= 0, got -3",
        "[2, -3]",
    );
    check(
        "zeros(\"a\")",
        Kind::Type,
        "expected int or array of ints, got string",
        "\"a\"",
    );
    check(
        "tensor([[1, 2], [3]])",
        Kind::Shape,
        "the arrays at depth 1 have 2 and 1 items",
        "[[1, 2], [3]]",
    );
    check(
        "tensor([1, [2]])",
        Kind::Shape,
        "an array stands beside a number at depth 1",
        "[1, [2]]",
    );
    check(
        "tensor([[1], 2])",
        Kind::Shape,
        "a number stands beside an array at depth 1",
        "[[1], 2]",
    );
    check(
        "ones([2, 3]) @ ones([4, 2])",
        Kind::Shape,
        "matmul: [2, 3] x [4, 2]: inner sizes 3 and 4 differ",
        "@",
    );
    check(
        "ones([2, 3]) + ones([4])",
        Kind::Shape,
        "add: shapes [2, 3] and [4] do not broadcast: sizes 3 and 4",
        "+",
    );
    check(
        "ones([2]) * \"a\"",
        Kind::Type,
        "`*` does not work between Tensor and string",
        "*",
    );
    check(
        "ones([2]).summ()",
        Kind::Name,
        "Tensor has no method `summ`",
        "summ",
    );
    check(
        "ones([2]).sum",
        Kind::Name,
        "Tensor has no property `sum`",
        "sum",
    );
    check(
        "ones([2]).shap",
        Kind::Name,
        "Tensor has no property `shap`",
        "shap",
    );
    check(
        "ones([2, 3])[5]",
        Kind::Value,
        "index 5 is out of range for size 2",
        "[5]",
    );
    check(
        "let x = ones([2]); x[0] = \"a\";",
        Kind::Type,
        "expected Tensor or number, got string",
        "[0]",
    );
    check(
        "device(\"gpu\")",
        Kind::Value,
        "\"gpu\" is not a device",
        "\"gpu\"",
    );
    check(
        "dtype(\"f16\")",
        Kind::Value,
        "\"f16\" is not a default dtype",
        "\"f16\"",
    );
    check(
        "ones([2]).item()",
        Kind::Shape,
        "item: expected one element, got shape [2]",
        "item",
    );
    check(
        "zeros([1_000_000, 1_000_000_000])",
        Kind::Limit,
        "",
        "zeros",
    );
    check(
        "zeros([9_000_000_000_000, 9_000_000_000])",
        Kind::Value,
        "full: shape [9000000000000, 9000000000] has more elements than memory can address",
        "zeros",
    );
    check(
        "ones([2]).reshape([3])",
        Kind::Shape,
        "reshape: [2] has 2 elements, [3] has 3",
        "reshape",
    );
    check(
        "ones([6]).reshape([-1, 4])",
        Kind::Shape,
        "6 elements do not fill [-1, 4]",
        "[-1, 4]",
    );
    check(
        "cat([ones([2]), 3])",
        Kind::Type,
        "expected array of tensors, got an item of type int",
        "[ones([2]), 3]",
    );
}
