//! Every kind of layer, with a sample for its contract test (`src/models/tests/nn.rs`): shapes, gradients, files, seeds.

use schemars::{JsonSchema, Schema, schema_for};

use super::{
    Activation, Attention, AvgPool2d, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Dropout,
    Embedding, Flatten, GlobalAvgPool, GroupNorm, Gru, Init, Layer, LayerNorm, Linear, MaxPool2d,
    MlpOptions, Reshape, Residual, RmsNorm, Sequential, Size, StableEmbedding, TimeEmbedding, Unet,
    Upsample,
};

/// One kind of layer.
pub struct Kind {
    /// Name in scripts.
    pub name: &'static str,
    /// Schema of its options; `None` where it takes layers or nothing.
    pub schema: Option<fn() -> Schema>,
    /// A small one.
    pub sample: fn() -> Layer,
    /// Shapes of the inputs that the sample takes: the first, then further ones.
    pub inputs: &'static [&'static [usize]],
    /// The shape of its output.
    pub output: &'static [usize],
    /// Whether inputs are whole numbers from 0 to 2.
    pub whole: bool,
}

fn schema<T: JsonSchema>() -> Schema {
    schema_for!(T)
}

const fn kind<T: JsonSchema>(
    name: &'static str,
    sample: fn() -> Layer,
    inputs: &'static [&'static [usize]],
    output: &'static [usize],
) -> Kind {
    Kind {
        name,
        schema: Some(schema::<T>),
        sample,
        inputs,
        output,
        whole: false,
    }
}

const fn plain(
    name: &'static str,
    sample: fn() -> Layer,
    inputs: &'static [&'static [usize]],
    output: &'static [usize],
) -> Kind {
    Kind {
        name,
        schema: None,
        sample,
        inputs,
        output,
        whole: false,
    }
}

fn linear(inputs: usize, outputs: usize) -> Layer {
    Layer::Linear(Linear::of(inputs, outputs))
}

fn conv2d() -> Layer {
    Layer::Conv2d(Conv2d {
        inputs: 2,
        outputs: 4,
        stride: Size::Each([2, 1]),
        padding: Size::Both(1),
        groups: 2,
        init: Init::Orthogonal,
        ..Conv2d::default()
    })
}

fn conv_transpose2d() -> Layer {
    Layer::ConvTranspose2d(ConvTranspose2d {
        inputs: 4,
        outputs: 2,
        stride: Size::Both(2),
        padding: Size::Both(1),
        output_padding: Size::Both(1),
        init: Init::Kaiming,
        ..ConvTranspose2d::default()
    })
}

fn attention() -> Layer {
    Layer::Attention(Attention {
        size: 8,
        heads: 2,
        causal: true,
        rotary: true,
        ..Attention::default()
    })
}

fn cross_attention() -> Layer {
    Layer::Attention(Attention {
        size: 6,
        heads: 3,
        context: Some(4),
        ..Attention::default()
    })
}

fn unet() -> Layer {
    Layer::Unet(Unet {
        channels: 2,
        outputs: Some(3),
        base: 4,
        depth: 2,
        attention: true,
        classes: 3,
        ..Unet::default()
    })
}

fn sequential() -> Layer {
    Layer::Sequential(Sequential {
        layers: vec![
            conv2d(),
            Layer::Activation(Activation::Gelu),
            Layer::Dropout(Dropout { p: 0.25 }),
            Layer::Flatten(Flatten::default()),
            linear(48, 3),
        ],
    })
}

fn residual() -> Layer {
    Layer::Residual(Residual {
        inner: Box::new(Layer::Sequential(Sequential {
            layers: vec![
                Layer::LayerNorm(LayerNorm {
                    size: 5,
                    ..LayerNorm::default()
                }),
                linear(5, 5),
            ],
        })),
    })
}

/// Every kind of layer. To be in the list is to be tested.
pub const ALL: &[Kind] = &[
    kind::<Linear>("linear", || linear(3, 5), &[&[4, 3]], &[4, 5]),
    kind::<MlpOptions>(
        "mlp",
        || {
            Layer::Mlp(MlpOptions {
                inputs: 3,
                outputs: 2,
                hidden: vec![7],
                ..MlpOptions::default()
            })
        },
        &[&[4, 3]],
        &[4, 2],
    ),
    kind::<Conv1d>(
        "conv1d",
        || {
            Layer::Conv1d(Conv1d {
                inputs: 2,
                outputs: 3,
                dilation: 2,
                ..Conv1d::default()
            })
        },
        &[&[2, 2, 9]],
        &[2, 3, 5],
    ),
    kind::<Conv2d>("conv2d", conv2d, &[&[2, 2, 6, 4]], &[2, 4, 3, 4]),
    kind::<ConvTranspose1d>(
        "conv_transpose1d",
        || {
            Layer::ConvTranspose1d(ConvTranspose1d {
                inputs: 2,
                outputs: 3,
                stride: 2,
                ..ConvTranspose1d::default()
            })
        },
        &[&[2, 2, 4]],
        &[2, 3, 9],
    ),
    kind::<ConvTranspose2d>(
        "conv_transpose2d",
        conv_transpose2d,
        &[&[2, 4, 3, 3]],
        &[2, 2, 6, 6],
    ),
    Kind {
        whole: true,
        ..kind::<Embedding>(
            "embedding",
            || {
                Layer::Embedding(Embedding {
                    vocab: 3,
                    size: 4,
                    ..Embedding::default()
                })
            },
            &[&[2, 5]],
            &[2, 5, 4],
        )
    },
    Kind {
        whole: true,
        ..kind::<StableEmbedding>(
            "stable_embedding",
            || Layer::StableEmbedding(StableEmbedding { vocab: 3, size: 4 }),
            &[&[7]],
            &[7, 4],
        )
    },
    kind::<LayerNorm>(
        "layer_norm",
        || {
            Layer::LayerNorm(LayerNorm {
                size: 5,
                ..LayerNorm::default()
            })
        },
        &[&[3, 5]],
        &[3, 5],
    ),
    kind::<RmsNorm>(
        "rms_norm",
        || {
            Layer::RmsNorm(RmsNorm {
                size: 5,
                ..RmsNorm::default()
            })
        },
        &[&[3, 5]],
        &[3, 5],
    ),
    kind::<GroupNorm>(
        "group_norm",
        || {
            Layer::GroupNorm(GroupNorm {
                groups: 2,
                channels: 4,
                ..GroupNorm::default()
            })
        },
        &[&[2, 4, 3, 3]],
        &[2, 4, 3, 3],
    ),
    kind::<Dropout>(
        "dropout",
        || Layer::Dropout(Dropout::default()),
        &[&[3, 5]],
        &[3, 5],
    ),
    kind::<Attention>("attention", attention, &[&[2, 5, 8]], &[2, 5, 8]),
    kind::<Attention>(
        "attention",
        cross_attention,
        &[&[2, 5, 6], &[2, 3, 4], &[5, 3]],
        &[2, 5, 6],
    ),
    kind::<Gru>(
        "gru",
        || {
            Layer::Gru(Gru {
                inputs: 3,
                hidden: 4,
                layers: 2,
            })
        },
        &[&[2, 5, 3]],
        &[2, 5, 4],
    ),
    kind::<TimeEmbedding>(
        "time_embedding",
        || {
            Layer::TimeEmbedding(TimeEmbedding {
                size: 8,
                hidden: 6,
                outputs: 5,
                ..TimeEmbedding::default()
            })
        },
        &[&[4]],
        &[4, 5],
    ),
    plain(
        "relu",
        || Layer::Activation(Activation::Relu),
        &[&[3, 5]],
        &[3, 5],
    ),
    kind::<Flatten>(
        "flatten",
        || Layer::Flatten(Flatten::default()),
        &[&[2, 3, 4]],
        &[2, 12],
    ),
    kind::<Reshape>(
        "reshape",
        || {
            Layer::Reshape(Reshape {
                shape: vec![3, 2, 2],
            })
        },
        &[&[2, 12]],
        &[2, 3, 2, 2],
    ),
    kind::<MaxPool2d>(
        "max_pool2d",
        || Layer::MaxPool2d(MaxPool2d::default()),
        &[&[2, 3, 5, 4]],
        &[2, 3, 2, 2],
    ),
    kind::<AvgPool2d>(
        "avg_pool2d",
        || Layer::AvgPool2d(AvgPool2d::default()),
        &[&[2, 3, 5, 4]],
        &[2, 3, 2, 2],
    ),
    kind::<GlobalAvgPool>(
        "global_avg_pool",
        || Layer::GlobalAvgPool(GlobalAvgPool {}),
        &[&[2, 3, 5, 4]],
        &[2, 3],
    ),
    kind::<Upsample>(
        "upsample",
        || Layer::Upsample(Upsample { scale: 3 }),
        &[&[2, 3, 2, 1]],
        &[2, 3, 6, 3],
    ),
    plain("sequential", sequential, &[&[2, 2, 6, 4]], &[2, 3]),
    plain("residual", residual, &[&[4, 5]], &[4, 5]),
    kind::<Unet>("unet", unet, &[&[2, 2, 4, 6], &[2]], &[2, 3, 4, 6]),
];
