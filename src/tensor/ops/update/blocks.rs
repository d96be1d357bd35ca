//! The pass over states in 8 bits: block by block they are decoded, brought up to date in full precision with the
//! parameters, and encoded with the block's new largest value, while all of it lies in the first cache.

use super::{
    SLOTS, Update,
    cpu::{self, Numbers, follow, piece},
};
use crate::{
    ops::quantize::{Blocks, CHUNK, Codebook, Writing, decode, largest, quantum, write},
    pool::{self, Ptr},
    simd::math::Float,
};

/// Where one state lies and how it is written.
#[derive(Clone, Copy)]
struct Place {
    codes: Ptr<u8>,
    absmax: Ptr<f32>,
    book: &'static Codebook,
    writing: Writing,
}

/// The states of one chunk in full precision, and a copy of its parameters for blocks that need two passes. Where a cache
/// line begins: else every access of 64 bytes would touch two.
#[repr(align(64))]
struct Scratch<T> {
    states: [[T; CHUNK]; SLOTS],
    p: [T; CHUNK],
}

/// What one piece of the pass works on, from element `start` on.
struct Piece<'a, T, U> {
    start: usize,
    p: &'a mut [T],
    e: Option<(&'a mut [T], T)>,
    g: &'a [T],
    places: &'a [Place],
    numbers: Numbers<T>,
    update: U,
}

pub(super) fn sweep<T: Float, U: Update<T>>(
    p: &mut [T],
    states: &mut [Blocks],
    g: &[T],
    average: Option<(&mut [T], T)>,
    numbers: Numbers<T>,
    update: U,
) {
    let n = p.len();
    let Some(block) = states.first().map(|state| state.writing().block) else {
        return cpu::sweep(p, &mut [], g, average, numbers, update);
    };
    let whole = |state: &Blocks| state.codes().len() == n && state.writing().block == block;
    let fits = average.as_ref().is_none_or(|(e, _)| e.len() == n);
    assert!(
        g.len() == n && fits && states.len() == U::STATES && states.iter().all(whole),
        "update: slices of different lengths"
    );
    let place = |state: &mut Blocks| {
        let ((codes, absmax), book, writing) = (state.places(), state.book(), *state.writing());
        Place {
            codes,
            absmax,
            book,
            writing,
        }
    };
    let first = place(&mut states[0]);
    let mut places = [first; SLOTS];
    for (to, state) in places.iter_mut().zip(states).skip(1) {
        *to = place(state);
    }
    let average = average.map(|(e, decay)| (Ptr(e.as_mut_ptr()), decay));
    pool::for_each_piece(p, quantum(block), |start, p| {
        let len = p.len();
        let mut scratch = Scratch {
            states: [[T::ZERO; CHUNK]; SLOTS],
            p: [T::ZERO; CHUNK],
        };
        // SAFETY: pieces do not overlap, and the average has the length of the whole (checked above).
        let e = average.map(|(e, decay)| (unsafe { e.slice(start, len) }, decay));
        let g = &g[start..start + len];
        let places = &places[..U::STATES];
        let mut piece = Piece {
            start,
            p,
            e,
            g,
            places,
            numbers,
            update,
        };
        for from in (0..len).step_by(block) {
            piece.block(from, block.min(len - from), &mut scratch);
        }
    });
}

impl<T: Float, U: Update<T>> Piece<'_, T, U> {
    /// One block: at once when it fits the scratch, else first its new largest values, then the step.
    fn block(&mut self, from: usize, len: usize, scratch: &mut Scratch<T>) {
        let mut tops = [0f32; SLOTS];
        if len > CHUNK {
            for at in (from..from + len).step_by(CHUNK) {
                let size = CHUNK.min(from + len - at);
                self.decode(at, size, scratch);
                scratch.p[..size].copy_from_slice(&self.p[at..at + size]);
                let Scratch {
                    states: [a, b, c],
                    p,
                } = scratch;
                let g = &self.g[at..at + size];
                piece(&mut p[..size], a, b, c, g, self.numbers, self.update);
                self.raise(&mut tops, size, scratch);
            }
        }
        for at in (from..from + len).step_by(CHUNK) {
            let size = CHUNK.min(from + len - at);
            self.decode(at, size, scratch);
            let [a, b, c] = &mut scratch.states;
            let p = &mut self.p[at..at + size];
            piece(
                p,
                a,
                b,
                c,
                &self.g[at..at + size],
                self.numbers,
                self.update,
            );
            if let Some((e, decay)) = &mut self.e {
                follow(&mut e[at..at + size], p, *decay);
            }
            if len <= CHUNK {
                self.raise(&mut tops, size, scratch);
            }
            self.encode(at, size, &tops, scratch);
        }
        for (place, top) in self.places.iter().zip(tops) {
            let index = (self.start + from) / place.writing.block;
            // SAFETY: pieces begin at blocks, so this entry is this piece's alone.
            unsafe { *place.absmax.at(index) = top };
        }
    }

    fn decode(&self, at: usize, size: usize, scratch: &mut Scratch<T>) {
        let start = self.start + at;
        for (place, out) in self.places.iter().zip(&mut scratch.states) {
            // SAFETY: the range lies in this piece; pieces do not overlap.
            let (codes, top) = unsafe {
                let codes = place.codes.slice(start, size);
                (codes, *place.absmax.at(start / place.writing.block))
            };
            decode(place.book, codes, top, &mut out[..size]);
        }
    }

    fn raise(&self, tops: &mut [f32; SLOTS], size: usize, scratch: &Scratch<T>) {
        let used = scratch.states.iter().take(self.places.len());
        for (top, state) in tops.iter_mut().zip(used) {
            *top = top.max(largest(&state[..size]));
        }
    }

    fn encode(&self, at: usize, size: usize, tops: &[f32; SLOTS], scratch: &Scratch<T>) {
        let start = self.start + at;
        for ((place, state), top) in self.places.iter().zip(&scratch.states).zip(tops) {
            // SAFETY: the range lies in this piece; pieces do not overlap.
            let codes = unsafe { place.codes.slice(start, size) };
            let step = self.numbers.step;
            write(
                place.book,
                &place.writing,
                &state[..size],
                *top,
                start,
                step,
                codes,
            );
        }
    }
}
