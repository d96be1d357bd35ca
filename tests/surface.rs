//! The surface that scripts see is whole: every name that the language promises exists with
//! documentation, defaults and an example, and what is documented is what is bound.
//!
//! The lists `MISSING` and `WITHOUT_..` hold what is not there yet. They only shrink: an entry that is
//! no longer needed is a failure too.

use std::collections::BTreeSet;

use rhapsode_script::{Session, SessionOptions, Topic};

/// The names of the language, by the module or type that they belong to.
const NAMES: &[(&str, &str)] = &[
    (
        "",
        "tensor zeros ones full eye arange linspace rand randn randint cat stack where seed device dtype param",
    ),
    (
        "",
        "grad no_grad show print eprint input password clear_output sleep help vars time save load arg log progress",
    ),
    ("", "cite vjp jvp"),
    (
        "nn",
        "linear mlp conv1d conv2d embedding stable_embedding layer_norm rms_norm group_norm dropout attention gru sequential custom",
    ),
    (
        "optim",
        "sgd momentum adam adamw lion lamb lars rmsprop adagrad ademamix schedule ema clip_grad_norm",
    ),
    ("optim", "quantize dequantize quantization_error code"),
    ("ode", "solve sde"),
    (
        "flow",
        "rectified interpolant from_velocity search exact fields mixture coefficients kl_bound schroedinger from_diffusion slerp crossings operator",
    ),
    (
        "RectifiedFlow",
        "fit sample velocity score log_prob reflow steer given invert trajectory sample_with_log_prob steer_trace steer_cosine edit",
    ),
    (
        "Interpolant",
        "fit sample encode decode velocity score denoiser data log_prob log_prob_sde sample_with_log_prob steer",
    ),
    (
        "Flow",
        "sample velocity score log_prob steer invert trajectory",
    ),
    ("", "report verify"),
    ("Report", "row met missed"),
    ("metric", "straightness"),
    ("ssm", "s4d_kernel s4d_step long_conv selective_scan"),
    ("Run", "loss metrics interrupted more set"),
    (
        "data",
        "moons checkerboard spirals eight_gaussians pinwheel swiss_roll rings digits mnist csv parquet npy npz safetensors batches split standardize",
    ),
    (
        "metric",
        "wasserstein sinkhorn sliced_wasserstein mmd energy_distance accuracy",
    ),
    (
        "plot",
        "line scatter hist heatmap contour quiver bar image images graph grid",
    ),
    ("Figure", "save"),
    ("Optimizer", "step state_bytes bytes_per_parameter"),
    ("Quantized", "codes absmax dequantize"),
    (
        "Tensor",
        "shape dtype device rank matmul t reshape permute squeeze unsqueeze narrow gather index_select flip cumsum sort topk",
    ),
    (
        "Tensor",
        "sum mean variance std max min argmax argmin logsumexp norm exp log sqrt abs sin cos tanh sigmoid relu silu gelu",
    ),
    (
        "Tensor",
        "softplus erf clamp softmax log_softmax pow gt lt item to_array to detach",
    ),
];

/// Promised names that are not bound yet.
const MISSING: &[&str] = &[];

/// Functions and methods whose text has no example that runs.
const WITHOUT_EXAMPLE: &[&str] = &[];

/// Names whose summary does not end as a sentence does, or whose signature is not one.
const UNTIDY: &[&str] = &[];

/// Options (`name: option`) without a text, or without a default that is told.
const WITHOUT_DEFAULT: &[&str] = &[];

fn topics() -> Vec<Topic> {
    Session::new(SessionOptions::default()).reference()
}

/// What is found must be what is listed; says which lines to add or delete.
#[track_caller]
fn same(what: &str, found: impl IntoIterator<Item = String>, listed: &[&str]) {
    let found: BTreeSet<String> = found.into_iter().collect();
    let listed: BTreeSet<String> = listed.iter().map(ToString::to_string).collect();
    let quoted = |names: Vec<&String>| {
        names
            .iter()
            .map(|n| format!("{n:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (new, gone) = (
        quoted(found.difference(&listed).collect()),
        quoted(listed.difference(&found).collect()),
    );
    assert!(
        new.is_empty() && gone.is_empty(),
        "{what}:\n  to mend: {new}\n  mended, to be taken off the list: {gone}"
    );
}

#[test]
fn every_promised_name_is_bound() {
    let bound: BTreeSet<String> = topics().into_iter().map(|topic| topic.name).collect();
    let full = |owner: &str, name: &str| match owner {
        "" => name.to_string(),
        owner if owner.starts_with(char::is_uppercase) => format!("{owner}.{name}"),
        owner => format!("{owner}::{name}"),
    };
    let promised = NAMES
        .iter()
        .flat_map(|(owner, names)| names.split(' ').map(move |name| full(owner, name)));
    same(
        "names",
        promised.filter(|name| !bound.contains(name)),
        MISSING,
    );
}

#[test]
fn every_function_and_method_has_an_example() {
    let needs = |topic: &Topic| matches!(topic.kind, "function" | "method");
    let without = topics()
        .into_iter()
        .filter(|topic| needs(topic) && !topic.text.contains("```rhai"));
    same("examples", without.map(|topic| topic.name), WITHOUT_EXAMPLE);
}

#[test]
fn every_entry_reads_as_a_sentence_and_has_a_signature_that_fits_its_overloads() {
    let wrong = topics().into_iter().filter_map(|topic| {
        let sentence = topic.summary.ends_with(['.', ':']) && topic.summary.len() > 4;
        let callable = matches!(topic.kind, "function" | "method");
        let fits = !callable
            || signature(&topic.signature).is_some_and(|(least, most)| {
                let given = &topic.arities;
                let covers = |n: &usize| least <= *n && most.is_none_or(|most| *n <= most);
                let ends = given.first() <= Some(&least.max(*given.first().unwrap_or(&0)))
                    && most.is_none_or(|most| given.last() == Some(&most));
                !given.is_empty() && given.iter().all(covers) && ends
            });
        (!sentence || !fits).then_some(topic.name)
    });
    same("summaries and signatures", wrong, UNTIDY);
}

#[test]
fn every_option_has_a_text_and_a_default() {
    let mut wrong = Vec::new();
    for topic in topics() {
        for option in &topic.options {
            let default = option.default.is_some()
                || option.required
                || option.text.to_lowercase().contains("default")
                || option.kind.contains("()");
            if option.text.trim().is_empty() || !default {
                wrong.push(format!("{}: {}", topic.name, option.name));
            }
        }
    }
    same("options", wrong, WITHOUT_DEFAULT);
}

#[test]
fn help_knows_every_name() {
    let session = Session::new(SessionOptions::default());
    for topic in topics() {
        let help = session.help(&topic.name).unwrap();
        assert!(
            help.text.contains(topic.summary.trim()) || help.text.contains(&topic.name),
            "{}",
            topic.name
        );
    }
}

/// The smallest and largest number of arguments of `(a: int, b?: map) -> T`, or of forms with `|` between
/// them, `(a) | (a, b) -> T`; no largest behind `...`.
fn signature(text: &str) -> Option<(usize, Option<usize>)> {
    let forms: Vec<&str> = text.split(") | (").collect();
    let last = forms.len() - 1;
    let counted = forms.iter().enumerate().map(|(i, form)| {
        let open = if i > 0 { "(" } else { "" };
        let close = if i < last { ")" } else { "" };
        one_form(&format!("{open}{form}{close}"))
    });
    let counted = counted.collect::<Option<Vec<_>>>()?;
    let least = counted.iter().map(|(least, _)| *least).min()?;
    // No largest number where one form has none.
    let most: Option<Vec<usize>> = counted.iter().map(|(_, most)| *most).collect();
    Some((least, most.and_then(|most| most.into_iter().max())))
}

fn one_form(text: &str) -> Option<(usize, Option<usize>)> {
    let inner = text.strip_prefix('(')?;
    let mut depth = 1;
    let end = inner.find(|c: char| {
        depth += match c {
            '(' | '[' => 1,
            ')' | ']' => -1,
            _ => 0,
        };
        depth == 0
    })?;
    let (inner, rest) = inner.split_at(end);
    let rest = rest.strip_prefix(')')?.trim();
    if !rest.is_empty()
        && rest
            .strip_prefix("-> ")
            .is_none_or(|gives| gives.trim().is_empty())
    {
        return None;
    }
    let (mut least, mut most, mut open) = (0, 0, false);
    for part in inner
        .split(", ")
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let name = part.split(':').next()?.trim();
        let plain = name.trim_end_matches("...").trim_end_matches('?');
        if !plain.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        open |= name.ends_with("...");
        most += 1;
        least += usize::from(!name.ends_with('?') && !name.ends_with("..."));
    }
    Some((least, (!open).then_some(most)))
}

#[test]
fn signatures_are_counted() {
    assert_eq!(signature("(a: int, b?: map) -> Tensor"), Some((1, Some(2))));
    assert_eq!(signature("(values...)"), Some((0, None)));
    assert_eq!(signature("()"), Some((0, Some(0))));
    assert_eq!(signature("(a) | (a, b, c?: map) -> T"), Some((1, Some(3))));
    assert_eq!(
        signature("(a, b?: Tensor | (), c?) -> T"),
        Some((1, Some(3)))
    );
    assert_eq!(signature("(a) | (a b) -> T"), None);
    assert_eq!(signature("(a b: int)"), None);
    assert_eq!(signature("a: int"), None);
}
