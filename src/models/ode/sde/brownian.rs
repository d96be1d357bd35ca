//! Brownian motion by counting: an increment is a function of the seed and its place in a tree.
//!
//! `steps = m 2^k` with `m` odd: `m` increments are drawn independently, and each is halved `k` times by the Brownian
//! bridge. With twice the steps the same increments are halved once more, so the finer path goes through the
//! points of the coarser one exactly; other numbers of steps give other paths. Draws are the same for any
//! number of threads.

use rhapsode_tensor::{DType, Tensor, random::Stream};

use crate::Result;

/// The increments of a Brownian path, one after another.
pub struct Brownian {
    stream: Stream,
    shape: Vec<usize>,
    dtype: DType,
    // Length of an interval of the first level.
    base: f64,
    levels: u32,
    next: u64,
    // Intervals still to be walked: level, place in the level, increment.
    stack: Vec<(u32, u64, Tensor)>,
}

impl Brownian {
    /// A path over `span` (> 0) in equal steps, of this shape in every increment.
    pub fn new(seed: u64, shape: &[usize], dtype: DType, span: f64, steps: usize) -> Self {
        let levels = steps.max(1).trailing_zeros();
        let first = steps.max(1) >> levels;
        Self {
            stream: Stream::new(seed, "brownian"),
            shape: shape.to_vec(),
            dtype,
            base: span / first as f64,
            levels,
            next: 0,
            stack: Vec::new(),
        }
    }

    /// The increment of the next step, `N(0, h)` at every element.
    pub fn increment(&mut self) -> Result<Tensor> {
        let (mut level, mut place, mut whole) = match self.stack.pop() {
            Some(interval) => interval,
            None => {
                let z = self.draw(0, self.next)?;
                self.next += 1;
                (0, self.next - 1, z.affine(self.base.sqrt(), 0.0)?)
            }
        };
        while level < self.levels {
            let length = self.base / f64::from(level).exp2();
            level += 1;
            // Given the whole, the left half is N(whole / 2, length / 4).
            let z = self.draw(level, place)?;
            let left = Tensor::combine(&[(0.5, &whole), (0.5 * length.sqrt(), &z)])?;
            let right = Tensor::combine(&[(1.0, &whole), (-1.0, &left)])?;
            place *= 2;
            self.stack.push((level, place + 1, right));
            whole = left;
        }
        Ok(whole)
    }

    fn draw(&self, level: u32, place: u64) -> Result<Tensor> {
        let index = u64::from(level) << 48 | place;
        Ok(self.stream.at(index).randn(&self.shape, self.dtype)?)
    }
}
