//! Help as HTML, for tooltips: the Markdown that our help is written in, and no more of it. Headings, lists,
//! tables, fenced code, `code`, **bold**.

use crate::progress::escape;

/// Markdown of our help as HTML.
pub fn html(markdown: &str) -> String {
    let mut out = String::new();
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") {
            let code: Vec<String> = lines
                .by_ref()
                .take_while(|line| !line.trim_start().starts_with("```"))
                .map(escape)
                .collect();
            out += &format!("<pre>{}</pre>", code.join("\n"));
        } else if let Some(title) = trimmed.strip_prefix('#') {
            out += &format!("<h4>{}</h4>", inline(title.trim_start_matches('#').trim()));
        } else if trimmed.starts_with('|') {
            let mut rows = vec![trimmed];
            while let Some(row) = lines.next_if(|line| line.trim_start().starts_with('|')) {
                rows.push(row.trim_start());
            }
            out += &table(&rows);
        } else if trimmed.starts_with("- ") {
            let mut items = vec![trimmed.trim_start_matches("- ").to_string()];
            while let Some(line) = lines.next_if(|line| !line.trim().is_empty()) {
                match line.trim_start().strip_prefix("- ") {
                    Some(item) => items.push(item.to_string()),
                    None => items.iter_mut().last().into_iter().for_each(|item| {
                        item.push(' ');
                        item.push_str(line.trim());
                    }),
                }
            }
            let items: Vec<String> = items
                .iter()
                .map(|item| format!("<li>{}</li>", inline(item)))
                .collect();
            out += &format!("<ul>{}</ul>", items.concat());
        } else if !trimmed.is_empty() {
            let mut text = vec![trimmed];
            let goes_on = |line: &&str| {
                let line = line.trim_start();
                !line.is_empty()
                    && !["```", "#", "|", "- "]
                        .iter()
                        .any(|mark| line.starts_with(mark))
            };
            while let Some(line) = lines.next_if(goes_on) {
                text.push(line.trim());
            }
            out += &format!("<p>{}</p>", inline(&text.join(" ")));
        }
    }
    out
}

/// A table; the line of dashes below its head is not shown.
fn table(rows: &[&str]) -> String {
    let is_rule = |row: &&&str| !row.chars().all(|c| "|-: ".contains(c));
    let mut out = String::from("<table>");
    for (i, row) in rows.iter().filter(is_rule).enumerate() {
        let tag = if i == 0 { "th" } else { "td" };
        // A bar inside of a cell is written `\|`.
        let cells = row.replace("\\|", "\u{0}");
        let cells = cells.trim().trim_matches('|').split('|');
        let cells: Vec<String> = cells
            .map(|cell| cell.trim().replace('\u{0}', "|"))
            .map(|cell| {
                format!(
                    "<{tag} style=\"text-align: left\">{}</{tag}>",
                    inline(&cell)
                )
            })
            .collect();
        out += &format!("<tr>{}</tr>", cells.concat());
    }
    out + "</table>"
}

/// Code and bold words in a line.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('`').enumerate() {
        if i % 2 == 1 {
            out += &format!("<code>{}</code>", escape(part));
            continue;
        }
        for (j, words) in part.split("**").enumerate() {
            let words = escape(words);
            out += &if j % 2 == 1 {
                format!("<b>{words}</b>")
            } else {
                words
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_markdown_becomes_html() {
        let cases = [
            ("### `f(x: int)`", "<h4><code>f(x: int)</code></h4>"),
            (
                "a < b\nand **c**\n\nd",
                "<p>a &lt; b and <b>c</b></p><p>d</p>",
            ),
            (
                "- one\n  more\n- `two`",
                "<ul><li>one more</li><li><code>two</code></li></ul>",
            ),
            (
                "```rhai\nlet x = 1 < 2;\n```\nend",
                "<pre>let x = 1 &lt; 2;</pre><p>end</p>",
            ),
            (
                "| a | b |\n|---|---|\n| 1 \\| 2 | `x` |",
                "<table><tr><th style=\"text-align: left\">a</th><th style=\"text-align: left\">b</th></tr>\
                 <tr><td style=\"text-align: left\">1 | 2</td><td style=\"text-align: left\"><code>x</code></td></tr></table>",
            ),
        ];
        for (markdown, expected) in cases {
            assert_eq!(html(markdown), expected);
        }
    }
}
