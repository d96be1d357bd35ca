//! How results are judged: distances between samples, and scores of predictions.
//!
//! - [`energy`], [`mod@wasserstein`], [`sliced`]: distances between two samples, all in [`DISTANCES`]
//! - [`mod@assignment`]: the optimal one-to-one assignment under them
//! - [`classify`], for predictions: accuracy
//!
//! Everything is computed in f64 and is the same for any number of threads. A NaN or infinity in the
//! data is an error that names its row, not a NaN in the result.

pub mod assignment;
pub mod classify;
pub mod energy;
mod pairing;
mod pairwise;
mod sample;
pub mod sliced;
pub mod wasserstein;

use rhapsode_tensor::{Tensor, random::Stream};

use crate::Result;

pub use assignment::{Assignment, assignment};
pub use classify::accuracy;
pub use energy::{EnergyOptions, Estimator, energy_distance};
pub use pairing::optimal_pairs;
pub use sliced::{SlicedOptions, sliced_wasserstein};
pub use wasserstein::{WassersteinOptions, wasserstein};

/// A distance between two samples `[n, d]` and `[m, d]`, with its default options.
pub struct Distance {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// The distance; the stream is for those that draw.
    pub compute: fn(&Tensor, &Tensor, Stream) -> Result<f64>,
}

/// All distances between samples.
pub const DISTANCES: &[Distance] = &[
    Distance {
        name: "energy_distance",
        summary: "2 E|X - Y| - E|X - X'| - E|Y - Y'|, unbiased",
        compute: |x, y, _| energy_distance(x, y, &EnergyOptions::default()),
    },
    Distance {
        name: "wasserstein",
        summary: "exact 2-Wasserstein distance by optimal assignment",
        compute: |x, y, stream| wasserstein(x, y, &WassersteinOptions::default(), stream),
    },
    Distance {
        name: "sliced_wasserstein",
        summary: "2-Wasserstein distance of 1-D projections, over random directions",
        compute: |x, y, stream| sliced_wasserstein(x, y, &SlicedOptions::default(), stream),
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
