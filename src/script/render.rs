//! Draws a diagnostic for a terminal or a log: header, place, the line with a caret under what is
//! meant, the chain of calls, hints.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

use crate::{Diagnostic, Frame, Kind, Place, Severity};

/// Columns between tab stops: terminals differ, so tabs are drawn as that many spaces at most.
const TAB: usize = 4;
/// Columns of source shown at most; of longer lines the part around the caret.
const WIDEST: usize = 120;
/// Calls shown at most; a runaway recursion has many.
const MOST_FRAMES: usize = 12;

/// The colours of a drawing: empty without colour.
struct Paint {
    error: &'static str,
    gutter: &'static str,
    hint: &'static str,
    bold: &'static str,
    plain: &'static str,
}

const COLOUR: Paint = Paint {
    error: "\x1b[1;31m",
    gutter: "\x1b[34m",
    hint: "\x1b[36m",
    bold: "\x1b[1m",
    plain: "\x1b[0m",
};
const WARNING: Paint = Paint {
    error: "\x1b[1;33m",
    ..COLOUR
};
const NO_COLOUR: Paint = Paint {
    error: "",
    gutter: "",
    hint: "",
    bold: "",
    plain: "",
};

impl Diagnostic {
    /// The diagnostic as text, ending with a line break; with ANSI colours if wanted.
    pub fn render(&self, color: bool) -> String {
        let paint = match (color, self.severity) {
            (false, _) => &NO_COLOUR,
            (true, Severity::Error) => &COLOUR,
            (true, Severity::Warning) => &WARNING,
        };
        let header = match (self.severity, self.kind) {
            (Severity::Warning, _) => "warning",
            (_, Kind::Thrown) => "error",
            (_, kind) => kind.name(),
        };
        let mut out = String::new();
        push(
            &mut out,
            format_args!(
                "{}{header}{}{}: {}{}\n",
                paint.error, paint.plain, paint.bold, self.message, paint.plain
            ),
        );
        let width = self.gutter();
        if let Some(place) = &self.place {
            write_place(&mut out, place, width, paint);
        }
        for frame in self.trace.iter().take(MOST_FRAMES) {
            write_frame(&mut out, frame, width, paint);
        }
        if self.trace.len() > MOST_FRAMES {
            let more = self.trace.len() - MOST_FRAMES;
            push(
                &mut out,
                format_args!(
                    "{:width$} {}={} and {more} calls more\n",
                    "", paint.gutter, paint.plain
                ),
            );
        }
        for hint in &self.hints {
            push(
                &mut out,
                format_args!(
                    "{:width$} {}={} {}hint:{} {hint}\n",
                    "", paint.gutter, paint.plain, paint.hint, paint.plain
                ),
            );
        }
        out
    }

    /// The columns of the line number, and one before it.
    fn gutter(&self) -> usize {
        self.place
            .as_ref()
            .map_or(1, |place| place.line.to_string().len())
            + 1
    }
}

/// Formatting into a string cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments) {
    let _ = out.write_fmt(text);
}

fn write_place(out: &mut String, place: &Place, width: usize, paint: &Paint) {
    let Paint {
        gutter,
        plain,
        error,
        ..
    } = paint;
    let line = Line::of(place);
    push(
        out,
        format_args!(
            "{:width$}{gutter}-->{plain} {}:{}:{}\n",
            "", place.source, place.line, place.column
        ),
    );
    push(out, format_args!("{:width$} {gutter}|{plain}\n", ""));
    push(
        out,
        format_args!("{gutter}{:>width$} |{plain} {}\n", place.line, line.text),
    );
    push(
        out,
        format_args!(
            "{:width$} {gutter}|{plain} {:before$}{error}{}{plain}\n",
            "",
            "",
            "^".repeat(line.marked),
            before = line.before
        ),
    );
}

fn write_frame(out: &mut String, frame: &Frame, width: usize, paint: &Paint) {
    let Paint { gutter, plain, .. } = paint;
    match &frame.place {
        Some(place) => {
            let line = place.text.trim();
            push(
                out,
                format_args!(
                    "{:width$} {gutter}={plain} in {}, called at {}:{}:{}: {line}\n",
                    "",
                    name(frame),
                    place.source,
                    place.line,
                    place.column
                ),
            );
        }
        None => push(
            out,
            format_args!("{:width$} {gutter}={plain} in {}\n", "", name(frame)),
        ),
    }
}

fn name(frame: &Frame) -> String {
    if frame.function == "closure" {
        "a closure".into()
    } else {
        format!("`{}`", frame.function)
    }
}

/// A source line as it is drawn.
struct Line {
    text: String,
    /// Columns before the carets.
    before: usize,
    /// Carets.
    marked: usize,
}

impl Line {
    /// Tabs become spaces, control characters are left out, long lines are cut around the caret.
    fn of(place: &Place) -> Self {
        let cells: Vec<(String, usize)> = drawn(&place.text);
        let columns = |range: std::ops::Range<usize>| {
            cells
                .iter()
                .take(range.end)
                .skip(range.start)
                .map(|(_, width)| width)
                .sum::<usize>()
        };
        let first = place.column.saturating_sub(1);
        let last = place.end.saturating_sub(1).max(first + 1);
        let (mut before, mut marked) = (columns(0..first), columns(first..last).max(1));
        // A caret behind the end of the line still stands under nothing.
        marked = marked.max(last.saturating_sub(cells.len().max(first)));
        let total = columns(0..cells.len());
        let mut start = 0;
        let mut text = String::new();
        if total > WIDEST {
            while before > WIDEST / 2 && start < first {
                before -= cells.get(start).map_or(0, |(_, width)| *width);
                start += 1;
            }
            if start > 0 {
                text.push('…');
                before += 1;
            }
        }
        let mut used = usize::from(start > 0);
        for (cell, width) in cells.iter().skip(start) {
            if used + width > WIDEST {
                text.push('…');
                break;
            }
            text.push_str(cell);
            used += width;
        }
        Self {
            text,
            before,
            marked: marked.min(WIDEST.saturating_sub(before).max(1)),
        }
    }
}

/// Every code point with the columns that it takes.
fn drawn(text: &str) -> Vec<(String, usize)> {
    let mut column = 0;
    let mut cells = Vec::new();
    for c in text.chars() {
        let cell = match c {
            '\t' => {
                let width = TAB - column % TAB;
                (" ".repeat(width), width)
            }
            c if c.is_control() => (String::new(), 0),
            c => (c.to_string(), c.width().unwrap_or(0)),
        };
        column += cell.1;
        cells.push(cell);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, column: usize, end: usize) -> Diagnostic {
        let place = Place {
            source: "cell 3".into(),
            line: 2,
            column,
            end,
            text: text.into(),
        };
        Diagnostic {
            place: Some(place),
            ..Diagnostic::new(Kind::Option, "unknown option `hiden`")
        }
    }

    fn caret(text: &str, column: usize, end: usize) -> (String, String) {
        let drawn = at(text, column, end).render(false);
        let lines: Vec<&str> = drawn.lines().collect();
        (lines[3][5..].to_string(), lines[4][5..].to_string())
    }

    #[test]
    fn the_whole_drawing() {
        let mut diagnostic = at("let m = f(#{ hiden: 1 });", 14, 19);
        diagnostic.trace.push(Frame {
            function: "train".into(),
            place: Some(Place {
                source: "cell 4".into(),
                line: 11,
                column: 1,
                end: 6,
                text: "  train();".into(),
            }),
        });
        diagnostic.hints.push("did you mean `hidden`?".into());
        let expected = "\
option error: unknown option `hiden`
  --> cell 3:2:14
   |
 2 | let m = f(#{ hiden: 1 });
   |              ^^^^^
   = in `train`, called at cell 4:11:1: train();
   = hint: did you mean `hidden`?
";
        assert_eq!(diagnostic.render(false), expected);
        assert!(
            diagnostic
                .render(true)
                .starts_with("\x1b[1;31moption error\x1b[0m")
        );
    }

    #[test]
    fn tabs_wide_and_combining_characters_do_not_shift_the_caret() {
        assert_eq!(caret("\tx = y", 2, 3), ("    x = y".into(), "    ^".into()));
        assert_eq!(caret("a\tx", 3, 4), ("a   x".into(), "    ^".into()));
        assert_eq!(
            caret("\"日本\" + x", 8, 9),
            ("\"日本\" + x".into(), "         ^".into())
        );
        assert_eq!(
            caret("e\u{301} + x", 6, 7),
            ("e\u{301} + x".into(), "    ^".into())
        );
        assert_eq!(caret("日本 + x", 1, 3), ("日本 + x".into(), "^^^^".into()));
    }

    #[test]
    fn a_caret_may_stand_behind_the_line() {
        assert_eq!(caret("let x", 6, 7), ("let x".into(), "     ^".into()));
        assert_eq!(caret("", 1, 2), ("".into(), "^".into()));
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let line = format!("{}x{}", "a".repeat(500), "b".repeat(500));
        let (text, marks) = caret(&line, 501, 502);
        assert!(
            text.starts_with('…') && text.ends_with('…') && text.chars().count() <= 122,
            "{text}"
        );
        assert_eq!(
            text.chars().position(|c| c == 'x'),
            marks.chars().position(|c| c == '^')
        );
    }
}
