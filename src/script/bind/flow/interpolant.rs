//! `flow::interpolant` and what belongs to it.

use std::sync::Arc;

use rhai::{Dynamic, Map, NativeCallContext};
use rhapsode_models::flow::{
    VelocityField,
    convert::{FIELDS, FieldKind},
    interpolant::{
        BaseLaw, CustomPath, Functions, Interpolant, InterpolantFit, InterpolantOptions,
        PositionFn, REFERENCE, sde::InterpolantSample,
    },
    mixture::Mixture,
    path::{Gamma, GammaKind, Path, Process, Sort},
};
use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    closure_option, count, rate_option, rectified::optimizer_option, times, velocity_closure,
};
use crate::{
    Display,
    bind::{
        Closure, Outcome,
        draw::{next_seed, session_dtype},
        enter, raise,
        run::Training,
        tensor::create::take_tensor,
    },
    library::Library,
    options,
    value::Object,
};

impl Object for Interpolant {
    const NAME: &'static str = "Interpolant";

    fn text(&self) -> String {
        let fields: Vec<&str> = self.knows().iter().map(|kind| kind.name()).collect();
        let how = match self.params() {
            Some(params) => format!("learns {}, {} parameters", fields.join(", "), params.len()),
            None => format!("knows {}", fields.join(", ")),
        };
        format!(
            "Interpolant of dim {}, path \"{}\": {how}",
            self.options().dim,
            self.process().path.name()
        )
    }

    fn summary(&self) -> String {
        format!(
            "dim {}, path \"{}\"",
            self.options().dim,
            self.process().path.name()
        )
    }

    fn bytes(&self) -> Option<u64> {
        let params = self.params()?;
        Some((2 * params.len() * params.dtype().size_in_bytes()) as u64)
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Options of an interpolant whose fields are known.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KnownOptions {
    /// How base and data are weighted on the way (default "linear").
    pub(super) path: Path,
    /// The latent's coefficient (default "sqrt"; "zero" on one-sided paths).
    gamma: Option<GammaKind>,
    /// The factor a of gamma = sqrt(a t (1 - t)) (> 0; default 1).
    gamma_scale: Option<f64>,
}

impl KnownOptions {
    /// The process that they mean.
    pub(super) fn process(&self) -> Process {
        InterpolantOptions {
            path: self.path,
            gamma: self.gamma,
            gamma_scale: self.gamma_scale.unwrap_or(1.0),
            ..Default::default()
        }
        .process()
    }
}

/// The texts of closures that take the place of data in option maps.
const POSITION: &str = "A closure `|t, x0, x1|` of times `[n, 1]` and points `[n, dim]` in place of `path`: an interpolant of one's own, linear in space or not; with `derivative` (default: `path`).";
const DERIVATIVE: &str =
    "The derivative in time of `position`, a closure `|t, x0, x1|` (default: `path`).";
const GAMMA: &str =
    "A closure `|t|` of a number in place of `gamma`; with `gamma_rate` (default: `gamma`).";
const GAMMA_RATE: &str = "The derivative of `gamma_of`, a closure `|t|` (default: `gamma`).";

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library.object::<Interpolant>("A stochastic interpolant: `fit`, `sample`, `encode`, `decode`, `velocity`, `score`, `denoiser`, `data`, `log_prob`.");
    library
        .function(
            "flow::interpolant",
            "(options?: map) -> Interpolant",
            r#"
            A stochastic interpolant x_t = alpha(t) x0 + beta(t) x1 + gamma(t) z between any base and the data, with a Gaussian latent z. Networks
            learn conditional expectations; samples follow the probability flow or, with noise of any strength, an SDE.
            (Albergo, Boffi, Vanden-Eijnden 2023, arXiv 2303.08797.)

            ```rhai
            seed(0);
            let model = flow::interpolant(#{ dim: 2, path: "trig", gamma: "sqrt", hidden: [16] });
            model.fit(data::eight_gaussians(200), data::moons(200), #{ steps: 5 });
            model.sample(3, #{ sampler: "sde", epsilon: |t| t * (1.0 - t), steps: 10 }).shape // => [3, 2]
            ```

            From Gaussian noise, one-sided, the velocity alone gives all the rest; "mirror" leads from the data back to the data.

            ```rhai
            let model = flow::interpolant(#{ path: "one-sided-linear", learn: ["denoiser"], hidden: [16] });
            model.fit(data::moons(200), #{ steps: 5 });
            [model.sample(3).shape, model.score(zeros([3, 2]), 0.5).shape] // => [[3, 2], [3, 2]]
            ```
            "#,
        )
        .options::<InterpolantOptions>()
        .besides("position", "closure", None, POSITION)
        .besides("derivative", "closure", None, DERIVATIVE)
        .besides("gamma_of", "closure", None, GAMMA)
        .besides("gamma_rate", "closure", None, GAMMA_RATE)
        .reference(&REFERENCE)
        .call(|call: NativeCallContext| interpolant(&call, Map::new()))
        .call(|call: NativeCallContext, map: Map| interpolant(&call, map));
    library
        .function(
            "flow::exact",
            "(target: Mixture, options?: map) -> Interpolant",
            r#"
            The exact interpolant to a mixture of Gaussians, from another one (`base`) or from noise: velocity and score in closed form, the reference
            that learned ones are held against.

            ```rhai
            let target = flow::mixture(#{ means: [[3.0, 0.0], [-3.0, 0.0]], std: 0.5 });
            let truth = flow::exact(target, #{ base: flow::mixture(#{ means: [[0.0, 2.0]] }), path: "trig" });
            let x = target.sample(10);
            (truth.log_prob(x) - target.log_prob(x)).abs().max().item() < 1e-2 // => true
            ```
            "#,
        )
        .options::<KnownOptions>()
        .besides("base", "Mixture", None, "The law of the base (default: standard normal).")
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, target: Mixture| exact(&call, target, Map::new()))
        .call(|call: NativeCallContext, target: Mixture, map: Map| exact(&call, target, map));
    let fields = library
        .function(
            "flow::fields",
            "(dim: int, options: map) -> Interpolant",
            r#"
            An interpolant whose fields are closures `|x, t|` of points `[n, dim]` and times `[n, 1]`: of "velocity", "drift", "score", "denoiser" as many as
            are known.

            ```rhai
            let model = flow::fields(2, #{ path: "one-sided-linear", velocity: |x, t| -x });
            model.sample(4, #{ steps: 10 }).shape // => [4, 2]
            ```
            "#,
        )
        .options::<KnownOptions>();
    let fields = FIELDS.iter().fold(fields, |binding, (name, _)| {
        binding.besides(
            name,
            "closure",
            None,
            "A field, a closure `|x, t|` (default: not known).",
        )
    });
    fields
        .besides(
            "base",
            "Mixture | Tensor",
            None,
            "The law of the base, or points of it (default: standard normal).",
        )
        .call(|call: NativeCallContext, dim: i64, map: Map| fields_given(&call, dim, map));
    bind_training(library);
    bind_fields(library);
    bind_walks(library);
}

fn bind_training(library: &mut Library) {
    library
        .method::<Interpolant>(
            "fit",
            "(data: Tensor, options?: map) | (base: Tensor, data: Tensor, options?: map) -> Run",
            r#"
            Learns from data `[n, dim]` and points of the base `[m, dim]`; without them the base is standard normal. With `coupling: "pairs"` row i of
            one belongs to row i of the other.

            ```rhai
            seed(0);
            let model = flow::interpolant(#{ hidden: [8] });
            let run = model.fit(data::rings(100), data::moons(100), #{ steps: 5, coupling: "ot", batch: 32 });
            run.loss.len() // => 5
            ```
            "#,
        )
        .options::<InterpolantFit>()
        .call(|call: NativeCallContext, model: &mut Interpolant, data: Tensor| fit(&call, model, None, &data, Map::new()))
        .call(|call: NativeCallContext, model: &mut Interpolant, data: Tensor, map: Map| fit(&call, model, None, &data, map))
        .call(|call: NativeCallContext, model: &mut Interpolant, base: Tensor, data: Tensor| fit(&call, model, Some(&base), &data, Map::new()))
        .call(|call: NativeCallContext, model: &mut Interpolant, base: Tensor, data: Tensor, map: Map| fit(&call, model, Some(&base), &data, map));
}

/// A field of an interpolant at points and times.
type FieldOf = fn(&Interpolant, &Tensor, &Tensor) -> rhapsode_models::Result<Tensor>;

fn bind_fields(library: &mut Library) {
    let list: [(&'static str, &'static str, FieldOf); 4] = [
        (
            "velocity",
            r#"
            The velocity b of the probability flow at points `x: [n, dim]` and a time in [0, 1], or times `[n]`; differentiable in x.

            ```rhai
            flow::interpolant(#{ hidden: [8] }).velocity(zeros([3, 2]), 0.5).shape // => [3, 2]
            ```
            "#,
            |model, x, t| model.velocity(x, t),
        ),
        (
            "score",
            r#"
            The score grad log p(x, t) at points `x: [n, dim]` and times, no closer than `delta` to the ends; differentiable in x.

            ```rhai
            flow::interpolant(#{ hidden: [8] }).score(zeros([3, 2]), 0.5).shape // => [3, 2]
            ```
            "#,
            Interpolant::score,
        ),
        (
            "denoiser",
            r#"
            The expected latent E[z | x], on one-sided paths the expected noise E[x0 | x], at points `x: [n, dim]` and times.

            ```rhai
            flow::interpolant(#{ hidden: [8] }).denoiser(zeros([3, 2]), 0.5).shape // => [3, 2]
            ```
            "#,
            Interpolant::denoiser,
        ),
        (
            "data",
            r#"
            The expected data E[x1 | x] at points `x: [n, dim]` and times.

            ```rhai
            flow::interpolant(#{ hidden: [8] }).data(zeros([3, 2]), 0.5).shape // => [3, 2]
            ```
            "#,
            Interpolant::data,
        ),
    ];
    for (name, text, of) in list {
        library
            .method::<Interpolant>(name, "(x: Tensor, t: float | Tensor) -> Tensor", text)
            .call(
                move |model: &mut Interpolant, x: Tensor, t: Dynamic| -> Outcome<Tensor> {
                    let t = times(&x, &t, 1)?;
                    raise(of(model, &x, &t))
                },
            );
    }
}

fn bind_walks(library: &mut Library) {
    library
        .method::<Interpolant>(
            "sample",
            "(n: int, options?: map) -> Tensor",
            r#"
            n samples `[n, dim]`: points of the base carried to the data, along the probability flow ("ode"), with noise ("sde", any `epsilon`), or by
            denoising again and again ("denoise").

            ```rhai
            let model = flow::interpolant(#{ path: "one-sided-trig", hidden: [8] });
            model.sample(5, #{ sampler: "denoise", steps: 4 }).shape // => [5, 2]
            ```
            "#,
        )
        .options::<InterpolantSample>()
        .call(|call: NativeCallContext, model: &mut Interpolant, n: i64| sample(&call, model, n, Map::new()))
        .call(|call: NativeCallContext, model: &mut Interpolant, n: i64, map: Map| sample(&call, model, n, map));
    library
        .method::<Interpolant>(
            "decode",
            "(x0: Tensor, options?: map) -> Tensor",
            r#"
            Carries given points of the base `[n, dim]` to the data, or between the times `from` and `to`.

            ```rhai
            let model = flow::interpolant(#{ hidden: [8] });
            model.decode(zeros([3, 2]), #{ from: 0.0, to: 0.5, steps: 4 }).shape // => [3, 2]
            ```
            "#,
        )
        .options::<InterpolantSample>()
        .call(|call: NativeCallContext, model: &mut Interpolant, x: Tensor| transport(&call, model, &x, false, Map::new()))
        .call(|call: NativeCallContext, model: &mut Interpolant, x: Tensor, map: Map| transport(&call, model, &x, false, map));
    library
        .method::<Interpolant>(
            "encode",
            "(x1: Tensor, options?: map) -> Tensor",
            r#"
            Carries given data `[n, dim]` back to the base, along the probability flow or the backward SDE.

            ```rhai
            let model = flow::interpolant(#{ hidden: [8] });
            let x = model.encode(zeros([3, 2]), #{ solver: "rk4", steps: 10 });
            (model.decode(x, #{ solver: "rk4", steps: 10 })).abs().max().item() < 1e-3 // => true
            ```
            "#,
        )
        .options::<InterpolantSample>()
        .call(|call: NativeCallContext, model: &mut Interpolant, x: Tensor| transport(&call, model, &x, true, Map::new()))
        .call(|call: NativeCallContext, model: &mut Interpolant, x: Tensor, map: Map| transport(&call, model, &x, true, map));
}

/// Both closures of a pair of options, or neither.
fn both<T>(first: (&str, Option<T>), second: (&str, Option<T>)) -> Outcome<Option<(T, T)>> {
    match (first, second) {
        ((_, Some(a)), (_, Some(b))) => Ok(Some((a, b))),
        ((_, None), (_, None)) => Ok(None),
        ((given, Some(_)), (missing, None)) | ((missing, None), (given, Some(_))) => {
            let message = format!("must be given with `{given}`");
            raise(Err(rhapsode_models::Error::option(missing, message)))
        }
    }
}

fn interpolant(call: &NativeCallContext, mut map: Map) -> Outcome<Interpolant> {
    let parameters = ["t", "x0", "x1"];
    let position = closure_option(call, &mut map, "position", &parameters)?;
    let derivative = closure_option(call, &mut map, "derivative", &parameters)?;
    let gamma = closure_option(call, &mut map, "gamma_of", &["t"])?;
    let rate = closure_option(call, &mut map, "gamma_rate", &["t"])?;
    let besides = ["position", "derivative", "gamma_of", "gamma_rate"];
    let chosen: InterpolantOptions = options::read_besides(&map, &besides)?;
    let of = |closure: Closure| -> PositionFn {
        Arc::new(move |t: &Tensor, x0: &Tensor, x1: &Tensor| {
            let arguments = [t, x0, x1].map(|x| Dynamic::from(x.clone()));
            closure.tensor_of(arguments, x1.dims(), x1.dtype())
        })
    };
    let custom = both(("position", position), ("derivative", derivative))?;
    let custom = custom.map(|(position, derivative)| CustomPath {
        position: of(position),
        derivative: of(derivative),
    });
    let gamma = both(("gamma_of", gamma), ("gamma_rate", rate))?;
    let gamma = gamma.map(|(gamma, rate)| {
        Gamma::Custom(Arc::new(move |t| {
            Ok((
                gamma.number([Dynamic::from(t)])?,
                rate.number([Dynamic::from(t)])?,
            ))
        }))
    });
    raise(Interpolant::new(
        chosen,
        gamma,
        custom,
        next_seed(call)?,
        session_dtype(call)?,
    ))
}

fn exact(call: &NativeCallContext, target: Mixture, mut map: Map) -> Outcome<Interpolant> {
    let base = options::take::<Mixture>(&mut map, "base", "a Mixture")?;
    let chosen: KnownOptions = options::read_besides(&map, &["base"])?;
    let base = match (base, chosen.path.sort()) {
        (None, Sort::TwoSided) => Some(raise(Mixture::normal(target.dim()))?),
        (base, _) => base,
    };
    raise(Interpolant::exact(
        base,
        target,
        chosen.process(),
        session_dtype(call)?,
    ))
}

fn fields_given(call: &NativeCallContext, dim: i64, mut map: Map) -> Outcome<Interpolant> {
    let dim = usize::try_from(dim).ok().filter(|dim| *dim > 0);
    let dim = dim.ok_or_else(|| {
        crate::fault::Fault::value("dim must be at least 1").at(crate::fault::Spot::Argument(0))
    })?;
    let mut functions = Vec::new();
    let mut besides: Vec<&str> = vec!["base"];
    for (name, kind) in FIELDS {
        besides.push(name);
        if let Some(closure) = closure_option(call, &mut map, name, &["x", "t"])? {
            functions.push((*kind, velocity_closure(closure)));
        }
    }
    let base = match map.remove("base").filter(|base| !base.is_unit()) {
        None => BaseLaw::Normal,
        Some(base) => match (base.read_lock::<Mixture>(), base.read_lock::<Tensor>()) {
            (Some(mixture), _) => BaseLaw::Mixture(mixture.clone()),
            (_, Some(points)) => BaseLaw::Points(points.clone()),
            _ => {
                return raise(Err(rhapsode_models::Error::option(
                    "base",
                    "expected a Mixture or a Tensor of points",
                )));
            }
        },
    };
    let chosen: KnownOptions = options::read_besides(&map, &besides)?;
    let kinds: Vec<FieldKind> = functions.iter().map(|(kind, _)| *kind).collect();
    if kinds.is_empty() {
        let message = "must be given, or another field: \"drift\", \"score\", \"denoiser\"";
        return raise(Err(rhapsode_models::Error::option("velocity", message)));
    }
    let source = Arc::new(Functions::new(functions));
    let model = raise(Interpolant::over(
        source,
        dim,
        chosen.process(),
        base,
        session_dtype(call)?,
    ))?;
    // Once on a batch, so that a wrong shape is told here and not in the middle of a walk.
    let probe = raise(Tensor::zeros(&[2, dim], session_dtype(call)?))?;
    let t = raise(Tensor::full(0.5, &[2], probe.dtype()))?;
    raise(model.velocity(&probe, &t))?;
    Ok(model)
}

fn fit(
    call: &NativeCallContext,
    model: &Interpolant,
    base: Option<&Tensor>,
    data: &Tensor,
    mut map: Map,
) -> Outcome<Training> {
    let optimizer = optimizer_option(&mut map)?;
    let mut chosen: InterpolantFit = options::read(&map)?;
    chosen.optimizer = optimizer;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    let run = enter(call, |observer| model.fit(base, data, &chosen, observer))?;
    Ok(Training::new(run))
}

fn walk_options(call: &NativeCallContext, mut map: Map) -> Outcome<InterpolantSample> {
    let epsilon = rate_option(call, &mut map, "epsilon")?;
    let base = take_tensor(call, &mut map, "base", "a Tensor [n, dim]")?;
    let mut chosen: InterpolantSample = options::read(&map)?;
    chosen.epsilon = epsilon;
    chosen.base = base;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    Ok(chosen)
}

fn sample(call: &NativeCallContext, model: &Interpolant, n: i64, map: Map) -> Outcome<Tensor> {
    let n = count(n)?;
    let chosen = walk_options(call, map)?;
    enter(call, |observer| model.sample(n, &chosen, observer))
}

fn transport(
    call: &NativeCallContext,
    model: &Interpolant,
    x: &Tensor,
    backward: bool,
    map: Map,
) -> Outcome<Tensor> {
    let chosen = walk_options(call, map)?;
    if chosen.base.is_some() {
        let message = "has no effect here: the points are given";
        return raise(Err(rhapsode_models::Error::option("base", message)));
    }
    enter(call, |observer| {
        model.transport(x, backward, &chosen, observer)
    })
}
