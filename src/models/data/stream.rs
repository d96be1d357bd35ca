//! Minibatches of data that memory does not hold: rows are read from the files in pieces.
//!
//! An epoch goes through all rows once. The files are cut into pieces of up to [`PIECE`] consecutive rows; an epoch
//! permutes the pieces, fills a window (the shuffle buffer) with as many as it holds, permutes the rows of the window and
//! deals them out, then takes the next. All of that is a function of the stream and the step alone, so that a training
//! goes on at step 500 as if it had never stopped, as with [`Batches`](super::Batches).

use std::{
    fs::File,
    io::{Seek, SeekFrom},
    path::{Path, PathBuf},
};

use rhapsode_tensor::{DType, Tensor, interrupt, memory, random};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format::{
    csv::{self, CsvOptions},
    npy, parquet,
    raw::{self, Element, about},
    safetensors,
};
use crate::{Error, Result, files};

/// Rows that are read together; also those of CSV between two remembered places.
pub const PIECE: usize = csv::STRIDE;

/// Options of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamOptions {
    /// Rows a batch, at least 1. Default: 256.
    pub batch: usize,
    /// Rows of the shuffle buffer, which memory must hold; at least 1. Default: 65,536.
    pub buffer: usize,
    /// Whether rows are shuffled; else they come in the order of the files. Default: true.
    pub shuffle: bool,
    /// Whether an epoch leaves out the rows that do not fill its last batch; else the batch goes on with the next
    /// epoch. Default: false.
    pub drop_last: bool,
    /// Which tensor of safetensors files. Default: the only one.
    pub tensor: Option<String>,
    /// Which columns of CSV and Parquet files; they must hold numbers. Default: all columns of numbers.
    pub columns: Option<Vec<String>>,
    /// The seed of the order. Default: the session's next draw.
    pub seed: Option<u64>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            batch: 256,
            buffer: 1 << 16,
            shuffle: true,
            drop_last: false,
            tensor: None,
            columns: None,
            seed: None,
        }
    }
}

/// Where rows come from.
enum Source {
    /// Elements of one size after each other: npy and safetensors.
    Plain {
        file: File,
        element: Element,
        big_endian: bool,
        /// Of a row.
        shape: Vec<usize>,
        start: u64,
    },
    Csv(csv::Scan),
    Parquet {
        open: parquet::Open,
        /// The group that was read last.
        last: Option<(usize, Tensor)>,
    },
}

/// One file.
struct Part {
    path: PathBuf,
    rows: usize,
    source: Source,
}

/// Consecutive rows of a file.
#[derive(Clone, Copy, Debug)]
struct Piece {
    part: usize,
    first: usize,
    count: usize,
}

/// Rows of files, dealt out in minibatches; see the module.
pub struct FileStream {
    parts: Vec<Part>,
    pieces: Vec<Piece>,
    rows: usize,
    dtype: DType,
    options: StreamOptions,
    order: random::Stream,
    /// The window read last: its epoch and number, and its rows in the order of dealing.
    window: Option<(u64, usize, Tensor)>,
    /// The pieces of the epoch looked at last, by window.
    plan: Option<(u64, Vec<Vec<Piece>>)>,
}

impl FileStream {
    /// Opens files of one kind of rows: `.npy`, `.safetensors`, `.csv`, `.tsv`, `.parquet`. Rows of tables are
    /// `[columns]` in `dtype`; those of arrays keep their shape and type. CSV files are read once to find their rows.
    ///
    /// Errors: no file, none of these endings, rows of different shapes, text in a column, and as the readers.
    pub fn open(
        paths: &[PathBuf],
        dtype: DType,
        options: StreamOptions,
        stream: random::Stream,
    ) -> Result<Self> {
        for (key, number) in [("batch", options.batch), ("buffer", options.buffer)] {
            if number == 0 {
                return Err(Error::option(key, "expected at least 1, got 0"));
            }
        }
        let mut parts = Vec::with_capacity(paths.len());
        for path in paths {
            interrupt::check()?;
            parts.push(Part::open(path, &options)?);
        }
        let mut pieces = Vec::new();
        for (part, about) in parts.iter().enumerate() {
            for first in (0..about.rows).step_by(PIECE) {
                pieces.push(Piece {
                    part,
                    first,
                    count: PIECE.min(about.rows - first),
                });
            }
        }
        let rows = parts.iter().map(|p| p.rows).sum();
        if rows == 0 {
            return Err(Error::Value {
                what: "stream",
                message: "expected at least one row, got none".into(),
            });
        }
        if options.drop_last && options.batch > rows {
            let message = format!(
                "expected at most the {rows} rows of an epoch with `drop_last`, got {}",
                options.batch
            );
            return Err(Error::option("batch", message));
        }
        let order = random::Stream::new(stream.seed(), "stream");
        let mut opened = Self {
            parts,
            pieces,
            rows,
            dtype,
            options,
            order,
            window: None,
            plan: None,
        };
        opened.check_rows()?;
        Ok(opened)
    }

    /// The rows of all files must go together.
    fn check_rows(&mut self) -> Result<()> {
        let mut first: Option<(DType, Vec<usize>)> = None;
        for at in 0..self.parts.len() {
            let Some(part) = self.parts.get_mut(at) else {
                continue;
            };
            if part.rows == 0 {
                continue;
            }
            let row = part.read(0, 1, self.dtype)?;
            let kind = (row.dtype(), row.dims().get(1..).unwrap_or(&[]).to_vec());
            match &first {
                Some(known) if *known != kind => {
                    let message = format!(
                        "rows are {} of shape {:?}, those of the first file {} of {:?}",
                        kind.0.as_str(),
                        kind.1,
                        known.0.as_str(),
                        known.1
                    );
                    return Err(files::damaged(&part.path, message));
                }
                Some(_) => {}
                None => first = Some(kind),
            }
        }
        Ok(())
    }

    /// Rows of all files together.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The options.
    pub fn options(&self) -> &StreamOptions {
        &self.options
    }

    /// Batches of an epoch, the last one cut off or filled up.
    pub fn batches(&self) -> u64 {
        match self.options.drop_last {
            true => (self.rows / self.options.batch) as u64,
            false => self.rows.div_ceil(self.options.batch) as u64,
        }
    }

    /// The batch of a step, counted from 0: `[batch, ..]`.
    pub fn batch(&mut self, step: u64) -> Result<Tensor> {
        let batch = self.options.batch;
        let (mut epoch, mut at) = if self.options.drop_last {
            let per_epoch = self.batches().max(1);
            (step / per_epoch, (step % per_epoch) as usize * batch)
        } else {
            let place = u128::from(step) * batch as u128;
            (
                (place / self.rows as u128) as u64,
                (place % self.rows as u128) as usize,
            )
        };
        let mut taken = Vec::new();
        let mut left = batch;
        while left > 0 {
            let (window, offset) = self.window_at(epoch, at)?;
            let rows = self.load(epoch, window)?;
            let count = left.min(rows.dims().first().copied().unwrap_or(0) - offset);
            taken.push(rows.narrow(0, offset, count)?);
            left -= count;
            at += count;
            if at >= self.rows {
                (epoch, at) = (epoch.wrapping_add(1), 0);
            }
        }
        match taken.as_slice() {
            [one] => Ok(one.contiguous()?),
            several => Ok(Tensor::cat(&several.iter().collect::<Vec<_>>(), 0)?),
        }
    }

    /// The window that holds a place of an epoch, and the place in it.
    fn window_at(&mut self, epoch: u64, place: usize) -> Result<(usize, usize)> {
        let mut before = 0;
        for (number, pieces) in self.plan(epoch)?.iter().enumerate() {
            let rows: usize = pieces.iter().map(|p| p.count).sum();
            if place < before + rows {
                return Ok((number, place - before));
            }
            before += rows;
        }
        Err(Error::Value {
            what: "stream",
            message: format!("place {place} is behind the end of an epoch"),
        })
    }

    /// The windows of an epoch.
    fn plan(&mut self, epoch: u64) -> Result<&[Vec<Piece>]> {
        if self.plan.as_ref().is_none_or(|(known, _)| *known != epoch) {
            let mut pieces = self.pieces.clone();
            if self.options.shuffle {
                let order = self.order.at(epoch).permutation(pieces.len());
                pieces = order
                    .iter()
                    .filter_map(|i| self.pieces.get(*i).copied())
                    .collect();
            }
            let mut windows: Vec<Vec<Piece>> = Vec::new();
            let mut room = 0;
            for piece in pieces {
                // A piece is cut where the window is full.
                let mut piece = piece;
                while piece.count > 0 {
                    if room == 0 {
                        windows.push(Vec::new());
                        room = self.options.buffer;
                    }
                    let count = piece.count.min(room);
                    if let Some(window) = windows.last_mut() {
                        window.push(Piece { count, ..piece });
                    }
                    room -= count;
                    piece.first += count;
                    piece.count -= count;
                }
            }
            self.plan = Some((epoch, windows));
        }
        Ok(self.plan.as_ref().map_or(&[], |(_, windows)| windows))
    }

    /// Reads a window, its rows in the order of dealing.
    fn load(&mut self, epoch: u64, number: usize) -> Result<Tensor> {
        if let Some((e, n, rows)) = &self.window
            && (*e, *n) == (epoch, number)
        {
            return Ok(rows.clone());
        }
        // The old one goes before the new one comes.
        self.window = None;
        let pieces = self.plan(epoch)?.get(number).cloned().unwrap_or_default();
        let mut blocks = Vec::with_capacity(pieces.len());
        for piece in pieces {
            interrupt::check()?;
            if let Some(part) = self.parts.get_mut(piece.part) {
                blocks.push(part.read(piece.first, piece.count, self.dtype)?);
            }
        }
        let mut rows = match blocks.as_slice() {
            [one] => one.clone(),
            several => Tensor::cat(&several.iter().collect::<Vec<_>>(), 0)?,
        };
        if self.options.shuffle {
            let count = rows.dims().first().copied().unwrap_or(0);
            let purpose = random::Stream::new(self.order.at(epoch).seed(), "window");
            let order = purpose.at(number as u64).permutation(count);
            let order = Tensor::from_vec(order.iter().map(|i| *i as i64).collect(), &[count])?;
            rows = rows.index_select(0, &order)?;
        }
        self.window = Some((epoch, number, rows.clone()));
        Ok(rows)
    }
}

impl Part {
    fn open(path: &Path, options: &StreamOptions) -> Result<Self> {
        let ending = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let (rows, source) = match ending.as_str() {
            "npy" => {
                let (file, header) = npy::open(path)?;
                let (element, big_endian, start) =
                    (header.element, header.big_endian, header.start);
                plain(path, file, element, big_endian, &header.shape, start)?
            }
            "safetensors" => {
                let (file, element, shape, start) =
                    safetensors::open_rows(path, options.tensor.as_deref())?;
                plain(path, file, element, false, &shape, start)?
            }
            "csv" | "tsv" => {
                let chosen = CsvOptions {
                    columns: options.columns.clone(),
                    numbers: options.columns.clone().unwrap_or_default(),
                    ..Default::default()
                };
                let scan = csv::Scan::new(path, &chosen)?;
                (scan.rows, Source::Csv(scan))
            }
            "parquet" => {
                let open = parquet::Open::new(path, options.columns.as_deref())?;
                (
                    open.groups.iter().sum(),
                    Source::Parquet { open, last: None },
                )
            }
            _ => {
                let message =
                    "is none of .npy, .safetensors, .csv, .tsv, .parquet, which can be streamed";
                return Err(files::damaged(path, message));
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            rows,
            source,
        })
    }

    /// `count` rows from row `first`.
    fn read(&mut self, first: usize, count: usize, dtype: DType) -> Result<Tensor> {
        let path = &self.path;
        match &mut self.source {
            Source::Plain {
                file,
                element,
                big_endian,
                shape,
                start,
            } => {
                let size = element.size() * shape.iter().product::<usize>();
                let place = *start + first as u64 * size as u64;
                file.seek(SeekFrom::Start(place))
                    .map_err(|e| files::failed(path, &e))?;
                let bytes = raw::exactly(file, memory::count("stream", &[count, size])?);
                let bytes = bytes.map_err(|m| about(path, m))?;
                let shape: Vec<usize> = [&[count], shape.as_slice()].concat();
                element
                    .tensor(&bytes, *big_endian, &shape)
                    .map_err(|m| about(path, m))
            }
            Source::Csv(scan) => numbers(path, &scan.read(path, first, count)?, dtype),
            Source::Parquet { open, last } => {
                let (mut before, mut blocks) = (0, Vec::new());
                for (group, rows) in open.groups.iter().copied().enumerate() {
                    let (from, to) = (first.max(before), (first + count).min(before + rows));
                    if from < to {
                        if last.as_ref().is_none_or(|(known, _)| *known != group) {
                            *last = Some((
                                group,
                                numbers(path, &open.read(path, group..group + 1)?, dtype)?,
                            ));
                        }
                        if let Some((_, rows)) = last {
                            blocks.push(rows.narrow(0, from - before, to - from)?);
                        }
                    }
                    before += rows;
                }
                Ok(Tensor::cat(&blocks.iter().collect::<Vec<_>>(), 0)?)
            }
        }
    }
}

fn plain(
    path: &Path,
    file: File,
    element: Element,
    big_endian: bool,
    shape: &[usize],
    start: u64,
) -> Result<(usize, Source)> {
    let Some((&rows, shape)) = shape.split_first() else {
        return Err(files::damaged(path, "holds a single number, no rows"));
    };
    Ok((
        rows,
        Source::Plain {
            file,
            element,
            big_endian,
            shape: shape.to_vec(),
            start,
        },
    ))
}

/// The columns of numbers of a table.
fn numbers(path: &Path, table: &super::Table, dtype: DType) -> Result<Tensor> {
    if table.numeric().is_empty() {
        return Err(files::damaged(path, "has no column of numbers"));
    }
    table.numbers(dtype)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        Table,
        format::{csv, parquet},
    };

    fn folder(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("rhapsode-stream-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Two files of `[n, 2]` in one format, whose first column counts the rows.
    fn write(folder: &Path, ending: &str, sizes: [usize; 2]) -> Vec<PathBuf> {
        let mut next = 0;
        sizes
            .into_iter()
            .enumerate()
            .map(|(i, n)| {
                let values = (next..next + n)
                    .flat_map(|r| [r as f32, -(r as f32)])
                    .collect();
                next += n;
                let x = Tensor::from_vec(values, &[n, 2]).unwrap();
                let path = folder.join(format!("{i}.{ending}"));
                match ending {
                    "npy" => npy::write(&path, &x).unwrap(),
                    "csv" => csv::write(&path, &Table::of_tensor(&x).unwrap()).unwrap(),
                    "parquet" => parquet::write(&path, &Table::of_tensor(&x).unwrap()).unwrap(),
                    _ => crate::checkpoint::Checkpoint {
                        kind: "tensors".into(),
                        options: serde_json::Value::Null,
                        tensors: vec![("x".into(), x)],
                    }
                    .save(&path)
                    .unwrap(),
                }
                path
            })
            .collect()
    }

    fn open(paths: &[PathBuf], options: StreamOptions) -> Result<FileStream> {
        FileStream::open(paths, DType::F32, options, random::Stream::new(0, "order"))
    }

    fn first_column(x: &Tensor) -> Vec<f64> {
        x.narrow(1, 0, 1).unwrap().to_vec().unwrap()
    }

    #[test]
    fn every_format_gives_every_row_once_an_epoch_and_a_step_is_the_same_after_any_other() {
        let mut orders = Vec::new();
        for ending in ["npy", "safetensors", "csv", "parquet"] {
            let folder = folder(ending);
            let (n, batch) = (9001, 1000);
            let paths = write(&folder, ending, [5000, 4001]);
            let options = StreamOptions {
                batch,
                buffer: 3000,
                ..Default::default()
            };
            let mut stream = open(&paths, options.clone()).unwrap();
            assert_eq!((stream.rows(), stream.batches()), (n, 10));
            let steps: Vec<Vec<f64>> = (0..19)
                .map(|s| first_column(&stream.batch(s).unwrap()))
                .collect();
            let chain = steps.concat();
            for epoch in chain.chunks_exact(n) {
                let mut sorted = epoch.to_vec();
                sorted.sort_unstable_by(f64::total_cmp);
                assert!(sorted.into_iter().eq((0..n).map(|i| i as f64)), "{ending}");
                assert!(!epoch.is_sorted());
            }
            assert_ne!(chain[..n], chain[n..2 * n], "epochs must differ");
            let mut jumping = open(&paths, options).unwrap();
            for step in [18, 0, 9, 10, 3] {
                assert_eq!(
                    first_column(&jumping.batch(step).unwrap()),
                    steps[step as usize],
                    "{ending} {step}"
                );
            }
            let x = jumping.batch(4).unwrap();
            let sum = x.sum_all().unwrap().item().unwrap();
            assert_eq!(sum, 0.0, "rows stay whole");
            orders.push(chain);
            std::fs::remove_dir_all(folder).unwrap();
        }
        assert!(
            orders.windows(2).all(|w| w[0] == w[1]),
            "the order does not depend on the format"
        );
    }

    #[test]
    fn without_shuffling_rows_come_in_order_and_drop_last_leaves_the_rest_out() {
        let folder = folder("order");
        let paths = write(&folder, "npy", [7, 5]);
        let options = StreamOptions {
            batch: 5,
            shuffle: false,
            drop_last: true,
            ..Default::default()
        };
        let mut stream = open(&paths, options).unwrap();
        assert_eq!(stream.batches(), 2);
        for step in [0, 2] {
            assert_eq!(
                first_column(&stream.batch(step).unwrap()),
                [0.0, 1.0, 2.0, 3.0, 4.0]
            );
            assert_eq!(
                first_column(&stream.batch(step + 1).unwrap()),
                [5.0, 6.0, 7.0, 8.0, 9.0]
            );
        }
        // A batch over several epochs.
        let options = StreamOptions {
            batch: 30,
            shuffle: false,
            ..Default::default()
        };
        let long = first_column(&open(&paths, options).unwrap().batch(0).unwrap());
        assert_eq!(
            (long.len(), long[11], long[12], long[29]),
            (30, 11.0, 0.0, 5.0)
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_streamed_is_an_error() {
        let folder = folder("errors");
        let message = |paths: &[PathBuf], options| open(paths, options).err().unwrap().to_string();
        let zero = StreamOptions {
            batch: 0,
            ..Default::default()
        };
        assert_eq!(
            message(&[], zero),
            "option `batch`: expected at least 1, got 0"
        );
        assert_eq!(
            message(&[], StreamOptions::default()),
            "stream: expected at least one row, got none"
        );
        assert!(
            message(&[folder.join("a.txt")], StreamOptions::default())
                .contains("which can be streamed")
        );
        let mut paths = write(&folder, "npy", [3, 2]);
        let odd = folder.join("odd.npy");
        npy::write(&odd, &Tensor::zeros(&[2, 3], DType::F32).unwrap()).unwrap();
        paths.push(odd);
        assert!(
            message(&paths, StreamOptions::default())
                .contains("rows are f32 of shape [3], those of the first file f32 of [2]")
        );
        let large = StreamOptions {
            batch: 6,
            drop_last: true,
            ..Default::default()
        };
        assert!(
            message(&paths[..2], large).starts_with("option `batch`: expected at most the 5 rows")
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
