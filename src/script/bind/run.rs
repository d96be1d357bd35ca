//! What `fit` returns: a training that can go on.

use std::sync::{Arc, Mutex};

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_models::{live::Live, train::Run};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Outcome, enter, raise};
use crate::{
    Display, context,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::Object,
};

/// A training; clones are the same one. What is shown comes from its live view: the run itself is lent to the loop
/// that takes its steps.
#[derive(Clone)]
pub(crate) struct Training {
    live: Live,
    // What takes the steps: `fit` gives it away when it ends.
    run: Option<Arc<Mutex<Run>>>,
}

impl Training {
    /// Wraps a run.
    pub fn new(run: Run) -> Self {
        Self {
            live: run.live().clone(),
            run: Some(Arc::new(Mutex::new(run))),
        }
    }

    /// A training that somebody else holds.
    pub fn watched(live: &Live) -> Self {
        Self {
            live: live.clone(),
            run: None,
        }
    }

    /// Whether it is the training of that view.
    pub fn is(&self, live: &Live) -> bool {
        self.live.is(live)
    }

    fn more(&self, call: &NativeCallContext, steps: u64) -> Outcome<()> {
        let Some(run) = &self.run else {
            let fault = Fault::value("a training in progress goes on by itself");
            return Err(fault
                .hint("`more` is there on the run that `fit` returns")
                .into());
        };
        // Another shell may be at it.
        let Ok(mut run) = run.try_lock() else {
            return Err(Fault::value("the run is taking steps already").into());
        };
        enter(call, |observer| run.more(steps, observer))
    }

    /// Another learning rate: now, or at the next step when it takes steps.
    fn set_lr(&self, lr: f64) -> Outcome<()> {
        match self.run.as_ref().and_then(|run| run.try_lock().ok()) {
            Some(mut run) => raise(run.set_lr(lr)),
            None => raise(self.live.set_lr(lr)),
        }
    }
}

impl Object for Training {
    const NAME: &'static str = "Run";

    fn text(&self) -> String {
        let state = self.live.state();
        let loss = state
            .losses
            .last()
            .map_or(String::new(), |loss| format!(", loss {loss:.4}"));
        let how = match () {
            () if state.is_running => ", running",
            () if state.interrupted => ", interrupted: go on with .more(n)",
            () => "",
        };
        format!("Run \"{}\": {} steps{loss}{how}", state.label, state.steps)
    }

    fn summary(&self) -> String {
        let state = self.live.state();
        let how = match () {
            () if state.is_running => ", running",
            () if state.interrupted => ", interrupted",
            () => "",
        };
        format!("{} steps{how}", state.steps)
    }

    fn bytes(&self) -> Option<u64> {
        // Kept twice: by the run and by its view.
        Some(self.live.state().losses.len() as u64 * 16)
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// What was measured under a name.
fn history(run: &mut Training, name: &str) -> Outcome<Map> {
    let state = run.live.state();
    let of_name = || state.measured.iter().filter(|(_, other, _)| *other == name);
    if of_name().next().is_none() {
        let mut names: Vec<_> = state.measured.iter().map(|(_, name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        let message = format!("nothing was measured under \"{name}\"");
        let hint = match names.is_empty() {
            true => "`fit` measures on the way with the option `validation: [x, y]`".to_string(),
            false => format!("there are: {}", names.join(", ")),
        };
        return Err(Fault::value(message)
            .at(Spot::Argument(0))
            .hint(hint)
            .into());
    }
    let steps: Array = of_name()
        .map(|(step, ..)| Dynamic::from(*step as i64))
        .collect();
    let values: Array = of_name().map(|(.., value)| Dynamic::from(*value)).collect();
    Ok(Map::from([
        ("steps".into(), steps.into()),
        ("values".into(), values.into()),
    ]))
}

/// What can be changed while a run goes on.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Knobs {
    /// Learning rate from the next step on, before the schedule (>= 0; default: as it is).
    lr: Option<f64>,
}

/// Binds it.
pub(crate) fn bind(library: &mut Library) {
    library.object::<Training>("A training: its losses, and how to go on with it.");
    library
        .property::<Training>("loss", "array", "The loss of every step, from the first.")
        .call(|run: &mut Training| -> Array {
            let state = run.live.state();
            state.losses.iter().map(|&l| Dynamic::from(l)).collect()
        });
    library
        .property::<Training>(
            "metrics",
            "map",
            "The newest figures: `steps`, `loss`, `lr`, and what was measured beside them (`validation_loss`).",
        )
        .call(|run: &mut Training| -> Map {
            let state = run.live.state();
            let loss = state
                .losses
                .last()
                .map_or(Dynamic::UNIT, |&loss| Dynamic::from(loss));
            let entries = [
                ("steps", Dynamic::from(state.steps as i64)),
                ("loss", loss),
                ("lr", Dynamic::from(state.lr)),
            ];
            let measured = state.newest().into_iter();
            let measured = measured.map(|(name, value)| (name, Dynamic::from(value)));
            entries
                .into_iter()
                .chain(measured)
                .map(|(key, value)| (key.into(), value))
                .collect()
        });
    library
        .method::<Training>(
            "history",
            "(name: string) -> map",
            r#"
            What was measured on the way under that name: `steps`, after which steps, and `values`. The loss of every step is `run.loss`.

            ```rhai
            let x = randn([64, 2]);
            let y = randn([64, 1]);
            let run = nn::linear(#{ inputs: 2, outputs: 1 }).fit(x, y, #{ steps: 20, validation: [x, y], validate_every: 5 });
            run.history("validation_loss").steps // => [5, 10, 15, 20]
            ```
            "#,
        )
        .call(history);
    library
        .property::<Training>("steps", "int", "Steps taken.")
        .call(|run: &mut Training| run.live.state().steps as i64);
    library
        .property::<Training>(
            "interrupted",
            "bool",
            "Whether the user stopped it before its end.",
        )
        .call(|run: &mut Training| run.live.state().interrupted);
    library
        .method::<Training>(
            "more",
            "(steps: int) -> Run",
            r#"
            Goes on for so many steps, bit for bit as if it had never stopped. After the planned end
            the cosine schedule stays at a hundredth of the learning rate: `run.set(#{ lr: .. })` changes it.

            ```rhai
            let flow = flow::rectified(#{ hidden: [8] });
            let run = flow.fit(data::moons(100), #{ steps: 5 });
            run.more(5);
            run.steps // => 10
            ```
            "#,
        )
        .call(|call: NativeCallContext, run: &mut Training, steps: i64| -> Outcome<Training> {
            let steps = u64::try_from(steps).map_err(|_| Fault::value(format!("steps must be >= 0, got {steps}")))?;
            run.more(&call, steps)?;
            Ok(run.clone())
        });
    library
        .method::<Training>(
            "set",
            "(options: map) -> Run",
            r#"
            Changes a run from its next step on. What was changed stands in the records, as those of `set`, and in the
            manifest. A training in progress is changed from another shell of the notebook: `running()` finds it.

            ```rhai
            let flow = flow::rectified(#{ hidden: [8] });
            let run = flow.fit(data::moons(100), #{ steps: 5 });
            run.set(#{ lr: 1e-4 }).more(5);
            run.metrics.lr // => 0.0001
            ```
            "#,
        )
        .options::<Knobs>()
        .call(|run: &mut Training, map: Map| -> Outcome<Training> {
            let knobs: Knobs = options::read(&map)?;
            if let Some(lr) = knobs.lr {
                run.set_lr(lr)?;
            }
            Ok(run.clone())
        });
    library
        .function(
            "running",
            "() -> array",
            r#"
            The trainings in progress, oldest first: for a second shell of a notebook, while the first one trains. Each is
            a `Run` whose figures can be read and plotted, and which `set` changes.

            ```rhai
            for run in running() { run.set(#{ lr: 1e-4 }); }
            running().len() // => 0
            ```
            "#,
        )
        .call(|call: NativeCallContext| -> Outcome<Array> {
            let context = context::of_call(&call)?;
            let trainings = context.trainings().clone();
            Ok(trainings.into_iter().map(Dynamic::from).collect())
        });
}
