//! The parameters of a model in one flat buffer: a parameter is a view of it.
//!
//! Optimizers, moving averages, clipping and checkpoints are then one pass over one slice, and a
//! model's tensors see every step at once, without being told.

use candle_core::Device;

use crate::{
    DType, Error, Real, Result, Tensor, gate,
    tape::{self, Label},
    with_real,
};

/// Name and place of one parameter in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Dotted name, e.g. `net.0.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its first element in the buffer.
    pub start: usize,
}

/// Named parameters in one flat buffer.
pub struct Params {
    slots: Vec<Slot>,
    flat: candle_core::Tensor,
    leaves: Vec<Tensor>,
}

impl Params {
    /// From named initial values, all of one float dtype. What the label of a value says besides its name is kept.
    pub fn new(values: Vec<(String, Tensor)>) -> Result<Self> {
        let dtype = values.first().map_or(DType::F32, |(_, t)| t.dtype());
        let mut slots = Vec::with_capacity(values.len());
        let mut labels = Vec::with_capacity(values.len());
        let mut start = 0;
        for (name, value) in &values {
            labels.push(Label {
                name: name.clone(),
                ..value.label().cloned().unwrap_or_default()
            });
            if value.dtype() != dtype {
                return Err(Error::DType {
                    op: "params",
                    expected: dtype.as_str(),
                    got: value.dtype(),
                });
            }
            slots.push(Slot {
                name: name.clone(),
                shape: value.dims().to_vec(),
                start,
            });
            start += value.len();
        }
        let flat = with_real!("params", dtype, T => {
            let mut flat = crate::tensor::buffer::<T>(start)?;
            for (slot, (_, value)) in slots.iter().zip(&values) {
                value.with_slice::<T, _>("params", |x| flat[slot.start..slot.start + x.len()].copy_from_slice(x))?;
            }
            Ok(candle_core::Tensor::from_vec(flat, start, &Device::Cpu)?.to_dtype(dtype.storage())?)
        })?;
        Self::over(slots, flat, Some(labels))
    }

    /// Parameters that start histories have labels.
    fn over(
        slots: Vec<Slot>,
        flat: candle_core::Tensor,
        labels: Option<Vec<Label>>,
    ) -> Result<Self> {
        let view = |(i, slot): (usize, &Slot)| {
            let count = slot.shape.iter().product();
            let data = Tensor::from_candle(
                flat.narrow(0, slot.start, count)?
                    .reshape(slot.shape.as_slice())?,
            );
            match &labels {
                Some(labels) => data.named_param(labels.get(i).cloned().unwrap_or_default()),
                None => Ok(data),
            }
        };
        let leaves = slots.iter().enumerate().map(view).collect::<Result<_>>()?;
        Ok(Self {
            slots,
            flat,
            leaves,
        })
    }

    /// Names, shapes and places.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Parameter `i`, in the order of making.
    pub fn get(&self, i: usize) -> Result<&Tensor> {
        self.leaves.get(i).ok_or(Error::Index {
            op: "params",
            index: i as i64,
            size: self.leaves.len(),
        })
    }

    /// All parameters, in the order of making.
    pub fn tensors(&self) -> &[Tensor] {
        &self.leaves
    }

    /// Number of numbers.
    pub fn len(&self) -> usize {
        self.flat.elem_count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The dtype of all.
    pub fn dtype(&self) -> DType {
        self.flat.dtype().into()
    }

    /// The whole buffer as a tensor without history (a view).
    pub fn flat(&self) -> Tensor {
        Tensor::from_candle(self.flat.clone())
    }

    /// Changes the whole buffer in place; all views see it.
    pub fn update<T: Real>(&self, f: impl FnOnce(&mut [T])) -> Result<()> {
        gate::writing(|| tape::update_in_place(&self.flat, f))
    }

    /// A copy with a buffer of its own; `tracked` makes its parameters start histories.
    pub fn duplicate(&self, tracked: bool) -> Result<Self> {
        let label = |(slot, leaf): (&Slot, &Tensor)| Label {
            name: slot.name.clone(),
            ..leaf.label().cloned().unwrap_or_default()
        };
        let labels = tracked.then(|| self.slots.iter().zip(&self.leaves).map(label).collect());
        Self::over(self.slots.clone(), self.flat.copy()?, labels)
    }

    /// Copies the values of another set of the same slots into this one.
    pub fn copy_from(&self, other: &Params) -> Result<()> {
        if self.slots != other.slots {
            let detail = "the two sets have different names or shapes".to_string();
            return Err(Error::Shape {
                op: "params",
                detail,
            });
        }
        assign(&self.flat(), &other.flat())
    }

    /// Gradients laid into one flat tensor in the order of the slots; parameters without one get zeros.
    pub fn gather(&self, grads: &[Option<Tensor>]) -> Result<Tensor> {
        with_real!("params", self.dtype(), T => {
            let mut out = crate::tensor::buffer::<T>(self.len())?;
            for (slot, grad) in self.slots.iter().zip(grads) {
                if let Some(grad) = grad {
                    grad.with_slice::<T, _>("params", |g| out[slot.start..slot.start + g.len()].copy_from_slice(g))?;
                }
            }
            Tensor::from_vec(out, &[self.len()])
        })
    }
}

/// Changes a tensor's own values in place, for optimizers; every tensor that shares its data sees it. `f` may read
/// other tensors, but nobody who reads may call this.
pub fn update_tensor<T: Real>(tensor: &Tensor, f: impl FnOnce(&mut [T])) -> Result<()> {
    gate::writing(|| tape::update_in_place(&tensor.data, f))
}

/// Changes a tensor's own values by those of another one, of the same number and dtype.
pub fn update_by<T: Real>(to: &Tensor, by: &Tensor, f: impl FnOnce(&mut [T], &[T])) -> Result<()> {
    gate::writing(|| {
        by.with_slice::<T, _>("update", |by| {
            tape::update_in_place(&to.data, |to| f(to, by))
        })?
    })
}

/// Writes the values of a tensor into another of the same shape and float dtype.
pub fn assign(to: &Tensor, from: &Tensor) -> Result<()> {
    with_real!("assign", to.dtype(), T => {
        update_by::<T>(to, from, |to, from| to.copy_from_slice(from))
    })
}
