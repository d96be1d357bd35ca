//! What `fit` returns: a training that can go on.

use std::sync::{Arc, Mutex};

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_models::train::Run;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Outcome, enter, raise};
use crate::{Display, context::lock, fault::Fault, library::Library, options, value::Object};

/// A training; clones are the same one.
#[derive(Clone)]
pub(crate) struct Training(Arc<Mutex<Run>>);

impl Training {
    /// Wraps a run.
    pub fn new(run: Run) -> Self {
        Self(Arc::new(Mutex::new(run)))
    }
}

impl Object for Training {
    const NAME: &'static str = "Run";

    fn text(&self) -> String {
        let run = lock(&self.0);
        let loss = run
            .losses
            .last()
            .map_or(String::new(), |loss| format!(", loss {loss:.4}"));
        let how = if run.interrupted {
            ", interrupted: go on with .more(n)"
        } else {
            ""
        };
        format!("Run \"{}\": {} steps{loss}{how}", run.label(), run.steps())
    }

    fn summary(&self) -> String {
        let run = lock(&self.0);
        format!(
            "{} steps{}",
            run.steps(),
            if run.interrupted { ", interrupted" } else { "" }
        )
    }

    fn bytes(&self) -> Option<u64> {
        Some(lock(&self.0).losses.len() as u64 * 8)
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
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
            lock(&run.0)
                .losses
                .iter()
                .map(|&l| Dynamic::from(l))
                .collect()
        });
    library
        .property::<Training>(
            "metrics",
            "map",
            "The newest figures: `steps`, `loss`, `lr`.",
        )
        .call(|run: &mut Training| -> Map {
            let run = lock(&run.0);
            let loss = run
                .losses
                .last()
                .map_or(Dynamic::UNIT, |&loss| Dynamic::from(loss));
            let entries = [
                ("steps", Dynamic::from(run.steps() as i64)),
                ("loss", loss),
                ("lr", Dynamic::from(run.lr())),
            ];
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect()
        });
    library
        .property::<Training>("steps", "int", "Steps taken.")
        .call(|run: &mut Training| lock(&run.0).steps() as i64);
    library
        .property::<Training>(
            "interrupted",
            "bool",
            "Whether the user stopped it before its end.",
        )
        .call(|run: &mut Training| lock(&run.0).interrupted);
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
            enter(&call, |observer| lock(&run.0).more(steps, observer))?;
            Ok(run.clone())
        });
    library
        .method::<Training>(
            "set",
            "(options: map) -> Run",
            r#"
            Changes a run from its next step on.

            ```rhai
            let flow = flow::rectified(#{ hidden: [8] });
            let run = flow.fit(data::moons(100), #{ steps: 5 });
            run.set(#{ lr: 1e-4 }).more(5);
            ```
            "#,
        )
        .options::<Knobs>()
        .call(|run: &mut Training, map: Map| -> Outcome<Training> {
            let knobs: Knobs = options::read(&map)?;
            if let Some(lr) = knobs.lr {
                raise(lock(&run.0).set_lr(lr))?;
            }
            Ok(run.clone())
        });
}
