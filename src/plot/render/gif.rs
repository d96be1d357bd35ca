//! GIF: frames in one palette of 256 colours, each only where it differs from the one before.

use super::png;
use crate::error::{Error, Result};
use crate::layout::Scene;
use ::gif::{Encoder, Frame, Repeat};
use std::borrow::Cow;
use std::collections::HashMap;

const COLORS: usize = 256;
/// So many of the most frequent colours are kept as they are: ground, ink and lines do not flicker.
const EXACT: usize = 64;
/// The palette is made from so many frames.
const SAMPLES: usize = 8;

type Rgb = [u8; 3];

/// The scenes one after another, `delay` hundredths of a second each.
pub(crate) fn draw(
    scenes: &[Scene],
    scale: f64,
    delay: u16,
    repeat: bool,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Vec<u8>> {
    let failed = |error: ::gif::EncodingError| Error::Encode {
        reason: error.to_string(),
    };
    let mut next = |scene: &Scene| match go_on() {
        true => png::raster(scene, scale),
        false => Err(Error::Interrupted),
    };
    let stride = scenes.len().div_ceil(SAMPLES).max(1);
    let mut counts: HashMap<Rgb, u64> = HashMap::new();
    // The last frame too: what appears late would have no colour.
    for scene in scenes.iter().rev().step_by(stride) {
        for pixel in next(scene)?.pixels.as_chunks::<3>().0 {
            *counts.entry(*pixel).or_default() += 1;
        }
    }
    let mut lookup = Lookup::new(palette(counts));
    let mut file = Vec::new();
    let mut encoder: Option<Encoder<&mut Vec<u8>>> = None;
    let mut before: Vec<u8> = Vec::new();
    let mut sink = Some(&mut file);
    for scene in scenes {
        let picture = next(scene)?;
        let pixels = picture.pixels.as_chunks::<3>().0;
        let indexed: Vec<u8> = pixels.iter().map(|pixel| lookup.index(*pixel)).collect();
        if let Some(sink) = sink.take() {
            let (width, height) = (picture.width as u16, picture.height as u16);
            let mut new =
                Encoder::new(sink, width, height, &lookup.colors.concat()).map_err(failed)?;
            let times = if repeat {
                Repeat::Infinite
            } else {
                Repeat::Finite(0)
            };
            new.set_repeat(times).map_err(failed)?;
            encoder = Some(new);
        }
        let mut frame = changed(&before, &indexed, picture.width as usize);
        frame.delay = delay;
        if let Some(encoder) = &mut encoder {
            encoder.write_frame(&frame).map_err(failed)?;
        }
        before = indexed;
    }
    drop(encoder);
    Ok(file)
}

/// The smallest rectangle in which a picture differs from the one before; of equal ones a single pixel, because every
/// frame takes its time.
fn changed(before: &[u8], now: &[u8], width: usize) -> Frame<'static> {
    let (mut left, mut right, mut top, mut bottom) = (width, 0, usize::MAX, 0);
    let rows = now.chunks(width.max(1)).enumerate();
    for (y, row) in rows {
        let old = before.get(y * width..(y + 1) * width).unwrap_or_default();
        let differs = |(x, value): &(usize, &u8)| old.get(*x) != Some(value);
        let first = row.iter().enumerate().find(differs).map(|(x, _)| x);
        let last = row.iter().enumerate().rfind(differs).map(|(x, _)| x);
        if let (Some(first), Some(last)) = (first, last) {
            (left, right) = (left.min(first), right.max(last + 1));
            (top, bottom) = (top.min(y), y + 1);
        }
    }
    if bottom == 0 {
        (left, right, top, bottom) = (0, 1.min(width), 0, 1);
    }
    let rows = now.chunks(width.max(1)).take(bottom).skip(top);
    let part: Vec<u8> = rows
        .flat_map(|row| row.get(left..right).unwrap_or_default())
        .copied()
        .collect();
    Frame {
        left: left as u16,
        top: top as u16,
        width: (right - left) as u16,
        height: (bottom - top) as u16,
        buffer: Cow::Owned(part),
        ..Frame::default()
    }
}

/// At most 256 colours for pixels that occur so often: the most frequent ones as they are, the others as means of boxes
/// that are cut at their median (P. Heckbert 1982).
fn palette(counts: HashMap<Rgb, u64>) -> Vec<Rgb> {
    let mut colors: Vec<(Rgb, u64)> = counts.into_iter().collect();
    // The map's order is not the same twice.
    colors.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    if colors.len() <= COLORS {
        return colors.into_iter().map(|(rgb, _)| rgb).collect();
    }
    let rest = colors.split_off(EXACT);
    let mut boxes = vec![rest];
    while boxes.len() < COLORS - EXACT {
        // The box with the longest side, weighted a little by how much of the picture it is: a title is few pixels, and
        // is to stay black beside a cloud of blue points.
        let size = |part: &Vec<(Rgb, u64)>| {
            let (_, length) = longest_side(part);
            let pixels: u64 = part.iter().map(|(_, n)| n).sum();
            f64::from(length) * (pixels as f64).powf(0.25)
        };
        let sizes = boxes.iter().map(size).enumerate();
        let Some((widest, _)) = sizes
            .filter(|(_, s)| *s > 0.0)
            .max_by(|a, b| a.1.total_cmp(&b.1))
        else {
            break;
        };
        let mut part = boxes.swap_remove(widest);
        let (channel, _) = longest_side(&part);
        part.sort_by_key(|(rgb, _)| (rgb.get(channel).copied(), *rgb));
        let half = part.iter().map(|(_, n)| n).sum::<u64>() / 2;
        let mut sum = 0;
        let beyond = |(_, n): &(Rgb, u64)| {
            sum += n;
            sum > half
        };
        let cut = part.iter().position(beyond).unwrap_or(1);
        let upper = part.split_off(cut.clamp(1, part.len() - 1));
        boxes.extend([part, upper]);
    }
    let exact = colors.into_iter().map(|(rgb, _)| rgb);
    exact.chain(boxes.iter().map(|part| mean(part))).collect()
}

/// The channel in which colours differ most, and by how much.
fn longest_side(part: &[(Rgb, u64)]) -> (usize, u8) {
    let side = |channel: usize| {
        let values = || part.iter().filter_map(|(rgb, _)| rgb.get(channel).copied());
        values().max().unwrap_or(0) - values().min().unwrap_or(0)
    };
    let sides = [side(0), side(1), side(2)];
    let longest = sides.iter().enumerate().max_by_key(|(_, side)| **side);
    longest.map_or((0, 0), |(channel, side)| (channel, *side))
}

fn mean(part: &[(Rgb, u64)]) -> Rgb {
    let total = part.iter().map(|(_, n)| n).sum::<u64>().max(1);
    [0, 1, 2].map(|channel| {
        let sum: u64 = part
            .iter()
            .map(|(rgb, n)| u64::from(rgb[channel]) * n)
            .sum();
        ((sum + total / 2) / total) as u8
    })
}

/// The nearest colour of a palette, remembered.
struct Lookup {
    colors: Vec<Rgb>,
    known: HashMap<Rgb, u8>,
}

impl Lookup {
    fn new(colors: Vec<Rgb>) -> Self {
        let known = colors.iter().enumerate().map(|(i, rgb)| (*rgb, i as u8));
        let known = known.rev().collect();
        Self { colors, known }
    }

    fn index(&mut self, rgb: Rgb) -> u8 {
        if let Some(index) = self.known.get(&rgb) {
            return *index;
        }
        let distance = |other: &Rgb| -> u32 {
            let apart = |(a, b): (&u8, &u8)| u32::from(a.abs_diff(*b)).pow(2);
            rgb.iter().zip(other).map(apart).sum()
        };
        let nearest = self
            .colors
            .iter()
            .enumerate()
            .min_by_key(|(_, c)| distance(c));
        let index = nearest.map_or(0, |(i, _)| i as u8);
        self.known.insert(rgb, index);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_colours_stay_and_rare_ones_are_near() {
        let mut counts: HashMap<Rgb, u64> = (0..2000u32)
            .map(|i| ([(i % 256) as u8, (i / 8) as u8, (i % 7) as u8 * 30], 1))
            .collect();
        counts.insert([1, 2, 3], 1_000_000);
        let colors = palette(counts.clone());
        assert_eq!((colors.len(), colors[0]), (COLORS, [1, 2, 3]));
        assert_eq!(colors, palette(counts));
        let mut lookup = Lookup::new(colors);
        let index = lookup.index([200, 100, 60]);
        let near = lookup.colors[index as usize];
        assert!(
            near.iter()
                .zip([200u8, 100, 60])
                .all(|(a, b)| a.abs_diff(b) < 60),
            "{near:?}"
        );
    }

    #[test]
    fn a_few_dark_pixels_are_not_tinted_by_many_blue_ones() {
        // Blends of blue and white, and of blue and blue, as of translucent discs; and the edge of a dark letter.
        let blend = |t: u32, to: u32| [t, 114 + t * 141 / 255, to].map(|v| v.min(255) as u8);
        let cloud =
            (0..250u32).flat_map(|t| (178..190).map(move |to| (blend(t, to + t / 4), 5000)));
        let ink = (26..200u8).map(|v| ([v, v + 3, v + 7], 20));
        let counts: HashMap<Rgb, u64> = cloud.chain(ink).collect();
        let mut lookup = Lookup::new(palette(counts));
        let index = lookup.index([26, 29, 33]);
        let near = lookup.colors[usize::from(index)];
        assert!(
            near.iter()
                .zip([26u8, 29, 33])
                .all(|(a, b)| a.abs_diff(b) < 20),
            "{near:?}"
        );
    }

    #[test]
    fn only_what_changed_is_stored() {
        let frame = changed(&[0; 12], &[0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 6, 0], 4);
        assert_eq!(
            (frame.left, frame.top, frame.width, frame.height),
            (1, 1, 2, 2)
        );
        assert_eq!(frame.buffer.as_ref(), [5, 0, 0, 6]);
        let same = changed(&[1; 4], &[1; 4], 2);
        assert_eq!((same.width, same.height), (1, 1));
        assert_eq!(changed(&[], &[1; 4], 2).buffer.len(), 4);
    }
}
