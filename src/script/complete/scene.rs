//! What stands around the cursor: the word being typed, what it belongs to, the call and the
//! option map it is in, and the type of what stands before a dot.

use rhai::{Dynamic, Map, Token};

use super::{closes, opens};
use crate::{
    cell::Machine,
    help::{Entry, EntryKind, Reference},
    lexer::{Lexed, Lexeme, lex},
};

/// Code with a cursor.
pub(super) struct Scene<'a> {
    pub machine: &'a Machine,
    pub code: &'a str,
    pub lexed: Lexed,
    /// The cursor in bytes.
    pub cursor: usize,
    /// How many tokens end before the word that is being typed.
    pub before: usize,
    /// Where the word that is being typed begins; the cursor where there is none.
    pub start: usize,
}

/// What is known of a value without running code.
#[derive(Clone)]
pub(super) enum Known {
    /// The value of a variable.
    Value(Dynamic),
    /// Only its type.
    Type(String),
}

/// The option map in which the cursor stands.
pub(super) struct OptionMap<'a> {
    /// The function that it is given to.
    pub entry: &'a Entry,
    /// The keys of the maps around it, outermost first.
    pub path: Vec<String>,
    /// The keys that it has already.
    pub given: Vec<String>,
    /// The key whose value is being typed.
    pub key: Option<String>,
}

impl<'a> Scene<'a> {
    /// The scene of a cursor in code points.
    pub fn new(machine: &'a Machine, code: &'a str, cursor: usize) -> Self {
        let cursor = code
            .char_indices()
            .nth(cursor)
            .map_or(code.len(), |(byte, _)| byte);
        Self::at_byte(machine, code, cursor)
    }

    /// The scene of a cursor in bytes.
    pub fn at_byte(machine: &'a Machine, code: &'a str, cursor: usize) -> Self {
        let lexed = lex(code);
        let index = lexed.lexemes.partition_point(|lexeme| lexeme.end < cursor);
        let word = lexed
            .lexemes
            .get(index)
            .filter(|lexeme| lexeme.start < cursor && is_word(code, lexeme.start));
        let (before, start) = match word {
            Some(lexeme) => (index, lexeme.start),
            None => (
                lexed.lexemes.partition_point(|lexeme| lexeme.end <= cursor),
                cursor,
            ),
        };
        Self {
            machine,
            code,
            lexed,
            cursor,
            before,
            start,
        }
    }

    /// The token so many places before the word; comments are passed over.
    pub fn token(&self, back: usize) -> Option<&Token> {
        self.index(back)
            .and_then(|index| self.lexed.lexemes.get(index))
            .map(|lexeme| &lexeme.token)
    }

    fn index(&self, back: usize) -> Option<usize> {
        let is_code = |i: &usize| {
            self.lexed
                .lexemes
                .get(*i)
                .is_some_and(|lexeme| !matches!(lexeme.token, Token::Comment(_)))
        };
        (0..self.before).rev().filter(is_code).nth(back)
    }

    /// The bytes of a string literal that the cursor stands in, without its quotation mark.
    pub fn string(&self) -> Option<(usize, &'a str)> {
        let lexeme = self
            .lexed
            .lexemes
            .iter()
            .find(|lexeme| lexeme.start < self.cursor && self.cursor <= lexeme.end)?;
        let text = self.code.get(lexeme.start..lexeme.end)?;
        let quote = text.chars().next().filter(|c| matches!(c, '"' | '`'))?;
        let closed =
            text.len() > 1 && text.ends_with(quote) && !matches!(lexeme.token, Token::LexError(_));
        if closed && self.cursor == lexeme.end {
            return None;
        }
        let start = lexeme.start + 1;
        Some((start, self.code.get(start..self.cursor)?))
    }

    /// Whether the cursor stands in a comment.
    pub fn in_comment(&self) -> bool {
        self.lexed.lexemes.iter().any(|lexeme| {
            let line = self
                .code
                .get(lexeme.start..lexeme.end)
                .is_some_and(|text| text.starts_with("//") && !text.ends_with('\n'));
            let end = if line {
                self.cursor <= lexeme.end
            } else {
                self.cursor < lexeme.end
            };
            matches!(lexeme.token, Token::Comment(_)) && lexeme.start < self.cursor && end
        })
    }

    /// The module before `::`.
    pub fn module(&self) -> Option<&str> {
        match (self.token(0)?, self.token(1)?) {
            (Token::DoubleColon, Token::Identifier(name)) => Some(name.as_str()),
            _ => None,
        }
    }

    /// What stands before the dot, when there is a dot: `Some(None)` when nothing is known of it.
    pub fn receiver(&self) -> Option<Option<Known>> {
        match self.token(0)? {
            Token::Period | Token::Elvis => Some(self.index(1).and_then(|index| self.known(index))),
            _ => None,
        }
    }

    /// What is known of the expression that ends with a token.
    pub fn known(&self, end: usize) -> Option<Known> {
        let lexemes = &self.lexed.lexemes;
        match &lexemes.get(end)?.token {
            Token::Identifier(name) => match self.behind_dot(end) {
                Some(object) => member(self.reference()?, &self.known(object)?, name),
                None => self
                    .declared(name, end)
                    .or_else(|| self.machine.context.peek(name).map(Known::Value)),
            },
            Token::StringConstant(_) => Some(Known::Type("string".into())),
            Token::IntegerConstant(_) => Some(Known::Type("int".into())),
            Token::FloatConstant(_) => Some(Known::Type("float".into())),
            Token::Unit => self.called(end.checked_sub(1)?),
            Token::RightParen => self.called(self.opening(end)?.checked_sub(1)?),
            Token::RightBracket => {
                let open = self.opening(end)?;
                match open.checked_sub(1).and_then(|index| self.known(index)) {
                    Some(Known::Type(kind)) if kind == "Tensor" => Some(Known::Type(kind)),
                    Some(Known::Value(value)) if self.type_name(&value) == "Tensor" => {
                        Some(Known::Type("Tensor".into()))
                    }
                    Some(_) => None,
                    None => Some(Known::Type("array".into())),
                }
            }
            _ => None,
        }
    }

    /// What is known of a variable that the code itself declares before the token `end`.
    fn declared(&self, name: &str, end: usize) -> Option<Known> {
        let lexemes = self.lexed.lexemes.get(..end)?;
        let declaration = lexemes.windows(3).rposition(|window| {
            matches!(
                window,
                [
                    Lexeme { token: Token::Let | Token::Const, .. },
                    Lexeme { token: Token::Identifier(found), .. },
                    Lexeme { token: Token::Equals, .. },
                ] if found.as_str() == name
            )
        })?;
        let mut depth = 0usize;
        for (index, lexeme) in lexemes.iter().enumerate().skip(declaration + 3) {
            if opens(&lexeme.token) {
                depth += 1;
            } else if closes(&lexeme.token) {
                depth = depth.checked_sub(1)?;
            } else if depth == 0 && matches!(lexeme.token, Token::SemiColon) {
                return self.known(index.checked_sub(1)?);
            }
        }
        None
    }

    /// What a call gives whose name is the token.
    fn called(&self, name: usize) -> Option<Known> {
        let entry = self.entry_at(name)?;
        let types = &self.reference()?.types;
        let bound = entry.overloads.first().and_then(|o| types.word(o.gives));
        Some(Known::Type(entry.gives().or(bound)?.to_string()))
    }

    /// The documented function, method or property whose name is the token.
    pub fn entry_at(&self, index: usize) -> Option<&'a Entry> {
        let lexemes = &self.lexed.lexemes;
        let Token::Identifier(name) = &lexemes.get(index)?.token else {
            return None;
        };
        let reference = self.reference()?;
        if let Some(object) = self.behind_dot(index) {
            let known = self.known(object);
            return match known {
                Some(known) => reference
                    .get(&format!("{}.{name}", self.type_of(&known)))
                    .next(),
                // Of an unknown object any method of that name will do, when there is only one.
                None => only(reference.entries().iter().filter(|entry| {
                    matches!(entry.kind, EntryKind::Method | EntryKind::Property)
                        && entry.short() == name.as_str()
                })),
            };
        }
        let before = |back: usize| {
            index
                .checked_sub(back)
                .and_then(|i| lexemes.get(i))
                .map(|lexeme| &lexeme.token)
        };
        match (before(1), before(2)) {
            (Some(Token::DoubleColon), Some(Token::Identifier(module))) => {
                reference.get(&format!("{module}::{name}")).next()
            }
            _ => reference
                .get(name)
                .find(|entry| entry.kind != EntryKind::Operator),
        }
    }

    /// The last token of the object of `.name`, when the token is such a name.
    pub fn behind_dot(&self, index: usize) -> Option<usize> {
        let dot = index.checked_sub(1)?;
        matches!(
            self.lexed.lexemes.get(dot)?.token,
            Token::Period | Token::Elvis
        )
        .then(|| dot.checked_sub(1))
        .flatten()
    }

    /// The token that opens the bracket which this one closes.
    fn opening(&self, close: usize) -> Option<usize> {
        let mut depth = 0usize;
        for index in (0..=close).rev() {
            let token = &self.lexed.lexemes.get(index)?.token;
            if closes(token) {
                depth += 1;
            } else if opens(token) {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(index);
                }
            }
        }
        None
    }

    /// The brackets that are open at the cursor, innermost first.
    fn open(&self) -> Vec<usize> {
        let mut open = Vec::new();
        for index in 0..self.before {
            let Some(lexeme) = self
                .lexed
                .lexemes
                .get(index)
                .filter(|lexeme| lexeme.end <= self.cursor)
            else {
                continue;
            };
            if opens(&lexeme.token) {
                open.push(index);
            } else if closes(&lexeme.token) {
                open.pop();
            }
        }
        open.reverse();
        open
    }

    /// The name of the innermost call whose parentheses are open at the cursor.
    pub fn enclosing_call(&self) -> Option<usize> {
        let paren = self.open().into_iter().find(|&index| {
            matches!(
                self.lexed.lexemes.get(index).map(|l| &l.token),
                Some(Token::LeftParen)
            )
        })?;
        paren.checked_sub(1)
    }

    /// The option map of a documented call in which the cursor stands.
    pub fn option_map(&self) -> Option<OptionMap<'a>> {
        let mut path = Vec::new();
        let open = self.open();
        let innermost = *open.first()?;
        let mut entry = None;
        for &index in &open {
            match self.lexed.lexemes.get(index)?.token {
                Token::MapStart => {
                    if let Some(key) = self.key_before(index) {
                        path.insert(0, key);
                    }
                }
                Token::LeftParen => {
                    entry = self.entry_at(index.checked_sub(1)?);
                    break;
                }
                _ => return None,
            }
        }
        if !matches!(self.lexed.lexemes.get(innermost)?.token, Token::MapStart) {
            return None;
        }
        let given = self.keys_of(innermost);
        let key = matches!(self.token(0), Some(Token::Colon))
            .then(|| self.index(1).and_then(|index| self.name(index)))
            .flatten();
        Some(OptionMap {
            entry: entry?,
            path,
            given,
            key,
        })
    }

    /// The key in `key: #{`.
    fn key_before(&self, map: usize) -> Option<String> {
        let colon = map.checked_sub(1)?;
        matches!(self.lexed.lexemes.get(colon)?.token, Token::Colon)
            .then(|| self.name(colon.checked_sub(1)?))
            .flatten()
    }

    /// The keys of a map literal, on both sides of the cursor.
    fn keys_of(&self, map: usize) -> Vec<String> {
        let mut depth = 0usize;
        let mut keys = Vec::new();
        for index in map..self.lexed.lexemes.len() {
            let Some(lexeme) = self.lexed.lexemes.get(index) else {
                break;
            };
            if opens(&lexeme.token) {
                depth += 1;
            } else if closes(&lexeme.token) {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            } else if depth == 1
                && matches!(lexeme.token, Token::Colon)
                && lexeme.start != self.start
            {
                keys.extend(index.checked_sub(1).and_then(|key| self.name(key)));
            }
        }
        keys
    }

    /// The name or string that a token is.
    fn name(&self, index: usize) -> Option<String> {
        match &self.lexed.lexemes.get(index)?.token {
            Token::Identifier(name) => Some(name.to_string()),
            Token::StringConstant(name) => Some(name.to_string()),
            _ => None,
        }
    }

    /// The documentation.
    pub fn reference(&self) -> Option<&'a Reference> {
        self.machine
            .context
            .reference()
            .map(|reference| &**reference)
    }

    /// The users' word for the type of a value.
    pub fn type_name(&self, value: &Dynamic) -> String {
        self.reference()
            .map_or(String::new(), |reference| reference.types.name(value))
    }

    /// The users' word for a known type.
    pub fn type_of(&self, known: &Known) -> String {
        match known {
            Known::Value(value) => self.type_name(value),
            Known::Type(kind) => kind.clone(),
        }
    }
}

/// What is known of a member of something known.
fn member(reference: &Reference, object: &Known, name: &str) -> Option<Known> {
    let kind = match object {
        Known::Value(value) => {
            if let Some(map) = value.read_lock::<Map>() {
                return map.get(name).cloned().map(Known::Value);
            }
            reference.types.name(value)
        }
        Known::Type(kind) => kind.clone(),
    };
    let entry = reference
        .get(&format!("{kind}.{name}"))
        .find(|entry| entry.kind == EntryKind::Property)?;
    Some(Known::Type(entry.signature.to_string()))
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

fn is_word(code: &str, at: usize) -> bool {
    code.get(at..)
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}
