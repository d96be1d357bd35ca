//! `overlay`: several figures in one pair of axes.

use super::options::{check_labels, check_limits, check_side};
use super::{Figure, Plot};
use crate::axis::{Axis, Ticks, counted};
use crate::color::{Palette, Theme};
use crate::error::{Error, Result};
use crate::mark::{Mark, Rect};
use crate::panel::{Key, Panel, Placed, Shape};
use crate::scale::{Kind, Scale};
use schemars::JsonSchema;
use serde::Deserialize;

/// Options of `plot::overlay`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OverlayOptions {
    /// Text above the figure. Default: the first title among the figures.
    pub title: String,
    /// Text below the x axis. Default: the first among the figures.
    pub x_label: String,
    /// Text beside the y axis. Default: the first among the figures.
    pub y_label: String,
    /// One name a figure, for the legend, instead of the figures' own. Default: none.
    pub labels: Vec<String>,
    /// Whether the legend is shown where there are labels. Default: true.
    pub legend: bool,
    /// Ends of the x axis, `[low, high]`. Default: all that the figures show.
    pub x_limits: Option<[f64; 2]>,
    /// Ends of the y axis, `[low, high]`. Default: all that the figures show.
    pub y_limits: Option<[f64; 2]>,
    /// Width of the figure in pixels, 64 to 4000. Default: that of the first figure.
    pub width: Option<u32>,
    /// Height of the figure in pixels, 64 to 4000. Default: that of the first figure.
    pub height: Option<u32>,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            labels: Vec::new(),
            legend: true,
            x_limits: None,
            y_limits: None,
            width: None,
            height: None,
        }
    }
}

#[derive(Debug)]
struct Overlay {
    figures: Vec<Figure>,
    options: OverlayOptions,
}

impl Figure {
    /// Figures in one pair of axes, later ones over earlier ones. Errors if one of them is made of several, if an axis is
    /// logarithmic in one and not in another, if labels and figures differ in number, or if an option makes no sense.
    pub fn overlay(figures: Vec<Figure>, options: OverlayOptions) -> Result<Self> {
        check_labels("labels", &options.labels, figures.len())?;
        check_side("width", options.width)?;
        check_side("height", options.height)?;
        let mut kinds = None;
        for (index, figure) in figures.iter().enumerate() {
            let own = figure.kinds().ok_or(Error::Axes {
                index,
                reason: "is made of several, which have axes of their own",
            })?;
            if *kinds.get_or_insert(own) != own {
                let reason = "has a logarithmic axis where another one has a linear one";
                return Err(Error::Axes { index, reason });
            }
        }
        let [x, y] = kinds.unwrap_or([Kind::Linear; 2]);
        check_limits("x_limits", options.x_limits, x == Kind::Log)?;
        check_limits("y_limits", options.y_limits, y == Kind::Log)?;
        Ok(Self::new(Overlay { figures, options }))
    }

    /// What the figure's axes are; nothing if it has several pairs of them.
    pub(super) fn kinds(&self) -> Option<[Kind; 2]> {
        self.plot.colors()?;
        let area = Rect {
            left: 0.0,
            top: 0.0,
            right: 64.0,
            bottom: 64.0,
        };
        let placed = self.plot.panels(area, &Palette::new(Theme::Light));
        let panel = &placed.first()?.panel;
        Some([panel.x.scale.kind, panel.y.scale.kind])
    }
}

/// Gives all panels one x axis, one y axis, or both, which show what any of them shows.
pub(crate) fn share<'a>(panels: impl Iterator<Item = &'a mut Panel>, [x, y]: [bool; 2]) {
    let mut panels: Vec<&mut Panel> = panels.collect();
    let all = |scales: Vec<Scale>| scales.into_iter().reduce(|a, b| a.joined(b).unwrap_or(a));
    let across = all(panels.iter().map(|p| p.x.scale).collect());
    let upwards = all(panels.iter().map(|p| p.y.scale).collect());
    for panel in &mut panels {
        if let Some(scale) = across.filter(|s| x && s.kind == panel.x.scale.kind) {
            panel.x.scale = scale;
        }
        if let Some(scale) = upwards.filter(|s| y && s.kind == panel.y.scale.kind) {
            panel.y.scale = scale;
        }
    }
}

impl Plot for Overlay {
    fn size(&self) -> [f64; 2] {
        let [width, height] = self.figures.first().map_or([640.0, 420.0], Figure::size);
        let OverlayOptions {
            width: w,
            height: h,
            ..
        } = self.options;
        [w.map_or(width, f64::from), h.map_or(height, f64::from)]
    }

    fn title(&self) -> &str {
        let own = Some(self.options.title.as_str());
        let titles = own
            .into_iter()
            .chain(self.figures.iter().map(|f| f.plot.title()));
        titles.into_iter().find(|t| !t.is_empty()).unwrap_or("")
    }

    fn describe(&self) -> String {
        format!("overlay, {}", counted(self.figures.len(), "figure"))
    }

    fn colors(&self) -> Option<usize> {
        self.figures.iter().map(|f| f.plot.colors()).sum()
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let mut used = 0;
        let mut panels: Vec<Panel> = Vec::new();
        for figure in &self.figures {
            let placed = figure.plot.panels(area, &palette.after(used));
            used += figure.plot.colors().unwrap_or(0);
            panels.extend(placed.into_iter().map(|p| p.panel));
        }
        share(panels.iter_mut(), [true; 2]);
        let mut panels = panels.into_iter().enumerate();
        let mut whole = match panels.next() {
            Some((i, first)) => Panel {
                legend: self.keys(i, &first),
                ..first
            },
            None => {
                let axis = || Axis::numbers(Scale::linear(0.0, 1.0), "");
                Panel {
                    notes: vec!["no data".to_string()],
                    ..Panel::new("", axis(), axis())
                }
            }
        };
        for (i, panel) in panels {
            whole.legend.extend(self.keys(i, &panel));
            join(&mut whole, panel);
        }
        self.finish(&mut whole);
        vec![Placed { area, panel: whole }]
    }
}

impl Overlay {
    /// The legend of one figure: its own, or the name that the user gave with the look of what it draws first.
    fn keys(&self, index: usize, panel: &Panel) -> Vec<Key> {
        let Some(label) = self.options.labels.get(index) else {
            return panel.legend.clone();
        };
        let look = panel.marks.iter().find_map(|mark| match mark {
            Mark::Polyline { color, .. } => Some((*color, Shape::Line)),
            Mark::Points { colors, .. } => Some((*colors.first()?, Shape::Disc)),
            Mark::Arrows { colors, .. } => Some((*colors.first()?, Shape::Line)),
            Mark::Polygon { color, .. } | Mark::Rects { color, .. } => Some((*color, Shape::Box)),
            Mark::Image { .. } | Mark::Text(_) => None,
        });
        let key = look.map(|(color, shape)| Key {
            label: label.clone(),
            color: color.with_alpha(1.0),
            shape,
        });
        key.into_iter().collect()
    }

    fn finish(&self, whole: &mut Panel) {
        let options = &self.options;
        if !options.legend {
            whole.legend.clear();
        }
        whole.title = self.title().to_string();
        for (axis, label, limits) in [
            (&mut whole.x, &options.x_label, options.x_limits),
            (&mut whole.y, &options.y_label, options.y_limits),
        ] {
            if !label.is_empty() {
                axis.label = label.clone();
            }
            if limits.is_some() {
                axis.scale = Scale::fit(axis.scale.kind, std::iter::empty(), 0.0, limits);
            }
        }
    }
}

/// Puts what a panel shows into another one that has the same scales.
fn join(whole: &mut Panel, panel: Panel) {
    for (axis, other) in [(&mut whole.x, panel.x), (&mut whole.y, panel.y)] {
        if axis.label.is_empty() {
            axis.label = other.label;
        }
        // Names say more than numbers, and any number may stand where another figure only counts.
        axis.ticks = match (std::mem::replace(&mut axis.ticks, Ticks::None), other.ticks) {
            (named @ Ticks::Named(_), _) | (_, named @ Ticks::Named(_)) => named,
            (Ticks::None, ticks) | (ticks, Ticks::None) => ticks,
            (Ticks::Integers, Ticks::Integers) => Ticks::Integers,
            (_, _) => Ticks::Auto,
        };
        axis.grid = axis.grid && other.grid;
    }
    let empty = |notes: &[String]| notes.first().is_some_and(|n| n == "no data");
    if empty(&whole.notes) != empty(&panel.notes) {
        whole.notes.retain(|note| note != "no data");
    }
    let notes = panel.notes.into_iter().filter(|note| note != "no data");
    whole.notes.extend(notes);
    whole.equal |= panel.equal;
    whole.marks.extend(panel.marks);
    whole.bar = whole.bar.take().or(panel.bar);
}

/// Points, a line and bars together, from any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let figures = vec![
        super::scatter::sample(numbers)?,
        super::line::sample(numbers)?,
        super::errorbar::sample(numbers)?,
    ];
    let options = OverlayOptions {
        title: "together".to_string(),
        labels: ["points", "line", "measured"].map(String::from).to_vec(),
        ..Default::default()
    };
    Figure::overlay(figures, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{LineOptions, Series};

    fn line(x: &[f64], options: LineOptions) -> Figure {
        let series = Series {
            x: Some(x.to_vec()),
            y: x.to_vec(),
        };
        Figure::line(vec![series], options).unwrap()
    }

    fn panel(figure: &Figure) -> Panel {
        let area = Rect {
            left: 0.0,
            top: 0.0,
            right: 640.0,
            bottom: 420.0,
        };
        figure
            .plot
            .panels(area, &Palette::new(Theme::Light))
            .remove(0)
            .panel
    }

    #[test]
    fn the_cycle_of_colours_and_the_axes_go_on() {
        let titled = LineOptions {
            title: "second".to_string(),
            ..Default::default()
        };
        let figures = vec![
            line(&[0.0, 1.0], LineOptions::default()),
            line(&[5.0, 9.0], titled),
        ];
        let whole = panel(&Figure::overlay(figures, OverlayOptions::default()).unwrap());
        assert!(whole.x.scale.lo < 0.0 && whole.x.scale.hi > 9.0);
        assert_eq!(whole.title, "second");
        let colors: Vec<_> = whole
            .marks
            .iter()
            .filter_map(|m| match m {
                Mark::Polyline { color, .. } => Some(*color),
                _ => None,
            })
            .collect();
        let palette = Palette::new(Theme::Light);
        assert_eq!(colors, [palette.series(0), palette.series(1)]);
    }

    #[test]
    fn axes_must_agree() {
        let log = LineOptions {
            log_x: true,
            ..Default::default()
        };
        let figures = vec![line(&[1.0], LineOptions::default()), line(&[1.0], log)];
        let error = Figure::overlay(figures, OverlayOptions::default()).unwrap_err();
        let expected = "figure 1: has a logarithmic axis where another one has a linear one";
        assert_eq!(error.to_string(), expected);
        let grid = Figure::grid(vec![], Default::default()).unwrap();
        let error = Figure::overlay(vec![grid], OverlayOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Axes { index: 0, .. }));
    }
}
