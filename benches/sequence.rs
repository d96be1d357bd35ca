//! Sequence models: the kernel of a diagonal state space model, its layer, the selective scan; forward, and forward with backward.
//!
//!     cargo run --release -p rhapsode-benches --bin sequence [PART OF A NAME]
//!
//! The workloads, names and initial values are those of the PyTorch side. Prints a JSON line a row,
//! `{"row": "sscan_l2048_fwd", "ms": 41.3}`: the median.
#![allow(clippy::disallowed_macros)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use rhapsode_tensor::{
    DType, Result, Tensor, no_grad,
    ops::{
        long_conv::long_conv,
        s4d::{self, Discretization},
        selective_scan::{Extras, selective_scan},
    },
    random::Stream,
};

#[global_allocator]
static ALLOCATOR: rhapsode_tensor::memory::Staggered<mimalloc::MiMalloc> =
    rhapsode_tensor::memory::Staggered(mimalloc::MiMalloc);

/// Least time and number of calls of a row.
const TIME: Duration = Duration::from_secs(2);
const CALLS: usize = 5;

/// Runs a row, unless its name does not contain what was asked for.
fn row(name: &str, mut f: impl FnMut() -> Result<()>) -> Result<()> {
    if std::env::args()
        .nth(1)
        .is_some_and(|part| !name.contains(&part))
    {
        return Ok(());
    }
    for _ in 0..2 {
        f()?;
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < TIME || times.len() < CALLS {
        let call = Instant::now();
        f()?;
        times.push(call.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let line = serde_json::json!({ "row": name, "ms": times[times.len() / 2] });
    println!("{line}");
    Ok(())
}

fn randn(shape: &[usize], index: u64) -> Result<Tensor> {
    Stream::new(3, "sequence")
        .at(index)
        .randn(shape, DType::F32)
}

/// The parameters of an S4D layer as they train.
struct S4d {
    log_dt: Tensor,
    log_a_real: Tensor,
    a_imag: Tensor,
    c: Tensor,
    d: Tensor,
}

impl S4d {
    fn new(channels: usize, modes: usize) -> Result<Self> {
        let (low, high) = (1e-3f64.ln(), 1e-1f64.ln());
        let log_dt = Stream::new(3, "dt").rand(&[channels], DType::F32)?;
        let frequencies = Tensor::arange(0.0, std::f64::consts::PI, modes, DType::F32)?;
        Ok(Self {
            log_dt: log_dt.affine(high - low, low)?.param()?,
            log_a_real: Tensor::full(0.5f64.ln(), &[channels, modes], DType::F32)?.param()?,
            a_imag: frequencies
                .broadcast_to(&[channels, modes])?
                .contiguous()?
                .param()?,
            c: randn(&[channels, modes, 2], 0)?
                .affine(0.5f64.sqrt(), 0.0)?
                .param()?,
            d: randn(&[channels], 1)?.param()?,
        })
    }

    fn kernel(&self, length: usize) -> Result<Tensor> {
        let a = Tensor::complex(&self.log_a_real.exp()?.neg()?, &self.a_imag)?;
        s4d::kernel(
            &a,
            &self.c,
            &self.log_dt.exp()?,
            length,
            Discretization::Zoh,
        )
    }

    fn forward(&self, u: &Tensor) -> Result<Tensor> {
        long_conv(u, &self.kernel(u.dim(-1)?)?, Some(&self.d))
    }
}

/// The gradients of `sum y g` by these tensors.
fn pull(y: &Tensor, g: &Tensor, xs: &[&Tensor]) -> Result<()> {
    black_box(rhapsode_tensor::vjp(y, xs, g, false)?);
    Ok(())
}

fn main() -> Result<()> {
    state_space()?;
    scan()
}

fn state_space() -> Result<()> {
    let (batch, channels, modes, length) = (8, 128, 32, 4096);
    let layer = S4d::new(channels, modes)?;
    let kernel: Vec<&Tensor> = vec![&layer.log_dt, &layer.log_a_real, &layer.a_imag, &layer.c];
    let u = randn(&[batch, channels, length], 2)?.param()?;
    let g = randn(&[batch, channels, length], 3)?;
    let first = g.select(0, 0)?.contiguous()?;
    row("s4d_kernel_fwd", || {
        no_grad(|| layer.kernel(length)).map(|k| drop(black_box(k)))
    })?;
    row("s4d_kernel_fwdbwd", || {
        pull(&layer.kernel(length)?, &first, &kernel)
    })?;
    let k = layer.kernel(length)?.detach().param()?;
    row("s4d_conv_fwdbwd", || {
        pull(&long_conv(&u, &k, Some(&layer.d))?, &g, &[&u, &k, &layer.d])
    })?;
    row("s4d_layer_fwd", || {
        no_grad(|| layer.forward(&u)).map(|y| drop(black_box(y)))
    })?;
    let all: Vec<&Tensor> = kernel.iter().copied().chain([&layer.d, &u]).collect();
    row("s4d_layer_fwdbwd", || pull(&layer.forward(&u)?, &g, &all))
}

fn scan() -> Result<()> {
    let (batch, length, channels, states) = (8, 2048, 256, 16);
    let sequence = [batch, length, channels];
    let u = randn(&sequence, 4)?.param()?;
    let delta = randn(&sequence, 5)?
        .affine(1.0, -4.0)?
        .softplus()?
        .param()?;
    let a = Tensor::arange(-1.0, -1.0, states, DType::F32)?;
    let a = a.broadcast_to(&[channels, states])?.contiguous()?.param()?;
    let b = randn(&[batch, length, states], 6)?.param()?;
    let c = randn(&[batch, length, states], 7)?.param()?;
    let d = randn(&[channels], 8)?.param()?;
    let g = randn(&sequence, 9)?;
    let forward = || {
        let extras = Extras {
            d: Some(&d),
            ..Default::default()
        };
        selective_scan(&u, &delta, &a, &b, &c, extras)
    };
    row("sscan_l2048_fwd", || {
        no_grad(forward).map(|y| drop(black_box(y)))
    })?;
    row("sscan_l2048_fwdbwd", || {
        pull(&forward()?, &g, &[&u, &delta, &a, &b, &c, &d])
    })
}
