//! Supervised training of any network by the one training loop: minibatches of `(x, y)`, a loss, an optimizer.

use std::{fmt, sync::Arc};

use rhapsode_tensor::{Tensor, interrupt, no_grad, params::Params, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossKind, Net};
use crate::{
    Error, Result,
    checks::at_least_one,
    data::Batches,
    metric::accuracy,
    native::{OptimizerValue, PairValue},
    observe::Observer,
    optim::{AdamOptions, Choice, Schedule},
    train::{Objective, Plan, Run},
};

/// Rows of validation data at once, at least.
const VALIDATION_ROWS: usize = 1024;

/// A loss of predictions and targets of one's own.
pub type LossFunction = Arc<dyn Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync>;

/// Options of a supervised training.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NetFitOptions {
    /// Number of steps (at least 1; default 1000).
    pub steps: u64,
    /// Samples a step (at least 1; default 128).
    pub batch: usize,
    /// Batches whose gradients are added up in a step (at least 1; default 1).
    pub accumulate: u64,
    /// The loss (default "mse"); a closure `|prediction, target|` that gives one number is taken too.
    pub loss: LossKind,
    /// A loss of one's own, instead.
    #[serde(skip)]
    pub function: Option<LossFunction>,
    /// The optimizer, e.g. `optim::adam(#{ lr: 1e-3 })` (default: that one).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "OptimizerValue")]
    pub optimizer: Option<Choice>,
    /// How the learning rate changes over the steps (default: as the optimizer says, else "cosine").
    pub schedule: Option<Schedule>,
    /// Steps over which the learning rate rises from 0 (default 0).
    pub warmup: u64,
    /// Largest norm of the gradient; larger ones are scaled down to it (> 0; default: any).
    pub clip: Option<f64>,
    /// Inputs and targets that are not learned from, `[x, y]`: the loss on them is measured on the way (default: none).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "PairValue")]
    pub validation: Option<(Tensor, Tensor)>,
    /// Steps between two measurements (at least 1; default: a tenth of `steps`); there is one after the last step too.
    pub validate_every: Option<u64>,
    /// Seed of data order and dropout (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for NetFitOptions {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch: 128,
            accumulate: 1,
            loss: LossKind::default(),
            function: None,
            optimizer: None,
            schedule: None,
            warmup: 0,
            clip: None,
            validation: None,
            validate_every: None,
            seed: None,
        }
    }
}

impl fmt::Debug for NetFitOptions {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("NetFitOptions")
            .field("steps", &self.steps)
            .field("batch", &self.batch)
            .field("loss", &self.loss)
            .finish_non_exhaustive()
    }
}

impl NetFitOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        self.plan().validate()?;
        at_least_one("batch", self.batch)?;
        at_least_one("validate_every", self.validate_every.unwrap_or(1) as usize)
    }

    /// The steps of the training.
    fn plan(&self) -> Plan {
        Plan {
            optimizer: (self.optimizer.clone()).unwrap_or_else(|| AdamOptions::default().into()),
            steps: self.steps,
            schedule: self.schedule.clone(),
            warmup: self.warmup,
            clip: self.clip,
            accumulate: self.accumulate,
            // A network has no average of its weights.
            ema: 0.0,
        }
    }
}

/// The loss of a minibatch.
struct Supervised {
    net: Net,
    params: Arc<Params>,
    x: Tensor,
    y: Tensor,
    batches: Batches,
    masks: Stream,
    measure: LossMeasure,
    validation: Option<Validation>,
}

/// How predictions are judged.
#[derive(Clone)]
struct LossMeasure {
    kind: LossKind,
    function: Option<LossFunction>,
}

impl LossMeasure {
    /// One number.
    fn of(&self, prediction: &Tensor, y: &Tensor) -> Result<Tensor> {
        let loss = match &self.function {
            Some(function) => function(prediction, y)?,
            None => self.kind.of(prediction, y)?,
        };
        if loss.len() != 1 {
            let message = format!(
                "must give one number, got shape {:?} (take .mean())",
                loss.dims()
            );
            return Err(Error::option("loss", message));
        }
        Ok(loss)
    }
}

/// Data that is not learned from.
struct Validation {
    x: Tensor,
    y: Tensor,
    /// Rows at once: what a step of training holds too.
    batch: usize,
    every: u64,
    last: u64,
}

impl Validation {
    fn is_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.every) || step == self.last
    }

    /// The mean loss, and with cross-entropy the share of the rows whose class is right.
    fn measure(&self, net: &Net, how: &LossMeasure) -> Result<Vec<(&'static str, f64)>> {
        let rows = self.x.dims().first().copied().unwrap_or(0);
        let classifies = how.function.is_none() && how.kind == LossKind::CrossEntropy;
        let (mut loss, mut right) = (0.0, 0.0);
        for from in (0..rows).step_by(self.batch) {
            interrupt::check()?;
            let count = self.batch.min(rows - from);
            let (x, y) = (
                self.x.narrow(0, from, count)?,
                self.y.narrow(0, from, count)?,
            );
            let prediction = net.pass(&x, &[], None)?;
            let share = count as f64 / rows as f64;
            loss += share * how.of(&prediction, &y)?.item()?;
            // Class numbers; targets may also be distributions, of which none is right or wrong.
            if classifies && y.dims().len() == 1 {
                right += share * accuracy(&prediction, &y)?.value;
            }
        }
        let mut measured = vec![("validation_loss", loss)];
        if classifies && self.y.dims().len() == 1 {
            measured.push(("validation_accuracy", right));
        }
        Ok(measured)
    }
}

impl Objective for Supervised {
    fn label(&self) -> &str {
        "fit network"
    }

    fn params(&self) -> &Arc<Params> {
        &self.params
    }

    fn average(&self) -> Option<&Arc<Params>> {
        None
    }

    fn loss(&mut self, step: u64) -> Result<Tensor> {
        let rows = self.batches.indices(step - 1)?;
        let count = rows.len();
        let rows = Tensor::from_vec(rows, &[count])?;
        let (x, y) = (
            self.x.index_select(0, &rows)?,
            self.y.index_select(0, &rows)?,
        );
        if self.measure.function.is_none()
            && self.measure.kind == LossKind::Mse
            && let Some(loss) = self.net.chain_mse(&x, &y)
        {
            return loss;
        }
        let prediction = self.net.pass(&x, &[], Some(self.masks.at(step)))?;
        let loss = self.measure.of(&prediction, &y)?;
        match loss.is_tracked() {
            true => Ok(loss),
            false => Err(Error::option(
                "loss",
                "does not depend on the prediction: there is nothing to learn from",
            )),
        }
    }

    fn measure(&mut self, step: u64) -> Result<Vec<(&'static str, f64)>> {
        match &self.validation {
            Some(validation) if validation.is_due(step) => {
                no_grad(|| validation.measure(&self.net, &self.measure))
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// The number of rows of inputs and targets that fit each other.
fn checked(what: [&'static str; 2], x: &Tensor, y: &Tensor) -> Result<usize> {
    let rows = match (x.dims(), y.dims()) {
        ([n, ..], [m, ..]) if n == m && *n > 0 => *n,
        _ => {
            return Err(Error::Shape {
                what: what[1],
                expected: format!("as many rows as the inputs {:?}, at least one", x.dims()),
                got: y.dims().to_vec(),
            });
        }
    };
    for (what, data) in what.into_iter().zip([x, y]) {
        if !data.is_finite()? {
            return Err(Error::Value {
                what,
                message: "hold NaN or infinity".into(),
            });
        }
    }
    Ok(rows)
}

impl Net {
    /// Learns to give `y` at `x`: rows of both belong together. The run that comes back has taken all steps, or those
    /// before an interrupt; the network is in evaluation mode afterwards.
    pub fn fit(
        &self,
        x: &Tensor,
        y: &Tensor,
        options: &NetFitOptions,
        observer: &mut dyn Observer,
    ) -> Result<Run> {
        options.validate()?;
        let params = self.params()?;
        if params.is_empty() {
            return Err(Error::Value {
                what: "fit",
                message: "the network has no parameters".into(),
            });
        }
        let rows = checked(["inputs", "fit: targets"], x, y)?;
        let validation = match &options.validation {
            Some((x, y)) => {
                checked(["validation inputs", "validation targets"], x, y)?;
                Some(Validation {
                    x: x.detach(),
                    y: y.detach(),
                    batch: options.batch.max(VALIDATION_ROWS),
                    every: options
                        .validate_every
                        .unwrap_or((options.steps / 10).max(1)),
                    last: options.steps,
                })
            }
            None => None,
        };
        let seed = options.seed.unwrap_or(0);
        let objective = Supervised {
            net: self.clone(),
            params,
            x: x.detach().contiguous()?,
            y: y.detach().contiguous()?,
            batches: Batches::new(rows, options.batch, Stream::new(seed, "order"))?,
            masks: Stream::new(seed, "dropout"),
            measure: LossMeasure {
                kind: options.loss,
                function: options.function.clone(),
            },
            validation,
        };
        let mut run = Run::new(Box::new(objective), options.plan())?;
        let done = run.more(options.steps, observer);
        self.set_training(false);
        done.map(|()| run)
    }
}
