//! Tensors in scripts: how they are made, combined, indexed, reduced and shown.

mod algebra;
mod arithmetic;
mod arrange;
mod assign;
mod convolve;
pub(crate) mod create;
mod fourier;
mod gradient;
mod index;
mod math;
mod methods;
mod order;
mod random;
mod reduce;
mod show;

use rhai::{Array, Dynamic};
use rhapsode_tensor::{DType, Result as TensorResult, Tensor};

use crate::{
    bind::number,
    fault::{Fault, Spot},
    library::Library,
    value::type_word,
};

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.object::<Tensor>(
        r#"
        An array of numbers of any rank, with the gradient's history where one is wanted. Operations
        give new tensors, and `x[i] = v` changes the variable `x` alone. Ints, floats and tensors mix, and
        shapes broadcast as in PyTorch.

        Dtypes are `bool < u8 < i64 < bf16 < f32 < f64`; two tensors meet in the larger one. A quotient of ints is
        a float, bools are counted by `+` and `sum`. A number beside a tensor of floats takes its dtype.
        What is computed in bf16 is computed in f32 and rounded once.

        ```rhai
        let x = tensor([[1.0, 2.0], [3.0, 4.0]]);
        (x * 2 + 1).sum().item() // => 24.0
        ```
        "#,
    );
    library.rows_of::<Tensor>(rows);
    create::bind(library);
    random::bind(library);
    arithmetic::bind(library);
    index::bind(library);
    assign::bind(library);
    methods::bind(library);
    math::bind(library);
    order::bind(library);
    reduce::bind(library);
    arrange::bind(library);
    gradient::bind(library);
    convolve::bind(library);
    algebra::bind(library);
    fourier::bind(library);
}

/// A loop over a tensor goes along its first axis.
fn rows(value: Tensor) -> Box<dyn Iterator<Item = Dynamic>> {
    let count = value.dims().first().copied().unwrap_or(0);
    Box::new((0..count).map_while(move |i| value.select(0, i as i64).ok().map(Dynamic::from)))
}

/// The name of a dtype.
pub(crate) fn dtype_named(name: &str) -> Option<DType> {
    DType::parse(name)
}

/// Ints become floats: for operations that only floats have.
fn real(x: &Tensor) -> TensorResult<Tensor> {
    if x.dtype().is_float() {
        Ok(x.clone())
    } else {
        x.to_dtype(x.dtype().float())
    }
}

/// Two tensors in one dtype, see [`DType::promote`].
fn promoted(a: &Tensor, b: &Tensor) -> TensorResult<(Tensor, Tensor)> {
    let dtype = a.dtype().promote(b.dtype());
    Ok((a.to_dtype(dtype)?, b.to_dtype(dtype)?))
}

/// An array of ints, or one int, e.g. axes.
pub(crate) fn ints(value: &Dynamic) -> Result<Vec<i64>, Fault> {
    if let Ok(one) = value.as_int() {
        return Ok(vec![one]);
    }
    let Some(items) = value.read_lock::<Array>() else {
        return Err(Fault::expected(
            "int or array of ints",
            type_word(value.type_name()),
        ));
    };
    let int = |item: &Dynamic| {
        item.as_int().map_err(|got| {
            Fault::expected(
                "array of ints",
                &format!("an item of type {}", type_word(got)),
            )
        })
    };
    items.iter().map(int).collect()
}

/// A shape: sizes that are not negative.
pub(crate) fn shape(value: &Dynamic) -> Result<Vec<usize>, Fault> {
    let size = |n: i64| {
        usize::try_from(n)
            .map_err(|_| Fault::new(crate::Kind::Shape, format!("a size must be >= 0, got {n}")))
    };
    ints(value)?.into_iter().map(size).collect()
}

/// Axes: the first argument of a reduction.
fn axes_of(value: &Dynamic) -> Result<Vec<i64>, Fault> {
    ints(value).map_err(|fault| fault.at(Spot::Argument(0)))
}

/// A tensor or a number as the other operand of `beside`.
fn operand(value: &Dynamic, beside: &Tensor) -> Result<Tensor, Fault> {
    if let Some(tensor) = value.read_lock::<Tensor>() {
        return Ok(tensor.clone());
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Tensor::scalar(f64::from(u8::from(flag)), DType::Bool)?);
    }
    if let Ok(int) = value.as_int() {
        return Ok(arithmetic::int(int, beside)?);
    }
    match value.as_float() {
        Ok(float) => Ok(arithmetic::float(float, beside)?),
        Err(got) => Err(Fault::expected("Tensor or number", type_word(got))),
    }
}

/// A number as argument `i`.
fn float(value: &Dynamic, i: usize) -> Result<f64, Fault> {
    let wrong = || Fault::expected("int or float", type_word(value.type_name()));
    number(value).ok_or_else(|| wrong().at(Spot::Argument(i)))
}
