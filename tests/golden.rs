//! Golden numbers: what the papers' reference code computed, from `tests/golden/<slug>/*.json` or from
//! the folder that `RHAPSODE_GOLDEN` names. Sizes, options, inputs and tolerance come from the file.
//!
//! A test is named `golden_<slug>_<file>`. Of `optim-8bit` the 32-bit steps are read so far; its
//! 8-bit part comes with the 8-bit optimizers.

use std::{path::PathBuf, sync::Arc};

use rhapsode_models::optim::{self, Optimizer};
use rhapsode_tensor::Tensor;
use serde_json::{Value, json};

fn golden(slug: &str, file: &str) -> Value {
    let root = std::env::var_os("RHAPSODE_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden"),
        PathBuf::from,
    );
    let path = root.join(slug).join(format!("{file}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn single(v: &Value) -> Tensor {
    let values: Vec<f32> = numbers(v).into_iter().map(|v| v as f32).collect();
    let n = values.len();
    Tensor::from_vec(values, &[n]).unwrap()
}

fn assert_close(got: &[f64], want: &[f64], file: &Value, what: &str) {
    let (rtol, atol) = (
        file["rtol"].as_f64().unwrap(),
        file["atol"].as_f64().unwrap(),
    );
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= atol + rtol * w.abs(),
            "{what}[{i}]: {g}, expected {w}"
        );
    }
}

/// Parameters after steps 1, 5 and 10 of a fixed sequence of gradients, in 32 bits.
fn steps(name: &str) {
    let file = golden("optim-8bit", &format!("steps_{name}"));
    let inputs = &file["inputs"];
    let options = &inputs["options"];
    let betas = numbers(&options["betas"]);
    let (beta1, beta2) = (betas[0], betas[1]);
    let options = json!({
        "lr": options["lr"], "beta1": beta1, "beta2": beta2, "eps": options["eps"], "weight_decay": options["weight_decay"],
    });
    let kind = optim::ALL.iter().find(|kind| kind.name == name).unwrap();
    let params = single(&inputs["params"]);
    let mut optimizer = Optimizer::new(
        Arc::clone(&(kind.build)(options).unwrap()),
        vec![params.clone()],
    )
    .unwrap();
    let mut seen = Vec::new();
    for (i, grad) in inputs["grads"].as_array().unwrap().iter().enumerate() {
        optimizer.step(&[Some(single(grad))], None).unwrap();
        if [1, 5, 10].contains(&(i + 1)) {
            seen.push(params.to_vec().unwrap());
        }
    }
    for (got, want) in seen.iter().zip(
        file["expected"]["params_32bit_after_step"]
            .as_array()
            .unwrap(),
    ) {
        assert_close(got, &numbers(want), &file, name);
    }
}

#[test]
fn golden_optim_8bit_steps_adam() {
    steps("adam");
}

#[test]
fn golden_optim_8bit_steps_adamw() {
    steps("adamw");
}
