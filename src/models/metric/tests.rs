//! The contract of every distance in the list.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, interrupt, random::Stream};

use super::*;
use crate::{Error, data};

fn stream() -> Stream {
    Stream::new(0, "metric")
}

fn gaussian(purpose: &str, n: usize, d: usize) -> Tensor {
    Stream::new(0, purpose).randn(&[n, d], DType::F64).unwrap()
}

fn close(distance: &Distance, a: f64, b: f64) {
    let most = distance.accuracy * (1.0 + b.abs());
    assert!((a - b).abs() <= most, "{}: {a} {b}", distance.name);
}

#[test]
fn distances_are_symmetric_and_move_and_scale_with_the_data() {
    for (n, d) in [(2, 1), (37, 2), (64, 9)] {
        let (x, y) = (
            gaussian("x", n, d),
            gaussian("y", n, d).affine(1.5, 0.7).unwrap(),
        );
        for distance in DISTANCES {
            let name = distance.name;
            let of = |x: &Tensor, y: &Tensor| (distance.compute)(x, y, stream()).unwrap().value;
            let plain = of(&x, &y);
            assert_eq!(plain, of(&x, &y), "{name}");
            close(distance, of(&y, &x), plain);
            close(distance, of(&x.flip(0).unwrap(), &y), plain);
            let both = |scale, shift| {
                of(
                    &x.affine(scale, shift).unwrap(),
                    &y.affine(scale, shift).unwrap(),
                )
            };
            close(distance, both(1.0, -3.0), plain);
            close(
                distance,
                both(2.5, 0.0),
                2.5f64.powi(distance.degree) * plain,
            );
            // Far apart: no more than a few times the distance of the means, and growing with it.
            let far = |shift| of(&x, &x.affine(1.0, shift).unwrap());
            if distance.degree > 0 {
                assert!(far(20.0) > 1.9 * far(10.0) && far(10.0) > 5.0, "{name}");
            } else {
                // A bounded one does not grow, but is clearly not 0.
                assert!(far(20.0) > 0.3 && far(10.0) > 0.3, "{name}");
            }
            assert!(of(&x, &x) <= 1e-12, "{name}");
        }
    }
}

#[test]
fn f32_and_f64_and_strided_data_agree() {
    let x = gaussian("x", 30, 4).to_dtype(DType::F32).unwrap();
    let y = gaussian("y", 30, 4).to_dtype(DType::F32).unwrap();
    let turned = x.t().unwrap().contiguous().unwrap().t().unwrap();
    for distance in DISTANCES {
        let of = |x: &Tensor, y: &Tensor| (distance.compute)(x, y, stream()).unwrap().value;
        let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
        assert_eq!(of(&x, &y), of(&wide(&x), &wide(&y)), "{}", distance.name);
        assert_eq!(of(&x, &y), of(&turned, &y), "{}", distance.name);
    }
}

#[test]
fn unfit_samples_are_errors_that_name_what_is_wrong() {
    let x = gaussian("x", 5, 3);
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32).unwrap();
    let mut values = vec![0f32; 15];
    values[13] = f32::NAN;
    let bad = Tensor::from_vec(values, &[5, 3]).unwrap();
    for distance in DISTANCES {
        let name = distance.name;
        let message = |x: &Tensor, y: &Tensor| {
            (distance.compute)(x, y, stream())
                .err()
                .unwrap()
                .to_string()
        };
        assert_eq!(
            message(&x, &zeros(&[5, 4])),
            format!("{name}: expected y of shape [n, 3] like x of shape [5, 3], got [5, 4]")
        );
        for shape in [&[0, 3][..], &[5, 0], &[], &[5, 3, 1]] {
            assert_eq!(
                message(&zeros(shape), &x),
                format!(
                    "{name}: expected x of shape [n, d] with at least one point, got {shape:?}"
                )
            );
        }
        assert_eq!(
            message(&x, &bad),
            format!("{name}: expected finite numbers, got NaN in row 4 of y")
        );
    }
}

#[test]
fn an_interrupt_stops_every_distance() {
    let (x, y) = (gaussian("x", 40, 2), gaussian("y", 40, 2));
    for distance in DISTANCES {
        let stopped = interrupt::with_flag(Arc::new(true.into()), || {
            (distance.compute)(&x, &y, stream())
        });
        assert_eq!(stopped, Err(Error::Interrupted), "{}", distance.name);
    }
}

/// Two sets of 4000 points of the checkerboard are as far from each other as the published floors:
/// SW2 .07 to .14, energy distance -.0005 to .004 (three seeds each).
#[test]
fn the_floor_between_two_sets_of_data_is_that_of_the_papers() {
    let draw = |seed| {
        let options = data::ToyOptions::default();
        data::toy::CHECKERBOARD
            .sample(4000, Stream::new(seed, "data"), &options)
            .unwrap()
    };
    let sliced: Vec<f64> = (0..3)
        .map(|seed| {
            let (x, y) = (draw(2 * seed), draw(2 * seed + 1));
            let energy = energy_distance(&x, &y, &EnergyOptions::default())
                .unwrap()
                .value;
            assert!((-0.003..0.008).contains(&energy), "{energy}");
            sliced_wasserstein(&x, &y, &SlicedOptions::default(), stream())
                .unwrap()
                .value
        })
        .collect();
    assert!(
        sliced.iter().all(|v| (0.04..0.18).contains(v)),
        "{sliced:?}"
    );
}
