//! `flow`: flows between distributions, a file a method; here is what they share.

mod bridge;
mod density;
mod field;
mod interpolant;
mod law;
mod rectified;
mod reflow;
mod search;
mod steer;
mod verify;

use std::sync::Arc;

use rhai::{Dynamic, FnPtr, Map, NativeCallContext};
use rhapsode_models::{
    Result as ModelResult,
    flow::{
        RectifiedFlow, SharedFlow,
        interpolant::{Interpolant, sde::Epsilon},
        likelihood::Base,
    },
};
use rhapsode_tensor::Tensor;

pub(crate) use field::Flow;

use super::{Closure, Outcome, number, raise};
use crate::{
    Kind,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::type_word,
};

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.module(
        "flow",
        "Flows between distributions: time runs from 0 (noise) to 1 (data).",
    );
    rectified::bind(library);
    field::bind(library);
    law::bind(library);
    interpolant::bind(library);
    density::bind(library);
    bridge::bind(library);
    reflow::bind(library);
    steer::bind(library);
    search::bind(library);
    verify::bind(library);
}

/// A value as a flow: what has a velocity can be sampled, steered, searched and scored.
pub(super) fn flow_of(value: &Dynamic) -> Option<SharedFlow> {
    if let Some(flow) = value.read_lock::<RectifiedFlow>() {
        return Some(Arc::new(flow.clone()));
    }
    if let Some(flow) = value.read_lock::<Interpolant>() {
        return Some(Arc::new(flow.clone()));
    }
    let flow = value.read_lock::<Flow>()?;
    Some(flow.0.clone())
}

/// Like [`flow_of`], for the argument `at` of a call.
pub(super) fn flow_argument(value: &Dynamic, at: usize) -> Outcome<SharedFlow> {
    flow_of(value).ok_or_else(|| {
        Fault::expected(
            "a flow (flow::rectified, flow::interpolant, flow::from_velocity)",
            type_word(value.type_name()),
        )
        .at(Spot::Argument(at))
        .into()
    })
}

/// Times of a batch from a number in [0, 1], times `[n]` or a column `[n, 1]`; `at` is the argument's place.
pub(super) fn times(x: &Tensor, t: &Dynamic, at: usize) -> Outcome<Tensor> {
    let n = x.dims().first().copied().unwrap_or(0);
    let outside = |t: f64| {
        Fault::value(format!("the time must lie in [0, 1], got {t}")).at(Spot::Argument(at))
    };
    if let Some(t) = number(t) {
        return match (0.0..=1.0).contains(&t) {
            true => raise(Tensor::full(t, &[n], x.dtype())),
            false => Err(outside(t).into()),
        };
    }
    let Some(t) = t.clone().flatten().try_cast::<Tensor>() else {
        let got = type_word(t.type_name());
        return Err(Fault::expected("a number or a Tensor of times", got)
            .at(Spot::Argument(at))
            .into());
    };
    if let Some(t) = raise(t.to_vec())?
        .into_iter()
        .find(|t| !(0.0..=1.0).contains(t))
    {
        return Err(outside(t).into());
    }
    // A closure gets its times as a column, and hands them on.
    match t.len() == n && t.rank() > 1 {
        true => raise(t.reshape(&[n])),
        false => Ok(t),
    }
}

/// `n` as a number of samples.
pub(super) fn count(n: i64) -> Outcome<usize> {
    usize::try_from(n).map_err(|_| {
        Fault::value(format!("the number of samples must be >= 0, got {n}"))
            .at(Spot::Argument(0))
            .into()
    })
}

/// A closure under a key of an option map.
pub(super) fn closure_option(
    call: &NativeCallContext,
    map: &mut Map,
    key: &str,
    parameters: &[&str],
) -> Outcome<Option<Closure>> {
    let expected = format!("a closure |{}|", parameters.join(", "));
    let function = options::take::<FnPtr>(map, key, &expected)?;
    let spot = || Spot::Value(vec![key.into()]);
    function
        .map(|f| Closure::new(call, f, parameters, spot()))
        .transpose()
}

/// A number, or a closure of time, under a key of an option map.
pub(super) fn rate_option(
    call: &NativeCallContext,
    map: &mut Map,
    key: &str,
) -> Outcome<Option<Epsilon>> {
    let Some(value) = map.get(key).filter(|value| !value.is_unit()) else {
        map.remove(key);
        return Ok(None);
    };
    if let Some(value) = number(value) {
        map.remove(key);
        return match value >= 0.0 && value.is_finite() {
            true => Ok(Some(Epsilon::Constant(value))),
            false => {
                let message = format!("option `{key}`: must be a finite number >= 0, got {value}");
                Err(Fault::new(Kind::Option, message)
                    .at(Spot::Value(vec![key.into()]))
                    .into())
            }
        };
    }
    let closure = closure_option(call, map, key, &["t"])?;
    Ok(closure
        .map(|closure| Epsilon::Function(Arc::new(move |t| closure.number([Dynamic::from(t)])))))
}

/// A density of the base under the key `base_log_prob`.
pub(super) fn base_option(call: &NativeCallContext, map: &mut Map) -> Outcome<Option<Base>> {
    let closure = closure_option(call, map, "base_log_prob", &["x"])?;
    Ok(closure.map(|closure| {
        Base::Density(Arc::new(move |x: &Tensor| -> ModelResult<Tensor> {
            // Paths run in f64; a script computes in f32.
            let x = x.to_dtype(rhapsode_tensor::DType::F32)?;
            let n = x.dims().first().copied().unwrap_or(0);
            closure.tensor_of([Dynamic::from(x.clone())], &[n], x.dtype())
        }))
    }))
}

/// A function of points and times as a closure sees it: times come as a column.
pub(super) fn velocity_closure(closure: Closure) -> rhapsode_models::flow::VelocityFn {
    Arc::new(move |x: &Tensor, t: &Tensor| {
        let mut column = vec![1; x.rank().max(1)];
        if let (Some(first), Some(n)) = (column.first_mut(), x.dims().first()) {
            *first = *n;
        }
        let t = t.reshape(&column)?;
        closure.tensor_of(
            [Dynamic::from(x.clone()), Dynamic::from(t)],
            x.dims(),
            x.dtype(),
        )
    })
}
