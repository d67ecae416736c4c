//! The two precisions of a run.

mod lane;

use crate::registry::{Build, Entry, Family};

pub use lane::Lane;

/// A real number of the run: `f32` or `f64`, little-endian on the wire and in files.
pub trait Scalar:
    ndarray::NdFloat + num_traits::FromPrimitive + bytemuck::Pod + Default + std::iter::Sum + lane::Lane
{
    /// Name in the config key `precision`.
    const NAME: &'static str;
    /// Bytes of one number on the wire.
    const BYTES: usize;

    /// A constant of a formula in this precision (rounded to nearest).
    fn lit(value: f64) -> Self;

    /// The same number in double precision; exact for both precisions.
    fn wide(self) -> f64;

    /// An integer that orders like `|self|`: the bits without the sign. NaN sorts above infinity.
    fn magnitude(self) -> u64;

    /// max(0, self), without a branch; NaN stays NaN.
    #[inline(always)]
    fn positive_part(self) -> Self {
        if self < Self::zero() { Self::zero() } else { self }
    }

    /// Hyperbolic tangent: a loop over it becomes vector instructions in single precision.
    fn fast_tanh(self) -> Self;

    /// e^self within 2 units in the last place: a loop over it becomes vector instructions. At least
    /// the smallest normal number, and infinite from about half of the largest on.
    fn fast_exp(self) -> Self;

    /// This precision's constructor of a registered kind.
    fn build_of<T: Family>(entry: &Entry<T>) -> Build<T, Self>;
}

/// e^x = 2^n e^r with n the integer nearest to x / log 2, and e^r by its Taylor series: |r| is at most
/// log(2) / 2. `$log2` is log 2 in two parts, the first of so few bits that n times it is exact.
macro_rules! fast_exp {
    ($x:expr, $float:ty, $range:expr, $log2:expr, $bias:literal, $terms:literal) => {{
        const DIGITS: u32 = <$float>::MANTISSA_DIGITS - 1;
        // Where numbers are 1 apart, an addition rounds to integers.
        const INTEGERS: $float = 1.5 * (1u64 << DIGITS) as $float;
        const INVERSE_FACTORIALS: [$float; $terms] = {
            let (mut inverse, mut factorial, mut k) = ([1.0; $terms], 1.0, 1);
            while k < $terms {
                factorial *= k as f64;
                inverse[k] = (1.0 / factorial) as $float;
                k += 1;
            }
            inverse
        };
        let x = $x.clamp($range.0, $range.1);
        let sum = x * std::f64::consts::LOG2_E as $float + INTEGERS;
        let n = sum - INTEGERS;
        let r = (x - n * $log2.0) - n * $log2.1;
        let series = INVERSE_FACTORIALS.iter().rev().fold(0.0, |sum, &c| sum * r + c);
        // The low bits of the sum are n; 2^n has n + bias for its exponent.
        let power = (sum.to_bits() << DIGITS).wrapping_add($bias << DIGITS);
        series * <$float>::from_bits(power)
    }};
}

#[cfg(target_endian = "big")]
compile_error!("packets and files are little-endian and are written without conversion");

impl Scalar for f32 {
    const NAME: &'static str = "f32";
    const BYTES: usize = 4;
    fn lit(value: f64) -> Self {
        value as f32
    }
    fn wide(self) -> f64 {
        f64::from(self)
    }
    fn magnitude(self) -> u64 {
        u64::from(self.to_bits() & 0x7fff_ffff)
    }
    /// The rational function of Eigen's `ptanh` (odd, of degree 13 over 6), within 4 units in the
    /// last place; constant where single precision rounds to +-1.
    #[inline(always)]
    fn fast_tanh(self) -> Self {
        const ODD: [f32; 7] = [
            -2.760_768_5e-16,
            2.000_188e-13,
            -8.604_672e-11,
            5.122_297e-8,
            1.485_722_4e-5,
            6.372_619_3e-4,
            4.893_524_6e-3,
        ];
        const EVEN: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
        let x = self.clamp(-7.905_311, 7.905_311);
        let square = x * x;
        let horner = |c: &[f32]| c.iter().fold(0.0, |sum, &c| sum * square + c);
        x * horner(&ODD) / horner(&EVEN)
    }
    #[inline(always)]
    fn fast_exp(self) -> Self {
        fast_exp!(self, f32, (-87.3, 89.0), (355.0 / 512.0, -2.121_944_4e-4), 127, 8)
    }
    fn build_of<T: Family>(entry: &Entry<T>) -> Build<T, Self> {
        entry.build_f32
    }
}

impl Scalar for f64 {
    const NAME: &'static str = "f64";
    const BYTES: usize = 8;
    fn lit(value: f64) -> Self {
        value
    }
    fn wide(self) -> f64 {
        self
    }
    fn magnitude(self) -> u64 {
        self.to_bits() & 0x7fff_ffff_ffff_ffff
    }
    #[inline(always)]
    fn fast_tanh(self) -> Self {
        self.tanh()
    }
    #[inline(always)]
    fn fast_exp(self) -> Self {
        const LOG2: (f64, f64) = (6.931_457_519_531_25e-1, 1.428_606_820_309_417_2e-6);
        fast_exp!(self, f64, (-708.3, 710.0), LOG2, 1023, 14)
    }
    fn build_of<T: Family>(entry: &Entry<T>) -> Build<T, Self> {
        entry.build_f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_tanh_is_accurate_and_odd() {
        let mut worst = 0.0f64;
        for i in -200_000..=200_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).tanh();
            let off = (f64::from(x.fast_tanh()) - exact).abs() / exact.abs().max(1e-30);
            worst = worst.max(if x == 0.0 { 0.0 } else { off });
            assert_eq!(x.fast_tanh(), -(-x).fast_tanh());
        }
        assert!(worst < 4.0 * f64::from(f32::EPSILON), "{worst:e}");
        assert!(f32::NAN.fast_tanh().is_nan() && 30f32.fast_tanh() <= 1.0);
    }

    #[test]
    fn fast_exp_is_accurate_up_to_its_limits() {
        let (mut single, mut double) = (0.0f64, 0.0f64);
        for i in -100_000..=100_000 {
            let x = f64::from(i) * 1e-5;
            let of_single = (x * 87.0) as f32;
            let exact = f64::from(of_single).exp();
            single = single.max((f64::from(of_single.fast_exp()) / exact - 1.0).abs());
            let of_double = x * 708.0;
            double = double.max((of_double.fast_exp() / of_double.exp() - 1.0).abs());
        }
        assert!(single < 2.0 * f64::from(f32::EPSILON), "{single:e}");
        assert!(double < 2.0 * f64::EPSILON, "{double:e}");
        assert_eq!((0f32.fast_exp(), 0f64.fast_exp()), (1.0, 1.0));
        assert!(f32::NAN.fast_exp().is_nan() && f64::NAN.fast_exp().is_nan());
        assert_eq!((1e30f32.fast_exp(), 1e300.fast_exp()), (f32::INFINITY, f64::INFINITY));
        assert!((-1e30f32).fast_exp() >= f32::MIN_POSITIVE && (-1e30f32).fast_exp() < 2e-38);
        assert!((-1e300).fast_exp() >= f64::MIN_POSITIVE && (-1e300).fast_exp() < 5e-308);
    }
}
