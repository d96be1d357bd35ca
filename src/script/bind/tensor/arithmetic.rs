//! Operators and comparisons between tensors and numbers, on either side.

use rhai::FnPtr;
use rhapsode_tensor::{DType, Result as TensorResult, Tensor};

use super::{promoted, real};
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
        divide,
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
    ("add", Tensor::add, "The sum, as `+`."),
    ("sub", Tensor::sub, "The difference, as `-`."),
    ("mul", Tensor::mul, "The product, as `*`."),
    ("div", divide, "The quotient, as `/`."),
    (
        "pow",
        power,
        "The power, as `**`.\n\n```rhai\ntensor([2.0, 3.0]).pow(2).to_array() // => [4.0, 9.0]\n```",
    ),
    (
        "maximum",
        Tensor::maximum,
        "The larger of two, elementwise.",
    ),
    (
        "minimum",
        Tensor::minimum,
        "The smaller of two, elementwise.",
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
        let text = "1 where it holds, else 0, elementwise; the dtype is u8.\n\n```rhai\n(tensor([1, 5]) > 3).to_array() // => [0, 1]\n```";
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
        .call(|a: Tensor, b: Tensor| two(&a, &b, Tensor::matmul));
    library
        .operator("-", "(x: Tensor) -> Tensor", "The negative.")
        .call(|x: Tensor| raise(negative(&x)));
    library
        .operator(
            "!",
            "(mask: Tensor) -> Tensor",
            "1 where the mask is 0, else 0.",
        )
        .call(|x: Tensor| raise(zero_like(&x).and_then(|zero| x.eq(&zero))));
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
fn both_sides(binding: crate::library::Binding, operation: Operation) {
    with_receiver(binding, operation)
        .call(move |a: i64, b: Tensor| {
            raise(number(a as f64, true, &b).and_then(|a| apply(&a, &b, operation)))
        })
        .call(move |a: f64, b: Tensor| {
            raise(number(a, false, &b).and_then(|a| apply(&a, &b, operation)))
        });
}

fn with_receiver(
    binding: crate::library::Binding,
    operation: Operation,
) -> crate::library::Binding {
    binding
        .call(move |a: Tensor, b: Tensor| two(&a, &b, operation))
        .call(move |a: Tensor, b: i64| {
            raise(number(b as f64, true, &a).and_then(|b| apply(&a, &b, operation)))
        })
        .call(move |a: Tensor, b: f64| {
            raise(number(b, false, &a).and_then(|b| apply(&a, &b, operation)))
        })
}

fn two(a: &Tensor, b: &Tensor, operation: Operation) -> Outcome<Tensor> {
    raise(apply(a, b, operation))
}

fn apply(a: &Tensor, b: &Tensor, operation: Operation) -> TensorResult<Tensor> {
    let (a, b) = promoted(a, b)?;
    operation(&a, &b)
}

/// A number beside a tensor takes the tensor's dtype; a float beside ints makes floats of them.
fn number(value: f64, is_int: bool, beside: &Tensor) -> TensorResult<Tensor> {
    let dtype = match (beside.dtype().is_float(), is_int) {
        (true, _) => beside.dtype(),
        (false, true) => DType::I64,
        (false, false) => DType::F32,
    };
    Tensor::scalar(value, dtype)
}

fn divide(a: &Tensor, b: &Tensor) -> TensorResult<Tensor> {
    real(a)?.div(&real(b)?)
}

/// A constant exponent has a kernel of its own.
fn power(a: &Tensor, b: &Tensor) -> TensorResult<Tensor> {
    let base = real(a)?;
    if b.rank() == 0 && !b.is_tracked() {
        return base.powf(b.item()?);
    }
    base.pow(&real(b)?)
}

fn negative(x: &Tensor) -> TensorResult<Tensor> {
    if x.dtype().is_float() {
        x.neg()
    } else {
        Tensor::scalar(0.0, DType::I64)?.sub(&x.to_dtype(DType::I64)?)
    }
}

fn zero_like(x: &Tensor) -> TensorResult<Tensor> {
    Tensor::scalar(0.0, x.dtype())
}
