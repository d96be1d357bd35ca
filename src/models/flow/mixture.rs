//! Exact fields between Gaussian mixtures: the reference that learned ones are held against.
//!
//! For independent `x0 ~ sum_i p0_i N(mu0_i, C0_i)` and `x1 ~ sum_j p1_j N(mu1_j, C1_j)` the law of `x_t` is the mixture with
//! `m_ij = alpha mu0_i + beta mu1_j` and `C_ij = alpha^2 C0_i + beta^2 C1_j + gamma^2 I`. With `w_ij` the posterior weights,
//!
//! ```text
//! s = - sum w_ij C_ij^-1 (x - m_ij)      b = sum w_ij [ m_ij' + 1/2 C_ij' C_ij^-1 (x - m_ij) ]
//! ```
//!
//! where `C' = 2 (alpha alpha' C0 + beta beta' C1 + gamma gamma' I)`. (Albergo, Boffi, Vanden-Eijnden 2023, arXiv 2303.08797.)

use rhapsode_tensor::{DType, Tensor, random::Stream};

use super::path::{Coefficients, Process, Sort};
use crate::{Error, Result};

/// A mixture of Gaussians with full covariances, in f64.
#[derive(Clone, Debug)]
pub struct Mixture {
    weights: Vec<f64>,
    means: Tensor,
    covariances: Tensor,
    /// Lower triangles with `L L^T = C`.
    factors: Tensor,
}

impl Mixture {
    /// From weights `[k]` (made to sum to 1), means `[k, d]` and covariances `[k, d, d]`.
    pub fn new(weights: &[f64], means: &Tensor, covariances: &Tensor) -> Result<Self> {
        let k = weights.len();
        let &[rows, d] = means.dims() else {
            return Err(wrong("means", format!("[{k}, d]"), means));
        };
        if rows != k || k == 0 || d == 0 {
            return Err(wrong(
                "means",
                format!("[{k}, d], a row for each of the weights"),
                means,
            ));
        }
        if covariances.dims() != [k, d, d] {
            return Err(wrong(
                "covariances",
                format!("[{k}, {d}, {d}]"),
                covariances,
            ));
        }
        let total: f64 = weights.iter().sum();
        if weights.iter().any(|w| !(*w >= 0.0 && w.is_finite())) || total <= 0.0 {
            let message =
                format!("must be finite numbers >= 0 that are not all 0, got {weights:?}");
            return Err(Error::option("weights", message));
        }
        let covariances = covariances.detach().to_dtype(DType::F64)?;
        let factors = covariances
            .cholesky()
            .map_err(|_| Error::option("covariances", "must be symmetric and positive definite"))?;
        Ok(Self {
            weights: weights.iter().map(|w| w / total).collect(),
            means: means.detach().to_dtype(DType::F64)?,
            covariances,
            factors,
        })
    }

    /// The standard normal law.
    pub fn normal(d: usize) -> Result<Self> {
        let eye = Tensor::eye(d, DType::F64)?.unsqueeze(0)?;
        Self::new(&[1.0], &Tensor::zeros(&[1, d], DType::F64)?, &eye)
    }

    /// Number of elements of a point.
    pub fn dim(&self) -> usize {
        self.means.dims().last().copied().unwrap_or(0)
    }

    /// `n` points `[n, d]`.
    pub fn sample(&self, n: usize, stream: Stream, dtype: DType) -> Result<Tensor> {
        let d = self.dim();
        let mut u = vec![0f64; n];
        Stream::new(stream.seed(), "component").uniform(&mut u);
        let last = self.weights.len() - 1;
        let pick = |u: &f64| {
            let mut below = 0.0;
            let reached = |w: &f64| {
                below += w;
                *u < below
            };
            self.weights.iter().position(reached).unwrap_or(last) as i64
        };
        let which = Tensor::from_vec(u.iter().map(pick).collect::<Vec<_>>(), &[n])?;
        let z = Stream::new(stream.seed(), "points").randn(&[n, d, 1], DType::F64)?;
        let moved = self
            .factors
            .index_select(0, &which)?
            .matmul(&z)?
            .squeeze(2)?;
        Ok(self
            .means
            .index_select(0, &which)?
            .add(&moved)?
            .to_dtype(dtype)?)
    }

    /// The log-density of points `[n, d]`, shape `[n]`.
    pub fn log_density(&self, x: &Tensor) -> Result<Tensor> {
        let still = Process {
            path: super::path::Path::Mirror,
            gamma: super::path::Gamma::Named(super::path::GammaKind::Zero, 1.0),
        };
        let exact = Exact {
            base: Mixture::normal(self.dim())?,
            target: self.clone(),
            process: still,
        };
        let t = Tensor::zeros(&[x.dim(0)?], x.dtype())?;
        Ok(exact.at(x, &t)?.log_density)
    }
}

fn wrong(what: &'static str, expected: String, got: &Tensor) -> Error {
    Error::Shape {
        what,
        expected,
        got: got.dims().to_vec(),
    }
}

/// The process between two mixtures.
#[derive(Clone, Debug)]
pub struct Exact {
    /// The law of `x0`.
    pub base: Mixture,
    /// The law of `x1`.
    pub target: Mixture,
    /// How they are mixed.
    pub process: Process,
}

/// What is known exactly at points `[n, d]`.
pub struct ExactFields {
    /// `log rho(t, x)`, `[n]`.
    pub log_density: Tensor,
    /// `b`.
    pub velocity: Tensor,
    /// `s`.
    pub score: Tensor,
}

/// One pair of components at the times of a batch.
struct Pair {
    /// `C^-1 (x - m)`, `[n, d]`.
    whitened: Tensor,
    /// `log p N(x; m, C)`, `[n]`.
    log: Tensor,
    /// `m' + 1/2 C' C^-1 (x - m)`, `[n, d]`.
    velocity: Tensor,
}

impl Exact {
    /// Refuses mixtures of different dimension, and a base that the path has not.
    pub fn new(base: Mixture, target: Mixture, process: Process) -> Result<Self> {
        process.validate()?;
        if base.dim() != target.dim() {
            return Err(wrong(
                "means of the target",
                format!("[k, {}]", base.dim()),
                &target.means,
            ));
        }
        Ok(Self {
            base,
            target,
            process,
        })
    }

    /// The fields at points `[n, d]` and times `[n]`; differentiable in the points.
    pub fn at(&self, x: &Tensor, t: &Tensor) -> Result<ExactFields> {
        let times = t.to_vec()?;
        // One time for all is the case of every solver: then one inverse serves the whole batch.
        let shared = times.windows(2).all(|pair| pair[0] == pair[1]);
        let distinct = if shared {
            times.get(..1).unwrap_or(&[])
        } else {
            &times
        };
        let rows: Vec<Coefficients> = distinct
            .iter()
            .map(|t| self.process.at(*t))
            .collect::<Result<_>>()?;
        if rows.is_empty() {
            return Ok(ExactFields {
                log_density: Tensor::zeros(&[0], x.dtype())?,
                velocity: x.clone(),
                score: x.clone(),
            });
        }
        let bases = match self.process.path.sort() {
            // There is no x0: one component of weight 0 stands for all.
            Sort::Mirror => 1,
            Sort::TwoSided | Sort::OneSided => self.base.weights.len(),
        };
        let mut pairs = Vec::new();
        for i in 0..bases {
            for j in 0..self.target.weights.len() {
                pairs.push(self.pair(i, j, x, &rows)?);
            }
        }
        let logs = Tensor::stack(&pairs.iter().map(|p| &p.log).collect::<Vec<_>>(), 1)?;
        let weights = logs.softmax(1)?;
        let mut velocity: Option<Tensor> = None;
        let mut score: Option<Tensor> = None;
        for (k, pair) in pairs.iter().enumerate() {
            let w = weights.narrow(1, k, 1)?;
            let add = |total: Option<Tensor>, term: &Tensor| -> Result<Tensor> {
                let term = w.mul(term)?;
                Ok(match total {
                    None => term,
                    Some(total) => total.add(&term)?,
                })
            };
            velocity = Some(add(velocity, &pair.velocity)?);
            score = Some(add(score, &pair.whitened)?);
        }
        let zeros = || Tensor::zeros(x.dims(), x.dtype());
        Ok(ExactFields {
            log_density: logs.logsumexp(1)?,
            velocity: velocity.map_or_else(zeros, Ok)?,
            score: score.map_or_else(zeros, Ok)?.neg()?,
        })
    }

    fn pair(&self, i: usize, j: usize, x: &Tensor, rows: &[Coefficients]) -> Result<Pair> {
        let (d, dtype, m) = (self.target.dim(), x.dtype(), rows.len());
        let one_sided = self.process.path.sort() == Sort::Mirror;
        let weight = if one_sided { 1.0 } else { self.base.weights[i] } * self.target.weights[j];
        let column = |of: &dyn Fn(&Coefficients) -> f64, shape: &[usize]| {
            Tensor::from_vec(rows.iter().map(of).collect::<Vec<f64>>(), shape)
        };
        let of = |mixture: &Mixture, k: usize| -> Result<(Tensor, Tensor)> {
            Ok((
                mixture.means.narrow(0, k, 1)?,
                mixture.covariances.narrow(0, k, 1)?,
            ))
        };
        let ((mu0, c0), (mu1, c1)) = (of(&self.base, i)?, of(&self.target, j)?);
        let eye = Tensor::eye(d, DType::F64)?.unsqueeze(0)?;
        let vector = [m, 1];
        let matrix = [m, 1, 1];
        let mean = column(&|c| c.alpha, &vector)?
            .mul(&mu0)?
            .add(&column(&|c| c.beta, &vector)?.mul(&mu1)?)?;
        // Where the derivative is infinite ("sbdm" at the end) the base has mean 0.
        let alpha_dot = |c: &Coefficients| {
            if c.alpha_dot.is_finite() {
                c.alpha_dot
            } else {
                0.0
            }
        };
        let mean_dot = column(&alpha_dot, &vector)?
            .mul(&mu0)?
            .add(&column(&|c| c.beta_dot, &vector)?.mul(&mu1)?)?;
        let covariance = column(&|c| c.alpha * c.alpha, &matrix)?
            .mul(&c0)?
            .add(&column(&|c| c.beta * c.beta, &matrix)?.mul(&c1)?)?
            .add(&column(&|c| c.gamma * c.gamma, &matrix)?.mul(&eye)?)?;
        // Half of C'.
        let growth = column(
            &|c| finite_product(c.alpha, c.alpha_dot, self.process.path),
            &matrix,
        )?
        .mul(&c0)?
        .add(&column(&|c| c.beta * c.beta_dot, &matrix)?.mul(&c1)?)?
        .add(&column(&|c| c.gamma_gamma_dot, &matrix)?.mul(&eye)?)?;
        let inverse = covariance.inv()?.to_dtype(dtype)?;
        let log_det = covariance.slogdet()?.1.to_dtype(dtype)?;
        let centred = x.sub(&mean.to_dtype(dtype)?)?;
        let times = |r: &Tensor, a: &Tensor| -> Result<Tensor> {
            Ok(match m {
                1 => r.matmul(&a.squeeze(0)?)?,
                _ => r.unsqueeze(1)?.matmul(a)?.squeeze(1)?,
            })
        };
        let whitened = times(&centred, &inverse)?;
        let square = centred.mul(&whitened)?.sum(&[1])?;
        let constant = weight.ln() - 0.5 * d as f64 * std::f64::consts::TAU.ln();
        let log = square
            .affine(-0.5, constant)?
            .sub(&log_det.affine(0.5, 0.0)?)?;
        let velocity =
            times(&whitened, &growth.to_dtype(dtype)?)?.add(&mean_dot.to_dtype(dtype)?)?;
        Ok(Pair {
            whitened,
            log,
            velocity,
        })
    }
}

/// `alpha alpha'`, also where the derivative alone is infinite ("sbdm" at the end: `-t`).
fn finite_product(alpha: f64, alpha_dot: f64, path: super::path::Path) -> f64 {
    match path {
        super::path::Path::Sbdm if alpha == 0.0 => -1.0,
        _ => alpha * alpha_dot,
    }
}
