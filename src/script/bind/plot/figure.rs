//! A figure in a script: how it is shown and saved.

use rhai::{Map, NativeCallContext};
use rhapsode_models::files::write_atomic;
use rhapsode_plot::{Figure, Theme};
use schemars::JsonSchema;
use serde::Deserialize;

use super::path_of;
use crate::{
    Display,
    bind::{Outcome, raise},
    fault::{Fault, Spot},
    library::Library,
    names::nearest,
    options,
    value::Object,
};

/// Size of the drawing in characters.
const COLUMNS: usize = 80;
const ROWS: usize = 22;

/// Pixels of a PNG for each pixel of the figure.
const SCALE: f64 = 2.0;

/// Endings that `save` knows.
const ENDINGS: [&str; 3] = ["svg", "png", "html"];

/// Ground and ink of a figure.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Ground {
    /// Dark ink on white.
    #[default]
    Light,
    /// Light ink on near black.
    Dark,
}

/// How a figure is written.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct SaveOptions {
    /// Colours of ground and ink (default "light").
    theme: Ground,
    /// Pixels of a PNG for each pixel of the figure (0.1 to 10; default 2).
    scale: f64,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self {
            theme: Ground::default(),
            scale: SCALE,
        }
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

    /// SVG, PNG and a drawing in characters, once plain and once in colours for terminals.
    fn display(&self) -> Display {
        let display = Display {
            forms: vec![("image/svg+xml".into(), self.svg(Theme::Light))],
            id: None,
        };
        let display = match self.png(Theme::Light, SCALE) {
            Ok(png) => display.with("image/png", base64(&png)),
            Err(_) => display,
        };
        display
            .with("text/x-ansi", self.text(COLUMNS, ROWS, true))
            .with("text/plain", self.text(COLUMNS, ROWS, false))
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library.object::<Figure>("A figure: shown as a cell's output, or written with `.save(path)`.");
    library
        .method::<Figure>(
            "save",
            "(path: string, options?: map) -> Figure",
            r#"
            Writes the figure; the ending of the path says how: `.svg`, `.png` or `.html`.

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
    let SaveOptions { theme, scale } = options::read(map)?;
    let theme = match theme {
        Ground::Light => Theme::Light,
        Ground::Dark => Theme::Dark,
    };
    let target = path_of(call, path)?;
    let ending = target
        .extension()
        .map(|e| e.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let bytes = match ending.as_str() {
        "svg" => figure.svg(theme).into_bytes(),
        "png" => raise(figure.png(theme, scale))?,
        "html" => figure.html(theme).into_bytes(),
        other => {
            let fault =
                Fault::value(format!("figures cannot be saved as {other:?}")).at(Spot::Argument(0));
            let fault = match nearest(other, ENDINGS) {
                Some(near) => fault.hint(format!("did you mean \".{near}\"?")),
                None => fault,
            };
            return Err(fault.hint("allowed endings: .svg, .png, .html").into());
        }
    };
    raise(write_atomic(&target, &bytes))?;
    Ok(figure.clone())
}
