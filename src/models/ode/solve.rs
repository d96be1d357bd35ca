//! From `x0` to the end: equal or adaptive steps, what is kept on the way, and the event that ends it.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, no_grad};

use super::{
    STEPS, Solution, SolveOptions,
    control::{Controller, first_step},
    runge_kutta::{Method, Step},
};
use crate::{Error, Result, observe::Observer};

/// The right-hand side `f(x, t)`: of the shape of `x`, the whole batch at one time.
pub type Field<'a> = dyn FnMut(&Tensor, f64) -> Result<Tensor> + 'a;

/// A right-hand side that is kept: gradients by the adjoint call it again.
pub type SharedField = Arc<dyn Fn(&Tensor, f64) -> Result<Tensor> + Send + Sync>;

/// A number `g(x, t)` whose change of sign ends a solution.
pub type Event<'a> = dyn FnMut(&Tensor, f64) -> Result<f64> + 'a;

/// Most adaptive steps when no number is given.
const MAX_STEPS: usize = 100_000;

/// Solves `dx/dt = f(x, t)` from `x0` (any shape, f32 or f64); backward in time when `to < from`.
///
/// Adaptive steps hold for the whole batch: the error is the root mean square over all elements. Gradients go
/// through every operation (the sizes of the steps count as constants); under `no_grad` nothing is recorded.
/// An interrupt gives what was reached, marked. A state that is not finite, a step that vanishes and
/// `max_steps` are errors that name the time.
pub fn solve(
    f: &mut Field,
    x0: &Tensor,
    options: &SolveOptions,
    observer: &mut dyn Observer,
) -> Result<Solution> {
    run(f, None, x0, options, observer)
}

/// Like [`solve`], but ends where `event(x, t)` changes its sign. The place is found by bisection on the dense
/// output; a value of 0 at the start is no event. Gradients count the time of the event as a constant.
pub fn solve_until(
    f: &mut Field,
    event: &mut Event,
    x0: &Tensor,
    options: &SolveOptions,
    observer: &mut dyn Observer,
) -> Result<Solution> {
    run(f, Some(event), x0, options, observer)
}

fn run(
    f: &mut Field,
    event: Option<&mut Event>,
    x0: &Tensor,
    options: &SolveOptions,
    observer: &mut dyn Observer,
) -> Result<Solution> {
    options.validate()?;
    check_start(x0)?;
    let times = options.save_at.times(options.from, options.to)?;
    if let Some(times) = &times {
        rhapsode_tensor::memory::ensure(
            times.len().saturating_mul(x0.len()),
            x0.dtype().size_in_bytes(),
        )?;
    }
    let mut drive = Drive {
        method: Method::new(options.solver.tableau(), f),
        event,
        sign: 0.0,
        waiting: times.map(|times| times.into_iter().rev().collect()),
        span: options.to - options.from,
        solution: Solution::start(options.from, x0),
        observer,
    };
    let outcome = match (options.adaptive(), options.solver.tableau().error) {
        (true, Some(error)) => drive.adaptive(x0, options, error),
        _ => drive.fixed(x0, options),
    };
    drive.solution.evaluations = drive.method.evaluations;
    match outcome {
        Ok(()) => {}
        Err(Error::Interrupted) => drive.solution.interrupted = true,
        Err(error) => return Err(error),
    }
    Ok(drive.solution)
}

/// What goes on after a step.
enum Next {
    /// From there, with the slope there when it is known.
    Go(Tensor, Option<Tensor>),
    /// An event.
    Ended,
}

struct Drive<'a, 'f, 'e> {
    method: Method<'a, 'f>,
    event: Option<&'a mut Event<'e>>,
    // The newest sign of the event that was not 0.
    sign: f64,
    // Times to keep, the next one last; none: every step.
    waiting: Option<Vec<f64>>,
    span: f64,
    solution: Solution,
    observer: &'a mut dyn Observer,
}

impl Drive<'_, '_, '_> {
    fn start(&mut self, x0: &Tensor, t: f64) -> Result<()> {
        if let Some(event) = self.event.as_mut() {
            self.sign = sign_of(event(x0, t)?, t)?;
        }
        match &mut self.waiting {
            None => self.solution.keep(t, x0.clone())?,
            Some(times) => {
                while times.last() == Some(&t) {
                    times.pop();
                    self.solution.keep(t, x0.clone())?;
                }
            }
        }
        Ok(())
    }

    fn fixed(&mut self, x0: &Tensor, options: &SolveOptions) -> Result<()> {
        let steps = options.steps.unwrap_or(STEPS);
        self.start(x0, options.from)?;
        if self.span == 0.0 {
            return Ok(());
        }
        let share = |i: usize| i as f64 / steps as f64;
        let time = |i: usize| options.from * (1.0 - share(i)) + options.to * share(i);
        let (mut x, mut first) = (x0.clone(), None);
        for i in 0..steps {
            let (t, end) = (time(i), time(i + 1));
            let step = self.method.step(&x, t, end - t, first.take())?;
            match self.accept(step, end, Some(steps as u64))? {
                Next::Go(next, slope) => (x, first) = (next, slope),
                Next::Ended => break,
            }
        }
        Ok(())
    }

    fn adaptive(&mut self, x0: &Tensor, options: &SolveOptions, weights: &[f64]) -> Result<()> {
        let tolerances = options.tolerances();
        self.start(x0, options.from)?;
        if self.span == 0.0 {
            return Ok(());
        }
        let (mut x, mut t) = (x0.clone(), options.from);
        let slope = self.method.slope(&x, t)?;
        if !slope.is_finite()? {
            // No step is small enough then: say so rather than try them all.
            let remedy = "look at what `f` gives at the start";
            return Err(stuck(t, "the slope holds NaN or infinity".into(), remedy));
        }
        let order = self.method.tableau.order;
        // The trial evaluation takes no part in the gradient.
        let h = no_grad(|| {
            let trial = |h: f64| {
                let there = Tensor::combine(&[(1.0, &x), (h, &slope)])?;
                self.method.slope(&there, t + h)
            };
            first_step(
                &x.detach(),
                &slope.detach(),
                tolerances,
                order,
                self.span,
                trial,
            )
        })?;
        let mut first = Some(slope);
        let mut control = Controller::new(order, h);
        let most = options.max_steps.unwrap_or(MAX_STEPS);
        while (options.to - t) * self.span.signum() > 0.0 {
            if self.solution.accepted + self.solution.rejected >= most {
                let message = format!("{most} steps did not reach t = {}", options.to);
                return Err(stuck(
                    t,
                    message,
                    "raise `max_steps`, loosen `rtol` and `atol`, or ask whether the equation is stiff",
                ));
            }
            let remaining = options.to - t;
            let last = control.h.abs() >= remaining.abs() * (1.0 - 1e-12);
            let h = if last { remaining } else { control.h };
            if t + h == t || h.abs() < 1e-13 * self.span.abs() {
                return Err(stuck(
                    t,
                    "the step became too small".into(),
                    "the solution may not exist beyond this time, or `f` jumps there; or loosen `rtol` and `atol`",
                ));
            }
            let step = self.method.step(&x, t, h, first.clone())?;
            if !control.accepts(step.error(weights, tolerances)?, h) {
                self.solution.rejected += 1;
                continue;
            }
            let end = if last { options.to } else { t + h };
            match self.accept(step, end, None)? {
                Next::Go(next, slope) => (x, t, first) = (next, end, slope),
                Next::Ended => break,
            }
        }
        Ok(())
    }

    /// Takes over a step that ends at `end`: event, kept states, progress.
    fn accept(&mut self, mut step: Step, end: f64, total: Option<u64>) -> Result<Next> {
        check_state("ode", &step.next, end)?;
        let found = self.crossing(&mut step, end)?;
        let reached = found.as_ref().map_or(end, |(t, _)| *t);
        self.keep(&mut step, end, reached)?;
        self.solution.accepted += 1;
        let ended = found.is_some();
        let last = found.map_or_else(|| step.next.clone(), |(_, x)| x);
        if self.waiting.is_none() {
            self.solution.keep(reached, last.clone())?;
        } else if ended && self.waiting.as_ref().is_some_and(|times| !times.is_empty()) {
            // Times behind the event are never reached; what ended it is kept in their place.
            self.solution.keep(reached, last.clone())?;
        }
        self.solution.event = ended.then_some(reached);
        self.solution.end = (reached, last);
        let progress = crate::observe::Step {
            label: "ode",
            step: self.solution.accepted as u64,
            total,
            metrics: &[],
        };
        if ended {
            return Ok(Next::Ended);
        }
        if self.observer.step(&progress).is_break() && total != Some(progress.step) {
            return Err(Error::Interrupted);
        }
        Ok(Next::Go(step.next, step.end_slope))
    }

    /// Keeps the states at the times up to `reached` within a step that ends at `end`.
    fn keep(&mut self, step: &mut Step, end: f64, reached: f64) -> Result<()> {
        let forward = self.span.signum();
        while let Some(time) = self
            .waiting
            .as_ref()
            .and_then(|times| times.last())
            .copied()
        {
            if (time - reached) * forward > 0.0 {
                break;
            }
            let x = match time == end {
                true => step.next.clone(),
                false => self.method.within(step, (time - step.t) / step.h)?,
            };
            self.solution.keep(time, x)?;
            if let Some(times) = &mut self.waiting {
                times.pop();
            }
        }
        Ok(())
    }

    /// Time and state at which the event changes its sign within a step.
    fn crossing(&mut self, step: &mut Step, end: f64) -> Result<Option<(f64, Tensor)>> {
        let Some(event) = self.event.as_mut() else {
            return Ok(None);
        };
        let after = sign_of(event(&step.next, end)?, end)?;
        if self.sign == 0.0 || after == self.sign {
            self.sign = if after == 0.0 { self.sign } else { after };
            return Ok(None);
        }
        if after == 0.0 {
            return Ok(Some((end, step.next.clone())));
        }
        self.method.complete(step)?;
        let (mut low, mut high) = (0.0, 1.0);
        // 52 halvings are all that a number tells apart.
        for _ in 0..52 {
            let middle = 0.5 * (low + high);
            let t = step.t + middle * step.h;
            let x = no_grad(|| self.method.within(step, middle))?;
            match sign_of(event(&x, t)?, t)? == self.sign {
                true => low = middle,
                false => high = middle,
            }
        }
        if high == 1.0 {
            return Ok(Some((end, step.next.clone())));
        }
        Ok(Some((
            step.t + high * step.h,
            self.method.within(step, high)?,
        )))
    }
}

fn sign_of(value: f64, t: f64) -> Result<f64> {
    match value {
        v if v.is_nan() => Err(stuck(t, "the event became NaN".into(), "")),
        0.0 => Ok(0.0),
        v => Ok(v.signum()),
    }
}

/// Refuses a start in a dtype without fractions, or one that is not finite.
pub(super) fn check_start(x0: &Tensor) -> Result<()> {
    let wrong = |message: String| Error::Value {
        what: "x0",
        message,
    };
    if !matches!(x0.dtype(), DType::F32 | DType::F64) {
        return Err(wrong(format!(
            "expected f32 or f64, got {}",
            x0.dtype().as_str()
        )));
    }
    match x0.is_finite()? {
        true => Ok(()),
        false => Err(wrong("holds NaN or infinity".into())),
    }
}

/// Refuses a state that is not finite.
pub(super) fn check_state(what: &'static str, x: &Tensor, t: f64) -> Result<()> {
    match x.is_finite()? {
        true => Ok(()),
        false => Err(Error::Stuck {
            what,
            t,
            message: "the state became NaN or infinite".into(),
            remedy: "take more steps; or the solution does not exist beyond this time",
        }),
    }
}

fn stuck(t: f64, message: String, remedy: &'static str) -> Error {
    Error::Stuck {
        what: "ode",
        t,
        message,
        remedy,
    }
}
