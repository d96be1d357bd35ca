//! `flow::search`: more compute for a higher reward.

use std::sync::Arc;

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};
use rhapsode_models::flow::search::{
    self, Found, REFERENCE, Reward, SearchOptions, SpreadOptions, budget::Turn,
};
use rhapsode_tensor::Tensor;

use super::flow_argument;
use crate::{
    bind::{Closure, Outcome, draw::next_seed, enter, tensor::create::take_tensor},
    fault::{Fault, Spot},
    library::Library,
    options,
};

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library
        .function(
            "flow::search",
            "(flow: RectifiedFlow | Interpolant | Flow, reward: closure, options?: map) -> map",
            r#"
            A sample of high reward from a flow on straight lines, for a budget of `nfe` evaluations: `#{ x, reward, predicted, evaluations, trace }`. The reward is a closure
            `|x1|` of predicted data `[n, dim]` that gives one number a sample; it needs no gradient. The flow runs as an SDE on another interpolant
            ("vp"), states are worth the reward of their predicted data, and `method` spends the budget: "rbf" takes the first candidate that is better and lets what
            is left of a step's quota roll over. `trace` tells for each chain and step the quota, the rewards tried, and what rolled over.
            (Kim, Yoon, Hwang, Sung 2025, arXiv 2503.19385.)

            ```rhai
            // Data N(0, 1): the velocity of straight lines from noise.
            let flow = flow::from_velocity(|x, t| x * (t * 2.0 - 1.0) / ((1.0 - t) ** 2 + t * t));
            let found = flow::search(flow, |x1| x1.sum(1), #{ nfe: 120, init: 5, seed: 1 });
            [found.x.shape, found.evaluations <= 120, found.reward > 1.0] // => [[1, 2], true, true]
            ```
            "#,
        )
        .options::<SearchOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, flow: Dynamic, reward: FnPtr| find(&call, &flow, reward, Map::new()))
        .call(|call: NativeCallContext, flow: Dynamic, reward: FnPtr, map: Map| find(&call, &flow, reward, map));
    library
        .function(
            "flow::search_many",
            "(flow: RectifiedFlow | Interpolant | Flow, n: int, reward: closure, options?: map) -> array",
            r#"
            `n` independent searches side by side, each with the whole budget `nfe`: an array of what `flow::search` gives. The flow is evaluated for all of them in one batch, which
            for a network is many times as fast as one search after the other. For prompts of their own: `model.given(labels)` with one class a search, and a reward
            `|x1, which|` where `which` `[rows]` holds the number of the search of each row. What the first searches find does not depend on how many there are; with the same seed the
            first one finds what `flow::search` does.
            (Kim, Yoon, Hwang, Sung 2025, arXiv 2503.19385.)

            ```rhai
            let flow = flow::from_velocity(|x, t| x * (t * 2.0 - 1.0) / ((1.0 - t) ** 2 + t * t));
            // The first search wants a large sum, the second a small one.
            let sign = tensor([1.0, -1.0]);
            let found = flow::search_many(flow, 2, |x1, which| x1.sum(1) * sign[which], #{ nfe: 120, init: 5, seed: 1 });
            [found.len, found[0].x.sum().item() > 1.0, found[1].x.sum().item() < -1.0] // => [2, true, true]
            ```
            "#,
        )
        .options::<SearchOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, flow: Dynamic, n: i64, reward: FnPtr| find_many(&call, &flow, n, reward, Map::new()))
        .call(|call: NativeCallContext, flow: Dynamic, n: i64, reward: FnPtr, map: Map| find_many(&call, &flow, n, reward, map));
    library
        .function(
            "flow::search_spread",
            "(flow: RectifiedFlow | Interpolant | Flow, n: int, options?: map) -> map",
            r#"
            How far apart `n` walks end that begin at one noise, with the interpolant and the diffusion of the options of `flow::search`: `#{ distance, x }`, the mean
            Euclidean distance between two of the samples, and the samples `[n, dim]` (n at least 2). At 0, as for the ODE (`diffusion: "zero"`), a search has nothing to choose from; two
            independent samples show what is the most.
            (Kim, Yoon, Hwang, Sung 2025, arXiv 2503.19385.)

            ```rhai
            let flow = flow::from_velocity(|x, t| x * (t * 2.0 - 1.0) / ((1.0 - t) ** 2 + t * t));
            let still = flow::search_spread(flow, 50, #{ diffusion: "zero", seed: 1 }).distance;
            let noisy = flow::search_spread(flow, 50, #{ diffusion: "square", seed: 1 }).distance;
            [still < 1e-5, noisy > 0.5] // => [true, true]
            ```
            "#,
        )
        .options::<SpreadOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, flow: Dynamic, n: i64| walks(&call, &flow, n, Map::new()))
        .call(|call: NativeCallContext, flow: Dynamic, n: i64, map: Map| walks(&call, &flow, n, map));
}

fn walks(call: &NativeCallContext, flow: &Dynamic, n: i64, mut map: Map) -> Outcome<Map> {
    let flow = flow_argument(flow, 0)?;
    let n = usize::try_from(n).ok().filter(|n| *n > 1).ok_or_else(|| {
        Fault::value(format!("n must be at least 2, got {n}")).at(Spot::Argument(1))
    })?;
    let noise = take_tensor(call, &mut map, "noise", "a Tensor [1, dim]")?;
    let mut chosen: SpreadOptions = options::read(&map)?;
    chosen.noise = noise;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    let (distance, x) = enter(call, |observer| {
        search::spread(flow.as_ref(), n, &chosen, observer)
    })?;
    Ok([
        ("distance".into(), Dynamic::from(distance)),
        ("x".into(), Dynamic::from(x)),
    ]
    .into())
}

fn find(call: &NativeCallContext, flow: &Dynamic, reward: FnPtr, mut map: Map) -> Outcome<Map> {
    let flow = flow_argument(flow, 0)?;
    if let Some(n) = flow.own_rows() {
        let message =
            format!("this flow has {n} labels, one a search: flow::search_many(flow, {n}, reward)");
        return Err(Fault::value(message).at(Spot::Argument(0)).into());
    }
    let closure = Closure::new(call, reward, &["x1"], Spot::Argument(1))?;
    let chosen = chosen(call, &mut map)?;
    let reward = of_data(closure);
    let found = enter(call, |observer| {
        search::search(flow.as_ref(), &reward, &chosen, observer)
    })?;
    Ok(told(found))
}

fn find_many(
    call: &NativeCallContext,
    flow: &Dynamic,
    n: i64,
    reward: FnPtr,
    mut map: Map,
) -> Outcome<Array> {
    let flow = flow_argument(flow, 0)?;
    let n = usize::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| {
        Fault::value(format!("n must be at least 1, got {n}")).at(Spot::Argument(1))
    })?;
    let lists: [&[&str]; 2] = [&["x1"], &["x1", "which"]];
    let (closure, takes) = Closure::of_either(call, reward, &lists, Spot::Argument(2))?;
    let chosen = chosen(call, &mut map)?;
    let reward = match takes {
        1 => of_data(closure),
        _ => of_data_and_search(closure),
    };
    let found = enter(call, |observer| {
        search::search_many(flow.as_ref(), n, &reward, &chosen, observer)
    })?;
    Ok(found
        .into_iter()
        .map(|found| Dynamic::from_map(told(found)))
        .collect())
}

/// The options of a search, with the session's next seed where none is given.
fn chosen(call: &NativeCallContext, map: &mut Map) -> Outcome<SearchOptions> {
    let noise = take_tensor(call, map, "noise", "a Tensor [k, dim]")?;
    let mut chosen: SearchOptions = options::read(map)?;
    chosen.noise = noise;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    Ok(chosen)
}

fn of_data(closure: Closure) -> Reward {
    Arc::new(move |data: &Tensor, which: &[usize]| {
        closure.tensor_of([Dynamic::from(data.clone())], &[which.len()], data.dtype())
    })
}

fn of_data_and_search(closure: Closure) -> Reward {
    Arc::new(move |data: &Tensor, which: &[usize]| {
        let numbers: Vec<i64> = which.iter().map(|search| *search as i64).collect();
        let numbers = Tensor::from_vec(numbers, &[which.len()])?;
        let arguments = [Dynamic::from(data.clone()), Dynamic::from(numbers)];
        closure.tensor_of(arguments, &[which.len()], data.dtype())
    })
}

fn told(found: Found) -> Map {
    let numbers = |values: &[f64]| -> Array { values.iter().map(|v| Dynamic::from(*v)).collect() };
    let turn = |turn: &Turn| -> Dynamic {
        let entries = [
            ("quota", Dynamic::from(turn.quota as i64)),
            ("tries", Dynamic::from(turn.rewards.len() as i64)),
            ("rewards", Dynamic::from_array(numbers(&turn.rewards))),
            ("chosen", Dynamic::from(turn.chosen as i64)),
            ("improved", Dynamic::from(turn.improved)),
            ("rolled_over", Dynamic::from(turn.rolled_over as i64)),
        ];
        Dynamic::from_map(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    };
    let trace: Array = found
        .trace
        .iter()
        .map(|turns| Dynamic::from_array(turns.iter().map(turn).collect()))
        .collect();
    [
        ("x", Dynamic::from(found.x)),
        ("reward", Dynamic::from(found.reward)),
        ("predicted", Dynamic::from(found.predicted)),
        ("evaluations", Dynamic::from(found.evaluations as i64)),
        ("trace", Dynamic::from_array(trace)),
    ]
    .into_iter()
    .map(|(key, value)| (key.into(), value))
    .collect()
}
