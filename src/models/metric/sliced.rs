//! The sliced Wasserstein distance: the mean of 1-D distances over random directions.
//!
//! ```text
//! SW_p = (E over directions u of W_p(u.X, u.Y)^p)^(1/p),   u uniform on the unit sphere
//! ```
//!
//! The 1-D distances are exact: quantiles against quantiles, for samples of any sizes. It never exceeds the
//! Wasserstein distance; of a shift by `m` it sees `|m| / sqrt(d)` for p = 2. Bonneel et al., "Sliced and Radon
//! Wasserstein Barycenters of Measures", Journal of Mathematical Imaging and Vision 51 (2015).

use rhapsode_tensor::{DType, Tensor, memory, random::Stream, simd::math::Float};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Measure, check_order,
    measure::mean_and_error,
    sample::{Sample, parallel},
    wasserstein::{root, sort, sorted_cost},
};
use crate::{Error, Result};

/// Options of the sliced Wasserstein distance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SlicedOptions {
    /// Number of random directions, at least 1. Default: 256.
    pub directions: usize,
    /// The order: 1 or 2. Default: 2.
    pub p: u32,
}

impl Default for SlicedOptions {
    fn default() -> Self {
        Self {
            directions: 256,
            p: 2,
        }
    }
}

impl SlicedOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        check_order(self.p)?;
        if self.directions == 0 {
            return Err(Error::option("directions", "expected at least 1, got 0"));
        }
        Ok(())
    }
}

/// The sliced `p`-Wasserstein distance between samples `x`, `[n, d]`, and `y`, `[m, d]`, in the unit of the data.
///
/// The standard error is that of the mean over directions, for the samples at hand (none for d = 1, where all directions
/// agree). `stream` draws the directions: one stream, one set of directions for all distances that are to be compared.
/// Time O(directions (n + m) (d + log n)). For d = 1 it is the Wasserstein distance. Errors: sizes of `d` that
/// differ, NaN or infinity.
pub fn sliced_wasserstein(
    x: &Tensor,
    y: &Tensor,
    options: &SlicedOptions,
    stream: Stream,
) -> Result<Measure> {
    options.validate()?;
    let (x, y) = Sample::pair("sliced_wasserstein", x, y)?;
    let directions = directions(options.directions, x.d, stream)?;
    // All threads together hold a projection of both samples.
    let threads = rhapsode_tensor::pool::global().parts();
    memory::ensure((x.n + y.n).saturating_mul(threads), size_of::<f64>())?;
    let mut costs = vec![0.0; options.directions];
    // Sorting costs about as much as 50 multiplications and additions a number.
    let work = 2 * (x.n + y.n) * (x.d + 50);
    parallel(&mut costs, 1, 1, work, |start, costs| {
        let (mut a, mut b) = (vec![0.0; x.n], vec![0.0; y.n]);
        for (cost, u) in costs
            .iter_mut()
            .zip(directions.chunks_exact(x.d).skip(start))
        {
            project(&x, u, &mut a);
            project(&y, u, &mut b);
            sort(&mut a);
            sort(&mut b);
            *cost = sorted_cost(&a, &b, options.p);
        }
    })?;
    let (mean, error) = mean_and_error(&costs);
    let measure = Measure::new(root(mean, options.p), x.n).and(y.n);
    // The error of a root is that of its square over twice the root.
    let error = match options.p {
        1 => error,
        _ => error
            .filter(|_| mean > 0.0)
            .map(|e| e / (2.0 * mean.sqrt())),
    };
    let measure = match error.filter(|_| x.d > 1) {
        Some(error) => measure.with_error(error),
        None => measure,
    };
    let words = format!("p = {}", options.p);
    Ok(measure
        .how(words)
        .how(format!("{} directions", options.directions)))
}

/// `count` unit vectors in `d` dimensions, one after the other.
fn directions(count: usize, d: usize, stream: Stream) -> Result<Vec<f64>> {
    let mut values = stream.randn(&[count, d], DType::F64)?.to_vec()?;
    for u in values.chunks_exact_mut(d) {
        let norm = u.iter().map(|v| v * v).sum::<f64>().sqrt();
        u.iter_mut().for_each(|v| *v /= norm);
    }
    Ok(values)
}

/// `out = x u`.
fn project(x: &Sample, u: &[f64], out: &mut [f64]) {
    products(&x.values, x.d, u, out);
}

rhapsode_tensor::simd! {
    /// The products of the rows of `x`, `[n, d]`, with `u`, `[d]`.
    fn products(x: &[f64], d: usize, u: &[f64], out: &mut [f64]) {
        let (u_lanes, u_rest) = u.as_chunks::<8>();
        for (out, row) in out.iter_mut().zip(x.chunks_exact(d)) {
            let (lanes, rest) = row.as_chunks::<8>();
            let mut sums = [0.0; 8];
            for (a, b) in lanes.iter().zip(u_lanes) {
                for l in 0..8 { sums[l] = Float::fma(a[l], b[l], sums[l]) }
            }
            let mut sum: f64 = sums.iter().sum();
            for (a, b) in rest.iter().zip(u_rest) { sum = Float::fma(*a, *b, sum) }
            *out = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{WassersteinOptions, wasserstein};
    use proptest::prelude::*;

    fn stream() -> Stream {
        Stream::new(0, "directions")
    }

    fn sw(x: &Tensor, y: &Tensor, p: u32, directions: usize) -> f64 {
        sliced_wasserstein(x, y, &SlicedOptions { directions, p }, stream())
            .unwrap()
            .value
    }

    fn gaussian(purpose: &str, n: usize, d: usize) -> Tensor {
        Stream::new(0, purpose).randn(&[n, d], DType::F64).unwrap()
    }

    #[test]
    fn a_shift_is_seen_by_its_part_along_each_direction() {
        // Wide enough for lanes and rest.
        for d in [2, 11] {
            let x = gaussian("x", 50, d);
            let mut shift = vec![0.0; d];
            (shift[0], shift[1]) = (3.0, -4.0);
            let y = x
                .add(&Tensor::from_vec(shift, &[d]).unwrap())
                .unwrap()
                .flip(0)
                .unwrap();
            let units = directions(64, d, stream()).unwrap();
            let along = units.chunks_exact(d).map(|u| 3.0 * u[0] - 4.0 * u[1]);
            let want = (along.clone().map(|v| v * v).sum::<f64>() / 64.0).sqrt();
            assert!((sw(&x, &y, 2, 64) - want).abs() < 1e-12);
            let want = along.map(f64::abs).sum::<f64>() / 64.0;
            assert!((sw(&x, &y, 1, 64) - want).abs() < 1e-12);
            let many = sw(&x, &y, 2, 4000);
            assert!((many - 5.0 / (d as f64).sqrt()).abs() < 0.1, "{many}");
        }
    }

    #[test]
    fn gaussians_have_the_distance_of_the_closed_form() {
        // In every direction N(0, 1) against N(0, 4): distance 1.
        let x = gaussian("x", 20_000, 2);
        let y = gaussian("y", 10_000, 2).affine(2.0, 0.0).unwrap();
        let got = sw(&x, &y, 2, 100);
        assert!((got - 1.0).abs() < 0.03, "{got}");
    }

    #[test]
    fn on_a_line_it_is_the_wasserstein_distance() {
        let (x, y) = (gaussian("x", 70, 1), gaussian("y", 41, 1));
        for p in [1, 2] {
            let options = WassersteinOptions { p, samples: None };
            let exact = wasserstein(&x, &y, &options, stream()).unwrap().value;
            assert!((sw(&x, &y, p, 5) - exact).abs() < 1e-12);
        }
    }

    #[test]
    fn directions_follow_the_stream() {
        let (x, y) = (gaussian("x", 50, 3), gaussian("y", 50, 3));
        let of = |seed| {
            let stream = Stream::new(seed, "directions");
            sliced_wasserstein(&x, &y, &SlicedOptions::default(), stream).unwrap()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn impossible_options_are_errors() {
        let message = |directions, p| {
            SlicedOptions { directions, p }
                .validate()
                .err()
                .unwrap()
                .to_string()
        };
        assert_eq!(
            message(0, 2),
            "option `directions`: expected at least 1, got 0"
        );
        assert_eq!(message(1, 0), "option `p`: expected 1 or 2, got 0");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

        #[test]
        fn never_above_the_exact_distance(n in 1usize..30, d in 1usize..5, seed in 0u64..1000, p in 1u32..3) {
            let [x, y] = ["x", "y"].map(|s| Stream::new(seed, s).randn(&[n, d], DType::F64).unwrap());
            let exact = wasserstein(&x, &y, &WassersteinOptions { p, samples: None }, stream()).unwrap().value;
            prop_assert!(sw(&x, &y, p, 20) <= exact + 1e-12);
        }
    }
}
