//! `metric`: how results are judged. Random directions come from the session's seed alone, so that
//! distances can be compared with each other and calling one changes no later draw.

use rhai::{Map, NativeCallContext};
use rhapsode_models::metric::{
    EnergyOptions, SlicedOptions, WassersteinOptions, accuracy, energy_distance,
    sliced_wasserstein, wasserstein,
};
use rhapsode_tensor::{Tensor, random::Stream};

use super::{Outcome, raise};
use crate::{context, library::Library, options};

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.module("metric", "How results are judged.");
    library
        .function(
            "metric::energy_distance",
            "(x: Tensor, y: Tensor, options?: map) -> float",
            r#"
            The energy distance `2 E|X - Y| - E|X - X'| - E|Y - Y'|` between samples `[n, d]` and `[m, d]`. 0 for equal laws;
            the unbiased estimate may be slightly negative.

            ```rhai
            let x = data::moons(200);
            metric::energy_distance(x, x + 5.0) > 1.0 // => true
            ```
            "#,
        )
        .options::<EnergyOptions>()
        .call(|x: Tensor, y: Tensor| energy(&x, &y, &Map::new()))
        .call(|x: Tensor, y: Tensor, map: Map| energy(&x, &y, &map));
    library
        .function(
            "metric::wasserstein",
            "(x: Tensor, y: Tensor, options?: map) -> float",
            r#"
            The exact Wasserstein distance between samples `[n, d]` of one size, by optimal assignment, in the units of the
            data. About a second for n = 2000; `samples` thins larger ones. Not 0 between two samples of one law: compare with
            the distance between two sets of data.

            ```rhai
            let x = data::moons(50);
            (metric::wasserstein(x, x + 3.0) - 3.0 * sqrt(2.0)).abs() < 1e-4 // => true
            ```
            "#,
        )
        .options::<WassersteinOptions>()
        .call(|call: NativeCallContext, x: Tensor, y: Tensor| exact(&call, &x, &y, &Map::new()))
        .call(|call: NativeCallContext, x: Tensor, y: Tensor, map: Map| exact(&call, &x, &y, &map));
    library
        .function(
            "metric::sliced_wasserstein",
            "(x: Tensor, y: Tensor, options?: map) -> float",
            r#"
            The sliced Wasserstein distance between samples `[n, d]` and `[m, d]`: of projections on random directions, whose
            mean is taken; in the units of the data.

            ```rhai
            let x = data::moons(200);
            metric::sliced_wasserstein(x, x) // => 0.0
            ```
            "#,
        )
        .options::<SlicedOptions>()
        .call(|call: NativeCallContext, x: Tensor, y: Tensor| sliced(&call, &x, &y, &Map::new()))
        .call(|call: NativeCallContext, x: Tensor, y: Tensor, map: Map| sliced(&call, &x, &y, &map));
    library
        .function(
            "metric::accuracy",
            "(predictions: Tensor, labels: Tensor) -> float",
            r#"
            The share of right predictions: class numbers `[n]`, or scores `[n, classes]` of which the largest counts.

            ```rhai
            metric::accuracy(tensor([[0.1, 0.9], [0.8, 0.2]]), tensor([1, 1])) // => 0.5
            ```
            "#,
        )
        .call(|predictions: Tensor, labels: Tensor| -> Outcome<f64> { raise(accuracy(&predictions, &labels)) });
}

fn stream(call: &NativeCallContext) -> Outcome<Stream> {
    Ok(Stream::new(
        context::of_call(call)?.settings().seed,
        "metric",
    ))
}

fn energy(x: &Tensor, y: &Tensor, map: &Map) -> Outcome<f64> {
    raise(energy_distance(x, y, &options::read::<EnergyOptions>(map)?))
}

fn exact(call: &NativeCallContext, x: &Tensor, y: &Tensor, map: &Map) -> Outcome<f64> {
    raise(wasserstein(
        x,
        y,
        &options::read::<WassersteinOptions>(map)?,
        stream(call)?,
    ))
}

fn sliced(call: &NativeCallContext, x: &Tensor, y: &Tensor, map: &Map) -> Outcome<f64> {
    raise(sliced_wasserstein(
        x,
        y,
        &options::read::<SlicedOptions>(map)?,
        stream(call)?,
    ))
}
