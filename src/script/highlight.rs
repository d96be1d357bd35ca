//! tmp
use crate::{Token, cell::Machine};
pub(crate) fn highlight(_m: &Machine, _code: &str) -> Vec<Token> { Vec::new() }
