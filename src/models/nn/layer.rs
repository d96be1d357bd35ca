//! The layers: what one is, how its parameters are laid out, and how a pass walks through them.
//!
//! A layer is its options: a small struct with three functions. [`Module::build`] names its parameters
//! in the order in which [`Module::forward`] takes them from the [`Pass`], so a network of any depth needs
//! no table of places. [`super::ALL`] lists them: to be in the list is to be tested.

use rhapsode_tensor::{DType, Tensor, memory, params::Params, random::Stream, tape::Label};
use serde::{Deserialize, Serialize};

use super::{
    Activation, Attention, AvgPool2d, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Custom,
    Dropout, Embedding, Fill, Flatten, GlobalAvgPool, GroupNorm, Gru, LayerNorm, Linear, MaxPool2d,
    MlpOptions, Reshape, Residual, RmsNorm, Sequential, StableEmbedding, TimeEmbedding, Unet,
    Upsample,
};
use crate::{Error, Result};

/// What every kind of layer can do.
pub trait Module {
    /// Refuses impossible options.
    fn validate(&self) -> Result<()>;
    /// Names its parameters, in the order in which `forward` takes them.
    fn build(&self, build: &mut Build) -> Result<()>;
    /// The output; `more` holds the further inputs of those layers that take some.
    fn forward(&self, pass: &mut Pass, x: &Tensor, more: &[&Tensor]) -> Result<Tensor>;
}

/// One layer of any kind, or a network of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// `x W^T + b`.
    Linear(Linear),
    /// Linear layers with an activation between.
    Mlp(MlpOptions),
    /// Convolution along one axis.
    Conv1d(Conv1d),
    /// Convolution of images.
    Conv2d(Conv2d),
    /// Transposed convolution along one axis.
    ConvTranspose1d(ConvTranspose1d),
    /// Transposed convolution of images.
    ConvTranspose2d(ConvTranspose2d),
    /// A vector for each whole number.
    Embedding(Embedding),
    /// An embedding with layer norm and Xavier initialisation.
    StableEmbedding(StableEmbedding),
    /// Layer norm.
    LayerNorm(LayerNorm),
    /// RMS norm.
    RmsNorm(RmsNorm),
    /// Group norm.
    GroupNorm(GroupNorm),
    /// Dropout.
    Dropout(Dropout),
    /// Multi-head attention.
    Attention(Attention),
    /// A gated recurrent unit.
    Gru(Gru),
    /// Features of times through two linear layers.
    TimeEmbedding(TimeEmbedding),
    /// An activation.
    Activation(Activation),
    /// Axes joined into one.
    Flatten(Flatten),
    /// Another shape of each sample.
    Reshape(Reshape),
    /// The largest value of every window.
    MaxPool2d(MaxPool2d),
    /// The mean of every window.
    AvgPool2d(AvgPool2d),
    /// The mean of every channel.
    GlobalAvgPool(GlobalAvgPool),
    /// A larger image.
    Upsample(Upsample),
    /// Layers one after the other.
    Sequential(Sequential),
    /// `x + f(x)`.
    Residual(Residual),
    /// A U-Net for images.
    Unet(Unet),
    /// A closure with parameters.
    Custom(Custom),
}

impl Layer {
    /// The name of its kind in scripts and files.
    pub fn kind(&self) -> &'static str {
        match self {
            Layer::Linear(_) => "linear",
            Layer::Mlp(_) => "mlp",
            Layer::Conv1d(_) => "conv1d",
            Layer::Conv2d(_) => "conv2d",
            Layer::ConvTranspose1d(_) => "conv_transpose1d",
            Layer::ConvTranspose2d(_) => "conv_transpose2d",
            Layer::Embedding(_) => "embedding",
            Layer::StableEmbedding(_) => "stable_embedding",
            Layer::LayerNorm(_) => "layer_norm",
            Layer::RmsNorm(_) => "rms_norm",
            Layer::GroupNorm(_) => "group_norm",
            Layer::Dropout(_) => "dropout",
            Layer::Attention(_) => "attention",
            Layer::Gru(_) => "gru",
            Layer::TimeEmbedding(_) => "time_embedding",
            Layer::Activation(act) => act.name(),
            Layer::Flatten(_) => "flatten",
            Layer::Reshape(_) => "reshape",
            Layer::MaxPool2d(_) => "max_pool2d",
            Layer::AvgPool2d(_) => "avg_pool2d",
            Layer::GlobalAvgPool(_) => "global_avg_pool",
            Layer::Upsample(_) => "upsample",
            Layer::Sequential(_) => "sequential",
            Layer::Residual(_) => "residual",
            Layer::Unet(_) => "unet",
            Layer::Custom(_) => "custom",
        }
    }

    /// What it does.
    pub(crate) fn module(&self) -> &dyn Module {
        match self {
            Layer::Linear(layer) => layer,
            Layer::Mlp(layer) => layer,
            Layer::Conv1d(layer) => layer,
            Layer::Conv2d(layer) => layer,
            Layer::ConvTranspose1d(layer) => layer,
            Layer::ConvTranspose2d(layer) => layer,
            Layer::Embedding(layer) => layer,
            Layer::StableEmbedding(layer) => layer,
            Layer::LayerNorm(layer) => layer,
            Layer::RmsNorm(layer) => layer,
            Layer::GroupNorm(layer) => layer,
            Layer::Dropout(layer) => layer,
            Layer::Attention(layer) => layer,
            Layer::Gru(layer) => layer,
            Layer::TimeEmbedding(layer) => layer,
            Layer::Activation(layer) => layer,
            Layer::Flatten(layer) => layer,
            Layer::Reshape(layer) => layer,
            Layer::MaxPool2d(layer) => layer,
            Layer::AvgPool2d(layer) => layer,
            Layer::GlobalAvgPool(layer) => layer,
            Layer::Upsample(layer) => layer,
            Layer::Sequential(layer) => layer,
            Layer::Residual(layer) => layer,
            Layer::Unet(layer) => layer,
            Layer::Custom(layer) => layer,
        }
    }

    /// The inputs that it takes besides the first.
    pub fn more(&self) -> &'static [&'static str] {
        match self {
            Layer::Attention(_) => &["context", "mask"],
            Layer::Unet(_) => &["t", "labels"],
            _ => &[],
        }
    }

    /// The layers that it is made of, with their names.
    pub fn children(&self) -> Vec<(String, &Layer)> {
        match self {
            Layer::Sequential(whole) => whole
                .layers
                .iter()
                .enumerate()
                .map(|(i, layer)| (format!("layers.{i}"), layer))
                .collect(),
            Layer::Residual(whole) => vec![("inner".into(), &whole.inner)],
            _ => Vec::new(),
        }
    }

    /// How deep layers lie in layers: 1 for one alone.
    pub(crate) fn depth(&self) -> usize {
        let inner = self.children().iter().map(|(_, layer)| layer.depth()).max();
        1 + inner.unwrap_or(0)
    }

    /// Whether it or a layer in it does something else in training.
    pub fn has_dropout(&self) -> bool {
        match self {
            Layer::Dropout(_) => true,
            Layer::Attention(attention) => attention.dropout > 0.0,
            other => other
                .children()
                .iter()
                .any(|(_, layer)| layer.has_dropout()),
        }
    }
}

/// Name, shape and beginning of one parameter.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Dotted name, e.g. `layers.0.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is filled with.
    pub fill: Fill,
    /// The kind of its layer where optimizers treat it apart; else empty.
    pub kind: &'static str,
    /// Whether its optimizer state keeps 32 bits, whatever the optimizer's `bits`.
    pub keep_32bit: bool,
}

/// Collects the parameters of a network, before any is made.
#[derive(Default)]
pub struct Build {
    prefix: String,
    plans: Vec<Plan>,
}

impl Build {
    /// The parameters of a layer, checked and named.
    pub fn plan(layer: &Layer) -> Result<Vec<Plan>> {
        let mut build = Self::default();
        layer.module().validate()?;
        layer.module().build(&mut build)?;
        Ok(build.plans)
    }

    /// What was collected.
    pub(crate) fn plans(self) -> Vec<Plan> {
        self.plans
    }

    /// Adds a parameter.
    pub fn param(&mut self, name: &str, shape: &[usize], fill: Fill) {
        self.plans.push(Plan {
            name: format!("{}{name}", self.prefix),
            shape: shape.to_vec(),
            fill,
            kind: "",
            keep_32bit: false,
        });
    }

    /// Adds the table of an embedding, `[vocab, size]`, whose optimizer state may keep 32 bits.
    pub fn table(&mut self, name: &str, shape: [usize; 2], fill: Fill, keep_32bit: bool) {
        self.plans.push(Plan {
            name: format!("{}{name}", self.prefix),
            shape: shape.to_vec(),
            fill,
            kind: "embedding",
            keep_32bit,
        });
    }

    /// Adds those of a layer inside, under `<name>.`.
    pub fn within(&mut self, name: &str, layer: &dyn Module) -> Result<()> {
        layer.validate()?;
        let length = self.prefix.len();
        self.prefix.push_str(name);
        self.prefix.push('.');
        let result = layer.build(self);
        self.prefix.truncate(length);
        result
    }
}

/// Makes planned parameters: each has a random stream of its own.
pub(crate) fn draw(plans: &[Plan], seed: u64, dtype: DType) -> Result<Params> {
    let mut total = 0usize;
    for plan in plans {
        total = total.saturating_add(memory::count("parameters", &plan.shape)?);
    }
    // The values, and the flat buffer that they are copied to.
    memory::ensure(total.saturating_mul(2), dtype.size_in_bytes())?;
    let family = Stream::new(seed, "nn");
    let value = |(i, plan): (usize, &Plan)| {
        let stream = Stream::new(family.at(i as u64).seed(), "init");
        let value = plan.fill.draw(&plan.shape, stream, dtype)?;
        let label = Label {
            name: plan.name.clone(),
            kind: plan.kind.to_string(),
            keep_32bit: plan.keep_32bit,
        };
        Ok((plan.name.clone(), value.named_param(label)?))
    };
    let values = plans
        .iter()
        .enumerate()
        .map(value)
        .collect::<Result<Vec<_>>>()?;
    Ok(Params::new(values)?)
}

/// One row of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Dotted path, e.g. `layers.0`; empty for the whole.
    pub path: String,
    /// Its kind.
    pub kind: String,
    /// The shape of its output, when it was run.
    pub output: Option<Vec<usize>>,
    /// Its number of numbers.
    pub params: usize,
}

/// A walk through a network: which parameter is next, whether it trains, where it is.
pub struct Pass<'a> {
    params: &'a Params,
    next: usize,
    masks: Option<(Stream, u64)>,
    path: Vec<(String, &'static str)>,
    rows: Option<Vec<Row>>,
}

impl<'a> Pass<'a> {
    /// A walk over parameters from slot `first`. `masks`: the stream of dropout while training.
    pub(crate) fn new(params: &'a Params, first: usize, masks: Option<Stream>) -> Self {
        Self {
            params,
            next: first,
            masks: masks.map(|stream| (stream, 0)),
            path: Vec::new(),
            rows: None,
        }
    }

    /// Notes the output of every layer.
    pub(crate) fn traced(mut self) -> Self {
        self.rows = Some(Vec::new());
        self
    }

    /// Whether the output of every layer is noted.
    pub(crate) fn is_traced(&self) -> bool {
        self.rows.is_some()
    }

    /// What was noted.
    pub(crate) fn rows(self) -> Vec<Row> {
        self.rows.unwrap_or_default()
    }

    /// The next parameter.
    pub fn param(&mut self) -> Result<&'a Tensor> {
        let param = self.params.get(self.next)?;
        self.next += 1;
        Ok(param)
    }

    /// The parameters and the place of the next, for networks that count for themselves.
    pub(crate) fn place(&self) -> (&'a Params, usize) {
        (self.params, self.next)
    }

    /// Steps over so many parameters.
    pub(crate) fn skip(&mut self, count: usize) {
        self.next += count;
    }

    /// The dtype of the parameters; `None` where there are none.
    pub fn dtype(&self) -> Option<DType> {
        (!self.params.is_empty()).then(|| self.params.dtype())
    }

    /// The random stream of the next dropout mask; `None` outside of training.
    pub fn mask(&mut self) -> Option<Stream> {
        let (stream, count) = self.masks.as_mut()?;
        let mask = Stream::new(stream.seed(), "mask").at(*count);
        *count += 1;
        Some(mask)
    }

    /// Runs a layer under its name.
    pub(crate) fn run(
        &mut self,
        name: &str,
        kind: &'static str,
        layer: &dyn Module,
        x: &Tensor,
        more: &[&Tensor],
    ) -> Result<Tensor> {
        self.path.push((name.to_string(), kind));
        let (first, noted) = (self.next, self.rows.as_ref().map_or(0, Vec::len));
        let y = layer.forward(self, x, more)?;
        let params = self.params.slots().get(first..self.next).unwrap_or(&[]);
        let params = params
            .iter()
            .map(|s| s.shape.iter().product::<usize>())
            .sum();
        let path = self.name();
        if let Some(rows) = self.rows.as_mut().filter(|rows| rows.len() == noted) {
            rows.push(Row {
                path,
                kind: kind.to_string(),
                output: Some(y.dims().to_vec()),
                params,
            });
        }
        self.path.pop();
        Ok(y)
    }

    fn name(&self) -> String {
        let names = self.path.iter().map(|(name, _)| name.as_str());
        names
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
            .join(".")
    }

    /// The error of an input that does not fit the layer at work.
    pub fn refuse(&self, expected: impl Into<String>, x: &Tensor) -> Error {
        let kind = self.path.last().map_or("network", |(_, kind)| kind);
        let name = self.name();
        let layer = if name.is_empty() {
            kind.to_string()
        } else {
            format!("{name} ({kind})")
        };
        Error::Layer {
            layer,
            expected: expected.into(),
            got: x.dims().to_vec(),
        }
    }

    /// Refuses an input whose last axis has another size.
    pub fn last(&self, x: &Tensor, size: usize) -> Result<()> {
        match x.dims().last() {
            Some(&last) if last == size => Ok(()),
            _ => Err(self.refuse(format!("[.., {size}]"), x)),
        }
    }
}
