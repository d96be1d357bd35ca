//! PNG images as tensors `[channels, height, width]`, as torchvision has them, and back.

use std::{
    io::BufReader,
    path::{Path, PathBuf},
};

use png::{BitDepth, ColorType, Decoder, Encoder, Transformations};
use rhapsode_tensor::{DType, Tensor, interrupt, memory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, files};

/// Options of reading images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImageOptions {
    /// Give every image so many channels: 1 (grey, by luma 0.299 R + 0.587 G + 0.114 B), 3 (RGB) or 4 (RGB and alpha);
    /// alpha is left out or added as 1. Default: those of the file (1 grey, 2 grey and alpha, 3 RGB, 4 RGBA).
    pub channels: Option<usize>,
}

/// Reads a PNG: f32 `[channels, height, width]` in 0..1, from 8 or 16 bits; palettes become RGB.
///
/// Errors: a file that is not there, is no whole PNG, is larger than memory; an impossible number of channels.
pub fn read(path: &Path, options: &ImageOptions) -> Result<Tensor> {
    if options.channels.is_some_and(|c| !matches!(c, 1 | 3 | 4)) {
        let got = options.channels.unwrap_or(0);
        return Err(Error::option(
            "channels",
            format!("expected 1, 3 or 4, got {got}"),
        ));
    }
    let (file, _) = files::open(path)?;
    let broken = |e: png::DecodingError| files::damaged(path, format!("not a whole PNG ({e})"));
    let mut decoder = Decoder::new(BufReader::new(file));
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let (colour, depth) = reader.output_color_type();
    let channels = colour.samples();
    // What is decoded, as floats, and once more for the order of axes.
    let count = memory::count("image", &[channels, height, width])?;
    memory::ensure(count, 2 + 2 * size_of::<f32>())?;
    let size = reader.output_buffer_size().unwrap_or(usize::MAX);
    memory::ensure(size, 1)?;
    let mut bytes = vec![0; size];
    reader.next_frame(&mut bytes).map_err(broken)?;
    let values: Vec<f32> = match depth {
        BitDepth::Sixteen => {
            let wide = bytes.as_chunks::<2>().0.iter();
            wide.map(|b| f32::from(u16::from_be_bytes(*b)) / 65_535.0)
                .collect()
        }
        _ => bytes.iter().map(|b| f32::from(*b) / 255.0).collect(),
    };
    let values = match options.channels {
        Some(wanted) => convert(&values, channels, wanted),
        None => values,
    };
    let channels = options.channels.unwrap_or(channels);
    let image = Tensor::from_vec(values, &[height, width, channels])?;
    Ok(image.permute(&[2, 0, 1])?.contiguous()?)
}

/// Pixels of some channels to pixels of others.
fn convert(values: &[f32], from: usize, to: usize) -> Vec<f32> {
    let pixel = |p: &[f32]| -> [f32; 4] {
        match *p {
            [grey] => [grey, grey, grey, 1.0],
            [grey, alpha] => [grey, grey, grey, alpha],
            [r, g, b] => [r, g, b, 1.0],
            [r, g, b, alpha, ..] => [r, g, b, alpha],
            [] => [0.0; 4],
        }
    };
    let mut out = Vec::with_capacity(values.len() / from.max(1) * to);
    for p in values.chunks_exact(from.max(1)) {
        let [r, g, b, alpha] = pixel(p);
        match to {
            1 if from < 3 => out.push(r),
            1 => out.push(0.299 * r + 0.587 * g + 0.114 * b),
            3 => out.extend([r, g, b]),
            _ => out.extend([r, g, b, alpha]),
        }
    }
    out
}

/// Reads many PNGs of one size: `[n, channels, height, width]`, in the order given.
pub fn read_all(paths: &[PathBuf], options: &ImageOptions) -> Result<Tensor> {
    let mut images = Vec::with_capacity(paths.len());
    for path in paths {
        interrupt::check()?;
        let image = read(path, options)?;
        let first: &Tensor = images.first().unwrap_or(&image);
        if first.dims() != image.dims() {
            let message = format!(
                "has shape {:?}, the first image {:?} (option `channels` makes channels alike)",
                image.dims(),
                first.dims()
            );
            return Err(files::damaged(path, message));
        }
        images.push(image);
    }
    if images.is_empty() {
        return Err(Error::Value {
            what: "images",
            message: "expected at least one image, got none".into(),
        });
    }
    memory::ensure(
        images.len() * images.first().map_or(0, Tensor::len),
        size_of::<f32>(),
    )?;
    Ok(Tensor::stack(&images.iter().collect::<Vec<_>>(), 0)?)
}

/// The PNGs of a folder, by name.
pub fn folder(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).map_err(|e| files::failed(path, &e))?;
    let mut found = Vec::new();
    for entry in entries {
        let file = entry.map_err(|e| files::failed(path, &e))?.path();
        let is_png = file
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("png"));
        if is_png && file.is_file() {
            found.push(file);
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(files::damaged(path, "holds no .png file")),
        false => Ok(found),
    }
}

/// Writes a PNG of 8 bits: floats `[c, h, w]` or `[h, w]` in 0..1 (what lies outside is cut off, as torchvision does), or
/// u8 in 0..255. c is 1, 2, 3 or 4. Errors: other shapes, NaN.
pub fn write(path: &Path, image: &Tensor) -> Result<()> {
    let (channels, height, width) = match *image.dims() {
        [h, w] if h > 0 && w > 0 => (1, h, w),
        [c @ 1..=4, h, w] if h > 0 && w > 0 => (c, h, w),
        _ => {
            return Err(Error::Shape {
                what: "image",
                expected: "[h, w] or [c, h, w] with 1 to 4 channels".into(),
                got: image.dims().to_vec(),
            });
        }
    };
    let scale = if image.dtype() == DType::U8 {
        1.0
    } else {
        255.0
    };
    let pixels = image
        .reshape(&[channels, height, width])?
        .permute(&[1, 2, 0])?
        .contiguous()?
        .to_vec()?;
    if pixels.iter().any(|v| v.is_nan()) {
        return Err(Error::Value {
            what: "image",
            message: "expected numbers in 0..1, got NaN".into(),
        });
    }
    let bytes: Vec<u8> = pixels
        .iter()
        .map(|v| (v * scale).round().clamp(0.0, 255.0) as u8)
        .collect();
    let colour = match channels {
        1 => ColorType::Grayscale,
        2 => ColorType::GrayscaleAlpha,
        3 => ColorType::Rgb,
        _ => ColorType::Rgba,
    };
    let size = |n: usize| u32::try_from(n).map_err(std::io::Error::other);
    files::write_atomic_with(path, |file| {
        let mut encoder = Encoder::new(file, size(width)?, size(height)?);
        encoder.set_color(colour);
        encoder.set_depth(BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(std::io::Error::other)?;
        writer
            .write_image_data(&bytes)
            .map_err(std::io::Error::other)?;
        writer.finish().map_err(std::io::Error::other)
    })
}
