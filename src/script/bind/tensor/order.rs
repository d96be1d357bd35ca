//! Order and places: sorting, running sums, quantiles, counts, scatter.

use rhai::{Array, Dynamic};
use rhapsode_tensor::{Result as TensorResult, Tensor};

use super::{float, operand};
use crate::{
    bind::{Outcome, raise},
    fault::{Fault, Spot},
    library::Library,
};

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    running(library);
    sorting(library);
    quantiles(library);
    counting(library);
    scattering(library);
}

/// A pair of tensors as scripts have it: `[values, indices]`.
fn pair(result: TensorResult<(Tensor, Tensor)>) -> Outcome<Array> {
    let (values, places) = raise(result)?;
    Ok(vec![Dynamic::from(values), Dynamic::from(places)])
}

fn running(library: &mut Library) {
    for (name, function, text) in [
        (
            "cumsum",
            Tensor::cumsum as fn(&Tensor, i64) -> TensorResult<Tensor>,
            "The running sum along an axis.\n\n```rhai\ntensor([1, 2, 3]).cumsum(0).to_array() // => [1, 3, 6]\n```",
        ),
        (
            "cumprod",
            Tensor::cumprod,
            "The running product along an axis.\n\n```rhai\ntensor([1, 2, 3]).cumprod(0).to_array() // => [1, 2, 6]\n```",
        ),
    ] {
        library
            .method::<Tensor>(name, "(axis: int) -> Tensor", text)
            .call(move |x: Tensor, axis: i64| raise(function(&x, axis)));
    }
}

fn sorting(library: &mut Library) {
    library
        .method::<Tensor>("sort", "(axis?: int, descending?: bool) -> array", "`[values, indices]` along an axis (the last) in order; NaN is larger than every number. The values keep their gradient.\n\n```rhai\nlet r = tensor([3, 1, 2]).sort(0);\nr[0].to_array() // => [1, 2, 3]\nr[1].to_array() // => [1, 2, 0]\n```")
        .call(|x: Tensor| pair(x.sort(-1, false)))
        .call(|x: Tensor, axis: i64| pair(x.sort(axis, false)))
        .call(|x: Tensor, axis: i64, descending: bool| pair(x.sort(axis, descending)));
    library
        .method::<Tensor>("argsort", "(axis?: int, descending?: bool) -> Tensor", "The places along an axis (the last) in the order of their values, as i64.\n\n```rhai\ntensor([3, 1, 2]).argsort(0).to_array() // => [1, 2, 0]\n```")
        .call(|x: Tensor| raise(x.argsort(-1, false)))
        .call(|x: Tensor, axis: i64| raise(x.argsort(axis, false)))
        .call(|x: Tensor, axis: i64, descending: bool| raise(x.argsort(axis, descending)));
    let top = |x: &Tensor, k: i64, axis: i64, largest: bool| -> Outcome<Array> {
        let k = usize::try_from(k)
            .map_err(|_| Fault::value(format!("must be >= 0, got {k}")).at(Spot::Argument(0)))?;
        pair(x.topk(k, axis, largest))
    };
    library
        .method::<Tensor>("topk", "(k: int, axis?: int, largest?: bool) -> array", "`[values, indices]` of the `k` largest along an axis (the last), in order; with `false` of the smallest.\n\n```rhai\nlet r = tensor([3, 1, 2]).topk(2);\nr[0].to_array() // => [3, 2]\n```")
        .call(move |x: Tensor, k: i64| top(&x, k, -1, true))
        .call(move |x: Tensor, k: i64, axis: i64| top(&x, k, axis, true))
        .call(move |x: Tensor, k: i64, axis: i64, largest: bool| top(&x, k, axis, largest));
    library
        .method::<Tensor>("searchsorted", "(values: Tensor | number, right?: bool) -> Tensor", "Where each value could be put into a sorted vector: before its equals, or with `true` after them.\n\n```rhai\ntensor([1, 3, 5]).searchsorted(tensor([3, 4])).to_array() // => [1, 2]\n```")
        .call(|x: Tensor, values: Dynamic| -> Outcome<Tensor> { raise(x.searchsorted(&operand(&values, &x)?, false)) })
        .call(|x: Tensor, values: Dynamic, right: bool| -> Outcome<Tensor> { raise(x.searchsorted(&operand(&values, &x)?, right)) });
}

fn quantiles(library: &mut Library) {
    library
        .method::<Tensor>("quantile", "(q: float, axis?: int) -> Tensor", "The value below which a share `q` lies, of all or along an axis, which is dropped; between two elements on the line through them.\n\n```rhai\ntensor([0.0, 1.0, 2.0]).quantile(0.25).item() // => 0.5\n```")
        .call(|x: Tensor, q: Dynamic| -> Outcome<Tensor> {
            let q = float(&q, 0)?;
            raise(x.reshape(&[x.len()]).and_then(|flat| flat.quantile(q, 0)))
        })
        .call(|x: Tensor, q: Dynamic, axis: i64| -> Outcome<Tensor> { raise(x.quantile(float(&q, 0)?, axis)) });
}

fn counting(library: &mut Library) {
    library
        .method::<Tensor>("unique", "() -> Tensor", "The distinct values in order; see also `unique_counts`.\n\n```rhai\ntensor([3, 1, 3]).unique().to_array() // => [1, 3]\n```")
        .call(|x: Tensor| raise(x.unique().map(|(values, ..)| values)));
    library
        .method::<Tensor>("unique_counts", "() -> array", "`[values, counts, inverse]`: the distinct values in order, how often each comes, and for each element the place of its value.\n\n```rhai\ntensor([3, 1, 3]).unique_counts()[1].to_array() // => [1, 2]\n```")
        .call(|x: Tensor| -> Outcome<Array> {
            let (values, counts, inverse) = raise(x.unique())?;
            Ok(vec![Dynamic::from(values), Dynamic::from(counts), Dynamic::from(inverse)])
        });
    let size = |n: i64, i: usize| {
        usize::try_from(n)
            .map_err(|_| Fault::value(format!("must be >= 0, got {n}")).at(Spot::Argument(i)))
    };
    library
        .method::<Tensor>("bincount", "(min_length?: int) -> Tensor", "How often each of 0, 1, .. comes among whole numbers.\n\n```rhai\ntensor([0, 2, 2]).bincount().to_array() // => [1, 0, 2]\n```")
        .call(|x: Tensor| raise(x.bincount(0)))
        .call(move |x: Tensor, least: i64| -> Outcome<Tensor> { raise(x.bincount(size(least, 0)?)) });
    library
        .method::<Tensor>("histc", "(bins: int, low: number, high: number) -> Tensor", "Counts in equal intervals of `[low, high]`; what lies outside is not counted.\n\n```rhai\ntensor([0.1, 0.2, 0.9]).histc(2, 0, 1).to_array() // => [2.0, 1.0]\n```")
        .call(move |x: Tensor, bins: i64, low: Dynamic, high: Dynamic| -> Outcome<Tensor> {
            raise(x.histc(size(bins, 0)?, float(&low, 1)?, float(&high, 2)?))
        });
    library
        .method::<Tensor>("one_hot", "(classes?: int) -> Tensor", "Labels as rows of zeros with a single 1, i64; without a number of classes the largest label + 1.\n\n```rhai\ntensor([1, 0]).one_hot(3).to_array() // => [[0, 1, 0], [1, 0, 0]]\n```")
        .call(move |x: Tensor| -> Outcome<Tensor> {
            let classes = match x.is_empty() {
                true => 0,
                false => raise(x.max_all().and_then(|top| top.item()))?.max(-1.0) as usize + 1,
            };
            raise(x.one_hot(classes))
        })
        .call(move |x: Tensor, classes: i64| -> Outcome<Tensor> { raise(x.one_hot(size(classes, 0)?)) });
}

fn scattering(library: &mut Library) {
    type Scatter = fn(&Tensor, i64, &Tensor, &Tensor) -> TensorResult<Tensor>;
    for (name, function, text) in [
        (
            "scatter",
            Tensor::scatter as Scatter,
            "A copy in which `src` is written at `index` along an axis, as in PyTorch; a number is written everywhere.\n\n```rhai\nzeros([1, 3]).scatter(1, tensor([[2]]), 5).to_array() // => [[0.0, 0.0, 5.0]]\n```",
        ),
        (
            "scatter_add",
            Tensor::scatter_add,
            "A copy to which `src` is added at `index` along an axis; repeated places add up.\n\n```rhai\nzeros([3]).scatter_add(0, tensor([1, 1]), ones([2])).to_array() // => [0.0, 2.0, 0.0]\n```",
        ),
    ] {
        library
            .method::<Tensor>(
                name,
                "(axis: int, index: Tensor, src: Tensor | number) -> Tensor",
                text,
            )
            .call(
                move |x: Tensor, axis: i64, index: Tensor, src: Dynamic| -> Outcome<Tensor> {
                    let src = operand(&src, &x).map_err(|fault| fault.at(Spot::Argument(2)))?;
                    let src = if src.rank() == 0 {
                        raise(src.broadcast_to(index.dims()))?
                    } else {
                        src
                    };
                    raise(function(&x, axis, &index, &src))
                },
            );
    }
    library
        .method::<Tensor>("index_add", "(axis: int, index: Tensor, src: Tensor) -> Tensor", "A copy to which the places of `src` are added at `index` along an axis; repeated places add up.\n\n```rhai\nzeros([3]).index_add(0, tensor([0, 0]), ones([2])).to_array() // => [2.0, 0.0, 0.0]\n```")
        .call(|x: Tensor, axis: i64, index: Tensor, src: Tensor| raise(x.index_add(axis, &index, &src)));
    library
        .method::<Tensor>("embedding", "(ids: Tensor) -> Tensor", "The rows `ids` of a table `[n, d]`: shape `[ids.., d]`.\n\n```rhai\narange(6).reshape([3, 2]).embedding(tensor([2, 0])).to_array() // => [[4, 5], [0, 1]]\n```")
        .call(|x: Tensor, ids: Tensor| raise(x.embedding(&ids)));
    library
        .method::<Tensor>("masked_select", "(mask: Tensor) -> Tensor", "The parts where the mask is not 0; also `x[mask]`.\n\n```rhai\nlet x = tensor([1, 5, 9]);\nx.masked_select(x > 3).to_array() // => [5, 9]\n```")
        .call(|x: Tensor, mask: Tensor| raise(x.masked_select(&mask)));
}
