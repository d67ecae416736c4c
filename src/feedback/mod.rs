//! Feedback: how the workers make up for what compression lost. One file each.
//!
//! Worker i has the direction D_i of a variable and may send c_i = C(v_i) alone. A feedback says what
//! v_i is, what the worker remembers of what it sent, and how the server makes of mean_i c_i an
//! estimate D^ of mean_i D_i. Both sides follow the same recursion from the same bytes.
//!
//! To add one: implement [`Feedback`] and [`FeedbackKind`], add it to [`registry`], and name it in the
//! facts of the algorithms that may use it.

mod diana;
mod econtrol;
mod ef21;
mod ef21_momentum;
mod memory;
mod none;
mod residual;

use std::ops::Range;

use crate::archive::{Archive, Holder};
use crate::compressors::Bound;
use crate::config::KeyError;
use crate::packet::DecodeError;
use crate::registry::{Entry, Family, Kind, Registry, parameters};
use crate::scalar::Scalar;
use crate::vars::{Block, Dims, Vars};

pub use none::None;

/// Adds a multiple of what a worker sent to a vector, from the bytes that travel.
pub type Sent<'a, F> = &'a mut dyn FnMut(F, &mut [F]) -> Result<(), DecodeError>;

/// A feedback with its state on this rank: of the hosted workers, and of the server.
pub trait Feedback<F: Scalar>: Send {
    /// At a hosted worker: turns the direction D_i in `v` into v_i, what is to be compressed.
    fn target(&mut self, worker: usize, block: Block, v: &mut [F]);

    /// At a hosted worker: c_i = C(v_i) was sent, or where `sent` is absent nothing (c_i = 0).
    fn follow(
        &mut self,
        worker: usize,
        block: Block,
        v: &[F],
        sent: Option<Sent<'_, F>>,
    ) -> Result<(), DecodeError>;

    /// At the server: turns mean_i c_i in `mean` into D^.
    fn estimate(&mut self, block: Block, mean: &mut [F]);

    /// Shows the server's state, or a hosted worker's, to `archive` ([`crate::archive`]). That of every
    /// worker is as long.
    fn state(&mut self, of: Holder, archive: &mut Archive<'_>);

    /// Numbers kept for each hosted worker, and at the server.
    fn numbers(&self) -> [usize; 2];
}

/// The family of feedbacks.
pub struct Feedbacks;

/// What building a feedback needs besides its parameters.
#[derive(Clone, Debug)]
pub struct FeedbackContext {
    /// Lengths of the variables.
    pub dims: Dims,
    /// The workers of this rank.
    pub hosted: Range<usize>,
    /// What the compressors of x, y and z promise.
    pub bounds: [Bound; 3],
}

/// What the plan must know of a kind of feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackFacts {
    /// What it asks of compressors.
    pub needs: Needs,
    /// The workers average their directions, as a method with momentum does.
    pub averages: bool,
}

/// What a feedback asks of compressors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Needs {
    /// It loses what compression loses: biased compressors stay biased.
    Open,
    /// It takes every compressor as it is.
    AnyCompressor,
    /// It needs a contraction: an unbiased C is sent as C / (1 + omega).
    Contraction,
    /// It needs an unbiased compressor.
    Unbiased,
}

impl FeedbackFacts {
    /// What C is multiplied by.
    pub fn gain(self, bound: Bound) -> f64 {
        if self.needs == Needs::Contraction { bound.contraction() } else { 1.0 }
    }
}

impl Needs {
    /// The facts of a feedback that needs this and leaves directions as they are.
    const fn facts(self) -> FeedbackFacts {
        FeedbackFacts { needs: self, averages: false }
    }
}

impl Family for Feedbacks {
    type Of<F: Scalar> = dyn Feedback<F>;
    type Context<'a, F: Scalar> = FeedbackContext;
    type Error = KeyError;
    type Facts = FeedbackFacts;
    const WORD: &'static str = "feedback";
}

/// A kind of feedback: its parameters and how to build it.
pub trait FeedbackKind: Kind {
    /// What the plan must know.
    const FACTS: FeedbackFacts;
    /// Builds this rank's part.
    fn build<F: Scalar>(&self, context: FeedbackContext) -> Box<dyn Feedback<F>>;
}

fn entry<K: FeedbackKind>() -> Entry<Feedbacks> {
    Entry::new::<K>(
        K::FACTS,
        |value, context| Ok(parameters::<K>(value)?.build(context)),
        |value, context| Ok(parameters::<K>(value)?.build(context)),
    )
}

/// Every feedback.
pub fn registry() -> Registry<Feedbacks> {
    Registry(vec![
        entry::<none::None>(),
        entry::<residual::Residual>(),
        entry::<memory::Memory>(),
        entry::<ef21::Ef21>(),
        entry::<diana::Diana>(),
        entry::<ef21_momentum::Ef21Momentum>(),
        entry::<econtrol::EControl>(),
    ])
}

/// A vector (x, y, z) for each hosted worker, zero at the start.
struct PerWorker<F> {
    first: usize,
    vectors: Vec<Vars<F>>,
}

impl<F: Scalar> PerWorker<F> {
    fn zeros(context: &FeedbackContext) -> Self {
        let FeedbackContext { dims, hosted, .. } = context;
        Self { first: hosted.start, vectors: hosted.clone().map(|_| Vars::zeros(*dims)).collect() }
    }

    fn of(&self, worker: usize, block: Block) -> &[F] {
        self.vectors[worker - self.first].block(block)
    }

    fn of_mut(&mut self, worker: usize, block: Block) -> &mut [F] {
        self.vectors[worker - self.first].block_mut(block)
    }

    fn state(&mut self, of: Holder, archive: &mut Archive<'_>) {
        if let Holder::Worker(worker) = of {
            archive.vector(self.vectors[worker - self.first].as_mut_slice());
        }
    }
}
