//! A tensor that is changed, and the states of its parts: in full precision or in 8 bits.
//!
//! A model's flat buffer is one target. Where a rule or the width of the state tells parameter tensors apart, its
//! parts are the parameters; else it is one part, and a step one pass.

use std::ops::Range;

use rhapsode_tensor::{
    Real, Tensor, memory,
    ops::{quantize::Blocks, update::States},
    params,
    params::Params,
    tape::Label,
};

use super::{Common, Rule, RuleOn, StateKind, StepInput};
use crate::{Error, Result};

/// A tensor that is changed.
pub(super) struct Target {
    pub tensor: Tensor,
    pub parts: Vec<Part>,
}

/// A range of a target's elements with its states.
pub(super) struct Part {
    pub label: Label,
    pub range: Range<usize>,
    pub state: State,
}

/// The states of a part, in the order of the rule.
pub(super) enum State {
    F32(Vec<Vec<f32>>),
    F64(Vec<Vec<f64>>),
    Eight(Vec<Blocks>),
}

/// An element type in which full states are kept.
pub(super) trait Full: Real {
    fn states(state: &mut State) -> States<'_, Self>;
}

impl Full for f32 {
    fn states(state: &mut State) -> States<'_, Self> {
        match state {
            State::F32(states) => States::Full(states),
            State::Eight(blocks) => States::Blocks(blocks),
            // A target has states of its own dtype or blocks: this is never reached.
            State::F64(_) => States::Full(&mut []),
        }
    }
}

impl Full for f64 {
    fn states(state: &mut State) -> States<'_, Self> {
        match state {
            State::F64(states) => States::Full(states),
            State::Eight(blocks) => States::Blocks(blocks),
            // As above.
            State::F32(_) => States::Full(&mut []),
        }
    }
}

impl State {
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            State::F32(states) => states.iter().map(|s| 4 * s.len()).sum(),
            State::F64(states) => states.iter().map(|s| 8 * s.len()).sum(),
            State::Eight(blocks) => blocks.iter().map(Blocks::bytes).sum(),
        }
    }

    /// Zeros for so many elements of a part; `place` names it for draws.
    fn zeros<T: Real>(
        count: usize,
        label: &Label,
        states: &[StateKind],
        common: &Common,
        place: &str,
    ) -> Result<Self> {
        let eight = common.bits == 8
            && count >= common.min_8bit_size
            && !label.keep_32bit
            && !common.keep_32bit.iter().any(|name| names(name, label));
        if eight {
            memory::ensure(count.saturating_mul(states.len()), 1)?;
            let writings = common.writings(states, place)?.into_iter();
            return Ok(State::Eight(
                writings.map(|w| Blocks::zeros(count, w)).collect(),
            ));
        }
        memory::ensure(count.saturating_mul(states.len()), size_of::<T>())?;
        Ok(match size_of::<T>() {
            8 => State::F64(states.iter().map(|_| zeros(count)).collect()),
            _ => State::F32(states.iter().map(|_| zeros(count)).collect()),
        })
    }
}

/// Whether a name is a run of whole dotted parts of a parameter's name, or the kind of its layer.
fn names(name: &str, label: &Label) -> bool {
    let (all, wanted): (Vec<&str>, Vec<&str>) =
        (label.name.split('.').collect(), name.split('.').collect());
    all.windows(wanted.len()).any(|run| run == wanted) || (name == label.kind && !name.is_empty())
}

impl Target {
    /// A tensor as one part, or a flat buffer as its parameters. `index`: its place among all targets.
    pub(super) fn new(
        tensor: Tensor,
        params: Option<&Params>,
        rule: &dyn Rule,
        common: &Common,
        index: usize,
    ) -> Result<Self> {
        let apart = common.bits == 8 || rule.max_unorm().unwrap_or(common.max_unorm) > 0.0;
        let ranges: Vec<(Label, Range<usize>)> = match params {
            Some(params) if apart => {
                let parts = params.slots().iter().zip(params.tensors());
                let part = |(slot, leaf): (&params::Slot, &Tensor)| {
                    let label = leaf.label().cloned().unwrap_or_default();
                    let name = slot.name.clone();
                    (Label { name, ..label }, slot.start..slot.start + leaf.len())
                };
                parts.map(part).collect()
            }
            _ => {
                let mut label = tensor.label().cloned().unwrap_or_default();
                if label.name.is_empty() {
                    label.name = index.to_string();
                }
                vec![(label, 0..tensor.len())]
            }
        };
        let part = |(k, (label, range)): (usize, (Label, Range<usize>))| {
            let (states, place) = (rule.states(), format!("{index}.{k}"));
            let state = match tensor.dtype() {
                rhapsode_tensor::DType::F64 => {
                    State::zeros::<f64>(range.len(), &label, states, common, &place)?
                }
                _ => State::zeros::<f32>(range.len(), &label, states, common, &place)?,
            };
            Ok(Part {
                label,
                range,
                state,
            })
        };
        let parts = ranges
            .into_iter()
            .enumerate()
            .map(part)
            .collect::<Result<_>>()?;
        Ok(Self { tensor, parts })
    }

    /// One step of a rule on all parts.
    pub(super) fn step<T: Full>(
        &mut self,
        rule: &(impl RuleOn<T> + ?Sized),
        grad: &Tensor,
        average: Option<(&Tensor, f64)>,
        numbers: Numbers,
    ) -> Result<()> {
        let Self { tensor, parts } = self;
        let mut all = |p: &mut [T], g: &[T], mut average: Option<(&mut [T], f64)>| {
            for Part { range, state, .. } in parts.iter_mut() {
                let average = average.as_mut();
                rule.step(StepInput {
                    p: &mut p[range.clone()],
                    g: &g[range.clone()],
                    states: T::states(state),
                    average: average.map(|(e, decay)| (&mut e[range.clone()], *decay)),
                    lr: numbers.lr,
                    scale: numbers.scale,
                    max_unorm: numbers.max_unorm,
                    skip_zeros: numbers.skip_zeros,
                    step: numbers.step,
                });
            }
        };
        let mut inner = Ok(());
        params::update_by::<T>(tensor, grad, |p, g| match average {
            None => all(p, g, None),
            Some((average, decay)) => {
                inner = params::update_tensor::<T>(average, |e| all(p, g, Some((e, decay))));
            }
        })?;
        Ok(inner?)
    }
}

/// The numbers of a step.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub lr: f64,
    pub scale: f64,
    pub max_unorm: f64,
    pub skip_zeros: bool,
    pub step: u64,
}

/// Refuses names of parameters to keep in 32 bits that name none.
pub(super) fn check_names(common: &Common, targets: &[Target]) -> Result<()> {
    if common.bits != 8 {
        return Ok(());
    }
    let labels = || {
        targets
            .iter()
            .flat_map(|t| &t.parts)
            .map(|part| &part.label)
    };
    let unknown = |name: &&String| !labels().any(|label| names(name, label));
    let Some(name) = common.keep_32bit.iter().find(unknown) else {
        return Ok(());
    };
    let mut known: Vec<&str> = labels().map(|label| label.name.as_str()).collect();
    let more = known.len().saturating_sub(8);
    known.truncate(8);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let known = known.join(", ");
    let message = format!("names no parameter: there is no `{name}` among {known}{more}");
    Err(Error::option("keep_32bit", message))
}

/// A state of `count` zeros, on large pages where that helps.
fn zeros<T: Default + Copy>(count: usize) -> Vec<T> {
    let state = vec![T::default(); count];
    memory::large_pages(&state);
    state
}
