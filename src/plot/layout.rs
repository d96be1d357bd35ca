//! The layout of a figure in pixels: the one place that decides where axes, ticks, labels, colour bars and legends
//! stand. What comes out are marks in pixels, in the order of drawing.

use crate::axis::{Axis, TickSet};
use crate::color::{Color, Palette};
use crate::font;
use crate::legend;
use crate::mark::{Anchor, Mark, Projection, Rect, Text};
use crate::panel::{ColorBar, Panel, Placed};
use std::ops::Range;

/// Sizes of text in pixels an em.
pub(crate) const TITLE: f64 = 14.5;
const LABEL: f64 = 12.5;
const TICK: f64 = 11.5;
const NOTE: f64 = 10.5;

/// From a tick to its name.
const GAP: f64 = 4.0;
const TICK_LENGTH: f64 = 4.0;
const BAR_WIDTH: f64 = 13.0;
const BAR_GAP: f64 = 14.0;
/// About so many pixels lie between ticks.
const TICKS_UPWARDS: f64 = 52.0;
const TICKS_ACROSS: f64 = 62.0;
/// No panel is drawn smaller, whatever stands around it.
const LEAST: f64 = 16.0;
/// More points than this say nothing new to the eye, and make the file large.
pub(crate) const MOST_POINTS: usize = 12_000;

/// A whole figure in pixels.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub width: f64,
    pub height: f64,
    pub background: Color,
    pub marks: Vec<Mark>,
    /// Which of the marks belong to which panel.
    pub parts: Vec<Part>,
}

/// A panel in a scene: its axes, and where its marks are among all of them.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub plot: Rect,
    pub x: Axis,
    pub y: Axis,
    /// Columns and numbers of the cells of its picture, for reading off; empty without.
    pub columns: usize,
    pub cells: Vec<f64>,
    pub grid: Range<usize>,
    pub data: Range<usize>,
    pub axes: Range<usize>,
}

/// Lays out all panels of a figure.
pub(crate) fn scene(size: [f64; 2], panels: &[Placed], palette: &Palette) -> Scene {
    let [width, height] = size;
    let mut marks = Vec::new();
    let lay_out = |placed| lay_out(placed, palette, &mut marks);
    let parts = panels.iter().map(lay_out).collect();
    Scene {
        width,
        height,
        background: palette.background,
        marks,
        parts,
    }
}

/// Where the parts of one panel stand.
struct Frame {
    title: Vec<String>,
    notes: Vec<String>,
    /// The rectangle of the data.
    plot: Rect,
    x: TickSet,
    y: TickSet,
    bar: TickSet,
    /// How far the names of the y ticks reach to the left of the plot.
    y_reach: f64,
    /// How far those of the colour bar reach to the right of the bar.
    bar_reach: f64,
}

fn lay_out(placed: &Placed, palette: &Palette, out: &mut Vec<Mark>) -> Part {
    let panel = &placed.panel;
    let mut frame = frame(placed, 0.0);
    let mut data = data_marks(panel, frame.plot);
    let mut key = Vec::new();
    if !panel.legend.is_empty() {
        match legend::inside(&panel.legend, frame.plot, &data) {
            Some(corner) => key = legend::draw_inside(&panel.legend, corner, palette),
            None => {
                let room = placed.area.width() - 24.0;
                let rows = legend::rows(&panel.legend, room);
                frame = self::frame(placed, legend::rows_height(&rows));
                data = data_marks(panel, frame.plot);
                key = legend::draw_rows(&rows, frame.plot, palette);
            }
        }
    }
    let start = out.len();
    grid(panel, &frame, palette, out);
    let above = out.len();
    out.extend(data);
    let ticks = out.len();
    axes(panel, &frame, palette, out);
    let columns = panel.marks.iter().find_map(|mark| match mark {
        Mark::Image { columns, .. } => Some(*columns),
        _ => None,
    });
    let part = Part {
        plot: frame.plot,
        x: panel.x.clone(),
        y: panel.y.clone(),
        columns: columns.unwrap_or(0),
        cells: panel.cells.clone(),
        grid: start..above,
        data: above..ticks,
        axes: ticks..out.len(),
    };
    if let Some(bar) = &panel.bar {
        color_bar(bar, &frame, palette, out);
    }
    out.extend(key);
    texts(placed, &frame, palette, out);
    part
}

/// The panel's data in pixels.
fn data_marks(panel: &Panel, area: Rect) -> Vec<Mark> {
    let projection = Projection {
        x: panel.x.scale,
        y: panel.y.scale,
        area,
        step: 0.5,
    };
    let total: usize = panel.marks.iter().map(cloud_size).sum();
    let mut out = Vec::new();
    for mark in &panel.marks {
        // A small group beside a large one keeps a fair number of points.
        let share = MOST_POINTS * cloud_size(mark) / total.max(1);
        projection.project(mark, share.max(500), &mut out);
    }
    out
}

fn cloud_size(mark: &Mark) -> usize {
    match mark {
        Mark::Points { points, .. } => points.len(),
        Mark::Polyline { .. }
        | Mark::Polygon { .. }
        | Mark::Arrows { .. }
        | Mark::Rects { .. }
        | Mark::Image { .. }
        | Mark::Text(_) => 0,
    }
}

/// Finds the rectangle that is left for the data. `reserve` pixels stay free above it for the legend.
fn frame(placed: &Placed, reserve: f64) -> Frame {
    let Placed { area, panel } = placed;
    let inner = Rect {
        left: area.left + 12.0,
        top: area.top + 12.0,
        right: area.right - 14.0,
        bottom: area.bottom - 10.0,
    };
    let title = font::wrap(&panel.title, TITLE, inner.width(), 3);
    let notes = font::wrap(&panel.notes.join(". "), NOTE, inner.width(), 2);
    let mut plot = inner;
    plot.top += reserve + title.len() as f64 * (TITLE + 4.0);
    plot.top += if title.is_empty() { 0.0 } else { 7.0 };
    plot.bottom -= notes.len() as f64 * (NOTE + 3.5);
    plot.bottom -= if notes.is_empty() { 0.0 } else { 5.0 };
    plot.bottom -= below(panel);
    plot.bottom = plot.bottom.max(plot.top + LEAST);

    let mut y = panel.y.ticks(ticks_upwards(plot.height()));
    let y_reach = match panel.y.visible() {
        true => widest(&y) + TICK_LENGTH + GAP,
        false => 0.0,
    };
    plot.left += y_reach;
    plot.left += match panel.y.label.is_empty() {
        true => 0.0,
        false => LABEL + 8.0,
    };
    let (mut bar, mut bar_reach) = (TickSet::default(), 0.0);
    if let Some(color_bar) = &panel.bar {
        bar = color_bar.axis().ticks(ticks_upwards(plot.height()).min(6));
        bar_reach = widest(&bar) + TICK_LENGTH + GAP;
        let label = if color_bar.label.is_empty() {
            0.0
        } else {
            LABEL + 6.0
        };
        plot.right -= BAR_GAP + BAR_WIDTH + bar_reach + label;
    }
    plot.right = plot.right.max(plot.left + LEAST);
    if panel.equal {
        plot = equal(panel, plot);
        y = panel.y.ticks(ticks_upwards(plot.height()));
    }
    let x = fit_x_ticks(panel, plot.width());
    if panel.bar.is_none() && !panel.equal {
        plot.right -= overhang(panel, &x, plot, area.right - 6.0);
    }
    Frame {
        title,
        notes,
        plot,
        x,
        y,
        bar,
        y_reach,
        bar_reach,
    }
}

/// Height of what stands between the plot and the notes: the x axis and its label.
fn below(panel: &Panel) -> f64 {
    let label = if panel.x.label.is_empty() {
        0.0
    } else {
        LABEL + 7.0
    };
    match panel.x.visible() {
        true => label + TICK_LENGTH + GAP + TICK - 1.0,
        false => label,
    }
}

/// How far the name of the last x tick would stand out beyond `right`.
fn overhang(panel: &Panel, x: &TickSet, plot: Rect, right: f64) -> f64 {
    let Some((at, name)) = x.major.last() else {
        return 0.0;
    };
    let middle = plot.left + panel.x.scale.unit(*at) * plot.width();
    let end = middle + font::width(name, TICK) / 2.0;
    (end - right).clamp(0.0, (plot.width() - LEAST).max(0.0))
}

fn ticks_upwards(height: f64) -> usize {
    ((height / TICKS_UPWARDS) as usize).clamp(2, 8)
}

/// As many ticks on the x axis as have room for their names; as far apart as on the y axis where they have one unit.
fn fit_x_ticks(panel: &Panel, width: f64) -> TickSet {
    let apart = if panel.equal {
        TICKS_UPWARDS
    } else {
        TICKS_ACROSS
    };
    let most = ((width / apart) as usize).clamp(2, 9);
    let fits = |ticks: &TickSet| {
        let ends: Vec<(f64, f64)> = ticks
            .major
            .iter()
            .map(|(at, name)| {
                let middle = panel.x.scale.unit(*at) * width;
                let half = font::width(name, TICK) / 2.0;
                (middle - half, middle + half)
            })
            .collect();
        ends.windows(2).all(|pair| match pair {
            [a, b] => a.1 + 8.0 <= b.0 || b.1 + 8.0 <= a.0,
            _ => true,
        })
    };
    let fewer = (2..=most)
        .rev()
        .map(|count| panel.x.ticks(count))
        .find(fits);
    fewer.unwrap_or_else(|| panel.x.ticks(1))
}

/// The widest name of the ticks.
fn widest(ticks: &TickSet) -> f64 {
    let widths = ticks.major.iter().map(|(_, name)| font::width(name, TICK));
    widths.fold(0.0, f64::max)
}

/// The largest rectangle in `room` in which a unit is as long across as upwards: at the top, in the middle.
fn equal(panel: &Panel, room: Rect) -> Rect {
    let (across, upwards) = (panel.x.scale.span(), panel.y.scale.span());
    let unit = (room.width() / across).min(room.height() / upwards);
    let width = (unit * across).clamp(LEAST.min(room.width()), room.width());
    let height = (unit * upwards).clamp(LEAST.min(room.height()), room.height());
    let left = room.left + (room.width() - width) / 2.0;
    Rect {
        left,
        right: left + width,
        top: room.top,
        bottom: room.top + height,
    }
}

fn line(from: [f64; 2], to: [f64; 2], color: Color, width: f64) -> Mark {
    Mark::Polyline {
        points: vec![from, to],
        color,
        width,
    }
}

fn label(at: [f64; 2], text: &str, size: f64, color: Color, anchor: Anchor) -> Mark {
    Mark::Text(Text {
        at,
        text: text.to_string(),
        size,
        color,
        anchor,
        upright: false,
    })
}

fn upright(at: [f64; 2], text: &str, color: Color, room: f64) -> Mark {
    Mark::Text(Text {
        at,
        text: font::cut(text, LABEL, room),
        size: LABEL,
        color,
        anchor: Anchor::Middle,
        upright: true,
    })
}

/// The light lines behind the data.
fn grid(panel: &Panel, frame: &Frame, palette: &Palette, out: &mut Vec<Mark>) {
    let plot = frame.plot;
    if panel.x.grid {
        for (at, _) in &frame.x.major {
            let x = plot.left + panel.x.scale.unit(*at) * plot.width();
            out.push(line([x, plot.top], [x, plot.bottom], palette.grid, 1.0));
        }
    }
    if panel.y.grid {
        for (at, _) in &frame.y.major {
            let y = plot.bottom - panel.y.scale.unit(*at) * plot.height();
            out.push(line([plot.left, y], [plot.right, y], palette.grid, 1.0));
        }
    }
}

/// The two axes' lines, ticks and their names.
fn axes(panel: &Panel, frame: &Frame, palette: &Palette, out: &mut Vec<Mark>) {
    let plot = frame.plot;
    if panel.x.visible() {
        let base = plot.bottom;
        out.push(line(
            [plot.left, base],
            [plot.right, base],
            palette.axis,
            1.0,
        ));
        let place = |at: f64| plot.left + panel.x.scale.unit(at) * plot.width();
        for (at, name) in &frame.x.major {
            let x = place(*at);
            out.push(line([x, base], [x, base + TICK_LENGTH], palette.axis, 1.0));
            let below = base + TICK_LENGTH + GAP + TICK / 2.0 - 1.0;
            out.push(label([x, below], name, TICK, palette.muted, Anchor::Middle));
        }
        for &at in &frame.x.minor {
            let end = [place(at), base + TICK_LENGTH * 0.6];
            out.push(line([place(at), base], end, palette.axis, 0.7));
        }
    }
    if panel.y.visible() {
        let base = plot.left;
        out.push(line(
            [base, plot.top],
            [base, plot.bottom],
            palette.axis,
            1.0,
        ));
        let place = |at: f64| plot.bottom - panel.y.scale.unit(at) * plot.height();
        for (at, name) in &frame.y.major {
            let y = place(*at);
            out.push(line([base - TICK_LENGTH, y], [base, y], palette.axis, 1.0));
            let before = base - TICK_LENGTH - GAP;
            out.push(label([before, y], name, TICK, palette.muted, Anchor::End));
        }
        for &at in &frame.y.minor {
            let end = [base - TICK_LENGTH * 0.6, place(at)];
            out.push(line(end, [base, place(at)], palette.axis, 0.7));
        }
    }
}

/// The scale of colours at the right.
fn color_bar(bar: &ColorBar, frame: &Frame, palette: &Palette, out: &mut Vec<Mark>) {
    let left = frame.plot.right + BAR_GAP;
    let area = Rect {
        left,
        right: left + BAR_WIDTH,
        ..frame.plot
    };
    let steps = 256;
    let cells = (0..steps)
        .map(|i| {
            let t = 1.0 - (f64::from(i) + 0.5) / f64::from(steps);
            bar.color(bar.lo * (1.0 - t) + bar.hi * t).rgb
        })
        .collect();
    out.push(Mark::Image {
        area,
        columns: 1,
        cells,
    });
    let scale = bar.axis().scale;
    for (at, name) in &frame.bar.major {
        let y = area.bottom - scale.unit(*at) * area.height();
        let end = area.right + TICK_LENGTH;
        out.push(line([area.right, y], [end, y], palette.axis, 1.0));
        out.push(label(
            [end + GAP, y],
            name,
            TICK,
            palette.muted,
            Anchor::Start,
        ));
    }
    if !bar.label.is_empty() {
        let x = area.right + frame.bar_reach + 4.0 + LABEL / 2.0;
        let middle = (area.top + area.bottom) / 2.0;
        out.push(upright(
            [x, middle],
            &bar.label,
            palette.muted,
            area.height(),
        ));
    }
}

/// Title, labels of the axes, and the notes.
fn texts(placed: &Placed, frame: &Frame, palette: &Palette, out: &mut Vec<Mark>) {
    let Placed { area, panel } = placed;
    let plot = frame.plot;
    let middle = (plot.left + plot.right) / 2.0;
    for (i, text) in frame.title.iter().enumerate() {
        // Over the plot where it fits there, else in the middle of what there is.
        let half = font::width(text, TITLE) / 2.0 + 6.0;
        let least = area.left + half;
        let x = middle.clamp(least, (area.right - half).max(least));
        let y = area.top + 12.0 + TITLE * 0.5 + i as f64 * (TITLE + 4.0);
        out.push(label(
            [x, y],
            text,
            TITLE,
            palette.foreground,
            Anchor::Middle,
        ));
    }
    let mut y = plot.bottom;
    if panel.x.visible() {
        y += TICK_LENGTH + GAP + TICK - 1.0;
    }
    if !panel.x.label.is_empty() {
        let text = font::cut(&panel.x.label, LABEL, area.width() - 12.0);
        let at = [middle, y + 5.0 + LABEL / 2.0];
        out.push(label(at, &text, LABEL, palette.muted, Anchor::Middle));
    }
    if !panel.y.label.is_empty() {
        let x = plot.left - frame.y_reach - 6.0 - LABEL / 2.0;
        let at = [x, (plot.top + plot.bottom) / 2.0];
        out.push(upright(
            at,
            &panel.y.label,
            palette.muted,
            area.height() - 12.0,
        ));
    }
    for (i, text) in frame.notes.iter().rev().enumerate() {
        let at = [
            area.left + 12.0,
            area.bottom - 9.0 - NOTE / 2.0 - i as f64 * (NOTE + 3.5),
        ];
        out.push(label(at, text, NOTE, palette.muted, Anchor::Start));
    }
}
