//! How a tensor prints: its values, then shape, dtype and device.

use std::fmt;

use crate::{DType, Tensor};

/// Above this many elements only the ends of each axis are shown.
const FULL: usize = 200;

/// Values shown at each end of a long axis.
const ENDS: usize = 3;

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = body(self).unwrap_or_else(|error| format!("<{error}>"));
        write!(f, "{text}\n{}", self.describe())
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Tensor {
    /// `Tensor [3, 2] f32 cpu`, and `param` where a gradient may be asked for.
    pub fn describe(&self) -> String {
        let device = match self.device() {
            candle_core::Device::Cpu => "cpu".to_string(),
            other => format!("{:?}", other.location()).to_lowercase(),
        };
        let tracked = if self.is_tracked() { ", tracked" } else { "" };
        format!(
            "Tensor {:?} {} {device}{tracked}",
            self.dims(),
            self.dtype().as_str()
        )
    }
}

fn body(x: &Tensor) -> crate::Result<String> {
    let cut = x.len() > FULL;
    // Only what is shown is copied: a tensor of a gigabyte prints at once.
    let mut shown = x.detach();
    if cut {
        for axis in 0..x.rank() as i64 {
            let n = shown.dim(axis)?;
            if n > 2 * ENDS {
                let (head, tail) = (
                    shown.narrow(axis, 0, ENDS)?,
                    shown.narrow(axis, n - ENDS, ENDS)?,
                );
                shown = Tensor::cat(&[&head, &tail], axis)?;
            }
        }
    }
    let values = shown.to_vec()?;
    let words = format_all(&values, x.dtype());
    let width = words.iter().map(String::len).max().unwrap_or(0);
    let mut out = String::new();
    let layout = Layout {
        shown: shown.dims(),
        full: x.dims(),
        words: &words,
        width,
        cut,
    };
    layout.write(&mut out, 0, 0, 0);
    Ok(out)
}

struct Layout<'a> {
    shown: &'a [usize],
    full: &'a [usize],
    words: &'a [String],
    width: usize,
    cut: bool,
}

impl Layout<'_> {
    fn write(&self, out: &mut String, axis: usize, start: usize, indent: usize) {
        let Some(&n) = self.shown.get(axis) else {
            out.push_str(self.words.get(start).map_or("", |w| w.trim_start()));
            return;
        };
        let inner: usize = self.shown[axis + 1..].iter().product();
        let last = axis + 1 == self.shown.len();
        let gap = self.cut && self.full[axis] > 2 * ENDS;
        let newline = |out: &mut String| {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent + 1));
        };
        out.push('[');
        for i in 0..n {
            if i > 0 {
                out.push(',');
                if last { out.push(' ') } else { newline(out) }
            }
            if gap && i == ENDS {
                out.push_str("...,");
                if last { out.push(' ') } else { newline(out) }
            }
            if last {
                let word = self.words.get(start + i).map_or("", String::as_str);
                out.extend(std::iter::repeat_n(
                    ' ',
                    self.width.saturating_sub(word.len()),
                ));
                out.push_str(word);
            } else {
                self.write(out, axis + 1, start + i * inner, indent + 1);
            }
        }
        out.push(']');
    }
}

/// All values in one style: whole numbers, fixed with four places, or scientific when the range is wide.
fn format_all(values: &[f64], dtype: DType) -> Vec<String> {
    if dtype == DType::Bool {
        return values.iter().map(|v| (*v != 0.0).to_string()).collect();
    }
    if !dtype.is_float() {
        return values.iter().map(|v| format!("{v}")).collect();
    }
    let finite = || values.iter().filter(|v| v.is_finite());
    let largest = finite().fold(0.0f64, |m, v| m.max(v.abs()));
    let smallest = finite()
        .filter(|v| **v != 0.0)
        .fold(f64::INFINITY, |m, v| m.min(v.abs()));
    let whole = finite().all(|v| v.fract() == 0.0) && largest < 1e8;
    let wide = largest >= 1e8
        || (smallest.is_finite() && smallest < 1e-4 && largest / smallest > 1e3)
        || (largest < 1e-3 && largest > 0.0);
    let word = |v: &f64| match v {
        v if v.is_nan() => "nan".into(),
        v if v.is_infinite() => {
            if *v > 0.0 {
                "inf".into()
            } else {
                "-inf".into()
            }
        }
        v if whole => format!("{v:.0}."),
        v if wide => format!("{v:.4e}"),
        v => format!("{v:.4}"),
    };
    values.iter().map(word).map(without_negative_zero).collect()
}

/// `-0.0000` says nothing that `0.0000` does not.
fn without_negative_zero(word: String) -> String {
    match word.strip_prefix('-') {
        Some(rest)
            if rest
                .trim_end_matches("e0")
                .bytes()
                .all(|b| matches!(b, b'0' | b'.')) =>
        {
            rest.to_string()
        }
        _ => word,
    }
}
