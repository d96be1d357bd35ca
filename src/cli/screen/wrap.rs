//! Long lines of help broken between words, so that the terminal does not break them inside.

/// The text with no line wider than `columns`, where words allow it; what is broken off stands under the
/// start of its line.
pub fn wrap(text: &str, columns: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let indent = line.strip_suffix(line.trim_start()).unwrap_or("");
        let mut width = 0;
        for (n, word) in line.trim_start().split(' ').enumerate() {
            let wide = console::measure_text_width(word);
            if n == 0 {
                out.push_str(indent);
                width = console::measure_text_width(indent);
            } else if width + 1 + wide > columns {
                out.truncate(out.trim_end_matches(' ').len());
                out.push('\n');
                out.push_str(indent);
                width = console::measure_text_width(indent);
            } else {
                out.push(' ');
                width += 1;
            }
            out.push_str(word);
            width += wide;
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_keep_their_indentation() {
        assert_eq!(wrap("one two three four", 9), "one two\nthree\nfour\n");
        assert_eq!(
            wrap("  ab cd\n\n    x = [1, 2]", 6),
            "  ab\n  cd\n\n    x\n    =\n    [1,\n    2]\n"
        );
        // Spaces inside of a line that fits stay as they are.
        assert_eq!(wrap("name    int = 0", 40), "name    int = 0\n");
        assert_eq!(wrap("unbreakable", 4), "unbreakable\n");
    }
}
