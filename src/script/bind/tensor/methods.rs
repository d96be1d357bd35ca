//! Methods and properties of a tensor: elementwise functions, reductions, shapes, conversions.

use rhai::{Array, Dynamic, ImmutableString, Map};
use rhapsode_tensor::{DType, Result as TensorResult, Tensor};

use super::{dtype_named, ints, real};
use crate::{
    Kind,
    bind::{Outcome, number, raise, session::device_named},
    engine::ARRAY_SIZE,
    fault::{Fault, Spot},
    library::Library,
    value::type_word,
};

type Elementwise = fn(&Tensor) -> TensorResult<Tensor>;

/// Functions of each element.
const ELEMENTWISE: [(&str, Elementwise, &str); 18] = [
    (
        "exp",
        Tensor::exp,
        "`e^x` of each element.\n\n```rhai\ntensor([0.0]).exp().to_array() // => [1.0]\n```",
    ),
    (
        "log",
        Tensor::log,
        "The natural logarithm of each element.\n\n```rhai\ntensor([1.0]).log().to_array() // => [0.0]\n```",
    ),
    (
        "sqrt",
        Tensor::sqrt,
        "The square root of each element.\n\n```rhai\ntensor([4.0, 9.0]).sqrt().to_array() // => [2.0, 3.0]\n```",
    ),
    (
        "abs",
        Tensor::abs,
        "The absolute value of each element.\n\n```rhai\ntensor([-2, 3]).abs().to_array() // => [2, 3]\n```",
    ),
    (
        "sin",
        Tensor::sin,
        "The sine of each element, in radians.\n\n```rhai\nzeros([2]).sin().to_array() // => [0.0, 0.0]\n```",
    ),
    (
        "cos",
        Tensor::cos,
        "The cosine of each element, in radians.\n\n```rhai\nzeros([2]).cos().to_array() // => [1.0, 1.0]\n```",
    ),
    (
        "tanh",
        Tensor::tanh,
        "The hyperbolic tangent of each element.\n\n```rhai\nzeros([1]).tanh().to_array() // => [0.0]\n```",
    ),
    (
        "sigmoid",
        Tensor::sigmoid,
        "`1 / (1 + e^-x)` of each element.\n\n```rhai\ntensor([0.0]).sigmoid().to_array() // => [0.5]\n```",
    ),
    (
        "relu",
        Tensor::relu,
        "`max(x, 0)` of each element.\n\n```rhai\ntensor([-1.0, 2.0]).relu().to_array() // => [0.0, 2.0]\n```",
    ),
    (
        "silu",
        Tensor::silu,
        "`x sigmoid(x)` of each element.\n\n```rhai\nzeros([1]).silu().to_array() // => [0.0]\n```",
    ),
    (
        "gelu",
        Tensor::gelu,
        "`x Phi(x)` of each element, exact.\n\n```rhai\nzeros([1]).gelu().to_array() // => [0.0]\n```",
    ),
    (
        "softplus",
        Tensor::softplus,
        "`ln(1 + e^x)` of each element.\n\n```rhai\n(tensor([0.0]).softplus() - 0.693147).abs().max().item() < 1e-5 // => true\n```",
    ),
    (
        "erf",
        Tensor::erf,
        "The error function of each element.\n\n```rhai\nzeros([1]).erf().to_array() // => [0.0]\n```",
    ),
    (
        "sign",
        Tensor::sign,
        "-1, 0 or 1 by the sign of each element.\n\n```rhai\ntensor([-3.0, 0.0, 2.0]).sign().to_array() // => [-1.0, 0.0, 1.0]\n```",
    ),
    (
        "square",
        Tensor::sqr,
        "The square of each element.\n\n```rhai\ntensor([3.0]).square().to_array() // => [9.0]\n```",
    ),
    (
        "recip",
        Tensor::recip,
        "`1 / x` of each element.\n\n```rhai\ntensor([4.0]).recip().to_array() // => [0.25]\n```",
    ),
    (
        "neg",
        Tensor::neg,
        "The negative of each element.\n\n```rhai\ntensor([1, -2]).neg().to_array() // => [-1, 2]\n```",
    ),
    (
        "contiguous",
        Tensor::contiguous,
        "The same values in one piece of memory.\n\n```rhai\nones([2, 3]).t().contiguous().shape // => [3, 2]\n```",
    ),
];

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    properties(library);
    for (name, function, text) in ELEMENTWISE {
        library
            .method::<Tensor>(name, "() -> Tensor", text)
            .call(move |x: Tensor| raise(function(&x)));
    }
    along(library);
    shapes(library);
    picks(library);
    conversions(library);
}

fn properties(library: &mut Library) {
    let sizes = |x: &Tensor| {
        x.dims()
            .iter()
            .map(|&n| Dynamic::from(n as i64))
            .collect::<Array>()
    };
    library
        .property::<Tensor>(
            "shape",
            "array",
            "The sizes of the axes.\n\n```rhai\nzeros([2, 3]).shape // => [2, 3]\n```",
        )
        .call(move |x: &mut Tensor| sizes(x));
    library
        .property::<Tensor>(
            "dtype",
            "string",
            "The element type: `bool`, `u8`, `i64`, `bf16`, `f32` or `f64`.\n\n```rhai\nzeros([2]).dtype // => \"f32\"\n```",
        )
        .call(|x: &mut Tensor| ImmutableString::from(x.dtype().as_str()));
    library
        .property::<Tensor>("device", "string", "Where the data lie.")
        .call(|x: &mut Tensor| device_of(x));
    library
        .property::<Tensor>(
            "requires_grad",
            "bool",
            "Whether a gradient can be asked for: a parameter, or computed from one.\n\n```rhai\n(param(ones([1])) * 2).requires_grad // => true\n```",
        )
        .call(|x: &mut Tensor| x.is_tracked());
    library
        .property::<Tensor>("rank", "int", "The number of axes.")
        .call(|x: &mut Tensor| x.rank() as i64);
    library
        .property::<Tensor>("size", "int", "The number of elements.")
        .call(|x: &mut Tensor| x.len() as i64);
    library
        .method::<Tensor>(
            "len",
            "() -> int",
            "The size of the first axis.\n\n```rhai\nzeros([4, 2]).len() // => 4\n```",
        )
        .call(|x: Tensor| x.dims().first().map_or(1, |&n| n as i64));
}

fn device_of(x: &Tensor) -> ImmutableString {
    match x.device() {
        rhapsode_tensor::Device::Cpu => "cpu".into(),
        other => format!("{:?}", other.location()).to_lowercase().into(),
    }
}

/// What keeps the shape along an axis, and the two commonest losses.
fn along(library: &mut Library) {
    for (name, function, text) in [
        (
            "softmax",
            Tensor::softmax as fn(&Tensor, i64) -> TensorResult<Tensor>,
            "`e^x / sum e^x` along an axis; without one the last.\n\n```rhai\nzeros([2]).softmax(0).to_array() // => [0.5, 0.5]\n```",
        ),
        (
            "log_softmax",
            Tensor::log_softmax,
            "The logarithm of `softmax`.\n\n```rhai\n(zeros([4]).log_softmax(0).exp() - 0.25).abs().max().item() < 1e-6 // => true\n```",
        ),
    ] {
        library
            .method::<Tensor>(name, "(axis?: int) -> Tensor", text)
            .call(move |x: Tensor| raise(real(&x).and_then(|x| function(&x, -1))))
            .call(move |x: Tensor, axis: i64| raise(real(&x).and_then(|x| function(&x, axis))));
    }
    library
        .method::<Tensor>("cross_entropy", "(labels: Tensor) -> Tensor", "The mean cross-entropy of logits `[n, classes]` against labels `[n]`.\n\n```rhai\nzeros([1, 2]).cross_entropy(tensor([0])).item() > 0.69 // => true\n```")
        .call(|x: Tensor, labels: Tensor| raise(real(&x).and_then(|x| x.cross_entropy(&labels))));
    library
        .method::<Tensor>("mse", "(target: Tensor) -> Tensor", "The mean squared difference.\n\n```rhai\nones([2]).mse(zeros([2])).item() // => 1.0\n```")
        .call(|x: Tensor, target: Tensor| raise(super::promoted(&x, &target).and_then(|(x, target)| real(&x)?.mse(&real(&target)?))));
}

fn shapes(library: &mut Library) {
    library
        .method::<Tensor>("reshape", "(shape: array) -> Tensor", "The same values in another shape; one size may be -1 and follows from the rest.\n\n```rhai\narange(6).reshape([2, -1]).shape // => [2, 3]\n```")
        .call(|x: Tensor, size: Array| -> Outcome<Tensor> {
            let size = inferred(&x, &Dynamic::from(size)).map_err(|fault| fault.at(Spot::Argument(0)))?;
            raise(x.reshape(&size))
        });
    library
        .method::<Tensor>(
            "t",
            "() -> Tensor",
            "The last two axes exchanged.\n\n```rhai\nzeros([2, 3]).t().shape // => [3, 2]\n```",
        )
        .call(|x: Tensor| raise(x.t()));
    library
        .method::<Tensor>("permute", "(order: array) -> Tensor", "The axes in another order.\n\n```rhai\nzeros([2, 3, 4]).permute([2, 0, 1]).shape // => [4, 2, 3]\n```")
        .call(|x: Tensor, order: Array| -> Outcome<Tensor> {
            let order = ints(&Dynamic::from(order)).map_err(|fault| fault.at(Spot::Argument(0)))?;
            raise(x.permute(&order))
        });
    library
        .method::<Tensor>("squeeze", "(axis?: int) -> Tensor", "Without an axis of size 1; without an argument without all of them.\n\n```rhai\nzeros([1, 3]).squeeze(0).shape // => [3]\n```")
        .call(|x: Tensor| raise(x.reshape(&x.dims().iter().copied().filter(|&n| n != 1).collect::<Vec<_>>())))
        .call(|x: Tensor, axis: i64| raise(x.squeeze(axis)));
    library.method::<Tensor>("unsqueeze", "(axis: int) -> Tensor", "With a new axis of size 1.\n\n```rhai\nzeros([3]).unsqueeze(0).shape // => [1, 3]\n```").call(|x: Tensor, axis: i64| raise(x.unsqueeze(axis)));
    library
        .method::<Tensor>("broadcast_to", "(shape: array) -> Tensor", "Repeated to a larger shape.\n\n```rhai\nones([3]).broadcast_to([2, 3]).shape // => [2, 3]\n```")
        .call(|x: Tensor, size: Array| -> Outcome<Tensor> {
            let size = super::shape(&Dynamic::from(size)).map_err(|fault| fault.at(Spot::Argument(0)))?;
            raise(x.broadcast_to(&size))
        });
}

fn picks(library: &mut Library) {
    library
        .method::<Tensor>("narrow", "(axis: int, start: int, length: int) -> Tensor", "A piece of an axis.\n\n```rhai\narange(5).narrow(0, 1, 2).to_array() // => [1, 2]\n```")
        .call(|x: Tensor, axis: i64, start: i64, length: i64| -> Outcome<Tensor> {
            let size = raise(x.dim(axis))? as i64;
            let start = if start < 0 { start.saturating_add(size) } else { start };
            let place = |n: i64, i: usize| usize::try_from(n).map_err(|_| Fault::value(format!("must be >= 0, got {n}")).at(Spot::Argument(i)));
            raise(x.narrow(axis, place(start, 1)?, place(length, 2)?))
        });
    library
        .method::<Tensor>("select", "(axis: int, index: int) -> Tensor", "One place of an axis, which falls away: `x.select(1, 0)` is the first column, as `x[:, 0]` in NumPy. A negative index counts from the end.\n\n```rhai\ntensor([[1, 2], [3, 4]]).select(1, -1).to_array() // => [2, 4]\n```")
        .call(|x: Tensor, axis: i64, index: i64| -> Outcome<Tensor> {
            let size = raise(x.dim(axis))? as i64;
            let from_start = if index < 0 { index.saturating_add(size) } else { index };
            if !(0..size).contains(&from_start) {
                let message = format!("index {index} is outside of axis {axis}, which has {size} places");
                return Err(Fault::value(message).at(Spot::Argument(1)).into());
            }
            raise(x.narrow(axis, from_start as usize, 1).and_then(|x| x.squeeze(axis)))
        });
    library.method::<Tensor>("gather", "(axis: int, index: Tensor) -> Tensor", "One value for each index along an axis, as in PyTorch.\n\n```rhai\ntensor([[1.0, 2.0]]).gather(1, tensor([[1]])).to_array() // => [[2.0]]\n```").call(|x: Tensor, axis: i64, index: Tensor| raise(x.gather(axis, &index)));
    library.method::<Tensor>("index_select", "(axis: int, index: Tensor) -> Tensor", "The places of an axis by index.\n\n```rhai\narange(5).index_select(0, tensor([4, 0])).to_array() // => [4, 0]\n```").call(|x: Tensor, axis: i64, index: Tensor| raise(x.index_select(axis, &index)));
    library.method::<Tensor>("flip", "(axis: int) -> Tensor", "An axis in reverse order.\n\n```rhai\narange(3).flip(0).to_array() // => [2, 1, 0]\n```").call(|x: Tensor, axis: i64| raise(x.flip(axis)));
    library
        .method::<Tensor>("clamp", "(low: number, high: number) -> Tensor", "Each element cut to an interval.\n\n```rhai\ntensor([-2.0, 0.5]).clamp(0, 1).to_array() // => [0.0, 0.5]\n```")
        .call(|x: Tensor, low: Dynamic, high: Dynamic| -> Outcome<Tensor> {
            let bound = |value: &Dynamic, i: usize| number(value).ok_or_else(|| Fault::expected("int or float", type_word(value.type_name())).at(Spot::Argument(i)));
            let (low, high) = (bound(&low, 0)?, bound(&high, 1)?);
            raise(real(&x).and_then(|x| x.clamp(low, high)))
        });
}

fn conversions(library: &mut Library) {
    library
        .method::<Tensor>("item", "() -> number", "The number of a tensor of one element.\n\n```rhai\ntensor([2.5]).item() // => 2.5\n```")
        .call(|x: Tensor| -> Outcome<Dynamic> {
            // Whole numbers beyond 2^53 do not survive a detour over f64.
            match (x.dtype(), x.len()) {
                (DType::I64, 1) => Ok(raise(x.to_ints("item"))?.first().map_or(Dynamic::UNIT, |&v| Dynamic::from(v))),
                (dtype, _) => Ok(scalar(raise(x.item())?, dtype)),
            }
        });
    library.method::<Tensor>("to_array", "() -> array | number", "The values as nested arrays.\n\n```rhai\ntensor([[1, 2]]).to_array() // => [[1, 2]]\n```").call(|x: Tensor| to_array(&x));
    library
        .method::<Tensor>("to", "(what: string) -> Tensor", "The values in another dtype, `\"f64\"`, or on another device, `\"cuda\"`.\n\n```rhai\ntensor([1, 2]).to(\"f64\").dtype // => \"f64\"\n```")
        .call(|x: Tensor, what: &str| -> Outcome<Tensor> {
            if let Some(dtype) = dtype_named(what) {
                return raise(x.to_dtype(dtype));
            }
            device_named(what).map_err(|fault| match fault.message.contains("not a device") {
                true => Fault::value(format!("{what:?} is neither a dtype nor a device"))
                    .at(Spot::Argument(0))
                    .hint("dtypes: \"bool\", \"u8\", \"i64\", \"bf16\", \"f32\", \"f64\"")
                    .hint("devices: \"cpu\", \"cuda\", \"cuda:1\", \"auto\""),
                false => fault,
            })?;
            Ok(x)
        });
    library
        .method::<Tensor>("describe", "() -> map", "The statistics: `count`, `nan` and `inf` (how many are), and of the finite elements `min`, `mean`, `max` and `std`.\n\n```rhai\ntensor([1.0, 3.0]).describe().mean // => 2.0\n```")
        .call(|x: Tensor| -> Outcome<Map> {
            let found = raise(x.statistics())?;
            let mut map = Map::new();
            for (name, count) in [("count", found.count), ("nan", found.nan), ("inf", found.infinite)] {
                map.insert(name.into(), Dynamic::from(count as i64));
            }
            for (name, value) in [("min", found.min), ("mean", found.mean), ("max", found.max), ("std", found.std)] {
                map.insert(name.into(), Dynamic::from(value));
            }
            Ok(map)
        });
    library
        .method::<Tensor>(
            "detach",
            "() -> Tensor",
            "The same values without history: no gradient flows through.\n\n```rhai\nlet w = param(ones([2]));\ngrad((w * w.detach()).sum(), [w])[0].to_array() // => [1.0, 1.0]\n```",
        )
        .call(|x: Tensor| x.detach());
    library.method::<Tensor>("is_finite", "() -> bool", "Whether no element is NaN or infinite.\n\n```rhai\nones([2]).is_finite() // => true\n```").call(|x: Tensor| raise(x.is_finite()));
}

/// A shape in which one size may be -1.
fn inferred(x: &Tensor, size: &Dynamic) -> Result<Vec<usize>, Fault> {
    let sizes = ints(size)?;
    let free: Vec<usize> = sizes
        .iter()
        .enumerate()
        .filter(|(_, n)| **n == -1)
        .map(|(i, _)| i)
        .collect();
    let mut known: Vec<usize> = Vec::with_capacity(sizes.len());
    for &n in &sizes {
        match n {
            -1 => known.push(1),
            n => known.push(usize::try_from(n).map_err(|_| {
                Fault::new(Kind::Shape, format!("a size must be >= 0 or -1, got {n}"))
            })?),
        }
    }
    match free.as_slice() {
        [] => {}
        [axis] => {
            let rest = known
                .iter()
                .try_fold(1usize, |product, &n| product.checked_mul(n))
                .filter(|&n| n > 0 && x.len().is_multiple_of(n));
            let rest = rest.ok_or_else(|| {
                Fault::new(
                    Kind::Shape,
                    format!("{} elements do not fill {sizes:?}", x.len()),
                )
            })?;
            if let Some(slot) = known.get_mut(*axis) {
                *slot = x.len() / rest;
            }
        }
        _ => {
            return Err(Fault::new(
                Kind::Shape,
                format!("only one size may be -1, got {sizes:?}"),
            ));
        }
    }
    Ok(known)
}

/// A number as scripts have it: bools, ints and floats by the dtype.
fn scalar(value: f64, dtype: DType) -> Dynamic {
    match dtype {
        DType::Bool => Dynamic::from(value != 0.0),
        dtype if dtype.is_float() => Dynamic::from(value),
        _ => Dynamic::from(value as i64),
    }
}

fn to_array(x: &Tensor) -> Outcome<Dynamic> {
    if x.len() > ARRAY_SIZE {
        return Err(Fault::new(
            Kind::Limit,
            format!("{} elements are too many for an array", x.len()),
        )
        .hint("take a part: `x[0..1000].to_array()`")
        .into());
    }
    let values: Vec<Dynamic> = match x.dtype() {
        dtype if dtype.is_float() => raise(x.to_vec())?.into_iter().map(Dynamic::from).collect(),
        DType::Bool => {
            let flags = raise(x.to_ints("to_array"))?;
            flags
                .into_iter()
                .map(|flag| Dynamic::from(flag != 0))
                .collect()
        }
        _ => raise(x.to_ints("to_array"))?
            .into_iter()
            .map(Dynamic::from)
            .collect(),
    };
    let mut values = values.into_iter();
    Ok(nested(x.dims(), &mut values))
}

fn nested(dims: &[usize], values: &mut impl Iterator<Item = Dynamic>) -> Dynamic {
    match dims.split_first() {
        None => values.next().unwrap_or(Dynamic::UNIT),
        Some((&n, rest)) => Dynamic::from((0..n).map(|_| nested(rest, values)).collect::<Array>()),
    }
}
