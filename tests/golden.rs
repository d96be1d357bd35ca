//! Golden numbers: what the papers' reference code computed, from `tests/golden/<slug>/*.json` or from
//! the folder that `RHAPSODE_GOLDEN` names. Sizes, options, inputs and tolerance come from the file.
//!
//! A test is named `golden_<slug>_<file>`. Of `optim-8bit` the 32-bit steps are read so far; its
//! 8-bit part comes with the 8-bit optimizers.

use std::path::PathBuf;

use rhapsode_models::optim::{Kind, Optimizer};
use rhapsode_tensor::Tensor;
use serde_json::Value;

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

/// The files of `optim-8bit` that are read, and the optimizers that they are about.
const STEPS: &[(&str, &str)] = &[
    ("steps_momentum", "momentum"),
    ("steps_adam", "adam"),
    ("steps_adamw", "adamw"),
    ("steps_lion", "lion"),
    ("steps_rmsprop", "rmsprop"),
    ("steps_adagrad", "adagrad"),
    ("steps_lamb", "lamb"),
    ("steps_lars", "lars"),
    ("steps_ademamix", "ademamix"),
    ("steps_ademamix_scheduled", "ademamix"),
];

/// Parameters after steps 1, 5 and 10 of a fixed sequence of gradients, in 32 bits.
fn steps(name: &str) {
    let file = golden("optim-8bit", name);
    let (_, kind) = STEPS.iter().find(|(known, _)| *known == name).unwrap();
    let inputs = &file["inputs"];
    let choice = (Kind::find(kind).unwrap().make(inputs["options"].clone())).unwrap();
    let params = single(&inputs["params"]);
    let mut optimizer = Optimizer::new(choice, vec![params.clone()]).unwrap();
    let mut seen = Vec::new();
    for (i, grad) in inputs["grads"].as_array().unwrap().iter().enumerate() {
        optimizer.step(&[Some(single(grad))], None).unwrap();
        if [1, 5, 10].contains(&(i + 1)) {
            seen.push(params.to_vec().unwrap());
        }
    }
    let expected = file["expected"]["params_32bit_after_step"]
        .as_array()
        .unwrap();
    assert_eq!(seen.len(), expected.len(), "{name}: number of steps seen");
    for (got, want) in seen.iter().zip(expected) {
        assert_close(got, &numbers(want), &file, name);
    }
}

#[test]
fn golden_optim_8bit_steps_momentum() {
    steps("steps_momentum");
}

#[test]
fn golden_optim_8bit_steps_adam() {
    steps("steps_adam");
}

#[test]
fn golden_optim_8bit_steps_adamw() {
    steps("steps_adamw");
}

#[test]
fn golden_optim_8bit_steps_lion() {
    steps("steps_lion");
}

#[test]
fn golden_optim_8bit_steps_rmsprop() {
    steps("steps_rmsprop");
}

#[test]
fn golden_optim_8bit_steps_adagrad() {
    steps("steps_adagrad");
}

#[test]
fn golden_optim_8bit_steps_lamb() {
    steps("steps_lamb");
}

#[test]
fn golden_optim_8bit_steps_lars() {
    steps("steps_lars");
}

#[test]
fn golden_optim_8bit_steps_ademamix() {
    steps("steps_ademamix");
}

#[test]
fn golden_optim_8bit_steps_ademamix_scheduled() {
    steps("steps_ademamix_scheduled");
}

/// A file in our folder that no test reads would look tested.
#[test]
fn every_file_of_optim_8bit_is_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/optim-8bit");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            STEPS.iter().any(|(file, _)| *file == stem),
            "{} is read by no test",
            path.display()
        );
    }
}
