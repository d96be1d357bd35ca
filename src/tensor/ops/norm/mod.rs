//! Layer norm and RMS norm over the last axis. (candle's fused ones cut the graph.)

use crate::{
    Error, Result, Tensor,
    simd::{kernels, math::Float},
    tape::record,
    tensor::build,
    with_real,
};

impl Tensor {
    /// `(x - mean) / sqrt(var + eps) * weight + bias` over the last axis; `weight` and `bias`: `[n]`.
    pub fn layer_norm(&self, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
        let weight = affine("layer_norm", self, weight)?;
        let bias = affine("layer_norm", self, bias)?;
        self.wide(|x| {
            let scaled = x.normalise("layer_norm", eps, true)?.mul(weight)?;
            scaled.add(bias)
        })
    }

    /// `x / sqrt(mean x^2 + eps) * weight` over the last axis; `weight`: `[n]`.
    pub fn rms_norm(&self, weight: &Tensor, eps: f64) -> Result<Tensor> {
        let weight = affine("rms_norm", self, weight)?;
        self.wide(|x| x.normalise("rms_norm", eps, false)?.mul(weight))
    }

    /// Rows brought to variance 1 (and mean 0 when `centred`).
    pub(super) fn normalise(&self, op: &'static str, eps: f64, centred: bool) -> Result<Tensor> {
        let n = self.dim(-1)?;
        if n == 0 {
            return Ok(self.clone());
        }
        let y = with_real!(op, self.dtype(), T => self.with_slice::<T, _>(op, |x| {
            build::<T>(self.dims(), n, |start, y| {
                let rows = x[start..start + y.len()].chunks_exact(n);
                for (x, y) in rows.zip(y.chunks_exact_mut(n)) {
                    let (mean, rstd) = kernels::mean_rstd_row(x, eps, centred);
                    let (mean, rstd) = (T::of(mean), T::of(rstd));
                    for (x, y) in x.iter().zip(y) { *y = (*x - mean) * rstd }
                }
            })
        })?)?;
        let (saved, saved_y) = (self.data.clone(), y.clone());
        record(op, y, &[self], move |ctx, g| {
            let (x, y) = (ctx.input(0, &saved), ctx.output(&saved_y));
            let mean = |v: &Tensor| v.mean(&[-1])?.unsqueeze(-1);
            let centre = if centred { x.sub(&mean(&x)?)? } else { x };
            let rstd = mean(&centre.sqr()?)?.affine(1.0, eps)?.powf(-0.5)?;
            // dx = rstd (g - [mean g] - y mean(g y))
            let inner = g.sub(&y.mul(&mean(&g.mul(&y)?)?)?)?;
            let inner = if centred {
                inner.sub(&mean(g)?)?
            } else {
                inner
            };
            Ok(vec![Some(inner.mul(&rstd)?)])
        })
    }
}

fn affine<'a>(op: &'static str, x: &Tensor, w: &'a Tensor) -> Result<&'a Tensor> {
    if w.dims() == [x.dim(-1)?] {
        return Ok(w);
    }
    let detail = format!(
        "weights of shape {:?} do not fit the last axis of {:?}",
        w.dims(),
        x.dims()
    );
    Err(Error::Shape { op, detail })
}
