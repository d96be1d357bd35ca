//! `save` and `load`: models and tensors as safetensors files.

use std::path::Path;

use rhai::{Dynamic, Map, NativeCallContext};
use rhapsode_models::{checkpoint::Checkpoint, flow::RectifiedFlow};
use rhapsode_tensor::Tensor;
use serde_json::Value;

use super::{Outcome, optim::Working, raise};
use crate::{
    context::{self, Context},
    fault::{Fault, Spot},
    library::Library,
    value::type_word,
};

/// The kinds under which plain tensors are saved.
const TENSOR: &str = "tensor";
const MAP: &str = "tensors";

const SAVE: &str = r#"
Writes a model, an optimizer at work, a tensor, or a map of tensors as a safetensors file with its configuration in the
metadata; PyTorch's `safetensors` reads it. An old file stays whole until the new one is.

```rhai,no_run
let model = flow::rectified(#{ dim: 2 });
save(model, "model.safetensors");
let same = load("model.safetensors");
```
"#;

const LOAD: &str = r#"
Reads what `save` wrote: the model, optimizer, tensor or map of tensors. A safetensors file from elsewhere
gives a map of its tensors. An optimizer comes with parameters of its own, `opt.params`, and goes on bit for bit;
`opt.restore(path)` takes a file over into an optimizer that is there.

```rhai,no_run
let model = load("model.safetensors");
```
"#;

/// Binds them, globally and in `io`.
pub(crate) fn bind(library: &mut Library) {
    library.module("io", "Models and tensors on disk.");
    for path in ["save", "io::save"] {
        library
            .function(
                path,
                "(value: model | Optimizer | Tensor | map, path: string)",
                SAVE,
            )
            .call(|call: NativeCallContext, value: Dynamic, path: &str| save(&call, &value, path));
    }
    for path in ["load", "io::load"] {
        library
            .function(
                path,
                "(path: string) -> model | Optimizer | Tensor | map",
                LOAD,
            )
            .call(|call: NativeCallContext, path: &str| load(&call, path));
    }
}

/// What a value would be saved as; `None` when it is nothing that is saved.
fn checkpoint_of(value: &Dynamic) -> Result<Option<Checkpoint>, Fault> {
    if let Some(optimizer) = value.read_lock::<Working>() {
        return Ok(Some(optimizer.checkpoint()?));
    }
    Ok(plain_checkpoint(value))
}

fn plain_checkpoint(value: &Dynamic) -> Option<Checkpoint> {
    if let Some(flow) = value.read_lock::<RectifiedFlow>() {
        return Some(flow.checkpoint());
    }
    if let Some(tensor) = value.read_lock::<Tensor>() {
        let tensors = vec![(TENSOR.to_string(), tensor.detach())];
        return Some(Checkpoint {
            kind: TENSOR.into(),
            options: Value::Null,
            tensors,
        });
    }
    let map = value.read_lock::<Map>()?;
    let named = |(key, value): (&_, &Dynamic)| {
        Some((
            ToString::to_string(key),
            value.read_lock::<Tensor>()?.detach(),
        ))
    };
    let tensors = map.iter().map(named).collect::<Option<Vec<_>>>()?;
    Some(Checkpoint {
        kind: MAP.into(),
        options: Value::Null,
        tensors,
    })
}

fn save(call: &NativeCallContext, value: &Dynamic, path: &str) -> Outcome<()> {
    let Some(checkpoint) = raise(checkpoint_of(value))? else {
        let got = type_word(value.type_name());
        return Err(
            Fault::expected("a model, an Optimizer, a Tensor or a map of Tensors", got)
                .at(Spot::Argument(0))
                .into(),
        );
    };
    raise(checkpoint.save(&context::of_call(call)?.path(path)))
}

fn load(call: &NativeCallContext, path: &str) -> Outcome<Dynamic> {
    let checkpoint = raise(Checkpoint::load(&context::of_call(call)?.path(path)))?;
    match checkpoint.kind.as_str() {
        rhapsode_models::flow::rectified::KIND => {
            Ok(Dynamic::from(raise(RectifiedFlow::restore(&checkpoint))?))
        }
        rhapsode_models::optim::STATE_KIND => {
            Ok(Dynamic::from(raise(Working::from_checkpoint(&checkpoint))?))
        }
        TENSOR if checkpoint.tensors.len() == 1 => Ok(checkpoint
            .tensors
            .into_iter()
            .next()
            .map_or(Dynamic::UNIT, |(_, tensor)| Dynamic::from(tensor))),
        TENSOR | MAP => {
            let entries = checkpoint
                .tensors
                .into_iter()
                .map(|(name, tensor)| (name.into(), Dynamic::from(tensor)));
            Ok(Dynamic::from_map(entries.collect()))
        }
        other => {
            let fault = Fault::value(format!(
                "the file holds a `{other}`, which this version does not know"
            ));
            Err(fault.at(Spot::Argument(0)).into())
        }
    }
}

/// The names of all variables that hold a model: what a front end saves when it was interrupted.
pub(crate) fn models(context: &Context) -> Vec<String> {
    let is_model = |value: &Dynamic| value.read_lock::<RectifiedFlow>().is_some();
    let globals = context.globals().into_iter();
    globals
        .filter(|(_, value)| is_model(value))
        .map(|(name, _)| name)
        .collect()
}

/// Saves one variable.
pub(crate) fn save_variable(context: &Context, name: &str, path: &Path) -> Result<(), Fault> {
    let value = context
        .global(name)
        .ok_or_else(|| Fault::value(format!("there is no variable `{name}`")))?;
    let checkpoint = checkpoint_of(&value)?
        .ok_or_else(|| Fault::value(format!("`{name}` is nothing that can be saved")))?;
    checkpoint.save(path).map_err(Fault::from)
}
