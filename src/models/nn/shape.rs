//! Layers without parameters that change shapes: flatten, reshape, pooling, upsampling.

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Build, Module, Pass};
use crate::{Error, Result, checks::at_least_one};

/// Options of flatten: all axes from `start` on become one, `[n, c, h, w] -> [n, c h w]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Flatten {
    /// The first axis that is joined (default 1: the samples stay apart).
    pub start: usize,
}

impl Default for Flatten {
    fn default() -> Self {
        Self { start: 1 }
    }
}

/// Options of reshape: every sample gets another shape, `[n, ..] -> [n, shape..]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reshape {
    /// The shape of one sample (default []: one number).
    pub shape: Vec<usize>,
}

/// Options of max pooling: the largest value of every window that fits, `[n, c, h, w] -> [n, c, h / kernel, w / kernel]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaxPool2d {
    /// Side of a window, and the step between windows (at least 1; default 2).
    pub kernel: usize,
}

/// Options of average pooling: the mean of every window that fits, `[n, c, h, w] -> [n, c, h / kernel, w / kernel]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AvgPool2d {
    /// Side of a window, and the step between windows (at least 1; default 2).
    pub kernel: usize,
}

impl Default for MaxPool2d {
    fn default() -> Self {
        Self { kernel: 2 }
    }
}

impl Default for AvgPool2d {
    fn default() -> Self {
        Self { kernel: 2 }
    }
}

/// Options of the mean of every channel, `[n, c, ..] -> [n, c]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GlobalAvgPool {}

/// Options of upsampling: every pixel becomes a square of equal ones, `[n, c, h, w] -> [n, c, h scale, w scale]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upsample {
    /// Side of a square (at least 1; default 2).
    pub scale: usize,
}

impl Default for Upsample {
    fn default() -> Self {
        Self { scale: 2 }
    }
}

impl Module for Flatten {
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    fn build(&self, _: &mut Build) -> Result<()> {
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let Some((kept, joined)) = x.dims().split_at_checked(self.start) else {
            return Err(pass.refuse(format!("at least {} axes", self.start), x));
        };
        let shape = [kept, &[joined.iter().product()]].concat();
        Ok(x.reshape(&shape)?)
    }
}

impl Module for Reshape {
    fn validate(&self) -> Result<()> {
        rhapsode_tensor::memory::count("reshape", &self.shape)?;
        Ok(())
    }

    fn build(&self, _: &mut Build) -> Result<()> {
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let count: usize = self.shape.iter().product();
        match x.dims().split_first() {
            Some((&n, rest)) if rest.iter().product::<usize>() == count => {
                Ok(x.reshape(&[&[n], self.shape.as_slice()].concat())?)
            }
            _ => Err(pass.refuse(
                format!(
                    "[n, ..] with {count} numbers a sample, for {:?}",
                    self.shape
                ),
                x,
            )),
        }
    }
}

/// The sizes of an image batch `[n, c, h, w]`.
pub(crate) fn image(pass: &Pass, x: &Tensor) -> Result<[usize; 4]> {
    match *x.dims() {
        [n, c, h, w] => Ok([n, c, h, w]),
        _ => Err(pass.refuse("[n, c, h, w]", x)),
    }
}

/// Every window as the last axis: `[n, c, h / k, w / k, k k]`. What does not fill a window is left out.
fn windows(pass: &Pass, x: &Tensor, k: usize) -> Result<Tensor> {
    let [n, c, h, w] = image(pass, x)?;
    let (rows, columns) = (h / k, w / k);
    if rows == 0 || columns == 0 {
        return Err(pass.refuse(format!("[n, c, h, w] with sides of at least {k}"), x));
    }
    Ok(x.narrow(2, 0, rows * k)?
        .narrow(3, 0, columns * k)?
        .reshape(&[n, c, rows, k, columns, k])?
        .permute(&[0, 1, 2, 4, 3, 5])?
        .reshape(&[n, c, rows, columns, k * k])?)
}

impl Module for MaxPool2d {
    fn validate(&self) -> Result<()> {
        at_least_one("kernel", self.kernel)
    }

    fn build(&self, _: &mut Build) -> Result<()> {
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        Ok(windows(pass, x, self.kernel)?.max(-1)?)
    }
}

impl Module for AvgPool2d {
    fn validate(&self) -> Result<()> {
        at_least_one("kernel", self.kernel)
    }

    fn build(&self, _: &mut Build) -> Result<()> {
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        Ok(windows(pass, x, self.kernel)?.mean(&[-1])?)
    }
}

impl Module for GlobalAvgPool {
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    fn build(&self, _: &mut Build) -> Result<()> {
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        match *x.dims() {
            [n, c, ref rest @ ..] if !rest.is_empty() && !rest.contains(&0) => {
                Ok(x.reshape(&[n, c, rest.iter().product()])?.mean(&[-1])?)
            }
            _ => Err(pass.refuse("[n, c, ..] with at least three axes", x)),
        }
    }
}

impl Module for Upsample {
    fn validate(&self) -> Result<()> {
        at_least_one("scale", self.scale)?;
        if self.scale > 1 << 16 {
            return Err(Error::option(
                "scale",
                format!("must be at most 65536, got {}", self.scale),
            ));
        }
        Ok(())
    }

    fn build(&self, _: &mut Build) -> Result<()> {
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let [n, c, h, w] = image(pass, x)?;
        let s = self.scale;
        let shape = [n, c, h, s, w, s];
        rhapsode_tensor::memory::ensure(
            rhapsode_tensor::memory::count("upsample", &shape)?,
            x.dtype().size_in_bytes(),
        )?;
        Ok(x.reshape(&[n, c, h, 1, w, 1])?
            .broadcast_to(&shape)?
            .reshape(&[n, c, h * s, w * s])?)
    }
}
