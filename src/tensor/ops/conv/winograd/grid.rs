//! Where the places of tiles lie in an image: how rows of images become vectors of tiles.
//!
//! A [`Step`] looks at a window of an image and picks from it, for up to [`LANES`] tiles, the four (or two) neighbours in a
//! row that each of them sees; small images give several rows at once. What it found is stored by tile and row of
//! the tile, so that all that follows runs over plain vectors of tiles, whatever the images' sizes.

use std::ops::Range;

/// Tiles that a step fills at most: a register of f32.
pub(super) const LANES: usize = 16;

/// Half of the lanes, where even and odd rows of an image share a step.
pub(super) const HALF: usize = LANES / 2;

/// Places of an image that a step looks at.
pub(super) const WINDOW: usize = 32;

/// Images cut into tiles two apart.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    /// Of an image.
    pub size: [usize; 2],
    /// Places before the image at which the first tile begins.
    pub padding: [usize; 2],
    /// Tiles down and across.
    pub tiles: [usize; 2],
    /// Side of a tile: 4, overlapping by 2, or 2.
    pub side: usize,
    /// Places from the first channel of an image to that of the next one.
    pub sample: usize,
}

/// Whole rows of tiles of one image.
pub(super) struct Segment {
    pub sample: usize,
    pub rows: Range<usize>,
    /// The first one's place among the tiles of the block.
    pub start: usize,
}

/// The element j of each tile, as places of the window; and of which tiles it lies in the image.
pub(super) struct Pick {
    pub places: [[i32; LANES]; 4],
    pub inside: [u16; 4],
}

/// Tiles of a step that get one of their rows from it. Those of a row of the tile come in order: what a store leaves behind
/// its last tile is overwritten by the next.
#[derive(Clone, Copy, Default)]
pub(super) struct Store {
    /// Where element 0 of lane 0 goes; the next elements follow a stride apart.
    pub place: isize,
    pub lanes: u16,
}

/// A window, and what it gives.
pub(super) struct Step {
    /// Where the window begins, from the first image's channel on.
    pub window: isize,
    /// The places of the window that lie in the image.
    pub inside: u32,
    pub pick: usize,
    pub stores: [Store; 4],
}

/// The first `n` bits.
fn first(n: usize) -> u64 {
    (1 << n) - 1
}

impl Grid {
    /// The rows of tiles `rows`, counted through all images, by image.
    pub fn segments(&self, rows: Range<usize>) -> Vec<Segment> {
        let (mut at, mut segments) = (rows.start, Vec::new());
        while at < rows.end {
            let (sample, top) = (at / self.tiles[0], at % self.tiles[0]);
            let count = (self.tiles[0] - top).min(rows.end - at);
            let start = (at - rows.start) * self.tiles[1];
            segments.push(Segment {
                sample,
                rows: top..top + count,
                start,
            });
            at += count;
        }
        segments
    }

    /// Rows of an image that a step takes: an even number where several fit, else 1.
    fn height(&self) -> usize {
        let (width, across) = (self.size[1], self.tiles[1]);
        match across <= HALF && width <= WINDOW / 2 {
            true => 2 * (HALF / across).min(WINDOW / 2 / width),
            false => 1,
        }
    }

    /// Tiles of a row that a step takes: all, or as many as a window sees.
    fn width(&self) -> usize {
        let most = if self.size[1] <= WINDOW {
            LANES
        } else {
            LANES - 1
        };
        most.min(self.tiles[1])
    }

    /// The column at which the windows from this tile on begin.
    fn origin(&self, tile: usize) -> isize {
        match self.size[1] <= WINDOW {
            true => 0,
            false => 2 * tile as isize - self.padding[1] as isize,
        }
    }

    /// What the steps pick, by the first tile of a row.
    pub fn picks(&self) -> Vec<Pick> {
        let (height, across) = (self.height(), self.tiles[1]);
        // Even rows come first, then, in the other half of the lanes, odd ones.
        let half = height / 2 * across;
        let pick = |tile: usize| {
            let mut pick = Pick {
                places: [[0; LANES]; 4],
                inside: [0; 4],
            };
            let lanes = |lane: &usize| match height {
                1 => *lane < self.width().min(across - tile),
                _ => lane % HALF < half,
            };
            let places = (0..LANES).filter(lanes);
            for (lane, j) in places.flat_map(|lane| (0..self.side).map(move |j| (lane, j))) {
                let (row, x) = match height {
                    1 => (0, tile + lane),
                    _ => (lane % HALF / across * 2 + lane / HALF, lane % HALF % across),
                };
                let column = (2 * x + j) as isize - self.padding[1] as isize;
                if (0..self.size[1] as isize).contains(&column) {
                    pick.places[j][lane] =
                        (row * self.size[1]) as i32 + (column - self.origin(tile)) as i32;
                    pick.inside[j] |= 1 << lane;
                }
            }
            pick
        };
        (0..across).step_by(self.width()).map(pick).collect()
    }

    /// The steps that give all rows of a segment's tiles.
    pub fn steps(&self, segment: &Segment, stride: usize, steps: &mut Vec<Step>) {
        let (height, across, plane) = (self.height(), self.tiles[1], self.size[0] * self.size[1]);
        let rows = 2 * segment.rows.len() + self.side - 2;
        for row in (0..rows).step_by(height) {
            for (pick, tile) in (0..across).step_by(self.width()).enumerate() {
                let y = (2 * segment.rows.start + row) as isize - self.padding[0] as isize;
                let window = y * self.size[1] as isize + self.origin(tile);
                // Places before and after the image.
                let before = (-window).clamp(0, WINDOW as isize) as usize;
                let after = (plane as isize - window).clamp(0, WINDOW as isize) as usize;
                steps.push(Step {
                    window: window + (segment.sample * self.sample) as isize,
                    inside: (first(after) & !first(before)) as u32,
                    pick,
                    stores: self.stores(segment, row, tile, stride),
                });
            }
        }
    }

    fn stores(&self, segment: &Segment, row: usize, tile: usize, stride: usize) -> [Store; 4] {
        let (height, across) = (self.height(), self.tiles[1]);
        let (start, total) = (
            segment.start as isize,
            (segment.rows.len() * across) as isize,
        );
        let (count, parities) = match height {
            1 => (self.width().min(across - tile), row % 2..row % 2 + 1),
            _ => (height / 2 * across, 0..2),
        };
        let (mut stores, mut used) = ([Store::default(); 4], 0);
        for parity in parities {
            let lane = if height == 1 { 0 } else { parity * HALF };
            for above in 0..self.side / 2 {
                // A row of the image is row `parity` of the tiles that begin there, and of those above them row 2 more.
                let base = ((row / 2) * across + tile) as isize - (above * across) as isize;
                let from = (-base).clamp(0, count as isize) as usize;
                let to = (total - base).clamp(0, count as isize) as usize;
                stores[used] = Store {
                    place: (4 * (parity + 2 * above) * stride) as isize + start + base
                        - lane as isize,
                    lanes: ((first(to) & !first(from)) << lane) as u16,
                };
                used += 1;
            }
        }
        stores
    }
}
