//! Everything that scripts can call: a file a namespace. A binding converts, calls and wraps; the
//! mathematics is elsewhere.

mod cite;
mod closure;
mod data;
mod draw;
mod files;
mod flow;
mod guard;
pub(crate) mod io;
mod log;
mod measure;
mod metric;
mod nn;
mod ode;
mod optim;
mod optim_parts;
mod output;
mod plot;
mod progress;
mod quantize;
pub(crate) mod report;
mod rich;
pub(crate) mod run;
pub(crate) mod session;
mod ssm;
mod tensor;

use rhai::{Dynamic, EvalAltResult};
use rhapsode_models::metric::Measure;

pub(crate) use closure::Closure;
pub(crate) use guard::enter;
pub(crate) use output::{escape, help_display, overview, variable_table};
pub(crate) use rich::Rich;

use crate::{
    Kind, Variable,
    context::Context,
    fault::{Fault, Spot},
    library::Library,
};

/// What a fallible binding returns.
pub(crate) type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// Binds everything.
pub(crate) fn all(library: &mut Library) {
    session::bind(library);
    output::bind(library);
    rich::bind(library);
    crate::magic::bind(library);
    cite::bind(library);
    progress::bind(library);
    report::bind(library);
    tensor::bind(library);
    nn::bind(library);
    ssm::bind(library);
    ode::bind(library);
    optim::bind(library);
    optim_parts::bind(library);
    quantize::bind(library);
    flow::bind(library);
    run::bind(library);
    data::bind(library);
    files::bind(library);
    measure::bind(library);
    metric::bind(library);
    io::bind(library);
    log::bind(library);
    plot::bind(library);
}

/// The result of a library call as a binding returns it.
pub(crate) fn raise<T, E: Into<Fault>>(result: Result<T, E>) -> Outcome<T> {
    result.map_err(|error| error.into().into())
}

impl From<rhapsode_tensor::Error> for Fault {
    fn from(error: rhapsode_tensor::Error) -> Self {
        use rhapsode_tensor::Error::*;
        if let Callback(callback) = &error {
            return closure::fault(callback);
        }
        let kind = match &error {
            Shape { .. } | Axis { .. } => Kind::Shape,
            DType { .. } => Kind::Type,
            Index { .. } | Value { .. } | NoGradient { .. } | Candle(_) | Callback(_) => {
                Kind::Value
            }
            Memory { .. } => Kind::Limit,
            NonFinite { .. } => Kind::Numeric,
            Interrupted => Kind::Interrupted,
        };
        Fault::new(kind, error.to_string())
    }
}

impl From<rhapsode_models::Error> for Fault {
    fn from(error: rhapsode_models::Error) -> Self {
        use rhapsode_models::Error::*;
        let kind = match &error {
            Option { .. } => Kind::Option,
            Shape { .. } | Layer { .. } => Kind::Shape,
            Value { .. } => Kind::Value,
            Numeric { .. } | Stuck { .. } => Kind::Numeric,
            Io { .. } => Kind::Io,
            Interrupted => Kind::Interrupted,
            Tensor(inner) => return inner.clone().into(),
        };
        let spot = match &error {
            Option { key, .. } => Spot::Value(key.split('.').map(str::to_string).collect()),
            _ => Spot::Call,
        };
        let fault = Fault::new(kind, error.to_string()).at(spot);
        match error {
            Stuck { remedy, .. } if !remedy.is_empty() => fault.hint(remedy),
            _ => fault,
        }
    }
}

/// A number where an int, or a measured number, is taken too.
pub(crate) fn number(value: &Dynamic) -> Option<f64> {
    value
        .as_float()
        .ok()
        .or_else(|| value.as_int().ok().map(|int| int as f64))
        .or_else(|| Some(value.read_lock::<Measure>()?.value))
}

/// Bytes as a notebook holds them.
pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

/// What the system says about a file, without its number.
pub(crate) fn io_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    crate::explain::parse::lower_first(text)
}

/// The variables of a session, in order of their making.
pub(crate) fn variables(context: &Context) -> Vec<Variable> {
    let Some(reference) = context.reference() else {
        return Vec::new();
    };
    let types = &reference.types;
    let describe = |(name, value, handle): (String, Dynamic, Option<Dynamic>)| {
        let value = match handle {
            Some(handle) => handle,
            // A method of it runs: nobody waits for that.
            None if value.is_locked() => {
                return Variable {
                    name,
                    kind: "any".into(),
                    summary: "in use".into(),
                    bytes: None,
                };
            }
            None => value,
        };
        Variable {
            name,
            kind: types.name(&value),
            summary: types.summary(&value),
            bytes: types.bytes(&value),
        }
    };
    context.all_globals().into_iter().map(describe).collect()
}
