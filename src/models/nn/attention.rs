//! Multi-head attention.
//!
//! ```text
//! y = W_o concat_h softmax(q_h k_h^T / sqrt(d / heads) + mask) v_h,    q = W_q x, k = W_k c, v = W_v c
//! ```
//!
//! with `c = x` (self-attention) or another sequence, the context (cross-attention). `x: [n, t, size]`, context
//! `[n, s, context]`, `y: [n, t, size]`. (Vaswani et al. 2017, arXiv 1706.03762; rotary positions: Su et al. 2021,
//! arXiv 2104.09864.)

use rhapsode_tensor::{Tensor, memory, ops::linear};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Build, Init, Module, Pass,
    norm::{check_dropout, drop_out},
};
use crate::{Error, Result, checks::at_least_one};

/// Options of multi-head attention, `[n, t, size] -> [n, t, size]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Attention {
    /// Size of a vector of the sequence (at least 1; default 1).
    pub size: usize,
    /// Number of heads (at least 1, divides size; default 1).
    pub heads: usize,
    /// Size of a vector of the context, for cross-attention (at least 1; default: size).
    pub context: Option<usize>,
    /// Whether a place sees only itself and earlier ones (default false).
    pub causal: bool,
    /// Whether places are told apart by rotating queries and keys; the size of a head must be even (default false).
    pub rotary: bool,
    /// Dropout of the attention weights in training (in [0, 1); default 0).
    pub dropout: f64,
    /// How the weights begin (default "xavier", PyTorch's for attention).
    pub init: Init,
}

impl Default for Attention {
    fn default() -> Self {
        Self {
            size: 1,
            heads: 1,
            context: None,
            causal: false,
            rotary: false,
            dropout: 0.0,
            init: Init::Xavier,
        }
    }
}

impl Attention {
    /// Heads out of the last axis: `[n, t, size] -> [n, heads, t, size / heads]`.
    fn split(&self, x: &Tensor) -> Result<Tensor> {
        let (n, t) = (x.dim(0)?, x.dim(1)?);
        Ok(x.reshape(&[n, t, self.heads, self.size / self.heads])?
            .permute(&[0, 2, 1, 3])?)
    }

    /// What is added to the scores: 0 where a place may be seen, minus infinity where not; `[.., t, s]`.
    fn bias(&self, scores: &Tensor, mask: Option<&Tensor>) -> Result<Option<Tensor>> {
        let (t, s) = (scores.dim(2)?, scores.dim(3)?);
        let mut bias = None;
        if self.causal {
            if t != s {
                let message =
                    format!("needs as many places in the context as in x, got {s} and {t}");
                return Err(Error::Value {
                    what: "causal attention",
                    message,
                });
            }
            memory::ensure(memory::count("causal mask", &[t, t])?, size_of::<f64>())?;
            let seen = |i: usize| {
                if i % t > i / t {
                    f64::NEG_INFINITY
                } else {
                    0.0
                }
            };
            let values = (0..t * t).map(seen).collect();
            bias = Some(Tensor::from_vec::<f64>(values, &[t, t])?);
        }
        if let Some(mask) = mask {
            let own = mask_bias(mask, scores.dim(0)?, t, s)?;
            bias = Some(match bias {
                Some(causal) => causal.add(&own)?,
                None => own,
            });
        }
        if let Some(bias) = &bias {
            every_place_sees_one(bias)?;
        }
        Ok(bias.map(|b| b.to_dtype(scores.dtype())).transpose()?)
    }
}

/// A mask of the user, nonzero where a place may be seen, `[t, s]` or `[n, t, s]`.
fn mask_bias(mask: &Tensor, n: usize, t: usize, s: usize) -> Result<Tensor> {
    let shape = match mask.dims() {
        d if d == [t, s] => vec![t, s],
        d if d == [n, t, s] => vec![n, 1, t, s],
        got => {
            return Err(Error::Shape {
                what: "mask",
                expected: format!(
                    "[{t}, {s}] or [{n}, {t}, {s}], nonzero where a place may be seen"
                ),
                got: got.to_vec(),
            });
        }
    };
    let values = mask.to_vec()?;
    let values = values
        .into_iter()
        .map(|v| if v == 0.0 { f64::NEG_INFINITY } else { 0.0 });
    Ok(Tensor::from_vec::<f64>(values.collect(), &shape)?)
}

/// The softmax of a row that is masked out altogether would be NaN.
fn every_place_sees_one(bias: &Tensor) -> Result<()> {
    let s = bias.dim(-1)?;
    let blind = |row: &[f64]| row.iter().all(|v| *v == f64::NEG_INFINITY);
    match bias.to_vec()?.chunks_exact(s.max(1)).position(blind) {
        Some(row) => Err(Error::Value {
            what: "mask",
            message: format!(
                "row {row} lets its place see nothing: at least one entry must be nonzero"
            ),
        }),
        None => Ok(()),
    }
}

/// Queries or keys `[n, heads, t, d]` turned by their place: pairs (i, i + d/2) by `place / 10000^(2 i / d)`.
fn rotate(x: &Tensor) -> Result<Tensor> {
    let (t, d) = (x.dim(2)?, x.dim(3)?);
    let half = d / 2;
    let angle = |i: usize| {
        let (place, pair) = ((i / half) as f64, (i % half) as f64);
        place / 10_000f64.powf(2.0 * pair / d as f64)
    };
    memory::ensure(memory::count("rotary", &[t, half])?, 2 * size_of::<f64>())?;
    let table = |f: fn(f64) -> f64| -> Result<Tensor> {
        let values: Vec<f64> = (0..t * half).map(|i| f(angle(i))).collect();
        Ok(Tensor::from_vec(values, &[t, half])?.to_dtype(x.dtype())?)
    };
    let (cos, sin) = (table(f64::cos)?, table(f64::sin)?);
    let (a, b) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
    let first = a.mul(&cos)?.sub(&b.mul(&sin)?)?;
    let second = b.mul(&cos)?.add(&a.mul(&sin)?)?;
    Ok(Tensor::cat(&[&first, &second], 3)?)
}

impl Module for Attention {
    fn validate(&self) -> Result<()> {
        at_least_one("size", self.size)?;
        at_least_one("heads", self.heads)?;
        at_least_one("context", self.context.unwrap_or(1))?;
        if !self.size.is_multiple_of(self.heads) {
            let message = format!("must divide size {}, got {}", self.size, self.heads);
            return Err(Error::option("heads", message));
        }
        if self.rotary && !(self.size / self.heads).is_multiple_of(2) {
            let message = format!(
                "needs an even size of a head, got {} / {}",
                self.size, self.heads
            );
            return Err(Error::option("rotary", message));
        }
        check_dropout("dropout", self.dropout)
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        let (size, context) = (self.size, self.context.unwrap_or(self.size));
        for (name, inputs) in [("q", size), ("k", context), ("v", context), ("out", size)] {
            let weight = self.init.weight(inputs, size);
            build.param(&format!("{name}.weight"), &[size, inputs], weight);
            build.param(&format!("{name}.bias"), &[size], self.init.bias(inputs));
        }
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, more: &[&Tensor]) -> Result<Tensor> {
        let own = self.context.unwrap_or(self.size);
        let &[n, t, size] = x.dims() else {
            return Err(pass.refuse(format!("[n, t, {}]", self.size), x));
        };
        if size != self.size || t == 0 {
            return Err(pass.refuse(format!("[n, t, {}] with t > 0", self.size), x));
        }
        let context = more.first().copied().unwrap_or(x);
        if !matches!(*context.dims(), [rows, s, d] if rows == n && s > 0 && d == own) {
            let expected = format!("a context [{n}, s, {own}] with s > 0");
            return Err(pass.refuse(expected, context));
        }
        let mut project = |x: &Tensor| -> Result<Tensor> {
            let (weight, bias) = (pass.param()?, pass.param()?);
            Ok(linear::linear(
                x,
                weight,
                bias,
                linear::Activation::Identity,
            )?)
        };
        let mut q = self.split(&project(x)?)?;
        let mut k = self.split(&project(context)?)?;
        let v = self.split(&project(context)?)?;
        if self.rotary {
            (q, k) = (rotate(&q)?, rotate(&k)?);
        }
        let scale = 1.0 / ((self.size / self.heads) as f64).sqrt();
        let mut scores = q.affine(scale, 0.0)?.matmul(&k.t()?)?;
        if let Some(bias) = self.bias(&scores, more.get(1).copied())? {
            scores = scores.add(&bias)?;
        }
        let weights = scores.softmax(-1)?;
        let mask = if self.dropout > 0.0 {
            pass.mask()
        } else {
            None
        };
        let weights = drop_out(&weights, self.dropout, mask)?;
        let y = weights.matmul(&v)?.permute(&[0, 2, 1, 3])?;
        let y = y.reshape(&[n, t, self.size])?;
        let (weight, bias) = (pass.param()?, pass.param()?);
        Ok(linear::linear(
            &y,
            weight,
            bias,
            linear::Activation::Identity,
        )?)
    }
}
