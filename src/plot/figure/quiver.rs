//! `quiver`: a field of vectors as arrows.

use super::options::{
    check_length, check_limits, check_number, check_side, color_range, is_equal, plane_size,
};
use super::{Figure, Plot};
use crate::axis::{Axis, count, counted};
use crate::color::{self, Color, ColorMap, Palette};
use crate::error::Result;
use crate::mark::{Mark, Rect};
use crate::panel::{ColorBar, Dropped, Panel, Placed};
use crate::scale::{Kind, Scale, extent};
use schemars::JsonSchema;
use serde::Deserialize;

/// One axis may be this much longer than the other and still have its unit.
const MOST_UNEQUAL: f64 = 6.0;
/// More arrows than this hide one another.
const MOST: usize = 2500;

/// Options of `plot::quiver`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuiverOptions {
    /// Text above the figure. Default: none.
    pub title: String,
    /// Text below the x axis. Default: none.
    pub x_label: String,
    /// Text beside the y axis. Default: none.
    pub y_label: String,
    /// Length of an arrow, in units of the axes, for a vector of length 1; above 0. Default: so that the longest arrow is
    /// about as long as arrows are apart.
    pub scale: Option<f64>,
    /// Whether all arrows are equally long, and show directions only. Default: false.
    pub normalize: bool,
    /// Whether an arrow's colour shows the length of its vector. Default: where `normalize`.
    pub color_by_length: Option<bool>,
    /// Colours of the lengths: `"viridis"`, `"diverging"` or `"gray"`. Default: `"viridis"`.
    pub color_map: ColorMap,
    /// The lengths, `[low, high]`, at the ends of the colours. Default: least and greatest length.
    pub value_limits: Option<[f64; 2]>,
    /// Text beside the scale of colours. Default: none.
    pub value_label: String,
    /// Colour of all arrows, by name (`"blue"`) or value (`"#0072b2"`). Default: the first of the cycle.
    pub color: Option<String>,
    /// Width of the shafts in pixels, 0.1 to 20. Default: 1.3.
    pub line_width: f64,
    /// Ends of the x axis, `[low, high]`, in units of x. Default: all of the arrows.
    pub x_limits: Option<[f64; 2]>,
    /// Ends of the y axis, `[low, high]`, in units of y. Default: all of the arrows.
    pub y_limits: Option<[f64; 2]>,
    /// Whether a unit is as long on the x axis as on the y axis. Default: yes, unless one range is more than 6 times the
    /// other.
    pub equal: Option<bool>,
    /// Width of the figure in pixels, 64 to 4000. Default: 640, or from the shape of the data where `equal`.
    pub width: Option<u32>,
    /// Height of the figure in pixels, 64 to 4000. Default: 420, or from the shape of the data where `equal`.
    pub height: Option<u32>,
}

impl Default for QuiverOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            scale: None,
            normalize: false,
            color_by_length: None,
            color_map: ColorMap::Viridis,
            value_limits: None,
            value_label: String::new(),
            color: None,
            line_width: 1.3,
            x_limits: None,
            y_limits: None,
            equal: None,
            width: None,
            height: None,
        }
    }
}

#[derive(Debug)]
struct Quiver {
    arrows: Vec<[[f64; 2]; 2]>,
    /// Lengths of the vectors, one an arrow.
    lengths: Vec<f64>,
    given: usize,
    dropped: Dropped,
    color: Option<Color>,
    x: Scale,
    y: Scale,
    equal: bool,
    options: QuiverOptions,
}

impl Figure {
    /// The vectors `v` as arrows that begin at the points `at`. Errors if there are not as many vectors as points, or if
    /// an option makes no sense.
    pub fn quiver(at: Vec<[f64; 2]>, v: Vec<[f64; 2]>, options: QuiverOptions) -> Result<Self> {
        check_length("vectors", v.len(), at.len())?;
        check_number(
            "scale",
            options.scale.unwrap_or(1.0),
            1e-300..=1e300,
            "a number above 0",
        )?;
        check_number(
            "line_width",
            options.line_width,
            0.1..=20.0,
            "0.1 to 20 pixels",
        )?;
        check_limits("x_limits", options.x_limits, false)?;
        check_limits("y_limits", options.y_limits, false)?;
        check_limits("value_limits", options.value_limits, false)?;
        check_side("width", options.width)?;
        check_side("height", options.height)?;
        let color = options.color.as_deref().map(color::parse).transpose()?;
        let given = at.len();
        let mut dropped = Dropped::default();
        let stride = given.div_ceil(MOST).max(1);
        let (mut kept, mut lengths) = (Vec::new(), Vec::new());
        for (i, (at, v)) in at.into_iter().zip(v).enumerate() {
            let length = v[0].hypot(v[1]);
            let sum = at[0] + at[1] + length;
            dropped.value(sum, false);
            if sum.is_finite() && i.is_multiple_of(stride) {
                kept.push((at, v));
                lengths.push(length);
            }
        }
        let arrows = arrows(&kept, &lengths, &options);
        let scale = |axis: usize, limits| {
            let ends = arrows.iter().flatten().filter_map(|p| p.get(axis).copied());
            Scale::fit(Kind::Linear, ends, 0.04, limits)
        };
        let (x, y) = (scale(0, options.x_limits), scale(1, options.y_limits));
        Ok(Self::new(Quiver {
            lengths,
            given,
            dropped,
            color,
            equal: is_equal(options.equal, &x, &y, MOST_UNEQUAL),
            x,
            y,
            arrows,
            options,
        }))
    }
}

/// Where the arrows begin and end.
fn arrows(
    vectors: &[([f64; 2], [f64; 2])],
    lengths: &[f64],
    options: &QuiverOptions,
) -> Vec<[[f64; 2]; 2]> {
    let longest = lengths.iter().copied().fold(0.0, f64::max);
    let range = |axis: usize| {
        extent(vectors.iter().filter_map(|(at, _)| at.get(axis).copied()))
            .map_or(0.0, |(lo, hi)| (hi / 2.0 - lo / 2.0) * 2.0)
            .min(8e307)
    };
    // How far n points that fill a rectangle, or a line, are apart.
    let (n, width, height) = (vectors.len() as f64, range(0), range(1));
    let apart = (width.sqrt() * height.sqrt() / n.sqrt()).max(width.max(height) / n);
    let apart = if apart > 0.0 { apart } else { 1.0 };
    let scale = options.scale.unwrap_or(match (options.normalize, longest) {
        (true, _) => 0.8 * apart,
        (false, longest) if longest > 0.0 => 0.95 * apart / longest,
        _ => 1.0,
    });
    let arrow = |((at, v), length): (&([f64; 2], [f64; 2]), &f64)| {
        let size = match options.normalize {
            true if *length > 0.0 => scale / length,
            _ => scale,
        };
        [*at, [0, 1].map(|i| at[i] + v[i] * size)]
    };
    vectors.iter().zip(lengths).map(arrow).collect()
}

impl Plot for Quiver {
    fn size(&self) -> [f64; 2] {
        let extra = if self.bar().is_some() { 74.0 } else { 0.0 };
        let titled = !self.options.title.is_empty();
        let sides = (self.options.width, self.options.height);
        plane_size(&self.x, &self.y, self.equal, (extra, titled), sides)
    }

    fn title(&self) -> &str {
        &self.options.title
    }

    fn describe(&self) -> String {
        format!("quiver plot, {}", counted(self.given, "arrow"))
    }

    fn colors(&self) -> Option<usize> {
        Some(usize::from(self.bar().is_none() && self.color.is_none()))
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let mut notes: Vec<String> = self.dropped.note("arrows").into_iter().collect();
        if self.arrows.is_empty() {
            notes.insert(0, "no data".to_string());
        } else if self.given > MOST {
            let (shown, all) = (count(self.arrows.len()), count(self.given));
            notes.insert(0, format!("{shown} of {all} arrows"));
        }
        let bar = self.bar();
        let colors = match &bar {
            Some(bar) => self.lengths.iter().map(|l| bar.color(*l)).collect(),
            None => vec![self.color.unwrap_or_else(|| palette.series(0))],
        };
        let x = Axis::numbers(self.x, &self.options.x_label);
        let y = Axis::numbers(self.y, &self.options.y_label);
        let panel = Panel {
            equal: self.equal,
            marks: vec![Mark::Arrows {
                arrows: self.arrows.clone(),
                colors,
                width: self.options.line_width,
                inset: 0.0,
            }],
            bar,
            notes,
            ..Panel::new(&self.options.title, x, y)
        };
        vec![Placed { area, panel }]
    }
}

impl Quiver {
    fn bar(&self) -> Option<ColorBar> {
        let options = &self.options;
        if !options.color_by_length.unwrap_or(options.normalize) {
            return None;
        }
        let [lo, hi] = color_range(&self.lengths, options.value_limits, options.color_map);
        Some(ColorBar {
            map: options.color_map,
            lo,
            hi,
            label: options.value_label.clone(),
            levels: Vec::new(),
        })
    }
}

/// Arrows from each number to the next, from any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let at = numbers.iter().enumerate().map(|(i, v)| [*v, i as f64]);
    let v = numbers.iter().rev().map(|v| [*v, 1.0]);
    let options = QuiverOptions {
        title: "arrows".to_string(),
        color_by_length: Some(true),
        ..Default::default()
    };
    Figure::quiver(at.collect(), v.collect(), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_arrow_is_as_long_as_arrows_are_apart() {
        let at: Vec<([f64; 2], [f64; 2])> = (0..100)
            .map(|i| ([f64::from(i % 10), f64::from(i / 10)], [f64::from(i), 0.0]))
            .collect();
        let lengths: Vec<f64> = at.iter().map(|(_, v)| v[0]).collect();
        let drawn = arrows(&at, &lengths, &QuiverOptions::default());
        assert!(
            (drawn[99][1][0] - 9.0 - 0.95 * 0.9).abs() < 1e-9,
            "{:?}",
            drawn[99]
        );
        let options = QuiverOptions {
            scale: Some(2.0),
            ..Default::default()
        };
        assert_eq!(arrows(&at, &lengths, &options)[3], [[3.0, 0.0], [9.0, 0.0]]);
        let options = QuiverOptions {
            normalize: true,
            scale: Some(0.5),
            ..Default::default()
        };
        let drawn = arrows(&at, &lengths, &options);
        assert_eq!((drawn[7][1], drawn[0][1]), ([7.5, 0.0], [0.0, 0.0]));
    }

    #[test]
    fn vectors_and_points_are_as_many() {
        let error = Figure::quiver(vec![[0.0; 2]], vec![], QuiverOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "vectors: expected 1, got 0");
        let options = QuiverOptions {
            scale: Some(0.0),
            ..Default::default()
        };
        let error = Figure::quiver(vec![], vec![], options).unwrap_err();
        assert_eq!(error.option(), Some("scale"));
    }
}
