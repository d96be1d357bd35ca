//! One step of Adam and AdamW over a flat slice: moments, bias correction, decay, the scale that
//! clips the gradient and the moving average of the weights in one pass over memory.
//!
//! ```text
//! g <- scale * g (+ l2 * p)        m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
//! p <- (1 - lr * decay) p - lr / (1 - b1^k) * m / (sqrt(v / (1 - b2^k)) + eps)
//! e <- ema e + (1 - ema) p
//! ```
//! Kingma, Ba (2014), arXiv 1412.6980; Loshchilov, Hutter (2017), arXiv 1711.05101 (decoupled decay).

mod cpu;

use crate::simd::math::Float;

/// The numbers of one step.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay (AdamW), per unit of learning rate.
    pub decay: f64,
    /// L2 term added to the gradient (Adam's `weight_decay`).
    pub l2: f64,
    /// Factor on the gradient, for clipping.
    pub scale: f64,
    /// Which step this is, from 1.
    pub step: u64,
}

/// One step over `p` with moments `m`, `v` and gradient `g`, all of one length; with `ema`, the moving
/// average of the weights is brought up to date in the same pass: `(average, decay)`.
pub fn adam<T: Float>(
    p: &mut [T],
    m: &mut [T],
    v: &mut [T],
    g: &[T],
    ema: Option<(&mut [T], f64)>,
    step: &AdamStep,
) {
    cpu::adam(p, m, v, g, ema, step);
}
