//! Every reader against files of other programs, its own writer, and damage.
//!
//! The fixtures were written by NumPy 2 (`savez_compressed`) and PyArrow (zstd with pages of version 1; Snappy with
//! version 2); what is in them stands in the tests.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use rhapsode_tensor::{DType, Tensor, random::Stream};

use super::{
    csv::{self, CsvOptions},
    idx::{self, MnistOptions, Part},
    image::{self, ImageOptions},
    npy,
    parquet::{self, ParquetOptions},
    safetensors,
};
use crate::{
    Error,
    checkpoint::Checkpoint,
    data::{Column, Table, Values},
    files,
};

/// A folder of a test's own, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("rhapsode-format-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        files::write_atomic(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn message<T>(result: crate::Result<T>) -> String {
    match result.err().unwrap() {
        Error::Io { message, .. } => message,
        other => other.to_string(),
    }
}

fn ints(values: &[i64], shape: &[usize]) -> Tensor {
    Tensor::from_vec(values.to_vec(), shape).unwrap()
}

const NPZ: &[u8] = include_bytes!("fixtures/numpy.npz");
const PARQUET: &[u8] = include_bytes!("fixtures/pyarrow.parquet");
const PAGES2: &[u8] = include_bytes!("fixtures/pages2.parquet");

#[test]
fn a_compressed_npz_of_numpy() {
    let folder = Folder::new("npz");
    let arrays = npy::read_npz(&folder.file("a.npz", NPZ)).unwrap();
    let want: [(&str, &[usize], DType, &[f64]); 7] = [
        // In Fortran order on disk.
        ("f", &[2, 3], DType::F64, &[0.0, 0.25, 0.5, 0.75, 1.0, 1.25]),
        // Big-endian.
        ("i", &[2, 2], DType::I64, &[1.0, -2.0, 3.0, 1_048_576.0]),
        ("b", &[3], DType::U8, &[1.0, 0.0, 1.0]),
        ("h", &[3], DType::F32, &[0.5, -2.0, 65504.0]),
        ("u", &[2], DType::I64, &[0.0, 65535.0]),
        ("s", &[], DType::F32, &[1.5]),
        ("e", &[0, 3], DType::F64, &[]),
    ];
    assert_eq!(arrays.len(), want.len());
    for ((name, array), (want_name, shape, dtype, values)) in arrays.iter().zip(want) {
        assert_eq!(
            (name.as_str(), array.dims(), array.dtype()),
            (want_name, shape, dtype)
        );
        assert_eq!(array.to_vec().unwrap(), values, "{name}");
    }
    // Written again and read again.
    let path = folder.0.join("b.npz");
    npy::write_npz(&path, &arrays).unwrap();
    let again = npy::read_npz(&path).unwrap();
    for ((name, a), (other, b)) in arrays.iter().zip(&again) {
        assert_eq!(
            (name, a.dims(), a.to_vec().unwrap()),
            (other, b.dims(), b.to_vec().unwrap())
        );
    }
}

#[test]
fn npy_files_say_what_is_wrong_with_them() {
    let folder = Folder::new("npy");
    let path = folder.0.join("x.npy");
    let x = Stream::new(0, "x").randn(&[3, 4], DType::F32).unwrap();
    npy::write(&path, &x).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(
        bytes.len(),
        128 + 48,
        "the elements begin at a multiple of 64"
    );
    assert_eq!(
        npy::read(&path).unwrap().to_vec().unwrap(),
        x.to_vec().unwrap()
    );
    let with = |bytes: &[u8]| message(npy::read(&folder.file("y.npy", bytes)));
    assert_eq!(
        with(&bytes[..170]),
        "ends too early: 48 bytes of data expected"
    );
    assert_eq!(
        with(&[&bytes[..], b"x"].concat()),
        "has bytes behind its [3, 4] elements (177 in all)"
    );
    assert_eq!(with(b"not numpy at all"), "is not an npy file");
    let edit = |from: &str, to: &str| {
        let mut text = bytes.clone();
        let at = text
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .unwrap();
        text.splice(at..at + from.len(), to.bytes());
        with(&text)
    };
    assert_eq!(
        edit("<f4", "<c8"),
        "holds elements of type `<c8`, which is not read (numbers and bools are)"
    );
    assert!(edit("3, 4", "9, 4").contains("144 bytes"));
    // Claims of more than there can be cost nothing.
    assert!(
        edit("(3, 4), }     ", "(3000000000,)}").starts_with("ends too early")
            || available_is_small()
    );
    assert!(
        edit("(3, 4), }               ", "(3, 4000000000000000000)")
            .contains("more elements than memory can address")
    );
    assert_eq!(
        message(npy::read(&folder.0.join("none"))),
        "no such file or folder"
    );
    assert_eq!(message(npy::read(&folder.0)), "is a folder");
}

/// 12 GB may not be there: then the claim is refused even earlier.
fn available_is_small() -> bool {
    rhapsode_tensor::memory::available() < 13 << 30
}

#[test]
fn csv_columns_find_their_types() {
    let folder = Folder::new("csv");
    let text = "id,score,name,ok\n1,0.5,\"a, b\",true\n2,,b,false\n\n3,NA,\"a, b\",true\n";
    let path = folder.file("t.csv", text.as_bytes());
    let table = csv::read(&path, &CsvOptions::default()).unwrap();
    let kinds: Vec<_> = table
        .columns()
        .iter()
        .map(|c| (c.name.as_str(), c.values.kind(), c.values.missing()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("id", "int", 0),
            ("score", "float", 2),
            ("name", "text", 0),
            ("ok", "int", 0)
        ]
    );
    let Values::Text { codes, categories } = &table.columns()[2].values else {
        panic!()
    };
    assert_eq!(
        (codes.as_slice(), categories.as_slice()),
        (&[0, 1, 0][..], &["a, b".to_string(), "b".into()][..])
    );
    // Written and read again: the same table.
    let again = folder.0.join("again.tsv");
    csv::write(&again, &table).unwrap();
    let other = csv::read(&again, &CsvOptions::default()).unwrap();
    assert_eq!(format!("{table:?}"), format!("{other:?}"));
    assert!(
        std::fs::read_to_string(&again)
            .unwrap()
            .starts_with("id\tscore")
    );
    let chosen = CsvOptions {
        columns: Some(vec!["ok".into(), "id".into()]),
        ..Default::default()
    };
    let some = csv::read(&path, &chosen).unwrap();
    assert_eq!(
        some.numbers(DType::F64).unwrap().to_vec().unwrap(),
        [1.0, 1.0, 0.0, 2.0, 1.0, 3.0]
    );
    // Numbers without a header.
    let plain = folder.file("p.csv", b"1;2\n3;4.5\n");
    let semicolon = CsvOptions {
        delimiter: Some(";".into()),
        ..Default::default()
    };
    let table = csv::read(&plain, &semicolon).unwrap();
    assert_eq!((table.rows(), table.numeric()), (2, vec!["x0", "x1"]));
}

#[test]
fn csv_errors_name_line_and_column() {
    let folder = Folder::new("csv-errors");
    let with = |text: &[u8], options: CsvOptions| {
        message(csv::read(&folder.file("t.csv", text), &options))
    };
    let plain = CsvOptions::default;
    assert_eq!(
        with(b"a,b\n1,2\n3\n", plain()),
        "line 3: expected 2 fields, got 1"
    );
    assert_eq!(
        with(b"a,b\n1,\xff\n", plain()),
        "line 2, field 2: is not UTF-8"
    );
    assert_eq!(with(b"", plain()), "holds no line");
    assert_eq!(
        with(b"a,a\n1,2\n", plain()),
        "columns 1 and 2 are both called `a`"
    );
    let numbers = || CsvOptions {
        numbers: vec!["b".into()],
        ..Default::default()
    };
    assert_eq!(
        with(b"a,b\nx,1\ny,\nz,2o\n", numbers()),
        "line 4, column `b`: expected a number, got `2o`"
    );
    assert_eq!(
        with(b"a\n1\n", numbers()),
        "option `numbers`: the file has no column `b`, but a"
    );
    let wide = CsvOptions {
        delimiter: Some("::".into()),
        ..Default::default()
    };
    assert_eq!(
        with(b"a\n1\n", wide),
        "option `delimiter`: expected one ASCII character, got `::`"
    );
}

#[test]
fn parquet_of_other_programs() {
    let folder = Folder::new("parquet");
    let names = ["a", "b", "s", "t", "u", "ts"].map(String::from).to_vec();
    let chosen = ParquetOptions {
        columns: Some(names),
    };
    for (bytes, options) in [(PARQUET, chosen), (PAGES2, ParquetOptions::default())] {
        let table = parquet::read(&folder.file("t.parquet", bytes), &options).unwrap();
        let values: Vec<&Values> = table.columns().iter().map(|c| &c.values).collect();
        let Values::Float(a) = values[0] else {
            panic!("{values:?}")
        };
        assert!(a[0] == 1.0 && a[1].is_nan() && a[2] == 3.0);
        assert_eq!(values[1], &Values::Float(vec![0.5, 1.5, -2.0]));
        assert_eq!(
            values[2],
            &Values::Text {
                codes: vec![0, 1, -1],
                categories: vec!["x".into(), "y".into()]
            }
        );
        assert_eq!(values[3], &Values::Int(vec![1, 0, 1]));
        assert_eq!(values[4], &Values::Int(vec![0, 1, 4_294_967_295]));
        assert_eq!(values[5], &Values::Int(vec![0, 1000, 2000]));
    }
    let all = message(parquet::read(
        &folder.file("l.parquet", PARQUET),
        &ParquetOptions::default(),
    ));
    assert_eq!(all, "column `l.list.element` is nested, which is not read");
    let unknown = ParquetOptions {
        columns: Some(vec!["z".into()]),
    };
    assert_eq!(
        message(parquet::read(&folder.file("l.parquet", PAGES2), &unknown)),
        "option `columns`: the file has no column `z`, but a, b, s, t, u, ts"
    );
}

#[test]
fn a_table_comes_back_from_parquet() {
    let folder = Folder::new("parquet-write");
    // More rows than a group holds.
    let n = 200_000;
    let column = |name: &str, values| Column {
        name: name.into(),
        values,
    };
    let text = Values::Text {
        codes: (0..n).map(|i| i % 4 - 1).collect(),
        categories: ["p", "q", "r"].map(String::from).to_vec(),
    };
    let table = Table::new(vec![
        column("f", Values::Float((0..n).map(|i| i as f64 / 7.0).collect())),
        column("i", Values::Int((0..n).map(|i| i * i).collect())),
        column("t", text),
    ]);
    let table = table.unwrap();
    let path = folder.0.join("t.parquet");
    parquet::write(&path, &table).unwrap();
    assert_eq!(
        parquet::read(&path, &ParquetOptions::default()).unwrap(),
        table
    );
}

#[test]
fn any_safetensors_file() {
    let folder = Folder::new("safetensors");
    let path = folder.0.join("t.safetensors");
    let x = Stream::new(0, "x").randn(&[2, 3], DType::F32).unwrap();
    let saved = Checkpoint {
        kind: "tensors".into(),
        options: serde_json::Value::Null,
        tensors: vec![("x".into(), x.clone()), ("n".into(), ints(&[7], &[1]))],
    };
    saved.save(&path).unwrap();
    let got = safetensors::read(&path).unwrap();
    assert_eq!(
        got.metadata.get("kind").map(String::as_str),
        Some("tensors")
    );
    let find = |name: &str| &got.tensors.iter().find(|(n, _)| n == name).unwrap().1;
    assert_eq!(find("x").to_vec().unwrap(), x.to_vec().unwrap());
    assert_eq!(find("n").dtype(), DType::I64);
    // A bf16 tensor by hand: 1.0 and -2.5.
    let header = br#"{"h":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#;
    let file = [
        &(header.len() as u64).to_le_bytes()[..],
        header,
        &[0x80, 0x3f, 0x20, 0xc0],
    ]
    .concat();
    let got = safetensors::read(&folder.file("h.safetensors", &file)).unwrap();
    assert_eq!(got.tensors[0].1.to_vec().unwrap(), [1.0, -2.5]);
    let cut = message(safetensors::read(
        &folder.file("c.safetensors", &file[..file.len() - 1]),
    ));
    assert_eq!(
        cut,
        "not a whole safetensors file (the data are not as long as the header says)"
    );
    let huge = [&u64::MAX.to_le_bytes()[..], header].concat();
    let huge = message(safetensors::read(&folder.file("g.safetensors", &huge)));
    assert_eq!(
        huge,
        "not a whole safetensors file (the header is longer than the file)"
    );
}

/// An idx file of u8.
fn idx_bytes(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|s| s.to_be_bytes()));
    bytes.extend(values);
    bytes
}

#[test]
fn mnist_from_a_folder_plain_and_gzipped() {
    let folder = Folder::new("idx");
    let pixels: Vec<u8> = (0..24).map(|i| i * 11).collect();
    folder.file("t10k-images-idx3-ubyte", &idx_bytes(&[2, 3, 4], &pixels));
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&idx_bytes(&[2], &[7, 3])).unwrap();
    folder.file("t10k-labels-idx1-ubyte.gz", &packer.finish().unwrap());
    let test = MnistOptions { part: Part::Test };
    for path in [folder.0.clone(), folder.0.join("t10k-images-idx3-ubyte")] {
        let got = idx::mnist(&path, &test).unwrap();
        assert_eq!(
            (got.images.dims(), got.images.dtype()),
            (&[2, 1, 3, 4][..], DType::F32)
        );
        assert!((got.images.to_vec().unwrap()[23] - 253.0 / 255.0).abs() < 1e-6);
        assert_eq!(
            (got.labels.dtype(), got.labels.to_vec().unwrap()),
            (DType::I64, vec![7.0, 3.0])
        );
    }
    assert_eq!(
        message(idx::mnist(&folder.0, &MnistOptions::default()).map(drop)),
        "no such file, nor one with .gz"
    );
    let read = |bytes: &[u8]| message(idx::read(&folder.file("x", bytes)));
    assert_eq!(
        read(&idx_bytes(&[2], &[1])),
        "ends too early: 2 bytes of data expected"
    );
    assert_eq!(
        read(&idx_bytes(&[1], &[1, 2])),
        "has bytes behind its [1] elements"
    );
    assert_eq!(read(b"GIF89a"), "is not an idx file");
    assert!(
        read(&idx_bytes(&[u32::MAX, u32::MAX, u32::MAX], &[]))
            .contains("more elements than memory can address")
    );
    folder.file("t10k-labels-idx1-ubyte.gz", &idx_bytes(&[3], &[7, 3, 1]));
    assert_eq!(
        message(idx::mnist(&folder.0, &test).map(drop)),
        "expected shape [2] like the images, got [3]"
    );
}

#[test]
fn images_come_back_and_change_their_channels() {
    let folder = Folder::new("image");
    let path = folder.0.join("a.png");
    let x = Tensor::arange(0.0, 1.0 / 255.0, 2 * 3 * 4, DType::F32).unwrap();
    for channels in [1usize, 2, 3, 4] {
        let image = x
            .narrow(0, 0, channels * 6)
            .unwrap()
            .reshape(&[channels, 2, 3])
            .unwrap();
        image::write(&path, &image).unwrap();
        let back = image::read(&path, &ImageOptions::default()).unwrap();
        assert_eq!(back.dims(), [channels, 2, 3]);
        let worst = back
            .sub(&image)
            .unwrap()
            .to_vec()
            .unwrap()
            .iter()
            .fold(0f64, |a, b| a.max(b.abs()));
        assert!(worst < 1e-6, "{channels}: {worst}");
    }
    let grey = image::read(&path, &ImageOptions { channels: Some(1) }).unwrap();
    // The first pixel is (0, 6, 12) / 255.
    let want = (0.587 * 6.0 + 0.114 * 12.0) / 255.0;
    assert_eq!(grey.dims(), [1, 2, 3]);
    assert!((grey.to_vec().unwrap()[0] - want).abs() < 1e-6);
    // u8 as it is, and what lies outside of 0..1 is cut off.
    image::write(
        &folder.0.join("b.png"),
        &Tensor::from_vec(vec![0u8, 255], &[1, 2]).unwrap(),
    )
    .unwrap();
    image::write(
        &folder.0.join("c.png"),
        &Tensor::from_vec(vec![-3f32, 7.0], &[1, 2]).unwrap(),
    )
    .unwrap();
    let options = ImageOptions { channels: Some(3) };
    let both = [folder.0.join("b.png"), folder.0.join("c.png")];
    let both = image::read_all(&both, &options).unwrap();
    assert_eq!(
        (both.dims(), both.to_vec().unwrap()),
        (&[2, 3, 1, 2][..], [0.0, 1.0].repeat(6))
    );
    assert_eq!(image::folder(&folder.0).unwrap().len(), 3);
    let mixed = message(image::read_all(
        &image::folder(&folder.0).unwrap(),
        &options,
    ));
    assert_eq!(
        mixed,
        "has shape [3, 1, 2], the first image [3, 2, 3] (option `channels` makes channels alike)"
    );
    let nan = Tensor::from_vec(vec![f32::NAN], &[1, 1]).unwrap();
    assert_eq!(
        message(image::write(&path, &nan)),
        "image: expected numbers in 0..1, got NaN"
    );
    assert!(
        message(image::read(&path, &ImageOptions { channels: Some(2) }))
            .starts_with("option `channels`")
    );
}

/// Files cut off anywhere and with any byte turned are errors or other values, never a panic.
#[test]
fn damage_is_never_more_than_an_error() {
    let folder = Folder::new("damage");
    let path = folder.0.join("x.png");
    image::write(
        &path,
        &Tensor::from_vec(vec![0.5f32; 12], &[3, 2, 2]).unwrap(),
    )
    .unwrap();
    let png = std::fs::read(&path).unwrap();
    let header = br#"{"h":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let safe = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    type Reader = fn(&Path);
    let read: [(&[u8], Reader); 6] = [
        (NPZ, |p| drop(npy::read_npz(p))),
        (PARQUET, |p| {
            drop(parquet::read(
                p,
                &ParquetOptions {
                    columns: Some(vec!["s".into(), "a".into()]),
                },
            ))
        }),
        (PAGES2, |p| {
            drop(parquet::read(p, &ParquetOptions::default()))
        }),
        (&png, |p| drop(image::read(p, &ImageOptions::default()))),
        (&safe, |p| drop(safetensors::read(p))),
        (b"\0\0\x08\x02\0\0\0\x01\0\0\0\x02ab", |p| {
            drop(idx::read(p))
        }),
    ];
    for (at, (bytes, read)) in read.into_iter().enumerate() {
        let path = folder.0.join(at.to_string());
        let step = (bytes.len() / 150).max(1);
        for place in (0..bytes.len()).step_by(step) {
            // Plain writes: a synced file for each would take seconds.
            let put = |bytes: &[u8]| {
                std::fs::File::create(&path)
                    .unwrap()
                    .write_all(bytes)
                    .unwrap()
            };
            put(&bytes[..place]);
            read(&path);
            for turned in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[place] ^= turned;
                put(&damaged);
                read(&path);
            }
        }
    }
}
