//! The Schroedinger bridge: of all interpolants between two laws the one whose forward SDE `dX = u dt + sqrt(2 eps) dW` has the least
//! energy `int 1/2 E |u|^2 dt`.
//!
//! ```text
//! max over I, min over u    int E [ 1/2 |u(t, x_t)|^2 - (I' + (gamma' - eps / gamma) z) . u(t, x_t) ] dt
//! ```
//!
//! The inner minimum is minus the energy. `I` keeps its ends: "polynomial" is `alpha = 1 - t + t (1 - t) p(t)`, `beta = t + t (1 - t) q(t)`, `gamma^2 =
//! t (1 - t) e^r(t)` with cubic `p, q, r`; "network" is `(1 - t) x0 + t x1 + t (1 - t) f(t, x0, x1)`, `f` a cubic in `t` whose coefficients are a network of
//! `(x0, x1)`, with `gamma^2 = 2 eps t (1 - t)`. The drift `u` is "affine", fitted exactly at each time by least squares
//! (for Gaussian laws that is the true one), or a "network" that takes a few gradient steps before each step of `I`.
//!
//! Latents come with both signs and are standardised, so that affine drifts see the exact moments of the latent.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, grad_or_zero, interrupt, params::Params, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    checks::{at_least_one, positive},
    data::Batches,
    nn::{Activation, Mlp, MlpOptions, TimeFeatures},
    observe::{Observer, Step},
    ode::sde::Brownian,
    optim::{AdamOptions, Choice, Optimizer},
};

/// How the interpolant may bend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bend {
    /// By cubics in time, the same for all pairs.
    #[default]
    Polynomial,
    /// By a network of the pair.
    Network,
}

/// What the drift is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DriftKind {
    /// Affine in `x` at each time, fitted exactly.
    #[default]
    Affine,
    /// A network.
    Network,
}

/// Options of a bridge.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BridgeOptions {
    /// Strength of the noise (> 0; default 0.5).
    pub epsilon: f64,
    /// How the interpolant may bend: "polynomial" or "network" (default "polynomial").
    pub interpolant: Bend,
    /// What the drift is: "affine" fits Gaussian laws exactly, "network" any (default "affine").
    pub drift: DriftKind,
    /// Steps of the interpolant (at least 1; default 200).
    pub steps: u64,
    /// Steps of a drift that is a network before each step of the interpolant (at least 1; default 5).
    pub inner: u64,
    /// Pairs a step (at least 2; default 512).
    pub batch: usize,
    /// Learning rate of the interpolant (> 0; default 0.02).
    pub rate: f64,
    /// Learning rate of a drift that is a network (> 0; default 0.001).
    pub drift_rate: f64,
    /// Times of the quadrature of an affine drift (at least 2; default 32).
    pub times: usize,
    /// Sizes of the hidden layers of networks (default [64, 64]).
    pub hidden: Vec<usize>,
    /// Seed of parameters, pairs and latents (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self {
            epsilon: 0.5,
            interpolant: Bend::default(),
            drift: DriftKind::default(),
            steps: 200,
            inner: 5,
            batch: 512,
            rate: 0.02,
            drift_rate: 1e-3,
            times: 32,
            hidden: vec![64, 64],
            seed: None,
        }
    }
}

impl BridgeOptions {
    fn validate(&self) -> Result<()> {
        for (key, value) in [
            ("epsilon", self.epsilon),
            ("rate", self.rate),
            ("drift_rate", self.drift_rate),
        ] {
            positive(key, value)?;
        }
        at_least_one("steps", self.steps as usize)?;
        at_least_one("inner", self.inner as usize)?;
        self.hidden
            .iter()
            .try_for_each(|n| at_least_one("hidden", *n))?;
        for (key, count) in [("batch", self.batch), ("times", self.times)] {
            if count < 2 {
                return Err(Error::option(
                    key,
                    format!("must be at least 2, got {count}"),
                ));
            }
        }
        Ok(())
    }
}

/// Times no closer to the ends: the latent's rate has no bound there.
const DELTA: f64 = 1e-3;
/// Coefficients of a cubic.
const CUBIC: usize = 4;

/// An interpolant on its way to the bridge. Clones share their parameters.
#[derive(Clone)]
pub struct Bridge {
    options: BridgeOptions,
    x0: Tensor,
    x1: Tensor,
    dim: usize,
    path: Arc<Params>,
    bend: Option<Mlp>,
    drift: Option<Mlp>,
    /// The energy after each step.
    pub energies: Vec<f64>,
    /// Whether the user stopped it before its end.
    pub interrupted: bool,
}

/// `x_t` and `I' + (gamma' - eps / gamma) z` of a batch.
struct Motion {
    x: Tensor,
    rate: Tensor,
}

/// Powers `1, t, t^2, t^3` of times and their derivatives, `[n, 4]` each.
fn powers(t: &[f64], dtype: DType) -> Result<(Tensor, Tensor)> {
    let rows = |of: fn(f64) -> [f64; CUBIC]| -> Result<Tensor> {
        let values: Vec<f64> = t.iter().flat_map(|t| of(*t)).collect();
        Ok(Tensor::from_vec(values, &[t.len(), CUBIC])?.to_dtype(dtype)?)
    };
    Ok((
        rows(|t| [1.0, t, t * t, t * t * t])?,
        rows(|t| [0.0, 1.0, 2.0 * t, 3.0 * t * t])?,
    ))
}

impl Bridge {
    /// The interpolant on lines between points `[m, d]` of the base and `[n, d]` of the data.
    pub fn new(x0: &Tensor, x1: &Tensor, options: &BridgeOptions) -> Result<Self> {
        options.validate()?;
        for (what, x) in [("base", x0), ("data", x1)] {
            let rows = x.dims().first().copied().unwrap_or(0);
            if x.rank() != 2 || rows < 2 || x.dims().last() != x1.dims().last() {
                return Err(Error::Shape {
                    what,
                    expected: "[n, d] with n > 1 and the same d as the data".into(),
                    got: x.dims().to_vec(),
                });
            }
            if !x.is_finite()? {
                return Err(Error::Value {
                    what,
                    message: "holds NaN or infinity".into(),
                });
            }
        }
        // The energy is a small difference of large terms near the ends.
        let (x0, x1) = (
            x0.detach().to_dtype(DType::F64)?,
            x1.detach().to_dtype(DType::F64)?,
        );
        let (dim, seed) = (x1.dim(1)?, options.seed.unwrap_or(0));
        let mlp = |inputs: usize, outputs: usize| MlpOptions {
            inputs,
            outputs,
            hidden: options.hidden.clone(),
            activation: Activation::default(),
        };
        let (path, bend) = match options.interpolant {
            Bend::Polynomial => {
                let mut cubics = vec![0.0; 3 * CUBIC];
                cubics[2 * CUBIC] = (2.0 * options.epsilon).ln();
                let cubics = Tensor::from_vec(cubics, &[3, CUBIC, 1])?;
                (
                    Arc::new(Params::new(vec![("cubics".into(), cubics)])?),
                    None,
                )
            }
            Bend::Network => {
                let net = Mlp::new(mlp(2 * dim, CUBIC * dim), seed, DType::F64)?;
                (net.params().clone(), Some(net))
            }
        };
        let drift = match options.drift {
            DriftKind::Affine => None,
            DriftKind::Network => Some(Mlp::new(
                mlp(dim + FEATURES.size(), dim),
                seed.wrapping_add(1),
                DType::F64,
            )?),
        };
        Ok(Self {
            options: options.clone(),
            x0,
            x1,
            dim,
            path,
            bend,
            drift,
            energies: Vec::new(),
            interrupted: false,
        })
    }

    /// Strength of the noise.
    pub fn epsilon(&self) -> f64 {
        self.options.epsilon
    }

    /// Position and rate of pairs at times with a latent.
    fn motion(&self, t: &[f64], x0: &Tensor, x1: &Tensor, z: &Tensor) -> Result<Motion> {
        let n = t.len();
        let column = |of: &dyn Fn(f64) -> f64| {
            Tensor::from_vec(t.iter().map(|t| of(*t)).collect::<Vec<f64>>(), &[n, 1])
        };
        let (one, dot) = powers(t, DType::F64)?;
        let (room, room_dot) = (column(&|t| t * (1.0 - t))?, column(&|t| 1.0 - 2.0 * t)?);
        let eps = self.options.epsilon;
        let line = column(&|t| 1.0 - t)?
            .mul(x0)?
            .add(&column(&|t| t)?.mul(x1)?)?;
        let chord = x1.sub(x0)?;
        // t (1 - t) f and its derivative.
        let bent = |f: &Tensor, f_dot: &Tensor| -> Result<(Tensor, Tensor)> {
            Ok((room.mul(f)?, room_dot.mul(f)?.add(&room.mul(f_dot)?)?))
        };
        let (position, rate, square, product) = match &self.bend {
            None => {
                let cubics = self.path.get(0)?;
                let of = |i: usize, basis: &Tensor| -> Result<Tensor> {
                    Ok(basis.matmul(&cubics.narrow(0, i, 1)?.squeeze(0)?)?)
                };
                let (a, a_dot) = bent(&of(0, &one)?, &of(0, &dot)?)?;
                let (b, b_dot) = bent(&of(1, &one)?, &of(1, &dot)?)?;
                let (r, r_dot) = (of(2, &one)?.exp()?, of(2, &dot)?);
                let square = room.mul(&r)?;
                let product = r
                    .mul(&room_dot.add(&room.mul(&r_dot)?)?)?
                    .affine(0.5, 0.0)?;
                (
                    line.add(&a.mul(x0)?)?.add(&b.mul(x1)?)?,
                    chord.add(&a_dot.mul(x0)?)?.add(&b_dot.mul(x1)?)?,
                    square,
                    product,
                )
            }
            Some(net) => {
                let g = net.forward(&Tensor::cat(&[x0, x1], 1)?)?;
                let sum = |basis: &Tensor| -> Result<Tensor> {
                    let weights = basis.unsqueeze(1)?;
                    let g = g.reshape(&[n, CUBIC, self.dim])?;
                    Ok(weights.matmul(&g)?.squeeze(1)?)
                };
                let (f, f_dot) = bent(&sum(&one)?, &sum(&dot)?)?;
                (
                    line.add(&f)?,
                    chord.add(&f_dot)?,
                    room.affine(2.0 * eps, 0.0)?,
                    room_dot.affine(eps, 0.0)?,
                )
            }
        };
        let gamma = square.sqrt()?;
        // gamma' - eps / gamma as (gamma gamma' - eps) / gamma.
        let latent = product.affine(1.0, -eps)?.div(&gamma)?;
        Ok(Motion {
            x: position.add(&gamma.mul(z)?)?,
            rate: rate.add(&latent.mul(z)?)?,
        })
    }

    /// A latent with both signs, of mean 0 and covariance 1.
    fn latent(&self, n: usize, stream: Stream) -> Result<Tensor> {
        let z = stream.randn(&[n, self.dim], DType::F64)?;
        // The pairs stand twice: +z below -z makes the mean 0 and nothing correlated with the pair.
        let square = z.t()?.matmul(&z)?.affine(1.0 / n as f64, 0.0)?;
        match n > self.dim {
            true => Ok(z.matmul(&square.cholesky()?.inv()?.t()?)?),
            false => Ok(z),
        }
    }

    /// The pairs of a step, each twice, with their latents.
    fn pairs(&self, order: &mut [Batches; 2], step: u64, stream: Stream) -> Result<[Tensor; 3]> {
        let pick = |x: &Tensor, rows: Vec<i64>| -> Result<Tensor> {
            let n = rows.len();
            Ok(x.index_select(0, &Tensor::from_vec(rows, &[n])?)?)
        };
        let x0 = pick(&self.x0, order[0].indices(step)?)?;
        let x1 = pick(&self.x1, order[1].indices(step)?)?;
        let z = self.latent(x0.dim(0)?, stream.at(step))?;
        Ok([
            Tensor::cat(&[&x0, &x0], 0)?,
            Tensor::cat(&[&x1, &x1], 0)?,
            Tensor::cat(&[&z, &z.neg()?], 0)?,
        ])
    }

    /// Mean of the rate and the regression of the rate on `x - E x`: `u = mean + (x - centre) slope`.
    fn affine(motion: &Motion) -> Result<(Tensor, Tensor, Tensor, Tensor)> {
        let n = motion.x.dim(0)? as f64;
        let (centre, mean) = (
            motion.x.mean(&[0])?.unsqueeze(0)?,
            motion.rate.mean(&[0])?.unsqueeze(0)?,
        );
        let (x, y) = (motion.x.sub(&centre)?, motion.rate.sub(&mean)?);
        let cov = x.t()?.matmul(&x)?.affine(1.0 / n, 0.0)?;
        let cross = x.t()?.matmul(&y)?.affine(1.0 / n, 0.0)?;
        let slope = cov.solve(&cross)?;
        Ok((centre, mean, slope, cross))
    }

    /// The energy of the affine drift at one time.
    fn energy_at(&self, t: f64, [x0, x1, z]: &[Tensor; 3]) -> Result<Tensor> {
        let motion = self.motion(&vec![t; x0.dim(0)?], x0, x1, z)?;
        let (_, mean, slope, cross) = Self::affine(&motion)?;
        Ok(mean
            .sqr()?
            .sum_all()?
            .add(&slope.mul(&cross)?.sum_all()?)?
            .affine(0.5, 0.0)?)
    }

    /// The energy of the best affine drift, by the midpoint rule.
    fn affine_energy(&self, pairs: &[Tensor; 3]) -> Result<Tensor> {
        let count = self.options.times;
        let mut total: Option<Tensor> = None;
        for i in 0..count {
            let at = self.energy_at((i as f64 + 0.5) / count as f64, pairs)?;
            total = Some(match total {
                None => at,
                Some(total) => total.add(&at)?,
            });
        }
        let total = total.ok_or_else(|| Error::option("times", "must be at least 2"))?;
        Ok(total.affine(1.0 / count as f64, 0.0)?)
    }

    /// The drift's objective on a batch with a time of its own for each pair.
    fn objective(&self, net: &Mlp, pairs: &[Tensor; 3], stream: Stream) -> Result<Tensor> {
        let [x0, x1, z] = pairs;
        let half = x0.dim(0)? / 2;
        let mut t = vec![0.0; half];
        stream.uniform(&mut t);
        // Both signs of a latent at the same time.
        let t: Vec<f64> = t
            .iter()
            .chain(&t)
            .map(|t| DELTA + (1.0 - 2.0 * DELTA) * t)
            .collect();
        let motion = self.motion(&t, x0, x1, z)?;
        let u = evaluate(net, &motion.x, &t)?;
        let terms = u.mul(&u.affine(0.5, 0.0)?.sub(&motion.rate)?)?;
        Ok(terms.sum(&[1])?.mean_all()?)
    }

    /// Optimises the interpolant. An interrupt keeps what was reached.
    pub fn fit(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let seed = self.options.seed.unwrap_or(0);
        let batch = self.options.batch;
        let adam = |lr: f64| -> Choice {
            AdamOptions {
                lr,
                ..Default::default()
            }
            .into()
        };
        let mut outer = Optimizer::flat(adam(self.options.rate), &self.path)?;
        let mut inner = match &self.drift {
            Some(net) => Some(Optimizer::flat(
                adam(self.options.drift_rate),
                net.params(),
            )?),
            None => None,
        };
        let mut order = [
            Batches::new(
                self.x0.dim(0)?,
                batch.min(self.x0.dim(0)?.min(self.x1.dim(0)?)),
                Stream::new(seed, "base"),
            )?,
            Batches::new(
                self.x1.dim(0)?,
                batch.min(self.x0.dim(0)?.min(self.x1.dim(0)?)),
                Stream::new(seed, "data"),
            )?,
        ];
        let (latents, times) = (Stream::new(seed, "latent"), Stream::new(seed, "time"));
        let mut draws = 0;
        for step in 1..=self.options.steps {
            interrupt::check()?;
            let energy = match (&self.drift, &mut inner) {
                (Some(net), Some(inner)) => {
                    for _ in 0..self.options.inner {
                        draws += 1;
                        let pairs = self.pairs(&mut order, draws, latents)?;
                        let loss = self.objective(net, &pairs, times.at(draws))?;
                        descend(inner, net.params(), loss)?;
                    }
                    draws += 1;
                    let pairs = self.pairs(&mut order, draws, latents)?;
                    self.objective(net, &pairs, times.at(draws))?.neg()?
                }
                _ => {
                    draws += 1;
                    let pairs = self.pairs(&mut order, draws, latents)?;
                    self.affine_energy(&pairs)?
                }
            };
            let value = energy.item()?;
            if !value.is_finite() {
                return Err(Error::Numeric {
                    step,
                    what: "the energy",
                    value: "NaN",
                    op: "bridge".into(),
                });
            }
            self.energies.push(value);
            descend(&mut outer, &self.path, energy)?;
            let metrics = [("energy", value)];
            let progress = Step {
                label: "bridge",
                step,
                total: Some(self.options.steps),
                metrics: &metrics,
            };
            if observer.step(&progress).is_break() && step < self.options.steps {
                self.interrupted = true;
                break;
            }
        }
        Ok(())
    }

    /// All points of both laws as pairs with latents: what energies and drifts are told from at the end.
    fn all(&self, seed: u64) -> Result<[Tensor; 3]> {
        let n = self.x0.dim(0)?.min(self.x1.dim(0)?);
        let (x0, x1) = (self.x0.narrow(0, 0, n)?, self.x1.narrow(0, 0, n)?);
        let z = self.latent(n, Stream::new(seed, "all"))?;
        Ok([
            Tensor::cat(&[&x0, &x0], 0)?,
            Tensor::cat(&[&x1, &x1], 0)?,
            Tensor::cat(&[&z, &z.neg()?], 0)?,
        ])
    }

    /// The energy of the interpolant as it is, over all points.
    pub fn energy(&self) -> Result<f64> {
        let pairs = self.all(self.options.seed.unwrap_or(0))?;
        match &self.drift {
            None => Ok(self.affine_energy(&pairs)?.item()?),
            Some(net) => {
                // Many times for each pair: the mean has the spread of one batch otherwise.
                let times = Stream::new(self.options.seed.unwrap_or(0), "energy");
                let total =
                    (0..16).map(|i| Ok(self.objective(net, &pairs, times.at(i))?.item()?));
                let total: f64 = total.collect::<Result<Vec<f64>>>()?.iter().sum();
                Ok(-total / 16.0)
            }
        }
    }

    /// Points of the interpolant at a time in (0, 1), `[2 n, d]`.
    pub fn points(&self, t: f64) -> Result<Tensor> {
        if !(t > 0.0 && t < 1.0) {
            return Err(Error::Value {
                what: "t",
                message: format!("must lie in (0, 1), got {t}"),
            });
        }
        let [x0, x1, z] = self.all(self.options.seed.unwrap_or(0))?;
        Ok(self.motion(&vec![t; x0.dim(0)?], &x0, &x1, &z)?.x.detach())
    }

    /// The drift at points `[n, d]` and a time.
    pub fn drift(&self, x: &Tensor, t: f64) -> Result<Tensor> {
        let t = t.clamp(DELTA, 1.0 - DELTA);
        let x = x.to_dtype(DType::F64)?;
        if let Some(net) = &self.drift {
            return evaluate(net, &x, &vec![t; x.dim(0)?]);
        }
        let [x0, x1, z] = self.all(self.options.seed.unwrap_or(0))?;
        let motion = self.motion(&vec![t; x0.dim(0)?], &x0, &x1, &z)?;
        let (centre, mean, slope, _) = Self::affine(&motion)?;
        Ok(x.sub(&centre)?.matmul(&slope)?.add(&mean)?.detach())
    }

    /// Carries points of the base to the data along the SDE of the bridge.
    pub fn sample(
        &self,
        x0: &Tensor,
        steps: usize,
        seed: u64,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        at_least_one("steps", steps)?;
        if x0.rank() != 2 || x0.dim(1)? != self.dim {
            return Err(Error::Shape {
                what: "x0",
                expected: format!("[n, {}]", self.dim),
                got: x0.dims().to_vec(),
            });
        }
        let mut x = x0.detach().to_dtype(DType::F64)?;
        let h = 1.0 / steps as f64;
        let mut path = Brownian::new(seed, x.dims(), x.dtype(), 1.0, steps);
        for i in 0..steps {
            interrupt::check()?;
            let noise = path.increment()?;
            let u = self.drift(&x, i as f64 * h)?.detach();
            x = Tensor::combine(&[
                (1.0, &x),
                (h, &u),
                ((2.0 * self.options.epsilon).sqrt(), &noise),
            ])?;
            let progress = Step {
                label: "sample",
                step: i as u64 + 1,
                total: Some(steps as u64),
                metrics: &[],
            };
            if observer.step(&progress).is_break() && i + 1 < steps {
                return Err(Error::Interrupted);
            }
        }
        Ok(x.to_dtype(x0.dtype())?)
    }
}

/// Features of time that a drift sees.
const FEATURES: TimeFeatures = TimeFeatures { frequencies: 4 };

fn evaluate(net: &Mlp, x: &Tensor, t: &[f64]) -> Result<Tensor> {
    let times = Tensor::from_vec(t.to_vec(), &[t.len()])?;
    net.forward(&Tensor::cat(&[x, &FEATURES.of(&times)?], 1)?)
}

fn descend(optimizer: &mut Optimizer, params: &Params, loss: Tensor) -> Result<()> {
    let grads = grad_or_zero(loss, &params.tensors().iter().collect::<Vec<_>>())?;
    optimizer.step(&[Some(params.gather(&grads)?)], None)?;
    Ok(())
}

/// The bridge between Gaussians in one dimension, in closed form: what an optimised interpolant is held against.
#[derive(Clone, Copy, Debug)]
pub struct GaussianBridge {
    /// Mean and standard deviation of the base.
    pub base: (f64, f64),
    /// Mean and standard deviation of the data.
    pub data: (f64, f64),
    /// Strength of the noise.
    pub epsilon: f64,
}

impl GaussianBridge {
    /// The covariance of the ends under the entropic plan.
    pub fn coupling(&self) -> f64 {
        let (s0, s1, eps) = (self.base.1, self.data.1, self.epsilon);
        (s0 * s0 * s1 * s1 + eps * eps).sqrt() - eps
    }

    /// Variance at a time and half its derivative, of a coupling with covariance `c`.
    fn variance(&self, t: f64, c: f64) -> (f64, f64) {
        let (s0, s1, eps) = (self.base.1, self.data.1, self.epsilon);
        let variance =
            (1.0 - t).powi(2) * s0 * s0 + t * t * s1 * s1 + 2.0 * t * (1.0 - t) * (c + eps);
        let half = -(1.0 - t) * s0 * s0 + t * s1 * s1 + (1.0 - 2.0 * t) * (c + eps);
        (variance, half)
    }

    /// The standard deviation at a time.
    pub fn std(&self, t: f64) -> f64 {
        self.variance(t, self.coupling()).0.sqrt()
    }

    /// The slope of the drift `u = (m1 - m0) + slope (x - m_t)` at a time.
    pub fn slope(&self, t: f64) -> f64 {
        let (variance, half) = self.variance(t, self.coupling());
        (half - self.epsilon) / variance
    }

    /// The energy of the interpolant on lines whose ends have covariance `c`, by the midpoint rule.
    pub fn energy_of(&self, c: f64) -> f64 {
        let chord = self.data.0 - self.base.0;
        let count = 20_000;
        let at = |i: i32| {
            let (variance, half) = self.variance((f64::from(i) + 0.5) / f64::from(count), c);
            0.5 * (chord * chord + (half - self.epsilon).powi(2) / variance)
        };
        (0..count).map(at).sum::<f64>() / f64::from(count)
    }

    /// The least energy.
    pub fn energy(&self) -> f64 {
        self.energy_of(self.coupling())
    }
}
