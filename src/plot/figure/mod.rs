//! The kinds of figures. Each file holds one kind: its options, its data and how it lowers itself to marks.
//!
//! To add a kind: a file like `line.rs`, a constructor on [`Figure`] there, a line in [`ALL`].

mod bar;
mod contour;
mod errorbar;
mod graph;
mod grid;
mod heatmap;
mod hist;
mod images;
mod line;
mod note;
pub(crate) mod options;
pub(crate) mod overlay;
mod quiver;
mod scatter;

pub use bar::{BarOptions, Bars};
pub use contour::ContourOptions;
pub use errorbar::{ErrorbarOptions, Measured};
pub use graph::{Edges, GraphOptions, Layout};
pub use grid::GridOptions;
pub use heatmap::HeatmapOptions;
pub use hist::HistOptions;
pub use images::{ImageOptions, ImagesOptions};
pub use line::{LineOptions, Series};
pub use note::{Note, NoteOptions};
pub use overlay::OverlayOptions;
pub use quiver::QuiverOptions;
pub use scatter::{Points, ScatterOptions};

pub(crate) use options::color_range;

use crate::color::{Palette, Theme};
use crate::error::Result;
use crate::layout::{self, Scene};
use crate::mark::Rect;
use crate::panel::Placed;
use crate::render;
use crate::vega;
use schemars::{Schema, schema_for};
use std::fmt::Debug;
use std::sync::Arc;

/// What each kind of figure does.
trait Plot: Debug + Send + Sync {
    /// Width and height in pixels.
    fn size(&self) -> [f64; 2];

    /// One line without the title, for example `line plot, 3000 points`.
    fn describe(&self) -> String;

    /// The title, empty if it has none.
    fn title(&self) -> &str;

    /// How many colours of the palette's cycle it takes; nothing for a figure of several, each with axes of its own.
    fn colors(&self) -> Option<usize>;

    /// What is seen in `area` (pixels).
    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed>;
}

/// A figure: data and checked options. Cheap to copy; drawing it cannot fail and always gives the same bytes.
#[derive(Debug, Clone)]
pub struct Figure {
    plot: Arc<dyn Plot>,
    interactive: bool,
}

impl Figure {
    fn new(plot: impl Plot + 'static) -> Self {
        Self {
            plot: Arc::new(plot),
            interactive: false,
        }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [f64; 2] {
        self.plot.size()
    }

    /// One line that says what the figure is, for example `line plot "training loss", 3000 points`.
    pub fn describe(&self) -> String {
        let description = self.plot.describe();
        match (self.plot.title(), description.split_once(',')) {
            ("", _) => description,
            (title, Some((kind, rest))) => format!("{kind} \"{title}\",{rest}"),
            (title, None) => format!("{description} \"{title}\""),
        }
    }

    /// The figure as an SVG document.
    pub fn svg(&self, theme: Theme) -> String {
        render::svg::draw(&self.scene(theme), &self.describe())
    }

    /// The figure as a PNG file with `scale` pixels for each pixel of the figure's size (2 for today's screens).
    /// Errors if `scale` is not between 0.1 and 10.
    pub fn png(&self, theme: Theme, scale: f64) -> Result<Vec<u8>> {
        render::png::draw(&self.scene(theme), scale)
    }

    /// The figure in characters: at most `rows` lines of at most `columns` characters; with `color`, in 24-bit colours
    /// by ANSI escapes.
    pub fn text(&self, columns: usize, rows: usize, color: bool) -> String {
        let palette = Palette::new(Theme::Dark);
        let [width, height] = render::text::pixels(columns, rows);
        let area = Rect {
            left: 0.0,
            top: 0.0,
            right: width,
            bottom: height,
        };
        let panels = self.plot.panels(area, &palette);
        render::text::draw(&panels, [columns, rows], palette.background, color)
    }

    /// The figure as a web page that needs nothing else, to zoom and move in, with the values under the pointer; in the
    /// theme that the reader's system asks for, or in the given one.
    pub fn html(&self, theme: Option<Theme>) -> String {
        let themes = match theme {
            Some(theme) => vec![theme],
            None => vec![Theme::Light, Theme::Dark],
        };
        let scenes: Vec<Scene> = themes.into_iter().map(|theme| self.scene(theme)).collect();
        render::html::page(&scenes, &self.describe())
    }

    /// The figure, wanted to zoom and move in where it is shown. Errors as [`vega`](Self::vega) does.
    pub fn interactive(self) -> Result<Self> {
        self.vega()?;
        Ok(Self {
            interactive: true,
            ..self
        })
    }

    /// Whether it is wanted to zoom and move in.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// The figure as a Vega-Lite specification, to zoom and move in where it is shown. Errors if it is made of what
    /// Vega-Lite does not draw, or of too much.
    pub fn vega(&self) -> Result<String> {
        vega::draw(self)
    }

    /// The title, if it has one.
    pub(crate) fn title(&self) -> Option<&str> {
        Some(self.plot.title()).filter(|title| !title.is_empty())
    }

    /// What is seen in `area`.
    pub(crate) fn lower(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        self.plot.panels(area, palette)
    }

    fn scene(&self, theme: Theme) -> Scene {
        let palette = Palette::new(theme);
        let size = self.size();
        let area = Rect {
            left: 0.0,
            top: 0.0,
            right: size[0],
            bottom: size[1],
        };
        layout::scene(size, &self.plot.panels(area, &palette), &palette)
    }
}

/// One kind of figure, for help, completion and the contract test.
pub struct FigureKind {
    /// Its name, as scripts write it after `plot::`.
    pub name: &'static str,
    /// What it shows, in one line.
    pub summary: &'static str,
    /// The schema of its options: names, types, defaults and what they do.
    pub options: fn() -> Schema,
    /// A figure of this kind made of any numbers.
    pub sample: fn(&[f64]) -> Result<Figure>,
}

/// All kinds of figures.
pub const ALL: &[FigureKind] = &[
    FigureKind {
        name: "line",
        summary: "one or several series as lines",
        options: || schema_for!(LineOptions),
        sample: line::sample,
    },
    FigureKind {
        name: "scatter",
        summary: "points in the plane, in groups or coloured by a value",
        options: || schema_for!(ScatterOptions),
        sample: scatter::sample,
    },
    FigureKind {
        name: "hist",
        summary: "how often values occur, for one or several groups",
        options: || schema_for!(HistOptions),
        sample: hist::sample,
    },
    FigureKind {
        name: "heatmap",
        summary: "a matrix as coloured cells",
        options: || schema_for!(HeatmapOptions),
        sample: heatmap::sample,
    },
    FigureKind {
        name: "contour",
        summary: "lines of equal value of a field, and bands between them",
        options: || schema_for!(ContourOptions),
        sample: contour::sample,
    },
    FigureKind {
        name: "quiver",
        summary: "a field of vectors as arrows",
        options: || schema_for!(QuiverOptions),
        sample: quiver::sample,
    },
    FigureKind {
        name: "bar",
        summary: "values of several names as bars, grouped or stacked",
        options: || schema_for!(BarOptions),
        sample: bar::sample,
    },
    FigureKind {
        name: "errorbar",
        summary: "values with their uncertainty, as bars or bands",
        options: || schema_for!(ErrorbarOptions),
        sample: errorbar::sample,
    },
    FigureKind {
        name: "graph",
        summary: "nodes and edges",
        options: || schema_for!(GraphOptions),
        sample: graph::sample,
    },
    FigureKind {
        name: "overlay",
        summary: "several figures in one pair of axes",
        options: || schema_for!(OverlayOptions),
        sample: overlay::sample,
    },
    FigureKind {
        name: "image",
        summary: "one picture, gray or in colours",
        options: || schema_for!(ImageOptions),
        sample: images::sample_one,
    },
    FigureKind {
        name: "images",
        summary: "many pictures side by side",
        options: || schema_for!(ImagesOptions),
        sample: images::sample_many,
    },
    FigureKind {
        name: "grid",
        summary: "several figures side by side",
        options: || schema_for!(GridOptions),
        sample: grid::sample,
    },
];
