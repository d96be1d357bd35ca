//! The embedded fonts: how wide a text is, and its glyphs' outlines. See `README.md` beside for what they hold.

use ab_glyph::{Font, FontRef, GlyphId};
use std::sync::LazyLock;

/// What SVG files ask for: Inter where it is installed, else a sans-serif of about its width.
pub(crate) const FAMILY: &str =
    "Inter, Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif";

/// Height of capitals in ems.
pub(crate) const CAP_HEIGHT: f64 = 0.727;

/// In the order in which a character is looked up. (That both files parse is held by a test.)
static FONTS: LazyLock<Vec<FontRef<'static>>> = LazyLock::new(|| {
    let files: [&'static [u8]; 2] = [
        include_bytes!("inter-subset.otf"),
        include_bytes!("dejavu-math.ttf"),
    ];
    files
        .into_iter()
        .filter_map(|bytes| FontRef::try_from_slice(bytes).ok())
        .collect()
});

/// The font that has `character` and the glyph's number in it; the first font's empty box if none has.
pub(crate) fn glyph(character: char) -> Option<(&'static FontRef<'static>, GlyphId)> {
    FONTS
        .iter()
        .map(|font| (font, font.glyph_id(character)))
        .find(|(_, id)| id.0 != 0)
        .or_else(|| FONTS.first().map(|font| (font, GlyphId(0))))
}

/// The advance of `character` in ems.
pub(crate) fn advance(character: char) -> f64 {
    match glyph(character) {
        // Ideographs and emoji: the viewer's own font draws them one em wide.
        Some((_, GlyphId(0))) if u32::from(character) >= 0x1100 => 1.0,
        Some((font, id)) => {
            let units = font.units_per_em().unwrap_or(1000.0);
            f64::from(font.h_advance_unscaled(id) / units)
        }
        None => 0.6,
    }
}

/// The width of a line of text at `size` pixels an em.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// `text` in lines no wider than `room` pixels, at most `lines` of them: broken at spaces, and what still does not fit
/// is cut with an ellipsis.
pub(crate) fn wrap(text: &str, size: f64, room: f64, lines: usize) -> Vec<String> {
    let mut result: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let longer = if line.is_empty() {
                word.to_string()
            } else {
                format!("{line} {word}")
            };
            if line.is_empty() || width(&longer, size) <= room {
                line = longer;
            } else {
                result.push(std::mem::replace(&mut line, word.to_string()));
            }
        }
        if !line.is_empty() {
            result.push(line);
        }
    }
    if result.len() > lines {
        let rest = result.split_off(lines.saturating_sub(1)).join(" ");
        result.push(rest);
    }
    result.iter().map(|line| cut(line, size, room)).collect()
}

/// `text`, or its beginning with an ellipsis, no wider than `room` pixels.
pub(crate) fn cut(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_string();
    }
    let mut used = width("…", size);
    let mut kept = String::new();
    for character in text.chars() {
        used += advance(character) * size;
        if used > room {
            break;
        }
        kept.push(character);
    }
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_fonts_parse_and_hold_what_papers_write() {
        assert_eq!(FONTS.len(), 2);
        for character in "aZ09αβλσθµ×−±≤≈∞√∑∫∂∇∈∝ℝ‖→…–é10⁻⁵₂".chars()
        {
            let (_, id) = glyph(character).unwrap();
            assert_ne!(id.0, 0, "no glyph for {character}");
        }
    }

    #[test]
    fn widths_scale_and_add_up() {
        assert!((width("Wi", 20.0) - 2.0 * (width("W", 10.0) + width("i", 10.0))).abs() < 1e-9);
        assert!(width("W", 10.0) > 2.0 * width("i", 10.0));
        assert_eq!(width("", 12.0), 0.0);
        assert_eq!(width("語", 12.0), 12.0);
    }

    #[test]
    fn text_is_wrapped_and_cut_to_the_room() {
        let text = "a rather long title that has to be broken into lines";
        let lines = wrap(text, 12.0, 120.0, 10);
        assert!(lines.len() > 2);
        assert_eq!(lines.join(" "), text);
        let two = wrap(text, 12.0, 120.0, 2);
        assert_eq!(two.len(), 2);
        assert!(two[1].ends_with('…') && width(&two[1], 12.0) <= 120.0);
        assert_eq!(cut("unbreakable", 12.0, width("unb…", 12.0) + 0.1), "unb…");
        assert!(wrap("", 12.0, 100.0, 3).is_empty());
    }
}
