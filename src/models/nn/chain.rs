//! Networks that are a chain of linear layers and activations: these go through all layers at once, tile by tile (see
//! [`rhapsode_tensor::ops::mlp`]), and nothing else about them changes.

use rhapsode_tensor::{
    DType, Tensor,
    ops::{loss::RowLoss, mlp},
    params::Params,
};

use super::{Activation, Layer, Linear, MlpOptions};
use crate::Result;

/// A linear layer with its bias, and what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    inputs: usize,
    outputs: usize,
    act: Activation,
}

/// Links one after the other; each has two parameters, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain(Vec<Link>);

impl Chain {
    /// Of a perceptron.
    pub fn of_mlp(options: &MlpOptions) -> Self {
        let sizes = options.sizes();
        let last = sizes.len() - 2;
        let link = |(i, pair): (usize, &[usize])| Link {
            inputs: pair[0],
            outputs: pair[1],
            act: if i == last {
                Activation::Identity
            } else {
                options.activation
            },
        };
        Self(sizes.windows(2).enumerate().map(link).collect())
    }

    /// Of a network, where it is one.
    pub fn of(layer: &Layer) -> Option<Self> {
        Self::of_layers(std::slice::from_ref(layer))
    }

    /// Of layers one after the other, where they are one.
    pub fn of_layers(layers: &[Layer]) -> Option<Self> {
        let mut chain = Self::default();
        let fits = layers.iter().all(|layer| chain.add(layer));
        (fits && chain.0.len() > 1).then_some(chain)
    }

    /// Adds what a layer does; false where it is something else, or does not fit.
    fn add(&mut self, layer: &Layer) -> bool {
        let before = self.0.len();
        match layer {
            Layer::Linear(Linear {
                inputs,
                outputs,
                bias: true,
                activation,
                ..
            }) => self.0.push(Link {
                inputs: *inputs,
                outputs: *outputs,
                act: *activation,
            }),
            Layer::Mlp(options) => self.0.extend(Self::of_mlp(options).0),
            Layer::Activation(act) => match self.0.last_mut() {
                Some(link) if link.act == Activation::Identity => link.act = *act,
                _ => return false,
            },
            Layer::Sequential(whole) => return whole.layers.iter().all(|layer| self.add(layer)),
            _ => return false,
        }
        match (
            before.checked_sub(1).and_then(|i| self.0.get(i)),
            self.0.get(before),
        ) {
            (Some(last), Some(next)) => last.outputs == next.inputs,
            _ => true,
        }
    }

    /// How many parameters it has.
    pub fn params(&self) -> usize {
        2 * self.0.len()
    }

    /// Size of the input.
    pub fn inputs(&self) -> usize {
        self.0.first().map_or(0, |link| link.inputs)
    }

    /// Whether `y` has the shape of the output at `x`.
    pub fn gives(&self, x: &Tensor, y: &Tensor) -> bool {
        let outputs = self.0.last().map(|link| link.outputs);
        let (own, other) = (x.dims().split_last(), y.dims().split_last());
        matches!((own, other), (Some((_, a)), Some((last, b))) if a == b && Some(*last) == outputs)
    }

    /// Whether it goes through all layers at once in this dtype.
    pub fn is_fused(&self, dtype: DType) -> bool {
        let outputs = self.0.iter().map(|link| link.outputs);
        let sizes: Vec<usize> = [self.inputs()].into_iter().chain(outputs).collect();
        mlp::qualifies(&sizes, dtype)
    }

    /// With the parameters from slot `first`.
    fn layers<'a>(&self, params: &'a Params, first: usize) -> Result<Vec<mlp::Layer<'a>>> {
        let layer = |(i, link): (usize, &Link)| {
            Ok(mlp::Layer {
                weight: params.get(first + 2 * i)?,
                bias: params.get(first + 2 * i + 1)?,
                act: link.act.into(),
            })
        };
        self.0.iter().enumerate().map(layer).collect()
    }

    /// The output at `x: [.., inputs]`.
    pub fn forward(&self, params: &Params, first: usize, x: &Tensor) -> Result<Tensor> {
        Ok(mlp::forward(x, &self.layers(params, first)?)?)
    }

    /// The mean loss of the output's rows, with its gradients.
    pub fn loss(
        &self,
        params: &Params,
        first: usize,
        x: &Tensor,
        target: &Tensor,
        loss: RowLoss,
    ) -> Result<Tensor> {
        Ok(mlp::loss(x, target, &self.layers(params, first)?, loss)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Dropout, Sequential};

    fn sequential(layers: Vec<Layer>) -> Layer {
        Layer::Sequential(Sequential { layers })
    }

    #[test]
    fn chains_are_found_and_nothing_else_is_taken_for_one() {
        let linear = |a, b| Layer::Linear(Linear::of(a, b));
        let act = || Layer::Activation(Activation::Tanh);
        let mlp = MlpOptions {
            inputs: 3,
            outputs: 2,
            hidden: vec![5],
            activation: Activation::Tanh,
        };
        let parts = sequential(vec![linear(3, 5), sequential(vec![act(), linear(5, 2)])]);
        assert_eq!(Chain::of(&parts), Chain::of(&Layer::Mlp(mlp)));
        assert_eq!(Chain::of(&parts).map(|c| c.params()), Some(4));
        for other in [
            linear(3, 5),
            sequential(vec![act(), linear(3, 5), linear(5, 2)]),
            sequential(vec![linear(3, 5), act(), act(), linear(5, 2)]),
            sequential(vec![linear(3, 5), linear(4, 2)]),
            sequential(vec![
                linear(3, 5),
                Layer::Dropout(Dropout::default()),
                linear(5, 2),
            ]),
            sequential(vec![
                Layer::Linear(Linear {
                    bias: false,
                    ..Linear::of(3, 5)
                }),
                linear(5, 2),
            ]),
        ] {
            assert_eq!(Chain::of(&other), None, "{other:?}");
        }
    }
}
