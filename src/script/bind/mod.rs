//! Everything that scripts can call: a file a namespace. A binding converts, calls and wraps; the
//! mathematics is elsewhere.

mod session;

use rhai::Dynamic;

use crate::{Variable, context::Context, library::Library};

/// Binds everything.
pub(crate) fn all(library: &mut Library) {
    session::bind(library);
}

/// What the system says about a file, without its number.
pub(crate) fn io_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    crate::explain::parse::lower_first(text)
}

/// The variables of a session, in order of their making.
pub(crate) fn variables(context: &Context) -> Vec<Variable> {
    let Some(reference) = context.reference() else { return Vec::new() };
    let types = &reference.types;
    let describe = |(name, value): (String, Dynamic)| Variable {
        name,
        kind: types.name(&value),
        summary: types.summary(&value),
        bytes: types.bytes(&value),
    };
    context.globals().into_iter().map(describe).collect()
}
