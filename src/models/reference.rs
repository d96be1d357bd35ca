//! Where a method comes from: help, the reference pages, the run manifest and `cite` read it.

/// A paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Citation key, e.g. `liu2022flow`.
    pub key: &'static str,
    /// Title.
    pub title: &'static str,
    /// Authors, `First Last`, in order.
    pub authors: &'static [&'static str],
    /// Year.
    pub year: u16,
    /// arXiv number, e.g. `2209.03003`; empty when there is none.
    pub arxiv: &'static str,
}

impl Reference {
    /// One line: authors, title, year, arXiv number.
    pub fn line(&self) -> String {
        let arxiv = if self.arxiv.is_empty() {
            String::new()
        } else {
            format!(", arXiv {}", self.arxiv)
        };
        format!(
            "{}, \"{}\" ({}){arxiv}",
            self.authors.join(", "),
            self.title,
            self.year
        )
    }

    /// A BibTeX entry.
    pub fn bibtex(&self) -> String {
        let Self {
            key,
            title,
            year,
            arxiv,
            ..
        } = self;
        let authors = self.authors.join(" and ");
        let eprint = if arxiv.is_empty() {
            String::new()
        } else {
            format!("  eprint = {{{arxiv}}},\n  archivePrefix = {{arXiv}},\n")
        };
        format!(
            "@article{{{key},\n  title = {{{title}}},\n  author = {{{authors}}},\n  year = {{{year}}},\n{eprint}}}"
        )
    }
}
