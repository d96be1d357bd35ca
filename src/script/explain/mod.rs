//! Turns what Rhai says into a [`Diagnostic`]: the place, the chain of calls across cells and
//! files, a message in the users' words, and hints.

pub(crate) mod calls;
pub(crate) mod parse;
pub(crate) mod place;
mod runtime;

use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult, ParseError, Position, Token};

use crate::{
    Diagnostic, Frame, Kind, Place,
    built_in::BuiltIn,
    fault::Spot,
    help::Reference,
    lexer::lex,
    sources::{Sources, byte_at},
    value::type_word,
};

/// All names that a script can use now: what a misspelt one is held against.
pub(crate) struct Names<'a> {
    /// What Rhai itself brings.
    pub built_in: &'a [BuiltIn],
    /// Variables with their values.
    pub variables: Vec<(String, Dynamic)>,
    /// The script's functions with their parameters.
    pub functions: Vec<(String, Vec<String>)>,
    /// What is bound.
    pub reference: Option<Arc<Reference>>,
}

/// Explains runtime errors.
pub(crate) struct Explainer<'a> {
    /// The texts to quote.
    pub sources: &'a Sources,
    /// To parse code again.
    pub engine: &'a Engine,
    /// What a misspelt name is held against.
    pub names: &'a Names<'a>,
}

impl Explainer<'_> {
    /// Explains an error of a statement of `source`.
    pub fn explain(&self, error: EvalAltResult, source: &str) -> Diagnostic {
        let mut trace = Vec::new();
        let mut source = source.to_string();
        let mut error = error;
        loop {
            match error {
                EvalAltResult::ErrorInFunctionCall(name, from, inner, position) => {
                    trace.push(Frame {
                        function: function_name(&name),
                        place: self.sources.place(&source, position),
                    });
                    if self.sources.is_module(&from) {
                        source = from;
                    } else if let Some(definition) = self.sources.of_function(&name) {
                        source = definition;
                    }
                    error = *inner;
                }
                EvalAltResult::ErrorInModule(file, inner, position) => {
                    trace.push(Frame {
                        function: "import".into(),
                        place: self.sources.place(&source, position),
                    });
                    source = file;
                    error = *inner;
                }
                other => {
                    error = other;
                    break;
                }
            }
        }
        trace.reverse();
        if let EvalAltResult::ErrorParsing(kind, position) = &error
            && let Some(text) = self.sources.text(&source)
        {
            let error = ParseError(kind.clone().into(), *position);
            let diagnostic = parse::explain(&error, &source, &text, self.names);
            return Diagnostic {
                trace,
                ..diagnostic
            };
        }
        let position = error.position();
        let mut fault = runtime::explain(&error, self.style(&source, position), self.names);
        if let EvalAltResult::ErrorVariableNotFound(name, _) = &error
            && self.is_assigned(&source, position)
        {
            fault = fault.hint(format!(
                "a new variable is declared with `let {name} = ...`"
            ));
        }
        if let EvalAltResult::ErrorMismatchDataType(expected, ..) = &error
            && self.is_index(&source, position)
        {
            fault = fault.hint(match type_word(expected) {
                "string" => "a map is read by its keys: `map.key` or `map[\"key\"]`",
                _ => "arrays and strings are read by place: `array[0]` is the first element",
            });
        }
        if let EvalAltResult::ErrorPropertyNotFound(key, _) = &error {
            fault = fault.nearest(
                key,
                self.sibling_keys(&source, position)
                    .iter()
                    .map(String::as_str),
            );
        }
        let place = self.place(&source, position, &fault.spot);
        let place = place.or_else(|| trace.iter().find_map(|frame: &Frame| frame.place.clone()));
        Diagnostic {
            kind: fault.kind,
            message: fault.message,
            hints: fault.hints,
            place,
            trace,
            ..Diagnostic::new(Kind::Internal, "")
        }
    }

    fn place(&self, source: &str, position: Position, spot: &Spot) -> Option<Place> {
        let part = place::of_spot(self, source, position, spot);
        part.or_else(|| self.sources.place(source, position))
    }

    /// The keys of the map in whose `map.key` the position stands, when it is a variable's: Rhai's
    /// error does not carry the map.
    fn sibling_keys(&self, source: &str, position: Position) -> Vec<String> {
        let chain = || {
            let text = self.sources.text(source)?;
            let byte = byte_at(&text, position.line()?, position.position()?);
            let lexed = lex(&text);
            let (mut index, _) = lexed.at(byte)?;
            let mut chain = Vec::new();
            while let Some([Token::Identifier(name), Token::Period]) =
                index.checked_sub(2).and_then(|i| {
                    Some([
                        &lexed.lexemes.get(i)?.token,
                        &lexed.lexemes.get(i + 1)?.token,
                    ])
                })
            {
                chain.push(name.to_string());
                index -= 2;
            }
            let mut value = self
                .names
                .variables
                .iter()
                .find(|(name, _)| Some(name) == chain.last())?
                .1
                .clone();
            for key in chain.iter().rev().skip(1) {
                let inner = value.read_lock::<rhai::Map>()?.get(key.as_str())?.clone();
                value = inner;
            }
            let keys = value
                .read_lock::<rhai::Map>()?
                .keys()
                .map(ToString::to_string)
                .collect();
            Some(keys)
        };
        chain().unwrap_or_default()
    }

    /// The token that stands `offset` places from the one at the position.
    fn token(&self, source: &str, position: Position, offset: isize) -> Option<Token> {
        let text = self.sources.text(source)?;
        let byte = byte_at(&text, position.line()?, position.position()?);
        let lexed = lex(&text);
        let (index, _) = lexed.at(byte)?;
        let lexeme = lexed.lexemes.get(index.checked_add_signed(offset)?)?;
        Some(lexeme.token.clone())
    }

    /// Whether the name at the position stands before a `=`.
    fn is_assigned(&self, source: &str, position: Position) -> bool {
        matches!(self.token(source, position, 1), Some(Token::Equals))
    }

    /// Whether the position is the beginning of what stands in `[ ]`.
    fn is_index(&self, source: &str, position: Position) -> bool {
        let before = self.token(source, position, -1);
        matches!(before, Some(Token::LeftBracket | Token::QuestionBracket))
    }

    /// Whether the name at the position stands behind a `.`.
    fn style(&self, source: &str, position: Position) -> calls::Style {
        match self.token(source, position, -1) {
            Some(Token::Period | Token::Elvis) => calls::Style::Method,
            _ => calls::Style::Function,
        }
    }
}

/// Closures have no name of their own.
fn function_name(name: &str) -> String {
    if name.starts_with("anon$") {
        "closure".into()
    } else {
        name.to_string()
    }
}
