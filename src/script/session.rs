//! A session of cells: all that a front end needs.

use std::{collections::BTreeMap, path::PathBuf, sync::{Arc, atomic::{AtomicBool, Ordering}}};

use crate::{Diagnostic, Display, Frontend};

/// What a session starts with.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The seed of all random streams (default 0).
    pub seed: u64,
    /// `cpu`, `cuda`, `cuda:1` or `auto`; empty means `cpu`.
    pub device: String,
    /// Values for `arg(name, default)`, from `--set name=value`.
    pub args: BTreeMap<String, String>,
    /// Relative paths of the script are meant from here (default: the working directory).
    pub folder: Option<PathBuf>,
}

/// Whether code can be run as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It can be run.
    Complete,
    /// More must come; the next line may be indented so many spaces.
    Incomplete(usize),
    /// It cannot be mended by typing on.
    Invalid,
}

/// One way to go on typing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What replaces the range.
    pub text: String,
    /// `function`, `variable`, `module`, `option`, `value`, `method`, `property`, `keyword`, `path`.
    pub kind: &'static str,
    /// Signature or type, one line.
    pub detail: String,
}

/// All ways to go on typing, and what they replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions {
    /// First code point that is replaced.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// Best first.
    pub items: Vec<Completion>,
}

/// What there is to know about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    /// The full name, e.g. `flow::rectified`.
    pub name: String,
    /// Plain text for a terminal.
    pub text: String,
    /// The same as Markdown.
    pub markdown: String,
}

/// A variable of the session, for `:vars` and `vars()`.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Type as the user knows it, e.g. `Tensor`, `int`, `Figure`.
    pub kind: String,
    /// Shape and dtype, or the value when short.
    pub summary: String,
    /// Bytes held, when known.
    pub bytes: Option<u64>,
}

/// What a piece of code is, for colouring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// `let`, `if`, `fn`, ...
    Keyword,
    /// A known function or method name before `(`.
    Function,
    /// The `flow` of `flow::rectified`.
    Module,
    /// Any other name.
    Name,
    /// A key of a map literal or a property.
    Key,
    /// Numbers.
    Number,
    /// Strings and characters.
    String,
    /// Comments.
    Comment,
    /// Operators and brackets.
    Operator,
    /// What the lexer refuses.
    Error,
}

/// A coloured stretch of code, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What it is.
    pub kind: TokenKind,
}

/// Stops the running cell from any thread.
#[derive(Clone, Debug, Default)]
pub struct InterruptHandle(Arc<AtomicBool>);

impl InterruptHandle {
    /// Asks the running cell to stop; it does so within 100 ms. Without a running cell nothing happens.
    pub fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A session of cells.
pub struct Session {
    interrupt: InterruptHandle,
}

impl Session {
    /// A fresh session.
    pub fn new(_options: SessionOptions) -> Self {
        Self { interrupt: InterruptHandle::default() }
    }

    /// Runs one cell. Its last expression, when not closed by `;`, is its output.
    pub fn execute(&mut self, _code: &str, _io: &mut dyn Frontend) -> Result<Option<Display>, Diagnostic> {
        Ok(None)
    }

    /// Like `execute` for a whole file: errors name `path`, and it is run as one cell.
    pub fn execute_file(&mut self, _path: &std::path::Path, _io: &mut dyn Frontend) -> Result<Option<Display>, Diagnostic> {
        Ok(None)
    }

    /// Whether the code can be run as it stands.
    pub fn is_complete(&self, _code: &str) -> Completeness {
        Completeness::Complete
    }

    /// Ways to go on typing at the cursor (in code points).
    pub fn complete(&self, _code: &str, _cursor: usize) -> Completions {
        Completions::default()
    }

    /// Help on the name under the cursor (in code points).
    pub fn inspect(&self, _code: &str, _cursor: usize) -> Option<Help> {
        None
    }

    /// Help on a name such as `flow::rectified`; with an unknown name a diagnostic that suggests the nearest.
    pub fn help(&self, _name: &str) -> Result<Help, Diagnostic> {
        Ok(Help { name: String::new(), text: String::new(), markdown: String::new() })
    }

    /// Colours for a piece of code that may be unfinished: covers what is not white space, in order.
    pub fn highlight(&self, _code: &str) -> Vec<Token> {
        Vec::new()
    }

    /// The variables, in order of their making.
    pub fn variables(&self) -> Vec<Variable> {
        Vec::new()
    }

    /// Forgets all variables and functions.
    pub fn reset(&mut self) {}

    /// Stops the running cell from any thread.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.interrupt.clone()
    }
}
