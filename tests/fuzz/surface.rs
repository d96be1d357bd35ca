//! What there is to call, as the session documents it: the same help and completion that a user sees.

use rhapsode_script::Session;

/// A function, method or property.
pub(crate) struct Callable {
    /// Name as it is called: `flow::rectified`, `sum`.
    pub name: String,
    /// The type that it belongs to, for methods and properties.
    pub owner: Option<String>,
    /// One entry a way of calling it: the types of its parameters. None: a property.
    pub forms: Vec<Vec<String>>,
    /// Option keys, with their allowed strings.
    pub options: Vec<(String, Vec<String>)>,
}

/// Functions that would end or block the run itself.
const LEFT_OUT: [&str; 2] = ["exit", "clear_output"];

/// All that the session documents.
pub(crate) fn of(session: &Session) -> Vec<Callable> {
    session
        .topics()
        .iter()
        .filter(|name| !LEFT_OUT.contains(&name.as_str()))
        // Operators and indexing are made in their own form.
        .filter(|name| {
            name.chars()
                .all(|c| c.is_alphanumeric() || "_:.".contains(c))
        })
        .filter_map(|name| callable(session, name))
        .collect()
}

fn callable(session: &Session, topic: &str) -> Option<Callable> {
    let help = session.help(topic).ok()?;
    let (owner, name) = match topic.split_once('.') {
        Some((owner, name)) => (Some(owner.to_string()), name.to_string()),
        None => (None, topic.to_string()),
    };
    // The signatures are the lines at the top that begin with the name.
    let start = format!("{topic}(");
    let signatures: Vec<&str> = help
        .text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| line.strip_prefix(&start))
        .collect();
    let property = owner.is_some() && signatures.is_empty();
    if signatures.is_empty() && !property {
        return None;
    }
    let forms = signatures.iter().flat_map(|s| forms_of(s)).collect();
    let options = options_of(session, &owner, &name);
    Some(Callable {
        name,
        owner,
        forms,
        options,
    })
}

/// The ways to call `a: int, b?: map) -> Tensor`: with and without what may be left out.
fn forms_of(signature: &str) -> Vec<Vec<String>> {
    let mut depth = 0;
    let end = signature.char_indices().find(|(_, c)| {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => return true,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        false
    });
    let inside = end.map_or(signature, |(at, _)| &signature[..at]);
    let mut required = Vec::new();
    let mut forms = Vec::new();
    for part in split(inside) {
        let (name, kind) = part.split_once(':').unwrap_or((part.as_str(), "any"));
        if name.trim().ends_with('?') {
            forms.push(required.clone());
        }
        required.push(kind.trim().to_string());
    }
    forms.push(required);
    forms
}

/// Parts between commas that stand in no bracket.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    if !part.trim().is_empty() {
        parts.push(part);
    }
    parts
}

/// Option keys as completion offers them inside of `#{`, each with the strings that it offers as values.
fn options_of(session: &Session, owner: &Option<String>, name: &str) -> Vec<(String, Vec<String>)> {
    let call = match owner {
        Some(owner) => {
            let Some(variable) = session.variables().into_iter().find(|v| v.kind == *owner) else {
                return Vec::new();
            };
            format!("{}.{name}(#{{ ", variable.name)
        }
        None => format!("{name}(#{{ "),
    };
    let offered = |code: &str, kind: &str| -> Vec<String> {
        let found = session.complete(code, code.len());
        let of_kind = found.items.into_iter().filter(|item| item.kind == kind);
        of_kind
            .map(|item| item.text.trim_matches(['"', ':', ' ']).to_string())
            .collect()
    };
    let keys = offered(&call, "option");
    keys.into_iter()
        .map(|key| {
            let values = offered(&format!("{call}{key}: \""), "value");
            (key, values)
        })
        .collect()
}
