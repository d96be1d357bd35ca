//! What is minimised over the residual `e = v(x_t, t) - (x1 - x0)` of a sample of `d` elements.
//!
//! ```text
//! mse            |e|^2 / d
//! l2             sqrt(|e|^2 / d)
//! pseudo-huber   (sqrt(|e|^2 + c^2) - c) / d                          c = 0.00054 d
//! perceptual     P(x1_hat, x1)                                        x1_hat = x_t + (1 - t) v
//! perceptual-huber            t * pseudo-huber + P(x1_hat, x1)
//! perceptual-huber-weighted   t * pseudo-huber + P(x1_hat, x1) / (1 - t)
//! ```
//!
//! (Lee, Lin, Fanti 2024, arXiv 2405.20320, whose time runs the other way; `c` as in its code, whose loss is divided by `d`. The
//! 0.00054 sqrt(d) of consistency training is another one.) `P` is a function of the caller's, one number a sample: no weights of a network ship
//! with this library.

use std::sync::Arc;

use rhapsode_tensor::{
    Tensor,
    ops::loss::{self as ops, RowLoss},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A loss of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlowLoss {
    /// The mean square of the residual.
    #[default]
    Mse,
    /// Its root, sample by sample.
    L2,
    /// A square near zero, a norm far from it.
    PseudoHuber,
    /// A distance of predicted and true data.
    Perceptual,
    /// Both, the first weighted by t.
    PerceptualHuber,
    /// Both, the second also divided by 1 - t.
    PerceptualHuberWeighted,
}

/// Every loss by name.
pub const LOSSES: &[(&str, FlowLoss)] = &[
    ("mse", FlowLoss::Mse),
    ("l2", FlowLoss::L2),
    ("pseudo-huber", FlowLoss::PseudoHuber),
    ("perceptual", FlowLoss::Perceptual),
    ("perceptual-huber", FlowLoss::PerceptualHuber),
    (
        "perceptual-huber-weighted",
        FlowLoss::PerceptualHuberWeighted,
    ),
];

/// A function of predicted and true data.
pub type DistanceFn = Arc<dyn Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync>;

/// A distance of predicted and true data `[n, ..]`, one number a sample `[n]`.
#[derive(Clone)]
pub struct Distance(pub DistanceFn);

impl std::fmt::Debug for Distance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closure")
    }
}

impl FlowLoss {
    /// Whether it compares predicted with true data.
    pub fn is_perceptual(self) -> bool {
        !matches!(self, FlowLoss::Mse | FlowLoss::L2 | FlowLoss::PseudoHuber)
    }

    /// As a loss of rows that a whole network takes in one pass, where it is one.
    pub fn of_rows(self, c: f64) -> Option<RowLoss> {
        match self {
            FlowLoss::Mse => Some(RowLoss::Square),
            FlowLoss::PseudoHuber => Some(RowLoss::PseudoHuber(c)),
            _ => None,
        }
    }
}

/// Pseudo-Huber of each row of a residual `[n, ..]`, not divided by the number of elements; shape `[n]`.
pub fn pseudo_huber(e: &Tensor, c: f64) -> Result<Tensor> {
    Ok(ops::pseudo_huber(e, c)?)
}

/// The `c` of samples of `d` elements.
pub fn default_c(d: usize) -> f64 {
    0.00054 * d as f64
}

/// `t H + P` or `t H + P / (1 - t)`, each `[n]`.
pub fn combined(huber: &Tensor, perceptual: &Tensor, t: &Tensor, weighted: bool) -> Result<Tensor> {
    let perceptual = match weighted {
        true => perceptual.div(&t.affine(-1.0, 1.0)?)?,
        false => perceptual.clone(),
    };
    Ok(t.mul(huber)?.add(&perceptual)?)
}

/// The residuals of a batch, and what is needed to see the data behind them.
pub struct Residual<'a> {
    /// Predicted velocity `[n, d]`.
    pub v: &'a Tensor,
    /// `x1 - x0`, `[n, d]`.
    pub target: &'a Tensor,
    /// `x_t`, `[n, d]`.
    pub xt: &'a Tensor,
    /// Times `[n]`.
    pub t: &'a Tensor,
}

impl Residual<'_> {
    /// The mean loss of the batch.
    pub fn loss(&self, kind: FlowLoss, c: f64, distance: Option<&Distance>) -> Result<Tensor> {
        if let Some(loss) = kind.of_rows(c) {
            return Ok(loss.of(self.v, self.target)?);
        }
        let (n, d) = (self.v.dim(0)?, self.v.len() / self.v.dim(0)?.max(1));
        let e = self.v.sub(self.target)?;
        let share = 1.0 / d.max(1) as f64;
        if kind == FlowLoss::L2 {
            // A little more than 0 under the root, whose slope is infinite there.
            return Ok(ops::row_squares(&e)?
                .affine(share, 1e-24)?
                .sqrt()?
                .mean_all()?);
        }
        let huber = || -> Result<Tensor> { Ok(pseudo_huber(&e, c)?.affine(share, 0.0)?) };
        let distance = distance.ok_or_else(|| needs_distance(kind))?;
        let rest = self.t.affine(-1.0, 1.0)?.unsqueeze(1)?;
        let predicted = self.xt.add(&rest.mul(self.v)?)?;
        // x1 = x_t + (1 - t) (x1 - x0).
        let truth = self.xt.add(&rest.mul(self.target)?)?;
        let p = (distance.0)(&predicted, &truth)?;
        if p.dims() != [n] {
            return Err(Error::Shape {
                what: "perceptual",
                expected: format!("one number a sample, [{n}]"),
                got: p.dims().to_vec(),
            });
        }
        let total = match kind {
            FlowLoss::PerceptualHuber => combined(&huber()?, &p, self.t, false)?,
            FlowLoss::PerceptualHuberWeighted => combined(&huber()?, &p, self.t, true)?,
            _ => p,
        };
        Ok(total.mean_all()?)
    }
}

fn needs_distance(kind: FlowLoss) -> Error {
    let name = LOSSES.iter().find(|(_, known)| *known == kind);
    let message = format!(
        "must be given for the loss {:?}: a closure |predicted, data| that gives one number a sample",
        name.map_or("", |(name, _)| name)
    );
    Error::option("perceptual", message)
}

/// Refuses a distance without a loss that asks for it, and the other way round.
pub(super) fn check(kind: FlowLoss, distance: Option<&Distance>) -> Result<()> {
    match (kind.is_perceptual(), distance) {
        (true, None) => Err(needs_distance(kind)),
        (false, Some(_)) => Err(Error::option(
            "perceptual",
            "has no effect on this loss: set loss: \"perceptual-huber\"",
        )),
        _ => Ok(()),
    }
}
