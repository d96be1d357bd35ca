//! Reading golden files, and holding numbers against them.

use std::path::PathBuf;

use rhapsode_tensor::{DType, Tensor};
use serde_json::Value;

/// A golden file, with its inputs and what is expected.
pub struct Golden {
    pub whole: Value,
    name: String,
}

fn folder(slug: &str) -> PathBuf {
    let root = std::env::var_os("RHAPSODE_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden"),
        PathBuf::from,
    );
    root.join(slug)
}

pub fn golden(slug: &str, file: &str) -> Golden {
    let path = folder(slug).join(format!("{file}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Golden {
        whole: serde_json::from_str(&text).unwrap(),
        name: file.to_string(),
    }
}

/// A file in our folder that no test reads would look tested.
pub fn every_file_is_read(slug: &str, read: &[&str]) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(slug);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            read.contains(&stem.as_str()),
            "{} is read by no test",
            path.display()
        );
    }
}

impl Golden {
    pub fn input(&self, key: &str) -> &Value {
        &self.whole["inputs"][key]
    }

    pub fn expected(&self, key: &str) -> &Value {
        &self.whole["expected"][key]
    }

    pub fn rows(&self, key: &str) -> &Vec<Value> {
        self.expected(key).as_array().unwrap()
    }

    /// Whether every number is as close as the file asks.
    #[track_caller]
    pub fn close(&self, got: &[f64], want: &Value, what: &str) {
        let (rtol, atol) = (number(&self.whole["rtol"]), number(&self.whole["atol"]));
        let want = numbers(want);
        assert_eq!(got.len(), want.len(), "{}: {what}", self.name);
        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
            let bound = atol + rtol * w.abs();
            assert!(
                (g - w).abs() <= bound,
                "{}: {what}[{i}]: {g}, expected {w}",
                self.name
            );
        }
    }

    #[track_caller]
    pub fn close_tensor(&self, got: &Tensor, want: &Value, what: &str) {
        assert_eq!(got.dims(), tensor(want).dims(), "{}: {what}", self.name);
        self.close(&got.to_vec().unwrap(), want, what);
    }
}

pub fn number(v: &Value) -> f64 {
    v.as_f64().unwrap()
}

pub fn int(v: &Value) -> usize {
    v.as_u64().unwrap() as usize
}

/// All numbers in nested lists, in order.
pub fn numbers(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        one => vec![number(one)],
    }
}

/// Nested lists as a tensor in f64.
pub fn tensor(v: &Value) -> Tensor {
    let mut shape = Vec::new();
    let mut inner = v;
    while let Value::Array(items) = inner {
        shape.push(items.len());
        inner = match items.first() {
            Some(first) => first,
            None => break,
        };
    }
    Tensor::from_vec(numbers(v), &shape).unwrap()
}

/// A name as an option of scripts is read.
pub fn named<T: serde::de::DeserializeOwned>(v: &Value) -> T {
    serde_json::from_value(v.clone()).unwrap()
}

pub fn full(value: f64, n: usize) -> Tensor {
    Tensor::full(value, &[n], DType::F64).unwrap()
}
