//! Convolutions against their definition, summed term by term in f64, on sizes that need several blocks and threads.

use rhapsode_tensor::{
    DType, Error, Tensor, grad,
    ops::conv::{Conv, ConvTranspose},
    random::Stream,
};

fn draw(shape: &[usize], index: u64) -> Tensor {
    Stream::new(11, "conv")
        .at(index)
        .randn(shape, DType::F64)
        .unwrap()
}

/// `y[n, o, i, j] = b[o] + sum w[o, c, k, l] x[n, c, s i + d k - p, ..]`, and calls `f(y, x, w)` for each product's places.
fn walk(
    x: &[usize],
    w: &[usize],
    conv: &Conv<2>,
    out: [usize; 2],
    mut f: impl FnMut(usize, usize, usize),
) {
    let per_group = w[0] / conv.groups;
    for n in 0..x[0] {
        for o in 0..w[0] {
            for (i, j) in (0..out[0]).flat_map(|i| (0..out[1]).map(move |j| (i, j))) {
                for c in 0..w[1] {
                    for (k, l) in (0..w[2]).flat_map(|k| (0..w[3]).map(move |l| (k, l))) {
                        let row = i * conv.stride[0] + k * conv.dilation[0];
                        let column = j * conv.stride[1] + l * conv.dilation[1];
                        let (Some(row), Some(column)) = (
                            row.checked_sub(conv.padding[0]),
                            column.checked_sub(conv.padding[1]),
                        ) else {
                            continue;
                        };
                        if row < x[2] && column < x[3] {
                            let channel = o / per_group * w[1] + c;
                            f(
                                ((n * w[0] + o) * out[0] + i) * out[1] + j,
                                ((n * x[1] + channel) * x[2] + row) * x[3] + column,
                                ((o * w[1] + c) * w[2] + k) * w[3] + l,
                            );
                        }
                    }
                }
            }
        }
    }
}

fn close(got: &Tensor, want: &[f64], what: &str) {
    let got = got.to_vec().unwrap();
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() < 1e-9 * (1.0 + w.abs()),
            "{what}[{i}]: {g} for {w}"
        );
    }
}

/// Value and all three gradients of `conv2d`, and the transposed convolution, which is the gradient by `x`.
fn check(x_shape: [usize; 4], w_shape: [usize; 4], conv: Conv<2>) {
    let what = format!("{x_shape:?} {w_shape:?} {conv:?}");
    let (x, w) = (
        draw(&x_shape, 0).param().unwrap(),
        draw(&w_shape, 1).param().unwrap(),
    );
    let b = draw(&[w_shape[0]], 2).param().unwrap();
    let y = x.conv2d(&w, Some(&b), &conv).unwrap();
    let out = [y.dims()[2], y.dims()[3]];
    let (xv, wv, bv) = (
        x.to_vec().unwrap(),
        w.to_vec().unwrap(),
        b.to_vec().unwrap(),
    );
    let plane = out[0] * out[1];
    let mut want: Vec<f64> = (0..y.len()).map(|i| bv[i / plane % w_shape[0]]).collect();
    walk(&x_shape, &w_shape, &conv, out, |y, x, w| {
        want[y] += xv[x] * wv[w]
    });
    close(&y, &want, &format!("{what} y"));

    let g = draw(y.dims(), 3);
    let gv = g.to_vec().unwrap();
    let loss = y.mul(&g).unwrap().sum_all().unwrap();
    let found = grad(&loss, &[&x, &w, &b], false).unwrap();
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; b.len()]);
    walk(&x_shape, &w_shape, &conv, out, |y, x, w| {
        dx[x] += gv[y] * wv[w];
        dw[w] += gv[y] * xv[x];
    });
    gv.iter()
        .enumerate()
        .for_each(|(i, g)| db[i / plane % w_shape[0]] += g);
    close(&found[0], &dx, &format!("{what} dx"));
    close(&found[1], &dw, &format!("{what} dw"));
    close(&found[2], &db, &format!("{what} db"));

    // The transposed convolution of g gives dx, where the size is told by output_padding.
    let reach =
        |a: usize| (out[a] - 1) * conv.stride[a] + conv.dilation[a] * (w_shape[2 + a] - 1) + 1;
    let extra = [0, 1].map(|a| (x_shape[2 + a] + 2 * conv.padding[a]) - reach(a));
    let options = ConvTranspose {
        conv,
        output_padding: extra,
    };
    let back = g.conv_transpose2d(&w.detach(), None, &options).unwrap();
    assert_eq!(back.dims(), x_shape, "{what}");
    close(&back, &dx, &format!("{what} transposed"));
}

#[test]
fn convolutions_are_their_definition() {
    let plain = Conv::<2>::default();
    check([2, 3, 9, 8], [5, 3, 3, 3], plain);
    // Several blocks of positions, several samples.
    check(
        [3, 8, 37, 41],
        [6, 8, 3, 3],
        Conv {
            padding: [1, 1],
            ..plain
        },
    );
    // One sample: its channels are cut; one channel in: the outputs are.
    check(
        [1, 16, 30, 30],
        [4, 16, 3, 3],
        Conv {
            padding: [1, 1],
            ..plain
        },
    );
    check([4, 1, 28, 28], [20, 1, 5, 5], plain);
    check([2, 6, 11, 10], [4, 6, 1, 1], plain);
    check(
        [2, 6, 11, 10],
        [4, 6, 1, 1],
        Conv {
            stride: [2, 3],
            ..plain
        },
    );
    check(
        [2, 4, 12, 13],
        [8, 2, 3, 4],
        Conv {
            stride: [2, 3],
            padding: [3, 1],
            dilation: [2, 1],
            groups: 2,
        },
    );
    check(
        [2, 4, 12, 70],
        [4, 1, 3, 3],
        Conv {
            groups: 4,
            padding: [2, 2],
            ..plain
        },
    );
    check(
        [2, 3, 12, 13],
        [6, 1, 4, 3],
        Conv {
            groups: 3,
            stride: [1, 2],
            dilation: [1, 3],
            ..plain
        },
    );
    // 3 x 3 at stride 1 of many channels, by Winograd's algorithm: several images in a register, half a register, rows of
    // more than a register and more than a window, odd sides, no padding and much, groups, an output that is not a whole
    // number of tiles.
    for (n, c, o, size, padding) in [
        (9, 16, 16, [4, 4], [1, 1]),
        (3, 16, 20, [8, 8], [1, 1]),
        (5, 17, 33, [7, 14], [1, 1]),
        (2, 16, 16, [12, 9], [0, 0]),
        (2, 18, 16, [10, 31], [1, 0]),
        (1, 16, 16, [9, 32], [1, 2]),
        (1, 16, 17, [6, 71], [2, 1]),
        (1, 16, 16, [3, 33], [4, 3]),
    ] {
        let padded = Conv { padding, ..plain };
        check([n, c, size[0], size[1]], [o, c, 3, 3], padded);
    }
    check(
        [2, 32, 8, 11],
        [36, 16, 3, 3],
        Conv {
            groups: 2,
            padding: [1, 1],
            ..plain
        },
    );
    // Padding larger than the kernel: whole outputs see nothing.
    check(
        [1, 2, 3, 3],
        [2, 2, 2, 2],
        Conv {
            padding: [4, 5],
            ..plain
        },
    );
}

#[test]
fn one_axis_is_two_with_one_row() {
    let (x, w, b) = (draw(&[2, 4, 30], 0), draw(&[6, 2, 5], 1), draw(&[6], 2));
    let conv = Conv {
        stride: [2],
        padding: [3],
        dilation: [2],
        groups: 2,
    };
    let y = x.conv1d(&w, Some(&b), &conv).unwrap();
    assert_eq!(y.dims(), [2, 6, 14]);
    let wide = Conv {
        stride: [1, 2],
        padding: [0, 3],
        dilation: [1, 2],
        groups: 2,
    };
    let z = x
        .unsqueeze(2)
        .unwrap()
        .conv2d(&w.unsqueeze(2).unwrap(), Some(&b), &wide)
        .unwrap();
    assert_eq!(y.to_vec().unwrap(), z.to_vec().unwrap());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let message = |result: Result<Tensor, Error>| result.unwrap_err().to_string();
    let x = draw(&[1, 3, 4, 4], 0);
    let conv = Conv::<2>::default();
    let text = |shape: &[usize], conv: &Conv<2>| message(x.conv2d(&draw(shape, 1), None, conv));
    assert_eq!(
        text(&[2, 4, 3, 3], &conv),
        "conv2d: x [1, 3, 4, 4] has 3 channels, weight [2, 4, 3, 3] with 1 groups takes 4"
    );
    assert_eq!(
        text(&[2, 3, 5, 3], &conv),
        "conv2d: the kernel spans 5 places, axis 2 of x [1, 3, 4, 4] with padding 0 has 4"
    );
    assert_eq!(
        text(&[2, 3, 3], &conv),
        "conv2d: expected x [n, c, h, w] and weight [out, c / groups, kh, kw], got [1, 3, 4, 4] and [2, 3, 3]"
    );
    let w = [2, 3, 3, 3];
    assert_eq!(
        text(
            &w,
            &Conv {
                stride: [0, 1],
                ..conv
            }
        ),
        "conv2d: stride must be at least 1, got 0"
    );
    for huge in [usize::MAX, usize::MAX / 2, 1 << 40] {
        assert!(
            x.conv2d(
                &draw(&w, 1),
                None,
                &Conv {
                    padding: [huge, huge],
                    ..conv
                }
            )
            .is_err()
        );
        assert!(
            x.conv2d(
                &draw(&w, 1),
                None,
                &Conv {
                    dilation: [huge, 1],
                    ..conv
                }
            )
            .is_err()
        );
        let up = ConvTranspose {
            conv: Conv {
                stride: [huge, huge],
                ..conv
            },
            ..Default::default()
        };
        assert!(
            x.conv_transpose2d(&draw(&[3, 2, 3, 3], 1), None, &up)
                .is_err()
        );
    }
    let up = ConvTranspose {
        output_padding: [1, 0],
        ..Default::default()
    };
    assert_eq!(
        message(x.conv_transpose2d(&draw(&[3, 2, 3, 3], 1), None, &up)),
        "conv_transpose2d: output_padding 1 must be less than stride 1 or dilation 1"
    );
    assert_eq!(
        message(x.conv2d(&draw(&w, 1), Some(&draw(&[3], 2)), &conv)),
        "conv2d: expected bias [2], got [3]"
    );
}

/// Value and gradients in a dtype, of numbers drawn in f64.
fn all_of(dtype: DType, x: [usize; 4], w: [usize; 4], conv: &Conv<2>) -> Vec<Tensor> {
    let param = |shape: &[usize], index| {
        let drawn = draw(shape, index).to_dtype(DType::F32).unwrap();
        drawn.to_dtype(dtype).unwrap().param().unwrap()
    };
    let (x, w) = (param(&x, 0), param(&w, 1));
    let y = x.conv2d(&w, None, conv).unwrap();
    let loss = y.mul(&y).unwrap().sum_all().unwrap();
    let mut found = grad(&loss, &[&x, &w], false).unwrap();
    found.push(y.detach());
    found
}

#[test]
fn in_f32_they_are_those_in_f64() {
    let sizes = [
        ([3, 16, 28, 28], [24, 16, 3, 3], [1, 1], [1, 1]),
        ([2, 5, 7, 67], [9, 5, 3, 5], [0, 2], [2, 3]),
        ([9, 20, 8, 8], [32, 20, 3, 3], [1, 1], [1, 1]),
        ([9, 16, 4, 4], [16, 16, 3, 3], [1, 1], [1, 1]),
        ([5, 17, 7, 14], [33, 17, 3, 3], [1, 1], [1, 1]),
        ([2, 16, 9, 40], [16, 16, 3, 3], [2, 0], [1, 1]),
        // Rows shorter than a register, and a kernel as wide as the image.
        ([2, 7, 40, 3], [5, 7, 4, 3], [3, 2], [1, 1]),
        ([1, 3, 50, 1], [4, 3, 9, 1], [4, 0], [1, 1]),
    ];
    for (x, w, padding, dilation) in sizes {
        let conv = Conv {
            padding,
            dilation,
            ..Conv::default()
        };
        let (narrow, wide) = (
            all_of(DType::F32, x, w, &conv),
            all_of(DType::F64, x, w, &conv),
        );
        for (narrow, wide) in narrow.iter().zip(wide) {
            let (narrow, wide) = (narrow.to_vec().unwrap(), wide.to_vec().unwrap());
            let scale = wide.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            for (at, (got, want)) in narrow.iter().zip(&wide).enumerate() {
                let error = (got - want).abs();
                assert!(
                    error <= 1e-5 * scale,
                    "{x:?} {w:?} [{at}]: {got} for {want}"
                );
            }
        }
    }
}
