//! Models on disk: safetensors with the configuration in the metadata.
//!
//! The tensors are a plain safetensors file that PyTorch's `safetensors` reads; the metadata hold
//! `format = rhapsode`, the version of the layout, the model's kind and its options as JSON.

use std::{borrow::Cow, collections::HashMap, path::Path};

use rhapsode_tensor::{DType, Tensor, params::Params};
use safetensors::{Dtype, SafeTensors, View};
use serde_json::Value;

use crate::{Error, Result, files};

/// The version of the layout; a reader refuses a newer one.
const VERSION: u64 = 1;

/// Tensors with names, what they belong to, and its options.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What was saved, e.g. `flow::rectified` or `tensor`.
    pub kind: String,
    /// The options it was made with.
    pub options: Value,
    /// Named tensors in the order of saving.
    pub tensors: Vec<(String, Tensor)>,
}

/// A tensor's bytes, little endian, as safetensors wants them.
struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}

impl Checkpoint {
    /// Adds all parameters of a buffer under a prefix.
    pub fn add(&mut self, prefix: &str, params: &Params) {
        let named = params.slots().iter().zip(params.tensors());
        self.tensors
            .extend(named.map(|(slot, t)| (format!("{prefix}{}", slot.name), t.detach())));
    }

    /// Fills a buffer from the tensors under a prefix; every name must be there with its shape.
    pub fn fill(&self, prefix: &str, params: &Params) -> Result<()> {
        let mut values = Vec::new();
        for slot in params.slots() {
            let name = format!("{prefix}{}", slot.name);
            let found = self.tensors.iter().find(|(n, _)| *n == name);
            let Some((_, tensor)) = found else {
                return Err(Error::Value {
                    what: "checkpoint",
                    message: format!("tensor `{name}` is missing"),
                });
            };
            if tensor.dims() != slot.shape {
                let message = format!(
                    "tensor `{name}` has shape {:?}, expected {:?}",
                    tensor.dims(),
                    slot.shape
                );
                return Err(Error::Value {
                    what: "checkpoint",
                    message,
                });
            }
            values.push((slot.name.clone(), tensor.to_dtype(params.dtype())?));
        }
        params.copy_from(&Params::new(values)?)?;
        Ok(())
    }

    /// Writes the file; an old one stays whole until the new one is.
    pub fn save(&self, path: &Path) -> Result<()> {
        let views = self
            .tensors
            .iter()
            .map(|(name, t)| Ok((name.as_str(), bytes(t)?)))
            .collect::<Result<Vec<_>>>()?;
        let meta: HashMap<String, String> = [
            ("format", "rhapsode".to_string()),
            ("version", VERSION.to_string()),
            ("kind", self.kind.clone()),
            ("options", self.options.to_string()),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_string(), v))
        .collect();
        let data =
            safetensors::serialize(views, Some(meta)).map_err(|e| bad(path, &e.to_string()))?;
        files::write_atomic(path, &data)
    }

    /// Reads a file that [`Checkpoint::save`] wrote. Foreign safetensors files come back with kind `tensors`.
    pub fn load(path: &Path) -> Result<Self> {
        let data = files::read(path)?;
        let broken = |e: safetensors::SafeTensorError| {
            bad(path, &format!("not a whole safetensors file ({e})"))
        };
        let (_, header) = SafeTensors::read_metadata(&data).map_err(broken)?;
        let file = SafeTensors::deserialize(&data).map_err(broken)?;
        let meta = header.metadata().clone().unwrap_or_default();
        let ours = meta.get("format").map(String::as_str) == Some("rhapsode");
        let version: u64 = meta
            .get("version")
            .and_then(|v| v.parse().ok())
            .unwrap_or(0);
        if ours && version > VERSION {
            return Err(bad(
                path,
                &format!(
                    "written by a newer version of rhapsode (layout {version}, this one reads {VERSION})"
                ),
            ));
        }
        let kind = if ours {
            meta.get("kind").cloned().unwrap_or_default()
        } else {
            "tensors".into()
        };
        let options = meta
            .get("options")
            .and_then(|o| serde_json::from_str(o).ok())
            .unwrap_or(Value::Null);
        let mut names: Vec<(usize, String)> = header
            .tensors()
            .into_iter()
            .map(|(name, info)| (info.data_offsets.0, name))
            .collect();
        names.sort();
        let read = |(_, name): (usize, String)| {
            let view = file.tensor(&name).map_err(broken)?;
            Ok((
                name.clone(),
                tensor(path, &name, view.dtype(), view.shape(), view.data())?,
            ))
        };
        let tensors = names.into_iter().map(read).collect::<Result<_>>()?;
        Ok(Self {
            kind,
            options,
            tensors,
        })
    }
}

fn bad(path: &Path, message: &str) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        message: message.to_string(),
    }
}

fn bytes(t: &Tensor) -> Result<Bytes> {
    fn le<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|v| to(*v)).collect()
    }
    let (dtype, data) = match t.dtype() {
        DType::F32 => (
            Dtype::F32,
            t.with_slice::<f32, _>("save", |x| le(x, f32::to_le_bytes))?,
        ),
        DType::F64 => (
            Dtype::F64,
            t.with_slice::<f64, _>("save", |x| le(x, f64::to_le_bytes))?,
        ),
        DType::I64 => (
            Dtype::I64,
            t.with_slice::<i64, _>("save", |x| le(x, i64::to_le_bytes))?,
        ),
        DType::U8 => (Dtype::U8, t.with_slice::<u8, _>("save", <[u8]>::to_vec)?),
        DType::Bool => (Dtype::BOOL, t.with_slice::<u8, _>("save", <[u8]>::to_vec)?),
        // bf16 is read as f32, of which it is the upper half.
        DType::BF16 => (
            Dtype::BF16,
            t.with_slice::<f32, _>("save", |x| {
                le(x, |v| ((v.to_bits() >> 16) as u16).to_le_bytes())
            })?,
        ),
    };
    Ok(Bytes {
        dtype,
        shape: t.dims().to_vec(),
        data,
    })
}

fn tensor(path: &Path, name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Tensor> {
    fn le<T, const N: usize>(data: &[u8], of: impl Fn([u8; N]) -> T) -> Vec<T> {
        data.chunks_exact(N)
            .filter_map(|c| c.try_into().ok())
            .map(of)
            .collect()
    }
    Ok(match dtype {
        Dtype::F32 => Tensor::from_vec(le(data, f32::from_le_bytes), shape)?,
        Dtype::F64 => Tensor::from_vec(le(data, f64::from_le_bytes), shape)?,
        Dtype::I64 => Tensor::from_vec(le(data, i64::from_le_bytes), shape)?,
        Dtype::U8 => Tensor::from_vec(data.to_vec(), shape)?,
        Dtype::BOOL => Tensor::from_vec(data.to_vec(), shape)?.to_dtype(DType::Bool)?,
        Dtype::BF16 => {
            let wide = |half: [u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(half)) << 16);
            Tensor::from_vec(le(data, wide), shape)?.to_dtype(DType::BF16)?
        }
        other => {
            return Err(bad(
                path,
                &format!("tensor `{name}` has dtype {other:?}, which is not read"),
            ));
        }
    })
}
