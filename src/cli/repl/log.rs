//! The cells that worked, for `:save`.

use rhapsode_script::{Completeness, MagicLines, Session};

/// The cells that worked, as the statements of a script.
#[derive(Default)]
pub struct Log {
    cells: Vec<String>,
}

impl Log {
    /// Adds a cell that worked; `shown` when it had an output. In a script only the last value is shown, so
    /// an expression that was shown becomes `show(..)`, and a statement gets the `;` that a cell may omit. Magics, which
    /// no script has, become comments.
    pub fn add(&mut self, session: &Session, code: &str, shown: bool) {
        let magics = MagicLines::of(code);
        let lines = code.split('\n').enumerate();
        let lines = lines.map(|(i, line)| match magics.contains(i) {
            true => format!("//> {line}"),
            false => line.to_string(),
        });
        let code = lines.collect::<Vec<_>>().join("\n");
        let is_code = |text: String| session.is_complete(&text) == Completeness::Complete;
        let code = code.trim_end();
        // A comment at the end would swallow what is put behind it.
        let comment = code
            .lines()
            .next_back()
            .is_some_and(|line| line.contains("//"));
        let end = if comment { "\n" } else { "" };
        self.cells
            .push(if code.is_empty() || is_code(format!("{code}\n0;")) {
                code.to_string()
            } else if shown && is_code(format!("show({code}{end})")) {
                format!("show({code}{end});")
            } else {
                format!("{code}{end};")
            });
    }

    /// Adds a script that was loaded.
    pub fn add_file(&mut self, session: &Session, name: &str, code: &str, shown: bool) {
        self.add(session, code, shown);
        if let Some(cell) = self.cells.last_mut() {
            *cell = format!("// {name}\n{cell}");
        }
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.cells.clear();
    }

    /// All of them as a script.
    pub fn script(&self) -> String {
        self.cells.iter().map(|cell| format!("{cell}\n")).collect()
    }
}
