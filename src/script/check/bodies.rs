//! The bodies of functions and closures, taken out of the tree of a script.
//!
//! Rhai gives the definition of a function, but its body only to a walk over the whole tree. The walk
//! comes to the statements of all bodies; each belongs to the innermost function around its position.

use std::collections::HashMap;

use rhai::{AST, ASTNode, Position, Stmt};

/// A function or closure.
pub(super) struct Body {
    /// Its parameters; of a closure also the variables that it captures.
    pub parameters: Vec<String>,
    /// Its statements.
    pub statements: Vec<Stmt>,
}

/// All bodies by the names of their functions; closures have made-up names.
pub(super) fn bodies(ast: &AST) -> HashMap<String, Body> {
    let mut spans: Vec<(Position, Position, String)> = Vec::new();
    let mut found: HashMap<String, Body> = HashMap::new();
    for function in ast.iter_fn_def() {
        let name = key(&function.name, function.params.len());
        spans.push((
            function.body.start_position(),
            function.body.end_position(),
            name.clone(),
        ));
        let parameters = function.params.iter().map(ToString::to_string).collect();
        found.insert(
            name,
            Body {
                parameters,
                statements: Vec::new(),
            },
        );
    }
    let top = ast.statements().len();
    let mut seen = 0;
    ast.walk(&mut |path: &[ASTNode]| {
        if let [ASTNode::Stmt(statement)] = path {
            seen += 1;
            if seen > top
                && let Some(name) = innermost(&spans, statement.position())
                && let Some(body) = found.get_mut(name)
            {
                body.statements.push((*statement).clone());
            }
        }
        true
    });
    found
}

/// Functions of one name may differ in their number of parameters; closures have one definition.
fn key(name: &str, parameters: usize) -> String {
    if name.starts_with("anon$") {
        name.to_string()
    } else {
        format!("{name}/{parameters}")
    }
}

/// The function with the latest beginning that covers a position.
fn innermost(spans: &[(Position, Position, String)], at: Position) -> Option<&str> {
    let covers = |(start, end, _): &&(Position, Position, String)| {
        // A closure without braces is one statement, and its end is not known.
        if end.is_none() {
            *start == at
        } else {
            *start <= at && at <= *end
        }
    };
    spans
        .iter()
        .filter(covers)
        .max_by_key(|(start, ..)| *start)
        .map(|(.., name)| name.as_str())
}
