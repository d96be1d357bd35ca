//! A network as a table: its layers, the shapes that come out of them, how many numbers they hold.

use rhai::{Array, Dynamic};
use rhapsode_models::nn::{Net, Row};

use crate::{
    Display,
    bind::{Outcome, escape, raise, tensor::shape},
    fault::{Fault, Spot},
    library::Library,
    value::{Object, type_word},
};

/// A table of a network.
#[derive(Clone)]
pub(crate) struct Summary {
    title: String,
    rows: Vec<Row>,
    /// How it is computed: beside the table, as it differs between machines.
    path: String,
}

/// Columns of a row: path and kind, output, count.
fn cells(row: &Row) -> [String; 4] {
    let output = row
        .output
        .as_ref()
        .map_or(String::new(), |s| format!("{s:?}"));
    [
        row.path.clone(),
        row.kind.clone(),
        output,
        grouped(row.params),
    ]
}

/// `12_345`, as one would type it.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

impl Summary {
    /// Of a network; with the shapes of its inputs, those of all outputs.
    pub fn of(net: &Net, inputs: Option<&[Vec<usize>]>) -> rhapsode_models::Result<Self> {
        let mode = match (net.layer().has_dropout(), net.is_training()) {
            (false, _) => "",
            (true, true) => ", training mode: dropout drops",
            (true, false) => ", evaluation mode: no dropout",
        };
        Ok(Self {
            title: format!(
                "{} of {} parameters{mode}",
                net.layer().kind(),
                grouped(net.count())
            ),
            rows: net.rows(inputs)?,
            path: path_here(net.path()),
        })
    }
}

impl Object for Summary {
    const NAME: &'static str = "Summary";

    fn text(&self) -> String {
        let rows: Vec<[String; 4]> = self.rows.iter().map(cells).collect();
        let width = |i: usize| rows.iter().map(|row| row[i].len()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        let mut text = self.title.clone();
        for [path, kind, output, count] in &rows {
            let [a, b, c, d] = widths;
            let mut line = String::from(" ");
            for (cell, width) in [(path, a), (kind, b), (output, c)] {
                if width > 0 {
                    line.push_str(&format!(" {cell:width$} "));
                }
            }
            text.push_str(&format!("\n{line} {count:>d$}"));
        }
        text
    }

    fn summary(&self) -> String {
        self.title.clone()
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        let mut html = String::from(
            "<table><thead><tr><th>name</th><th>layer</th><th>output</th><th>parameters</th></tr></thead><tbody>",
        );
        for row in self.rows.iter().map(cells) {
            let cells: String = row
                .iter()
                .map(|c| format!("<td>{}</td>", escape(c)))
                .collect();
            html.push_str(&format!("<tr>{cells}</tr>"));
        }
        html.push_str(&format!(
            "</tbody></table><small>{} ({})</small>",
            escape(&self.title),
            escape(&self.path)
        ));
        let plain = Display::text(self.text());
        Display {
            forms: [vec![("text/html".into(), html)], plain.forms].concat(),
            id: None,
        }
    }
}

/// A table of parameters: name, shape, count.
pub(crate) struct Parameters {
    title: String,
    rows: Vec<[String; 3]>,
    path: String,
}

/// The path that a computation takes on this machine: `fused network, AVX-512`.
pub(crate) fn path_here(path: &str) -> String {
    format!("{path}, {}", rhapsode_tensor::simd::level().name())
}

impl Parameters {
    /// Of slots with a name and a shape, `total` numbers in all.
    pub fn of<'a>(
        title: &str,
        slots: impl Iterator<Item = (&'a str, &'a [usize])>,
        total: usize,
    ) -> Self {
        let row = |(name, shape): (&str, &[usize])| {
            let count = shape.iter().product();
            [name.to_string(), format!("{shape:?}"), grouped(count)]
        };
        Self {
            title: format!("{title}, {} parameters", grouped(total)),
            rows: slots.map(row).collect(),
            path: String::new(),
        }
    }

    /// With the path that its computation takes.
    pub fn computed_by(mut self, path: &str) -> Self {
        self.path = path_here(path);
        self
    }

    /// In lines.
    pub fn text(&self) -> String {
        let width = |i: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(i));
            cells.map(String::len).max().unwrap_or(0)
        };
        let [a, b, c] = [width(0), width(1), width(2)];
        let mut text = self.title.clone();
        for [name, shape, count] in &self.rows {
            text.push_str(&format!("\n  {name:a$}  {shape:b$}  {count:>c$}"));
        }
        if !self.path.is_empty() {
            text.push_str(&format!("\n  ({})", self.path));
        }
        text
    }

    fn note(&self) -> String {
        match self.path.as_str() {
            "" => self.title.clone(),
            path => format!("{} ({path})", self.title),
        }
    }

    /// As a table, and in lines.
    pub fn display(&self) -> Display {
        let row = |row: &[String; 3]| {
            let cells = row.iter().map(|cell| format!("<td>{}</td>", escape(cell)));
            format!("<tr>{}</tr>", cells.collect::<String>())
        };
        let rows: String = self.rows.iter().map(row).collect();
        let html = format!(
            "<table><thead><tr><th>name</th><th>shape</th><th>parameters</th></tr></thead>\
             <tbody>{rows}</tbody></table><small>{}</small>",
            escape(&self.note())
        );
        Display {
            forms: vec![
                ("text/html".into(), html),
                ("text/plain".into(), self.text()),
            ],
            id: None,
        }
    }
}

/// One shape, or an array of the shapes of several inputs.
fn shapes(value: &Dynamic) -> Outcome<Vec<Vec<usize>>> {
    let several = value
        .read_lock::<Array>()
        .is_some_and(|items| items.first().is_some_and(|item| item.is_array()));
    let at = |fault: Fault| fault.at(Spot::Argument(0));
    if !several {
        return Ok(vec![shape(value).map_err(at)?]);
    }
    let Some(items) = value.read_lock::<Array>() else {
        let got = type_word(value.type_name());
        return Err(at(Fault::expected("a shape or an array of shapes", got)).into());
    };
    Ok(items
        .iter()
        .map(|item| shape(item).map_err(at))
        .collect::<Result<_, _>>()?)
}

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library.object::<Summary>("A network as a table of its layers.");
    library
        .method::<Net>(
            "summary",
            "(input?: array) -> Summary",
            r#"
            A table of the layers with their numbers of parameters; for the shape of an input (with its first axis, the
            samples), or an array of the shapes of several inputs, also the shape of every output.

            ```rhai
            let net = nn::sequential([nn::conv2d(#{ outputs: 4 }), "relu", nn::flatten(), nn::linear(#{ inputs: 144, outputs: 10 })]);
            print(net.summary([32, 1, 8, 8]));
            ```
            "#,
        )
        .call(|net: &mut Net| -> Outcome<Summary> { raise(Summary::of(net, None)) })
        .call(|net: &mut Net, input: Dynamic| -> Outcome<Summary> {
            raise(Summary::of(net, Some(&shapes(&input)?)))
        });
}
