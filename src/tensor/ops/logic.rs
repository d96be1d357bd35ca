//! Bools: logic, questions about elements, choosing by a mask. What gives bools has no history: a
//! gradient asked for through it alone is an error.

use crate::{DType, Error, Result, Tensor, memory};

impl Tensor {
    /// True where both are not 0, as bool; shapes broadcast.
    pub fn logical_and(&self, other: &Tensor) -> Result<Tensor> {
        self.logic("logical_and", other, |a, b| a.broadcast_mul(b))
    }

    /// True where one of the two is not 0, as bool; shapes broadcast.
    pub fn logical_or(&self, other: &Tensor) -> Result<Tensor> {
        self.logic("logical_or", other, |a, b| a.broadcast_maximum(b))
    }

    /// True where exactly one of the two is not 0, as bool; shapes broadcast.
    pub fn logical_xor(&self, other: &Tensor) -> Result<Tensor> {
        self.logic("logical_xor", other, |a, b| a.broadcast_ne(b))
    }

    fn logic(
        &self,
        op: &'static str,
        other: &Tensor,
        f: fn(
            &candle_core::Tensor,
            &candle_core::Tensor,
        ) -> candle_core::Result<candle_core::Tensor>,
    ) -> Result<Tensor> {
        super::broadcast_shape(op, self.dims(), other.dims())?;
        let (a, b) = (self.to_dtype(DType::Bool)?, other.to_dtype(DType::Bool)?);
        Ok(Tensor::from_mask(f(&a.data, &b.data)?))
    }

    /// True where the element is 0, as bool.
    pub fn logical_not(&self) -> Result<Tensor> {
        self.eq(&Tensor::scalar(0.0, self.dtype())?)
    }

    /// How many elements are not 0, of all (shape `[]`) or along axes, as i64.
    pub fn count_nonzero(&self, axes: Option<&[i64]>) -> Result<Tensor> {
        let flags = self.detach().to_dtype(DType::Bool)?;
        match axes {
            Some(axes) => flags.sum(axes)?.to_dtype(DType::I64),
            None => flags.sum_all(),
        }
    }

    /// Whether any element is not 0, of all or along axes, as bool; false of none.
    pub fn any(&self, axes: Option<&[i64]>) -> Result<Tensor> {
        self.count_nonzero(axes)?.to_dtype(DType::Bool)
    }

    /// Whether every element is not 0, of all or along axes, as bool; true of none.
    pub fn all(&self, axes: Option<&[i64]>) -> Result<Tensor> {
        let zero = self.detach().logical_not()?;
        zero.any(axes)?.logical_not()
    }

    /// True where the element is NaN.
    pub fn isnan(&self) -> Result<Tensor> {
        self.ne(self)
    }

    /// True where the element is infinite.
    pub fn isinf(&self) -> Result<Tensor> {
        self.absolute()?
            .eq(&Tensor::scalar(f64::INFINITY, DType::F64)?)
    }

    /// True where the element is neither NaN nor infinite.
    pub fn isfinite(&self) -> Result<Tensor> {
        self.absolute()?
            .lt(&Tensor::scalar(f64::INFINITY, DType::F64)?)
    }

    fn absolute(&self) -> Result<Tensor> {
        self.detach().to_dtype(self.dtype().float())?.abs()
    }

    /// True where `|a - b| <= atol + rtol |b|`, or both are the same infinity (with `equal_nan`: or NaN).
    pub fn isclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<Tensor> {
        let wide = |x: &Tensor| x.detach().to_dtype(DType::F64);
        let (a, b) = (wide(self)?, wide(other)?);
        let near = a
            .sub(&b)?
            .abs()?
            .le(&b.abs()?.affine(rtol, atol)?)?
            .logical_and(&b.isfinite()?)?
            .logical_or(&a.eq(&b)?)?;
        match equal_nan {
            true => near.logical_or(&a.isnan()?.logical_and(&b.isnan()?)?),
            false => Ok(near),
        }
    }

    /// Whether [`Tensor::isclose`] holds everywhere.
    pub fn allclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<bool> {
        let near = self.isclose(other, rtol, atol, equal_nan)?;
        Ok(near.all(None)?.item()? != 0.0)
    }

    /// `value` where the mask is not 0, else the element; the mask broadcasts to the shape.
    pub fn masked_fill(&self, mask: &Tensor, value: f64) -> Result<Tensor> {
        let shape = super::broadcast_shape("masked_fill", self.dims(), mask.dims())?;
        if shape != self.dims() {
            let detail = format!(
                "a mask of shape {:?} does not fit {:?}",
                mask.dims(),
                self.dims()
            );
            return Err(Error::Shape {
                op: "masked_fill",
                detail,
            });
        }
        Tensor::where_cond(mask, &Tensor::scalar(value, self.dtype())?, self)
    }

    /// NaN, infinity and minus infinity replaced by numbers; they take no gradient.
    pub fn nan_to_num(&self, nan: f64, posinf: f64, neginf: f64) -> Result<Tensor> {
        let is = |value: f64| self.detach().eq(&Tensor::scalar(value, self.dtype())?);
        if !self.dtype().is_float() {
            return Ok(self.clone());
        }
        self.masked_fill(&self.detach().isnan()?, nan)?
            .masked_fill(&is(f64::INFINITY)?, posinf)?
            .masked_fill(&is(f64::NEG_INFINITY)?, neginf)
    }

    /// The places of the elements that are not 0, in row-major order: i64 of shape `[k, rank]`.
    pub fn nonzero(&self) -> Result<Tensor> {
        let places = self.true_places()?;
        let (count, rank) = (places.len(), self.rank());
        memory::ensure(count.saturating_mul(rank), 8)?;
        let mut out = vec![0i64; count * rank];
        for (&place, row) in places.iter().zip(out.chunks_exact_mut(rank.max(1))) {
            let mut rest = place as usize;
            for (at, &size) in row.iter_mut().zip(self.dims()).rev() {
                *at = (rest % size) as i64;
                rest /= size;
            }
        }
        Tensor::from_vec(out, &[count, rank])
    }

    /// The flat places of the elements that are not 0.
    fn true_places(&self) -> Result<Vec<i64>> {
        let flags = self.detach().to_dtype(DType::Bool)?;
        flags.with_slice::<u8, _>("mask", |flags| {
            let places = flags.iter().enumerate().filter(|(_, flag)| **flag != 0);
            places.map(|(i, _)| i as i64).collect()
        })
    }

    /// The parts of `self` where `mask` is not 0, one after the other: `mask` has the shape of the first
    /// axes of `self`, the result is `[k, remaining axes..]`.
    pub fn masked_select(&self, mask: &Tensor) -> Result<Tensor> {
        if !self.dims().starts_with(mask.dims()) {
            let detail = format!(
                "a mask of shape {:?} does not fit the first axes of {:?}",
                mask.dims(),
                self.dims()
            );
            return Err(Error::Shape { op: "mask", detail });
        }
        let places = mask.true_places()?;
        let mut shape = vec![mask.len()];
        shape.extend_from_slice(&self.dims()[mask.rank()..]);
        let count = places.len();
        self.reshape(&shape)?
            .index_select(0, &Tensor::from_vec(places, &[count])?)
    }
}
