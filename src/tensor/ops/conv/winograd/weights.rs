//! The gradient by the kernels: sums over all tiles, an element of the transformed kernels at a time.

use std::ops::Range;

use super::{
    BLOCK, Block, ELEMENTS, PAD, Part, aligned,
    grid::{Grid, LANES, Pick},
    grid_of_x, grid_of_y,
    transform::{self, Kind, PANEL, Places},
};
use crate::{
    Real, Result,
    ops::{
        conv::{cpu::for_tasks, geometry::Geometry},
        matmul::{Matrix, gemm_into, pieces},
    },
    pool::{self, Ptr},
    simd::transpose::transpose,
    tensor::buffer,
};

/// Most tiles of a block.
const LONGEST: usize = 512;

/// The elements and outputs of a group that a task sums.
struct Task {
    group: usize,
    /// Rows of the elements.
    is: Range<usize>,
    outputs: Range<usize>,
}

/// What the tasks share. The blocks are the same for any number of threads, as they are the order of the sums.
struct Weights<'a> {
    geo: &'a Geometry,
    grids: [Grid; 2],
    picks: [Vec<Pick>; 2],
    blocks: Vec<Range<usize>>,
    longest: usize,
}

/// `W(x, y)` into `w`.
pub(in crate::ops::conv) fn weights<T: Real>(
    geo: &Geometry,
    xy: [&[T]; 2],
    w: Ptr<T>,
) -> Result<()> {
    let (pass, [inputs, outputs]) = (Weights::new::<T>(geo), [geo.inputs, geo.outputs]);
    let mut u = buffer::<T>(geo.groups * ELEMENTS * inputs * outputs)?;
    let base = Ptr(u.as_mut_ptr());
    // The rows of elements are cut where there are not groups enough, then the outputs.
    let wanted = pool::global().parts().div_ceil(geo.groups);
    let cuts = [
        wanted.next_power_of_two().min(4),
        wanted.div_ceil(4).min(outputs.div_ceil(LANES)),
    ];
    let height = 4 / cuts[0];
    let tasks = geo.groups * cuts[0] * cuts[1];
    let work = 4 * inputs * outputs * geo.batch * geo.positions() / tasks;
    for_tasks::<T>(tasks, work, pass.scratch(height), |task, scratch, stop| {
        let (i, cut) = (task / cuts[1] % cuts[0] * height, task % cuts[1]);
        let task = Task {
            group: task / (cuts[0] * cuts[1]),
            is: i..i + height,
            outputs: pool::range(outputs, 1, cut, cuts[1]),
        };
        for block in &pass.blocks {
            if stop.requested() {
                return;
            }
            pass.add(&task, block, xy, scratch, base);
        }
    })?;
    // What the sums of the elements give: a task is an input of a group.
    for_tasks::<T>(
        geo.groups * inputs,
        outputs * 64,
        9 * outputs,
        |task, scratch, _| {
            let (group, input) = (task / inputs, task % inputs);
            let u = &u[(group * ELEMENTS * inputs + input) * outputs..];
            transform::gradients(u, inputs * outputs, outputs, scratch);
            let (w, step) = (w.at((group * outputs * inputs + input) * 9), 9 * inputs);
            // SAFETY: the elements of this input of all outputs of this group: nobody else's.
            unsafe { transpose(scratch.as_ptr(), outputs, w, step, outputs, 9) };
        },
    )
}

impl<'a> Weights<'a> {
    fn new<T: Real>(geo: &'a Geometry) -> Self {
        let grids = [grid_of_x(geo), grid_of_y(geo)];
        let [down, across] = grids[0].tiles;
        let near = BLOCK / (8 * (geo.inputs + geo.outputs) * size_of::<T>());
        let most = near.clamp(2 * PANEL, LONGEST);
        let blocks: Vec<_> = pieces(geo.batch * down, (most / across).max(1), 1).collect();
        let longest = blocks.first().map_or(0, |block| block.len() * across);
        Self {
            geo,
            grids,
            picks: grids.each_ref().map(Grid::picks),
            blocks,
            longest: longest.next_multiple_of(LANES),
        }
    }

    /// Between the rows of the transformed tiles: not a power of two.
    fn step(&self) -> usize {
        self.longest.next_multiple_of(2 * LANES) + LANES
    }

    /// Numbers of scratch of a task with so many rows of elements: rows of tiles, and the transformed tiles.
    fn scratch(&self, height: usize) -> usize {
        let channels = self.geo.inputs + self.geo.outputs;
        LANES + ELEMENTS * (self.longest + LANES) + 4 * height * (channels * self.step() + 2 * PAD)
    }

    /// Adds the products of a block of tiles.
    fn add<T: Real>(
        &self,
        task: &Task,
        block: &Range<usize>,
        [x, y]: [&[T]; 2],
        scratch: &mut [T],
        u: Ptr<T>,
    ) {
        let (step, [inputs, outputs]) = (self.step(), [self.geo.inputs, self.geo.outputs]);
        let (rows, v) = aligned(scratch).split_at_mut(ELEMENTS * (self.longest + LANES));
        let (v, m) = v.split_at_mut(4 * task.is.len() * (inputs * step + PAD));
        let block = |grid| Block::new(grid, block.clone(), self.longest + LANES);
        let [of_x, of_y] = self.grids.each_ref().map(block);
        let places = |channels: usize| Places {
            channel: step,
            panel: PANEL,
            element: channels * step + PAD,
        };
        let part = |kind, picks| Part {
            kind,
            picks,
            is: task.is.clone(),
        };
        let used = task.outputs.len();
        let (x_part, first) = (part(Kind::X, &self.picks[0]), task.group * inputs);
        of_x.transform(&x_part, x, first..first + inputs, rows, places(inputs), v);
        let (y_part, first) = (
            part(Kind::Y, &self.picks[1]),
            task.group * outputs + task.outputs.start,
        );
        of_y.transform(&y_part, y, first..first + used, rows, places(used), m);
        for e in 0..4 * task.is.len() {
            let left = Matrix::rows(&v[e * (inputs * step + PAD)..], step);
            let right = Matrix::transposed(&m[e * (used * step + PAD)..], step);
            let element = task.group * ELEMENTS + 4 * task.is.start + e;
            let out = Ptr(u.at(element * inputs * outputs + task.outputs.start));
            // SAFETY: these outputs of this element of this group: nobody else's.
            unsafe { gemm_into(inputs, of_x.tiles, used, left, right, out, outputs, true) };
        }
    }
}
