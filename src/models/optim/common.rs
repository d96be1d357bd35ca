//! Options that every optimizer has: in how many bits its state is kept, clipping, the schedule.
//!
//! **8 bits** (Dettmers, Lewis, Shleifer, Zettlemoyer 2021, arXiv 2110.02861): a state is a byte a number and an f32 a block.
//! A step decodes a block, updates it in f32, changes the parameters by these exact new states, and only
//! then encodes them with the block's new largest value ([`rhapsode_tensor::ops::quantize`]). First moments have the signed code,
//! second moments the unsigned one. Conventions are those of bitsandbytes 0.50, except that `max_unorm` holds at
//! 8 bits too, percentile clipping is of the norm of all gradients together, and codes are exact.

use rhapsode_tensor::ops::quantize::{Code, Rounding, Writing};
use rhapsode_tensor::random::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, StateKind};
use crate::{
    Error, Result,
    checks::{not_negative, positive},
    reference::Reference,
};

/// The paper.
pub const REFERENCE: Reference = Reference {
    key: "dettmers20228bit",
    title: "8-bit Optimizers via Block-wise Quantization",
    authors: &[
        "Tim Dettmers",
        "Mike Lewis",
        "Sam Shleifer",
        "Luke Zettlemoyer",
    ],
    year: 2022,
    arxiv: "2110.02861",
};

/// How the 256 values of an 8-bit state lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CodeName {
    /// Relative steps over seven decades.
    #[default]
    Dynamic,
    /// Equal steps.
    Linear,
}

impl CodeName {
    /// The code.
    pub fn code(self) -> Code {
        match self {
            Self::Dynamic => Code::default(),
            Self::Linear => Code::Linear,
        }
    }
}

/// The code of all states, or one a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Codes {
    /// Of all.
    All(CodeName),
    /// In the order of the states.
    Each(Vec<CodeName>),
}

/// How a number of an 8-bit state is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoundingName {
    /// To the nearest value.
    #[default]
    Nearest,
    /// To one of the two values around it by chance, so that the mean is the number.
    Stochastic,
}

/// Options that every optimizer takes besides its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// Bits of a number of the state: 32, or 8 with block-wise quantization (arXiv 2110.02861; default 32). With 32 the state has the dtype
    /// of the parameters.
    pub bits: u32,
    /// With 8 bits: numbers of the state that share a scale (at least 1; default 256).
    pub block: usize,
    /// With 8 bits: how the 256 values lie, of all states or of each in their order (default "dynamic").
    pub code: Codes,
    /// With 8 bits: how numbers between two values are rounded (default "nearest").
    pub rounding: RoundingName,
    /// With 8 bits: whether a second moment that is not 0 never becomes 0, which would make a step m / eps (default false).
    pub floor: bool,
    /// With 8 bits: tensors with fewer numbers keep 32 (>= 0; default 4096).
    pub min_8bit_size: usize,
    /// With 8 bits: parameters that keep 32, by name (whole parts of it, such as `layers.0`), by place in an array, or by the kind
    /// "embedding" of their layer (default []).
    pub keep_32bit: Vec<String>,
    /// Percentile of the last 100 norms of the gradient to which larger ones are scaled down (in (0, 100]; default 100: never).
    pub percentile: f64,
    /// Largest norm of a tensor's step before the learning rate, as a share of the tensor's own norm (>= 0; default 0: any).
    pub max_unorm: f64,
    /// Whether numbers whose gradient is 0 rest: parameter and state stay as they are (default false).
    pub skip_zeros: bool,
    /// Largest Euclidean norm of all gradients together; larger ones are scaled down to it (> 0; default: any).
    pub clip: Option<f64>,
    /// How the learning rate changes over the steps (default: not at all; in `fit` as its own option `schedule` says).
    pub schedule: Option<Schedule>,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            bits: 32,
            block: 256,
            code: Codes::All(CodeName::Dynamic),
            rounding: RoundingName::Nearest,
            floor: false,
            min_8bit_size: 4096,
            keep_32bit: Vec::new(),
            percentile: 100.0,
            max_unorm: 0.0,
            skip_zeros: false,
            clip: None,
            schedule: None,
        }
    }
}

impl Common {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        if ![8, 32].contains(&self.bits) {
            let message = format!("must be 8 or 32, got {}", self.bits);
            return Err(Error::option("bits", message));
        }
        if self.block == 0 {
            return Err(Error::option("block", "must be at least 1, got 0"));
        }
        if self.keep_32bit.iter().any(String::is_empty) {
            return Err(Error::option("keep_32bit", "holds an empty name"));
        }
        if !(self.percentile > 0.0 && self.percentile <= 100.0) {
            let message = format!("must lie in (0, 100], got {}", self.percentile);
            return Err(Error::option("percentile", message));
        }
        not_negative("max_unorm", self.max_unorm)?;
        self.clip.map_or(Ok(()), |clip| positive("clip", clip))?;
        self.schedule
            .as_ref()
            .map_or(Ok(()), |schedule| schedule.validate("schedule"))
    }

    /// The codes of a rule's states.
    pub fn codes(&self, states: &[StateKind]) -> Result<Vec<Code>> {
        match &self.code {
            Codes::All(name) => Ok(vec![name.code(); states.len()]),
            Codes::Each(names) if names.len() == states.len() => {
                Ok(names.iter().map(|name| name.code()).collect())
            }
            Codes::Each(names) => {
                let known: Vec<&str> = states.iter().map(|state| state.name).collect();
                let message = format!(
                    "has {} entries for {} states ({})",
                    names.len(),
                    states.len(),
                    known.join(", ")
                );
                Err(Error::option("code", message))
            }
        }
    }

    /// How the states of a part of a target are written in 8 bits. Draws belong to the place of the state.
    pub(super) fn writings(&self, states: &[StateKind], place: &str) -> Result<Vec<Writing>> {
        let writing = |(state, code): (&StateKind, Code)| Writing {
            block: self.block,
            code,
            signed: state.signed,
            floor: self.floor && !state.signed,
            rounding: match self.rounding {
                RoundingName::Nearest => Rounding::Nearest,
                RoundingName::Stochastic => {
                    let purpose = format!("rounding {place}.{}", state.name);
                    Rounding::Stochastic(Stream::new(0, &purpose))
                }
            },
        };
        Ok(states
            .iter()
            .zip(self.codes(states)?)
            .map(writing)
            .collect())
    }
}
