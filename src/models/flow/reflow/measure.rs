//! How straight a flow is, and what belongs to looking at its pairs.

use rhapsode_tensor::{DType, Tensor};

use crate::{Error, Result};

/// Straightness of trajectories `[steps + 1, n, ..]` of equal steps: the mean over steps and elements of `(N (x_{i+1} - x_i) - (x_N - x_0))^2`,
/// for each of the n; 0 for straight paths of constant speed.
///
/// A model whose samples have collapsed can be straight: look at the samples too.
pub fn straightness(trajectory: &Tensor) -> Result<Tensor> {
    let wrong = || Error::Shape {
        what: "trajectory",
        expected: "[steps + 1, n, ..] with at least one step".into(),
        got: trajectory.dims().to_vec(),
    };
    let (&states, &n) = match trajectory.dims() {
        [states, n, ..] if *states > 1 => (states, n),
        _ => return Err(wrong()),
    };
    let steps = states - 1;
    let x = trajectory.to_dtype(DType::F64)?.reshape(&[
        states,
        n,
        trajectory.len() / (states * n).max(1),
    ])?;
    let chord = x.narrow(0, steps, 1)?.sub(&x.narrow(0, 0, 1)?)?;
    let slopes = x
        .narrow(0, 1, steps)?
        .sub(&x.narrow(0, 0, steps)?)?
        .affine(steps as f64, 0.0)?;
    Ok(slopes.sub(&chord)?.sqr()?.mean(&[0, 2])?)
}

/// Spherical interpolation of vectors of one shape: along the arc between their directions, magnitudes not normalised.
pub fn slerp(from: &Tensor, to: &Tensor, weight: f64) -> Result<Tensor> {
    if from.dims() != to.dims() {
        return Err(Error::Shape {
            what: "slerp",
            expected: format!("the shape of the first, {:?}", from.dims()),
            got: to.dims().to_vec(),
        });
    }
    let (a, b) = (from.to_vec()?, to.to_vec()?);
    let dot: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let angle = (dot / (norm(&a) * norm(&b))).clamp(-1.0, 1.0).acos();
    // Vectors of one direction, or nothing: a straight line is the limit.
    if angle.is_nan() || angle.sin().abs() <= 1e-7 {
        return Ok(Tensor::combine(&[(1.0 - weight, from), (weight, to)])?);
    }
    let share = |w: f64| (w * angle).sin() / angle.sin();
    Ok(Tensor::combine(&[
        (share(1.0 - weight), from),
        (share(weight), to),
    ])?)
}

/// Whether lines between pairs of noise and data can cross.
///
/// Those of two pairs meet at `t` only if the second's noise is `z + t / (1 - t) (x' - x'')`. For each pair and the next the squared norm of that vector at the
/// middle over the dimension, which is near 1 for a noise that occurs, and its correlation of neighbouring elements, near 0.
pub fn crossings(noise: &Tensor, data: &Tensor) -> Result<(Tensor, Tensor)> {
    let (n, d) = match noise.dims() {
        &[n, d] if n > 1 && d > 1 && data.dims() == noise.dims() => (n, d),
        _ => {
            return Err(Error::Shape {
                what: "crossings",
                expected: "noise and data [n, d] of one shape with n and d above 1".into(),
                got: data.dims().to_vec(),
            });
        }
    };
    let (noise, data) = (noise.to_dtype(DType::F64)?, data.to_dtype(DType::F64)?);
    let next = data.roll(-1, 0)?;
    let needed = noise.add(&data.sub(&next)?)?;
    let norms = needed.sqr()?.sum(&[1])?.affine(1.0 / d as f64, 0.0)?;
    let (left, right) = (needed.narrow(1, 0, d - 1)?, needed.narrow(1, 1, d - 1)?);
    let products = left
        .mul(&right)?
        .sum(&[1])?
        .affine(1.0 / (d - 1) as f64, 0.0)?;
    let lag = products.div(&norms)?.reshape(&[n])?;
    Ok((norms, lag))
}
