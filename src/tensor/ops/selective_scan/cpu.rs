//! The scan on the CPU: 16 channels are lanes, their states lie in the first-level cache. A task is a sequence and a slab of channels,
//! cut by sizes alone, so that sums over channels do not depend on the number of threads. Within a task 32 steps of one group of
//! lanes follow those of another, so that rows of the inputs are read while they are in cache.

use candle_core::{Device, Tensor as Data};

use super::{Call, OP};
use crate::{
    Real, Result, interrupt, memory,
    pool::{self, Ptr},
    simd::math::{Float, sigmoid},
    tensor::{buffer, with_slices},
};

/// Channels side by side.
pub(super) const LANES: usize = 16;

/// Steps between two kept states.
pub(super) const CHUNK: usize = 32;

/// Groups of lanes in a slab.
const SLAB: usize = 8;

/// Exponentials below this number are not worth a second thread.
pub(super) const SMALL: usize = 1 << 13;

/// One value for each lane.
pub(super) type Lanes<T> = [T; LANES];

impl Call {
    pub(super) fn groups(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    pub(super) fn slabs(&self) -> usize {
        self.groups().div_ceil(SLAB)
    }

    pub(super) fn chunks(&self) -> usize {
        self.steps.div_ceil(CHUNK)
    }

    pub(super) fn is_small(&self) -> bool {
        self.outputs().saturating_mul(self.states) < SMALL
    }

    /// Where the state of a group at the beginning of a chunk is kept, counted in lanes.
    pub(super) fn kept(&self, sequence: usize, chunk: usize, group: usize) -> usize {
        ((sequence * self.chunks() + chunk) * self.groups() + group) * self.states
    }
}

/// The inputs of a call.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a, T> {
    pub(super) u: &'a [T],
    pub(super) delta: &'a [T],
    pub(super) a: &'a [T],
    pub(super) b: &'a [T],
    pub(super) c: &'a [T],
    pub(super) d: Option<&'a [T]>,
    pub(super) z: Option<&'a [T]>,
    pub(super) initial: Option<&'a [T]>,
}

impl<'a, T> Inputs<'a, T> {
    pub(super) fn of(x: &[&'a [T]], call: Call) -> Self {
        let [u, delta, a, b, c] = [0, 1, 2, 3, 4].map(|i| x[i]);
        Self {
            u,
            delta,
            a,
            b,
            c,
            d: call.d.map(|i| x[i]),
            z: call.z.map(|i| x[i]),
            initial: call.initial.map(|i| x[i]),
        }
    }
}

/// A group of channels of one sequence within one chunk of steps.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) sequence: usize,
    pub(super) chunk: usize,
    /// Its first channel and how many there are, at most `LANES`.
    pub(super) channel: usize,
    pub(super) width: usize,
    channels: usize,
    steps: usize,
}

impl Piece {
    pub(super) fn new(call: Call, sequence: usize, chunk: usize, group: usize) -> Self {
        let channel = group * LANES;
        Self {
            sequence,
            chunk,
            channel,
            width: LANES.min(call.channels - channel),
            channels: call.channels,
            steps: call.steps,
        }
    }

    /// Its steps, counted through all sequences.
    pub(super) fn steps(&self) -> std::ops::Range<usize> {
        let first = self.chunk * CHUNK;
        let last = self.steps.min(first + CHUNK);
        self.sequence * self.steps + first..self.sequence * self.steps + last
    }

    /// The place of its first channel in row `t`.
    #[inline(always)]
    pub(super) fn at(&self, t: usize) -> usize {
        t * self.channels + self.channel
    }
}

/// The sequence and the groups of a task.
pub(super) fn task(call: Call, task: usize) -> (usize, std::ops::Range<usize>) {
    let slab = task % call.slabs();
    let groups = slab * SLAB..call.groups().min((slab + 1) * SLAB);
    (task / call.slabs(), groups)
}

/// Lanes from a row; those beyond `width` are 0.
#[inline(always)]
pub(super) fn load<T: Float>(x: &[T], at: usize, width: usize) -> Lanes<T> {
    let mut lanes = [T::ZERO; LANES];
    if width == LANES {
        lanes.copy_from_slice(&x[at..at + LANES]);
    } else {
        lanes[..width].copy_from_slice(&x[at..at + width]);
    }
    lanes
}

/// Lanes into a row.
///
/// # Safety
/// The range must lie in one allocation and no other reference to it may exist.
#[inline(always)]
pub(super) unsafe fn store<T: Float>(to: Ptr<T>, at: usize, width: usize, lanes: &Lanes<T>) {
    if width == LANES {
        // SAFETY: promised by the caller.
        unsafe { to.slice(at, LANES) }.copy_from_slice(lanes);
    } else {
        // SAFETY: promised by the caller.
        unsafe { to.slice(at, width) }.copy_from_slice(&lanes[..width]);
    }
}

/// `[channels, states]` rows of a group as lanes for each state; lanes beyond are 0.
pub(super) fn to_lanes<T: Float>(x: &[T], piece: &Piece, out: &mut [Lanes<T>]) {
    out.fill([T::ZERO; LANES]);
    let states = out.len();
    let rows = x[piece.channel * states..].chunks_exact(states.max(1));
    for (lane, row) in rows.take(piece.width).enumerate() {
        for (lanes, value) in out.iter_mut().zip(row) {
            lanes[lane] = *value;
        }
    }
}

/// The inverse of [`to_lanes`], into the rows of the group alone.
pub(super) fn from_lanes<T: Float>(x: &[Lanes<T>], out: &mut [T]) {
    for (lane, row) in out.chunks_exact_mut(x.len().max(1)).enumerate() {
        for (lanes, value) in x.iter().zip(row) {
            *value = lanes[lane];
        }
    }
}

/// Lanes of an input that may be missing, then 0.
#[inline(always)]
pub(super) fn load_or_zero<T: Float>(x: Option<&[T]>, at: usize, width: usize) -> Lanes<T> {
    match x {
        Some(x) => load(x, at, width),
        None => [T::ZERO; LANES],
    }
}

/// `ln(1 + e^x)`, without overflow.
#[inline(always)]
pub(super) fn softplus<T: Float>(x: T) -> T {
    let log = (T::ONE + (-x.abs()).exp()).ln();
    if x > T::ZERO {
        x + log
    } else {
        log + T::ZERO * x
    }
}

/// The step of every lane.
#[inline(always)]
pub(super) fn step_of<T: Float>(raw: &Lanes<T>, positive: bool) -> Lanes<T> {
    let mut step = *raw;
    if positive {
        for step in &mut step {
            *step = softplus(*step);
        }
    }
    step
}

/// `exp(step a)`.
#[inline(always)]
pub(super) fn decay<T: Float>(step: &Lanes<T>, a: &Lanes<T>) -> Lanes<T> {
    let mut decay = [T::ZERO; LANES];
    for k in 0..LANES {
        decay[k] = (step[k] * a[k]).exp();
    }
    decay
}

crate::simd! {
    /// The steps of a piece: the states `h` go on, outputs are written to `y`.
    fn advance<T: Float>(
        x: &Inputs<T>, piece: &Piece, softplus: bool, a: &[Lanes<T>], h: &mut [Lanes<T>], y: Ptr<T>
    ) {
        let (states, width) = (a.len(), piece.width);
        let h = &mut h[..states];
        let d = load_or_zero(x.d, piece.channel, width);
        for t in piece.steps() {
            let at = piece.at(t);
            let u = load(x.u, at, width);
            let step = step_of(&load(x.delta, at, width), softplus);
            let (mut input, mut out) = ([T::ZERO; LANES], [T::ZERO; LANES]);
            for k in 0..LANES {
                input[k] = u[k] * step[k];
                out[k] = u[k] * d[k];
            }
            let (b, c) = (&x.b[t * states..][..states], &x.c[t * states..][..states]);
            for n in 0..states {
                let decay = decay(&step, &a[n]);
                let mut state = h[n];
                for k in 0..LANES {
                    state[k] = decay[k].fma(state[k], input[k] * b[n]);
                    out[k] = state[k].fma(c[n], out[k]);
                }
                h[n] = state;
            }
            if let Some(z) = x.z {
                let z = load(z, at, width);
                for k in 0..LANES { out[k] *= z[k] * sigmoid(z[k]) }
            }
            // SAFETY: every step and channel belongs to one task.
            unsafe { store(y, at, width, &out) }
        }
    }
}

/// Outputs (with the last state behind them when it is asked for) and, to be kept, the states before every chunk.
pub(super) fn forward<T: Real>(inputs: &[Data], call: Call, keep: bool) -> Result<(Data, Vec<T>)> {
    let outputs = call.outputs();
    let state = call.channels * call.states;
    let last = if call.last { call.batch * state } else { 0 };
    let mut out = buffer::<T>(outputs + last)?;
    let kept = if keep {
        call.kept(call.batch, 0, 0) * LANES
    } else {
        0
    };
    let mut states = buffer::<T>(kept)?;
    let (to_y, to_states) = (Ptr(out.as_mut_ptr()), Ptr(states.as_mut_ptr()));
    let block = call.states;
    memory::ensure(
        (2 * SLAB * block).saturating_mul(pool::global().parts()),
        size_of::<Lanes<T>>(),
    )?;
    let zeros = || vec![[T::ZERO; LANES]; SLAB * block];
    let scratch = || (zeros(), zeros());
    let stop = interrupt::poll();
    with_slices::<T, _>(OP, &inputs.iter().collect::<Vec<_>>(), |x| {
        let x = Inputs::of(x, call);
        let tasks = call.batch * call.slabs();
        pool::for_each_task(tasks, call.is_small(), scratch, |index, (a, h)| {
            let (sequence, groups) = task(call, index);
            let piece = |chunk, group| Piece::new(call, sequence, chunk, group);
            let own =
                |group: usize| (group - groups.start) * block..(group - groups.start + 1) * block;
            for group in groups.clone() {
                to_lanes(x.a, &piece(0, group), &mut a[own(group)]);
                match x.initial {
                    Some(first) => to_lanes(
                        &first[sequence * state..],
                        &piece(0, group),
                        &mut h[own(group)],
                    ),
                    None => h[own(group)].fill([T::ZERO; LANES]),
                }
            }
            for chunk in 0..call.chunks() {
                if stop.requested() {
                    return;
                }
                for group in groups.clone() {
                    let h = &mut h[own(group)];
                    if keep {
                        // SAFETY: every sequence, chunk and group belongs to one task.
                        unsafe {
                            let at = call.kept(sequence, chunk, group) * LANES;
                            to_states.slice(at, block * LANES)
                        }
                        .copy_from_slice(h.as_flattened());
                    }
                    advance(
                        &x,
                        &piece(chunk, group),
                        call.softplus,
                        &a[own(group)],
                        h,
                        to_y,
                    );
                }
            }
            for group in groups.clone().filter(|_| call.last) {
                let piece = piece(0, group);
                let at = outputs + sequence * state + piece.channel * call.states;
                // SAFETY: as above, behind the outputs.
                let to = unsafe { to_y.slice(at, piece.width * call.states) };
                from_lanes(&h[own(group)], to);
            }
        })
    })??;
    let shape = match call.last {
        true => vec![outputs + last],
        false => inputs[0].dims().to_vec(),
    };
    Ok((Data::from_vec(out, shape, &Device::Cpu)?, states))
}
