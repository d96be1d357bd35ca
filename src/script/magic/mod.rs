//! Magics: what a cell asks of its session besides code. `%time f(x)`, `%%bash`, `!ls`, `?name`.
//!
//! They are recognised in cells alone, so that the REPL, the kernel and notebooks all have them; in a script's file a
//! line that begins with `%` is an error that says so. To add one: a constant like those in `time.rs`, a line in [`ALL`].

mod capture;
mod complete;
mod elsewhere;
mod lines;
mod scan;
mod session;
mod shell;
mod text;
mod time;

use std::ops::Range;

use rhai::Dynamic;

use crate::{
    Diagnostic, Display, Event, Help, Kind, Unit,
    cell::{Machine, Parsed},
    names::nearest,
    sources::span_place,
};
pub(crate) use capture::{Captured, bind};
pub(crate) use complete::{complete, highlight, inspect};
pub use lines::MagicLines;
pub(crate) use lines::{checked, completeness};
use scan::{Found, Head, Part, Room, code_ranges, only, parts};

/// What runs a magic gives: a value to show, if any.
type Outcome = Result<Option<Dynamic>, Diagnostic>;

/// What a magic is given on its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing.
    Nothing,
    /// Code, which is run.
    Code,
    /// The path of a file.
    File,
    /// The path of a folder.
    Folder,
    /// Something else.
    Words,
}

/// One magic.
pub(crate) struct Magic {
    /// Its name without signs.
    pub name: &'static str,
    /// What it is given as a line `%name`; nothing where it is none.
    pub line: Option<&'static str>,
    /// What it is given on the first line of a cell `%%name`; nothing where it takes no cell.
    pub cell: Option<&'static str>,
    /// What stands behind its name.
    pub takes: Takes,
    /// Whether the rest of a cell is code of ours.
    code: bool,
    /// What it does: one sentence, then more.
    pub doc: &'static str,
    run: fn(&mut Call) -> Outcome,
}

impl Magic {
    /// Whether the cell below it is code of ours.
    fn body_is_code(&self) -> bool {
        self.code
    }

    /// How it is written, as a line and as the head of a cell.
    pub fn usages(&self) -> Vec<String> {
        let written = |signs: &str, given: &str| format!("{signs}{} {given}", self.name);
        let line = self.line.map(|given| written("%", given));
        let cell = self.cell.map(|given| written("%%", given));
        let usages = line.into_iter().chain(cell);
        usages.map(|usage| usage.trim_end().to_string()).collect()
    }

    /// The first sentence of its documentation.
    pub fn summary(&self) -> &'static str {
        self.doc
            .split_once(". ")
            .map_or(self.doc, |(first, _)| first)
    }
}

/// All magics, in the order in which `%lsmagic` lists them.
pub(crate) const ALL: &[Magic] = &[
    time::TIME,
    time::TIMEIT,
    session::VARS,
    session::WHO,
    session::RESET,
    session::RUN,
    session::LOAD,
    session::CD,
    session::ENV,
    capture::CAPTURE,
    shell::BASH,
    text::HTML,
    text::MARKDOWN,
    text::LATEX,
    text::WRITEFILE,
    text::RUST,
    session::LSMAGIC,
];

/// What has signs of its own and no name.
const SIGNS: [(&str, &str); 2] = [
    (
        "?NAME  NAME?",
        "Shows help on a name, or finds by a question in words",
    ),
    (
        "!COMMAND",
        "Runs a command of the shell and shows what it writes",
    ),
];

/// The names of all magics, without signs.
pub fn magic_names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|magic| magic.name)
}

/// The magic of a name.
pub(crate) fn find(name: &str) -> Option<&'static Magic> {
    ALL.iter().find(|magic| magic.name == name)
}

/// Runs a cell or file with its magics: the value that it shows.
pub(crate) fn run(machine: &mut Machine, source: &str, code: &str, unit: Unit) -> Outcome {
    if unit == Unit::File {
        return machine
            .run(source, code)
            .map_err(|error| in_file(error, code));
    }
    let Some(found) = parts(code, &|name| is_known(machine, name)) else {
        return machine.run(source, code);
    };
    // Errors look at the code alone, and quote the cell.
    let outcome = run_parts(machine, source, code, &found);
    outcome.map_err(|error| quoted(error, source, code))
}

/// Whether a name is a variable or function of the session.
fn is_known(machine: &Machine, name: &str) -> bool {
    let mut functions = machine.functions.iter_functions();
    machine.context.global(name).is_some() || functions.any(|function| function.name == name)
}

/// A file has no magics; who has tried one is told.
fn in_file(mut error: Diagnostic, code: &str) -> Diagnostic {
    let line = error.place.as_ref().map(|place| place.line);
    let text = line.and_then(|line| code.lines().nth(line.saturating_sub(1)));
    let has_sign = text.is_some_and(|text| text.trim_start().starts_with('%'));
    if error.kind == Kind::Syntax && has_sign {
        error.message = "magics belong to cells of a notebook or the REPL, not to a script".into();
        let hint =
            "`time(|| ..)` measures, `import` takes another file; `!` and `%%` have no counterpart";
        error.hints = vec![hint.into()];
    }
    error
}

/// Runs the pieces of a text: a cell, or one in which all is blank but what belongs to them.
fn run_parts(machine: &mut Machine, source: &str, text: &str, parts: &[Part]) -> Outcome {
    let ranges = code_ranges(text, parts);
    machine
        .sources
        .insert(source, &only(text, &ranges, Room::Columns));
    // All of the cell is read before any of it is run, and its functions are known to all of it.
    let mut statements = Vec::new();
    for part in parts {
        if let Part::Code(range) = part {
            let code = only(text, std::slice::from_ref(range), Room::Columns);
            statements.push(machine.parse(source, &code)?);
        }
    }
    for parsed in &statements {
        machine.adopt_functions(parsed, source);
    }
    let mut statements = statements.into_iter();
    let mut output = None;
    for part in parts {
        output = match part {
            Part::Magic(found) => run_magic(machine, source, text, found)?,
            Part::Code(_) => match statements.next() {
                Some(parsed) => machine.run_parsed(source, &parsed)?,
                None => None,
            },
        };
        if machine.context.must_stop() || machine.context.has_yielded() {
            return Err(Diagnostic::new(Kind::Interrupted, "stopped by the user"));
        }
    }
    Ok(output)
}

/// Runs one magic.
fn run_magic(machine: &mut Machine, source: &str, text: &str, found: &Found) -> Outcome {
    let mut call = Call {
        machine,
        source,
        text,
        found,
    };
    match found.head {
        Head::Shell => shell::command(&mut call),
        Head::Help => session::help(&mut call),
        Head::Line | Head::Cell => {
            let magic = call.magic()?;
            if magic.takes == Takes::Nothing && !call.arguments().is_empty() {
                let message = format!("`{}` takes nothing", call.written());
                return Err(call.wrong(Kind::Value, message));
            }
            (magic.run)(&mut call)
        }
    }
}

/// One use of a magic.
pub(crate) struct Call<'a> {
    machine: &'a mut Machine,
    source: &'a str,
    text: &'a str,
    found: &'a Found,
}

impl Call<'_> {
    /// The magic, used as it may be.
    fn magic(&self) -> Result<&'static Magic, Diagnostic> {
        let is_cell = self.found.head == Head::Cell;
        let name = self.get(&self.found.name);
        let Some(magic) = find(name) else {
            let message = format!("there is no magic `{}`", self.written());
            return Err(elsewhere::hint(name, is_cell).into_iter().fold(
                self.wrong(Kind::Name, message),
                |mut error, hint| {
                    error.hints.push(hint);
                    error
                },
            ));
        };
        let (message, hint) = match (is_cell, magic.line, magic.cell) {
            (true, _, None) => (
                format!("`%{name}` takes no cell"),
                format!("write `%{name}`"),
            ),
            (false, None, _) => (
                format!("`%%{name}` takes a whole cell"),
                format!("write `%%{name}` on the first line of a cell of its own"),
            ),
            (true, ..) if self.found.body.start <= self.found.sign.end && self.is_late() => (
                format!("`%%{name}` stands on the first line of a cell"),
                "put it into a cell of its own".to_string(),
            ),
            _ => return Ok(magic),
        };
        let mut error = self.wrong(Kind::Syntax, message);
        error.hints.push(hint);
        Err(error)
    }

    /// Whether something stands before it in its cell.
    fn is_late(&self) -> bool {
        let before = self.text.get(..self.found.sign.start).unwrap_or("");
        !before.trim().is_empty()
    }

    /// The name with its signs.
    fn written(&self) -> &str {
        self.get(&self.found.sign)
    }

    fn get(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or("")
    }

    /// What stands behind the name.
    fn arguments(&self) -> &str {
        self.get(&self.found.arguments)
    }

    /// The lines below, of a magic that takes the cell.
    fn body(&self) -> &str {
        self.get(&self.found.body)
    }

    fn is_cell(&self) -> bool {
        self.found.head == Head::Cell
    }

    /// An error at the magic, or at what it was given.
    fn wrong(&self, kind: Kind, message: impl Into<String>) -> Diagnostic {
        let (found, mut error) = (self.found, Diagnostic::new(kind, message));
        let range = match found.arguments.is_empty() || kind == Kind::Name {
            true => found.sign.clone(),
            false => found.arguments.clone(),
        };
        error.place = Some(span_place(self.source, self.text, range.start, range.end));
        error
    }

    /// Writes to standard output.
    fn print(&self, text: impl AsRef<str>) {
        let text = format!("{}\n", text.as_ref());
        self.machine.context.send(Event::Stdout(text));
    }

    /// Shows something rich.
    fn show(&self, display: Display) {
        self.machine.context.send(Event::Display(display));
    }

    /// Runs the cell below, magics in it included.
    fn run_body(&mut self) -> Outcome {
        let body = only(
            self.text,
            std::slice::from_ref(&self.found.body),
            Room::Columns,
        );
        let machine = &mut *self.machine;
        match parts(&body, &|name| is_known(machine, name)) {
            Some(found) => run_parts(machine, self.source, &body, &found),
            None => self.run_code(&body),
        }
    }

    /// Runs code, which keeps its place in the cell.
    fn run_code(&mut self, code: &str) -> Outcome {
        let parsed = self.read_code(code)?;
        self.machine.run_parsed(self.source, &parsed)
    }

    /// The code that it is given, on its line or below, ready to run.
    fn given_code(&mut self) -> Result<Parsed, Diagnostic> {
        let range = match self.is_cell() {
            true => self.found.body.clone(),
            false => self.found.arguments.clone(),
        };
        if self.get(&range).trim().is_empty() {
            let message = format!("`{}` needs code to run", self.written());
            return Err(self.wrong(Kind::Value, message));
        }
        let code = only(self.text, std::slice::from_ref(&range), Room::Columns);
        self.read_code(&code)
    }

    fn read_code(&mut self, code: &str) -> Result<Parsed, Diagnostic> {
        self.machine.sources.insert(self.source, code);
        let parsed = self.machine.parse(self.source, code)?;
        self.machine.adopt_functions(&parsed, self.source);
        Ok(parsed)
    }
}

/// The error as the user sees it: with the lines of the cell, also where they are no code.
fn quoted(mut error: Diagnostic, source: &str, cell: &str) -> Diagnostic {
    let frames = error
        .trace
        .iter_mut()
        .filter_map(|frame| frame.place.as_mut());
    for place in error.place.as_mut().into_iter().chain(frames) {
        if place.source == source
            && let Some(line) = cell.split('\n').nth(place.line.saturating_sub(1))
        {
            place.text = line.trim_end_matches('\r').to_string();
        }
    }
    error
}

/// Help on a name that begins with `%` or `!`; nothing for any other.
pub(crate) fn help(name: &str) -> Option<Result<Help, Diagnostic>> {
    let short = name.strip_prefix('%')?;
    let short = short.strip_prefix('%').unwrap_or(short);
    if short.is_empty() {
        // The operator.
        return None;
    }
    let found = find(short).map(|magic| {
        let usages = magic.usages();
        Help {
            name: format!("%{}", magic.name),
            text: format!("{}\n\n{}", usages.join("\n"), magic.doc),
            markdown: format!("```\n{}\n```\n\n{}", usages.join("\n"), magic.doc),
        }
    });
    Some(found.ok_or_else(|| {
        let mut error = Diagnostic::new(Kind::Name, format!("there is no magic `{name}`"));
        error
            .hints
            .extend(elsewhere::hint(short, name.starts_with("%%")));
        error
    }))
}

/// A magic with a name like this one.
fn near(name: &str) -> Option<&'static Magic> {
    nearest(name, magic_names()).and_then(find)
}
