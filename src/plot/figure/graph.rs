//! `graph`: nodes and edges, directed or not, with weights.

use super::options::{
    check_labels, check_length, check_limits, check_number, check_side, color_range,
    size_for_aspect,
};
use super::{Figure, Plot};
use crate::arrange;
use crate::axis::{Axis, counted, number};
use crate::color::{self, Color, ColorMap, Palette};
use crate::error::{Error, Result};
use crate::font;
use crate::mark::{Anchor, Mark, Rect, Text};
use crate::panel::{ColorBar, Panel, Placed};
use crate::scale::{Kind, Scale, extent};
use schemars::JsonSchema;
use serde::Deserialize;

/// More nodes than this take seconds to arrange, and are a blot.
const MOST_NODES: usize = 3000;
/// More edges than this are one surface.
const MOST_EDGES: usize = 20_000;
const TEXT: f64 = 11.0;

/// How nodes are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Springs along the edges, and nodes that push one another away.
    Force,
    /// On a circle, clockwise from the top.
    Circular,
    /// In rows, each node below those that point to it.
    Layered,
}

/// Options of `plot::graph`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GraphOptions {
    /// Text above the figure. Default: none.
    pub title: String,
    /// Number of nodes. Default: as many as labels or positions, else as the edges name.
    pub nodes: Option<usize>,
    /// One name a node. Default: their numbers, where there are at most 60.
    pub labels: Vec<String>,
    /// Where the nodes stand: `"force"`, `"circular"` or `"layered"`; given positions are kept. Default: `"force"`.
    pub layout: Layout,
    /// Whether edges are arrows. Default: false.
    pub directed: bool,
    /// Whether an edge shows its weight as a number. Default: false.
    pub weights: bool,
    /// Diameter of a node in pixels, 1 to 100. Default: 6 to 26, smaller the more nodes there are.
    pub node_size: Option<f64>,
    /// Width of an edge in pixels, 0.1 to 20; with weights, of the heaviest. Default: 1.4, with weights 4.
    pub line_width: Option<f64>,
    /// Colour of the nodes, by name (`"blue"`) or value (`"#0072b2"`). Default: the first of the cycle.
    pub color: Option<String>,
    /// Colours of the nodes' values: `"viridis"`, `"diverging"` or `"gray"`. Default: `"viridis"`.
    pub color_map: ColorMap,
    /// The values, `[low, high]`, at the ends of the colours. Default: least and greatest value.
    pub value_limits: Option<[f64; 2]>,
    /// Text beside the scale of colours. Default: none.
    pub value_label: String,
    /// Width of the figure in pixels, 64 to 4000. Default: from the shape of the graph.
    pub width: Option<u32>,
    /// Height of the figure in pixels, 64 to 4000. Default: from the shape of the graph.
    pub height: Option<u32>,
}

impl Default for GraphOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            nodes: None,
            labels: Vec::new(),
            layout: Layout::Force,
            directed: false,
            weights: false,
            node_size: None,
            line_width: None,
            color: None,
            color_map: ColorMap::Viridis,
            value_limits: None,
            value_label: String::new(),
            width: None,
            height: None,
        }
    }
}

/// Edges between nodes that are numbered from 0.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edges {
    /// The two nodes of each edge: from, to.
    pub ends: Vec<[usize; 2]>,
    /// A weight an edge: how thick it is, by its absolute value.
    pub weights: Option<Vec<f64>>,
    /// Where each node stands.
    pub positions: Option<Vec<[f64; 2]>>,
    /// A number a node that gives it its colour.
    pub values: Option<Vec<f64>>,
}

#[derive(Debug)]
struct Graph {
    edges: Edges,
    places: Vec<[f64; 2]>,
    color: Option<Color>,
    x: Scale,
    y: Scale,
    options: GraphOptions,
}

impl Figure {
    /// Nodes and edges. Errors if an edge names a node that does not exist, if lists that belong together differ in
    /// length, if there are more than 3000 nodes or 20,000 edges, or if an option makes no sense.
    pub fn graph(edges: Edges, options: GraphOptions) -> Result<Self> {
        let named = edges
            .ends
            .iter()
            .flatten()
            .max()
            .map_or(0, |n| n.saturating_add(1));
        let given = [
            options.nodes,
            Some(options.labels.len()).filter(|n| *n > 0),
            edges.positions.as_ref().map(Vec::len),
            edges.values.as_ref().map(Vec::len),
        ];
        let nodes = given.into_iter().flatten().next().unwrap_or(named);
        check(&edges, &options, nodes, named)?;
        let color = options.color.as_deref().map(color::parse).transpose()?;
        let places = match (&edges.positions, options.layout) {
            (Some(positions), _) => positions.clone(),
            (None, Layout::Force) => arrange::springs(nodes, &edges.ends),
            (None, Layout::Circular) => arrange::circle(nodes),
            (None, Layout::Layered) => arrange::layers(nodes, &edges.ends),
        };
        let scale = |axis: usize| {
            let along = places.iter().filter_map(|p| p.get(axis).copied());
            Scale::fit(Kind::Linear, along, 0.12, None)
        };
        let (x, y) = (scale(0), scale(1));
        Ok(Self::new(Graph {
            x,
            y,
            edges,
            places,
            color,
            options,
        }))
    }
}

fn check(edges: &Edges, options: &GraphOptions, nodes: usize, named: usize) -> Result<()> {
    check_labels("labels", &options.labels, nodes)?;
    check_length(
        "positions",
        edges.positions.as_ref().map_or(nodes, Vec::len),
        nodes,
    )?;
    check_length(
        "values",
        edges.values.as_ref().map_or(nodes, Vec::len),
        nodes,
    )?;
    let count = edges.ends.len();
    check_length(
        "weights",
        edges.weights.as_ref().map_or(count, Vec::len),
        count,
    )?;
    for (what, got, most) in [
        ("nodes", nodes.max(named), MOST_NODES),
        ("edges", count, MOST_EDGES),
    ] {
        if got > most {
            return Err(Error::Many { what, got, most });
        }
    }
    if named > nodes {
        return Err(Error::Length {
            what: "nodes",
            expected: named,
            got: nodes,
        });
    }
    let size = options.node_size.unwrap_or(10.0);
    check_number("node_size", size, 1.0..=100.0, "1 to 100 pixels")?;
    let width = options.line_width.unwrap_or(1.0);
    check_number("line_width", width, 0.1..=20.0, "0.1 to 20 pixels")?;
    check_limits("value_limits", options.value_limits, false)?;
    check_side("width", options.width)?;
    check_side("height", options.height)
}

impl Plot for Graph {
    fn size(&self) -> [f64; 2] {
        let GraphOptions { width, height, .. } = self.options;
        let bar = if self.edges.values.is_some() {
            74.0
        } else {
            0.0
        };
        let title = if self.options.title.is_empty() {
            22.0
        } else {
            46.0
        };
        let aspect = (self.y.span() / self.x.span()).clamp(0.35, 1.6);
        size_for_aspect(aspect, 400.0 * 400.0, [26.0 + bar, title], width, height)
    }

    fn title(&self) -> &str {
        &self.options.title
    }

    fn describe(&self) -> String {
        let edges = counted(self.edges.ends.len(), "edge");
        format!("graph, {}, {edges}", counted(self.places.len(), "node"))
    }

    fn colors(&self) -> Option<usize> {
        Some(usize::from(
            self.edges.values.is_none() && self.color.is_none(),
        ))
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let options = &self.options;
        let mut notes = Vec::new();
        if self.places.is_empty() {
            notes.push("no data".to_string());
        }
        let lost = self
            .places
            .iter()
            .filter(|p| !p.iter().all(|v| v.is_finite()))
            .count();
        if lost > 0 {
            notes.push(format!("{} left out: not finite", counted(lost, "node")));
        }
        let mut marks = self.edge_marks(area, palette);
        marks.extend(self.node_marks(area, palette));
        let panel = Panel {
            // Layers may be many and narrow, or few and wide: only what has a shape keeps it.
            equal: self.edges.positions.is_some() || options.layout != Layout::Layered,
            marks,
            bar: self.bar(),
            notes,
            ..Panel::new(&options.title, Axis::hidden(self.x), Axis::hidden(self.y))
        };
        vec![Placed { area, panel }]
    }
}

impl Graph {
    fn place(&self, node: usize) -> [f64; 2] {
        self.places.get(node).copied().unwrap_or([f64::NAN; 2])
    }

    fn radius(&self) -> f64 {
        let size = match self.places.len() {
            0..=12 => 26.0,
            13..=30 => 20.0,
            31..=60 => 16.0,
            61..=200 => 9.0,
            _ => 6.0,
        };
        self.options.node_size.unwrap_or(size) / 2.0
    }

    /// The width of each edge in pixels, in steps so that edges of one width are one mark.
    fn width(&self, edge: usize, heaviest: f64) -> f64 {
        let most = self.options.line_width;
        match &self.edges.weights {
            None => most.unwrap_or(1.4),
            Some(weights) => {
                let weight = weights.get(edge).map_or(0.0, |w| w.abs());
                let share = (weight / heaviest).clamp(0.1, 1.0);
                ((most.unwrap_or(4.0) * share * 10.0).round() / 10.0).max(0.3)
            }
        }
    }

    fn edge_marks(&self, area: Rect, palette: &Palette) -> Vec<Mark> {
        let options = &self.options;
        let weights = self.edges.weights.iter().flatten().map(|w| w.abs());
        let heaviest = extent(weights).map_or(1.0, |(_, most)| most.max(1e-300));
        let color = palette.axis;
        let mut by_width: Vec<(f64, Vec<[[f64; 2]; 2]>)> = Vec::new();
        let mut marks = Vec::new();
        for (i, &[from, to]) in self.edges.ends.iter().enumerate() {
            let width = self.width(i, heaviest);
            if from == to {
                marks.push(self.own_loop(from, area, width, color));
                continue;
            }
            let arrow = [self.place(from), self.place(to)];
            match by_width.iter_mut().find(|(w, _)| *w == width) {
                Some((_, list)) => list.push(arrow),
                None => by_width.push((width, vec![arrow])),
            }
        }
        marks.extend(by_width.into_iter().map(|(width, arrows)| {
            match options.directed {
                true => Mark::Arrows {
                    arrows,
                    colors: vec![color],
                    width,
                    inset: self.radius() + 1.5,
                },
                false => Mark::Polyline {
                    points: arrows
                        .iter()
                        .flat_map(|&[a, b]| [a, b, [f64::NAN; 2]])
                        .collect(),
                    color,
                    width,
                },
            }
        }));
        if options.weights {
            marks.extend(self.weight_texts(palette));
        }
        marks
    }

    /// An edge from a node to itself: a small circle above it.
    fn own_loop(&self, node: usize, area: Rect, width: f64, color: Color) -> Mark {
        let [x, y] = self.place(node);
        let size = self.radius() * 1.4;
        let a = self.x.span() * size / area.width().max(1.0);
        let b = self.y.span() * size / area.height().max(1.0);
        let at = |i: i32| {
            let angle = f64::from(i) / 24.0 * std::f64::consts::TAU;
            [x + a * angle.sin(), y + b * (1.0 - angle.cos())]
        };
        Mark::Polyline {
            points: (0..=24).map(at).collect(),
            color,
            width,
        }
    }

    /// The weights as numbers, on ground that hides the edge.
    fn weight_texts(&self, palette: &Palette) -> Vec<Mark> {
        let weights = self.edges.weights.iter().flatten();
        let place = |&[from, to]: &[usize; 2]| {
            let (a, b) = (self.place(from), self.place(to));
            // Before the middle, so that those of two directions, and of crossing edges, stand apart.
            [0, 1].map(|i| a[i] * 0.58 + b[i] * 0.42)
        };
        let places: Vec<[f64; 2]> = self.edges.ends.iter().map(place).collect();
        let text = |(at, weight): (&[f64; 2], &f64)| {
            Mark::Text(Text {
                at: *at,
                text: number(*weight, 3),
                size: 10.0,
                color: palette.foreground,
                anchor: Anchor::Middle,
                upright: false,
            })
        };
        let texts: Vec<Mark> = places.iter().zip(weights).map(text).collect();
        let ground = Mark::Points {
            points: places,
            colors: vec![palette.background],
            radius: 8.0,
        };
        std::iter::once(ground).chain(texts).collect()
    }

    fn bar(&self) -> Option<ColorBar> {
        let values = self.edges.values.as_ref()?;
        let options = &self.options;
        let [lo, hi] = color_range(values, options.value_limits, options.color_map);
        Some(ColorBar {
            map: options.color_map,
            lo,
            hi,
            label: options.value_label.clone(),
            levels: Vec::new(),
        })
    }

    fn node_marks(&self, area: Rect, palette: &Palette) -> Vec<Mark> {
        let radius = self.radius();
        let own = self.color.unwrap_or_else(|| palette.series(0));
        let colors: Vec<Color> = match (&self.edges.values, self.bar()) {
            (Some(values), Some(bar)) => {
                let color = |v: &f64| {
                    if v.is_finite() {
                        bar.color(*v)
                    } else {
                        palette.missing
                    }
                };
                values.iter().map(color).collect()
            }
            _ => vec![own],
        };
        let mut marks = vec![Mark::Points {
            points: self.places.clone(),
            colors: colors.clone(),
            radius,
        }];
        let numbers = self.options.labels.is_empty();
        if self.places.len() > 60 && numbers {
            return marks;
        }
        for (i, (place, color)) in self.places.iter().zip(colors.iter().cycle()).enumerate() {
            let text = match self.options.labels.get(i) {
                Some(label) => font::cut(label, TEXT, 160.0),
                None => i.to_string(),
            };
            let inside = font::width(&text, TEXT) <= 2.0 * radius - 3.0;
            let ink = if color.lightness() > 0.5 {
                0x101418
            } else {
                0xffffff
            };
            // A name that has no room in its node stands to the right of it.
            let aside = if inside {
                0.0
            } else {
                (radius + 4.0) / area.width().max(1.0)
            };
            marks.push(Mark::Text(Text {
                at: [place[0] + self.x.span() * aside, place[1]],
                text,
                size: TEXT,
                color: if inside {
                    Color::hex(ink)
                } else {
                    palette.foreground
                },
                anchor: if inside {
                    Anchor::Middle
                } else {
                    Anchor::Start
                },
                upright: false,
            }));
        }
        marks
    }
}

/// A ring with chords whose weights and values are any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let few = numbers.get(..numbers.len().min(40)).unwrap_or(numbers);
    let n = few.len();
    let ends = (0..n).map(|i| [i, (i * 3 + 1) % n]).collect();
    let edges = Edges {
        ends,
        weights: Some(few.to_vec()),
        positions: None,
        values: Some(few.to_vec()),
    };
    let options = GraphOptions {
        title: "a network".to_string(),
        directed: true,
        weights: true,
        ..Default::default()
    };
    Figure::graph(edges, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(ends: &[[usize; 2]]) -> Edges {
        Edges {
            ends: ends.to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn nodes_are_counted_from_edges_labels_or_positions() {
        let graph = |options| Figure::graph(edges(&[[0, 1], [1, 2]]), options);
        let plain = graph(GraphOptions::default()).unwrap();
        assert_eq!(plain.describe(), "graph, 3 nodes, 2 edges");
        let options = GraphOptions {
            nodes: Some(5),
            ..Default::default()
        };
        assert_eq!(
            graph(options).unwrap().describe(),
            "graph, 5 nodes, 2 edges"
        );
        let options = GraphOptions {
            labels: vec!["a".to_string(), "b".to_string()],
            ..Default::default()
        };
        let error = graph(options).unwrap_err();
        assert_eq!(error.to_string(), "nodes: expected 3, got 2");
    }

    #[test]
    fn what_would_take_too_long_is_refused() {
        let error = Figure::graph(edges(&[[0, 1_000_000_000_000]]), GraphOptions::default());
        let expected = "nodes: at most 3000 can be drawn, got 1000000000001";
        assert_eq!(error.unwrap_err().to_string(), expected);
    }

    #[test]
    fn weights_make_edges_thick() {
        let mut heavy = edges(&[[0, 1], [1, 2]]);
        heavy.weights = Some(vec![1.0, -2.0]);
        let graph = Graph {
            places: arrange::circle(3),
            edges: heavy,
            color: None,
            x: Scale::linear(0.0, 1.0),
            y: Scale::linear(0.0, 1.0),
            options: GraphOptions::default(),
        };
        assert_eq!([0, 1].map(|i| graph.width(i, 2.0)), [2.0, 4.0]);
    }
}
