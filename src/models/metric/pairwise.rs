//! Distances between all points of two samples, in f64, without the cancellation of
//! `|x|^2 + |y|^2 - 2 x.y`.
//!
//! Eight points of the second sample lie side by side (a panel), four of the first are taken at a time: each number that is
//! loaded serves four or eight differences, and the inner loop is a vector of eight lanes.

use rhapsode_tensor::simd::math::Float;

use super::sample::{Sample, parallel};
use crate::Result;

/// Points of a panel.
const LANES: usize = 8;

/// Points of the first sample that are taken at a time.
const ROWS: usize = 4;

/// Columns of a panel from one sample: `[panels, d, LANES]`, the last panel filled up with zeros.
struct Panels {
    values: Vec<f64>,
    n: usize,
    d: usize,
}

impl Panels {
    fn new<const SIDE: usize>(x: &Sample) -> Self {
        let mut values = vec![0.0; x.n.next_multiple_of(SIDE) * x.d];
        let panels = values.chunks_exact_mut(SIDE * x.d);
        for (panel, rows) in panels.zip(x.values.chunks(SIDE * x.d)) {
            for (lane, row) in rows.chunks_exact(x.d).enumerate() {
                let column = panel.iter_mut().skip(lane).step_by(SIDE);
                column.zip(row).for_each(|(to, from)| *to = *from);
            }
        }
        Self {
            values,
            n: x.n,
            d: x.d,
        }
    }
}

/// Squared distances between `ROWS` points and a panel; `rows` is `[d, ROWS]`, `panel` is `[d, LANES]`.
#[inline(always)]
fn squares(rows: &[f64], panel: &[f64]) -> [[f64; LANES]; ROWS] {
    let mut squares = [[0.0; LANES]; ROWS];
    let (rows, panel) = (rows.as_chunks::<ROWS>().0, panel.as_chunks::<LANES>().0);
    for (x, y) in rows.iter().zip(panel) {
        for r in 0..ROWS {
            for l in 0..LANES {
                let difference = y[l] - x[r];
                squares[r][l] = Float::fma(difference, difference, squares[r][l]);
            }
        }
    }
    squares
}

/// A function of the squared distance of two points.
pub(super) trait Kernel: Sync {
    /// Its value; must be `#[inline(always)]`.
    fn of(&self, square: f64) -> f64;
}

/// The distance itself.
pub(super) struct Euclidean;

impl Kernel for Euclidean {
    #[inline(always)]
    fn of(&self, square: f64) -> f64 {
        square.sqrt()
    }
}

/// `exp(-rate |x - y|^2)`.
pub(super) struct Gaussian {
    /// `1 / (2 h^2)` for the bandwidth `h`.
    pub rate: f64,
}

impl Kernel for Gaussian {
    #[inline(always)]
    fn of(&self, square: f64) -> f64 {
        exp(-self.rate * square)
    }
}

/// e^x for x <= 0 to an ulp or two, in vectors (the standard library's is one call a number). Below -708
/// it gives e^-708.
///
/// x = k ln 2 + r with |r| <= ln 2 / 2; the Taylor series of e^r is cut after the 13th power (next term 5e-18); k comes
/// out of the low bits of x / ln 2 + 1.5 * 2^52 and goes into the exponent.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    const TERMS: [f64; 13] = [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    // ln 2 in two parts, the first with trailing zeros, so that k times it is exact.
    const LN2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
    let x = if x > -708.0 { x } else { -708.0 };
    let shifted = Float::fma(x, std::f64::consts::LOG2_E, SHIFT);
    let k = shifted - SHIFT;
    let r = Float::fma(-k, LN2[1], Float::fma(-k, LN2[0], x));
    let mut sum = 1.0 / 6_227_020_800.0;
    for term in TERMS {
        sum = Float::fma(sum, r, term);
    }
    f64::from_bits(sum.to_bits().wrapping_add(shifted.to_bits() << 52))
}

rhapsode_tensor::simd! {
    /// The sums of a kernel between each of `ROWS` points and the points of all panels; the last panel has
    /// `last` points.
    fn sum_kernel<K: Kernel>(kernel: &K, rows: &[f64], d: usize, panels: &[f64], last: usize) -> [f64; ROWS] {
        let count = panels.len() / (LANES * d);
        let mut sums = [[0.0; LANES]; ROWS];
        for (p, panel) in panels.chunks_exact(LANES * d).enumerate() {
            let mut weights = [1.0; LANES];
            if p + 1 == count { weights[last..].fill(0.0) }
            let squares = squares(rows, panel);
            for r in 0..ROWS {
                for l in 0..LANES {
                    sums[r][l] = Float::fma(weights[l], kernel.of(squares[r][l]), sums[r][l]);
                }
            }
        }
        sums.map(|lanes| lanes.iter().sum())
    }
}

rhapsode_tensor::simd! {
    /// The squared distances between `ROWS` points and all points of the panels, to `out`, `[up to ROWS, n]`.
    fn write_squares(rows: &[f64], d: usize, panels: &[f64], out: &mut [f64], n: usize) {
        for (p, panel) in panels.chunks_exact(LANES * d).enumerate() {
            let squares = squares(rows, panel);
            let (start, end) = (p * LANES, n.min((p + 1) * LANES));
            for (out, squares) in out.chunks_exact_mut(n).zip(&squares) {
                out[start..end].copy_from_slice(&squares[..end - start]);
            }
        }
    }
}

/// Points in the last panel.
fn last_panel(n: usize) -> usize {
    n - (n - 1) / LANES * LANES
}

/// For every `x_i` the sum of `kernel(|x_i - y_j|^2)` over all `y_j`; `cost` is about what the kernel takes, in
/// multiplications.
pub(super) fn row_sums<K: Kernel>(
    kernel: &K,
    cost: usize,
    x: &Sample,
    y: &Sample,
) -> Result<Vec<f64>> {
    let (rows, panels) = (Panels::new::<ROWS>(x), Panels::new::<LANES>(y));
    let last = last_panel(y.n);
    let mut sums = vec![0.0; x.n];
    let work = 2 * y.n * (y.d + cost);
    parallel(&mut sums, 1, ROWS, work, |start, sums| {
        let groups = rows.values.chunks_exact(ROWS * rows.d).skip(start / ROWS);
        for (out, group) in sums.chunks_mut(ROWS).zip(groups) {
            let all = sum_kernel(kernel, group, panels.d, &panels.values, last);
            out.iter_mut().zip(all).for_each(|(out, sum)| *out = sum);
        }
    })?;
    Ok(sums)
}

/// Rows of squared distances, computed when they are asked for.
pub(super) struct Squares {
    rows: Panels,
    panels: Panels,
}

impl Squares {
    /// Between the points of `x` and those of `y`.
    pub fn new(x: &Sample, y: &Sample) -> Self {
        Self {
            rows: Panels::new::<ROWS>(x),
            panels: Panels::new::<LANES>(y),
        }
    }

    /// Fills `out`, `[n]`: `f(squared distances [m] of point i to all others)`, over both cores, in memory for a
    /// few rows.
    pub fn reduce(
        &self,
        cost: usize,
        out: &mut [f64],
        f: impl Fn(&mut [f64]) -> f64 + Sync,
    ) -> Result<()> {
        let m = self.panels.n;
        let d = self.rows.d;
        parallel(out, 1, ROWS, 2 * m * (d + cost), |start, out| {
            let mut squares = vec![0.0; ROWS * m];
            let groups = self.rows.values.chunks_exact(ROWS * d).skip(start / ROWS);
            for (out, group) in out.chunks_mut(ROWS).zip(groups) {
                write_squares(group, d, &self.panels.values, &mut squares, m);
                for (out, row) in out.iter_mut().zip(squares.chunks_exact_mut(m)) {
                    *out = f(row);
                }
            }
        })
    }
}

/// The matrix `[n, m]` of `|x_i - y_j|^2`, row by row.
pub(super) fn squared_distances(x: &Sample, y: &Sample) -> Result<Vec<f64>> {
    let (rows, panels) = (Panels::new::<ROWS>(x), Panels::new::<LANES>(y));
    let mut out = vec![0.0; x.n * y.n];
    parallel(&mut out, y.n, ROWS, 2 * y.n * (y.d + 2), |start, out| {
        let groups = rows.values.chunks_exact(ROWS * rows.d).skip(start / ROWS);
        for (out, group) in out.chunks_mut(ROWS * y.n).zip(groups) {
            write_squares(group, y.d, &panels.values, out, y.n);
        }
    })?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhapsode_tensor::{DType, random::Stream};

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
        square.sqrt()
    }

    fn rows(x: &Sample) -> impl Iterator<Item = &[f64]> {
        x.values.chunks_exact(x.d)
    }

    #[test]
    fn the_exponential_is_that_of_the_standard_library() {
        for i in 0..200_000 {
            let x = -f64::from(i) * 0.0035;
            let (got, want) = (exp(x), x.exp());
            assert!((got - want).abs() <= 4e-16 * want, "{x}: {got} {want}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e300) < 1e-300 && exp(f64::NEG_INFINITY) > 0.0);
    }

    #[test]
    fn sums_and_matrix_agree_with_the_plain_loops() {
        // Sizes around those of groups and panels.
        for (n, m, d) in [
            (1, 1, 1),
            (3, 8, 2),
            (4, 9, 3),
            (13, 7, 5),
            (8, 16, 1),
            (21, 33, 64),
        ] {
            let draw = |purpose, n| {
                let x = Stream::new(0, purpose).randn(&[n, d], DType::F64).unwrap();
                Sample {
                    values: x.to_vec().unwrap(),
                    n,
                    d,
                }
            };
            let (x, y) = (draw("x", n), draw("y", m));
            let sum = |x: &Sample, y: &Sample| -> f64 {
                rows(x)
                    .map(|a| rows(y).map(|b| distance(a, b)).sum::<f64>())
                    .sum()
            };
            let close =
                |a: f64, b: f64| assert!((a - b).abs() <= 1e-12 * b, "{n} {m} {d}: {a} {b}");
            let total = |x: &Sample, y: &Sample| -> f64 {
                row_sums(&Euclidean, 4, x, y).unwrap().iter().sum()
            };
            close(total(&x, &y), sum(&x, &y));
            close(total(&x, &x), sum(&x, &x));
            let mut rows_of = vec![0.0; n];
            let squares = Squares::new(&x, &y);
            squares
                .reduce(1, &mut rows_of, |row| row.iter().map(|c| c.sqrt()).sum())
                .unwrap();
            close(rows_of.iter().sum(), sum(&x, &y));
            let matrix = squared_distances(&x, &y).unwrap();
            for (row, a) in matrix.chunks_exact(m).zip(rows(&x)) {
                row.iter()
                    .zip(rows(&y))
                    .for_each(|(c, b)| close(c.sqrt(), distance(a, b)));
            }
        }
    }
}
