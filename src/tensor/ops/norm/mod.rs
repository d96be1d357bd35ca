//! Layer norm and RMS norm over the last axis, group norm over the channels of an image: one pass for the value,
//! one for all gradients. (candle's fused ones cut the graph.)
//!
//! ```text
//! y = (x - m) r w + b        m = mean x,  r = 1 / sqrt(mean (x - m)^2 + eps)        (RMS norm: m = 0, b = 0)
//! dx = r (g w - mean(g w) - u mean(g w u)),   dw = sum g u,   db = sum g             with u = (x - m) r
//! ```

mod cpu;

use crate::{
    Error, Result, Tensor,
    tape::{self, record},
    with_real,
};

/// How rows are brought to variance 1, and which weight belongs to an element.
#[derive(Clone, Copy)]
struct Norm {
    op: &'static str,
    /// Size of a row: the last axis, or a group of channels with all their places.
    row: usize,
    /// Neighbours that share a weight: the places of a channel.
    places: usize,
    /// Rows after which the weights begin again: the groups of a sample.
    cycle: usize,
    eps: f64,
    /// Whether the mean is taken off.
    centred: bool,
}

impl Norm {
    /// Weights of a row.
    fn channels(&self) -> usize {
        self.row / self.places.max(1)
    }
}

impl Tensor {
    /// `(x - mean) / sqrt(var + eps) * weight + bias` over the last axis; `weight` and `bias`: `[n]`.
    pub fn layer_norm(&self, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
        let row = self.dim(-1)?;
        let fits = weight.dims() == [row] && bias.dims() == [row];
        over_last("layer_norm", self, fits, weight)?;
        let norm = Norm {
            op: "layer_norm",
            row,
            places: 1,
            cycle: 1,
            eps,
            centred: true,
        };
        self.wide(|x| x.norm_by(norm, weight, Some(bias)))
    }

    /// `x / sqrt(mean x^2 + eps) * weight` over the last axis; `weight`: `[n]`.
    pub fn rms_norm(&self, weight: &Tensor, eps: f64) -> Result<Tensor> {
        let row = self.dim(-1)?;
        over_last("rms_norm", self, weight.dims() == [row], weight)?;
        let norm = Norm {
            op: "rms_norm",
            row,
            places: 1,
            cycle: 1,
            eps,
            centred: false,
        };
        self.wide(|x| x.norm_by(norm, weight, None))
    }

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
        let places = match self.dims() {
            [_, c, rest @ ..] if fits(*c) => rest.iter().product::<usize>(),
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
        let norm = Norm {
            op: "group_norm",
            row: self.dims()[1] / groups * places,
            places,
            cycle: groups,
            eps,
            centred: true,
        };
        self.wide(|x| x.norm_by(norm, weight, Some(bias)))
    }

    /// The fused operation.
    fn norm_by(&self, norm: Norm, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        if self.is_empty() {
            return Ok(self.clone());
        }
        let weight = weight.to_dtype(self.dtype())?;
        let bias = bias.map(|b| b.to_dtype(self.dtype())).transpose()?;
        let inputs: Vec<&Tensor> = [self, &weight].into_iter().chain(&bias).collect();
        let saved: Vec<candle_core::Tensor> = inputs.iter().map(|t| t.data.clone()).collect();
        let (y, stats) = with_real!(norm.op, self.dtype(), T => cpu::forward::<T>(norm, &saved))?;
        record(norm.op, y, &inputs, move |ctx, g| {
            if ctx.create_graph() {
                return tape::through(ctx, &saved, g, |t| reference(norm, t));
            }
            let wants_weights = ctx.needs(1) || ctx.needs(2);
            let grads = with_real!(norm.op, g.dtype(), T => {
                cpu::backward::<T>(norm, &saved, &stats, &g.data, wants_weights)
            })?;
            Ok(grads.into_iter().take(saved.len()).collect())
        })
    }
}

/// The plain composition that the fused form must equal, of `x`, the weight and, where there is one, the bias.
fn reference(norm: Norm, inputs: &[Tensor]) -> Result<Tensor> {
    let (x, weight) = (&inputs[0], &inputs[1]);
    let rows = x.reshape(&[x.len() / norm.row, norm.row])?;
    let mean = |v: &Tensor| v.mean(&[-1])?.unsqueeze(-1);
    let centre = if norm.centred {
        rows.sub(&mean(&rows)?)?
    } else {
        rows
    };
    let rstd = mean(&centre.sqr()?)?.affine(1.0, norm.eps)?.powf(-0.5)?;
    let sized = [
        x.len() / norm.row / norm.cycle,
        norm.cycle * norm.channels(),
        norm.places,
    ];
    let channels = |w: &Tensor| w.reshape(&[1, w.len(), 1]);
    let y = centre
        .mul(&rstd)?
        .reshape(&sized)?
        .mul(&channels(weight)?)?;
    let y = match inputs.get(2) {
        Some(bias) => y.add(&channels(bias)?)?,
        None => y,
    };
    y.reshape(x.dims())
}

fn over_last(op: &'static str, x: &Tensor, fits: bool, w: &Tensor) -> Result<()> {
    if fits {
        return Ok(());
    }
    let detail = format!(
        "weights of shape {:?} do not fit the last axis of {:?}",
        w.dims(),
        x.dims()
    );
    Err(Error::Shape { op, detail })
}
