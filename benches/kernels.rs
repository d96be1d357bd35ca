//! The first kernels against candle's own operations, in one run, alternating; and a training step of the
//! first flow in milliseconds.
//!
//!     cargo run --release -p rhapsode-benches --bin kernels
//!
//! Prints the median of several rounds of each side and the ratio (candle's time / ours).
#![allow(clippy::disallowed_macros)]

use std::{hint::black_box, time::Instant};

use rhapsode_models::{
    Result,
    flow::{FitOptions, RectifiedFlow, VelocityOptions},
    observe::Silent,
    optim::{self, Optimizer},
};
use rhapsode_tensor::{
    DType, Tensor,
    ops::linear::{Activation, linear},
    random::Stream,
    simd,
};
use serde_json::{Map, Value};

#[global_allocator]
static ALLOCATOR: rhapsode_tensor::memory::Staggered<mimalloc::MiMalloc> =
    rhapsode_tensor::memory::Staggered(mimalloc::MiMalloc);

/// Rounds of both sides, alternating.
const ROUNDS: usize = 15;

fn seconds(f: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Times both sides alternately and prints a row.
fn row(name: &str, mut candle: impl FnMut(), mut ours: impl FnMut()) {
    candle();
    ours();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        a.push(seconds(&mut candle));
        b.push(seconds(&mut ours));
    }
    let (a, b) = (median(a), median(b));
    println!(
        "{name:<44} {:>10.1} us {:>10.1} us   x{:.2}",
        a * 1e6,
        b * 1e6,
        a / b
    );
}

fn main() -> Result<()> {
    println!(
        "instruction set: {:?}, threads: {}",
        simd::level(),
        rhapsode_tensor::pool::global().parts()
    );
    println!("{:<44} {:>13} {:>13}   ratio", "", "candle", "ours");
    let x = Stream::new(0, "x").randn(&[1 << 20], DType::F32)?;
    let c = x.candle().clone();
    row(
        "exp, 1 M",
        || drop(black_box(c.exp())),
        || drop(black_box(x.exp())),
    );
    row(
        "tanh, 1 M",
        || drop(black_box(c.tanh())),
        || drop(black_box(x.tanh())),
    );
    row(
        "silu, 1 M",
        || drop(black_box(c.silu())),
        || drop(black_box(x.silu())),
    );
    row(
        "add, 1 M",
        || drop(black_box(c.add(&c))),
        || drop(black_box(x.add(&x))),
    );
    row(
        "sum of all, 1 M",
        || drop(black_box(c.sum_all())),
        || drop(black_box(x.sum_all())),
    );
    let m = x.reshape(&[1024, 1024])?;
    let cm = m.candle().clone();
    row(
        "sum over the first axis, 1024 x 1024",
        || drop(black_box(cm.sum(0))),
        || drop(black_box(m.sum(&[0]))),
    );
    row(
        "matmul, 1024 x 1024",
        || drop(black_box(cm.matmul(&cm))),
        || drop(black_box(m.matmul(&m))),
    );
    layer()?;
    optimizer()?;
    flow()
}

fn layer() -> Result<()> {
    let x = Stream::new(1, "x").randn(&[1024, 256], DType::F32)?;
    let w = Stream::new(2, "w")
        .randn(&[256, 256], DType::F32)?
        .affine(0.06, 0.0)?;
    let b = Tensor::zeros(&[256], DType::F32)?;
    let (cx, cw, cb) = (x.candle().clone(), w.candle().clone(), b.candle().clone());
    let plain = || {
        let z = cx.matmul(&cw.t()?)?.broadcast_add(&cb)?;
        z.silu()
    };
    let fused = || linear(&x, &w, &b, Activation::Silu);
    row(
        "linear + silu, 1024 x 256 x 256",
        || drop(black_box(plain())),
        || drop(black_box(fused())),
    );
    Ok(())
}

/// Every optimizer over four million parameters: memory in and out a second.
fn optimizer() -> Result<()> {
    const N: usize = 1 << 22;
    let grads = [Some(Tensor::full(1e-3, &[N], DType::F32)?)];
    for kind in optim::ALL {
        let params = Tensor::full(1.0, &[N], DType::F32)?;
        let mut optimizer = Optimizer::new(kind.make(Value::Object(Map::new()))?, vec![params])?;
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let mut outcome = Ok(0.0);
            times.push(seconds(&mut || outcome = optimizer.step(&grads, None)));
            outcome?;
        }
        let time = median(times);
        // Read: gradient, twice with its norm; read and written: parameters and states.
        let bytes = 4 * N * 4 + 2 * optimizer.state_bytes();
        println!(
            "{:<44} {:>13} {:>10.1} us   {:.1} GB/s",
            format!("{}, 4 M parameters", kind.name),
            "",
            time * 1e6,
            bytes as f64 / time / 1e9
        );
    }
    Ok(())
}

/// A training step of the flow as a script runs it: batches, noise, loss, gradient, Adam, average.
fn flow() -> Result<()> {
    for batch in [256, 4096] {
        let options = VelocityOptions {
            hidden: vec![256, 256, 256],
            time_frequencies: 0,
            ..Default::default()
        };
        let flow = RectifiedFlow::new(options, 0, DType::F32)?;
        let data = Stream::new(3, "data").randn(&[50_000, 2], DType::F32)?;
        let mut run = flow.fit(
            &data,
            &FitOptions {
                steps: 5,
                batch,
                ..Default::default()
            },
            &mut Silent,
        )?;
        let steps = 200_000 / batch as u64;
        let start = Instant::now();
        run.more(steps, &mut Silent)?;
        let time = start.elapsed().as_secs_f64() / steps as f64;
        let work = 6.0 * batch as f64 * (3.0 * 256.0 + 2.0 * 65536.0 + 512.0);
        println!(
            "{:<44} {:>13} {:>10.1} us   {:.0} GFLOP/s",
            format!("flow training step 3-256-256-256-2, batch {batch}"),
            "",
            time * 1e6,
            work / time / 1e9
        );
    }
    Ok(())
}
