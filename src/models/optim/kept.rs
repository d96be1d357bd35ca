//! A state as a checkpoint keeps it, and its way into the form in which an optimizer keeps its own.

use rhapsode_tensor::{
    DType, Real, Tensor, memory,
    ops::quantize::{Blocks, Writing},
};

use super::target::{Part, State};
use crate::{Error, Result, checkpoint::Checkpoint};

pub(super) fn bad(message: String) -> Error {
    Error::Value {
        what: "checkpoint",
        message,
    }
}

/// Adds state `k` of a part under a name.
pub(super) fn write(
    state: &State,
    k: usize,
    key: String,
    dims: &[usize],
    tensors: &mut Vec<(String, Tensor)>,
) -> Result<()> {
    match state {
        State::F32(states) => tensors.push((key, Tensor::from_vec(states[k].clone(), dims)?)),
        State::F64(states) => tensors.push((key, Tensor::from_vec(states[k].clone(), dims)?)),
        State::Eight(blocks) => {
            let (codes, absmax) = (blocks[k].codes().to_vec(), blocks[k].absmax().to_vec());
            let count = [absmax.len()];
            tensors.push((format!("{key}.codes"), Tensor::from_vec(codes, dims)?));
            tensors.push((format!("{key}.absmax"), Tensor::from_vec(absmax, &count)?));
        }
    }
    Ok(())
}

/// A state as it was kept.
pub(super) enum Kept {
    Full(Tensor),
    Eight(Blocks),
}

/// What to look for: name, shape, and dtype of the state in full precision.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub key: &'a str,
    pub dims: &'a [usize],
    pub dtype: DType,
}

impl Kept {
    /// The state of a name, in full precision or, where it was written so, in 8 bits.
    pub(super) fn find(
        checkpoint: &Checkpoint,
        wanted: Wanted,
        writing: Option<&Writing>,
    ) -> Result<Self> {
        let Wanted { key, dims, dtype } = wanted;
        let codes = format!("{key}.codes");
        let is_eight = checkpoint.tensors.iter().any(|(name, _)| *name == codes);
        let Some(writing) = writing.filter(|_| is_eight) else {
            let state = look_up(checkpoint, key, dims, dtype)?;
            return Ok(Self::Full(state.clone()));
        };
        let count = [memory::count("optimizer", dims)?.div_ceil(writing.block)];
        let absmax = look_up(checkpoint, &format!("{key}.absmax"), &count, DType::F32)?;
        let codes = look_up(checkpoint, &codes, dims, DType::U8)?;
        let codes = codes.with_slice::<u8, _>("optimizer", <[u8]>::to_vec)?;
        let absmax = absmax.with_slice::<f32, _>("optimizer", <[f32]>::to_vec)?;
        Ok(Self::Eight(Blocks::from_parts(codes, absmax, *writing)?))
    }

    /// Writes it as the part keeps its states, converted where it was kept otherwise.
    pub(super) fn write(self, part: &mut Part, k: usize) -> Result<()> {
        match (&mut part.state, self) {
            (State::F32(states), Kept::Full(kept)) => copy(&kept, &mut states[k]),
            (State::F64(states), Kept::Full(kept)) => copy(&kept, &mut states[k]),
            (State::F32(states), Kept::Eight(kept)) => {
                kept.dequantize(&mut states[k]);
                Ok(())
            }
            (State::F64(states), Kept::Eight(kept)) => {
                kept.dequantize(&mut states[k]);
                Ok(())
            }
            (State::Eight(blocks), Kept::Eight(kept)) => {
                let own = *blocks[k].writing();
                let same = (own.block, own.code) == (kept.writing().block, kept.writing().code);
                blocks[k] = if same {
                    Blocks::from_parts(kept.codes().to_vec(), kept.absmax().to_vec(), own)?
                } else {
                    let mut values = vec![0f32; kept.codes().len()];
                    kept.dequantize(&mut values);
                    Blocks::of(&values, own)
                };
                Ok(())
            }
            (State::Eight(blocks), Kept::Full(kept)) => {
                let own = *blocks[k].writing();
                if !kept.is_finite()? {
                    return Err(bad("holds a state with NaN or infinity".into()));
                }
                blocks[k] = match kept.dtype() {
                    DType::F64 => kept.with_slice::<f64, _>("optimizer", |x| Blocks::of(x, own))?,
                    _ => kept.with_slice::<f32, _>("optimizer", |x| Blocks::of(x, own))?,
                };
                Ok(())
            }
        }
    }
}

/// The tensor of a name, which must have this shape and dtype.
pub(super) fn look_up<'a>(
    checkpoint: &'a Checkpoint,
    name: &str,
    dims: &[usize],
    dtype: DType,
) -> Result<&'a Tensor> {
    let found = checkpoint.tensors.iter().find(|(n, _)| n == name);
    let Some((_, tensor)) = found else {
        return Err(bad(format!("tensor `{name}` is missing")));
    };
    if tensor.dims() != dims || tensor.dtype() != dtype {
        let message = format!(
            "tensor `{name}` is {:?} {}, expected {dims:?} {}",
            tensor.dims(),
            tensor.dtype().as_str(),
            dtype.as_str()
        );
        return Err(bad(message));
    }
    Ok(tensor)
}

fn copy<T: Real>(from: &Tensor, to: &mut [T]) -> Result<()> {
    Ok(from.with_slice::<T, _>("optimizer", |from| to.copy_from_slice(from))?)
}
