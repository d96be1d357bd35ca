//! A picture as pixels: a PNG decoded and, where a terminal wants it smaller, averaged down.

use std::io::Cursor;

/// An opaque picture, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue, row by row.
    pub pixels: Vec<[u8; 3]>,
}

impl Image {
    /// Decodes a PNG; what is transparent shows white, as on paper.
    pub fn from_png(bytes: &[u8]) -> Result<Self, png::DecodingError> {
        let mut decoder = png::Decoder::new(Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info()?;
        let size = reader
            .output_buffer_size()
            .ok_or(png::DecodingError::LimitsExceeded)?;
        let mut buffer = vec![0; size];
        let info = reader.next_frame(&mut buffer)?;
        buffer.truncate(info.buffer_size());
        let pixels = buffer
            .chunks_exact(info.color_type.samples())
            .map(on_white)
            .collect();
        Ok(Self {
            width: info.width as usize,
            height: info.height as usize,
            pixels,
        })
    }

    /// The picture no wider than `width`: each new pixel is the mean of those that it stands for.
    #[must_use]
    pub fn fit_width(self, width: usize) -> Self {
        if self.width <= width || width == 0 {
            return self;
        }
        let height = (self.height * width / self.width).max(1);
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            let rows = y * self.height / height..((y + 1) * self.height).div_ceil(height);
            for x in 0..width {
                let columns = x * self.width / width..((x + 1) * self.width).div_ceil(width);
                pixels.push(self.mean(rows.clone(), columns));
            }
        }
        Self {
            width,
            height,
            pixels,
        }
    }

    /// The mean colour of a rectangle of the picture.
    fn mean(&self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> [u8; 3] {
        let mut sum = [0u32; 3];
        let count = (rows.len() * columns.len()).max(1) as u32;
        for row in rows {
            let line = self.pixels.get(row * self.width..).unwrap_or_default();
            for pixel in line.iter().take(columns.end).skip(columns.start) {
                for (s, &c) in sum.iter_mut().zip(pixel) {
                    *s += u32::from(c);
                }
            }
        }
        sum.map(|s| ((s + count / 2) / count) as u8)
    }
}

/// One pixel of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) samples, on white.
fn on_white(samples: &[u8]) -> [u8; 3] {
    let (colour, alpha) = match *samples {
        [grey] => ([grey; 3], 255),
        [grey, alpha] => ([grey; 3], alpha),
        [r, g, b] => ([r, g, b], 255),
        [r, g, b, alpha] => ([r, g, b], alpha),
        _ => ([255; 3], 255),
    };
    colour.map(|c| {
        ((u32::from(c) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255) as u8
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A PNG of RGBA pixels, for tests.
    pub fn png_of(width: u32, height: u32, rgba: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .unwrap()
            .write_image_data(rgba)
            .unwrap();
        bytes
    }

    #[test]
    fn transparency_shows_the_paper() {
        let png = png_of(3, 1, &[255, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 128]);
        let image = Image::from_png(&png).unwrap();
        assert_eq!(
            image.pixels,
            [[255, 0, 0], [255, 255, 255], [127, 127, 127]]
        );
    }

    #[test]
    fn shrinking_averages_and_keeps_the_proportions() {
        let pixels = (0..8 * 4)
            .map(|i| {
                if (i / 8 + i % 8) % 2 == 0 {
                    [0; 3]
                } else {
                    [200; 3]
                }
            })
            .collect();
        let small = Image {
            width: 8,
            height: 4,
            pixels,
        }
        .fit_width(4);
        assert_eq!((small.width, small.height), (4, 2));
        assert_eq!(small.pixels, vec![[100; 3]; 8]);
    }

    #[test]
    fn a_broken_png_is_an_error() {
        assert!(Image::from_png(b"not a png").is_err());
    }
}
