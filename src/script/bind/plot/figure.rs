//! A figure in a script: how it is shown and saved.

use std::path::PathBuf;

use rhai::{Map, NativeCallContext};
use rhapsode_models::files::write_atomic;
use rhapsode_plot::{Figure, Theme, VEGA_LITE};
use schemars::JsonSchema;
use serde::Deserialize;

use super::path_of;
use crate::{
    Display, Kind,
    bind::{Outcome, base64, raise},
    fault::{Fault, Spot},
    library::Library,
    names::nearest,
    options, room,
    value::{Object, type_word},
};

/// Pixels of a PNG for each pixel of the figure.
const SCALE: f64 = 2.0;

/// Endings that `save` knows.
const ENDINGS: [&str; 3] = ["svg", "png", "html"];

/// Ground and ink of a figure.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Ground {
    /// Dark ink on white.
    Light,
    /// Light ink on near black.
    Dark,
}

/// How a figure is written.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SaveOptions {
    /// Colours of ground and ink (default "light"; a figure's page follows the reader's system).
    theme: Option<Ground>,
    /// Pixels of a PNG or GIF for each pixel of the figure (0.1 to 10; default 2, of a GIF 1).
    pub scale: Option<f64>,
}

/// The option that makes a figure one to zoom and move in.
pub(super) const INTERACTIVE: &str = "interactive";

/// Its documentation.
pub(super) const INTERACTIVE_TEXT: &str = "Show the figure in a notebook as one to zoom and move in, with the values under \
     the pointer (Vega-Lite), beside the pictures for other readers. An error for figures of arrows or pictures.";

/// A figure as its options want it shown.
pub(super) fn shown(map: &Map, figure: rhapsode_plot::Result<Figure>) -> Outcome<Figure> {
    let figure = raise(figure)?;
    let at = || Spot::Value(vec![INTERACTIVE.into()]);
    match map.get(INTERACTIVE).map(|value| (value.as_bool(), value)) {
        None | Some((Ok(false), _)) => Ok(figure),
        Some((Ok(true), _)) => match figure.interactive() {
            Ok(figure) => Ok(figure),
            Err(error) => Err(Fault::from(error).at(at()).into()),
        },
        Some((Err(_), value)) => {
            let got = type_word(value.type_name());
            let message = format!("option `interactive`: expected bool, got {got}");
            Err(Fault::new(Kind::Option, message).at(at()).into())
        }
    }
}

impl SaveOptions {
    /// The theme that was chosen, if one was.
    fn chosen(&self) -> Option<Theme> {
        self.theme.map(|ground| match ground {
            Ground::Light => Theme::Light,
            Ground::Dark => Theme::Dark,
        })
    }

    /// The theme.
    pub fn theme(&self) -> Theme {
        self.chosen().unwrap_or_default()
    }
}

impl Object for Figure {
    const NAME: &'static str = "Figure";

    fn text(&self) -> String {
        format!("Figure: {}", self.describe())
    }

    fn summary(&self) -> String {
        self.describe()
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    /// SVG, PNG and a drawing in characters, once plain and once in colours for terminals; before them, where it is
    /// wanted, the form to zoom and move in, which front ends prefer to all others.
    fn display(&self) -> Display {
        let vega = self.is_interactive().then(|| self.vega());
        let vega = vega
            .and_then(Result::ok)
            .map(|spec| (VEGA_LITE.into(), spec));
        let svg = ("image/svg+xml".to_string(), self.svg(Theme::Light));
        let display = Display {
            forms: vega.into_iter().chain([svg]).collect(),
            id: None,
        };
        let display = match self.png(Theme::Light, SCALE) {
            Ok(png) => display.with("image/png", base64(&png)),
            Err(_) => display,
        };
        let [columns, rows] = room::room();
        display
            .with("text/x-ansi", self.text(columns, rows, true))
            .with("text/plain", self.text(columns, rows, false))
    }
}

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library.object::<Figure>("A figure: shown as a cell's output, or written with `.save(path)`.");
    library
        .method::<Figure>(
            "save",
            "(path: string, options?: map) -> Figure",
            r#"
            Writes the figure; the ending of the path says how: `.svg`, `.png`, or `.html`: a page to zoom and move in, with
            the values under the pointer.

            ```rhai,no_run
            plot::line([1, 2, 3]).save("figure.svg");
            ```
            "#,
        )
        .options::<SaveOptions>()
        .call(|call: NativeCallContext, figure: &mut Figure, path: &str| {
            save(&call, figure, path, &Map::new())
        })
        .call(
            |call: NativeCallContext, figure: &mut Figure, path: &str, map: Map| {
                save(&call, figure, path, &map)
            },
        );
}

fn save(call: &NativeCallContext, figure: &Figure, path: &str, map: &Map) -> Outcome<Figure> {
    let chosen: SaveOptions = options::read(map)?;
    let (target, ending) = target(call, path)?;
    let bytes = match ending.as_str() {
        "svg" => figure.svg(chosen.theme()).into_bytes(),
        "png" => raise(figure.png(chosen.theme(), chosen.scale.unwrap_or(SCALE)))?,
        "html" => figure.html(chosen.chosen()).into_bytes(),
        other => return Err(unknown_ending("figures", other, &ENDINGS).into()),
    };
    raise(write_atomic(&target, &bytes))?;
    Ok(figure.clone())
}

/// Where a path of a script is, and its ending in small letters.
pub(super) fn target(call: &NativeCallContext, path: &str) -> Outcome<(PathBuf, String)> {
    let target = path_of(call, path)?;
    let ending = target
        .extension()
        .map(|e| e.to_string_lossy().to_lowercase());
    Ok((target, ending.unwrap_or_default()))
}

/// What to say of a path whose ending tells no format.
pub(super) fn unknown_ending(what: &str, ending: &str, allowed: &[&'static str]) -> Fault {
    let message = format!("{what} cannot be saved as {ending:?}");
    let fault = Fault::value(message).at(Spot::Argument(0));
    let fault = match nearest(ending, allowed.iter().copied()) {
        Some(near) => fault.hint(format!("did you mean \".{near}\"?")),
        None => fault,
    };
    fault.hint(format!("allowed endings: .{}", allowed.join(", .")))
}
