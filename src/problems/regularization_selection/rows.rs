//! Mini-batches of any samples: products with the rows as they lie.

use super::loss;
use super::model::Model;
use crate::data::{Label, Rows, Sampler, Split};
use crate::key::Key;
use crate::scalar::Scalar;

/// Room for one level's batch.
pub struct Batch<F> {
    indices: Vec<u32>,
    labels: Vec<Label>,
    /// Samples that had to be copied.
    room: Vec<F>,
    scores: Vec<F>,
    change: Vec<F>,
}

impl<F: Scalar> Batch<F> {
    pub fn new(model: Model, samples: usize) -> Self {
        Self {
            indices: vec![0; samples],
            labels: vec![0; samples],
            room: vec![],
            scores: vec![F::zero(); samples * model.columns],
            change: vec![F::zero(); samples * model.columns],
        }
    }

    /// Entries of a level's room for a batch.
    pub fn entries(model: Model, samples: usize, dense: bool) -> usize {
        samples * (2 * model.columns + if dense { model.features } else { 0 })
    }

    /// Adds the mean loss's gradient at Y and its second derivative along Z to what is wanted of them;
    /// returns the mean loss.
    pub fn add(
        &mut self,
        model: Model,
        (split, sampler, key): (&Split<F>, Sampler, Key),
        [y, z]: [&[F]; 2],
        gradient: Option<&mut [F]>,
        second: Option<&mut [F]>,
    ) -> f64 {
        let Self { indices, labels, room, scores, change } = self;
        let samples = labels.len();
        let rows = sampler.rows(split.len(), key, indices);
        match &rows {
            Rows::Slice(range) => labels.copy_from_slice(&split.labels[range.clone()]),
            Rows::Chosen(rows) => {
                let targets = labels.iter_mut().zip(*rows);
                targets.for_each(|(label, &i)| *label = split.labels[i as usize]);
            }
        }
        let a = split.features.choose(rows, room);
        model.scores(&a, y, scores);
        let change = if second.is_some() { &mut change[..] } else { &mut [] };
        if second.is_some() {
            model.scores(&a, z, change);
        }
        let scale = F::lit(1.0 / samples as f64);
        let loss = loss::residuals(model.columns, scores, change, labels, scale);
        if let Some(out) = gradient {
            model.add_transposed(&a, scores, out);
        }
        if let Some(out) = second {
            model.add_transposed(&a, change, out);
        }
        loss / samples as f64
    }
}
