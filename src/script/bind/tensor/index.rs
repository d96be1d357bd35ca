//! `x[i]`, `x[a..b]`, `x[[i, a..b, ()]]`, `x[mask]`, and the functions that put tensors together.

use rhai::{Array, Dynamic, NativeCallContext};
use rhapsode_tensor::{DType, Tensor};

use crate::{
    Kind,
    bind::{Outcome, number, raise},
    fault::{Fault, Spot},
    library::Library,
    value::type_word,
};

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    library
        .index::<Tensor>(
            "(index: int | range | array | Tensor) -> Tensor",
            r#"
            A part of a tensor. An int takes one place and drops the axis, a range keeps it, `()` takes all,
            an array gives one of these for each axis; negative numbers count from the end. A tensor of ints
            picks places of the first axis (`x[arange(0, 10, 2)]` takes every second), one of bools keeps what it says.

            ```rhai
            let x = arange(12).reshape([3, 4]);
            x[-1].to_array() // => [8, 9, 10, 11]
            x[[0, 1..3]].to_array() // => [1, 2]
            x[[(), 0]].to_array() // => [0, 4, 8]
            x[tensor([2, 0])].shape // => [2, 4]
            x[x > 9].to_array() // => [10, 11]
            ```
            "#,
        )
        .call(|x: &mut Tensor, i: i64| raise(x.select(0, i)))
        .call(|x: &mut Tensor, r: std::ops::Range<i64>| raise_fault(slice(x, 0, r.start, r.end)))
        .call(|x: &mut Tensor, r: std::ops::RangeInclusive<i64>| {
            raise_fault(slice(x, 0, *r.start(), end_of(&r)))
        })
        .call(|x: &mut Tensor, spec: Array| raise_fault(by_axes(x, &spec)))
        .call(|x: &mut Tensor, picks: Tensor| raise_fault(by_tensor(x, &picks)));
    joins(library);
}

fn joins(library: &mut Library) {
    library
        .function(
            "cat",
            "(tensors: array, axis?: int) -> Tensor",
            r#"
            Tensors put together along an axis that they have (0).

            ```rhai
            cat([ones([2, 3]), zeros([1, 3])]).shape // => [3, 3]
            ```
            "#,
        )
        .call(|parts: Array| join(&parts, 0, Tensor::cat))
        .call(|parts: Array, axis: i64| join(&parts, axis, Tensor::cat));
    library
        .function(
            "stack",
            "(tensors: array, axis?: int) -> Tensor",
            r#"
            Tensors of one shape put together along a new axis (0).

            ```rhai
            stack([ones([3]), zeros([3])]).shape // => [2, 3]
            ```
            "#,
        )
        .call(|parts: Array| join(&parts, 0, Tensor::stack))
        .call(|parts: Array, axis: i64| join(&parts, axis, Tensor::stack));
    library
        .function(
            "where",
            "(mask: Tensor, a: Tensor | number, b: Tensor | number) -> Tensor",
            r#"
            `a` where the mask is not 0, else `b`; shapes broadcast.

            ```rhai
            let x = tensor([-1.0, 2.0]);
            where(x > 0, x, 0).to_array() // => [0.0, 2.0]
            ```
            "#,
        )
        .call(
            |call: NativeCallContext, mask: Tensor, a: Dynamic, b: Dynamic| {
                choose(&call, &mask, &a, &b)
            },
        );
}

fn raise_fault(result: Result<Tensor, Fault>) -> Outcome<Tensor> {
    raise(result)
}

/// One past the last place of `a..=b`, where -1 means the end.
fn end_of(range: &std::ops::RangeInclusive<i64>) -> i64 {
    match range.end() {
        -1 => i64::MAX,
        end => end.saturating_add(1),
    }
}

/// `start..end` along an axis; negative bounds count from the end, and what lies outside is cut off.
fn slice(x: &Tensor, axis: i64, start: i64, end: i64) -> Result<Tensor, Fault> {
    let size = x.dim_of(axis)? as i64;
    let from_end = |n: i64| {
        if n < 0 {
            n.saturating_add(size).max(0)
        } else {
            n.min(size)
        }
    };
    let (start, end) = (from_end(start), from_end(end));
    let length = (end - start).max(0);
    Ok(x.narrow(axis, start as usize, length as usize)?)
}

/// The size of an axis, with a message of its own for scalars.
trait DimOf {
    fn dim_of(&self, axis: i64) -> Result<usize, Fault>;
}

impl DimOf for Tensor {
    fn dim_of(&self, axis: i64) -> Result<usize, Fault> {
        if self.rank() == 0 {
            return Err(
                Fault::new(Kind::Shape, "a tensor of one number cannot be indexed")
                    .hint("its number is `x.item()`"),
            );
        }
        Ok(self.dim(axis)?)
    }
}

/// What an index takes of a tensor.
pub(super) fn part(x: &Tensor, index: &Dynamic) -> Result<Tensor, Fault> {
    if let Ok(i) = index.as_int() {
        x.dim_of(0)?;
        return Ok(x.select(0, i)?);
    }
    if let Some(spec) = index.read_lock::<Array>() {
        return by_axes(x, &spec);
    }
    if let Some(picks) = index.read_lock::<Tensor>() {
        return by_tensor(x, &picks);
    }
    if let Some(r) = index.read_lock::<std::ops::Range<i64>>() {
        return slice(x, 0, r.start, r.end);
    }
    if let Some(r) = index.read_lock::<std::ops::RangeInclusive<i64>>() {
        return slice(x, 0, *r.start(), end_of(&r));
    }
    Err(Fault::expected(
        "int, range, Tensor or an array of these",
        type_word(index.type_name()),
    ))
}

/// One index for each of the first axes.
fn by_axes(x: &Tensor, spec: &Array) -> Result<Tensor, Fault> {
    if spec.len() > x.rank() {
        return Err(Fault::new(
            Kind::Shape,
            format!(
                "{} indices for a tensor of shape {:?}",
                spec.len(),
                x.dims()
            ),
        ));
    }
    let mut part = x.clone();
    let mut axis = 0;
    for index in spec {
        if index.is_unit() {
            axis += 1;
        } else if let Ok(i) = index.as_int() {
            part = part.select(axis, i)?;
        } else if let Some(r) = index.read_lock::<std::ops::Range<i64>>() {
            part = slice(&part, axis, r.start, r.end)?;
            axis += 1;
        } else if let Some(r) = index.read_lock::<std::ops::RangeInclusive<i64>>() {
            part = slice(&part, axis, *r.start(), end_of(&r))?;
            axis += 1;
        } else if let Some(picks) = index.read_lock::<Tensor>() {
            part = part.index_select(axis, &places(&picks, part.dim_of(axis)?)?)?;
            axis += 1;
        } else {
            return Err(Fault::expected(
                "int, range, () or Tensor for each axis",
                type_word(index.type_name()),
            ));
        }
    }
    Ok(part)
}

fn by_tensor(x: &Tensor, picks: &Tensor) -> Result<Tensor, Fault> {
    if picks.dtype() == DType::Bool {
        return Ok(x.masked_select(picks)?);
    }
    x.dim_of(0)?;
    let taken = x.index_select(0, &picks.reshape(&[picks.len()])?)?;
    // Indices of any shape stand where the axis stood.
    Ok(taken.reshape(&[picks.dims(), &x.dims()[1..]].concat())?)
}

/// The places that a tensor picks along an axis of so many: its numbers, or where its mask is 1.
fn places(picks: &Tensor, size: usize) -> Result<Tensor, Fault> {
    if picks.dtype() != DType::Bool {
        return Ok(picks.clone());
    }
    if picks.dims() != [size] {
        return Err(Fault::new(
            Kind::Shape,
            format!(
                "a mask for {size} rows has shape [{size}], got {:?}",
                picks.dims()
            ),
        ));
    }
    let kept: Vec<i64> = picks
        .to_ints("index")?
        .iter()
        .enumerate()
        .filter(|(_, flag)| **flag != 0)
        .map(|(i, _)| i as i64)
        .collect();
    let count = kept.len();
    Ok(Tensor::from_vec(kept, &[count])?)
}

fn join(
    parts: &Array,
    axis: i64,
    how: fn(&[&Tensor], i64) -> rhapsode_tensor::Result<Tensor>,
) -> Outcome<Tensor> {
    let tensor = |part: &Dynamic| {
        let got = || type_word(part.type_name()).to_string();
        part.clone().try_cast::<Tensor>().ok_or_else(|| {
            Fault::expected("array of tensors", &format!("an item of type {}", got()))
                .at(Spot::Argument(0))
        })
    };
    let parts: Vec<Tensor> = parts.iter().map(tensor).collect::<Result<_, _>>()?;
    let dtype =
        parts
            .iter()
            .skip(1)
            .try_fold(parts.first().cloned(), |widest, part| match widest {
                Some(widest) => super::promoted(&widest, part).map(|(widest, _)| Some(widest)),
                None => Ok(None),
            });
    let Some(dtype) = raise(dtype)?.map(|widest| widest.dtype()) else {
        return raise(how(&[], axis));
    };
    let parts: Vec<Tensor> = raise(
        parts
            .iter()
            .map(|part| part.to_dtype(dtype))
            .collect::<Result<_, _>>(),
    )?;
    raise(how(&parts.iter().collect::<Vec<_>>(), axis))
}

fn choose(call: &NativeCallContext, mask: &Tensor, a: &Dynamic, b: &Dynamic) -> Outcome<Tensor> {
    let float = crate::bind::draw::session_dtype(call)?;
    let branch = |value: &Dynamic, other: &Dynamic, i: usize| -> Result<Tensor, Fault> {
        if let Some(tensor) = value.read_lock::<Tensor>() {
            return Ok(tensor.clone());
        }
        let beside = other.read_lock::<Tensor>().map(|other| other.dtype());
        let dtype = match beside {
            Some(dtype) if dtype.is_float() || value.is_int() => dtype,
            _ if value.is_int() && other.is_int() => DType::I64,
            _ => float,
        };
        let value = number(value).ok_or_else(|| {
            Fault::expected("Tensor or number", type_word(value.type_name())).at(Spot::Argument(i))
        })?;
        Ok(Tensor::scalar(value, dtype)?)
    };
    let (a, b) = (branch(a, b, 1)?, branch(b, a, 2)?);
    raise(Tensor::where_cond(mask, &a, &b))
}
