//! `heatmap`: a matrix as coloured cells, the first row at the top.

use super::options::{
    check_labels, check_length, check_limits, check_side, color_range, is_equal, size_for_aspect,
};
use super::{Figure, Plot};
use crate::axis::{Axis, Ticks, counted, fixed, number};
use crate::color::{Color, ColorMap, Palette};
use crate::error::{Error, Result};
use crate::mark::{Anchor, Mark, Rect, Text};
use crate::panel::{ColorBar, Panel, Placed};
use crate::scale::{Scale, extent};
use schemars::JsonSchema;
use serde::Deserialize;

/// A matrix may be this much longer than wide and still have square cells.
const MOST_UNEQUAL: f64 = 4.0;
/// More cells than this have no room for their numbers.
const MOST_NUMBERS: usize = 400;
/// More cells a side than this are not told apart: they are averaged.
const MOST_CELLS: usize = 800;

/// Options of `plot::heatmap`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeatmapOptions {
    /// Text above the figure. Default: none.
    pub title: String,
    /// Text below the x axis. Default: none.
    pub x_label: String,
    /// Text beside the y axis. Default: none.
    pub y_label: String,
    /// One name a column. Default: their numbers, from 0.
    pub x_ticks: Vec<String>,
    /// One name a row. Default: their numbers, from 0.
    pub y_ticks: Vec<String>,
    /// The values, `[low, high]`, at the ends of the colours. Default: least and greatest value; with
    /// `color_map: "diverging"`, as far below as above zero.
    pub limits: Option<[f64; 2]>,
    /// Colours of the values: `"viridis"`, `"diverging"` or `"gray"`. Default: `"viridis"`.
    pub color_map: ColorMap,
    /// Whether the scale of colours is shown. Default: true.
    pub color_bar: bool,
    /// Text beside the scale of colours. Default: none.
    pub value_label: String,
    /// Whether each cell shows its number; for at most 400 cells. Default: false.
    pub values: bool,
    /// Whether cells are square. Default: yes, unless one side has more than 4 times as many as the other.
    pub equal: Option<bool>,
    /// Width of the figure in pixels, 64 to 4000. Default: from the shape of the matrix.
    pub width: Option<u32>,
    /// Height of the figure in pixels, 64 to 4000. Default: from the shape of the matrix.
    pub height: Option<u32>,
}

impl Default for HeatmapOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            x_ticks: Vec::new(),
            y_ticks: Vec::new(),
            limits: None,
            color_map: ColorMap::Viridis,
            color_bar: true,
            value_label: String::new(),
            values: false,
            equal: None,
            width: None,
            height: None,
        }
    }
}

#[derive(Debug)]
struct Heatmap {
    rows: usize,
    columns: usize,
    /// The cells, perhaps averaged, and how many they are across.
    cells: Vec<f64>,
    cells_across: usize,
    missing: usize,
    range: [f64; 2],
    options: HeatmapOptions,
}

impl Figure {
    /// A matrix of `shape` [rows, columns], given row by row. Errors if the number of values or of names does not fit
    /// the shape, or if an option makes no sense.
    pub fn heatmap(values: Vec<f64>, shape: [usize; 2], options: HeatmapOptions) -> Result<Self> {
        let [rows, columns] = shape;
        check_length("values", values.len(), rows.saturating_mul(columns))?;
        check_labels("x_ticks", &options.x_ticks, columns)?;
        check_labels("y_ticks", &options.y_ticks, rows)?;
        check_limits("limits", options.limits, false)?;
        check_side("width", options.width)?;
        check_side("height", options.height)?;
        if options.values && values.len() > MOST_NUMBERS {
            return Err(Error::Option {
                option: "values",
                expected: "false for more than 400 cells",
                got: format!("true for {} cells", values.len()),
            });
        }
        let missing = values.iter().filter(|v| !v.is_finite()).count();
        let range = color_range(&values, options.limits, options.color_map);
        let (cells, cells_across) = average(values, rows, columns);
        Ok(Self::new(Heatmap {
            rows,
            columns,
            cells,
            cells_across,
            missing,
            range,
            options,
        }))
    }
}

/// The means over equal blocks of a matrix that has more rows or columns than a picture, and how many are across.
/// What is not finite is passed over.
fn average(values: Vec<f64>, rows: usize, columns: usize) -> (Vec<f64>, usize) {
    let (tall, wide) = (rows.min(MOST_CELLS), columns.min(MOST_CELLS));
    if (tall, wide) == (rows, columns) {
        return (values, columns);
    }
    let mut sums = vec![(0.0f64, 0.0f64); tall * wide];
    for (row, line) in values.chunks(columns.max(1)).enumerate() {
        for (column, value) in line.iter().enumerate().filter(|(_, v)| v.is_finite()) {
            let block = row * tall / rows * wide + column * wide / columns;
            if let Some((mean, n)) = sums.get_mut(block) {
                *n += 1.0;
                // In this form large values do not overflow.
                *mean += value / *n - *mean / *n;
            }
        }
    }
    let mean = |(mean, n): (f64, f64)| if n > 0.0 { mean } else { f64::NAN };
    (sums.into_iter().map(mean).collect(), wide)
}

impl Plot for Heatmap {
    fn size(&self) -> [f64; 2] {
        let HeatmapOptions { width, height, .. } = self.options;
        let margins = [
            if self.options.color_bar { 140.0 } else { 66.0 },
            if self.options.title.is_empty() {
                52.0
            } else {
                76.0
            },
        ];
        let aspect = match self.equal() {
            true => self.rows.max(1) as f64 / self.columns.max(1) as f64,
            false => 0.7,
        };
        size_for_aspect(aspect, 400.0 * 330.0, margins, width, height)
    }

    fn title(&self) -> &str {
        &self.options.title
    }

    fn describe(&self) -> String {
        format!("heatmap, {} x {}", self.rows, self.columns)
    }

    fn colors(&self) -> Option<usize> {
        Some(0)
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let options = &self.options;
        let mut notes = Vec::new();
        if self.cells.is_empty() {
            notes.push("no data".to_string());
        }
        if self.missing > 0 {
            notes.push(format!(
                "{} not finite, gray",
                counted(self.missing, "value")
            ));
        }
        let (x, y) = self.scales();
        let axis = |scale, label: &str, names: &[String]| Axis {
            scale,
            label: label.to_string(),
            ticks: match names {
                [] => Ticks::Integers,
                names => Ticks::Named(names.to_vec()),
            },
            grid: false,
        };
        let [lo, hi] = self.range;
        let panel = Panel {
            title: options.title.clone(),
            x: axis(x, &options.x_label, &options.x_ticks),
            y: axis(y, &options.y_label, &options.y_ticks),
            equal: self.equal(),
            marks: self.marks(palette),
            legend: Vec::new(),
            bar: options.color_bar.then(|| ColorBar {
                map: options.color_map,
                lo,
                hi,
                label: options.value_label.clone(),
                levels: Vec::new(),
            }),
            cells: self.cells.clone(),
            notes,
        };
        vec![Placed { area, panel }]
    }
}

impl Heatmap {
    /// Cells have a width of 1 around their number; rows count downwards.
    fn scales(&self) -> (Scale, Scale) {
        let end = |n: usize| n.max(1) as f64 - 0.5;
        (
            Scale::linear(-0.5, end(self.columns)),
            Scale::linear(end(self.rows), -0.5),
        )
    }

    fn equal(&self) -> bool {
        let (x, y) = self.scales();
        is_equal(self.options.equal, &x, &y, MOST_UNEQUAL)
    }

    fn color(&self, value: f64, palette: &Palette) -> Color {
        let [lo, hi] = self.range;
        match value.is_finite() {
            true => self.options.color_map.at(Scale::linear(lo, hi).unit(value)),
            false => palette.missing,
        }
    }

    fn marks(&self, palette: &Palette) -> Vec<Mark> {
        if self.cells.is_empty() {
            return Vec::new();
        }
        let (x, y) = self.scales();
        let mut marks = vec![Mark::Image {
            area: Rect {
                left: x.lo,
                top: y.hi,
                right: x.hi,
                bottom: y.lo,
            },
            columns: self.cells_across,
            cells: self
                .cells
                .iter()
                .map(|v| self.color(*v, palette).rgb)
                .collect(),
        }];
        if self.options.values {
            let decimals = decimals(&self.cells);
            let cells = self.cells.iter().enumerate();
            marks.extend(cells.map(|(i, value)| self.number(i, *value, decimals, palette)));
        }
        marks
    }

    /// The number in a cell, dark on light or light on dark.
    fn number(&self, index: usize, value: f64, decimals: Option<usize>, palette: &Palette) -> Mark {
        let light = self.color(value, palette).lightness() > 0.5;
        let (row, column) = (index / self.columns, index % self.columns);
        let text = match decimals {
            Some(decimals) if value.is_finite() => fixed(value, decimals),
            _ => number(value, 2),
        };
        Mark::Text(Text {
            at: [column as f64, row as f64],
            text,
            size: if self.columns > 12 { 9.0 } else { 11.0 },
            color: Color::hex(if light { 0x1a1d21 } else { 0xffffff }),
            anchor: Anchor::Middle,
            upright: false,
        })
    }
}

/// How many decimals all the numbers of a matrix have, so that they are seen at a glance; none if they are too large
/// or too small to be written without an exponent.
fn decimals(values: &[f64]) -> Option<usize> {
    let (lo, hi) = extent(values.iter().copied())?;
    let most = lo.abs().max(hi.abs());
    let whole = values.iter().all(|v| !v.is_finite() || v.fract() == 0.0);
    match most {
        _ if !(0.01..1e5).contains(&most) && most > 0.0 => None,
        _ if whole || most >= 100.0 => Some(0),
        _ if most >= 10.0 => Some(1),
        _ if most >= 0.1 => Some(2),
        _ => Some(3),
    }
}

/// A matrix of one row per number, from any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let few = numbers.get(..numbers.len().min(12)).unwrap_or(numbers);
    let values: Vec<f64> = few
        .iter()
        .flat_map(|a| few.iter().map(move |b| a - b / 2.0))
        .collect();
    let options = HeatmapOptions {
        title: "matrix".to_string(),
        values: true,
        ..Default::default()
    };
    Figure::heatmap(values, [few.len(), few.len()], options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Theme;

    #[test]
    fn large_matrices_are_averaged_in_blocks() {
        let values: Vec<f64> = (0..1600 * 2).map(|i| f64::from(i % 2)).collect();
        let (cells, across) = average(values, 2, 1600);
        assert_eq!((cells.len(), across), (1600, 800));
        assert!(cells.iter().all(|v| (*v - 0.5).abs() < 1e-12));
        let holes = average(vec![f64::NAN; 1600], 1, 1600).0;
        assert!(holes.iter().all(|v| v.is_nan()));
    }

    #[test]
    fn diverging_colors_are_centred_on_zero() {
        let range =
            |options: &HeatmapOptions| color_range(&[-1.0, 3.0], options.limits, options.color_map);
        let options = HeatmapOptions {
            color_map: ColorMap::Diverging,
            ..Default::default()
        };
        assert_eq!(range(&options), [-3.0, 3.0]);
        let given = HeatmapOptions {
            limits: Some([0.0, 1.0]),
            ..options
        };
        assert_eq!(range(&given), [0.0, 1.0]);
    }

    #[test]
    fn numbers_and_missing_cells_are_shown() {
        let options = HeatmapOptions {
            values: true,
            ..Default::default()
        };
        let figure = Figure::heatmap(vec![0.25, f64::NAN, 3.0, 4.0], [2, 2], options.clone());
        let svg = figure.unwrap().svg(Theme::Light);
        assert!(
            svg.contains("0.25")
                && svg.contains("3.00")
                && svg.contains("1 value not finite, gray")
        );
        let error = Figure::heatmap(vec![0.0; 900], [30, 30], options).unwrap_err();
        assert_eq!(error.option(), Some("values"));
        let error = Figure::heatmap(vec![0.0; 5], [2, 2], HeatmapOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "values: expected 4, got 5");
    }
}
