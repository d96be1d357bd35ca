//! Shells beside the main one: a machine of their own over the engine, the variables and the functions of the
//! session. Also what answers about code at any time, for which such a machine without variables is enough.
//!
//! A cell takes over, when it begins, what others have changed. A method that runs on a variable holds it locked, for
//! hours when that is `fit`; other shells then work with the model itself, which the main shell hands out after
//! every statement.

use std::{collections::HashSet, sync::Arc};

use rhai::{AST, ASTNode, Expr, Scope, Stmt};

use crate::{cell::Machine, context::Context};

impl Machine {
    /// A machine that knows functions and imports, for questions about code; nothing when the session is gone.
    pub fn glance(context: &Arc<Context>) -> Option<Self> {
        let mut machine = Self::over(context, context.engine()?, true);
        machine.take_functions();
        Some(machine)
    }

    /// Takes over what other shells have changed; `ast` is what the cell is going to do.
    pub fn take_over(&mut self, ast: Option<&AST>) {
        let version = self.context.version();
        if !self.is_beside && self.version == version {
            return;
        }
        self.version = version;
        self.take_functions();
        let assigned = ast.map_or_else(HashSet::new, assigned);
        self.scope = Scope::new();
        for (name, value, handle) in self.context.all_globals() {
            match handle.filter(|_| self.is_beside) {
                // What an assignment makes of it is a new variable, for all shells.
                Some(handle) if assigned.contains(&name) => self.scope.push_dynamic(name, handle),
                Some(handle) => self.scope.push_dynamic(name, handle.into_shared()),
                // Of all variables only constants are not shared.
                None if value.is_shared() => self.scope.push_dynamic(name, value),
                None => self.scope.push_constant_dynamic(name, value),
            };
        }
    }

    fn take_functions(&mut self) {
        self.functions = match self.context.functions() {
            Some(functions) => AST::new_from_module(functions),
            None => AST::empty(),
        };
        self.fresh_state();
        for (name, module) in self.context.imports() {
            self.global.push_import(name, module);
        }
    }

    /// Tells other shells what this one has imported, and that they have something to take over.
    pub fn hand_over(&mut self) {
        let imports: Vec<_> = self
            .global
            .iter_imports_raw()
            .map(|(name, module)| (name.to_string(), module.clone()))
            .collect();
        self.context.add_imports(imports.into_iter().rev());
        // What others did meanwhile is still to be taken over.
        if self.context.next_version() == self.version {
            self.version += 1;
        }
    }
}

/// The names of the variables that code assigns to.
fn assigned(ast: &AST) -> HashSet<String> {
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
