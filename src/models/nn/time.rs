//! Features of time, so that a network can change quickly with it.

use rhapsode_tensor::{Real, Tensor, memory, pool, simd::math::Float, tape, with_real};

use crate::{Error, Result};

/// `t, sin(pi k t), cos(pi k t)` for `k = 1..=n`: `1 + 2 n` numbers for each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeFeatures {
    /// Number of frequencies.
    pub frequencies: usize,
}

impl TimeFeatures {
    /// How many numbers stand for one time.
    pub fn size(self) -> usize {
        self.frequencies.saturating_mul(2).saturating_add(1)
    }

    /// Features of times `t: [n]`, shape `[n, size]`.
    pub fn of(self, t: &Tensor) -> Result<Tensor> {
        time_features(t, self.frequencies)
    }
}

/// `t, sin(pi k t), cos(pi k t)` for `k = 1..=frequencies`, from times `[n]` to `[n, 1 + 2 frequencies]`.
///
/// Differentiable in `t`. Where no gradient is asked for, one pass fills the result by the
/// recurrence of the Chebyshev polynomials: two functions a time instead of two a frequency.
pub fn time_features(t: &Tensor, frequencies: usize) -> Result<Tensor> {
    if t.rank() != 1 {
        return Err(Error::Shape {
            what: "time",
            expected: "[n]".into(),
            got: t.dims().to_vec(),
        });
    }
    if t.is_tracked() && tape::is_recording() {
        return composed(t, frequencies);
    }
    let (n, width) = (t.len(), TimeFeatures { frequencies }.size());
    memory::ensure(
        memory::count("time features", &[n, width])?,
        size_of::<f64>(),
    )?;
    let data = with_real!("time features", t.dtype(), T => {
        t.with_slice::<T, _>("time features", |times| {
            let mut out = vec![T::ZERO; n * width];
            pool::for_each_costly_piece(&mut out, width, 4, |start, rows| {
                fill(&times[start / width..], frequencies, rows);
            });
            Tensor::from_vec(out, &[n, width])
        })?
    })?;
    Ok(data.to_dtype(t.dtype())?)
}

/// Rows of features of times, computed in f64.
fn fill<T: Real>(times: &[T], frequencies: usize, rows: &mut [T]) {
    let width = TimeFeatures { frequencies }.size();
    let mut last = None;
    let mut row = vec![T::ZERO; width];
    for (out, &time) in rows.chunks_exact_mut(width).zip(times) {
        // A whole batch at one time, as when samples are drawn, is one row.
        if last != Some(time) {
            last = Some(time);
            row[0] = time;
            let (s1, c1) = (std::f64::consts::PI * Float::to_f64(time)).sin_cos();
            let (mut s, mut c) = (s1, c1);
            for pair in row[1..].chunks_exact_mut(2) {
                pair.copy_from_slice(&[T::of(s), T::of(c)]);
                (s, c) = (s * c1 + c * s1, c * c1 - s * s1);
            }
        }
        out.copy_from_slice(&row);
    }
}

fn composed(t: &Tensor, frequencies: usize) -> Result<Tensor> {
    let mut columns = vec![t.clone()];
    for k in 1..=frequencies {
        let angle = t.affine(std::f64::consts::PI * k as f64, 0.0)?;
        columns.extend([angle.sin()?, angle.cos()?]);
    }
    Ok(Tensor::stack(&columns.iter().collect::<Vec<_>>(), 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_form_equals_the_composition() {
        let t = Tensor::from_vec(vec![0.0, 0.1, 0.5, 0.977, 1.0], &[5]).unwrap();
        let fast = time_features(&t, 9).unwrap().to_vec().unwrap();
        let slow = composed(&t, 9).unwrap().to_vec().unwrap();
        assert!(fast.iter().zip(&slow).all(|(a, b)| (a - b).abs() < 1e-13));
    }
}
