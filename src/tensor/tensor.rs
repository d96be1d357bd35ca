//! The tensor: candle storage and, when it takes part in a gradient, a node of the tape.

use std::sync::Arc;

use candle_core::{CpuStorage, Device, Layout, Storage, WithDType};

use crate::{
    DType, Error, Result, gate,
    layout::contiguous,
    memory,
    ops::matmul::Tiles,
    pool,
    simd::math::Float,
    tape::{self, Label, Node},
};

/// An n-dimensional array of numbers that remembers how it was made, when a gradient may be asked for.
///
/// Cheap to clone: data and history are shared. Values never change behind a tensor's back, except
/// that a parameter follows its buffer when an optimizer steps (see [`crate::params`]).
#[derive(Clone)]
pub struct Tensor {
    pub(crate) data: candle_core::Tensor,
    pub(crate) node: Option<Arc<Node>>,
    /// The u8 storage holds bools.
    pub(crate) mask: bool,
}

/// A type in which floats are computed: f32 or f64.
pub trait Real: Float + WithDType + Tiles {
    /// The elements of a CPU storage of this type, to be changed in place.
    fn slice_mut(storage: &mut CpuStorage) -> candle_core::Result<&mut [Self]>;
}

impl Real for f32 {
    fn slice_mut(storage: &mut CpuStorage) -> candle_core::Result<&mut [Self]> {
        match storage {
            CpuStorage::F32(values) => Ok(values),
            _ => candle_core::bail!("expected f32 data"),
        }
    }
}

impl Real for f64 {
    fn slice_mut(storage: &mut CpuStorage) -> candle_core::Result<&mut [Self]> {
        match storage {
            CpuStorage::F64(values) => Ok(values),
            _ => candle_core::bail!("expected f64 data"),
        }
    }
}

/// Runs `$body` with `$t` as the type in which a float dtype is computed: bf16 in f32, see [`DType`].
#[macro_export]
#[doc(hidden)]
macro_rules! with_real {
    ($op:expr, $dtype:expr, $t:ident => $body:expr) => {
        match $crate::DType::from($dtype) {
            $crate::DType::F32 | $crate::DType::BF16 => {
                type $t = f32;
                $body
            }
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
            got => Err($crate::Error::DType {
                op: $op,
                expected: "a float dtype",
                got,
            }),
        }
    };
}

impl Tensor {
    /// From candle, without history.
    /// What candle has and we do not (f16, u32, ...) is widened to the next dtype that holds it.
    pub fn from_candle(data: candle_core::Tensor) -> Self {
        let storage = DType::from(data.dtype()).storage();
        let data = match data.dtype() == storage {
            true => data,
            // The storage stays as it is only where candle has no conversion for the device.
            false => data.to_dtype(storage).unwrap_or(data),
        };
        Self {
            data,
            node: None,
            mask: false,
        }
    }

    /// Bools, from u8 data of zeros and ones.
    pub(crate) fn from_mask(data: candle_core::Tensor) -> Self {
        Self {
            mask: true,
            ..Self::from_candle(data)
        }
    }

    /// The data as a candle tensor, without history.
    pub fn candle(&self) -> &candle_core::Tensor {
        &self.data
    }

    /// From values in row-major order. Errors when their number is not that of the shape.
    pub fn from_vec<T: WithDType>(values: Vec<T>, shape: &[usize]) -> Result<Self> {
        let count = memory::count("tensor", shape)?;
        if count != values.len() {
            let detail = format!(
                "{} values do not fill shape {shape:?} of {count} elements",
                values.len()
            );
            return Err(Error::Shape {
                op: "tensor",
                detail,
            });
        }
        Ok(Self::from_candle(candle_core::Tensor::from_vec(
            values,
            shape,
            &Device::Cpu,
        )?))
    }

    /// A scalar (shape `[]`).
    pub fn scalar(value: f64, dtype: DType) -> Result<Self> {
        Self::full(value, &[], dtype)
    }

    /// Filled with one value; memory is checked first.
    pub fn full(value: f64, shape: &[usize], dtype: DType) -> Result<Self> {
        let count = memory::count("full", shape)?;
        memory::ensure(count, dtype.size_in_bytes())?;
        let cpu = &Device::Cpu;
        let data = match dtype {
            DType::F32 => candle_core::Tensor::from_vec(vec![value as f32; count], shape, cpu)?,
            DType::F64 => candle_core::Tensor::from_vec(vec![value; count], shape, cpu)?,
            DType::I64 => candle_core::Tensor::from_vec(vec![value as i64; count], shape, cpu)?,
            DType::U8 => candle_core::Tensor::from_vec(vec![value as u8; count], shape, cpu)?,
            DType::BF16 => candle_core::Tensor::from_vec(vec![value as f32; count], shape, cpu)?
                .to_dtype(dtype.storage())?,
            DType::Bool => {
                let flag = u8::from(value != 0.0);
                return Ok(Self::from_mask(candle_core::Tensor::from_vec(
                    vec![flag; count],
                    shape,
                    cpu,
                )?));
            }
        };
        Ok(Self::from_candle(data))
    }

    /// Zeros.
    pub fn zeros(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::full(0.0, shape, dtype)
    }

    /// Ones.
    pub fn ones(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::full(1.0, shape, dtype)
    }

    /// `0, 1, ..., n - 1` as f64 steps from `start` by `step`, in any dtype; shape `[n]`.
    pub fn arange(start: f64, step: f64, n: usize, dtype: DType) -> Result<Self> {
        memory::ensure(n, 8)?;
        let values: Vec<f64> = (0..n).map(|i| start + step * i as f64).collect();
        Self::from_vec(values, &[n])?.to_dtype(dtype)
    }

    /// The identity matrix `[n, n]`.
    pub fn eye(n: usize, dtype: DType) -> Result<Self> {
        let count = memory::count("eye", &[n, n])?;
        memory::ensure(count, 8)?;
        let mut values = vec![0.0; count];
        values.iter_mut().step_by(n + 1).for_each(|v| *v = 1.0);
        Self::from_vec(values, &[n, n])?.to_dtype(dtype)
    }

    /// Sizes of the axes.
    pub fn dims(&self) -> &[usize] {
        self.data.dims()
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.data.rank()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.elem_count()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        if self.mask {
            DType::Bool
        } else {
            self.data.dtype().into()
        }
    }

    /// Where the data lie.
    pub fn device(&self) -> &Device {
        self.data.device()
    }

    /// Whether a gradient may be asked for.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// Whether it is a parameter: the start of a history.
    pub fn is_leaf(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.is_leaf())
    }

    /// The size of an axis; negative ones count from the end.
    pub fn dim(&self, axis: i64) -> Result<usize> {
        Ok(self.dims()[self.axis("dim", axis)?])
    }

    /// An axis as an index; negative ones count from the end.
    pub fn axis(&self, op: &'static str, axis: i64) -> Result<usize> {
        let rank = self.rank() as i64;
        let index = if axis < 0 { axis + rank } else { axis };
        if (0..rank).contains(&index) {
            Ok(index as usize)
        } else {
            Err(Error::Axis {
                op,
                axis,
                shape: self.dims().to_vec(),
            })
        }
    }

    /// The same values without history.
    #[must_use]
    pub fn detach(&self) -> Self {
        self.with_data(self.data.clone())
    }

    /// Other data of the same dtype, without history.
    pub(crate) fn with_data(&self, data: candle_core::Tensor) -> Self {
        Self {
            data,
            node: None,
            mask: self.mask,
        }
    }

    /// What several operations in a row make of the values as f32 when they are bf16, rounded once at the end; whole
    /// numbers are taken as floats.
    pub(crate) fn wide(&self, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        match self.dtype() {
            DType::F32 | DType::F64 => f(self),
            DType::BF16 => f(&self.to_dtype(DType::F32)?)?.to_dtype(DType::BF16),
            other => f(&self.to_dtype(other.float())?),
        }
    }

    /// The same values in memory of their own, without history.
    pub fn copy(&self) -> Result<Self> {
        memory::ensure(self.len(), self.dtype().size_in_bytes())?;
        Ok(self.with_data(self.data.copy()?))
    }

    /// The same values as the start of a new history: gradients with respect to it can be asked for.
    /// Errors for dtypes that have no gradient.
    pub fn param(&self) -> Result<Self> {
        self.leaf(None)
    }

    /// Like [`Tensor::param`], with a name and what its optimizer should know.
    pub fn named_param(&self, label: Label) -> Result<Self> {
        self.leaf(Some(label))
    }

    /// The name of a parameter that has one; `None` for everything else.
    pub fn label(&self) -> Option<&Label> {
        self.node.as_ref().and_then(|node| node.label())
    }

    fn leaf(&self, label: Option<Label>) -> Result<Self> {
        if !self.dtype().is_float() {
            return Err(Error::DType {
                op: "param",
                expected: "a float dtype",
                got: self.dtype(),
            });
        }
        Ok(Self {
            data: self.data.clone(),
            node: Some(Node::leaf(&self.data, label)),
            mask: false,
        })
    }

    /// All values in row-major order, converted to f64.
    pub fn to_vec(&self) -> Result<Vec<f64>> {
        memory::ensure(self.len(), 8)?;
        let flat = self.data.flatten_all()?;
        Ok(match self.dtype() {
            DType::F64 => flat.to_vec1::<f64>()?,
            DType::F32 => flat.to_vec1::<f32>()?.into_iter().map(f64::from).collect(),
            _ => flat.to_dtype(DType::F64.storage())?.to_vec1::<f64>()?,
        })
    }

    /// All values in row-major order as i64, for indices and labels. Floats must be whole numbers.
    pub fn to_ints(&self, op: &'static str) -> Result<Vec<i64>> {
        if !self.dtype().is_float() {
            let flat = self.data.flatten_all()?;
            return Ok(flat.to_dtype(DType::I64.storage())?.to_vec1()?);
        }
        let whole = |v: f64| {
            let detail = || format!("expected whole numbers, got {v}");
            if v.fract() == 0.0 {
                Ok(v as i64)
            } else {
                Err(Error::Value {
                    op,
                    detail: detail(),
                })
            }
        };
        self.to_vec()?.into_iter().map(whole).collect()
    }

    /// The only value of a tensor with one element.
    pub fn item(&self) -> Result<f64> {
        match self.to_one()? {
            Some(value) => Ok(value),
            None => {
                let detail = format!("expected one element, got shape {:?}", self.dims());
                Err(Error::Shape { op: "item", detail })
            }
        }
    }

    fn to_one(&self) -> Result<Option<f64>> {
        if self.len() != 1 {
            Ok(None)
        } else {
            Ok(self.to_vec()?.first().copied())
        }
    }

    /// Whether no element is NaN or infinite.
    pub fn is_finite(&self) -> Result<bool> {
        Ok(tape::non_finite(&self.data)?.is_none())
    }

    /// The values read in place as a slice: CPU, of this very element type, made contiguous if need be.
    pub fn with_slice<T: WithDType, R>(
        &self,
        op: &'static str,
        f: impl FnOnce(&[T]) -> R,
    ) -> Result<R> {
        with_slice(op, &self.data, f)
    }
}

/// The values of a candle tensor as a slice, made contiguous if need be; bf16 is read as f32.
pub(crate) fn with_slice<T: WithDType, R>(
    op: &'static str,
    data: &candle_core::Tensor,
    f: impl FnOnce(&[T]) -> R,
) -> Result<R> {
    gate::reading(|| {
        let data = readable::<T>(data)?;
        let (storage, layout) = data.storage_and_layout();
        Ok(f(elements(op, &storage, layout)?))
    })
}

/// The values of several tensors, each as [`with_slice`] gives them.
pub(crate) fn with_slices<T: WithDType, R>(
    op: &'static str,
    data: &[&candle_core::Tensor],
    f: impl FnOnce(&[&[T]]) -> R,
) -> Result<R> {
    gate::reading(|| {
        let data = data.iter().map(|data| readable::<T>(data));
        let data = data.collect::<Result<Vec<_>>>()?;
        let stored: Vec<_> = data.iter().map(|data| data.storage_and_layout()).collect();
        let slices = stored
            .iter()
            .map(|(storage, layout)| elements(op, storage, layout));
        Ok(f(&slices.collect::<Result<Vec<_>>>()?))
    })
}

/// Contiguous data of an element type; bf16 becomes f32.
fn readable<T: WithDType>(data: &candle_core::Tensor) -> Result<candle_core::Tensor> {
    let widen = data.dtype() == DType::BF16.storage() && T::DTYPE == DType::F32.storage();
    if widen || !data.is_contiguous() {
        memory::ensure(data.elem_count(), size_of::<T>())?;
    }
    let data = contiguous(data)?;
    if widen {
        return cast(&data, T::DTYPE);
    }
    Ok(data)
}

/// The elements of a contiguous tensor in the memory of the CPU.
fn elements<'a, T: WithDType>(
    op: &'static str,
    storage: &'a Storage,
    layout: &Layout,
) -> Result<&'a [T]> {
    let Storage::Cpu(cpu) = storage else {
        return Err(Error::Value {
            op,
            detail: "has no kernel for this device".into(),
        });
    };
    let all = T::cpu_storage_as_slice(cpu)?;
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(Error::Value {
            op,
            detail: "needs contiguous data".into(),
        });
    };
    // A view of nothing may start beyond the end.
    Ok(all.get(start..end).unwrap_or(&[]))
}

/// The values in another storage type. candle panics on a view of nothing that starts beyond its storage.
pub(crate) fn cast(
    data: &candle_core::Tensor,
    dtype: candle_core::DType,
) -> Result<candle_core::Tensor> {
    if data.elem_count() == 0 {
        return Ok(candle_core::Tensor::zeros(
            data.dims(),
            dtype,
            data.device(),
        )?);
    }
    Ok(data.to_dtype(dtype)?)
}

/// A new CPU tensor whose elements `fill` writes, all of them: see [`space`].
pub(crate) fn build<T: Real>(
    shape: &[usize],
    quantum: usize,
    fill: impl Fn(usize, &mut [T]) + Sync,
) -> Result<candle_core::Tensor> {
    let mut out = space::<T>(memory::count("tensor", shape)?)?;
    pool::for_each_piece(&mut out, quantum, fill);
    Ok(candle_core::Tensor::from_vec(out, shape, &Device::Cpu)?)
}

/// [`build`] where each element is made of a row of `n`.
pub(crate) fn build_of_rows<T: Real>(
    shape: &[usize],
    n: usize,
    fill: impl Fn(usize, &mut [T]) + Sync,
) -> Result<candle_core::Tensor> {
    let mut out = space::<T>(memory::count("tensor", shape)?)?;
    pool::for_each_costly_piece(&mut out, 16, n, fill);
    Ok(candle_core::Tensor::from_vec(out, shape, &Device::Cpu)?)
}

/// Zeroed memory for `n` elements, checked first. Fresh pages come zeroed from the system; small
/// buffers pay one pass in cache.
pub(crate) fn buffer<T: Real>(n: usize) -> Result<Vec<T>> {
    memory::ensure(n, size_of::<T>())?;
    let out = vec![T::ZERO; n];
    memory::large_pages(&out);
    Ok(out)
}

/// Memory for `n` elements, checked first, that holds whatever was there before: every element must be written
/// before it is read. Zeros would cost a pass over memory that no cache holds, as much as a sum of two tensors.
pub(crate) fn space<T: Real>(n: usize) -> Result<Vec<T>> {
    memory::ensure(n, size_of::<T>())?;
    let mut out = Vec::with_capacity(n);
    memory::large_pages(out.spare_capacity_mut());
    // SAFETY: the capacity is there; a `Real` is a float, for which every pattern of bits is a value, and the
    // callers write all elements before they, or anybody else, read one.
    #[allow(clippy::uninit_vec)]
    unsafe {
        out.set_len(n);
    }
    Ok(out)
}
