//! The language: a Rhai engine, a session of cells, the bindings of the library, help.
//!
//! The only crate in which Rhai types appear; front ends see [`Session`], [`Frontend`],
//! [`Display`] and [`Diagnostic`].

mod diagnostic;
mod display;
mod frontend;
mod session;

pub use diagnostic::{Diagnostic, Frame, Kind, Place, Severity};
pub use display::Display;
pub use frontend::{Event, Frontend, Progress, ProgressState, Record, Recorder};
pub use session::{Completeness, Completion, Completions, Help, InterruptHandle, Session, SessionOptions, Token, TokenKind, Variable};
