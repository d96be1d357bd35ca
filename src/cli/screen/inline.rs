//! Pictures inside the terminal: which protocol it speaks (kitty, iTerm2, sixel), and the sequences.
//!
//! The environment decides where it can; otherwise the terminal itself is asked, once, when the
//! first figure is drawn. In a multiplexer, and whenever in doubt, figures are drawn with characters.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{image::Image, query, sixel};

/// Widest picture, in columns: wider than this the eye wanders.
const MAX_COLUMNS: usize = 88;

/// The variable that overrides the detection.
pub const VARIABLE: &str = "RHAPSODE_GRAPHICS";

/// How a terminal shows pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The kitty graphics protocol: PNG in base64, in pieces of 4096 characters.
    Kitty,
    /// iTerm2's inline images: a whole file in base64.
    Iterm2,
    /// Sixel, for cells of so many pixels.
    Sixel {
        /// Width of a character cell in pixels.
        cell_width: usize,
    },
    /// None: the drawing in characters.
    Characters,
}

/// What the environment says about the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It is clear.
    Is(Protocol),
    /// The terminal must be asked.
    Ask,
}

/// The protocol of the terminal behind standard output, which must be one.
pub fn detect() -> Protocol {
    match from_environment(&|name| std::env::var(name).ok().filter(|value| !value.is_empty())) {
        Known::Is(protocol) => protocol,
        Known::Ask => query::ask().map_or(Protocol::Characters, |answer| from_answer(&answer)),
    }
}

/// What the user chose and we do not know, if so.
pub fn unknown_choice() -> Option<String> {
    std::env::var(VARIABLE)
        .ok()
        .filter(|name| !name.is_empty() && by_name(name).is_none())
}

/// The protocol by the name that the user may give it.
fn by_name(name: &str) -> Option<Protocol> {
    match name {
        "kitty" => Some(Protocol::Kitty),
        "iterm2" => Some(Protocol::Iterm2),
        "sixel" => Some(Protocol::Sixel {
            cell_width: query::CELL_WIDTH,
        }),
        "characters" => Some(Protocol::Characters),
        _ => None,
    }
}

/// What the environment variables tell. A multiplexer comes first: it inherits the variables of the
/// terminal in which it was started, and passes no pictures on.
fn from_environment(get: &dyn Fn(&str) -> Option<String>) -> Known {
    if let Some(protocol) = get(VARIABLE).and_then(|name| by_name(&name)) {
        return Known::Is(protocol);
    }
    let term = get("TERM").unwrap_or_default();
    let program = get("TERM_PROGRAM").unwrap_or_default();
    let multiplexed = ["TMUX", "STY", "ZELLIJ"]
        .iter()
        .any(|name| get(name).is_some());
    if multiplexed
        || ["screen", "tmux", "dumb", "linux"]
            .iter()
            .any(|name| term.starts_with(name))
        || term.is_empty()
    {
        return Known::Is(Protocol::Characters);
    }
    if get("KITTY_WINDOW_ID").is_some()
        || term.contains("kitty")
        || term.contains("ghostty")
        || program == "ghostty"
    {
        return Known::Is(Protocol::Kitty);
    }
    let iterm = get("LC_TERMINAL").is_some_and(|terminal| terminal == "iTerm2");
    if iterm || ["iTerm.app", "WezTerm", "mintty"].contains(&program.as_str()) {
        return Known::Is(Protocol::Iterm2);
    }
    Known::Ask
}

/// What the terminal's answer tells: kitty's `OK`, or `4` among the device attributes for sixel.
fn from_answer(answer: &str) -> Protocol {
    if answer.contains("\x1b_Gi=31;OK") {
        return Protocol::Kitty;
    }
    let attributes = answer
        .rsplit("\x1b[?")
        .next()
        .and_then(|rest| rest.strip_suffix('c'))
        .unwrap_or("");
    if !attributes.split(';').any(|attribute| attribute == "4") {
        return Protocol::Characters;
    }
    // `ESC [ 6 ; height ; width t`: the size of a cell.
    let cell = answer
        .split("\x1b[6;")
        .nth(1)
        .and_then(|rest| rest.split(['t', '\x1b']).next());
    let width = cell
        .and_then(|sizes| sizes.split(';').nth(1))
        .and_then(|width| width.parse().ok());
    Protocol::Sixel {
        cell_width: width.filter(|&w| w > 0).unwrap_or(query::CELL_WIDTH),
    }
}

impl Protocol {
    /// The sequence that draws this PNG (in base64) where the cursor is and leaves the cursor at the
    /// start of a line below; nothing where the protocol or the picture does not allow it.
    pub fn draw(self, png_base64: &str, terminal_columns: usize) -> Option<String> {
        let columns = terminal_columns.saturating_sub(2).clamp(1, MAX_COLUMNS);
        match self {
            Protocol::Kitty => Some(kitty(png_base64, columns)),
            Protocol::Iterm2 => {
                let size = STANDARD.decode(png_base64).ok()?.len();
                Some(format!(
                    "\x1b]1337;File=inline=1;size={size};width={columns};preserveAspectRatio=1:{png_base64}\x07\n"
                ))
            }
            Protocol::Sixel { cell_width } => {
                let image = Image::from_png(&STANDARD.decode(png_base64).ok()?).ok()?;
                Some(sixel::encode(&image.fit_width(columns * cell_width)) + "\n")
            }
            Protocol::Characters => None,
        }
    }
}

/// `a=T` sends and shows, `f=100` is PNG, `q=2` silences the answers, `m=1` says that more pieces come.
fn kitty(png_base64: &str, columns: usize) -> String {
    let mut out = String::with_capacity(png_base64.len() + png_base64.len() / 100 + 64);
    let mut rest = png_base64;
    let mut control = format!("a=T,f=100,q=2,c={columns},");
    loop {
        // Base64 is ASCII; should it not be, the whole rest goes into one piece.
        let (piece, next) = rest.split_at_checked(4096).unwrap_or((rest, ""));
        let more = u8::from(!next.is_empty());
        out.push_str(&format!("\x1b_G{control}m={more};{piece}\x1b\\"));
        if next.is_empty() {
            out.push('\n');
            return out;
        }
        control.clear();
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::{super::image::tests::png_of, *};

    fn environment(pairs: &[(&str, &str)]) -> Known {
        from_environment(&|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn the_environment_decides_where_it_can() {
        let xterm = ("TERM", "xterm-256color");
        assert_eq!(
            environment(&[("TERM", "xterm-kitty")]),
            Known::Is(Protocol::Kitty)
        );
        assert_eq!(
            environment(&[xterm, ("TERM_PROGRAM", "ghostty")]),
            Known::Is(Protocol::Kitty)
        );
        assert_eq!(
            environment(&[xterm, ("TERM_PROGRAM", "iTerm.app")]),
            Known::Is(Protocol::Iterm2)
        );
        assert_eq!(
            environment(&[xterm, ("TERM_PROGRAM", "WezTerm")]),
            Known::Is(Protocol::Iterm2)
        );
        assert_eq!(environment(&[xterm]), Known::Ask);
        assert_eq!(environment(&[]), Known::Is(Protocol::Characters));
        assert_eq!(
            environment(&[("TERM", "dumb")]),
            Known::Is(Protocol::Characters)
        );
    }

    #[test]
    fn a_multiplexer_or_the_user_overrides_it() {
        let kitty = ("KITTY_WINDOW_ID", "1");
        assert_eq!(
            environment(&[("TERM", "tmux-256color"), kitty]),
            Known::Is(Protocol::Characters)
        );
        assert_eq!(
            environment(&[("TERM", "xterm"), ("TMUX", "/x"), kitty]),
            Known::Is(Protocol::Characters)
        );
        assert_eq!(
            environment(&[("TERM", "xterm-kitty"), (VARIABLE, "characters")]),
            Known::Is(Protocol::Characters)
        );
        assert_eq!(
            environment(&[("TERM", "tmux"), (VARIABLE, "kitty")]),
            Known::Is(Protocol::Kitty)
        );
    }

    #[test]
    fn the_terminals_answer_is_read() {
        assert_eq!(
            from_answer("\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b[?62;4c"),
            Protocol::Kitty
        );
        assert_eq!(
            from_answer("\x1b[6;20;9t\x1b[?62;4;22c"),
            Protocol::Sixel { cell_width: 9 }
        );
        assert_eq!(
            from_answer("\x1b[?62;4c"),
            Protocol::Sixel {
                cell_width: query::CELL_WIDTH
            }
        );
        assert_eq!(from_answer("\x1b[?64;1;2;6;22c"), Protocol::Characters);
        assert_eq!(from_answer(""), Protocol::Characters);
    }

    #[test]
    fn kitty_sends_pieces_and_ends_them() {
        let long = "A".repeat(4096 * 2 + 4);
        let out = kitty(&long, 80);
        let heads: Vec<&str> = out
            .split("\x1b_G")
            .skip(1)
            .filter_map(|piece| piece.split(';').next())
            .collect();
        assert_eq!(heads, ["a=T,f=100,q=2,c=80,m=1", "m=1", "m=0"]);
        assert_eq!(out.matches('A').count(), long.len());
    }

    #[test]
    fn every_protocol_draws_and_characters_do_not() {
        let png = STANDARD.encode(png_of(2, 1, &[255, 0, 0, 255, 0, 0, 255, 255]));
        let iterm = Protocol::Iterm2.draw(&png, 80).unwrap();
        assert!(
            iterm.starts_with("\x1b]1337;File=inline=1;size=") && iterm.ends_with("\x07\n"),
            "{iterm:?}"
        );
        let sixel = Protocol::Sixel { cell_width: 8 }.draw(&png, 80).unwrap();
        assert!(sixel.starts_with("\x1bP0;1;0q\"1;1;2;1"), "{sixel:?}");
        assert_eq!(
            Protocol::Sixel { cell_width: 8 }.draw("no base64!", 80),
            None
        );
        assert_eq!(Protocol::Characters.draw(&png, 80), None);
    }
}
