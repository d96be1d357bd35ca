//! Where the nodes of a graph stand: on a circle, in layers, or as springs and charges would push them. All of it is
//! counted, nothing is drawn by lot: the same graph always looks the same.

use std::f64::consts::{PI, TAU};

/// Work of the springs, in pairs of nodes: about a second.
const MOST_PAIRS: usize = 60_000_000;

/// Nodes on a circle, the first one at the top, clockwise.
pub(crate) fn circle(nodes: usize) -> Vec<[f64; 2]> {
    let at = |i: usize| {
        let angle = PI / 2.0 - TAU * i as f64 / nodes.max(1) as f64;
        [angle.cos(), angle.sin()]
    };
    (0..nodes).map(at).collect()
}

/// Nodes in rows, each below the nodes that point to it (longest path; edges that close a cycle are passed over), in an
/// order that keeps neighbours together (K. Sugiyama et al. 1981: barycentres, up and down).
pub(crate) fn layers(nodes: usize, edges: &[[usize; 2]]) -> Vec<[f64; 2]> {
    let layer = depths(nodes, edges);
    let deepest = layer.iter().copied().max().unwrap_or(0);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); deepest + 1];
    for (node, depth) in layer.iter().enumerate() {
        if let Some(row) = rows.get_mut(*depth) {
            row.push(node);
        }
    }
    let mut neighbours = vec![Vec::new(); nodes];
    for &[a, b] in edges.iter().filter(|[a, b]| a != b) {
        for (from, to) in [(a, b), (b, a)] {
            if let Some(list) = neighbours.get_mut(from) {
                list.push(to);
            }
        }
    }
    // Places in a row are in -1..1, whatever the row's length.
    let mut across = vec![0.0; nodes];
    let spread = |row: &[usize], across: &mut Vec<f64>| {
        for (i, node) in row.iter().enumerate() {
            if let Some(x) = across.get_mut(*node) {
                *x = i as f64 - (row.len() as f64 - 1.0) / 2.0;
            }
        }
    };
    rows.iter().for_each(|row| spread(row, &mut across));
    for sweep in 0..8 {
        let order: Vec<usize> = match sweep % 2 {
            0 => (0..rows.len()).collect(),
            _ => (0..rows.len()).rev().collect(),
        };
        for depth in order {
            let Some(row) = rows.get_mut(depth) else {
                continue;
            };
            let mean = |node: &usize| {
                let list = neighbours.get(*node).map_or(&[][..], Vec::as_slice);
                let places = list.iter().filter_map(|n| across.get(*n));
                let sum: f64 = places.sum();
                match list.len() {
                    0 => across.get(*node).copied().unwrap_or(0.0),
                    n => sum / n as f64,
                }
            };
            let mut keyed: Vec<(f64, usize)> = row.iter().map(|n| (mean(n), *n)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *row = keyed.into_iter().map(|(_, node)| node).collect();
            spread(row, &mut across);
        }
    }
    let place = |(node, x): (usize, f64)| {
        let depth = layer.get(node).copied().unwrap_or(0);
        [x, -(depth as f64)]
    };
    across.into_iter().enumerate().map(place).collect()
}

/// The layer of each node: one more than the deepest of those that point to it.
fn depths(nodes: usize, edges: &[[usize; 2]]) -> Vec<usize> {
    let mut into = vec![0usize; nodes];
    let mut out = vec![Vec::new(); nodes];
    for &[a, b] in edges.iter().filter(|[a, b]| a != b) {
        if let (Some(list), Some(n)) = (out.get_mut(a), into.get_mut(b)) {
            list.push(b);
            *n += 1;
        }
    }
    let mut depth = vec![0usize; nodes];
    let mut done = vec![false; nodes];
    // The first nodes without an edge into them; where a cycle leaves none, the first one that is left.
    let mut ready: Vec<usize> = (0..nodes)
        .rev()
        .filter(|n| into.get(*n) == Some(&0))
        .collect();
    let mut rest = 0..nodes;
    loop {
        let left = |n: &usize| done.get(*n) == Some(&false);
        let Some(node) = ready.pop().filter(left).or_else(|| rest.find(left)) else {
            if ready.is_empty() {
                return depth;
            }
            continue;
        };
        if let Some(slot) = done.get_mut(node) {
            *slot = true;
        }
        let below = depth.get(node).copied().unwrap_or(0) + 1;
        for &next in out.get(node).into_iter().flatten() {
            if done.get(next) == Some(&true) {
                continue;
            }
            if let (Some(slot), Some(n)) = (depth.get_mut(next), into.get_mut(next)) {
                *slot = (*slot).max(below);
                *n = n.saturating_sub(1);
                if *n == 0 {
                    ready.push(next);
                }
            }
        }
    }
}

/// Nodes that push one another away, held together by their edges (T. Fruchterman and E. Reingold 1991), beginning on a
/// spiral; a weak pull to the middle keeps parts that are not joined in the picture.
pub(crate) fn springs(nodes: usize, edges: &[[usize; 2]]) -> Vec<[f64; 2]> {
    let golden = PI * (3.0 - 5f64.sqrt());
    let start = |i: usize| {
        let (angle, radius) = (i as f64 * golden, (i as f64 + 0.5).sqrt());
        [radius * angle.cos(), radius * angle.sin()]
    };
    let mut places: Vec<[f64; 2]> = (0..nodes).map(start).collect();
    let steps = (MOST_PAIRS / (nodes * nodes).max(1)).clamp(20, 400);
    let size = (nodes as f64).sqrt();
    for step in 0..steps {
        // A step is at most so long; it cools until nothing moves.
        let most = 0.3 * size * (1.0 - step as f64 / steps as f64).powi(2) + 0.005;
        let forces = forces(&places, edges);
        for (place, force) in places.iter_mut().zip(forces) {
            let length = force[0].hypot(force[1]).max(1e-12);
            let move_by = length.min(most) / length;
            *place = [0, 1].map(|i| place[i] + force[i] * move_by);
        }
    }
    places
}

fn forces(places: &[[f64; 2]], edges: &[[usize; 2]]) -> Vec<[f64; 2]> {
    let mut forces: Vec<[f64; 2]> = places.iter().map(|p| p.map(|v| -0.05 * v)).collect();
    for (a, force) in places.iter().zip(&mut forces) {
        let mut sum = [0.0; 2];
        for b in places {
            let (dx, dy) = (a[0] - b[0], a[1] - b[1]);
            // Of a node on itself this is zero.
            let push = 1.0 / (dx * dx + dy * dy).max(1e-4);
            sum = [sum[0] + dx * push, sum[1] + dy * push];
        }
        *force = [force[0] + sum[0], force[1] + sum[1]];
    }
    for &[a, b] in edges {
        let (Some(from), Some(to)) = (places.get(a), places.get(b)) else {
            continue;
        };
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let pull = dx.hypot(dy);
        for (node, sign) in [(a, pull), (b, -pull)] {
            if let Some(force) = forces.get_mut(node) {
                *force = [force[0] + dx * sign, force[1] + dy * sign];
            }
        }
    }
    forces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
        (a[0] - b[0]).hypot(a[1] - b[1])
    }

    #[test]
    fn layers_follow_the_edges_even_around_a_cycle() {
        let tree = layers(5, &[[0, 1], [0, 2], [1, 3], [2, 4]]);
        assert_eq!(
            tree.iter().map(|p| -p[1]).collect::<Vec<_>>(),
            [0.0, 1.0, 1.0, 2.0, 2.0]
        );
        // No edges cross: 3 stands below 1, 4 below 2.
        assert_eq!(
            (tree[3][0] < tree[4][0], tree[1][0] < tree[2][0]),
            (true, true)
        );
        let cycle = layers(3, &[[0, 1], [1, 2], [2, 0]]);
        assert_eq!(
            cycle.iter().map(|p| -p[1]).collect::<Vec<_>>(),
            [0.0, 1.0, 2.0]
        );
        let skipping = depths(4, &[[0, 1], [1, 2], [2, 3], [0, 3]]);
        assert_eq!(skipping, [0, 1, 2, 3]);
    }

    #[test]
    fn springs_bring_neighbours_together() {
        // Two triangles joined by an edge.
        let edges = [[0, 1], [1, 2], [2, 0], [3, 4], [4, 5], [5, 3], [2, 3]];
        let places = springs(6, &edges);
        assert!(places.iter().flatten().all(|v| v.is_finite()));
        assert!(distance(places[0], places[1]) < distance(places[0], places[4]));
        assert_eq!(places, springs(6, &edges));
        assert!((0..6).all(|i| (0..i).all(|j| distance(places[i], places[j]) > 0.3)));
    }

    #[test]
    fn a_circle_begins_at_the_top() {
        let places = circle(4);
        assert!(distance(places[0], [0.0, 1.0]) < 1e-12 && distance(places[1], [1.0, 0.0]) < 1e-12);
        assert!(circle(0).is_empty());
    }
}
