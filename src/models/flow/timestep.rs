//! Densities of the time at which a flow is trained.
//!
//! "u-shaped" is `p(u) = a cosh(a (u - 1/2)) / (2 sinh(a / 2))`, the even mixture of a rising exponential and its mirror image: where the pairs
//! are those of a flow, what is left of the loss is the error of the model, which is large at both ends of time (Lee, Lin,
//! Fanti 2024, arXiv 2405.20320). Times are drawn by the quantile of a uniform number and squeezed into `[1e-5, 1 - 1e-5]`,
//! where the velocity can be told from the data and from the noise.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The closest that times of the shaped densities come to the ends.
pub const MARGIN: f64 = 1e-5;

/// A density of times on [0, 1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Timestep {
    /// All times alike.
    #[default]
    Uniform,
    /// Both ends more often than the middle.
    UShaped,
    /// The more often the closer to the data.
    Increasing,
    /// The more often the closer to the noise.
    Decreasing,
}

/// Every density. To be in the list is to be tested.
pub const TIMESTEPS: &[(&str, Timestep)] = &[
    ("uniform", Timestep::Uniform),
    ("u-shaped", Timestep::UShaped),
    ("increasing", Timestep::Increasing),
    ("decreasing", Timestep::Decreasing),
];

impl Timestep {
    /// The density at `u` for the sharpness `a` > 0.
    pub fn density(self, u: f64, a: f64) -> f64 {
        match self {
            Timestep::Uniform => 1.0,
            Timestep::UShaped => a * (a * (u - 0.5)).cosh() / (2.0 * (a / 2.0).sinh()),
            Timestep::Increasing => a * (a * u).exp() / a.exp_m1(),
            Timestep::Decreasing => Timestep::Increasing.density(1.0 - u, a),
        }
    }

    /// The distribution function at `u`.
    pub fn cdf(self, u: f64, a: f64) -> f64 {
        match self {
            Timestep::Uniform => u,
            Timestep::UShaped => 0.5 + (a * (u - 0.5)).sinh() / (2.0 * (a / 2.0).sinh()),
            Timestep::Increasing => (a * u).exp_m1() / a.exp_m1(),
            Timestep::Decreasing => 1.0 - Timestep::Increasing.cdf(1.0 - u, a),
        }
    }

    /// Where the distribution function is `q`.
    pub fn quantile(self, q: f64, a: f64) -> f64 {
        match self {
            Timestep::Uniform => q,
            Timestep::UShaped => 0.5 + ((2.0 * q - 1.0) * (a / 2.0).sinh()).asinh() / a,
            Timestep::Increasing => (q * a.exp_m1()).ln_1p() / a,
            Timestep::Decreasing => 1.0 - Timestep::Increasing.quantile(1.0 - q, a),
        }
    }

    /// The time of training for a uniform `q`.
    pub fn time(self, q: f64, a: f64) -> f64 {
        match self {
            Timestep::Uniform => q,
            shaped => MARGIN + (1.0 - 2.0 * MARGIN) * shaped.quantile(q, a),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn density_distribution_and_quantile_belong_together() {
        for (name, density) in TIMESTEPS {
            for a in [0.5, 4.0, 12.0] {
                let (mut mass, n) = (0.0, 20_000);
                for i in 0..n {
                    let u = (f64::from(i) + 0.5) / f64::from(n);
                    mass += density.density(u, a) / f64::from(n);
                    let half_cell = 0.5 * density.density(u, a) / f64::from(n);
                    assert!(
                        (density.cdf(u, a) - mass).abs() < half_cell + 1e-4,
                        "{name}"
                    );
                    assert!(
                        (density.quantile(density.cdf(u, a), a) - u).abs() < 1e-9,
                        "{name}"
                    );
                }
                assert!((mass - 1.0).abs() < 1e-4, "{name}: {mass}");
            }
            assert!(
                density.time(0.0, 4.0) >= 0.0 && density.time(1.0, 4.0) <= 1.0,
                "{name}"
            );
        }
    }
}
