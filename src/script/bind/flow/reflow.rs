//! `m.reflow(..)`, diffusion models as flows, and how straight a flow is.

use std::{path::PathBuf, sync::Arc};

use rhai::{Dynamic, FnPtr, Map, NativeCallContext};
use rhapsode_models::{
    flow::{
        RectifiedFlow, SharedFlow, VelocityField,
        field::{check_points, velocity_at},
        reflow::{
            INVERSION_MARGIN, REFERENCE, ReflowOptions, Teacher, invert,
            measure::{crossings, slerp, straightness},
            pairs::{self, PairOptions},
            teacher::DiffusionOptions,
        },
    },
    ode::{self, SaveAt, SolveOptions, Solver},
};
use rhapsode_tensor::{Tensor, random::Stream};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    count,
    field::{AsFlow, Flow},
    flow_of,
    rectified::{distance_option, optimizer_option},
    velocity_closure,
};
use crate::{
    bind::{
        Closure, Outcome,
        draw::{next_seed, session_dtype},
        enter, raise,
        tensor::create::take_tensor,
    },
    context,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::type_word,
};

/// Options of a walk along a flow.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct PathOptions {
    /// The solver (default "rk4").
    solver: Solver,
    /// Number of equal steps (at least 1; default 50).
    steps: usize,
    /// Seed of the noise (default: the session's next).
    seed: Option<u64>,
}

impl Default for PathOptions {
    fn default() -> Self {
        Self {
            solver: Solver::Rk4,
            steps: 50,
            seed: None,
        }
    }
}

impl PathOptions {
    fn solve(&self, from: f64, to: f64) -> SolveOptions {
        SolveOptions {
            from,
            to,
            solver: self.solver,
            steps: Some(self.steps),
            save_at: SaveAt::END,
            ..Default::default()
        }
    }
}

/// Options of the straightness of a flow.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct StraightnessOptions {
    /// Number of samples whose paths are looked at (at least 1; default 1000).
    samples: usize,
    /// The solver (default "rk4").
    solver: Solver,
    /// Number of equal steps (at least 1; default 50).
    steps: usize,
    /// Seed of the noise (default: the session's next).
    seed: Option<u64>,
}

impl Default for StraightnessOptions {
    fn default() -> Self {
        Self {
            samples: 1000,
            solver: Solver::Rk4,
            steps: 50,
            seed: None,
        }
    }
}

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    library
        .method::<RectifiedFlow>(
            "reflow",
            "(options?: map) -> RectifiedFlow",
            r#"
            A flow trained again on pairs of this one, noise and the data to which its ODE carries it: x_t = (1 - t) x0 + t x1, min E m(x1 - x0, v(x_t, t)). Its
            paths are straight, and one or two steps are enough. Times are drawn u-shaped and the loss is pseudo-Huber; `real` mixes in real data, whose
            noise is found by running the flow backward; `cache` keeps the pairs in a folder, where interrupted work goes on.
            (Lee, Lin, Fanti 2024, arXiv 2405.20320.)

            ```rhai
            seed(0);
            let model = flow::rectified(#{ hidden: [16] });
            model.fit(data::moons(200), #{ steps: 20 });
            let second = model.reflow(#{ pairs: 200, pair_steps: 4, steps: 20, batch: 64, real: data::moons(100) });
            second.sample(5, #{ steps: 1, solver: "euler" }).shape // => [5, 2]
            ```

            `teacher` makes the pairs where it is not this flow itself: a function, a diffusion model, an interpolant from noise. With `pairs` and `fit` the same is done step by step.

            ```rhai
            seed(0);
            let circle = flow::from_velocity(|x, t| x * 0.5);
            let student = flow::rectified(#{ hidden: [16] }).reflow(#{ teacher: circle, pairs: 200, pair_steps: 4, steps: 20, batch: 64 });
            student.sample(5, #{ steps: 1, solver: "euler" }).shape // => [5, 2]
            ```
            "#,
        )
        .options::<ReflowOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, flow: &mut RectifiedFlow| reflow(&call, flow, Map::new()))
        .call(|call: NativeCallContext, flow: &mut RectifiedFlow, map: Map| reflow(&call, flow, map));
    library
        .function(
            "flow::from_diffusion",
            "(model: closure, options?: map) -> Flow",
            r#"
            A diffusion model as a flow: from a closure `|y, level|` of noisy points `[n, dim]` and their noise levels `[n, 1]`, the velocity (x1_hat - x_t) / (1 -
            t). The level is sigma ("ve"), ln(sigma) / 4 ("edm", the raw network), a time with noise at 1 ("vp") or a whole step ("ddpm").

            ```rhai
            // The exact denoiser of data N(0, 1): E[data | y] = y / (1 + sigma^2).
            let flow = flow::from_diffusion(|y, sigma| y / (sigma * sigma + 1.0), #{ dim: 1, kind: "ve" });
            seed(0);
            (flow.sample(2000).std().item() - 1.0).abs() < 0.05 // => true
            ```
            "#,
        )
        .options::<DiffusionOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, f: FnPtr| from_diffusion(&call, f, &Map::new()))
        .call(|call: NativeCallContext, f: FnPtr, map: Map| from_diffusion(&call, f, &map));
    walks::<RectifiedFlow>(library);
    walks::<Flow>(library);
    library
        .function(
            "metric::straightness",
            "(flow: RectifiedFlow | Interpolant | Flow | Tensor, options?: map) -> float",
            r#"
            How straight the paths of a flow are, or trajectories `[steps + 1, n, dim]` of equal steps: the mean of (N (x_{i+1} - x_i) - (x_N - x_0))^2, 0 for
            straight paths of constant speed. A model whose samples have collapsed can be straight too: look at the samples.

            ```rhai
            metric::straightness(flow::from_velocity(|x, t| x * 0.0 + 3.0)) < 1e-6 // => true
            ```
            "#,
        )
        .options::<StraightnessOptions>()
        .call(|call: NativeCallContext, flow: Dynamic| straight(&call, &flow, &Map::new()))
        .call(|call: NativeCallContext, flow: Dynamic, map: Map| straight(&call, &flow, &map));
    library
        .function(
            "flow::slerp",
            "(from: Tensor, to: Tensor, weight: float) -> Tensor",
            r#"
            Spherical interpolation of two noises: along the arc between their directions.

            ```rhai
            flow::slerp(tensor([1.0, 0.0]), tensor([0.0, 1.0]), 0.0).to_array() // => [1.0, 0.0]
            ```
            "#,
        )
        .call(|a: Tensor, b: Tensor, w: Dynamic| -> Outcome<Tensor> {
            let got = type_word(w.type_name()).to_string();
            let wrong = || Fault::expected("a number", &got).at(Spot::Argument(2));
            let w = crate::bind::number(&w).ok_or_else(wrong)?;
            raise(slerp(&a, &b, w))
        });
    library
        .function(
            "flow::crossings",
            "(noise: Tensor, data: Tensor) -> map",
            r#"
            Whether the lines between pairs of noise and data `[n, dim]` can cross: for each pair the squared norm over the dimension (`norm`, near 1 for a noise
            that occurs) and the correlation of neighbouring elements (`lag`, near 0) of the noise at which its line would meet the next one in the
            middle. In high dimension data need noises that never occur: one reflow is enough.

            ```rhai
            seed(0);
            let found = flow::crossings(randn([50, 64]), ones([50, 64]) * randn([50, 1]) * 3.0);
            found.norm.mean().item() > 2.0 // => true
            ```
            "#,
        )
        .reference(&REFERENCE)
        .call(|noise: Tensor, data: Tensor| -> Outcome<Map> {
            let (norm, lag) = raise(crossings(&noise, &data))?;
            let parts = [("norm", norm), ("lag", lag)];
            Ok(parts.into_iter().map(|(key, value)| (key.into(), Dynamic::from(value))).collect())
        });
}

/// Walks that every flow takes.
fn walks<T: AsFlow>(library: &mut Library) {
    library
        .method::<T>(
            "invert",
            "(x: Tensor, options?: map) -> Tensor",
            r#"
            Carries data `[n, dim]` back to the noise that the flow would make them from: from t = 0.999, where a little noise is mixed in, to 0. `sample(n, #{
            noise })` goes forward again.

            ```rhai
            flow::from_velocity(|x, t| x * 0.0).invert(zeros([3, 2]), #{ steps: 2 }).shape // => [3, 2]
            ```
            "#,
        )
        .options::<PathOptions>()
        .call(|call: NativeCallContext, flow: &mut T, x: Tensor| inverted(&call, flow, &x, &Map::new()))
        .call(|call: NativeCallContext, flow: &mut T, x: Tensor, map: Map| inverted(&call, flow, &x, &map));
    library
        .method::<T>(
            "pairs",
            "(n: int, options?: map) -> map",
            r#"
            `n` pairs of noise and the data to which the flow's ODE carries it, `#{ noise, data }`, `[n, dim]` each: what `reflow` learns from. `cache` keeps them in a folder, where
            interrupted work goes on.

            ```rhai
            seed(0);
            let pairs = flow::from_velocity(|x, t| x * 0.5).pairs(100, #{ steps: 4 });
            let student = flow::rectified(#{ hidden: [16] });
            let run = student.fit(pairs.data, #{ noise: pairs.noise, timestep: "u-shaped", loss: "pseudo-huber", steps: 20 });
            run.loss.len() // => 20
            ```
            "#,
        )
        .options::<PairOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, flow: &mut T, n: i64| made(&call, flow, n, &Map::new()))
        .call(|call: NativeCallContext, flow: &mut T, n: i64, map: Map| made(&call, flow, n, &map));
    library
        .method::<T>(
            "trajectory",
            "(n: int | Tensor, options?: map) -> Tensor",
            r#"
            The paths of n samples, or from given noise `[n, dim]`, at all steps from noise to data: `[steps + 1, n, dim]`.

            ```rhai
            flow::from_velocity(|x, t| -x).trajectory(3, #{ steps: 4 }).shape // => [5, 3, 2]
            ```
            "#,
        )
        .options::<PathOptions>()
        .call(|call: NativeCallContext, flow: &mut T, n: Dynamic| trajectory(&call, flow, &n, &Map::new()))
        .call(|call: NativeCallContext, flow: &mut T, n: Dynamic, map: Map| trajectory(&call, flow, &n, &map));
}

fn reflow(call: &NativeCallContext, flow: &RectifiedFlow, mut map: Map) -> Outcome<RectifiedFlow> {
    let optimizer = optimizer_option(&mut map)?;
    let real = take_tensor(call, &mut map, "real", "a Tensor of data")?;
    let perceptual = distance_option(call, &mut map)?;
    let teacher = teacher_option(&mut map)?;
    let mut chosen: ReflowOptions = options::read(&map)?;
    chosen.teacher = teacher;
    chosen.optimizer = optimizer;
    chosen.real = real;
    chosen.perceptual = perceptual;
    chosen.cache = placed(call, chosen.cache)?;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    enter(call, |observer| {
        flow.reflow(&chosen, observer).map(|(student, _)| student)
    })
}

/// A folder, from where the script stands.
fn placed(call: &NativeCallContext, folder: Option<PathBuf>) -> Outcome<Option<PathBuf>> {
    let context = context::of_call(call)?;
    Ok(folder.map(|folder| context.path(&folder.to_string_lossy())))
}

/// A flow under the key `teacher`.
fn teacher_option(map: &mut Map) -> Outcome<Option<Teacher>> {
    let Some(value) = map.remove("teacher").filter(|value| !value.is_unit()) else {
        return Ok(None);
    };
    let got = type_word(value.type_name()).to_string();
    let wrong = || {
        let expected = "a flow (flow::from_velocity, flow::from_diffusion, flow::interpolant)";
        Fault::expected(expected, &got).at(Spot::Value(vec!["teacher".into()]))
    };
    Ok(Some(Teacher(flow_of(&value).ok_or_else(wrong)?)))
}

fn made<T: AsFlow>(call: &NativeCallContext, flow: &T, n: i64, map: &Map) -> Outcome<Map> {
    let mut chosen: PairOptions = options::read(map)?;
    chosen.cache = placed(call, chosen.cache)?;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    let n = usize::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| {
        Fault::value(format!("n must be at least 1, got {n}")).at(Spot::Argument(0))
    })?;
    let flow = flow.flow();
    let pairs = enter(call, |observer| pairs::pairs(&flow, n, &chosen, observer))?;
    let parts = [("noise", pairs.noise), ("data", pairs.data)];
    Ok(parts
        .into_iter()
        .map(|(key, value)| (key.into(), Dynamic::from(value)))
        .collect())
}

fn from_diffusion(call: &NativeCallContext, f: FnPtr, map: &Map) -> Outcome<Flow> {
    let chosen: DiffusionOptions = options::read(map)?;
    let closure = Closure::new(call, f, &["y", "level"], Spot::Argument(0))?;
    let field = raise(chosen.flow(velocity_closure(closure), session_dtype(call)?))?;
    // Once on a batch, so that a wrong shape is told here and not in the middle of a walk.
    let probe = raise(Tensor::zeros(&[2, chosen.dim], field.dtype))?;
    let t = raise(Tensor::full(0.5, &[2], field.dtype))?;
    raise(field.velocity(&probe, &t))?;
    Ok(Flow(Arc::new(field), "from a diffusion model"))
}

fn inverted<T: AsFlow>(
    call: &NativeCallContext,
    flow: &T,
    x: &Tensor,
    map: &Map,
) -> Outcome<Tensor> {
    let chosen: PathOptions = options::read(map)?;
    let flow = flow.flow();
    raise(check_points(flow.as_ref(), "x", x))?;
    let x = raise(x.to_dtype(flow.dtype()))?;
    let seed = match chosen.seed {
        Some(seed) => seed,
        None => next_seed(call)?,
    };
    let solve = chosen.solve(1.0 - INVERSION_MARGIN, 0.0);
    enter(call, |observer| {
        invert(flow.as_ref(), &x, &solve, seed, observer)
    })
}

fn trajectory<T: AsFlow>(
    call: &NativeCallContext,
    flow: &T,
    n: &Dynamic,
    map: &Map,
) -> Outcome<Tensor> {
    let chosen: PathOptions = options::read(map)?;
    let flow = flow.flow();
    let noise = match (n.as_int(), n.clone().flatten().try_cast::<Tensor>()) {
        (_, Some(noise)) => {
            raise(check_points(flow.as_ref(), "noise", &noise))?;
            raise(noise.to_dtype(flow.dtype()))?
        }
        (Ok(n), _) => {
            let seed = match chosen.seed {
                Some(seed) => seed,
                None => next_seed(call)?,
            };
            let n = count(n)?;
            raise(Stream::new(seed, "noise").randn(&[n, flow.dim()], flow.dtype()))?
        }
        (Err(_), None) => {
            let got = type_word(n.type_name());
            return Err(
                Fault::expected("a number of samples or a Tensor of noise", got)
                    .at(Spot::Argument(0))
                    .into(),
            );
        }
    };
    walked(call, &flow, &noise, &chosen)
}

/// All states of a walk from noise to data.
fn walked(
    call: &NativeCallContext,
    flow: &SharedFlow,
    noise: &Tensor,
    path: &PathOptions,
) -> Outcome<Tensor> {
    let solve = SolveOptions {
        save_at: SaveAt::default(),
        ..path.solve(0.0, 1.0)
    };
    enter(call, |observer| {
        let mut slope = |x: &Tensor, t: f64| velocity_at(flow.as_ref(), x, t);
        ode::solve(&mut slope, noise, &solve, observer)?.stacked()
    })
}

fn straight(call: &NativeCallContext, flow: &Dynamic, map: &Map) -> Outcome<f64> {
    let chosen: StraightnessOptions = options::read(map)?;
    let path = match (flow_of(flow), flow.read_lock::<Tensor>()) {
        (_, Some(path)) => path.clone(),
        (Some(flow), _) => {
            let seed = match chosen.seed {
                Some(seed) => seed,
                None => next_seed(call)?,
            };
            let noise = Stream::new(seed, "noise");
            let noise = raise(noise.randn(&[chosen.samples.max(1), flow.dim()], flow.dtype()))?;
            let path = PathOptions {
                solver: chosen.solver,
                steps: chosen.steps,
                seed: None,
            };
            walked(call, &flow, &noise, &path)?
        }
        (None, None) => {
            let got = type_word(flow.type_name());
            return Err(Fault::expected("a flow or a Tensor of trajectories", got)
                .at(Spot::Argument(0))
                .into());
        }
    };
    raise(straightness(&path).and_then(|each| Ok(each.mean_all()?.item()?)))
}
