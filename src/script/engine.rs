//! Builds the Rhai engine of a session: limits, operators, hooks, and everything that is bound.

use std::sync::Arc;

use rhai::{Array, Dynamic, Engine, EvalAltResult, Map, NativeCallContext, OptimizationLevel};

use crate::{
    Event, compare,
    context::{self, Context},
    fault::Fault,
    help::FunctionName,
    library::Library,
    modules::Files,
};

/// How deep functions may call each other.
pub(crate) const CALL_DEPTH: usize = 64;
/// How deep expressions and blocks may be nested.
const EXPRESSION_DEPTH: usize = 256;
/// Elements of an array with all that is nested in it: 64 MiB. Rhai checks after every call with
/// an array, so a recursion of full depth stays within a few GiB.
pub(crate) const ARRAY_SIZE: usize = 4 << 20;
/// Bytes of a string.
pub(crate) const STRING_SIZE: usize = 64 << 20;
/// Entries of a map with all that is nested in it.
const MAP_SIZE: usize = 1 << 20;
/// That of `*`, as in Python: `a @ b * c` is `(a @ b) * c`.
const MATMUL_PRECEDENCE: u8 = 180;

/// An engine with what `bind` puts into the library; the bindings work on `context`.
pub(crate) fn build(context: &Arc<Context>, bind: fn(&mut Library)) -> Engine {
    let mut engine = Engine::new();
    // A literal option map must stay in the tree: an error points at its key.
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_module_resolver(Files::new(context));
    engine.set_fail_on_invalid_map_property(true);
    engine.disable_symbol("eval");
    set_limits(&mut engine);
    set_hooks(&mut engine, context);
    let operators = engine
        .register_custom_operator("@", MATMUL_PRECEDENCE)
        .map(|_| ())
        .and_then(|()| compare::install(&mut engine));
    if let Err(message) = operators {
        // The names and the precedences are constants that Rhai takes; the tests use all of them.
        context.send(Event::Stderr(format!("{message}\n")));
    }
    let mut library = Library::default();
    bind(&mut library);
    let reference = library.install(&mut engine);
    context.set_reference(Arc::new(reference));
    bound_texts(&mut engine);
    bound_errors(&mut engine);
    engine.set_default_tag(Dynamic::from(Arc::clone(context)));
    engine
}

/// Arrays and maps as text: long ones cut, as everywhere else. Rhai would write them out.
fn bound_texts(engine: &mut Engine) {
    fn text(call: &NativeCallContext, value: Dynamic) -> Result<String, Box<EvalAltResult>> {
        let context = context::of_call(call)?;
        let reference = context.reference();
        Ok(reference.map_or(String::new(), |reference| reference.types.repr(&value)))
    }
    for name in ["print", "to_string", "debug", "to_debug"] {
        engine.register_fn(name, |call: NativeCallContext, array: Array| {
            text(&call, Dynamic::from(array))
        });
        engine.register_fn(name, |call: NativeCallContext, map: Map| {
            text(&call, Dynamic::from(map))
        });
    }
}

/// What `catch (error)` is given of a binding's failure: printed as its message, with `.kind` and `.message`.
fn bound_errors(engine: &mut Engine) {
    engine.register_type_with_name::<Fault>("Error");
    for name in ["print", "to_string", "debug", "to_debug"] {
        engine.register_fn(name, |fault: Fault| -> String {
            format!("{}: {}", fault.kind.name(), fault.message)
        });
    }
    engine.register_get("message", |fault: &mut Fault| fault.message.clone());
    engine.register_get("kind", |fault: &mut Fault| fault.kind.name().to_string());
}

fn set_limits(engine: &mut Engine) {
    engine.set_max_call_levels(CALL_DEPTH);
    engine.set_max_expr_depths(EXPRESSION_DEPTH, EXPRESSION_DEPTH);
    engine.set_max_array_size(ARRAY_SIZE);
    engine.set_max_string_size(STRING_SIZE);
    engine.set_max_map_size(MAP_SIZE);
}

fn set_hooks(engine: &mut Engine, context: &Arc<Context>) {
    let printer = Arc::clone(context);
    engine.on_print(move |text| printer.send(Event::Stdout(format!("{text}\n"))));
    let debugger = Arc::clone(context);
    engine.on_debug(move |text, _, _| debugger.send(Event::Stderr(format!("{text}\n"))));
    let watch = Arc::clone(context);
    engine.on_progress(move |_| watch.must_stop().then_some(Dynamic::UNIT));
    let variables = Arc::clone(context);
    // Rhai marks `on_var` as deprecated to say that its signature may change; it is the only way
    // to let functions see the notebook's variables.
    #[expect(deprecated)]
    engine.on_var(move |name, index, call| {
        // A number means that the parser found the variable in the same piece of code.
        if index > 0 || call.scope().contains(name) {
            return Ok(None);
        }
        let of_module = call
            .source()
            .and_then(|file| variables.modules().constant(file, name));
        if let Some(value) = of_module.or_else(|| variables.seen(name)) {
            return Ok(Some(value));
        }
        // A script's own function of that name comes before the documented one.
        let scripted = call.iter_namespaces().any(|module| {
            module
                .iter_script_fn_info()
                .any(|(.., function, _, _)| function == name)
        });
        let documented = variables
            .reference()
            .filter(|reference| !scripted && reference.has_function(name));
        Ok(documented
            .and_then(|reference| reference.get(name).next())
            .map(|entry| Dynamic::from(FunctionName(entry.name.clone()))))
    });
}
