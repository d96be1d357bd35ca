//! The explicit midpoint rule: the slope at half a step. Order 2, two evaluations a step.

use super::{Tableau, euler::EULER};

/// The explicit midpoint rule.
pub const MIDPOINT: Tableau = Tableau {
    name: "midpoint",
    summary: "the explicit midpoint rule, order 2, two evaluations a step",
    order: 2,
    c: &[0.0, 0.5],
    a: &[&[], &[0.5]],
    b: &[0.0, 1.0],
    // Against Euler's method.
    error: Some(&[-1.0, 1.0]),
    first_same_as_last: false,
    dense: None,
    dense_order: 2,
    reference: EULER.reference,
};
