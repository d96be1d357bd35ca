//! A network: a layer of any kind with its parameters in one flat buffer.
//!
//! **Parts.** The layers of a sequential are networks of their own that share its parameters: what trains
//! the whole trains them. A layer that is put into a sequential moves there; as in PyTorch it stays usable
//! by its name. It can belong to one network only, as its parameters lie in that network's buffer: for
//! a second one there is [`Net::duplicate`].
//!
//! **Modes.** As in PyTorch a network begins in training mode: dropout drops. `fit` trains in training mode
//! whatever is set, and leaves the network in evaluation mode; a loaded network is in evaluation mode.
//! Dropout masks are functions of the network's seed, the number of the pass and the layer.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use rhapsode_tensor::{
    DType, Tensor, no_grad,
    ops::loss::RowLoss,
    params::{Params, assign},
    random::Stream,
};

use super::{Build, Layer, Pass, Residual, Row, Sequential, chain::Chain, layer::draw};
use crate::{Error, Result, checkpoint::Checkpoint};

/// The kind under which checkpoints are saved.
pub const KIND: &str = "nn";

/// How deep networks may be nested: walks through them recurse, and so does the reader of their files.
const DEEPEST: usize = 24;

/// Where the parameters of a network lie.
#[derive(Clone)]
struct Place {
    params: Arc<Params>,
    first: usize,
    count: usize,
    /// What stands before its names in the buffer, e.g. `layers.0.`.
    prefix: String,
    /// Whether the buffer belongs to a larger network.
    joined: bool,
}

/// A network; clones are the same one.
#[derive(Clone)]
pub struct Net {
    layer: Arc<Layer>,
    place: Arc<RwLock<Place>>,
    parts: Arc<[Net]>,
    training: Arc<AtomicBool>,
    passes: Arc<AtomicU64>,
    seed: u64,
}

impl Net {
    /// A network with fresh parameters.
    pub fn new(layer: Layer, seed: u64, dtype: DType) -> Result<Self> {
        let params = draw(&Build::plan(&layer)?, seed, dtype)?;
        Self::over(layer, Arc::new(params), 0, "", false, seed)
    }

    /// A network and its parts over parameters that are there.
    fn over(
        layer: Layer,
        params: Arc<Params>,
        first: usize,
        prefix: &str,
        joined: bool,
        seed: u64,
    ) -> Result<Self> {
        let (mut at, mut parts) = (first, Vec::new());
        for (name, child) in layer.children() {
            let prefix = format!("{prefix}{name}.");
            let part = Self::over(child.clone(), params.clone(), at, &prefix, true, seed)?;
            at += part.place().count;
            parts.push(part);
        }
        let count = Build::plan(&layer)?.len();
        let place = Place {
            params,
            first,
            count,
            prefix: prefix.to_string(),
            joined,
        };
        Ok(Self {
            layer: Arc::new(layer),
            place: Arc::new(RwLock::new(place)),
            parts: parts.into(),
            training: Arc::new(AtomicBool::new(true)),
            passes: Arc::default(),
            seed,
        })
    }

    /// Layers one after the other; their parameters move into one buffer.
    pub fn sequential(parts: Vec<Net>, seed: u64) -> Result<Self> {
        let layers = parts.iter().map(|part| Layer::clone(&part.layer)).collect();
        Self::join(Layer::Sequential(Sequential { layers }), parts, seed)
    }

    /// `x + inner(x)`; the parameters of the inner layer move.
    pub fn residual(inner: Net, seed: u64) -> Result<Self> {
        let whole = Residual {
            inner: Box::new(Layer::clone(&inner.layer)),
        };
        Self::join(Layer::Residual(whole), vec![inner], seed)
    }

    fn join(layer: Layer, parts: Vec<Net>, seed: u64) -> Result<Self> {
        layer.module().validate()?;
        let what = layer.kind();
        let refuse = |message: String| Error::Value { what, message };
        if layer.depth() > DEEPEST {
            return Err(refuse(format!(
                "networks are nested at most {DEEPEST} deep: put the layers into one list"
            )));
        }
        let mut values = Vec::new();
        let mut dtype = None;
        for (i, (part, (name, _))) in parts.iter().zip(layer.children()).enumerate() {
            let twice = parts
                .iter()
                .take(i)
                .any(|p| Arc::ptr_eq(&p.place, &part.place));
            if part.place().joined || twice {
                return Err(refuse(format!(
                    "layer {i} ({}) belongs to a network already: its parameters cannot lie in two (take its .copy())",
                    part.layer.kind()
                )));
            }
            for (inner, tensor) in part.named() {
                let expected = *dtype.get_or_insert(tensor.dtype());
                if tensor.dtype() != expected {
                    return Err(refuse(format!(
                        "layer {i} ({}) is {}, the layers before it {}",
                        part.layer.kind(),
                        tensor.dtype().as_str(),
                        expected.as_str()
                    )));
                }
                values.push((format!("{name}.{inner}"), tensor));
            }
        }
        let params = Arc::new(Params::new(values)?);
        let mut first = 0;
        for (part, (name, _)) in parts.iter().zip(layer.children()) {
            part.move_to(&params, first, &format!("{name}."));
            first += part.place().count;
        }
        let place = Place {
            params,
            first: 0,
            count: first,
            prefix: String::new(),
            joined: false,
        };
        Ok(Self {
            layer: Arc::new(layer),
            place: Arc::new(RwLock::new(place)),
            parts: parts.into(),
            training: Arc::new(AtomicBool::new(true)),
            passes: Arc::default(),
            seed,
        })
    }

    /// Its parameters, and those of its parts, are in another buffer from now on.
    fn move_to(&self, params: &Arc<Params>, first: usize, prefix: &str) {
        let former = self.place();
        for part in self.parts.iter() {
            let own = part.place();
            let inner = own.prefix.strip_prefix(&former.prefix).unwrap_or("");
            part.move_to(
                params,
                first + own.first - former.first,
                &format!("{prefix}{inner}"),
            );
        }
        let place = Place {
            params: params.clone(),
            first,
            prefix: prefix.to_string(),
            joined: true,
            ..former
        };
        *self.place.write().unwrap_or_else(PoisonError::into_inner) = place;
    }

    fn place(&self) -> Place {
        let place = self.place.read().unwrap_or_else(PoisonError::into_inner);
        Place::clone(&place)
    }

    /// Its layer.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// The networks that it is made of, in order; they share its parameters.
    pub fn parts(&self) -> &[Net] {
        &self.parts
    }

    /// The buffer of the whole network; an error for a part of one.
    pub fn params(&self) -> Result<Arc<Params>> {
        let place = self.place();
        if place.joined {
            return Err(Error::Value {
                what: self.layer.kind(),
                message: "is a part of a larger network: train that one, or a .copy() of this"
                    .into(),
            });
        }
        Ok(place.params)
    }

    /// Its parameters by name.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        let place = self.place();
        let own = place.first..place.first + place.count;
        let slots = place.params.slots().get(own.clone()).unwrap_or(&[]);
        let tensors = place.params.tensors().get(own).unwrap_or(&[]);
        let name = |name: &str| name.strip_prefix(&place.prefix).unwrap_or(name).to_string();
        slots
            .iter()
            .zip(tensors)
            .map(|(slot, tensor)| (name(&slot.name), tensor.clone()))
            .collect()
    }

    /// How many numbers its parameters are.
    pub fn count(&self) -> usize {
        self.named().iter().map(|(_, t)| t.len()).sum()
    }

    /// The dtype of its parameters; `None` where it has none.
    pub fn dtype(&self) -> Option<DType> {
        self.named().first().map(|(_, t)| t.dtype())
    }

    /// A network of the same kind with parameters of its own.
    pub fn duplicate(&self) -> Result<Self> {
        let params = Params::new(self.named())?;
        let copy = Self::over(
            Layer::clone(&self.layer),
            Arc::new(params),
            0,
            "",
            false,
            self.seed,
        )?;
        copy.set_training(self.is_training());
        Ok(copy)
    }

    /// Training mode or evaluation mode, for it and its parts.
    pub fn set_training(&self, training: bool) {
        self.training.store(training, Ordering::Relaxed);
        self.parts
            .iter()
            .for_each(|part| part.set_training(training));
    }

    /// Whether it is in training mode.
    pub fn is_training(&self) -> bool {
        self.training.load(Ordering::Relaxed)
    }

    /// The output at `x`, and at the further inputs that [`Layer::more`] names, in the mode that is set.
    pub fn forward(&self, x: &Tensor, more: &[&Tensor]) -> Result<Tensor> {
        let training = self.is_training() && self.layer.has_dropout();
        let pass = if training {
            self.passes.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        let masks = training.then(|| Stream::new(self.seed, "dropout").at(pass));
        self.pass(x, more, masks)
    }

    /// The output where dropout draws from `masks`, or does not drop.
    pub(crate) fn pass(
        &self,
        x: &Tensor,
        more: &[&Tensor],
        masks: Option<Stream>,
    ) -> Result<Tensor> {
        let place = self.place();
        self.check(x, more)?;
        let mut pass = Pass::new(&place.params, place.first, masks);
        pass.run("", self.layer.kind(), self.layer.module(), x, more)
    }

    /// The mean squared error against `y`, with its gradients in the same pass, where the network is a chain of linear
    /// layers and `y` has the shape of its output.
    pub(crate) fn chain_mse(&self, x: &Tensor, y: &Tensor) -> Option<Result<Tensor>> {
        let chain = Chain::of(&self.layer)?;
        let place = self.place();
        let fits = self.check(x, &[]).is_ok() && x.dims().last() == Some(&chain.inputs());
        (fits && chain.gives(x, y) && chain.is_fused(place.params.dtype()))
            .then(|| chain.loss(&place.params, place.first, x, y, RowLoss::Square))
    }

    /// How it is computed where nothing is recorded, in words.
    pub fn path(&self) -> &'static str {
        let dtype = self.dtype().unwrap_or(DType::F32);
        match Chain::of(&self.layer).is_some_and(|chain| chain.is_fused(dtype)) {
            true => "fused network",
            false => "layer by layer",
        }
    }

    /// Refuses an input of another float dtype, and inputs that the layer does not take.
    fn check(&self, x: &Tensor, more: &[&Tensor]) -> Result<()> {
        let named = self.layer.more();
        if more.len() > named.len() {
            let message = format!("takes {}, got {}", counted(named.len() + 1), more.len() + 1);
            return Err(Error::Value {
                what: self.layer.kind(),
                message,
            });
        }
        let place = self.place.read().unwrap_or_else(PoisonError::into_inner);
        let takes_ints = matches!(
            self.first_kind(),
            Layer::Embedding(_) | Layer::StableEmbedding(_) | Layer::Custom(_)
        );
        if place.count == 0 || takes_ints || x.dtype() == place.params.dtype() {
            return Ok(());
        }
        let own = place.params.dtype().as_str();
        let message = format!(
            "the parameters are {own}, the input is {} (convert it with .to(\"{own}\"))",
            x.dtype().as_str()
        );
        Err(Error::Value {
            what: self.layer.kind(),
            message,
        })
    }

    /// The layer that sees the input first.
    fn first_kind(&self) -> &Layer {
        let mut layer: &Layer = &self.layer;
        loop {
            layer = match layer {
                Layer::Sequential(whole) => match whole.layers.first() {
                    Some(first) => first,
                    None => return layer,
                },
                Layer::Residual(whole) => &whole.inner,
                _ => return layer,
            };
        }
    }

    /// A recurrent network over a sequence, from a state: outputs and the last state.
    pub fn scan(&self, x: &Tensor, state: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let Layer::Gru(gru) = &*self.layer else {
            return Err(Error::Value {
                what: "scan",
                message: format!("a `{}` has no state (`nn::gru` has)", self.layer.kind()),
            });
        };
        self.check(x, &[])?;
        let place = self.place();
        gru.scan(&mut Pass::new(&place.params, place.first, None), x, state)
    }

    /// Every layer with its number of parameters and, for inputs of given shapes, the shape of its output.
    pub fn rows(&self, inputs: Option<&[Vec<usize>]>) -> Result<Vec<Row>> {
        let Some((first, more)) = inputs.and_then(<[_]>::split_first) else {
            return self.untraced("");
        };
        let dtype = self.dtype().unwrap_or(DType::F32);
        let zeros = |shape: &Vec<usize>| Tensor::zeros(shape, dtype);
        let more = more.iter().map(zeros).collect::<Result<Vec<_>, _>>()?;
        let place = self.place();
        let mut pass = Pass::new(&place.params, place.first, None).traced();
        no_grad(|| {
            pass.run(
                "",
                self.layer.kind(),
                self.layer.module(),
                &zeros(first)?,
                &more.iter().collect::<Vec<_>>(),
            )
        })?;
        Ok(pass.rows())
    }

    fn untraced(&self, path: &str) -> Result<Vec<Row>> {
        if self.parts.is_empty() {
            return Ok(vec![Row {
                path: path.to_string(),
                kind: self.layer.kind().to_string(),
                output: None,
                params: self.count(),
            }]);
        }
        let mut rows = Vec::new();
        for (part, (name, _)) in self.parts.iter().zip(self.layer.children()) {
            let path = match path {
                "" => name,
                path => format!("{path}.{name}"),
            };
            rows.extend(part.untraced(&path)?);
        }
        Ok(rows)
    }

    /// As a checkpoint: the layer and its parameters.
    pub fn checkpoint(&self) -> Checkpoint {
        let tensors = self.named().into_iter().map(|(n, t)| (n, t.detach()));
        Checkpoint {
            kind: KIND.into(),
            options: serde_json::to_value(&*self.layer).unwrap_or_default(),
            tensors: tensors.collect(),
        }
    }

    /// From a checkpoint, in evaluation mode. The function of a custom layer is not in it: see [`Net::fill`].
    pub fn restore(checkpoint: &Checkpoint) -> Result<Self> {
        let bad = |message: String| Error::Value {
            what: "checkpoint",
            message,
        };
        if checkpoint.kind != KIND {
            return Err(bad(format!(
                "holds a `{}`, expected a `{KIND}`",
                checkpoint.kind
            )));
        }
        let layer: Layer = serde_json::from_value(checkpoint.options.clone())
            .map_err(|e| bad(format!("its layers do not fit: {e}")))?;
        let dtype = checkpoint
            .tensors
            .first()
            .map_or(DType::F32, |(_, t)| t.dtype());
        let net = Self::new(layer, 0, dtype)?;
        net.fill(checkpoint)?;
        net.set_training(false);
        Ok(net)
    }

    /// Takes the parameters of a file with the same names and shapes, one of ours or of PyTorch.
    pub fn fill(&self, checkpoint: &Checkpoint) -> Result<()> {
        let place = self.place();
        if place.count == 0 {
            return Ok(());
        }
        let own = Params::new(self.named())?;
        checkpoint.fill("", &own)?;
        let values = own.tensors().iter().zip(self.named());
        for (from, (_, to)) in values {
            assign(&to, from)?;
        }
        Ok(())
    }
}

fn counted(n: usize) -> String {
    match n {
        1 => "1 input".into(),
        n => format!("{n} inputs"),
    }
}
