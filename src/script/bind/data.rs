//! `data`: the 2-D sets, the digits, and how data are split, scaled and dealt out.

use std::sync::{Arc, Mutex, OnceLock};

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_models::data::{self, Batches, Parts, Standardized, TOY, Toy, ToyOptions};
use rhapsode_tensor::Tensor;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Outcome, draw::next_stream, number, raise};
use crate::{
    Display, Kind,
    context::lock,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::{Object, type_word},
};

/// Options of a 2-D set.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct SetOptions {
    /// Standard deviation of the noise, in the units of the coordinates (>= 0; default: the set's own).
    noise: Option<f64>,
    /// Give `#{ x, labels }` with the part that each point belongs to (default false).
    labels: bool,
}

/// Options of a split: `stratify`, a tensor, is taken out before.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct SplitOptions {}

/// Options of minibatches.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct BatchOptions {
    /// Rows a batch (at least 1; default 256).
    batch: usize,
    /// Leave out, in every epoch, the rows that do not fill its last batch (default false: that batch goes on with
    /// rows of the next epoch).
    drop_last: bool,
    /// Another random order in every epoch (default true); otherwise the rows as they come,
    /// and the last batch of an epoch is short.
    shuffle: bool,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            batch: 256,
            drop_last: false,
            shuffle: true,
        }
    }
}

/// Data dealt out in minibatches; clones are the same.
#[derive(Clone)]
pub(crate) struct Dealer {
    tensors: Vec<Tensor>,
    single: bool,
    batches: Arc<Mutex<Batches>>,
    /// The next step of a loop over one epoch, and its end.
    next: u64,
    end: u64,
}

impl Dealer {
    fn at(&self, step: u64) -> Outcome<Dynamic> {
        let rows = raise(lock(&self.batches).indices(step))?;
        let count = rows.len();
        let index = raise(Tensor::from_vec(rows, &[count]))?;
        let mut parts = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            parts.push(Dynamic::from(raise(tensor.index_select(0, &index))?));
        }
        match (self.single, parts.pop()) {
            (true, Some(only)) => Ok(only),
            (_, last) => {
                parts.extend(last);
                Ok(Dynamic::from_array(parts))
            }
        }
    }
}

impl Iterator for Dealer {
    type Item = Outcome<Dynamic>;

    fn next(&mut self) -> Option<Outcome<Dynamic>> {
        if self.next >= self.end {
            return None;
        }
        self.next += 1;
        Some(self.at(self.next - 1))
    }
}

impl Object for Dealer {
    const NAME: &'static str = "Batches";

    fn text(&self) -> String {
        format!("Batches of {} rows, {} an epoch", self.rows(), self.end)
    }

    fn summary(&self) -> String {
        format!("{} rows, {} an epoch", self.rows(), self.end)
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

impl Dealer {
    fn rows(&self) -> usize {
        self.tensors
            .first()
            .and_then(|t| t.dims().first().copied())
            .unwrap_or(0)
    }
}

impl Object for Standardized {
    const NAME: &'static str = "Standardized";

    fn text(&self) -> String {
        format!("Standardized data of shape {:?}", self.x.dims())
    }

    fn summary(&self) -> String {
        format!("{:?}", self.x.dims())
    }

    fn bytes(&self) -> Option<u64> {
        Some((self.x.len() * self.x.dtype().size_in_bytes()) as u64)
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Paths and texts of the 2-D sets, made once from their list.
fn toy_names() -> &'static [(String, String)] {
    static NAMES: OnceLock<Vec<(String, String)>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let text = |toy: &Toy| {
            let Toy { name, summary, noise, classes, .. } = toy;
            let labels = if *classes > 0 { format!(" It has {classes} parts.") } else { String::new() };
            format!("A 2-D set, Tensor `[n, 2]`: {summary}. Noise {noise} by default.{labels}\n\n```rhai\ndata::{name}(100).shape // => [100, 2]\n```")
        };
        TOY.iter().map(|toy| (format!("data::{}", toy.name), text(toy))).collect()
    })
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.module(
        "data",
        "Data sets, and how they are split, scaled and dealt out.",
    );
    for (toy, (path, text)) in TOY.iter().zip(toy_names()) {
        library
            .function(path, "(n: int, options?: map) -> Tensor", text)
            .options::<SetOptions>()
            .call(move |call: NativeCallContext, n: i64| sample(&call, toy, n, &Map::new()))
            .call(move |call: NativeCallContext, n: i64, map: Map| sample(&call, toy, n, &map));
    }
    library
        .function(
            "data::digits",
            "() -> map",
            r#"
            Real handwritten digits, 8x8: `#{ images: Tensor [1797, 64] in [-1, 1], labels: Tensor [1797] }`. (Alpaydin, Kaynak
            1998, UCI Machine Learning Repository, CC BY 4.0.)

            ```rhai
            data::digits().images.shape // => [1797, 64]
            ```
            "#,
        )
        .call(|| -> Outcome<Map> {
            let digits = raise(data::digits())?;
            Ok([("images", digits.images), ("labels", digits.labels)].map(|(k, t)| (k.into(), Dynamic::from(t))).into())
        });
    library
        .function(
            "data::split",
            "(data: Tensor | array of Tensor, parts: float | array of int, options?: map) -> array",
            r#"
            Shuffles rows and deals them out: a share for the first part and the rest for the second, or
            parts of so many rows. Tensors in an array stay together: each part is then an array as well.

            ```rhai
            let parts = data::split(data::moons(100), 0.8);
            parts[1].shape // => [20, 2]
            ```
            "#,
        )
        .options::<SplitOptions>()
        .besides("stratify", "Tensor", None, "Labels `[n]`, of each of which every part gets its share (default: none).")
        .call(|call: NativeCallContext, data: Dynamic, parts: Dynamic| split(&call, data, &parts, Map::new()))
        .call(|call: NativeCallContext, data: Dynamic, parts: Dynamic, map: Map| split(&call, data, &parts, map));
    library.object::<Standardized>(
        "Standardized data: `.x`, `.mean`, `.std`, `.apply(y)`, `.invert(y)`.",
    );
    library
        .function(
            "data::standardize",
            "(x: Tensor) -> Standardized",
            r#"
            Every column of x `[n, ..]` to mean 0 and standard deviation 1; `.x` are the data, `.invert(y)` goes back.

            ```rhai
            let s = data::standardize(data::moons(100));
            s.invert(s.x).shape // => [100, 2]
            ```
            "#,
        )
        .call(|x: Tensor| -> Outcome<Standardized> { raise(data::standardize(&x)) });
    library
        .property::<Standardized>("x", "Tensor", "The data, standardized.")
        .call(|s: &mut Standardized| s.x.clone());
    library
        .property::<Standardized>("mean", "Tensor", "The mean of every column.")
        .call(|s: &mut Standardized| s.mean.clone());
    library
        .property::<Standardized>("std", "Tensor", "The standard deviation of every column.")
        .call(|s: &mut Standardized| s.std.clone());
    library
        .method::<Standardized>("apply", "(y: Tensor) -> Tensor", "Treats other data alike.\n\n```rhai\nlet s = data::standardize(tensor([[1.0], [3.0]]));\ns.apply(tensor([[2.0]])).to_array() // => [[0.0]]\n```")
        .call(|s: &mut Standardized, y: Tensor| -> Outcome<Tensor> { raise(s.apply(&y)) });
    library
        .method::<Standardized>(
            "invert",
            "(y: Tensor) -> Tensor",
            "Back to the units of the data.\n\n```rhai\nlet s = data::standardize(tensor([[1.0], [3.0]]));\ns.invert(tensor([[0.0]])).to_array() // => [[2.0]]\n```",
        )
        .call(|s: &mut Standardized, y: Tensor| -> Outcome<Tensor> { raise(s.invert(&y)) });
    batches(library);
}

fn batches(library: &mut Library) {
    library
        .object::<Dealer>("Data dealt out in minibatches: `.at(step)`, or a loop over one epoch.");
    library.fallible_iterator::<Dealer>();
    library
        .function(
            "data::batches",
            "(data: Tensor | array of Tensor, options?: map) -> Batches",
            r#"
            Minibatches in a random order, epoch after epoch: `.at(step)` is a function of the step alone, and
            `for b in batches` goes through one epoch. Tensors in an array stay together: each batch is then an array too.

            ```rhai
            let batches = data::batches(data::moons(100), #{ batch: 32 });
            batches.at(0).shape // => [32, 2]
            ```
            "#,
        )
        .options::<BatchOptions>()
        .call(|call: NativeCallContext, data: Dynamic| dealer(&call, data, &Map::new()))
        .call(|call: NativeCallContext, data: Dynamic, map: Map| dealer(&call, data, &map));
    library
        .method::<Dealer>(
            "at",
            "(step: int) -> Tensor | array of Tensor",
            "The batch of a step, counted from 0.\n\n```rhai\ndata::batches(randn([20, 3]), #{ batch: 4 }).at(7).shape // => [4, 3]\n```",
        )
        .call(|dealer: &mut Dealer, step: i64| -> Outcome<Dynamic> {
            dealer.at(self::step(step)?)
        });
}

/// A step, counted from 0.
pub(super) fn step(step: i64) -> Result<u64, Fault> {
    u64::try_from(step).map_err(|_| {
        Fault::value(format!("the step must be >= 0, got {step}")).at(Spot::Argument(0))
    })
}

/// A number of things that must not be negative.
fn count(n: i64) -> Result<usize, Fault> {
    usize::try_from(n).map_err(|_| {
        Fault::value(format!("the number of points must be >= 0, got {n}")).at(Spot::Argument(0))
    })
}

fn sample(call: &NativeCallContext, toy: &Toy, n: i64, map: &Map) -> Outcome<Dynamic> {
    let SetOptions { noise, labels } = options::read(map)?;
    let (n, stream) = (count(n)?, next_stream(call, toy.name)?);
    let chosen = ToyOptions { noise };
    if !labels {
        return Ok(Dynamic::from(raise(toy.sample(n, stream, &chosen))?));
    }
    let (x, labels) = raise(toy.labelled(n, stream, &chosen))?;
    Ok(Dynamic::from_map(
        [("x", x), ("labels", labels)]
            .map(|(k, t)| (k.into(), Dynamic::from(t)))
            .into(),
    ))
}

/// One tensor, or an array of them; and whether it was one.
fn tensors(data: Dynamic) -> Result<(Vec<Tensor>, bool), Fault> {
    let wrong = |got: &str| {
        Fault::expected("a Tensor or an array of Tensors", type_word(got)).at(Spot::Argument(0))
    };
    let data = data.flatten();
    if let Some(tensor) = data.clone().try_cast::<Tensor>() {
        return Ok((vec![tensor], true));
    }
    let list = data
        .try_cast_result::<Array>()
        .map_err(|data| wrong(data.type_name()))?;
    let one = |item: Dynamic| {
        item.flatten()
            .try_cast_result::<Tensor>()
            .map_err(|item| wrong(item.type_name()))
    };
    Ok((list.into_iter().map(one).collect::<Result<_, _>>()?, false))
}

fn split(call: &NativeCallContext, data: Dynamic, parts: &Dynamic, mut map: Map) -> Outcome<Array> {
    let stratify =
        super::tensor::create::take_tensor(call, &mut map, "stratify", "a Tensor of labels")?;
    let SplitOptions {} = options::read_besides(&map, &["stratify"])?;
    let (tensors, single) = tensors(data)?;
    let parts = match (number(parts), parts.read_lock::<Array>()) {
        (Some(share), _) => Parts::Fraction(share),
        (None, Some(counts)) => {
            let size = |c: &Dynamic| c.as_int().ok().and_then(|c| usize::try_from(c).ok());
            let sizes = counts.iter().map(size).collect::<Option<Vec<_>>>();
            Parts::Counts(sizes.ok_or_else(|| {
                Fault::new(Kind::Type, "the sizes of the parts must be ints >= 0")
                    .at(Spot::Argument(1))
            })?)
        }
        (None, None) => {
            let got = type_word(parts.type_name());
            return Err(
                Fault::expected("a share such as 0.8 or an array of sizes", got)
                    .at(Spot::Argument(1))
                    .into(),
            );
        }
    };
    let list = tensors.iter().collect::<Vec<_>>();
    let stream = next_stream(call, "split")?;
    let dealt = raise(match &stratify {
        Some(labels) => data::stratified(&list, &parts, labels, stream),
        None => data::split(&list, &parts, stream),
    })?;
    let part = |mut part: Vec<Tensor>| match (single, part.pop()) {
        (true, Some(only)) => Dynamic::from(only),
        (_, last) => Dynamic::from_array(part.into_iter().chain(last).map(Dynamic::from).collect()),
    };
    Ok(dealt.into_iter().map(part).collect())
}

fn dealer(call: &NativeCallContext, data: Dynamic, map: &Map) -> Outcome<Dealer> {
    let BatchOptions {
        batch,
        drop_last,
        shuffle,
    } = options::read(map)?;
    let (tensors, single) = tensors(data)?;
    let rows = |t: &Tensor| t.dims().first().copied().unwrap_or(0);
    let first = tensors.first().map_or(0, rows);
    if let Some(other) = tensors.iter().find(|t| rows(t) != first) {
        let message = format!(
            "tensors of {first} and {} rows do not belong together",
            rows(other)
        );
        return Err(Fault::new(Kind::Shape, message)
            .at(Spot::Argument(0))
            .into());
    }
    let mut batches = raise(Batches::new(first, batch, next_stream(call, "batches")?))?;
    if !shuffle {
        batches = batches.in_order();
    }
    if drop_last {
        batches = raise(batches.drop_last())?;
    }
    let end = batches.per_epoch();
    Ok(Dealer {
        tensors,
        single,
        batches: Arc::new(Mutex::new(batches)),
        next: 0,
        end,
    })
}
