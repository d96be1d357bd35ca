//! The gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) over sequences `[n, t, inputs]`; equations in
//! `rhapsode_tensor::ops::gru`. Parameters are named and shaped as PyTorch's `GRU`.

use rhapsode_tensor::{
    Tensor,
    ops::{gru, linear},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Build, Init, Module, Pass};
use crate::{Error, Result, checks::at_least_one};

/// Options of a gated recurrent unit, `[n, t, inputs] -> [n, t, hidden]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gru {
    /// Size of an input vector (at least 1; default 1).
    pub inputs: usize,
    /// Size of the state (at least 1; default 64).
    pub hidden: usize,
    /// Units stacked, each over the outputs of the one before (at least 1; default 1).
    pub layers: usize,
}

impl Default for Gru {
    fn default() -> Self {
        Self {
            inputs: 1,
            hidden: 64,
            layers: 1,
        }
    }
}

impl Gru {
    /// The outputs `[n, t, hidden]` and the last state `[layers, n, hidden]`, from a first state (zeros without one).
    pub fn scan(
        &self,
        pass: &mut Pass,
        x: &Tensor,
        state: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let &[n, t, inputs] = x.dims() else {
            return Err(pass.refuse(format!("[n, t, {}]", self.inputs), x));
        };
        if inputs != self.inputs || t == 0 {
            return Err(pass.refuse(format!("[n, t, {}] with t > 0", self.inputs), x));
        }
        let shape = [self.layers, n, self.hidden];
        let state = match state {
            Some(state) if state.dims() == shape => state.clone(),
            Some(state) => {
                return Err(Error::Shape {
                    what: "state",
                    expected: format!("{shape:?}"),
                    got: state.dims().to_vec(),
                });
            }
            None => Tensor::zeros(&shape, x.dtype())?,
        };
        let mut h = x.clone();
        let mut last = Vec::with_capacity(self.layers);
        for layer in 0..self.layers {
            let [wi, wh, bi, bh] = [pass.param()?, pass.param()?, pass.param()?, pass.param()?];
            let gates = linear::linear(&h, wi, bi, linear::Activation::Identity)?;
            h = gru::scan(&gates, &state.select(0, layer as i64)?, wh, bh)?;
            last.push(h.select(1, -1)?);
        }
        Ok((h, Tensor::stack(&last.iter().collect::<Vec<_>>(), 0)?))
    }
}

impl Module for Gru {
    fn validate(&self) -> Result<()> {
        at_least_one("inputs", self.inputs)?;
        at_least_one("hidden", self.hidden)?;
        at_least_one("layers", self.layers)?;
        if self.layers > 1000 {
            let message = format!("must be at most 1000, got {}", self.layers);
            return Err(Error::option("layers", message));
        }
        Ok(())
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        // PyTorch's: everything uniform in plus or minus 1 / sqrt(hidden).
        let fill = || Init::Uniform.bias(self.hidden);
        let gates = self.hidden.saturating_mul(3);
        for layer in 0..self.layers {
            let inputs = if layer == 0 { self.inputs } else { self.hidden };
            build.param(&format!("weight_ih_l{layer}"), &[gates, inputs], fill());
            build.param(
                &format!("weight_hh_l{layer}"),
                &[gates, self.hidden],
                fill(),
            );
            build.param(&format!("bias_ih_l{layer}"), &[gates], fill());
            build.param(&format!("bias_hh_l{layer}"), &[gates], fill());
        }
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        Ok(self.scan(pass, x, None)?.0)
    }
}
