//! Softmax, its logarithm, and the cross-entropy built on it, in any axis.
//!
//! candle-nn's fused softmax cuts the graph: what lies before it silently gets no gradient.

use crate::{
    Error, Real, Result, Tensor,
    simd::{kernels, math::Float},
    tape::{self, record},
    tensor::{build, with_slice},
    with_real,
};

impl Tensor {
    /// `e^x / sum e^x` along an axis.
    pub fn softmax(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("softmax", axis)?;
        let last = self.move_last(axis)?;
        let n = last.dims().last().copied().unwrap_or(1).max(1);
        let y = with_real!("softmax", last.dtype(), T => last.with_slice::<T, _>("softmax", |x| {
            build::<T>(last.dims(), n, |start, y| {
                kernels::softmax_rows(&x[start..start + y.len()], n, y);
            })
        })?)?;
        let saved = y.clone();
        let out = record("softmax", y, &[&last], move |ctx, g| {
            if ctx.create_graph() {
                let y = ctx.output(&saved);
                let gy = g.mul(&y)?;
                return Ok(vec![Some(gy.sub(&y.mul(&gy.sum(&[-1])?.unsqueeze(-1)?)?)?)]);
            }
            let dx = with_real!("softmax", g.dtype(), T => row_back::<T>(&saved, &g.data, n, kernels::softmax_rows_back))?;
            Ok(vec![Some(Tensor::from_candle(dx))])
        })?;
        out.move_last_to(axis)
    }

    /// `x - ln sum e^x` along an axis.
    pub fn log_softmax(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("log_softmax", axis)?;
        let last = self.to_dtype(self.dtype().float())?.move_last(axis)?;
        let n = last.dims().last().copied().unwrap_or(1).max(1);
        let y = with_real!("log_softmax", last.dtype(), T => last.with_slice::<T, _>("log_softmax", |x| {
            build::<T>(last.dims(), n, |start, y| {
                kernels::log_softmax_rows(&x[start..start + y.len()], n, y);
            })
        })?)?;
        let saved = y.clone();
        let out = record("log_softmax", y, &[&last], move |ctx, g| {
            if ctx.create_graph() {
                let weights = ctx.output(&saved).exp()?;
                let total = g.sum(&[-1])?.unsqueeze(-1)?;
                return Ok(vec![Some(g.sub(&weights.mul(&total)?)?)]);
            }
            let dx = with_real!("log_softmax", g.dtype(), T => row_back::<T>(&saved, &g.data, n, kernels::log_softmax_rows_back))?;
            Ok(vec![Some(Tensor::from_candle(dx))])
        })?;
        out.move_last_to(axis)
    }

    /// Mean cross-entropy of logits `[n, classes]` against labels `[n]` (whole numbers): `mean -ln softmax(x)[label]`.
    pub fn cross_entropy(&self, labels: &Tensor) -> Result<Tensor> {
        if self.rank() != 2 || labels.dims() != &self.dims()[..1] {
            let detail = format!(
                "expected logits [n, classes] and labels [n], got {:?} and {:?}",
                self.dims(),
                labels.dims()
            );
            return Err(Error::Shape {
                op: "cross_entropy",
                detail,
            });
        }
        let classes = self.dims()[1];
        let places = labels.to_ints("cross_entropy")?;
        let known = |label: &&i64| usize::try_from(**label).is_ok_and(|label| label < classes);
        if self.is_empty() || !places.iter().all(|label| known(&label)) {
            return cross_entropy_reference(self, labels);
        }
        self.wide(|x| x.fused_cross_entropy(labels, places))
    }

    /// One pass for the value, which keeps `ln sum e^x` of each row, and one for the gradient.
    fn fused_cross_entropy(&self, labels: &Tensor, places: Vec<i64>) -> Result<Tensor> {
        let (n, classes) = (self.dims()[0], self.dims()[1]);
        let lse = self.detach().logsumexp(1)?;
        let y = with_real!("cross_entropy", self.dtype(), T => {
            let total = self.with_slice::<T, _>("cross_entropy", |x| lse.with_slice::<T, _>("cross_entropy", |lse| {
                let rows = x.chunks_exact(classes).zip(lse).zip(&places);
                rows.map(|((row, lse), &label)| Float::to_f64(*lse - row[label as usize])).sum::<f64>()
            }))??;
            build::<T>(&[], 1, |_, y| y.fill(T::of(total / n as f64)))
        })?;
        let (saved, labels) = (self.data.clone(), labels.clone());
        record("cross_entropy", y, &[self], move |ctx, g| {
            if ctx.create_graph() {
                let saved = std::slice::from_ref(&saved);
                return tape::through(ctx, saved, g, |x| cross_entropy_reference(&x[0], &labels));
            }
            let scale = g.item()? / n as f64;
            let dx = with_real!("cross_entropy", g.dtype(), T => {
                cross_entropy_back::<T>(&saved, &lse.data, &places, T::of(scale))
            })?;
            Ok(vec![Some(Tensor::from_candle(dx))])
        })
    }
}

/// The plain composition that the fused form must equal.
fn cross_entropy_reference(x: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let labels = labels.unsqueeze(1)?;
    x.wide(|x| x.log_softmax(1)?.gather(1, &labels)?.mean_all()?.neg())
}

/// The derivative of an operation on rows of `n`, from its value and the gradient of it.
fn row_back<T: Real>(
    y: &candle_core::Tensor,
    g: &candle_core::Tensor,
    n: usize,
    back: fn(&[T], &[T], usize, &mut [T]),
) -> Result<candle_core::Tensor> {
    with_slice::<T, _>("softmax", y, |y_all| {
        with_slice::<T, _>("softmax", g, |g| {
            build::<T>(y.dims(), n, |start, dx| {
                let range = start..start + dx.len();
                back(&y_all[range.clone()], &g[range], n, dx);
            })
        })
    })??
}

/// `scale (softmax(x) - 1 at the label)`.
fn cross_entropy_back<T: Real>(
    x: &candle_core::Tensor,
    lse: &candle_core::Tensor,
    labels: &[i64],
    scale: T,
) -> Result<candle_core::Tensor> {
    let n = x.dims()[1];
    with_slice::<T, _>("cross_entropy", x, |x_all| {
        with_slice::<T, _>("cross_entropy", lse, |lse| {
            build::<T>(x.dims(), n, |start, dx| {
                let rows = start / n..(start + dx.len()) / n;
                kernels::scaled_exp_rows(
                    &x_all[start..start + dx.len()],
                    &lse[rows.clone()],
                    scale,
                    dx,
                );
                for (dx, &label) in dx.chunks_exact_mut(n).zip(&labels[rows]) {
                    dx[label as usize] += -scale;
                }
            })
        })
    })??
}
