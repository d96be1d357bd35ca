//! The pairing of two samples that costs least: which point of `y` belongs to which of `x`.

use rhapsode_tensor::{Tensor, memory};

use super::{assignment, pairwise::squared_distances, sample::Sample};
use crate::{Error, Result};

/// For each row of `x: [n, d]` the row of `y: [n, d]` with which it is paired, so that the sum of the squared
/// distances is least: a permutation, exact, in f64.
///
/// Errors: shapes that differ, NaN or infinity, not enough memory for the `n x n` distances.
pub fn optimal_pairs(x: &Tensor, y: &Tensor) -> Result<Vec<usize>> {
    let (x, y) = Sample::pair("optimal_pairs", x, y)?;
    if x.n != y.n {
        return Err(Error::Shape {
            what: "optimal_pairs",
            expected: format!("samples of equal size ({})", x.n),
            got: vec![y.n],
        });
    }
    memory::ensure(
        memory::count("optimal_pairs", &[x.n, y.n])?,
        size_of::<f64>(),
    )?;
    Ok(assignment(&squared_distances(&x, &y)?, x.n)?.columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_copy_is_put_in_order() {
        let x = Tensor::from_vec(vec![0.0, 0.0, 5.0, 0.0, 0.0, 7.0], &[3, 2]).unwrap();
        let y = Tensor::from_vec(vec![0.1, 7.0, 0.2, 0.0, 5.0, 0.3], &[3, 2]).unwrap();
        assert_eq!(optimal_pairs(&x, &y).unwrap(), [1, 2, 0]);
    }

    #[test]
    fn unequal_sizes_are_refused() {
        let of = |n| Tensor::zeros(&[n, 2], rhapsode_tensor::DType::F32).unwrap();
        let error = optimal_pairs(&of(3), &of(4)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "optimal_pairs: expected samples of equal size (3), got [4]"
        );
    }
}
