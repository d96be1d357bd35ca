//! Golden numbers of `rollover-budget-forcing`.

use std::sync::Arc;

use rhapsode_models::flow::{
    FunctionField, VelocityField,
    convert::expected_data,
    field::score,
    path::Process,
    schedule::{Diffused, Look},
    search::{
        Diffusion, Grid,
        budget::{Ledger, ancestors, best, blocks, decreasing, quota, up_and_down, weights},
    },
};
use rhapsode_tensor::{DType, Tensor};
use serde_json::{Value, json};

use crate::read::{every_file_is_read, full, golden, int, named, number, numbers, tensor};

const SLUG: &str = "rollover-budget-forcing";

/// A name in the file's spelling.
fn spelt<T: serde::de::DeserializeOwned>(v: &Value) -> T {
    named(&json!(v.as_str().unwrap().replace('_', "-")))
}

#[test]
fn golden_rollover_budget_forcing_interpolants() {
    let file = golden(SLUG, "interpolants");
    for row in file.rows("rows") {
        let kind: Diffused = spelt(&row["interpolant"]);
        let at: Vec<_> = numbers(&row["s"]).into_iter().map(|s| kind.at(s)).collect();
        let what = format!("{kind:?}");
        let each = |of: &dyn Fn(&rhapsode_models::flow::schedule::Level) -> f64| {
            at.iter().map(of).collect::<Vec<_>>()
        };
        file.close(&each(&|l| l.alpha), &row["alpha"], &what);
        file.close(&each(&|l| l.sigma), &row["sigma"], &what);
        file.close(&each(&|l| l.alpha_dot), &row["d_alpha_ds"], &what);
        file.close(&each(&|l| l.sigma_dot), &row["d_sigma_ds"], &what);
        file.close(
            &each(&|l| l.linear_time()),
            &row["linear_paper_time"],
            &what,
        );
        file.close(&each(&|l| l.our_time()), &row["linear_our_time"], &what);
        file.close(&each(&|l| l.scale()), &row["scale_c"], &what);
        file.close(&each(&|l| l.linear_time_dot()), &row["d_t_ds"], &what);
        file.close(&each(&|l| l.scale_dot()), &row["d_c_ds"], &what);
        file.close(&each(&|l| l.log_snr()), &row["log_snr"], &what);
    }
}

#[test]
fn golden_rollover_budget_forcing_sde_step() {
    let file = golden(SLUG, "sde_step");
    let [a, k, c, x, z] = ["A", "k", "c", "x", "z"].map(|key| tensor(file.input(key)));
    let flow = FunctionField {
        function: Arc::new(move |x: &Tensor, t: &Tensor| {
            Ok(x.matmul(&a.t()?)?.add(&t.unsqueeze(1)?.mul(&k)?)?.add(&c)?)
        }),
        dim: x.dims()[1],
        dtype: DType::F64,
        process: Process::rectified(),
    };
    for row in file.rows("rows") {
        let kind: Diffused = spelt(&row["interpolant"]);
        let diffusion: Diffusion = spelt(&row["diffusion"]);
        let (s, ds) = (number(&row["s"]), number(&row["ds"]));
        let what = format!("{kind:?} {diffusion:?} at {s}");
        let norm = if diffusion == Diffusion::Square {
            3.0
        } else {
            1.0
        };
        let g = diffusion.at(kind, s, norm);
        file.close(&[g], &row["g"], &what);
        let look = Look::new(&flow, kind, &x, s).unwrap();
        file.close_tensor(&look.data, &row["x1_hat"], &what);
        file.close_tensor(&look.noise, &row["noise_hat"], &what);
        file.close_tensor(&look.velocity().unwrap(), &row["velocity_paper"], &what);
        file.close_tensor(&look.score().unwrap(), &row["score"], &what);
        let drift = look.drift(g).unwrap();
        file.close_tensor(&drift, &row["drift_paper"], &what);
        let next = Tensor::combine(&[(1.0, &x), (-ds, &drift), (g * ds.sqrt(), &z)]).unwrap();
        file.close_tensor(&next, &row["x_next"], &what);
    }
}

#[test]
fn golden_rollover_budget_forcing_time_grid() {
    let file = golden(SLUG, "time_grid");
    for row in file.rows("rows") {
        let steps = int(&row["M"]);
        let times = Grid::Exp.times(steps);
        file.close(&times, &row["exp_paper"], "exp");
        file.close(
            &times.iter().map(|s| 1.0 - s).collect::<Vec<_>>(),
            &row["exp_our"],
            "exp in our time",
        );
        file.close(&Grid::Linear.times(steps), &row["linear_paper"], "linear");
        let g: Vec<f64> = times
            .iter()
            .map(|s| Diffusion::Square.at(Diffused::Vp, *s, 3.0))
            .collect();
        file.close(&g, &row["g_square_3"], "g");
        let step: Vec<f64> = times.windows(2).map(|pair| pair[0] - pair[1]).collect();
        file.close(&step, &row["step"], "step");
    }
}

#[test]
fn golden_rollover_budget_forcing_budget_trace() {
    let file = golden(SLUG, "budget_trace");
    let [chains, init, steps, nfe] = ["B", "init", "M", "max_nfe"].map(|key| int(file.input(key)));
    let initial: Vec<Vec<f64>> = file
        .input("initial_rewards")
        .as_array()
        .unwrap()
        .iter()
        .map(numbers)
        .collect();
    let candidates: Vec<Vec<f64>> = file
        .input("candidate_rewards")
        .as_array()
        .unwrap()
        .iter()
        .map(numbers)
        .collect();
    let each = quota(nfe, chains, init, steps);
    assert_eq!(each, int(file.expected("quota")));
    let start = |rewards: &Vec<f64>| Ledger::new(each, steps - 1, rewards[best(rewards)]);
    let mut ledgers: Vec<Ledger> = initial.iter().map(start).collect();
    let (mut spent, mut used) = (chains * init, 0);
    while nfe - spent > chains {
        for (ledger, rewards) in ledgers.iter_mut().zip(&candidates) {
            ledger.try_one(rewards[used]);
        }
        used += 1;
        spent += chains;
    }
    assert_eq!(used, int(file.expected("candidates_per_chain")));
    let mut last = Vec::new();
    for (ledger, chain) in ledgers.iter_mut().zip(file.rows("chains")) {
        assert!(ledger.end().is_some());
        for (turn, step) in ledger.turns.iter().zip(chain["steps"].as_array().unwrap()) {
            assert_eq!(turn.quota, int(&step["quota"]), "{step}");
            assert_eq!(turn.rewards.len(), int(&step["tries"]), "{step}");
            assert_eq!(turn.chosen, int(&step["chosen"]), "{step}");
            assert_eq!(turn.improved, step["improved"].as_bool().unwrap(), "{step}");
            assert_eq!(turn.rolled_over, int(&step["rolled_over"]), "{step}");
            file.close(&turn.rewards, &step["rewards"], "rewards");
            file.close(&[turn.rewards[turn.chosen]], &step["reward"], "reward");
        }
        assert_eq!(ledger.turns.len(), chain["steps"].as_array().unwrap().len());
        file.close(&[ledger.best()], &chain["running_best"], "running best");
        let end = ledger.turns.last().unwrap();
        file.close(
            &[end.rewards[end.chosen]],
            &chain["final_reward"],
            "final reward of a chain",
        );
        last.push(end.rewards[end.chosen]);
    }
    file.close(
        &[last[best(&last)]],
        file.expected("final_reward"),
        "final reward",
    );
}

#[test]
fn golden_rollover_budget_forcing_particle_methods() {
    let file = golden(SLUG, "particle_methods");
    let lambda = number(file.input("lambda"));
    let [r0, r1, r2] = ["r0", "r1", "r2"].map(|key| numbers(file.input(key)));
    let log = |new: &[f64], old: &[f64]| {
        new.iter()
            .zip(old)
            .map(|(a, b)| (a - b) / lambda)
            .collect::<Vec<_>>()
    };
    let zero = vec![0.0; r0.len()];
    let (p0, ess0) = weights(&log(&r0, &zero));
    file.close(&p0, file.expected("p0"), "p0");
    file.close(&[ess0], file.expected("ess0"), "ess0");
    let drawn: Vec<f64> = ancestors(&p0, &numbers(file.input("uniforms")))
        .into_iter()
        .map(|i| i as f64)
        .collect();
    file.close(&drawn, file.expected("ancestors"), "ancestors");
    let w1 = log(&r1, &r0);
    file.close(
        &w1.iter().map(|w| w.exp()).collect::<Vec<_>>(),
        file.expected("w1"),
        "w1",
    );
    let (p1, ess1) = weights(&w1);
    file.close(&p1, file.expected("p1"), "p1");
    file.close(&[ess1], file.expected("ess1"), "ess1");
    let w2: Vec<f64> = w1.iter().zip(log(&r2, &r1)).map(|(a, b)| a + b).collect();
    file.close(
        &w2.iter().map(|w| w.exp()).collect::<Vec<_>>(),
        file.expected("w2"),
        "w2",
    );
    let (p2, ess2) = weights(&w2);
    file.close(&p2, file.expected("p2"), "p2");
    file.close(&[ess2], file.expected("ess2"), "ess2");
    let rewards = file.input("svdd_rewards").as_array().unwrap();
    let chosen: Vec<f64> = rewards
        .iter()
        .map(|group| best(&numbers(group)) as f64)
        .collect();
    file.close(&chosen, file.expected("svdd_choice"), "svdd");
    let cut: Vec<f64> = blocks(10, 2)
        .into_iter()
        .flat_map(|(a, b)| [a as f64, b as f64])
        .collect();
    file.close(&cut, file.expected("code_blocks"), "blocks");
    let walk: Vec<f64> = up_and_down(0.12, 0.78, 0.81)
        .into_iter()
        .flat_map(|(a, b, c)| [a, b, c])
        .collect();
    file.close(&walk, file.expected("sop"), "sop");
    for (key, want) in file.expected("adaptive_linear").as_object().unwrap() {
        let (steps, nfe) = key.split_once(',').unwrap();
        let found = decreasing(steps.parse().unwrap(), nfe.parse().unwrap());
        file.close(
            &found.iter().map(|n| *n as f64).collect::<Vec<_>>(),
            want,
            "decreasing",
        );
    }
}

#[test]
fn golden_rollover_budget_forcing_block_mixture_flow() {
    let file = golden(SLUG, "block_mixture_flow");
    let (blocks, r, h) = (
        int(file.input("K")),
        number(file.input("r")),
        number(file.input("h")),
    );
    let x = tensor(file.input("x"));
    let n = x.dims()[0];
    let modes = [[r, r], [r, -r], [-r, r], [-r, -r]];
    let means = Tensor::from_vec(modes.concat(), &[4, 2]).unwrap();
    let spread = Tensor::eye(2, DType::F64)
        .unwrap()
        .affine(h * h, 0.0)
        .unwrap();
    let spread = spread
        .unsqueeze(0)
        .unwrap()
        .broadcast_to(&[4, 2, 2])
        .unwrap()
        .contiguous()
        .unwrap();
    let law = rhapsode_models::flow::mixture::Mixture::new(&[0.25; 4], &means, &spread).unwrap();
    let block =
        rhapsode_models::flow::Interpolant::exact(None, law, Process::rectified(), DType::F64)
            .unwrap();
    // Blocks do not see each other: the field of one, on each.
    let flow = FunctionField {
        function: Arc::new(move |x: &Tensor, t: &Tensor| {
            let parts = (0..blocks).map(|k| block.velocity(&x.narrow(1, 2 * k, 2)?, t));
            let parts = parts.collect::<rhapsode_models::Result<Vec<_>>>()?;
            Ok(Tensor::cat(&parts.iter().collect::<Vec<_>>(), 1)?)
        }),
        dim: 2 * blocks,
        dtype: DType::F64,
        process: Process::rectified(),
    };
    for row in file.rows("rows") {
        let t = number(&row["t"]);
        let v = flow.velocity(&x, &full(t, n)).unwrap();
        file.close_tensor(&v, &row["velocity"], "velocity");
        let data = expected_data(&flow.process, &x, &v, t).unwrap();
        file.close_tensor(&data, &row["posterior_mean"], "posterior mean");
        file.close_tensor(
            &score(&flow, &x, &full(t, n)).unwrap(),
            &row["score"],
            "score",
        );
    }
}

#[test]
fn every_file_of_rollover_budget_forcing_is_read() {
    every_file_is_read(
        SLUG,
        &[
            "block_mixture_flow",
            "budget_trace",
            "interpolants",
            "particle_methods",
            "sde_step",
            "time_grid",
        ],
    );
}
