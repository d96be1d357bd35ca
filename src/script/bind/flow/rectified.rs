//! `flow::rectified` and what its models do.

use rhai::{Dynamic, Map, NativeCallContext};
use rhapsode_models::flow::{
    FitOptions, LogProbOptions, RectifiedFlow, SampleOptions, VelocityOptions, loss::Distance,
};
use rhapsode_tensor::Tensor;

use super::{
    closure_option, count,
    field::{Flow, sample_options},
    times,
};
use crate::{
    Display,
    bind::{
        Outcome,
        draw::{next_seed, session_dtype},
        enter,
        nn::Parameters,
        optim::Choice,
        raise,
        run::Training,
        tensor::{create::take_tensor, ints},
    },
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
    .computed_by(model.path())
}

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library.object::<RectifiedFlow>(
        "A rectified flow: `fit`, `sample`, `velocity`, `score`, `log_prob`, `reflow`, `steer`.",
    );
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
            "given",
            "(class: int | Tensor | array, guidance?: float) -> Flow",
            r#"
            The flow towards a class, or towards a class for each row of the batches that it will see: a flow without classes that can be
            sampled, steered and searched. A guidance above 1 is more typical of the class.

            ```rhai
            let model = flow::rectified(#{ hidden: [8], classes: 3 });
            model.given(2, 1.5).sample(4).shape // => [4, 2]
            ```
            "#,
        )
        .call(|flow: &mut RectifiedFlow, class: Dynamic| given(flow, &class, 1.0))
        .call(|flow: &mut RectifiedFlow, class: Dynamic, guidance: f64| given(flow, &class, guidance))
        .call(|flow: &mut RectifiedFlow, class: Dynamic, guidance: i64| given(flow, &class, guidance as f64));
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

fn given(flow: &RectifiedFlow, class: &Dynamic, guidance: f64) -> Outcome<Flow> {
    let labels = match class.clone().flatten().try_cast::<Tensor>() {
        Some(labels) => raise(labels.to_ints("labels"))?,
        None => ints(class).map_err(|_| {
            let got = crate::value::type_word(class.type_name());
            crate::fault::Fault::expected("a class number, or a Tensor or array of them", got)
                .at(crate::fault::Spot::Argument(0))
        })?,
    };
    Ok(Flow(
        raise(flow.given(&labels, guidance))?,
        "towards a class",
    ))
}

fn log_prob(
    call: &NativeCallContext,
    flow: &RectifiedFlow,
    x: &Tensor,
    mut map: Map,
) -> Outcome<Tensor> {
    let labels = take_tensor(call, &mut map, "labels", "a Tensor of class numbers")?;
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
    let mut chosen = fit_options(call, &mut map)?;
    chosen.labels = labels.or(chosen.labels);
    Ok(Training::new(enter(call, |observer| {
        flow.fit(data, &chosen, observer)
    })?))
}

/// Options of a training, with what is no data.
pub(super) fn fit_options(call: &NativeCallContext, map: &mut Map) -> Outcome<FitOptions> {
    let optimizer = optimizer_option(map)?;
    let labels = take_tensor(call, map, "labels", "a Tensor of class numbers")?;
    let noise = take_tensor(call, map, "noise", "a Tensor with the noise of each row")?;
    let perceptual = distance_option(call, map)?;
    let mut chosen: FitOptions = options::read(map)?;
    chosen.optimizer = optimizer;
    chosen.labels = labels;
    chosen.noise = noise;
    chosen.perceptual = perceptual;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    Ok(chosen)
}

/// The optimizer of a training.
pub(super) fn optimizer_option(map: &mut Map) -> Outcome<Option<rhapsode_models::optim::Choice>> {
    let expected = "an optimizer such as optim::adam(#{ lr: 1e-3 })";
    Ok(options::take::<Choice>(map, "optimizer", expected)?.map(|choice| choice.0))
}

/// The distance of predicted and true data of a perceptual loss.
pub(super) fn distance_option(
    call: &NativeCallContext,
    map: &mut Map,
) -> Outcome<Option<Distance>> {
    let closure = closure_option(call, map, "perceptual", &["predicted", "data"])?;
    Ok(closure.map(|closure| {
        Distance(std::sync::Arc::new(
            move |predicted: &Tensor, data: &Tensor| {
                let n = predicted.dims().first().copied().unwrap_or(0);
                let arguments = [
                    Dynamic::from(predicted.clone()),
                    Dynamic::from(data.clone()),
                ];
                closure.tensor_of(arguments, &[n], predicted.dtype())
            },
        ))
    }))
}

fn sample(call: &NativeCallContext, flow: &RectifiedFlow, n: i64, map: Map) -> Outcome<Tensor> {
    let n = count(n)?;
    let chosen = sample_options(call, map)?;
    enter(call, |observer| flow.sample(n, &chosen, observer))
}

fn velocity(
    flow: &RectifiedFlow,
    x: &Tensor,
    t: &Dynamic,
    labels: Option<&Tensor>,
) -> Outcome<Tensor> {
    let t = times(x, t, 1)?;
    let labels = labels.map(|l| raise(l.to_ints("labels"))).transpose()?;
    raise(flow.velocity_of(x, &t, labels.as_deref(), 1.0))
}
