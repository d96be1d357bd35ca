//! The contract of every solver in `ode::ALL`: its order, also of its dense output and backward in time;
//! tolerances, events, interrupts, gradients.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rhapsode_tensor::{DType, Tensor, grad, random::Stream};

use super::*;
use crate::{
    observe::{Silent, Step},
    optim,
};

const SOLVERS: [Solver; 7] = [
    Solver::Euler,
    Solver::Midpoint,
    Solver::Heun,
    Solver::Rk4,
    Solver::Dopri5,
    Solver::Tsit5,
    Solver::Dopri8,
];

fn one(x: f64) -> Tensor {
    Tensor::full(x, &[1], DType::F64).unwrap()
}

/// Where `growth` starts: `1 / (1 + c)`. Several, since the error of one may pass through zero by luck.
const STARTS: [f64; 3] = [4.0, 1.5, 0.4];

fn starts() -> Tensor {
    Tensor::from_vec(STARTS.map(|c| 1.0 / (1.0 + c)).to_vec(), &[3]).unwrap()
}

/// `x' = 2 x (1 - x) cos t`.
fn growth(x: &Tensor, t: f64) -> Result<Tensor> {
    Ok(x.mul(&x.affine(-1.0, 1.0)?)?.affine(2.0 * t.cos(), 0.0)?)
}

fn truth(c: f64, t: f64) -> f64 {
    1.0 / (1.0 + c * (-2.0 * t.sin()).exp())
}

fn solved(options: &SolveOptions) -> Solution {
    solve(&mut growth, &starts(), options, &mut Silent).unwrap()
}

/// The largest distance of the kept states to the true ones.
fn worst(solution: &Solution) -> f64 {
    let error = |(t, x): (&f64, &Tensor)| {
        let errors = x.to_vec().unwrap().into_iter().zip(STARTS);
        errors
            .map(|(x, c)| (x - truth(c, *t)).abs())
            .fold(0.0, f64::max)
    };
    let errors = solution.t.iter().zip(&solution.x).map(error);
    errors.fold(0.0, f64::max)
}

fn slope(x: &[f64], y: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let cross: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
    cross / x.iter().map(|x| (x - mx).powi(2)).sum::<f64>()
}

/// The power with which the error falls; over several sizes, since errors of one pair may cancel by luck.
fn order(sizes: &[usize], error: impl Fn(usize) -> f64) -> f64 {
    let errors: Vec<f64> = sizes.iter().map(|n| error(*n).ln()).collect();
    let sizes: Vec<f64> = sizes.iter().map(|n| (*n as f64).ln()).collect();
    -slope(&sizes, &errors)
}

#[test]
fn every_solver_has_its_order_forward_backward_and_between_steps() {
    let names = SOLVERS.iter().map(|s| s.tableau().name);
    assert!(names.eq(ALL.iter().map(|t| t.name)));
    for solver in SOLVERS {
        let tableau = solver.tableau();
        for to in [2.0, -1.5] {
            let sizes: &[usize] = match tableau.order {
                // Small enough that the leading term rules, large enough to stay above rounding.
                5 => &[24, 36, 54, 80, 120],
                8 => &[6, 8, 10, 12, 15, 19],
                _ => &[6, 9, 13, 19, 28, 41],
            };
            let options = |steps, save_at| SolveOptions {
                to,
                solver,
                steps: Some(steps),
                save_at,
                ..Default::default()
            };
            let end = order(sizes, |n| worst(&solved(&options(n, SaveAt::END))));
            // 257 times: nearly all lie within steps.
            let dense = order(sizes, |n| worst(&solved(&options(n, SaveAt::Count(257)))));
            for (measured, stated) in [(end, tableau.order), (dense, tableau.dense_order)] {
                assert!(
                    (measured - f64::from(stated)).abs() < 0.45,
                    "{solver:?} to {to}: measured {measured}, stated {stated}"
                );
            }
        }
    }
}

#[test]
fn coefficients_are_consistent() {
    for t in ALL {
        assert!((t.b.iter().sum::<f64>() - 1.0).abs() < 1e-14, "{}", t.name);
        assert_eq!((t.a.len(), t.b.len()), (t.c.len(), t.c.len()), "{}", t.name);
        for (c, row) in t.c.iter().zip(t.a) {
            assert!((row.iter().sum::<f64>() - c).abs() < 1e-13, "{}", t.name);
        }
        assert!(t.error.is_none_or(|e| e.iter().sum::<f64>().abs() < 1e-14));
        assert!(t.error.is_none_or(|e| e.len() == t.b.len()));
        // At the end of a step the interpolant gives the step's end.
        for (row, b) in t.dense.unwrap_or(&[]).iter().zip(t.b) {
            let error = row.iter().sum::<f64>() - b;
            assert!(error.abs() < 1e-12, "{}: {error}", t.name);
        }
    }
}

#[test]
fn adaptive_steps_keep_the_tolerance_and_waste_no_evaluation() {
    for solver in SOLVERS.into_iter().filter(|s| s.tableau().error.is_some()) {
        let tight = if solver.tableau().order < 5 {
            1e-5
        } else {
            1e-9
        };
        for (to, rtol) in [(3.0, tight), (-3.0, tight), (3.0, 1e-3)] {
            let options = SolveOptions {
                to,
                solver,
                rtol: Some(rtol),
                atol: Some(rtol * 1e-2),
                save_at: SaveAt::Count(50),
                ..Default::default()
            };
            let solution = solved(&options);
            let error = worst(&solution);
            assert!(error < 30.0 * rtol, "{solver:?} at {rtol}: {error}");
            let tried = solution.accepted + solution.rejected;
            // Two at the start (slope and trial); the last slope of a step is the first of the next.
            let stages = solver.tableau().c.len();
            if solver.tableau().first_same_as_last {
                assert_eq!(solution.evaluations, 2 + (stages - 1) * tried, "{solver:?}");
            } else {
                assert!(solution.evaluations <= 2 + stages * tried, "{solver:?}");
            }
        }
    }
}

#[test]
fn the_state_keeps_its_dtype_and_the_batch_its_shape() {
    for dtype in [DType::F32, DType::F64] {
        let x0 = Stream::new(0, "x").randn(&[5, 3], dtype).unwrap();
        let options = SolveOptions {
            save_at: SaveAt::Times(vec![0.0, 0.25, 1.0]),
            ..Default::default()
        };
        // The field answers in f64 whatever it is asked.
        let mut f = |x: &Tensor, _: f64| Ok(x.affine(-1.0, 0.0)?.to_dtype(DType::F64)?);
        let s = solve(&mut f, &x0, &options, &mut Silent).unwrap();
        assert_eq!(
            (s.t.as_slice(), s.last().dtype()),
            ([0.0, 0.25, 1.0].as_slice(), dtype)
        );
        assert_eq!(s.stacked().unwrap().dims(), [3, 5, 3]);
        let (a, b) = (s.x[1].to_vec().unwrap(), x0.to_vec().unwrap());
        assert!(
            a.iter()
                .zip(&b)
                .all(|(a, b)| (a - b * (-0.25f64).exp()).abs() < 1e-4)
        );
    }
}

#[test]
fn an_event_ends_the_solution_at_its_time() {
    // A ball thrown up at 10 m/s lands after 2 * 10 / 9.81 s.
    let lands = 20.0 / 9.81;
    let mut fall = |x: &Tensor, _: f64| {
        let v = x.narrow(0, 1, 1)?;
        Ok(Tensor::cat(
            &[&v, &Tensor::full(-9.81, &[1], DType::F64)?],
            0,
        )?)
    };
    let mut height = |x: &Tensor, _: f64| Ok(x.to_vec()?[0]);
    let x0 = Tensor::from_vec(vec![0.0, 10.0], &[2]).unwrap();
    for solver in SOLVERS {
        let options = SolveOptions {
            to: 100.0,
            solver,
            steps: Some(1000),
            save_at: SaveAt::Count(101),
            ..Default::default()
        };
        let s = solve_until(&mut fall, &mut height, &x0, &options, &mut Silent).unwrap();
        let tolerance = if solver == Solver::Euler { 0.2 } else { 1e-9 };
        let at = s.event.unwrap();
        assert!((at - lands).abs() < tolerance, "{solver:?}: {at}");
        assert!((s.last().to_vec().unwrap()[0]).abs() < 1e-9, "{solver:?}");
        // Times before it are kept, then the event itself.
        assert_eq!(s.t, [0.0, 1.0, 2.0, at]);
        assert_eq!(s.end.0, at);
    }
    let options = SolveOptions {
        to: 1.0,
        ..Default::default()
    };
    let s = solve_until(&mut fall, &mut height, &x0, &options, &mut Silent).unwrap();
    assert_eq!((s.event, s.end.0), (None, 1.0));
}

#[test]
fn what_cannot_go_on_names_the_time() {
    let time =
        |options: SolveOptions, f: &mut Field| match solve(f, &one(1.0), &options, &mut Silent) {
            Err(Error::Stuck { t, message, .. }) => (t, message),
            other => panic!("{other:?}"),
        };
    // x' = x^2 from 1 has its pole at t = 1.
    let mut square = |x: &Tensor, _: f64| Ok(x.mul(x)?);
    let options = SolveOptions {
        to: 2.0,
        ..Default::default()
    };
    let (t, message) = time(options, &mut square);
    assert!((t - 1.0).abs() < 1e-3, "{t}: {message}");
    let options = SolveOptions {
        to: 2.0,
        steps: Some(100),
        ..Default::default()
    };
    let (t, message) = time(options, &mut square);
    assert!(t > 1.0 && message.contains("NaN"), "{t}: {message}");
    let options = SolveOptions {
        max_steps: Some(3),
        rtol: Some(1e-10),
        ..Default::default()
    };
    let (t, message) = time(options, &mut growth);
    assert!(
        t > 0.0 && t < 1.0 && message.contains("3 steps"),
        "{t}: {message}"
    );
    let mut jump = |x: &Tensor, t: f64| Ok(x.affine(0.0, if t > 0.5 { f64::NAN } else { 1.0 })?);
    let (t, _) = time(SolveOptions::default(), &mut jump);
    assert!((t - 0.5).abs() < 1e-6, "{t}");
}

#[test]
fn options_without_effect_and_impossible_ones_are_refused() {
    let base = SolveOptions::default;
    let times = |times: &[f64]| SaveAt::Times(times.to_vec());
    let cases = [
        (
            "rtol",
            SolveOptions {
                rtol: Some(1e-3),
                steps: Some(3),
                ..base()
            },
        ),
        (
            "atol",
            SolveOptions {
                atol: Some(1e-3),
                solver: Solver::Rk4,
                ..base()
            },
        ),
        (
            "max_steps",
            SolveOptions {
                max_steps: Some(5),
                steps: Some(3),
                ..base()
            },
        ),
        (
            "rtol",
            SolveOptions {
                rtol: Some(-1.0),
                ..base()
            },
        ),
        (
            "steps",
            SolveOptions {
                steps: Some(0),
                ..base()
            },
        ),
        (
            "to",
            SolveOptions {
                to: f64::NAN,
                ..base()
            },
        ),
        (
            "to",
            SolveOptions {
                from: -1e308,
                to: 1e308,
                ..base()
            },
        ),
        (
            "save_at",
            SolveOptions {
                save_at: times(&[0.5, 0.2]),
                ..base()
            },
        ),
        (
            "save_at",
            SolveOptions {
                save_at: times(&[1.5]),
                ..base()
            },
        ),
        (
            "save_at",
            SolveOptions {
                save_at: times(&[f64::NAN]),
                ..base()
            },
        ),
        (
            "save_at",
            SolveOptions {
                save_at: times(&[]),
                ..base()
            },
        ),
        (
            "save_at",
            SolveOptions {
                save_at: SaveAt::Count(0),
                ..base()
            },
        ),
    ];
    for (expected, options) in cases {
        match solve(&mut growth, &one(1.0), &options, &mut Silent) {
            Err(Error::Option { key, .. }) => assert_eq!(key, expected, "{options:?}"),
            other => panic!("{options:?}: {other:?}"),
        }
    }
    let mut f = |x: &Tensor, _: f64| Ok(x.sum_all()?);
    let wrong = solve(
        &mut f,
        &Tensor::ones(&[3], DType::F64).unwrap(),
        &base(),
        &mut Silent,
    );
    assert!(matches!(wrong, Err(Error::Shape { .. })));
    let ints = Tensor::ones(&[3], DType::I64).unwrap();
    assert!(matches!(
        solve(&mut growth, &ints, &base(), &mut Silent),
        Err(Error::Value { .. })
    ));
}

#[test]
fn an_interrupt_gives_what_was_reached() {
    let options = SolveOptions {
        steps: Some(10),
        ..Default::default()
    };
    let whole = solved(&options);
    let mut stop = |step: &Step| match step.step {
        3 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let s = solve(&mut growth, &starts(), &options, &mut stop).unwrap();
    assert!(s.interrupted && !whole.interrupted);
    assert_eq!((s.accepted, s.t.as_slice()), (3, &whole.t[..4]));
    assert_eq!(s.last().to_vec().unwrap(), whole.x[3].to_vec().unwrap());
    // Also one that is seen inside of a step.
    let flag = Arc::new(AtomicBool::new(false));
    let raise = flag.clone();
    let mut f = |x: &Tensor, t: f64| {
        raise.store(t > 0.45, Ordering::SeqCst);
        growth(x, t)
    };
    let s = rhapsode_tensor::interrupt::with_flag(flag, || {
        solve(&mut f, &one(1.0), &options, &mut Silent)
    })
    .unwrap();
    assert!(s.interrupted && s.accepted == 4, "{s:?}");
}

/// A small network with its parameters: `tanh(x W + b t)`.
fn network() -> (Tensor, Tensor, SharedField) {
    let w = Stream::new(1, "w")
        .randn(&[2, 2], DType::F64)
        .unwrap()
        .param()
        .unwrap();
    let b = Stream::new(2, "b")
        .randn(&[2], DType::F64)
        .unwrap()
        .param()
        .unwrap();
    let (v, c) = (w.clone(), b.clone());
    let f = move |x: &Tensor, t: f64| Ok(x.matmul(&v)?.add(&c.affine(t, 0.0)?)?.tanh()?);
    (w, b, Arc::new(f))
}

#[test]
fn gradients_through_and_by_the_adjoint_agree_with_finite_differences() {
    let (w, b, f) = network();
    let x0 = Stream::new(3, "x")
        .randn(&[3, 2], DType::F64)
        .unwrap()
        .param()
        .unwrap();
    // A loss of several kept states and the end.
    let loss = |s: &Solution| {
        let kept = s.stacked().unwrap();
        let squares = kept.mul(&kept).unwrap().sum_all().unwrap();
        squares.add(&s.last().sum_all().unwrap()).unwrap()
    };
    for (steps, save_at, to) in [
        (None, SaveAt::Times(vec![0.3, 0.8]), 1.5),
        (Some(60), SaveAt::Named(Named::Steps), 1.0),
        (None, SaveAt::END, -1.0),
    ] {
        let options = SolveOptions {
            to,
            steps,
            rtol: steps.is_none().then_some(1e-9),
            atol: steps.is_none().then_some(1e-9),
            solver: if steps.is_some() {
                Solver::Rk4
            } else {
                Solver::Tsit5
            },
            save_at,
            ..Default::default()
        };
        let through = solve(&mut |x, t| f(x, t), &x0, &options, &mut Silent).unwrap();
        let adjoint = solve_adjoint(&f, &x0, &options, &mut Silent).unwrap();
        assert_eq!(
            through.last().to_vec().unwrap(),
            adjoint.last().to_vec().unwrap()
        );
        let of = [&x0, &w, &b];
        let exact = grad(&loss(&through), &of, false).unwrap();
        let found = grad(&loss(&adjoint), &of, false).unwrap();
        for ((exact, found), of) in exact.iter().zip(&found).zip(of) {
            let (exact, found) = (exact.to_vec().unwrap(), found.to_vec().unwrap());
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6 * (1.0 + a.abs());
            assert!(exact.iter().zip(&found).all(near), "{exact:?} {found:?}");
            // Finite differences of the first element.
            let shifted = |h: f64| {
                let change = |x: &mut [f64]| x[0] += h;
                rhapsode_tensor::params::update_tensor::<f64>(of, change).unwrap();
                let s = solve(&mut |x, t| f(x, t), &x0, &options, &mut Silent).unwrap();
                // The first kept state is `x0` itself: judge before it is put back.
                let value = loss(&s).item().unwrap();
                rhapsode_tensor::params::update_tensor::<f64>(of, |x| x[0] -= h).unwrap();
                value
            };
            let numeric = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            assert!(
                (numeric - exact[0]).abs() < 1e-6 * (1.0 + numeric.abs()),
                "{numeric} {}",
                exact[0]
            );
        }
    }
}

#[test]
fn the_adjoint_finds_a_parameter_that_the_field_meets_later() {
    let w = one(0.5).param().unwrap();
    let v = w.clone();
    let late: SharedField = Arc::new(move |x: &Tensor, t: f64| match t > 0.5 {
        true => Ok(x.mul(&v)?),
        false => Ok(x.clone()),
    });
    let options = SolveOptions {
        steps: Some(100),
        solver: Solver::Rk4,
        ..Default::default()
    };
    let s = solve_adjoint(&late, &one(1.0), &options, &mut Silent).unwrap();
    let g = grad(&s.last().sum_all().unwrap(), &[&w], false).unwrap();
    // x(1) = e^(1/2 + w / 2), up to the step in which the field changes.
    let (found, expected) = (g[0].item().unwrap(), 0.5 * 0.75f64.exp());
    assert!(
        (found - expected).abs() < 0.02 * expected,
        "{found} {expected}"
    );
}

#[test]
fn the_adjoint_refuses_what_it_cannot_do() {
    let (w, b, _) = network();
    // Another parameter than on the way forward would silently get no gradient.
    let later = Arc::new(AtomicBool::new(false));
    let (v, c, seen) = (w.clone(), b, later.clone());
    let late: SharedField = Arc::new(move |x: &Tensor, _: f64| {
        let y = x.matmul(&v)?;
        Ok(if seen.load(Ordering::SeqCst) {
            y.add(&c)?
        } else {
            y
        })
    });
    let x0 = Tensor::ones(&[1, 2], DType::F64).unwrap();
    let options = SolveOptions {
        save_at: SaveAt::END,
        ..Default::default()
    };
    let s = solve_adjoint(&late, &x0, &options, &mut Silent).unwrap();
    later.store(true, Ordering::SeqCst);
    let loss = s.last().sum_all().unwrap();
    let error = grad(&loss, &[&w], false).unwrap_err();
    assert!(error.to_string().contains("a parameter"), "{error}");
    let (w, _, f) = network();
    let s = solve_adjoint(&f, &x0, &options, &mut Silent).unwrap();
    let error = grad(&s.last().sum_all().unwrap(), &[&w], true).unwrap_err();
    assert!(
        error.to_string().contains("differentiated again"),
        "{error}"
    );
    // A field without parameters, a start without history: nothing to record.
    let plain: SharedField = Arc::new(growth);
    assert!(
        !solve_adjoint(&plain, &one(1.0), &options, &mut Silent)
            .unwrap()
            .last()
            .is_tracked()
    );
}

#[test]
fn a_neural_equation_learns_by_either_gradient() {
    for by_adjoint in [false, true] {
        let (w, b, f) = network();
        let rule = optim::AdamOptions {
            lr: 0.05,
            ..Default::default()
        };
        let mut optimizer = optim::Optimizer::new(rule, vec![w.clone(), b.clone()]).unwrap();
        let x0 = Tensor::ones(&[1, 2], DType::F64).unwrap();
        let goal = Tensor::from_vec(vec![1.6, 0.3], &[1, 2]).unwrap();
        let options = SolveOptions {
            steps: Some(8),
            solver: Solver::Rk4,
            save_at: SaveAt::END,
            ..Default::default()
        };
        let mut losses = Vec::new();
        for _ in 0..40 {
            let s = match by_adjoint {
                true => solve_adjoint(&f, &x0, &options, &mut Silent),
                false => solve(&mut |x, t| f(x, t), &x0, &options, &mut Silent),
            };
            let loss = s.unwrap().last().mse(&goal).unwrap();
            losses.push(loss.item().unwrap());
            let grads = rhapsode_tensor::grad_or_zero(loss, &[&w, &b]).unwrap();
            optimizer.step(&grads, None).unwrap();
        }
        assert!(losses[39] < 0.1 * losses[0], "{losses:?}");
    }
}
