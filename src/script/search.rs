//! Finds help by words, and by what other libraries call things.
//!
//! `help("how do I train on labels")` ranks every documented name by how often the words of the
//! question stand in its name, summary, text and options; rare words count more. Names of PyTorch, NumPy
//! and Matplotlib lead to ours, in `help` and in the hints of errors.

use std::collections::HashMap;

use rhapsode_models::nn::Activation;

use crate::help::{Entry, EntryKind, Reference};

/// Entries that a question finds at most.
const MOST: usize = 8;

/// What others call it, in lower case, and what it is called here.
pub(crate) const FOREIGN: &[(&str, &str)] = &[
    ("view", "Tensor.reshape"),
    ("view_as", "Tensor.reshape"),
    ("ravel", "Tensor.reshape"),
    ("mm", "Tensor.matmul"),
    ("bmm", "Tensor.matmul"),
    ("dot", "Tensor.matmul"),
    ("ln", "Tensor.log"),
    ("swapaxes", "Tensor.permute"),
    ("moveaxis", "Tensor.permute"),
    ("size", "Tensor.shape"),
    ("ndim", "Tensor.rank"),
    ("dim", "Tensor.rank"),
    ("numpy", "Tensor.to_array"),
    ("tolist", "Tensor.to_array"),
    ("astype", "Tensor.to"),
    ("type", "Tensor.to"),
    ("float", "Tensor.to"),
    ("double", "Tensor.to"),
    ("half", "Tensor.to"),
    ("bfloat16", "Tensor.to"),
    ("long", "Tensor.to"),
    ("numel", "Tensor.size"),
    ("cuda", "Tensor.to"),
    ("cpu", "Tensor.to"),
    ("var", "Tensor.variance"),
    ("amax", "Tensor.max"),
    ("amin", "Tensor.min"),
    ("clip", "Tensor.clamp"),
    ("expand_dims", "Tensor.unsqueeze"),
    ("take_along_dim", "Tensor.gather"),
    ("take", "Tensor.index_select"),
    ("concat", "cat"),
    ("concatenate", "cat"),
    ("vstack", "cat"),
    ("hstack", "cat"),
    ("as_tensor", "tensor"),
    ("from_numpy", "tensor"),
    ("array", "tensor"),
    ("normal", "randn"),
    ("uniform", "rand"),
    ("manual_seed", "seed"),
    ("parameter", "param"),
    ("requires_grad_", "param"),
    ("backward", "grad"),
    ("autograd", "grad"),
    ("zero_grad", "Optimizer.step"),
    ("state_dict", "Net.named_parameters"),
    ("load_state_dict", "load"),
    ("stop_gradient", "Tensor.detach"),
    ("tqdm", "progress"),
    ("dataloader", "data::batches"),
    ("train_test_split", "data::split"),
    ("standardscaler", "data::standardize"),
    ("make_moons", "data::moons"),
    ("make_swiss_roll", "data::swiss_roll"),
    ("read_csv", "data::csv"),
    ("read_parquet", "data::parquet"),
    ("loadtxt", "data::csv"),
    ("batchnorm1d", "nn::layer_norm"),
    ("layernorm", "nn::layer_norm"),
    ("rmsnorm", "nn::rms_norm"),
    ("multiheadattention", "nn::attention"),
    ("scaled_dot_product_attention", "nn::attention"),
    ("clip_grad_norm_", "optim::clip_grad_norm"),
    ("lr_scheduler", "optim::schedule"),
    ("odeint", "ode::solve"),
    ("solve_ivp", "ode::solve"),
    ("diffeqsolve", "ode::solve"),
    ("sdeint", "ode::sde"),
    ("accuracy_score", "metric::accuracy"),
    ("emd", "metric::wasserstein"),
    ("plot", "plot::line"),
    ("imshow", "plot::image"),
    ("histogram", "plot::hist"),
    ("contourf", "plot::contour"),
    ("subplots", "plot::grid"),
    ("figure", "plot::line"),
    ("savefig", "Figure.save"),
    ("pcolormesh", "plot::heatmap"),
    ("len", "Tensor.shape"),
    ("getpass", "password"),
    ("dir", "vars"),
    ("locals", "vars"),
    ("globals", "vars"),
    ("argparse", "arg"),
    ("add_argument", "arg"),
    ("perf_counter", "time"),
    ("torch", "language"),
    ("np", "language"),
    ("plt", "plot"),
    ("matplotlib", "plot"),
    ("jax", "language"),
    ("jnp", "language"),
    ("sklearn", "data"),
    ("pandas", "data"),
];

/// Option keys of others, and what they may be called here.
const FOREIGN_KEYS: &[(&str, &[&str])] = &[
    ("batch_size", &["batch"]),
    ("budget", &["nfe"]),
    ("learning_rate", &["lr"]),
    ("epochs", &["steps"]),
    ("num_epochs", &["steps"]),
    ("num_steps", &["steps"]),
    ("n_steps", &["steps"]),
    ("iterations", &["steps"]),
    ("in_features", &["inputs"]),
    ("in_channels", &["inputs"]),
    ("out_features", &["outputs"]),
    ("out_channels", &["outputs"]),
    ("num_embeddings", &["vocab", "inputs"]),
    ("embedding_dim", &["dim", "outputs"]),
    ("num_heads", &["heads"]),
    ("n_heads", &["heads"]),
    ("kernel_size", &["kernel"]),
    ("p", &["rate"]),
    ("rate", &["p"]),
    ("dropout", &["p"]),
    ("parameters", &["params"]),
    ("label", &["labels"]),
    ("axis", &["axes", "dim"]),
    ("keepdims", &["keepdim"]),
    ("method", &["solver"]),
    ("num_classes", &["classes"]),
    ("c", &["color"]),
    ("figsize", &["size", "width"]),
    ("xlabel", &["x_label"]),
    ("ylabel", &["y_label"]),
];

/// Words that mean the same to a question.
const ALIKE: &[(&str, &str)] = &[
    ("gradient descent", "optimizer sgd adam step"),
    ("learning rate", "lr optimizer schedule"),
    ("fine tune", "fit more"),
    ("train", "fit optimizer step"),
    ("learn", "fit optimizer"),
    ("labels", "labels classes"),
    ("conditional", "labels classes guidance"),
    ("generate", "sample"),
    ("draw", "plot sample"),
    ("figure", "plot"),
    ("chart", "plot"),
    ("graph", "plot"),
    ("picture", "image plot"),
    ("random", "randn rand seed"),
    ("noise", "randn"),
    ("reproducible", "seed"),
    ("differentiate", "grad gradient"),
    ("derivative", "grad gradient"),
    ("backprop", "grad gradient"),
    ("loop", "progress for"),
    ("command line", "arg"),
    ("argument", "arg option"),
    ("load", "load csv read"),
    ("read", "load csv"),
    ("write", "save"),
    ("store", "save"),
    ("checkpoint", "save load"),
    ("differential equation", "ode solve"),
    ("integrate", "ode solve"),
    ("distance", "wasserstein mmd energy metric"),
    ("compare", "metric wasserstein"),
    ("network", "nn mlp linear"),
    ("layer", "nn linear"),
    ("likelihood", "log_prob"),
    ("gpu", "device cuda"),
    ("precision", "dtype"),
    ("normalize", "standardize norm"),
    ("minibatch", "batches batch"),
    ("batch", "batches"),
    ("shape", "shape reshape"),
    ("stop", "interrupt more"),
    ("resume", "more"),
    ("paper", "cite"),
    ("citation", "cite"),
];

/// Words that say nothing.
const EMPTY: &[&str] = &[
    "a", "an", "the", "how", "do", "does", "i", "to", "on", "of", "in", "is", "are", "my", "me",
    "with", "can", "what", "which", "for", "from", "and", "or", "it", "its", "use", "using",
    "make", "get", "at", "by", "be", "some", "there", "where", "when", "this", "that", "one", "as",
];

/// What a name of another library is called here: the full name of an entry.
pub(crate) fn ours(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let last = lower.rsplit(['.', ':']).next().unwrap_or(&lower);
    FOREIGN
        .iter()
        .find(|(foreign, _)| *foreign == last)
        .map(|(_, ours)| *ours)
}

/// The hint for an unknown option that other libraries have.
pub(crate) fn key_hint(key: &str, allowed: &[&str]) -> Option<String> {
    if key == "requires_grad" {
        return Some("a trainable tensor is made by `param(x)`".into());
    }
    let (_, ours) = FOREIGN_KEYS.iter().find(|(foreign, _)| *foreign == key)?;
    let ours = ours.iter().find(|name| allowed.contains(*name))?;
    Some(format!("here it is `{ours}`"))
}

/// The hint for an activation that others have as a module: here it is a name.
pub(crate) fn activation(module: &str, name: &str) -> Option<String> {
    let known = Activation::named(&name.to_lowercase())
        .filter(|known| module == "nn" && *known != Activation::Identity)?;
    let name = known.name();
    Some(format!(
        "an activation is a name: {name:?} among the layers of `nn::sequential`; of a tensor it is `x.{name}()`"
    ))
}

/// The hint for an unknown name that other libraries have.
pub(crate) fn hint(name: &str) -> Option<String> {
    match ours(name)? {
        "language" => Some(
            "tensor functions stand without a module, as `zeros([2, 3])`, or are methods, as `x.sum()`"
                .to_string(),
        ),
        ours => Some(format!("here it is `{ours}`")),
    }
}

/// The entries that answer a question best, best first.
pub(crate) fn find<'a>(reference: &'a Reference, question: &str) -> Vec<&'a Entry> {
    let words = words_of_question(question);
    let entries: Vec<(&Entry, HashMap<String, f64>)> = reference
        .entries()
        .iter()
        .filter(|entry| entry.kind != EntryKind::Operator)
        .map(|entry| (entry, weights(entry)))
        .collect();
    let total = entries.len() as f64;
    let rarity: Vec<(&str, f64, f64)> = words
        .iter()
        .map(|(word, weight)| {
            let holding = entries.iter().filter(|(_, w)| w.contains_key(word)).count();
            (
                word.as_str(),
                *weight,
                (1.0 + total / (1.0 + holding as f64)).ln(),
            )
        })
        .collect();
    let score = |weights: &HashMap<String, f64>| -> f64 {
        let of = |(word, weight, rare): &(&str, f64, f64)| {
            weights
                .get(*word)
                .map_or(0.0, |found| found * weight * rare)
        };
        rarity.iter().map(of).sum()
    };
    let mut ranked: Vec<(f64, &Entry)> = entries
        .iter()
        .map(|(entry, weights)| (score(weights), *entry))
        .filter(|(score, _)| *score > 0.0)
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = ranked.first().map_or(0.0, |(score, _)| *score);
    let near = ranked.iter().filter(|(score, _)| *score > best / 4.0);
    let mut found: Vec<&Entry> = Vec::new();
    for (_, entry) in near {
        // `save` and `io::save` are one.
        let same = |known: &&Entry| known.name == entry.name || known.text == entry.text;
        if !found.iter().any(same) {
            found.push(entry);
        }
        if found.len() == MOST {
            break;
        }
    }
    found
}

/// The words of a question with their weights: its own in full, those that mean the same less.
fn words_of_question(question: &str) -> Vec<(String, f64)> {
    let lower = question.to_lowercase();
    let mut words: Vec<(String, f64)> = Vec::new();
    let mut add = |word: String, weight: f64| match words.iter_mut().find(|(w, _)| *w == word) {
        Some((_, known)) => *known = known.max(weight),
        None => words.push((word, weight)),
    };
    for word in split(&lower) {
        if !EMPTY.contains(&word.as_str()) {
            add(stem(&word), 1.0);
        }
        if let Some(ours) = ours(&word) {
            let last = ours.rsplit(['.', ':']).next().unwrap_or(ours);
            split(last)
                .into_iter()
                .for_each(|part| add(stem(&part), 1.0));
        }
    }
    let stems: Vec<String> = split(&lower).iter().map(|word| stem(word)).collect();
    for (phrase, alike) in ALIKE {
        let phrase: Vec<String> = split(phrase).iter().map(|word| stem(word)).collect();
        if stems
            .windows(phrase.len())
            .any(|window| window == phrase.as_slice())
        {
            split(alike)
                .into_iter()
                .for_each(|word| add(stem(&word), 0.6));
        }
    }
    words
}

/// How much every word of an entry counts: most in its name.
fn weights(entry: &Entry) -> HashMap<String, f64> {
    let mut weights: HashMap<String, f64> = HashMap::new();
    let mut add = |text: &str, weight: f64| {
        for word in split(&text.to_lowercase()) {
            let known = weights.entry(stem(&word)).or_insert(0.0);
            *known = known.max(weight);
        }
    };
    add(entry.text, 1.0);
    for field in entry.fields() {
        add(&field.text, 1.0);
        add(&field.name, 2.0);
    }
    add(&entry.summary(), 3.0);
    add(&entry.name, 5.0);
    add(entry.short(), 7.0);
    // A page on the whole language holds many words and answers few questions.
    let share = if entry.kind == EntryKind::Topic {
        0.4
    } else {
        1.0
    };
    weights.values_mut().for_each(|weight| *weight *= share);
    weights
}

/// The words of a text; a name of several parts also as a whole.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '_') {
        if word.is_empty() {
            continue;
        }
        words.push(word.to_string());
        if word.contains('_') {
            words.extend(
                word.split('_')
                    .filter(|w| !w.is_empty())
                    .map(str::to_string),
            );
        }
    }
    words
}

/// A word without its ending, as far as that is safe.
fn stem(word: &str) -> String {
    for ending in ["ings", "ing", "ied", "ies", "ed", "es", "s"] {
        if let Some(rest) = word.strip_suffix(ending)
            && rest.len() >= 3
            && !rest.ends_with('s')
        {
            let rest = if ending.starts_with("ie") {
                format!("{rest}y")
            } else {
                rest.to_string()
            };
            return rest.trim_end_matches('e').to_string();
        }
    }
    word.trim_end_matches('e').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_do_not_separate_words() {
        for (a, b) in [
            ("training", "trains"),
            ("sampled", "samples"),
            ("batches", "batch"),
            ("derivatives", "derivative"),
        ] {
            assert_eq!(stem(a), stem(b), "{a} {b}");
        }
        assert_ne!(stem("loss"), stem("log"));
    }

    #[test]
    fn names_of_other_libraries_are_known_in_any_case_and_behind_any_module() {
        assert_eq!(ours("view"), Some("Tensor.reshape"));
        assert_eq!(ours("torch.utils.data.DataLoader"), Some("data::batches"));
        assert_eq!(ours("plt::plot"), Some("plot::line"));
        assert_eq!(ours("zeros"), None);
    }
}
