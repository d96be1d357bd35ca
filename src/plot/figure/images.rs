//! `image` and `images`: pictures, gray or in colours, one or many side by side.

use super::options::{check_labels, check_length, check_limits, check_side, size_for_aspect};
use super::{Figure, Plot};
use crate::axis::{Axis, count};
use crate::color::{ColorMap, Palette};
use crate::error::{Error, Result};
use crate::mark::{Anchor, Mark, Rect, Text};
use crate::panel::{Panel, Placed};
use crate::scale::{Kind, Scale, extent};
use schemars::JsonSchema;
use serde::Deserialize;

/// Between pictures, as a share of a picture's width.
const GAP: f64 = 0.07;
/// Height of a picture's label in pixels.
const LABEL_ROW: f64 = 16.0;
const LABEL: f64 = 11.0;

/// Options of `plot::image`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImageOptions {
    /// Text above the figure. Default: none.
    pub title: String,
    /// The values, `[low, high]`, of black and white. Default: least and greatest value of a gray picture; for one in
    /// colours [0, 1] if all values lie there, else [0, 255] if they lie there, else least and greatest value.
    pub limits: Option<[f64; 2]>,
    /// Colours of a gray picture: `"gray"`, `"viridis"` or `"diverging"`. Default: `"gray"`.
    pub color_map: ColorMap,
    /// Width of the figure in pixels, 64 to 4000. Default: from the shape of the picture.
    pub width: Option<u32>,
    /// Height of the figure in pixels, 64 to 4000. Default: from the shape of the picture.
    pub height: Option<u32>,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            limits: None,
            color_map: ColorMap::Gray,
            width: None,
            height: None,
        }
    }
}

/// Options of `plot::images`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImagesOptions {
    /// Text above the figure. Default: none.
    pub title: String,
    /// One text a picture, above it. Default: none.
    pub labels: Vec<String>,
    /// Number of pictures side by side, 1 to 100. Default: so that about a square is filled.
    pub columns: Option<usize>,
    /// At most so many pictures are shown, the first ones, 1 to 1000. Default: 100.
    pub most: usize,
    /// The values, `[low, high]`, of black and white, the same for all pictures. Default: least and greatest value of
    /// gray pictures; for those in colours [0, 1] if all values lie there, else [0, 255] if they lie there, else
    /// least and greatest value.
    pub limits: Option<[f64; 2]>,
    /// Colours of gray pictures: `"gray"`, `"viridis"` or `"diverging"`. Default: `"gray"`.
    pub color_map: ColorMap,
    /// Width of the figure in pixels, 64 to 4000. Default: from the shape and number of the pictures.
    pub width: Option<u32>,
    /// Height of the figure in pixels, 64 to 4000. Default: from the shape and number of the pictures.
    pub height: Option<u32>,
}

impl Default for ImagesOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            labels: Vec::new(),
            columns: None,
            most: 100,
            limits: None,
            color_map: ColorMap::Gray,
            width: None,
            height: None,
        }
    }
}

#[derive(Debug)]
struct Images {
    /// Values of the pictures shown, [shown, height, width, channels].
    values: Vec<f64>,
    total: usize,
    shown: usize,
    height: usize,
    width: usize,
    /// 1 or 3.
    channels: usize,
    columns: usize,
    range: [f64; 2],
    /// Whether it was made as one picture.
    single: bool,
    options: ImagesOptions,
}

impl Figure {
    /// One picture of `shape` [height, width] or [height, width, 3]. Errors if the shape is another one or does not
    /// fit the number of values, or if an option makes no sense.
    pub fn image(values: Vec<f64>, shape: &[usize], options: ImageOptions) -> Result<Self> {
        let (height, width, channels) = match *shape {
            [height, width] => (height, width, 1),
            [height, width, channels @ (1 | 3)] => (height, width, channels),
            _ => {
                return Err(Error::Shape {
                    what: "image",
                    expected: "[height, width] or [height, width, 3]",
                    got: shape.to_vec(),
                });
            }
        };
        let many = ImagesOptions {
            title: options.title,
            limits: options.limits,
            color_map: options.color_map,
            width: options.width,
            height: options.height,
            ..Default::default()
        };
        let mut images = images(values, [1, height, width, channels], many)?;
        images.single = true;
        Ok(Self::new(images))
    }

    /// Pictures of `shape` [n, height, width] or [n, height, width, 3]. Errors if the shape is another one or does
    /// not fit the number of values, if labels and pictures differ in number, or if an option makes no sense.
    pub fn images(values: Vec<f64>, shape: &[usize], options: ImagesOptions) -> Result<Self> {
        let shape = match *shape {
            [n, height, width] => [n, height, width, 1],
            [n, height, width, channels @ (1 | 3)] => [n, height, width, channels],
            _ => {
                return Err(Error::Shape {
                    what: "images",
                    expected: "[n, height, width] or [n, height, width, 3]",
                    got: shape.to_vec(),
                });
            }
        };
        Ok(Self::new(images(values, shape, options)?))
    }
}

fn images(mut values: Vec<f64>, shape: [usize; 4], options: ImagesOptions) -> Result<Images> {
    let [total, height, width, channels] = shape;
    let one = [height, width, channels]
        .iter()
        .fold(1, |a: usize, b| a.saturating_mul(*b));
    check_length("values", values.len(), total.saturating_mul(one))?;
    check_labels("labels", &options.labels, total)?;
    check_limits("limits", options.limits, false)?;
    check_side("width", options.width)?;
    check_side("height", options.height)?;
    let whole = |option, value: usize, most: usize, expected| match (1..=most).contains(&value) {
        true => Ok(()),
        false => Err(Error::Option {
            option,
            expected,
            got: value.to_string(),
        }),
    };
    whole("columns", options.columns.unwrap_or(1), 100, "1 to 100")?;
    whole("most", options.most, 1000, "1 to 1000")?;
    let range = value_range(&values, channels, options.limits);
    // Pictures without pixels are no pictures.
    let shown = if one == 0 { 0 } else { total.min(options.most) };
    values.truncate(shown * one);
    let columns = options.columns.unwrap_or_else(|| columns_for(shown));
    Ok(Images {
        values,
        total,
        shown,
        height,
        width,
        channels,
        columns: columns.min(shown).max(1),
        range,
        single: false,
        options,
    })
}

/// The values of black and white.
fn value_range(values: &[f64], channels: usize, limits: Option<[f64; 2]>) -> [f64; 2] {
    if channels == 3
        && limits.is_none()
        && let Some((lo, hi)) = extent(values.iter().copied())
    {
        for top in [1.0, 255.0] {
            if lo >= 0.0 && hi <= top {
                return [0.0, top];
            }
        }
    }
    let range = Scale::fit(Kind::Linear, values.iter().copied(), 0.0, limits);
    [range.lo, range.hi]
}

/// How many of `n` pictures stand side by side: full rows where a number near the square root divides `n`.
fn columns_for(n: usize) -> usize {
    if n <= 5 {
        return n;
    }
    let root = (n as f64).sqrt();
    let first = root.ceil() as usize;
    (first..=(root * 2.0) as usize)
        .find(|c| n.is_multiple_of(*c))
        .unwrap_or((root * 1.2).ceil() as usize)
}

impl Images {
    fn rows(&self) -> usize {
        self.shown.div_ceil(self.columns)
    }

    /// Height of a picture over its width.
    fn aspect(&self) -> f64 {
        self.height.max(1) as f64 / self.width.max(1) as f64
    }

    fn label_row(&self) -> f64 {
        if self.options.labels.is_empty() {
            0.0
        } else {
            LABEL_ROW
        }
    }

    /// Width of all pictures together, in widths of one.
    fn across(&self) -> f64 {
        self.columns as f64 + (self.columns - 1) as f64 * GAP
    }

    /// Height of one row with its label and the gap below, where a picture is `pixels` wide.
    fn row(&self, pixels: f64) -> f64 {
        self.aspect() + GAP + self.label_row() / pixels
    }

    fn upwards(&self, pixels: f64) -> f64 {
        self.rows().max(1) as f64 * self.row(pixels) - GAP
    }

    /// Width of one picture in pixels where all have `room`, found from the height that the labels leave.
    fn pixels(&self, room: [f64; 2]) -> f64 {
        let rows = self.rows().max(1) as f64;
        let upwards = (room[1] - rows * self.label_row()) / (rows * (self.aspect() + GAP));
        (room[0] / self.across()).min(upwards).max(1.0)
    }

    fn cells(&self, image: &[f64]) -> Vec<[u8; 3]> {
        let scale = Scale::linear(self.range[0], self.range[1]);
        let level = |v: f64| (scale.unit(v).clamp(0.0, 1.0) * 255.0).round() as u8;
        let cell = |values: &[f64]| match *values {
            [gray] => self.options.color_map.at(scale.unit(gray)).rgb,
            [r, g, b] => [level(r), level(g), level(b)],
            _ => [0; 3],
        };
        image.chunks(self.channels).map(cell).collect()
    }

    fn marks(&self, pixels: f64, palette: &Palette) -> Vec<Mark> {
        let one = self.height * self.width * self.channels;
        let label = self.label_row() / pixels;
        let mut marks = Vec::new();
        for (i, image) in self.values.chunks(one.max(1)).enumerate() {
            let left = (i % self.columns) as f64 * (1.0 + GAP);
            let top = (i / self.columns) as f64 * self.row(pixels);
            marks.push(Mark::Image {
                area: Rect {
                    left,
                    top: top + label,
                    right: left + 1.0,
                    bottom: top + label + self.aspect(),
                },
                columns: self.width,
                cells: self.cells(image),
            });
            if let Some(text) = self.options.labels.get(i) {
                marks.push(Mark::Text(Text {
                    at: [left + 0.5, top + label / 2.0],
                    text: crate::font::cut(text, LABEL, pixels * (1.0 + GAP)),
                    size: LABEL,
                    color: palette.muted,
                    anchor: Anchor::Middle,
                    upright: false,
                }));
            }
        }
        marks
    }
}

impl Plot for Images {
    fn size(&self) -> [f64; 2] {
        let ImagesOptions { width, height, .. } = self.options;
        let title = if self.title().is_empty() { 22.0 } else { 48.0 };
        let note = if self.shown < self.total { 20.0 } else { 0.0 };
        let margins = [26.0, title + note];
        // Large pictures few, small ones many.
        let pixels = (640.0 / self.across()).min(if self.columns == 1 { 300.0 } else { 130.0 });
        let aspect = self.upwards(pixels) / self.across();
        let area = (pixels * self.across()).powi(2) * aspect;
        size_for_aspect(aspect, area, margins, width, height)
    }

    fn title(&self) -> &str {
        &self.options.title
    }

    fn describe(&self) -> String {
        let colors = if self.channels == 3 {
            " in colours"
        } else {
            ""
        };
        let size = format!("{} x {}{colors}", self.height, self.width);
        match self.single {
            true => format!("image, {size}"),
            false => format!("images, {} of {size}", self.total),
        }
    }

    fn colors(&self) -> Option<usize> {
        Some(0)
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let mut notes = Vec::new();
        if self.shown == 0 {
            notes.push("no data".to_string());
        } else if self.shown < self.total {
            notes.push(format!(
                "the first {} of {}",
                count(self.shown),
                count(self.total)
            ));
        }
        let title = if self.title().is_empty() { 0.0 } else { 26.0 };
        let note = if notes.is_empty() { 0.0 } else { 20.0 };
        let room = [area.width() - 26.0, area.height() - 22.0 - title - note];
        let pixels = self.pixels(room);
        let panel = Panel {
            title: self.options.title.clone(),
            x: Axis::hidden(Scale::linear(0.0, self.across())),
            y: Axis::hidden(Scale::linear(self.upwards(pixels), 0.0)),
            equal: true,
            marks: self.marks(pixels, palette),
            legend: Vec::new(),
            bar: None,
            cells: Vec::new(),
            notes,
        };
        vec![Placed { area, panel }]
    }
}

/// A picture of one row from any numbers.
pub(super) fn sample_one(numbers: &[f64]) -> Result<Figure> {
    let options = ImageOptions {
        title: "picture".to_string(),
        ..Default::default()
    };
    Figure::image(numbers.to_vec(), &[1, numbers.len()], options)
}

/// Pictures of one pixel in colours from any numbers.
pub(super) fn sample_many(numbers: &[f64]) -> Result<Figure> {
    let n = numbers.len();
    let values = numbers.iter().flat_map(|v| [*v, v / 2.0, -v]).collect();
    let options = ImagesOptions {
        title: "pictures".to_string(),
        labels: (0..n).map(|i| i.to_string()).collect(),
        ..Default::default()
    };
    Figure::images(values, &[n, 1, 1, 3], options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Theme;

    #[test]
    fn shapes_are_checked_and_the_mix_up_of_axes_is_explained() {
        let error = Figure::image(vec![0.0; 12], &[3, 2, 2], ImageOptions::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "image: expected shape [height, width] or [height, width, 3], got [3, 2, 2]"
        );
        assert!(error.hint().unwrap().contains("colours come last"));
        let error = Figure::images(vec![0.0; 7], &[2, 2, 2], ImagesOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "values: expected 8, got 7");
        assert!(Figure::image(vec![0.0; 4], &[4], ImageOptions::default()).is_err());
        let huge = [usize::MAX, 2, 2];
        assert!(Figure::images(vec![], &huge, ImagesOptions::default()).is_err());
    }

    #[test]
    fn rows_are_full_where_that_is_possible() {
        let found: Vec<usize> = [0, 1, 5, 7, 10, 16, 20, 64, 100].map(columns_for).to_vec();
        assert_eq!(found, [0, 1, 5, 4, 5, 4, 5, 8, 10]);
    }

    #[test]
    fn the_range_of_colors_follows_the_usual_conventions() {
        assert_eq!(value_range(&[0.2, 0.9, 0.5], 3, None), [0.0, 1.0]);
        assert_eq!(value_range(&[0.0, 200.0, 3.0], 3, None), [0.0, 255.0]);
        assert_eq!(value_range(&[-1.0, 1.0, 0.0], 3, None), [-1.0, 1.0]);
        assert_eq!(value_range(&[0.2, 0.9], 1, None), [0.2, 0.9]);
    }

    #[test]
    fn only_the_first_pictures_are_shown_and_it_is_said() {
        let options = ImagesOptions {
            most: 6,
            ..Default::default()
        };
        let svg = Figure::images(vec![0.5; 40], &[10, 2, 2], options)
            .unwrap()
            .svg(Theme::Light);
        assert_eq!(svg.matches("<image").count(), 6);
        assert!(svg.contains("the first 6 of 10"));
    }
}
