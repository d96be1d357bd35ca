//! The language suite: runs `tests/suite/**/*.rhai` and compares what each cell does with its comments.
//!
//! A file has named sections, each run in a fresh session:
//!
//! ```text
//! // --- sums mix ints and floats ---
//! 1 + 2.0
//! // => 3.0
//! ```
//!
//! `// %%` begins the next cell of a section. Below a cell stand its expectations, a comment line each:
//! `// => ` the output (several lines are several comments), `// prints: ` and `// eprints: ` the text
//! streams, `// shows: ` a display in the middle, `// Error: 1:5-1:9 type error: message` with the line and
//! columns in the cell (end exclusive; preceded by the source when it is another one, such as `cell 1`),
//! `// Trace: function, 2:1` the calls on the way to it, `// Hint: ` its hints. A cell must do all of that
//! and nothing else. `[..]` in an expectation stands for any text, such as the free memory.
//!
//! `cargo lang` runs all, `cargo lang TEXT` the sections whose `file: name` contains the text, and
//! `cargo lang --update` rewrites the expectations to what the cells do.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use rhapsode_script::{Diagnostic, Place, Recorder, Session, SessionOptions, Severity, Unit};

/// What an expectation begins with.
const MARKS: [&str; 7] = [
    "// =>",
    "// prints:",
    "// eprints:",
    "// shows:",
    "// Error:",
    "// Trace:",
    "// Hint:",
];
/// Begins the next cell.
const CELL: &str = "// %%";

fn main() -> ExitCode {
    let mut update = false;
    let mut filters = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--update" => update = true,
            flag if flag.starts_with('-') => {
                return fail(&format!(
                    "unknown option `{flag}`: expected --update or a filter"
                ));
            }
            filter => filters.push(filter.to_string()),
        }
    }
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite");
    if let Err(error) = work_in_scratch() {
        return fail(&format!("no place for what the sections save: {error}"));
    }
    match run(&suite, &filters, update) {
        Ok(Count {
            passed: 0,
            failed: 0,
            updated: 0,
        }) => fail("no section fits the filter"),
        Ok(Count {
            passed,
            failed,
            updated,
        }) => {
            let updated = if update {
                format!(", {updated} updated")
            } else {
                String::new()
            };
            report(&format!("{passed} passed, {failed} failed{updated}\n"));
            ExitCode::from(u8::from(failed > 0))
        }
        Err(error) => fail(&error),
    }
}

/// Relative paths that a section saves to lie in a folder that every run begins empty.
fn work_in_scratch() -> io::Result<()> {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("suite");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    std::env::set_current_dir(scratch)
}

/// How many sections did what.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    updated: usize,
}

/// Runs all files.
fn run(suite: &Path, filters: &[String], update: bool) -> Result<Count, String> {
    let mut count = Count::default();
    for path in files(suite)? {
        let name = path
            .strip_prefix(suite)
            .unwrap_or(&path)
            .display()
            .to_string();
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut file =
            File::parse(&text).map_err(|error| format!("tests/suite/{name}: {error}"))?;
        let before = count.updated;
        for section in &mut file.sections {
            let title = format!("{name}: {}", section.name);
            if !filters.is_empty() && !filters.iter().any(|filter| title.contains(filter.as_str()))
            {
                continue;
            }
            let differences = section.run();
            match (differences.is_empty(), update) {
                (true, _) => count.passed += 1,
                (false, true) => count.updated += 1,
                (false, false) => {
                    count.failed += 1;
                    let Section {
                        line,
                        name: section,
                        ..
                    } = section;
                    report(&format!(
                        "tests/suite/{name}:{line}: {section}\n{differences}\n"
                    ));
                }
            }
        }
        if count.updated > before {
            write(&path, &file.render()).map_err(|error| format!("{}: {error}", path.display()))?;
            report(&format!("tests/suite/{name}: updated\n"));
        }
    }
    Ok(count)
}

/// All `.rhai` files below a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "rhai") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A file of the suite.
struct File {
    /// What stands above the first section.
    head: Vec<String>,
    sections: Vec<Section>,
}

/// A section: some cells in a session of their own.
struct Section {
    name: String,
    /// The line of its title in the file, from 1.
    line: usize,
    cells: Vec<Cell>,
}

/// A cell and what it should do.
#[derive(Default)]
struct Cell {
    code: Vec<String>,
    expected: Vec<String>,
    /// What it did, when it was run and that was something else.
    found: Option<Vec<String>>,
}

impl File {
    /// Takes a file apart.
    fn parse(text: &str) -> Result<Self, String> {
        let mut file = File {
            head: Vec::new(),
            sections: Vec::new(),
        };
        for (n, line) in text.lines().enumerate() {
            if let Some(name) = title(line) {
                if file.sections.iter().any(|section| section.name == name) {
                    return Err(format!("two sections are called `{name}`"));
                }
                file.sections.push(Section {
                    name: name.to_string(),
                    line: n + 1,
                    cells: vec![Cell::default()],
                });
                continue;
            }
            let Some(section) = file.sections.last_mut() else {
                file.head.push(line.to_string());
                continue;
            };
            let Some(cell) = section.cells.last_mut() else {
                continue;
            };
            if line.trim_end() == CELL {
                section.cells.push(Cell::default());
            } else if MARKS.iter().any(|mark| line.starts_with(mark)) {
                cell.expected.push(line.trim_end().to_string());
            } else if cell.expected.is_empty() {
                cell.code.push(line.to_string());
            } else if !line.trim().is_empty() {
                return Err(format!(
                    "line {}: code below the expectations of its cell; `{CELL}` begins the next",
                    n + 1
                ));
            }
        }
        Ok(file)
    }

    /// The file as it should be.
    fn render(&self) -> String {
        let mut text: String = self.head.iter().map(|line| format!("{line}\n")).collect();
        for section in &self.sections {
            let _ = writeln!(text, "// --- {} ---", section.name);
            for (n, cell) in section.cells.iter().enumerate() {
                if n > 0 {
                    let _ = writeln!(text, "{CELL}");
                }
                let expected = cell.found.as_ref().unwrap_or(&cell.expected);
                for line in cell.code_lines().iter().chain(expected) {
                    let _ = writeln!(text, "{line}");
                }
            }
            text.push('\n');
        }
        text.trim_end().to_string() + "\n"
    }
}

/// The name in a section's title line.
fn title(line: &str) -> Option<&str> {
    line.trim_end()
        .strip_prefix("// --- ")?
        .strip_suffix(" ---")
}

impl Section {
    /// Runs its cells in a fresh session; gives what differs from the expectations.
    fn run(&mut self) -> String {
        let mut session = Session::new(SessionOptions::default());
        let mut differences = String::new();
        for (n, cell) in self.cells.iter_mut().enumerate() {
            let found = observe(&mut session, &cell.code_lines().join("\n"), n + 1);
            let fitting = cell
                .expected
                .iter()
                .zip(&found)
                .all(|(expected, found)| fits(expected, found));
            if !fitting || found.len() != cell.expected.len() {
                describe(&mut differences, &cell.expected, &found);
                cell.found = Some(found);
            }
        }
        differences
    }
}

impl Cell {
    /// The code without the empty lines below it.
    fn code_lines(&self) -> &[String] {
        let end = self
            .code
            .iter()
            .rposition(|line| !line.trim().is_empty())
            .map_or(0, |last| last + 1);
        &self.code[..end]
    }
}

/// Runs a cell and tells what it did, as expectations.
fn observe(session: &mut Session, code: &str, number: usize) -> Vec<String> {
    let mut recorder = Recorder::default();
    let findings = session.check(&format!("cell {number}"), code, Unit::Cell);
    let result = session.execute(code, &mut recorder);
    let mut lines = Vec::new();
    // What works must not be called wrong: this line stands in no expectation.
    let alarm = findings.iter().find(|f| f.severity == Severity::Error);
    if let Some(alarm) = alarm.filter(|_| result.is_ok()) {
        lines.push(format!("// false alarm: {}", alarm.render(false)));
    }
    let mut tell = |mark: &str, text: &str| {
        lines.extend(
            text.lines()
                .map(|line| format!("{mark} {line}").trim_end().to_string()),
        )
    };
    tell("// prints:", &recorder.stdout);
    tell("// eprints:", &recorder.stderr);
    for display in &recorder.displays {
        tell("// shows:", display.plain());
    }
    match result {
        Ok(None) => {}
        Ok(Some(display)) => tell("// =>", display.plain()),
        Err(error) => lines.extend(tell_error(&error, &format!("cell {number}"))),
    }
    lines
}

/// An error with its place, trace and hints, as expectations.
fn tell_error(error: &Diagnostic, cell: &str) -> Vec<String> {
    let place = |place: &Place| {
        let source = if place.source == cell {
            String::new()
        } else {
            format!("{} ", place.source)
        };
        format!(
            "{source}{}:{}-{}:{}",
            place.line, place.column, place.line, place.end
        )
    };
    let at = error
        .place
        .as_ref()
        .map(|p| place(p) + " ")
        .unwrap_or_default();
    let message = error.message.replace('\n', "\\n");
    let mut lines = vec![format!("// Error: {at}{}: {message}", error.kind.name())];
    for frame in &error.trace {
        let at = frame
            .place
            .as_ref()
            .map(|p| format!(", {}", place(p)))
            .unwrap_or_default();
        lines.push(format!("// Trace: {}{at}", frame.function));
    }
    lines.extend(
        error
            .hints
            .iter()
            .map(|hint| format!("// Hint: {}", hint.replace('\n', "\\n"))),
    );
    lines
}

/// Whether a line is as expected; `[..]` there stands for any text.
fn fits(expected: &str, found: &str) -> bool {
    let parts: Vec<&str> = expected.split("[..]").collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return expected == found;
    };
    let Some(mut rest) = found.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Lists what was expected and not found (-) and found and not expected (+), line by line.
fn describe(out: &mut String, expected: &[String], found: &[String]) {
    let fitting =
        |n: usize| matches!((expected.get(n), found.get(n)), (Some(e), Some(f)) if fits(e, f));
    for (n, line) in expected.iter().enumerate() {
        let _ = writeln!(out, "    {} {line}", if fitting(n) { ' ' } else { '-' });
    }
    for (_, line) in found.iter().enumerate().filter(|(n, _)| !fitting(*n)) {
        let _ = writeln!(out, "    + {line}");
    }
}

/// Replaces a file, complete or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("rhai.tmp");
    fs::File::create(&beside)?.write_all(text.as_bytes())?;
    fs::rename(&beside, path)
}

/// Tells the user.
fn report(text: &str) {
    // Whoever closed standard output does not want to hear of it.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Tells the user what is wrong with the call itself.
fn fail(text: &str) -> ExitCode {
    report(&format!("error: {text}\n"));
    ExitCode::from(2)
}
