//! A measured number that says how it was measured.

use std::fmt;

/// A number and how it came about: `0.0123 ± 0.0011 (n = 500, m = 400; 256 directions)`.
///
/// ```
/// # use rhapsode_models::metric::Measure;
/// let m = Measure::new(0.5, 200).and(150).with_error(0.03).how("unbiased");
/// assert_eq!(m.to_string(), "0.5 ± 0.03 (n = 200, m = 150; unbiased)");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// The number.
    pub value: f64,
    /// Its standard error, where it is an estimate whose error can be told.
    pub std_error: Option<f64>,
    /// Points of the first sample, or items that were scored.
    pub n: usize,
    /// Points of the second sample, where there are two.
    pub m: Option<usize>,
    /// Whatever else one must know to measure it again, e.g. `256 directions`.
    pub how: Vec<String>,
}

impl Measure {
    /// A number measured on `n` items.
    pub fn new(value: f64, n: usize) -> Self {
        Self {
            value,
            std_error: None,
            n,
            m: None,
            how: Vec::new(),
        }
    }

    /// The size of the second sample.
    #[must_use]
    pub fn and(mut self, m: usize) -> Self {
        self.m = Some(m);
        self
    }

    /// The standard error.
    #[must_use]
    pub fn with_error(mut self, std_error: f64) -> Self {
        self.std_error = Some(std_error);
        self
    }

    /// Says more on how it was measured.
    #[must_use]
    pub fn how(mut self, words: impl Into<String>) -> Self {
        self.how.push(words.into());
        self
    }
}

impl From<Measure> for f64 {
    fn from(measure: Measure) -> Self {
        measure.value
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&significant(self.value, 6))?;
        if let Some(error) = self.std_error {
            write!(f, " ± {}", significant(error, 2))?;
        }
        write!(f, " (n = {}", self.n)?;
        if let Some(m) = self.m {
            write!(f, ", m = {m}")?;
        }
        if !self.how.is_empty() {
            write!(f, "; {}", self.how.join(", "))?;
        }
        f.write_str(")")
    }
}

/// A number with so many significant digits, as a script would write it.
pub(super) fn significant(x: f64, digits: i32) -> String {
    if x == 0.0 || !x.is_finite() {
        return format!("{x:?}");
    }
    let exponent = x.abs().log10().floor();
    if !(-5.0..15.0).contains(&exponent) {
        return format!("{x:.*e}", usize::try_from(digits - 1).unwrap_or(0));
    }
    let decimals = usize::try_from(digits - 1 - exponent as i32).unwrap_or(0);
    let text = format!("{x:.decimals$}");
    if !text.contains('.') {
        return format!("{text}.0");
    }
    let text = text.trim_end_matches('0');
    if text.ends_with('.') {
        format!("{text}0")
    } else {
        text.to_string()
    }
}

/// The mean of some numbers and its standard error `sqrt(sum (v - mean)^2 / (n (n - 1)))`, none for one number.
pub(super) fn mean_and_error(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (
        mean,
        (values.len() > 1).then(|| (variance(values) / n).sqrt()),
    )
}

/// The variance over n - 1 of at least two numbers.
pub(super) fn variance(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_keep_their_digits() {
        for (x, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.123_456_789, "0.123457"),
            (-12.5, "-12.5"),
            (123_456_789.0, "123456789.0"),
            (0.000_012_345_678, "0.0000123457"),
            (1.5e-9, "1.50000e-9"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(significant(x, 6), text);
        }
        assert_eq!(significant(0.01234, 2), "0.012");
    }

    #[test]
    fn the_error_of_a_mean() {
        let (mean, error) = mean_and_error(&[1.0, 2.0, 3.0, 6.0]);
        // Variance 14/3 over n - 1, divided by 4.
        assert_eq!(mean, 3.0);
        assert!((error.unwrap() - (14.0f64 / 12.0).sqrt()).abs() < 1e-15);
        assert_eq!(mean_and_error(&[2.0]), (2.0, None));
    }
}
