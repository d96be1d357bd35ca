//! `optim`: what optimizers share: schedules, moving averages of parameters, clipping.

use std::sync::{Arc, Mutex};

use rhai::{Array, Dynamic, Map};
use rhapsode_models::optim::{Ema, SHAPES, Schedule, ScheduleOptions, clip_grad_norm};
use rhapsode_tensor::{Tensor, interrupt, memory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Outcome,
    optim::{gradients, parameters},
    raise,
};
use crate::{
    Display,
    context::lock,
    fault::{Fault, Spot},
    library::Library,
    names::listed,
    options,
    value::Object,
};

/// A moving average at work; clones are the same one.
#[derive(Clone)]
struct Average(Arc<Mutex<Ema>>);

impl Object for Schedule {
    const NAME: &'static str = "Schedule";

    fn text(&self) -> String {
        format!("Schedule {self}")
    }

    fn summary(&self) -> String {
        self.to_string()
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

impl Object for Average {
    const NAME: &'static str = "Ema";

    fn text(&self) -> String {
        let ema = lock(&self.0);
        let count: usize = ema.averages().iter().map(Tensor::len).sum();
        let (decay, steps) = (ema.decay(), ema.steps());
        format!("Ema: {count} parameters, decay {decay}, {steps} updates")
    }

    fn summary(&self) -> String {
        let ema = lock(&self.0);
        format!("decay {}, {} updates", ema.decay(), ema.steps())
    }

    fn bytes(&self) -> Option<u64> {
        let bytes = |t: &Tensor| (t.len() * t.dtype().size_in_bytes()) as u64;
        Some(lock(&self.0).averages().iter().map(bytes).sum())
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Options of a moving average.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct EmaOptions {
    /// Share of the old average that is kept at each update, after the first (in [0, 1); default 0.999).
    decay: f64,
}

impl Default for EmaOptions {
    fn default() -> Self {
        Self { decay: 0.999 }
    }
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    schedules(library);
    averages(library);
    library
        .function(
            "optim::clip_grad_norm",
            "(gradients: array of Tensor, max_norm: float) -> array of Tensor",
            r#"
            Gradients scaled down together so that their common Euclidean norm is at most `max_norm` (> 0); smaller ones come
            back as they are: g * min(1, max_norm / |g|). In optimizers and in `fit` it is the option `clip`. (Pascanu,
            Mikolov, Bengio 2013, arXiv 1211.5063.)

            ```rhai
            let w = param(tensor([3.0, 4.0]));
            let g = grad((w * w / 2).sum(), [w]);
            optim::clip_grad_norm(g, 1.0)[0].norm().item() // => 1.0
            ```
            "#,
        )
        .call(|list: Array, max_norm: f64| clipped(list, max_norm))
        .call(|list: Array, max_norm: i64| clipped(list, max_norm as f64));
}

fn clipped(list: Array, max_norm: f64) -> Outcome<Array> {
    let grads = gradients(list)?;
    let (grads, _) = raise(clip_grad_norm(&grads, max_norm))?;
    let value = |grad: Option<Tensor>| grad.map_or(Dynamic::UNIT, Dynamic::from);
    Ok(grads.into_iter().map(value).collect())
}

fn schedules(library: &mut Library) {
    library.object::<Schedule>("How the learning rate changes over the steps, a factor on it.");
    library
        .function(
            "optim::schedule",
            "(shape: string, options?: map) -> Schedule",
            r#"
            A factor on the learning rate for every step, after an optional linear warm-up: "constant", "linear",
            "cosine", "one-cycle" (Smith, Topin 2017, arXiv 1708.07120), "step", "exponential". For the option
            `schedule` of an optimizer or of `fit`. With x from 0 to 1 over the planned steps and n the steps after the warm-up:

                constant 1            linear 1 - (1 - floor) x           cosine floor + (1 - floor) (1 + cos(pi x)) / 2
                step gamma^floor(n / step_size)                          exponential gamma^n
                one-cycle: half a cosine from start to 1 over the share rise of the steps, then one down to floor

            ```rhai
            let s = optim::schedule("cosine", #{ steps: 1000, warmup: 100, floor: 0.01 });
            s.at(50) // => 0.5
            ```
            "#,
        )
        .options::<ScheduleOptions>()
        .call(|shape: &str| schedule(shape, &Map::new()))
        .call(|shape: &str, map: Map| schedule(shape, &map));
    library
        .method::<Schedule>(
            "at",
            "(step: int) -> float",
            r#"
            The factor at a step, from 1.

            ```rhai
            optim::schedule("linear", #{ steps: 10 }).at(6) // => 0.5
            ```
            "#,
        )
        .call(|schedule: &mut Schedule, step: i64| -> Outcome<f64> {
            raise(schedule.complete())?;
            match u64::try_from(step) {
                Ok(step) if step > 0 => Ok(schedule.factor(step)),
                _ => {
                    let fault = Fault::value(format!("steps count from 1, got {step}"));
                    Err(fault.at(Spot::Argument(0)).into())
                }
            }
        });
    library
        .method::<Schedule>(
            "values",
            "(n: int) -> array of float",
            r#"
            The factors at steps 1 to n, e.g. for `plot::line`.

            ```rhai
            optim::schedule("step", #{ step_size: 2, gamma: 0.5 }).values(4) // => [1.0, 1.0, 0.5, 0.5]
            ```
            "#,
        )
        .call(|schedule: &mut Schedule, n: i64| values(schedule, n));
}

fn schedule(shape: &str, map: &Map) -> Outcome<Schedule> {
    let names = || SHAPES.iter().map(|(name, _)| *name);
    let Some((_, shape)) = SHAPES.iter().find(|(name, _)| *name == shape) else {
        let fault = Fault::value(format!("there is no schedule \"{shape}\"")).at(Spot::Argument(0));
        let fault = fault.nearest(shape, names());
        return Err(fault.hint(format!("allowed: {}", listed(names()))).into());
    };
    let options: ScheduleOptions = options::read(map)?;
    let schedule = Schedule {
        shape: *shape,
        options,
    };
    raise(schedule.validate(""))?;
    Ok(schedule)
}

fn values(schedule: &Schedule, n: i64) -> Outcome<Array> {
    raise(schedule.complete())?;
    let Ok(count) = usize::try_from(n) else {
        let fault = Fault::value(format!("the number of steps must be >= 0, got {n}"));
        return Err(fault.at(Spot::Argument(0)).into());
    };
    raise(memory::ensure(count, size_of::<Dynamic>()))?;
    let mut values = Array::with_capacity(count);
    for step in 1..=count as u64 {
        if step % (1 << 16) == 0 {
            raise(interrupt::check())?;
        }
        values.push(schedule.factor(step).into());
    }
    Ok(values)
}

fn averages(library: &mut Library) {
    library.object::<Average>("A moving average of parameters.");
    library
        .function(
            "optim::ema",
            "(parameters: array of Tensor, options?: map) -> Ema",
            r#"
            An exponential moving average of parameters, begun at their present values: e <- d e + (1 - d) p at each
            `update()`, where d is min(decay, (1 + k) / (10 + k)) at update k, so that the start is forgotten. Averages often
            generalise better than the last values (Polyak, Juditsky 1992). `fit` keeps one by itself.

            ```rhai
            let w = param(zeros([1]));
            let opt = optim::sgd([w], #{ lr: 0.1 });
            let ema = optim::ema([w], #{ decay: 0.9 });
            for step in 0..50 { opt.step(((w - 1) ** 2).sum()); ema.update(); }
            ema.params[0].item() > 0.9 // => true
            ```
            "#,
        )
        .options::<EmaOptions>()
        .call(|list: Array| ema(list, &Map::new()))
        .call(|list: Array, map: Map| ema(list, &map));
    library
        .method::<Average>(
            "update",
            "()",
            "Takes the present values of the parameters in; after each step of the optimizer.\n\n```rhai\nlet w = param(ones([1]));\nlet ema = optim::ema([w], #{ decay: 0.5 });\nema.update();\nema.params[0].to_array() // => [1.0]\n```",
        )
        .call(|ema: &mut Average| -> Outcome<()> { raise(lock(&ema.0).update()) });
    library
        .method::<Average>(
            "swap",
            "()",
            "Exchanges parameters and averages, e.g. for an evaluation; a second time undoes it.\n\n```rhai\nlet w = param(ones([1]));\nlet ema = optim::ema([w], #{ decay: 0.5 });\noptim::sgd([w], #{ lr: 1.0 }).step(w.sum());\nema.swap();\nw.to_array() // => [1.0]\n```",
        )
        .call(|ema: &mut Average| -> Outcome<()> { raise(lock(&ema.0).swap()) });
    library
        .method::<Average>("apply", "()", "Writes the averages into the parameters.\n\n```rhai\nlet w = param(ones([1]));\nlet ema = optim::ema([w], #{ decay: 0.5 });\noptim::sgd([w], #{ lr: 1.0 }).step(w.sum());\nema.apply();\nw.to_array() // => [1.0]\n```")
        .call(|ema: &mut Average| -> Outcome<()> { raise(lock(&ema.0).apply()) });
    library
        .property::<Average>(
            "params",
            "array of Tensor",
            "Copies of the averages, in the order of the parameters.",
        )
        .call(|ema: &mut Average| -> Outcome<Array> {
            let copy = |t: &Tensor| raise(t.copy()).map(Dynamic::from);
            lock(&ema.0).averages().iter().map(copy).collect()
        });
}

fn ema(list: Array, map: &Map) -> Outcome<Average> {
    let EmaOptions { decay } = options::read(map)?;
    let ema = Ema::new(parameters(list, "parameter")?, decay);
    Ok(Average(Arc::new(Mutex::new(raise(ema)?))))
}
