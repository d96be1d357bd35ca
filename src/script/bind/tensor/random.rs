//! Random tensors: `rand randn randint randperm`, `bernoulli multinomial`.

use rhai::{Dynamic, Map, NativeCallContext};
use rhapsode_tensor::{Tensor, memory};

use super::{
    create::{Creation, Target},
    shape,
};
use crate::{
    bind::{Outcome, draw::next_stream, raise},
    fault::{Fault, Spot},
    library::Library,
};

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    for (name, text) in [
        (
            "rand",
            "Uniform random numbers in [0, 1); `seed` makes them repeat.\n\n```rhai\nrand([2, 3]).shape // => [2, 3]\n```",
        ),
        (
            "randn",
            "Standard normal random numbers; `seed` makes them repeat.\n\n```rhai\nrandn([2, 3]).shape // => [2, 3]\n```",
        ),
    ] {
        let make = move |call: &NativeCallContext, target: Target, size: &Dynamic| {
            let size = shape(size).map_err(|fault| fault.at(Spot::Argument(0)))?;
            let stream = next_stream(call, "script")?;
            raise(if name == "rand" {
                stream.rand(&size, target.floats())
            } else {
                stream.randn(&size, target.floats())
            })
        };
        library
            .function(name, "(shape: array | int, options?: map) -> Tensor", text)
            .options::<Creation>()
            .call(move |call: NativeCallContext, size: Dynamic| {
                make(&call, Target::of_session(&call)?, &size)
            })
            .call(
                move |call: NativeCallContext, size: Dynamic, options: Map| {
                    make(&call, Target::new(&call, &options)?, &size)
                },
            );
    }
    library
        .function(
            "randint",
            "(low: int, high: int, shape: array | int) -> Tensor",
            r#"
            Random ints from `low` up to but without `high`; `seed` makes them repeat.

            ```rhai
            randint(0, 10, [5]).dtype // => "i64"
            ```
            "#,
        )
        .call(
            |call: NativeCallContext, low: i64, high: i64, size: Dynamic| -> Outcome<Tensor> {
                let size = shape(&size).map_err(|fault| fault.at(Spot::Argument(2)))?;
                raise(next_stream(&call, "script")?.randint(low, high, &size))
            },
        );
    library
        .function(
            "randperm",
            "(n: int) -> Tensor",
            r#"
            The numbers `0..n` in random order, i64; `seed` makes it repeat.

            ```rhai
            randperm(5).sort()[0].to_array() // => [0, 1, 2, 3, 4]
            ```
            "#,
        )
        .call(|call: NativeCallContext, n: i64| -> Outcome<Tensor> {
            let n = count(n, 0)?;
            raise(memory::ensure(n, 24))?;
            let order = next_stream(&call, "script")?.permutation(n);
            raise(Tensor::from_vec(
                order.into_iter().map(|i| i as i64).collect(),
                &[n],
            ))
        });
    by_probability(library);
}

/// Draws by given probabilities.
fn by_probability(library: &mut Library) {
    library
        .method::<Tensor>(
            "bernoulli",
            "() -> Tensor",
            "1 with the probability that each element is, else 0; `seed` makes it repeat.\n\n```rhai\ntensor([0.0, 1.0]).bernoulli().to_array() // => [0.0, 1.0]\n```",
        )
        .call(|call: NativeCallContext, p: Tensor| raise(next_stream(&call, "script")?.bernoulli(&p)));
    let draws = |call: &NativeCallContext, weights: &Tensor, n: i64, again: bool| {
        raise(next_stream(call, "script")?.multinomial(weights, count(n, 0)?, again))
    };
    library
        .method::<Tensor>(
            "multinomial",
            "(count: int, replacement?: bool) -> Tensor",
            r#"
            So many draws of `0..k` for each row of weights `[.., k]`, which need not sum to 1: i64 of shape
            `[.., count]`. Without `true` no number comes twice in a row. `seed` makes it repeat.

            ```rhai
            tensor([0.0, 2.0, 0.0]).multinomial(3, true).to_array() // => [1, 1, 1]
            ```
            "#,
        )
        .call(move |call: NativeCallContext, x: Tensor, n: i64| draws(&call, &x, n, false))
        .call(move |call: NativeCallContext, x: Tensor, n: i64, again: bool| draws(&call, &x, n, again));
}

fn count(n: i64, argument: usize) -> Result<usize, Fault> {
    usize::try_from(n)
        .map_err(|_| Fault::value(format!("must be >= 0, got {n}")).at(Spot::Argument(argument)))
}
