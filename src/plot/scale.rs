//! Scales: how data become places along an axis, linear or logarithmic.

/// Data beyond this are drawn at it, so that the difference of two of them stays finite.
const LARGEST: f64 = 8e307;

/// Linear or logarithmic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Linear,
    Log,
}

impl Kind {
    /// The kind that an option `log_x` or `log_y` asks for.
    pub(crate) fn from_log(log: bool) -> Self {
        if log { Kind::Log } else { Kind::Linear }
    }

    /// Whether `value` has a place on such an axis.
    pub(crate) fn takes(self, value: f64) -> bool {
        value.is_finite() && (self == Kind::Linear || value > 0.0)
    }
}

/// From data `lo..hi` to 0..1. `lo > hi` turns a linear axis round. Both are finite, differ, and are positive on a
/// logarithmic axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub kind: Kind,
    pub lo: f64,
    pub hi: f64,
    /// Whether the user gave the ends: then nothing widens it.
    pub fixed: bool,
}

impl Scale {
    /// A linear scale from one value to another that differs.
    pub(crate) fn linear(lo: f64, hi: f64) -> Self {
        Self {
            kind: Kind::Linear,
            lo,
            hi,
            fixed: false,
        }
    }

    /// The scale that shows all `values` with a margin of `pad` times their range at either end; values that have no
    /// place on it are passed over. Something sensible comes out for no value and for a single one. `limits`, where
    /// given, are taken as they are.
    pub(crate) fn fit(
        kind: Kind,
        values: impl Iterator<Item = f64>,
        pad: f64,
        limits: Option<[f64; 2]>,
    ) -> Self {
        if let Some([lo, hi]) = limits {
            return Self {
                kind,
                lo,
                hi,
                fixed: true,
            };
        }
        let range = extent(values.filter(|v| kind.takes(*v)));
        match kind {
            Kind::Linear => {
                let (lo, hi) = range.unwrap_or((0.0, 1.0));
                let (lo, hi) = widen(lo.max(-LARGEST), hi.min(LARGEST));
                let margin = (hi - lo) * pad;
                Self::linear(lo - margin, hi + margin)
            }
            Kind::Log => {
                let (lo, hi) = range.unwrap_or((0.1, 1.0));
                let (lo, hi) = (lo.log10(), hi.log10());
                let (lo, hi) = if hi - lo < 1e-9 {
                    (lo - 0.5, hi + 0.5)
                } else {
                    (lo - (hi - lo) * pad, hi + (hi - lo) * pad)
                };
                // Ends that f64 holds as normal numbers.
                let (lo, hi) = (lo.max(-307.0), hi.clamp(-306.0, 307.9));
                Self {
                    kind,
                    lo: 10f64.powf(lo),
                    hi: 10f64.powf(hi),
                    fixed: false,
                }
            }
        }
    }

    /// The place of `value`: 0 at `lo`, 1 at `hi`. Far outside it is clamped, so that pixels stay finite.
    pub(crate) fn unit(&self, value: f64) -> f64 {
        let t = match self.kind {
            Kind::Linear => (value - self.lo) / (self.hi - self.lo),
            // Not the logarithm of a quotient, which may overflow.
            Kind::Log => {
                let value = value.max(f64::MIN_POSITIVE);
                (value.ln() - self.lo.ln()) / (self.hi.ln() - self.lo.ln())
            }
        };
        t.clamp(-1e6, 1e6)
    }

    /// The scale that shows what both show, turned like this one; the ends that a user gave stay. Nothing if one is
    /// logarithmic and the other is not.
    pub(crate) fn joined(self, other: Self) -> Option<Self> {
        if self.kind != other.kind {
            return None;
        }
        if self.fixed || other.fixed {
            return Some(if self.fixed { self } else { other });
        }
        let (lo, hi) = (other.lo.min(other.hi), other.lo.max(other.hi));
        let (lo, hi) = match self.lo < self.hi {
            true => (self.lo.min(lo), self.hi.max(hi)),
            false => (self.lo.max(hi), self.hi.min(lo)),
        };
        Some(Self { lo, hi, ..self })
    }

    /// The scale widened, where it may be, so that `value` is seen with some room.
    pub(crate) fn with(self, value: f64) -> Self {
        if self.fixed || !self.kind.takes(value) || self.contains(value) {
            return self;
        }
        let value = value.clamp(-LARGEST, LARGEST);
        let room = match self.kind {
            Kind::Linear => {
                value + 0.04 * (value - if value > self.hi { self.lo } else { self.hi })
            }
            Kind::Log if value > self.hi => (value * 1.2).min(8e307),
            Kind::Log => (value / 1.2).max(1e-307),
        };
        let other = Self {
            lo: room.min(value),
            hi: room.max(value),
            ..self
        };
        self.joined(other).unwrap_or(self)
    }

    /// Whether `value` lies between the ends.
    pub(crate) fn contains(&self, value: f64) -> bool {
        (-1e-9..=1.0 + 1e-9).contains(&self.unit(value))
    }

    /// The length of the data shown.
    pub(crate) fn span(&self) -> f64 {
        (self.hi - self.lo).abs()
    }
}

/// The least and the greatest finite value.
pub(crate) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|v| v.is_finite())
        .fold(None, |range, v| match range {
            None => Some((v, v)),
            Some((lo, hi)) => Some((v.min(lo), v.max(hi))),
        })
}

/// A range with some width: a constant gets room around it, in proportion to its size.
pub(crate) fn widen(lo: f64, hi: f64) -> (f64, f64) {
    let size = lo.abs().max(hi.abs());
    if hi - lo > size * 1e-12 {
        return (lo, hi);
    }
    // Below this a tenth of the value would not be a normal number any more.
    let room = if size < 1e-300 { 0.5 } else { size * 0.1 };
    (lo - room, hi + room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(kind: Kind, values: &[f64]) -> Scale {
        Scale::fit(kind, values.iter().copied(), 0.0, None)
    }

    #[test]
    fn ends_map_to_zero_and_one() {
        let scale = fit(Kind::Linear, &[3.0, -1.0, f64::NAN, f64::INFINITY]);
        assert_eq!((scale.lo, scale.hi), (-1.0, 3.0));
        assert_eq!(
            [scale.unit(-1.0), scale.unit(1.0), scale.unit(3.0)],
            [0.0, 0.5, 1.0]
        );
        let log = fit(Kind::Log, &[0.01, 100.0, 0.0, -5.0]);
        assert!((log.unit(1.0) - 0.5).abs() < 1e-12);
        assert!((log.unit(0.01)).abs() < 1e-12);
    }

    #[test]
    fn a_margin_is_a_share_of_the_range() {
        let scale = Scale::fit(Kind::Linear, [0.0, 10.0].into_iter(), 0.1, None);
        assert_eq!((scale.lo, scale.hi), (-1.0, 11.0));
        let given = Scale::fit(Kind::Linear, [0.0].into_iter(), 0.1, Some([2.0, 3.0]));
        assert_eq!((given.lo, given.hi), (2.0, 3.0));
    }

    #[test]
    fn any_numbers_give_a_finite_scale_with_width() {
        let sets: [&[f64]; 10] = [
            &[],
            &[0.0],
            &[5.0, 5.0],
            &[f64::NAN],
            &[f64::INFINITY, f64::NEG_INFINITY],
            &[f64::MAX, f64::MIN],
            &[1e300],
            &[f64::MIN_POSITIVE / 4.0],
            &[1.0, 1.0 + f64::EPSILON],
            &[1e-320, 1e308],
        ];
        for values in sets {
            for kind in [Kind::Linear, Kind::Log] {
                let scale = Scale::fit(kind, values.iter().copied(), 0.05, None);
                assert!(
                    scale.lo.is_finite() && scale.hi.is_finite() && scale.lo < scale.hi,
                    "{values:?} {scale:?}"
                );
                for v in values.iter().filter(|v| kind.takes(**v)) {
                    assert!(scale.unit(*v).is_finite(), "{v} {scale:?}");
                }
            }
        }
    }
}
