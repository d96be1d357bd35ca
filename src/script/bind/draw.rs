//! Random numbers of a session: every draw has a number, counted from the last `seed(n)`.

use rhai::NativeCallContext;
use rhapsode_tensor::{DType, random::Stream};

use super::Outcome;
use crate::context;

/// The stream of the session's next draw for some purpose.
pub(crate) fn next_stream(call: &NativeCallContext, purpose: &str) -> Outcome<Stream> {
    let context = context::of_call(call)?;
    Ok(Stream::new(context.settings().seed, purpose).at(context.next_draw()))
}

/// A seed of its own for a model or a training.
pub(crate) fn next_seed(call: &NativeCallContext) -> Outcome<u64> {
    Ok(next_stream(call, "session")?.seed())
}

/// What floats are kept in by default.
pub(crate) fn session_dtype(call: &NativeCallContext) -> Outcome<DType> {
    let dtype = DType::parse(&context::of_call(call)?.settings().dtype);
    Ok(dtype.unwrap_or(DType::F32))
}
