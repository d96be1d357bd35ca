//! Checks of the numbers that the optimizers have in common.

use crate::{Error, Result};

fn check(key: &str, value: f64, holds: bool, wanted: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::option(key, format!("must {wanted}, got {value}"))),
    }
}

/// A finite number >= 0: learning rates, weight decay.
pub(crate) fn not_negative(key: &str, value: f64) -> Result<()> {
    let holds = value >= 0.0 && value.is_finite();
    check(key, value, holds, "be a finite number >= 0")
}

/// A finite number > 0: `eps`, clipping.
pub(super) fn positive(key: &str, value: f64) -> Result<()> {
    let holds = value > 0.0 && value.is_finite();
    check(key, value, holds, "be a finite number > 0")
}

/// A decay in [0, 1).
pub(super) fn decay(key: &str, value: f64) -> Result<()> {
    check(key, value, (0.0..1.0).contains(&value), "lie in [0, 1)")
}

/// Several decays in [0, 1).
pub(super) fn decays(key: &str, values: &[f64]) -> Result<()> {
    values.iter().try_for_each(|&value| decay(key, value))
}
