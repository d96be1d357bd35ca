//! `line`: one or several series as lines, with a smoothed line over the raw one where asked for.

use super::options::{
    check_labels, check_length, check_limits, check_number, check_side, parse_colors, series_color,
};
use super::{Figure, Plot};
use crate::axis::{Axis, Ticks};
use crate::color::{Color, Palette};
use crate::error::Result;
use crate::mark::{Mark, Rect};
use crate::panel::{Dropped, Key, Panel, Placed, Shape};
use crate::scale::{Kind, Scale};
use schemars::JsonSchema;
use serde::Deserialize;

/// Options of `plot::line`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LineOptions {
    /// Text above the figure. Default: none.
    pub title: String,
    /// Text below the x axis. Default: none.
    pub x_label: String,
    /// Text beside the y axis. Default: none.
    pub y_label: String,
    /// One name a series, for the legend. Default: none, and no legend.
    pub labels: Vec<String>,
    /// Whether the legend is shown where there are labels. Default: true.
    pub legend: bool,
    /// Whether the x axis is logarithmic; points with x <= 0 are left out. Default: false.
    pub log_x: bool,
    /// Whether the y axis is logarithmic; points with y <= 0 are left out. Default: false.
    pub log_y: bool,
    /// Ends of the x axis, `[low, high]`, in units of x. Default: all of the data.
    pub x_limits: Option<[f64; 2]>,
    /// Ends of the y axis, `[low, high]`, in units of y. Default: all of the data.
    pub y_limits: Option<[f64; 2]>,
    /// Weight of the past in an exponential moving average, 0 to below 1; the raw line stays, faint. Default: 0, no
    /// smoothing.
    pub smooth: f64,
    /// Width of the lines in pixels, 0.1 to 20. Default: 1.8.
    pub line_width: f64,
    /// Whether each point is marked by a disc. Default: false.
    pub markers: bool,
    /// One colour a series, by name (`"blue"`) or value (`"#0072b2"`); repeated if there are more series. Default: a
    /// cycle that is safe for the colour-blind.
    pub colors: Vec<String>,
    /// Width of the figure in pixels, 64 to 4000. Default: 640.
    pub width: u32,
    /// Height of the figure in pixels, 64 to 4000. Default: 420.
    pub height: u32,
}

impl Default for LineOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            labels: Vec::new(),
            legend: true,
            log_x: false,
            log_y: false,
            x_limits: None,
            y_limits: None,
            smooth: 0.0,
            line_width: 1.8,
            markers: false,
            colors: Vec::new(),
            width: 640,
            height: 420,
        }
    }
}

/// One line: `y` over `x`, or over 0, 1, 2, … without `x`. What is not finite leaves a gap.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Where the values stand, as many as `y`.
    pub x: Option<Vec<f64>>,
    /// The values.
    pub y: Vec<f64>,
}

impl Series {
    fn points(&self) -> Vec<[f64; 2]> {
        match &self.x {
            Some(x) => x.iter().zip(&self.y).map(|(&x, &y)| [x, y]).collect(),
            None => self
                .y
                .iter()
                .enumerate()
                .map(|(i, &y)| [i as f64, y])
                .collect(),
        }
    }
}

#[derive(Debug)]
struct Line {
    series: Vec<Series>,
    options: LineOptions,
    colors: Vec<Color>,
}

impl Figure {
    /// Series as lines. Errors if an x and its y, or the labels and the series, differ in number, or if an option
    /// makes no sense.
    pub fn line(series: Vec<Series>, options: LineOptions) -> Result<Self> {
        for Series { x, y } in &series {
            check_length("x", x.as_ref().map_or(y.len(), Vec::len), y.len())?;
        }
        check_labels("labels", &options.labels, series.len())?;
        check_limits("x_limits", options.x_limits, options.log_x)?;
        check_limits("y_limits", options.y_limits, options.log_y)?;
        check_number(
            "smooth",
            options.smooth,
            0.0..=1.0 - 1e-9,
            "0 <= smooth < 1",
        )?;
        check_number(
            "line_width",
            options.line_width,
            0.1..=20.0,
            "0.1 to 20 pixels",
        )?;
        check_side("width", Some(options.width))?;
        check_side("height", Some(options.height))?;
        let colors = parse_colors(&options.colors)?;
        Ok(Self::new(Line {
            series,
            options,
            colors,
        }))
    }
}

impl Plot for Line {
    fn size(&self) -> [f64; 2] {
        [
            f64::from(self.options.width),
            f64::from(self.options.height),
        ]
    }

    fn title(&self) -> &str {
        &self.options.title
    }

    fn describe(&self) -> String {
        let points: usize = self.series.iter().map(|s| s.y.len()).sum();
        let plural = if points == 1 { "" } else { "s" };
        match self.series.len() {
            0 | 1 => format!("line plot, {points} point{plural}"),
            n => format!("line plot, {n} series, {points} points"),
        }
    }

    fn colors(&self) -> Option<usize> {
        Some(self.series.len())
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let options = &self.options;
        let mut marks = Vec::new();
        let mut dropped = Dropped::default();
        let mut all = Vec::new();
        for (i, series) in self.series.iter().enumerate() {
            let color = series_color(&self.colors, palette, i);
            let points = series.points();
            for point in &points {
                dropped.point(*point, [options.log_x, options.log_y]);
            }
            self.draw_series(&points, color, &mut marks);
            all.extend(points);
        }
        let (x_kind, y_kind) = (Kind::from_log(options.log_x), Kind::from_log(options.log_y));
        all.retain(|[x, y]| x_kind.takes(*x) && y_kind.takes(*y));
        let mut notes: Vec<String> = dropped.note("points").into_iter().collect();
        if all.is_empty() {
            notes.insert(0, "no data".to_string());
        }
        let counts = !options.log_x && self.series.iter().all(|s| s.x.is_none());
        let panel = Panel {
            title: options.title.clone(),
            x: Axis {
                scale: Scale::fit(x_kind, all.iter().map(|p| p[0]), 0.015, options.x_limits),
                label: options.x_label.clone(),
                ticks: if counts { Ticks::Integers } else { Ticks::Auto },
                grid: true,
            },
            y: Axis {
                scale: Scale::fit(y_kind, all.iter().map(|p| p[1]), 0.05, options.y_limits),
                label: options.y_label.clone(),
                ticks: Ticks::Auto,
                grid: true,
            },
            equal: false,
            marks,
            legend: self.legend(palette),
            bar: None,
            cells: Vec::new(),
            notes,
        };
        vec![Placed { area, panel }]
    }
}

impl Line {
    fn draw_series(&self, points: &[[f64; 2]], color: Color, marks: &mut Vec<Mark>) {
        let width = self.options.line_width;
        // What an axis cannot show becomes a gap.
        let drawable = |points: Vec<[f64; 2]>| -> Vec<[f64; 2]> {
            let hole = |v: f64, log: bool| if log && v <= 0.0 { f64::NAN } else { v };
            let gap = |[x, y]: [f64; 2]| [hole(x, self.options.log_x), hole(y, self.options.log_y)];
            points.into_iter().map(gap).collect()
        };
        let raw = drawable(points.to_vec());
        let lone = lone_points(&raw);
        let shown = if self.options.markers {
            raw.clone()
        } else {
            lone
        };
        let smooth = self.options.smooth;
        let faint = color.with_alpha(0.3);
        marks.push(Mark::Polyline {
            points: raw,
            color: if smooth > 0.0 { faint } else { color },
            width: if smooth > 0.0 { width * 0.6 } else { width },
        });
        if smooth > 0.0 {
            marks.push(Mark::Polyline {
                points: drawable(moving_average(points, smooth)),
                color,
                width,
            });
        }
        if !shown.is_empty() {
            marks.push(Mark::Points {
                points: shown,
                colors: vec![color],
                radius: (width * 1.4).max(2.0),
            });
        }
    }

    fn legend(&self, palette: &Palette) -> Vec<Key> {
        let labels = self.options.labels.iter().filter(|_| self.options.legend);
        let key = |(i, label): (usize, &String)| Key {
            label: label.clone(),
            color: series_color(&self.colors, palette, i),
            shape: Shape::Line,
        };
        labels.enumerate().map(key).collect()
    }
}

/// Points without a neighbour, which a line would not show.
fn lone_points(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let seen = |p: &&[f64; 2]| p.iter().all(|v| v.is_finite());
    let is_seen = |i: Option<usize>| i.and_then(|i| points.get(i)).filter(seen).is_some();
    points
        .iter()
        .enumerate()
        .filter(|(i, p)| seen(p) && !is_seen(i.checked_sub(1)) && !is_seen(i.checked_add(1)))
        .map(|(_, p)| *p)
        .collect()
}

/// The exponential moving average of y with the start's bias taken out (Kingma and Ba 2015, section 3). What is not
/// finite stays as it is and is not averaged.
fn moving_average(points: &[[f64; 2]], weight: f64) -> Vec<[f64; 2]> {
    let (mut mean, mut total) = (0.0, 0.0);
    points
        .iter()
        .map(|&[x, y]| {
            if !y.is_finite() {
                return [x, y];
            }
            mean = weight * mean + (1.0 - weight) * y;
            total = weight * total + (1.0 - weight);
            [x, mean / total]
        })
        .collect()
}

/// Two series and a smoothed line from any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let one = Series {
        x: None,
        y: numbers.to_vec(),
    };
    let other = Series {
        x: Some(numbers.to_vec()),
        y: numbers.iter().rev().copied().collect(),
    };
    let options = LineOptions {
        title: "a <line> & more".to_string(),
        labels: vec!["one".to_string(), "other".to_string()],
        smooth: 0.5,
        ..Default::default()
    };
    Figure::line(vec![one, other], options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Theme;
    use crate::error::Error;

    fn panel(series: Vec<Series>, options: LineOptions) -> Panel {
        let figure = Figure::line(series, options).unwrap();
        let area = Rect {
            left: 0.0,
            top: 0.0,
            right: 640.0,
            bottom: 420.0,
        };
        let mut placed = figure.plot.panels(area, &Palette::new(Theme::Light));
        placed.remove(0).panel
    }

    fn series(y: &[f64]) -> Series {
        Series {
            x: None,
            y: y.to_vec(),
        }
    }

    #[test]
    fn the_moving_average_has_no_bias_at_the_start() {
        let points: Vec<[f64; 2]> = [4.0, 4.0, f64::NAN, 8.0].map(|y| [0.0, y]).to_vec();
        let mean: Vec<f64> = moving_average(&points, 0.5).iter().map(|p| p[1]).collect();
        assert_eq!(mean[0], 4.0);
        assert_eq!(mean[1], 4.0);
        assert!(mean[2].is_nan());
        // Weights 4/7, 2/7, 1/7 from the newest backwards.
        assert!((mean[3] - (8.0 * 4.0 + 4.0 * 2.0 + 4.0) / 7.0).abs() < 1e-12);
    }

    #[test]
    fn what_a_log_axis_cannot_show_is_dropped_and_said() {
        let options = LineOptions {
            log_y: true,
            ..Default::default()
        };
        let panel = panel(vec![series(&[1.0, 0.0, -2.0, 10.0, f64::NAN])], options);
        let note = "points left out: 1 not finite, 2 not positive on a log axis";
        assert_eq!(panel.notes, [note]);
        assert!(panel.y.scale.lo > 0.5 && panel.y.scale.hi < 20.0);
        // Two points apart from each other: no line, two discs.
        let Some(Mark::Points { points, .. }) = panel.marks.last() else {
            panic!("discs expected");
        };
        assert_eq!(points, &[[0.0, 1.0], [3.0, 10.0]]);
    }

    #[test]
    fn smoothing_draws_a_faint_raw_line_below() {
        let options = LineOptions {
            smooth: 0.9,
            ..Default::default()
        };
        let panel = panel(vec![series(&[1.0, 5.0, 1.0])], options);
        assert_eq!(panel.marks.len(), 2);
    }

    #[test]
    fn wrong_input_is_an_error_that_says_both_sides() {
        let lengths = Series {
            x: Some(vec![1.0]),
            y: vec![1.0, 2.0],
        };
        let error = Figure::line(vec![lengths], LineOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "x: expected 2, got 1");
        let labels = LineOptions {
            labels: vec!["a".to_string(), "b".to_string()],
            ..Default::default()
        };
        let error = Figure::line(vec![series(&[1.0])], labels).unwrap_err();
        assert_eq!(error.to_string(), "labels: expected 1, got 2");
        let limits = LineOptions {
            log_y: true,
            y_limits: Some([-1.0, 1.0]),
            ..Default::default()
        };
        let error = Figure::line(vec![], limits).unwrap_err();
        assert_eq!(error.option(), Some("y_limits"));
        let color = LineOptions {
            colors: vec!["bluish".to_string()],
            ..Default::default()
        };
        let error = Figure::line(vec![], color).unwrap_err();
        assert!(matches!(&error, Error::Color { got } if got == "bluish"));
        assert!(error.hint().unwrap().contains("blue"));
        let smooth = LineOptions {
            smooth: 1.0,
            ..Default::default()
        };
        assert!(Figure::line(vec![], smooth).is_err());
    }
}
