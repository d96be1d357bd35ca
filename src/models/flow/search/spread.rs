//! How far apart walks from one noise end: without such a spread a search has nothing to choose from.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor};

use super::{Reward, SearchOptions, Searcher};
use crate::{
    Error, Result,
    flow::{VelocityField, schedule::linear},
    observe::Observer,
};

/// The mean distance between two of the samples `[n, dim]` to which `n` walks from the same noise come, on the interpolant and with
/// the diffusion of the options, and the samples; 0 for the ODE. No reward is looked at.
pub fn spread(
    flow: &dyn VelocityField,
    n: usize,
    options: &SearchOptions,
    observer: &mut dyn Observer,
) -> Result<(f64, Tensor)> {
    if n < 2 {
        return Err(Error::option("n", format!("must be at least 2, got {n}")));
    }
    // The budget is what these walks take.
    let options = SearchOptions {
        nfe: usize::MAX,
        guidance: 0.0,
        ..options.clone()
    };
    options.validate()?;
    linear(flow)?;
    let indifferent: Reward = Arc::new(|data: &Tensor| Ok(data.narrow(1, 0, 1)?.squeeze(1)?));
    let mut searcher = Searcher::new(flow, &indifferent, &options);
    let noise = searcher.start(1)?.broadcast_to(&[n, flow.dim()])?;
    let last = searcher.times.len() - 2;
    let mut states = searcher.look(&noise, 0)?;
    for i in 0..last {
        let x = searcher.children(&states, i)?;
        states = searcher.look(&x, i + 1)?;
    }
    let x = searcher.finish(&states, observer)?;
    let rows = |axis| -> Result<Tensor> { Ok(x.to_dtype(DType::F64)?.unsqueeze(axis)?) };
    let apart = rows(0)?.sub(&rows(1)?)?.sqr()?.sum(&[2])?.sqrt()?;
    let pairs = (n * (n - 1)) as f64;
    Ok((apart.sum_all()?.item()? / pairs, x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::{FunctionField, path::Process, search::Diffusion},
        observe::Silent,
    };

    /// Data N(0, 1) from noise N(0, 1) on straight lines.
    fn normal() -> FunctionField {
        let velocity = |x: &Tensor, t: &Tensor| {
            let above = t.affine(2.0, -1.0)?;
            let rest = t.affine(-1.0, 1.0)?;
            let below = rest.sqr()?.add(&t.sqr()?)?;
            x.mul(&above.div(&below)?.unsqueeze(1)?)
                .map_err(Error::from)
        };
        FunctionField {
            function: Arc::new(velocity),
            dim: 2,
            dtype: DType::F64,
            process: Process::rectified(),
        }
    }

    #[test]
    fn walks_without_noise_end_at_one_point_and_with_noise_like_draws() {
        let at = |diffusion, norm| {
            let options = SearchOptions {
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
        let found = spread(&normal(), 1, &SearchOptions::default(), &mut Silent);
        assert!(found.err().unwrap().to_string().contains("at least 2"));
    }
}
