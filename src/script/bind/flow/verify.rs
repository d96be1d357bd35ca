//! `verify(model)`: what one asks of a flow before one trusts it.

use rhai::{Dynamic, NativeCallContext};
use rhapsode_models::flow::{interpolant::Interpolant, verify};

use super::flow_argument;
use crate::{
    bind::{Outcome, draw::next_seed, enter, report::Report},
    library::Library,
};

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library
        .function(
            "verify",
            "(model: RectifiedFlow | Interpolant | Flow) -> Report",
            r#"
            Looks at a flow: its gradient against finite differences, its density carried forward with samples against the one found backward, samples of its ODE
            against those of an SDE of the same laws. A table of errors and tolerances; an untrained flow fails the last.

            ```rhai
            // Data N(0, 1): the velocity of straight lines from noise.
            let flow = flow::from_velocity(|x, t| x * (t * 2.0 - 1.0) / ((1.0 - t) ** 2 + t * t));
            seed(0);
            verify(flow).missed // => 0
            ```
            "#,
        )
        .call(|call: NativeCallContext, model: Dynamic| -> Outcome<Report> {
            let flow = flow_argument(&model, 0)?;
            let interpolant = model.read_lock::<Interpolant>().map(|model| model.clone());
            let seed = next_seed(&call)?;
            let checks = enter(&call, |observer| verify::verify(flow.as_ref(), interpolant.as_ref(), seed, observer))?;
            let report = Report::new("verify");
            for check in checks {
                report.bounded(check.name, check.error, check.tolerance);
            }
            Ok(report)
        });
}
