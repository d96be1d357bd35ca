//! Moving averages of parameters, which generalise better than the last values: `e <- d e + (1 - d) p` after
//! every step, with a decay d that is small at first (Polyak, Juditsky 1992).

use rhapsode_tensor::{
    DType, Tensor,
    params::{assign, update_by},
};

use crate::checks;
use crate::{Error, Result};

/// The decay of a moving average at a step (from 1): small at first, so that the average forgets the start.
pub fn ramp(decay: f64, step: u64) -> f64 {
    let k = step as f64;
    decay.min((1.0 + k) / (10.0 + k))
}

/// The moving average of some tensors.
pub struct Ema {
    targets: Vec<Tensor>,
    averages: Vec<Tensor>,
    decay: f64,
    steps: u64,
}

impl Ema {
    /// An average that begins at the tensors' present values, with a decay in [0, 1).
    pub fn new(targets: Vec<Tensor>, decay: f64) -> Result<Self> {
        checks::decay("decay", decay)?;
        if targets.is_empty() {
            return Err(Error::Value {
                what: "parameters",
                message: "expected at least one tensor, got none".into(),
            });
        }
        if let Some(other) = targets
            .iter()
            .find(|t| !matches!(t.dtype(), DType::F32 | DType::F64))
        {
            return Err(Error::Value {
                what: "parameters",
                message: format!("expected f32 or f64, got {}", other.dtype().as_str()),
            });
        }
        let averages = targets.iter().map(Tensor::copy).collect::<Result<_, _>>()?;
        Ok(Self {
            targets,
            averages,
            decay,
            steps: 0,
        })
    }

    /// The averages, in the order of the tensors.
    pub fn averages(&self) -> &[Tensor] {
        &self.averages
    }

    /// Its decay, after the first steps.
    pub fn decay(&self) -> f64 {
        self.decay
    }

    /// How often it was brought up to date.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes the present values in.
    pub fn update(&mut self) -> Result<()> {
        self.steps += 1;
        let decay = ramp(self.decay, self.steps);
        for (p, e) in self.targets.iter().zip(&self.averages) {
            match p.dtype() {
                DType::F64 => update_by::<f64>(e, p, |e, p| {
                    mix(e, p, |e, p| decay * (e - p) + p);
                })?,
                _ => update_by::<f32>(e, p, |e, p| {
                    let decay = decay as f32;
                    mix(e, p, |e, p| decay * (e - p) + p);
                })?,
            }
        }
        Ok(())
    }

    /// Exchanges the parameters and their averages: a second time undoes it.
    pub fn swap(&mut self) -> Result<()> {
        for (p, e) in self.targets.iter().zip(&self.averages) {
            let before = p.copy()?;
            assign(p, e)?;
            assign(e, &before)?;
        }
        Ok(())
    }

    /// Writes the averages into the parameters.
    pub fn apply(&self) -> Result<()> {
        let mut pairs = self.targets.iter().zip(&self.averages);
        Ok(pairs.try_for_each(|(p, e)| assign(p, e))?)
    }
}

fn mix<T: Copy>(e: &mut [T], p: &[T], f: impl Fn(T, T) -> T) {
    for (e, &p) in e.iter_mut().zip(p) {
        *e = f(*e, p);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_follows_swaps_and_is_applied() {
        let p = Tensor::from_vec(vec![1.0f64, 2.0], &[2]).unwrap();
        let mut ema = Ema::new(vec![p.clone()], 0.9).unwrap();
        assign(&p, &Tensor::from_vec(vec![2.0f64, 0.0], &[2]).unwrap()).unwrap();
        ema.update().unwrap();
        // The first decay is 2/11.
        let want = [2.0 - 2.0 / 11.0, 4.0 / 11.0];
        let close = |t: &Tensor, want: &[f64]| {
            let got = t.to_vec().unwrap();
            assert!(
                got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12),
                "{got:?}"
            );
        };
        close(&ema.averages()[0], &want);
        ema.swap().unwrap();
        close(&p, &want);
        close(&ema.averages()[0], &[2.0, 0.0]);
        ema.swap().unwrap();
        close(&p, &[2.0, 0.0]);
        ema.apply().unwrap();
        close(&p, &want);
        assert!(Ema::new(vec![p], 1.0).is_err());
        assert!(Ema::new(vec![], 0.5).is_err());
    }
}
