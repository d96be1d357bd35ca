//! The contract of every kind of figure in `figure::ALL`: each renderer draws it, whatever the numbers are, and always
//! the same; its options are documented.

use rhapsode_plot::figure::{self, LineOptions};
use rhapsode_plot::{Figure, Series, Theme};

/// Numbers of all sorts, with what they are.
fn cases() -> Vec<(&'static str, Vec<f64>)> {
    let wave = |n: usize| (0..n).map(|i| (i as f64 * 0.3).sin() * i as f64).collect();
    vec![
        ("typical", wave(50)),
        ("no data", vec![]),
        ("one point", vec![2.5]),
        ("nan", vec![f64::NAN; 3]),
        ("nan among numbers", vec![1.0, f64::NAN, 3.0]),
        ("infinite", vec![f64::INFINITY, 1.0, f64::NEG_INFINITY]),
        ("only infinite", vec![f64::INFINITY]),
        ("constant", vec![7.0; 20]),
        ("zero", vec![0.0; 4]),
        ("large", vec![1e300, -1e300, 3e299]),
        ("largest", vec![f64::MAX, f64::MIN, 0.0]),
        ("tiny", vec![1e-320, -1e-320, 0.0]),
        ("close together", vec![1.0, 1.0 + f64::EPSILON]),
        ("many", wave(30_000)),
    ]
}

fn each(mut check: impl FnMut(&str, &Figure)) {
    for kind in figure::ALL {
        for (case, numbers) in cases() {
            let figure = (kind.sample)(&numbers)
                .unwrap_or_else(|error| panic!("{} of {case}: {error}", kind.name));
            check(&format!("{} of {case}", kind.name), &figure);
        }
    }
}

/// Whether every tag is closed and every attribute a number where it has to be one.
fn check_svg(what: &str, svg: &str) {
    assert!(
        svg.starts_with("<svg") && svg.ends_with("</svg>\n"),
        "{what}"
    );
    for bad in ["NaN", "inf\"", "-2147483648", "2147483647"] {
        assert!(!svg.contains(bad), "{what} has {bad}");
    }
    let opened = svg.matches("<text").count();
    assert_eq!(opened, svg.matches("</text>").count(), "{what}");
}

#[test]
fn svg_draws_every_kind() {
    each(|what, figure| {
        let svg = figure.svg(Theme::Light);
        check_svg(what, &svg);
        assert_eq!(svg, figure.svg(Theme::Light), "{what}");
        assert_ne!(svg, figure.svg(Theme::Dark), "{what}");
        assert!(svg.len() < 2_000_000, "{what}: {} bytes", svg.len());
    });
}

#[test]
fn png_draws_every_kind() {
    each(|what, figure| {
        let png = figure.png(Theme::Dark, 0.5).unwrap();
        let reader = png::Decoder::new(std::io::Cursor::new(&png))
            .read_info()
            .unwrap();
        let [width, height] = figure.size().map(|side| (side * 0.5).round() as u32);
        assert_eq!(
            (reader.info().width, reader.info().height),
            (width, height),
            "{what}"
        );
        assert_eq!(png, figure.png(Theme::Dark, 0.5).unwrap(), "{what}");
    });
}

#[test]
fn text_draws_every_kind_in_the_room_given() {
    for (columns, rows) in [(80, 20), (40, 10), (12, 4), (1, 1), (0, 0)] {
        each(|what, figure| {
            for color in [true, false] {
                let text = figure.text(columns, rows, color);
                assert!(text.lines().count() <= rows, "{what}: {text}");
                if !color {
                    let widest = text.lines().map(|line| line.chars().count()).max();
                    assert!(widest.unwrap_or(0) <= columns, "{what}: {text}");
                    assert!(!text.contains('\x1b'), "{what}");
                }
            }
        });
    }
}

#[test]
fn the_smallest_figure_with_the_longest_texts_is_drawn() {
    let long = "a text of many words that does not fit ".repeat(8);
    let options = LineOptions {
        title: long.clone(),
        x_label: long.clone(),
        y_label: long.clone(),
        labels: vec![long.clone(); 30],
        width: 64,
        height: 64,
        ..Default::default()
    };
    let series = Series {
        x: None,
        y: vec![-1.23456e-7, 9.87654e9],
    };
    let figure = Figure::line(vec![series; 30], options).unwrap();
    check_svg("small", &figure.svg(Theme::Light));
    assert!(!figure.png(Theme::Light, 1.0).unwrap().is_empty());
    let text = figure.text(30, 8, false);
    assert!(text.lines().count() <= 8, "{text}");
}

#[test]
fn figures_without_data_say_so() {
    for kind in figure::ALL {
        let figure = (kind.sample)(&[]).unwrap();
        let expected = if kind.name == "grid" {
            "no figures"
        } else {
            "no data"
        };
        assert!(figure.svg(Theme::Light).contains(expected), "{}", kind.name);
        assert!(
            figure.text(60, 12, false).contains(expected),
            "{}",
            kind.name
        );
    }
}

#[test]
fn every_kind_describes_itself_in_one_line() {
    each(|what, figure| {
        let description = figure.describe();
        assert!(
            !description.is_empty() && !description.contains('\n'),
            "{what}"
        );
        assert!(
            description.contains(" \""),
            "{what} lacks its title: {description}"
        );
    });
}

#[test]
fn every_option_is_documented_with_its_default_and_unknown_ones_are_refused() {
    for kind in figure::ALL {
        assert!(!kind.summary.is_empty());
        let schema = serde_json::to_value((kind.options)()).unwrap();
        assert_eq!(schema["additionalProperties"], false, "{}", kind.name);
        let properties = schema["properties"].as_object().unwrap();
        for (name, property) in properties {
            let doc = property["description"].as_str().unwrap_or_default();
            assert!(doc.contains("Default: "), "{}: {name}: {doc}", kind.name);
        }
    }
}
