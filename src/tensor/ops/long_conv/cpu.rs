//! Long convolutions by right-angle transforms.
//!
//! A product of two polynomials of degree below `n`, taken modulo `x^n - i`, is `low + i high`: for real sequences its real part is
//! the causal convolution, nothing wraps around, and no zeros are transformed. The points with `x^n = i` are a
//! Fourier transform of the sequence turned by `w_t = e^(i pi t / 2 n)`:
//!
//! ```text
//! F u = FFT(w u)        y = Re(conj(w) IFFT(F k o F u)) + d u
//! du = Re(conj(w) IFFT(conj(F k) o F g)) + d g
//! dk = Re(conj(w) IFFT(sum_b conj(F u_b) o F g_b))        dd = sum g u
//! ```
//!
//! One complex transform of size `n >= L` for each row, in any number, where two real rows packed in one of size `2 L` want pairs and twice
//! the memory in cache. A channel is one task: its kernel's spectrum stays in cache over the batch.

use std::sync::Arc;

use candle_core::{Device, Tensor as Data};
use rustfft::{Fft, num_complex::Complex};

use super::{OP, Sizes};
use crate::{
    Result, Tensor, memory,
    ops::fft::cpu::{Number, plan_both},
    pool::{self, Ptr},
    simd::{kernels, math::Float},
    tape::Grads,
    tensor::{buffer, with_slices},
};

/// Complex numbers of spectra below which a second thread is not worth waking.
const SMALL: usize = 1 << 12;

/// Spectra that the backward pass takes: `F k: [H, n]` and `F u: [H, B, n]`.
pub(super) struct Spectra<T> {
    kernels: Vec<Complex<T>>,
    inputs: Vec<Complex<T>>,
}

/// The transforms of one size.
struct Plan<T: Number> {
    n: usize,
    /// `w_t = e^(i pi t / 2 n)`.
    turn: Vec<Complex<T>>,
    forward: Arc<dyn Fft<T>>,
    inverse: Arc<dyn Fft<T>>,
}

/// What a thread works in.
struct Scratch<T> {
    fft: Vec<Complex<T>>,
    kernel: Vec<Complex<T>>,
    row: Vec<Complex<T>>,
    product: Vec<Complex<T>>,
}

/// The smallest size from `least` on that has no factors but 2 and at most two of 3 or one of 5: those are fast.
fn fast_size(least: usize) -> usize {
    let fit = |factor: usize| factor * least.div_ceil(factor).next_power_of_two();
    [1, 3, 5, 9].map(fit).into_iter().min().unwrap_or(least)
}

impl<T: Number> Plan<T> {
    fn new(sizes: Sizes) -> Result<Self> {
        let n = fast_size(sizes.length);
        memory::ensure(n.saturating_mul(8), size_of::<Complex<T>>())?;
        let [forward, inverse] = plan_both::<T>(n);
        let angle = |t: usize| std::f64::consts::FRAC_PI_2 * t as f64 / n as f64;
        let turn = (0..n).map(|t| angle(t).sin_cos());
        Ok(Self {
            n,
            turn: turn
                .map(|(s, c)| Complex::new(T::of(c), T::of(s)))
                .collect(),
            forward,
            inverse,
        })
    }

    fn scratch(&self) -> Scratch<T> {
        let zeros = |n: usize| vec![Complex::new(T::ZERO, T::ZERO); n];
        let fft =
            (self.forward.get_inplace_scratch_len()).max(self.inverse.get_inplace_scratch_len());
        Scratch {
            fft: zeros(fft),
            kernel: zeros(self.n),
            row: zeros(self.n),
            product: zeros(self.n),
        }
    }

    /// `F x` of a real row, which is padded with zeros.
    fn transform(&self, x: &[T], out: &mut [Complex<T>], scratch: &mut [Complex<T>]) {
        let (used, rest) = out.split_at_mut(x.len());
        turned(x, &self.turn, used);
        rest.fill(Complex::new(T::ZERO, T::ZERO));
        self.forward.process_with_scratch(out, scratch);
    }
}

crate::simd! {
    /// `out = w x`.
    fn turned<T: Float>(x: &[T], turn: &[Complex<T>], out: &mut [Complex<T>]) {
        for ((x, w), out) in x.iter().zip(turn).zip(out) {
            out.re = *x * w.re;
            out.im = *x * w.im;
        }
    }
}
crate::simd! {
    /// `y = scale Re(conj(w) z)`.
    fn turned_back<T: Float>(z: &[Complex<T>], turn: &[Complex<T>], scale: T, y: &mut [T]) {
        for ((z, w), y) in z.iter().zip(turn).zip(y) {
            *y = scale * z.re.fma(w.re, z.im * w.im);
        }
    }
}
crate::simd! {
    /// `out = a b`.
    fn product<T: Float>(a: &[Complex<T>], b: &[Complex<T>], out: &mut [Complex<T>]) {
        for ((a, b), out) in a.iter().zip(b).zip(out) {
            out.re = a.re * b.re - a.im * b.im;
            out.im = a.re * b.im + a.im * b.re;
        }
    }
}
crate::simd! {
    /// `out = conj(a) b`.
    fn product_with_conj<T: Float>(a: &[Complex<T>], b: &[Complex<T>], out: &mut [Complex<T>]) {
        for ((a, b), out) in a.iter().zip(b).zip(out) {
            out.re = a.re * b.re + a.im * b.im;
            out.im = a.re * b.im - a.im * b.re;
        }
    }
}
crate::simd! {
    /// `out += conj(a) b`.
    fn add_product_with_conj<T: Float>(a: &[Complex<T>], b: &[Complex<T>], out: &mut [Complex<T>]) {
        for ((a, b), out) in a.iter().zip(b).zip(out) {
            out.re += a.re * b.re + a.im * b.im;
            out.im += a.re * b.im - a.im * b.re;
        }
    }
}

fn complex_buffer<T: Number>(n: usize) -> Result<Vec<Complex<T>>> {
    memory::ensure(n, size_of::<Complex<T>>())?;
    Ok(vec![Complex::new(T::ZERO, T::ZERO); n])
}

/// The convolution, and the spectra of kernels and inputs when they are to be kept.
pub(super) fn forward<T: Number>(
    inputs: &[Data],
    sizes: Sizes,
    keep: bool,
) -> Result<(Data, Spectra<T>)> {
    let Sizes {
        batch,
        channels,
        length,
        kernel,
    } = sizes;
    let plan = Plan::<T>::new(sizes)?;
    let n = plan.n;
    let kept = if keep { n } else { 0 };
    let mut spectra = Spectra {
        kernels: complex_buffer::<T>(channels * kept)?,
        inputs: complex_buffer::<T>(channels.saturating_mul(batch).saturating_mul(kept))?,
    };
    let mut y = buffer::<T>(batch * channels * length)?;
    let (to_y, to_kernels, to_inputs) = (
        Ptr(y.as_mut_ptr()),
        Ptr(spectra.kernels.as_mut_ptr()),
        Ptr(spectra.inputs.as_mut_ptr()),
    );
    let scale = T::of(1.0 / n as f64);
    with_slices::<T, _>(OP, &inputs.iter().collect::<Vec<_>>(), |x| {
        let stride = x[1].len().checked_div(channels).unwrap_or(0);
        let small = channels * batch * n < SMALL;
        pool::for_each_task(
            channels,
            small,
            || plan.scratch(),
            |h, s| {
                plan.transform(&x[1][h * stride..][..kernel], &mut s.kernel, &mut s.fft);
                if keep {
                    // SAFETY: each channel has its own range of every buffer, and is given out once.
                    unsafe { to_kernels.slice(h * n, n) }.copy_from_slice(&s.kernel);
                }
                for b in 0..batch {
                    let at = (b * channels + h) * length;
                    let spectrum = match keep {
                        // SAFETY: as above.
                        true => unsafe { to_inputs.slice((h * batch + b) * n, n) },
                        false => &mut s.row[..],
                    };
                    let u = &x[0][at..][..length];
                    plan.transform(u, spectrum, &mut s.fft);
                    product(spectrum, &s.kernel, &mut s.product);
                    plan.inverse
                        .process_with_scratch(&mut s.product, &mut s.fft);
                    // SAFETY: as above.
                    let y = unsafe { to_y.slice(at, length) };
                    turned_back(&s.product, &plan.turn, scale, y);
                    if let Some(d) = x.get(2) {
                        kernels::axpy(d[h], u, y);
                    }
                }
            },
        )
    })??;
    let y = Data::from_vec(y, inputs[0].dims(), &Device::Cpu)?;
    Ok((y, spectra))
}

/// Gradients of `u` (when it is `wanted`), the kernels and `d`.
pub(super) fn backward<T: Number>(
    inputs: &[Data],
    g: &Data,
    spectra: &Spectra<T>,
    sizes: Sizes,
    wanted: bool,
) -> Result<Grads> {
    let Sizes {
        batch,
        channels,
        length,
        kernel,
    } = sizes;
    let plan = Plan::<T>::new(sizes)?;
    let n = plan.n;
    let (mut du, mut dk, mut dd) = (
        buffer::<T>(if wanted { inputs[0].elem_count() } else { 0 })?,
        buffer::<T>(inputs[1].elem_count())?,
        buffer::<T>(channels)?,
    );
    let (to_u, to_k, to_d) = (
        Ptr(du.as_mut_ptr()),
        Ptr(dk.as_mut_ptr()),
        Ptr(dd.as_mut_ptr()),
    );
    let scale = T::of(1.0 / n as f64);
    let read: Vec<&Data> = inputs.iter().chain([g]).collect();
    with_slices::<T, _>(OP, &read, |x| {
        let g = x[x.len() - 1];
        let skip = (x.len() == 4).then(|| x[2]);
        let stride = x[1].len().checked_div(channels).unwrap_or(0);
        let small = channels * batch * n < SMALL;
        pool::for_each_task(
            channels,
            small,
            || plan.scratch(),
            |h, s| {
                s.kernel.fill(Complex::new(T::ZERO, T::ZERO));
                let mut slope = 0.0;
                for b in 0..batch {
                    let at = (b * channels + h) * length;
                    let g = &g[at..][..length];
                    plan.transform(g, &mut s.row, &mut s.fft);
                    let input = &spectra.inputs[(h * batch + b) * n..][..n];
                    add_product_with_conj(input, &s.row, &mut s.kernel);
                    if skip.is_some() {
                        slope += kernels::dot(g, &x[0][at..][..length]);
                    }
                    if !wanted {
                        continue;
                    }
                    product_with_conj(&spectra.kernels[h * n..][..n], &s.row, &mut s.product);
                    plan.inverse
                        .process_with_scratch(&mut s.product, &mut s.fft);
                    // SAFETY: each channel has its own range of every buffer, and is given out once.
                    let du = unsafe { to_u.slice(at, length) };
                    turned_back(&s.product, &plan.turn, scale, du);
                    if let Some(d) = skip {
                        kernels::axpy(d[h], g, du);
                    }
                }
                plan.inverse.process_with_scratch(&mut s.kernel, &mut s.fft);
                // SAFETY: as above.
                let (dk, dd) = unsafe { (to_k.slice(h * stride, kernel), to_d.slice(h, 1)) };
                turned_back(&s.kernel, &plan.turn, scale, dk);
                dd[0] = T::of(slope);
            },
        )
    })??;
    let du = match wanted {
        true => Some(Tensor::from_vec(du, inputs[0].dims())?),
        false => None,
    };
    let mut grads = vec![du, Some(Tensor::from_vec(dk, inputs[1].dims())?)];
    if inputs.len() == 3 {
        grads.push(Some(Tensor::from_vec(dd, inputs[2].dims())?));
    }
    Ok(grads)
}
