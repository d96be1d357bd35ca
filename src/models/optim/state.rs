//! An optimizer on disk: its parameters, states, numbers and count of steps; what is read back goes on bit for bit.
//!
//! A state in 8 bits is a tensor of codes (u8) and one of the blocks' largest values (f32). What was kept in another width,
//! block size or code is converted when it is read.
//!
//! A float that is read from JSON may differ by an ulp from the one that was written. So the bits of all floats of the
//! configuration stand beside them, in the order of reading, and take their place.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor, params::assign, tape::Label};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Common, Kind, Optimizer, Rule, Schedule, StateKind,
    clip::Norms,
    kept::{Kept, Wanted, bad, look_up, write},
};
use crate::{Result, checkpoint::Checkpoint};

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
    /// Absent in files from before there were 8 bits.
    #[serde(default)]
    common: Common,
    /// The last norms of the gradient.
    #[serde(default)]
    norms: Vec<f64>,
    /// Names of the parameters.
    #[serde(default)]
    labels: Vec<SavedLabel>,
}

#[derive(Serialize, Deserialize)]
struct SavedLabel {
    name: String,
    kind: String,
    keep_32bit: bool,
}

#[derive(Serialize, Deserialize)]
struct SavedGroup {
    options: Value,
    lr: f64,
    count: usize,
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
            common: self.common().clone(),
            norms: self.norms().last().to_vec(),
            labels: self.targets().map(saved_label).collect(),
        };
        // Copies: what is kept in memory must not follow the next steps.
        let named = |(i, t): (usize, &Tensor)| Ok((format!("parameter.{i}"), t.copy()?));
        let mut tensors: Vec<(String, Tensor)> = self
            .targets()
            .enumerate()
            .map(named)
            .collect::<Result<_>>()?;
        for (i, (target, kinds)) in self.tensors().iter().zip(self.kinds()).enumerate() {
            let single = target.parts.len() == 1;
            for (j, part) in target.parts.iter().enumerate() {
                let count = [part.range.len()];
                let dims = if single { target.tensor.dims() } else { &count };
                for (k, kind) in kinds.iter().enumerate() {
                    let key = key(i, (!single).then_some(j), kind.name);
                    write(&part.state, k, key, dims, &mut tensors)?;
                }
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
        let mut labels = saved.labels.iter();
        let mut groups: Vec<(Arc<dyn Rule>, Vec<Tensor>)> = Vec::new();
        for group in &saved.groups {
            let targets = tensors
                .by_ref()
                .take(group.count)
                .map(|(_, t)| {
                    let label = labels.next().map(label).unwrap_or_default();
                    Ok(t.copy()?.named_param(label)?)
                })
                .collect::<Result<Vec<_>>>()?;
            groups.push(((kind.build)(group.options.clone())?, targets));
        }
        let mut optimizer = Self::grouped(groups, saved.common.clone())?;
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

    fn kinds(&self) -> impl Iterator<Item = &'static [StateKind]> {
        let kinds = |group: &super::Group| std::iter::repeat_n(group.rule.states(), group.count());
        self.groups().iter().flat_map(kinds)
    }

    /// Everything is looked up and checked first, then written.
    fn take(&mut self, checkpoint: &Checkpoint, saved: &Saved) -> Result<()> {
        let mut found = Vec::new();
        for (i, (target, kinds)) in self.tensors().iter().zip(self.kinds()).enumerate() {
            let single = target.parts.len() == 1;
            let writings = saved.common.writings(kinds, "")?;
            let mut states = Vec::new();
            for (j, part) in target.parts.iter().enumerate() {
                let count = [part.range.len()];
                let dims = if single { target.tensor.dims() } else { &count };
                let mut of_part = Vec::new();
                for (k, kind) in kinds.iter().enumerate() {
                    let key = key(i, (!single).then_some(j), kind.name);
                    let writing = writings.get(k);
                    let (key, dtype) = (key.as_str(), target.tensor.dtype());
                    let wanted = Wanted { key, dims, dtype };
                    of_part.push(Kept::find(checkpoint, wanted, writing)?);
                }
                states.push(of_part);
            }
            let name = format!("parameter.{i}");
            let values = look_up(
                checkpoint,
                &name,
                target.tensor.dims(),
                target.tensor.dtype(),
            )?;
            found.push((values.clone(), states));
        }
        for (target, (values, states)) in self.tensors_mut().iter_mut().zip(found) {
            assign(&target.tensor, &values)?;
            for (part, states) in target.parts.iter_mut().zip(states) {
                for (k, kept) in states.into_iter().enumerate() {
                    kept.write(part, k)?;
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
        self.set_norms(Norms::of(saved.norms.clone()));
        self.set_steps(saved.steps);
        Ok(())
    }
}

/// `state.0.m`, or `state.0.3.m` of a target with several parts.
fn key(target: usize, part: Option<usize>, state: &str) -> String {
    match part {
        None => format!("state.{target}.{state}"),
        Some(part) => format!("state.{target}.{part}.{state}"),
    }
}

fn saved_label(tensor: &Tensor) -> SavedLabel {
    let Label {
        name,
        kind,
        keep_32bit,
    } = tensor.label().cloned().unwrap_or_default();
    SavedLabel {
        name,
        kind,
        keep_32bit,
    }
}

fn label(saved: &SavedLabel) -> Label {
    Label {
        name: saved.name.clone(),
        kind: saved.kind.clone(),
        keep_32bit: saved.keep_32bit,
    }
}

fn read(checkpoint: &Checkpoint) -> Result<Saved> {
    if checkpoint.kind != KIND {
        return Err(bad(format!(
            "holds a `{}`, expected an optimizer",
            checkpoint.kind
        )));
    }
    let known = |(name, t): &(String, Tensor)| match t.dtype() {
        DType::U8 => name.ends_with(".codes"),
        dtype => matches!(dtype, DType::F32 | DType::F64),
    };
    if !checkpoint.tensors.iter().all(known) {
        return Err(bad("holds tensors that are neither f32 nor f64".into()));
    }
    let mut saved: Saved = serde_json::from_value(from_bits(checkpoint.options.clone()))
        .map_err(|e| bad(format!("its options do not fit: {e}")))?;
    (saved.common.clip, saved.common.schedule) = (saved.clip, saved.schedule.clone());
    saved.common.validate()?;
    Ok(saved)
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
