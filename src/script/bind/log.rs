//! `io::log`: metrics go to files that a script names.

use std::sync::Arc;

use rhai::{Map, NativeCallContext};
use rhapsode_models::log::{Format, Log};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Outcome, raise};
use crate::{
    Display,
    context::{self, Context},
    library::Library,
    options,
    value::Object,
};

/// Options of a log.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct LogOptions {
    /// How it is written. Default: `"jsonl"`.
    format: Format,
    /// The folder, which is made when it is not there. Default: `"logs"`.
    folder: String,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            format: Format::default(),
            folder: "logs".into(),
        }
    }
}

/// A log that was opened; clones are the same.
#[derive(Clone)]
pub(crate) struct Opened {
    context: Arc<Context>,
    id: u64,
    path: String,
}

impl Object for Opened {
    const NAME: &'static str = "MetricLog";

    fn text(&self) -> String {
        format!("MetricLog to {}", self.path)
    }

    fn summary(&self) -> String {
        self.path.clone()
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Binds it.
pub(crate) fn bind(library: &mut Library) {
    library.object::<Opened>("A log of metrics: `.path`, `.close()`.");
    library
        .function(
            "io::log",
            "(options?: map) -> MetricLog",
            r#"
            Opens a log: from now on the metrics of `fit` and `log(..)` go to it as well, until `.close()` or the end of the
            session. `jsonl` is `metrics.jsonl` in the folder, `csv` is `metrics.csv`, `tensorboard` an event file for
            `tensorboard --logdir`.

            ```rhai
            let board = io::log(#{ format: "tensorboard", folder: "rhapsode-example-log" });
            for step in 0..3 { log(#{ loss: 1.0 / (step + 1) }); }
            board.close();
            ```
            "#,
        )
        .options::<LogOptions>()
        .call(|call: NativeCallContext| open(&call, &Map::new()))
        .call(|call: NativeCallContext, map: Map| open(&call, &map));
    library
        .property::<Opened>("path", "string", "The file.")
        .call(|log: &mut Opened| log.path.clone());
    library
        .method::<Opened>("close", "()", "Writes what is left and closes the log.\n\n```rhai\nlet metrics = io::log(#{ format: \"csv\", folder: \"rhapsode-log\" });\nlog(#{ loss: 0.5 });\nmetrics.close();\n```")
        .call(|log: &mut Opened| -> Outcome<()> { raise(log.context.detach(log.id)) });
}

fn open(call: &NativeCallContext, map: &Map) -> Outcome<Opened> {
    let LogOptions { format, folder } = options::read(map)?;
    let context = context::of_call(call)?;
    let log = raise(Log::create(format, &context.path(&folder)))?;
    let path = log.path().display().to_string();
    let id = context.attach(log);
    Ok(Opened { context, id, path })
}
