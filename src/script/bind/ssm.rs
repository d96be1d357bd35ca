//! `ssm`: state space models: kernels and steps of diagonal ones, long convolutions, the selective scan.

use rhai::{Array, Dynamic, Map};
use rhapsode_tensor::{
    DType, Result as TensorResult, Tensor,
    ops::{
        long_conv,
        s4d::{self, Discretization},
        selective_scan::{Extras, selective_scan, selective_scan_with_state},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Outcome, raise};
use crate::{
    Kind,
    fault::{Fault, Spot},
    library::Library,
    options,
};

/// How a continuous system becomes a discrete one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Rule {
    /// Zero-order hold: the input is constant within a step.
    #[default]
    Zoh,
    /// Bilinear: the trapezoidal rule.
    Bilinear,
}

impl From<Rule> for Discretization {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Zoh => Discretization::Zoh,
            Rule::Bilinear => Discretization::Bilinear,
        }
    }
}

/// Options of a diagonal state space model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct SystemOptions {
    /// How the continuous system becomes a discrete one. Default: "zoh".
    discretization: Rule,
}

/// Options of a long convolution: none but tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ConvOptions {}

/// Options of a selective scan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ScanOptions {
    /// Takes the step `softplus(delta)` instead of `delta`. Default: false.
    delta_softplus: bool,
    /// Gives the state after the last step too: `[y, state]`. Default: false.
    return_state: bool,
}

const INPUT: &str =
    "The input vectors `B`, complex numbers `[.., channels, modes, 2]` (default: ones).";
const SKIP: &str = "The skip `[channels]`: `d u` is added (default: none).";

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    library.module("ssm", "State space models: kernels and steps of diagonal ones (S4D), long convolutions, the selective scan of Mamba. Complex numbers are a last axis of size 2.");
    s4d(library);
    convolution(library);
    scan(library);
}

fn s4d(library: &mut Library) {
    library
        .function(
            "ssm::s4d_kernel",
            "(a: Tensor, c: Tensor, dt: Tensor, length: int, options?: map) -> Tensor",
            r#"
            The convolution kernel `[.., channels, length]` of the diagonal state space model `x' = A x + B u`, `y = 2 Re C x` with complex `a` and `c`
            `[.., channels, modes, 2]` (one of each conjugate pair) and steps `dt` `[.., channels]`, or `[.., channels, modes]`:
            `K_l = 2 Re sum_m C_m Bbar_m Abar_m^l` (S4D, Gu et al. 2022, arXiv 2206.11893). With z = dt A, zoh has `Abar = e^z`,
            `Bbar = (e^z - 1) / A B`; bilinear has `Abar = (1 + z/2) / (1 - z/2)`, `Bbar = dt / (1 - z/2) B`.

            ```rhai
            let a = tensor([[[-0.5, 0.0]]]);
            let c = tensor([[[0.5, 0.0]]]);
            ssm::s4d_kernel(a, c, tensor([1.0]), 3).shape // => [1, 3]
            ```
            "#,
        )
        .options::<SystemOptions>()
        .besides("b", "Tensor", None, INPUT)
        .call(|a: Tensor, c: Tensor, dt: Tensor, length: i64| kernel([a, c, dt], length, Map::new()))
        .call(|a: Tensor, c: Tensor, dt: Tensor, length: i64, map: Map| kernel([a, c, dt], length, map));
    library
        .function(
            "ssm::s4d_step",
            "(state: Tensor, u: Tensor, a: Tensor, c: Tensor, dt: Tensor, options?: map) -> array",
            r#"
            One step of the same model as a recurrence: `[y, next]` with `next = Abar state + Bbar u` and `y = 2 Re sum_m C_m next_m + d u`. `state` and `next` are
            complex `[.., channels, modes, 2]`, zeros at first; `u` and `y` are `[.., channels]`.

            ```rhai
            let a = tensor([[[-0.5, 0.0]]]);
            let c = tensor([[[0.5, 0.0]]]);
            let r = ssm::s4d_step(zeros([1, 1, 2]), ones([1]), a, c, tensor([1.0]));
            (r[0] - ssm::s4d_kernel(a, c, tensor([1.0]), 1)[0]).abs().max().item() < 1e-6 // => true
            ```
            "#,
        )
        .options::<SystemOptions>()
        .besides("b", "Tensor", None, INPUT)
        .besides("d", "Tensor", None, SKIP)
        .call(|state: Tensor, u: Tensor, a: Tensor, c: Tensor, dt: Tensor| step([state, u, a, c, dt], Map::new()))
        .call(|state: Tensor, u: Tensor, a: Tensor, c: Tensor, dt: Tensor, map: Map| step([state, u, a, c, dt], map));
}

fn convolution(library: &mut Library) {
    library
        .function(
            "ssm::long_conv",
            "(u: Tensor, kernel: Tensor, options?: map) -> Tensor",
            r#"
            The causal convolution `y_t = sum_{j <= t} k_j u_{t-j} + d u_t` of every channel with a kernel of its own, by Fourier transforms: `u` and `y`
            `[.., channels, length]`, `kernel` `[channels, n]` of any length.

            ```rhai
            let u = tensor([[1.0, 0.0, 0.0, 2.0]]);
            ssm::long_conv(u, tensor([[1.0, 10.0]])).to_array()[0].map(|v| v.round()) // => [1.0, 10.0, 0.0, 2.0]
            ```
            "#,
        )
        .options::<ConvOptions>()
        .besides("d", "Tensor", None, SKIP)
        .call(|u: Tensor, kernel: Tensor| convolve(u, kernel, Map::new()))
        .call(convolve);
}

fn scan(library: &mut Library) {
    library
        .function(
            "ssm::selective_scan",
            "(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, options?: map) -> Tensor | array",
            r#"
            The selective scan of Mamba (Gu, Dao 2023, arXiv 2312.00752): `h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t`, `y_t = C_t . h_t + D u_t`, with a gate
            `y_t silu(z_t)`. `u`, `delta`, `z` and `y` are `[batch, steps, channels]`, `a` is `[channels, states]`, `b` and `c` are
            `[batch, steps, states]`, a state is `[batch, channels, states]`. A scan of one step with `initial` and `return_state` is a step of
            recurrent inference.

            ```rhai
            let u = ones([1, 3, 1]);
            let one = ones([1, 3, 1]);
            ssm::selective_scan(u, one, zeros([1, 1]), one, one).reshape([3]).to_array() // => [1.0, 2.0, 3.0]
            ```
            "#,
        )
        .options::<ScanOptions>()
        .besides("d", "Tensor", None, SKIP)
        .besides("z", "Tensor", None, "The gate `[batch, steps, channels]` (default: none).")
        .besides("initial", "Tensor", None, "The state before the first step `[batch, channels, states]` (default: zeros).")
        .call(|u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor| selective([u, delta, a, b, c], Map::new()))
        .call(|u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, map: Map| selective([u, delta, a, b, c], map));
}

/// A tensor of the option map.
fn extra(map: &mut Map, key: &str) -> Result<Option<Tensor>, Fault> {
    options::take(map, key, "a Tensor")
}

/// All tensors in the largest of their dtypes, a float one.
fn alike<const N: usize, const M: usize>(
    given: [Tensor; N],
    extras: [Option<Tensor>; M],
) -> TensorResult<([Tensor; N], [Option<Tensor>; M])> {
    let all = || given.iter().chain(extras.iter().flatten());
    let dtype = all()
        .map(Tensor::dtype)
        .fold(DType::Bool, DType::promote)
        .float();
    let (mut first, mut rest) = (given.clone(), extras.clone());
    for x in first.iter_mut().chain(rest.iter_mut().flatten()) {
        *x = x.to_dtype(dtype)?;
    }
    Ok((first, rest))
}

fn kernel(given: [Tensor; 3], length: i64, mut map: Map) -> Outcome<Tensor> {
    let b = extra(&mut map, "b")?;
    let SystemOptions { discretization } = options::read_besides(&map, &["b"])?;
    let length = usize::try_from(length).map_err(|_| {
        Fault::new(
            Kind::Value,
            format!("the length must be >= 0, got {length}"),
        )
        .at(Spot::Argument(3))
    })?;
    let ([a, c, dt], [b]) = raise(alike(given, [b]))?;
    let bc = match b {
        Some(b) => raise(b.complex_mul(&c))?,
        None => c,
    };
    raise(s4d::kernel(&a, &bc, &dt, length, discretization.into()))
}

fn step(given: [Tensor; 5], mut map: Map) -> Outcome<Array> {
    let extras = [extra(&mut map, "b")?, extra(&mut map, "d")?];
    let SystemOptions { discretization } = options::read_besides(&map, &["b", "d"])?;
    let ([state, u, a, c, dt], [b, d]) = raise(alike(given, extras))?;
    let system = raise(s4d::discretize(&a, b.as_ref(), &dt, discretization.into()))?;
    let (y, next) = raise(s4d::step(&system, &state, &u, &c))?;
    let y = match d {
        Some(d) => raise(u.mul(&d).and_then(|skip| y.add(&skip)))?,
        None => y,
    };
    Ok(vec![Dynamic::from(y), Dynamic::from(next)])
}

fn convolve(u: Tensor, kernel: Tensor, mut map: Map) -> Outcome<Tensor> {
    let d = extra(&mut map, "d")?;
    let ConvOptions {} = options::read_besides(&map, &["d"])?;
    let ([u, kernel], [d]) = raise(alike([u, kernel], [d]))?;
    raise(long_conv::long_conv(&u, &kernel, d.as_ref()))
}

fn selective(given: [Tensor; 5], mut map: Map) -> Outcome<Dynamic> {
    let keys = ["d", "z", "initial"];
    let extras = [
        extra(&mut map, "d")?,
        extra(&mut map, "z")?,
        extra(&mut map, "initial")?,
    ];
    let chosen: ScanOptions = options::read_besides(&map, &keys)?;
    let ([u, delta, a, b, c], [d, z, initial]) = raise(alike(given, extras))?;
    let extras = Extras {
        d: d.as_ref(),
        z: z.as_ref(),
        initial: initial.as_ref(),
        softplus: chosen.delta_softplus,
    };
    if !chosen.return_state {
        return raise(selective_scan(&u, &delta, &a, &b, &c, extras)).map(Dynamic::from);
    }
    let (y, state) = raise(selective_scan_with_state(&u, &delta, &a, &b, &c, extras))?;
    Ok(Dynamic::from(vec![Dynamic::from(y), Dynamic::from(state)]))
}
