//! `plot::graph`: nodes and edges out of numbers or names.

use rhai::{Array, Dynamic, ImmutableString, Map};
use rhapsode_plot::{
    Figure,
    figure::{Edges, GraphOptions},
};
use rhapsode_tensor::Tensor;

use super::figure::{INTERACTIVE, INTERACTIVE_TEXT, shown};
use super::numbers::{list, of_option, pairs, picture};
use crate::{
    Kind,
    bind::{Outcome, number},
    fault::{Fault, Spot},
    library::Library,
    options,
    value::type_word,
};

pub(super) fn bind(library: &mut Library) {
    library
        .function(
            "plot::graph",
            "(edges: array | Tensor, options?: map) -> Figure",
            r#"
            Nodes and edges. An edge is `[from, to]` or `[from, to, weight]`, with numbers of nodes from 0 or with names; a
            Tensor is `[edges, 2]` or `[edges, 3]`.

            ```rhai
            plot::graph([["a", "b"], ["b", "c"], ["c", "a"]], #{ directed: true });
            ```
            "#,
        )
        .options::<GraphOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .besides("positions", "array | Tensor", None, "Where the nodes stand, `[nodes, 2]` (default: as `layout` puts them).")
        .besides("values", "array | Tensor", None, "A number a node that colours it (default: none).")
        .call(|edges: Dynamic| graph(&edges, Map::new()))
        .call(|edges: Dynamic, map: Map| graph(&edges, map));
}

fn graph(edges: &Dynamic, mut map: Map) -> Outcome<Figure> {
    let positions = of_option(&mut map, "positions", |value| pairs(value, 0))?;
    let values = of_option(&mut map, "values", |value| list(value, 0))?;
    let mut chosen: GraphOptions =
        options::read_besides(&map, &["positions", "values", INTERACTIVE])?;
    let ((ends, weights), names) = match edges.read_lock::<Tensor>() {
        Some(_) => (of_tensor(edges)?, Vec::new()),
        None => of_array(edges)?,
    };
    if chosen.labels.is_empty() {
        chosen.labels = names;
    }
    let edges = Edges {
        ends,
        weights,
        positions,
        values,
    };
    shown(&map, Figure::graph(edges, chosen))
}

fn wrong(message: String) -> Fault {
    Fault::new(Kind::Value, message)
        .at(Spot::Argument(0))
        .hint("an edge is [from, to] or [from, to, weight]")
}

/// The number of a node.
fn node(value: f64) -> Result<usize, Fault> {
    match value >= 0.0 && value.fract() == 0.0 && value < 9e15 {
        true => Ok(value as usize),
        false => Err(wrong(format!("expected the number of a node, got {value}"))),
    }
}

/// Edges and, where they have any, their weights.
type Ends = (Vec<[usize; 2]>, Option<Vec<f64>>);

fn of_tensor(edges: &Dynamic) -> Result<Ends, Fault> {
    let (values, shape) = picture(edges)?;
    let &[_, width @ (2 | 3)] = shape.as_slice() else {
        let message = format!("expected edges [n, 2] or [n, 3], got shape {shape:?}");
        return Err(Fault::new(Kind::Shape, message).at(Spot::Argument(0)));
    };
    let (mut ends, mut weights) = (Vec::new(), Vec::new());
    for row in values.chunks_exact(width) {
        if let [from, to, weight @ ..] = row {
            ends.push([node(*from)?, node(*to)?]);
            weights.extend(weight);
        }
    }
    Ok((ends, (width == 3).then_some(weights)))
}

/// Edges out of nested arrays, and the names of the nodes where they have names.
fn of_array(edges: &Dynamic) -> Result<(Ends, Vec<String>), Fault> {
    let unfit = |value: &Dynamic| {
        let got = type_word(value.type_name()).to_string();
        Fault::expected("an array of edges or a Tensor", &got)
            .at(Spot::Argument(0))
            .hint("an edge is [from, to] or [from, to, weight]")
    };
    let array = edges.read_lock::<Array>().ok_or_else(|| unfit(edges))?;
    let (mut ends, mut weights) = (Vec::new(), Vec::new());
    let mut names: Vec<String> = Vec::new();
    for (i, edge) in array.iter().enumerate() {
        let parts = edge.read_lock::<Array>().ok_or_else(|| unfit(edge))?;
        let (from, to, weight) = match parts.as_slice() {
            [from, to] => (from, to, None),
            [from, to, weight] => (from, to, Some(weight)),
            other => {
                return Err(wrong(format!(
                    "edge {i}: expected 2 or 3 items, got {}",
                    other.len()
                )));
            }
        };
        ends.push([end(from, &mut names)?, end(to, &mut names)?]);
        let weight = weight.map(|w| {
            let got = || {
                wrong(format!(
                    "edge {i}: expected a number as weight, got {}",
                    type_word(w.type_name())
                ))
            };
            number(w).ok_or_else(got)
        });
        weights.extend(weight.transpose()?);
    }
    if !weights.is_empty() && weights.len() < ends.len() {
        let (some, all) = (weights.len(), ends.len());
        return Err(wrong(format!(
            "{some} of {all} edges have a weight: expected all or none"
        )));
    }
    let weights = (!weights.is_empty()).then_some(weights);
    Ok(((ends, weights), names))
}

/// The node at one end of an edge; a name is numbered when it is first met.
fn end(value: &Dynamic, names: &mut Vec<String>) -> Result<usize, Fault> {
    let Some(name) = value.read_lock::<ImmutableString>() else {
        return match number(value) {
            Some(value) => node(value),
            None => {
                let got = type_word(value.type_name());
                Err(wrong(format!(
                    "expected the number or the name of a node, got {got}"
                )))
            }
        };
    };
    let known = names.iter().position(|n| n == name.as_str());
    Ok(known.unwrap_or_else(|| {
        names.push(name.to_string());
        names.len() - 1
    }))
}
