//! Colours: the colour-blind-safe cycle of Okabe and Ito, perceptual colour maps, and the light and the dark theme.

use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// An sRGB colour with opacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Color {
    /// Red, green and blue, 0 to 255.
    pub rgb: [u8; 3],
    /// Opacity, 0 (unseen) to 1 (opaque).
    pub alpha: f64,
}

impl Color {
    /// An opaque colour from `0xrrggbb`.
    pub(crate) const fn hex(value: u32) -> Self {
        let rgb = [(value >> 16) as u8, (value >> 8) as u8, value as u8];
        Self { rgb, alpha: 1.0 }
    }

    /// The same colour with another opacity.
    pub(crate) fn with_alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }

    /// The opaque colour that is seen when this one lies over `background`.
    pub(crate) fn over(self, background: Color) -> Self {
        let rgb = mix(background.rgb, self.rgb, self.alpha);
        Self { rgb, alpha: 1.0 }
    }

    /// Perceived lightness, 0 to 1 (Rec. 709 weights on the encoded values: enough to choose black or white text).
    pub(crate) fn lightness(self) -> f64 {
        let [r, g, b] = self.rgb.map(|c| f64::from(c) / 255.0);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }
}

/// `a` at `t` = 0, `b` at `t` = 1.
fn mix(a: [u8; 3], b: [u8; 3], t: f64) -> [u8; 3] {
    let channel = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * t).round() as u8;
    [
        channel(a[0], b[0]),
        channel(a[1], b[1]),
        channel(a[2], b[2]),
    ]
}

/// What a user may call a colour: the Okabe-Ito ones under their plain names, and greys.
const NAMES: [(&str, u32); 10] = [
    ("blue", 0x0072b2),
    ("red", 0xd55e00),
    ("green", 0x009e73),
    ("orange", 0xe69f00),
    ("purple", 0xcc79a7),
    ("sky", 0x56b4e9),
    ("yellow", 0xf0e442),
    ("gray", 0x808080),
    ("black", 0x000000),
    ("white", 0xffffff),
];

/// The names of colours that [`parse`] takes.
pub(crate) fn names() -> Vec<&'static str> {
    NAMES.iter().map(|(name, _)| *name).collect()
}

/// A colour from its name, `#rrggbb` or `#rgb`.
pub(crate) fn parse(text: &str) -> Result<Color> {
    let lower = text.trim().to_ascii_lowercase();
    if let Some((_, value)) = NAMES.iter().find(|(name, _)| *name == lower) {
        return Ok(Color::hex(*value));
    }
    let unknown = || Error::Color {
        got: text.to_string(),
    };
    let digits = lower.strip_prefix('#').ok_or_else(unknown)?;
    // `from_str_radix` would take a sign.
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let value = u32::from_str_radix(digits, 16).map_err(|_| unknown())?;
    match digits.len() {
        6 => Ok(Color::hex(value)),
        3 => {
            let twice = |shift: u32| ((value >> shift) & 0xf) * 0x11;
            Ok(Color::hex(twice(8) << 16 | twice(4) << 8 | twice(0)))
        }
        _ => Err(unknown()),
    }
}

/// The ground that a figure is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// Dark ink on white, as in a paper.
    #[default]
    Light,
    /// Light ink on a dark ground.
    Dark,
}

/// A theme's colours.
#[derive(Debug, Clone)]
pub(crate) struct Palette {
    pub background: Color,
    /// Titles and the text of legends.
    pub foreground: Color,
    /// Labels of axes and ticks, captions.
    pub muted: Color,
    /// The axes' lines.
    pub axis: Color,
    pub grid: Color,
    /// Cells without a value.
    pub missing: Color,
    series: [Color; 8],
    /// Where the cycle begins: figures that share axes go on with it.
    first: usize,
}

impl Palette {
    /// The colours of `theme`. The dark cycle has the hues of the light one, lightened.
    pub(crate) fn new(theme: Theme) -> Self {
        match theme {
            Theme::Light => Self {
                background: Color::hex(0xffffff),
                foreground: Color::hex(0x1a1d21),
                muted: Color::hex(0x50565e),
                axis: Color::hex(0x8a9099),
                grid: Color::hex(0xe8eaed),
                missing: Color::hex(0xd9dbde),
                series: [
                    0x0072b2, 0xd55e00, 0x009e73, 0xe69f00, 0xcc79a7, 0x56b4e9, 0x8c7a00, 0x555b63,
                ]
                .map(Color::hex),
                first: 0,
            },
            Theme::Dark => Self {
                background: Color::hex(0x16181d),
                foreground: Color::hex(0xeceef1),
                muted: Color::hex(0xaab0b9),
                axis: Color::hex(0x6b727c),
                grid: Color::hex(0x2a2e35),
                missing: Color::hex(0x3a3f47),
                series: [
                    0x4fa8e8, 0xf58549, 0x2fc79b, 0xf3bb45, 0xe29cc6, 0x9bd6fa, 0xf0e442, 0xc3c8cf,
                ]
                .map(Color::hex),
                first: 0,
            },
        }
    }

    /// The same colours with a cycle that begins `used` colours later.
    pub(crate) fn after(&self, used: usize) -> Self {
        Self {
            first: self.first + used,
            ..self.clone()
        }
    }

    /// The colour of the series number `index`; the cycle repeats.
    pub(crate) fn series(&self, index: usize) -> Color {
        self.series
            .get((self.first + index) % self.series.len())
            .copied()
            .unwrap_or(self.foreground)
    }
}

/// How numbers become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ColorMap {
    /// Perceptually even, dark blue to yellow; legible in black and white and with any colour vision.
    Viridis,
    /// Blue over white to red, for values on both sides of zero.
    Diverging,
    /// Black to white.
    Gray,
}

impl ColorMap {
    /// The colour at `t` in 0..=1; values outside are clamped.
    pub(crate) fn at(self, t: f64) -> Color {
        let stops: &[u32] = match self {
            ColorMap::Viridis => &VIRIDIS,
            ColorMap::Diverging => &DIVERGING,
            ColorMap::Gray => &[0x000000, 0xffffff],
        };
        // NaN clamps to NaN, whose cast is stop 0: callers colour missing values themselves.
        let position = t.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
        let index = (position as usize).min(stops.len().saturating_sub(2));
        match stops.get(index..index + 2) {
            Some(&[a, b]) => {
                let rgb = mix(
                    Color::hex(a).rgb,
                    Color::hex(b).rgb,
                    position - index as f64,
                );
                Color { rgb, alpha: 1.0 }
            }
            _ => Color::hex(0),
        }
    }
}

/// Every eighth colour of matplotlib's viridis (CC0, S. van der Walt and N. Smith); linear between them it is less
/// than 2/255 away from the whole table.
const VIRIDIS: [u32; 33] = [
    0x440154, 0x470d60, 0x48186a, 0x482374, 0x472d7b, 0x453781, 0x424086, 0x3e4989, 0x3b528b,
    0x375b8d, 0x33638d, 0x2f6b8e, 0x2c728e, 0x297a8e, 0x26828e, 0x23898e, 0x21918c, 0x1f978b,
    0x1f9f88, 0x21a685, 0x27ad81, 0x31b57b, 0x3dbc74, 0x4cc26c, 0x5cc863, 0x6ece58, 0x81d34d,
    0x95d840, 0xaadc32, 0xc0df25, 0xd5e21a, 0xeae51a, 0xfde725,
];

/// ColorBrewer's RdBu (C. Brewer, Apache 2.0), blue first.
const DIVERGING: [u32; 11] = [
    0x053061, 0x2166ac, 0x4393c3, 0x92c5de, 0xd1e5f0, 0xf7f7f7, 0xfddbc7, 0xf4a582, 0xd6604d,
    0xb2182b, 0x67001f,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_parse_by_name_and_value() {
        assert_eq!(parse("Blue").unwrap().rgb, [0x00, 0x72, 0xb2]);
        assert_eq!(parse("#f80").unwrap().rgb, [0xff, 0x88, 0x00]);
        assert_eq!(parse("#0a0B0c").unwrap().rgb, [10, 11, 12]);
        for bad in ["blu", "", "#12", "#+12345", "#1234567", "#ééé"] {
            assert_eq!(
                parse(bad),
                Err(Error::Color {
                    got: bad.to_string()
                })
            );
        }
    }

    #[test]
    fn maps_hit_their_ends_and_clamp() {
        assert_eq!(ColorMap::Viridis.at(0.0).rgb, [0x44, 0x01, 0x54]);
        assert_eq!(ColorMap::Viridis.at(7.0).rgb, [0xfd, 0xe7, 0x25]);
        assert_eq!(ColorMap::Diverging.at(0.5).rgb, [0xf7, 0xf7, 0xf7]);
        assert_eq!(ColorMap::Gray.at(-1.0).rgb, [0, 0, 0]);
        assert_eq!(ColorMap::Gray.at(f64::NAN).rgb, [0, 0, 0]);
    }

    #[test]
    fn viridis_grows_lighter() {
        let light: Vec<f64> = (0..=100)
            .map(|i| ColorMap::Viridis.at(f64::from(i) / 100.0).lightness())
            .collect();
        assert!(light.windows(2).all(|w| w[1] >= w[0]));
    }

    #[test]
    fn series_cycle_and_differ() {
        for theme in [Theme::Light, Theme::Dark] {
            let palette = Palette::new(theme);
            for i in 0..8 {
                assert_eq!(palette.series(i), palette.series(i + 8));
                assert!((0..i).all(|j| palette.series(i) != palette.series(j)));
            }
        }
    }
}
