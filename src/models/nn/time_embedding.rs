//! Time as a vector for large networks: sines and cosines of many frequencies through two linear layers.

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Build, Fill, Linear, Module, Pass};
use crate::{Error, Result, checks::at_least_one};

/// Which frequencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Frequencies {
    /// 1000 / 10000^(2 i / size): fixed, geometric, as in transformers and DDPM (arXiv 2006.11239), for times in [0, 1].
    #[default]
    Sinusoidal,
    /// 2 pi times normal numbers of deviation `scale`, fixed when the layer is made (Tancik et al. 2020, arXiv 2006.10739).
    Fourier,
}

/// Options of a time embedding: `W2 silu(W1 [sin(w t), cos(w t)] + b1) + b2`, `[n] -> [n, outputs]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeEmbedding {
    /// Number of sines and cosines together (even, at least 2; default 64).
    pub size: usize,
    /// Size between the two linear layers (at least 1; default 128).
    pub hidden: usize,
    /// Size of the output (at least 1; default 128).
    pub outputs: usize,
    /// Which frequencies (default "sinusoidal").
    pub kind: Frequencies,
    /// Deviation of the Fourier frequencies, in periods per unit of time (finite, >= 0; default 16).
    pub scale: f64,
    /// Seed of the Fourier frequencies, which do not train (default 0).
    pub seed: u64,
}

impl Default for TimeEmbedding {
    fn default() -> Self {
        Self {
            size: 64,
            hidden: 128,
            outputs: 128,
            kind: Frequencies::default(),
            scale: 16.0,
            seed: 0,
        }
    }
}

impl TimeEmbedding {
    /// The angular frequencies, in f64, `[size / 2]`.
    fn frequencies(&self) -> Result<Tensor> {
        let half = self.size / 2;
        if self.kind == Frequencies::Fourier {
            let stream = rhapsode_tensor::random::Stream::new(self.seed, "fourier");
            let fill = Fill::Normal(std::f64::consts::TAU * self.scale);
            return fill.draw(&[half], stream, rhapsode_tensor::DType::F64);
        }
        let frequency = |i: usize| 1000.0 / 10_000f64.powf(i as f64 / half as f64);
        Ok(Tensor::from_vec(
            (0..half).map(frequency).collect::<Vec<f64>>(),
            &[half],
        )?)
    }

    fn layers(&self) -> [Linear; 2] {
        [
            Linear {
                activation: super::Activation::Silu,
                ..Linear::of(self.size, self.hidden)
            },
            Linear::of(self.hidden, self.outputs),
        ]
    }
}

impl Module for TimeEmbedding {
    fn validate(&self) -> Result<()> {
        if self.size < 2 || !self.size.is_multiple_of(2) {
            let message = format!("must be an even number of at least 2, got {}", self.size);
            return Err(Error::option("size", message));
        }
        at_least_one("hidden", self.hidden)?;
        at_least_one("outputs", self.outputs)?;
        super::at_least_zero("scale", self.scale)
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        let [first, second] = self.layers();
        build.within("0", &first)?;
        build.within("1", &second)
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        if x.rank() != 1 {
            return Err(pass.refuse("times [n]", x));
        }
        let frequencies = self.frequencies()?.to_dtype(x.dtype())?;
        let angle = x.unsqueeze(1)?.mul(&frequencies)?;
        let features = Tensor::cat(&[&angle.sin()?, &angle.cos()?], 1)?;
        let [first, second] = self.layers();
        let h = pass.run("0", "linear", &first, &features, &[])?;
        pass.run("1", "linear", &second, &h, &[])
    }
}
