//! What can be wrong with a figure's data or options, and the hint that goes with it.

use crate::color;

/// A result whose error is this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What was wrong: what was expected and what came.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Two lists that belong together differ in length.
    #[error("{what}: expected {expected}, got {got}")]
    Length {
        /// Which list, for example `labels`.
        what: &'static str,
        /// The length that was expected.
        expected: usize,
        /// The length that came.
        got: usize,
    },
    /// Data whose shape is none that can be drawn.
    #[error("{what}: expected shape {expected}, got {got:?}")]
    Shape {
        /// Which data, for example `image`.
        what: &'static str,
        /// The shapes that are taken.
        expected: &'static str,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// An option's value that makes no sense.
    #[error("option `{option}`: expected {expected}, got {got}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The values that are taken.
        expected: &'static str,
        /// The value that came.
        got: String,
    },
    /// A colour that is neither a known name nor a hexadecimal value.
    #[error("option `colors`: expected a colour's name or #rrggbb, got {got:?}")]
    Color {
        /// What was given as a colour.
        got: String,
    },
    /// Places of a mesh that do not go one way.
    #[error("{what}: expected finite values that only rise or only fall")]
    Order {
        /// Which places, for example `x`.
        what: &'static str,
    },
    /// More things than a picture can show, or than can be arranged in time.
    #[error("{what}: at most {most} can be drawn, got {got}")]
    Many {
        /// What there are too many of, for example `nodes`.
        what: &'static str,
        /// How many came.
        got: usize,
        /// How many are taken.
        most: usize,
    },
    /// Figures that do not fit into one pair of axes.
    #[error("figure {index}: {reason}")]
    Axes {
        /// Which figure, counted from 0.
        index: usize,
        /// Why not.
        reason: &'static str,
    },
    /// A place that is nowhere.
    #[error("expected a finite place, got {got}")]
    Place {
        /// The coordinate that came.
        got: f64,
    },
    /// The work was ended before it was done.
    #[error("interrupted")]
    Interrupted,
    /// A figure that a page cannot hold as data.
    #[error("this figure has no interactive form: {reason}")]
    Interactive {
        /// Why not.
        reason: &'static str,
    },
    /// The picture could not be encoded.
    #[error("picture: {reason}")]
    Encode {
        /// What the encoder said.
        reason: String,
    },
}

impl Error {
    /// What the user may do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Color { .. } => Some(format!("the names are {}", color::names().join(", "))),
            Error::Shape { got, .. } if matches!(got.as_slice(), [.., 3, _, _]) => Some(
                "colours come last: permute [3, height, width] to [height, width, 3]".to_string(),
            ),
            Error::Interactive { .. } => {
                Some("`fig.save(\"figure.html\")` writes a page to zoom and move in".to_string())
            }
            _ => None,
        }
    }

    /// The option that the error is about, so that a front end can point at it.
    pub fn option(&self) -> Option<&'static str> {
        match self {
            Error::Option { option, .. } => Some(option),
            Error::Color { .. } => Some("colors"),
            Error::Length {
                what: what @ ("labels" | "x_ticks" | "y_ticks"),
                ..
            } => Some(what),
            Error::Length { .. }
            | Error::Shape { .. }
            | Error::Order { .. }
            | Error::Many { .. }
            | Error::Axes { .. }
            | Error::Place { .. }
            | Error::Interactive { .. }
            | Error::Interrupted
            | Error::Encode { .. } => None,
        }
    }
}
