//! `flow`: flows between distributions.

use rhai::{Dynamic, Map, NativeCallContext};
use rhapsode_models::flow::{
    LogProbOptions, RectifiedFlow, VelocityOptions,
    rectified::{FitOptions, SampleOptions},
};
use rhapsode_tensor::Tensor;

use super::{
    Outcome,
    draw::{next_seed, session_dtype},
    enter,
    nn::Parameters,
    number,
    optim::Choice,
    raise,
    run::Training,
};
use crate::{
    Display,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::Object,
};

impl Object for RectifiedFlow {
    const NAME: &'static str = "RectifiedFlow";

    fn text(&self) -> String {
        table(self).text()
    }

    fn summary(&self) -> String {
        format!(
            "dim {}, {} parameters",
            self.options().dim,
            self.params().len()
        )
    }

    fn bytes(&self) -> Option<u64> {
        // Weights and their moving average.
        Some((2 * self.params().len() * self.params().dtype().size_in_bytes()) as u64)
    }

    fn display(&self) -> Display {
        table(self).display()
    }
}

/// A model's parameters as a table.
fn table(model: &RectifiedFlow) -> Parameters {
    let options = model.options();
    let classes = if options.classes > 0 {
        format!(", {} classes", options.classes)
    } else {
        String::new()
    };
    let title = format!("RectifiedFlow of dim {}{classes}", options.dim);
    let slots = model.params().slots().iter();
    Parameters::of(
        &title,
        slots.map(|s| (s.name.as_str(), s.shape.as_slice())),
        model.params().len(),
    )
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.module(
        "flow",
        "Flows between distributions: time runs from 0 (noise) to 1 (data).",
    );
    library.object::<RectifiedFlow>("A rectified flow: `fit`, `sample`, `velocity`.");
    library
        .function(
            "flow::rectified",
            "(options?: map) -> RectifiedFlow",
            r#"
            A rectified flow: a network v is fitted to E |v(x_t, t) - (x1 - x0)|^2 on the lines
            x_t = (1 - t) x0 + t x1 from noise x0 to data x1, and samples follow dx/dt = v(x, t) from t = 0 to 1.
            (Liu, Gong, Liu 2022, arXiv 2209.03003.)

            ```rhai
            let model = flow::rectified(#{ dim: 2, hidden: [32, 32] });
            model.fit(data::moons(500), #{ steps: 20 });
            model.sample(10).shape // => [10, 2]
            ```

            Images have a shape and, on request, a U-Net; data and samples are then `[n, c, h, w]`.

            ```rhai
            let model = flow::rectified(#{ shape: [1, 8, 8], net: "unet", base: 8, classes: 10 });
            let set = data::digits();
            model.fit(set.images.reshape([1797, 1, 8, 8]), set.labels, #{ steps: 2, batch: 16 });
            model.sample(3, #{ label: 7, guidance: 2.0, steps: 2 }).shape // => [3, 1, 8, 8]
            ```
            "#,
        )
        .options::<VelocityOptions>()
        .reference(&rhapsode_models::flow::rectified::REFERENCE)
        .call(|call: NativeCallContext| rectified(&call, &Map::new()))
        .call(|call: NativeCallContext, map: Map| rectified(&call, &map));
    library
        .method::<RectifiedFlow>(
            "fit",
            "(data: Tensor, labels?: Tensor, options?: map) -> Run",
            r#"
            Learns from data `[n, dim]`; a flow with classes takes labels `[n]` too. An interrupt keeps what
            was learned, and `run.more(n)` goes on.

            ```rhai
            let model = flow::rectified(#{ hidden: [16] });
            let run = model.fit(data::moons(200), #{ steps: 10, optimizer: optim::adam(#{ lr: 1e-2 }) });
            run.loss.len() // => 10
            ```
            "#,
        )
        .options::<FitOptions>()
        .call(|call: NativeCallContext, flow: &mut RectifiedFlow, data: Tensor| fit(&call, flow, &data, None, Map::new()))
        .call(|call: NativeCallContext, flow: &mut RectifiedFlow, data: Tensor, map: Map| fit(&call, flow, &data, None, map))
        .call(|call: NativeCallContext, flow: &mut RectifiedFlow, data: Tensor, labels: Tensor| fit(&call, flow, &data, Some(labels), Map::new()))
        .call(|call: NativeCallContext, flow: &mut RectifiedFlow, data: Tensor, labels: Tensor, map: Map| fit(&call, flow, &data, Some(labels), map));
    library
        .method::<RectifiedFlow>(
            "sample",
            "(n: int, options?: map) -> Tensor",
            r#"
            n samples `[n, dim]`: noise carried along the flow from t = 0 to t = 1.

            ```rhai
            let model = flow::rectified(#{ hidden: [16] });
            model.sample(5, #{ steps: 2, solver: "euler" }).shape // => [5, 2]
            ```
            "#,
        )
        .options::<SampleOptions>()
        .call(
            |call: NativeCallContext, flow: &mut RectifiedFlow, n: i64| {
                sample(&call, flow, n, Map::new())
            },
        )
        .call(
            |call: NativeCallContext, flow: &mut RectifiedFlow, n: i64, map: Map| {
                sample(&call, flow, n, map)
            },
        );
    library
        .method::<RectifiedFlow>(
            "velocity",
            "(x: Tensor, t: float | Tensor, labels?: Tensor) -> Tensor",
            r#"
            The velocity at points `x: [n, dim]` and a time in [0, 1], or times `[n]`; differentiable in x.

            ```rhai
            let model = flow::rectified(#{ hidden: [16] });
            model.velocity(zeros([3, 2]), 0.5).shape // => [3, 2]
            ```
            "#,
        )
        .call(|flow: &mut RectifiedFlow, x: Tensor, t: Dynamic| velocity(flow, &x, &t, None))
        .call(|flow: &mut RectifiedFlow, x: Tensor, t: Dynamic, labels: Tensor| velocity(flow, &x, &t, Some(&labels)));
    library
        .method::<RectifiedFlow>(
            "log_prob",
            "(x: Tensor, options?: map) -> Tensor",
            r#"
            The log-density of each row of `x: [n, dim]`, shape `[n]`, in nats: log N(x(0); 0, I) minus the integral of the
            divergence of v along the path that ends in x (Chen et al. 2018, arXiv 1806.07366). Differentiable in x.

            ```rhai
            let model = flow::rectified(#{ hidden: [16] });
            model.log_prob(randn([5, 2])).shape // => [5]
            ```
            "#,
        )
        .options::<LogProbOptions>()
        .call(|call: NativeCallContext, flow: &mut RectifiedFlow, x: Tensor| log_prob(&call, flow, &x, Map::new()))
        .call(|call: NativeCallContext, flow: &mut RectifiedFlow, x: Tensor, map: Map| log_prob(&call, flow, &x, map));
}

fn log_prob(
    call: &NativeCallContext,
    flow: &RectifiedFlow,
    x: &Tensor,
    mut map: Map,
) -> Outcome<Tensor> {
    let labels = options::take::<Tensor>(&mut map, "labels", "a Tensor of class numbers")?;
    let mut chosen: LogProbOptions = options::read(&map)?;
    chosen.labels = labels;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    enter(call, |observer| flow.log_prob(x, &chosen, observer))
}

fn rectified(call: &NativeCallContext, map: &Map) -> Outcome<RectifiedFlow> {
    let chosen: VelocityOptions = options::read(map)?;
    raise(RectifiedFlow::new(
        chosen,
        next_seed(call)?,
        session_dtype(call)?,
    ))
}

fn fit(
    call: &NativeCallContext,
    flow: &RectifiedFlow,
    data: &Tensor,
    labels: Option<Tensor>,
    mut map: Map,
) -> Outcome<Training> {
    let optimizer = options::take::<Choice>(
        &mut map,
        "optimizer",
        "an optimizer such as optim::adam(#{ lr: 1e-3 })",
    )?;
    let named = options::take::<Tensor>(&mut map, "labels", "a Tensor of class numbers")?;
    let mut chosen: FitOptions = options::read(&map)?;
    chosen.optimizer = optimizer.map(|choice| choice.0);
    chosen.labels = labels.or(named);
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    Ok(Training::new(enter(call, |observer| {
        flow.fit(data, &chosen, observer)
    })?))
}

fn sample(call: &NativeCallContext, flow: &RectifiedFlow, n: i64, mut map: Map) -> Outcome<Tensor> {
    let n = usize::try_from(n).map_err(|_| {
        Fault::value(format!("the number of samples must be >= 0, got {n}")).at(Spot::Argument(0))
    })?;
    let labels = options::take::<Tensor>(&mut map, "labels", "a Tensor of class numbers")?;
    let mut chosen: SampleOptions = options::read(&map)?;
    chosen.labels = labels;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    enter(call, |observer| flow.sample(n, &chosen, observer))
}

fn velocity(
    flow: &RectifiedFlow,
    x: &Tensor,
    t: &Dynamic,
    labels: Option<&Tensor>,
) -> Outcome<Tensor> {
    let n = x.dims().first().copied().unwrap_or(0);
    let times = match (number(t), t.clone().try_cast::<Tensor>()) {
        (Some(t), _) if !(0.0..=1.0).contains(&t) => {
            return Err(
                Fault::value(format!("the time must lie in [0, 1], got {t}"))
                    .at(Spot::Argument(1))
                    .into(),
            );
        }
        (Some(t), _) => raise(Tensor::full(t, &[n], x.dtype()))?,
        (None, Some(t)) => t,
        (None, None) => {
            return Err(
                Fault::expected("a number or a Tensor of times", t.type_name())
                    .at(Spot::Argument(1))
                    .into(),
            );
        }
    };
    let labels = labels.map(|l| raise(l.to_ints("labels"))).transpose()?;
    raise(flow.velocity_of(x, &times, labels.as_deref(), 1.0))
}
