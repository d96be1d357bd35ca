//! The whole network in one operation against its layers, and that results do not depend on the number of threads.

use std::io::Write;

use rhapsode_tensor::{
    DType, Tensor, grad, no_grad,
    ops::{
        linear::Activation,
        loss::RowLoss,
        mlp::{self, Layer},
    },
    random::Stream,
};

/// Weights and biases of the sizes, as parameters.
fn parameters(sizes: &[usize], dtype: DType) -> Vec<Tensor> {
    let draw = |i: usize, shape: &[usize]| {
        let values = Stream::new(i as u64, "mlp").randn(shape, DType::F64);
        let values = values.unwrap().affine(0.3, 0.0).unwrap();
        values.to_dtype(dtype).unwrap().param().unwrap()
    };
    let pairs = sizes.windows(2).enumerate();
    pairs
        .flat_map(|(i, s)| [draw(2 * i, &[s[1], s[0]]), draw(2 * i + 1, &[s[1]])])
        .collect()
}

fn layers(parameters: &[Tensor], act: Activation) -> Vec<Layer<'_>> {
    let count = parameters.len() / 2;
    parameters
        .chunks_exact(2)
        .enumerate()
        .map(|(i, pair)| Layer {
            weight: &pair[0],
            bias: &pair[1],
            act: if i + 1 == count {
                Activation::Identity
            } else {
                act
            },
        })
        .collect()
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (a.to_vec().unwrap(), b.to_vec().unwrap());
    let scale = b.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    a.iter()
        .zip(&b)
        .fold(0.0f64, |m, (a, b)| m.max((a - b).abs() / scale))
}

#[test]
fn the_whole_network_equals_its_layers() {
    let networks: [&[usize]; 4] = [
        &[3, 40, 33, 2],
        &[17, 24, 9],
        &[1, 8, 8, 1],
        &[2, 300, 64, 70],
    ];
    for (sizes, rows) in networks
        .iter()
        .flat_map(|n| [1, 7, 130, 700].map(|r| (*n, r)))
    {
        for (_, act) in Activation::ALL {
            let p = parameters(sizes, DType::F64);
            let layers = layers(&p, *act);
            let x = Stream::new(9, "x")
                .randn(&[rows, sizes[0]], DType::F64)
                .unwrap();
            let last = sizes[sizes.len() - 1];
            let y = Stream::new(9, "y")
                .randn(&[rows, last], DType::F64)
                .unwrap();
            let plain = no_grad(|| mlp::reference(&x, &layers)).unwrap();
            let whole = no_grad(|| mlp::forward(&x, &layers)).unwrap();
            assert!(worst(&whole, &plain) < 1e-12, "{sizes:?} {rows} {act:?}");
            let x = x.param().unwrap();
            let wanted: Vec<&Tensor> = [&x].into_iter().chain(&p).collect();
            for loss in [RowLoss::Square, RowLoss::PseudoHuber(0.3)] {
                let what = format!("{sizes:?} {rows} {act:?} {loss:?}");
                let plain = loss.of(&mlp::reference(&x, &layers).unwrap(), &y).unwrap();
                let whole = mlp::loss(&x, &y, &layers, loss).unwrap();
                assert!(worst(&whole, &plain) < 1e-12, "{what}");
                let plain = grad(&plain.affine(0.5, 0.0).unwrap(), &wanted, false).unwrap();
                let whole = grad(&whole.affine(0.5, 0.0).unwrap(), &wanted, false).unwrap();
                for (i, (a, b)) in whole.iter().zip(&plain).enumerate() {
                    assert!(worst(a, b) < 1e-11, "{what}: gradient {i}");
                }
            }
        }
    }
}

#[test]
fn what_does_not_qualify_goes_layer_by_layer() {
    assert!(mlp::qualifies(&[3, 256, 2], DType::F32));
    assert!(!mlp::qualifies(&[3, 256, 2], DType::BF16));
    assert!(!mlp::qualifies(&[3, 2], DType::F32));
    assert!(!mlp::qualifies(&[3, 4096, 2], DType::F32));
    // A target with a history of its own.
    let p = parameters(&[3, 5, 2], DType::F64);
    let x = Tensor::ones(&[4, 3], DType::F64).unwrap();
    let y = Tensor::ones(&[4, 2], DType::F64).unwrap().param().unwrap();
    let loss = mlp::loss(&x, &y, &layers(&p, Activation::Tanh), RowLoss::Square).unwrap();
    let g = grad(&loss, &[&y, &p[0]], false).unwrap();
    assert!(
        g.iter()
            .all(|g| g.to_vec().unwrap().iter().any(|v| *v != 0.0))
    );
    // A target of another shape is the error of the plain path.
    let y = Tensor::ones(&[4, 3], DType::F64).unwrap();
    assert!(mlp::loss(&x, &y, &layers(&p, Activation::Tanh), RowLoss::Square).is_err());
}

/// Prints the bits of many results; see the test below.
#[test]
#[ignore = "run by the test of threads, with their number set"]
fn print_bits() {
    let bits = |name: &str, t: &Tensor| {
        let hash = t.to_vec().unwrap().iter().fold(0u64, |h, v| {
            (h ^ v.to_bits())
                .wrapping_mul(0x0100_0000_01b3)
                .rotate_left(17)
        });
        writeln!(std::io::stdout(), "bits of {name}: {hash:016x}").unwrap();
    };
    let draw = |name: &str, shape: &[usize]| Stream::new(3, name).randn(shape, DType::F32).unwrap();
    let p = parameters(&[3, 128, 128, 2], DType::F32);
    let layers = layers(&p, Activation::Silu);
    let (x, y) = (draw("x", &[1000, 3]), draw("y", &[1000, 2]));
    bits("mlp", &no_grad(|| mlp::forward(&x, &layers)).unwrap());
    let loss = mlp::loss(&x, &y, &layers, RowLoss::Square).unwrap();
    for g in grad(&loss, &p.iter().collect::<Vec<_>>(), false).unwrap() {
        bits("mlp gradient", &g);
    }
    let x = draw("x", &[300, 517]).param().unwrap();
    let w = draw("w", &[517]).param().unwrap();
    let normed = x.layer_norm(&w, &w, 1e-5).unwrap();
    let loss = normed.softmax(1).unwrap().sqr().unwrap().sum_all().unwrap();
    bits("layer norm", &normed);
    for g in grad(&loss, &[&x, &w], false).unwrap() {
        bits("layer norm and softmax gradient", &g);
    }
    for axes in [&[0][..], &[1], &[0, 1]] {
        bits("sum", &x.sum(axes).unwrap());
    }
    // Many blocks of rows for few threads, few for many.
    bits("sum of rows", &draw("tall", &[5000, 40]).sum(&[0]).unwrap());
    bits("max", &x.detach().max(0).unwrap());
    bits("transpose", &x.t().unwrap().contiguous().unwrap());
    bits("matmul", &x.matmul(&x.t().unwrap()).unwrap());
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: &str| {
        let me = std::env::current_exe().unwrap();
        let out = std::process::Command::new(me)
            .args(["print_bits", "--exact", "--ignored", "--nocapture"])
            .env("RHAPSODE_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("bits of "));
        lines.map(String::from).collect::<Vec<_>>()
    };
    let one = run("1");
    assert!(one.len() > 15, "{one:?}");
    for threads in ["2", "3", "7"] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}
