//! `nn::mse_loss` and the other losses, by PyTorch's names.

use rhai::Map;
use rhapsode_models::nn::{Reduction, loss};
use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    bind::{Outcome, raise},
    library::Library,
    options,
};

/// Options of most losses.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Plain {
    /// How the losses of the elements become one number (default "mean").
    reduction: Reduction,
}

/// Options of the Huber loss.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Huber {
    /// Where the parabola becomes a line (> 0; default 1).
    delta: f64,
    /// How the losses of the elements become one number (default "mean").
    reduction: Reduction,
}

impl Default for Huber {
    fn default() -> Self {
        Self {
            delta: 1.0,
            reduction: Reduction::default(),
        }
    }
}

/// Options of the cross-entropy.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct CrossEntropy {
    /// Share of the target that is spread evenly over the classes (in [0, 1]; default 0).
    label_smoothing: f64,
    /// How the losses of the samples become one number (default "mean").
    reduction: Reduction,
}

type Loss = fn(&Tensor, &Tensor, Reduction) -> rhapsode_models::Result<Tensor>;

/// The losses that have no option but the reduction.
const PLAIN: &[(&str, Loss, &str)] = &[
    (
        "nn::mse_loss",
        loss::mse_loss,
        r#"
        The mean of (x - y)^2, for a target of the same shape.

        ```rhai
        nn::mse_loss(tensor([1.0, 2.0]), tensor([0.0, 0.0])).item() // => 2.5
        ```
        "#,
    ),
    (
        "nn::l1_loss",
        loss::l1_loss,
        r#"
        The mean of |x - y|, for a target of the same shape.

        ```rhai
        nn::l1_loss(tensor([1.0, -2.0]), tensor([0.0, 0.0])).item() // => 1.5
        ```
        "#,
    ),
    (
        "nn::bce_with_logits",
        loss::bce_with_logits,
        r#"
        Binary cross-entropy of logits: the mean of -(y ln s(x) + (1 - y) ln(1 - s(x))), s the sigmoid, y in [0, 1] of the same shape.

        ```rhai
        (nn::bce_with_logits(tensor([0.0]), tensor([1.0])).item() - ln(2.0)).abs() < 1e-6 // => true
        ```
        "#,
    ),
    (
        "nn::nll_loss",
        loss::nll_loss,
        r#"
        The mean of -x[label], for log-probabilities x `[n, classes, ..]` and class numbers `[n, ..]`.

        ```rhai
        nn::nll_loss(tensor([[-1.0, -2.0]]), tensor([1])).item() // => 2.0
        ```
        "#,
    ),
    (
        "nn::kl_div",
        loss::kl_div,
        r#"
        Kullback-Leibler divergence: the mean of y (ln y - x), for log-probabilities x and probabilities y of the same shape. As in
        PyTorch the mean goes over all elements; the divergence itself is the sum over classes.

        ```rhai
        let p = tensor([0.5, 0.5]);
        nn::kl_div(p.log(), p, #{ reduction: "sum" }).item() // => 0.0
        ```
        "#,
    ),
];

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    for &(path, of, text) in PLAIN {
        library
            .function(
                path,
                "(x: Tensor, y: Tensor, options?: map) -> Tensor",
                text,
            )
            .options::<Plain>()
            .call(move |x: Tensor, y: Tensor| raise(of(&x, &y, Reduction::Mean)))
            .call(move |x: Tensor, y: Tensor, map: Map| -> Outcome<Tensor> {
                let chosen: Plain = options::read(&map)?;
                raise(of(&x, &y, chosen.reduction))
            });
    }
    library
        .function(
            "nn::huber_loss",
            "(x: Tensor, y: Tensor, options?: map) -> Tensor",
            r#"
            The mean of e^2 / 2 where |e| <= delta and delta (|e| - delta / 2) beyond, e = x - y.

            ```rhai
            nn::huber_loss(tensor([3.0]), tensor([0.0]), #{ delta: 2.0 }).item() // => 4.0
            ```
            "#,
        )
        .options::<Huber>()
        .call(|x: Tensor, y: Tensor| raise(loss::huber_loss(&x, &y, 1.0, Reduction::Mean)))
        .call(|x: Tensor, y: Tensor, map: Map| -> Outcome<Tensor> {
            let chosen: Huber = options::read(&map)?;
            raise(loss::huber_loss(&x, &y, chosen.delta, chosen.reduction))
        });
    library
        .function(
            "nn::cross_entropy",
            "(x: Tensor, target: Tensor, options?: map) -> Tensor",
            r#"
            The mean of -ln softmax(x)[label], for logits x `[n, classes, ..]` and class numbers `[n, ..]`, or probabilities of the shape of x.

            ```rhai
            (nn::cross_entropy(tensor([[0.0, 0.0]]), tensor([1])).item() - ln(2.0)).abs() < 1e-6 // => true
            ```
            "#,
        )
        .options::<CrossEntropy>()
        .call(|x: Tensor, y: Tensor| raise(loss::cross_entropy(&x, &y, 0.0, Reduction::Mean)))
        .call(|x: Tensor, y: Tensor, map: Map| -> Outcome<Tensor> {
            let chosen: CrossEntropy = options::read(&map)?;
            raise(loss::cross_entropy(&x, &y, chosen.label_smoothing, chosen.reduction))
        });
}
