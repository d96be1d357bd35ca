//! `metrics.jsonl`: a line a record.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::SystemTime,
};

use serde_json::Value;

use super::{Entry, Writer};

/// The open file.
pub struct Jsonl(BufWriter<File>);

impl Jsonl {
    /// A new file.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(BufWriter::new(File::create(path)?)))
    }
}

impl Writer for Jsonl {
    fn write(&mut self, entry: &Entry, _: SystemTime) -> io::Result<()> {
        writeln!(self.0, "{}", line(entry))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `{"source":"fit","step":1,"seconds":0.012,"loss":0.31}`: flat, as a table wants it. NaN and infinity,
/// which JSON does not know, are null. A metric that is itself called `step` or so takes that name.
fn line(entry: &Entry) -> String {
    let named = |key: &str| entry.values.iter().any(|(name, _)| name == key);
    let mut fields = Vec::new();
    if !named("source") {
        fields.push(format!("\"source\":{}", Value::from(entry.source)));
    }
    if !named("step") {
        fields.push(format!("\"step\":{}", entry.step));
    }
    if !named("seconds") {
        fields.push(format!("\"seconds\":{:.3}", entry.elapsed.as_secs_f64()));
    }
    for (name, value) in entry.values {
        fields.push(format!(
            "{}:{}",
            Value::from(name.as_str()),
            Value::from(*value)
        ));
    }
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn line_of(source: &str, step: u64, millis: u64, values: &[(&str, f64)]) -> String {
        let values: Vec<_> = values.iter().map(|(k, v)| (k.to_string(), *v)).collect();
        line(&Entry {
            source,
            step,
            elapsed: Duration::from_millis(millis),
            values: &values,
        })
    }

    #[test]
    fn a_record_is_one_flat_line() {
        assert_eq!(
            line_of(
                "fit",
                12,
                1500,
                &[("loss", 0.1), ("a \"b\"", f64::NAN), ("n", 3.0)]
            ),
            r#"{"source":"fit","step":12,"seconds":1.500,"loss":0.1,"a \"b\"":null,"n":3.0}"#
        );
    }

    #[test]
    fn a_metric_called_step_is_there_once() {
        assert_eq!(
            line_of("log", 1, 0, &[("step", 40.0)]),
            r#"{"source":"log","seconds":0.000,"step":40.0}"#
        );
    }
}
