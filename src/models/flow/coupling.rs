//! How the noise and the data of a batch are paired before the flow learns the lines between them.

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, metric::optimal_pairs};

/// How noise and data of a batch are paired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Coupling {
    /// As they were drawn, independently.
    #[default]
    Independent,
    /// Optimal transport within the batch: the pairs whose squared distances have the least sum. Straighter paths, for one
    /// assignment of batch x batch a step (Tong et al. 2023, arXiv 2302.00482; Pooladian et al. 2023, arXiv 2304.14772).
    Ot,
    /// Row by row: the first of one belongs to the first of the other.
    Pairs,
}

impl Coupling {
    /// The noise `x0: [n, d]` in the order of the data `x1: [n, d]` with which it is paired. The data keep their places, and so
    /// do their labels.
    pub fn pair(self, x0: Tensor, x1: &Tensor) -> Result<Tensor> {
        match self {
            Coupling::Independent | Coupling::Pairs => Ok(x0),
            Coupling::Ot => {
                let order: Vec<i64> = optimal_pairs(x1, &x0)?
                    .into_iter()
                    .map(|i| i as i64)
                    .collect();
                let n = order.len();
                Ok(x0.index_select(0, &Tensor::from_vec(order, &[n])?)?)
            }
        }
    }
}
