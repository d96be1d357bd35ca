//! Pairs of noise and data, made once.
//!
//! In a folder they lie in pieces, each written whole: work that was interrupted goes on with the first piece that is missing. Noise and classes are functions
//! of the seed and are not kept; data take 4 or 8 bytes a number, or one where they are images in [-1, 1]. Every piece says which flow and
//! which options it belongs to, and is refused by another.

use std::path::Path;

use rhapsode_tensor::{DType, Tensor, memory, random::Stream};
use serde_json::{Value, json};

use crate::{
    Error, Result,
    checkpoint::Checkpoint,
    flow::{SharedFlow, field::velocity_at, sample::carry},
    observe::{Observer, Step},
    ode::SolveOptions,
};

/// Pairs in a piece.
const PIECE: usize = 8192;
/// The kind of a piece on disk.
const KIND: &str = "flow::pairs";

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

/// Makes the pairs, or takes them from the folder where they are; `field(labels)` is the flow towards these classes.
pub fn make(
    plan: &Plan,
    field: &dyn Fn(Option<&[i64]>) -> Result<SharedFlow>,
    folder: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<Pairs> {
    memory::ensure(
        plan.count.saturating_mul(plan.dim),
        2 * plan.dtype.size_in_bytes(),
    )?;
    let pieces = plan.count.div_ceil(PIECE);
    let plain = match plan.classes {
        0 => field(None)?,
        _ => field(Some(&[0]))?,
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
                let field = field(classes.as_deref())?;
                // Progress is told by pieces; an interrupt is looked for at every step.
                let mut watch = |_: &Step| observer.step(&progress(piece, pieces));
                let x = carry(field.as_ref(), &z, &plan.solve, &mut watch)?;
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
