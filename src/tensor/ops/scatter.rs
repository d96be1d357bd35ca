//! Writing values at places: assignment by index, scatter, lookup in a table of rows.

use crate::{Error, Result, Tensor, memory, tape::record, with_real};

impl Tensor {
    /// A copy in which the elements at flat `places` (i64, row-major) are `values`, one for each; of several
    /// writes to one place the last counts, and it alone takes the gradient.
    pub fn put(&self, places: &Tensor, values: &Tensor) -> Result<Tensor> {
        if places.dims() != values.dims() {
            let detail = format!("{:?} places for {:?} values", places.dims(), values.dims());
            return Err(Error::Shape {
                op: "assign",
                detail,
            });
        }
        let at = places.to_ints("assign")?;
        if let Some(&index) = at.iter().find(|p| !(0..self.len() as i64).contains(p)) {
            return Err(Error::Index {
                op: "assign",
                index,
                size: self.len(),
            });
        }
        let values = values.to_dtype(self.dtype())?;
        let data = if self.dtype().is_float() {
            with_real!("assign", self.dtype(), T => {
                let mut out = self.with_slice::<T, _>("assign", |x| memory::ensure(x.len(), size_of::<T>()).map(|()| x.to_vec()))??;
                values.with_slice::<T, _>("assign", |v| at.iter().zip(v).for_each(|(&at, v)| out[at as usize] = *v))?;
                Ok(Tensor::from_vec(out, self.dims())?.data)
            })?
        } else {
            let (mut out, new) = (self.to_ints("assign")?, values.to_ints("assign")?);
            at.iter().zip(new).for_each(|(&at, v)| out[at as usize] = v);
            let made = Tensor::from_vec(out, self.dims())?;
            return made.to_dtype(self.dtype());
        };
        let shape = values.dims().to_vec();
        record("assign", data, &[self, &values], move |ctx, g| {
            let places = Tensor::from_vec(at.clone(), &[at.len()])?;
            let left = || g.put(&places, &Tensor::zeros(&[at.len()], g.dtype())?);
            let right = || {
                let taken = g.reshape(&[g.len()])?.index_select(0, &places)?;
                taken.masked_fill(&overwritten(&at)?, 0.0)?.reshape(&shape)
            };
            Ok(vec![
                ctx.needs(0).then(left).transpose()?,
                ctx.needs(1).then(right).transpose()?,
            ])
        })
    }

    /// A copy with `y[index[i, j], j] = src[i, j]` (for axis 0; likewise for others): `index` and `src` of one
    /// shape, which differs from that of `self` along the axis only.
    pub fn scatter(&self, axis: i64, index: &Tensor, src: &Tensor) -> Result<Tensor> {
        if index.dims() != src.dims() {
            let detail = format!(
                "index of shape {:?} and source of shape {:?} differ",
                index.dims(),
                src.dims()
            );
            return Err(Error::Shape {
                op: "scatter",
                detail,
            });
        }
        let flat = Tensor::from_vec((0..self.len() as i64).collect(), self.dims())?;
        self.put(&flat.gather(axis, index)?, src)
    }

    /// `self` with `src` added at `index` along an axis; shapes as in [`Tensor::scatter`], writes to one place add up.
    pub fn scatter_add(&self, axis: i64, index: &Tensor, src: &Tensor) -> Result<Tensor> {
        let axis = self.axis("scatter_add", axis)?;
        let fits = index.dims() == src.dims()
            && index.rank() == self.rank()
            && (0..self.rank()).all(|a| a == axis || index.dims()[a] == self.dims()[a]);
        if !fits {
            let detail = format!(
                "index of shape {:?} and source of shape {:?} do not fit {:?} along axis {axis}",
                index.dims(),
                src.dims(),
                self.dims()
            );
            return Err(Error::Shape {
                op: "scatter_add",
                detail,
            });
        }
        let index = super::index::checked("scatter_add", index, self.dims()[axis])?;
        let added = src
            .to_dtype(self.dtype())?
            .scatter_add_into(self.dims(), axis, &index)?;
        self.add(&added)
    }

    /// `self` with the places of `src` added at `index` (`[k]`) along an axis; repeated places add up.
    pub fn index_add(&self, axis: i64, index: &Tensor, src: &Tensor) -> Result<Tensor> {
        let axis = self.axis("index_add", axis)?;
        let mut shape = self.dims().to_vec();
        shape[axis] = index.len();
        if index.rank() != 1 || src.dims() != shape {
            let detail = format!(
                "expected an index [k] and a source like {:?} with k along axis {axis}, got {:?} and {:?}",
                self.dims(),
                index.dims(),
                src.dims()
            );
            return Err(Error::Shape {
                op: "index_add",
                detail,
            });
        }
        let index = super::index::checked("index_add", index, self.dims()[axis])?;
        let added = src
            .to_dtype(self.dtype())?
            .index_add_into(self.dims(), axis, &index)?;
        self.add(&added)
    }

    /// The rows `ids` (whole numbers of any shape) of a table `[n, d]`: shape `[ids.., d]`. The gradient
    /// of the table is a sum over the rows that were used.
    pub fn embedding(&self, ids: &Tensor) -> Result<Tensor> {
        if self.rank() != 2 {
            let detail = format!("expected a table [n, d], got shape {:?}", self.dims());
            return Err(Error::Shape {
                op: "embedding",
                detail,
            });
        }
        let mut shape = ids.dims().to_vec();
        shape.push(self.dims()[1]);
        self.index_select(0, &ids.reshape(&[ids.len()])?)?
            .reshape(&shape)
    }
}

/// Where a later write goes to the same place, as bool of shape `[n]`.
fn overwritten(at: &[i64]) -> Result<Tensor> {
    let mut seen = std::collections::HashSet::with_capacity(at.len());
    let mut flags: Vec<u8> = at
        .iter()
        .rev()
        .map(|p| u8::from(!seen.insert(*p)))
        .collect();
    flags.reverse();
    Tensor::from_vec(flags, &[at.len()])
}
