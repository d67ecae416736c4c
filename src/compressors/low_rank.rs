//! Low rank: PowerSGD (Vogels, Karimireddy, Jaggi, NeurIPS 2019) for variables made of matrices.
//!
//! ```text
//! round 1:  worker i sends P_i = M_i Q;     server: P = orthonormal basis of mean_i P_i, to all
//! round 2:  worker i sends Q_i = M_i' P;    server: Q = mean_i Q_i, to all with the next iterate
//! value:    C(M_i) = P Q_i', and the mean of the values is P Q'
//! ```
//!
//! M_i [rows x columns] is one matrix of the vector that worker i compresses, Q [columns x rank] the
//! right factor of the iteration before (one warm power iteration), P [rows x rank]. The factors of
//! all matrices of a variable travel together, coded by an ordinary compressor; P is made a basis
//! again after its code, and Q's code Q~_i is scaled to contract. The columns of P being orthonormal,
//!
//! ```text
//! |M_i - P Q~_i'|^2 = |M_i - P Q_i'|^2 + |Q_i - Q~_i|^2 <= |M_i|^2
//! ```
//!
//! (in the mean, for a random code): nothing is added to the error, but no share of it is guaranteed
//! to go. Error feedback is needed.
//!
//! This file has the mathematics; who sends what when is `net/low_rank.rs`.

use std::num::NonZeroU32;

use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Coder, CoderFacts, CoderKind, Compressor, NotFinite, Site, registry, resolve_unshared,
};
use crate::archive::Archive;
use crate::config::KeyError;
use crate::key::Key;
use crate::packet::{DecodeError, Packet};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Layout, add_scaled, dot, norm};

/// PowerSGD's parameters.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LowRankKind {
    /// Number of columns of each factor; below the rows and the columns of every matrix.
    rank: NonZeroU32,
    /// The compressor of the factors, an object as under `compressor`.
    #[serde(default = "default_factors")]
    factors: Value,
}

fn default_factors() -> Value {
    json!({ "kind": "dithering", "levels": 7, "bucket": 512, "rounding": "nearest" })
}

impl Kind for LowRankKind {
    const KIND: &'static str = "low-rank";
    const SUMMARY: &'static str =
        "P Q' of a given rank for each matrix, in two rounds with a warm start; needs feedback";
    const SOURCE: &'static str = "Vogels, Karimireddy, Jaggi, NeurIPS 2019";

    fn check(&self) -> Result<(), KeyError> {
        let resolve = resolve_unshared(&self.factors);
        resolve.map(|_| ()).map_err(|e| e.below("factors"))
    }
}

impl CoderKind for LowRankKind {
    const FACTS: CoderFacts = CoderFacts { two_rounds: true };

    fn build<F: Scalar>(&self, site: Site<'_>) -> Result<Coder<F>, KeyError> {
        let (rank, layout) = (self.rank.get() as usize, site.layout);
        if let Some([rows, columns]) =
            layout.matrices().iter().find(|shape| shape.iter().any(|&side| side <= rank))
        {
            let problem = format!(
                "must be below the rows and the columns of every matrix of the variable; one is \
                 {rows} x {columns}"
            );
            return Err(KeyError::value("rank", problem));
        }
        let side = |side: usize| {
            Layout::flat(layout.matrices().iter().map(|shape| shape[side] * rank).sum())
        };
        let coder = |side: &Layout| -> Result<Box<dyn Compressor<F>>, KeyError> {
            let built = registry().build(&self.factors, Site { layout: side, ..site });
            built.map_err(|e| e.below("factors"))
        };
        let factor = |side: &Layout| -> Result<Factor<F>, KeyError> {
            Ok(Factor { coder: coder(side)?, values: vec![F::zero(); side.dim()] })
        };
        let (left, right) = (factor(&side(0))?, factor(&side(1))?);
        Ok(Coder::LowRank(LowRank {
            right_gain: F::lit(right.coder.bound().contraction()),
            warm: right.values.clone(),
            left,
            right,
            vectors: vec![],
            rank,
            layout: layout.clone(),
        }))
    }
}

/// A factor of a variable's matrices, matrix by matrix and each column by column, and its code.
pub struct Factor<F> {
    coder: Box<dyn Compressor<F>>,
    values: Vec<F>,
}

impl<F: Scalar> Factor<F> {
    /// The most bytes of its packet.
    pub fn max_packet(&self) -> usize {
        self.coder.max_packet()
    }

    /// Appends its packet.
    pub fn encode(&mut self, key: Key, out: &mut Vec<u8>) -> Result<(), NotFinite> {
        self.coder.encode(&self.values, key, out)
    }

    /// Makes it zero.
    pub fn clear(&mut self) {
        self.values.fill(F::zero());
    }

    /// Adds a multiple of what a packet holds.
    pub fn add(&mut self, packet: Packet<'_>, key: Key, scale: F) -> Result<(), DecodeError> {
        self.coder.decode_add(packet, key, scale, &mut self.values)
    }

    /// Makes it what a packet holds.
    pub fn read(&mut self, packet: Packet<'_>, key: Key) -> Result<(), DecodeError> {
        self.clear();
        self.add(packet, key, F::one())
    }
}

/// A low-rank coder with its state on this rank.
pub struct LowRank<F> {
    /// P_i of a worker, then at the server the mean of the P_i, then on all ranks the basis P.
    pub left: Factor<F>,
    /// Q_i of a worker as it was sent, then at the server their mean.
    pub right: Factor<F>,
    /// What Q's code is multiplied by, so that it contracts. P's needs nothing: it becomes a basis.
    right_gain: F,
    /// Q of the iteration before, as all ranks have it.
    warm: Vec<F>,
    /// What each hosted worker compresses.
    vectors: Vec<Vec<F>>,
    rank: usize,
    layout: Layout,
}

impl<F: Scalar> LowRank<F> {
    /// Before the first iteration: Q with normal entries, the same on all ranks, and room for what
    /// the hosted workers compress.
    pub fn start(&mut self, key: Key, hosted: usize) {
        let mut rng = key.rng();
        self.warm.iter_mut().for_each(|v| *v = F::lit(StandardNormal.sample(&mut rng)));
        self.vectors = vec![vec![F::zero(); self.layout.dim()]; hosted];
    }

    /// Shows to `archive` what an iteration leaves to the next one: Q as all ranks have it, and the mean
    /// right factor at the root that is to come down.
    pub fn state(&mut self, archive: &mut Archive<'_>) {
        archive.vector(&mut self.warm);
        archive.vector(&mut self.right.values);
    }

    /// Numbers kept for each hosted worker.
    pub fn numbers(&self) -> usize {
        self.layout.dim()
    }

    /// P_i = M_i Q of the hosted worker at this place; M_i is kept for [`LowRank::project_back`].
    pub fn project(&mut self, place: usize, vector: &[F]) {
        self.vectors[place].copy_from_slice(vector);
        multiply(&self.layout, self.rank, vector, &self.warm, &mut self.left.values);
    }

    /// Q_i = M_i' P.
    pub fn project_back(&mut self, place: usize) {
        let (m, p) = (&self.vectors[place], &self.left.values);
        multiply_transposed(&self.layout, self.rank, m, p, &mut self.right.values);
    }

    /// What the hosted worker at this place compresses.
    pub fn vector(&self, place: usize) -> &[F] {
        &self.vectors[place]
    }

    /// Makes P an orthonormal basis.
    pub fn make_basis(&mut self) {
        orthonormalize(&self.layout, self.rank, &mut self.left.values);
    }

    /// out += scale P Q'.
    pub fn add_product(&self, scale: F, out: &mut [F]) {
        let scale = scale * self.right_gain;
        add_product(&self.layout, self.rank, scale, &self.left.values, &self.right.values, out);
    }

    /// Makes Q the start of the next power iteration; columns that are zero leave it as it was.
    pub fn keep_warm(&mut self) {
        let (mut warm, mut q) = (&mut self.warm[..], &self.right.values[..]);
        for &[_, columns] in self.layout.matrices() {
            let (old, new);
            (old, warm) = warm.split_at_mut(columns * self.rank);
            (new, q) = q.split_at(columns * self.rank);
            for (old, new) in old.chunks_exact_mut(columns).zip(new.chunks_exact(columns)) {
                if new.iter().any(|&v| v != F::zero()) {
                    old.copy_from_slice(new);
                }
            }
        }
    }
}

/// P = M Q, for every matrix M of `m`.
fn multiply<F: Scalar>(layout: &Layout, rank: usize, m: &[F], q: &[F], p: &mut [F]) {
    let (mut m, mut q, mut p) = (m, q, p);
    for &[rows, columns] in layout.matrices() {
        let (matrix, right, left);
        (matrix, m) = m.split_at(rows * columns);
        (right, q) = q.split_at(columns * rank);
        (left, p) = p.split_at_mut(rows * rank);
        for (right, left) in right.chunks_exact(columns).zip(left.chunks_exact_mut(rows)) {
            for (row, left) in matrix.chunks_exact(columns).zip(left) {
                *left = F::lit(dot(row, right));
            }
        }
    }
}

/// Q = M' P, for every matrix M of `m`.
fn multiply_transposed<F: Scalar>(layout: &Layout, rank: usize, m: &[F], p: &[F], q: &mut [F]) {
    q.fill(F::zero());
    let (mut m, mut p, mut q) = (m, p, q);
    for &[rows, columns] in layout.matrices() {
        let (matrix, left, right);
        (matrix, m) = m.split_at(rows * columns);
        (left, p) = p.split_at(rows * rank);
        (right, q) = q.split_at_mut(columns * rank);
        for (left, right) in left.chunks_exact(rows).zip(right.chunks_exact_mut(columns)) {
            for (row, &left) in matrix.chunks_exact(columns).zip(left) {
                add_scaled(right, left, row);
            }
        }
    }
}

/// out += scale P Q', for every matrix of `out`.
fn add_product<F: Scalar>(layout: &Layout, rank: usize, scale: F, p: &[F], q: &[F], out: &mut [F]) {
    let (mut out, mut p, mut q) = (out, p, q);
    for &[rows, columns] in layout.matrices() {
        let (matrix, left, right);
        (matrix, out) = out.split_at_mut(rows * columns);
        (left, p) = p.split_at(rows * rank);
        (right, q) = q.split_at(columns * rank);
        for (left, right) in left.chunks_exact(rows).zip(right.chunks_exact(columns)) {
            for (row, &left) in matrix.chunks_exact_mut(columns).zip(left) {
                add_scaled(row, scale * left, right);
            }
        }
    }
}

/// Makes the columns of each matrix of P orthonormal (Gram-Schmidt, twice for accuracy); columns
/// that depend on those before become zero.
fn orthonormalize<F: Scalar>(layout: &Layout, rank: usize, p: &mut [F]) {
    let mut p = p;
    for &[rows, _] in layout.matrices() {
        let factor;
        (factor, p) = p.split_at_mut(rows * rank);
        for j in 0..rank {
            let (before, column) = factor.split_at_mut(j * rows);
            let column = &mut column[..rows];
            let length = norm(column);
            for _ in 0..2 {
                for other in before.chunks_exact(rows) {
                    let along = F::lit(-dot(other, column));
                    add_scaled(column, along, other);
                }
            }
            let rest = norm(column);
            let independent = rest > 1e3 * F::epsilon().wide() * length;
            let scale = F::lit(if independent { 1.0 / rest } else { 0.0 });
            column.iter_mut().for_each(|v| *v *= scale);
        }
    }
}
