//! Elementary functions, logic and questions about elements.

use rhai::{Dynamic, Map};
use rhapsode_tensor::{Result as TensorResult, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{float, operand};
use crate::{
    bind::{Outcome, raise},
    fault::Spot,
    library::Library,
    options,
};

type One = fn(&Tensor) -> TensorResult<Tensor>;
type Two = fn(&Tensor, &Tensor) -> TensorResult<Tensor>;

/// Functions of each element: name and what they give, with an example.
const ELEMENTWISE: [(&str, One, &str); 21] = [
    (
        "floor",
        Tensor::floor,
        "The largest whole number not above each element; its gradient is 0.\n\n```rhai\ntensor([1.7, -1.2]).floor().to_array() // => [1.0, -2.0]\n```",
    ),
    (
        "ceil",
        Tensor::ceil,
        "The smallest whole number not below each element; its gradient is 0.\n\n```rhai\ntensor([1.2]).ceil().to_array() // => [2.0]\n```",
    ),
    (
        "round",
        Tensor::round,
        "The nearest whole number, halves to the even one; its gradient is 0.\n\n```rhai\ntensor([0.5, 1.5, 2.4]).round().to_array() // => [0.0, 2.0, 2.0]\n```",
    ),
    (
        "trunc",
        Tensor::trunc,
        "Each element without its fraction; its gradient is 0.\n\n```rhai\ntensor([-1.7]).trunc().to_array() // => [-1.0]\n```",
    ),
    (
        "tan",
        Tensor::tan,
        "The tangent of each element, in radians.\n\n```rhai\nzeros([1]).tan().to_array() // => [0.0]\n```",
    ),
    (
        "asin",
        Tensor::asin,
        "The angle whose sine each element is; NaN outside of [-1, 1].\n\n```rhai\nzeros([1]).asin().to_array() // => [0.0]\n```",
    ),
    (
        "acos",
        Tensor::acos,
        "The angle whose cosine each element is; NaN outside of [-1, 1].\n\n```rhai\nones([1]).acos().to_array() // => [0.0]\n```",
    ),
    (
        "atan",
        Tensor::atan,
        "The angle whose tangent each element is.\n\n```rhai\nzeros([1]).atan().to_array() // => [0.0]\n```",
    ),
    (
        "sinh",
        Tensor::sinh,
        "The hyperbolic sine of each element.\n\n```rhai\nzeros([1]).sinh().to_array() // => [0.0]\n```",
    ),
    (
        "cosh",
        Tensor::cosh,
        "The hyperbolic cosine of each element.\n\n```rhai\nzeros([1]).cosh().to_array() // => [1.0]\n```",
    ),
    (
        "log1p",
        Tensor::log1p,
        "`ln(1 + x)` of each element, exact for small `x`.\n\n```rhai\nzeros([1]).log1p().to_array() // => [0.0]\n```",
    ),
    (
        "expm1",
        Tensor::expm1,
        "`e^x - 1` of each element, exact for small `x`.\n\n```rhai\nzeros([1]).expm1().to_array() // => [0.0]\n```",
    ),
    (
        "log2",
        Tensor::log2,
        "The logarithm of each element to base 2.\n\n```rhai\ntensor([8.0]).log2().to_array() // => [3.0]\n```",
    ),
    (
        "log10",
        Tensor::log10,
        "The logarithm of each element to base 10.\n\n```rhai\ntensor([100.0]).log10().to_array() // => [2.0]\n```",
    ),
    (
        "rsqrt",
        Tensor::rsqrt,
        "`1 / sqrt(x)` of each element.\n\n```rhai\ntensor([4.0]).rsqrt().to_array() // => [0.5]\n```",
    ),
    (
        "reciprocal",
        Tensor::recip,
        "`1 / x` of each element.\n\n```rhai\ntensor([4.0]).reciprocal().to_array() // => [0.25]\n```",
    ),
    (
        "logical_not",
        Tensor::logical_not,
        "Whether each element is 0, as bool; also `!x`.\n\n```rhai\ntensor([0, 2]).logical_not().to_array() // => [true, false]\n```",
    ),
    (
        "isnan",
        Tensor::isnan,
        "Whether each element is NaN, as bool.\n\n```rhai\n(zeros([1]) / 0).isnan().to_array() // => [true]\n```",
    ),
    (
        "isinf",
        Tensor::isinf,
        "Whether each element is infinite, as bool.\n\n```rhai\n(ones([1]) / 0).isinf().to_array() // => [true]\n```",
    ),
    (
        "isfinite",
        Tensor::isfinite,
        "Whether each element is neither NaN nor infinite, as bool.\n\n```rhai\nones([1]).isfinite().to_array() // => [true]\n```",
    ),
    (
        "nonzero",
        Tensor::nonzero,
        "The places of the elements that are not 0: i64 of shape `[k, rank]`.\n\n```rhai\ntensor([0, 5, 7]).nonzero().to_array() // => [[1], [2]]\n```",
    ),
];

/// Functions of two tensors, or of a tensor and a number: operator where there is one, name, text.
const PAIRS: [(Option<&str>, &str, Two, &str); 7] = [
    (
        Some("%"),
        "remainder",
        Tensor::remainder,
        "The rest of the division, with the sign of the divisor, as Python's `%`.\n\n```rhai\n(tensor([-1, 5]) % 3).to_array() // => [2, 2]\n```",
    ),
    (
        None,
        "fmod",
        Tensor::fmod,
        "The rest of the division, with the sign of the dividend.\n\n```rhai\ntensor([-1, 5]).fmod(3).to_array() // => [-1, 2]\n```",
    ),
    (
        None,
        "floor_divide",
        Tensor::floor_divide,
        "The quotient rounded down, as Python's `//`; its gradient is 0.\n\n```rhai\ntensor([7, -7]).floor_divide(2).to_array() // => [3, -4]\n```",
    ),
    (
        None,
        "atan2",
        Tensor::atan2,
        "The angle of the point (`other`, `x`) in radians: `atan(x / other)` in the right quadrant.\n\n```rhai\nzeros([1]).atan2(ones([1])).to_array() // => [0.0]\n```",
    ),
    (
        Some("&"),
        "logical_and",
        Tensor::logical_and,
        "Whether both are not 0, elementwise, as bool; also `a & b`.\n\n```rhai\nlet x = tensor([1, 5, 9]);\n((x > 2) & (x < 7)).to_array() // => [false, true, false]\n```",
    ),
    (
        Some("|"),
        "logical_or",
        Tensor::logical_or,
        "Whether one of the two is not 0, elementwise, as bool; also `a | b`.\n\n```rhai\nlet x = tensor([1, 5, 9]);\n((x < 2) | (x > 7)).to_array() // => [true, false, true]\n```",
    ),
    (
        Some("^"),
        "logical_xor",
        Tensor::logical_xor,
        "Whether exactly one of the two is not 0, elementwise, as bool; also `a ^ b`.\n\n```rhai\ntensor([true, false]).logical_xor(tensor([true, true])).to_array() // => [false, true]\n```",
    ),
];

/// How near is near.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Closeness {
    /// Relative tolerance, times `|other|`.
    rtol: f64,
    /// Absolute tolerance.
    atol: f64,
    /// Whether NaN is near to NaN.
    equal_nan: bool,
}

impl Default for Closeness {
    fn default() -> Self {
        Self {
            rtol: 1e-5,
            atol: 1e-8,
            equal_nan: false,
        }
    }
}

/// What replaces what is no number.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Replacement {
    /// For NaN.
    nan: f64,
    /// For infinity; without it the largest number of the dtype.
    posinf: Option<f64>,
    /// For minus infinity; without it the smallest number of the dtype.
    neginf: Option<f64>,
}

impl Default for Replacement {
    fn default() -> Self {
        Self {
            nan: 0.0,
            posinf: None,
            neginf: None,
        }
    }
}

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    for (name, function, text) in ELEMENTWISE {
        library
            .method::<Tensor>(name, "() -> Tensor", text)
            .call(move |x: Tensor| raise(function(&x)));
    }
    for (sign, name, function, text) in PAIRS {
        if let Some(sign) = sign {
            let binding = library.operator(
                sign,
                "(left: Tensor | number, right: Tensor | number) -> Tensor",
                text,
            );
            super::arithmetic::both_sides(binding, function);
        }
        let binding = library.method::<Tensor>(name, "(other: Tensor | number) -> Tensor", text);
        super::arithmetic::with_receiver(binding, function);
    }
    closeness(library);
    replacing(library);
    general_norm(library);
}

fn closeness(library: &mut Library) {
    let both = |x: &Tensor, other: &Dynamic| {
        operand(other, x).map_err(|fault| fault.at(Spot::Argument(0)))
    };
    library
        .method::<Tensor>("isclose", "(other: Tensor | number, options?: map) -> Tensor", "Whether `|a - b| <= atol + rtol |b|`, elementwise, as bool.\n\n```rhai\ntensor([1.0, 2.0]).isclose(tensor([1.0, 2.1])).to_array() // => [true, false]\n```")
        .options::<Closeness>()
        .call(move |x: Tensor, other: Dynamic| -> Outcome<Tensor> {
            let near = Closeness::default();
            raise(x.isclose(&both(&x, &other)?, near.rtol, near.atol, near.equal_nan))
        })
        .call(move |x: Tensor, other: Dynamic, map: Map| -> Outcome<Tensor> {
            let near: Closeness = options::read(&map)?;
            raise(x.isclose(&both(&x, &other)?, near.rtol, near.atol, near.equal_nan))
        });
    library
        .method::<Tensor>("allclose", "(other: Tensor | number, options?: map) -> bool", "Whether `|a - b| <= atol + rtol |b|` everywhere.\n\n```rhai\ntensor([1.0, 2.0]).allclose(tensor([1.0, 2.0])) // => true\n```")
        .options::<Closeness>()
        .call(move |x: Tensor, other: Dynamic| -> Outcome<bool> {
            let near = Closeness::default();
            raise(x.allclose(&both(&x, &other)?, near.rtol, near.atol, near.equal_nan))
        })
        .call(move |x: Tensor, other: Dynamic, map: Map| -> Outcome<bool> {
            let near: Closeness = options::read(&map)?;
            raise(x.allclose(&both(&x, &other)?, near.rtol, near.atol, near.equal_nan))
        });
}

fn replacing(library: &mut Library) {
    library
        .method::<Tensor>("masked_fill", "(mask: Tensor, value: number) -> Tensor", "`value` where the mask is not 0, else the element; the mask broadcasts.\n\n```rhai\nlet x = tensor([1.0, -2.0]);\nx.masked_fill(x < 0, 0).to_array() // => [1.0, 0.0]\n```")
        .call(|x: Tensor, mask: Tensor, value: Dynamic| -> Outcome<Tensor> {
            raise(x.masked_fill(&mask, float(&value, 1)?))
        });
    let replace = |x: &Tensor, with: Replacement| {
        let largest = match x.dtype() {
            rhapsode_tensor::DType::F64 => f64::MAX,
            // The largest bf16: 8 bits of precision below 2^128.
            rhapsode_tensor::DType::BF16 => 3.389_531_389_251_535_5e38,
            _ => f64::from(f32::MAX),
        };
        raise(x.nan_to_num(
            with.nan,
            with.posinf.unwrap_or(largest),
            with.neginf.unwrap_or(-largest),
        ))
    };
    library
        .method::<Tensor>("nan_to_num", "(options?: map) -> Tensor", "NaN and infinities replaced by numbers; they take no gradient.\n\n```rhai\n(zeros([1]) / 0).nan_to_num().to_array() // => [0.0]\n```")
        .options::<Replacement>()
        .call(move |x: Tensor| replace(&x, Replacement::default()))
        .call(move |x: Tensor, map: Map| -> Outcome<Tensor> { replace(&x, options::read(&map)?) });
    let mix = |x: &Tensor, end: &Dynamic, weight: &Dynamic| -> Outcome<Tensor> {
        let end = operand(end, x).map_err(|fault| fault.at(Spot::Argument(0)))?;
        let weight = operand(weight, x).map_err(|fault| fault.at(Spot::Argument(1)))?;
        raise(x.lerp(&end, &weight))
    };
    library
        .method::<Tensor>("lerp", "(end: Tensor | number, weight: Tensor | number) -> Tensor", "`x + weight (end - x)`: between two tensors.\n\n```rhai\nzeros([2]).lerp(ones([2]), 0.25).to_array() // => [0.25, 0.25]\n```")
        .call(move |x: Tensor, end: Dynamic, weight: Dynamic| mix(&x, &end, &weight));
}

fn general_norm(library: &mut Library) {
    library
        .method::<Tensor>("norm_p", "(p: number, axis?: int) -> Tensor", "`(sum |x|^p)^(1/p)` of all elements or along an axis, which is dropped; `p` may be infinite (the largest) or 0 (how many are not 0).\n\n```rhai\ntensor([3.0, -4.0]).norm_p(1).item() // => 7.0\n```")
        .call(|x: Tensor, p: Dynamic| -> Outcome<Tensor> {
            let p = float(&p, 0)?;
            raise(x.reshape(&[x.len()]).and_then(|flat| flat.norm_p(p, 0)))
        })
        .call(|x: Tensor, p: Dynamic, axis: i64| -> Outcome<Tensor> { raise(x.norm_p(float(&p, 0)?, axis)) });
}
