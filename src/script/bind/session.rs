//! The session's defaults and its surroundings: `seed device dtype arg sleep`.

use std::time::{Duration, Instant};

use rhai::{Array, Dynamic, ImmutableString, Map, NativeCallContext};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Outcome, number};
use crate::{
    context,
    fault::{Fault, Spot, interrupted},
    library::Library,
    names::nearest,
    options,
    value::type_word,
};

/// Float types that tensors can have by default.
const DTYPES: [&str; 3] = ["f32", "f64", "bf16"];

/// What a script says about an argument.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ArgOptions {
    /// What it is for: `rhapsode run FILE --help` shows it (default: nothing).
    help: String,
    /// The values that it may have, as an array (default: any).
    allowed: Option<Vec<serde_json::Value>>,
    /// The smallest number that it may be (default: any).
    min: Option<f64>,
    /// The largest number that it may be (default: any).
    max: Option<f64>,
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    defaults(library);
    library
        .function(
            "arg",
            "(name: string, default: any, options?: map) -> any",
            r#"
            A value given with `--set name=value`, or the default. It has the type of the default;
            `rhapsode run FILE --help` lists what a script asks for.

            ```rhai
            let lr = arg("lr", 1e-3, #{ help: "learning rate", min: 0.0 });
            lr // => 0.001
            ```
            "#,
        )
        .options::<ArgOptions>()
        .call(|call: NativeCallContext, name: &str, default: Dynamic| {
            arg(&call, name, default, &Map::new())
        })
        .call(
            |call: NativeCallContext, name: &str, default: Dynamic, map: Map| {
                arg(&call, name, default, &map)
            },
        );
    library
        .function(
            "sleep",
            "(seconds: float)",
            r#"
            Waits. An interrupt ends it at once.

            ```rhai
            sleep(0.01);
            ```
            "#,
        )
        .call(|call: NativeCallContext, seconds: f64| sleep(&call, seconds))
        .call(|call: NativeCallContext, seconds: i64| sleep(&call, seconds as f64));
}

fn defaults(library: &mut Library) {
    library
        .function(
            "seed",
            "(n?: int) -> int",
            r#"
            Sets the seed of all random numbers; the same seed repeats a run bit for bit. Gives the seed.

            ```rhai
            seed(0);
            ```
            "#,
        )
        .call(|call: NativeCallContext| seed(&call, None))
        .call(|call: NativeCallContext, n: i64| seed(&call, Some(n)));
    library
        .function(
            "device",
            "(name?: string) -> string",
            r#"
            Sets where tensors and models are made: `"cpu"`, `"cuda"`, `"cuda:1"` or `"auto"`. Gives the device.

            ```rhai
            device("cpu");
            ```
            "#,
        )
        .call(|call: NativeCallContext| device(&call, None))
        .call(|call: NativeCallContext, name: &str| device(&call, Some(name)));
    library
        .function(
            "dtype",
            "(name?: string) -> string",
            r#"
            Sets what floats are kept in by default: `"f32"`, `"f64"` or `"bf16"`. Gives the dtype.

            ```rhai
            dtype("f32");
            ```
            "#,
        )
        .call(|call: NativeCallContext| dtype(&call, None))
        .call(|call: NativeCallContext, name: &str| dtype(&call, Some(name)));
}

fn seed(call: &NativeCallContext, new: Option<i64>) -> Outcome<i64> {
    let context = context::of_call(call)?;
    if let Some(n) = new {
        // Any 64 bits are a seed; negative ones are taken by their bits.
        context.set(|settings| settings.seed = n as u64);
        context.restart_draws();
    }
    Ok(context.settings().seed as i64)
}

fn device(call: &NativeCallContext, new: Option<&str>) -> Outcome<ImmutableString> {
    let context = context::of_call(call)?;
    if let Some(name) = new {
        let name = device_named(name)?;
        context.set(|settings| settings.device = name.into());
    }
    Ok(context.settings().device.into())
}

fn dtype(call: &NativeCallContext, new: Option<&str>) -> Outcome<ImmutableString> {
    let context = context::of_call(call)?;
    if let Some(name) = new {
        if !DTYPES.contains(&name) {
            let fault = Fault::value(format!("{name:?} is not a default dtype"));
            return Err(fault
                .at(Spot::Argument(0))
                .hint("allowed: \"f32\", \"f64\", \"bf16\"")
                .into());
        }
        context.set(|settings| settings.dtype = name.into());
    }
    Ok(context.settings().dtype.into())
}

/// Resolves a device's name; what is not there is an error.
pub(crate) fn device_named(name: &str) -> Result<&'static str, Fault> {
    match name {
        "cpu" | "auto" => Ok("cpu"),
        cuda if cuda == "cuda"
            || cuda
                .strip_prefix("cuda:")
                .is_some_and(|n| n.parse::<usize>().is_ok()) =>
        {
            Err(Fault::value("this build has no CUDA")
                .at(Spot::Argument(0))
                .hint("\"cpu\" is always there"))
        }
        other => {
            let fault = Fault::value(format!("{other:?} is not a device")).at(Spot::Argument(0));
            let fault = match nearest(other, ["cpu", "cuda", "auto"]) {
                Some(near) => fault.hint(format!("did you mean {near:?}?")),
                None => fault,
            };
            Err(fault.hint("allowed: \"cpu\", \"cuda\", \"cuda:1\", \"auto\""))
        }
    }
}

fn sleep(call: &NativeCallContext, seconds: f64) -> Outcome<()> {
    let context = context::of_call(call)?;
    let span = Duration::try_from_secs_f64(seconds).map_err(|_| {
        Fault::value(format!("cannot wait for {seconds} seconds")).at(Spot::Argument(0))
    })?;
    let start = Instant::now();
    while let Some(left) = span
        .checked_sub(start.elapsed())
        .filter(|left| !left.is_zero())
    {
        if context.must_stop() {
            return Err(interrupted());
        }
        std::thread::sleep(left.min(Duration::from_millis(10)));
    }
    Ok(())
}

/// A value from the command line, with the type of its default.
fn arg(call: &NativeCallContext, name: &str, default: Dynamic, map: &Map) -> Outcome<Dynamic> {
    let context = context::of_call(call)?;
    let about: ArgOptions = options::read(map)?;
    let Some(given) = context.arg(name) else {
        allowed(&format!("the default of `{name}`"), &default, &about)?;
        return Ok(default);
    };
    let value = parse(given, &default).ok_or_else(|| {
        let expected = expectation(&default);
        Fault::value(format!(
            "`--set {name}={given}`: expected {expected}, got {given:?}"
        ))
    })?;
    allowed(&format!("`--set {name}={given}`"), &value, &about)?;
    Ok(value)
}

/// Whether a value is one of those that the script allows.
fn allowed(what: &str, value: &Dynamic, about: &ArgOptions) -> Result<(), Fault> {
    let wrong = |expected: String| {
        Err(Fault::value(format!(
            "{what}: expected {expected}, got {value}"
        )))
    };
    if let Some(list) = &about.allowed {
        let written = rhai::serde::from_dynamic::<serde_json::Value>(value).ok();
        let same = |one: &serde_json::Value| {
            Some(one) == written.as_ref() || (one.is_number() && one.as_f64() == number(value))
        };
        if !list.iter().any(same) {
            let words: Vec<String> = list.iter().map(crate::schema::literal).collect();
            return wrong(format!("one of {}", words.join(", ")));
        }
    }
    let Some(number) = number(value) else {
        return Ok(());
    };
    match (about.min, about.max) {
        (Some(least), _) if number.is_nan() || number < least => wrong(format!("at least {least}")),
        (_, Some(most)) if number.is_nan() || number > most => wrong(format!("at most {most}")),
        _ => Ok(()),
    }
}

/// A text as a value of the type of `like`.
fn parse(text: &str, like: &Dynamic) -> Option<Dynamic> {
    let text = text.trim();
    if like.is_int() {
        return text.replace('_', "").parse::<i64>().ok().map(Dynamic::from);
    }
    if like.is_float() {
        return text.replace('_', "").parse::<f64>().ok().map(Dynamic::from);
    }
    if like.is_bool() {
        return text.parse::<bool>().ok().map(Dynamic::from);
    }
    if let Some(items) = like.read_lock::<Array>() {
        let inner = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        let words = inner
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let parsed: Option<Array> = match items.first() {
            Some(first) => words.map(|word| parse(word, first)).collect(),
            None => Some(words.map(guess).collect()),
        };
        return parsed.map(Dynamic::from);
    }
    if like.is_string() {
        return Some(Dynamic::from(ImmutableString::from(text)));
    }
    like.is_unit().then(|| guess(text))
}

/// A text as the most special type that fits.
fn guess(text: &str) -> Dynamic {
    let int = text.parse::<i64>().ok().map(Dynamic::from);
    let float = || text.parse::<f64>().ok().map(Dynamic::from);
    let flag = || text.parse::<bool>().ok().map(Dynamic::from);
    int.or_else(float)
        .or_else(flag)
        .unwrap_or_else(|| Dynamic::from(ImmutableString::from(text)))
}

/// What `parse` takes, in words.
fn expectation(like: &Dynamic) -> String {
    if let Some(items) = like.read_lock::<Array>() {
        let of = items
            .first()
            .map_or("values", |first| type_word(first.type_name()));
        return format!("array of {of} such as 1,2,3");
    }
    match (number(like), like.is_bool()) {
        (_, true) => "true or false".into(),
        _ => type_word(like.type_name()).to_string(),
    }
}
