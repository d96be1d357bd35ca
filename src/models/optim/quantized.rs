//! Block-wise 8-bit quantization of tensors, by itself: what 8-bit optimizers do to their states, to look at
//! (Dettmers, Lewis, Shleifer, Zettlemoyer 2021, arXiv 2110.02861).

use rhapsode_tensor::{
    DType, Tensor,
    ops::quantize::{Blocks, Code, Codebook, Deviation, EXPONENTS, Rounding, Writing},
    random::Stream,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CodeName, RoundingName};
use crate::{Error, Result};

/// Options of a code book.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CodeOptions {
    /// Whether there are negative values (default true).
    pub signed: bool,
    /// Exponent positions of the dynamic code: decades that it covers (1 to 7; default 7).
    pub exponents: usize,
}

impl Default for CodeOptions {
    fn default() -> Self {
        Self {
            signed: true,
            exponents: EXPONENTS,
        }
    }
}

/// Options of a quantization.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuantizeOptions {
    /// Numbers that share a scale (at least 1; default 256).
    pub block: usize,
    /// How the 256 values lie (default "dynamic").
    pub code: CodeName,
    /// Exponent positions of the dynamic code: decades that it covers (1 to 7; default 7).
    pub exponents: usize,
    /// Whether there are negative values (default true); without them all 256 codes are for numbers >= 0.
    pub signed: bool,
    /// How numbers between two values are rounded (default "nearest").
    pub rounding: RoundingName,
    /// Whether positive numbers never become 0 (default false; needs `signed: false`).
    pub floor: bool,
    /// Seed of stochastic rounding (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        Self {
            block: 256,
            code: CodeName::Dynamic,
            exponents: EXPONENTS,
            signed: true,
            rounding: RoundingName::Nearest,
            floor: false,
            seed: None,
        }
    }
}

impl QuantizeOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        if self.block == 0 {
            return Err(Error::option("block", "must be at least 1, got 0"));
        }
        if self.floor && self.signed {
            let message = "is for numbers >= 0: it needs `signed: false`";
            return Err(Error::option("floor", message));
        }
        code(self.code, self.exponents).map(drop)
    }

    fn writing(&self) -> Result<Writing> {
        self.validate()?;
        let stream = || Stream::new(self.seed.unwrap_or(0), "rounding");
        Ok(Writing {
            block: self.block,
            code: code(self.code, self.exponents)?,
            signed: self.signed,
            floor: self.floor,
            rounding: match self.rounding {
                RoundingName::Nearest => Rounding::Nearest,
                RoundingName::Stochastic => Rounding::Stochastic(stream()),
            },
        })
    }
}

fn code(name: CodeName, exponents: usize) -> Result<Code> {
    if !(1..=EXPONENTS).contains(&exponents) {
        let message = format!("must be 1 to {EXPONENTS}, got {exponents}");
        return Err(Error::option("exponents", message));
    }
    Ok(match name {
        CodeName::Dynamic => Code::Dynamic(exponents),
        CodeName::Linear => Code::Linear,
    })
}

/// The 256 values of a code, ascending, f32 `[256]`.
pub fn codebook(name: CodeName, options: &CodeOptions) -> Result<Tensor> {
    let book = Codebook::of(code(name, options.exponents)?, options.signed);
    Ok(Tensor::from_vec(book.map().to_vec(), &[256])?)
}

/// A tensor in 8 bits.
#[derive(Clone)]
pub struct Quantized {
    blocks: Blocks,
    shape: Vec<usize>,
    dtype: DType,
}

/// Quantizes a tensor of finite f32 or f64: of every block of its flattened numbers the largest absolute value, and for each
/// number the code of the nearest value to its share of it.
pub fn quantize(x: &Tensor, options: &QuantizeOptions) -> Result<Quantized> {
    let writing = options.writing()?;
    let refuse = |message: String| Error::Value {
        what: "quantize",
        message,
    };
    if !x.dtype().is_float() {
        return Err(refuse(format!(
            "expected floats, got {}",
            x.dtype().as_str()
        )));
    }
    if !x.is_finite()? {
        return Err(refuse("the tensor holds NaN or infinity".into()));
    }
    let negative = |x: &[f64]| x.iter().any(|x| *x < 0.0);
    if !writing.signed && negative(&x.to_vec()?) {
        return Err(refuse(
            "the tensor holds negative numbers, for which `signed: true` has codes".into(),
        ));
    }
    let blocks = match x.dtype() {
        DType::F64 => x.with_slice::<f64, _>("quantize", |x| Blocks::of(x, writing))?,
        _ => x.with_slice::<f32, _>("quantize", |x| Blocks::of(x, writing))?,
    };
    Ok(Quantized {
        blocks,
        shape: x.dims().to_vec(),
        dtype: x.dtype(),
    })
}

/// Quantizes and dequantizes: how far the numbers move.
pub fn quantization_error(x: &Tensor, options: &QuantizeOptions) -> Result<Deviation> {
    let back = quantize(x, options)?.dequantize()?;
    Ok(Deviation::between(&x.to_vec()?, &back.to_vec()?))
}

impl Quantized {
    /// The numbers that it stands for, in the dtype and shape of the tensor it was made of.
    pub fn dequantize(&self) -> Result<Tensor> {
        rhapsode_tensor::memory::ensure(self.blocks.codes().len(), self.dtype.size_in_bytes())?;
        let count = self.blocks.codes().len();
        Ok(match self.dtype {
            DType::F64 => {
                let mut out = vec![0f64; count];
                self.blocks.dequantize(&mut out);
                Tensor::from_vec(out, &self.shape)?
            }
            dtype => {
                let mut out = vec![0f32; count];
                self.blocks.dequantize(&mut out);
                Tensor::from_vec(out, &self.shape)?.to_dtype(dtype)?
            }
        })
    }

    /// The codes, u8 of the tensor's shape.
    pub fn codes(&self) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.blocks.codes().to_vec(), &self.shape)?)
    }

    /// The largest absolute value of every block, f32.
    pub fn absmax(&self) -> Result<Tensor> {
        let absmax = self.blocks.absmax();
        Ok(Tensor::from_vec(absmax.to_vec(), &[absmax.len()])?)
    }

    /// The shape of the tensor.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Numbers that share a scale.
    pub fn block(&self) -> usize {
        self.blocks.writing().block
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.blocks.bytes()
    }
}
