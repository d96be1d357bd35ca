//! Numbers on a rectangular mesh: interpolation between them, and the lines along which they have one value (marching
//! squares; W. Lorensen and H. Cline 1987, in two dimensions).

/// No neighbour.
const NONE: usize = usize::MAX;

/// A number at each point of a mesh. Where one is not finite the field has a hole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Where the columns stand, ascending.
    pub x: Vec<f64>,
    /// Where the rows stand, ascending.
    pub y: Vec<f64>,
    /// The numbers, row by row.
    pub z: Vec<f64>,
}

impl Field {
    fn get(&self, row: usize, column: usize) -> f64 {
        let z = self.z.get(row * self.x.len() + column);
        z.copied().unwrap_or(f64::NAN)
    }

    /// The field on a mesh with about `least` points a side, by bilinear interpolation, so that lines of equal value are
    /// as round as the interpolation is. A mesh that is finer stays.
    pub(crate) fn refined(&self, least: usize) -> Self {
        let finer = |places: &[f64]| -> Vec<f64> {
            let parts = least.div_ceil(places.len().saturating_sub(1).max(1)).max(1);
            let mut fine: Vec<f64> = Vec::new();
            for pair in places.windows(2) {
                let &[a, b] = pair else { continue };
                let at = |i: usize| a + (b - a) * i as f64 / parts as f64;
                fine.extend((0..parts).map(at));
            }
            fine.extend(places.last());
            fine
        };
        let (x, y) = (finer(&self.x), finer(&self.y));
        let z = y.iter().flat_map(|y| self.row_at(&x, *y)).collect();
        Self { x, y, z }
    }

    /// The values at ascending places `x` at the height `y`; NaN outside of the mesh and in its holes.
    pub(crate) fn row_at(&self, x: &[f64], y: f64) -> Vec<f64> {
        let Some((row, v)) = cell(&self.y, y) else {
            return vec![f64::NAN; x.len()];
        };
        let between = |a: f64, b: f64, t: f64| match t {
            0.0 => a,
            1.0 => b,
            t => a * (1.0 - t) + b * t,
        };
        let at = |x: &f64| match cell(&self.x, *x) {
            None => f64::NAN,
            Some((column, u)) => {
                let side = |row| between(self.get(row, column), self.get(row, column + 1), u);
                match v {
                    0.0 => side(row),
                    1.0 => side(row + 1),
                    v => between(side(row), side(row + 1), v),
                }
            }
        };
        x.iter().map(at).collect()
    }

    /// The lines along which the field is `level`; closed ones end where they begin.
    pub(crate) fn lines(&self, level: f64) -> Vec<Vec<[f64; 2]>> {
        let mut links = vec![[NONE; 2]; 2 * self.z.len()];
        let mut crossed = Vec::new();
        let mut link = |from: usize, to: usize| {
            if let Some(slot) = links
                .get_mut(from)
                .and_then(|l| l.iter_mut().find(|l| **l == NONE))
            {
                *slot = to;
            }
        };
        for row in 0..self.y.len().saturating_sub(1) {
            for column in 0..self.x.len().saturating_sub(1) {
                for (a, b) in self.segments(row, column, level).into_iter().flatten() {
                    link(a, b);
                    link(b, a);
                    crossed.extend([a, b]);
                }
            }
        }
        let ends = |i: &usize| links.get(*i).is_some_and(|l| l.contains(&NONE));
        // Open lines first, from one of their ends; what is left is closed.
        let mut starts: Vec<usize> = crossed.iter().copied().filter(ends).collect();
        starts.extend(crossed);
        let mut lines = Vec::new();
        for start in starts {
            let path = walk(&mut links, start);
            if path.len() > 1 {
                lines.push(
                    path.into_iter()
                        .map(|edge| self.crossing(edge, level))
                        .collect(),
                );
            }
        }
        lines
    }

    /// The pieces of line in one cell, each from an edge to an edge. Edges are numbered: twice the number of their first
    /// point, and one more for those that go upwards.
    fn segments(&self, row: usize, column: usize, level: f64) -> [Option<(usize, usize)>; 2] {
        let corners = [(0, 0), (0, 1), (1, 1), (1, 0)].map(|(r, c)| self.get(row + r, column + c));
        if !corners.iter().all(|z| z.is_finite()) {
            return [None; 2];
        }
        let [a, b, c, d] = corners.map(|z| z >= level);
        let number = |row: usize, column: usize| 2 * (row * self.x.len() + column);
        let (bottom, top) = (number(row, column), number(row + 1, column));
        let (left, right) = (number(row, column) + 1, number(row, column + 1) + 1);
        let edges = [
            (bottom, a != b),
            (right, b != c),
            (top, c != d),
            (left, d != a),
        ];
        let crossed: Vec<usize> = edges.iter().filter(|e| e.1).map(|e| e.0).collect();
        match crossed.as_slice() {
            &[from, to] => [Some((from, to)), None],
            // A saddle: its middle decides which corners belong together.
            [_, _, _, _] => {
                let middle = corners.iter().map(|z| z / 4.0).sum::<f64>() >= level;
                match middle == a {
                    true => [Some((bottom, right)), Some((top, left))],
                    false => [Some((bottom, left)), Some((right, top))],
                }
            }
            _ => [None; 2],
        }
    }

    /// Where on an edge the field is `level`.
    fn crossing(&self, edge: usize, level: f64) -> [f64; 2] {
        let columns = self.x.len().max(1);
        let (row, column) = (edge / 2 / columns, edge / 2 % columns);
        let (to_row, to_column) = match edge % 2 {
            0 => (row, column + 1),
            _ => (row + 1, column),
        };
        let (a, b) = (self.get(row, column), self.get(to_row, to_column));
        // Halves: the difference of large numbers would overflow.
        let t = ((level / 2.0 - a / 2.0) / (b / 2.0 - a / 2.0)).clamp(0.0, 1.0);
        let place = |places: &[f64], from: usize, to: usize| {
            let at = |i: usize| places.get(i).copied().unwrap_or(f64::NAN);
            at(from) * (1.0 - t) + at(to) * t
        };
        [
            place(&self.x, column, to_column),
            place(&self.y, row, to_row),
        ]
    }
}

/// The interval of ascending places that holds `value`, and how far along it the value stands.
fn cell(places: &[f64], value: f64) -> Option<(usize, f64)> {
    let last = places.len().checked_sub(2)?;
    let index = places
        .partition_point(|p| *p <= value)
        .checked_sub(1)?
        .min(last);
    let (from, to) = (*places.get(index)?, *places.get(index + 1)?);
    (value <= to).then(|| (index, ((value - from) / (to - from)).clamp(0.0, 1.0)))
}

/// Follows links from `start` on, taking them away, until there is none.
fn walk(links: &mut [[usize; 2]], start: usize) -> Vec<usize> {
    let mut path = vec![start];
    let mut here = start;
    loop {
        let Some(slot) = links
            .get_mut(here)
            .and_then(|l| l.iter_mut().find(|l| **l != NONE))
        else {
            return path;
        };
        let next = std::mem::replace(slot, NONE);
        if let Some(back) = links
            .get_mut(next)
            .and_then(|l| l.iter_mut().find(|l| **l == here))
        {
            *back = NONE;
        }
        path.push(next);
        here = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(n: usize, f: impl Fn(f64, f64) -> f64) -> Field {
        let places: Vec<f64> = (0..n)
            .map(|i| -1.0 + 2.0 * i as f64 / (n - 1) as f64)
            .collect();
        let z = places
            .iter()
            .flat_map(|y| places.iter().map(|x| f(*x, *y)))
            .collect();
        Field {
            x: places.clone(),
            y: places,
            z,
        }
    }

    #[test]
    fn a_bowl_has_one_closed_circle() {
        let lines = field(41, |x, y| x * x + y * y).lines(0.25);
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line.first(), line.last());
        for [x, y] in line {
            assert!((x.hypot(*y) - 0.5).abs() < 2e-3, "{x} {y}");
        }
    }

    #[test]
    fn a_slope_has_an_open_line_from_edge_to_edge() {
        let lines = field(5, |x, _| x).lines(0.3);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].iter().all(|p| (p[0] - 0.3).abs() < 1e-12));
        assert_eq!((lines[0][0][1].abs(), lines[0].len()), (1.0, 5));
        assert!(field(5, |x, _| x).lines(2.0).is_empty());
    }

    #[test]
    fn a_saddle_is_joined_through_its_middle() {
        let saddle = field(2, |x, y| x * y);
        assert_eq!(saddle.lines(0.1).len(), 2);
        let corner = |level: f64| {
            let lines = saddle.lines(level);
            // Whether each line stays in one quadrant where the product is positive.
            lines
                .iter()
                .all(|l| l.iter().all(|p| p[0] + p[1] > 0.0) || l.iter().all(|p| p[0] + p[1] < 0.0))
        };
        assert!(corner(0.1) && !corner(-0.1));
    }

    #[test]
    fn holes_end_lines() {
        let mut holed = field(5, |x, _| x);
        holed.z[12] = f64::NAN;
        assert!(holed.lines(0.3).len() == 2);
        assert!(holed.row_at(&[0.1], 0.1)[0].is_nan());
    }

    #[test]
    fn interpolation_is_exact_on_the_mesh_and_on_planes() {
        let plane = field(3, |x, y| 2.0 * x - y);
        let fine = plane.refined(8);
        assert_eq!((fine.x.len(), fine.y.len()), (9, 9));
        assert_eq!(
            fine.row_at(&[-1.0, 0.25, 1.0, 1.1], 0.5)[..3],
            [-2.5, 0.0, 1.5]
        );
        assert!(fine.row_at(&[1.1], 0.5)[0].is_nan());
    }
}
