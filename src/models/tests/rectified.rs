//! Rectified flow: it learns, stops and goes on bit for bit, refuses bad input, survives the disk.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rhapsode_models::{
    Error,
    checkpoint::Checkpoint,
    flow::{
        Coupling, FitOptions, LogProbOptions, RectifiedFlow, SampleOptions, VelocityField,
        VelocityOptions, likelihood::Trace,
    },
    observe::{Silent, Step},
    ode::Solver,
    optim::AdamOptions,
};
use rhapsode_tensor::{DType, Tensor, grad, random::Stream};

fn small(classes: usize, dtype: DType) -> RectifiedFlow {
    let options = VelocityOptions {
        hidden: vec![16, 16],
        classes,
        time_frequencies: 2,
        ..Default::default()
    };
    RectifiedFlow::new(options, 3, dtype).unwrap()
}

fn gaussian(n: usize, dtype: DType) -> Tensor {
    Stream::new(1, "data")
        .randn(&[n, 2], dtype)
        .unwrap()
        .affine(0.5, 2.0)
        .unwrap()
}

fn fit_options(steps: u64) -> FitOptions {
    FitOptions {
        steps,
        batch: 64,
        seed: Some(5),
        ..Default::default()
    }
}

fn weights(flow: &RectifiedFlow) -> Vec<f64> {
    flow.params().flat().to_vec().unwrap()
}

#[test]
fn learns_the_mean_and_deviation_of_a_gaussian() {
    for dtype in [DType::F32, DType::F64] {
        let flow = small(0, dtype);
        let rule = AdamOptions {
            lr: 1e-2,
            ..Default::default()
        };
        let options = FitOptions {
            batch: 256,
            optimizer: Some(rule.into()),
            ..fit_options(800)
        };
        let run = flow
            .fit(&gaussian(2000, dtype), &options, &mut Silent)
            .unwrap();
        assert!(run.losses[799] < run.losses[0]);
        for solver in [Solver::Euler, Solver::Heun, Solver::Rk4, Solver::Dopri5] {
            let options = SampleOptions {
                solver,
                seed: Some(1),
                ..Default::default()
            };
            let x = flow.sample(3000, &options, &mut Silent).unwrap();
            let mean = x.mean(&[0]).unwrap().to_vec().unwrap();
            let std = x.std(Some(&[0])).unwrap().to_vec().unwrap();
            assert!(
                mean.iter().all(|m| (m - 2.0).abs() < 0.1),
                "{solver:?} {dtype:?}: mean {mean:?}"
            );
            assert!(
                std.iter().all(|s| (s - 0.5).abs() < 0.1),
                "{solver:?} {dtype:?}: deviation {std:?}"
            );
        }
    }
}

#[test]
fn a_stopped_run_goes_on_bit_for_bit() {
    let data = gaussian(300, DType::F32);
    let whole = small(0, DType::F32);
    let straight = whole.fit(&data, &fit_options(50), &mut Silent).unwrap();
    let flow = small(0, DType::F32);
    let mut stop = |step: &Step| {
        if step.step == 17 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let mut run = flow.fit(&data, &fit_options(50), &mut stop).unwrap();
    assert!(run.interrupted && run.steps() == 17 && run.losses.len() == 17);
    run.more(33, &mut Silent).unwrap();
    assert!(!run.interrupted);
    assert_eq!(run.losses, straight.losses);
    assert_eq!(weights(&flow), weights(&whole));
    let sample = |flow: &RectifiedFlow| {
        flow.sample(7, &SampleOptions::default(), &mut Silent)
            .unwrap()
            .to_vec()
            .unwrap()
    };
    assert_eq!(sample(&flow), sample(&whole));
}

#[test]
fn an_interrupt_inside_a_step_keeps_the_steps_before_it() {
    let flag = Arc::new(AtomicBool::new(false));
    let flow = small(0, DType::F32);
    let raise = flag.clone();
    // The observer raises the flag and says go on: the next step finds it.
    let mut watch = |step: &Step| {
        raise.store(step.step == 3, Ordering::SeqCst);
        ControlFlow::Continue(())
    };
    let data = gaussian(100, DType::F32);
    let run = rhapsode_tensor::interrupt::with_flag(flag, || {
        flow.fit(&data, &fit_options(50), &mut watch)
    })
    .unwrap();
    assert!(run.interrupted);
    assert_eq!((run.steps(), run.losses.len()), (3, 3));
}

#[test]
fn classes_steer_the_samples_and_guidance_sharpens() {
    let n = 1500;
    let labels = Stream::new(0, "labels").randint(0, 2, &[n]).unwrap();
    let shift = labels
        .to_dtype(DType::F32)
        .unwrap()
        .affine(6.0, -3.0)
        .unwrap()
        .unsqueeze(1)
        .unwrap();
    let data = Stream::new(2, "x")
        .randn(&[n, 2], DType::F32)
        .unwrap()
        .add(&shift)
        .unwrap();
    let flow = small(2, DType::F32);
    let options = FitOptions {
        labels: Some(labels),
        ..fit_options(1000)
    };
    flow.fit(&data, &options, &mut Silent).unwrap();
    let mean = |label, guidance| {
        let options = SampleOptions {
            label,
            guidance,
            ..Default::default()
        };
        flow.sample(1000, &options, &mut Silent)
            .unwrap()
            .mean_all()
            .unwrap()
            .item()
            .unwrap()
    };
    assert!(
        (mean(Some(0), 1.0) + 3.0).abs() < 0.6,
        "{}",
        mean(Some(0), 1.0)
    );
    assert!(
        (mean(Some(1), 1.0) - 3.0).abs() < 0.6,
        "{}",
        mean(Some(1), 1.0)
    );
    assert!(mean(None, 1.0).abs() < 1.0, "{}", mean(None, 1.0));
    assert!(mean(Some(1), 3.0) > mean(Some(1), 1.0));
}

#[test]
fn every_parameter_gets_a_gradient() {
    for classes in [0, 3] {
        let flow = small(classes, DType::F64);
        let net =
            rhapsode_models::flow::VelocityNet::new(flow.options().clone(), 0, DType::F64).unwrap();
        let x = gaussian(20, DType::F64);
        let t = Stream::new(0, "t").rand(&[20], DType::F64).unwrap();
        let labels: Vec<i64> = (0..20).map(|i| i % 3).collect();
        let loss = || {
            let v = net
                .forward(&x, &t, (classes > 0).then_some(labels.as_slice()))
                .unwrap();
            v.mse(&x).unwrap()
        };
        let params: Vec<&Tensor> = net.params().tensors().iter().collect();
        let grads = grad(&loss(), &params, false).unwrap();
        for (slot, g) in net.params().slots().iter().zip(&grads) {
            let g = g.to_vec().unwrap();
            assert!(
                g.iter().all(|v| v.is_finite()) && g.iter().any(|v| *v != 0.0),
                "{}",
                slot.name
            );
            // Against a finite difference of the largest element.
            let k = (0..g.len())
                .max_by(|&a, &b| g[a].abs().total_cmp(&g[b].abs()))
                .unwrap();
            let moved = |h: f64| {
                net.params()
                    .update::<f64>(|p| p[slot.start + k] += h)
                    .unwrap();
                let value = loss().item().unwrap();
                net.params()
                    .update::<f64>(|p| p[slot.start + k] -= h)
                    .unwrap();
                value
            };
            let numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!(
                (g[k] - numeric).abs() < 1e-7 * (1.0 + numeric.abs()),
                "{}: {} for {numeric}",
                slot.name,
                g[k]
            );
        }
    }
}

#[test]
fn the_velocity_is_differentiable_in_x() {
    let flow = small(0, DType::F64);
    let x = gaussian(4, DType::F64).param().unwrap();
    let t = Tensor::full(0.3, &[4], DType::F64).unwrap();
    let v = flow
        .velocity(&x, &t)
        .unwrap()
        .sqr()
        .unwrap()
        .sum_all()
        .unwrap();
    assert!(grad(&v, &[&x], false).unwrap()[0].is_finite().unwrap());
    assert_eq!(flow.dim(), 2);
}

#[test]
fn the_first_nan_names_step_and_operation_and_keeps_the_last_good_weights() {
    let flow = small(0, DType::F32);
    let data = gaussian(100, DType::F32);
    let mut run = flow.fit(&data, &fit_options(5), &mut Silent).unwrap();
    run.set_lr(1e30).unwrap();
    let error = run.more(50, &mut Silent).unwrap_err();
    let Error::Numeric { step, op, .. } = &error else {
        panic!("{error}")
    };
    assert!(*step > 5 && run.steps() == step - 1, "{error}");
    assert!(["linear", "mse"].contains(&op.as_str()), "{error}");
    assert_eq!(run.losses.len() as u64, run.steps());
}

#[test]
fn bad_input_is_refused_with_its_name() {
    let flow = small(0, DType::F32);
    let data = gaussian(10, DType::F32);
    let fit = |data: &Tensor, options: FitOptions| {
        flow.fit(data, &options, &mut Silent)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(fit(&data.narrow(1, 0, 1).unwrap(), fit_options(1)).contains("[n, 2]"));
    assert!(fit(&data.affine(f64::NAN, 0.0).unwrap(), fit_options(1)).contains("NaN"));
    assert!(
        fit(
            &data,
            FitOptions {
                batch: 0,
                ..fit_options(1)
            }
        )
        .contains("`batch`")
    );
    assert!(
        fit(
            &data,
            FitOptions {
                ema: 1.0,
                ..fit_options(1)
            }
        )
        .contains("`ema`")
    );
    assert!(
        fit(
            &data,
            FitOptions {
                clip: Some(-1.0),
                ..fit_options(1)
            }
        )
        .contains("`clip`")
    );
    let labels = Tensor::zeros(&[10], DType::I64).unwrap();
    assert!(
        fit(
            &data,
            FitOptions {
                labels: Some(labels.clone()),
                ..fit_options(1)
            }
        )
        .contains("no classes")
    );
    let sample = |options: SampleOptions| {
        flow.sample(3, &options, &mut Silent)
            .unwrap_err()
            .to_string()
    };
    assert!(
        sample(SampleOptions {
            steps: Some(0),
            ..Default::default()
        })
        .contains("`steps`")
    );
    assert!(
        sample(SampleOptions {
            label: Some(1),
            ..Default::default()
        })
        .contains("`label`")
    );
    let conditional = small(2, DType::F32);
    let options = FitOptions {
        labels: Some(labels.affine(0.0, 5.0).unwrap_or(labels)),
        ..fit_options(1)
    };
    let wrong = Tensor::from_vec(vec![5i64; 10], &[10]).unwrap();
    let options = FitOptions {
        labels: Some(wrong),
        ..options
    };
    assert!(
        conditional
            .fit(&data, &options, &mut Silent)
            .err()
            .unwrap()
            .to_string()
            .contains("0..2")
    );
    assert_eq!(
        flow.sample(0, &SampleOptions::default(), &mut Silent)
            .unwrap()
            .dims(),
        [0, 2]
    );
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!(
        "rhapsode-{}-{name}.safetensors",
        std::process::id()
    ))
}

#[test]
fn saved_and_loaded_it_samples_the_same() {
    let flow = small(2, DType::F32);
    let labels = Stream::new(0, "labels").randint(0, 2, &[100]).unwrap();
    flow.fit(
        &gaussian(100, DType::F32),
        &FitOptions {
            labels: Some(labels),
            ..fit_options(20)
        },
        &mut Silent,
    )
    .unwrap();
    let path = scratch("flow");
    flow.checkpoint().save(&path).unwrap();
    let back = RectifiedFlow::restore(&Checkpoint::load(&path).unwrap()).unwrap();
    let options = SampleOptions {
        label: Some(1),
        guidance: 2.0,
        ..Default::default()
    };
    let sample = |flow: &RectifiedFlow| {
        flow.sample(9, &options, &mut Silent)
            .unwrap()
            .to_vec()
            .unwrap()
    };
    assert_eq!(sample(&flow), sample(&back));
    assert_eq!(weights(&flow), weights(&back));
    // Cut short, foreign, or for another model: a clear error each.
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 7, 100, bytes.len() - 1] {
        rhapsode_models::files::write_atomic(&path, &bytes[..cut]).unwrap();
        let error = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(error.contains("not a whole safetensors file"), "{error}");
    }
    let other = Checkpoint {
        kind: "nn::mlp".into(),
        options: serde_json::Value::Null,
        tensors: vec![],
    };
    other.save(&path).unwrap();
    let error = RectifiedFlow::restore(&Checkpoint::load(&path).unwrap())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`nn::mlp`"), "{error}");
    std::fs::remove_file(path).unwrap();
}

/// A flow whose averaged weights, which densities use, are random too.
fn random_flow(classes: usize) -> RectifiedFlow {
    let flow = small(classes, DType::F64);
    let labels = (classes > 0).then(|| Tensor::zeros(&[50], DType::I64).unwrap());
    let data = gaussian(50, DType::F64);
    let options = FitOptions {
        labels,
        ..fit_options(30)
    };
    flow.fit(&data, &options, &mut Silent).unwrap();
    flow
}

#[test]
fn a_density_sums_to_one_also_with_classes_and_guidance() {
    // Any flow, trained or not, carries mass 1 along: a sum over a fine grid of the plane shows it.
    let (side, reach) = (60, 7.0);
    let step = 2.0 * reach / side as f64;
    let place = |i: usize| -reach + (i as f64 + 0.5) * step;
    let grid: Vec<f64> = (0..side * side)
        .flat_map(|i| [place(i / side), place(i % side)])
        .collect();
    let grid = Tensor::from_vec(grid, &[side * side, 2]).unwrap();
    for (classes, label, guidance) in [(0, None, 1.0), (3, Some(1), 1.0), (3, Some(2), 2.0)] {
        let options = LogProbOptions {
            solver: Solver::Rk4,
            steps: Some(10),
            label,
            guidance,
            ..Default::default()
        };
        let flow = random_flow(classes);
        let log_prob = flow.log_prob(&grid, &options, &mut Silent).unwrap();
        let mass: f64 = log_prob.exp().unwrap().to_vec().unwrap().iter().sum();
        let mass = mass * step * step;
        assert!((mass - 1.0).abs() < 1e-3, "{classes} classes: {mass}");
    }
}

#[test]
fn a_density_has_the_gradient_of_its_differences() {
    let flow = random_flow(0);
    let options = LogProbOptions {
        solver: Solver::Rk4,
        steps: Some(6),
        ..Default::default()
    };
    let value = |x: &Tensor| flow.log_prob(x, &options, &mut Silent).unwrap();
    let x = Tensor::from_vec(vec![0.3, -0.7, 1.1, 0.2], &[2, 2]).unwrap();
    let tracked = x.param().unwrap();
    let total = value(&tracked).sum_all().unwrap();
    let found = grad(&total, &[&tracked], false).unwrap()[0]
        .to_vec()
        .unwrap();
    for (i, found) in found.iter().enumerate() {
        let moved = |by: f64| {
            let mut values = x.to_vec().unwrap();
            values[i] += by;
            let x = Tensor::from_vec(values, &[2, 2]).unwrap();
            value(&x).sum_all().unwrap().item().unwrap()
        };
        let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((found - expected).abs() < 1e-6, "{i}: {found} {expected}");
    }
}

#[test]
fn the_estimate_of_the_trace_is_near_the_exact_one() {
    let flow = random_flow(0);
    let x = gaussian(400, DType::F64);
    let mean = |trace, probes| {
        let options = LogProbOptions {
            trace,
            probes,
            seed: Some(1),
            ..Default::default()
        };
        let values = flow.log_prob(&x, &options, &mut Silent).unwrap();
        values.mean_all().unwrap().item().unwrap()
    };
    let (exact, estimate) = (mean(Trace::Exact, 1), mean(Trace::Hutchinson, 4));
    assert!((exact - estimate).abs() < 0.05, "{exact} {estimate}");
    assert_ne!(exact, estimate);
}

#[test]
fn pairs_by_transport_are_closer_and_learned_as_well() {
    let pair = |coupling: Coupling| {
        let x0 = Stream::new(0, "noise").randn(&[64, 2], DType::F64).unwrap();
        let x1 = gaussian(64, DType::F64);
        let x0 = coupling.pair(x0, &x1).unwrap();
        let cost = x1.sub(&x0).unwrap().sqr().unwrap().sum_all().unwrap();
        (cost.item().unwrap(), x0.to_vec().unwrap())
    };
    let ((plain, mut before), (best, mut after)) =
        (pair(Coupling::Independent), pair(Coupling::Ot));
    assert!(best < plain, "{best} {plain}");
    before.sort_by(f64::total_cmp);
    after.sort_by(f64::total_cmp);
    assert_eq!(before, after, "the noise is permuted, not changed");

    // One Euler step suffices when paths are straight: the samples of the coupled flow have the right spread.
    let spread = |coupling| {
        let flow = small(0, DType::F32);
        let rule = AdamOptions {
            lr: 1e-2,
            ..Default::default()
        };
        let options = FitOptions {
            coupling,
            optimizer: Some(rule.into()),
            batch: 128,
            ..fit_options(400)
        };
        flow.fit(&gaussian(2000, DType::F32), &options, &mut Silent)
            .unwrap();
        let options = SampleOptions {
            solver: Solver::Euler,
            steps: Some(1),
            seed: Some(1),
            ..Default::default()
        };
        let x = flow.sample(2000, &options, &mut Silent).unwrap();
        x.std(Some(&[0])).unwrap().to_vec().unwrap()[0]
    };
    let (independent, coupled) = (spread(Coupling::Independent), spread(Coupling::Ot));
    assert!(
        independent < 0.25,
        "one step of the plain flow lands near the mean: {independent}"
    );
    assert!((coupled - 0.5).abs() < 0.12, "{coupled}");
}
