//! The contract of every optimizer in `optim::ALL`: it converges, repeats bit for bit, goes on bit for bit from
//! disk, rests at learning rate 0, and a gradient with NaN changes nothing. Golden steps are in
//! `tests/golden.rs`.

use rhapsode_models::{
    Error,
    checkpoint::Checkpoint,
    optim::{self, Choice, Common, Kind, Optimizer, Schedule, Shape, clip_grad_norm},
};
use rhapsode_tensor::{DType, Tensor, params::Params, random::Stream};
use serde_json::{Value, json};

fn choice(kind: &Kind, options: Value) -> Choice {
    (kind.make(options)).unwrap_or_else(|e| panic!("{}: {e}", kind.name))
}

fn randn(shape: &[usize], name: &'static str, dtype: DType) -> Tensor {
    Stream::new(7, name).randn(shape, dtype).unwrap()
}

fn values(optimizer: &Optimizer) -> Vec<Vec<f64>> {
    optimizer.targets().map(|t| t.to_vec().unwrap()).collect()
}

/// An optimizer over a matrix and a vector.
fn two(kind: &Kind, options: Value, dtype: DType) -> Optimizer {
    let targets = vec![randn(&[5, 3], "w", dtype), randn(&[7], "b", dtype)];
    Optimizer::new(choice(kind, options), targets).unwrap()
}

/// Steps on gradients that depend on the step's number alone.
fn walk(optimizer: &mut Optimizer, steps: std::ops::Range<u64>, dtype: DType) {
    for step in steps {
        let of =
            |shape: &[usize], name| Stream::new(11, name).at(step).randn(shape, dtype).unwrap();
        let grads = [Some(of(&[5, 3], "w")), Some(of(&[7], "b"))];
        optimizer.step(&grads, None).unwrap();
    }
}

/// |p - 1|^2 / 2 falls to a hundredth, also where momentum overshoots.
#[test]
fn each_converges_on_a_quadratic() {
    for kind in optim::ALL {
        let lr = match kind.name {
            "lars" => 1.0,
            "sgd" | "momentum" => 0.05,
            "adagrad" => 0.5,
            "ademamix" => 0.02,
            _ => 0.05,
        };
        let mut options = json!({ "lr": lr, "schedule": { "shape": "linear", "steps": 400 } });
        if kind.name == "ademamix" {
            // Its slow mean forgets over ten thousand steps; here there are 400.
            options["betas"] = json!([0.9, 0.999, 0.99]);
        }
        let p = randn(&[50], "p", DType::F32)
            .affine(1.0, 3.0)
            .unwrap()
            .copy()
            .unwrap();
        let loss = |p: &Tensor| {
            p.to_vec()
                .unwrap()
                .iter()
                .map(|p| (p - 1.0).powi(2))
                .sum::<f64>()
        };
        let before = loss(&p);
        let mut optimizer = Optimizer::new(choice(kind, options), vec![p.clone()]).unwrap();
        for _ in 0..400 {
            let g = p.affine(1.0, -1.0).unwrap();
            optimizer.step(&[Some(g)], None).unwrap();
        }
        assert!(
            loss(&p) < 0.01 * before,
            "{}: {before} -> {}",
            kind.name,
            loss(&p)
        );
    }
}

#[test]
fn each_repeats_bit_for_bit() {
    for kind in optim::ALL {
        for dtype in [DType::F32, DType::F64] {
            let [mut a, mut b] = [(); 2].map(|()| two(kind, json!({ "lr": 0.1 }), dtype));
            walk(&mut a, 0..6, dtype);
            walk(&mut b, 0..6, dtype);
            assert_eq!(values(&a), values(&b), "{}", kind.name);
            assert_ne!(
                values(&a),
                values(&two(kind, json!({}), dtype)),
                "{}",
                kind.name
            );
        }
    }
}

#[test]
fn each_goes_on_from_disk_bit_for_bit() {
    let path =
        std::env::temp_dir().join(format!("rhapsode-optim-{}.safetensors", std::process::id()));
    for kind in optim::ALL {
        for dtype in [DType::F32, DType::F64] {
            // A rate that has no short decimal form, and a schedule.
            let options = json!({
                "lr": 0.1f64.sqrt() / 7.0, "weight_decay": 0.01, "clip": 2.0,
                "schedule": { "shape": "cosine", "steps": 20, "warmup": 3 },
            });
            let mut whole = two(kind, options.clone(), dtype);
            walk(&mut whole, 0..10, dtype);
            let mut first = two(kind, options.clone(), dtype);
            walk(&mut first, 0..4, dtype);
            first.checkpoint().unwrap().save(&path).unwrap();
            let saved = Checkpoint::load(&path).unwrap();
            let mut loaded = Optimizer::from_checkpoint(&saved).unwrap();
            let mut restored = two(kind, json!({ "lr": 0.5 }), dtype);
            restored.restore(&saved).unwrap();
            // The rule's own numbers are not part of what is restored in place; its states are.
            assert_eq!(values(&restored), values(&first), "{}", kind.name);
            assert_eq!((loaded.steps(), restored.steps()), (4, 4));
            walk(&mut loaded, 4..10, dtype);
            assert_eq!(values(&loaded), values(&whole), "{}", kind.name);
            let mut restored = two(kind, options, dtype);
            restored.restore(&saved).unwrap();
            walk(&mut restored, 4..10, dtype);
            assert_eq!(values(&restored), values(&whole), "{}", kind.name);
        }
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn another_checkpoint_is_refused_and_changes_nothing() {
    let find = |name| Kind::find(name).unwrap();
    let mut adam = two(find("adam"), json!({}), DType::F32);
    walk(&mut adam, 0..2, DType::F32);
    let before = values(&adam);
    let lion = two(find("lion"), json!({}), DType::F32)
        .checkpoint()
        .unwrap();
    assert!(
        adam.restore(&lion)
            .unwrap_err()
            .to_string()
            .contains("optimizer lion, expected adam")
    );
    let mut short = adam.checkpoint().unwrap();
    short.tensors.retain(|(name, _)| name != "state.1.v");
    walk(&mut adam, 2..3, DType::F32);
    let after = values(&adam);
    assert_ne!(before, after);
    assert!(
        adam.restore(&short)
            .unwrap_err()
            .to_string()
            .contains("`state.1.v` is missing")
    );
    assert_eq!(values(&adam), after);
}

#[test]
fn each_rests_at_learning_rate_0_and_at_a_bad_gradient() {
    for kind in optim::ALL {
        let mut rest = two(kind, json!({ "lr": 0.0, "weight_decay": 0.1 }), DType::F32);
        let before = values(&rest);
        walk(&mut rest, 0..3, DType::F32);
        assert_eq!(values(&rest), before, "{}", kind.name);

        let [mut with, mut without] = [(); 2].map(|()| two(kind, json!({}), DType::F32));
        walk(&mut with, 0..2, DType::F32);
        walk(&mut without, 0..2, DType::F32);
        for bad in [f64::NAN, f64::INFINITY] {
            let grads = [
                Some(randn(&[5, 3], "w", DType::F32)),
                Some(Tensor::full(bad, &[7], DType::F32).unwrap()),
            ];
            let error = with.step(&grads, None).unwrap_err();
            assert!(
                matches!(error, Error::Numeric { step: 3, .. }),
                "{}: {error}",
                kind.name
            );
        }
        assert_eq!(values(&with), values(&without), "{}", kind.name);
        // Nor were the states touched.
        walk(&mut with, 2..4, DType::F32);
        walk(&mut without, 2..4, DType::F32);
        assert_eq!(values(&with), values(&without), "{}", kind.name);
    }
}

#[test]
fn each_clips_and_averages_in_its_pass() {
    for kind in optim::ALL {
        let mut clipped = two(kind, json!({ "clip": 0.5 }), DType::F64);
        let mut by_hand = two(kind, json!({}), DType::F64);
        let average = clipped.targets().next().unwrap().copy().unwrap();
        let mut want: Vec<f64> = average.to_vec().unwrap();
        for step in 0..4 {
            let of = |shape: &[usize], name| {
                Stream::new(3, name)
                    .at(step)
                    .randn(shape, DType::F64)
                    .unwrap()
            };
            let grads = [Some(of(&[5, 3], "w")), Some(of(&[7], "b"))];
            let norm = clipped.step(&grads, Some((&average, 0.75))).unwrap();
            let (scaled, before) = clip_grad_norm(&grads, 0.5).unwrap();
            assert_eq!(norm, before);
            by_hand.step(&scaled, None).unwrap();
            let p = clipped.targets().next().unwrap().to_vec().unwrap();
            want.iter_mut()
                .zip(p)
                .for_each(|(e, p)| *e = 0.75 * *e + 0.25 * p);
        }
        for (a, b) in values(&clipped)
            .iter()
            .flatten()
            .zip(values(&by_hand).iter().flatten())
        {
            assert!((a - b).abs() < 1e-12, "{}: {a}, {b}", kind.name);
        }
        for (a, b) in average.to_vec().unwrap().iter().zip(&want) {
            assert!((a - b).abs() < 1e-12, "{}: average {a}, {b}", kind.name);
        }
    }
}

/// A model's flat buffer gives the same steps as its tensors one by one, also where norms are a tensor's.
#[test]
fn a_flat_buffer_steps_like_its_tensors() {
    for kind in optim::ALL {
        let options = json!({ "lr": 0.5 });
        let mut apart = two(kind, options.clone(), DType::F64);
        let named = ["w", "b"]
            .map(String::from)
            .into_iter()
            .zip(apart.targets().cloned());
        let params = Params::new(named.collect()).unwrap();
        let mut flat = Optimizer::flat(choice(kind, options), &params).unwrap();
        for step in 0..3 {
            let of = |shape: &[usize], name| {
                Stream::new(3, name)
                    .at(step)
                    .randn(shape, DType::F64)
                    .unwrap()
            };
            let grads = [Some(of(&[5, 3], "w")), Some(of(&[7], "b"))];
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

#[test]
fn each_says_its_states_and_options() {
    for kind in optim::ALL {
        let optimizer = two(kind, json!({}), DType::F32);
        let states = optimizer.groups()[0].rule.states().len();
        assert_eq!(
            optimizer.state_bytes(),
            4 * states * (15 + 7),
            "{}",
            kind.name
        );
        assert_eq!(optimizer.name(), kind.name);
        let schema = kind.schema();
        let keys = schema["properties"].as_object().unwrap();
        for key in ["lr", "bits", "clip", "schedule", "weight_decay"] {
            assert!(keys.contains_key(key), "{}: {key}", kind.name);
        }
        // Its options as data make it again.
        let again = (kind.build)(optimizer.groups()[0].rule.options()).unwrap();
        assert_eq!(again.options(), optimizer.groups()[0].rule.options());
        let text = |options| kind.make(options).unwrap_err().to_string();
        assert!(
            text(json!({ "bits": 16 })).contains("`bits`: must be 8 or 32, got 16"),
            "{}",
            kind.name
        );
        assert!(
            text(json!({ "lr": -1.0 })).contains("`lr`: must be"),
            "{}",
            kind.name
        );
        assert!(
            text(json!({ "weight_decay": -1.0 })).contains("`weight_decay`"),
            "{}",
            kind.name
        );
        assert!(
            text(json!({ "clip": 0.0 })).contains("`clip`"),
            "{}",
            kind.name
        );
    }
}

#[test]
fn groups_have_rules_of_their_own_and_share_clip_and_schedule() {
    let kind = Kind::find("sgd").unwrap();
    let rule = |lr: f64| choice(kind, json!({ "lr": lr })).rule;
    let ones = |n: usize| Tensor::full(1.0, &[n], DType::F64).unwrap();
    let groups = vec![
        (rule(0.5), vec![ones(1)]),
        (rule(0.25), vec![ones(1), ones(2)]),
    ];
    let schedule = Schedule::from(Shape::Constant);
    let common = Common {
        clip: Some(2.0),
        schedule: Some(schedule),
        ..Common::default()
    };
    let mut optimizer = Optimizer::grouped(groups, common).unwrap();
    let grads = [1, 1, 2].map(|n| Some(ones(n)));
    assert_eq!(optimizer.step(&grads, None).unwrap(), 2.0);
    assert_eq!(
        values(&optimizer),
        [vec![0.5], vec![0.75], vec![0.75, 0.75]]
    );
    optimizer.set_lr(0.0, Some(1)).unwrap();
    optimizer
        .step(&[None, grads[1].clone(), grads[2].clone()], None)
        .unwrap();
    assert_eq!(
        values(&optimizer),
        [vec![0.5], vec![0.75], vec![0.75, 0.75]]
    );
    assert!(optimizer.set_lr(0.1, Some(2)).is_err());
    assert!(optimizer.step(&grads[..2], None).is_err());
    let wrong = [Some(ones(2)), None, None];
    assert!(
        optimizer
            .step(&wrong, None)
            .unwrap_err()
            .to_string()
            .contains("gradient 0 is [2]")
    );
}
