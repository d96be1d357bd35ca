//! FlowChef: a flow is steered to samples of low cost without gradients through its network.
//!
//! At each step the velocity is looked at once; the data that it predicts are held against the cost, and the cost's gradient with respect to the
//! *prediction* is applied to the state ("gradient skipping"):
//!
//! ```text
//! x1_hat = x + (1 - t) v        g = d cost / d x1_hat        x <- x - rate g   (inner times)        x <- x + dt v
//! ```
//!
//! The full gradient is `(I + (1 - t) J)^T g` with `J` the Jacobian of the velocity: on straight paths the two are close, and at the end the same. "full"
//! takes it, at the price of a backward pass and a second look a step. A cost gives one number a sample, the *sum* over its elements: with a mean the rate would depend on
//! sizes. "adam" begins anew at every time, so with one inner step it is a step of size `rate` by sign.
//!
//! Editing ([`edited`]) keeps the source where a mask is 1 and follows one condition away from another elsewhere. Operators with exact adjoints are in
//! [`operator`]. (Patel, Wen, Metaxas, Yang 2024, arXiv 2412.00100, whose time runs the other way. With measurement noise the official code adds fresh noise to the
//! prediction at every step; here the prediction is without.)

pub mod operator;
pub mod restore;

use std::sync::Arc;

use rhapsode_tensor::{Tensor, grad, interrupt, no_grad, tape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    SharedFlow, VelocityField,
    convert::{expected_data, one_sided},
    field::{check_points, velocity_at},
    path::Process,
};
use crate::{
    Error, Result,
    checks::{at_least_one, positive},
    observe::{Observer, Step},
    reference::Reference,
};

/// Where the method comes from.
pub const REFERENCE: Reference = Reference {
    key: "patel2024steering",
    title: "Steering Rectified Flow Models in the Vector Field for Controlled Image Generation",
    authors: &[
        "Maitreya Patel",
        "Song Wen",
        "Dimitris N. Metaxas",
        "Yezhou Yang",
    ],
    year: 2024,
    arxiv: "2412.00100",
};

/// What the state is moved by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GradientOf {
    /// The gradient at the predicted data.
    #[default]
    Skipped,
    /// The gradient through the velocity.
    Full,
}

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Descent {
    /// By the rate.
    #[default]
    Sgd,
    /// Adam, begun anew at every time.
    Adam,
}

/// Options of steering.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SteerOptions {
    /// Number of equal steps from noise to data (at least 1; default 50).
    pub steps: usize,
    /// Descents on the cost at each step (at least 1; default 1).
    pub inner: usize,
    /// Size of a descent (> 0; default 0.5).
    pub rate: f64,
    /// How a gradient becomes a step: "sgd", or "adam", begun anew at every time (default "sgd").
    pub optimizer: Descent,
    /// The gradient at the predicted data "skipped", or through the velocity "full" (default "skipped").
    pub gradient: GradientOf,
    /// Steps from the start that are guided (default: all).
    pub max_steps: Option<usize>,
    /// Whether the last step is guided (default true).
    pub guide_last: bool,
}

impl Default for SteerOptions {
    fn default() -> Self {
        Self {
            steps: 50,
            inner: 1,
            rate: 0.5,
            optimizer: Descent::default(),
            gradient: GradientOf::default(),
            max_steps: None,
            guide_last: true,
        }
    }
}

impl SteerOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        at_least_one("steps", self.steps)?;
        at_least_one("inner", self.inner)?;
        positive("rate", self.rate)?;
        match self.max_steps.filter(|most| *most > self.steps) {
            Some(most) => Err(Error::option(
                "max_steps",
                format!("must be at most steps, {}, got {most}", self.steps),
            )),
            None => Ok(()),
        }
    }
}

/// A cost of predicted data `[n, ..]` at a step (from 0): one number a sample, `[n]`.
pub type Cost = Arc<dyn Fn(usize, &Tensor) -> Result<Tensor> + Send + Sync>;

/// A steered walk.
pub struct Steered {
    /// The states at all times, `steps + 1` of them.
    pub trajectory: Vec<Tensor>,
    /// The predicted data behind the descents of each guided step.
    pub predictions: Vec<Tensor>,
    /// The mean cost of the predicted data before the descents of each guided step.
    pub costs: Vec<f64>,
    /// Evaluations of the velocity.
    pub evaluations: usize,
}

impl Steered {
    /// The samples.
    pub fn last(&self) -> Result<&Tensor> {
        self.trajectory
            .last()
            .ok_or_else(|| Error::option("steps", "must be at least 1, got 0"))
    }
}

/// The state of Adam at one time.
#[derive(Default)]
struct Moments {
    first: Option<Tensor>,
    second: Option<Tensor>,
    steps: i32,
}

impl Moments {
    /// The step that Adam takes for a gradient, without the rate.
    fn direction(&mut self, g: &Tensor) -> Result<Tensor> {
        let (b1, b2, eps) = (0.9, 0.999, 1e-8);
        let mix = |old: &Option<Tensor>, new: &Tensor, b: f64| match old {
            None => new.affine(1.0 - b, 0.0),
            Some(old) => Tensor::combine(&[(b, old), (1.0 - b, new)]),
        };
        self.steps += 1;
        let first = mix(&self.first, g, b1)?;
        let second = mix(&self.second, &g.sqr()?, b2)?;
        let below = second
            .affine(1.0 / (1.0 - b2.powi(self.steps)), 0.0)?
            .sqrt()?
            .affine(1.0, eps)?;
        let direction = first
            .affine(1.0 / (1.0 - b1.powi(self.steps)), 0.0)?
            .div(&below)?;
        (self.first, self.second) = (Some(first), Some(second));
        Ok(direction)
    }
}

/// Costs `[n]`, held against their shape and against NaN.
fn costs(cost: &Cost, step: usize, data: &Tensor) -> Result<Tensor> {
    let found = cost(step, data)?;
    let n = data.dims().first().copied().unwrap_or(0);
    if found.dims() != [n] {
        return Err(Error::Shape {
            what: "cost",
            expected: format!("one number a sample, [{n}]"),
            got: found.dims().to_vec(),
        });
    }
    match found.is_finite()? {
        true => Ok(found),
        false => Err(Error::Value {
            what: "cost",
            message: format!(
                "became NaN or infinite at step {}: lower the rate, or look at the cost",
                step + 1
            ),
        }),
    }
}

/// The gradient of the summed costs with respect to `x`, where `data(x)` is predicted.
fn gradient(
    cost: &Cost,
    step: usize,
    x: &Tensor,
    data: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<(Tensor, Tensor)> {
    tape::enable_grad(|| {
        let x = x.detach().param()?;
        let each = costs(cost, step, &data(&x)?)?;
        if !each.is_tracked() {
            let message = "does not depend on the samples: it must be made of tensor operations on its argument";
            return Err(Error::Value {
                what: "cost",
                message: message.into(),
            });
        }
        let g = grad(&each.sum_all()?, &[&x], false)?.swap_remove(0);
        Ok((g, each.detach()))
    })
}

/// The gradients of the cost at a state: skipped, and through the velocity; each of the shape of `x`.
pub fn gradients(
    field: &dyn VelocityField,
    x: &Tensor,
    t: f64,
    cost: &Cost,
) -> Result<(Tensor, Tensor)> {
    let process = field.process();
    let v = no_grad(|| velocity_at(field, x, t))?;
    let data = expected_data(&process, &x.detach(), &v, t)?;
    let (skipped, _) = gradient(cost, 0, &data, |data| Ok(data.clone()))?;
    let (full, _) = gradient(cost, 0, x, |x| {
        expected_data(&process, x, &velocity_at(field, x, t)?, t)
    })?;
    Ok((skipped, full))
}

/// Carries noise `x0: [n, ..]` to samples of low cost. The cost is looked at once on the real batch before anything else.
pub fn steer(
    field: &dyn VelocityField,
    x0: &Tensor,
    cost: &Cost,
    options: &SteerOptions,
    observer: &mut dyn Observer,
) -> Result<Steered> {
    options.validate()?;
    let process = field.process();
    one_sided(&process)?;
    check_points(field, "x0", x0)?;
    let mut x = x0.detach().to_dtype(field.dtype())?;
    costs(cost, 0, &x)?;
    let (steps, h) = (options.steps, 1.0 / options.steps as f64);
    let mut walk = Steered {
        trajectory: vec![x.clone()],
        predictions: Vec::new(),
        costs: Vec::new(),
        evaluations: 0,
    };
    for i in 0..steps {
        interrupt::check()?;
        let t = i as f64 * h;
        let guided =
            i < options.max_steps.unwrap_or(steps) && (options.guide_last || i + 1 < steps);
        let mut v = no_grad(|| velocity_at(field, &x, t))?;
        walk.evaluations += 1;
        if guided {
            let mut moments = Moments::default();
            for inner in 0..options.inner {
                let (g, each) = match options.gradient {
                    GradientOf::Skipped => {
                        let data = expected_data(&process, &x, &v, t)?;
                        gradient(cost, i, &data, |data| Ok(data.clone()))?
                    }
                    GradientOf::Full => gradient(cost, i, &x, |x| {
                        expected_data(&process, x, &velocity_at(field, x, t)?, t)
                    })?,
                };
                if inner == 0 {
                    walk.costs.push(each.mean_all()?.item()?);
                }
                let direction = match options.optimizer {
                    Descent::Sgd => g,
                    Descent::Adam => moments.direction(&g)?,
                };
                x = Tensor::combine(&[(1.0, &x), (-options.rate, &direction)])?;
                if options.gradient == GradientOf::Full {
                    // Its look at the velocity, and another one where the state is now.
                    v = no_grad(|| velocity_at(field, &x, t))?;
                    walk.evaluations += 1;
                }
            }
            walk.predictions.push(expected_data(&process, &x, &v, t)?);
        }
        x = Tensor::combine(&[(1.0, &x), (h, &v)])?;
        walk.trajectory.push(x.clone());
        let metrics = walk.costs.last().map(|cost| [("cost", *cost)]);
        let progress = Step {
            label: "steer",
            step: i as u64 + 1,
            total: Some(steps as u64),
            metrics: metrics.as_ref().map_or(&[], |m| m.as_slice()),
        };
        if observer.step(&progress).is_break() && i + 1 < steps {
            return Err(Error::Interrupted);
        }
    }
    match x.is_finite()? {
        true => Ok(walk),
        false => Err(Error::Value {
            what: "steer",
            message: "samples are not finite: lower the rate".into(),
        }),
    }
}

/// A flow that follows one condition away from another where a mask is 0: `v = v_e + (1 - M) (v_e - v_b) scale`.
struct Edited {
    edit: SharedFlow,
    base: SharedFlow,
    /// `(1 - M) scale`, broadcasting over the batch.
    push: Tensor,
}

impl VelocityField for Edited {
    fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let (edit, base) = (self.edit.velocity(x, t)?, self.base.velocity(x, t)?);
        Ok(edit.add(&edit.sub(&base)?.mul(&self.push)?)?)
    }

    fn dim(&self) -> usize {
        self.edit.dim()
    }

    fn dtype(&self) -> rhapsode_tensor::DType {
        self.edit.dtype()
    }

    fn process(&self) -> Process {
        self.edit.process()
    }

    fn rows_at_once(&self) -> usize {
        self.edit.rows_at_once()
    }

    fn own_rows(&self) -> Option<usize> {
        self.edit.own_rows().or(self.base.own_rows())
    }

    fn of_rows(&self, rows: &[usize]) -> Result<Option<SharedFlow>> {
        if self.own_rows().is_none() {
            return Ok(None);
        }
        let of = |field: &SharedFlow| -> Result<SharedFlow> {
            Ok(field.of_rows(rows)?.unwrap_or_else(|| field.clone()))
        };
        Ok(Some(Arc::new(Edited {
            edit: of(&self.edit)?,
            base: of(&self.base)?,
            push: self.push.clone(),
        })))
    }
}

/// Masked editing: a flow and a cost to be steered with. `mask` is 1 where the source must be kept, of the shape of a sample; the whole
/// source counts in the first `full_source` steps.
pub fn edited(
    edit: SharedFlow,
    base: SharedFlow,
    source: &Tensor,
    mask: &Tensor,
    scale: f64,
    full_source: usize,
) -> Result<(SharedFlow, Cost)> {
    if edit.dim() != base.dim() || mask.len() != edit.dim() {
        return Err(Error::Shape {
            what: "mask",
            expected: format!("{} numbers, as a sample of both flows has", edit.dim()),
            got: mask.dims().to_vec(),
        });
    }
    let dtype = edit.dtype();
    let mask = mask.detach().to_dtype(dtype)?;
    let push = mask.affine(-scale, scale)?;
    let (source, kept) = (source.detach().to_dtype(dtype)?, mask);
    let cost: Cost = Arc::new(move |step, data| {
        let off = data.sub(&source)?.sqr()?;
        let off = if step < full_source {
            off
        } else {
            off.mul(&kept)?
        };
        let n = data.dim(0)?;
        Ok(off.reshape(&[n, data.len() / n.max(1)])?.sum(&[1])?)
    });
    Ok((Arc::new(Edited { edit, base, push }), cost))
}
