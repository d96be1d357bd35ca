//! A small U-Net for images `[n, c, h, w]` with the time of a flow and, on request, classes (Ronneberger et al. 2015,
//! arXiv 1505.04597; with residual blocks, time and attention as in Ho et al. 2020, arXiv 2006.11239).
//!
//! Level i = 0 .. depth - 1 works on images of side / 2^i with base 2^i channels: a residual block down,
//! one up, which also sees what the block down gave. At the bottom stand two more, with attention between
//! them on request. Each block is
//!
//! ```text
//! h = conv(silu(norm(x))) + W silu(e),    y = conv(silu(norm(h))) + x (through a 1x1 convolution where channels differ)
//! ```
//!
//! and `e = W2 silu(W1 features(t)) + E[class]`.

use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Attention, Build, Conv2d, Embedding, GroupNorm, Linear, Module, Pass, Size, TimeEmbedding,
    shape::image,
};
use crate::{Error, Result, checks::at_least_one};

/// Options of a small U-Net, `[n, channels, h, w] -> [n, outputs, h, w]`, h and w multiples of 2^(depth - 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Unet {
    /// Channels of the image (at least 1; default 1).
    pub channels: usize,
    /// Channels of the output (at least 1; default: channels).
    pub outputs: Option<usize>,
    /// Channels of the first level; level i has base 2^i (an even number, at least 2; default 32).
    pub base: usize,
    /// Number of levels; each halves the side of the image (1 to 10; default 2).
    pub depth: usize,
    /// Whether it takes times `[n]` in [0, 1] as second input (default true).
    pub time: bool,
    /// Whether the places of the smallest image attend to each other (default false).
    pub attention: bool,
    /// Number of classes, given as third input `[n]`; number `classes` itself stands for "no class"; 0: none (default 0).
    pub classes: usize,
}

impl Default for Unet {
    fn default() -> Self {
        Self {
            channels: 1,
            outputs: None,
            base: 32,
            depth: 2,
            time: true,
            attention: false,
            classes: 0,
        }
    }
}

/// A residual block.
struct Block {
    inputs: usize,
    outputs: usize,
    /// Size of the embedding of time and class; 0: none.
    embedding: usize,
}

/// Groups of a norm: up to 8 of at least 4 channels. (A group of one channel would take out again what the embedding
/// of time adds to it.)
fn norm(channels: usize) -> GroupNorm {
    let fits = |g: &usize| channels.is_multiple_of(*g) && channels / *g >= 4;
    let groups = [8, 4, 2].into_iter().find(fits);
    GroupNorm {
        groups: groups.unwrap_or(1),
        channels,
        ..GroupNorm::default()
    }
}

impl Block {
    fn build(&self, name: &str, build: &mut Build) -> Result<()> {
        let (a, b) = (self.inputs, self.outputs);
        let at = |part: &str| format!("{name}.{part}");
        build.within(&at("norm1"), &norm(a))?;
        build.within(&at("conv1"), &Conv2d::same(a, b, 3))?;
        if self.embedding > 0 {
            build.within(&at("time"), &Linear::of(self.embedding, b))?;
        }
        build.within(&at("norm2"), &norm(b))?;
        build.within(&at("conv2"), &Conv2d::same(b, b, 3))?;
        if a != b {
            build.within(&at("skip"), &Conv2d::same(a, b, 1))?;
        }
        Ok(())
    }

    fn forward(
        &self,
        name: &str,
        pass: &mut Pass,
        x: &Tensor,
        e: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (a, b) = (self.inputs, self.outputs);
        let at = |part: &str| format!("{name}.{part}");
        let h = pass
            .run(&at("norm1"), "group_norm", &norm(a), x, &[])?
            .silu()?;
        let mut h = pass.run(&at("conv1"), "conv2d", &Conv2d::same(a, b, 3), &h, &[])?;
        if let Some(e) = e {
            let shift = pass.run(
                &at("time"),
                "linear",
                &Linear::of(self.embedding, b),
                e,
                &[],
            )?;
            h = h.add(&shift.reshape(&[shift.dim(0)?, b, 1, 1])?)?;
        }
        let h = pass
            .run(&at("norm2"), "group_norm", &norm(b), &h, &[])?
            .silu()?;
        let h = pass.run(&at("conv2"), "conv2d", &Conv2d::same(b, b, 3), &h, &[])?;
        if a == b {
            return Ok(h.add(x)?);
        }
        let skip = pass.run(&at("skip"), "conv2d", &Conv2d::same(a, b, 1), x, &[])?;
        Ok(h.add(&skip)?)
    }
}

impl Unet {
    /// Channels of the output.
    pub fn outputs(&self) -> usize {
        self.outputs.unwrap_or(self.channels)
    }

    /// Channels of a level.
    fn width(&self, level: usize) -> usize {
        self.base.saturating_mul(1 << level)
    }

    /// Size of the embedding of time and class; 0 without either.
    fn embedding(&self) -> usize {
        if self.time || self.classes > 0 {
            self.base.saturating_mul(4)
        } else {
            0
        }
    }

    fn time_embedding(&self) -> TimeEmbedding {
        TimeEmbedding {
            size: self.base,
            hidden: self.embedding(),
            outputs: self.embedding(),
            ..TimeEmbedding::default()
        }
    }

    fn class_table(&self) -> Embedding {
        Embedding {
            vocab: self.classes.saturating_add(1),
            size: self.embedding(),
            ..Embedding::default()
        }
    }

    fn block(&self, inputs: usize, outputs: usize) -> Block {
        let embedding = self.embedding();
        Block {
            inputs,
            outputs,
            embedding,
        }
    }

    /// Down: level i takes the channels of level i - 1 (of the stem at first).
    fn down(&self, level: usize) -> Block {
        self.block(self.width(level.saturating_sub(1)), self.width(level))
    }

    /// Up: level i takes what came from below and what the way down left there.
    fn up(&self, level: usize) -> Block {
        let below = self.width((level + 1).min(self.depth - 1));
        self.block(below.saturating_add(self.width(level)), self.width(level))
    }

    /// The halving of an image.
    fn halving(&self, level: usize) -> Conv2d {
        Conv2d {
            stride: Size::Both(2),
            ..Conv2d::same(self.width(level), self.width(level), 3)
        }
    }

    fn attention(&self) -> Attention {
        Attention {
            size: self.width(self.depth - 1),
            heads: 2,
            ..Attention::default()
        }
    }

    /// Time and class as one vector `[n, embedding]`, after its silu.
    fn condition(&self, pass: &mut Pass, x: &Tensor, more: &[&Tensor]) -> Result<Option<Tensor>> {
        let n = x.dim(0)?;
        let vector = |what: &'static str, i: usize| match more.get(i) {
            Some(t) if t.dims() == [n] => Ok(*t),
            got => Err(Error::Shape {
                what,
                expected: format!("[{n}], one a sample"),
                got: got.map_or(Vec::new(), |t| t.dims().to_vec()),
            }),
        };
        let mut e = None;
        if self.time {
            let t = vector("unet time t", 0)?.to_dtype(x.dtype())?;
            e = Some(pass.run("time", "time_embedding", &self.time_embedding(), &t, &[])?);
        }
        if self.classes > 0 {
            // Without labels: no class.
            let none = Tensor::full(self.classes as f64, &[n], rhapsode_tensor::DType::I64)?;
            let place = usize::from(self.time);
            let labels = match more.get(place) {
                Some(_) => vector("unet labels", place)?,
                None => &none,
            };
            let class = pass.run("class", "embedding", &self.class_table(), labels, &[])?;
            e = Some(match e {
                Some(e) => e.add(&class)?,
                None => class,
            });
        }
        let taken = usize::from(self.time) + usize::from(self.classes > 0);
        if more.len() > taken {
            let message = format!(
                "takes {taken} inputs besides the image, got {} (time: {}, classes: {})",
                more.len(),
                self.time,
                self.classes
            );
            return Err(Error::Value {
                what: "unet",
                message,
            });
        }
        Ok(e.map(|e| e.silu()).transpose()?)
    }

    /// The two blocks at the bottom, with attention between them on request.
    fn bottom(&self, pass: &mut Pass, h: &Tensor, e: Option<&Tensor>) -> Result<Tensor> {
        let width = self.width(self.depth - 1);
        let h = self.block(width, width).forward("mid1", pass, h, e)?;
        let h = if self.attention {
            let [n, c, rows, columns] = image(pass, &h)?;
            let flat = pass.run("attention.norm", "group_norm", &norm(c), &h, &[])?;
            let flat = flat.reshape(&[n, c, rows * columns])?.t()?;
            let y = pass.run("attention", "attention", &self.attention(), &flat, &[])?;
            h.add(&y.t()?.reshape(&[n, c, rows, columns])?)?
        } else {
            h
        };
        self.block(width, width).forward("mid2", pass, &h, e)
    }
}

impl Module for Unet {
    fn validate(&self) -> Result<()> {
        at_least_one("channels", self.channels)?;
        at_least_one("outputs", self.outputs())?;
        if self.base < 2 || !self.base.is_multiple_of(2) {
            let message = format!("must be an even number of at least 2, got {}", self.base);
            return Err(Error::option("base", message));
        }
        if !(1..=10).contains(&self.depth) {
            let message = format!("must lie in 1..=10, got {}", self.depth);
            return Err(Error::option("depth", message));
        }
        Ok(())
    }

    fn build(&self, build: &mut Build) -> Result<()> {
        build.within("stem", &Conv2d::same(self.channels, self.base, 3))?;
        if self.time {
            build.within("time", &self.time_embedding())?;
        }
        if self.classes > 0 {
            build.within("class", &self.class_table())?;
        }
        for level in 0..self.depth {
            self.down(level).build(&format!("down.{level}"), build)?;
            if level + 1 < self.depth {
                build.within(&format!("down.{level}.half"), &self.halving(level))?;
            }
        }
        let width = self.width(self.depth - 1);
        self.block(width, width).build("mid1", build)?;
        if self.attention {
            build.within("attention.norm", &norm(width))?;
            build.within("attention", &self.attention())?;
        }
        self.block(width, width).build("mid2", build)?;
        for level in (0..self.depth).rev() {
            self.up(level).build(&format!("up.{level}"), build)?;
        }
        build.within("norm", &norm(self.base))?;
        build.within("head", &Conv2d::same(self.base, self.outputs(), 3))
    }

    fn forward(&self, pass: &mut Pass, x: &Tensor, more: &[&Tensor]) -> Result<Tensor> {
        let [_, c, rows, columns] = image(pass, x)?;
        let unit = 1usize << (self.depth - 1);
        let whole = |side: usize| side > 0 && side.is_multiple_of(unit);
        if c != self.channels || !whole(rows) || !whole(columns) {
            let expected = format!(
                "[n, {}, h, w] with h and w multiples of {unit}",
                self.channels
            );
            return Err(pass.refuse(expected, x));
        }
        let stem = Conv2d::same(self.channels, self.base, 3);
        let mut h = pass.run("stem", "conv2d", &stem, x, &[])?;
        let e = self.condition(pass, x, more)?;
        let e = e.as_ref();
        let mut left = Vec::with_capacity(self.depth);
        for level in 0..self.depth {
            h = self
                .down(level)
                .forward(&format!("down.{level}"), pass, &h, e)?;
            left.push(h.clone());
            if level + 1 < self.depth {
                let name = format!("down.{level}.half");
                h = pass.run(&name, "conv2d", &self.halving(level), &h, &[])?;
            }
        }
        h = self.bottom(pass, &h, e)?;
        for level in (0..self.depth).rev() {
            if level + 1 < self.depth {
                h = super::Upsample { scale: 2 }.forward(pass, &h, &[])?;
            }
            if let Some(skip) = left.pop() {
                h = Tensor::cat(&[&h, &skip], 1)?;
            }
            h = self
                .up(level)
                .forward(&format!("up.{level}"), pass, &h, e)?;
        }
        let h = pass
            .run("norm", "group_norm", &norm(self.base), &h, &[])?
            .silu()?;
        pass.run(
            "head",
            "conv2d",
            &Conv2d::same(self.base, self.outputs(), 3),
            &h,
            &[],
        )
    }
}
