//! The checked sizes of a convolution, and where each element of the kernel falls.

use std::ops::Range;

use super::{Conv, ConvTranspose};
use crate::{Error, Result, Tensor};

/// Sizes of the convolution `[batch, groups * inputs, size] -> [batch, groups * outputs, out]`. What has
/// one axis has a first one of size 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// The operation as the user called it.
    pub op: &'static str,
    pub batch: usize,
    pub groups: usize,
    /// Channels of `x` a group.
    pub inputs: usize,
    /// Channels of `y` a group.
    pub outputs: usize,
    pub size: [usize; 2],
    pub kernel: [usize; 2],
    pub out: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
}

impl Geometry {
    /// Of `x: [n, c, ..]` and `weight: [out, c / groups, ..]`.
    pub fn of<const N: usize>(
        op: &'static str,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        conv: &Conv<N>,
    ) -> Result<Self> {
        let (&[batch, c, ..], &[o, per_group, ..]) = ranks::<N>(op, x, weight)? else {
            return Err(shape(op, "needs channels".into()));
        };
        check_options(op, conv)?;
        let groups = conv.groups;
        if per_group.checked_mul(groups) != Some(c) {
            let detail = format!(
                "x {:?} has {c} channels, weight {:?} with {groups} groups takes {}",
                x.dims(),
                weight.dims(),
                per_group.saturating_mul(groups)
            );
            return Err(shape(op, detail));
        }
        if o % groups != 0 {
            let detail = format!("{o} output channels do not fall into {groups} groups");
            return Err(shape(op, detail));
        }
        check_dtypes_and_bias(op, x, weight, bias, o)?;
        let mut geometry = Self::blank(op, batch, [groups, per_group, o / groups], conv);
        for axis in 0..N {
            let at = axis + 2 - N;
            let (size, kernel) = (x.dims()[2 + axis], weight.dims()[2 + axis]);
            let (stride, padding) = (conv.stride[axis], conv.padding[axis]);
            let span = span(op, kernel, conv.dilation[axis])?;
            let padded = padding
                .checked_mul(2)
                .and_then(|p| p.checked_add(size))
                .filter(|&n| n <= isize::MAX as usize)
                .ok_or_else(|| shape(op, format!("padding {padding} is too large")))?;
            if span > padded {
                let detail = format!(
                    "the kernel spans {span} places, axis {} of x {:?} with padding {padding} has {padded}",
                    axis + 2,
                    x.dims()
                );
                return Err(shape(op, detail));
            }
            geometry.size[at] = size;
            geometry.kernel[at] = kernel;
            geometry.out[at] = (padded - span) / stride + 1;
        }
        Ok(geometry)
    }

    /// Of the convolution whose transpose takes `y: [n, c, ..]` and `weight: [c, out / groups, ..]`.
    pub fn of_transpose<const N: usize>(
        op: &'static str,
        y: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: &ConvTranspose<N>,
    ) -> Result<Self> {
        let conv = &options.conv;
        let (&[batch, c, ..], &[rows, per_group, ..]) = ranks::<N>(op, y, weight)? else {
            return Err(shape(op, "needs channels".into()));
        };
        check_options(op, conv)?;
        let groups = conv.groups;
        if rows != c || c % groups != 0 {
            let detail = if rows != c {
                format!(
                    "x {:?} has {c} channels, weight {:?} takes {rows}",
                    y.dims(),
                    weight.dims()
                )
            } else {
                format!("{c} input channels do not fall into {groups} groups")
            };
            return Err(shape(op, detail));
        }
        check_dtypes_and_bias(op, y, weight, bias, per_group.saturating_mul(groups))?;
        let mut geometry = Self::blank(op, batch, [groups, per_group, c / groups], conv);
        for axis in 0..N {
            let at = axis + 2 - N;
            let (size, kernel) = (y.dims()[2 + axis], weight.dims()[2 + axis]);
            geometry.out[at] = size;
            geometry.kernel[at] = kernel;
            geometry.size[at] = transposed_size(op, size, kernel, axis, options)?;
        }
        Ok(geometry)
    }

    /// Without its sizes.
    fn blank<const N: usize>(
        op: &'static str,
        batch: usize,
        [groups, inputs, outputs]: [usize; 3],
        conv: &Conv<N>,
    ) -> Self {
        let mut geometry = Self {
            op,
            batch,
            groups,
            inputs,
            outputs,
            size: [1; 2],
            kernel: [1; 2],
            out: [1; 2],
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
        };
        for axis in 0..N {
            let at = axis + 2 - N;
            geometry.stride[at] = conv.stride[axis];
            geometry.padding[at] = conv.padding[axis];
            geometry.dilation[at] = conv.dilation[axis];
        }
        geometry
    }

    /// Elements of a channel of `x`.
    pub fn plane(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Elements of a channel of `y`.
    pub fn positions(&self) -> usize {
        self.out[0] * self.out[1]
    }

    /// Elements of a channel of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether `y` at a position sees `x` at that position alone: then nothing needs to be rearranged.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1]
            && self.stride == [1, 1]
            && self.size == self.out
            && self.padding == [0, 0]
    }

    /// Whether each channel of `y` sees one of `x` and hardly any other sees that: then a product of matrices would
    /// have one row.
    pub fn is_depthwise(&self) -> bool {
        self.inputs == 1 && self.outputs <= 2
    }

    pub fn x_shape(&self) -> [usize; 4] {
        [
            self.batch,
            self.groups * self.inputs,
            self.size[0],
            self.size[1],
        ]
    }

    pub fn y_shape(&self) -> [usize; 4] {
        [
            self.batch,
            self.groups * self.outputs,
            self.out[0],
            self.out[1],
        ]
    }

    pub fn w_shape(&self) -> [usize; 4] {
        [
            self.groups * self.outputs,
            self.inputs,
            self.kernel[0],
            self.kernel[1],
        ]
    }

    /// Calls `f(at, len, from)` for each stretch of the positions `range` that element `tap` of the
    /// kernel joins with places of `x`: positions `range.start + at ..` of number `len`, places `from`,
    /// `from + stride`, ... of the plane.
    #[inline(always)]
    pub fn runs(&self, tap: usize, range: Range<usize>, mut f: impl FnMut(usize, usize, usize)) {
        let (ky, kx) = (tap / self.kernel[1], tap % self.kernel[1]);
        let (rows, columns) = (self.inside(0, ky), self.inside(1, kx));
        let width = self.out[1];
        if range.is_empty() || columns.is_empty() {
            return;
        }
        let (top, bottom) = (range.start / width, (range.end - 1) / width + 1);
        for row in top.max(rows.start)..bottom.min(rows.end) {
            let first = range.start.max(row * width + columns.start);
            let last = range.end.min(row * width + columns.end);
            if first < last {
                let y = row * self.stride[0] + ky * self.dilation[0] - self.padding[0];
                let column = first - row * width;
                let x = column * self.stride[1] + kx * self.dilation[1] - self.padding[1];
                f(first - range.start, last - first, y * self.size[1] + x);
            }
        }
    }

    /// The positions along an axis at which element `k` of the kernel lies inside of `x`.
    fn inside(&self, axis: usize, k: usize) -> Range<usize> {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let shift = k * self.dilation[axis];
        let first = padding.saturating_sub(shift).div_ceil(stride);
        let end = (self.size[axis] + padding)
            .saturating_sub(shift)
            .div_ceil(stride);
        first..end.min(self.out[axis])
    }
}

fn shape(op: &'static str, detail: String) -> Error {
    Error::Shape { op, detail }
}

/// The shapes, when they have `2 + N` axes.
fn ranks<'a, const N: usize>(
    op: &'static str,
    x: &'a Tensor,
    weight: &'a Tensor,
) -> Result<(&'a [usize], &'a [usize])> {
    if x.rank() == 2 + N && weight.rank() == 2 + N {
        return Ok((x.dims(), weight.dims()));
    }
    let (size, kernel) = if N == 1 {
        ("l", "k")
    } else {
        ("h, w", "kh, kw")
    };
    let channels = if op.starts_with("conv_transpose") {
        "c, out / groups"
    } else {
        "out, c / groups"
    };
    let detail = format!(
        "expected x [n, c, {size}] and weight [{channels}, {kernel}], got {:?} and {:?}",
        x.dims(),
        weight.dims()
    );
    Err(shape(op, detail))
}

fn check_options<const N: usize>(op: &'static str, conv: &Conv<N>) -> Result<()> {
    let zero = |name: &str| Error::Value {
        op,
        detail: format!("{name} must be at least 1, got 0"),
    };
    if conv.stride.contains(&0) {
        return Err(zero("stride"));
    }
    if conv.dilation.contains(&0) {
        return Err(zero("dilation"));
    }
    if conv.groups == 0 {
        return Err(zero("groups"));
    }
    Ok(())
}

fn check_dtypes_and_bias(
    op: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    channels: usize,
) -> Result<()> {
    if let Some(bias) = bias
        && bias.dims() != [channels]
    {
        let detail = format!("expected bias [{channels}], got {:?}", bias.dims());
        return Err(shape(op, detail));
    }
    match [Some(weight), bias]
        .into_iter()
        .flatten()
        .find(|t| t.dtype() != x.dtype())
    {
        Some(other) => Err(Error::DType {
            op,
            expected: x.dtype().as_str(),
            got: other.dtype(),
        }),
        None => Ok(()),
    }
}

/// The places from the first element of the kernel to the last.
fn span(op: &'static str, kernel: usize, dilation: usize) -> Result<usize> {
    if kernel == 0 {
        return Err(shape(op, "the kernel is empty".into()));
    }
    (kernel - 1)
        .checked_mul(dilation)
        .and_then(|n| n.checked_add(1))
        .filter(|&n| n <= isize::MAX as usize)
        .ok_or_else(|| shape(op, format!("dilation {dilation} is too large")))
}

/// The size of the output of a transposed convolution along an axis.
fn transposed_size<const N: usize>(
    op: &'static str,
    size: usize,
    kernel: usize,
    axis: usize,
    options: &ConvTranspose<N>,
) -> Result<usize> {
    let (conv, extra) = (&options.conv, options.output_padding[axis]);
    let (stride, padding, dilation) = (conv.stride[axis], conv.padding[axis], conv.dilation[axis]);
    if extra >= stride.max(dilation) {
        return Err(Error::Value {
            op,
            detail: format!(
                "output_padding {extra} must be less than stride {stride} or dilation {dilation}"
            ),
        });
    }
    let span = span(op, kernel, dilation)?;
    let full = size
        .checked_sub(1)
        .and_then(|n| n.checked_mul(stride)?.checked_add(span)?.checked_add(extra));
    let cut = full.and_then(|n| n.checked_sub(padding.checked_mul(2)?));
    match cut {
        Some(n) if n > 0 && n <= isize::MAX as usize => Ok(n),
        _ => {
            let detail = format!(
                "axis {} of size {size} with stride {stride}, kernel {kernel} and padding {padding} leaves nothing",
                axis + 2
            );
            Err(shape(op, detail))
        }
    }
}
