//! What all methods of this family share: anything that has a velocity can be sampled, steered, searched, scored and
//! reflowed, be it a network of ours, a model from a file, or a function of a program.

use std::sync::Arc;

use rhapsode_tensor::{DType, Tensor};

use super::{convert, path::Process};
use crate::{Error, Result};

/// A velocity that carries noise at `t = 0` to data at `t = 1`.
///
/// Rows of a batch must not influence each other.
pub trait VelocityField: Send + Sync {
    /// The velocity at `x: [n, ..]` and times `t: [n]`, of the shape of `x`; differentiable in `x`.
    fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor>;
    /// Number of elements of one sample.
    fn dim(&self) -> usize;
    /// What it computes in.
    fn dtype(&self) -> DType;
    /// How its `x_t` come from noise and data.
    fn process(&self) -> Process;
    /// Rows that go through it at once when many are carried along.
    fn rows_at_once(&self) -> usize;
    /// How many rows it is for, where it treats each in its own way (a class a row); none where all are alike.
    fn own_rows(&self) -> Option<usize> {
        None
    }
    /// The field whose row `i` is row `rows[i]` of this one; none where all rows are alike, and this field serves any.
    fn of_rows(&self, _rows: &[usize]) -> Result<Option<SharedFlow>> {
        Ok(None)
    }
}

/// A field that several hold.
pub type SharedFlow = Arc<dyn VelocityField>;

/// A velocity as a function of points `[n, ..]` and times `[n]`.
pub type VelocityFn = Arc<dyn Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync>;

/// A field given by a function.
#[derive(Clone)]
pub struct FunctionField {
    /// The function; what it gives is held against the shape of the points.
    pub function: VelocityFn,
    /// Number of elements of one sample.
    pub dim: usize,
    /// What it computes in.
    pub dtype: DType,
    /// How its `x_t` come from noise and data.
    pub process: Process,
}

impl VelocityField for FunctionField {
    fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let v = (self.function)(x, t)?;
        if v.dims() == x.dims() {
            return Ok(v);
        }
        Err(Error::Shape {
            what: "velocity",
            expected: format!("the shape of x, {:?}", x.dims()),
            got: v.dims().to_vec(),
        })
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn process(&self) -> Process {
        self.process.clone()
    }

    fn rows_at_once(&self) -> usize {
        usize::MAX
    }
}

/// Refuses a batch of `n` rows for a field that treats each row in its own way and has another number of them.
pub fn fits_rows(field: &dyn VelocityField, n: usize) -> Result<()> {
    match field.own_rows() {
        Some(own) if own != n => Err(Error::Value {
            what: "labels",
            message: format!("this flow has {own} labels, one a row, and was asked for {n} rows"),
        }),
        _ => Ok(()),
    }
}

/// The velocity of a whole batch at one time.
pub fn velocity_at(field: &dyn VelocityField, x: &Tensor, t: f64) -> Result<Tensor> {
    let n = x.dims().first().copied().unwrap_or(0);
    field.velocity(x, &Tensor::full(t, &[n], x.dtype())?)
}

/// The score `grad log rho(t, x)` of a flow from Gaussian noise; times `t: [n]` below 1.
pub fn score(field: &dyn VelocityField, x: &Tensor, t: &Tensor) -> Result<Tensor> {
    let process = field.process();
    convert::one_sided(&process)?;
    if let Some(end) = t.to_vec()?.into_iter().find(|t| *t >= 1.0) {
        return Err(Error::Value {
            what: "score",
            message: format!("is infinite at the end of the flow: t must be below 1, got {end}"),
        });
    }
    let known = convert::Fields {
        velocity: Some(field.velocity(x, t)?),
        ..Default::default()
    };
    convert::Converter::new(&process, x, t, &known)?.score()
}

/// Refuses points that are no samples of this flow: `[n, ..]` with `dim` elements a row, all finite. Gives `n`.
pub fn check_points(field: &dyn VelocityField, what: &'static str, x: &Tensor) -> Result<usize> {
    let dim = field.dim();
    let fits = x.rank() >= 2 && x.dims().iter().skip(1).product::<usize>() == dim;
    let n = match x.dims().first() {
        Some(&n) if fits => n,
        _ => {
            return Err(Error::Shape {
                what,
                expected: format!("[n, {dim}]"),
                got: x.dims().to_vec(),
            });
        }
    };
    match x.is_finite()? {
        true => Ok(n),
        false => Err(Error::Value {
            what,
            message: "holds NaN or infinity".into(),
        }),
    }
}
