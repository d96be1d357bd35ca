//! The contract of every solver in `sde::ALL`: its strong order on one path that is refined, which calculus it
//! follows, and what it refuses.

use std::ops::ControlFlow;

use rhapsode_tensor::{DType, Tensor, grad};

use super::*;
use crate::observe::Silent;

const SOLVERS: [Solver; 3] = [Solver::EulerMaruyama, Solver::SdeHeun, Solver::Milstein];
const PATHS: usize = 2000;
const A: f64 = 0.8;
const B: f64 = 0.7;

fn start() -> Tensor {
    Tensor::ones(&[PATHS], DType::F64).unwrap()
}

fn drift(x: &Tensor, _: f64) -> Result<Tensor> {
    Ok(x.affine(A, 0.0)?)
}

fn solved(options: &SdeOptions) -> Solution {
    let mut noise = |x: &Tensor, _: f64| Ok(x.affine(B, 0.0)?);
    solve(
        &mut drift,
        Noise::Field(&mut noise),
        &start(),
        options,
        &mut Silent,
    )
    .unwrap()
}

/// The mean distance to geometric Brownian motion on the same path.
fn distance(solver: Solver, steps: usize, to: f64) -> f64 {
    let options = SdeOptions {
        solver,
        steps,
        to,
        seed: Some(4),
        save_at: SaveAt::END,
        ..Default::default()
    };
    let last = solved(&options).last().to_vec().unwrap();
    // One step is the whole increment of the same path.
    let w = Brownian::new(4, &[PATHS], DType::F64, to.abs(), 1)
        .increment()
        .unwrap()
        .to_vec()
        .unwrap();
    // Backward in time the drift changes its sign, Ito's correction does not.
    let rate = match solver.method().calculus {
        Calculus::Ito => A * to - 0.5 * B * B * to.abs(),
        Calculus::Stratonovich => A * to,
    };
    let error = |(x, w): (&f64, &f64)| (x - (rate + B * w).exp()).abs();
    last.iter().zip(&w).map(error).sum::<f64>() / PATHS as f64
}

#[test]
fn every_solver_has_its_strong_order_forward_and_backward() {
    assert!(
        SOLVERS
            .iter()
            .map(|s| s.method().name)
            .eq(ALL.iter().map(|m| m.name))
    );
    for solver in SOLVERS {
        for to in [1.0, -0.7] {
            let sizes = [16, 32, 64, 128, 256];
            let errors = sizes.map(|n| distance(solver, n, to).ln());
            // Least squares over powers of two: the path is the same in all.
            let steps: f64 = [-2.0, -1.0, 0.0, 1.0, 2.0]
                .iter()
                .zip(&errors)
                .map(|(i, e)| i * e)
                .sum();
            let order = -steps / 10.0 / 2f64.ln();
            let stated = solver.method().strong_order;
            assert!((order - stated).abs() < 0.12, "{solver:?} to {to}: {order}");
        }
    }
}

#[test]
fn more_steps_refine_the_same_path() {
    for (coarse, shape) in [(1, &[3usize][..]), (5, &[2, 2]), (12, &[7]), (100, &[])] {
        let increments = |steps: usize| -> Vec<Vec<f64>> {
            let mut path = Brownian::new(9, shape, DType::F64, 2.0, steps);
            (0..steps)
                .map(|_| path.increment().unwrap().to_vec().unwrap())
                .collect()
        };
        let (once, twice) = (increments(coarse), increments(4 * coarse));
        for (whole, parts) in once.iter().zip(twice.chunks(4)) {
            for (i, w) in whole.iter().enumerate() {
                let sum: f64 = parts.iter().map(|p| p[i]).sum();
                assert!((sum - w).abs() < 1e-12, "{coarse}");
            }
        }
    }
}

#[test]
fn increments_have_the_variance_of_their_length_and_do_not_depend_on_each_other() {
    let steps = 24;
    let n = 20_000;
    let mut path = Brownian::new(1, &[n], DType::F64, 3.0, steps);
    let increments: Vec<Vec<f64>> = (0..steps)
        .map(|_| path.increment().unwrap().to_vec().unwrap())
        .collect();
    let product =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / n as f64;
    let h = 3.0 / steps as f64;
    for (i, a) in increments.iter().enumerate() {
        for (j, b) in increments.iter().enumerate() {
            let expected = if i == j { h } else { 0.0 };
            // Five deviations of the mean of 20,000 products.
            assert!(
                (product(a, b) - expected).abs() < 5.0 * h * (2.0 / n as f64).sqrt(),
                "{i} {j}"
            );
        }
    }
}

#[test]
fn constant_noise_and_numbers_are_diagonal_noise() {
    // dx = 2 dW: mean 0, variance 4 t, from any of the three ways to say 2.
    let mut zero = |x: &Tensor, _: f64| Ok(x.affine(0.0, 0.0)?);
    let mut number = |_: &Tensor, _: f64| Ok(Tensor::scalar(2.0, DType::F32)?);
    let mut field = |x: &Tensor, _: f64| Ok(x.affine(0.0, 2.0)?);
    for solver in SOLVERS {
        let options = SdeOptions {
            solver,
            steps: 10,
            seed: Some(1),
            save_at: SaveAt::Count(3),
            ..Default::default()
        };
        let mut run =
            |noise: Noise| solve(&mut zero, noise, &start(), &options, &mut Silent).unwrap();
        let a = run(Noise::Constant(2.0));
        let variance = |x: &Tensor| x.variance(None).unwrap().item().unwrap();
        assert!((variance(&a.x[1]) - 2.0).abs() < 0.25 && (variance(a.last()) - 4.0).abs() < 0.5);
        assert_eq!(a.t, [0.0, 0.5, 1.0]);
        let same = [
            run(Noise::Field(&mut number)),
            run(Noise::Field(&mut field)),
        ];
        for b in same {
            let (a, b) = (a.last().to_vec().unwrap(), b.last().to_vec().unwrap());
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }
    let mut wide = |_: &Tensor, _: f64| Ok(Tensor::ones(&[3, 3], DType::F64)?);
    let wrong = solve(
        &mut zero,
        Noise::Field(&mut wide),
        &start(),
        &SdeOptions::default(),
        &mut Silent,
    );
    assert!(matches!(wrong, Err(Error::Shape { what: "noise", .. })));
}

#[test]
fn times_between_steps_and_impossible_options_are_refused() {
    let base = SdeOptions::default;
    for (expected, options) in [
        (
            "save_at",
            SdeOptions {
                save_at: SaveAt::Times(vec![0.123]),
                steps: 10,
                ..base()
            },
        ),
        ("steps", SdeOptions { steps: 0, ..base() }),
        (
            "from",
            SdeOptions {
                from: f64::INFINITY,
                ..base()
            },
        ),
    ] {
        match solve(
            &mut drift,
            Noise::Constant(1.0),
            &start(),
            &options,
            &mut Silent,
        ) {
            Err(Error::Option { key, .. }) => assert_eq!(key, expected),
            other => panic!("{options:?}: {other:?}"),
        }
    }
    let mut square = |x: &Tensor, _: f64| Ok(x.mul(x)?.affine(1e3, 0.0)?);
    match solve(
        &mut square,
        Noise::Constant(1.0),
        &start(),
        &base(),
        &mut Silent,
    ) {
        Err(Error::Stuck { t, .. }) => assert!(t > 0.0 && t < 1.0, "{t}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_interrupt_gives_what_was_reached_and_gradients_go_through() {
    let options = SdeOptions {
        steps: 10,
        seed: Some(2),
        ..Default::default()
    };
    let whole = solved(&options);
    let mut stop = |step: &Step| match step.step {
        4 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let mut noise = |x: &Tensor, _: f64| Ok(x.affine(B, 0.0)?);
    let s = solve(
        &mut drift,
        Noise::Field(&mut noise),
        &start(),
        &options,
        &mut stop,
    )
    .unwrap();
    assert!(s.interrupted && s.t == whole.t[..5]);
    assert_eq!(s.last().to_vec().unwrap(), whole.x[4].to_vec().unwrap());
    // The solution is linear in x0: its derivative is the solution itself over x0.
    let x0 = start().param().unwrap();
    let mut noise = |x: &Tensor, _: f64| Ok(x.affine(B, 0.0)?);
    let s = solve(
        &mut drift,
        Noise::Field(&mut noise),
        &x0,
        &options,
        &mut Silent,
    )
    .unwrap();
    let g = grad(&s.last().sum_all().unwrap(), &[&x0], false).unwrap();
    let (g, x) = (g[0].to_vec().unwrap(), whole.last().to_vec().unwrap());
    assert!(g.iter().zip(&x).all(|(g, x)| (g - x).abs() < 1e-9));
}
