//! Finds mistakes without running code: misspelt names, methods, options and values, variables that are
//! not there, wrong numbers and types of arguments, results that are dropped, variables that nobody
//! reads, code that is never reached. All findings come at once, in the order of the code.
//!
//! Types are inferred from what the bindings really take and give; where a type is not known, nothing is
//! said. What is certain to fail is an error, what is only suspicious a warning.

mod bodies;
mod calls;
mod cells;
mod expressions;
mod members;
mod options;
mod scope;
mod statements;

use std::collections::{HashMap, HashSet};

use rhai::{AST, Position, Stmt};

use crate::{
    Diagnostic, Kind, Place, Severity,
    cell::Machine,
    explain::{self, place::range},
    help::Reference,
    lexer::lex,
    sources::Sources,
};
use bodies::{Body, bodies};
pub(crate) use cells::cells;
use scope::Variables;

/// What is read: decides which unused variables are worth a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A whole script: nothing comes after it.
    File,
    /// A cell: later cells may use its variables.
    Cell,
}

/// What is known of the value of an expression.
#[derive(Clone, Debug, Default)]
struct Value {
    /// Its type in the users' words; nothing where it is not certain.
    kind: Option<String>,
    /// Whether computing it changes nothing: then dropping it makes no sense.
    free: bool,
}

impl Value {
    /// A value of unknown type whose computation may do something.
    fn unknown() -> Self {
        Self::default()
    }

    /// A value of a known type whose computation may do something.
    fn of(kind: &str) -> Self {
        Self {
            kind: Some(kind.to_string()),
            free: false,
        }
    }

    /// The same, computed without an effect.
    fn free(self) -> Self {
        Self { free: true, ..self }
    }
}

/// The state of a check.
struct Checker<'a> {
    machine: &'a Machine,
    reference: &'a Reference,
    source: &'a str,
    text: &'a str,
    sources: Sources,
    /// The script's functions by name: their numbers of parameters.
    functions: HashMap<String, Vec<usize>>,
    /// The bodies of functions and closures by name.
    bodies: HashMap<String, Body>,
    /// Bodies that were read, so that a closure is read once.
    read: HashSet<String>,
    /// Names that are assigned to somewhere: their types are not certain.
    assigned: HashSet<String>,
    /// Keys of all map literals and assigned properties: a closure in a map is called like a method.
    keys: HashSet<String>,
    /// Imported modules by their names, with what they hold where that is known.
    imports: HashMap<String, Option<Vec<String>>>,
    variables: Variables,
    findings: Vec<Diagnostic>,
}

/// Checks a cell or file that a machine would run next.
pub(crate) fn check(machine: &Machine, source: &str, code: &str, unit: Unit) -> Vec<Diagnostic> {
    let magics = (unit == Unit::Cell).then(|| crate::magic::checked(machine, code));
    let code = magics.as_ref().and_then(Option::as_deref).unwrap_or(code);
    let ast = match machine.engine.compile_with_scope(&machine.scope, code) {
        Ok(ast) => ast,
        Err(error) => {
            return vec![explain::parse::explain(
                &error,
                source,
                code,
                &machine.names(),
            )];
        }
    };
    if lex(code).open {
        return vec![explain::parse::open_comment(source, code)];
    }
    let Some(reference) = machine.context.reference() else {
        return Vec::new();
    };
    let mut checker = Checker::new(machine, reference, source, code, &ast);
    checker.run(&ast, unit);
    let mut findings = checker.findings;
    findings.sort_by_key(|finding| finding.place.as_ref().map(|p| (p.line, p.column)));
    findings.dedup();
    findings
}

impl<'a> Checker<'a> {
    fn new(
        machine: &'a Machine,
        reference: &'a Reference,
        source: &'a str,
        text: &'a str,
        ast: &AST,
    ) -> Self {
        let mut sources = Sources::default();
        sources.insert(source, text);
        let mut functions: HashMap<String, Vec<usize>> = HashMap::new();
        let known = machine
            .functions
            .iter_functions()
            .chain(ast.iter_functions());
        for function in known {
            let arities = functions.entry(function.name.to_string()).or_default();
            arities.push(function.params.len());
        }
        Self {
            machine,
            reference,
            source,
            text,
            sources,
            functions,
            bodies: bodies(ast),
            read: HashSet::new(),
            assigned: scope::assigned(ast),
            keys: scope::keys(ast),
            imports: machine
                .imports()
                .into_iter()
                .map(|(name, members)| (name, Some(members)))
                .collect(),
            variables: Variables::default(),
            findings: Vec::new(),
        }
    }

    /// Reads the statements, then the functions, which see all that the top of the code declares.
    fn run(&mut self, ast: &AST, unit: Unit) {
        self.statements(ast.statements(), true);
        let top = std::mem::take(&mut self.variables);
        let mut names: Vec<String> = self.bodies.keys().cloned().collect();
        names.retain(|name| !name.starts_with("anon$") && !self.read.contains(name));
        names.sort();
        self.variables = top.for_functions();
        for name in names {
            self.function(&name);
        }
        // Closures that nothing refers to are not there; what is left was reached by other ways.
        if unit == Unit::File {
            for (name, position) in self.variables.unread(0) {
                self.unread(&name, position);
            }
        }
    }

    /// Reads the body of a function or closure once.
    fn function(&mut self, name: &str) {
        if !self.read.insert(name.to_string()) {
            return;
        }
        let Some(body) = self.bodies.remove(name) else {
            return;
        };
        let mark = self.variables.mark();
        for parameter in &body.parameters {
            self.variables.declare(parameter, None, Position::NONE);
        }
        self.statements(&body.statements, true);
        self.close(mark);
    }

    /// Ends a block: its variables are gone, those that nobody read are told.
    fn close(&mut self, mark: usize) {
        for (name, position) in self.variables.unread(mark) {
            self.unread(&name, position);
        }
        self.variables.forget(mark);
    }

    fn unread(&mut self, name: &str, position: Position) {
        let mut finding = Diagnostic::new(Kind::Name, format!("variable `{name}` is never read"));
        finding
            .hints
            .push(format!("if that is meant, call it `_{name}`"));
        self.warn(finding, position);
    }

    /// The token at a position, `flow::rectified` in one piece.
    fn token(&self, position: Position) -> Option<Place> {
        self.sources.place(self.source, position)
    }

    /// The whole expression that begins at a position.
    fn whole(&self, position: Position) -> Option<Place> {
        position
            .line()
            .map(|_| range(self.source, self.text, position, true))
    }

    fn error(&mut self, finding: Diagnostic, position: Position) {
        let place = self.token(position);
        self.findings.push(Diagnostic { place, ..finding });
    }

    fn warn(&mut self, finding: Diagnostic, position: Position) {
        let place = self.token(position);
        self.findings.push(Diagnostic {
            severity: Severity::Warning,
            place,
            ..finding
        });
    }
}

/// Whether nothing behind a statement is reached.
fn leaves(statement: &Stmt) -> bool {
    matches!(statement, Stmt::Return(..) | Stmt::BreakLoop(..))
}
