//! What stands beside a view: names of series, a scale of colours. Colours of marks are final, so that legends need layers of
//! their own, whose marks are not seen.

use serde_json::{Value, json};

use super::hex;
use crate::panel::{ColorBar, Key, Panel, Shape};

/// Colours of a scale.
const STEPS: usize = 16;

/// The layers of a panel's legends.
pub(super) fn layers(panel: &Panel) -> Vec<Value> {
    let names = (!panel.legend.is_empty()).then(|| names(&panel.legend));
    let colors = panel.bar.as_ref().map(colors);
    let place = |layer: Value| at(panel, layer);
    names.into_iter().chain(colors).map(place).collect()
}

/// Puts the data of a layer at a corner of the panel, where they widen no axis.
fn at(panel: &Panel, mut layer: Value) -> Value {
    if let Some(rows) = layer["data"]["values"].as_array_mut() {
        for row in rows {
            row["x"] = json!(panel.x.scale.lo);
            row["y"] = json!(panel.y.scale.lo);
        }
    }
    layer
}

fn names(keys: &[Key]) -> Value {
    let labels: Vec<&str> = keys.iter().map(|key| key.label.as_str()).collect();
    let colors: Vec<String> = keys.iter().map(|key| hex(key.color)).collect();
    let shape = match keys.first().map(|key| key.shape) {
        Some(Shape::Disc) => "circle",
        Some(Shape::Box) => "square",
        Some(Shape::Line) | None => "stroke",
    };
    let rows: Vec<Value> = labels.iter().map(|label| json!({ "k": label })).collect();
    json!({
        "data": { "values": rows },
        "mark": { "type": "point", "opacity": 0 },
        "encoding": {
            "stroke": {
                "field": "k",
                "type": "nominal",
                "scale": { "domain": labels, "range": colors },
                "legend": {
                    "title": null,
                    "symbolType": shape,
                    "symbolOpacity": 1,
                    "symbolStrokeWidth": 2.5,
                },
            },
        },
    })
}

fn colors(bar: &ColorBar) -> Value {
    let at = |i: usize| {
        let value = bar.lo + (bar.hi - bar.lo) * i as f64 / (STEPS - 1) as f64;
        hex(bar.color(value))
    };
    let range: Vec<String> = (0..STEPS).map(at).collect();
    let title = match bar.label.is_empty() {
        true => Value::Null,
        false => json!(bar.label),
    };
    json!({
        "data": { "values": [{ "v": bar.lo }, { "v": bar.hi }] },
        "mark": { "type": "point", "opacity": 0 },
        "encoding": {
            "fill": {
                "field": "v",
                "type": "quantitative",
                "scale": { "domain": [bar.lo, bar.hi], "range": range, "nice": false, "zero": false },
                "legend": { "title": title, "gradientOpacity": 1 },
            },
        },
    })
}
