//! Views laid out in row-major order.
//!
//! candle copies a transposed view element by element on one thread. Here the two axes that matter, the one that
//! is dense in the view and the one that is dense in the copy, are turned by blocks, and all threads take part; a
//! broadcast number is filled in.

use candle_core::{CpuStorage, Device, Storage, Tensor as Data, WithDType};

use crate::{
    Real, Result, gate,
    pool::{self, Ptr},
    simd::transpose::transpose,
    tensor::space,
};

/// Views of fewer elements are left to candle.
const SMALL: usize = 256;

/// Repetitions of a number below which a view is left to candle.
const SHORT: usize = 16;

/// Rows of the copy in one task.
const ROWS: usize = 64;

/// The values as one block in row-major order; itself when they are already.
pub(crate) fn contiguous(data: &Data) -> Result<Data> {
    if data.is_contiguous() {
        return Ok(data.clone());
    }
    gate::reading(|| copied(data))
}

/// A copy of a view.
fn copied(data: &Data) -> Result<Data> {
    let (storage, layout) = data.storage_and_layout();
    // An empty view may begin behind the end.
    let from = layout.start_offset();
    let copied = match &*storage {
        Storage::Cpu(CpuStorage::F32(x)) => laid_out(data, x.get(from..).unwrap_or(&[]))?,
        Storage::Cpu(CpuStorage::F64(x)) => laid_out(data, x.get(from..).unwrap_or(&[]))?,
        _ => None,
    };
    Ok(match copied {
        Some(copied) => copied,
        None => data.contiguous()?,
    })
}

/// A copy of a view of `x`; none of one that is left to candle.
fn laid_out<T: Real>(data: &Data, x: &[T]) -> Result<Option<Data>> {
    if let Some(turn) = Turn::of(data.dims(), data.stride()) {
        return copy(&turn, x, data.dims()).map(Some);
    }
    let repeats = data.stride().iter().rev().take_while(|step| **step == 0);
    let axis = data.rank() - repeats.count();
    let run: usize = data.dims()[axis..].iter().product();
    if run < SHORT || data.elem_count() < SMALL {
        return Ok(None);
    }
    repeat(data, axis, run, x).map(Some)
}

/// A copy of a view that is the same along all axes from `axis` on, as the gradient of a sum is: runs of one number.
fn repeat<T: Real>(data: &Data, axis: usize, run: usize, x: &[T]) -> Result<Data> {
    let (dims, steps) = (&data.dims()[..axis], &data.stride()[..axis]);
    let place = |mut i: usize| {
        let mut from = 0;
        for (size, step) in dims.iter().zip(steps).rev() {
            from += i % size * step;
            i /= size;
        }
        from
    };
    let mut out = space::<T>(data.elem_count())?;
    // A single run may be cut anywhere.
    let quantum = if out.len() == run { 16 } else { run };
    pool::for_each_piece(&mut out, quantum, |start, out| {
        for (i, out) in out.chunks_mut(run).enumerate() {
            out.fill(x[place(start / run + i)]);
        }
    });
    Ok(Data::from_vec(out, data.dims(), &Device::Cpu)?)
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
    fn broadcast_numbers_are_repeated() {
        let flat = |t: Data| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let x = Data::from_vec(
            (0..60).map(|i| i as f32).collect(),
            &[3, 20, 1, 1],
            &Device::Cpu,
        );
        let x = x.unwrap();
        let behind = x.narrow(0, 3, 0).unwrap().narrow(1, 5, 2).unwrap();
        let number = x.narrow(1, 7, 1).unwrap().narrow(0, 2, 1).unwrap();
        for view in [
            x.broadcast_as((3, 20, 30, 31)).unwrap(),
            x.narrow(1, 4, 9)
                .unwrap()
                .broadcast_as((3, 9, 5, 7))
                .unwrap(),
            x.transpose(0, 1)
                .unwrap()
                .broadcast_as((20, 3, 4, 4))
                .unwrap(),
            number.broadcast_as((8, 9, 70, 11)).unwrap(),
            number.broadcast_as((0, 9, 70, 11)).unwrap(),
            behind.transpose(0, 1).unwrap(),
        ] {
            assert_eq!(
                flat(contiguous(&view).unwrap()),
                flat(view.contiguous().unwrap())
            );
        }
    }

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
