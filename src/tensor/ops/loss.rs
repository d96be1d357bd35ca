//! The mean squared error with its gradient, each in one pass; losses over the rows of a residual.

use crate::{
    Error, Result, Tensor,
    simd::math::Float,
    tape::{self, record},
    tensor::{build, with_slice},
    with_real,
};

/// What is minimised over the residual `e` of each row of `d` numbers, and averaged over the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowLoss {
    /// `|e|^2 / d`: the mean squared error.
    Square,
    /// `(sqrt(|e|^2 + c^2) - c) / d`: a square near zero, a norm far from it.
    PseudoHuber(f64),
}

impl RowLoss {
    /// The mean loss of `y` against a target of its shape `[n, ..]`; shape `[]`.
    pub fn of(self, y: &Tensor, target: &Tensor) -> Result<Tensor> {
        let RowLoss::PseudoHuber(c) = self else {
            return y.mse(target);
        };
        let rows = y.dims().first().copied().unwrap_or(1);
        let d = (y.len() / rows.max(1)).max(1);
        pseudo_huber(&y.sub(target)?, c)?
            .mean_all()?
            .affine(1.0 / d as f64, 0.0)
    }
}

/// `sqrt(|e|^2 + c^2) - c` of each row of a residual `[n, ..]`; shape `[n]`. As `|e|^2 / (sqrt(|e|^2 + c^2) + c)`, which keeps
/// small residuals.
pub fn pseudo_huber(e: &Tensor, c: f64) -> Result<Tensor> {
    let square = row_squares(e)?;
    let below = square.affine(1.0, c * c)?.sqrt()?.affine(1.0, c)?;
    square.div(&below)
}

/// `|e|^2` of each row of `e: [n, ..]`; shape `[n]`.
pub fn row_squares(e: &Tensor) -> Result<Tensor> {
    let n = e.dims().first().copied().unwrap_or(0);
    e.reshape(&[n, e.len() / n.max(1)])?.sqr()?.sum(&[1])
}

/// The plain composition that the fused form must equal.
pub fn mse_reference(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.sub(b)?.sqr()?.mean_all()
}

impl Tensor {
    /// `mean (a - b)^2` over all elements of two tensors of one shape; shape `[]`.
    pub fn mse(&self, target: &Tensor) -> Result<Tensor> {
        if self.dims() != target.dims() {
            let detail = format!("shapes {:?} and {:?} differ", self.dims(), target.dims());
            return Err(Error::Shape { op: "mse", detail });
        }
        if self.dtype() != target.dtype() {
            return Err(Error::DType {
                op: "mse",
                expected: self.dtype().as_str(),
                got: target.dtype(),
            });
        }
        let n = self.len() as f64;
        let y = with_real!("mse", self.dtype(), T => {
            let total = self.with_slice::<T, _>("mse", |a| target.with_slice::<T, _>("mse", |b| squared_distance(a, b)))??;
            build::<T>(&[], 1, |_, y| y.fill(T::of(total / n)))
        })?;
        let saved = [self.data.clone(), target.data.clone()];
        record("mse", y, &[self, target], move |ctx, g| {
            if ctx.create_graph() {
                return tape::through(ctx, &saved, g, |t| mse_reference(&t[0], &t[1]));
            }
            let scale = 2.0 * g.item()? / n;
            let da = with_real!("mse", g.dtype(), T => {
                let (a, b) = (&saved[0], &saved[1]);
                with_slice::<T, _>("mse", a, |a| with_slice::<T, _>("mse", b, |b| {
                    build::<T>(saved[0].dims(), 64, |start, y| {
                        let r = start..start + y.len();
                        scaled_difference(&a[r.clone()], &b[r], T::of(scale), y);
                    })
                }))??
            })?;
            let da = Tensor::from_candle(da);
            let db = ctx.needs(1).then(|| da.neg()).transpose()?;
            Ok(vec![Some(da), db])
        })
    }
}

crate::simd! {
    /// `sum (a - b)^2`, blocks of 4096 in the working precision, their sum in f64.
    fn squared_distance<T: Float>(a: &[T], b: &[T]) -> f64 {
        const LANES: usize = 32;
        let mut total = 0.0;
        for (a, b) in a.chunks(4096).zip(b.chunks(4096)) {
            let mut lanes = [T::ZERO; LANES];
            let (xs, ys) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
            for (x, y) in xs.remainder().iter().zip(ys.remainder()) {
                let d = *x - *y;
                total += (d * d).to_f64();
            }
            for (x, y) in xs.zip(ys) {
                for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
                    let d = *x - *y;
                    *lane = d.fma(d, *lane);
                }
            }
            for lane in lanes { total += lane.to_f64() }
        }
        total
    }
}
crate::simd! {
    fn scaled_difference<T: Float>(a: &[T], b: &[T], s: T, y: &mut [T]) {
        for ((a, b), y) in a.iter().zip(b).zip(y) { *y = (*a - *b) * s }
    }
}
