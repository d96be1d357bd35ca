//! Convolutions, pooling and resizing as methods of a tensor.

use rhai::{Dynamic, Map};
use rhapsode_tensor::{
    Result as TensorResult, Tensor,
    ops::{
        conv::{Conv, ConvTranspose},
        pooling::Pool,
        resize::{Padding, Upsample},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{real, shape};
use crate::{
    Kind,
    bind::{Outcome, raise},
    fault::{Fault, Spot},
    library::Library,
    options,
};

/// One number for every axis, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Sizes {
    /// For every axis.
    All(usize),
    /// For each axis.
    Each(Vec<usize>),
}

impl Sizes {
    /// For `n` axes.
    fn list(&self, key: &str, n: usize) -> Result<Vec<usize>, Fault> {
        match self {
            Sizes::All(size) => Ok(vec![*size; n]),
            Sizes::Each(sizes) if sizes.len() == n => Ok(sizes.clone()),
            Sizes::Each(sizes) => {
                let text = format!(
                    "option `{key}`: expected an int or {n} ints, got {}",
                    sizes.len()
                );
                Err(Fault::new(Kind::Option, text).at(Spot::Value(vec![key.into()])))
            }
        }
    }

    fn array<const N: usize>(&self, key: &str) -> Result<[usize; N], Fault> {
        let mut out = [0; N];
        out.copy_from_slice(&self.list(key, N)?);
        Ok(out)
    }
}

/// Options of a convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ConvOptions {
    /// Steps between outputs, one for all axes or one each. Default: 1.
    stride: Sizes,
    /// Zeros before and after each axis. Default: 0.
    padding: Sizes,
    /// Steps between the elements of the kernel. Default: 1.
    dilation: Sizes,
    /// Blocks of channels that do not see each other; divides both numbers of channels. Default: 1.
    #[schemars(range(min = 1))]
    groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self {
            stride: Sizes::All(1),
            padding: Sizes::All(0),
            dilation: Sizes::All(1),
            groups: 1,
        }
    }
}

impl ConvOptions {
    fn conv<const N: usize>(&self) -> Result<Conv<N>, Fault> {
        Ok(Conv {
            stride: self.stride.array("stride")?,
            padding: self.padding.array("padding")?,
            dilation: self.dilation.array("dilation")?,
            groups: self.groups,
        })
    }
}

/// Options of a transposed convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ConvTransposeOptions {
    /// Steps of the output between inputs, one for all axes or one each. Default: 1.
    stride: Sizes,
    /// Places cut from both ends of each axis. Default: 0.
    padding: Sizes,
    /// Steps between the elements of the kernel. Default: 1.
    dilation: Sizes,
    /// Places added at the end of each axis, less than the stride or the dilation. Default: 0.
    output_padding: Sizes,
    /// Blocks of channels that do not see each other; divides both numbers of channels. Default: 1.
    #[schemars(range(min = 1))]
    groups: usize,
}

impl Default for ConvTransposeOptions {
    fn default() -> Self {
        Self {
            stride: Sizes::All(1),
            padding: Sizes::All(0),
            dilation: Sizes::All(1),
            output_padding: Sizes::All(0),
            groups: 1,
        }
    }
}

impl ConvTransposeOptions {
    fn conv<const N: usize>(&self) -> Result<ConvTranspose<N>, Fault> {
        Ok(ConvTranspose {
            conv: Conv {
                stride: self.stride.array("stride")?,
                padding: self.padding.array("padding")?,
                dilation: self.dilation.array("dilation")?,
                groups: self.groups,
            },
            output_padding: self.output_padding.array("output_padding")?,
        })
    }
}

/// Options of pooling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct PoolOptions {
    /// Steps between windows, one for all axes or one each. Default: the size of the window.
    stride: Option<Sizes>,
    /// Places before and after each axis, at most half the window. Default: 0.
    padding: Sizes,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            stride: None,
            padding: Sizes::All(0),
        }
    }
}

/// How places between places are filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// The nearest place.
    #[default]
    Nearest,
    /// Linear interpolation along each axis.
    Linear,
    /// The same: PyTorch's name for two axes.
    Bilinear,
}

/// Options of enlarging.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct UpsampleOptions {
    /// The factor, one for all axes or one each. Either this or `size`.
    scale: Option<Sizes>,
    /// The new size, one for all axes or one each. Either this or `scale`.
    size: Option<Sizes>,
    /// How places between places are filled. Default: "nearest".
    mode: Mode,
}

/// What stands outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum PadMode {
    /// `value`.
    #[default]
    Constant,
    /// The values mirrored, the outermost not repeated.
    Reflect,
    /// The outermost value.
    Replicate,
    /// The values from the other end.
    Circular,
}

/// Options of padding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct PadOptions {
    /// What stands outside. Default: "constant".
    mode: PadMode,
    /// The constant. Default: 0.
    value: f64,
}

/// Binds them.
pub(super) fn bind(library: &mut Library) {
    convolutions(library);
    pooling(library);
    resizing(library);
}

type Convolve = fn(&Tensor, &Tensor, Option<&Tensor>, &Map) -> Outcome<Tensor>;

const CONVOLUTIONS: [(&str, Convolve, &str); 4] = [
    (
        "conv1d",
        |x, w, b, map| {
            let conv = options::read::<ConvOptions>(map)?.conv()?;
            raise(x.conv1d(w, b, &conv))
        },
        r#"
        The convolution along the last axis: `x [n, c, l]` with `weight [out, c / groups, k]` gives `[n, out, l']`, where
        `y[n, o, i] = b[o] + sum w[o, c, k] x[n, c, stride i + dilation k - padding]`, zero outside of `x`.

        ```rhai
        let x = tensor([[[1.0, 2.0, 3.0, 4.0]]]);
        x.conv1d(tensor([[[1.0, 1.0]]])).to_array() // => [[[3.0, 5.0, 7.0]]]
        ```
        "#,
    ),
    (
        "conv2d",
        |x, w, b, map| {
            let conv = options::read::<ConvOptions>(map)?.conv()?;
            raise(x.conv2d(w, b, &conv))
        },
        r#"
        The convolution along the last two axes: `x [n, c, h, w]` with `weight [out, c / groups, kh, kw]` gives `[n, out, h', w']`,
        `h' = floor((h + 2 padding - dilation (kh - 1) - 1) / stride) + 1`; `bias [out]` is added.

        ```rhai
        let x = randn([8, 3, 28, 28]);
        x.conv2d(randn([16, 3, 3, 3]), zeros([16]), #{ stride: 2, padding: 1 }).shape // => [8, 16, 14, 14]
        ```
        "#,
    ),
    (
        "conv_transpose1d",
        |x, w, b, map| {
            let conv = options::read::<ConvTransposeOptions>(map)?.conv()?;
            raise(x.conv_transpose1d(w, b, &conv))
        },
        r#"
        The transpose of a convolution along the last axis: `x [n, c, l]` with `weight [c, out / groups, k]` gives `[n, out, l']`,
        `l' = (l - 1) stride - 2 padding + dilation (k - 1) + 1 + output_padding`.

        ```rhai
        let x = tensor([[[1.0, 2.0]]]);
        x.conv_transpose1d(tensor([[[1.0, 1.0]]]), #{ stride: 2 }).to_array() // => [[[1.0, 1.0, 2.0, 2.0]]]
        ```
        "#,
    ),
    (
        "conv_transpose2d",
        |x, w, b, map| {
            let conv = options::read::<ConvTransposeOptions>(map)?.conv()?;
            raise(x.conv_transpose2d(w, b, &conv))
        },
        r#"
        The transpose of a convolution along the last two axes: `x [n, c, h, w]` with `weight [c, out / groups, kh, kw]` gives
        `[n, out, h', w']`, the sizes as for `conv_transpose1d`; `bias [out]` is added.

        ```rhai
        let x = randn([8, 16, 7, 7]);
        x.conv_transpose2d(randn([16, 3, 4, 4]), #{ stride: 2, padding: 1 }).shape // => [8, 3, 14, 14]
        ```
        "#,
    ),
];

fn convolutions(library: &mut Library) {
    for (name, convolve, text) in CONVOLUTIONS {
        let signature = "(weight: Tensor, bias?: Tensor | (), options?: map) -> Tensor";
        let run = move |x: &Tensor, w: &Tensor, b: Option<&Tensor>, map: &Map| -> Outcome<Tensor> {
            let b = b.map(|b| raise(real(b))).transpose()?;
            convolve(&raise(real(x))?, &raise(real(w))?, b.as_ref(), map)
        };
        let binding = library.method::<Tensor>(name, signature, text);
        let binding = if name.starts_with("conv_transpose") {
            binding.options::<ConvTransposeOptions>()
        } else {
            binding.options::<ConvOptions>()
        };
        binding
            .call(move |x: Tensor, w: Tensor| run(&x, &w, None, &Map::new()))
            .call(move |x: Tensor, w: Tensor, b: Tensor| run(&x, &w, Some(&b), &Map::new()))
            .call(move |x: Tensor, w: Tensor, map: Map| run(&x, &w, None, &map))
            .call(move |x: Tensor, w: Tensor, b: Tensor, map: Map| run(&x, &w, Some(&b), &map))
            .call(move |x: Tensor, w: Tensor, _none: (), map: Map| run(&x, &w, None, &map));
    }
}

type Pooling<const N: usize> = fn(&Tensor, &Pool<N>) -> TensorResult<Tensor>;

fn pooling(library: &mut Library) {
    pool::<1>(
        library,
        "max_pool1d",
        Tensor::max_pool1d,
        r#"
        The largest value of each window of the last axis, `[.., l] -> [.., l']`; `l' = floor((l + 2 padding - kernel) / stride) + 1`.

        ```rhai
        tensor([1.0, 3.0, 2.0, 5.0]).max_pool1d(2).to_array() // => [3.0, 5.0]
        ```
        "#,
    );
    pool::<2>(
        library,
        "max_pool2d",
        Tensor::max_pool2d,
        r#"
        The largest value of each window of the last two axes, `[.., h, w] -> [.., h', w']`. No value comes from the padding.

        ```rhai
        zeros([8, 16, 28, 28]).max_pool2d(2).shape // => [8, 16, 14, 14]
        ```
        "#,
    );
    pool::<1>(
        library,
        "avg_pool1d",
        Tensor::avg_pool1d,
        r#"
        The mean of each window of the last axis; padding counts as zeros.

        ```rhai
        tensor([1.0, 3.0, 2.0, 4.0]).avg_pool1d(2).to_array() // => [2.0, 3.0]
        ```
        "#,
    );
    pool::<2>(
        library,
        "avg_pool2d",
        Tensor::avg_pool2d,
        r#"
        The mean of each window of the last two axes; padding counts as zeros.

        ```rhai
        ones([1, 2, 6, 6]).avg_pool2d([3, 2]).shape // => [1, 2, 2, 3]
        ```
        "#,
    );
    library
        .method::<Tensor>(
            "adaptive_avg_pool",
            "(size: int | array) -> Tensor",
            r#"
            Means on a grid of `size` over as many last axes: place `i` of `n'` is the mean over `floor(i n / n') .. ceil((i + 1) n / n')`.
            An int is one axis.

            ```rhai
            ones([8, 64, 7, 7]).adaptive_avg_pool([1, 1]).shape // => [8, 64, 1, 1]
            ```
            "#,
        )
        .call(|x: Tensor, size: Dynamic| -> Outcome<Tensor> {
            let size = shape(&size).map_err(|fault| fault.at(Spot::Argument(0)))?;
            raise(real(&x).and_then(|x| x.adaptive_avg_pool(&size)))
        });
}

fn pool<const N: usize>(
    library: &mut Library,
    name: &'static str,
    pooling: Pooling<N>,
    text: &'static str,
) {
    let run = move |x: &Tensor, kernel: &Dynamic, map: &Map| -> Outcome<Tensor> {
        let kernel = shape(kernel).map_err(|fault| fault.at(Spot::Argument(0)))?;
        let sizes = if let [one] = kernel[..] {
            Sizes::All(one)
        } else {
            Sizes::Each(kernel.clone())
        };
        let kernel: [usize; N] = sizes.array("kernel").map_err(|_| {
            let text = format!("kernel: expected an int or {N} ints, got {}", kernel.len());
            Fault::new(Kind::Shape, text).at(Spot::Argument(0))
        })?;
        let options = options::read::<PoolOptions>(map)?;
        let stride = options
            .stride
            .map_or(Ok(kernel), |stride| stride.array("stride"))?;
        let padding = options.padding.array("padding")?;
        let pool = Pool {
            kernel,
            stride,
            padding,
        };
        raise(real(x).and_then(|x| pooling(&x, &pool)))
    };
    library
        .method::<Tensor>(name, "(kernel: int | array, options?: map) -> Tensor", text)
        .options::<PoolOptions>()
        .call(move |x: Tensor, kernel: Dynamic| run(&x, &kernel, &Map::new()))
        .call(move |x: Tensor, kernel: Dynamic, map: Map| run(&x, &kernel, &map));
}

fn resizing(library: &mut Library) {
    library
        .method::<Tensor>(
            "upsample",
            "(options: map) -> Tensor",
            r#"
            The axes after the first two of `[n, c, ..]` enlarged (or reduced) to `size` or by `scale`. "nearest": place `i` of `n'` is place
            `floor(i n / n')`; "linear" ("bilinear"): between the neighbours of `(i + 1/2) n / n' - 1/2`, as PyTorch without `align_corners`.

            ```rhai
            tensor([[[1.0, 2.0]]]).upsample(#{ scale: 2 }).to_array() // => [[[1.0, 1.0, 2.0, 2.0]]]
            ```
            "#,
        )
        .options::<UpsampleOptions>()
        .call(|x: Tensor, map: Map| upsample(&x, &map));
    library
        .method::<Tensor>(
            "pixel_shuffle",
            "(r: int) -> Tensor",
            r#"
            Channels spread over places: `[.., c r^2, h, w] -> [.., c, h r, w r]`.

            ```rhai
            zeros([1, 12, 4, 4]).pixel_shuffle(2).shape // => [1, 3, 8, 8]
            ```
            "#,
        )
        .call(|x: Tensor, r: i64| raise(x.pixel_shuffle(usize::try_from(r).unwrap_or(0))));
    library
        .method::<Tensor>(
            "pad",
            "(amounts: array, options?: map) -> Tensor",
            r#"
            Places put around: `[left, right]` along the last axis, `[left, right, top, bottom]` along the last two, and so on.

            ```rhai
            tensor([1.0, 2.0, 3.0]).pad([1, 2], #{ mode: "circular" }).to_array() // => [3.0, 1.0, 2.0, 3.0, 1.0, 2.0]
            ```
            "#,
        )
        .options::<PadOptions>()
        .call(|x: Tensor, amounts: Dynamic| pad(&x, &amounts, &Map::new()))
        .call(|x: Tensor, amounts: Dynamic, map: Map| pad(&x, &amounts, &map));
}

fn upsample(x: &Tensor, map: &Map) -> Outcome<Tensor> {
    let options = options::read::<UpsampleOptions>(map)?;
    let axes = x.rank().saturating_sub(2);
    if axes == 0 {
        let text = format!(
            "upsample: expected [n, c, ..] with at least one more axis, got shape {:?}",
            x.dims()
        );
        return Err(Fault::new(Kind::Shape, text).into());
    }
    let sizes = match (options.scale, options.size) {
        (Some(scale), None) => {
            let scale = scale.list("scale", axes)?;
            x.dims()[2..]
                .iter()
                .zip(scale)
                .map(|(n, s)| n.saturating_mul(s))
                .collect()
        }
        (None, Some(size)) => size.list("size", axes)?,
        (one, _) => {
            let got = if one.is_some() { "both" } else { "neither" };
            let text =
                format!("upsample: expected one of the options `scale` and `size`, got {got}");
            return Err(Fault::new(Kind::Option, text).into());
        }
    };
    let mode = match options.mode {
        Mode::Nearest => Upsample::Nearest,
        Mode::Linear | Mode::Bilinear => Upsample::Linear,
    };
    raise(real(x).and_then(|x| x.upsample(&sizes, mode)))
}

fn pad(x: &Tensor, amounts: &Dynamic, map: &Map) -> Outcome<Tensor> {
    let amounts = shape(amounts).map_err(|fault| fault.at(Spot::Argument(0)))?;
    if !amounts.len().is_multiple_of(2) {
        let text = format!(
            "pad: expected pairs [left, right, top, bottom, ..], got {} amounts",
            amounts.len()
        );
        return Err(Fault::new(Kind::Shape, text).at(Spot::Argument(0)).into());
    }
    let options = options::read::<PadOptions>(map)?;
    let padding = match options.mode {
        PadMode::Constant => Padding::Constant(options.value),
        PadMode::Reflect => Padding::Reflect,
        PadMode::Replicate => Padding::Replicate,
        PadMode::Circular => Padding::Circular,
    };
    let pairs: Vec<(usize, usize)> = amounts.chunks_exact(2).map(|p| (p[0], p[1])).collect();
    raise(x.pad_with(&pairs, padding))
}
