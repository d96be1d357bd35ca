//! Draws of whole numbers by given probabilities.

use super::Stream;
use crate::{DType, Error, Result, Tensor, memory};

impl Stream {
    /// 1 with probability `p` and else 0, for each element of `p`; of its shape and dtype.
    pub fn bernoulli(self, p: &Tensor) -> Result<Tensor> {
        let p = p.detach().to_dtype(p.dtype().float())?;
        if let Some(bad) = p.to_vec()?.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            return Err(Error::Value {
                op: "bernoulli",
                detail: format!("a probability lies in [0, 1], got {bad}"),
            });
        }
        let below = self
            .rand(p.dims(), DType::F64)?
            .lt(&p.to_dtype(DType::F64)?)?;
        below.to_dtype(p.dtype())
    }

    /// `count` draws of `0..k` for each row of weights `[.., k]`, which need not sum to 1: i64 of shape
    /// `[.., count]`.
    ///
    /// Without `replacement` no number comes twice in a row, and each is drawn from what is left, by the
    /// exponential race: the `count` smallest of `-ln u / w` (Efraimidis and Spirakis, 2006).
    pub fn multinomial(self, weights: &Tensor, count: usize, replacement: bool) -> Result<Tensor> {
        const OP: &str = "multinomial";
        let wrong = |detail: String| Error::Value { op: OP, detail };
        let Some((&k, outer)) = weights.dims().split_last() else {
            return Err(wrong(
                "expected weights [.., k], got a tensor without axes".into(),
            ));
        };
        let mut shape = outer.to_vec();
        shape.push(count);
        let total = memory::count(OP, &shape)?;
        memory::ensure(total, 16)?;
        let all = weights.to_vec()?;
        let mut picked = Vec::with_capacity(total);
        // One row of uniform numbers a draw that keeps the numbers of rows apart.
        for (row, weights) in (0u64..).zip(all.chunks(k.max(1))) {
            if let Some(bad) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
                return Err(wrong(format!("a weight is finite and >= 0, got {bad}")));
            }
            let possible = weights.iter().filter(|w| **w > 0.0).count();
            if possible == 0 && count > 0 {
                return Err(wrong(format!("all weights of row {row} are 0")));
            }
            if !replacement && possible < count {
                return Err(wrong(format!(
                    "{count} different numbers from {possible} weights above 0: take fewer, or draw with replacement"
                )));
            }
            let stream = Stream::new(self.seed(), OP).at(row);
            match replacement {
                true => stream.by_inversion(weights, count, &mut picked),
                false => stream.by_race(weights, count, &mut picked),
            }
        }
        Tensor::from_vec(picked, &shape)
    }

    fn by_inversion(self, weights: &[f64], count: usize, picked: &mut Vec<i64>) {
        let mut sum = 0.0;
        let sums: Vec<f64> = weights
            .iter()
            .map(|w| {
                sum += w;
                sum
            })
            .collect();
        // Rounding must not lead past the last weight that is not 0.
        let last = weights.iter().rposition(|w| *w > 0.0).unwrap_or(0);
        let mut draws = vec![0f64; count];
        self.uniform(&mut draws);
        picked.extend(
            draws
                .iter()
                .map(|u| sums.partition_point(|s| *s <= u * sum).min(last) as i64),
        );
    }

    fn by_race(self, weights: &[f64], count: usize, picked: &mut Vec<i64>) {
        let mut times = vec![0f64; weights.len()];
        self.uniform(&mut times);
        let mut order: Vec<(f64, usize)> = times
            .iter()
            .zip(weights)
            .enumerate()
            .filter(|(_, (_, w))| **w > 0.0)
            .map(|(i, (u, w))| (-(1.0 - u).ln() / w, i))
            .collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        picked.extend(order.iter().take(count).map(|(_, i)| *i as i64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(values: &[f64], shape: &[usize]) -> Tensor {
        Tensor::from_vec(values.to_vec(), shape).unwrap()
    }

    #[test]
    fn shares_are_those_of_the_weights() {
        let n = 40_000;
        let w = weights(&[1.0, 0.0, 3.0, 2.0, 2.0, 0.0], &[2, 3]);
        let draws = Stream::new(0, "t").multinomial(&w, n, true).unwrap();
        assert_eq!(draws.dims(), [2, n]);
        let draws = draws.to_vec().unwrap();
        let share = |row: usize, value: f64| {
            let row = &draws[row * n..(row + 1) * n];
            row.iter().filter(|v| **v == value).count() as f64 / n as f64
        };
        for (row, expected) in [(0, [0.25, 0.0, 0.75]), (1, [0.5, 0.5, 0.0])] {
            for (value, expected) in expected.into_iter().enumerate() {
                assert!((share(row, value as f64) - expected).abs() < 0.01);
            }
        }
    }

    #[test]
    fn without_replacement_the_first_is_drawn_by_the_weights_and_none_twice() {
        let rows = 20_000;
        let w = weights(&[1.0, 2.0, 7.0].repeat(rows), &[rows, 3]);
        let draws = Stream::new(1, "t").multinomial(&w, 3, false).unwrap();
        let draws = draws.to_vec().unwrap();
        let mut first = [0; 3];
        for row in draws.chunks(3) {
            first[row[0] as usize] += 1;
            let mut sorted = row.to_vec();
            sorted.sort_by(f64::total_cmp);
            assert_eq!(sorted, [0.0, 1.0, 2.0]);
        }
        for (count, share) in first.into_iter().zip([0.1, 0.2, 0.7]) {
            assert!((f64::from(count) / rows as f64 - share).abs() < 0.01);
        }
    }

    #[test]
    fn impossible_weights_are_refused() {
        let stream = Stream::new(0, "t");
        let refused = |w: &[f64], n| {
            stream
                .multinomial(&weights(w, &[w.len()]), n, false)
                .is_err()
        };
        assert!(refused(&[0.0, 0.0], 1) && refused(&[-1.0, 2.0], 1));
        assert!(refused(&[f64::NAN, 2.0], 1) && refused(&[1.0, 0.0], 2));
        assert!(stream.bernoulli(&weights(&[1.5], &[1])).is_err());
    }

    #[test]
    fn bernoulli_has_its_mean() {
        let p = weights(&[0.3; 20_000], &[20_000]);
        let draws = Stream::new(2, "t").bernoulli(&p).unwrap().to_vec().unwrap();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.3).abs() < 0.01, "{mean}");
        assert!(draws.iter().all(|d| *d == 0.0 || *d == 1.0));
    }
}
