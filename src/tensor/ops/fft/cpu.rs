//! The CPU kernels of the transforms: rustfft and realfft, a row at a time, rows cut between threads; plans are kept.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use candle_core::{Device, Tensor as Data};
use realfft::RealFftPlanner;
use rustfft::{Fft, FftNum, FftPlanner, num_complex::Complex};

use crate::{
    Error, Real, Result, memory,
    pool::{self, Ptr},
    tensor::{buffer, with_slice},
};

/// Sizes whose plans are kept; with one more all are forgotten.
const KEPT: usize = 128;

/// Plans hold tables as large as their transforms: larger ones are made for one call.
const LARGEST_KEPT: usize = 1 << 20;

/// The planners of an element type, which remember their plans.
pub(in crate::ops) struct Planners<T: FftNum> {
    complex: FftPlanner<T>,
    real: RealFftPlanner<T>,
    sizes: BTreeSet<usize>,
}

impl<T: FftNum> Planners<T> {
    fn new() -> Self {
        Self {
            complex: FftPlanner::new(),
            real: RealFftPlanner::new(),
            sizes: BTreeSet::new(),
        }
    }
}

/// An element type with planners of its own.
pub(in crate::ops) trait Number: Real + FftNum {
    /// Its planners.
    fn planners() -> &'static Mutex<Planners<Self>>;
}

impl Number for f32 {
    fn planners() -> &'static Mutex<Planners<Self>> {
        static PLANNERS: OnceLock<Mutex<Planners<f32>>> = OnceLock::new();
        PLANNERS.get_or_init(|| Mutex::new(Planners::new()))
    }
}

impl Number for f64 {
    fn planners() -> &'static Mutex<Planners<Self>> {
        static PLANNERS: OnceLock<Mutex<Planners<f64>>> = OnceLock::new();
        PLANNERS.get_or_init(|| Mutex::new(Planners::new()))
    }
}

/// A plan for size `n`.
fn plan<T: Number, P>(n: usize, make: impl FnOnce(&mut Planners<T>) -> P) -> P {
    if n > LARGEST_KEPT {
        return make(&mut Planners::new());
    }
    // A planner that a panic left behind holds whole plans only.
    let mut planners = T::planners().lock().unwrap_or_else(PoisonError::into_inner);
    if planners.sizes.insert(n) && planners.sizes.len() > KEPT {
        *planners = Planners::new();
        planners.sizes.insert(n);
    }
    make(&mut planners)
}

/// Plans of complex transforms of size `n`, forward and inverse, without a factor.
pub(in crate::ops) fn plan_both<T: Number>(n: usize) -> [Arc<dyn Fft<T>>; 2] {
    plan::<T, _>(n, |p| {
        [p.complex.plan_fft_forward(n), p.complex.plan_fft_inverse(n)]
    })
}

/// Pairs of numbers as complex ones.
fn as_complex<T: Number>(x: &mut [T]) -> &mut [Complex<T>] {
    // SAFETY: `Complex<T>` is `repr(C)` with the fields re and im: two `T`, aligned as one.
    unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), x.len() / 2) }
}

/// Calls `f(row, out, scratch)` for rows of `width` elements of `out`, side by side when there are enough.
fn for_rows<T: Number, S>(
    out: &mut [T],
    width: usize,
    scratch: impl Fn() -> S + Sync,
    f: impl Fn(usize, &mut [T], &mut S) + Sync,
) -> Result<()> {
    let base = Ptr(out.as_mut_ptr());
    let small = out.len() < 1 << 14;
    pool::for_each_task(out.len() / width, small, scratch, |row, scratch| {
        // SAFETY: rows do not overlap, each is given out once, all lie within `out`.
        f(row, unsafe { base.slice(row * width, width) }, scratch);
    })
}

fn finish<T: Real>(out: Vec<T>, shape: &[usize]) -> Result<Data> {
    Ok(Data::from_vec(out, shape, &Device::Cpu)?)
}

/// `[.., n, 2]` transformed, without a factor.
pub(super) fn dft<T: Number>(op: &'static str, x: &Data, inverse: bool) -> Result<Data> {
    let n = x.dims()[x.rank() - 2];
    let plan = plan::<T, _>(n, |p| {
        if inverse {
            p.complex.plan_fft_inverse(n)
        } else {
            p.complex.plan_fft_forward(n)
        }
    });
    let mut y = buffer::<T>(x.elem_count())?;
    let length = plan.get_inplace_scratch_len();
    memory::ensure(
        length.saturating_mul(pool::global().parts()),
        size_of::<Complex<T>>(),
    )?;
    with_slice::<T, _>(op, x, |x| {
        for_rows(
            &mut y,
            2 * n,
            || vec![Complex::default(); length],
            |row, y, scratch| {
                y.copy_from_slice(&x[2 * n * row..][..2 * n]);
                plan.process_with_scratch(as_complex(y), scratch);
            },
        )
    })??;
    finish(y, x.dims())
}

/// `[.., n]` to `[.., n/2 + 1, 2]`.
pub(super) fn real_to_complex<T: Number>(op: &'static str, x: &Data) -> Result<Data> {
    let n = x.dims()[x.rank() - 1];
    let half = n / 2 + 1;
    let plan = plan::<T, Arc<_>>(n, |p| p.real.plan_fft_forward(n));
    let mut shape = x.dims()[..x.rank() - 1].to_vec();
    shape.extend([half, 2]);
    let mut y = buffer::<T>(memory::count(op, &shape)?)?;
    let length = plan.get_scratch_len();
    memory::ensure(
        (length + n).saturating_mul(pool::global().parts()),
        size_of::<Complex<T>>(),
    )?;
    let scratch = || (vec![T::ZERO; n], vec![Complex::default(); length]);
    let fits = with_slice::<T, _>(op, x, |x| {
        let ok = std::sync::atomic::AtomicBool::new(true);
        for_rows(&mut y, 2 * half, scratch, |row, y, (input, scratch)| {
            input.copy_from_slice(&x[n * row..][..n]);
            if plan
                .process_with_scratch(input, as_complex(y), scratch)
                .is_err()
            {
                ok.store(false, std::sync::atomic::Ordering::Relaxed);
            }
        })
        .map(|()| ok.into_inner())
    })??;
    check(op, fits)?;
    finish(y, &shape)
}

/// `[.., n/2 + 1, 2]` to `[.., n]`, without a factor.
pub(super) fn complex_to_real<T: Number>(op: &'static str, y: &Data, n: usize) -> Result<Data> {
    let half = n / 2 + 1;
    let plan = plan::<T, Arc<_>>(n, |p| p.real.plan_fft_inverse(n));
    let mut shape = y.dims()[..y.rank() - 2].to_vec();
    shape.push(n);
    let mut x = buffer::<T>(memory::count(op, &shape)?)?;
    let length = plan.get_scratch_len();
    memory::ensure(
        (length + n).saturating_mul(pool::global().parts()),
        size_of::<Complex<T>>(),
    )?;
    let scratch = || (vec![T::ZERO; 2 * half], vec![Complex::default(); length]);
    let fits = with_slice::<T, _>(op, y, |y| {
        let ok = std::sync::atomic::AtomicBool::new(true);
        for_rows(&mut x, n, scratch, |row, x, (input, scratch)| {
            input.copy_from_slice(&y[2 * half * row..][..2 * half]);
            // realfft refuses what cannot be the transform of real numbers; it is to be ignored.
            input[1] = T::ZERO;
            if n.is_multiple_of(2) {
                input[2 * half - 1] = T::ZERO;
            }
            if plan
                .process_with_scratch(as_complex(input), x, scratch)
                .is_err()
            {
                ok.store(false, std::sync::atomic::Ordering::Relaxed);
            }
        })
        .map(|()| ok.into_inner())
    })??;
    check(op, fits)?;
    finish(x, &shape)
}

fn check(op: &'static str, fits: bool) -> Result<()> {
    if fits {
        return Ok(());
    }
    let detail = "the plan does not fit its buffers".into();
    Err(Error::Value { op, detail })
}
