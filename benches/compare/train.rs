//! Rows of whole workloads, run through a session as a script runs them.

use std::error::Error;

use rhapsode_script::{Recorder, Session, SessionOptions};

use super::{Row, Work};

/// A session in which `setup` has run; a call of the work runs `cell` with `TIMES` replaced by how often.
fn script(setup: &str, cell: &'static str) -> Result<Work, Box<dyn Error>> {
    let mut session = Session::new(SessionOptions::default());
    let mut io = Recorder::default();
    let mut run = move |code: &str| -> Result<(), Box<dyn Error>> {
        match session.execute(code, &mut io) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.render(false).into()),
        }
    };
    run(setup)?;
    Ok(Box::new(move |times| {
        run(&cell.replace("TIMES", &times.to_string()))
    }))
}

/// The flow of the rows "velocity": an MLP 3-256-256-256-2.
const FLOW: &str = "seed(0); let data = randn([50_000, 2]);
    let model = flow::rectified(#{ dim: 2, hidden: [256, 256, 256], time_frequencies: 0 });";

/// All rows of workloads.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in [256, 4096] {
        rows.push(Row::new(format!("MLP step {batch}"), move || {
            let fit =
                format!("{FLOW} let run = model.fit(data, #{{ steps: 20, batch: {batch} }});");
            script(&fit, "run.more(TIMES);")
        }));
    }
    rows.push(Row::new("sample 10000, 100 steps", || {
        let cell =
            "for i in 0..TIMES { model.sample(10_000, #{ solver: \"euler\", steps: 100 }); }";
        script(FLOW, cell)
    }));
    rows.extend(of_other_flows());
    rows.push(Row::new("U-Net step 64", || {
        let fit = "seed(0); let data = randn([2_000, 1, 8, 8]);
            let model = flow::rectified(#{ shape: [1, 8, 8], net: \"unet\" });
            let run = model.fit(data, #{ steps: 3, batch: 64 });";
        script(fit, "run.more(TIMES);")
    }));
    rows
}

/// Interpolants, reflow, steering and search, with networks of the same size.
fn of_other_flows() -> Vec<Row> {
    const INTERPOLANT: &str =
        "seed(0); let base = randn([50_000, 2]) + 3.0; let data = randn([50_000, 2]);
        let model = flow::interpolant(#{ hidden: [256, 256, 256], time_frequencies: 0 });";
    let mut rows = Vec::new();
    for batch in [256, 4096] {
        rows.push(Row::new(format!("interpolant step {batch}"), move || {
            let fit = format!(
                "{INTERPOLANT} let run = model.fit(base, data, #{{ steps: 20, batch: {batch} }});"
            );
            script(&fit, "run.more(TIMES);")
        }));
        rows.push(Row::new(format!("reflow step {batch}"), move || {
            let fit = format!(
                "{FLOW} let pairs = model.pairs(50_000, #{{ solver: \"euler\", steps: 1 }});
                let run = model.fit(pairs.data, #{{ noise: pairs.noise, timestep: \"u-shaped\", loss: \"pseudo-huber\", steps: 20, batch: {batch} }});"
            );
            script(&fit, "run.more(TIMES);")
        }));
    }
    rows.push(Row::new("interpolant SDE 10000, 100 steps", || {
        let setup = format!("{INTERPOLANT} model.fit(base, data, #{{ steps: 1 }});");
        let cell = "for i in 0..TIMES { model.sample(10_000, #{ sampler: \"sde\", steps: 100 }); }";
        script(&setup, cell)
    }));
    rows.push(Row::new("steer 1000, 50 steps", || {
        let setup = format!("{FLOW} let x0 = randn([1000, 2]);");
        let cell = "for i in 0..TIMES { model.steer(x0, #{ cost: |x1| ((x1 - 1.0) ** 2).sum(1), steps: 50 }); }";
        script(&setup, cell)
    }));
    rows.push(Row::new("search of 64, 200 evaluations", || {
        let cell = "for i in 0..TIMES { flow::search_many(model, 64, |x1| -(x1 ** 2).sum(1), #{ method: \"svdd\", nfe: 200, finish: \"mean\" }); }";
        script(FLOW, cell)
    }));
    rows
}
