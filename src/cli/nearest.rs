//! The nearest of some names to one that is not among them, for `did you mean`.

/// The name that is most like `wrong`, when one is like enough to be meant.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| {
            (
                strsim::jaro_winkler(&wrong.to_lowercase(), &name.to_lowercase()),
                name,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_a_stranger_does_not() {
        let names = ["quickstart.rhai", "digits.rhai", "README.md"];
        assert_eq!(nearest("quikstart.rhai", names), Some("quickstart.rhai"));
        assert_eq!(nearest("Digits.rhai", names), Some("digits.rhai"));
        assert_eq!(nearest("zebra", names), None);
    }
}
