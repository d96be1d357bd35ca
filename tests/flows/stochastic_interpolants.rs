//! Golden numbers of `stochastic-interpolants`.

use std::sync::Arc;

use rhapsode_models::{
    flow::{
        FunctionField, LogProbOptions, VelocityField,
        convert::{Converter, FieldKind, Fields},
        field::velocity_at,
        interpolant::{
            BaseLaw, Functions, Interpolant,
            bound::{BoundOptions, kl_bound},
            bridge::GaussianBridge,
            density::SdeDensity,
            objective::{Draw, Targets, quadratic},
            sde::{Epsilon, Stepper, step},
        },
        likelihood::divergence,
        mixture::Mixture,
        path::{Gamma, Path, Process},
        sample::carry,
    },
    observe::Silent,
    ode::{SaveAt, SolveOptions, Solver},
};
use rhapsode_tensor::{DType, Tensor, grad};
use serde_json::Value;

use crate::read::{every_file_is_read, full, golden, named, number, numbers, tensor};

const SLUG: &str = "stochastic-interpolants";

fn process(row: &Value) -> Process {
    let scale = row.get("a").map_or(1.0, number);
    Process {
        path: row.get("path").map_or(Path::Linear, named),
        gamma: Gamma::Named(row.get("gamma").map_or(named(&"zero".into()), named), scale),
    }
}

#[test]
fn golden_stochastic_interpolants_coefficients() {
    let file = golden(SLUG, "coefficients");
    for row in file.rows("rows") {
        let process = process(row);
        let what = format!("{process:?}");
        if row["kind"] == "gamma" {
            let at: Vec<_> = numbers(file.input("t"))
                .iter()
                .map(|t| process.gamma.at(*t).unwrap())
                .collect();
            file.close(
                &at.iter().map(|g| g.0).collect::<Vec<_>>(),
                &row["gamma_t"],
                &what,
            );
            file.close(
                &at.iter().map(|g| g.1).collect::<Vec<_>>(),
                &row["gamma_dot"],
                &what,
            );
            file.close(
                &at.iter().map(|g| g.2).collect::<Vec<_>>(),
                &row["gamma_gamma_dot"],
                &what,
            );
            continue;
        }
        let at: Vec<_> = numbers(&row["t"])
            .iter()
            .map(|t| process.at(*t).unwrap())
            .collect();
        file.close(
            &at.iter().map(|c| c.alpha).collect::<Vec<_>>(),
            &row["alpha"],
            &what,
        );
        file.close(
            &at.iter().map(|c| c.beta).collect::<Vec<_>>(),
            &row["beta"],
            &what,
        );
        file.close(
            &at.iter().map(|c| c.alpha_dot).collect::<Vec<_>>(),
            &row["alpha_dot"],
            &what,
        );
        file.close(
            &at.iter().map(|c| c.beta_dot).collect::<Vec<_>>(),
            &row["beta_dot"],
            &what,
        );
    }
}

#[test]
fn golden_stochastic_interpolants_conversions() {
    let file = golden(SLUG, "conversions");
    for row in file.rows("one_sided") {
        let process = process(row);
        let (x, eta) = (tensor(&row["x"]), tensor(&row["eta"]));
        let t = full(number(&row["t"]), x.dims()[0]);
        // From each field to all others.
        for kind in [FieldKind::Denoiser, FieldKind::Velocity, FieldKind::Score] {
            let mut known = Fields::default();
            known.set(
                kind,
                match kind {
                    FieldKind::Denoiser => eta.clone(),
                    FieldKind::Velocity => tensor(&row["velocity"]),
                    _ => tensor(&row["score"]),
                },
            );
            let c = Converter::new(&process, &x, &t, &known).unwrap();
            let what = format!("{process:?} from {kind:?}");
            file.close_tensor(&c.velocity().unwrap(), &row["velocity"], &what);
            file.close_tensor(&c.score().unwrap(), &row["score"], &what);
            file.close_tensor(&c.denoiser().unwrap(), &row["eta"], &what);
            file.close_tensor(&c.data().unwrap(), &row["x1_hat"], &what);
        }
    }
    for row in file.rows("two_sided") {
        let process = process(row);
        let (v, eta, eps) = (
            tensor(&row["v"]),
            tensor(&row["eta_z"]),
            number(&row["epsilon"]),
        );
        let t = full(number(&row["t"]), v.dims()[0]);
        let mut with_eta = Fields::default();
        with_eta.set(FieldKind::Denoiser, eta);
        let mut with_score = Fields::default();
        with_score.set(FieldKind::Score, tensor(&row["score"]));
        for mut known in [with_eta, with_score] {
            known.set(FieldKind::Drift, v.clone());
            // "mirror" has no drift of its own to be given.
            let c = Converter::new(&process, &v, &t, &known).unwrap();
            let (b, s) = (c.velocity().unwrap(), c.score().unwrap());
            let what = format!("{process:?}");
            let b = if process.path == Path::Mirror {
                b.add(&v).unwrap()
            } else {
                b
            };
            file.close_tensor(&b, &row["b"], &what);
            file.close_tensor(&s, &row["score"], &what);
            file.close_tensor(&c.denoiser().unwrap(), &row["eta_z"], &what);
            for (sign, key) in [(1.0, "drift_forward"), (-1.0, "drift_backward")] {
                let drift = Tensor::combine(&[(1.0, &b), (sign * eps, &s)]).unwrap();
                file.close_tensor(&drift, &row[key], &what);
            }
        }
    }
}

fn mixture(weights: &Value, means: &Value, covariances: &Value) -> Mixture {
    Mixture::new(&numbers(weights), &tensor(means), &tensor(covariances)).unwrap()
}

#[test]
fn golden_stochastic_interpolants_gmm_fields() {
    let file = golden(SLUG, "gmm_fields");
    let input = |key: &str| file.input(key);
    let base = mixture(input("p0"), input("mu0"), input("cov0"));
    let target = mixture(input("p1"), input("mu1"), input("cov1"));
    let x = tensor(input("x"));
    let n = x.dims()[0];
    for row in file.rows("rows") {
        let process = process(row);
        let exact = rhapsode_models::flow::mixture::Exact::new(
            base.clone(),
            target.clone(),
            process.clone(),
        )
        .unwrap();
        let time = number(&row["t"]);
        let what = format!("{process:?} at {time}");
        let found = exact.at(&x, &full(time, n)).unwrap();
        file.close_tensor(&found.log_density, &row["log_rho"], &what);
        let model = Interpolant::exact(
            Some(base.clone()),
            target.clone(),
            process.clone(),
            DType::F64,
        )
        .unwrap();
        let t = full(time, n);
        file.close_tensor(&model.velocity(&x, &t).unwrap(), &row["b"], &what);
        file.close_tensor(&model.score(&x, &t).unwrap(), &row["score"], &what);
        file.close_tensor(&model.denoiser(&x, &t).unwrap(), &row["eta_z"], &what);
        let known = Fields {
            velocity: Some(found.velocity),
            score: Some(found.score),
            ..Default::default()
        };
        let c = Converter::new(&process, &x, &t, &known).unwrap();
        file.close_tensor(&c.drift().unwrap(), &row["v"], &what);
        file.close_tensor(&divergence(&model, &x, time).unwrap(), &row["div_b"], &what);
    }
}

#[test]
fn golden_stochastic_interpolants_losses() {
    let file = golden(SLUG, "losses");
    let [a, c, k, x0, x1, z, t] =
        ["A", "c", "k", "x0", "x1", "z", "t"].map(|key| tensor(file.input(key)));
    let a = a.param().unwrap();
    let draw = Draw {
        x0: &x0,
        x1: &x1,
        z: &z,
        t: &t,
    };
    let model = |x: &Tensor| {
        let time = t.unsqueeze(1).unwrap().mul(&c).unwrap();
        x.matmul(&a.t().unwrap())
            .unwrap()
            .add(&time)
            .unwrap()
            .add(&k)
            .unwrap()
    };
    for row in file.rows("rows") {
        let process = process(row);
        let [plus, minus] =
            [1.0, -1.0].map(|sign| Targets::new(&process, None, &draw, sign).unwrap());
        let of =
            |half: &Targets, kind| quadratic(&model(&half.xt), &half.of(kind).unwrap()).unwrap();
        for (name, kind, both) in [
            ("b", FieldKind::Velocity, false),
            ("b_antithetic", FieldKind::Velocity, true),
            ("v", FieldKind::Drift, false),
            ("score", FieldKind::Score, false),
            ("score_antithetic", FieldKind::Score, true),
            ("eta", FieldKind::Denoiser, false),
        ] {
            let loss = match both {
                false => of(&plus, kind),
                true => {
                    Tensor::combine(&[(0.5, &of(&plus, kind)), (0.5, &of(&minus, kind))]).unwrap()
                }
            };
            let what = format!("{process:?} {name}");
            file.close_tensor(&loss.detach(), &row[name]["per_sample"], &what);
            let mean = loss.mean_all().unwrap();
            file.close(&[mean.item().unwrap()], &row[name]["mean"], &what);
            let found = grad(&mean, &[&a], false).unwrap().swap_remove(0);
            file.close_tensor(&found, &row[name]["grad_A"], &what);
            // What a training takes: the mean square, whose gradient is 2 / d times that.
            let square = model(&plus.xt).mse(&plus.of(kind).unwrap()).unwrap();
            let square = match both {
                false => square,
                true => square
                    .add(&model(&minus.xt).mse(&minus.of(kind).unwrap()).unwrap())
                    .unwrap()
                    .affine(0.5, 0.0)
                    .unwrap(),
            };
            let found = grad(&square, &[&a], false).unwrap().swap_remove(0);
            let d = x0.dims()[1] as f64;
            file.close_tensor(
                &found.affine(d / 2.0, 0.0).unwrap(),
                &row[name]["grad_A"],
                &what,
            );
        }
    }
}

#[test]
fn golden_stochastic_interpolants_sde_steps() {
    let file = golden(SLUG, "sde_steps");
    let [a, c, s, e, x, xi] = ["A", "c", "S", "e", "x", "xi"].map(|key| tensor(file.input(key)));
    let [eps, h, t] = ["eps", "h", "t"].map(|key| number(file.input(key)));
    let linear = |m: &Tensor, k: &Tensor, x: &Tensor, t: f64| {
        x.matmul(&m.t().unwrap())
            .unwrap()
            .add(&k.affine(t, 0.0).unwrap())
            .unwrap()
    };
    let noise = xi.affine((2.0 * eps * h).sqrt(), 0.0).unwrap();
    for (name, solver, sign) in [
        ("euler_maruyama_forward", Stepper::EulerMaruyama, 1.0),
        ("heun_forward", Stepper::NoiseHeun, 1.0),
        ("euler_maruyama_backward", Stepper::EulerMaruyama, -1.0),
        ("heun_backward", Stepper::NoiseHeun, -1.0),
        ("stochastic_heun_forward", Stepper::SdeHeun, 1.0),
    ] {
        let mut drift = |x: &Tensor, t: f64| {
            Ok(Tensor::combine(&[
                (1.0, &linear(&a, &c, x, t)),
                (sign * eps, &linear(&s, &e, x, t)),
            ])?)
        };
        let next = step(solver, &mut drift, &x, t, sign * h, &noise).unwrap();
        file.close_tensor(&next, file.expected(name), name);
    }
}

fn gaussians(row: &Value) -> [Mixture; 2] {
    [("m0", "s0"), ("m1", "s1")].map(|(mean, std)| {
        let (mean, std) = (number(&row[mean]), number(&row[std]));
        let of = |value: f64, shape: &[usize]| Tensor::full(value, shape, DType::F64).unwrap();
        Mixture::new(&[1.0], &of(mean, &[1, 1]), &of(std * std, &[1, 1, 1])).unwrap()
    })
}

fn between(row: &Value, process: Process) -> Interpolant {
    let [base, target] = gaussians(row);
    Interpolant::exact(Some(base), target, process, DType::F64).unwrap()
}

#[test]
fn golden_stochastic_interpolants_gaussian_flow_map() {
    let file = golden(SLUG, "gaussian_flow_map");
    let x = tensor(file.input("x")).unsqueeze(1).unwrap();
    let solve = |from: f64, to: f64| SolveOptions {
        from,
        to,
        solver: Solver::Rk4,
        steps: Some(200),
        save_at: SaveAt::END,
        ..Default::default()
    };
    for row in file.rows("rows") {
        let process = process(row);
        let what = format!("{process:?}");
        let model = between(row, process);
        for point in row["trajectory"].as_array().unwrap() {
            let t = number(&point["t"]);
            let there = carry(&model, &x, &solve(0.0, t), &mut Silent).unwrap();
            file.close(&there.to_vec().unwrap(), &point["x_t"], &what);
        }
        let before = carry(&model, &x, &solve(1.0, 0.0), &mut Silent).unwrap();
        file.close(&before.to_vec().unwrap(), &row["preimage_of_x"], &what);
        let options = LogProbOptions {
            solver: Solver::Rk4,
            steps: Some(200),
            ..Default::default()
        };
        let log_prob = model.log_prob(&x, None, &options, &mut Silent).unwrap();
        file.close_tensor(&log_prob, &row["log_prob_of_x"], &what);
        // The divergence along a path is the logarithm of the map's slope, the same for every point.
        let (_, volume) = rhapsode_models::flow::likelihood::transport(
            &model,
            &x,
            (0.0, 1.0),
            &options,
            0,
            &mut Silent,
        )
        .unwrap();
        file.close(
            &volume.to_vec().unwrap()[..1],
            &row["log_det_forward"],
            &what,
        );
    }
}

/// Fields that are off by an affine function, as closures.
fn off(truth: &Interpolant, db: &[f64], ds: &[f64]) -> Interpolant {
    let shifted =
        |by: &[f64], of: fn(&Interpolant, &Tensor, &Tensor) -> rhapsode_models::Result<Tensor>| {
            let (truth, by) = (truth.clone(), by.to_vec());
            let function: rhapsode_models::flow::VelocityFn =
                Arc::new(move |x: &Tensor, t: &Tensor| {
                    Ok(of(&truth, x, t)?.add(&x.affine(by[1], by[0])?)?)
                });
            function
        };
    let fields = vec![
        (FieldKind::Velocity, shifted(db, |m, x, t| m.velocity(x, t))),
        (FieldKind::Score, shifted(ds, |m, x, t| m.score(x, t))),
    ];
    let source = Arc::new(Functions::new(fields));
    Interpolant::over(
        source,
        1,
        truth.process().clone(),
        BaseLaw::Normal,
        DType::F64,
    )
    .unwrap()
}

#[test]
fn golden_stochastic_interpolants_kl_control() {
    let file = golden(SLUG, "kl_control");
    for row in file.rows("rows") {
        let process = Process {
            path: Path::Linear,
            gamma: Gamma::Named(Default::default(), 1.0),
        };
        let truth = between(row, process);
        let model = off(&truth, &numbers(&row["db"]), &numbers(&row["ds"]));
        let [m0, s0, m1, s1, eps] = ["m0", "s0", "m1", "s1", "eps"].map(|key| number(&row[key]));
        // Three nodes of Gauss and Hermite are exact for the squares of affine functions.
        let mut nodes = |_: usize, t: f64| {
            let mean = (1.0 - t) * m0 + t * m1;
            let std = ((1.0 - t).powi(2) * s0 * s0 + t * t * s1 * s1 + t * (1.0 - t)).sqrt();
            let x = [-3f64.sqrt(), 0.0, 3f64.sqrt()].map(|z| mean + std * z);
            Ok((
                Tensor::from_vec(x.to_vec(), &[3, 1])?,
                Tensor::from_vec(vec![1.0 / 6.0, 2.0 / 3.0, 1.0 / 6.0], &[3])?,
            ))
        };
        let options = BoundOptions {
            epsilons: vec![eps],
            times: 2000,
            ..Default::default()
        };
        let found = kl_bound(&model, &truth, &mut nodes, &options, &mut Silent).unwrap();
        file.close(&[found.gap_velocity], &row["loss_gap_b"], "gap of b");
        file.close(&[found.gap_score], &row["loss_gap_s"], "gap of s");
        file.close(
            &found.path,
            &row["path_kl_bound"],
            "bound by the joint error",
        );
        file.close(&found.sum, &row["sum_bound"], "bound by the gaps");
        match (found.best, &row["eps_optimal_for_sum_bound"]) {
            (None, Value::Null) => {}
            (Some(best), want) => file.close(&[best], want, "best epsilon"),
            (None, want) => panic!("no best epsilon, expected {want}"),
        }
        let (mean, variance) = law_of_sde(&model, (m0, s0 * s0), eps);
        file.close(&[mean], &row["model_mean"], "mean of the model");
        file.close(&[variance], &row["model_var"], "variance of the model");
        let kl = 0.5
            * (s1 * s1 / variance + (mean - m1).powi(2) / variance - 1.0
                + (variance / (s1 * s1)).ln());
        file.close(&[kl], &row["kl_rho1_to_model"], "divergence of the model");
        assert!(
            kl <= found.path[0] * (1.0 + 1e-9) + 1e-12
                && found.path[0] <= found.sum[0] * (1.0 + 1e-9)
        );
    }
}

/// Mean and variance at t = 1 of the forward SDE of affine fields, by their moment equations.
fn law_of_sde(model: &Interpolant, start: (f64, f64), eps: f64) -> (f64, f64) {
    let affine = |t: f64| {
        let x = Tensor::from_vec(vec![0.0, 1.0], &[2, 1]).unwrap();
        let t = full(t, 2);
        let b = model.velocity(&x, &t).unwrap();
        let s = model.score(&x, &t).unwrap();
        let drift = Tensor::combine(&[(1.0, &b), (eps, &s)])
            .unwrap()
            .to_vec()
            .unwrap();
        (drift[0], drift[1] - drift[0])
    };
    let slope = |(m, v): (f64, f64), t: f64| {
        let (shift, rate) = affine(t);
        (shift + rate * m, 2.0 * rate * v + 2.0 * eps)
    };
    let (mut at, steps) = (start, 1000);
    let h = 1.0 / f64::from(steps);
    for i in 0..steps {
        let t = f64::from(i) * h;
        let go = |k: (f64, f64), by: f64| (at.0 + by * k.0, at.1 + by * k.1);
        let k1 = slope(at, t);
        let k2 = slope(go(k1, h / 2.0), t + h / 2.0);
        let k3 = slope(go(k2, h / 2.0), t + h / 2.0);
        let k4 = slope(go(k3, h), (t + h).min(1.0));
        let mean = |a: f64, b: f64, c: f64, d: f64| h / 6.0 * (a + 2.0 * b + 2.0 * c + d);
        at = (
            at.0 + mean(k1.0, k2.0, k3.0, k4.0),
            at.1 + mean(k1.1, k2.1, k3.1, k4.1),
        );
    }
    at
}

#[test]
fn golden_stochastic_interpolants_schroedinger_bridge() {
    let file = golden(SLUG, "schroedinger_bridge");
    for row in file.rows("rows") {
        let [m0, s0, m1, s1, eps] = ["m0", "s0", "m1", "s1", "eps"].map(|key| number(&row[key]));
        let bridge = GaussianBridge {
            base: (m0, s0),
            data: (m1, s1),
            epsilon: eps,
        };
        file.close(&[bridge.coupling()], &row["coupling_cov"], "coupling");
        let at = numbers(&row["t"]);
        file.close(
            &at.iter().map(|t| bridge.std(*t)).collect::<Vec<_>>(),
            &row["sb_std"],
            "std",
        );
        file.close(
            &at.iter().map(|t| bridge.slope(*t)).collect::<Vec<_>>(),
            &row["sb_drift_slope"],
            "slope",
        );
        file.close(&[bridge.energy()], &row["energy_sb"], "energy");
        file.close(
            &[bridge.energy_of(0.0)],
            &row["energy_linear_independent"],
            "energy on lines",
        );
    }
}

#[test]
fn golden_stochastic_interpolants_mirror() {
    let file = golden(SLUG, "mirror");
    let target = mixture(file.input("p"), file.input("mu"), file.input("cov"));
    let process = Process {
        path: Path::Mirror,
        gamma: Gamma::Named(Default::default(), 1.0),
    };
    let model = Interpolant::exact(None, target.clone(), process.clone(), DType::F64).unwrap();
    let exact =
        rhapsode_models::flow::mixture::Exact::new(target.clone(), target, process).unwrap();
    let x = tensor(file.input("x"));
    let n = x.dims()[0];
    for row in file.rows("rows") {
        let t = full(number(&row["t"]), n);
        file.close_tensor(
            &exact.at(&x, &t).unwrap().log_density,
            &row["log_rho"],
            "log density",
        );
        let (b, s) = (
            model.velocity(&x, &t).unwrap(),
            model.score(&x, &t).unwrap(),
        );
        file.close_tensor(&s, &row["score"], "score");
        file.close_tensor(&b, &row["b"], "velocity");
        file.close_tensor(&b.add(&s).unwrap(), &row["drift_sde_eps1"], "drift");
    }
}

#[test]
fn golden_stochastic_interpolants_sde_likelihood() {
    let file = golden(SLUG, "sde_likelihood");
    let inputs = &file.whole["inputs"];
    let process = Process {
        path: Path::Linear,
        gamma: Gamma::Named(Default::default(), 1.0),
    };
    let model = between(inputs, process);
    let rows = file.rows("rows");
    let x: Vec<f64> = rows.iter().map(|row| number(&row["x"])).collect();
    let x = Tensor::from_vec(x, &[rows.len(), 1]).unwrap();
    let options = SdeDensity {
        epsilon: Some(Epsilon::Constant(number(&inputs["eps"]))),
        paths: 4000,
        steps: 100,
        seed: Some(5),
        ..Default::default()
    };
    let found = model.log_prob_sde(&x, None, &options, &mut Silent).unwrap();
    let error = found.error.to_vec().unwrap();
    for (key, got, spread) in [
        ("log_rho1", &found.log_prob, 4.0),
        // Each part spreads more than their difference.
        ("expected_log_rho0_of_end", &found.base, 12.0),
        ("expected_integral", &found.integral, 12.0),
    ] {
        for ((got, row), error) in got.to_vec().unwrap().iter().zip(rows).zip(&error) {
            let bound = number(&file.whole["atol"]) + spread * error;
            let want = number(&row[key]);
            assert!(
                (got - want).abs() < bound,
                "{key}: {got}, expected {want} within {bound}"
            );
            assert!(bound < 0.5, "{key}: {bound} says nothing");
        }
    }
}

#[test]
fn every_file_of_stochastic_interpolants_is_read() {
    every_file_is_read(
        SLUG,
        &[
            "coefficients",
            "conversions",
            "gaussian_flow_map",
            "gmm_fields",
            "kl_control",
            "losses",
            "mirror",
            "schroedinger_bridge",
            "sde_likelihood",
            "sde_steps",
        ],
    );
}

/// A field of a function is as the function says.
#[test]
fn a_function_is_a_field() {
    let field = FunctionField {
        function: Arc::new(|x, t| Ok(x.mul(&t.unsqueeze(1)?)?)),
        dim: 2,
        dtype: DType::F64,
        process: Process::rectified(),
    };
    let x = Tensor::ones(&[3, 2], DType::F64).unwrap();
    assert_eq!(
        velocity_at(&field, &x, 0.25).unwrap().to_vec().unwrap(),
        [0.25; 6]
    );
}
