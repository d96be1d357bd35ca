//! Drawings for terminals: lines and points in braille, pictures in half blocks, bars in eighth blocks, with title,
//! legend, axes and notes in characters. The panels are the ones that the other renderers draw; only their layout is
//! in cells.

use super::canvas::{self, Canvas};
use super::fill::scanlines;
use crate::axis::TickSet;
use crate::color::Color;
use crate::mark::{Anchor, Mark, Projection, Rect, Text};
use crate::panel::{Panel, Placed, Shape};

/// The size that a cell stands for, where a figure's parts are placed in pixels.
const CELL: [f64; 2] = [8.0, 16.0];
/// Dots of braille in a cell. They are about as far apart across as downwards.
const DOTS: [f64; 2] = [2.0, 4.0];
/// Columns of a colour bar with the gap before it.
const BAR: usize = 4;

/// The size in pixels that so many cells stand for.
pub(crate) fn pixels(columns: usize, rows: usize) -> [f64; 2] {
    [columns as f64 * CELL[0], rows as f64 * CELL[1]]
}

/// The panels in at most `rows` lines of at most `columns` characters.
pub(crate) fn draw(
    panels: &[Placed],
    [columns, rows]: [usize; 2],
    ground: Color,
    color: bool,
) -> String {
    // Nobody's terminal is larger; a wrong number must not take all memory.
    let (columns, rows) = (columns.min(2000), rows.min(2000));
    let mut canvas = Canvas::new(columns, rows);
    for Placed { area, panel } in panels {
        let cell =
            |v: f64, size: f64, most: usize| ((v / size).round().max(0.0) as usize).min(most);
        let area = Cells {
            left: cell(area.left, CELL[0], columns),
            top: cell(area.top, CELL[1], rows),
            right: cell(area.right, CELL[0], columns),
            bottom: cell(area.bottom, CELL[1], rows),
        };
        draw_panel(&mut canvas, area, panel, ground);
    }
    canvas.print(color)
}

/// A rectangle of cells; `right` and `bottom` are outside.
#[derive(Debug, Clone, Copy)]
struct Cells {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Cells {
    fn columns(&self) -> usize {
        self.right.saturating_sub(self.left)
    }

    fn rows(&self) -> usize {
        self.bottom.saturating_sub(self.top)
    }
}

fn draw_panel(canvas: &mut Canvas, area: Cells, panel: &Panel, ground: Color) {
    let mut room = area;
    // A column of air between panels that stand side by side.
    room.right = room.right.saturating_sub(1).max(room.left);
    heading(canvas, &mut room, panel);
    footing(canvas, &mut room, panel);
    let y = panel.y.ticks((room.rows() / 4).clamp(2, 6));
    let reach = y.major.iter().map(|(_, name)| canvas::width(name)).max();
    let mut plot = room;
    if panel.y.visible() {
        plot.left = (plot.left + reach.unwrap_or(0) + 1).min(plot.right);
    }
    if panel.x.visible() {
        plot.bottom = plot.bottom.saturating_sub(2).max(plot.top);
    }
    let bar = bar_ticks(panel, plot.rows());
    if let Some(bar) = &bar {
        let names = bar.major.iter().map(|(_, name)| canvas::width(name)).max();
        let width = BAR + 1 + names.unwrap_or(0);
        plot.right = plot.right.saturating_sub(width).max(plot.left);
    }
    if plot.columns() == 0 || plot.rows() == 0 {
        return;
    }
    let (plot, dots) = dot_area(panel, plot);
    data(canvas, panel, dots, ground);
    axes(canvas, panel, plot, room, &y);
    if let Some(ticks) = &bar {
        color_bar(canvas, panel, plot, room, ticks);
    }
}

/// Title, legend and label of the y axis, above the plot.
fn heading(canvas: &mut Canvas, room: &mut Cells, panel: &Panel) {
    let title = canvas::cut(&panel.title, room.columns());
    if !title.is_empty() && room.rows() > 0 {
        let middle = room.left + (room.columns() - canvas::width(&title)) / 2;
        canvas.text(middle, room.right, room.top, &title, None);
        room.top += 1;
    }
    if !panel.legend.is_empty() && room.rows() > 4 {
        let mut at = room.left;
        for (i, key) in panel.legend.iter().enumerate() {
            let sample = match key.shape {
                Shape::Line => "━━",
                Shape::Disc => "●",
                Shape::Box => "██",
            };
            let width = canvas::width(sample) + canvas::width(&key.label) + 1;
            if i > 0 && at + width > room.right {
                canvas.text(at.min(room.right - 1), room.right, room.top, "…", None);
                break;
            }
            canvas.text(at, room.right, room.top, sample, Some(key.color));
            let label = at + canvas::width(sample) + 1;
            canvas.text(label, room.right, room.top, &key.label, None);
            at += width + 3;
        }
        room.top += 1;
    }
    if !panel.y.label.is_empty() && room.rows() > 5 {
        canvas.text(room.left, room.right, room.top, &panel.y.label, None);
        room.top += 1;
    }
}

/// Notes and the label of the x axis, below the plot.
fn footing(canvas: &mut Canvas, room: &mut Cells, panel: &Panel) {
    if !panel.notes.is_empty() && room.rows() > 3 {
        room.bottom -= 1;
        canvas.text(
            room.left,
            room.right,
            room.bottom,
            &panel.notes.join(". "),
            None,
        );
    }
    if !panel.x.label.is_empty() && room.rows() > 5 {
        room.bottom -= 1;
        let label = canvas::cut(&panel.x.label, room.columns());
        let middle = room.left + (room.columns() - canvas::width(&label)) / 2;
        canvas.text(middle, room.right, room.bottom, &label, None);
    }
}

/// The cells of the plot, and the dots in them that the data fill. Where a unit is as long across as upwards, the
/// cells around the data are given up.
fn dot_area(panel: &Panel, plot: Cells) -> (Cells, Rect) {
    let full = [
        plot.columns() as f64 * DOTS[0],
        plot.rows() as f64 * DOTS[1],
    ];
    let mut size = full;
    if panel.equal {
        let spans = [panel.x.scale.span(), panel.y.scale.span()];
        let unit = snap(panel, (full[0] / spans[0]).min(full[1] / spans[1]));
        size = [0, 1].map(|i| (spans[i] * unit).clamp(DOTS[i], full[i]));
    }
    let columns = (size[0] / DOTS[0]).ceil() as usize;
    let rows = (size[1] / DOTS[1]).ceil() as usize;
    let left = plot.left + (plot.columns() - columns.min(plot.columns())) / 2;
    let cells = Cells {
        left,
        right: (left + columns).min(plot.right),
        bottom: (plot.top + rows).min(plot.bottom),
        ..plot
    };
    let (x, y) = (cells.left as f64 * DOTS[0], cells.top as f64 * DOTS[1]);
    let dots = Rect {
        left: x,
        top: y,
        right: x + size[0],
        bottom: y + size[1],
    };
    (cells, dots)
}

/// The length of a unit in dots, made smaller so that each cell of a picture is a whole number of half blocks.
fn snap(panel: &Panel, unit: f64) -> f64 {
    let cell = panel.marks.iter().find_map(|mark| match mark {
        Mark::Image { area, columns, .. } => Some(area.width() / *columns as f64),
        _ => None,
    });
    match cell {
        Some(cell) if unit * cell >= DOTS[0] => {
            (unit * cell / DOTS[0] + 1e-9).floor() * DOTS[0] / cell
        }
        _ => unit,
    }
}

/// The panel's data.
fn data(canvas: &mut Canvas, panel: &Panel, dots: Rect, ground: Color) {
    let projection = Projection {
        x: panel.x.scale,
        y: panel.y.scale,
        area: dots,
        step: 0.5,
    };
    let mut marks = Vec::new();
    for mark in &panel.marks {
        projection.project(mark, usize::MAX, &mut marks);
    }
    let bars = !overlapping(&marks);
    let numbers = numbers_fit(&marks);
    for mark in &marks {
        match mark {
            // A dot is there or not: faint lines would hide the strong ones, and what has the ground's colour is not
            // to be seen.
            Mark::Polyline { color, .. } if color.alpha < 0.5 || *color == ground => {}
            Mark::Polyline { points, color, .. } => {
                for pair in points.windows(2) {
                    let &[from, to] = pair else { continue };
                    line(canvas, from, to, dots, *color);
                }
            }
            Mark::Polygon { points, color } => polygon(canvas, points, dots, *color),
            Mark::Arrows { arrows, colors, .. } => {
                for (arrow, color) in arrows.iter().zip(colors.iter().cycle()) {
                    self::arrow(canvas, *arrow, dots, *color);
                }
            }
            Mark::Points { points, colors, .. } => {
                let seen = points.iter().zip(colors.iter().cycle());
                for (at, color) in seen.filter(|(_, color)| **color != ground) {
                    dot(canvas, *at, dots, *color);
                }
            }
            Mark::Rects { rects, color } if bars => {
                rects.iter().for_each(|rect| bar(canvas, rect, *color));
            }
            // Groups that hide each other are told by their outlines.
            Mark::Rects { .. } => {}
            Mark::Image {
                area,
                columns,
                cells,
            } => image(canvas, area, *columns, cells),
            Mark::Text(text) if numbers || !on_image(&marks, text) => label(canvas, text),
            Mark::Text(_) => {}
        }
    }
}

/// Whether a text stands on a picture.
fn on_image(marks: &[Mark], text: &Text) -> bool {
    marks.iter().any(|mark| match mark {
        Mark::Image { area, .. } => area.contains(text.at),
        _ => false,
    })
}

/// Whether the cells of a picture are wide enough for all the texts that stand on it.
fn numbers_fit(marks: &[Mark]) -> bool {
    let narrowest = |mark: &Mark| match mark {
        Mark::Image { area, columns, .. } => Some(area.width() / DOTS[0] / *columns as f64),
        _ => None,
    };
    let room = marks
        .iter()
        .filter_map(narrowest)
        .fold(f64::INFINITY, f64::min);
    marks.iter().all(|mark| match mark {
        Mark::Text(text) => canvas::width(&text.text) as f64 <= room || !on_image(marks, text),
        _ => true,
    })
}

/// Whether rectangles of different marks lie on one another: characters cannot be translucent.
fn overlapping(marks: &[Mark]) -> bool {
    let rects = |mark: &Mark| match mark {
        Mark::Rects { rects, .. } => rects.clone(),
        _ => Vec::new(),
    };
    let touch = |a: &Rect, b: &Rect| {
        a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
    };
    let groups: Vec<Vec<Rect>> = marks.iter().map(rects).filter(|r| !r.is_empty()).collect();
    groups.iter().enumerate().any(|(i, one)| {
        let others = groups.iter().take(i).flatten();
        others.into_iter().any(|a| one.iter().any(|b| touch(a, b)))
    })
}

/// A line of dots.
fn line(canvas: &mut Canvas, from: [f64; 2], to: [f64; 2], dots: Rect, color: Color) {
    let far = (to[0] - from[0]).abs().max((to[1] - from[1]).abs());
    let steps = far.ceil().max(1.0);
    for i in 0..=steps as usize {
        let t = i as f64 / steps;
        let at = [0, 1].map(|k| from[k] + (to[k] - from[k]) * t);
        dot(canvas, at, dots, color);
    }
}

/// An area of dots; a translucent one of a few dots only, so that what lies over it is seen.
fn polygon(canvas: &mut Canvas, points: &[[f64; 2]], dots: Rect, color: Color) {
    let apart = if color.alpha < 0.5 { 4 } else { 1 };
    for (row, from, to) in scanlines(points) {
        for column in from..to {
            if row.rem_euclid(apart) == 0 && column.rem_euclid(apart) == 0 {
                dot(canvas, [f64::from(column), f64::from(row)], dots, color);
            }
        }
    }
}

/// An arrow: a short one is a character that points its way, a long one a line that ends in such a character.
fn arrow(canvas: &mut Canvas, [from, to]: [[f64; 2]; 2], dots: Rect, color: Color) {
    const WAYS: [char; 8] = ['→', '↗', '↑', '↖', '←', '↙', '↓', '↘'];
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let length = dx.hypot(dy);
    if length < 0.5 {
        return dot(canvas, from, dots, color);
    }
    let turn = (-dy).atan2(dx) / std::f64::consts::TAU;
    let way = (turn * 8.0).round().rem_euclid(8.0) as usize % 8;
    let long = length > 9.0;
    if long {
        line(canvas, from, to, dots, color);
    }
    // The character of a short one stands on its middle, that of a long one at the tip.
    let t = if long { 1.0 - 2.0 / length } else { 0.5 };
    let inside = |v: f64, cell: f64, end: f64| (v.min(end - 0.01) / cell).max(0.0) as usize;
    let column = inside(from[0] + dx * t, DOTS[0], dots.right);
    let row = inside(from[1] + dy * t, DOTS[1], dots.bottom);
    canvas.put(
        column,
        row,
        WAYS.get(way).copied().unwrap_or('→'),
        Some(color),
    );
}

/// A dot; one on the far edge belongs to the last dot inside.
fn dot(canvas: &mut Canvas, at: [f64; 2], dots: Rect, color: Color) {
    let inside = |v: f64, from: f64, to: f64| v.floor().min(to.ceil() - 1.0).max(from) as usize;
    let x = inside(at[0], dots.left, dots.right);
    let y = inside(at[1], dots.top, dots.bottom);
    canvas.dot(x, y, color);
}

/// A rectangle as a bar in every column whose middle it covers.
fn bar(canvas: &mut Canvas, rect: &Rect, color: Color) {
    let first = (rect.left / DOTS[0] - 0.5).ceil().max(0.0) as usize;
    let last = (rect.right / DOTS[0] - 0.5).ceil().max(0.0) as usize;
    let eighths = (rect.height() / DOTS[1] * 8.0).round() as usize;
    let row = ((rect.bottom / DOTS[1]).round() as usize).saturating_sub(1);
    for column in first..last {
        canvas.bar(column, row, eighths, color);
    }
}

/// A picture in half blocks; each shows the mean of the cells that it covers.
fn image(canvas: &mut Canvas, area: &Rect, columns: usize, cells: &[[u8; 3]]) {
    let rows = cells.len() / columns.max(1);
    // Half blocks are two dots wide and two dots high.
    let [left, top] = [area.left, area.top].map(|v| (v / 2.0).round().max(0.0) as usize);
    let [across, upwards] =
        [area.width(), area.height()].map(|v| ((v / 2.0).round() as usize).max(1));
    if rows == 0 || columns == 0 {
        return;
    }
    for y in 0..upwards {
        let (row, row_end) = (y * rows / upwards, ((y + 1) * rows).div_ceil(upwards));
        for x in 0..across {
            let (column, end) = (x * columns / across, ((x + 1) * columns).div_ceil(across));
            let (mut sums, mut n) = ([0u64; 3], 0u64);
            for row in row..row_end {
                let covered = cells.get(row * columns + column..row * columns + end);
                for cell in covered.unwrap_or_default() {
                    sums = [0, 1, 2].map(|i| sums[i] + u64::from(cell[i]));
                    n += 1;
                }
            }
            canvas.half(left + x, top + y, sums.map(|s| (s / n.max(1)) as u8));
        }
    }
}

fn label(canvas: &mut Canvas, text: &Text) {
    let width = canvas::width(&text.text);
    let column = (text.at[0] / DOTS[0]) as usize;
    let start = match text.anchor {
        Anchor::Start => column,
        Anchor::Middle => (column + width % 2).saturating_sub(width.div_ceil(2)),
        Anchor::End => column.saturating_sub(width),
    };
    let row = (text.at[1] / DOTS[1]) as usize;
    canvas.text(start, start + width, row, &text.text, Some(text.color));
}

/// The two axes with their ticks and names.
fn axes(canvas: &mut Canvas, panel: &Panel, plot: Cells, room: Cells, y: &TickSet) {
    if panel.y.visible() {
        let axis = plot.left.saturating_sub(1);
        (plot.top..plot.bottom).for_each(|row| canvas.put(axis, row, '│', None));
        let mut used = None;
        for (at, name) in &y.major {
            let down = (1.0 - panel.y.scale.unit(*at)) * plot.rows() as f64;
            let row = plot.top + (down as usize).min(plot.rows() - 1);
            if used != Some(row) {
                let start = axis.saturating_sub(canvas::width(name)).max(room.left);
                canvas.text(start, axis, row, name, None);
                canvas.put(axis, row, '┤', None);
            }
            used = Some(row);
        }
    }
    if panel.x.visible() {
        x_axis(canvas, panel, plot, room);
    }
}

fn x_axis(canvas: &mut Canvas, panel: &Panel, plot: Cells, room: Cells) {
    let row = plot.bottom;
    (plot.left..plot.right).for_each(|column| canvas.put(column, row, '─', None));
    if panel.y.visible() {
        canvas.put(plot.left.saturating_sub(1), row, '└', None);
    }
    let ticks = panel.x.ticks((plot.columns() / 10).clamp(2, 8));
    // Where the last name ends: names that would touch it are left out.
    let mut end = None;
    for (at, name) in &ticks.major {
        let across = panel.x.scale.unit(*at) * plot.columns() as f64;
        let column = plot.left + (across as usize).min(plot.columns() - 1);
        canvas.put(column, row, '┬', None);
        let width = canvas::width(name);
        let last = room.right.saturating_sub(width).max(room.left);
        let start = column.saturating_sub(width / 2).clamp(room.left, last);
        if end.is_none_or(|end| start > end) {
            canvas.text(start, room.right, row + 1, name, None);
            end = Some(start + width);
        }
    }
}

/// The ticks of the colour bar, if the panel has one.
fn bar_ticks(panel: &Panel, rows: usize) -> Option<TickSet> {
    let bar = panel.bar.as_ref()?;
    Some(bar.axis().ticks((rows / 4).clamp(2, 5)))
}

fn color_bar(canvas: &mut Canvas, panel: &Panel, plot: Cells, room: Cells, ticks: &TickSet) {
    let Some(bar) = &panel.bar else { return };
    let left = plot.right + BAR - 2;
    let halves = plot.rows() * 2;
    for y in 0..halves {
        let t = 1.0 - (y as f64 + 0.5) / halves as f64;
        let rgb = bar.color(bar.lo * (1.0 - t) + bar.hi * t).rgb;
        canvas.half(left, plot.top * 2 + y, rgb);
        canvas.half(left + 1, plot.top * 2 + y, rgb);
    }
    let scale = bar.axis().scale;
    for (at, name) in &ticks.major {
        let down = (1.0 - scale.unit(*at)) * plot.rows() as f64;
        let row = plot.top + (down as usize).min(plot.rows() - 1);
        canvas.text(left + 3, room.right, row, name, None);
    }
}
