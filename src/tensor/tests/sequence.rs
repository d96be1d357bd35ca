//! Fused operations of sequence models against their plain compositions, on sizes that need several blocks, slabs and threads and
//! fill none of them.

use rhapsode_tensor::{
    DType, Result, Tensor, grad,
    ops::{
        long_conv::{self, long_conv},
        s4d::{self, Discretization},
        selective_scan::{self, Extras, selective_scan, selective_scan_with_state},
    },
    random::Stream,
};

fn draw(shape: &[usize], index: u64) -> Tensor {
    let stream = Stream::new(23, "sequence").at(index);
    stream.randn(shape, DType::F64).unwrap()
}

/// A fixed weighting that makes a scalar of several outputs.
fn weigh(outputs: &[Tensor]) -> Tensor {
    let mut sum = Tensor::zeros(&[], DType::F64).unwrap();
    for (i, y) in outputs.iter().enumerate() {
        let y = y.to_dtype(DType::F64).unwrap();
        let w = draw(y.dims(), 100 + i as u64);
        sum = sum.add(&y.mul(&w).unwrap().sum_all().unwrap()).unwrap();
    }
    sum
}

/// Values and gradients of `f` at inputs of a dtype.
fn run(
    inputs: &[Tensor],
    dtype: DType,
    f: &dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>,
) -> Vec<Vec<f64>> {
    let cast = |x: &Tensor| x.to_dtype(dtype).unwrap().param().unwrap();
    let inputs: Vec<Tensor> = inputs.iter().map(cast).collect();
    let outputs = f(&inputs).unwrap();
    let grads = grad(&weigh(&outputs), &inputs.iter().collect::<Vec<_>>(), false).unwrap();
    outputs
        .iter()
        .chain(&grads)
        .map(|t| t.to_vec().unwrap())
        .collect()
}

/// Holds every list against the other, relative to its largest entry.
#[track_caller]
fn agree(got: &[Vec<f64>], want: &[Vec<f64>], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert_eq!(got.len(), want.len(), "{what}, {i}");
        let largest = want.iter().fold(1e-3f64, |m, w| m.max(w.abs()));
        for (k, (g, w)) in got.iter().zip(want).enumerate() {
            assert!(
                (g - w).abs() <= tolerance * largest,
                "{what}, {i}[{k}]: {g} for {w}"
            );
        }
    }
}

type Both<'a> = &'a dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>;

#[track_caller]
fn check(inputs: &[Tensor], fused: Both, plain: Both, what: &str) {
    let want = run(inputs, DType::F64, plain);
    agree(&run(inputs, DType::F64, fused), &want, 1e-9, what);
    agree(&run(inputs, DType::F32, fused), &want, 2e-4, what);
}

/// Modes that fall slowly, fast and not at all, and turn by less and more than half a turn a step.
fn modes(channels: usize, count: usize) -> Tensor {
    let place = |i: usize| {
        let m = (i % count) as f64;
        [-0.002 * m * m * m, 0.7 * m]
    };
    let values = (0..channels * count).flat_map(place).collect();
    Tensor::from_vec::<f64>(values, &[channels, count, 2]).unwrap()
}

#[test]
fn s4d_kernels() {
    for (_, disc) in Discretization::ALL {
        for (channels, count, length) in [(3, 9, 1300), (70, 2, 31), (1, 5, 512)] {
            let inputs = [modes(channels, count), draw(&[channels, count, 2], 0)];
            check(
                &inputs,
                &|x| Ok(vec![s4d::response(&x[0], &x[1], length, *disc)?]),
                &|x| Ok(vec![s4d::response_reference(&x[0], &x[1], length, *disc)?]),
                &format!("{disc:?} {channels} {count} {length}"),
            );
        }
    }
}

#[test]
fn s4d_steps_broadcast() {
    let steps = draw(&[4], 1).affine(0.02, 0.1).unwrap();
    let inputs = [modes(1, 6).squeeze(0).unwrap(), draw(&[4, 6, 2], 2), steps];
    let zoh = Discretization::Zoh;
    check(
        &inputs,
        &|x| Ok(vec![s4d::kernel(&x[0], &x[1], &x[2], 600, zoh)?]),
        &|x| Ok(vec![s4d::reference(&x[0], &x[1], &x[2], 600, zoh)?]),
        "one set of modes for all channels",
    );
}

#[test]
fn a_mode_of_zero_is_a_running_sum() {
    let zero = Tensor::zeros(&[1, 1, 2], DType::F64).unwrap();
    let q = Tensor::from_vec(vec![0.5, 3.0], &[1, 1, 2]).unwrap();
    let k = s4d::response(&zero, &q, 3, Discretization::Zoh).unwrap();
    assert_eq!(k.to_vec().unwrap(), [1.0, 1.0, 1.0]);
}

#[test]
fn long_convolutions() {
    for (batch, channels, length, kernel) in [(3, 5, 1000, 1000), (1, 40, 257, 31), (4, 2, 3, 9)] {
        let inputs = [
            draw(&[batch, channels, length], 3),
            draw(&[channels, kernel], 4),
            draw(&[channels], 5),
        ];
        check(
            &inputs,
            &|x| Ok(vec![long_conv(&x[0], &x[1], Some(&x[2]))?]),
            &|x| Ok(vec![long_conv::reference(&x[0], &x[1], Some(&x[2]))?]),
            &format!("{batch} {channels} {length} {kernel}"),
        );
    }
}

#[test]
fn a_long_convolution_without_a_gradient_is_the_same() {
    let (u, k) = (draw(&[2, 3, 50], 6), draw(&[3, 50], 7));
    let tracked = long_conv(&u.param().unwrap(), &k, None).unwrap();
    let plain = long_conv(&u, &k, None).unwrap();
    assert_eq!(tracked.to_vec().unwrap(), plain.to_vec().unwrap());
}

/// `u, delta, A, B, C, D, z` and the first state.
fn scan_inputs(batch: usize, steps: usize, channels: usize, states: usize) -> Vec<Tensor> {
    let sequence = [batch, steps, channels];
    let a = draw(&[channels, states], 12).abs().unwrap().neg().unwrap();
    vec![
        draw(&sequence, 10),
        draw(&sequence, 11),
        a,
        draw(&[batch, steps, states], 13),
        draw(&[batch, steps, states], 14),
        draw(&[channels], 15),
        draw(&sequence, 16),
        draw(&[batch, channels, states], 17),
    ]
}

fn everything(x: &[Tensor]) -> Extras<'_> {
    Extras {
        d: Some(&x[5]),
        z: Some(&x[6]),
        initial: Some(&x[7]),
        softplus: true,
    }
}

#[test]
fn selective_scans() {
    for (batch, steps, channels, states) in [(2, 70, 150, 5), (1, 33, 16, 16), (3, 1, 7, 1)] {
        check(
            &scan_inputs(batch, steps, channels, states),
            &|x| {
                let (y, last) =
                    selective_scan_with_state(&x[0], &x[1], &x[2], &x[3], &x[4], everything(x))?;
                Ok(vec![y, last])
            },
            &|x| {
                let (y, last) =
                    selective_scan::reference(&x[0], &x[1], &x[2], &x[3], &x[4], everything(x))?;
                Ok(vec![y, last])
            },
            &format!("{batch} {steps} {channels} {states}"),
        );
    }
}

#[test]
fn a_scan_goes_on_from_its_last_state() {
    let x = scan_inputs(2, 45, 20, 3);
    let part = |start: usize, steps: usize, state: &Tensor| {
        let cut = |i: usize| x[i].narrow(1, start, steps).unwrap();
        let z = cut(6);
        let extras = Extras {
            d: Some(&x[5]),
            z: Some(&z),
            initial: Some(state),
            softplus: true,
        };
        selective_scan_with_state(&cut(0), &cut(1), &x[2], &cut(3), &cut(4), extras).unwrap()
    };
    let (whole, last) = part(0, 45, &x[7]);
    let (first, state) = part(0, 37, &x[7]);
    let (second, end) = part(37, 8, &state);
    let joined = Tensor::cat(&[&first, &second], 1).unwrap();
    assert_eq!(joined.to_vec().unwrap(), whole.to_vec().unwrap());
    assert_eq!(end.to_vec().unwrap(), last.to_vec().unwrap());
    let alone = selective_scan(&x[0], &x[1], &x[2], &x[3], &x[4], everything(&x)).unwrap();
    assert_eq!(alone.to_vec().unwrap(), whole.to_vec().unwrap());
}
