//! Stratified K-subsets: one index in each of K strata of nearly equal length, rotated at random.

use super::{INDEX_BLOCK, below, dimension};
use crate::key::{Key, LANES};

/// 0..d cut into K strata [b_j, b_{j+1}), b_j = floor(j ceil(2^32 d/K) / 2^32): floor(jd/K) or, where
/// jK > 2^32, perhaps one more. One index u_j is drawn in each; all are rotated by a uniform c:
///
/// ```text
/// S = { (u_j - c) mod d : j in 0..K },   c uniform on 0..d
/// P(i in S) = sum_j sum_u P(u_j = u) P(c = u - i mod d) = sum_j 1/d = K/d
/// ```
///
/// exactly, for every i, K and d: it takes a uniform c and one index a stratum, not uniform u_j, and
/// c is drawn without a bias. (u_j comes from a 32-bit draw by multiplication and shift; its
/// probabilities differ from uniform by less than 2^-32.) E|C(v) - v|^2 = sum_i v_i^2 (d/K - 1)
/// needs no more. Two indices are not as in a uniform subset: of two in one stratum, one is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Stratified {
    dim: u32,
    count: u32,
    /// ceil(2^32 d/K), the mean length of a stratum.
    step: u64,
}

impl Stratified {
    /// K = `count` strata of 0..`dim`.
    pub fn new(dim: usize, count: usize) -> Self {
        let (dim, count) = (dimension(dim), dimension(count));
        Self { dim, count, step: (u64::from(dim) << 32).div_ceil(count.into()) }
    }

    /// Draws a subset and visits its indices in ascending blocks.
    #[inline(always)]
    pub fn visit(self, key: Key, visit: impl FnMut(&[u32])) {
        let mut lanes = key.lanes();
        let cut = below(self.dim, &mut lanes);
        self.rotated(cut, || lanes.draw(), visit);
    }

    /// The indices for c = `cut`: strata behind the cut come first.
    #[inline(always)]
    fn rotated(
        self,
        cut: u32,
        mut draw: impl FnMut() -> [u32; LANES],
        mut visit: impl FnMut(&[u32]),
    ) {
        // The stratum that the cut lies in: its index ends up first or last.
        let at = (((u64::from(cut) + 1) << 32) - 1) / self.step;
        let between = self.index(at.wrapping_mul(self.step), draw()[0]);
        let (behind, before) = (cut.wrapping_neg(), self.dim - cut);
        if between >= cut {
            visit(&[between - cut]);
        }
        self.strata(at + 1, self.count.into(), behind, &mut draw, &mut visit);
        self.strata(0, at, before, &mut draw, &mut visit);
        if between < cut {
            visit(&[between + before]);
        }
    }

    /// The indices of the strata `from..to`, moved by `offset` modulo 2^32.
    #[inline(always)]
    fn strata(
        self,
        from: u64,
        to: u64,
        offset: u32,
        draw: &mut impl FnMut() -> [u32; LANES],
        visit: &mut impl FnMut(&[u32]),
    ) {
        let mut block = [0; INDEX_BLOCK];
        let mut first = from;
        while first < to {
            let len = INDEX_BLOCK.min((to - first) as usize);
            let mut at = [0; LANES];
            for (lane, at) in at.iter_mut().enumerate() {
                *at = (first + lane as u64).wrapping_mul(self.step);
            }
            // Lanes past the last stratum compute what nobody looks at.
            for group in block.as_chunks_mut::<LANES>().0.iter_mut().take(len.div_ceil(LANES)) {
                let draws = draw();
                for lane in 0..LANES {
                    group[lane] = offset.wrapping_add(self.index(at[lane], draws[lane]));
                    at[lane] = at[lane].wrapping_add(self.step.wrapping_mul(LANES as u64));
                }
            }
            visit(&block[..len]);
            first += len as u64;
        }
    }

    /// u of the stratum that begins at `at` 2^-32.
    #[inline(always)]
    fn index(self, at: u64, draw: u32) -> u32 {
        let (low, high) = ((at >> 32) as u32, (at.wrapping_add(self.step) >> 32) as u32);
        let length = high.wrapping_sub(low);
        low.wrapping_add(((u64::from(draw) * u64::from(length)) >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compressors::support::tests::{check_support, coordinate_counts, key};

    fn subset(dim: usize, count: usize, iteration: u64) -> Vec<u32> {
        let mut indices = vec![];
        let strata = Stratified::new(dim, count);
        strata.visit(key(iteration), |block| indices.extend_from_slice(block));
        indices
    }

    #[test]
    fn supports_have_the_right_size_and_are_sorted() {
        check_support(subset);
    }

    #[test]
    fn every_coordinate_is_equally_likely() {
        for (dim, count) in [(1000, 100), (1000, 300), (997, 100), (50, 49)] {
            coordinate_counts(subset, dim, count);
        }
    }

    #[test]
    fn inclusion_probabilities_are_exact() {
        // Over all rotations of one choice of the u_j, each index is in K of the d supports.
        for dim in [1, 2, 3, 7, 16, 17, 64, 97, 100, 599] {
            for count in [1, 2, 3, 5, dim / 3, dim / 2, dim - 1, dim] {
                let count = count.clamp(1, dim);
                for draw in [0, 1, 1 << 31, 0x9e37_79b9, u32::MAX] {
                    let mut included = vec![0; dim];
                    for cut in 0..dim as u32 {
                        Stratified::new(dim, count).rotated(
                            cut,
                            || [draw; LANES],
                            |block| {
                                block.iter().for_each(|&j| included[j as usize] += 1);
                            },
                        );
                    }
                    assert!(included.iter().all(|&n| n == count), "{count} of {dim}, {draw:x}");
                }
            }
        }
    }

    #[test]
    fn strata_of_the_largest_dimension_do_not_overflow() {
        for count in [1, 2, 3, 1 << 20, u32::MAX - 1, u32::MAX] {
            let strata = Stratified::new(u32::MAX as usize, count as usize);
            let last = u64::from(count - 1) * strata.step;
            assert_eq!(last.checked_add(strata.step).map(|end| end >> 32), Some(u32::MAX.into()));
            assert_eq!(strata.index(last, u32::MAX), u32::MAX - 1);
        }
    }
}
