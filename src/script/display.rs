//! A value's rich form: a bundle of representations by MIME type, from which a front end takes
//! the best that it can show.

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

    /// The plain text.
    pub fn plain(&self) -> &str {
        self.get("text/plain").unwrap_or("")
    }
}
