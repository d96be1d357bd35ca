//! The squared maximum mean discrepancy: how far apart two laws are for the functions of a kernel's unit ball.
//!
//! ```text
//! MMD^2 = E k(X, X') + E k(Y, Y') - 2 E k(X, Y)
//! rbf:     k(x, y) = mean over bandwidths h of exp(-|x - y|^2 / (2 h^2))
//! energy:  k(x, y) = -|x - y|, which makes it the energy distance
//! ```
//!
//! Gretton, Borgwardt, Rasch, Schölkopf, Smola, "A Kernel Two-Sample Test", JMLR 13 (2012): lemma 6 for both estimators;
//! the median heuristic is that of its section 8.

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Measure,
    energy::{Estimator, two_sample},
    measure::significant,
    pairwise::{Euclidean, Gaussian, Kernel, squared_distances},
    sample::Sample,
};
use crate::{Error, Result};

/// The kernel of the maximum mean discrepancy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MmdKernel {
    /// Gaussians, `exp(-|x - y|^2 / (2 h^2))`, averaged over the bandwidths.
    #[default]
    Rbf,
    /// Minus the distance: nothing to tune.
    Energy,
}

/// Options of the maximum mean discrepancy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MmdOptions {
    /// The kernel. Default: `"rbf"`.
    pub kernel: MmdKernel,
    /// Bandwidths h of the rbf kernel, in the units of the data, each > 0. Default: the median distance between
    /// the points of both samples together (of at most 1000 of them).
    pub bandwidths: Option<Vec<f64>>,
    /// How the expectations within a sample are estimated. Default: `"unbiased"`, which may be negative.
    pub estimator: Estimator,
}

impl MmdOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::option("bandwidths", message));
        match (&self.bandwidths, self.kernel) {
            (None, _) => Ok(()),
            (Some(_), MmdKernel::Energy) => {
                wrong("the energy kernel has none (kernel: \"rbf\" has)".into())
            }
            (Some(list), _) if list.is_empty() => wrong("expected at least one, got none".into()),
            (Some(list), _) => match list.iter().find(|h| !(h.is_finite() && **h > 0.0)) {
                Some(bad) => wrong(format!("expected numbers above 0, got {bad}")),
                None => Ok(()),
            },
        }
    }
}

/// Points of which the median distance is taken.
const MEDIAN_OF: usize = 1000;

/// Mean of Gaussians.
struct Gaussians(Vec<Gaussian>);

impl Kernel for Gaussians {
    #[inline(always)]
    fn of(&self, square: f64) -> f64 {
        let mut sum = 0.0;
        for gaussian in &self.0 {
            sum += gaussian.of(square);
        }
        sum / self.0.len() as f64
    }
}

/// The squared MMD between samples `x`, `[n, d]`, and `y`, `[m, d]`, with its standard error.
///
/// Takes time O((n + m)^2 d) and no memory beyond the samples. The error is the one of the energy distance: an upper bound
/// where the laws are equal. Errors: sizes of `d` that differ, NaN or infinity, a sample of one point without bias, no
/// bandwidth to be found as all points are one.
pub fn mmd(x: &Tensor, y: &Tensor, options: &MmdOptions) -> Result<Measure> {
    options.validate()?;
    let (x, y) = Sample::pair("mmd", x, y)?;
    let estimator = options.estimator;
    if options.kernel == MmdKernel::Energy {
        let measure = two_sample("mmd", &Euclidean, 4, -1.0, &x, &y, estimator)?;
        return Ok(measure.how("energy kernel").how(estimator.name()));
    }
    let (bandwidths, found) = match &options.bandwidths {
        Some(given) => (given.clone(), ""),
        None => (vec![median(&x, &y)?], " (median)"),
    };
    let gaussian = |h: &f64| Gaussian {
        rate: 0.5 / (h * h),
    };
    let cost = 20 * bandwidths.len();
    // One Gaussian apart, as the loop over one would not be unrolled.
    let measure = match bandwidths.as_slice() {
        [h] => two_sample("mmd", &gaussian(h), cost, 1.0, &x, &y, estimator)?,
        list => {
            let kernel = Gaussians(list.iter().map(gaussian).collect());
            two_sample("mmd", &kernel, cost, 1.0, &x, &y, estimator)?
        }
    };
    let list: Vec<String> = bandwidths.iter().map(|h| significant(*h, 4)).collect();
    let words = format!("rbf kernel of bandwidth {}{found}", list.join(" "));
    Ok(measure.how(words).how(estimator.name()))
}

/// The median distance between different points of both samples.
fn median(x: &Sample, y: &Sample) -> Result<f64> {
    let all = x.n + y.n;
    let step = all.div_ceil(MEDIAN_OF).max(1);
    let points = x.values.chunks_exact(x.d).chain(y.values.chunks_exact(y.d));
    let values: Vec<f64> = points.step_by(step).flatten().copied().collect();
    let pooled = Sample {
        n: values.len() / x.d,
        d: x.d,
        values,
    };
    let squares = squared_distances(&pooled, &pooled)?;
    let above = |(i, row): (usize, &[f64])| row.iter().skip(i + 1).copied().collect::<Vec<_>>();
    let mut upper: Vec<f64> = squares
        .chunks_exact(pooled.n)
        .enumerate()
        .flat_map(above)
        .collect();
    let middle = upper.len() / 2;
    let median = match upper.len() {
        0 => 0.0,
        _ => *upper.select_nth_unstable_by(middle, f64::total_cmp).1,
    };
    // Many equal points: the mean of those that differ stands in.
    let (sum, count) = upper
        .iter()
        .filter(|s| **s > 0.0)
        .fold((0.0, 0usize), |(sum, count), s| (sum + s.sqrt(), count + 1));
    match (median > 0.0, count) {
        (true, _) => Ok(median.sqrt()),
        (false, 0) => Err(Error::Value {
            what: "mmd",
            message: "all points are one, so their median distance is no bandwidth (give option `bandwidths`)".into(),
        }),
        (false, count) => Ok(sum / count as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{EnergyOptions, energy_distance};
    use rhapsode_tensor::{DType, random::Stream};

    /// A lattice that needs no generator: `x_ik = ((i * (k + 3) * 7) mod 19) / 19 + shift`.
    fn lattice(n: usize, d: usize, shift: f64) -> Tensor {
        let values = (0..n * d).map(|at| {
            let (i, k) = (at / d, at % d);
            ((i * (k + 3) * 7) % 19) as f64 / 19.0 + shift
        });
        Tensor::from_vec(values.collect::<Vec<f64>>(), &[n, d]).unwrap()
    }

    fn with(bandwidths: Option<Vec<f64>>, estimator: Estimator) -> MmdOptions {
        MmdOptions {
            bandwidths,
            estimator,
            ..Default::default()
        }
    }

    /// scikit-learn 1.x: `rbf_kernel(x, y, gamma=1/(2 h^2))`, means over all or different pairs, float64.
    #[test]
    fn values_are_those_of_scikit_learn() {
        let (x, y) = (lattice(13, 2, 0.0), lattice(17, 2, 0.3));
        for (bandwidths, estimator, want) in REFERENCE {
            let got = mmd(&x, &y, &with(bandwidths.map(<[f64]>::to_vec), *estimator)).unwrap();
            assert!((got.value - want).abs() < 1e-12, "{got} {want}");
        }
    }

    const REFERENCE: &[(Option<&[f64]>, Estimator, f64)] = &[
        (Some(&[0.5]), Estimator::Unbiased, 0.15859797910701834),
        (Some(&[0.5]), Estimator::Biased, 0.21852406653958367),
        (Some(&[0.2, 1.0]), Estimator::Unbiased, 0.06644173050772939),
        (None, Estimator::Biased, 0.20986201763664836),
    ];

    #[test]
    fn the_energy_kernel_gives_the_energy_distance() {
        let (x, y) = (lattice(13, 3, 0.0), lattice(9, 3, 0.5));
        let options = MmdOptions {
            kernel: MmdKernel::Energy,
            ..Default::default()
        };
        let (a, b) = (
            mmd(&x, &y, &options),
            energy_distance(&x, &y, &EnergyOptions::default()),
        );
        assert_eq!(a.unwrap().value, b.unwrap().value);
    }

    #[test]
    fn without_bias_equal_laws_average_to_zero() {
        let values: Vec<f64> = (0..100)
            .map(|i| {
                let [x, y] =
                    ["x", "y"].map(|p| Stream::new(i, p).randn(&[20, 3], DType::F64).unwrap());
                mmd(&x, &y, &MmdOptions::default()).unwrap().value
            })
            .collect();
        let (mean, error) = super::super::measure::mean_and_error(&values);
        assert!(mean.abs() < 4.0 * error.unwrap(), "{mean}");
    }

    #[test]
    fn unfit_options_are_errors() {
        let message = |options: MmdOptions| {
            let (x, y) = (lattice(4, 2, 0.0), lattice(4, 2, 0.0));
            mmd(&x, &y, &options).err().unwrap().to_string()
        };
        assert_eq!(
            message(with(Some(vec![1.0, 0.0]), Estimator::Biased)),
            "option `bandwidths`: expected numbers above 0, got 0"
        );
        assert_eq!(
            message(with(Some(vec![]), Estimator::Biased)),
            "option `bandwidths`: expected at least one, got none"
        );
        let energy = MmdOptions {
            kernel: MmdKernel::Energy,
            ..with(Some(vec![1.0]), Estimator::Biased)
        };
        assert!(message(energy).contains("the energy kernel has none"));
        let zeros = Tensor::zeros(&[5, 2], DType::F64).unwrap();
        let error = mmd(&zeros, &zeros, &MmdOptions::default()).err().unwrap();
        assert!(error.to_string().contains("all points are one"));
    }
}
