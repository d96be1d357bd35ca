//! Instruction sets chosen at run time.
//!
//! A kernel is a plain loop over slices, written once; [`simd!`](crate::simd!) compiles it for
//! AVX-512, for AVX2 with FMA and for the baseline (on ARM: NEON is the baseline) and picks at the
//! call. `RHAPSODE_SIMD=scalar|avx2|avx512` forces a lower level.

pub mod kernels;
pub mod math;
pub(crate) mod transpose;

use std::sync::atomic::{AtomicU8, Ordering};

/// What the machine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// The baseline of the target.
    Scalar = 1,
    /// AVX2 and FMA.
    Avx2 = 2,
    /// AVX-512 F, VL, DQ, BW.
    Avx512 = 3,
}

impl Level {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "AVX2",
            Level::Avx512 => "AVX-512",
        }
    }
}

/// The level in use; detected once.
pub fn level() -> Level {
    static LEVEL: AtomicU8 = AtomicU8::new(0);
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::Scalar,
        2 => Level::Avx2,
        3 => Level::Avx512,
        _ => {
            let level = choose();
            LEVEL.store(level as u8, Ordering::Relaxed);
            level
        }
    }
}

fn choose() -> Level {
    let asked = match std::env::var("RHAPSODE_SIMD").as_deref() {
        Ok("scalar") => Level::Scalar,
        Ok("avx2") => Level::Avx2,
        _ => Level::Avx512,
    };
    detect().min(asked)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Scalar,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Scalar
}

/// Compiles a function for every level and chooses at the call.
///
/// The body is inlined into each version, so the loops in it are vectorised with that version's
/// instructions; functions that it calls must be `#[inline(always)]`.
#[macro_export]
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($g:ident : $bound:path),+>)? ($($a:ident : $t:ty),* $(,)?) $(-> $r:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<$($g: $bound),+>)? ($($a: $t),*) $(-> $r)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body $(<$($g: $bound),+>)? ($($a: $t),*) $(-> $r)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512 $(<$($g: $bound),+>)? ($($a: $t),*) $(-> $r)? { body $(::<$($g),+>)? ($($a),*) }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2 $(<$($g: $bound),+>)? ($($a: $t),*) $(-> $r)? { body $(::<$($g),+>)? ($($a),*) }

            #[cfg(target_arch = "x86_64")]
            match $crate::simd::level() {
                // SAFETY: the level was detected on this machine.
                $crate::simd::Level::Avx512 => return unsafe { avx512 $(::<$($g),+>)? ($($a),*) },
                // SAFETY: as above.
                $crate::simd::Level::Avx2 => return unsafe { avx2 $(::<$($g),+>)? ($($a),*) },
                $crate::simd::Level::Scalar => {}
            }
            body $(::<$($g),+>)? ($($a),*)
        }
    };
}
