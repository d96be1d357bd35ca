//! `errorbar`: values with their uncertainty, as bars through points or as a band around a line.

use super::options::{
    check_labels, check_length, check_limits, check_number, check_side, parse_colors, series_color,
};
use super::{Figure, Plot};
use crate::axis::{Axis, Ticks, count};
use crate::color::{Color, Palette};
use crate::error::Result;
use crate::mark::{Mark, Rect};
use crate::panel::{Dropped, Key, Panel, Placed, Shape};
use crate::scale::{Kind, Scale};
use schemars::JsonSchema;
use serde::Deserialize;

/// More bars than this a figure are not told apart: a band says the same.
const MOST_BARS: usize = 1000;

/// Options of `plot::errorbar`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorbarOptions {
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
    /// Whether the uncertainty is a band around the line instead of a bar through each point. Default: for more than
    /// 1000 points.
    pub band: Option<bool>,
    /// Whether a line joins the points. Default: true.
    pub line: bool,
    /// Whether each point is marked by a disc. Default: where there is no band.
    pub markers: Option<bool>,
    /// Opacity of a band, above 0 to 1. Default: 0.22.
    pub alpha: f64,
    /// Width of the lines in pixels, 0.1 to 20. Default: 1.8.
    pub line_width: f64,
    /// Whether the x axis is logarithmic; points with x <= 0 are left out. Default: false.
    pub log_x: bool,
    /// Whether the y axis is logarithmic; points with y <= 0 are left out, and bars are cut there. Default: false.
    pub log_y: bool,
    /// Ends of the x axis, `[low, high]`, in units of x. Default: all of the data.
    pub x_limits: Option<[f64; 2]>,
    /// Ends of the y axis, `[low, high]`, in units of y. Default: all of the data.
    pub y_limits: Option<[f64; 2]>,
    /// One colour a series, by name (`"blue"`) or value (`"#0072b2"`); repeated if there are more series. Default: a
    /// cycle that is safe for the colour-blind.
    pub colors: Vec<String>,
    /// Width of the figure in pixels, 64 to 4000. Default: 640.
    pub width: u32,
    /// Height of the figure in pixels, 64 to 4000. Default: 420.
    pub height: u32,
}

impl Default for ErrorbarOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            labels: Vec::new(),
            legend: true,
            band: None,
            line: true,
            markers: None,
            alpha: 0.22,
            line_width: 1.8,
            log_x: false,
            log_y: false,
            x_limits: None,
            y_limits: None,
            colors: Vec::new(),
            width: 640,
            height: 420,
        }
    }
}

/// Values with their uncertainty; all lists have one length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// Where the values stand; at 0, 1, 2, … without.
    pub x: Option<Vec<f64>>,
    /// The values.
    pub y: Vec<f64>,
    /// Lower ends of the bars.
    pub low: Vec<f64>,
    /// Upper ends of the bars.
    pub high: Vec<f64>,
}

/// One value that can be drawn.
#[derive(Debug, Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    low: f64,
    high: f64,
}

#[derive(Debug)]
struct Errorbar {
    /// What is not drawable is NaN.
    series: Vec<Vec<Point>>,
    counts: bool,
    dropped: Dropped,
    colors: Vec<Color>,
    options: ErrorbarOptions,
}

impl Figure {
    /// Values with their uncertainty. Errors if lists that belong together differ in length, or
    /// if an option makes no sense.
    pub fn errorbar(series: Vec<Measured>, options: ErrorbarOptions) -> Result<Self> {
        for Measured { x, y, low, high } in &series {
            check_length("x", x.as_ref().map_or(y.len(), Vec::len), y.len())?;
            check_length("errors", low.len(), y.len())?;
            check_length("errors", high.len(), y.len())?;
        }
        check(&options, series.len())?;
        let colors = parse_colors(&options.colors)?;
        let counts = !options.log_x && series.iter().all(|s| s.x.is_none());
        let mut dropped = Dropped::default();
        let series = series
            .into_iter()
            .map(|s| points(s, &options, &mut dropped))
            .collect();
        Ok(Self::new(Errorbar {
            series,
            counts,
            dropped,
            colors,
            options,
        }))
    }
}

fn check(options: &ErrorbarOptions, series: usize) -> Result<()> {
    check_labels("labels", &options.labels, series)?;
    check_limits("x_limits", options.x_limits, options.log_x)?;
    check_limits("y_limits", options.y_limits, options.log_y)?;
    check_number("alpha", options.alpha, 1e-3..=1.0, "0 < alpha <= 1")?;
    check_number(
        "line_width",
        options.line_width,
        0.1..=20.0,
        "0.1 to 20 pixels",
    )?;
    check_side("width", Some(options.width))?;
    check_side("height", Some(options.height))
}

/// The points of a series; those that the axes cannot show are counted and become gaps.
fn points(series: Measured, options: &ErrorbarOptions, dropped: &mut Dropped) -> Vec<Point> {
    let Measured { x, y, low, high } = series;
    let place = |i: usize| match &x {
        Some(x) => x.get(i).copied().unwrap_or(f64::NAN),
        None => i as f64,
    };
    let ends = low.into_iter().zip(high);
    let point = |(i, (y, (low, high))): (usize, (f64, (f64, f64)))| {
        let x = place(i);
        dropped.point([x, y], [options.log_x, options.log_y]);
        let shown =
            Kind::from_log(options.log_x).takes(x) && Kind::from_log(options.log_y).takes(y);
        // A bar without an end is a point; one that goes on below zero, on a logarithmic axis, goes far down.
        let end = |v: f64| match v {
            v if !v.is_finite() => y,
            v if options.log_y && v <= 0.0 => y * 1e-3,
            v => v,
        };
        match shown {
            true => Point {
                x,
                y,
                low: end(low),
                high: end(high),
            },
            false => Point {
                x: f64::NAN,
                y: f64::NAN,
                low: f64::NAN,
                high: f64::NAN,
            },
        }
    };
    y.into_iter().zip(ends).enumerate().map(point).collect()
}

impl Plot for Errorbar {
    fn size(&self) -> [f64; 2] {
        [self.options.width, self.options.height].map(f64::from)
    }

    fn title(&self) -> &str {
        &self.options.title
    }

    fn describe(&self) -> String {
        let points = self.len();
        let plural = if points == 1 { "" } else { "s" };
        let kind = if self.band() { "band" } else { "error bar" };
        match self.series.len() {
            0 | 1 => format!("{kind} plot, {points} point{plural}"),
            n => format!("{kind} plot, {n} series, {points} points"),
        }
    }

    fn colors(&self) -> Option<usize> {
        Some(self.series.len())
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let options = &self.options;
        let mut notes: Vec<String> = self.dropped.note("points").into_iter().collect();
        let drawn = || self.series.iter().flatten().filter(|p| p.x.is_finite());
        if drawn().next().is_none() {
            notes.insert(0, "no data".to_string());
        } else if self.band() && options.band.is_none() {
            let points = count(self.len());
            notes.insert(0, format!("{points} error bars, drawn as a band"));
        }
        let kind = Kind::from_log;
        let x = Scale::fit(
            kind(options.log_x),
            drawn().map(|p| p.x),
            0.03,
            options.x_limits,
        );
        let ends = drawn().flat_map(|p| [p.y, p.low, p.high]);
        let y = Scale::fit(kind(options.log_y), ends, 0.05, options.y_limits);
        let x = Axis {
            ticks: if self.counts {
                Ticks::Integers
            } else {
                Ticks::Auto
            },
            ..Axis::numbers(x, &options.x_label)
        };
        let panel = Panel {
            marks: self.marks(palette),
            legend: self.legend(palette),
            notes,
            ..Panel::new(&options.title, x, Axis::numbers(y, &options.y_label))
        };
        vec![Placed { area, panel }]
    }
}

impl Errorbar {
    fn len(&self) -> usize {
        self.series.iter().map(Vec::len).sum()
    }

    fn band(&self) -> bool {
        self.options.band.unwrap_or(self.len() > MOST_BARS)
    }

    fn marks(&self, palette: &Palette) -> Vec<Mark> {
        let options = &self.options;
        let band = self.band();
        let color = |i: usize| series_color(&self.colors, palette, i);
        let mut marks = Vec::new();
        // All bands first: a later one would veil the lines before it.
        for (i, points) in self.series.iter().enumerate().filter(|_| band) {
            let runs = points.split(|p| !p.x.is_finite());
            marks.extend(runs.filter(|run| run.len() > 1).map(|run| {
                let upper = run.iter().map(|p| [p.x, p.high]);
                let lower = run.iter().rev().map(|p| [p.x, p.low]);
                Mark::Polygon {
                    points: upper.chain(lower).collect(),
                    color: color(i).with_alpha(options.alpha),
                }
            }));
        }
        for (i, points) in self.series.iter().enumerate() {
            let middle: Vec<[f64; 2]> = points.iter().map(|p| [p.x, p.y]).collect();
            if !band {
                let bar = |p: &Point| [[p.x, p.low], [p.x, p.high], [f64::NAN; 2]];
                marks.push(Mark::Polyline {
                    points: points.iter().flat_map(bar).collect(),
                    color: color(i),
                    width: options.line_width * 0.8,
                });
            }
            if options.markers.unwrap_or(!band) {
                marks.push(Mark::Points {
                    points: middle.clone(),
                    colors: vec![color(i)],
                    radius: (options.line_width * 1.7).max(2.0),
                });
            }
            if options.line {
                marks.push(Mark::Polyline {
                    points: middle,
                    color: color(i),
                    width: options.line_width,
                });
            }
        }
        marks
    }

    fn legend(&self, palette: &Palette) -> Vec<Key> {
        let labels = self.options.labels.iter().filter(|_| self.options.legend);
        let key = |(i, label): (usize, &String)| Key {
            label: label.clone(),
            color: series_color(&self.colors, palette, i),
            shape: match self.options.line {
                true => Shape::Line,
                false if self.band() => Shape::Box,
                false => Shape::Disc,
            },
        };
        labels.enumerate().map(key).collect()
    }
}

/// Bars of half a value's length, from any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let series = Measured {
        x: None,
        y: numbers.to_vec(),
        low: numbers.iter().map(|v| v - v.abs() / 2.0).collect(),
        high: numbers.iter().map(|v| v + v.abs() / 2.0).collect(),
    };
    let options = ErrorbarOptions {
        title: "measured".to_string(),
        labels: vec!["mean ± std".to_string()],
        ..Default::default()
    };
    Figure::errorbar(vec![series], options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Theme;

    fn measured(n: usize) -> Measured {
        Measured {
            x: None,
            y: vec![1.0; n],
            low: vec![0.5; n],
            high: vec![1.5; n],
        }
    }

    #[test]
    fn many_bars_become_a_band_and_say_so() {
        let few = Figure::errorbar(vec![measured(9)], ErrorbarOptions::default()).unwrap();
        assert_eq!(few.describe(), "error bar plot, 9 points");
        assert!(!few.svg(Theme::Light).contains("<polygon"));
        let many = Figure::errorbar(vec![measured(2000)], ErrorbarOptions::default()).unwrap();
        let svg = many.svg(Theme::Light);
        assert!(svg.contains("<polygon") && svg.contains("2,000 error bars, drawn as a band"));
    }

    #[test]
    fn a_gap_parts_a_band() {
        let mut holed = measured(9);
        holed.y[4] = f64::NAN;
        let options = ErrorbarOptions {
            band: Some(true),
            ..Default::default()
        };
        let figure = Figure::errorbar(vec![holed], options).unwrap();
        assert_eq!(figure.svg(Theme::Light).matches("<polygon").count(), 2);
    }

    #[test]
    fn lists_have_one_length() {
        let mut short = measured(3);
        short.low.pop();
        let error = Figure::errorbar(vec![short], ErrorbarOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "errors: expected 3, got 2");
    }
}
