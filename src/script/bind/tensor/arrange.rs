//! Rearrangements: repeating, rolling, cutting up, moving axes, grids.

use rhai::{Array, Dynamic};
use rhapsode_tensor::{Result as TensorResult, Tensor};

use super::{ints, shape};
use crate::{
    bind::{Outcome, raise},
    fault::{Fault, Spot},
    library::Library,
    value::type_word,
};

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    repeating(library);
    cutting(library);
    axes(library);
}

fn list(result: TensorResult<Vec<Tensor>>) -> Outcome<Array> {
    Ok(raise(result)?.into_iter().map(Dynamic::from).collect())
}

fn positive(n: i64, i: usize) -> Result<usize, Fault> {
    usize::try_from(n)
        .map_err(|_| Fault::value(format!("must be >= 0, got {n}")).at(Spot::Argument(i)))
}

fn repeating(library: &mut Library) {
    for (name, text) in [
        (
            "repeat",
            "The whole repeated so often along each axis; more counts than axes make new leading ones.\n\n```rhai\ntensor([1, 2]).repeat([2]).to_array() // => [1, 2, 1, 2]\n```",
        ),
        (
            "tile",
            "The whole repeated so often along each axis; fewer counts than axes are meant for the last ones.\n\n```rhai\nzeros([2, 3]).tile([2]).shape // => [2, 6]\n```",
        ),
    ] {
        library
            .method::<Tensor>(name, "(times: array | int) -> Tensor", text)
            .call(move |x: Tensor, times: Dynamic| -> Outcome<Tensor> {
                let times = shape(&times).map_err(|fault| fault.at(Spot::Argument(0)))?;
                if name == "repeat" && times.len() < x.rank() {
                    let fault =
                        Fault::value(format!("{} counts for shape {:?}", times.len(), x.dims()));
                    return Err(fault
                        .at(Spot::Argument(0))
                        .hint("one count for each axis; `tile` takes fewer")
                        .into());
                }
                raise(x.tile(&times))
            });
    }
    library
        .method::<Tensor>("repeat_interleave", "(times: int, axis: int) -> Tensor", "Each element so many times in a row along an axis.\n\n```rhai\ntensor([1, 2]).repeat_interleave(2, 0).to_array() // => [1, 1, 2, 2]\n```")
        .call(|x: Tensor, times: i64, axis: i64| -> Outcome<Tensor> { raise(x.repeat_interleave(positive(times, 0)?, axis)) });
    library
        .method::<Tensor>("expand", "(shape: array) -> Tensor", "Repeated along axes of size 1, and new leading axes; -1 keeps a size. A view, no copy.\n\n```rhai\nones([3, 1]).expand([-1, 4]).shape // => [3, 4]\n```")
        .call(|x: Tensor, sizes: Array| -> Outcome<Tensor> {
            let mut sizes = ints(&Dynamic::from(sizes)).map_err(|fault| fault.at(Spot::Argument(0)))?;
            let extra = sizes.len().saturating_sub(x.rank());
            for (size, own) in sizes.iter_mut().skip(extra).zip(x.dims()) {
                if *size == -1 {
                    *size = *own as i64;
                }
            }
            let sizes = sizes.into_iter().map(|n| positive(n, 0)).collect::<Result<Vec<_>, _>>()?;
            raise(x.broadcast_to(&sizes))
        });
    library
        .method::<Tensor>("roll", "(shift: int, axis?: int) -> Tensor", "Every element moved on along an axis (the first), those at the end to the start.\n\n```rhai\ntensor([1, 2, 3]).roll(1).to_array() // => [3, 1, 2]\n```")
        .call(|x: Tensor, shift: i64| raise(x.roll(shift, 0)))
        .call(|x: Tensor, shift: i64, axis: i64| raise(x.roll(shift, axis)));
}

fn cutting(library: &mut Library) {
    let cut = |x: &Tensor, sizes: &Dynamic, axis: i64| -> Outcome<Array> {
        if let Ok(size) = sizes.as_int() {
            return list(x.split(positive(size, 0)?, axis));
        }
        let sizes = shape(sizes).map_err(|fault| fault.at(Spot::Argument(0)))?;
        list(x.split_sizes(&sizes, axis))
    };
    // A string has a `split` too; the receiver tells them apart.
    library
        .method::<Tensor>("split", "(size: int | array, axis?: int) -> array", "Cut along an axis (0) into pieces of a size, the last one with the rest; or of the sizes given.\n\n```rhai\narange(5).split(2)[2].to_array() // => [4]\n```")
        .call(move |x: Tensor, sizes: i64| cut(&x, &Dynamic::from(sizes), 0))
        .call(move |x: Tensor, sizes: Array| cut(&x, &Dynamic::from(sizes), 0))
        .call(move |x: Tensor, sizes: i64, axis: i64| cut(&x, &Dynamic::from(sizes), axis))
        .call(move |x: Tensor, sizes: Array, axis: i64| cut(&x, &Dynamic::from(sizes), axis));
    library
        .method::<Tensor>("chunk", "(count: int, axis?: int) -> array", "Cut along an axis (0) into so many pieces, the last one smaller where need be.\n\n```rhai\narange(6).chunk(3)[1].to_array() // => [2, 3]\n```")
        .call(|x: Tensor, count: i64| -> Outcome<Array> { list(x.chunk(positive(count, 0)?, 0)) })
        .call(|x: Tensor, count: i64, axis: i64| -> Outcome<Array> { list(x.chunk(positive(count, 0)?, axis)) });
    library
        .function("meshgrid", "(axes: array) -> array", "Coordinates of a grid: for vectors of sizes n, m, .. as many tensors of shape `[n, m, ..]`, of which number `i` varies along axis `i`.\n\n```rhai\nlet g = meshgrid([arange(2), arange(3)]);\ng[1].to_array() // => [[0, 1, 2], [0, 1, 2]]\n```")
        .call(|axes: Array| -> Outcome<Array> {
            let vector = |item: &Dynamic| {
                let wrong = || Fault::expected("array of tensors", &format!("an item of type {}", type_word(item.type_name())));
                item.clone().try_cast::<Tensor>().ok_or_else(|| wrong().at(Spot::Argument(0)))
            };
            let axes = axes.iter().map(vector).collect::<Result<Vec<_>, _>>()?;
            list(Tensor::meshgrid(&axes.iter().collect::<Vec<_>>()))
        });
}

fn axes(library: &mut Library) {
    library
        .method::<Tensor>("transpose", "(a: int, b: int) -> Tensor", "Two axes exchanged.\n\n```rhai\nzeros([2, 3, 4]).transpose(0, 2).shape // => [4, 3, 2]\n```")
        .call(|x: Tensor, a: i64, b: i64| raise(x.transpose(a, b)));
    library
        .method::<Tensor>("movedim", "(from: int, to: int) -> Tensor", "An axis moved to another place.\n\n```rhai\nzeros([2, 3, 4]).movedim(0, -1).shape // => [3, 4, 2]\n```")
        .call(|x: Tensor, from: i64, to: i64| raise(x.movedim(from, to)));
    library
        .method::<Tensor>("flatten", "(first?: int, last?: int) -> Tensor", "The axes from `first` (0) to `last` (-1) made into one.\n\n```rhai\nzeros([2, 3, 4]).flatten(1).shape // => [2, 12]\n```")
        .call(|x: Tensor| raise(x.flatten(0, -1)))
        .call(|x: Tensor, first: i64| raise(x.flatten(first, -1)))
        .call(|x: Tensor, first: i64, last: i64| raise(x.flatten(first, last)));
}
