//! Measured numbers in scripts: they print with how they were measured, and are numbers everywhere else.

use rhai::{Dynamic, Map};
use rhapsode_models::metric::Measure;

use crate::{Display, library::Library, value::Object};

impl Object for Measure {
    const NAME: &'static str = "Measure";

    fn text(&self) -> String {
        self.to_string()
    }

    fn summary(&self) -> String {
        self.to_string()
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.to_string())
    }
}

/// An operator of two numbers.
type Binary = fn(f64, f64) -> f64;
/// A comparison of two numbers.
type Comparison = fn(&f64, &f64) -> bool;
/// A function of a number.
type Unary = fn(f64) -> f64;

/// Arithmetic, whose result is a plain float.
const ARITHMETIC: [(&str, Binary); 6] = [
    ("+", |a, b| a + b),
    ("-", |a, b| a - b),
    ("*", |a, b| a * b),
    ("/", |a, b| a / b),
    ("%", |a, b| a % b),
    ("**", f64::powf),
];

/// Comparisons of the values.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", f64::eq),
    ("!=", f64::ne),
    ("<", f64::lt),
    ("<=", f64::le),
    (">", f64::gt),
    (">=", f64::ge),
];

/// Functions that floats have as well.
const FUNCTIONS: [(&str, Unary, &str); 8] = [
    (
        "abs",
        f64::abs,
        "The absolute value.\n\n```rhai\nlet d = metric::energy_distance(zeros([3, 1]), ones([3, 1]));\nd.abs() == d.value // => true\n```",
    ),
    (
        "sqrt",
        f64::sqrt,
        "The square root.\n\n```rhai\nmetric::energy_distance(zeros([3, 1]), ones([3, 1])).sqrt() > 1.4 // => true\n```",
    ),
    (
        "exp",
        f64::exp,
        "e to its power.\n\n```rhai\nmetric::energy_distance(zeros([3, 1]), ones([3, 1])).exp() > 7.3 // => true\n```",
    ),
    (
        "ln",
        f64::ln,
        "The natural logarithm.\n\n```rhai\nmetric::energy_distance(zeros([3, 1]), ones([3, 1])).ln() > 0.6 // => true\n```",
    ),
    (
        "round",
        f64::round,
        "The nearest whole number.\n\n```rhai\nmetric::energy_distance(zeros([3, 1]), ones([3, 1])).round() // => 2.0\n```",
    ),
    (
        "floor",
        f64::floor,
        "The next whole number below.\n\n```rhai\nmetric::energy_distance(zeros([3, 1]), ones([3, 1])).floor() // => 2.0\n```",
    ),
    (
        "ceiling",
        f64::ceil,
        "The next whole number above.\n\n```rhai\nmetric::energy_distance(zeros([3, 1]), ones([3, 1])).ceiling() // => 2.0\n```",
    ),
    (
        "to_float",
        |v| v,
        "The value as a plain float.\n\n```rhai\nmetric::energy_distance(zeros([3, 1]), ones([3, 1])).to_float() // => 2.0\n```",
    ),
];

/// Binds the type.
pub(crate) fn bind(library: &mut Library) {
    library.object::<Measure>(
        r#"
        A measured number: it prints as `0.012 ± 0.001 (n = 500, m = 500; 256 directions)` and counts as a float in arithmetic,
        comparisons, options and logs. `.value .std_error .n .m .how`.
        "#,
    );
    for (name, f) in ARITHMETIC {
        library
            .operator(
                name,
                "(left: Measure | number, right: Measure | number) -> float",
                "Of the values.",
            )
            .call(move |a: Measure, b: Measure| f(a.value, b.value))
            .call(move |a: Measure, b: f64| f(a.value, b))
            .call(move |a: f64, b: Measure| f(a, b.value))
            .call(move |a: Measure, b: i64| f(a.value, b as f64))
            .call(move |a: i64, b: Measure| f(a as f64, b.value));
    }
    for (name, f) in COMPARISONS {
        library
            .operator(
                name,
                "(left: Measure | number, right: Measure | number) -> bool",
                "Of the values.",
            )
            .call(move |a: Measure, b: Measure| f(&a.value, &b.value))
            .call(move |a: Measure, b: f64| f(&a.value, &b))
            .call(move |a: f64, b: Measure| f(&a, &b.value))
            .call(move |a: Measure, b: i64| f(&a.value, &(b as f64)))
            .call(move |a: i64, b: Measure| f(&(a as f64), &b.value));
    }
    library
        .operator("-", "(x: Measure) -> float", "The negative.")
        .call(|a: Measure| -a.value);
    for (name, f, text) in FUNCTIONS {
        library
            .method::<Measure>(name, "() -> float", text)
            .call(move |a: &mut Measure| f(a.value));
    }
    for (name, f) in [("min", f64::min as Binary), ("max", f64::max)] {
        library
            .method::<Measure>(
                name,
                "(other: Measure | number) -> float",
                "The smaller (`min`) or larger (`max`) of two.\n\n```rhai\nlet d = metric::energy_distance(zeros([3, 1]), ones([3, 1]));\n[d.min(0.5), d.max(9.0)] // => [0.5, 9.0]\n```",
            )
            .call(move |a: &mut Measure, b: Measure| f(a.value, b.value))
            .call(move |a: &mut Measure, b: f64| f(a.value, b))
            .call(move |a: &mut Measure, b: i64| f(a.value, b as f64));
    }
    properties(library);
}

fn properties(library: &mut Library) {
    library
        .property::<Measure>("value", "float", "The number.")
        .call(|a: &mut Measure| a.value);
    library
        .property::<Measure>(
            "std_error",
            "float | ()",
            "Its standard error; nothing where it is exact or no error can be told.",
        )
        .call(|a: &mut Measure| a.std_error.map_or(Dynamic::UNIT, Dynamic::from));
    library
        .property::<Measure>("n", "int", "Points of the first sample, or items scored.")
        .call(|a: &mut Measure| a.n as i64);
    library
        .property::<Measure>(
            "m",
            "int | ()",
            "Points of the second sample, where there are two.",
        )
        .call(|a: &mut Measure| a.m.map_or(Dynamic::UNIT, |m| Dynamic::from(m as i64)));
    library
        .property::<Measure>(
            "how",
            "string",
            "What else one must know to measure it again.",
        )
        .call(|a: &mut Measure| a.how.join(", "));
    library
        .method::<Measure>(
            "to_map",
            "() -> map",
            "All of it as a map: `value std_error n m how`.\n\n```rhai\nmetric::energy_distance(zeros([3, 1]), ones([3, 1])).to_map().n // => 3\n```",
        )
        .call(|a: &mut Measure| -> Map {
            let entries = [
                ("value", a.value.into()),
                (
                    "std_error",
                    a.std_error.map_or(Dynamic::UNIT, Dynamic::from),
                ),
                ("n", (a.n as i64).into()),
                ("m", a.m.map_or(Dynamic::UNIT, |m| Dynamic::from(m as i64))),
                ("how", a.how.join(", ").into()),
            ];
            entries
                .into_iter()
                .map(|(k, v): (&str, Dynamic)| (k.into(), v))
                .collect()
        });
}
