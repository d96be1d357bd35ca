//! Convolution kernels of diagonal state space models (S4D: Gu, Gupta, Goel, Re 2022, arXiv 2206.11893).
//!
//! `x' = A x + B u`, `y = C x`, with `A` diagonal and complex, one mode of each conjugate pair kept. With `z = dt A`
//! and `q = dt B C` the kernel of the discrete system is a sum of powers:
//!
//! ```text
//! K_l = 2 Re sum_m q_m h(z_m) b(z_m)^l
//! zero-order hold:  b(z) = e^z                      h(z) = (e^z - 1) / z
//! bilinear:         b(z) = (1 + z/2) / (1 - z/2)    h(z) = 1 / (1 - z/2)
//! ```
//!
//! Complex numbers are a last axis of size 2. As separate operations the powers are a tensor `[H, M, L]` of complex numbers
//! (128 channels, 32 modes, 4096 steps: 134 MB in f32, and several of them); here a mode is a recurrence in registers.

mod cpu;
mod reference;
mod step;

pub use reference::{kernel as reference, response as response_reference};
pub use step::{Discrete, discretize, step};

use super::{ANY, Op};
use crate::{
    Error, Result, Tensor, memory,
    tape::{self, record},
    with_real,
};

const OP: &str = "s4d_kernel";

/// How the continuous system becomes a discrete one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discretization {
    /// Zero-order hold: the input is constant within a step.
    #[default]
    Zoh,
    /// Bilinear: the trapezoidal rule.
    Bilinear,
}

impl Discretization {
    /// All of them with their names in scripts.
    pub const ALL: &[(&str, Discretization)] = &[
        ("zoh", Discretization::Zoh),
        ("bilinear", Discretization::Bilinear),
    ];
}

/// What a kernel is made of.
#[derive(Clone, Copy, Debug)]
struct Form {
    discretization: Discretization,
    /// Whether the input is held over a step: the factor `h(z)`.
    held: bool,
}

/// The kernel `K: [.., H, L]` of the modes `a: [.., H, M, 2]` with the coefficients `bc: [.., H, M, 2]` (`B C`, or `C` where `B` is
/// 1) and steps `dt`: `[.., H]`, or `[.., H, M]` with one for each mode. Shapes of `a` and `bc` broadcast.
pub fn kernel(
    a: &Tensor,
    bc: &Tensor,
    dt: &Tensor,
    length: usize,
    discretization: Discretization,
) -> Result<Tensor> {
    let dt = per_mode(a, bc, dt)?;
    let (z, q) = (a.mul(&dt)?, bc.mul(&dt)?);
    let shape = super::broadcast_shape(OP, z.dims(), q.dims())?;
    response(
        &z.broadcast_to(&shape)?,
        &q.broadcast_to(&shape)?,
        length,
        discretization,
    )
}

/// `dt` with axes of size 1 for the modes (where it has none) and the complex numbers.
fn per_mode(a: &Tensor, bc: &Tensor, dt: &Tensor) -> Result<Tensor> {
    let rank = a.rank().max(bc.rank());
    let steps = match rank.checked_sub(dt.rank()) {
        Some(1) => dt.unsqueeze(-1),
        Some(2) => dt.unsqueeze(-1)?.unsqueeze(-1),
        _ => Err(wrong(a, bc, Some(dt))),
    };
    check(a, bc, Some(dt))?;
    steps
}

/// `2 Re sum_m q_m h(z_m) b(z_m)^l` for `l = 0 .. length - 1`: `z, q: [.., M, 2]` to `[.., length]`.
pub fn response(
    z: &Tensor,
    q: &Tensor,
    length: usize,
    discretization: Discretization,
) -> Result<Tensor> {
    let held = true;
    sum_of_powers(
        z,
        q,
        length,
        Form {
            discretization,
            held,
        },
    )
}

/// `2 Re sum_m q_m b(z_m)^l` for `l = 0 .. length - 1`, without the factor of the held input: what a state `x` adds to the outputs
/// behind it, with `q = C x b(z)`.
pub fn free_response(
    z: &Tensor,
    q: &Tensor,
    length: usize,
    discretization: Discretization,
) -> Result<Tensor> {
    let held = false;
    sum_of_powers(
        z,
        q,
        length,
        Form {
            discretization,
            held,
        },
    )
}

fn sum_of_powers(z: &Tensor, q: &Tensor, length: usize, form: Form) -> Result<Tensor> {
    check(z, q, None)?;
    if z.dims() != q.dims() {
        return Err(wrong(z, q, None));
    }
    let mut shape = z.dims()[..z.rank() - 2].to_vec();
    shape.push(length);
    memory::count(OP, &shape)?;
    let saved = [z.data.clone(), q.data.clone()];
    let k = with_real!(OP, z.dtype(), T => cpu::forward::<T>(&saved, &shape, form))?;
    record(OP, k, &[z, q], move |ctx, g| {
        if ctx.create_graph() {
            return tape::through(ctx, &saved, g, |t| {
                reference::sum_of_powers(&t[0], &t[1], length, form)
            });
        }
        with_real!(OP, g.dtype(), T => cpu::backward::<T>(&saved, &g.data, length, form))
    })
}

fn check(a: &Tensor, bc: &Tensor, dt: Option<&Tensor>) -> Result<()> {
    for x in [a, bc] {
        super::fft::complex::check(OP, x)?;
        if x.rank() < 2 {
            return Err(wrong(a, bc, dt));
        }
    }
    for x in [Some(bc), dt].into_iter().flatten() {
        if x.dtype() != a.dtype() {
            return Err(Error::DType {
                op: OP,
                expected: a.dtype().as_str(),
                got: x.dtype(),
            });
        }
    }
    Ok(())
}

fn wrong(a: &Tensor, bc: &Tensor, dt: Option<&Tensor>) -> Error {
    let dt = dt.map_or(String::new(), |dt| format!(", {:?}", dt.dims()));
    let wanted = if dt.is_empty() {
        "z and q [.., modes, 2]"
    } else {
        "a [.., channels, modes, 2], bc [.., channels, modes, 2] and dt [.., channels] or [.., channels, modes]"
    };
    let detail = format!("expected {wanted}, got {:?}, {:?}{dt}", a.dims(), bc.dims());
    Error::Shape { op: OP, detail }
}

/// What the contract holds.
pub(super) const ZOH: Op = Op {
    name: "s4d_kernel",
    apply: |x| response(&x[0], &x[1], 7, Discretization::Zoh),
    shapes: &[
        &[&[3, 4, 2], &[3, 4, 2]],
        &[&[1, 2], &[1, 2]],
        &[&[2, 0, 2], &[2, 0, 2]],
        &[&[0, 2, 2], &[0, 2, 2]],
    ],
    domain: (-0.6, 0.3),
};
/// See [`ZOH`].
pub(super) const BILINEAR: Op = Op {
    name: "s4d_kernel, bilinear",
    apply: |x| response(&x[0], &x[1], 7, Discretization::Bilinear),
    ..ZOH
};
/// See [`ZOH`].
pub(super) const FREE: Op = Op {
    name: "s4d_kernel, of a state",
    apply: |x| free_response(&x[0], &x[1], 5, Discretization::Zoh),
    ..ZOH
};
/// See [`ZOH`].
pub(super) const STEPS: Op = Op {
    name: "s4d_kernel with steps",
    apply: |x| {
        kernel(
            &x[0],
            &x[1],
            &x[2].affine(0.2, 0.5)?,
            3,
            Discretization::Zoh,
        )
    },
    shapes: &[
        &[&[3, 2, 2], &[3, 2, 2], &[3]],
        &[&[2, 2], &[3, 2, 2], &[3, 2]],
    ],
    domain: ANY,
};
