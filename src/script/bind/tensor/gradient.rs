//! Gradients: `param grad no_grad`.

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};
use rhapsode_tensor::{Tensor, grad, no_grad};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bind::{Outcome, raise},
    fault::{Fault, Spot},
    library::Library,
    options,
    value::type_word,
};

/// How gradients are taken.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Gradient {
    /// Keep the history of the gradients themselves, so that they can be differentiated again.
    create_graph: bool,
}

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    library
        .function(
            "param",
            "(x: Tensor) -> Tensor",
            r#"
            The same values as a parameter: gradients with respect to it can be asked for.

            ```rhai
            let w = param(tensor([1.0, 2.0]));
            grad((w ** 2).sum(), w).to_array() // => [2.0, 4.0]
            ```
            "#,
        )
        // A copy: an optimizer changes a parameter in place, and `x` must not follow.
        .call(|x: Tensor| raise(super::real(&x.detach()).and_then(|x| x.copy()?.param())));
    library
        .function(
            "grad",
            "(loss: Tensor, of: Tensor | array, options?: map) -> Tensor | array",
            r#"
            The gradients of a loss of one element: of one parameter a tensor, of an array of them an array.

            ```rhai
            let w = param(tensor([3.0]));
            let g = grad((w * w).sum(), [w]);
            g[0].item() // => 6.0
            ```
            "#,
        )
        .options::<Gradient>()
        .call(|loss: Tensor, of: Dynamic| gradients(&loss, &of, false))
        .call(|loss: Tensor, of: Dynamic, map: Map| -> Outcome<Dynamic> {
            let options: Gradient = options::read(&map)?;
            gradients(&loss, &of, options.create_graph)
        });
    library
        .function(
            "no_grad",
            "(f: closure) -> any",
            r#"
            What a closure gives when no history is kept: faster, for sampling and for judging.

            ```rhai
            let w = param(tensor([3.0]));
            no_grad(|| w * 2).item() // => 6.0
            ```
            "#,
        )
        .call(|call: NativeCallContext, f: FnPtr| -> Outcome<Dynamic> {
            no_grad(|| f.call_within_context(&call, ()))
        });
}

fn gradients(loss: &Tensor, of: &Dynamic, create_graph: bool) -> Outcome<Dynamic> {
    if let Some(one) = of.read_lock::<Tensor>() {
        let mut found = raise(grad(loss, &[&one], create_graph))?;
        return Ok(found.pop().map_or(Dynamic::UNIT, Dynamic::from));
    }
    let wrong = |got: &str| {
        Fault::expected("Tensor or array of tensors", type_word(got)).at(Spot::Argument(1))
    };
    let Some(items) = of.read_lock::<Array>() else {
        return Err(wrong(of.type_name()).into());
    };
    let of: Vec<Tensor> = items
        .iter()
        .map(|item| {
            item.clone()
                .try_cast::<Tensor>()
                .ok_or_else(|| wrong(item.type_name()))
        })
        .collect::<Result<_, _>>()?;
    let found = raise(grad(loss, &of.iter().collect::<Vec<_>>(), create_graph))?;
    Ok(Dynamic::from(
        found.into_iter().map(Dynamic::from).collect::<Array>(),
    ))
}
