//! The one place where a script's option map becomes an options struct.
//!
//! The map is held against the struct's schema first, so that the message can name the key, what
//! was expected and what came; only then `serde` fills the struct.

use rhai::{Array, Dynamic, ImmutableString, Map};
use rhapsode_models::optim::Schedule;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Kind,
    bind::number,
    fault::{Fault, Spot},
    names::{listed, nearest},
    schema::types_of,
    value::type_word,
};

pub(crate) use crate::schema::Schema;

/// Reads an option map into its struct.
pub(crate) fn read<T>(map: &Map) -> Result<T, Fault>
where
    T: DeserializeOwned + JsonSchema + 'static,
{
    read_besides(map, &[])
}

/// Like [`read`], for maps that also hold what the struct does not, such as closures and tensors: the
/// binding reads them by the names in `besides`.
pub(crate) fn read_besides<T>(map: &Map, besides: &[&str]) -> Result<T, Fault>
where
    T: DeserializeOwned + JsonSchema + 'static,
{
    let value = data(&Schema::of::<T>(), map, besides)?;
    serde_json::from_value(value).map_err(|error| Fault::new(Kind::Option, error.to_string()))
}

/// Reads an option map against a schema, as data.
pub(crate) fn read_data(schema: &Schema, map: &Map) -> Result<Value, Fault> {
    data(schema, map, &[])
}

fn data(schema: &Schema, map: &Map, besides: &[&str]) -> Result<Value, Fault> {
    let reader = Reader { schema, besides };
    reader.object(reader.schema.root(), map, &mut Vec::new())
}

/// What is wrong with a value under a path of keys, if anything.
pub(crate) fn check_value(schema: &Schema, path: &[String], value: &Dynamic) -> Option<Fault> {
    let at = schema.at(path)?;
    let reader = Reader {
        schema,
        besides: &[],
    };
    reader.value(at, value, &mut path.to_vec()).err()
}

/// Takes one entry out of an option map, if it is there and not `()`.
pub(crate) fn take<T: rhai::Variant + Clone>(
    map: &mut Map,
    key: &str,
    expected: &str,
) -> Result<Option<T>, Fault> {
    let Some(value) = map.remove(key).filter(|value| !value.is_unit()) else {
        return Ok(None);
    };
    let got = word(&value).to_string();
    let wrong = || {
        Fault::new(
            Kind::Option,
            format!("option `{key}`: expected {expected}, got {got}"),
        )
        .at(Spot::Value(vec![key.into()]))
    };
    value.flatten().try_cast::<T>().map(Some).ok_or_else(wrong)
}

/// The users' word for the type of a value.
fn word(value: &Dynamic) -> &str {
    type_word(value.type_name())
}

struct Reader<'a> {
    schema: &'a Schema,
    besides: &'a [&'a str],
}

impl Reader<'_> {
    /// A map against an object's schema.
    fn object(&self, schema: &Value, map: &Map, path: &mut Vec<String>) -> Result<Value, Fault> {
        let mut names: Vec<&str> = self
            .schema
            .properties(schema)
            .map(|(name, _)| name)
            .collect();
        if path.is_empty() {
            names.extend(self.besides);
        }
        let mut object = serde_json::Map::new();
        for (key, value) in map {
            path.push(key.to_string());
            match self
                .schema
                .properties(schema)
                .find(|(name, _)| *name == key.as_str())
            {
                Some((_, schema)) => {
                    object.insert(key.to_string(), self.value(schema, value, path)?);
                }
                // The binding reads it itself, whether it has taken it out or not.
                None if path.len() == 1 && self.besides.contains(&key.as_str()) => {}
                None => return Err(unknown(path, &names)),
            }
            path.pop();
        }
        for one in self.schema.alternatives(schema) {
            let required = one.get("required").and_then(Value::as_array);
            if let Some(missing) = required
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .find(|name| !object.contains_key(*name))
            {
                let name = dotted(path, Some(missing));
                return Err(
                    Fault::new(Kind::Option, format!("option `{name}` must be given"))
                        .at(spot_of_map(path)),
                );
            }
        }
        Ok(Value::Object(object))
    }

    /// A value against its schema; of several alternatives the first that fits.
    fn value(
        &self,
        schema: &Value,
        value: &Dynamic,
        path: &mut Vec<String>,
    ) -> Result<Value, Fault> {
        // A schedule is a value of its own in scripts, and data in an options struct.
        let schedule = value
            .read_lock::<Schedule>()
            .map(|s| rhai::serde::to_dynamic(&*s));
        let schedule = schedule.and_then(Result::ok);
        let value = schedule.as_ref().unwrap_or(value);
        let alternatives = self.schema.alternatives(schema);
        let strings = self.schema.strings(schema);
        if let Some(text) = value.read_lock::<ImmutableString>()
            && !strings.is_empty()
        {
            return self.one_of(&strings, &text, &alternatives, path);
        }
        let mut closest = None;
        for one in alternatives {
            for kind in types_of(one) {
                match self.typed(kind, one, value, path) {
                    Some(Ok(value)) => return Ok(value),
                    Some(Err(fault)) => closest = closest.or(Some(fault)),
                    None => {}
                }
            }
        }
        Err(closest.unwrap_or_else(|| mismatch(&self.schema.words(schema), value, path)))
    }

    /// A string that must be one of several, unless another alternative takes any string.
    fn one_of(
        &self,
        strings: &[&str],
        text: &str,
        alternatives: &[&Value],
        path: &[String],
    ) -> Result<Value, Fault> {
        let any = alternatives
            .iter()
            .any(|one| types_of(one).contains(&"string") && self.schema.strings(one).is_empty());
        if any || strings.contains(&text) {
            return Ok(Value::String(text.to_string()));
        }
        let allowed = strings
            .iter()
            .map(|text| format!("{text:?}"))
            .collect::<Vec<_>>()
            .join(", ");
        let fault = Fault::new(
            Kind::Option,
            format!("option `{}`: {text:?} is not allowed", dotted(path, None)),
        )
        .at(Spot::Value(path.to_vec()));
        let fault = match nearest(text, strings.iter().copied()) {
            Some(near) => fault.hint(format!("did you mean {near:?}?")),
            None => fault,
        };
        Err(fault.hint(format!("allowed: {allowed}")))
    }

    /// A value against one JSON type: `None` when it is of another type altogether.
    fn typed(
        &self,
        kind: &str,
        schema: &Value,
        value: &Dynamic,
        path: &mut Vec<String>,
    ) -> Option<Result<Value, Fault>> {
        match kind {
            "null" => value.is_unit().then_some(Ok(Value::Null)),
            "boolean" => value.as_bool().ok().map(|flag| Ok(Value::Bool(flag))),
            "string" => value
                .read_lock::<ImmutableString>()
                .map(|text| Ok(Value::String(text.to_string()))),
            "integer" => match value.as_int() {
                Ok(int) => Some(within(schema, int as f64, path).map(|()| int.into())),
                Err(_) => {
                    let float = value.as_float().ok()?;
                    let fault = mismatch("int", value, path);
                    let whole = float.fract() == 0.0 && float.abs() < 1e15;
                    Some(Err(if whole {
                        fault.hint(format!("write {float:.0}: a whole float is not an int"))
                    } else {
                        fault
                    }))
                }
            },
            "number" => {
                let float = number(value)?;
                Some(within(schema, float, path).and_then(|()| finite(float, path)))
            }
            "array" => {
                let items = value.read_lock::<Array>()?.clone();
                Some(self.items(schema, &items, path))
            }
            "object" => {
                let map = value.read_lock::<Map>()?.clone();
                Some(self.object(schema, &map, path))
            }
            _ => None,
        }
    }

    fn items(&self, schema: &Value, items: &Array, path: &mut Vec<String>) -> Result<Value, Fault> {
        let length = |key: &str| {
            schema
                .get(key)
                .and_then(Value::as_u64)
                .and_then(|n| usize::try_from(n).ok())
        };
        let (least, most) = (
            length("minItems").unwrap_or(0),
            length("maxItems").unwrap_or(usize::MAX),
        );
        if items.len() < least || items.len() > most {
            let wanted = if least == most {
                format!("{least}")
            } else {
                format!("{least} to {most}")
            };
            let message = format!(
                "option `{}`: expected {wanted} items, got {}",
                dotted(path, None),
                items.len()
            );
            return Err(Fault::new(Kind::Option, message).at(Spot::Value(path.clone())));
        }
        let mut list = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let schema = schema
                .get("prefixItems")
                .and_then(|prefix| prefix.get(i))
                .or_else(|| schema.get("items"))
                .filter(|s| s.is_object());
            let value = match schema {
                Some(schema) => self
                    .value(schema, item, path)
                    .map_err(|fault| in_item(fault, i))?,
                None => plain(item)
                    .ok_or_else(|| mismatch("number, string, array or map", item, path))?,
            };
            list.push(value);
        }
        Ok(Value::Array(list))
    }
}

/// A value without a schema.
fn plain(value: &Dynamic) -> Option<Value> {
    rhai::serde::from_dynamic::<Value>(value).ok()
}

fn unknown(path: &[String], names: &[&str]) -> Fault {
    let key = path.last().map_or("", String::as_str);
    let fault = Fault::new(
        Kind::Option,
        format!("unknown option `{}`", dotted(path, None)),
    )
    .at(Spot::Key(path.to_vec()));
    let fault = match crate::search::key_hint(key, names) {
        Some(hint) => fault.hint(hint),
        None => fault.nearest(key, names.iter().copied()),
    };
    match names.is_empty() {
        true => fault.hint("there are no options here"),
        false => fault.hint(format!("allowed: {}", listed(names.iter().copied()))),
    }
}

fn mismatch(expected: &str, value: &Dynamic, path: &[String]) -> Fault {
    let got = match word(value) {
        kind @ ("int" | "float" | "bool") => format!("{kind} {value}"),
        kind @ "string" => format!("{kind} {:?}", value.to_string()),
        kind => kind.to_string(),
    };
    let message = format!(
        "option `{}`: expected {expected}, got {got}",
        dotted(path, None)
    );
    Fault::new(Kind::Option, message).at(Spot::Value(path.to_vec()))
}

/// `hidden` inside an array: says which item.
fn in_item(mut fault: Fault, index: usize) -> Fault {
    fault.message = format!("item {index} of {}", fault.message);
    fault
}

/// The bounds that a schema sets.
fn within(schema: &Value, number: f64, path: &[String]) -> Result<(), Fault> {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let checks = [
        (
            "minimum",
            ">=",
            bound("minimum").is_none_or(|least| number >= least),
        ),
        (
            "maximum",
            "<=",
            bound("maximum").is_none_or(|most| number <= most),
        ),
        (
            "exclusiveMinimum",
            ">",
            bound("exclusiveMinimum").is_none_or(|least| number > least),
        ),
        (
            "exclusiveMaximum",
            "<",
            bound("exclusiveMaximum").is_none_or(|most| number < most),
        ),
    ];
    match checks.into_iter().find(|(.., holds)| !holds) {
        Some((key, sign, _)) => {
            let limit = bound(key).unwrap_or_default();
            let message = format!(
                "option `{}`: must be {sign} {limit}, got {number}",
                dotted(path, None)
            );
            Err(Fault::new(Kind::Option, message).at(Spot::Value(path.to_vec())))
        }
        None => Ok(()),
    }
}

fn finite(number: f64, path: &[String]) -> Result<Value, Fault> {
    let value = serde_json::Number::from_f64(number).map(Value::Number);
    value.ok_or_else(|| {
        Fault::new(
            Kind::Option,
            format!(
                "option `{}`: must be finite, got {number}",
                dotted(path, None)
            ),
        )
        .at(Spot::Value(path.to_vec()))
    })
}

/// `optimizer.lr`.
fn dotted(path: &[String], last: Option<&str>) -> String {
    let mut names: Vec<&str> = path.iter().map(String::as_str).collect();
    names.extend(last);
    names.join(".")
}

/// Where a missing key would have to stand.
fn spot_of_map(path: &[String]) -> Spot {
    if path.is_empty() {
        Spot::Call
    } else {
        Spot::Key(path.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhai::Engine;

    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Timestep {
        /// Everywhere alike.
        Uniform,
        UShaped,
    }

    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Optimizer {
        lr: f64,
    }

    impl Default for Optimizer {
        fn default() -> Self {
            Self { lr: 1e-3 }
        }
    }

    /// Options for the tests.
    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        /// Sizes of the hidden layers.
        hidden: Vec<usize>,
        dim: usize,
        rate: f32,
        timestep: Timestep,
        #[schemars(range(min = 0.0, max = 1.0))]
        dropout: f64,
        clip: Option<f64>,
        optimizer: Optimizer,
        verbose: bool,
    }

    impl Default for Options {
        fn default() -> Self {
            Self {
                hidden: vec![64],
                dim: 2,
                rate: 0.5,
                timestep: Timestep::Uniform,
                dropout: 0.0,
                clip: None,
                optimizer: Optimizer::default(),
                verbose: false,
            }
        }
    }

    fn parse(code: &str) -> Result<Options, Fault> {
        let mut engine = Engine::new();
        engine.set_max_expr_depths(64, 64);
        read(&engine.eval::<Map>(code).unwrap())
    }

    fn message(code: &str) -> (String, Spot, Vec<String>) {
        let fault = parse(code).unwrap_err();
        assert_eq!(fault.kind, Kind::Option);
        (fault.message, fault.spot, fault.hints)
    }

    fn keys(path: &[&str]) -> Vec<String> {
        path.iter().map(|key| key.to_string()).collect()
    }

    #[test]
    fn reads_what_fits() {
        assert_eq!(parse("#{}").unwrap(), Options::default());
        let options = parse(r#"#{ dim: 3, rate: 1, timestep: "u-shaped", clip: 2, hidden: [8, 9], optimizer: #{ lr: 1 } }"#).unwrap();
        assert_eq!(
            (options.dim, options.rate, options.clip, options.hidden),
            (3, 1.0, Some(2.0), vec![8, 9])
        );
        assert_eq!(
            (options.timestep, options.optimizer.lr),
            (Timestep::UShaped, 1.0)
        );
        assert_eq!(parse("#{ clip: () }").unwrap().clip, None);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_and_all() {
        let (text, spot, hints) = message("#{ hiden: [1] }");
        assert_eq!(text, "unknown option `hiden`");
        assert_eq!(spot, Spot::Key(keys(&["hiden"])));
        assert_eq!(hints[0], "did you mean `hidden`?");
        assert!(
            hints[1].starts_with("allowed: `") && hints[1].contains("`timestep`"),
            "{hints:?}"
        );
    }

    #[test]
    fn a_wrong_value_says_what_was_expected() {
        assert_eq!(
            message(r#"#{ dim: "a" }"#).0,
            "option `dim`: expected int, got string \"a\""
        );
        assert_eq!(
            message("#{ dim: -3 }").0,
            "option `dim`: must be >= 0, got -3"
        );
        let (text, spot, hints) = message("#{ dim: 2.0 }");
        assert_eq!(
            (text.as_str(), spot),
            (
                "option `dim`: expected int, got float 2.0",
                Spot::Value(keys(&["dim"]))
            )
        );
        assert_eq!(hints, ["write 2: a whole float is not an int"]);
        assert_eq!(
            message("#{ dropout: 1.5 }").0,
            "option `dropout`: must be <= 1, got 1.5"
        );
        assert_eq!(
            message("#{ rate: 1.0/0.0 }").0,
            "option `rate`: must be finite, got inf"
        );
        assert_eq!(
            message("#{ verbose: 1 }").0,
            "option `verbose`: expected bool, got int 1"
        );
        assert_eq!(
            message("#{ hidden: [1, `x`] }").0,
            "item 1 of option `hidden`: expected int, got string \"x\""
        );
        assert_eq!(
            message("#{ hidden: 5 }").0,
            "option `hidden`: expected array of int, got int 5"
        );
        assert_eq!(
            message("#{ clip: true }").0,
            "option `clip`: expected float | (), got bool true"
        );
    }

    #[test]
    fn a_wrong_name_of_an_enum_lists_the_allowed() {
        let (text, _, hints) = message(r#"#{ timestep: "u-shapd" }"#);
        assert_eq!(text, "option `timestep`: \"u-shapd\" is not allowed");
        assert_eq!(
            hints,
            [
                "did you mean \"u-shaped\"?",
                "allowed: \"u-shaped\", \"uniform\""
            ]
        );
    }

    #[test]
    fn nested_options_carry_their_path() {
        let (text, spot, hints) = message("#{ optimizer: #{ rl: 1 } }");
        assert_eq!(text, "unknown option `optimizer.rl`");
        assert_eq!(spot, Spot::Key(keys(&["optimizer", "rl"])));
        assert_eq!(hints[0], "did you mean `lr`?");
    }

    #[test]
    fn what_structs_cannot_hold_is_taken_out() {
        let mut map: Map = Engine::new().eval("#{ cost: |x| x, dim: 3 }").unwrap();
        assert!(
            take::<rhai::FnPtr>(&mut map, "cost", "closure")
                .unwrap()
                .is_some()
        );
        assert_eq!(read_besides::<Options>(&map, &["cost"]).unwrap().dim, 3);
        let mut map: Map = Engine::new().eval("#{ cost: 1 }").unwrap();
        let fault = take::<rhai::FnPtr>(&mut map, "cost", "closure").unwrap_err();
        assert_eq!(fault.message, "option `cost`: expected closure, got int");
    }

    #[test]
    fn a_schema_is_described_in_words() {
        let fields = Schema::of::<Options>().fields();
        let of = |name: &str| fields.iter().find(|field| field.name == name).unwrap();
        assert_eq!(of("hidden").kind, "array of int");
        assert_eq!(of("hidden").default.as_deref(), Some("[64]"));
        assert_eq!(of("hidden").text, "Sizes of the hidden layers.");
        assert_eq!(of("timestep").kind, "\"u-shaped\" | \"uniform\"");
        assert_eq!(of("timestep").default.as_deref(), Some("\"uniform\""));
        assert_eq!(of("clip").kind, "float | ()");
        assert_eq!(of("optimizer").default.as_deref(), Some("#{ lr: 0.001 }"));
    }
}
