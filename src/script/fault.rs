//! What a binding says when it fails: kind, message, hints, and which part of the call is meant.
//! It travels through Rhai as the value of a runtime error and becomes a `Diagnostic` at the end.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use rhai::{Dynamic, EvalAltResult, Position};

use crate::{Diagnostic, Kind, context::lock};

/// The part of a call that is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// The call as a whole.
    Call,
    /// One of its arguments, from 0; the receiver of a method is not counted.
    Argument(usize),
    /// A key of its option map; more than one where option maps are nested.
    Key(Vec<String>),
    /// The value of a key of its option map.
    Value(Vec<String>),
}

/// A failed binding.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// What sort.
    pub kind: Kind,
    /// One sentence, no final full stop.
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
    /// What the caret points at.
    pub spot: Spot,
    /// The error of a closure that the binding called: it becomes the error of the call unchanged.
    pub cause: Option<Cause>,
}

/// An error of a script on its way through library code, which knows nothing of scripts. It is
/// taken out once, at the end of the way.
#[derive(Clone, Debug)]
pub(crate) struct Cause(Arc<Mutex<Option<Box<EvalAltResult>>>>, String);

impl Cause {
    /// Keeps an error.
    pub fn new(error: Box<EvalAltResult>) -> Self {
        let message = error.unwrap_inner().to_string();
        Self(Arc::new(Mutex::new(Some(error))), message)
    }

    fn take(&self) -> Option<Box<EvalAltResult>> {
        lock(&self.0).take()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl std::error::Error for Cause {}

impl Fault {
    /// A fault of the call as a whole.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
            spot: Spot::Call,
            cause: None,
        }
    }

    /// An impossible value.
    pub fn value(message: impl Into<String>) -> Self {
        Self::new(Kind::Value, message)
    }

    /// A value of the wrong type, in the users' words.
    pub fn expected(what: &str, got: &str) -> Self {
        Self::new(Kind::Type, format!("expected {what}, got {got}"))
    }

    /// Points at a part of the call.
    #[must_use]
    pub fn at(mut self, spot: Spot) -> Self {
        self.spot = spot;
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The fault where there is no call to point at.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic {
            hints: self.hints.clone(),
            ..Diagnostic::new(self.kind, self.message.clone())
        }
    }

    /// Adds what an unknown name is called here, when it is another library's, or the nearest of the names.
    #[must_use]
    pub fn meant<'a>(self, name: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match crate::search::hint(name) {
            Some(ours) => self.hint(ours),
            None => self.nearest(name, names),
        }
    }

    /// Adds `did you mean ...?` when one of the names is near.
    #[must_use]
    pub fn nearest<'a>(self, name: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match crate::names::nearest(name, names) {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

impl From<Fault> for Box<EvalAltResult> {
    fn from(fault: Fault) -> Self {
        if fault.kind == Kind::Interrupted {
            return interrupted();
        }
        if let Some(error) = fault.cause.as_ref().and_then(Cause::take) {
            return error;
        }
        EvalAltResult::ErrorRuntime(Dynamic::from(fault), Position::NONE).into()
    }
}

/// The error that ends a script at once because the user wants it.
pub(crate) fn interrupted() -> Box<EvalAltResult> {
    EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()
}
