//! What the options of several kinds of figure have in common: their checks, and the sizes that follow from data.

use crate::color::{self, Color, ColorMap, Palette};
use crate::error::{Error, Result};
use crate::scale::{Kind, Scale, extent};

/// Smallest and largest side of a figure in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 64..=4000;

/// Checks a width or a height.
pub(crate) fn check_side(option: &'static str, side: Option<u32>) -> Result<()> {
    match side {
        Some(side) if !SIDES.contains(&side) => Err(Error::Option {
            option,
            expected: "64 to 4000 pixels",
            got: side.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Checks the ends of an axis or of a range of colours.
pub(crate) fn check_limits(
    option: &'static str,
    limits: Option<[f64; 2]>,
    log: bool,
) -> Result<()> {
    let Some([lo, hi]) = limits else {
        return Ok(());
    };
    let expected = match log {
        true => "[low, high] with 0 < low < high",
        false => "[low, high] with low < high",
    };
    // A range whose length overflows or vanishes in f64 cannot be drawn.
    let wide = (hi - lo).is_finite() && hi - lo > lo.abs().max(hi.abs()) * 1e-12;
    if lo.is_finite() && hi.is_finite() && wide && (!log || lo > 0.0) {
        return Ok(());
    }
    Err(Error::Option {
        option,
        expected,
        got: format!("[{lo}, {hi}]"),
    })
}

/// Checks that a number is in a range.
pub(crate) fn check_number(
    option: &'static str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    expected: &'static str,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::Option {
        option,
        expected,
        got: value.to_string(),
    })
}

/// Checks that there is a label for each of `count` things, or none at all.
pub(crate) fn check_labels(what: &'static str, labels: &[String], count: usize) -> Result<()> {
    check_length(
        what,
        labels.len(),
        if labels.is_empty() { 0 } else { count },
    )
}

/// Checks a length.
pub(crate) fn check_length(what: &'static str, got: usize, expected: usize) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    Err(Error::Length {
        what,
        expected,
        got,
    })
}

/// Reads the colours that the user named.
pub(crate) fn parse_colors(names: &[String]) -> Result<Vec<Color>> {
    names.iter().map(|name| color::parse(name)).collect()
}

/// The colour of the series number `index`: of the user's own (repeated), else of the theme's.
pub(crate) fn series_color(own: &[Color], palette: &Palette, index: usize) -> Color {
    let picked = own.get(index % own.len().max(1));
    picked.copied().unwrap_or_else(|| palette.series(index))
}

/// The values at the ends of the colours: as the user says, else all of them, as far below as above zero for colours
/// that diverge.
pub(crate) fn color_range(values: &[f64], limits: Option<[f64; 2]>, map: ColorMap) -> [f64; 2] {
    if limits.is_none()
        && map == ColorMap::Diverging
        && let Some((lo, hi)) = extent(values.iter().copied())
    {
        let most = lo.abs().max(hi.abs()).clamp(1e-300, 8e307);
        return [-most, most];
    }
    let range = Scale::fit(Kind::Linear, values.iter().copied(), 0.0, limits);
    [range.lo, range.hi]
}

/// The size of a figure over a plane: from the shape of the data where a unit is as long across as upwards, else 640 by
/// 420 pixels. `extra` is the width of what stands beside the axes.
pub(crate) fn plane_size(
    x: &Scale,
    y: &Scale,
    equal: bool,
    (extra, titled): (f64, bool),
    (width, height): (Option<u32>, Option<u32>),
) -> [f64; 2] {
    if !equal {
        return [width.unwrap_or(640), height.unwrap_or(420)].map(f64::from);
    }
    let margins = [66.0 + extra, if titled { 76.0 } else { 52.0 }];
    size_for_aspect(y.span() / x.span(), 380.0 * 380.0, margins, width, height)
}

/// Whether the axes should have one unit: as the user says, else unless one range is much longer than the other.
pub(crate) fn is_equal(option: Option<bool>, x: &Scale, y: &Scale, most: f64) -> bool {
    let aspect = y.span() / x.span();
    option.unwrap_or((1.0 / most..=most).contains(&aspect))
}

/// The size in pixels of a figure whose plot has the height `aspect` times its width, with `margins` (across,
/// upwards) around it. What the user gave is kept; with one side given the other one follows.
pub(crate) fn size_for_aspect(
    aspect: f64,
    area: f64,
    margins: [f64; 2],
    width: Option<u32>,
    height: Option<u32>,
) -> [f64; 2] {
    let aspect = aspect.clamp(0.05, 20.0);
    let plot_width = match (width, height) {
        (Some(width), _) => f64::from(width) - margins[0],
        (None, Some(height)) => (f64::from(height) - margins[1]) / aspect,
        (None, None) => (area / aspect).sqrt().min(560.0).min(480.0 / aspect),
    };
    let plot_width = plot_width.clamp(60.0, 3800.0);
    let plot_height = (plot_width * aspect).clamp(40.0, 3800.0);
    [
        width.map_or((plot_width + margins[0]).round(), f64::from),
        height.map_or((plot_height + margins[1]).round(), f64::from),
    ]
}
