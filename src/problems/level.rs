//! One of a worker's levels for exact evaluations: all of its samples in double precision.

use std::cell::{Ref, RefCell};

use crate::data::{Chosen, Features, Label, Rows, Split};
use crate::scalar::Scalar;

/// All samples of a level.
pub struct Level<'a> {
    features: Features<f64>,
    pub labels: &'a [Label],
    /// The y of the last [`Level::at`], and what was computed there.
    latest: RefCell<(Vec<f64>, Vec<f64>)>,
}

impl<'a> Level<'a> {
    pub fn of<F: Scalar>(split: &'a Split<F>) -> Self {
        let latest = RefCell::default();
        Self { features: split.features.wide(), labels: &split.labels, latest }
    }

    /// Calls `see` with the samples A [samples x features].
    pub fn samples(&self, see: impl FnOnce(&Chosen<'_, f64>)) {
        let all = Rows::Slice(0..self.labels.len());
        see(&self.features.choose(all, &mut vec![]));
    }

    /// What `compute` makes of y, always the same function: computed once for calls at one y after
    /// another, as solvers ask for many of a Hessian's products.
    pub fn at(&self, y: &[f64], compute: impl FnOnce() -> Vec<f64>) -> Ref<'_, Vec<f64>> {
        if self.latest.borrow().0 != y {
            let value = compute();
            self.latest.replace((y.to_vec(), value));
        }
        Ref::map(self.latest.borrow(), |(_, value)| value)
    }
}
