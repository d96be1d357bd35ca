//! Scores of predicted numbers: errors and correlations, over all elements of two tensors of one shape.

use rhapsode_tensor::{DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Measure,
    classify::{shape, value},
    measure::mean_and_error,
    probability::ranks,
};
use crate::Result;

/// Which correlation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CorrelationKind {
    /// Of the values: 1 where they lie on a rising line.
    #[default]
    Pearson,
    /// Of the ranks: 1 where one rises with the other.
    Spearman,
}

/// Options of the correlation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CorrelationOptions {
    /// Which one. Default: `"pearson"`.
    pub kind: CorrelationKind,
}

/// The root of the mean squared difference, with its standard error (of the mean, carried through the root).
pub fn rmse(predictions: &Tensor, targets: &Tensor) -> Result<Measure> {
    let (a, b) = pair("rmse", predictions, targets)?;
    let squares: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).collect();
    let (mean, error) = mean_and_error(&squares);
    let error = error
        .filter(|_| mean > 0.0)
        .map(|e| e / (2.0 * mean.sqrt()));
    Ok(measured(mean.sqrt(), error, a.len()))
}

/// The mean absolute difference, with its standard error.
pub fn mae(predictions: &Tensor, targets: &Tensor) -> Result<Measure> {
    let (a, b) = pair("mae", predictions, targets)?;
    let gaps: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).collect();
    let (mean, error) = mean_and_error(&gaps);
    Ok(measured(mean, error, a.len()))
}

/// The coefficient of determination, `1 - sum (target - prediction)^2 / sum (target - mean)^2`: 1 is perfect,
/// 0 as good as the mean. Errors: targets that are all equal.
pub fn r2(predictions: &Tensor, targets: &Tensor) -> Result<Measure> {
    let (a, b) = pair("r2", predictions, targets)?;
    let mean = b.iter().sum::<f64>() / b.len() as f64;
    let total: f64 = b.iter().map(|b| (b - mean) * (b - mean)).sum();
    let left: f64 = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum();
    if total == 0.0 {
        return Err(value(
            "r2",
            "expected targets that differ, got equal ones".into(),
        ));
    }
    Ok(Measure::new(1.0 - left / total, a.len()))
}

/// The correlation of two tensors' elements, in [-1, 1], with the standard error `(1 - r^2) / sqrt(n - 1)`.
/// Errors: fewer than 2 elements, elements that are all equal.
pub fn correlation(x: &Tensor, y: &Tensor, options: &CorrelationOptions) -> Result<Measure> {
    let (mut a, mut b) = pair("correlation", x, y)?;
    let n = a.len();
    let name = match options.kind {
        CorrelationKind::Pearson => "pearson",
        CorrelationKind::Spearman => "spearman",
    };
    if options.kind == CorrelationKind::Spearman {
        (a, b) = (ranks(&a), ranks(&b));
    }
    // Centred and of largest size 1, so that no square overflows; the sum of the squares.
    let normalize = |v: &mut [f64]| -> f64 {
        let mean = v.iter().sum::<f64>() / n as f64;
        let largest = v.iter().fold(0.0, |a: f64, b| a.max((b - mean).abs()));
        if largest > 0.0 {
            v.iter_mut().for_each(|v| *v = (*v - mean) / largest);
        } else {
            v.fill(0.0);
        }
        v.iter().map(|v| v * v).sum()
    };
    let scale = (normalize(&mut a) * normalize(&mut b)).sqrt();
    if n < 2 || scale == 0.0 {
        let message = format!(
            "expected elements that differ in both tensors, got {n} of which one's are equal"
        );
        return Err(value("correlation", message));
    }
    let product: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
    let r = (product / scale).clamp(-1.0, 1.0);
    let error = (1.0 - r * r) / (n as f64 - 1.0).sqrt();
    Ok(measured(r, Some(error), n).how(name))
}

fn measured(value: f64, error: Option<f64>, n: usize) -> Measure {
    let measure = Measure::new(value, n);
    match error {
        Some(error) => measure.with_error(error),
        None => measure,
    }
}

/// The elements of two tensors of one shape, finite, at least one.
fn pair(metric: &'static str, x: &Tensor, y: &Tensor) -> Result<(Vec<f64>, Vec<f64>)> {
    if x.dims() != y.dims() || x.is_empty() {
        let expected = format!("a second tensor of shape {:?} like the first", x.dims());
        return Err(shape(metric, &expected, y));
    }
    let read = |t: &Tensor, name: &str| {
        let values = t.to_dtype(DType::F64)?.to_vec()?;
        match values.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(value(
                metric,
                format!(
                    "expected finite numbers, got NaN or infinity at element {at} of the {name}"
                ),
            )),
            None => Ok(values),
        }
    };
    Ok((read(x, "first")?, read(y, "second")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: impl Iterator<Item = f64>) -> Tensor {
        let values: Vec<f64> = values.collect();
        let n = values.len();
        Tensor::from_vec(values, &[n]).unwrap()
    }

    /// scikit-learn 1.x and scipy, float64, on `(21 i mod 19) / 19` and `sin i`, i in 0..20.
    #[test]
    fn values_are_those_of_scikit_learn_and_scipy() {
        let a = tensor((0..20).map(|i| f64::from(i * 21 % 19) / 19.0));
        let b = tensor((0..20).map(|i| f64::from(i).sin()));
        let close =
            |got: Measure, want: f64| assert!((got.value - want).abs() < 1e-12, "{got} {want}");
        close(r2(&b, &a).unwrap(), -7.454_414_691_599_014);
        close(rmse(&a, &b).unwrap(), 0.870_379_258_304_505_6);
        close(mae(&a, &b).unwrap(), 0.682_948_041_533_141);
        let of = |kind| correlation(&a, &b, &CorrelationOptions { kind }).unwrap();
        close(of(CorrelationKind::Pearson), 0.009_447_526_267_415_199);
        close(of(CorrelationKind::Spearman), 0.021_060_550_567_972_566);
    }

    #[test]
    fn unfit_inputs_are_errors() {
        let message = |r: Result<Measure>| r.err().unwrap().to_string();
        let (a, b) = (
            tensor([1.0, 1.0].into_iter()),
            tensor([0.0, 2.0].into_iter()),
        );
        assert_eq!(
            message(r2(&b, &a)),
            "r2: expected targets that differ, got equal ones"
        );
        assert!(
            message(correlation(&a, &b, &CorrelationOptions::default()))
                .contains("expected elements that differ")
        );
        assert_eq!(
            message(rmse(&a, &tensor([1.0].into_iter()))),
            "rmse: expected a second tensor of shape [2] like the first, got [1]"
        );
        let nan = tensor([f64::NAN, 0.0].into_iter());
        assert!(message(mae(&a, &nan)).contains("at element 0 of the second"));
    }
}
