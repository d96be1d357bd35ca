//! `contour`: lines of equal value of a field on a mesh, and the bands between them in colours.

use super::options::{check_length, check_limits, check_side, color_range, is_equal, plane_size};
use super::{Figure, Plot};
use crate::axis::{Axis, Ticks, counted, number, round_values};
use crate::color::{Color, ColorMap, Palette};
use crate::error::{Error, Result};
use crate::font;
use crate::isoline::Field;
use crate::mark::{Anchor, Mark, Rect, Text};
use crate::panel::{ColorBar, Panel, Placed};
use crate::scale::{Scale, extent};
use schemars::JsonSchema;
use serde::Deserialize;

/// One axis may be this much longer than the other and still have its unit.
const MOST_UNEQUAL: f64 = 4.0;
/// Coarse meshes are interpolated to about so many points a side: their lines would have corners.
const FINE: usize = 100;
/// More points a side than this are not told apart: every second, third, … is taken.
const MOST_SIDE: usize = 600;
/// Size of the numbers on the lines.
const LABEL: f64 = 10.0;

/// Options of `plot::contour`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContourOptions {
    /// Text above the figure. Default: none.
    pub title: String,
    /// Text below the x axis. Default: none.
    pub x_label: String,
    /// Text beside the y axis. Default: none.
    pub y_label: String,
    /// About how many lines there are, at round values, 1 to 100. Default: 9.
    pub levels: usize,
    /// The values of the lines, ascending. Default: round values, by `levels`.
    pub level_values: Vec<f64>,
    /// Whether the bands between the lines are filled. Default: true.
    pub filled: bool,
    /// Whether the lines are drawn. Default: true.
    pub lines: bool,
    /// Whether the lines bear their values. Default: where nothing is filled.
    pub level_labels: Option<bool>,
    /// The values, `[low, high]`, at the ends of the colours. Default: least and greatest value; with
    /// `color_map: "diverging"`, as far below as above zero.
    pub limits: Option<[f64; 2]>,
    /// Colours of the values: `"viridis"`, `"diverging"` or `"gray"`. Default: `"viridis"`.
    pub color_map: ColorMap,
    /// Whether the scale of colours is shown. Default: true.
    pub color_bar: bool,
    /// Text beside the scale of colours. Default: none.
    pub value_label: String,
    /// Width of the lines in pixels, 0.1 to 20. Default: 1 over filled bands, else 1.6.
    pub line_width: Option<f64>,
    /// Whether a unit is as long on the x axis as on the y axis. Default: yes, unless one range is more than 4 times the
    /// other.
    pub equal: Option<bool>,
    /// Width of the figure in pixels, 64 to 4000. Default: 640, or from the shape of the mesh where `equal`.
    pub width: Option<u32>,
    /// Height of the figure in pixels, 64 to 4000. Default: 420, or from the shape of the mesh where `equal`.
    pub height: Option<u32>,
}

impl Default for ContourOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            levels: 9,
            level_values: Vec::new(),
            filled: true,
            lines: true,
            level_labels: None,
            limits: None,
            color_map: ColorMap::Viridis,
            color_bar: true,
            value_label: String::new(),
            line_width: None,
            equal: None,
            width: None,
            height: None,
        }
    }
}

#[derive(Debug)]
struct Contour {
    shape: [usize; 2],
    field: Field,
    /// The values of the lines, and their lines.
    levels: Vec<(f64, Vec<Vec<[f64; 2]>>)>,
    missing: usize,
    x: Scale,
    y: Scale,
    equal: bool,
    range: [f64; 2],
    options: ContourOptions,
}

impl Figure {
    /// Lines of equal value of `z`, given row by row: its columns stand at `x`, its rows at `y`. Errors if `x` or `y` is
    /// not strictly ascending or descending, if `z` does not have a number for each pair of them, or if an option makes
    /// no sense.
    pub fn contour(x: Vec<f64>, y: Vec<f64>, z: Vec<f64>, options: ContourOptions) -> Result<Self> {
        check_length("z", z.len(), x.len().saturating_mul(y.len()))?;
        check(&options)?;
        let shape = [y.len(), x.len()];
        let missing = z.iter().filter(|v| !v.is_finite()).count();
        let field = sorted(x, y, z)?;
        let range = color_range(&field.z, options.limits, options.color_map);
        let values = level_values(&field.z, &options);
        let fine = coarser(&field).refined(FINE);
        let levels = values.into_iter().map(|v| (v, fine.lines(v))).collect();
        let scale = |places: &[f64]| {
            let ends = places.first().zip(places.last());
            let (lo, hi) = ends.filter(|(lo, hi)| lo < hi).unwrap_or((&0.0, &1.0));
            Scale::linear(*lo, *hi)
        };
        let (x, y) = (scale(&field.x), scale(&field.y));
        Ok(Self::new(Contour {
            shape,
            levels,
            missing,
            equal: is_equal(options.equal, &x, &y, MOST_UNEQUAL),
            field,
            x,
            y,
            range,
            options,
        }))
    }
}

fn check(options: &ContourOptions) -> Result<()> {
    check_limits("limits", options.limits, false)?;
    check_side("width", options.width)?;
    check_side("height", options.height)?;
    let unfit = |option, expected, got: String| {
        Err(Error::Option {
            option,
            expected,
            got,
        })
    };
    if !(1..=100).contains(&options.levels) {
        return unfit("levels", "1 to 100", options.levels.to_string());
    }
    let ascend = options.level_values.is_sorted_by(|a, b| a < b);
    if !ascend || options.level_values.len() > 100 {
        let got = format!("{:?}", options.level_values);
        return unfit("level_values", "at most 100 ascending values", got);
    }
    if !(options.filled || options.lines) {
        return unfit("lines", "true where nothing is filled", "false".to_string());
    }
    super::options::check_number(
        "line_width",
        options.line_width.unwrap_or(1.0),
        0.1..=20.0,
        "0.1 to 20 pixels",
    )
}

/// The field with ascending places.
fn sorted(mut x: Vec<f64>, mut y: Vec<f64>, mut z: Vec<f64>) -> Result<Field> {
    let columns = x.len().max(1);
    if turn("x", &mut x)? {
        z.chunks_mut(columns).for_each(<[f64]>::reverse);
    }
    if turn("y", &mut y)? {
        let rows: Vec<&[f64]> = z.chunks(columns).rev().collect();
        z = rows.concat();
    }
    Ok(Field { x, y, z })
}

/// Turns places that descend round; whether it did.
fn turn(what: &'static str, places: &mut [f64]) -> Result<bool> {
    let finite = places.iter().all(|v| v.is_finite() && v.abs() < 1e300);
    if finite && places.is_sorted_by(|a, b| a < b) {
        return Ok(false);
    }
    if finite && places.is_sorted_by(|a, b| a > b) {
        places.reverse();
        return Ok(true);
    }
    Err(Error::Order { what })
}

/// Every second, third, … point of a mesh that is finer than a picture.
fn coarser(field: &Field) -> Field {
    let stride = |n: usize| n.div_ceil(MOST_SIDE).max(1);
    let (across, upwards) = (stride(field.x.len()), stride(field.y.len()));
    let rows = field.z.chunks(field.x.len().max(1)).step_by(upwards);
    Field {
        x: field.x.iter().step_by(across).copied().collect(),
        y: field.y.iter().step_by(upwards).copied().collect(),
        z: rows
            .flat_map(|row| row.iter().step_by(across).copied())
            .collect(),
    }
}

fn level_values(z: &[f64], options: &ContourOptions) -> Vec<f64> {
    if !options.level_values.is_empty() {
        return options.level_values.clone();
    }
    match extent(z.iter().map(|v| v.clamp(-8e307, 8e307))) {
        Some((lo, hi)) if lo < hi => round_values(lo, hi, options.levels),
        _ => Vec::new(),
    }
}

impl Plot for Contour {
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
        let [rows, columns] = self.shape;
        let levels = counted(self.levels.len(), "level");
        format!("contour plot, {rows} x {columns}, {levels}")
    }

    fn colors(&self) -> Option<usize> {
        Some(0)
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let options = &self.options;
        let mut notes = Vec::new();
        if self.missing == self.shape[0] * self.shape[1] {
            notes.push("no data".to_string());
        }
        if self.missing > 0 {
            notes.push(format!(
                "{} not finite, left out",
                counted(self.missing, "value")
            ));
        }
        let axis = |scale, label: &str| Axis {
            grid: false,
            ticks: Ticks::Auto,
            ..Axis::numbers(scale, label)
        };
        let x = axis(self.x, &options.x_label);
        let panel = Panel {
            equal: self.equal,
            marks: self.marks(area, palette),
            bar: self.bar().filter(|_| options.color_bar),
            notes,
            ..Panel::new(&options.title, x, axis(self.y, &options.y_label))
        };
        vec![Placed { area, panel }]
    }
}

impl Contour {
    /// The colours of the bands, or of the lines where nothing is filled.
    fn bar(&self) -> Option<ColorBar> {
        let [lo, hi] = self.range;
        let levels = self.levels.iter().map(|(value, _)| *value);
        Some(ColorBar {
            map: self.options.color_map,
            lo,
            hi,
            label: self.options.value_label.clone(),
            levels: levels.filter(|_| self.options.filled).collect(),
        })
        .filter(|_| self.options.color_bar)
    }

    fn marks(&self, area: Rect, palette: &Palette) -> Vec<Mark> {
        let options = &self.options;
        let colors = ColorBar {
            map: options.color_map,
            lo: self.range[0],
            hi: self.range[1],
            label: String::new(),
            levels: self.levels.iter().map(|(value, _)| *value).collect(),
        };
        let mut marks = Vec::new();
        if options.filled && self.field.x.len() > 1 && self.field.y.len() > 1 {
            marks.push(self.bands(area, &colors, palette));
        }
        let labels = options.level_labels.unwrap_or(!options.filled);
        let width = options
            .line_width
            .unwrap_or(if options.filled { 1.0 } else { 1.6 });
        let unit = self.pixel(area);
        let mut taken: Vec<[f64; 2]> = Vec::new();
        let mut texts = Vec::new();
        for (value, lines) in self.levels.iter().filter(|_| options.lines) {
            let color = match options.filled {
                // Dark on light bands, light on dark ones would flicker: one ink, half seen.
                true => Color::hex(0x101418).with_alpha(0.55),
                false => options
                    .color_map
                    .at(Scale::linear(self.range[0], self.range[1]).unit(*value)),
            };
            let text = number(*value, 4);
            let room = font::width(&text, LABEL) / 2.0 + 3.0;
            let place = labels
                .then(|| label_place(lines, unit, room, &taken))
                .flatten();
            taken.extend(place);
            for line in lines {
                marks.push(Mark::Polyline {
                    points: match place {
                        Some(at) => with_gap(line, at, unit, room),
                        None => line.clone(),
                    },
                    color,
                    width,
                });
            }
            texts.extend(place.map(|at| label(at, text, self.ink(*value, &colors, palette))));
        }
        marks.extend(texts);
        marks
    }

    /// The colour of a label: dark or light on a filled band, else the text's own.
    fn ink(&self, value: f64, colors: &ColorBar, palette: &Palette) -> Color {
        if !self.options.filled {
            return palette.foreground;
        }
        let light = colors.color(value).lightness() > 0.5;
        Color::hex(if light { 0x101418 } else { 0xffffff })
    }

    /// About how much of the data a pixel is.
    fn pixel(&self, area: Rect) -> [f64; 2] {
        let (across, upwards) = (
            (area.width() - 110.0).max(40.0),
            (area.height() - 60.0).max(40.0),
        );
        let unit = [self.x.span() / across, self.y.span() / upwards];
        match self.equal {
            true => [unit[0].max(unit[1]); 2],
            false => unit,
        }
    }

    /// The bands as a picture of about one and a half cells a pixel: areas would show seams.
    fn bands(&self, area: Rect, colors: &ColorBar, palette: &Palette) -> Mark {
        let cells = |length: f64| ((length * 1.5) as usize).clamp(16, 1600);
        let (columns, rows) = (cells(area.width()), cells(area.height()));
        let place = |scale: &Scale, i: usize, n: usize| {
            scale.lo + scale.span() * (i as f64 + 0.5) / n as f64
        };
        let x: Vec<f64> = (0..columns).map(|i| place(&self.x, i, columns)).collect();
        let color = |value: f64| match value.is_finite() {
            true => colors.color(value).rgb,
            false => palette.missing.rgb,
        };
        let cells = (0..rows).rev().flat_map(|row| {
            let y = place(&self.y, row, rows);
            self.field.row_at(&x, y).into_iter().map(color)
        });
        Mark::Image {
            area: Rect {
                left: self.x.lo,
                top: self.y.hi,
                right: self.x.hi,
                bottom: self.y.lo,
            },
            columns,
            cells: cells.collect(),
        }
    }
}

/// Where on the longest line of a level its value stands: where the line is flattest, away from other values.
fn label_place(
    lines: &[Vec<[f64; 2]>],
    unit: [f64; 2],
    room: f64,
    taken: &[[f64; 2]],
) -> Option<[f64; 2]> {
    let longest = lines.iter().max_by_key(|line| line.len())?;
    let pixels = |a: [f64; 2], b: [f64; 2]| [0, 1].map(|i| (b[i] - a[i]) / unit[i]);
    let (first, last) = (longest.first()?, longest.last()?);
    let length: f64 = longest
        .windows(2)
        .map(|pair| match pair {
            &[a, b] => pixels(a, b).into_iter().fold(0.0, f64::hypot),
            _ => 0.0,
        })
        .sum();
    if length < 4.0 * room {
        return None;
    }
    let closed = first == last;
    let far = |at: [f64; 2], other: [f64; 2], least: f64| {
        let [dx, dy] = pixels(at, other);
        dx.abs() > least || dy.abs() > 14.0
    };
    let step = (longest.len() / 24).max(1);
    let steepness = |i: usize| {
        let [dx, dy] = pixels(
            *longest.get(i.saturating_sub(step))?,
            *longest.get(i + step)?,
        );
        Some(dy.abs() / dx.hypot(dy).max(1e-9))
    };
    let flattest = (step..longest.len().saturating_sub(step))
        .filter_map(|i| Some((steepness(i)?, *longest.get(i)?)))
        .filter(|(_, at)| closed || (far(*at, *first, room * 1.5) && far(*at, *last, room * 1.5)))
        .filter(|(_, at)| taken.iter().all(|other| far(*at, *other, room * 2.5)))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(flattest.1)
}

/// A line that is interrupted where its value stands.
fn with_gap(line: &[[f64; 2]], at: [f64; 2], unit: [f64; 2], room: f64) -> Vec<[f64; 2]> {
    let covered = |p: &[f64; 2]| {
        let [dx, dy] = [0, 1].map(|i| ((p[i] - at[i]) / unit[i]).abs());
        dx < room && dy < LABEL * 0.7
    };
    line.iter()
        .map(|p| if covered(p) { [f64::NAN; 2] } else { *p })
        .collect()
}

fn label(at: [f64; 2], text: String, color: Color) -> Mark {
    Mark::Text(Text {
        at,
        text,
        size: LABEL,
        color,
        anchor: Anchor::Middle,
        upright: false,
    })
}

/// A field with a column and a row for each number, from any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let few = numbers.get(..numbers.len().min(300)).unwrap_or(numbers);
    let places: Vec<f64> = (0..few.len()).map(|i| i as f64).collect();
    let z = few
        .iter()
        .flat_map(|a| few.iter().map(move |b| a / 2.0 - b / 2.0))
        .collect();
    let options = ContourOptions {
        title: "a field".to_string(),
        level_labels: Some(true),
        ..Default::default()
    };
    Figure::contour(places.clone(), places, z, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Theme;

    fn bowl(options: ContourOptions) -> Result<Figure> {
        let places: Vec<f64> = (0..21).map(|i| f64::from(i) / 10.0 - 1.0).collect();
        let z = places
            .iter()
            .flat_map(|y| places.iter().map(move |x| x * x + y * y));
        Figure::contour(places.clone(), places.clone(), z.collect(), options)
    }

    #[test]
    fn levels_are_round_and_lines_bear_them() {
        let options = ContourOptions {
            filled: false,
            levels: 4,
            ..Default::default()
        };
        let figure = bowl(options).unwrap();
        assert_eq!(figure.describe(), "contour plot, 21 x 21, 5 levels");
        let svg = figure.svg(Theme::Light);
        assert!(svg.contains("0.5") && !svg.contains("data:image/png;base64,\"/>"));
    }

    #[test]
    fn places_that_descend_are_turned_with_their_values() {
        let options = ContourOptions::default();
        let down = Figure::contour(
            vec![2.0, 1.0],
            vec![0.0, 1.0],
            vec![1.0, 2.0, 3.0, 4.0],
            options.clone(),
        );
        let up = Figure::contour(
            vec![1.0, 2.0],
            vec![0.0, 1.0],
            vec![2.0, 1.0, 4.0, 3.0],
            options,
        );
        assert_eq!(
            down.unwrap().svg(Theme::Light),
            up.unwrap().svg(Theme::Light)
        );
    }

    #[test]
    fn what_cannot_be_a_mesh_is_refused() {
        let field = |x: Vec<f64>, n: usize| {
            Figure::contour(x, vec![0.0, 1.0], vec![0.0; n], ContourOptions::default())
        };
        assert_eq!(
            field(vec![0.0, 0.0], 4).unwrap_err(),
            Error::Order { what: "x" }
        );
        assert_eq!(
            field(vec![0.0, 1.0], 5).unwrap_err().to_string(),
            "z: expected 4, got 5"
        );
        let none = ContourOptions {
            filled: false,
            lines: false,
            ..Default::default()
        };
        assert_eq!(bowl(none).unwrap_err().option(), Some("lines"));
        let falling = ContourOptions {
            level_values: vec![1.0, 0.5],
            ..Default::default()
        };
        assert_eq!(bowl(falling).unwrap_err().option(), Some("level_values"));
    }
}
