//! Code in the colours of the terminal.

use rhapsode_script::{Token, TokenKind};

/// A command or question mark before the code.
pub fn paint_head(head: &str) -> String {
    if head.is_empty() {
        String::new()
    } else {
        format!("\x1b[36m{head}\x1b[0m")
    }
}

/// Code in colours; the 16 of the terminal, so that its theme fits.
pub fn paint(code: &str, tokens: &[Token]) -> String {
    let mut out = String::with_capacity(code.len() * 2);
    let mut done = 0;
    for token in tokens {
        let (Some(before), Some(text)) = (
            code.get(done..token.start),
            code.get(token.start..token.end),
        ) else {
            continue;
        };
        out.push_str(before);
        match colour(token.kind) {
            Some(colour) => out.push_str(&format!("\x1b[{colour}m{text}\x1b[0m")),
            None => out.push_str(text),
        }
        done = token.end;
    }
    out.push_str(code.get(done..).unwrap_or(""));
    out
}

/// The SGR parameters of a kind of token.
fn colour(kind: TokenKind) -> Option<&'static str> {
    match kind {
        TokenKind::Keyword => Some("35"),
        TokenKind::Function => Some("34"),
        TokenKind::Module => Some("36"),
        TokenKind::Key => Some("33"),
        TokenKind::Number => Some("93"),
        TokenKind::String => Some("32"),
        TokenKind::Comment => Some("90"),
        TokenKind::Error => Some("31"),
        TokenKind::Name | TokenKind::Operator => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn painting_keeps_every_character() {
        let code = "let x = 1; // one";
        let token = |start, end, kind| Token { start, end, kind };
        let tokens = [
            token(0, 3, TokenKind::Keyword),
            token(4, 5, TokenKind::Name),
            token(11, 17, TokenKind::Comment),
        ];
        let painted = paint(code, &tokens);
        assert_eq!(painted, "\x1b[35mlet\x1b[0m x = 1; \x1b[90m// one\x1b[0m");
        assert_eq!(console::strip_ansi_codes(&painted), code);
        // Tokens that do not fit the text leave it as it is.
        assert_eq!(paint("é", &[token(0, 1, TokenKind::Name)]), "é");
    }
}
