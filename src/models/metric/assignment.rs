//! The optimal assignment: which column for each row, so that the costs together are least.
//!
//! Every column gets a price, and a row looks at its reduced costs `cost - price`. A perfect assignment in which every
//! row has a column of its least reduced cost is optimal, whatever the prices. Two known algorithms, in f64:
//!
//! 1. An auction finds prices that are nearly right. D. Bertsekas, "The auction algorithm: a distributed relaxation
//!    method for the assignment problem", Annals of Operations Research 14 (1988).
//! 2. Rows that agree with the prices keep their columns; every other row is assigned along a shortest path (Dijkstra on
//!    reduced costs), which is exact. R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and
//!    sparse linear assignment problems", Computing 38 (1987).
//!
//! The second alone is O(n^3). The auction in place of its own start (augmenting row reduction) makes points in the plane,
//! where rows compete by ever smaller margins, 50 times faster: 2000 Gaussian points against a checkerboard took
//! 18 s and take 0.3 s.

use rhapsode_tensor::{interrupt, memory};

use crate::{Error, Result};

/// An optimal assignment.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The column of each row: a permutation.
    pub columns: Vec<usize>,
    /// The sum of the costs.
    pub cost: f64,
}

/// The one-to-one assignment of `n` rows to `n` columns of least cost; `cost` is `[n, n]`, row by row.
///
/// Errors: a number of costs other than n^2, costs that are NaN, infinite or too large to be added up.
///
/// ```
/// # use rhapsode_models::metric::assignment;
/// let best = assignment(&[4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0], 3)?;
/// assert_eq!((best.columns, best.cost), (vec![1, 0, 2], 5.0));
/// # Ok::<(), rhapsode_models::Error>(())
/// ```
pub fn assignment(cost: &[f64], n: usize) -> Result<Assignment> {
    check(cost, n)?;
    memory::ensure(n, 8 * size_of::<f64>())?;
    let mut solver = Solver {
        cost,
        n,
        column_of: vec![NONE; n],
        row_of: vec![NONE; n],
        price: vec![0.0; n],
    };
    solver.auction()?;
    let free = solver.claim()?;
    solver.augment(&free)?;
    let chosen = solver.column_of.iter().enumerate();
    let total = chosen.map(|(row, &column)| solver.row(row)[column]).sum();
    Ok(Assignment {
        columns: solver.column_of,
        cost: total,
    })
}

/// Refuses what the algorithm cannot add up.
fn check(cost: &[f64], n: usize) -> Result<()> {
    if n.checked_mul(n) != Some(cost.len()) {
        return Err(Error::Shape {
            what: "assignment",
            expected: format!("{n} x {n} costs"),
            got: vec![cost.len()],
        });
    }
    // Prices and paths are sums of at most some n costs.
    let largest = 1e300 / n.max(1) as f64;
    match cost.iter().position(|c| c.is_nan() || c.abs() > largest) {
        Some(at) => Err(Error::Value {
            what: "assignment",
            message: format!(
                "expected costs up to {largest:e}, got {:e} in row {}",
                cost[at],
                at / n
            ),
        }),
        None => Ok(()),
    }
}

/// No row or column.
const NONE: usize = usize::MAX;

/// The auction's first margin, as a share of the mean reduced cost.
const FIRST_MARGIN: f64 = 0.1;

/// The auction's last margin, as a share of the mean reduced cost by row.
const LAST_MARGIN: f64 = 0.02;

/// From one margin to the next.
const SHRINK: f64 = 0.25;

/// Bids for each row at one margin, after which the auction goes on to the next: rounding could keep it going
/// for ever, and all that it owes is good prices.
const PATIENCE: usize = 100;

/// A partial assignment with prices.
///
/// Rows and columns are always below `n` where they index: they come from `0..n` or were compared with [`NONE`].
struct Solver<'a> {
    cost: &'a [f64],
    n: usize,
    column_of: Vec<usize>,
    row_of: Vec<usize>,
    price: Vec<f64>,
}

impl<'a> Solver<'a> {
    fn row(&self, row: usize) -> &'a [f64] {
        &self.cost[row * self.n..][..self.n]
    }

    fn assign(&mut self, row: usize, column: usize) {
        self.column_of[row] = column;
        self.row_of[column] = row;
    }

    fn free_all(&mut self) {
        self.column_of.fill(NONE);
        self.row_of.fill(NONE);
    }

    /// Prices at which everyone is within a small margin of the best: rounds of bids with falling margins.
    fn auction(&mut self) -> Result<()> {
        let mean = self.start_prices()?;
        if mean <= 0.0 {
            return Ok(());
        }
        // A power of two: on whole costs all prices stay exact, and ties remain ties.
        let mut margin = (FIRST_MARGIN * mean).log2().floor().exp2();
        while margin > LAST_MARGIN * mean / self.n as f64 {
            self.bid(margin)?;
            margin *= SHRINK;
        }
        Ok(())
    }

    /// A column's first price is its least cost. Gives the mean reduced cost.
    fn start_prices(&mut self) -> Result<f64> {
        self.price.fill(f64::INFINITY);
        for i in 0..self.n {
            interrupt::check()?;
            let row = self.row(i);
            self.price
                .iter_mut()
                .zip(row)
                .for_each(|(p, c)| *p = p.min(*c));
        }
        let entries = self.n as f64 * self.n as f64;
        let mut mean = 0.0;
        for i in 0..self.n {
            interrupt::check()?;
            let reduced = self.row(i).iter().zip(&self.price).map(|(c, p)| c - p);
            mean += reduced.sum::<f64>() / entries;
        }
        Ok(mean)
    }

    /// One auction: each free row takes its best column from whoever has it, and lowers the price until its second best is
    /// better by `margin`.
    fn bid(&mut self, margin: f64) -> Result<()> {
        self.free_all();
        let mut free: Vec<usize> = (0..self.n).rev().collect();
        let mut bids = 0;
        while let Some(row) = free.pop() {
            interrupt::check()?;
            let best = two_least(self.row(row), &self.price);
            // A single column has no rival.
            let gap = if self.n > 1 {
                best.second - best.least
            } else {
                0.0
            };
            self.price[best.column] -= gap + margin;
            let loser = self.row_of[best.column];
            if loser != NONE {
                free.push(loser);
            }
            self.assign(row, best.column);
            bids += 1;
            if bids == PATIENCE * self.n {
                break;
            }
        }
        Ok(())
    }

    /// Rows get their column of least reduced cost where no one has it; gives the others.
    fn claim(&mut self) -> Result<Vec<usize>> {
        self.free_all();
        let mut free = Vec::new();
        for row in 0..self.n {
            interrupt::check()?;
            let column = two_least(self.row(row), &self.price).column;
            if self.row_of[column] == NONE {
                self.assign(row, column);
            } else {
                free.push(row);
            }
        }
        Ok(free)
    }

    /// Assigns free rows, each along the shortest path to an open column.
    fn augment(&mut self, free: &[usize]) -> Result<()> {
        let mut open: Vec<usize> = (0..self.n).filter(|&j| self.row_of[j] == NONE).collect();
        let mut search = Search {
            distance: vec![0.0; self.n],
            from: vec![0; self.n],
            blocked: vec![0.0; self.n],
            reached: Vec::new(),
        };
        for &row in free {
            let last = self.shortest_path(row, &open, &mut search)?;
            open.retain(|&j| j != last);
            let path = search.reached.last().map_or(0.0, |(_, length)| *length);
            for (column, length) in &search.reached {
                self.price[*column] += length - path;
            }
            // Back along the path: each row on it leaves its column to the next.
            let mut column = last;
            loop {
                let before = search.from[column] as usize;
                let left = self.column_of[before];
                self.assign(before, column);
                if before == row {
                    break;
                }
                column = left;
            }
        }
        Ok(())
    }

    /// The open column at the end of the shortest path from `free`, by Dijkstra's algorithm.
    fn shortest_path(&self, free: usize, open: &[usize], search: &mut Search) -> Result<usize> {
        search.distance.fill(f64::INFINITY);
        search.blocked.copy_from_slice(&self.price);
        search.reached.clear();
        let (mut row, mut shift) = (free, 0.0);
        loop {
            interrupt::check()?;
            let Search {
                distance,
                from,
                blocked,
                reached,
            } = search;
            let (nearest, length) =
                relax(self.row(row), blocked, shift, row as u64, distance, from);
            // Of columns at the same distance an open one ends the search.
            let ends = open.iter().find(|&&j| distance[j] == length);
            let column = ends.map_or(nearest, |&j| j);
            reached.push((column, length));
            if ends.is_some() {
                return Ok(column);
            }
            distance[column] = f64::INFINITY;
            blocked[column] = f64::NEG_INFINITY;
            row = self.row_of[column];
            shift = length - (self.row(row)[column] - self.price[column]);
        }
    }
}

/// The state of a search for a shortest path.
struct Search {
    /// Length of the shortest known path to each column; infinite again once the column is reached for good.
    distance: Vec<f64>,
    /// The row before each column on that path.
    from: Vec<u64>,
    /// Prices; negative infinity where a column is reached for good, so that it stays at infinite distance.
    blocked: Vec<f64>,
    /// Columns reached for good, with the lengths of their paths.
    reached: Vec<(usize, f64)>,
}

/// The two least reduced costs of a row.
struct TwoLeast {
    column: usize,
    least: f64,
    second: f64,
}

const LANES: usize = 8;

rhapsode_tensor::simd! {
    /// The column of the least `cost - price`, this value, and the next; infinite when there is one column only.
    fn two_least(row: &[f64], price: &[f64]) -> TwoLeast {
        let mut least = [f64::INFINITY; LANES];
        let mut second = [f64::INFINITY; LANES];
        let mut chunk_of = [0u64; LANES];
        let (rows, row_rest) = row.as_chunks::<LANES>();
        let (prices, price_rest) = price.as_chunks::<LANES>();
        for (i, (c, p)) in (0u64..).zip(rows.iter().zip(prices)) {
            for l in 0..LANES {
                let r = c[l] - p[l];
                let better = r < least[l];
                let larger = if better { least[l] } else { r };
                chunk_of[l] = if better { i } else { chunk_of[l] };
                least[l] = if better { r } else { least[l] };
                second[l] = if larger < second[l] { larger } else { second[l] };
            }
        }
        let mut two = TwoLeast { column: 0, least: f64::INFINITY, second: f64::INFINITY };
        let mut meet = |r: f64, column: usize| {
            if r < two.least {
                two.second = two.least;
                (two.least, two.column) = (r, column);
            } else if r < two.second {
                two.second = r
            }
        };
        for l in 0..LANES {
            meet(least[l], chunk_of[l] as usize * LANES + l);
            meet(second[l], 0);
        }
        let rest = row_rest.iter().zip(price_rest).enumerate();
        for (i, (c, p)) in rest { meet(c - p, rows.len() * LANES + i) }
        two
    }
}

rhapsode_tensor::simd! {
    /// Shortens the distances of columns by way of `row`: `cost - price + shift`; gives a column of least distance.
    fn relax(cost: &[f64], price: &[f64], shift: f64, row: u64, distance: &mut [f64], from: &mut [u64]) -> (usize, f64) {
        let mut least = [f64::INFINITY; LANES];
        let mut chunk_of = [0u64; LANES];
        let (costs, cost_rest) = cost.as_chunks::<LANES>();
        let (prices, price_rest) = price.as_chunks::<LANES>();
        let (distances, distance_rest) = distance.as_chunks_mut::<LANES>();
        let (froms, from_rest) = from.as_chunks_mut::<LANES>();
        for (i, (((c, p), d), f)) in (0u64..).zip(costs.iter().zip(prices).zip(distances).zip(froms)) {
            for l in 0..LANES {
                let length = c[l] - p[l] + shift;
                let shorter = length < d[l];
                f[l] = if shorter { row } else { f[l] };
                d[l] = if shorter { length } else { d[l] };
                let better = d[l] < least[l];
                chunk_of[l] = if better { i } else { chunk_of[l] };
                least[l] = if better { d[l] } else { least[l] };
            }
        }
        let mut best = (0, f64::INFINITY);
        for l in 0..LANES {
            if least[l] < best.1 { best = (chunk_of[l] as usize * LANES + l, least[l]) }
        }
        let first = costs.len() * LANES;
        let rest = cost_rest.iter().zip(price_rest).zip(distance_rest).zip(from_rest);
        for (i, (((c, p), d), f)) in rest.enumerate() {
            let length = c - p + shift;
            if length < *d { (*d, *f) = (length, row) }
            if *d < best.1 { best = (first + i, *d) }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The least cost over all permutations.
    fn brute_force(cost: &[f64], n: usize, row: usize, used: &mut Vec<bool>) -> f64 {
        if row == n {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for column in 0..n {
            if !used[column] {
                used[column] = true;
                let rest = brute_force(cost, n, row + 1, used);
                best = best.min(cost[row * n + column] + rest);
                used[column] = false;
            }
        }
        best
    }

    fn check(cost: &[f64], n: usize) {
        let got = assignment(cost, n).unwrap();
        let mut columns = got.columns.clone();
        columns.sort_unstable();
        assert!(columns.into_iter().eq(0..n), "{got:?}");
        let want = brute_force(cost, n, 0, &mut vec![false; n]);
        assert!(
            (got.cost - want).abs() <= 1e-12 * (1.0 + want.abs()),
            "{got:?} {want}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn no_permutation_is_cheaper(n in 1usize..8, values in prop::collection::vec(-5.0f64..20.0, 49)) {
            check(&values[..n * n], n);
        }

        // Few different costs: ties everywhere.
        #[test]
        fn ties_do_not_matter(n in 1usize..8, values in prop::collection::vec(0u8..3, 49)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            check(&values[..n * n], n);
        }

        // Larger than permutations can check, with few and with many ties.
        #[test]
        fn large_problems_cost_what_the_textbook_algorithm_finds(n in 30usize..90, seed in 0u64..1000, levels in 2u32..400) {
            let draw = rhapsode_tensor::random::Stream::new(seed, "cost");
            let whole = draw.randint(0, i64::from(levels), &[n, n]).unwrap().to_vec().unwrap();
            prop_assert_eq!(assignment(&whole, n).unwrap().cost, textbook(&whole, n));
            let broken = draw.randn(&[n, n], rhapsode_tensor::DType::F64).unwrap().to_vec().unwrap();
            prop_assert!((assignment(&broken, n).unwrap().cost - textbook(&broken, n)).abs() < 1e-9);
        }
    }

    /// The textbook algorithm with potentials, one row after the other: slow, plain, and another one.
    fn textbook(cost: &[f64], n: usize) -> f64 {
        let (mut u, mut v) = (vec![0.0; n + 1], vec![0.0; n + 1]);
        let mut row_of = vec![0; n + 1];
        for i in 1..=n {
            let (mut j0, mut least) = (0, vec![f64::INFINITY; n + 1]);
            let (mut used, mut way) = (vec![false; n + 1], vec![0; n + 1]);
            row_of[0] = i;
            while row_of[j0] != 0 {
                used[j0] = true;
                let (i0, mut delta, mut j1) = (row_of[j0], f64::INFINITY, 0);
                for j in (1..=n).filter(|&j| !used[j]) {
                    let reduced = cost[(i0 - 1) * n + j - 1] - u[i0] - v[j];
                    if reduced < least[j] {
                        (least[j], way[j]) = (reduced, j0);
                    }
                    if least[j] < delta {
                        (delta, j1) = (least[j], j);
                    }
                }
                for j in 0..=n {
                    if used[j] {
                        u[row_of[j]] += delta;
                        v[j] -= delta;
                    } else {
                        least[j] -= delta;
                    }
                }
                j0 = j1;
            }
            while j0 != 0 {
                row_of[j0] = row_of[way[j0]];
                j0 = way[j0];
            }
        }
        (1..=n).map(|j| cost[(row_of[j] - 1) * n + j - 1]).sum()
    }

    #[test]
    fn small_and_constant_problems() {
        assert!(assignment(&[], 0).unwrap().columns.is_empty());
        assert_eq!(
            assignment(&[-3.0], 1).unwrap(),
            Assignment {
                columns: vec![0],
                cost: -3.0
            }
        );
        assert_eq!(assignment(&[2.0; 10_000], 100).unwrap().cost, 200.0);
    }

    #[test]
    fn unfit_costs_are_errors() {
        let message = |cost: &[f64], n| assignment(cost, n).err().unwrap().to_string();
        assert_eq!(
            message(&[1.0; 6], 3),
            "assignment: expected 3 x 3 costs, got [6]"
        );
        assert_eq!(
            message(&[1.0, 2.0, f64::NAN, 3.0], 2),
            "assignment: expected costs up to 5e299, got NaN in row 1"
        );
        assert_eq!(
            message(&[0.0, -2e300, 0.0, 0.0], 2),
            "assignment: expected costs up to 5e299, got -2e300 in row 0"
        );
        let large = [1.0, -1.0, -1.0, 1.0].map(|c| c * 5e299);
        assert_eq!(assignment(&large, 2).unwrap().cost, -1e300);
    }
}
