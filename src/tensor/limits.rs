//! What this machine can do at most, with all threads of the pool: the yardstick beside a measured time.
//!
//! Each function is one short try (20 to 100 ms); on a busy machine the best of several counts.

use std::{hint::black_box, time::Instant};

use crate::pool::{self, Ptr};

/// Numbers that each part multiplies side by side: enough to hide the latency of a unit of 512 bits or two of 256, and
/// few enough for the registers of AVX2.
const LANES: usize = 96;

/// Numbers of a buffer that no cache holds: 128 MiB in f32.
const LARGE: usize = 1 << 25;

crate::simd! {
    /// `rounds` times a fused multiply-add on every lane.
    fn multiply_add(rounds: usize, x: f32, y: f32) -> f32 {
        let mut lanes = [1f32; LANES];
        for _ in 0..rounds {
            for lane in &mut lanes { *lane = lane.mul_add(x, y) }
        }
        lanes.iter().sum()
    }
}
crate::simd! {
    fn scale(x: &mut [f32], s: f32) {
        for x in x { *x *= s }
    }
}

fn seconds(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

/// Billions of operations a second in f32: fused multiply-adds (two each) on registers alone.
pub fn flops() -> f64 {
    const ROUNDS: usize = 1 << 20;
    let pool = pool::global();
    let time = seconds(|| {
        pool.run(|_| {
            black_box(multiply_add(black_box(ROUNDS), black_box(0.999_999), 1e-7));
        });
    });
    (2 * LANES * ROUNDS * pool.parts()) as f64 / time / 1e9
}

/// Billions of bytes a second read from memory.
pub fn read() -> f64 {
    bandwidth(1, |x| {
        black_box(crate::simd::kernels::sum_lanes(x));
    })
}

/// Billions of bytes a second of an update in place: read and written.
pub fn update() -> f64 {
    bandwidth(2, |x| scale(x, black_box(0.999)))
}

/// Bytes a second where `pass` goes `streams` times over a large buffer.
fn bandwidth(streams: usize, pass: impl Fn(&mut [f32]) + Sync) -> f64 {
    let pool = pool::global();
    let mut x = vec![1f32; LARGE];
    let base = Ptr(x.as_mut_ptr());
    let all = || {
        pool.run(|part| {
            let range = pool::range(LARGE, 1024, part, pool.parts());
            // SAFETY: the ranges of different parts do not overlap and lie within `x`.
            pass(unsafe { base.slice(range.start, range.len()) });
        });
    };
    // The first pass takes the pages.
    all();
    (4 * LARGE * streams) as f64 / seconds(all) / 1e9
}

#[cfg(test)]
mod tests {
    #[test]
    fn limits_are_numbers() {
        for limit in [super::flops(), super::read(), super::update()] {
            assert!(limit.is_finite() && limit > 0.0, "{limit}");
        }
    }
}
