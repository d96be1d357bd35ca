//! What the language costs over the work it starts: a cell, a method call on a tensor, a loop; with
//! CPython, NumPy and PyTorch beside it where they are installed.
//!
//!     cargo run --release -p rhapsode-benches --bin language
//!
//! Limits (issue 4): a cell 50 us, a method call 2 us over the operation, a million float additions 0.6 s.
#![allow(clippy::disallowed_macros)]

use std::{process::Command, time::Instant};

use rhapsode_script::{Recorder, Session, SessionOptions};
use rhapsode_tensor::{DType, Tensor};

#[global_allocator]
static ALLOCATOR: rhapsode_tensor::memory::Staggered<mimalloc::MiMalloc> =
    rhapsode_tensor::memory::Staggered(mimalloc::MiMalloc);

/// Rounds of each measurement; the median counts, the least is printed beside it.
const ROUNDS: usize = 9;
/// Calls in a measured loop of method calls.
const CALLS: usize = 20_000;

/// Median and least seconds of several rounds.
fn measure(mut f: impl FnMut()) -> (f64, f64) {
    f();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[ROUNDS / 2], times[0])
}

fn row(name: &str, (median, least): (f64, f64), per: f64, unit: &str, limit: Option<f64>) {
    let limit = limit.map_or(String::new(), |limit| format!("   limit {limit} {unit}"));
    println!(
        "{name:<46} {:>9.3} {unit}   least {:>9.3} {unit}{limit}",
        median * per,
        least * per
    );
}

/// Seconds that a Python statement takes, by its own `timeit`; `None` where a module is missing.
fn python(setup: &str, statement: &str, times: usize) -> Option<f64> {
    let code = format!(
        "import timeit\nprint(min(timeit.repeat({statement:?}, setup={setup:?}, number={times}, repeat=5)))"
    );
    let out = Command::new("python3").args(["-c", &code]).output().ok()?;
    out.status.success().then_some(())?;
    String::from_utf8(out.stdout).ok()?.trim().parse().ok()
}

fn beside(name: &str, seconds: Option<f64>, per: f64, unit: &str) {
    match seconds {
        Some(s) => println!("  {name:<44} {:>9.3} {unit}", s * per),
        None => println!("  {name:<44} not installed"),
    }
}

fn main() {
    let mut session = Session::new(SessionOptions::default());
    let mut io = Recorder::default();
    let mut run = |code: &str| {
        if let Err(error) = session.execute(code, &mut io) {
            eprintln!("{}", error.render(false));
            std::process::exit(1);
        }
    };
    run("let one = 1; let x = ones([1]); let y = ones([1]);");

    const CELLS: usize = 200;
    let cell = measure(|| (0..CELLS).for_each(|_| run("one;")));
    row("a cell", cell, 1e6 / CELLS as f64, "us", Some(50.0));

    let loop_of = |body: &str| format!("for i in 0..{CALLS} {{ {body} }}");
    let empty = measure(|| run(&loop_of("x;")));
    let per = 1e6 / CALLS as f64;
    let native = Tensor::ones(&[1], DType::F32).and_then(|x| {
        x.exp()?;
        Ok(x)
    });
    let Ok(native) = native else {
        return;
    };
    let exp = measure(|| (0..CALLS).for_each(|_| drop(native.exp())));
    let add = measure(|| (0..CALLS).for_each(|_| drop(native.add(&native))));
    for (name, body, direct) in [
        ("x.exp() on one element", "x.exp();", exp),
        ("x + y on one element", "x + y;", add),
        ("x * 2.0 on one element", "x * 2.0;", add),
        ("x.shape", "x.shape;", (0.0, 0.0)),
    ] {
        let (median, least) = measure(|| run(&loop_of(body)));
        let over = (median - direct.0 - empty.0, least - direct.1 - empty.1);
        row(
            &format!("{name}, over the operation"),
            over,
            per,
            "us",
            Some(2.0),
        );
        row("  the operation alone", direct, per, "us", None);
    }
    let numpy = python(
        "import numpy as np; x = np.ones(1, 'f4')",
        "np.exp(x)",
        CALLS,
    );
    beside("NumPy np.exp(x)", numpy, per, "us");
    let torch = python("import torch; x = torch.ones(1)", "x.exp()", CALLS);
    beside("PyTorch x.exp()", torch, per, "us");

    let sum = measure(|| run("let s = 0.0; for i in 0..1_000_000 { s += 0.5; }"));
    row("a million float additions", sum, 1.0, "s", Some(0.6));
    let inside = measure(|| {
        run("fn count() { let s = 0.0; for i in 0..1_000_000 { s += 0.5; } s } count();");
    });
    row("the same in a function", inside, 1.0, "s", Some(0.6));
    let cpython = python("", "s = 0.0\nfor i in range(1000000): s += 0.5", 1);
    beside("CPython", cpython, 1.0, "s");
}
