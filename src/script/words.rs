//! Numbers, speeds and times as people read them: in bars, closing lines and tables of every front end.

use std::time::Duration;

/// Four digits that count, in the shortest usual form.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() || (value.fract() == 0.0 && size < 1e6) {
        return format!("{value}");
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
    format!("{value:.decimals$}")
}

/// `1,203`.
pub fn count(n: u64) -> String {
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

/// Steps a second, or seconds a step where that says more.
pub fn speed(per_second: f64) -> String {
    match per_second {
        speed if !speed.is_finite() || speed <= 0.0 => "- steps/s".into(),
        speed if speed < 1.0 => format!("{} s/step", number(1.0 / speed)),
        speed if speed < 100.0 => format!("{speed:.1} steps/s"),
        speed => format!("{} steps/s", count(speed.round() as u64)),
    }
}

/// `340 ns`, `12.3 µs`, `340.0 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`.
pub fn duration(duration: Duration) -> String {
    let whole = duration.as_secs_f64().round() as u64;
    match duration.as_secs_f64() {
        seconds if seconds < 1e-6 => format!("{:.0} ns", seconds * 1e9),
        seconds if seconds < 1e-3 => format!("{:.1} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds if seconds < 7_200.0 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

/// `loss 0.312 · accuracy 0.94`.
pub fn metrics(metrics: &[(String, f64)]) -> String {
    let parts: Vec<String> = metrics
        .iter()
        .map(|(name, value)| format!("{name} {}", number(*value)))
        .collect();
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_four_digits_that_count() {
        let shown = [
            0.0,
            3.0,
            0.31249,
            12.3456,
            1234.5,
            123_456.7,
            1e-5,
            2.5e7,
            f64::NAN,
            f64::INFINITY,
        ];
        let expected = [
            "0", "3", "0.3125", "12.35", "1234", "123457", "1.000e-5", "2.500e7", "NaN", "inf",
        ];
        assert_eq!(shown.map(number), expected);
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.0, 0.25, 7.25, 750.4].map(speed),
            ["- steps/s", "4 s/step", "7.2 steps/s", "750 steps/s"]
        );
    }

    #[test]
    fn times_are_in_their_own_unit() {
        let shown = [0.000_000_34, 0.000_012_34, 0.012_34, 4.23, 185.0, 7_830.0]
            .map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(
            shown,
            [
                "340 ns",
                "12.3 µs",
                "12.3 ms",
                "4.2 s",
                "3 min 5 s",
                "2 h 10 min"
            ]
        );
    }
}
