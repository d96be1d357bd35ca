//! Magics whose cell is a text: it is shown, or written to a file.

use super::{Call, Magic, Outcome, Takes, session::home};
use crate::{
    Kind,
    bind::{Rich, io_words},
    value::Object,
};

/// A magic that shows its cell.
const SHOWN: Magic = Magic {
    name: "",
    line: None,
    cell: Some(""),
    takes: Takes::Nothing,
    code: false,
    doc: "",
    run: html,
};

pub(super) const HTML: Magic = Magic {
    name: "html",
    doc: "Shows the cell as HTML, as `html(text)` does.",
    run: html,
    ..SHOWN
};

pub(super) const MARKDOWN: Magic = Magic {
    name: "markdown",
    doc: "Shows the cell as Markdown, as `markdown(text)` does.",
    run: markdown,
    ..SHOWN
};

pub(super) const LATEX: Magic = Magic {
    name: "latex",
    doc: "Shows the cell as LaTeX, as `latex(text)` does.",
    run: latex,
    ..SHOWN
};

pub(super) const WRITEFILE: Magic = Magic {
    name: "writefile",
    cell: Some("[-a] FILE"),
    takes: Takes::File,
    doc: "Writes the cell to a file; with `-a` at its end. The file is either the old one or whole.",
    run: writefile,
    ..SHOWN
};

pub(super) const RUST: Magic = Magic {
    name: "rust",
    takes: Takes::Words,
    doc: "Native functions for scripts. Not there yet: Rust cells need a compiler at hand and are planned.",
    run: rust,
    ..SHOWN
};

fn html(call: &mut Call) -> Outcome {
    call.show(Rich::html(call.body()).display());
    Ok(None)
}

fn markdown(call: &mut Call) -> Outcome {
    call.show(Rich::markdown(call.body()).display());
    Ok(None)
}

fn latex(call: &mut Call) -> Outcome {
    call.show(Rich::latex(call.body()).display());
    Ok(None)
}

fn writefile(call: &mut Call) -> Outcome {
    let given = call.arguments();
    let (append, name) = match given.split_once(char::is_whitespace) {
        Some(("-a", name)) => (true, name.trim()),
        None if given == "-a" => (true, ""),
        _ => (false, given),
    };
    if name.is_empty() {
        return Err(call.wrong(Kind::Value, "`%%writefile` needs the name of a file"));
    }
    let path = call.machine.context.path(&home(name));
    let mut content = Vec::new();
    if append {
        match std::fs::read(&path) {
            Ok(old) => content = old,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("cannot read `{name}`: {}", io_words(&error));
                return Err(call.wrong(Kind::Io, message));
            }
        }
    }
    let mut text = call.body().to_string();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    content.extend_from_slice(text.as_bytes());
    let written = crate::write_atomic(&path, &content);
    written.map_err(|why| call.wrong(Kind::Io, format!("cannot write `{name}`: {why}")))?;
    let what = if append { "appended" } else { "wrote" };
    call.print(format!("{what} {} bytes to {name}", text.len()));
    Ok(None)
}

fn rust(call: &mut Call) -> Outcome {
    let mut error = call.wrong(
        Kind::Value,
        "`%%rust` is not there yet: cells in Rust are planned",
    );
    let hint = "until then a closure over batched tensors takes the place of a native function";
    error.hints.push(hint.into());
    Err(error)
}
