//! Norms and dropout.

use rhapsode_tensor::{DType, Tensor, memory, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Build, Fill, Module, Pass};
use crate::{
    Error, Result,
    checks::{at_least_one, positive},
};

/// Options of layer norm: `(x - mean) / sqrt(var + eps) * weight + bias` over the last axis, `[.., size]`
/// (Ba, Kiros, Hinton 2016, arXiv 1607.06450).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LayerNorm {
    /// Size of the last axis (at least 1; default 1).
    pub size: usize,
    /// Added to the variance (> 0; default 1e-5).
    pub eps: f64,
}

/// Options of RMS norm: `x / sqrt(mean x^2 + eps) * weight` over the last axis, `[.., size]` (Zhang, Sennrich 2019,
/// arXiv 1910.07467).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RmsNorm {
    /// Size of the last axis (at least 1; default 1).
    pub size: usize,
    /// Added to the mean of squares (> 0; default 1e-5).
    pub eps: f64,
}

/// Options of group norm: mean 0 and variance 1 of each group of channels of a sample, then a weight and a bias for each
/// channel, `[n, channels, ..]` (Wu, He 2018, arXiv 1803.08494).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupNorm {
    /// Number of groups (at least 1, divides channels; default 1).
    pub groups: usize,
    /// Number of channels, the second axis (at least 1; default 1).
    pub channels: usize,
    /// Added to the variance (> 0; default 1e-5).
    pub eps: f64,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self { size: 1, eps: 1e-5 }
    }
}

impl Default for RmsNorm {
    fn default() -> Self {
        Self { size: 1, eps: 1e-5 }
    }
}

impl Default for GroupNorm {
    fn default() -> Self {
        Self {
            groups: 1,
            channels: 1,
            eps: 1e-5,
        }
    }
}

impl Module for LayerNorm {
    fn validate(&self) -> Result<()> {
        at_least_one("size", self.size)?;
        positive("eps", self.eps)
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        build.param("weight", &[self.size], Fill::Constant(1.0));
        build.param("bias", &[self.size], Fill::Constant(0.0));
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        pass.last(x, self.size)?;
        let (weight, bias) = (pass.param()?, pass.param()?);
        Ok(x.layer_norm(weight, bias, self.eps)?)
    }
}

impl Module for RmsNorm {
    fn validate(&self) -> Result<()> {
        at_least_one("size", self.size)?;
        positive("eps", self.eps)
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        build.param("weight", &[self.size], Fill::Constant(1.0));
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        pass.last(x, self.size)?;
        Ok(x.rms_norm(pass.param()?, self.eps)?)
    }
}

impl Module for GroupNorm {
    fn validate(&self) -> Result<()> {
        at_least_one("groups", self.groups)?;
        at_least_one("channels", self.channels)?;
        if !self.channels.is_multiple_of(self.groups) {
            let message = format!(
                "must divide channels {}, got {}",
                self.channels, self.groups
            );
            return Err(Error::option("groups", message));
        }
        positive("eps", self.eps)
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        build.param("weight", &[self.channels], Fill::Constant(1.0));
        build.param("bias", &[self.channels], Fill::Constant(0.0));
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        if !matches!(x.dims(), [_, c, ..] if *c == self.channels) {
            return Err(pass.refuse(format!("[n, {}, ..]", self.channels), x));
        }
        let (weight, bias) = (pass.param()?, pass.param()?);
        Ok(x.group_norm(self.groups, weight, bias, self.eps)?)
    }
}

/// Options of dropout: in training every number becomes 0 with probability `p`, the others grow by `1 / (1 - p)`; in
/// evaluation nothing happens (Srivastava et al. 2014). Any shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dropout {
    /// Probability of 0 (in [0, 1); default 0.5).
    pub p: f64,
}

impl Default for Dropout {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

/// Refuses what is no probability below 1.
pub(crate) fn check_dropout(key: &str, p: f64) -> Result<()> {
    if (0.0..1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::option(key, format!("must lie in [0, 1), got {p}")))
}

/// Numbers of `x` dropped with probability `p` by a stream's draws, others scaled by `1 / (1 - p)`.
pub(crate) fn drop_out(x: &Tensor, p: f64, mask: Option<Stream>) -> Result<Tensor> {
    let Some(stream) = mask.filter(|_| p > 0.0) else {
        return Ok(x.clone());
    };
    memory::ensure(x.len(), 2 * size_of::<f32>())?;
    let mut draws = vec![0f32; x.len()];
    stream.uniform(&mut draws);
    let keep = 1.0 / (1.0 - p);
    for draw in &mut draws {
        *draw = if f64::from(*draw) < p {
            0.0
        } else {
            keep as f32
        };
    }
    let mask = Tensor::from_vec(draws, x.dims())?;
    // In f64 the factor of f32 would be off in the eighth place.
    let mask = match x.dtype() {
        DType::F64 => mask.to_dtype(DType::F64)?.sign()?.affine(keep, 0.0)?,
        dtype => mask.to_dtype(dtype)?,
    };
    Ok(x.mul(&mask)?)
}

impl Module for Dropout {
    fn validate(&self) -> Result<()> {
        check_dropout("p", self.p)
    }

    fn build(&self, _: &mut Build) -> Result<()> {
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let mask = pass.mask();
        drop_out(x, self.p, mask)
    }
}
