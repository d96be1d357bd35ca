//! Which way fused operations went since the program began, for reports: nothing is slow in silence.

use std::sync::atomic::{AtomicBool, Ordering};

/// An operation with a fused form and a plain one.
pub(super) struct Fork {
    name: &'static str,
    fused: AtomicBool,
    plain: AtomicBool,
}

impl Fork {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            fused: AtomicBool::new(false),
            plain: AtomicBool::new(false),
        }
    }

    /// Notes the way taken.
    pub(super) fn take(&self, fused: bool) {
        let flag = if fused { &self.fused } else { &self.plain };
        flag.store(true, Ordering::Relaxed);
    }
}

/// Networks that could go through all layers at once.
pub(super) static NETWORK: Fork = Fork::new("network");

/// The ways taken so far, e.g. `network: fused`, `network: layer by layer`.
pub fn taken() -> Vec<String> {
    let mut ways = Vec::new();
    for fork in [&NETWORK] {
        for (flag, way) in [(&fork.fused, "fused"), (&fork.plain, "layer by layer")] {
            if flag.load(Ordering::Relaxed) {
                ways.push(format!("{}: {way}", fork.name));
            }
        }
    }
    ways
}
