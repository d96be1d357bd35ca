//! The global functions that need no model.
use crate::library::Library;
/// Binds them.
pub(crate) fn bind(_library: &mut Library) {}
