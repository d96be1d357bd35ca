//! The elementary functions themselves. The f32 polynomials are those of Cephes; their largest errors against f64, measured
//! over a dense sweep by the tests below, stand at each function. They are right at infinities, NaN and subnormal
//! numbers.

use super::Float;

/// The leading 20 bits of pi/2: its product with any quadrant number in range is exact.
const HALF_PI_HIGH: f32 = f32::from_bits(0x3fc9_0fd8);

/// 1.5 * 2^23: adding it rounds a float to the nearest integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// e^x, at most 2 ulp, also where the result is subnormal.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Below -104 even the smallest subnormal number is too large.
    let clamped = x.clamp(-104.0, 88.722_83);
    let rounded = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let exponent = rounded.to_bits() as i32 - ROUND.to_bits() as i32;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, clamped));
    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    // 2^n in two factors: f32 has neither 2^128 nor, as a normal number, 2^-127.
    let half = exponent >> 1;
    let scale = |e: i32| f32::from_bits(((e + 127) << 23) as u32);
    let y = y * scale(half) * scale(exponent - half);
    let y = if x > 88.722_83 { f32::INFINITY } else { y };
    if x.is_nan() { x } else { y }
}

/// 1 / (1 + e^-x), at most 4 ulp in f32, also where it is tiny.
#[inline(always)]
pub fn sigmoid<T: Float>(x: T) -> T {
    let e = (-x.abs()).exp();
    let top = if x < T::ZERO { e } else { T::ONE };
    top / (T::ONE + e)
}

/// ln(1 + e^x) without overflow, at most 4 ulp in f32.
#[inline(always)]
pub fn softplus<T: Float>(x: T) -> T {
    let log = (-x.abs()).exp().ln_1p();
    if x > T::ZERO { x + log } else { log }
}

/// The density of the normal distribution.
#[inline(always)]
pub fn normal_pdf<T: Float>(x: T) -> T {
    T::of(FRAC_1_SQRT_TAU) * (T::of(-0.5) * x * x).exp()
}

/// 1 / sqrt(2 pi).
pub const FRAC_1_SQRT_TAU: f64 = 0.398_942_280_401_432_7;

/// The largest `|x|` for which [`sin_cos`] is right.
pub const SIN_COS_LIMIT: f64 = 1e4;

/// Sine and cosine, absolute error at most 2e-7, for |x| up to [`SIN_COS_LIMIT`]; NaN for NaN.
#[inline(always)]
pub fn sin_cos(x: f32) -> (f32, f32) {
    let rounded = x.mul_add(std::f32::consts::FRAC_2_PI, ROUND);
    let quadrant = rounded.to_bits();
    let n = rounded - ROUND;
    // pi/2 in three parts, so that the difference is exact for every n in range.
    let r = n.mul_add(-HALF_PI_HIGH, x);
    let r = n.mul_add(-3.139_164_7e-7, r);
    let r = n.mul_add(-5.390_302_5e-15, r);
    let z = r * r;
    let mut s = -1.951_529_6e-4f32;
    s = s.mul_add(z, 8.332_161e-3);
    s = s.mul_add(z, -1.666_665_5e-1);
    let s = (s * z).mul_add(r, r);
    let mut c = 2.443_315_7e-5f32;
    c = c.mul_add(z, -1.388_731_6e-3);
    c = c.mul_add(z, 4.166_664_6e-2);
    let c = c.mul_add(z * z, z.mul_add(-0.5, 1.0));
    let (a, b) = if quadrant & 1 == 0 { (s, c) } else { (c, s) };
    let sin = f32::from_bits(a.to_bits() ^ ((quadrant & 2) << 30));
    let cos = f32::from_bits(b.to_bits() ^ ((quadrant.wrapping_add(1) & 2) << 30));
    (sin, cos)
}

/// Hyperbolic tangent, at most 3 ulp.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let z = x * x;
    let mut p = -5.704_988_7e-3f32;
    p = p.mul_add(z, 2.063_909e-2);
    p = p.mul_add(z, -5.373_971_6e-2);
    p = p.mul_add(z, 1.333_144_2e-1);
    p = p.mul_add(z, -3.333_328e-1);
    let small = (p * z).mul_add(x, x);
    let large = 1.0 - 2.0 / (exp((2.0 * x).clamp(-40.0, 40.0)) + 1.0);
    let y = if x.abs() < 0.625 { small } else { large };
    if x.is_nan() { x } else { y }
}

/// Natural logarithm, at most 2 ulp; subnormal numbers are scaled up first.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits();
    let exponent = ((bits >> 23) & 0xff) as i32 - 126 - if tiny { 23 } else { 0 };
    let m = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let low = m < std::f32::consts::FRAC_1_SQRT_2;
    let e = (exponent - i32::from(low)) as f32;
    let m = if low { m + m } else { m } - 1.0;
    let z = m * m;
    let mut p = 7.037_683_6e-2f32;
    p = p.mul_add(m, -1.151_461e-1);
    p = p.mul_add(m, 1.167_699_9e-1);
    p = p.mul_add(m, -1.242_014_1e-1);
    p = p.mul_add(m, 1.424_932_3e-1);
    p = p.mul_add(m, -1.666_805_8e-1);
    p = p.mul_add(m, 2.000_071_5e-1);
    p = p.mul_add(m, -2.499_999_4e-1);
    p = p.mul_add(m, 3.333_333e-1);
    let y = p * m * z;
    let y = e.mul_add(-2.121_944_4e-4, y);
    let y = z.mul_add(-0.5, y);
    let y = e.mul_add(0.693_359_4, m + y);
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 || x.is_nan() { f32::NAN } else { y }
}

/// ln(1 + x) for x in [0, 1], at most 2 ulp: `2 artanh(x / (2 + x))` by its series, whose terms fall by 9.
#[inline(always)]
pub fn ln_1p(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let z = s * s;
    let mut p = 1.0f32 / 13.0;
    p = p.mul_add(z, 1.0 / 11.0);
    p = p.mul_add(z, 1.0 / 9.0);
    p = p.mul_add(z, 1.0 / 7.0);
    p = p.mul_add(z, 1.0 / 5.0);
    p = p.mul_add(z, 1.0 / 3.0);
    let t = 2.0 * s;
    (t * z).mul_add(p, t)
}

/// `ln erfc(t)` for t > 0.9, by N. Juffa's polynomial: made for t up to 4, still falling beyond.
#[inline(always)]
fn ln_erfc(t: f32) -> f32 {
    let s = t * t;
    let mut r = (-1.728_534_7e-5f32).mul_add(t, 3.831_97e-4);
    let u = (-3.883_964_4e-3f32).mul_add(t, 2.425_462_2e-2);
    r = r.mul_add(s, u);
    r = r.mul_add(t, -1.067_778_8e-1);
    r = r.mul_add(t, -6.348_468_7e-1);
    r = r.mul_add(t, -1.287_175_1e-1);
    r.mul_add(t, -t)
}

/// `erf(x)` for |x| < 0.93.
#[inline(always)]
fn erf_small(x: f32) -> f32 {
    let s = x * x;
    let mut r = -5.967_617e-4f32;
    r = r.mul_add(s, 4.991_194e-3);
    r = r.mul_add(s, -2.676_813_5e-2);
    r = r.mul_add(s, 1.128_199_3e-1);
    r = r.mul_add(s, -3.761_253_4e-1);
    r = r.mul_add(s, 1.283_791_7e-1);
    r.mul_add(x, x)
}

/// Where the two forms of the error function meet.
const ERF_MIDDLE: f32 = 0.927_734_4;

/// Gauss error function, at most 2 ulp.
#[inline(always)]
pub fn erf32(x: f32) -> f32 {
    let t = x.abs();
    // Beyond 4 it is 1; the polynomial would come back.
    let large = (1.0 - exp(ln_erfc(t.min(4.0)))).copysign(x);
    let y = if t > ERF_MIDDLE { large } else { erf_small(x) };
    if x.is_nan() { x } else { y }
}

/// The normal distribution function, absolute error at most 2e-7: by a quotient of polynomials, without e^x, as the
/// activation of a network needs no more (Eigen's coefficients for erf).
#[inline(always)]
pub fn normal_cdf32(x: f32) -> f32 {
    let t = x * std::f32::consts::FRAC_1_SQRT_2;
    let c = t.clamp(-4.0, 4.0);
    let z = c * c;
    let mut p = -2.726_142_3e-10f32;
    p = p.mul_add(z, 2.770_681_4e-8);
    p = p.mul_add(z, -2.101_024e-6);
    p = p.mul_add(z, -5.692_506_4e-5);
    p = p.mul_add(z, -7.349_906_3e-4);
    p = p.mul_add(z, -2.954_6e-3);
    p = p.mul_add(z, -1.609_603_3e-2);
    let mut q = -1.456_607_2e-5f32;
    q = q.mul_add(z, -2.133_740_6e-4);
    q = q.mul_add(z, -1.682_827e-3);
    q = q.mul_add(z, -7.373_329e-3);
    q = q.mul_add(z, -1.426_473_9e-2);
    let y = (c * p / q).mul_add(0.5, 0.5);
    // Exactly 0 and 1 at the ends: x times it must vanish far below.
    let y = if t <= -4.0 { 0.0 } else { y };
    if t >= 4.0 { 1.0 } else { y }
}

/// Gauss error function in f64 by its series and continued fraction, absolute error below 1e-14.
pub fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let a = x.abs();
    let y = if a > 6.0 {
        1.0
    } else if a < 2.5 {
        // erf(a) = 2/sqrt(pi) exp(-a^2) sum_n 2^n a^(2n+1) / (2n+1)!!
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term > 1e-17 * sum {
            n += 1.0;
            term *= 2.0 * a * a / (2.0 * n + 1.0);
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-a * a).exp() * sum
    } else {
        // erfc(a) = exp(-a^2)/sqrt(pi) / (a + (1/2)/(a + (2/2)/(a + (3/2)/(a + ...))))
        let tail = (1..=60).rev().fold(a, |f, k| a + f64::from(k) / 2.0 / f);
        1.0 - (-a * a).exp() * std::f64::consts::FRAC_2_SQRT_PI / 2.0 / tail
    };
    y.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulps(got: f32, exact: f64) -> f64 {
        let near = exact as f32;
        let ulp = f64::from(f32::from_bits(near.abs().to_bits() + 1)) - f64::from(near.abs());
        (f64::from(got) - exact).abs() / ulp
    }

    fn sweep(low: f64, high: f64, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let n = 400_000;
        (0..n)
            .map(|i| (low + (high - low) * f64::from(i) / f64::from(n)) as f32)
            .map(|x| ulps(f(x), exact(f64::from(x))))
            .fold(0.0, f64::max)
    }

    #[test]
    fn errors_are_within_the_stated_ulps() {
        assert!(sweep(-103.9, 88.7, exp, f64::exp) <= 2.0);
        assert!(sweep(-4.5, 4.5, erf32, erf) <= 2.0);
        assert!(sweep(0.0, 1.0, ln_1p, f64::ln_1p) <= 2.0);
        assert!(sweep(1e-45, 1e-38, ln, f64::ln) <= 2.0);
        let exact = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(sweep(-103.0, 30.0, sigmoid::<f32>, exact) <= 4.0);
        let exact = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        assert!(sweep(-100.0, 100.0, softplus::<f32>, exact) <= 4.0);
        assert!(sweep(1e-30, 1.0, ln, f64::ln) <= 2.0);
        assert!(sweep(1.0, 1e20, ln, f64::ln) <= 2.0);
        assert!(sweep(-10.0, 10.0, tanh, f64::tanh) <= 3.0);
        let worst = (0..400_000)
            .map(|i| (f64::from(i) * 0.05 - 1e4) as f32)
            .fold(0.0f64, |w, x| {
                let (s, c) = sin_cos(x);
                let (es, ec) = f64::from(x).sin_cos();
                w.max((f64::from(s) - es).abs())
                    .max((f64::from(c) - ec).abs())
            });
        assert!(worst <= 2e-7, "{worst}");
    }

    #[test]
    fn special_values() {
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-103.9), f32::from_bits(1));
        assert_eq!(exp(-104.5), 0.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!(sigmoid(-100.0f32) > 0.0 && sigmoid(f32::NAN).is_nan());
        assert_eq!(softplus(f32::NEG_INFINITY), 0.0);
        assert_eq!(softplus(f32::INFINITY), f32::INFINITY);
        assert!(softplus(f32::NAN).is_nan());
        assert_eq!(erf32(f32::INFINITY), 1.0);
        assert_eq!(erf32(f32::NEG_INFINITY), -1.0);
        assert_eq!(erf32(f32::from_bits(1)), f32::from_bits(1));
        assert!(erf32(f32::NAN).is_nan() && normal_cdf32(f32::NAN).is_nan());
        assert_eq!(normal_cdf32(f32::INFINITY), 1.0);
        assert_eq!(normal_cdf32(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(89.0), f32::INFINITY);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan() && ln(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        assert_eq!(ln(0.0), f32::NEG_INFINITY);
        assert!(ln(-1.0).is_nan());
        assert_eq!(ln(f32::INFINITY), f32::INFINITY);
        assert!((ln(1e-40) - (1e-40f64).ln() as f32).abs() < 1e-4);
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert!(sin_cos(f32::NAN).0.is_nan());
        assert!((1e8f32.sin_cos_far().0 - (1e8f64).sin() as f32).abs() < 1e-6);
    }

    #[test]
    fn the_normal_distribution_function_is_near_everywhere() {
        let worst = (0..100_000)
            .map(|i| (f64::from(i) * 1.6e-4 - 8.0) as f32)
            .map(|x| (f64::from(normal_cdf32(x)) - f64::from(x).normal_cdf()).abs())
            .fold(0.0, f64::max);
        assert!(worst <= 2e-7, "{worst}");
        assert_eq!(normal_cdf32(-1e6), 0.0);
        assert_eq!(normal_cdf32(0.0), 0.5);
    }

    #[test]
    fn erf_agrees_with_known_values() {
        for (x, y) in [
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (3.0, 0.999_977_909_503_001_4),
        ] {
            assert!((erf(x) - y).abs() < 1e-14 && (erf(-x) + y).abs() < 1e-14);
        }
        assert!((erf(2.4999999) - erf(2.5000001)).abs() < 1e-9);
    }
}
