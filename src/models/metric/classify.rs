//! Scores of a classifier.

use rhapsode_tensor::{DType, Tensor};

use crate::{Error, Result};

/// The share of predictions that are right, in [0, 1].
///
/// `predictions` are classes `[n]` (whole numbers) or logits `[n, k]`, whose largest counts (the first of
/// equals); `labels` are classes `[n]`. Errors: shapes that do not fit, nothing to score, NaN among logits,
/// numbers that are no classes, labels outside of `0..k`.
///
/// ```
/// # use rhapsode_models::metric::accuracy;
/// # use rhapsode_tensor::Tensor;
/// let logits = Tensor::from_vec(vec![0.1f32, 0.9, 2.0, -1.0, 0.0, 0.5], &[3, 2])?;
/// let labels = Tensor::from_vec(vec![1i64, 0, 0], &[3])?;
/// assert_eq!(accuracy(&logits, &labels)?, 2.0 / 3.0);
/// # Ok::<(), rhapsode_models::Error>(())
/// ```
pub fn accuracy(predictions: &Tensor, labels: &Tensor) -> Result<f64> {
    let n = match *labels.dims() {
        [n] if n > 0 => n,
        _ => return Err(shape("labels of shape [n] with at least one", labels)),
    };
    let labels = labels.to_ints("accuracy")?;
    let classes = match *predictions.dims() {
        [m] if m == n => predictions.to_ints("accuracy")?,
        [m, k] if m == n && k > 0 => {
            check_labels(&labels, k)?;
            largest(predictions, k)?
        }
        _ => {
            let expected = format!("predictions of shape [{n}] or [{n}, k] like the {n} labels");
            return Err(shape(&expected, predictions));
        }
    };
    let right = classes.iter().zip(&labels).filter(|(a, b)| a == b).count();
    Ok(right as f64 / n as f64)
}

/// Which of the `k` logits of each row is the largest.
fn largest(logits: &Tensor, k: usize) -> Result<Vec<i64>> {
    let values = logits.to_dtype(DType::F64)?.to_vec()?;
    let mut classes = Vec::with_capacity(values.len() / k);
    for (row, logits) in values.chunks_exact(k).enumerate() {
        if logits.iter().any(|v| v.is_nan()) {
            return Err(value(format!("expected logits, got NaN in row {row}")));
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
fn check_labels(labels: &[i64], k: usize) -> Result<()> {
    let known = |label: i64| usize::try_from(label).is_ok_and(|label| label < k);
    match labels.iter().enumerate().find(|(_, label)| !known(**label)) {
        Some((row, label)) => Err(value(format!(
            "expected labels in 0..{k} for {k} logits, got {label} in row {row}"
        ))),
        None => Ok(()),
    }
}

fn value(message: String) -> Error {
    Error::Value {
        what: "accuracy",
        message,
    }
}

fn shape(expected: &str, got: &Tensor) -> Error {
    Error::Shape {
        what: "accuracy",
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
        assert_eq!(accuracy(&labels(&[0, 2, 2, 2]), &truth).unwrap(), 0.75);
        let floats = Tensor::from_vec(vec![0f32, 1.0, 2.0, 2.0], &[4]).unwrap();
        assert_eq!(accuracy(&floats, &truth).unwrap(), 1.0);
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
        assert_eq!(accuracy(&logits, &truth).unwrap(), 0.5);
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
}
