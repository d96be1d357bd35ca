//! The innermost loops of a product: a tile of the result stays in registers while a panel of the left operand meets a
//! panel of the right one.
//!
//! Each number of a tile is one chain of fused multiply-adds over k, whatever the tile's size and the instruction set: how
//! rows and columns are cut never shows in a result.

use crate::simd::{self, Level};

/// Numbers of a block of k, by type. The panel of the left operand then takes half of the first cache.
const DEPTH_F32: usize = 512;
const DEPTH_F64: usize = 256;

/// Places between the columns of a left panel that lies by columns.
pub(crate) const COLUMN_STEP: usize = 16;

/// `out = a b` (or `out += a b`) for a tile: `k`, `a`, `b`, the step of `b`, `out`, the step of `out`, whether to add.
///
/// The left panel lies by rows, [`Tiles::row_step`] apart, or by columns, [`COLUMN_STEP`] apart.
pub type Tile<T> = unsafe fn(usize, *const T, *const T, usize, *mut T, usize, bool);

/// The tiles of an instruction set.
pub struct Kernels<T> {
    /// Most rows of a tile.
    pub rows: usize,
    /// Numbers of a register; a tile is one or two wide.
    pub lanes: usize,
    /// The tile with so many rows and registers a row, for a left panel that lies by rows (`true`) or by columns.
    pub tile: fn(usize, usize, bool) -> Tile<T>,
}

/// A type with tiles of its own.
pub trait Tiles: Copy + Sized + 'static {
    /// Longest block of k: the same for all instruction sets, so that they give the same bits.
    const DEPTH: usize;

    /// Places between the rows of a left panel: not a power of two, which would crowd a few places of the cache.
    const ROW_STEP: usize = Self::DEPTH + 64 / size_of::<Self>();

    /// The tiles of a level that the machine has; none at the scalar level.
    fn at(level: Level) -> Option<&'static Kernels<Self>>;

    /// The tiles in use.
    fn kernels() -> Option<&'static Kernels<Self>> {
        Self::at(simd::level())
    }
}

macro_rules! tiles {
    ($t:ty, $depth:expr, $avx512:ident, $avx2:ident) => {
        impl Tiles for $t {
            const DEPTH: usize = $depth;

            #[cfg(target_arch = "x86_64")]
            fn at(level: Level) -> Option<&'static Kernels<Self>> {
                match level {
                    Level::Avx512 => Some(&$avx512::KERNELS),
                    Level::Avx2 => Some(&$avx2::KERNELS),
                    Level::Scalar => None,
                }
            }

            #[cfg(not(target_arch = "x86_64"))]
            fn at(_: Level) -> Option<&'static Kernels<Self>> {
                None
            }
        }
    };
}
tiles!(f32, DEPTH_F32, avx512_f32, avx2_f32);
tiles!(f64, DEPTH_F64, avx512_f64, avx2_f64);

/// The same loop with the intrinsics of a type and an instruction set: these are no trait's methods, as a function that is
/// compiled for an instruction set is called, not inlined, through one.
#[cfg(target_arch = "x86_64")]
macro_rules! kernels {
    ($name:ident, $t:ty, $features:literal, $lanes:literal, $most:literal: $($rows:literal)*,
     $zero:ident, $load:ident, $store:ident, $set:ident, $fma:ident, $add:ident) => {
        mod $name {
            use std::arch::x86_64::*;

            use super::{COLUMN_STEP, Kernels, Tile, Tiles};

            pub(super) static KERNELS: Kernels<$t> = Kernels { rows: $most, lanes: $lanes, tile: pick };

            fn pick(rows: usize, registers: usize, by_rows: bool) -> Tile<$t> {
                let at = rows.clamp(1, $most) - 1;
                match (registers, by_rows) {
                    (1, true) => [$(tile::<$rows, 1, true> as Tile<$t>),*][at],
                    (1, false) => [$(tile::<$rows, 1, false> as Tile<$t>),*][at],
                    (_, true) => [$(tile::<$rows, 2, true> as Tile<$t>),*][at],
                    (_, false) => [$(tile::<$rows, 2, false> as Tile<$t>),*][at],
                }
            }

            /// A tile of `M` rows, `V` registers each.
            ///
            /// # Safety
            /// The panels hold `k` columns and rows, `out` the tile; the machine has the instructions.
            #[target_feature(enable = $features)]
            unsafe fn tile<const M: usize, const V: usize, const BY_ROWS: bool>(
                k: usize,
                mut a: *const $t,
                mut b: *const $t,
                b_step: usize,
                out: *mut $t,
                step: usize,
                add: bool,
            ) {
                let (across, down) = match BY_ROWS {
                    true => (1, <$t>::ROW_STEP),
                    false => (COLUMN_STEP, 1),
                };
                let mut sums = [[$zero(); V]; M];
                for row in 0..M {
                    _mm_prefetch::<_MM_HINT_T0>(out.wrapping_add(row * step).cast());
                    _mm_prefetch::<_MM_HINT_T0>(out.wrapping_add(row * step + V * $lanes - 1).cast());
                }
                for _ in 0..k {
                    // SAFETY: within the panels, as promised.
                    unsafe {
                        let mut right = [$zero(); V];
                        for v in 0..V { right[v] = $load(b.add(v * $lanes)) }
                        for row in 0..M {
                            let left = $set(*a.add(row * down));
                            for v in 0..V { sums[row][v] = $fma(left, right[v], sums[row][v]) }
                        }
                    }
                    a = a.wrapping_add(across);
                    b = b.wrapping_add(b_step);
                }
                for row in 0..M {
                    for v in 0..V {
                        let place = out.wrapping_add(row * step + v * $lanes);
                        // SAFETY: within the tile, as promised.
                        unsafe {
                            let sum = if add { $add($load(place), sums[row][v]) } else { sums[row][v] };
                            $store(place, sum);
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernels!(
    avx512_f32, f32, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma", 16, 14: 1 2 3 4 5 6 7 8 9 10 11 12 13 14,
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx512_f64, f64, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma", 8, 14: 1 2 3 4 5 6 7 8 9 10 11 12 13 14,
    _mm512_setzero_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_set1_pd, _mm512_fmadd_pd, _mm512_add_pd
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx2_f32, f32, "avx2,fma", 8, 6: 1 2 3 4 5 6,
    _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx2_f64, f64, "avx2,fma", 4, 6: 1 2 3 4 5 6,
    _mm256_setzero_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_add_pd
);
