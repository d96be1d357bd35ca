//! The exact Wasserstein distance between two samples.
//!
//! ```text
//! W_p = (min over couplings E |X - Y|^p)^(1/p),   p = 1 or 2
//! ```
//!
//! Between samples of equal size an optimal coupling is a permutation: the assignment problem with costs
//! `|x_i - y_j|^p` (Birkhoff and von Neumann), see [`assignment()`](super::assignment()). In one dimension an optimal
//! coupling is that of the quantiles, for any sizes, by sorting. Villani, "Topics in Optimal Transportation" (2003), 2.2.

use std::cmp::Ordering;

use rhapsode_tensor::{Tensor, memory, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Measure, assignment::assignment, check_order, pairwise::squared_distances, sample::Sample,
};
use crate::{Error, Result};

/// Options of the Wasserstein distance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WassersteinOptions {
    /// The order: 1 (mean distance) or 2 (root of the mean squared distance). Default: 2.
    pub p: u32,
    /// At most so many points of each sample, drawn without replacement, as many of one as of the other; at
    /// least 1. Default: all points, which must then be equally many in both samples unless d = 1.
    pub samples: Option<usize>,
}

impl Default for WassersteinOptions {
    fn default() -> Self {
        Self {
            p: 2,
            samples: None,
        }
    }
}

impl WassersteinOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        check_order(self.p)?;
        match self.samples {
            Some(0) => Err(Error::option("samples", "expected at least 1, got 0")),
            _ => Ok(()),
        }
    }
}

/// The exact `p`-Wasserstein distance between samples `x`, `[n, d]`, and `y`, `[n, d]`, in the unit of the data.
///
/// Time up to O(n^3) (a fraction of a second for n = 2000, and interrupted at will) and memory 8 n^2 bytes; for d = 1 time
/// O(n log n), and `y` may have another size. Larger sets are thinned by `options.samples`; `stream` draws
/// which points stay. The distance between finite samples of one law is not 0: compare with that between two sets of data.
///
/// Errors: sizes that differ, NaN or infinity, not enough memory.
pub fn wasserstein(
    x: &Tensor,
    y: &Tensor,
    options: &WassersteinOptions,
    stream: Stream,
) -> Result<Measure> {
    options.validate()?;
    let (mut x, mut y) = Sample::pair("wasserstein", x, y)?;
    let all = (x.n, y.n);
    if let Some(samples) = options.samples {
        let n = samples.min(x.n).min(y.n);
        let seed = stream.seed();
        x = thinned(x, n, Stream::new(seed, "x"));
        y = thinned(y, n, Stream::new(seed, "y"));
    }
    let total = if x.d == 1 {
        sort(&mut x.values);
        sort(&mut y.values);
        sorted_cost(&x.values, &y.values, options.p)
    } else {
        assigned_cost(&x, &y, options.p)?
    };
    let measure = Measure::new(root(total, options.p), x.n).and(y.n);
    let measure = measure.how(format!("p = {}", options.p)).how("exact");
    Ok(if (x.n, y.n) == all {
        measure
    } else {
        measure.how(format!("thinned from {} and {}", all.0, all.1))
    })
}

/// `n` of the points, drawn without replacement.
fn thinned(x: Sample, n: usize, stream: Stream) -> Sample {
    if n == x.n {
        return x;
    }
    let mut keep = stream.permutation(x.n);
    keep.truncate(n);
    let rows = keep
        .iter()
        .filter_map(|i| x.values.get(i * x.d..(i + 1) * x.d));
    Sample {
        values: rows.flatten().copied().collect(),
        n,
        d: x.d,
    }
}

/// The least mean cost of a one-to-one coupling.
fn assigned_cost(x: &Sample, y: &Sample, p: u32) -> Result<f64> {
    if x.n != y.n {
        let message = format!(
            "expected samples of equal size, got {} points in x and {} in y (option `samples` thins both)",
            x.n, y.n
        );
        return Err(Error::Value {
            what: "wasserstein",
            message,
        });
    }
    memory::ensure(memory::count("wasserstein", &[x.n, y.n])?, size_of::<f64>())?;
    let mut cost = squared_distances(x, y)?;
    if p == 1 {
        cost.iter_mut().for_each(|c| *c = c.sqrt());
    }
    Ok(assignment(&cost, x.n)?.cost / x.n as f64)
}

/// Sorts numbers that are not NaN.
pub(super) fn sort(x: &mut [f64]) {
    x.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
}

/// `E |X - Y|^p` under the coupling of the quantiles of two sorted samples of any sizes, at least 1.
pub(super) fn sorted_cost(x: &[f64], y: &[f64], p: u32) -> f64 {
    let power = |a: f64, b: f64| {
        if p == 1 {
            (a - b).abs()
        } else {
            (a - b) * (a - b)
        }
    };
    if x.len() == y.len() {
        return x.iter().zip(y).map(|(&a, &b)| power(a, b)).sum::<f64>() / x.len() as f64;
    }
    // Each x has m units of mass and each y has n: whole numbers, so no rounding decides who meets whom.
    let (n, m) = (x.len() as u64, y.len() as u64);
    let (mut xs, mut ys) = (x.iter(), y.iter());
    let (mut a, mut b) = (xs.next(), ys.next());
    let (mut left_a, mut left_b, mut total) = (m, n, 0.0);
    while let (Some(&u), Some(&v)) = (a, b) {
        let mass = left_a.min(left_b);
        total += mass as f64 * power(u, v);
        left_a -= mass;
        left_b -= mass;
        if left_a == 0 {
            (a, left_a) = (xs.next(), m);
        }
        if left_b == 0 {
            (b, left_b) = (ys.next(), n);
        }
    }
    total / (n as f64 * m as f64)
}

/// From `E |.|^p` to a distance.
pub(super) fn root(cost: f64, p: u32) -> f64 {
    if p == 1 { cost } else { cost.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rhapsode_tensor::DType;

    fn options(p: u32, samples: Option<usize>) -> WassersteinOptions {
        WassersteinOptions { p, samples }
    }

    fn w(x: &Tensor, y: &Tensor, p: u32) -> f64 {
        wasserstein(x, y, &options(p, None), Stream::new(0, "w"))
            .unwrap()
            .value
    }

    fn gaussian(purpose: &str, n: usize, d: usize) -> Tensor {
        Stream::new(0, purpose).randn(&[n, d], DType::F64).unwrap()
    }

    #[test]
    fn two_points_by_hand() {
        let x = Tensor::from_vec(vec![0f32, 0.0, 1.0, 0.0], &[2, 2]).unwrap();
        let y = Tensor::from_vec(vec![1f32, 2.0, 0.0, 1.0], &[2, 2]).unwrap();
        assert_eq!(w(&x, &y, 1), 1.5);
        assert_eq!(w(&x, &y, 2), 2.5f64.sqrt());
    }

    #[test]
    fn a_permuted_sample_is_at_zero_and_a_shifted_one_at_its_shift() {
        let x = gaussian("x", 300, 3);
        assert_eq!(w(&x, &x.flip(0).unwrap(), 2), 0.0);
        let shift = Tensor::from_vec(vec![2f64, -3.0, 6.0], &[3]).unwrap();
        let moved = x.add(&shift).unwrap().flip(0).unwrap();
        for p in [1, 2] {
            assert!((w(&x, &moved, p) - 7.0).abs() < 1e-12);
        }
    }

    #[test]
    fn gaussians_on_a_line_have_the_distance_of_the_closed_form() {
        // W_2^2 = (m - m')^2 + (s - s')^2
        let x = gaussian("x", 40_000, 1);
        let y = gaussian("y", 30_000, 1).affine(3.0, 1.5).unwrap();
        let want = (1.5f64 * 1.5 + 4.0).sqrt();
        assert!((w(&x, &y, 2) - want).abs() < 0.05, "{}", w(&x, &y, 2));
    }

    #[test]
    fn quantiles_agree_with_repeated_points() {
        // A sample and itself with every point three times have the same law.
        let x = gaussian("x", 40, 1);
        let y = gaussian("y", 25, 1);
        let x3 = Tensor::cat(&[&x, &x, &x], 0).unwrap();
        for p in [1, 2] {
            assert!((w(&x, &y, p) - w(&x3, &y, p)).abs() < 1e-12);
            assert!(w(&x, &x3, p) < 1e-12);
        }
        let (a, b) = (
            Tensor::from_vec(vec![0f64, 4.0], &[2]),
            Tensor::from_vec(vec![1f64], &[1]),
        );
        assert_eq!(w(&a.unwrap(), &b.unwrap(), 1), 2.0);
    }

    #[test]
    fn thinning_takes_equally_many_points_and_follows_the_stream() {
        let (x, y) = (gaussian("x", 200, 2), gaussian("y", 150, 2));
        let thin = |samples, seed| {
            wasserstein(&x, &y, &options(2, samples), Stream::new(seed, "w"))
                .unwrap()
                .value
        };
        assert_eq!(thin(Some(50), 1), thin(Some(50), 1));
        assert_ne!(thin(Some(50), 1), thin(Some(50), 2));
        // 150 of x at most, and all of y.
        assert_eq!(thin(Some(500), 1), thin(Some(150), 1));
        let message = wasserstein(&x, &y, &options(2, None), Stream::new(0, "w"))
            .err()
            .unwrap();
        assert_eq!(
            message.to_string(),
            "wasserstein: expected samples of equal size, got 200 points in x and 150 in y (option `samples` thins both)"
        );
    }

    #[test]
    fn impossible_options_are_errors() {
        let message = |options: WassersteinOptions| options.validate().err().unwrap().to_string();
        assert_eq!(
            message(options(3, None)),
            "option `p`: expected 1 or 2, got 3"
        );
        assert_eq!(
            message(options(2, Some(0))),
            "option `samples`: expected at least 1, got 0"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

        // The assignment in a plane whose second axis is empty, against sorting.
        #[test]
        fn assignment_agrees_with_sorting(points in prop::collection::vec((-9.0f64..9.0, -9.0f64..9.0), 1..60)) {
            let n = points.len();
            let (a, b): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
            let (a, b) = (Tensor::from_vec(a, &[n, 1]).unwrap(), Tensor::from_vec(b, &[n, 1]).unwrap());
            let plane = |x: &Tensor| Tensor::cat(&[x, &Tensor::zeros(&[n, 1], DType::F64).unwrap()], 1).unwrap();
            for p in [1, 2] {
                prop_assert!((w(&a, &b, p) - w(&plane(&a), &plane(&b), p)).abs() < 1e-10);
            }
        }
    }
}
