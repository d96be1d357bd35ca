//! `metrics.csv`: a row a record, a column a metric.
//!
//! Columns are those of the records so far. A record with a new metric makes the file anew with one column more: rare, and
//! the file is a table at any time.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Entry, Writer};
use crate::files;

/// The columns that every record has.
const FIRST: [&str; 3] = ["source", "step", "seconds"];

/// The open file.
pub struct Csv {
    path: PathBuf,
    file: BufWriter<File>,
    names: Vec<String>,
}

impl Csv {
    /// A new file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        let names: Vec<String> = FIRST.map(Into::into).into();
        writeln!(file, "{}", names.join(","))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            names,
        })
    }

    /// Makes the file anew with more columns, empty so far.
    fn widen(&mut self, more: Vec<String>) -> io::Result<()> {
        self.file.flush()?;
        let old = fs::read_to_string(&self.path)?;
        let empty = ",".repeat(more.len());
        self.names.extend(more);
        let header: Vec<String> = self.names.iter().map(|n| quoted(n)).collect();
        let names = header.join(",");
        let written = files::write_atomic_with(&self.path, |file| {
            writeln!(file, "{names}")?;
            // A name may hold a line break; rows never do.
            rows(&old).try_for_each(|line| writeln!(file, "{line}{empty}"))
        });
        written.map_err(io::Error::other)?;
        self.file = BufWriter::new(OpenOptions::new().append(true).open(&self.path)?);
        Ok(())
    }
}

/// The lines behind the header.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    let end = text.char_indices().find(|(_, c)| {
        inside ^= *c == '"';
        *c == '\n' && !inside
    });
    text.get(end.map_or(text.len(), |(at, _)| at + 1)..)
        .unwrap_or("")
        .lines()
}

impl Writer for Csv {
    fn write(&mut self, entry: &Entry, _: SystemTime) -> io::Result<()> {
        let known = |name: &String| self.names.contains(name);
        let more: Vec<String> = entry
            .values
            .iter()
            .map(|(n, _)| n)
            .filter(|n| !known(n))
            .cloned()
            .collect();
        if !more.is_empty() {
            self.widen(more)?;
        }
        let fields = self.names.iter().map(|name| {
            match (entry.values.iter().find(|(n, _)| n == name), name.as_str()) {
                (Some((_, value)), _) => format!("{value:?}"),
                (None, "source") => quoted(entry.source),
                (None, "step") => entry.step.to_string(),
                (None, "seconds") => format!("{:.3}", entry.elapsed.as_secs_f64()),
                (None, _) => String::new(),
            }
        });
        writeln!(self.file, "{}", fields.collect::<Vec<_>>().join(","))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A field, in quotes where it needs them.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_new_metric_is_a_new_column_of_all_rows() {
        let path =
            std::env::temp_dir().join(format!("rhapsode-metrics-{}.csv", std::process::id()));
        let mut csv = Csv::create(&path).unwrap();
        let mut write = |source, step, values: &[(&str, f64)]| {
            let values: Vec<_> = values.iter().map(|(k, v)| (k.to_string(), *v)).collect();
            let entry = Entry {
                source,
                step,
                elapsed: Duration::from_millis(250),
                values: &values,
            };
            csv.write(&entry, SystemTime::UNIX_EPOCH).unwrap();
        };
        write("fit", 1, &[("loss", 0.5)]);
        write("fit", 2, &[("loss", f64::NAN)]);
        write("log", 7, &[("a, \"b\"\n", 1e-9), ("loss", 2.0)]);
        write("log", 8, &[("c", 1.0), ("step", 9.0)]);
        csv.flush().unwrap();
        let want = "source,step,seconds,loss,\"a, \"\"b\"\"\n\",c\n\
            fit,1,0.250,0.5,,\nfit,2,0.250,NaN,,\nlog,7,0.250,2.0,1e-9,\nlog,9.0,0.250,,,1.0\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), want);
        fs::remove_file(path).unwrap();
    }
}
