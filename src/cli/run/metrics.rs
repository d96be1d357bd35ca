//! `metrics.jsonl`: a line a record, written as it comes, so that it can be followed and survives a kill.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::{Duration, Instant},
};

use rhapsode_script::Record;

/// Lines reach the file at least this often.
const FLUSH: Duration = Duration::from_secs(1);

/// The open metrics file.
pub struct Metrics {
    file: BufWriter<File>,
    started: Instant,
    flushed: Instant,
}

impl Metrics {
    /// A new file; `started` is the time from which the seconds count.
    pub fn create(path: &Path, started: Instant) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(File::create(path)?),
            started,
            flushed: Instant::now(),
        })
    }

    /// Adds a line.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        writeln!(self.file, "{}", line(record, self.started.elapsed()))?;
        if self.flushed.elapsed() > FLUSH {
            self.flush()?;
        }
        Ok(())
    }

    /// Brings all lines to the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        self.file.flush()
    }
}

/// `{"source":"fit","step":1,"seconds":0.012,"loss":0.31}`: flat, as a table wants it. NaN and infinity,
/// which JSON does not know, are null. A metric that is itself called `step` or so takes that name.
fn line(record: &Record, seconds: Duration) -> String {
    let named = |key: &str| record.values.iter().any(|(name, _)| name == key);
    let mut fields = Vec::new();
    if !named("source") {
        fields.push(format!("\"source\":{}", json_string(&record.source)));
    }
    if !named("step") {
        fields.push(format!("\"step\":{}", record.step));
    }
    if !named("seconds") {
        fields.push(format!("\"seconds\":{:.3}", seconds.as_secs_f64()));
    }
    for (name, value) in &record.values {
        fields.push(format!(
            "{}:{}",
            json_string(name),
            serde_json::Value::from(*value)
        ));
    }
    format!("{{{}}}", fields.join(","))
}

/// Text as a JSON string.
fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_flat_line() {
        let values = vec![
            ("loss".into(), 0.1),
            ("a \"b\"".into(), f64::NAN),
            ("n".into(), 3.0),
        ];
        let record = Record {
            source: "fit".into(),
            step: 12,
            values,
        };
        assert_eq!(
            line(&record, Duration::from_millis(1500)),
            r#"{"source":"fit","step":12,"seconds":1.500,"loss":0.1,"a \"b\"":null,"n":3.0}"#
        );
    }

    #[test]
    fn a_metric_called_step_is_there_once() {
        let record = Record {
            source: "log".into(),
            step: 1,
            values: vec![("step".into(), 40.0)],
        };
        assert_eq!(
            line(&record, Duration::ZERO),
            r#"{"source":"log","seconds":0.000,"step":40.0}"#
        );
    }
}
