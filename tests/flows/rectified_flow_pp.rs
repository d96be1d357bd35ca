//! Golden numbers of `rectified-flow-pp`.

use std::sync::Arc;

use rhapsode_models::{
    flow::{
        FunctionField, VelocityField, VelocityFn,
        convert::expected_data,
        field::velocity_at,
        loss::{combined, default_c, pseudo_huber},
        path::Process,
        reflow::{
            measure::{slerp, straightness},
            teacher::{Diffusion, DiffusionOptions, ve_at, vp_at},
        },
        sample::{Update, carry, few_steps},
        timestep::Timestep,
    },
    observe::Silent,
    ode::{SaveAt, SolveOptions, Solver},
    optim::Ema,
};
use rhapsode_tensor::{DType, Tensor, grad, params::update_tensor};

use crate::read::{every_file_is_read, golden, number, numbers, tensor};

const SLUG: &str = "rectified-flow-pp";

fn field(dim: usize, function: VelocityFn) -> FunctionField {
    FunctionField {
        function,
        dim,
        dtype: DType::F64,
        process: Process::rectified(),
    }
}

#[test]
fn golden_rectified_flow_pp_u_shaped_time() {
    let file = golden(SLUG, "u_shaped_time");
    let (u, q) = (numbers(file.input("u")), numbers(file.input("q")));
    for row in file.rows("rows") {
        let a = number(&row["a"]);
        let each =
            |of: &dyn Fn(f64) -> f64, at: &[f64]| at.iter().map(|v| of(*v)).collect::<Vec<_>>();
        let shaped = Timestep::UShaped;
        file.close(&each(&|u| shaped.density(u, a), &u), &row["pdf"], "pdf");
        file.close(&each(&|u| shaped.cdf(u, a), &u), &row["cdf"], "cdf");
        file.close(
            &each(&|q| shaped.quantile(q, a), &q),
            &row["quantile"],
            "quantile",
        );
        file.close(
            &each(&|q| shaped.time(q, a), &q),
            &row["quantile_scaled"],
            "time",
        );
        let rising = Timestep::Increasing;
        file.close(
            &each(&|u| rising.density(u, a), &u),
            &row["exponential_increasing_pdf"],
            "rising pdf",
        );
        file.close(
            &each(&|q| rising.quantile(q, a), &q),
            &row["exponential_increasing_quantile"],
            "rising quantile",
        );
        // By Simpson's rule on the density.
        let n = 4000;
        let term = |i: usize| {
            let u = i as f64 / n as f64;
            let weight = if i == 0 || i == n {
                1.0
            } else if i % 2 == 1 {
                4.0
            } else {
                2.0
            };
            weight * (u - 0.5).powi(2) * shaped.density(u, a)
        };
        let variance = (0..=n).map(term).sum::<f64>() / (3.0 * n as f64);
        file.close(&[variance], &row["variance"], "variance");
    }
}

#[test]
fn golden_rectified_flow_pp_pseudo_huber() {
    let file = golden(SLUG, "pseudo_huber");
    let (prediction, target) = (
        tensor(file.input("prediction")).param().unwrap(),
        tensor(file.input("target")),
    );
    let d = target.dims()[1];
    let e = prediction.sub(&target).unwrap();
    for row in file.rows("rows") {
        let loss = pseudo_huber(&e, number(&row["c"])).unwrap();
        file.close_tensor(&loss.detach(), &row["loss"], "loss");
        file.close_tensor(
            &loss.detach().affine(1.0 / d as f64, 0.0).unwrap(),
            &row["loss_per_dim"],
            "loss by dimension",
        );
        let found = grad(&loss.sum_all().unwrap(), &[&prediction], false)
            .unwrap()
            .swap_remove(0);
        file.close_tensor(&found, &row["grad"], "gradient");
    }
    let combination = file.expected("combination");
    let c = number(&combination["c"]);
    assert!((c - default_c(d)).abs() < 1e-12);
    let huber = pseudo_huber(&e.detach(), c)
        .unwrap()
        .affine(1.0 / d as f64, 0.0)
        .unwrap();
    let (p, t) = (tensor(file.input("perceptual")), tensor(file.input("t")));
    for (key, weighted) in [("lpips_huber", false), ("lpips_huber_divt", true)] {
        file.close_tensor(
            &combined(&huber, &p, &t, weighted).unwrap(),
            &combination[key],
            key,
        );
    }
}

#[test]
fn golden_rectified_flow_pp_diffusion_initial_velocity() {
    let file = golden(SLUG, "diffusion_initial_velocity");
    let (w, b, x, t) = (
        tensor(file.input("W")),
        tensor(file.input("b")),
        tensor(file.input("x")),
        tensor(file.input("t")),
    );
    let model: VelocityFn = Arc::new(move |y: &Tensor, level: &Tensor| {
        Ok(y.matmul(&w.t()?)?.add(&level.unsqueeze(1)?.mul(&b)?)?)
    });
    let options = DiffusionOptions {
        dim: x.dims()[1],
        kind: Diffusion::Edm,
        sigma_data: number(file.input("sigma_data")),
        beta_min: number(file.input("beta_min")),
        beta_max: number(file.input("beta_max")),
        ..Default::default()
    };
    file.close_tensor(
        &options.data(&model, &x, &t).unwrap(),
        file.expected("denoised"),
        "denoised",
    );
    let flow = options.flow(model, DType::F64).unwrap();
    file.close_tensor(
        &flow.velocity(&x, &t).unwrap(),
        file.expected("velocity"),
        "velocity",
    );
    for row in file.rows("map") {
        let t = number(&row["t"]);
        let (sigma, scale) = ve_at(t);
        file.close(&[sigma], &row["ve_sigma"], "ve sigma");
        file.close(&[scale], &row["ve_scale"], "ve scale");
        let vp = vp_at(t, options.beta_min, options.beta_max);
        file.close(&[vp.time], &row["vp_time"], "vp time");
        file.close(&[vp.alpha], &row["vp_alpha"], "vp alpha");
        file.close(&[vp.sigma], &row["vp_sigma"], "vp sigma");
        file.close(&[vp.scale], &row["vp_scale"], "vp scale");
    }
}

#[test]
fn golden_rectified_flow_pp_samplers() {
    let file = golden(SLUG, "samplers");
    let [a, k, c, z] = ["A", "k", "c", "z"].map(|key| tensor(file.input(key)));
    let flow = field(
        z.dims()[1],
        Arc::new(move |x: &Tensor, t: &Tensor| {
            let rest = t.affine(-1.0, 1.0)?.unsqueeze(1)?;
            Ok(x.matmul(&a.t()?)?.add(&rest.mul(&k)?)?.add(&c)?.neg()?)
        }),
    );
    for row in file.rows("rows") {
        let what = format!("{} {} {}", row["nfe"], row["solver"], row["update"]);
        let times = numbers(&row["t_grid"]);
        let trajectory = if row["solver"] == "inversion" || row["update"] == "inversion" {
            let mut states = vec![z.clone()];
            for pair in times.windows(2) {
                let solve = SolveOptions {
                    from: pair[0],
                    to: pair[1],
                    solver: Solver::Euler,
                    steps: Some(1),
                    save_at: SaveAt::END,
                    ..Default::default()
                };
                let next = carry(&flow, states.last().unwrap(), &solve, &mut Silent).unwrap();
                states.push(next);
            }
            states
        } else {
            let solver = if row["solver"] == "heun" {
                Solver::Heun
            } else {
                Solver::Euler
            };
            let update = if row["update"] == "standard" {
                Update::Standard
            } else {
                Update::Reinterpolate
            };
            few_steps(&flow, &z, &times, solver, update, &mut Silent).unwrap()
        };
        let stacked = Tensor::stack(&trajectory.iter().collect::<Vec<_>>(), 0).unwrap();
        file.close_tensor(&stacked, &row["trajectory"], &what);
    }
}

#[test]
fn golden_rectified_flow_pp_straightness() {
    let file = golden(SLUG, "straightness");
    let found = straightness(&tensor(file.input("trajectory"))).unwrap();
    file.close_tensor(&found, file.expected("per_sample"), "each");
    file.close(
        &[found.mean_all().unwrap().item().unwrap()],
        file.expected("mean"),
        "mean",
    );
}

#[test]
fn golden_rectified_flow_pp_pieces() {
    let file = golden(SLUG, "pieces");
    let (low, high) = (
        tensor(file.input("slerp_low")),
        tensor(file.input("slerp_high")),
    );
    for (w, want) in numbers(file.input("w")).iter().zip(file.rows("slerp")) {
        file.close_tensor(&slerp(&low, &high, *w).unwrap(), want, "slerp");
    }
    // Behind its ramp the average has the decay that was asked for; it begins as a copy.
    let parameters = tensor(file.input("parameters"));
    let moving = parameters.narrow(0, 0, 1).unwrap().copy().unwrap();
    let mut average = Ema::new(vec![moving.clone()], number(file.input("ema_decay"))).unwrap();
    (0..200).for_each(|_| average.update().unwrap());
    for (i, want) in file.rows("ema").iter().enumerate() {
        if i > 0 {
            let now = parameters.narrow(0, i, 1).unwrap().to_vec().unwrap();
            update_tensor::<f64>(&moving, |p| p.copy_from_slice(&now)).unwrap();
            average.update().unwrap();
        }
        file.close(&average.averages()[0].to_vec().unwrap(), want, "ema");
    }
    let [x0, x1, t, v] = ["x0", "x1", "t", "v"].map(|key| tensor(file.input(key)));
    let (each, n) = (t.to_vec().unwrap(), x0.dims()[0]);
    let column = t.unsqueeze(1).unwrap();
    let rest = column.affine(-1.0, 1.0).unwrap();
    let xt = rest
        .mul(&x0)
        .unwrap()
        .add(&column.mul(&x1).unwrap())
        .unwrap();
    file.close_tensor(&xt, file.expected("x_t"), "x_t");
    file.close_tensor(&x1.sub(&x0).unwrap(), file.expected("target"), "target");
    let process = Process::rectified();
    let row = |x: &Tensor, i: usize| x.narrow(0, i, 1).unwrap();
    let (mut data, mut noise) = (Vec::new(), Vec::new());
    for (i, t) in each.iter().enumerate().take(n) {
        let predicted = expected_data(&process, &row(&xt, i), &row(&v, i), *t).unwrap();
        data.extend(predicted.to_vec().unwrap());
        // Noise is what is left: x_t = (1 - t) x0 + t x1, and x1 - x0 = v.
        noise.extend(predicted.sub(&row(&v, i)).unwrap().to_vec().unwrap());
    }
    file.close(&data, file.expected("x1_hat"), "x1_hat");
    file.close(&noise, file.expected("x0_hat"), "x0_hat");
}

#[test]
fn golden_rectified_flow_pp_gaussian_reflow() {
    let file = golden(SLUG, "gaussian_reflow");
    let z = tensor(file.input("z")).unsqueeze(1).unwrap();
    for row in file.rows("rows") {
        let (m, s) = (number(&row["m"]), number(&row["s"]));
        let first = field(
            1,
            Arc::new(move |x: &Tensor, t: &Tensor| {
                let each: Vec<f64> = t.to_vec()?;
                let of = |f: &dyn Fn(f64) -> f64| {
                    Tensor::from_vec(
                        each.iter().map(|t| f(*t)).collect::<Vec<f64>>(),
                        &[each.len(), 1],
                    )
                };
                let rate = of(&|t| (t * s * s - (1.0 - t)) / ((1.0 - t).powi(2) + t * t * s * s))?;
                Ok(rate.mul(&x.sub(&of(&|t| t * m)?)?)?.affine(1.0, m)?)
            }),
        );
        let solve = |to: f64, steps: usize, solver: Solver| SolveOptions {
            to,
            solver,
            steps: Some(steps),
            save_at: SaveAt::END,
            ..Default::default()
        };
        for point in row["trajectory"].as_array().unwrap() {
            let t = number(&point["t"]);
            let there = carry(&first, &z, &solve(t, 200, Solver::Dopri8), &mut Silent).unwrap();
            file.close(&there.to_vec().unwrap(), &point["x_t"], "trajectory");
        }
        for (steps, want) in row["euler_by_steps"].as_object().unwrap() {
            let end = carry(
                &first,
                &z,
                &solve(1.0, steps.parse().unwrap(), Solver::Euler),
                &mut Silent,
            )
            .unwrap();
            file.close(&end.to_vec().unwrap(), want, "euler");
        }
        // E |dX/dt - (X1 - X0)|^2 over z ~ N(0, 1): the velocity along the path of z is m + z d/dt std(t).
        let std = |t: f64| ((1.0 - t).powi(2) + t * t * s * s).sqrt();
        let n = 2000;
        let term = |i: usize| {
            let t = i as f64 / n as f64;
            let x = Tensor::from_vec(vec![t * m + std(t)], &[1, 1]).unwrap();
            let v = velocity_at(&first, &x, t).unwrap().item().unwrap();
            let weight = if i == 0 || i == n {
                1.0
            } else if i % 2 == 1 {
                4.0
            } else {
                2.0
            };
            weight * (v - m - (s - 1.0)).powi(2)
        };
        let bend = (0..=n).map(term).sum::<f64>() / (3.0 * n as f64);
        file.close(&[bend], &row["straightness_1rf"], "straightness");
        for point in row["reflow_velocity"].as_array().unwrap() {
            // The pairs (z, m + s z), whose lines are all straight: their velocity is the target of reflow at their x_t.
            let t = number(&point["t"]);
            let x1 = z.affine(s, m).unwrap();
            let xt = Tensor::combine(&[(1.0 - t, &z), (t, &x1)]).unwrap();
            file.close(&xt.to_vec().unwrap(), &point["x"], "x");
            file.close(&x1.sub(&z).unwrap().to_vec().unwrap(), &point["v"], "v");
        }
    }
}

#[test]
fn every_file_of_rectified_flow_pp_is_read() {
    every_file_is_read(
        SLUG,
        &[
            "diffusion_initial_velocity",
            "gaussian_reflow",
            "pieces",
            "pseudo_huber",
            "samplers",
            "straightness",
            "u_shaped_time",
        ],
    );
}
