//! Reductions: of all elements, or along axes, which are dropped or kept with size 1.

use rhai::{Array, Dynamic, Map};
use rhapsode_tensor::{Result as TensorResult, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{axes_of, real};
use crate::{
    bind::{Outcome, raise},
    library::Library,
    options,
};

/// What becomes of the axes that are reduced.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Reduced {
    /// Keep the reduced axes with size 1, so that the result broadcasts against the tensor.
    keepdim: bool,
}

/// What stands below a variance.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Spread {
    /// The sum of squares is divided by `n - correction`: 1 for the variance of a population judged by a
    /// sample, 0 for the variance of the sample itself.
    correction: f64,
    /// Keep the reduced axes with size 1, so that the result broadcasts against the tensor.
    keepdim: bool,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            correction: 1.0,
            keepdim: false,
        }
    }
}

/// Over these axes, or over all.
type OverMany = fn(&Tensor, Option<&[i64]>) -> TensorResult<Tensor>;
/// Along one axis.
type OverOne = fn(&Tensor, i64) -> TensorResult<Tensor>;

const OVER_MANY: [(&str, OverMany, &str); 5] = [
    (
        "sum",
        |x, axes| axes.map_or_else(|| x.sum_all(), |axes| x.sum(axes)),
        "The sum of all elements, or along one axis or several, which are dropped.\n\n```rhai\nones([2, 3]).sum(0).to_array() // => [2.0, 2.0, 2.0]\n```",
    ),
    (
        "mean",
        |x, axes| axes.map_or_else(|| x.mean_all(), |axes| x.mean(axes)),
        "The mean of all elements, or along axes, which are dropped.\n\n```rhai\ntensor([1.0, 3.0]).mean().item() // => 2.0\n```",
    ),
    (
        "any",
        Tensor::any,
        "Whether any element is not 0, of all or along axes, as bool.\n\n```rhai\n(tensor([1, 5]) > 3).any().item() // => true\n```",
    ),
    (
        "all",
        Tensor::all,
        "Whether every element is not 0, of all or along axes, as bool.\n\n```rhai\n(tensor([1, 5]) > 3).all().item() // => false\n```",
    ),
    (
        "count_nonzero",
        Tensor::count_nonzero,
        "How many elements are not 0, of all or along axes, as i64.\n\n```rhai\ntensor([0, 2, 0, 3]).count_nonzero().item() // => 2\n```",
    ),
];

const OVER_ONE: [(&str, OverOne, &str); 8] = [
    (
        "max",
        Tensor::max,
        "The largest element of all, or along an axis, which is dropped.\n\n```rhai\ntensor([[1.0, 5.0], [7.0, 2.0]]).max(1).to_array() // => [5.0, 7.0]\n```",
    ),
    (
        "min",
        Tensor::min,
        "The smallest element of all, or along an axis, which is dropped.\n\n```rhai\ntensor([[1.0, 5.0], [7.0, 2.0]]).min(1).to_array() // => [1.0, 2.0]\n```",
    ),
    (
        "argmax",
        Tensor::argmax,
        "The place of the largest element of all, or along an axis, as i64.\n\n```rhai\ntensor([[1.0, 5.0], [7.0, 2.0]]).argmax(1).to_array() // => [1, 0]\n```",
    ),
    (
        "argmin",
        Tensor::argmin,
        "The place of the smallest element of all, or along an axis, as i64.\n\n```rhai\ntensor([4.0, 1.0, 3.0]).argmin().item() // => 1\n```",
    ),
    (
        "logsumexp",
        |x, axis| real(x)?.logsumexp(axis),
        "`ln sum e^x` of all, or along an axis, without overflow.\n\n```rhai\ntensor([1000.0, -1000.0]).logsumexp().item() // => 1000.0\n```",
    ),
    (
        "norm",
        |x, axis| real(x)?.norm(axis),
        "The Euclidean norm of all, or along an axis, which is dropped.\n\n```rhai\ntensor([3.0, 4.0]).norm().item() // => 5.0\n```",
    ),
    (
        "prod",
        Tensor::prod,
        "The product of all elements, or along an axis, which is dropped.\n\n```rhai\ntensor([2, 3, 4]).prod().item() // => 24\n```",
    ),
    (
        "median",
        Tensor::median,
        "The middle element of all or along an axis, which is dropped; of two the lower one.\n\n```rhai\ntensor([3.0, 1.0, 2.0]).median().item() // => 2.0\n```",
    ),
];

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    for (name, function, text) in OVER_MANY {
        over_many::<Reduced>(library, name, text, move |x, axes, options| {
            kept(x, axes, options.keepdim, function(x, axes)?)
        });
    }
    for (name, function, text) in OVER_ONE {
        over_one(library, name, text, function);
    }
    type Function = fn(&Tensor, Option<&[i64]>, f64) -> TensorResult<Tensor>;
    for (name, function, text) in [
        (
            "variance",
            Tensor::variance_with as Function,
            "The variance of all elements or along axes, which are dropped; `n - 1` stands below.\n\n```rhai\ntensor([1.0, 3.0]).variance().item() // => 2.0\ntensor([1.0, 3.0]).variance(0, #{ correction: 0 }).item() // => 1.0\n```",
        ),
        (
            "std",
            Tensor::std_with,
            "The square root of the variance.\n\n```rhai\ntensor([1.0, 1.0]).std().item() // => 0.0\n```",
        ),
    ] {
        over_many::<Spread>(library, name, text, move |x, axes, options| {
            let reduced = function(x, axes, options.correction)?;
            kept(x, axes, options.keepdim, reduced)
        });
    }
}

/// A reduction over one axis, several or all.
fn over_many<O: DeserializeOwned + JsonSchema + Default + 'static>(
    library: &mut Library,
    name: &'static str,
    text: &'static str,
    function: impl Fn(&Tensor, Option<&[i64]>, &O) -> TensorResult<Tensor>
    + Copy
    + Send
    + Sync
    + 'static,
) {
    library
        .method::<Tensor>(name, "(axis?: int | array, options?: map) -> Tensor", text)
        .options::<O>()
        .call(move |x: Tensor| raise(function(&x, None, &O::default())))
        .call(move |x: Tensor, axis: i64| raise(function(&x, Some(&[axis]), &O::default())))
        .call(move |x: Tensor, axes: Array| -> Outcome<Tensor> {
            let axes = axes_of(&Dynamic::from(axes))?;
            raise(function(&x, Some(&axes), &O::default()))
        })
        .call(move |x: Tensor, map: Map| -> Outcome<Tensor> {
            raise(function(&x, None, &options::read(&map)?))
        })
        .call(
            move |x: Tensor, axes: Dynamic, map: Map| -> Outcome<Tensor> {
                let options: O = options::read(&map)?;
                raise(function(&x, Some(&axes_of(&axes)?), &options))
            },
        );
}

/// A reduction over one axis or all.
fn over_one(library: &mut Library, name: &'static str, text: &'static str, function: OverOne) {
    let all = move |x: &Tensor, options: Reduced| {
        let reduced = x.reshape(&[x.len()]).and_then(|flat| function(&flat, 0))?;
        kept(x, None, options.keepdim, reduced)
    };
    library
        .method::<Tensor>(name, "(axis?: int, options?: map) -> Tensor", text)
        .options::<Reduced>()
        .call(move |x: Tensor| raise(all(&x, Reduced::default())))
        .call(move |x: Tensor, map: Map| -> Outcome<Tensor> {
            raise(all(&x, options::read(&map)?))
        })
        .call(move |x: Tensor, axis: i64| raise(function(&x, axis)))
        .call(move |x: Tensor, axis: i64, map: Map| -> Outcome<Tensor> {
            let options: Reduced = options::read(&map)?;
            let reduced = raise(function(&x, axis))?;
            raise(kept(&x, Some(&[axis]), options.keepdim, reduced))
        });
}

/// A reduced tensor with its lost axes back, of size 1, where that is wanted.
fn kept(x: &Tensor, axes: Option<&[i64]>, keepdim: bool, reduced: Tensor) -> TensorResult<Tensor> {
    if !keepdim {
        return Ok(reduced);
    }
    let rank = x.rank() as i64;
    let lost = |axis: usize| {
        axes.is_none_or(|axes| axes.iter().any(|a| a.rem_euclid(rank) == axis as i64))
    };
    let shape: Vec<usize> = x
        .dims()
        .iter()
        .enumerate()
        .map(|(axis, &n)| if lost(axis) { 1 } else { n })
        .collect();
    reduced.reshape(&shape)
}
