//! The messages of what goes wrong while a script runs.

use rhai::{Dynamic, EvalAltResult};

use super::{Names, calls};
use crate::{
    Kind, engine::CALL_DEPTH, fault::Fault, help::EntryKind, names::nearest, value::type_word,
};

/// Explains the innermost error of a chain.
pub(crate) fn explain(error: &EvalAltResult, style: calls::Style, names: &Names) -> Fault {
    use EvalAltResult::*;
    match error {
        ErrorRuntime(value, _) => thrown(value),
        ErrorTerminated(..) => Fault::new(Kind::Interrupted, "stopped by the user"),
        ErrorFunctionNotFound(signature, _) => calls::explain(signature, style, names),
        ErrorVariableNotFound(name, _) => unknown_variable(name, names),
        ErrorModuleNotFound(name, _) => unknown_module(name, names),
        ErrorDotExpr(message, _) => property(message, names),
        ErrorPropertyNotFound(name, _) => {
            Fault::new(Kind::Name, format!("the map has no key `{name}`"))
        }
        ErrorIndexNotFound(index, _) => {
            Fault::new(Kind::Value, format!("there is nothing at index {index}"))
        }
        ErrorMismatchDataType(expected, got, _) | ErrorMismatchOutputType(expected, got, _) => {
            mismatch(expected, got)
        }
        ErrorIndexingType(types, _) => indexing(types),
        ErrorAssignmentToConstant(name, _) => constant(name),
        // Rhai's name of `x[i] = v`.
        ErrorNonPureMethodCallOnConstant(name, _) if name == "index$set$" => {
            Fault::new(Kind::Value, "a constant cannot be assigned into")
                .hint("declare it with `let`")
        }
        ErrorNonPureMethodCallOnConstant(name, _) => {
            let name = name.rsplit('$').next().unwrap_or(name);
            Fault::new(
                Kind::Value,
                format!("`{name}` changes its object, which is a constant here"),
            )
        }
        ErrorArithmetic(message, _) => arithmetic(message),
        ErrorVariableExists(name, _) | ErrorForbiddenVariable(name, _) => {
            Fault::new(Kind::Name, format!("`{name}` cannot be declared here"))
        }
        ErrorUnboundThis(_) => Fault::new(
            Kind::Name,
            "`this` is bound only in a function that is called as a method",
        ),
        ErrorFor(_) => Fault::new(Kind::Type, "`for` cannot go through this value").hint(
            "it goes through ranges, arrays, strings, maps and tensors (along the first axis)",
        ),
        ErrorDataRace(name, _) => data_race(name),
        ErrorParsing(kind, _) => {
            Fault::new(Kind::Syntax, super::parse::lower_first(&kind.to_string()))
        }
        ErrorSystem(message, inner) => Fault::new(
            Kind::Internal,
            format!("{message} {inner}").trim().to_string(),
        ),
        LoopBreak(..) => Fault::new(Kind::Syntax, "`break` and `continue` must stand in a loop"),
        other => bounds_or_limit(other),
    }
}

fn bounds_or_limit(error: &EvalAltResult) -> Fault {
    use EvalAltResult::*;
    match error {
        ErrorArrayBounds(size, index, _) => out_of_range("an array", *size, *index),
        ErrorStringBounds(size, index, _) => out_of_range("a string", *size, *index),
        ErrorBitFieldBounds(size, index, _) => out_of_range("a bit field", *size, *index),
        ErrorStackOverflow(_) => Fault::new(
            Kind::Limit,
            format!("functions call each other more than {CALL_DEPTH} deep"),
        )
        .hint("use a loop instead of recursion"),
        ErrorDataTooLarge(what, _) => {
            let what = super::parse::lower_first(what).replace("/BLOB", "");
            Fault::new(Kind::Limit, format!("{what} is over the limit"))
                .hint("large data belongs into a tensor")
        }
        ErrorTooManyOperations(_) => Fault::new(Kind::Limit, "too many operations"),
        ErrorTooManyVariables(_) => Fault::new(Kind::Limit, "too many variables"),
        ErrorTooManyModules(_) => Fault::new(Kind::Limit, "too many modules"),
        other => {
            let mut plain = other.to_string();
            if let Some(at) = plain.find(" (line ") {
                plain.truncate(at);
            }
            Fault::new(Kind::Internal, super::parse::lower_first(&plain))
        }
    }
}

/// A binding's fault, or what the script itself has thrown.
fn thrown(value: &Dynamic) -> Fault {
    if let Some(fault) = value.read_lock::<Fault>() {
        return fault.clone();
    }
    let message = if value.is_unit() {
        "thrown by the script".to_string()
    } else {
        value.to_string()
    };
    Fault::new(Kind::Thrown, message)
}

fn unknown_variable(name: &str, names: &Names) -> Fault {
    if let Some((module, member)) = name.rsplit_once("::") {
        let fault = Fault::new(Kind::Name, format!("module `{module}` has no `{member}`"));
        let Some(reference) = &names.reference else {
            return fault;
        };
        return fault.nearest(
            member,
            reference.owned_by(module).map(|entry| entry.short()),
        );
    }
    let fault = Fault::new(Kind::Name, format!("unknown variable `{name}`"));
    let modules = names
        .reference
        .as_ref()
        .map(|reference| reference.modules())
        .unwrap_or_default();
    if modules.contains(&name) {
        return fault.hint(format!(
            "`{name}` is a module: its members are written `{name}::member`"
        ));
    }
    let variables = names.variables.iter().map(|(name, _)| name.as_str());
    let functions = names
        .functions
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !name.starts_with("anon$"));
    let documented = names
        .reference
        .iter()
        .flat_map(|reference| reference.functions())
        .map(|entry| entry.name.as_str());
    if let Some(near) = nearest(name, variables) {
        return fault.hint(format!("did you mean `{near}`?"));
    }
    fault.nearest(
        name,
        functions.chain(documented).chain(modules.iter().copied()),
    )
}

fn unknown_module(name: &str, names: &Names) -> Fault {
    let fault = Fault::new(Kind::Name, format!("unknown module `{name}`"));
    let modules = names
        .reference
        .as_ref()
        .map(|reference| reference.modules())
        .unwrap_or_default();
    if let Some(ours) = crate::search::hint(name) {
        return fault.hint(ours);
    }
    match nearest(name, modules.iter().copied()) {
        Some(near) => fault.hint(format!("did you mean `{near}`?")),
        None => fault.hint(format!("there are {}", crate::names::listed(modules))),
    }
}

/// Takes apart `Unknown property 'p' - a getter is not registered for type 'T'`.
fn property(message: &str, names: &Names) -> Fault {
    let mut quoted = message.split('\'').skip(1).step_by(2);
    let (Some(property), Some(kind)) = (quoted.next(), quoted.next()) else {
        return Fault::new(Kind::Name, super::parse::lower_first(message));
    };
    let kind = type_word(kind);
    if message.starts_with("No writable") {
        return Fault::new(
            Kind::Name,
            format!("{kind} has no property `{property}` that can be set"),
        );
    }
    let fault = Fault::new(Kind::Name, format!("{kind} has no property `{property}`"));
    let Some(reference) = &names.reference else {
        return fault;
    };
    if reference
        .get(&format!("{kind}.{property}"))
        .any(|entry| entry.kind == EntryKind::Method)
    {
        return fault.hint(format!("`{property}` is a method: write `.{property}()`"));
    }
    // `x.grad`: a function here.
    if let Some(function) = reference
        .get(property)
        .find(|e| e.kind == EntryKind::Function)
    {
        return fault.hint(format!("there is `{}`", function.headline()));
    }
    fault.meant(
        property,
        reference.owned_by(kind).map(|entry| entry.short()),
    )
}

fn mismatch(expected: &str, got: &str) -> Fault {
    let (expected, got) = (type_word(expected), type_word(got));
    match got {
        "" => Fault::new(Kind::Type, format!("expected {expected}")),
        _ => Fault::expected(expected, got),
    }
}

/// Takes apart `T [I]` and `T [I] = V`.
fn indexing(types: &str) -> Fault {
    let (object, index) = types.split_once(" [").unwrap_or((types, ""));
    let index = index.split(']').next().unwrap_or("");
    let (object, index) = (type_word(object), type_word(index));
    let message = match types.split_once("] = ") {
        Some((_, value)) => format!("{object}[{index}] cannot be set to {}", type_word(value)),
        None if index.is_empty() => format!("{object} cannot be indexed"),
        None => format!("{object} cannot be indexed with {index}"),
    };
    let fault = Fault::new(Kind::Type, message);
    if object == "Tensor" && types.contains("] = ") {
        return fault.hint("tensors never change: make a new one with `where`, `cat` or `stack`");
    }
    fault
}

fn constant(name: &str) -> Fault {
    if name.is_empty() {
        return Fault::new(Kind::Value, "a constant cannot be changed");
    }
    Fault::new(
        Kind::Value,
        format!("`{name}` is a constant and cannot be changed"),
    )
    .hint(format!("declare it with `let {name} = ...`"))
}

fn arithmetic(message: &str) -> Fault {
    let text = super::parse::lower_first(message);
    let fault = Fault::new(Kind::Numeric, text.clone());
    if text.contains("zero") {
        fault.hint("ints cannot be divided by zero; floats give inf or NaN")
    } else if text.contains("overflow") {
        fault.hint("ints have 64 bits; write floats, e.g. `2.0`")
    } else {
        fault
    }
}

fn data_race(name: &str) -> Fault {
    let what = if name.is_empty() {
        "a variable".to_string()
    } else {
        format!("`{name}`")
    };
    Fault::new(
        Kind::Value,
        format!("{what} is read while it is being changed"),
    )
    .hint("copy it first: `let copy = x;`")
}

fn out_of_range(what: &str, size: usize, index: i64) -> Fault {
    Fault::new(
        Kind::Value,
        format!("index {index} is out of range for {what} of {size}"),
    )
}
