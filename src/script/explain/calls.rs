//! A call that nothing answers: the name is unknown, or it does not take these arguments.

use super::Names;
use crate::{
    Kind, built_in::BuiltIn, fault::Fault, help::EntryKind, names::nearest, value::type_word,
};

/// The function and the types of a call, from Rhai's `name (type, type)`.
struct Call {
    module: Option<String>,
    name: String,
    types: Vec<String>,
}

/// How a call is written: decides what the first argument is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `f(x)`.
    Function,
    /// `x.f()`.
    Method,
}

/// Explains `function not found`.
pub(crate) fn explain(signature: &str, style: Style, names: &Names) -> Fault {
    let call = parse(signature);
    if is_operator(&call.name) {
        return operator(&call);
    }
    let overloads = overloads(&call, names);
    if overloads.is_empty() {
        return unknown(&call, style, names);
    }
    let given = call.types.join(", ");
    let full = call.full_name();
    let message = match (style, call.types.split_first()) {
        (Style::Method, Some((receiver, rest))) => {
            format!(
                "{receiver}.{} does not take ({})",
                call.name,
                rest.join(", ")
            )
        }
        _ => format!("{full} does not take ({given})"),
    };
    let mut fault = Fault::new(Kind::Type, message);
    // A function of numbers whose like for this type has another name, as `ln` and `Tensor.log`.
    if style == Style::Method
        && let Some(ours) = crate::search::ours(&call.name)
        && ours.split('.').next() == call.types.first().map(String::as_str)
    {
        return fault.hint(format!("here it is `{ours}`"));
    }
    const MOST: usize = 8;
    for overload in overloads.iter().take(MOST) {
        fault = fault.hint(format!("there is {overload}"));
    }
    if overloads.len() > MOST {
        fault = fault.hint(format!(
            "and {} more: help(\"{full}\")",
            overloads.len() - MOST
        ));
    }
    match example(&call, names) {
        Some(example) => fault.hint(format!("for example `{example}`")),
        None => fault,
    }
}

/// How the function or method is called in its help.
fn example(call: &Call, names: &Names) -> Option<&'static str> {
    let reference = names.reference.as_ref()?;
    let receiver = call.types.first().map_or("", String::as_str);
    let method = format!("{receiver}.{}", call.name);
    let full = call.full_name();
    let mut entries = reference.get(&full).chain(reference.get(&method));
    entries.find_map(|entry| entry.example())
}

impl Call {
    fn full_name(&self) -> String {
        match &self.module {
            Some(module) => format!("{module}::{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Takes `flow::rectified (Map, &str | ImmutableString | String)` apart.
fn parse(signature: &str) -> Call {
    let (name, rest) = signature.split_once(" (").unwrap_or((signature, ""));
    let (module, name) = match name.rsplit_once("::") {
        Some((module, name)) => (Some(module.to_string()), name),
        None => (None, name),
    };
    let inner = rest.strip_suffix(')').unwrap_or(rest);
    let types = if inner.is_empty() {
        Vec::new()
    } else {
        inner
            .split(", ")
            .map(|t| type_word(t).to_string())
            .collect()
    };
    Call {
        module,
        name: name.to_string(),
        types,
    }
}

fn is_operator(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn operator(call: &Call) -> Fault {
    let message = match call.types.as_slice() {
        [one] => format!("`{}` does not work on {one}", call.name),
        [left, right] => format!("`{}` does not work between {left} and {right}", call.name),
        _ => format!("`{}` does not work here", call.name),
    };
    let fault = Fault::new(Kind::Type, message);
    match call.types.as_slice() {
        [left, right] if left == "()" || right == "()" => {
            fault.hint("`()` is the value of a statement that gives nothing")
        }
        _ => fault,
    }
}

/// Everything of that name, in the users' words.
fn overloads(call: &Call, names: &Names) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    if call.module.is_none() {
        for (name, parameters) in names
            .functions
            .iter()
            .filter(|(name, _)| *name == call.name)
        {
            list.push(format!("{name}({})", parameters.join(", ")));
        }
    }
    if let Some(reference) = &names.reference {
        let receiver = call.types.first().map(String::as_str).unwrap_or("");
        let method = format!("{receiver}.{}", call.name);
        let full = call.full_name();
        list.extend(
            reference
                .get(&full)
                .filter(|e| e.kind == EntryKind::Function)
                .map(|entry| entry.headline()),
        );
        list.extend(
            reference
                .get(&method)
                .filter(|e| e.kind == EntryKind::Method)
                .map(|entry| entry.headline()),
        );
        if !list.is_empty() {
            return list;
        }
    }
    if call.module.is_none() {
        list.extend(
            names
                .built_in
                .iter()
                .filter(|f| f.name == call.name)
                .map(BuiltIn::headline),
        );
    }
    list.sort();
    list.dedup();
    list
}

fn unknown(call: &Call, style: Style, names: &Names) -> Fault {
    let receiver = call.types.first().map_or("", String::as_str);
    let message = match (style, &call.module) {
        (Style::Method, _) => format!("{receiver} has no method `{}`", call.name),
        (Style::Function, Some(module)) => {
            format!("module `{module}` has no function `{}`", call.name)
        }
        (Style::Function, None) => format!("unknown function `{}`", call.name),
    };
    let fault = Fault::new(Kind::Name, message);
    let Some(reference) = &names.reference else {
        return fault;
    };
    if let Some(module) = &call.module {
        if let Some(hint) = crate::search::activation(module, &call.name) {
            return fault.hint(hint);
        }
        let members = reference.owned_by(module).map(|entry| entry.short());
        let fault = fault.meant(&call.name, members);
        return match fault.hints.is_empty() {
            true => elsewhere(fault, call, reference),
            false => fault,
        };
    }
    let standard = names
        .built_in
        .iter()
        .filter(|f| style == Style::Function || f.takes(receiver))
        .map(|f| f.name.as_str());
    let methods = reference.owned_by(receiver).map(|entry| entry.short());
    let globals = reference
        .functions()
        .map(|entry| entry.name.as_str())
        .filter(|_| style == Style::Function);
    let scripted = names.functions.iter().map(|(name, _)| name.as_str());
    let variable = names.variables.iter().find(|(name, _)| *name == call.name);
    if let Some((name, value)) = variable
        && value.is_fnptr()
    {
        return fault.hint(format!(
            "`{name}` holds a closure: write `{name}.call(...)`"
        ));
    }
    if let Some((name, value)) = variable {
        let kind = reference.types.name(value);
        if reference.get(&format!("{kind}.forward")).next().is_some() {
            return fault.hint(format!("`{name}` is a {kind}: write `{name}.forward(...)`"));
        }
    }
    if let Some(property) = reference
        .get(&format!("{receiver}.{}", call.name))
        .find(|e| e.kind == EntryKind::Property)
    {
        return fault.hint(format!(
            "`{}` is a property: write it without parentheses",
            property.short()
        ));
    }
    let ours = crate::search::ours(&call.name);
    if let Some(ours) = ours.filter(|ours| reference.get(ours).next().is_some()) {
        return fault.hint(format!("here it is `{ours}`"));
    }
    if let Some(near) = nearest(
        &call.name,
        scripted.chain(methods).chain(globals).chain(standard),
    ) {
        return fault.hint(format!("did you mean `{near}`?"));
    }
    elsewhere(fault, call, reference)
}

/// Says where another module, or a type, has something of that name.
fn elsewhere(fault: Fault, call: &Call, reference: &crate::help::Reference) -> Fault {
    let found = reference.entries().iter().find(|entry| {
        let callable = matches!(entry.kind, EntryKind::Function | EntryKind::Method);
        callable && entry.short() == call.name
    });
    if let Some(entry) = found {
        return fault.hint(format!("there is `{}`", entry.name));
    }
    // `optim::lr_scheduler::cosine`: it is the module that others have.
    match call.module.as_deref().and_then(crate::search::hint) {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
