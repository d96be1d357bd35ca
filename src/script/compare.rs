//! Comparisons of numbers as IEEE 754 has them.
//!
//! Rhai compares floats up to a relative difference of 2e-16, and with zero up to an absolute one:
//! there `1e-17 > 0.0`, `inf > 1e308` and `nan != nan` are false, which no researcher expects.
//! Its built-in operators cannot be replaced while the fast path of arithmetic is on, and without that path
//! every `+` is looked up. So the six comparisons are disabled as built-in and registered as
//! operators of the same names and precedences: a loop's arithmetic keeps its speed.

use std::cmp::Ordering;
use std::ops::{Range, RangeInclusive};

use rhai::{Blob, Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext};

/// A comparison: its sign, its precedence in Rhai, and of which orders it holds (none: not comparable, as NaN is).
struct Comparison {
    sign: &'static str,
    precedence: u8,
    holds: fn(Option<Ordering>) -> bool,
}

const EQUALITY: u8 = 90;
const ORDER: u8 = 110;

const ALL: [Comparison; 6] = [
    comparison("==", EQUALITY, |order| order == Some(Ordering::Equal)),
    comparison("!=", EQUALITY, |order| order != Some(Ordering::Equal)),
    comparison("<", ORDER, |order| order == Some(Ordering::Less)),
    comparison(">", ORDER, |order| order == Some(Ordering::Greater)),
    comparison("<=", ORDER, |order| order.is_some_and(Ordering::is_le)),
    comparison(">=", ORDER, |order| order.is_some_and(Ordering::is_ge)),
];

const fn comparison(
    sign: &'static str,
    precedence: u8,
    holds: fn(Option<Ordering>) -> bool,
) -> Comparison {
    Comparison {
        sign,
        precedence,
        holds,
    }
}

/// Puts the comparisons of Rhai's own types in place of the built-in ones.
///
/// # Errors
/// Rhai's message where it refuses an operator.
pub(crate) fn install(engine: &mut Engine) -> Result<(), String> {
    for Comparison {
        sign,
        precedence,
        holds,
    } in ALL
    {
        engine.disable_symbol(sign);
        engine.register_custom_operator(sign, precedence)?;
        of_numbers(engine, sign, holds);
        of_texts(engine, sign, holds);
        engine.register_fn(sign, move |a: bool, b: bool| holds(a.partial_cmp(&b)));
        engine.register_fn(sign, move |(): (), (): ()| holds(Some(Ordering::Equal)));
        engine.register_fn(sign, move |a: Blob, b: Blob| holds(a.partial_cmp(&b)));
        engine.register_fn(
            sign,
            move |call: NativeCallContext, a: Dynamic, b: Dynamic| of_others(&call, &a, &b, holds),
        );
    }
    of_ranges(engine);
    Ok(())
}

fn of_numbers(engine: &mut Engine, sign: &str, holds: fn(Option<Ordering>) -> bool) {
    engine.register_fn(sign, move |a: i64, b: i64| holds(a.partial_cmp(&b)));
    engine.register_fn(sign, move |a: f64, b: f64| holds(a.partial_cmp(&b)));
    engine.register_fn(sign, move |a: i64, b: f64| {
        holds((a as f64).partial_cmp(&b))
    });
    engine.register_fn(sign, move |a: f64, b: i64| {
        holds(a.partial_cmp(&(b as f64)))
    });
}

fn of_texts(engine: &mut Engine, sign: &str, holds: fn(Option<Ordering>) -> bool) {
    type Text = ImmutableString;
    engine.register_fn(sign, move |a: Text, b: Text| holds(a.partial_cmp(&b)));
    engine.register_fn(sign, move |a: char, b: char| holds(a.partial_cmp(&b)));
    engine.register_fn(sign, move |a: Text, b: char| {
        holds(a.as_str().partial_cmp(b.encode_utf8(&mut [0; 4])))
    });
    engine.register_fn(sign, move |a: char, b: Text| {
        holds((*a.encode_utf8(&mut [0; 4])).partial_cmp(b.as_str()))
    });
}

fn of_ranges(engine: &mut Engine) {
    type To = Range<i64>;
    type Through = RangeInclusive<i64>;
    engine.register_fn("==", |a: To, b: To| a == b);
    engine.register_fn("!=", |a: To, b: To| a != b);
    engine.register_fn("==", |a: Through, b: Through| a == b);
    engine.register_fn("!=", |a: Through, b: Through| a != b);
}

/// What has no comparison of its own: values of two types are never equal and never in order.
fn of_others(
    call: &NativeCallContext,
    a: &Dynamic,
    b: &Dynamic,
    holds: fn(Option<Ordering>) -> bool,
) -> Result<bool, Box<EvalAltResult>> {
    if a.type_id() != b.type_id() {
        return Ok(holds(None));
    }
    let engine = call.engine();
    let name = |value: &Dynamic| engine.map_type_name(value.type_name()).to_string();
    let signature = format!("{} ({}, {})", call.fn_name(), name(a), name(b));
    Err(EvalAltResult::ErrorFunctionNotFound(signature, call.call_position()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        let mut engine = Engine::new();
        install(&mut engine).unwrap();
        engine
    }

    fn holds(expression: &str) -> bool {
        engine().eval(expression).unwrap()
    }

    #[test]
    fn floats_compare_exactly() {
        for truth in [
            "1e-17 > 0.0",
            "1e-300 != 0.0",
            "0.1 + 0.2 != 0.3",
            "1.0 / 0.0 > 1e308",
            "let nan = 0.0 / 0.0; nan != nan",
            "let nan = 0.0 / 0.0; !(nan == nan) && !(nan < 1) && !(nan >= 1)",
            "0.0 == -0.0",
            "2 == 2.0 && 1 < 1.5 && 1.5 <= 2",
            "[1.0, 2] == [1, 2.0]",
            "1 in [2.0, 1.0]",
            "0..3 == 0..3 && 0..=3 != 0..=2 && 0..3 != 0..=3",
        ] {
            assert!(holds(truth), "{truth}");
        }
    }

    #[test]
    fn precedence_is_that_of_rhai() {
        assert!(holds("1 + 1 == 2 && 3 * 2 > 5 || false"));
        assert!(holds("1 < 2 == true"));
        assert!(holds("let a = 1; a += 1; a == 2"));
    }

    #[test]
    fn values_of_one_type_without_order_are_an_error() {
        let error = engine().eval::<bool>("#{} < #{}").unwrap_err();
        assert!(
            matches!(*error, EvalAltResult::ErrorFunctionNotFound(..)),
            "{error}"
        );
    }

    #[test]
    fn other_types_compare_as_in_rhai() {
        let values = [
            "0", "1", "-3", "1.5", "2.0", "1e9", "true", "false", "\"a\"", "\"ab\"", "\"\"", "'a'",
            "'b'", "[1]", "[]", "#{a: 1}", "0..3", "blob(2)",
        ];
        let (ours, theirs) = (engine(), Engine::new());
        for (a, b) in values.iter().flat_map(|a| values.map(|b| (a, b))) {
            for Comparison { sign, .. } in ALL {
                let expression = format!("{a} {sign} {b}");
                // Rhai has no answer for a few pairs of types, such as blob and character.
                if let Ok(answer) = theirs.eval::<bool>(&expression) {
                    assert_eq!(
                        ours.eval::<bool>(&expression).ok(),
                        Some(answer),
                        "{expression}"
                    );
                }
            }
        }
    }
}
