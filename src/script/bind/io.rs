//! `save` and `load`: models, tensors and tables on disk; the ending of the path says how.

use std::path::Path;

use rhai::{Dynamic, Map, NativeCallContext};
use rhapsode_models::{
    checkpoint::Checkpoint,
    data::{
        Table,
        format::{
            csv::{self, CsvOptions},
            image::{self, ImageOptions},
            npy,
            parquet::{self, ParquetOptions},
        },
    },
    flow::{Interpolant, RectifiedFlow},
    nn::Net,
};
use rhapsode_tensor::Tensor;
use serde_json::Value;

use super::{Outcome, files::tensor_map, optim::Working, raise};
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
Writes a value; the ending of the path says how. `.npy` a tensor, `.npz` a tensor or a map of tensors (NumPy);
`.csv`, `.tsv`, `.parquet` a Table, a tensor `[n]` or `[n, columns]`, or a map of columns `[n]`; `.png` an image `[channels, height,
width]` in 0..1; any other ending a model, an optimizer at work, a tensor or map of tensors as safetensors with its
configuration in the metadata, which PyTorch's `safetensors` reads. An old file stays whole until the new one is.

```rhai
let model = flow::rectified(#{ dim: 2, hidden: [8] });
save(model, "rhapsode-example.safetensors");
load("rhapsode-example.safetensors").sample(3).shape // => [3, 2]
```
"#;

const LOAD: &str = r#"
Reads what `save` wrote, by the ending of the path: the model, optimizer, tensor, map of tensors, Table or image. A
safetensors file from elsewhere gives a map of its tensors. An optimizer comes with parameters of its own, `opt.params`,
and goes on bit for bit; `opt.restore(path)` takes a file over into an optimizer that is there. The functions of `data`
have options.

```rhai
save(tensor([[1.0, 2.0]]), "rhapsode-load.npy");
load("rhapsode-load.npy").to_array() // => [[1.0, 2.0]]
```
"#;

/// Binds them, globally and in `io`.
pub(crate) fn bind(library: &mut Library) {
    library.module("io", "Models, tensors, tables and metrics on disk.");
    for path in ["save", "io::save"] {
        library
            .function(
                path,
                "(value: model | Optimizer | Tensor | Table | map, path: string)",
                SAVE,
            )
            .call(|call: NativeCallContext, value: Dynamic, path: &str| save(&call, &value, path));
    }
    for path in ["load", "io::load"] {
        library
            .function(
                path,
                "(path: string) -> model | Optimizer | Tensor | Table | map",
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
    if let Some(model) = value.read_lock::<Interpolant>() {
        return Ok(Some(model.checkpoint()?));
    }
    Ok(plain_checkpoint(value))
}

fn plain_checkpoint(value: &Dynamic) -> Option<Checkpoint> {
    if let Some(flow) = value.read_lock::<RectifiedFlow>() {
        return Some(flow.checkpoint());
    }
    if let Some(net) = value.read_lock::<Net>() {
        return Some(net.checkpoint());
    }
    let kind = match value.read_lock::<Tensor>() {
        Some(_) => TENSOR,
        None => MAP,
    };
    Some(Checkpoint {
        kind: kind.into(),
        options: Value::Null,
        tensors: named(value, TENSOR)?,
    })
}

fn save(call: &NativeCallContext, value: &Dynamic, path: &str) -> Outcome<()> {
    let path = context::of_call(call)?.path(path);
    let wrong = |expected: &str| {
        let got = type_word(value.type_name());
        Fault::expected(expected, got).at(Spot::Argument(0))
    };
    match ending(&path).as_str() {
        "npy" => {
            let tensor = value.read_lock::<Tensor>();
            let tensor = tensor.ok_or_else(|| wrong("a Tensor for an .npy file"))?;
            raise(npy::write(&path, &tensor))
        }
        "npz" => {
            let arrays = named(value, "arr_0");
            let arrays =
                arrays.ok_or_else(|| wrong("a Tensor or a map of Tensors for an .npz file"))?;
            raise(npy::write_npz(&path, &arrays))
        }
        "png" => {
            let tensor = value.read_lock::<Tensor>();
            let tensor = tensor.ok_or_else(|| wrong("a Tensor for a .png file"))?;
            raise(image::write(&path, &tensor))
        }
        ending @ ("csv" | "tsv" | "parquet") => {
            let table = table(value)?;
            let table =
                table.ok_or_else(|| wrong("a Table, a Tensor or a map of Tensors for a table"))?;
            raise(match ending {
                "parquet" => parquet::write(&path, &table),
                _ => csv::write(&path, &table),
            })
        }
        _ => {
            let checkpoint = checkpoint_of(value).map_err(Box::<rhai::EvalAltResult>::from)?;
            let checkpoint = checkpoint
                .ok_or_else(|| wrong("a model, an Optimizer, a Tensor or a map of Tensors"))?;
            raise(checkpoint.save(&path))
        }
    }
}

/// The ending of a path in small letters.
fn ending(path: &Path) -> String {
    path.extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase()
}

/// A tensor under a name, or the tensors of a map.
fn named(value: &Dynamic, name: &str) -> Option<Vec<(String, Tensor)>> {
    if let Some(tensor) = value.read_lock::<Tensor>() {
        return Some(vec![(name.to_string(), tensor.detach())]);
    }
    let map = value.read_lock::<Map>()?;
    let entry = |(key, value): (&_, &Dynamic)| {
        Some((
            ToString::to_string(key),
            value.read_lock::<Tensor>()?.detach(),
        ))
    };
    map.iter().map(entry).collect()
}

/// A value as a table, if it can be one.
fn table(value: &Dynamic) -> Outcome<Option<Table>> {
    if let Some(table) = value.read_lock::<Table>() {
        return Ok(Some(table.clone()));
    }
    if let Some(tensor) = value.read_lock::<Tensor>() {
        return raise(Table::of_tensor(&tensor)).map(Some);
    }
    match named(value, "") {
        Some(columns) => raise(Table::of_named(&columns)).map(Some),
        None => Ok(None),
    }
}

fn load(call: &NativeCallContext, path: &str) -> Outcome<Dynamic> {
    let path = context::of_call(call)?.path(path);
    match ending(&path).as_str() {
        "npy" => return raise(npy::read(&path)).map(Dynamic::from),
        "npz" => return Ok(Dynamic::from_map(tensor_map(raise(npy::read_npz(&path))?))),
        "png" => return raise(image::read(&path, &ImageOptions::default())).map(Dynamic::from),
        "csv" | "tsv" => return raise(csv::read(&path, &CsvOptions::default())).map(Dynamic::from),
        "parquet" => {
            return raise(parquet::read(&path, &ParquetOptions::default())).map(Dynamic::from);
        }
        _ => {}
    }
    let checkpoint = raise(Checkpoint::load(&path))?;
    match checkpoint.kind.as_str() {
        rhapsode_models::flow::rectified::KIND => {
            Ok(Dynamic::from(raise(RectifiedFlow::restore(&checkpoint))?))
        }
        rhapsode_models::flow::interpolant::KIND => {
            Ok(Dynamic::from(raise(Interpolant::restore(&checkpoint))?))
        }
        rhapsode_models::nn::KIND => Ok(Dynamic::from(raise(Net::restore(&checkpoint))?)),
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
    let is_model = |value: &Dynamic| {
        value.read_lock::<RectifiedFlow>().is_some()
            // One whose fields are given is a function of the script.
            || value
                .read_lock::<Interpolant>()
                .is_some_and(|model| model.checkpoint().is_ok())
            || value.read_lock::<Net>().is_some()
    };
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
