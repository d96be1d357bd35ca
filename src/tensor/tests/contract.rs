//! The contract of every operation in `ops::ALL`: value and gradient, first and second, on plain,
//! strided, broadcast, empty and odd-length inputs, in f64 against finite differences and in f32
//! against f64.

use std::collections::BTreeSet;

use rhapsode_tensor::{
    DType, Error, Result, Tensor, grad, jvp,
    ops::{self, Op, Shapes},
    random::Stream,
    vjp,
};

/// Inputs of one case, uniform in the domain of the operation.
fn inputs(op: &Op, shapes: Shapes, dtype: DType) -> Vec<Tensor> {
    let draw = |(i, shape): (usize, &&[usize])| {
        let u = Stream::new(5, op.name)
            .at(i as u64)
            .rand(shape, DType::F64)
            .unwrap();
        u.affine(op.domain.1 - op.domain.0, op.domain.0)
            .unwrap()
            .to_dtype(dtype)
            .unwrap()
    };
    shapes.iter().enumerate().map(draw).collect()
}

/// The same values laid out in memory the other way round, so that nothing is contiguous.
fn strided(x: &Tensor) -> Tensor {
    if x.rank() < 2 {
        // A view into the middle of a larger buffer.
        if x.rank() == 0 {
            return x.clone();
        }
        return x.pad(0, 3, 2).unwrap().narrow(0, 3, x.len()).unwrap();
    }
    let order: Vec<i64> = (0..x.rank() as i64).rev().collect();
    let other = x.permute(&order).unwrap().contiguous().unwrap();
    other.permute(&order).unwrap()
}

/// A fixed weighting that makes a scalar of any output.
fn weigh(y: &Tensor) -> Result<Tensor> {
    let w = Stream::new(9, "weights").randn(y.dims(), y.dtype())?;
    y.mul(&w)?.sum_all()
}

fn scalar(op: &Op, x: &[Tensor]) -> f64 {
    weigh(&(op.apply)(x).unwrap()).unwrap().item().unwrap()
}

/// `f` with element `k` of input `i` moved by `h`.
fn moved(x: &[Tensor], i: usize, k: usize, h: f64) -> Vec<Tensor> {
    let mut x = x.to_vec();
    let mut values = x[i].to_vec().unwrap();
    values[k] += h;
    x[i] = Tensor::from_vec(values, x[i].dims()).unwrap();
    x
}

fn close(got: f64, want: f64, tolerance: f64) -> bool {
    (got - want).abs() <= tolerance * (1.0 + want.abs())
}

fn for_all(mut check: impl FnMut(&Op, Shapes)) {
    for op in ops::ALL {
        for shapes in op.shapes {
            check(op, shapes);
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for_all(|op, shapes| {
        let x = inputs(op, shapes, DType::F64);
        let tracked: Vec<Tensor> = x.iter().map(|t| t.param().unwrap()).collect();
        let loss = weigh(&(op.apply)(&tracked).unwrap()).unwrap();
        let refs: Vec<&Tensor> = tracked.iter().collect();
        let grads = grad(&loss, &refs, false).unwrap();
        for (i, g) in grads.iter().enumerate() {
            assert_eq!(
                g.dims(),
                x[i].dims(),
                "{} {shapes:?}: shape of gradient {i}",
                op.name
            );
            let g = g.to_vec().unwrap();
            let h = 1e-6;
            for k in (0..g.len()).step_by(1 + g.len() / 12) {
                let numeric = (scalar(op, &moved(&x, i, k, h)) - scalar(op, &moved(&x, i, k, -h)))
                    / (2.0 * h);
                assert!(
                    close(g[k], numeric, 2e-7),
                    "{} {shapes:?} d/dx{i}[{k}]: {} for {numeric}",
                    op.name,
                    g[k]
                );
            }
        }
    });
}

#[test]
fn second_derivatives_agree_with_finite_differences() {
    for_all(|op, shapes| {
        let x = inputs(op, shapes, DType::F64);
        let probe: Vec<Tensor> = x
            .iter()
            .map(|t| Stream::new(2, "probe").randn(t.dims(), DType::F64).unwrap())
            .collect();
        // Directional derivative of the loss, itself a function of x.
        let slope = |x: &[Tensor], graph: bool| -> (Vec<Tensor>, Tensor) {
            let tracked: Vec<Tensor> = x.iter().map(|t| t.param().unwrap()).collect();
            let loss = weigh(&(op.apply)(&tracked).unwrap()).unwrap();
            let grads = grad(&loss, &tracked.iter().collect::<Vec<_>>(), graph).unwrap();
            let mut total = Tensor::zeros(&[], DType::F64).unwrap();
            for (g, p) in grads.iter().zip(&probe) {
                total = total.add(&g.mul(p).unwrap().sum_all().unwrap()).unwrap();
            }
            (tracked, total)
        };
        let (tracked, total) = slope(&x, true);
        let numeric = |i, k| {
            let h = 1e-5;
            let at = |h| slope(&moved(&x, i, k, h), false).1.item().unwrap();
            (at(h) - at(-h)) / (2.0 * h)
        };
        for i in 0..x.len() {
            // A linear operation has a gradient that does not depend on this input: zero.
            let second = match total
                .is_tracked()
                .then(|| grad(&total, &[&tracked[i]], false))
            {
                Some(Ok(g)) => g[0].to_vec().unwrap(),
                _ => vec![0.0; x[i].len()],
            };
            for k in (0..second.len()).step_by(1 + second.len() / 5) {
                let numeric = numeric(i, k);
                assert!(
                    close(second[k], numeric, 2e-5),
                    "{} {shapes:?} second d/dx{i}[{k}]: {} for {numeric}",
                    op.name,
                    second[k]
                );
            }
        }
    });
}

#[test]
fn strided_inputs_give_the_same() {
    for_all(|op, shapes| {
        let x = inputs(op, shapes, DType::F64);
        let run = |x: &[Tensor]| {
            let tracked: Vec<Tensor> = x.iter().map(|t| t.param().unwrap()).collect();
            let y = (op.apply)(&tracked).unwrap();
            let grads = grad(
                &weigh(&y).unwrap(),
                &tracked.iter().collect::<Vec<_>>(),
                false,
            )
            .unwrap();
            let mut all = vec![y.to_vec().unwrap()];
            all.extend(grads.iter().map(|g| g.to_vec().unwrap()));
            all
        };
        let views: Vec<Tensor> = x.iter().map(strided).collect();
        for (a, b) in run(&x).iter().flatten().zip(run(&views).iter().flatten()) {
            assert!(close(*b, *a, 1e-12), "{} {shapes:?}: {b} for {a}", op.name);
        }
    });
}

#[test]
fn f32_agrees_with_f64() {
    for_all(|op, shapes| {
        let run = |dtype| {
            let x: Vec<Tensor> = inputs(op, shapes, DType::F32)
                .iter()
                .map(|t| t.to_dtype(dtype).unwrap().param().unwrap())
                .collect();
            let y = (op.apply)(&x).unwrap();
            assert_eq!(y.dtype(), dtype, "{}", op.name);
            let grads = grad(
                &weigh(&y.to_dtype(DType::F64).unwrap()).unwrap(),
                &x.iter().collect::<Vec<_>>(),
                false,
            );
            let mut all = y.to_vec().unwrap();
            grads
                .unwrap()
                .iter()
                .for_each(|g| all.extend(g.to_vec().unwrap()));
            all
        };
        let (single, double) = (run(DType::F32), run(DType::F64));
        let scale = double.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        for (s, d) in single.iter().zip(&double) {
            assert!(
                (s - d).abs() <= 2e-5 * scale,
                "{} {shapes:?}: {s} for {d}",
                op.name
            );
        }
    });
}

#[test]
fn products_of_vectors_with_jacobians_agree_with_each_other() {
    // v . (J t) = (J^T v) . t for every operation of one input.
    for op in ops::ALL.iter().filter(|op| op.shapes[0].len() == 1) {
        let x = &inputs(op, op.shapes[0], DType::F64)[0];
        let t = Stream::new(3, "tangent")
            .randn(x.dims(), DType::F64)
            .unwrap();
        let (y, forward) = jvp(|x| (op.apply)(std::slice::from_ref(x)), x, &t).unwrap();
        let v = Stream::new(4, "cotangent")
            .randn(y.dims(), DType::F64)
            .unwrap();
        let tracked = x.param().unwrap();
        let y = (op.apply)(std::slice::from_ref(&tracked)).unwrap();
        let pulled = vjp(&y, &[&tracked], &v, false).unwrap().remove(0);
        let left = v.mul(&forward).unwrap().sum_all().unwrap().item().unwrap();
        let right = pulled.mul(&t).unwrap().sum_all().unwrap().item().unwrap();
        assert!(close(left, right, 1e-10), "{}: {left} for {right}", op.name);
    }
}

#[test]
fn bf16_is_f32_rounded_once() {
    let (mut wrong, mut refused) = (Vec::new(), BTreeSet::new());
    for_all(|op, shapes| {
        let run = |dtype| {
            let x: Vec<Tensor> = inputs(op, shapes, DType::BF16)
                .iter()
                .map(|t| t.to_dtype(dtype).unwrap().param().unwrap())
                .collect();
            let y = match (op.apply)(&x) {
                // Factorisations and transforms refuse bf16, as PyTorch's do.
                Err(Error::DType {
                    got: DType::BF16, ..
                }) => return None,
                other => other.unwrap(),
            };
            assert_eq!(y.dtype(), dtype, "{}", op.name);
            let loss = weigh(&y.to_dtype(DType::F64).unwrap()).unwrap();
            let grads = grad(&loss, &x.iter().collect::<Vec<_>>(), false).unwrap();
            assert!(grads.iter().all(|g| g.dtype() == dtype), "{}", op.name);
            let grads: Vec<f64> = grads.iter().flat_map(|g| g.to_vec().unwrap()).collect();
            Some((y.to_vec().unwrap(), grads))
        };
        let (Some((y, dy)), Some((wide, dwide))) = (run(DType::BF16), run(DType::F32)) else {
            refused.insert(op.name);
            return;
        };
        // Half a unit in the last of 8 bits; a gradient is rounded at every step of its way.
        for (got, exact) in y.iter().zip(&wide) {
            let allowed = exact.abs() / 256.0 + 1e-30;
            if (got - exact).abs() > allowed {
                wrong.push(format!("{} {shapes:?}: {got} for {exact}", op.name));
            }
        }
        let scale = dwide.iter().fold(0.1f64, |m, v| m.max(v.abs()));
        for (got, exact) in dy.iter().zip(&dwide) {
            if (got - exact).abs() > 0.03 * scale {
                wrong.push(format!(
                    "{} {shapes:?}: gradient {got} for {exact}",
                    op.name
                ));
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused.len() < ops::ALL.len() / 4, "{refused:?}");
}
