//! Near names: what was probably meant.

/// The name nearest to a misspelt one, if any is near enough.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(f64, &str)> = None;
    for candidate in names {
        if candidate == name || candidate.is_empty() {
            continue;
        }
        let score = similarity(name, candidate);
        if score >= THRESHOLD && best.is_none_or(|(known, _)| score > known) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Below this, two names have nothing to do with each other.
const THRESHOLD: f64 = 0.6;

/// From 0 (nothing in common) to 1. Case, `_` and `-` count little, and a name that begins like
/// the other one is near: `normal` and `normalize`.
fn similarity(a: &str, b: &str) -> f64 {
    let plain = |s: &str| s.to_lowercase().replace(['_', '-'], "");
    let (a, b) = (plain(a), plain(b));
    if a == b {
        return 1.0;
    }
    // Two letters exchanged are one slip, also in a name of two.
    let edits = strsim::damerau_levenshtein(&a, &b) as f64;
    let longest = a.chars().count().max(b.chars().count()) as f64;
    let edits = if edits == 1.0 && (2.0..=3.0).contains(&longest) {
        THRESHOLD
    } else {
        1.0 - edits / longest
    };
    let short = a.chars().count().min(b.chars().count());
    let prefix = short >= 3 && (a.starts_with(&b) || b.starts_with(&a));
    if prefix { edits.max(0.7) } else { edits }
}

/// `a`, `b` and `c`: the names in a sentence, the first few of many.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 40;
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.len() > MOST {
        return format!(
            "{} and {} more",
            names.get(..MOST).unwrap_or_default().join(", "),
            names.len() - MOST
        );
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let names = ["hidden", "heads", "dim", "normalize", "learning_rate"];
        assert_eq!(nearest("hiden", names), Some("hidden"));
        assert_eq!(nearest("normal", names), Some("normalize"));
        assert_eq!(nearest("learning-rate", names), Some("learning_rate"));
        assert_eq!(nearest("dmi", names), Some("dim"));
        assert_eq!(nearest("rl", ["lr"]), Some("lr"));
        assert_eq!(nearest("xyzzy", names), None);
        assert_eq!(nearest("dim", ["dim"]), None);
    }
}
