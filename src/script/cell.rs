//! Runs the statements of a cell one by one: what was done before an error stays done, functions
//! see the notebook's variables as they are, and the last value is the output.

use std::{collections::HashSet, sync::Arc};

use rhai::{
    AST, Caches, Dynamic, Engine, EvalAltResult, GlobalRuntimeState, Position, Scope, Stmt,
    StmtBlock,
};

use crate::{
    Diagnostic, Display, Help, Kind,
    built_in::BuiltIn,
    context::Context,
    engine,
    explain::{self, Explainer},
    lexer::lex,
    library::Library,
    sources::Sources,
};

/// The engine with what lives from cell to cell.
pub(crate) struct Machine {
    /// The engine with everything bound.
    pub engine: Arc<Engine>,
    /// What the bindings share.
    pub context: Arc<Context>,
    /// The texts that errors quote.
    pub sources: Sources,
    /// All functions so far; the newest of a name.
    pub functions: AST,
    /// The notebook's variables.
    pub scope: Scope<'static>,
    /// What Rhai keeps between statements.
    pub global: GlobalRuntimeState,
    /// What it has taken over of other shells.
    pub version: u64,
    /// Whether it is another shell than the main one.
    pub is_beside: bool,
}

/// Code that was read.
pub(crate) struct Parsed {
    ast: AST,
    /// A `;` closes it: its last value is no output.
    silent: bool,
}

/// Stands behind every statement: when its value does not come out, the statement has returned.
#[derive(Clone, Copy)]
struct WentThrough;

impl Machine {
    /// A machine without variables and functions, in which `bind` is bound.
    pub fn new(context: Arc<Context>, bind: fn(&mut Library)) -> Self {
        let engine = Arc::new(engine::build(&context, bind));
        context.set_engine(&engine);
        Self::over(&context, engine, false)
    }

    /// A machine over an engine that is there.
    pub fn over(context: &Arc<Context>, engine: Arc<Engine>, is_beside: bool) -> Self {
        let global = engine.new_global_runtime_state();
        Self {
            engine,
            context: Arc::clone(context),
            sources: context.sources.clone(),
            functions: AST::empty(),
            scope: Scope::new(),
            global,
            version: context.version(),
            is_beside,
        }
    }

    /// Forgets what Rhai keeps between statements.
    pub fn fresh_state(&mut self) {
        self.global = self.engine.new_global_runtime_state();
    }

    /// Forgets all variables and functions.
    pub fn reset(&mut self) {
        self.scope.clear();
        self.context.clear();
        self.functions = AST::empty();
        self.context
            .set_functions(self.functions.shared_lib().clone());
        self.sources.forget_functions();
        self.fresh_state();
        self.hand_over();
    }

    /// Makes the machine usable after a panic in the middle of a statement.
    pub fn recover(&mut self) {
        self.fresh_state();
        self.share_variables();
        self.forget_shadowed(self.scope.len());
    }

    /// The rich form of a value.
    pub fn display(&self, value: &Dynamic) -> Option<Display> {
        self.context.reference()?.types.display(value)
    }

    /// Help on a name: what is bound, or a function of the script.
    pub fn help(&self, name: &str) -> Result<Help, Diagnostic> {
        if let Some(help) = crate::magic::help(name) {
            return help;
        }
        let unknown = || Diagnostic::new(Kind::Name, format!("no help on `{name}`"));
        let reference = self.context.reference();
        match self.of_script(name) {
            Some(help) => Ok(help),
            None => reference.ok_or_else(unknown)?.help(name, &self.engine),
        }
    }

    /// Help on what has exactly that name.
    pub fn exact_help(&self, name: &str) -> Option<Help> {
        let reference = self.context.reference();
        self.of_script(name)
            .or_else(|| reference?.exact(name, &self.engine))
    }

    fn of_script(&self, name: &str) -> Option<Help> {
        let mut functions = self.functions.iter_functions();
        let function = functions.find(|function| function.name == name)?;
        Some(crate::help::of_script(name, &function))
    }

    /// Runs a cell: the value of its last expression, unless a `;` closes it.
    pub fn run(&mut self, source: &str, code: &str) -> Result<Option<Dynamic>, Diagnostic> {
        self.sources.insert(source, code);
        let parsed = self.parse(source, code)?;
        self.adopt_functions(&parsed, source);
        self.run_parsed(source, &parsed)
    }

    /// Reads code that stands in a source that is known.
    pub fn parse(&mut self, source: &str, code: &str) -> Result<Parsed, Diagnostic> {
        // A cell that cannot be read assigns nothing.
        let glance = self.is_beside.then(|| self.engine.compile(code).ok());
        self.take_over(glance.flatten().as_ref());
        let ast = match self.engine.compile_with_scope(&self.scope, code) {
            Ok(ast) => ast,
            Err(error) => return Err(explain::parse::explain(&error, source, code, &self.names())),
        };
        let lexed = lex(code);
        if lexed.open {
            // Rhai lets the rest of the code be a comment.
            return Err(explain::parse::open_comment(source, code));
        }
        let silent = lexed.ends_with_semicolon();
        Ok(Parsed { ast, silent })
    }

    /// Runs what was read, whose functions were adopted.
    pub fn run_parsed(
        &mut self,
        source: &str,
        parsed: &Parsed,
    ) -> Result<Option<Dynamic>, Diagnostic> {
        self.global.source = Some(source.into());
        let outcome = self.run_statements(source, &parsed.ast);
        self.forget_shadowed(self.scope.len());
        self.hand_over();
        let value = outcome?;
        Ok(value.filter(|_| !parsed.silent))
    }

    /// Runs code as a block of its own, whose variables end with it: for measuring.
    pub fn run_block(&mut self, source: &str, parsed: &Parsed) -> Result<(), Diagnostic> {
        let statements = parsed.ast.statements().iter().cloned();
        let block = StmtBlock::new(statements, Position::new(1, 1), Position::NONE);
        let mut caches = Caches::new();
        self.global.source = Some(source.into());
        let _ = self.run_statement(&mut caches, &[Stmt::Block(Box::new(block))], source)?;
        Ok(())
    }

    /// Makes a variable of the notebook, as `let` does.
    pub fn define(&mut self, name: &str, value: Dynamic) {
        self.scope.push_dynamic(name.to_string(), value);
        self.share_variables();
        self.forget_shadowed(self.scope.len());
        self.hand_over();
    }

    /// Takes over the functions of a cell; a redefinition replaces.
    pub fn adopt_functions(&mut self, parsed: &Parsed, source: &str) {
        let ast = &parsed.ast;
        for function in ast.iter_functions() {
            self.sources
                .define(function.name, function.params.len(), source);
        }
        if ast.has_functions() {
            self.functions = self.functions.merge(&ast.clone_functions_only());
        }
        self.context
            .set_functions(self.functions.shared_lib().clone());
        self.global.lib.clear();
        self.global.lib.push(self.functions.shared_lib().clone());
    }

    fn run_statements(&mut self, source: &str, ast: &AST) -> Result<Option<Dynamic>, Diagnostic> {
        let mut caches = Caches::new();
        let end = Stmt::Expr(Box::new(rhai::Expr::DynamicConstant(
            Box::new(Dynamic::from(WentThrough)),
            Position::NONE,
        )));
        let statements: Vec<&Stmt> = ast
            .statements()
            .iter()
            .filter(|statement| !statement.is_noop())
            .collect();
        let mut output = None;
        let mut base = self.scope.len();
        for (i, statement) in statements.iter().enumerate() {
            if self.context.must_stop() || self.context.has_yielded() {
                return Err(self.interrupted(source, statement.position()));
            }
            let is_last = i + 1 == statements.len();
            let mut block = vec![(*statement).clone()];
            if !is_last {
                block.push(end.clone());
            }
            let value = self.run_statement(&mut caches, &block, source)?;
            base = self.forget_shadowed(base);
            if !is_last && value.read_lock::<WentThrough>().is_some() {
                continue;
            }
            output = Some(value);
            break;
        }
        if self.context.has_yielded() {
            let position = statements
                .last()
                .map_or(Position::NONE, |statement| statement.position());
            return Err(self.interrupted(source, position));
        }
        Ok(output)
    }

    fn run_statement(
        &mut self,
        caches: &mut Caches,
        block: &[Stmt],
        source: &str,
    ) -> Result<Dynamic, Diagnostic> {
        let variables = self.scope.len();
        // Rhai marks this as deprecated for its raw states; the alternative makes a new global
        // state a statement, in which `global::NAME` would not see the constants before it.
        #[expect(deprecated)]
        let result =
            self.engine
                .eval_statements_raw(&mut self.global, caches, &mut self.scope, block);
        if result.is_err() {
            // What a block declared before it failed is gone with the block.
            self.scope.rewind(variables);
        }
        self.share_variables();
        result.map_err(|error| self.explain(*error, source))
    }

    /// Makes every variable a shared cell that functions look up by name, and hands the models out to other shells.
    fn share_variables(&mut self) {
        let reference = self.context.reference().cloned();
        let handle = |value: &Dynamic| reference.as_ref()?.types.handle(value);
        let mut seen = HashSet::new();
        let mut fresh = Vec::new();
        for (name, constant, value) in self.scope.iter_raw() {
            if seen.insert(name) {
                if constant {
                    self.context.set_global(name, value.clone(), handle(value));
                } else if !value.is_shared() {
                    fresh.push(name.to_string());
                } else if !self.is_beside {
                    self.context.keep_global(name, value, handle(value));
                }
            }
        }
        // The newest variable comes first in the scope; they are made known in order.
        for name in fresh.iter().rev() {
            if let Some(slot) = self.scope.get_mut(name) {
                let handle = handle(slot);
                *slot = slot.take().into_shared();
                self.context.set_global(name, slot.clone(), handle);
            }
        }
    }

    /// Drops the variables below `base` that a later one of the same name hides: a tensor that
    /// nobody can reach any more must not hold its memory. What stands above was made by the
    /// running cell, whose statements count back from the end of the scope. Gives the new base.
    fn forget_shadowed(&mut self, base: usize) -> usize {
        let mut seen = HashSet::new();
        let mut kept: Vec<(String, bool, Dynamic)> = Vec::new();
        let total = self.scope.len();
        for (i, (name, constant, value)) in self.scope.iter_raw().enumerate() {
            if seen.insert(name) || total - i > base {
                kept.push((name.to_string(), constant, value.clone()));
            }
        }
        let dropped = total - kept.len();
        if dropped > 0 {
            self.scope.clear();
            // A clone of a constant is none.
            for (name, constant, value) in kept.into_iter().rev() {
                match constant {
                    true => self.scope.push_constant_dynamic(name, value),
                    false => self.scope.push_dynamic(name, value),
                };
            }
        }
        base - dropped
    }

    fn interrupted(&self, source: &str, position: Position) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(Kind::Interrupted, "stopped by the user");
        diagnostic.place = self.sources.place(source, position);
        diagnostic
    }

    fn explain(&mut self, error: EvalAltResult, source: &str) -> Diagnostic {
        for (name, text) in self.context.modules().texts() {
            self.sources.insert_module(name, text);
        }
        let names = self.names();
        Explainer {
            sources: &self.sources,
            engine: &self.engine,
            names: &names,
        }
        .explain(error, source)
    }

    /// The functions that Rhai itself brings.
    pub fn built_in(&self) -> &[BuiltIn] {
        self.context
            .reference()
            .map_or(&[], |reference| reference.built_in(&self.engine))
    }

    /// The user's modules by the names of their imports, with their members.
    pub fn imports(&self) -> Vec<(String, Vec<String>)> {
        let members = |module: &rhai::Module| {
            let functions = module.iter_script_fn_info().map(|(_, _, name, ..)| name);
            let names = functions.filter(|name| !name.starts_with("anon$"));
            let variables = module.iter_var().map(|(name, _)| name);
            let mut names: Vec<String> = names.chain(variables).map(str::to_string).collect();
            names.sort();
            names.dedup();
            names
        };
        let imports = self.global.iter_imports();
        imports
            .map(|(name, module)| (name.to_string(), members(module)))
            .collect()
    }

    /// All names that a script can use now: for suggestions.
    pub fn names(&self) -> explain::Names<'_> {
        explain::Names {
            built_in: self.built_in(),
            variables: self.context.globals(),
            functions: self
                .functions
                .iter_functions()
                .map(|f| {
                    (
                        f.name.to_string(),
                        f.params.iter().map(|p| p.to_string()).collect(),
                    )
                })
                .collect(),
            reference: self.context.reference().cloned(),
        }
    }
}
