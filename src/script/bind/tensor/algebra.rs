//! `linalg`: linear algebra on the last two axes, the methods that make and take matrices apart, and Einstein sums.

use rhai::{Array, Dynamic, ImmutableString};
use rhapsode_tensor::{Result as TensorResult, Tensor};

use super::{promoted, real};
use crate::{
    bind::{Outcome, raise},
    fault::{Fault, Spot},
    library::Library,
    value::type_word,
};

type One = fn(&Tensor) -> TensorResult<Tensor>;
type Two = fn(&Tensor, &Tensor) -> TensorResult<Tensor>;
type Several = fn(&Tensor) -> TensorResult<Vec<Tensor>>;

const FUNCTIONS: [(&str, One, &str); 5] = [
    (
        "linalg::inv",
        Tensor::inv,
        r#"
        The inverse of `[.., n, n]`. A singular matrix is an error.

        ```rhai
        linalg::inv(tensor([[2.0, 0.0], [0.0, 4.0]])).to_array() // => [[0.5, 0.0], [0.0, 0.25]]
        ```
        "#,
    ),
    (
        "linalg::det",
        Tensor::det,
        r#"
        The determinant of `[.., n, n]`, `[..]`. Its gradient `det A^-T` is an error where the matrix is singular.

        ```rhai
        linalg::det(tensor([[1.0, 2.0], [3.0, 4.0]])).item() // => -2.0
        ```
        "#,
    ),
    (
        "linalg::cholesky",
        Tensor::cholesky,
        r#"
        The lower triangular `L` with `A = L L^T` of symmetric positive definite `[.., n, n]`; others are an error.

        ```rhai
        linalg::cholesky(tensor([[4.0, 2.0], [2.0, 5.0]])).to_array() // => [[2.0, 0.0], [1.0, 2.0]]
        ```
        "#,
    ),
    (
        "linalg::pinv",
        Tensor::pinv,
        r#"
        The Moore-Penrose inverse of `[.., m, n]`, `[.., n, m]`; singular values below `max(m, n) eps` times the largest count as zero.

        ```rhai
        linalg::pinv(tensor([[2.0], [2.0]])).to_array() // => [[0.25, 0.25]]
        ```
        "#,
    ),
    (
        "linalg::matrix_exp",
        Tensor::matrix_exp,
        r#"
        `e^A = sum_k A^k / k!` of `[.., n, n]`, by scaling and squaring.

        ```rhai
        linalg::matrix_exp(tensor([[0.0, 1.0], [0.0, 0.0]])).to_array() // => [[1.0, 1.0], [0.0, 1.0]]
        ```
        "#,
    ),
];

const FACTORS: [(&str, Several, &str); 4] = [
    (
        "linalg::qr",
        |x| x.qr().map(|(q, r)| vec![q, r]),
        r#"
        `[Q, R]` with `A = Q R` of `[.., m, n]`, reduced: `Q [.., m, k]` with orthonormal columns, `R [.., k, n]` upper triangular with a diagonal
        that is not negative, `k = min(m, n)`. The gradient needs full rank.

        ```rhai
        linalg::qr(randn([5, 3])).map(|f| f.shape) // => [[5, 3], [3, 3]]
        ```
        "#,
    ),
    (
        "linalg::svd",
        |x| x.svd().map(|(u, s, vt)| vec![u, s, vt]),
        r#"
        `[U, s, Vt]` with `A = U diag(s) Vt` of `[.., m, n]`, reduced: `U [.., m, k]`, `s [.., k]` falling, `Vt [.., k, n]`, `k = min(m, n)`. The
        gradient of the vectors is an error where singular values are equal.

        ```rhai
        linalg::svd(tensor([[3.0, 0.0], [0.0, 4.0]]))[1].to_array() // => [4.0, 3.0]
        ```
        "#,
    ),
    (
        "linalg::eigh",
        |x| x.eigh().map(|(w, v)| vec![w, v]),
        r#"
        `[w, V]` with `A = V diag(w) V^T` of symmetric `[.., n, n]`: eigenvalues `w [.., n]`, rising, and eigenvectors as the columns of `V`. The gradient of the
        vectors is an error where eigenvalues are equal.

        ```rhai
        linalg::eigh(tensor([[2.0, 0.0], [0.0, 1.0]]))[0].to_array() // => [1.0, 2.0]
        ```
        "#,
    ),
    (
        "linalg::slogdet",
        |x| x.slogdet().map(|(sign, log)| vec![sign, log]),
        r#"
        `[sign, log]`: sign (-1, 0, 1) and logarithm of the absolute value of the determinant of `[.., n, n]`, without overflow.

        ```rhai
        linalg::slogdet(tensor([[0.0, 1.0], [1.0, 0.0]]))[0].item() // => -1.0
        ```
        "#,
    ),
];

const SYSTEMS: [(&str, Two, &str); 2] = [
    (
        "linalg::solve",
        Tensor::solve,
        r#"
        The `x` with `a x = b` for `a [.., n, n]` and `b [.., n, k]` or a vector `[n]`; leading axes broadcast. A singular `a` is an error.

        ```rhai
        linalg::solve(tensor([[2.0, 0.0], [0.0, 4.0]]), tensor([1.0, 2.0])).to_array() // => [0.5, 0.5]
        ```
        "#,
    ),
    (
        "linalg::lstsq",
        Tensor::lstsq,
        r#"
        The `x` of smallest `|a x - b|` for `a [.., m, n]` of full rank and `b [.., m, k]` or a vector `[m]`; for `m < n` the smallest `x` of them.

        ```rhai
        linalg::lstsq(tensor([[1.0], [1.0]]), tensor([1.0, 3.0])).to_array() // => [2.0]
        ```
        "#,
    ),
];

const METHODS: [(&str, One, &str); 6] = [
    (
        "inv",
        Tensor::inv,
        "`linalg::inv`: the inverse of `[.., n, n]`.\n\n```rhai\ntensor([[2.0]]).inv().item() // => 0.5\n```",
    ),
    (
        "det",
        Tensor::det,
        "`linalg::det`: the determinant of `[.., n, n]`.\n\n```rhai\neye(3).det().item() // => 1.0\n```",
    ),
    (
        "trace",
        Tensor::trace,
        "The sum of the diagonal, `[.., n, n] -> [..]`.\n\n```rhai\neye(3).trace().item() // => 3.0\n```",
    ),
    (
        "diag",
        Tensor::diag,
        "A vector as a diagonal matrix; the diagonal of a matrix.\n\n```rhai\ntensor([1, 2]).diag().to_array() // => [[1, 0], [0, 2]]\n```",
    ),
    (
        "diagonal",
        Tensor::diagonal,
        "The diagonal of the last two axes, `[.., m, n] -> [.., min(m, n)]`.\n\n```rhai\neye(2).diagonal().to_array() // => [1.0, 1.0]\n```",
    ),
    (
        "diag_embed",
        Tensor::diag_embed,
        "The last axis as diagonals of matrices, `[.., n] -> [.., n, n]`.\n\n```rhai\nones([5, 2]).diag_embed().shape // => [5, 2, 2]\n```",
    ),
];

const PRODUCTS: [(&str, Two, &str); 2] = [
    (
        "outer",
        Tensor::outer,
        "`y[i, j] = a[i] b[j]` of two vectors.\n\n```rhai\ntensor([1, 2]).outer(tensor([3, 4])).to_array() // => [[3, 4], [6, 8]]\n```",
    ),
    (
        "kron",
        Tensor::kron,
        "The Kronecker product of `[.., m, n]` and `[.., p, q]`, `[.., m p, n q]`.\n\n```rhai\neye(2).kron(ones([1, 2])).to_array() // => [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]\n```",
    ),
];

type Triangle = fn(&Tensor, i64) -> TensorResult<Tensor>;

const TRIANGLES: [(&str, Triangle, &str); 2] = [
    (
        "tril",
        Tensor::tril,
        "The lower triangle of the last two axes, zero above diagonal `k` (0: the main one, 1: the one above it).\n\n```rhai\nones([2, 2]).tril().to_array() // => [[1.0, 0.0], [1.0, 1.0]]\n```",
    ),
    (
        "triu",
        Tensor::triu,
        "The upper triangle of the last two axes, zero below diagonal `k` (0: the main one, 1: the one above it).\n\n```rhai\nones([2, 2]).triu(1).to_array() // => [[0.0, 1.0], [0.0, 0.0]]\n```",
    ),
];

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    library.module("linalg", "Linear algebra on the last two axes; leading axes are batches. Factorisations are computed in f64, results have the dtype of the input.");
    for (name, function, text) in FUNCTIONS {
        library
            .function(name, "(x: Tensor) -> Tensor", text)
            .call(move |x: Tensor| raise(real(&x).and_then(|x| function(&x))));
    }
    for (name, function, text) in FACTORS {
        library
            .function(name, "(x: Tensor) -> array of Tensor", text)
            .call(move |x: Tensor| -> Outcome<Array> {
                let parts = raise(real(&x).and_then(|x| function(&x)))?;
                Ok(parts.into_iter().map(Dynamic::from).collect())
            });
    }
    for (name, function, text) in SYSTEMS {
        library
            .function(name, "(a: Tensor, b: Tensor) -> Tensor", text)
            .call(move |a: Tensor, b: Tensor| {
                raise(promoted(&a, &b).and_then(|(a, b)| function(&real(&a)?, &real(&b)?)))
            });
    }
    methods(library);
    einsum(library);
}

fn methods(library: &mut Library) {
    for (name, function, text) in METHODS {
        // What only moves values takes whole numbers as they are.
        let exact = !matches!(name, "inv" | "det");
        library
            .method::<Tensor>(name, "() -> Tensor", text)
            .call(move |x: Tensor| {
                raise(if exact {
                    function(&x)
                } else {
                    real(&x).and_then(|x| function(&x))
                })
            });
    }
    for (name, function, text) in PRODUCTS {
        library
            .method::<Tensor>(name, "(other: Tensor) -> Tensor", text)
            .call(move |a: Tensor, b: Tensor| {
                raise(promoted(&a, &b).and_then(|(a, b)| function(&a, &b)))
            });
    }
    for (name, function, text) in TRIANGLES {
        library
            .method::<Tensor>(name, "(k?: int) -> Tensor", text)
            .call(move |x: Tensor| raise(function(&x, 0)))
            .call(move |x: Tensor, k: i64| raise(function(&x, k)));
    }
    library
        .method::<Tensor>("cross", "(other: Tensor, axis?: int) -> Tensor", "The cross product along an axis of size 3; without one the last.\n\n```rhai\ntensor([1, 0, 0]).cross(tensor([0, 1, 0])).to_array() // => [0, 0, 1]\n```")
        .call(|a: Tensor, b: Tensor| raise(promoted(&a, &b).and_then(|(a, b)| a.cross(&b, -1))))
        .call(|a: Tensor, b: Tensor, axis: i64| raise(promoted(&a, &b).and_then(|(a, b)| a.cross(&b, axis))));
}

fn einsum(library: &mut Library) {
    library
        .function(
            "einsum",
            "(equation: string, operands...: Tensor | array of Tensor) -> Tensor",
            r#"
            The Einstein sum: a letter names an axis, axes of one name run together, and a name that is not in the result is summed over. Without
            `->` the result has the letters that occur once, in alphabetical order. A letter twice in one operand takes its diagonal; `...` stands for
            any further axes. More than four operands go into an array.

            ```rhai
            let a = randn([2, 3, 4]);
            let b = randn([2, 4, 5]);
            einsum("bij,bjk->bik", a, b).shape // => [2, 3, 5]
            ```
            "#,
        )
        .call(|equation: ImmutableString, operands: Array| sum(&equation, operands))
        .call(|equation: ImmutableString, a: Tensor| sum(&equation, vec![Dynamic::from(a)]))
        .call(|equation: ImmutableString, a: Tensor, b: Tensor| sum(&equation, vec![Dynamic::from(a), Dynamic::from(b)]))
        .call(|equation: ImmutableString, a: Tensor, b: Tensor, c: Tensor| {
            sum(&equation, [a, b, c].map(Dynamic::from).to_vec())
        })
        .call(|equation: ImmutableString, a: Tensor, b: Tensor, c: Tensor, d: Tensor| {
            sum(&equation, [a, b, c, d].map(Dynamic::from).to_vec())
        });
}

fn sum(equation: &str, operands: Array) -> Outcome<Tensor> {
    let tensor = |value: Dynamic| {
        let got = value.type_name();
        value.flatten().try_cast::<Tensor>().ok_or_else(|| {
            Fault::expected(
                "array of tensors",
                &format!("an item of type {}", type_word(got)),
            )
            .at(Spot::Argument(1))
        })
    };
    let operands = operands
        .into_iter()
        .map(tensor)
        .collect::<Result<Vec<_>, _>>()?;
    let Some(first) = operands.first().cloned() else {
        return Err(Fault::value("einsum: needs at least one operand")
            .at(Spot::Argument(1))
            .into());
    };
    let wide = operands
        .iter()
        .skip(1)
        .try_fold(first, |wide, x| promoted(&wide, x).map(|(wide, _)| wide));
    let operands = wide.and_then(|wide| {
        operands
            .iter()
            .map(|x| real(&promoted(x, &wide)?.0))
            .collect::<TensorResult<Vec<_>>>()
    });
    raise(operands.and_then(|x| Tensor::einsum(equation, &x.iter().collect::<Vec<_>>())))
}
