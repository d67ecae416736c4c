//! Uniform K-subsets.

use super::{Bitmap, dimension};
use crate::key::{Key, LANES};

/// A K-subset of 0..d, every one equally likely, drawn by rejection: indices are drawn until K
/// different ones are marked in a bitmap. Above one half the complement is drawn, so that the
/// expected number of draws stays below 1.4 min(K, d - K).
#[derive(Default)]
pub struct Uniform {
    bitmap: Bitmap,
}

impl Uniform {
    /// Draws it and visits the indices in ascending blocks.
    #[inline(always)]
    pub fn visit(&mut self, dim: usize, count: usize, key: Key, visit: impl FnMut(&[u32])) {
        let complement = 2 * count > dim;
        self.bitmap.clear(dim);
        self.mark(dim, if complement { dim - count } else { count }, key);
        if complement {
            self.bitmap.complement(dim);
        }
        self.bitmap.visit(visit);
    }

    #[inline(always)]
    fn mark(&mut self, dim: usize, mut missing: usize, key: Key) {
        let dim = dimension(dim);
        // As in `below`: products with a low half under this would favour some indices.
        let reject_below = dim.wrapping_neg() % dim;
        let mut lanes = key.lanes();
        while missing > 0 {
            let (draws, mut products) = (lanes.draw(), [0; LANES]);
            let fair = |product: u64| product as u32 >= reject_below;
            let mut all = missing >= LANES;
            for lane in 0..LANES {
                products[lane] = u64::from(draws[lane]) * u64::from(dim);
                all &= fair(products[lane]);
            }
            // Nearly always all are fair and wanted; then nothing branches.
            if all {
                for product in products {
                    missing -= usize::from(self.bitmap.insert((product >> 32) as usize));
                }
            } else {
                for product in products.into_iter().filter(|&product| fair(product)) {
                    if missing > 0 {
                        missing -= usize::from(self.bitmap.insert((product >> 32) as usize));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compressors::support::tests::{check_support, coordinate_counts, key};

    fn subset(dim: usize, count: usize, iteration: u64) -> Vec<u32> {
        let (mut uniform, mut indices) = (Uniform::default(), vec![]);
        uniform.visit(dim, count, key(iteration), |block| indices.extend_from_slice(block));
        indices
    }

    #[test]
    fn supports_have_the_right_size_and_are_sorted() {
        check_support(subset);
    }

    #[test]
    fn every_coordinate_is_equally_likely() {
        coordinate_counts(subset, 1000, 100);
        coordinate_counts(subset, 1000, 700);
    }

    #[test]
    fn every_pair_is_equally_likely() {
        let (dim, size, draws) = (10, 4, 20_000u64);
        let mut pairs = [[0u32; 10]; 10];
        for iteration in 0..draws {
            let indices = subset(dim, size, iteration);
            for &i in &indices {
                indices.iter().for_each(|&j| pairs[i as usize][j as usize] += 1);
            }
        }
        for (i, row) in pairs.iter().enumerate() {
            for (j, &count) in row.iter().enumerate() {
                let p = if i == j { 0.4 } else { 0.4 * 3.0 / 9.0 };
                let sigma = (draws as f64 * p * (1.0 - p)).sqrt();
                let off = (f64::from(count) - draws as f64 * p).abs() / sigma;
                assert!(off < 4.5, "({i}, {j}) is {off} standard errors off");
            }
        }
    }
}
