//! Where the fields of a process come from: networks that learn them, closed forms, or functions of a program.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, ops::loss::RowLoss, params::Params};

use super::InterpolantOptions;
use crate::{
    Error, Result,
    flow::{
        convert::{FieldKind, Fields},
        field::VelocityFn,
        mixture::Exact,
    },
    nn::{Mlp, MlpOptions, TimeFeatures},
};

/// Knows some fields of a process.
pub trait Source: Send + Sync {
    /// Its fields at points `[n, d]` and times `[n]`; differentiable in the points.
    fn fields(&self, x: &Tensor, t: &Tensor) -> Result<Fields>;
    /// Which fields these are.
    fn kinds(&self) -> &[FieldKind];
}

/// Networks over one buffer: one for each field, or one for all.
#[derive(Clone)]
pub struct Networks {
    kinds: Vec<FieldKind>,
    features: TimeFeatures,
    nets: Vec<Mlp>,
    params: Arc<Params>,
    dim: usize,
}

impl Networks {
    /// Networks with fresh parameters.
    pub fn new(options: &InterpolantOptions, seed: u64, dtype: DType) -> Result<Self> {
        let mut values = Vec::new();
        for (i, (name, mlp)) in Self::plans(options).iter().enumerate() {
            let seed = rhapsode_tensor::random::Stream::new(seed, "field")
                .at(i as u64)
                .seed();
            values.extend(Mlp::initial(mlp, &format!("{name}."), seed, dtype)?);
        }
        Ok(Self::over(options, Arc::new(Params::new(values)?)))
    }

    /// A name and a network for each field, or for all.
    fn plans(options: &InterpolantOptions) -> Vec<(&'static str, MlpOptions)> {
        let kinds = options.learns();
        let mlp = |outputs: usize| MlpOptions {
            inputs: options.dim.saturating_add(options.features().size()),
            outputs,
            hidden: options.hidden.clone(),
            activation: options.activation,
        };
        match options.shared {
            true => vec![("fields", mlp(options.dim.saturating_mul(kinds.len())))],
            false => kinds
                .iter()
                .map(|kind| (kind.name(), mlp(options.dim)))
                .collect(),
        }
    }

    fn over(options: &InterpolantOptions, params: Arc<Params>) -> Self {
        let mut first = 0;
        let nets = Self::plans(options).into_iter().map(|(_, mlp)| {
            let at = first;
            first += 2 * (mlp.hidden.len() + 1);
            Mlp::over(mlp, params.clone(), at)
        });
        Self {
            kinds: options.learns(),
            features: options.features(),
            nets: nets.collect(),
            dim: options.dim,
            params,
        }
    }

    /// The same networks with other values for their parameters.
    pub fn with(&self, options: &InterpolantOptions, params: Arc<Params>) -> Self {
        Self::over(options, params)
    }

    /// Their parameters.
    pub fn params(&self) -> &Arc<Params> {
        &self.params
    }

    /// The sum of the mean squared errors of all fields at `x: [n, d]` and times `[n]`, each network in one pass with its gradients.
    pub(super) fn loss(
        &self,
        x: &Tensor,
        t: &Tensor,
        target: &dyn Fn(FieldKind) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let input = Tensor::cat(&[x, &self.features.of(t)?], 1)?;
        let targets = self.kinds.iter().map(|kind| target(*kind));
        let targets = targets.collect::<Result<Vec<_>>>()?;
        if let [all] = self.nets.as_slice() {
            let together = Tensor::cat(&targets.iter().collect::<Vec<_>>(), 1)?;
            let mean = all.loss(&input, &together, RowLoss::Square)?;
            return Ok(mean.affine(targets.len() as f64, 0.0)?);
        }
        let mut total: Option<Tensor> = None;
        for (net, target) in self.nets.iter().zip(&targets) {
            let loss = net.loss(&input, target, RowLoss::Square)?;
            total = Some(match total {
                None => loss,
                Some(total) => total.add(&loss)?,
            });
        }
        total.ok_or_else(|| Error::option("learn", "expected at least one field"))
    }
}

impl Source for Networks {
    fn fields(&self, x: &Tensor, t: &Tensor) -> Result<Fields> {
        let input = Tensor::cat(&[x, &self.features.of(t)?], 1)?;
        let mut fields = Fields::default();
        for (i, kind) in self.kinds.iter().enumerate() {
            let value = match self.nets.as_slice() {
                [all] if self.kinds.len() > 1 => {
                    // One network for all: it runs once, its output is cut.
                    if i > 0 {
                        continue;
                    }
                    let y = all.forward(&input)?;
                    for (k, kind) in self.kinds.iter().enumerate() {
                        fields.set(*kind, y.narrow(1, k * self.dim, self.dim)?);
                    }
                    break;
                }
                nets => match nets.get(i) {
                    Some(net) => net.forward(&input)?,
                    None => continue,
                },
            };
            fields.set(*kind, value);
        }
        Ok(fields)
    }

    fn kinds(&self) -> &[FieldKind] {
        &self.kinds
    }
}

impl Source for Exact {
    fn fields(&self, x: &Tensor, t: &Tensor) -> Result<Fields> {
        let exact = self.at(x, t)?;
        Ok(Fields {
            velocity: Some(exact.velocity),
            score: Some(exact.score),
            ..Default::default()
        })
    }

    fn kinds(&self) -> &[FieldKind] {
        &[FieldKind::Velocity, FieldKind::Score]
    }
}

/// Fields given by functions.
pub struct Functions {
    kinds: Vec<FieldKind>,
    functions: Vec<VelocityFn>,
}

impl Functions {
    /// From named functions.
    pub fn new(functions: Vec<(FieldKind, VelocityFn)>) -> Self {
        let (kinds, functions) = functions.into_iter().unzip();
        Self { kinds, functions }
    }
}

impl Source for Functions {
    fn fields(&self, x: &Tensor, t: &Tensor) -> Result<Fields> {
        let mut fields = Fields::default();
        for (kind, function) in self.kinds.iter().zip(&self.functions) {
            let value = function(x, t)?;
            if value.dims() != x.dims() {
                return Err(Error::Shape {
                    what: kind.name(),
                    expected: format!("the shape of x, {:?}", x.dims()),
                    got: value.dims().to_vec(),
                });
            }
            fields.set(*kind, value);
        }
        Ok(fields)
    }

    fn kinds(&self) -> &[FieldKind] {
        &self.kinds
    }
}
