//! Scales of vectors: their largest and smallest magnitude, norm and binade.

use super::lane;
use crate::compressors::NotFinite;
use crate::packet::DecodeError;
use crate::scalar::Scalar;

/// The largest |v_j|, or 0. One pass, which also sees what is not finite.
#[inline(always)]
pub fn largest<F: Scalar>(v: &[F]) -> Result<F, NotFinite> {
    let most = lane::fold(
        v,
        F::zero(),
        #[inline(always)]
        |v| v.to_magnitude(),
        #[inline(always)]
        |a, b| a.max(b),
    );
    let largest = F::of_magnitude(most);
    if largest.is_finite() { Ok(largest) } else { Err(NotFinite) }
}

/// The smallest |v_j|, or infinity.
#[inline(always)]
pub fn smallest<F: Scalar>(v: &[F]) -> F {
    let least = lane::fold(
        v,
        F::infinity(),
        #[inline(always)]
        |v| v.to_magnitude(),
        #[inline(always)]
        |a, b| a.min(b),
    );
    F::of_magnitude(least)
}

/// 2^exponent for a representable power, subnormal ones included.
pub fn power_of_two(exponent: i32) -> f64 {
    match exponent {
        ..-1022 => f64::from_bits(1 << (exponent + 1074)),
        _ => f64::from_bits(((exponent + 1023) as u64) << 52),
    }
}

/// The e with 2^(e-1) <= v < 2^e, for v > 0.
pub fn binade(v: f64) -> i32 {
    let bits = v.to_bits();
    match (bits >> 52) as i32 {
        0 => -1010 - bits.leading_zeros() as i32,
        field => field - 1022,
    }
}

/// Multiplication by 2^-binade in two steps, exact but for what becomes subnormal: 2^-binade itself
/// may overflow (of subnormal numbers) or be subnormal (of huge ones).
#[derive(Clone, Copy, Debug)]
pub struct Unit<F> {
    /// The first factor.
    pub first: F,
    /// The second factor.
    pub second: F,
}

impl<F: Scalar> Unit<F> {
    /// The factors that take `largest` into [1/2, 1).
    pub fn of(largest: F) -> Self {
        let binade = if largest == F::zero() { 0 } else { binade(largest.wide()) };
        let half = -binade / 2;
        Self { first: F::lit(power_of_two(half)), second: F::lit(power_of_two(-binade - half)) }
    }
}

/// The Euclidean norm, rounded so that it is not below the largest |v_j|.
///
/// The sum runs over 16 lanes in double precision, of numbers scaled to at most 1. It fails, too, if
/// the norm is above the largest number.
#[inline(always)]
pub fn norm<F: Scalar>(v: &[F]) -> Result<F, NotFinite> {
    let largest = largest(v)?;
    let unit = Unit::of(largest);
    let mut lanes = [0.0; 16];
    for chunk in v.chunks(16) {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            let v = (v * unit.first * unit.second).wide();
            *lane += v * v;
        }
    }
    let sum: f64 = lanes.iter().sum();
    let norm = F::lit(sum.sqrt()) / unit.second / unit.first;
    if norm.is_finite() { Ok(norm.max(largest)) } else { Err(NotFinite) }
}

/// A scale from a payload: finite and not negative.
pub fn read_scale<F: Scalar>(bytes: &[u8]) -> Result<F, DecodeError> {
    let scale: F = bytemuck::pod_read_unaligned(bytes);
    if scale.is_finite() && !scale.is_sign_negative() {
        return Ok(scale);
    }
    let found = scale.magnitude();
    Err(DecodeError::Field { field: "bits of a scale", found, expected: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binades_and_powers_are_exact() {
        for exponent in -1074..=1023 {
            let power = power_of_two(exponent);
            assert_eq!(power, 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2));
            assert_eq!(binade(power), exponent + 1);
            assert_eq!(binade(power.next_up()), exponent + if exponent == -1074 { 2 } else { 1 });
        }
        assert_eq!(binade(f64::MAX), 1024);
    }

    #[test]
    fn units_take_the_largest_to_one() {
        for v in [f32::MAX, 1.0, 0.3, f32::MIN_POSITIVE, f32::from_bits(1), f32::from_bits(77)] {
            let unit = Unit::of(v);
            assert!((0.5..1.0).contains(&(v * unit.first * unit.second)), "{v:e}");
        }
        for v in [f64::MAX, 1e-300, f64::from_bits(1), f64::from_bits(77)] {
            let unit = Unit::of(v);
            assert!((0.5..1.0).contains(&(v * unit.first * unit.second)), "{v:e}");
        }
    }

    #[test]
    fn the_largest_magnitude_is_found_at_every_place() {
        for dim in [1, 63, 64, 65, 200] {
            for at in 0..dim {
                let mut v = vec![0.5f32; dim];
                v[at] = -2.0;
                assert_eq!(largest(&v), Ok(2.0));
                assert_eq!(smallest(&v), if dim == 1 { 2.0 } else { 0.5 });
                v[at] = -0.25;
                assert_eq!(smallest(&v), 0.25);
                for bad in [f32::NAN, f32::NEG_INFINITY] {
                    v[at] = bad;
                    assert_eq!(largest(&v), Err(NotFinite));
                }
            }
        }
        assert_eq!(largest::<f64>(&[]), Ok(0.0));
    }

    #[test]
    fn norms_are_right_at_the_ends_of_the_range() {
        for size in [1.0, f32::MAX / 16.0, f32::MIN_POSITIVE] {
            let found = norm(&[3.0 * size, -4.0 * size, 0.0]).expect("a finite norm");
            assert!((found / size - 5.0).abs() < 1e-6, "{found:e}");
        }
        assert_eq!(norm(&[f64::from_bits(1)]), Ok(f64::from_bits(1)));
        assert_eq!(norm(&[0.0f32; 3]), Ok(0.0));
        assert_eq!(norm(&[f32::MAX; 2]), Err(NotFinite));
        assert_eq!(norm(&[f64::NAN, 1.0]), Err(NotFinite));
    }
}
