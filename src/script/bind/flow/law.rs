//! `flow::mixture`: a mixture of Gaussians, whose exact fields learned ones are held against.

use rhai::{Dynamic, Map, NativeCallContext};
use rhapsode_models::flow::mixture::Mixture;
use rhapsode_tensor::{DType, Tensor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{count, interpolant::KnownOptions};
use crate::{
    Display,
    bind::{
        Outcome,
        draw::{next_stream, session_dtype},
        number, raise,
    },
    fault::{Fault, Spot},
    library::Library,
    options,
    value::Object,
};

impl Object for Mixture {
    const NAME: &'static str = "Mixture";

    fn text(&self) -> String {
        format!("Mixture of Gaussians of dim {}", self.dim())
    }

    fn summary(&self) -> String {
        format!("dim {}", self.dim())
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Options of a mixture.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct MixtureOptions {
    /// Weights of the components, made to sum to 1 (>= 0; default: all alike).
    weights: Option<Vec<f64>>,
    /// Means of the components, a row each (default [[0, 0]]).
    means: Option<Vec<Vec<f64>>>,
    /// Standard deviation of all components in all directions (> 0; default 1).
    std: Option<f64>,
    /// Covariances of the components, instead of `std`: a matrix each (default: from `std`).
    covariances: Option<Vec<Vec<Vec<f64>>>>,
}

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library.object::<Mixture>("A mixture of Gaussians: `sample`, `log_prob`.");
    library
        .function(
            "flow::mixture",
            "(options: map) -> Mixture",
            r#"
            A mixture of Gaussians: base and target of exact interpolants (`flow::exact`).

            ```rhai
            let law = flow::mixture(#{ means: [[-2.0, 0.0], [2.0, 0.0]], std: 0.5 });
            law.sample(10).shape // => [10, 2]
            ```
            "#,
        )
        .options::<MixtureOptions>()
        .call(|map: Map| mixture(&map));
    library
        .function(
            "flow::coefficients",
            "(t: float, options?: map) -> map",
            r#"
            The coefficients of a process at a time: `#{ alpha, beta, gamma, alpha_dot, beta_dot, gamma_dot, gamma_gamma_dot }`.

            ```rhai
            let c = flow::coefficients(0.25, #{ path: "linear", gamma: "sqrt" });
            [c.alpha, c.beta, c.gamma_gamma_dot] // => [0.75, 0.25, 0.25]
            ```
            "#,
        )
        .options::<KnownOptions>()
        .call(|t: Dynamic| coefficients(&t, &Map::new()))
        .call(|t: Dynamic, map: Map| coefficients(&t, &map));
    library
        .method::<Mixture>(
            "sample",
            "(n: int) -> Tensor",
            r#"
            n points `[n, dim]`.

            ```rhai
            flow::mixture(#{ means: [[0.0], [3.0]], weights: [0.2, 0.8] }).sample(4).shape // => [4, 1]
            ```
            "#,
        )
        .call(|call: NativeCallContext, law: &mut Mixture, n: i64| -> Outcome<Tensor> {
            let (n, dtype) = (count(n)?, session_dtype(&call)?);
            raise(law.sample(n, next_stream(&call, "mixture")?, dtype))
        });
    library
        .method::<Mixture>(
            "log_prob",
            "(x: Tensor) -> Tensor",
            r#"
            The log-density of each row of `x: [n, dim]`, shape `[n]`, in nats; differentiable in x.

            ```rhai
            let p = flow::mixture(#{ means: [[0.0]] }).log_prob(zeros([1, 1])).item();
            (p + 0.918939).abs() < 1e-5 // => true
            ```
            "#,
        )
        .call(|law: &mut Mixture, x: Tensor| -> Outcome<Tensor> {
            if x.rank() != 2 || x.dims().last() != Some(&law.dim()) {
                let message = format!("x: expected [n, {}], got {:?}", law.dim(), x.dims());
                let fault = Fault::new(crate::Kind::Shape, message);
                return Err(fault.at(Spot::Argument(0)).into());
            }
            raise(law.log_density(&x))
        });
}

fn mixture(map: &Map) -> Outcome<Mixture> {
    let chosen: MixtureOptions = options::read(map)?;
    let means = chosen.means.unwrap_or_else(|| vec![vec![0.0; 2]]);
    let (k, d) = (means.len(), means.first().map_or(0, Vec::len));
    let wrong = |key: &str, message: String| -> Outcome<Mixture> {
        raise(Err(rhapsode_models::Error::option(key, message)))
    };
    if means.iter().any(|row| row.len() != d) {
        return wrong("means", "expected rows of one length".into());
    }
    let covariances = match (chosen.covariances, chosen.std) {
        (Some(_), Some(_)) => {
            return wrong("std", "give either `std` or `covariances`, not both".into());
        }
        (Some(covariances), None) => covariances,
        (None, std) => {
            let std = std.unwrap_or(1.0);
            if !(std > 0.0 && std.is_finite()) {
                return wrong("std", format!("must be a finite number > 0, got {std}"));
            }
            let row = |i: usize| {
                (0..d)
                    .map(|j| if i == j { std * std } else { 0.0 })
                    .collect()
            };
            vec![(0..d).map(row).collect(); k]
        }
    };
    let square = |c: &Vec<Vec<f64>>| c.len() == d && c.iter().all(|row| row.len() == d);
    if covariances.len() != k || !covariances.iter().all(square) {
        return wrong("covariances", format!("expected {k} matrices of {d} x {d}"));
    }
    let weights = chosen.weights.unwrap_or_else(|| vec![1.0; k]);
    let means = raise(Tensor::from_vec(means.concat(), &[k, d]))?;
    let flat: Vec<f64> = covariances.into_iter().flatten().flatten().collect();
    let covariances =
        raise(Tensor::from_vec(flat, &[k, d, d]).and_then(|c| c.to_dtype(DType::F64)))?;
    raise(Mixture::new(&weights, &means, &covariances))
}

fn coefficients(t: &Dynamic, map: &Map) -> Outcome<Map> {
    let chosen: KnownOptions = options::read(map)?;
    let process = chosen.process();
    raise(process.validate())?;
    let t = number(t).filter(|t| (0.0..=1.0).contains(t));
    let outside = || Fault::value("the time must be a number in [0, 1]").at(Spot::Argument(0));
    let c = raise(process.at(t.ok_or_else(outside)?))?;
    let entries = [
        ("alpha", c.alpha),
        ("beta", c.beta),
        ("gamma", c.gamma),
        ("alpha_dot", c.alpha_dot),
        ("beta_dot", c.beta_dot),
        ("gamma_dot", c.gamma_dot),
        ("gamma_gamma_dot", c.gamma_gamma_dot),
    ];
    Ok(entries
        .into_iter()
        .map(|(key, value)| (key.into(), Dynamic::from(value)))
        .collect())
}
