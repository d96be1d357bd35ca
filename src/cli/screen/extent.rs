//! How much of the terminal a cell has written, so that `clear_output()` can take it away again.

/// The text that a cell has written since its start or the last clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The width of each line in columns; the last one is not ended yet. Nothing when it cannot be told,
    /// after pictures.
    widths: Option<Vec<usize>>,
    /// Whether the cursor stands at the start of a line.
    line_start: bool,
}

impl Default for Extent {
    fn default() -> Self {
        Self {
            widths: Some(vec![0]),
            line_start: true,
        }
    }
}

impl Extent {
    /// Text was written.
    pub fn add(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.line_start = text.ends_with('\n');
        let Some(widths) = &mut self.widths else {
            return;
        };
        for (n, part) in text.split('\n').enumerate() {
            let width = console::measure_text_width(part);
            match widths.last_mut() {
                Some(last) if n == 0 => *last += width,
                _ => widths.push(width),
            }
        }
    }

    /// Something whose size is unknown was written, ending at the start of a line.
    pub fn forget(&mut self) {
        *self = Self {
            widths: None,
            line_start: true,
        };
    }

    /// Whether the cursor stands at the start of a line.
    pub fn at_line_start(&self) -> bool {
        self.line_start
    }

    /// The sequence that goes back to where the cell began to write and clears from there; not beyond the
    /// top of the terminal, and nothing when the way back is unknown.
    pub fn clear_sequence(&self, terminal_rows: usize, terminal_columns: usize) -> String {
        let Some(widths) = &self.widths else {
            return String::new();
        };
        let columns = terminal_columns.max(1);
        let rows: usize = widths
            .iter()
            .map(|&width| width.div_ceil(columns).max(1))
            .sum();
        let up = rows.saturating_sub(1).min(terminal_rows.saturating_sub(1));
        let up = if up > 0 {
            format!("\x1b[{up}A")
        } else {
            String::new()
        };
        format!("\r{up}\x1b[J")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_goes_back_over_wrapped_lines() {
        let mut extent = Extent::default();
        extent.add("one\ntwo");
        extent.add(" and more of it\n");
        extent.add("\x1b[31mred\x1b[0m");
        assert!(!extent.at_line_start());
        // `one`, `two and more of it` on two rows of 10 columns, `red`.
        assert_eq!(extent.clear_sequence(24, 10), "\r\x1b[3A\x1b[J");
        assert_eq!(extent.clear_sequence(2, 10), "\r\x1b[1A\x1b[J");
    }

    #[test]
    fn nothing_written_or_unknown() {
        assert_eq!(Extent::default().clear_sequence(24, 80), "\r\x1b[J");
        let mut extent = Extent::default();
        extent.forget();
        extent.add("text");
        assert_eq!(extent.clear_sequence(24, 80), "");
    }
}
