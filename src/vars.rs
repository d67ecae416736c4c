//! The iterate (x, y, z) and the few vector operations that the algorithms are written in.
//!
//! Every operation here is a plain loop in index order or, for sums, over a fixed number of lanes,
//! without fused multiply-add: its bits are the same on every machine.

use crate::scalar::Scalar;
use crate::simd::vectorized;

/// Lengths of the variables: x has `upper` entries; y and z have `lower` entries each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// p, the length of x.
    pub upper: usize,
    /// q, the length of y and of z.
    pub lower: usize,
}

impl Dims {
    /// p + 2q, the length of (x, y, z).
    pub fn total(self) -> usize {
        self.upper + 2 * self.lower
    }

    /// Lengths of x, y and z.
    pub fn blocks(self) -> [usize; 3] {
        [self.upper, self.lower, self.lower]
    }
}

/// How a variable is made of matrices: row-major and one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(Vec<[usize; 2]>);

impl Layout {
    /// Matrices of these [rows, columns], in the order in which they are stored.
    pub fn new(matrices: impl IntoIterator<Item = [usize; 2]>) -> Self {
        Self(matrices.into_iter().collect())
    }

    /// A variable without structure: one column.
    pub fn flat(dim: usize) -> Self {
        Self(vec![[dim, 1]])
    }

    /// [rows, columns] of each matrix.
    pub fn matrices(&self) -> &[[usize; 2]] {
        &self.0
    }

    /// Length of the variable.
    pub fn dim(&self) -> usize {
        self.0.iter().map(|[rows, columns]| rows * columns).sum()
    }
}

/// One of the three variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Block {
    X,
    Y,
    Z,
}

impl Block {
    /// In the order in which they are stored and travel.
    pub const ALL: [Block; 3] = [Block::X, Block::Y, Block::Z];

    /// Name in the config and in messages.
    pub fn name(self) -> &'static str {
        ["x", "y", "z"][self as usize]
    }
}

/// Some of the three variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks([bool; 3]);

impl Blocks {
    /// All three.
    pub const ALL: Self = Self([true; 3]);
    /// None of them.
    pub const NONE: Self = Self([false; 3]);

    /// These.
    pub const fn of(blocks: &[Block]) -> Self {
        let mut chosen = [false; 3];
        let mut i = 0;
        while i < blocks.len() {
            chosen[blocks[i] as usize] = true;
            i += 1;
        }
        Self(chosen)
    }

    /// Whether a variable is among them.
    pub fn has(self, block: Block) -> bool {
        self.0[block as usize]
    }

    /// These and one more.
    #[must_use]
    pub fn with(mut self, block: Block) -> Self {
        self.0[block as usize] = true;
        self
    }

    /// A word that says which they are, to be stored: x is the lowest bit.
    pub fn bits(self) -> u64 {
        self.iter().map(|block| 1 << block as u64).sum()
    }

    /// Those of a word of [`Blocks::bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self(Block::ALL.map(|block| bits >> block as u64 & 1 == 1))
    }

    /// In the order in which they are stored and travel.
    pub fn iter(self) -> impl Iterator<Item = Block> {
        Block::ALL.into_iter().filter(move |&block| self.has(block))
    }
}

/// x [p], y [q] and z [q] in one contiguous buffer: an iterate, or a direction for each of the three.
#[derive(Clone, Debug, PartialEq)]
pub struct Vars<F> {
    data: Vec<F>,
    dims: Dims,
}

impl<F: Scalar> Vars<F> {
    /// All entries zero.
    pub fn zeros(dims: Dims) -> Self {
        Self { data: vec![F::zero(); dims.total()], dims }
    }

    /// Lengths of the three blocks.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// x, y, z one after the other [p + 2q].
    pub fn as_slice(&self) -> &[F] {
        &self.data
    }

    /// As [`Vars::as_slice`].
    pub fn as_mut_slice(&mut self) -> &mut [F] {
        &mut self.data
    }

    /// One variable.
    pub fn block(&self, block: Block) -> &[F] {
        &self.data[self.range(block)]
    }

    /// One variable.
    pub fn block_mut(&mut self, block: Block) -> &mut [F] {
        let range = self.range(block);
        &mut self.data[range]
    }

    /// The upper-level variable [p].
    pub fn x(&self) -> &[F] {
        self.block(Block::X)
    }

    /// The lower-level variable [q].
    pub fn y(&self) -> &[F] {
        self.block(Block::Y)
    }

    /// The auxiliary variable of the hypergradient's linear system [q].
    pub fn z(&self) -> &[F] {
        self.block(Block::Z)
    }

    /// x, y and z, writable at the same time.
    pub fn split_mut(&mut self) -> (&mut [F], &mut [F], &mut [F]) {
        let (x, rest) = self.data.split_at_mut(self.dims.upper);
        let (y, z) = rest.split_at_mut(self.dims.lower);
        (x, y, z)
    }

    /// 64-bit hash of x, y and z as stored, in that order.
    pub fn hash(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(bytemuck::cast_slice(&self.data))
    }

    /// Copy in double precision.
    pub fn wide(&self) -> Vars<f64> {
        Vars { data: self.data.iter().map(|v| v.wide()).collect(), dims: self.dims }
    }

    fn range(&self, block: Block) -> std::ops::Range<usize> {
        let Dims { upper: p, lower: q } = self.dims;
        match block {
            Block::X => 0..p,
            Block::Y => p..p + q,
            Block::Z => p + q..p + 2 * q,
        }
    }
}

/// v += a u.
pub fn add_scaled<F: Scalar>(v: &mut [F], a: F, u: &[F]) {
    assert_eq!(v.len(), u.len());
    vectorized(
        #[inline(always)]
        || v.iter_mut().zip(u).for_each(|(v, &u)| *v += a * u),
    );
}

/// v = (1 - theta) v + theta u, the moving average of the momentum methods.
pub fn average_in<F: Scalar>(v: &mut [F], theta: F, u: &[F]) {
    assert_eq!(v.len(), u.len());
    let keep = F::one() - theta;
    vectorized(
        #[inline(always)]
        || v.iter_mut().zip(u).for_each(|(v, &u)| *v = keep * *v + theta * u),
    );
}

/// Clip(v; rho) = v min(1, rho / |v|).
pub fn clip<F: Scalar>(v: &mut [F], rho: f64) {
    let norm = norm(v);
    if norm > rho {
        let scale = F::lit(rho / norm);
        v.iter_mut().for_each(|v| *v *= scale);
    }
}

/// Euclidean norm, accumulated in f64 over 16 lanes of fixed order.
pub fn norm<F: Scalar>(v: &[F]) -> f64 {
    dot(v, v).sqrt()
}

/// Inner product, accumulated in f64 over 16 lanes of fixed order.
pub fn dot<F: Scalar>(u: &[F], v: &[F]) -> f64 {
    assert_eq!(u.len(), v.len());
    vectorized(
        #[inline(always)]
        || {
            let mut lanes = [0.0; 16];
            let ((u, u_rest), (v, v_rest)) = (u.as_chunks::<16>(), v.as_chunks::<16>());
            for (u, v) in u.iter().zip(v) {
                for (lane, (u, v)) in lanes.iter_mut().zip(u.iter().zip(v)) {
                    *lane += u.wide() * v.wide();
                }
            }
            for (lane, (u, v)) in lanes.iter_mut().zip(u_rest.iter().zip(v_rest)) {
                *lane += u.wide() * v.wide();
            }
            lanes.iter().sum()
        },
    )
}

/// Whether every entry is finite. One pass without a branch per entry.
pub fn all_finite<F: Scalar>(v: &[F]) -> bool {
    vectorized(
        #[inline(always)]
        || v.iter().fold(true, |finite, v| finite & v.is_finite()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_partition_the_buffer() {
        let mut v = Vars::<f64>::zeros(Dims { upper: 2, lower: 3 });
        v.as_mut_slice().iter_mut().enumerate().for_each(|(i, v)| *v = i as f64);
        assert_eq!((v.x(), v.y(), v.z()), (&[0., 1.][..], &[2., 3., 4.][..], &[5., 6., 7.][..]));
        let (x, y, z) = v.split_mut();
        assert_eq!((x.len(), y[0], z[2]), (2, 2., 7.));
    }

    #[test]
    fn a_word_says_which_blocks() {
        for bits in 0..8 {
            let blocks = Blocks::from_bits(bits);
            assert_eq!((blocks.bits(), blocks.iter().count()), (bits, bits.count_ones() as usize));
        }
        assert_eq!(Blocks::of(&[Block::X, Block::Z]).bits(), 0b101);
    }

    #[test]
    fn clip_leaves_short_vectors_and_shortens_long_ones() {
        let mut v = [3.0f64, 4.0];
        clip(&mut v, 5.0);
        assert_eq!(v, [3.0, 4.0]);
        clip(&mut v, 1.0);
        assert!((norm(&v) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn non_finite_entries_are_seen() {
        assert!(all_finite(&[0.0f32, -1e38]));
        assert!(!all_finite(&[0.0f32, f32::NAN]));
        assert!(!all_finite(&[f64::INFINITY, 0.0]));
    }
}
