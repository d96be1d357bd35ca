//! Tensors in scripts: how they are made, combined, indexed, reduced and shown.

mod algebra;
mod arithmetic;
mod convolve;
mod create;
mod fourier;
mod gradient;
mod index;
mod methods;
mod show;

use rhai::{Array, Dynamic};
use rhapsode_tensor::{DType, Result as TensorResult, Tensor};

use crate::{fault::Fault, library::Library, value::type_word};

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.object::<Tensor>(
        r#"
        An array of numbers of any rank, with the gradient's history where one is wanted. Tensors never
        change: operations give new ones. Ints, floats and tensors mix, and shapes broadcast as in PyTorch.

        ```rhai
        let x = tensor([[1.0, 2.0], [3.0, 4.0]]);
        (x * 2 + 1).sum().item() // => 24.0
        ```
        "#,
    );
    library.rows_of::<Tensor>(rows);
    create::bind(library);
    arithmetic::bind(library);
    index::bind(library);
    methods::bind(library);
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
    Some(match name {
        "f32" => DType::F32,
        "f64" => DType::F64,
        "i64" => DType::I64,
        "u8" => DType::U8,
        _ => return None,
    })
}

/// Ints become floats: for operations that only floats have.
fn real(x: &Tensor) -> TensorResult<Tensor> {
    if x.dtype().is_float() {
        Ok(x.clone())
    } else {
        x.to_dtype(DType::F32)
    }
}

/// Two tensors in one dtype: a float wins over an int, f64 over f32.
fn promoted(a: &Tensor, b: &Tensor) -> TensorResult<(Tensor, Tensor)> {
    let rank = |dtype: DType| match dtype {
        DType::U8 => 0,
        DType::I64 => 1,
        DType::F64 => 3,
        _ => 2,
    };
    let dtype = if rank(a.dtype()) >= rank(b.dtype()) {
        a.dtype()
    } else {
        b.dtype()
    };
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
