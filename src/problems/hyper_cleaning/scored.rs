//! A mini-batch and what the scores of its samples come to.

use crate::data::{Chosen, Label, Sampler, Split};
use crate::key::Key;
use crate::scalar::Scalar;

/// Room for the mini-batches of one level.
pub struct Scored<F> {
    classes: usize,
    /// Positions in the worker's samples [rows].
    indices: Vec<u32>,
    labels: Vec<Label>,
    /// For samples that must be copied.
    room: Vec<F>,
    r: Vec<F>,
    s: Vec<F>,
}

/// One mini-batch.
pub struct Batch<'a, F> {
    /// A [rows x features].
    pub samples: Chosen<'a, F>,
    /// Positions in the worker's samples [rows].
    pub indices: &'a [u32],
    pub labels: &'a [Label],
    /// A Y, to become P and R [rows x classes].
    pub r: &'a mut [F],
    /// A Z, to become dR [rows x classes]; of no meaning without Z.
    pub s: &'a mut [F],
}

impl<F: Scalar> Scored<F> {
    pub fn new(rows: usize, classes: usize) -> Self {
        let scores = vec![F::zero(); rows * classes];
        let (indices, labels) = (vec![0; rows], vec![0; rows]);
        Self { classes, indices, labels, room: vec![], r: scores.clone(), s: scores }
    }

    /// Draws the batch that `key` names from a split and scores it at y and, if given, along z.
    pub fn draw<'a>(
        &'a mut self,
        split: &'a Split<F>,
        (sampler, key): (Sampler, Key),
        y: &[F],
        z: Option<&[F]>,
    ) -> Batch<'a, F> {
        let Self { classes, indices, labels, room, r, s } = self;
        sampler.indices(split.len(), key, indices);
        for (label, &i) in labels.iter_mut().zip(&*indices) {
            *label = split.labels[i as usize];
        }
        let samples = split.features.choose(sampler.rows_at(indices), room);
        samples.scores_into(y, *classes, r);
        if let Some(z) = z {
            samples.scores_into(z, *classes, s);
        }
        Batch { samples, indices, labels, r, s }
    }
}
