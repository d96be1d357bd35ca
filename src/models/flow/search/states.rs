//! States of a search, a row each, with what one look at the flow told of them.

use rhapsode_tensor::Tensor;

use super::budget;
use crate::Result;

/// States `[k, dim]`, what they are worth, and what was seen there.
#[derive(Clone)]
pub(super) struct States {
    pub x: Tensor,
    pub values: Vec<f64>,
    /// The data that they predict.
    pub data: Tensor,
    /// The drift from here to the next time.
    pub drift: Tensor,
}

impl States {
    /// Some rows, in their order.
    pub fn rows(&self, rows: &[usize]) -> Result<Self> {
        let indices: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let indices = Tensor::from_vec(indices, &[rows.len()])?;
        let pick = |x: &Tensor| -> Result<Tensor> { Ok(x.index_select(0, &indices)?) };
        Ok(Self {
            x: pick(&self.x)?,
            data: pick(&self.data)?,
            drift: pick(&self.drift)?,
            values: rows
                .iter()
                .filter_map(|row| self.values.get(*row))
                .copied()
                .collect(),
        })
    }

    /// Each row `k` times.
    pub fn repeated(&self, k: usize) -> Result<Self> {
        self.rows(
            &(0..self.values.len() * k)
                .map(|row| row / k)
                .collect::<Vec<_>>(),
        )
    }

    /// Those rows from `other` that are to be taken, the rest from here.
    pub fn replaced(self, other: &States, take: &[bool]) -> Result<Self> {
        if take.iter().all(|take| !take) {
            return Ok(self);
        }
        if take.iter().all(|take| *take) {
            return Ok(other.clone());
        }
        let n = take.len();
        let from = |(row, take): (usize, &bool)| if *take { n + row } else { row };
        let rows: Vec<usize> = take.iter().enumerate().map(from).collect();
        Self::join(&[self, other.clone()])?.rows(&rows)
    }

    /// The best row of each of `groups` equal parts.
    pub fn best(&self, groups: usize) -> Vec<usize> {
        let k = self.values.len() / groups.max(1);
        (0..groups)
            .map(|group| group * k + budget::best(&self.values[group * k..(group + 1) * k]))
            .collect()
    }

    /// The largest value.
    pub fn most(&self) -> f64 {
        self.values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
    }

    /// One after the other.
    pub fn join(parts: &[States]) -> Result<Self> {
        let all = |of: fn(&States) -> &Tensor| -> Result<Tensor> {
            Ok(Tensor::cat(&parts.iter().map(of).collect::<Vec<_>>(), 0)?)
        };
        Ok(Self {
            x: all(|s| &s.x)?,
            data: all(|s| &s.data)?,
            drift: all(|s| &s.drift)?,
            values: parts
                .iter()
                .flat_map(|s| s.values.iter().copied())
                .collect(),
        })
    }
}
