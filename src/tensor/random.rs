//! Random numbers by counting: Philox 4x32-10.
//!
//! A draw is a function of `(seed, stream, index)`, so it is the same for any number of threads,
//! and draw 1,000,000 costs as much as draw 1: a training that goes on after a stop needs no saved
//! generator. One [`Stream`] a purpose (initialisation, data order, noise, time); nothing calls a
//! global generator.
//!
//! Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

mod discrete;

use crate::{
    DType, Error, Real, Result, Tensor, memory, pool,
    simd::math::{Float, ln, sin_cos},
};

/// A source of random numbers for one purpose.
///
/// Draws for the same `(seed, purpose, index)` are the same; see [`Stream::at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
    index: u64,
}

impl Stream {
    /// The stream of one purpose, e.g. `Stream::new(seed, "noise")`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a, then one Philox block, so that near seeds and names give unrelated keys.
        let hash = purpose.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = philox(
            [hash as u32, (hash >> 32) as u32, 0, 0],
            [seed as u32, (seed >> 32) as u32],
        );
        Self {
            key: [mixed[0], mixed[1]],
            index: 0,
        }
    }

    /// The same purpose at another index, e.g. a training step: independent of all other indices.
    #[must_use]
    pub fn at(self, index: u64) -> Self {
        Self { index, ..self }
    }

    /// A seed for another family of streams, drawn from this one.
    pub fn seed(self) -> u64 {
        let b = self.block(u64::from(u32::MAX));
        u64::from(b[0]) | u64::from(b[1]) << 32
    }

    /// Four random words: block `i` of this stream.
    fn block(self, i: u64) -> [u32; 4] {
        philox(
            [
                i as u32,
                (i >> 32) as u32,
                self.index as u32,
                (self.index >> 32) as u32,
            ],
            self.key,
        )
    }

    /// Uniform numbers in [0, 1).
    pub fn uniform<T: Float>(self, out: &mut [T]) {
        pool::for_each_piece(out, 1024, |start, out| {
            fill(self.key, self.index, start, out, false)
        });
    }

    /// Uniform numbers in [0, 1) from draw `start` on: a part of what [`Stream::uniform`] gives.
    pub fn uniform_from<T: Float>(self, start: usize, out: &mut [T]) {
        fill(self.key, self.index, start, out, false);
    }

    /// Standard normal numbers, by Box and Muller.
    pub fn normal<T: Float>(self, out: &mut [T]) {
        pool::for_each_piece(out, 1024, |start, out| {
            fill(self.key, self.index, start, out, true)
        });
    }

    /// Whole numbers in `0..n`; the bias of at most `n / 2^64` is below notice.
    pub fn below(self, n: u64, out: &mut [u64]) {
        for (i, pair) in out.chunks_mut(2).enumerate() {
            let b = self.block(i as u64);
            for (value, words) in pair.iter_mut().zip(b.chunks_exact(2)) {
                let word = u64::from(words[0]) << 32 | u64::from(words[1]);
                *value = ((u128::from(word) * u128::from(n)) >> 64) as u64;
            }
        }
    }

    /// A random order of `0..n`, by Fisher and Yates.
    pub fn permutation(self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        let mut words = vec![0u64; n];
        self.below(u64::MAX, &mut words);
        for i in (1..n).rev() {
            let j = ((u128::from(words[i]) * (i as u128 + 1)) >> 64) as usize;
            order.swap(i, j);
        }
        order
    }

    /// A tensor of uniform numbers in [0, 1).
    pub fn rand(self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        self.tensor("rand", shape, dtype, false)
    }

    /// A tensor of standard normal numbers.
    pub fn randn(self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        self.tensor("randn", shape, dtype, true)
    }

    /// A tensor of whole numbers in `low..high`, as i64.
    pub fn randint(self, low: i64, high: i64, shape: &[usize]) -> Result<Tensor> {
        if low >= high {
            return Err(Error::Value {
                op: "randint",
                detail: format!("the range {low}..{high} is empty"),
            });
        }
        let count = memory::count("randint", shape)?;
        memory::ensure(count, 16)?;
        let mut words = vec![0u64; count];
        self.below(high.wrapping_sub(low) as u64, &mut words);
        Tensor::from_vec(
            words
                .into_iter()
                .map(|w| low.wrapping_add(w as i64))
                .collect(),
            shape,
        )
    }

    fn filled<T: Real>(self, count: usize, shape: &[usize], normal: bool) -> Result<Tensor> {
        let mut out = crate::tensor::space::<T>(count)?;
        if normal {
            self.normal(&mut out)
        } else {
            self.uniform(&mut out)
        }
        Tensor::from_vec(out, shape)
    }

    fn tensor(
        self,
        op: &'static str,
        shape: &[usize],
        dtype: DType,
        normal: bool,
    ) -> Result<Tensor> {
        let count = memory::count(op, shape)?;
        memory::ensure(count, dtype.size_in_bytes())?;
        let draw = |f32: bool| match f32 {
            true => self.filled::<f32>(count, shape, normal),
            false => self.filled::<f64>(count, shape, normal),
        };
        match dtype {
            DType::F32 => draw(true),
            DType::F64 => draw(false),
            // Rounding must not reach the 1 that uniform numbers stay below.
            DType::BF16 if !normal => draw(true)?.clamp(0.0, 1.0 - 1.0 / 256.0)?.to_dtype(dtype),
            DType::BF16 => draw(true)?.to_dtype(dtype),
            got => Err(Error::DType {
                op,
                expected: "a float dtype",
                got,
            }),
        }
    }
}

/// Ten rounds of Philox 4x32.
#[inline(always)]
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [
            key[0].wrapping_add(0x9E37_79B9),
            key[1].wrapping_add(0xBB67_AE85),
        ];
    }
    counter
}

/// Blocks made side by side, so that the compiler fills vectors with them.
const SIDE: usize = 16;

crate::simd! {
    /// Draws `start..` of a stream. f32 takes one word a number, f64 two; pairs of numbers share a
    /// Box-Muller transform, so a draw depends on its index alone.
    fn fill<T: Float>(key: [u32; 2], index: u64, start: usize, out: &mut [T], normal: bool) {
        let wide = size_of::<T>() == 8;
        let per_block = if wide { 2 } else { 4 };
        let chunk = SIDE * per_block;
        let mut first = start / chunk * chunk;
        let mut done = 0;
        while done < out.len() {
            let mut words = [[0u32; SIDE]; 4];
            let base = (first / per_block) as u64;
            let [w0, w1, w2, w3] = &mut words;
            let blocks = w0.iter_mut().zip(w1).zip(w2).zip(w3);
            for (i, (((w0, w1), w2), w3)) in (base..).zip(blocks) {
                let counter = [i as u32, (i >> 32) as u32, index as u32, (index >> 32) as u32];
                [*w0, *w1, *w2, *w3] = philox(counter, key);
            }
            let mut values = [T::ZERO; SIDE * 4];
            if wide { wide_values(&words, normal, &mut values) } else { narrow_values(&words, normal, &mut values) }
            let skip = start.saturating_sub(first);
            let n = (chunk - skip).min(out.len() - done);
            out[done..done + n].copy_from_slice(&values[skip..skip + n]);
            done += n;
            first += chunk;
        }
    }
}

/// f32: value `4 lane + k` from word `k` of block `lane`; normals from words (0, 1) and (2, 3).
#[inline(always)]
fn narrow_values<T: Float>(words: &[[u32; SIDE]; 4], normal: bool, values: &mut [T; SIDE * 4]) {
    let unit = |w: u32| (w >> 8) as f32 * (1.0 / 16_777_216.0);
    let mut lanes = words.map(|row| row.map(unit));
    if normal {
        let [a, b, c, d] = &mut lanes;
        for (first, second) in [(a, b), (c, d)] {
            for (u, v) in first.iter_mut().zip(second) {
                let radius = (-2.0 * ln(1.0 - *u)).sqrt();
                let (sin, cos) = sin_cos(std::f32::consts::TAU * *v);
                (*u, *v) = (radius * cos, radius * sin);
            }
        }
    }
    for (k, row) in lanes.iter().enumerate() {
        for (value, &x) in values[k..].iter_mut().step_by(4).zip(row) {
            *value = T::of(f64::from(x));
        }
    }
}

/// f64: value `2 lane + k` from words `2k, 2k + 1` of block `lane`; both are one Box-Muller pair.
#[inline(always)]
fn wide_values<T: Float>(words: &[[u32; SIDE]; 4], normal: bool, values: &mut [T; SIDE * 4]) {
    let unit = |high: u32, low: u32| {
        ((u64::from(high) << 32 | u64::from(low)) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    };
    for lane in 0..SIDE {
        let (mut a, mut b) = (
            unit(words[0][lane], words[1][lane]),
            unit(words[2][lane], words[3][lane]),
        );
        if normal {
            let radius = (-2.0 * (1.0 - a).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * b).sin_cos();
            (a, b) = (radius * cos, radius * sin);
        }
        values[2 * lane] = T::of(a);
        values[2 * lane + 1] = T::of(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_agrees_with_the_reference_vectors() {
        // Known-answer tests of the Random123 distribution.
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_draw_depends_on_its_index_alone() {
        let s = Stream::new(7, "noise").at(3);
        let mut long = vec![0f32; 200_003];
        s.normal(&mut long);
        let mut short = vec![0f32; 1001];
        s.normal(&mut short);
        assert_eq!(long[..1001], short[..]);
        let mut piece = vec![0f32; 777];
        fill(s.key, s.index, 50_001, &mut piece, true);
        assert_eq!(long[50_001..50_778], piece[..]);
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let n = 400_000usize;
        let s = Stream::new(1, "moments");
        let moments = |x: &[f64]| {
            let mean = x.iter().sum::<f64>() / n as f64;
            let central = |p: i32| x.iter().map(|v| (v - mean).powi(p)).sum::<f64>() / n as f64;
            (mean, central(2), central(3), central(4))
        };
        let mut x = vec![0f32; n];
        s.normal(&mut x);
        let mut wide = vec![0f64; n];
        s.normal(&mut wide);
        for x in [x.iter().map(|&v| f64::from(v)).collect(), wide] {
            let (mean, var, skew, kurt) = moments(&x);
            assert!(
                mean.abs() < 0.006 && (var - 1.0).abs() < 0.01,
                "{mean} {var}"
            );
            assert!(
                skew.abs() < 0.02 && (kurt - 3.0).abs() < 0.06,
                "{skew} {kurt}"
            );
        }
        let mut u = vec![0f64; n];
        s.at(1).uniform(&mut u);
        let (mean, var, ..) = moments(&u);
        assert!((mean - 0.5).abs() < 0.002 && (var - 1.0 / 12.0).abs() < 0.001);
        assert!(u.iter().all(|v| (0.0..1.0).contains(v)));
    }

    #[test]
    fn permutations_and_integers() {
        let mut p = Stream::new(0, "order").permutation(1000);
        assert_ne!(p[..5], [0, 1, 2, 3, 4]);
        p.sort_unstable();
        assert!(p.into_iter().eq(0..1000));
        let mut counts = [0u32; 5];
        let mut draws = vec![0u64; 50_000];
        Stream::new(3, "die").below(5, &mut draws);
        draws.iter().for_each(|&d| counts[d as usize] += 1);
        assert!(
            counts.iter().all(|&c| (9_500..10_500).contains(&c)),
            "{counts:?}"
        );
    }

    #[test]
    fn streams_differ() {
        let draw = |s: Stream| s.block(0);
        let base = Stream::new(0, "a");
        assert_ne!(draw(base), draw(Stream::new(0, "b")));
        assert_ne!(draw(base), draw(Stream::new(1, "a")));
        assert_ne!(draw(base), draw(base.at(1)));
    }
}
