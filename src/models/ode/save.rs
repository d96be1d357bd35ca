//! Which states of a solution are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which states of a solution are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SaveAt {
    /// By name.
    Named(Named),
    /// So many equally spaced times, both ends included; 1 is the end alone.
    Count(usize),
    /// These times, in the order in which they are reached.
    Times(Vec<f64>),
}

/// A rule by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Named {
    /// The start and every step.
    Steps,
    /// The end alone.
    End,
}

impl Default for SaveAt {
    fn default() -> Self {
        SaveAt::Named(Named::Steps)
    }
}

impl SaveAt {
    /// The end alone.
    pub const END: Self = SaveAt::Named(Named::End);

    /// The times asked for, checked; `None` for every step.
    pub(super) fn times(&self, from: f64, to: f64) -> Result<Option<Vec<f64>>> {
        let key = "save_at";
        match self {
            SaveAt::Named(Named::Steps) => Ok(None),
            SaveAt::Named(Named::End) | SaveAt::Count(1) => Ok(Some(vec![to])),
            SaveAt::Count(0) => Err(Error::option(key, "must be at least 1, got 0")),
            SaveAt::Count(n) => {
                rhapsode_tensor::memory::ensure(*n, size_of::<f64>())?;
                let last = (n - 1) as f64;
                // Weights instead of steps: both ends are exact.
                let time = |i: usize| from * (last - i as f64) / last + to * (i as f64 / last);
                Ok(Some((0..*n).map(time).collect()))
            }
            SaveAt::Times(times) => {
                let (low, high) = (from.min(to), from.max(to));
                if times.is_empty() {
                    let message =
                        "must hold at least one time (\"end\" keeps the last state alone)";
                    return Err(Error::option(key, message));
                }
                // Times made in 32 bits, as `linspace` makes them, miss the ends by a rounding.
                let rounding = f64::from(f32::EPSILON) * low.abs().max(high.abs());
                let fits = |t: &f64| (low - rounding..=high + rounding).contains(t);
                if let Some(time) = times.iter().find(|t| !fits(t)) {
                    let message = format!("times must lie between {low} and {high}, got {time}");
                    return Err(Error::option(key, message));
                }
                let backward = to < from;
                let turned = |pair: &&[f64]| match pair {
                    [a, b] if backward => b > a,
                    [a, b] => b < a,
                    _ => false,
                };
                match times.windows(2).find(turned) {
                    Some(pair) => {
                        let message = format!(
                            "times must stand in the order in which they are reached, got {pair:?}"
                        );
                        Err(Error::option(key, message))
                    }
                    None => Ok(Some(times.iter().map(|t| t.clamp(low, high)).collect())),
                }
            }
        }
    }
}
