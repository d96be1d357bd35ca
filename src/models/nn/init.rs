//! How parameters begin.

use rhapsode_tensor::{DType, Tensor, interrupt, memory, random::Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;

/// Weight `[outputs, inputs]` and bias `[outputs]`, uniform in `±1/sqrt(inputs)`: PyTorch's default
/// for a linear layer.
pub fn linear(
    inputs: usize,
    outputs: usize,
    stream: Stream,
    dtype: DType,
) -> Result<(Tensor, Tensor)> {
    let bound = 1.0 / (inputs.max(1) as f64).sqrt();
    let draw = |index: u64, shape: &[usize]| -> Result<Tensor> {
        Ok(stream
            .at(index)
            .rand(shape, dtype)?
            .affine(2.0 * bound, -bound)?)
    };
    Ok((draw(0, &[outputs, inputs])?, draw(1, &[outputs])?))
}

/// Normal numbers of mean 0 and the given deviation.
pub fn normal(shape: &[usize], deviation: f64, stream: Stream, dtype: DType) -> Result<Tensor> {
    Ok(stream.randn(shape, dtype)?.affine(deviation, 0.0)?)
}

/// How the weights of a layer begin. With n inputs and m outputs of one place (times the places of a
/// convolution's kernel):
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Uniform in ±1/sqrt(n), the bias too: PyTorch's default for linear layers and convolutions.
    #[default]
    Uniform,
    /// Normal of variance 2 / n, for relu (He et al. 2015, arXiv 1502.01852); bias 0.
    Kaiming,
    /// Uniform of variance 2 / (n + m) (Glorot, Bengio 2010); bias 0.
    Xavier,
    /// A random matrix with orthonormal rows or columns (Saxe et al. 2013, arXiv 1312.6120); bias 0.
    Orthogonal,
    /// Normal of deviation 0.02; bias 0.
    Normal,
    /// Zeros, the bias too.
    Zeros,
}

/// What one parameter is filled with.
#[derive(Clone, Debug)]
pub enum Fill {
    /// Uniform between minus and plus this.
    Uniform(f64),
    /// Normal of this deviation.
    Normal(f64),
    /// Orthonormal rows or columns of the matrix `[first axis, all others]`, whichever are fewer.
    Orthogonal,
    /// One value everywhere.
    Constant(f64),
    /// These values.
    Values(Tensor),
}

impl Init {
    /// For a weight with so many inputs and outputs of one place.
    pub fn weight(self, inputs: usize, outputs: usize) -> Fill {
        let (n, m) = (inputs.max(1) as f64, outputs.max(1) as f64);
        match self {
            Init::Uniform => Fill::Uniform(1.0 / n.sqrt()),
            Init::Kaiming => Fill::Normal((2.0 / n).sqrt()),
            Init::Xavier => Fill::Uniform((6.0 / (n + m)).sqrt()),
            Init::Orthogonal => Fill::Orthogonal,
            Init::Normal => Fill::Normal(0.02),
            Init::Zeros => Fill::Constant(0.0),
        }
    }

    /// For the bias of such a weight.
    pub fn bias(self, inputs: usize) -> Fill {
        match self {
            Init::Uniform => Fill::Uniform(1.0 / (inputs.max(1) as f64).sqrt()),
            _ => Fill::Constant(0.0),
        }
    }
}

impl Fill {
    /// The parameter.
    pub(crate) fn draw(&self, shape: &[usize], stream: Stream, dtype: DType) -> Result<Tensor> {
        Ok(match self {
            Fill::Uniform(bound) => stream.rand(shape, dtype)?.affine(2.0 * bound, -bound)?,
            Fill::Normal(deviation) => normal(shape, *deviation, stream, dtype)?,
            Fill::Orthogonal => orthogonal(shape, stream)?.to_dtype(dtype)?,
            Fill::Constant(value) => Tensor::full(*value, shape, dtype)?,
            Fill::Values(values) => values.to_dtype(dtype)?.reshape(shape)?,
        })
    }
}

/// Gram-Schmidt, twice for each vector, of normal vectors: uniform over the orthonormal frames.
fn orthogonal(shape: &[usize], stream: Stream) -> Result<Tensor> {
    let rows = shape.first().copied().unwrap_or(1);
    let total = memory::count("orthogonal", shape)?;
    let columns = total / rows.max(1);
    let (count, width) = (rows.min(columns), rows.max(columns));
    let mut frame: Vec<Vec<f64>> = Vec::with_capacity(count);
    let draws = stream.randn(&[count, width], DType::F64)?.to_vec()?;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    for draw in draws.chunks_exact(width.max(1)) {
        interrupt::check()?;
        let mut vector = draw.to_vec();
        for _ in 0..2 {
            for other in &frame {
                let along = dot(other, &vector);
                vector
                    .iter_mut()
                    .zip(other)
                    .for_each(|(v, o)| *v -= along * o);
            }
        }
        let norm = dot(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|v| *v /= norm);
        frame.push(vector);
    }
    let flat = Tensor::from_vec(frame.concat(), &[count, width])?;
    let matrix = if rows <= columns { flat } else { flat.t()? };
    Ok(matrix.reshape(shape)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orthogonal_rows_or_columns() {
        for shape in [&[5usize, 3][..], &[3, 5], &[4, 2, 3, 3]] {
            let w = orthogonal(shape, Stream::new(0, "w")).unwrap();
            let w = w.reshape(&[shape[0], w.len() / shape[0]]).unwrap();
            let w = if w.dims()[0] > w.dims()[1] {
                w.t().unwrap()
            } else {
                w
            };
            let gram = w.matmul(&w.t().unwrap()).unwrap();
            let eye = Tensor::eye(w.dims()[0], DType::F64).unwrap();
            let off = gram.sub(&eye).unwrap().abs().unwrap().max_all().unwrap();
            assert!(off.item().unwrap() < 1e-12, "{shape:?}");
        }
    }

    #[test]
    fn moments_are_those_of_the_rule() {
        let deviation = |init: Init| {
            let fill = init.weight(300, 200);
            let w = fill
                .draw(&[200, 300], Stream::new(1, "w"), DType::F64)
                .unwrap();
            w.std(None).unwrap().item().unwrap()
        };
        let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 0.02, "{a} {b}");
        near(deviation(Init::Uniform), (1.0 / 900f64).sqrt());
        near(deviation(Init::Kaiming), (2.0 / 300f64).sqrt());
        near(deviation(Init::Xavier), (2.0 / 500f64).sqrt());
        near(deviation(Init::Normal), 0.02);
        near(deviation(Init::Orthogonal), (1.0 / 300f64).sqrt());
        assert_eq!(deviation(Init::Zeros), 0.0);
    }
}
