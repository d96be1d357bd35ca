//! Heun's method: the mean of the slopes at both ends of an Euler step. Order 2, two evaluations a
//! step. (Some authors call another method of order 3 by this name.)

use super::{Tableau, euler::EULER};

/// Heun's method.
pub const HEUN: Tableau = Tableau {
    name: "heun",
    summary: "Heun's method, order 2, two evaluations a step",
    order: 2,
    c: &[0.0, 1.0],
    a: &[&[], &[1.0]],
    b: &[0.5, 0.5],
    // Against Euler's method.
    error: Some(&[-0.5, 0.5]),
    first_same_as_last: false,
    dense: None,
    dense_order: 2,
    reference: EULER.reference,
};
