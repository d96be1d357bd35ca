//! Energy distance: zero exactly when two laws are equal, with nothing to tune.
//!
//! ```text
//! D = 2 E|X - Y| - E|X - X'| - E|Y - Y'|
//! ```
//!
//! `|.|` is the Euclidean norm, primes are independent copies; the unit is that of the data, and no root is taken
//! (SciPy's 1-D `energy_distance` is the root of this one). Székely and Rizzo, "Energy statistics: A class of
//! statistics based on distances", Journal of Statistical Planning and Inference 143 (2013).

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    pairwise::{sum_between, sum_within},
    sample::Sample,
};
use crate::{Error, Result};

/// How the expectations within a sample are estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// Mean over pairs of different points (U-statistic): right on average, so slightly negative at times.
    #[default]
    Unbiased,
    /// Mean over all pairs (V-statistic): never negative, 0 for equal samples, too large by O(1/n).
    Biased,
}

/// Options of the energy distance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EnergyOptions {
    /// How the expectations within a sample are estimated. Default: `"unbiased"`.
    pub estimator: Estimator,
}

/// The energy distance between samples `x`, `[n, d]`, and `y`, `[m, d]`.
///
/// Takes time O((n + m)^2 d) and no memory beyond the samples. Errors: sizes of `d` that differ, NaN or infinity,
/// a sample of one point for the unbiased estimator.
///
/// ```
/// # use rhapsode_models::metric::energy_distance;
/// # use rhapsode_tensor::Tensor;
/// let x = Tensor::from_vec(vec![0f64, 1.0], &[2, 1])?;
/// let y = Tensor::from_vec(vec![2f64, 4.0], &[2, 1])?;
/// // 2 * (2 + 4 + 1 + 3) / 4 - 1 - 2
/// assert_eq!(energy_distance(&x, &y, &Default::default())?, 2.0);
/// # Ok::<(), rhapsode_models::Error>(())
/// ```
pub fn energy_distance(x: &Tensor, y: &Tensor, options: &EnergyOptions) -> Result<f64> {
    let (x, y) = Sample::pair("energy_distance", x, y)?;
    let pairs = |x: &Sample, name| pairs(x.n, name, options.estimator);
    let (x_pairs, y_pairs) = (pairs(&x, "x")?, pairs(&y, "y")?);
    let between = sum_between(&x, &y)? / (x.n as f64 * y.n as f64);
    Ok(2.0 * between - sum_within(&x)? / x_pairs - sum_within(&y)? / y_pairs)
}

/// How many ordered pairs a mean within `n` points is over.
fn pairs(n: usize, name: &str, estimator: Estimator) -> Result<f64> {
    match estimator {
        Estimator::Biased => Ok(n as f64 * n as f64),
        Estimator::Unbiased if n >= 2 => Ok(n as f64 * (n as f64 - 1.0)),
        Estimator::Unbiased => Err(Error::Value {
            what: "energy_distance",
            message: format!("expected at least 2 points in {name} without bias, got {n}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhapsode_tensor::{DType, random::Stream, simd::math::Float};

    fn biased() -> EnergyOptions {
        EnergyOptions {
            estimator: Estimator::Biased,
        }
    }

    fn gaussian(purpose: &str, n: usize, d: usize) -> Tensor {
        Stream::new(0, purpose).randn(&[n, d], DType::F64).unwrap()
    }

    #[test]
    fn two_points_by_hand() {
        let x = Tensor::from_vec(vec![0f64, 0.0, 3.0, 4.0], &[2, 2]).unwrap();
        let y = Tensor::from_vec(vec![0f64, 0.0], &[1, 2]).unwrap();
        // 2 * 5/2 - 10/4 - 0
        assert_eq!(energy_distance(&x, &y, &biased()).unwrap(), 2.5);
        let message = energy_distance(&x, &y, &EnergyOptions::default())
            .err()
            .unwrap()
            .to_string();
        assert_eq!(
            message,
            "energy_distance: expected at least 2 points in y without bias, got 1"
        );
    }

    #[test]
    fn gaussians_have_the_distance_of_the_closed_form() {
        // X ~ N(0, 1), Y ~ N(m, 1): X - Y ~ N(-m, 2), and E|N(m, s^2)| = s sqrt(2/pi) exp(-m^2/2s^2) + m erf(m/(s sqrt 2)).
        let (n, m) = (6000, 1.5f64);
        let equal = 2.0 / std::f64::consts::PI.sqrt();
        let apart = equal * (-m * m / 4.0).exp() + m * Float::erf(m / 2.0);
        let want = 2.0 * (apart - equal);
        let x = gaussian("x", n, 1);
        let y = gaussian("y", n, 1).affine(1.0, m).unwrap();
        let got = energy_distance(&x, &y, &EnergyOptions::default()).unwrap();
        assert!((got - want).abs() < 0.06, "{got} {want}");
    }

    #[test]
    fn without_bias_equal_laws_average_to_zero() {
        let draws = 200;
        let values: Vec<f64> = (0..draws)
            .map(|i| {
                let [x, y] =
                    ["x", "y"].map(|p| Stream::new(i, p).randn(&[20, 3], DType::F64).unwrap());
                energy_distance(&x, &y, &EnergyOptions::default()).unwrap()
            })
            .collect();
        let mean = values.iter().sum::<f64>() / draws as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / draws as f64;
        assert!(
            mean.abs() < 4.0 * (variance / draws as f64).sqrt(),
            "{mean}"
        );
        // The V-statistic is too large by (E|X - X'| + E|Y - Y'|) / n.
        let (x, y) = (gaussian("x", 20, 3), gaussian("y", 20, 3));
        let gap = energy_distance(&x, &y, &biased()).unwrap()
            - energy_distance(&x, &y, &EnergyOptions::default()).unwrap();
        assert!((0.15..0.35).contains(&gap), "{gap}");
    }

    #[test]
    fn biased_is_zero_on_equal_samples() {
        let x = gaussian("x", 301, 2);
        assert!(energy_distance(&x, &x, &biased()).unwrap().abs() < 1e-12);
    }
}
