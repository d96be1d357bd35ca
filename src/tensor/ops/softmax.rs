//! Softmax, its logarithm, and the cross-entropy built on it, in any axis.
//!
//! candle-nn's fused softmax cuts the graph: what lies before it silently gets no gradient.

use crate::{Error, Result, Tensor, simd::kernels, tape::record, tensor::build, with_real};

impl Tensor {
    /// `e^x / sum e^x` along an axis.
    pub fn softmax(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("softmax", axis)?;
        let last = self.move_last(axis)?;
        let n = last.dims().last().copied().unwrap_or(1).max(1);
        let y = with_real!("softmax", last.dtype(), T => last.with_slice::<T, _>("softmax", |x| {
            build::<T>(last.dims(), n, |start, y| {
                let rows = x[start..start + y.len()].chunks_exact(n);
                for (x, y) in rows.zip(y.chunks_exact_mut(n)) { kernels::softmax_row(x, y) }
            })
        })?)?;
        let saved = y.clone();
        let out = record("softmax", y, &[&last], move |ctx, g| {
            let y = ctx.output(&saved);
            let gy = g.mul(&y)?;
            Ok(vec![Some(gy.sub(&y.mul(&gy.sum(&[-1])?.unsqueeze(-1)?)?)?)])
        })?;
        out.move_last_to(axis)
    }

    /// `x - ln sum e^x` along an axis.
    pub fn log_softmax(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("log_softmax", axis)? as i64;
        self.wide(|x| x.sub(&x.logsumexp(axis)?.unsqueeze(axis)?))
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
        let labels = labels.unsqueeze(1)?;
        self.wide(|x| x.log_softmax(1)?.gather(1, &labels)?.mean_all()?.neg())
    }
}
