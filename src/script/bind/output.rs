//! What a script writes, shows and asks: `print show eprint input password clear_output`, and
//! `help` and `vars`, which show what is known.

use rhai::{Dynamic, FnPtr, ImmutableString, NativeCallContext};
use unicode_width::UnicodeWidthStr;

use super::Outcome;
use crate::{
    Display, Event, Help, Kind, Variable,
    context::{self, Context},
    fault::Fault,
    help::{EntryKind, FunctionName, Reference},
    library::Library,
    value::Object,
};

impl Object for FunctionName {
    const NAME: &'static str = "function";

    fn text(&self) -> String {
        format!("fn {}", self.0)
    }

    fn summary(&self) -> String {
        self.0.clone()
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.object::<FunctionName>("The name of a function that is not called: for `help`.");
    printing(library);
    showing(library);
    questions(library);
    knowledge(library);
}

fn printing(library: &mut Library) {
    library
        .function(
            "print",
            "(values...)",
            r#"
            Writes values to standard output, with spaces between them and a line end behind.

            ```rhai
            print("loss", 0.5);
            ```
            "#,
        )
        .call(|call: NativeCallContext, a: Dynamic, b: Dynamic| joined(&call, [a, b]))
        .call(
            |call: NativeCallContext, a: Dynamic, b: Dynamic, c: Dynamic| joined(&call, [a, b, c]),
        )
        .call(
            |call: NativeCallContext, a: Dynamic, b: Dynamic, c: Dynamic, d: Dynamic| {
                joined(&call, [a, b, c, d])
            },
        )
        .call(
            |call: NativeCallContext,
             a: Dynamic,
             b: Dynamic,
             c: Dynamic,
             d: Dynamic,
             e: Dynamic| joined(&call, [a, b, c, d, e]),
        )
        .call(
            |call: NativeCallContext,
             a: Dynamic,
             b: Dynamic,
             c: Dynamic,
             d: Dynamic,
             e: Dynamic,
             f: Dynamic| joined(&call, [a, b, c, d, e, f]),
        );
    library
        .function(
            "eprint",
            "(value: any)",
            r#"
            Writes a value to standard error.

            ```rhai
            eprint("something is odd");
            ```
            "#,
        )
        .call(|call: NativeCallContext, value: Dynamic| -> Outcome<()> {
            let text = joined(&call, [value])?;
            context::of_call(&call)?.send(Event::Stderr(format!("{text}\n")));
            Ok(())
        });
}

fn showing(library: &mut Library) {
    library
        .function(
            "show",
            "(value: any)",
            r#"
            Displays a value in its rich form, in the middle of a cell.

            ```rhai
            show([1, 2, 3]);
            ```
            "#,
        )
        .call(|call: NativeCallContext, value: Dynamic| show(&call, &value));
    library
        .function(
            "clear_output",
            "(wait?: bool)",
            r#"
            Clears what the cell has shown so far; with `true` only when something new is shown, so that nothing flickers.

            ```rhai
            clear_output();
            ```
            "#,
        )
        .call(|call: NativeCallContext| clear(&call, false))
        .call(|call: NativeCallContext, wait: bool| clear(&call, wait));
}

fn questions(library: &mut Library) {
    library
        .function(
            "input",
            "(prompt?: string) -> string",
            r#"
            Asks the user for a line. An error where nobody can answer, as in a script that runs in the background.

            ```rhai,no_run
            let name = input("Name: ");
            ```
            "#,
        )
        .call(|call: NativeCallContext| ask(&call, "", false))
        .call(|call: NativeCallContext, prompt: &str| ask(&call, prompt, false));
    library
        .function(
            "password",
            "(prompt?: string) -> string",
            r#"
            Asks the user for a line without showing what is typed.

            ```rhai,no_run
            let token = password("Token: ");
            ```
            "#,
        )
        .call(|call: NativeCallContext| ask(&call, "Password: ", true))
        .call(|call: NativeCallContext, prompt: &str| ask(&call, prompt, true));
}

/// The language on one page, for those who come from Python.
const LANGUAGE: &str = r#"
The language on one page: Rhai, for those who come from Python.

- Statements end with `;`. The last expression of a cell, without `;`, is its output.
- `let x = 1;` declares, `x = 2;` assigns, `const K = 3;` cannot be changed. `()` is nothing.
- `//` begins a comment. Blocks stand in `{ }`, also after `if`, `for`, `while`, and have a value.
- `1 / 2` is 0 for ints; `2 ** 3` is a power; `!a`, `a && b`, `a || b` are not, and, or.
- `"text"` ends on its line; a text in back-ticks may have several and holds values: `${x}`.
- A map is `#{ key: 1 }`, read as `m.key`; an array is `[1, 2]`; a range is `0..10` or `0..=9`.
- A function is `fn f(x) { x + 1 }`, a closure `|x| x + 1`, called with `f.call(1)`.
- Members of modules are written `plot::line(...)`, methods `x.sum()`.
- Reserved and thus no names: `var module new match case default with is this null nil`.

```rhai
let total = 0;
for i in 0..4 { total += i; }
let squares = [1, 2, 3].map(|v| v ** 2);
fn describe(x) { if x > 5 { "large" } else { "small" } }
`${describe(total)} ${squares}` // => "large [1, 4, 9]"
```
"#;

fn knowledge(library: &mut Library) {
    library.topic("language", LANGUAGE);
    library
        .function(
            "help",
            "(what?: function | string | any)",
            r#"
            Shows help on a function, module or type; without an argument a list of what there is.

            ```rhai
            help(progress);
            help("log");
            ```
            "#,
        )
        .call(|call: NativeCallContext| -> Outcome<()> {
            let context = context::of_call(&call)?;
            if let Some(reference) = context.reference() {
                context.send(Event::Display(overview(reference)));
            }
            Ok(())
        })
        .call(|call: NativeCallContext, what: Dynamic| help(&call, &what));
    library
        .function(
            "vars",
            "()",
            r#"
            Lists the variables with type, shape or value, and size.

            ```rhai
            let x = 3;
            vars();
            ```
            "#,
        )
        .call(|call: NativeCallContext| -> Outcome<()> {
            let context = context::of_call(&call)?;
            context.send(Event::Display(variable_table(&super::variables(&context))));
            Ok(())
        });
}

/// The values as `print` writes them.
fn joined<const N: usize>(
    call: &NativeCallContext,
    values: [Dynamic; N],
) -> Outcome<ImmutableString> {
    let mut line = String::new();
    for (i, value) in values.into_iter().enumerate() {
        if i > 0 {
            line.push(' ');
        }
        line.push_str(&call.call_native_fn::<ImmutableString>("to_string", (value,))?);
    }
    Ok(line.into())
}

fn show(call: &NativeCallContext, value: &Dynamic) -> Outcome<()> {
    let context = context::of_call(call)?;
    let types = context.reference().map(|reference| &reference.types);
    if let Some(display) = types.and_then(|types| types.display(value)) {
        context.send(Event::Display(display));
    }
    Ok(())
}

fn clear(call: &NativeCallContext, wait: bool) -> Outcome<()> {
    context::of_call(call)?.send(Event::Clear { wait });
    Ok(())
}

fn ask(call: &NativeCallContext, prompt: &str, password: bool) -> Outcome<String> {
    let answer = context::of_call(call)?.ask(prompt, password)?;
    answer.ok_or_else(|| {
        Fault::new(Kind::Io, "nobody can answer here")
            .hint("give the value with `arg(name, default)` and `--set name=value`")
            .into()
    })
}

fn help(call: &NativeCallContext, what: &Dynamic) -> Outcome<()> {
    let context = context::of_call(call)?;
    let name = name_of(&context, what);
    let scripted = call
        .iter_namespaces()
        .flat_map(|module| module.iter_script_fn_info())
        .find(|(.., function, _, _)| *function == name);
    let found = match (scripted, context.reference()) {
        (Some((.., definition)), _) => Ok(crate::help::of_script(&name, &(&**definition).into())),
        (None, Some(reference)) => reference.help(&name, call.engine()),
        (None, None) => return Ok(()),
    };
    match found {
        Ok(help) => {
            context.send(Event::Display(help_display(&help)));
            Ok(())
        }
        Err(unknown) => {
            let fault = Fault::new(unknown.kind, unknown.message);
            Err(unknown.hints.into_iter().fold(fault, Fault::hint).into())
        }
    }
}

/// The name that help is wanted on: a function's, a string's text, else the value's type.
fn name_of(context: &Context, what: &Dynamic) -> String {
    if let Some(name) = what.read_lock::<FunctionName>() {
        return name.0.clone();
    }
    if let Some(function) = what
        .read_lock::<FnPtr>()
        .filter(|function| !function.is_anonymous())
    {
        return function.fn_name().to_string();
    }
    if let Some(text) = what.read_lock::<ImmutableString>() {
        return text.to_string();
    }
    context
        .reference()
        .map_or(String::new(), |reference| reference.types.name(what))
}

/// Help as it is shown.
pub(crate) fn help_display(help: &Help) -> Display {
    Display::text(&help.text).with("text/markdown", &help.markdown)
}

/// Modules and global functions, each with its summary.
pub(crate) fn overview(reference: &Reference) -> Display {
    let (mut text, mut markdown) = (String::new(), String::new());
    let mut section = |title: &str, rows: Vec<(String, String)>| {
        let width = rows
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        text.push_str(&format!("{title}\n"));
        markdown.push_str(&format!("**{title}**\n\n"));
        for (name, summary) in rows {
            text.push_str(&format!("  {name:width$}  {summary}\n"));
            markdown.push_str(&format!("- `{name}` {summary}\n"));
        }
        text.push('\n');
        markdown.push('\n');
    };
    let about = |name: &str, kind: EntryKind| {
        reference
            .get(name)
            .find(|entry| entry.kind == kind)
            .map_or(String::new(), |entry| entry.summary())
    };
    let modules = reference.modules();
    if !modules.is_empty() {
        section(
            "Modules",
            modules
                .iter()
                .map(|name| (name.to_string(), about(name, EntryKind::Module)))
                .collect(),
        );
    }
    let mut functions: Vec<(String, String)> = reference
        .functions()
        .map(|entry| (entry.name.clone(), entry.summary()))
        .collect();
    functions.sort();
    section("Functions", functions);
    let mut types: Vec<(String, String)> = reference
        .types
        .names()
        .map(|name| (name.to_string(), about(name, EntryKind::Type)))
        .collect();
    types.sort();
    section("Types", types);
    let topics = reference
        .entries()
        .iter()
        .filter(|entry| entry.kind == EntryKind::Topic);
    section(
        "Topics",
        topics
            .map(|entry| (entry.name.clone(), entry.summary()))
            .collect(),
    );
    Display::text(text.trim_end()).with("text/markdown", markdown.trim_end())
}

/// The widest value that a list of variables shows as text.
const WIDEST_VALUE: usize = 60;

/// A table of variables, as text and as HTML.
pub(crate) fn variable_table(variables: &[Variable]) -> Display {
    if variables.is_empty() {
        return Display::text("no variables");
    }
    let head = ["name", "type", "value", "size"].map(str::to_string);
    let row = |variable: &Variable| {
        let value = crate::value::shorten(&variable.summary, WIDEST_VALUE);
        let size = variable.bytes.map_or(String::new(), memory);
        [variable.name.clone(), variable.kind.clone(), value, size]
    };
    let rows: Vec<[String; 4]> = std::iter::once(head)
        .chain(variables.iter().map(row))
        .collect();
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i));
        cells.map(|cell| cell.width()).max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3].map(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let cells = cells.map(|(cell, width)| {
            format!("{cell}{}", " ".repeat(width.saturating_sub(cell.width())))
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    let mut html = String::from(
        "<table><thead><tr><th>name</th><th>type</th><th>value</th><th>size</th></tr></thead><tbody>",
    );
    for variable in variables {
        let size = variable.bytes.map_or(String::new(), memory);
        let Variable {
            name,
            kind,
            summary,
            ..
        } = variable;
        let cells: Vec<String> = [name, kind, summary, &size]
            .iter()
            .map(|cell| format!("<td>{}</td>", escape(cell)))
            .collect();
        html.push_str(&format!("<tr>{}</tr>", cells.concat()));
    }
    html.push_str("</tbody></table>");
    Display {
        forms: vec![
            ("text/html".into(), html),
            ("text/plain".into(), text.trim_end().to_string()),
        ],
        id: None,
    }
}

/// Bytes in words.
pub(crate) fn memory(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{size:.1} {}", UNITS.get(unit).unwrap_or(&""))
    }
}

/// Text inside HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
