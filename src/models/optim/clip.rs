//! Clipping: the norm of all gradients together, held below a number or a percentile of the norms before.

use rhapsode_tensor::{DType, Tensor, ops::update::sum_squares};

use crate::{Error, Result};

/// Norms that a percentile looks back on.
const WINDOW: usize = 100;

/// The last norms of the gradient, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Norms {
    last: Vec<f64>,
    sorted: Vec<f64>,
}

impl Norms {
    /// From norms that were kept.
    pub(super) fn of(last: Vec<f64>) -> Self {
        Self {
            last,
            sorted: Vec::new(),
        }
    }

    /// The last norms.
    pub(super) fn last(&self) -> &[f64] {
        &self.last
    }

    /// Notes a norm; the factor that brings it down to the percentile of the last 100, itself among them:
    /// `min(1, sorted[floor(percentile k / 100)] / norm)`, k norms seen, the index at most k - 1.
    pub(super) fn factor(&mut self, norm: f64, percentile: f64) -> f64 {
        if percentile >= 100.0 {
            return 1.0;
        }
        if self.last.len() >= WINDOW {
            self.last.drain(..=self.last.len() - WINDOW);
        }
        self.last.push(norm);
        self.sorted.clone_from(&self.last);
        self.sorted.sort_unstable_by(f64::total_cmp);
        let seen = self.sorted.len();
        let index = (percentile * seen as f64 / 100.0).floor() as usize;
        match self.sorted.get(index.min(seen - 1)) {
            Some(threshold) if norm > *threshold => threshold / norm,
            _ => 1.0,
        }
    }
}

/// The Euclidean norm of all gradients together.
pub fn grad_norm(grads: &[Option<Tensor>]) -> Result<f64> {
    let mut total = 0.0;
    for grad in grads.iter().flatten() {
        total += match grad.dtype() {
            DType::F64 => grad.with_slice::<f64, _>("norm", sum_squares)?,
            _ => grad.with_slice::<f32, _>("norm", sum_squares)?,
        };
    }
    Ok(total.sqrt())
}

/// Gradients scaled down so that their norm together is at most `max_norm` (> 0), and the norm before. NaN or infinity is an error.
pub fn clip_grad_norm(
    grads: &[Option<Tensor>],
    max_norm: f64,
) -> Result<(Vec<Option<Tensor>>, f64)> {
    if !(max_norm > 0.0 && max_norm.is_finite()) {
        return Err(Error::Value {
            what: "the largest norm",
            message: format!("must be a finite number > 0, got {max_norm}"),
        });
    }
    let norm = grad_norm(grads)?;
    if !norm.is_finite() {
        return Err(Error::Value {
            what: "gradients",
            message: "hold NaN or infinity".into(),
        });
    }
    let scale = clip_scale(norm, Some(max_norm));
    let scaled = |grad: &Option<Tensor>| {
        grad.as_ref()
            .map(|grad| Tensor::combine(&[(scale, grad)]))
            .transpose()
    };
    Ok((grads.iter().map(scaled).collect::<Result<_, _>>()?, norm))
}

/// The factor that brings a norm down to at most `clip`.
pub(super) fn clip_scale(norm: f64, clip: Option<f64>) -> f64 {
    match clip {
        Some(clip) if norm > clip => clip / norm,
        _ => 1.0,
    }
}
