//! A vector in 8 bits: a byte a number and an f32 a block.

use super::{Code, Codebook, cpu};
use crate::{
    Error, Result,
    pool::{self, Ptr},
    random::Stream,
    simd::math::Float,
};

/// How a number becomes one of the values around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// The nearest; of two as near ones the lower.
    #[default]
    Nearest,
    /// One of the two by chance, so that the mean is the number; draws are functions of the stream, the step and the place.
    Stochastic(Stream),
}

/// How a vector is written in 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writing {
    /// Numbers a block, at least 1.
    pub block: usize,
    /// How the values lie.
    pub code: Code,
    /// Whether there are negative values.
    pub signed: bool,
    /// Whether positive numbers never get the code of 0 (of an unsigned code alone).
    pub floor: bool,
    /// How numbers between two values are rounded.
    pub rounding: Rounding,
}

/// A vector in 8 bits.
#[derive(Clone)]
pub struct Blocks {
    codes: Vec<u8>,
    absmax: Vec<f32>,
    writing: Writing,
    book: &'static Codebook,
}

/// Most numbers that are written at once; larger blocks go in pieces.
pub(crate) const CHUNK: usize = 4096;

impl Blocks {
    /// Zeros.
    pub fn zeros(count: usize, writing: Writing) -> Self {
        let writing = Writing {
            block: writing.block.max(1),
            floor: writing.floor && !writing.signed,
            ..writing
        };
        let book = Codebook::of(writing.code, writing.signed);
        Self {
            codes: vec![book.zero(); count],
            absmax: vec![0.0; count.div_ceil(writing.block)],
            writing,
            book,
        }
    }

    /// A vector of finite numbers, quantized.
    pub fn of<T: Float>(x: &[T], writing: Writing) -> Self {
        let mut blocks = Self::zeros(x.len(), writing);
        let (block, absmax) = (blocks.writing.block, Ptr(blocks.absmax.as_mut_ptr()));
        let (book, writing) = (blocks.book, blocks.writing);
        pool::for_each_piece(&mut blocks.codes, quantum(block), |start, codes| {
            let x = &x[start..start + codes.len()];
            for (i, (codes, x)) in codes.chunks_mut(block).zip(x.chunks(block)).enumerate() {
                let top = cpu::largest(x);
                write(book, &writing, x, top, start + i * block, 0, codes);
                // SAFETY: pieces begin at blocks, so every entry is one piece's alone; there is one a block.
                unsafe { *absmax.at(start / block + i) = top };
            }
        });
        blocks
    }

    /// From codes and largest absolute values that were kept. Their numbers must fit.
    pub fn from_parts(codes: Vec<u8>, absmax: Vec<f32>, writing: Writing) -> Result<Self> {
        let zeros = Self::zeros(0, writing);
        let expected = codes.len().div_ceil(zeros.writing.block);
        if absmax.len() != expected {
            let (got, n, block) = (absmax.len(), codes.len(), zeros.writing.block);
            let detail =
                format!("{n} codes in blocks of {block} have {expected} absmax, got {got}");
            return Err(Error::Shape {
                op: "dequantize",
                detail,
            });
        }
        if absmax.iter().any(|top| !(top.is_finite() && *top >= 0.0)) {
            let detail = "absmax must be finite and >= 0".into();
            return Err(Error::Value {
                op: "dequantize",
                detail,
            });
        }
        Ok(Self {
            codes,
            absmax,
            ..zeros
        })
    }

    /// The numbers that it stands for.
    pub fn dequantize<T: Float>(&self, out: &mut [T]) {
        pool::for_each_piece(out, 1024, |start, out| self.read(start, out));
    }

    /// The numbers from `start` on.
    pub(crate) fn read<T: Float>(&self, start: usize, out: &mut [T]) {
        let (block, mut at) = (self.writing.block, 0);
        while at < out.len() {
            let from = start + at;
            let len = (block - from % block).min(out.len() - at);
            let codes = &self.codes[from..from + len];
            cpu::decode(
                self.book,
                codes,
                self.absmax[from / block],
                &mut out[at..at + len],
            );
            at += len;
        }
    }

    /// Its codes.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The largest absolute value of every block.
    pub fn absmax(&self) -> &[f32] {
        &self.absmax
    }

    /// How it is written.
    pub fn writing(&self) -> &Writing {
        &self.writing
    }

    /// Its values.
    pub fn book(&self) -> &'static Codebook {
        self.book
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.codes.len() + 4 * self.absmax.len()
    }

    /// Where codes and absmax lie, for passes that write blocks side by side.
    pub(crate) fn places(&mut self) -> (Ptr<u8>, Ptr<f32>) {
        (Ptr(self.codes.as_mut_ptr()), Ptr(self.absmax.as_mut_ptr()))
    }
}

/// Pieces for threads begin at multiples of this: whole blocks, at least a kilobyte of codes.
pub(crate) fn quantum(block: usize) -> usize {
    block.saturating_mul(1024usize.div_ceil(block))
}

/// Writes numbers of one block from place `start` of the vector on, given the block's largest absolute value.
pub(crate) fn write<T: Float>(
    book: &Codebook,
    writing: &Writing,
    x: &[T],
    absmax: f32,
    start: usize,
    step: u64,
    codes: &mut [u8],
) {
    if absmax == 0.0 {
        codes.fill(book.zero());
        return;
    }
    match writing.rounding {
        Rounding::Nearest => cpu::encode(book, x, absmax, writing.floor, codes),
        Rounding::Stochastic(stream) => {
            let mut u = [0f64; 64];
            let parts = x.chunks(u.len()).zip(codes.chunks_mut(u.len()));
            for (i, (x, codes)) in parts.enumerate() {
                let u = &mut u[..x.len()];
                stream.at(step).uniform_from(start + 64 * i, u);
                by_chance(book, writing.floor, x, absmax, u, codes);
            }
        }
    }
}

/// Stochastic rounding with given uniform numbers.
pub(crate) fn by_chance<T: Float>(
    book: &Codebook,
    floor: bool,
    x: &[T],
    absmax: f32,
    u: &[f64],
    codes: &mut [u8],
) {
    let least = if floor { f64::from(book.least()) } else { 0.0 };
    for ((x, u), code) in x.iter().zip(u).zip(codes) {
        let s = x.to_f64() / f64::from(absmax);
        let s = if s > 0.0 { s.max(least) } else { s };
        *code = book.stochastic(s, *u);
    }
}

impl Blocks {
    /// A vector of finite numbers, rounded by chance with given uniform numbers in [0, 1), one a number.
    pub fn of_uniform<T: Float>(x: &[T], u: &[f64], writing: Writing) -> Result<Self> {
        if u.len() != x.len() {
            let detail = format!("{} uniform numbers for {} numbers", u.len(), x.len());
            return Err(Error::Shape {
                op: "quantize",
                detail,
            });
        }
        let mut blocks = Self::zeros(x.len(), writing);
        let block = blocks.writing.block;
        let parts = x
            .chunks(block)
            .zip(u.chunks(block))
            .zip(blocks.codes.chunks_mut(block));
        for (((x, u), codes), absmax) in parts.zip(&mut blocks.absmax) {
            *absmax = cpu::largest(x);
            if *absmax > 0.0 {
                by_chance(blocks.book, blocks.writing.floor, x, *absmax, u, codes);
            }
        }
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writing(block: usize, signed: bool) -> Writing {
        Writing {
            block,
            code: Code::default(),
            signed,
            floor: false,
            rounding: Rounding::Nearest,
        }
    }

    #[test]
    fn blocks_of_any_size_come_back_within_a_step() {
        for (n, block) in [
            (0, 4),
            (1, 8),
            (1000, 256),
            (70_001, 2048),
            (5000, 100_000),
            (40_000, 7),
        ] {
            let mut x = vec![0f64; n];
            Stream::new(3, "x").normal(&mut x);
            let blocks = Blocks::of(&x, writing(block, true));
            assert_eq!(blocks.bytes(), n + 4 * n.div_ceil(block));
            let mut back = vec![0f64; n];
            blocks.dequantize(&mut back);
            for (i, (x, y)) in x.iter().zip(&back).enumerate() {
                let top = f64::from(blocks.absmax()[i / block]);
                assert!((x - y).abs() <= 0.0071 * top, "{i} of {n}: {x} {y}");
            }
            let again = Blocks::from_parts(
                blocks.codes().into(),
                blocks.absmax().into(),
                writing(block, true),
            );
            let mut same = vec![0f64; n];
            again.unwrap().dequantize(&mut same);
            assert_eq!(back, same);
        }
        assert!(Blocks::from_parts(vec![0; 9], vec![1.0], writing(8, true)).is_err());
        assert!(Blocks::from_parts(vec![0; 8], vec![f32::NAN], writing(8, true)).is_err());
    }

    #[test]
    fn rounding_by_chance_keeps_the_mean_and_depends_on_the_place_alone() {
        let n = 40_000;
        let mut x = vec![0.3217f32; n];
        x[0] = 1.0;
        let chance = Writing {
            rounding: Rounding::Stochastic(Stream::new(1, "r")),
            ..writing(n, false)
        };
        let blocks = Blocks::of(&x, chance);
        let mut back = vec![0f32; n];
        blocks.dequantize(&mut back);
        let mean = back[1..].iter().map(|v| f64::from(*v)).sum::<f64>() / (n - 1) as f64;
        assert!((mean - 0.3217).abs() < 5e-5, "{mean}");
        let two: std::collections::BTreeSet<u8> = blocks.codes()[1..].iter().copied().collect();
        assert_eq!(two.len(), 2);
        // The same draws in blocks of another size.
        let small = Blocks::of(&x[..100], chance);
        assert_eq!(small.codes(), &blocks.codes()[..100]);
        let given = Blocks::of_uniform(&[1.0f32, 0.5], &[0.2], chance);
        assert!(given.is_err());
    }
}
