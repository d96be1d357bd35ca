//! Comma-separated values (RFC 4180), read twice: once to learn what the columns are, once to fill them.
//!
//! A column is of whole numbers, of numbers, or of text, whichever is the first that takes all its fields; missing
//! fields make whole numbers floats (NaN), as no i64 stands for nothing. `true` and `false` are 1 and 0.

use std::{collections::HashMap, fs::File, io::BufReader, path::Path};

use csv::{ByteRecord, Position, Reader, ReaderBuilder, Trim, Writer};
use rhapsode_tensor::{interrupt, memory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    data::table::{Categories, Column, Table, Values},
    files,
};

/// Options of reading CSV.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CsvOptions {
    /// What stands between fields: one ASCII character. Default: a tab for `.tsv`, else a comma.
    pub delimiter: Option<String>,
    /// Whether the first line holds the names of the columns. Default: it does unless a field of it is a number.
    pub header: Option<bool>,
    /// Fields that stand for a missing value, besides the empty one. Default: `NA N/A NaN nan null None`.
    pub missing: Vec<String>,
    /// Only these columns, in this order. Default: all.
    pub columns: Option<Vec<String>>,
    /// Columns that must hold numbers: any other field in them is an error that names its line. Default: none.
    pub numbers: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: None,
            header: None,
            missing: ["NA", "N/A", "NaN", "nan", "null", "None"]
                .map(Into::into)
                .into(),
            columns: None,
            numbers: Vec::new(),
        }
    }
}

/// Rows between two remembered places of a file.
pub(crate) const STRIDE: usize = 4096;

/// What a column is, from what takes all to what takes least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Int,
    Float,
    Text,
}

/// What a first pass over a file learns.
pub(crate) struct Scan {
    /// Names, in the order of the file.
    names: Vec<String>,
    kinds: Vec<Kind>,
    /// Places of the wanted columns.
    wanted: Vec<usize>,
    /// Rows below the header.
    pub rows: usize,
    /// Where rows 0, STRIDE, 2 STRIDE, ... begin.
    places: Vec<Position>,
    delimiter: u8,
    missing: Vec<Vec<u8>>,
}

/// Reads a CSV file into a table.
///
/// Errors: a file that is not there, lines of other lengths, text that is not UTF-8, no column, unknown `columns`, a field in
/// `numbers` that is none; more than memory holds.
pub fn read(path: &Path, options: &CsvOptions) -> Result<Table> {
    let scan = Scan::new(path, options)?;
    scan.read(path, 0, scan.rows)
}

impl Scan {
    /// The first pass.
    pub fn new(path: &Path, options: &CsvOptions) -> Result<Self> {
        let delimiter = delimiter(path, options)?;
        let mut reader = open(path, delimiter)?;
        let mut record = ByteRecord::new();
        let mut start = Position::new();
        if !next(path, &mut reader, &mut record)? {
            return Err(files::damaged(path, "holds no line"));
        }
        let mut scan = Self {
            names: Vec::new(),
            kinds: vec![Kind::Int; record.len()],
            wanted: Vec::new(),
            rows: 0,
            places: Vec::new(),
            delimiter,
            missing: options
                .missing
                .iter()
                .map(|m| m.clone().into_bytes())
                .collect(),
        };
        let numeric = |field: &[u8]| !scan.is_missing(field) && kind(field) < Kind::Text;
        let has_header = options
            .header
            .unwrap_or_else(|| !record.iter().any(numeric));
        scan.names = match has_header {
            true => record
                .iter()
                .map(|f| String::from_utf8_lossy(f).into_owned())
                .collect(),
            false => (0..record.len()).map(|i| format!("x{i}")).collect(),
        };
        scan.choose(path, options)?;
        let mut more = true;
        if has_header {
            start = reader.position().clone();
            more = next(path, &mut reader, &mut record)?;
        }
        let must = |name: &String| options.numbers.contains(name);
        let must: Vec<bool> = scan.names.iter().map(must).collect();
        while more {
            if scan.rows.is_multiple_of(STRIDE) {
                interrupt::check()?;
                scan.places.push(start);
            }
            for (at, field) in record.iter().enumerate() {
                let found = match scan.is_missing(field) {
                    true => Kind::Float,
                    false => kind(field),
                };
                if found == Kind::Text && must.get(at).copied().unwrap_or(false) {
                    let name = scan.names.get(at).cloned().unwrap_or_default();
                    let line = record.position().map_or(0, Position::line);
                    let field = String::from_utf8_lossy(field);
                    let message =
                        format!("line {line}, column `{name}`: expected a number, got `{field}`");
                    return Err(files::damaged(path, message));
                }
                if let Some(kind) = scan.kinds.get_mut(at) {
                    *kind = (*kind).max(found);
                }
            }
            scan.rows += 1;
            start = reader.position().clone();
            more = next(path, &mut reader, &mut record)?;
        }
        Ok(scan)
    }

    /// Finds the wanted columns.
    fn choose(&mut self, path: &Path, options: &CsvOptions) -> Result<()> {
        let mut seen = HashMap::new();
        for (at, name) in self.names.iter().enumerate() {
            if let Some(first) = seen.insert(name, at) {
                let message = format!(
                    "columns {} and {} are both called `{name}`",
                    first + 1,
                    at + 1
                );
                return Err(files::damaged(path, message));
            }
        }
        let find = |key: &str, name: &String| {
            seen.get(name).copied().ok_or_else(|| {
                let message = format!(
                    "the file has no column `{name}`, but {}",
                    self.names.join(", ")
                );
                Error::option(key, message)
            })
        };
        options
            .numbers
            .iter()
            .try_for_each(|name| find("numbers", name).map(drop))?;
        self.wanted = match &options.columns {
            None => (0..self.names.len()).collect(),
            Some(names) if names.is_empty() => {
                return Err(Error::option("columns", "expected at least one, got none"));
            }
            Some(names) => names
                .iter()
                .map(|name| find("columns", name))
                .collect::<Result<_>>()?,
        };
        Ok(())
    }

    fn is_missing(&self, field: &[u8]) -> bool {
        field.is_empty() || self.missing.iter().any(|m| m == field)
    }

    /// The second pass: `count` rows from row `first`.
    pub fn read(&self, path: &Path, first: usize, count: usize) -> Result<Table> {
        memory::ensure(memory::count("csv", &[count, self.wanted.len()])?, 8)?;
        let mut reader = open(path, self.delimiter)?;
        let mut record = ByteRecord::new();
        if let Some(place) = self.places.get(first / STRIDE) {
            let sought = reader.seek(place.clone());
            sought.map_err(|e| broken(path, &e))?;
        }
        let mut fillers: Vec<Filler> = self
            .wanted
            .iter()
            .map(|at| Filler::new(self.kinds.get(*at), count))
            .collect();
        let skip = first % STRIDE;
        for row in 0..skip + count {
            if row.is_multiple_of(STRIDE) {
                interrupt::check()?;
            }
            if !next(path, &mut reader, &mut record)? {
                return Err(files::damaged(path, "has changed while it was read"));
            }
            if row < skip {
                continue;
            }
            for (filler, at) in fillers.iter_mut().zip(&self.wanted) {
                let field = record.get(*at).unwrap_or_default();
                filler.push((!self.is_missing(field)).then_some(field));
            }
        }
        let columns = fillers
            .into_iter()
            .zip(&self.wanted)
            .map(|(filler, at)| Column {
                name: self.names.get(*at).cloned().unwrap_or_default(),
                values: filler.done(),
            });
        Table::new(columns.collect())
    }
}

/// The values of a column as they come.
enum Filler {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Text(Vec<i64>, Categories),
}

impl Filler {
    fn new(kind: Option<&Kind>, count: usize) -> Self {
        match kind {
            Some(Kind::Int) => Filler::Int(Vec::with_capacity(count)),
            Some(Kind::Float) => Filler::Float(Vec::with_capacity(count)),
            _ => Filler::Text(Vec::with_capacity(count), Categories::default()),
        }
    }

    fn push(&mut self, field: Option<&[u8]>) {
        match self {
            Filler::Int(v) => v.push(field.and_then(int).unwrap_or(0)),
            Filler::Float(v) => v.push(field.and_then(float).unwrap_or(f64::NAN)),
            Filler::Text(v, categories) => {
                v.push(field.map_or(-1, |f| categories.code(&String::from_utf8_lossy(f))))
            }
        }
    }

    fn done(self) -> Values {
        match self {
            Filler::Int(v) => Values::Int(v),
            Filler::Float(v) => Values::Float(v),
            Filler::Text(codes, categories) => Values::Text {
                codes,
                categories: categories.names(),
            },
        }
    }
}

fn kind(field: &[u8]) -> Kind {
    match (int(field), float(field)) {
        (Some(_), _) => Kind::Int,
        (None, Some(_)) => Kind::Float,
        _ => Kind::Text,
    }
}

fn int(field: &[u8]) -> Option<i64> {
    match field {
        b"true" | b"True" | b"TRUE" => Some(1),
        b"false" | b"False" | b"FALSE" => Some(0),
        _ => std::str::from_utf8(field).ok()?.parse().ok(),
    }
}

fn float(field: &[u8]) -> Option<f64> {
    match int(field) {
        Some(int) => Some(int as f64),
        None => std::str::from_utf8(field).ok()?.parse().ok(),
    }
}

fn delimiter(path: &Path, options: &CsvOptions) -> Result<u8> {
    let is_tsv = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
    match options.delimiter.as_deref().map(str::as_bytes) {
        None if is_tsv => Ok(b'\t'),
        None => Ok(b','),
        Some([one]) if one.is_ascii() && !matches!(one, b'"' | b'\n' | b'\r') => Ok(*one),
        Some(_) => {
            let got = options.delimiter.clone().unwrap_or_default();
            Err(Error::option(
                "delimiter",
                format!("expected one ASCII character, got `{got}`"),
            ))
        }
    }
}

fn open(path: &Path, delimiter: u8) -> Result<Reader<BufReader<File>>> {
    let (file, _) = files::open(path)?;
    Ok(ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .trim(Trim::All)
        .from_reader(BufReader::with_capacity(1 << 16, file)))
}

/// The next line; whether there was one. Text that is not UTF-8 is an error.
fn next(
    path: &Path,
    reader: &mut Reader<BufReader<File>>,
    record: &mut ByteRecord,
) -> Result<bool> {
    let more = reader
        .read_byte_record(record)
        .map_err(|e| broken(path, &e))?;
    let line = record.position().map_or(0, Position::line);
    if let Some((at, _)) = record
        .iter()
        .enumerate()
        .find(|(_, f)| std::str::from_utf8(f).is_err())
    {
        return Err(files::damaged(
            path,
            format!("line {line}, field {}: is not UTF-8", at + 1),
        ));
    }
    Ok(more)
}

fn broken(path: &Path, error: &csv::Error) -> Error {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => {
            let line = pos.as_ref().map_or(0, Position::line);
            files::damaged(
                path,
                format!("line {line}: expected {expected_len} fields, got {len}"),
            )
        }
        csv::ErrorKind::Io(error) => files::failed(path, error),
        _ => files::damaged(path, error.to_string()),
    }
}

/// Writes a table with its names in the first line; a tab stands between fields for `.tsv`. Numbers are written so that
/// they come back as they were.
pub fn write(path: &Path, table: &Table) -> Result<()> {
    let delimiter = delimiter(path, &CsvOptions::default())?;
    files::write_atomic_with(path, |file| {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(delimiter)
            .from_writer(file);
        let names = table.columns().iter().map(|c| c.name.as_str());
        writer.write_record(names).map_err(std::io::Error::other)?;
        for row in 0..table.rows() {
            if row.is_multiple_of(STRIDE) && interrupt::requested() {
                return Err(std::io::Error::other("interrupted, the old file stays"));
            }
            write_row(&mut writer, table, row)?;
        }
        writer.flush()
    })
}

fn write_row<W: std::io::Write>(
    writer: &mut Writer<W>,
    table: &Table,
    row: usize,
) -> std::io::Result<()> {
    let fields = table.columns().iter().map(|c| c.values.text(row));
    writer.write_record(fields).map_err(std::io::Error::other)
}
