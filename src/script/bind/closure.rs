//! Closures of scripts as functions for library code.
//!
//! A [`Closure`] is a Rhai function value (a closure, a curried one, the name of a script's function)
//! with all that it needs to be called: it may be kept, and called after the call that it was given to has
//! ended (by a gradient, by a training that goes on). What goes wrong inside keeps its kind, place and trace
//! on the way through the library; an interrupt inside stops the work; a value of the wrong type or shape is
//! reported at the closure's own line. The number of parameters is checked when it is made.
//!
//! ```text
//! let field = Closure::new(&call, f, &["x", "t"], Spot::Argument(0))?;
//! let y = field.tensor_of([Dynamic::from(x), Dynamic::from(t)], x.dims(), x.dtype())?;
//! ```

use std::{cell::Cell, sync::Arc};

use rhai::{
    Dynamic, Engine, EvalAltResult, FnPtr, GlobalRuntimeState, NativeCallContext, Position,
    ScriptFuncDef, Shared,
};
use rhapsode_models::{Error, Result};
use rhapsode_tensor::{Callback, DType, Tensor};

use super::{Outcome, number};
use crate::{
    Kind,
    context::{self, Context},
    fault::{Cause, Fault, Spot},
    value::type_word,
};

/// How deep closures may call each other through the library. Rhai counts its own levels anew in every
/// call of a kept closure; this bound keeps all of them within the stack.
const DEPTH: usize = 16;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// A function value of a script that library code can call and keep.
#[derive(Clone)]
pub(crate) struct Closure {
    function: FnPtr,
    context: Arc<Context>,
    global: Arc<GlobalRuntimeState>,
}

impl Closure {
    /// A closure that takes `parameters`; one that takes another number of them is refused, at `spot`.
    pub fn new(
        call: &NativeCallContext,
        function: FnPtr,
        parameters: &[&str],
        spot: Spot,
    ) -> Outcome<Self> {
        Ok(Self::of_either(call, function, &[parameters], spot)?.0)
    }

    /// A closure that takes one of some lists of parameters, and how many it takes; `spot` as in [`Closure::new`]. A native function takes
    /// the first list.
    pub fn of_either(
        call: &NativeCallContext,
        function: FnPtr,
        lists: &[&[&str]],
        spot: Spot,
    ) -> Outcome<(Self, usize)> {
        let closure = Self {
            function,
            context: context::of_call(call)?,
            global: Arc::new(call.global_runtime_state().clone()),
        };
        let bound = closure.function.curry().len();
        let takes: Vec<usize> = closure
            .definitions()
            .iter()
            .map(|f| f.params.len().saturating_sub(bound))
            .collect();
        let native = takes.is_empty();
        let fits = lists
            .iter()
            .find(|list| native || takes.contains(&list.len()));
        if let Some(list) = fits {
            return Ok((closure, list.len()));
        }
        let wanted: Vec<String> = lists
            .iter()
            .map(|list| format!("{} (|{}|)", counted(list.len()), list.join(", ")))
            .collect();
        let first = takes.first().copied().unwrap_or(0);
        let message = format!(
            "the closure must take {}, this one takes {first}",
            wanted.join(" or ")
        );
        Err(Fault::new(Kind::Type, message).at(spot).into())
    }

    /// What it gives for these arguments.
    pub fn value<const N: usize>(&self, arguments: [Dynamic; N]) -> Result<Dynamic> {
        let gone = || Error::from(rhapsode_tensor::Error::Interrupted);
        let engine = self.context.engine().ok_or_else(gone)?;
        let depth = CALLS.get();
        let result = if depth < DEPTH {
            CALLS.set(depth + 1);
            let result = self.run(&engine, arguments);
            CALLS.set(depth);
            result
        } else {
            Err(EvalAltResult::ErrorStackOverflow(Position::NONE).into())
        };
        result.map_err(|error| match error.unwrap_inner() {
            EvalAltResult::ErrorTerminated(..) => Error::Interrupted,
            _ => Error::callback(Cause::new(error)),
        })
    }

    /// What it gives, which must be a tensor; a number is one in f64 without axes.
    pub fn tensor<const N: usize>(&self, arguments: [Dynamic; N]) -> Result<Tensor> {
        let value = self.value(arguments)?.flatten();
        if let Some(number) = number(&value) {
            return Ok(Tensor::scalar(number, DType::F64)?);
        }
        let got = type_word(value.type_name()).to_string();
        value
            .try_cast::<Tensor>()
            .ok_or_else(|| self.wrong(Kind::Type, "a tensor", &got))
    }

    /// What it gives, which must be a tensor of this shape, in this dtype. A number is taken where one
    /// element is meant.
    pub fn tensor_of<const N: usize>(
        &self,
        arguments: [Dynamic; N],
        shape: &[usize],
        dtype: DType,
    ) -> Result<Tensor> {
        let value = self.value(arguments)?.flatten();
        if let Some(number) = number(&value)
            && shape.iter().product::<usize>() == 1
        {
            return Ok(Tensor::full(number, shape, dtype)?);
        }
        let wanted = format!("a tensor of shape {shape:?}");
        let got = type_word(value.type_name()).to_string();
        let Some(tensor) = value.try_cast::<Tensor>() else {
            return Err(self.wrong(Kind::Type, &wanted, &got));
        };
        if tensor.dims() != shape {
            let got = format!("shape {:?}", tensor.dims());
            return Err(self.wrong(Kind::Shape, &wanted, &got));
        }
        Ok(tensor.to_dtype(dtype)?)
    }

    /// What it gives, which must be a number; a tensor of one element is one.
    pub fn number<const N: usize>(&self, arguments: [Dynamic; N]) -> Result<f64> {
        let value = self.value(arguments)?.flatten();
        if let Some(number) = number(&value) {
            return Ok(number);
        }
        match value.read_lock::<Tensor>() {
            Some(tensor) if tensor.len() == 1 => Ok(tensor.item()?),
            Some(tensor) => Err(self.wrong(
                Kind::Shape,
                "a number",
                &format!("a tensor of shape {:?}", tensor.dims()),
            )),
            None => Err(self.wrong(Kind::Type, "a number", type_word(value.type_name()))),
        }
    }

    /// The error that it gave something else than it must, at its own place.
    pub fn wrong(&self, kind: Kind, expected: &str, got: &str) -> Error {
        let fault = Fault::new(kind, format!("the closure must give {expected}, got {got}"));
        let error: Box<EvalAltResult> = fault.into();
        let Some(place) = self.definitions().first().map(|f| f.body.start_position()) else {
            return Error::callback(Cause::new(error));
        };
        let mut error = error;
        error.set_position(place);
        let name = self.function.fn_name().to_string();
        Error::callback(Cause::new(
            EvalAltResult::ErrorInFunctionCall(name, String::new(), error, Position::NONE).into(),
        ))
    }

    fn run<const N: usize>(
        &self,
        engine: &Engine,
        arguments: [Dynamic; N],
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        // The call's place is filled in by the call that is running then, which may be a later one.
        let at = Position::NONE;
        let name = self.function.fn_name();
        let newest = self.context.functions();
        let known = self.global.lib.first();
        match (newest, known) {
            // A function may have been redefined since.
            (Some(newest), Some(known)) if !Arc::ptr_eq(&newest, known) => {
                let mut global = GlobalRuntimeState::clone(&self.global);
                if let Some(first) = global.lib.first_mut() {
                    *first = newest;
                }
                let call = NativeCallContext::new_with_all_fields(engine, name, None, &global, at);
                self.function.call_raw(&call, None, arguments)
            }
            _ => {
                let call =
                    NativeCallContext::new_with_all_fields(engine, name, None, &self.global, at);
                self.function.call_raw(&call, None, arguments)
            }
        }
    }

    /// The script's functions of its name; none for a native one.
    fn definitions(&self) -> Vec<Shared<ScriptFuncDef>> {
        let name = self.function.fn_name();
        self.global
            .lib
            .iter()
            .flat_map(|module| module.iter_script_fn_info())
            .filter(|(.., known, _, _)| *known == name)
            .map(|(.., function)| Shared::clone(function))
            .collect()
    }
}

fn counted(n: usize) -> String {
    match n {
        1 => "1 parameter".into(),
        n => format!("{n} parameters"),
    }
}

/// The fault behind an error that came through library code.
pub(super) fn fault(callback: &Callback) -> Fault {
    // The adjoint of a solution fails as the solver would.
    if let Some(error) = callback.get::<Error>() {
        return error.clone().into();
    }
    let mut fault = Fault::new(Kind::Value, callback.to_string());
    fault.cause = callback.get::<Cause>().cloned();
    fault
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Diagnostic, Display, Recorder, Session, SessionOptions, bind::enter, library::Library,
        value::Object,
    };

    #[derive(Clone)]
    struct Kept(Closure);

    impl Object for Kept {
        const NAME: &'static str = "Kept";

        fn text(&self) -> String {
            "Kept".into()
        }

        fn summary(&self) -> String {
            self.text()
        }

        fn bytes(&self) -> Option<u64> {
            None
        }

        fn display(&self) -> Display {
            Display::text(self.text())
        }
    }

    fn apply(closure: &Closure, x: &Tensor) -> Result<Tensor> {
        closure.tensor_of([Dynamic::from(x.clone())], x.dims(), x.dtype())
    }

    /// `twice(f, x)` calls at once, `keep(f)` and `.again(x)` later.
    fn bind(library: &mut Library) {
        crate::bind::all(library);
        library.object::<Kept>("A closure.");
        library
            .function("twice", "(f: closure, x: Tensor) -> Tensor", "Twice.")
            .call(|call: NativeCallContext, f: FnPtr, x: Tensor| {
                let f = Closure::new(&call, f, &["x"], Spot::Argument(0))?;
                enter(&call, |_| apply(&f, &apply(&f, &x)?))
            });
        library
            .function("keep", "(f: closure) -> Kept", "Keeps.")
            .call(|call: NativeCallContext, f: FnPtr| -> Outcome<Kept> {
                Ok(Kept(Closure::new(&call, f, &["x"], Spot::Argument(0))?))
            });
        library
            .method::<Kept>("again", "(x: Tensor) -> Tensor", "Calls.")
            .call(|kept: &mut Kept, x: Tensor| super::super::raise(apply(&kept.0, &x)));
    }

    fn session() -> Session {
        Session::with(SessionOptions::default(), bind)
    }

    fn show(session: &mut Session, code: &str) -> String {
        match session.execute(code, &mut Recorder::default()) {
            Ok(value) => value.map_or(String::new(), |v| v.plain().to_string()),
            Err(error) => panic!("{code}\n{}", error.render(false)),
        }
    }

    fn error(session: &mut Session, code: &str) -> Diagnostic {
        session.execute(code, &mut Recorder::default()).unwrap_err()
    }

    /// Kind, message, line and column, and the chain of calls.
    fn facts(error: &Diagnostic) -> (Kind, &str, (usize, usize), Vec<&str>) {
        let place = error.place.as_ref().map_or((0, 0), |p| (p.line, p.column));
        let chain = error.trace.iter().map(|f| f.function.as_str()).collect();
        (error.kind, &error.message, place, chain)
    }

    #[test]
    fn closures_curried_ones_and_named_functions_are_called() {
        let mut s = session();
        let x = "tensor([1.0, 2.0])";
        let k = format!("let k = 3.0; twice(|x| x * k, {x}).to_array()");
        assert_eq!(show(&mut s, &k), "[9.0, 18.0]");
        let named = format!("fn half(x) {{ x * 0.5 }} twice(half, {x}).to_array()");
        assert_eq!(show(&mut s, &named), "[0.25, 0.5]");
        let curried = format!("fn add(a, x) {{ x + a }} twice(add.curry(2), {x}).to_array()");
        assert_eq!(show(&mut s, &curried), "[5.0, 6.0]");
        // A number where one element is meant.
        assert_eq!(
            show(&mut s, "twice(|x| 7, zeros([1, 1])).to_array()"),
            "[[7.0]]"
        );
    }

    #[test]
    fn a_kept_closure_is_called_in_a_later_cell_and_sees_redefinitions() {
        let mut s = session();
        show(
            &mut s,
            "fn scale() { 2.0 }\nlet c = 1.0;\nlet kept = keep(|x| x * scale() + c);",
        );
        let call = "kept.again(tensor([1.0])).item()";
        assert_eq!(show(&mut s, call), "3.0");
        show(&mut s, "fn scale() { 5.0 }");
        assert_eq!(show(&mut s, call), "6.0");
        show(&mut s, "c = 10.0;");
        assert_eq!(show(&mut s, call), "15.0");
        show(&mut s, "let bad = keep(|x| x @ zeros([7, 7]));");
        let found = error(&mut s, "let y = 1;\n  bad.again(ones([2, 2]))");
        assert_eq!(facts(&found).0, Kind::Shape);
        // The place is the closure's, in its own cell; the call is in the trace.
        assert_eq!(
            found.place.as_ref().map(|p| p.source.as_str()),
            Some("cell 7")
        );
        assert_eq!(found.trace[0].place.as_ref().map(|p| p.line), Some(2));
    }

    #[test]
    fn an_error_inside_keeps_kind_place_and_trace() {
        let mut s = session();
        let found = error(
            &mut s,
            "fn inner(x) {\n  x.reshape([5])\n}\ntwice(|x| inner(x), ones([2]))",
        );
        let (kind, _, place, chain) = facts(&found);
        assert_eq!((kind, place), (Kind::Shape, (2, 5)));
        assert_eq!(chain, ["inner", "closure"]);
        let found = error(&mut s, "twice(|x| throw \"no\", ones([2]))");
        assert_eq!((found.kind, found.message.as_str()), (Kind::Thrown, "no"));
        let found = error(&mut s, "twice(|x| { let y = 1;\n y.foo() }, ones([2]))");
        assert_eq!((found.kind, facts(&found).2.0), (Kind::Name, 2));
        assert!(found.message.contains("foo"), "{}", found.message);
    }

    #[test]
    fn a_wrong_value_is_reported_at_the_closure() {
        let mut s = session();
        let found = error(&mut s, "let x = ones([2]);\ntwice(|x|\n  \"text\", x)");
        let message = "the closure must give a tensor of shape [2], got string";
        assert_eq!(
            facts(&found),
            (Kind::Type, message, (3, 3), vec!["closure"])
        );
        let found = error(&mut s, "twice(|x| x.sum(), ones([2]))");
        let message = "the closure must give a tensor of shape [2], got shape []";
        assert_eq!((found.kind, found.message.as_str()), (Kind::Shape, message));
        let found = error(&mut s, "twice(|x, t| x, ones([2]))");
        let message = "the closure must take 1 parameter (|x|), this one takes 2";
        assert_eq!(facts(&found), (Kind::Type, message, (1, 7), vec![]));
    }

    #[test]
    fn closures_that_call_each_other_without_end_are_an_error() {
        let mut s = session();
        for code in [
            "fn f(x) { twice(f, x) } f(ones([1]))",
            "let k = #{}; k.c = keep(|x| x); fn g(x) { let c = k.c; c.again(x) } k.c = keep(g); g(ones([1]))",
        ] {
            let found = error(&mut s, code);
            assert_eq!(found.kind, Kind::Limit, "{}", found.render(false));
        }
        assert_eq!(show(&mut s, "1 + 1"), "2");
    }

    #[test]
    fn an_interrupt_inside_stops_the_work() {
        struct Stopper(crate::InterruptHandle);
        impl crate::Frontend for Stopper {
            fn event(&mut self, event: crate::Event) {
                if matches!(event, crate::Event::Stdout(_)) {
                    self.0.interrupt();
                }
            }
        }
        let mut s = session();
        let mut io = Stopper(s.interrupt_handle());
        let code = "twice(|x| { print(1); loop { } }, ones([2]))";
        let found = s.execute(code, &mut io).unwrap_err();
        assert_eq!(found.kind, Kind::Interrupted);
    }
}
