//! Searches side by side: what one finds does not depend on the others, and each has a budget and a condition of its own.

use std::sync::{Arc, Mutex};

use rhapsode_tensor::{DType, Tensor};

use super::*;
use crate::{
    flow::{FunctionField, RectifiedFlow, VelocityOptions, path::Process},
    observe::Silent,
};

/// Data N(0, 1) from noise N(0, 1) on straight lines.
pub(super) fn normal() -> FunctionField {
    let velocity = |x: &Tensor, t: &Tensor| {
        let above = t.affine(2.0, -1.0)?;
        let rest = t.affine(-1.0, 1.0)?;
        let below = rest.sqr()?.add(&t.sqr()?)?;
        x.mul(&above.div(&below)?.unsqueeze(1)?)
            .map_err(Error::from)
    };
    FunctionField {
        function: Arc::new(velocity),
        dim: 2,
        dtype: DType::F64,
        process: Process::rectified(),
    }
}

/// How many coordinates are above 1: a reward with plateaus.
fn steps() -> Reward {
    Arc::new(|data: &Tensor, _: &[usize]| Ok(data.affine(2.0, 0.0)?.floor()?.sum(&[1])?))
}

fn options(method: Method) -> SearchOptions {
    SearchOptions {
        method,
        nfe: 150,
        init: 4,
        seed: Some(5),
        ..Default::default()
    }
}

fn many(n: usize, options: &SearchOptions) -> Vec<Found> {
    search_many(&normal(), n, &steps(), options, &mut Silent).unwrap()
}

fn same(a: &Found, b: &Found, what: &str) {
    assert_eq!(a.x.to_vec().unwrap(), b.x.to_vec().unwrap(), "{what}");
    assert_eq!((a.reward, a.predicted), (b.reward, b.predicted), "{what}");
    assert_eq!(a.evaluations, b.evaluations, "{what}");
    assert_eq!(a.trace, b.trace, "{what}");
}

#[test]
fn what_a_search_finds_does_not_depend_on_how_many_there_are() {
    for (name, method) in METHODS {
        for finish in [Finish::Ode, Finish::Mean, Finish::Sde] {
            if *method == Method::Sop && finish != Finish::Ode {
                continue;
            }
            let options = SearchOptions {
                finish,
                ..options(*method)
            };
            let alone = search(&normal(), &steps(), &options, &mut Silent).unwrap();
            let (two, five) = (many(2, &options), many(5, &options));
            same(&alone, &five[0], name);
            same(&two[1], &five[1], name);
            assert!(alone.x.to_vec().unwrap() != two[1].x.to_vec().unwrap());
            assert!(alone.evaluations <= options.nfe, "{name}");
        }
    }
}

#[test]
fn the_noise_of_a_chain_does_not_depend_on_how_many_there_are() {
    let with = |particles| {
        let options = SearchOptions {
            particles,
            nfe: 70 * particles,
            finish: Finish::Mean,
            ..options(Method::Rbf)
        };
        many(1, &options).swap_remove(0).trace
    };
    assert_eq!(with(1)[0], with(3)[0]);
}

#[test]
fn every_search_of_weights_and_temperatures_draws_for_itself() {
    for (method, temperature) in [(Method::Svdd, 0.7), (Method::Smc, 0.7)] {
        for decreasing in [false, true] {
            let options = SearchOptions {
                temperature: Some(temperature),
                decreasing,
                ess: 0.6,
                ..options(method)
            };
            let (two, four) = (many(2, &options), many(4, &options));
            same(&two[0], &four[0], "decreasing");
            same(&two[1], &four[1], "decreasing");
        }
    }
}

#[test]
fn each_search_is_rewarded_by_its_number() {
    let reward: Reward = Arc::new(|data: &Tensor, which: &[usize]| {
        let signs = which.iter().map(|i| if *i == 0 { 1.0 } else { -1.0 });
        let signs = Tensor::from_vec(signs.collect::<Vec<f64>>(), &[which.len()])?;
        Ok(data.sum(&[1])?.mul(&signs)?)
    });
    for (name, method) in METHODS {
        let found = search_many(&normal(), 2, &reward, &options(*method), &mut Silent).unwrap();
        let sums: Vec<f64> = found
            .iter()
            .map(|f| f.x.sum_all().unwrap().item().unwrap())
            .collect();
        assert!(sums[0] > 0.5 && sums[1] < -0.5, "{name}: {sums:?}");
    }
}

/// A field of which row `i` has its data around `at[i]`, and which notes how many rows it is asked for.
struct Places {
    at: Vec<f64>,
    most: Arc<Mutex<usize>>,
}

impl VelocityField for Places {
    fn velocity(&self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        let n = x.dim(0)?;
        assert_eq!(n, self.at.len());
        let mut most = self.most.lock().unwrap();
        *most = n.max(*most);
        // Data N(at, 1).
        let at = Tensor::from_vec(self.at.clone(), &[n, 1])?;
        let off = x.sub(&at.mul(&t.unsqueeze(1)?)?)?;
        Ok(at.add(&normal().velocity(&off, t)?)?)
    }

    fn dim(&self) -> usize {
        2
    }

    fn dtype(&self) -> DType {
        DType::F64
    }

    fn process(&self) -> Process {
        Process::rectified()
    }

    fn rows_at_once(&self) -> usize {
        7
    }

    fn own_rows(&self) -> Option<usize> {
        Some(self.at.len())
    }

    fn of_rows(&self, rows: &[usize]) -> Result<Option<SharedFlow>> {
        Ok(Some(Arc::new(Places {
            at: rows.iter().map(|row| self.at[*row]).collect(),
            most: self.most.clone(),
        })))
    }
}

#[test]
fn a_flow_with_a_condition_a_row_has_one_a_search_and_pieces_of_a_bounded_size() {
    let most = Arc::new(Mutex::new(0));
    let flow = Places {
        at: vec![-30.0, 0.0, 30.0],
        most: most.clone(),
    };
    for (name, method) in METHODS {
        let found = search_many(&flow, 3, &steps(), &options(*method), &mut Silent).unwrap();
        for (found, at) in found.iter().zip(&flow.at) {
            for x in found.x.to_vec().unwrap() {
                assert!((x - at).abs() < 12.0, "{name}: {x} {at}");
            }
        }
    }
    assert!(*most.lock().unwrap() <= 7);
    let wrong = search_many(&flow, 2, &steps(), &options(Method::Bon), &mut Silent);
    let message = wrong.err().unwrap().to_string();
    assert!(message.contains("3 labels"), "{message}");
}

#[test]
fn classes_of_a_flow_are_searched_side_by_side() {
    let net = VelocityOptions {
        dim: 2,
        hidden: vec![8],
        classes: 3,
        ..Default::default()
    };
    let flow = RectifiedFlow::new(net, 1, DType::F64).unwrap();
    let both = flow.given(&[2, 0], 1.5).unwrap();
    let found = search_many(
        both.as_ref(),
        2,
        &steps(),
        &options(Method::Svdd),
        &mut Silent,
    );
    let one = flow.given(&[2], 1.5).unwrap();
    let alone = search(one.as_ref(), &steps(), &options(Method::Svdd), &mut Silent).unwrap();
    let (found, alone) = (found.unwrap().swap_remove(0).x, alone.x);
    for (a, b) in found.to_vec().unwrap().iter().zip(alone.to_vec().unwrap()) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
}

#[test]
fn no_searches_are_an_error_and_too_many_are_one_before_any_work() {
    let of = |n| search_many(&normal(), n, &steps(), &options(Method::Rbf), &mut Silent).err();
    assert!(of(0).unwrap().to_string().contains("at least 1"));
    assert!(of(usize::MAX / 2).is_some());
}
