//! `hist`: how often values occur, for one or several groups over the same bins.

use super::options::{
    check_labels, check_limits, check_number, check_side, parse_colors, series_color,
};
use super::{Figure, Plot};
use crate::axis::{Axis, Ticks, counted};
use crate::color::{Color, Palette};
use crate::error::{Error, Result};
use crate::mark::{Mark, Rect};
use crate::panel::{Dropped, Key, Panel, Placed, Shape};
use crate::scale::{Kind, Scale};
use schemars::JsonSchema;
use serde::Deserialize;

/// More bins than this are not told apart at the usual size.
const MOST_BINS: usize = 100;
/// Whole numbers over a range up to this get a bin each.
const MOST_WHOLE: f64 = 50.0;

/// Options of `plot::hist`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HistOptions {
    /// Text above the figure. Default: none.
    pub title: String,
    /// Text below the x axis. Default: none.
    pub x_label: String,
    /// Text beside the y axis. Default: `"count"`, or `"density"` with `density`.
    pub y_label: Option<String>,
    /// One name a group, for the legend. Default: none, and no legend.
    pub labels: Vec<String>,
    /// Whether the legend is shown where there are labels. Default: true.
    pub legend: bool,
    /// Number of bins, 1 to 1000. Default: by the rule of Freedman and Diaconis, at most 100; whole numbers over a
    /// range up to 50 get a bin each.
    pub bins: Option<usize>,
    /// Whether the area of each group is 1, instead of heights that count. Default: false.
    pub density: bool,
    /// Whether the y axis is logarithmic. Default: false.
    pub log_y: bool,
    /// Ends of the bins, `[low, high]`, in units of the values; values outside are left out. Default: all of the data.
    pub x_limits: Option<[f64; 2]>,
    /// Opacity of the bars, above 0 to 1. Default: 0.85 for one group, 0.45 for several.
    pub alpha: Option<f64>,
    /// One colour a group, by name (`"blue"`) or value (`"#0072b2"`); repeated if there are more groups. Default: a
    /// cycle that is safe for the colour-blind.
    pub colors: Vec<String>,
    /// Width of the figure in pixels, 64 to 4000. Default: 640.
    pub width: u32,
    /// Height of the figure in pixels, 64 to 4000. Default: 420.
    pub height: u32,
}

impl Default for HistOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: None,
            labels: Vec::new(),
            legend: true,
            bins: None,
            density: false,
            log_y: false,
            x_limits: None,
            alpha: None,
            colors: Vec::new(),
            width: 640,
            height: 420,
        }
    }
}

#[derive(Debug)]
struct Hist {
    /// Heights of the bars, a list a group.
    heights: Vec<Vec<f64>>,
    bins: Bins,
    values: usize,
    notes: Vec<String>,
    options: HistOptions,
    colors: Vec<Color>,
}

/// Bins of equal width.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bins {
    lo: f64,
    hi: f64,
    count: usize,
}

impl Bins {
    fn width(&self) -> f64 {
        (self.hi - self.lo) / self.count as f64
    }

    fn edge(&self, i: usize) -> f64 {
        self.lo + (self.hi - self.lo) * (i as f64 / self.count as f64)
    }

    /// The bin of a finite value; the last one takes its right edge too.
    fn of(&self, value: f64) -> Option<usize> {
        let t = (value - self.lo) / (self.hi - self.lo);
        let bin = (t * self.count as f64) as usize;
        (0.0..=1.0).contains(&t).then_some(bin.min(self.count - 1))
    }
}

impl Figure {
    /// A histogram of one or several groups of values. Errors if labels and groups differ in number, or if an option
    /// makes no sense.
    pub fn hist(groups: Vec<Vec<f64>>, options: HistOptions) -> Result<Self> {
        check_labels("labels", &options.labels, groups.len())?;
        check_limits("x_limits", options.x_limits, false)?;
        if let Some(alpha) = options.alpha {
            check_number("alpha", alpha, 1e-3..=1.0, "0 < alpha <= 1")?;
        }
        check_side("width", Some(options.width))?;
        check_side("height", Some(options.height))?;
        if let Some(bins) = options.bins
            && !(1..=1000).contains(&bins)
        {
            return Err(Error::Option {
                option: "bins",
                expected: "1 to 1000",
                got: bins.to_string(),
            });
        }
        let colors = parse_colors(&options.colors)?;
        let mut dropped = Dropped::default();
        groups
            .iter()
            .flatten()
            .for_each(|v| dropped.value(*v, false));
        let values: usize = groups.iter().map(Vec::len).sum();
        let bins = choose_bins(&groups, options.bins, options.x_limits);
        let counts: Vec<Vec<f64>> = groups.iter().map(|g| count(g, &bins)).collect();
        let mut notes: Vec<String> = dropped.note("values").into_iter().collect();
        let counted_in: f64 = counts.iter().flatten().sum();
        let outside = (values - dropped.not_finite).saturating_sub(counted_in as usize);
        if outside > 0 {
            notes.push(format!(
                "{} outside of the limits",
                counted(outside, "value")
            ));
        }
        if counted_in == 0.0 {
            notes.insert(0, "no data".to_string());
        }
        let heights = match options.density {
            true => counts.iter().map(|c| density(c, bins.width())).collect(),
            false => counts,
        };
        Ok(Self::new(Hist {
            heights,
            bins,
            values,
            notes,
            options,
            colors,
        }))
    }
}

/// Bins for all groups together.
fn choose_bins(groups: &[Vec<f64>], bins: Option<usize>, limits: Option<[f64; 2]>) -> Bins {
    let inside = |v: &f64| v.is_finite() && limits.is_none_or(|[lo, hi]| (lo..=hi).contains(v));
    let mut sorted: Vec<f64> = groups.iter().flatten().copied().filter(inside).collect();
    sorted.sort_by(f64::total_cmp);
    let range = Scale::fit(Kind::Linear, sorted.iter().copied(), 0.0, limits);
    let (lo, hi) = (range.lo, range.hi);
    if let Some(count) = bins {
        return Bins { lo, hi, count };
    }
    let whole = sorted.iter().all(|v| v.fract() == 0.0) && !sorted.is_empty();
    if whole && limits.is_none() && hi - lo <= MOST_WHOLE {
        let (first, last) = (lo.round(), hi.round());
        return Bins {
            lo: first - 0.5,
            hi: last + 0.5,
            count: (last - first) as usize + 1,
        };
    }
    let n = sorted.len().max(1) as f64;
    let quantile = |q: f64| sorted.get((q * (n - 1.0)).round() as usize).copied();
    let spread = quantile(0.75).unwrap_or(0.0) - quantile(0.25).unwrap_or(0.0);
    // Freedman and Diaconis 1981; where half of the values are one, Sturges 1926.
    let wanted = match 2.0 * spread / n.cbrt() {
        width if width > 0.0 => (hi - lo) / width,
        _ => n.log2() + 1.0,
    };
    Bins {
        lo,
        hi,
        count: (wanted.ceil() as usize).clamp(1, MOST_BINS),
    }
}

fn count(values: &[f64], bins: &Bins) -> Vec<f64> {
    let mut counts = vec![0.0; bins.count];
    for bin in values.iter().filter_map(|v| bins.of(*v)) {
        if let Some(n) = counts.get_mut(bin) {
            *n += 1.0;
        }
    }
    counts
}

fn density(counts: &[f64], width: f64) -> Vec<f64> {
    let total: f64 = counts.iter().sum();
    counts.iter().map(|n| n / total.max(1.0) / width).collect()
}

impl Plot for Hist {
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
        let (values, bins) = (self.values, self.bins.count);
        let plural = if values == 1 { "" } else { "s" };
        match self.heights.len() {
            0 | 1 => format!("histogram, {values} value{plural} in {bins} bins"),
            n => format!("histogram, {n} groups, {values} values in {bins} bins"),
        }
    }

    fn colors(&self) -> Option<usize> {
        Some(self.heights.len())
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let options = &self.options;
        let named = match options.density {
            true => "density",
            false => "count",
        };
        let y = self.y_scale();
        let panel = Panel {
            title: options.title.clone(),
            x: Axis {
                scale: Scale::fit(
                    Kind::Linear,
                    [self.bins.lo, self.bins.hi].into_iter(),
                    0.02,
                    None,
                ),
                label: options.x_label.clone(),
                ticks: Ticks::Auto,
                grid: false,
            },
            y: Axis {
                scale: y,
                label: options.y_label.clone().unwrap_or(named.to_string()),
                ticks: if options.density || options.log_y {
                    Ticks::Auto
                } else {
                    Ticks::Integers
                },
                grid: true,
            },
            equal: false,
            marks: self.marks(y.lo, palette),
            legend: self.legend(palette),
            bar: None,
            cells: Vec::new(),
            notes: self.notes.clone(),
        };
        vec![Placed { area, panel }]
    }
}

impl Hist {
    fn y_scale(&self) -> Scale {
        let filled = || self.heights.iter().flatten().copied().filter(|h| *h > 0.0);
        let top = filled().fold(0.0, f64::max);
        let top = if top > 0.0 { top } else { 1.0 };
        if !self.options.log_y {
            return Scale::linear(0.0, top * 1.05);
        }
        // Half of the lowest bar: the bar itself is still seen.
        let lowest = filled().fold(top, f64::min);
        Scale {
            kind: Kind::Log,
            lo: (lowest / 2.0).max(1e-307),
            hi: top * 1.3,
            fixed: false,
        }
    }

    fn marks(&self, base: f64, palette: &Palette) -> Vec<Mark> {
        let several = self.heights.len() > 1;
        let alpha = self
            .options
            .alpha
            .unwrap_or(if several { 0.45 } else { 0.85 });
        let mut marks = Vec::new();
        for (i, heights) in self.heights.iter().enumerate() {
            let color = series_color(&self.colors, palette, i);
            let bar = |(i, &height): (usize, &f64)| Rect {
                left: self.bins.edge(i),
                top: height.max(base),
                right: self.bins.edge(i + 1),
                bottom: base,
            };
            marks.push(Mark::Rects {
                rects: heights.iter().enumerate().map(bar).collect(),
                color: color.with_alpha(alpha),
            });
            if several {
                marks.push(self.outline(heights, base, color));
            } else {
                self.separators(heights, base, palette.background, &mut marks);
            }
        }
        marks
    }

    /// The line along the tops of a group's bars; it leaves out bins without a value.
    fn outline(&self, heights: &[f64], base: f64, color: Color) -> Mark {
        let mut points = Vec::new();
        let mut before = false;
        for (i, &height) in heights.iter().enumerate() {
            let filled = height > base;
            let (left, right) = (self.bins.edge(i), self.bins.edge(i + 1));
            if filled && !before {
                points.push([left, base]);
            } else if before && !filled {
                points.extend([[left, base], [f64::NAN; 2]]);
            }
            if filled {
                points.extend([[left, height], [right, height]]);
            }
            before = filled;
        }
        points.extend(before.then_some([self.bins.hi, base]));
        Mark::Polyline {
            points,
            color,
            width: 1.4,
        }
    }

    /// Thin lines between the bars of a single group, where they are wide enough.
    fn separators(&self, heights: &[f64], base: f64, color: Color, marks: &mut Vec<Mark>) {
        if heights.len() > 60 {
            return;
        }
        for (i, pair) in heights.windows(2).enumerate() {
            let top = pair.iter().copied().fold(base, f64::max);
            let edge = self.bins.edge(i + 1);
            marks.push(Mark::Polyline {
                points: vec![[edge, base], [edge, top]],
                color,
                width: 0.9,
            });
        }
    }

    fn legend(&self, palette: &Palette) -> Vec<Key> {
        let labels = self.options.labels.iter().filter(|_| self.options.legend);
        let key = |(i, label): (usize, &String)| Key {
            label: label.clone(),
            color: series_color(&self.colors, palette, i).with_alpha(0.75),
            shape: Shape::Box,
        };
        labels.enumerate().map(key).collect()
    }
}

/// Two groups from any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let half = numbers.iter().map(|v| v / 2.0).collect();
    let options = HistOptions {
        title: "values".to_string(),
        labels: vec!["all".to_string(), "halved".to_string()],
        ..Default::default()
    };
    Figure::hist(vec![numbers.to_vec(), half], options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_each_value_once() {
        let bins = Bins {
            lo: 0.0,
            hi: 4.0,
            count: 4,
        };
        let values = [0.0, 0.5, 1.0, 3.999, 4.0, 5.0, -1.0, f64::NAN];
        assert_eq!(count(&values, &bins), [2.0, 1.0, 0.0, 2.0]);
        let area: f64 = density(&[2.0, 6.0], 0.5).iter().sum::<f64>() * 0.5;
        assert!((area - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_number_of_bins_follows_the_data() {
        let even: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
        // Spread 0.499, so a width of 2 * 0.499 / 10 over a range of 0.999.
        assert_eq!(choose_bins(&[even], None, None).count, 11);
        let mut outlier = vec![0.0; 50];
        outlier.extend((0..50).map(|i| f64::from(i) * 0.01));
        outlier.push(1e9);
        assert_eq!(choose_bins(&[outlier], None, None).count, MOST_BINS);
        let whole = choose_bins(&[vec![1.0, 2.0, 2.0, 5.0]], None, None);
        assert_eq!((whole.lo, whole.hi, whole.count), (0.5, 5.5, 5));
        assert_eq!(choose_bins(&[vec![0.1, 7.0]], Some(3), None).count, 3);
    }

    #[test]
    fn values_outside_of_the_limits_are_said() {
        let options = HistOptions {
            x_limits: Some([0.0, 1.0]),
            ..Default::default()
        };
        let figure = Figure::hist(vec![vec![0.5, 2.0, f64::NAN]], options).unwrap();
        let svg = figure.svg(crate::Theme::Light);
        assert!(svg.contains("values left out: 1 not finite. 1 value outside of the limits"));
    }

    #[test]
    fn zero_bins_are_an_error() {
        let options = HistOptions {
            bins: Some(0),
            ..Default::default()
        };
        let error = Figure::hist(vec![], options).unwrap_err();
        assert_eq!(
            error.to_string(),
            "option `bins`: expected 1 to 1000, got 0"
        );
    }
}
