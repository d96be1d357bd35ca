//! What a front end asks while a cell runs: how code can go on, what a name is, what the variables hold.

use std::sync::Arc;

use crate::{
    Completeness, Completions, Diagnostic, Help, Kind, Session, Token, Variable, cell::Machine,
    context::Context, session::on_large_stack,
};

/// Answers about code and variables at any time, from any thread; clones are of the same session. It never waits for
/// a running cell: of a variable on which a method runs it tells what is known without it.
#[derive(Clone)]
pub struct Glance(Arc<Context>);

impl Glance {
    /// Of a session.
    pub(crate) fn new(context: &Arc<Context>) -> Self {
        Self(Arc::clone(context))
    }

    fn machine(&self) -> Option<Machine> {
        Machine::glance(&self.0)
    }

    /// A second shell over the same variables: its cells run while the session's do.
    pub fn session(&self) -> Session {
        Session::beside(&self.0)
    }

    /// Like [`Session::is_complete`].
    pub fn is_complete(&self, code: &str) -> Completeness {
        let complete = |machine: Machine| {
            on_large_stack(|| crate::complete::completeness(&machine.engine, code))
        };
        self.machine()
            .and_then(complete)
            .unwrap_or(Completeness::Invalid)
    }

    /// Like [`Session::complete`].
    pub fn complete(&self, code: &str, cursor: usize) -> Completions {
        self.machine().map_or_else(Completions::default, |machine| {
            crate::complete::complete(&machine, code, cursor)
        })
    }

    /// Like [`Session::inspect`].
    pub fn inspect(&self, code: &str, cursor: usize) -> Option<Help> {
        crate::complete::inspect(&self.machine()?, code, cursor)
    }

    /// Like [`Session::help`].
    pub fn help(&self, name: &str) -> Result<Help, Diagnostic> {
        let gone = || Diagnostic::new(Kind::Name, format!("no help on `{name}`"));
        self.machine().ok_or_else(gone)?.help(name)
    }

    /// Like [`Session::highlight`].
    pub fn highlight(&self, code: &str) -> Vec<Token> {
        self.machine().map_or_else(Vec::new, |machine| {
            crate::highlight::highlight(&machine, code)
        })
    }

    /// Like [`Session::variables`].
    pub fn variables(&self) -> Vec<Variable> {
        crate::bind::variables(&self.0)
    }
}
