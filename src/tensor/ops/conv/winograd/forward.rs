//! The convolution itself, and the transposed one that is a convolution: block by block of tiles, all of it near.

use super::{
    BLOCK, Block, ELEMENTS, PAD, Part, aligned, blocks,
    grid::LANES,
    grid_of_x, kernels,
    transform::{self, Kind, PANEL, Places},
};
use crate::{
    Real, Result,
    ops::{
        conv::{
            cpu::{TASKS, for_tasks},
            geometry::Geometry,
        },
        matmul::{COLUMN_STEP, Kernels, even, pieces},
    },
    pool::Ptr,
};

/// `F(x, w) + b` into `y`, all of which is written; with `mirror` the transposed convolution that `geo` tells of as a plain one.
pub(in crate::ops::conv) fn forward<T: Real>(
    geo: &Geometry,
    [x, w, bias]: [&[T]; 3],
    mirror: bool,
    y: Ptr<T>,
) -> Result<()> {
    let Some(tiles) = T::kernels() else {
        return Ok(());
    };
    let (grid, u) = (grid_of_x(geo), kernels(geo, tiles, w, mirror));
    let (picks, [down, across]) = (grid.picks(), grid.tiles);
    let near = BLOCK / (ELEMENTS * geo.inputs * size_of::<T>());
    let most = near.min((geo.batch * down * across / TASKS).max(2 * PANEL));
    let blocks = blocks(geo.batch * down, (most / across).max(1));
    let longest = blocks
        .first()
        .map_or(0, |block| (block.len() * across).next_multiple_of(PANEL));
    let pass = Forward {
        geo,
        kernels: tiles,
        u: &u,
        longest,
    };
    let sizes = pass.sizes();
    let work = geo.outputs * geo.inputs * longest * ELEMENTS;
    for_tasks::<T>(
        geo.groups * blocks.len(),
        work,
        sizes.iter().sum::<usize>() + LANES,
        |task, scratch, _| {
            let (group, rows) = (task / blocks.len(), blocks[task % blocks.len()].clone());
            let block = Block::new(&grid, rows, longest + LANES);
            let (v, scratch) = aligned(scratch).split_at_mut(sizes[0]);
            let (rows, scratch) = scratch.split_at_mut(sizes[1]);
            let places = Places {
                channel: PANEL,
                panel: PANEL * geo.inputs,
                element: pass.element(),
            };
            let channels = group * geo.inputs..(group + 1) * geo.inputs;
            let part = Part {
                kind: Kind::X,
                picks: &picks,
                is: 0..4,
            };
            block.transform(&part, x, channels, rows, places, v);
            pass.products(&block, group, v, bias, scratch, y);
        },
    )
}

/// What the tasks of a convolution share.
struct Forward<'a, T: 'static> {
    geo: &'a Geometry,
    kernels: &'static Kernels<T>,
    u: &'a [T],
    /// Tiles of the longest block, whole panels.
    longest: usize,
}

impl<T: Real> Forward<'_, T> {
    /// Numbers of scratch: transformed tiles, their rows, products of a panel, rows of the output.
    fn sizes(&self) -> [usize; 4] {
        let longest = self.longest;
        [
            ELEMENTS * self.element(),
            ELEMENTS * (longest + LANES),
            ELEMENTS * self.kernels.rows * longest,
            4 * longest,
        ]
    }

    /// Between the elements of the transformed tiles.
    fn element(&self) -> usize {
        self.geo.inputs * self.longest + PAD
    }

    /// Panel by panel of the outputs: the products of all elements, and what they give while they are near.
    fn products(
        &self,
        block: &Block,
        group: usize,
        v: &[T],
        bias: &[T],
        scratch: &mut [T],
        y: Ptr<T>,
    ) {
        let (geo, stride) = (self.geo, self.longest);
        let panels = geo.outputs.div_ceil(self.kernels.rows);
        let size = ELEMENTS * geo.inputs * COLUMN_STEP;
        let (m, pairs) = scratch.split_at_mut(self.sizes()[2]);
        let (upper, lower) = pairs.split_at_mut(2 * stride);
        let used = 2 * block.tiles.next_multiple_of(LANES);
        for (panel, rows) in even(geo.outputs, panels).enumerate() {
            let u = &self.u[(group * panels + panel) * size..][..size];
            for e in 0..ELEMENTS {
                let (u, v) = (&u[e * size / ELEMENTS..], &v[e * self.element()..]);
                self.product(
                    rows.len(),
                    block.tiles,
                    u,
                    v,
                    &mut m[e * rows.len() * stride..],
                );
            }
            for (row, channel) in rows.clone().enumerate() {
                let channel = group * geo.outputs + channel;
                let b = bias.get(channel).copied().unwrap_or(T::ZERO);
                let m = &m[row * stride..];
                transform::outputs(
                    m,
                    rows.len() * stride,
                    b,
                    &mut upper[..used],
                    &mut lower[..used],
                );
                self.spread(block, channel, [upper, lower], y);
            }
        }
    }

    /// An element's product, `[rows, inputs] x [inputs, tiles]`.
    fn product(&self, rows: usize, tiles: usize, u: &[T], v: &[T], m: &mut [T]) {
        let (inputs, lanes) = (self.geo.inputs, self.kernels.lanes);
        for at in (0..tiles).step_by(2 * lanes) {
            let registers = if tiles - at <= lanes { 1 } else { 2 };
            let kernel = (self.kernels.tile)(rows, registers, false);
            for deep in pieces(inputs, T::DEPTH, 1) {
                let a = &u[deep.start * COLUMN_STEP..][..deep.len() * COLUMN_STEP];
                let b = &v[(at / PANEL * inputs + deep.start) * PANEL + at % PANEL..];
                let out = &mut m[at..];
                debug_assert!(out.len() >= (rows - 1) * self.longest + registers * lanes);
                // SAFETY: the panels hold the columns and rows, `m` whole registers of each row; the level has these tiles.
                unsafe {
                    kernel(
                        deep.len(),
                        a.as_ptr(),
                        b.as_ptr(),
                        PANEL,
                        out.as_mut_ptr(),
                        self.longest,
                        deep.start > 0,
                    )
                };
            }
        }
    }

    /// Puts a channel's tiles where they belong.
    fn spread(&self, block: &Block, channel: usize, rows: [&[T]; 2], y: Ptr<T>) {
        let ([height, width], across) = (self.geo.out, block.grid.tiles[1]);
        for segment in &block.segments {
            let at =
                (segment.sample * self.geo.groups * self.geo.outputs + channel) * height * width;
            for (i, tile) in segment.rows.clone().enumerate() {
                let from = 2 * (segment.start + i * across);
                for (half, rows) in rows
                    .iter()
                    .enumerate()
                    .filter(|(half, _)| 2 * tile + half < height)
                {
                    // SAFETY: a row of this channel of this sample; only this task has its tiles.
                    let y = unsafe { y.slice(at + (2 * tile + half) * width, width) };
                    copy_short(&rows[from..from + width], y);
                }
            }
        }
    }
}

/// Copies few numbers: a call of the system's copy would take longer.
#[inline]
fn copy_short<T: Copy>(from: &[T], to: &mut [T]) {
    let (from, rest) = from.as_chunks::<4>();
    let (to, last) = to.as_chunks_mut::<4>();
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from
    }
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from
    }
}
