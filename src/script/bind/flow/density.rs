//! Densities of interpolants, by the probability flow and by the SDE, and the bound on what their SDE is off.

use rhai::{Dynamic, Map, NativeCallContext};
use rhapsode_models::{
    flow::{
        LogProbOptions,
        interpolant::{
            Interpolant, REFERENCE,
            bound::{self, BoundOptions},
            density::SdeDensity,
        },
        likelihood,
    },
    observe::Observer,
};
use rhapsode_tensor::{Tensor, random::Stream};

use super::{base_option, count, field::pair, rate_option};
use crate::{
    bind::{
        Outcome,
        draw::{next_seed, session_dtype},
        enter, raise,
    },
    library::Library,
    options,
};

const BASE_LOG_PROB: &str = "The log-density of the base, a closure `|x|` of points `[n, dim]` that gives `[n]` (default: known for Gaussian bases and mixtures).";

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    library
        .method::<Interpolant>(
            "log_prob",
            "(x: Tensor, options?: map) -> Tensor",
            r#"
            The log-density of each row of `x: [n, dim]`, shape `[n]`, in nats, by the continuity equation along the probability flow.

            ```rhai
            let model = flow::interpolant(#{ path: "sbdm", hidden: [8] });
            model.log_prob(zeros([2, 2]), #{ steps: 5, solver: "rk4" }).shape // => [2]
            ```
            "#,
        )
        .options::<LogProbOptions>()
        .besides("base_log_prob", "closure", None, BASE_LOG_PROB)
        .call(|call: NativeCallContext, model: &mut Interpolant, x: Tensor| log_prob(&call, model, &x, Map::new()))
        .call(|call: NativeCallContext, model: &mut Interpolant, x: Tensor, map: Map| log_prob(&call, model, &x, map));
    library
        .method::<Interpolant>(
            "sample_with_log_prob",
            "(n: int, options?: map) -> map",
            r#"
            n samples along the probability flow and their log-densities at once, `#{ x, log_prob }`.

            ```rhai
            let model = flow::interpolant(#{ hidden: [8] });
            model.sample_with_log_prob(4, #{ steps: 2, solver: "rk4" }).log_prob.shape // => [4]
            ```
            "#,
        )
        .options::<LogProbOptions>()
        .besides("base_log_prob", "closure", None, BASE_LOG_PROB)
        .call(|call: NativeCallContext, model: &mut Interpolant, n: i64| push(&call, model, n, Map::new()))
        .call(|call: NativeCallContext, model: &mut Interpolant, n: i64, map: Map| push(&call, model, n, map));
    library
        .method::<Interpolant>(
            "log_prob_sde",
            "(x: Tensor, options?: map) -> map",
            r#"
            The log-density of each row of `x: [n, dim]` from many paths of the backward SDE: `#{ log_prob, error, base, integral }` with the standard error
            of the estimate and its two parts, `log_prob = base - integral` for the estimator "mean". Minus the mean of `log_prob` over data is
            the cross-entropy.

            ```rhai
            seed(0);
            let law = flow::mixture(#{ means: [[2.0]], std: 0.5 });
            let found = flow::exact(law).log_prob_sde(full([1, 1], 1.5), #{ paths: 200, steps: 50 });
            (found.log_prob - law.log_prob(full([1, 1], 1.5))).abs().item() < 0.1 // => true
            ```
            "#,
        )
        .options::<SdeDensity>()
        .besides("base_log_prob", "closure", None, BASE_LOG_PROB)
        .call(|call: NativeCallContext, model: &mut Interpolant, x: Tensor| log_prob_sde(&call, model, &x, Map::new()))
        .call(|call: NativeCallContext, model: &mut Interpolant, x: Tensor, map: Map| log_prob_sde(&call, model, &x, map));
    library
        .function(
            "flow::kl_bound",
            "(model: Interpolant, truth: Interpolant, base: Tensor, data: Tensor, options?: map) -> map",
            r#"
            How far from the data the forward SDE of a model can be, given the true fields: excess losses `gap_velocity` and `gap_score`, and for each of
            `epsilons` the bounds on the KL divergence `path` <= `sum` = gap_velocity / eps + eps gap_score, least at `best`. Base and data give the
            points at which the fields are compared.

            ```rhai
            seed(0);
            let law = flow::mixture(#{ means: [[2.0]] });
            let truth = flow::exact(law, #{ base: flow::mixture(#{ means: [[0.0]] }) });
            let off = flow::fields(1, #{ velocity: |x, t| truth.velocity(x, t) + 0.3, score: |x, t| truth.score(x, t) });
            let found = flow::kl_bound(off, truth, randn([200, 1]), law.sample(200), #{ times: 20 });
            (found.gap_velocity - 0.045).abs() < 1e-4 // => true
            ```
            "#,
        )
        .options::<BoundOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, model: Interpolant, truth: Interpolant, base: Tensor, data: Tensor| kl_bound(&call, &model, &truth, &base, &data, &Map::new()))
        .call(|call: NativeCallContext, model: Interpolant, truth: Interpolant, base: Tensor, data: Tensor, map: Map| kl_bound(&call, &model, &truth, &base, &data, &map));
}

fn density_options(
    call: &NativeCallContext,
    map: &mut Map,
) -> Outcome<(LogProbOptions, Option<likelihood::Base>)> {
    let base = base_option(call, map)?;
    let mut chosen: LogProbOptions = options::read_besides(map, &["base_log_prob"])?;
    if chosen.label.is_some() {
        let message = "an interpolant has no classes";
        return raise(Err(rhapsode_models::Error::option("label", message)));
    }
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    Ok((chosen, base))
}

fn log_prob(
    call: &NativeCallContext,
    model: &Interpolant,
    x: &Tensor,
    mut map: Map,
) -> Outcome<Tensor> {
    let (chosen, base) = density_options(call, &mut map)?;
    enter(call, |observer| model.log_prob(x, base, &chosen, observer))
}

fn push(call: &NativeCallContext, model: &Interpolant, n: i64, mut map: Map) -> Outcome<Map> {
    let n = count(n)?;
    let (chosen, base) = density_options(call, &mut map)?;
    let base = raise(model.density_or(base))?;
    let x0 = raise(model.draw_base(n, chosen.seed.unwrap_or(0)))?;
    let (x, log_prob) = enter(call, |observer| {
        likelihood::push(model, &base, &x0, &chosen, observer)
    })?;
    Ok(pair(x, log_prob))
}

fn log_prob_sde(
    call: &NativeCallContext,
    model: &Interpolant,
    x: &Tensor,
    mut map: Map,
) -> Outcome<Map> {
    let base = base_option(call, &mut map)?;
    let epsilon = rate_option(call, &mut map, "epsilon")?;
    let mut chosen: SdeDensity = options::read_besides(&map, &["base_log_prob"])?;
    chosen.epsilon = epsilon;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    let found = enter(call, |observer| {
        model.log_prob_sde(x, base, &chosen, observer)
    })?;
    let dtype = session_dtype(call)?;
    let parts = [
        ("log_prob", found.log_prob),
        ("error", found.error),
        ("base", found.base),
        ("integral", found.integral),
    ];
    let entry = |(key, value): (&str, Tensor)| -> Outcome<(_, Dynamic)> {
        Ok((key.into(), Dynamic::from(raise(value.to_dtype(dtype))?)))
    };
    parts.into_iter().map(entry).collect()
}

fn kl_bound(
    call: &NativeCallContext,
    model: &Interpolant,
    truth: &Interpolant,
    base: &Tensor,
    data: &Tensor,
    map: &Map,
) -> Outcome<Map> {
    let mut chosen: BoundOptions = options::read(map)?;
    let seed = match chosen.seed {
        Some(seed) => seed,
        None => *chosen.seed.insert(next_seed(call)?),
    };
    let stream = Stream::new(seed, "bound");
    let mut nodes =
        |i: usize, t: f64| bound_nodes(truth, base, data, t, chosen.samples, stream.at(i as u64));
    let found = enter(call, |observer: &mut dyn Observer| {
        bound::kl_bound(model, truth, &mut nodes, &chosen, observer)
    })?;
    let list =
        |values: Vec<f64>| Dynamic::from_array(values.into_iter().map(Dynamic::from).collect());
    Ok([
        ("gap_velocity", Dynamic::from(found.gap_velocity)),
        ("gap_score", Dynamic::from(found.gap_score)),
        ("epsilons", list(found.epsilons)),
        ("path", list(found.path)),
        ("sum", list(found.sum)),
        ("best", found.best.map_or(Dynamic::UNIT, Dynamic::from)),
    ]
    .into_iter()
    .map(|(key, value)| (key.into(), value))
    .collect())
}

/// Points of the process at a time, all with one weight.
fn bound_nodes(
    truth: &Interpolant,
    base: &Tensor,
    data: &Tensor,
    t: f64,
    n: usize,
    stream: Stream,
) -> rhapsode_models::Result<(Tensor, Tensor)> {
    let x = bound::points(truth, base, data, t, n, stream)?;
    let weight = Tensor::full(1.0 / n.max(1) as f64, &[n], x.dtype())?;
    Ok((x, weight))
}
