//! `metric`: how results are judged. Random directions come from the session's seed alone, so that
//! distances can be compared with each other and calling one changes no later draw.

use std::sync::OnceLock;

use rhai::{Map, NativeCallContext};
use rhapsode_models::metric::{
    CorrelationOptions, EceOptions, EnergyOptions, LogLossOptions, Measure, MmdOptions, Score,
    ScoreOptions, SinkhornOptions, SlicedOptions, WassersteinOptions, accuracy, auc,
    confusion_matrix, correlation, ece, energy_distance, log_loss, mae, mmd, r2, rmse, sinkhorn,
    sliced_wasserstein, state_accuracy, wasserstein,
};
use rhapsode_tensor::{Tensor, random::Stream};

use super::{Outcome, raise};
use crate::{context, library::Library, options};

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.module("metric", "How results are judged.");
    library
        .function(
            "metric::energy_distance",
            "(x: Tensor, y: Tensor, options?: map) -> Measure",
            r#"
            The energy distance `2 E|X - Y| - E|X - X'| - E|Y - Y'|` between samples `[n, d]` and `[m, d]`. 0 for equal laws;
            the unbiased estimate may be slightly negative.

            ```rhai
            let x = data::moons(200);
            metric::energy_distance(x, x + 5.0) > 1.0 // => true
            ```
            "#,
        )
        .options::<EnergyOptions>()
        .call(|x: Tensor, y: Tensor| energy(&x, &y, &Map::new()))
        .call(|x: Tensor, y: Tensor, map: Map| energy(&x, &y, &map));
    library
        .function(
            "metric::wasserstein",
            "(x: Tensor, y: Tensor, options?: map) -> Measure",
            r#"
            The exact Wasserstein distance between samples `[n, d]` of one size, by optimal assignment, in the units of the
            data. About a second for n = 2000; `samples` thins larger ones. Not 0 between two samples of one law: compare with
            the distance between two sets of data.

            ```rhai
            let x = data::moons(50);
            (metric::wasserstein(x, x + 3.0) - 3.0 * sqrt(2.0)).abs() < 1e-4 // => true
            ```
            "#,
        )
        .options::<WassersteinOptions>()
        .call(|call: NativeCallContext, x: Tensor, y: Tensor| exact(&call, &x, &y, &Map::new()))
        .call(|call: NativeCallContext, x: Tensor, y: Tensor, map: Map| exact(&call, &x, &y, &map));
    library
        .function(
            "metric::sliced_wasserstein",
            "(x: Tensor, y: Tensor, options?: map) -> Measure",
            r#"
            The sliced Wasserstein distance between samples `[n, d]` and `[m, d]`: of projections on random directions, whose
            mean is taken; in the units of the data.

            ```rhai
            let x = data::moons(200);
            metric::sliced_wasserstein(x, x) == 0.0 // => true
            ```
            "#,
        )
        .options::<SlicedOptions>()
        .call(|call: NativeCallContext, x: Tensor, y: Tensor| sliced(&call, &x, &y, &Map::new()))
        .call(|call: NativeCallContext, x: Tensor, y: Tensor, map: Map| sliced(&call, &x, &y, &map));
    mmd_and_sinkhorn(library);
    scores(library);
    numbers(library);
}

fn mmd_and_sinkhorn(library: &mut Library) {
    library
        .function(
            "metric::mmd",
            "(x: Tensor, y: Tensor, options?: map) -> Measure",
            r#"
            The squared maximum mean discrepancy `E k(X, X') + E k(Y, Y') - 2 E k(X, Y)` between samples `[n, d]` and `[m, d]`, by
            default of a Gaussian kernel whose bandwidth is the median distance. 0 for equal laws; the unbiased
            estimate may be slightly negative. (Gretton et al. 2012, JMLR 13.)

            ```rhai
            let x = data::moons(200);
            let far = metric::mmd(x, x + 5.0);
            far > 0.5 && far.std_error < 0.1 // => true
            ```
            "#,
        )
        .options::<MmdOptions>()
        .call(|x: Tensor, y: Tensor| -> Outcome<Measure> { raise(mmd(&x, &y, &MmdOptions::default())) })
        .call(|x: Tensor, y: Tensor, map: Map| -> Outcome<Measure> { raise(mmd(&x, &y, &options::read(&map)?)) });
    library
        .function(
            "metric::sinkhorn",
            "(x: Tensor, y: Tensor, options?: map) -> Measure",
            r#"
            The Sinkhorn divergence `OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2` between samples `[n, d]` and `[m, d]`, with
            `OT = min <P, |x - y|^p> + epsilon KL(P | a x b)`, in the units of the data to the power p: `W_p^p` for a small epsilon, for
            samples of any size, in the memory of a few rows. (Feydy et al. 2019, arXiv 1810.08278.)

            ```rhai
            let x = data::moons(100);
            (metric::sinkhorn(x, x + 3.0) - 18.0).abs() < 1e-3 // => true
            ```
            "#,
        )
        .options::<SinkhornOptions>()
        .call(|x: Tensor, y: Tensor| -> Outcome<Measure> { raise(sinkhorn(&x, &y, &SinkhornOptions::default())) })
        .call(|x: Tensor, y: Tensor, map: Map| -> Outcome<Measure> { raise(sinkhorn(&x, &y, &options::read(&map)?)) });
}

/// Names, summaries with their equation, and examples of the scores that have one set of options.
const SCORES: [(Score, &str, &str); 3] = [
    (
        Score::Precision,
        "metric::precision",
        "The precision: of those called a class, the share that are of it.",
    ),
    (
        Score::Recall,
        "metric::recall",
        "The recall: of those that are of a class, the share called so.",
    ),
    (
        Score::F1,
        "metric::f1",
        "The F1 score `2 tp / (predicted + actual)`, the harmonic mean of precision and recall.",
    ),
];

/// Their texts, made once.
fn score_texts() -> &'static [String] {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let text = |(_, path, summary): &(Score, &str, &str)| {
            format!(
                "{summary} Predictions are classes `[n]` or scores `[n, classes]`; the mean over the classes, or one of them.\n\n```rhai\n{path}(tensor([1, 0, 1]), tensor([1, 0, 1])).value // => 1.0\n```"
            )
        };
        SCORES.iter().map(text).collect()
    })
}

fn scores(library: &mut Library) {
    library
        .function(
            "metric::accuracy",
            "(predictions: Tensor, labels: Tensor) -> Measure",
            r#"
            The share of right predictions: class numbers `[n]`, or scores `[n, classes]` of which the largest counts.

            ```rhai
            metric::accuracy(tensor([[0.1, 0.9], [0.8, 0.2]]), tensor([1, 1])).value // => 0.5
            ```
            "#,
        )
        .call(|predictions: Tensor, labels: Tensor| -> Outcome<Measure> { raise(accuracy(&predictions, &labels)) });
    library
        .function(
            "metric::state_accuracy",
            "(predictions: Tensor, labels: Tensor) -> Measure",
            r#"
            The share of right states `[n]` when their numbers are permuted in the best way, as hidden states have no names.

            ```rhai
            metric::state_accuracy(tensor([2, 2, 0]), tensor([0, 0, 1])).value // => 1.0
            ```
            "#,
        )
        .call(|predictions: Tensor, labels: Tensor| -> Outcome<Measure> { raise(state_accuracy(&predictions, &labels)) });
    for ((score, path, _), text) in SCORES.into_iter().zip(score_texts()) {
        library
            .function(
                path,
                "(predictions: Tensor, labels: Tensor, options?: map) -> Measure",
                text,
            )
            .options::<ScoreOptions>()
            .call(move |p: Tensor, l: Tensor| -> Outcome<Measure> {
                raise(score.measure(&p, &l, &ScoreOptions::default()))
            })
            .call(move |p: Tensor, l: Tensor, map: Map| -> Outcome<Measure> {
                raise(score.measure(&p, &l, &options::read(&map)?))
            });
    }
    library
        .function(
            "metric::confusion_matrix",
            "(predictions: Tensor, labels: Tensor) -> Tensor",
            r#"
            How often each class (row) was taken for each (column), `[k, k]`.

            ```rhai
            metric::confusion_matrix(tensor([1, 0, 1]), tensor([1, 1, 1])).to_array() // => [[0, 0], [1, 2]]
            ```
            "#,
        )
        .call(|p: Tensor, l: Tensor| -> Outcome<Tensor> { raise(confusion_matrix(&p, &l)) });
    library
        .function(
            "metric::auc",
            "(scores: Tensor, labels: Tensor) -> Measure",
            r#"
            The area under the ROC curve: the probability that a positive (label 1) scores above a negative (label 0). Scores are
            `[n]`, or `[n, 2]`.

            ```rhai
            metric::auc(tensor([0.1, 0.4, 0.8]), tensor([0, 0, 1])).value // => 1.0
            ```
            "#,
        )
        .call(|scores: Tensor, labels: Tensor| -> Outcome<Measure> { raise(auc(&scores, &labels)) });
    probabilities(library);
}

fn probabilities(library: &mut Library) {
    library
        .function(
            "metric::log_loss",
            "(predictions: Tensor, labels: Tensor, options?: map) -> Measure",
            r#"
            The mean of `-log p(label)` in nats, the cross-entropy: of logits `[n, classes]`, or `[n]` for two classes.

            ```rhai
            (metric::log_loss(zeros([3, 2]), tensor([0, 1, 1])) - ln(2.0)).abs() < 1e-6 // => true
            ```
            "#,
        )
        .options::<LogLossOptions>()
        .call(|p: Tensor, l: Tensor| -> Outcome<Measure> { raise(log_loss(&p, &l, &LogLossOptions::default())) })
        .call(|p: Tensor, l: Tensor, map: Map| -> Outcome<Measure> { raise(log_loss(&p, &l, &options::read(&map)?)) });
    library
        .function(
            "metric::ece",
            "(predictions: Tensor, labels: Tensor, options?: map) -> Measure",
            r#"
            The expected calibration error: the mean gap of confidence and accuracy over bins of confidence. (Guo et al. 2017, arXiv
            1706.04599.)

            ```rhai
            let sure = tensor([[0.0, 1.0], [1.0, 0.0]]);
            metric::ece(sure, tensor([1, 0]), #{ scores: "probabilities" }).value // => 0.0
            ```
            "#,
        )
        .options::<EceOptions>()
        .call(|p: Tensor, l: Tensor| -> Outcome<Measure> { raise(ece(&p, &l, &EceOptions::default())) })
        .call(|p: Tensor, l: Tensor, map: Map| -> Outcome<Measure> { raise(ece(&p, &l, &options::read(&map)?)) });
}

/// A score of two tensors of one shape.
type Pairwise = fn(&Tensor, &Tensor) -> rhapsode_models::Result<Measure>;

fn numbers(library: &mut Library) {
    let list: [(&str, Pairwise, &str); 3] = [
        (
            "metric::rmse",
            rmse,
            "The root of the mean squared difference of two tensors of one shape.\n\n```rhai\nmetric::rmse(tensor([1.0, 2.0]), tensor([1.0, 2.0])).value // => 0.0\n```",
        ),
        (
            "metric::mae",
            mae,
            "The mean absolute difference of two tensors of one shape.\n\n```rhai\nmetric::mae(tensor([1.0, 3.0]), tensor([1.0, 2.0])).value // => 0.5\n```",
        ),
        (
            "metric::r2",
            r2,
            "The coefficient of determination `1 - sum (y - prediction)^2 / sum (y - mean)^2` of predictions and targets y.\n\n```rhai\nmetric::r2(tensor([1.0, 3.0]), tensor([1.0, 3.0])).value // => 1.0\n```",
        ),
    ];
    for (path, f, text) in list {
        library
            .function(
                path,
                "(predictions: Tensor, targets: Tensor) -> Measure",
                text,
            )
            .call(move |x: Tensor, y: Tensor| -> Outcome<Measure> { raise(f(&x, &y)) });
    }
    library
        .function(
            "metric::correlation",
            "(x: Tensor, y: Tensor, options?: map) -> Measure",
            r#"
            The correlation of the elements of two tensors of one shape, of values (Pearson) or ranks (Spearman).

            ```rhai
            metric::correlation(tensor([1.0, 2.0, 4.0]), tensor([1.0, 4.0, 9.0]), #{ kind: "spearman" }).value // => 1.0
            ```
            "#,
        )
        .options::<CorrelationOptions>()
        .call(|x: Tensor, y: Tensor| -> Outcome<Measure> { raise(correlation(&x, &y, &CorrelationOptions::default())) })
        .call(|x: Tensor, y: Tensor, map: Map| -> Outcome<Measure> { raise(correlation(&x, &y, &options::read(&map)?)) });
}

fn stream(call: &NativeCallContext) -> Outcome<Stream> {
    Ok(Stream::new(
        context::of_call(call)?.settings().seed,
        "metric",
    ))
}

fn energy(x: &Tensor, y: &Tensor, map: &Map) -> Outcome<Measure> {
    raise(energy_distance(x, y, &options::read::<EnergyOptions>(map)?))
}

fn exact(call: &NativeCallContext, x: &Tensor, y: &Tensor, map: &Map) -> Outcome<Measure> {
    raise(wasserstein(
        x,
        y,
        &options::read::<WassersteinOptions>(map)?,
        stream(call)?,
    ))
}

fn sliced(call: &NativeCallContext, x: &Tensor, y: &Tensor, map: &Map) -> Outcome<Measure> {
    raise(sliced_wasserstein(
        x,
        y,
        &options::read::<SlicedOptions>(map)?,
        stream(call)?,
    ))
}
