//! Standardizing: every column to mean 0 and standard deviation 1, and back.

use rhapsode_tensor::{DType, Tensor, interrupt};

use crate::{Error, Result};

/// Standardized data, and what undoes it.
#[derive(Clone)]
pub struct Standardized {
    /// `(x - mean) / std`, of the shape and dtype of the data `[n, ..]`.
    pub x: Tensor,
    /// Mean of every column, shape `[..]`.
    pub mean: Tensor,
    /// Standard deviation of every column (over n, not n - 1), shape `[..]`; 1 where a column is constant.
    pub std: Tensor,
}

/// Brings every column of `x`, `[n, ..]`, to mean 0 and standard deviation 1.
///
/// A column is one place of the axes after the first. A constant column becomes 0 and comes back exactly.
/// Statistics are computed in f64. Errors: no row, a dtype other than f32 and f64, NaN or infinity.
pub fn standardize(x: &Tensor) -> Result<Standardized> {
    let Some((&rows, columns)) = x.dims().split_first().filter(|(rows, _)| **rows > 0) else {
        return Err(Error::Shape {
            what: "standardize",
            expected: "[n, ..] with at least one row".into(),
            got: x.dims().to_vec(),
        });
    };
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        return Err(rhapsode_tensor::Error::DType {
            op: "standardize",
            expected: "f32 or f64",
            got: x.dtype(),
        }
        .into());
    }
    let width = columns.iter().product();
    let (mean, std) = moments(&x.to_vec()?, rows, width)?;
    let statistic = |values: Vec<f64>| Tensor::from_vec(values, columns)?.to_dtype(x.dtype());
    let mut done = Standardized {
        x: x.clone(),
        mean: statistic(mean)?,
        std: statistic(std)?,
    };
    done.x = done.apply(x)?;
    Ok(done)
}

impl Standardized {
    /// Treats other data of the same columns alike: `(y - mean) / std`.
    pub fn apply(&self, y: &Tensor) -> Result<Tensor> {
        self.check(y)?;
        Ok(y.sub(&self.mean)?.div(&self.std)?)
    }

    /// Back to the units of the data: `y * std + mean`.
    pub fn invert(&self, y: &Tensor) -> Result<Tensor> {
        self.check(y)?;
        Ok(y.mul(&self.std)?.add(&self.mean)?)
    }

    /// Broadcasting would also take shapes that are meant otherwise.
    fn check(&self, y: &Tensor) -> Result<()> {
        let columns = self.mean.dims();
        if y.dims()
            .split_first()
            .is_some_and(|(_, rest)| rest == columns)
        {
            return Ok(());
        }
        Err(Error::Shape {
            what: "standardized data",
            expected: format!("[n, ..] with columns of shape {columns:?}"),
            got: y.dims().to_vec(),
        })
    }
}

/// Means and standard deviations of the columns of a `[rows, width]` matrix, in two passes.
fn moments(x: &[f64], rows: usize, width: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let Some((first, n)) = x.get(..width).filter(|_| width > 0).zip(Some(rows as f64)) else {
        return Ok((Vec::new(), Vec::new()));
    };
    let mut mean = vec![0.0; width];
    let mut constant = vec![true; width];
    for (i, row) in x.chunks_exact(width).enumerate() {
        interrupt_now_and_then(i * width, width)?;
        if let Some(bad) = row.iter().find(|v| !v.is_finite()) {
            let message = format!("expected finite numbers, got {bad} in row {i}");
            return Err(Error::Value {
                what: "standardize",
                message,
            });
        }
        for (((mean, constant), v), first) in mean.iter_mut().zip(&mut constant).zip(row).zip(first)
        {
            *mean += v / n;
            *constant &= v == first;
        }
    }
    // The sum of equal numbers need not be their multiple: a constant column would keep a rest of rounding.
    for ((mean, constant), first) in mean.iter_mut().zip(&constant).zip(first) {
        if *constant {
            *mean = *first;
        }
    }
    let mut square = vec![0.0; width];
    for (i, row) in x.chunks_exact(width).enumerate() {
        interrupt_now_and_then(i * width, width)?;
        for ((square, v), mean) in square.iter_mut().zip(row).zip(&mean) {
            *square += (v - mean) * (v - mean) / n;
        }
    }
    let deviation = |square: f64| if square > 0.0 { square.sqrt() } else { 1.0 };
    Ok((mean, square.into_iter().map(deviation).collect()))
}

/// Asks every million elements.
fn interrupt_now_and_then(done: usize, width: usize) -> Result<()> {
    if done % (1 << 20) < width {
        interrupt::check()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhapsode_tensor::random::Stream;

    fn close(a: &Tensor, b: &[f64], tolerance: f64) {
        let a = a.to_vec().unwrap();
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= tolerance, "{a} {b}");
        }
    }

    #[test]
    fn a_small_case_by_hand() {
        let x = Tensor::from_vec(vec![1f64, 7.0, 3.0, 7.0, 8.0, 7.0], &[3, 2]).unwrap();
        let done = standardize(&x).unwrap();
        let std = (26f64 / 3.0).sqrt();
        close(&done.mean, &[4.0, 7.0], 1e-15);
        close(&done.std, &[std, 1.0], 1e-15);
        close(
            &done.x,
            &[-3.0 / std, 0.0, -1.0 / std, 0.0, 4.0 / std, 0.0],
            1e-15,
        );
        close(&done.invert(&done.x).unwrap(), &x.to_vec().unwrap(), 1e-14);
    }

    #[test]
    fn f32_far_from_zero_keeps_its_deviation() {
        let noise = Stream::new(0, "x")
            .randn(&[5000, 3, 2], DType::F32)
            .unwrap();
        let x = noise.affine(2.0, 3000.0).unwrap();
        let done = standardize(&x).unwrap();
        assert_eq!(
            (done.mean.dims(), done.x.dtype()),
            (&[3, 2][..], DType::F32)
        );
        close(&done.x.mean(&[0]).unwrap(), &[0.0; 6], 1e-3);
        close(&done.x.std(Some(&[0])).unwrap(), &[1.0; 6], 1e-3);
        // One unit in the last place at 3000.
        close(&done.invert(&done.x).unwrap(), &x.to_vec().unwrap(), 5e-4);
        let shifted = done.apply(&x.affine(1.0, 100.0).unwrap()).unwrap();
        close(&shifted.mean(&[0]).unwrap(), &[50.0; 6], 1.5);
    }

    #[test]
    fn constant_columns_become_zero_and_come_back() {
        // 0.1 a thousand times sums to something else than 100.
        let x = Tensor::full(0.1, &[1000, 2], DType::F64).unwrap();
        let done = standardize(&x).unwrap();
        assert!(done.x.to_vec().unwrap().iter().all(|&v| v == 0.0));
        assert!(
            done.invert(&done.x)
                .unwrap()
                .to_vec()
                .unwrap()
                .iter()
                .all(|&v| v == 0.1)
        );
        let one = standardize(&x.narrow(0, 0, 1).unwrap()).unwrap();
        assert_eq!(one.x.to_vec().unwrap(), [0.0, 0.0]);
    }

    #[test]
    fn unfit_data_are_errors() {
        let message = |x: &Tensor| standardize(x).err().unwrap().to_string();
        let x = Tensor::from_vec(vec![1f32, 2.0, f32::NAN, 4.0], &[2, 2]).unwrap();
        assert_eq!(
            message(&x),
            "standardize: expected finite numbers, got NaN in row 1"
        );
        let none = Tensor::zeros(&[0, 3], DType::F32).unwrap();
        assert_eq!(
            message(&none),
            "standardize: expected [n, ..] with at least one row, got [0, 3]"
        );
        let ints = Tensor::zeros(&[2, 3], DType::I64).unwrap();
        assert_eq!(message(&ints), "standardize: expected f32 or f64, got i64");
        let done = standardize(&Tensor::ones(&[4, 3], DType::F32).unwrap()).unwrap();
        let other = Tensor::ones(&[4, 1], DType::F32).unwrap();
        assert_eq!(
            done.apply(&other).err().unwrap().to_string(),
            "standardized data: expected [n, ..] with columns of shape [3], got [4, 1]"
        );
    }
}
