//! What is put onto a figure: other figures, lines, areas, texts.

use rhai::{Array, Dynamic, Map};
use rhapsode_plot::{
    Figure,
    figure::{Note, NoteOptions, OverlayOptions},
};

use super::figure::{INTERACTIVE, INTERACTIVE_TEXT, shown};
use super::figures;
use crate::{
    bind::{Outcome, number, raise},
    fault::{Fault, Spot},
    library::Library,
    options,
    value::type_word,
};

pub(super) fn bind(library: &mut Library) {
    overlays(library);
    lines(library);
    places(library);
}

fn overlays(library: &mut Library) {
    library
        .function(
            "plot::overlay",
            "(figures: array of Figure, options?: map) -> Figure",
            r#"
            Several figures in one pair of axes, later ones over earlier ones; the axes show all that any of them shows.

            ```rhai
            let x = data::moons(200);
            plot::overlay([plot::scatter(x), plot::line([0.0, 1.0], [0.0, 0.5])], #{ labels: ["data", "fit"] });
            ```
            "#,
        )
        .options::<OverlayOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .call(|list: Array| overlay(list, &Map::new()))
        .call(|list: Array, map: Map| overlay(list, &map));
    library
        .method::<Figure>(
            "add",
            "(other: Figure) -> Figure",
            r#"
            This figure with another one over it, in the same axes; `plot::overlay` takes several, and options.

            ```rhai
            plot::scatter(data::rings(200)).add(plot::line([-1.0, 1.0], [0.0, 0.0]));
            ```
            "#,
        )
        .call(|figure: &mut Figure, other: Figure| {
            let both = vec![figure.clone(), other];
            raise::<Figure, _>(Figure::overlay(both, OverlayOptions::default()))
        });
}

fn overlay(list: Array, map: &Map) -> Outcome<Figure> {
    let chosen: OverlayOptions = options::read_besides(map, &[INTERACTIVE])?;
    shown(map, Figure::overlay(figures(list)?, chosen))
}

fn lines(library: &mut Library) {
    library
        .method::<Figure>(
            "hline",
            "(y: number, options?: map) -> Figure",
            r#"
            The figure with a line across it at `y`; the axis is widened so that it is seen.

            ```rhai
            plot::line([3.0, 1.0, 0.4]).hline(0.5, #{ label: "target" });
            ```
            "#,
        )
        .options::<NoteOptions>()
        .call(|f: &mut Figure, y: Dynamic| one(f, &y, Note::Horizontal, &Map::new()))
        .call(|f: &mut Figure, y: Dynamic, map: Map| one(f, &y, Note::Horizontal, &map));
    library
        .method::<Figure>(
            "vline",
            "(x: number, options?: map) -> Figure",
            r#"
            The figure with a line upwards through it at `x`; the axis is widened so that it is seen.

            ```rhai
            plot::line([3.0, 1.0, 0.4]).vline(1, #{ color: "red" });
            ```
            "#,
        )
        .options::<NoteOptions>()
        .call(|f: &mut Figure, x: Dynamic| one(f, &x, Note::Vertical, &Map::new()))
        .call(|f: &mut Figure, x: Dynamic, map: Map| one(f, &x, Note::Vertical, &map));
    library
        .method::<Figure>(
            "hspan",
            "(low: number, high: number, options?: map) -> Figure",
            r#"
            The figure with the values of y between `low` and `high` shaded.

            ```rhai
            plot::line([3.0, 1.0, 0.4]).hspan(0.5, 1.5, #{ label: "good" });
            ```
            "#,
        )
        .options::<NoteOptions>()
        .call(|f: &mut Figure, a: Dynamic, b: Dynamic| two(f, [&a, &b], Note::Rows, &Map::new()))
        .call(|f: &mut Figure, a: Dynamic, b: Dynamic, map: Map| {
            two(f, [&a, &b], Note::Rows, &map)
        });
    library
        .method::<Figure>(
            "vspan",
            "(low: number, high: number, options?: map) -> Figure",
            r#"
            The figure with the values of x between `low` and `high` shaded.

            ```rhai
            plot::line([3.0, 1.0, 0.4]).vspan(0, 1, #{ label: "warm-up" });
            ```
            "#,
        )
        .options::<NoteOptions>()
        .call(|f: &mut Figure, a: Dynamic, b: Dynamic| two(f, [&a, &b], Note::Columns, &Map::new()))
        .call(|f: &mut Figure, a: Dynamic, b: Dynamic, map: Map| {
            two(f, [&a, &b], Note::Columns, &map)
        });
}

fn places(library: &mut Library) {
    library
        .method::<Figure>(
            "annotate",
            "(text: string, x: number, y: number, options?: map) -> Figure",
            r#"
            The figure with a text around the point `x`, `y`; with `arrow: [x, y]`, an arrow from it to there.

            ```rhai
            plot::line([3.0, 1.0, 0.4]).annotate("falls fast", 1.5, 2.5, #{ arrow: [0.5, 2.0] });
            ```
            "#,
        )
        .options::<NoteOptions>()
        .call(|f: &mut Figure, text: &str, x: Dynamic, y: Dynamic| {
            annotate(f, text, [&x, &y], &Map::new())
        })
        .call(|f: &mut Figure, text: &str, x: Dynamic, y: Dynamic, map: Map| {
            annotate(f, text, [&x, &y], &map)
        });
    library
        .method::<Figure>(
            "rectangle",
            "(from: array, to: array, options?: map) -> Figure",
            r#"
            The figure with the rectangle between two corners `[x, y]` shaded.

            ```rhai
            plot::scatter(randn([200, 2])).rectangle([-1, -1], [1, 1], #{ label: "one sigma" });
            ```
            "#,
        )
        .options::<NoteOptions>()
        .call(|f: &mut Figure, a: Array, b: Array| rectangle(f, [&a, &b], &Map::new()))
        .call(|f: &mut Figure, a: Array, b: Array, map: Map| rectangle(f, [&a, &b], &map));
}

/// A number at an argument of a method.
fn place(value: &Dynamic, argument: usize) -> Result<f64, Fault> {
    let got = || Fault::expected("a number", type_word(value.type_name()));
    number(value).ok_or_else(|| got().at(Spot::Argument(argument)))
}

fn one(figure: &Figure, at: &Dynamic, note: fn(f64) -> Note, map: &Map) -> Outcome<Figure> {
    let chosen: NoteOptions = options::read(map)?;
    raise(figure.note(note(place(at, 0)?), chosen))
}

fn two(
    figure: &Figure,
    [a, b]: [&Dynamic; 2],
    note: fn([f64; 2]) -> Note,
    map: &Map,
) -> Outcome<Figure> {
    let chosen: NoteOptions = options::read(map)?;
    raise(figure.note(note([place(a, 0)?, place(b, 1)?]), chosen))
}

fn annotate(figure: &Figure, text: &str, [x, y]: [&Dynamic; 2], map: &Map) -> Outcome<Figure> {
    let chosen: NoteOptions = options::read(map)?;
    let note = Note::Text {
        text: text.to_string(),
        at: [place(x, 1)?, place(y, 2)?],
    };
    raise(figure.note(note, chosen))
}

fn rectangle(figure: &Figure, corners: [&Array; 2], map: &Map) -> Outcome<Figure> {
    let chosen: NoteOptions = options::read(map)?;
    let corner = |argument: usize, array: &Array| match array.as_slice() {
        [x, y] => Ok([place(x, argument)?, place(y, argument)?]),
        other => {
            let got = format!("{} items", other.len());
            Err(Fault::expected("a corner [x, y]", &got).at(Spot::Argument(argument)))
        }
    };
    let [a, b] = corners;
    let note = Note::Area([corner(0, a)?, corner(1, b)?]);
    raise(figure.note(note, chosen))
}
