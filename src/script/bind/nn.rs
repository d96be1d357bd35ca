//! `nn`: networks for loops of one's own.

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_models::nn::{Mlp, MlpOptions};
use rhapsode_tensor::Tensor;

use super::{
    Outcome,
    draw::{next_seed, session_dtype},
    raise,
};
use crate::{Display, library::Library, options, value::Object};

impl Object for Mlp {
    const NAME: &'static str = "Mlp";

    fn text(&self) -> String {
        layers(
            "Mlp",
            self.params()
                .slots()
                .iter()
                .map(|s| (s.name.as_str(), s.shape.as_slice())),
            self.params().len(),
        )
    }

    fn summary(&self) -> String {
        format!("{} parameters", self.params().len())
    }

    fn bytes(&self) -> Option<u64> {
        Some((self.params().len() * self.params().dtype().size_in_bytes()) as u64)
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// A table of parameters: name, shape, count.
pub(crate) fn layers<'a>(
    title: &str,
    rows: impl Iterator<Item = (&'a str, &'a [usize])>,
    total: usize,
) -> String {
    let rows: Vec<(String, String, usize)> = rows
        .map(|(name, shape)| {
            (
                name.to_string(),
                format!("{shape:?}"),
                shape.iter().product(),
            )
        })
        .collect();
    let wide = |f: fn(&(String, String, usize)) -> usize| rows.iter().map(f).max().unwrap_or(0);
    let (name, shape) = (wide(|r| r.0.len()), wide(|r| r.1.len()));
    let mut text = format!("{title}, {total} parameters");
    for (n, s, count) in &rows {
        text.push_str(&format!("\n  {n:name$}  {s:shape$}  {count:>9}"));
    }
    text
}

/// Binds it.
pub(crate) fn bind(library: &mut Library) {
    library.module("nn", "Networks for loops of one's own.");
    library.object::<Mlp>("A multilayer perceptron.");
    library
        .function(
            "nn::mlp",
            "(options?: map) -> Mlp",
            r#"
            A multilayer perceptron `x -> act(W x + b) -> .. -> W x + b`, begun like PyTorch's linear layers.

            ```rhai
            let net = nn::mlp(#{ inputs: 2, hidden: [16], outputs: 3 });
            net.forward(zeros([5, 2])).shape // => [5, 3]
            ```
            "#,
        )
        .options::<MlpOptions>()
        .call(|call: NativeCallContext| mlp(&call, &Map::new()))
        .call(|call: NativeCallContext, map: Map| mlp(&call, &map));
    library
        .method::<Mlp>(
            "forward",
            "(x: Tensor) -> Tensor",
            "`[.., inputs] -> [.., outputs]`.",
        )
        .call(|net: &mut Mlp, x: Tensor| -> Outcome<Tensor> { raise(net.forward(&x)) });
    library
        .method::<Mlp>(
            "parameters",
            "() -> array of Tensor",
            r#"
            Its parameters, for an optimizer.

            ```rhai
            let net = nn::mlp(#{ inputs: 2, outputs: 1, hidden: [8] });
            let opt = optim::adam(net.parameters(), #{ lr: 1e-2 });
            net.parameters().len() // => 4
            ```
            "#,
        )
        .call(|net: &mut Mlp| -> Array {
            net.params()
                .tensors()
                .iter()
                .cloned()
                .map(Dynamic::from)
                .collect()
        });
}

fn mlp(call: &NativeCallContext, map: &Map) -> Outcome<Mlp> {
    let chosen: MlpOptions = options::read(map)?;
    raise(Mlp::new(chosen, next_seed(call)?, session_dtype(call)?))
}
