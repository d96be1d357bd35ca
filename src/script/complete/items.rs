//! The ways to go on typing, and help on the name under the cursor.

use rhai::{Map, Token};

use super::scene::{Known, OptionMap, Scene};
use crate::{
    Completion, Completions, Help,
    built_in::BuiltIn,
    cell::Machine,
    context::Context,
    explain::parse::KEYWORDS,
    help::{Entry, EntryKind},
    schema::Schema,
    value::shorten,
};

/// Ways to go on typing a cell at the cursor (in code points).
pub(crate) fn complete(machine: &Machine, code: &str, cursor: usize) -> Completions {
    let of_magics = crate::magic::complete(machine, code, cursor);
    of_magics.unwrap_or_else(|| complete_code(machine, code, cursor))
}

/// The same, of a cell without magics.
pub(crate) fn complete_code(machine: &Machine, code: &str, cursor: usize) -> Completions {
    let scene = Scene::new(machine, code, cursor);
    if scene.in_comment() {
        return Completions::default();
    }
    let (start, end, items) = if let Some((start, typed)) = scene.string() {
        in_string(&scene, start, typed)
    } else if let Some(module) = scene.module() {
        (scene.start, scene.cursor, members(&scene, module))
    } else if let Some(receiver) = scene.receiver() {
        (
            scene.start,
            scene.cursor,
            receiver.map_or_else(Vec::new, |known| of_object(&scene, &known)),
        )
    } else if let Some(map) = scene.option_map() {
        let items = match map.key.is_some() {
            true => of_value(&map).into_iter().chain(names(&scene)).collect(),
            false => option_keys(&scene, &map),
        };
        (scene.start, scene.cursor, items)
    } else {
        (scene.start, scene.cursor, names(&scene))
    };
    let prefix = code.get(start..end).unwrap_or("");
    let points = |byte: usize| code.get(..byte).map_or(0, |text| text.chars().count());
    Completions {
        start: points(start),
        end: points(end),
        items: fitting(items, prefix),
    }
}

/// Keeps what begins with the prefix; in its own case first.
fn fitting(items: Vec<Completion>, prefix: &str) -> Vec<Completion> {
    let lower = prefix.to_lowercase();
    let (mut exact, mut other) = (Vec::new(), Vec::new());
    let mut seen = std::collections::HashSet::new();
    for item in items {
        let plain = item.text.trim_start_matches('"');
        if (!plain.starts_with(prefix) && !plain.to_lowercase().starts_with(&lower))
            || !seen.insert(item.text.clone())
        {
            continue;
        }
        if plain.starts_with(prefix) {
            exact.push(item)
        } else {
            other.push(item)
        }
    }
    exact.append(&mut other);
    exact
}

fn item(text: impl Into<String>, kind: &'static str, detail: impl Into<String>) -> Completion {
    Completion {
        text: text.into(),
        kind,
        detail: detail.into(),
    }
}

fn of_entry(entry: &Entry) -> Completion {
    let kind = match entry.kind {
        EntryKind::Property => "property",
        EntryKind::Method => "method",
        EntryKind::Module => "module",
        _ => "function",
    };
    item(entry.short(), kind, entry.headline())
}

/// The members of a module.
fn members(scene: &Scene, module: &str) -> Vec<Completion> {
    let entries = scene
        .reference()
        .into_iter()
        .flat_map(|reference| reference.owned_by(module));
    let mut items: Vec<Completion> = entries.map(of_entry).collect();
    let imported = scene
        .machine
        .imports()
        .into_iter()
        .filter(|(name, _)| name == module);
    items.extend(
        imported
            .flat_map(|(_, members)| members)
            .map(|member| item(member, "function", "")),
    );
    items
}

/// Properties and methods of something known.
fn of_object(scene: &Scene, known: &Known) -> Vec<Completion> {
    let mut items = Vec::new();
    if let Known::Value(value) = known
        && let Some(map) = value.read_lock::<Map>()
    {
        items.extend(
            map.iter()
                .map(|(key, value)| item(key.as_str(), "property", scene.type_name(value))),
        );
    }
    let kind = scene.type_of(known);
    let of_type = scene
        .reference()
        .into_iter()
        .flat_map(|reference| reference.entries().iter());
    items.extend(
        of_type
            .filter(|entry| entry.owner() == Some(kind.as_str()))
            .map(of_entry),
    );
    // A type of ours prints its methods alone; what Rhai offers for everything would drown them.
    let of_rhai = |function: &&BuiltIn| function.types.first().is_some_and(|first| *first == kind);
    let mut built_in: Vec<Completion> = scene
        .machine
        .built_in()
        .iter()
        .filter(of_rhai)
        .map(|f| item(&f.name, "method", f.headline()))
        .collect();
    built_in.sort_by(|a, b| a.text.cmp(&b.text));
    items.extend(built_in);
    items
}

/// The keys that an option map can still take.
fn option_keys(scene: &Scene, map: &OptionMap) -> Vec<Completion> {
    let Some(options) = &map.entry.options else {
        return names(scene);
    };
    let schema = options.schema();
    let Some(at) = schema.at(&map.path) else {
        return Vec::new();
    };
    let besides = map.entry.besides.iter().filter(|_| map.path.is_empty());
    let fields = schema
        .fields_of(at)
        .into_iter()
        .chain(besides.cloned())
        .filter(|field| !map.given.contains(&field.name));
    fields
        .map(|field| {
            let detail = format!("{}  {}", field.detail(), shorten(&field.text, 60));
            item(format!("{}: ", field.name), "option", detail.trim_end())
        })
        .collect()
}

/// The values that the option being typed allows.
fn of_value(map: &OptionMap) -> Vec<Completion> {
    let Some((schema, path)) = value_schema(map) else {
        return Vec::new();
    };
    let Some(at) = schema.at(&path) else {
        return Vec::new();
    };
    let mut items: Vec<Completion> = schema
        .strings(at)
        .iter()
        .map(|text| item(format!("{text:?}"), "value", ""))
        .collect();
    if schema.words(at).split(" | ").any(|word| word == "bool") {
        items.extend([item("true", "value", ""), item("false", "value", "")]);
    }
    items
}

fn value_schema(map: &OptionMap) -> Option<(std::sync::Arc<Schema>, Vec<String>)> {
    let schema = map.entry.options.as_ref()?.schema();
    let mut path = map.path.clone();
    path.push(map.key.clone()?);
    Some((schema, path))
}

/// In a string: the allowed values of an option, else files.
fn in_string(scene: &Scene, start: usize, typed: &str) -> (usize, usize, Vec<Completion>) {
    let outside = Scene::at_byte(scene.machine, scene.code, start - 1);
    if let Some(map) = outside.option_map()
        && let Some((schema, path)) = value_schema(&map)
        && let Some(at) = schema.at(&path)
    {
        let strings = schema.strings(at);
        if !strings.is_empty() {
            return (
                start,
                scene.cursor,
                strings
                    .iter()
                    .map(|text| item(*text, "value", ""))
                    .collect(),
            );
        }
    }
    let name = typed.rsplit('/').next().unwrap_or("");
    (
        scene.cursor - name.len(),
        scene.cursor,
        files(
            &scene.machine.context,
            typed.get(..typed.len() - name.len()).unwrap_or(""),
        ),
    )
}

/// The files of a folder.
pub(crate) fn files(context: &Context, folder: &str) -> Vec<Completion> {
    const MOST: usize = 500;
    let path = context.path(if folder.is_empty() { "." } else { folder });
    let Ok(entries) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    let mut items: Vec<Completion> = entries
        .take(MOST)
        .flatten()
        .filter_map(|entry| {
            let name = entry
                .file_name()
                .into_string()
                .ok()
                .filter(|name| !name.starts_with('.'))?;
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            Some(item(
                if is_folder { format!("{name}/") } else { name },
                "path",
                "",
            ))
        })
        .collect();
    items.sort_by(|a, b| a.text.cmp(&b.text));
    items
}

/// Everything that an expression can begin with.
fn names(scene: &Scene) -> Vec<Completion> {
    let mut items: Vec<Completion> = local_names(scene)
        .into_iter()
        .map(|name| item(name, "variable", ""))
        .collect();
    let Some(reference) = scene.reference() else {
        return items;
    };
    let described = crate::bind::variables(&scene.machine.context).into_iter();
    items.extend(described.map(|v| {
        item(
            v.name,
            "variable",
            format!("{} {}", v.kind, v.summary).trim_end().to_string(),
        )
    }));
    let functions = scene
        .machine
        .functions
        .iter_functions()
        .filter(|f| !f.name.starts_with("anon$"));
    items.extend(functions.map(|f| {
        item(
            f.name,
            "function",
            format!("{}({})", f.name, f.params.join(", ")),
        )
    }));
    items.extend(reference.functions().map(of_entry));
    items.extend(reference.modules().into_iter().map(|module| {
        let text = reference
            .get(module)
            .find(|entry| entry.kind == EntryKind::Module)
            .map_or(String::new(), |entry| entry.summary());
        item(format!("{module}::"), "module", text)
    }));
    let imports = scene.machine.imports().into_iter();
    items.extend(imports.map(|(name, _)| item(format!("{name}::"), "module", "imported")));
    items.extend(
        KEYWORDS
            .iter()
            .chain(&["true", "false"])
            .map(|word| item(*word, "keyword", "")),
    );
    let mut built_in: Vec<Completion> = scene
        .machine
        .built_in()
        .iter()
        .map(|f| item(&f.name, "function", f.headline()))
        .collect();
    built_in.sort_by(|a, b| a.text.cmp(&b.text));
    items.extend(built_in);
    items
}

/// Names that the code itself declares before the cursor, newest first.
fn local_names(scene: &Scene) -> Vec<String> {
    let mut names = Vec::new();
    let lexemes = scene.lexed.lexemes.get(..scene.before).unwrap_or(&[]);
    let mut in_parameters = false;
    for pair in lexemes.windows(2) {
        let [before, here] = pair else { continue };
        in_parameters = match (&before.token, &here.token) {
            // A closure's `|` follows what cannot end an operand.
            (Token::Equals | Token::LeftParen | Token::Comma | Token::Colon, Token::Pipe) => true,
            (Token::Identifier(_), Token::LeftParen)
                if lexemes.iter().any(|l| {
                    matches!(l.token, Token::Fn)
                        && l.end < before.start
                        && before.start - l.end <= 1
                }) =>
            {
                true
            }
            (_, Token::Pipe | Token::RightParen) => false,
            _ => in_parameters,
        };
        let Token::Identifier(name) = &here.token else {
            continue;
        };
        let declares = matches!(before.token, Token::Let | Token::Const | Token::For);
        if declares
            || (in_parameters
                && matches!(before.token, Token::Pipe | Token::LeftParen | Token::Comma))
        {
            names.insert(0, name.to_string());
        }
    }
    names
}

/// Help on the name under the cursor (in code points), or on the call around it.
pub(crate) fn inspect(machine: &Machine, code: &str, cursor: usize) -> Option<Help> {
    match crate::magic::inspect(machine, code, cursor) {
        Some(found) => found,
        None => inspect_code(machine, code, cursor),
    }
}

/// The same, of a cell without magics.
pub(crate) fn inspect_code(machine: &Machine, code: &str, cursor: usize) -> Option<Help> {
    let scene = Scene::new(machine, code, cursor);
    let index = scene.lexed.lexemes.iter().position(|l| {
        l.start <= scene.cursor && scene.cursor <= l.end && matches!(l.token, Token::Identifier(_))
    });
    let named = index.and_then(|index| help_at(&scene, index));
    named.or_else(|| help_at(&scene, scene.enclosing_call()?))
}

fn help_at(scene: &Scene, index: usize) -> Option<Help> {
    if let Some(entry) = scene.entry_at(index) {
        let shadowed =
            entry.owner().is_none() && scene.machine.context.global(&entry.name).is_some();
        if !shadowed {
            return scene.machine.exact_help(&entry.name);
        }
    }
    let Token::Identifier(name) = &scene.lexed.lexemes.get(index)?.token else {
        return None;
    };
    let is_free = scene.behind_dot(index).is_none();
    if is_free && let Some(value) = scene.machine.context.peek(name) {
        return variable(scene, name, &value);
    }
    if is_free {
        scene.machine.exact_help(name)
    } else {
        built_in(scene, index)
    }
}

/// What a variable holds.
fn variable(scene: &Scene, name: &str, value: &rhai::Dynamic) -> Option<Help> {
    let types = &scene.reference()?.types;
    let kind = types.name(value);
    let headline = format!("{name}: {kind}");
    let summary = types.summary(value);
    let of_type = scene
        .machine
        .exact_help(&kind)
        .map(|help| (help.text, help.markdown))
        .unwrap_or_default();
    Some(Help {
        name: name.to_string(),
        text: format!("{headline} {summary}\n\n{}", of_type.0)
            .trim_end()
            .to_string(),
        markdown: format!("### `{headline}`\n\n{summary}\n\n{}", of_type.1)
            .trim_end()
            .to_string(),
    })
}

/// A method that Rhai itself brings, when what stands before the dot has it.
fn built_in(scene: &Scene, index: usize) -> Option<Help> {
    let object = scene.behind_dot(index)?;
    let kind = scene.known(object).map(|known| scene.type_of(&known));
    let Token::Identifier(name) = &scene.lexed.lexemes.get(index)?.token else {
        return None;
    };
    let known = scene.machine.built_in();
    let fits = |function: &&BuiltIn| kind.as_ref().is_none_or(|kind| function.takes(kind));
    let fitting: Vec<BuiltIn> = known.iter().filter(fits).cloned().collect();
    crate::built_in::help(name, &fitting)
}
