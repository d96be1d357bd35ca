//! What the tape promises: long graphs, shared inputs, higher derivatives, errors instead of silent
//! zeros, an interrupt that is obeyed, the place of the first NaN.

use std::sync::{Arc, atomic::AtomicBool};

use rhapsode_tensor::{
    DType, Error, Tensor, grad, grad_or_zero, interrupt, no_grad, params::Params, tape,
};

fn scalar(v: f64) -> Tensor {
    Tensor::scalar(v, DType::F64).unwrap()
}

#[test]
fn a_million_operations_forward_and_backward() {
    let x = scalar(1.0).param().unwrap();
    let mut y = x.clone();
    for _ in 0..1_000_000 {
        y = y.affine(1.0, 1e-6).unwrap();
    }
    assert!((y.item().unwrap() - 2.0).abs() < 1e-6);
    let g = grad_or_zero(y, &[&x]).unwrap();
    assert_eq!(g[0].as_ref().unwrap().item().unwrap(), 1.0);
}

#[test]
fn a_long_graph_is_dropped_without_recursion() {
    let x = scalar(1.0).param().unwrap();
    let mut y = x.clone();
    for _ in 0..300_000 {
        y = y.add(&x).unwrap();
    }
    drop(y);
}

#[test]
fn uses_of_one_tensor_add_up() {
    let x = scalar(3.0).param().unwrap();
    let y = (0..10).fold(scalar(0.0), |y, k| {
        y.add(&x.affine(f64::from(k), 0.0).unwrap()).unwrap()
    });
    assert_eq!(grad(&y, &[&x], false).unwrap()[0].item().unwrap(), 45.0);
}

#[test]
fn a_shared_gradient_is_not_changed_by_adding_to_it() {
    // The gradient of add is handed to both sides as one tensor; adding to one must not show in the other.
    let a = Tensor::ones(&[3], DType::F64).unwrap().param().unwrap();
    let b = Tensor::ones(&[3], DType::F64).unwrap().param().unwrap();
    let loss = a
        .add(&b)
        .unwrap()
        .add(&a)
        .unwrap()
        .add(&a)
        .unwrap()
        .sum_all()
        .unwrap();
    let g = grad(&loss, &[&a, &b], false).unwrap();
    assert_eq!(g[0].to_vec().unwrap(), [3.0; 3]);
    assert_eq!(g[1].to_vec().unwrap(), [1.0; 3]);
}

#[test]
fn derivatives_of_every_order() {
    let x = scalar(1.3).param().unwrap();
    let mut y = x.powf(5.0).unwrap();
    for expected in [
        5.0 * 1.3f64.powi(4),
        20.0 * 1.3f64.powi(3),
        60.0 * 1.3 * 1.3,
        120.0 * 1.3,
    ] {
        y = grad(&y, &[&x], true).unwrap().remove(0);
        assert!((y.item().unwrap() - expected).abs() < 1e-9);
    }
}

#[test]
fn gradient_of_an_intermediate_value() {
    let x = scalar(2.0).param().unwrap();
    let h = x.sqr().unwrap();
    let y = h.sqr().unwrap();
    let g = grad(&y, &[&h, &x], false).unwrap();
    assert_eq!((g[0].item().unwrap(), g[1].item().unwrap()), (8.0, 32.0));
}

#[test]
fn what_cannot_be_differentiated_is_an_error() {
    let x = scalar(2.0).param().unwrap();
    let other = scalar(2.0).param().unwrap();
    let y = x.sqr().unwrap();
    assert!(matches!(
        grad(&y, &[&other], false),
        Err(Error::NoGradient { .. })
    ));
    assert!(matches!(
        grad(&y.detach(), &[&x], false),
        Err(Error::NoGradient { .. })
    ));
    let wide = Tensor::ones(&[3], DType::F64).unwrap().param().unwrap();
    assert!(matches!(
        grad(&wide.sqr().unwrap(), &[&wide], false),
        Err(Error::Shape { .. })
    ));
    assert!(Tensor::ones(&[3], DType::I64).unwrap().param().is_err());
    assert!(!no_grad(|| x.sqr().unwrap()).is_tracked());
    assert!(tape::is_recording());
}

#[test]
fn an_interrupt_stops_a_backward_pass() {
    let x = scalar(1.0).param().unwrap();
    let y = (0..1000).fold(x.clone(), |y, _| y.affine(1.0, 0.0).unwrap());
    let flag = Arc::new(AtomicBool::new(true));
    assert_eq!(
        interrupt::with_flag(flag, || grad(&y, &[&x], false)).err(),
        Some(Error::Interrupted)
    );
    assert!(grad(&y, &[&x], false).is_ok());
}

#[test]
fn an_interrupt_stops_a_product_and_a_layer() {
    use rhapsode_tensor::ops::linear::{Activation, linear};
    let x = Tensor::ones(&[300, 300], DType::F32).unwrap();
    let b = Tensor::zeros(&[300], DType::F32).unwrap();
    let stopped = |f: &dyn Fn() -> rhapsode_tensor::Result<Tensor>| {
        interrupt::with_flag(Arc::new(AtomicBool::new(true)), f).err()
    };
    assert_eq!(stopped(&|| x.matmul(&x)), Some(Error::Interrupted));
    assert_eq!(
        stopped(&|| linear(&x, &x, &b, Activation::Relu)),
        Some(Error::Interrupted)
    );
    assert!(x.matmul(&x).is_ok());
}

#[test]
fn the_first_operation_that_is_not_finite_is_named() {
    let x = scalar(-1.0).param().unwrap();
    let error = tape::watch_finite(|| x.sqrt().and_then(|y| y.exp())).unwrap_err();
    assert_eq!(
        error,
        Error::NonFinite {
            op: "sqrt",
            what: "the value",
            value: "NaN"
        }
    );
    let zero = scalar(0.0).param().unwrap();
    let error = tape::watch_finite(|| grad(&zero.sqrt()?.sum_all()?, &[&zero], false)).unwrap_err();
    assert_eq!(
        error,
        Error::NonFinite {
            op: "sqrt",
            what: "the gradient",
            value: "inf"
        }
    );
}

#[test]
fn parameters_are_views_of_one_buffer() {
    let w = Tensor::arange(0.0, 1.0, 6, DType::F32)
        .unwrap()
        .reshape(&[2, 3])
        .unwrap();
    let b = Tensor::zeros(&[2], DType::F32).unwrap();
    let params = Params::new(vec![("w".into(), w), ("b".into(), b)]).unwrap();
    params
        .update::<f32>(|p| p.iter_mut().for_each(|v| *v += 10.0))
        .unwrap();
    assert_eq!(
        params.get(0).unwrap().to_vec().unwrap(),
        [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
    );
    assert_eq!(params.get(1).unwrap().to_vec().unwrap(), [10.0, 10.0]);
    let copy = params.duplicate(false).unwrap();
    params.update::<f32>(|p| p.fill(0.0)).unwrap();
    assert_eq!(copy.get(1).unwrap().to_vec().unwrap(), [10.0, 10.0]);
    let loss = params.get(0).unwrap().sqr().unwrap().sum_all().unwrap();
    let grads = grad_or_zero(loss, &params.tensors().iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(params.gather(&grads).unwrap().to_vec().unwrap(), [0.0; 8]);
}

#[test]
fn a_tensor_beyond_memory_is_refused() {
    assert!(matches!(
        Tensor::zeros(&[1 << 40], DType::F32),
        Err(Error::Memory { .. })
    ));
    assert!(matches!(
        Tensor::zeros(&[usize::MAX, 2], DType::F32),
        Err(Error::Value { .. })
    ));
    let wide = Tensor::zeros(&[1], DType::F32)
        .unwrap()
        .broadcast_to(&[1 << 40])
        .unwrap();
    assert!(wide.add(&wide).is_err());
    assert!(wide.contiguous().is_err());
}

#[test]
fn printing() {
    let x = Tensor::from_vec(vec![1.0f32, 2.5, -3.0, 4.0], &[2, 2]).unwrap();
    assert_eq!(
        x.to_string(),
        "[[ 1.0000,  2.5000],\n [-3.0000,  4.0000]]\nTensor [2, 2] f32 cpu"
    );
    let long = Tensor::arange(0.0, 1.0, 1000, DType::I64).unwrap();
    assert_eq!(
        long.to_string(),
        "[  0,   1,   2, ..., 997, 998, 999]\nTensor [1000] i64 cpu"
    );
    assert_eq!(scalar(0.5).to_string(), "0.5000\nTensor [] f64 cpu");
    assert!(
        Tensor::zeros(&[0, 3], DType::F32)
            .unwrap()
            .to_string()
            .starts_with("[]")
    );
}
