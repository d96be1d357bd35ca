//! Any safetensors file, as named tensors and metadata. (Models are saved through
//! [`checkpoint`](crate::checkpoint), which is the same format with rules of its own.)

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Seek, SeekFrom},
    path::Path,
};

use safetensors::{Dtype, tensor::Metadata};

use super::raw::{self, Element, about};
use crate::{Error, Result, files};
use rhapsode_tensor::Tensor;

/// Longer headers are refused by the format itself.
const LONGEST_HEADER: u64 = 100_000_000;

/// What a safetensors file holds.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Names and tensors in the order of the data.
    pub tensors: Vec<(String, Tensor)>,
    /// The metadata, sorted by key.
    pub metadata: BTreeMap<String, String>,
}

/// Reads a safetensors file: bools and u8 as u8, other ints as i64, f16 and bf16 as f32, f32 and f64 as they are.
///
/// Errors: a file that is not there, is damaged, holds 8-bit floats; more than memory holds.
pub fn read(path: &Path) -> Result<Contents> {
    let (mut file, header, start) = open(path)?;
    let mut infos: Vec<_> = header.tensors().into_iter().collect();
    infos.sort_by_key(|(name, info)| (info.data_offsets.0, name.clone()));
    let mut tensors = Vec::with_capacity(infos.len());
    for (name, info) in infos {
        let element = element(info.dtype).map_err(|m| named(path, &name, m))?;
        let (from, to) = info.data_offsets;
        let seek = file.seek(SeekFrom::Start(start + from as u64));
        seek.map_err(|e| files::failed(path, &e))?;
        let bytes =
            raw::exactly(&mut file, to.saturating_sub(from)).map_err(|m| named(path, &name, m))?;
        let tensor = element.tensor(&bytes, false, &info.shape);
        tensors.push((name.clone(), tensor.map_err(|m| named(path, &name, m))?));
    }
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok(Contents {
        tensors,
        metadata: metadata.into_iter().collect(),
    })
}

fn named(path: &Path, name: &str, message: String) -> Error {
    match message.as_str() {
        raw::INTERRUPTED => Error::Interrupted,
        _ => files::damaged(path, format!("tensor `{name}` {message}")),
    }
}

fn element(dtype: Dtype) -> Result<Element, String> {
    Ok(match dtype {
        Dtype::BOOL => Element::Bool,
        Dtype::U8 => Element::U8,
        Dtype::I8 => Element::I8,
        Dtype::U16 => Element::U16,
        Dtype::I16 => Element::I16,
        Dtype::U32 => Element::U32,
        Dtype::I32 => Element::I32,
        Dtype::U64 => Element::U64,
        Dtype::I64 => Element::I64,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::BF16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        other => return Err(format!("has dtype {other:?}, which is not read")),
    })
}

/// The header, checked against the size of the file, and where the data begin.
fn open(path: &Path) -> Result<(File, Metadata, u64)> {
    let (mut file, size) = files::open(path)?;
    let broken = |m: &str| files::damaged(path, format!("not a whole safetensors file ({m})"));
    let length = raw::exactly(&mut file, 8).map_err(|_| broken("it has no header"))?;
    let length = length.first_chunk().map_or(0, |c| u64::from_le_bytes(*c));
    if length > LONGEST_HEADER.min(size.saturating_sub(8)) {
        return Err(broken("the header is longer than the file"));
    }
    let head = raw::exactly(&mut file, length as usize).map_err(|m| about(path, m))?;
    // `SafeTensors::read_metadata` wants the data as well, which memory need not hold.
    let header: Metadata = serde_json::from_slice(&head).map_err(|e| broken(&e.to_string()))?;
    let start = 8 + length;
    if start.checked_add(header.data_len() as u64) != Some(size) {
        return Err(broken("the data are not as long as the header says"));
    }
    Ok((file, header, start))
}

/// Opens one tensor for reading some of its rows: the element, the shape, where it begins. Without a name the file must
/// hold just one.
pub(crate) fn open_rows(
    path: &Path,
    name: Option<&str>,
) -> Result<(File, Element, Vec<usize>, u64)> {
    let (file, header, start) = open(path)?;
    let tensors = header.tensors();
    let mut names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    names.sort_unstable();
    let name = match (name, names.as_slice()) {
        (Some(name), _) => name,
        (None, [one]) => one,
        (None, _) => {
            let message = format!(
                "the file holds {} tensors: name one of {}",
                names.len(),
                names.join(", ")
            );
            return Err(Error::option("tensor", message));
        }
    };
    let Some(info) = tensors.get(name) else {
        let message = format!("the file has no tensor `{name}`, but {}", names.join(", "));
        return Err(Error::option("tensor", message));
    };
    let element = element(info.dtype).map_err(|m| named(path, name, m))?;
    Ok((
        file,
        element,
        info.shape.clone(),
        start + info.data_offsets.0 as u64,
    ))
}
