//! `grid`: several figures side by side.

use super::options::check_side;
use super::overlay::share;
use super::{Figure, Plot};
use crate::axis::{Axis, counted};
use crate::color::Palette;
use crate::error::{Error, Result};
use crate::layout::TITLE;
use crate::mark::Rect;
use crate::panel::{Panel, Placed};
use crate::scale::Scale;
use schemars::JsonSchema;
use serde::Deserialize;

/// Options of `plot::grid`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GridOptions {
    /// Text above all figures. Default: none.
    pub title: String,
    /// Number of figures side by side, 1 to 20. Default: all of up to 3, else 2 for 4 figures, else 3.
    pub columns: Option<usize>,
    /// Whether all figures show the same range of x. Default: false.
    pub share_x: bool,
    /// Whether all figures show the same range of y. Default: false.
    pub share_y: bool,
    /// Width of the whole in pixels, 64 to 4000. Default: from the figures, at most 1080.
    pub width: Option<u32>,
    /// Height of the whole in pixels, 64 to 4000. Default: from the figures.
    pub height: Option<u32>,
}

#[derive(Debug)]
struct Grid {
    figures: Vec<Figure>,
    columns: usize,
    options: GridOptions,
}

impl Figure {
    /// Figures side by side. Errors if an option makes no sense.
    pub fn grid(figures: Vec<Figure>, options: GridOptions) -> Result<Self> {
        check_side("width", options.width)?;
        check_side("height", options.height)?;
        let columns = options.columns.unwrap_or(match figures.len() {
            0 => 1,
            4 => 2,
            n => n.min(3),
        });
        if !(1..=20).contains(&columns) {
            return Err(Error::Option {
                option: "columns",
                expected: "1 to 20",
                got: columns.to_string(),
            });
        }
        if options.share_x || options.share_y {
            check_shared(&figures, [options.share_x, options.share_y])?;
        }
        Ok(Self::new(Grid {
            figures,
            columns,
            options,
        }))
    }
}

/// Errors if figures cannot share their axes: one is made of several, or only some are logarithmic.
fn check_shared(figures: &[Figure], shared: [bool; 2]) -> Result<()> {
    let mut first = None;
    for (index, figure) in figures.iter().enumerate() {
        let reason = "is made of several, and cannot share its axes";
        let kinds = figure.kinds().ok_or(Error::Axes { index, reason })?;
        let [x, y] = *first.get_or_insert(kinds);
        if (shared[0] && x != kinds[0]) || (shared[1] && y != kinds[1]) {
            let reason = "cannot share a logarithmic axis with a linear one";
            return Err(Error::Axes { index, reason });
        }
    }
    Ok(())
}

impl Grid {
    /// Height of the title's strip as a share of `height`.
    fn title_height(&self, height: f64) -> f64 {
        match self.options.title.is_empty() {
            true => 0.0,
            false => (TITLE + 16.0).min(height / 2.0),
        }
    }

    /// Heights of the rows where each column is `width` wide: those of their highest figures, but in a row of several
    /// none is so flat or so high that the others look lost.
    fn row_heights(&self, width: f64) -> Vec<f64> {
        let height = |figure: &Figure| {
            let [w, h] = figure.size();
            width * h / w
        };
        let row = |figures: &[Figure]| {
            let highest = figures.iter().map(height).fold(80.0, f64::max);
            match self.columns {
                1 => highest,
                _ => highest.clamp(width * 0.72, width * 0.9),
            }
        };
        self.figures.chunks(self.columns).map(row).collect()
    }

    /// Width of a column: that of the widest figure, unless they are too many for a page.
    fn column_width(&self) -> f64 {
        let widest = self.figures.iter().map(|f| f.size()[0]).fold(0.0, f64::max);
        let columns = self.columns as f64;
        match self.options.width {
            Some(width) => f64::from(width) / columns,
            None if self.figures.is_empty() => 320.0,
            None => widest
                .min((1080.0 / columns).max(200.0))
                .min(4000.0 / columns),
        }
    }
}

impl Plot for Grid {
    fn size(&self) -> [f64; 2] {
        let column = self.column_width();
        let rows: f64 = self.row_heights(column).iter().sum();
        let height = (rows + self.title_height(f64::INFINITY)).clamp(120.0, 4000.0);
        [
            (column * self.columns as f64).round(),
            self.options.height.map_or(height.round(), f64::from),
        ]
    }

    fn title(&self) -> &str {
        &self.options.title
    }

    fn describe(&self) -> String {
        format!("grid, {}", counted(self.figures.len(), "figure"))
    }

    fn colors(&self) -> Option<usize> {
        None
    }

    fn panels(&self, area: Rect, palette: &Palette) -> Vec<Placed> {
        let title = self.title_height(area.height());
        let mut placed = Vec::new();
        if title > 0.0 || self.figures.is_empty() {
            placed.push(self.heading(area, title));
        }
        let column = area.width() / self.columns as f64;
        let wanted = self.row_heights(column);
        // What the rows want, stretched to what there is.
        let stretch = (area.height() - title) / wanted.iter().sum::<f64>().max(1.0);
        let mut top = area.top + title;
        for (row, height) in self.figures.chunks(self.columns).zip(wanted) {
            let bottom = top + height * stretch;
            for (i, figure) in row.iter().enumerate() {
                let left = area.left + i as f64 * column;
                let cell = Rect {
                    left,
                    top,
                    right: left + column,
                    bottom,
                };
                placed.extend(figure.plot.panels(cell, palette));
            }
            top = bottom;
        }
        let figures = placed.iter_mut().skip(usize::from(title > 0.0));
        share(
            figures.map(|p| &mut p.panel),
            [self.options.share_x, self.options.share_y],
        );
        placed
    }
}

impl Grid {
    /// A panel that shows nothing but the title.
    fn heading(&self, area: Rect, height: f64) -> Placed {
        let unit = Scale::linear(0.0, 1.0);
        let panel = Panel {
            title: self.options.title.clone(),
            x: Axis::hidden(unit),
            y: Axis::hidden(unit),
            equal: false,
            marks: Vec::new(),
            legend: Vec::new(),
            bar: None,
            cells: Vec::new(),
            notes: match self.figures.is_empty() {
                true => vec!["no figures".to_string()],
                false => Vec::new(),
            },
        };
        let bottom = match self.figures.is_empty() {
            true => area.bottom,
            false => area.top + height,
        };
        Placed {
            area: Rect { bottom, ..area },
            panel,
        }
    }
}

/// One figure of two other kinds, and a grid in the grid, from any numbers.
pub(super) fn sample(numbers: &[f64]) -> Result<Figure> {
    let options = GridOptions {
        title: "side by side".to_string(),
        ..Default::default()
    };
    if numbers.is_empty() {
        return Figure::grid(Vec::new(), options);
    }
    let inner = Figure::grid(vec![super::line::sample(numbers)?], GridOptions::default())?;
    let figures = vec![
        super::hist::sample(numbers)?,
        super::scatter::sample(numbers)?,
        super::heatmap::sample(numbers)?,
        inner,
    ];
    Figure::grid(figures, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Theme;
    use crate::figure::line;

    #[test]
    fn figures_stand_in_rows_without_overlap() {
        let figures = (0..5).map(|_| line::sample(&[1.0, 2.0]).unwrap()).collect();
        let grid = Figure::grid(figures, GridOptions::default()).unwrap();
        let [width, height] = grid.size();
        assert_eq!(width, 1080.0);
        let area = Rect {
            left: 0.0,
            top: 0.0,
            right: width,
            bottom: height,
        };
        let placed = grid.plot.panels(area, &Palette::new(Theme::Light));
        let corners: Vec<(f64, f64)> = placed.iter().map(|p| (p.area.left, p.area.top)).collect();
        let half = height / 2.0;
        let expected = [
            (0.0, 0.0),
            (360.0, 0.0),
            (720.0, 0.0),
            (0.0, half),
            (360.0, half),
        ];
        assert_eq!(corners, expected);
    }

    #[test]
    fn zero_columns_are_an_error() {
        let options = GridOptions {
            columns: Some(0),
            ..Default::default()
        };
        assert_eq!(
            Figure::grid(vec![], options).unwrap_err().option(),
            Some("columns")
        );
    }
}
