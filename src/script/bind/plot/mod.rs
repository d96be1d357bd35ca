//! `plot`: figures. A binding reads numbers out of arrays and tensors and hands them on; what a
//! figure looks like is decided in `rhapsode-plot`.

mod animation;
mod charts;
mod fields;
mod figure;
mod graph;
mod notes;
mod numbers;

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_plot::{
    Figure, Points, Series,
    figure::{
        GridOptions, HeatmapOptions, HistOptions, ImageOptions, ImagesOptions, LineOptions,
        ScatterOptions,
    },
};

use super::Outcome;
use crate::{
    Kind, context,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::type_word,
};
use figure::{INTERACTIVE, INTERACTIVE_TEXT, shown};
use numbers::{columns, groups, list, picture};

impl From<rhapsode_plot::Error> for Fault {
    fn from(error: rhapsode_plot::Error) -> Self {
        use rhapsode_plot::Error::*;
        let kind = match &error {
            Length { .. } | Shape { .. } => Kind::Shape,
            Option { .. } | Color { .. } => Kind::Option,
            Order { .. } | Axes { .. } | Place { .. } | Encode { .. } | Interactive { .. } => {
                Kind::Value
            }
            Many { .. } => Kind::Limit,
            Interrupted => Kind::Interrupted,
        };
        let spot = error
            .option()
            .map_or(Spot::Call, |key| Spot::Value(vec![key.into()]));
        let fault = Fault::new(kind, error.to_string()).at(spot);
        match error.hint() {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.module(
        "plot",
        "Figures: `plot::line(run.loss)`, `fig.save(\"loss.svg\")`.",
    );
    figure::bind(library);
    lines(library);
    distributions(library);
    fields::bind(library);
    charts::bind(library);
    graph::bind(library);
    pictures(library);
    several(library);
    notes::bind(library);
    animation::bind(library);
}

fn lines(library: &mut Library) {
    library
        .function(
            "plot::line",
            "(y: array | Tensor, options?: map) | (x, y, options?: map) -> Figure",
            r#"
            One or several series as lines. `y` is an array of numbers, a Tensor `[n]`, or several series: an array of those, or
            the columns of a Tensor `[n, k]`. With `x`, values stand there instead of at 0, 1, 2, ...

            ```rhai
            plot::line([3.0, 2.0, 1.5], #{ title: "training loss", log_y: true });
            ```
            "#,
        )
        .options::<LineOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .call(|y: Dynamic| line(None, &y, &Map::new()))
        .call(|y: Dynamic, map: Map| line(None, &y, &map))
        .call(|x: Dynamic, y: Array| line(Some(&x), &Dynamic::from_array(y), &Map::new()))
        .call(|x: Dynamic, y: rhapsode_tensor::Tensor| line(Some(&x), &Dynamic::from(y), &Map::new()))
        .call(|x: Dynamic, y: Dynamic, map: Map| line(Some(&x), &y, &map));
    library
        .function(
            "plot::scatter",
            "(points: Tensor | array of Tensor, options?: map) | (x, y, options?: map) -> Figure",
            r#"
            Points in the plane: a Tensor `[n, 2]`, an array of those for several groups, or `x` and `y`.

            ```rhai
            plot::scatter(data::moons(200), #{ title: "two moons" });
            ```
            "#,
        )
        .options::<ScatterOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .besides("values", "array | Tensor", None, "n numbers that colour the points (default: none).")
        .call(|points: Dynamic| scatter(&points, None, Map::new()))
        .call(|points: Dynamic, map: Map| scatter(&points, None, map))
        .call(|x: Dynamic, y: Array| scatter(&x, Some(&Dynamic::from_array(y)), Map::new()))
        .call(|x: Dynamic, y: rhapsode_tensor::Tensor| scatter(&x, Some(&Dynamic::from(y)), Map::new()))
        .call(|x: Dynamic, y: Dynamic, map: Map| scatter(&x, Some(&y), map));
}

fn distributions(library: &mut Library) {
    library
        .function(
            "plot::hist",
            "(values: array | Tensor, options?: map) -> Figure",
            r#"
            How often values occur. An array of arrays or Tensors is several groups.

            ```rhai
            plot::hist(randn([1000]), #{ title: "noise", density: true });
            ```
            "#,
        )
        .options::<HistOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .call(|values: Dynamic| hist(&values, &Map::new()))
        .call(|values: Dynamic, map: Map| hist(&values, &map));
    library
        .function(
            "plot::heatmap",
            "(matrix: Tensor | array, options?: map) -> Figure",
            r#"
            A matrix `[rows, columns]` as coloured cells.

            ```rhai
            plot::heatmap(randn([8, 8]), #{ title: "weights" });
            ```
            "#,
        )
        .options::<HeatmapOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .call(|matrix: Dynamic| heatmap(&matrix, &Map::new()))
        .call(|matrix: Dynamic, map: Map| heatmap(&matrix, &map));
}

fn pictures(library: &mut Library) {
    library
        .function(
            "plot::image",
            "(picture: Tensor | array, options?: map) -> Figure",
            r#"
            One picture `[height, width]` or `[height, width, 3]`.

            ```rhai
            plot::image(data::digits().images[0].reshape([8, 8]));
            ```
            "#,
        )
        .options::<ImageOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .call(|data: Dynamic| image(&data, &Map::new()))
        .call(|data: Dynamic, map: Map| image(&data, &map));
    library
        .function(
            "plot::images",
            "(pictures: Tensor | array, options?: map) -> Figure",
            r#"
            Many pictures `[n, height, width]` or `[n, height, width, 3]` side by side.

            ```rhai
            plot::images(data::digits().images[0..10].reshape([10, 8, 8]), #{ columns: 5 });
            ```
            "#,
        )
        .options::<ImagesOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .call(|data: Dynamic| images(&data, &Map::new()))
        .call(|data: Dynamic, map: Map| images(&data, &map));
}

fn several(library: &mut Library) {
    library
        .function(
            "plot::grid",
            "(figures: array of Figure, options?: map) -> Figure",
            r#"
            Several figures side by side.

            ```rhai
            plot::grid([plot::line([1, 2]), plot::line([2, 1])], #{ columns: 2 });
            ```
            "#,
        )
        .options::<GridOptions>()
        .besides(INTERACTIVE, "bool", Some("false"), INTERACTIVE_TEXT)
        .call(|figures: Array| grid(figures, &Map::new()))
        .call(|figures: Array, map: Map| grid(figures, &map));
}

fn line(x: Option<&Dynamic>, y: &Dynamic, map: &Map) -> Outcome<Figure> {
    let chosen: LineOptions = options::read_besides(map, &[INTERACTIVE])?;
    let x = x.map(|x| list(x, 0)).transpose()?;
    let series = columns(y, if x.is_some() { 1 } else { 0 })?;
    let series = series
        .into_iter()
        .map(|y| Series { x: x.clone(), y })
        .collect();
    shown(map, Figure::line(series, chosen))
}

fn scatter(points: &Dynamic, y: Option<&Dynamic>, mut map: Map) -> Outcome<Figure> {
    let values = numbers::of_option(&mut map, "values", |value| list(value, 0))?;
    let chosen: ScatterOptions = options::read_besides(&map, &["values", INTERACTIVE])?;
    let mut points = match y {
        Some(y) => vec![Points {
            x: list(points, 0)?,
            y: list(y, 1)?,
            values: None,
        }],
        None => groups(points)?,
    };
    if let Some(values) = values {
        match points.as_mut_slice() {
            [one] => one.values = Some(values),
            _ => {
                return Err(Fault::new(
                    Kind::Option,
                    "option `values`: colours one group of points, not several",
                )
                .into());
            }
        }
    }
    shown(&map, Figure::scatter(points, chosen))
}

fn hist(values: &Dynamic, map: &Map) -> Outcome<Figure> {
    let chosen: HistOptions = options::read_besides(map, &[INTERACTIVE])?;
    shown(map, Figure::hist(numbers::samples(values)?, chosen))
}

fn heatmap(matrix: &Dynamic, map: &Map) -> Outcome<Figure> {
    let chosen: HeatmapOptions = options::read_besides(map, &[INTERACTIVE])?;
    let (values, shape) = picture(matrix)?;
    let &[rows, columns] = shape.as_slice() else {
        let message = format!("expected a matrix [rows, columns], got shape {shape:?}");
        return Err(Fault::new(Kind::Shape, message)
            .at(Spot::Argument(0))
            .into());
    };
    shown(map, Figure::heatmap(values, [rows, columns], chosen))
}

fn image(data: &Dynamic, map: &Map) -> Outcome<Figure> {
    let chosen: ImageOptions = options::read_besides(map, &[INTERACTIVE])?;
    let (values, shape) = picture(data)?;
    shown(map, Figure::image(values, &shape, chosen))
}

fn images(data: &Dynamic, map: &Map) -> Outcome<Figure> {
    let chosen: ImagesOptions = options::read_besides(map, &[INTERACTIVE])?;
    let (values, shape) = picture(data)?;
    shown(map, Figure::images(values, &shape, chosen))
}

fn grid(list: Array, map: &Map) -> Outcome<Figure> {
    let chosen: GridOptions = options::read_besides(map, &[INTERACTIVE])?;
    shown(map, Figure::grid(figures(list)?, chosen))
}

/// The figures in an array.
fn figures(list: Array) -> Result<Vec<Figure>, Fault> {
    let one = |item: Dynamic| {
        let got = type_word(item.type_name()).to_string();
        item.flatten()
            .try_cast::<Figure>()
            .ok_or_else(|| Fault::expected("an array of figures", &got).at(Spot::Argument(0)))
    };
    list.into_iter().map(one).collect()
}

/// The folder of the script, for files named in it.
fn path_of(call: &NativeCallContext, path: &str) -> Outcome<std::path::PathBuf> {
    Ok(context::of_call(call)?.path(path))
}
