//! The renderers: each draws every mark, so that a new mark is a compile error until all of them know it.

pub(crate) mod canvas;
pub(crate) mod fill;
pub(crate) mod gif;
pub(crate) mod html;
pub(crate) mod png;
pub(crate) mod svg;
pub(crate) mod text;

use ::png::{BitDepth, ColorType, Encoder};

/// `pixels` (red, green, blue; row by row) as a PNG file.
pub(crate) fn encode_png(
    pixels: &[u8],
    width: u32,
    height: u32,
) -> Result<Vec<u8>, ::png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file)
}
