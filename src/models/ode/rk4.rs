//! The classical method of Runge and Kutta. Order 4, four evaluations a step.

use super::{Tableau, euler::EULER};

/// The classical Runge-Kutta method.
pub const RK4: Tableau = Tableau {
    name: "rk4",
    summary: "the classical Runge-Kutta method, order 4, four evaluations a step",
    order: 4,
    c: &[0.0, 0.5, 0.5, 1.0],
    a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    error: None,
    first_same_as_last: false,
    dense: None,
    dense_order: 4,
    reference: EULER.reference,
};
