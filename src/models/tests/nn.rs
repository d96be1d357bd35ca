//! The contract of every layer in `nn::ALL`: shapes, gradients, files, seeds, precisions, and what a wrong input is told.

use std::{collections::HashSet, ops::ControlFlow};

use rhapsode_models::{
    Error, Result,
    checkpoint::Checkpoint,
    flow::{NetKind, RectifiedFlow, SampleOptions, VelocityOptions},
    nn::{self, Dropout, Kind, Layer, Linear, Net, NetFitOptions, Sequential},
    observe::{Silent, Step},
};
use rhapsode_tensor::{DType, Tensor, grad, grad_or_zero, random::Stream};

/// Inputs of a sample: normal numbers, or whole ones where the kind takes those.
fn inputs(kind: &Kind, dtype: DType) -> Vec<Tensor> {
    let draw = |(i, shape): (usize, &&[usize])| {
        let stream = Stream::new(3, kind.name).at(i as u64);
        // Masks of attention are the third input: everything may be seen.
        match (kind.whole, i) {
            (true, _) => stream.randint(0, 3, shape).unwrap(),
            (_, 2) => Tensor::ones(shape, dtype).unwrap(),
            _ => {
                let x = stream.randn(shape, DType::F64).unwrap();
                x.to_dtype(dtype).unwrap()
            }
        }
    };
    kind.inputs.iter().enumerate().map(draw).collect()
}

fn forward(net: &Net, inputs: &[Tensor]) -> Result<Tensor> {
    net.forward(&inputs[0], &inputs[1..].iter().collect::<Vec<_>>())
}

fn net(kind: &Kind, seed: u64, dtype: DType) -> Net {
    let net = Net::new((kind.sample)(), seed, dtype).unwrap();
    net.set_training(false);
    net
}

/// A weighted sum of the outputs, so that no part of a gradient cancels.
fn loss(y: &Tensor) -> Tensor {
    let weight = Stream::new(1, "weight").randn(y.dims(), y.dtype()).unwrap();
    y.mul(&weight).unwrap().sum_all().unwrap()
}

#[test]
fn names_are_those_of_the_layers() {
    for kind in nn::ALL {
        assert_eq!((kind.sample)().kind(), kind.name);
    }
}

#[test]
fn shapes_are_those_said() {
    for kind in nn::ALL {
        let net = net(kind, 0, DType::F32);
        let y = forward(&net, &inputs(kind, DType::F32)).unwrap();
        assert_eq!(y.dims(), kind.output, "{}", kind.name);
        let shapes: Vec<Vec<usize>> = kind.inputs.iter().map(|s| s.to_vec()).collect();
        if !kind.whole && kind.inputs.len() < 3 {
            let rows = net.rows(Some(&shapes)).unwrap();
            let last = rows.last().unwrap().output.as_deref();
            assert!(last.is_some(), "{}", kind.name);
            let total: usize = rows.iter().map(|r| r.params).sum();
            assert_eq!(total, net.count(), "{}: rows count everything", kind.name);
        }
        let total: usize = net.rows(None).unwrap().iter().map(|r| r.params).sum();
        assert_eq!(total, net.count(), "{}", kind.name);
    }
}

#[test]
fn every_parameter_gets_the_gradient_of_finite_differences() {
    for kind in nn::ALL {
        let net = net(kind, 1, DType::F64);
        let inputs = inputs(kind, DType::F64);
        let named = net.named();
        if named.is_empty() {
            continue;
        }
        let y = forward(&net, &inputs).unwrap();
        let params: Vec<&Tensor> = named.iter().map(|(_, t)| t).collect();
        let grads = grad_or_zero(loss(&y), &params).unwrap();
        for ((name, param), gradient) in named.iter().zip(grads) {
            // A key's bias shifts all scores of a row alike: softmax does not see it.
            if name.ends_with("k.bias") && !matches!(net.layer(), Layer::Attention(a) if a.rotary) {
                continue;
            }
            // The table rows of the class that was not given rest, the given one learns.
            let label = format!("{} {name}", kind.name);
            let gradient = gradient.unwrap_or_else(|| panic!("{label} gets no gradient"));
            assert!(gradient.is_finite().unwrap(), "{label}");
            let size = gradient.norm_all().unwrap().item().unwrap();
            assert!(size > 1e-9, "{label}: {size}");
            let direction = Stream::new(9, name)
                .randn(param.dims(), DType::F64)
                .unwrap();
            let along = gradient.mul(&direction).unwrap().sum_all().unwrap();
            let step = 1e-5;
            let at = |scale: f64| {
                let d = direction.to_vec().unwrap();
                let add = |sign: f64| {
                    rhapsode_tensor::params::update_tensor::<f64>(param, |p| {
                        p.iter_mut()
                            .zip(&d)
                            .for_each(|(p, d)| *p += sign * scale * d);
                    })
                    .unwrap();
                };
                add(1.0);
                let value = loss(&forward(&net, &inputs).unwrap()).item().unwrap();
                add(-1.0);
                value
            };
            let measured = (at(step) - at(-step)) / (2.0 * step);
            let (along, bound) = (along.item().unwrap(), 1e-5 * (1.0 + size));
            assert!(
                (along - measured).abs() < bound,
                "{label}: {along} {measured}"
            );
        }
    }
}

#[test]
fn inputs_get_gradients_too() {
    for kind in nn::ALL.iter().filter(|kind| !kind.whole) {
        let net = net(kind, 1, DType::F64);
        let mut inputs = inputs(kind, DType::F64);
        inputs[0] = inputs[0].param().unwrap();
        let y = forward(&net, &inputs).unwrap();
        let g = grad(&loss(&y), &[&inputs[0]], false).unwrap().remove(0);
        assert!(g.is_finite().unwrap(), "{}", kind.name);
        let size = g.norm_all().unwrap().item().unwrap();
        assert!(size > 1e-9, "{}", kind.name);
    }
}

#[test]
fn a_file_holds_it_bit_for_bit() {
    let folder = std::env::temp_dir().join(format!("rhapsode-nn-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (i, kind) in nn::ALL.iter().enumerate() {
        for dtype in [DType::F32, DType::F64] {
            let path = folder.join(format!("{i}.safetensors"));
            let net = net(kind, 5, dtype);
            net.checkpoint().save(&path).unwrap();
            let again = Net::restore(&Checkpoint::load(&path).unwrap()).unwrap();
            let names = |net: &Net| net.named().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
            assert_eq!(names(&net), names(&again), "{}", kind.name);
            let inputs = inputs(kind, dtype);
            // A network without parameters has no dtype of its own.
            let (a, b) = (
                forward(&net, &inputs).unwrap(),
                forward(&again, &inputs).unwrap(),
            );
            assert_eq!(a.to_vec().unwrap(), b.to_vec().unwrap(), "{}", kind.name);
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_does_not() {
    for kind in nn::ALL {
        let values = |seed: u64| -> Vec<Vec<f64>> {
            let named = net(kind, seed, DType::F32).named();
            named.iter().map(|(_, t)| t.to_vec().unwrap()).collect()
        };
        assert_eq!(values(3), values(3), "{}", kind.name);
        let constant = ["layer_norm", "rms_norm", "group_norm"].contains(&kind.name);
        if !values(3).is_empty() && !constant {
            assert_ne!(values(3), values(4), "{}", kind.name);
        }
    }
}

#[test]
fn f32_follows_f64() {
    for kind in nn::ALL {
        let wide = net(kind, 2, DType::F64);
        let narrow = net(kind, 2, DType::F32);
        let cast = wide.checkpoint().tensors.into_iter();
        let mut checkpoint = narrow.checkpoint();
        checkpoint.tensors = cast
            .map(|(n, t)| (n, t.to_dtype(DType::F32).unwrap()))
            .collect();
        narrow.fill(&checkpoint).unwrap();
        let a = forward(&wide, &inputs(kind, DType::F64)).unwrap();
        let b = forward(&narrow, &inputs(kind, DType::F32)).unwrap();
        let scale = a.abs().unwrap().max_all().unwrap().item().unwrap();
        let far = a
            .sub(&b.to_dtype(DType::F64).unwrap())
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap();
        let far = far.item().unwrap();
        assert!(far <= 2e-5 * (1.0 + scale), "{}: {far}", kind.name);
    }
}

#[test]
fn a_wrong_shape_names_the_layer_and_both_shapes() {
    // What takes any shape has nothing to refuse.
    let any = ["dropout", "relu", "embedding", "stable_embedding"];
    for kind in nn::ALL.iter().filter(|kind| !any.contains(&kind.name)) {
        let net = net(kind, 0, DType::F32);
        let x = Tensor::zeros(&[], DType::F32).unwrap();
        let mut inputs = inputs(kind, DType::F32);
        inputs[0] = x;
        let error = forward(&net, &inputs).err();
        let Some(Error::Layer { layer, got, .. }) = error else {
            panic!("{}: {error:?}", kind.name);
        };
        assert!(!layer.is_empty() && got.is_empty(), "{layer} {got:?}");
    }
    let whole = Layer::Sequential(Sequential {
        layers: vec![
            Layer::Linear(Linear::of(3, 4)),
            Layer::Activation(nn::Activation::Relu),
            Layer::Linear(Linear::of(5, 2)),
        ],
    });
    let net = Net::new(whole, 0, DType::F32).unwrap();
    let error = net.forward(&Tensor::zeros(&[2, 3], DType::F32).unwrap(), &[]);
    assert_eq!(
        error.err().unwrap().to_string(),
        "layer layers.2 (linear): expected input [.., 5], got [2, 4]"
    );
}

fn dropped() -> Net {
    let layers = vec![
        Layer::Linear(Linear::of(4, 64)),
        Layer::Dropout(Dropout { p: 0.25 }),
        Layer::Linear(Linear::of(64, 1)),
    ];
    Net::new(Layer::Sequential(Sequential { layers }), 0, DType::F32).unwrap()
}

#[test]
fn dropout_drops_in_training_alone() {
    let net = Net::new(Layer::Dropout(Dropout { p: 0.25 }), 7, DType::F64).unwrap();
    let x = Tensor::ones(&[100, 100], DType::F64).unwrap();
    assert!(net.is_training());
    let first = net.forward(&x, &[]).unwrap().to_vec().unwrap();
    let zeros = first.iter().filter(|v| **v == 0.0).count() as f64 / 1e4;
    assert!((zeros - 0.25).abs() < 0.02, "{zeros}");
    assert!(first.iter().all(|v| *v == 0.0 || *v == 1.0 / 0.75));
    assert_ne!(first, net.forward(&x, &[]).unwrap().to_vec().unwrap());
    // The masks of a twin are the same.
    let twin = Net::new(Layer::Dropout(Dropout { p: 0.25 }), 7, DType::F64).unwrap();
    assert_eq!(first, twin.forward(&x, &[]).unwrap().to_vec().unwrap());
    net.set_training(false);
    assert_eq!(
        net.forward(&x, &[]).unwrap().to_vec().unwrap(),
        [1.0; 10_000]
    );
}

#[test]
fn a_training_that_was_stopped_goes_on_bit_for_bit() {
    let x = Stream::new(0, "x").randn(&[50, 4], DType::F32).unwrap();
    let y = x.sum(&[1]).unwrap().unsqueeze(1).unwrap();
    let options = NetFitOptions {
        steps: 12,
        batch: 16,
        ..NetFitOptions::default()
    };
    let whole = dropped();
    let run = whole.fit(&x, &y, &options, &mut Silent).unwrap();
    assert!(!whole.is_training(), "fit leaves it in evaluation mode");
    let parts = dropped();
    let mut stop_at_5 = |step: &Step| match step.step {
        5 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let mut again = parts.fit(&x, &y, &options, &mut stop_at_5).unwrap();
    assert!(again.interrupted && again.steps() == 5);
    again.more(7, &mut Silent).unwrap();
    assert_eq!(run.losses, again.losses);
    let values = |net: &Net| net.params().unwrap().flat().to_vec().unwrap();
    assert_eq!(values(&whole), values(&parts));
}

#[test]
fn parts_share_the_parameters_of_the_whole() {
    let make = |i, o, seed| Net::new(Layer::Linear(Linear::of(i, o)), seed, DType::F64).unwrap();
    let (encoder, decoder) = (make(3, 2, 1), make(2, 3, 2));
    let before = encoder.named()[0].1.to_vec().unwrap();
    let inner = Net::sequential(vec![encoder.clone(), decoder.clone()], 0).unwrap();
    let net = Net::sequential(vec![inner, make(3, 1, 3)], 0).unwrap();
    let names: HashSet<String> = net.named().into_iter().map(|(n, _)| n).collect();
    assert!(names.contains("layers.0.layers.1.weight"), "{names:?}");
    assert_eq!(encoder.named()[0].0, "weight");
    assert_eq!(encoder.named()[0].1.to_vec().unwrap(), before);
    let x = Stream::new(0, "x").randn(&[20, 3], DType::F64).unwrap();
    let y = x.sum(&[1]).unwrap().unsqueeze(1).unwrap();
    let options = NetFitOptions {
        steps: 5,
        ..NetFitOptions::default()
    };
    net.fit(&x, &y, &options, &mut Silent).unwrap();
    let trained = &net.named()[0].1;
    assert_eq!(
        encoder.named()[0].1.to_vec().unwrap(),
        trained.to_vec().unwrap()
    );
    assert_ne!(encoder.named()[0].1.to_vec().unwrap(), before);
    let z = decoder
        .forward(&encoder.forward(&x, &[]).unwrap(), &[])
        .unwrap();
    let whole = net.parts()[0].forward(&x, &[]).unwrap();
    assert_eq!(z.to_vec().unwrap(), whole.to_vec().unwrap());
    // A part belongs to one network.
    let error = Net::sequential(vec![encoder.clone()], 0).err().unwrap();
    assert!(
        error.to_string().contains("belongs to a network already"),
        "{error}"
    );
    assert!(encoder.fit(&x, &y, &options, &mut Silent).is_err());
    let copy = encoder.duplicate().unwrap();
    assert!(Net::sequential(vec![copy], 0).is_ok());
}

#[test]
fn a_flow_of_images_is_restored_with_its_unet() {
    let options = VelocityOptions {
        shape: vec![1, 4, 4],
        net: NetKind::Unet,
        base: 4,
        classes: 2,
        ..VelocityOptions::default()
    };
    let flow = RectifiedFlow::new(options, 3, DType::F64).unwrap();
    let again = RectifiedFlow::restore(&flow.checkpoint()).unwrap();
    assert_eq!(flow.options(), again.options());
    let draw = |flow: &RectifiedFlow, label| {
        let options = SampleOptions {
            steps: Some(2),
            label,
            guidance: 2.0,
            ..SampleOptions::default()
        };
        let x = flow.sample(3, &options, &mut Silent).unwrap();
        assert_eq!(x.dims(), [3, 1, 4, 4]);
        x.to_vec().unwrap()
    };
    assert_eq!(draw(&flow, Some(1)), draw(&again, Some(1)));
    assert_ne!(draw(&flow, Some(1)), draw(&flow, Some(0)));
}

#[test]
fn nesting_ends_before_the_stack_does() {
    let mut net = Net::new(Layer::Linear(Linear::default()), 0, DType::F32).unwrap();
    for _ in 0..23 {
        net = Net::sequential(vec![net], 0).unwrap();
    }
    let folder = std::env::temp_dir().join(format!("rhapsode-deep-{}", std::process::id()));
    net.checkpoint().save(&folder).unwrap();
    Net::restore(&Checkpoint::load(&folder).unwrap()).unwrap();
    std::fs::remove_file(&folder).unwrap();
    let error = Net::sequential(vec![net], 0).err().unwrap();
    assert!(
        error.to_string().contains("nested at most 24 deep"),
        "{error}"
    );
}

#[test]
fn a_gru_goes_on_from_its_state() {
    let kind = nn::ALL.iter().find(|kind| kind.name == "gru").unwrap();
    let net = net(kind, 0, DType::F64);
    let x = Stream::new(0, "x").randn(&[2, 6, 3], DType::F64).unwrap();
    let (whole, last) = net.scan(&x, None).unwrap();
    let (first, state) = net.scan(&x.narrow(1, 0, 4).unwrap(), None).unwrap();
    let (second, end) = net.scan(&x.narrow(1, 4, 2).unwrap(), Some(&state)).unwrap();
    let joined = Tensor::cat(&[&first, &second], 1).unwrap();
    assert_eq!(joined.to_vec().unwrap(), whole.to_vec().unwrap());
    assert_eq!(end.to_vec().unwrap(), last.to_vec().unwrap());
}

#[test]
fn causal_attention_does_not_see_what_comes() {
    let kind = nn::ALL
        .iter()
        .find(|kind| kind.name == "attention")
        .unwrap();
    let net = net(kind, 0, DType::F64);
    let x = Stream::new(0, "x").randn(&[1, 5, 8], DType::F64).unwrap();
    let changed = Tensor::cat(
        &[
            &x.narrow(1, 0, 3).unwrap(),
            &Tensor::ones(&[1, 2, 8], DType::F64).unwrap(),
        ],
        1,
    )
    .unwrap();
    let head = |x: &Tensor| {
        net.forward(x, &[])
            .unwrap()
            .narrow(1, 0, 3)
            .unwrap()
            .to_vec()
            .unwrap()
    };
    assert_eq!(head(&x), head(&changed));
    let blind = Tensor::zeros(&[5, 5], DType::F64).unwrap();
    let error = net.forward(&x, &[&x, &blind]).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("row 0 lets its place see nothing"),
        "{error}"
    );
}
