//! The variables that code declares, and what can be said about the code as a whole.

use std::collections::HashSet;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

/// A declared variable.
struct Variable {
    name: String,
    /// Its type in the users' words, where it is certain.
    kind: Option<String>,
    /// Where it is declared; nowhere for parameters and loop variables, which may be unused.
    at: Position,
    read: bool,
}

/// The variables that are visible, newest last.
#[derive(Default)]
pub(super) struct Variables(Vec<Variable>);

impl Variables {
    /// Adds a variable.
    pub fn declare(&mut self, name: &str, kind: Option<String>, at: Position) {
        self.0.push(Variable {
            name: name.to_string(),
            kind,
            at,
            read: false,
        });
    }

    /// Reads a variable: whether it is there, and its type.
    pub fn read(&mut self, name: &str) -> Option<Option<String>> {
        let variable = self.0.iter_mut().rev().find(|v| v.name == name)?;
        variable.read = true;
        Some(variable.kind.clone())
    }

    /// Whether a variable is there.
    pub fn holds(&self, name: &str) -> bool {
        self.0.iter().any(|variable| variable.name == name)
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|variable| variable.name.as_str())
    }

    /// How many there are now: the beginning of a block.
    pub fn mark(&self) -> usize {
        self.0.len()
    }

    /// Forgets what was declared since.
    pub fn forget(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    /// The variables declared since that nobody has read.
    pub fn unread(&self, mark: usize) -> Vec<(String, Position)> {
        let unread = self.0.iter().skip(mark).filter(|variable| {
            !variable.read && !variable.at.is_none() && !variable.name.starts_with('_')
        });
        unread.map(|v| (v.name.clone(), v.at)).collect()
    }

    /// As functions see them: all of the top, whose types may have changed when they are called.
    pub fn for_functions(mut self) -> Self {
        for variable in &mut self.0 {
            variable.kind = None;
        }
        self
    }
}

/// The names of variables that are assigned to after their declaration.
pub(super) fn assigned(ast: &AST) -> HashSet<String> {
    let mut names = HashSet::new();
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::Assignment(assignment))) = path.last()
            && let Expr::Variable(variable, ..) = &assignment.1.lhs
        {
            names.insert(variable.1.to_string());
        }
        true
    });
    names
}

/// The keys of all map literals, and of all properties that are assigned to.
pub(super) fn keys(ast: &AST) -> HashSet<String> {
    let mut keys = HashSet::new();
    ast.walk(&mut |path: &[ASTNode]| {
        match path.last() {
            Some(ASTNode::Expr(Expr::Map(map, _))) => {
                keys.extend(map.0.iter().map(|(key, _)| key.as_str().to_string()));
            }
            Some(ASTNode::Expr(Expr::Property(property, _))) => {
                keys.insert(property.2.to_string());
            }
            _ => {}
        }
        true
    });
    keys
}
