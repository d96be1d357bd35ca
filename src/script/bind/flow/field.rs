//! `flow::from_velocity`, and what every flow can do.

use std::sync::Arc;

use rhai::{Dynamic, FnPtr, Map, NativeCallContext};
use rhapsode_models::flow::{
    FunctionField, LogProbOptions, RectifiedFlow, SampleOptions, SharedFlow, VelocityField,
    field::score,
    interpolant::Interpolant,
    likelihood::{self, Base},
    path::{Gamma, GammaKind, Path, Process},
    sample,
};
use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{count, times, velocity_closure};
use crate::{
    Display,
    bind::{
        Closure, Outcome,
        draw::{next_seed, session_dtype},
        enter, raise,
        tensor::create::take_tensor,
    },
    fault::Spot,
    library::Library,
    options,
    value::Object,
};

/// A flow that is no model of its own: a closure's velocity, or a model towards a class.
#[derive(Clone)]
pub(crate) struct Flow(pub SharedFlow, pub &'static str);

impl Object for Flow {
    const NAME: &'static str = "Flow";

    fn text(&self) -> String {
        format!("Flow of dim {} {}", self.0.dim(), self.1)
    }

    fn summary(&self) -> String {
        format!("dim {}", self.0.dim())
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// What holds a flow.
pub(super) trait AsFlow: Object {
    /// The flow.
    fn flow(&self) -> SharedFlow;
}

impl AsFlow for Flow {
    fn flow(&self) -> SharedFlow {
        self.0.clone()
    }
}

impl AsFlow for RectifiedFlow {
    fn flow(&self) -> SharedFlow {
        Arc::new(self.clone())
    }
}

impl AsFlow for Interpolant {
    fn flow(&self) -> SharedFlow {
        Arc::new(self.clone())
    }
}

/// Options of a flow from a velocity.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct FunctionOptions {
    /// Size of one sample (at least 1; default 2).
    dim: usize,
    /// How its points come from noise and data: "one-sided-linear", "one-sided-trig", "sbdm" (default "one-sided-linear").
    path: Path,
}

impl Default for FunctionOptions {
    fn default() -> Self {
        Self {
            dim: 2,
            path: Path::OneSidedLinear,
        }
    }
}

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    library.object::<Flow>("A flow: `sample`, `velocity`, `score`, `log_prob`, `steer`.");
    library
        .function(
            "flow::from_velocity",
            "(velocity: closure, options?: map) -> Flow",
            r#"
            A flow from a closure `|x, t|` of points `[n, dim]` and times `[n, 1]` that gives velocities of the shape of x: it can be sampled,
            scored, steered and searched like a model.

            ```rhai
            // From N(0, 1) to N(2, 1/4) on straight lines.
            let flow = flow::from_velocity(|x, t| {
                let variance = (1.0 - t) ** 2 + t * t * 0.25;
                2.0 + (t * 0.25 - (1.0 - t)) / variance * (x - t * 2.0)
            }, #{ dim: 1 });
            let x = flow.sample(2000, #{ seed: 1 });
            (x.mean().item() - 2.0).abs() < 0.05 // => true
            ```
            "#,
        )
        .options::<FunctionOptions>()
        .call(|call: NativeCallContext, f: FnPtr| from_velocity(&call, f, &Map::new()))
        .call(|call: NativeCallContext, f: FnPtr, map: Map| from_velocity(&call, f, &map));
    library
        .method::<Flow>(
            "sample",
            "(n: int, options?: map) -> Tensor",
            r#"
            n samples `[n, dim]`: noise carried along the flow from t = 0 to t = 1.

            ```rhai
            flow::from_velocity(|x, t| x * 0.0 + 1.0).sample(5, #{ steps: 2 }).shape // => [5, 2]
            ```
            "#,
        )
        .options::<SampleOptions>()
        .call(|call: NativeCallContext, flow: &mut Flow, n: i64| {
            sample_flow(&call, flow, n, Map::new())
        })
        .call(
            |call: NativeCallContext, flow: &mut Flow, n: i64, map: Map| {
                sample_flow(&call, flow, n, map)
            },
        );
    library
        .method::<Flow>(
            "velocity",
            "(x: Tensor, t: float | Tensor) -> Tensor",
            r#"
            The velocity at points `x: [n, dim]` and a time in [0, 1], or times `[n]`; differentiable in x.

            ```rhai
            flow::from_velocity(|x, t| -x).velocity(ones([1, 2]), 0.5).to_array() // => [[-1.0, -1.0]]
            ```
            "#,
        )
        .call(|flow: &mut Flow, x: Tensor, t: Dynamic| -> Outcome<Tensor> {
            let t = times(&x, &t, 1)?;
            raise(flow.0.velocity(&x, &t))
        });
    library
        .method::<Flow>(
            "log_prob",
            "(x: Tensor, options?: map) -> Tensor",
            r#"
            The log-density of each row of `x: [n, dim]`, shape `[n]`, in nats, from standard normal noise.

            ```rhai
            flow::from_velocity(|x, t| x * 0.0).log_prob(zeros([1, 2])).item() < -1.8 // => true
            ```
            "#,
        )
        .options::<LogProbOptions>()
        .call(|call: NativeCallContext, flow: &mut Flow, x: Tensor| log_prob(&call, flow, &x, &Map::new()))
        .call(|call: NativeCallContext, flow: &mut Flow, x: Tensor, map: Map| log_prob(&call, flow, &x, &map));
    with_density::<Flow>(library);
    with_density::<RectifiedFlow>(library);
    with_score::<Flow>(library);
    with_score::<RectifiedFlow>(library);
}

/// The score of a flow from Gaussian noise.
fn with_score<T: AsFlow>(library: &mut Library) {
    library
        .method::<T>(
            "score",
            "(x: Tensor, t: float | Tensor) -> Tensor",
            r#"
            The score grad log p(x, t) at points `x: [n, dim]` and a time in [0, 1), or times `[n]`, from the velocity: on straight
            lines -(x - t v) / (1 - t).

            ```rhai
            let flow = flow::from_velocity(|x, t| x * 0.0);
            flow.score(ones([1, 2]), 0.0).to_array() // => [[-1.0, -1.0]]
            flow::rectified(#{ hidden: [8] }).score(zeros([3, 2]), 0.5).shape // => [3, 2]
            ```
            "#,
        )
        .call(|flow: &mut T, x: Tensor, t: Dynamic| -> Outcome<Tensor> {
            let t = times(&x, &t, 1)?;
            raise(score(flow.flow().as_ref(), &x, &t))
        });
}

/// Densities while samples are drawn.
fn with_density<T: AsFlow>(library: &mut Library) {
    library
        .method::<T>(
            "sample_with_log_prob",
            "(n: int, options?: map) -> map",
            r#"
            n samples and their log-densities at once, `#{ x, log_prob }`: the divergence is carried along with the points.

            ```rhai
            let found = flow::from_velocity(|x, t| x * 0.0).sample_with_log_prob(4, #{ steps: 2, solver: "rk4" });
            [found.x.shape, found.log_prob.shape] // => [[4, 2], [4]]
            ```
            "#,
        )
        .options::<LogProbOptions>()
        .call(|call: NativeCallContext, flow: &mut T, n: i64| push(&call, flow, n, &Map::new()))
        .call(|call: NativeCallContext, flow: &mut T, n: i64, map: Map| push(&call, flow, n, &map));
}

fn push<T: AsFlow>(call: &NativeCallContext, flow: &T, n: i64, map: &Map) -> Outcome<Map> {
    let flow = flow.flow();
    let n = count(n)?;
    let seed = next_seed(call)?;
    let mut chosen: LogProbOptions = options::read(map)?;
    let seed = *chosen.seed.get_or_insert(seed);
    raise(rhapsode_tensor::memory::ensure(n, flow.dim()))?;
    let noise = rhapsode_tensor::random::Stream::new(seed, "noise");
    let noise = raise(noise.randn(&[n, flow.dim()], flow.dtype()))?;
    let (x, log_prob) = enter(call, |observer| {
        likelihood::push(flow.as_ref(), &Base::Normal, &noise, &chosen, observer)
    })?;
    Ok(pair(x, log_prob))
}

/// `#{ x, log_prob }`.
pub(super) fn pair(x: Tensor, log_prob: Tensor) -> Map {
    [("x", x), ("log_prob", log_prob)]
        .into_iter()
        .map(|(key, value)| (key.into(), Dynamic::from(value)))
        .collect()
}

fn from_velocity(call: &NativeCallContext, f: FnPtr, map: &Map) -> Outcome<Flow> {
    let chosen: FunctionOptions = options::read(map)?;
    let closure = Closure::new(call, f, &["x", "t"], Spot::Argument(0))?;
    let field = FunctionField {
        function: velocity_closure(closure),
        dim: chosen.dim.max(1),
        dtype: session_dtype(call)?,
        process: Process {
            path: chosen.path,
            gamma: Gamma::Named(GammaKind::Zero, 1.0),
        },
    };
    // Once on a batch, so that a wrong shape is told here and not in the middle of a walk.
    let probe = raise(Tensor::zeros(&[2, field.dim], field.dtype))?;
    let t = raise(Tensor::full(0.5, &[2], field.dtype))?;
    raise(field.velocity(&probe, &t))?;
    Ok(Flow(Arc::new(field), "from a closure"))
}

fn sample_flow(call: &NativeCallContext, flow: &Flow, n: i64, map: Map) -> Outcome<Tensor> {
    let n = count(n)?;
    let chosen = sample_options(call, map)?;
    enter(call, |observer| {
        sample::sample(flow.0.as_ref(), n, &chosen, observer)
    })
}

/// Options of sampling with what is no data.
pub(super) fn sample_options(call: &NativeCallContext, mut map: Map) -> Outcome<SampleOptions> {
    let labels = take_tensor(call, &mut map, "labels", "a Tensor of class numbers")?;
    let noise = take_tensor(call, &mut map, "noise", "a Tensor [n, dim]")?;
    let mut chosen: SampleOptions = options::read(&map)?;
    chosen.labels = labels;
    chosen.noise = noise;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    Ok(chosen)
}

fn log_prob(call: &NativeCallContext, flow: &Flow, x: &Tensor, map: &Map) -> Outcome<Tensor> {
    let mut chosen: LogProbOptions = options::read(map)?;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    enter(call, |observer| {
        likelihood::log_prob(flow.0.as_ref(), x, &chosen, 0, observer)
    })
}
