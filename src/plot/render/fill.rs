//! Filling of areas, row by row, by the rule of parity: for the bitmap and for the canvas of characters.

/// The stretches `(row, from, to)` of whole pixels whose centres lie in the area with these corners; `to` is outside.
pub(crate) fn scanlines(points: &[[f64; 2]]) -> Vec<(i32, i32, i32)> {
    let rows = |v: f64| (v - 0.5).ceil() as i32;
    let heights = || points.iter().map(|p| p[1]);
    let top = rows(heights().fold(f64::INFINITY, f64::min));
    let bottom = rows(heights().fold(f64::NEG_INFINITY, f64::max));
    if points.len() < 3 || bottom <= top {
        return Vec::new();
    }
    let mut crossings: Vec<Vec<f64>> = vec![Vec::new(); bottom.abs_diff(top) as usize];
    for (a, b) in points.iter().zip(points.iter().cycle().skip(1)) {
        let (upper, lower) = if a[1] <= b[1] { (a, b) } else { (b, a) };
        for row in rows(upper[1])..rows(lower[1]) {
            let t = (f64::from(row) + 0.5 - upper[1]) / (lower[1] - upper[1]);
            if let Some(line) = crossings.get_mut(row.abs_diff(top) as usize) {
                line.push(upper[0] + t * (lower[0] - upper[0]));
            }
        }
    }
    let mut spans = Vec::new();
    for (row, line) in (top..).zip(&mut crossings) {
        line.sort_by(f64::total_cmp);
        for pair in line.chunks_exact(2) {
            let &[from, to] = pair else { continue };
            let (from, to) = (rows(from), rows(to));
            spans.extend((from < to).then_some((row, from, to)));
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_inside_if_their_centres_are() {
        let square = [[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [1.0, 3.0]];
        assert_eq!(scanlines(&square), [(1, 1, 3), (2, 1, 3)]);
        let below_a_centre = [[0.6, 0.0], [1.4, 0.0], [1.4, 0.4], [0.6, 0.4]];
        assert!(scanlines(&below_a_centre).is_empty());
        let neighbours = [[3.0, 1.0], [5.0, 1.0], [5.0, 3.0], [3.0, 3.0]];
        assert_eq!(scanlines(&neighbours), [(1, 3, 5), (2, 3, 5)]);
    }

    #[test]
    fn a_notch_stays_empty() {
        let u = [
            [0.0, 0.0],
            [2.0, 0.0],
            [2.0, 4.0],
            [4.0, 4.0],
            [4.0, 0.0],
            [6.0, 0.0],
            [6.0, 6.0],
            [0.0, 6.0],
        ];
        let spans = scanlines(&u);
        assert!(spans.contains(&(1, 0, 2)) && spans.contains(&(1, 4, 6)));
        assert!(spans.contains(&(5, 0, 6)));
    }
}
