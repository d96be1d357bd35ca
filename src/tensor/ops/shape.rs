//! Views and rearrangements: no value changes, only where it stands.

use crate::{Error, Result, Tensor, memory, tape::record};

impl Tensor {
    /// The same values in another shape of as many elements.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        if memory::count("reshape", shape)? != self.len() {
            let detail = format!(
                "{:?} has {} elements, {shape:?} has {}",
                self.dims(),
                self.len(),
                shape.iter().product::<usize>()
            );
            return Err(Error::Shape {
                op: "reshape",
                detail,
            });
        }
        let from = self.dims().to_vec();
        record(
            "reshape",
            self.data.reshape(shape)?,
            &[self],
            move |_, g| Ok(vec![Some(g.reshape(&from)?)]),
        )
    }

    /// Axes in another order: axis `i` of the result is axis `order[i]`.
    pub fn permute(&self, order: &[i64]) -> Result<Tensor> {
        let axes = order
            .iter()
            .map(|&a| self.axis("permute", a))
            .collect::<Result<Vec<_>>>()?;
        let mut inverse = vec![usize::MAX; self.rank()];
        axes.iter().enumerate().for_each(|(i, &a)| inverse[a] = i);
        if axes.len() != self.rank() || inverse.contains(&usize::MAX) {
            let detail = format!(
                "{order:?} does not name each of the {} axes of {:?} once",
                self.rank(),
                self.dims()
            );
            return Err(Error::Value {
                op: "permute",
                detail,
            });
        }
        let back: Vec<i64> = inverse.iter().map(|&i| i as i64).collect();
        record("permute", self.data.permute(axes)?, &[self], move |_, g| {
            Ok(vec![Some(g.permute(&back)?)])
        })
    }

    /// The last two axes exchanged.
    pub fn t(&self) -> Result<Tensor> {
        let rank = self.rank() as i64;
        if rank < 2 {
            let detail = format!("needs at least 2 axes, got shape {:?}", self.dims());
            return Err(Error::Shape { op: "t", detail });
        }
        let order: Vec<i64> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
        self.permute(&order)
    }

    /// The axis moved to the end, the others in their order.
    pub(crate) fn move_last(&self, axis: usize) -> Result<Tensor> {
        if axis + 1 == self.rank() {
            return Ok(self.clone());
        }
        let order: Vec<i64> = (0..self.rank())
            .filter(|&i| i != axis)
            .chain([axis])
            .map(|i| i as i64)
            .collect();
        self.permute(&order)
    }

    /// The last axis moved to `axis`: the inverse of [`Tensor::move_last`].
    pub(crate) fn move_last_to(&self, axis: usize) -> Result<Tensor> {
        let last = self.rank() - 1;
        let order: Vec<i64> = (0..last).map(|i| i as i64).collect();
        let mut order = order;
        order.insert(axis, last as i64);
        self.permute(&order)
    }

    /// Without an axis of size 1.
    pub fn squeeze(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("squeeze", axis)?;
        if self.dims()[axis] != 1 {
            let detail = format!(
                "axis {axis} of shape {:?} has size {}, not 1",
                self.dims(),
                self.dims()[axis]
            );
            return Err(Error::Shape {
                op: "squeeze",
                detail,
            });
        }
        let mut shape = self.dims().to_vec();
        shape.remove(axis);
        self.reshape(&shape)
    }

    /// With a new axis of size 1 at `axis` (-1: at the end).
    pub fn unsqueeze(&self, axis: i64) -> Result<Tensor> {
        let rank = self.rank() as i64;
        let at = if axis < 0 { axis + rank + 1 } else { axis };
        if !(0..=rank).contains(&at) {
            return Err(Error::Axis {
                op: "unsqueeze",
                axis,
                shape: self.dims().to_vec(),
            });
        }
        let mut shape = self.dims().to_vec();
        shape.insert(at as usize, 1);
        self.reshape(&shape)
    }

    /// Repeated along axes of size 1 (and new leading axes) to the given shape; a view, no copy.
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Tensor> {
        memory::count("broadcast_to", shape)?;
        let fits = super::binary::broadcast_shape("broadcast_to", self.dims(), shape)? == shape;
        if !fits {
            let detail = format!("{:?} does not broadcast to {shape:?}", self.dims());
            return Err(Error::Shape {
                op: "broadcast_to",
                detail,
            });
        }
        let from = self.dims().to_vec();
        record(
            "broadcast_to",
            self.data.broadcast_as(shape)?,
            &[self],
            move |_, g| Ok(vec![Some(g.sum_to(&from)?)]),
        )
    }

    /// `len` places from `start` along an axis; a view, no copy.
    pub fn narrow(&self, axis: i64, start: usize, len: usize) -> Result<Tensor> {
        let axis = self.axis("narrow", axis)?;
        let size = self.dims()[axis];
        if start.checked_add(len).is_none_or(|end| end > size) {
            let detail = format!(
                "places {start}..{} are outside of axis {axis} of shape {:?}",
                start.saturating_add(len),
                self.dims()
            );
            return Err(Error::Shape {
                op: "narrow",
                detail,
            });
        }
        let after = size - start - len;
        record(
            "narrow",
            self.data.narrow(axis, start, len)?,
            &[self],
            move |_, g| Ok(vec![Some(g.pad(axis as i64, start, after)?)]),
        )
    }

    /// Zeros put before and after along an axis.
    pub fn pad(&self, axis: i64, before: usize, after: usize) -> Result<Tensor> {
        let axis = self.axis("pad", axis)?;
        let size = self.dims()[axis];
        let mut shape = self.dims().to_vec();
        shape[axis] = before.saturating_add(size).saturating_add(after);
        memory::ensure(memory::count("pad", &shape)?, self.dtype().size_in_bytes())?;
        record(
            "pad",
            self.data.pad_with_zeros(axis, before, after)?,
            &[self],
            move |_, g| Ok(vec![Some(g.narrow(axis as i64, before, size)?)]),
        )
    }

    /// The values as one block in row-major order; itself when they are already.
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.data.is_contiguous() {
            return Ok(self.clone());
        }
        memory::ensure(self.len(), self.dtype().size_in_bytes())?;
        record(
            "contiguous",
            crate::layout::contiguous(&self.data)?,
            &[self],
            |_, g| Ok(vec![Some(g.clone())]),
        )
    }

    /// The order along an axis reversed.
    pub fn flip(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("flip", axis)?;
        record(
            "flip",
            self.data.contiguous()?.flip(&[axis])?,
            &[self],
            move |_, g| Ok(vec![Some(g.flip(axis as i64)?)]),
        )
    }

    /// Tensors joined along an axis; all other sizes must agree.
    pub fn cat(parts: &[&Tensor], axis: i64) -> Result<Tensor> {
        let Some(first) = parts.first() else {
            return Err(Error::Value {
                op: "cat",
                detail: "needs at least one tensor".into(),
            });
        };
        let at = first.axis("cat", axis)?;
        for (i, part) in parts.iter().enumerate() {
            let same = part.rank() == first.rank()
                && (0..first.rank()).all(|a| a == at || part.dims()[a] == first.dims()[a]);
            if !same {
                let detail = format!(
                    "tensor {i} of shape {:?} does not fit {:?} along axis {at}",
                    part.dims(),
                    first.dims()
                );
                return Err(Error::Shape { op: "cat", detail });
            }
            if part.dtype() != first.dtype() {
                return Err(Error::DType {
                    op: "cat",
                    expected: first.dtype().as_str(),
                    got: part.dtype(),
                });
            }
        }
        let total: usize = parts.iter().map(|p| p.len()).sum();
        memory::ensure(total, first.dtype().size_in_bytes())?;
        let data: Vec<&candle_core::Tensor> = parts.iter().map(|p| &p.data).collect();
        let sizes: Vec<usize> = parts.iter().map(|p| p.dims()[at]).collect();
        record(
            "cat",
            candle_core::Tensor::cat(&data, at)?,
            parts,
            move |ctx, g| {
                let mut start = 0;
                let mut cut = |(i, &size): (usize, &usize)| {
                    let from = start;
                    start += size;
                    ctx.needs(i)
                        .then(|| g.narrow(at as i64, from, size))
                        .transpose()
                };
                sizes.iter().enumerate().map(&mut cut).collect()
            },
        )
    }

    /// Tensors of one shape put side by side along a new axis.
    pub fn stack(parts: &[&Tensor], axis: i64) -> Result<Tensor> {
        let wide = parts
            .iter()
            .map(|p| p.unsqueeze(axis))
            .collect::<Result<Vec<_>>>()?;
        Tensor::cat(&wide.iter().collect::<Vec<_>>(), axis)
    }
}
