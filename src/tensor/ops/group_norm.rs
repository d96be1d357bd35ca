//! Group norm: the channels of an image in groups, each brought to mean 0 and variance 1.

use crate::{Error, Result, Tensor};

impl Tensor {
    /// `(x - mean) / sqrt(var + eps) * weight + bias` for `x: [n, c, ..]`, where mean and variance are those of a
    /// sample's group of `c / groups` neighbouring channels with all their places; `weight` and `bias`: `[c]`.
    /// (Wu, He 2018, arXiv 1803.08494.)
    pub fn group_norm(
        &self,
        groups: usize,
        weight: &Tensor,
        bias: &Tensor,
        eps: f64,
    ) -> Result<Tensor> {
        let fits = |c: usize| {
            groups > 0 && c.is_multiple_of(groups) && weight.dims() == [c] && bias.dims() == [c]
        };
        let (n, c) = match *self.dims() {
            [n, c, ..] if fits(c) => (n, c),
            _ => {
                let detail = format!(
                    "expected x [n, c, ..] with c a multiple of {groups}, weight [c], bias [c], got {:?}, {:?}, {:?}",
                    self.dims(),
                    weight.dims(),
                    bias.dims()
                );
                return Err(Error::Shape {
                    op: "group_norm",
                    detail,
                });
            }
        };
        if self.is_empty() {
            return Ok(self.clone());
        }
        let mut channels = vec![1; self.rank() - 1];
        channels[0] = c;
        self.wide(|x| {
            x.reshape(&[n, groups, x.len() / (n * groups)])?
                .normalise("group_norm", eps, true)?
                .reshape(x.dims())?
                .mul(&weight.reshape(&channels)?)?
                .add(&bias.reshape(&channels)?)
        })
    }
}
