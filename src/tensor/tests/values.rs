//! Values of what the contract cannot judge: bools, whole numbers, promotion, order, NaN, edge cases.

use rhapsode_tensor::{DType, Error, Tensor, grad};

fn ints(values: &[i64]) -> Tensor {
    Tensor::from_vec(values.to_vec(), &[values.len()]).unwrap()
}

fn floats(values: &[f64]) -> Tensor {
    Tensor::from_vec(values.to_vec(), &[values.len()]).unwrap()
}

fn f32s(values: &[f64]) -> Tensor {
    floats(values).to_dtype(DType::F32).unwrap()
}

#[test]
fn dtypes_meet_as_in_pytorch() {
    for (i, a) in DType::ALL.into_iter().enumerate() {
        assert_eq!(DType::parse(a.as_str()), Some(a));
        for (j, b) in DType::ALL.into_iter().enumerate() {
            let (x, y) = (
                Tensor::ones(&[2], a).unwrap(),
                Tensor::ones(&[2], b).unwrap(),
            );
            let larger = DType::ALL[i.max(j)];
            assert_eq!(x.maximum(&y).unwrap().dtype(), larger);
            assert_eq!(x.add(&y).unwrap().dtype(), larger.counting());
            assert_eq!(x.div(&y).unwrap().dtype(), larger.float());
            assert_eq!(x.gt(&y).unwrap().dtype(), DType::Bool);
        }
    }
}

#[test]
fn moving_bools_about_keeps_them_bools() {
    let mask = ints(&[0, 3, 1, 0]).to_dtype(DType::Bool).unwrap();
    assert_eq!(mask.to_vec().unwrap(), [0.0, 1.0, 1.0, 0.0]);
    let moved = mask.reshape(&[2, 2]).unwrap().t().unwrap();
    assert_eq!(moved.dtype(), DType::Bool);
    assert_eq!(moved.select(0, 1).unwrap().dtype(), DType::Bool);
    assert_eq!(mask.sum_all().unwrap().item().unwrap(), 2.0);
    assert_eq!(mask.sum_all().unwrap().dtype(), DType::I64);
    let joined = Tensor::cat(&[&mask, &mask], 0).unwrap();
    assert_eq!(joined.dtype(), DType::Bool);
}

#[test]
fn a_running_product_with_a_zero_has_its_gradient() {
    let x = floats(&[2.0, 0.0, 3.0]).param().unwrap();
    let y = x.cumprod(0).unwrap();
    assert_eq!(y.to_vec().unwrap(), [2.0, 0.0, 0.0]);
    let g = grad(&y.sum_all().unwrap(), &[&x], false).unwrap();
    assert_eq!(g[0].to_vec().unwrap(), [1.0, 8.0, 0.0]);
}

#[test]
fn division_with_remainder_is_python_s() {
    for (a, b, quotient, rest, c_rest) in [
        (7, 2, 3.0, 1.0, 1.0),
        (-7, 2, -4.0, 1.0, -1.0),
        (7, -2, -4.0, -1.0, 1.0),
        (-7, -2, 3.0, -1.0, -1.0),
    ] {
        for dtype in [DType::I64, DType::F32, DType::F64, DType::BF16] {
            let x = ints(&[a]).to_dtype(dtype).unwrap();
            let y = ints(&[b]).to_dtype(dtype).unwrap();
            let got = [x.floor_divide(&y), x.remainder(&y), x.fmod(&y)]
                .map(|t| t.unwrap().reshape(&[]).unwrap().item().unwrap());
            assert_eq!(got, [quotient, rest, c_rest], "{a} {b} {dtype:?}");
        }
    }
    assert!(matches!(
        ints(&[1]).remainder(&ints(&[0])),
        Err(Error::Value { .. })
    ));
}

#[test]
fn nan_is_last_in_order_and_spreads_through_quantiles() {
    let x = f32s(&[2.0, f64::NAN, 1.0]);
    let (sorted, places) = x.sort(0, false).unwrap();
    assert_eq!(places.to_vec().unwrap(), [2.0, 0.0, 1.0]);
    assert!(sorted.to_vec().unwrap()[2].is_nan());
    assert_eq!(
        x.argsort(0, true).unwrap().to_vec().unwrap(),
        [1.0, 0.0, 2.0]
    );
    assert!(x.median(0).unwrap().item().unwrap().is_nan());
    assert!(x.quantile(0.0, 0).unwrap().item().unwrap().is_nan());
    // Whole numbers beyond 2^53 are told apart.
    let large = ints(&[(1 << 53) + 1, 1 << 53]);
    assert_eq!(
        large.argsort(0, false).unwrap().to_vec().unwrap(),
        [1.0, 0.0]
    );
}

#[test]
fn what_has_no_gradient_refuses_tracked_input() {
    let x = floats(&[1.0, 2.0]).param().unwrap();
    assert!(matches!(x.unique(), Err(Error::NoGradient { .. })));
    assert!(matches!(
        x.histc(2, 0.0, 1.0),
        Err(Error::NoGradient { .. })
    ));
    let loss = x
        .gt(&floats(&[0.0]))
        .unwrap()
        .to_dtype(DType::F64)
        .unwrap()
        .sum_all()
        .unwrap();
    assert!(grad(&loss, &[&x], false).is_err());
}

#[test]
fn statistics_leave_out_what_is_no_number() {
    let found = f32s(&[1.0, f64::NAN, 3.0, f64::INFINITY])
        .statistics()
        .unwrap();
    assert_eq!((found.count, found.nan, found.infinite), (4, 1, 1));
    assert_eq!((found.min, found.mean, found.max), (1.0, 2.0, 3.0));
    assert!((found.std - 2f64.sqrt()).abs() < 1e-12);
}

#[test]
fn a_bf16_parameter_steps_in_f32() {
    let w = Tensor::ones(&[4], DType::BF16).unwrap().param().unwrap();
    rhapsode_tensor::params::update_tensor::<f32>(&w, |x| x.iter_mut().for_each(|v| *v += 0.5))
        .unwrap();
    assert_eq!(w.dtype(), DType::BF16);
    assert_eq!(w.to_vec().unwrap(), [1.5; 4]);
}

#[test]
fn uniform_numbers_stay_below_one_in_every_dtype() {
    let draw = rhapsode_tensor::random::Stream::new(0, "below one");
    for dtype in [DType::BF16, DType::F32, DType::F64] {
        let x = draw.rand(&[10_000], dtype).unwrap();
        assert!(x.max_all().unwrap().item().unwrap() < 1.0, "{dtype:?}");
    }
}

#[test]
fn no_negative_zero_is_printed() {
    assert!(f32s(&[-0.0, 1e-8, 1.0]).to_string().contains(" 0.0000e0"));
    assert!(!f32s(&[-4e-5, 0.01]).to_string().contains('-'));
}
