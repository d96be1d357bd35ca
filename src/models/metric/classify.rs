//! Scores of a classifier.
//!
//! Predictions are classes `[n]` (whole numbers) or scores `[n, k]`, whose largest counts (the first of equals); labels are
//! classes `[n]`. Of a count of right and wrong the standard error is that of a share, `sqrt(p (1 - p) / n)`.

use rhapsode_tensor::{DType, Tensor, memory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Measure;
use crate::{Error, Result};

/// The share of predictions that are right, in [0, 1].
///
/// Errors: shapes that do not fit, nothing to score, NaN among scores, numbers that are no classes, labels outside
/// of `0..k`.
///
/// ```
/// # use rhapsode_models::metric::accuracy;
/// # use rhapsode_tensor::Tensor;
/// let logits = Tensor::from_vec(vec![0.1f32, 0.9, 2.0, -1.0, 0.0, 0.5], &[3, 2])?;
/// let labels = Tensor::from_vec(vec![1i64, 0, 0], &[3])?;
/// assert_eq!(accuracy(&logits, &labels)?.value, 2.0 / 3.0);
/// # Ok::<(), rhapsode_models::Error>(())
/// ```
pub fn accuracy(predictions: &Tensor, labels: &Tensor) -> Result<Measure> {
    let (classes, labels) = pairs("accuracy", predictions, labels)?;
    let right = classes.iter().zip(&labels).filter(|(a, b)| a == b).count();
    Ok(share(right as f64 / labels.len() as f64, labels.len()))
}

/// How the scores of the classes become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Average {
    /// The mean over the classes that occur among labels or predictions.
    #[default]
    Macro,
    /// The mean weighted by how often each class is the label.
    Weighted,
    /// Counts of all classes together: the accuracy.
    Micro,
}

/// Options of precision, recall and F1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScoreOptions {
    /// How the classes become one number. Default: `"macro"`.
    pub average: Average,
    /// The score of this class alone, e.g. 1 for the positive one of two. Default: all classes, averaged.
    pub class: Option<u32>,
}

/// Which score of a class, from the counts of true positives, predicted and actual members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// `tp / predicted`: which share of those called so are so.
    Precision,
    /// `tp / actual`: which share of those that are so were called so.
    Recall,
    /// `2 tp / (predicted + actual)`, the harmonic mean of both.
    F1,
}

impl Score {
    /// All of them.
    pub const ALL: [Score; 3] = [Score::Precision, Score::Recall, Score::F1];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Score::Precision => "precision",
            Score::Recall => "recall",
            Score::F1 => "f1",
        }
    }

    /// The score; 0 where nothing was predicted or is there, as in scikit-learn.
    fn of(self, right: f64, predicted: f64, actual: f64) -> f64 {
        let (part, whole) = match self {
            Score::Precision => (right, predicted),
            Score::Recall => (right, actual),
            Score::F1 => (2.0 * right, predicted + actual),
        };
        if whole == 0.0 { 0.0 } else { part / whole }
    }

    /// The score of predictions; see the module on their shapes. Errors as [`accuracy`], and for a class that does
    /// not occur.
    pub fn measure(
        self,
        predictions: &Tensor,
        labels: &Tensor,
        options: &ScoreOptions,
    ) -> Result<Measure> {
        let counts = Counts::new(self.name(), predictions, labels)?;
        let n = counts.total();
        let scores = |class: usize| {
            self.of(
                counts.right(class),
                counts.predicted(class),
                counts.actual(class),
            )
        };
        if let Some(class) = options.class {
            let class = usize::try_from(class).unwrap_or(usize::MAX);
            if !counts.occurs(class) {
                let message = format!("class {class} occurs neither among labels nor predictions");
                return Err(Error::option("class", message));
            }
            return Ok(Measure::new(scores(class), n).how(format!("class {class}")));
        }
        let classes: Vec<usize> = (0..counts.k).filter(|&c| counts.occurs(c)).collect();
        let words = format!("{} over {} classes", options.average.name(), classes.len());
        let value = match options.average {
            Average::Macro => {
                classes.iter().map(|&c| scores(c)).sum::<f64>() / classes.len() as f64
            }
            Average::Weighted => {
                let weighted = classes.iter().map(|&c| scores(c) * counts.actual(c));
                weighted.sum::<f64>() / n as f64
            }
            Average::Micro => classes.iter().map(|&c| counts.right(c)).sum::<f64>() / n as f64,
        };
        Ok(Measure::new(value, n).how(words))
    }
}

impl Average {
    fn name(self) -> &'static str {
        match self {
            Average::Macro => "macro",
            Average::Weighted => "weighted",
            Average::Micro => "micro",
        }
    }
}

/// How often each class (row) was taken for each (column): i64 `[k, k]`. k is the number of columns of the
/// scores, or one more than the largest class.
pub fn confusion_matrix(predictions: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let counts = Counts::new("confusion_matrix", predictions, labels)?;
    Ok(Tensor::from_vec(counts.cells, &[counts.k, counts.k])?)
}

/// Labels against predictions.
struct Counts {
    k: usize,
    /// `[label, prediction]`.
    cells: Vec<i64>,
}

impl Counts {
    fn new(metric: &'static str, predictions: &Tensor, labels: &Tensor) -> Result<Self> {
        let (classes, labels) = pairs(metric, predictions, labels)?;
        let columns = match *predictions.dims() {
            [_, k] => k,
            _ => 0,
        };
        Self::of(metric, &classes, &labels, columns)
    }

    /// Counts for at least `least` classes.
    fn of(metric: &'static str, classes: &[i64], labels: &[i64], least: usize) -> Result<Self> {
        let place = |class: &i64| {
            usize::try_from(*class)
                .map_err(|_| value(metric, format!("expected classes from 0, got {class}")))
        };
        let classes = classes.iter().map(place).collect::<Result<Vec<_>>>()?;
        let labels = labels.iter().map(place).collect::<Result<Vec<_>>>()?;
        let largest = classes.iter().chain(&labels).max();
        let k = largest.map_or(0, |c| c.saturating_add(1)).max(least);
        memory::ensure(memory::count(metric, &[k, k])?, size_of::<i64>())?;
        let mut cells = vec![0; k * k];
        for (class, label) in classes.iter().zip(&labels) {
            if let Some(cell) = cells.get_mut(label * k + class) {
                *cell += 1;
            }
        }
        Ok(Self { k, cells })
    }

    fn cell(&self, label: usize, class: usize) -> f64 {
        self.cells
            .get(label * self.k + class)
            .map_or(0.0, |c| *c as f64)
    }

    fn right(&self, class: usize) -> f64 {
        self.cell(class, class)
    }

    fn predicted(&self, class: usize) -> f64 {
        (0..self.k).map(|label| self.cell(label, class)).sum()
    }

    fn actual(&self, class: usize) -> f64 {
        (0..self.k).map(|other| self.cell(class, other)).sum()
    }

    fn occurs(&self, class: usize) -> bool {
        class < self.k && self.predicted(class) + self.actual(class) > 0.0
    }

    fn total(&self) -> usize {
        self.cells.iter().sum::<i64>().unsigned_abs() as usize
    }
}

/// The share of states that are right when the names of the predicted states are permuted in the best way
/// (hidden states have no names): the largest sum over a matching in the confusion matrix.
///
/// `predictions` and `labels` are states `[n]`, whole numbers from 0; their numbers of states may differ.
pub fn state_accuracy(predictions: &Tensor, labels: &Tensor) -> Result<Measure> {
    let counts = Counts::new("state_accuracy", predictions, labels)?;
    let n = counts.total();
    let cost: Vec<f64> = counts.cells.iter().map(|c| -(*c as f64)).collect();
    let right = -super::assignment(&cost, counts.k)?.cost;
    Ok(share(right / n as f64, n).how(format!("best permutation of {} states", counts.k)))
}

/// A share of n with its standard error.
fn share(value: f64, n: usize) -> Measure {
    Measure::new(value, n).with_error((value * (1.0 - value) / n as f64).sqrt())
}

/// Classes and labels, equally many, at least one.
pub(super) fn pairs(
    metric: &'static str,
    predictions: &Tensor,
    labels: &Tensor,
) -> Result<(Vec<i64>, Vec<i64>)> {
    let labels = labels_of(metric, labels)?;
    let n = labels.len();
    let classes = match *predictions.dims() {
        [m] if m == n => predictions.to_ints(metric)?,
        [m, k] if m == n && k > 0 => {
            check_labels(metric, &labels, k)?;
            largest(metric, predictions, k)?
        }
        _ => {
            let expected = format!("predictions of shape [{n}] or [{n}, k] like the {n} labels");
            return Err(shape(metric, &expected, predictions));
        }
    };
    Ok((classes, labels))
}

/// Labels as classes, at least one.
pub(super) fn labels_of(metric: &'static str, labels: &Tensor) -> Result<Vec<i64>> {
    match *labels.dims() {
        [n] if n > 0 => Ok(labels.to_ints(metric)?),
        _ => Err(shape(
            metric,
            "labels of shape [n] with at least one",
            labels,
        )),
    }
}

/// Which of the `k` logits of each row is the largest.
fn largest(metric: &'static str, logits: &Tensor, k: usize) -> Result<Vec<i64>> {
    let values = logits.to_dtype(DType::F64)?.to_vec()?;
    let mut classes = Vec::with_capacity(values.len() / k);
    for (row, logits) in values.chunks_exact(k).enumerate() {
        if logits.iter().any(|v| v.is_nan()) {
            return Err(value(
                metric,
                format!("expected logits, got NaN in row {row}"),
            ));
        }
        let mut best = (0, f64::NEG_INFINITY);
        for (class, &logit) in (0i64..).zip(logits) {
            if logit > best.1 {
                best = (class, logit);
            }
        }
        classes.push(best.0);
    }
    Ok(classes)
}

/// A label that no logit stands for could never be right.
pub(super) fn check_labels(metric: &'static str, labels: &[i64], k: usize) -> Result<()> {
    let known = |label: i64| usize::try_from(label).is_ok_and(|label| label < k);
    match labels.iter().enumerate().find(|(_, label)| !known(**label)) {
        Some((row, label)) => Err(value(
            metric,
            format!("expected labels in 0..{k} for {k} logits, got {label} in row {row}"),
        )),
        None => Ok(()),
    }
}

pub(super) fn value(what: &'static str, message: String) -> Error {
    Error::Value { what, message }
}

pub(super) fn shape(what: &'static str, expected: &str, got: &Tensor) -> Error {
    Error::Shape {
        what,
        expected: expected.into(),
        got: got.dims().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[i64]) -> Tensor {
        Tensor::from_vec(values.to_vec(), &[values.len()]).unwrap()
    }

    #[test]
    fn classes_and_logits_are_scored() {
        let truth = labels(&[0, 1, 2, 2]);
        assert_eq!(
            accuracy(&labels(&[0, 2, 2, 2]), &truth).unwrap().value,
            0.75
        );
        let floats = Tensor::from_vec(vec![0f32, 1.0, 2.0, 2.0], &[4]).unwrap();
        assert_eq!(accuracy(&floats, &truth).unwrap().value, 1.0);
        let inf = f64::NEG_INFINITY;
        let logits = [
            [3.0, 3.0, 0.0],
            [inf, inf, inf],
            [0.0, 1.0, 2.0],
            [0.0, 9.0, 2.0],
        ]
        .concat();
        let logits = Tensor::from_vec(logits, &[4, 3]).unwrap();
        // A tie goes to the first: right in row 0, wrong in row 1.
        assert_eq!(accuracy(&logits, &truth).unwrap().value, 0.5);
    }

    #[test]
    fn unfit_inputs_are_errors() {
        let message = |p: &Tensor, l: &Tensor| accuracy(p, l).err().unwrap().to_string();
        let truth = labels(&[0, 1]);
        assert_eq!(
            message(&labels(&[0, 1, 1]), &truth),
            "accuracy: expected predictions of shape [2] or [2, k] like the 2 labels, got [3]"
        );
        assert_eq!(
            message(&labels(&[]), &labels(&[])),
            "accuracy: expected labels of shape [n] with at least one, got [0]"
        );
        let logits = Tensor::from_vec(vec![0.0, 1.0, f32::NAN, 0.0], &[2, 2]).unwrap();
        assert_eq!(
            message(&logits, &truth),
            "accuracy: expected logits, got NaN in row 1"
        );
        assert_eq!(
            message(&logits, &labels(&[0, 2])),
            "accuracy: expected labels in 0..2 for 2 logits, got 2 in row 1"
        );
        let half = Tensor::from_vec(vec![0.5f32, 1.0], &[2]).unwrap();
        assert_eq!(
            message(&half, &truth),
            "accuracy: expected whole numbers, got 0.5"
        );
    }

    /// scikit-learn 1.x on labels `7i mod 3` and predictions `(5i + i/4) mod 3`, i in 0..20.
    #[test]
    fn scores_are_those_of_scikit_learn() {
        let truth = labels(&(0..20).map(|i| 7 * i % 3).collect::<Vec<_>>());
        let guess = labels(&(0..20).map(|i| (5 * i + i / 4) % 3).collect::<Vec<_>>());
        let matrix = confusion_matrix(&guess, &truth).unwrap();
        assert_eq!(matrix.dims(), [3, 3]);
        assert_eq!(
            matrix.to_vec().unwrap(),
            [4.0, 2.0, 1.0, 4.0, 1.0, 2.0, 2.0, 2.0, 2.0]
        );
        let wanted = [
            (
                Average::Macro,
                [
                    0.333_333_333_333_333_3,
                    0.349_206_349_206_349_13,
                    0.333_630_421_865_716,
                ],
            ),
            (Average::Micro, [0.35; 3]),
            (Average::Weighted, [0.33, 0.35, 0.332_130_124_777_183_6]),
        ];
        for (average, wanted) in wanted {
            for (score, want) in Score::ALL.iter().zip(wanted) {
                let options = ScoreOptions {
                    average,
                    class: None,
                };
                let got = score.measure(&guess, &truth, &options).unwrap();
                assert!(
                    (got.value - want).abs() < 1e-14,
                    "{} {got} {want}",
                    score.name()
                );
            }
        }
        let one = |class| ScoreOptions {
            class: Some(class),
            ..Default::default()
        };
        assert_eq!(
            Score::Precision
                .measure(&guess, &truth, &one(1))
                .unwrap()
                .value,
            0.2
        );
        let error = Score::Recall
            .measure(&guess, &truth, &one(3))
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "option `class`: class 3 occurs neither among labels nor predictions"
        );
    }

    #[test]
    fn a_share_has_its_error_and_says_how_many() {
        let truth = labels(&[0, 1, 2, 2]);
        let text = accuracy(&labels(&[0, 2, 2, 2]), &truth)
            .unwrap()
            .to_string();
        assert_eq!(text, "0.75 ± 0.22 (n = 4)");
    }

    #[test]
    fn states_are_matched_by_the_best_permutation() {
        let truth = labels(&[0, 0, 1, 1, 2, 2, 2, 0]);
        // Named 2, 0, 1 with one mistake, and a fourth name that takes one more.
        let guess = labels(&[2, 2, 0, 1, 1, 1, 3, 2]);
        let got = state_accuracy(&guess, &truth).unwrap();
        assert_eq!(
            (got.value, got.how.join("").as_str()),
            (0.75, "best permutation of 4 states")
        );
        assert_eq!(state_accuracy(&truth, &truth).unwrap().value, 1.0);
        let negative = state_accuracy(&labels(&[-1]), &labels(&[0])).err().unwrap();
        assert_eq!(
            negative.to_string(),
            "state_accuracy: expected classes from 0, got -1"
        );
        let huge = state_accuracy(&labels(&[i64::MAX]), &labels(&[0])).err();
        assert!(huge.is_some());
    }
}
