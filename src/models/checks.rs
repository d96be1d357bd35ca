//! Checks of the numbers that options have in common. What is refused is told at the option's key.

use crate::{Error, Result};

fn check(key: &str, value: f64, holds: bool, wanted: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::option(key, format!("must {wanted}, got {value}"))),
    }
}

/// A number of things, at least 1: steps, sizes of batches and layers.
pub(crate) fn at_least_one(key: &str, n: usize) -> Result<()> {
    match n {
        0 => Err(Error::option(key, "must be at least 1, got 0")),
        _ => Ok(()),
    }
}

/// A finite number >= 0: learning rates, weight decay.
pub(crate) fn not_negative(key: &str, value: f64) -> Result<()> {
    let holds = value >= 0.0 && value.is_finite();
    check(key, value, holds, "be a finite number >= 0")
}

/// A finite number > 0: `eps`, clipping, tolerances.
pub(crate) fn positive(key: &str, value: f64) -> Result<()> {
    let holds = value > 0.0 && value.is_finite();
    check(key, value, holds, "be a finite number > 0")
}

/// A finite number of any sign: the weight of a guidance.
pub(crate) fn finite(key: &str, value: f64) -> Result<()> {
    check(key, value, value.is_finite(), "be finite")
}

/// A decay in [0, 1).
pub(crate) fn decay(key: &str, value: f64) -> Result<()> {
    check(key, value, (0.0..1.0).contains(&value), "lie in [0, 1)")
}

/// Several decays in [0, 1).
pub(crate) fn decays(key: &str, values: &[f64]) -> Result<()> {
    values.iter().try_for_each(|&value| decay(key, value))
}
