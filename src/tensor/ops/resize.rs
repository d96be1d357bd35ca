//! More or fewer places: enlarging by nearest places or linear interpolation, channels spread over places,
//! padding of several kinds. Each is a choice of places or a product with a constant matrix.

use super::{ANY, Op};
use crate::{Error, Result, Tensor, memory};

/// How places between places are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upsample {
    /// Place `i` of `n'` is place `floor(i n / n')` of `n`.
    Nearest,
    /// Between the two neighbours of `(i + 1/2) n / n' - 1/2`, as PyTorch without `align_corners`.
    Linear,
}

impl Upsample {
    /// All of them with their names in scripts.
    pub const ALL: &[(&str, Upsample)] = &[
        ("nearest", Upsample::Nearest),
        ("linear", Upsample::Linear),
        ("bilinear", Upsample::Linear),
    ];
}

/// What stands outside of a padded tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Padding {
    /// One value.
    Constant(f64),
    /// The values mirrored at the outermost place, which is not repeated.
    Reflect,
    /// The outermost value.
    Replicate,
    /// The values from the other end.
    Circular,
}

impl Tensor {
    /// The last `sizes.len()` axes brought to `sizes`.
    pub fn upsample(&self, sizes: &[usize], mode: Upsample) -> Result<Tensor> {
        let op = "upsample";
        if self.dtype() == crate::DType::BF16 {
            return self.wide(|x| x.upsample(sizes, mode));
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
                    "axis {} of shape {:?} to size {size}: nothing to show",
                    first + i,
                    self.dims()
                );
                return Err(Error::Shape { op, detail });
            }
            if n == size {
                continue;
            }
            y = match mode {
                Upsample::Nearest => {
                    memory::ensure(size, 8)?;
                    let place = |i: usize| (i as u128 * n as u128 / size as u128) as i64;
                    let places: Vec<i64> = (0..size).map(place).collect();
                    y.index_select((first + i) as i64, &Tensor::from_vec(places, &[size])?)?
                }
                Upsample::Linear => y.along(first + i, &interpolation(n, size, self.dtype())?)?,
            };
        }
        Ok(y)
    }

    /// Channels spread over places, `[.., c r^2, h, w]` to `[.., c, h r, w r]`:
    /// `y[c, h r + i, w r + j] = x[c r^2 + i r + j, h, w]`.
    pub fn pixel_shuffle(&self, r: usize) -> Result<Tensor> {
        let (op, dims) = ("pixel_shuffle", self.dims());
        let fits = match dims {
            [.., c, _, _] => r > 0 && r.checked_mul(r).is_some_and(|square| c % square == 0),
            _ => false,
        };
        if !fits {
            let detail = format!("expected [.., c r^2, h, w] with r = {r}, got {dims:?}");
            return Err(Error::Shape { op, detail });
        }
        let rank = dims.len();
        let (c, h, w) = (dims[rank - 3] / (r * r), dims[rank - 2], dims[rank - 1]);
        let leading: usize = dims[..rank - 3].iter().product();
        let mut shape = dims[..rank - 3].to_vec();
        shape.extend([c, h * r, w * r]);
        self.reshape(&[leading * c, r, r, h, w])?
            .permute(&[0, 3, 1, 4, 2])?
            .reshape(&shape)
    }

    /// Places put before and after along the last axes: `amounts` has a pair an axis, the last axis first, as in PyTorch.
    pub fn pad_with(&self, amounts: &[(usize, usize)], padding: Padding) -> Result<Tensor> {
        if amounts.len() > self.rank() {
            let detail = format!("{} pairs for shape {:?}", amounts.len(), self.dims());
            return Err(Error::Shape { op: "pad", detail });
        }
        let mut y = self.clone();
        for (i, &(before, after)) in amounts.iter().enumerate() {
            if (before, after) != (0, 0) {
                y = y.pad_axis(self.rank() - 1 - i, before, after, padding)?;
            }
        }
        Ok(y)
    }

    fn pad_axis(
        &self,
        axis: usize,
        before: usize,
        after: usize,
        padding: Padding,
    ) -> Result<Tensor> {
        let n = self.dims()[axis];
        let limit = match padding {
            Padding::Constant(0.0) => return self.pad(axis as i64, before, after),
            Padding::Constant(value) => {
                let side = |size: usize| {
                    let mut shape = self.dims().to_vec();
                    shape[axis] = size;
                    Tensor::full(value, &shape, self.dtype())
                };
                return Tensor::cat(&[&side(before)?, self, &side(after)?], axis as i64);
            }
            Padding::Reflect => n.saturating_sub(1),
            Padding::Replicate => {
                if n == 0 {
                    0
                } else {
                    usize::MAX >> 2
                }
            }
            Padding::Circular => n,
        };
        if before > limit || after > limit {
            let detail = format!(
                "{before} before and {after} after axis {axis} of shape {:?}: at most {limit} are there",
                self.dims()
            );
            return Err(Error::Shape { op: "pad", detail });
        }
        let total = before + n + after;
        memory::ensure(total, 8)?;
        let place = |i: usize| {
            let at = i as i64 - before as i64;
            let n = n as i64;
            match padding {
                Padding::Circular => at.rem_euclid(n),
                Padding::Reflect if at < 0 => -at,
                Padding::Reflect if at >= n => 2 * (n - 1) - at,
                _ => at.clamp(0, n - 1),
            }
        };
        let places: Vec<i64> = (0..total).map(place).collect();
        self.index_select(axis as i64, &Tensor::from_vec(places, &[total])?)
    }
}

/// The matrix `[size, n]` of linear interpolation.
fn interpolation(n: usize, size: usize, dtype: crate::DType) -> Result<Tensor> {
    memory::ensure(memory::count("upsample", &[size, n])?, 16)?;
    let mut values = vec![0.0; size * n];
    for (i, row) in values.chunks_exact_mut(n).enumerate() {
        let at = ((i as f64 + 0.5) * n as f64 / size as f64 - 0.5).max(0.0);
        let low = (at as usize).min(n - 1);
        let weight = at - low as f64;
        row[low] += 1.0 - weight;
        row[(low + 1).min(n - 1)] += weight;
    }
    Tensor::from_vec(values, &[size, n])?.to_dtype(dtype)
}

/// What the contract holds.
pub(super) const UPSAMPLE_NEAREST: Op = Op {
    name: "upsample, nearest",
    apply: |x| x[0].upsample(&[5, 7], Upsample::Nearest),
    shapes: &[&[&[2, 3, 4]], &[&[2, 2, 7, 3]]],
    domain: ANY,
};
/// See [`UPSAMPLE_NEAREST`].
pub(super) const UPSAMPLE_LINEAR: Op = Op {
    name: "upsample, linear",
    apply: |x| x[0].upsample(&[5, 7], Upsample::Linear),
    shapes: &[&[&[2, 3, 4]], &[&[2, 2, 7, 3]]],
    domain: ANY,
};
/// See [`UPSAMPLE_NEAREST`].
pub(super) const PIXEL_SHUFFLE: Op = Op {
    name: "pixel_shuffle",
    apply: |x| x[0].pixel_shuffle(2),
    shapes: &[&[&[4, 2, 3]], &[&[2, 8, 1, 3]]],
    domain: ANY,
};
const PAIRS: [(usize, usize); 2] = [(2, 1), (0, 2)];
/// See [`UPSAMPLE_NEAREST`].
pub(super) const PAD_CONSTANT: Op = Op {
    name: "pad with a constant",
    apply: |x| x[0].pad_with(&PAIRS, Padding::Constant(1.5)),
    shapes: &[&[&[3, 5]], &[&[2, 3, 4]], &[&[0, 4]]],
    domain: ANY,
};
/// See [`UPSAMPLE_NEAREST`].
pub(super) const PAD_REFLECT: Op = Op {
    name: "pad, reflected",
    apply: |x| x[0].pad_with(&PAIRS, Padding::Reflect),
    shapes: &[&[&[3, 5]], &[&[2, 3, 4]]],
    domain: ANY,
};
/// See [`UPSAMPLE_NEAREST`].
pub(super) const PAD_REPLICATE: Op = Op {
    name: "pad, replicated",
    apply: |x| x[0].pad_with(&PAIRS, Padding::Replicate),
    shapes: &[&[&[3, 5]], &[&[2, 1, 1]]],
    domain: ANY,
};
/// See [`UPSAMPLE_NEAREST`].
pub(super) const PAD_CIRCULAR: Op = Op {
    name: "pad, circular",
    apply: |x| x[0].pad_with(&PAIRS, Padding::Circular),
    shapes: &[&[&[3, 5]], &[&[2, 2, 2]]],
    domain: ANY,
};
