//! How near the main operations come to what the machine can do: `rhapsode bench`.
//!
//! Each row is done over and over for about a second and its median taken. Beside it stands what it cannot do
//! without, operations or bytes of main memory, and with it the share of the limit that was reached. (Against
//! PyTorch, in turn: `benches/compare`.)

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use rhapsode_tensor::{
    DType, Tensor, limits, no_grad, ops::conv::Conv, pool, random::Stream, simd,
};

use crate::{
    Result,
    flow::{FitOptions, RectifiedFlow, SampleOptions, VelocityOptions},
    observe::Silent,
    ode::Solver,
    optim::{AdamWOptions, Optimizer},
};

/// What the machine can do at most, with all threads.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Billions of operations a second in f32, a fused multiply-add counted as two.
    pub flops: f64,
    /// Billions of bytes a second read from main memory.
    pub read: f64,
    /// Billions of bytes a second read and written by an update in place.
    pub update: f64,
    /// The instruction set in use.
    pub level: simd::Level,
    /// Threads in use.
    pub threads: usize,
}

impl Limits {
    /// Measured now: the best of several tries.
    pub fn measure() -> Self {
        let best = |f: fn() -> f64| (0..5).map(|_| f()).fold(0.0, f64::max);
        Self {
            flops: best(limits::flops),
            read: best(limits::read),
            update: best(limits::update),
            level: simd::level(),
            threads: threads(),
        }
    }
}

/// Threads that operations use.
pub fn threads() -> usize {
    pool::global().parts()
}

/// Instruction set that operations use, e.g. `AVX-512`.
pub fn instructions() -> &'static str {
    simd::level().name()
}

/// Which way operations went so far that have a fused form, e.g. `network: fused`.
pub fn paths() -> Vec<String> {
    rhapsode_tensor::ops::paths::taken()
}

/// What limits an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Operations a second.
    Flops,
    /// Reading from main memory.
    Read,
    /// Reading and writing main memory.
    Update,
}

/// One operation as it was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What it is.
    pub name: &'static str,
    /// Median seconds of one call.
    pub seconds: f64,
    /// What limits it.
    pub bound: Bound,
    /// Billions of operations or bytes a second.
    pub rate: f64,
    /// Its share of the limit.
    pub share: f64,
}

type Work = Box<dyn FnMut() -> Result<()>>;

/// What makes the work of an operation.
enum Make {
    Work(fn() -> Result<Work>),
    /// On 16 M numbers.
    Large(fn(&Tensor) -> rhapsode_tensor::Result<Tensor>),
}

/// An operation: name, what limits it, operations or bytes of a call, and what makes its work.
struct Operation {
    name: &'static str,
    bound: Bound,
    amount: f64,
    make: Make,
}

/// Seconds for which an operation is measured.
const SPAN: Duration = Duration::from_millis(800);

/// Elements of the rows that memory limits.
const N: usize = 1 << 24;

/// Multiplications of one point in a 3-256-256-256-2 network.
const NET: f64 = 3.0 * 256.0 + 2.0 * 65536.0 + 512.0;

const OPERATIONS: &[Operation] = &[
    work(
        "matmul 256 x 256",
        Bound::Flops,
        2.0 * 256.0 * 256.0 * 256.0,
        || matmul(256),
    ),
    work(
        "matmul 1024 x 1024",
        Bound::Flops,
        2.0 * 1024.0 * 1024.0 * 1024.0,
        || matmul(1024),
    ),
    work(
        "conv2d 3x3, 64 to 64 channels",
        Bound::Flops,
        2.0 * 16.0 * 28.0 * 28.0 * 64.0 * 64.0 * 9.0,
        || {
            let (x, w) = (draw(&[16, 64, 28, 28])?, draw(&[64, 64, 3, 3])?);
            let conv = Conv {
                padding: [1, 1],
                ..Conv::default()
            };
            forward(move || x.conv2d(&w, None, &conv))
        },
    ),
    work(
        "flow training step, batch 256",
        Bound::Flops,
        6.0 * 256.0 * NET,
        || training(256),
    ),
    work(
        "flow training step, batch 4096",
        Bound::Flops,
        6.0 * 4096.0 * NET,
        || training(4096),
    ),
    work(
        "sampling 10,000 points, 10 steps",
        Bound::Flops,
        2.0 * 10_000.0 * 10.0 * NET,
        || {
            let flow = RectifiedFlow::new(network(), 0, DType::F32)?;
            let options = SampleOptions {
                solver: Solver::Euler,
                steps: Some(10),
                ..SampleOptions::default()
            };
            Ok(Box::new(move || {
                black_box(flow.sample(10_000, &options, &mut Silent)?);
                Ok(())
            }))
        },
    ),
    large("sum, 16 M", Bound::Read, 1.0, |x| x.sum_all()),
    large("add, 16 M", Bound::Update, 3.0, |x| x.add(x)),
    large("exp, 16 M", Bound::Update, 2.0, |x| x.exp()),
    large("gelu, 16 M", Bound::Update, 2.0, |x| x.gelu()),
    large("softmax, 16 M", Bound::Update, 2.0, |x| x.softmax(-1)),
    large("transpose, 16 M", Bound::Update, 2.0, |x| {
        x.t()?.contiguous()
    }),
    large("randn, 16 M", Bound::Update, 1.0, |x| {
        Stream::new(0, "bench").randn(x.dims(), DType::F32)
    }),
    work(
        "AdamW, 16 M parameters",
        Bound::Update,
        28.0 * N as f64,
        || {
            let mut optimizer = Optimizer::new(AdamWOptions::default(), vec![draw(&[N])?])?;
            let grads = [Some(Tensor::full(1e-3, &[N], DType::F32)?)];
            Ok(Box::new(move || {
                black_box(optimizer.step(&grads, None)?);
                Ok(())
            }))
        },
    ),
];

/// An operation on 16 M numbers `[16384, 1024]` that goes `streams` times through memory.
const fn large(
    name: &'static str,
    bound: Bound,
    streams: f64,
    apply: fn(&Tensor) -> rhapsode_tensor::Result<Tensor>,
) -> Operation {
    Operation {
        name,
        bound,
        amount: 4.0 * N as f64 * streams,
        make: Make::Large(apply),
    }
}

const fn work(
    name: &'static str,
    bound: Bound,
    amount: f64,
    make: fn() -> Result<Work>,
) -> Operation {
    Operation {
        name,
        bound,
        amount,
        make: Make::Work(make),
    }
}

fn draw(shape: &[usize]) -> Result<Tensor> {
    Ok(Stream::new(0, "bench").randn(shape, DType::F32)?)
}

fn forward(f: impl Fn() -> rhapsode_tensor::Result<Tensor> + 'static) -> Result<Work> {
    Ok(Box::new(move || {
        black_box(no_grad(&f)?);
        Ok(())
    }))
}

fn matmul(n: usize) -> Result<Work> {
    let (a, b) = (draw(&[n, n])?, draw(&[n, n])?);
    forward(move || a.matmul(&b))
}

fn network() -> VelocityOptions {
    VelocityOptions {
        hidden: vec![256, 256, 256],
        time_frequencies: 0,
        ..VelocityOptions::default()
    }
}

/// A step of a flow's training, as `fit` takes it.
fn training(batch: usize) -> Result<Work> {
    let flow = RectifiedFlow::new(network(), 0, DType::F32)?;
    let options = FitOptions {
        steps: 5,
        batch,
        ..FitOptions::default()
    };
    let mut run = flow.fit(&draw(&[50_000, 2])?, &options, &mut Silent)?;
    Ok(Box::new(move || run.more(1, &mut Silent)))
}

impl Operation {
    fn work(&self) -> Result<Work> {
        match self.make {
            Make::Work(make) => make(),
            Make::Large(apply) => {
                let x = draw(&[N / 1024, 1024])?;
                forward(move || apply(&x))
            }
        }
    }

    fn measure(&self, limits: &Limits) -> Result<Measured> {
        let mut work = self.work()?;
        work()?;
        let (begin, mut times) = (Instant::now(), Vec::new());
        while times.len() < 3 || begin.elapsed() < SPAN {
            let start = Instant::now();
            work()?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let seconds = times[times.len() / 2];
        let rate = self.amount / seconds / 1e9;
        let limit = match self.bound {
            Bound::Flops => limits.flops,
            Bound::Read => limits.read,
            Bound::Update => limits.update,
        };
        Ok(Measured {
            name: self.name,
            seconds,
            bound: self.bound,
            rate,
            share: rate / limit,
        })
    }
}

/// Measures all operations and tells each as soon as it is known.
pub fn run(limits: &Limits, tell: &mut dyn FnMut(Measured)) -> Result<()> {
    for operation in OPERATIONS {
        rhapsode_tensor::interrupt::check()?;
        tell(operation.measure(limits)?);
    }
    Ok(())
}
