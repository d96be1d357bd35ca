//! How the learning rate changes over a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shape of the learning rate after its warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The same at every step.
    Constant,
    /// Half a cosine from the full rate down to a hundredth of it; steps after the planned end stay there.
    #[default]
    Cosine,
}

/// What is left of the rate at the end of a cosine: steps added by `more` still learn.
const FLOOR: f64 = 0.01;

impl Schedule {
    /// The factor on the learning rate at `step` (from 1) of `total`, after a linear warm-up of `warmup` steps.
    pub fn factor(self, step: u64, total: u64, warmup: u64) -> f64 {
        if step <= warmup {
            return step as f64 / warmup as f64;
        }
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let planned = total.saturating_sub(warmup).max(1) as f64;
                let done = ((step - warmup - 1) as f64 / planned).min(1.0);
                FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors() {
        assert_eq!(Schedule::Constant.factor(7, 10, 0), 1.0);
        assert_eq!(Schedule::Constant.factor(2, 10, 4), 0.5);
        assert_eq!(Schedule::Cosine.factor(1, 100, 0), 1.0);
        assert!((Schedule::Cosine.factor(51, 100, 0) - 0.505).abs() < 1e-12);
        assert!((Schedule::Cosine.factor(500, 100, 0) - FLOOR).abs() < 1e-12);
    }
}
