//! The velocity network of a flow: an MLP of the point, features of time and, for conditional flows, an embedding of
//! the class; or, for images, a U-Net that sees them as `[n, c, h, w]`.
//!
//! Points are rows `[n, dim]`, or `[n, shape..]` where the flow has a shape; velocities come as the points came.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, ops::loss::RowLoss, params::Params, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    checks::at_least_one,
    nn::{Activation, Build, Mlp, MlpOptions, Module, Pass, TimeFeatures, Unet, draw, init_normal},
};

/// Which network a flow has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NetKind {
    /// A multilayer perceptron of the point as one row.
    #[default]
    Mlp,
    /// A U-Net of images `[c, h, w]`.
    Unet,
}

/// Options of a velocity network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VelocityOptions {
    /// Size of one sample (at least 1; default 2, or the product of `shape`).
    pub dim: usize,
    /// Shape of one sample, e.g. [1, 8, 8] for images; data and samples are `[n, shape..]` (default []: rows `[n, dim]`).
    pub shape: Vec<usize>,
    /// Which network: "mlp", or "unet" for images of a shape [c, h, w] (default "mlp").
    pub net: NetKind,
    /// U-Net: channels of the first level (even, at least 2; default 32).
    pub base: usize,
    /// U-Net: number of levels; the sides of the images are multiples of 2^(depth - 1) (1 to 10; default 2).
    pub depth: usize,
    /// U-Net: whether the places of the smallest image attend to each other (default false).
    pub attention: bool,
    /// MLP: sizes of the hidden layers (default [128, 128, 128]).
    pub hidden: Vec<usize>,
    /// MLP: what stands after each hidden layer (default "silu").
    pub activation: Activation,
    /// MLP: number of frequencies of time: the network sees t and sin, cos of pi k t for k up to it (default 8).
    pub time_frequencies: usize,
    /// Number of classes; 0: the flow has no labels (default 0).
    pub classes: usize,
    /// MLP: size of the embedding of a class (at least 1 when there are classes; default 16).
    pub class_embedding: usize,
}

/// The size of a sample by default.
const DIM: usize = 2;

impl Default for VelocityOptions {
    fn default() -> Self {
        Self {
            dim: DIM,
            shape: Vec::new(),
            net: NetKind::default(),
            base: 32,
            depth: 2,
            attention: false,
            hidden: vec![128, 128, 128],
            activation: Activation::default(),
            time_frequencies: 8,
            classes: 0,
            class_embedding: 16,
        }
    }
}

impl VelocityOptions {
    /// The same with `dim` as the shape has it. Errors where the two do not agree.
    fn resolved(mut self) -> Result<Self> {
        if self.shape.is_empty() {
            return Ok(self);
        }
        let dim = rhapsode_tensor::memory::count("shape", &self.shape)?;
        if self.dim != DIM && self.dim != dim {
            let message = format!("has {dim} numbers, but dim is {}", self.dim);
            return Err(Error::option("shape", message));
        }
        self.dim = dim;
        Ok(self)
    }

    /// The U-Net; an error where the samples are no images.
    fn unet(&self) -> Result<Unet> {
        let &[channels, height, width] = self.shape.as_slice() else {
            let message = format!(
                "a U-Net takes images: expected shape [c, h, w], got {:?}",
                self.shape
            );
            return Err(Error::option("shape", message));
        };
        let unet = Unet {
            channels,
            base: self.base,
            depth: self.depth,
            attention: self.attention,
            classes: self.classes,
            ..Unet::default()
        };
        Module::validate(&unet)?;
        let unit = 1usize << (self.depth - 1);
        if !height.is_multiple_of(unit) || !width.is_multiple_of(unit) {
            let message = format!(
                "sides must be multiples of {unit} for depth {}, got {:?}",
                self.depth, self.shape
            );
            return Err(Error::option("shape", message));
        }
        Ok(unet)
    }

    /// Refuses impossible sizes.
    pub fn validate(&self) -> Result<()> {
        at_least_one("dim", self.dim)?;
        if self.net == NetKind::Unet {
            return self.unet().map(|_| ());
        }
        self.hidden
            .iter()
            .try_for_each(|&n| at_least_one("hidden", n))?;
        if self.classes > 0 {
            at_least_one("class_embedding", self.class_embedding)?;
        }
        Ok(())
    }

    /// The number of points in `x: [n, dim]` or `[n, shape..]`; an error for another shape.
    pub(crate) fn fits(&self, what: &'static str, x: &Tensor) -> Result<usize> {
        match x.dims().split_first() {
            Some((&n, rest)) if rest == [self.dim] => Ok(n),
            Some((&n, rest)) if !self.shape.is_empty() && rest == self.shape => Ok(n),
            _ => {
                let expected = if self.shape.is_empty() {
                    format!("[n, {}]", self.dim)
                } else {
                    let sizes: Vec<String> = self.shape.iter().map(usize::to_string).collect();
                    format!("[n, {}]", sizes.join(", "))
                };
                Err(Error::Shape {
                    what,
                    expected,
                    got: x.dims().to_vec(),
                })
            }
        }
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
    net: Net,
}

#[derive(Clone)]
enum Net {
    Mlp(Mlp),
    Unet(Unet, Arc<Params>),
}

impl VelocityNet {
    /// A network with fresh parameters in one buffer: the class table (when there is one), then the MLP; or the U-Net.
    pub fn new(options: VelocityOptions, seed: u64, dtype: DType) -> Result<Self> {
        let options = options.resolved()?;
        options.validate()?;
        if options.net == NetKind::Unet {
            let mut build = Build::default();
            build.within("net", &options.unet()?)?;
            let params = draw(&build.plans(), seed, dtype)?;
            return Self::over(options, Arc::new(params));
        }
        let mut values = Vec::new();
        if options.classes > 0 {
            // One row more than classes: the last stands for "no class".
            let shape = [options.classes.saturating_add(1), options.class_embedding];
            values.push((
                "class.weight".to_string(),
                init_normal(&shape, 1.0, Stream::new(seed, "class"), dtype)?,
            ));
        }
        values.extend(Mlp::initial(&options.mlp(), "net.", seed, dtype)?);
        Self::over(options, Arc::new(Params::new(values)?))
    }

    /// The network over given parameters.
    fn over(options: VelocityOptions, params: Arc<Params>) -> Result<Self> {
        let net = match options.net {
            NetKind::Mlp => Net::Mlp(Mlp::over(
                options.mlp(),
                params,
                usize::from(options.classes > 0),
            )),
            NetKind::Unet => Net::Unet(options.unet()?, params),
        };
        Ok(Self { options, net })
    }

    /// The same network with other values for its parameters.
    pub fn with(&self, params: Arc<Params>) -> Result<Self> {
        Self::over(self.options.clone(), params)
    }

    /// What it was made with.
    pub fn options(&self) -> &VelocityOptions {
        &self.options
    }

    /// Its parameters.
    pub fn params(&self) -> &Arc<Params> {
        match &self.net {
            Net::Mlp(mlp) => mlp.params(),
            Net::Unet(_, params) => params,
        }
    }

    /// Rows that go through the network at once when sampling: their activations stay in cache, and a million
    /// samples need no gigabytes.
    pub fn rows_at_once(&self) -> usize {
        match &self.net {
            Net::Mlp(_) => 8192,
            // About as many numbers of the widest level as an MLP of 128 has.
            Net::Unet(unet, _) => {
                let pixels = self.options.dim / unet.channels.max(1);
                (8192 * 128 / (unet.base * pixels).max(1)).clamp(1, 8192)
            }
        }
    }

    /// The velocity at `x: [n, dim]` (or `[n, shape..]`), times `t: [n]` and, for a conditional flow, class numbers of
    /// length `n`, where `classes` stands for "no class". Without labels a conditional flow takes no class.
    pub fn forward(&self, x: &Tensor, t: &Tensor, labels: Option<&[i64]>) -> Result<Tensor> {
        let n = self.check(x, t)?;
        let labels = self.labels(n, labels)?;
        let v = match &self.net {
            Net::Mlp(mlp) => mlp.forward(&self.features(x, t, labels.as_ref())?)?,
            Net::Unet(unet, params) => {
                let image = [&[n], self.options.shape.as_slice()].concat();
                let more: Vec<&Tensor> = [t].into_iter().chain(labels.as_ref()).collect();
                let mut pass = Pass::new(params, 0, None);
                pass.run("net", "unet", unet, &x.reshape(&image)?, &more)?
            }
        };
        Ok(if v.dims() == x.dims() {
            v
        } else {
            v.reshape(x.dims())?
        })
    }

    /// The mean loss of the rows of the velocity, as [`VelocityNet::forward`] has it, against `target`, of the shape of `x`.
    pub fn loss(
        &self,
        x: &Tensor,
        t: &Tensor,
        labels: Option<&[i64]>,
        target: &Tensor,
        loss: RowLoss,
    ) -> Result<Tensor> {
        let Net::Mlp(mlp) = &self.net else {
            return Ok(loss.of(&self.forward(x, t, labels)?, target)?);
        };
        let n = self.check(x, t)?;
        let labels = self.labels(n, labels)?;
        mlp.loss(
            &self.features(x, t, labels.as_ref())?,
            &self.rows(target, n)?,
            loss,
        )
    }

    /// How it is computed, in words.
    pub fn path(&self) -> &'static str {
        match &self.net {
            Net::Mlp(mlp) if mlp.is_fused() => "fused network",
            _ => "layer by layer",
        }
    }

    /// What the MLP sees: points, features of time, embeddings of classes.
    fn features(&self, x: &Tensor, t: &Tensor, labels: Option<&Tensor>) -> Result<Tensor> {
        let rows = self.rows(x, t.len())?;
        let time = self.options.features().of(t)?;
        Ok(match labels {
            None => Tensor::cat(&[&rows, &time], 1)?,
            Some(labels) => {
                let class = self.params().get(0)?.index_select(0, labels)?;
                Tensor::cat(&[&rows, &time, &class], 1)?
            }
        })
    }

    /// Class numbers as a tensor `[n]`; without labels a conditional flow takes no class.
    fn labels(&self, n: usize, labels: Option<&[i64]>) -> Result<Option<Tensor>> {
        Ok(match (self.options.classes, labels) {
            (0, Some(_)) => {
                return Err(Error::Value {
                    what: "labels",
                    message: "this flow has no classes (make it with classes: k)".into(),
                });
            }
            (0, None) => None,
            (_, Some(labels)) => Some(Tensor::from_vec(labels.to_vec(), &[n])?),
            (none, None) => Some(Tensor::full(none as f64, &[n], DType::I64)?),
        })
    }

    /// Points as rows `[n, dim]`.
    fn rows(&self, x: &Tensor, n: usize) -> Result<Tensor> {
        let shape = [n, self.options.dim];
        Ok(if x.dims() == shape {
            x.clone()
        } else {
            x.reshape(&shape)?
        })
    }

    fn check(&self, x: &Tensor, t: &Tensor) -> Result<usize> {
        let n = self.options.fits("x", x)?;
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
