//! The 2-D sets on which generative models are tried: shapes that a Gaussian does not have.
//!
//! Points are independent draws, made in f64 and given as f32 `[n, 2]`. Point `i` depends on the stream
//! and on `i` alone: the first 100 of 1000 points are the 100 points. All sets stand in [`TOY`].
//!
//! `checkerboard`, `spirals`, `eight_gaussians`, `pinwheel`, `swiss_roll` and `rings` follow the sets of
//! Grathwohl et al., "FFJORD" (arXiv 1810.01367), which later papers use; the checkerboard is square for
//! square that of Albergo et al., "Stochastic Interpolants" (arXiv 2303.08797). `moons` is that of
//! scikit-learn's `make_moons` with angles drawn and not evenly spaced.

use std::f64::consts::{PI, SQRT_2, TAU};

use rhapsode_tensor::{Tensor, interrupt, memory, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Options of a 2-D set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ToyOptions {
    /// Standard deviation of the Gaussian noise, in the units of the coordinates; at least 0.
    /// Default: the set's own.
    pub noise: Option<f64>,
}

/// A 2-D set.
pub struct Toy {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// Default standard deviation of the noise.
    pub noise: f64,
    /// Number of classes; 0 where the set has no parts to tell apart.
    pub classes: usize,
    /// A point and its class from three uniform and two normal numbers.
    point: fn(Draw, f64) -> ([f64; 2], i64),
}

/// All 2-D sets.
pub const TOY: &[Toy] = &[
    MOONS,
    CHECKERBOARD,
    SPIRALS,
    EIGHT_GAUSSIANS,
    PINWHEEL,
    SWISS_ROLL,
    RINGS,
    CIRCLES,
    S_CURVE,
];

/// Two half circles of radius 1 that reach into each other: `(cos a, sin a)` and
/// `(1 - cos a, 1/2 - sin a)`, `a` uniform in `[0, pi]`. Noise 0.05; the class is the moon.
pub const MOONS: Toy = Toy {
    name: "moons",
    summary: "two interleaving half circles of radius 1",
    noise: 0.05,
    classes: 2,
    point: |draw, noise| {
        let (moon, (sin, cos)) = (draw.class(2), (PI * draw.uniform[1]).sin_cos());
        let place = if moon == 0 {
            [cos, sin]
        } else {
            [1.0 - cos, 0.5 - sin]
        };
        (draw.around(place, noise), moon)
    },
};

/// Uniform on 8 of the 16 squares of side 2 of a board on `[-4, 4]^2`: those with `floor(x/2) + floor(y/2)`
/// even (entropy ln 32). Noise 0; the class is the square, column by column from the left, each from below.
pub const CHECKERBOARD: Toy = Toy {
    name: "checkerboard",
    summary: "uniform on alternating squares of side 2 on [-4, 4]^2",
    noise: 0.0,
    classes: 8,
    point: |draw, noise| {
        let square = draw.class(8);
        let column = square / 2;
        let left = (2 * column - 4) as f64;
        let low = (4 * (square % 2) + 2 * (column % 2) - 4) as f64;
        let place = [left + 2.0 * draw.uniform[1], low + 2.0 * draw.uniform[2]];
        (draw.around(place, noise), square)
    },
};

/// Two arms that start in the middle and turn one and a half times: angle `a = 3 pi sqrt(u)`, radius `a / 3`,
/// `(-r cos a, r sin a)` and its mirror image through the origin. Noise 0.1; the class is the arm.
pub const SPIRALS: Toy = Toy {
    name: "spirals",
    summary: "two spiral arms of radius up to pi",
    noise: 0.1,
    classes: 2,
    point: |draw, noise| {
        let (arm, angle) = (draw.class(2), 3.0 * PI * draw.uniform[1].sqrt());
        let radius = if arm == 0 { angle } else { -angle } / 3.0;
        let place = [-radius * angle.cos(), radius * angle.sin()];
        (draw.around(place, noise), arm)
    },
};

/// Eight Gaussians on a circle of radius `4 / sqrt 2`, the first on the positive x axis, counter-clockwise.
/// Noise `0.5 / sqrt 2`, their standard deviation; the class is the Gaussian.
pub const EIGHT_GAUSSIANS: Toy = Toy {
    name: "eight_gaussians",
    summary: "eight Gaussians on a circle of radius 2.83",
    noise: 0.5 / SQRT_2,
    classes: 8,
    point: |draw, noise| {
        let class = draw.class(8);
        let (sin, cos) = (TAU * class as f64 / 8.0).sin_cos();
        let place = [4.0 / SQRT_2 * cos, 4.0 / SQRT_2 * sin];
        (draw.around(place, noise), class)
    },
};

/// Five curved blades: `2 R(2 pi k / 5 + exp(a) / 4) (a, b)` with `a ~ N(1, 0.3^2)` along a blade,
/// `b ~ N(0, noise^2)` across it, and `R` a rotation. Noise 0.1; the class is the blade `k`.
pub const PINWHEEL: Toy = Toy {
    name: "pinwheel",
    summary: "five curved blades of length about 3",
    noise: 0.1,
    classes: 5,
    point: |draw, noise| {
        let blade = draw.class(5);
        let [along, across] = [1.0 + 0.3 * draw.normal[0], noise * draw.normal[1]];
        let (sin, cos) = (TAU * blade as f64 / 5.0 + 0.25 * along.exp()).sin_cos();
        let place = [cos * along - sin * across, sin * along + cos * across];
        (place.map(|v| 2.0 * v), blade)
    },
};

/// A rolled strip: `(a cos a, a sin a) / 5`, `a` uniform in `[3 pi / 2, 9 pi / 2]`. Noise 0.2; no classes.
pub const SWISS_ROLL: Toy = Toy {
    name: "swiss_roll",
    summary: "a strip rolled one and a half times, radius up to 2.83",
    noise: 0.2,
    classes: 0,
    point: |draw, noise| {
        let angle = 1.5 * PI * (1.0 + 2.0 * draw.uniform[1]);
        let place = [angle * angle.cos() / 5.0, angle * angle.sin() / 5.0];
        (draw.around(place, noise), 0)
    },
};

/// Four circles of radius 0.75, 1.5, 2.25 and 3 with equally many points. Noise 0.08; the class is the
/// circle, from the inside.
pub const RINGS: Toy = Toy {
    name: "rings",
    summary: "four concentric circles of radius 0.75 to 3",
    noise: 0.08,
    classes: 4,
    point: |draw, noise| {
        let ring = draw.class(4);
        let radius = 0.75 * (ring + 1) as f64;
        let (sin, cos) = (TAU * draw.uniform[1]).sin_cos();
        (draw.around([radius * cos, radius * sin], noise), ring)
    },
};

/// Two circles of radius 1 and 0.5 (scikit-learn's `make_circles` with angles drawn). Noise 0.05; the class is the circle,
/// from the outside.
pub const CIRCLES: Toy = Toy {
    name: "circles",
    summary: "two concentric circles of radius 1 and 0.5",
    noise: 0.05,
    classes: 2,
    point: |draw, noise| {
        let circle = draw.class(2);
        let radius = if circle == 0 { 1.0 } else { 0.5 };
        let (sin, cos) = (TAU * draw.uniform[1]).sin_cos();
        (draw.around([radius * cos, radius * sin], noise), circle)
    },
};

/// A strip bent to an S, seen along its flat side (scikit-learn's `make_s_curve` without its width):
/// `(sin a, sign(a) (cos a - 1))`, `a` uniform in `[-3 pi / 2, 3 pi / 2]`. Noise 0.05; no classes.
pub const S_CURVE: Toy = Toy {
    name: "s_curve",
    summary: "a strip bent to an S on [-1, 1] x [-2, 2]",
    noise: 0.05,
    classes: 0,
    point: |draw, noise| {
        let angle = 3.0 * PI * (draw.uniform[1] - 0.5);
        let place = [angle.sin(), angle.signum() * (angle.cos() - 1.0)];
        (draw.around(place, noise), 0)
    },
};

/// The random numbers of one point.
#[derive(Clone, Copy)]
struct Draw {
    uniform: [f64; 3],
    normal: [f64; 2],
}

impl Draw {
    /// One of `n` classes, all equally likely.
    fn class(&self, n: i64) -> i64 {
        (self.uniform[0] * n as f64) as i64
    }

    /// A place with noise added.
    fn around(&self, place: [f64; 2], noise: f64) -> [f64; 2] {
        [
            place[0] + noise * self.normal[0],
            place[1] + noise * self.normal[1],
        ]
    }
}

/// Points drawn between two looks at the interrupt.
const BLOCK: usize = 1 << 16;

impl Toy {
    /// `n` points, f32 `[n, 2]`. Errors for a noise that is negative or not finite, and for
    /// more points than memory holds.
    pub fn sample(&self, n: usize, stream: Stream, options: &ToyOptions) -> Result<Tensor> {
        Ok(self.draw(n, stream, options)?.0)
    }

    /// `n` points, f32 `[n, 2]`, and the class of each, i64 `[n]` in `0..classes`. Errors as
    /// [`sample`](Self::sample), and for a set without classes.
    pub fn labelled(
        &self,
        n: usize,
        stream: Stream,
        options: &ToyOptions,
    ) -> Result<(Tensor, Tensor)> {
        if self.classes == 0 {
            let message = format!(
                "expected a set with classes, got `{}`, which has none",
                self.name
            );
            return Err(Error::Value {
                what: "labels",
                message,
            });
        }
        self.draw(n, stream, options)
    }

    fn draw(&self, n: usize, stream: Stream, options: &ToyOptions) -> Result<(Tensor, Tensor)> {
        let noise = options.noise.unwrap_or(self.noise);
        if !(noise.is_finite() && noise >= 0.0) {
            let message = format!("expected a number of at least 0, got {noise}");
            return Err(Error::option("noise", message));
        }
        memory::ensure(n, 2 * size_of::<f32>() + size_of::<i64>())?;
        let (mut points, mut labels) = (Vec::with_capacity(2 * n), Vec::with_capacity(n));
        let seed = stream.seed();
        let (uniform, normal) = (Stream::new(seed, "uniform"), Stream::new(seed, "normal"));
        for start in (0..n).step_by(BLOCK) {
            interrupt::check()?;
            let (block, count) = ((start / BLOCK) as u64, BLOCK.min(n - start));
            let mut u = vec![0f64; 3 * count];
            let mut z = vec![0f64; 2 * count];
            uniform.at(block).uniform(&mut u);
            normal.at(block).normal(&mut z);
            for (&uniform, &normal) in u.as_chunks().0.iter().zip(z.as_chunks().0) {
                let (place, label) = (self.point)(Draw { uniform, normal }, noise);
                points.extend(place.map(|v| v as f32));
                labels.push(label);
            }
        }
        Ok((
            Tensor::from_vec(points, &[n, 2])?,
            Tensor::from_vec(labels, &[n])?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the definitions give without noise: mean, variances and covariance (in closed form), and the
    /// box `[low, high]` that holds all points; for the pinwheel one that holds all but one in 10^9.
    fn expected(name: &str) -> ([f64; 2], [f64; 3], [[f64; 2]; 2]) {
        let (p2, ball) = (PI * PI, |r: f64| [[-r, -r], [r, r]]);
        match name {
            "moons" => (
                [0.5, 0.25],
                [0.75, 0.5625 - 1.0 / PI, 0.125 - 1.0 / PI],
                [[-1.0, -0.5], [2.0, 1.0]],
            ),
            "checkerboard" => ([0.0; 2], [16.0 / 3.0, 16.0 / 3.0, 1.0], ball(4.0)),
            "spirals" => (
                [0.0; 2],
                [
                    p2 / 4.0 + 1.0 / 12.0,
                    p2 / 4.0 - 1.0 / 12.0,
                    PI / 6.0 - 1.0 / (36.0 * PI),
                ],
                ball(PI),
            ),
            "eight_gaussians" => ([0.0; 2], [4.0, 4.0, 0.0], ball(4.0 / SQRT_2)),
            "pinwheel" => ([0.0; 2], [2.18, 2.18, 0.0], ball(2.0 * 2.8)),
            "swiss_roll" => {
                let mean = [0.4, 2.0 / (15.0 * PI)];
                let square = |sign: f64| (4.875 * p2 + sign * 0.25) / 25.0;
                let variance = [
                    square(-1.0) - mean[0] * mean[0],
                    square(1.0) - mean[1] * mean[1],
                    0.06 * PI - mean[0] * mean[1],
                ];
                (mean, variance, ball(0.9 * PI))
            }
            "rings" => ([0.0; 2], [4.21875 / 2.0, 4.21875 / 2.0, 0.0], ball(3.0)),
            "circles" => ([0.0; 2], [0.3125, 0.3125, 0.0], ball(1.0)),
            "s_curve" => (
                [0.0; 2],
                [0.5, 1.5 + 4.0 / (3.0 * PI), -1.0 / (3.0 * PI)],
                [[-1.0, -2.0], [1.0, 2.0]],
            ),
            other => panic!("`{other}` has no expected values here: derive them"),
        }
    }

    fn quiet() -> ToyOptions {
        ToyOptions { noise: Some(0.0) }
    }

    #[test]
    fn every_set_has_its_moments_and_lies_in_its_box() {
        for toy in TOY {
            let n = 200_000;
            let x = toy.sample(n, Stream::new(0, "toy"), &quiet()).unwrap();
            assert_eq!(
                (x.dims(), x.dtype()),
                (&[n, 2][..], rhapsode_tensor::DType::F32)
            );
            let x = x.to_vec().unwrap();
            let (points, _) = x.as_chunks::<2>();
            let average =
                |f: &dyn Fn(&[f64; 2]) -> f64| points.iter().map(f).sum::<f64>() / n as f64;
            let (mean, covariance, [low, high]) = expected(toy.name);
            let m = [average(&|p| p[0]), average(&|p| p[1])];
            let c = [
                average(&|p| (p[0] - m[0]).powi(2)),
                average(&|p| (p[1] - m[1]).powi(2)),
                average(&|p| (p[0] - m[0]) * (p[1] - m[1])),
            ];
            // Five standard errors, with fourth moments of at most three times the squared variance.
            let error = 5.0 / (n as f64).sqrt();
            let variance = covariance[0].max(covariance[1]);
            for (got, want) in m.iter().zip(mean) {
                assert!(
                    (got - want).abs() < error * variance.sqrt(),
                    "{}: {m:?}",
                    toy.name
                );
            }
            for (got, want) in c.iter().zip(covariance) {
                assert!(
                    (got - want).abs() < error * SQRT_2 * variance,
                    "{}: {c:?}",
                    toy.name
                );
            }
            let slack = 1e-6;
            assert!(
                points.iter().all(|p| (0..2).all(|k| {
                    (low[k] - slack..=high[k] + slack).contains(&p[k])
                })),
                "{}",
                toy.name
            );
        }
    }

    #[test]
    fn noise_adds_its_variance() {
        for toy in TOY {
            let n = 100_000;
            let spread = |noise| {
                let options = ToyOptions { noise: Some(noise) };
                let x = toy.sample(n, Stream::new(3, "toy"), &options).unwrap();
                x.variance(Some(&[0]))
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .item()
                    .unwrap()
            };
            // The noise across a pinwheel's blade is one number, scaled by 2 with the blade.
            let added = if toy.name == "pinwheel" { 4.0 } else { 2.0 };
            let got = spread(1.0) - spread(0.0);
            assert!((got - added).abs() < 0.08, "{}: {got}", toy.name);
            let default = toy
                .sample(5, Stream::new(3, "toy"), &ToyOptions::default())
                .unwrap();
            let same = ToyOptions {
                noise: Some(toy.noise),
            };
            let same = toy.sample(5, Stream::new(3, "toy"), &same).unwrap();
            assert_eq!(
                default.to_vec().unwrap(),
                same.to_vec().unwrap(),
                "{}",
                toy.name
            );
        }
    }

    #[test]
    fn a_stream_gives_its_points_and_a_prefix_of_them() {
        for toy in TOY {
            let draw = |n, stream| {
                let x = toy.sample(n, stream, &ToyOptions::default()).unwrap();
                assert!(x.is_finite().unwrap());
                x.to_vec().unwrap()
            };
            let stream = Stream::new(1, "toy");
            let long = draw(BLOCK + 1001, stream);
            assert_eq!(long, draw(BLOCK + 1001, stream));
            assert_eq!(long[..2 * 1001], draw(1001, stream));
            assert_eq!(long[..2], draw(1, stream));
            assert!(draw(0, stream).is_empty());
            assert_ne!(long[..20], draw(10, Stream::new(2, "toy")));
            assert_ne!(long[..20], draw(10, stream.at(1)));
            assert_ne!(long[..20], long[2 * BLOCK..2 * BLOCK + 20], "blocks repeat");
        }
    }

    #[test]
    fn classes_are_equally_frequent_and_belong_to_the_points() {
        for toy in TOY {
            let (n, stream) = (20_000, Stream::new(4, "toy"));
            let drawn = toy.labelled(n, stream, &quiet());
            if toy.classes == 0 {
                let message = drawn.err().unwrap().to_string();
                assert_eq!(
                    message,
                    format!(
                        "labels: expected a set with classes, got `{}`, which has none",
                        toy.name
                    )
                );
                continue;
            }
            let (x, labels) = drawn.unwrap();
            let plain = toy.sample(n, stream, &quiet()).unwrap();
            assert_eq!(x.to_vec().unwrap(), plain.to_vec().unwrap());
            let labels = labels.to_ints("labels").unwrap();
            for class in 0..toy.classes {
                let count = labels.iter().filter(|&&l| l == class as i64).count() as f64;
                let share = n as f64 / toy.classes as f64;
                assert!(
                    (count - share).abs() < 5.0 * share.sqrt(),
                    "{} {class}: {count}",
                    toy.name
                );
            }
            let x = x.to_vec().unwrap();
            for (p, &label) in x.as_chunks::<2>().0.iter().zip(&labels) {
                if let Some(class) = class_of(toy.name, p) {
                    assert_eq!(class, label, "{} {p:?}", toy.name);
                }
            }
        }
    }

    /// The class by the geometry alone, where it tells.
    fn class_of(name: &str, p: &[f64; 2]) -> Option<i64> {
        let (radius, angle) = (p[0].hypot(p[1]), p[1].atan2(p[0]));
        let turns = |angle: f64, n: f64| (angle / TAU * n).round().rem_euclid(n) as i64;
        Some(match name {
            "moons" => i64::from((radius - 1.0).abs() > 1e-5),
            "checkerboard" => {
                let column = ((p[0] + 4.0) / 2.0).floor() as i64;
                2 * column + i64::from(p[1] >= 0.0)
            }
            // On arm 0 the point at radius r has the angle pi - 3 r.
            "spirals" => i64::from((angle - PI + 3.0 * radius).cos() < 0.0),
            "eight_gaussians" => turns(angle, 8.0),
            // Some points of a blade lie beyond the middle, on the far side.
            "pinwheel" if radius < 1.0 => return None,
            "pinwheel" => turns(angle - 0.25 * (radius / 2.0).exp(), 5.0),
            "rings" => (radius / 0.75).round() as i64 - 1,
            "circles" => i64::from(radius < 0.75),
            other => panic!("`{other}` has classes that no one knows"),
        })
    }

    #[test]
    fn every_square_of_the_board_is_of_one_colour() {
        let x = CHECKERBOARD
            .sample(20_000, Stream::new(5, "toy"), &ToyOptions::default())
            .unwrap();
        for p in x.to_vec().unwrap().as_chunks::<2>().0 {
            let square = (p[0] / 2.0).floor() + (p[1] / 2.0).floor();
            assert_eq!(square.rem_euclid(2.0), 0.0, "{p:?}");
        }
    }

    #[test]
    fn impossible_requests_are_errors() {
        let options = ToyOptions { noise: Some(-0.5) };
        let error = MOONS
            .sample(3, Stream::new(0, "toy"), &options)
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "option `noise`: expected a number of at least 0, got -0.5"
        );
        let huge = MOONS.sample(
            usize::MAX / 4,
            Stream::new(0, "toy"),
            &ToyOptions::default(),
        );
        assert!(matches!(
            huge,
            Err(Error::Tensor(rhapsode_tensor::Error::Memory { .. }))
        ));
        let flag = std::sync::Arc::new(true.into());
        let stopped = interrupt::with_flag(flag, || {
            RINGS.sample(10, Stream::new(0, "toy"), &ToyOptions::default())
        });
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}
