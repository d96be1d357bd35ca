//! The choice of an optimizer: an entry of the list, made from options as data.

use std::sync::Arc;

use schemars::{Schema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Common, Rule};
use crate::{Error, Result, reference::Reference};

/// One optimizer of the list.
pub struct Kind {
    /// Name in scripts.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Its step, a formula a line.
    pub equation: &'static str,
    /// Where it comes from.
    pub reference: Reference,
    /// Schema of its own options.
    pub schema: fn() -> Schema,
    /// Makes its rule from its own options as data.
    pub build: fn(Value) -> Result<Arc<dyn Rule>>,
}

/// A chosen optimizer: its rule, and what all optimizers have in common.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The rule.
    pub rule: Arc<dyn Rule>,
    /// How its state is kept, its gradients are clipped and its learning rate changes.
    pub common: Common,
}

impl<R: Rule + 'static> From<R> for Choice {
    fn from(rule: R) -> Self {
        let rule: Arc<dyn Rule> = Arc::new(rule);
        rule.into()
    }
}

impl From<Arc<dyn Rule>> for Choice {
    fn from(rule: Arc<dyn Rule>) -> Self {
        Self {
            rule,
            common: Common::default(),
        }
    }
}

impl Kind {
    /// The optimizer of a name.
    pub fn find(name: &str) -> Result<&'static Self> {
        super::ALL
            .iter()
            .find(|kind| kind.name == name)
            .ok_or_else(|| Error::Value {
                what: "optimizer",
                message: format!("`{name}` is none of the known"),
            })
    }

    /// Schema of all options: its own, then the common ones that it does not have itself.
    pub fn schema(&self) -> Value {
        let mut schema = (self.schema)().to_value();
        let common = schema_for!(Common).to_value();
        for part in ["properties", "$defs"] {
            let Some(more) = common.get(part).and_then(Value::as_object) else {
                continue;
            };
            if let Some(root) = schema.as_object_mut() {
                let known = root.entry(part).or_insert_with(|| Map::new().into());
                if let Some(known) = known.as_object_mut() {
                    for (name, schema) in more {
                        known.entry(name).or_insert_with(|| schema.clone());
                    }
                }
            }
        }
        schema
    }

    /// Splits options as data into its own and the common ones.
    pub fn split(&self, options: Value) -> (Value, Value) {
        let (mut own, mut common) = (Map::new(), Map::new());
        let (its, shared) = ((self.schema)().to_value(), schema_for!(Common).to_value());
        let has = |schema: &Value, key: &str| schema["properties"].get(key).is_some();
        for (key, value) in options.as_object().into_iter().flatten() {
            let is_common = has(&shared, key) && !has(&its, key);
            let part = if is_common { &mut common } else { &mut own };
            part.insert(key.clone(), value.clone());
        }
        (own.into(), common.into())
    }

    /// Makes it from all options as data.
    pub fn make(&self, options: Value) -> Result<Choice> {
        let (own, common) = self.split(options);
        let common: Common = parse(common)?;
        common.validate()?;
        let rule = (self.build)(own)?;
        common.codes(rule.states())?;
        Ok(Choice { rule, common })
    }
}

/// Makes a rule from its options as data.
pub(super) fn build<O: DeserializeOwned + Rule + 'static>(options: Value) -> Result<Arc<dyn Rule>> {
    let options: O = parse(options)?;
    options.validate()?;
    Ok(Arc::new(options))
}

fn parse<O: DeserializeOwned>(options: Value) -> Result<O> {
    serde_json::from_value(options).map_err(|error| Error::Value {
        what: "optimizer options",
        message: error.to_string(),
    })
}
