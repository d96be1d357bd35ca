//! Rhai's own lexer, made tolerant: it goes on after an error, keeps comments, and says where
//! every token begins and ends in bytes. Colouring, completion and carets read this.

use rhai::{InputStream, Position, Token, TokenizeState, get_next_token};

/// A token and the bytes it covers.
#[derive(Clone, Debug)]
pub(crate) struct Lexeme {
    /// What the lexer made of it.
    pub token: Token,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// All tokens of a piece of code, and whether it breaks off in the middle of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lexed {
    /// The tokens in order, comments among them.
    pub lexemes: Vec<Lexeme>,
    /// A block comment, a text in back-ticks or a raw string is still open at the end.
    pub open: bool,
}

/// The characters of a text, with the byte at which the lexer stands.
struct Bytes<'a> {
    text: &'a str,
    at: usize,
}

impl InputStream for Bytes<'_> {
    fn unget(&mut self, ch: char) {
        self.at -= ch.len_utf8();
    }

    fn get_next(&mut self) -> Option<char> {
        let next = self.peek_next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn peek_next(&mut self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }
}

/// Takes a text apart into tokens.
pub(crate) fn lex(text: &str) -> Lexed {
    let mut stream = Bytes { text, at: 0 };
    let mut state = TokenizeState {
        include_comments: true,
        ..Default::default()
    };
    let mut position = Position::START;
    let mut lexed = Lexed::default();
    // How many braces are open inside each `${...}` of a text in back-ticks.
    let mut interpolations: Vec<usize> = Vec::new();
    let mut inside_text = false;
    loop {
        let start = if inside_text {
            stream.at
        } else {
            skip_space(text, stream.at)
        };
        let (token, _) = get_next_token(&mut stream, &mut state, &mut position);
        if matches!(token, Token::EOF) || stream.at <= start {
            lexed.open |= state.comment_level > 0 || inside_text;
            return lexed;
        }
        inside_text = false;
        match &token {
            Token::InterpolatedString(_) => interpolations.push(0),
            Token::LeftBrace | Token::MapStart => {
                if let Some(depth) = interpolations.last_mut() {
                    *depth += 1;
                }
            }
            Token::RightBrace => {
                if let Some(depth) = interpolations.last_mut() {
                    *depth = depth.saturating_sub(1);
                    if *depth == 0 {
                        interpolations.pop();
                        state.is_within_text_terminated_by = Some("`".into());
                        inside_text = true;
                    }
                }
            }
            Token::StringConstant(_) if state.is_within_text_terminated_by.is_some() => {
                state.is_within_text_terminated_by = None;
                lexed.open = true;
            }
            _ => {}
        }
        lexed.lexemes.push(Lexeme {
            token,
            start,
            end: stream.at,
        });
    }
}

/// The first byte from `at` on that is not white space.
fn skip_space(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or("");
    at + (rest.len() - rest.trim_start().len())
}

impl Lexed {
    /// The tokens without comments.
    pub fn code(&self) -> impl DoubleEndedIterator<Item = &Lexeme> {
        self.lexemes
            .iter()
            .filter(|lexeme| !matches!(lexeme.token, Token::Comment(_)))
    }

    /// The token that covers a byte.
    pub fn at(&self, byte: usize) -> Option<(usize, &Lexeme)> {
        let index = self.lexemes.partition_point(|lexeme| lexeme.end <= byte);
        let lexeme = self.lexemes.get(index)?;
        (lexeme.start <= byte).then_some((index, lexeme))
    }

    /// Whether the last token is a `;`, so that a cell shows nothing.
    pub fn ends_with_semicolon(&self) -> bool {
        self.code()
            .next_back()
            .is_some_and(|lexeme| matches!(lexeme.token, Token::SemiColon))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(code: &str) -> Vec<&str> {
        lex(code)
            .lexemes
            .iter()
            .map(|l| &code[l.start..l.end])
            .collect()
    }

    #[test]
    fn tokens_cover_the_code_exactly() {
        assert_eq!(
            pieces("let x = 1.5e3; // größe\nx.t()"),
            [
                "let",
                "x",
                "=",
                "1.5e3",
                ";",
                "// größe\n",
                "x",
                ".",
                "t",
                "()"
            ]
        );
        assert_eq!(pieces("\"ä\" + 'ü'"), ["\"ä\"", "+", "'ü'"]);
        assert_eq!(pieces("a @ b"), ["a", "@", "b"]);
    }

    #[test]
    fn text_with_interpolation_returns_to_text() {
        assert_eq!(
            pieces("`a ${#{x: 1}.x} b` + 1"),
            [
                "`a $", "{", "#{", "x", ":", "1", "}", ".", "x", "}", " b`", "+", "1"
            ]
        );
        assert!(!lex("`a ${x} b`").open);
    }

    #[test]
    fn what_breaks_off_is_open() {
        assert!(lex("`abc").open);
        assert!(lex("`abc ${x} de").open);
        assert!(lex("1 /* abc").open);
        assert!(!lex("\"abc").open);
        assert!(!lex("let x = (").open);
    }

    #[test]
    fn errors_do_not_stop_it() {
        assert_eq!(pieces("1 \u{1F980} + 2"), ["1", "\u{1F980}", "+", "2"]);
        assert_eq!(pieces("\"a\nlet y").last(), Some(&"y"));
    }
}
