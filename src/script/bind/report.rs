//! `report`: the table of an experiment in the one format of all: quantity, expected, measured over seeds, verdict. `rhapsode reproduce`
//! collects them.

use std::sync::{Arc, Mutex};

use rhai::{Array, Dynamic, Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Outcome, number};
use crate::{
    Display, Kind,
    context::lock,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::{Object, type_word},
};

/// The form in which front ends find a table as data.
pub const MIME: &str = "application/vnd.rhapsode.report+json";

/// One line.
#[derive(Clone)]
struct Row {
    quantity: String,
    expected: String,
    measured: Vec<f64>,
    met: bool,
}

/// A table; clones are the same one.
#[derive(Clone)]
pub(crate) struct Report {
    slug: String,
    rows: Arc<Mutex<Vec<Row>>>,
}

/// A number with four figures.
fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value == 0.0 || !value.is_finite() => format!("{value}"),
        _ if !(1e-3..1e5).contains(&size) => format!("{value:.2e}"),
        _ => {
            let places = (3 - size.log10().floor() as i64).clamp(0, 6) as usize;
            let text = format!("{value:.places$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
                false => text,
            }
        }
    }
}

impl Row {
    fn cells(&self) -> [String; 4] {
        let measured: Vec<String> = self.measured.iter().map(|v| short(*v)).collect();
        [
            self.quantity.clone(),
            self.expected.clone(),
            measured.join(" / "),
            self.verdict().into(),
        ]
    }

    fn verdict(&self) -> &'static str {
        if self.met { "met" } else { "missed" }
    }
}

impl Report {
    /// An empty table.
    pub fn new(slug: &str) -> Self {
        Self {
            slug: slug.into(),
            rows: Arc::default(),
        }
    }

    /// Adds an error and how large it may be.
    pub fn bounded(&self, quantity: &str, error: f64, tolerance: f64) {
        lock(&self.rows).push(Row {
            quantity: quantity.into(),
            expected: format!("<= {}", short(tolerance)),
            measured: vec![error],
            // Not a number is no small error.
            met: error <= tolerance,
        });
    }

    /// As JSON: `{rows: [{slug, quantity, expected, measured, seeds, verdict}]}`.
    fn json(&self) -> String {
        let rows = lock(&self.rows);
        let row = |row: &Row| {
            json!({
                "slug": self.slug,
                "quantity": row.quantity,
                "expected": row.expected,
                "measured": row.measured,
                "seeds": row.measured.len(),
                "verdict": row.verdict(),
            })
        };
        json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() }).to_string()
    }
}

impl Object for Report {
    const NAME: &'static str = "Report";

    fn text(&self) -> String {
        let head = ["quantity", "expected", "measured", "verdict"].map(String::from);
        let rows = lock(&self.rows);
        let lines: Vec<[String; 4]> = [head]
            .into_iter()
            .chain(rows.iter().map(Row::cells))
            .collect();
        let width = |column: usize| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: [usize; 3] = std::array::from_fn(width);
        let write = |line: &[String; 4]| {
            let padded = line
                .iter()
                .zip(widths)
                .map(|(text, width)| format!("{text:width$}"));
            format!("  {}  {}", padded.collect::<Vec<_>>().join("  "), line[3])
        };
        let body: Vec<String> = lines.iter().map(write).collect();
        format!("{}\n{}", self.slug, body.join("\n"))
    }

    fn summary(&self) -> String {
        let rows = lock(&self.rows);
        let met = rows.iter().filter(|row| row.met).count();
        format!("{met} of {} met", rows.len())
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        let escape = super::escape;
        let rows = lock(&self.rows);
        let cells = |row: &Row| {
            let cells = row
                .cells()
                .map(|cell| format!("<td>{}</td>", escape(&cell)));
            format!("<tr>{}</tr>", cells.join(""))
        };
        let body: String = rows.iter().map(cells).collect();
        drop(rows);
        let html = format!(
            "<table><caption>{}</caption><thead><tr><th>quantity</th><th>expected</th><th>measured</th><th>verdict</th></tr></thead><tbody>{body}</tbody></table>",
            escape(&self.slug)
        );
        Display::text(self.text())
            .with("text/html", html)
            .with(MIME, self.json())
    }
}

/// What is expected of a row.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RowOptions {
    /// No measurement may be larger (default: no bound).
    at_most: Option<f64>,
    /// No measurement may be smaller (default: no bound).
    at_least: Option<f64>,
    /// Whether what is expected holds, where it is no bound on the number itself (default: as the bounds say).
    holds: Option<bool>,
    /// What is expected, in words (default: the bounds).
    expected: Option<String>,
}

/// Binds it.
pub(crate) fn bind(library: &mut Library) {
    library
        .object::<Report>("The table of an experiment: `row(quantity, measured, #{ at_most })`.");
    library
        .function(
            "report",
            "(slug: string) -> Report",
            r#"
            A table of an experiment in the one format of all: quantity, expected, measured over seeds, verdict. `rhapsode reproduce` collects those
            of all scripts.

            ```rhai
            let table = report("my-experiment");
            table.row("error", [0.01, 0.02, 0.01], #{ at_most: 0.05 });
            table.met // => 1
            ```
            "#,
        )
        .call(|slug: &str| Report::new(slug));
    library
        .method::<Report>(
            "row",
            "(quantity: string, measured: float | array, options: map) -> Report",
            r#"
            Adds a line: what was measured, a number a seed, and what is expected of every one of them.

            ```rhai
            let table = report("example");
            table.row("accuracy", [0.97, 0.99], #{ at_least: 0.98 });
            table.row("falls with the noise", 0.3, #{ holds: true, expected: "0.5 > 0.3" });
            [table.met, table.missed] // => [1, 1]
            ```
            "#,
        )
        .options::<RowOptions>()
        .call(|_call: NativeCallContext, report: &mut Report, quantity: &str, measured: Dynamic, map: Map| row(report, quantity, &measured, &map));
    library
        .property::<Report>("met", "int", "How many lines are as expected.")
        .call(|report: &mut Report| lock(&report.rows).iter().filter(|row| row.met).count() as i64);
    library
        .property::<Report>("missed", "int", "How many lines are not as expected.")
        .call(|report: &mut Report| {
            lock(&report.rows).iter().filter(|row| !row.met).count() as i64
        });
}

fn row(report: &Report, quantity: &str, measured: &Dynamic, map: &Map) -> Outcome<Report> {
    let chosen: RowOptions = options::read(map)?;
    let wrong = |got: &str| {
        Fault::expected("a number or an array of numbers", type_word(got)).at(Spot::Argument(1))
    };
    let measured: Vec<f64> = match (number(measured), measured.read_lock::<Array>()) {
        (Some(one), _) => vec![one],
        (_, Some(many)) => {
            let each = many
                .iter()
                .map(|v| number(v).ok_or_else(|| wrong(v.type_name())));
            each.collect::<Result<_, _>>()?
        }
        _ => return Err(wrong(measured.type_name()).into()),
    };
    let bounds = [
        chosen
            .at_least
            .map(|b| (format!(">= {}", short(b)), measured.iter().all(|v| *v >= b))),
        chosen
            .at_most
            .map(|b| (format!("<= {}", short(b)), measured.iter().all(|v| *v <= b))),
        chosen.holds.map(|holds| (String::new(), holds)),
    ];
    let bounds: Vec<(String, bool)> = bounds.into_iter().flatten().collect();
    if bounds.is_empty() || measured.is_empty() {
        let message =
            "give what is expected: `at_most`, `at_least` or `holds`, and at least one measurement";
        return Err(Fault::new(Kind::Option, message).into());
    }
    let words: Vec<&str> = bounds
        .iter()
        .map(|(text, _)| text.as_str())
        .filter(|text| !text.is_empty())
        .collect();
    lock(&report.rows).push(Row {
        quantity: quantity.into(),
        expected: chosen.expected.unwrap_or_else(|| words.join(", ")),
        met: bounds.iter().all(|(_, met)| *met),
        measured,
    });
    Ok(report.clone())
}
