//! Random supports: which coordinates a sparsifier sends, as a function of the key alone.
//!
//! The sender gathers and the receiver scatters the values of one and the same support, so that no
//! index travels. Indices come in ascending blocks of a few hundred that stay in the first-level
//! cache; no list of all of them is ever made.
//!
//! Hot loops are plain `for` loops: closures handed to `map` or `fold` may end up in a function of
//! their own, which is then compiled for the baseline alone.

mod bitmap;
mod stratified;
mod uniform;

pub use bitmap::Bitmap;
pub use stratified::Stratified;
pub use uniform::Uniform;

use crate::key::{LANES, Lanes};
use crate::scalar::Scalar;

/// Indices of a block; a block may be longer by less than one word of a bitmap.
const INDEX_BLOCK: usize = 512;

/// Appends v_j for each of the indices; whether all of these are finite.
#[inline(always)]
pub fn gather<F: Scalar>(v: &[F], indices: &[u32], out: &mut Vec<u8>) -> bool {
    let mut finite = true;
    let (groups, rest) = indices.as_chunks::<LANES>();
    for group in groups {
        let mut values = [F::zero(); LANES];
        for (value, &j) in values.iter_mut().zip(group) {
            *value = v[j as usize];
        }
        for value in &values {
            finite &= value.is_finite();
        }
        out.extend_from_slice(bytemuck::cast_slice(&values));
    }
    for &j in rest {
        finite &= v[j as usize].is_finite();
        out.extend_from_slice(bytemuck::bytes_of(&v[j as usize]));
    }
    finite
}

/// out_j += scale v for each of the indices and the next of the values, which are taken off.
#[inline(always)]
pub fn scatter_add<F: Scalar>(values: &mut &[u8], indices: &[u32], scale: F, out: &mut [F]) {
    let taken = values.split_off(..indices.len() * F::BYTES).unwrap_or_default();
    for (&j, v) in indices.iter().zip(taken.chunks_exact(F::BYTES)) {
        out[j as usize] += scale * bytemuck::pod_read_unaligned::<F>(v);
    }
}

/// A draw on 0..bound, exactly uniform: the high half of draw * bound, where draws whose low half is
/// below 2^32 mod bound are rejected (Lemire, ACM TOMACS 2019).
fn below(bound: u32, lanes: &mut Lanes) -> u32 {
    let reject_below = bound.wrapping_neg() % bound;
    loop {
        let products = lanes.draw().map(|draw| u64::from(draw) * u64::from(bound));
        if let Some(fair) = products.iter().find(|&&product| product as u32 >= reject_below) {
            return (fair >> 32) as u32;
        }
    }
}

/// A dimension as the samplers count.
fn dimension(dim: usize) -> u32 {
    u32::try_from(dim).expect("the plan bounds dimensions by 2^32")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Key, Stream};

    pub fn key(iteration: u64) -> Key {
        Key { iteration, ..Key::shared(5, Stream::CompressX) }
    }

    /// A sampler: (dim, count, iteration) to the indices.
    type Sampler = fn(usize, usize, u64) -> Vec<u32>;

    /// Size and order.
    pub fn check_support(subset: Sampler) {
        for dim in [1, 2, 63, 64, 65, 128, 1000, 5003] {
            for count in [1, 2, dim / 3, dim / 2, dim / 2 + 1, dim - 1, dim] {
                let count = count.clamp(1, dim);
                for iteration in 0..5 {
                    let indices = subset(dim, count, iteration);
                    assert_eq!(indices.len(), count, "{count} of {dim}");
                    assert!(indices.windows(2).all(|pair| pair[0] < pair[1]), "{count} of {dim}");
                    assert!((indices[count - 1] as usize) < dim, "{count} of {dim}");
                }
            }
        }
    }

    /// Chi-square of how often each coordinate is drawn. For supports of one size the statistic has
    /// d - 1 degrees of freedom once it is divided by 1 - K/d.
    pub fn coordinate_counts(subset: Sampler, dim: usize, count: usize) {
        let (draws, p) = (4000u64, count as f64 / dim as f64);
        let mut counts = vec![0u32; dim];
        for iteration in 0..draws {
            subset(dim, count, iteration).iter().for_each(|&j| counts[j as usize] += 1);
        }
        let mean = draws as f64 * p;
        let terms = counts.iter().map(|&c| (f64::from(c) - mean).powi(2) / (mean * (1.0 - p)));
        let (chi2, freedom) = (terms.sum::<f64>(), dim as f64 - 1.0);
        let off = (chi2 * freedom / dim as f64 - freedom) / (2.0 * freedom).sqrt();
        assert!(off.abs() < 5.0, "{count} of {dim}: chi-square {chi2}, {off} deviations off");
    }

    #[test]
    fn draws_below_a_bound_are_uniform() {
        let mut lanes = key(0).lanes();
        let mut counts = [0u32; 7];
        for _ in 0..7000 {
            counts[below(7, &mut lanes) as usize] += 1;
        }
        let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi2 < 24.0, "chi-square {chi2} at 6 degrees of freedom");
    }
}
