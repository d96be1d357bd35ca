//! How a tensor looks: in lists of variables, printed, and as a table in a notebook.

use rhapsode_tensor::{DType, Tensor};

use crate::{Display, value::Object};

/// Rows and columns of a table at most; of larger ones the first and last.
const SIDE: usize = 10;
/// Rows and columns of the small heatmap at most; of larger ones as many, evenly spaced.
const PIXELS: usize = 48;

impl Object for Tensor {
    const NAME: &'static str = "Tensor";
    const BRIEF: bool = true;

    fn text(&self) -> String {
        self.to_string()
    }

    fn summary(&self) -> String {
        format!("{:?} {}", self.dims(), self.dtype().as_str())
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.len() as u64 * self.dtype().size_in_bytes() as u64)
    }

    fn display(&self) -> Display {
        let plain = Display::text(self.text());
        match table(self) {
            Ok(html) => Display {
                forms: [vec![("text/html".into(), html)], plain.forms].concat(),
                id: None,
            },
            // The text says what is wrong.
            Err(_) => plain,
        }
    }
}

/// Values (of a vector or matrix as a table, of other ranks as text), then what the tensor is and its statistics.
fn table(x: &Tensor) -> rhapsode_tensor::Result<String> {
    let mut html = String::from("<div>");
    match x.rank() {
        1 | 2 if !x.is_empty() => cells(x, &mut html)?,
        _ => {
            let text = x.to_string();
            let values = text.rsplit_once('\n').map_or("", |(values, _)| values);
            html.push_str(&format!("<pre>{}</pre>", crate::bind::escape(values)));
        }
    }
    // A table of all values shows by its ground what the picture would.
    if x.rank() >= 1 && (x.rank() > 2 || x.dims().iter().any(|size| *size > SIDE)) {
        html.push_str(&heatmap(x)?);
    }
    html.push_str(&format!("<small>{}", crate::bind::escape(&x.describe())));
    if x.len() > 1 {
        html.push_str(&format!("<br>{}", statistics(x)?));
    }
    html.push_str("</small></div>");
    Ok(html)
}

/// The statistics in one line.
fn statistics(x: &Tensor) -> rhapsode_tensor::Result<String> {
    let found = x.statistics()?;
    if x.dtype() == DType::Bool {
        let count = (found.mean * found.count as f64).round();
        return Ok(format!("{count} of {} true", found.count));
    }
    let is_float = x.dtype().is_float();
    let mut line = format!(
        "min {} &middot; mean {} &middot; max {} &middot; std {}",
        number(found.min, is_float),
        number(found.mean, true),
        number(found.max, is_float),
        number(found.std, true),
    );
    for (count, what) in [(found.nan, "NaN"), (found.infinite, "infinite")] {
        if count > 0 {
            line.push_str(&format!(" &middot; <b>{count} {what}</b>"));
        }
    }
    Ok(line)
}

/// The whole tensor as a small picture, a pixel a value; a notebook that is not trusted shows it, too.
fn heatmap(x: &Tensor) -> rhapsode_tensor::Result<String> {
    let columns = x.dims().last().copied().unwrap_or(1);
    if x.is_empty() || x.len() <= 1 {
        return Ok(String::new());
    }
    let matrix = x.detach().reshape(&[x.len() / columns.max(1), columns])?;
    let matrix = matrix.index_select(0, &spread(matrix.dim(0)?)?)?;
    let matrix = matrix.index_select(1, &spread(matrix.dim(1)?)?)?;
    let (rows, columns) = (matrix.dim(0)?, matrix.dim(1)?);
    let Ok(png) = rhapsode_plot::thumbnail(&matrix.to_vec()?, columns) else {
        return Ok(String::new());
    };
    // Pixels as squares, none of them so small that it is not seen.
    let side = (160 / rows.max(columns)).clamp(3, 16);
    Ok(format!(
        "<img alt=\"heatmap\" style=\"image-rendering:pixelated;width:{}px;height:{}px;margin:4px 0;display:block\" \
         src=\"data:image/png;base64,{}\">",
        columns * side,
        rows * side,
        crate::bind::base64(&png)
    ))
}

/// The indices of at most so many of `size`, evenly spaced.
fn spread(size: usize) -> rhapsode_tensor::Result<Tensor> {
    let shown = size.min(PIXELS);
    let at = |i: usize| match shown {
        0 | 1 => 0,
        _ => (i * (size - 1) / (shown - 1)) as i64,
    };
    Tensor::from_vec((0..shown).map(at).collect::<Vec<i64>>(), &[shown])
}

/// The ground of a cell by its value: blue below zero, orange above, the stronger the larger; text stays legible on
/// light and dark pages.
fn ground(value: f64, largest: f64) -> String {
    let strength = (value.abs() / largest).clamp(0.0, 1.0) * 0.5;
    match value {
        v if v.is_nan() => " style=\"background:rgba(220,38,38,0.5)\"".into(),
        _ if strength.is_nan() || strength <= 0.005 => String::new(),
        v if v < 0.0 => format!(" style=\"background:rgba(59,130,246,{strength:.2})\""),
        _ => format!(" style=\"background:rgba(245,158,11,{strength:.2})\""),
    }
}

/// A matrix, or a vector as a row, as an HTML table.
fn cells(x: &Tensor, html: &mut String) -> rhapsode_tensor::Result<()> {
    let matrix = if x.rank() == 1 {
        x.unsqueeze(0)?
    } else {
        x.clone()
    };
    let (rows, row_gap) = ends(matrix.dim(0)?)?;
    let (columns, column_gap) = ends(matrix.dim(1)?)?;
    let matrix = matrix
        .detach()
        .index_select(0, &rows)?
        .index_select(1, &columns)?;
    let values = matrix.to_vec()?;
    let width = matrix.dim(1)?;
    let word = |value: f64| match x.dtype() {
        DType::Bool => (value != 0.0).to_string(),
        dtype => number(value, dtype.is_float()),
    };
    let sizes = values.iter().map(|v| v.abs()).filter(|v| v.is_finite());
    let largest = sizes.fold(0.0, f64::max);
    html.push_str("<table><tbody>");
    for (i, row) in values.chunks(width.max(1)).enumerate() {
        if row_gap == Some(i) {
            html.push_str(&format!(
                "<tr><td colspan=\"{}\">&#8942;</td></tr>",
                width + 1
            ));
        }
        html.push_str("<tr>");
        for (j, value) in row.iter().enumerate() {
            if column_gap == Some(j) {
                html.push_str("<td>&#8230;</td>");
            }
            let ground = ground(*value, largest);
            html.push_str(&format!("<td{ground}>{}</td>", word(*value)));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    Ok(())
}

/// The indices that are shown of so many, and before which of them something is left out.
fn ends(size: usize) -> rhapsode_tensor::Result<(Tensor, Option<usize>)> {
    let shown: Vec<i64> = match size <= SIDE {
        true => (0..size as i64).collect(),
        false => (0..SIDE / 2)
            .chain(size - SIDE / 2..size)
            .map(|i| i as i64)
            .collect(),
    };
    let count = shown.len();
    Ok((
        Tensor::from_vec(shown, &[count])?,
        (size > SIDE).then_some(SIDE / 2),
    ))
}

/// A value with as many places as a table needs.
fn number(value: f64, is_float: bool) -> String {
    match value {
        v if !is_float || !v.is_finite() => format!("{v}"),
        v if v != 0.0 && !(1e-3..1e5).contains(&v.abs()) => format!("{v:.3e}"),
        v => format!("{v:.4}"),
    }
}
