//! The choice of an optimizer: an entry of the list, made from options as data.

use std::sync::Arc;

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Rule, Schedule, checks::positive};
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

/// Options that every optimizer takes besides its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// Bits of an element of the state (32, the default; 8 is not there yet).
    pub bits: u32,
    /// Largest Euclidean norm of all gradients together; larger ones are scaled down to it (> 0; default: any).
    pub clip: Option<f64>,
    /// How the learning rate changes over the steps (default: not at all; in `fit` as its own option `schedule` says).
    pub schedule: Option<Schedule>,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            bits: 32,
            clip: None,
            schedule: None,
        }
    }
}

impl Common {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        match self.bits {
            32 => {}
            8 => {
                let message =
                    "8 is not there yet: it comes with the 8-bit block-wise optimizers; use 32";
                return Err(Error::option("bits", message));
            }
            other => {
                let message = format!("must be 32 (8 is to come), got {other}");
                return Err(Error::option("bits", message));
            }
        }
        self.clip.map_or(Ok(()), |clip| positive("clip", clip))?;
        self.schedule
            .as_ref()
            .map_or(Ok(()), |schedule| schedule.validate("schedule"))
    }
}

/// A chosen optimizer: its rule, and how its gradients are clipped and its learning rate changes.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The rule.
    pub rule: Arc<dyn Rule>,
    /// Largest norm of the gradient. `None`: any.
    pub clip: Option<f64>,
    /// Schedule of the learning rate. `None`: constant, in a training what the training says.
    pub schedule: Option<Schedule>,
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
            clip: None,
            schedule: None,
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

    /// Schema of all options: its own, then the common ones.
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
                    known.extend(more.clone());
                }
            }
        }
        schema
    }

    /// Makes it from all options as data.
    pub fn make(&self, mut options: Value) -> Result<Choice> {
        let mut common = Map::new();
        if let Some(map) = options.as_object_mut() {
            for key in ["bits", "clip", "schedule"] {
                common.extend(map.remove(key).map(|value| (key.to_string(), value)));
            }
        }
        let common: Common = parse(common.into())?;
        common.validate()?;
        Ok(Choice {
            rule: (self.build)(options)?,
            clip: common.clip,
            schedule: common.schedule,
        })
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
