//! `progress` and `log`: a loop of one's own reports like a built-in training.

use std::sync::{Arc, Mutex};

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};

use super::{Outcome, guard::Bar, number};
use crate::{
    Display, Event, ProgressState, Record,
    context::{self, Context, lock},
    fault::{Fault, Spot},
    library::Library,
    trial::Stopwatch,
    value::{Object, type_word},
};

/// What `progress(...)` gives: goes through its items and moves a bar.
#[derive(Clone)]
pub(crate) struct Steps(Arc<Mutex<State>>);

struct State {
    context: Arc<Context>,
    bar: Bar,
    label: String,
    items: Items,
    done: u64,
    total: u64,
    /// Times the steps of a trial.
    watch: Option<Stopwatch>,
}

enum Items {
    Range(std::ops::Range<i64>),
    Array(std::vec::IntoIter<Dynamic>),
}

impl Iterator for Items {
    type Item = Dynamic;

    fn next(&mut self) -> Option<Dynamic> {
        match self {
            Items::Range(range) => range.next().map(Dynamic::from),
            Items::Array(items) => items.next(),
        }
    }
}

impl Iterator for Steps {
    type Item = Dynamic;

    fn next(&mut self) -> Option<Dynamic> {
        let state = &mut *lock(&self.0);
        let newest = || state.context.logged().newest.clone();
        state
            .bar
            .update(&state.label, state.done, Some(state.total), newest);
        let trial = state.watch.as_mut().filter(|_| state.done > 0);
        let enough = trial.is_some_and(Stopwatch::step);
        match state.items.next().filter(|_| !enough) {
            Some(item) => {
                state.done += 1;
                Some(item)
            }
            None => {
                state.bar.finish(ProgressState::Finished);
                let watch = state.watch.take();
                let seen = watch.and_then(|watch| watch.trial(&state.label, Some(state.total)));
                if let (Some(seen), Some(mut trials)) = (seen, state.context.trials()) {
                    trials.push(seen);
                }
                None
            }
        }
    }
}

impl Drop for State {
    /// A loop that is left early closes its bar too.
    fn drop(&mut self) {
        self.bar.finish(if self.context.must_stop() {
            ProgressState::Interrupted
        } else {
            ProgressState::Finished
        });
    }
}

impl Object for Steps {
    const NAME: &'static str = "Steps";

    fn text(&self) -> String {
        let state = lock(&self.0);
        format!("Steps {} of {}", state.done, state.total)
    }

    fn summary(&self) -> String {
        let state = lock(&self.0);
        format!("{} of {}", state.done, state.total)
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.object::<Steps>("What `progress(...)` gives: a loop over it moves a progress bar.");
    library.iterator::<Steps>();
    library
        .function(
            "progress",
            "(items: range | array | int, label?: string) -> Steps",
            r#"
            Goes through a range or an array and shows a progress bar with the metrics that `log` was given.

            ```rhai
            for step in progress(0..3) { log(#{ loss: 1.0 / (step + 1) }); }
            ```
            "#,
        )
        .call(|call: NativeCallContext, items: Dynamic| steps(&call, items, "loop"))
        .call(|call: NativeCallContext, items: Dynamic, label: &str| steps(&call, items, label));
    library
        .function(
            "log",
            "(metrics: map)",
            r#"
            Records metrics: numbers, or tensors of one element. They go to the metrics file, and the bar of
            `progress` shows the newest. A key `step` numbers the record; without it records count up from 1.

            ```rhai
            log(#{ loss: 0.5, accuracy: 0.9 });
            ```
            "#,
        )
        .call(|call: NativeCallContext, metrics: Map| log(&call, &metrics));
    library
        .function(
            "time",
            "(closure?) -> float",
            r#"
            Seconds since the session began, or the seconds that a closure takes.

            ```rhai
            let start = time();
            let took = time(|| { let x = 0; for i in 0..1000 { x += i; } });
            took < time() - start + 1.0 // => true
            ```
            "#,
        )
        .call(|call: NativeCallContext| -> Outcome<f64> {
            Ok(context::of_call(&call)?.started().elapsed().as_secs_f64())
        })
        .call(|call: NativeCallContext, closure: FnPtr| -> Outcome<f64> {
            let start = std::time::Instant::now();
            let _: Dynamic = closure.call_within_context(&call, ())?;
            Ok(start.elapsed().as_secs_f64())
        });
}

fn steps(call: &NativeCallContext, items: Dynamic, label: &str) -> Outcome<Steps> {
    let context = context::of_call(call)?;
    let (items, total) = items_of(items)?;
    let bar = Bar::new(Arc::clone(&context));
    let watch = context.trials().is_some().then(Stopwatch::start);
    Ok(Steps(Arc::new(Mutex::new(State {
        context,
        watch,
        bar,
        label: label.to_string(),
        items,
        done: 0,
        total,
    }))))
}

fn items_of(items: Dynamic) -> Result<(Items, u64), Fault> {
    let range = |start: i64, end: i64| {
        let end = end.max(start);
        (Items::Range(start..end), end.abs_diff(start))
    };
    if let Ok(count) = items.as_int() {
        return Ok(range(0, count));
    }
    if let Some(r) = items.read_lock::<std::ops::Range<i64>>() {
        return Ok(range(r.start, r.end));
    }
    if let Some(r) = items.read_lock::<std::ops::RangeInclusive<i64>>() {
        return Ok(range(*r.start(), r.end().saturating_add(1)));
    }
    let got = type_word(items.type_name()).to_string();
    let items: Array = items
        .into_array()
        .map_err(|_| Fault::expected("range, array or int", &got).at(Spot::Argument(0)))?;
    let total = items.len() as u64;
    Ok((Items::Array(items.into_iter()), total))
}

fn log(call: &NativeCallContext, metrics: &Map) -> Outcome<()> {
    let context = context::of_call(call)?;
    let mut values = Vec::with_capacity(metrics.len());
    let mut step = None;
    for (key, value) in metrics {
        let number = metric(value).ok_or_else(|| {
            let got = context
                .reference()
                .map_or(String::new(), |reference| reference.types.name(value));
            Fault::new(
                crate::Kind::Type,
                format!("metric `{key}`: expected a number, got {got}"),
            )
            .at(Spot::Value(vec![key.to_string()]))
        })?;
        match key.as_str() {
            "step" => step = Some(number as u64),
            key => values.push((key.to_string(), number)),
        }
    }
    let mut logged = context.logged();
    logged.step = step.unwrap_or(logged.step + 1);
    for (name, value) in &values {
        match logged.newest.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = *value,
            None => logged.newest.push((name.clone(), *value)),
        }
    }
    let record = Record {
        source: "log".into(),
        step: logged.step,
        values,
    };
    drop(logged);
    context.send(Event::Record(record));
    Ok(())
}

/// A number, or a tensor of one element.
fn metric(value: &Dynamic) -> Option<f64> {
    if let Ok(flag) = value.as_bool() {
        return Some(f64::from(u8::from(flag)));
    }
    number(value).or_else(|| value.read_lock::<rhapsode_tensor::Tensor>()?.item().ok())
}
