//! Elements as bytes: what npy, idx and safetensors have in common.

use std::io::Read;

use half::{bf16, f16};
use rhapsode_tensor::{DType, Tensor, interrupt, memory};

use crate::Result;

/// What an element is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    BF16,
    F32,
    F64,
}

/// Bytes read between two looks at the interrupt; also the most that a lying header makes us take too much.
const BLOCK: usize = 1 << 22;

impl Element {
    /// Bytes of one.
    pub fn size(self) -> usize {
        match self {
            Element::Bool | Element::U8 | Element::I8 => 1,
            Element::U16 | Element::I16 | Element::F16 | Element::BF16 => 2,
            Element::U32 | Element::I32 | Element::F32 => 4,
            Element::U64 | Element::I64 | Element::F64 => 8,
        }
    }

    /// A tensor of bytes. Bool and u8 become u8, all other ints i64, f16 and bf16 f32 (exactly); u64 above
    /// the largest i64 is refused: the message says so.
    pub fn tensor(self, bytes: &[u8], big_endian: bool, shape: &[usize]) -> Result<Tensor, String> {
        let count = bytes.len() / self.size();
        memory::ensure(count, 8).map_err(|e| e.to_string())?;
        let tensor = match self {
            Element::Bool => {
                Tensor::from_vec(bytes.iter().map(|b| u8::from(*b != 0)).collect(), shape)
            }
            Element::U8 => Tensor::from_vec(bytes.to_vec(), shape),
            Element::I8 => {
                Tensor::from_vec(bytes.iter().map(|b| i64::from(*b as i8)).collect(), shape)
            }
            Element::U16 => Tensor::from_vec(ints(bytes, big_endian, u16::from_le_bytes), shape),
            Element::I16 => Tensor::from_vec(ints(bytes, big_endian, i16::from_le_bytes), shape),
            Element::U32 => Tensor::from_vec(ints(bytes, big_endian, u32::from_le_bytes), shape),
            Element::I32 => Tensor::from_vec(ints(bytes, big_endian, i32::from_le_bytes), shape),
            Element::I64 => Tensor::from_vec(ints(bytes, big_endian, i64::from_le_bytes), shape),
            Element::U64 => {
                let wide = values(bytes, big_endian, u64::from_le_bytes);
                let narrow = wide.map(i64::try_from).collect::<Result<Vec<_>, _>>();
                let narrow = narrow.map_err(|_| "holds whole numbers above the largest i64")?;
                Tensor::from_vec(narrow, shape)
            }
            Element::F16 => Tensor::from_vec(
                values(bytes, big_endian, f16::from_le_bytes)
                    .map(f16::to_f32)
                    .collect(),
                shape,
            ),
            Element::BF16 => Tensor::from_vec(
                values(bytes, big_endian, bf16::from_le_bytes)
                    .map(bf16::to_f32)
                    .collect(),
                shape,
            ),
            Element::F32 => Tensor::from_vec(
                values(bytes, big_endian, f32::from_le_bytes).collect(),
                shape,
            ),
            Element::F64 => Tensor::from_vec(
                values(bytes, big_endian, f64::from_le_bytes).collect(),
                shape,
            ),
        };
        tensor.map_err(|e| e.to_string())
    }
}

/// The elements of bytes in either order.
fn values<T, const N: usize>(
    bytes: &[u8],
    big_endian: bool,
    of: impl Fn([u8; N]) -> T,
) -> impl Iterator<Item = T> {
    bytes.as_chunks::<N>().0.iter().map(move |chunk| {
        let mut chunk = *chunk;
        if big_endian {
            chunk.reverse();
        }
        of(chunk)
    })
}

fn ints<T: Into<i64>, const N: usize>(
    bytes: &[u8],
    big_endian: bool,
    of: impl Fn([u8; N]) -> T,
) -> Vec<i64> {
    values(bytes, big_endian, of).map(Into::into).collect()
}

/// Reads exactly `count` bytes, asking for the memory first and growing as they come: a header that claims more than
/// there is costs nothing. The message says what is wrong.
pub(crate) fn exactly(file: &mut dyn Read, count: usize) -> Result<Vec<u8>, String> {
    memory::ensure(count, 1).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    while bytes.len() < count {
        if interrupt::requested() {
            return Err(INTERRUPTED.into());
        }
        let start = bytes.len();
        bytes.resize(start + BLOCK.min(count - start), 0);
        let block = bytes.get_mut(start..).unwrap_or(&mut []);
        file.read_exact(block).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                format!("ends too early: {count} bytes of data expected")
            }
            _ => error.to_string(),
        })?;
    }
    Ok(bytes)
}

/// What readers that only speak in messages say when the user stops them.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// A message about a file as an error; an interrupt stays one.
pub(crate) fn about(path: &std::path::Path, message: String) -> crate::Error {
    if message == INTERRUPTED {
        return crate::Error::Interrupted;
    }
    crate::files::damaged(path, message)
}

/// The element type and the bytes of a tensor, little endian. Types without a place of their own are widened: bf16 and
/// f16 to f32, other ints to i64.
pub(crate) fn bytes_of(t: &Tensor) -> Result<(Element, Vec<u8>)> {
    fn le<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|v| to(*v)).collect()
    }
    memory::ensure(t.len(), 8)?;
    Ok(match t.dtype() {
        DType::F32 => (
            Element::F32,
            t.with_slice::<f32, _>("save", |x| le(x, f32::to_le_bytes))?,
        ),
        DType::F64 => (
            Element::F64,
            t.with_slice::<f64, _>("save", |x| le(x, f64::to_le_bytes))?,
        ),
        DType::I64 => (
            Element::I64,
            t.with_slice::<i64, _>("save", |x| le(x, i64::to_le_bytes))?,
        ),
        DType::U8 => (Element::U8, t.with_slice::<u8, _>("save", <[u8]>::to_vec)?),
        DType::BF16 => return bytes_of(&t.to_dtype(DType::F32)?),
        _ => return bytes_of(&t.to_dtype(DType::I64)?),
    })
}
