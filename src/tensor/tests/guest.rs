//! Guests: candle modules as frozen operations, their gradients, and the refusal of those whose gradients are cut.

use candle_core::{Module, Tensor as Data};
use rhapsode_tensor::{
    DType, Error, Tensor, grad,
    guest::{Frozen, Guest},
    ops::linear::Activation,
    random::Stream,
};

fn randn(shape: &[usize], name: &str) -> Tensor {
    Stream::new(4, name).randn(shape, DType::F64).unwrap()
}

/// Two convolutions and a linear layer, as data.
fn frozen(activation: Activation) -> Frozen {
    Frozen {
        layers: vec![
            (randn(&[3, 2, 3, 3], "w0"), Some(randn(&[3], "b0"))),
            (randn(&[2, 3, 2, 2], "w1"), None),
            (randn(&[4, 18], "w2"), Some(randn(&[4], "b2"))),
        ],
        activation,
        stride: 1,
        padding: 0,
    }
}

/// The same by our own operations.
fn ours(x: &Tensor, frozen: &Frozen) -> Tensor {
    let conv = |x: &Tensor, i: usize| {
        let (w, b) = &frozen.layers[i];
        x.conv2d(w, b.as_ref(), &Default::default()).unwrap()
    };
    let act = |x: Tensor| frozen.activation.apply(&x).unwrap();
    let h = act(conv(&act(conv(x, 0)), 1));
    let h = h.reshape(&[h.dims()[0], 18]).unwrap();
    let (w, b) = &frozen.layers[2];
    let y = h.matmul(&w.t().unwrap()).unwrap();
    y.add(b.as_ref().unwrap()).unwrap()
}

#[test]
fn value_and_gradient_are_those_of_our_operations() {
    for (name, activation) in Activation::ALL {
        let frozen = frozen(*activation);
        let x = randn(&[2, 2, 6, 6], "x").param().unwrap();
        let guest = Guest::new(frozen.module().unwrap(), &x).unwrap();
        let weight = randn(&[2, 4], "weight");
        let results = [guest.forward(&x).unwrap(), ours(&x, &frozen)].map(|y| {
            let loss = y.mul(&weight).unwrap().sum_all().unwrap();
            (y, grad(&loss, &[&x], false).unwrap().remove(0))
        });
        let [(y, g), (y2, g2)] = &results;
        for (a, b) in [(y, y2), (g, g2)] {
            let far = a.sub(b).unwrap().abs().unwrap().max_all().unwrap();
            let size = b.abs().unwrap().max_all().unwrap().item().unwrap();
            // candle's gradient of gelu has 1 / sqrt(2 pi) to six digits.
            let tolerance = if *name == "gelu" { 1e-5 } else { 1e-10 };
            assert!(far.item().unwrap() < tolerance * (1.0 + size), "{name}");
        }
    }
}

#[test]
fn a_second_derivative_is_refused() {
    let frozen = frozen(Activation::Tanh);
    let x = randn(&[1, 2, 6, 6], "x").param().unwrap();
    let guest = Guest::new(frozen.module().unwrap(), &x).unwrap();
    let loss = guest.forward(&x).unwrap().sum_all().unwrap();
    let error = grad(&loss, &[&x], true).err().unwrap();
    assert_eq!(
        error.to_string(),
        "guest: a candle module has first derivatives only"
    );
}

#[test]
fn a_module_that_cuts_the_graph_is_refused() {
    let x = Stream::new(0, "x").randn(&[3, 5], DType::F32).unwrap();
    let ones = Tensor::ones(&[5], DType::F32).unwrap().candle().clone();
    // The fused layer norm has no backward in candle: alone nothing comes through, beside a shortcut a part.
    let norm = candle_nn::LayerNorm::new(ones.clone(), ones.zeros_like().unwrap(), 1e-5);
    let cut = norm.clone();
    let beside = move |x: &Data| norm.forward(x)? + x;
    let refused = |made: Result<Guest, Error>| match made {
        Err(Error::NoGradient {
            op: "guest",
            detail,
        }) => assert!(detail.contains("cuts the graph")),
        other => panic!("{other:?}"),
    };
    refused(Guest::new(move |x: &Data| cut.forward(x), &x));
    refused(Guest::new(beside, &x));
    refused(Guest::new(|x: &Data| Ok(x.detach()), &x));
    let linear = candle_nn::Linear::new(ones.unsqueeze(0).unwrap(), None);
    assert!(Guest::new(linear, &x).is_ok());
}
