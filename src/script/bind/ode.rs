//! `ode`: differential equations whose right-hand sides are closures.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};
use rhapsode_models::{
    Result as ModelResult,
    observe::{Observer, Step},
    ode::{
        self, Gradient, SharedField, Solution, SolveOptions, Solver,
        sde::{self, Noise, SdeOptions},
    },
};
use rhapsode_tensor::{DType, Tensor};

use super::{Closure, Outcome, draw::next_seed, enter, number, raise};
use crate::{
    Display, Kind,
    context::{self, lock},
    fault::{Fault, Spot},
    library::Library,
    options,
    value::{Object, type_word},
};

/// A solver shows progress only when it takes longer: in a training it is called at every step.
const QUIET: Duration = Duration::from_millis(500);

/// A solution as scripts see it.
#[derive(Clone)]
pub(crate) struct Solved {
    solution: Arc<Solution>,
    // Whether `x0` was a number.
    single: bool,
    // The kept states as one tensor, made when first asked for.
    stacked: Arc<Mutex<Option<Tensor>>>,
}

impl Object for Solved {
    const NAME: &'static str = "Solution";

    fn text(&self) -> String {
        let s = &self.solution;
        let how = match (s.event, s.interrupted) {
            (Some(t), _) => format!(", ended by its event at t = {t}"),
            (None, true) => format!(", interrupted at t = {}", s.end.0),
            (None, false) => format!(" to t = {}", s.end.0),
        };
        format!(
            "Solution{how}: {} states of shape {:?}, {} steps ({} rejected), {} evaluations",
            s.x.len(),
            s.last().dims(),
            s.accepted,
            s.rejected,
            s.evaluations
        )
    }

    fn summary(&self) -> String {
        let s = &self.solution;
        format!("{} states of {:?}", s.x.len(), s.last().dims())
    }

    fn bytes(&self) -> Option<u64> {
        let last = self.solution.last();
        let states = self.solution.x.len() as u64 + 1;
        Some(states * (last.len() * last.dtype().size_in_bytes()) as u64)
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// The shorthands: a function a solver.
const SHORT: &[(&str, Solver, &str)] = &[
    (
        "ode::euler",
        Solver::Euler,
        r#"
        `ode::solve` by Euler's method, x + h f(x, t): order 1, one evaluation a step.

        ```rhai
        ode::euler(|x, t| -x, ones([1]), #{ steps: 2 }).last.item() // => 0.25
        ```
        "#,
    ),
    (
        "ode::midpoint",
        Solver::Midpoint,
        r#"
        `ode::solve` by the explicit midpoint rule, x + h f(x + h/2 f, t + h/2): order 2, two evaluations a step.

        ```rhai
        ode::midpoint(|x, t| -x, ones([1]), #{ steps: 1 }).last.item() // => 0.5
        ```
        "#,
    ),
    (
        "ode::heun",
        Solver::Heun,
        r#"
        `ode::solve` by Heun's method, the mean of the slopes at both ends of an Euler step: order 2, two evaluations a step.

        ```rhai
        ode::heun(|x, t| -x, ones([1]), #{ steps: 1 }).last.item() // => 0.5
        ```
        "#,
    ),
    (
        "ode::rk4",
        Solver::Rk4,
        r#"
        `ode::solve` by the classical method of Runge and Kutta: order 4, four evaluations a step.

        ```rhai
        (ode::rk4(|x, t| -x, 1.0, #{ steps: 1 }).last - 0.375).abs() < 1e-15 // => true
        ```
        "#,
    ),
    (
        "ode::dopri5",
        Solver::Dopri5,
        r#"
        `ode::solve` by the method of Dormand and Prince (1980): order 5, six evaluations a step, chooses its steps.

        ```rhai
        (ode::dopri5(|x, t| -x, ones([1]), #{}).last.item() - exp(-1.0)).abs() < 1e-5 // => true
        ```
        "#,
    ),
    (
        "ode::tsit5",
        Solver::Tsit5,
        r#"
        `ode::solve` by the method of Tsitouras (2011): order 5, six evaluations a step, chooses its steps.

        ```rhai
        (ode::tsit5(|x, t| -x, ones([1]), #{}).last.item() - exp(-1.0)).abs() < 1e-5 // => true
        ```
        "#,
    ),
    (
        "ode::dopri8",
        Solver::Dopri8,
        r#"
        `ode::solve` by the method of Prince and Dormand (1981): order 8, thirteen evaluations a step, chooses its steps; for
        tolerances below 1e-8.

        ```rhai
        (ode::dopri8(|x, t| -x, 1.0, #{ rtol: 1e-12, atol: 1e-12 }).last - exp(-1.0)).abs() < 1e-11 // => true
        ```
        "#,
    ),
];

/// The same for stochastic equations.
const SHORT_SDE: &[(&str, sde::Solver, &str)] = &[
    (
        "ode::euler_maruyama",
        sde::Solver::EulerMaruyama,
        r#"
        `ode::sde` by the method of Euler and Maruyama, x + f h + g dW: Ito, strong order 1/2 (1 when g does not depend on x).

        ```rhai
        ode::euler_maruyama(|x, t| -x, zeros([100]), #{ noise: 1.0, steps: 10 }).x.shape // => [11, 100]
        ```
        "#,
    ),
    (
        "ode::sde_heun",
        sde::Solver::SdeHeun,
        r#"
        `ode::sde` by Heun's method, the means of f and g at both ends of a step: Stratonovich, strong order 1.

        ```rhai
        ode::sde_heun(|x, t| -x, zeros([100]), #{ noise: |x, t| x.cos(), steps: 10 }).last.shape // => [100]
        ```
        "#,
    ),
    (
        "ode::milstein",
        sde::Solver::Milstein,
        r#"
        `ode::sde` by Milstein's method without derivatives, with the term g g' (dW^2 - h) / 2: Ito, strong order 1.

        ```rhai
        ode::milstein(|x, t| 0.1 * x, ones([100]), #{ noise: |x, t| 0.2 * x, steps: 10 }).last.shape // => [100]
        ```
        "#,
    ),
];

const EVENT: &str = "A closure `|x, t|` that gives a number; where its sign changes the solution ends (times of `save_at` behind it give way to the event; default: none).";
const NOISE: &str = "The factor g: a number, or a closure `|x, t|` that gives a tensor of the shape of x or of one element.";

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.module("ode", "Ordinary and stochastic differential equations: `ode::solve(|x, t| .., x0, #{ to: 2.0 })`.");
    bind_solution(library);
    library
        .function(
            "ode::solve",
            "(f: closure, x0: Tensor | float, options?: map) -> Solution",
            r#"
            Solves dx/dt = f(x, t) from x0. `f` is a closure `|x, t|` of the whole batch x and one time t, and gives slopes of the
            shape of x. Steps are chosen by `rtol` and `atol` (one size for the whole batch), or `steps` equal ones are taken. With
            `to` before `from` time runs backward. Gradients go to x0 and to every parameter in `f`. When x0 is a number, `f` is called with numbers. An interrupt keeps what was reached.

            ```rhai
            let s = ode::solve(|x, t| -x, ones([1]), #{ to: 2.0, save_at: 5 });
            s.t.to_array() // => [0.0, 0.5, 1.0, 1.5, 2.0]
            (s.x - (-s.t).exp().unsqueeze(1)).abs().max().item() < 1e-5 // => true
            let falls = ode::solve(|x, t| -2.0, 3.0, #{ to: 10.0, event: |x, t| x });
            (falls.event - 1.5).abs() < 1e-9 // => true
            ```
            "#,
        )
        .options::<SolveOptions>()
        .besides("event", "closure", None, EVENT)
        .call(|call: NativeCallContext, f: FnPtr, x0: Dynamic| solve(&call, f, &x0, Map::new(), None))
        .call(|call: NativeCallContext, f: FnPtr, x0: Dynamic, map: Map| solve(&call, f, &x0, map, None));
    library
        .function(
            "ode::sde",
            "(f: closure, x0: Tensor | float, options: map) -> Solution",
            r#"
            Solves dx = f(x, t) dt + g(x, t) dW from x0 with equal steps; every element has a Brownian motion of its own. "euler_maruyama" and "milstein" solve the Ito equation, "sde_heun" the one of Stratonovich. The path is a function
            of the seed: twice the steps refine the same path.

            ```rhai
            seed(0);
            let s = ode::sde(|x, t| -x, zeros([4000]), #{ noise: 1.0, to: 3.0 });
            (s.last.variance().item() - 0.5).abs() < 0.05 // => true
            ```
            "#,
        )
        .options::<SdeOptions>()
        .requires("noise", "float | closure", NOISE)
        .call(|call: NativeCallContext, f: FnPtr, x0: Dynamic, map: Map| stochastic(&call, f, &x0, map, None));
    for (name, solver, text) in SHORT {
        let solver = Some(*solver);
        library
            .function(
                name,
                "(f: closure, x0: Tensor | float, options?: map) -> Solution",
                text,
            )
            .options::<SolveOptions>()
            .besides("event", "closure", None, EVENT)
            .call(move |call: NativeCallContext, f: FnPtr, x0: Dynamic| {
                solve(&call, f, &x0, Map::new(), solver)
            })
            .call(
                move |call: NativeCallContext, f: FnPtr, x0: Dynamic, map: Map| {
                    solve(&call, f, &x0, map, solver)
                },
            );
    }
    for (name, solver, text) in SHORT_SDE {
        let solver = Some(*solver);
        library
            .function(
                name,
                "(f: closure, x0: Tensor | float, options: map) -> Solution",
                text,
            )
            .options::<SdeOptions>()
            .requires("noise", "float | closure", NOISE)
            .call(
                move |call: NativeCallContext, f: FnPtr, x0: Dynamic, map: Map| {
                    stochastic(&call, f, &x0, map, solver)
                },
            );
    }
}

fn bind_solution(library: &mut Library) {
    library.object::<Solved>(
        "What `ode::solve` and `ode::sde` give: `plot::line(s.t, s.x)` shows it.",
    );
    library
        .property::<Solved>("t", "Tensor", "The times of the kept states, `[m]`.")
        .call(|s: &mut Solved| -> Outcome<Tensor> {
            let t = raise(Tensor::from_vec(
                s.solution.t.clone(),
                &[s.solution.t.len()],
            ))?;
            raise(t.to_dtype(s.solution.last().dtype()))
        });
    library
        .property::<Solved>(
            "x",
            "Tensor",
            "The kept states, `[m, ..]` with the shape of x0 behind the times.",
        )
        .call(|s: &mut Solved| -> Outcome<Tensor> {
            let mut stacked = lock(&s.stacked);
            if let Some(x) = &*stacked {
                return Ok(x.clone());
            }
            let x = raise(s.solution.stacked())?;
            Ok(stacked.insert(x).clone())
        });
    library
        .property::<Solved>(
            "last",
            "Tensor | float",
            "The state at the end; a number when x0 was one.",
        )
        .call(|s: &mut Solved| -> Outcome<Dynamic> {
            match s.single {
                true => Ok(Dynamic::from(raise(s.solution.last().item())?)),
                false => Ok(Dynamic::from(s.solution.last().clone())),
            }
        });
    library
        .property::<Solved>(
            "event",
            "float | ()",
            "The time of the event that ended it; `()` when there was none.",
        )
        .call(|s: &mut Solved| s.solution.event.map_or(Dynamic::UNIT, Dynamic::from));
    library
        .property::<Solved>("evaluations", "int", "How often the closure was evaluated.")
        .call(|s: &mut Solved| s.solution.evaluations as i64);
    library
        .property::<Solved>("accepted", "int", "Steps taken.")
        .call(|s: &mut Solved| s.solution.accepted as i64);
    library
        .property::<Solved>(
            "rejected",
            "int",
            "Steps that were tried again with a smaller size.",
        )
        .call(|s: &mut Solved| s.solution.rejected as i64);
    library
        .property::<Solved>(
            "interrupted",
            "bool",
            "Whether the user stopped it before its end.",
        )
        .call(|s: &mut Solved| s.solution.interrupted);
}

/// A closure of state and time, called with numbers when the state is one.
#[derive(Clone)]
struct Function {
    closure: Closure,
    single: bool,
}

impl Function {
    fn new(call: &NativeCallContext, f: FnPtr, single: bool, spot: Spot) -> Outcome<Self> {
        let closure = Closure::new(call, f, &["x", "t"], spot)?;
        Ok(Self { closure, single })
    }

    fn arguments(&self, x: &Tensor, t: f64) -> ModelResult<[Dynamic; 2]> {
        let x = match self.single {
            true => Dynamic::from(x.item()?),
            false => Dynamic::from(x.clone()),
        };
        Ok([x, Dynamic::from(t)])
    }

    /// A slope: of the shape of the state.
    fn slope(&self, x: &Tensor, t: f64) -> ModelResult<Tensor> {
        let arguments = self.arguments(x, t)?;
        let y = self.closure.tensor_of(arguments, x.dims(), x.dtype())?;
        self.checked(y)
    }

    /// A factor of noise: of the shape of the state or of one element.
    fn factor(&self, x: &Tensor, t: f64) -> ModelResult<Tensor> {
        let y = self.closure.tensor(self.arguments(x, t)?)?;
        if y.dims() != x.dims() && y.len() != 1 {
            let expected = format!("a tensor of shape {:?} or of one element", x.dims());
            let got = format!("shape {:?}", y.dims());
            return Err(self.closure.wrong(Kind::Shape, &expected, &got));
        }
        self.checked(y)
    }

    fn number(&self, x: &Tensor, t: f64) -> ModelResult<f64> {
        self.closure.number(self.arguments(x, t)?)
    }

    /// Numbers carry no history: a gradient through them would be wrong in silence.
    fn checked(&self, y: Tensor) -> ModelResult<Tensor> {
        if self.single && y.is_tracked() {
            let got = "a tensor with a gradient (give x0 as a tensor for gradients)";
            return Err(self
                .closure
                .wrong(Kind::Value, "a number because x0 is one", got));
        }
        Ok(y)
    }
}

/// The start as a tensor of floats, and whether it was a number.
fn start(x0: &Dynamic) -> Outcome<(Tensor, bool)> {
    if let Some(x) = number(x0) {
        return Ok((raise(Tensor::scalar(x, DType::F64))?, true));
    }
    let wrong = || Fault::expected("a Tensor or a number", type_word(x0.type_name()));
    let Some(x) = x0.clone().flatten().try_cast::<Tensor>() else {
        return Err(wrong().at(Spot::Argument(1)).into());
    };
    match x.dtype().is_float() {
        true => Ok((x, false)),
        false => Ok((raise(x.to_dtype(DType::F32))?, false)),
    }
}

/// A solver in the options of a function that is itself one would contradict it.
fn named(map: &mut Map, solver: Option<&str>) -> Result<(), Fault> {
    let Some(name) = solver else {
        return Ok(());
    };
    if map.contains_key("solver") {
        let message = format!(
            "option `solver`: this function is the solver {name:?}; `ode::solve` and `ode::sde` take a choice"
        );
        return Err(Fault::new(Kind::Option, message).at(Spot::Key(vec!["solver".into()])));
    }
    map.insert("solver".into(), name.into());
    Ok(())
}

/// Times may come as a tensor, e.g. `linspace(0, 1, 50)`.
fn times_of_tensor(map: &mut Map) -> Outcome<()> {
    if let Some(value) = map.get_mut("save_at") {
        let times = value.read_lock::<Tensor>().map(|times| times.to_vec());
        if let Some(times) = times {
            let times: Array = raise(times)?.into_iter().map(Dynamic::from).collect();
            *value = times.into();
        }
    }
    Ok(())
}

fn solve(
    call: &NativeCallContext,
    f: FnPtr,
    x0: &Dynamic,
    mut map: Map,
    solver: Option<Solver>,
) -> Outcome<Solved> {
    let (x0, single) = start(x0)?;
    let f = Function::new(call, f, single, Spot::Argument(0))?;
    let event = options::take::<FnPtr>(&mut map, "event", "a closure |x, t|")?;
    let event = event
        .map(|event| Function::new(call, event, single, Spot::Value(vec!["event".into()])))
        .transpose()?;
    named(&mut map, solver.map(|solver| solver.tableau().name))?;
    times_of_tensor(&mut map)?;
    let chosen: SolveOptions = options::read_besides(&map, &["event"])?;
    if chosen.gradient == Gradient::Adjoint && event.is_some() {
        let message = "option `gradient`: the adjoint takes no event; \"through\" does";
        return Err(Fault::new(Kind::Option, message)
            .at(Spot::Value(vec!["gradient".into()]))
            .into());
    }
    let mut field = |x: &Tensor, t: f64| f.slope(x, t);
    let solution = watched(call, |observer| match event {
        Some(event) => {
            let mut event = |x: &Tensor, t: f64| event.number(x, t);
            ode::solve_until(&mut field, &mut event, &x0, &chosen, observer)
        }
        None if chosen.gradient == Gradient::Adjoint => {
            let kept = f.clone();
            let shared: SharedField = Arc::new(move |x: &Tensor, t: f64| kept.slope(x, t));
            ode::solve_adjoint(&shared, &x0, &chosen, observer)
        }
        None => ode::solve(&mut field, &x0, &chosen, observer),
    })?;
    Ok(wrapped(solution, single))
}

fn stochastic(
    call: &NativeCallContext,
    f: FnPtr,
    x0: &Dynamic,
    mut map: Map,
    solver: Option<sde::Solver>,
) -> Outcome<Solved> {
    let (x0, single) = start(x0)?;
    let f = Function::new(call, f, single, Spot::Argument(0))?;
    let noise = map.remove("noise").filter(|noise| !noise.is_unit());
    named(&mut map, solver.map(|solver| solver.method().name))?;
    times_of_tensor(&mut map)?;
    let mut chosen: SdeOptions = options::read_besides(&map, &["noise"])?;
    let spot = || Spot::Value(vec!["noise".into()]);
    let wrong = |message: &str| Fault::new(Kind::Option, format!("option `noise`{message}"));
    let Some(noise) = noise else {
        return Err(wrong(" must be given: a number or a closure |x, t|").into());
    };
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    let mut field = |x: &Tensor, t: f64| f.slope(x, t);
    let solution = match (number(&noise), noise.clone().flatten().try_cast::<FnPtr>()) {
        (Some(g), _) if !g.is_finite() => {
            return Err(wrong(&format!(": must be finite, got {g}"))
                .at(spot())
                .into());
        }
        (Some(g), _) => watched(call, |observer| {
            sde::solve(&mut field, Noise::Constant(g), &x0, &chosen, observer)
        })?,
        (None, Some(g)) => {
            let g = Function::new(call, g, single, spot())?;
            let mut factor = |x: &Tensor, t: f64| g.factor(x, t);
            watched(call, |observer| {
                sde::solve(
                    &mut field,
                    Noise::Field(&mut factor),
                    &x0,
                    &chosen,
                    observer,
                )
            })?
        }
        (None, None) => {
            let got = type_word(noise.type_name());
            let message = format!(": expected a number or a closure |x, t|, got {got}");
            return Err(wrong(&message).at(spot()).into());
        }
    };
    Ok(wrapped(solution, single))
}

fn wrapped(solution: Solution, single: bool) -> Solved {
    Solved {
        solution: Arc::new(solution),
        single,
        stacked: Arc::default(),
    }
}

/// Through the guard, with progress only when it takes long.
fn watched(
    call: &NativeCallContext,
    work: impl FnOnce(&mut dyn Observer) -> ModelResult<Solution>,
) -> Outcome<Solution> {
    let context = context::of_call(call)?;
    let begun = Instant::now();
    enter(call, |observer| {
        let mut watch = |step: &Step| {
            if begun.elapsed() < QUIET && !context.must_stop() {
                return std::ops::ControlFlow::Continue(());
            }
            observer.step(step)
        };
        work(&mut watch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_solver_has_its_function() {
        let named = |path: &str| path.strip_prefix("ode::").map(str::to_string);
        let short: Vec<_> = SHORT.iter().filter_map(|(path, ..)| named(path)).collect();
        assert!(
            ode::ALL
                .iter()
                .map(|t| t.name)
                .eq(short.iter().map(String::as_str))
        );
        assert!(
            SHORT
                .iter()
                .all(|(path, solver, _)| path.ends_with(solver.tableau().name))
        );
        let short: Vec<_> = SHORT_SDE
            .iter()
            .filter_map(|(path, ..)| named(path))
            .collect();
        assert!(
            sde::ALL
                .iter()
                .map(|m| m.name)
                .eq(short.iter().map(String::as_str))
        );
        assert!(
            SHORT_SDE
                .iter()
                .all(|(path, solver, _)| path.ends_with(solver.method().name))
        );
    }
}
