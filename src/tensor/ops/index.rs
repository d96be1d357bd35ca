//! Picking values by index. Indices are i64 and are checked: candle would read past the end.

use crate::{DType, Error, Result, Tensor, memory, tape::record};

impl Tensor {
    /// The places `indices` (shape `[k]`) along an axis.
    pub fn index_select(&self, axis: i64, indices: &Tensor) -> Result<Tensor> {
        let axis = self.axis("index_select", axis)?;
        if indices.rank() != 1 {
            let detail = format!("indices must have shape [k], got {:?}", indices.dims());
            return Err(Error::Shape {
                op: "index_select",
                detail,
            });
        }
        let indices = checked("index_select", indices, self.dims()[axis])?;
        let mut shape = self.dims().to_vec();
        shape[axis] = indices.elem_count();
        memory::ensure(
            memory::count("index_select", &shape)?,
            self.dtype().size_in_bytes(),
        )?;
        let data = self.data.contiguous()?.index_select(&indices, axis)?;
        let shape = self.dims().to_vec();
        record("index_select", data, &[self], move |_, g| {
            Ok(vec![Some(g.index_add_into(&shape, axis, &indices)?)])
        })
    }

    /// Zeros of shape `shape` to which the places of `self` are added at `indices` along an axis:
    /// the gradient of [`Tensor::index_select`], and its own inverse.
    pub(super) fn index_add_into(
        &self,
        shape: &[usize],
        axis: usize,
        indices: &candle_core::Tensor,
    ) -> Result<Tensor> {
        let zeros = Tensor::zeros(shape, self.dtype())?;
        let data = zeros
            .data
            .index_add(indices, &self.data.contiguous()?, axis)?;
        let back = Tensor::from_candle(indices.clone());
        record("index_add", data, &[self], move |_, g| {
            Ok(vec![Some(g.index_select(axis as i64, &back)?)])
        })
    }

    /// `y[i, j] = x[i, index[i, j]]` (for axis 1; likewise for others): sizes agree except along the axis.
    pub fn gather(&self, axis: i64, index: &Tensor) -> Result<Tensor> {
        let axis = self.axis("gather", axis)?;
        let fits = index.rank() == self.rank()
            && (0..self.rank()).all(|a| a == axis || index.dims()[a] == self.dims()[a]);
        if !fits {
            let detail = format!(
                "index of shape {:?} does not fit {:?} along axis {axis}",
                index.dims(),
                self.dims()
            );
            return Err(Error::Shape {
                op: "gather",
                detail,
            });
        }
        let index = checked("gather", index, self.dims()[axis])?.contiguous()?;
        let data = self.data.contiguous()?.gather(&index, axis)?;
        let shape = self.dims().to_vec();
        record("gather", data, &[self], move |_, g| {
            Ok(vec![Some(g.scatter_add_into(&shape, axis, &index)?)])
        })
    }

    /// Zeros of shape `shape` to which the values of `self` are added where `index` says: the
    /// gradient of [`Tensor::gather`]. (candle's forward is right here, its gradient is not.)
    pub(super) fn scatter_add_into(
        &self,
        shape: &[usize],
        axis: usize,
        index: &candle_core::Tensor,
    ) -> Result<Tensor> {
        let zeros = Tensor::zeros(shape, self.dtype())?;
        let data = zeros
            .data
            .scatter_add(index, &self.data.contiguous()?, axis)?;
        let back = Tensor::from_candle(index.clone());
        record("scatter_add", data, &[self], move |_, g| {
            Ok(vec![Some(g.gather(axis as i64, &back)?)])
        })
    }

    /// One place along an axis, which is dropped; negative ones count from the end.
    pub fn select(&self, axis: i64, index: i64) -> Result<Tensor> {
        let at = self.axis("index", axis)?;
        let size = self.dims()[at];
        let place = if index < 0 {
            index + size as i64
        } else {
            index
        };
        if !(0..size as i64).contains(&place) {
            return Err(Error::Index {
                op: "index",
                index,
                size,
            });
        }
        self.narrow(at as i64, place as usize, 1)?
            .squeeze(at as i64)
    }
}

/// Indices as i64 data: negative ones from the end, an error for those outside.
pub(super) fn checked(
    op: &'static str,
    indices: &Tensor,
    size: usize,
) -> Result<candle_core::Tensor> {
    let mut values = indices.to_ints(op)?;
    for value in &mut values {
        let place = if *value < 0 {
            *value + size as i64
        } else {
            *value
        };
        if !(0..size as i64).contains(&place) {
            return Err(Error::Index {
                op,
                index: *value,
                size,
            });
        }
        *value = place;
    }
    Ok(Tensor::from_vec(values, indices.dims())?
        .to_dtype(DType::I64)?
        .data)
}
