//! `optim`: optimizers as a choice for `fit`, or at work on parameters of one's own.

use std::sync::{Arc, Mutex};

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_models::optim::{AdamOptions, AdamWOptions, Optimizer, Rule};
use rhapsode_tensor::{Tensor, grad_or_zero};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Outcome, raise};
use crate::{
    Display,
    context::lock,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::{Object, type_word},
};

/// A choice of optimizer, for `fit`.
#[derive(Clone)]
pub(crate) struct Choice(pub Arc<dyn Rule>);

/// An optimizer at work; clones are the same one.
#[derive(Clone)]
pub(crate) struct Working(Arc<Mutex<Optimizer>>);

impl Object for Choice {
    const NAME: &'static str = "OptimizerChoice";

    fn text(&self) -> String {
        format!("optim::{} {}", self.0.name(), self.0.options())
    }

    fn summary(&self) -> String {
        format!("{}, lr {}", self.0.name(), self.0.lr())
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

impl Object for Working {
    const NAME: &'static str = "Optimizer";

    fn text(&self) -> String {
        let optimizer = lock(&self.0);
        let count: usize = optimizer.targets().iter().map(Tensor::len).sum();
        format!(
            "Optimizer {}: {count} parameters, {} steps, lr {}",
            optimizer.rule().name(),
            optimizer.steps(),
            optimizer.lr()
        )
    }

    fn summary(&self) -> String {
        let optimizer = lock(&self.0);
        format!("{}, {} steps", optimizer.rule().name(), optimizer.steps())
    }

    fn bytes(&self) -> Option<u64> {
        Some(lock(&self.0).state_bytes() as u64)
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// What can be changed on an optimizer at work.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Knobs {
    /// Learning rate from the next step on (>= 0; default: as it is).
    lr: Option<f64>,
    /// Largest norm of the gradient; larger ones are scaled down to it (> 0; default: as it is).
    clip: Option<f64>,
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.module("optim", "Optimizers: `optim::adam(#{..})` chooses one for `fit`, `optim::adam([w, b], #{..})` works on parameters.");
    library.object::<Choice>("A choice of optimizer, for the option `optimizer` of `fit`.");
    library.object::<Working>("An optimizer at work on parameters: `opt.step(loss)`.");
    kind::<AdamOptions>(
        library,
        "optim::adam",
        r#"
        Adam: steps scaled by running first and second moments of the gradient (Kingma, Ba 2014,
        arXiv 1412.6980). With parameters it is an optimizer at work on them, without a choice for `fit`.

        ```rhai
        let w = param(zeros([2]));
        let opt = optim::adam([w], #{ lr: 0.1 });
        for i in 0..200 { opt.step(((w - 3) ** 2).sum()); }
        (w.sum().item() - 6.0).abs() < 0.1 // => true
        ```
        "#,
        AdamOptions::validate,
    );
    kind::<AdamWOptions>(
        library,
        "optim::adamw",
        r#"
        Adam with weight decay apart from the gradient (Loshchilov, Hutter 2017, arXiv 1711.05101). With
        parameters it is an optimizer at work on them, without a choice for `fit`.

        ```rhai
        let w = param(ones([2]));
        let opt = optim::adamw([w], #{ lr: 0.1, weight_decay: 0.0 });
        opt.step((w * w).sum());
        ```
        "#,
        AdamWOptions::validate,
    );
    working(library);
}

fn kind<O>(
    library: &mut Library,
    path: &'static str,
    text: &'static str,
    validate: fn(&O) -> rhapsode_models::Result<()>,
) where
    O: Rule + DeserializeOwned + JsonSchema + Default + 'static,
{
    let choose = move |map: &Map| -> Outcome<Arc<dyn Rule>> {
        let chosen: O = options::read(map)?;
        raise(validate(&chosen))?;
        Ok(Arc::new(chosen))
    };
    library
        .function(
            path,
            "(parameters?: array of Tensor, options?: map) -> Optimizer | OptimizerChoice",
            text,
        )
        .options::<O>()
        .call(move || -> Outcome<Choice> { Ok(Choice(choose(&Map::new())?)) })
        .call(move |map: Map| -> Outcome<Choice> { Ok(Choice(choose(&map)?)) })
        .call(move |call: NativeCallContext, list: Array| {
            at_work(&call, choose(&Map::new())?, list)
        })
        .call(move |call: NativeCallContext, list: Array, map: Map| {
            at_work(&call, choose(&map)?, list)
        });
}

fn at_work(_: &NativeCallContext, rule: Arc<dyn Rule>, list: Array) -> Outcome<Working> {
    let mut targets = Vec::with_capacity(list.len());
    for (i, item) in list.into_iter().enumerate() {
        targets.push(parameter(i, item)?);
    }
    Ok(Working(Arc::new(Mutex::new(raise(Optimizer::new(
        rule, targets,
    ))?))))
}

fn parameter(i: usize, item: Dynamic) -> Result<Tensor, Fault> {
    let got = type_word(item.type_name()).to_string();
    let tensor = item.flatten().try_cast::<Tensor>();
    match tensor {
        Some(tensor) if tensor.is_tracked() => Ok(tensor),
        Some(_) => Err(Fault::value(format!("parameter {i} is not trainable"))
            .at(Spot::Argument(0))
            .hint("make it with `param(x)`")),
        None => {
            Err(Fault::expected(&format!("a Tensor as parameter {i}"), &got).at(Spot::Argument(0)))
        }
    }
}

fn working(library: &mut Library) {
    library
        .method::<Working>(
            "step",
            "(loss: Tensor) -> float",
            r#"
            Takes the gradient of the loss and makes one step. Gives the norm of the gradient. A gradient
            with NaN or infinity is an error that changes nothing.

            ```rhai
            let w = param(ones([1]));
            let opt = optim::adam([w]);
            opt.step((w * w).sum()) // => 2.0
            ```
            "#,
        )
        .call(|opt: &mut Working, loss: Tensor| -> Outcome<f64> {
            let mut opt = lock(&opt.0);
            let targets = opt.targets().to_vec();
            let grads = raise(grad_or_zero(loss, &targets.iter().collect::<Vec<_>>()))?;
            if grads.iter().all(Option::is_none) {
                return Err(Fault::value("the loss depends on none of the optimizer's parameters").at(Spot::Argument(0)).into());
            }
            raise(opt.step(&grads, None))
        });
    library
        .method::<Working>(
            "set",
            "(options: map) -> Optimizer",
            "Changes the optimizer from its next step on.",
        )
        .options::<Knobs>()
        .call(|opt: &mut Working, map: Map| -> Outcome<Working> {
            let knobs: Knobs = options::read(&map)?;
            let mut inner = lock(&opt.0);
            if let Some(lr) = knobs.lr {
                raise(inner.set_lr(lr))?;
            }
            if let Some(clip) = knobs.clip {
                if clip <= 0.0 {
                    return Err(Fault::new(
                        crate::Kind::Option,
                        format!("option `clip`: must be > 0, got {clip}"),
                    )
                    .at(Spot::Value(vec!["clip".into()]))
                    .into());
                }
                inner.clip = Some(clip);
            }
            drop(inner);
            Ok(opt.clone())
        });
    library
        .property::<Working>(
            "state_bytes",
            "int",
            "Bytes that the optimizer's state takes.",
        )
        .call(|opt: &mut Working| lock(&opt.0).state_bytes() as i64);
    library
        .property::<Working>("steps", "int", "Steps taken.")
        .call(|opt: &mut Working| lock(&opt.0).steps() as i64);
    library
        .property::<Working>("lr", "float", "Learning rate.")
        .call(|opt: &mut Working| lock(&opt.0).lr());
}
