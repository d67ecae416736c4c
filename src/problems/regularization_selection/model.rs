//! The linear model Y [rows x columns] and the l2 weights that lie on it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::Chosen;
use crate::scalar::Scalar;
use crate::simd::vectorized;

/// What one entry of x weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// A feature: one row of Y.
    Feature,
    /// A class: one column of Y, of which there is only one for two classes.
    Class,
}

/// Shape of y, row-major, and of x.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Entries of a sample.
    pub features: usize,
    /// Whether every sample has one more entry, 1, whose row of Y is the last one.
    pub intercept: bool,
    /// Scores of a sample: one for two classes, else one for each.
    pub columns: usize,
    /// What x weighs.
    pub weights: Weights,
}

impl Model {
    /// Rows of Y.
    pub fn rows(self) -> usize {
        self.features + usize::from(self.intercept)
    }

    /// Length of x.
    pub fn upper(self) -> usize {
        match self.weights {
            Weights::Feature => self.rows(),
            Weights::Class => self.columns,
        }
    }

    /// Length of y; `None` if that is beyond all machines.
    pub fn lower(self) -> Option<usize> {
        self.rows().checked_mul(self.columns)
    }

    /// S = A V [samples x columns], with the intercept's row added.
    pub fn scores<F: Scalar>(self, a: &Chosen<'_, F>, v: &[F], out: &mut [F]) {
        let (body, intercept) = v.split_at(self.features * self.columns);
        a.scores_into(body, self.columns, out);
        if self.intercept {
            for row in out.chunks_exact_mut(self.columns) {
                row.iter_mut().zip(intercept).for_each(|(s, &v)| *s += v);
            }
        }
    }

    /// out += A'R, for R [samples x columns]: what residuals of scores say of Y.
    pub fn add_transposed<F: Scalar>(self, a: &Chosen<'_, F>, r: &[F], out: &mut [F]) {
        let (body, intercept) = out.split_at_mut(self.features * self.columns);
        a.add_transposed(r, self.columns, body);
        if self.intercept {
            for row in r.chunks_exact(self.columns) {
                intercept.iter_mut().zip(row).for_each(|(sum, &r)| *sum += r);
            }
        }
    }

    /// out = w o V: each entry times the weight that lies on it.
    pub fn weigh<F: Scalar>(self, w: &[F], v: &[F], out: &mut [F]) {
        let n = self.columns;
        vectorized(
            #[inline(always)]
            || match self.weights {
                Weights::Feature if n == 1 => {
                    out_of(out, w.iter().zip(v).map(|(&w, &v)| w * v));
                }
                Weights::Feature => {
                    for ((out, v), &w) in out.chunks_exact_mut(n).zip(v.chunks_exact(n)).zip(w) {
                        out_of(out, v.iter().map(|&v| w * v));
                    }
                }
                Weights::Class => {
                    for (out, v) in out.chunks_exact_mut(n).zip(v.chunks_exact(n)) {
                        out_of(out, w.iter().zip(v).map(|(&w, &v)| w * v));
                    }
                }
            },
        );
    }

    /// out_k = sum of U o V over the entries that weight k lies on.
    pub fn sums<F: Scalar>(self, u: &[F], v: &[F], out: &mut [F]) {
        let n = self.columns;
        let products = |u: &[F], v: &[F]| u.iter().zip(v).fold(F::zero(), |s, (&u, &v)| s + u * v);
        let rows = u.chunks_exact(n).zip(v.chunks_exact(n));
        match self.weights {
            Weights::Feature => out_of(out, rows.map(|(u, v)| products(u, v))),
            Weights::Class => {
                out.fill(F::zero());
                for (u, v) in rows {
                    for (out, (&u, &v)) in out.iter_mut().zip(u.iter().zip(v)) {
                        *out += u * v;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn out_of<F>(out: &mut [F], values: impl Iterator<Item = F>) {
    out.iter_mut().zip(values).for_each(|(out, v)| *out = v);
}
