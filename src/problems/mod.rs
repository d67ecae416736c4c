//! Bilevel problems: one file (or folder) each.
//!
//! To add one: implement [`Problem`] and [`ProblemKind`], add it to [`registry`]. The contract tests
//! (`tests/library/gradients.rs`) then ask for an example and compare its directions with finite differences.

mod batches;
mod hyper_cleaning;
mod hyper_representation;
mod level;
mod policy_evaluation;
mod quadratic;
mod regularization_selection;
mod softmax;

use std::ops::Range;
use std::sync::OnceLock;

use crate::config::KeyError;
use crate::data::{DataError, Folder, Partition, PartitionError, Sampler};
use crate::key::{Key, Stream, Support};
use crate::registry::{Entry, Family, Kind, Registry, parameters};
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Dims, Layout, Vars, add_scaled};

/// Where the samples of one worker's mini-batches come from: a pure function of these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Draw {
    pub seed: u64,
    pub worker: usize,
    pub iteration: u64,
    /// Which of the iteration's lower-level batches.
    pub lower: u32,
    /// Which of the iteration's upper-level batches.
    pub upper: u32,
}

impl Draw {
    /// A worker's first batches in an iteration.
    pub fn first(seed: u64, worker: usize, iteration: u64) -> Self {
        Self { seed, worker, iteration, lower: 0, upper: 0 }
    }

    /// Positions among `len` samples of a mini-batch of `size`, drawn uniformly with replacement.
    ///
    /// # Panics
    /// If `len` is 0.
    pub fn batch(self, stream: Stream, len: usize, size: usize) -> Vec<usize> {
        let mut positions = vec![0; size];
        Sampler::Uniform.indices(len, self.key(stream), &mut positions);
        positions.into_iter().map(|i| i as usize).collect()
    }

    /// Key of one of this draw's streams.
    pub fn key(self, stream: Stream) -> Key {
        let Self { seed, worker, iteration, lower, upper } = self;
        let sub = if stream == Stream::BatchUpper { upper } else { lower };
        Key { seed, stream, worker: worker as u32, iteration, sub }
    }
}

/// Values of the two losses on a worker's batch; NaN for one that was not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// f_i(x, y).
    pub upper: f64,
    /// g_i(x, y).
    pub lower: f64,
}

impl Losses {
    /// Neither was needed.
    pub const NONE: Self = Self { upper: f64::NAN, lower: f64::NAN };

    /// Replaces what `newer` has.
    pub fn update(&mut self, newer: Self) {
        let take = |old: &mut f64, new: f64| *old = if new.is_nan() { *old } else { new };
        take(&mut self.upper, newer.upper);
        take(&mut self.lower, newer.lower);
    }

    /// Adds a worker's share of these means.
    pub fn add_share(&mut self, worker: Self, share: f64) {
        self.upper += worker.upper * share;
        self.lower += worker.lower * share;
    }
}

/// One worker's part of an evaluation; NaN where a problem has no such thing.
#[derive(Clone, Copy, Debug)]
pub struct LocalMetrics {
    /// Correctly classified samples of the worker's share of the test set.
    pub test_correct: f64,
    /// Size of that share.
    pub test_samples: f64,
    /// Sum of the test losses over that share.
    pub test_loss: f64,
    /// Mean of f_i over all of the worker's upper-level samples.
    pub validation_loss: f64,
}

impl LocalMetrics {
    /// The metrics of a problem without a test set: f_i alone.
    pub fn untested(validation_loss: f64) -> Self {
        let nan = f64::NAN;
        Self { test_correct: nan, test_samples: nan, test_loss: nan, validation_loss }
    }
}

/// The rank's part of a bilevel problem: f_i and g_i of the workers that it hosts.
pub trait Problem<F: Scalar>: Send {
    /// Lengths of x and y.
    fn dims(&self) -> Dims;

    /// The matrices that x and y (and z, shaped as y) are made of.
    fn layout(&self) -> [Layout; 2] {
        let Dims { upper, lower } = self.dims();
        [Layout::flat(upper), Layout::flat(lower)]
    }

    /// Where a run starts: at zero, unless the problem says otherwise.
    fn start(&self) -> Vars<F> {
        Vars::zeros(self.dims())
    }

    /// Worker i's stochastic directions at (x, y, z), written over `out`
    /// (SOBA: Dagreou, Ablin, Vaiter, Moreau, NeurIPS 2022):
    ///
    /// ```text
    /// x: grad_x F_i + J_xy G_i z    [p]
    /// y: grad_y G_i                 [q]
    /// z: H_yy G_i z + grad_y F_i    [q]
    /// ```
    ///
    /// with F_i, G_i the losses on the batches that `draw` names. What is not `wanted` may be left
    /// alone: D_y needs no upper-level batch, and only D_x a derivative with respect to x. A function
    /// of `draw` and `at` alone: buffers may be kept, but nothing that changes a later direction, since
    /// checkpoints hold no state of a problem.
    fn directions(&mut self, draw: Draw, wanted: Blocks, at: &Vars<F>, out: &mut Vars<F>)
    -> Losses;

    /// grad_x G_i(x, y) [p] on the lower-level batch that `draw` names, written over `out`: for
    /// methods without second derivatives.
    fn lower_gradient_x(&mut self, draw: Draw, at: &Vars<F>, out: &mut [F]);

    /// Where D_x and grad_x G_i of one mini-batch are other than zero, if that is few of x's entries:
    /// a function of the batch's key alone. Only those entries then travel.
    fn upper_support(&self) -> Option<Box<dyn Support>> {
        None
    }

    /// Worker's part of an evaluation at (x, y). Without a test set f_i is all: [`FullSample::losses`].
    fn metrics(&mut self, worker: usize, at: &Vars<F>) -> LocalMetrics {
        let at = at.wide();
        LocalMetrics::untested(self.full(worker, at.x()).losses(at.y()).upper)
    }

    /// For problems in which x weighs training samples: whether the sample of each entry of x [p] has a
    /// wrong label.
    fn corrupted(&self) -> Option<&[bool]> {
        None
    }

    /// For such problems: the unweighted loss of each of a worker's training samples at y, written to
    /// their places in `out` [p].
    fn sample_losses(&self, _worker: usize, _y: &[F], _out: &mut [f64]) {}

    /// f_i and g_i of a worker over all of its samples at a fixed x [p], in double precision.
    fn full<'a>(&'a self, worker: usize, x: &'a [f64]) -> Box<dyn FullSample + 'a>;

    /// Bytes that hosting these workers takes, samples and buffers.
    fn footprint(&self, workers: Range<usize>) -> usize;

    /// Bytes that [`Problem::full`] of all of these workers at once takes besides; nothing by default.
    fn full_footprint(&self, _workers: Range<usize>) -> usize {
        0
    }
}

/// One worker's losses over all of its samples at a fixed x, for exact evaluations. Every method
/// writes over `out`.
pub trait FullSample {
    /// grad_y g_i(x, y) [q].
    fn lower_gradient(&self, y: &[f64], out: &mut [f64]);
    /// H_yy g_i(x, y) v [q].
    fn lower_hessian(&self, y: &[f64], v: &[f64], out: &mut [f64]);
    /// grad_y f_i(x, y) [q].
    fn upper_gradient(&self, y: &[f64], out: &mut [f64]);
    /// grad_x f_i(x, y) + J_xy g_i(x, y) z [p].
    fn hypergradient(&self, y: &[f64], z: &[f64], out: &mut [f64]);

    /// f_i(x, y) and g_i(x, y); needed where [`Problem::metrics`] or [`directions_of`] leave them to it.
    fn losses(&self, _y: &[f64]) -> Losses {
        Losses { upper: f64::NAN, lower: f64::NAN }
    }
}

/// The directions of a mini-batch whose losses are written as a [`FullSample`] of its samples: D_x, D_y
/// and D_z at (x, y, z) and the losses as in [`Problem::directions`], computed in double precision. The
/// shortest way to a problem, not the fastest: both the iterate and the directions are copied.
pub fn directions_of<F: Scalar>(
    batch: &dyn FullSample,
    wanted: Blocks,
    at: &Vars<F>,
    out: &mut Vars<F>,
) -> Losses {
    let at = at.wide();
    let mut d = Vars::zeros(at.dims());
    let (dx, dy, dz) = d.split_mut();
    if wanted.has(Block::X) {
        batch.hypergradient(at.y(), at.z(), dx);
    }
    if wanted.has(Block::Y) {
        batch.lower_gradient(at.y(), dy);
    }
    if wanted.has(Block::Z) {
        let mut upper = vec![0.0; dz.len()];
        batch.upper_gradient(at.y(), &mut upper);
        batch.lower_hessian(at.y(), at.z(), dz);
        add_scaled(dz, 1.0, &upper);
    }
    for block in wanted.iter() {
        let narrow = out.block_mut(block).iter_mut().zip(d.block(block));
        narrow.for_each(|(out, &d)| *out = F::lit(d));
    }
    batch.losses(at.y())
}

pub use hyper_representation::synthetic as synthetic_hyper_representation;
pub use regularization_selection::synthetic as synthetic_regularization_selection;

/// The family of problems.
pub struct Problems;

/// What building a problem needs besides its parameters.
#[derive(Clone)]
pub struct ProblemContext<'a> {
    /// The run's seed.
    pub seed: u64,
    /// Number of workers.
    pub workers: usize,
    /// The workers of this rank.
    pub hosted: Range<usize>,
    /// How samples are dealt out, for problems with data.
    pub partition: Option<&'a Partition>,
    /// Where data sets lie.
    pub folder: &'a Folder,
}

/// The lengths of x and y if packets can carry them, computed before anything of that size is made.
/// `None` is a length beyond the machine's numbers.
pub fn dims<F: Scalar>(upper: Option<usize>, lower: Option<usize>) -> Result<Dims, KeyError> {
    // A packet counts bytes in 32 bits; the longest code of an entry is a position and a value.
    let most = u32::MAX as usize / (4 + F::BYTES);
    match (upper, lower) {
        (Some(upper), Some(lower)) if upper.max(lower) <= most => Ok(Dims { upper, lower }),
        _ => {
            let problem = format!("x or y has more than the {most} entries that fit a packet");
            Err(KeyError::value("", problem))
        }
    }
}

/// What the plan must know of a kind of problem; by default neither.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProblemFacts {
    /// It has samples, which `partition` deals out.
    pub partitioned: bool,
    /// Its D_x has few entries, and knows where ([`Problem::upper_support`]).
    pub sparse_upper: bool,
}

/// Why a problem cannot be built.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ProblemError {
    #[error(transparent)]
    Key(KeyError),
    #[error("config key `partition`: {0}")]
    Partition(#[from] PartitionError),
    #[error(transparent)]
    Data(#[from] DataError),
}

impl From<KeyError> for ProblemError {
    fn from(error: KeyError) -> Self {
        Self::Key(error.below("problem"))
    }
}

impl From<crate::data::LoadError> for ProblemError {
    fn from(error: crate::data::LoadError) -> Self {
        match error {
            crate::data::LoadError::Key(e) => e.into(),
            crate::data::LoadError::Data(e) => Self::Data(e),
            crate::data::LoadError::Partition(e) => Self::Partition(e),
        }
    }
}

impl Family for Problems {
    type Of<F: Scalar> = dyn Problem<F>;
    type Context<'a, F: Scalar> = ProblemContext<'a>;
    type Error = ProblemError;
    type Facts = ProblemFacts;
    const WORD: &'static str = "problem";
}

/// A kind of problem: its parameters and how to build it.
pub trait ProblemKind: Kind {
    /// What the plan must know.
    const FACTS: ProblemFacts = ProblemFacts { partitioned: false, sparse_upper: false };

    /// Builds the rank's part. Data are read and checked even if it hosts no worker: `sobaya check` does so.
    fn build<F: Scalar>(
        &self,
        context: ProblemContext<'_>,
    ) -> Result<Box<dyn Problem<F>>, ProblemError>;
}

fn entry<K: ProblemKind>() -> Entry<Problems> {
    Entry::new::<K>(
        K::FACTS,
        |value, context| parameters::<K>(value)?.build(context),
        |value, context| parameters::<K>(value)?.build(context),
    )
}

/// The problems of this program.
static REGISTRY: OnceLock<Registry<Problems>> = OnceLock::new();

/// Every problem: those of [`built_in`], or what the program has put in their place.
pub fn registry() -> &'static Registry<Problems> {
    REGISTRY.get_or_init(built_in)
}

/// Makes `registry` the problems of this program, before anything has asked for them.
///
/// # Panics
/// If something has.
pub fn use_registry(registry: Registry<Problems>) {
    let set = REGISTRY.set(registry);
    assert!(set.is_ok(), "problems are registered before the first one is used");
}

/// The problems of this crate.
pub fn built_in() -> Registry<Problems> {
    Registry(vec![
        entry::<hyper_representation::HyperRepresentation>(),
        entry::<hyper_cleaning::HyperCleaning>(),
        entry::<policy_evaluation::PolicyEvaluation>(),
        entry::<quadratic::Quadratic>(),
        entry::<regularization_selection::RegularizationSelection>(),
    ])
}

impl Registry<Problems> {
    /// These problems and one more.
    ///
    /// # Panics
    /// If one of them has its name.
    #[must_use]
    pub fn with<K: ProblemKind>(mut self) -> Self {
        let taken = self.0.iter().any(|entry| entry.kind == K::KIND);
        assert!(!taken, "a problem called \"{}\" is registered already", K::KIND);
        self.0.push(entry::<K>());
        self
    }
}
