//! Apache Parquet: flat tables of numbers and strings, compressed by nothing, Snappy, gzip or Zstandard.
//!
//! The column readers of the `parquet` crate are used without Arrow: a column is filled straight into a vector. Bools and
//! ints become whole numbers (timestamps and dates the count that is stored), floats numbers, strings categories; nested
//! columns, decimals and raw binary are refused by name.

use std::{fs::File, path::Path, sync::Arc};

use parquet::{
    basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical},
    column::{reader::ColumnReader, writer::ColumnWriter},
    data_type::ByteArray,
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        reader::{FileReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    schema::types::{ColumnDescriptor, Type},
};
use rhapsode_tensor::{interrupt, memory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    data::table::{Categories, Column, Table, Values},
    files,
};

/// Options of reading Parquet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ParquetOptions {
    /// Only these columns, in this order. Default: all.
    pub columns: Option<Vec<String>>,
}

/// Rows written as one group.
const GROUP: usize = 1 << 17;

/// Values decoded between two looks at the interrupt.
const BLOCK: usize = 1 << 16;

/// An open file and the places of its wanted columns.
pub(crate) struct Open {
    reader: SerializedFileReader<File>,
    wanted: Vec<usize>,
    /// Rows of every group.
    pub groups: Vec<usize>,
}

/// Reads a Parquet file into a table.
///
/// Errors: a file that is not there or damaged, unknown `columns`, columns of a kind that is not read; more than memory
/// holds.
pub fn read(path: &Path, options: &ParquetOptions) -> Result<Table> {
    let open = Open::new(path, options.columns.as_deref())?;
    let groups = 0..open.groups.len();
    open.read(path, groups)
}

impl Open {
    /// Opens a file and finds its columns.
    pub fn new(path: &Path, columns: Option<&[String]>) -> Result<Self> {
        let (file, _) = files::open(path)?;
        let reader = SerializedFileReader::new(file).map_err(|e| broken(path, &e))?;
        let about = reader.metadata();
        let schema = about.file_metadata().schema_descr();
        let names: Vec<String> = schema.columns().iter().map(|c| c.path().string()).collect();
        let find = |name: &String| {
            names.iter().position(|n| n == name).ok_or_else(|| {
                let message = format!("the file has no column `{name}`, but {}", names.join(", "));
                Error::option("columns", message)
            })
        };
        let wanted: Vec<usize> = match columns {
            None => (0..names.len()).collect(),
            Some([]) => return Err(Error::option("columns", "expected at least one, got none")),
            Some(columns) => columns.iter().map(find).collect::<Result<_>>()?,
        };
        for at in &wanted {
            check(path, &schema.column(*at))?;
        }
        let rows =
            |g: &parquet::file::metadata::RowGroupMetaData| usize::try_from(g.num_rows()).ok();
        let groups = about
            .row_groups()
            .iter()
            .map(rows)
            .collect::<Option<Vec<_>>>();
        let groups =
            groups.ok_or_else(|| files::damaged(path, "claims a negative number of rows"))?;
        Ok(Self {
            reader,
            wanted,
            groups,
        })
    }

    /// The rows of some groups.
    pub fn read(&self, path: &Path, groups: std::ops::Range<usize>) -> Result<Table> {
        let sizes = self.groups.get(groups.clone()).unwrap_or(&[]);
        let rows = sizes.iter().fold(0usize, |sum, n| sum.saturating_add(*n));
        memory::ensure(memory::count("parquet", &[rows, self.wanted.len()])?, 16)?;
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let mut columns = Vec::with_capacity(self.wanted.len());
        for at in &self.wanted {
            let about = schema.column(*at);
            let mut filler = Filler::default();
            for group in groups.clone() {
                let group = self
                    .reader
                    .get_row_group(group)
                    .map_err(|e| broken(path, &e))?;
                let reader = group.get_column_reader(*at).map_err(|e| broken(path, &e))?;
                filler.fill(path, reader, &about)?;
            }
            let name = about.path().string();
            if filler.rows() != rows {
                let message = format!("column `{name}` has {} rows of {rows}", filler.rows());
                return Err(files::damaged(path, message));
            }
            columns.push(Column {
                name,
                values: filler.done(),
            });
        }
        Table::new(columns)
    }
}

/// Refuses columns that are nothing for a tensor.
fn check(path: &Path, about: &ColumnDescriptor) -> Result<()> {
    let refuse = |what: &str| {
        let name = about.path().string();
        Err(files::damaged(
            path,
            format!("column `{name}` {what}, which is not read"),
        ))
    };
    if about.max_rep_level() > 0 || about.path().parts().len() > 1 {
        return refuse("is nested");
    }
    if matches!(about.logical_type_ref(), Some(LogicalType::Decimal(..)))
        || about.converted_type() == ConvertedType::DECIMAL
    {
        return refuse("holds decimals (write them as doubles)");
    }
    match about.physical_type() {
        Physical::INT96 => refuse("holds 96-bit timestamps"),
        Physical::FIXED_LEN_BYTE_ARRAY => refuse("holds raw bytes"),
        Physical::BYTE_ARRAY => match (about.logical_type_ref(), about.converted_type()) {
            (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _) => Ok(()),
            (_, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON) => Ok(()),
            _ => refuse("holds raw bytes"),
        },
        _ => Ok(()),
    }
}

/// The values of a column as they come, one vector used.
#[derive(Default)]
struct Filler {
    ints: Vec<Option<i64>>,
    floats: Vec<f64>,
    codes: Vec<i64>,
    categories: Categories,
    kind: Option<Physical>,
}

impl Filler {
    fn rows(&self) -> usize {
        self.ints.len() + self.floats.len() + self.codes.len()
    }

    fn fill(&mut self, path: &Path, reader: ColumnReader, about: &ColumnDescriptor) -> Result<()> {
        self.kind = Some(about.physical_type());
        let unsigned = matches!(
            about.converted_type(),
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32
        );
        if about.converted_type() == ConvertedType::UINT_64 {
            let message = format!(
                "column `{}` holds unsigned 64-bit ints, which is not read",
                about.path().string()
            );
            return Err(files::damaged(path, message));
        }
        let nullable = about.max_def_level() > 0;
        match reader {
            ColumnReader::BoolColumnReader(r) => each(path, r, nullable, |v: Option<bool>| {
                self.ints.push(v.map(i64::from))
            }),
            ColumnReader::Int32ColumnReader(r) => each(path, r, nullable, |v: Option<i32>| {
                let wide = |v: i32| {
                    if unsigned {
                        i64::from(v as u32)
                    } else {
                        i64::from(v)
                    }
                };
                self.ints.push(v.map(wide));
            }),
            ColumnReader::Int64ColumnReader(r) => {
                each(path, r, nullable, |v: Option<i64>| self.ints.push(v))
            }
            ColumnReader::FloatColumnReader(r) => each(path, r, nullable, |v: Option<f32>| {
                self.floats.push(v.map_or(f64::NAN, f64::from))
            }),
            ColumnReader::DoubleColumnReader(r) => each(path, r, nullable, |v: Option<f64>| {
                self.floats.push(v.unwrap_or(f64::NAN))
            }),
            ColumnReader::ByteArrayColumnReader(r) => {
                each(path, r, nullable, |v: Option<ByteArray>| {
                    let code = v.map_or(-1, |text| {
                        self.categories.code(&String::from_utf8_lossy(text.data()))
                    });
                    self.codes.push(code);
                })
            }
            _ => Err(files::damaged(
                path,
                "holds a column of a kind that is not read",
            )),
        }
    }

    fn done(self) -> Values {
        match self.kind {
            Some(Physical::FLOAT | Physical::DOUBLE) => Values::Float(self.floats),
            Some(Physical::BYTE_ARRAY) => Values::Text {
                codes: self.codes,
                categories: self.categories.names(),
            },
            _ => match self.ints.iter().copied().collect::<Option<Vec<i64>>>() {
                Some(ints) => Values::Int(ints),
                None => Values::Float(
                    self.ints
                        .iter()
                        .map(|v| v.map_or(f64::NAN, |v| v as f64))
                        .collect(),
                ),
            },
        }
    }
}

/// Calls `push` for every row of a column chunk; a null is `None`.
fn each<T: parquet::data_type::DataType>(
    path: &Path,
    mut reader: parquet::column::reader::ColumnReaderImpl<T>,
    nullable: bool,
    mut push: impl FnMut(Option<T::T>),
) -> Result<()> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    loop {
        interrupt::check()?;
        values.clear();
        levels.clear();
        let definition = nullable.then_some(&mut levels);
        let read = reader.read_records(BLOCK, definition, None, &mut values);
        let (records, ..) = read.map_err(|e| broken(path, &e))?;
        if records == 0 {
            return Ok(());
        }
        let mut present = values.drain(..);
        match nullable {
            true => levels
                .iter()
                .for_each(|level| push((*level > 0).then(|| present.next()).flatten())),
            false => present.by_ref().for_each(|v| push(Some(v))),
        }
    }
}

fn broken(path: &Path, error: &ParquetError) -> Error {
    files::damaged(path, format!("not a whole Parquet file ({error})"))
}

/// Writes a table: doubles, 64-bit ints and strings, a missing string as null, in groups of 131,072 rows compressed by
/// Snappy.
pub fn write(path: &Path, table: &Table) -> Result<()> {
    let schema = schema(table).map_err(|e| broken(path, &e))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    files::write_atomic_with(path, |file| {
        let write = || -> Result<(), ParquetError> {
            let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
            for first in (0..table.rows()).step_by(GROUP) {
                if interrupt::requested() {
                    return Err(ParquetError::General(
                        "interrupted, the old file stays".into(),
                    ));
                }
                let rows = first..table.rows().min(first + GROUP);
                let mut group = writer.next_row_group()?;
                let mut columns = table.columns().iter();
                while let (Some(mut into), Some(column)) = (group.next_column()?, columns.next()) {
                    write_column(into.untyped(), &column.values, rows.clone())?;
                    into.close()?;
                }
                group.close()?;
            }
            writer.close().map(drop)
        };
        write().map_err(std::io::Error::other)
    })
}

fn schema(table: &Table) -> Result<Arc<Type>, ParquetError> {
    let field = |column: &Column| {
        let (physical, repetition, logical) = match column.values {
            Values::Float(_) => (Physical::DOUBLE, Repetition::REQUIRED, None),
            Values::Int(_) => (Physical::INT64, Repetition::REQUIRED, None),
            Values::Text { .. } => (
                Physical::BYTE_ARRAY,
                Repetition::OPTIONAL,
                Some(LogicalType::String),
            ),
        };
        let field = Type::primitive_type_builder(&column.name, physical);
        let field = field.with_repetition(repetition).with_logical_type(logical);
        field.build().map(Arc::new)
    };
    let fields = table
        .columns()
        .iter()
        .map(field)
        .collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("schema")
        .with_fields(fields)
        .build()
        .map(Arc::new)
}

fn write_column(
    into: &mut ColumnWriter,
    values: &Values,
    rows: std::ops::Range<usize>,
) -> Result<(), ParquetError> {
    match (into, values) {
        (ColumnWriter::DoubleColumnWriter(w), Values::Float(v)) => {
            w.write_batch(v.get(rows).unwrap_or(&[]), None, None)?;
        }
        (ColumnWriter::Int64ColumnWriter(w), Values::Int(v)) => {
            w.write_batch(v.get(rows).unwrap_or(&[]), None, None)?;
        }
        (ColumnWriter::ByteArrayColumnWriter(w), Values::Text { codes, categories }) => {
            let codes = codes.get(rows).unwrap_or(&[]);
            let texts = codes
                .iter()
                .filter_map(|c| categories.get(usize::try_from(*c).ok()?));
            let texts: Vec<ByteArray> = texts.map(|t| ByteArray::from(t.as_str())).collect();
            let levels: Vec<i16> = codes.iter().map(|c| i16::from(*c >= 0)).collect();
            w.write_batch(&texts, Some(&levels), None)?;
        }
        _ => return Err(ParquetError::General("a column changed its kind".into())),
    }
    Ok(())
}
