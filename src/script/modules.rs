//! The user's own modules: `import "helpers" as h;` reads `helpers.rhai` beside the importing file, or in
//! the session's folder when a cell imports. Public functions and constants are its members. A file is
//! read again at an import after it, or one that it imports, has changed.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use rhai::{
    AST, ASTFlags, Dynamic, Engine, EvalAltResult, GlobalRuntimeState, Module, ModuleResolver,
    Position, Scope, Shared, Stmt,
};

use crate::{Kind, context::Context, fault::Fault, lexer::lex, names::nearest};

/// A module as the engine keeps it.
type SharedModule = Shared<Module>;

/// The ending of a file of the language.
const ENDING: &str = "rhai";

/// What has been imported in a session.
#[derive(Default)]
pub(crate) struct Modules {
    loaded: HashMap<String, Loaded>,
    /// The files that are being read, outermost first.
    loading: Vec<String>,
    /// What each of them has imported so far.
    pending: HashMap<String, Vec<(String, u64)>>,
    texts: HashMap<String, Arc<str>>,
    /// The constants of a module by its file: its functions see them.
    constants: HashMap<String, HashMap<String, Dynamic>>,
}

/// A module as it was read.
struct Loaded {
    module: SharedModule,
    /// It and all that it imports, with the hashes of their contents.
    files: Vec<(String, u64)>,
}

impl Modules {
    /// The texts of all files that were read, for errors to quote.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &Arc<str>)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text))
    }

    /// A constant of the module that stands in a file.
    pub fn constant(&self, file: &str, name: &str) -> Option<Dynamic> {
        self.constants.get(file)?.get(name).cloned()
    }
}

/// Rhai's way to ask for a module.
pub(crate) struct Files {
    context: Arc<Context>,
}

impl Files {
    /// Finds modules for a session.
    pub fn new(context: &Arc<Context>) -> Self {
        Self {
            context: Arc::clone(context),
        }
    }
}

impl ModuleResolver for Files {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<SharedModule, Box<EvalAltResult>> {
        let context = &*self.context;
        let placed = |fault: Fault| {
            let mut error: Box<EvalAltResult> = fault.into();
            error.set_position(position);
            error
        };
        let file = locate(context, source, path).map_err(placed)?;
        let text = read(&file).map_err(placed)?;
        let name = file.display().to_string();
        if let Some(module) = unchanged(context, &name) {
            note_files(context, &name);
            return Ok(module);
        }
        begin(context, &name, &text).map_err(placed)?;
        let module = evaluate(engine, context, &name, &text);
        let files = end(context, &name, hash(&text));
        let module = module.map_err(|error| {
            Box::new(EvalAltResult::ErrorInModule(name.clone(), error, position))
        })?;
        let mut modules = context.modules();
        modules.loaded.insert(
            name,
            Loaded {
                module: Arc::clone(&module),
                files,
            },
        );
        Ok(module)
    }
}

/// The file that a path of an import means.
pub(crate) fn locate(
    context: &Context,
    source: Option<&str>,
    path: &str,
) -> Result<PathBuf, Fault> {
    let beside = source
        .map(Path::new)
        .filter(|source| source.extension().is_some_and(|ending| ending == ENDING))
        .and_then(Path::parent);
    let mut file = match beside {
        Some(folder) => folder.join(path),
        None => context.path(path),
    };
    if file.extension().is_none_or(|ending| ending != ENDING) {
        file.as_mut_os_string().push(format!(".{ENDING}"));
    }
    if file.is_file() {
        return Ok(file);
    }
    let fault = Fault::new(
        Kind::Io,
        format!("there is no file `{}` to import", file.display()),
    );
    let is_bound = context
        .reference()
        .is_some_and(|reference| reference.modules().contains(&path));
    if is_bound {
        return Err(fault.hint(format!("`{path}::` is always there, without an import")));
    }
    let wanted = file
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let names = scripts_in(file.parent());
    let near = wanted.and_then(|wanted| nearest(&wanted, names.iter().map(String::as_str)));
    Err(match near {
        Some(near) => fault.hint(format!("did you mean \"{near}\"?")),
        None => fault,
    })
}

/// The scripts of a folder, without their ending.
fn scripts_in(folder: Option<&Path>) -> Vec<String> {
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new(".")));
    let paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let scripts = paths.filter(|path| path.extension().is_some_and(|ending| ending == ENDING));
    let mut names: Vec<String> = scripts
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()))
        .collect();
    names.sort();
    names
}

fn read(file: &Path) -> Result<String, Fault> {
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|error| {
        let words = crate::bind::io_words(&error);
        Fault::new(Kind::Io, format!("cannot read `{name}`: {words}"))
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Fault::new(Kind::Io, format!("`{name}` is not a text file in UTF-8")))?;
    Ok(text.trim_start_matches('\u{feff}').to_string())
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The module as it was read, if none of its files has changed since.
fn unchanged(context: &Context, name: &str) -> Option<SharedModule> {
    let modules = context.modules();
    let loaded = modules.loaded.get(name)?;
    let same = |(file, known): &(String, u64)| {
        read(Path::new(file)).is_ok_and(|text| hash(&text) == *known)
    };
    loaded
        .files
        .iter()
        .all(same)
        .then(|| Arc::clone(&loaded.module))
}

/// Tells the module that is being read on which files an import of it depends.
fn note_files(context: &Context, name: &str) {
    let mut modules = context.modules();
    let files = modules.loaded.get(name).map(|loaded| loaded.files.clone());
    let outer = modules.loading.last().cloned();
    if let (Some(files), Some(outer)) = (files, outer)
        && let Some(outer) = modules.pending.get_mut(&outer)
    {
        outer.extend(files);
    }
}

/// Begins to read a module; one that imports itself is an error that names the chain.
fn begin(context: &Context, name: &str, text: &str) -> Result<(), Fault> {
    let mut modules = context.modules();
    if let Some(at) = modules.loading.iter().position(|loading| loading == name) {
        let mut chain: Vec<&str> = modules
            .loading
            .iter()
            .skip(at)
            .map(String::as_str)
            .collect();
        chain.push(name);
        return Err(Fault::new(
            Kind::Value,
            format!("modules import each other: {}", chain.join(" -> ")),
        )
        .hint("put what both need into a third file"));
    }
    modules.loading.push(name.to_string());
    modules.pending.insert(name.to_string(), Vec::new());
    modules.texts.insert(name.to_string(), text.into());
    Ok(())
}

/// A module was read, well or not: gives its files, and tells them to the module around it.
fn end(context: &Context, name: &str, hash: u64) -> Vec<(String, u64)> {
    let mut modules = context.modules();
    modules.loading.pop();
    let mut files = modules.pending.remove(name).unwrap_or_default();
    files.push((name.to_string(), hash));
    if let Some(outer) = modules.loading.last().cloned()
        && let Some(outer) = modules.pending.get_mut(&outer)
    {
        outer.extend(files.iter().cloned());
    }
    files
}

/// Runs the top of a module; its functions and constants are its members.
fn evaluate(
    engine: &Engine,
    context: &Context,
    name: &str,
    text: &str,
) -> Result<SharedModule, Box<EvalAltResult>> {
    let ast = engine.compile(text)?;
    if lex(text).open {
        return Err(Fault::new(Kind::Syntax, "a comment or string is not closed").into());
    }
    let mut ast = with_constants(&ast);
    ast.set_source(name);
    let mut global: GlobalRuntimeState = engine.new_global_runtime_state();
    let mut scope = Scope::new();
    let module = Module::eval_ast_as_new_raw(engine, &mut scope, &mut global, &ast)?;
    let constants = module
        .iter_var()
        .map(|(name, value)| (name.to_string(), value.clone()))
        .collect();
    context
        .modules()
        .constants
        .insert(name.to_string(), constants);
    Ok(module.into())
}

/// The same code with every constant of its top exported.
fn with_constants(ast: &AST) -> AST {
    let exported = |statement: &Stmt| match statement {
        Stmt::Var(variable, flags, position) if flags.intersects(ASTFlags::CONSTANT) => {
            Stmt::Var(variable.clone(), *flags | ASTFlags::EXPORTED, *position)
        }
        other => other.clone(),
    };
    let statements: Vec<Stmt> = ast.statements().iter().map(exported).collect();
    // The functions are copied, not shared: their module gets the name of the file.
    let functions = ast.clone_functions_only();
    let mut whole = AST::new(statements, Module::new());
    whole += functions;
    whole
}

/// The members of the module that an import would give, without running it: of a file that is not
/// there, the fault; of one that cannot be parsed, nothing.
pub(crate) fn members(
    engine: &Engine,
    context: &Context,
    source: &str,
    path: &str,
) -> Result<Option<Vec<String>>, Fault> {
    let file = locate(context, Some(source), path)?;
    let text = read(&file)?;
    let Ok(ast) = engine.compile(&text) else {
        return Ok(None);
    };
    let functions = ast
        .iter_functions()
        .filter(|function| !function.access.is_private());
    let mut members: Vec<String> = functions
        .map(|function| function.name.to_string())
        .filter(|name| !name.starts_with("anon$"))
        .collect();
    for statement in ast.statements() {
        match statement {
            Stmt::Var(variable, flags, _)
                if flags.intersects(ASTFlags::CONSTANT | ASTFlags::EXPORTED) =>
            {
                members.push(variable.0.as_str().to_string());
            }
            Stmt::Export(names, _) => {
                let alias = if names.1.is_empty() {
                    &names.0
                } else {
                    &names.1
                };
                members.push(alias.as_str().to_string());
            }
            Stmt::Import(import, _) => members.push(import.1.as_str().to_string()),
            _ => {}
        }
    }
    Ok(Some(members))
}
