//! Marks as layers: data and how they are drawn.

use serde_json::{Value, json};

use super::{hex, none, number};
use crate::color::Color;
use crate::error::Result;
use crate::mark::{Anchor, Mark, Rect, Text};
use crate::panel::Panel;
use crate::scale::Kind;
use crate::thin;

/// Rows of data of one view: a page with more becomes slow, and the notebook keeps them all.
const MOST_ROWS: usize = 12_000;
/// How close points of a line may be before some are left out, in pixels: one may zoom in twenty times.
const STEP: f64 = 0.05;

/// The layers of a panel whose plot has this size in pixels.
pub(super) fn layers(panel: &Panel, size: [f64; 2]) -> Result<Vec<Value>> {
    let all: usize = panel.marks.iter().map(rows).sum();
    let layer = |mark: &Mark| {
        let share = MOST_ROWS * rows(mark) / all.max(1);
        of(panel, mark, size, share.max(16))
    };
    panel.marks.iter().map(layer).collect()
}

fn rows(mark: &Mark) -> usize {
    match mark {
        Mark::Polyline { points, .. }
        | Mark::Points { points, .. }
        | Mark::Polygon { points, .. } => points.len(),
        Mark::Arrows { arrows, .. } => arrows.len(),
        Mark::Rects { rects, .. } => rects.len(),
        Mark::Image { cells, .. } => cells.len(),
        Mark::Text(_) => 1,
    }
}

fn of(panel: &Panel, mark: &Mark, size: [f64; 2], most: usize) -> Result<Value> {
    Ok(match mark {
        Mark::Polyline {
            points,
            color,
            width,
        } => line(panel, points, *color, *width, size, most),
        Mark::Points {
            points,
            colors,
            radius,
        } => discs(panel, points, colors, *radius, size, most),
        Mark::Polygon { points, color } => {
            if points.len() > MOST_ROWS {
                return Err(none("its areas have too many corners"));
            }
            area(points, *color)
        }
        Mark::Rects { rects, color } => boxes(panel, rects, *color),
        Mark::Image {
            area,
            columns,
            cells,
        } => picture(panel, area, *columns, cells)?,
        Mark::Arrows { .. } => return Err(none("it is made of arrows")),
        Mark::Text(text) => word(text),
    })
}

/// What is shown under the pointer.
fn tooltip(panel: &Panel) -> Value {
    let title = |label: &str, name: &str| match label.is_empty() {
        true => name.to_string(),
        false => label.to_string(),
    };
    json!([
        { "field": "x", "type": "quantitative", "title": title(&panel.x.label, "x") },
        { "field": "y", "type": "quantitative", "title": title(&panel.y.label, "y") },
    ])
}

/// Points in pixels, for thinning.
fn pixels(panel: &Panel, points: &[[f64; 2]], size: [f64; 2]) -> Vec<[f64; 2]> {
    let place = |[x, y]: &[f64; 2]| {
        [
            panel.x.scale.unit(*x) * size[0],
            panel.y.scale.unit(*y) * size[1],
        ]
    };
    points.iter().map(place).collect()
}

fn line(
    panel: &Panel,
    points: &[[f64; 2]],
    color: Color,
    width: f64,
    size: [f64; 2],
    most: usize,
) -> Value {
    let mut step = STEP;
    let mut kept = points.to_vec();
    while kept.len() > most && step < size[0] {
        kept = thinned(panel, points, size, step);
        step *= 2.0;
    }
    let values = kept.iter().enumerate();
    let values: Vec<Value> = values
        .map(|(i, [x, y])| json!({ "x": number(*x), "y": number(*y), "i": i }))
        .collect();
    json!({
        "data": { "values": values },
        "mark": {
            "type": "line",
            "color": hex(color),
            "opacity": color.alpha,
            "strokeWidth": width,
            "clip": true,
            // Invisible discs, for the values under the pointer.
            "point": { "opacity": 0, "size": 60 },
        },
        // Without an order a line would go from left to right.
        "encoding": { "order": { "field": "i", "type": "quantitative" }, "tooltip": tooltip(panel) },
    })
}

/// The points of a line that a picture of it shows; gaps stay.
fn thinned(panel: &Panel, points: &[[f64; 2]], size: [f64; 2], step: f64) -> Vec<[f64; 2]> {
    let is_seen = |p: &[f64; 2]| p.iter().all(|v| v.is_finite());
    let mut kept = Vec::new();
    for run in points.chunk_by(|a, b| is_seen(a) == is_seen(b)) {
        if !run.first().is_some_and(is_seen) {
            kept.push([f64::NAN; 2]);
            continue;
        }
        let places = pixels(panel, run, size);
        let column = |i: usize| places.get(i).map_or(0.0, |p| (p[0] / step).floor());
        let mut start = 0;
        while start < run.len() {
            let mut end = start + 1;
            while end < run.len() && column(end) == column(start) {
                end += 1;
            }
            kept.extend(extremes(run.get(start..end).unwrap_or(&[])));
            start = end;
        }
    }
    kept
}

/// The first, lowest, highest and last of some points.
fn extremes(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    if points.len() <= 4 {
        return points.to_vec();
    }
    let by = |a: &usize, b: &usize| {
        let height = |i: &usize| points.get(*i).map_or(0.0, |p| p[1]);
        height(a).total_cmp(&height(b))
    };
    let all = 0..points.len();
    let low = all.clone().min_by(by).unwrap_or(0);
    let high = all.max_by(by).unwrap_or(0);
    let mut wanted = vec![0, low.min(high), low.max(high), points.len() - 1];
    wanted.dedup();
    wanted
        .iter()
        .filter_map(|i| points.get(*i).copied())
        .collect()
}

fn discs(
    panel: &Panel,
    points: &[[f64; 2]],
    colors: &[Color],
    radius: f64,
    size: [f64; 2],
    most: usize,
) -> Value {
    let shown: Vec<usize> = (0..points.len())
        .filter(|i| {
            points
                .get(*i)
                .is_some_and(|p| p.iter().all(|v| v.is_finite()))
        })
        .collect();
    let places: Vec<[f64; 2]> = shown
        .iter()
        .filter_map(|i| points.get(*i).copied())
        .collect();
    let (kept, _) = thin::points(&pixels(panel, &places, size), 1.0, most);
    let first = colors.first().copied();
    let many = colors.len() > 1;
    let row = |index: usize| {
        let at = shown.get(index)?;
        let [x, y] = points.get(*at)?;
        let mut row = json!({ "x": number(*x), "y": number(*y) });
        if many {
            row["c"] = json!(colors.get(*at).copied().map(hex));
        }
        Some(row)
    };
    let values: Vec<Value> = kept.iter().filter_map(|kept| row(kept.index)).collect();
    let mut encoding = json!({ "tooltip": tooltip(panel) });
    if many {
        encoding["color"] =
            json!({ "field": "c", "type": "nominal", "scale": null, "legend": null });
    }
    json!({
        "data": { "values": values },
        "mark": {
            "type": "circle",
            "size": (2.0 * radius).powi(2),
            "color": first.map(hex),
            "opacity": first.map(|color| color.alpha),
            "clip": true,
        },
        "encoding": encoding,
    })
}

fn area(points: &[[f64; 2]], color: Color) -> Value {
    let values = points.iter().enumerate();
    let values: Vec<Value> = values
        .map(|(i, [x, y])| json!({ "x": number(*x), "y": number(*y), "i": i }))
        .collect();
    json!({
        "data": { "values": values },
        "mark": {
            "type": "line",
            "filled": true,
            "fill": hex(color),
            "fillOpacity": color.alpha,
            "strokeWidth": 0,
            "clip": true,
        },
        "encoding": { "order": { "field": "i", "type": "quantitative" } },
    })
}

/// A coordinate that a logarithmic axis can show.
fn shown(panel: &Panel, value: f64, upwards: bool) -> f64 {
    let axis = if upwards { &panel.y } else { &panel.x };
    match axis.scale.kind {
        Kind::Log => value.max(axis.scale.lo),
        Kind::Linear => value,
    }
}

fn boxes(panel: &Panel, rects: &[Rect], color: Color) -> Value {
    let row = |rect: &Rect| {
        json!({
            "x": number(shown(panel, rect.left, false)),
            "x2": number(shown(panel, rect.right, false)),
            "y": number(shown(panel, rect.bottom, true)),
            "y2": number(shown(panel, rect.top, true)),
        })
    };
    json!({
        "data": { "values": rects.iter().map(row).collect::<Vec<_>>() },
        "mark": {
            "type": "rect",
            "color": hex(color),
            "opacity": color.alpha,
            "clip": true,
        },
        "encoding": {
            "x2": { "field": "x2" },
            "y2": { "field": "y2" },
            "tooltip": [
                { "field": "x", "type": "quantitative", "title": "from" },
                { "field": "x2", "type": "quantitative", "title": "to" },
                { "field": "y2", "type": "quantitative", "title": "value" },
            ],
        },
    })
}

/// A picture of numbers, cell by cell.
fn picture(panel: &Panel, area: &Rect, columns: usize, cells: &[[u8; 3]]) -> Result<Value> {
    if panel.cells.len() != cells.len() || columns == 0 {
        return Err(none("its colours are no numbers"));
    }
    if cells.len() > MOST_ROWS {
        return Err(none("it has too many cells"));
    }
    let rows = cells.len() / columns;
    let width = (area.right - area.left) / columns as f64;
    // From the top down, whichever way the axis goes.
    let height = (area.bottom - area.top) / rows.max(1) as f64;
    let row = |(i, (rgb, value)): (usize, (&[u8; 3], &f64))| {
        let (left, top) = ((i % columns) as f64 * width, (i / columns) as f64 * height);
        let [r, g, b] = rgb;
        json!({
            "x": number(area.left + left),
            "x2": number(area.left + left + width),
            "y": number(area.top + top),
            "y2": number(area.top + top + height),
            "v": number(*value),
            "row": i / columns,
            "column": i % columns,
            "c": format!("#{r:02x}{g:02x}{b:02x}"),
        })
    };
    let values = cells.iter().zip(&panel.cells).enumerate().map(row);
    Ok(json!({
        "data": { "values": values.collect::<Vec<_>>() },
        "mark": { "type": "rect", "clip": true, "strokeWidth": 0 },
        "encoding": {
            "x2": { "field": "x2" },
            "y2": { "field": "y2" },
            "color": { "field": "c", "type": "nominal", "scale": null, "legend": null },
            "tooltip": [
                { "field": "row", "type": "quantitative" },
                { "field": "column", "type": "quantitative" },
                { "field": "v", "type": "quantitative", "title": "value" },
            ],
        },
    }))
}

fn word(text: &Text) -> Value {
    let align = match text.anchor {
        Anchor::Start => "left",
        Anchor::Middle => "center",
        Anchor::End => "right",
    };
    json!({
        "data": { "values": [{ "x": number(text.at[0]), "y": number(text.at[1]) }] },
        "mark": {
            "type": "text",
            "text": text.text,
            "fontSize": text.size,
            "color": hex(text.color),
            "align": align,
            "baseline": "middle",
            "angle": if text.upright { 270 } else { 0 },
            "clip": true,
        },
    })
}
