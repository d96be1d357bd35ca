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

rhapsode_tensor::simd! {
    /// The sums of the distances between each of `ROWS` points and the points of all panels; the first panel
    /// counts with weight `first`, and the last has `last` points.
    fn sum_distances(rows: &[f64], d: usize, panels: &[f64], first: f64, last: usize) -> [f64; ROWS] {
        let count = panels.len() / (LANES * d);
        let mut sums = [[0.0; LANES]; ROWS];
        for (p, panel) in panels.chunks_exact(LANES * d).enumerate() {
            let mut weights = [if p == 0 { first } else { 1.0 }; LANES];
            if p + 1 == count { weights[last..].fill(0.0) }
            let squares = squares(rows, panel);
            for r in 0..ROWS {
                for l in 0..LANES {
                    sums[r][l] = Float::fma(weights[l], squares[r][l].sqrt(), sums[r][l]);
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

/// The sum of `|x_i - y_j|` over all pairs.
pub(super) fn sum_between(x: &Sample, y: &Sample) -> Result<f64> {
    let (rows, panels) = (Panels::new::<ROWS>(x), Panels::new::<LANES>(y));
    let work = 2 * y.n * (y.d + 4);
    total(&rows, work, |_, rows| {
        sum_distances(rows, panels.d, &panels.values, 1.0, last_panel(panels.n))
    })
}

/// The sum of `|x_i - x_j|` over all ordered pairs.
///
/// Row groups are as wide as panels, so a point's own panel is counted in full with weight 1/2, and of the others
/// only those behind it.
pub(super) fn sum_within(x: &Sample) -> Result<f64> {
    let (rows, panels) = (Panels::new::<ROWS>(x), Panels::new::<LANES>(x));
    let work = x.n * (x.d + 4);
    let half = total(&rows, work, |row, rows| {
        let behind = panels.values.get(row / LANES * LANES * x.d..);
        sum_distances(rows, x.d, behind.unwrap_or(&[]), 0.5, last_panel(x.n))
    })?;
    Ok(2.0 * half)
}

/// Adds up `f(first row, group of rows)` over all points, in their order.
fn total(
    rows: &Panels,
    work: usize,
    f: impl Fn(usize, &[f64]) -> [f64; ROWS] + Sync,
) -> Result<f64> {
    let mut sums = vec![0.0; rows.n];
    parallel(&mut sums, 1, ROWS, work, |start, sums| {
        let groups = rows.values.chunks_exact(ROWS * rows.d).skip(start / ROWS);
        for (i, (out, group)) in sums.chunks_mut(ROWS).zip(groups).enumerate() {
            let all = f(start + i * ROWS, group);
            out.iter_mut().zip(all).for_each(|(out, sum)| *out = sum);
        }
    })?;
    Ok(sums.iter().sum())
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
            close(sum_between(&x, &y).unwrap(), sum(&x, &y));
            close(sum_within(&x).unwrap(), sum(&x, &x));
            close(sum_within(&y).unwrap(), sum(&y, &y));
            let matrix = squared_distances(&x, &y).unwrap();
            for (row, a) in matrix.chunks_exact(m).zip(rows(&x)) {
                row.iter()
                    .zip(rows(&y))
                    .for_each(|(c, b)| close(c.sqrt(), distance(a, b)));
            }
        }
    }
}
