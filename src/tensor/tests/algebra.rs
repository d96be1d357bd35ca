//! Values of linear algebra, Fourier transforms, Einstein sums, pooling and resizing: against definitions and small numbers that
//! can be worked out by hand (or are PyTorch's), and what is refused.

use rhapsode_tensor::{
    DType, Error, Result, Tensor, grad,
    ops::{
        pooling::Pool,
        resize::{Padding, Upsample},
    },
    random::Stream,
};

fn draw(shape: &[usize], index: u64) -> Tensor {
    Stream::new(13, "algebra")
        .at(index)
        .randn(shape, DType::F64)
        .unwrap()
}

fn of(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_vec(values.to_vec(), shape).unwrap()
}

fn close(got: &Tensor, want: &Tensor) {
    assert_eq!(got.dims(), want.dims());
    for (g, w) in got.to_vec().unwrap().iter().zip(want.to_vec().unwrap()) {
        assert!((g - w).abs() < 1e-9 * (1.0 + w.abs()), "{g} for {w}");
    }
}

fn message(result: Result<Tensor>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn factors_give_the_matrix_back() {
    for (i, shape) in [[2, 5, 3], [3, 3, 5], [1, 40, 40], [2, 1, 4]]
        .iter()
        .enumerate()
    {
        let a = draw(shape, i as u64);
        let k = shape[1].min(shape[2]);
        let (q, r) = a.qr().unwrap();
        close(&q.matmul(&r).unwrap(), &a);
        let eye = Tensor::eye(k, DType::F64).unwrap();
        let eyes = eye.broadcast_to(&[shape[0], k, k]).unwrap();
        close(&q.t().unwrap().matmul(&q).unwrap(), &eyes);
        close(&r.triu(0).unwrap(), &r);
        let (u, s, vt) = a.svd().unwrap();
        close(
            &u.mul(&s.unsqueeze(1).unwrap())
                .unwrap()
                .matmul(&vt)
                .unwrap(),
            &a,
        );
        close(&u.t().unwrap().matmul(&u).unwrap(), &eyes);
        close(&vt.matmul(&vt.t().unwrap()).unwrap(), &eyes);
        let s = s.to_vec().unwrap();
        assert!(s.chunks(k).all(|s| s.is_sorted_by(|a, b| a >= b)), "{s:?}");
        let p = a.pinv().unwrap();
        close(&a.matmul(&p).unwrap().matmul(&a).unwrap(), &a);
        let b = draw(&[shape[0], shape[1], 2], 9);
        close(&a.lstsq(&b).unwrap(), &p.matmul(&b).unwrap());
    }
    let a = draw(&[3, 6, 6], 20);
    let a = a.add(&a.t().unwrap()).unwrap();
    let (w, v) = a.eigh().unwrap();
    close(
        &v.mul(&w.unsqueeze(1).unwrap())
            .unwrap()
            .matmul(&v.t().unwrap())
            .unwrap(),
        &a,
    );
    let positive = a
        .matmul(&a)
        .unwrap()
        .add(&Tensor::eye(6, DType::F64).unwrap())
        .unwrap();
    let l = positive.cholesky().unwrap();
    close(&l.matmul(&l.t().unwrap()).unwrap(), &positive);
    close(&l.tril(0).unwrap(), &l);
}

#[test]
fn determinants_inverses_and_exponentials() {
    let a = of(&[2.0, 1.0, 7.0, 5.0], &[2, 2]);
    close(&a.det().unwrap(), &of(&[3.0], &[]));
    close(
        &a.inv().unwrap(),
        &of(&[5.0 / 3.0, -1.0 / 3.0, -7.0 / 3.0, 2.0 / 3.0], &[2, 2]),
    );
    let (sign, log) = of(&[0.0, 2.0, 3.0, 0.0], &[2, 2]).slogdet().unwrap();
    assert_eq!(sign.item().unwrap(), -1.0);
    close(&log, &of(&[6f64.ln()], &[]));
    let (sign, log) = Tensor::zeros(&[2, 2], DType::F64)
        .unwrap()
        .slogdet()
        .unwrap();
    assert_eq!(
        (sign.item().unwrap(), log.item().unwrap()),
        (0.0, f64::NEG_INFINITY)
    );
    // Tiny determinants of well-conditioned matrices are no obstacle.
    let tiny = of(&[1e-200, 0.0, 0.0, 1e-150], &[2, 2]);
    close(
        &tiny.solve(&of(&[1e-200, 1e-150], &[2])).unwrap(),
        &of(&[1.0, 1.0], &[2]),
    );
    // A rotation by an angle that needs squaring.
    let angle = 20.0f64;
    let turn = of(&[0.0, -angle, angle, 0.0], &[2, 2])
        .matrix_exp()
        .unwrap();
    close(
        &turn,
        &of(
            &[angle.cos(), -angle.sin(), angle.sin(), angle.cos()],
            &[2, 2],
        ),
    );
    // exp of the trace.
    let a = draw(&[4, 4], 3);
    close(
        &a.matrix_exp().unwrap().det().unwrap(),
        &a.trace().unwrap().exp().unwrap(),
    );
}

#[test]
fn what_has_no_factor_is_refused() {
    let singular = of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], &[3, 3]);
    assert_eq!(message(singular.inv()), "inv: the matrix is singular");
    assert_eq!(
        message(singular.solve(&draw(&[3], 0))),
        "solve: the matrix is singular"
    );
    let batch = Tensor::stack(&[&Tensor::eye(3, DType::F64).unwrap(), &singular], 0).unwrap();
    assert_eq!(
        message(batch.inv()),
        "inv: the matrix 1 of the batch is singular"
    );
    assert_eq!(
        message(of(&[1.0, 2.0, 2.0, 1.0], &[2, 2]).cholesky()),
        "cholesky: the matrix is not positive definite"
    );
    assert!(
        message(of(&[1.0, 2.0, 3.0, 9.0], &[2, 2]).cholesky())
            .starts_with("cholesky: expected a symmetric matrix")
    );
    assert_eq!(
        message(draw(&[2, 3], 0).det()),
        "det: expected a square matrix [.., n, n], got shape [2, 3]"
    );
    assert_eq!(
        message(of(&[f64::NAN, 0.0, 0.0, 1.0], &[2, 2]).svd().map(|f| f.1)),
        "svd: the matrix holds NaN or infinity"
    );
    assert!(
        message(
            Tensor::ones(&[3, 2], DType::F64)
                .unwrap()
                .lstsq(&draw(&[3], 0))
        )
        .ends_with("(pinv takes it)")
    );
    // Eigenvalues of the identity are differentiable, its eigenvectors are not.
    let eye = Tensor::eye(3, DType::F64).unwrap().param().unwrap();
    let (w, v) = eye.eigh().unwrap();
    close(
        &grad(&w.sum_all().unwrap(), &[&eye], false).unwrap()[0],
        &Tensor::eye(3, DType::F64).unwrap(),
    );
    assert!(matches!(
        grad(&v.sum_all().unwrap(), &[&eye], false),
        Err(Error::NoGradient { .. })
    ));
    let (_, s, _) = eye.svd().unwrap();
    close(
        &grad(&s.sum_all().unwrap(), &[&eye], false).unwrap()[0],
        &Tensor::eye(3, DType::F64).unwrap(),
    );
}

#[test]
fn transforms_are_their_definition() {
    for n in [1usize, 2, 3, 8, 15, 64, 97] {
        let x = draw(&[2, n, 2], n as u64);
        let values = x.to_vec().unwrap();
        let mut want = vec![0.0; 4 * n];
        for row in 0..2 {
            for k in 0..n {
                for j in 0..n {
                    let angle = -std::f64::consts::TAU * (j * k % n) as f64 / n as f64;
                    let (re, im) = (values[2 * (row * n + j)], values[2 * (row * n + j) + 1]);
                    want[2 * (row * n + k)] += re * angle.cos() - im * angle.sin();
                    want[2 * (row * n + k) + 1] += re * angle.sin() + im * angle.cos();
                }
            }
        }
        let y = x.fft(1, None).unwrap();
        close(&y, &of(&want, &[2, n, 2]));
        close(&y.ifft(-1, None).unwrap(), &x);
        let real = x.real().unwrap();
        let zeros = Tensor::zeros(&[2, n], DType::F64).unwrap();
        let whole = Tensor::complex(&real, &zeros)
            .unwrap()
            .fft(1, None)
            .unwrap();
        let half = real.rfft(-1, None).unwrap();
        close(&half, &whole.narrow(1, 0, n / 2 + 1).unwrap());
        close(&half.irfft(-1, Some(n)).unwrap(), &real);
        // Along the first axis.
        close(
            &real.t().unwrap().rfft(0, None).unwrap(),
            &half.permute(&[1, 0, 2]).unwrap(),
        );
    }
    // Many rows, side by side; cut and padded.
    let x = draw(&[300, 100], 1);
    close(
        &x.rfft(1, Some(128))
            .unwrap()
            .irfft(1, Some(100))
            .unwrap()
            .narrow(0, 0, 1)
            .unwrap(),
        &x.narrow(0, 0, 1)
            .unwrap()
            .rfft(1, Some(128))
            .unwrap()
            .irfft(1, Some(100))
            .unwrap(),
    );
    assert!(message(draw(&[4, 3], 0).fft(0, None)).contains("last axis of size 2"));
    assert!(message(draw(&[0, 3], 0).rfft(0, None)).contains("at least 1, got 0"));
    assert_eq!(
        message(draw(&[4, 2], 0).fft(1, None)),
        "fft: axis 1 is out of range for shape [4]"
    );
}

#[test]
fn einstein_sums() {
    let (a, b) = (draw(&[3, 4], 0), draw(&[4, 5], 1));
    close(
        &Tensor::einsum("ij,jk", &[&a, &b]).unwrap(),
        &a.matmul(&b).unwrap(),
    );
    close(
        &Tensor::einsum("ij,jk->ki", &[&a, &b]).unwrap(),
        &a.matmul(&b).unwrap().t().unwrap(),
    );
    close(
        &Tensor::einsum("ij->", &[&a]).unwrap(),
        &a.sum_all().unwrap(),
    );
    close(&Tensor::einsum("ba", &[&a]).unwrap(), &a.t().unwrap());
    let s = draw(&[2, 3, 3], 2);
    close(
        &Tensor::einsum("bii->b", &[&s]).unwrap(),
        &s.trace().unwrap(),
    );
    close(
        &Tensor::einsum("...ii->...i", &[&s]).unwrap(),
        &s.diagonal().unwrap(),
    );
    close(
        &Tensor::einsum(
            "i,i,i->i",
            &[&s.select(0, 0).unwrap().select(0, 0).unwrap(); 3],
        )
        .unwrap(),
        &s.select(0, 0)
            .unwrap()
            .select(0, 0)
            .unwrap()
            .powf(3.0)
            .unwrap(),
    );
    close(
        &Tensor::einsum(
            "i,j->ij",
            &[&of(&[1.0, 2.0], &[2]), &of(&[3.0, 4.0, 5.0], &[3])],
        )
        .unwrap(),
        &of(&[3.0, 4.0, 5.0, 6.0, 8.0, 10.0], &[2, 3]),
    );
    let refused = |equation: &str| message(Tensor::einsum(equation, &[&a, &b]));
    assert_eq!(
        refused("ij,kj->ik"),
        "einsum: j has size 4, but 5 in operand 1 of shape [4, 5]"
    );
    assert_eq!(
        refused("ij,j->i"),
        "einsum: \"j\" names 1 axes, operand 1 has shape [4, 5]"
    );
    assert_eq!(
        refused("ij,jk->im"),
        "einsum: m of the result \"im\" is in no operand"
    );
    assert_eq!(
        refused("ij,jk->ii"),
        "einsum: i stands twice in the result \"ii\""
    );
    assert_eq!(
        refused("ij->i"),
        "einsum: \"ij->i\" names 1 operands, got 2"
    );
    assert!(refused("i1,jk").starts_with("einsum: '1' is not a letter"));
}

#[test]
fn pooling_and_resizing() {
    let x = Tensor::arange(0.0, 1.0, 16, DType::F64)
        .unwrap()
        .reshape(&[1, 1, 4, 4])
        .unwrap();
    let two = Pool::of([2, 2]);
    close(
        &x.max_pool2d(&two).unwrap(),
        &of(&[5.0, 7.0, 13.0, 15.0], &[1, 1, 2, 2]),
    );
    close(
        &x.avg_pool2d(&two).unwrap(),
        &of(&[2.5, 4.5, 10.5, 12.5], &[1, 1, 2, 2]),
    );
    let padded = Pool {
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
    };
    close(
        &x.max_pool2d(&padded).unwrap(),
        &of(&[5.0, 7.0, 13.0, 15.0], &[1, 1, 2, 2]),
    );
    close(
        &x.neg().unwrap().max_pool2d(&padded).unwrap(),
        &of(&[0.0, -1.0, -4.0, -5.0], &[1, 1, 2, 2]),
    );
    let sums = of(&[10.0, 24.0, 51.0, 90.0], &[1, 1, 2, 2]);
    close(
        &x.avg_pool2d(&padded).unwrap(),
        &sums.affine(1.0 / 9.0, 0.0).unwrap(),
    );
    close(
        &of(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5])
            .adaptive_avg_pool(&[2])
            .unwrap(),
        &of(&[2.0, 4.0], &[2]),
    );
    let nan = of(&[1.0, f64::NAN, 3.0, 2.0], &[4])
        .max_pool1d(&Pool::of([2]))
        .unwrap()
        .to_vec()
        .unwrap();
    assert!(nan[0].is_nan() && nan[1] == 3.0);
    // PyTorch: interpolate([1, 2], scale_factor 2, bilinear) = 1, 1.25, 1.75, 2.
    let line = of(&[1.0, 2.0], &[1, 1, 2]);
    close(
        &line.upsample(&[4], Upsample::Linear).unwrap(),
        &of(&[1.0, 1.25, 1.75, 2.0], &[1, 1, 4]),
    );
    close(
        &line.upsample(&[3], Upsample::Nearest).unwrap(),
        &of(&[1.0, 1.0, 2.0], &[1, 1, 3]),
    );
    let deep = Tensor::arange(0.0, 1.0, 8, DType::F64)
        .unwrap()
        .reshape(&[4, 1, 2])
        .unwrap();
    close(
        &deep.pixel_shuffle(2).unwrap(),
        &of(&[0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0], &[1, 2, 4]),
    );
    let row = of(&[1.0, 2.0, 3.0], &[3]);
    let pad = |mode| row.pad_with(&[(2, 1)], mode).unwrap().to_vec().unwrap();
    assert_eq!(pad(Padding::Constant(9.0)), [9.0, 9.0, 1.0, 2.0, 3.0, 9.0]);
    assert_eq!(pad(Padding::Reflect), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    assert_eq!(pad(Padding::Replicate), [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
    assert_eq!(pad(Padding::Circular), [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
    assert_eq!(
        message(row.pad_with(&[(3, 0)], Padding::Reflect)),
        "pad: 3 before and 0 after axis 0 of shape [3]: at most 2 are there"
    );
    assert_eq!(
        message(row.max_pool1d(&Pool {
            kernel: [2],
            stride: [1],
            padding: [2]
        })),
        "max_pool1d: padding 2 must be at most half the kernel 2"
    );
}
