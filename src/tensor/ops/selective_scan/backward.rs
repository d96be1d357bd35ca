//! The gradient of the scan: chunks from the last to the first. Within a chunk the states are recomputed from the kept one, then
//! the gradient of the state runs back, with `g_t = dL/dy_t` (before the gate) and `s_t = dL/dh_t`:
//!
//! ```text
//! s_t = g_t C_t + exp(delta_{t+1} A) s_{t+1}              dC_t = sum_d g_t h_t      dB_t = sum_d s_t delta_t u_t
//! du_t = delta_t (s_t . B_t) + D g_t                      dD = sum g_t u_t
//! ddelta_t = s_t . (A exp(delta_t A) h_{t-1} + u_t B_t)   dA = sum s_t delta_t exp(delta_t A) h_{t-1}
//! ```
//!
//! Sums over channels are kept as lanes over all groups of a slab and added up once a chunk.

use candle_core::Tensor as Data;

use super::{
    Call, OP,
    cpu::{
        CHUNK, Inputs, LANES, Lanes, Piece, decay, from_lanes, load, load_or_zero, step_of, store,
        task, to_lanes,
    },
};
use crate::{
    Real, Result, Tensor, interrupt, memory,
    pool::{self, Ptr},
    simd::{
        kernels,
        math::{Float, sigmoid},
    },
    tape::Grads,
    tensor::{buffer, with_slices},
};

/// What a thread works in.
struct Scratch<T> {
    /// Of the groups of a slab `[groups, states]`: `A`, its gradient, the gradient of the state.
    a: Vec<Lanes<T>>,
    da: Vec<Lanes<T>>,
    dh: Vec<Lanes<T>>,
    /// Of the groups of a slab: the gradient of `D`.
    dd: Vec<Lanes<T>>,
    chunk: Chunk<T>,
}

/// Of one chunk of a slab, `[steps, states]` (or `[steps]`).
struct Chunk<T> {
    /// A state that goes through the chunk.
    h: Vec<Lanes<T>>,
    /// States before every step, decays, outputs before the gate.
    before: Vec<Lanes<T>>,
    decay: Vec<Lanes<T>>,
    out: Vec<Lanes<T>>,
    /// Gradients of `B` and `C`, lanes not yet added up.
    db: Vec<Lanes<T>>,
    dc: Vec<Lanes<T>>,
}

impl<T: Real> Scratch<T> {
    /// Lanes in one, about.
    fn size(call: Call) -> usize {
        let groups = task(call, 0).1.len();
        call.states.saturating_mul(3 * groups + 1 + 4 * CHUNK)
    }

    fn new(call: Call) -> Self {
        let groups = task(call, 0).1.len();
        let zeros = |n: usize| vec![[T::ZERO; LANES]; n];
        let (slab, chunk) = (groups * call.states, CHUNK * call.states);
        Self {
            a: zeros(slab),
            da: zeros(slab),
            dh: zeros(slab),
            dd: zeros(groups),
            chunk: Chunk {
                h: zeros(call.states),
                before: zeros(chunk),
                decay: zeros(chunk),
                out: zeros(CHUNK),
                db: zeros(chunk),
                dc: zeros(chunk),
            },
        }
    }
}

/// Where the gradients of the inputs with a row for every step go.
#[derive(Clone, Copy)]
struct Rows<T> {
    u: Ptr<T>,
    delta: Ptr<T>,
    z: Ptr<T>,
}

crate::simd! {
    /// Recomputes a chunk from the state `s.h` before it.
    fn replay<T: Float>(x: &Inputs<T>, piece: &Piece, softplus: bool, a: &[Lanes<T>], s: &mut Chunk<T>) {
        let (states, width) = (a.len(), piece.width);
        let h = &mut s.h[..states];
        let d = load_or_zero(x.d, piece.channel, width);
        for (i, t) in piece.steps().enumerate() {
            let at = piece.at(t);
            let u = load(x.u, at, width);
            let step = step_of(&load(x.delta, at, width), softplus);
            let (mut input, mut out) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            for k in 0..LANES {
                input[k] = u[k] * step[k];
                out[k] = u[k] * d[k];
            }
            let (b, c) = (&x.b[t * states..][..states], &x.c[t * states..][..states]);
            let (before, decays) = (&mut s.before[i * states..][..states], &mut s.decay[i * states..][..states]);
            for n in 0..states {
                let decay = decay(&step, &a[n]);
                let mut state = h[n];
                before[n] = state;
                decays[n] = decay;
                for k in 0..LANES {
                    state[k] = decay[k].fma(state[k], input[k] * b[n]);
                    out[k] = state[k].fma(c[n], out[k]);
                }
                h[n] = state;
            }
            s.out[i] = out;
        }
    }
}
crate::simd! {
    /// Runs back through a recomputed chunk.
    fn retreat<T: Float>(
        x: &Inputs<T>, piece: &Piece, softplus: bool, g: &[T], a: &[Lanes<T>], da: &mut [Lanes<T>], dh: &mut [Lanes<T>],
        dd: &mut Lanes<T>, s: &mut Chunk<T>, to: Rows<T>
    ) {
        let (states, width) = (a.len(), piece.width);
        let (da, dh) = (&mut da[..states], &mut dh[..states]);
        let d = load_or_zero(x.d, piece.channel, width);
        let mut by_d = *dd;
        for (i, t) in piece.steps().enumerate().rev() {
            let at = piece.at(t);
            let u = load(x.u, at, width);
            let raw = load(x.delta, at, width);
            let step = step_of(&raw, softplus);
            let mut g = load(g, at, width);
            if let Some(z) = x.z {
                let (z, out, mut dz) = (load(z, at, width), s.out[i], [T::ZERO; LANES]);
                for k in 0..LANES {
                    let open = sigmoid(z[k]);
                    dz[k] = g[k] * out[k] * (T::ONE - open).fma(z[k] * open, open);
                    g[k] *= z[k] * open;
                }
                // SAFETY: every step and channel belongs to one task.
                unsafe { store(to.z, at, width, &dz) }
            }
            let (mut input, mut by_step, mut by_input) = ([T::ZERO; LANES], [T::ZERO; LANES], [T::ZERO; LANES]);
            for k in 0..LANES {
                input[k] = u[k] * step[k];
                by_d[k] = g[k].fma(u[k], by_d[k]);
            }
            let (b, c) = (&x.b[t * states..][..states], &x.c[t * states..][..states]);
            let (before, decays) = (&s.before[i * states..][..states], &s.decay[i * states..][..states]);
            let (db, dc) = (&mut s.db[i * states..][..states], &mut s.dc[i * states..][..states]);
            for n in 0..states {
                let (a, decay, before) = (a[n], decays[n], before[n]);
                let (mut by_state, mut by_a, mut by_b, mut by_c) = (dh[n], da[n], db[n], dc[n]);
                for k in 0..LANES {
                    let slope = g[k].fma(c[n], by_state[k]);
                    let decayed = decay[k] * before[k];
                    let through = slope * decayed;
                    by_c[k] = g[k].fma(input[k].fma(b[n], decayed), by_c[k]);
                    by_b[k] = slope.fma(input[k], by_b[k]);
                    by_a[k] = through.fma(step[k], by_a[k]);
                    by_step[k] = through.fma(a[k], by_step[k]);
                    by_input[k] = slope.fma(b[n], by_input[k]);
                    by_state[k] = slope * decay[k];
                }
                (dh[n], da[n], db[n], dc[n]) = (by_state, by_a, by_b, by_c);
            }
            let (mut du, mut ddelta) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            for k in 0..LANES {
                du[k] = by_input[k].fma(step[k], g[k] * d[k]);
                ddelta[k] = by_input[k].fma(u[k], by_step[k]);
            }
            if softplus {
                for k in 0..LANES { ddelta[k] *= sigmoid(raw[k]) }
            }
            // SAFETY: every step and channel belongs to one task.
            unsafe {
                store(to.u, at, width, &du);
                store(to.delta, at, width, &ddelta);
            }
        }
        *dd = by_d;
    }
}
crate::simd! {
    /// `out_i = ` the sum of lanes `i`, which are cleared.
    fn add_up<T: Float>(lanes: &mut [Lanes<T>], out: &mut [T]) {
        for (lanes, out) in lanes.iter_mut().zip(out) {
            *out = kernels::fold(*lanes, |a, b| a + b);
            *lanes = [T::ZERO; LANES];
        }
    }
}

/// Buffers of all gradients; `a` and `d` for each sequence, `b` and `c` for each slab of channels.
struct Buffers<T> {
    u: Vec<T>,
    delta: Vec<T>,
    z: Vec<T>,
    a: Vec<T>,
    d: Vec<T>,
    b: Vec<T>,
    c: Vec<T>,
    initial: Vec<T>,
}

impl<T: Real> Buffers<T> {
    fn new(call: Call) -> Result<Self> {
        let when = |wanted: bool, n: usize| buffer::<T>(if wanted { n } else { 0 });
        let state = call.batch * call.channels * call.states;
        let vectors = call.batch * call.slabs() * call.steps * call.states;
        Ok(Self {
            u: buffer(call.outputs())?,
            delta: buffer(call.outputs())?,
            z: when(call.z.is_some(), call.outputs())?,
            a: buffer(state)?,
            d: when(call.d.is_some(), call.batch * call.channels)?,
            b: buffer(vectors)?,
            c: buffer(vectors)?,
            initial: when(call.initial.is_some(), state)?,
        })
    }
}

/// The sum over blocks of `n` numbers.
fn sum_blocks<T: Real>(x: Vec<T>, n: usize, count: usize) -> Result<Vec<T>> {
    if count == 1 {
        return Ok(x);
    }
    let mut sum = buffer::<T>(n)?;
    if n > 0 {
        kernels::sum_rows_into(&x, &mut sum);
    }
    Ok(sum)
}

/// Gradients of all inputs, in their order.
pub(super) fn backward<T: Real>(
    inputs: &[Data],
    kept: &Data,
    g: &Data,
    call: Call,
) -> Result<Grads> {
    let mut out = Buffers::<T>::new(call)?;
    memory::ensure(
        Scratch::<T>::size(call).saturating_mul(pool::global().parts()),
        size_of::<Lanes<T>>(),
    )?;
    let read: Vec<&Data> = inputs.iter().chain([kept, g]).collect();
    with_slices::<T, _>(OP, &read, |x| {
        let (kept, g) = (x[x.len() - 2], x[x.len() - 1]);
        run(&Inputs::of(x, call), kept, g, call, &mut out)
    })??;
    let (state, vectors) = (call.channels * call.states, call.steps * call.states);
    let (mut b, mut c) = (out.b, out.c);
    if call.slabs() != 1 {
        let size = call.slabs() * vectors;
        for parts in [&mut b, &mut c] {
            let mut all = Vec::with_capacity(call.batch * vectors);
            for parts in parts.chunks_exact(size.max(1)) {
                let mut sum = buffer::<T>(vectors)?;
                kernels::sum_rows_into(parts, &mut sum);
                all.extend(sum);
            }
            *parts = all;
        }
    }
    let tensor = |values: Vec<T>, i: usize| Tensor::from_vec(values, inputs[i].dims()).map(Some);
    let mut grads = vec![
        tensor(out.u, 0)?,
        tensor(out.delta, 1)?,
        tensor(sum_blocks(out.a, state, call.batch)?, 2)?,
        tensor(b, 3)?,
        tensor(c, 4)?,
    ];
    for (place, values) in [
        (call.d, sum_blocks(out.d, call.channels, call.batch)?),
        (call.z, out.z),
        (call.initial, out.initial),
    ] {
        if let Some(i) = place {
            grads.push(tensor(values, i)?);
        }
    }
    Ok(grads)
}

fn run<T: Real>(
    x: &Inputs<T>,
    kept: &[T],
    g: &[T],
    call: Call,
    out: &mut Buffers<T>,
) -> Result<()> {
    let states = call.states;
    let (state, vectors) = (call.channels * states, call.steps * states);
    let rows = Rows {
        u: Ptr(out.u.as_mut_ptr()),
        delta: Ptr(out.delta.as_mut_ptr()),
        z: Ptr(out.z.as_mut_ptr()),
    };
    let (to_a, to_d) = (Ptr(out.a.as_mut_ptr()), Ptr(out.d.as_mut_ptr()));
    let (to_b, to_c) = (Ptr(out.b.as_mut_ptr()), Ptr(out.c.as_mut_ptr()));
    let to_initial = Ptr(out.initial.as_mut_ptr());
    let stop = interrupt::poll();
    let tasks = call.batch * call.slabs();
    pool::for_each_task(
        tasks,
        call.is_small(),
        || Scratch::new(call),
        |index, s| {
            let (sequence, groups) = task(call, index);
            let piece = |chunk, group| Piece::new(call, sequence, chunk, group);
            let own =
                |group: usize| (group - groups.start) * states..(group - groups.start + 1) * states;
            s.da.fill([T::ZERO; LANES]);
            s.dd.fill([T::ZERO; LANES]);
            for group in groups.clone() {
                let piece = piece(0, group);
                to_lanes(x.a, &piece, &mut s.a[own(group)]);
                match call.last {
                    true => {
                        let g = &g[call.outputs() + sequence * state..];
                        to_lanes(g, &piece, &mut s.dh[own(group)]);
                    }
                    false => s.dh[own(group)].fill([T::ZERO; LANES]),
                }
            }
            for chunk in (0..call.chunks()).rev() {
                if stop.requested() {
                    return;
                }
                for group in groups.clone() {
                    let (piece, own) = (piece(chunk, group), own(group));
                    let a = &s.a[own.clone()];
                    let first = &kept.as_chunks().0[call.kept(sequence, chunk, group)..][..states];
                    s.chunk.h.copy_from_slice(first);
                    replay(x, &piece, call.softplus, a, &mut s.chunk);
                    let dd = &mut s.dd[group - groups.start];
                    let (da, dh) = (&mut s.da[own.clone()], &mut s.dh[own]);
                    retreat(
                        x,
                        &piece,
                        call.softplus,
                        g,
                        a,
                        da,
                        dh,
                        dd,
                        &mut s.chunk,
                        rows,
                    );
                }
                let steps = call.steps.min((chunk + 1) * CHUNK) - chunk * CHUNK;
                let at = index * vectors + chunk * CHUNK * states;
                // SAFETY: every task has its own range of both buffers.
                let (db, dc) = unsafe {
                    (
                        to_b.slice(at, steps * states),
                        to_c.slice(at, steps * states),
                    )
                };
                add_up(&mut s.chunk.db[..steps * states], db);
                add_up(&mut s.chunk.dc[..steps * states], dc);
            }
            for group in groups.clone() {
                let piece = piece(0, group);
                let at = sequence * state + piece.channel * states;
                let lanes = own(group);
                // SAFETY: every sequence and channel belongs to one task.
                unsafe {
                    from_lanes(&s.da[lanes.clone()], to_a.slice(at, piece.width * states));
                    if call.initial.is_some() {
                        from_lanes(&s.dh[lanes], to_initial.slice(at, piece.width * states));
                    }
                    if call.d.is_some() {
                        let dd = &s.dd[group - groups.start][..piece.width];
                        to_d.slice(sequence * call.channels + piece.channel, piece.width)
                            .copy_from_slice(dd);
                    }
                }
            }
        },
    )
}
