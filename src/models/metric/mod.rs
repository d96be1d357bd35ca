//! How results are judged: distances between samples, and scores of predictions.
//!
//! - [`energy`], [`mod@mmd`], [`mod@wasserstein`], [`sliced`], [`mod@sinkhorn`]: distances between two samples, all in
//!   [`DISTANCES`]
//! - [`mod@assignment`]: the optimal one-to-one assignment under them
//! - [`classify`], [`probability`], [`regress`], for predictions: of classes, probabilities and numbers
//! - [`Measure`]: what they give, a number that says how it was measured
//!
//! Everything is computed in f64 and is the same for any number of threads. A NaN or infinity in the
//! data is an error that names its row, not a NaN in the result.

pub mod assignment;
pub mod classify;
pub mod energy;
mod measure;
pub mod mmd;
mod pairing;
mod pairwise;
pub mod probability;
pub mod regress;
mod sample;
pub mod sinkhorn;
pub mod sliced;
pub mod wasserstein;

use rhapsode_tensor::{Tensor, random::Stream};

use crate::Result;

pub use assignment::{Assignment, assignment};
pub use classify::{Average, Score, ScoreOptions, accuracy, confusion_matrix, state_accuracy};
pub use energy::{EnergyOptions, Estimator, energy_distance};
pub use measure::Measure;
pub use mmd::{MmdKernel, MmdOptions, mmd};
pub use pairing::optimal_pairs;
pub use probability::{EceOptions, LogLossOptions, Scores, auc, ece, log_loss};
pub use regress::{CorrelationKind, CorrelationOptions, correlation, mae, r2, rmse};
pub use sinkhorn::{SinkhornOptions, sinkhorn};
pub use sliced::{SlicedOptions, sliced_wasserstein};
pub use wasserstein::{WassersteinOptions, wasserstein};

/// A distance between two samples `[n, d]` and `[m, d]`, with its default options.
pub struct Distance {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// With which power of the data's unit it grows.
    pub degree: i32,
    /// Relative accuracy of the number: of the computation, where it goes on until it is good enough.
    pub accuracy: f64,
    /// The distance; the stream is for those that draw.
    pub compute: fn(&Tensor, &Tensor, Stream) -> Result<Measure>,
}

/// All distances between samples.
pub const DISTANCES: &[Distance] = &[
    Distance {
        name: "energy_distance",
        summary: "2 E|X - Y| - E|X - X'| - E|Y - Y'|, unbiased",
        degree: 1,
        accuracy: 1e-10,
        compute: |x, y, _| energy_distance(x, y, &EnergyOptions::default()),
    },
    Distance {
        name: "wasserstein",
        summary: "exact 2-Wasserstein distance by optimal assignment",
        degree: 1,
        accuracy: 1e-10,
        compute: |x, y, stream| wasserstein(x, y, &WassersteinOptions::default(), stream),
    },
    Distance {
        name: "sliced_wasserstein",
        summary: "2-Wasserstein distance of 1-D projections, over random directions",
        degree: 1,
        accuracy: 1e-10,
        compute: |x, y, stream| sliced_wasserstein(x, y, &SlicedOptions::default(), stream),
    },
    Distance {
        name: "mmd",
        summary: "squared maximum mean discrepancy of a Gaussian kernel, unbiased",
        degree: 0,
        accuracy: 1e-10,
        compute: |x, y, _| mmd(x, y, &MmdOptions::default()),
    },
    Distance {
        name: "sinkhorn",
        summary: "entropic optimal transport without its bias",
        degree: 2,
        accuracy: 1e-6,
        compute: |x, y, _| sinkhorn(x, y, &SinkhornOptions::default()),
    },
];

/// An option `p`, the order of a Wasserstein distance: 1 or 2.
fn check_order(p: u32) -> Result<()> {
    if matches!(p, 1 | 2) {
        Ok(())
    } else {
        Err(crate::Error::option(
            "p",
            format!("expected 1 or 2, got {p}"),
        ))
    }
}

#[cfg(test)]
mod tests;
