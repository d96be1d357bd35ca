//! How a tensor looks: in lists of variables, printed, and as a table in a notebook.

use rhapsode_tensor::{DType, Tensor};

use crate::{Display, value::Object};

/// Rows and columns of a table at most; of larger ones the first and last.
const SIDE: usize = 10;

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
            html.push_str(&format!("<td>{}</td>", word(*value)));
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
