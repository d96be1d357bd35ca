//! Web pages that need nothing else. A figure's page holds its SVG with the marks of each panel apart, and a script
//! that zooms, moves and reads off (`page.js`).

use super::svg::{UNIT, draw_mark, escape, hex, open, size};
use crate::axis::{Axis, Ticks};
use crate::color::Color;
use crate::layout::{Part, Scene};
use crate::scale::Kind;
use std::fmt::Write;

/// More numbers than this are not written beside their picture.
const MOST_CELLS: usize = 40_000;

/// A figure's page, drawn once a theme: the first of them on light screens, the second on dark ones.
pub(crate) fn page(scenes: &[Scene], description: &str) -> String {
    let drawn: Vec<String> = scenes
        .iter()
        .enumerate()
        .map(|(i, scene)| draw(scene, description, i))
        .collect();
    let mut style = String::new();
    for (i, scene) in scenes.iter().enumerate() {
        let ground = hex(scene.background);
        let rules = format!(
            "body {{ background: {ground} }} #figure{i} {{ display: block }} \
             #figure{} {{ display: none }}",
            1 - i.min(1)
        );
        let _ = match i {
            0 => writeln!(style, "{rules}"),
            _ => writeln!(style, "@media (prefers-color-scheme: dark) {{ {rules} }}"),
        };
    }
    let script = format!("<script>\n{}</script>\n", include_str!("page.js"));
    let hint = "Wheel or + and − zoom, dragging or arrow keys move, 0 or a double click goes back; \
                n and p go from point to point.";
    frame(
        description,
        &style,
        &format!(
            "{}<p>{hint}</p>\n<output></output>\n{script}",
            drawn.concat()
        ),
    )
}

/// A page that shows a picture and does nothing.
pub(crate) fn bare(svg: &str, description: &str, ground: Color) -> String {
    let style = format!("body {{ background: {} }}", hex(ground));
    frame(description, &style, svg)
}

fn frame(title: &str, style: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>\nbody {{ margin: 0; min-height: 100vh; display: grid; place-content: center; \
         justify-items: center; font: 12px sans-serif }}\n\
         svg {{ max-width: 100%; height: auto; touch-action: none }} svg text {{ user-select: none }}\n\
         p {{ color: #80868f; margin: 8px; max-width: 80ch }}\n\
         output {{ position: fixed; display: none; pointer-events: none; padding: 4px 8px; \
         border-radius: 4px; background: #2a2e35; color: #eceef1; white-space: pre }}\n\
         {style}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}

/// The scene as SVG whose panels are groups that the script finds.
fn draw(scene: &Scene, description: &str, theme: usize) -> String {
    let more = format!(" id=\"figure{theme}\" tabindex=\"0\"");
    let mut svg = open(scene, description, &more);
    for (i, mark) in scene.marks.iter().enumerate() {
        for (n, part) in scene.parts.iter().enumerate() {
            between(&mut svg, part, i, &format!("{theme}-{n}"));
        }
        draw_mark(&mut svg, size(scene), mark);
    }
    for (n, part) in scene.parts.iter().enumerate() {
        between(&mut svg, part, scene.marks.len(), &format!("{theme}-{n}"));
    }
    svg.push_str("</svg>\n");
    svg
}

/// The tags that stand before the mark number `i`: a panel is a group of a grid, its data, and its axes, in this order.
fn between(svg: &mut String, part: &Part, i: usize, name: &str) {
    if i == part.grid.start {
        let [left, top] = [part.plot.left, part.plot.top].map(|v| v * UNIT);
        let [width, height] = [part.plot.width(), part.plot.height()].map(|v| v * UNIT);
        let cells = match part.cells.len() {
            n if n <= MOST_CELLS => part.cells.iter().map(|v| short(*v)).collect(),
            _ => Vec::new(),
        };
        let cells: Vec<String> = cells;
        let _ = writeln!(
            svg,
            "<g class=\"panel\" data-box=\"[{left:.1},{top:.1},{width:.1},{height:.1}]\" \
             data-x=\"{}\" data-y=\"{}\" data-columns=\"{}\" data-cells=\"[{}]\">\n\
             <clipPath id=\"clip{name}\"><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\"/></clipPath>\n<g class=\"grid\">",
            escape(&axis(&part.x)),
            escape(&axis(&part.y)),
            part.columns,
            cells.join(",")
        );
    }
    if i == part.data.start {
        let _ = writeln!(
            svg,
            "</g>\n<g clip-path=\"url(#clip{name})\"><g class=\"data\">"
        );
    }
    if i == part.axes.start {
        svg.push_str("</g></g>\n<g class=\"axes\">\n");
    }
    if i == part.axes.end {
        svg.push_str("</g>\n</g>\n");
    }
}

/// A number in four digits, as JSON.
fn short(value: f64) -> String {
    match value.is_finite() {
        true => format!("{value:.3e}"),
        false => "null".to_string(),
    }
}

/// An axis as JSON.
fn axis(axis: &Axis) -> String {
    let (kind, names) = match &axis.ticks {
        Ticks::None => ("none", Vec::new()),
        Ticks::Integers => ("integers", Vec::new()),
        Ticks::Named(names) => ("names", names.clone()),
        Ticks::Auto => ("numbers", Vec::new()),
    };
    let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
    format!(
        "{{\"lo\":{:e},\"hi\":{:e},\"log\":{},\"kind\":\"{kind}\",\"grid\":{},\"label\":{},\"names\":[{}]}}",
        axis.scale.lo,
        axis.scale.hi,
        axis.scale.kind == Kind::Log,
        axis.grid,
        quote(&axis.label),
        quoted.join(",")
    )
}

/// A text as a JSON string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::ALL;

    #[test]
    fn every_kind_is_one_page_with_balanced_groups_and_no_address() {
        for kind in ALL {
            let figure = (kind.sample)(&[1.0, 2.0, 3.0]).unwrap();
            let page = figure.html(None);
            let count = |tag: &str| page.matches(tag).count();
            assert_eq!(count("<g>") + count("<g "), count("</g>"), "{}", kind.name);
            assert_eq!(
                (count("<script>"), count("</script>")),
                (1, 1),
                "{}",
                kind.name
            );
            assert_eq!(count("<svg"), 2, "{}", kind.name);
            // The name of the SVG format is the only address.
            assert_eq!(
                count("http"),
                count("http://www.w3.org/2000/svg"),
                "{}",
                kind.name
            );
        }
    }

    #[test]
    fn names_cannot_end_their_attribute() {
        assert_eq!(quote("a\"b\\c\n"), "\"a\\\"b\\\\c \"");
        assert_eq!(short(f64::NAN), "null");
        assert_eq!(short(1234567.0), "1.235e6");
    }
}
