//! What a script can be told on its command line: found in its text, without running it.

use rhai::{ASTNode, Dynamic, Expr, Map, Stmt};

use crate::{
    cell::Machine,
    explain::place::{range, start_of},
    value::type_word,
};

/// One `arg(name, default, #{ .. })` of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptArg {
    /// What `--set` calls it.
    pub name: String,
    /// The type of its default, where that is written out.
    pub kind: String,
    /// Its default as the script writes it.
    pub default: String,
    /// What the script says about it.
    pub help: String,
    /// The values that it may have, if the script lists them.
    pub allowed: Vec<String>,
    /// The smallest and largest value, as the script writes them.
    pub range: (Option<String>, Option<String>),
}

/// The comment at the top of a script, and what it can be told.
pub(crate) fn of_script(machine: &Machine, code: &str) -> (String, Vec<ScriptArg>) {
    let mut found: Vec<ScriptArg> = Vec::new();
    if let Ok(ast) = machine.engine.compile(code) {
        ast.walk(&mut |path: &[ASTNode]| {
            let call = match path.last() {
                Some(
                    ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _)),
                ) => call,
                _ => return true,
            };
            if call.name == "arg"
                && call.namespace.is_empty()
                && let [Expr::StringConstant(name, _), default, rest @ ..] = call.args.as_slice()
                && !found.iter().any(|known| known.name == name.as_str())
            {
                found.push(arg(code, name, default, rest.first()));
            }
            true
        });
    }
    (head_comment(code), found)
}

fn arg(code: &str, name: &str, default: &Expr, about: Option<&Expr>) -> ScriptArg {
    let place = range("", code, start_of(default), true);
    let columns = place.end.saturating_sub(place.column);
    let written = place.text.chars().skip(place.column.saturating_sub(1));
    let literal = default.get_literal_value(None);
    let about: Map = about
        .and_then(|about| about.get_literal_value(None))
        .and_then(Dynamic::try_cast)
        .unwrap_or_default();
    let bound = |key: &str| about.get(key).map(ToString::to_string);
    let allowed = about
        .get("allowed")
        .and_then(|list| list.clone().into_array().ok())
        .unwrap_or_default();
    ScriptArg {
        name: name.to_string(),
        kind: literal.map_or(String::new(), |value| {
            type_word(value.type_name()).to_string()
        }),
        default: written.take(columns).collect(),
        help: about.get("help").map_or(String::new(), ToString::to_string),
        allowed: allowed.iter().map(ToString::to_string).collect(),
        range: (bound("min"), bound("max")),
    }
}

/// The line comments above the first code, without their marks.
fn head_comment(code: &str) -> String {
    let lines = code.lines().map(str::trim_end);
    let lines = lines.take_while(|line| line.starts_with("//"));
    let text: Vec<&str> = lines
        .map(|line| {
            let text = line.trim_start_matches('/').trim_start_matches('!');
            text.strip_prefix(' ').unwrap_or(text)
        })
        .collect();
    text.join("\n")
}
