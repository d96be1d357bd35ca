//! How the learning rate changes over the steps: a factor on it, from a shape and an optional linear
//! warm-up in front.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The shape of the learning rate after its warm-up; x runs from 0 to 1 over the planned steps, n counts steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// 1
    Constant,
    /// 1 - (1 - floor) x
    Linear,
    /// floor + (1 - floor) (1 + cos pi x) / 2
    #[default]
    Cosine,
    /// half a cosine from `start` up to 1 over the share `rise` of the steps, then half a cosine down to the floor (Smith,
    /// Topin 2017, arXiv 1708.07120)
    OneCycle,
    /// gamma^floor(n / step_size)
    Step,
    /// gamma^n
    Exponential,
}

/// Every shape. To be in the list is to be tested.
pub const SHAPES: &[(&str, Shape)] = &[
    ("constant", Shape::Constant),
    ("linear", Shape::Linear),
    ("cosine", Shape::Cosine),
    ("one-cycle", Shape::OneCycle),
    ("step", Shape::Step),
    ("exponential", Shape::Exponential),
];

/// Options of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ScheduleOptions {
    /// Planned steps, warm-up included (at least 1; default: those of the training; an optimizer at work needs it for "linear",
    /// "cosine" and "one-cycle"). Steps beyond keep the last rate.
    pub steps: Option<u64>,
    /// Steps over which the rate rises linearly from 0, in front of the shape (default 0).
    pub warmup: u64,
    /// Factor at the end, or at least (in [0, 1]; default 0.01 for "cosine", 4e-6 for "one-cycle", else 0).
    pub floor: Option<f64>,
    /// Factor of one decay, for "step" (default 0.1) and "exponential" (default 0.999) (in (0, 1]).
    pub gamma: Option<f64>,
    /// Steps between two decays, for "step", which needs it (at least 1).
    pub step_size: Option<u64>,
    /// Share of the steps in which "one-cycle" rises (in (0, 1); default 0.3).
    pub rise: Option<f64>,
    /// Factor at the start of "one-cycle" (in [0, 1]; default 0.04).
    pub start: Option<f64>,
}

/// A schedule of the learning rate: a shape's name, or a map of its `shape` and options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Written")]
pub struct Schedule {
    /// The shape.
    pub shape: Shape,
    /// Its numbers.
    #[serde(flatten)]
    pub options: ScheduleOptions,
}

/// A schedule as one writes it.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    Name(Shape),
    Whole(Parts),
}

#[derive(Deserialize, JsonSchema)]
struct Parts {
    /// The shape (default "cosine").
    #[serde(default)]
    shape: Shape,
    #[serde(flatten)]
    options: ScheduleOptions,
}

impl From<Written> for Schedule {
    fn from(written: Written) -> Self {
        match written {
            Written::Name(shape) => shape.into(),
            Written::Whole(Parts { shape, options }) => Self { shape, options },
        }
    }
}

impl From<Shape> for Schedule {
    fn from(shape: Shape) -> Self {
        Self {
            shape,
            options: ScheduleOptions::default(),
        }
    }
}

impl Shape {
    /// Its name in scripts.
    pub fn name(self) -> &'static str {
        SHAPES
            .iter()
            .find(|(_, shape)| *shape == self)
            .map_or("", |(name, _)| name)
    }
}

impl Schedule {
    /// Refuses impossible values, and options that the shape has no use for. `prefix` names the option that
    /// holds the schedule (empty: its options are themselves the options).
    pub fn validate(&self, prefix: &str) -> Result<()> {
        let key = |key: &str| match prefix {
            "" => key.to_string(),
            prefix => format!("{prefix}.{key}"),
        };
        let ScheduleOptions {
            steps,
            warmup,
            floor,
            gamma,
            step_size,
            rise,
            start,
        } = &self.options;
        let name = self.shape.name();
        let of = |shapes: &[Shape]| shapes.contains(&self.shape);
        let used = [
            ("floor", floor.is_some(), !of(&[Shape::Constant])),
            (
                "gamma",
                gamma.is_some(),
                of(&[Shape::Step, Shape::Exponential]),
            ),
            ("step_size", step_size.is_some(), of(&[Shape::Step])),
            ("rise", rise.is_some(), of(&[Shape::OneCycle])),
            ("start", start.is_some(), of(&[Shape::OneCycle])),
        ];
        if let Some((option, ..)) = used.iter().find(|(_, given, used)| *given && !used) {
            let message = format!("has no meaning for the schedule \"{name}\"");
            return Err(Error::option(key(option), message));
        }
        if self.shape == Shape::Step && step_size.is_none() {
            return Err(Error::option(
                key("step_size"),
                "must be given for the schedule \"step\"",
            ));
        }
        for (option, number) in [("steps", steps), ("step_size", step_size)] {
            if *number == Some(0) {
                return Err(Error::option(key(option), "must be at least 1, got 0"));
            }
        }
        if let Some(steps) = steps.filter(|steps| steps < warmup) {
            let message = format!("must not exceed the {steps} planned steps, got {warmup}");
            return Err(Error::option(key("warmup"), message));
        }
        let ranges = [
            (
                "floor",
                floor,
                (0.0..=1.0).contains(&floor.unwrap_or(0.0)),
                "[0, 1]",
            ),
            (
                "start",
                start,
                (0.0..=1.0).contains(&start.unwrap_or(0.0)),
                "[0, 1]",
            ),
            (
                "gamma",
                gamma,
                gamma.is_none_or(|g| g > 0.0 && g <= 1.0),
                "(0, 1]",
            ),
            (
                "rise",
                rise,
                rise.is_none_or(|r| r > 0.0 && r < 1.0),
                "(0, 1)",
            ),
        ];
        match ranges.iter().find(|(_, _, holds, _)| !holds) {
            Some((option, value, _, range)) => {
                let message = format!("must lie in {range}, got {}", value.unwrap_or(0.0));
                Err(Error::option(key(option), message))
            }
            None => Ok(()),
        }
    }

    /// The schedule for a training of so many steps: what it leaves open is filled in. A warm-up that is
    /// given in both places is an error.
    pub fn planned(mut self, steps: u64, warmup: u64) -> Result<Self> {
        if warmup > 0 && self.options.warmup > 0 {
            let message = "is given twice: here and in the schedule";
            return Err(Error::option("warmup", message));
        }
        self.options.warmup = self.options.warmup.max(warmup);
        self.options.steps = self.options.steps.or(Some(steps));
        Ok(self)
    }

    /// Refuses a schedule that needs planned steps and has none.
    pub fn complete(&self) -> Result<()> {
        let open = matches!(self.shape, Shape::Linear | Shape::Cosine | Shape::OneCycle);
        if open && self.options.steps.is_none() {
            let message = format!(
                "\"{}\" needs `steps` here: optim::schedule(\"{}\", #{{ steps: .. }})",
                self.shape.name(),
                self.shape.name()
            );
            return Err(Error::option("schedule", message));
        }
        Ok(())
    }

    /// The factor on the learning rate at `step` (from 1).
    pub fn factor(&self, step: u64) -> f64 {
        let ScheduleOptions {
            steps,
            warmup,
            floor,
            gamma,
            step_size,
            rise,
            start,
        } = self.options;
        if step <= warmup {
            return step as f64 / warmup as f64;
        }
        let n = step - warmup - 1;
        let planned = steps.unwrap_or(1).saturating_sub(warmup).max(1);
        let x = (n as f64 / planned as f64).min(1.0);
        // From 0 to 1 along half a cosine.
        let ease = |x: f64| 0.5 * (1.0 - (std::f64::consts::PI * x).cos());
        let fall = |x: f64, floor: f64| 1.0 - (1.0 - floor) * x;
        let floor_or = |default: f64| floor.unwrap_or(default);
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Linear => fall(x, floor_or(0.0)),
            Shape::Cosine => fall(ease(x), floor_or(COSINE_FLOOR)),
            Shape::OneCycle => {
                let (rise, start) = (rise.unwrap_or(RISE), start.unwrap_or(START));
                if x < rise {
                    start + (1.0 - start) * ease(x / rise)
                } else {
                    fall(ease((x - rise) / (1.0 - rise)), floor_or(CYCLE_FLOOR))
                }
            }
            Shape::Step => {
                let decays = (n / step_size.unwrap_or(1).max(1)) as f64;
                gamma.unwrap_or(STEP_GAMMA).powf(decays).max(floor_or(0.0))
            }
            Shape::Exponential => {
                let gamma = gamma.unwrap_or(EXPONENTIAL_GAMMA);
                gamma.powf(n as f64).max(floor_or(0.0))
            }
        }
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.shape.name())?;
        let options = serde_json::to_value(&self.options).unwrap_or_default();
        let given = options.as_object().into_iter().flatten();
        let open = |key: &str, value: &serde_json::Value| {
            value.is_null() || (key == "warmup" && *value == 0)
        };
        for (key, value) in given.filter(|(key, value)| !open(key, value)) {
            write!(f, ", {key} {value}")?;
        }
        Ok(())
    }
}

/// What is left of the rate at the end of a cosine: steps added by `more` still learn.
const COSINE_FLOOR: f64 = 0.01;
/// The numbers of PyTorch's `OneCycleLR`: start 1/25, end 1/250000 of the highest rate.
const START: f64 = 0.04;
const CYCLE_FLOOR: f64 = 4e-6;
const RISE: f64 = 0.3;
const STEP_GAMMA: f64 = 0.1;
const EXPONENTIAL_GAMMA: f64 = 0.999;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shape: Shape, options: ScheduleOptions) -> Schedule {
        let schedule = Schedule { shape, options };
        schedule.validate("").unwrap();
        schedule
    }

    fn steps(n: u64) -> ScheduleOptions {
        ScheduleOptions {
            steps: Some(n),
            ..Default::default()
        }
    }

    #[test]
    fn every_shape_stays_between_0_and_1_and_has_its_name() {
        for &(name, shape) in SHAPES {
            assert_eq!(serde_json::to_value(shape).unwrap(), name);
            let step_size = (shape == Shape::Step).then_some(10);
            let options = ScheduleOptions {
                step_size,
                warmup: 5,
                ..steps(100)
            };
            let schedule = of(shape, options);
            assert_eq!(schedule.factor(1), 0.2, "{name}");
            for step in 1..300 {
                assert!(
                    (0.0..=1.0).contains(&schedule.factor(step)),
                    "{name} at {step}"
                );
            }
            let back: Schedule =
                serde_json::from_value(serde_json::to_value(&schedule).unwrap()).unwrap();
            assert_eq!(back, schedule);
            assert_eq!(
                serde_json::from_value::<Schedule>(name.into())
                    .unwrap()
                    .shape,
                shape
            );
        }
    }

    #[test]
    fn factors() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a}, expected {b}");
        close(of(Shape::Constant, steps(10)).factor(7), 1.0);
        close(of(Shape::Linear, steps(100)).factor(51), 0.5);
        close(of(Shape::Linear, steps(100)).factor(500), 0.0);
        close(of(Shape::Cosine, steps(100)).factor(1), 1.0);
        close(of(Shape::Cosine, steps(100)).factor(51), 0.505);
        close(of(Shape::Cosine, steps(100)).factor(500), COSINE_FLOOR);
        let cycle = of(Shape::OneCycle, steps(100));
        close(cycle.factor(1), START);
        close(cycle.factor(16), START + (1.0 - START) * 0.5);
        close(cycle.factor(31), 1.0);
        close(cycle.factor(101), CYCLE_FLOOR);
        let step = ScheduleOptions {
            step_size: Some(10),
            gamma: Some(0.5),
            floor: Some(0.2),
            ..Default::default()
        };
        let step = of(Shape::Step, step);
        let seen: Vec<f64> = [1, 10, 11, 21, 31].map(|k| step.factor(k)).to_vec();
        assert_eq!(seen, [1.0, 1.0, 0.5, 0.25, 0.2]);
        close(
            of(Shape::Exponential, steps(10)).factor(3),
            0.999f64.powi(2),
        );
    }

    #[test]
    fn options_that_a_shape_has_no_use_for_are_refused() {
        let wrong = Schedule {
            shape: Shape::Cosine,
            options: ScheduleOptions {
                gamma: Some(0.5),
                ..steps(10)
            },
        };
        let text = wrong.validate("schedule").unwrap_err().to_string();
        assert_eq!(
            text,
            "option `schedule.gamma`: has no meaning for the schedule \"cosine\""
        );
        assert!(Schedule::from(Shape::Step).validate("").is_err());
        assert!(Schedule::from(Shape::Cosine).complete().is_err());
        assert!(Schedule::from(Shape::Constant).complete().is_ok());
    }
}
