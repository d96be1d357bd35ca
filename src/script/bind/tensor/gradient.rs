//! Gradients: `param grad vjp jvp no_grad`.

use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};
use rhapsode_models::Error;
use rhapsode_tensor::{Tensor, grad, jvp, no_grad, vjp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bind::{Outcome, closure::Closure, raise},
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
    products(library);
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

/// Products with the Jacobian of a function, without the Jacobian.
fn products(library: &mut Library) {
    library
        .function(
            "vjp",
            "(f: |x|, x: Tensor, v: Tensor) -> array",
            r#"
            `[f(x), v^T J]`: the value of a function at `x` and the product of a vector, of the shape of the
            value, with its Jacobian `J = df/dx`. One pass backward.

            ```rhai
            let r = vjp(|x| x ** 2, tensor([1.0, 3.0]), tensor([1.0, 10.0]));
            r[1].to_array() // => [2.0, 60.0]
            ```
            "#,
        )
        .call(|call: NativeCallContext, f: FnPtr, x: Tensor, v: Tensor| {
            let f = Closure::new(&call, f, &["x"], Spot::Argument(0))?;
            let x = raise(super::real(&x).and_then(|x| x.detach().param()))?;
            let y = raise(f.tensor([Dynamic::from(x.clone())]))?;
            let v = raise(v.to_dtype(y.dtype()))?;
            let pulled = match y.is_tracked() {
                true => raise(vjp(&y, &[&x], &v, false))?.remove(0),
                false => raise(Tensor::zeros(x.dims(), x.dtype()))?,
            };
            pair(y.detach(), pulled)
        });
    library
        .function(
            "jvp",
            "(f: |x|, x: Tensor, t: Tensor) -> array",
            r#"
            `[f(x), J t]`: the value of a function at `x` and the product of its Jacobian `J = df/dx` with a
            direction of the shape of `x`. Every operation of `f` must have a second derivative.

            ```rhai
            let r = jvp(|x| x ** 2, tensor([1.0, 3.0]), tensor([1.0, 10.0]));
            r[1].to_array() // => [2.0, 60.0]
            ```
            "#,
        )
        .call(|call: NativeCallContext, f: FnPtr, x: Tensor, t: Tensor| {
            let f = Closure::new(&call, f, &["x"], Spot::Argument(0))?;
            let x = raise(super::real(&x))?;
            let t = raise(t.to_dtype(x.dtype()))?;
            let through = |x: &Tensor| {
                f.tensor([Dynamic::from(x.clone())])
                    .map_err(|error| match error {
                        Error::Tensor(error) => error,
                        Error::Interrupted => rhapsode_tensor::Error::Interrupted,
                        other => rhapsode_tensor::Error::Callback(rhapsode_tensor::Callback::new(other)),
                    })
            };
            let (y, product) = raise(jvp(through, &x, &t))?;
            pair(y, product)
        });
}

fn pair(a: Tensor, b: Tensor) -> Outcome<Array> {
    Ok(vec![Dynamic::from(a), Dynamic::from(b)])
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
