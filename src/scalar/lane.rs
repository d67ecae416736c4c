//! What loops over packed numbers do to the bits of one, in a form that compiles to vector
//! instructions.

/// A number as a lane of a vector register.
pub trait Lane: Copy {
    /// The bits without the sign; they order like the absolute values.
    type Magnitude: Copy + Ord + Default;

    /// The bits without the sign.
    fn to_magnitude(self) -> Self::Magnitude;

    /// The non-negative number with these bits.
    fn of_magnitude(bits: Self::Magnitude) -> Self;

    /// 1 if the sign bit is set, else 0.
    fn sign_bit(self) -> u32;

    /// An integer below 2^24, exactly.
    fn of_int(n: i32) -> Self;

    /// The nearest integer, ties to even, for |self| < 2^21: as it is, and in the low 16
    /// bits of a word.
    fn nearest(self) -> (Self, u32);

    /// 1 + n / 2^23 for n < 2^23, exactly.
    #[inline(always)]
    fn one_plus(n: u32) -> Self {
        Self::of_single(f32::from_bits(0x3f80_0000 | n))
    }

    /// In single precision.
    fn to_single(self) -> f32;

    /// From single precision, exactly.
    fn of_single(v: f32) -> Self;

    /// The next number below a positive one.
    fn below(self) -> Self;
}

macro_rules! lane {
    ($float:ty, $signed:ty, $integers:expr) => {
        impl Lane for $float {
            type Magnitude = $signed;

            #[inline(always)]
            fn to_magnitude(self) -> $signed {
                self.to_bits() as $signed & <$signed>::MAX
            }

            #[inline(always)]
            fn of_magnitude(bits: $signed) -> Self {
                Self::from_bits(bits as _)
            }

            #[inline(always)]
            fn sign_bit(self) -> u32 {
                (self.to_bits() >> (<$signed>::BITS - 1)) as u32
            }

            #[inline(always)]
            fn of_int(n: i32) -> Self {
                n as Self
            }

            #[inline(always)]
            fn nearest(self) -> (Self, u32) {
                // Where numbers are 1 apart an addition rounds to integers, and the low bits of
                // the sum are the integer's. The half keeps negative ones in the same binade.
                let sum = self + 1.5 * $integers;
                (sum - 1.5 * $integers, sum.to_bits() as u32)
            }

            #[inline(always)]
            fn to_single(self) -> f32 {
                self as f32
            }

            #[inline(always)]
            fn of_single(v: f32) -> Self {
                Self::from(v)
            }

            fn below(self) -> Self {
                self.next_down()
            }
        }
    };
}

lane!(f32, i32, (1u32 << 23) as f32);
lane!(f64, i64, (1u64 << 52) as f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rounds_ties_to_even() {
        for (v, n) in [(0.5, 0), (1.5, 2), (-0.5, 0), (-0.75, -1), (32767.0, 32767), (2.25, 2)] {
            let (single, low) = (v as f32).nearest();
            assert_eq!((single, low as i16), (f32::from(n), n), "{v}");
            let (double, low) = f64::nearest(v);
            assert_eq!((double, low as i16), (f64::from(n), n), "{v}");
        }
    }
}
