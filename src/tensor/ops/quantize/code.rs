//! The 256 values that a byte stands for, and what encoding looks up.
//!
//! **Dynamic** (Dettmers 2015, arXiv 1511.04561): decades from 1 downward, each with half as many values as the one
//! above it. For i = 0, .., e - 1 (e exponent positions, 7 by default) the boundaries
//! `linspace(0.1, 1, k + 1)`, k = 2^(i + 7 - e) (signed) or 2^(i + 8 - e) (unsigned), have their midpoints times
//! 10^(i - e + 1) as values; signed adds the negatives; both add 0 and 1. With fewer positions than 7 the places
//! that are left over are midpoints of as many equal parts of [0.1, 1].
//! **Linear**: equal steps, for comparison; signed it has two zeros, as in bitsandbytes.

use std::sync::OnceLock;

use super::stretches::Stretches;

/// Values that a byte has.
pub const CODES: usize = 256;

/// Exponent positions of the dynamic code when nothing else is asked for; the most that fit.
pub const EXPONENTS: usize = 7;

/// How the values of a code lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Relative steps, with so many decades (1 to 7).
    Dynamic(usize),
    /// Equal steps.
    Linear,
}

impl Default for Code {
    fn default() -> Self {
        Self::Dynamic(EXPONENTS)
    }
}

/// The values of a code, ascending, and the tables with which a value finds its nearest one.
pub struct Codebook {
    map: [f32; CODES],
    signed: bool,
    zero: u8,
    /// For each code the largest number that still belongs to it; numbers beyond belong to the code above.
    pub(super) ends: [f32; CODES],
    /// The code that has the same value as the one above it (the linear code has two zeros), which is passed over; -1: none.
    pub(super) twin: i32,
    /// The lowest code of every cell of numbers, see [`cell`]; and three bytes more, so that four can be read at each.
    pub(super) cells: Vec<u8>,
    /// The ends in the order of a search from the middle; see [`Levels`].
    pub(super) levels: Levels,
    /// Lower and upper halves of the values, for permutations of words.
    pub(super) halves: [[u16; CODES]; 2],
    /// The four bytes of the values from the lowest on, for permutations of bytes.
    pub(super) bytes: [[u8; CODES]; 4],
    /// What a calculation of the code looks up; the dynamic code of all decades has it.
    pub(super) stretches: Option<Stretches>,
}

/// Level L holds the 2^L ends that a search compares with after L comparisons, at the number whose bit i is the
/// outcome of comparison i. All have 16 floats a row; short levels are padded.
pub(super) struct Levels(pub [[f32; 16]; 20]);

/// The rows of [`Levels`] at which a level begins.
pub(super) const LEVEL_ROWS: [usize; 8] = [0, 1, 2, 3, 4, 5, 7, 11];

/// Bits of the mantissa that tell cells apart: cells are narrower than the steps of every code.
pub(super) const CELL_SHIFT: u32 = 23 - 8;

/// Numbers below 2^-24 lie in the first cell: no end is that small.
pub(super) const SMALLEST: i32 = (127 - 24) << 23;

/// Cells of one sign: 24 octaves and the number 1.
pub(super) const CELLS: usize = (24 << 8) + 1;

/// The cell of a number in [-1, 1].
#[inline(always)]
pub(super) fn cell(s: f32) -> u32 {
    let bits = s.to_bits();
    let size = ((bits & 0x7fff_ffff) as i32 - SMALLEST).max(0) as u32 >> CELL_SHIFT;
    size + (bits >> 31) * CELLS as u32
}

impl Codebook {
    /// The code book of a code, made once. Exponent positions beyond 1 to 7 are taken as the nearest of these.
    pub fn of(code: Code, signed: bool) -> &'static Self {
        static BOOKS: [[OnceLock<Codebook>; EXPONENTS + 1]; 2] =
            [const { [const { OnceLock::new() }; EXPONENTS + 1] }; 2];
        let (place, code) = match code {
            Code::Linear => (0, code),
            Code::Dynamic(positions) => {
                let positions = positions.clamp(1, EXPONENTS);
                (positions, Code::Dynamic(positions))
            }
        };
        BOOKS[usize::from(signed)][place].get_or_init(|| Self::new(code, signed))
    }

    fn new(code: Code, signed: bool) -> Self {
        let values = match code {
            Code::Dynamic(positions) => dynamic(positions, signed),
            Code::Linear => linear(signed),
        };
        let map: [f32; CODES] = std::array::from_fn(|i| values.get(i).map_or(1.0, |v| *v as f32));
        let ends = ends(&map);
        let code_of = |s: f32| ends[..CODES - 1].partition_point(|end| *end < s) as u8;
        let lowest = |i: usize| {
            let (size, negative) = (i % CELLS, i >= CELLS);
            let bits = |size: usize| ((size as u32) << CELL_SHIFT) + SMALLEST as u32;
            match (negative, size) {
                (false, 0) => code_of(0.0),
                (false, size) => code_of(f32::from_bits(bits(size))),
                (true, size) => code_of(-f32::from_bits(bits(size + 1) - 1).min(1.0)),
            }
        };
        let zero = code_of(0.0);
        let half = |shift: u32| std::array::from_fn(|i| (map[i].to_bits() >> shift) as u16);
        let byte = |k: usize| std::array::from_fn(|i| map[i].to_le_bytes()[k]);
        Self {
            zero,
            cells: (0..if signed { 2 * CELLS } else { CELLS })
                .map(lowest)
                .chain([0; 3])
                .collect(),
            twin: (map.windows(2).position(|pair| pair[0] == pair[1])).map_or(-1, |i| i as i32),
            levels: levels(&ends),
            halves: [half(0), half(16)],
            bytes: [byte(0), byte(1), byte(2), byte(3)],
            stretches: (code == Code::default())
                .then(|| Stretches::new(signed, &ends[usize::from(zero)..])),
            map,
            signed,
            ends,
        }
    }

    /// The values, ascending.
    pub fn map(&self) -> &[f32; CODES] {
        &self.map
    }

    /// Whether it has negative values.
    pub fn signed(&self) -> bool {
        self.signed
    }

    /// The code of 0.
    pub fn zero(&self) -> u8 {
        self.zero
    }

    /// The smallest positive value.
    pub fn least(&self) -> f32 {
        (self.map.iter().copied().find(|v| *v > 0.0)).unwrap_or(1.0)
    }

    /// The code whose value is nearest to a number in [-1, 1]; of two as near ones the lower.
    #[inline(always)]
    pub fn nearest(&self, s: f32) -> u8 {
        self.nearest_in(cell(s) as usize, s)
    }

    /// The same where the number's cell is known.
    #[inline(always)]
    pub(super) fn nearest_in(&self, cell: usize, s: f32) -> u8 {
        // A negative number has no cell where there are no negative values.
        let low = self.cells.get(cell).copied().unwrap_or(0);
        if s > self.ends[usize::from(low)] {
            low + 1 + u8::from(i32::from(low) == self.twin)
        } else {
            low
        }
    }

    /// One of the two codes around a number: the upper one where `u`, uniform in [0, 1), is below the number's share of
    /// the way to it, so that the mean is the number. Below the first value: code 0.
    pub fn stochastic(&self, s: f64, u: f64) -> u8 {
        let near = self.nearest(s as f32);
        let value = |code: u8| f64::from(self.map[usize::from(code)]);
        let mut low = near;
        while low > 0 && value(low) >= s {
            low -= 1;
        }
        if value(low) >= s {
            return low;
        }
        let mut high = low.saturating_add(1);
        while high < u8::MAX && value(high) < s {
            (low, high) = (high, high + 1);
        }
        let share = (s - value(low)) / (value(high) - value(low));
        if u < share { high } else { low }
    }
}

/// The values of the dynamic code in f64, ascending.
fn dynamic(positions: usize, signed: bool) -> Vec<f64> {
    let midpoints =
        |count: usize| (0..count).map(move |j| 0.1 + 0.9 * (j as f64 + 0.5) / count as f64);
    let wider = if signed { 7 } else { 8 };
    let mut sizes: Vec<f64> = (0..positions)
        .flat_map(|i| {
            let scale = 10f64.powi(i as i32 + 1 - positions as i32);
            midpoints(1 << (i + wider - positions)).map(move |v| scale * v)
        })
        .collect();
    let places = if signed { CODES / 2 } else { CODES };
    sizes.extend(midpoints(
        if signed { places - 1 } else { places - 2 } - sizes.len(),
    ));
    let negatives: Vec<f64> = sizes.iter().filter(|_| signed).map(|v| -v).collect();
    sizes.extend(negatives);
    sizes.extend([0.0, 1.0]);
    sizes.sort_by(f64::total_cmp);
    sizes
}

/// The values of the linear code in f64, ascending.
fn linear(signed: bool) -> Vec<f64> {
    if !signed {
        return (0..CODES).map(|i| i as f64 / 255.0).collect();
    }
    let negative = (1..=127).rev().map(|i| -f64::from(i) / 127.0);
    let positive = (1..=127).map(|i| f64::from(i) / 127.0);
    negative.chain([0.0, 0.0]).chain(positive).collect()
}

/// For each code the largest f32 that is nearest to it. Of equal values only the first is ever given: they end together.
fn ends(map: &[f32; CODES]) -> [f32; CODES] {
    let mut ends = [f32::INFINITY; CODES];
    for i in (0..CODES - 1).rev() {
        ends[i] = if map[i] == map[i + 1] {
            ends[i + 1]
        } else {
            down((f64::from(map[i]) + f64::from(map[i + 1])) / 2.0)
        };
    }
    ends
}

/// The largest f32 that is at most x.
fn down(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) > x {
        near.next_down()
    } else {
        near
    }
}

fn levels(ends: &[f32; CODES]) -> Levels {
    let mut rows = [[f32::INFINITY; 16]; 20];
    for (level, &first) in LEVEL_ROWS.iter().enumerate() {
        for n in 0..1usize << level {
            let path = (0..level).fold(0, |path, i| 2 * path + (n >> i & 1));
            let index = ((2 * path + 1) << (7 - level)) - 1;
            rows[first + n / 16][n % 16] = ends[index];
        }
    }
    Levels(rows)
}
