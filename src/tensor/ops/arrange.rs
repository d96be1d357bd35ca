//! Rearrangements made of the views in `shape.rs`: repeating, rolling, cutting up, moving axes; and the
//! general norm.

use crate::{Error, Result, Tensor, memory};

impl Tensor {
    /// Every element moved `shift` places on along an axis; what falls off the end comes in at the start.
    pub fn roll(&self, shift: i64, axis: i64) -> Result<Tensor> {
        let size = self.dim(axis)?;
        if size == 0 {
            return Ok(self.clone());
        }
        let cut = shift.rem_euclid(size as i64) as usize;
        let (head, tail) = (
            self.narrow(axis, size - cut, cut)?,
            self.narrow(axis, 0, size - cut)?,
        );
        Tensor::cat(&[&head, &tail], axis)
    }

    /// The whole repeated so often along each axis; more counts than axes make new leading axes, fewer
    /// are meant for the last ones.
    pub fn tile(&self, times: &[usize]) -> Result<Tensor> {
        let rank = self.rank().max(times.len());
        let own = [vec![1; rank - self.rank()], self.dims().to_vec()].concat();
        let times = [vec![1; rank - times.len()], times.to_vec()].concat();
        let pair = |f: &dyn Fn(usize, usize) -> [usize; 2]| -> Vec<usize> {
            own.iter()
                .zip(&times)
                .flat_map(|(&n, &k)| f(n, k))
                .collect()
        };
        let wide = pair(&|n, k| [k, n]);
        memory::ensure(
            memory::count("repeat", &wide)?,
            self.dtype().size_in_bytes(),
        )?;
        let shape: Vec<usize> = own.iter().zip(&times).map(|(n, k)| n * k).collect();
        self.reshape(&pair(&|n, _| [1, n]))?
            .broadcast_to(&wide)?
            .reshape(&shape)
    }

    /// Each element `times` times in a row along an axis.
    pub fn repeat_interleave(&self, times: usize, axis: i64) -> Result<Tensor> {
        let at = self.axis("repeat_interleave", axis)?;
        let mut wide = self.dims().to_vec();
        wide.insert(at + 1, times);
        memory::ensure(
            memory::count("repeat_interleave", &wide)?,
            self.dtype().size_in_bytes(),
        )?;
        let mut shape = self.dims().to_vec();
        shape[at] *= times;
        self.unsqueeze(at as i64 + 1)?
            .broadcast_to(&wide)?
            .reshape(&shape)
    }

    /// Cut along an axis into pieces of `size`, the last one with the rest.
    pub fn split(&self, size: usize, axis: i64) -> Result<Vec<Tensor>> {
        if size == 0 {
            let detail = "pieces must have at least one place, got 0".to_string();
            return Err(Error::Value {
                op: "split",
                detail,
            });
        }
        let n = self.dim(axis)?;
        let piece = |start| self.narrow(axis, start, size.min(n - start));
        (0..n.max(1)).step_by(size).map(piece).collect()
    }

    /// Cut along an axis into pieces of the given sizes, which fill it.
    pub fn split_sizes(&self, sizes: &[usize], axis: i64) -> Result<Vec<Tensor>> {
        let n = self.dim(axis)?;
        if sizes.iter().try_fold(0usize, |sum, &s| sum.checked_add(s)) != Some(n) {
            let detail = format!("sizes {sizes:?} do not add up to the {n} places of axis {axis}");
            return Err(Error::Shape {
                op: "split",
                detail,
            });
        }
        let mut start = 0;
        let mut piece = |&size: &usize| {
            start += size;
            self.narrow(axis, start - size, size)
        };
        sizes.iter().map(&mut piece).collect()
    }

    /// Cut along an axis into at most `count` pieces of one size, the last one smaller where need be.
    pub fn chunk(&self, count: usize, axis: i64) -> Result<Vec<Tensor>> {
        if count == 0 {
            let detail = "expected at least one piece, got 0".to_string();
            return Err(Error::Value {
                op: "chunk",
                detail,
            });
        }
        self.split(self.dim(axis)?.div_ceil(count).max(1), axis)
    }

    /// One axis moved to another place, the others in their order.
    pub fn movedim(&self, from: i64, to: i64) -> Result<Tensor> {
        let (from, to) = (self.axis("movedim", from)?, self.axis("movedim", to)?);
        let mut order: Vec<i64> = (0..self.rank() as i64).collect();
        let axis = order.remove(from);
        order.insert(to, axis);
        self.permute(&order)
    }

    /// Two axes exchanged.
    pub fn transpose(&self, a: i64, b: i64) -> Result<Tensor> {
        let (a, b) = (self.axis("transpose", a)?, self.axis("transpose", b)?);
        let mut order: Vec<i64> = (0..self.rank() as i64).collect();
        order.swap(a, b);
        self.permute(&order)
    }

    /// The axes `first..=last` made into one.
    pub fn flatten(&self, first: i64, last: i64) -> Result<Tensor> {
        if self.rank() == 0 {
            return self.reshape(&[1]);
        }
        let (first, last) = (self.axis("flatten", first)?, self.axis("flatten", last)?);
        if first > last {
            let detail = format!("axis {first} comes after axis {last}");
            return Err(Error::Value {
                op: "flatten",
                detail,
            });
        }
        let dims = self.dims();
        let middle = dims[first..=last].iter().product();
        self.reshape(&[&dims[..first], &[middle], &dims[last + 1..]].concat())
    }

    /// Coordinates of a grid: for vectors of sizes `n_0, n_1, ..` as many tensors of shape `[n_0, n_1, ..]`, of which
    /// tensor `i` varies along axis `i` (matrix indexing, `ij`).
    pub fn meshgrid(axes: &[&Tensor]) -> Result<Vec<Tensor>> {
        if let Some(wrong) = axes.iter().find(|x| x.rank() != 1) {
            let detail = format!("expected vectors, got shape {:?}", wrong.dims());
            return Err(Error::Shape {
                op: "meshgrid",
                detail,
            });
        }
        let shape: Vec<usize> = axes.iter().map(|x| x.len()).collect();
        memory::count("meshgrid", &shape)?;
        let along = |(i, x): (usize, &&Tensor)| {
            let mut own = vec![1; shape.len()];
            own[i] = x.len();
            x.reshape(&own)?.broadcast_to(&shape)
        };
        axes.iter().enumerate().map(along).collect()
    }

    /// `(sum |x|^p)^(1/p)` along an axis, which is dropped: p = 1, 2, any other number > 0, infinity (the
    /// largest), or 0 (how many are not 0; no gradient).
    pub fn norm_p(&self, p: f64, axis: i64) -> Result<Tensor> {
        if p.is_nan() || p < 0.0 {
            let detail = format!("expected p >= 0, got {p}");
            return Err(Error::Value { op: "norm", detail });
        }
        match p {
            2.0 => self.to_dtype(self.dtype().float())?.norm(axis),
            1.0 => self.to_dtype(self.dtype().float())?.abs()?.sum(&[axis]),
            p if p.is_infinite() => self.to_dtype(self.dtype().float())?.abs()?.max(axis),
            0.0 => self
                .count_nonzero(Some(&[axis]))?
                .to_dtype(self.dtype().float()),
            p => self.wide(|x| x.abs()?.powf(p)?.sum(&[axis])?.powf(1.0 / p)),
        }
    }
}
