//! The idx format of MNIST and its relatives, plain or gzipped: Y. LeCun, C. Cortes, C. Burges, "The MNIST database",
//! section "File formats".
//!
//! Big-endian: two zeros, the element type, the number of axes, the size of each, the elements.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use rhapsode_tensor::{DType, Tensor, memory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::raw::{self, Element, about};
use crate::{Error, Result, files};

/// Which part of MNIST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// 60,000 images (`train-images-idx3-ubyte`).
    #[default]
    Train,
    /// 10,000 images (`t10k-images-idx3-ubyte`).
    Test,
}

/// Options of MNIST.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MnistOptions {
    /// Which part of a folder's files. Default: `"train"`.
    pub part: Part,
}

/// Images with labels.
#[derive(Clone)]
pub struct Mnist {
    /// `[n, 1, height, width]`, f32 in 0..1.
    pub images: Tensor,
    /// `[n]`, i64.
    pub labels: Tensor,
}

/// Reads an idx file, gzipped or not: u8 as u8, other ints as i64, floats as they are.
///
/// Errors: a file that is not there, no idx file, one that ends too early or goes on, more than memory holds.
pub fn read(path: &Path) -> Result<Tensor> {
    let (file, _) = files::open(path)?;
    let mut file = BufReader::new(file);
    let packed = std::io::BufRead::fill_buf(&mut file).map_err(|e| files::failed(path, &e))?;
    let tensor = if packed.starts_with(&[0x1f, 0x8b]) {
        array(&mut MultiGzDecoder::new(file))
    } else {
        array(&mut file)
    };
    tensor.map_err(|m| about(path, m))
}

fn array(file: &mut dyn Read) -> Result<Tensor, String> {
    let mut head = [0; 4];
    let no_idx = "is not an idx file";
    file.read_exact(&mut head).map_err(|_| no_idx)?;
    let [0, 0, kind, axes] = head else {
        return Err(no_idx.into());
    };
    let element = match kind {
        0x08 => Element::U8,
        0x09 => Element::I8,
        0x0b => Element::I16,
        0x0c => Element::I32,
        0x0d => Element::F32,
        0x0e => Element::F64,
        _ => return Err(no_idx.into()),
    };
    let sizes = raw::exactly(file, 4 * usize::from(axes))?;
    let sizes = sizes.as_chunks::<4>().0.iter();
    let mut shape: Vec<usize> = sizes.map(|c| u32::from_be_bytes(*c) as usize).collect();
    shape.push(element.size());
    let bytes = memory::count("idx", &shape).map_err(|e| e.to_string())?;
    shape.pop();
    let bytes = raw::exactly(file, bytes)?;
    let mut more = [0; 1];
    if file.read(&mut more).map_err(|e| e.to_string())? > 0 {
        return Err(format!("has bytes behind its {shape:?} elements"));
    }
    element.tensor(&bytes, true, &shape)
}

/// Reads MNIST, Fashion-MNIST and the like: a folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
/// `t10k-...`, each plain or `.gz`, or the file of images, beside which the labels lie.
///
/// Errors: as [`read`]; files that are missing or do not belong together.
pub fn mnist(path: &Path, options: &MnistOptions) -> Result<Mnist> {
    let (images, labels) = if path.is_dir() {
        let part = match options.part {
            Part::Train => "train",
            Part::Test => "t10k",
        };
        (
            found(&path.join(format!("{part}-images-idx3-ubyte")))?,
            found(&path.join(format!("{part}-labels-idx1-ubyte")))?,
        )
    } else {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let other = name.replace("images", "labels").replace("idx3", "idx1");
        if other == name {
            let message =
                "is neither a folder of MNIST nor its file of images (`..-images-idx3-ubyte`)";
            File::open(path).map_err(|e| files::failed(path, &e))?;
            return Err(files::damaged(path, message));
        }
        let other = other.strip_suffix(".gz").unwrap_or(&other).to_string();
        (path.to_path_buf(), found(&path.with_file_name(other))?)
    };
    let (pixels, digits) = (read(&images)?, read(&labels)?);
    let &[n, height, width] = pixels.dims() else {
        return Err(wrong(&images, "[n, height, width]", &pixels));
    };
    if digits.dims() != [n] {
        return Err(wrong(&labels, &format!("[{n}] like the images"), &digits));
    }
    Ok(Mnist {
        images: pixels
            .to_dtype(DType::F32)?
            .affine(1.0 / 255.0, 0.0)?
            .reshape(&[n, 1, height, width])?,
        labels: digits.to_dtype(DType::I64)?,
    })
}

fn wrong(path: &Path, expected: &str, got: &Tensor) -> Error {
    files::damaged(
        path,
        format!("expected shape {expected}, got {:?}", got.dims()),
    )
}

/// The file, or the same gzipped.
fn found(path: &Path) -> Result<PathBuf> {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let candidates = [path.to_path_buf(), PathBuf::from(packed)];
    let there = candidates.into_iter().find(|c| c.is_file());
    there.ok_or_else(|| files::damaged(path, "no such file, nor one with .gz"))
}
