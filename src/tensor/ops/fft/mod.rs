//! Discrete Fourier transforms along an axis.
//!
//! There is no complex dtype: complex numbers are a last axis of size 2, `[.., 2]` = (real, imaginary), as
//! `torch.view_as_real`. Axes of a transform are counted without it: of complex numbers `[b, n, 2]`, axis 1 and -1 are `n`.
//!
//! ```text
//! fft:  y_k = sum_j x_j e^(-2 pi i j k / n)        ifft:  x_j = 1/n sum_k y_k e^(2 pi i j k / n)
//! ```
//!
//! (PyTorch's norm "backward".) `rfft` gives the `n/2 + 1` values that determine those of real numbers, `irfft` undoes it.
//! Each transform without its factor is linear and its transpose is the other direction, which is its gradient.

pub(super) mod complex;
pub(super) mod cpu;

use super::{ANY, Op};
use crate::{Error, Result, Tensor, tape::record, with_real};

/// Sizes beyond this would overflow in plans.
const LARGEST: usize = 1 << 32;

impl Tensor {
    /// The transform of complex numbers `[.., n, .., 2]` along an axis; `n` other than the size cuts or pads with zeros first.
    pub fn fft(&self, axis: i64, n: Option<usize>) -> Result<Tensor> {
        let (x, axis) = self.complex_axis("fft", axis, n)?;
        along(&x, axis, |x| dft("fft", x, false))
    }

    /// The inverse of [`Tensor::fft`].
    pub fn ifft(&self, axis: i64, n: Option<usize>) -> Result<Tensor> {
        let (x, axis) = self.complex_axis("ifft", axis, n)?;
        let size = x.dims()[axis] as f64;
        along(&x, axis, |x| dft("ifft", x, true)?.affine(1.0 / size, 0.0))
    }

    /// The transform of real numbers `[.., n, ..]` along an axis: `[.., n/2 + 1, .., 2]`.
    pub fn rfft(&self, axis: i64, n: Option<usize>) -> Result<Tensor> {
        let op = "rfft";
        complex::precise(op, self)?;
        let axis = self.axis(op, axis)?;
        let x = self.resized(op, axis, n)?;
        let y = real_to_complex(op, &x.move_last(axis)?)?;
        // [.., n/2 + 1, 2]: the places go back to their axis.
        put_back(&y, axis)
    }

    /// The real numbers `[.., n, ..]` whose [`Tensor::rfft`] is `[.., n/2 + 1, .., 2]`; imaginary parts that cannot be
    /// (of the first, and of the last for even `n`) are ignored. `n`: twice the size less 2 by default.
    pub fn irfft(&self, axis: i64, n: Option<usize>) -> Result<Tensor> {
        let op = "irfft";
        let (x, axis) = self.complex_axis(op, axis, None)?;
        let size = x.dims()[axis];
        let n = n.unwrap_or(2 * size.saturating_sub(1));
        if n == 0 || n > LARGEST {
            let detail = format!(
                "the size of the result must be at least 1, got {n} from shape {:?}",
                self.dims()
            );
            return Err(Error::Value { op, detail });
        }
        let x = x.resized(op, axis, Some(n / 2 + 1))?;
        let y = complex_to_real(op, &take_out(&x, axis)?, n)?.affine(1.0 / n as f64, 0.0)?;
        y.move_last_to(axis)
    }

    /// Complex numbers whose axis exists and is not empty, cut or padded to `n`, and that axis.
    fn complex_axis(
        &self,
        op: &'static str,
        axis: i64,
        n: Option<usize>,
    ) -> Result<(Tensor, usize)> {
        complex::check(op, self)?;
        let rank = self.rank() as i64 - 1;
        let at = if axis < 0 { axis + rank } else { axis };
        if !(0..rank).contains(&at) {
            let shape = self.dims()[..self.rank() - 1].to_vec();
            return Err(Error::Axis { op, axis, shape });
        }
        Ok((self.resized(op, at as usize, n)?, at as usize))
    }

    fn resized(&self, op: &'static str, axis: usize, n: Option<usize>) -> Result<Tensor> {
        let size = self.dims()[axis];
        let n = n.unwrap_or(size);
        if n == 0 || n > LARGEST {
            let detail = format!(
                "axis {axis} of shape {:?} must have a size of at least 1, got {n}",
                self.dims()
            );
            return Err(Error::Shape { op, detail });
        }
        match n.checked_sub(size) {
            Some(0) => Ok(self.clone()),
            Some(more) => self.pad(axis as i64, 0, more),
            None => self.narrow(axis as i64, 0, n),
        }
    }
}

/// `[.., n, .., 2]` with the axis moved before the last one.
fn take_out(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = x.rank() - 1;
    if axis + 1 == last {
        return Ok(x.clone());
    }
    let order: Vec<i64> = (0..last)
        .filter(|&i| i != axis)
        .chain([axis, last])
        .map(|i| i as i64)
        .collect();
    x.permute(&order)
}

/// The inverse of [`take_out`].
fn put_back(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = x.rank() - 1;
    if axis + 1 == last {
        return Ok(x.clone());
    }
    let mut order: Vec<i64> = (0..last as i64 - 1).collect();
    order.insert(axis, last as i64 - 1);
    order.push(last as i64);
    x.permute(&order)
}

fn along(x: &Tensor, axis: usize, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    put_back(&f(&take_out(x, axis)?)?, axis)
}

/// `sum_j x_j e^(-+ 2 pi i j k / n)` of `[.., n, 2]`; its transpose is the other direction.
fn dft(op: &'static str, x: &Tensor, inverse: bool) -> Result<Tensor> {
    let y = with_real!(op, x.dtype(), T => cpu::dft::<T>(op, &x.data, inverse))?;
    record(op, y, &[x], move |_, g| {
        Ok(vec![Some(dft(op, g, !inverse)?)])
    })
}

/// The first half of the transform of real numbers, `[.., n]` to `[.., n/2 + 1, 2]`.
fn real_to_complex(op: &'static str, x: &Tensor) -> Result<Tensor> {
    let y = with_real!(op, x.dtype(), T => cpu::real_to_complex::<T>(op, &x.data))?;
    let n = x.dims().last().copied().unwrap_or(1);
    record(op, y, &[x], move |_, g| {
        // The other direction counts what stands twice in the whole spectrum twice; here it stands once.
        let g = g.mul(&counts(n, g, 0.5)?)?;
        Ok(vec![Some(complex_to_real(op, &g, n)?)])
    })
}

/// `sum_k y_k e^(2 pi i j k / n)` over the whole spectrum that `[.., n/2 + 1, 2]` stands for: `[.., n]`.
fn complex_to_real(op: &'static str, y: &Tensor, n: usize) -> Result<Tensor> {
    let x = with_real!(op, y.dtype(), T => cpu::complex_to_real::<T>(op, &y.data, n))?;
    record(op, x, &[y], move |_, g| {
        let g = real_to_complex(op, g)?;
        Ok(vec![Some(g.mul(&counts(n, &g, 2.0)?)?)])
    })
}

/// `[n/2 + 1, 1]`: 1 where a value of the half spectrum stands once in the whole, `else_` where twice.
fn counts(n: usize, like: &Tensor, else_: f64) -> Result<Tensor> {
    let once = |k: usize| k == 0 || 2 * k == n;
    let values: Vec<f64> = (0..=n / 2)
        .map(|k| if once(k) { 1.0 } else { else_ })
        .collect();
    Tensor::from_vec(values, &[n / 2 + 1, 1])?.to_dtype(like.dtype())
}

/// What the contract holds.
pub(super) const FFT: Op = Op {
    name: "fft",
    apply: |x| x[0].fft(0, None),
    shapes: &[&[&[5, 2]], &[&[8, 3, 2]], &[&[1, 2]], &[&[4, 0, 2]]],
    domain: ANY,
};
/// See [`FFT`].
pub(super) const IFFT: Op = Op {
    name: "ifft",
    apply: |x| x[0].ifft(-1, Some(6)),
    shapes: &[&[&[5, 2]], &[&[2, 8, 2]]],
    domain: ANY,
};
/// See [`FFT`].
pub(super) const RFFT: Op = Op {
    name: "rfft",
    apply: |x| x[0].rfft(0, None),
    shapes: &[&[&[7]], &[&[8, 3]], &[&[1, 2]], &[&[67]]],
    domain: ANY,
};
/// See [`FFT`].
pub(super) const IRFFT: Op = Op {
    name: "irfft",
    apply: |x| x[0].irfft(-1, None),
    shapes: &[&[&[4, 2]], &[&[2, 5, 2]], &[&[34, 2]]],
    domain: ANY,
};
/// See [`FFT`].
pub(super) const IRFFT_ODD: Op = Op {
    name: "irfft to an odd size",
    apply: |x| x[0].irfft(0, Some(7)),
    shapes: &[&[&[4, 2]], &[&[4, 3, 2]], &[&[6, 2]]],
    domain: ANY,
};
/// See [`FFT`].
pub(super) const COMPLEX_MUL: Op = Op {
    name: "complex_mul",
    apply: |x| x[0].complex_mul(&x[1]),
    shapes: &[
        &[&[3, 2], &[3, 2]],
        &[&[4, 3, 2], &[3, 2]],
        &[&[0, 2], &[2]],
    ],
    domain: ANY,
};
/// See [`FFT`].
pub(super) const COMPLEX_DIV: Op = Op {
    name: "complex_div",
    apply: |x| x[0].complex_div(&x[1]),
    shapes: &[&[&[3, 2], &[3, 2]], &[&[4, 3, 2], &[3, 2]]],
    domain: super::POSITIVE,
};
/// See [`FFT`].
pub(super) const COMPLEX_EXP: Op = Op {
    name: "complex_exp",
    apply: |x| x[0].complex_exp(),
    shapes: &[&[&[3, 2]], &[&[2, 33, 2]]],
    domain: ANY,
};
/// See [`FFT`].
pub(super) const COMPLEX_ABS: Op = Op {
    name: "complex_abs",
    apply: |x| x[0].complex_abs(),
    shapes: &[&[&[3, 2]], &[&[2, 33, 2]]],
    domain: super::POSITIVE,
};
/// See [`FFT`].
pub(super) const CONJ: Op = Op {
    name: "conj",
    apply: |x| x[0].conj(),
    shapes: &[&[&[3, 2]], &[&[2, 33, 2]]],
    domain: ANY,
};
