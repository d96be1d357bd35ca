//! The one sampler of minibatches.
//!
//! The order of the data is an endless chain of epochs, each a random permutation of all rows; step `s`
//! takes places `s * batch .. (s + 1) * batch` of the chain. So every row is seen once an epoch, no batch is
//! short, and a batch is a function of the step alone: a training that goes on at step 500 sees what it
//! would have seen without the stop.

use rhapsode_tensor::{interrupt, memory, random::Stream};

use crate::{Error, Result};

/// Deals out the rows of a data set in minibatches; see the module.
///
/// ```
/// # use rhapsode_models::data::Batches;
/// # use rhapsode_tensor::random::Stream;
/// let mut batches = Batches::new(10, 4, Stream::new(0, "order"))?;
/// let third = batches.indices(2)?;        // ends the first epoch, begins the second
/// assert_eq!(third.len(), 4);
/// # Ok::<(), rhapsode_models::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batches {
    rows: usize,
    batch: usize,
    drop_last: bool,
    shuffle: bool,
    epochs: Stream,
    /// The permutations made last, newest last. Two, as a batch may end one epoch and begin the next.
    cache: Vec<(u64, Vec<usize>)>,
}

impl Batches {
    /// Minibatches of `batch` of `rows` rows; `stream` decides the order. `batch` may exceed `rows`: then a
    /// batch spans several epochs. Errors when either is 0.
    pub fn new(rows: usize, batch: usize, stream: Stream) -> Result<Self> {
        if rows == 0 {
            return Err(Error::Value {
                what: "data",
                message: "expected at least one row, got none".into(),
            });
        }
        if batch == 0 {
            return Err(Error::option("batch", "expected at least 1, got 0"));
        }
        Ok(Self {
            rows,
            batch,
            drop_last: false,
            shuffle: true,
            // A family of its own, so that the stream's place is not lost in the number of the epoch.
            epochs: Stream::new(stream.seed(), "epoch"),
            cache: Vec::new(),
        })
    }

    /// Leaves out, in every epoch, the rows that do not fill its last batch, so that no batch spans two epochs. Errors when
    /// not even one batch fits.
    pub fn drop_last(mut self) -> Result<Self> {
        if self.batch > self.rows {
            let message = format!(
                "expected at most the {} rows of an epoch when the last batch is dropped, got {}",
                self.rows, self.batch
            );
            return Err(Error::option("batch", message));
        }
        self.drop_last = true;
        Ok(self)
    }

    /// Takes the rows as they come, in every epoch, whose last batch is then short: for going through all data once.
    pub fn in_order(mut self) -> Self {
        self.shuffle = false;
        self
    }

    /// Batches that go through one epoch.
    pub fn per_epoch(&self) -> u64 {
        match self.drop_last {
            true => (self.rows / self.batch) as u64,
            false => self.rows.div_ceil(self.batch) as u64,
        }
    }

    /// The rows of one step, counted from 0: `batch` numbers in `0..rows` (fewer at the end of an epoch in order). The result does not depend
    /// on which steps were asked for before. Errors when memory does not hold a batch or an epoch.
    pub fn indices(&mut self, step: u64) -> Result<Vec<i64>> {
        memory::ensure(self.batch, size_of::<i64>())?;
        let mut indices = Vec::with_capacity(self.batch);
        // Wide, as step and batch together may exceed 64 bits.
        let (place, rows) = (u128::from(step) * self.batch as u128, self.rows as u128);
        if !self.shuffle {
            let from = (step % self.per_epoch()) as usize * self.batch;
            let to = from.saturating_add(self.batch).min(self.rows);
            return Ok((from as i64..to as i64).collect());
        }
        let (mut epoch, mut skip) = match self.drop_last {
            true => {
                let per_epoch = self.per_epoch();
                (step / per_epoch, (step % per_epoch) as usize * self.batch)
            }
            false => ((place / rows) as u64, (place % rows) as usize),
        };
        while indices.len() < self.batch {
            let take = (self.batch - indices.len()).min(self.rows - skip);
            let order = self.permutation(epoch)?;
            indices.extend(order.iter().skip(skip).take(take).map(|&i| i as i64));
            (epoch, skip) = (epoch.wrapping_add(1), 0);
        }
        Ok(indices)
    }

    /// Rows before the first of step `step`, counted in epochs: 2.5 in the middle of the third.
    pub fn epoch(&self, step: u64) -> f64 {
        step as f64 * self.batch as f64 / self.rows as f64
    }

    fn permutation(&mut self, epoch: u64) -> Result<&[usize]> {
        let at = match self.cache.iter().position(|(e, _)| *e == epoch) {
            Some(at) => at,
            None => {
                interrupt::check()?;
                // The permutation and the words it is made of.
                memory::ensure(self.rows, 2 * size_of::<usize>())?;
                if self.cache.len() == 2 {
                    self.cache.remove(0);
                }
                let order = self.epochs.at(epoch).permutation(self.rows);
                self.cache.push((epoch, order));
                self.cache.len() - 1
            }
        };
        Ok(self.cache.get(at).map_or(&[], |(_, order)| order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(rows: usize, batch: usize) -> Batches {
        Batches::new(rows, batch, Stream::new(0, "order")).unwrap()
    }

    /// The chain of epochs that the first `steps` batches make.
    fn chain(rows: usize, batch: usize, steps: u64) -> Vec<i64> {
        let mut batches = batches(rows, batch);
        (0..steps)
            .flat_map(|s| batches.indices(s).unwrap())
            .collect()
    }

    #[test]
    fn every_epoch_has_every_row_once() {
        for (rows, batch) in [(10usize, 4), (7, 7), (5, 13), (1, 3), (100, 1)] {
            let steps = (6 * rows).div_ceil(batch) as u64;
            let chain = chain(rows, batch, steps);
            for epoch in chain.chunks_exact(rows) {
                let mut epoch = epoch.to_vec();
                epoch.sort_unstable();
                assert!(epoch.into_iter().eq(0..rows as i64), "{rows} {batch}");
            }
        }
        let order = chain(100, 100, 2);
        assert_ne!(order[..100], order[100..], "epochs must differ");
        assert!(!order[..100].is_sorted());
    }

    #[test]
    fn the_order_does_not_depend_on_the_batch() {
        assert_eq!(chain(10, 4, 15), chain(10, 15, 4));
    }

    #[test]
    fn a_step_is_the_same_after_any_other() {
        let (rows, batch) = (10, 7);
        let all = chain(rows, batch, 40);
        let mut jumping = batches(rows, batch);
        for step in [39, 0, 17, 18, 3, 2, 39] {
            let from = step as usize * batch;
            assert_eq!(jumping.indices(step).unwrap(), all[from..from + batch]);
        }
        // Far beyond what a 64-bit place holds.
        assert_eq!(jumping.indices(u64::MAX).unwrap().len(), batch);
        assert_eq!(jumping.epoch(5), 3.5);
    }

    #[test]
    fn dropping_the_last_keeps_batches_within_an_epoch() {
        let mut batches = batches(10, 4).drop_last().unwrap();
        assert_eq!(batches.per_epoch(), 2);
        let mut whole = Batches::new(10, 10, Stream::new(0, "order")).unwrap();
        for epoch in 0..3 {
            let order = whole.indices(epoch).unwrap();
            for half in 0..2 {
                let from = half as usize * 4;
                assert_eq!(
                    batches.indices(2 * epoch + half).unwrap(),
                    order[from..from + 4]
                );
            }
        }
        let error = Batches::new(3, 4, Stream::new(0, "order"))
            .unwrap()
            .drop_last()
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .starts_with("option `batch`: expected at most the 3 rows")
        );
    }

    #[test]
    fn rows_come_in_order_when_not_shuffled() {
        let mut batches = batches(5, 3).in_order();
        assert_eq!(batches.indices(0).unwrap(), [0, 1, 2]);
        assert_eq!(batches.indices(1).unwrap(), [3, 4]);
        assert_eq!(batches.indices(2).unwrap(), [0, 1, 2]);
        let mut whole = self::batches(5, 3).in_order().drop_last().unwrap();
        assert_eq!(whole.indices(1).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn streams_decide() {
        let draw = |stream| Batches::new(50, 50, stream).unwrap().indices(0).unwrap();
        let stream = Stream::new(0, "order");
        assert_ne!(draw(stream), draw(Stream::new(1, "order")));
        assert_ne!(draw(stream), draw(stream.at(1)));
    }

    #[test]
    fn nothing_to_deal_is_an_error() {
        let message = |rows, batch| {
            let made = Batches::new(rows, batch, Stream::new(0, "order"));
            made.err().unwrap().to_string()
        };
        assert_eq!(message(0, 4), "data: expected at least one row, got none");
        assert_eq!(message(4, 0), "option `batch`: expected at least 1, got 0");
    }
}
