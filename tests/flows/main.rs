//! Golden numbers of the flows: what the papers' reference code or closed forms give, from `tests/golden/<slug>/*.json` or
//! from the folder that `RHAPSODE_GOLDEN` names. Sizes, options, inputs and tolerances come from the file.

mod flowchef;
mod read;
mod rectified_flow_pp;
mod rollover_budget_forcing;
mod stochastic_interpolants;
