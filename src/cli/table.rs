//! Small tables in the terminal.

/// Rows in aligned columns, two spaces apart.
pub fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |n: usize| {
        rows.iter()
            .filter_map(|row| row.get(n))
            .map(|cell| console::measure_text_width(cell))
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|n| width(n).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| console::pad_str(cell, width, console::Alignment::Left, None));
        let line: Vec<_> = cells.collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// The same, two spaces in.
pub fn indented(rows: &[Vec<String>]) -> String {
    render(rows)
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect()
}

/// `512 B`, `3.1 KiB`, `1.5 GiB`.
pub fn size_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let rows = [
            vec!["a".to_string(), "one".into()],
            vec!["ψψψ".into(), "two".into()],
        ];
        assert_eq!(render(&rows), "a    one\nψψψ  two\n");
    }

    #[test]
    fn sizes() {
        assert_eq!(
            [0, 1_023, 1_024, 5_000_000].map(size_text),
            ["0 B", "1023 B", "1.0 KiB", "4.8 MiB"]
        );
    }
}
