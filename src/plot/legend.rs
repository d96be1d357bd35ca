//! The legend: in the corner where it hides least, or in rows above the panel where every corner is taken.

use crate::color::Palette;
use crate::font;
use crate::mark::{Anchor, Mark, Rect, Text};
use crate::panel::{Key, Shape};

const SIZE: f64 = 11.5;
const ROW: f64 = 17.0;
/// The sample of a key, and from it to the label.
const SAMPLE: f64 = 18.0;
const GAP: f64 = 6.0;
const PAD: f64 = 7.0;
/// From the edge of the panel to the legend.
const MARGIN: f64 = 8.0;
/// Between keys that stand side by side.
const BETWEEN: f64 = 16.0;
const MOST_ROWS: usize = 4;

fn key_width(key: &Key) -> f64 {
    SAMPLE + GAP + font::width(&key.label, SIZE)
}

/// The place of a legend that hides (nearly) nothing of `marks`, if there is one in the panel.
pub(crate) fn inside(keys: &[Key], plot: Rect, marks: &[Mark]) -> Option<Rect> {
    let width = keys.iter().map(key_width).fold(0.0, f64::max) + 2.0 * PAD;
    let height = keys.len() as f64 * ROW + 2.0 * PAD - 4.0;
    if width > plot.width() * 0.6 || height > plot.height() * 0.6 {
        return None;
    }
    let (left, right) = (plot.left + MARGIN, plot.right - MARGIN - width);
    let (top, bottom) = (plot.top + MARGIN - 4.0, plot.bottom - MARGIN - height);
    let corner = |left: f64, top: f64| Rect {
        left,
        top,
        right: left + width,
        bottom: top + height,
    };
    let ink = ink(marks);
    let allowed = ink.len() / 200;
    [(right, top), (left, top), (right, bottom), (left, bottom)]
        .map(|(left, top)| corner(left, top))
        .into_iter()
        .map(|rect| (ink.iter().filter(|p| rect.contains(**p)).count(), rect))
        .min_by_key(|(hidden, _)| *hidden)
        .filter(|(hidden, _)| *hidden <= allowed)
        .map(|(_, rect)| rect)
}

/// Places where there is something to see: points, and points along lines and in rectangles.
fn ink(marks: &[Mark]) -> Vec<[f64; 2]> {
    const STEP: f64 = 4.0;
    let mut places = Vec::new();
    for mark in marks {
        match mark {
            Mark::Points { points, .. } => places.extend_from_slice(points),
            Mark::Polyline { points, .. } => {
                for pair in points.windows(2) {
                    let &[[x0, y0], [x1, y1]] = pair else {
                        continue;
                    };
                    let steps = ((x1 - x0).hypot(y1 - y0) / STEP).ceil().max(1.0);
                    places.extend((0..=steps as usize).map(|i| {
                        let t = i as f64 / steps;
                        [x0 + (x1 - x0) * t, y0 + (y1 - y0) * t]
                    }));
                }
            }
            Mark::Rects { rects, .. } => {
                rects.iter().for_each(|rect| fill(rect, STEP, &mut places))
            }
            Mark::Image { area, .. } => fill(area, STEP, &mut places),
            // An area's outline: a key may lie on a band, but not on its edge.
            Mark::Polygon { points, .. } => places.extend_from_slice(points),
            Mark::Arrows { arrows, .. } => places.extend(arrows.iter().flatten()),
            Mark::Text(text) => places.push(text.at),
        }
    }
    places
}

fn fill(rect: &Rect, step: f64, places: &mut Vec<[f64; 2]>) {
    let (columns, rows) = (rect.width() / step, rect.height() / step);
    for row in 0..=rows as usize {
        let y = rect.top + row as f64 * step;
        places.extend((0..=columns as usize).map(|i| [rect.left + i as f64 * step, y]));
    }
}

/// The marks of a legend in the panel.
pub(crate) fn draw_inside(keys: &[Key], area: Rect, palette: &Palette) -> Vec<Mark> {
    let mut marks = vec![Mark::Rects {
        rects: vec![area],
        color: palette.background.with_alpha(0.85),
    }];
    for (i, key) in keys.iter().enumerate() {
        let y = area.top + PAD - 2.0 + ROW * (i as f64 + 0.5);
        draw_key(key, area.left + PAD, y, palette, &mut marks);
    }
    marks
}

/// The keys in rows no wider than `room`. Where four rows are not enough the last key says how many more there are.
pub(crate) fn rows(keys: &[Key], room: f64) -> Vec<Vec<Key>> {
    let mut rows: Vec<Vec<Key>> = vec![Vec::new()];
    let mut used = 0.0;
    for (i, key) in keys.iter().enumerate() {
        let mut key = key.clone();
        key.label = font::cut(&key.label, SIZE, room - SAMPLE - GAP);
        let width = key_width(&key);
        if used > 0.0 && used + width > room {
            if rows.len() == MOST_ROWS {
                if let Some(last) = rows.last_mut().and_then(|row| row.last_mut()) {
                    last.label = format!("and {} more", keys.len() - i + 1);
                }
                break;
            }
            rows.push(Vec::new());
            used = 0.0;
        }
        used += width + BETWEEN;
        if let Some(row) = rows.last_mut() {
            row.push(key);
        }
    }
    rows
}

/// The height that rows above a panel take.
pub(crate) fn rows_height(rows: &[Vec<Key>]) -> f64 {
    rows.len() as f64 * ROW + 8.0
}

/// The marks of a legend in rows above `plot`.
pub(crate) fn draw_rows(rows: &[Vec<Key>], plot: Rect, palette: &Palette) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let width: f64 = row.iter().map(|key| key_width(key) + BETWEEN).sum();
        let mut x = ((plot.left + plot.right - width + BETWEEN) / 2.0).max(12.0);
        let y = plot.top - rows_height(rows) + ROW * (i as f64 + 0.5);
        for key in row {
            draw_key(key, x, y, palette, &mut marks);
            x += key_width(key) + BETWEEN;
        }
    }
    marks
}

fn draw_key(key: &Key, x: f64, y: f64, palette: &Palette, marks: &mut Vec<Mark>) {
    let color = key.color;
    marks.push(match key.shape {
        Shape::Line => Mark::Polyline {
            points: vec![[x, y], [x + SAMPLE, y]],
            color,
            width: 2.0,
        },
        Shape::Disc => Mark::Points {
            points: vec![[x + SAMPLE / 2.0, y]],
            colors: vec![color],
            radius: 4.0,
        },
        Shape::Box => Mark::Rects {
            rects: vec![Rect {
                left: x + 2.0,
                top: y - 5.0,
                right: x + SAMPLE - 2.0,
                bottom: y + 5.0,
            }],
            color,
        },
    });
    marks.push(Mark::Text(Text {
        at: [x + SAMPLE + GAP, y],
        text: key.label.clone(),
        size: SIZE,
        color: palette.foreground,
        anchor: Anchor::Start,
        upright: false,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Color;

    const PLOT: Rect = Rect {
        left: 0.0,
        top: 0.0,
        right: 400.0,
        bottom: 300.0,
    };

    fn keys(n: usize) -> Vec<Key> {
        (0..n)
            .map(|i| Key {
                label: format!("series {i}"),
                color: Color::hex(0),
                shape: Shape::Line,
            })
            .collect()
    }

    fn points(points: Vec<[f64; 2]>) -> Mark {
        Mark::Points {
            points,
            colors: vec![Color::hex(0)],
            radius: 2.0,
        }
    }

    #[test]
    fn the_free_corner_is_chosen() {
        assert_eq!(inside(&keys(2), PLOT, &[]).unwrap().right, 392.0);
        let falling = Mark::Polyline {
            points: vec![[0.0, 250.0], [400.0, 20.0]],
            color: Color::hex(0),
            width: 1.0,
        };
        let rect = inside(&keys(2), PLOT, std::slice::from_ref(&falling)).unwrap();
        assert!(rect.left < 100.0 && rect.top < 100.0, "{rect:?}");
        let crowded = points(
            (0..4000)
                .map(|i| [(i % 80) as f64 * 5.0, (i / 80) as f64 * 6.0])
                .collect(),
        );
        assert_eq!(inside(&keys(2), PLOT, &[crowded]), None);
        assert_eq!(inside(&keys(40), PLOT, &[]), None);
    }

    #[test]
    fn rows_flow_and_end_with_the_number_left() {
        let few = rows(&keys(5), 250.0);
        assert_eq!(few.iter().map(Vec::len).sum::<usize>(), 5);
        assert!(few.len() > 1);
        let many = rows(&keys(40), 250.0);
        assert_eq!(many.len(), 4);
        let shown: usize = many.iter().map(Vec::len).sum();
        let last = &many[3].last().unwrap().label;
        assert_eq!(last, &format!("and {} more", 40 - shown + 1));
    }
}
