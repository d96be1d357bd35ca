//! `data`: what is read from files: tables, arrays, images; and streams of files that memory does not hold.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rhai::{Array, Dynamic, ImmutableString, Map, NativeCallContext};
use rhapsode_models::data::{
    FileStream, StreamOptions, Table, Values,
    format::{
        csv::{self, CsvOptions},
        idx::{self, MnistOptions},
        image::{self, ImageOptions},
        npy,
        parquet::{self, ParquetOptions},
        safetensors,
    },
};
use rhapsode_tensor::{Tensor, random::Stream};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Outcome,
    draw::{next_stream, session_dtype},
    escape, raise,
};
use crate::{
    Display,
    context::{self, lock},
    fault::{Fault, Spot},
    library::Library,
    options,
    value::{Object, type_word},
};

/// Options of reading safetensors.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct SafetensorsOptions {
    /// Give `#{ tensors, metadata }`, the metadata as a map of strings (default false).
    metadata: bool,
}

/// Rows of a table that are shown.
const SHOWN: usize = 8;

impl Object for Table {
    const NAME: &'static str = "Table";

    fn text(&self) -> String {
        let columns = cells(self);
        let width = |column: &Vec<String>| column.iter().map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = columns.iter().map(|c| width(c).unwrap_or(0)).collect();
        let mut text = format!(
            "Table of {} rows, {} columns\n",
            self.rows(),
            self.columns().len()
        );
        let height = columns.first().map_or(0, Vec::len);
        for row in 0..height {
            let line = columns.iter().zip(&widths).map(|(column, width)| {
                format!("{:>width$}", column.get(row).map_or("", String::as_str))
            });
            text.push_str(&format!("{}\n", line.collect::<Vec<_>>().join("  ")));
        }
        if self.rows() > SHOWN {
            text.push_str("…\n");
        }
        text.trim_end().to_string()
    }

    fn summary(&self) -> String {
        format!("{} rows, {} columns", self.rows(), self.columns().len())
    }

    fn bytes(&self) -> Option<u64> {
        Some((self.rows() * self.columns().len() * 8) as u64)
    }

    fn display(&self) -> Display {
        let columns = cells(self);
        let row = |row: usize, tag: &str| {
            let cells = columns.iter().map(|c| {
                format!(
                    "<{tag}>{}</{tag}>",
                    escape(c.get(row).map_or("", String::as_str))
                )
            });
            format!("<tr>{}</tr>", cells.collect::<String>())
        };
        let height = columns.first().map_or(0, Vec::len);
        let body: String = (1..height).map(|r| row(r, "td")).collect();
        let html = format!(
            "<table><thead>{}</thead><tbody>{body}</tbody></table><p>{}</p>",
            row(0, "th"),
            self.summary()
        );
        Display::text(self.text()).with("text/html", html)
    }
}

/// Of every column the name, the kind, and the first values.
fn cells(table: &Table) -> Vec<Vec<String>> {
    let column = |c: &rhapsode_models::data::Column| {
        let shown = (0..table.rows().min(SHOWN)).map(|row| match c.values.text(row) {
            empty if empty.is_empty() => "-".into(),
            text => crate::value::shorten(&text, 24),
        });
        [
            crate::value::shorten(&c.name, 24),
            c.values.kind().to_string(),
        ]
        .into_iter()
        .chain(shown)
        .collect()
    };
    table.columns().iter().map(column).collect()
}

/// Files dealt out in minibatches; clones are the same.
#[derive(Clone)]
pub(crate) struct Streamed {
    stream: Arc<Mutex<FileStream>>,
    /// The next step of a loop over one epoch, and its end.
    next: u64,
    end: u64,
}

impl Object for Streamed {
    const NAME: &'static str = "FileStream";

    fn text(&self) -> String {
        format!("FileStream of {}", self.summary())
    }

    fn summary(&self) -> String {
        let stream = lock(&self.stream);
        format!(
            "{} rows, {} batches of {} an epoch",
            stream.rows(),
            self.end,
            stream.options().batch
        )
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

impl Iterator for Streamed {
    type Item = Outcome<Dynamic>;

    fn next(&mut self) -> Option<Outcome<Dynamic>> {
        if self.next >= self.end {
            return None;
        }
        self.next += 1;
        Some(raise(lock(&self.stream).batch(self.next - 1)).map(Dynamic::from))
    }
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    tables(library);
    table_members(library);
    arrays(library);
    images(library);
    streams(library);
}

/// A path of the script.
fn path(call: &NativeCallContext, path: &str) -> Outcome<PathBuf> {
    Ok(context::of_call(call)?.path(path))
}

fn tables(library: &mut Library) {
    library.object::<Table>(
        "A table of columns: `.x` its numbers, `t[\"name\"]` a column, `.names .columns .rows .categories .missing`.",
    );
    library
        .function(
            "data::csv",
            "(path: string, options?: map) -> Table",
            r#"
            Reads a CSV file: columns of whole numbers, numbers (a missing one is NaN) or text, each of which becomes a category. An
            error names its line and column.

            ```rhai
            save(#{ a: tensor([1, 2]), b: tensor([0.5, 1.5]) }, "rhapsode-example.csv");
            let table = data::csv("rhapsode-example.csv");
            table.x.to_array() // => [[1.0, 0.5], [2.0, 1.5]]
            ```
            "#,
        )
        .options::<CsvOptions>()
        .call(|call: NativeCallContext, file: &str| -> Outcome<Table> {
            raise(csv::read(&path(&call, file)?, &CsvOptions::default()))
        })
        .call(|call: NativeCallContext, file: &str, map: Map| -> Outcome<Table> {
            raise(csv::read(&path(&call, file)?, &options::read(&map)?))
        });
    library
        .function(
            "data::parquet",
            "(path: string, options?: map) -> Table",
            r#"
            Reads a Parquet file of numbers and strings, as other programs write it (uncompressed, Snappy, gzip, Zstandard).

            ```rhai
            save(#{ a: tensor([1, 2]), b: tensor([0.5, 1.5]) }, "rhapsode-example.parquet");
            data::parquet("rhapsode-example.parquet", #{ columns: ["b"] }).x.to_array() // => [[0.5], [1.5]]
            ```
            "#,
        )
        .options::<ParquetOptions>()
        .call(|call: NativeCallContext, file: &str| -> Outcome<Table> {
            raise(parquet::read(&path(&call, file)?, &ParquetOptions::default()))
        })
        .call(|call: NativeCallContext, file: &str, map: Map| -> Outcome<Table> {
            raise(parquet::read(&path(&call, file)?, &options::read(&map)?))
        });
}

fn table_members(library: &mut Library) {
    library
        .property::<Table>(
            "x",
            "Tensor",
            "All columns of numbers, `[rows, columns]`, in the session's dtype.",
        )
        .call(
            |call: NativeCallContext, table: &mut Table| -> Outcome<Tensor> {
                raise(table.numbers(session_dtype(&call)?))
            },
        );
    library
        .property::<Table>(
            "names",
            "array",
            "The names of the columns of numbers, those of `.x`.",
        )
        .call(|table: &mut Table| -> Array { strings(table.numeric().into_iter()) });
    library
        .property::<Table>("columns", "array", "The names of all columns.")
        .call(|table: &mut Table| -> Array {
            strings(table.columns().iter().map(|c| c.name.as_str()))
        });
    library
        .property::<Table>("rows", "int", "Number of rows.")
        .call(|table: &mut Table| table.rows() as i64);
    library
        .property::<Table>(
            "categories",
            "map",
            "For every column of text its different texts: the code of a text is its place there, -1 is missing.",
        )
        .call(|table: &mut Table| -> Map {
            let of = |c: &rhapsode_models::data::Column| match &c.values {
                Values::Text { categories, .. } => {
                    let names = strings(categories.iter().map(String::as_str));
                    Some((c.name.as_str().into(), Dynamic::from_array(names)))
                }
                _ => None,
            };
            table.columns().iter().filter_map(of).collect()
        });
    library
        .property::<Table>(
            "missing",
            "map",
            "How many values of each column are missing.",
        )
        .call(|table: &mut Table| -> Map {
            let of = |c: &rhapsode_models::data::Column| {
                (
                    c.name.as_str().into(),
                    Dynamic::from(c.values.missing() as i64),
                )
            };
            table.columns().iter().map(of).collect()
        });
    library
        .index::<Table>(
            "(column: string) -> Tensor",
            "A column `[rows]`: numbers in the session's dtype, whole numbers and the codes of text as i64.",
        )
        .call(|call: NativeCallContext, table: &mut Table, name: &str| -> Outcome<Tensor> {
            raise(table.tensor(name, session_dtype(&call)?))
        });
}

fn strings<'a>(texts: impl Iterator<Item = &'a str>) -> Array {
    texts
        .map(|text| Dynamic::from(ImmutableString::from(text)))
        .collect()
}

/// Named tensors as a map.
pub(super) fn tensor_map(tensors: Vec<(String, Tensor)>) -> Map {
    tensors
        .into_iter()
        .map(|(name, t)| (name.into(), Dynamic::from(t)))
        .collect()
}

fn arrays(library: &mut Library) {
    library
        .function(
            "data::npy",
            "(path: string) -> Tensor",
            r#"
            Reads an array of NumPy, in C or Fortran order: bools as u8, whole numbers as i64 (u8 stays), floats as they are.

            ```rhai
            save(tensor([[1.0, 2.0]]), "rhapsode-example.npy");
            data::npy("rhapsode-example.npy").to_array() // => [[1.0, 2.0]]
            ```
            "#,
        )
        .call(|call: NativeCallContext, file: &str| -> Outcome<Tensor> { raise(npy::read(&path(&call, file)?)) });
    library
        .function(
            "data::npz",
            "(path: string) -> map",
            r#"
            Reads an archive of NumPy arrays, compressed or not, as a map of tensors.

            ```rhai
            save(#{ a: tensor([1, 2]) }, "rhapsode-example.npz");
            data::npz("rhapsode-example.npz").a.to_array() // => [1, 2]
            ```
            "#,
        )
        .call(|call: NativeCallContext, file: &str| -> Outcome<Map> {
            Ok(tensor_map(raise(npy::read_npz(&path(&call, file)?))?))
        });
    library
        .function(
            "data::safetensors",
            "(path: string, options?: map) -> map",
            r#"
            Reads any safetensors file as a map of tensors; f16 and bf16 come as f32.

            ```rhai
            save(#{ a: tensor([1, 2]) }, "rhapsode-example.safetensors");
            data::safetensors("rhapsode-example.safetensors").a.to_array() // => [1, 2]
            ```
            "#,
        )
        .options::<SafetensorsOptions>()
        .call(|call: NativeCallContext, file: &str| safe(&call, file, &Map::new()))
        .call(|call: NativeCallContext, file: &str, map: Map| safe(&call, file, &map));
    library
        .function(
            "data::idx",
            "(path: string) -> Tensor",
            r#"
            Reads a file in the idx format of MNIST, gzipped or not: bytes as u8.

            ```rhai,no_run
            let labels = data::idx("train-labels-idx1-ubyte.gz");
            ```
            "#,
        )
        .call(|call: NativeCallContext, file: &str| -> Outcome<Tensor> {
            raise(idx::read(&path(&call, file)?))
        });
    library
        .function(
            "data::mnist",
            "(path: string, options?: map) -> map",
            r#"
            Reads MNIST, Fashion-MNIST and the like from their folder (or their file of images), gzipped or not:
            `#{ images: Tensor [n, 1, 28, 28] in 0..1, labels: Tensor [n] }`.

            ```rhai,no_run
            let train = data::mnist("mnist");
            let test = data::mnist("mnist", #{ part: "test" });
            ```
            "#,
        )
        .options::<MnistOptions>()
        .call(|call: NativeCallContext, file: &str| mnist(&call, file, &Map::new()))
        .call(|call: NativeCallContext, file: &str, map: Map| mnist(&call, file, &map));
}

fn safe(call: &NativeCallContext, file: &str, map: &Map) -> Outcome<Map> {
    let SafetensorsOptions { metadata } = options::read(map)?;
    let contents = raise(safetensors::read(&path(call, file)?))?;
    let tensors = tensor_map(contents.tensors);
    if !metadata {
        return Ok(tensors);
    }
    let texts = contents.metadata.into_iter();
    let texts: Map = texts
        .map(|(key, text)| (key.into(), Dynamic::from(ImmutableString::from(text))))
        .collect();
    Ok([("tensors", tensors), ("metadata", texts)]
        .map(|(k, m)| (k.into(), Dynamic::from_map(m)))
        .into())
}

fn mnist(call: &NativeCallContext, file: &str, map: &Map) -> Outcome<Map> {
    let chosen: MnistOptions = options::read(map)?;
    let got = raise(idx::mnist(&path(call, file)?, &chosen))?;
    Ok([("images", got.images), ("labels", got.labels)]
        .map(|(k, t)| (k.into(), Dynamic::from(t)))
        .into())
}

fn images(library: &mut Library) {
    library
        .function(
            "data::image",
            "(path: string, options?: map) -> Tensor",
            r#"
            Reads a PNG: `[channels, height, width]` in 0..1.

            ```rhai
            save(rand([3, 4, 5]), "rhapsode-example.png");
            data::image("rhapsode-example.png").shape // => [3, 4, 5]
            ```
            "#,
        )
        .options::<ImageOptions>()
        .call(|call: NativeCallContext, file: &str| -> Outcome<Tensor> {
            raise(image::read(&path(&call, file)?, &ImageOptions::default()))
        })
        .call(
            |call: NativeCallContext, file: &str, map: Map| -> Outcome<Tensor> {
                raise(image::read(&path(&call, file)?, &options::read(&map)?))
            },
        );
    library
        .function(
            "data::images",
            "(folder: string | array of string, options?: map) -> Tensor",
            r#"
            Reads the PNGs of a folder by name, or those of a list, all of one size: `[n, channels, height, width]` in 0..1.

            ```rhai,no_run
            let faces = data::images("faces", #{ channels: 1 });
            ```
            "#,
        )
        .options::<ImageOptions>()
        .call(|call: NativeCallContext, source: Dynamic| many(&call, &source, &Map::new()))
        .call(|call: NativeCallContext, source: Dynamic, map: Map| many(&call, &source, &map));
}

fn many(call: &NativeCallContext, source: &Dynamic, map: &Map) -> Outcome<Tensor> {
    let chosen: ImageOptions = options::read(map)?;
    let files = match source.read_lock::<ImmutableString>() {
        Some(folder) => raise(image::folder(&path(call, &folder)?))?,
        None => paths(call, source)?,
    };
    raise(image::read_all(&files, &chosen))
}

/// One path or a list of them.
fn paths(call: &NativeCallContext, source: &Dynamic) -> Outcome<Vec<PathBuf>> {
    let wrong = |got: &Dynamic| {
        Fault::expected("a path or an array of paths", type_word(got.type_name()))
            .at(Spot::Argument(0))
    };
    if let Some(one) = source.read_lock::<ImmutableString>() {
        return Ok(vec![path(call, &one)?]);
    }
    let list = source.read_lock::<Array>().ok_or_else(|| wrong(source))?;
    let mut files = Vec::with_capacity(list.len());
    for item in list.iter() {
        let text = item
            .read_lock::<ImmutableString>()
            .ok_or_else(|| wrong(item))?;
        files.push(path(call, &text)?);
    }
    Ok(files)
}

fn streams(library: &mut Library) {
    library.object::<Streamed>(
        "Files dealt out in minibatches: `.at(step)`, or a loop over one epoch; `.rows`.",
    );
    library.fallible_iterator::<Streamed>();
    library
        .function(
            "data::stream",
            "(paths: string | array of string, options?: map) -> FileStream",
            r#"
            Minibatches of `.npy`, `.safetensors`, `.csv` or `.parquet` files that memory does not hold, shuffled through a buffer:
            `.at(step)` is a function of the step alone, and `for x in stream` goes through one epoch.

            ```rhai
            save(data::moons(1000), "rhapsode-stream.npy");
            let stream = data::stream("rhapsode-stream.npy", #{ batch: 100 });
            let rows = 0;
            for x in stream { rows += x.shape[0]; }
            rows // => 1000
            ```
            "#,
        )
        .options::<StreamOptions>()
        .call(|call: NativeCallContext, source: Dynamic| stream(&call, &source, &Map::new()))
        .call(|call: NativeCallContext, source: Dynamic, map: Map| stream(&call, &source, &map));
    library
        .property::<Streamed>("rows", "int", "Rows of all files together.")
        .call(|s: &mut Streamed| lock(&s.stream).rows() as i64);
    library
        .method::<Streamed>(
            "at",
            "(step: int) -> Tensor",
            "The batch of a step, counted from 0.\n\n```rhai\nsave(randn([20, 3]), \"rhapsode-stream.npy\");\ndata::stream(\"rhapsode-stream.npy\", #{ batch: 4 }).at(0).shape // => [4, 3]\n```",
        )
        .call(|s: &mut Streamed, step: i64| -> Outcome<Tensor> {
            let step = super::data::step(step)?;
            raise(lock(&s.stream).batch(step))
        });
}

fn stream(call: &NativeCallContext, source: &Dynamic, map: &Map) -> Outcome<Streamed> {
    let chosen: StreamOptions = options::read(map)?;
    let files = paths(call, source)?;
    let order = match chosen.seed {
        Some(seed) => Stream::new(seed, "stream"),
        None => next_stream(call, "stream")?,
    };
    let opened = raise(FileStream::open(
        &files,
        session_dtype(call)?,
        chosen,
        order,
    ))?;
    Ok(Streamed {
        next: 0,
        end: opened.batches(),
        stream: Arc::new(Mutex::new(opened)),
    })
}
