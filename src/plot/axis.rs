//! Axes: where the ticks stand and what they are called.

use crate::scale::{Kind, Scale};

/// What marks an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ticks {
    /// Round numbers.
    Auto,
    /// Round whole numbers: the axis counts something.
    Integers,
    /// Names at 0, 1, 2, ….
    Named(Vec<String>),
    /// An axis that is not drawn.
    None,
}

/// One axis of a panel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    pub scale: Scale,
    pub label: String,
    pub ticks: Ticks,
    /// Whether lines go through the panel at the ticks.
    pub grid: bool,
}

/// The ticks of an axis: places with names, and places without.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TickSet {
    pub major: Vec<(f64, String)>,
    pub minor: Vec<f64>,
}

impl Axis {
    /// An axis that is not drawn.
    pub(crate) fn hidden(scale: Scale) -> Self {
        Self {
            scale,
            label: String::new(),
            ticks: Ticks::None,
            grid: false,
        }
    }

    /// An axis with a grid whose ticks are round numbers.
    pub(crate) fn numbers(scale: Scale, label: &str) -> Self {
        Self {
            scale,
            label: label.to_string(),
            ticks: Ticks::Auto,
            grid: true,
        }
    }

    /// Whether the axis is drawn.
    pub(crate) fn visible(&self) -> bool {
        self.ticks != Ticks::None
    }

    /// About `count` ticks, at most twice as many.
    pub(crate) fn ticks(&self, count: usize) -> TickSet {
        let count = count.clamp(1, 50);
        let (lo, hi) = (
            self.scale.lo.min(self.scale.hi),
            self.scale.lo.max(self.scale.hi),
        );
        match (&self.ticks, self.scale.kind) {
            (Ticks::None, _) => TickSet::default(),
            (Ticks::Named(names), _) => named(names, lo, hi, count),
            (Ticks::Integers, _) => linear(lo, hi, count, 1.0),
            (Ticks::Auto, Kind::Linear) => linear(lo, hi, count, 0.0),
            (Ticks::Auto, Kind::Log) => log(lo, hi, count),
        }
    }
}

/// Every name if there is room, else every second, third, ….
fn named(names: &[String], lo: f64, hi: f64, count: usize) -> TickSet {
    let stride = names.len().div_ceil(count * 2).max(1);
    let major = names
        .iter()
        .enumerate()
        .step_by(stride)
        .map(|(i, name)| (i as f64, name.clone()))
        .filter(|(at, _)| (lo..=hi).contains(at))
        .collect();
    TickSet {
        major,
        minor: Vec::new(),
    }
}

/// The one of 1, 2, 5 times a power of ten that is nearest to `raw` in ratio.
fn nice_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    // Halfway between neighbours in ratio: the roots of 1 * 2, 2 * 5 and 5 * 10.
    let step = match raw / power {
        ratio if ratio < 2f64.sqrt() => 1.0,
        ratio if ratio < 10f64.sqrt() => 2.0,
        ratio if ratio < 50f64.sqrt() => 5.0,
        _ => 10.0,
    };
    step * power
}

/// Ticks at multiples of a nice step, no smaller than `least`.
fn linear(lo: f64, hi: f64, count: usize, least: f64) -> TickSet {
    let step = nice_step(((hi - lo) / count as f64).max(f64::MIN_POSITIVE)).max(least);
    let slack = (hi - lo) * 1e-9;
    let (first, last) = (((lo - slack) / step).ceil(), ((hi + slack) / step).floor());
    let places: Vec<f64> = (0..=(last - first).clamp(0.0, 200.0) as usize)
        .map(|i| (first + i as f64) * step)
        .filter(|v| (lo - slack..=hi + slack).contains(v))
        .collect();
    let labels = labels(&places, step);
    TickSet {
        major: places.into_iter().zip(labels).collect(),
        minor: Vec::new(),
    }
}

/// About `count` round values between `lo` and `hi`.
pub(crate) fn round_values(lo: f64, hi: f64, count: usize) -> Vec<f64> {
    let ticks = linear(lo, hi, count.max(1), 0.0).major;
    ticks.into_iter().map(|(value, _)| value).collect()
}

/// The names of values that are `step` apart, all with the same number of decimals; from 1e5 on, and where more than
/// four decimals would be needed, with an exponent.
fn labels(places: &[f64], step: f64) -> Vec<String> {
    let largest = places.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let step_power = (step * (1.0 + 1e-9)).log10().floor();
    let decimals = (-step_power).max(0.0) as usize;
    places
        .iter()
        .map(|&v| {
            if v.abs() < step * 1e-6 {
                "0".to_string()
            } else if largest >= 1e5 * (1.0 - 1e-9) || decimals > 4 {
                let digits = (v.abs().log10() + 1e-9).floor() - step_power;
                exponent(v, digits.clamp(0.0, 15.0) as usize)
            } else {
                fixed(v, decimals)
            }
        })
        .collect()
}

/// `1.5e5`: at most `digits` digits after the point, none of them trailing zeros.
fn exponent(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').trim_end_matches('.'),
        false => mantissa,
    };
    minus(&format!("{mantissa}e{power}"))
}

/// A number with so many decimals.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    // What rounds to zero has no sign.
    let zero = text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
    minus(if zero {
        text.trim_start_matches('-')
    } else {
        &text
    })
}

/// The typographic minus sign for the hyphen.
fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// A number in about `digits` significant digits, without trailing zeros.
pub(crate) fn number(value: f64, digits: usize) -> String {
    let digits = digits.max(1);
    if value == 0.0 {
        return "0".to_string();
    }
    if !value.is_finite() {
        return minus(&format!("{value}")).to_lowercase();
    }
    let size = value.abs();
    if !(1e-4..1e5).contains(&size) {
        return exponent(value, digits - 1);
    }
    let decimals = (digits as f64 - 1.0 - size.log10().floor()).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => minus(text.trim_end_matches('0').trim_end_matches('.')),
        false => minus(&text),
    }
}

/// A whole number with its thousands apart, `1,000,000`.
pub(crate) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 point`, `3,000 points`.
pub(crate) fn counted(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Ticks at powers of ten with minor ones between; on a short axis at 1, 2, 5 times them, on a very short one as on a
/// linear axis.
fn log(lo: f64, hi: f64, count: usize) -> TickSet {
    let (first, last) = (
        (lo.log10() - 1e-9).ceil() as i32,
        (hi.log10() + 1e-9).floor() as i32,
    );
    let decades = (last - first + 1).max(0) as usize;
    if decades < 2 || (decades == 2 && count >= 4) {
        return short_log(lo, hi, first, count);
    }
    let stride = decades.div_ceil(count.max(2)) as i32;
    let shown: Vec<i32> = (first..=last)
        .filter(|p| p.rem_euclid(stride) == 0)
        .collect();
    let plain = shown.iter().all(|p| (-3..=4).contains(p));
    let name = |p: i32| match plain {
        true => number(10f64.powi(p), 1),
        false => format!("10{}", superscript(p)),
    };
    let minor = match stride {
        1 => (first - 1..=last)
            .flat_map(|p| (2..10).map(move |m| f64::from(m) * 10f64.powi(p)))
            .filter(|v| (lo..=hi).contains(v))
            .collect(),
        _ => (first..=last)
            .filter(|p| p.rem_euclid(stride) != 0)
            .map(|p| 10f64.powi(p))
            .collect(),
    };
    TickSet {
        major: shown.iter().map(|&p| (10f64.powi(p), name(p))).collect(),
        minor,
    }
}

/// The ticks of a logarithmic axis with at most two powers of ten.
fn short_log(lo: f64, hi: f64, first: i32, count: usize) -> TickSet {
    let multiples = |of: &[i32]| -> Vec<f64> {
        (first - 1..=first + 2)
            .flat_map(|p| of.iter().map(move |&m| f64::from(m) * 10f64.powi(p)))
            .filter(|v| (lo..=hi).contains(v))
            .collect()
    };
    let major = multiples(&[1, 2, 5]);
    if major.len() < 3 {
        return linear(lo, hi, count.min(5), 0.0);
    }
    let all = multiples(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let minor = all.into_iter().filter(|v| !major.contains(v)).collect();
    TickSet {
        major: major.into_iter().map(|v| (v, number(v, 1))).collect(),
        minor,
    }
}

/// A whole number in superscript digits.
fn superscript(n: i32) -> String {
    n.to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            // The other digits stand together, apart from these three.
            digit => digit
                .to_digit(10)
                .and_then(|d| char::from_u32(0x2070 + d))
                .unwrap_or(digit),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(kind: Kind, lo: f64, hi: f64) -> Axis {
        Axis {
            scale: Scale {
                kind,
                lo,
                hi,
                fixed: false,
            },
            label: String::new(),
            ticks: Ticks::Auto,
            grid: true,
        }
    }

    fn names(kind: Kind, lo: f64, hi: f64, count: usize) -> Vec<String> {
        let ticks = axis(kind, lo, hi).ticks(count);
        ticks.major.into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_free_of_noise() {
        let cases: [(f64, f64, usize, &[&str]); 8] = [
            (0.0, 1.0, 5, &["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (
                -0.3,
                0.3,
                6,
                &["−0.3", "−0.2", "−0.1", "0", "0.1", "0.2", "0.3"],
            ),
            (
                0.0,
                3000.0,
                6,
                &["0", "500", "1000", "1500", "2000", "2500", "3000"],
            ),
            (0.0, 2.5e5, 5, &["0", "5e4", "1e5", "1.5e5", "2e5", "2.5e5"]),
            (1e-7, 3e-7, 2, &["1e−7", "2e−7", "3e−7"]),
            (-1e300, 1e300, 2, &["−1e300", "0", "1e300"]),
            (3.0, -3.0, 3, &["−2", "0", "2"]),
            (
                0.00012,
                0.00018,
                3,
                &["1.2e−4", "1.4e−4", "1.6e−4", "1.8e−4"],
            ),
        ];
        for (lo, hi, count, expected) in cases {
            assert_eq!(names(Kind::Linear, lo, hi, count), expected, "{lo}..{hi}");
        }
    }

    #[test]
    fn log_ticks_follow_the_decades() {
        assert_eq!(names(Kind::Log, 0.01, 10.0, 6), ["0.01", "0.1", "1", "10"]);
        assert_eq!(
            names(Kind::Log, 1e-6, 1.0, 7),
            ["10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "10⁰"]
        );
        assert_eq!(
            names(Kind::Log, 1e-12, 1e12, 5),
            ["10⁻¹⁰", "10⁻⁵", "10⁰", "10⁵", "10¹⁰"]
        );
        assert_eq!(names(Kind::Log, 0.15, 3.0, 5), ["0.2", "0.5", "1", "2"]);
        assert_eq!(
            names(Kind::Log, 3.1, 4.2, 5).first().map(String::as_str),
            Some("3.2")
        );
    }

    #[test]
    fn minor_ticks_stand_between_the_decades() {
        let minor = axis(Kind::Log, 1.0, 100.0).ticks(5).minor;
        assert_eq!(minor.len(), 16);
        assert!(minor.contains(&20.0) && !minor.contains(&10.0));
    }

    #[test]
    fn every_range_has_few_ticks_that_lie_inside() {
        for (lo, hi) in [
            (0.0, 1e-300),
            (-1e308, 7e307),
            (1e9, 1e9 + 5.0),
            (0.1, 0.3),
            (-5.0, -4.9),
        ] {
            for count in [1, 3, 8] {
                let ticks = axis(Kind::Linear, lo, hi).ticks(count).major;
                assert!(ticks.len() <= 2 * count + 1, "{lo}..{hi}: {ticks:?}");
                assert!(
                    ticks
                        .iter()
                        .all(|(v, _)| axis(Kind::Linear, lo, hi).scale.contains(*v))
                );
                let mut unique: Vec<_> = ticks.iter().map(|(_, name)| name).collect();
                unique.dedup();
                assert_eq!(unique.len(), ticks.len(), "{ticks:?}");
            }
        }
    }

    #[test]
    fn integers_and_names() {
        let mut counted = axis(Kind::Linear, -0.5, 2.5);
        counted.ticks = Ticks::Integers;
        let found: Vec<f64> = counted.ticks(8).major.iter().map(|(v, _)| *v).collect();
        assert_eq!(found, [0.0, 1.0, 2.0]);
        counted.ticks = Ticks::Named(["a", "b", "c"].map(String::from).to_vec());
        assert_eq!(counted.ticks(8).major[2], (2.0, "c".to_string()));
    }

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (0.25, "0.25"),
            (1234.5, "1234"),
            (-0.001, "−0.001"),
            (123456.0, "1.23e5"),
            (1e-9, "1e−9"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "−inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value, 3), expected);
        }
        assert_eq!(
            (fixed(-0.001, 2), fixed(-1.5, 2)),
            ("0.00".into(), "−1.50".into())
        );
        assert_eq!(count(1234567), "1,234,567");
        assert_eq!(counted(1, "point"), "1 point");
        assert_eq!(superscript(-10), "⁻¹⁰");
    }
}
