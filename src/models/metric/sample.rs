//! Samples as rows of f64, checked once, and work on their rows shared out over the pool.

use std::sync::Mutex;

use rhapsode_tensor::{Tensor, interrupt, pool};

use crate::{Error, Result};

/// `n` points in `d` dimensions; `n` and `d` are at least 1, all numbers finite.
pub(super) struct Sample {
    /// Row after row.
    pub values: Vec<f64>,
    /// Number of points.
    pub n: usize,
    /// Dimensions.
    pub d: usize,
}

impl Sample {
    /// The points of a tensor `[n, d]`; `[n]` counts as `[n, 1]`. `name` is what errors call it.
    fn new(metric: &'static str, name: &str, x: &Tensor) -> Result<Self> {
        let (n, d) = match *x.dims() {
            [n] => (n, 1),
            [n, d] => (n, d),
            _ => (0, 0),
        };
        if n == 0 || d == 0 {
            return Err(Error::Shape {
                what: metric,
                expected: format!("{name} of shape [n, d] with at least one point"),
                got: x.dims().to_vec(),
            });
        }
        let values = x.to_vec()?;
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let bad = values.get(at).copied().unwrap_or(f64::NAN);
            let message = format!(
                "expected finite numbers, got {bad} in row {} of {name}",
                at / d
            );
            return Err(Error::Value {
                what: metric,
                message,
            });
        }
        Ok(Self { values, n, d })
    }

    /// Two samples in the same number of dimensions.
    pub fn pair(metric: &'static str, x: &Tensor, y: &Tensor) -> Result<(Self, Self)> {
        let (a, b) = (Self::new(metric, "x", x)?, Self::new(metric, "y", y)?);
        if a.d == b.d {
            return Ok((a, b));
        }
        Err(Error::Shape {
            what: metric,
            expected: format!("y of shape [n, {}] like x of shape {:?}", a.d, x.dims()),
            got: y.dims().to_vec(),
        })
    }
}

/// Work between two looks at the interrupt, for each thread: some 10 ms.
const BLOCK: usize = 1 << 24;

/// Work below which a second thread is not worth waking.
const SERIAL_BELOW: usize = 1 << 15;

/// Fills `out`, which holds items of `width` numbers, in pieces: `f(first item, piece)`.
///
/// Pieces begin at multiples of `quantum` items and run side by side; `work` is the number of additions and
/// multiplications that an item takes. An item may depend on its number alone, then the result is the same for
/// any number of threads.
pub(super) fn parallel<F: Fn(usize, &mut [f64]) + Sync>(
    out: &mut [f64],
    width: usize,
    quantum: usize,
    work: usize,
    f: F,
) -> Result<()> {
    let pool = pool::global();
    let parts = pool.parts();
    let block = (BLOCK / work.max(1)).max(1).next_multiple_of(quantum) * parts;
    for (i, block_out) in out.chunks_mut(block * width).enumerate() {
        interrupt::check()?;
        let (first, items) = (i * block, block_out.len() / width);
        if items.saturating_mul(work) < SERIAL_BELOW {
            f(first, block_out);
            continue;
        }
        let mut rest = block_out;
        let pieces: Vec<_> = (0..parts)
            .map(|part| {
                let range = pool::range(items, quantum, part, parts);
                let (piece, others) = std::mem::take(&mut rest).split_at_mut(range.len() * width);
                rest = others;
                Mutex::new((first + range.start, piece))
            })
            .collect();
        // Every part locks its own piece, once: the lock only hands the piece over.
        pool.run(|part| {
            if let Some(Ok(mut piece)) = pieces.get(part).map(Mutex::lock)
                && !piece.1.is_empty()
            {
                let start = piece.0;
                f(start, piece.1);
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_filled_once_whatever_its_work() {
        for (items, width, quantum, work) in [
            (0, 1, 1, 1),
            (1, 3, 8, 1 << 30),
            (37, 2, 8, 1 << 22),
            (100_001, 1, 4, 100),
            (5, 7, 4, 0),
        ] {
            let mut out = vec![0.0; items * width];
            parallel(&mut out, width, quantum, work, |first, piece| {
                assert_eq!(first % quantum, 0);
                for (i, item) in piece.chunks_exact_mut(width).enumerate() {
                    item.iter_mut().for_each(|v| *v += (first + i + 1) as f64);
                }
            })
            .unwrap();
            for (i, item) in out.chunks_exact(width).enumerate() {
                assert!(item.iter().all(|&v| v == (i + 1) as f64), "{items} {width}");
            }
        }
    }
}
