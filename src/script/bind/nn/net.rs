//! What a script does with a network: run it, train it, look at it, take it apart.

use std::sync::Arc;

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};
use rhapsode_models::{
    checkpoint::Checkpoint,
    nn::{LossFunction, Net, NetFitOptions},
};
use rhapsode_tensor::Tensor;

use super::summary::Summary;
use crate::{
    Display, Kind,
    bind::{
        Outcome, closure::Closure, draw::next_seed, enter, number, optim::Choice, raise,
        run::Training,
    },
    context,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::{Object, type_word},
};

impl Object for Net {
    const NAME: &'static str = "Net";

    fn text(&self) -> String {
        match Summary::of(self, None) {
            Ok(summary) => summary.text(),
            Err(error) => error.to_string(),
        }
    }

    fn summary(&self) -> String {
        format!("{}, {} parameters", self.layer().kind(), self.count())
    }

    fn bytes(&self) -> Option<u64> {
        let size = self.dtype().map_or(4, |dtype| dtype.size_in_bytes());
        Some((self.count() * size) as u64)
    }

    fn display(&self) -> Display {
        match Summary::of(self, None) {
            Ok(summary) => summary.display(),
            Err(error) => Display::text(error.to_string()),
        }
    }
}

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library.object::<Net>(
        r#"
        A network: a layer or layers with their parameters. As in PyTorch it begins in training mode; `fit` leaves it in
        evaluation mode.
        "#,
    );
    run(library);
    parameters(library);
    modes(library);
    fitting(library);
}

fn run(library: &mut Library) {
    library
        .method::<Net>(
            "forward",
            "(x: Tensor, second?: Tensor | float, third?: Tensor) -> Tensor",
            r#"
            The output at x, differentiable in x and in the parameters. A U-Net takes times (one number or `[n]`) and labels
            too, attention a context and a mask.

            ```rhai
            let net = nn::mlp(#{ inputs: 2, hidden: [16], outputs: 3 });
            net.forward(zeros([5, 2])).shape // => [5, 3]
            ```
            "#,
        )
        .call(|net: &mut Net, x: Tensor| -> Outcome<Tensor> { raise(net.forward(&x, &[])) })
        .call(|net: &mut Net, x: Tensor, a: Dynamic| -> Outcome<Tensor> {
            let a = further(&x, a, 1)?;
            raise(net.forward(&x, &[&a]))
        })
        .call(|net: &mut Net, x: Tensor, a: Dynamic, b: Dynamic| -> Outcome<Tensor> {
            let (a, b) = (further(&x, a, 1)?, further(&x, b, 2)?);
            raise(net.forward(&x, &[&a, &b]))
        });
    library
        .method::<Net>(
            "scan",
            "(x: Tensor, state?: Tensor) -> array",
            r#"
            A recurrent network over a sequence `[n, t, inputs]` from a state (zeros without one): the outputs `[n, t, hidden]` and
            the last state `[layers, n, hidden]`, from which the next piece of the sequence goes on.

            ```rhai
            let net = nn::gru(#{ inputs: 2, hidden: 5 });
            let first = net.scan(randn([3, 7, 2]));
            net.scan(randn([3, 4, 2]), first[1])[0].shape // => [3, 4, 5]
            ```
            "#,
        )
        .call(|net: &mut Net, x: Tensor| scan(net, &x, None))
        .call(|net: &mut Net, x: Tensor, state: Tensor| scan(net, &x, Some(&state)));
}

/// A further input; a number stands for the same at every sample.
fn further(x: &Tensor, value: Dynamic, index: usize) -> Outcome<Tensor> {
    if let Some(number) = number(&value) {
        let n = x.dims().first().copied().unwrap_or(1);
        return raise(Tensor::full(number, &[n], x.dtype()));
    }
    let got = type_word(value.type_name()).to_string();
    let wrong = || Fault::expected("a Tensor or a number", &got).at(Spot::Argument(index));
    Ok(value.flatten().try_cast::<Tensor>().ok_or_else(wrong)?)
}

fn scan(net: &Net, x: &Tensor, state: Option<&Tensor>) -> Outcome<Array> {
    let (outputs, last) = raise(net.scan(x, state))?;
    Ok(vec![Dynamic::from(outputs), Dynamic::from(last)])
}

/// The parameters of a network as an array of a script.
pub(crate) fn tensors(net: &Net) -> Array {
    let named = net.named().into_iter();
    named.map(|(_, tensor)| Dynamic::from(tensor)).collect()
}

fn parameters(library: &mut Library) {
    library
        .property::<Net>(
            "parameters",
            "array of Tensor",
            r#"
            Its parameters, for an optimizer.

            ```rhai
            let net = nn::mlp(#{ inputs: 2, outputs: 1, hidden: [8] });
            let opt = optim::adam(net.parameters, #{ lr: 1e-2 });
            net.parameters.len() // => 4
            ```
            "#,
        )
        .call(|net: &mut Net| tensors(net));
    library
        .method::<Net>(
            "parameters",
            "() -> array of Tensor",
            "The same, as one writes it in PyTorch.\n\n```rhai\nnn::linear(#{ inputs: 2, outputs: 1 }).parameters().len() // => 2\n```",
        )
        .call(|net: &mut Net| tensors(net));
    library
        .property::<Net>(
            "named_parameters",
            "map",
            r#"
            Its parameters by name, as they stand in a file.

            ```rhai
            nn::linear(#{ inputs: 2, outputs: 3 }).named_parameters["weight"].shape // => [3, 2]
            ```
            "#,
        )
        .call(|net: &mut Net| -> Map {
            let named = net.named().into_iter();
            named
                .map(|(name, tensor)| (name.into(), Dynamic::from(tensor)))
                .collect()
        });
    library
        .property::<Net>(
            "layers",
            "array of Net",
            r#"
            The layers of a sequential (or the inner layer of a residual) as networks that share its parameters.

            ```rhai
            let net = nn::sequential([nn::linear(#{ inputs: 2, outputs: 3 }), "tanh"]);
            net.layers[0].forward(zeros([1, 2])).shape // => [1, 3]
            ```
            "#,
        )
        .call(|net: &mut Net| -> Array { net.parts().iter().cloned().map(Dynamic::from).collect() });
    library
        .method::<Net>(
            "copy",
            "() -> Net",
            r#"
            The same network with parameters of its own.

            ```rhai
            let net = nn::linear(#{ inputs: 2, outputs: 3 });
            let other = net.copy();
            other.forward(ones([1, 2])).to_array() == net.forward(ones([1, 2])).to_array() // => true
            ```
            "#,
        )
        .call(|net: &mut Net| -> Outcome<Net> { raise(net.duplicate()) });
    library
        .method::<Net>(
            "load_weights",
            "(path: string) -> Net",
            r#"
            Takes the parameters of a safetensors file, whose names and shapes must be those of the network: what `save` wrote,
            or a state of PyTorch. For networks with closures, which a file does not hold.

            ```rhai,no_run
            let net = nn::custom(#{ params: #{ w: randn([2, 3]) }, forward: |p, x| x.matmul(p.w) });
            net.load_weights("net.safetensors");
            ```
            "#,
        )
        .call(|call: NativeCallContext, net: &mut Net, path: &str| -> Outcome<Net> {
            let path = context::of_call(&call)?.path(path);
            raise(Checkpoint::load(&path).and_then(|file| net.fill(&file)))?;
            Ok(net.clone())
        });
}

fn modes(library: &mut Library) {
    library
        .method::<Net>(
            "train",
            "(on?: bool) -> Net",
            r#"
            Training mode: dropout drops. A new network begins so. `train(false)` is evaluation mode, in which dropout does nothing; `fit`
            and `load` leave a network so. (PyTorch's short form of it, `eval`, is a reserved word here.)

            ```rhai
            let net = nn::dropout(#{ p: 0.5 });
            net.train(false).forward(ones([3])).to_array() // => [1.0, 1.0, 1.0]
            ```
            "#,
        )
        .call(|net: &mut Net| mode(net, true))
        .call(mode);
    library
        .property::<Net>("is_training", "bool", "Whether it is in training mode.")
        .call(|net: &mut Net| net.is_training());
}

/// Training mode or evaluation mode.
fn mode(net: &mut Net, training: bool) -> Net {
    net.set_training(training);
    net.clone()
}

fn fitting(library: &mut Library) {
    library
        .method::<Net>(
            "fit",
            "(x: Tensor, y: Tensor, options?: map) -> Run",
            r#"
            Learns to give y at x, whose rows belong together, from random minibatches. `loss` is a name or a closure
            `|prediction, target|` that gives one number. With `validation: [x, y]` the loss on data that is not learned from is measured
            on the way (with cross-entropy the accuracy too): `run.metrics.validation_loss`, `run.history("validation_loss")`. An interrupt keeps what was learned, and `run.more(n)` goes on. The network is in evaluation mode
            afterwards.

            ```rhai
            seed(0);
            let set = data::digits();
            let x = set.images.reshape([1797, 1, 8, 8]);
            let net = nn::sequential([
                nn::conv2d(#{ inputs: 1, outputs: 8, padding: 1 }), "relu", nn::max_pool2d(),
                nn::flatten(), nn::linear(#{ inputs: 128, outputs: 10 }),
            ]);
            net.fit(x, set.labels, #{ loss: "cross-entropy", steps: 60, batch: 64, optimizer: optim::adam(#{ lr: 1e-2 }) });
            metric::accuracy(net.forward(x), set.labels) > 0.85 // => true
            ```
            "#,
        )
        .options::<NetFitOptions>()
        .call(|call: NativeCallContext, net: &mut Net, x: Tensor, y: Tensor| fit(&call, net, &x, &y, Map::new()))
        .call(|call: NativeCallContext, net: &mut Net, x: Tensor, y: Tensor, map: Map| fit(&call, net, &x, &y, map));
}

/// The option `loss` when it is a closure; a name stays in the map.
fn own_loss(call: &NativeCallContext, map: &mut Map) -> Outcome<Option<LossFunction>> {
    if !map.get("loss").is_some_and(|value| value.is_fnptr()) {
        return Ok(None);
    }
    let function = options::take::<FnPtr>(map, "loss", "a name or a closure")?;
    let Some(function) = function else {
        return Ok(None);
    };
    let spot = Spot::Value(vec!["loss".into()]);
    let closure = Closure::new(call, function, &["prediction", "target"], spot)?;
    Ok(Some(Arc::new(
        move |prediction: &Tensor, target: &Tensor| {
            closure.tensor([
                Dynamic::from(prediction.clone()),
                Dynamic::from(target.clone()),
            ])
        },
    )))
}

/// The option `validation`: `[x, y]`.
fn validation(map: &mut Map) -> Outcome<Option<(Tensor, Tensor)>> {
    const PAIR: &str = "[x, y], inputs and the targets that belong to them";
    let Some(pair) = options::take::<Array>(map, "validation", PAIR)? else {
        return Ok(None);
    };
    let tensors: Vec<_> = pair
        .iter()
        .filter_map(|value| value.clone().flatten().try_cast::<Tensor>())
        .collect();
    match (<[Tensor; 2]>::try_from(tensors), pair.len()) {
        (Ok([x, y]), 2) => Ok(Some((x, y))),
        _ => Err(Fault::new(
            Kind::Option,
            format!("option `validation`: expected {PAIR}"),
        )
        .at(Spot::Value(vec!["validation".into()]))
        .into()),
    }
}

fn fit(
    call: &NativeCallContext,
    net: &Net,
    x: &Tensor,
    y: &Tensor,
    mut map: Map,
) -> Outcome<Training> {
    let optimizer = options::take::<Choice>(
        &mut map,
        "optimizer",
        "an optimizer such as optim::adam(#{ lr: 1e-3 })",
    )?;
    let function = own_loss(call, &mut map)?;
    let validation = validation(&mut map)?;
    let mut chosen: NetFitOptions = options::read(&map)?;
    chosen.optimizer = optimizer.map(|choice| choice.0);
    chosen.function = function;
    chosen.validation = validation;
    if chosen.seed.is_none() {
        chosen.seed = Some(next_seed(call)?);
    }
    Ok(Training::new(enter(call, |observer| {
        net.fit(x, y, &chosen, observer)
    })?))
}
