//! Views laid out in row-major order.
//!
//! candle copies a transposed view element by element on one thread. Here the two axes that matter, the one that
//! is dense in the view and the one that is dense in the copy, are turned by blocks, and all threads take part.

use candle_core::{CpuStorage, Device, Storage, Tensor as Data, WithDType};

use crate::{
    Real, Result,
    pool::{self, Ptr},
    simd::transpose::transpose,
    tensor::space,
};

/// Views of fewer elements are left to candle.
const SMALL: usize = 256;

/// Rows of the copy in one task.
const ROWS: usize = 64;

/// The values as one block in row-major order; itself when they are already.
pub(crate) fn contiguous(data: &Data) -> Result<Data> {
    if data.is_contiguous() {
        return Ok(data.clone());
    }
    let Some(turn) = Turn::of(data.dims(), data.stride()) else {
        return Ok(data.contiguous()?);
    };
    let (storage, layout) = data.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(x)) => copy(&turn, &x[layout.start_offset()..], data.dims()),
        Storage::Cpu(CpuStorage::F64(x)) => copy(&turn, &x[layout.start_offset()..], data.dims()),
        _ => Ok(data.contiguous()?),
    }
}

/// A copy of a view as turned matrices.
struct Turn {
    /// The axis that is dense in the view: its size and its step in the copy.
    rows: usize,
    row_step: usize,
    /// The last axis, dense in the copy: its size and its step in the view.
    columns: usize,
    column_step: usize,
    /// Size, step in the view and step in the copy of every other axis.
    others: Vec<[usize; 3]>,
}

impl Turn {
    /// None where no two axes change places.
    fn of(dims: &[usize], strides: &[usize]) -> Option<Self> {
        let last = dims.len().checked_sub(1)?;
        let count: usize = dims.iter().product();
        let dense = (0..last).find(|&i| strides[i] == 1 && dims[i] >= 4)?;
        if count < SMALL || strides[last] == 1 || dims[last] < 4 {
            return None;
        }
        let step = |i: usize| dims[i + 1..].iter().product::<usize>();
        let others = (0..last)
            .filter(|&i| i != dense)
            .map(|i| [dims[i], strides[i], step(i)]);
        Some(Self {
            rows: dims[dense],
            row_step: step(dense),
            columns: dims[last],
            column_step: strides[last],
            others: others.collect(),
        })
    }

    /// Where matrix `i` begins in the view and in the copy.
    fn place(&self, mut i: usize) -> (usize, usize) {
        let (mut from, mut to) = (0, 0);
        for [size, from_step, to_step] in self.others.iter().rev() {
            from += i % size * from_step;
            to += i % size * to_step;
            i /= size;
        }
        (from, to)
    }
}

fn copy<T: Real + WithDType>(turn: &Turn, x: &[T], dims: &[usize]) -> Result<Data> {
    let mut out = space::<T>(dims.iter().product())?;
    let matrices: usize = turn.others.iter().map(|[size, ..]| size).product();
    let bands = turn.rows.div_ceil(ROWS);
    // The last element of the view: all others lie before it.
    let reach: usize = turn.others.iter().map(|[n, step, _]| (n - 1) * step).sum();
    assert!(
        reach + (turn.columns - 1) * turn.column_step + turn.rows <= x.len(),
        "view beyond its storage"
    );
    let base = Ptr(out.as_mut_ptr());
    let task = |task: usize| {
        let ((from, to), row) = (turn.place(task / bands), task % bands * ROWS);
        let rows = ROWS.min(turn.rows - row);
        // SAFETY: the view lies within `x` (checked above); each row of the copy belongs to one task.
        unsafe {
            transpose(
                x.as_ptr().add(from + row),
                turn.column_step,
                base.at(to + row * turn.row_step),
                turn.row_step,
                rows,
                turn.columns,
            );
        }
    };
    let (pool, tasks) = (pool::global(), matrices * bands);
    if tasks == 1 || out.len() < 1 << 15 || pool.parts() == 1 {
        (0..tasks).for_each(task);
    } else {
        pool.run(|part| pool::range(tasks, 1, part, pool.parts()).for_each(task));
    }
    Ok(Data::from_vec(out, dims, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_those_of_candle() {
        let dims = [6usize, 40, 7, 70];
        let count: usize = dims.iter().product();
        let all: Vec<f32> = (0..count).map(|i| i as f32).collect();
        let x = Data::from_vec(all, &dims, &Device::Cpu).unwrap();
        for order in [
            [3, 0, 1, 2],
            [0, 3, 2, 1],
            [1, 0, 3, 2],
            [0, 1, 3, 2],
            [3, 2, 1, 0],
        ] {
            for narrow in [false, true] {
                let mut view = x.permute(order.as_slice()).unwrap();
                if narrow {
                    view = view.narrow(1, 1, 5).unwrap();
                }
                let flat = |t: Data| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let got = contiguous(&view).unwrap();
                assert_eq!(got.dims(), view.dims());
                assert_eq!(flat(got), flat(view.contiguous().unwrap()), "{order:?}");
            }
        }
    }
}
