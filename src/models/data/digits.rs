//! Handwritten digits, 8x8: the real data set that ships with the program.
//!
//! The 1797 images are the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin
//! and C. Kaynak, UCI Machine Learning Repository 1998, doi 10.24432/C50P49, CC BY 4.0; the same
//! images, in the same order, as scikit-learn's `load_digits`). A pixel counts the dark points of
//! a 4x4 block of the scanned digit: 0 to 16. The 13 people who wrote them are not told apart.
//!
//! `digits/digits.bin.gz` was made from scikit-learn's `digits.csv.gz`: 1797 bytes of labels, then
//! 1797 * 64 bytes of pixels by rows, compressed with gzip (44 kB; five bits a pixel come out larger).
//! `digits/LICENSE.md` has the terms.

use std::io::Read;

use flate2::read::GzDecoder;
use rhapsode_tensor::Tensor;

use crate::{Error, Result};

/// Number of images.
const COUNT: usize = 1797;

/// Pixels of an image: 8 rows of 8.
const PIXELS: usize = 64;

static PACKED: &[u8] = include_bytes!("digits/digits.bin.gz");

/// The handwritten digits.
#[derive(Clone)]
pub struct Digits {
    /// Pixels `[1797, 64]`, row by row of each 8x8 image, as f32 in [-1, 1]: -1 is paper, 1 is ink.
    pub images: Tensor,
    /// Which digit each image shows, `[1797]`, as i64 in 0..10.
    pub labels: Tensor,
}

/// The 1797 handwritten digits in their original order.
///
/// A pixel `v` of 0..=16 becomes `v / 8 - 1`. Use [`split`](super::split()) for parts that are
/// shuffled: neighbours in the original order were often written by one person.
pub fn digits() -> Result<Digits> {
    let broken = |message: String| Error::Value {
        what: "digits",
        message,
    };
    let mut bytes = Vec::with_capacity(COUNT * (PIXELS + 1));
    GzDecoder::new(PACKED)
        .read_to_end(&mut bytes)
        .map_err(|error| broken(format!("the file in the program is damaged ({error})")))?;
    if bytes.len() != COUNT * (PIXELS + 1) {
        let expected = COUNT * (PIXELS + 1);
        return Err(broken(format!(
            "expected {expected} bytes, got {}",
            bytes.len()
        )));
    }
    let (labels, pixels) = bytes.split_at(COUNT);
    let labels = labels.iter().map(|&label| i64::from(label)).collect();
    let pixels: Vec<f32> = pixels.iter().map(|&v| f32::from(v) / 8.0 - 1.0).collect();
    Ok(Digits {
        images: Tensor::from_vec(pixels, &[COUNT, PIXELS])?,
        labels: Tensor::from_vec(labels, &[COUNT])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_are_those_of_the_data_set() {
        let digits = digits().unwrap();
        assert_eq!(digits.images.dims(), [1797, 64]);
        assert_eq!(digits.labels.dims(), [1797]);
        let pixels = digits.images.to_vec().unwrap();
        assert!(pixels.iter().all(|v| (-1.0..=1.0).contains(v)));
        let count = |v: f64| (v + 1.0) * 8.0;
        // The first row and the sum of the published text file.
        let first: Vec<f64> = pixels[..8].iter().copied().map(count).collect();
        assert_eq!(first, [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0]);
        assert_eq!(pixels.iter().copied().map(count).sum::<f64>(), 561_718.0);
    }

    #[test]
    fn the_classes_have_their_published_sizes() {
        let labels = digits().unwrap().labels.to_ints("digits").unwrap();
        assert_eq!(labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let mut counts = [0; 10];
        labels.iter().for_each(|&l| counts[l as usize] += 1);
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }
}
