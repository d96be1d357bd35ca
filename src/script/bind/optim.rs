//! `optim`: optimizers as a choice for `fit`, or at work on parameters of one's own; one binding an entry of
//! `optim::ALL`. Schedules, averages and clipping are in `optim_parts`.

use std::sync::{Arc, LazyLock, Mutex};

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_models::{
    checkpoint::Checkpoint,
    nn::Net,
    optim::{self, Kind, Optimizer, Rule, Schedule},
};
use rhapsode_tensor::{Tensor, grad_or_zero};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Outcome, nn, raise};
use crate::{
    Display,
    context::{self, lock},
    fault::{Fault, Spot},
    library::Library,
    options::{self, Schema},
    value::{Object, type_word},
};

/// A choice of optimizer, for `fit`.
#[derive(Clone)]
pub(crate) struct Choice(pub optim::Choice);

/// An optimizer at work; clones are the same one.
#[derive(Clone)]
pub(crate) struct Working(Arc<Mutex<Optimizer>>);

impl Working {
    fn new(optimizer: Optimizer) -> Self {
        Self(Arc::new(Mutex::new(optimizer)))
    }

    /// As a checkpoint.
    pub fn checkpoint(&self) -> rhapsode_models::Result<Checkpoint> {
        lock(&self.0).checkpoint()
    }

    /// From a checkpoint, with parameters of its own.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> rhapsode_models::Result<Self> {
        Optimizer::from_checkpoint(checkpoint).map(Self::new)
    }
}

impl Object for Choice {
    const NAME: &'static str = "OptimizerChoice";

    fn text(&self) -> String {
        let rule = &self.0.rule;
        let common = &self.0.common;
        let bits = (common.bits != 32).then(|| format!(", {} bits", common.bits));
        let clip = common.clip.map(|clip| format!(", clip {clip}"));
        let schedule = common.schedule.as_ref().map(|s| format!(", schedule {s}"));
        format!(
            "optim::{} {}{}{}{}",
            rule.name(),
            rule.options(),
            bits.unwrap_or_default(),
            clip.unwrap_or_default(),
            schedule.unwrap_or_default()
        )
    }

    fn summary(&self) -> String {
        format!("{}, lr {}", self.0.rule.name(), self.0.rule.lr())
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
        let count: usize = optimizer.targets().map(Tensor::len).sum();
        let rates: Vec<String> = (optimizer.groups().iter())
            .map(|group| group.lr().to_string())
            .collect();
        let schedule = optimizer.schedule().map(|s| format!(", schedule {s}"));
        let bits =
            (optimizer.common().bits != 32).then(|| format!(", {} bits", optimizer.common().bits));
        format!(
            "Optimizer {}: {count} parameters, {} steps, lr {}{}{}",
            optimizer.name(),
            optimizer.steps(),
            rates.join(" | "),
            bits.unwrap_or_default(),
            schedule.unwrap_or_default()
        )
    }

    fn summary(&self) -> String {
        let optimizer = lock(&self.0);
        format!("{}, {} steps", optimizer.name(), optimizer.steps())
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
    /// The group whose learning rate `lr` is (from 0; default: all groups).
    group: Option<usize>,
    /// Largest norm of the gradient; larger ones are scaled down to it (> 0; default: as it is).
    clip: Option<f64>,
    /// Schedule from the next step on; its steps count from the optimizer's first (default: as it is).
    schedule: Option<Schedule>,
}

/// An entry of the list as it is bound.
struct Page {
    kind: &'static Kind,
    path: String,
    text: String,
    /// All options.
    all: Arc<Schema>,
    /// Those that a group can have of its own.
    own: Arc<Schema>,
}

/// Made once; the library keeps references to its texts.
static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| optim::ALL.iter().map(page).collect());

fn page(kind: &'static Kind) -> Page {
    let name = kind.name;
    let equation = kind.equation.replace(";  ", "\n    ");
    let text = format!(
        "Optimizer: {}.\n\n    {equation}\n\n{}\n\n\
        Without parameters it is a choice for `fit`; with parameters it is at work on them. They are an array of \
        trainable tensors, or of groups `#{{ params: [..], lr: .. }}` with options of their own. With `bits: 8` its state takes a \
        byte a number and a scale a block (arXiv 2110.02861).\n\n\
        ```rhai\n\
        let w = param(ones([2]));\n\
        let opt = optim::{name}([w], #{{ lr: 0.01 }});\n\
        for step in 0..10 {{ opt.step((w ** 2).sum()); }}\n\
        (w ** 2).sum().item() < 2.0 // => true\n\
        ```",
        kind.summary,
        kind.reference.line(),
    );
    Page {
        kind,
        path: format!("optim::{name}"),
        text,
        all: Schema::of_value(kind.schema()),
        own: Schema::of_value((kind.schema)().to_value()),
    }
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.module("optim", "Optimizers: `optim::adam(#{..})` chooses one for `fit`, `optim::adam([w, b], #{..})` works on parameters.");
    library.object::<Choice>("A choice of optimizer, for the option `optimizer` of `fit`.");
    library.object::<Working>("An optimizer at work on parameters: `opt.step(loss)`.");
    for page in PAGES.iter() {
        library
            .function(
                &page.path,
                "(parameters?: Net | array of Tensor | array of map, options?: map) -> Optimizer | OptimizerChoice",
                &page.text,
            )
            .options_of(Arc::clone(&page.all))
            .call(move || choose(page, &Map::new()).map(Choice))
            .call(move |map: Map| choose(page, &map).map(Choice))
            .call(move |net: Net| at_work(page, nn::tensors(&net), &Map::new()))
            .call(move |net: Net, map: Map| at_work(page, nn::tensors(&net), &map))
            .call(move |list: Array| at_work(page, list, &Map::new()))
            .call(move |list: Array, map: Map| at_work(page, list, &map));
    }
    steps(library);
    numbers(library);
}

fn choose(page: &Page, map: &Map) -> Outcome<optim::Choice> {
    let options = options::read_data(&page.all, map)?;
    raise(page.kind.make(options))
}

fn at_work(page: &Page, list: Array, map: &Map) -> Outcome<Working> {
    let choice = choose(page, map)?;
    let groups = if list.first().is_some_and(Dynamic::is_map) {
        let group = |(i, item)| group(page, map, i, item);
        list.into_iter()
            .enumerate()
            .map(group)
            .collect::<Outcome<_>>()?
    } else {
        vec![(choice.rule, parameters(list, "parameter")?)]
    };
    let optimizer = Optimizer::grouped(groups, choice.common);
    Ok(Working::new(raise(optimizer)?))
}

/// A group: its parameters, and the common options with its own put over them.
fn group(
    page: &Page,
    common: &Map,
    i: usize,
    item: Dynamic,
) -> Outcome<(Arc<dyn Rule>, Vec<Tensor>)> {
    let of_group = |fault: Fault| {
        let message = format!("group {i}: {}", fault.message);
        Fault { message, ..fault }.at(Spot::Argument(0))
    };
    let got = type_word(item.type_name()).to_string();
    let Some(mut map) = item.flatten().try_cast::<Map>() else {
        let fault = Fault::expected("a map with `params`", &got);
        return Err(of_group(fault).into());
    };
    let list =
        options::take::<Array>(&mut map, "params", "an array of Tensor").map_err(of_group)?;
    let Some(list) = list else {
        return Err(of_group(Fault::value("`params` must be given")).into());
    };
    let own = options::read_data(&page.own, &map).map_err(of_group)?;
    let (mut options, _) = (page.kind).split(options::read_data(&page.all, common)?);
    if let (Value::Object(options), Value::Object(own)) = (&mut options, own) {
        options.extend(own);
    }
    let rule = (page.kind.build)(options).map_err(|error| of_group(error.into()))?;
    Ok((rule, parameters(list, &format!("group {i}: parameter"))?))
}

/// Trainable tensors out of an array.
pub(super) fn parameters(list: Array, what: &str) -> Result<Vec<Tensor>, Fault> {
    let one = |(i, item): (usize, Dynamic)| {
        let got = type_word(item.type_name()).to_string();
        match item.flatten().try_cast::<Tensor>() {
            Some(tensor) if tensor.is_tracked() => Ok(tensor),
            Some(_) => Err(Fault::value(format!("{what} {i} is not trainable"))
                .at(Spot::Argument(0))
                .hint("make it with `param(x)`")),
            None => {
                let fault = Fault::expected(&format!("a Tensor as {what} {i}"), &got);
                Err(fault.at(Spot::Argument(0)))
            }
        }
    };
    list.into_iter().enumerate().map(one).collect()
}

/// Gradients out of an array: tensors, or `()` for none.
pub(super) fn gradients(list: Array) -> Result<Vec<Option<Tensor>>, Fault> {
    let one = |(i, item): (usize, Dynamic)| {
        if item.is_unit() {
            return Ok(None);
        }
        let got = type_word(item.type_name()).to_string();
        let tensor = item.flatten().try_cast::<Tensor>();
        let wrong = || {
            let fault = Fault::expected(&format!("a Tensor or () as gradient {i}"), &got);
            fault.at(Spot::Argument(0))
        };
        // A copy: a parameter given as its own gradient would be read while it is written.
        let tensor = tensor.ok_or_else(wrong)?;
        Ok(Some(tensor.copy()?))
    };
    list.into_iter().enumerate().map(one).collect()
}

fn steps(library: &mut Library) {
    library
        .method::<Working>(
            "step",
            "(loss: Tensor) -> float",
            r#"
            Takes the gradient of the loss and makes one step. Gives the norm of the gradient before clipping. A
            gradient with NaN or infinity is an error that changes nothing.

            ```rhai
            let w = param(ones([1]));
            let opt = optim::adam([w]);
            opt.step((w * w).sum()) // => 2.0
            ```
            "#,
        )
        .call(|opt: &mut Working, loss: Tensor| -> Outcome<f64> {
            let mut opt = lock(&opt.0);
            let targets: Vec<Tensor> = opt.targets().cloned().collect();
            let grads = raise(grad_or_zero(loss, &targets.iter().collect::<Vec<_>>()))?;
            if grads.iter().all(Option::is_none) {
                return Err(Fault::value("the loss depends on none of the optimizer's parameters").at(Spot::Argument(0)).into());
            }
            raise(opt.step(&grads, None))
        });
    library
        .method::<Working>(
            "step_with",
            "(gradients: array of Tensor) -> float",
            r#"
            One step by gradients, one a parameter in their order; `()` lets a parameter rest. Gives their norm before
            clipping.

            ```rhai
            let w = param(ones([1]));
            let opt = optim::sgd([w], #{ lr: 0.25 });
            let g = grad((w * w).sum(), [w]);
            opt.step_with(g);
            w.item() // => 0.5
            ```
            "#,
        )
        .call(|opt: &mut Working, list: Array| -> Outcome<f64> {
            let grads = gradients(list)?;
            raise(lock(&opt.0).step(&grads, None))
        });
    library
        .method::<Working>(
            "set",
            "(options: map) -> Optimizer",
            r#"
            Changes the optimizer from its next step on.

            ```rhai
            let opt = optim::sgd([param(ones([1]))], #{ lr: 0.1 });
            opt.set(#{ lr: 0.01, clip: 1.0 });
            opt.lr // => 0.01
            ```
            "#,
        )
        .options::<Knobs>()
        .call(|opt: &mut Working, map: Map| -> Outcome<Working> {
            raise(set(&mut lock(&opt.0), options::read(&map)?))?;
            Ok(opt.clone())
        });
    library
        .method::<Working>(
            "restore",
            "(path: string) -> Optimizer",
            r#"
            Takes parameters, states, learning rates and the count of steps over from a file that `save(opt, path)` wrote:
            the same optimizer on the same shapes, else nothing is changed. It goes on bit for bit when its options
            are those it was saved with.

            ```rhai,no_run
            let opt = optim::adam([w, b], #{ lr: 1e-2 });
            opt.restore("optimizer.safetensors");
            ```
            "#,
        )
        .call(|call: NativeCallContext, opt: &mut Working, path: &str| -> Outcome<Working> {
            let checkpoint = raise(Checkpoint::load(&context::of_call(&call)?.path(path)))?;
            raise(lock(&opt.0).restore(&checkpoint))?;
            Ok(opt.clone())
        });
}

/// All or nothing: what can be refused is set first.
fn set(optimizer: &mut Optimizer, knobs: Knobs) -> rhapsode_models::Result<()> {
    let Knobs {
        lr,
        group,
        clip,
        schedule,
    } = knobs;
    if group.is_some() && lr.is_none() {
        let message = "needs `lr`: it says whose learning rate that is";
        return Err(rhapsode_models::Error::option("group", message));
    }
    let before = optimizer.clip();
    if clip.is_some() {
        optimizer.set_clip(clip)?;
    }
    let lr_before: Vec<f64> = optimizer.groups().iter().map(|group| group.lr()).collect();
    let rest = || {
        if let Some(lr) = lr {
            optimizer.set_lr(lr, group)?;
        }
        schedule.map_or(Ok(()), |schedule| optimizer.set_schedule(schedule))
    };
    let outcome = rest();
    if outcome.is_err() {
        optimizer.set_clip(before)?;
        for (i, lr) in lr_before.into_iter().enumerate() {
            optimizer.set_lr(lr, Some(i))?;
        }
    }
    outcome
}

fn numbers(library: &mut Library) {
    library
        .property::<Working>(
            "params",
            "array of Tensor",
            "The parameters that it changes, in order.",
        )
        .call(|opt: &mut Working| -> Array {
            lock(&opt.0).targets().cloned().map(Dynamic::from).collect()
        });
    library
        .property::<Working>(
            "state_bytes",
            "int",
            "Bytes that the optimizer's state takes; the 256 values of an 8-bit code are not counted.",
        )
        .call(|opt: &mut Working| lock(&opt.0).state_bytes() as i64);
    library
        .property::<Working>(
            "bytes_per_parameter",
            "float",
            "Bytes of the optimizer's state a parameter: of Adam 8 with 32 bits, 2 + 8 / block with 8.",
        )
        .call(|opt: &mut Working| lock(&opt.0).bytes_per_parameter());
    library
        .property::<Working>("steps", "int", "Steps taken.")
        .call(|opt: &mut Working| lock(&opt.0).steps() as i64);
    library
        .property::<Working>(
            "lr",
            "float",
            "Learning rate (of the first group) before the schedule.",
        )
        .call(|opt: &mut Working| lock(&opt.0).lr());
}
