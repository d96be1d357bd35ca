//! Other ways to solve a linear inverse problem `y = A x1` with a flow, to hold steering against them.
//!
//! | method | a step | evaluations |
//! |---|---|---|
//! | projection | `x1_hat` is moved to the nearest data with `A x1 = y`, and the state follows: `x <- t' x1_hat + (1 - t') x0_hat` | 1 |
//! | pnp-flow | `x1 <- x1 - rate (1 - t)^a A^T (A x1 - y)`, then the mean over `draws` noises of `z + (1 - t) v(z, t)`, `z = t x1 + (1 - t) noise` | draws |
//! | ot-ode | `x <- x + dt (v + (1 - t)/t rate J^T A^T (r^2 A A^T + s^2)^-1 (y - A x1_hat))`, `r^2 = (1 - t)^2 / (t^2 + (1 - t)^2)`, J the Jacobian of `x1_hat` | 1, and backward |
//! | dps | `x <- x + dt v - rate grad_x norm(A x1_hat - y)` | 1, and backward |
//! | d-flow | the noise is what is looked for: `descents` steps of Adam on `norm(A x1(x0) - y)^2` through all steps of the flow | steps a descent, and backward |
//!
//! The last three differentiate the network, d-flow all steps at once: that is the memory which steering saves. Times are those of straight paths; inverses of
//! `A A^T` are found by conjugate gradients, so that only `apply` and `adjoint` are needed.
//! (PnP-Flow: Martin et al. 2024, arXiv 2410.02423; OT-ODE: Pokle et al. 2023, arXiv 2310.04432; DPS: Chung et al. 2022, arXiv 2209.14687; D-Flow: Ben-Hamu et
//! al. 2024, arXiv 2402.14017.)

use rhapsode_tensor::{Tensor, grad, interrupt, no_grad, random::Stream, tape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Moments, operator::Operator};
use crate::{
    Error, Result,
    checks::{at_least_one, positive},
    flow::{
        VelocityField,
        convert::one_sided,
        field::{check_points, velocity_at},
        path::{Path, Process},
    },
    observe::{Observer, Step},
};

/// Rounds of conjugate gradients: measurements with few different weights are solved in as many.
const SOLVE_ROUNDS: usize = 30;

/// A way to restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Moves the prediction onto the measurement.
    Projection,
    /// Plug-and-play with the flow as the denoiser.
    #[default]
    PnpFlow,
    /// The velocity corrected by the gradient of the measurement's likelihood.
    OtOde,
    /// Diffusion posterior sampling.
    Dps,
    /// Looks for the noise whose sample fits.
    DFlow,
}

/// Options of restoring.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RestoreOptions {
    /// The way (default "pnp-flow").
    pub method: Method,
    /// Number of equal steps from noise to data (at least 1; default 50; "d-flow" holds all of them in memory).
    pub steps: usize,
    /// Size of a correction, or the learning rate of "d-flow" (> 0; default 1, "dps" 0.3, "d-flow" 0.1).
    pub rate: Option<f64>,
    /// "pnp-flow": exponent a of (1 - t)^a (>= 0; default 1).
    pub exponent: f64,
    /// "pnp-flow": noises a step whose predictions are averaged (at least 1; default 5).
    pub draws: usize,
    /// "ot-ode": the time at which it begins, from a mixture of noise and `A^T y` (0 < start < 1; default 0.2).
    pub start: f64,
    /// Standard deviation of the noise of the measurement (>= 0; default 0; "ot-ode" takes it into account).
    pub noise: f64,
    /// "d-flow": descents (at least 1; default 20).
    pub descents: usize,
    /// Seed of the noises of "pnp-flow" (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            method: Method::default(),
            steps: 50,
            rate: None,
            exponent: 1.0,
            draws: 5,
            start: 0.2,
            noise: 0.0,
            descents: 20,
            seed: None,
        }
    }
}

impl RestoreOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        at_least_one("steps", self.steps)?;
        at_least_one("draws", self.draws)?;
        at_least_one("descents", self.descents)?;
        positive("rate", self.rate())?;
        for (name, value) in [("exponent", self.exponent), ("noise", self.noise)] {
            if !(value >= 0.0 && value.is_finite()) {
                let message = format!("must be a finite number >= 0, got {value}");
                return Err(Error::option(name, message));
            }
        }
        match self.start > 0.0 && self.start < 1.0 {
            true => Ok(()),
            false => Err(Error::option(
                "start",
                format!("must lie between 0 and 1, got {}", self.start),
            )),
        }
    }

    fn rate(&self) -> f64 {
        self.rate.unwrap_or(match self.method {
            Method::Dps => 0.3,
            Method::DFlow => 0.1,
            _ => 1.0,
        })
    }
}

/// What was restored.
pub struct Restored {
    /// The data, `[n, ..]`.
    pub x: Tensor,
    /// Evaluations of the velocity.
    pub evaluations: usize,
}

/// The problem and how far it is solved.
struct Problem<'a> {
    field: &'a dyn VelocityField,
    operator: &'a Operator,
    measured: &'a Tensor,
    options: &'a RestoreOptions,
    evaluations: usize,
}

/// Restores data from measurements `y` of the operator's shape, from noise `x0: [n, ..]`.
pub fn restore(
    field: &dyn VelocityField,
    x0: &Tensor,
    operator: &Operator,
    measured: &Tensor,
    options: &RestoreOptions,
    observer: &mut dyn Observer,
) -> Result<Restored> {
    options.validate()?;
    straight(one_sided(&field.process())?)?;
    check_points(field, "x0", x0)?;
    let x = x0.detach().to_dtype(field.dtype())?;
    let measured = measured.detach().to_dtype(field.dtype())?;
    let seen = no_grad(|| operator.apply(&x))?;
    if seen.dims() != measured.dims() {
        return Err(Error::Shape {
            what: "measured",
            expected: format!("what the operator gives for x0, {:?}", seen.dims()),
            got: measured.dims().to_vec(),
        });
    }
    let mut problem = Problem {
        field,
        operator,
        measured: &measured,
        options,
        evaluations: 0,
    };
    let x = match options.method {
        Method::DFlow => problem.search_noise(x, observer)?,
        _ => problem.walk(x, observer)?,
    };
    match x.is_finite()? {
        true => Ok(Restored {
            x,
            evaluations: problem.evaluations,
        }),
        false => Err(Error::Value {
            what: "restore",
            message: "samples are not finite: lower the rate".into(),
        }),
    }
}

/// The formulas hold on `x_t = (1 - t) x0 + t x1`.
fn straight(process: &Process) -> Result<()> {
    match process.path {
        Path::OneSidedLinear => Ok(()),
        other => Err(Error::Value {
            what: "restore",
            message: format!(
                "takes flows on straight paths, as flow::rectified has them, got \"{}\"",
                other.name()
            ),
        }),
    }
}

impl Problem<'_> {
    /// All methods that go from noise to data once.
    fn walk(&mut self, noise: Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let (steps, method) = (self.options.steps, self.options.method);
        let begin = if method == Method::OtOde {
            self.options.start
        } else {
            0.0
        };
        let mut x = match method {
            Method::PnpFlow => self.operator.adjoint(self.measured)?,
            Method::OtOde => {
                let seen = self.operator.adjoint(self.measured)?;
                Tensor::combine(&[(begin, &seen), (1.0 - begin, &noise)])?
            }
            _ => noise,
        };
        let h = (1.0 - begin) / steps as f64;
        for i in 0..steps {
            interrupt::check()?;
            let t = begin + i as f64 * h;
            x = match method {
                Method::Projection => self.project(&x, t, h)?,
                Method::PnpFlow => self.plug_and_play(&x, t, i as u64)?,
                Method::OtOde => self.correct(&x, t, h)?,
                Method::Dps => self.sample_posterior(&x, t, h)?,
                Method::DFlow => x,
            };
            self.report(i, steps, &[], observer)?;
        }
        Ok(x)
    }

    fn report(
        &self,
        i: usize,
        steps: usize,
        metrics: &[(&str, f64)],
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let step = Step {
            label: "restore",
            step: i as u64 + 1,
            total: Some(steps as u64),
            metrics,
        };
        match observer.step(&step).is_break() && i + 1 < steps {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    fn velocity(&mut self, x: &Tensor, t: f64) -> Result<Tensor> {
        self.evaluations += 1;
        velocity_at(self.field, x, t)
    }

    /// `A x - y`.
    fn residual(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.operator.apply(x)?.sub(self.measured)?)
    }

    fn project(&mut self, x: &Tensor, t: f64, h: f64) -> Result<Tensor> {
        let v = no_grad(|| self.velocity(x, t))?;
        let data = Tensor::combine(&[(1.0, x), (1.0 - t, &v)])?;
        let noise = Tensor::combine(&[(1.0, x), (-t, &v)])?;
        let off = self.solve(&self.residual(&data)?, 1.0, 0.0)?;
        let off = self.operator.adjoint(&off)?;
        let data = Tensor::combine(&[(1.0, &data), (-self.options.rate(), &off)])?;
        Ok(Tensor::combine(&[(t + h, &data), (1.0 - t - h, &noise)])?)
    }

    fn plug_and_play(&mut self, x: &Tensor, t: f64, step: u64) -> Result<Tensor> {
        let strength = self.options.rate() * (1.0 - t).powf(self.options.exponent);
        let down = self.operator.adjoint(&self.residual(x)?)?;
        let x = Tensor::combine(&[(1.0, x), (-strength, &down)])?;
        let draws = self.options.draws;
        let stream = Stream::new(self.options.seed.unwrap_or(0), "restore").at(step);
        let noises = stream.randn(&[draws, x.len()], x.dtype())?;
        let mut total: Option<Tensor> = None;
        for draw in 0..draws {
            let noise = noises.select(0, draw as i64)?.reshape(x.dims())?;
            let z = Tensor::combine(&[(t, &x), (1.0 - t, &noise)])?;
            let v = no_grad(|| self.velocity(&z, t))?;
            let share = 1.0 / draws as f64;
            let data = Tensor::combine(&[(share, &z), (share * (1.0 - t), &v)])?;
            total = Some(match total {
                None => data,
                Some(total) => total.add(&data)?,
            });
        }
        total.ok_or_else(|| Error::option("draws", "must be at least 1, got 0"))
    }

    fn correct(&mut self, x: &Tensor, t: f64, h: f64) -> Result<Tensor> {
        let spread = (1.0 - t).powi(2) / (t * t + (1.0 - t).powi(2));
        let noise = self.options.noise.powi(2);
        let (v, pull) = self.through(x, t, |problem, data| {
            // The weight is held fixed: what is wanted is `J^T A^T w`.
            let weight = problem.solve(&problem.residual(&data.detach())?, spread, noise)?;
            Ok(problem.operator.apply(data)?.mul(&weight)?.sum_all()?)
        })?;
        let strength = -(1.0 - t) / t * self.options.rate();
        Ok(Tensor::combine(&[
            (1.0, x),
            (h, &v),
            (h * strength, &pull),
        ])?)
    }

    fn sample_posterior(&mut self, x: &Tensor, t: f64, h: f64) -> Result<Tensor> {
        let (v, pull) = self.through(x, t, |problem, data| {
            let off = problem.residual(data)?.sqr()?;
            let n = off.dim(0)?;
            // Bounded below: where a sample fits, the norm has no gradient.
            let squares = off.reshape(&[n, off.len() / n.max(1)])?.sum(&[1])?;
            Ok(squares.affine(1.0, 1e-12)?.sqrt()?.sum_all()?)
        })?;
        Ok(Tensor::combine(&[
            (1.0, x),
            (h, &v),
            (-self.options.rate(), &pull),
        ])?)
    }

    /// The velocity at `x`, and the gradient of a number that is made of the predicted data.
    fn through(
        &mut self,
        x: &Tensor,
        t: f64,
        of: impl Fn(&Self, &Tensor) -> Result<Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        tape::enable_grad(|| {
            let x = x.detach().param()?;
            let v = self.velocity(&x, t)?;
            let data = Tensor::combine(&[(1.0, &x), (1.0 - t, &v)])?;
            let value = of(self, &data)?;
            Ok((v.detach(), grad(&value, &[&x], false)?.swap_remove(0)))
        })
    }

    /// D-Flow: Adam on the noise.
    fn search_noise(&mut self, noise: Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let (mut noise, mut moments) = (noise, Moments::default());
        let descents = self.options.descents;
        for i in 0..descents {
            interrupt::check()?;
            let (g, off) = tape::enable_grad(|| -> Result<_> {
                let x0 = noise.detach().param()?;
                let data = self.carry(&x0)?;
                let off = self.residual(&data)?.sqr()?.sum_all()?;
                Ok((grad(&off, &[&x0], false)?.swap_remove(0), off.item()?))
            })?;
            let direction = moments.direction(&g)?;
            noise = Tensor::combine(&[(1.0, &noise), (-self.options.rate(), &direction)])?;
            self.report(i, descents, &[("residual", off)], observer)?;
        }
        no_grad(|| self.carry(&noise))
    }

    /// Euler steps from noise to data.
    fn carry(&mut self, x0: &Tensor) -> Result<Tensor> {
        let h = 1.0 / self.options.steps as f64;
        let mut x = x0.clone();
        for i in 0..self.options.steps {
            let v = self.velocity(&x, i as f64 * h)?;
            x = Tensor::combine(&[(1.0, &x), (h, &v)])?;
        }
        Ok(x)
    }

    /// `(weight A A^T + shift)^-1 b` by conjugate gradients, all samples at once.
    fn solve(&self, b: &Tensor, weight: f64, shift: f64) -> Result<Tensor> {
        let n = b.dim(0)?;
        let dot = |a: &Tensor, b: &Tensor| -> Result<Tensor> {
            let products = a.mul(b)?.reshape(&[n, a.len() / n.max(1)])?;
            let mut dims = vec![1; a.dims().len()];
            if let Some(first) = dims.first_mut() {
                *first = n;
            }
            // Bounded below, as a sample that is solved has nothing left to divide by.
            Ok(products.sum(&[1])?.affine(1.0, 1e-30)?.reshape(&dims)?)
        };
        let apply = |x: &Tensor| -> Result<Tensor> {
            let through = self.operator.apply(&self.operator.adjoint(x)?)?;
            Ok(Tensor::combine(&[(weight, &through), (shift, x)])?)
        };
        let mut x = b.affine(0.0, 0.0)?;
        let (mut left, mut direction) = (b.clone(), b.clone());
        let mut square = dot(&left, &left)?;
        let enough = square.max_all()?.item()? * 1e-12;
        for _ in 0..SOLVE_ROUNDS {
            if square.max_all()?.item()? <= enough {
                break;
            }
            let image = apply(&direction)?;
            let along = square.div(&dot(&direction, &image)?)?;
            x = x.add(&direction.mul(&along)?)?;
            left = left.sub(&image.mul(&along)?)?;
            let next = dot(&left, &left)?;
            direction = left.add(&direction.mul(&next.div(&square)?)?)?;
            square = next;
        }
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rhapsode_tensor::DType;

    use super::*;
    use crate::{flow::FunctionField, observe::Silent};

    /// The exact flow from N(0, I) to N(2, 1/4 I).
    fn field() -> FunctionField {
        FunctionField {
            function: Arc::new(|x: &Tensor, t: &Tensor| {
                let t = t.unsqueeze(1)?;
                let spread = t
                    .affine(-1.0, 1.0)?
                    .sqr()?
                    .add(&t.sqr()?.affine(0.25, 0.0)?)?;
                let slope = t.affine(1.25, -1.0)?.div(&spread)?;
                let off = x.sub(&t.affine(2.0, 0.0)?)?;
                Ok(off.mul(&slope)?.affine(1.0, 2.0)?)
            }),
            dim: 4,
            dtype: DType::F64,
            process: Process::rectified(),
        }
    }

    fn draws(shape: &[usize]) -> Tensor {
        Stream::new(0, "test").randn(shape, DType::F64).unwrap()
    }

    /// The largest residual, and how far what was not measured lies from the mean of the data.
    fn restored(options: &RestoreOptions) -> (f64, f64, usize) {
        let matrix = Tensor::from_vec(vec![0.6, 0.8, 0.0, 0.0], &[1, 4]).unwrap();
        let operator = Operator::Matrix { matrix };
        let measured = draws(&[64, 1]).affine(0.2, 2.0).unwrap();
        let found = restore(
            &field(),
            &draws(&[64, 4]),
            &operator,
            &measured,
            options,
            &mut Silent,
        )
        .unwrap();
        let off = operator.apply(&found.x).unwrap().sub(&measured).unwrap();
        let rest = found.x.narrow(1, 2, 2).unwrap().affine(1.0, -2.0).unwrap();
        let size = |x: &Tensor| x.abs().unwrap().mean_all().unwrap().item().unwrap();
        (size(&off), size(&rest), found.evaluations)
    }

    fn options(method: Method) -> RestoreOptions {
        RestoreOptions {
            method,
            steps: 40,
            // With (1 - t)^1 the last steps of "pnp-flow" hardly look at the measurement.
            exponent: 0.0,
            seed: Some(1),
            ..RestoreOptions::default()
        }
    }

    #[test]
    fn every_way_meets_the_measurement_and_stays_at_the_data() {
        // Samples that know nothing of the measurement lie about 0.9 from it: 2.8 in the mean, and it is about 2.
        for (method, most, evaluations) in [
            (Method::Projection, 1e-9, 40),
            (Method::PnpFlow, 0.2, 200),
            (Method::OtOde, 0.2, 40),
            (Method::Dps, 0.3, 40),
            (Method::DFlow, 0.3, 40 * 21),
        ] {
            let (off, rest, used) = restored(&options(method));
            assert!(off < most, "{method:?}: residual {off}");
            assert!(rest < 0.6, "{method:?}: {rest} from the mean of the data");
            assert_eq!(used, evaluations, "{method:?}");
        }
    }

    /// Conjugate gradients against the closed form: for means over 2 x 2 pixels `A A^T` is 1/4.
    #[test]
    fn solves_what_the_operator_gives() {
        let operator = Operator::super_resolution([1, 4, 4], 2).unwrap();
        let (field, options, b) = (field(), RestoreOptions::default(), draws(&[3, 4]));
        let problem = Problem {
            field: &field,
            operator: &operator,
            measured: &b,
            options: &options,
            evaluations: 0,
        };
        let x = problem.solve(&b, 2.0, 0.5).unwrap();
        let off = x.sub(&b).unwrap().abs().unwrap().max_all().unwrap();
        assert!(off.item().unwrap() < 1e-12, "2 / 4 + 0.5 = 1");
    }

    #[test]
    fn mistakes_are_errors() {
        let operator = Operator::centred_box([1, 2, 2], 1).unwrap();
        let run = |measured: &Tensor, options: &RestoreOptions| {
            let x0 = draws(&[2, 4]);
            let found = restore(&field(), &x0, &operator, measured, options, &mut Silent);
            found.err().unwrap().to_string()
        };
        let wrong = run(&draws(&[3, 4]), &RestoreOptions::default());
        assert!(wrong.contains("measured"), "{wrong}");
        let start = RestoreOptions {
            start: 1.0,
            ..RestoreOptions::default()
        };
        assert_eq!(
            run(&draws(&[2, 4]), &start),
            "option `start`: must lie between 0 and 1, got 1"
        );
    }
}
