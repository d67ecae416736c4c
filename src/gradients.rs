//! Do a problem's derivatives agree with finite differences of its losses, and its full samples with
//! its mini-batches?

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::key::{Key, Stream};
use crate::problems::{Draw, Losses, Problem};
use crate::vars::{Block, Blocks, Vars, add_scaled, dot, norm};

/// Relative difference at or below which a derivative counts as right.
pub const TOLERANCE: f64 = 1e-6;

/// Step of the central differences along a unit vector.
const STEP: f64 = 1e-5;
/// Directions along which each derivative is checked.
const PROBES: u32 = 4;
/// Mini-batches whose mean is compared with the full sample.
const BATCHES: u64 = 400;
/// Standard errors by which that mean may be off.
const ERRORS: f64 = 6.0;

/// How far a derivative is from what it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// What was checked.
    pub what: &'static str,
    /// Relative difference; NaN if the problem does not report what it is compared with.
    pub off: f64,
}

impl Finding {
    /// Whether it was compared and found wrong.
    pub fn is_wrong(&self) -> bool {
        self.off > TOLERANCE
    }
}

/// Checks the derivatives of a worker at a random point near the start, in double precision.
///
/// With u a random unit vector, the directional derivatives that must agree on one mini-batch are
///
/// ```text
/// <D_y, u>      = d/de g(x, y + e u)
/// <D_z, u>      = d/de <grad_y g(x, y + e z), u> + d/de f(x, y + e u)
/// <D_x, u>      = d/de f(x + e u, y) + d/de <grad_y g(x + e u, y), z>
/// <grad_x G, u> = d/de g(x + e u, y)
/// ```
///
/// The first line ties grad_y g to the loss, so the others may use it. Over all samples,
///
/// ```text
/// <H_yy g v, u>          = d/de <grad_y g(x, y + e v), u>
/// <grad_y f, u>          = d/de f(x, y + e u)                    f as reported by the metrics
/// <grad_x f + J z, u>    = d/de f(x + e u, y) + d/de <grad_y g(x + e u, y), z>
/// <grad_y g, u>          = the mean of <D_y, u> over mini-batches, within 6 standard errors
/// ```
///
/// The last one is given in units of these errors times the tolerance.
pub fn check(problem: &mut dyn Problem<f64>, seed: u64, worker: usize) -> Vec<Finding> {
    let mut rng = Key::shared(seed, Stream::Start).numbered(1).rng();
    let mut at = problem.start();
    let (x, y, z) = at.split_mut();
    add_normal(&mut rng, x, 0.01);
    add_normal(&mut rng, y, 0.1);
    add_normal(&mut rng, z, 0.1);
    let mut probe = Probe { problem, worker, seed, at, rng };
    let mut findings = probe.on_a_batch().to_vec();
    findings.extend(probe.over_all_samples());
    findings
}

fn add_normal(rng: &mut ChaCha8Rng, v: &mut [f64], scale: f64) {
    for v in v {
        let normal: f64 = StandardNormal.sample(rng);
        *v += scale * normal;
    }
}

/// Central difference of a quantity.
fn rate(ahead: f64, behind: f64) -> f64 {
    (ahead - behind) / (2.0 * STEP)
}

/// A derivative against several directional ones. Along a random unit vector it is about
/// |d| / sqrt(length): the scale of the comparison.
struct Comparison {
    what: &'static str,
    worst: f64,
}

impl Comparison {
    fn of(what: &'static str) -> Self {
        Self { what, worst: 0.0 }
    }

    fn add(&mut self, d: &[f64], u: &[f64], expected: f64) {
        let scale = (norm(d) / (d.len() as f64).sqrt()).max(f64::MIN_POSITIVE);
        let off = (dot(d, u) - expected).abs() / scale;
        // NaN stays.
        self.worst = if off > self.worst || off.is_nan() { off } else { self.worst };
    }

    fn finding(self) -> Finding {
        Finding { what: self.what, off: self.worst }
    }
}

struct Probe<'p> {
    problem: &'p mut dyn Problem<f64>,
    worker: usize,
    seed: u64,
    at: Vars<f64>,
    rng: ChaCha8Rng,
}

impl Probe<'_> {
    /// A random unit vector shaped as a variable.
    fn unit(&mut self, block: Block) -> Vec<f64> {
        let mut u = vec![0.0; self.at.block(block).len()];
        add_normal(&mut self.rng, &mut u, 1.0);
        let length = norm(&u);
        u.iter_mut().for_each(|u| *u /= length);
        u
    }

    fn moved(&self, block: Block, v: &[f64], step: f64) -> Vars<f64> {
        let mut moved = self.at.clone();
        add_scaled(moved.block_mut(block), step, v);
        moved
    }

    fn directions(&mut self, at: &Vars<f64>, iteration: u64) -> (Losses, Vars<f64>) {
        let mut d = Vars::zeros(at.dims());
        let draw = Draw::first(self.seed, self.worker, iteration);
        (self.problem.directions(draw, Blocks::ALL, at, &mut d), d)
    }

    /// Changes of the losses and of grad_y g on the batch per unit step along v in a variable.
    fn along(&mut self, block: Block, v: &[f64]) -> (Losses, Vec<f64>) {
        let [ahead, behind] = [STEP, -STEP].map(|step| self.moved(block, v, step));
        let (ahead, mut change) = self.directions(&ahead, 0);
        let (behind, behind_d) = self.directions(&behind, 0);
        add_scaled(change.block_mut(Block::Y), -1.0, behind_d.y());
        let losses = Losses {
            upper: rate(ahead.upper, behind.upper),
            lower: rate(ahead.lower, behind.lower),
        };
        (losses, change.y().iter().map(|c| c / (2.0 * STEP)).collect())
    }

    fn on_a_batch(&mut self) -> [Finding; 4] {
        let at = self.at.clone();
        let (_, d) = self.directions(&at, 0);
        let mut gradient_x = vec![0.0; at.x().len()];
        let draw = Draw::first(self.seed, self.worker, 0);
        self.problem.lower_gradient_x(draw, &at, &mut gradient_x);
        let hessian_z = self.along(Block::Y, at.z()).1;
        let mut all = ["D_x", "D_y", "D_z", "grad_x G"].map(Comparison::of);
        for _ in 0..PROBES {
            let u = self.unit(Block::X);
            let (losses, change) = self.along(Block::X, &u);
            all[0].add(d.x(), &u, losses.upper + dot(&change, at.z()));
            all[3].add(&gradient_x, &u, losses.lower);
            let u = self.unit(Block::Y);
            let (losses, _) = self.along(Block::Y, &u);
            all[1].add(d.y(), &u, losses.lower);
            all[2].add(d.z(), &u, dot(&hessian_z, &u) + losses.upper);
        }
        all.map(Comparison::finding)
    }

    /// grad_y g over all samples.
    fn full_gradient(&self, x: &[f64], y: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; y.len()];
        self.problem.full(self.worker, x).lower_gradient(y, &mut out);
        out
    }

    /// Change of f over all samples and of <grad_y g, z> per unit step along u in a variable.
    fn full_along(&mut self, block: Block, u: &[f64]) -> [f64; 2] {
        let [ahead, behind] = [STEP, -STEP].map(|step| self.moved(block, u, step));
        let mut upper = |at: &Vars<f64>| self.problem.metrics(self.worker, at).validation_loss;
        let f = rate(upper(&ahead), upper(&behind));
        let z = self.at.z();
        let lower = |at: &Vars<f64>| dot(&self.full_gradient(at.x(), at.y()), z);
        [f, rate(lower(&ahead), lower(&behind))]
    }

    fn over_all_samples(&mut self) -> [Finding; 4] {
        let at = self.at.clone();
        let (mut hessian, mut upper) = (vec![0.0; at.y().len()], vec![0.0; at.y().len()]);
        let mut hypergradient = vec![0.0; at.x().len()];
        let full = self.problem.full(self.worker, at.x());
        full.lower_hessian(at.y(), at.z(), &mut hessian);
        full.upper_gradient(at.y(), &mut upper);
        full.hypergradient(at.y(), at.z(), &mut hypergradient);
        drop(full);
        let names =
            ["H_yy g z, all samples", "grad_y f, all samples", "grad_x f + J z, all samples"];
        let mut all = names.map(Comparison::of);
        for _ in 0..PROBES {
            let u = self.unit(Block::Y);
            let [f, hessian_u] = self.full_along(Block::Y, &u);
            // H is symmetric: z'H u = u'H z.
            all[0].add(&hessian, &u, hessian_u);
            all[1].add(&upper, &u, f);
            let u = self.unit(Block::X);
            let [f, jacobian] = self.full_along(Block::X, &u);
            all[2].add(&hypergradient, &u, f + jacobian);
        }
        let [hessian, upper, hypergradient] = all.map(Comparison::finding);
        [self.mean_of_batches(), hessian, upper, hypergradient]
    }

    fn mean_of_batches(&mut self) -> Finding {
        let at = self.at.clone();
        let u = self.unit(Block::Y);
        let full = dot(&self.full_gradient(at.x(), at.y()), &u);
        let values: Vec<f64> =
            (0..BATCHES).map(|k| dot(self.directions(&at, k).1.y(), &u)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        let error = (variance / (values.len() * (values.len() - 1)) as f64).sqrt();
        let scale = ERRORS * error + TOLERANCE * full.abs();
        let off = TOLERANCE * (mean - full).abs() / scale.max(f64::MIN_POSITIVE);
        Finding { what: "grad_y g, all samples", off }
    }
}
