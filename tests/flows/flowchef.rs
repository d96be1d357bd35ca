//! Golden numbers of `flowchef`.

use std::sync::Arc;

use rhapsode_models::{
    flow::{
        FunctionField, SharedFlow, VelocityFn,
        path::Process,
        steer::{Cost, SteerOptions, edited, gradients, operator::Operator, steer},
    },
    observe::Silent,
};
use rhapsode_tensor::{DType, Tensor};
use serde_json::Value;

use crate::read::{every_file_is_read, golden, int, named, number, numbers, tensor};

const SLUG: &str = "flowchef";

fn field(dim: usize, function: VelocityFn) -> FunctionField {
    FunctionField {
        function,
        dim,
        dtype: DType::F64,
        process: Process::rectified(),
    }
}

/// `A x + t k + c`.
fn linear(a: Tensor, k: Option<Tensor>, c: Tensor) -> FunctionField {
    field(
        a.dims()[0],
        Arc::new(move |x: &Tensor, t: &Tensor| {
            let v = x.matmul(&a.t()?)?.add(&c)?;
            Ok(match &k {
                Some(k) => v.add(&t.unsqueeze(1)?.mul(k)?)?,
                None => v,
            })
        }),
    )
}

fn stacked(states: &[Tensor]) -> Tensor {
    Tensor::stack(&states.iter().collect::<Vec<_>>(), 0).unwrap()
}

fn square(m: &Tensor, y: &Tensor, x: &Tensor) -> rhapsode_models::Result<Tensor> {
    Ok(x.matmul(&m.t()?)?.sub(y)?.sqr()?.sum(&[1])?)
}

fn options(run: &Value) -> SteerOptions {
    SteerOptions {
        steps: int(&run["steps"]),
        inner: int(&run["inner_steps"]),
        rate: number(&run["rate"]),
        optimizer: named(&run["optimizer"]),
        max_steps: Some(int(&run["max_steps"])),
        guide_last: run["guide_last_step"].as_bool().unwrap(),
        ..Default::default()
    }
}

#[test]
fn golden_flowchef_update() {
    let file = golden(SLUG, "update");
    let [a, k, c, m, y, x] = ["A", "k", "c", "M", "y", "x"].map(|key| tensor(file.input(key)));
    let flow = linear(a, Some(k), c);
    let (rows, target) = (m.clone(), y.clone());
    let cost: Cost = Arc::new(move |_, x| square(&rows, &target, x));
    for run in file.rows("runs") {
        let options = options(run);
        let what = format!("{options:?}");
        let walk = steer(&flow, &x, &cost, &options, &mut Silent).unwrap();
        file.close_tensor(&stacked(&walk.trajectory), &run["trajectory"], &what);
        let final_cost = square(&m, &y, walk.last().unwrap()).unwrap();
        file.close_tensor(&final_cost, &run["final_cost"], &what);
        let wanted = run["x1_hat"].as_array().unwrap();
        // The file tells the prediction of every step, ours those of the guided ones.
        for (found, want) in walk.predictions.iter().zip(wanted) {
            file.close_tensor(found, want, &what);
        }
        assert_eq!(walk.evaluations, options.steps);
    }
    for row in file.rows("gradients") {
        let (skipped, full) = gradients(&flow, &x, number(&row["t"]), &cost).unwrap();
        file.close_tensor(&skipped, &row["gradient_skipped"], "skipped");
        file.close_tensor(&full, &row["gradient_full"], "full");
        let dot = skipped.mul(&full).unwrap().sum(&[1]).unwrap();
        let norms = skipped
            .norm(1)
            .unwrap()
            .mul(&full.norm(1).unwrap())
            .unwrap();
        file.close_tensor(&dot.div(&norms).unwrap(), &row["cosine"], "cosine");
    }
    for row in file.rows("contraction") {
        // A flow that stands still, one step: what is left of the error is what the descents leave.
        let before = tensor(&row["error_before"]).unsqueeze(0).unwrap();
        let still = field(
            before.len(),
            Arc::new(|x: &Tensor, _: &Tensor| Ok(Tensor::zeros(x.dims(), DType::F64)?)),
        );
        let cost: Cost = Arc::new(|_, x| Ok(x.sqr()?.sum(&[1])?));
        let options = SteerOptions {
            steps: 1,
            inner: int(&row["inner_steps"]),
            rate: number(&row["rate"]),
            ..Default::default()
        };
        let walk = steer(&still, &before, &cost, &options, &mut Silent).unwrap();
        file.close(
            &walk.last().unwrap().to_vec().unwrap(),
            &row["error_after"],
            "contraction",
        );
    }
}

#[test]
fn golden_flowchef_classifier_guidance() {
    let file = golden(SLUG, "classifier_guidance");
    let [a, c, w, b, x] = ["A", "c", "W", "b", "x"].map(|key| tensor(file.input(key)));
    let labels: Vec<i64> = numbers(file.input("labels"))
        .into_iter()
        .map(|l| l as i64)
        .collect();
    let labels = Tensor::from_vec(labels, &[x.dims()[0], 1]).unwrap();
    let cost: Cost = Arc::new(move |_, x| {
        let logp = x.matmul(&w.t()?)?.add(&b)?.log_softmax(1)?;
        Ok(logp.gather(1, &labels)?.squeeze(1)?.neg()?)
    });
    let flow = linear(a, None, c);
    let (skipped, _) = gradients(&flow, &x, 0.0, &cost).unwrap();
    let options = SteerOptions {
        steps: int(file.input("steps")),
        rate: number(file.input("rate")),
        ..Default::default()
    };
    let walk = steer(&flow, &x, &cost, &options, &mut Silent).unwrap();
    file.close_tensor(
        &stacked(&walk.trajectory),
        file.expected("trajectory"),
        "trajectory",
    );
    file.close_tensor(
        &cost(0, walk.last().unwrap()).unwrap(),
        file.expected("final_nll"),
        "final nll",
    );
    // Told at the prediction from the start, or at the start itself.
    let data = x
        .add(&rhapsode_models::flow::field::velocity_at(&flow, &x, 0.0).unwrap())
        .unwrap();
    file.close_tensor(
        &cost(0, &data).unwrap(),
        file.expected("initial_nll"),
        "initial nll",
    );
    file.close_tensor(
        &skipped,
        file.expected("initial_gradient"),
        "initial gradient",
    );
}

#[test]
fn golden_flowchef_editing() {
    let file = golden(SLUG, "editing");
    let [ae, ce, ab, cb, x, source, mask] =
        ["Ae", "ce", "Ab", "cb", "x", "ref", "mask"].map(|key| tensor(file.input(key)));
    // The file was written after its `x` had been carried along: where it says so, the start is the first state.
    let states = tensor(file.expected("trajectory"));
    let [first, end] =
        [0, states.dims()[0] - 1].map(|i| states.narrow(0, i, 1).unwrap().squeeze(0).unwrap());
    let carried = x
        .sub(&end)
        .unwrap()
        .abs()
        .unwrap()
        .max_all()
        .unwrap()
        .item()
        .unwrap()
        < 1e-12;
    let x = if carried { first } else { x };
    let (edit, base): (SharedFlow, SharedFlow) = (
        Arc::new(linear(ae, None, ce)),
        Arc::new(linear(ab, None, cb)),
    );
    let (field, cost) = edited(
        edit,
        base,
        &source,
        &mask,
        number(file.input("scale")),
        int(file.input("full_source_steps")),
    )
    .unwrap();
    let options = SteerOptions {
        steps: int(file.input("steps")),
        max_steps: Some(int(file.input("max_steps"))),
        rate: number(file.input("rate")),
        inner: int(file.input("inner_steps")),
        ..Default::default()
    };
    let walk = steer(field.as_ref(), &x, &cost, &options, &mut Silent).unwrap();
    file.close_tensor(
        &stacked(&walk.trajectory),
        file.expected("trajectory"),
        "trajectory",
    );
    for (i, want) in file.rows("velocities").iter().enumerate() {
        let t = i as f64 / options.steps as f64;
        let v = rhapsode_models::flow::field::velocity_at(field.as_ref(), &walk.trajectory[i], t)
            .unwrap();
        file.close_tensor(&v, want, "velocity");
    }
}

#[test]
fn golden_flowchef_operators() {
    let file = golden(SLUG, "operators");
    let x = tensor(file.input("x")).unsqueeze(0).unwrap();
    let shape = [x.dims()[1], x.dims()[2], x.dims()[3]];
    for row in file.rows("rows") {
        let operator = match row["op"].as_str().unwrap() {
            "box" => Operator::centred_box(shape, int(&row["size"])).unwrap(),
            "super_resolution" => Operator::super_resolution(shape, int(&row["scale"])).unwrap(),
            _ => Operator::blur(shape, int(&row["kernel"]), number(&row["sigma"])).unwrap(),
        };
        let what = row["op"].as_str().unwrap();
        file.close_tensor(
            &operator.apply(&x).unwrap().squeeze(0).unwrap(),
            &row["y"],
            what,
        );
        let y = tensor(&row["adjoint_input"]).unsqueeze(0).unwrap();
        file.close_tensor(
            &operator.adjoint(&y).unwrap().squeeze(0).unwrap(),
            &row["adjoint"],
            what,
        );
        if let Operator::Mask { mask } = &operator {
            file.close_tensor(
                &mask.narrow(0, 0, 1).unwrap().squeeze(0).unwrap(),
                &row["mask"],
                what,
            );
        }
        if let Operator::Blur { kernel, .. } = &operator {
            file.close(&kernel.to_vec().unwrap(), &row["kernel_weights"], what);
        }
    }
}

#[test]
fn every_file_of_flowchef_is_read() {
    every_file_is_read(
        SLUG,
        &["classifier_guidance", "editing", "operators", "update"],
    );
}
