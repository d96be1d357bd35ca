//! The layers: `nn::linear(#{ .. })` and so on, and what joins them.

use std::sync::Arc;

use rhai::{Array, Dynamic, FnPtr, ImmutableString, Map, NativeCallContext};
use rhapsode_models::nn::{
    Activation, Attention, AvgPool2d, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Custom,
    Dropout, Embedding, Flatten, Forward, GlobalAvgPool, GroupNorm, Gru, Layer, LayerNorm, Linear,
    MaxPool2d, MlpOptions, Net, Reshape, RmsNorm, StableEmbedding, TimeEmbedding, Unet, Upsample,
    time_features,
};
use rhapsode_tensor::{Tensor, ops::linear::Activation as Kernel};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    bind::{
        Outcome,
        closure::Closure,
        draw::{next_seed, session_dtype},
        raise,
    },
    fault::{Fault, Spot},
    library::Library,
    options,
    value::type_word,
};

/// A layer that is made from its options alone.
fn layer<O>(library: &mut Library, path: &'static str, wrap: fn(O) -> Layer, text: &'static str)
where
    O: DeserializeOwned + JsonSchema + 'static,
{
    let make = move |call: &NativeCallContext, map: &Map| -> Outcome<Net> {
        let chosen: O = options::read(map)?;
        raise(Net::new(
            wrap(chosen),
            next_seed(call)?,
            session_dtype(call)?,
        ))
    };
    library
        .function(path, "(options?: map) -> Net", text)
        .options::<O>()
        .call(move |call: NativeCallContext| make(&call, &Map::new()))
        .call(move |call: NativeCallContext, map: Map| make(&call, &map));
}

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    dense(library);
    convolutions(library);
    norms(library);
    sequences(library);
    shapes(library);
    images(library);
    joined(library);
    custom(library);
}

fn dense(library: &mut Library) {
    layer::<Linear>(
        library,
        "nn::linear",
        Layer::Linear,
        r#"
        A linear layer act(x W^T + b), `[.., inputs] -> [.., outputs]`.

        ```rhai
        nn::linear(#{ inputs: 2, outputs: 3 }).forward(zeros([5, 2])).shape // => [5, 3]
        ```
        "#,
    );
    layer::<MlpOptions>(
        library,
        "nn::mlp",
        Layer::Mlp,
        r#"
        A multilayer perceptron `x -> act(W x + b) -> .. -> W x + b`, begun like PyTorch's linear layers.

        ```rhai
        let net = nn::mlp(#{ inputs: 2, hidden: [16], outputs: 3 });
        net.forward(zeros([5, 2])).shape // => [5, 3]
        ```
        "#,
    );
    layer::<Embedding>(
        library,
        "nn::embedding",
        Layer::Embedding,
        r#"
        A learned vector for each whole number from 0 to vocab - 1, `[..] -> [.., size]`.

        ```rhai
        nn::embedding(#{ vocab: 10, size: 4 }).forward(tensor([1, 7])).shape // => [2, 4]
        ```
        "#,
    );
    layer::<StableEmbedding>(
        library,
        "nn::stable_embedding",
        Layer::StableEmbedding,
        r#"
        An embedding that begins uniform (Xavier) and goes through layer norm, so that 8-bit optimizers do not meet extreme
        gradients (Dettmers et al. 2021, arXiv 2110.02861), `[..] -> [.., size]`.

        ```rhai
        nn::stable_embedding(#{ vocab: 10, size: 4 }).forward(tensor([1, 7])).shape // => [2, 4]
        ```
        "#,
    );
}

fn convolutions(library: &mut Library) {
    layer::<Conv1d>(
        library,
        "nn::conv1d",
        Layer::Conv1d,
        r#"
        A convolution along one axis: y[o, i] = b[o] + sum_(c, k) W[o, c, k] x[c, stride i + dilation k - padding], `[n, inputs, t] -> [n, outputs, t']`.

        ```rhai
        nn::conv1d(#{ inputs: 2, outputs: 4, padding: 1 }).forward(zeros([5, 2, 16])).shape // => [5, 4, 16]
        ```
        "#,
    );
    layer::<Conv2d>(
        library,
        "nn::conv2d",
        Layer::Conv2d,
        r#"
        A convolution of images, `[n, inputs, h, w] -> [n, outputs, h', w']`; a size is one number or [height, width].

        ```rhai
        nn::conv2d(#{ inputs: 3, outputs: 8, padding: 1, stride: 2 }).forward(zeros([5, 3, 8, 8])).shape // => [5, 8, 4, 4]
        ```
        "#,
    );
    layer::<ConvTranspose1d>(
        library,
        "nn::conv_transpose1d",
        Layer::ConvTranspose1d,
        r#"
        A transposed convolution along one axis, which undoes the shape of a convolution, `[n, inputs, t] -> [n, outputs, t']`.

        ```rhai
        nn::conv_transpose1d(#{ inputs: 4, outputs: 2, kernel: 4, stride: 2, padding: 1 }).forward(zeros([5, 4, 8])).shape // => [5, 2, 16]
        ```
        "#,
    );
    layer::<ConvTranspose2d>(
        library,
        "nn::conv_transpose2d",
        Layer::ConvTranspose2d,
        r#"
        A transposed convolution of images, which undoes the shape of a convolution, `[n, inputs, h, w] -> [n, outputs, h', w']`.

        ```rhai
        nn::conv_transpose2d(#{ inputs: 8, outputs: 3, kernel: 4, stride: 2, padding: 1 }).forward(zeros([5, 8, 4, 4])).shape // => [5, 3, 8, 8]
        ```
        "#,
    );
}

fn norms(library: &mut Library) {
    layer::<LayerNorm>(
        library,
        "nn::layer_norm",
        Layer::LayerNorm,
        r#"
        Layer norm (x - mean) / sqrt(var + eps) * weight + bias over the last axis, `[.., size]` (arXiv 1607.06450).

        ```rhai
        nn::layer_norm(#{ size: 4 }).forward(randn([3, 4])).mean().abs().item() < 1e-5 // => true
        ```
        "#,
    );
    layer::<RmsNorm>(
        library,
        "nn::rms_norm",
        Layer::RmsNorm,
        r#"
        RMS norm x / sqrt(mean x^2 + eps) * weight over the last axis, `[.., size]` (arXiv 1910.07467).

        ```rhai
        nn::rms_norm(#{ size: 4 }).forward(ones([3, 4])).shape // => [3, 4]
        ```
        "#,
    );
    layer::<GroupNorm>(
        library,
        "nn::group_norm",
        Layer::GroupNorm,
        r#"
        Group norm: mean 0 and variance 1 of each group of channels of a sample, then a weight and a bias for each channel,
        `[n, channels, ..]` (arXiv 1803.08494).

        ```rhai
        nn::group_norm(#{ groups: 2, channels: 4 }).forward(randn([3, 4, 8, 8])).shape // => [3, 4, 8, 8]
        ```
        "#,
    );
    layer::<Dropout>(
        library,
        "nn::dropout",
        Layer::Dropout,
        r#"
        Dropout: in training mode every number becomes 0 with probability p and the others grow by 1 / (1 - p); in evaluation mode
        nothing happens. A new network is in training mode.

        ```rhai
        let drop = nn::dropout(#{ p: 0.5 });
        drop.train(false);
        drop.forward(ones([2])).to_array() // => [1.0, 1.0]
        ```
        "#,
    );
}

fn sequences(library: &mut Library) {
    layer::<Attention>(
        library,
        "nn::attention",
        Layer::Attention,
        r#"
        Multi-head attention softmax(q k^T / sqrt(d)) v, `[n, t, size] -> [n, t, size]` (arXiv 1706.03762). `forward(x)` attends to x itself,
        `forward(x, context)` to another sequence `[n, s, context]`, `forward(x, context, mask)` only where the mask `[t, s]` or
        `[n, t, s]` is not 0.

        ```rhai
        let net = nn::attention(#{ size: 8, heads: 2, causal: true });
        net.forward(randn([3, 5, 8])).shape // => [3, 5, 8]
        ```
        "#,
    );
    layer::<Gru>(
        library,
        "nn::gru",
        Layer::Gru,
        r#"
        A gated recurrent unit h' = (1 - z) c + z h, `[n, t, inputs] -> [n, t, hidden]`, as PyTorch's (arXiv 1406.1078). `forward` gives the
        outputs, `scan` the last state too, from which it goes on.

        ```rhai
        nn::gru(#{ inputs: 2, hidden: 5 }).forward(randn([3, 7, 2])).shape // => [3, 7, 5]
        ```
        "#,
    );
    layer::<TimeEmbedding>(
        library,
        "nn::time_embedding",
        Layer::TimeEmbedding,
        r#"
        Times as vectors: sines and cosines of many frequencies through two linear layers, `[n] -> [n, outputs]`.

        ```rhai
        nn::time_embedding(#{ outputs: 16 }).forward(rand([5])).shape // => [5, 16]
        ```
        "#,
    );
    library
        .function(
            "nn::time_features",
            "(t: Tensor, frequencies: int) -> Tensor",
            r#"
            t, sin(pi k t), cos(pi k t) for k = 1, .., frequencies, `[n] -> [n, 1 + 2 frequencies]`; nothing to learn.

            ```rhai
            nn::time_features(rand([5]), 4).shape // => [5, 9]
            ```
            "#,
        )
        .call(|t: Tensor, frequencies: i64| -> Outcome<Tensor> {
            let count = usize::try_from(frequencies).map_err(|_| {
                Fault::value(format!("the number of frequencies must be >= 0, got {frequencies}"))
                    .at(Spot::Argument(1))
            })?;
            raise(time_features(&t, count))
        });
}

fn shapes(library: &mut Library) {
    layer::<Flatten>(
        library,
        "nn::flatten",
        Layer::Flatten,
        r#"
        All axes but the samples' become one, `[n, c, h, w] -> [n, c h w]`.

        ```rhai
        nn::flatten().forward(zeros([5, 3, 4, 4])).shape // => [5, 48]
        ```
        "#,
    );
    layer::<Reshape>(
        library,
        "nn::reshape",
        Layer::Reshape,
        r#"
        Every sample gets another shape, `[n, ..] -> [n, shape..]`.

        ```rhai
        nn::reshape(#{ shape: [3, 4, 4] }).forward(zeros([5, 48])).shape // => [5, 3, 4, 4]
        ```
        "#,
    );
}

fn images(library: &mut Library) {
    layer::<MaxPool2d>(
        library,
        "nn::max_pool2d",
        Layer::MaxPool2d,
        r#"
        The largest value of every window, `[n, c, h, w] -> [n, c, h / kernel, w / kernel]`.

        ```rhai
        nn::max_pool2d(#{ kernel: 2 }).forward(zeros([5, 3, 8, 8])).shape // => [5, 3, 4, 4]
        ```
        "#,
    );
    layer::<AvgPool2d>(
        library,
        "nn::avg_pool2d",
        Layer::AvgPool2d,
        r#"
        The mean of every window, `[n, c, h, w] -> [n, c, h / kernel, w / kernel]`.

        ```rhai
        nn::avg_pool2d(#{ kernel: 2 }).forward(zeros([5, 3, 8, 8])).shape // => [5, 3, 4, 4]
        ```
        "#,
    );
    layer::<GlobalAvgPool>(
        library,
        "nn::global_avg_pool",
        Layer::GlobalAvgPool,
        r#"
        The mean of every channel, `[n, c, ..] -> [n, c]`.

        ```rhai
        nn::global_avg_pool().forward(zeros([5, 3, 8, 8])).shape // => [5, 3]
        ```
        "#,
    );
    layer::<Upsample>(
        library,
        "nn::upsample",
        Layer::Upsample,
        r#"
        Every pixel becomes a square of equal ones, `[n, c, h, w] -> [n, c, h scale, w scale]`.

        ```rhai
        nn::upsample(#{ scale: 2 }).forward(zeros([5, 3, 4, 4])).shape // => [5, 3, 8, 8]
        ```
        "#,
    );
    layer::<Unet>(
        library,
        "nn::unet",
        Layer::Unet,
        r#"
        A small U-Net for images with time and, on request, classes, `[n, channels, h, w] -> [n, outputs, h, w]` (arXiv 1505.04597, 2006.11239).
        `forward(x, t)` takes times `[n]` or one number, `forward(x, t, labels)` class numbers too.

        ```rhai
        let net = nn::unet(#{ channels: 1, base: 8, depth: 2 });
        net.forward(zeros([2, 1, 8, 8]), 0.5).shape // => [2, 1, 8, 8]
        ```
        "#,
    );
}

/// What stands in a list of layers: a network, the name of an activation, or a closure `|x|`.
fn part(call: &NativeCallContext, i: usize, value: Dynamic) -> Outcome<Net> {
    let value = value.flatten();
    let got = type_word(value.type_name()).to_string();
    if let Some(name) = value.read_lock::<ImmutableString>() {
        let Some(act) = Activation::named(&name) else {
            let names = Kernel::ALL.iter().map(|(name, _)| *name);
            let allowed: Vec<&str> = names.clone().collect();
            return Err(Fault::value(format!(
                "layer {i}: there is no activation {:?}",
                name.as_str()
            ))
            .at(Spot::Argument(0))
            .nearest(&name, names)
            .hint(format!("activations: {}", allowed.join(", ")))
            .into());
        };
        return raise(Net::new(Layer::Activation(act), 0, session_dtype(call)?));
    }
    if let Some(function) = value.read_lock::<FnPtr>() {
        let closure = Closure::new(call, function.clone(), &["x"], Spot::Argument(0))?;
        let forward: Forward = Arc::new(move |_, x| closure.tensor([Dynamic::from(x.clone())]));
        let layer = Layer::Custom(Custom::new(Vec::new(), forward));
        return raise(Net::new(layer, 0, session_dtype(call)?));
    }
    let expected = format!("a layer, the name of an activation or a closure as layer {i}");
    let wrong = || Fault::expected(&expected, &got).at(Spot::Argument(0));
    Ok(value.try_cast::<Net>().ok_or_else(wrong)?)
}

fn joined(library: &mut Library) {
    library
        .function(
            "nn::sequential",
            "(layers: array) -> Net",
            r#"
            Layers one after the other: networks, names of activations, closures `|x|`. The parameters of the layers move into one buffer; the
            layers stay usable by their names and learn with the whole.

            ```rhai
            let net = nn::sequential([nn::linear(#{ inputs: 2, outputs: 8 }), "relu", nn::linear(#{ inputs: 8, outputs: 1 })]);
            net.forward(zeros([5, 2])).shape // => [5, 1]
            ```
            "#,
        )
        .call(|call: NativeCallContext, list: Array| -> Outcome<Net> {
            let parts = list.into_iter().enumerate();
            let parts = parts
                .map(|(i, value)| part(&call, i, value))
                .collect::<Outcome<Vec<_>>>()?;
            raise(Net::sequential(parts, next_seed(&call)?))
        });
    library
        .function(
            "nn::residual",
            "(layer: Net) -> Net",
            r#"
            x + f(x), where f keeps the shape (arXiv 1512.03385).

            ```rhai
            nn::residual(nn::linear(#{ inputs: 4, outputs: 4 })).forward(zeros([5, 4])).shape // => [5, 4]
            ```
            "#,
        )
        .call(|call: NativeCallContext, inner: Net| -> Outcome<Net> {
            raise(Net::residual(inner, next_seed(&call)?))
        });
}

fn custom(library: &mut Library) {
    library
        .function(
            "nn::custom",
            "(options: map) -> Net",
            r#"
            A network of one's own: a closure with named parameters. It trains, saves, counts and joins others like any layer; a file holds its
            parameters but not its closure, so it is made again and filled by `load_weights`.

            ```rhai
            let net = nn::custom(#{ params: #{ w: randn([2, 3]), b: zeros([3]) }, forward: |p, x| x.matmul(p.w) + p.b });
            net.forward(zeros([5, 2])).shape // => [5, 3]
            ```
            "#,
        )
        .options::<Nothing>()
        .requires("params", "map", "Named first values of the parameters, a map of Tensors.")
        .requires("forward", "closure", "What it computes, a closure `|p, x|` of the map of parameters and the input.")
        .call(|call: NativeCallContext, mut map: Map| -> Outcome<Net> {
            let missing = |key: &str| Fault::new(crate::Kind::Option, format!("option `{key}` must be given"));
            let params = options::take::<Map>(&mut map, "params", "a map of Tensors")?;
            let function = options::take::<FnPtr>(&mut map, "forward", "a closure |p, x|")?;
            options::read_besides::<Nothing>(&map, &["params", "forward"])?;
            let params = named(params.ok_or_else(|| missing("params"))?)?;
            let function = function.ok_or_else(|| missing("forward"))?;
            let spot = Spot::Value(vec!["forward".into()]);
            let closure = Closure::new(&call, function, &["p", "x"], spot)?;
            let forward: Forward = Arc::new(move |params, x| {
                let params = params.iter().map(|(name, tensor)| ((*name).into(), Dynamic::from(Tensor::clone(tensor))));
                closure.tensor([Dynamic::from_map(params.collect()), Dynamic::from(x.clone())])
            });
            let dtype = params.first().map_or(session_dtype(&call)?, |(_, t)| t.dtype());
            let layer = Layer::Custom(Custom::new(params, forward));
            raise(Net::new(layer, 0, dtype))
        });
}

/// No options.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

/// A map of float tensors.
fn named(map: Map) -> Result<Vec<(String, Tensor)>, Fault> {
    let one = |(name, value): (rhai::Identifier, Dynamic)| {
        let got = type_word(value.type_name()).to_string();
        let spot = || Spot::Value(vec!["params".into(), name.to_string()]);
        let tensor = value.flatten().try_cast::<Tensor>().ok_or_else(|| {
            let message = format!("option `params.{name}`: expected a Tensor, got {got}");
            Fault::new(crate::Kind::Option, message).at(spot())
        })?;
        if !tensor.dtype().is_float() {
            let message = format!(
                "option `params.{name}`: expected a Tensor of floats, got {}",
                tensor.dtype().as_str()
            );
            return Err(Fault::new(crate::Kind::Option, message).at(spot()));
        }
        Ok((name.to_string(), tensor))
    };
    map.into_iter().map(one).collect()
}
