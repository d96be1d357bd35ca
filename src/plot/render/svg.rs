//! SVG: plotters writes lines, discs, rectangles and text; pictures are embedded as PNG, because a rectangle for every
//! cell would make files of megabytes with seams between the cells.

use super::encode_png;
use crate::color::Color;
use crate::font;
use crate::layout::Scene;
use crate::mark::{Anchor, Mark, Rect, Text, arrow_head};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color as _, FontFamily, FontTransform, IntoFont, RGBAColor, ShapeStyle, TextStyle,
};
use std::fmt::Write;

/// plotters takes whole pixels: it draws on a grid that is this much finer than the figure's.
pub(super) const UNIT: f64 = 10.0;
/// How far plotters puts a text's baseline below its place, in ems (`dy` for `VPos::Top`).
const DY: f64 = 0.76;
/// plotters divides sizes of fonts by this.
const FONT_SCALE: f64 = 1.24;

/// The scene as an SVG document; `description` is for those who cannot see it.
pub(crate) fn draw(scene: &Scene, description: &str) -> String {
    let mut svg = open(scene, description, "");
    for mark in &scene.marks {
        draw_mark(&mut svg, size(scene), mark);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Scenes one after another, `seconds` each. What they begin and end with in common is written once.
pub(crate) fn animate(scenes: &[Scene], description: &str, seconds: f64, repeat: bool) -> String {
    let Some(first) = scenes.first() else {
        return String::new();
    };
    let same = |at: fn(&[Mark], usize) -> Option<&Mark>, i: usize| {
        let mark = at(&first.marks, i);
        mark.is_some() && scenes.iter().all(|scene| at(&scene.marks, i) == mark)
    };
    let shortest = scenes.iter().map(|s| s.marks.len()).min().unwrap_or(0);
    let from_start: fn(&[Mark], usize) -> Option<&Mark> = |marks, i| marks.get(i);
    let from_end: fn(&[Mark], usize) -> Option<&Mark> = |marks, i| marks.iter().rev().nth(i);
    let before = (0..shortest).take_while(|i| same(from_start, *i)).count();
    let after = (0..shortest - before)
        .take_while(|i| same(from_end, *i))
        .count();
    let mut svg = open(first, description, "");
    let size = size(first);
    let write = |svg: &mut String, marks: Option<&[Mark]>| {
        let marks = marks.unwrap_or_default();
        marks.iter().for_each(|mark| draw_mark(svg, size, mark));
    };
    write(&mut svg, first.marks.get(..before));
    let (n, total) = (scenes.len(), seconds * scenes.len() as f64);
    for (i, scene) in scenes.iter().enumerate() {
        let last = i + 1 == n;
        let share = |i: usize| (i as f64 / n as f64 * 1e6).round() / 1e6;
        let (values, times) = match (i, last) {
            (0, true) => ("visible".to_string(), "0".to_string()),
            (0, false) => ("visible;hidden".to_string(), format!("0;{}", share(1))),
            (_, true) => ("hidden;visible".to_string(), format!("0;{}", share(i))),
            _ => (
                "hidden;visible;hidden".to_string(),
                format!("0;{};{}", share(i), share(i + 1)),
            ),
        };
        let count = if repeat { "indefinite" } else { "1" };
        let _ = writeln!(
            svg,
            "<g visibility=\"{}\"><animate attributeName=\"visibility\" calcMode=\"discrete\" \
             values=\"{values}\" keyTimes=\"{times}\" dur=\"{total}s\" repeatCount=\"{count}\" \
             fill=\"freeze\"/>",
            if last { "visible" } else { "hidden" }
        );
        write(&mut svg, scene.marks.get(before..scene.marks.len() - after));
        svg.push_str("</g>\n");
    }
    write(&mut svg, first.marks.get(first.marks.len() - after..));
    svg.push_str("</svg>\n");
    svg
}

/// The size of the grid that plotters draws on.
pub(super) fn size(scene: &Scene) -> (u32, u32) {
    ((scene.width * UNIT) as u32, (scene.height * UNIT) as u32)
}

/// The beginning of a document, and its ground; `more` are attributes of the root.
pub(super) fn open(scene: &Scene, description: &str, more: &str) -> String {
    let (width, height) = size(scene);
    let mut svg = String::new();
    // Round joins: a noisy line would have spikes.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\" \
         stroke-linejoin=\"round\" stroke-linecap=\"butt\"{more}>",
        scene.width,
        scene.height,
        escape(description)
    );
    let whole = Rect {
        left: 0.0,
        top: 0.0,
        right: scene.width,
        bottom: scene.height,
    };
    let background = Mark::Rects {
        rects: vec![whole],
        color: scene.background,
    };
    draw_mark(&mut svg, (width, height), &background);
    svg
}

pub(super) fn draw_mark(svg: &mut String, size: (u32, u32), mark: &Mark) {
    match mark {
        Mark::Polyline {
            points,
            color,
            width,
        } => svg.push_str(&elements(size, |back| {
            let style = shape(*color, ((width * UNIT).round() as u32).max(1));
            let _ = back.draw_path(points.iter().map(|p| grid(*p)), &style);
        })),
        Mark::Points {
            points,
            colors,
            radius,
        } => discs(svg, points, colors, *radius),
        Mark::Polygon { points, color } => polygon(svg, points, *color),
        Mark::Arrows {
            arrows,
            colors,
            width,
            ..
        } => {
            for ([from, to], color) in arrows.iter().zip(colors.iter().cycle()) {
                let (end, head) = arrow_head(*from, *to, *width);
                let ((x0, y0), (x1, y1)) = (grid(*from), grid(end));
                let _ = writeln!(
                    svg,
                    "<path stroke=\"{}\" stroke-width=\"{}\" d=\"M{x0},{y0}L{x1},{y1}\"/>",
                    hex(*color),
                    (width * UNIT).round()
                );
                polygon(svg, &head, *color);
            }
        }
        Mark::Rects { rects, color } => {
            // Smoothed edges of neighbours would leave a seam.
            svg.push_str("<g shape-rendering=\"crispEdges\">\n");
            svg.push_str(&elements(size, |back| {
                for r in rects {
                    let (from, to) = (grid([r.left, r.top]), grid([r.right, r.bottom]));
                    let _ = back.draw_rect(from, to, &shape(*color, 0), true);
                }
            }));
            svg.push_str("</g>\n");
        }
        Mark::Image {
            area,
            columns,
            cells,
        } => image(svg, area, *columns, cells),
        Mark::Text(text) => svg.push_str(&elements(size, |back| {
            let (at, style) = text_style(text);
            let _ = back.draw_text(&printable(&text.text), &style, at);
        })),
    }
}

/// Discs of one colour share it: a cloud of thousands would say it thousands of times.
fn discs(svg: &mut String, points: &[[f64; 2]], colors: &[Color], radius: f64) {
    let radius = ((radius * UNIT).round() as u32).max(1);
    let colored: Vec<(&[f64; 2], &Color)> = points.iter().zip(colors.iter().cycle()).collect();
    for run in colored.chunk_by(|a, b| a.1 == b.1) {
        let Some((_, color)) = run.first() else {
            continue;
        };
        let _ = writeln!(svg, "<g fill=\"{}\"{}>", hex(**color), opacity(**color));
        for (point, _) in run {
            let (x, y) = grid(**point);
            let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>");
        }
        svg.push_str("</g>\n");
    }
}

fn polygon(svg: &mut String, points: &[[f64; 2]], color: Color) {
    let corners: Vec<String> = points
        .iter()
        .map(|p| {
            let (x, y) = grid(*p);
            format!("{x},{y}")
        })
        .collect();
    let _ = writeln!(
        svg,
        "<polygon fill=\"{}\"{} points=\"{}\"/>",
        hex(color),
        opacity(color),
        corners.join(" ")
    );
}

pub(super) fn hex(color: Color) -> String {
    let [r, g, b] = color.rgb;
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// The attribute for a colour that is not opaque.
fn opacity(color: Color) -> String {
    match color.alpha {
        alpha if alpha < 1.0 => format!(" fill-opacity=\"{}\"", (alpha * 100.0).round() / 100.0),
        _ => String::new(),
    }
}

/// What plotters writes for `draw`, without the root element around it. (Writing to a string cannot fail.)
fn elements(size: (u32, u32), draw: impl FnOnce(&mut SVGBackend)) -> String {
    let mut document = String::new();
    {
        let mut back = SVGBackend::with_string(&mut document, size);
        draw(&mut back);
        let _ = back.present();
    }
    let inner = document.split_once('\n').map_or("", |(_, rest)| rest);
    let inner = inner.strip_suffix("</svg>\n").unwrap_or(inner);
    // These say nothing that is not the default.
    inner
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "")
        .replace(" stroke-width=\"0\"", "")
        .replace(" \"/>", "\"/>")
}

fn grid([x, y]: [f64; 2]) -> (i32, i32) {
    ((x * UNIT).round() as i32, (y * UNIT).round() as i32)
}

fn rgba(color: Color) -> RGBAColor {
    let [r, g, b] = color.rgb;
    // Three digits are enough and keep the file small.
    RGBAColor(r, g, b, (color.alpha * 1000.0).round() / 1000.0)
}

fn shape(color: Color, stroke_width: u32) -> ShapeStyle {
    ShapeStyle {
        color: rgba(color),
        filled: true,
        stroke_width,
    }
}

/// plotters' place and style for a text, so that its capitals are centred on the text's place.
fn text_style(text: &Text) -> ((i32, i32), TextStyle<'static>) {
    // From the middle of a capital down to the baseline, less what plotters adds.
    let shift = (font::CAP_HEIGHT / 2.0 - DY) * text.size;
    let [x, y] = text.at;
    let (at, transform) = match text.upright {
        true => (grid([x + shift, y]), FontTransform::Rotate270),
        false => (grid([x, y + shift]), FontTransform::None),
    };
    let anchor = match text.anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    let size = text.size * UNIT * FONT_SCALE;
    let font = (FontFamily::Name(font::FAMILY), size).into_font();
    let style = TextStyle {
        font: font.transform(transform),
        color: rgba(text.color).to_backend_color(),
        pos: Pos::new(anchor, VPos::Top),
    };
    (at, style)
}

/// An `image` element. Few cells are enlarged, because some viewers blur what they enlarge themselves.
fn image(svg: &mut String, area: &Rect, columns: usize, cells: &[[u8; 3]]) {
    let rows = cells.len() / columns.max(1);
    if rows == 0 || columns == 0 {
        return;
    }
    let factor = |length: f64, n: usize| ((2.0 * length / n as f64).ceil() as usize).clamp(1, 64);
    let (across, upwards) = (factor(area.width(), columns), factor(area.height(), rows));
    let mut pixels = Vec::with_capacity(cells.len() * across * upwards * 3);
    for row in cells.chunks_exact(columns) {
        let line: Vec<u8> = row
            .iter()
            .flat_map(|cell| std::iter::repeat_n(*cell, across).flatten())
            .collect();
        (0..upwards).for_each(|_| pixels.extend_from_slice(&line));
    }
    let (width, height) = ((columns * across) as u32, (rows * upwards) as u32);
    // Encoding to memory fails only for an empty picture, which was excluded.
    let Ok(file) = encode_png(&pixels, width, height) else {
        return;
    };
    let ((x, y), (right, bottom)) = (grid([area.left, area.top]), grid([area.right, area.bottom]));
    let _ = writeln!(
        svg,
        "<image x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
         style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
        right - x,
        bottom - y,
        STANDARD.encode(file)
    );
}

/// `text` without the characters that XML does not take.
fn printable(text: &str) -> String {
    let taken = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().filter(taken).collect()
}

pub(super) fn escape(text: &str) -> String {
    printable(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use crate::figure::LineOptions;
    use crate::{Figure, Series, Theme};

    fn figure(title: &str) -> Figure {
        let series = Series {
            x: None,
            y: vec![1.0, 2.0],
        };
        let options = LineOptions {
            title: title.to_string(),
            ..Default::default()
        };
        Figure::line(vec![series], options).unwrap()
    }

    #[test]
    fn titles_are_escaped() {
        let svg = figure("a < b & \"c\" > d").svg(Theme::Light);
        assert!(svg.contains("a &lt; b &amp; &quot;c&quot; &gt; d"), "{svg}");
        assert!(!svg.contains("a < b"));
        assert!(
            !figure("a\u{1b}[31m\0")
                .svg(Theme::Light)
                .contains(['\u{1b}', '\0'])
        );
    }

    #[test]
    fn one_root_element_holds_everything() {
        let svg = figure("t").svg(Theme::Light);
        assert_eq!(
            (svg.matches("<svg").count(), svg.matches("</svg>").count()),
            (1, 1)
        );
        assert!(svg.starts_with("<svg xmlns") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("width=\"640\" height=\"420\" viewBox=\"0 0 6400 4200\""));
        assert!(svg.contains("sans-serif"));
    }

    #[test]
    fn a_page_holds_the_figure() {
        let html = figure("t").html(Some(Theme::Dark));
        assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<svg"));
        assert!(html.contains("background: #16181d"));
    }
}
