//! How a function, method or property is bound: once, with its documentation. Every binding is
//! guarded: a panic inside becomes an error, and an error gets the place of the call.

use std::{
    any::TypeId,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use rhai::{
    Dynamic, Engine, EvalAltResult, FuncRegistration, Module, NativeCallContext, Position,
    RhaiFunc, RhaiNativeFunc, Shared, Variant,
};
use rhapsode_models::reference::Reference as Paper;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    fault::Fault,
    help::{Entry, EntryKind, FunctionName, OptionSchema, Overload, Reference},
    options, panics,
    schema::{Field, Schema},
    value::{Object, Types},
};

/// Everything that is bound, before it goes into an engine.
#[derive(Default)]
pub(crate) struct Library {
    global: Module,
    modules: BTreeMap<&'static str, Module>,
    entries: Vec<Entry>,
    types: Types,
}

/// Rhai's name for `x[i] = v`: `FuncRegistration::new_index_setter` cannot go into a module raw.
const INDEX_SETTER: &str = "index$set$";

/// One documented name, to which overloads are added with [`Binding::call`].
pub(crate) struct Binding<'a> {
    library: &'a mut Library,
    module: Option<&'static str>,
    registration: fn(&str) -> FuncRegistration,
    name: &'static str,
    entry: usize,
}

impl Library {
    /// A function; `flow::rectified` goes into the module `flow`. The signature is in the users'
    /// words: `(shape: array, options?: map) -> Tensor`.
    pub fn function(
        &mut self,
        path: &'static str,
        signature: &'static str,
        text: &'static str,
    ) -> Binding<'_> {
        let (module, name) = match path.rsplit_once("::") {
            Some((module, name)) => (Some(module), name),
            None => (None, path),
        };
        if let Some(module) = module {
            let known = self.modules.entry(module).or_default();
            known.set_var(name, FunctionName(path.to_string()));
        }
        self.bind(
            module,
            name,
            path.to_string(),
            EntryKind::Function,
            signature,
            text,
            |name| FuncRegistration::new(name),
        )
    }

    /// A method of a type of ours.
    pub fn method<T: Object>(
        &mut self,
        name: &'static str,
        signature: &'static str,
        text: &'static str,
    ) -> Binding<'_> {
        let full = format!("{}.{name}", T::NAME);
        self.bind(
            None,
            name,
            full,
            EntryKind::Method,
            signature,
            text,
            |name| FuncRegistration::new(name),
        )
    }

    /// A property of a type of ours that can be read.
    pub fn property<T: Object>(
        &mut self,
        name: &'static str,
        kind: &'static str,
        text: &'static str,
    ) -> Binding<'_> {
        let full = format!("{}.{name}", T::NAME);
        self.bind(None, name, full, EntryKind::Property, kind, text, |name| {
            FuncRegistration::new_getter(name)
        })
    }

    /// An operator, such as `+`, for some types.
    pub fn operator(
        &mut self,
        name: &'static str,
        signature: &'static str,
        text: &'static str,
    ) -> Binding<'_> {
        self.bind(
            None,
            name,
            name.to_string(),
            EntryKind::Operator,
            signature,
            text,
            |name| FuncRegistration::new(name),
        )
    }

    /// Reading with `x[...]`.
    pub fn index<T: Object>(&mut self, signature: &'static str, text: &'static str) -> Binding<'_> {
        let full = format!("{}[]", T::NAME);
        self.bind(
            None,
            "[]",
            full,
            EntryKind::Operator,
            signature,
            text,
            |_| FuncRegistration::new_index_getter(),
        )
    }

    /// Writing with `x[...] = value`.
    pub fn index_assignment<T: Object>(
        &mut self,
        signature: &'static str,
        text: &'static str,
    ) -> Binding<'_> {
        let full = format!("{}[]=", T::NAME);
        self.bind(
            None,
            "[]=",
            full,
            EntryKind::Operator,
            signature,
            text,
            |_| FuncRegistration::new(INDEX_SETTER),
        )
    }

    /// Says what a module is about.
    pub fn module(&mut self, name: &'static str, text: &'static str) {
        self.modules.entry(name).or_default();
        self.entries
            .push(Entry::new(name, EntryKind::Module, "", text));
    }

    /// A page of help that is about no single name.
    pub fn topic(&mut self, name: &'static str, text: &'static str) {
        self.entries
            .push(Entry::new(name, EntryKind::Topic, "", text));
    }

    /// Makes a type of ours known: its name, how it prints, how it is shown.
    pub fn object<T: Object>(&mut self, text: &'static str) {
        self.types.insert::<T>();
        self.global.set_custom_type::<T>(T::NAME);
        self.entries
            .push(Entry::new(T::NAME, EntryKind::Type, "", text));
        for name in ["to_string", "to_debug"] {
            FuncRegistration::new(name)
                .with_purity(true)
                .in_global_namespace()
                .set_into_module(&mut self.global, |value: &mut T| value.text());
        }
    }

    /// Lets scripts loop over a type.
    pub fn iterator<T>(&mut self)
    where
        T: Variant + Clone + Iterator,
        <T as Iterator>::Item: Variant + Clone,
    {
        self.global.set_iterator::<T>();
    }

    /// Lets scripts loop over a type whose next item may be an error.
    pub fn fallible_iterator<T>(&mut self)
    where
        T: Variant + Clone + Iterator<Item = Result<Dynamic, Box<EvalAltResult>>>,
    {
        self.global.set_iterator_result::<T, Dynamic>();
    }

    /// Lets scripts loop over a type by taking it apart.
    pub fn rows_of<T: Variant + Clone>(
        &mut self,
        rows: fn(T) -> Box<dyn Iterator<Item = Dynamic>>,
    ) {
        self.global.set_iter(TypeId::of::<T>(), move |value| {
            match value.try_cast::<T>() {
                Some(value) => rows(value),
                None => Box::new(std::iter::empty()),
            }
        });
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "private; the public functions above name them"
    )]
    fn bind(
        &mut self,
        module: Option<&'static str>,
        name: &'static str,
        full: String,
        kind: EntryKind,
        signature: &'static str,
        text: &'static str,
        registration: fn(&str) -> FuncRegistration,
    ) -> Binding<'_> {
        self.entries.push(Entry::new(full, kind, signature, text));
        let entry = self.entries.len() - 1;
        Binding {
            library: self,
            module,
            registration,
            name,
            entry,
        }
    }

    /// Puts everything into an engine; gives the documentation and the types.
    pub fn install(mut self, engine: &mut Engine) -> Reference {
        self.global.build_index();
        engine.register_global_module(self.global.into());
        for (name, module) in self.modules {
            engine.register_static_module(name, module.into());
        }
        Reference::new(self.entries, self.types)
    }
}

impl Binding<'_> {
    /// The struct that the trailing option map is read into: its schema becomes help.
    pub fn options<T: JsonSchema + DeserializeOwned + 'static>(self) -> Self {
        if let Some(entry) = self.library.entries.get_mut(self.entry) {
            entry.options = Some(OptionSchema::OfType(|| Schema::of::<T>()));
            entry.reads = Some(|map| options::read::<T>(map).map(drop));
        }
        self
    }

    /// What the option map takes besides its struct: a closure, a tensor, an optimizer. `kind` is its
    /// type in the users' words, `default` what it is when it is not given.
    pub fn besides(self, name: &str, kind: &str, default: Option<&str>, text: &str) -> Self {
        if let Some(entry) = self.library.entries.get_mut(self.entry) {
            entry.besides.push(Field {
                name: name.into(),
                kind: kind.into(),
                default: default.map(str::to_string),
                required: false,
                text: text.into(),
            });
        }
        self
    }

    /// Like [`Binding::besides`], for what must be given.
    pub fn requires(self, name: &str, kind: &str, text: &str) -> Self {
        let binding = self.besides(name, kind, None, text);
        if let Some(entry) = binding.library.entries.get_mut(binding.entry)
            && let Some(field) = entry.besides.last_mut()
        {
            field.required = true;
        }
        binding
    }

    /// Where the method comes from: help shows it, `cite` gives it as BibTeX.
    pub fn reference(self, paper: &'static Paper) -> Self {
        if let Some(entry) = self.library.entries.get_mut(self.entry) {
            entry.paper = Some(paper);
        }
        self
    }

    /// Like [`Binding::options`], for a schema that no single struct has.
    pub fn options_of(self, schema: Arc<Schema>) -> Self {
        if let Some(entry) = self.library.entries.get_mut(self.entry) {
            entry.options = Some(OptionSchema::Whole(schema));
        }
        self
    }

    /// An overload.
    pub fn call<A: 'static, const N: usize, const X: bool, R, const F: bool, FUNC>(
        self,
        function: FUNC,
    ) -> Self
    where
        R: Variant + Clone,
        FUNC: RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
    {
        // An assignment alone changes its receiver: Rhai then refuses it on constants.
        let is_pure = self.name != "[]=";
        let native = guarded(function.into_rhai_function(is_pure, true));
        if let Some(entry) = self.library.entries.get_mut(self.entry) {
            entry.overloads.push(Overload {
                takes: FUNC::param_types().to_vec(),
                gives: TypeId::of::<R>(),
            });
        }
        let registration = (self.registration)(self.name);
        // In a module the default namespace keeps the name behind its `module::`.
        match self.module {
            Some(name) => {
                let module = self.library.modules.entry(name).or_default();
                registration.set_into_module_raw(module, FUNC::param_types(), native);
            }
            None => {
                registration.in_global_namespace().set_into_module_raw(
                    &mut self.library.global,
                    FUNC::param_types(),
                    native,
                );
            }
        }
        self
    }
}

/// Catches panics of a native function and fills in the place of the call.
fn guarded(function: RhaiFunc) -> RhaiFunc {
    let (inner, method, is_pure, is_volatile) = match function {
        RhaiFunc::Pure {
            func,
            is_pure,
            is_volatile,
            ..
        } => (func, false, is_pure, is_volatile),
        RhaiFunc::Method {
            func,
            is_pure,
            is_volatile,
            ..
        } => (func, true, is_pure, is_volatile),
        other => return other,
    };
    let func = Shared::new(
        move |call: Option<NativeCallContext>, args: &mut [&mut Dynamic]| {
            let position = call
                .as_ref()
                .map_or(Position::NONE, NativeCallContext::call_position);
            let outcome = catch_unwind(AssertUnwindSafe(|| inner(call, args)));
            let mut error: Box<EvalAltResult> = match outcome {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(payload) => Fault::from(panics::message(&*payload)).into(),
            };
            if error.position().is_none() {
                error.set_position(position);
            }
            Err(error)
        },
    );
    match method {
        true => RhaiFunc::Method {
            func,
            has_context: true,
            is_pure,
            is_volatile,
        },
        false => RhaiFunc::Pure {
            func,
            has_context: true,
            is_pure,
            is_volatile,
        },
    }
}

#[cfg(test)]
mod tests {
    use rhai::{Dynamic, Map};

    use crate::{bind, context, library::Library};

    /// What help shows as the defaults of options is what an option map takes, name by name.
    #[test]
    fn the_defaults_of_all_options_read_back() {
        let settings = context::Settings {
            seed: 0,
            device: "cpu".into(),
            dtype: "f32".into(),
        };
        let context =
            context::Context::new(settings, Default::default(), Default::default(), false);
        let _engine = crate::engine::build(&context.into(), |library| {
            bind::all(library);
            check(library);
        });
    }

    fn check(library: &Library) {
        let mut count = 0;
        for entry in &library.entries {
            let (Some(schema), Some(reads)) = (&entry.options, entry.reads) else {
                continue;
            };
            let schema = schema.schema();
            let mut map = Map::new();
            for (name, field) in schema.properties(schema.root()) {
                if let Some(default) = field.get("default") {
                    let value: Dynamic = rhai::serde::to_dynamic(default).unwrap();
                    map.insert(name.into(), value);
                    count += 1;
                }
            }
            reads(&map).unwrap_or_else(|fault| panic!("{}: {}", entry.name, fault.message));
        }
        assert!(count > 10, "{count}");
    }
}
