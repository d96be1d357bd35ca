//! The recurrence of a gated recurrent unit over a whole sequence, in one operation.
//!
//! ```text
//! r = sigmoid(x_r + U_r h + b_r)      z = sigmoid(x_z + U_z h + b_z)
//! c = tanh(x_c + r (U_c h + b_c))     h' = (1 - z) c + z h
//! ```
//!
//! (Cho et al. 2014, arXiv 1406.1078, in the form of PyTorch and cuDNN.) As separate operations a step
//! makes some twenty nodes, and the gradient of every slice of the sequence is a buffer of the whole
//! sequence: time quadratic in its length. Here the backward pass is one sweep, and the gradient
//! of the weights one product over all steps.

use crate::{
    Error, Real, Result, Tensor, interrupt,
    ops::matmul::{Matrix, gemm_parallel},
    simd::math::{Float, sigmoid},
    tape::{self, record},
    tensor::buffer,
    with_real,
};

/// The plain composition that the fused form must equal.
pub fn reference(x: &Tensor, h0: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (steps, size) = (x.dim(1)?, h0.dim(1)?);
    let mut h = h0.clone();
    let mut outputs = Vec::with_capacity(steps);
    for step in 0..steps {
        let (x, u) = (
            x.select(1, step as i64)?,
            h.matmul(&weight.t()?)?.add(bias)?,
        );
        let part = |v: &Tensor, i: usize| v.narrow(1, i * size, size);
        let r = part(&x, 0)?.add(&part(&u, 0)?)?.sigmoid()?;
        let z = part(&x, 1)?.add(&part(&u, 1)?)?.sigmoid()?;
        let c = part(&x, 2)?.add(&r.mul(&part(&u, 2)?)?)?.tanh()?;
        h = c.add(&z.mul(&h.sub(&c)?)?)?;
        outputs.push(h.clone());
    }
    Tensor::stack(&outputs.iter().collect::<Vec<_>>(), 1)
}

/// Sizes of a call: sequences, steps, size of the state.
#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    steps: usize,
    h: usize,
}

/// The states after every step, `[n, t, h]`, from the inputs' part of the gates `x: [n, t, 3 h]` (in the
/// order reset, update, candidate), the first state `h0: [n, h]`, `weight: [3 h, h]` and `bias: [3 h]`.
/// At least one step. An interrupt between steps is an error.
pub fn scan(x: &Tensor, h0: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let sizes = check(x, h0, weight, bias)?;
    let Sizes { n, steps, h } = sizes;
    let inputs = [x, h0, weight, bias];
    let saved = inputs.map(|t| t.candle().clone());
    let (y, states, gates) = with_real!("gru", x.dtype(), T => {
        let (states, gates) = x.with_slice::<T, _>("gru", |x| h0.with_slice::<T, _>("gru", |h0| {
            weight.with_slice::<T, _>("gru", |w| bias.with_slice::<T, _>("gru", |b| forward(x, h0, w, b, sizes)))
        }))?????;
        let mut y = buffer::<T>(n * steps * h)?;
        for (i, row) in y.chunks_exact_mut(h).enumerate() {
            let at = (i % steps + 1) * n + i / steps;
            row.copy_from_slice(&states[at * h..][..h]);
        }
        let length = [states.len(), gates.len()];
        Ok((
            Tensor::from_vec(y, &[n, steps, h])?,
            Tensor::from_vec(states, &length[..1])?,
            Tensor::from_vec(gates, &length[1..])?,
        ))
    })?;
    record("gru", y.candle().clone(), &inputs, move |ctx, g| {
        if ctx.create_graph() {
            return tape::through(ctx, &saved, g, |t| reference(&t[0], &t[1], &t[2], &t[3]));
        }
        let weight = Tensor::from_candle(saved[2].clone());
        with_real!("gru", g.dtype(), T => {
            g.with_slice::<T, _>("gru", |g| states.with_slice::<T, _>("gru", |states| {
                gates.with_slice::<T, _>("gru", |gates| weight.with_slice::<T, _>("gru", |w| {
                    backward::<T>(g, states, gates, w, sizes)
                }))
            }))?????
            .into_iter()
            .map(|g| Ok(Some(g)))
            .collect()
        })
    })
}

fn check(x: &Tensor, h0: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Sizes> {
    let detail = || {
        format!(
            "expected x [n, t, 3 h] with t > 0, state [n, h], weight [3 h, h], bias [3 h], got {:?}, {:?}, {:?}, {:?}",
            x.dims(),
            h0.dims(),
            weight.dims(),
            bias.dims()
        )
    };
    let wrong = || Error::Shape {
        op: "gru",
        detail: detail(),
    };
    let (&[n, steps, gates], &[rows, h]) = (x.dims(), h0.dims()) else {
        return Err(wrong());
    };
    let fits = rows == n && steps > 0 && h > 0 && gates == 3 * h;
    if !fits || weight.dims() != [gates, h] || bias.dims() != [gates] {
        return Err(wrong());
    }
    for other in [h0, weight, bias] {
        if other.dtype() != x.dtype() {
            return Err(Error::DType {
                op: "gru",
                expected: x.dtype().as_str(),
                got: other.dtype(),
            });
        }
    }
    Ok(Sizes { n, steps, h })
}

/// States `[t + 1, n, h]` and, for the backward pass, `r, z, c, U_c h + b_c` of every step `[t, n, 4 h]`.
fn forward<T: Real>(
    x: &[T],
    h0: &[T],
    w: &[T],
    b: &[T],
    Sizes { n, steps, h }: Sizes,
) -> Result<(Vec<T>, Vec<T>)> {
    let block = n * h;
    let mut states = buffer::<T>((steps + 1) * block)?;
    let mut gates = buffer::<T>(steps * block * 4)?;
    let mut hidden = buffer::<T>(block * 3)?;
    states[..block].copy_from_slice(h0);
    for step in 0..steps {
        interrupt::check()?;
        let (past, future) = states.split_at_mut((step + 1) * block);
        let (last, next) = (&past[step * block..], &mut future[..block]);
        let (u, wt) = (Matrix::rows(last, h), Matrix::transposed(w, h));
        gemm_parallel(n, h, 3 * h, u, wt, &mut hidden)?;
        let gates = &mut gates[step * block * 4..][..block * 4];
        for i in 0..n {
            let x = &x[(i * steps + step) * 3 * h..][..3 * h];
            let (u, last) = (&hidden[i * 3 * h..][..3 * h], &last[i * h..][..h]);
            cell(
                x,
                u,
                b,
                last,
                &mut next[i * h..][..h],
                &mut gates[i * 4 * h..][..4 * h],
            );
        }
    }
    Ok((states, gates))
}

/// Gradients of `x`, `h0`, weight and bias.
fn backward<T: Real>(
    g: &[T],
    states: &[T],
    gates: &[T],
    w: &[T],
    Sizes { n, steps, h }: Sizes,
) -> Result<[Tensor; 4]> {
    let block = n * h;
    let mut dx = buffer::<T>(steps * block * 3)?;
    let mut du = buffer::<T>(steps * block * 3)?;
    let mut carry = buffer::<T>(block)?;
    let mut through = buffer::<T>(block)?;
    for step in (0..steps).rev() {
        interrupt::check()?;
        let du = &mut du[step * block * 3..][..block * 3];
        for i in 0..n {
            let last = &states[step * block + i * h..][..h];
            let gates = &gates[(step * n + i) * 4 * h..][..4 * h];
            let at = i * steps + step;
            let dx = &mut dx[at * 3 * h..][..3 * h];
            let du = &mut du[i * 3 * h..][..3 * h];
            cell_backward(
                &g[at * h..][..h],
                gates,
                last,
                &mut carry[i * h..][..h],
                dx,
                du,
            );
        }
        let (a, b) = (Matrix::rows(du, 3 * h), Matrix::rows(w, h));
        gemm_parallel(n, 3 * h, h, a, b, &mut through)?;
        for (carry, more) in carry.iter_mut().zip(&through) {
            *carry += *more;
        }
    }
    let mut dw = buffer::<T>(3 * h * h)?;
    let (a, b) = (Matrix::transposed(&du, 3 * h), Matrix::rows(states, h));
    gemm_parallel(3 * h, steps * n, h, a, b, &mut dw)?;
    let mut db = vec![0f64; 3 * h];
    for row in du.chunks_exact(3 * h) {
        db.iter_mut()
            .zip(row)
            .for_each(|(sum, v)| *sum += Float::to_f64(*v));
    }
    let db: Vec<T> = db.into_iter().map(T::of).collect();
    Ok([
        Tensor::from_vec(dx, &[n, steps, 3 * h])?,
        Tensor::from_vec(carry, &[n, h])?,
        Tensor::from_vec(dw, &[3 * h, h])?,
        Tensor::from_vec(db, &[3 * h])?,
    ])
}

crate::simd! {
    /// One step of one sequence; `saved` takes `r, z, c, U_c h + b_c`.
    fn cell<T: Float>(x: &[T], u: &[T], b: &[T], last: &[T], next: &mut [T], saved: &mut [T]) {
        let h = last.len();
        for j in 0..h {
            let r = sigmoid(x[j] + u[j] + b[j]);
            let z = sigmoid(x[h + j] + u[h + j] + b[h + j]);
            let q = u[2 * h + j] + b[2 * h + j];
            let c = r.fma(q, x[2 * h + j]).tanh();
            next[j] = z.fma(last[j] - c, c);
            saved[j] = r;
            saved[h + j] = z;
            saved[2 * h + j] = c;
            saved[3 * h + j] = q;
        }
    }
}
crate::simd! {
    /// Gradients of one step of one sequence; `carry` comes as the gradient from later steps and leaves as
    /// the direct part of that of the former state.
    fn cell_backward<T: Float>(g: &[T], saved: &[T], last: &[T], carry: &mut [T], dx: &mut [T], du: &mut [T]) {
        let h = last.len();
        for j in 0..h {
            let (r, z, c, q) = (saved[j], saved[h + j], saved[2 * h + j], saved[3 * h + j]);
            let dh = g[j] + carry[j];
            let dc = dh * (T::ONE - z) * (T::ONE - c * c);
            let dz = dh * (last[j] - c) * z * (T::ONE - z);
            let dr = dc * q * r * (T::ONE - r);
            carry[j] = dh * z;
            dx[j] = dr;
            dx[h + j] = dz;
            dx[2 * h + j] = dc;
            du[j] = dr;
            du[h + j] = dz;
            du[2 * h + j] = dc * r;
        }
    }
}
