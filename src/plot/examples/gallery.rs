//! gallery
use rhapsode_plot::figure::*;
use rhapsode_plot::*;
use std::io::Write;

struct R(u64);
impl R {
    fn u(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
    fn n(&mut self) -> f64 {
        (-2.0 * self.u().ln()).sqrt() * (std::f64::consts::TAU * self.u()).cos()
    }
}

fn moons(r: &mut R, n: usize) -> Points {
    let mut p = Points::default();
    for i in 0..n {
        let t = std::f64::consts::PI * r.u();
        let (x, y) = if i % 2 == 0 {
            (t.cos(), t.sin())
        } else {
            (1.0 - t.cos(), 0.5 - t.sin())
        };
        p.x.push(x + 0.07 * r.n());
        p.y.push(y + 0.07 * r.n());
    }
    p
}

fn main() {
    let out = std::env::args().nth(1).unwrap();
    let mut r = R(42);
    let mut figs: Vec<(&str, Figure)> = vec![];
    let loss: Vec<f64> = (0..3000)
        .map(|i| {
            (1.4 * (-(i as f64) / 400.0).exp() + 0.12) * (1.0 + 0.25 * r.n().abs() + 0.1 * r.n())
        })
        .collect();
    let s = |y: Vec<f64>| Series { x: None, y };
    figs.push((
        "loss",
        Figure::line(
            vec![s(loss.clone())],
            LineOptions {
                title: "training loss".into(),
                x_label: "step".into(),
                y_label: "loss".into(),
                log_y: true,
                smooth: 0.98,
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let decay = |k: f64, r: &mut R| -> Vec<f64> {
        (0..60)
            .map(|i| (-(i as f64) * k).exp() + 0.02 * r.n())
            .collect()
    };
    let many = vec![
        s(decay(0.03, &mut r)),
        s(decay(0.06, &mut r)),
        s(decay(0.1, &mut r)),
        s(decay(0.2, &mut r)),
    ];
    figs.push((
        "lines",
        Figure::line(
            many,
            LineOptions {
                title: "validation error of four optimizers".into(),
                x_label: "epoch".into(),
                y_label: "error".into(),
                labels: ["sgd", "momentum", "adam", "lion"].map(String::from).into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let a = moons(&mut r, 4000);
    figs.push((
        "moons",
        Figure::scatter(
            vec![a.clone()],
            ScatterOptions {
                title: "W₂ to data = 0.0312".into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let mut b = moons(&mut r, 1000);
    b.x.iter_mut().for_each(|x| *x += 0.3);
    figs.push((
        "groups",
        Figure::scatter(
            vec![moons(&mut r, 1000), b],
            ScatterOptions {
                title: "two moons".into(),
                x_label: "x₁".into(),
                y_label: "x₂".into(),
                labels: vec!["data".into(), "samples".into()],
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let mut v = moons(&mut r, 1500);
    v.values = Some(
        v.x.iter()
            .zip(&v.y)
            .map(|(x, y)| (x * 2.0).sin() + y)
            .collect(),
    );
    figs.push((
        "values",
        Figure::scatter(
            vec![v],
            ScatterOptions {
                title: "energy of samples".into(),
                value_label: "log p(x)".into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let big = Points {
        x: (0..1_000_000).map(|_| r.n()).collect(),
        y: (0..1_000_000).map(|_| r.n()).collect(),
        values: None,
    };
    let t = std::time::Instant::now();
    let fig = Figure::scatter(
        vec![big],
        ScatterOptions {
            title: "a million points".into(),
            ..Default::default()
        },
    )
    .unwrap();
    let svg = fig.svg(Theme::Light);
    eprintln!("million: {:?}, svg {} bytes", t.elapsed(), svg.len());
    let t = std::time::Instant::now();
    let p = fig.png(Theme::Light, 2.0).unwrap();
    eprintln!("million png: {:?}, {} bytes", t.elapsed(), p.len());
    let t = std::time::Instant::now();
    fig.text(80, 20, true);
    eprintln!("million text: {:?}", t.elapsed());
    figs.push(("million", fig));
    let h: Vec<f64> = (0..5000).map(|_| r.n()).collect();
    figs.push((
        "hist",
        Figure::hist(
            vec![h.clone()],
            HistOptions {
                title: "weights of the first layer".into(),
                x_label: "w".into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let h2: Vec<f64> = (0..5000).map(|_| 1.2 + 0.6 * r.n()).collect();
    figs.push((
        "hist2",
        Figure::hist(
            vec![h, h2],
            HistOptions {
                title: "rewards".into(),
                density: true,
                labels: vec!["before".into(), "after".into()],
                x_label: "reward".into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let m: Vec<f64> = (0..40 * 60)
        .map(|i| {
            let (y, x) = ((i / 60) as f64, (i % 60) as f64);
            (x / 9.0).sin() * (y / 7.0).cos()
        })
        .collect();
    figs.push((
        "heatmap",
        Figure::heatmap(
            m.clone(),
            [40, 60],
            HeatmapOptions {
                title: "attention".into(),
                x_label: "key".into(),
                y_label: "query".into(),
                value_label: "weight".into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let c: Vec<f64> = (0..64)
        .map(|i| if i / 8 == i % 8 { 0.9 } else { 0.3 * r.n() })
        .collect();
    let names: Vec<String> = [
        "cat", "dog", "bird", "fish", "frog", "deer", "ship", "truck",
    ]
    .map(String::from)
    .into();
    figs.push((
        "confusion",
        Figure::heatmap(
            c,
            [8, 8],
            HeatmapOptions {
                title: "correlation".into(),
                x_ticks: names.clone(),
                y_ticks: names,
                values: true,
                color_map: ColorMap::Diverging,
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let img = |r: &mut R, n: usize, side: usize| -> Vec<f64> {
        (0..n)
            .flat_map(|_| {
                let (a, b, c) = (r.u() * side as f64, r.u() * side as f64, 1.0 + r.u() * 2.0);
                (0..side * side)
                    .map(move |i| {
                        let (y, x) = ((i / side) as f64, (i % side) as f64);
                        (-((x - a).powi(2) + (y - b).powi(2)) / (c * side as f64 / 4.0)).exp()
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    let d = img(&mut r, 30, 8);
    figs.push((
        "images",
        Figure::images(
            d,
            &[30, 8, 8],
            ImagesOptions {
                title: "conditional samples".into(),
                columns: Some(10),
                labels: (0..30).map(|i| (i % 10).to_string()).collect(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let d = img(&mut r, 64, 28);
    figs.push((
        "images64",
        Figure::images(
            d,
            &[64, 28, 28],
            ImagesOptions {
                title: "samples, 4 steps".into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let one: Vec<f64> = (0..32 * 48 * 3)
        .map(|i| {
            let (p, ch) = (i / 3, i % 3);
            let (y, x) = ((p / 48) as f64 / 32.0, (p % 48) as f64 / 48.0);
            [x, y, 1.0 - x * y][ch]
        })
        .collect();
    figs.push((
        "image",
        Figure::image(
            one,
            &[32, 48, 3],
            ImageOptions {
                title: "a picture".into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    figs.push((
        "nan",
        Figure::line(
            vec![s(vec![1.0, f64::NAN, 3.0, 2.0, f64::NAN, 5.0, 0.0])],
            LineOptions {
                title: "with holes".into(),
                log_y: true,
                markers: true,
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    figs.push((
        "large",
        Figure::line(
            vec![s((0..50).map(|i| (i as f64).powi(3) * 1e4).collect())],
            LineOptions {
                x_label: "step".into(),
                y_label: "tokens".into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    figs.push((
        "empty",
        Figure::line(
            vec![],
            LineOptions {
                title: "nothing".into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let sub: Vec<Figure> = ["loss", "moons", "hist"]
        .iter()
        .map(|n| figs.iter().find(|f| f.0 == *n).unwrap().1.clone())
        .collect();
    figs.push((
        "grid",
        Figure::grid(
            sub,
            GridOptions {
                title: "one run".into(),
                ..Default::default()
            },
        )
        .unwrap(),
    ));
    let sub: Vec<Figure> = ["lines", "heatmap", "images64", "groups"]
        .iter()
        .map(|n| figs.iter().find(|f| f.0 == *n).unwrap().1.clone())
        .collect();
    figs.push(("grid4", Figure::grid(sub, GridOptions::default()).unwrap()));
    for (name, f) in &figs {
        let t = std::time::Instant::now();
        let svg = f.svg(Theme::Light);
        let ts = t.elapsed();
        let t = std::time::Instant::now();
        let png = f.png(Theme::Light, 2.0).unwrap();
        eprintln!(
            "{name}: {} | svg {} in {:?}, png {} in {:?}",
            f.describe(),
            svg.len(),
            ts,
            png.len(),
            t.elapsed()
        );
        std::fs::File::create(format!("{out}/{name}.svg"))
            .unwrap()
            .write_all(svg.as_bytes())
            .unwrap();
        std::fs::File::create(format!("{out}/{name}.png"))
            .unwrap()
            .write_all(&png)
            .unwrap();
        std::fs::File::create(format!("{out}/{name}-dark.png"))
            .unwrap()
            .write_all(&f.png(Theme::Dark, 2.0).unwrap())
            .unwrap();
        std::fs::File::create(format!("{out}/{name}.txt"))
            .unwrap()
            .write_all(f.text(80, 20, false).as_bytes())
            .unwrap();
        std::fs::File::create(format!("{out}/{name}.ansi"))
            .unwrap()
            .write_all(f.text(80, 20, true).as_bytes())
            .unwrap();
    }
}
