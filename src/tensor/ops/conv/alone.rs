//! Convolutions in which each channel stands alone: a product of matrices would have one row, so the elements of the kernel
//! are walked directly.

use super::{cpu::for_tasks, geometry::Geometry};
use crate::{
    Real, Result,
    interrupt::Poll,
    pool::Ptr,
    simd::{kernels, math::Float},
};

/// A task is a group of a sample, with one channel of `x`.
pub(super) fn forward_alone<T: Real>(geo: &Geometry, x: &[T], w: &[T], y: Ptr<T>) -> Result<()> {
    let (taps, positions, plane, step) = (geo.taps(), geo.positions(), geo.plane(), geo.stride[1]);
    for_tasks::<T>(
        geo.batch * geo.groups,
        geo.outputs * taps * positions,
        0,
        |task, _, _| {
            let x = &x[task * plane..][..plane];
            for channel in 0..geo.outputs {
                // SAFETY: a channel of this sample and group: nobody else's.
                let y = unsafe { y.slice((task * geo.outputs + channel) * positions, positions) };
                let w = &w[(task % geo.groups * geo.outputs + channel) * taps..][..taps];
                for (tap, &w) in w.iter().enumerate() {
                    geo.runs(tap, 0..positions, |at, len, from| {
                        let y = &mut y[at..at + len];
                        if step == 1 {
                            kernels::axpy(w, &x[from..from + len], y);
                        } else {
                            for (y, x) in y.iter_mut().zip(x[from..].iter().step_by(step)) {
                                *y = w.fma(*x, *y)
                            }
                        }
                    });
                }
            }
        },
    )
}

/// `x[i step] += s y[i]`.
#[inline(always)]
fn add_strided<T: Real>(s: T, y: &[T], x: &mut [T], step: usize) {
    if step == 1 {
        kernels::axpy(s, y, &mut x[..y.len()]);
    } else {
        for (x, y) in x.iter_mut().step_by(step).zip(y) {
            *x = s.fma(*y, *x)
        }
    }
}

pub(super) fn transposed_alone<T: Real>(geo: &Geometry, y: &[T], w: &[T], x: &mut [T]) {
    let (taps, positions) = (geo.taps(), geo.positions());
    for (at, &w) in w.iter().enumerate() {
        let y = &y[at / taps * positions..][..positions];
        geo.runs(at % taps, 0..positions, |at, len, from| {
            add_strided(w, &y[at..at + len], &mut x[from..], geo.stride[1]);
        });
    }
}

pub(super) fn weights_alone<T: Real>(
    geo: &Geometry,
    [x, y]: [&[T]; 2],
    group: usize,
    w: Ptr<T>,
    stop: &Poll,
) {
    let (taps, positions, plane, step) = (geo.taps(), geo.positions(), geo.plane(), geo.stride[1]);
    for channel in 0..geo.outputs {
        let channel = group * geo.outputs + channel;
        let mut totals = vec![0.0f64; taps];
        for sample in 0..geo.batch {
            if stop.requested() {
                return;
            }
            let x = &x[(sample * geo.groups + group) * plane..][..plane];
            let y = &y[(sample * geo.groups * geo.outputs + channel) * positions..][..positions];
            for (tap, total) in totals.iter_mut().enumerate() {
                geo.runs(tap, 0..positions, |at, len, from| {
                    let y = &y[at..at + len];
                    *total += if step == 1 {
                        Float::to_f64(dot(&x[from..from + len], y))
                    } else {
                        let pairs = x[from..].iter().step_by(step).zip(y);
                        pairs
                            .map(|(x, y)| Float::to_f64(*x) * Float::to_f64(*y))
                            .sum()
                    };
                });
            }
        }
        // SAFETY: the kernel of this channel: nobody else's.
        let w = unsafe { w.slice(channel * taps, taps) };
        for (w, total) in w.iter_mut().zip(totals) {
            *w = T::of(total)
        }
    }
}

crate::simd! {
    /// The sum of products, in 32 lanes.
    fn dot<T: Float>(x: &[T], y: &[T]) -> T {
        let mut lanes = [T::ZERO; 32];
        let (xs, ys) = (x.chunks_exact(32), y.chunks_exact(32));
        let mut total = T::ZERO;
        for (x, y) in xs.remainder().iter().zip(ys.remainder()) { total = x.fma(*y, total) }
        for (x, y) in xs.zip(ys) {
            for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) { *lane = x.fma(*y, *lane) }
        }
        for lane in lanes { total += lane }
        total
    }
}
