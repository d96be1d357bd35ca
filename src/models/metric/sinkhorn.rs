//! The Sinkhorn divergence: entropic optimal transport without its bias.
//!
//! ```text
//! OT(x, y) = min over couplings P of  <P, C> + epsilon KL(P | a x b),     C_ij = |x_i - y_j|^p
//! S(x, y)  = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2
//! f_i <- -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon)               (and g likewise)
//! ```
//!
//! Weights are uniform, `a = 1/n`, `b = 1/m`. S is 0 for equal samples, positive otherwise, and tends to `W_p^p` for
//! epsilon -> 0, to half an energy distance (p = 1) for epsilon -> infinity. Feydy, Séjourné, Vialard, Amari, Trouvé, Peyré,
//! "Interpolating between Optimal Transport and MMD using Sinkhorn Divergences", AISTATS 2019 (arXiv 1810.08278):
//! the averaged step for the symmetric problems and the fall of epsilon from the diameter are theirs.
//!
//! Everything is in the log domain, so that no epsilon underflows. Costs are computed again in every iteration, row by
//! row: 10^4 x 10^4 points take the memory of a few rows.

use rhapsode_tensor::{Tensor, interrupt, memory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Measure, check_order,
    measure::significant,
    pairwise::{Euclidean, Squares, exp, row_sums},
    sample::Sample,
};
use crate::{Error, Result};

/// Options of the Sinkhorn divergence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkhornOptions {
    /// Weight of the entropy, in units of the cost, above 0. Default: 0.05 times the mean cost between the samples.
    pub epsilon: Option<f64>,
    /// The cost is |x - y|^p: 1 or 2. Default: 2.
    pub p: u32,
    /// It has converged when the marginals are off by at most this much together (of 1), above 0. The error of the
    /// divergence is of second order in it. Default: 1e-4.
    pub tolerance: f64,
    /// Most iterations at the final epsilon, at least 1; not to have converged by then is an error. Default: 2000.
    pub iterations: usize,
}

impl Default for SinkhornOptions {
    fn default() -> Self {
        Self {
            epsilon: None,
            p: 2,
            tolerance: 1e-4,
            iterations: 2000,
        }
    }
}

impl SinkhornOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        check_order(self.p)?;
        let above = |key, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(Error::option(
                key,
                format!("expected a number above 0, got {value}"),
            )),
        };
        above("tolerance", self.tolerance)?;
        if self.iterations == 0 {
            return Err(Error::option("iterations", "expected at least 1, got 0"));
        }
        self.epsilon.map_or(Ok(()), |e| above("epsilon", e))
    }
}

/// The Sinkhorn divergence between samples `x`, `[n, d]`, and `y`, `[m, d]`, in the unit of the cost (that of the data
/// to the power p).
///
/// Time O(iterations (n + m)^2 d), interrupted at will; memory O((n + m) d). Errors: sizes of `d` that differ, NaN or
/// infinity, no convergence within `iterations`.
pub fn sinkhorn(x: &Tensor, y: &Tensor, options: &SinkhornOptions) -> Result<Measure> {
    options.validate()?;
    let (x, y) = Sample::pair("sinkhorn", x, y)?;
    memory::ensure((x.n + y.n).saturating_mul(4 * x.d + 16), size_of::<f64>())?;
    let epsilon = match options.epsilon {
        Some(epsilon) => epsilon,
        None => 0.05 * mean_cost(&x, &y, options.p)?,
    };
    let measure = |value: f64| {
        Measure::new(value, x.n)
            .and(y.n)
            .how(format!("p = {}", options.p))
    };
    if epsilon == 0.0 {
        // All points of both samples are one.
        return Ok(measure(0.0).how("all points are one"));
    }
    let solver = Solver {
        epsilon,
        start: diameter(&x, &y, options.p).max(epsilon),
        options,
    };
    let (cross, iterations) = solver.between(&x, &y)?;
    let value = cross - 0.5 * (solver.within(&x)? + solver.within(&y)?);
    let words = format!("epsilon {}", significant(epsilon, 4));
    Ok(measure(value)
        .how(words)
        .how(format!("{iterations} iterations")))
}

/// The mean of `|x_i - y_j|^p`.
fn mean_cost(x: &Sample, y: &Sample, p: u32) -> Result<f64> {
    if p == 1 {
        let sums = row_sums(&Euclidean, 4, x, y)?;
        return Ok(sums.iter().sum::<f64>() / (x.n as f64 * y.n as f64));
    }
    // Spread of each sample around its own mean, and the distance of the means.
    let mean = |s: &Sample| -> Vec<f64> {
        let mut mean = vec![0.0; s.d];
        for row in s.values.chunks_exact(s.d) {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += v);
        }
        mean.iter().map(|m| m / s.n as f64).collect()
    };
    let spread = |s: &Sample, mean: &[f64]| -> f64 {
        let square =
            |row: &[f64]| -> f64 { row.iter().zip(mean).map(|(v, m)| (v - m).powi(2)).sum() };
        s.values.chunks_exact(s.d).map(square).sum::<f64>() / s.n as f64
    };
    let (mx, my) = (mean(x), mean(y));
    let apart: f64 = mx.iter().zip(&my).map(|(a, b)| (a - b).powi(2)).sum();
    Ok(spread(x, &mx) + spread(y, &my) + apart)
}

/// No cost is larger: that across the box around all points.
fn diameter(x: &Sample, y: &Sample, p: u32) -> f64 {
    let mut low = vec![f64::INFINITY; x.d];
    let mut high = vec![f64::NEG_INFINITY; x.d];
    for row in x.values.chunks_exact(x.d).chain(y.values.chunks_exact(x.d)) {
        for ((low, high), v) in low.iter_mut().zip(&mut high).zip(row) {
            *low = low.min(*v);
            *high = high.max(*v);
        }
    }
    let square: f64 = low.iter().zip(&high).map(|(a, b)| (b - a).powi(2)).sum();
    if p == 1 { square.sqrt() } else { square }
}

/// One epsilon, one way down to it.
struct Solver<'a> {
    epsilon: f64,
    start: f64,
    options: &'a SinkhornOptions,
}

impl Solver<'_> {
    /// Epsilons from the diameter down by halves, the last one excluded.
    fn falling(&self) -> impl Iterator<Item = f64> {
        let (start, end) = (self.start, self.epsilon);
        (0..)
            .map(move |k| start * 0.5f64.powi(k))
            .take_while(move |e| *e > end)
    }

    /// `-epsilon log mean_j exp((g_j - C_ij) / epsilon)` for all i.
    fn soft_min(&self, costs: &Squares, g: &[f64], epsilon: f64, out: &mut [f64]) -> Result<()> {
        let (p, mean) = (self.options.p, (g.len() as f64).ln());
        // An exponential and the comparison with the largest cost some 25 multiplications.
        costs.reduce(25, out, |row| {
            if p == 1 {
                row.iter_mut().for_each(|c| *c = c.sqrt());
            }
            -epsilon * (log_sum_exp(row, g, 1.0 / epsilon) - mean)
        })
    }

    /// OT between two samples, and the iterations that it took.
    fn between(&self, x: &Sample, y: &Sample) -> Result<(f64, usize)> {
        let (rows, columns) = (Squares::new(x, y), Squares::new(y, x));
        let (mut f, mut g) = (vec![0.0; x.n], vec![0.0; y.n]);
        let (mut f_new, mut g_new) = (f.clone(), g.clone());
        for epsilon in self.falling() {
            self.soft_min(&rows, &g, epsilon, &mut f_new)?;
            self.soft_min(&columns, &f, epsilon, &mut g_new)?;
            halfway(&mut f, &f_new);
            halfway(&mut g, &g_new);
        }
        self.soft_min(&columns, &f, self.epsilon, &mut g)?;
        for iteration in 1..=self.options.iterations {
            interrupt::check()?;
            // Columns are met by (f, g); rows are off by what f still moves.
            self.soft_min(&rows, &g, self.epsilon, &mut f_new)?;
            let error = off(&f, &f_new, self.epsilon);
            std::mem::swap(&mut f, &mut f_new);
            if error <= self.options.tolerance {
                // Rows are met now, so the entropy's term is 0.
                return Ok((mean(&f) + mean(&g), iteration));
            }
            self.soft_min(&columns, &f, self.epsilon, &mut g)?;
        }
        Err(self.unfinished())
    }

    /// OT of a sample to itself: one potential.
    fn within(&self, x: &Sample) -> Result<f64> {
        let costs = Squares::new(x, x);
        let mut f = vec![0.0; x.n];
        let mut f_new = f.clone();
        for epsilon in self.falling() {
            self.soft_min(&costs, &f, epsilon, &mut f_new)?;
            halfway(&mut f, &f_new);
        }
        for _ in 0..self.options.iterations {
            interrupt::check()?;
            self.soft_min(&costs, &f, self.epsilon, &mut f_new)?;
            let error = off(&f, &f_new, self.epsilon);
            if error <= self.options.tolerance {
                // (f, f_new) meets its rows: the dual value of that pair.
                return Ok(mean(&f) + mean(&f_new));
            }
            halfway(&mut f, &f_new);
        }
        Err(self.unfinished())
    }

    fn unfinished(&self) -> Error {
        Error::Value {
            what: "sinkhorn",
            message: format!(
                "the marginals were not within {} after {} iterations at epsilon {} (raise option `epsilon`, `iterations` or `tolerance`)",
                self.options.tolerance,
                self.options.iterations,
                significant(self.epsilon, 4)
            ),
        }
    }
}

/// `sum |1/n exp((f - f') / epsilon) - 1/n|`: by how much the marginals of f are off.
fn off(f: &[f64], new: &[f64], epsilon: f64) -> f64 {
    let moved = f.iter().zip(new);
    let each = moved.map(|(f, new)| ((f - new) / epsilon).exp_m1().abs());
    each.sum::<f64>() / f.len() as f64
}

fn halfway(f: &mut [f64], new: &[f64]) {
    f.iter_mut()
        .zip(new)
        .for_each(|(f, new)| *f = 0.5 * (*f + new));
}

fn mean(f: &[f64]) -> f64 {
    f.iter().sum::<f64>() / f.len() as f64
}

rhapsode_tensor::simd! {
    /// `log sum_j exp((g_j - c_j) rate)`; the costs are overwritten.
    fn log_sum_exp(costs: &mut [f64], g: &[f64], rate: f64) -> f64 {
        let mut largest = [f64::NEG_INFINITY; 8];
        for (c, g) in costs.iter_mut().zip(g) { *c = (g - *c) * rate }
        let (lanes, rest) = costs.as_chunks::<8>();
        for lane in lanes {
            for l in 0..8 { largest[l] = if lane[l] > largest[l] { lane[l] } else { largest[l] } }
        }
        let top = largest.iter().chain(rest).fold(f64::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
        let mut sums = [0.0; 8];
        for lane in lanes {
            for l in 0..8 { sums[l] += exp(lane[l] - top) }
        }
        let mut sum: f64 = sums.iter().sum();
        for v in rest { sum += exp(v - top) }
        top + sum.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{EnergyOptions, WassersteinOptions, energy_distance, wasserstein};
    use rhapsode_tensor::{DType, random::Stream};

    fn gaussian(purpose: &str, n: usize, d: usize) -> Tensor {
        Stream::new(0, purpose).randn(&[n, d], DType::F64).unwrap()
    }

    fn with(epsilon: f64, p: u32) -> SinkhornOptions {
        SinkhornOptions {
            epsilon: Some(epsilon),
            p,
            tolerance: 1e-8,
            iterations: 100_000,
        }
    }

    /// A lattice that needs no generator: `x_ik = ((i * (k + 3) * 7) mod 19) / 19 + shift`.
    fn lattice(n: usize, d: usize, shift: f64) -> Tensor {
        let values = (0..n * d).map(|at| ((at / d * (at % d + 3) * 7) % 19) as f64 / 19.0 + shift);
        Tensor::from_vec(values.collect::<Vec<f64>>(), &[n, d]).unwrap()
    }

    /// numpy 2, scipy `logsumexp`: 20,000 plain log-domain iterations in float64.
    const REFERENCE: &[(f64, u32, f64)] = &[
        (0.05, 2, 0.182_132_803_889_016_95),
        (0.5, 2, 0.177_418_928_524_362_8),
        (0.05, 1, 0.360_542_658_487_357_56),
    ];

    #[test]
    fn values_are_those_of_numpy() {
        let (x, y) = (lattice(13, 2, 0.0), lattice(17, 2, 0.3));
        for &(epsilon, p, want) in REFERENCE {
            let got = sinkhorn(&x, &y, &with(epsilon, p)).unwrap();
            assert!((got.value - want).abs() < 1e-9, "{got} {want}");
        }
    }

    #[test]
    fn a_small_epsilon_gives_the_wasserstein_distance_and_a_large_one_half_the_energy_distance() {
        let (x, y) = (
            gaussian("x", 40, 2),
            gaussian("y", 40, 2).affine(1.5, 1.0).unwrap(),
        );
        for p in [1, 2] {
            let exact = wasserstein(
                &x,
                &y,
                &WassersteinOptions { p, samples: None },
                Stream::new(0, "w"),
            );
            let exact = exact.unwrap().value.powi(p as i32);
            let small = SinkhornOptions {
                tolerance: 1e-3,
                ..with(0.02, p)
            };
            let got = sinkhorn(&x, &y, &small).unwrap().value;
            assert!((got - exact).abs() < 0.03 * exact, "{p}: {got} {exact}");
        }
        let biased = EnergyOptions {
            estimator: crate::metric::Estimator::Biased,
        };
        let energy = energy_distance(&x, &y, &biased).unwrap().value;
        let got = sinkhorn(&x, &y, &with(1e4, 1)).unwrap().value;
        assert!((got - 0.5 * energy).abs() < 1e-3 * energy, "{got} {energy}");
    }

    #[test]
    fn a_shift_costs_its_square_at_any_epsilon() {
        let x = gaussian("x", 50, 3);
        let shift = Tensor::from_vec(vec![2f64, -3.0, 6.0], &[3]).unwrap();
        let moved = x.add(&shift).unwrap().flip(0).unwrap();
        for epsilon in [0.5, 5.0, 50.0] {
            let got = sinkhorn(&x, &moved, &with(epsilon, 2)).unwrap().value;
            assert!((got - 49.0).abs() < 1e-6, "{epsilon}: {got}");
        }
    }

    #[test]
    fn it_says_when_it_has_not_converged_and_why_an_option_is_impossible() {
        let (x, y) = (gaussian("x", 30, 2), gaussian("y", 20, 2));
        let message =
            |options: SinkhornOptions| sinkhorn(&x, &y, &options).err().unwrap().to_string();
        let few = SinkhornOptions {
            epsilon: Some(0.01),
            iterations: 2,
            ..Default::default()
        };
        assert_eq!(
            message(few),
            "sinkhorn: the marginals were not within 0.0001 after 2 iterations at epsilon 0.01 (raise option `epsilon`, `iterations` or `tolerance`)"
        );
        assert_eq!(
            message(with(0.0, 2)),
            "option `epsilon`: expected a number above 0, got 0"
        );
        assert_eq!(message(with(1.0, 3)), "option `p`: expected 1 or 2, got 3");
        let zeros = Tensor::zeros(&[4, 2], DType::F64).unwrap();
        assert_eq!(
            sinkhorn(&zeros, &zeros, &SinkhornOptions::default())
                .unwrap()
                .value,
            0.0
        );
    }
}
