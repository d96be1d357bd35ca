//! Logs of metrics: records of named numbers, written as they come, so that they can be followed and survive a kill.
//!
//! | format | file | who reads it |
//! |---|---|---|
//! | [`Format::Jsonl`] | `metrics.jsonl`, an object a line | anyone |
//! | [`Format::Csv`] | `metrics.csv`, a row a record, a column a metric | spreadsheets, pandas |
//! | [`Format::Tensorboard`] | `events.out.tfevents...` | TensorBoard |

mod csv;
mod jsonl;
mod tensorboard;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, files};

/// Records reach the file at least this often.
const FLUSH: Duration = Duration::from_secs(1);

/// How a log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// An object of JSON a line: `metrics.jsonl`.
    #[default]
    Jsonl,
    /// A row a record, a column a metric: `metrics.csv`.
    Csv,
    /// Event files that TensorBoard reads, in the folder itself.
    Tensorboard,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 3] = [Format::Jsonl, Format::Csv, Format::Tensorboard];

    /// Its name as an option.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
            Format::Tensorboard => "tensorboard",
        }
    }

    /// What its file in a folder is called; event files are numbered by the second.
    pub fn file_name(self, folder: &Path) -> String {
        match self {
            Format::Jsonl => "metrics.jsonl".into(),
            Format::Csv => "metrics.csv".into(),
            Format::Tensorboard => tensorboard::file_name(folder, SystemTime::now()),
        }
    }
}

/// One record: what was measured at a step.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Which work it belongs to, e.g. `fit` or `log`.
    pub source: &'a str,
    /// The step.
    pub step: u64,
    /// Since the log's work began.
    pub elapsed: Duration,
    /// Names and numbers.
    pub values: &'a [(String, f64)],
}

/// What writes records in one format.
trait Writer: Send {
    /// Adds a record.
    fn write(&mut self, entry: &Entry, now: SystemTime) -> std::io::Result<()>;
    /// Brings everything to the file.
    fn flush(&mut self) -> std::io::Result<()>;
}

/// An open log.
pub struct Log {
    path: PathBuf,
    writer: Box<dyn Writer>,
    flushed: Instant,
}

impl Log {
    /// A new log in a folder, which is made when it is not there; an older file of the same name is replaced
    /// (event files have a name of their own, see [`Format::file_name`]).
    pub fn create(format: Format, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| files::failed(folder, &e))?;
        let path = folder.join(format.file_name(folder));
        let writer: std::io::Result<Box<dyn Writer>> = match format {
            Format::Jsonl => jsonl::Jsonl::create(&path).map(|w| Box::new(w) as _),
            Format::Csv => csv::Csv::create(&path).map(|w| Box::new(w) as _),
            Format::Tensorboard => {
                tensorboard::Events::create(&path, SystemTime::now()).map(|w| Box::new(w) as _)
            }
        };
        let writer = writer.map_err(|e| files::failed(&path, &e))?;
        Ok(Self {
            path,
            writer,
            flushed: Instant::now(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a record.
    pub fn write(&mut self, entry: &Entry) -> Result<()> {
        let written = self.writer.write(entry, SystemTime::now());
        written.map_err(|e| files::failed(&self.path, &e))?;
        if self.flushed.elapsed() > FLUSH {
            self.flush()?;
        }
        Ok(())
    }

    /// Brings all records to the file.
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.writer
            .flush()
            .map_err(|e| files::failed(&self.path, &e))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Nobody is there to be told; `flush` tells.
        let _ = self.writer.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every format must do: what is written is there after a flush, and again after more.
    #[test]
    fn every_format_writes_its_records_to_one_file() {
        for format in Format::ALL {
            let name = format!("rhapsode-log-{}-{}", format.name(), std::process::id());
            let folder = std::env::temp_dir().join(name).join("made");
            let mut log = Log::create(format, &folder).unwrap();
            let record = |log: &mut Log, step, values: &[(&str, f64)]| {
                let values: Vec<_> = values.iter().map(|(k, v)| (k.to_string(), *v)).collect();
                let entry = Entry {
                    source: "fit",
                    step,
                    elapsed: Duration::from_millis(1500),
                    values: &values,
                };
                log.write(&entry).unwrap();
                log.flush().unwrap();
                std::fs::read(log.path()).unwrap()
            };
            let first = record(&mut log, 1, &[("loss", 0.5)]);
            let second = record(&mut log, 2, &[("loss", f64::NAN), ("accuracy", 1.0)]);
            assert!(
                second.len() > first.len() && !first.is_empty(),
                "{}",
                format.name()
            );
            let holds =
                |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
            assert!(
                holds(&second, "loss") && holds(&second, "accuracy"),
                "{}",
                format.name()
            );
            assert_eq!(
                std::fs::read_dir(&folder).unwrap().count(),
                1,
                "{}",
                format.name()
            );
            std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let file = std::env::temp_dir().join(format!("rhapsode-log-file-{}", std::process::id()));
        std::fs::File::create(&file).unwrap();
        assert!(Log::create(Format::Csv, &file.join("x")).is_err());
        std::fs::remove_file(file).unwrap();
    }
}
