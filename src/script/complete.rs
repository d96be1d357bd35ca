//! tmp
use crate::{Completeness, Completions, Help, cell::Machine};
pub(crate) fn completeness(_e: &rhai::Engine, _code: &str) -> Completeness { Completeness::Complete }
pub(crate) fn complete(_m: &Machine, _code: &str, _c: usize) -> Completions { Completions::default() }
pub(crate) fn inspect(_m: &Machine, _code: &str, _c: usize) -> Option<Help> { None }
