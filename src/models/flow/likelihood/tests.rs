//! The density of a flow between Gaussians is known; so are its gradients.

use super::*;
use crate::flow::path::Process;
use crate::observe::Silent;
use rhapsode_tensor::{grad, no_grad};

/// The flow that carries N(0, I) to N(mean, diag(scale^2)) on straight lines of independent pairs:
/// `v = m' + (s s'/..) (x - m)` of the Gaussian path `x_t = (1 - t) x0 + t x1`.
struct Gaussian {
    mean: Tensor,
    scale: Tensor,
}

impl VelocityField for Gaussian {
    fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let t = t.unsqueeze(1)?;
        let rest = t.affine(-1.0, 1.0)?;
        let square = self.scale.sqr()?;
        let variance = rest.sqr()?.add(&t.sqr()?.mul(&square)?)?;
        let half_rate = t.mul(&square)?.sub(&rest)?;
        let centred = x.sub(&t.mul(&self.mean)?)?;
        Ok(self.mean.add(&half_rate.div(&variance)?.mul(&centred)?)?)
    }

    fn dim(&self) -> usize {
        self.mean.len()
    }

    fn dtype(&self) -> DType {
        DType::F64
    }

    fn process(&self) -> Process {
        Process::rectified()
    }

    fn rows_at_once(&self) -> usize {
        usize::MAX
    }
}

fn gaussian() -> Gaussian {
    let of = |values: Vec<f64>| Tensor::from_vec(values, &[1, 3]).unwrap();
    Gaussian {
        mean: of(vec![1.0, -0.5, 2.0]),
        scale: of(vec![0.5, 2.0, 1.0]),
    }
}

fn points(n: usize) -> Tensor {
    Stream::new(3, "points").randn(&[n, 3], DType::F64).unwrap()
}

fn exact(flow: &Gaussian, x: &Tensor) -> Vec<f64> {
    let z = x.sub(&flow.mean).unwrap().div(&flow.scale).unwrap();
    let volume: f64 = flow.scale.to_vec().unwrap().iter().map(|s| s.ln()).sum();
    let norms = z.sqr().unwrap().sum(&[1]).unwrap().to_vec().unwrap();
    let constant = 1.5 * std::f64::consts::TAU.ln() + volume;
    norms.iter().map(|r| -0.5 * r - constant).collect()
}

fn options(trace: Trace) -> LogProbOptions {
    LogProbOptions {
        rtol: Some(1e-9),
        atol: Some(1e-9),
        trace,
        ..Default::default()
    }
}

#[test]
fn a_gaussian_has_its_density() {
    let (flow, x) = (gaussian(), points(20));
    // The Jacobian is diagonal here, so that random signs give the trace exactly as well.
    for trace in [Trace::Auto, Trace::Exact, Trace::Hutchinson] {
        let found = log_prob(&flow, &x, &options(trace), 0, &mut Silent).unwrap();
        assert!(!found.is_tracked());
        for (found, exact) in found.to_vec().unwrap().iter().zip(exact(&flow, &x)) {
            assert!((found - exact).abs() < 1e-6, "{trace:?}: {found} {exact}");
        }
    }
}

#[test]
fn its_gradients_are_those_of_the_density() {
    let flow = gaussian();
    let scale = flow.scale.param().unwrap();
    let flow = Gaussian { scale, ..flow };
    let x = points(4).param().unwrap();
    let total = log_prob(&flow, &x, &options(Trace::Exact), 0, &mut Silent)
        .unwrap()
        .sum_all()
        .unwrap();
    let grads = grad(&total, &[&x, &flow.scale], false).unwrap();
    let z = x.sub(&flow.mean).unwrap().div(&flow.scale).unwrap();
    // d/dx = -z / s, d/ds = (z^2 - 1) / s.
    let by_x = z.div(&flow.scale).unwrap().neg().unwrap();
    let by_scale = z.sqr().unwrap().affine(1.0, -1.0).unwrap();
    let by_scale = by_scale.div(&flow.scale).unwrap().sum(&[0]).unwrap();
    for (found, exact) in [(&grads[0], by_x), (&grads[1], by_scale)] {
        let pairs = found.to_vec().unwrap().into_iter();
        for (found, exact) in pairs.zip(exact.to_vec().unwrap()) {
            assert!((found - exact).abs() < 1e-5, "{found} {exact}");
        }
    }
}

#[test]
fn without_recording_it_has_the_same_value_and_no_history() {
    let (flow, x) = (gaussian(), points(4).param().unwrap());
    let find = || log_prob(&flow, &x, &options(Trace::Exact), 0, &mut Silent).unwrap();
    let (with, without) = (find(), no_grad(find));
    assert!(with.is_tracked() && !without.is_tracked());
    for (a, b) in with.to_vec().unwrap().iter().zip(without.to_vec().unwrap()) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}

#[test]
fn a_constant_field_has_no_divergence() {
    struct Shift;
    impl VelocityField for Shift {
        fn velocity(&self, x: &Tensor, _: &Tensor) -> Result<Tensor> {
            Ok(Tensor::ones(x.dims(), x.dtype())?)
        }
        fn dim(&self) -> usize {
            2
        }

        fn dtype(&self) -> DType {
            DType::F64
        }

        fn process(&self) -> Process {
            Process::rectified()
        }

        fn rows_at_once(&self) -> usize {
            usize::MAX
        }
    }
    let x = Tensor::ones(&[1, 2], DType::F64).unwrap();
    let found = log_prob(&Shift, &x, &Default::default(), 0, &mut Silent).unwrap();
    let expected = -std::f64::consts::TAU.ln();
    assert!((found.to_vec().unwrap()[0] - expected).abs() < 1e-9);
}

#[test]
fn wrong_input_is_named() {
    let flow = gaussian();
    let refuse = |x: Tensor, options: LogProbOptions| {
        let found = log_prob(&flow, &x, &options, 0, &mut Silent);
        found.unwrap_err().to_string()
    };
    let wrong = Tensor::zeros(&[4, 2], DType::F64).unwrap();
    assert_eq!(
        refuse(wrong, Default::default()),
        "x: expected [n, 3], got [4, 2]"
    );
    let no_probe = LogProbOptions {
        probes: 0,
        ..Default::default()
    };
    assert!(refuse(points(1), no_probe).starts_with("option `probes`"));
}
