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

    /// This precision's constructor of a registered kind.
    fn build_of<T: Family>(entry: &Entry<T>) -> Build<T, Self>;
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
}
