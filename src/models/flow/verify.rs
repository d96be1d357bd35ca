//! What one asks of a flow before one trusts it, on the flow itself.
//!
//! - its gradient against finite differences, at random points, times and directions;
//! - its density carried forward with samples against the one found backward from them;
//! - samples of its ODE against samples of an SDE of the same laws, whose score comes from the velocity: they agree when the velocity is one of a process
//!   at all, so an untrained flow fails here.

use rhapsode_tensor::{Tensor, interrupt, random::Stream, tape};

use super::{
    LogProbOptions, VelocityField,
    field::{score, velocity_at},
    interpolant::{
        Interpolant,
        sde::{InterpolantSample, Sampler},
    },
    likelihood::{Base, log_prob_from, push},
    path::Sort,
    sample::carry,
};
use crate::{
    Error, Result,
    metric::{EnergyOptions, energy_distance},
    observe::{Observer, Silent, Step},
    ode::{SaveAt, SolveOptions, Solver},
};

/// One of the things that were looked at.
#[derive(Clone, Debug)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How far it is off.
    pub error: f64,
    /// How far it may be.
    pub tolerance: f64,
}

/// Looks at a flow; `interpolant` where it is one, whose own SDE and base are then taken.
pub fn verify(
    field: &dyn VelocityField,
    interpolant: Option<&Interpolant>,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    let mut told = |done: u64| -> Result<()> {
        let step = Step {
            label: "verify",
            step: done,
            total: Some(3),
            metrics: &[],
        };
        match observer.step(&step).is_break() && done < 3 {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    };
    checks.push(Check {
        name: "gradient against finite differences, relative",
        error: gradients(field, seed)?,
        tolerance: 1e-2,
    });
    told(1)?;
    let base = match interpolant {
        Some(model) => model
            .base_density()
            .filter(|_| model.process().path.sort() != Sort::Mirror),
        None => Some(Base::Normal),
    };
    if let Some(base) = base {
        checks.push(Check {
            name: "log density forward against backward, nats",
            error: densities(field, interpolant, &base, seed)?,
            tolerance: 1e-2,
        });
    }
    told(2)?;
    checks.push(Check {
        name: "energy distance of ODE and SDE samples, over their spread",
        error: laws(field, interpolant, seed)?,
        tolerance: 0.02,
    });
    told(3)?;
    Ok(checks)
}

fn start(
    field: &dyn VelocityField,
    interpolant: Option<&Interpolant>,
    n: usize,
    seed: u64,
) -> Result<Tensor> {
    match interpolant {
        Some(model) => model.draw_base(n, seed),
        None => Ok(Stream::new(seed, "verify").randn(&[n, field.dim()], field.dtype())?),
    }
}

/// The largest relative difference of `w^T (dv/dx) e` by the tape and by central differences.
fn gradients(field: &dyn VelocityField, seed: u64) -> Result<f64> {
    let draw = |purpose: &str| Stream::new(seed, purpose).randn(&[16, field.dim()], field.dtype());
    let (x, e, w) = (draw("points")?, draw("direction")?, draw("weight")?);
    let mut worst = 0f64;
    for t in [0.2, 0.5, 0.8] {
        interrupt::check()?;
        let found = tape::enable_grad(|| -> Result<Tensor> {
            let x = x.detach().param()?;
            let v = velocity_at(field, &x, t)?;
            match tape::vjp(&v, &[&x], &w, false) {
                Ok(mut rows) => Ok(rows.swap_remove(0)),
                Err(rhapsode_tensor::Error::NoGradient { op: "grad", .. }) => {
                    Ok(Tensor::zeros(x.dims(), x.dtype())?)
                }
                Err(other) => Err(other.into()),
            }
        })?;
        let h = 1e-2;
        let at = |by: f64| -> Result<Tensor> {
            velocity_at(field, &Tensor::combine(&[(1.0, &x), (by, &e)])?, t)
        };
        // Of the fourth order, so that a step large enough for f32 is small enough for the curvature.
        let (a, b, c, d) = (at(h)?, at(-h)?, at(2.0 * h)?, at(-2.0 * h)?);
        let slope = Tensor::combine(&[
            (8.0 / (12.0 * h), &a),
            (-8.0 / (12.0 * h), &b),
            (-1.0 / (12.0 * h), &c),
            (1.0 / (12.0 * h), &d),
        ])?;
        let by_difference = slope.detach().mul(&w)?.sum(&[1])?;
        let by_tape = found.mul(&e)?.sum(&[1])?;
        let scale = by_difference.sqr()?.mean_all()?.item()?.sqrt() + 1e-3;
        let off = by_tape.sub(&by_difference)?.abs()?.max_all()?.item()?;
        worst = worst.max(off / scale);
    }
    Ok(worst)
}

/// The largest difference of densities carried along and found again.
fn densities(
    field: &dyn VelocityField,
    interpolant: Option<&Interpolant>,
    base: &Base,
    seed: u64,
) -> Result<f64> {
    let x0 = start(field, interpolant, 32, seed)?;
    let options = LogProbOptions {
        solver: Solver::Rk4,
        steps: Some(50),
        seed: Some(seed),
        ..Default::default()
    };
    let (x, forward) = push(field, base, &x0, &options, &mut Silent)?;
    let backward = log_prob_from(field, base, &x, &options, 0, &mut Silent)?;
    Ok(forward.sub(&backward)?.abs()?.max_all()?.item()?)
}

/// The energy distance between both kinds of samples, in units of their spread.
fn laws(field: &dyn VelocityField, interpolant: Option<&Interpolant>, seed: u64) -> Result<f64> {
    let n = 1000;
    let solve = SolveOptions {
        solver: Solver::Rk4,
        steps: Some(50),
        save_at: SaveAt::END,
        ..Default::default()
    };
    let by_ode = carry(
        field,
        &start(field, interpolant, n, seed)?,
        &solve,
        &mut Silent,
    )?;
    let by_sde = match interpolant {
        Some(model) => {
            let walk = InterpolantSample {
                sampler: Sampler::Sde,
                seed: Some(seed.wrapping_add(1)),
                ..Default::default()
            };
            model.sample(n, &walk, &mut Silent)?
        }
        None => noisy(field, n, seed.wrapping_add(1))?,
    };
    let distance = energy_distance(&by_sde, &by_ode, &EnergyOptions::default())?.value;
    let spread = by_ode.variance(Some(&[0]))?.sum_all()?.item()?.sqrt();
    Ok(distance / spread.max(1e-9))
}

/// Samples of the forward SDE of a one-sided flow, with a noise that vanishes at the end.
fn noisy(field: &dyn VelocityField, n: usize, seed: u64) -> Result<Tensor> {
    let steps = 200;
    let h = (1.0 - 1e-3) / f64::from(steps);
    let mut x = Stream::new(seed, "verify").randn(&[n, field.dim()], field.dtype())?;
    for i in 0..steps {
        interrupt::check()?;
        let t = h * f64::from(i);
        let eps = 0.5 * (1.0 - t);
        let times = Tensor::full(t, &[n], x.dtype())?;
        let (v, s) = (velocity_at(field, &x, t)?, score(field, &x, &times)?);
        let z = Stream::new(seed, "steps")
            .at(i as u64)
            .randn(x.dims(), x.dtype())?;
        x = Tensor::combine(&[
            (1.0, &x),
            (h, &v),
            (h * eps, &s),
            ((2.0 * eps * h).sqrt(), &z),
        ])?;
    }
    Ok(x)
}
