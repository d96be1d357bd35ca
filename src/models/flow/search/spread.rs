//! How far apart walks from one noise end: without such a spread a search has nothing to choose from.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, interrupt, no_grad};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Diffusion, Finish, Grid, Method, Reward, SearchOptions, Searcher};
use crate::{
    Error, Result,
    flow::{
        VelocityField,
        schedule::{Diffused, linear},
    },
    native::TensorValue,
    observe::Observer,
};

/// Options of [`spread`]: those of a search that say how it walks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpreadOptions {
    /// Interpolant on which is walked (default "vp").
    pub path: Diffused,
    /// Number of steps M from noise to data (at least 2; default 10).
    pub steps: usize,
    /// Times of the steps (default "exp", on the path "linear" "linear").
    pub grid: Option<Grid>,
    /// Factor of the noise over the way (default "square"; "zero" is the ODE).
    pub diffusion: Diffusion,
    /// What it is multiplied with (> 0; default 3).
    pub norm: f64,
    /// How the walk ends: along the linear flow "ode", "mean" or "sde" (default "ode").
    pub finish: Finish,
    /// Steps of Heun's method of the finish "ode" (at least 1; default 5).
    pub finish_steps: usize,
    /// The noise to start from, `[1, dim]` (default: drawn).
    #[serde(skip)]
    #[schemars(!skip, skip_serializing, with = "TensorValue")]
    pub noise: Option<Tensor>,
    /// Seed of noises (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for SpreadOptions {
    fn default() -> Self {
        let search = SearchOptions::default();
        Self {
            path: search.path,
            steps: search.steps,
            grid: search.grid,
            diffusion: search.diffusion,
            norm: search.norm,
            finish: search.finish,
            finish_steps: search.finish_steps,
            noise: None,
            seed: None,
        }
    }
}

impl SpreadOptions {
    /// A search that walks so, with whatever budget that takes.
    fn search(&self) -> SearchOptions {
        SearchOptions {
            // One chain, which all walks are of.
            method: Method::Bon,
            path: self.path,
            steps: self.steps,
            grid: self.grid,
            diffusion: self.diffusion,
            norm: self.norm,
            finish: self.finish,
            finish_steps: self.finish_steps,
            noise: self.noise.clone(),
            seed: self.seed,
            nfe: usize::MAX,
            ..Default::default()
        }
    }
}

/// The mean Euclidean distance between two of the samples `[n, dim]` (n at least 2) to which `n` walks from the same noise come, on
/// the interpolant and with the diffusion of the options, and the samples; 0 for the ODE. Errors: impossible options, a flow
/// that is not on straight lines, samples that are not finite.
pub fn spread(
    flow: &dyn VelocityField,
    n: usize,
    options: &SpreadOptions,
    observer: &mut dyn Observer,
) -> Result<(f64, Tensor)> {
    if n < 2 {
        return Err(Error::Value {
            what: "n",
            message: format!("must be at least 2, got {n}"),
        });
    }
    if let Some(own) = flow.own_rows() {
        let message = format!("this flow has {own} labels, one a row: the walks are of one class");
        return Err(Error::Value {
            what: "labels",
            message,
        });
    }
    let options = options.search();
    options.validate()?;
    linear(flow)?;
    // All states are worth the same.
    let indifferent: Reward =
        Arc::new(|data: &Tensor, _: &[usize]| Ok(Tensor::zeros(&[data.dim(0)?], data.dtype())?));
    let mut searcher = Searcher::new(flow, &indifferent, &options, 1);
    let noise = searcher.start(1)?.broadcast_to(&[n, flow.dim()])?;
    let last = searcher.times.len() - 2;
    let mut states = searcher.look(&noise, &[0])?;
    for i in 0..last {
        let x = searcher.children(&states, &[i])?;
        states = searcher.look(&x, &[i + 1])?;
    }
    finite(&states.x)?;
    let x = no_grad(|| searcher.finish(&states, observer))?;
    finite(&x)?;
    Ok((mean_distance(&x)?, x))
}

fn finite(x: &Tensor) -> Result<()> {
    match x.is_finite()? {
        true => Ok(()),
        false => Err(Error::Value {
            what: "walks",
            message: "do not stay finite: look at the velocity, or lower `norm`".into(),
        }),
    }
}

/// The mean distance between two different rows. Row by row: all pairs at once would take n times the memory.
fn mean_distance(x: &Tensor) -> Result<f64> {
    let (n, x) = (x.dim(0)?, x.to_dtype(DType::F64)?);
    let mut total = 0.0;
    for row in 0..n {
        interrupt::check()?;
        let apart = x.sub(&x.narrow(0, row, 1)?)?.sqr()?.sum(&[1])?.sqrt()?;
        total += apart.sum_all()?.item()?;
    }
    Ok(total / (n * (n - 1)) as f64)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::normal, *};
    use crate::observe::Silent;

    #[test]
    fn walks_without_noise_end_at_one_point_and_with_noise_like_draws() {
        let at = |diffusion, norm| {
            let options = SpreadOptions {
                diffusion,
                norm,
                steps: 40,
                seed: Some(3),
                ..Default::default()
            };
            spread(&normal(), 400, &options, &mut Silent).unwrap()
        };
        let (still, x) = at(Diffusion::Zero, 1.0);
        assert!(still < 1e-6, "{still}");
        assert_eq!(x.dims(), [400, 2]);
        let (some, _) = at(Diffusion::Square, 0.3);
        let (much, _) = at(Diffusion::Square, 3.0);
        // Two independent draws of N(0, I_2) are sqrt(pi) apart.
        assert!(0.05 < some && some < 0.7 * much, "{some} {much}");
        assert!((much - std::f64::consts::PI.sqrt()).abs() < 0.15, "{much}");
    }

    #[test]
    fn one_walk_has_no_spread() {
        let found = spread(&normal(), 1, &SpreadOptions::default(), &mut Silent);
        assert!(found.err().unwrap().to_string().contains("at least 2"));
    }

    #[test]
    fn a_velocity_that_is_none_is_an_error() {
        let mut flow = normal();
        flow.function = Arc::new(|x: &Tensor, _: &Tensor| Ok(x.affine(f64::NAN, 0.0)?));
        let found = spread(&flow, 3, &SpreadOptions::default(), &mut Silent);
        assert!(found.err().unwrap().to_string().contains("finite"));
    }
}
