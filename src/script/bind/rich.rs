//! `html`, `markdown` and `latex`: texts that a notebook shows as what they mean.

use crate::{Display, library::Library, value::Object};

/// A text with its MIME type. Elsewhere than in a notebook it is the text.
#[derive(Clone)]
pub(crate) struct Rich {
    mime: &'static str,
    text: String,
}

impl Rich {
    /// HTML. An untrusted notebook removes scripts, style sheets and SVG from it, and keeps `style` attributes.
    pub fn html(text: &str) -> Self {
        Self::new("text/html", text)
    }

    /// Markdown, with formulas between `$`.
    pub fn markdown(text: &str) -> Self {
        Self::new("text/markdown", text)
    }

    /// LaTeX: a text with formulas, or one formula, which needs no `$`.
    pub fn latex(text: &str) -> Self {
        let is_text = ["$", "\\(", "\\[", "\\begin{"]
            .iter()
            .any(|sign| text.contains(sign));
        match is_text {
            true => Self::new("text/latex", text),
            false => Self::new("text/latex", &format!("$\\displaystyle {}$", text.trim())),
        }
    }

    fn new(mime: &'static str, text: &str) -> Self {
        Self {
            mime,
            text: text.to_string(),
        }
    }
}

impl Object for Rich {
    const NAME: &'static str = "Rich";

    fn text(&self) -> String {
        self.text.clone()
    }

    fn summary(&self) -> String {
        format!("{}, {} characters", self.mime, self.text.chars().count())
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.text.len() as u64)
    }

    fn display(&self) -> Display {
        Display {
            forms: vec![
                (self.mime.into(), self.text.clone()),
                ("text/plain".into(), self.text.trim_end().into()),
            ],
            id: None,
        }
    }
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.object::<Rich>("A text that a notebook shows as HTML, Markdown or LaTeX.");
    library
        .function(
            "html",
            "(text: string) -> Rich",
            r#"
            HTML, as the output of a cell or for `show`. A notebook that is not trusted keeps tables and `style` attributes, and
            removes scripts, style sheets and inline SVG.

            ```rhai
            show(html("<b>bold</b>"));
            ```
            "#,
        )
        .call(|text: &str| Rich::html(text));
    library
        .function(
            "markdown",
            "(text: string) -> Rich",
            r#"
            Markdown, with formulas between `$`, as the output of a cell or for `show`.

            ```rhai
            show(markdown("**loss** falls like $1/\\sqrt{n}$"));
            ```
            "#,
        )
        .call(|text: &str| Rich::markdown(text));
    library
        .function(
            "latex",
            "(text: string) -> Rich",
            r#"
            LaTeX, as the output of a cell or for `show`: one formula, or a text with formulas between `$`.

            ```rhai
            show(latex("E = m c^2"));
            ```
            "#,
        )
        .call(|text: &str| Rich::latex(text));
}
