//! The plain composition that the fused scan must equal, and by which its gradient is differentiated again.

use super::{Call, Extras, check};
use crate::{Result, Tensor};

/// The outputs and the last state, step by step in tensor operations.
pub fn reference(
    u: &Tensor,
    delta: &Tensor,
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    extras: Extras,
) -> Result<(Tensor, Tensor)> {
    let call = check([u, delta, a, b, c], extras)?;
    let zeros = || Tensor::zeros(&[call.batch, call.channels, call.states], u.dtype());
    let mut h = extras.initial.map_or_else(zeros, |h| Ok(h.clone()))?;
    let delta = if call.softplus {
        delta.softplus()?
    } else {
        delta.clone()
    };
    let mut outputs = Vec::with_capacity(call.steps);
    for t in 0..call.steps as i64 {
        let (u, delta) = (u.select(1, t)?, delta.select(1, t)?);
        let (b, c) = (b.select(1, t)?.unsqueeze(1)?, c.select(1, t)?.unsqueeze(1)?);
        let decay = delta.unsqueeze(-1)?.mul(a)?.exp()?;
        let input = delta.mul(&u)?.unsqueeze(-1)?.mul(&b)?;
        h = decay.mul(&h)?.add(&input)?;
        outputs.push(h.mul(&c)?.sum(&[-1])?);
    }
    let mut y = match call.steps {
        0 => u.clone(),
        _ => Tensor::stack(&outputs.iter().collect::<Vec<_>>(), 1)?,
    };
    if let Some(d) = extras.d {
        y = y.add(&u.mul(d)?)?;
    }
    if let Some(z) = extras.z {
        y = y.mul(&z.silu()?)?;
    }
    Ok((y, h))
}

/// The result of a call, as [`super::scan`] gives it.
pub(super) fn whole(inputs: &[Tensor], call: Call) -> Result<Tensor> {
    let extras = Extras {
        d: call.d.map(|i| &inputs[i]),
        z: call.z.map(|i| &inputs[i]),
        initial: call.initial.map(|i| &inputs[i]),
        softplus: call.softplus,
    };
    let [u, delta, a, b, c] = [0, 1, 2, 3, 4].map(|i| &inputs[i]);
    let (y, h) = reference(u, delta, a, b, c, extras)?;
    if !call.last {
        return Ok(y);
    }
    Tensor::cat(&[&y.reshape(&[y.len()])?, &h.reshape(&[h.len()])?], 0)
}
