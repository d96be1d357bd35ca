//! `fft`: Fourier transforms, and complex numbers as a last axis of size 2.

use rhai::Array;
use rhapsode_tensor::{Result as TensorResult, Tensor};

use super::{promoted, real};
use crate::{
    Kind,
    bind::{Outcome, raise},
    fault::{Fault, Spot},
    library::Library,
};

type Transform = fn(&Tensor, i64, Option<usize>) -> TensorResult<Tensor>;

const TRANSFORMS: [(&str, Transform, &str); 4] = [
    (
        "fft::fft",
        Tensor::fft,
        r#"
        `y_k = sum_j x_j e^(-2 pi i j k / n)` of complex numbers `[.., n, .., 2]` along an axis, which is counted without the last one of size 2;
        without one the last. `n` cuts or pads with zeros first.

        ```rhai
        let x = complex(tensor([1.0, 0.0, 0.0, 0.0]), zeros([4]));
        fft::fft(x).real().to_array() // => [1.0, 1.0, 1.0, 1.0]
        ```
        "#,
    ),
    (
        "fft::ifft",
        Tensor::ifft,
        r#"
        `x_j = 1/n sum_k y_k e^(2 pi i j k / n)` of complex numbers `[.., n, .., 2]`: the inverse of `fft::fft`.

        ```rhai
        let x = complex(tensor([1.0, 2.0]), tensor([0.0, 1.0]));
        fft::ifft(fft::fft(x)).to_array() // => [[1.0, 0.0], [2.0, 1.0]]
        ```
        "#,
    ),
    (
        "fft::rfft",
        Tensor::rfft,
        r#"
        The first `n/2 + 1` values of the transform of real numbers `[.., n, ..]` along an axis (without one the last), which determine the others:
        `[.., n/2 + 1, .., 2]`. `n` cuts or pads with zeros first.

        ```rhai
        fft::rfft(ones([4]), 0).to_array() // => [[4.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
        ```
        "#,
    ),
    (
        "fft::irfft",
        Tensor::irfft,
        r#"
        The real numbers `[.., n, ..]` whose `fft::rfft` is `[.., n/2 + 1, .., 2]`. `n`: without it twice the size less 2; give it when it is odd.

        ```rhai
        fft::irfft(fft::rfft(tensor([1.0, 2.0, 3.0, 4.0]))).to_array() // => [1.0, 2.0, 3.0, 4.0]
        ```
        "#,
    ),
];

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    library.module("fft", "Fourier transforms. Complex numbers are a last axis of size 2: (real, imaginary); `complex(re, im)` makes them.");
    for (name, transform, text) in TRANSFORMS {
        library
            .function(name, "(x: Tensor, axis?: int, n?: int) -> Tensor", text)
            .call(move |x: Tensor| raise(real(&x).and_then(|x| transform(&x, -1, None))))
            .call(move |x: Tensor, axis: i64| {
                raise(real(&x).and_then(|x| transform(&x, axis, None)))
            })
            .call(move |x: Tensor, axis: i64, n: i64| -> Outcome<Tensor> {
                let n = usize::try_from(n).ok().filter(|&n| n > 0).ok_or_else(|| {
                    Fault::new(Kind::Value, format!("n must be at least 1, got {n}"))
                        .at(Spot::Argument(2))
                })?;
                raise(real(&x).and_then(|x| transform(&x, axis, Some(n))))
            });
    }
    frequencies(library);
    complex(library);
}

fn frequencies(library: &mut Library) {
    library
        .function(
            "fft::frequencies",
            "(n: int, step?: float) -> array",
            r#"
            The frequencies of `fft::rfft` of `n` places `step` apart, in cycles per unit: `k / (n step)`, `k = 0 .. n/2`.

            ```rhai
            fft::frequencies(4) // => [0.0, 0.25, 0.5]
            ```
            "#,
        )
        .call(|n: i64| spectrum(n, 1.0))
        .call(spectrum);
}

fn spectrum(n: i64, step: f64) -> Outcome<Array> {
    let most = crate::engine::ARRAY_SIZE as i64;
    if !(1..=most).contains(&n) || !step.is_finite() || step == 0.0 {
        let text =
            format!("expected n from 1 to {most} and a step other than 0, got {n} and {step}");
        return Err(Fault::new(Kind::Value, text).into());
    }
    Ok((0..=n / 2)
        .map(|k| (k as f64 / (n as f64 * step)).into())
        .collect())
}

type One = fn(&Tensor) -> TensorResult<Tensor>;
type Two = fn(&Tensor, &Tensor) -> TensorResult<Tensor>;

const ONE: [(&str, One, &str); 5] = [
    (
        "real",
        Tensor::real,
        "The real part of complex numbers, `[.., 2] -> [..]`.\n\n```rhai\ncomplex(tensor([1.0]), tensor([2.0])).real().to_array() // => [1.0]\n```",
    ),
    (
        "imag",
        Tensor::imag,
        "The imaginary part of complex numbers, `[.., 2] -> [..]`.\n\n```rhai\ncomplex(tensor([1.0]), tensor([2.0])).imag().to_array() // => [2.0]\n```",
    ),
    (
        "conj",
        Tensor::conj,
        "`re - i im` of complex numbers `[.., 2]`.\n\n```rhai\ntensor([1.0, 2.0]).conj().to_array() // => [1.0, -2.0]\n```",
    ),
    (
        "complex_abs",
        Tensor::complex_abs,
        "`sqrt(re^2 + im^2)` of complex numbers, `[.., 2] -> [..]`.\n\n```rhai\ntensor([3.0, 4.0]).complex_abs().item() // => 5.0\n```",
    ),
    (
        "complex_exp",
        Tensor::complex_exp,
        "`e^re (cos im + i sin im)` of complex numbers `[.., 2]`.\n\n```rhai\ntensor([0.0, 0.0]).complex_exp().to_array() // => [1.0, 0.0]\n```",
    ),
];

const TWO: [(&str, Two, &str); 2] = [
    (
        "complex_mul",
        Tensor::complex_mul,
        "The product of complex numbers `[.., 2]`: `(ac - bd) + i(ad + bc)`; shapes broadcast.\n\n```rhai\ntensor([0.0, 1.0]).complex_mul(tensor([0.0, 1.0])).to_array() // => [-1.0, 0.0]\n```",
    ),
    (
        "complex_div",
        Tensor::complex_div,
        "The quotient of complex numbers `[.., 2]`: `x conj(y) / |y|^2`; shapes broadcast.\n\n```rhai\ntensor([-1.0, 0.0]).complex_div(tensor([0.0, 1.0])).to_array() // => [0.0, 1.0]\n```",
    ),
];

fn complex(library: &mut Library) {
    library
        .function("complex", "(re: Tensor, im: Tensor) -> Tensor", "Complex numbers `re + i im` as a last axis of size 2: `[..]` and `[..]` to `[.., 2]`; shapes broadcast.\n\n```rhai\ncomplex(tensor([1.0, 2.0]), zeros([2])).shape // => [2, 2]\n```")
        .call(|re: Tensor, im: Tensor| {
            raise(promoted(&re, &im).and_then(|(re, im)| Tensor::complex(&real(&re)?, &real(&im)?)))
        });
    for (name, function, text) in ONE {
        library
            .method::<Tensor>(name, "() -> Tensor", text)
            .call(move |x: Tensor| raise(real(&x).and_then(|x| function(&x))));
    }
    for (name, function, text) in TWO {
        library
            .method::<Tensor>(name, "(other: Tensor) -> Tensor", text)
            .call(move |x: Tensor, y: Tensor| {
                raise(promoted(&x, &y).and_then(|(x, y)| function(&real(&x)?, &real(&y)?)))
            });
    }
}
