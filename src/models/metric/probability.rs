//! Scores of predicted probabilities: ranking (AUC), likelihood (log loss) and calibration (ECE).

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Measure,
    classify::{check_labels, labels_of, shape, value},
    measure::mean_and_error,
};
use crate::{Error, Result};

/// What the numbers of a prediction are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scores {
    /// Logits `[n, k]`, whose softmax are the probabilities; `[n]`: logits of class 1, of which the sigmoid is taken.
    #[default]
    Logits,
    /// Probabilities `[n, k]`, rows of which add up to 1; `[n]`: the probability of class 1.
    Probabilities,
}

/// Options of the log loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogLossOptions {
    /// What the predictions are. Default: `"logits"`.
    pub scores: Scores,
}

/// Options of the expected calibration error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EceOptions {
    /// What the predictions are. Default: `"logits"`.
    pub scores: Scores,
    /// Bins of equal width for the confidence, at least 1. Default: 15.
    pub bins: usize,
}

impl Default for EceOptions {
    fn default() -> Self {
        Self {
            scores: Scores::Logits,
            bins: 15,
        }
    }
}

/// The area under the ROC curve: the probability that a random positive scores above a random negative, ties
/// counting half.
///
/// `scores` are `[n]` (larger for class 1) or `[n, 2]` (second minus first counts); `labels` are 0 or 1, `[n]`. The standard
/// error is that of Hanley and McNeil, "The Meaning and Use of the Area under a ROC Curve", Radiology 143 (1982). Errors: shapes,
/// other labels, only one class, NaN.
pub fn auc(scores: &Tensor, labels: &Tensor) -> Result<Measure> {
    const NAME: &str = "auc";
    let labels = labels_of(NAME, labels)?;
    let n = labels.len();
    let raw = scores.to_vec()?;
    let scores: Vec<f64> = match *scores.dims() {
        [m] if m == n => raw,
        [m, 2] if m == n => raw.as_chunks::<2>().0.iter().map(|[a, b]| b - a).collect(),
        _ => {
            return Err(shape(
                NAME,
                &format!("scores of shape [{n}] or [{n}, 2]"),
                scores,
            ));
        }
    };
    if let Some(row) = scores.iter().position(|s| s.is_nan()) {
        return Err(value(
            NAME,
            format!("expected scores, got NaN in row {row}"),
        ));
    }
    check_labels(NAME, &labels, 2)?;
    let ranks = ranks(&scores);
    let positives = labels.iter().filter(|l| **l == 1).count();
    let (p, q) = (positives as f64, (n - positives) as f64);
    if positives == 0 || positives == n {
        let message =
            format!("expected both classes among the labels, got {positives} of class 1 in {n}");
        return Err(value(NAME, message));
    }
    let of_positives = ranks.iter().zip(&labels).filter(|(_, l)| **l == 1);
    let sum: f64 = of_positives.map(|(rank, _)| rank).sum();
    let area = (sum - p * (p + 1.0) / 2.0) / (p * q);
    let (q1, q2) = (area / (2.0 - area), 2.0 * area * area / (1.0 + area));
    let square =
        area * (1.0 - area) + (p - 1.0) * (q1 - area * area) + (q - 1.0) * (q2 - area * area);
    Ok(Measure::new(area, n)
        .with_error((square.max(0.0) / (p * q)).sqrt())
        .how(format!("{positives} positive")))
}

/// Ranks from 1; equal values share the mean of theirs.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = values.iter().copied().zip(0..).collect();
    order.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 1.0;
    for equal in order.chunk_by(|a, b| a.0 == b.0) {
        let mean = first + (equal.len() as f64 - 1.0) / 2.0;
        for (_, at) in equal {
            if let Some(rank) = ranks.get_mut(*at) {
                *rank = mean;
            }
        }
        first += equal.len() as f64;
    }
    ranks
}

/// The mean of `-log p(label)` in nats (the cross-entropy), with the standard error of the mean.
///
/// A probability of 0 for what happened gives infinity. Errors: shapes, labels that no column stands for, NaN, probabilities
/// outside of [0, 1] or rows that do not add up to 1.
pub fn log_loss(
    predictions: &Tensor,
    labels: &Tensor,
    options: &LogLossOptions,
) -> Result<Measure> {
    let (rows, labels) = log_probabilities("log_loss", predictions, labels, options.scores)?;
    let pairs = rows.values.chunks_exact(rows.k).zip(&labels);
    let losses: Vec<f64> = pairs
        .map(|(row, label)| -row.get(*label).copied().unwrap_or(f64::NAN))
        .collect();
    let (mean, error) = mean_and_error(&losses);
    let measure = Measure::new(mean, labels.len()).how("nats");
    Ok(match error.filter(|e| e.is_finite()) {
        Some(error) => measure.with_error(error),
        None => measure,
    })
}

/// The expected calibration error: how far confidence and accuracy are apart.
///
/// `sum over bins of (count / n) |accuracy - mean confidence|`, where the confidence of a prediction is its largest
/// probability. Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017 (arXiv 1706.04599). Errors
/// as [`log_loss`].
pub fn ece(predictions: &Tensor, labels: &Tensor, options: &EceOptions) -> Result<Measure> {
    if options.bins == 0 || options.bins > 1 << 20 {
        let message = format!("expected 1 to {}, got {}", 1 << 20, options.bins);
        return Err(Error::option("bins", message));
    }
    let (rows, labels) = log_probabilities("ece", predictions, labels, options.scores)?;
    // Sums of confidence and of hits.
    let mut bins = vec![(0.0, 0.0); options.bins];
    for (row, label) in rows.values.chunks_exact(rows.k).zip(&labels) {
        let best = row
            .iter()
            .enumerate()
            .fold((0, f64::NEG_INFINITY), |best, (class, p)| {
                if *p > best.1 { (class, *p) } else { best }
            });
        let confidence = best.1.exp();
        let at = ((confidence * options.bins as f64) as usize).min(options.bins - 1);
        if let Some(bin) = bins.get_mut(at) {
            bin.0 += confidence;
            bin.1 += f64::from(u8::from(best.0 == *label));
        }
    }
    let gap: f64 = bins
        .iter()
        .map(|(confidence, hits): &(f64, f64)| (confidence - hits).abs())
        .sum();
    Ok(Measure::new(gap / labels.len() as f64, labels.len()).how(format!("{} bins", options.bins)))
}

/// Log probabilities `[n, k]`.
struct Rows {
    values: Vec<f64>,
    k: usize,
}

fn log_probabilities(
    metric: &'static str,
    predictions: &Tensor,
    labels: &Tensor,
    scores: Scores,
) -> Result<(Rows, Vec<usize>)> {
    let labels = labels_of(metric, labels)?;
    let n = labels.len();
    let raw = predictions.to_vec()?;
    let (mut values, k) = match (predictions.dims(), scores) {
        // Of two classes: the logit of the first is 0.
        (&[m], Scores::Logits) if m == n => (raw.iter().flat_map(|z| [0.0, *z]).collect(), 2),
        (&[m], Scores::Probabilities) if m == n => {
            (raw.iter().flat_map(|p| [1.0 - p, *p]).collect(), 2)
        }
        (&[m, k], _) if m == n && k > 0 => (raw, k),
        _ => {
            let expected = format!("predictions of shape [{n}] or [{n}, k] like the {n} labels");
            return Err(shape(metric, &expected, predictions));
        }
    };
    check_labels(metric, &labels, k)?;
    for (row, values) in values.chunks_exact_mut(k).enumerate() {
        match scores {
            Scores::Logits => normalize(metric, row, values)?,
            Scores::Probabilities => check_probabilities(metric, row, values)?,
        }
    }
    // `check_labels` has seen that they lie in 0..k.
    let labels = labels.iter().map(|l| l.unsigned_abs() as usize).collect();
    Ok((Rows { values, k }, labels))
}

/// Logits to log probabilities.
fn normalize(metric: &'static str, row: usize, values: &mut [f64]) -> Result<()> {
    let top = values.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    if values.iter().any(|v| v.is_nan()) || !top.is_finite() {
        return Err(value(
            metric,
            format!("expected finite logits, got NaN or infinity in row {row}"),
        ));
    }
    let sum: f64 = values.iter().map(|v| (v - top).exp()).sum();
    values.iter_mut().for_each(|v| *v -= top + sum.ln());
    Ok(())
}

/// Probabilities to their logarithms.
fn check_probabilities(metric: &'static str, row: usize, values: &mut [f64]) -> Result<()> {
    let sum: f64 = values.iter().sum();
    let sound = values.iter().all(|v| (0.0..=1.0).contains(v)) && (sum - 1.0).abs() < 1e-3;
    if !sound {
        let message = format!(
            "expected probabilities that add up to 1, got {values:?} in row {row} (scores: \"logits\" takes any numbers)"
        );
        return Err(value(metric, message));
    }
    values.iter_mut().for_each(|v| *v = v.ln());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: Vec<f64>, shape: &[usize]) -> Tensor {
        Tensor::from_vec(values, shape).unwrap()
    }

    fn ints(values: impl Iterator<Item = i64>) -> Tensor {
        let values: Vec<i64> = values.collect();
        let n = values.len();
        Tensor::from_vec(values, &[n]).unwrap()
    }

    fn close(got: &Measure, want: f64) {
        assert!((got.value - want).abs() < 1e-13, "{got} {want}");
    }

    /// scikit-learn 1.x, float64; 20 items, formulas as below.
    #[test]
    fn values_are_those_of_scikit_learn() {
        let two = ints((0..20).map(|i| i64::from(i * 3 % 5 < 2)));
        let scores: Vec<f64> = (0..20).map(|i| f64::from(i * 11 % 13) / 13.0).collect();
        close(
            &auc(&tensor(scores.clone(), &[20]), &two).unwrap(),
            0.505_208_333_333_333_4,
        );
        let pair = scores.iter().flat_map(|s| [1.0 - s, *s]).collect();
        close(
            &auc(&tensor(pair, &[20, 2]), &two).unwrap(),
            0.505_208_333_333_333_4,
        );
        let three = ints((0..20).map(|i| i * 7 % 3));
        let logits = (0..60).map(|at| f64::from((at / 3) * (at % 3 + 3) * 7 % 19) / 19.0 * 4.0);
        let logits = tensor(logits.collect(), &[20, 3]);
        close(
            &log_loss(&logits, &three, &LogLossOptions::default()).unwrap(),
            1.298_860_606_540_231_3,
        );
        let clipped = tensor(scores.iter().map(|s| s.clamp(0.01, 0.99)).collect(), &[20]);
        let probabilities = LogLossOptions {
            scores: Scores::Probabilities,
        };
        close(
            &log_loss(&clipped, &two, &probabilities).unwrap(),
            0.974_253_414_426_714_3,
        );
        // ECE by numpy from its definition, 10 bins.
        let ten = EceOptions {
            bins: 10,
            ..Default::default()
        };
        close(
            &ece(&logits, &three, &ten).unwrap(),
            0.303_789_223_443_397_54,
        );
    }

    #[test]
    fn ties_share_their_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        let got = auc(&tensor(vec![0.5; 4], &[4]), &ints([0, 1, 1, 0].into_iter())).unwrap();
        assert_eq!(got.value, 0.5);
        let got = auc(
            &tensor(vec![0.0, 1.0, 2.0], &[3]),
            &ints([0, 1, 1].into_iter()),
        )
        .unwrap();
        assert_eq!((got.value, got.std_error), (1.0, Some(0.0)));
    }

    #[test]
    fn unfit_inputs_are_errors() {
        let labels = ints([0, 1].into_iter());
        let message = |r: Result<Measure>| r.err().unwrap().to_string();
        assert_eq!(
            message(auc(
                &tensor(vec![0.0, 1.0], &[2]),
                &ints([1, 1].into_iter())
            )),
            "auc: expected both classes among the labels, got 2 of class 1 in 2"
        );
        assert_eq!(
            message(auc(&tensor(vec![0.0, f64::NAN], &[2]), &labels)),
            "auc: expected scores, got NaN in row 1"
        );
        let probabilities = LogLossOptions {
            scores: Scores::Probabilities,
        };
        let bad = tensor(vec![0.5, 0.5, 0.9, 0.9], &[2, 2]);
        assert!(
            message(log_loss(&bad, &labels, &probabilities)).contains("got [0.9, 0.9] in row 1")
        );
        let bins = EceOptions {
            bins: 0,
            ..Default::default()
        };
        assert!(message(ece(&bad, &labels, &bins)).starts_with("option `bins`"));
        let sure = tensor(vec![1.0, 0.0, 1.0, 0.0], &[2, 2]);
        let loss = log_loss(&sure, &labels, &probabilities).unwrap();
        assert_eq!((loss.value, loss.std_error), (f64::INFINITY, None));
    }
}
