//! What a tensor holds, in a few numbers: one pass, in f64.

use crate::{Result, Tensor, interrupt, simd::math::Float, with_real};

/// Counts of a tensor's elements, and the range and spread of the finite ones (NaN where there are none).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// How many elements there are.
    pub count: usize,
    /// How many are NaN.
    pub nan: usize,
    /// How many are infinite.
    pub infinite: usize,
    /// The smallest finite one.
    pub min: f64,
    /// The mean of the finite ones.
    pub mean: f64,
    /// The largest finite one.
    pub max: f64,
    /// The standard deviation of the finite ones, with `n - 1` below.
    pub std: f64,
}

/// Elements between two looks at the interrupt.
const BLOCK: usize = 1 << 16;

impl Tensor {
    /// The statistics of all elements.
    pub fn statistics(&self) -> Result<Statistics> {
        let mut found = Moments::new();
        if self.dtype().is_float() {
            with_real!("describe", self.dtype(), T => self.with_slice::<T, _>("describe", |x| {
                x.chunks(BLOCK).try_for_each(|block| {
                    block.iter().for_each(|v| found.add(Float::to_f64(*v)));
                    interrupt::check()
                })
            })?)?;
        } else {
            self.to_ints("describe")?
                .iter()
                .for_each(|&v| found.add(v as f64));
        }
        Ok(found.finish(self.len()))
    }
}

/// Welford's running mean and sum of squares.
struct Moments {
    n: usize,
    nan: usize,
    infinite: usize,
    min: f64,
    max: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn new() -> Self {
        Self {
            n: 0,
            nan: 0,
            infinite: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            mean: 0.0,
            squares: 0.0,
        }
    }

    fn add(&mut self, v: f64) {
        if v.is_nan() {
            self.nan += 1;
        } else if v.is_infinite() {
            self.infinite += 1;
        } else {
            self.n += 1;
            let moved = v - self.mean;
            self.mean += moved / self.n as f64;
            self.squares += moved * (v - self.mean);
            self.min = self.min.min(v);
            self.max = self.max.max(v);
        }
    }

    fn finish(self, count: usize) -> Statistics {
        let or_nan = |value: f64| if self.n == 0 { f64::NAN } else { value };
        Statistics {
            count,
            nan: self.nan,
            infinite: self.infinite,
            min: or_nan(self.min),
            mean: or_nan(self.mean),
            max: or_nan(self.max),
            std: match self.n {
                0 | 1 => f64::NAN,
                n => (self.squares / (n - 1) as f64).sqrt(),
            },
        }
    }
}
