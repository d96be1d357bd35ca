//! PNG: plotters draws on a bitmap that is several times finer, whose mean is the picture.
//!
//! plotters' own thick lines have holes where a noisy line crosses itself (one polygon, filled by parity), and its
//! text drops each glyph's left bearing. So lines are drawn segment by segment with round joins, and glyphs from their
//! outlines, in both cases through plotters' backend.

use super::encode_png;
use super::fill::scanlines;
use crate::color::Color;
use crate::error::{Error, Result};
use crate::font;
use crate::layout::Scene;
use crate::mark::{Anchor, Mark, Rect, Text, arrow_head};
use ab_glyph::{Font, PxScale, point};
use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters::style::RGBAColor;

/// A bitmap with more pixels than this is made less fine.
const MOST_FINE: f64 = 4e7;
/// Larger pictures would take gigabytes.
const MOST_PIXELS: f64 = 1e8;

/// A picture of whole pixels.
pub(crate) struct Raster {
    pub width: u32,
    pub height: u32,
    /// Red, green and blue, row by row.
    pub pixels: Vec<u8>,
}

/// The scene as a PNG file, `scale` times as many pixels across as it is wide.
pub(crate) fn draw(scene: &Scene, scale: f64) -> Result<Vec<u8>> {
    let picture = raster(scene, scale)?;
    encode_png(&picture.pixels, picture.width, picture.height).map_err(|error| Error::Encode {
        reason: error.to_string(),
    })
}

/// The scene in pixels, `scale` times as many across as it is wide.
pub(crate) fn raster(scene: &Scene, scale: f64) -> Result<Raster> {
    if !(0.1..=10.0).contains(&scale) {
        return Err(Error::Option {
            option: "scale",
            expected: "0.1 to 10",
            got: scale.to_string(),
        });
    }
    let side = |length: f64| ((length * scale).round() as u32).max(1);
    let (width, height) = (side(scene.width), side(scene.height));
    let pixels = f64::from(width) * f64::from(height);
    if pixels > MOST_PIXELS {
        return Err(Error::Option {
            option: "scale",
            expected: "a picture of at most 100 million pixels",
            got: format!("{scale}, that is {width} x {height}"),
        });
    }
    let finer = [4u32, 3, 2]
        .into_iter()
        .find(|n| pixels * f64::from(n * n) <= MOST_FINE)
        .unwrap_or(1);
    let size = (width * finer, height * finer);
    let mut fine = scene
        .background
        .rgb
        .repeat(size.0 as usize * size.1 as usize);
    let mut canvas = Canvas {
        back: BitMapBackend::with_buffer(&mut fine, size),
        zoom: scale * f64::from(finer),
        background: scene.background,
    };
    scene.marks.iter().for_each(|mark| canvas.draw(mark));
    drop(canvas);
    Ok(Raster {
        width,
        height,
        pixels: mean(&fine, width as usize, finer as usize),
    })
}

/// The means over blocks of `finer` times `finer` pixels.
fn mean(fine: &[u8], width: usize, finer: usize) -> Vec<u8> {
    if finer == 1 {
        return fine.to_vec();
    }
    let area = (finer * finer) as u32;
    let mut picture = Vec::with_capacity(fine.len() / (finer * finer));
    let mut sums = vec![0u32; width * 3];
    for block in fine.chunks_exact(width * finer * 3 * finer) {
        sums.fill(0);
        for line in block.chunks_exact(width * finer * 3) {
            for (sum, pixels) in sums.chunks_exact_mut(3).zip(line.chunks_exact(finer * 3)) {
                for pixel in pixels.chunks_exact(3) {
                    sum.iter_mut()
                        .zip(pixel)
                        .for_each(|(s, p)| *s += u32::from(*p));
                }
            }
        }
        picture.extend(sums.iter().map(|s| ((s + area / 2) / area) as u8));
    }
    picture
}

struct Canvas<'a> {
    back: BitMapBackend<'a>,
    /// Pixels of the bitmap for a pixel of the scene.
    zoom: f64,
    background: Color,
}

/// Drawing on a bitmap in memory cannot fail: the backend's results are dropped.
impl Canvas<'_> {
    fn draw(&mut self, mark: &Mark) {
        match mark {
            Mark::Polyline {
                points,
                color,
                width,
            } => self.polyline(points, *color, *width),
            Mark::Points {
                points,
                colors,
                radius,
            } => {
                for (at, color) in points.iter().zip(colors.iter().cycle()) {
                    self.disc(*at, *radius, *color);
                }
            }
            Mark::Polygon { points, color } => self.polygon(points, *color),
            Mark::Arrows {
                arrows,
                colors,
                width,
                ..
            } => {
                for ([from, to], color) in arrows.iter().zip(colors.iter().cycle()) {
                    let color = color.over(self.background);
                    let (end, head) = arrow_head(*from, *to, *width);
                    self.polyline(&[*from, end], color, *width);
                    self.polygon(&head, color);
                }
            }
            Mark::Rects { rects, color } => rects.iter().for_each(|r| self.rect(r, *color)),
            Mark::Image {
                area,
                columns,
                cells,
            } => self.image(area, *columns, cells),
            Mark::Text(text) => self.text(text),
        }
    }

    fn at(&self, [x, y]: [f64; 2]) -> (i32, i32) {
        (
            (x * self.zoom).round() as i32,
            (y * self.zoom).round() as i32,
        )
    }

    /// A line as segments with discs at its inner points. They overlap, so the colour is made opaque first.
    fn polyline(&mut self, points: &[[f64; 2]], color: Color, width: f64) {
        let opaque = rgba(color.over(self.background));
        let half = (width / 2.0).max(0.5 / self.zoom);
        for pair in points.windows(2) {
            let &[[x0, y0], [x1, y1]] = pair else {
                continue;
            };
            let length = (x1 - x0).hypot(y1 - y0);
            if length < 1e-9 {
                continue;
            }
            let (nx, ny) = (-(y1 - y0) / length * half, (x1 - x0) / length * half);
            let corners = [
                [x0 + nx, y0 + ny],
                [x1 + nx, y1 + ny],
                [x1 - nx, y1 - ny],
                [x0 - nx, y0 - ny],
            ];
            // A rectangle along the axes is exact; the polygon would have an edge too wide.
            if x0 == x1 || y0 == y1 {
                let [xs, ys] = [0, 1].map(|i| corners.map(|c| c[i]));
                let rect = Rect {
                    left: xs.into_iter().fold(f64::INFINITY, f64::min),
                    top: ys.into_iter().fold(f64::INFINITY, f64::min),
                    right: xs.into_iter().fold(f64::NEG_INFINITY, f64::max),
                    bottom: ys.into_iter().fold(f64::NEG_INFINITY, f64::max),
                };
                self.rect(&rect, color.over(self.background));
            } else {
                let _ = self.back.fill_polygon(corners.map(|c| self.at(c)), &opaque);
            }
        }
        let inner = points.get(1..points.len().saturating_sub(1));
        for at in inner.unwrap_or_default() {
            self.disc(*at, half, color.over(self.background));
        }
    }

    /// A disc in rows: plotters' circle draws some pixels twice, which shows where it is not opaque.
    fn disc(&mut self, at: [f64; 2], radius: f64, color: Color) {
        let [x, y] = at.map(|v| v * self.zoom);
        let radius = (radius * self.zoom).max(0.5);
        for row in (y - radius).floor() as i32..=(y + radius).ceil() as i32 {
            let above = f64::from(row) + 0.5 - y;
            let half = (radius * radius - above * above).max(0.0).sqrt();
            let (from, to) = ((x - half).round() as i32, (x + half).round() as i32);
            if from < to {
                let _ = self
                    .back
                    .draw_rect((from, row), (to, row + 1), &rgba(color), true);
            }
        }
    }

    fn polygon(&mut self, points: &[[f64; 2]], color: Color) {
        let fine: Vec<[f64; 2]> = points.iter().map(|p| p.map(|v| v * self.zoom)).collect();
        for (row, from, to) in scanlines(&fine) {
            let _ = self
                .back
                .draw_rect((from, row), (to, row + 1), &rgba(color), true);
        }
    }

    fn rect(&mut self, rect: &Rect, color: Color) {
        let (from, to) = (
            self.at([rect.left, rect.top]),
            self.at([rect.right, rect.bottom]),
        );
        // What is thinner than a pixel is still seen.
        let to = (to.0.max(from.0 + 1), to.1.max(from.1 + 1));
        let _ = self.back.draw_rect(from, to, &rgba(color), true);
    }

    fn image(&mut self, area: &Rect, columns: usize, cells: &[[u8; 3]]) {
        let rows = cells.len() / columns.max(1);
        let (width, height) = self.back.get_size();
        let (left, top) = self.at([area.left, area.top]);
        let (right, bottom) = self.at([area.right, area.bottom]);
        let (x0, x1) = (left.max(0), right.min(width as i32));
        let (y0, y1) = (top.max(0), bottom.min(height as i32));
        if rows == 0 || x0 >= x1 || y0 >= y1 {
            return;
        }
        let cell = |at: i32, from: i32, to: i32, n: usize| {
            (((f64::from(at - from) + 0.5) / f64::from(to - from) * n as f64) as usize).min(n - 1)
        };
        let mut pixels = Vec::with_capacity((x1 - x0) as usize * (y1 - y0) as usize * 3);
        let across: Vec<usize> = (x0..x1).map(|x| cell(x, left, right, columns)).collect();
        for y in y0..y1 {
            let start = cell(y, top, bottom, rows) * columns;
            for column in &across {
                pixels.extend(cells.get(start + column).copied().unwrap_or_default());
            }
        }
        let size = ((x1 - x0) as u32, (y1 - y0) as u32);
        let _ = self.back.blit_bitmap((x0, y0), size, &pixels);
    }

    fn text(&mut self, text: &Text) {
        let width = font::width(&text.text, text.size);
        let mut pen = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        };
        let baseline = font::CAP_HEIGHT / 2.0 * text.size;
        for character in text.text.chars() {
            self.glyph(character, [pen, baseline], text);
            pen += font::advance(character) * text.size;
        }
    }

    /// Draws a glyph whose origin is at `pen` from the text's place, before the text is turned.
    fn glyph(&mut self, character: char, pen: [f64; 2], text: &Text) {
        let Some((face, id)) = font::glyph(character) else {
            return;
        };
        let units = face.units_per_em().unwrap_or(1000.0);
        // ab_glyph's size is from ascent to descent, ours is an em.
        let height = text.size * self.zoom * f64::from(face.height_unscaled() / units);
        let [x, y] = pen.map(|v| (v * self.zoom) as f32);
        let glyph = id.with_scale_and_position(PxScale::from(height as f32), point(x, y));
        let Some(outline) = face.outline_glyph(glyph) else {
            return;
        };
        let bounds = outline.px_bounds();
        let (left, top) = (bounds.min.x as i32, bounds.min.y as i32);
        let (x, y) = self.at(text.at);
        let upright = text.upright;
        outline.draw(|dx, dy, coverage| {
            let (along, down) = (left + dx as i32, top + dy as i32);
            let place = match upright {
                true => (x + down, y - 1 - along),
                false => (x + along, y + down),
            };
            let alpha = text.color.alpha * f64::from(coverage.clamp(0.0, 1.0));
            if alpha > 0.0 {
                let color =
                    plotters::style::Color::to_backend_color(&rgba(text.color.with_alpha(alpha)));
                let _ = self.back.draw_pixel(place, color);
            }
        });
    }
}

fn rgba(color: Color) -> RGBAColor {
    let [r, g, b] = color.rgb;
    RGBAColor(r, g, b, color.alpha)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws marks on white and gives the picture's pixels, one for a pixel of the scene.
    fn pixels(marks: Vec<Mark>, width: u32, height: u32) -> Vec<[u8; 3]> {
        let scene = Scene {
            width: f64::from(width),
            height: f64::from(height),
            background: Color::hex(0xffffff),
            marks,
            parts: Vec::new(),
        };
        let file = draw(&scene, 1.0).unwrap();
        let mut reader = ::png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .unwrap();
        let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut buffer).unwrap();
        buffer.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect()
    }

    #[test]
    fn a_noisy_thick_line_has_no_holes() {
        let zigzag: Vec<[f64; 2]> = (0..40)
            .map(|i| [10.0 + f64::from(i), if i % 2 == 0 { 2.0 } else { 28.0 }])
            .collect();
        let line = Mark::Polyline {
            points: zigzag,
            color: Color::hex(0),
            width: 3.0,
        };
        let found = pixels(vec![line], 60, 30);
        let middle = &found[15 * 60 + 15..15 * 60 + 45];
        assert!(middle.iter().all(|p| *p == [0, 0, 0]), "{middle:?}");
    }

    #[test]
    fn translucent_discs_have_one_tone() {
        let disc = Mark::Points {
            points: vec![[10.0, 10.0]],
            colors: vec![Color::hex(0).with_alpha(0.5)],
            radius: 8.0,
        };
        let found = pixels(vec![disc], 20, 20);
        for (x, y) in [(10, 10), (6, 6), (14, 6), (10, 4), (4, 10)] {
            let [tone, ..] = found[y * 20 + x];
            assert!((126..=129).contains(&tone), "{tone} at {x}, {y}");
        }
        assert_eq!(found[0], [255, 255, 255]);
    }

    #[test]
    fn pictures_and_rectangles_are_exact() {
        let area = Rect {
            left: 2.0,
            top: 2.0,
            right: 6.0,
            bottom: 6.0,
        };
        let image = Mark::Image {
            area,
            columns: 2,
            cells: vec![[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]],
        };
        let found = pixels(vec![image], 8, 8);
        assert_eq!(found[2 * 8 + 2], [1, 2, 3]);
        assert_eq!(found[2 * 8 + 5], [4, 5, 6]);
        assert_eq!(found[5 * 8 + 5], [10, 11, 12]);
        assert_eq!(found[6 * 8 + 6], [255, 255, 255]);
    }

    #[test]
    fn text_turns_and_is_centred_on_its_capitals() {
        let text = |upright| {
            Mark::Text(Text {
                at: [20.0, 20.0],
                text: "HHH".to_string(),
                size: 10.0,
                color: Color::hex(0),
                anchor: Anchor::Middle,
                upright,
            })
        };
        let extent = |upright| {
            let found = pixels(vec![text(upright)], 40, 40);
            let dark: Vec<(usize, usize)> = (0..1600)
                .filter(|i| found[*i][0] < 128)
                .map(|i| (i % 40, i / 40))
                .collect();
            let xs = dark.iter().map(|p| p.0);
            let ys = dark.iter().map(|p| p.1);
            let (x0, x1) = (xs.clone().min().unwrap(), xs.max().unwrap());
            let (y0, y1) = (ys.clone().min().unwrap(), ys.max().unwrap());
            ((x0, x1), (y0, y1))
        };
        let ((x0, x1), (y0, y1)) = extent(false);
        assert!(x1 - x0 > 2 * (y1 - y0));
        assert!(
            (x0 + x1).abs_diff(39) <= 1 && (y0 + y1).abs_diff(39) <= 1,
            "{x0} {x1} {y0} {y1}"
        );
        let ((x0, x1), (y0, y1)) = extent(true);
        assert!(y1 - y0 > 2 * (x1 - x0));
        assert!(
            (x0 + x1).abs_diff(39) <= 1 && (y0 + y1).abs_diff(39) <= 1,
            "{x0} {x1} {y0} {y1}"
        );
    }

    #[test]
    fn impossible_scales_are_errors() {
        let scene = Scene {
            width: 10.0,
            height: 10.0,
            background: Color::hex(0),
            marks: Vec::new(),
            parts: Vec::new(),
        };
        for scale in [0.0, -1.0, f64::NAN, 1e9] {
            assert!(matches!(
                draw(&scene, scale),
                Err(Error::Option {
                    option: "scale",
                    ..
                })
            ));
        }
        let large = Scene {
            width: 4000.0,
            height: 4000.0,
            ..scene
        };
        assert!(draw(&large, 3.0).is_err());
    }
}
