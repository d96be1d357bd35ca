//! Sums, means, extremes, log-sum-exp, norms. A reduction along axes drops them.
//!
//! Sums run in lanes of the working precision and blocks in f64 (candle's sum over the first axis
//! ran at a thirtieth of PyTorch's speed). Reduced axes are moved last, then rows are reduced.

use crate::{
    DType, Error, Real, Result, Tensor, pool,
    simd::{kernels, math::Float},
    tape::{self, record},
    tensor::{buffer, build, build_of_rows, space, with_slice},
    with_real,
};

impl Tensor {
    /// The sum of all elements, shape `[]`.
    pub fn sum_all(&self) -> Result<Tensor> {
        let y = match self.dtype() {
            dtype if dtype.is_float() => with_real!("sum", dtype, T => {
                let total = self.with_slice::<T, _>("sum", sum_parallel)?;
                build::<T>(&[], 1, |_, y| y.fill(T::of(total)))
            })?,
            _ => self.data.to_dtype(DType::I64.storage())?.sum_all()?,
        };
        let shape = self.dims().to_vec();
        record("sum", y, &[self], move |_, g| {
            Ok(vec![Some(g.broadcast_to(&shape)?)])
        })
    }

    /// The sum along some axes, which are dropped.
    pub fn sum(&self, axes: &[i64]) -> Result<Tensor> {
        let axes = self.axes("sum", axes)?;
        if axes.is_empty() {
            return Ok(self.clone());
        }
        let kept = kept_shape(self.dims(), &axes);
        let y = match self.dtype() {
            dtype if dtype.is_float() => {
                with_real!("sum", dtype, T => sum_axes::<T>(&self.data, &axes))?
            }
            _ => self
                .data
                .to_dtype(DType::I64.storage())?
                .sum(axes.as_slice())?,
        };
        let shape = self.dims().to_vec();
        record("sum", y, &[self], move |_, g| {
            Ok(vec![Some(g.reshape(&kept)?.broadcast_to(&shape)?)])
        })
    }

    /// Summed so that the shape becomes `shape`, to which it must be broadcastable from: the gradient of a broadcast.
    pub fn sum_to(&self, shape: &[usize]) -> Result<Tensor> {
        if self.dims() == shape {
            return Ok(self.clone());
        }
        let extra = self.rank().saturating_sub(shape.len());
        let wide =
            |i: usize| i < extra || (self.dims()[i] != 1 && shape.get(i - extra) == Some(&1));
        let axes: Vec<i64> = (0..self.rank())
            .filter(|&i| wide(i))
            .map(|i| i as i64)
            .collect();
        self.sum(&axes)?.reshape(shape)
    }

    /// The mean of all elements, shape `[]`; NaN when there are none.
    pub fn mean_all(&self) -> Result<Tensor> {
        self.wide(|x| x.sum_all()?.affine(1.0 / x.len() as f64, 0.0))
    }

    /// The mean along some axes, which are dropped.
    pub fn mean(&self, axes: &[i64]) -> Result<Tensor> {
        let n: usize = self
            .axes("mean", axes)?
            .iter()
            .map(|&a| self.dims()[a])
            .product();
        self.wide(|x| x.sum(axes)?.affine(1.0 / n as f64, 0.0))
    }

    /// The variance of all elements or along axes, with `n - 1` in the denominator (as PyTorch).
    pub fn variance(&self, axes: Option<&[i64]>) -> Result<Tensor> {
        self.variance_with(axes, 1.0)
    }

    /// The variance with `n - correction` in the denominator.
    pub fn variance_with(&self, axes: Option<&[i64]>, correction: f64) -> Result<Tensor> {
        let all: Vec<i64> = (0..self.rank() as i64).collect();
        let given = axes.unwrap_or(&all);
        let axes = self.axes("variance", given)?;
        let n: usize = axes.iter().map(|&a| self.dims()[a]).product();
        let kept = kept_shape(self.dims(), &axes);
        // Without a degree of freedom it is NaN, as in PyTorch.
        let scale = match n as f64 - correction {
            freedom if freedom > 0.0 => 1.0 / freedom,
            _ => f64::NAN,
        };
        self.wide(|x| {
            let centred = x.sub(&x.mean(given)?.reshape(&kept)?)?;
            centred.sqr()?.sum(given)?.affine(scale, 0.0)
        })
    }

    /// The square root of [`Tensor::variance`].
    pub fn std(&self, axes: Option<&[i64]>) -> Result<Tensor> {
        self.std_with(axes, 1.0)
    }

    /// The square root of [`Tensor::variance_with`].
    pub fn std_with(&self, axes: Option<&[i64]>, correction: f64) -> Result<Tensor> {
        self.wide(|x| x.variance_with(axes, correction)?.sqrt())
    }

    /// The largest element along an axis, which is dropped; the gradient goes to the first of equals.
    pub fn max(&self, axis: i64) -> Result<Tensor> {
        self.extreme("max", axis, false)
    }

    /// The smallest element along an axis, which is dropped; the gradient goes to the first of equals.
    pub fn min(&self, axis: i64) -> Result<Tensor> {
        self.extreme("min", axis, true)
    }

    /// The largest of all elements, shape `[]`.
    pub fn max_all(&self) -> Result<Tensor> {
        self.reshape(&[self.len()])?.max(0)
    }

    /// The smallest of all elements, shape `[]`.
    pub fn min_all(&self) -> Result<Tensor> {
        self.reshape(&[self.len()])?.min(0)
    }

    fn extreme(&self, op: &'static str, axis: i64, smallest: bool) -> Result<Tensor> {
        let axis = self.axis(op, axis)?;
        let n = self.dims()[axis];
        // Without a gradient nobody asks for the place.
        if self.dtype().is_float() && n > 0 && !(self.is_tracked() && tape::is_recording()) {
            return self.extreme_value(op, axis, smallest);
        }
        let axis = axis as i64;
        let index = self.arg(op, axis, smallest)?.unsqueeze(axis)?;
        self.gather(axis, &index)?.squeeze(axis)
    }

    fn extreme_value(&self, op: &'static str, axis: usize, smallest: bool) -> Result<Tensor> {
        let n = self.dims()[axis];
        let (outer, inner) = self.dims().split_at(axis);
        let shape = [outer, &inner[1..]].concat();
        let inner: usize = inner[1..].iter().product();
        let y = with_real!(op, self.dtype(), T => self.with_slice::<T, _>(op, |x| {
            if inner == 1 {
                return build_of_rows::<T>(&shape, n, |start, y| {
                    let rows = x[start * n..(start + y.len()) * n].chunks_exact(n);
                    for (row, y) in rows.zip(y) {
                        *y = if smallest { kernels::min(row) } else { kernels::max(row) };
                    }
                });
            }
            build::<T>(&shape, inner.max(1), |start, y| {
                let blocks = x[start * n..(start + y.len()) * n].chunks_exact((n * inner).max(1));
                for (block, y) in blocks.zip(y.chunks_exact_mut(inner.max(1))) {
                    kernels::extreme_columns(block, smallest, y);
                }
            })
        })?)?;
        let y = Tensor::from_candle(y);
        y.to_dtype(self.dtype())
    }

    /// The place of the (first) largest element along an axis, as i64. No gradient.
    pub fn argmax(&self, axis: i64) -> Result<Tensor> {
        self.arg("argmax", axis, false)
    }

    /// The place of the (first) smallest element along an axis, as i64. No gradient.
    pub fn argmin(&self, axis: i64) -> Result<Tensor> {
        self.arg("argmin", axis, true)
    }

    /// The first place of an extreme; a NaN wins over everything, as in PyTorch.
    fn arg(&self, op: &'static str, axis: i64, smallest: bool) -> Result<Tensor> {
        let axis = self.axis(op, axis)?;
        let n = self.dims()[axis];
        if n == 0 {
            let detail = format!("axis {axis} of shape {:?} is empty", self.dims());
            return Err(Error::Shape { op, detail });
        }
        if !self.dtype().is_float() {
            // Whole numbers below 2^53 are exact in f64.
            return self.to_dtype(DType::F64)?.arg(op, axis as i64, smallest);
        }
        let last = self.detach().move_last(axis)?;
        let shape = last.dims()[..last.rank() - 1].to_vec();
        let mut places = vec![0i64; shape.iter().product()];
        with_real!(op, self.dtype(), T => last.with_slice::<T, _>(op, |x| {
            pool::for_each_costly_piece(&mut places, 16, n, |start, places| {
                let rows = x[start * n..(start + places.len()) * n].chunks_exact(n);
                for (row, place) in rows.zip(places) {
                    let best = if smallest { kernels::min(row) } else { kernels::max(row) };
                    let found = row.iter().position(|v| *v == best || v.is_nan());
                    *place = found.unwrap_or(0) as i64;
                }
            });
            Ok(())
        })?)?;
        Tensor::from_vec(places, &shape)
    }

    /// `ln sum exp` along an axis, which is dropped, without overflow.
    pub fn logsumexp(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("logsumexp", axis)?;
        let last = self.move_last(axis)?;
        let n = last.dims().last().copied().unwrap_or(1);
        let shape = last.dims()[..last.rank() - 1].to_vec();
        if n == 0 {
            return Tensor::full(f64::NEG_INFINITY, &shape, self.dtype());
        }
        let y = with_real!("logsumexp", last.dtype(), T => last.with_slice::<T, _>("logsumexp", |x| {
            build_of_rows::<T>(&shape, n, |start, y| {
                let rows = x[start * n..(start + y.len()) * n].chunks_exact(n);
                for (row, y) in rows.zip(y) { *y = kernels::logsumexp_row(row) }
            })
        })?)?;
        let (saved, saved_y) = (last.data.clone(), y.clone());
        record("logsumexp", y, &[&last], move |ctx, g| {
            let (x, y) = (ctx.input(0, &saved), ctx.output(&saved_y));
            // softmax(x) = exp(x - lse(x)); where all are -inf the difference is NaN and the gradient 0.
            let centre = Tensor::where_cond(
                &y.gt(&Tensor::full(f64::MIN, &[], y.dtype())?)?,
                &y,
                &Tensor::zeros(y.dims(), y.dtype())?,
            )?;
            let weights = x.sub(&centre.unsqueeze(-1)?)?.exp()?;
            Ok(vec![Some(weights.mul(&g.unsqueeze(-1)?)?)])
        })
    }

    /// The Euclidean norm of all elements, shape `[]`; its gradient at 0 is 0.
    pub fn norm_all(&self) -> Result<Tensor> {
        self.reshape(&[self.len()])?.norm(0)
    }

    /// The Euclidean norm along an axis, which is dropped; its gradient at 0 is 0.
    pub fn norm(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis("norm", axis)?;
        let last = self.move_last(axis)?;
        let n = last.dims().last().copied().unwrap_or(1);
        let shape = last.dims()[..last.rank() - 1].to_vec();
        let y = with_real!("norm", last.dtype(), T => last.with_slice::<T, _>("norm", |x| {
            build_of_rows::<T>(&shape, n, |start, y| {
                for (i, y) in y.iter_mut().enumerate() {
                    let row = (start + i) * n;
                    *y = T::of(kernels::sum_squares(&x[row..row + n]).sqrt());
                }
            })
        })?)?;
        let (saved, saved_y) = (last.data.clone(), y.clone());
        record("norm", y, &[&last], move |ctx, g| {
            let (x, y) = (ctx.input(0, &saved), ctx.output(&saved_y));
            let zero = y.eq(&Tensor::zeros(&[], y.dtype())?)?;
            let safe = Tensor::where_cond(&zero, &Tensor::ones(y.dims(), y.dtype())?, &y)?;
            Ok(vec![Some(x.mul(&g.div(&safe)?.unsqueeze(-1)?)?)])
        })
    }

    /// Axes as sorted indices without repetition; negative ones count from the end.
    pub(super) fn axes(&self, op: &'static str, axes: &[i64]) -> Result<Vec<usize>> {
        let mut found = axes
            .iter()
            .map(|&a| self.axis(op, a))
            .collect::<Result<Vec<_>>>()?;
        found.sort_unstable();
        if found.windows(2).any(|w| w[0] == w[1]) {
            return Err(Error::Value {
                op,
                detail: format!("an axis is named twice in {axes:?}"),
            });
        }
        Ok(found)
    }
}

fn kept_shape(dims: &[usize], axes: &[usize]) -> Vec<usize> {
    dims.iter()
        .enumerate()
        .map(|(i, &d)| if axes.contains(&i) { 1 } else { d })
        .collect()
}

/// The sum of a large slice: one partial sum for each fixed block, so that it does not depend on the number of threads.
fn sum_parallel<T: Real>(x: &[T]) -> f64 {
    const BLOCK: usize = 1 << 16;
    if x.len() <= BLOCK {
        return kernels::sum(x);
    }
    let mut parts = vec![0.0; x.len().div_ceil(BLOCK)];
    let pool = pool::global();
    let (n, base) = (parts.len(), pool::Ptr(parts.as_mut_ptr()));
    pool.run(|part| {
        let range = pool::range(n, 1, part, pool.parts());
        // SAFETY: the ranges of different parts do not overlap and lie within `parts`.
        let mine = unsafe { base.slice(range.start, range.len()) };
        for (block, out) in range.zip(mine) {
            *out = kernels::sum(&x[block * BLOCK..((block + 1) * BLOCK).min(x.len())]);
        }
    });
    parts.iter().sum()
}

fn sum_axes<T: Real>(x: &candle_core::Tensor, axes: &[usize]) -> Result<candle_core::Tensor> {
    let dims = x.dims();
    let shape: Vec<usize> = (0..dims.len())
        .filter(|i| !axes.contains(i))
        .map(|i| dims[i])
        .collect();
    let leading = axes.iter().enumerate().all(|(i, &a)| i == a);
    let kept: usize = shape.iter().product();
    if leading && kept > 1 {
        // Rows are added up whole: no transposition.
        return with_slice::<T, _>("sum", x, |x| sum_leading(x, kept, &shape))?;
    }
    let order: Vec<usize> = (0..dims.len())
        .filter(|i| !axes.contains(i))
        .chain(axes.iter().copied())
        .collect();
    let reduced: usize = axes.iter().map(|&a| dims[a]).product();
    with_slice::<T, _>("sum", &x.permute(order)?, |x| {
        build_of_rows::<T>(&shape, reduced, |start, y| {
            for (i, y) in y.iter_mut().enumerate() {
                let row = (start + i) * reduced;
                *y = T::of(kernels::sum(&x[row..row + reduced]));
            }
        })
    })?
}

/// Rows that are summed in the working precision; their sums are added up in f64.
const ROWS: usize = 256;

/// Sums `[rows, n]` over rows: blocks of rows in parallel where there are many of them, which reads memory as it lies, else columns.
fn sum_leading<T: Real>(x: &[T], n: usize, shape: &[usize]) -> Result<candle_core::Tensor> {
    let (pool, blocks) = (pool::global(), x.len().div_ceil(ROWS * n));
    let mut y = space::<T>(n)?;
    if blocks < 4 * pool.parts() {
        let quantum = if x.len() < 1 << 15 { n } else { 16 };
        pool::for_each_costly_piece(&mut y, quantum, x.len() / n, |first, y| {
            let mut total = vec![0.0f64; y.len()];
            for block in x.chunks(ROWS * n) {
                y.fill(T::ZERO);
                kernels::sum_columns_into(block, n, first, y);
                add_wide(y, &mut total);
            }
            y.iter_mut().zip(&total).for_each(|(y, t)| *y = T::of(*t));
        });
    } else {
        let mut sums = buffer::<T>(blocks * n)?;
        pool::for_each_costly_piece(&mut sums, n, ROWS, |start, sums| {
            let blocks = x[start * ROWS..].chunks(ROWS * n);
            for (block, sums) in blocks.zip(sums.chunks_exact_mut(n)) {
                kernels::sum_columns_into(block, n, 0, sums);
            }
        });
        let mut total = vec![0.0f64; n];
        sums.chunks_exact(n)
            .for_each(|sums| add_wide(sums, &mut total));
        y.iter_mut().zip(&total).for_each(|(y, t)| *y = T::of(*t));
    }
    Ok(candle_core::Tensor::from_vec(
        y,
        shape,
        &candle_core::Device::Cpu,
    )?)
}

crate::simd! {
    /// `total += x`, in f64.
    fn add_wide<T: Float>(x: &[T], total: &mut [f64]) {
        for (total, x) in total.iter_mut().zip(x) { *total += x.to_f64() }
    }
}
