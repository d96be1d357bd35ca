//! Convolutions with kernels of 3 x 3 at stride 1 by Winograd's algorithm F(2 x 2, 3 x 3) (Lavin and Gray 2016, arXiv
//! 1509.09308): for a tile of 2 x 2 of y, which sees 4 x 4 of x, 16 multiplications do for 36.
//!
//! ```text
//! Y = A^T [sum_c (G g_c G^T) (B^T d_c B)] A,    elementwise products,    dg = G^T [sum_tiles (B^T d B) (A dY A^T)] G
//!
//! B^T = 1  0 -1  0    G = 1    0    0      A^T = 1  1  1  0
//!       0  1  1  0        1/2  1/2  1/2          0  1 -1 -1
//!       0 -1  1  0        1/2 -1/2  1/2
//!       0  1  0 -1        0    0    1
//! ```
//!
//! The products of all channels and tiles are 16 products of matrices, a matrix for each element of a tile. Tiles of all
//! samples stand side by side, so small images fill the registers as large ones do.

mod forward;
mod grid;
mod transform;
mod weights;

use std::ops::Range;

pub(super) use self::{forward::forward, weights::weights};
use self::{
    grid::{Grid, LANES, Pick, Segment, Step},
    transform::{Kind, Places},
};
use super::geometry::Geometry;
use crate::{
    Real,
    ops::matmul::{COLUMN_STEP, Kernels, even, pieces},
    pool,
    simd::transpose::transpose,
};

/// Fewest channels of either side for which the transforms pay.
const CHANNELS: usize = 16;

/// Bytes of the transformed tiles of a block: half of a second-level cache.
const BLOCK: usize = 1 << 19;

/// Elements of a transformed tile.
const ELEMENTS: usize = 16;

/// Numbers between the elements' transforms: without it the sixteen that are written side by side would share a set of
/// the cache.
const PAD: usize = 3 * LANES;

/// Scratch from where vectors lie in whole lines of the cache; it has [`LANES`] numbers more than are needed.
fn aligned<T>(scratch: &mut [T]) -> &mut [T] {
    let skip = scratch.as_ptr().align_offset(64).min(LANES);
    &mut scratch[skip..]
}

/// Whether a convolution goes this way: at the scalar level, of few channels and where too much of the last tiles would
/// lie outside of the image, it does not.
pub(super) fn fits<T: Real>(geo: &Geometry) -> bool {
    let is_plain = geo.kernel == [3, 3] && geo.stride == [1, 1] && geo.dilation == [1, 1];
    // Of what the tiles cover, the part that lies in the image.
    let inner = geo.out.map(|n| n as f64 / n.next_multiple_of(2) as f64);
    let pays = inner[0] * inner[1] >= 2.0 / 3.0;
    is_plain && pays && geo.inputs.min(geo.outputs) >= CHANNELS && T::kernels().is_some()
}

/// The tiles of `x`.
fn grid_of_x(geo: &Geometry) -> Grid {
    Grid {
        size: geo.size,
        padding: geo.padding,
        tiles: geo.out.map(|n| n.div_ceil(2)),
        side: 4,
        sample: geo.groups * geo.inputs * geo.plane(),
    }
}

/// The tiles of `y`.
fn grid_of_y(geo: &Geometry) -> Grid {
    Grid {
        size: geo.out,
        padding: [0, 0],
        side: 2,
        sample: geo.groups * geo.outputs * geo.positions(),
        ..grid_of_x(geo)
    }
}

/// What of the transforms is wanted: whose tiles', and which rows of the result.
struct Part<'a> {
    kind: Kind,
    picks: &'a [Pick],
    is: Range<usize>,
}

/// The tiles that a task transforms at a time, a grid's.
struct Block<'a> {
    grid: &'a Grid,
    segments: Vec<Segment>,
    steps: Vec<Step>,
    tiles: usize,
}

impl<'a> Block<'a> {
    fn new(grid: &'a Grid, rows: Range<usize>, stride: usize) -> Self {
        let (tiles, segments) = (rows.len() * grid.tiles[1], grid.segments(rows));
        let mut steps = Vec::new();
        segments
            .iter()
            .for_each(|segment| grid.steps(segment, stride, &mut steps));
        Self {
            grid,
            segments,
            steps,
            tiles,
        }
    }

    /// The transforms of channels.
    fn transform<T: Real>(
        &self,
        Part { kind, picks, is }: &Part,
        x: &[T],
        channels: Range<usize>,
        scratch: &mut [T],
        places: Places,
        out: &mut [T],
    ) {
        let (plane, stride) = (
            self.grid.size[0] * self.grid.size[1],
            scratch.len() / ELEMENTS,
        );
        for (i, at) in channels.enumerate() {
            let x = x.as_ptr().wrapping_add(at * plane);
            // SAFETY: inner places of a window lie in the channel's image of the segment's sample; its tiles in the block.
            unsafe { transform::rows(*kind, picks, &self.steps, (x, plane), scratch, stride) };
            transform::columns(
                *kind,
                is,
                scratch,
                stride,
                self.tiles,
                places,
                &mut out[i * places.channel..],
            );
        }
    }
}

/// The blocks of so many rows, `most` a block, as even in number as threads can share.
fn blocks(rows: usize, most: usize) -> Vec<Range<usize>> {
    let count = rows.div_ceil(most).next_multiple_of(pool::global().parts());
    pieces(rows, rows.div_ceil(count).max(1), 1).collect()
}

/// The transformed kernels of the groups, `[groups][panels][16][inputs][COLUMN_STEP]`: panels of outputs as a product's left
/// operand lies, by columns. With `mirror` those of the transposed convolution, of which `geo` tells.
fn kernels<T: Real>(geo: &Geometry, kernels: &Kernels<T>, w: &[T], mirror: bool) -> Vec<T> {
    let (inputs, outputs) = (geo.inputs, geo.outputs);
    let panels: Vec<_> = even(outputs, outputs.div_ceil(kernels.rows)).collect();
    let size = ELEMENTS * inputs * COLUMN_STEP;
    let mut out = vec![T::ZERO; geo.groups * panels.len() * size];
    pool::for_each_costly_piece(&mut out, size, 4, |start, out| {
        let mut taps = vec![T::ZERO; 9 * inputs * LANES];
        for (i, out) in out.chunks_exact_mut(size).enumerate() {
            let (group, rows) = (
                (start / size + i) / panels.len(),
                &panels[(start / size + i) % panels.len()],
            );
            let w = &w[group * outputs * inputs * 9..][..outputs * inputs * 9];
            // The elements of the kernels by rows, an output a column.
            if mirror {
                for (w, taps) in w
                    .chunks_exact(outputs * 9)
                    .zip(taps.chunks_exact_mut(9 * LANES))
                {
                    let w = w[rows.start * 9..rows.end * 9].as_ptr();
                    // SAFETY: nine elements of as many kernels as the panel has rows, at most LANES.
                    unsafe { transpose(w, 9, taps.as_mut_ptr(), LANES, 9, rows.len()) };
                }
            } else {
                let w = w[rows.start * inputs * 9..rows.end * inputs * 9].as_ptr();
                // SAFETY: all elements of as many outputs as the panel has rows, at most LANES.
                unsafe {
                    transpose(
                        w,
                        inputs * 9,
                        taps.as_mut_ptr(),
                        LANES,
                        inputs * 9,
                        rows.len(),
                    )
                };
            }
            for (c, taps) in taps.chunks_exact(9 * LANES).enumerate() {
                transform::kernels(
                    taps,
                    mirror,
                    &mut out[c * COLUMN_STEP..],
                    inputs * COLUMN_STEP,
                );
            }
        }
    });
    out
}
