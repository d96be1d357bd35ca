//! Order: sorting, the largest few, quantiles, distinct values, counts.
//!
//! NaN is larger than every number, as in PyTorch. Sorting is stable. Values keep their gradient (they are
//! gathered); places are i64 and have none.

use std::cmp::Ordering;

use crate::{DType, Error, Result, Tensor, interrupt, memory, tape, with_real};

/// The order of sorting: NaN last.
fn by_value(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Refuses what a gradient would have to pass, where there is none to give.
fn untracked(op: &'static str, x: &Tensor) -> Result<()> {
    if x.is_tracked() && tape::is_recording() {
        return Err(Error::NoGradient {
            op,
            detail: "has no gradient (take x.detach() or no_grad)",
        });
    }
    Ok(())
}

/// The places of a row in its order.
fn ordered<T: Copy>(row: &[T], descending: bool, cmp: impl Fn(T, T) -> Ordering) -> Vec<i64> {
    let mut places: Vec<i64> = (0..row.len() as i64).collect();
    let at = |i: i64| row[i as usize];
    if descending {
        places.sort_by(|&a, &b| cmp(at(b), at(a)));
    } else {
        places.sort_by(|&a, &b| cmp(at(a), at(b)));
    }
    places
}

impl Tensor {
    /// The places along an axis in the order of their values, as i64.
    pub fn argsort(&self, axis: i64, descending: bool) -> Result<Tensor> {
        let axis = self.axis("argsort", axis)?;
        let last = self.detach().move_last(axis)?;
        memory::ensure(self.len(), 16)?;
        let n = last.dim(-1)?.max(1);
        let mut places = Vec::with_capacity(self.len());
        if self.dtype().is_float() {
            with_real!("argsort", last.dtype(), T => last.with_slice::<T, _>("argsort", |x| {
                x.chunks_exact(n).try_for_each(|row| {
                    interrupt::check()?;
                    let cmp = |a: T, b: T| by_value(crate::simd::math::Float::to_f64(a), crate::simd::math::Float::to_f64(b));
                    places.extend(ordered(row, descending, cmp));
                    Ok::<(), Error>(())
                })
            })?)?;
        } else {
            for row in last.to_ints("argsort")?.chunks_exact(n) {
                interrupt::check()?;
                places.extend(ordered(row, descending, |a, b| a.cmp(&b)));
            }
        }
        Tensor::from_vec(places, last.dims())?.move_last_to(axis)
    }

    /// `(values, places)` along an axis in order.
    pub fn sort(&self, axis: i64, descending: bool) -> Result<(Tensor, Tensor)> {
        let places = self.argsort(axis, descending)?;
        Ok((self.gather(axis, &places)?, places))
    }

    /// `(values, places)` of the `k` largest (or smallest) along an axis, in order.
    pub fn topk(&self, k: usize, axis: i64, largest: bool) -> Result<(Tensor, Tensor)> {
        let size = self.dim(axis)?;
        if k > size {
            let detail = format!("k = {k} is more than the {size} elements of axis {axis}");
            return Err(Error::Value { op: "topk", detail });
        }
        let places = self.argsort(axis, largest)?.narrow(axis, 0, k)?;
        Ok((self.gather(axis, &places)?, places))
    }

    /// The value below which a share `q` of the elements along an axis lies, between two elements on the
    /// line through them (PyTorch's and NumPy's default); NaN where one is NaN.
    pub fn quantile(&self, q: f64, axis: i64) -> Result<Tensor> {
        if !(0.0..=1.0).contains(&q) {
            let detail = format!("the share must lie in [0, 1], got {q}");
            return Err(Error::Value {
                op: "quantile",
                detail,
            });
        }
        let n = self.filled_axis("quantile", axis)?;
        let at = q * (n - 1) as f64;
        let (low, high) = (at.floor() as i64, at.ceil() as i64);
        self.wide(|x| {
            let (sorted, _) = x.sort(axis, false)?;
            let (a, b) = (sorted.select(axis, low)?, sorted.select(axis, high)?);
            let value = match at.fract() {
                0.0 => a,
                w => a.affine(1.0 - w, 0.0)?.add(&b.affine(w, 0.0)?)?,
            };
            let top = sorted.select(axis, -1)?;
            Tensor::where_cond(&top.detach().isnan()?, &top, &value)
        })
    }

    /// The middle element along an axis, of two the lower one (as PyTorch); NaN where one is NaN.
    pub fn median(&self, axis: i64) -> Result<Tensor> {
        let n = self.filled_axis("median", axis)?;
        let (sorted, _) = self.sort(axis, false)?;
        let middle = sorted.select(axis, ((n - 1) / 2) as i64)?;
        let top = sorted.select(axis, -1)?;
        Tensor::where_cond(&top.detach().isnan()?, &top, &middle)
    }

    fn filled_axis(&self, op: &'static str, axis: i64) -> Result<usize> {
        match self.dim(axis)? {
            0 => {
                let detail = format!("axis {axis} of shape {:?} is empty", self.dims());
                Err(Error::Shape { op, detail })
            }
            n => Ok(n),
        }
    }

    /// The distinct values in order, how often each comes, and for each element the place of its value
    /// (of the shape of `self`). Refuses tracked input.
    pub fn unique(&self) -> Result<(Tensor, Tensor, Tensor)> {
        untracked("unique", self)?;
        let (sorted, places) = self.reshape(&[self.len()])?.sort(0, false)?;
        let (keys, places) = (sorted.to_vec()?, places.to_ints("unique")?);
        let whole = match self.dtype().is_float() {
            true => Vec::new(),
            false => sorted.to_ints("unique")?,
        };
        let same = |i: usize| match whole.get(i) {
            Some(now) => *now == whole[i - 1],
            None => keys[i] == keys[i - 1],
        };
        let (mut first, mut counts, mut inverse) = (vec![], vec![], vec![0i64; keys.len()]);
        for (i, &place) in places.iter().enumerate() {
            if i > 0 && same(i) {
                counts.last_mut().into_iter().for_each(|n| *n += 1);
            } else {
                first.push(i as i64);
                counts.push(1i64);
            }
            inverse[place as usize] = counts.len() as i64 - 1;
        }
        let n = first.len();
        Ok((
            sorted.index_select(0, &Tensor::from_vec(first, &[n])?)?,
            Tensor::from_vec(counts, &[n])?,
            Tensor::from_vec(inverse, self.dims())?,
        ))
    }

    /// How often each of `0, 1, ..` comes among whole numbers, at least `least` counts, as i64.
    pub fn bincount(&self, least: usize) -> Result<Tensor> {
        untracked("bincount", self)?;
        let values = self.to_ints("bincount")?;
        if let Some(low) = values.iter().find(|v| **v < 0) {
            let detail = format!("expected numbers >= 0, got {low}");
            return Err(Error::Value {
                op: "bincount",
                detail,
            });
        }
        let size = values
            .iter()
            .max()
            .map_or(0, |&v| v as usize + 1)
            .max(least);
        memory::ensure(size, 8)?;
        let mut counts = vec![0i64; size];
        values.iter().for_each(|&v| counts[v as usize] += 1);
        Tensor::from_vec(counts, &[size])
    }

    /// Counts in `bins` equal intervals of `[low, high]`, the last one closed; what lies outside and NaN
    /// is not counted. The dtype is that of `self`. Refuses tracked input.
    pub fn histc(&self, bins: usize, low: f64, high: f64) -> Result<Tensor> {
        untracked("histc", self)?;
        if bins == 0 || low >= high || !(high - low).is_finite() {
            let detail =
                format!("expected bins >= 1 and low < high, got {bins} bins of [{low}, {high}]");
            return Err(Error::Value {
                op: "histc",
                detail,
            });
        }
        memory::ensure(bins, 8)?;
        let mut counts = vec![0f64; bins];
        for v in self.to_vec()? {
            if (low..=high).contains(&v) {
                let bin = ((v - low) / (high - low) * bins as f64) as usize;
                counts[bin.min(bins - 1)] += 1.0;
            }
        }
        Tensor::from_vec(counts, &[bins])?.to_dtype(self.dtype().float())
    }

    /// For each value the place in `self` (sorted, `[n]`) where it could be put in: before equals, or with
    /// `right` after them. i64 of the shape of `values`.
    pub fn searchsorted(&self, values: &Tensor, right: bool) -> Result<Tensor> {
        if self.rank() != 1 {
            let detail = format!("expected sorted values [n], got shape {:?}", self.dims());
            return Err(Error::Shape {
                op: "searchsorted",
                detail,
            });
        }
        let sorted = self.detach().to_vec()?;
        let place = |v: f64| {
            sorted.partition_point(|&s| match by_value(s, v) {
                Ordering::Less => true,
                Ordering::Equal => right,
                Ordering::Greater => false,
            }) as i64
        };
        let places = values.detach().to_vec()?.into_iter().map(place).collect();
        Tensor::from_vec::<i64>(places, values.dims())
    }

    /// Labels as rows of zeros with a single 1: i64 of shape `[.., classes]`.
    pub fn one_hot(&self, classes: usize) -> Result<Tensor> {
        let labels = self.to_ints("one_hot")?;
        let mut shape = self.dims().to_vec();
        shape.push(classes);
        let count = memory::count("one_hot", &shape)?;
        memory::ensure(count, 8)?;
        let mut out = vec![0i64; count];
        for (i, &label) in labels.iter().enumerate() {
            if !(0..classes as i64).contains(&label) {
                return Err(Error::Index {
                    op: "one_hot",
                    index: label,
                    size: classes,
                });
            }
            out[i * classes + label as usize] = 1;
        }
        Tensor::from_vec(out, &shape)?.to_dtype(DType::I64)
    }
}
