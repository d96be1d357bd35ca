//! Dormand and Prince's method of order 5 with an embedded one of order 4. Seven stages, of which the
//! last is the first of the next step: six evaluations a step.

use super::Tableau;
use crate::reference::Reference;

/// The Dormand-Prince method.
pub const DOPRI5: Tableau = Tableau {
    name: "dopri5",
    summary: "Dormand-Prince, order 5 with error estimate, six evaluations a step",
    order: 5,
    c: &[0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0],
    a: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[
            19372.0 / 6561.0,
            -25360.0 / 2187.0,
            64448.0 / 6561.0,
            -212.0 / 729.0,
        ],
        &[
            9017.0 / 3168.0,
            -355.0 / 33.0,
            46732.0 / 5247.0,
            49.0 / 176.0,
            -5103.0 / 18656.0,
        ],
        &[
            35.0 / 384.0,
            0.0,
            500.0 / 1113.0,
            125.0 / 192.0,
            -2187.0 / 6784.0,
            11.0 / 84.0,
        ],
    ],
    b: &[
        35.0 / 384.0,
        0.0,
        500.0 / 1113.0,
        125.0 / 192.0,
        -2187.0 / 6784.0,
        11.0 / 84.0,
        0.0,
    ],
    error: Some(&[
        71.0 / 57600.0,
        0.0,
        -71.0 / 16695.0,
        71.0 / 1920.0,
        -17253.0 / 339200.0,
        22.0 / 525.0,
        -1.0 / 40.0,
    ]),
    first_same_as_last: true,
    reference: Reference {
        key: "dormand1980family",
        title: "A family of embedded Runge-Kutta formulae",
        authors: &["John R. Dormand", "Peter J. Prince"],
        year: 1980,
        arxiv: "",
    },
};
