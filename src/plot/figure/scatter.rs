//! `scatter`: points in the plane, in groups or coloured by a value.

use super::options::{
    check_labels, check_length, check_limits, check_number, check_side, is_equal, parse_colors,
    plane_size, series_color,
};
use super::{Figure, Plot};
use crate::axis::{Axis, Ticks, count};
use crate::color::{Color, ColorMap, Palette};
use crate::error::{Error, Result};
use crate::layout::MOST_POINTS;
use crate::mark::{Mark, Rect};
use crate::panel::{ColorBar, Dropped, Key, Panel, Placed, Shape};
use crate::scale::{Kind, Scale};
use schemars::JsonSchema;
use serde::Deserialize;

/// One axis may be this much longer than the other and still have its unit.
const MOST_UNEQUAL: f64 = 6.0;

/// Options of `plot::scatter`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScatterOptions {
    /// Text above the figure. Default: none.
    pub title: String,
    /// Text below the x axis. Default: none.
    pub x_label: String,
    /// Text beside the y axis. Default: none.
    pub y_label: String,
    /// One name a group, for the legend. Default: none, and no legend.
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
    /// Whether a unit is as long on the x axis as on the y axis. Default: yes, unless an axis is logarithmic or one
    /// range is more than 6 times the other.
    pub equal: Option<bool>,
    /// Diameter of a point in pixels, 0.5 to 50. Default: 3 to 7, smaller the more points there are.
    pub size: Option<f64>,
    /// Opacity of a point, above 0 to 1. Default: 0.35 to 0.85, lower the more points there are.
    pub alpha: Option<f64>,
    /// One colour a group, by name (`"blue"`) or value (`"#0072b2"`); repeated if there are more groups. Default: a
    /// cycle that is safe for the colour-blind.
    pub colors: Vec<String>,
    /// Colours of the values, where points have values: `"viridis"`, `"diverging"` or `"gray"`. Default: `"viridis"`.
    pub color_map: ColorMap,
    /// The values, `[low, high]`, at the ends of the colours. Default: least and greatest value.
    pub value_limits: Option<[f64; 2]>,
    /// Text beside the scale of colours. Default: none.
    pub value_label: String,
    /// Width of the figure in pixels, 64 to 4000. Default: 640, or from the shape of the data where `equal`.
    pub width: Option<u32>,
    /// Height of the figure in pixels, 64 to 4000. Default: 420, or from the shape of the data where `equal`.
    pub height: Option<u32>,
}

impl Default for ScatterOptions {
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
            equal: None,
            size: None,
            alpha: None,
            colors: Vec::new(),
            color_map: ColorMap::Viridis,
            value_limits: None,
            value_label: String::new(),
            width: None,
            height: None,
        }
    }
}

/// One group of points.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Points {
    /// Where the points stand across.
    pub x: Vec<f64>,
    /// Where they stand upwards, as many as `x`.
    pub y: Vec<f64>,
    /// A number a point that gives it its colour, instead of the group's.
    pub values: Option<Vec<f64>>,
}

impl Points {
    fn pairs(&self) -> impl Iterator<Item = [f64; 2]> {
        self.x.iter().zip(&self.y).map(|(&x, &y)| [x, y])
    }
}

#[derive(Debug)]
struct Scatter {
    groups: Vec<Points>,
    options: ScatterOptions,
    colors: Vec<Color>,
    /// Found once: the size of the figure depends on them.
    x: Scale,
    y: Scale,
    equal: bool,
}

impl Figure {
    /// Points in the plane. Errors if lists that belong together differ in length, or if an option makes no sense.
    pub fn scatter(groups: Vec<Points>, options: ScatterOptions) -> Result<Self> {
        for group in &groups {
            check_length("y", group.y.len(), group.x.len())?;
            if let Some(values) = &group.values {
                check_length("values", values.len(), group.x.len())?;
            }
        }
        check_labels("labels", &options.labels, groups.len())?;
        check_limits("x_limits", options.x_limits, options.log_x)?;
        check_limits("y_limits", options.y_limits, options.log_y)?;
        check_limits("value_limits", options.value_limits, false)?;
        if let Some(size) = options.size {
            check_number("size", size, 0.5..=50.0, "0.5 to 50 pixels")?;
        }
        if let Some(alpha) = options.alpha {
            check_number("alpha", alpha, 1e-3..=1.0, "0 < alpha <= 1")?;
        }
        check_side("width", options.width)?;
        check_side("height", options.height)?;
        let log = options.log_x || options.log_y;
        if options.equal == Some(true) && log {
            return Err(Error::Option {
                option: "equal",
                expected: "false with a logarithmic axis",
                got: "true".to_string(),
            });
        }
        let colors = parse_colors(&options.colors)?;
        let kinds = [options.log_x, options.log_y].map(Kind::from_log);
        let shown: Vec<[f64; 2]> = groups
            .iter()
            .flat_map(Points::pairs)
            .filter(|[x, y]| kinds[0].takes(*x) && kinds[1].takes(*y))
            .collect();
        let x = Scale::fit(kinds[0], shown.iter().map(|p| p[0]), 0.04, options.x_limits);
        let y = Scale::fit(kinds[1], shown.iter().map(|p| p[1]), 0.04, options.y_limits);
        let equal = !log && is_equal(options.equal, &x, &y, MOST_UNEQUAL);
        Ok(Self::new(Scatter {
            groups,
            options,
            colors,
            x,
            y,
            equal,
        }))
    }
}

impl Plot for Scatter {
    fn size(&self) -> [f64; 2] {
        let ScatterOptions { width, height, .. } = self.options;
        let extra = if self.has_values() { 74.0 } else { 0.0 };
        let titled = !self.options.title.is_empty();
        plane_size(
            &self.x,
            &self.y,
            self.equal,
            (extra, titled),
            (width, height),
        )
    }

    fn title(&self) -> &str {
        &self.options.title
    }

    fn describe(&self) -> String {
        let points = self.len();
        let plural = if points == 1 { "" } else { "s" };
        match self.groups.len() {
            0 | 1 => format!("scatter plot, {points} point{plural}"),
            n => format!("scatter plot, {n} groups, {points} points"),
        }
    }

    fn colors(&self) -> Option<usize> {
        Some(self.groups.iter().filter(|g| g.values.is_none()).count())
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let options = &self.options;
        let mut dropped = Dropped::default();
        for point in self.groups.iter().flat_map(Points::pairs) {
            dropped.point(point, [options.log_x, options.log_y]);
        }
        let gone = dropped.not_finite + dropped.not_positive;
        let in_limits = |p: &[f64; 2]| self.x.contains(p[0]) && self.y.contains(p[1]);
        let shown = self
            .groups
            .iter()
            .flat_map(Points::pairs)
            .filter(in_limits)
            .count();
        let mut notes: Vec<String> = dropped.note("points").into_iter().collect();
        if self.len() == gone {
            notes.insert(0, "no data".to_string());
        } else if shown > MOST_POINTS {
            let shown = count(shown);
            let note = format!("{shown} points, thinned; stronger where more lie on one another");
            notes.insert(0, note);
        }
        let bar = self.bar();
        let axis = |scale, label: &str| Axis {
            scale,
            label: label.to_string(),
            ticks: Ticks::Auto,
            grid: true,
        };
        let panel = Panel {
            title: options.title.clone(),
            x: axis(self.x, &options.x_label),
            y: axis(self.y, &options.y_label),
            equal: self.equal,
            marks: self.marks(bar.as_ref(), palette),
            legend: self.legend(palette),
            bar,
            cells: Vec::new(),
            notes,
        };
        vec![Placed { area, panel }]
    }
}

impl Scatter {
    fn len(&self) -> usize {
        self.groups.iter().map(|g| g.x.len()).sum()
    }

    fn has_values(&self) -> bool {
        self.groups.iter().any(|g| g.values.is_some())
    }

    /// Diameter and opacity of a point: so that few points are seen well and many do not fill the picture.
    fn style(&self) -> (f64, f64) {
        let (size, alpha) = match self.len() {
            0..=60 => (7.0, 0.85),
            61..=400 => (5.5, 0.8),
            401..=1500 => (4.5, 0.7),
            1501..=6000 => (3.6, 0.55),
            6001..=20_000 => (3.0, 0.45),
            _ => (3.0, 0.35),
        };
        // A colour that stands for a number should not be mixed with its neighbours.
        let alpha = if self.has_values() { 0.9 } else { alpha };
        (
            self.options.size.unwrap_or(size),
            self.options.alpha.unwrap_or(alpha),
        )
    }

    fn bar(&self) -> Option<ColorBar> {
        if !self.has_values() {
            return None;
        }
        let values = self
            .groups
            .iter()
            .filter_map(|g| g.values.as_ref())
            .flatten();
        let range = Scale::fit(
            Kind::Linear,
            values.copied(),
            0.0,
            self.options.value_limits,
        );
        Some(ColorBar {
            map: self.options.color_map,
            lo: range.lo,
            hi: range.hi,
            label: self.options.value_label.clone(),
            levels: Vec::new(),
        })
    }

    fn marks(&self, bar: Option<&ColorBar>, palette: &Palette) -> Vec<Mark> {
        let (size, alpha) = self.style();
        let mark = |(i, group): (usize, &Points)| {
            let own = series_color(&self.colors, palette, i);
            let colors = match (&group.values, bar) {
                (Some(values), Some(bar)) => {
                    let scale = bar.axis().scale;
                    let color = |v: &f64| match v.is_nan() {
                        true => palette.missing,
                        false => bar.map.at(scale.unit(*v)),
                    };
                    values.iter().map(|v| color(v).with_alpha(alpha)).collect()
                }
                _ => vec![own.with_alpha(alpha)],
            };
            let kinds = [self.options.log_x, self.options.log_y].map(Kind::from_log);
            // What an axis cannot show has no place.
            let place = |[x, y]: [f64; 2]| match kinds[0].takes(x) && kinds[1].takes(y) {
                true => [x, y],
                false => [f64::NAN; 2],
            };
            Mark::Points {
                points: group.pairs().map(place).collect(),
                colors,
                radius: size / 2.0,
            }
        };
        self.groups.iter().enumerate().map(mark).collect()
    }

    fn legend(&self, palette: &Palette) -> Vec<Key> {
        let labels = self.options.labels.iter().filter(|_| self.options.legend);
        let key = |(i, label): (usize, &String)| Key {
            label: label.clone(),
            color: series_color(&self.colors, palette, i),
            shape: Shape::Disc,
        };
        labels.enumerate().map(key).collect()
    }
}

/// Two groups, one of them coloured by a value, from any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let reversed: Vec<f64> = numbers.iter().rev().copied().collect();
    let group = Points {
        x: numbers.to_vec(),
        y: reversed.clone(),
        values: Some(numbers.to_vec()),
    };
    let other = Points {
        x: reversed,
        y: numbers.to_vec(),
        values: None,
    };
    let options = ScatterOptions {
        title: "points".to_string(),
        labels: vec!["one".to_string(), "other".to_string()],
        ..Default::default()
    };
    Figure::scatter(vec![group, other], options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Theme;

    fn cloud(n: usize) -> Points {
        // Low-discrepancy points: they fill the square evenly.
        let at = |i: usize, step: f64| (i as f64 * step).fract();
        Points {
            x: (0..n).map(|i| at(i, 0.7548776662466927)).collect(),
            y: (0..n).map(|i| at(i, 0.5698402909980532)).collect(),
            values: None,
        }
    }

    #[test]
    fn a_million_points_make_a_small_file() {
        let figure = Figure::scatter(vec![cloud(1_000_000)], ScatterOptions::default()).unwrap();
        let svg = figure.svg(Theme::Light);
        assert!(svg.len() < 2_000_000, "{}", svg.len());
        assert!(svg.matches("<circle").count() > 5_000);
        assert!(svg.contains("1,000,000 points, thinned"));
    }

    #[test]
    fn few_points_are_all_drawn() {
        let figure = Figure::scatter(vec![cloud(5_000)], ScatterOptions::default()).unwrap();
        assert_eq!(figure.svg(Theme::Light).matches("<circle").count(), 5_000);
    }

    #[test]
    fn axes_with_one_unit_shape_the_figure() {
        let square = Figure::scatter(vec![cloud(100)], ScatterOptions::default()).unwrap();
        let [width, height] = square.size();
        assert!((width - height).abs() < 30.0, "{width} {height}");
        let mut flat = cloud(100);
        flat.y.iter_mut().for_each(|y| *y *= 1000.0);
        let unequal = Figure::scatter(vec![flat.clone()], ScatterOptions::default()).unwrap();
        assert_eq!(unequal.size(), [640.0, 420.0]);
        let log = ScatterOptions {
            equal: Some(true),
            log_x: true,
            ..Default::default()
        };
        assert_eq!(
            Figure::scatter(vec![flat], log).unwrap_err().option(),
            Some("equal")
        );
    }

    #[test]
    fn dropped_points_are_counted() {
        let group = Points {
            x: vec![1.0, f64::NAN, 2.0],
            y: vec![1.0, 2.0, f64::INFINITY],
            values: None,
        };
        let svg = Figure::scatter(vec![group], ScatterOptions::default())
            .unwrap()
            .svg(Theme::Light);
        assert!(svg.contains("points left out: 2 not finite"));
        assert_eq!(svg.matches("<circle").count(), 1);
    }
}
