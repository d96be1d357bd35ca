//! The language: a Rhai engine, a session of cells, the bindings of the library, help.
//!
//! The only crate in which Rhai types appear; front ends see [`Session`], [`Frontend`],
//! [`Display`] and [`Diagnostic`].

mod args;
mod beside;
mod bind;
mod built_in;
mod cell;
mod check;
mod compare;
mod complete;
mod context;
mod diagnostic;
mod display;
mod engine;
mod explain;
mod fault;
mod frontend;
mod glance;
mod help;
mod highlight;
mod html;
mod lexer;
mod library;
mod magic;
mod modules;
mod names;
mod options;
mod panics;
mod render;
mod room;
mod running;
mod schema;
mod search;
mod session;
mod sources;
mod trial;
mod value;
pub mod words;

pub use args::ScriptArg;
pub use bind::report::MIME as REPORT;
pub use check::Unit;
pub use diagnostic::{Diagnostic, Frame, Kind, Place, Severity};
pub use display::Display;
pub use frontend::{Event, Frontend, Progress, ProgressState, Record, Recorder};
pub use glance::Glance;
pub use help::Topic;
pub use html::Page;
pub use magic::{MagicLines, magic_names};
pub use names::nearest;
/// How near the main operations come to the machine's limits.
pub use rhapsode_models::bench;
/// Logs of metrics, which front ends write as well.
pub use rhapsode_models::log;
/// What a program puts around its allocator: large tensors do not lie in one set of the caches.
pub use rhapsode_tensor::memory::Staggered;
pub use schema::Field;
pub use session::{
    Completeness, Completion, Completions, Help, InterruptHandle, Session, SessionOptions, Token,
    TokenKind, Variable,
};
pub use trial::Trial;

/// Writes a whole file, or leaves the old one; the reason when it cannot be written.
pub fn write_atomic(path: &std::path::Path, content: &[u8]) -> Result<(), String> {
    use rhapsode_models::{Error, files};
    files::write_atomic(path, content).map_err(|error| match error {
        Error::Io { message, .. } => message,
        other => other.to_string(),
    })
}
