//! Mini-batches of dense samples of two classes: 16 samples side by side, feature by feature.
//!
//! A tile holds 16 samples c = b a, [rows of y x 16], so that margins c'y and c'z are sums of whole
//! vectors, and a slice of the samples is a few tiles one behind the other of which the first and
//! the last count in part. Derivatives are summed in 16 lanes, then over these: the same bits on all
//! processors.

use super::loss::{BLOCK, LANES, Sum, sign};
use super::model::Model;
use crate::data::{Features, Sampler, Split};
use crate::key::Key;
use crate::scalar::Scalar;
use crate::simd::vectorized;

/// One number of each of 16 samples, beginning with a cache line: a vector that lies across two of
/// them costs two reads.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Lanes<F>([F; LANES]);

impl<F: Scalar> Lanes<F> {
    #[inline(always)]
    fn zero() -> Self {
        Self([F::zero(); LANES])
    }
}

/// Samples in tiles.
pub struct Tiles<F> {
    /// [tiles x rows of y].
    data: Vec<Lanes<F>>,
    rows: usize,
}

impl<F: Scalar> Tiles<F> {
    /// Room for samples.
    pub fn zeros(model: Model, samples: usize) -> Self {
        let rows = model.rows();
        Self { data: vec![Lanes::zero(); samples.div_ceil(LANES) * rows], rows }
    }

    /// Entries that [`Tiles::zeros`] makes.
    pub fn entries(model: Model, samples: usize) -> usize {
        samples.next_multiple_of(LANES) * model.rows()
    }

    /// All of these samples.
    pub fn of(model: Model, split: &Split<F>) -> Self {
        let mut tiles = Self::zeros(model, split.len());
        for i in 0..split.len() {
            tiles.set(i, split, i);
        }
        tiles
    }

    /// Writes sample `i` of `split` to place `to`.
    fn set(&mut self, to: usize, split: &Split<F>, i: usize) {
        let Features::Dense(array) = &split.features else { panic!("samples that are dense") };
        let b = sign::<F>(split.labels[i]);
        let tile = &mut self.data[to / LANES * self.rows..][..self.rows];
        let row = array.row(i);
        let entries = row.iter().copied().chain(std::iter::repeat(F::one()));
        tile.iter_mut().zip(entries).for_each(|(lanes, a)| lanes.0[to % LANES] = b * a);
    }
}

/// Room for one level's batch.
pub struct Batch<F> {
    indices: Vec<u32>,
    /// Samples that are not consecutive.
    gathered: Tiles<F>,
    gradient: Vec<Lanes<F>>,
    second: Vec<Lanes<F>>,
}

impl<F: Scalar> Batch<F> {
    pub fn new(model: Model, samples: usize, sampler: Sampler) -> Self {
        let gathered = if sampler == Sampler::Slice { 0 } else { samples };
        Self {
            indices: vec![0; samples],
            gathered: Tiles::zeros(model, gathered),
            gradient: vec![Lanes::zero(); model.rows()],
            second: vec![Lanes::zero(); model.rows()],
        }
    }

    /// As [`super::rows::Batch::add`]. `tiles` are those of the whole split if slices are drawn.
    pub fn add(
        &mut self,
        tiles: &Tiles<F>,
        (split, sampler, key): (&Split<F>, Sampler, Key),
        [y, z]: [&[F]; 2],
        gradient: Option<&mut [F]>,
        second: Option<&mut [F]>,
    ) -> f64 {
        let samples = self.indices.len();
        sampler.indices(split.len(), key, &mut self.indices);
        let (tiles, from) = match sampler {
            Sampler::Slice => (tiles, self.indices[0] as usize),
            Sampler::Uniform => {
                for (to, &i) in self.indices.iter().enumerate() {
                    self.gathered.set(to, split, i as usize);
                }
                (&self.gathered, 0)
            }
        };
        let slice = Slice { tiles, from, to: from + samples, scale: F::lit(1.0 / samples as f64) };
        let [of_gradient, of_second] = [&mut self.gradient, &mut self.second];
        let loss = vectorized(
            #[inline(always)]
            || {
                let loss = match second.is_some() {
                    true => slice.add::<true>(y, z, of_gradient, of_second),
                    false => slice.add::<false>(y, z, of_gradient, of_second),
                };
                if let Some(out) = gradient {
                    add_lanes(out, of_gradient);
                }
                if let Some(out) = second {
                    add_lanes(out, of_second);
                }
                loss
            },
        );
        loss / samples as f64
    }
}

/// Some consecutive samples.
struct Slice<'t, F> {
    tiles: &'t Tiles<F>,
    from: usize,
    to: usize,
    /// Of the derivatives.
    scale: F,
}

impl<F: Scalar> Slice<'_, F> {
    /// Writes the lanes of the gradient at y and, if SECOND, of the second derivative along z;
    /// returns the sum of the losses.
    #[inline(always)]
    fn add<const SECOND: bool>(
        &self,
        y: &[F],
        z: &[F],
        gradient: &mut [Lanes<F>],
        second: &mut [Lanes<F>],
    ) -> f64 {
        let (rows, first, last) = (self.tiles.rows, self.from / LANES, self.to.div_ceil(LANES));
        gradient.fill(Lanes::zero());
        second.fill(Lanes::zero());
        let (mut total, mut at) = (0.0, first * LANES);
        for block in self.tiles.data[first * rows..last * rows].chunks(BLOCK * rows) {
            let tiles = || block.chunks_exact(rows);
            let (mut r, mut dr) = ([Lanes::<F>::zero(); BLOCK], [Lanes::<F>::zero(); BLOCK]);
            for ((tile, r), dr) in tiles().zip(&mut r).zip(&mut dr) {
                [*r, *dr] = margins::<F, SECOND>(tile, y, z);
            }
            let mut sum = Sum::new();
            for (r, dr) in r.iter_mut().zip(&mut dr).take(block.len() / rows) {
                let (p, q) = sum.add(&r.0, self.from.saturating_sub(at), self.to - at);
                for i in 0..LANES {
                    r.0[i] = -p[i] * self.scale;
                    dr.0[i] *= q[i] * self.scale;
                }
                at += LANES;
            }
            total += sum.value();
            for (j, (gradient, second)) in gradient.iter_mut().zip(&mut *second).enumerate() {
                let (mut g, mut s) = (*gradient, *second);
                for ((tile, r), dr) in tiles().zip(&r).zip(&dr) {
                    for i in 0..LANES {
                        g.0[i] += tile[j].0[i] * r.0[i];
                        if SECOND {
                            s.0[i] += tile[j].0[i] * dr.0[i];
                        }
                    }
                }
                (*gradient, *second) = (g, s);
            }
        }
        total
    }
}

/// c'y and, if SECOND, c'z of each sample of a tile.
#[inline(always)]
fn margins<F: Scalar, const SECOND: bool>(tile: &[Lanes<F>], y: &[F], z: &[F]) -> [Lanes<F>; 2] {
    let (mut m, mut dm) = (Lanes::zero(), Lanes::zero());
    for ((lanes, &y), &z) in tile.iter().zip(y).zip(z) {
        for i in 0..LANES {
            m.0[i] += lanes.0[i] * y;
            if SECOND {
                dm.0[i] += lanes.0[i] * z;
            }
        }
    }
    [m, dm]
}

/// v_j += the sum of lanes j.
#[inline(always)]
fn add_lanes<F: Scalar>(v: &mut [F], lanes: &[Lanes<F>]) {
    for (v, lanes) in v.iter_mut().zip(lanes) {
        *v += total(lanes);
    }
}

/// The sum of 16 numbers, in halves: an order that vector instructions follow.
#[inline(always)]
fn total<F: Scalar>(Lanes(v): &Lanes<F>) -> F {
    let (mut eight, mut four) = ([F::zero(); 8], [F::zero(); 4]);
    for i in 0..8 {
        eight[i] = v[i] + v[i + 8];
    }
    for i in 0..4 {
        four[i] = eight[i] + eight[i + 4];
    }
    (four[0] + four[2]) + (four[1] + four[3])
}
