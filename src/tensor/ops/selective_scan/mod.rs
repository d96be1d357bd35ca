//! The selective scan of Mamba (Gu, Dao 2023, arXiv 2312.00752): a diagonal state space model whose step and input and output
//! vectors depend on the input. For every sequence and channel, with a state `h` of size `N`:
//!
//! ```text
//! delta_t = softplus(delta_t)                             (when asked)
//! h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t          y_t = C_t . h_t + D u_t
//! y_t = y_t silu(z_t)                                     (with a gate)
//! ```
//!
//! `u, delta, z, y: [b, t, D]`, `A: [D, N]`, `B, C: [b, t, N]`, `D: [D]`, states `[b, D, N]`. Of the states only every 32nd is kept,
//! the backward pass recomputes those between; nothing of size `[b, t, D, N]` is made.

mod backward;
mod cpu;
mod reference;

pub use reference::reference;

use candle_core::Tensor as Data;

use super::{ANY, Op};
use crate::{
    Error, Result, Tensor,
    tape::{self, record},
    with_real,
};

const OP: &str = "selective_scan";

/// What a scan has besides `u, delta, A, B, C`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// The skip `D: [D]`.
    pub d: Option<&'a Tensor>,
    /// The gate `z: [b, t, D]`.
    pub z: Option<&'a Tensor>,
    /// The state before the first step `[b, D, N]`; zeros without one.
    pub initial: Option<&'a Tensor>,
    /// Whether `softplus` is taken of `delta`.
    pub softplus: bool,
}

/// Sizes and parts of a call.
#[derive(Clone, Copy, Debug)]
struct Call {
    batch: usize,
    steps: usize,
    channels: usize,
    states: usize,
    /// Places among the inputs.
    d: Option<usize>,
    z: Option<usize>,
    initial: Option<usize>,
    softplus: bool,
    /// Whether the last state follows the outputs in the result.
    last: bool,
}

impl Call {
    fn outputs(&self) -> usize {
        self.batch * self.steps * self.channels
    }
}

/// The outputs `y: [b, t, D]`. f32, f64 or bf16, all of one dtype.
pub fn selective_scan(
    u: &Tensor,
    delta: &Tensor,
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    extras: Extras,
) -> Result<Tensor> {
    scan([u, delta, a, b, c], extras, false)
}

/// The outputs and the state after the last step, `[b, D, N]`; given as `initial` it goes on where this scan ended.
pub fn selective_scan_with_state(
    u: &Tensor,
    delta: &Tensor,
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    extras: Extras,
) -> Result<(Tensor, Tensor)> {
    let both = scan([u, delta, a, b, c], extras, true)?;
    let (outputs, shape) = (u.len(), [u.dim(0)?, u.dim(2)?, a.dim(1)?]);
    let y = both.narrow(0, 0, outputs)?.reshape(u.dims())?;
    let state = both.narrow(0, outputs, both.len() - outputs)?;
    Ok((y, state.reshape(&shape)?))
}

/// `[b, t, D]`, or flat with the last state behind it.
fn scan(inputs: [&Tensor; 5], extras: Extras, last: bool) -> Result<Tensor> {
    let mut call = check(inputs, extras)?;
    call.last = last;
    let more = [extras.d, extras.z, extras.initial].into_iter().flatten();
    let inputs: Vec<&Tensor> = inputs.into_iter().chain(more).collect();
    let saved: Vec<Data> = inputs.iter().map(|x| x.data.clone()).collect();
    let keep = inputs.iter().any(|x| x.is_tracked()) && tape::is_recording();
    let (y, states) = with_real!(OP, inputs[0].dtype(), T => {
        let (y, states) = cpu::forward::<T>(&saved, call, keep)?;
        let length = [states.len()];
        Ok((y, Tensor::from_vec(states, &length)?))
    })?;
    record(OP, y, &inputs, move |ctx, g| {
        if ctx.create_graph() {
            return tape::through(ctx, &saved, g, |inputs| reference::whole(inputs, call));
        }
        with_real!(OP, g.dtype(), T => backward::backward::<T>(&saved, &states.data, &g.data, call))
    })
}

fn check(inputs: [&Tensor; 5], extras: Extras) -> Result<Call> {
    let [u, delta, a, b, c] = inputs;
    let all = inputs.into_iter().map(Some);
    let all = all.chain([extras.d, extras.z, extras.initial]);
    for x in all.flatten() {
        if x.dtype() != u.dtype() || !x.dtype().is_float() {
            let expected = match u.dtype() {
                float if float.is_float() => float.as_str(),
                _ => "a float dtype",
            };
            let got = if x.dtype() == u.dtype() {
                u.dtype()
            } else {
                x.dtype()
            };
            return Err(Error::DType {
                op: OP,
                expected,
                got,
            });
        }
    }
    let (&[batch, steps, channels], &[rows, states]) = (u.dims(), a.dims()) else {
        return Err(wrong(
            "u",
            "[batch, steps, channels], with a [channels, states]",
            u,
        ));
    };
    if rows != channels {
        return Err(wrong("a", &format!("[{channels}, states]"), a));
    }
    let skip = [channels];
    let (sequence, vectors, state) = (
        [batch, steps, channels],
        [batch, steps, states],
        [batch, channels, states],
    );
    let wanted: [(&str, Option<&Tensor>, &[usize]); 6] = [
        ("delta", Some(delta), &sequence),
        ("b", Some(b), &vectors),
        ("c", Some(c), &vectors),
        ("d", extras.d, &skip),
        ("z", extras.z, &sequence),
        ("the initial state", extras.initial, &state),
    ];
    for (name, x, shape) in wanted {
        if let Some(x) = x.filter(|x| x.dims() != shape) {
            return Err(wrong(name, &format!("{shape:?}"), x));
        }
    }
    let mut next = inputs.len();
    let mut place = |x: Option<&Tensor>| {
        x.map(|_| {
            next += 1;
            next - 1
        })
    };
    Ok(Call {
        batch,
        steps,
        channels,
        states,
        d: place(extras.d),
        z: place(extras.z),
        initial: place(extras.initial),
        softplus: extras.softplus,
        last: false,
    })
}

fn wrong(name: &str, wanted: &str, got: &Tensor) -> Error {
    let detail = format!("expected {name} of shape {wanted}, got {:?}", got.dims());
    Error::Shape { op: OP, detail }
}

/// What the contract holds.
pub(super) const PLAIN: Op = Op {
    name: "selective_scan",
    apply: |x| selective_scan(&x[0], &x[1], &x[2], &x[3], &x[4], Extras::default()),
    shapes: &[
        &[&[2, 5, 3], &[2, 5, 3], &[3, 2], &[2, 5, 2], &[2, 5, 2]],
        &[
            &[1, 35, 17],
            &[1, 35, 17],
            &[17, 1],
            &[1, 35, 1],
            &[1, 35, 1],
        ],
        &[&[0, 2, 3], &[0, 2, 3], &[3, 2], &[0, 2, 2], &[0, 2, 2]],
    ],
    domain: (-0.8, 0.6),
};
/// See [`PLAIN`].
pub(super) const WHOLE: Op = Op {
    name: "selective_scan with everything",
    apply: |x| {
        let extras = Extras {
            d: Some(&x[5]),
            z: Some(&x[6]),
            initial: Some(&x[7]),
            softplus: true,
        };
        selective_scan(&x[0], &x[1], &x[2], &x[3], &x[4], extras)
    },
    shapes: &[&[
        &[2, 4, 3],
        &[2, 4, 3],
        &[3, 2],
        &[2, 4, 2],
        &[2, 4, 2],
        &[3],
        &[2, 4, 3],
        &[2, 3, 2],
    ]],
    domain: ANY,
};
/// See [`PLAIN`].
pub(super) const STATE: Op = Op {
    name: "selective_scan with its last state",
    apply: |x| {
        let extras = Extras {
            initial: Some(&x[5]),
            ..Default::default()
        };
        scan([&x[0], &x[1], &x[2], &x[3], &x[4]], extras, true)
    },
    shapes: &[&[
        &[1, 3, 2],
        &[1, 3, 2],
        &[2, 3],
        &[1, 3, 3],
        &[1, 3, 3],
        &[1, 2, 3],
    ]],
    domain: (-0.8, 0.6),
};
