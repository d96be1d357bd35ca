//! Sixel: an image as printable characters, six rows a line, for terminals that know no newer way.
//!
//! `ESC P 0;1;0 q "1;1;w;h` then `#n;2;r;g;b` for each colour (percent), then for each band of six
//! rows and each colour in it `#n` and one character a column (63 + the bits of the rows in this
//! colour), `!k` repeats, `$` goes back to the start of the band and `-` to the next; ended by `ESC \`.

use std::{collections::HashMap, fmt::Write};

use super::image::Image;

/// Terminals promise 256 colour registers.
const COLOURS: usize = 256;

/// The image as a sixel sequence.
pub fn encode(image: &Image) -> String {
    let (palette, indices) = quantize(image);
    let mut out = format!("\x1bP0;1;0q\"1;1;{};{}", image.width, image.height);
    for (n, colour) in palette.iter().enumerate() {
        let [r, g, b] = colour.map(|c| (u32::from(c) * 100 + 127) / 255);
        let _ = write!(out, "#{n};2;{r};{g};{b}");
    }
    for band in indices.chunks(6 * image.width.max(1)) {
        encode_band(&mut out, band, image.width);
    }
    out.push_str("\x1b\\");
    out
}

/// One band of at most six rows: each of its colours in turn.
fn encode_band(out: &mut String, band: &[u8], width: usize) {
    let mut used = [false; COLOURS];
    for &index in band {
        used[usize::from(index)] = true;
    }
    for colour in (0..=255u8).filter(|&c| used[usize::from(c)]) {
        let _ = write!(out, "#{colour}");
        let mut run: (u8, usize) = (0, 0);
        for x in 0..width {
            let rows = band.iter().skip(x).step_by(width).enumerate();
            let bits = rows
                .filter(|(_, index)| **index == colour)
                .fold(0, |bits, (row, _)| bits | 1 << row);
            if bits != run.0 {
                push_run(out, run);
                run = (bits, 0);
            }
            run.1 += 1;
        }
        push_run(out, run);
        out.push('$');
    }
    out.push('-');
}

/// `count` times the same six bits, shortened where that is shorter.
fn push_run(out: &mut String, (bits, count): (u8, usize)) {
    let character = char::from(63 + bits);
    if count > 3 {
        let _ = write!(out, "!{count}{character}");
    } else {
        out.extend(std::iter::repeat_n(character, count));
    }
}

/// The 256 most frequent colours (alike to 5 bits a channel) and each pixel's nearest of them. Figures
/// have few colours and their shades, so the popular ones are the ones that matter.
fn quantize(image: &Image) -> (Vec<[u8; 3]>, Vec<u8>) {
    let bucket = |p: &[u8; 3]| {
        (u16::from(p[0] >> 3) << 10) | (u16::from(p[1] >> 3) << 5) | u16::from(p[2] >> 3)
    };
    let mut sums: HashMap<u16, ([u64; 3], u64)> = HashMap::new();
    for pixel in &image.pixels {
        let (sum, count) = sums.entry(bucket(pixel)).or_default();
        for (s, &c) in sum.iter_mut().zip(pixel) {
            *s += u64::from(c);
        }
        *count += 1;
    }
    let mut buckets: Vec<(u16, [u8; 3], u64)> = sums
        .iter()
        .map(|(&key, &(sum, count))| (key, sum.map(|s| (s / count) as u8), count))
        .collect();
    buckets.sort_by_key(|&(key, _, count)| (std::cmp::Reverse(count), key));

    let palette: Vec<[u8; 3]> = buckets
        .iter()
        .take(COLOURS)
        .map(|&(_, colour, _)| colour)
        .collect();
    let nearest: HashMap<u16, u8> = buckets
        .iter()
        .map(|&(key, colour, _)| (key, nearest_colour(&palette, colour)))
        .collect();
    let indices = image
        .pixels
        .iter()
        .map(|p| nearest.get(&bucket(p)).copied().unwrap_or(0))
        .collect();
    (palette, indices)
}

/// The place of the colour nearest to this one.
fn nearest_colour(palette: &[[u8; 3]], colour: [u8; 3]) -> u8 {
    let distance = |p: &[u8; 3]| -> u32 {
        p.iter()
            .zip(colour)
            .map(|(&a, b)| u32::from(a.abs_diff(b)).pow(2))
            .sum()
    };
    let best = palette.iter().enumerate().min_by_key(|(_, p)| distance(p));
    best.map_or(0, |(n, _)| n as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_colours_become_two_registers_and_runs() {
        // Four columns and seven rows: red, but for the last row, which is white.
        let mut pixels = vec![[255, 0, 0]; 24];
        pixels.extend([[255, 255, 255]; 4]);
        let sixel = encode(&Image {
            width: 4,
            height: 7,
            pixels,
        });
        assert_eq!(
            sixel, "\x1bP0;1;0q\"1;1;4;7#0;2;100;0;0#1;2;100;100;100#0!4~$-#1!4@$-\x1b\\",
            "63 + 0b111111 is `~`, 63 + 1 is `@`"
        );
    }

    #[test]
    fn a_picture_of_many_colours_keeps_the_frequent_ones_exactly() {
        let mut pixels = vec![[255, 255, 255]; 10_000];
        pixels.extend((0..20_000u32).map(|i| [(i % 251) as u8, (i % 241) as u8, (i % 239) as u8]));
        let (palette, indices) = quantize(&Image {
            width: 100,
            height: 300,
            pixels,
        });
        assert_eq!(palette.len(), 256);
        assert_eq!(palette[usize::from(indices[0])], [255, 255, 255]);
    }

    #[test]
    fn an_empty_picture_is_an_empty_sequence() {
        let sixel = encode(&Image {
            width: 0,
            height: 0,
            pixels: vec![],
        });
        assert_eq!(sixel, "\x1bP0;1;0q\"1;1;0;0\x1b\\");
    }
}
