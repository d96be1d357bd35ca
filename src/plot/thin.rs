//! Thinning: what a picture of so many pixels cannot show is left out, always in the same way.

use crate::scale::extent;

/// A polyline in pixels with, for each run of points in the same column of width `step`, only the first, the lowest,
/// the highest and the last: the picture is the same.
pub(crate) fn polyline(points: &[[f64; 2]], step: f64) -> Vec<[f64; 2]> {
    let column = |p: &[f64; 2]| (p[0] / step).floor();
    let mut kept = Vec::with_capacity(points.len().min(8192));
    for run in points.chunk_by(|a, b| column(a) == column(b)) {
        if run.len() <= 4 {
            kept.extend_from_slice(run);
            continue;
        }
        let by_height =
            |(_, a): &(usize, &[f64; 2]), (_, b): &(usize, &[f64; 2])| a[1].total_cmp(&b[1]);
        let low = run.iter().enumerate().min_by(by_height);
        let high = run.iter().enumerate().max_by(by_height);
        let (Some((low, _)), Some((high, _))) = (low, high) else {
            continue;
        };
        let mut wanted = [0, low.min(high), low.max(high), run.len() - 1].to_vec();
        wanted.dedup();
        kept.extend(wanted.iter().filter_map(|&i| run.get(i)));
    }
    kept
}

/// A point that is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kept {
    pub index: usize,
    /// How many points it stands for.
    pub weight: f64,
}

/// Which of many points in pixels to draw, at most `most`, and the width of the cell that each stands in. All of those
/// that stand alone are kept, and of those that lie on one another as many a cell as there is room for, the first
/// ones. A cell is `size` pixels wide, and grows until one a cell is few enough.
pub(crate) fn points(points: &[[f64; 2]], size: f64, most: usize) -> (Vec<Kept>, f64) {
    if points.len() <= most {
        let all = (0..points.len()).map(|index| Kept { index, weight: 1.0 });
        return (all.collect(), size);
    }
    let mut size = size.max(0.5);
    loop {
        let (ranks, totals) = ranks(points, size);
        // `at_most[k]`: how many points are kept with k + 1 of them a cell.
        let mut at_most = vec![0usize; most.max(1)];
        for &rank in &ranks {
            if let Some(n) = at_most.get_mut(rank as usize) {
                *n += 1;
            }
        }
        let mut total = 0;
        let layers = at_most
            .iter()
            .take_while(|&&n| {
                total += n;
                total <= most
            })
            .count();
        // The second condition ends the loop whatever the points are: a cell that takes them all.
        if layers > 0 || size > 1e7 {
            let layers = layers.max(1) as u32;
            let weight = |total: u32| f64::from(total) / f64::from(total.min(layers));
            let kept = ranks.iter().zip(totals).enumerate();
            let kept = kept
                .filter(|(_, (rank, _))| **rank < layers)
                .map(|(index, (_, total))| Kept {
                    index,
                    weight: weight(total),
                });
            return (kept.take(most).collect(), size);
        }
        size *= 1.25;
    }
}

/// For each point, how many before it lie in the same cell, and how many in all.
fn ranks(points: &[[f64; 2]], size: f64) -> (Vec<u32>, Vec<u32>) {
    let range = |axis: usize| {
        let along = points.iter().filter_map(|p| p.get(axis).copied());
        extent(along).unwrap_or((0.0, 0.0))
    };
    let ((left, right), (top, bottom)) = (range(0), range(1));
    let cells = |length: f64| (length / size) as usize + 1;
    let columns = cells(right - left).min(1 << 12);
    let mut filled = vec![0u32; columns * cells(bottom - top).min(1 << 12)];
    let cell = |[x, y]: &[f64; 2]| {
        let column = (((x - left) / size) as usize).min(columns - 1);
        let row = ((y - top) / size) as usize;
        (row * columns + column).min(filled.len() - 1)
    };
    let cells: Vec<usize> = points.iter().map(cell).collect();
    let mut count = |cell: &usize| {
        filled.get_mut(*cell).map_or(0, |n| {
            *n += 1;
            *n - 1
        })
    };
    let ranks = cells.iter().map(&mut count).collect();
    let total = |cell: &usize| filled.get(*cell).copied().unwrap_or(1);
    let totals = cells.iter().map(total).collect();
    (ranks, totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed sequence that looks random, in 0..1.
    fn noise(n: usize) -> Vec<f64> {
        let mut state = 1u64;
        (0..n)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 11) as f64 / (1u64 << 53) as f64
            })
            .collect()
    }

    #[test]
    fn a_thinned_line_keeps_ends_and_extremes() {
        let line: Vec<[f64; 2]> = noise(50_000)
            .into_iter()
            .enumerate()
            .map(|(i, y)| [i as f64 / 100.0, y * 300.0])
            .collect();
        let kept = polyline(&line, 0.5);
        assert!(
            kept.len() <= 4 * 1001 && kept.len() > 2000,
            "{}",
            kept.len()
        );
        let highest = |p: &[[f64; 2]]| p.iter().fold(0.0f64, |m, q| m.max(q[1]));
        assert_eq!(highest(&kept), highest(&line));
        assert_eq!((kept.first(), kept.last()), (line.first(), line.last()));
        let short = vec![[0.0, 1.0], [0.1, 2.0], [0.2, 0.0]];
        assert_eq!(polyline(&short, 0.5), short);
    }

    #[test]
    fn thinned_points_keep_outliers_and_the_limit() {
        let mut cloud: Vec<[f64; 2]> = noise(60_000)
            .chunks(2)
            .map(|p| [100.0 + p[0] * 50.0, 100.0 + p[1] * 50.0])
            .collect();
        cloud.push([5.0, 5.0]);
        let (kept, _) = points(&cloud, 2.0, 2000);
        assert!(kept.len() <= 2000 && kept.len() > 500, "{}", kept.len());
        let alone = Kept {
            index: 30_000,
            weight: 1.0,
        };
        assert!(kept.contains(&alone));
        let weights: f64 = kept.iter().map(|k| k.weight).sum();
        assert!((weights - 30_001.0).abs() < 1e-6, "{weights}");
        assert_eq!(kept, points(&cloud, 2.0, 2000).0);
    }

    #[test]
    fn few_points_all_stay_and_one_place_is_enough() {
        assert_eq!(points(&[[0.0, 0.0]; 3], 2.0, 10).0.len(), 3);
        assert_eq!(points(&[[1.0, 1.0]; 100], 2.0, 10).0.len(), 10);
        assert!(points(&[[1.0, 1.0]; 100], 2.0, 0).0.is_empty());
    }
}
