//! `plot::contour` and `plot::quiver`: fields of numbers and of vectors.

use rhai::{Dynamic, Map};
use rhapsode_plot::{
    Figure,
    figure::{ContourOptions, QuiverOptions},
};

use super::figure::{INTERACTIVE, INTERACTIVE_TEXT, shown};
use super::numbers::{list, pairs, picture};
use crate::{
    Kind,
    bind::Outcome,
    fault::{Fault, Spot},
    library::Library,
    options,
};

pub(super) fn bind(library: &mut Library) {
    library
        .function(
            "plot::contour",
            "(z: Tensor | array, options?: map) | (x, y, z, options?: map) -> Figure",
            r#"
            Lines of equal value of a field, with coloured bands between them. `z` is a matrix `[rows, columns]`: its columns
            stand at `x`, its rows at `y` (both rise or fall; without them, at 0, 1, 2, ...), its first row at the bottom.
            Lines are found by marching squares on the bilinear interpolation of `z`.

            ```rhai
            let x = linspace(-2, 2, 40);
            let y = linspace(-1, 1, 30);
            let z = (-(x ** 2).reshape([1, 40]) - (y ** 2).reshape([30, 1])).exp();
            plot::contour(x, y, z, #{ title: "density", levels: 8 });
            ```
            "#,
        )
        .options::<ContourOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .call(|z: Dynamic| contour(None, &z, &Map::new()))
        .call(|z: Dynamic, map: Map| contour(None, &z, &map))
        .call(|x: Dynamic, y: Dynamic, z: Dynamic| contour(Some((&x, &y)), &z, &Map::new()))
        .call(|x: Dynamic, y: Dynamic, z: Dynamic, map: Map| contour(Some((&x, &y)), &z, &map));
    library
        .function(
            "plot::quiver",
            "(points: Tensor, vectors: Tensor, options?: map) | (x, y, u, v, options?: map) -> Figure",
            r#"
            A field of vectors as arrows that begin at `points`, both Tensors `[n, 2]`; or at `x`, `y` with the components
            `u`, `v`. Arrows are drawn as displacements: the tip stands at `point + scale * vector`.

            ```rhai
            let x = rand([50, 2]) * 2.0 - 1.0;
            let v = stack([-x[[(), 1]], x[[(), 0]]], 1);
            plot::quiver(x, v, #{ title: "rotation", color_by_length: true });
            ```
            "#,
        )
        .options::<QuiverOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .call(|at: Dynamic, v: Dynamic| quiver(pairs(&at, 0), pairs(&v, 1), &Map::new()))
        .call(|at: Dynamic, v: Dynamic, map: Map| quiver(pairs(&at, 0), pairs(&v, 1), &map))
        .call(|x: Dynamic, y: Dynamic, u: Dynamic, v: Dynamic| {
            quiver(zipped(&x, &y, 0), zipped(&u, &v, 2), &Map::new())
        })
        .call(|x: Dynamic, y: Dynamic, u: Dynamic, v: Dynamic, map: Map| {
            quiver(zipped(&x, &y, 0), zipped(&u, &v, 2), &map)
        });
}

fn contour(places: Option<(&Dynamic, &Dynamic)>, z: &Dynamic, map: &Map) -> Outcome<Figure> {
    let chosen: ContourOptions = options::read_besides(map, &[INTERACTIVE])?;
    let argument = if places.is_some() { 2 } else { 0 };
    let (values, shape) = picture(z).map_err(|fault| fault.at(Spot::Argument(argument)))?;
    let &[rows, columns] = shape.as_slice() else {
        let message = format!("expected a matrix [rows, columns], got shape {shape:?}");
        return Err(Fault::new(Kind::Shape, message)
            .at(Spot::Argument(argument))
            .into());
    };
    let counted = |n: usize| (0..n).map(|i| i as f64).collect();
    let (x, y) = match places {
        Some((x, y)) => (list(x, 0)?, list(y, 1)?),
        None => (counted(columns), counted(rows)),
    };
    for (what, got, expected, argument) in [("x", x.len(), columns, 0), ("y", y.len(), rows, 1)] {
        if got != expected {
            let message = format!("{what}: expected {expected} values for z {shape:?}, got {got}");
            let fault = Fault::new(Kind::Shape, message).at(Spot::Argument(argument));
            return Err(fault
                .hint("columns of z stand at x, rows at y: z is [y, x]")
                .into());
        }
    }
    shown(map, Figure::contour(x, y, values, chosen))
}

type Pairs = Result<Vec<[f64; 2]>, Fault>;

fn zipped(a: &Dynamic, b: &Dynamic, argument: usize) -> Pairs {
    let (a, b) = (list(a, argument)?, list(b, argument + 1)?);
    if a.len() != b.len() {
        let message = format!("expected {} values, got {}", a.len(), b.len());
        return Err(Fault::new(Kind::Shape, message).at(Spot::Argument(argument + 1)));
    }
    Ok(a.into_iter().zip(b).map(|(a, b)| [a, b]).collect())
}

fn quiver(at: Pairs, v: Pairs, map: &Map) -> Outcome<Figure> {
    let chosen: QuiverOptions = options::read_besides(map, &[INTERACTIVE])?;
    shown(map, Figure::quiver(at?, v?, chosen))
}
