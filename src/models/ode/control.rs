//! The sizes of adaptive steps: the first one by Hairer, Norsett, Wanner (II.4), the others by a
//! proportional-integral controller (Gustafsson 1991).

use rhapsode_tensor::{Tensor, ops::scaled_rms};

use crate::Result;

/// Chooses the next step from the last two errors.
pub(super) struct Controller {
    order: f64,
    /// The size to try next, with the sign of the direction.
    pub h: f64,
    previous: f64,
}

impl Controller {
    /// Begins with a step of size `h`, for a method of this order.
    pub fn new(order: u32, h: f64) -> Self {
        Self {
            order: f64::from(order),
            h,
            previous: 1.0,
        }
    }

    /// Whether a step of this error is kept; sets the size of the next one.
    pub fn accepts(&mut self, error: f64, h: f64) -> bool {
        if !error.is_finite() {
            self.h = h * 0.1;
            return false;
        }
        let size = error.max(1e-10);
        if error > 1.0 {
            self.h = h * (0.9 * size.powf(-1.0 / self.order)).clamp(0.1, 0.9);
            return false;
        }
        let factor = 0.9 * size.powf(-0.7 / self.order) * self.previous.powf(0.4 / self.order);
        self.previous = size;
        self.h = h * factor.clamp(0.2, 5.0);
        true
    }
}

/// The size of the first step over `span`, from the slope at the start; `slope(h)` gives the slope behind an
/// Euler step of size h.
pub(super) fn first_step(
    x: &Tensor,
    f: &Tensor,
    (rtol, atol): (f64, f64),
    order: u32,
    span: f64,
    slope: impl FnOnce(f64) -> Result<Tensor>,
) -> Result<f64> {
    let length = span.abs();
    let norm = |v: &Tensor| scaled_rms(v, x, x, atol, rtol);
    let (d0, d1) = (norm(x)?, norm(f)?);
    let h0 = match d0 < 1e-5 || d1 < 1e-5 {
        true => 1e-6 * length,
        false => 0.01 * d0 / d1,
    };
    let h0 = if h0.is_finite() {
        h0.min(length)
    } else {
        1e-6 * length
    };
    if h0 == 0.0 {
        return Ok(span);
    }
    let change = Tensor::combine(&[(1.0, &slope(h0 * span.signum())?), (-1.0, f)])?;
    let d2 = norm(&change)? / h0;
    let steepest = d1.max(d2);
    let h1 = match steepest <= 1e-15 {
        true => (1e-6 * length).max(1e-3 * h0),
        false => (0.01 / steepest).powf(1.0 / f64::from(order)),
    };
    let h = (100.0 * h0).min(h1).min(length);
    // A field that is not finite there shows itself in the first step.
    Ok(if h.is_finite() { h } else { 1e-6 * length } * span.signum())
}
