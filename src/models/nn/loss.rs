//! Losses of predictions against targets, with PyTorch's names, definitions and defaults.

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, checks::positive};

/// How the losses of the elements become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay apart.
    None,
}

impl Reduction {
    fn of(self, losses: &Tensor) -> Result<Tensor> {
        match self {
            Reduction::Mean if losses.is_empty() => Err(Error::Value {
                what: "loss",
                message: "there is no element to take the mean of".into(),
            }),
            Reduction::Mean => Ok(losses.mean_all()?),
            Reduction::Sum => Ok(losses.sum_all()?),
            Reduction::None => Ok(losses.clone()),
        }
    }
}

/// A loss by name, for `fit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Mean squared error.
    #[default]
    Mse,
    /// Mean absolute error.
    L1,
    /// Squared near 0, absolute beyond 1.
    Huber,
    /// Softmax cross-entropy against class numbers.
    CrossEntropy,
    /// Binary cross-entropy of logits against 0 and 1.
    Bce,
}

impl LossKind {
    /// The loss of predictions, a scalar.
    pub fn of(self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        match self {
            LossKind::Mse => mse_loss(x, y, Reduction::Mean),
            LossKind::L1 => l1_loss(x, y, Reduction::Mean),
            LossKind::Huber => huber_loss(x, y, 1.0, Reduction::Mean),
            LossKind::CrossEntropy => cross_entropy(x, y, 0.0, Reduction::Mean),
            LossKind::Bce => bce_with_logits(x, y, Reduction::Mean),
        }
    }
}

/// The target in the dtype of the predictions; of the same shape, as broadcasting here is nearly always a mistake.
fn same(what: &'static str, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if x.dims() != y.dims() {
        return Err(Error::Shape {
            what,
            expected: format!("a target of the shape of the prediction {:?}", x.dims()),
            got: y.dims().to_vec(),
        });
    }
    Ok(y.to_dtype(x.dtype())?)
}

/// `(x - y)^2`.
pub fn mse_loss(x: &Tensor, y: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let y = same("mse_loss", x, y)?;
    if reduction == Reduction::Mean && !x.is_empty() {
        return Ok(x.mse(&y)?);
    }
    reduction.of(&x.sub(&y)?.sqr()?)
}

/// `|x - y|`.
pub fn l1_loss(x: &Tensor, y: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let y = same("l1_loss", x, y)?;
    reduction.of(&x.sub(&y)?.abs()?)
}

/// `e^2 / 2` where `|e| <= delta`, else `delta (|e| - delta / 2)`, of `e = x - y`.
pub fn huber_loss(x: &Tensor, y: &Tensor, delta: f64, reduction: Reduction) -> Result<Tensor> {
    positive("delta", delta)?;
    let e = x.sub(&same("huber_loss", x, y)?)?;
    // With c = clamp(e): c e - c^2 / 2 is both branches in one.
    let c = e.clamp(-delta, delta)?;
    reduction.of(&c.mul(&e)?.sub(&c.sqr()?.affine(0.5, 0.0)?)?)
}

/// `-(y ln s(x) + (1 - y) ln(1 - s(x)))` with `s` the sigmoid: `softplus(x) - x y`, `y` in [0, 1].
pub fn bce_with_logits(x: &Tensor, y: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let y = same("bce_with_logits", x, y)?;
    if let Some(bad) = y.to_vec()?.into_iter().find(|v| !(0.0..=1.0).contains(v)) {
        return Err(Error::Value {
            what: "bce_with_logits",
            message: format!("targets must lie in [0, 1], got {bad}"),
        });
    }
    reduction.of(&x.softplus()?.sub(&x.mul(&y)?)?)
}

/// `y (ln y - x)` for log-probabilities `x` and probabilities `y` (0 where y is 0).
pub fn kl_div(x: &Tensor, y: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let y = same("kl_div", x, y)?;
    if let Some(bad) = y.to_vec()?.into_iter().find(|v| *v < 0.0) {
        return Err(Error::Value {
            what: "kl_div",
            message: format!("target probabilities must be >= 0, got {bad}"),
        });
    }
    // ln of the smallest normal number times 0 is 0, where ln 0 would be NaN; and no gradient there.
    let log = y.clamp(f64::from(f32::MIN_POSITIVE), f64::MAX)?.log()?;
    reduction.of(&y.mul(&log.sub(x)?)?)
}

/// Class numbers of the shape of `x` without its class axis, as an index along that axis.
fn classes(what: &'static str, x: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let wanted: Vec<usize> = match x.dims() {
        [n, _, rest @ ..] => [&[*n], rest].concat(),
        _ => {
            return Err(Error::Shape {
                what,
                expected: "predictions [n, classes] or [n, classes, ..]".into(),
                got: x.dims().to_vec(),
            });
        }
    };
    if labels.dims() != wanted {
        return Err(Error::Shape {
            what,
            expected: format!("class numbers {wanted:?} for predictions {:?}", x.dims()),
            got: labels.dims().to_vec(),
        });
    }
    let count = x.dims()[1] as i64;
    let values = labels.to_ints(what)?;
    if let Some(bad) = values.iter().find(|v| !(0..count).contains(v)) {
        return Err(Error::Value {
            what,
            message: format!("class numbers must lie in 0..{count}, got {bad}"),
        });
    }
    Ok(Tensor::from_vec(values, &wanted)?.unsqueeze(1)?)
}

/// `-x[label]` for log-probabilities `x: [n, classes, ..]` and class numbers `[n, ..]`.
pub fn nll_loss(x: &Tensor, labels: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let index = classes("nll_loss", x, labels)?;
    reduction.of(&x.gather(1, &index)?.squeeze(1)?.neg()?)
}

/// `-ln softmax(x)[label]` for logits `x: [n, classes, ..]` and class numbers `[n, ..]`; or, for a target of the shape of
/// `x`, `-sum_c y_c ln softmax(x)_c`. With smoothing s the target is `(1 - s) y + s / classes`.
pub fn cross_entropy(
    x: &Tensor,
    target: &Tensor,
    smoothing: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    if !(0.0..=1.0).contains(&smoothing) {
        let message = format!("must lie in [0, 1], got {smoothing}");
        return Err(Error::option("label_smoothing", message));
    }
    let spread = |log: &Tensor, hit: Tensor| -> Result<Tensor> {
        if smoothing == 0.0 {
            return Ok(hit);
        }
        let even = log.mean(&[1])?.neg()?;
        Ok(Tensor::combine(&[
            (1.0 - smoothing, &hit),
            (smoothing, &even),
        ])?)
    };
    if x.rank() >= 2 && target.dims() == x.dims() {
        let log = x.log_softmax(1)?;
        let y = target.to_dtype(x.dtype())?;
        let hit = log.mul(&y)?.sum(&[1])?.neg()?;
        return reduction.of(&spread(&log, hit)?);
    }
    let index = classes("cross_entropy", x, target)?;
    let log = x.log_softmax(1)?;
    let hit = log.gather(1, &index)?.squeeze(1)?.neg()?;
    reduction.of(&spread(&log, hit)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f64]) -> Tensor {
        Tensor::from_vec(values.to_vec(), &[1, values.len()]).unwrap()
    }

    fn near(loss: Result<Tensor>, expected: f64) {
        let got = loss.unwrap().item().unwrap();
        assert!((got - expected).abs() < 1e-10, "{got} {expected}");
    }

    #[test]
    fn values_are_those_of_the_formulas() {
        let (x, y) = (row(&[0.5, -2.0, 3.0]), row(&[0.0, 1.0, 1.0]));
        near(mse_loss(&x, &y, Reduction::Sum), 0.25 + 9.0 + 4.0);
        near(mse_loss(&x, &y, Reduction::Mean), 13.25 / 3.0);
        near(l1_loss(&x, &y, Reduction::Mean), 5.5 / 3.0);
        near(huber_loss(&x, &y, 1.0, Reduction::Sum), 0.125 + 2.5 + 1.5);
        let ln = |v: f64| (1.0 + v.exp()).ln();
        near(
            bce_with_logits(&x, &y, Reduction::Sum),
            ln(0.5) + ln(2.0) + ln(-3.0),
        );
        let total = 0.5f64.exp() + (-2f64).exp() + 3f64.exp();
        let label = Tensor::from_vec(vec![1i64], &[1]).unwrap();
        near(
            cross_entropy(&x, &label, 0.0, Reduction::Mean),
            total.ln() + 2.0,
        );
        let hard = row(&[0.0, 1.0, 0.0]);
        near(
            cross_entropy(&x, &hard, 0.0, Reduction::Mean),
            total.ln() + 2.0,
        );
        let smooth = 0.9 * (total.ln() + 2.0) + 0.1 * (total.ln() - 0.5);
        near(cross_entropy(&x, &label, 0.1, Reduction::Mean), smooth);
        let log = x.log_softmax(1).unwrap();
        near(nll_loss(&log, &label, Reduction::Mean), total.ln() + 2.0);
        let p = row(&[0.0, 0.25, 0.75]);
        let q = row(&[0.2f64.ln(), 0.5f64.ln(), 0.3f64.ln()]);
        let expected = 0.25 * (0.25f64 / 0.5).ln() + 0.75 * (0.75f64 / 0.3).ln();
        near(kl_div(&q, &p, Reduction::Sum), expected);
    }

    #[test]
    fn shapes_and_values_that_cannot_be_meant_are_refused() {
        let x = row(&[0.5, -2.0, 3.0]);
        let column = x.t().unwrap();
        let message = mse_loss(&x, &column, Reduction::Mean)
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "mse_loss: expected a target of the shape of the prediction [1, 3], got [3, 1]"
        );
        let label = Tensor::from_vec(vec![3i64], &[1]).unwrap();
        let message = cross_entropy(&x, &label, 0.0, Reduction::Mean)
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "cross_entropy: class numbers must lie in 0..3, got 3"
        );
        assert!(bce_with_logits(&x, &x, Reduction::Mean).is_err());
        assert!(huber_loss(&x, &x, 0.0, Reduction::Mean).is_err());
    }
}
