//! `plot::bar`, `plot::errorbar` and `plot::fill_between`: values with names, and values with their uncertainty.

use rhai::{Array, Dynamic, Map};
use rhapsode_plot::{
    Figure,
    figure::{BarOptions, Bars, ErrorbarOptions, Measured},
};
use rhapsode_tensor::Tensor;

use super::figure::{INTERACTIVE, INTERACTIVE_TEXT, shown};
use super::numbers::{columns, list, of_option};
use crate::{
    Kind,
    bind::{Outcome, number},
    fault::{Fault, Spot},
    library::Library,
    options,
};

pub(super) fn bind(library: &mut Library) {
    bars(library);
    errors(library);
}

fn bars(library: &mut Library) {
    library
        .function(
            "plot::bar",
            "(values: array | Tensor | map, options?: map) | (names: array, values, options?: map) -> Figure",
            r#"
            Values with names as bars. `values` is a number a name, or several series: an array of lists, or the columns of a
            Tensor `[names, series]`; or a map from names to numbers.

            ```rhai
            plot::bar(["adam", "sgd"], [[0.31, 0.42], [0.21, 0.35]], #{ labels: ["train", "test"] });
            ```
            "#,
        )
        .options::<BarOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .besides("errors", "array | Tensor", None, "As many numbers as `values`, for bars of uncertainty (default: none).")
        .call(|values: Dynamic| bar(None, &values, Map::new()))
        .call(|values: Dynamic, map: Map| bar(None, &values, map))
        .call(|names: Array, y: Array| bar(Some(&names), &Dynamic::from_array(y), Map::new()))
        .call(|names: Array, y: Tensor| bar(Some(&names), &Dynamic::from(y), Map::new()))
        .call(|names: Array, y: Dynamic, map: Map| bar(Some(&names), &y, map));
}

fn errors(library: &mut Library) {
    library
        .function(
            "plot::errorbar",
            "(y, errors, options?: map) | (x, y, errors, options?: map) -> Figure",
            r#"
            Values with their uncertainty: a bar from `y - errors` to `y + errors` through each point, or with `band: true` a
            band around the line. `y` and `errors` are lists of numbers, or several series: arrays of those, or the columns of
            Tensors `[n, k]`; `errors` may be one number for all.

            ```rhai
            let runs = randn([5, 100]) + linspace(0, 5, 100);
            plot::errorbar(runs.mean(0), runs.std(0), #{ band: true, labels: ["mean ± std"] });
            ```
            "#,
        )
        .options::<ErrorbarOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .besides("above", "array | Tensor", None, "Like `errors`, where bars reach differently far upwards (default: as far as down).")
        .call(|y: Dynamic, e: Dynamic| errorbar(None, &y, &e, Map::new()))
        .call(|y: Dynamic, e: Dynamic, map: Map| errorbar(None, &y, &e, map))
        .call(|x: Dynamic, y: Dynamic, e: Array| {
            errorbar(Some(&x), &y, &Dynamic::from_array(e), Map::new())
        })
        .call(|x: Dynamic, y: Dynamic, e: Tensor| {
            errorbar(Some(&x), &y, &Dynamic::from(e), Map::new())
        })
        .call(|x: Dynamic, y: Dynamic, e: f64| errorbar(Some(&x), &y, &e.into(), Map::new()))
        .call(|x: Dynamic, y: Dynamic, e: i64| errorbar(Some(&x), &y, &e.into(), Map::new()))
        .call(|x: Dynamic, y: Dynamic, e: Dynamic, map: Map| errorbar(Some(&x), &y, &e, map));
    library
        .function(
            "plot::fill_between",
            "(x, low, high, options?: map) -> Figure",
            r#"
            The area between `low` and `high` over `x`, lists of numbers of one length; put a line over it with
            `plot::overlay` or `.add`.

            ```rhai
            let x = linspace(0, 1, 20);
            plot::fill_between(x, x ** 2, x).add(plot::line(x, x ** 1.5));
            ```
            "#,
        )
        .options::<ErrorbarOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .call(|x: Dynamic, low: Dynamic, high: Dynamic| fill(&x, &low, &high, &Map::new()))
        .call(|x: Dynamic, low: Dynamic, high: Dynamic, map: Map| fill(&x, &low, &high, &map));
}

fn bar(names: Option<&Array>, values: &Dynamic, mut map: Map) -> Outcome<Figure> {
    let errors = of_option(&mut map, "errors", |value| columns(value, 0))?;
    let chosen: BarOptions = options::read_besides(&map, &["errors", INTERACTIVE])?;
    let argument = usize::from(names.is_some());
    let (own, series) = match values.read_lock::<Map>() {
        Some(map) => {
            let of = |value: &Dynamic| {
                number(value).ok_or_else(|| {
                    Fault::expected("numbers in the map", value.type_name())
                        .at(Spot::Argument(argument))
                })
            };
            let values = map.values().map(of).collect::<Result<Vec<f64>, _>>()?;
            let names: Vec<String> = map.keys().map(|key| key.to_string()).collect();
            (Some(names), vec![values])
        }
        None => (None, columns(values, argument)?),
    };
    let count = series.first().map_or(0, Vec::len);
    let names = match (names, own) {
        (Some(names), _) => names.iter().map(Dynamic::to_string).collect(),
        (None, Some(names)) => names,
        (None, None) => (0..count).map(|i| i.to_string()).collect(),
    };
    if let Some(errors) = &errors
        && errors.len() != series.len()
    {
        let (expected, got) = (series.len(), errors.len());
        let message = format!("option `errors`: expected {expected} series, got {got}");
        let spot = Spot::Value(vec!["errors".into()]);
        return Err(Fault::new(Kind::Option, message).at(spot).into());
    }
    let errors = errors.into_iter().flatten().map(Some);
    let errors = errors.chain(std::iter::repeat(None));
    let series = series.into_iter().zip(errors);
    let series = series.map(|(values, errors)| Bars { values, errors });
    shown(&map, Figure::bar(names, series.collect(), chosen))
}

/// Errors as lists for series of these lengths; one number stands for all.
fn reaches(errors: &Dynamic, series: &[Vec<f64>], argument: usize) -> Result<Vec<Vec<f64>>, Fault> {
    if let Some(one) = number(errors) {
        return Ok(series.iter().map(|y| vec![one; y.len()]).collect());
    }
    let lists = columns(errors, argument)?;
    if lists.len() != series.len() {
        let (expected, got) = (series.len(), lists.len());
        let message = format!("errors: expected {expected} series, got {got}");
        return Err(Fault::new(Kind::Shape, message).at(Spot::Argument(argument)));
    }
    Ok(lists)
}

fn errorbar(x: Option<&Dynamic>, y: &Dynamic, errors: &Dynamic, mut map: Map) -> Outcome<Figure> {
    let first = usize::from(x.is_some());
    let series = columns(y, first)?;
    let above = of_option(&mut map, "above", |value| reaches(value, &series, 0))?;
    let chosen: ErrorbarOptions = options::read_besides(&map, &["above", INTERACTIVE])?;
    let x = x.map(|x| list(x, 0)).transpose()?;
    let below = reaches(errors, &series, first + 1)?;
    let above = above.unwrap_or_else(|| below.clone());
    let reach = |y: &[f64], by: Vec<f64>, sign: f64| -> Vec<f64> {
        let shift = |(i, by): (usize, f64)| y.get(i).map_or(by, |y| y + sign * by.abs());
        by.into_iter().enumerate().map(shift).collect()
    };
    let both = below.into_iter().zip(above);
    let measured = series
        .into_iter()
        .zip(both)
        .map(|(y, (below, above))| Measured {
            x: x.clone(),
            low: reach(&y, below, -1.0),
            high: reach(&y, above, 1.0),
            y,
        });
    shown(&map, Figure::errorbar(measured.collect(), chosen))
}

fn fill(x: &Dynamic, low: &Dynamic, high: &Dynamic, map: &Map) -> Outcome<Figure> {
    let mut chosen: ErrorbarOptions = options::read_besides(map, &[INTERACTIVE])?;
    chosen.band = Some(chosen.band.unwrap_or(true));
    // There is no value between the two that a line could show, unless the user wants their middle.
    chosen.line = chosen.line && map.contains_key("line");
    let (x, low, high) = (list(x, 0)?, list(low, 1)?, list(high, 2)?);
    let middle = low.iter().zip(&high).map(|(a, b)| a / 2.0 + b / 2.0);
    let measured = Measured {
        x: Some(x),
        y: middle.collect(),
        low,
        high,
    };
    shown(map, Figure::errorbar(vec![measured], chosen))
}
