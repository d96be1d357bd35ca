//! Linear measurements of images `[c, h, w]`, with exact adjoints.
//!
//! "box" takes a centred square away, "super-resolution" is the mean over `k x k` pixels, "blur" a zero-padded convolution with a normalised Gaussian centred on its
//! middle tap, "matrix" any. (The official code's blurs are off-centre by half a pixel, its "transposes" are not adjoints.)

use rhapsode_tensor::{Tensor, ops::conv::Conv, ops::pooling::Pool};

use crate::{Error, Result, checks::positive};

/// A measurement.
#[derive(Clone, Debug)]
pub enum Operator {
    /// Times a mask `[c, h, w]` of zeros and ones.
    Mask {
        /// 1 where it is measured.
        mask: Tensor,
    },
    /// Mean over squares.
    SuperResolution {
        /// Size of an image `[c, h, w]`.
        shape: [usize; 3],
        /// Side of a square.
        scale: usize,
    },
    /// Convolution with a Gaussian.
    Blur {
        /// Size of an image `[c, h, w]`.
        shape: [usize; 3],
        /// `[taps, taps]`.
        kernel: Tensor,
    },
    /// Any matrix `[m, dim]`.
    Matrix {
        /// The matrix.
        matrix: Tensor,
    },
}

impl Operator {
    /// Takes a centred square of `size` pixels away; its first row is `h / 2 - size / 2`.
    pub fn centred_box(shape: [usize; 3], size: usize) -> Result<Self> {
        let [c, h, w] = shape;
        if size == 0 || size > h.min(w) {
            return Err(Error::option(
                "size",
                format!("must lie in 1..={}, got {size}", h.min(w)),
            ));
        }
        let (top, left) = (h / 2 - size / 2, w / 2 - size / 2);
        let inside = |i: usize| {
            let (row, column) = (i / w % h, i % w);
            (top..top + size).contains(&row) && (left..left + size).contains(&column)
        };
        let mask: Vec<f64> = (0..c * h * w)
            .map(|i| if inside(i) { 0.0 } else { 1.0 })
            .collect();
        Ok(Operator::Mask {
            mask: Tensor::from_vec(mask, &[c, h, w])?,
        })
    }

    /// The mean over `scale x scale` pixels.
    pub fn super_resolution(shape: [usize; 3], scale: usize) -> Result<Self> {
        let [_, h, w] = shape;
        match scale > 0 && h % scale == 0 && w % scale == 0 {
            true => Ok(Operator::SuperResolution { shape, scale }),
            false => Err(Error::option(
                "scale",
                format!("must divide the sides {h} and {w}, got {scale}"),
            )),
        }
    }

    /// A Gaussian blur with an odd number of taps and a standard deviation in pixels.
    pub fn blur(shape: [usize; 3], taps: usize, sigma: f64) -> Result<Self> {
        if taps.is_multiple_of(2) {
            return Err(Error::option(
                "taps",
                format!("must be odd, so that the blur has a middle, got {taps}"),
            ));
        }
        positive("sigma", sigma)?;
        let at = |i: usize| (-0.5 * ((i as f64 - (taps / 2) as f64) / sigma).powi(2)).exp();
        let total: f64 = (0..taps).map(at).sum();
        let weights: Vec<f64> = (0..taps * taps)
            .map(|i| at(i / taps) * at(i % taps) / (total * total))
            .collect();
        Ok(Operator::Blur {
            shape,
            kernel: Tensor::from_vec(weights, &[taps, taps])?,
        })
    }

    /// Number of elements of what is measured.
    pub fn dim(&self) -> usize {
        match self {
            Operator::Mask { mask } => mask.len(),
            Operator::SuperResolution { shape, .. } | Operator::Blur { shape, .. } => {
                shape.iter().product()
            }
            Operator::Matrix { matrix } => matrix.dims().last().copied().unwrap_or(0),
        }
    }

    /// `A x` of samples `[n, dim]` or `[n, c, h, w]`, differentiable; images come back as images, rows as rows.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.fits(x, self.dim())?;
        self.through(x, |x| self.forward(x))
    }

    /// `A^T y`.
    pub fn adjoint(&self, y: &Tensor) -> Result<Tensor> {
        let size = match self {
            Operator::SuperResolution { scale, .. } => self.dim() / (scale * scale),
            Operator::Matrix { matrix } => matrix.dims().first().copied().unwrap_or(0),
            _ => self.dim(),
        };
        self.fits(y, size)?;
        self.through(y, |y| self.backward(y))
    }

    fn fits(&self, x: &Tensor, size: usize) -> Result<()> {
        let n = x.dims().first().copied().unwrap_or(0);
        match x.rank() >= 2 && x.len() == n * size {
            true => Ok(()),
            false => Err(Error::Shape {
                what: "measurement",
                expected: format!("samples of {size} numbers"),
                got: x.dims().to_vec(),
            }),
        }
    }

    /// As images where the operator is one of images, and back to rows.
    fn through(&self, x: &Tensor, of: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if let Operator::Matrix { .. } = self {
            let n = x.dim(0)?;
            return of(&x.reshape(&[n, x.len() / n.max(1)])?);
        }
        let rows = x.rank() == 2;
        if !rows {
            return of(x);
        }
        let n = x.dim(0)?;
        let [c, h, w] = self.image(x.len() / n.max(1));
        let y = of(&x.reshape(&[n, c, h, w])?)?;
        let size = y.len() / n.max(1);
        Ok(y.reshape(&[n, size])?)
    }

    /// The shape of images of `size` numbers.
    fn image(&self, size: usize) -> [usize; 3] {
        match self {
            Operator::Mask { mask } => match *mask.dims() {
                [c, h, w] => [c, h, w],
                _ => [1, 1, size],
            },
            Operator::SuperResolution {
                shape: [c, h, w],
                scale,
            } if c * h * w != size => [*c, h / scale, w / scale],
            Operator::SuperResolution { shape, .. } | Operator::Blur { shape, .. } => *shape,
            Operator::Matrix { .. } => [1, 1, size],
        }
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Operator::Mask { mask } => x.mul(&mask.to_dtype(x.dtype())?)?,
            Operator::SuperResolution { scale, .. } => x.avg_pool2d(&Pool::of([*scale, *scale]))?,
            Operator::Blur { kernel, .. } => blurred(x, kernel)?,
            Operator::Matrix { matrix } => x.matmul(&matrix.to_dtype(x.dtype())?.t()?)?,
        })
    }

    fn backward(&self, y: &Tensor) -> Result<Tensor> {
        Ok(match self {
            // A mask and a symmetric blur are their own adjoints.
            Operator::Mask { .. } | Operator::Blur { .. } => self.forward(y)?,
            Operator::SuperResolution { scale, .. } => {
                let rows = y
                    .repeat_interleave(*scale, 2)?
                    .repeat_interleave(*scale, 3)?;
                rows.affine(1.0 / (scale * scale) as f64, 0.0)?
            }
            Operator::Matrix { matrix } => y.matmul(&matrix.to_dtype(y.dtype())?)?,
        })
    }
}

/// A zero-padded convolution of each channel.
fn blurred(x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
    let &[n, c, h, w] = x.dims() else {
        return Err(Error::Shape {
            what: "blur",
            expected: "[n, c, h, w]".into(),
            got: x.dims().to_vec(),
        });
    };
    let taps = kernel.dim(0)?;
    let weight = kernel.to_dtype(x.dtype())?.reshape(&[1, 1, taps, taps])?;
    let conv = Conv {
        padding: [taps / 2, taps / 2],
        ..Conv::default()
    };
    let y = x.reshape(&[n * c, 1, h, w])?.conv2d(&weight, None, &conv)?;
    Ok(y.reshape(&[n, c, h, w])?)
}
