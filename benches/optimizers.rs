//! One step of optimizers with their states in 32 and in 8 bits, and what the states take of memory.
//!
//!     cargo run --release -p rhapsode-benches --bin optimizers             a JSON line an optimizer and width: 25 M parameters
//!     cargo run --release -p rhapsode-benches --bin optimizers -- memory 8 resident memory of a state that takes 1 GB in 32 bits
//!
//! `ms` is the median of several steps, `cpu_ms` the mean time of all cores together (on a busy machine the one that tells),
//! `gb_s` what a step reads and writes: parameters, gradients, states.
#![allow(clippy::disallowed_macros)]

use std::time::Instant;

use rhapsode_models::{
    Result,
    optim::{Kind, Optimizer},
};
use rhapsode_tensor::{DType, Tensor, pool, random::Stream, simd};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: rhapsode_tensor::memory::Staggered<mimalloc::MiMalloc> =
    rhapsode_tensor::memory::Staggered(mimalloc::MiMalloc);

/// Steps that are timed.
const ROUNDS: usize = 21;

/// 25 M parameters as layers have them: 24 matrices and as many biases.
fn shapes() -> Vec<Vec<usize>> {
    (0..24)
        .flat_map(|_| [vec![1024, 1024], vec![1024]])
        .collect()
}

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("memory") => memory(std::env::args().nth(2).as_deref()),
        _ => [
            ("adamw", &[32, 8][..]),
            ("lion", &[32, 8]),
            ("momentum", &[32, 8]),
        ]
        .into_iter()
        .flat_map(|(name, widths)| widths.iter().map(move |bits| (name, *bits)))
        .try_for_each(|(name, bits)| steps(name, bits)),
    }
}

fn optimizer(name: &str, bits: u32, targets: Vec<Tensor>) -> Result<Optimizer> {
    Optimizer::new(Kind::find(name)?.make(json!({ "bits": bits }))?, targets)
}

fn tell(row: Value) {
    println!("{row}");
}

fn steps(name: &str, bits: u32) -> Result<()> {
    let draw = |purpose: &str, scale: f64| {
        let one = |(i, shape): (usize, &Vec<usize>)| {
            let values = Stream::new(i as u64, purpose).randn(shape, DType::F32)?;
            Ok(values.affine(scale, 0.0)?)
        };
        shapes()
            .iter()
            .enumerate()
            .map(one)
            .collect::<Result<Vec<_>>>()
    };
    let targets = draw("p", 1.0)?;
    let count: usize = targets.iter().map(Tensor::len).sum();
    let grads: Vec<Option<Tensor>> = draw("g", 0.01)?.into_iter().map(Some).collect();
    let mut optimizer = optimizer(name, bits, targets)?;
    let mut times = Vec::with_capacity(ROUNDS + 1);
    let mut busy = 0.0;
    for round in 0..=ROUNDS {
        if round == 1 {
            busy = cpu_seconds();
        }
        let start = Instant::now();
        optimizer.step(&grads, None)?;
        times.push(start.elapsed().as_secs_f64());
    }
    let busy = (cpu_seconds() - busy) / ROUNDS as f64;
    // The first touches its memory for the first time.
    let mut times = times.split_off(1);
    times.sort_by(f64::total_cmp);
    let time = times[times.len() / 2];
    // The gradient is read twice: for its norm, and for the step.
    let bytes = 4 * count * 4 + 2 * optimizer.state_bytes();
    tell(json!({
        "row": format!("{name} of {bits} bits, 25M"),
        "optimizer": name,
        "bits": bits,
        "parameters": count,
        "ms": time * 1e3,
        "cpu_ms": busy * 1e3,
        "ns_a_parameter": time * 1e9 / count as f64,
        "gb_s": bytes as f64 / time / 1e9,
        "state_bytes": optimizer.state_bytes(),
        "simd": format!("{:?}", simd::level()),
        "threads": pool::global().parts(),
    }));
    Ok(())
}

/// Time that this process has used, of all cores together, from the system (in hundredths of a second).
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in brackets: the 12th and 13th numbers, in user and in system mode.
    let numbers = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks = numbers
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Resident bytes of this process, from the system.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<f64>().ok());
    4096.0 * pages.unwrap_or(f64::NAN)
}

/// A model whose Adam state in 32 bits is 1 GB: what making the optimizer and a step add to the process. Each width has a
/// process of its own, as what one frees another would take again.
fn memory(bits: Option<&str>) -> Result<()> {
    let Some(bits) = bits.and_then(|bits| bits.parse().ok()) else {
        println!("expected `memory 32` or `memory 8`");
        return Ok(());
    };
    // 119 tensors of 2^20 numbers: 998 MB of state at 8 bytes a number.
    let targets = || {
        let one = |_| Ok(Tensor::full(1.0, &[1 << 20], DType::F32)?);
        (0..119).map(one).collect::<Result<Vec<_>>>()
    };
    let parameters = targets()?;
    let grads: Vec<_> = targets()?.into_iter().map(Some).collect();
    let before = resident();
    let mut optimizer = optimizer("adam", bits, parameters)?;
    optimizer.step(&grads, None)?;
    let grown = resident() - before;
    tell(json!({ "bits": bits, "state_bytes": optimizer.state_bytes(), "resident_bytes": grown }));
    Ok(())
}
