//! Golden numbers of the operations of sequence models: kernels and steps of diagonal state space models (`s4d`), the selective
//! scan (`mamba-dynamics`). A test is named `golden_<slug>_<file>`; everything is computed in f64. The files hold sums in which large
//! terms cancel, so their `rtol` is taken of the largest entry.

#[allow(dead_code)]
#[path = "flows/read.rs"]
mod read;

use read::{Golden, every_file_is_read, golden, int, number, numbers, tensor};
use rhapsode_tensor::{
    DType, Tensor, grad,
    ops::{
        long_conv::long_conv,
        s4d::{self, Discretization},
        selective_scan::{Extras, selective_scan_with_state},
    },
};
use serde_json::Value;

/// `{re, im}` as complex numbers.
fn complex(v: &Value) -> Tensor {
    Tensor::complex(&tensor(&v["re"]), &tensor(&v["im"])).unwrap()
}

#[track_caller]
fn close(file: &Golden, got: &Tensor, want: &Value, what: &str) {
    let (got, want) = (got.to_vec().unwrap(), numbers(want));
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0f64, |m, w| m.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        let bound = number(&file.whole["rtol"]) * largest;
        assert!((g - w).abs() <= bound, "{what}[{i}]: {g}, expected {w}");
    }
}

fn named(name: &str) -> Discretization {
    let mut all = Discretization::ALL.iter();
    all.find(|(known, _)| *known == name).unwrap().1
}

/// A layer from its raw parameters: kernel, output, last state, all gradients.
fn layer(file: &str) {
    let file = golden("s4d", file);
    let names = ["log_A_re", "A_im", "log_dt", "C", "B", "D", "u"];
    let p = names.map(|name| tensor(file.input(name)).param().unwrap());
    let [log_re, im, log_dt, c, b, d, u] = &p;
    let disc = named(file.input("discretization").as_str().unwrap());
    let a = Tensor::complex(&log_re.exp().unwrap().neg().unwrap(), &im.neg().unwrap()).unwrap();
    let (dt, bc) = (log_dt.exp().unwrap(), b.complex_mul(c).unwrap());
    let k = s4d::kernel(&a, &bc, &dt, u.dim(-1).unwrap(), disc).unwrap();
    close(&file, &k, file.expected("K"), "kernel");
    let y = long_conv(u, &k, Some(d)).unwrap();
    close(&file, &y, file.expected("y"), "output");
    let loss = y.mul(&tensor(file.input("w"))).unwrap().sum_all().unwrap();
    let grads = grad(&loss, &p.each_ref(), false).unwrap();
    for (name, g) in names.iter().zip(&grads) {
        close(&file, g, &file.expected("grad")[*name], name);
    }
    let system = s4d::discretize(&a, Some(b), &dt, disc).unwrap();
    let (batch, channels, modes) = (u.dims()[0], u.dims()[1], a.dims()[1]);
    let mut state = Tensor::zeros(&[batch, channels, modes, 2], DType::F64).unwrap();
    for t in 0..u.dims()[2] as i64 {
        state = s4d::step(&system, &state, &u.select(2, t).unwrap(), c)
            .unwrap()
            .1;
    }
    let last = file.expected("final_state");
    close(&file, &state.real().unwrap(), &last["re"], "last state");
    close(&file, &state.imag().unwrap(), &last["im"], "last state");
}

#[test]
fn golden_s4d_layer_zoh() {
    layer("layer_zoh");
}

#[test]
fn golden_s4d_layer_bilinear() {
    layer("layer_bilinear");
}

#[test]
fn golden_s4d_kernels_by_init() {
    let file = golden("s4d", "kernels_by_init");
    let (c, dt) = (complex(file.input("C")), tensor(file.input("dt")));
    for (init, a) in file.input("A").as_object().unwrap() {
        for (name, disc) in Discretization::ALL {
            let k = s4d::kernel(&complex(a), &c, &dt, int(file.input("L")), *disc).unwrap();
            close(
                &file,
                &k,
                &file.expected(init)[*name],
                &format!("{init}, {name}"),
            );
        }
    }
}

#[test]
fn golden_s4d_long_kernel_samples() {
    let file = golden("s4d", "long_kernel_samples");
    let run = |dtype| {
        let cast = |x: Tensor| x.to_dtype(dtype).unwrap();
        let (a, c) = (
            cast(complex(file.input("A"))),
            cast(complex(file.input("C"))),
        );
        let dt = Tensor::scalar(number(file.input("dt")), dtype).unwrap();
        let k = s4d::kernel(&a, &c, &dt, int(file.input("L")), Discretization::Zoh).unwrap();
        let at: Vec<i64> = numbers(file.input("positions"))
            .iter()
            .map(|v| *v as i64)
            .collect();
        let n = at.len();
        k.index_select(0, &Tensor::from_vec(at, &[n]).unwrap())
            .unwrap()
    };
    close(&file, &run(DType::F64), file.expected("K"), "K");
    // As the file notes for f32: 2e-3 of the largest value.
    let (single, want) = (
        run(DType::F32).to_vec().unwrap(),
        numbers(file.expected("K")),
    );
    let largest = want.iter().fold(0f64, |m, w| m.max(w.abs()));
    for (s, w) in single.iter().zip(&want) {
        assert!((s - w).abs() <= 2e-3 * largest, "{s}, expected {w}");
    }
}

#[test]
fn golden_s4d_rate_change() {
    let file = golden("s4d", "rate_change");
    let [a, b, c] = ["A", "B", "C"].map(|name| complex(file.input(name)));
    for (name, rate) in [("rate_0.5", 0.5), ("rate_1", 1.0), ("rate_2", 2.0)] {
        let dt = tensor(file.input("dt")).affine(rate, 0.0).unwrap();
        let bc = b.complex_mul(&c).unwrap();
        let k = s4d::kernel(&a, &bc, &dt, int(file.input("L")), Discretization::Zoh).unwrap();
        close(&file, &k, file.expected(name), name);
    }
}

#[test]
fn golden_s4d_state_and_chunks() {
    let file = golden("s4d", "state_and_chunks");
    let [a, b, c] = ["A", "B", "C"].map(|name| complex(file.input(name)));
    let [dt, d, u] = ["dt", "D", "u"].map(|name| tensor(file.input(name)));
    let first = complex(file.input("x0"));
    let length = u.dim(2).unwrap();
    let system = s4d::discretize(&a, Some(&b), &dt, Discretization::Zoh).unwrap();
    let (mut state, mut outputs, mut states) = (first.clone(), Vec::new(), Vec::new());
    for t in 0..length as i64 {
        let input = u.select(2, t).unwrap();
        let (y, next) = s4d::step(&system, &state, &input, &c).unwrap();
        outputs.push(y.add(&input.mul(&d).unwrap()).unwrap());
        states.push(next.clone());
        state = next;
    }
    let y = Tensor::stack(&outputs.iter().collect::<Vec<_>>(), -1).unwrap();
    close(&file, &y, file.expected("y"), "y");
    let states = Tensor::stack(&states.iter().collect::<Vec<_>>(), 2).unwrap();
    close(
        &file,
        &states.real().unwrap(),
        &file.expected("states")["re"],
        "states",
    );
    close(
        &file,
        &states.imag().unwrap(),
        &file.expected("states")["im"],
        "states",
    );
    // The same as a convolution and what the first state adds to it.
    let z = a
        .mul(&dt.unsqueeze(-1).unwrap().unsqueeze(-1).unwrap())
        .unwrap();
    let q = c
        .complex_mul(&first)
        .unwrap()
        .complex_mul(&system.base)
        .unwrap();
    let z = z.broadcast_to(q.dims()).unwrap();
    let more = s4d::free_response(&z, &q, length, Discretization::Zoh).unwrap();
    close(
        &file,
        &more,
        file.expected("initial_state_contribution"),
        "of the state",
    );
    let bc = b.complex_mul(&c).unwrap();
    let k = s4d::kernel(&a, &bc, &dt, length, Discretization::Zoh).unwrap();
    let y = long_conv(&u, &k, Some(&d)).unwrap().add(&more).unwrap();
    close(&file, &y, file.expected("y"), "y by convolution");
}

#[test]
fn golden_s4d_bidirectional() {
    let file = golden("s4d", "bidirectional");
    let [k0, k1, u] = ["k0", "k1", "u"].map(|name| tensor(file.input(name)));
    let ahead = long_conv(&u, &k0, None).unwrap();
    let back = long_conv(&u.flip(-1).unwrap(), &k1, None)
        .unwrap()
        .flip(-1)
        .unwrap();
    let y = ahead.add(&back).unwrap();
    close(&file, &y, file.expected("symmetric"), "symmetric");
    // The reference code's backward kernel begins one step later.
    let later = back
        .narrow(-1, 1, u.dim(-1).unwrap() - 1)
        .unwrap()
        .pad(-1, 0, 1)
        .unwrap();
    let y = ahead.add(&later).unwrap();
    close(&file, &y, file.expected("reference"), "reference");
}

#[test]
fn every_file_of_s4d_is_read() {
    every_file_is_read(
        "s4d",
        &[
            "layer_zoh",
            "layer_bilinear",
            "kernels_by_init",
            "long_kernel_samples",
            "rate_change",
            "state_and_chunks",
            "bidirectional",
        ],
    );
}

#[test]
fn golden_mamba_dynamics_selective_scan() {
    let file = golden("mamba-dynamics", "selective_scan");
    let names = ["x", "dt", "A", "B", "C", "D", "dt_bias", "z"];
    let p = names.map(|name| tensor(file.input(name)).param().unwrap());
    let [x, dt, a, b, c, d, bias, z] = &p;
    // The file has sequences as [b, d, l].
    let turn = |t: &Tensor| t.permute(&[0, 2, 1]).unwrap();
    let extras = Extras {
        d: Some(d),
        z: Some(&turn(z)),
        initial: None,
        softplus: true,
    };
    let delta = turn(dt).add(bias).unwrap();
    let (y, last) =
        selective_scan_with_state(&turn(x), &delta, a, &turn(b), &turn(c), extras).unwrap();
    close(&file, &turn(&y), file.expected("y"), "y");
    close(&file, &last, file.expected("last_state"), "last state");
    let loss = turn(&y)
        .mul(&tensor(file.input("w")))
        .unwrap()
        .sum_all()
        .unwrap();
    let grads = grad(&loss, &p.each_ref(), false).unwrap();
    for (name, g) in names.iter().zip(&grads) {
        close(&file, g, &file.expected("grad")[*name], name);
    }
}

#[test]
fn every_file_of_mamba_dynamics_is_read() {
    every_file_is_read("mamba-dynamics", &["selective_scan"]);
}
