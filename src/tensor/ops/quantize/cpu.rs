//! The kernels of a block: decode, largest absolute value, encode. Portable versions, and the choice of the AVX-512 ones
//! for f32. All give the same bits.

use super::{Codebook, code::cell};
#[cfg(target_arch = "x86_64")]
use crate::simd::Level;
use crate::simd::math::Float;

/// `out = map[codes] * absmax`.
pub(crate) fn decode<T: Float>(book: &Codebook, codes: &[u8], absmax: f32, out: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(out) = singles_mut(out)
        && crate::simd::level() == Level::Avx512
    {
        // SAFETY: the level was detected on this machine.
        return unsafe { super::avx512::decode(book, codes, absmax, out) };
    }
    let (map, scale) = (book.map(), T::of(f64::from(absmax)));
    for (code, out) in codes.iter().zip(out) {
        *out = T::of(f64::from(map[usize::from(*code)])) * scale;
    }
}

/// The codes nearest to `x / absmax`, absmax > 0. With `floor` no positive number gets the code of 0.
pub(crate) fn encode<T: Float>(
    book: &Codebook,
    x: &[T],
    absmax: f32,
    floor: bool,
    codes: &mut [u8],
) {
    let least = if floor { book.least() } else { 0.0 };
    #[cfg(target_arch = "x86_64")]
    if let Some(x) = singles(x) {
        match crate::simd::level() {
            // SAFETY: the level was detected on this machine.
            Level::Avx512 => {
                return unsafe { super::avx512::encode(book, x, absmax, least, codes) };
            }
            // SAFETY: as above.
            Level::Avx2 => return unsafe { super::avx2::encode(book, x, absmax, least, codes) },
            Level::Scalar => {}
        }
    }
    shares(book, x, absmax, least, codes);
}

/// Numbers whose shares are found side by side.
const SIDE: usize = 64;

fn shares<T: Float>(book: &Codebook, x: &[T], absmax: f32, least: f32, codes: &mut [u8]) {
    let (mut share, mut place) = ([0f32; SIDE], [0u32; SIDE]);
    for (x, codes) in x.chunks(SIDE).zip(codes.chunks_mut(SIDE)) {
        divide(x, absmax, least, &mut share, &mut place);
        for ((code, s), place) in codes.iter_mut().zip(&share).zip(&place) {
            *code = book.nearest_in(*place as usize, *s);
        }
    }
}

crate::simd! {
    /// `out = x / absmax`, at least `least` where x > 0, and the cells in which that lies.
    fn divide<T: Float>(x: &[T], absmax: f32, least: f32, out: &mut [f32; SIDE], place: &mut [u32; SIDE]) {
        let scale = T::of(f64::from(absmax));
        for ((x, out), place) in x.iter().zip(out).zip(place) {
            let s = (*x / scale).to_f64() as f32;
            let s = if *x > T::ZERO && s < least { least } else { s };
            *out = s;
            *place = cell(s);
        }
    }
}

crate::simd! {
    fn largest_of<T: Float>(x: &[T]) -> T {
        let mut lanes = [T::ZERO; SIDE];
        let chunks = x.chunks_exact(SIDE);
        let mut top = T::ZERO;
        for v in chunks.remainder() { if v.abs() > top { top = v.abs() } }
        for chunk in chunks {
            for (lane, v) in lanes.iter_mut().zip(chunk) { if v.abs() > *lane { *lane = v.abs() } }
        }
        let mut width = SIDE / 2;
        while width > 0 {
            for i in 0..width { if lanes[i + width] > lanes[i] { lanes[i] = lanes[i + width] } }
            width /= 2;
        }
        if lanes[0] > top { lanes[0] } else { top }
    }
}

/// The largest absolute value, at most the largest f32: what overflowed stays at the end of the range.
pub(crate) fn largest<T: Float>(x: &[T]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(x) = singles(x)
        && crate::simd::level() == Level::Avx512
    {
        // SAFETY: the level was detected on this machine.
        return unsafe { super::avx512::largest(x) }.min(f32::MAX);
    }
    let top = largest_of(x).to_f64();
    let near = (top as f32).min(f32::MAX);
    // Rounded up, so that no share is above 1.
    if f64::from(near) < top && near < f32::MAX {
        near.next_up()
    } else {
        near
    }
}

#[cfg(target_arch = "x86_64")]
fn singles<T: Float>(x: &[T]) -> Option<&[f32]> {
    let same = std::any::TypeId::of::<T>() == std::any::TypeId::of::<f32>();
    // SAFETY: T is f32.
    same.then(|| unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), x.len()) })
}

#[cfg(target_arch = "x86_64")]
fn singles_mut<T: Float>(x: &mut [T]) -> Option<&mut [f32]> {
    let same = std::any::TypeId::of::<T>() == std::any::TypeId::of::<f32>();
    // SAFETY: T is f32.
    same.then(|| unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), x.len()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ops::quantize::{Code, EXPONENTS},
        random::Stream,
    };

    fn books() -> impl Iterator<Item = &'static Codebook> {
        let codes = (1..=EXPONENTS).map(Code::Dynamic).chain([Code::Linear]);
        codes.flat_map(|code| [true, false].map(|signed| Codebook::of(code, signed)))
    }

    /// The nearest value by looking at all of them; of two as near ones the first.
    fn brute(book: &Codebook, s: f32) -> u8 {
        let apart = |i: usize| (f64::from(book.map()[i]) - f64::from(s)).abs();
        (0..256).fold(0, |best, i| if apart(i) < apart(best) { i } else { best }) as u8
    }

    /// Numbers of every size in [-1, 1], and all ends with their neighbours.
    fn numbers(book: &Codebook) -> Vec<f32> {
        let mut u = vec![0f32; 6000];
        Stream::new(5, "shares").uniform(&mut u);
        let mut all: Vec<f32> = (u.iter().enumerate())
            .map(|(i, &u)| match i % 3 {
                0 => u,
                1 => u.powi(7),
                _ => 10f32.powf(-8.0 * u),
            })
            .collect();
        for end in book.ends.iter().filter(|end| end.is_finite()) {
            all.extend([end.next_down(), *end, end.next_up()]);
        }
        all.extend([0.0, 1.0, 1e-30, f32::MIN_POSITIVE, 1e-42]);
        all.retain(|x| (-1.0..=1.0).contains(x));
        if book.signed() {
            let negative: Vec<f32> = all.iter().map(|x| -x).collect();
            all.extend(negative);
        } else {
            all.retain(|x| *x >= 0.0);
        }
        all.push(1.0);
        all
    }

    /// The codes of every path that this machine has.
    fn on_every_path(book: &Codebook, x: &[f32], absmax: f32, floor: bool) -> Vec<Vec<u8>> {
        let least = if floor { book.least() } else { 0.0 };
        let mut all = vec![vec![9; x.len()]; 2];
        encode(book, x, absmax, floor, &mut all[0]);
        shares(book, x, absmax, least, &mut all[1]);
        #[cfg(target_arch = "x86_64")]
        if crate::simd::level() >= Level::Avx2 {
            let mut codes = vec![8; x.len()];
            // SAFETY: the level was detected on this machine.
            unsafe { super::super::avx2::encode(book, x, absmax, least, &mut codes) };
            all.push(codes);
        }
        all
    }

    #[test]
    fn codes_are_those_of_a_search_through_all_values_on_every_path() {
        for book in books() {
            let x = numbers(book);
            let want: Vec<u8> = x.iter().map(|x| brute(book, *x)).collect();
            for codes in on_every_path(book, &x, 1.0, false) {
                for ((x, code), want) in x.iter().zip(&codes).zip(&want) {
                    assert_eq!(code, want, "{x:e}");
                }
            }
        }
    }

    #[test]
    fn paths_agree_on_blocks_of_any_length_and_scale() {
        for book in books() {
            for (n, scale) in [
                (1, 1e-40f32),
                (15, 3e-38),
                (16, 0.7),
                (33, 1e30),
                (257, 1e-3),
            ] {
                let mut x = vec![0f32; n];
                Stream::new(n as u64, "block").normal(&mut x);
                for x in &mut x {
                    *x = if book.signed() {
                        *x * scale
                    } else {
                        *x * *x * scale
                    };
                }
                let top = largest(&x);
                if top == 0.0 {
                    continue;
                }
                for floor in [false, true] {
                    let floor = floor && !book.signed();
                    let codes = on_every_path(book, &x, top, floor);
                    let fast = &codes[0];
                    assert!(codes.iter().all(|codes| codes == fast), "{n} {scale:e}");
                    let (mut quick, mut slow) = (vec![0f32; n], vec![0f64; n]);
                    decode(book, fast, top, &mut quick);
                    decode(book, fast, top, &mut slow);
                    for ((code, quick), slow) in fast.iter().zip(&quick).zip(&slow) {
                        assert_eq!(*quick, book.map()[usize::from(*code)] * top);
                        assert!((f64::from(*quick) - slow).abs() <= 1e-7 * slow.abs() + 1e-45);
                    }
                }
            }
        }
    }

    #[test]
    fn paths_agree_next_to_every_end_at_any_scale() {
        for book in books() {
            let shares = numbers(book);
            let mut u = [0f32; 40];
            Stream::new(9, "scales").uniform(&mut u);
            for u in u {
                let top = 10f32.powf(60.0 * u - 30.0) * (1.0 + u);
                let x: Vec<f32> = shares.iter().map(|s| s * top).collect();
                for floor in [false, true] {
                    let codes = on_every_path(book, &x, top, floor && !book.signed());
                    for other in &codes[1..] {
                        for ((x, a), b) in x.iter().zip(&codes[0]).zip(other) {
                            assert_eq!(a, b, "{x:e} of {top:e}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_value_is_its_own_code_and_the_floor_keeps_positive_numbers() {
        for book in books() {
            let all: Vec<u8> = (0..=255).collect();
            let mut x = vec![0f32; 256];
            decode(book, &all, 1.0, &mut x);
            let mut again = vec![0u8; 256];
            encode(book, &x, 1.0, false, &mut again);
            let doubled = |i: usize| i > 0 && x[i] == x[i - 1];
            assert!((0..256).all(|i| usize::from(again[i]) == i || doubled(i)));
            assert_eq!(book.map()[usize::from(book.zero())], 0.0);
            let mut codes = [0; 3];
            encode(book, &[1e-30f32, 0.0, 1.0], 1.0, true, &mut codes);
            assert!(book.map()[usize::from(codes[0])] == book.least() && codes[1] == book.zero());
        }
    }
}
