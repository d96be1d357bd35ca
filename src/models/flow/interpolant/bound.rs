//! How far from the data the forward SDE of inexact fields can be.
//!
//! With `gap_b = int 1/2 E |b' - b|^2 dt` and `gap_s` likewise, the excess losses of the velocity and the score,
//!
//! ```text
//! KL(rho1 || model) <= 1 / (4 eps) int E |b' - b + eps (s' - s)|^2 dt <= gap_b / eps + eps gap_s
//! ```
//!
//! the second least at `eps = sqrt(gap_b / gap_s)`. For the ODE there is no such bound: it also needs the scores of both laws to agree.

use rhapsode_tensor::{Tensor, interrupt, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Interpolant, VelocityField};
use crate::{
    Error, Result,
    checks::{at_least_one, positive},
    observe::{Observer, Step},
};

/// Options of the bound.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BoundOptions {
    /// Strengths of the noise at which the bound is told (> 0; default [0.1, 0.25, 0.5, 1, 2, 4]).
    pub epsilons: Vec<f64>,
    /// Times of the quadrature, the middles of as many equal parts of [0, 1] (at least 1; default 100).
    pub times: usize,
    /// Points for each time (at least 1; default 1000).
    pub samples: usize,
    /// Seed of the points (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for BoundOptions {
    fn default() -> Self {
        Self {
            epsilons: vec![0.1, 0.25, 0.5, 1.0, 2.0, 4.0],
            times: 100,
            samples: 1000,
            seed: None,
        }
    }
}

/// The excess losses and the bounds.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Excess loss of the velocity.
    pub gap_velocity: f64,
    /// Excess loss of the score.
    pub gap_score: f64,
    /// The strengths of the noise.
    pub epsilons: Vec<f64>,
    /// The bound by the joint error, for each of them.
    pub path: Vec<f64>,
    /// The bound by the excess losses, for each of them.
    pub sum: Vec<f64>,
    /// Where the bound by the excess losses is least; none when one of them is 0.
    pub best: Option<f64>,
}

/// Points at a time and their weights, which sum to 1.
pub type Nodes<'a> = dyn FnMut(usize, f64) -> Result<(Tensor, Tensor)> + 'a;

/// Holds a model against the true fields on points of the true law: `nodes(i, t)` gives them for the `i`-th time.
pub fn kl_bound(
    model: &Interpolant,
    truth: &Interpolant,
    nodes: &mut Nodes,
    options: &BoundOptions,
    observer: &mut dyn Observer,
) -> Result<Bound> {
    at_least_one("times", options.times)?;
    options
        .epsilons
        .iter()
        .try_for_each(|e| positive("epsilons", *e))?;
    if model.dim() != truth.dim() {
        return Err(Error::Value {
            what: "kl_bound",
            message: format!(
                "the model has dim {}, the truth {}",
                model.dim(),
                truth.dim()
            ),
        });
    }
    let (mut gap_velocity, mut gap_score) = (0.0, 0.0);
    let mut path = vec![0.0; options.epsilons.len()];
    let share = 1.0 / options.times as f64;
    for i in 0..options.times {
        interrupt::check()?;
        let t = (i as f64 + 0.5) * share;
        let (x, weights) = nodes(i, t)?;
        let at = Tensor::full(t, &[x.dim(0)?], x.dtype())?;
        let off_b = model.velocity(&x, &at)?.sub(&truth.velocity(&x, &at)?)?;
        let off_s = model.score(&x, &at)?.sub(&truth.score(&x, &at)?)?;
        let mean = |e: &Tensor| -> Result<f64> {
            Ok(e.sqr()?.sum(&[1])?.mul(&weights)?.sum_all()?.item()?)
        };
        gap_velocity += 0.5 * share * mean(&off_b)?;
        gap_score += 0.5 * share * mean(&off_s)?;
        for (total, eps) in path.iter_mut().zip(&options.epsilons) {
            let joint = Tensor::combine(&[(1.0, &off_b), (*eps, &off_s)])?;
            *total += share / (4.0 * eps) * mean(&joint)?;
        }
        let progress = Step {
            label: "kl_bound",
            step: i as u64 + 1,
            total: Some(options.times as u64),
            metrics: &[],
        };
        if observer.step(&progress).is_break() && i + 1 < options.times {
            return Err(Error::Interrupted);
        }
    }
    let sum = options
        .epsilons
        .iter()
        .map(|eps| gap_velocity / eps + eps * gap_score);
    Ok(Bound {
        sum: sum.collect(),
        best: (gap_velocity > 0.0 && gap_score > 0.0).then(|| (gap_velocity / gap_score).sqrt()),
        epsilons: options.epsilons.clone(),
        gap_velocity,
        gap_score,
        path,
    })
}

/// `n` points of the process at a time, from rows of base and data drawn at random.
pub fn points(
    model: &Interpolant,
    base: &Tensor,
    data: &Tensor,
    t: f64,
    n: usize,
    stream: Stream,
) -> Result<Tensor> {
    let dtype = model.dtype();
    let pick = |x: &Tensor, purpose: &str| -> Result<Tensor> {
        if x.rank() != 2 || x.dim(1)? != model.dim() || x.dim(0)? == 0 {
            return Err(Error::Shape {
                what: "points",
                expected: format!("[n, {}] with n > 0", model.dim()),
                got: x.dims().to_vec(),
            });
        }
        let mut rows = vec![0u64; n];
        Stream::new(stream.seed(), purpose).below(x.dim(0)? as u64, &mut rows);
        let rows: Vec<i64> = rows.into_iter().map(|row| row as i64).collect();
        Ok(x.to_dtype(dtype)?
            .index_select(0, &Tensor::from_vec(rows, &[n])?)?)
    };
    let (x0, x1) = (pick(base, "base")?, pick(data, "data")?);
    let z = Stream::new(stream.seed(), "latent").randn(&[n, model.dim()], dtype)?;
    let draw = super::objective::Draw {
        x0: &x0,
        x1: &x1,
        z: &z,
        t: &Tensor::full(t, &[n], dtype)?,
    };
    Ok(super::objective::Targets::new(model.process(), model.custom(), &draw, 1.0)?.xt)
}
