//! The language: a Rhai engine, a session of cells, the bindings of the library, help.
//!
//! The only crate in which Rhai types appear; front ends see [`Session`], [`Frontend`],
//! [`Display`] and [`Diagnostic`].

mod bind;
mod built_in;
mod cell;
mod complete;
mod context;
mod diagnostic;
mod display;
mod engine;
mod explain;
mod fault;
mod frontend;
mod help;
mod highlight;
mod lexer;
mod library;
mod names;
mod options;
mod panics;
mod render;
mod room;
mod schema;
mod session;
mod sources;
mod value;

pub use diagnostic::{Diagnostic, Frame, Kind, Place, Severity};
pub use display::Display;
pub use frontend::{Event, Frontend, Progress, ProgressState, Record, Recorder};
pub use session::{
    Completeness, Completion, Completions, Help, InterruptHandle, Session, SessionOptions, Token,
    TokenKind, Variable,
};
