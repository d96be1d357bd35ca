//! Euler's method: `x + h f(x, t)`. Order 1, one evaluation a step.

use super::Tableau;
use crate::reference::Reference;

/// Euler's method.
pub const EULER: Tableau = Tableau {
    name: "euler",
    summary: "Euler's method, order 1, one evaluation a step",
    order: 1,
    c: &[0.0],
    a: &[&[]],
    b: &[1.0],
    error: None,
    first_same_as_last: false,
    dense: None,
    dense_order: 1,
    reference: Reference {
        key: "hairer1993solving",
        title: "Solving Ordinary Differential Equations I",
        authors: &["Ernst Hairer", "Syvert P. Norsett", "Gerhard Wanner"],
        year: 1993,
        arxiv: "",
    },
};
