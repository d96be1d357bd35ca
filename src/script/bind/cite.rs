//! `cite`: the paper behind a method, as BibTeX.

use rhai::{Dynamic, ImmutableString, NativeCallContext};
use rhapsode_models::reference::Reference as Paper;

use super::{Outcome, optim::Choice};
use crate::{
    Kind, context,
    fault::{Fault, Spot},
    help::{Entry, EntryKind, FunctionName, Reference},
    library::Library,
};

/// Binds it.
pub(crate) fn bind(library: &mut Library) {
    library
        .function(
            "cite",
            "(what?: any) -> string",
            r#"
            The paper behind a model, an optimizer or a function as BibTeX; without an argument all papers.

            ```rhai
            cite("flow::rectified").contains("2209.03003") // => true
            ```
            "#,
        )
        .call(|call: NativeCallContext| -> Outcome<String> {
            let context = context::of_call(&call)?;
            let reference = context.reference();
            let entries = reference.iter().flat_map(|reference| reference.entries());
            Ok(bibliography(entries.filter_map(|entry| entry.paper)))
        })
        .call(|call: NativeCallContext, what: Dynamic| cite(&call, &what));
}

fn cite(call: &NativeCallContext, what: &Dynamic) -> Outcome<String> {
    let context = context::of_call(call)?;
    let Some(reference) = context.reference() else {
        return Ok(String::new());
    };
    let papers: Vec<&Paper> = behind(reference, what)
        .iter()
        .filter_map(|e| e.paper)
        .collect();
    if papers.is_empty() {
        let name = match what.read_lock::<ImmutableString>() {
            Some(name) => name.to_string(),
            None => reference.types.name(what),
        };
        let cited = reference
            .entries()
            .iter()
            .filter(|entry| entry.paper.is_some());
        let names: Vec<&str> = cited.map(|entry| entry.name.as_str()).collect();
        let fault = Fault::new(Kind::Name, format!("no paper is known for `{name}`"))
            .at(Spot::Argument(0))
            .nearest(&name, names.iter().copied());
        return Err(fault
            .hint(format!(
                "there are papers for {}",
                crate::names::listed(names)
            ))
            .into());
    }
    Ok(bibliography(papers.into_iter()))
}

/// The functions that a value comes from or means.
fn behind<'a>(reference: &'a Reference, what: &Dynamic) -> Vec<&'a Entry> {
    let named = |name: &str| -> Vec<&Entry> {
        let is = |entry: &&Entry| entry.name == name || entry.owner() == Some(name);
        reference.entries().iter().filter(is).collect()
    };
    if let Some(name) = what.read_lock::<FunctionName>() {
        return named(&name.0);
    }
    if let Some(name) = what.read_lock::<ImmutableString>() {
        return named(&name);
    }
    if let Some(choice) = what.read_lock::<Choice>() {
        let mut found = named(&format!("optim::{}", choice.0.rule.name()));
        if choice.0.common.bits == 8 {
            found.extend(named("optim::quantize"));
        }
        return found;
    }
    let id = what.type_id();
    // A method that gives the like, as `reflow` does, has a paper of its own.
    let makes = |entry: &&Entry| {
        entry.kind == EntryKind::Function
            && entry.overloads.iter().any(|overload| overload.gives == id)
    };
    reference.entries().iter().filter(makes).collect()
}

fn bibliography<'a>(papers: impl Iterator<Item = &'a Paper>) -> String {
    let mut entries: Vec<String> = papers.map(Paper::bibtex).collect();
    entries.sort();
    entries.dedup();
    entries.join("\n\n")
}
