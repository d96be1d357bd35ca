//! Pooling over the last one or two axes, `[.., l]` or `[.., h, w]`: maxima, means, and means on a grid of a given size.
//!
//! A maximum is found once; its value and gradient are those of [`Tensor::gather`]. A mean is a convolution with a constant
//! kernel; a mean on a grid is a product with a constant matrix along each axis.

use super::{ANY, Op, conv::Conv};
use crate::{
    Error, Result, Tensor, interrupt, memory, pool::for_each_piece, simd::math::Float, with_real,
};

/// How a pooling over `N` axes walks. Windows start `stride` apart; `size of y = floor((size + 2 padding - kernel) / stride) + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool<const N: usize> {
    /// Sizes of the window.
    pub kernel: [usize; N],
    /// Steps between windows. PyTorch's default is the kernel: see [`Pool::of`].
    pub stride: [usize; N],
    /// Places before and after, at most half the kernel: no maximum comes from there, a mean counts zeros.
    pub padding: [usize; N],
}

impl<const N: usize> Pool<N> {
    /// Windows side by side.
    pub fn of(kernel: [usize; N]) -> Self {
        Self {
            kernel,
            stride: kernel,
            padding: [0; N],
        }
    }
}

/// The walk over two axes and the sizes before and after.
struct Walk {
    pool: Pool<2>,
    size: [usize; 2],
    out: [usize; 2],
    leading: Vec<usize>,
}

impl Walk {
    fn of<const N: usize>(op: &'static str, x: &Tensor, pool: &Pool<N>) -> Result<Self> {
        let Some(first) = x.rank().checked_sub(N) else {
            let detail = format!("needs at least {N} axes, got shape {:?}", x.dims());
            return Err(Error::Shape { op, detail });
        };
        let (leading, last) = x.dims().split_at(first);
        let mut walk = Self {
            pool: Pool::of([1; 2]),
            size: [1; 2],
            out: [1; 2],
            leading: leading.to_vec(),
        };
        for (axis, &size) in last.iter().enumerate() {
            let (kernel, stride, padding) =
                (pool.kernel[axis], pool.stride[axis], pool.padding[axis]);
            if kernel == 0 || stride == 0 {
                let name = if kernel == 0 { "kernel" } else { "stride" };
                let detail = format!("{name} must be at least 1, got 0");
                return Err(Error::Value { op, detail });
            }
            if padding > kernel / 2 {
                let detail = format!("padding {padding} must be at most half the kernel {kernel}");
                return Err(Error::Value { op, detail });
            }
            let padded = size.saturating_add(2 * padding);
            if kernel > padded || size == 0 {
                let detail = format!(
                    "the kernel {kernel} does not fit axis {} of shape {:?} with padding {padding}",
                    first + axis,
                    x.dims()
                );
                return Err(Error::Shape { op, detail });
            }
            let at = axis + 2 - N;
            walk.pool.kernel[at] = kernel;
            walk.pool.stride[at] = stride;
            walk.pool.padding[at] = padding;
            walk.size[at] = size;
            walk.out[at] = (padded - kernel) / stride + 1;
        }
        Ok(walk)
    }

    fn rows(&self) -> Result<usize> {
        memory::count("pooling", &self.leading)
    }

    /// The shape of the result of a pooling over the last `axes` axes.
    fn shape(&self, axes: usize) -> Vec<usize> {
        let mut shape = self.leading.clone();
        shape.extend(&self.out[2 - axes..]);
        shape
    }

    /// The places along an axis that window `i` sees.
    fn window(&self, axis: usize, i: usize) -> std::ops::Range<usize> {
        let start = i * self.pool.stride[axis];
        let end = start + self.pool.kernel[axis];
        let padding = self.pool.padding[axis];
        start.saturating_sub(padding)..(end - padding).min(self.size[axis])
    }

    /// The place in a plane of the maximum of each window; the first NaN wins.
    fn argmax<T: Float>(&self, x: &[T]) -> Result<Vec<i64>> {
        let (plane, out) = (self.size[0] * self.size[1], self.out[0] * self.out[1]);
        let count = memory::count("max_pool", &[x.len() / plane.max(1), out])?;
        memory::ensure(count, 8)?;
        let mut places = vec![0i64; count];
        let stop = interrupt::poll();
        for_each_piece(&mut places, out, |start, places| {
            for (row, places) in places.chunks_exact_mut(out).enumerate() {
                if stop.requested() {
                    return;
                }
                let x = &x[(start / out + row) * plane..][..plane];
                for (i, place) in places.iter_mut().enumerate() {
                    *place = self.best(x, i / self.out[1], i % self.out[1]) as i64;
                }
            }
        });
        interrupt::check()?;
        Ok(places)
    }

    fn best<T: Float>(&self, x: &[T], i: usize, j: usize) -> usize {
        let (rows, columns) = (self.window(0, i), self.window(1, j));
        let mut best = rows.start * self.size[1] + columns.start;
        for row in rows {
            for at in row * self.size[1] + columns.start..row * self.size[1] + columns.end {
                if x[at] > x[best] || (x[at].is_nan() && !x[best].is_nan()) {
                    best = at;
                }
            }
        }
        best
    }
}

impl Tensor {
    /// The maximum of each window of `[.., l]`: `[.., l']`.
    pub fn max_pool1d(&self, pool: &Pool<1>) -> Result<Tensor> {
        max_pool(self, Walk::of("max_pool1d", self, pool)?, 1)
    }

    /// The maximum of each window of `[.., h, w]`: `[.., h', w']`.
    pub fn max_pool2d(&self, pool: &Pool<2>) -> Result<Tensor> {
        max_pool(self, Walk::of("max_pool2d", self, pool)?, 2)
    }

    /// The mean of each window of `[.., l]`, padding counted as zeros: `[.., l']`.
    pub fn avg_pool1d(&self, pool: &Pool<1>) -> Result<Tensor> {
        self.wide(|x| avg_pool(x, Walk::of("avg_pool1d", x, pool)?, 1))
    }

    /// The mean of each window of `[.., h, w]`, padding counted as zeros: `[.., h', w']`.
    pub fn avg_pool2d(&self, pool: &Pool<2>) -> Result<Tensor> {
        self.wide(|x| avg_pool(x, Walk::of("avg_pool2d", x, pool)?, 2))
    }

    /// Means on a grid of `sizes` over as many last axes: place `i` of `n'` is the mean over
    /// `floor(i n / n') .. ceil((i + 1) n / n')`.
    pub fn adaptive_avg_pool(&self, sizes: &[usize]) -> Result<Tensor> {
        let op = "adaptive_avg_pool";
        if self.dtype() == crate::DType::BF16 {
            return self.wide(|x| x.adaptive_avg_pool(sizes));
        }
        let first = self
            .rank()
            .checked_sub(sizes.len())
            .ok_or_else(|| Error::Shape {
                op,
                detail: format!("{} sizes for shape {:?}", sizes.len(), self.dims()),
            })?;
        let mut y = self.clone();
        for (i, &size) in sizes.iter().enumerate() {
            let n = self.dims()[first + i];
            if n == 0 || size == 0 {
                let detail = format!(
                    "axis {} of shape {:?} to size {size}: nothing to average",
                    first + i,
                    self.dims()
                );
                return Err(Error::Shape { op, detail });
            }
            if n != size {
                y = y.along(first + i, &grid_means(n, size, self.dtype())?)?;
            }
        }
        Ok(y)
    }

    /// The product with a matrix `[n', n]` along an axis: `y[.., i, ..] = sum_j m[i, j] x[.., j, ..]`.
    pub(super) fn along(&self, axis: usize, matrix: &Tensor) -> Result<Tensor> {
        if axis + 1 == self.rank() {
            self.matmul(&matrix.t()?)
        } else if axis + 2 == self.rank() {
            matrix.matmul(self)
        } else {
            self.move_last(axis)?
                .matmul(&matrix.t()?)?
                .move_last_to(axis)
        }
    }
}

fn grid_means(n: usize, size: usize, dtype: crate::DType) -> Result<Tensor> {
    memory::ensure(memory::count("adaptive_avg_pool", &[size, n])?, 16)?;
    let mut values = vec![0.0; size * n];
    for (i, row) in values.chunks_exact_mut(n).enumerate() {
        let places = i * n / size..((i + 1) * n).div_ceil(size);
        let weight = 1.0 / places.len() as f64;
        row[places].fill(weight);
    }
    Tensor::from_vec(values, &[size, n])?.to_dtype(dtype)
}

fn max_pool(x: &Tensor, walk: Walk, axes: usize) -> Result<Tensor> {
    let rows = walk.rows()?;
    let places = with_real!("max_pool", x.dtype(), T => x.with_slice::<T, _>("max_pool", |x| walk.argmax(x))?)?;
    let places = Tensor::from_vec(places, &[rows, walk.out[0] * walk.out[1]])?;
    x.reshape(&[rows, walk.size[0] * walk.size[1]])?
        .gather(1, &places)?
        .reshape(&walk.shape(axes))
}

fn avg_pool(x: &Tensor, walk: Walk, axes: usize) -> Result<Tensor> {
    let [h, w] = walk.pool.kernel;
    let weight = Tensor::full(1.0 / (h * w) as f64, &[1, 1, h, w], x.dtype())?;
    let conv = Conv {
        stride: walk.pool.stride,
        padding: walk.pool.padding,
        ..Conv::default()
    };
    x.reshape(&[walk.rows()?, 1, walk.size[0], walk.size[1]])?
        .conv2d(&weight, None, &conv)?
        .reshape(&walk.shape(axes))
}

/// What the contract holds.
pub(super) const MAX_POOL2D: Op = Op {
    name: "max_pool2d",
    apply: |x| {
        x[0].max_pool2d(&Pool {
            kernel: [3, 2],
            stride: [2, 2],
            padding: [1, 0],
        })
    },
    shapes: &[&[&[2, 3, 5, 6]], &[&[4, 7]], &[&[0, 4, 4]]],
    domain: ANY,
};
/// See [`MAX_POOL2D`].
pub(super) const MAX_POOL1D: Op = Op {
    name: "max_pool1d",
    apply: |x| x[0].max_pool1d(&Pool::of([2])),
    shapes: &[&[&[2, 3, 7]], &[&[67]]],
    domain: ANY,
};
/// See [`MAX_POOL2D`].
pub(super) const AVG_POOL2D: Op = Op {
    name: "avg_pool2d",
    apply: |x| {
        x[0].avg_pool2d(&Pool {
            kernel: [3, 2],
            stride: [2, 1],
            padding: [1, 1],
        })
    },
    shapes: &[&[&[2, 3, 5, 6]], &[&[4, 7]], &[&[0, 4, 4]]],
    domain: ANY,
};
/// See [`MAX_POOL2D`].
pub(super) const AVG_POOL1D: Op = Op {
    name: "avg_pool1d",
    apply: |x| x[0].avg_pool1d(&Pool::of([3])),
    shapes: &[&[&[2, 3, 7]], &[&[67]]],
    domain: ANY,
};
/// See [`MAX_POOL2D`].
pub(super) const ADAPTIVE_AVG_POOL: Op = Op {
    name: "adaptive_avg_pool",
    apply: |x| x[0].adaptive_avg_pool(&[3, 4]),
    shapes: &[&[&[2, 5, 6]], &[&[2, 2, 3, 9]]],
    domain: ANY,
};
