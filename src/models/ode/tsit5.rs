//! Tsitouras' method of order 5 with an embedded one of order 4: seven stages, of which the last is the
//! first of the next step. Its leading error terms are smaller than those of Dormand and Prince.

use super::Tableau;
use crate::reference::Reference;

/// The method of Tsitouras.
pub const TSIT5: Tableau = Tableau {
    name: "tsit5",
    summary: "Tsitouras, order 5 with error estimate, six evaluations a step",
    order: 5,
    c: &[0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0],
    a: &[
        &[],
        &[0.161],
        &[-0.008480655492356989, 0.335480655492357],
        &[2.8971530571054935, -6.359448489975075, 4.3622954328695815],
        &[
            5.325864828439257,
            -11.748883564062828,
            7.4955393428898365,
            -0.09249506636175525,
        ],
        &[
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ],
        &[
            0.09646076681806523,
            0.01,
            0.4798896504144996,
            1.379008574103742,
            -3.290069515436081,
            2.324710524099774,
        ],
    ],
    b: &[
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
        0.0,
    ],
    error: Some(&[
        0.0017800110522257773,
        0.0008164344596567463,
        -0.007880878010261994,
        0.1447110071732629,
        -0.5823571654525552,
        0.45808210592918686,
        -0.015151515151515152,
    ]),
    first_same_as_last: true,
    // The interpolant of the same paper, multiplied out.
    dense: Some(&[
        &[
            0.9999999999999998,
            -2.763706197274826,
            2.9132554618219126,
            -1.0530884977290216,
        ],
        &[0.0, 0.13169999999999998, -0.2234, 0.1017],
        &[
            0.0,
            3.930296236894751,
            -5.941033872131505,
            2.490627285651253,
        ],
        &[
            0.0,
            -12.411077166933676,
            30.338188630282318,
            -16.548102889244902,
        ],
        &[0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928],
        &[
            0.0,
            -27.896526289197286,
            65.09189467479368,
            -34.87065786149661,
        ],
        &[0.0, 1.5, -4.0, 2.5],
    ]),
    dense_order: 5,
    reference: Reference {
        key: "tsitouras2011runge",
        title: "Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption",
        authors: &["Charalampos Tsitouras"],
        year: 2011,
        arxiv: "",
    },
};
