//! Convolutions and their transposes as layers, as PyTorch's `Conv1d`, `Conv2d`, `ConvTranspose1d`, `ConvTranspose2d`.

use rhapsode_tensor::{Tensor, ops::conv};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Build, Init, Module, Pass};
use crate::{Error, Result, checks::at_least_one};

/// A size for both axes of an image, or `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Size {
    /// The same along both.
    Both(usize),
    /// Along the height and along the width.
    Each([usize; 2]),
}

impl Size {
    /// `[height, width]`.
    pub fn pair(self) -> [usize; 2] {
        match self {
            Size::Both(n) => [n, n],
            Size::Each(pair) => pair,
        }
    }
}

/// Options of a convolution along one axis: `[n, inputs, t] -> [n, outputs, (t + 2 padding - dilation (kernel - 1) - 1) / stride + 1]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Conv1d {
    /// Channels of the input (at least 1; default 1).
    pub inputs: usize,
    /// Channels of the output (at least 1; default 1).
    pub outputs: usize,
    /// Length of the kernel (at least 1; default 3).
    pub kernel: usize,
    /// Steps between outputs (at least 1; default 1).
    pub stride: usize,
    /// Zeros before and after (default 0).
    pub padding: usize,
    /// Steps between the elements of the kernel (at least 1; default 1).
    pub dilation: usize,
    /// Blocks of channels that do not see each other; divides inputs and outputs (at least 1; default 1).
    pub groups: usize,
    /// Whether a bias is added (default true).
    pub bias: bool,
    /// How the weights begin (default "uniform", PyTorch's).
    pub init: Init,
}

/// Options of a convolution of images: `[n, inputs, h, w] -> [n, outputs, (h + 2 padding - dilation (kernel - 1) - 1) / stride + 1, ..]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Conv2d {
    /// Channels of the input (at least 1; default 1).
    pub inputs: usize,
    /// Channels of the output (at least 1; default 1).
    pub outputs: usize,
    /// Size of the kernel, one number or [height, width] (at least 1; default 3).
    pub kernel: Size,
    /// Steps between outputs, one number or two (at least 1; default 1).
    pub stride: Size,
    /// Zeros on each side, one number or two (default 0).
    pub padding: Size,
    /// Steps between the elements of the kernel, one number or two (at least 1; default 1).
    pub dilation: Size,
    /// Blocks of channels that do not see each other; divides inputs and outputs (at least 1; default 1).
    pub groups: usize,
    /// Whether a bias is added (default true).
    pub bias: bool,
    /// How the weights begin (default "uniform", PyTorch's).
    pub init: Init,
}

/// Options of a transposed convolution along one axis:
/// `[n, inputs, t] -> [n, outputs, (t - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConvTranspose1d {
    /// Channels of the input (at least 1; default 1).
    pub inputs: usize,
    /// Channels of the output (at least 1; default 1).
    pub outputs: usize,
    /// Length of the kernel (at least 1; default 3).
    pub kernel: usize,
    /// Steps between the places of inputs in the output (at least 1; default 1).
    pub stride: usize,
    /// Places cut off at both ends (default 0).
    pub padding: usize,
    /// Places added at the far end (less than stride or dilation; default 0).
    pub output_padding: usize,
    /// Steps between the elements of the kernel (at least 1; default 1).
    pub dilation: usize,
    /// Blocks of channels that do not see each other; divides inputs and outputs (at least 1; default 1).
    pub groups: usize,
    /// Whether a bias is added (default true).
    pub bias: bool,
    /// How the weights begin (default "uniform", PyTorch's).
    pub init: Init,
}

/// Options of a transposed convolution of images:
/// `[n, inputs, h, w] -> [n, outputs, (h - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1, ..]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConvTranspose2d {
    /// Channels of the input (at least 1; default 1).
    pub inputs: usize,
    /// Channels of the output (at least 1; default 1).
    pub outputs: usize,
    /// Size of the kernel, one number or [height, width] (at least 1; default 3).
    pub kernel: Size,
    /// Steps between the places of inputs in the output, one number or two (at least 1; default 1).
    pub stride: Size,
    /// Places cut off on each side, one number or two (default 0).
    pub padding: Size,
    /// Places added at the far ends, one number or two (less than stride or dilation; default 0).
    pub output_padding: Size,
    /// Steps between the elements of the kernel, one number or two (at least 1; default 1).
    pub dilation: Size,
    /// Blocks of channels that do not see each other; divides inputs and outputs (at least 1; default 1).
    pub groups: usize,
    /// Whether a bias is added (default true).
    pub bias: bool,
    /// How the weights begin (default "uniform", PyTorch's).
    pub init: Init,
}

impl Default for Conv1d {
    fn default() -> Self {
        Self {
            inputs: 1,
            outputs: 1,
            kernel: 3,
            stride: 1,
            padding: 0,
            dilation: 1,
            groups: 1,
            bias: true,
            init: Init::default(),
        }
    }
}

impl Default for Conv2d {
    fn default() -> Self {
        Self {
            inputs: 1,
            outputs: 1,
            kernel: Size::Both(3),
            stride: Size::Both(1),
            padding: Size::Both(0),
            dilation: Size::Both(1),
            groups: 1,
            bias: true,
            init: Init::default(),
        }
    }
}

impl Default for ConvTranspose1d {
    fn default() -> Self {
        Self {
            inputs: 1,
            outputs: 1,
            kernel: 3,
            stride: 1,
            padding: 0,
            output_padding: 0,
            dilation: 1,
            groups: 1,
            bias: true,
            init: Init::default(),
        }
    }
}

impl Default for ConvTranspose2d {
    fn default() -> Self {
        Self {
            inputs: 1,
            outputs: 1,
            kernel: Size::Both(3),
            stride: Size::Both(1),
            padding: Size::Both(0),
            output_padding: Size::Both(0),
            dilation: Size::Both(1),
            groups: 1,
            bias: true,
            init: Init::default(),
        }
    }
}

impl Conv2d {
    /// A kernel of odd size that keeps the size of the image.
    pub fn same(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self {
            inputs,
            outputs,
            kernel: Size::Both(kernel),
            padding: Size::Both(kernel / 2),
            ..Self::default()
        }
    }
}

/// What the four kinds have in common, over `N` axes.
struct Common<const N: usize> {
    channels: [usize; 2],
    kernel: [usize; N],
    walk: conv::Conv<N>,
    /// Places added at the far ends of a transposed convolution; `None`: not transposed.
    transposed: Option<[usize; N]>,
    bias: bool,
    init: Init,
}

impl<const N: usize> Common<N> {
    fn validate(&self) -> Result<()> {
        let [inputs, outputs] = self.channels;
        at_least_one("inputs", inputs)?;
        at_least_one("outputs", outputs)?;
        at_least_one("groups", self.walk.groups)?;
        for i in 0..N {
            at_least_one("kernel", self.kernel[i])?;
            at_least_one("stride", self.walk.stride[i])?;
            at_least_one("dilation", self.walk.dilation[i])?;
            let most = self.walk.stride[i].max(self.walk.dilation[i]);
            if let Some(extra) = self.transposed.map(|extra| extra[i]).filter(|&e| e >= most) {
                let message = format!("must be less than stride or dilation ({most}), got {extra}");
                return Err(Error::option("output_padding", message));
            }
        }
        let groups = self.walk.groups;
        if !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            let message =
                format!("must divide inputs {inputs} and outputs {outputs}, got {groups}");
            return Err(Error::option("groups", message));
        }
        Ok(())
    }

    fn build(&self, build: &mut Build) {
        let [inputs, outputs] = self.channels;
        let groups = self.walk.groups;
        // As in PyTorch: [outputs, inputs / groups, kernel..], transposed [inputs, outputs / groups, kernel..].
        let [first, second] = match self.transposed {
            None => [outputs, inputs / groups],
            Some(_) => [inputs, outputs / groups],
        };
        let mut shape = vec![first, second];
        shape.extend(self.kernel);
        // Saturating: a size that memory cannot address is refused when the parameters are made.
        let places = self.kernel.iter().fold(1usize, |n, &k| n.saturating_mul(k));
        let (fan_in, fan_out) = (
            second.saturating_mul(places),
            (first / groups).saturating_mul(places),
        );
        build.param("weight", &shape, self.init.weight(fan_in, fan_out));
        if self.bias {
            build.param("bias", &[outputs], self.init.bias(fan_in));
        }
    }

    /// Refuses another number of channels, and images that the kernel does not fit into.
    fn check(&self, pass: &Pass, x: &Tensor) -> Result<()> {
        let inputs = self.channels[0];
        let axes = if N == 1 { "t" } else { "h, w" };
        let fits = x.rank() == N + 2 && x.dims()[1] == inputs;
        if !fits {
            return Err(pass.refuse(format!("[n, {inputs}, {axes}]"), x));
        }
        for i in 0..N {
            let reach = self.walk.dilation[i]
                .saturating_mul(self.kernel[i] - 1)
                .saturating_add(1);
            let size = x.dims()[i + 2].saturating_add(self.walk.padding[i].saturating_mul(2));
            if self.transposed.is_none() && size < reach {
                let expected = format!(
                    "[n, {inputs}, {axes}] of at least {reach} with padding along axis {}",
                    i + 2
                );
                return Err(pass.refuse(expected, x));
            }
        }
        Ok(())
    }

    fn params<'a>(&self, pass: &mut Pass<'a>) -> Result<(&'a Tensor, Option<&'a Tensor>)> {
        let weight = pass.param()?;
        let bias = if self.bias { Some(pass.param()?) } else { None };
        Ok((weight, bias))
    }
}

impl Conv1d {
    fn common(&self) -> Common<1> {
        Common {
            channels: [self.inputs, self.outputs],
            kernel: [self.kernel],
            walk: conv::Conv {
                stride: [self.stride],
                padding: [self.padding],
                dilation: [self.dilation],
                groups: self.groups,
            },
            transposed: None,
            bias: self.bias,
            init: self.init,
        }
    }
}

impl Conv2d {
    fn common(&self) -> Common<2> {
        Common {
            channels: [self.inputs, self.outputs],
            kernel: self.kernel.pair(),
            walk: conv::Conv {
                stride: self.stride.pair(),
                padding: self.padding.pair(),
                dilation: self.dilation.pair(),
                groups: self.groups,
            },
            transposed: None,
            bias: self.bias,
            init: self.init,
        }
    }
}

impl ConvTranspose1d {
    fn common(&self) -> Common<1> {
        Common {
            channels: [self.inputs, self.outputs],
            kernel: [self.kernel],
            walk: conv::Conv {
                stride: [self.stride],
                padding: [self.padding],
                dilation: [self.dilation],
                groups: self.groups,
            },
            transposed: Some([self.output_padding]),
            bias: self.bias,
            init: self.init,
        }
    }
}

impl ConvTranspose2d {
    fn common(&self) -> Common<2> {
        Common {
            channels: [self.inputs, self.outputs],
            kernel: self.kernel.pair(),
            walk: conv::Conv {
                stride: self.stride.pair(),
                padding: self.padding.pair(),
                dilation: self.dilation.pair(),
                groups: self.groups,
            },
            transposed: Some(self.output_padding.pair()),
            bias: self.bias,
            init: self.init,
        }
    }
}

impl Module for Conv1d {
    fn validate(&self) -> Result<()> {
        self.common().validate()
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        self.common().build(build);
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let common = self.common();
        common.check(pass, x)?;
        let (weight, bias) = common.params(pass)?;
        Ok(x.conv1d(weight, bias, &common.walk)?)
    }
}

impl Module for Conv2d {
    fn validate(&self) -> Result<()> {
        self.common().validate()
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        self.common().build(build);
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let common = self.common();
        common.check(pass, x)?;
        let (weight, bias) = common.params(pass)?;
        Ok(x.conv2d(weight, bias, &common.walk)?)
    }
}

impl Module for ConvTranspose1d {
    fn validate(&self) -> Result<()> {
        self.common().validate()
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        self.common().build(build);
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let common = self.common();
        common.check(pass, x)?;
        let (weight, bias) = common.params(pass)?;
        let walk = conv::ConvTranspose {
            conv: common.walk,
            output_padding: [self.output_padding],
        };
        Ok(x.conv_transpose1d(weight, bias, &walk)?)
    }
}

impl Module for ConvTranspose2d {
    fn validate(&self) -> Result<()> {
        self.common().validate()
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        self.common().build(build);
        Ok(())
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, _: &[&Tensor]) -> Result<Tensor> {
        let common = self.common();
        common.check(pass, x)?;
        let (weight, bias) = common.params(pass)?;
        let walk = conv::ConvTranspose {
            conv: common.walk,
            output_padding: self.output_padding.pair(),
        };
        Ok(x.conv_transpose2d(weight, bias, &walk)?)
    }
}
