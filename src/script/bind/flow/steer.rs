//! `m.steer(..)`, `m.edit(..)` and operators of measurements.

use std::sync::Arc;

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_models::flow::{
    RectifiedFlow,
    interpolant::Interpolant,
    steer::{
        self, Cost, REFERENCE, SteerOptions, Steered,
        operator::Operator,
        restore::{RestoreOptions, restore},
    },
};
use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    closure_option,
    field::{AsFlow, Flow},
    flow_argument, times,
};
use crate::{
    Display, Kind,
    bind::{Closure, Outcome, draw::next_seed, enter, raise},
    fault::{Fault, Spot},
    library::Library,
    options,
    value::Object,
};

impl Object for Operator {
    const NAME: &'static str = "Operator";

    fn text(&self) -> String {
        let kind = match self {
            Operator::Mask { .. } => "box",
            Operator::SuperResolution { .. } => "super-resolution",
            Operator::Blur { .. } => "blur",
            Operator::Matrix { .. } => "matrix",
        };
        format!("Operator \"{kind}\" of {} numbers", self.dim())
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

/// Options of an operator.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct OperatorOptions {
    /// Shape of an image [c, h, w] (default [1, 8, 8]).
    shape: [usize; 3],
    /// "box": side of the square that is taken away (default 4).
    size: usize,
    /// "super-resolution": side of the squares whose mean is seen (default 2).
    scale: usize,
    /// "blur": number of taps along an axis (odd; default 5).
    taps: usize,
    /// "blur": standard deviation in pixels (> 0; default 1).
    sigma: f64,
}

impl Default for OperatorOptions {
    fn default() -> Self {
        Self {
            shape: [1, 8, 8],
            size: 4,
            scale: 2,
            taps: 5,
            sigma: 1.0,
        }
    }
}

/// Options of editing.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct EditOptions {
    /// How much the edit is pushed away from the base where the mask is 0 (default 1).
    scale: f64,
    /// Steps from the start in which the whole source counts (default 0).
    full_source: usize,
    /// Number of equal steps from noise to data (at least 1; default 50).
    steps: usize,
    /// Descents on the cost at each step (at least 1; default 1).
    inner: usize,
    /// Size of a descent (> 0; default 0.5).
    rate: f64,
    /// Steps from the start that are guided (default: all).
    max_steps: Option<usize>,
}

impl Default for EditOptions {
    fn default() -> Self {
        Self {
            scale: 1.0,
            full_source: 0,
            steps: 50,
            inner: 1,
            rate: 0.5,
            max_steps: None,
        }
    }
}

const COST: &str = "What is to be low: a closure `|x1|` of predicted data in the shape of x0 that gives one number a sample, `[n]`, a sum over its elements.";

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    library.object::<Operator>("A linear measurement with its exact adjoint: `apply`, `adjoint`.");
    library
        .function(
            "flow::operator",
            "(kind: string | Tensor, options?: map) -> Operator",
            r#"
            A linear measurement of images: "box" takes a centred square away, "super-resolution" is the mean over squares, "blur" a Gaussian; or a matrix
            `[m, dim]` of one's own.

            ```rhai
            let a = flow::operator("super-resolution", #{ shape: [1, 4, 4], scale: 2 });
            a.apply(ones([3, 16])).shape // => [3, 4]
            ```
            "#,
        )
        .options::<OperatorOptions>()
        .call(|kind: Dynamic| operator(&kind, &Map::new()))
        .call(|kind: Dynamic, map: Map| operator(&kind, &map));
    library
        .method::<Operator>(
            "apply",
            "(x: Tensor) -> Tensor",
            r#"
            What is measured of samples `[n, dim]` or `[n, c, h, w]`; differentiable.

            ```rhai
            flow::operator("box", #{ shape: [1, 4, 4], size: 2 }).apply(ones([1, 16])).sum().item() // => 12.0
            ```
            "#,
        )
        .call(|operator: &mut Operator, x: Tensor| raise(operator.apply(&x)));
    library
        .method::<Operator>(
            "adjoint",
            "(y: Tensor) -> Tensor",
            r#"
            The adjoint of `apply`: `(A x) . y = x . (A^T y)`.

            ```rhai
            flow::operator("super-resolution", #{ shape: [1, 4, 4] }).adjoint(ones([1, 4])).shape // => [1, 16]
            ```
            "#,
        )
        .call(|operator: &mut Operator, y: Tensor| raise(operator.adjoint(&y)));
    steering::<RectifiedFlow>(library);
    steering::<Interpolant>(library);
    steering::<Flow>(library);
}

fn steering<T: AsFlow>(library: &mut Library) {
    library
        .method::<T>(
            "steer",
            "(x0: Tensor, options: map) -> Tensor",
            r#"
            Carries noise `x0: [n, dim]` to samples of low cost, with no gradient through the network: at each step the cost's gradient at the predicted data
            x1 = x + (1 - t) v is applied to the state, x <- x - rate g, x <- x + dt v. (Patel, Wen, Metaxas, Yang 2024, arXiv 2412.00100.)

            ```rhai
            let flow = flow::from_velocity(|x, t| -x * 0.1);
            let x = flow.steer(zeros([3, 2]), #{ cost: |x1| ((x1 - 2.0) ** 2).sum(1), steps: 20, rate: 0.2 });
            (x - 2.0).abs().max().item() < 0.05 // => true
            ```
            "#,
        )
        .options::<SteerOptions>()
        .requires("cost", "closure", COST)
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, flow: &mut T, x0: Tensor, map: Map| -> Outcome<Tensor> {
            raise(steered(&call, flow, &x0, map)?.last().cloned())
        });
    library
        .method::<T>(
            "steer_trace",
            "(x0: Tensor, options: map) -> map",
            r#"
            Like `steer`, with what happened on the way: `#{ x, trajectory, costs, evaluations }`, the states at all steps `[steps + 1, n, dim]`, the mean cost before
            each descent, and the evaluations of the velocity.

            ```rhai
            let flow = flow::from_velocity(|x, t| -x);
            let found = flow.steer_trace(zeros([3, 2]), #{ cost: |x1| (x1 ** 2).sum(1), steps: 4 });
            [found.trajectory.shape, found.evaluations] // => [[5, 3, 2], 4]
            ```
            "#,
        )
        .options::<SteerOptions>()
        .requires("cost", "closure", COST)
        .call(|call: NativeCallContext, flow: &mut T, x0: Tensor, map: Map| -> Outcome<Map> {
            traced(&steered(&call, flow, &x0, map)?)
        });
    library
        .method::<T>(
            "restore",
            "(x0: Tensor, operator: Operator, measured: Tensor, options?: map) -> map",
            r#"
            Data with `operator.apply(x) = measured` from noise `x0: [n, dim]`, by one of the methods that steering is held against: `#{ x, evaluations }`.
            "projection" moves the prediction onto the measurement, "pnp-flow" alternates a gradient step on the data with the flow as denoiser, "ot-ode" corrects the
            velocity, "dps" follows the full gradient of the residual, "d-flow" looks for the noise whose sample fits. (arXiv 2410.02423, 2310.04432, 2209.14687,
            2402.14017.) Steering does the same with `steer(x0, #{ cost: |x1| ((operator.apply(x1) - measured) ** 2).sum(1) })`.

            ```rhai
            let flow = flow::from_velocity(|x, t| -x, #{ dim: 16 });
            let a = flow::operator("box", #{ shape: [1, 4, 4], size: 2 });
            let y = a.apply(ones([3, 16]));
            let found = flow.restore(randn([3, 16]), a, y, #{ method: "projection", steps: 10 });
            [(a.apply(found.x) - y).abs().max().item() < 1e-5, found.evaluations] // => [true, 10]
            ```
            "#,
        )
        .options::<RestoreOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, flow: &mut T, x0: Tensor, operator: Operator, measured: Tensor| restored(&call, flow, &x0, &operator, &measured, &Map::new()))
        .call(|call: NativeCallContext, flow: &mut T, x0: Tensor, operator: Operator, measured: Tensor, map: Map| restored(&call, flow, &x0, &operator, &measured, &map));
    library
        .method::<T>(
            "steer_cosine",
            "(x: Tensor, t: float, cost: closure) -> Tensor",
            r#"
            The cosine of the skipped gradient of a cost and of the full one, through the velocity, at states `x: [n, dim]` and a time: how much is lost by
            skipping; shape `[n]`.

            ```rhai
            let flow = flow::from_velocity(|x, t| x * 0.0);
            flow.steer_cosine(ones([1, 2]), 0.5, |x1| (x1 ** 2).sum(1)).item() > 0.999 // => true
            ```
            "#,
        )
        .call(|call: NativeCallContext, flow: &mut T, x: Tensor, t: Dynamic, cost: rhai::FnPtr| -> Outcome<Tensor> {
            let closure = Closure::new(&call, cost, &["x1"], Spot::Argument(2))?;
            let at = raise(times(&x, &t, 1)?.to_vec())?.first().copied().unwrap_or(0.0);
            let (a, b) = raise(steer::gradients(flow.flow().as_ref(), &x, at, &cost_of(closure)))?;
            raise(cosine(&a, &b))
        });
    library
        .method::<T>(
            "edit",
            "(x0: Tensor, source: Tensor, mask: Tensor, base: RectifiedFlow | Interpolant | Flow, options?: map) -> Tensor",
            r#"
            Masked editing: this flow (towards the edit) and a base flow (towards what is there) start from noise `x0: [n, dim]`; where the mask is 1 the source
            is kept, elsewhere the edit is pushed away from the base, v = v_e + (1 - M) (v_e - v_b) scale.

            ```rhai
            let model = flow::rectified(#{ hidden: [8], classes: 2 });
            let x = model.given(1).edit(randn([3, 2]), zeros([1, 2]), tensor([1.0, 0.0]), model.given(0), #{ steps: 5 });
            x.shape // => [3, 2]
            ```
            "#,
        )
        .options::<EditOptions>()
        .call(|call: NativeCallContext, flow: &mut T, x0: Tensor, source: Tensor, mask: Tensor, base: Dynamic| edit(&call, flow, &x0, &source, &mask, &base, &Map::new()))
        .call(|call: NativeCallContext, flow: &mut T, x0: Tensor, source: Tensor, mask: Tensor, base: Dynamic, map: Map| edit(&call, flow, &x0, &source, &mask, &base, &map));
}

fn operator(kind: &Dynamic, map: &Map) -> Outcome<Operator> {
    let chosen: OperatorOptions = options::read(map)?;
    if let Some(matrix) = kind.read_lock::<Tensor>() {
        if matrix.rank() != 2 {
            let message = format!("matrix: expected [m, dim], got {:?}", matrix.dims());
            return Err(Fault::new(Kind::Shape, message)
                .at(Spot::Argument(0))
                .into());
        }
        return Ok(Operator::Matrix {
            matrix: matrix.detach(),
        });
    }
    let name = kind.clone().into_immutable_string().unwrap_or_default();
    match name.as_str() {
        "box" => raise(Operator::centred_box(chosen.shape, chosen.size)),
        "super-resolution" => raise(Operator::super_resolution(chosen.shape, chosen.scale)),
        "blur" => raise(Operator::blur(chosen.shape, chosen.taps, chosen.sigma)),
        other => {
            let known = ["box", "super-resolution", "blur"];
            let message = format!("there is no operator {other:?}");
            let fault = Fault::new(Kind::Name, message).at(Spot::Argument(0));
            Err(fault
                .nearest(other, known)
                .hint("allowed: \"box\", \"super-resolution\", \"blur\", or a matrix [m, dim]")
                .into())
        }
    }
}

/// A closure as a cost: one number a sample.
fn cost_of(closure: Closure) -> Cost {
    Arc::new(move |_, data: &Tensor| {
        let n = data.dims().first().copied().unwrap_or(0);
        closure.tensor_of([Dynamic::from(data.clone())], &[n], data.dtype())
    })
}

fn steered<T: AsFlow>(
    call: &NativeCallContext,
    flow: &T,
    x0: &Tensor,
    mut map: Map,
) -> Outcome<Steered> {
    let cost = closure_option(call, &mut map, "cost", &["x1"])?;
    let chosen: SteerOptions = options::read_besides(&map, &["cost"])?;
    let Some(cost) = cost else {
        let message = "option `cost` must be given: a closure |x1| that gives one number a sample";
        return Err(Fault::new(Kind::Option, message).into());
    };
    let (flow, cost) = (flow.flow(), cost_of(cost));
    enter(call, |observer| {
        steer::steer(flow.as_ref(), x0, &cost, &chosen, observer)
    })
}

fn restored<T: AsFlow>(
    call: &NativeCallContext,
    flow: &T,
    x0: &Tensor,
    operator: &Operator,
    measured: &Tensor,
    map: &Map,
) -> Outcome<Map> {
    let mut chosen: RestoreOptions = options::read(map)?;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    let flow = flow.flow();
    let found = enter(call, |observer| {
        restore(flow.as_ref(), x0, operator, measured, &chosen, observer)
    })?;
    Ok(Map::from([
        ("x".into(), Dynamic::from(found.x)),
        (
            "evaluations".into(),
            Dynamic::from(found.evaluations as i64),
        ),
    ]))
}

fn traced(walk: &Steered) -> Outcome<Map> {
    let stacked = raise(Tensor::stack(
        &walk.trajectory.iter().collect::<Vec<_>>(),
        0,
    ))?;
    let costs: Array = walk.costs.iter().map(|cost| Dynamic::from(*cost)).collect();
    Ok([
        ("x", Dynamic::from(raise(walk.last().cloned())?)),
        ("trajectory", Dynamic::from(stacked)),
        ("costs", Dynamic::from_array(costs)),
        ("evaluations", Dynamic::from(walk.evaluations as i64)),
    ]
    .into_iter()
    .map(|(key, value)| (key.into(), value))
    .collect())
}

/// The cosine of the rows of two tensors.
fn cosine(a: &Tensor, b: &Tensor) -> rhapsode_models::Result<Tensor> {
    let n = a.dim(0)?;
    let rows = |x: &Tensor| x.reshape(&[n, x.len() / n.max(1)]);
    let (a, b) = (rows(a)?, rows(b)?);
    let norms = a.norm(1)?.mul(&b.norm(1)?)?;
    Ok(a.mul(&b)?.sum(&[1])?.div(&norms)?)
}

fn edit<T: AsFlow>(
    call: &NativeCallContext,
    flow: &T,
    x0: &Tensor,
    source: &Tensor,
    mask: &Tensor,
    base: &Dynamic,
    map: &Map,
) -> Outcome<Tensor> {
    let chosen: EditOptions = options::read(map)?;
    let base = flow_argument(base, 3)?;
    let dim = flow.flow().dim();
    if source.len() != dim && source.dims() != x0.dims() {
        let message = format!(
            "source: expected {dim} numbers or the shape of x0, got {:?}",
            source.dims()
        );
        return Err(Fault::new(Kind::Shape, message)
            .at(Spot::Argument(1))
            .into());
    }
    let (field, cost) = raise(steer::edited(
        flow.flow(),
        base,
        source,
        mask,
        chosen.scale,
        chosen.full_source,
    ))?;
    let steering = SteerOptions {
        steps: chosen.steps,
        inner: chosen.inner,
        rate: chosen.rate,
        max_steps: chosen.max_steps,
        ..Default::default()
    };
    let walk = enter(call, |observer| {
        steer::steer(field.as_ref(), x0, &cost, &steering, observer)
    })?;
    raise(walk.last().cloned())
}
