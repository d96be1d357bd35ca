//! A canvas of characters: dots by braille, two pixels a cell by half blocks, bars by eighths, and text.

use crate::color::Color;
use std::fmt::Write;

/// One character's place.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Cell {
    ink: Ink,
    /// The colour of the ink; the terminal's own without.
    color: Option<[u8; 3]>,
    /// The colour behind it.
    ground: Option<[u8; 3]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Ink {
    #[default]
    Nothing,
    Char(char),
    /// The right half of a wide character.
    Covered,
    /// The eight dots of a braille character, as bits.
    Dots(u8),
    /// Colours of the upper and the lower half.
    Halves([Option<[u8; 3]>; 2]),
}

/// Columns and rows of characters.
#[derive(Debug)]
pub(crate) struct Canvas {
    columns: usize,
    cells: Vec<Cell>,
}

impl Canvas {
    pub(crate) fn new(columns: usize, rows: usize) -> Self {
        Self {
            columns,
            cells: vec![Cell::default(); columns * rows],
        }
    }

    fn cell(&mut self, column: usize, row: usize) -> Option<&mut Cell> {
        let inside = column < self.columns;
        self.cells
            .get_mut(row * self.columns + column)
            .filter(|_| inside)
    }

    /// One character over whatever is there; over a picture it keeps the picture's colour behind it.
    pub(crate) fn put(&mut self, column: usize, row: usize, character: char, color: Option<Color>) {
        if let Some(cell) = self.cell(column, row) {
            let ground = match cell.ink {
                Ink::Halves([upper, lower]) => upper.or(lower),
                _ => cell.ground,
            };
            *cell = Cell {
                ink: Ink::Char(character),
                color: color.map(|c| c.rgb),
                ground,
            };
        }
    }

    /// A line of text from `column` on, cut at `end`.
    pub(crate) fn text(
        &mut self,
        column: usize,
        end: usize,
        row: usize,
        text: &str,
        color: Option<Color>,
    ) {
        let mut at = column;
        for character in cut(text, end.saturating_sub(column)).chars() {
            let width = char_width(character);
            self.put(at, row, character, color);
            if width == 2
                && let Some(cell) = self.cell(at + 1, row)
            {
                cell.ink = Ink::Covered;
            }
            at += width;
        }
    }

    /// A dot on the grid of two by four dots a cell. Text and blocks stay as they are.
    pub(crate) fn dot(&mut self, x: usize, y: usize, color: Color) {
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let bit = BITS.get(y % 4).and_then(|row| row.get(x % 2)).copied();
        if let (Some(cell), Some(bit)) = (self.cell(x / 2, y / 4), bit) {
            match &mut cell.ink {
                Ink::Dots(dots) => *dots |= bit,
                Ink::Nothing => cell.ink = Ink::Dots(bit),
                Ink::Char(_) | Ink::Covered | Ink::Halves(_) => return,
            }
            cell.color = Some(color.rgb);
        }
    }

    /// A bar in one column from the lower edge of the cell in `row` upwards, in eighths of a cell.
    pub(crate) fn bar(&mut self, column: usize, row: usize, eighths: usize, color: Color) {
        const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        for i in 0..eighths.div_ceil(8) {
            let filled = (eighths - i * 8).min(8);
            if let (Some(row), Some(block)) = (row.checked_sub(i), BLOCKS.get(filled - 1)) {
                self.put(column, row, *block, Some(color));
            }
        }
    }

    /// One of the two pixels of a cell; `y` counts half cells.
    pub(crate) fn half(&mut self, column: usize, y: usize, rgb: [u8; 3]) {
        if let Some(cell) = self.cell(column, y / 2) {
            let mut halves = match cell.ink {
                Ink::Halves(halves) => halves,
                _ => [None, None],
            };
            if let Some(half) = halves.get_mut(y % 2) {
                *half = Some(rgb);
            }
            cell.ink = Ink::Halves(halves);
        }
    }

    /// The lines, without blanks at their ends nor empty lines at the end.
    pub(crate) fn print(&self, color: bool) -> String {
        let mut text = String::new();
        for row in self.cells.chunks(self.columns.max(1)) {
            let used = row.iter().rposition(|c| c.ink != Ink::Nothing);
            let row = row.get(..used.map_or(0, |i| i + 1)).unwrap_or(row);
            let mut now = (None, None);
            for cell in row {
                let (character, ink, ground) = cell.look(color);
                if color && cell.ink != Ink::Covered && (ink, ground) != now {
                    escape(&mut text, now, (ink, ground));
                    now = (ink, ground);
                }
                text.extend(character);
            }
            if now != (None, None) {
                text.push_str("\x1b[0m");
            }
            text.push('\n');
        }
        text.truncate(text.trim_end_matches('\n').len());
        text
    }
}

type Rgb = Option<[u8; 3]>;

impl Cell {
    /// The character and its colours.
    fn look(&self, color: bool) -> (Option<char>, Rgb, Rgb) {
        match self.ink {
            Ink::Nothing => (Some(' '), None, None),
            Ink::Covered => (None, self.color, self.ground),
            Ink::Char(character) => (Some(character), self.color, self.ground),
            Ink::Dots(dots) => {
                let character = char::from_u32(0x2800 + u32::from(dots));
                (character, self.color, None)
            }
            Ink::Halves(halves) if !color => (Some(shade(halves)), None, None),
            Ink::Halves([Some(upper), lower]) => (Some('▀'), Some(upper), lower),
            Ink::Halves([None, lower]) => (Some('▄'), lower, None),
        }
    }
}

/// A character as dark or light as the two halves, for terminals without colours: full blocks are light.
fn shade(halves: [Rgb; 2]) -> char {
    const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
    let light = halves
        .into_iter()
        .flatten()
        .map(|rgb| Color { rgb, alpha: 1.0 }.lightness());
    let mean = light.sum::<f64>() / 2.0;
    let step = (mean * SHADES.len() as f64) as usize;
    SHADES.get(step).copied().unwrap_or('█')
}

/// The escape sequence from one pair of colours to another.
fn escape(text: &mut String, from: (Rgb, Rgb), to: (Rgb, Rgb)) {
    if (from.0.is_some() && to.0.is_none()) || (from.1.is_some() && to.1.is_none()) {
        text.push_str("\x1b[0m");
    }
    for (code, rgb) in [(38, to.0), (48, to.1)] {
        if let Some([r, g, b]) = rgb {
            let _ = write!(text, "\x1b[{code};2;{r};{g};{b}m");
        }
    }
}

/// How many columns a character takes: 2 for ideographs and emoji, 0 for combining marks and what does not print.
fn char_width(character: char) -> usize {
    match u32::from(character) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ if character.is_control() => 0,
        _ => 1,
    }
}

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// `text` without what takes no column, or its beginning with an ellipsis, in at most `room` columns.
pub(crate) fn cut(text: &str, room: usize) -> String {
    let printing = text.chars().filter(|c| char_width(*c) > 0);
    if width(text) <= room {
        return printing.collect();
    }
    let mut used = 1;
    let mut kept = String::new();
    for character in printing {
        used += char_width(character);
        if used > room {
            break;
        }
        kept.push(character);
    }
    if room > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Color = Color::hex(0xff0000);

    #[test]
    fn dots_gather_in_braille() {
        let mut canvas = Canvas::new(2, 1);
        canvas.dot(0, 0, RED);
        canvas.dot(1, 3, RED);
        canvas.dot(2, 1, RED);
        canvas.dot(99, 0, RED);
        canvas.dot(0, 99, RED);
        assert_eq!(canvas.print(false), "⢁⠂");
        assert_eq!(canvas.print(true), "\x1b[38;2;255;0;0m⢁⠂\x1b[0m");
    }

    #[test]
    fn halves_share_a_cell() {
        let mut canvas = Canvas::new(2, 1);
        canvas.half(0, 0, [1, 2, 3]);
        canvas.half(0, 1, [4, 5, 6]);
        canvas.half(1, 1, [255, 255, 255]);
        assert_eq!(
            canvas.print(true),
            "\x1b[38;2;1;2;3m\x1b[48;2;4;5;6m▀\x1b[0m\x1b[38;2;255;255;255m▄\x1b[0m"
        );
        assert_eq!(canvas.print(false), " ▒");
    }

    #[test]
    fn bars_grow_in_eighths() {
        let mut canvas = Canvas::new(3, 2);
        canvas.bar(0, 1, 3, RED);
        canvas.bar(1, 1, 12, RED);
        canvas.bar(2, 1, 0, RED);
        assert_eq!(canvas.print(false), " ▄\n▃█");
    }

    #[test]
    fn text_is_cut_to_columns_and_cannot_escape() {
        let mut canvas = Canvas::new(8, 1);
        canvas.text(0, 8, 0, "a\x1b[31m語b", None);
        assert_eq!(canvas.print(true), "a[31m語b");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("語語語", 4), "語…");
        assert_eq!((cut("abc", 0), width("e\u{301}語")), (String::new(), 3));
    }
}
