//! Networks of layers: one after the other, around a shortcut, or a closure with parameters.

use std::{fmt, sync::Arc};

use rhapsode_tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Build, Fill, Layer, Module, Pass, chain::Chain};
use crate::{Error, Result};

/// Layers one after the other; their parameters are `layers.0.weight` and so on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequential {
    /// The layers, at least one.
    pub layers: Vec<Layer>,
}

impl Module for Sequential {
    fn validate(&self) -> Result<()> {
        if self.layers.is_empty() {
            return Err(Error::Value {
                what: "sequential",
                message: "expected at least one layer, got none".into(),
            });
        }
        Ok(())
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        let mut named = self.layers.iter().enumerate();
        named.try_for_each(|(i, layer)| build.within(&format!("layers.{i}"), layer.module()))
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let chain = Chain::of_layers(&self.layers).filter(|c| x.dims().last() == Some(&c.inputs()));
        // A summary wants the shape behind every layer.
        if let Some(chain) = chain.filter(|_| !pass.is_traced()) {
            let (params, first) = pass.place();
            pass.skip(chain.params());
            return chain.forward(params, first, x);
        }
        let mut h = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            h = pass.run(
                &format!("layers.{i}"),
                layer.kind(),
                layer.module(),
                &h,
                &[],
            )?;
        }
        Ok(h)
    }
}

/// `x + f(x)`, where f keeps the shape (He et al. 2015, arXiv 1512.03385); its parameters are `inner.weight` and so on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residual {
    /// f.
    pub inner: Box<Layer>,
}

impl Module for Residual {
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        build.within("inner", self.inner.module())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let inner = &self.inner;
        let y = pass.run("inner", inner.kind(), inner.module(), x, &[])?;
        if y.dims() != x.dims() {
            let message = format!(
                "the inner layer must keep the shape: it gave {:?} for {:?}",
                y.dims(),
                x.dims()
            );
            return Err(Error::Value {
                what: "residual",
                message,
            });
        }
        Ok(y.add(x)?)
    }
}

/// The function of a custom layer: its parameters by name, and the input.
pub type Forward = Arc<dyn Fn(&[(&str, &Tensor)], &Tensor) -> Result<Tensor> + Send + Sync>;

/// A layer made of a function with named parameters.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// Names and shapes of the parameters.
    pub params: Vec<(String, Vec<usize>)>,
    /// Their first values; a file has them apart.
    #[serde(skip)]
    pub values: Vec<Tensor>,
    /// What it computes; a file does not have it.
    #[serde(skip)]
    pub forward: Option<Forward>,
}

impl Custom {
    /// From named first values, of one float dtype.
    pub fn new(params: Vec<(String, Tensor)>, forward: Forward) -> Self {
        let shapes = params
            .iter()
            .map(|(name, value)| (name.clone(), value.dims().to_vec()));
        Self {
            params: shapes.collect(),
            values: params
                .into_iter()
                .map(|(_, value)| value.detach())
                .collect(),
            forward: Some(forward),
        }
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Custom")
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

impl Module for Custom {
    fn validate(&self) -> Result<()> {
        match self.params.iter().find(|(name, _)| name.is_empty()) {
            Some(_) => Err(Error::option("params", "a parameter has no name")),
            None => Ok(()),
        }
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        for (i, (name, shape)) in self.params.iter().enumerate() {
            // Values come with the layer, or, from a file, right after it.
            let fill = match self.values.get(i) {
                Some(value) => Fill::Values(value.clone()),
                None => Fill::Constant(0.0),
            };
            build.param(name, shape, fill);
        }
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let Some(forward) = &self.forward else {
            return Err(Error::Value {
                what: "custom layer",
                message: "its function is not in the file: make the network again and fill it by .load_weights(path)"
                    .into(),
            });
        };
        let params = self
            .params
            .iter()
            .map(|(name, _)| Ok((name.as_str(), pass.param()?)))
            .collect::<Result<Vec<_>>>()?;
        forward(&params, x)
    }
}
