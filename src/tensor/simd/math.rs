//! Elementary functions in f32 that LLVM vectorises inside [`simd!`](crate::simd!) kernels, and
//! f64 through the standard library (which is exact to an ulp and used where precision decides).

mod functions;

use std::fmt::Debug;

pub use functions::*;

/// A float that kernels are generic over: f32 or f64.
pub trait Float:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::MulAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Not a number.
    const NAN: Self;
    /// Negative infinity.
    const MIN: Self;
    /// A constant.
    fn of(x: f64) -> Self;
    /// To f64.
    fn to_f64(self) -> f64;
    /// `self * a + b` with one rounding where the machine has it.
    fn fma(self, a: Self, b: Self) -> Self;
    /// e^x.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// `ln(1 + x)` for x in [0, 1].
    fn ln_1p(self) -> Self;
    /// Sine and cosine, of f32 up to [`SIN_COS_LIMIT`] only.
    fn sin_cos(self) -> (Self, Self);
    /// Sine and cosine of any number, one at a time.
    fn sin_cos_far(self) -> (Self, Self);
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// x^y.
    fn powf(self, y: Self) -> Self;
    /// Whether it is not a number.
    fn is_nan(self) -> bool;
    /// Whether it is neither NaN nor infinite.
    fn finite(self) -> bool;
    /// Gauss error function.
    fn erf(self) -> Self;
    /// The normal distribution function.
    fn normal_cdf(self) -> Self;
}

macro_rules! common {
    ($t:ty) => {
        const ZERO: Self = 0.0;
        const ONE: Self = 1.0;
        const NAN: Self = <$t>::NAN;
        const MIN: Self = <$t>::NEG_INFINITY;
        #[inline(always)]
        fn of(x: f64) -> Self {
            x as $t
        }
        #[inline(always)]
        fn to_f64(self) -> f64 {
            f64::from(self)
        }
        #[inline(always)]
        fn fma(self, a: Self, b: Self) -> Self {
            self.mul_add(a, b)
        }
        #[inline(always)]
        fn sqrt(self) -> Self {
            self.sqrt()
        }
        #[inline(always)]
        fn abs(self) -> Self {
            self.abs()
        }
        #[inline(always)]
        fn powf(self, y: Self) -> Self {
            self.powf(y)
        }
        #[inline(always)]
        fn is_nan(self) -> bool {
            self.is_nan()
        }
        #[inline(always)]
        fn finite(self) -> bool {
            self.is_finite()
        }
    };
}

impl Float for f32 {
    common!(f32);
    #[inline(always)]
    fn exp(self) -> Self {
        exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        ln(self)
    }
    #[inline(always)]
    fn sin_cos(self) -> (Self, Self) {
        sin_cos(self)
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        ln_1p(self)
    }
    #[inline(always)]
    fn sin_cos_far(self) -> (Self, Self) {
        let (s, c) = f64::from(self).sin_cos();
        (s as f32, c as f32)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        tanh(self)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        erf32(self)
    }
    #[inline(always)]
    fn normal_cdf(self) -> Self {
        normal_cdf32(self)
    }
}

impl Float for f64 {
    common!(f64);
    #[inline(always)]
    fn exp(self) -> Self {
        self.exp()
    }
    #[inline(always)]
    fn ln(self) -> Self {
        self.ln()
    }
    #[inline(always)]
    fn sin_cos(self) -> (Self, Self) {
        self.sin_cos()
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        self.ln_1p()
    }
    #[inline(always)]
    fn sin_cos_far(self) -> (Self, Self) {
        self.sin_cos()
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        self.tanh()
    }
    #[inline(always)]
    fn erf(self) -> Self {
        erf(self)
    }
    #[inline(always)]
    fn normal_cdf(self) -> Self {
        0.5 * (1.0 + erf(self * std::f64::consts::FRAC_1_SQRT_2))
    }
}
