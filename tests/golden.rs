//! Golden numbers of the optimizers: what reference code computed, from `tests/golden/optim-8bit/*.json` or from
//! the folder that `RHAPSODE_GOLDEN` names. Sizes, options, inputs and tolerance come from the file.
//!
//! A test is named `golden_optim_8bit_<file>`.

use std::path::PathBuf;

use rhapsode_models::optim::{Kind, Optimizer};
use rhapsode_tensor::{
    DType, Tensor,
    ops::quantize::{Blocks, Code, Codebook, Deviation, Rounding, Writing},
};
use serde_json::{Value, json};

fn golden(file: &str) -> Value {
    let root = std::env::var_os("RHAPSODE_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden"),
        PathBuf::from,
    );
    let path = root.join("optim-8bit").join(format!("{file}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn list(v: &Value) -> &[Value] {
    v.as_array().unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    list(v).iter().map(|v| v.as_f64().unwrap()).collect()
}

fn singles(v: &Value) -> Vec<f32> {
    numbers(v).into_iter().map(|v| v as f32).collect()
}

fn codes(v: &Value) -> Vec<u8> {
    let code = |v: &Value| u8::try_from(v.as_u64().unwrap()).unwrap();
    list(v).iter().map(code).collect()
}

fn single(v: &Value) -> Tensor {
    let values = singles(v);
    let n = values.len();
    Tensor::from_vec(values, &[n]).unwrap()
}

fn assert_close(got: &[f64], want: &[f64], file: &Value, what: &str) {
    let tolerance = |key: &str| file[key].as_f64().unwrap_or(0.0);
    let (rtol, atol) = (tolerance("rtol"), tolerance("atol"));
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= atol + rtol * w.abs(),
            "{what}[{i}]: {g}, expected {w}"
        );
    }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Every file, and for those with steps the optimizer that they are about.
const FILES: &[(&str, &str)] = &[
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
    ("blockwise_edge", ""),
    ("blockwise_signed", ""),
    ("blockwise_unsigned", ""),
    ("dynamic_map", ""),
    ("dynamic_map_signed", ""),
    ("linear_map", ""),
    ("percentile_clip", ""),
    ("quantization_error", ""),
    ("state_bytes", ""),
    ("stochastic_rounding", ""),
];

/// Parameters after some steps of a fixed sequence of gradients, in 32 and in 8 bits, and the states of the latter.
fn steps(name: &str) {
    let file = golden(name);
    let (_, kind) = FILES.iter().find(|(known, _)| *known == name).unwrap();
    for bits in [32, 8] {
        let inputs = &file["inputs"];
        let mut options = inputs["options"].clone();
        options["bits"] = json!(bits);
        options["block"] = inputs["block"].clone();
        options["min_8bit_size"] = json!(0);
        let choice = (Kind::find(kind).unwrap().make(options)).unwrap();
        let params = single(&inputs["params"]);
        let mut optimizer = Optimizer::new(choice, vec![params.clone()]).unwrap();
        let mut seen = Vec::new();
        for (i, grad) in list(&inputs["grads"]).iter().enumerate() {
            optimizer.step(&[Some(single(grad))], None).unwrap();
            if [1, 5, 10].contains(&(i + 1)) {
                seen.push(params.to_vec().unwrap());
            }
            let states = &file["expected"]["states_8bit"][format!("after_step_{}", i + 1)];
            if bits == 8 && states.is_object() {
                assert_states(&optimizer, states, &file, &format!("{name} step {}", i + 1));
            }
        }
        let expected = list(&file["expected"][format!("params_{bits}bit_after_step")]);
        assert_eq!(seen.len(), expected.len(), "{name}: number of steps seen");
        for (got, want) in seen.iter().zip(expected) {
            assert_close(got, &numbers(want), &file, &format!("{name}, {bits} bits"));
        }
    }
}

/// Codes exactly, largest values within the tolerance.
fn assert_states(optimizer: &Optimizer, states: &Value, file: &Value, what: &str) {
    let saved = optimizer.checkpoint().unwrap();
    let find = |name: String| {
        let found = saved.tensors.iter().find(|(n, _)| *n == name);
        found
            .unwrap_or_else(|| panic!("{what}: no {name}"))
            .1
            .clone()
    };
    for (name, want) in states.as_object().unwrap() {
        let got = find(format!("state.0.{name}.codes"));
        let got = got.with_slice::<u8, _>("test", <[u8]>::to_vec).unwrap();
        assert_eq!(got, codes(&want["codes"]), "{what}: {name}");
        let absmax = find(format!("state.0.{name}.absmax")).to_vec().unwrap();
        assert_close(&absmax, &numbers(&want["absmax"]), file, what);
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

fn book(code: Code, signed: bool) -> Vec<f64> {
    wide(Codebook::of(code, signed).map())
}

#[test]
fn golden_optim_8bit_dynamic_map() {
    let file = golden("dynamic_map");
    let positions = file["inputs"]["max_exponent_bits"].as_u64().unwrap() as usize;
    for (key, signed) in [("signed", true), ("unsigned", false)] {
        let want = numbers(&file["expected"][key]);
        assert_close(&book(Code::Dynamic(positions), signed), &want, &file, key);
    }
}

#[test]
fn golden_optim_8bit_dynamic_map_signed() {
    let file = golden("dynamic_map_signed");
    let all = list(&file["inputs"]["max_exponent_bits"]);
    for (positions, want) in all.iter().zip(list(&file["expected"]["signed"])) {
        let code = Code::Dynamic(positions.as_u64().unwrap() as usize);
        assert_close(
            &book(code, true),
            &numbers(want),
            &file,
            &positions.to_string(),
        );
    }
}

#[test]
fn golden_optim_8bit_linear_map() {
    let file = golden("linear_map");
    for (key, signed) in [("signed", true), ("unsigned", false)] {
        let want = numbers(&file["expected"][key]);
        assert_close(&book(Code::Linear, signed), &want, &file, key);
    }
}

fn writing(block: usize, signed: bool) -> Writing {
    Writing {
        block,
        code: Code::default(),
        signed,
        floor: false,
        rounding: Rounding::Nearest,
    }
}

fn back(blocks: &Blocks) -> Vec<f64> {
    let mut values = vec![0f32; blocks.codes().len()];
    blocks.dequantize(&mut values);
    wide(&values)
}

/// Quantizes one case; codes exactly, the rest within the tolerance.
fn blockwise(inputs: &Value, expected: &Value, file: &Value, what: &str) {
    let block = inputs["block"].as_u64().unwrap() as usize;
    let writing = writing(block, inputs["signed"].as_bool().unwrap());
    let blocks = Blocks::of(&singles(&inputs["x"]), writing);
    assert_eq!(blocks.codes(), codes(&expected["codes"]), "{what}");
    let absmax = wide(blocks.absmax());
    assert_close(&absmax, &numbers(&expected["absmax"]), file, what);
    assert_close(
        &back(&blocks),
        &numbers(&expected["dequantized"]),
        file,
        what,
    );
}

#[test]
fn golden_optim_8bit_blockwise_signed() {
    let file = golden("blockwise_signed");
    blockwise(&file["inputs"], &file["expected"], &file, "signed");
}

#[test]
fn golden_optim_8bit_blockwise_unsigned() {
    let file = golden("blockwise_unsigned");
    blockwise(&file["inputs"], &file["expected"], &file, "unsigned");
}

#[test]
fn golden_optim_8bit_blockwise_edge() {
    let file = golden("blockwise_edge");
    let cases = |part: &str| list(&file[part]["cases"]).to_vec();
    let (inputs, expected) = (cases("inputs"), cases("expected"));
    assert_eq!(inputs.len(), expected.len());
    for (inputs, expected) in inputs.iter().zip(&expected) {
        blockwise(inputs, expected, &file, &inputs["label"].to_string());
    }
}

#[test]
fn golden_optim_8bit_stochastic_rounding() {
    let file = golden("stochastic_rounding");
    let inputs = &file["inputs"];
    let block = inputs["block"].as_u64().unwrap() as usize;
    let writing = writing(block, inputs["signed"].as_bool().unwrap());
    let (x, u) = (singles(&inputs["x"]), numbers(&inputs["u"]));
    let blocks = Blocks::of_uniform(&x, &u, writing).unwrap();
    assert_eq!(blocks.codes(), codes(&file["expected"]["codes"]));
    let want = numbers(&file["expected"]["absmax"]);
    assert_close(&wide(blocks.absmax()), &want, &file, "absmax");
}

#[test]
fn golden_optim_8bit_quantization_error() {
    let file = golden("quantization_error");
    let x = singles(&file["inputs"]["x"]);
    for (name, want) in file["expected"].as_object().unwrap() {
        let (code, size) = name.split_once('_').unwrap();
        let writing = Writing {
            code: match code {
                "linear" => Code::Linear,
                _ => Code::default(),
            },
            ..writing(
                match size.strip_prefix("block") {
                    Some(block) => block.parse().unwrap(),
                    None => x.len(),
                },
                true,
            )
        };
        let found = Deviation::between(&wide(&x), &back(&Blocks::of(&x, writing)));
        let found = [found.mean_abs, found.mean_rel, found.max_abs];
        let want = ["mean_abs", "mean_rel", "max_abs"].map(|key| want[key].as_f64().unwrap());
        assert_close(&found, &want, &file, name);
    }
}

#[test]
fn golden_optim_8bit_state_bytes() {
    let file = golden("state_bytes");
    let inputs = &file["inputs"];
    for case in list(&file["expected"]["cases"]) {
        let kind = Kind::find(case["optimizer"].as_str().unwrap()).unwrap();
        let bytes = |bits: u32, shapes: &[Value]| {
            let shape = |shape: &Value| -> Vec<usize> {
                list(shape)
                    .iter()
                    .map(|n| n.as_u64().unwrap() as usize)
                    .collect()
            };
            let zeros = |s: &Value| Tensor::zeros(&shape(s), DType::F32).unwrap();
            let options = json!({
                "bits": bits, "block": case["block"], "min_8bit_size": inputs["min_8bit_size"],
            });
            let targets = shapes.iter().map(zeros).collect();
            let optimizer = Optimizer::new(kind.make(options).unwrap(), targets).unwrap();
            optimizer.state_bytes() as u64
        };
        let shapes = list(&inputs["shapes"]);
        assert_eq!(
            bytes(8, shapes),
            case["bytes_8bit"].as_u64().unwrap(),
            "{case}"
        );
        assert_eq!(
            bytes(32, shapes),
            case["bytes_32bit"].as_u64().unwrap(),
            "{case}"
        );
        for (shape, want) in shapes.iter().zip(list(&case["per_tensor_8bit"])) {
            let one = std::slice::from_ref(shape);
            assert_eq!(bytes(8, one), want.as_u64().unwrap(), "{case}");
        }
    }
}

/// The factor shows in a plain step of rate 1 from 0.
#[test]
fn golden_optim_8bit_percentile_clip() {
    let mut file = golden("percentile_clip");
    // The file has nine digits of two norms and of their quotient, each off by up to 5e-9: more than its tolerance.
    file["rtol"] = json!(file["rtol"].as_f64().unwrap() + 3.0 * 5e-9);
    let percentiles = list(&file["inputs"]["percentiles"]);
    for (percentile, want) in percentiles.iter().zip(list(&file["expected"]["factors"])) {
        let options = json!({ "lr": 1.0, "percentile": percentile });
        let choice = Kind::find("sgd").unwrap().make(options).unwrap();
        let p = Tensor::zeros(&[1], DType::F64).unwrap();
        let mut optimizer = Optimizer::new(choice, vec![p.clone()]).unwrap();
        let mut before = 0.0;
        let mut factors = Vec::new();
        for norm in numbers(&file["inputs"]["norms"]) {
            let g = Tensor::full(-norm, &[1], DType::F64).unwrap();
            optimizer.step(&[Some(g)], None).unwrap();
            let now = p.item().unwrap();
            factors.push((now - before) / norm);
            before = now;
        }
        assert_close(&factors, &numbers(want), &file, &percentile.to_string());
    }
}

/// A file in our folder that no test reads would look tested.
#[test]
fn every_file_of_optim_8bit_is_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/optim-8bit");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            FILES.iter().any(|(file, _)| *file == stem),
            "{} is read by no test",
            path.display()
        );
    }
}
