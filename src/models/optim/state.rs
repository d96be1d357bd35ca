//! An optimizer on disk: its parameters, states, numbers and count of steps; what is read back goes on bit for bit.
//!
//! A float that is read from JSON may differ by an ulp from the one that was written. So the bits of all floats of the
//! configuration stand beside them, in the order of reading, and take their place.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Kind, Optimizer, Rule, Schedule, ema::assign, working::States};
use crate::{Error, Result, checkpoint::Checkpoint};

/// The kind of its checkpoints.
pub const KIND: &str = "optimizer";

/// What stands in the configuration of a checkpoint.
#[derive(Serialize, Deserialize)]
struct Saved {
    optimizer: String,
    groups: Vec<SavedGroup>,
    steps: u64,
    clip: Option<f64>,
    schedule: Option<Schedule>,
}

#[derive(Serialize, Deserialize)]
struct SavedGroup {
    options: Value,
    lr: f64,
    count: usize,
}

fn bad(message: String) -> Error {
    Error::Value {
        what: "checkpoint",
        message,
    }
}

impl Optimizer {
    /// As a checkpoint: the tensors it changes as `parameter.0` .., their states as `state.0.m` ..
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let group = |group: &super::Group| SavedGroup {
            options: group.rule.options(),
            lr: group.lr(),
            count: group.count(),
        };
        let saved = Saved {
            optimizer: self.name().into(),
            groups: self.groups().iter().map(group).collect(),
            steps: self.steps(),
            clip: self.clip(),
            schedule: self.schedule().cloned(),
        };
        // Copies: what is kept in memory must not follow the next steps.
        let named = |(i, t): (usize, &Tensor)| Ok((format!("parameter.{i}"), t.copy()?));
        let mut tensors: Vec<(String, Tensor)> = self
            .targets()
            .enumerate()
            .map(named)
            .collect::<Result<_>>()?;
        for (i, (target, names)) in self.targets().zip(self.names()).enumerate() {
            for (k, name) in names.iter().enumerate() {
                let state = match self.states() {
                    States::F32(states) => Tensor::from_vec(states[i][k].clone(), target.dims())?,
                    States::F64(states) => Tensor::from_vec(states[i][k].clone(), target.dims())?,
                };
                tensors.push((format!("state.{i}.{name}"), state));
            }
        }
        Ok(Checkpoint {
            kind: KIND.into(),
            options: with_bits(serde_json::to_value(saved).map_err(|e| bad(e.to_string()))?),
            tensors,
        })
    }

    /// From a checkpoint, with parameters of its own ([`Optimizer::targets`]).
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let saved = read(checkpoint)?;
        let kind = Kind::find(&saved.optimizer)?;
        let mut tensors = checkpoint
            .tensors
            .iter()
            .filter(|(name, _)| name.starts_with("parameter."));
        let mut groups: Vec<(Arc<dyn Rule>, Vec<Tensor>)> = Vec::new();
        for group in &saved.groups {
            let targets = tensors
                .by_ref()
                .take(group.count)
                .map(|(_, t)| Ok(t.copy()?.param()?))
                .collect::<Result<Vec<_>>>()?;
            groups.push(((kind.build)(group.options.clone())?, targets));
        }
        let mut optimizer = Self::grouped(groups, saved.clip, saved.schedule.clone())?;
        optimizer.take(checkpoint, &saved)?;
        Ok(optimizer)
    }

    /// Takes parameters, states and numbers of a checkpoint over; it must be of the same optimizer on the same
    /// shapes, else nothing is changed.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let saved = read(checkpoint)?;
        if saved.optimizer != self.name() {
            let (got, expected) = (&saved.optimizer, self.name());
            return Err(bad(format!(
                "is of the optimizer {got}, expected {expected}"
            )));
        }
        let counts = |n: usize| format!("{n} groups");
        if saved.groups.len() != self.groups().len() {
            let (got, expected) = (counts(saved.groups.len()), counts(self.groups().len()));
            return Err(bad(format!("has {got}, expected {expected}")));
        }
        self.take(checkpoint, &saved)
    }

    fn names(&self) -> impl Iterator<Item = &'static [&'static str]> {
        let names = |group: &super::Group| std::iter::repeat_n(group.rule.states(), group.count());
        self.groups().iter().flat_map(names)
    }

    /// Everything is looked up and checked first, then written.
    fn take(&mut self, checkpoint: &Checkpoint, saved: &Saved) -> Result<()> {
        let find = |name: String, like: &Tensor| {
            let found = checkpoint.tensors.iter().find(|(n, _)| *n == name);
            let Some((_, tensor)) = found else {
                return Err(bad(format!("tensor `{name}` is missing")));
            };
            if tensor.dims() != like.dims() || tensor.dtype() != like.dtype() {
                let message = format!(
                    "tensor `{name}` is {:?} {}, expected {:?} {}",
                    tensor.dims(),
                    tensor.dtype().as_str(),
                    like.dims(),
                    like.dtype().as_str()
                );
                return Err(bad(message));
            }
            Ok(tensor.clone())
        };
        let mut found = Vec::new();
        for (i, (target, names)) in self.targets().zip(self.names()).enumerate() {
            let states = names
                .iter()
                .map(|name| find(format!("state.{i}.{name}"), target))
                .collect::<Result<Vec<_>>>()?;
            found.push((find(format!("parameter.{i}"), target)?, states));
        }
        let targets: Vec<Tensor> = self.targets().cloned().collect();
        for (i, (target, (values, states))) in targets.iter().zip(found).enumerate() {
            assign(target, &values)?;
            for (k, state) in states.iter().enumerate() {
                match self.states_mut() {
                    States::F32(all) => copy(state, &mut all[i][k])?,
                    States::F64(all) => copy(state, &mut all[i][k])?,
                }
            }
        }
        for (i, group) in saved.groups.iter().enumerate() {
            self.set_lr(group.lr, Some(i))?;
        }
        self.set_clip(saved.clip)?;
        if let Some(schedule) = &saved.schedule {
            self.set_schedule(schedule.clone())?;
        }
        self.set_steps(saved.steps);
        Ok(())
    }
}

fn copy<T: rhapsode_tensor::Real>(from: &Tensor, to: &mut [T]) -> Result<()> {
    Ok(from.with_slice::<T, _>("optimizer", |from| to.copy_from_slice(from))?)
}

fn read(checkpoint: &Checkpoint) -> Result<Saved> {
    if checkpoint.kind != KIND {
        return Err(bad(format!(
            "holds a `{}`, expected an optimizer",
            checkpoint.kind
        )));
    }
    let floats = |(_, t): &(String, Tensor)| matches!(t.dtype(), DType::F32 | DType::F64);
    if !checkpoint.tensors.iter().all(floats) {
        return Err(bad("holds tensors that are neither f32 nor f64".into()));
    }
    serde_json::from_value(from_bits(checkpoint.options.clone()))
        .map_err(|e| bad(format!("its options do not fit: {e}")))
}

/// The key of the bits.
const BITS: &str = "bits";

fn with_bits(mut options: Value) -> Value {
    let mut bits = Vec::new();
    floats(&mut options, &mut |x| bits.push(x.to_bits()));
    if let Some(map) = options.as_object_mut() {
        map.insert(BITS.into(), bits.into());
    }
    options
}

fn from_bits(mut options: Value) -> Value {
    let bits = options.as_object_mut().and_then(|map| map.remove(BITS));
    let mut bits = (bits.iter().filter_map(Value::as_array).flatten()).map(Value::as_u64);
    floats(&mut options, &mut |x| {
        if let Some(Some(exact)) = bits.next() {
            *x = f64::from_bits(exact);
        }
    });
    options
}

/// Calls a function on every float.
fn floats(value: &mut Value, f: &mut impl FnMut(&mut f64)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| floats(item, f)),
        Value::Object(map) => map.values_mut().for_each(|item| floats(item, f)),
        Value::Number(number) if number.is_f64() => {
            if let Some(mut x) = number.as_f64() {
                f(&mut x);
                *value = x.into();
            }
        }
        _ => {}
    }
}
