//! A value's rich form: a bundle of representations by MIME type, from which a front end takes
//! the best that it can show.

/// Characters of a text form; a notebook keeps all of them, and a browser lays them out.
const MOST_TEXT: usize = 100_000;
/// Bytes of an SVG that stands beside a PNG: beyond, the PNG is smaller and drawn faster.
const MOST_SVG: usize = 1 << 20;
/// Bytes of any other form that has a text beside it.
const MOST_BYTES: usize = 6 << 20;

/// What a value looks like, in every form that it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Display {
    /// `(MIME type, content)` in the order in which a front end should prefer them.
    /// `text/plain` is always there; `image/png` is base64.
    pub forms: Vec<(String, String)>,
    /// Set when this display will be updated in place later.
    pub id: Option<String>,
}

impl Display {
    /// A display that has text only.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            forms: vec![("text/plain".into(), text.into())],
            id: None,
        }
    }

    /// Adds a form.
    #[must_use]
    pub fn with(mut self, mime: &str, content: impl Into<String>) -> Self {
        self.forms.push((mime.into(), content.into()));
        self
    }

    /// The content of one MIME type, if there.
    pub fn get(&self, mime: &str) -> Option<&str> {
        self.forms
            .iter()
            .find(|(m, _)| m == mime)
            .map(|(_, c)| c.as_str())
    }

    /// The display without what is too large for a notebook, as long as another form remains. A text that is cut says
    /// how to see all of it.
    #[must_use]
    pub fn within_budget(mut self) -> Self {
        let has_png = self
            .get("image/png")
            .is_some_and(|png| png.len() <= MOST_BYTES);
        self.forms.retain(|(mime, content)| match mime.as_str() {
            "text/plain" | "text/x-ansi" => true,
            "image/svg+xml" => content.len() <= if has_png { MOST_SVG } else { MOST_BYTES },
            _ => content.len() <= MOST_BYTES,
        });
        for (mime, content) in &mut self.forms {
            if matches!(mime.as_str(), "text/plain" | "text/x-ansi")
                && let Some((at, _)) = content.char_indices().nth(MOST_TEXT)
            {
                let all = content.chars().count();
                content.truncate(at);
                content.push_str(&format!(
                    "…\n({all} characters, cut after {MOST_TEXT}: `print` writes all of a value)"
                ));
            }
        }
        self
    }

    /// The plain text.
    pub fn plain(&self) -> &str {
        self.get("text/plain").unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_svg_gives_way_to_its_png_and_stays_without_one() {
        let svg = "x".repeat(MOST_SVG + 1);
        let both = Display::text("plain")
            .with("image/svg+xml", svg.as_str())
            .with("image/png", "cG5n");
        assert_eq!(both.within_budget().get("image/svg+xml"), None);
        let alone = Display::text("plain").with("image/svg+xml", svg.as_str());
        assert!(alone.within_budget().get("image/svg+xml").is_some());
        let page = "x".repeat(MOST_BYTES + 1);
        let page = Display::text("plain")
            .with("text/html", page)
            .within_budget();
        assert_eq!(page, Display::text("plain"));
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let text = Display::text("ä".repeat(MOST_TEXT + 5)).within_budget();
        assert!(text.plain().starts_with("ää"));
        let note = "ä…\n(100005 characters, cut after 100000: `print` writes all of a value)";
        assert!(text.plain().ends_with(note));
        let short = Display::text("ä".repeat(MOST_TEXT));
        assert_eq!(short.clone().within_budget(), short);
    }
}
