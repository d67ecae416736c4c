//! Stream compaction: the entries whose magnitude reaches a threshold, in order and without gaps.
//!
//! The one file with vector intrinsics: no loop that a compiler vectorises closes gaps. AVX-512 has an
//! instruction for it; AVX2 permutes by a table with one row per mask of 8 entries. Magnitudes
//! compare as integers, so that the result is the same on every processor, NaN included.

use crate::scalar::Scalar;
use crate::simd::Level;

/// Entries that may be written behind the last one that counts: outputs need this much room.
pub const SLACK: usize = 16;

/// Writes j + `offset` and v_j of each |v_j| >= `least` to the front of `indices` and `values`, in
/// the order of j. Returns how many there are, or `None` if they do not fit with [`SLACK`] to spare.
pub fn at_least<F: Scalar>(
    v: &[F],
    offset: u32,
    least: u64,
    indices: &mut [u32],
    values: &mut [F],
) -> Option<usize> {
    let room = indices.len().min(values.len());
    #[cfg(target_arch = "x86_64")]
    if let Some(least) = single::<F>(least) {
        let (v, values) = (bytemuck::cast_slice(v), bytemuck::cast_slice_mut(values));
        // SAFETY: the processor has the instructions of the level in use.
        match Level::current() {
            Level::Avx512 => return unsafe { avx512::at_least(v, offset, least, indices, values) },
            Level::Avx2 => return unsafe { avx2::at_least(v, offset, least, indices, values) },
            Level::Baseline => {}
        }
    }
    let mut found = 0;
    let mut index = offset;
    for chunk in v.chunks(SLACK) {
        if found + SLACK > room {
            return None;
        }
        for &v in chunk {
            (indices[found], values[found]) = (index, v);
            found += usize::from(v.magnitude() >= least);
            index = index.wrapping_add(1);
        }
    }
    (found + SLACK <= room).then_some(found)
}

/// Keeps of the pairs those with |value| >= `least`, in order, and returns how many they are.
pub fn shrink<F: Scalar>(least: u64, indices: &mut [u32], values: &mut [F]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if let Some(least) = single::<F>(least) {
        let values = bytemuck::cast_slice_mut(values);
        // SAFETY: the processor has the instructions of the level in use.
        match Level::current() {
            Level::Avx512 => return unsafe { avx512::shrink(least, indices, values) },
            Level::Avx2 => return unsafe { avx2::shrink(least, indices, values) },
            Level::Baseline => {}
        }
    }
    shrink_from(0, 0, indices, values, |v| v.magnitude() >= least)
}

/// Copies the values with |value| < `bound` to the front of `out` in order and returns how many they
/// are.
///
/// # Panics
/// If `out` is not longer than `values` by [`SLACK`].
pub fn below<F: Scalar>(values: &[F], bound: u64, out: &mut [F]) -> usize {
    assert!(out.len() >= values.len() + SLACK);
    #[cfg(target_arch = "x86_64")]
    if let Some(bound) = single::<F>(bound) {
        let (values, out) = (bytemuck::cast_slice(values), bytemuck::cast_slice_mut(out));
        // SAFETY: the processor has the instructions of the level in use; `out` is long enough.
        match Level::current() {
            Level::Avx512 => return unsafe { avx512::below(values, bound, out) },
            Level::Avx2 => return unsafe { avx2::below(values, bound, out) },
            Level::Baseline => {}
        }
    }
    let mut found = 0;
    for &v in values {
        out[found] = v;
        found += usize::from(v.magnitude() < bound);
    }
    found
}

/// The threshold for single precision, where there are kernels; magnitudes are below 2^31.
#[cfg(target_arch = "x86_64")]
fn single<F: Scalar>(threshold: u64) -> Option<u32> {
    (F::BYTES == 4).then_some(threshold.min(1 << 31) as u32)
}

/// [`shrink`] of the pairs from `from` on, behind the first `kept`.
fn shrink_from<V: Copy>(
    mut kept: usize,
    from: usize,
    indices: &mut [u32],
    values: &mut [V],
    keep: impl Fn(V) -> bool,
) -> usize {
    for at in from..values.len() {
        let v = values[at];
        (indices[kept], values[kept]) = (indices[at], v);
        kept += usize::from(keep(v));
    }
    kept
}

/// The bits of a single-precision number without its sign.
#[cfg(target_arch = "x86_64")]
const MAGNITUDE: u32 = 0x7fff_ffff;

/// Defines the three kernels for vectors of `LANES` entries from the set's `load`, `store`, `reach`
/// (mask of the lanes with |v| >= the threshold) and `close` (moves the lanes of a mask to the front).
#[cfg(target_arch = "x86_64")]
macro_rules! kernels {
    ($features:literal) => {
        /// # Safety
        /// The processor has the instructions.
        #[target_feature(enable = $features)]
        pub unsafe fn at_least(
            v: &[u32],
            offset: u32,
            least: u32,
            indices: &mut [u32],
            values: &mut [u32],
        ) -> Option<usize> {
            let room = indices.len().min(values.len());
            let threshold = splat(least);
            let mut lanes = first_lanes(offset);
            let mut found = 0;
            let (chunks, rest) = v.as_chunks::<LANES>();
            for chunk in chunks {
                let v = load(chunk);
                let mask = reach(v, threshold);
                if found + SLACK > room {
                    return None;
                }
                // SAFETY: there is room for a vector behind `found` in both.
                unsafe {
                    store(indices.as_mut_ptr().add(found), close(mask, lanes));
                    store(values.as_mut_ptr().add(found), close(mask, v));
                }
                found += mask.count_ones() as usize;
                lanes = next_lanes(lanes);
            }
            if found + SLACK > room {
                return None;
            }
            let first = v.len() - rest.len();
            for (at, &v) in rest.iter().enumerate() {
                indices[found] = offset.wrapping_add((first + at) as u32);
                values[found] = v;
                found += usize::from(v & MAGNITUDE >= least);
            }
            (found + SLACK <= room).then_some(found)
        }

        /// # Safety
        /// The processor has the instructions.
        #[target_feature(enable = $features)]
        pub unsafe fn shrink(least: u32, indices: &mut [u32], values: &mut [u32]) -> usize {
            let count = values.len();
            assert!(indices.len() >= count);
            let threshold = splat(least);
            let (mut kept, mut at) = (0, 0);
            while at + LANES <= count {
                // SAFETY: a vector from `at` is in bounds, and kept <= at: what is written has been
                // read.
                unsafe {
                    let v = load(&*values.as_ptr().add(at).cast());
                    let index = load(&*indices.as_ptr().add(at).cast());
                    let mask = reach(v, threshold);
                    store(indices.as_mut_ptr().add(kept), close(mask, index));
                    store(values.as_mut_ptr().add(kept), close(mask, v));
                    kept += mask.count_ones() as usize;
                }
                at += LANES;
            }
            super::shrink_from(kept, at, indices, values, |v| v & MAGNITUDE >= least)
        }

        /// # Safety
        /// The processor has the instructions; `out` is longer than `values` by `SLACK`.
        #[target_feature(enable = $features)]
        pub unsafe fn below(values: &[u32], bound: u32, out: &mut [u32]) -> usize {
            let threshold = splat(bound);
            let mut found = 0;
            let (chunks, rest) = values.as_chunks::<LANES>();
            for chunk in chunks {
                let v = load(chunk);
                let mask = !reach(v, threshold);
                // SAFETY: `found` is at most the number of values read, and `out` has a vector more.
                unsafe { store(out.as_mut_ptr().add(found), close(mask, v)) };
                found += mask.count_ones() as usize;
            }
            for &v in rest {
                out[found] = v;
                found += usize::from(v & MAGNITUDE < bound);
            }
            found
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{MAGNITUDE, SLACK};

    const LANES: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn splat(v: u32) -> __m512i {
        _mm512_set1_epi32(v as i32)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn first_lanes(offset: u32) -> __m512i {
        let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        _mm512_add_epi32(lanes, splat(offset))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn next_lanes(lanes: __m512i) -> __m512i {
        _mm512_add_epi32(lanes, splat(LANES as u32))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(from: &[u32; LANES]) -> __m512i {
        // SAFETY: an unaligned load of the array.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(to: *mut u32, v: __m512i) {
        // SAFETY: the caller has checked the room.
        unsafe { _mm512_storeu_si512(to.cast(), v) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn reach(v: __m512i, threshold: __m512i) -> u16 {
        _mm512_cmpge_epu32_mask(_mm512_and_si512(v, splat(MAGNITUDE)), threshold)
    }

    /// To a register, then all of it is stored: compressing into memory is slow on some processors.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn close(mask: u16, v: __m512i) -> __m512i {
        _mm512_maskz_compress_epi32(mask, v)
    }

    kernels!("avx512f,popcnt");
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{MAGNITUDE, SLACK};

    const LANES: usize = 8;

    /// Row m: the positions of the bits of m, then zeros.
    static FRONT: [[u32; LANES]; 256] = {
        let mut table = [[0; LANES]; 256];
        let mut mask = 0;
        while mask < 256 {
            let (mut lane, mut found) = (0, 0);
            while lane < LANES {
                if mask >> lane & 1 == 1 {
                    table[mask][found] = lane as u32;
                    found += 1;
                }
                lane += 1;
            }
            mask += 1;
        }
        table
    };

    #[inline]
    #[target_feature(enable = "avx2")]
    fn splat(v: u32) -> __m256i {
        _mm256_set1_epi32(v as i32)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn first_lanes(offset: u32) -> __m256i {
        _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), splat(offset))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn next_lanes(lanes: __m256i) -> __m256i {
        _mm256_add_epi32(lanes, splat(LANES as u32))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(from: &[u32; LANES]) -> __m256i {
        // SAFETY: an unaligned load of the array.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store(to: *mut u32, v: __m256i) {
        // SAFETY: the caller has checked the room.
        unsafe { _mm256_storeu_si256(to.cast(), v) }
    }

    /// There is no unsigned comparison: |v| >= t is not t > |v|, with t = 2^31 read as -2^31 and
    /// therefore replaced by 2^31 - 1 and |v| by |v| - 1 on both sides.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn reach(v: __m256i, threshold: __m256i) -> u8 {
        let v = _mm256_and_si256(v, splat(MAGNITUDE));
        let under = _mm256_sub_epi32(threshold, splat(1));
        _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(v, under))) as u8
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn close(mask: u8, v: __m256i) -> __m256i {
        _mm256_permutevar8x32_epi32(v, load(&FRONT[usize::from(mask)]))
    }

    kernels!("avx2,popcnt");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All levels agree with a filter, at every length around the vectors'.
    #[test]
    fn kernels_are_filters() {
        let _alone = crate::compressors::codec::one_level_at_a_time();
        let special = [0.0f32, -0.0, 1e-45, -1.5, 1.5, f32::NAN, f32::INFINITY, -3.0, 2.0];
        let thresholds =
            [0, 1, 1.5f32.to_bits(), 2f32.to_bits(), 0x7f80_0000, 0x7fff_ffff, 1 << 31];
        for level in Level::ALL {
            Level::at_most(level);
            for (length, least) in (0..70).flat_map(|n| thresholds.map(|t| (n, u64::from(t)))) {
                let v: Vec<f32> = (0..length).map(|j| special[j * j % 11 % 9]).collect();
                let kept: Vec<usize> = (0..length).filter(|&j| v[j].magnitude() >= least).collect();
                let bits = |js: &[usize]| js.iter().map(|&j| v[j].to_bits()).collect::<Vec<_>>();
                let room = length + SLACK;
                let (mut indices, mut values) = (vec![0; room], vec![0f32; room]);
                let found = at_least(&v, 5, least, &mut indices, &mut values).unwrap();
                let expected: Vec<u32> = kept.iter().map(|&j| j as u32 + 5).collect();
                assert_eq!(indices[..found], expected);
                let words = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(words(&values[..found]), bits(&kept));

                let (mut indices, mut values): (Vec<u32>, _) =
                    ((5..).take(length).collect(), v.clone());
                let found = shrink(least, &mut indices, &mut values);
                assert_eq!(indices[..found], expected);
                assert_eq!(words(&values[..found]), bits(&kept));

                let mut out = vec![0.0; room];
                let found = below(&v, least, &mut out);
                let rest: Vec<usize> = (0..length).filter(|j| !kept.contains(j)).collect();
                assert_eq!(words(&out[..found]), bits(&rest));
            }
            let (mut indices, mut values) = ([0; 99], [0f32; 99]);
            let mut found = |v: &[f32], t| at_least(v, 0, t, &mut indices, &mut values);
            assert_eq!(found(&[1.0; 100], 0), None);
            assert_eq!(found(&[1.0; 83], 0), Some(83));
            assert!((84..120).all(|length| found(&vec![1.0; length], 0).is_none()));
            assert_eq!(found(&[1.0; 200], 2f32.magnitude()), Some(0));
            let mut values = [0f64; 99];
            let mut found = |v: &[f64]| at_least(v, 0, 0, &mut indices, &mut values);
            assert!((84..120).all(|length| found(&vec![1.0; length]).is_none()));
            assert_eq!(found(&[1.0; 83]), Some(83));
        }
        Level::at_most(Level::Avx512);
    }
}
