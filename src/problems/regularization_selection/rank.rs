//! The rank's part.

use std::ops::Range;

use rand_distr::{Distribution, Open01, StandardNormal};

use super::model::Model;
use super::tiles::Tiles;
use super::{Batches, Full, FullSample, Start, loss, rows, tiles};
use crate::data::{Loaded, Rows, Sampler, Shard, Split};
use crate::key::{Key, Stream};
use crate::problems::{Draw, LocalMetrics, Losses, Problem};
use crate::scalar::Scalar;
use crate::simd::vectorized;
use crate::vars::{Block, Blocks, Dims, Layout, Vars, dot};

/// Samples that are looked at together outside the loop.
const CHUNK: usize = 512;

/// Where the mini-batches of the two levels are computed.
enum Room<F> {
    /// Dense samples of two classes; all of each worker's, if slices are cut from them.
    Tiles { samples: Vec<[Tiles<F>; 2]>, batches: [tiles::Batch<F>; 2] },
    /// Any other.
    Rows([rows::Batch<F>; 2]),
}

pub struct Rank<F> {
    model: Model,
    dims: Dims,
    batches: Batches,
    start: Start,
    seed: u64,
    first: usize,
    shards: Vec<Shard<F>>,
    sizes: Vec<[usize; 3]>,
    /// Bytes of every worker's samples.
    sample_bytes: Vec<usize>,
    /// The same of both levels in double precision.
    wide_bytes: Vec<usize>,
    dense: bool,
    room: Room<F>,
    /// exp(x) [p].
    weights: Vec<F>,
    /// exp(x) o y [q].
    weighed: Vec<F>,
}

impl<F: Scalar> Rank<F> {
    pub fn new(
        model: Model,
        dims: Dims,
        batches: Batches,
        start: Start,
        loaded: Loaded<F>,
        first: usize,
        seed: u64,
    ) -> Self {
        let Loaded { shards, sizes, bytes, wide, dense, .. } = loaded;
        // A plan's check hosts no worker, and may be made on a machine smaller than the run's.
        let here = |len: usize| if shards.is_empty() { 0 } else { len };
        let levels = [batches.lower, batches.upper].map(|batch| here(batch.get()));
        let room = if dense && model.columns == 1 {
            let tiles = |split: &Split<F>| match batches.sampler {
                Sampler::Slice => Tiles::of(model, split),
                Sampler::Uniform => Tiles::zeros(model, 0),
            };
            Room::Tiles {
                samples: shards.iter().map(|s| [tiles(&s.lower), tiles(&s.upper)]).collect(),
                batches: levels.map(|batch| tiles::Batch::new(model, batch, batches.sampler)),
            }
        } else {
            Room::Rows(levels.map(|batch| rows::Batch::new(model, batch)))
        };
        Self {
            model,
            dims,
            batches,
            start,
            seed,
            first,
            sizes,
            sample_bytes: bytes,
            wide_bytes: wide,
            dense,
            room,
            weights: vec![F::zero(); here(dims.upper)],
            weighed: vec![F::zero(); here(dims.lower)],
            shards,
        }
    }

    /// Writes exp(x) and exp(x) o y.
    fn weigh(&mut self, x: &[F], y: &[F]) {
        let weights = self.weights.iter_mut().zip(x);
        vectorized(
            #[inline(always)]
            || weights.for_each(|(w, x)| *w = x.fast_exp()),
        );
        self.model.weigh(&self.weights, y, &mut self.weighed);
    }

    /// Adds a level's mean loss's gradient at y, and its second derivative along z, to what is wanted
    /// of them; returns the mean loss on the batch.
    fn add(
        &mut self,
        stream: Stream,
        draw: Draw,
        at: [&[F]; 2],
        gradient: Option<&mut [F]>,
        second: Option<&mut [F]>,
    ) -> f64 {
        let worker = draw.worker - self.first;
        let level = usize::from(stream == Stream::BatchUpper);
        let shard = &self.shards[worker];
        let split = [&shard.lower, &shard.upper][level];
        let from = (split, self.batches.sampler, draw.key(stream));
        match &mut self.room {
            Room::Tiles { samples, batches } => {
                batches[level].add(&samples[worker][level], from, at, gradient, second)
            }
            Room::Rows(batches) => batches[level].add(self.model, from, at, gradient, second),
        }
    }

    /// Sum of the losses and number of correct predictions over a split.
    fn score(&self, split: &Split<F>, y: &[F]) -> (f64, f64) {
        let n = self.model.columns;
        let (mut room, mut scores) = (vec![], vec![F::zero(); CHUNK * n]);
        let (mut loss, mut correct) = (0.0, 0.0);
        for (range, labels) in split.chunks(CHUNK) {
            let scores = &mut scores[..labels.len() * n];
            let a = split.features.choose(Rows::Slice(range), &mut room);
            self.model.scores(&a, y, scores);
            let rows = scores.chunks_exact(n).zip(labels);
            correct += rows.filter(|(row, label)| loss::is_correct(row, **label)).count() as f64;
            loss += loss::residuals(n, scores, &mut [], labels, F::one());
        }
        (loss, correct)
    }
}

impl<F: Scalar> Problem<F> for Rank<F> {
    fn dims(&self) -> Dims {
        self.dims
    }

    /// x has no structure; Y [rows x columns].
    fn layout(&self) -> [Layout; 2] {
        let lower = [self.model.rows(), self.model.columns];
        [Layout::flat(self.dims.upper), Layout::new([lower])]
    }

    fn start(&self) -> Vars<F> {
        let mut start = Vars::zeros(self.dims);
        let (x, y, _) = start.split_mut();
        match self.start {
            Start::At(value) => x.fill(F::lit(value)),
            Start::Drawn(_) => {
                let mut rng = Key::shared(self.seed, Stream::Start).rng();
                for x in x {
                    let weight: f64 = Open01.sample(&mut rng);
                    *x = F::lit(weight.ln());
                }
                for y in y {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    *y = F::lit(normal);
                }
            }
        }
        start
    }

    fn directions(
        &mut self,
        draw: Draw,
        wanted: Blocks,
        at: &Vars<F>,
        out: &mut Vars<F>,
    ) -> Losses {
        let mut losses = Losses { upper: f64::NAN, lower: f64::NAN };
        let [x, y, z] = [Block::X, Block::Y, Block::Z].map(|block| wanted.has(block));
        let (dx, dy, dz) = out.split_mut();
        let model = self.model;
        self.weigh(at.x(), at.y());
        if x {
            model.sums(&self.weighed, at.z(), dx);
        }
        if y || z {
            if y {
                dy.copy_from_slice(&self.weighed);
            }
            if z {
                model.weigh(&self.weights, at.z(), dz);
            }
            let (gradient, second) = (y.then_some(&mut *dy), z.then_some(&mut *dz));
            let loss = self.add(Stream::BatchLower, draw, [at.y(), at.z()], gradient, second);
            losses.lower = loss + 0.5 * dot(&self.weighed, at.y());
        }
        if z {
            // F does not depend on x.
            losses.upper = self.add(Stream::BatchUpper, draw, [at.y(); 2], Some(dz), None);
        }
        losses
    }

    /// grad_x of the penalty: no sample counts.
    fn lower_gradient_x(&mut self, _draw: Draw, at: &Vars<F>, out: &mut [F]) {
        self.weigh(at.x(), at.y());
        self.model.sums(&self.weighed, at.y(), out);
        out.iter_mut().for_each(|v| *v *= F::lit(0.5));
    }

    fn metrics(&mut self, worker: usize, at: &Vars<F>) -> LocalMetrics {
        let shard = &self.shards[worker - self.first];
        let (test_loss, test_correct) = self.score(&shard.test, at.y());
        let (validation_loss, _) = self.score(&shard.upper, at.y());
        let [_, upper, test] = self.sizes[worker];
        LocalMetrics {
            test_correct,
            test_samples: test as f64,
            test_loss,
            validation_loss: validation_loss / upper as f64,
        }
    }

    fn full<'a>(&'a self, worker: usize, x: &'a [f64]) -> Box<dyn FullSample + 'a> {
        Box::new(Full::new(self.model, &self.shards[worker - self.first], x))
    }

    fn footprint(&self, workers: Range<usize>) -> usize {
        let Self { model, batches, dense, .. } = *self;
        let in_tiles = dense && model.columns == 1;
        let slices = batches.sampler == Sampler::Slice;
        let mut entries = self.dims.upper + self.dims.lower;
        for (level, batch) in [batches.lower, batches.upper].into_iter().enumerate() {
            entries += match (in_tiles, slices) {
                (true, true) => (self.sizes[workers.clone()].iter())
                    .map(|sizes| Tiles::<F>::entries(model, sizes[level]))
                    .sum(),
                (true, false) => Tiles::<F>::entries(model, batch.get()),
                _ => rows::Batch::<F>::entries(model, batch.get(), dense && !slices),
            };
        }
        let samples: usize = self.sample_bytes[workers].iter().sum();
        samples + entries * F::BYTES
    }
    fn full_footprint(&self, workers: Range<usize>) -> usize {
        let scores = |worker: usize| {
            let [lower, upper, _] = self.sizes[worker];
            (lower + upper) * self.model.columns + self.dims.upper
        };
        workers.map(|worker| self.wide_bytes[worker] + scores(worker) * f64::BYTES).sum()
    }
}
