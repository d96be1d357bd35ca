//! Figures as data: what to draw is stated as numbers and options, lowered to a few marks, and drawn as SVG, as PNG
//! or in characters for a terminal.
//!
//! ```
//! use rhapsode_plot::{Figure, Series, Theme, figure::LineOptions};
//!
//! let loss = Series { x: None, y: vec![1.0, 0.5, 0.25] };
//! let figure = Figure::line(vec![loss], LineOptions { log_y: true, ..Default::default() })?;
//! assert_eq!(figure.describe(), "line plot, 3 points");
//! assert!(figure.svg(Theme::Light).starts_with("<svg"));
//! # Ok::<(), rhapsode_plot::Error>(())
//! ```
//!
//! From a figure to a picture: [`figure`] holds the kinds; each lowers itself to panels of [`mark`]s in the
//! coordinates of the data; `layout` decides once where axes, labels and legend stand, in pixels; `render` draws.

mod animation;
mod arrange;
mod axis;
mod color;
mod error;
pub mod figure;
mod font;
mod isoline;
mod layout;
mod legend;
pub mod mark;
mod panel;
mod render;
mod scale;
mod thin;
mod thumbnail;
mod vega;

pub use animation::{AnimateOptions, Animation};
pub use color::{Color, ColorMap, Theme};
pub use error::{Error, Result};
pub use figure::{Figure, Points, Series};
pub use thumbnail::thumbnail;
pub use vega::MIME as VEGA_LITE;
