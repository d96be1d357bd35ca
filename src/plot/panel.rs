//! A panel: what a kind of figure lowers itself to. Marks in the coordinates of the data, and what stands around them.

use crate::axis::{Axis, Ticks, count};
use crate::color::{Color, ColorMap};
use crate::mark::{Mark, Rect};
use crate::scale::Scale;

/// One set of axes with everything that belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    /// Whether a unit is as long on the x axis as on the y axis.
    pub equal: bool,
    pub marks: Vec<Mark>,
    pub legend: Vec<Key>,
    pub bar: Option<ColorBar>,
    /// The numbers of its picture's cells, for reading off; none where there is no picture or nothing to read.
    pub cells: Vec<f64>,
    /// Small print below: what was left out of the picture.
    pub notes: Vec<String>,
}

impl Panel {
    /// Axes with nothing in them.
    pub(crate) fn new(title: &str, x: Axis, y: Axis) -> Self {
        Self {
            title: title.to_string(),
            x,
            y,
            equal: false,
            marks: Vec::new(),
            legend: Vec::new(),
            bar: None,
            cells: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// One entry of the legend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub label: String,
    pub color: Color,
    pub shape: Shape,
}

/// What a legend shows beside a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Line,
    Disc,
    Box,
}

/// The scale of colours beside a panel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ColorBar {
    pub map: ColorMap,
    pub lo: f64,
    pub hi: f64,
    pub label: String,
    /// Where the colour changes, ascending; none where it changes everywhere.
    pub levels: Vec<f64>,
}

/// A panel and the part of the figure that it fills, in pixels.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub area: Rect,
    pub panel: Panel,
}

/// Counts what cannot be drawn, for the note below the figure.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dropped {
    pub not_finite: usize,
    pub not_positive: usize,
}

impl Dropped {
    /// Counts one value, on an axis that is logarithmic or not.
    pub(crate) fn value(&mut self, value: f64, log: bool) {
        if !value.is_finite() {
            self.not_finite += 1;
        } else if log && value <= 0.0 {
            self.not_positive += 1;
        }
    }

    /// Counts one point by the worse of its coordinates.
    pub(crate) fn point(&mut self, [x, y]: [f64; 2], [log_x, log_y]: [bool; 2]) {
        if !(x.is_finite() && y.is_finite()) {
            self.not_finite += 1;
        } else if (log_x && x <= 0.0) || (log_y && y <= 0.0) {
            self.not_positive += 1;
        }
    }

    /// The sentence for the note, if anything was dropped.
    pub(crate) fn note(&self, noun: &str) -> Option<String> {
        let part = |n: usize, why: &str| (n > 0).then(|| format!("{} {why}", count(n)));
        let parts: Vec<String> = [
            part(self.not_finite, "not finite"),
            part(self.not_positive, "not positive on a log axis"),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!parts.is_empty()).then(|| format!("{noun} left out: {}", parts.join(", ")))
    }
}

impl ColorBar {
    /// The colour of a number; of one between two levels, that of the middle between them.
    pub(crate) fn color(&self, value: f64) -> Color {
        let scale = Scale::linear(self.lo, self.hi);
        let above = self.levels.partition_point(|level| *level <= value);
        let level = |i: Option<usize>| i.and_then(|i| self.levels.get(i)).copied();
        let shown = match (level(above.checked_sub(1)), level(Some(above))) {
            (None, None) => value,
            (lo, hi) => lo.unwrap_or(self.lo) / 2.0 + hi.unwrap_or(self.hi) / 2.0,
        };
        self.map.at(scale.unit(shown))
    }

    /// The bar as an axis.
    pub(crate) fn axis(&self) -> Axis {
        Axis {
            scale: Scale::linear(self.lo, self.hi),
            label: self.label.clone(),
            ticks: Ticks::Auto,
            grid: false,
        }
    }
}
