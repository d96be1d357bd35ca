//! Matrices as pictures of a pixel a value: small enough to stand beside numbers.

use crate::color::{ColorMap, Palette, Theme};
use crate::error::{Error, Result};
use crate::figure::color_range;
use crate::render::encode_png;

/// `values`, row by row with `columns` of them, as a PNG file of a pixel each: diverging around zero where they have both
/// signs, else from the least to the greatest. What is not a number is gray. Errors if they fill no rectangle.
pub fn thumbnail(values: &[f64], columns: usize) -> Result<Vec<u8>> {
    let fits = columns > 0 && !values.is_empty() && values.len().is_multiple_of(columns);
    let sides = (
        u32::try_from(columns),
        u32::try_from(values.len() / columns.max(1)),
    );
    let (true, (Ok(width), Ok(height))) = (fits, sides) else {
        return Err(Error::Length {
            what: "values",
            expected: columns,
            got: values.len(),
        });
    };
    let has = |sign: fn(&f64) -> bool| values.iter().any(sign);
    let map = match has(|v| *v < 0.0) && has(|v| *v > 0.0) {
        true => ColorMap::Diverging,
        false => ColorMap::Viridis,
    };
    let [lo, hi] = color_range(values, None, map);
    let missing = Palette::new(Theme::Light).missing;
    let pixel = |value: &f64| match value.is_nan() {
        true => missing.rgb,
        false => map.at((value - lo) / (hi - lo)).rgb,
    };
    let pixels: Vec<u8> = values.iter().flat_map(pixel).collect();
    encode_png(&pixels, width, height).map_err(|error| Error::Encode {
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_a_value() {
        let file = thumbnail(&[0.0, 1.0, f64::NAN, 2.0, 3.0, f64::INFINITY], 3).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (3, 2));
        assert_eq!(&pixels[..3], &ColorMap::Viridis.at(0.0).rgb);
        assert_eq!(&pixels[15..18], &ColorMap::Viridis.at(1.0).rgb);
        assert!(thumbnail(&[1.0; 5], 3).is_err());
        assert!(thumbnail(&[], 3).is_err());
    }
}
