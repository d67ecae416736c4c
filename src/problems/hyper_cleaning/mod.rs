//! Hyper-cleaning: the upper level learns how much each training sample counts, some of whose labels
//! are wrong; the lower level is softmax regression on the weighted samples.
//!
//! ```text
//! g_i = mean_train sigmoid(x_j) CE(a_j'Y, label_j) + l2/2 |y|^2       f_i = mean_val CE(a'Y, label)
//! ```
//!
//! (Franceschi, Donini, Frasconi, Pontil, ICML 2017; as a benchmark: Dagreou et al., NeurIPS 2022.)
//!
//! y holds Y [features x classes] row-major. x has an entry for every training sample, worker after
//! worker: x_j belongs to the worker that holds sample j. On a mini-batch of B samples A, with P =
//! softmax(A Y), T the one-hot labels, R = P - T, S = A Z, w = sigmoid(x):
//!
//! ```text
//! grad_y G = A'(w o R)/B + l2 y
//! H_yy G z = A'(w o dR)/B + l2 z,        dR = P o (S - rowsum(P o S))
//! J_xy G z = sigmoid'(x_j) <R_j, S_j> / B on the batch's samples, 0 elsewhere
//! ```
//!
//! so that D_x of a worker has as many entries as the mini-batch has samples.

mod corruption;
mod full;
mod places;
mod scored;

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::batches::{Batches, default_batch, default_validation};
use super::softmax::{argmax, residual, softmax, softmax_derivative};
use super::{
    Draw, FullSample, LocalMetrics, Losses, Problem, ProblemContext, ProblemError, ProblemFacts,
    ProblemKind,
};
use crate::config::{Count, KeyError, Positive, Share};
use crate::data::{Dataset, Label, Request, Rows, Sampler, Scale, Shard, Split, load};
use crate::key::{Stream, Support};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Dims, Layout, Vars, add_scaled, dot};
use places::{BatchSupport, Places};
use scored::{Batch, Scored};

/// Samples that are scored at a time outside the loop.
const CHUNK: usize = 512;

/// Parameters of hyper-cleaning.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HyperCleaning {
    dataset: Dataset,
    /// A random subset of so many training samples, instead of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    samples: Option<Count>,
    /// How features are scaled.
    #[serde(default)]
    scale: Scale,
    /// Probability that a training label is replaced by a uniform one, which may be the same.
    #[serde(default = "default_corruption")]
    #[schemars(range(min = 0.0, max = 1.0))]
    corruption: f64,
    /// Weight of |y|^2 / 2 in the lower level.
    #[serde(default = "default_l2")]
    l2: Positive,
    /// Every entry of x at the start; a sample counts sigmoid(x).
    #[serde(default)]
    start: f64,
    /// Share of each worker's samples that makes up its upper level, with clean labels.
    #[serde(default = "default_validation")]
    validation_fraction: Share,
    /// Samples of a lower-level mini-batch.
    #[serde(default = "default_batch")]
    batch_lower: Count,
    /// Samples of an upper-level mini-batch.
    #[serde(default = "default_batch")]
    batch_upper: Count,
    /// How mini-batches are drawn.
    #[serde(default)]
    sampler: Sampler,
}

fn default_corruption() -> f64 {
    0.5
}
fn default_l2() -> Positive {
    Positive::constant(1e-3)
}

impl HyperCleaning {
    fn batches(&self) -> Batches {
        Batches { lower: self.batch_lower, upper: self.batch_upper, sampler: self.sampler }
    }
}

impl Kind for HyperCleaning {
    const KIND: &'static str = "hyper-cleaning";
    const SUMMARY: &'static str = "upper level: a weight for each training sample, some of them mislabeled; lower level: softmax regression";
    const SOURCE: &'static str = "Franceschi et al., ICML 2017";

    fn check(&self) -> Result<(), KeyError> {
        if !(0.0..=1.0).contains(&self.corruption) {
            let problem = format!("must be from 0 to 1, found {}", self.corruption);
            return Err(KeyError::value("corruption", problem));
        }
        self.batches().check()
    }
}

impl ProblemKind for HyperCleaning {
    const FACTS: ProblemFacts = ProblemFacts { partitioned: true, sparse_upper: true };

    fn build<F: Scalar>(
        &self,
        context: ProblemContext<'_>,
    ) -> Result<Box<dyn Problem<F>>, ProblemError> {
        let ProblemContext { seed, hosted, .. } = context;
        let default = Default::default();
        let loaded = load::<F>(&Request {
            dataset: &self.dataset,
            folder: context.folder,
            partition: context.partition.unwrap_or(&default),
            workers: context.workers,
            hosted: hosted.clone(),
            validation: self.validation_fraction,
            samples: self.samples,
            scale: self.scale,
            seed,
        })?;
        self.batches().check_slices(&loaded.sizes)?;
        let (features, classes) = (loaded.features, loaded.classes);
        let places = Places::new(loaded.sizes.iter().map(|[lower, ..]| *lower));
        super::dims::<F>(Some(places.total()), features.checked_mul(classes))?;
        let shifts: Vec<Label> = (places.all().enumerate())
            .flat_map(|(worker, place)| {
                corruption::shifts(seed, worker, place.len(), self.corruption, classes)
            })
            .collect();
        let mut shards = loaded.shards;
        for (worker, shard) in hosted.clone().zip(&mut shards) {
            let labels = shard.lower.labels.iter_mut();
            for (label, &shift) in labels.zip(&shifts[places.of(worker)]) {
                *label = corruption::corrupted(*label, shift, classes);
            }
        }
        // A plan's check hosts no worker, and may be made on a machine smaller than the run's.
        let [lower, upper] = [self.batch_lower, self.batch_upper].map(Count::get);
        let room = |samples: usize| if shards.is_empty() { 0 } else { samples };
        Ok(Box::new(Rank {
            batch: [lower, upper],
            lower: Scored::new(room(lower), classes),
            upper: Scored::new(room(upper), classes),
            l2: F::lit(self.l2.get()),
            start: F::lit(self.start),
            sampler: self.sampler,
            first: hosted.start,
            corrupted: shifts.iter().map(|&shift| shift != 0).collect(),
            sample_bytes: loaded.bytes,
            wide_bytes: loaded.wide,
            shards,
            places,
            features,
            classes,
        }))
    }
}

struct Rank<F> {
    places: Places,
    features: usize,
    classes: usize,
    l2: F,
    start: F,
    sampler: Sampler,
    first: usize,
    shards: Vec<Shard<F>>,
    sample_bytes: Vec<usize>,
    /// The same of both levels in double precision.
    wide_bytes: Vec<usize>,
    /// By entry of x.
    corrupted: Vec<bool>,
    /// Samples of the two mini-batches.
    batch: [usize; 2],
    lower: Scored<F>,
    upper: Scored<F>,
}

fn sigmoid<F: Scalar>(v: F) -> F {
    F::one() / (F::one() + (-v).exp())
}

impl<F: Scalar> Rank<F> {
    /// A worker's place in x, and its lower-level batch scored at y and, if given, along z.
    fn lower_batch(
        &mut self,
        draw: Draw,
        y: &[F],
        z: Option<&[F]>,
    ) -> (Range<usize>, Batch<'_, F>) {
        let split = &self.shards[draw.worker - self.first].lower;
        let drawn = (self.sampler, draw.key(Stream::BatchLower));
        (self.places.of(draw.worker), self.lower.draw(split, drawn, y, z))
    }

    /// Writes what the lower-level batch says of the directions that are wanted; returns the weighted
    /// mean cross-entropy.
    fn add_lower(&mut self, draw: Draw, at: &Vars<F>, out: &mut Vars<F>, wanted: Blocks) -> f64 {
        let (classes, l2) = (self.classes, self.l2);
        let (needs_x, needs_z) = (wanted.has(Block::X), wanted.has(Block::Z));
        let (place, batch) = self.lower_batch(draw, at.y(), (needs_x || needs_z).then(|| at.z()));
        let Batch { samples, indices, labels, r, s } = batch;
        let x = &at.x()[place.clone()];
        let (dx, dy, dz) = out.split_mut();
        if needs_x {
            dx.fill(F::zero());
        }
        let share = F::lit(1.0 / indices.len() as f64);
        let mut loss = 0.0;
        let rows = r.chunks_exact_mut(classes).zip(s.chunks_exact_mut(classes));
        for ((r, s), (&i, &label)) in rows.zip(indices.iter().zip(labels)) {
            let weight = sigmoid(x[i as usize]);
            let score = r[usize::from(label)];
            loss += (weight * (softmax(r) - score)).wide();
            let along: F =
                (r.iter().zip(&*s)).fold(-s[usize::from(label)], |sum, (&p, &s)| sum + p * s);
            if needs_x {
                let slope = weight * (F::one() - weight);
                dx[place.start + i as usize] += share * slope * along;
            }
            softmax_derivative(r, s);
            residual(r, label);
            r.iter_mut().chain(s).for_each(|v| *v *= share * weight);
        }
        if wanted.has(Block::Y) {
            scaled(at.y(), l2, dy);
            samples.add_transposed(r, classes, dy);
        }
        if needs_z {
            scaled(at.z(), l2, dz);
            samples.add_transposed(s, classes, dz);
        }
        loss / indices.len() as f64
    }

    /// Adds grad_y F on the upper-level batch to `dz`; returns the mean cross-entropy.
    fn add_upper(&mut self, draw: Draw, y: &[F], dz: &mut [F]) -> f64 {
        let Self { upper, classes, shards, sampler, .. } = self;
        let split = &shards[draw.worker - self.first].upper;
        let batch = upper.draw(split, (*sampler, draw.key(Stream::BatchUpper)), y, None);
        let Batch { samples, labels, r, .. } = batch;
        let share = F::lit(1.0 / labels.len() as f64);
        let mut loss = 0.0;
        for (r, &label) in r.chunks_exact_mut(*classes).zip(labels) {
            let score = r[usize::from(label)];
            loss += (softmax(r) - score).wide();
            residual(r, label);
            r.iter_mut().for_each(|v| *v *= share);
        }
        samples.add_transposed(r, *classes, dz);
        loss / labels.len() as f64
    }

    /// Calls `see(sample, loss, correct)` for each sample of a split of a hosted worker.
    fn losses(&self, split: &Split<F>, y: &[F], mut see: impl FnMut(usize, f64, bool)) {
        let mut scores = vec![F::zero(); CHUNK * self.classes];
        let mut room = vec![];
        for (rows, labels) in split.chunks(CHUNK) {
            let scores = &mut scores[..labels.len() * self.classes];
            let start = rows.start;
            let chosen = split.features.choose(Rows::Slice(rows), &mut room);
            chosen.scores_into(y, self.classes, scores);
            for (i, (row, &label)) in scores.chunks_exact_mut(self.classes).zip(labels).enumerate()
            {
                let correct = argmax(row) == usize::from(label);
                let score = row[usize::from(label)];
                see(start + i, (softmax(row) - score).wide(), correct);
            }
        }
    }
}

/// out = a v.
fn scaled<F: Scalar>(v: &[F], a: F, out: &mut [F]) {
    out.fill(F::zero());
    add_scaled(out, a, v);
}

impl<F: Scalar> Problem<F> for Rank<F> {
    fn dims(&self) -> Dims {
        Dims { upper: self.places.total(), lower: self.features * self.classes }
    }

    fn layout(&self) -> [Layout; 2] {
        let y = Layout::new([[self.features, self.classes]]);
        [Layout::flat(self.places.total()), y]
    }

    /// x as the key `start` says, y and z zero.
    fn start(&self) -> Vars<F> {
        let mut start = Vars::zeros(self.dims());
        start.block_mut(Block::X).fill(self.start);
        start
    }

    fn directions(
        &mut self,
        draw: Draw,
        wanted: Blocks,
        at: &Vars<F>,
        out: &mut Vars<F>,
    ) -> Losses {
        let lower = self.add_lower(draw, at, out, wanted);
        let lower = lower + 0.5 * self.l2.wide() * dot(at.y(), at.y());
        // F does not depend on x.
        let upper = match wanted.has(Block::Z) {
            true => self.add_upper(draw, at.y(), out.block_mut(Block::Z)),
            false => f64::NAN,
        };
        Losses { upper, lower }
    }

    fn lower_gradient_x(&mut self, draw: Draw, at: &Vars<F>, out: &mut [F]) {
        let classes = self.classes;
        let (place, Batch { indices, labels, r, .. }) = self.lower_batch(draw, at.y(), None);
        let x = &at.x()[place.clone()];
        out.fill(F::zero());
        let share = F::lit(1.0 / indices.len() as f64);
        let rows = r.chunks_exact_mut(classes).zip(indices.iter().zip(labels));
        for (r, (&i, &label)) in rows {
            let weight = sigmoid(x[i as usize]);
            let score = r[usize::from(label)];
            out[place.start + i as usize] +=
                share * weight * (F::one() - weight) * (softmax(r) - score);
        }
    }

    fn upper_support(&self) -> Option<Box<dyn Support>> {
        let (places, batch) = (self.places.clone(), self.batch[0]);
        Some(Box::new(BatchSupport { places, batch, sampler: self.sampler }))
    }

    fn metrics(&mut self, worker: usize, at: &Vars<F>) -> LocalMetrics {
        let shard = &self.shards[worker - self.first];
        let (mut test_correct, mut test_loss, mut validation_loss) = (0.0, 0.0, 0.0);
        self.losses(&shard.test, at.y(), |_, loss, correct| {
            test_loss += loss;
            test_correct += f64::from(u8::from(correct));
        });
        self.losses(&shard.upper, at.y(), |_, loss, _| validation_loss += loss);
        LocalMetrics {
            test_correct,
            test_samples: shard.test.len() as f64,
            test_loss,
            validation_loss: validation_loss / shard.upper.len() as f64,
        }
    }

    fn corrupted(&self) -> Option<&[bool]> {
        Some(&self.corrupted)
    }

    fn sample_losses(&self, worker: usize, y: &[F], out: &mut [f64]) {
        let place = self.places.of(worker);
        let shard = &self.shards[worker - self.first];
        self.losses(&shard.lower, y, |i, loss, _| out[place.start + i] = loss);
    }

    fn full<'a>(&'a self, worker: usize, x: &'a [f64]) -> Box<dyn FullSample + 'a> {
        let shard = &self.shards[worker - self.first];
        let place = self.places.of(worker);
        Box::new(full::Full::new(shard, self.classes, self.l2.wide(), x, place))
    }

    fn footprint(&self, workers: Range<usize>) -> usize {
        let samples: usize = self.sample_bytes[workers].iter().sum();
        let [lower, upper] = self.batch;
        let rows = (lower + upper) * (2 * self.classes + self.features);
        samples + rows * F::BYTES + self.corrupted.len()
    }
    fn full_footprint(&self, workers: Range<usize>) -> usize {
        let samples = |worker: usize| self.places.of(worker).len();
        // Scores of the lower level as they were last computed, and what is computed of them.
        let scores: usize = workers.clone().map(|worker| 2 * samples(worker) * self.classes).sum();
        self.wide_bytes[workers].iter().sum::<usize>() + scores * f64::BYTES
    }
}
