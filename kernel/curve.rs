//! A loss curve small enough for a line of text: a few hundred points however long the training, drawn as a
//! picture inside of an `<img>`, which every front end shows, trusted or not.

use base64::{Engine, prelude::BASE64_STANDARD};
use rhapsode_script::words;

use crate::progress::escape;

/// Points that are kept.
const POINTS: usize = 256;
/// The picture, in pixels.
const SIZE: [f64; 2] = [160.0, 36.0];
/// A curve that spans this factor is drawn with a logarithmic axis.
const LOGARITHMIC: f64 = 30.0;

/// The values of one metric, each point the mean of as many steps.
#[derive(Default)]
pub struct Curve {
    name: String,
    points: Vec<f64>,
    /// How many steps a point stands for.
    stride: usize,
    sum: f64,
    summed: usize,
    ends: Option<(f64, f64)>,
}

impl Curve {
    /// Takes the value of a step.
    pub fn add(&mut self, name: &str, value: f64) {
        if !value.is_finite() {
            return;
        }
        if self.name != name {
            *self = Self {
                name: name.to_string(),
                stride: 1,
                ..Self::default()
            };
        }
        self.ends = Some((self.ends.map_or(value, |(first, _)| first), value));
        self.sum += value;
        self.summed += 1;
        if self.summed < self.stride {
            return;
        }
        self.points.push(self.sum / self.summed as f64);
        (self.sum, self.summed) = (0.0, 0);
        if self.points.len() >= POINTS {
            let mean = |pair: &[f64]| pair.iter().sum::<f64>() / pair.len() as f64;
            self.points = self.points.chunks(2).map(mean).collect();
            self.stride *= 2;
        }
    }

    /// An `<img>` of the curve; nothing of less than two points.
    pub fn picture(&self) -> String {
        let Some((first, last)) = self.ends.filter(|_| self.points.len() > 1) else {
            return String::new();
        };
        let [width, height] = SIZE;
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\
             <polyline fill=\"none\" stroke=\"#3274b5\" stroke-width=\"1.5\" stroke-linejoin=\"round\" points=\"{}\"/></svg>",
            self.places()
        );
        let alt = format!(
            "{}: {} to {}",
            self.name,
            words::number(first),
            words::number(last)
        );
        format!(
            "<img alt=\"{0}\" title=\"{0}\" width=\"{width}\" height=\"{height}\" style=\"vertical-align: middle; display: inline\" \
             src=\"data:image/svg+xml;base64,{1}\">",
            escape(&alt),
            BASE64_STANDARD.encode(svg)
        )
    }

    /// The points of the polyline.
    fn places(&self) -> String {
        let least = self.points.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self
            .points
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let is_log = least > 0.0 && most / least > LOGARITHMIC;
        let scale = |value: f64| if is_log { value.ln() } else { value };
        let span = scale(most) - scale(least);
        let [width, height] = SIZE.map(|length| length - 4.0);
        let step = width / (self.points.len().max(2) - 1) as f64;
        let place = |(i, value): (usize, &f64)| {
            let part = if span > 0.0 {
                (scale(*value) - scale(least)) / span
            } else {
                0.5
            };
            format!(
                "{:.1},{:.1}",
                2.0 + i as f64 * step,
                2.0 + height * (1.0 - part)
            )
        };
        let places: Vec<String> = self.points.iter().enumerate().map(place).collect();
        places.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: impl IntoIterator<Item = f64>) -> Curve {
        let mut curve = Curve::default();
        values
            .into_iter()
            .for_each(|value| curve.add("loss", value));
        curve
    }

    #[test]
    fn a_long_training_keeps_few_points_and_its_shape() {
        let curve = curve((0..100_000).map(|i| f64::from(100_000 - i)));
        assert!(
            (POINTS / 2..POINTS).contains(&curve.points.len()),
            "{}",
            curve.points.len()
        );
        assert!(curve.points.is_sorted_by(|a, b| a > b));
        assert_eq!(curve.ends, Some((100_000.0, 1.0)));
    }

    #[test]
    fn the_curve_fills_its_picture() {
        assert_eq!(
            curve([4.0, 2.0, 3.0]).places(),
            "2.0,2.0 80.0,34.0 158.0,18.0"
        );
        // Equal steps of a factor ten on a logarithmic axis.
        assert_eq!(
            curve([100.0, 10.0, 1.0]).places(),
            "2.0,2.0 80.0,18.0 158.0,34.0"
        );
        assert_eq!(curve([1.0, 1.0]).places(), "2.0,18.0 158.0,18.0");
        assert_eq!(curve([1.0]).picture(), "");
        assert_eq!(curve([f64::NAN, f64::INFINITY]).picture(), "");
    }
}
