//! `bar`: a value for each of several names, as bars that stand or lie, side by side or on one another.

use super::options::{
    check_labels, check_length, check_limits, check_number, check_side, parse_colors, series_color,
};
use super::{Figure, Plot};
use crate::axis::{Axis, Ticks, count, counted, number};
use crate::color::{Color, Palette};
use crate::error::{Error, Result};
use crate::font;
use crate::mark::{Anchor, Mark, Rect, Text};
use crate::panel::{Dropped, Key, Panel, Placed, Shape};
use crate::scale::{Kind, Scale};
use schemars::JsonSchema;
use serde::Deserialize;

/// More names than this are narrower than a pixel.
const MOST: usize = 1000;
/// Size of the numbers on the bars, and of the names.
const TEXT: f64 = 10.5;
/// Longer names are cut, in pixels.
const NAME: f64 = 220.0;

/// Options of `plot::bar`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BarOptions {
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
    /// Whether the series stand on one another instead of side by side. Default: false.
    pub stacked: bool,
    /// Whether the bars lie, the first name at the top. Default: where the names are too long to stand side by side.
    pub horizontal: Option<bool>,
    /// Whether each bar shows its number. Default: false.
    pub values: bool,
    /// Ends of the axis of the values, `[low, high]`. Default: from 0, all of the values.
    pub limits: Option<[f64; 2]>,
    /// Share of a name's room that its bars take, 0.05 to 1. Default: 0.8.
    pub bar_width: f64,
    /// One colour a series, by name (`"blue"`) or value (`"#0072b2"`); repeated if there are more series. Default: a
    /// cycle that is safe for the colour-blind.
    pub colors: Vec<String>,
    /// Width of the figure in pixels, 64 to 4000. Default: 640.
    pub width: u32,
    /// Height of the figure in pixels, 64 to 4000. Default: 420, or for lying bars by their number.
    pub height: Option<u32>,
}

impl Default for BarOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            labels: Vec::new(),
            legend: true,
            stacked: false,
            horizontal: None,
            values: false,
            limits: None,
            bar_width: 0.8,
            colors: Vec::new(),
            width: 640,
            height: None,
        }
    }
}

/// A value for each name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bars {
    /// The values.
    pub values: Vec<f64>,
    /// How far an error bar reaches above and below each value.
    pub errors: Option<Vec<f64>>,
}

#[derive(Debug)]
struct Bar {
    names: Vec<String>,
    series: Vec<Bars>,
    /// How many names were given.
    given: usize,
    dropped: Dropped,
    horizontal: bool,
    colors: Vec<Color>,
    options: BarOptions,
}

impl Figure {
    /// Bars with names. Errors if a series does not have a value (and an error) for each name, or if an option makes no
    /// sense.
    pub fn bar(names: Vec<String>, series: Vec<Bars>, options: BarOptions) -> Result<Self> {
        for Bars { values, errors } in &series {
            check_length("values", values.len(), names.len())?;
            if let Some(errors) = errors {
                check_length("errors", errors.len(), names.len())?;
            }
        }
        check_labels("labels", &options.labels, series.len())?;
        check_limits("limits", options.limits, false)?;
        check_number("bar_width", options.bar_width, 0.05..=1.0, "0.05 to 1")?;
        check_side("width", Some(options.width))?;
        check_side("height", options.height)?;
        if options.stacked && series.iter().any(|s| s.errors.is_some()) && series.len() > 1 {
            return Err(Error::Option {
                option: "stacked",
                expected: "false with errors",
                got: "true".to_string(),
            });
        }
        let colors = parse_colors(&options.colors)?;
        let mut dropped = Dropped::default();
        let all = series.iter().flat_map(|s| &s.values);
        all.for_each(|v| dropped.value(*v, false));
        let given = names.len();
        let widest = names
            .iter()
            .map(|n| font::width(n, 11.5) + 8.0)
            .fold(0.0, f64::max);
        let room = (f64::from(options.width) - 70.0) / given.max(1) as f64;
        let horizontal = options.horizontal.unwrap_or(widest > room && given <= 40);
        let (names, series) = merged(names, series);
        Ok(Self::new(Bar {
            names: names.iter().map(|n| font::cut(n, 11.5, NAME)).collect(),
            series,
            given,
            dropped,
            horizontal,
            colors,
            options,
        }))
    }
}

/// Of more bars than a picture shows, the longest of each few neighbours.
fn merged(names: Vec<String>, series: Vec<Bars>) -> (Vec<String>, Vec<Bars>) {
    let few = names.len().div_ceil(MOST);
    if few < 2 {
        return (names, series);
    }
    let longest = |values: &[f64]| {
        let finite = values.iter().copied().filter(|v| v.is_finite());
        finite
            .max_by(|a, b| a.abs().total_cmp(&b.abs()))
            .unwrap_or(f64::NAN)
    };
    let series = series.iter().map(|s| Bars {
        values: s.values.chunks(few).map(longest).collect(),
        errors: None,
    });
    let series = series.collect();
    (names.into_iter().step_by(few).collect(), series)
}

/// One bar: its series, the middle and half width of its place, its two ends, and how far its error reaches.
struct Piece {
    series: usize,
    middle: f64,
    half: f64,
    from: f64,
    to: f64,
    error: f64,
}

impl Bar {
    fn pieces(&self) -> Vec<Piece> {
        let options = &self.options;
        let beside = match options.stacked {
            true => 1.0,
            false => self.series.len().max(1) as f64,
        };
        let half = options.bar_width / beside / 2.0;
        let mut pieces = Vec::new();
        for name in 0..self.names.len() {
            let (mut above, mut below) = (0.0, 0.0);
            for (series, bars) in self.series.iter().enumerate() {
                let value = bars.values.get(name).copied().unwrap_or(f64::NAN);
                if !value.is_finite() {
                    continue;
                }
                let shift = match options.stacked {
                    true => 0.0,
                    false => (series as f64 - (beside - 1.0) / 2.0) * 2.0 * half,
                };
                let base = match (options.stacked, value < 0.0) {
                    (false, _) => 0.0,
                    (true, false) => above,
                    (true, true) => below,
                };
                let to = (base + value).clamp(-8e307, 8e307);
                if value < 0.0 {
                    below = to
                } else {
                    above = to
                };
                let error = bars.errors.as_ref().and_then(|e| e.get(name)).copied();
                pieces.push(Piece {
                    series,
                    middle: name as f64 + shift,
                    half,
                    from: base,
                    to,
                    error: error.filter(|e| e.is_finite()).unwrap_or(0.0).abs(),
                });
            }
        }
        pieces
    }

    /// The axis of the values: from zero, with room where bars end.
    fn value_scale(&self, pieces: &[Piece]) -> Scale {
        let ends = pieces
            .iter()
            .flat_map(|p| [p.to - p.error, p.to + p.error, 0.0]);
        let fit = Scale::fit(Kind::Linear, ends, 0.0, self.options.limits);
        if fit.fixed {
            return fit;
        }
        let share = if self.options.values { 0.09 } else { 0.05 };
        let room = fit.span() * share;
        let room_at = |end: f64| if end == 0.0 { 0.0 } else { room };
        // The length of the axis stays finite.
        let (lo, hi) = (fit.lo - room_at(fit.lo), fit.hi + room_at(fit.hi));
        Scale::linear(lo.max(-8.5e307), hi.min(8.5e307))
    }

    /// A place along the names and one along the values, as x and y.
    fn place(&self, name: f64, value: f64) -> [f64; 2] {
        match self.horizontal {
            true => [value, name],
            false => [name, value],
        }
    }

    fn marks(&self, pieces: &[Piece], scale: Scale, palette: &Palette) -> Vec<Mark> {
        let mut marks = Vec::new();
        for series in 0..self.series.len() {
            let own = pieces.iter().filter(|p| p.series == series);
            let rect = |p: &Piece| {
                let [left, top] = self.place(p.middle - p.half * 0.97, p.from.max(p.to));
                let [right, bottom] = self.place(p.middle + p.half * 0.97, p.from.min(p.to));
                Rect {
                    left: left.min(right),
                    top: top.max(bottom),
                    right: left.max(right),
                    bottom: top.min(bottom),
                }
            };
            marks.push(Mark::Rects {
                rects: own.map(rect).collect(),
                color: series_color(&self.colors, palette, series).with_alpha(0.9),
            });
        }
        for piece in pieces.iter().filter(|p| p.error > 0.0) {
            let end = |value: f64| self.place(piece.middle, value);
            marks.push(Mark::Polyline {
                points: vec![end(piece.to - piece.error), end(piece.to + piece.error)],
                color: palette.foreground,
                width: 1.4,
            });
        }
        let zero = [-0.5, self.names.len() as f64 - 0.5].map(|name| self.place(name, 0.0));
        if scale.lo < 0.0 && !self.names.is_empty() {
            marks.push(Mark::Polyline {
                points: zero.to_vec(),
                color: palette.axis,
                width: 1.0,
            });
        }
        if self.options.values && pieces.len() <= 200 {
            let text = |p| self.number(p, scale, palette);
            marks.extend(pieces.iter().map(text));
        }
        marks
    }

    /// A bar's number: beyond its end, or in the middle of one that others stand on.
    fn number(&self, piece: &Piece, scale: Scale, palette: &Palette) -> Mark {
        let inside = self.options.stacked && self.series.len() > 1;
        let sign = if piece.to < piece.from { -1.0 } else { 1.0 };
        let away = scale.span() * if self.horizontal { 0.012 } else { 0.03 };
        let (at, color) = match inside {
            true => {
                let own = series_color(&self.colors, palette, piece.series);
                let ink = if own.lightness() > 0.5 {
                    0x101418
                } else {
                    0xffffff
                };
                (piece.from / 2.0 + piece.to / 2.0, Color::hex(ink))
            }
            false => (piece.to + sign * (piece.error + away), palette.muted),
        };
        let anchor = match (self.horizontal && !inside, sign > 0.0) {
            (true, true) => Anchor::Start,
            (true, false) => Anchor::End,
            (false, _) => Anchor::Middle,
        };
        Mark::Text(Text {
            at: self.place(piece.middle, at),
            text: number(piece.to - piece.from, 3),
            size: TEXT,
            color,
            anchor,
            upright: false,
        })
    }

    fn legend(&self, palette: &Palette) -> Vec<Key> {
        let labels = self.options.labels.iter().filter(|_| self.options.legend);
        let key = |(i, label): (usize, &String)| Key {
            label: label.clone(),
            color: series_color(&self.colors, palette, i),
            shape: Shape::Box,
        };
        labels.enumerate().map(key).collect()
    }
}

impl Plot for Bar {
    fn size(&self) -> [f64; 2] {
        let lying = 90.0 + 26.0 * self.names.len() as f64;
        let height = match self.horizontal {
            true => lying.clamp(180.0, 900.0),
            false => 420.0,
        };
        let own = self.options.height.map(f64::from);
        [f64::from(self.options.width), own.unwrap_or(height)]
    }

    fn title(&self) -> &str {
        &self.options.title
    }

    fn describe(&self) -> String {
        let names = counted(self.given, "name");
        match self.series.len() {
            0 | 1 => format!("bar plot, {names}"),
            n => format!("bar plot, {n} series, {names}"),
        }
    }

    fn colors(&self) -> Option<usize> {
        Some(self.series.len())
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let pieces = self.pieces();
        let values = self.value_scale(&pieces);
        let mut notes: Vec<String> = self.dropped.note("bars").into_iter().collect();
        if pieces.is_empty() {
            notes.insert(0, "no data".to_string());
        } else if self.given > self.names.len() {
            let shown = count(self.names.len());
            let all = count(self.given);
            notes.insert(
                0,
                format!("{all} names, drawn as {shown} bars: the longest of neighbours"),
            );
        }
        let end = self.names.len().max(1) as f64 - 0.5;
        let names = Axis {
            ticks: Ticks::Named(self.names.clone()),
            grid: false,
            ..Axis::numbers(Scale::linear(-0.5, end), "")
        };
        let numbers = Axis::numbers(values, "");
        let (x, y) = match self.horizontal {
            true => {
                let down = Scale::linear(end, -0.5);
                (
                    numbers,
                    Axis {
                        scale: down,
                        ..names
                    },
                )
            }
            false => (names, numbers),
        };
        let label = |axis: Axis, label: &str| Axis {
            label: label.to_string(),
            ..axis
        };
        let options = &self.options;
        let (x, y) = (label(x, &options.x_label), label(y, &options.y_label));
        let panel = Panel {
            marks: self.marks(&pieces, values, palette),
            legend: self.legend(palette),
            notes,
            ..Panel::new(&options.title, x, y)
        };
        vec![Placed { area, panel }]
    }
}

/// Two series with errors, from any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let names = (0..numbers.len()).map(|i| format!("name {i}")).collect();
    let one = Bars {
        values: numbers.to_vec(),
        errors: Some(numbers.iter().map(|v| v / 4.0).collect()),
    };
    let other = Bars {
        values: numbers.iter().rev().map(|v| v / 2.0).collect(),
        errors: None,
    };
    let options = BarOptions {
        title: "bars".to_string(),
        labels: vec!["one".to_string(), "other".to_string()],
        values: true,
        ..Default::default()
    };
    Figure::bar(names, vec![one, other], options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{i}")).collect()
    }

    fn bars(values: &[f64]) -> Bars {
        Bars {
            values: values.to_vec(),
            errors: None,
        }
    }

    fn bar(series: Vec<Bars>, options: BarOptions) -> Bar {
        Bar {
            names: names(series[0].values.len()),
            given: series[0].values.len(),
            series,
            dropped: Dropped::default(),
            horizontal: false,
            colors: Vec::new(),
            options,
        }
    }

    #[test]
    fn stacks_grow_away_from_zero_on_both_sides() {
        let options = BarOptions {
            stacked: true,
            ..Default::default()
        };
        let stacked = bar(vec![bars(&[1.0]), bars(&[-2.0]), bars(&[3.0])], options);
        let ends: Vec<(f64, f64)> = stacked.pieces().iter().map(|p| (p.from, p.to)).collect();
        assert_eq!(ends, [(0.0, 1.0), (0.0, -2.0), (1.0, 4.0)]);
        let scale = stacked.value_scale(&stacked.pieces());
        assert!(scale.lo < -2.0 && scale.hi > 4.0);
    }

    #[test]
    fn groups_share_the_room_of_a_name_and_begin_at_zero() {
        let grouped = bar(vec![bars(&[1.0]), bars(&[2.0])], BarOptions::default());
        let pieces = grouped.pieces();
        assert_eq!((pieces[0].middle, pieces[1].middle), (-0.2, 0.2));
        let scale = grouped.value_scale(&pieces);
        assert_eq!((scale.lo, scale.hi), (0.0, 2.1));
    }

    #[test]
    fn long_names_lie() {
        let long = vec!["a rather long name of a method".to_string(); 6];
        let figure = Figure::bar(long, vec![bars(&[1.0; 6])], BarOptions::default()).unwrap();
        assert_eq!(figure.size(), [640.0, 246.0]);
    }

    #[test]
    fn a_value_for_each_name() {
        let error = Figure::bar(names(3), vec![bars(&[1.0])], BarOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "values: expected 3, got 1");
        let both = Bars {
            values: vec![1.0],
            errors: Some(vec![0.1]),
        };
        let options = BarOptions {
            stacked: true,
            ..Default::default()
        };
        let error = Figure::bar(names(1), vec![both.clone(), both], options).unwrap_err();
        assert_eq!(error.option(), Some("stacked"));
    }

    #[test]
    fn the_longest_of_too_many_are_kept() {
        let mut values = vec![0.5; 3000];
        values[1234] = -9.0;
        let (names, series) = merged(names(3000), vec![bars(&values)]);
        assert_eq!(names.len(), 1000);
        assert!(series[0].values.contains(&-9.0));
    }
}
