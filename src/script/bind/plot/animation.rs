//! `plot::animate`: figures one after another.

use rhai::{Array, Map, NativeCallContext};
use rhapsode_models::files::write_atomic;
use rhapsode_plot::{AnimateOptions, Animation, Theme};

use super::{
    figure::{SaveOptions, target, unknown_ending},
    figures,
};
use crate::{
    Display,
    bind::{Outcome, base64, escape, raise},
    context,
    library::Library,
    options, room,
    value::Object,
};

/// Endings that `save` knows.
const ENDINGS: [&str; 4] = ["gif", "svg", "html", "png"];

/// A cell's output shows at most so many frames, and a GIF of about so many bytes: a notebook keeps them all.
const MOST_FRAMES: usize = 60;
const MOST_BYTES: usize = 3 << 20;

impl Object for Animation {
    const NAME: &'static str = "Animation";

    fn text(&self) -> String {
        format!("Animation: {}", self.describe())
    }

    fn summary(&self) -> String {
        self.describe()
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    /// A GIF, with fewer frames where it would be large; for what shows no GIF the last frame, as PNG and in characters.
    /// The GIF stands in HTML: of two pictures JupyterLab shows the PNG.
    fn display(&self) -> Display {
        let mut display = Display::default();
        let mut every = self.frames().div_ceil(MOST_FRAMES).max(1);
        while let Ok(gif) = self.gif(Theme::Light, 1.0, every, &mut || true) {
            if gif.len() <= MOST_BYTES || every >= self.frames() {
                let (data, about) = (base64(&gif), escape(&self.describe()));
                let html = format!("<img src=\"data:image/gif;base64,{data}\" alt=\"{about}\">");
                display = display.with("text/html", html);
                break;
            }
            every *= gif.len().div_ceil(MOST_BYTES);
        }
        if let Ok(png) = self.png(Theme::Light, 2.0) {
            display = display.with("image/png", base64(&png));
        }
        let [columns, rows] = room::room();
        display
            .with("text/x-ansi", self.text(columns, rows, true))
            .with("text/plain", self.text(columns, rows, false))
    }
}

pub(super) fn bind(library: &mut Library) {
    library.object::<Animation>(
        "Figures one after another: shown as a cell's output, or written with `.save(path)`.",
    );
    library
        .function(
            "plot::animate",
            "(frames: array of Figure, options?: map) -> Animation",
            r#"
            Figures one after another. Frames have the same axes, which show what any of them shows; give `limits` to heatmaps and
            contours, so that their colours mean the same in each.

            ```rhai
            let frames = [];
            for i in 1..6 { frames.push(plot::scatter(randn([50, 2]) / i, #{ title: `step ${i}` })); }
            plot::animate(frames, #{ fps: 4 });
            ```
            "#,
        )
        .options::<AnimateOptions>()
        .call(|frames: Array| animate(frames, &Map::new()))
        .call(|frames: Array, map: Map| animate(frames, &map));
    library
        .method::<Animation>(
            "save",
            "(path: string, options?: map) -> Animation",
            r#"
            Writes the animation; the ending of the path says how: `.gif`, `.svg` (it moves by itself), `.html`, or `.png` (its
            last frame).

            ```rhai,no_run
            plot::animate([plot::line([1, 2]), plot::line([1, 3])]).save("training.gif");
            ```
            "#,
        )
        .options::<SaveOptions>()
        .call(|call: NativeCallContext, it: &mut Animation, path: &str| {
            save(&call, it, path, &Map::new())
        })
        .call(|call: NativeCallContext, it: &mut Animation, path: &str, map: Map| {
            save(&call, it, path, &map)
        });
}

fn animate(frames: Array, map: &Map) -> Outcome<Animation> {
    let chosen: AnimateOptions = options::read(map)?;
    raise(Animation::new(figures(frames)?, chosen))
}

fn save(call: &NativeCallContext, it: &Animation, path: &str, map: &Map) -> Outcome<Animation> {
    let chosen: SaveOptions = options::read(map)?;
    let theme = chosen.theme();
    let scale = |default: f64| chosen.scale.unwrap_or(default);
    let (target, ending) = target(call, path)?;
    let bytes = match ending.as_str() {
        "gif" => {
            let context = context::of_call(call)?;
            raise(it.gif(theme, scale(1.0), 1, &mut || !context.must_stop()))?
        }
        "svg" => it.svg(theme).into_bytes(),
        "html" => it.html(theme).into_bytes(),
        "png" => raise(it.png(theme, scale(2.0)))?,
        other => return Err(unknown_ending("animations", other, &ENDINGS).into()),
    };
    raise(write_atomic(&target, &bytes))?;
    Ok(it.clone())
}
