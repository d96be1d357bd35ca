//! Animations: figures one after another, as an SVG that moves by itself, as a GIF, or as their last picture.

use crate::axis::{counted, number};
use crate::color::{Palette, Theme};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::figure::options::{check_number, check_side};
use crate::figure::overlay::share;
use crate::layout::{self, Scene};
use crate::mark::Rect;
use crate::panel::Placed;
use crate::render::{self, gif};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// More frames than this are minutes.
const MOST_FRAMES: usize = 2000;

/// Options of `plot::animate`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnimateOptions {
    /// Frames a second, 0.1 to 50. Default: 10.
    pub fps: f64,
    /// Whether it begins again at its end. Default: true.
    pub repeat: bool,
    /// Whether all frames have the same axes, which show what any frame shows. Default: true.
    pub share: bool,
    /// Width in pixels, 64 to 4000. Default: that of the first frame.
    pub width: Option<u32>,
    /// Height in pixels, 64 to 4000. Default: that of the first frame.
    pub height: Option<u32>,
}

impl Default for AnimateOptions {
    fn default() -> Self {
        Self {
            fps: 10.0,
            repeat: true,
            share: true,
            width: None,
            height: None,
        }
    }
}

/// Figures one after another. Cheap to copy.
#[derive(Debug, Clone)]
pub struct Animation {
    frames: Arc<[Figure]>,
    options: AnimateOptions,
}

impl Animation {
    /// Frames in their order. Errors if there is none or more than 2000 of them, or if an option makes no sense.
    pub fn new(frames: Vec<Figure>, options: AnimateOptions) -> Result<Self> {
        check_number("fps", options.fps, 0.1..=50.0, "0.1 to 50 frames a second")?;
        check_side("width", options.width)?;
        check_side("height", options.height)?;
        if frames.is_empty() {
            return Err(Error::Length {
                what: "frames",
                expected: 1,
                got: 0,
            });
        }
        if frames.len() > MOST_FRAMES {
            return Err(Error::Many {
                what: "frames",
                got: frames.len(),
                most: MOST_FRAMES,
            });
        }
        Ok(Self {
            frames: frames.into(),
            options,
        })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [f64; 2] {
        let [width, height] = self.frames.first().map_or([640.0, 420.0], Figure::size);
        let AnimateOptions {
            width: w,
            height: h,
            ..
        } = self.options;
        [w.map_or(width, f64::from), h.map_or(height, f64::from)]
    }

    /// One line that says what it is, for example `animation, 20 frames in 2 s`.
    pub fn describe(&self) -> String {
        let seconds = self.frames.len() as f64 / self.options.fps;
        let frames = counted(self.frames.len(), "frame");
        format!("animation, {frames} in {} s", number(seconds, 3))
    }

    /// The animation as an SVG document that moves by itself (SMIL), wherever it is shown; where nothing moves, its last
    /// frame is seen.
    pub fn svg(&self, theme: Theme) -> String {
        let scenes: Vec<Scene> = self.scenes(theme).collect();
        let seconds = 1.0 / self.options.fps;
        render::svg::animate(&scenes, &self.describe(), seconds, self.options.repeat)
    }

    /// The animation as a web page that needs nothing else.
    pub fn html(&self, theme: Theme) -> String {
        let background = Palette::new(theme).background;
        render::html::bare(&self.svg(theme), &self.describe(), background)
    }

    /// The animation as a GIF file with `scale` pixels for each pixel of its size, showing one frame in `every`, as long
    /// as all of them. `go_on` is asked before each frame, and ends the work if it says no. Errors if `scale` is not
    /// between 0.1 and 10, or if the work was ended.
    pub fn gif(
        &self,
        theme: Theme,
        scale: f64,
        every: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<u8>> {
        let every = every.max(1);
        let delay = (100.0 * every as f64 / self.options.fps)
            .round()
            .clamp(2.0, 65_535.0);
        let scenes: Vec<Scene> = self.scenes(theme).step_by(every).collect();
        gif::draw(&scenes, scale, delay as u16, self.options.repeat, go_on)
    }

    /// The last frame as a PNG file. Errors if `scale` is not between 0.1 and 10.
    pub fn png(&self, theme: Theme, scale: f64) -> Result<Vec<u8>> {
        match self.scenes(theme).last() {
            Some(scene) => render::png::draw(&scene, scale),
            None => Ok(Vec::new()),
        }
    }

    /// The last frame in characters, as [`Figure::text`].
    pub fn text(&self, columns: usize, rows: usize, color: bool) -> String {
        let last = self.frames.last();
        last.map_or(String::new(), |frame| frame.text(columns, rows, color))
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    fn scenes(&self, theme: Theme) -> impl Iterator<Item = Scene> {
        let palette = Palette::new(theme);
        let size = self.size();
        let area = Rect {
            left: 0.0,
            top: 0.0,
            right: size[0],
            bottom: size[1],
        };
        let lower = |frame: &Figure| frame.lower(area, &palette);
        let mut frames: Vec<Vec<Placed>> = self.frames.iter().map(lower).collect();
        let panels = frames.iter().map(Vec::len).max().unwrap_or(0);
        for panel in 0..panels {
            let same = frames.iter_mut().filter_map(|placed| placed.get_mut(panel));
            share(
                same.map(|placed| &mut placed.panel),
                [self.options.share; 2],
            );
        }
        frames
            .into_iter()
            .map(move |placed| layout::scene(size, &placed, &palette))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{LineOptions, Series};

    fn frames(n: usize) -> Vec<Figure> {
        let frame = |i: usize| {
            let series = Series {
                x: None,
                y: (0..=i).map(|v| v as f64).collect(),
            };
            Figure::line(vec![series], LineOptions::default()).unwrap()
        };
        (1..=n).map(frame).collect()
    }

    fn animation(n: usize) -> Animation {
        Animation::new(frames(n), AnimateOptions::default()).unwrap()
    }

    #[test]
    fn frames_have_the_same_axes_and_one_copy_of_them() {
        let svg = animation(5).svg(Theme::Light);
        assert_eq!(svg.matches("<animate").count(), 5);
        assert_eq!(svg.matches("<svg").count(), 1);
        // The tick at 4 is that of the last frame, written once for all of them.
        assert_eq!(
            svg.matches("\n4\n").count() + svg.matches(">4<").count(),
            2,
            "{svg}"
        );
        assert_eq!(animation(5).describe(), "animation, 5 frames in 0.5 s");
    }

    #[test]
    fn a_gif_holds_every_frame_in_exact_colours() {
        let file = animation(4)
            .gif(Theme::Light, 0.5, 1, &mut || true)
            .unwrap();
        let mut options = ::gif::DecodeOptions::new();
        options.set_color_output(::gif::ColorOutput::Indexed);
        let mut reader = options.read_info(file.as_slice()).unwrap();
        assert_eq!((reader.width(), reader.height()), (320, 210));
        let palette = reader.global_palette().unwrap().to_vec();
        assert!(palette.chunks(3).any(|c| c == [255, 255, 255]));
        let mut count = 0;
        while let Some(frame) = reader.read_next_frame().unwrap() {
            assert_eq!(frame.delay, 10);
            count += 1;
        }
        assert_eq!(count, 4);
        let half = animation(4)
            .gif(Theme::Light, 0.5, 2, &mut || true)
            .unwrap();
        assert!(half.len() < file.len());
    }

    #[test]
    fn work_is_ended_when_asked() {
        let mut left = 2;
        let ended = animation(9).gif(Theme::Light, 0.2, 1, &mut || {
            left -= 1;
            left > 0
        });
        assert_eq!(ended.unwrap_err(), Error::Interrupted);
    }

    #[test]
    fn no_frame_and_no_speed_are_errors() {
        let none = Animation::new(vec![], AnimateOptions::default()).unwrap_err();
        assert_eq!(none.to_string(), "frames: expected 1, got 0");
        let options = AnimateOptions {
            fps: 0.0,
            ..Default::default()
        };
        assert_eq!(
            Animation::new(frames(1), options).unwrap_err().option(),
            Some("fps")
        );
    }
}
