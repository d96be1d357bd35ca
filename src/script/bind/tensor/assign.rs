//! `x[i] = v`, `x[[0..2, 1]] = y`, `x[mask] = 0`, and with them `x[i] += v`.
//!
//! The variable gets a new tensor; others that hold the old one keep it, as with arrays in scripts
//! (in PyTorch a view would follow). So history stays right: an assignment into a tracked tensor is an operation like any
//! other, and gradients flow to both the rest of the old values and the new ones.

use std::ops::{Range, RangeInclusive};

use rhai::{Array, Dynamic};
use rhapsode_tensor::{DType, Tensor, is_recording};

use super::{index::part, operand};
use crate::{Kind, bind::Outcome, fault::Fault, library::Library};

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library
        .index_assignment::<Tensor>(
            "(index: int | range | array | Tensor, value: Tensor | number)",
            r#"
            Writes into a part of a tensor, named as in reading it; the value broadcasts to the part and takes
            the tensor's dtype. Only this variable changes. Gradients flow to the old and to the new values.

            ```rhai
            let x = zeros([2, 3]);
            x[0] = 1;
            x[[(), 2]] = tensor([5.0, 6.0]);
            x[x > 4] += 10;
            x.to_array() // => [[1.0, 1.0, 15.0], [0.0, 0.0, 16.0]]
            ```
            "#,
        )
        .call(|x: &mut Tensor, i: i64, value: Dynamic| assign(x, Dynamic::from(i), &value))
        .call(|x: &mut Tensor, r: Range<i64>, value: Dynamic| assign(x, Dynamic::from(r), &value))
        .call(|x: &mut Tensor, r: RangeInclusive<i64>, value: Dynamic| {
            assign(x, Dynamic::from(r), &value)
        })
        .call(|x: &mut Tensor, spec: Array, value: Dynamic| assign(x, Dynamic::from(spec), &value))
        .call(|x: &mut Tensor, picks: Tensor, value: Dynamic| {
            assign(x, Dynamic::from(picks), &value)
        });
}

// Not one overload for any index: Rhai tries an index where a property is missing, and `x.name = 1` must say so.
fn assign(x: &mut Tensor, index: Dynamic, value: &Dynamic) -> Outcome<()> {
    *x = assigned(x, &index, value)?;
    Ok(())
}

fn assigned(x: &Tensor, index: &Dynamic, value: &Dynamic) -> Result<Tensor, Fault> {
    if x.is_leaf() && is_recording() {
        return Err(Fault::value(
            "a parameter cannot be assigned into: its gradient would be lost",
        )
        .hint("change a copy: `let y = x * 1.0; y[0] = ..`, or `x.detach()` before `param(..)`"));
    }
    let value = operand(value, x)?;
    if value.dtype().is_float() && !x.dtype().is_float() {
        let message = format!(
            "cannot write {} into a tensor of {}",
            value.dtype().as_str(),
            x.dtype().as_str()
        );
        return Err(
            Fault::new(Kind::Type, message).hint("convert the tensor first: `x = x.to(\"f32\")`")
        );
    }
    if x.dtype() == DType::Bool && value.dtype() != DType::Bool {
        return Err(Fault::expected("bool", value.dtype().as_str())
            .hint("`true`, `false`, or a comparison"));
    }
    let all = Tensor::from_vec((0..x.len() as i64).collect(), x.dims())?;
    let places = part(&all, index)?;
    let extra = value.rank().saturating_sub(places.rank());
    let fits = value.dims().iter().take(extra).all(|&n| n == 1);
    let wide = match fits {
        true => value
            .reshape(&value.dims()[extra..])
            .and_then(|v| v.broadcast_to(places.dims())),
        false => value.broadcast_to(places.dims()),
    };
    let wide = wide.map_err(|_| {
        Fault::new(
            Kind::Shape,
            format!(
                "a value of shape {:?} does not fit a part of shape {:?}",
                value.dims(),
                places.dims()
            ),
        )
    })?;
    Ok(x.put(&places, &wide)?)
}
