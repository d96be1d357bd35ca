//! How a function, method or property is bound: once, with its documentation. Every binding is
//! guarded: a panic inside becomes an error, and an error gets the place of the call.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use rhai::{
    Dynamic, Engine, EvalAltResult, FuncRegistration, Module, NativeCallContext, Position,
    RhaiFunc, RhaiNativeFunc, Shared, Variant,
};
use schemars::JsonSchema;

use crate::{
    fault::Fault,
    help::{Entry, EntryKind, FunctionName, Reference},
    options::Schema,
    panics,
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
        self.entries.push(Entry {
            name: name.into(),
            kind: EntryKind::Module,
            signature: "",
            text,
            options: None,
        });
    }

    /// A page of help that is about no single name.
    pub fn topic(&mut self, name: &'static str, text: &'static str) {
        self.entries.push(Entry {
            name: name.into(),
            kind: EntryKind::Topic,
            signature: "",
            text,
            options: None,
        });
    }

    /// Makes a type of ours known: its name, how it prints, how it is shown.
    pub fn object<T: Object>(&mut self, text: &'static str) {
        self.types.insert::<T>();
        self.global.set_custom_type::<T>(T::NAME);
        self.entries.push(Entry {
            name: T::NAME.into(),
            kind: EntryKind::Type,
            signature: "",
            text,
            options: None,
        });
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

    /// Lets scripts loop over a type by taking it apart.
    pub fn rows_of<T: Variant + Clone>(
        &mut self,
        rows: fn(T) -> Box<dyn Iterator<Item = Dynamic>>,
    ) {
        self.global
            .set_iter(std::any::TypeId::of::<T>(), move |value| {
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
        self.entries.push(Entry {
            name: full,
            kind,
            signature,
            text,
            options: None,
        });
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
    pub fn options<T: JsonSchema + 'static>(self) -> Self {
        if let Some(entry) = self.library.entries.get_mut(self.entry) {
            entry.options = Some(|| Schema::of::<T>());
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
