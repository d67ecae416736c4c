//! A quadratic problem whose solution is known in closed form.
//!
//! ```text
//! g_i = 1/2 y'H_i y - y'(J_i x + b_i),   f_i = 1/2 |y - t_i|^2 + mu/2 |x|^2 + q_i'x
//!
//! H_i = B B' + I + 0.1 h (S_i + S_i'),   J_i = J_0 + h J~_i,   b_i = b_0 + h b~_i,
//! t_i = t_0 + h t~_i,   q_i = 0.1 q_0 + 0.1 h q~_i
//! B, S_i ~ N(0, 1/q) [q x q],   J ~ N(0, 1/p) [q x p],   vectors ~ N(0, 1)
//! ```
//!
//! h is the heterogeneity. Noise is a fresh linear term a draw, n_y'y in g_i and n_z'y + n_x'x in f_i,
//! so that every entry of every direction gets N(0, noise^2) and the directions stay derivatives of
//! the losses that are reported; grad_x G has none, as that of g_i does not depend on x. The common draws come first and do not depend on the number of workers.

use std::ops::Range;

use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Draw, FullSample, Losses, Problem, ProblemContext, ProblemError, ProblemFacts, ProblemKind,
};
use crate::config::{Count, NonNegative, Positive};
use crate::key::{Key, Stream};
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Dims, Vars, add_scaled, dot};

/// Parameters of the quadratic problem.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quadratic {
    /// p.
    dim_upper: Count,
    /// q.
    dim_lower: Count,
    /// h: how far the workers' problems lie from the common one.
    heterogeneity: NonNegative,
    /// Standard deviation of the normal noise on every entry of every direction.
    noise: NonNegative,
    /// Strong convexity of the upper level in x.
    mu: Positive,
    /// Seed of the matrices and vectors, apart from the run's.
    data_seed: u64,
}

impl Default for Quadratic {
    fn default() -> Self {
        Self {
            dim_upper: Count::constant(40.0),
            dim_lower: Count::constant(60.0),
            heterogeneity: NonNegative::constant(1.0),
            noise: NonNegative::constant(0.0),
            mu: Positive::constant(0.1),
            data_seed: 0,
        }
    }
}

impl Kind for Quadratic {
    const KIND: &'static str = "quadratic";
    const SUMMARY: &'static str = "quadratic upper and lower level with a closed-form solution, heterogeneity and noise by key";
}

impl ProblemKind for Quadratic {
    const FACTS: ProblemFacts = ProblemFacts { partitioned: false, sparse_upper: false };

    fn build<F: Scalar>(
        &self,
        context: ProblemContext<'_>,
    ) -> Result<Box<dyn Problem<F>>, ProblemError> {
        let dims = super::dims::<F>(Some(self.dim_upper.get()), Some(self.dim_lower.get()))?;
        Ok(Box::new(Rank::<F>::new(self, dims, context.hosted)))
    }
}

/// One worker's matrices, row-major, and vectors.
struct Local<F> {
    /// H_i [q x q].
    h: Vec<F>,
    /// J_i [q x p].
    j: Vec<F>,
    b: Vec<F>,
    t: Vec<F>,
    q: Vec<F>,
    mu: F,
}

struct Rank<F> {
    dims: Dims,
    noise: f64,
    first: usize,
    workers: Vec<Local<F>>,
    exact: Vec<Local<f64>>,
    scratch: Vec<F>,
}

/// The draws that H, J, b, t and q are made of, before any scaling.
#[derive(Default)]
struct Normals {
    s: Vec<f64>,
    j: Vec<f64>,
    b: Vec<f64>,
    t: Vec<f64>,
    q: Vec<f64>,
}

impl Normals {
    fn draw(dims: Dims, key: Key) -> Self {
        let mut rng = key.rng();
        let mut normal = |len: usize, variance: f64| -> Vec<f64> {
            let sigma = variance.sqrt();
            (0..len)
                .map(|_| sigma * Distribution::<f64>::sample(&StandardNormal, &mut rng))
                .collect()
        };
        let Dims { upper: p, lower: q } = dims;
        Self {
            s: normal(q * q, 1.0 / q as f64),
            j: normal(q * p, 1.0 / p as f64),
            b: normal(q, 1.0),
            t: normal(q, 1.0),
            q: normal(p, 1.0),
        }
    }
}

impl<F: Scalar> Rank<F> {
    fn new(kind: &Quadratic, dims: Dims, hosted: Range<usize>) -> Self {
        let key = Key::shared(kind.data_seed, Stream::ProblemData);
        // A plan's check hosts no worker, and may be made on a machine smaller than the run's.
        let common = match hosted.is_empty() {
            true => Normals::default(),
            false => Normals::draw(dims, key),
        };
        let exact: Vec<Local<f64>> = hosted
            .clone()
            .map(|worker| {
                let own = Normals::draw(dims, key.numbered(1).worker(worker));
                Local::new(dims, &common, &own, kind.heterogeneity.get(), kind.mu.get())
            })
            .collect();
        Self {
            dims,
            noise: kind.noise.get(),
            first: hosted.start,
            workers: exact.iter().map(Local::narrow).collect(),
            exact,
            scratch: vec![F::zero(); dims.upper.max(dims.lower)],
        }
    }
}

impl Local<f64> {
    fn new(dims: Dims, common: &Normals, own: &Normals, h: f64, mu: f64) -> Self {
        let q = dims.lower;
        let row = |i: usize| &common.s[i * q..(i + 1) * q];
        let mut hessian = vec![0.0; q * q];
        for i in 0..q {
            for j in 0..q {
                let identity = if i == j { 1.0 } else { 0.0 };
                let symmetric = own.s[i * q + j] + own.s[j * q + i];
                hessian[i * q + j] = dot(row(i), row(j)) + identity + 0.1 * h * symmetric;
            }
        }
        let around = |scale: f64, c: &[f64], o: &[f64]| -> Vec<f64> {
            c.iter().zip(o).map(|(c, o)| scale * c + scale * h * o).collect()
        };
        Self {
            h: hessian,
            j: around(1.0, &common.j, &own.j),
            b: around(1.0, &common.b, &own.b),
            t: around(1.0, &common.t, &own.t),
            q: around(0.1, &common.q, &own.q),
            mu,
        }
    }

    fn narrow<F: Scalar>(&self) -> Local<F> {
        let narrow = |v: &Vec<f64>| v.iter().map(|&v| F::lit(v)).collect();
        Local {
            h: narrow(&self.h),
            j: narrow(&self.j),
            b: narrow(&self.b),
            t: narrow(&self.t),
            q: narrow(&self.q),
            mu: F::lit(self.mu),
        }
    }
}

impl<F: Scalar> Local<F> {
    /// out = H v - b, the part of grad_y g that does not hold x; out = H v without `b`.
    fn hessian(&self, v: &[F], b: Option<&[F]>, out: &mut [F]) {
        for (i, (out, row)) in out.iter_mut().zip(self.h.chunks_exact(v.len())).enumerate() {
            *out = F::lit(dot(row, v)) - b.map_or(F::zero(), |b| b[i]);
        }
    }

    /// out = H y - b - J x.
    fn lower_gradient(&self, x: &[F], y: &[F], out: &mut [F]) {
        self.hessian(y, Some(&self.b), out);
        for (out, row) in out.iter_mut().zip(self.j.chunks_exact(x.len())) {
            *out -= F::lit(dot(row, x));
        }
    }

    /// out += y - t, the derivative of f with respect to y.
    fn add_upper_gradient(&self, y: &[F], out: &mut [F]) {
        for ((out, &y), &t) in out.iter_mut().zip(y).zip(&self.t) {
            *out += y - t;
        }
    }

    /// f(x, y).
    fn upper_loss(&self, x: &[F], y: &[F]) -> f64 {
        let away = y.iter().zip(&self.t).map(|(&y, &t)| (y - t).wide().powi(2));
        0.5 * self.mu.wide() * dot(x, x) + dot(&self.q, x) + 0.5 * away.sum::<f64>()
    }

    /// out -= J'y, the derivative of g with respect to x; with z in place of y, J_xy g z.
    fn add_lower_gradient_x(&self, y: &[F], out: &mut [F]) {
        for (row, &y) in self.j.chunks_exact(out.len()).zip(y) {
            add_scaled(out, -y, row);
        }
    }

    /// out = mu x + q - J'z.
    fn hypergradient(&self, x: &[F], z: &[F], out: &mut [F]) {
        for ((out, &x), &q) in out.iter_mut().zip(x).zip(&self.q) {
            *out = self.mu * x + q;
        }
        self.add_lower_gradient_x(z, out);
    }
}

impl<F: Scalar> Problem<F> for Rank<F> {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn directions(
        &mut self,
        draw: Draw,
        wanted: Blocks,
        at: &Vars<F>,
        out: &mut Vars<F>,
    ) -> Losses {
        let local = &self.workers[draw.worker - self.first];
        let (x, y, z) = (at.x(), at.y(), at.z());
        let (dx, dy, dz) = out.split_mut();
        let mut losses = Losses { upper: f64::NAN, lower: f64::NAN };
        if wanted.has(Block::Y) {
            local.lower_gradient(x, y, dy);
            // g = 1/2 y'H y - y'(J x + b) = y'grad_y g - 1/2 y'H y.
            let hy = &mut self.scratch[..y.len()];
            local.hessian(y, None, hy);
            losses.lower = dot(y, dy) - 0.5 * dot(y, hy);
        }
        if wanted.has(Block::Z) {
            local.hessian(z, None, dz);
            local.add_upper_gradient(y, dz);
        }
        if wanted.has(Block::X) {
            local.hypergradient(x, z, dx);
        }
        if wanted.has(Block::Z) || wanted.has(Block::X) {
            losses.upper = local.upper_loss(x, y);
        }
        if self.noise > 0.0 {
            let mut rng = draw.key(Stream::Noise).rng();
            // Drawn for all variables, so that a direction is the same whichever others are wanted.
            let mut add = |block: Block, direction: &mut [F], at: &[F], loss: &mut f64| {
                for (d, at) in direction.iter_mut().zip(at) {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    if wanted.has(block) {
                        *d += F::lit(self.noise * normal);
                    }
                    *loss += self.noise * normal * at.wide();
                }
            };
            add(Block::X, dx, x, &mut losses.upper);
            add(Block::Y, dy, y, &mut losses.lower);
            add(Block::Z, dz, y, &mut losses.upper);
        }
        losses
    }

    fn lower_gradient_x(&mut self, draw: Draw, at: &Vars<F>, out: &mut [F]) {
        out.fill(F::zero());
        self.workers[draw.worker - self.first].add_lower_gradient_x(at.y(), out);
    }

    fn full<'a>(&'a self, worker: usize, x: &'a [f64]) -> Box<dyn FullSample + 'a> {
        Box::new(Full { local: &self.exact[worker - self.first], x })
    }

    fn footprint(&self, workers: Range<usize>) -> usize {
        let Dims { upper: p, lower: q } = self.dims;
        let numbers = q * (p + q) + p + 2 * q;
        // While the last worker's are made, the draws of all and its own are held, too.
        let draws = numbers.saturating_mul(2 * f64::BYTES);
        let held = workers.len().saturating_mul(numbers).saturating_mul(F::BYTES + f64::BYTES);
        held.saturating_add(draws)
    }
}

struct Full<'a> {
    local: &'a Local<f64>,
    x: &'a [f64],
}

impl FullSample for Full<'_> {
    fn lower_gradient(&self, y: &[f64], out: &mut [f64]) {
        self.local.lower_gradient(self.x, y, out);
    }
    fn lower_hessian(&self, _y: &[f64], v: &[f64], out: &mut [f64]) {
        self.local.hessian(v, None, out);
    }
    fn upper_gradient(&self, y: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        self.local.add_upper_gradient(y, out);
    }
    fn hypergradient(&self, _y: &[f64], z: &[f64], out: &mut [f64]) {
        self.local.hypergradient(self.x, z, out);
    }
    /// f_i alone: the directions of a mini-batch have g_i.
    fn losses(&self, y: &[f64]) -> Losses {
        let Self { local, x } = self;
        Losses { upper: local.upper_loss(x, y), lower: f64::NAN }
    }
}
