//! NumPy's files: `.npy`, one array, and `.npz`, a zip archive of them, compressed or not.
//!
//! The layout is that of NumPy's "NEP 1" and its versions 1, 2 and 3: the magic bytes, a version, the length of the header,
//! the header (a Python dictionary of `descr`, `fortran_order`, `shape`), the elements. candle's own reader refuses Fortran
//! order, big-endian and several integer types, all of which are read here; objects and strings are refused.

use std::{
    fs::File,
    io::{BufReader, Read, Write},
    path::Path,
};

use rhapsode_tensor::{Tensor, memory};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::raw::{self, Element, about};
use crate::{Error, Result, files};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longer headers are no headers.
const LONGEST_HEADER: usize = 1 << 20;

/// What stands before the elements.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub element: Element,
    pub big_endian: bool,
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// Where the elements begin, in bytes.
    pub start: u64,
}

impl Header {
    /// Reads a header and leaves the reader at the first element.
    pub fn read(file: &mut dyn Read) -> Result<Self, String> {
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(|_| NO_NPY)?;
        let [magic @ .., major, _] = head;
        if magic != MAGIC {
            return Err(NO_NPY.into());
        }
        let wide = match major {
            1 => false,
            2 | 3 => true,
            other => {
                return Err(format!(
                    "is of npy version {other}, versions 1 to 3 are read"
                ));
            }
        };
        let mut length = [0; 4];
        let taken = length
            .get_mut(..if wide { 4 } else { 2 })
            .unwrap_or(&mut []);
        let size = taken.len();
        file.read_exact(taken).map_err(|_| NO_NPY)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST_HEADER {
            return Err(format!("claims a header of {length} bytes"));
        }
        let bytes = raw::exactly(file, length)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let start = (8 + size + length) as u64;
        Self::parse(&text, start)
    }

    /// The dictionary, e.g. `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &str, start: u64) -> Result<Self, String> {
        let after = |key: &str| {
            let at = text.find(&format!("'{key}'"))?;
            let rest = text.get(at + key.len() + 2..)?;
            Some(rest.trim_start().strip_prefix(':')?.trim_start())
        };
        let broken = || format!("has a damaged header `{}`", text.trim_end());
        let descr = after("descr").ok_or_else(broken)?;
        let Some(descr) = descr.strip_prefix('\'').and_then(|d| d.split('\'').next()) else {
            return Err("holds a record array, which is not read".into());
        };
        let (element, big_endian) = element(descr)?;
        let fortran = after("fortran_order")
            .ok_or_else(broken)?
            .starts_with("True");
        let shape = after("shape").ok_or_else(broken)?;
        let shape = shape.strip_prefix('(').and_then(|s| s.split(')').next());
        let sizes = shape.ok_or_else(broken)?.split(',').map(str::trim);
        let sizes = sizes.filter(|s| !s.is_empty()).map(str::parse);
        let shape = sizes
            .collect::<Result<Vec<usize>, _>>()
            .map_err(|_| broken())?;
        Ok(Self {
            element,
            big_endian,
            fortran,
            shape,
            start,
        })
    }

    /// Bytes of all elements.
    pub fn bytes(&self) -> Result<usize, String> {
        let mut shape = self.shape.clone();
        shape.push(self.element.size());
        memory::count("npy", &shape).map_err(|e| e.to_string())
    }
}

const NO_NPY: &str = "is not an npy file";

/// `<f8`, `|b1`, `>i4`: order, kind and bytes.
fn element(descr: &str) -> Result<(Element, bool), String> {
    let kind = descr.trim_start_matches(['<', '>', '|', '=']);
    let element = match kind {
        "b1" | "?" => Element::Bool,
        "u1" => Element::U8,
        "i1" => Element::I8,
        "u2" => Element::U16,
        "i2" => Element::I16,
        "u4" => Element::U32,
        "i4" => Element::I32,
        "u8" => Element::U64,
        "i8" => Element::I64,
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        _ => {
            return Err(format!(
                "holds elements of type `{descr}`, which is not read (numbers and bools are)"
            ));
        }
    };
    Ok((element, descr.starts_with('>')))
}

/// One array from a reader.
fn array(file: &mut dyn Read) -> Result<Tensor, String> {
    let header = Header::read(file)?;
    let bytes = raw::exactly(file, header.bytes()?)?;
    if !header.fortran {
        return header
            .element
            .tensor(&bytes, header.big_endian, &header.shape);
    }
    // Column-major is row-major of the transposed array.
    let turned: Vec<usize> = header.shape.iter().rev().copied().collect();
    let order: Vec<i64> = (0..turned.len() as i64).rev().collect();
    let tensor = header.element.tensor(&bytes, header.big_endian, &turned)?;
    let back = tensor.permute(&order).and_then(|t| t.contiguous());
    back.map_err(|e| e.to_string())
}

/// Reads an `.npy` file: bools and u8 as u8, other ints as i64, f16 as f32, f32 and f64 as they are.
///
/// Errors: a file that is not there, is no npy, ends too early, holds strings, objects, complex numbers or records; more
/// than memory holds.
pub fn read(path: &Path) -> Result<Tensor> {
    let (file, size) = files::open(path)?;
    let mut file = BufReader::new(file);
    let tensor = array(&mut file).map_err(|m| about(path, m))?;
    let mut rest = [0; 1];
    if file.read(&mut rest).unwrap_or(0) > 0 {
        let message = format!(
            "has bytes behind its {:?} elements ({size} in all)",
            tensor.dims()
        );
        return Err(files::damaged(path, message));
    }
    Ok(tensor)
}

/// Reads an `.npz` archive: names and arrays in the archive's order.
pub fn read_npz(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let (file, _) = files::open(path)?;
    let broken =
        |e: zip::result::ZipError| files::damaged(path, format!("not a whole npz archive ({e})"));
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let mut arrays = Vec::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_string();
        let array = array(&mut entry).map_err(|m| match m.as_str() {
            raw::INTERRUPTED => Error::Interrupted,
            _ => files::damaged(path, format!("array `{name}` {m}")),
        })?;
        arrays.push((name, array));
    }
    Ok(arrays)
}

/// The bytes of an array with its header, as NumPy writes version 1.
fn write_array(file: &mut dyn Write, tensor: &Tensor) -> std::io::Result<()> {
    let (element, bytes) = raw::bytes_of(tensor).map_err(std::io::Error::other)?;
    let descr = match element {
        Element::F32 => "<f4",
        Element::F64 => "<f8",
        Element::I64 => "<i8",
        _ => "|u1",
    };
    let sizes: Vec<String> = tensor.dims().iter().map(ToString::to_string).collect();
    let shape = match sizes.as_slice() {
        [one] => format!("({one},)"),
        several => format!("({})", several.join(", ")),
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // The elements begin at a multiple of 64; 10 bytes stand before the header.
    let padded = (header.len() + 11).next_multiple_of(64) - 11;
    header.push_str(&" ".repeat(padded - header.len()));
    header.push('\n');
    file.write_all(MAGIC)?;
    file.write_all(&[1, 0])?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    file.write_all(&bytes)
}

/// Writes an `.npy` file; bf16 and f16 become f32.
pub fn write(path: &Path, tensor: &Tensor) -> Result<()> {
    files::write_atomic_with(path, |file| write_array(file, tensor))
}

/// Writes an `.npz` archive, uncompressed as NumPy's `savez`.
pub fn write_npz(path: &Path, arrays: &[(String, Tensor)]) -> Result<()> {
    files::write_atomic_with(path, |file| {
        let mut archive = ZipWriter::new(file);
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(true);
        for (name, tensor) in arrays {
            archive
                .start_file(format!("{name}.npy"), options)
                .map_err(std::io::Error::other)?;
            write_array(&mut archive, tensor)?;
        }
        archive.finish().map_err(std::io::Error::other)?;
        Ok(())
    })
}

/// Opens an `.npy` file for reading some of its rows.
pub(crate) fn open(path: &Path) -> Result<(File, Header)> {
    let (mut file, size) = files::open(path)?;
    let header = Header::read(&mut file).map_err(|m| about(path, m))?;
    let bytes = header.bytes().map_err(|m| about(path, m))?;
    if size < header.start.saturating_add(bytes as u64) {
        let message = format!("ends too early: {bytes} bytes of data expected");
        return Err(files::damaged(path, message));
    }
    if header.fortran && header.shape.len() > 1 {
        let message = "is in Fortran order, whose rows cannot be read one by one (save numpy.ascontiguousarray(x))";
        return Err(files::damaged(path, message));
    }
    Ok((file, header))
}
