//! Linear combinations `sum_i c_i x_i` in one pass: what an ODE solver does at every stage.

use crate::{Error, Result, Tensor, simd::math::Float, tape::record, tensor::build, with_real};

impl Tensor {
    /// `sum_i c_i x_i` of tensors of one shape and dtype.
    pub fn combine(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
        let Some((_, first)) = terms.first() else {
            return Err(Error::Value {
                op: "combine",
                detail: "needs at least one term".into(),
            });
        };
        if let Some((_, other)) = terms.iter().find(|(_, t)| t.dims() != first.dims()) {
            let detail = format!("shapes {:?} and {:?} differ", first.dims(), other.dims());
            return Err(Error::Shape {
                op: "combine",
                detail,
            });
        }
        if let Some((_, other)) = terms.iter().find(|(_, t)| t.dtype() != first.dtype()) {
            return Err(Error::DType {
                op: "combine",
                expected: first.dtype().as_str(),
                got: other.dtype(),
            });
        }
        let y = with_real!("combine", first.dtype(), T => {
            let flat = terms.iter().map(|(_, t)| t.contiguous()).collect::<Result<Vec<_>>>()?;
            let weights: Vec<T> = terms.iter().map(|(c, _)| T::of(*c)).collect();
            collect_slices::<T, _>(&flat, Vec::new(), &mut |slices| {
                build::<T>(first.dims(), 64, |start, y| {
                    let pieces: Vec<&[T]> = slices.iter().map(|s| &s[start..start + y.len()]).collect();
                    weighted_sum(&weights, &pieces, y);
                })
            })?
        })?;
        let weights: Vec<f64> = terms.iter().map(|(c, _)| *c).collect();
        let inputs: Vec<&Tensor> = terms.iter().map(|(_, t)| *t).collect();
        record("combine", y, &inputs, move |ctx, g| {
            let part = |(i, c): (usize, &f64)| ctx.needs(i).then(|| g.affine(*c, 0.0)).transpose();
            weights.iter().enumerate().map(part).collect()
        })
    }
}

/// The root mean square of `v` in units of `atol + rtol max(|x|, |y|)`, element by element, in f64: at most 1
/// means that an error `v` of the step from `x` to `y` keeps the tolerances. Of no elements it is 0.
pub fn scaled_rms(v: &Tensor, x: &Tensor, y: &Tensor, atol: f64, rtol: f64) -> Result<f64> {
    if let Some(other) = [x, y].into_iter().find(|t| t.dims() != v.dims()) {
        let detail = format!("shapes {:?} and {:?} differ", v.dims(), other.dims());
        return Err(Error::Shape {
            op: "scaled_rms",
            detail,
        });
    }
    let total = with_real!("scaled_rms", v.dtype(), T => {
        let flat = [v, x, y].map(|t| t.contiguous());
        let flat = flat.into_iter().collect::<Result<Vec<_>>>()?;
        collect_slices::<T, _>(&flat, Vec::new(), &mut |slices| match slices {
            [v, x, y] => scaled_squares(v, x, y, atol, rtol),
            _ => f64::NAN,
        })
    })?;
    Ok((total / v.len().max(1) as f64).sqrt())
}

/// Calls `f` with the slices of all tensors.
fn collect_slices<T: crate::Real, R>(
    tensors: &[Tensor],
    slices: Vec<&[T]>,
    f: &mut dyn FnMut(&[&[T]]) -> R,
) -> Result<R> {
    match tensors.split_first() {
        None => Ok(f(&slices)),
        Some((first, rest)) => first.with_slice::<T, _>("combine", |x| {
            let mut slices = slices.clone();
            slices.push(x);
            collect_slices(rest, slices, f)
        })?,
    }
}

crate::simd! {
    fn weighted_sum<T: Float>(weights: &[T], x: &[&[T]], y: &mut [T]) {
        // Blocks stay in the first-level cache while the terms are added to them.
        for start in (0..y.len()).step_by(1024) {
            let end = (start + 1024).min(y.len());
            let y = &mut y[start..end];
            y.fill(T::ZERO);
            for (w, x) in weights.iter().zip(x) {
                for (x, y) in x[start..end].iter().zip(y.iter_mut()) { *y = w.fma(*x, *y) }
            }
        }
    }
}

crate::simd! {
    fn scaled_squares<T: Float>(v: &[T], x: &[T], y: &[T], atol: f64, rtol: f64) -> f64 {
        // Eight sums side by side, so that the compiler fills vectors with them.
        let mut sums = [0f64; 8];
        let square = |v: T, x: T, y: T| {
            let e = v.to_f64() / (atol + rtol * x.to_f64().abs().max(y.to_f64().abs()));
            e * e
        };
        let done = v.len() / 8 * 8;
        for ((v, x), y) in v.chunks_exact(8).zip(x.chunks_exact(8)).zip(y.chunks_exact(8)) {
            for (((sum, v), x), y) in sums.iter_mut().zip(v).zip(x).zip(y) { *sum += square(*v, *x, *y) }
        }
        for ((v, x), y) in v[done..].iter().zip(&x[done..]).zip(&y[done..]) { sums[0] += square(*v, *x, *y) }
        sums.iter().sum()
    }
}
