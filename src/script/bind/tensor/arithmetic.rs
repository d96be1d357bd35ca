//! Operators and comparisons between tensors and numbers, on either side.

use rhai::FnPtr;
use rhapsode_tensor::{Result as TensorResult, Tensor};

use crate::{
    bind::{Outcome, raise},
    library::Library,
};

type Operation = fn(&Tensor, &Tensor) -> TensorResult<Tensor>;

/// Operators and what they do on two tensors of one dtype.
const OPERATORS: [(&str, Operation, &str); 6] = [
    ("+", Tensor::add, "The sum, elementwise; shapes broadcast."),
    (
        "-",
        Tensor::sub,
        "The difference, elementwise; shapes broadcast.",
    ),
    (
        "*",
        Tensor::mul,
        "The product, elementwise; shapes broadcast.",
    ),
    (
        "/",
        Tensor::div,
        "The quotient, elementwise; shapes broadcast. Ints give floats.",
    ),
    (
        "**",
        power,
        "The power, elementwise; shapes broadcast. Ints give floats.",
    ),
    (
        "@",
        Tensor::matmul,
        "The matrix product over the last two axes.",
    ),
];

/// Comparisons: operator, method, what they do.
const COMPARISONS: [(&str, &str, Operation); 6] = [
    (">", "gt", Tensor::gt),
    (">=", "ge", Tensor::ge),
    ("<", "lt", Tensor::lt),
    ("<=", "le", Tensor::le),
    ("==", "eq", Tensor::eq),
    ("!=", "ne", Tensor::ne),
];

/// Methods of two tensors, or of a tensor and a number.
const PAIRS: [(&str, Operation, &str); 7] = [
    (
        "add",
        Tensor::add,
        "The sum, as `+`.\n\n```rhai\nones([2]).add(1).to_array() // => [2.0, 2.0]\n```",
    ),
    (
        "sub",
        Tensor::sub,
        "The difference, as `-`.\n\n```rhai\nones([2]).sub(3).to_array() // => [-2.0, -2.0]\n```",
    ),
    (
        "mul",
        Tensor::mul,
        "The product, as `*`.\n\n```rhai\nones([2]).mul(3).to_array() // => [3.0, 3.0]\n```",
    ),
    (
        "div",
        Tensor::div,
        "The quotient, as `/`.\n\n```rhai\nones([2]).div(4).to_array() // => [0.25, 0.25]\n```",
    ),
    (
        "pow",
        power,
        "The power, as `**`.\n\n```rhai\ntensor([2.0, 3.0]).pow(2).to_array() // => [4.0, 9.0]\n```",
    ),
    (
        "maximum",
        Tensor::maximum,
        "The larger of two, elementwise.\n\n```rhai\ntensor([1.0, 5.0]).maximum(2.0).to_array() // => [2.0, 5.0]\n```",
    ),
    (
        "minimum",
        Tensor::minimum,
        "The smaller of two, elementwise.\n\n```rhai\ntensor([1.0, 5.0]).minimum(2.0).to_array() // => [1.0, 2.0]\n```",
    ),
];

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    for (name, operation, text) in OPERATORS {
        let binding = library.operator(
            name,
            "(left: Tensor | number, right: Tensor | number) -> Tensor",
            text,
        );
        both_sides(binding, operation);
    }
    for (sign, name, operation) in COMPARISONS {
        let text = "Whether it holds, elementwise, as bool. No gradient goes through.\n\n```rhai\n(tensor([1, 5]) > 3).to_array() // => [false, true]\n```";
        both_sides(
            library.operator(
                sign,
                "(left: Tensor | number, right: Tensor | number) -> Tensor",
                text,
            ),
            operation,
        );
        with_receiver(
            library.method::<Tensor>(name, "(other: Tensor | number) -> Tensor", text),
            operation,
        );
    }
    for (name, operation, text) in PAIRS {
        with_receiver(
            library.method::<Tensor>(name, "(other: Tensor | number) -> Tensor", text),
            operation,
        );
    }
    library
        .method::<Tensor>(
            "matmul",
            "(other: Tensor) -> Tensor",
            r#"
            The matrix product over the last two axes; leading axes broadcast. Also written `a @ b`.

            ```rhai
            ones([2, 3]).matmul(ones([3, 4])).shape // => [2, 4]
            ```
            "#,
        )
        .call(|a: Tensor, b: Tensor| raise(a.matmul(&b)));
    library
        .operator("-", "(x: Tensor) -> Tensor", "The negative.")
        .call(|x: Tensor| raise(x.neg()));
    library
        .operator(
            "!",
            "(mask: Tensor) -> Tensor",
            "Whether each element is 0, as bool: the opposite of a mask.\n\n```rhai\n(!tensor([true, false])).to_array() // => [false, true]\n```",
        )
        .call(|x: Tensor| raise(x.logical_not()));
    // `xs.map(f)` on a tensor would be a loop in disguise; a closure gets the whole batch instead.
    library
        .method::<Tensor>(
            "pipe",
            "(f: closure) -> any",
            r#"
            What a closure makes of the tensor: for chains of one's own functions.

            ```rhai
            tensor([1.0, 2.0]).pipe(|x| x * 2).sum().item() // => 6.0
            ```
            "#,
        )
        .call(
            |call: rhai::NativeCallContext, x: Tensor, f: FnPtr| -> Outcome<rhai::Dynamic> {
                f.call_within_context(&call, (x,))
            },
        );
}

/// Tensor and tensor, tensor and number, number and tensor.
pub(super) fn both_sides(binding: crate::library::Binding, operation: Operation) {
    with_receiver(binding, operation)
        .call(move |a: i64, b: Tensor| raise(int(a, &b).and_then(|a| operation(&a, &b))))
        .call(move |a: f64, b: Tensor| raise(float(a, &b).and_then(|a| operation(&a, &b))));
}

/// Tensor and tensor, tensor and number. Methods take their tensor by value (a cheap clone): one by
/// reference might change it, so that Rhai would write `x[0]` back into `x` after `x[0].add(1)`.
pub(super) fn with_receiver(
    binding: crate::library::Binding,
    operation: Operation,
) -> crate::library::Binding {
    binding
        .call(move |a: Tensor, b: Tensor| raise(operation(&a, &b)))
        .call(move |a: Tensor, b: i64| raise(int(b, &a).and_then(|b| operation(&a, &b))))
        .call(move |a: Tensor, b: f64| raise(float(b, &a).and_then(|b| operation(&a, &b))))
}

/// An int beside a tensor: floats keep their dtype, whole numbers become i64 (so that bytes do not wrap).
pub(super) fn int(value: i64, beside: &Tensor) -> TensorResult<Tensor> {
    match beside.dtype() {
        dtype if dtype.is_float() => Tensor::scalar(value as f64, dtype),
        _ => Tensor::from_vec(vec![value], &[]),
    }
}

/// A float beside a tensor: floats keep their dtype, whole numbers become f32.
pub(super) fn float(value: f64, beside: &Tensor) -> TensorResult<Tensor> {
    Tensor::scalar(value, beside.dtype().float())
}

/// A constant exponent has a kernel of its own.
fn power(a: &Tensor, b: &Tensor) -> TensorResult<Tensor> {
    if b.rank() == 0 && !b.is_tracked() {
        let base = a.to_dtype(a.dtype().promote(b.dtype()).float())?;
        return base.powf(b.item()?);
    }
    a.pow(b)
}
