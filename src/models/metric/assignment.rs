//! The optimal assignment: which column for each row, so that the costs together are least.
//!
//! The algorithm of R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse linear
//! assignment problems", Computing 38 (1987): column reduction, reduction transfer, two rounds of augmenting row reduction,
//! then one shortest path (Dijkstra on reduced costs) for every row that is still free. O(n^3) in the worst case, in f64.

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

/// No row or column.
const NONE: usize = usize::MAX;

/// The one-to-one assignment of `n` rows to `n` columns of least cost; `cost` is `[n, n]`, row by row.
///
/// Errors: a number of costs other than n^2, costs that are not finite or too large to be added up.
///
/// ```
/// # use rhapsode_models::metric::assignment;
/// let best = assignment(&[4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0], 3)?;
/// assert_eq!((best.columns, best.cost), (vec![1, 0, 2], 5.0));
/// # Ok::<(), rhapsode_models::Error>(())
/// ```
pub fn assignment(cost: &[f64], n: usize) -> Result<Assignment> {
    if n.checked_mul(n) != Some(cost.len()) {
        return Err(Error::Shape {
            what: "assignment",
            expected: format!("{n} x {n} costs"),
            got: vec![cost.len()],
        });
    }
    if let Some(at) = cost.iter().position(|c| !c.is_finite()) {
        let message = format!("expected finite costs, got a cost that is not in row {}", at / n);
        return Err(Error::Value {
            what: "assignment",
            message,
        });
    }
    memory::ensure(n, 8 * size_of::<f64>())?;
    let mut solver = Solver::new(cost, n);
    solver.reduce_columns()?;
    let mut free = solver.transfer_reduction()?;
    for _ in 0..2 {
        free = solver.reduce_rows(free)?;
    }
    for row in free {
        solver.augment(row)?;
    }
    let each = |(row, &column): (usize, &usize)| cost[row * n + column];
    let total = solver.column_of.iter().enumerate().map(each).sum();
    Ok(Assignment {
        columns: solver.column_of,
        cost: total,
    })
}

/// A partial assignment with prices: every assigned pair is a cheapest one of its row at `cost - price`.
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
    fn new(cost: &'a [f64], n: usize) -> Self {
        Self {
            cost,
            n,
            column_of: vec![NONE; n],
            row_of: vec![NONE; n],
            price: vec![0.0; n],
        }
    }

    fn row(&self, row: usize) -> &'a [f64] {
        &self.cost[row * self.n..][..self.n]
    }

    fn assign(&mut self, row: usize, column: usize) {
        self.column_of[row] = column;
        self.row_of[column] = row;
    }

    /// The price of a column is its least cost; its row takes it, or the last column of which it is the row.
    fn reduce_columns(&mut self) -> Result<()> {
        let mut best = vec![0; self.n];
        self.price.fill(f64::INFINITY);
        for i in 0..self.n {
            interrupt::check()?;
            let row = self.row(i);
            for ((price, best), &c) in self.price.iter_mut().zip(&mut best).zip(row) {
                if c < *price {
                    (*price, *best) = (c, i);
                }
            }
        }
        for (column, row) in best.into_iter().enumerate().rev() {
            if self.column_of[row] == NONE {
                self.assign(row, column);
            }
        }
        Ok(())
    }

    /// Lowers the price of each assigned column as far as its row still wants it; gives the free rows.
    fn transfer_reduction(&mut self) -> Result<Vec<usize>> {
        let mut free = Vec::new();
        for i in 0..self.n {
            interrupt::check()?;
            let column = self.column_of[i];
            if column == NONE {
                free.push(i);
                continue;
            }
            let two = two_least(self.row(i), &self.price);
            // The gap to the best other column: 0 when another one is as cheap.
            let other = if two.column == column { two.second } else { two.least };
            if other.is_finite() {
                self.price[column] -= other - (self.row(i)[column] - self.price[column]);
            }
        }
        Ok(free)
    }

    /// Each free row takes its cheapest column and lowers its price to the second cheapest; who loses the column
    /// tries next, or stays free where nothing was gained. Gives the rows that stay free.
    fn reduce_rows(&mut self, mut free: Vec<usize>) -> Result<Vec<usize>> {
        let (mut left, mut at, mut tries) = (Vec::new(), 0, 0usize);
        // Rounding could keep rows taking columns from each other for ever by ever smaller gains.
        let patience = free.len().saturating_mul(self.n);
        while at < free.len() {
            interrupt::check()?;
            let row = free[at];
            at += 1;
            tries += 1;
            let two = two_least(self.row(row), &self.price);
            let mut column = two.column;
            let lower = self.price[column] - (two.second - two.least);
            let gains = lower < self.price[column] && lower.is_finite();
            if gains && tries <= patience {
                self.price[column] = lower;
            } else if self.row_of[column] != NONE
                && two.second == two.least
                && let Some(other) = self.equal_column(row, column, two.least)
            {
                column = other;
            }
            let loser = self.row_of[column];
            self.assign(row, column);
            if loser == NONE {
                continue;
            }
            self.column_of[loser] = NONE;
            if gains && tries <= patience {
                at -= 1;
                free[at] = loser;
            } else {
                left.push(loser);
            }
        }
        Ok(left)
    }

    /// Another column that costs the row `least`.
    fn equal_column(&self, row: usize, not: usize, least: f64) -> Option<usize> {
        let mut reduced = self.row(row).iter().zip(&self.price).map(|(c, p)| c - p);
        let first = reduced.position(|r| r == least)?;
        if first != not {
            return Some(first);
        }
        reduced.position(|r| r == least).map(|j| first + 1 + j)
    }

    /// Assigns a free row along the shortest path to a free column.
    fn augment(&mut self, free: usize) -> Result<()> {
        let n = self.n;
        // Of columns that are reached for good: infinite `distance`, and `blocked` prices that keep it so.
        let mut distance = vec![f64::INFINITY; n];
        let mut blocked = self.price.clone();
        let mut from = vec![NONE; n];
        let mut reached: Vec<(usize, f64)> = Vec::new();
        let (mut row, mut shift) = (free, 0.0);
        let last = loop {
            interrupt::check()?;
            relax(self.row(row), &blocked, shift, row, &mut distance, &mut from);
            let (column, length) = least(&distance);
            if !length.is_finite() {
                return Err(Error::Value {
                    what: "assignment",
                    message: "expected costs whose sums f64 holds, got larger ones".into(),
                });
            }
            let next = self.row_of[column];
            reached.push((column, length));
            if next == NONE {
                break column;
            }
            distance[column] = f64::INFINITY;
            blocked[column] = f64::NEG_INFINITY;
            row = next;
            shift = length - (self.row(row)[column] - self.price[column]);
        };
        let path = reached.last().map_or(0.0, |(_, length)| *length);
        for (column, length) in reached {
            self.price[column] += length - path;
        }
        let mut column = last;
        loop {
            let row = from[column];
            let before = self.column_of[row];
            self.assign(row, column);
            if row == free {
                return Ok(());
            }
            column = before;
        }
    }
}

/// The two least reduced costs of a row.
struct TwoLeast {
    column: usize,
    least: f64,
    second: f64,
}

const LANES: usize = 8;

/// The column of the least `cost - price`, this value, and the next; infinite when there is one column only.
fn two_least(row: &[f64], price: &[f64]) -> TwoLeast {
    let (least, second) = two_values(row, price);
    let mut reduced = row.iter().zip(price).map(|(c, p)| c - p);
    TwoLeast {
        column: reduced.position(|r| r == least).unwrap_or(0),
        least,
        second,
    }
}

rhapsode_tensor::simd! {
    /// The two least `cost - price`, found in lanes.
    fn two_values(row: &[f64], price: &[f64]) -> (f64, f64) {
        let mut least = [f64::INFINITY; LANES];
        let mut second = [f64::INFINITY; LANES];
        let (rows, row_rest) = row.as_chunks::<LANES>();
        let (prices, price_rest) = price.as_chunks::<LANES>();
        for (c, p) in rows.iter().zip(prices) {
            for l in 0..LANES {
                let r = c[l] - p[l];
                let larger = if r < least[l] { least[l] } else { r };
                least[l] = if r < least[l] { r } else { least[l] };
                second[l] = if larger < second[l] { larger } else { second[l] };
            }
        }
        let (mut a, mut b) = (f64::INFINITY, f64::INFINITY);
        let rest = row_rest.iter().zip(price_rest).map(|(c, p)| c - p);
        for r in least.into_iter().chain(second).chain(rest) {
            if r < a { (a, b) = (r, a) } else if r < b { b = r }
        }
        (a, b)
    }
}

rhapsode_tensor::simd! {
    /// Shortens the distances of columns by way of `row`: `cost - price + shift`.
    fn relax(cost: &[f64], price: &[f64], shift: f64, row: usize, distance: &mut [f64], from: &mut [usize]) {
        for (((c, p), distance), from) in cost.iter().zip(price).zip(distance).zip(from) {
            let length = c - p + shift;
            let shorter = length < *distance;
            *from = if shorter { row } else { *from };
            *distance = if shorter { length } else { *distance };
        }
    }
}

rhapsode_tensor::simd! {
    /// The least value.
    fn least_value(x: &[f64]) -> f64 {
        let mut least = [f64::INFINITY; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for l in 0..LANES {
                least[l] = if chunk[l] < least[l] { chunk[l] } else { least[l] };
            }
        }
        least.iter().chain(rest).fold(f64::INFINITY, |a, &b| a.min(b))
    }
}

/// The first place of the least value, and the value.
fn least(x: &[f64]) -> (usize, f64) {
    let value = least_value(x);
    (x.iter().position(|&v| v == value).unwrap_or(0), value)
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
        assert!((got.cost - want).abs() <= 1e-12 * (1.0 + want.abs()), "{got:?} {want}");
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

        // Far larger than permutations can check: equal to the dual bound sum of prices and row minima.
        #[test]
        fn large_problems_meet_their_dual_bound(n in 30usize..90, seed in 0u64..1000, levels in 2u32..400) {
            let draw = rhapsode_tensor::random::Stream::new(seed, "cost");
            let cost = draw.randint(0, i64::from(levels), &[n, n]).unwrap().to_vec().unwrap();
            let got = assignment(&cost, n).unwrap();
            prop_assert!((got.cost - hungarian_cost(&cost, n)).abs() < 1e-9);
        }
    }

    /// The textbook algorithm with potentials, one row after the other: slow, plain, and another one.
    fn hungarian_cost(cost: &[f64], n: usize) -> f64 {
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
        assert_eq!(assignment(&[-3.0], 1).unwrap(), Assignment { columns: vec![0], cost: -3.0 });
        assert_eq!(assignment(&[2.0; 10_000], 100).unwrap().cost, 200.0);
    }

    #[test]
    fn unfit_costs_are_errors() {
        let message = |cost: &[f64], n| assignment(cost, n).err().unwrap().to_string();
        assert_eq!(message(&[1.0; 6], 3), "assignment: expected 3 x 3 costs, got [6]");
        assert_eq!(
            message(&[1.0, 2.0, f64::NAN, 3.0], 2),
            "assignment: expected finite costs, got a cost that is not in row 1"
        );
        // Differences overflow: an answer or an error, but no endless loop.
        let huge = [1.0, -1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0, 1.0].map(|s| s * 1.7e308);
        assert_eq!(
            message(&huge, 3),
            "assignment: expected costs whose sums f64 holds, got larger ones"
        );
    }
}
