//! The contract of every optimizer in `optim::ALL` with its state in 8 bits: it converges, repeats and goes on from disk bit for
//! bit, takes states of another width over, and what keeps 32 bits does. Golden steps are in `tests/golden.rs`.

use rhapsode_models::{
    checkpoint::Checkpoint,
    nn::{Embedding, Layer, Linear, Net, Sequential, StableEmbedding},
    optim::{self, Choice, Kind, Optimizer, QuantizeOptions, quantize},
};
use rhapsode_tensor::{DType, Tensor, params::Params, random::Stream};
use serde_json::{Value, json};

fn choice(kind: &Kind, options: Value) -> Choice {
    (kind.make(options)).unwrap_or_else(|e| panic!("{}: {e}", kind.name))
}

/// All options of 8 bits besides those given; small tensors too.
fn eight(more: Value) -> Value {
    let mut options = json!({ "bits": 8, "block": 32, "min_8bit_size": 0 });
    for (key, value) in more.as_object().unwrap() {
        options[key] = value.clone();
    }
    options
}

fn draw(shape: &[usize], step: u64, dtype: DType) -> Tensor {
    let stream = Stream::new(11, "draw").at(step);
    stream
        .randn(shape, DType::F64)
        .unwrap()
        .to_dtype(dtype)
        .unwrap()
}

/// An optimizer over a matrix and a vector with a short last block.
fn two(kind: &Kind, options: Value, dtype: DType) -> Optimizer {
    let targets = vec![draw(&[9, 7], 100, dtype), draw(&[40], 101, dtype)];
    Optimizer::new(choice(kind, options), targets).unwrap()
}

fn walk(optimizer: &mut Optimizer, steps: std::ops::Range<u64>, dtype: DType) {
    for step in steps {
        let grads = [draw(&[9, 7], step, dtype), draw(&[40], step + 50, dtype)].map(Some);
        optimizer.step(&grads, None).unwrap();
    }
}

fn values(optimizer: &Optimizer) -> Vec<Vec<f64>> {
    optimizer.targets().map(|t| t.to_vec().unwrap()).collect()
}

/// All tensors of a checkpoint: parameters and states.
fn whole(optimizer: &Optimizer) -> Vec<(String, Vec<f64>)> {
    let saved = optimizer.checkpoint().unwrap();
    let vector = |(name, t): (String, Tensor)| (name, t.to_vec().unwrap());
    saved.tensors.into_iter().map(vector).collect()
}

/// |p - 1|^2 / 2 falls to a fiftieth.
#[test]
fn each_converges_on_a_quadratic() {
    for kind in optim::ALL {
        for rounding in ["nearest", "stochastic"] {
            let lr = match kind.name {
                "lars" => 1.0,
                "adagrad" => 0.5,
                "ademamix" => 0.02,
                _ => 0.05,
            };
            let mut options = eight(json!({
                "lr": lr, "rounding": rounding, "schedule": { "shape": "linear", "steps": 400 },
            }));
            if kind.name == "ademamix" {
                options["betas"] = json!([0.9, 0.999, 0.99]);
            }
            let p = draw(&[50], 0, DType::F32)
                .affine(1.0, 3.0)
                .unwrap()
                .copy()
                .unwrap();
            let loss = || -> f64 { p.to_vec().unwrap().iter().map(|p| (p - 1.0).powi(2)).sum() };
            let before = loss();
            let mut optimizer = Optimizer::new(choice(kind, options), vec![p.clone()]).unwrap();
            for _ in 0..400 {
                optimizer
                    .step(&[Some(p.affine(1.0, -1.0).unwrap())], None)
                    .unwrap();
            }
            assert!(
                loss() < 0.02 * before,
                "{} {rounding}: {before} -> {}",
                kind.name,
                loss()
            );
        }
    }
}

/// The first step is exact, as the states are still 0; later ones stay near those in 32 bits.
#[test]
fn each_follows_its_32_bits() {
    for kind in optim::ALL {
        for dtype in [DType::F32, DType::F64] {
            let mut full = two(kind, json!({ "lr": 0.01 }), dtype);
            let mut small = two(kind, eight(json!({ "lr": 0.01 })), dtype);
            let start = values(&full);
            walk(&mut full, 0..1, dtype);
            walk(&mut small, 0..1, dtype);
            assert_eq!(values(&full), values(&small), "{}", kind.name);
            walk(&mut full, 1..10, dtype);
            walk(&mut small, 1..10, dtype);
            let apart = |a: &[Vec<f64>], b: &[Vec<f64>]| -> f64 {
                let pairs = a.iter().flatten().zip(b.iter().flatten());
                pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
            };
            let (way, off) = (
                apart(&values(&full), &start),
                apart(&values(&full), &values(&small)),
            );
            assert!(off < 0.1 * way, "{}: {off} of {way}", kind.name);
        }
    }
}

#[test]
fn each_goes_on_from_disk_bit_for_bit() {
    let name = format!("rhapsode-optim8-{}.safetensors", std::process::id());
    let path = std::env::temp_dir().join(name);
    for kind in optim::ALL {
        for (dtype, rounding) in [(DType::F32, "stochastic"), (DType::F64, "nearest")] {
            let options = eight(json!({
                "lr": 0.1f64.sqrt() / 7.0, "percentile": 60.0, "rounding": rounding, "skip_zeros": true,
            }));
            let mut all = two(kind, options.clone(), dtype);
            walk(&mut all, 0..10, dtype);
            let mut first = two(kind, options.clone(), dtype);
            walk(&mut first, 0..4, dtype);
            first.checkpoint().unwrap().save(&path).unwrap();
            let saved = Checkpoint::load(&path).unwrap();
            let mut loaded = Optimizer::from_checkpoint(&saved).unwrap();
            let mut restored = two(kind, options, dtype);
            restored.restore(&saved).unwrap();
            assert_eq!(whole(&loaded), whole(&first), "{}", kind.name);
            walk(&mut loaded, 4..10, dtype);
            walk(&mut restored, 4..10, dtype);
            assert_eq!(whole(&loaded), whole(&all), "{}", kind.name);
            assert_eq!(whole(&restored), whole(&all), "{}", kind.name);
        }
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn states_of_another_width_block_or_code_are_taken_over() {
    let kind = Kind::find("adam").unwrap();
    let forms = [
        json!({}),
        eight(json!({})),
        eight(json!({ "block": 16 })),
        eight(json!({ "code": ["dynamic", "linear"] })),
    ];
    let state = |optimizer: &Optimizer, name: &str| -> Vec<f64> {
        let saved = optimizer.checkpoint().unwrap();
        let find = |name: String| saved.tensors.iter().find(|(n, _)| *n == name);
        match find(format!("state.0.{name}")) {
            Some((_, full)) => full.to_vec().unwrap(),
            None => find(format!("state.0.{name}.codes"))
                .unwrap()
                .1
                .to_vec()
                .unwrap(),
        }
    };
    for from in &forms {
        let mut source = two(kind, from.clone(), DType::F32);
        walk(&mut source, 0..3, DType::F32);
        let saved = source.checkpoint().unwrap();
        for to in &forms {
            let mut target = two(kind, to.clone(), DType::F32);
            target.restore(&saved).unwrap();
            assert_eq!((values(&target), target.steps()), (values(&source), 3));
            if from == to {
                assert_eq!(whole(&target), whole(&source));
            }
            // What was taken over is what a second time takes over.
            let mut again = two(kind, to.clone(), DType::F32);
            again.restore(&target.checkpoint().unwrap()).unwrap();
            assert_eq!(whole(&again), whole(&target));
        }
    }
    // From 32 bits it is the quantization of the state.
    let mut full = two(kind, json!({}), DType::F32);
    walk(&mut full, 0..3, DType::F32);
    let mut small = two(kind, eight(json!({})), DType::F32);
    small.restore(&full.checkpoint().unwrap()).unwrap();
    let m = Tensor::from_vec(state(&full, "m"), &[63]).unwrap();
    let by_hand = quantize(
        &m,
        &QuantizeOptions {
            block: 32,
            ..Default::default()
        },
    )
    .unwrap();
    assert_eq!(
        state(&small, "m"),
        by_hand.codes().unwrap().to_vec().unwrap()
    );
}

#[test]
fn broken_files_are_refused_and_change_nothing() {
    let kind = Kind::find("adam").unwrap();
    let mut optimizer = two(kind, eight(json!({})), DType::F32);
    walk(&mut optimizer, 0..2, DType::F32);
    let before = whole(&optimizer);
    let good = optimizer.checkpoint().unwrap();
    type Break = fn(&mut Checkpoint);
    let breaks: [(Break, &str); 4] = [
        (
            |c| c.tensors.retain(|(n, _)| n != "state.1.v.absmax"),
            "`state.1.v.absmax` is missing",
        ),
        (
            |c| c.tensors.retain(|(n, _)| n != "state.1.v.codes"),
            "`state.1.v` is missing",
        ),
        (
            |c| replace(c, "state.0.m.absmax", &[1.0, f32::NAN]),
            "absmax must be finite",
        ),
        (
            |c| replace(c, "state.0.m.absmax", &[1.0]),
            "is [1] f32, expected [2] f32",
        ),
    ];
    for (damage, message) in breaks {
        let mut bad = good.clone();
        damage(&mut bad);
        let error = optimizer.restore(&bad).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(whole(&optimizer), before);
    }
}

fn replace(checkpoint: &mut Checkpoint, name: &str, values: &[f32]) {
    let (_, tensor) = checkpoint
        .tensors
        .iter_mut()
        .find(|(n, _)| n == name)
        .unwrap();
    *tensor = Tensor::from_vec(values.to_vec(), &[values.len()]).unwrap();
}

#[test]
fn a_gradient_that_is_no_number_touches_neither_parameters_nor_states() {
    for kind in optim::ALL {
        let mut optimizer = two(kind, eight(json!({ "percentile": 50.0 })), DType::F32);
        walk(&mut optimizer, 0..2, DType::F32);
        let before = whole(&optimizer);
        for bad in [f64::NAN, f64::INFINITY] {
            let grads = [
                draw(&[9, 7], 9, DType::F32),
                Tensor::full(bad, &[40], DType::F32).unwrap(),
            ];
            assert!(optimizer.step(&grads.map(Some), None).is_err());
        }
        assert_eq!(whole(&optimizer), before, "{}", kind.name);
    }
}

/// Tensors of a flat buffer have blocks of their own, as tensors one by one do.
#[test]
fn a_flat_buffer_steps_like_its_tensors() {
    for kind in optim::ALL {
        let options = eight(json!({ "lr": 0.5, "max_unorm": 0.1 }));
        let mut apart = two(kind, options.clone(), DType::F32);
        let named = ["w", "b"]
            .map(String::from)
            .into_iter()
            .zip(apart.targets().cloned());
        let params = Params::new(named.collect()).unwrap();
        let mut flat = Optimizer::flat(choice(kind, options), &params).unwrap();
        assert_eq!(flat.state_bytes(), apart.state_bytes());
        for step in 0..3 {
            let grads = [
                draw(&[9, 7], step, DType::F32),
                draw(&[40], step, DType::F32),
            ]
            .map(Some);
            apart.step(&grads, None).unwrap();
            flat.step(&[Some(params.gather(&grads).unwrap())], None)
                .unwrap();
        }
        assert_eq!(
            values(&apart).concat(),
            params.flat().to_vec().unwrap(),
            "{}",
            kind.name
        );
    }
}

/// |lr u| <= lr max_unorm |p| at both widths, in the direction of the step without it.
#[test]
fn max_unorm_holds_the_step_to_a_share_of_the_tensor() {
    for kind in optim::ALL
        .iter()
        .filter(|kind| kind.name != "lamb" && kind.name != "lars")
    {
        for base in [json!({}), eight(json!({}))] {
            let with = |max_unorm: f64| {
                let mut options = base.clone();
                options["lr"] = json!(0.1);
                options["weight_decay"] = json!(0.0);
                options["max_unorm"] = json!(max_unorm);
                let mut optimizer = two(kind, options, DType::F32);
                let before = values(&optimizer);
                walk(&mut optimizer, 0..1, DType::F32);
                let after = values(&optimizer);
                let moved: Vec<f64> = before[0]
                    .iter()
                    .zip(&after[0])
                    .map(|(a, b)| a - b)
                    .collect();
                (before[0].clone(), moved)
            };
            let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
            let (p, held) = with(0.01);
            let (_, free) = with(0.0);
            assert!(norm(&free) > 0.1 * 0.01 * norm(&p), "{}", kind.name);
            let want = 0.1 * 0.01 * norm(&p);
            assert!((norm(&held) - want).abs() < 1e-3 * want, "{}", kind.name);
            let ratio = norm(&held) / norm(&free);
            for (held, free) in held.iter().zip(&free) {
                assert!(
                    (held - ratio * free).abs() < 1e-6,
                    "{}: {held} {free}",
                    kind.name
                );
            }
        }
    }
}

#[test]
fn elements_without_a_gradient_rest_on_request() {
    for kind in optim::ALL {
        for base in [json!({}), eight(json!({}))] {
            let mut options = base.clone();
            options["skip_zeros"] = json!(true);
            options["lr"] = json!(0.1);
            let p = draw(&[40], 0, DType::F32);
            let before = p.to_vec().unwrap();
            let mut optimizer = Optimizer::new(choice(kind, options), vec![p.clone()]).unwrap();
            let mut g = draw(&[40], 1, DType::F32).to_vec().unwrap();
            g.iter_mut().step_by(2).for_each(|g| *g = 0.0);
            let g = Tensor::from_vec(g.iter().map(|g| *g as f32).collect(), &[40]).unwrap();
            optimizer.step(&[Some(g)], None).unwrap();
            for (i, (a, b)) in before.iter().zip(p.to_vec().unwrap()).enumerate() {
                assert_eq!(*a == b, i % 2 == 0, "{} {i}", kind.name);
            }
        }
    }
}

/// What keeps 32 bits: small tensors, named ones, stable embeddings whatever the options say.
#[test]
fn small_named_and_stable_parameters_keep_32_bits() {
    let adam = Kind::find("adam").unwrap();
    let bytes = |layers: Vec<Layer>, options: Value| {
        let net = Net::new(Layer::Sequential(Sequential { layers }), 0, DType::F32).unwrap();
        let params = net.params().unwrap();
        let flat =
            Optimizer::flat(choice(adam, options.clone()), &params).map(|o| o.state_bytes())?;
        let tensors = net.named().into_iter().map(|(_, t)| t).collect();
        let apart = Optimizer::new(choice(adam, options), tensors)?.state_bytes();
        assert_eq!(flat, apart);
        Ok::<usize, rhapsode_models::Error>(flat)
    };
    let embedding = |keep_32bit| {
        Layer::Embedding(Embedding {
            vocab: 300,
            size: 16,
            keep_32bit,
            ..Embedding::default()
        })
    };
    let stable = || {
        Layer::StableEmbedding(StableEmbedding {
            vocab: 300,
            size: 16,
        })
    };
    let linear = || Layer::Linear(Linear::of(16, 300));
    let (big, bias) = (2 * (4800 + 4 * 19), 8 * 300);
    let options = |more: Value| {
        let mut options = json!({ "bits": 8 });
        options
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        options
    };
    let with = |first: Layer, more: Value| bytes(vec![first, linear()], options(more));
    assert_eq!(with(embedding(false), json!({})).unwrap(), 2 * big + bias);
    assert_eq!(
        with(embedding(true), json!({})).unwrap(),
        8 * 4800 + big + bias
    );
    assert_eq!(
        with(stable(), json!({})).unwrap(),
        8 * (4800 + 32) + big + bias
    );
    for name in ["embedding", "layers.0", "layers.0.weight"] {
        let keep = json!({ "keep_32bit": [name] });
        assert_eq!(
            with(embedding(false), keep).unwrap(),
            8 * 4800 + big + bias,
            "{name}"
        );
    }
    assert_eq!(
        with(embedding(false), json!({ "min_8bit_size": 4801 })).unwrap(),
        8 * 9600 + bias
    );
    for name in ["layers.3", "layer", "0.weights"] {
        let error = with(embedding(false), json!({ "keep_32bit": [name] })).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("there is no `{name}` among layers.0.weight"))
        );
    }
    // A copy, and a network put into another, know it too.
    let net = Net::new(stable(), 0, DType::F32).unwrap();
    let copy = net.duplicate().unwrap();
    let joined = Net::sequential(vec![net], 1).unwrap();
    for net in [copy, joined] {
        let tensors: Vec<Tensor> = net.named().into_iter().map(|(_, t)| t).collect();
        let optimizer = Optimizer::new(
            choice(adam, json!({ "bits": 8, "min_8bit_size": 0 })),
            tensors,
        );
        assert_eq!(
            optimizer.unwrap().state_bytes(),
            8 * 4800 + 2 * 2 * (16 + 4)
        );
    }
}

#[test]
fn impossible_options_are_refused() {
    let adam = Kind::find("adam").unwrap();
    for (options, message) in [
        (json!({ "bits": 4 }), "`bits`: must be 8 or 32, got 4"),
        (json!({ "block": 0 }), "`block`: must be at least 1, got 0"),
        (
            json!({ "percentile": 0.0 }),
            "`percentile`: must lie in (0, 100], got 0",
        ),
        (
            json!({ "percentile": 101.0 }),
            "`percentile`: must lie in (0, 100], got 101",
        ),
        (
            json!({ "max_unorm": -1.0 }),
            "`max_unorm`: must be a finite number >= 0, got -1",
        ),
        (
            json!({ "keep_32bit": [""] }),
            "`keep_32bit`: holds an empty name",
        ),
        (
            json!({ "code": ["linear"] }),
            "`code`: has 1 entries for 2 states (m, v)",
        ),
    ] {
        let error = adam.make(options).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
