//! Running sums and products along an axis, and products as their last value.

use crate::{
    DType, Real, Result, Tensor, simd::math::Float, tape::record, tensor::build, with_real,
};

/// What a running reduction does with the next element.
#[derive(Clone, Copy)]
enum Scan {
    Sum,
    Product,
}

impl Tensor {
    /// `y_i = x_0 + ... + x_i` along an axis. The sum is kept in f64.
    pub fn cumsum(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("cumsum", axis)?;
        if !self.dtype().is_float() {
            return self.scan_ints("cumsum", axis, i64::wrapping_add);
        }
        let last = self.move_last(axis)?;
        let y = with_real!("cumsum", last.dtype(), T => scan::<T>("cumsum", &last, Scan::Sum))?;
        let y = record("cumsum", y, &[&last], |_, g| {
            Ok(vec![Some(g.flip(-1)?.cumsum(-1)?.flip(-1)?)])
        })?;
        y.move_last_to(axis)
    }

    /// `y_i = x_0 ... x_i` along an axis.
    pub fn cumprod(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("cumprod", axis)?;
        if !self.dtype().is_float() {
            return self.scan_ints("cumprod", axis, i64::wrapping_mul);
        }
        let last = self.move_last(axis)?;
        let y =
            with_real!("cumprod", last.dtype(), T => scan::<T>("cumprod", &last, Scan::Product))?;
        let (saved, saved_y) = (last.data.clone(), y.clone());
        let y = record("cumprod", y, &[&last], move |ctx, g| {
            let (x, y) = (ctx.input(0, &saved), ctx.output(&saved_y));
            let back = |x: &Tensor| x.flip(-1)?.cumsum(-1)?.flip(-1);
            let has_zero = x.detach().logical_not()?.any(None)?.item()? != 0.0;
            let dx = if has_zero || ctx.create_graph() {
                products_without(&x, g)?
            } else {
                // dx_j = sum_{i >= j} g_i y_i / x_j
                back(&g.mul(&y)?)?.div(&x)?
            };
            Ok(vec![Some(dx)])
        })?;
        y.move_last_to(axis)
    }

    /// The product along an axis, which is dropped; 1 of none.
    pub fn prod(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("prod", axis)?;
        if self.dims()[axis] == 0 {
            // Ones, with the history that a sum of nothing has.
            let ones = Tensor::ones(&[], self.dtype().counting())?;
            return self.sum(&[axis as i64])?.add(&ones);
        }
        self.cumprod(axis as i64)?.select(axis as i64, -1)
    }

    /// The product of all elements, shape `[]`; 1 of none.
    pub fn prod_all(&self) -> Result<Tensor> {
        self.reshape(&[self.len()])?.prod(0)
    }

    fn scan_ints(&self, op: &'static str, axis: usize, f: fn(i64, i64) -> i64) -> Result<Tensor> {
        let last = self.move_last(axis)?;
        let n = last.dim(-1)?.max(1);
        let mut values = last.to_ints(op)?;
        for row in values.chunks_exact_mut(n) {
            for i in 1..row.len() {
                row[i] = f(row[i - 1], row[i]);
            }
        }
        Tensor::from_vec(values, last.dims())?
            .to_dtype(DType::I64)?
            .move_last_to(axis)
    }
}

/// The gradient of a running product where elements may be 0: `dx_j = sum_{i >= j} g_i prod_{k <= i, k != j} x_k`,
/// in n^2 steps a row, in tensor operations.
fn products_without(x: &Tensor, g: &Tensor) -> Result<Tensor> {
    let n = x.dim(-1)?;
    let mut wide = x.dims().to_vec();
    wide.push(n);
    wide.swap(x.rank() - 1, x.rank());
    crate::memory::ensure(crate::memory::count("cumprod", &wide)?, 3 * 8)?;
    // Row j has x_j replaced by 1.
    let own = Tensor::eye(n, DType::Bool)?;
    let others = Tensor::where_cond(&own, &Tensor::scalar(1.0, x.dtype())?, &x.unsqueeze(-2)?)?;
    let places = Tensor::arange(0.0, 1.0, n, DType::I64)?;
    let later = places.ge(&places.unsqueeze(1)?)?.to_dtype(g.dtype())?;
    others
        .cumprod(-1)?
        .mul(&later)?
        .mul(&g.unsqueeze(-2)?)?
        .sum(&[-1])
}

fn scan<T: Real>(op: &'static str, x: &Tensor, kind: Scan) -> Result<candle_core::Tensor> {
    let n = x.dims().last().copied().unwrap_or(1).max(1);
    x.with_slice::<T, _>(op, |x| {
        build::<T>(x_dims(x.len(), n).as_slice(), n, |start, y| {
            for (x, y) in x[start..start + y.len()]
                .chunks_exact(n)
                .zip(y.chunks_exact_mut(n))
            {
                let mut state = if matches!(kind, Scan::Sum) { 0.0 } else { 1.0 };
                for (x, y) in x.iter().zip(y) {
                    match kind {
                        Scan::Sum => state += Float::to_f64(*x),
                        Scan::Product => state *= Float::to_f64(*x),
                    }
                    *y = T::of(state);
                }
            }
        })
    })?
    .and_then(|flat| Ok(flat.reshape(x.dims())?))
}

fn x_dims(len: usize, n: usize) -> [usize; 2] {
    [len / n, n]
}
