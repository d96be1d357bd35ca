//! The recurrent form of the same system: one step at a time, with a state, in tensor operations.
//!
//! ```text
//! x_t = b(z) x_{t-1} + dt h(z) B u_t        y_t = 2 Re sum_m C_m x_{t,m}
//! ```
//!
//! From a state of zeros the outputs are those of the convolution with [`super::kernel`].

use super::{Discretization, OP, check, per_mode, reference};
use crate::{Error, Result, Tensor};

/// A system in discrete time, `[.., H, M, 2]` both.
#[derive(Clone, Debug)]
pub struct Discrete {
    /// `b(z)`: what a step makes of the state.
    pub base: Tensor,
    /// `dt h(z) B`: what a step adds for an input of 1.
    pub gain: Tensor,
}

/// The system with the modes `a` and the input vectors `b` (ones without any) at steps `dt`; shapes as in [`super::kernel`].
pub fn discretize(
    a: &Tensor,
    b: Option<&Tensor>,
    dt: &Tensor,
    discretization: Discretization,
) -> Result<Discrete> {
    let dt = per_mode(a, b.unwrap_or(a), dt)?;
    let (base, held) = reference::factors(&a.mul(&dt)?, discretization)?;
    let gain = held.mul(&dt)?;
    let gain = match b {
        Some(b) => gain.complex_mul(b)?,
        None => gain,
    };
    Ok(Discrete { base, gain })
}

/// The output `[.., H]` and the next state of `state: [.., H, M, 2]` with the input `u: [.., H]` and the output vectors `c`.
pub fn step(system: &Discrete, state: &Tensor, u: &Tensor, c: &Tensor) -> Result<(Tensor, Tensor)> {
    check(&system.base, c, Some(state))?;
    let channels = state
        .rank()
        .checked_sub(2)
        .map(|axes| &state.dims()[..axes]);
    if channels != Some(u.dims())
        || system.base.dims()[system.base.rank() - 2..] != state.dims()[state.rank() - 2..]
    {
        let detail = format!(
            "expected a state [.., channels, modes, 2] and an input [.., channels] for modes {:?}, got {:?} and {:?}",
            system.base.dims(),
            state.dims(),
            u.dims()
        );
        return Err(Error::Shape { op: OP, detail });
    }
    let input = u.unsqueeze(-1)?.unsqueeze(-1)?.mul(&system.gain)?;
    let next = system.base.complex_mul(state)?.add(&input)?;
    let y = c.complex_mul(&next)?.real()?.sum(&[-1])?.affine(2.0, 0.0)?;
    Ok((y, next))
}
