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
use crate::key::{Key, Stream, Support};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Dims, Layout, Vars, add_scaled, dot};

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
            room: vec![],
            shards,
            places,
            features,
            classes,
        }))
    }
}

/// Where each worker's samples stand in x.
#[derive(Clone, Debug)]
struct Places(Vec<usize>);

impl Places {
    /// For workers with so many samples each.
    fn new(samples: impl Iterator<Item = usize>) -> Self {
        let mut ends = vec![0];
        ends.extend(samples.scan(0, |end, samples| {
            *end += samples;
            Some(*end)
        }));
        Self(ends)
    }

    fn of(&self, worker: usize) -> Range<usize> {
        self.0[worker]..self.0[worker + 1]
    }

    fn all(&self) -> impl Iterator<Item = Range<usize>> {
        self.0.windows(2).map(|ends| ends[0]..ends[1])
    }

    fn total(&self) -> usize {
        self.0[self.0.len() - 1]
    }
}

/// The entries of x that a mini-batch touches.
struct BatchSupport {
    places: Places,
    batch: usize,
    sampler: Sampler,
}

impl Support for BatchSupport {
    fn positions(&self, key: Key, out: &mut Vec<u32>) {
        let place = self.places.of(key.worker as usize);
        out.clear();
        out.resize(self.batch, 0);
        self.sampler.indices(place.len(), Key { stream: Stream::BatchLower, ..key }, out);
        out.iter_mut().for_each(|j| *j += place.start as u32);
        out.sort_unstable();
        out.dedup();
    }

    fn most(&self) -> usize {
        self.batch
    }
}

/// A mini-batch and what the scores of its samples come to.
struct Scored<F> {
    /// Positions in the worker's samples [rows].
    indices: Vec<u32>,
    labels: Vec<Label>,
    /// A Y, then P, then R [rows x classes].
    r: Vec<F>,
    /// A Z, then dR [rows x classes].
    s: Vec<F>,
}

impl<F: Scalar> Scored<F> {
    fn new(rows: usize, classes: usize) -> Self {
        let scores = vec![F::zero(); rows * classes];
        Self { indices: vec![0; rows], labels: vec![0; rows], r: scores.clone(), s: scores }
    }

    /// Draws the batch; its rows are to be chosen from `split`'s features.
    fn draw(&mut self, sampler: Sampler, split: &Split<F>, key: Key) {
        sampler.indices(split.len(), key, &mut self.indices);
        for (label, &i) in self.labels.iter_mut().zip(&self.indices) {
            *label = split.labels[i as usize];
        }
    }

    /// The rows, which are quicker to take where they follow one another.
    fn rows(&self, sampler: Sampler) -> Rows<'_> {
        match (sampler, &*self.indices) {
            (Sampler::Slice, [first, ..]) => {
                Rows::Slice(*first as usize..*first as usize + self.indices.len())
            }
            _ => Rows::Chosen(&self.indices),
        }
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
    /// By entry of x.
    corrupted: Vec<bool>,
    /// Samples of the two mini-batches.
    batch: [usize; 2],
    lower: Scored<F>,
    upper: Scored<F>,
    /// For samples that must be copied.
    room: Vec<F>,
}

fn sigmoid<F: Scalar>(v: F) -> F {
    F::one() / (F::one() + (-v).exp())
}

impl<F: Scalar> Rank<F> {
    /// Scores the lower-level batch at y and, if asked for, along z: R and S, both unscaled. Returns
    /// the weighted mean cross-entropy.
    fn score_lower(&mut self, draw: Draw, at: &Vars<F>, out: &mut Vars<F>, wanted: Blocks) -> f64 {
        let Self { lower, classes, .. } = self;
        let place = self.places.of(draw.worker);
        let x = &at.x()[place.clone()];
        let split = &self.shards[draw.worker - self.first].lower;
        lower.draw(self.sampler, split, draw.key(Stream::BatchLower));
        let (dx, dy, dz) = out.split_mut();
        let (needs_x, needs_z) = (wanted.has(Block::X), wanted.has(Block::Z));
        let (mut r, mut s) = (std::mem::take(&mut lower.r), std::mem::take(&mut lower.s));
        let chosen = split.features.choose(lower.rows(self.sampler), &mut self.room);
        chosen.scores_into(at.y(), *classes, &mut r);
        if needs_x || needs_z {
            chosen.scores_into(at.z(), *classes, &mut s);
        }
        if needs_x {
            dx.fill(F::zero());
        }
        let share = F::lit(1.0 / lower.indices.len() as f64);
        let mut loss = 0.0;
        let rows = r.chunks_exact_mut(*classes).zip(s.chunks_exact_mut(*classes));
        for ((r, s), (&i, &label)) in rows.zip(lower.indices.iter().zip(&lower.labels)) {
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
            scaled(at.y(), self.l2, dy);
            chosen.add_transposed(&r, *classes, dy);
        }
        if needs_z {
            scaled(at.z(), self.l2, dz);
            chosen.add_transposed(&s, *classes, dz);
        }
        (lower.r, lower.s) = (r, s);
        loss / lower.indices.len() as f64
    }

    /// Adds grad_y F on the upper-level batch to `dz`, if asked for; returns the mean cross-entropy.
    fn score_upper(&mut self, draw: Draw, at: &Vars<F>, dz: Option<&mut [F]>) -> f64 {
        let Self { upper, classes, .. } = self;
        let split = &self.shards[draw.worker - self.first].upper;
        upper.draw(self.sampler, split, draw.key(Stream::BatchUpper));
        let mut r = std::mem::take(&mut upper.r);
        let chosen = split.features.choose(upper.rows(self.sampler), &mut self.room);
        chosen.scores_into(at.y(), *classes, &mut r);
        let share = F::lit(1.0 / upper.labels.len() as f64);
        let mut loss = 0.0;
        for (r, &label) in r.chunks_exact_mut(*classes).zip(&upper.labels) {
            let score = r[usize::from(label)];
            loss += (softmax(r) - score).wide();
            residual(r, label);
            r.iter_mut().for_each(|v| *v *= share);
        }
        if let Some(dz) = dz {
            chosen.add_transposed(&r, *classes, dz);
        }
        upper.r = r;
        loss / upper.labels.len() as f64
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
        let lower = self.score_lower(draw, at, out, wanted);
        let lower = lower + 0.5 * self.l2.wide() * dot(at.y(), at.y());
        let upper = match wanted.has(Block::X) || wanted.has(Block::Z) {
            true => {
                let dz = wanted.has(Block::Z).then(|| out.block_mut(Block::Z));
                self.score_upper(draw, at, dz)
            }
            false => f64::NAN,
        };
        Losses { upper, lower }
    }

    fn lower_gradient_x(&mut self, draw: Draw, at: &Vars<F>, out: &mut [F]) {
        let Self { lower, classes, .. } = self;
        let place = self.places.of(draw.worker);
        let x = &at.x()[place.clone()];
        let split = &self.shards[draw.worker - self.first].lower;
        lower.draw(self.sampler, split, draw.key(Stream::BatchLower));
        let mut r = std::mem::take(&mut lower.r);
        let chosen = split.features.choose(lower.rows(self.sampler), &mut self.room);
        chosen.scores_into(at.y(), *classes, &mut r);
        out.fill(F::zero());
        let share = F::lit(1.0 / lower.indices.len() as f64);
        let rows = r.chunks_exact_mut(*classes).zip(lower.indices.iter().zip(&lower.labels));
        for (r, (&i, &label)) in rows {
            let weight = sigmoid(x[i as usize]);
            let score = r[usize::from(label)];
            out[place.start + i as usize] +=
                share * weight * (F::one() - weight) * (softmax(r) - score);
        }
        lower.r = r;
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
}
