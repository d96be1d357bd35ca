//! Causal convolution with kernels as long as the sequence: `y_t = sum_{j <= t} k_j u_{t-j} + d u_t` for every channel.
//!
//! `u: [.., H, L]`, `k: [H, N]` of any length, `d: [H]` or none. `O(L log L)`, with one complex transform of about size `L` for each row
//! instead of a real one of size `2 L`: see `cpu.rs`. The same with the transforms of `rfft.rs` as separate operations
//! makes six passes over spectra of size `2 L`.

mod cpu;

use candle_core::Tensor as Data;

use super::{ANY, Op, fft::cpu::Number};
use crate::{
    Error, Result, Tensor,
    tape::{self, record},
    with_real,
};

const OP: &str = "long_conv";

/// Sizes of a call.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Rows of `u` for each channel.
    batch: usize,
    channels: usize,
    length: usize,
    /// Length of the kernels.
    kernel: usize,
}

/// The plain composition that the fused form must equal: products of real transforms of size `>= 2 L - 1`.
pub fn reference(u: &Tensor, k: &Tensor, d: Option<&Tensor>) -> Result<Tensor> {
    let length = u.dim(-1)?;
    let k = k.narrow(-1, 0, k.dim(-1)?.min(length))?;
    let n = length + k.dim(-1)?;
    let product = u.rfft(-1, Some(n))?.complex_mul(&k.rfft(-1, Some(n))?)?;
    let y = product.irfft(-1, Some(n))?.narrow(-1, 0, length)?;
    match d {
        Some(d) => y.add(&u.mul(&d.unsqueeze(-1)?)?),
        None => Ok(y),
    }
}

/// `y_t = sum_{j <= t} k_j u_{t-j} + d u_t`: `u: [.., H, L]`, `k: [H, N]`, `d: [H]`, `y: [.., H, L]`; `L` and `N` at least 1. f32 or f64.
pub fn long_conv(u: &Tensor, k: &Tensor, d: Option<&Tensor>) -> Result<Tensor> {
    let sizes = check(u, k, d)?;
    let inputs: Vec<&Tensor> = [u, k].into_iter().chain(d).collect();
    let saved: Vec<_> = inputs.iter().map(|x| x.data.clone()).collect();
    with_real!(OP, u.dtype(), T => convolve::<T>(&inputs, saved, sizes))
}

fn convolve<T: Number>(inputs: &[&Tensor], saved: Vec<Data>, sizes: Sizes) -> Result<Tensor> {
    let keep = inputs.iter().any(|x| x.is_tracked()) && tape::is_recording();
    let (y, spectra) = cpu::forward::<T>(&saved, sizes, keep)?;
    record(OP, y, inputs, move |ctx, g| {
        if ctx.create_graph() {
            return tape::through(ctx, &saved, g, |t| reference(&t[0], &t[1], t.get(2)));
        }
        cpu::backward::<T>(&saved, &g.data, &spectra, sizes, ctx.needs(0))
    })
}

fn check(u: &Tensor, k: &Tensor, d: Option<&Tensor>) -> Result<Sizes> {
    super::fft::complex::precise(OP, u)?;
    for other in [Some(k), d].into_iter().flatten() {
        if other.dtype() != u.dtype() {
            return Err(Error::DType {
                op: OP,
                expected: u.dtype().as_str(),
                got: other.dtype(),
            });
        }
    }
    if let (&[.., channels, length], &[rows, kernel]) = (u.dims(), k.dims()) {
        let fits = rows == channels && length > 0 && kernel > 0;
        if fits && d.is_none_or(|d| d.dims() == [channels]) {
            return Ok(Sizes {
                batch: (u.len() / length).checked_div(channels).unwrap_or(0),
                channels,
                length,
                kernel: kernel.min(length),
            });
        }
    }
    let skip = d.map_or(String::new(), |d| format!(", {:?}", d.dims()));
    let detail = format!(
        "expected u [.., channels, length], kernels [channels, n] and d [channels], no length 0, got {:?}, {:?}{skip}",
        u.dims(),
        k.dims()
    );
    Err(Error::Shape { op: OP, detail })
}

/// What the contract holds.
pub(super) const LONG_CONV: Op = Op {
    name: "long_conv",
    apply: |x| long_conv(&x[0], &x[1], Some(&x[2])),
    shapes: &[
        &[&[2, 3, 7], &[3, 7], &[3]],
        &[&[3, 67], &[3, 5], &[3]],
        &[&[2, 1, 2, 1], &[2, 4], &[2]],
        &[&[0, 2, 3], &[2, 3], &[2]],
    ],
    domain: ANY,
};
/// See [`LONG_CONV`].
pub(super) const WITHOUT_SKIP: Op = Op {
    name: "long_conv without a skip",
    apply: |x| long_conv(&x[0], &x[1], None),
    shapes: &[&[&[3, 2, 8], &[2, 8]], &[&[1, 16], &[1, 30]]],
    domain: ANY,
};
