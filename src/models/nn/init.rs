//! How parameters begin.

use rhapsode_tensor::{DType, Tensor, random::Stream};

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
