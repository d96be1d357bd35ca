//! The marks: the few things that a figure is made of and that every renderer draws.
//!
//! A figure lowers itself to marks in the coordinates of its data; `layout` turns them into marks in pixels, y
//! growing downwards, cut to the panel. Colours are final in both.

use crate::color::Color;
use crate::scale::Scale;
use crate::thin;

/// A rectangle. In pixels `top < bottom`; in data coordinates `top` is drawn above `bottom`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// The left edge.
    pub left: f64,
    /// The upper edge.
    pub top: f64,
    /// The right edge.
    pub right: f64,
    /// The lower edge.
    pub bottom: f64,
}

impl Rect {
    /// Its width.
    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    /// Its height, positive in pixels.
    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// Whether a point lies in it or on its edge (pixels).
    pub fn contains(&self, [x, y]: [f64; 2]) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }
}

/// Which part of a text stands at its place, along the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The text's beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// One line of text. Its place is at the middle of the height of a capital.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// Where it stands.
    pub at: [f64; 2],
    /// What it says.
    pub text: String,
    /// Pixels an em.
    pub size: f64,
    /// Its colour.
    pub color: Color,
    /// Which part of it stands there.
    pub anchor: Anchor,
    /// Whether it runs upwards.
    pub upright: bool,
}

/// What a renderer draws. Later marks lie over earlier ones.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// A line through points.
    Polyline {
        /// The points.
        points: Vec<[f64; 2]>,
        /// Its colour.
        color: Color,
        /// Its width in pixels.
        width: f64,
    },
    /// Discs.
    Points {
        /// Their centres.
        points: Vec<[f64; 2]>,
        /// One colour for all, or one a point.
        colors: Vec<Color>,
        /// Their radius in pixels.
        radius: f64,
    },
    /// A filled area. Its outline may be concave, but does not cross itself.
    Polygon {
        /// The corners, in either sense; the last one is joined to the first.
        points: Vec<[f64; 2]>,
        /// Its colour.
        color: Color,
    },
    /// Straight arrows, whose heads have a size in pixels.
    Arrows {
        /// Where each begins and ends.
        arrows: Vec<[[f64; 2]; 2]>,
        /// One colour for all, or one an arrow.
        colors: Vec<Color>,
        /// The width of the shafts in pixels.
        width: f64,
        /// How many pixels before its end each arrow stops: the room that a node takes.
        inset: f64,
    },
    /// Filled rectangles of one colour.
    Rects {
        /// The rectangles.
        rects: Vec<Rect>,
        /// Their colour.
        color: Color,
    },
    /// Cells of equal size, row by row from the top left.
    Image {
        /// Where the picture lies.
        area: Rect,
        /// Cells a row; the number of rows follows.
        columns: usize,
        /// Red, green and blue of each cell.
        cells: Vec<[u8; 3]>,
    },
    /// A line of text.
    Text(Text),
}

/// Opacity where most points lie on one another, once there are too many to draw them all.
const DENSEST: f64 = 0.95;

/// The way from data to pixels in one panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Projection {
    pub x: Scale,
    pub y: Scale,
    pub area: Rect,
    /// How fine the picture is, in pixels: what is closer together may be merged.
    pub step: f64,
}

impl Projection {
    /// The pixel of a point of the data; it may lie outside of the panel.
    pub(crate) fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [
            self.area.left + self.x.unit(x) * self.area.width(),
            self.area.bottom - self.y.unit(y) * self.area.height(),
        ]
    }

    fn rect(&self, rect: &Rect) -> Rect {
        let [left, top] = self.at([rect.left, rect.top]);
        let [right, bottom] = self.at([rect.right, rect.bottom]);
        let in_x = |v: f64| v.clamp(self.area.left, self.area.right);
        let in_y = |v: f64| v.clamp(self.area.top, self.area.bottom);
        Rect {
            left: in_x(left.min(right)),
            top: in_y(top.min(bottom)),
            right: in_x(left.max(right)),
            bottom: in_y(top.max(bottom)),
        }
    }

    /// The marks in pixels that show `mark`, cut to the panel, appended to `out`. At most `most` points of a cloud
    /// are kept.
    pub(crate) fn project(&self, mark: &Mark, most: usize, out: &mut Vec<Mark>) {
        match mark {
            Mark::Polyline {
                points,
                color,
                width,
            } => {
                let finite = points.split(|p| p.iter().any(|v| !v.is_finite()));
                for run in finite {
                    let pixels: Vec<[f64; 2]> = run.iter().map(|p| self.at(*p)).collect();
                    let thin = thin::polyline(&pixels, self.step);
                    out.extend(
                        cut(&thin, &self.area)
                            .into_iter()
                            .map(|points| Mark::Polyline {
                                points,
                                color: *color,
                                width: *width,
                            }),
                    );
                }
            }
            Mark::Points {
                points,
                colors,
                radius,
            } => out.push(self.points(points, colors, *radius, most)),
            Mark::Polygon { points, color } => {
                if points.iter().flatten().all(|v| v.is_finite()) {
                    let pixels: Vec<[f64; 2]> = points.iter().map(|p| self.at(*p)).collect();
                    let points = cut_polygon(thin::polyline(&pixels, self.step), &self.area);
                    let color = *color;
                    out.extend((points.len() > 2).then_some(Mark::Polygon { points, color }));
                }
            }
            Mark::Arrows {
                arrows,
                colors,
                width,
                inset,
            } => out.push(self.arrows(arrows, colors, *width, *inset)),
            Mark::Rects { rects, color } => {
                let rects = rects.iter().map(|r| self.rect(r));
                out.push(Mark::Rects {
                    rects: rects
                        .filter(|r| r.width() > 0.0 && r.height() > 0.0)
                        .collect(),
                    color: *color,
                });
            }
            Mark::Image {
                area,
                columns,
                cells,
            } => out.push(Mark::Image {
                area: self.rect(area),
                columns: *columns,
                cells: cells.clone(),
            }),
            Mark::Text(text) => {
                let at = self.at(text.at);
                if self.area.contains(at) {
                    out.push(Mark::Text(Text { at, ..text.clone() }));
                }
            }
        }
    }

    /// The arrows that begin in the panel, as far as they lie in it.
    fn arrows(&self, arrows: &[[[f64; 2]; 2]], colors: &[Color], width: f64, inset: f64) -> Mark {
        let seen = |(arrow, color): (&[[f64; 2]; 2], &Color)| {
            let finite = arrow.iter().flatten().all(|v| v.is_finite());
            let [from, to] = arrow.map(|p| self.at(p));
            let begins = finite && self.area.contains(from);
            let length = (to[0] - from[0]).hypot(to[1] - from[1]);
            let kept = (1.0 - inset / length.max(1e-9)).max(0.0);
            let to = [0, 1].map(|i| from[i] + (to[i] - from[i]) * kept);
            let (_, end) = begins.then(|| cut_segment(from, to, &self.area))??;
            Some(([from, end], *color))
        };
        let (arrows, colors) = arrows
            .iter()
            .zip(colors.iter().cycle())
            .filter_map(seen)
            .unzip();
        Mark::Arrows {
            arrows,
            colors,
            width,
            inset: 0.0,
        }
    }

    fn points(&self, points: &[[f64; 2]], colors: &[Color], radius: f64, most: usize) -> Mark {
        let (pixels, source): (Vec<[f64; 2]>, Vec<usize>) = points
            .iter()
            .enumerate()
            .filter(|(_, p)| p.iter().all(|v| v.is_finite()))
            .map(|(i, p)| (self.at(*p), i))
            .filter(|(p, _)| self.area.contains(*p))
            .unzip();
        let (kept, cell) = thin::points(&pixels, radius.max(1.0), most);
        let thinned = kept.len() < pixels.len();
        let heaviest = kept.iter().map(|k| k.weight).fold(1.0, f64::max).ln();
        let colors = match colors {
            [one] if thinned && heaviest > 0.0 => kept
                .iter()
                .map(|k| {
                    // In steps: discs of one colour are stored together.
                    let heavy = (k.weight.ln() / heaviest * 16.0).round() / 16.0;
                    one.with_alpha(one.alpha + (DENSEST - one.alpha).max(0.0) * heavy)
                })
                .collect(),
            [_] => colors.to_vec(),
            _ => kept
                .iter()
                .filter_map(|k| colors.get(*source.get(k.index)?).copied())
                .collect(),
        };
        Mark::Points {
            points: kept
                .iter()
                .filter_map(|k| pixels.get(k.index).copied())
                .collect(),
            colors,
            // The ones that are left cover what all of them would.
            radius: match thinned {
                true => radius.max(cell * 0.7),
                false => radius,
            },
        }
    }
}

/// The parts of a line that lie in `area`.
fn cut(points: &[[f64; 2]], area: &Rect) -> Vec<Vec<[f64; 2]>> {
    let mut parts: Vec<Vec<[f64; 2]>> = Vec::new();
    let mut part: Vec<[f64; 2]> = Vec::new();
    for pair in points.windows(2) {
        let &[a, b] = pair else { continue };
        let Some((from, to)) = cut_segment(a, b, area) else {
            parts.extend((part.len() > 1).then(|| std::mem::take(&mut part)));
            part.clear();
            continue;
        };
        if part.last() != Some(&from) {
            parts.extend((part.len() > 1).then(|| std::mem::take(&mut part)));
            part = vec![from];
        }
        part.push(to);
    }
    parts.extend((part.len() > 1).then_some(part));
    parts
}

/// The part of a filled area that lies in `area`: cut at one edge after the other (Sutherland and Hodgman 1974).
fn cut_polygon(points: Vec<[f64; 2]>, area: &Rect) -> Vec<[f64; 2]> {
    // Each edge: the coordinate that it bounds, where it lies, and the sign of the inside.
    let edges = [
        (0, area.left, 1.0),
        (0, area.right, -1.0),
        (1, area.top, 1.0),
        (1, area.bottom, -1.0),
    ];
    edges
        .into_iter()
        .fold(points, |points, (axis, edge, sign)| {
            let depth = |p: &[f64; 2]| (p[axis] - edge) * sign;
            let mut kept = Vec::with_capacity(points.len());
            let mut last = points.last().copied();
            for p in points {
                let Some(from) = last.replace(p) else {
                    continue;
                };
                let (before, now) = (depth(&from), depth(&p));
                if (before < 0.0) != (now < 0.0) {
                    let t = before / (before - now);
                    kept.push([0, 1].map(|i| from[i] + t * (p[i] - from[i])));
                }
                if now >= 0.0 {
                    kept.push(p);
                }
            }
            kept
        })
}

/// The parts of an arrow in pixels: where its shaft ends, and the corners of its head. A short arrow has a smaller
/// head, one without length has none.
pub(crate) fn arrow_head(from: [f64; 2], to: [f64; 2], width: f64) -> ([f64; 2], [[f64; 2]; 3]) {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let length = dx.hypot(dy);
    if length < 1e-6 {
        return (to, [to; 3]);
    }
    let head = (3.0 + 3.0 * width).min(length * 0.6);
    let (ux, uy) = (dx / length, dy / length);
    let half = head * 0.42;
    let base = [to[0] - ux * head, to[1] - uy * head];
    let corners = [
        to,
        [base[0] - uy * half, base[1] + ux * half],
        [base[0] + uy * half, base[1] - ux * half],
    ];
    // The shaft reaches a little into the head, so that no seam shows.
    ([to[0] - ux * head * 0.9, to[1] - uy * head * 0.9], corners)
}

/// The part of a segment that lies in `area` (Liang and Barsky 1984).
fn cut_segment(a: [f64; 2], b: [f64; 2], area: &Rect) -> Option<([f64; 2], [f64; 2])> {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let (mut enter, mut leave) = (0.0f64, 1.0f64);
    for (direction, distance) in [
        (-dx, a[0] - area.left),
        (dx, area.right - a[0]),
        (-dy, a[1] - area.top),
        (dy, area.bottom - a[1]),
    ] {
        if direction == 0.0 {
            if distance < 0.0 {
                return None;
            }
        } else if direction < 0.0 {
            enter = enter.max(distance / direction);
        } else {
            leave = leave.min(distance / direction);
        }
    }
    let at = |t: f64| [a[0] + t * dx, a[1] + t * dy];
    let from = if enter > 0.0 { at(enter) } else { a };
    let to = if leave < 1.0 { at(leave) } else { b };
    (enter <= leave).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: Rect = Rect {
        left: 0.0,
        top: 0.0,
        right: 10.0,
        bottom: 10.0,
    };

    fn projection() -> Projection {
        Projection {
            x: Scale::linear(0.0, 1.0),
            y: Scale::linear(0.0, 1.0),
            area: AREA,
            step: 0.01,
        }
    }

    #[test]
    fn y_grows_upwards_in_data_and_downwards_in_pixels() {
        assert_eq!(projection().at([0.0, 0.0]), [0.0, 10.0]);
        assert_eq!(projection().at([1.0, 0.75]), [10.0, 2.5]);
    }

    #[test]
    fn lines_are_cut_to_the_area() {
        let inside = vec![[1.0, 1.0], [9.0, 9.0]];
        assert_eq!(cut(&inside, &AREA), std::slice::from_ref(&inside));
        let through = [[-5.0, 5.0], [15.0, 5.0]];
        assert_eq!(cut(&through, &AREA), [vec![[0.0, 5.0], [10.0, 5.0]]]);
        let out_and_in = [[5.0, 5.0], [5.0, 20.0], [6.0, 20.0], [6.0, 5.0]];
        let parts = [vec![[5.0, 5.0], [5.0, 10.0]], vec![[6.0, 10.0], [6.0, 5.0]]];
        assert_eq!(cut(&out_and_in, &AREA), parts);
        assert!(cut(&[[-1.0, -1.0], [-1.0, 20.0]], &AREA).is_empty());
    }

    #[test]
    fn areas_are_cut_to_the_area() {
        let large = vec![[-5.0, 5.0], [5.0, -5.0], [15.0, 5.0], [5.0, 15.0]];
        let size = |points: &[[f64; 2]]| {
            let next = points.iter().cycle().skip(1);
            let sum: f64 = points
                .iter()
                .zip(next)
                .map(|(a, b)| a[0] * b[1] - a[1] * b[0])
                .sum();
            sum.abs() / 2.0
        };
        // A square on its corner that covers the area exactly.
        assert_eq!(size(&cut_polygon(large, &AREA)), 100.0);
        let half = vec![[5.0, -1.0], [20.0, -1.0], [20.0, 20.0], [5.0, 20.0]];
        assert_eq!(size(&cut_polygon(half, &AREA)), 50.0);
        assert!(cut_polygon(vec![[-3.0, 1.0], [-2.0, 1.0], [-2.0, 2.0]], &AREA).is_empty());
    }

    #[test]
    fn arrows_begin_in_the_panel_and_end_in_it() {
        let mark = Mark::Arrows {
            arrows: vec![
                [[0.5, 0.5], [2.0, 0.5]],
                [[2.0, 0.5], [0.5, 0.5]],
                [[0.1, f64::NAN], [0.5, 0.5]],
            ],
            colors: vec![Color::hex(0)],
            width: 1.0,
            inset: 0.0,
        };
        let mut out = Vec::new();
        projection().project(&mark, 100, &mut out);
        let Some(Mark::Arrows { arrows, .. }) = out.first() else {
            panic!("{out:?}")
        };
        assert_eq!(arrows, &[[[5.0, 5.0], [10.0, 5.0]]]);
        let (_, [tip, left, right]) = arrow_head([0.0, 0.0], [10.0, 0.0], 1.0);
        assert_eq!(tip, [10.0, 0.0]);
        assert_eq!((left[0], left[1] + right[1]), (right[0], 0.0));
    }

    #[test]
    fn nan_breaks_a_line() {
        let nan = [0.2, f64::NAN];
        let mark = Mark::Polyline {
            points: vec![[0.0, 0.0], [0.1, 0.1], nan, [0.3, 0.3], [0.4, 0.4]],
            color: Color::hex(0),
            width: 1.0,
        };
        let mut out = Vec::new();
        projection().project(&mark, 100, &mut out);
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn points_keep_their_own_colors_when_some_fall_away() {
        let colors: Vec<Color> = (0..3).map(Color::hex).collect();
        let mark = Mark::Points {
            points: vec![[f64::NAN, 0.0], [0.5, 0.5], [3.0, 3.0]],
            colors: colors.clone(),
            radius: 2.0,
        };
        let mut out = Vec::new();
        projection().project(&mark, 100, &mut out);
        let expected = Mark::Points {
            points: vec![[5.0, 5.0]],
            colors: vec![colors[1]],
            radius: 2.0,
        };
        assert_eq!(out, [expected]);
    }

    #[test]
    fn rects_are_cut_and_empty_ones_dropped() {
        let rect = |left, right| Rect {
            left,
            top: 2.0,
            right,
            bottom: 0.0,
        };
        let mark = Mark::Rects {
            rects: vec![rect(0.5, 2.0), rect(5.0, 6.0)],
            color: Color::hex(0),
        };
        let mut out = Vec::new();
        projection().project(&mark, 100, &mut out);
        let Mark::Rects { rects, .. } = &out[0] else {
            panic!("rects expected");
        };
        let right_half = Rect { left: 5.0, ..AREA };
        assert_eq!(rects, &[right_half]);
    }
}
