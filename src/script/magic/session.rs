//! Magics about the session: its variables, scripts, folder and environment, and help.

use std::path::{Path, PathBuf};

use super::{ALL, Call, Magic, Outcome, SIGNS, Takes};
use crate::{
    Diagnostic, Display, Event, Kind,
    bind::{escape, help_display, io_words, overview, variable_table, variables},
    names::nearest,
};

/// A magic on one line.
const LINE: Magic = Magic {
    name: "",
    line: Some(""),
    cell: None,
    takes: Takes::Nothing,
    code: false,
    doc: "",
    run: lsmagic,
};

pub(super) const VARS: Magic = Magic {
    name: "vars",
    doc: "Lists the variables with type, shape or value, and size, as `vars()` does.",
    run: vars,
    ..LINE
};

pub(super) const WHO: Magic = Magic {
    name: "who",
    line: Some("[TYPE]"),
    takes: Takes::Words,
    doc: "Lists the names of the variables, or of those of a type such as `Tensor`.",
    run: who,
    ..LINE
};

pub(super) const RESET: Magic = Magic {
    name: "reset",
    line: Some("[-f]"),
    takes: Takes::Words,
    doc: "Forgets all variables and functions. It never asks whether that is meant, as `-f` says elsewhere.",
    run: reset,
    ..LINE
};

pub(super) const RUN: Magic = Magic {
    name: "run",
    line: Some("FILE"),
    takes: Takes::File,
    doc: "Runs a script (.rhai) in this session: its variables and functions stay. Paths in it begin in the session's \
          folder.",
    run,
    ..LINE
};

pub(super) const LOAD: Magic = Magic {
    name: "load",
    line: Some("FILE"),
    takes: Takes::File,
    doc: "Puts the text of a file into the next cell, to be edited and run. (`load(path)` reads models and data.)",
    run: load,
    ..LINE
};

pub(super) const CD: Magic = Magic {
    name: "cd",
    line: Some("[FOLDER]"),
    takes: Takes::Folder,
    doc: "Changes where relative paths begin, for files, imports and commands alike; without a folder it tells where \
          that is. `~` is the home folder.",
    run: cd,
    ..LINE
};

pub(super) const ENV: Magic = Magic {
    name: "env",
    line: Some("[NAME[=VALUE]]"),
    takes: Takes::Words,
    doc: "Shows the environment, or one variable of it, or sets one for the commands of `!` and `%%bash`. Rhapsode \
          itself has read its own (`RHAPSODE_THREADS`, ..) when it started.",
    run: env,
    ..LINE
};

pub(super) const LSMAGIC: Magic = Magic {
    name: "lsmagic",
    doc: "Lists the magics; `?%NAME` tells more of one.",
    run: lsmagic,
    ..LINE
};

fn vars(call: &mut Call) -> Outcome {
    call.show(variable_table(&variables(&call.machine.context)));
    Ok(None)
}

fn who(call: &mut Call) -> Outcome {
    let wanted = call.arguments();
    let known = variables(&call.machine.context);
    let is_wanted = |kind: &str| wanted.is_empty() || kind == wanted;
    let names = known.iter().filter(|variable| is_wanted(&variable.kind));
    let names: Vec<&str> = names.map(|variable| variable.name.as_str()).collect();
    if names.is_empty() && !wanted.is_empty() {
        let mut error = call.wrong(Kind::Name, format!("no variable is a `{wanted}`"));
        let kinds = known.iter().map(|variable| variable.kind.as_str());
        let near = nearest(wanted, kinds);
        error
            .hints
            .extend(near.map(|near| format!("did you mean `{near}`?")));
        return Err(error);
    }
    call.print(match names.is_empty() {
        true => "no variables".to_string(),
        false => names.join("  "),
    });
    Ok(None)
}

fn reset(call: &mut Call) -> Outcome {
    match call.arguments() {
        "" | "-f" => {
            call.machine.reset();
            call.print("forgot all variables and functions");
            Ok(None)
        }
        other => Err(call.wrong(
            Kind::Value,
            format!("`%reset` takes nothing, got `{other}`"),
        )),
    }
}

fn run(call: &mut Call) -> Outcome {
    let (path, text) = file(call)?;
    if path.extension().is_some_and(|ending| ending == "ipynb") {
        let mut error = call.wrong(Kind::Value, "`%run` takes a script, and this is a notebook");
        let hint = "`rhapsode convert NOTEBOOK SCRIPT` makes a script of it";
        error.hints.push(hint.into());
        return Err(error);
    }
    let name = path.display().to_string();
    super::run(call.machine, &name, &text, crate::Unit::File)
}

fn load(call: &mut Call) -> Outcome {
    let (_, text) = file(call)?;
    call.machine.context.send(Event::NextInput(text));
    Ok(None)
}

/// The file that a magic is given, and its text.
fn file(call: &Call) -> Result<(PathBuf, String), Diagnostic> {
    let given = unquoted(call.arguments());
    if given.is_empty() {
        let message = format!("`{}` needs the name of a file", call.written());
        return Err(call.wrong(Kind::Value, message));
    }
    let path = call.machine.context.path(&home(given));
    let bytes = std::fs::read(&path).map_err(|error| {
        let message = format!("cannot read `{given}`: {}", io_words(&error));
        let mut diagnostic = call.wrong(Kind::Io, message);
        let near = nearest_in_folder(&path);
        let near = near.filter(|_| error.kind() == std::io::ErrorKind::NotFound);
        let hint = near.map(|near| format!("did you mean `{near}`?"));
        diagnostic.hints.extend(hint);
        diagnostic
    })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((path, text.trim_start_matches('\u{feff}').to_string())),
        Err(_) => {
            let mut error = call.wrong(Kind::Io, format!("`{given}` is not a text file in UTF-8"));
            let hint = "`load(path)` reads models, tensors, tables and images";
            error.hints.push(hint.into());
            Err(error)
        }
    }
}

/// The name most like that of a path, in its folder.
fn nearest_in_folder(path: &Path) -> Option<String> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.take(10_000).collect();
    // The order of a folder is the system's.
    names.sort();
    let wanted = path.file_name()?.to_str()?;
    nearest(wanted, names.iter().map(String::as_str)).map(str::to_string)
}

/// A path as it is given, with or without quotation marks.
fn unquoted(text: &str) -> &str {
    let inner = |mark: char| text.strip_prefix(mark)?.strip_suffix(mark);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// `~` is the user's folder.
pub(super) fn home(path: &str) -> String {
    let rest = path
        .strip_prefix('~')
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match (rest, std::env::var("HOME")) {
        (Some(rest), Ok(home)) if !home.is_empty() => format!("{home}{rest}"),
        _ => path.to_string(),
    }
}

fn cd(call: &mut Call) -> Outcome {
    let context = &call.machine.context;
    let given = unquoted(call.arguments());
    let wanted = match given {
        "" => context.folder(),
        given => context.path(&home(given)),
    };
    let found = match std::fs::canonicalize(&wanted) {
        Ok(found) if found.is_dir() => found,
        Ok(_) => return Err(call.wrong(Kind::Io, format!("`{given}` is no folder"))),
        Err(error) => {
            let message = format!("cannot go to `{}`: {}", wanted.display(), io_words(&error));
            return Err(call.wrong(Kind::Io, message));
        }
    };
    call.print(found.display().to_string());
    if !given.is_empty() {
        context.set_folder(found);
    }
    Ok(None)
}

fn env(call: &mut Call) -> Outcome {
    let given = call.arguments();
    let own = call.machine.context.environment().clone();
    let now = |name: &str| own.get(name).cloned().or_else(|| std::env::var(name).ok());
    if given.is_empty() {
        let mut all: std::collections::BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        all.extend(own);
        let lines = all.iter().map(|(name, value)| format!("{name}={value}"));
        call.print(lines.collect::<Vec<_>>().join("\n"));
        return Ok(None);
    }
    let pair = given
        .split_once('=')
        .or_else(|| given.split_once(char::is_whitespace));
    let Some((name, value)) = pair else {
        let Some(value) = now(given) else {
            return Err(call.wrong(Kind::Name, format!("`{given}` is not set")));
        };
        call.print(value);
        return Ok(None);
    };
    let (name, value) = (name.trim(), unquoted(value.trim()));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_name || value.contains('\0') {
        return Err(call.wrong(
            Kind::Value,
            format!("`{name}` cannot be a name in the environment"),
        ));
    }
    let mut environment = call.machine.context.environment();
    environment.insert(name.to_string(), value.to_string());
    drop(environment);
    call.print(format!("{name}={value}"));
    Ok(None)
}

fn lsmagic(call: &mut Call) -> Outcome {
    let of = |magic: &Magic| (magic.usages().join("  "), magic.summary().to_string());
    let rows = ALL.iter().map(of);
    let signs = SIGNS
        .iter()
        .map(|(usage, what)| (usage.to_string(), what.to_string()));
    let rows: Vec<(String, String)> = signs.chain(rows).collect();
    let width = rows
        .iter()
        .map(|(usage, _)| usage.chars().count())
        .max()
        .unwrap_or(0);
    let text = rows
        .iter()
        .map(|(usage, what)| format!("{usage:width$}  {}", what.trim_end_matches('.')));
    let html = rows.iter().map(|(usage, what)| {
        format!(
            "<tr><td><code>{}</code></td><td>{}</td></tr>",
            escape(usage),
            escape(what)
        )
    });
    let html = format!("<table><tbody>{}</tbody></table>", html.collect::<String>());
    call.show(Display::text(text.collect::<Vec<_>>().join("\n")).with("text/html", html));
    Ok(None)
}

/// `?name`: what a variable holds, what a name does, or what a question in words finds.
pub(super) fn help(call: &mut Call) -> Outcome {
    let name = call.get(&call.found.name);
    if name.is_empty() {
        if let Some(reference) = call.machine.context.reference() {
            call.show(overview(reference));
        }
        return Ok(None);
    }
    let is_question = name.contains(' ');
    let end = name.chars().count();
    let known = (!is_question).then(|| crate::complete::inspect(call.machine, name, end));
    let help = match known.flatten() {
        Some(help) => Ok(help),
        None => call.machine.help(name),
    };
    match help {
        Ok(help) => {
            call.show(help_display(&help));
            Ok(None)
        }
        Err(error) => {
            let mut placed = call.wrong(Kind::Name, error.message);
            placed.hints = error.hints;
            let range = &call.found.name;
            let (source, text) = (call.source, call.text);
            let place = crate::sources::span_place(source, text, range.start, range.end);
            Err(Diagnostic {
                place: Some(place),
                ..placed
            })
        }
    }
}
