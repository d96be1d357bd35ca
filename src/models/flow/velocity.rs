//! The velocity network of vector-valued flows: an MLP of the point, features of time and, for
//! conditional flows, an embedding of the class.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, params::Params, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    nn::{Activation, Mlp, MlpOptions, TimeFeatures, init_normal, positive},
};

/// Options of a velocity network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VelocityOptions {
    /// Size of one sample (at least 1; default 2).
    pub dim: usize,
    /// Sizes of the hidden layers (default [128, 128, 128]).
    pub hidden: Vec<usize>,
    /// What stands after each hidden layer (default "silu").
    pub activation: Activation,
    /// Number of frequencies of time: the network sees t and sin, cos of pi k t for k up to it (default 8).
    pub time_frequencies: usize,
    /// Number of classes; 0: the flow has no labels (default 0).
    pub classes: usize,
    /// Size of the embedding of a class (at least 1 when there are classes; default 16).
    pub class_embedding: usize,
}

impl Default for VelocityOptions {
    fn default() -> Self {
        Self {
            dim: 2,
            hidden: vec![128, 128, 128],
            activation: Activation::default(),
            time_frequencies: 8,
            classes: 0,
            class_embedding: 16,
        }
    }
}

impl VelocityOptions {
    /// Refuses impossible sizes.
    pub fn validate(&self) -> Result<()> {
        positive("dim", self.dim)?;
        self.hidden
            .iter()
            .try_for_each(|&n| positive("hidden", n))?;
        if self.classes > 0 {
            positive("class_embedding", self.class_embedding)?;
        }
        Ok(())
    }

    fn features(&self) -> TimeFeatures {
        TimeFeatures {
            frequencies: self.time_frequencies,
        }
    }

    fn mlp(&self) -> MlpOptions {
        let label = if self.classes > 0 {
            self.class_embedding
        } else {
            0
        };
        MlpOptions {
            inputs: self
                .dim
                .saturating_add(self.features().size())
                .saturating_add(label),
            outputs: self.dim,
            hidden: self.hidden.clone(),
            activation: self.activation,
        }
    }
}

/// The velocity network `v(x, t)` or `v(x, t, class)`.
#[derive(Clone)]
pub struct VelocityNet {
    options: VelocityOptions,
    net: Mlp,
}

impl VelocityNet {
    /// A network with fresh parameters in one buffer: the class table (when there is one), then the MLP.
    pub fn new(options: VelocityOptions, seed: u64, dtype: DType) -> Result<Self> {
        options.validate()?;
        let mut values = Vec::new();
        if options.classes > 0 {
            // One row more than classes: the last stands for "no class".
            let shape = [options.classes + 1, options.class_embedding];
            values.push((
                "class.weight".to_string(),
                init_normal(&shape, 1.0, Stream::new(seed, "class"), dtype)?,
            ));
        }
        values.extend(Mlp::initial(&options.mlp(), "net.", seed, dtype)?);
        Ok(Self::over(options, Arc::new(Params::new(values)?)))
    }

    /// The network over given parameters.
    fn over(options: VelocityOptions, params: Arc<Params>) -> Self {
        let net = Mlp::over(options.mlp(), params, usize::from(options.classes > 0));
        Self { options, net }
    }

    /// The same network with other values for its parameters.
    #[must_use]
    pub fn with(&self, params: Arc<Params>) -> Self {
        Self::over(self.options.clone(), params)
    }

    /// What it was made with.
    pub fn options(&self) -> &VelocityOptions {
        &self.options
    }

    /// Its parameters.
    pub fn params(&self) -> &Arc<Params> {
        self.net.params()
    }

    /// The velocity at `x: [n, dim]`, times `t: [n]` and, for a conditional flow, class numbers of
    /// length `n`, where `classes` stands for "no class". Without labels a conditional flow takes no class.
    pub fn forward(&self, x: &Tensor, t: &Tensor, labels: Option<&[i64]>) -> Result<Tensor> {
        let n = self.check(x, t)?;
        let time = self.options.features().of(t)?;
        if self.options.classes == 0 {
            if labels.is_some() {
                return Err(Error::Value {
                    what: "labels",
                    message: "this flow has no classes (make it with classes: k)".into(),
                });
            }
            return self.net.forward(&Tensor::cat(&[x, &time], 1)?);
        }
        let labels = match labels {
            Some(labels) => labels.to_vec(),
            None => vec![self.options.classes as i64; n],
        };
        let index = Tensor::from_vec(labels, &[n])?;
        let class = self.params().get(0)?.index_select(0, &index)?;
        self.net.forward(&Tensor::cat(&[x, &time, &class], 1)?)
    }

    fn check(&self, x: &Tensor, t: &Tensor) -> Result<usize> {
        let &[n, d] = x.dims() else {
            return Err(Error::Shape {
                what: "x",
                expected: format!("[n, {}]", self.options.dim),
                got: x.dims().to_vec(),
            });
        };
        if d != self.options.dim {
            return Err(Error::Shape {
                what: "x",
                expected: format!("[n, {}]", self.options.dim),
                got: x.dims().to_vec(),
            });
        }
        if t.dims() != [n] {
            return Err(Error::Shape {
                what: "t",
                expected: format!("[{n}]"),
                got: t.dims().to_vec(),
            });
        }
        Ok(n)
    }
}
