//! `flow::schroedinger`: the interpolant of least energy.

use std::sync::{Arc, Mutex};

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_models::flow::interpolant::{
    REFERENCE,
    bridge::{Bridge, BridgeOptions},
};
use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Display,
    bind::{Outcome, draw::next_seed, enter, number, raise},
    context::lock,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::{Object, type_word},
};

/// A bridge; clones are the same one.
#[derive(Clone)]
struct Optimised(Arc<Mutex<Bridge>>);

impl Object for Optimised {
    const NAME: &'static str = "Bridge";

    fn text(&self) -> String {
        let bridge = lock(&self.0);
        let energy = bridge
            .energies
            .last()
            .map_or(String::new(), |e| format!(", energy {e:.4}"));
        let how = if bridge.interrupted {
            ", interrupted"
        } else {
            ""
        };
        format!("Bridge of {} steps{energy}{how}", bridge.energies.len())
    }

    fn summary(&self) -> String {
        format!("{} steps", lock(&self.0).energies.len())
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Options of samples along a bridge.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct BridgeSample {
    /// Number of equal steps (at least 1; default 100).
    steps: usize,
    /// Seed of the noise (default: the session's next).
    seed: Option<u64>,
}

impl Default for BridgeSample {
    fn default() -> Self {
        Self {
            steps: 100,
            seed: None,
        }
    }
}

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library.object::<Optimised>(
        "A Schroedinger bridge: `energies`, `energy`, `points`, `drift`, `sample`.",
    );
    library
        .function(
            "flow::schroedinger",
            "(base: Tensor, data: Tensor, options?: map) -> Bridge",
            r#"
            The Schroedinger bridge between points of two laws: the interpolant is optimised until its forward SDE dX = u dt + sqrt(2 eps) dW has the
            least energy, max over the interpolant, min over u of E 1/2 |u|^2 - (dI/dt + (gamma' - eps / gamma) z) . u. With the drift "affine" Gaussian laws
            are exact, "network" takes any.

            ```rhai
            seed(0);
            let bridge = flow::schroedinger(randn([200, 1]), randn([200, 1]) + 2.0, #{ steps: 20, batch: 100 });
            bridge.sample(randn([5, 1]), #{ steps: 10 }).shape // => [5, 1]
            ```
            "#,
        )
        .options::<BridgeOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, base: Tensor, data: Tensor| schroedinger(&call, &base, &data, &Map::new()))
        .call(|call: NativeCallContext, base: Tensor, data: Tensor, map: Map| schroedinger(&call, &base, &data, &map));
    library
        .property::<Optimised>(
            "energies",
            "array",
            "The energy before each step of the interpolant.",
        )
        .call(|bridge: &mut Optimised| -> Array {
            lock(&bridge.0)
                .energies
                .iter()
                .map(|e| Dynamic::from(*e))
                .collect()
        });
    library
        .property::<Optimised>(
            "energy",
            "float",
            "The energy of the interpolant as it is, over all points.",
        )
        .call(|bridge: &mut Optimised| -> Outcome<f64> { raise(lock(&bridge.0).energy()) });
    library
        .method::<Optimised>(
            "points",
            "(t: float) -> Tensor",
            r#"
            Points of the interpolant at a time in (0, 1), two for each pair of base and data.

            ```rhai
            seed(0);
            let bridge = flow::schroedinger(randn([50, 1]), randn([50, 1]), #{ steps: 2, batch: 50 });
            bridge.points(0.5).shape // => [100, 1]
            ```
            "#,
        )
        .call(|bridge: &mut Optimised, t: Dynamic| -> Outcome<Tensor> {
            let t = time(&t, 0)?;
            raise(lock(&bridge.0).points(t))
        });
    library
        .method::<Optimised>(
            "drift",
            "(x: Tensor, t: float) -> Tensor",
            r#"
            The drift u of the bridge at points `x: [n, dim]` and a time.

            ```rhai
            seed(0);
            let bridge = flow::schroedinger(randn([50, 1]), randn([50, 1]), #{ steps: 2, batch: 50 });
            bridge.drift(zeros([3, 1]), 0.5).shape // => [3, 1]
            ```
            "#,
        )
        .call(|bridge: &mut Optimised, x: Tensor, t: Dynamic| -> Outcome<Tensor> {
            let t = time(&t, 1)?;
            raise(lock(&bridge.0).drift(&x, t))
        });
    library
        .method::<Optimised>(
            "sample",
            "(x0: Tensor, options?: map) -> Tensor",
            r#"
            Carries points of the base `[n, dim]` to the data along the SDE of the bridge.

            ```rhai
            seed(0);
            let bridge = flow::schroedinger(randn([50, 1]), randn([50, 1]), #{ steps: 2, batch: 50 });
            bridge.sample(randn([7, 1]), #{ steps: 5 }).shape // => [7, 1]
            ```
            "#,
        )
        .options::<BridgeSample>()
        .call(|call: NativeCallContext, bridge: &mut Optimised, x: Tensor| sample(&call, bridge, &x, &Map::new()))
        .call(|call: NativeCallContext, bridge: &mut Optimised, x: Tensor, map: Map| sample(&call, bridge, &x, &map));
}

fn time(t: &Dynamic, at: usize) -> Outcome<f64> {
    let wrong = || Fault::expected("a number", type_word(t.type_name())).at(Spot::Argument(at));
    Ok(number(t).ok_or_else(wrong)?)
}

fn schroedinger(
    call: &NativeCallContext,
    base: &Tensor,
    data: &Tensor,
    map: &Map,
) -> Outcome<Optimised> {
    let mut chosen: BridgeOptions = options::read(map)?;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    let mut bridge = raise(Bridge::new(base, data, &chosen))?;
    let bridge = enter(call, |observer| bridge.fit(observer).map(|()| bridge))?;
    Ok(Optimised(Arc::new(Mutex::new(bridge))))
}

fn sample(call: &NativeCallContext, bridge: &Optimised, x: &Tensor, map: &Map) -> Outcome<Tensor> {
    let chosen: BridgeSample = options::read(map)?;
    let seed = match chosen.seed {
        Some(seed) => seed,
        None => next_seed(call)?,
    };
    let bridge = lock(&bridge.0).clone();
    enter(call, |observer| {
        bridge.sample(x, chosen.steps, seed, observer)
    })
}
