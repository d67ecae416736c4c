//! The two precisions of a run.

use crate::registry::{Build, Entry, Family};

/// A real number of the run: `f32` or `f64`, little-endian on the wire and in files.
pub trait Scalar:
    ndarray::NdFloat + num_traits::FromPrimitive + bytemuck::Pod + Default + std::iter::Sum
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
    fn build_of<T: Family>(entry: &Entry<T>) -> Build<T, Self> {
        entry.build_f64
    }
}
