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
    Measure,
    measure::variance,
    pairwise::{Euclidean, Kernel, row_sums},
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

/// The energy distance between samples `x`, `[n, d]`, and `y`, `[m, d]`, with its standard error.
///
/// Takes time O((n + m)^2 d) and no memory beyond the samples. The error is that of `two_sample`: for laws that
/// differ. Errors: sizes of `d` that differ, NaN or infinity, a sample of one point for the unbiased estimator.
///
/// ```
/// # use rhapsode_models::metric::energy_distance;
/// # use rhapsode_tensor::Tensor;
/// let x = Tensor::from_vec(vec![0f64, 1.0], &[2, 1])?;
/// let y = Tensor::from_vec(vec![2f64, 4.0], &[2, 1])?;
/// // 2 * (2 + 4 + 1 + 3) / 4 - 1 - 2
/// assert_eq!(energy_distance(&x, &y, &Default::default())?.value, 2.0);
/// # Ok::<(), rhapsode_models::Error>(())
/// ```
pub fn energy_distance(x: &Tensor, y: &Tensor, options: &EnergyOptions) -> Result<Measure> {
    let (x, y) = Sample::pair("energy_distance", x, y)?;
    let measure = two_sample(
        "energy_distance",
        &Euclidean,
        4,
        -1.0,
        &x,
        &y,
        options.estimator,
    )?;
    Ok(measure.how(options.estimator.name()))
}

impl Estimator {
    /// Its name as an option.
    pub fn name(self) -> &'static str {
        match self {
            Estimator::Unbiased => "unbiased",
            Estimator::Biased => "biased",
        }
    }
}

/// `sign * (E k(X, X') + E k(Y, Y') - 2 E k(X, Y))` and its standard error.
///
/// The error is that of the first term of Hoeffding's decomposition: with
/// `h(x_i) = mean_j k(x_i, x_j) - mean_j k(x_i, y_j)` and `h(y_j)` likewise, its square is
/// `4 var h(x) / n + 4 var h(y) / m`. Between equal laws that term vanishes and the error is then an upper bound.
pub(super) fn two_sample<K: Kernel>(
    metric: &'static str,
    kernel: &K,
    cost: usize,
    sign: f64,
    x: &Sample,
    y: &Sample,
    estimator: Estimator,
) -> Result<Measure> {
    let within = |x: &Sample, name| partners(metric, x.n, name, estimator);
    let (x_partners, y_partners) = (within(x, "x")?, within(y, "y")?);
    let own = match estimator {
        Estimator::Unbiased => kernel.of(0.0),
        Estimator::Biased => 0.0,
    };
    // Mean over partners for every point: of its own sample, minus of the other.
    let mut cross = 0.0;
    let mut half = |x: &Sample, y: &Sample, partners: f64| -> Result<(f64, Vec<f64>)> {
        let same = row_sums(kernel, cost, x, x)?;
        let other = row_sums(kernel, cost, x, y)?;
        cross += other.iter().sum::<f64>() / (x.n as f64 * y.n as f64);
        let mean = same.iter().map(|s| s - own).sum::<f64>() / (x.n as f64 * partners);
        let h = same.iter().zip(&other);
        let h = h.map(|(s, o)| (s - own) / partners - o / y.n as f64);
        Ok((mean, h.collect()))
    };
    let (xx, hx) = half(x, y, x_partners)?;
    let (yy, hy) = half(y, x, y_partners)?;
    let measure = Measure::new(sign * (xx + yy - cross), x.n).and(y.n);
    if x.n < 2 || y.n < 2 {
        return Ok(measure);
    }
    let square: f64 = 4.0 * (variance(&hx) / x.n as f64 + variance(&hy) / y.n as f64);
    Ok(measure.with_error(square.sqrt()))
}

/// Over how many partners a point's mean within its own sample goes.
fn partners(metric: &'static str, n: usize, name: &str, estimator: Estimator) -> Result<f64> {
    match estimator {
        Estimator::Biased => Ok(n as f64),
        Estimator::Unbiased if n >= 2 => Ok(n as f64 - 1.0),
        Estimator::Unbiased => Err(Error::Value {
            what: metric,
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
        assert_eq!(energy_distance(&x, &y, &biased()).unwrap().value, 2.5);
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
        let got = energy_distance(&x, &y, &EnergyOptions::default())
            .unwrap()
            .value;
        assert!((got - want).abs() < 0.06, "{got} {want}");
    }

    #[test]
    fn without_bias_equal_laws_average_to_zero() {
        let draws = 200;
        let values: Vec<f64> = (0..draws)
            .map(|i| {
                let [x, y] =
                    ["x", "y"].map(|p| Stream::new(i, p).randn(&[20, 3], DType::F64).unwrap());
                energy_distance(&x, &y, &EnergyOptions::default())
                    .unwrap()
                    .value
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
        let gap = energy_distance(&x, &y, &biased()).unwrap().value
            - energy_distance(&x, &y, &EnergyOptions::default())
                .unwrap()
                .value;
        assert!((0.15..0.35).contains(&gap), "{gap}");
    }

    #[test]
    fn the_standard_error_is_the_spread_over_draws() {
        let draws: Vec<Measure> = (0..200)
            .map(|i| {
                let [x, y] =
                    ["x", "y"].map(|p| Stream::new(i, p).randn(&[60, 2], DType::F64).unwrap());
                energy_distance(&x, &y.affine(1.0, 1.0).unwrap(), &EnergyOptions::default())
                    .unwrap()
            })
            .collect();
        let values: Vec<f64> = draws.iter().map(|m| m.value).collect();
        let errors: Vec<f64> = draws.iter().filter_map(|m| m.std_error).collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        // The spread of 200 draws is known to 5 %.
        let ratio = mean / variance(&values).sqrt();
        assert!((0.8..1.25).contains(&ratio), "{ratio}");
    }

    #[test]
    fn biased_is_zero_on_equal_samples() {
        let x = gaussian("x", 301, 2);
        assert!(energy_distance(&x, &x, &biased()).unwrap().value.abs() < 1e-12);
    }
}
