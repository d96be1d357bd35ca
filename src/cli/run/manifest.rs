//! What a run was: enough to make it again and to trust its numbers.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, SystemTime},
};

use rhapsode_script::{Diagnostic, Record};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::machine::Machine;
use crate::args::RunArgs;

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Under way, or killed without a chance to say so.
    Running,
    /// The script came to its end.
    Finished,
    /// The user or the system stopped it.
    Interrupted,
    /// It ended in an error.
    Failed,
}

/// The contents of `manifest.json`. Whatever depends on the clock has `time` or `seconds` in its key.
#[derive(Debug, Serialize)]
pub struct Manifest {
    status: Status,
    error: Option<String>,
    script: Script,
    seed: u64,
    device: String,
    options: BTreeMap<String, String>,
    versions: BTreeMap<&'static str, &'static str>,
    machine: Option<Machine>,
    start_time: String,
    end_time: Option<String>,
    seconds: Option<f64>,
    metrics: BTreeMap<String, BTreeMap<String, Value>>,
    changes: Vec<BTreeMap<String, Value>>,
    files: Vec<String>,
}

/// The script that was run.
#[derive(Debug, Serialize)]
struct Script {
    path: String,
    sha256: String,
}

impl Manifest {
    /// The manifest of a run that begins.
    pub fn new(args: &RunArgs, source: &str, started: SystemTime) -> Self {
        let hash = Sha256::digest(source.as_bytes());
        Self {
            status: Status::Running,
            error: None,
            script: Script {
                path: args.file.display().to_string(),
                sha256: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            },
            seed: args.seed,
            device: args.device.clone(),
            options: args.settings.iter().cloned().collect(),
            versions: BTreeMap::from([("rhapsode", env!("CARGO_PKG_VERSION"))]),
            machine: None,
            start_time: humantime::format_rfc3339_seconds(started).to_string(),
            end_time: None,
            seconds: None,
            metrics: BTreeMap::new(),
            changes: Vec::new(),
            files: Vec::new(),
        }
    }

    /// A record of metrics: the newest of each source are the final ones. What `run.set` has changed is kept whole.
    pub fn record(&mut self, record: &Record) {
        let mut values = BTreeMap::from([("step".to_string(), Value::from(record.step))]);
        values.extend(
            record
                .values
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(*value))),
        );
        match record.source.as_str() {
            "set" => self.changes.push(values),
            source => self
                .metrics
                .entry(source.to_string())
                .or_default()
                .extend(values),
        }
    }

    /// The run has ended.
    pub fn end(
        &mut self,
        status: Status,
        error: Option<&Diagnostic>,
        files: &[String],
        seconds: Duration,
    ) {
        self.status = status;
        self.error = error.map(|diagnostic| diagnostic.render(false));
        self.files = files.to_vec();
        self.seconds = Some((seconds.as_secs_f64() * 1e3).round() / 1e3);
        self.end_time = Some(humantime::format_rfc3339_seconds(SystemTime::now()).to_string());
    }

    /// As JSON. The machine is looked at only now: most scripts write no manifest and start the faster for it.
    pub fn json(&mut self) -> String {
        self.machine.get_or_insert_with(Machine::this).note_paths();
        // Strings, numbers and maps with string keys: nothing here can fail to be JSON.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// The name of a script without folder and ending, for the run's folder.
pub fn stem(path: &Path) -> String {
    match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("-") | None => "stdin".to_string(),
        Some(stem) => stem.to_string(),
    }
}
