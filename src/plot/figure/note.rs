//! What a user writes on a figure: texts, arrows, lines and areas, in the coordinates of its data.

use super::options::check_number;
use super::{Figure, Plot};
use crate::color::{self, Color, Palette};
use crate::error::{Error, Result};
use crate::font;
use crate::mark::{Anchor, Mark, Rect, Text};
use crate::panel::Placed;
use crate::scale::{Kind, Scale};
use schemars::JsonSchema;
use serde::Deserialize;

/// Beyond every axis: lines and areas without an end go on wherever the axes end later.
const FAR: f64 = 8e307;

/// Options of what is written on a figure.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NoteOptions {
    /// Text at a line or in an area. Default: none.
    pub label: String,
    /// Its colour, by name (`"blue"`) or value (`"#0072b2"`). Default: that of the axes' text.
    pub color: Option<String>,
    /// Width of lines and arrows in pixels, 0.1 to 20. Default: 1.2.
    pub line_width: f64,
    /// Opacity of areas, above 0 to 1. Default: 0.15.
    pub alpha: f64,
    /// Size of the text in pixels, 4 to 60. Default: 11.5.
    pub size: f64,
    /// Where an arrow from the text points, `[x, y]`. Default: no arrow.
    pub arrow: Option<[f64; 2]>,
}

impl Default for NoteOptions {
    fn default() -> Self {
        Self {
            label: String::new(),
            color: None,
            line_width: 1.2,
            alpha: 0.15,
            size: 11.5,
            arrow: None,
        }
    }
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// A text around a point.
    Text {
        /// What it says.
        text: String,
        /// Where its middle stands.
        at: [f64; 2],
    },
    /// A line across the figure at a value of y.
    Horizontal(f64),
    /// A line upwards through the figure at a value of x.
    Vertical(f64),
    /// The values of y between two numbers.
    Rows([f64; 2]),
    /// The values of x between two numbers.
    Columns([f64; 2]),
    /// A rectangle between two corners.
    Area([[f64; 2]; 2]),
}

#[derive(Debug)]
struct Noted {
    base: Figure,
    note: Note,
    color: Option<Color>,
    options: NoteOptions,
}

impl Figure {
    /// The figure with something written on it; the axes are widened so that it is seen, unless the user gave their ends.
    /// Errors if the figure is made of several, if a place is not finite, or if an option makes no sense.
    pub fn note(&self, note: Note, options: NoteOptions) -> Result<Self> {
        if self.plot.colors().is_none() {
            return Err(Error::Axes {
                index: 0,
                reason: "is made of several: write on each of them before they are put together",
            });
        }
        let places = match &note {
            Note::Text { at, .. } => at.to_vec(),
            Note::Horizontal(v) | Note::Vertical(v) => vec![*v],
            Note::Rows(ends) | Note::Columns(ends) => ends.to_vec(),
            Note::Area(corners) => corners.concat(),
        };
        let arrow = options.arrow.iter().flatten();
        if let Some(bad) = places.iter().chain(arrow).find(|v| !v.is_finite()) {
            return Err(Error::Place { got: *bad });
        }
        check_number(
            "line_width",
            options.line_width,
            0.1..=20.0,
            "0.1 to 20 pixels",
        )?;
        check_number("alpha", options.alpha, 1e-3..=1.0, "0 < alpha <= 1")?;
        check_number("size", options.size, 4.0..=60.0, "4 to 60 pixels")?;
        if options.arrow.is_some() && !matches!(note, Note::Text { .. }) {
            return Err(Error::Option {
                option: "arrow",
                expected: "none but at a text",
                got: format!("{:?}", options.arrow.unwrap_or_default()),
            });
        }
        let color = options.color.as_deref().map(color::parse).transpose()?;
        Ok(Self {
            interactive: self.interactive,
            ..Self::new(Noted {
                base: self.clone(),
                note,
                color,
                options,
            })
        })
    }
}

impl Plot for Noted {
    fn size(&self) -> [f64; 2] {
        self.base.plot.size()
    }

    fn describe(&self) -> String {
        self.base.plot.describe()
    }

    fn title(&self) -> &str {
        self.base.plot.title()
    }

    fn colors(&self) -> Option<usize> {
        self.base.plot.colors()
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let mut placed = self.base.plot.panels(area, palette);
        for Placed { area, panel } in &mut placed {
            let (x, y) = (&mut panel.x.scale, &mut panel.y.scale);
            self.widen(x, y);
            let (x, y) = (*x, *y);
            let marks = self.marks([x, y], *area, palette);
            match self.note {
                // Areas lie behind the data, as the grid does.
                Note::Rows(_) | Note::Columns(_) | Note::Area(_) if !has_image(&panel.marks) => {
                    panel.marks.splice(0..0, marks);
                }
                _ => panel.marks.extend(marks),
            }
        }
        placed
    }
}

fn has_image(marks: &[Mark]) -> bool {
    marks.iter().any(|mark| matches!(mark, Mark::Image { .. }))
}

impl Noted {
    fn widen(&self, x: &mut Scale, y: &mut Scale) {
        let mut see = |across: &[f64], upwards: &[f64]| {
            *x = across.iter().fold(*x, |scale, v| scale.with(*v));
            *y = upwards.iter().fold(*y, |scale, v| scale.with(*v));
        };
        match &self.note {
            Note::Text { at, .. } => see(&[at[0]], &[at[1]]),
            Note::Horizontal(v) => see(&[], &[*v]),
            Note::Vertical(v) => see(&[*v], &[]),
            Note::Rows(ends) => see(&[], ends),
            Note::Columns(ends) => see(ends, &[]),
            Note::Area([a, b]) => see(&[a[0], b[0]], &[a[1], b[1]]),
        }
        if let Some([to_x, to_y]) = self.options.arrow {
            see(&[to_x], &[to_y]);
        }
    }

    fn marks(&self, [x, y]: [Scale; 2], area: Rect, palette: &Palette) -> Vec<Mark> {
        let color = self.color.unwrap_or(palette.muted);
        let least = |scale: &Scale| {
            if scale.kind == Kind::Log {
                1e-307
            } else {
                -FAR
            }
        };
        let (left, bottom) = (least(&x), least(&y));
        // About how long a pixel is, as a share of each axis.
        let pixel = [1.0 / area.width().max(1.0), 1.0 / area.height().max(1.0)];
        let line = |from, to| Mark::Polyline {
            points: vec![from, to],
            color,
            width: self.options.line_width,
        };
        let filled = |left: f64, bottom: f64, right: f64, top: f64| Mark::Polygon {
            points: vec![[left, bottom], [right, bottom], [right, top], [left, top]],
            color: color.with_alpha(self.options.alpha),
        };
        let label = |at: [f64; 2], anchor| self.text(&self.options.label, at, anchor, color);
        let up = 10.0 * pixel[1];
        let mut marks = match self.note {
            Note::Text { ref text, at } => return self.text_marks(text, at, [x, y], pixel, color),
            Note::Horizontal(v) => vec![
                line([left, v], [FAR, v]),
                label([along(&x, 0.985), along(&y, y.unit(v) + up)], Anchor::End),
            ],
            Note::Vertical(v) => vec![
                line([v, bottom], [v, FAR]),
                label(
                    [along(&x, x.unit(v) + 6.0 * pixel[0]), along(&y, 0.96)],
                    Anchor::Start,
                ),
            ],
            Note::Rows([a, b]) => vec![
                filled(left, a, FAR, b),
                label([along(&x, 0.985), a / 2.0 + b / 2.0], Anchor::End),
            ],
            Note::Columns([a, b]) => vec![
                filled(a, bottom, b, FAR),
                label([a / 2.0 + b / 2.0, along(&y, 0.96)], Anchor::Middle),
            ],
            Note::Area([[x0, y0], [x1, y1]]) => vec![
                filled(x0, y0, x1, y1),
                Mark::Polyline {
                    points: vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]],
                    color,
                    width: self.options.line_width,
                },
                label(
                    [
                        x0 / 2.0 + x1 / 2.0,
                        along(&y, y.unit(y0.max(y1)) - 1.6 * up),
                    ],
                    Anchor::Middle,
                ),
            ],
        };
        marks.retain(|mark| !matches!(mark, Mark::Text(text) if text.text.is_empty()));
        marks
    }

    fn text(&self, text: &str, at: [f64; 2], anchor: Anchor, color: Color) -> Mark {
        Mark::Text(Text {
            at,
            text: font::cut(text, self.options.size, 600.0),
            size: self.options.size,
            color,
            anchor,
            upright: false,
        })
    }

    /// A text and its arrow, which begins beside the text.
    fn text_marks(
        &self,
        text: &str,
        at: [f64; 2],
        [x, y]: [Scale; 2],
        pixel: [f64; 2],
        color: Color,
    ) -> Vec<Mark> {
        let color = self.color.map_or(color, |own| own);
        let mut marks = vec![self.text(text, at, Anchor::Middle, color)];
        if let Some(to) = self.options.arrow {
            let size = self.options.size;
            let half = [font::width(text, size) / 2.0 + 4.0, size * 0.75 + 2.0];
            let half = [half[0] * pixel[0] * 1.15, half[1] * pixel[1] * 1.15];
            let (from, end) = (
                [x.unit(at[0]), y.unit(at[1])],
                [x.unit(to[0]), y.unit(to[1])],
            );
            let way = [end[0] - from[0], end[1] - from[1]];
            // The share of the way at which it leaves the text's box.
            let leave = [0, 1].map(|i| half[i] / way[i].abs().max(1e-9));
            let t = leave[0].min(leave[1]).min(1.0);
            let start = [
                along(&x, from[0] + way[0] * t),
                along(&y, from[1] + way[1] * t),
            ];
            marks.push(Mark::Arrows {
                arrows: vec![[start, to]],
                colors: vec![color],
                width: self.options.line_width,
                inset: 2.0,
            });
        }
        marks
    }
}

/// The value at a share of the way along a scale.
fn along(scale: &Scale, t: f64) -> f64 {
    match scale.kind {
        Kind::Linear => scale.lo * (1.0 - t) + scale.hi * t,
        Kind::Log => (scale.lo.ln() * (1.0 - t) + scale.hi.ln() * t).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Theme;
    use crate::figure::line;

    fn base() -> Figure {
        line::sample(&[1.0, 2.0, 3.0]).unwrap()
    }

    #[test]
    fn lines_widen_axes_but_not_those_that_the_user_gave() {
        let scales = |figure: &Figure| {
            let area = Rect {
                left: 0.0,
                top: 0.0,
                right: 640.0,
                bottom: 420.0,
            };
            let panel = figure
                .plot
                .panels(area, &Palette::new(Theme::Light))
                .remove(0)
                .panel;
            (panel.x.scale, panel.y.scale)
        };
        let far = base()
            .note(Note::Horizontal(50.0), NoteOptions::default())
            .unwrap();
        assert!(scales(&far).1.hi > 50.0 && scales(&far).0 == scales(&base()).0);
        let options = crate::figure::LineOptions {
            y_limits: Some([0.0, 4.0]),
            ..Default::default()
        };
        let fixed = Figure::line(vec![], options).unwrap();
        let noted = fixed
            .note(Note::Horizontal(50.0), NoteOptions::default())
            .unwrap();
        assert_eq!(scales(&noted), scales(&fixed));
    }

    #[test]
    fn every_note_is_drawn() {
        let notes = [
            Note::Text {
                text: "here".to_string(),
                at: [1.0, 1.0],
            },
            Note::Horizontal(1.5),
            Note::Vertical(1.5),
            Note::Rows([1.0, 2.0]),
            Note::Columns([1.0, 2.0]),
            Note::Area([[0.5, 1.0], [1.0, 2.0]]),
        ];
        let plain = base().svg(Theme::Light);
        for note in notes {
            let options = NoteOptions {
                label: "here".to_string(),
                ..Default::default()
            };
            let svg = base()
                .note(note.clone(), options)
                .unwrap()
                .svg(Theme::Light);
            assert!(svg.len() > plain.len() && svg.contains("here"), "{note:?}");
        }
    }

    #[test]
    fn places_are_finite_and_arrows_begin_at_texts() {
        let note = |note, options| base().note(note, options).unwrap_err();
        let nowhere = note(Note::Vertical(f64::NAN), NoteOptions::default());
        assert!(matches!(nowhere, Error::Place { .. }));
        let options = NoteOptions {
            arrow: Some([0.0, 0.0]),
            ..Default::default()
        };
        assert_eq!(note(Note::Vertical(1.0), options).option(), Some("arrow"));
    }
}
