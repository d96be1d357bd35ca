//! Figures as Vega-Lite v5: to zoom and move in a notebook, with the values under the pointer.
//!
//! A figure's panels become layered views, mark by mark, in the coordinates of the data; so what can be drawn here is
//! decided by its marks, not by its kind. What Vega-Lite has no mark for (arrows, pictures of colours without numbers)
//! and what is too much for a page is an error: the figure has no such form.

mod legend;
mod marks;

use serde_json::{Value, json};

use crate::axis::{Axis, Ticks};
use crate::color::{Color, Palette, Theme};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::mark::Rect;
use crate::panel::{Panel, Placed};
use crate::scale::Kind;

/// What the form is called in a notebook.
pub const MIME: &str = "application/vnd.vegalite.v5+json";

/// Room for ticks and labels: left and right, above and below, in pixels.
const MARGINS: [f64; 2] = [72.0, 84.0];

/// The figure as a specification in JSON.
pub(crate) fn draw(figure: &Figure) -> Result<String> {
    let palette = Palette::new(Theme::Light);
    let [width, height] = figure.size();
    let area = Rect {
        left: 0.0,
        top: 0.0,
        right: width,
        bottom: height,
    };
    let panels = figure.lower(area, &palette);
    let views: Vec<Value> = panels
        .iter()
        .enumerate()
        .map(|(i, placed)| view(placed, i))
        .collect::<Result<_>>()?;
    let mut spec = match <[Value; 1]>::try_from(views) {
        Ok([view]) => view,
        Err(views) => concatenated(figure, &panels, views),
    };
    if let Some(object) = spec.as_object_mut() {
        let schema = "https://vega.github.io/schema/vega-lite/v5.json";
        object.insert("$schema".into(), json!(schema));
        object.insert("background".into(), json!(hex(palette.background)));
        object.insert("description".into(), json!(figure.describe()));
    }
    Ok(spec.to_string())
}

/// Several panels side by side, as many in a row as stand in the first one.
fn concatenated(figure: &Figure, panels: &[Placed], views: Vec<Value>) -> Value {
    let top = panels.first().map_or(0.0, |placed| placed.area.top);
    let in_first = |placed: &&Placed| (placed.area.top - top).abs() < 1.0;
    let columns = panels.iter().filter(in_first).count().max(1);
    let mut spec = json!({ "concat": views, "columns": columns });
    if let Some(title) = figure.title() {
        spec["title"] = json!(title);
    }
    spec
}

/// A panel as a layered view.
fn view(placed: &Placed, number: usize) -> Result<Value> {
    let panel = &placed.panel;
    let size = [
        (placed.area.width() - MARGINS[0]).max(60.0).round(),
        (placed.area.height() - MARGINS[1]).max(40.0).round(),
    ];
    let size = match panel.equal {
        true => of_one_unit(panel, size),
        false => size,
    };
    let mut layers = marks::layers(panel, size)?;
    layers.extend(legend::layers(panel));
    if let Some(object) = layers.first_mut().and_then(Value::as_object_mut) {
        // The wheel zooms, dragging moves, a double click goes back.
        let zoom =
            json!([{ "name": format!("zoom{number}"), "select": "interval", "bind": "scales" }]);
        object.insert("params".into(), zoom);
    }
    let mut view = json!({
        "width": size[0],
        "height": size[1],
        "encoding": { "x": axis(&panel.x, "x"), "y": axis(&panel.y, "y") },
        "layer": layers,
        "resolve": { "scale": { "color": "independent", "stroke": "independent", "fill": "independent" } },
    });
    if !panel.title.is_empty() || !panel.notes.is_empty() {
        view["title"] = json!({
            "text": panel.title,
            "subtitle": panel.notes,
            "subtitleColor": "#80868f",
        });
    }
    Ok(view)
}

/// The size at which a unit is as long across as upwards.
fn of_one_unit(panel: &Panel, [width, height]: [f64; 2]) -> [f64; 2] {
    let aspect = (panel.y.scale.hi - panel.y.scale.lo).abs()
        / (panel.x.scale.hi - panel.x.scale.lo)
            .abs()
            .max(f64::MIN_POSITIVE);
    let aspect = aspect.clamp(0.05, 20.0);
    match width * aspect > height {
        true => [(height / aspect).max(40.0).round(), height],
        false => [width, (width * aspect).max(40.0).round()],
    }
}

/// The encoding of an axis.
fn axis(axis: &Axis, field: &str) -> Value {
    let kind = match axis.scale.kind {
        Kind::Linear => "linear",
        Kind::Log => "log",
    };
    let scale = json!({
        "type": kind,
        "domain": [axis.scale.lo, axis.scale.hi],
        "nice": false,
        "zero": false,
    });
    let title = match axis.label.is_empty() {
        true => Value::Null,
        false => json!(axis.label),
    };
    let look = match &axis.ticks {
        Ticks::None => Value::Null,
        Ticks::Auto => json!({ "title": title, "grid": axis.grid }),
        Ticks::Integers => json!({ "title": title, "grid": axis.grid, "tickMinStep": 1 }),
        Ticks::Named(names) => json!({
            "title": title,
            "grid": axis.grid,
            "values": (0..names.len()).collect::<Vec<_>>(),
            // A JSON array of strings is one of Vega's expressions, too.
            "labelExpr": format!("{}[datum.value]", json!(names)),
        }),
    };
    json!({ "field": field, "type": "quantitative", "scale": scale, "axis": look })
}

/// A colour without its opacity.
fn hex(Color { rgb: [r, g, b], .. }: Color) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// A number in JSON, which has no infinity and no NaN.
fn number(value: f64) -> Value {
    // Seven digits are more than a screen shows.
    let short: f64 = format!("{value:.6e}").parse().unwrap_or(value);
    match value.is_finite() {
        true => json!(short),
        false => Value::Null,
    }
}

/// Why a figure has no such form.
fn none(reason: &'static str) -> Error {
    Error::Interactive { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{ALL, LineOptions, Series};

    fn spec(figure: &Figure) -> Value {
        serde_json::from_str(&draw(figure).unwrap()).unwrap()
    }

    #[test]
    fn every_kind_has_a_form_or_says_that_it_has_none() {
        let numbers = [1.0, 3.0, 2.0, 5.0, f64::NAN, 4.0];
        let mut without = Vec::new();
        for kind in ALL {
            let figure = (kind.sample)(&numbers).unwrap();
            match draw(&figure) {
                Ok(text) => {
                    let spec: Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(
                        spec["$schema"],
                        "https://vega.github.io/schema/vega-lite/v5.json"
                    );
                    assert!(
                        spec["layer"].is_array() || spec["concat"].is_array(),
                        "{}",
                        kind.name
                    );
                    assert!(!text.contains("NaN"), "{}", kind.name);
                }
                Err(error) => {
                    assert!(error.to_string().contains("no interactive form"), "{error}");
                    without.push(kind.name);
                }
            }
        }
        assert_eq!(without, ["contour", "quiver", "graph", "image", "images"]);
    }

    #[test]
    fn a_line_keeps_its_numbers_and_its_gaps() {
        let series = Series {
            x: None,
            y: vec![1.5, f64::NAN, 2.5],
        };
        let options = LineOptions {
            log_y: true,
            labels: vec!["loss".into()],
            y_label: "nats".into(),
            ..Default::default()
        };
        let spec = spec(&Figure::line(vec![series], options).unwrap());
        let line = &spec["layer"][0];
        assert_eq!(line["mark"]["type"], "line");
        assert_eq!(line["data"]["values"][0]["y"], 1.5);
        assert_eq!(line["data"]["values"][1]["y"], Value::Null);
        assert_eq!(line["data"]["values"][2]["x"], 2.0);
        assert_eq!(spec["encoding"]["y"]["scale"]["type"], "log");
        assert_eq!(spec["encoding"]["y"]["axis"]["title"], "nats");
        assert_eq!(line["params"][0]["bind"], "scales");
        let names: Vec<&Value> = spec["layer"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| &layer["encoding"]["stroke"]["scale"]["domain"][0])
            .collect();
        assert!(names.contains(&&json!("loss")), "{names:?}");
    }
}
