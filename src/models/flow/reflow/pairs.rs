//! Pairs of noise and data, made once.
//!
//! In a folder they lie in pieces, each written whole: work that was interrupted goes on with the first piece that is missing. Noise and classes are functions
//! of the seed and are not kept; data take 4 or 8 bytes a number, or one where they are images in [-1, 1]. Every piece says which flow and
//! which options it belongs to, and is refused by another.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use rhapsode_tensor::{DType, Tensor, memory, no_grad, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Error, Result,
    checkpoint::Checkpoint,
    checks::at_least_one,
    flow::{
        SharedFlow,
        convert::one_sided,
        field::{fits_rows, velocity_at},
        sample::carry,
    },
    observe::{Observer, Step},
    ode::{SaveAt, SolveOptions, Solver},
};

/// Pairs in a piece.
const PIECE: usize = 8192;
/// The kind of a piece on disk.
const KIND: &str = "flow::pairs";

/// Options of pairs of a flow.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PairOptions {
    /// Solver that makes them; a coarse one caps what can be learned (default "rk4").
    pub solver: Solver,
    /// Its equal steps (at least 1; default 25).
    pub steps: usize,
    /// Folder in which the pairs are kept, and found again (default: none, in memory).
    pub cache: Option<PathBuf>,
    /// Whether kept data take one byte a number, as images in [-1, 1] do (default false).
    pub eight_bit: bool,
    /// Seed of the noise (default: the session's next).
    pub seed: Option<u64>,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self {
            solver: Solver::Rk4,
            steps: 25,
            cache: None,
            eight_bit: false,
            seed: None,
        }
    }
}

impl PairOptions {
    /// Refuses impossible values.
    pub fn validate(&self) -> Result<()> {
        at_least_one("steps", self.steps)?;
        eight_bit_is_kept(self.eight_bit, self.cache.is_some())
    }
}

/// Refuses pairs of one byte that are not kept.
pub(super) fn eight_bit_is_kept(eight_bit: bool, cache: bool) -> Result<()> {
    match eight_bit && !cache {
        true => Err(Error::option(
            "eight_bit",
            "has no effect in memory: give a folder as `cache`",
        )),
        false => Ok(()),
    }
}

/// `n` pairs of a flow from Gaussian noise: noise, and the data to which its ODE carries it.
pub fn pairs(
    field: &SharedFlow,
    n: usize,
    options: &PairOptions,
    observer: &mut dyn Observer,
) -> Result<Pairs> {
    options.validate()?;
    at_least_one("n", n)?;
    one_sided(&field.process())?;
    let plan = Plan {
        count: n,
        dim: field.dim(),
        dtype: field.dtype(),
        seed: options.seed.unwrap_or(0),
        solve: SolveOptions {
            from: 0.0,
            to: 1.0,
            solver: options.solver,
            steps: Some(options.steps),
            save_at: SaveAt::END,
            ..Default::default()
        },
        classes: 0,
        guidance: 1.0,
        eight_bit: options.eight_bit,
    };
    fits_rows(field.as_ref(), n)?;
    if field.own_rows().is_some() && options.cache.is_some() {
        let message =
            "keeps pairs of a flow that treats all rows alike, not of one with a class a row";
        return Err(Error::option("cache", message));
    }
    let of = |rows: Range<usize>, _: Option<&[i64]>| {
        let own = field.of_rows(&rows.collect::<Vec<_>>())?;
        Ok(own.unwrap_or_else(|| field.clone()))
    };
    make(&plan, &of, options.cache.as_deref(), observer)
}

/// What pairs are made.
pub struct Plan {
    /// How many.
    pub count: usize,
    /// Number of elements of one.
    pub dim: usize,
    /// What they are in.
    pub dtype: DType,
    /// Seed of noise and classes.
    pub seed: u64,
    /// How the flow is solved.
    pub solve: SolveOptions,
    /// Number of classes; 0: none.
    pub classes: usize,
    /// Guidance towards them.
    pub guidance: f64,
    /// Whether kept data take one byte.
    pub eight_bit: bool,
}

/// The pairs, row by row.
pub struct Pairs {
    /// `[n, d]`.
    pub noise: Tensor,
    /// `[n, d]`.
    pub data: Tensor,
    /// `[n]`.
    pub labels: Option<Tensor>,
}

impl Plan {
    fn noise(&self, piece: usize, n: usize) -> Result<Tensor> {
        Ok(Stream::new(self.seed, "pairs")
            .at(piece as u64)
            .randn(&[n, self.dim], self.dtype)?)
    }

    fn labels(&self, piece: usize, n: usize) -> Option<Vec<i64>> {
        if self.classes == 0 {
            return None;
        }
        let mut labels = vec![0u64; n];
        Stream::new(self.seed, "pair-labels")
            .at(piece as u64)
            .below(self.classes as u64, &mut labels);
        Some(labels.into_iter().map(|label| label as i64).collect())
    }

    /// What a kept piece must say of itself.
    fn mark(&self, field: &SharedFlow, piece: usize, n: usize) -> Result<Value> {
        // The velocities at a few points tell one flow from another, whatever it is made of.
        let probe = Stream::new(0, "probe").randn(&[4, self.dim], self.dtype)?;
        let v = velocity_at(field.as_ref(), &probe, 0.37)?.to_vec()?;
        let seen: Vec<String> = v.iter().map(|v| format!("{v:e}")).collect();
        Ok(json!({
            "flow": seen.join(" "),
            "seed": self.seed.to_string(),
            "solver": self.solve.solver,
            "steps": self.solve.steps,
            "classes": self.classes,
            "guidance": self.guidance,
            "eight_bit": self.eight_bit,
            "piece": piece,
            "rows": n,
        }))
    }
}

/// The flow of some of the rows, towards these classes.
type FieldOf<'a> = dyn Fn(Range<usize>, Option<&[i64]>) -> Result<SharedFlow> + 'a;

/// Makes the pairs, or takes them from the folder where they are; `field(rows, labels)` is the flow of some of the rows, towards these classes.
pub fn make(
    plan: &Plan,
    field: &FieldOf,
    folder: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<Pairs> {
    memory::ensure(
        plan.count.saturating_mul(plan.dim),
        2 * plan.dtype.size_in_bytes(),
    )?;
    let pieces = plan.count.div_ceil(PIECE);
    let plain = match plan.classes {
        0 => field(0..1, None)?,
        _ => field(0..1, Some(&[0]))?,
    };
    let (mut noise, mut data, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for piece in 0..pieces {
        let n = PIECE.min(plan.count - piece * PIECE);
        let z = plan.noise(piece, n)?;
        let classes = plan.labels(piece, n);
        let path = folder.map(|folder| folder.join(format!("pairs-{piece:05}.safetensors")));
        let mark = folder.map(|_| plan.mark(&plain, piece, n)).transpose()?;
        let known = match (&path, &mark) {
            (Some(path), Some(mark)) if path.exists() => Some(read(path, mark, plan, n)?),
            _ => None,
        };
        let x = match known {
            Some(x) => x,
            None => {
                let field = field(piece * PIECE..piece * PIECE + n, classes.as_deref())?;
                // Progress is told by pieces; an interrupt is looked for at every step.
                let mut watch = |_: &Step| observer.step(&progress(piece, pieces));
                let x = no_grad(|| carry(field.as_ref(), &z, &plan.solve, &mut watch))?;
                if !x.is_finite()? {
                    return Err(Error::Value {
                        what: "pairs",
                        message: "are not finite: the flow diverged (train it longer, or take more `pair_steps`)".into(),
                    });
                }
                if let (Some(path), Some(mark)) = (&path, mark) {
                    write(path, mark, &x, plan.eight_bit)?;
                }
                x
            }
        };
        let done = observer.step(&progress(piece + 1, pieces));
        if done.is_break() && piece + 1 < pieces {
            return Err(Error::Interrupted);
        }
        noise.push(z);
        data.push(x);
        labels.extend(classes.unwrap_or_default());
    }
    let all = |parts: &[Tensor]| Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0);
    Ok(Pairs {
        noise: all(&noise)?,
        data: all(&data)?,
        labels: match plan.classes {
            0 => None,
            _ => Some(Tensor::from_vec(labels, &[plan.count])?),
        },
    })
}

fn progress(done: usize, pieces: usize) -> Step<'static> {
    Step {
        label: "make pairs",
        step: done as u64,
        total: Some(pieces as u64),
        metrics: &[],
    }
}

/// One byte a number of [-1, 1].
fn to_bytes(x: &Tensor) -> Result<Tensor> {
    let byte = |v: f64| ((v.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
    let bytes: Vec<u8> = x.to_vec()?.into_iter().map(byte).collect();
    Ok(Tensor::from_vec(bytes, x.dims())?)
}

fn write(path: &Path, mark: Value, x: &Tensor, eight_bit: bool) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::Io {
            path: folder.to_path_buf(),
            message: e.to_string(),
        })?;
    }
    let data = if eight_bit { to_bytes(x)? } else { x.detach() };
    let piece = Checkpoint {
        kind: KIND.into(),
        options: mark,
        tensors: vec![("data".into(), data)],
    };
    piece.save(path)
}

fn read(path: &Path, mark: &Value, plan: &Plan, n: usize) -> Result<Tensor> {
    let bad = |message: String| Error::Io {
        path: path.to_path_buf(),
        message,
    };
    let piece = Checkpoint::load(path)?;
    if piece.kind != KIND {
        return Err(bad(
            "is no piece of kept pairs: choose another folder as `cache`".into(),
        ));
    }
    if piece.options != *mark {
        let keys = mark.as_object().into_iter().flatten().map(|(key, _)| key);
        let differs: Vec<&str> = keys
            .filter(|key| piece.options[*key] != mark[*key])
            .map(String::as_str)
            .collect();
        return Err(bad(format!(
            "holds pairs of another {}: delete it, or choose another folder as `cache`",
            differs.join(", ")
        )));
    }
    let data = piece.tensors.first().map(|(_, data)| data);
    let data = data.filter(|data| data.dims() == [n, plan.dim]);
    let data =
        data.ok_or_else(|| bad(format!("is not whole: expected data [{n}, {}]", plan.dim)))?;
    match data.dtype() {
        DType::U8 => Ok(data.to_dtype(plan.dtype)?.affine(1.0 / 127.5, -1.0)?),
        _ => Ok(data.to_dtype(plan.dtype)?),
    }
}
