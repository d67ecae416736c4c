//! Do a problem's derivatives agree with finite differences of its losses, and its full samples with
//! its mini-batches?

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::key::{Key, Stream};
use crate::problems::{Draw, Losses, Problem};
use crate::vars::{Block, Blocks, Vars, add_scaled, all_finite, dot, norm};

/// Relative difference at or below which a derivative counts as right.
pub const TOLERANCE: f64 = 1e-6;

/// Step of the central differences along a unit vector.
const STEP: f64 = 1e-5;
/// Directions along which each derivative is checked.
const PROBES: u32 = 4;
/// Mini-batches whose mean is compared with the full sample. (Slices leave out a worker's samples at the
/// ends more often: if they are a large share of all, that shows.)
const BATCHES: u64 = 400;
/// Standard errors by which that mean may be off.
const ERRORS: f64 = 6.0;

/// How far a derivative is from what it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// What was checked.
    pub what: &'static str,
    /// Relative difference; infinite if one of both is not a number. NaN if the derivative is finite
    /// and the problem does not report the loss to compare it with, f over all samples.
    pub off: f64,
}

impl Finding {
    /// Whether it is other than it should be, or not a number.
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
/// ```
///
/// and, within 6 standard errors of means over mini-batches, in units of which times the tolerance they
/// are given,
///
/// ```text
/// <grad_y g, u>              = the mean of <D_y, u>
/// <H_yy g z + grad_y f, u>   = the mean of <D_z, u>
/// <grad_x f + J z, u>        = the mean of <D_x, u>
/// ```
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

/// What is not a number agrees with nothing.
fn comparable(off: f64) -> f64 {
    if off.is_nan() { f64::INFINITY } else { off }
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
        self.worst = self.worst.max(comparable((dot(d, u) - expected).abs() / scale));
    }

    fn finding(self) -> Finding {
        Finding { what: self.what, off: self.worst }
    }

    /// The finding of a derivative d of f, if the problem reports f.
    fn finding_if(self, reported: bool, d: &[f64]) -> Finding {
        match reported || !all_finite(d) {
            true => self.finding(),
            false => Finding { what: self.what, off: f64::NAN },
        }
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

    fn over_all_samples(&mut self) -> Vec<Finding> {
        let at = self.at.clone();
        let full = self.full_directions();
        let reported = !self.problem.metrics(self.worker, &at).validation_loss.is_nan();
        let names =
            ["H_yy g z, all samples", "grad_y f, all samples", "grad_x f + J z, all samples"];
        let mut all = names.map(Comparison::of);
        for _ in 0..PROBES {
            let u = self.unit(Block::Y);
            let [f, hessian_u] = self.full_along(Block::Y, &u);
            // H is symmetric: z'H u = u'H z.
            all[0].add(&full.hessian, &u, hessian_u);
            all[1].add(&full.upper, &u, f);
            let u = self.unit(Block::X);
            let [f, jacobian] = self.full_along(Block::X, &u);
            all[2].add(full.directions.x(), &u, f + jacobian);
        }
        let mut findings = self.means_of_batches(&full).to_vec();
        let [hessian, upper, hypergradient] = all;
        findings.push(hessian.finding());
        findings.push(upper.finding_if(reported, &full.upper));
        findings.push(hypergradient.finding_if(reported, full.directions.x()));
        findings
    }

    fn full_directions(&self) -> FullDirections {
        let (y, z) = (self.at.y(), self.at.z());
        let (mut hessian, mut upper) = (vec![0.0; y.len()], vec![0.0; y.len()]);
        let (mut directions, mut parts) =
            (Vars::zeros(self.at.dims()), Vars::zeros(self.at.dims()));
        let (dx, dy, dz) = directions.split_mut();
        let full = self.problem.full(self.worker, self.at.x());
        full.lower_hessian(y, z, &mut hessian);
        full.upper_gradient(y, &mut upper);
        full.hypergradient(y, z, dx);
        full.lower_gradient(y, dy);
        dz.copy_from_slice(&hessian);
        add_scaled(dz, 1.0, &upper);
        full.hypergradient(y, &vec![0.0; z.len()], parts.block_mut(Block::X));
        parts.block_mut(Block::Y).copy_from_slice(dy);
        parts.block_mut(Block::Z).copy_from_slice(&upper);
        FullDirections { hessian, upper, directions, parts }
    }

    /// The directions over all samples against the means of those on mini-batches: along random unit
    /// vectors, and along the gradients that they alone tie to the samples, which stand out there most.
    fn means_of_batches(&mut self, full: &FullDirections) -> [Finding; 3] {
        let at = self.at.clone();
        let units = Block::ALL.map(|block| {
            let mut along = full.parts.block(block).to_vec();
            let length = norm(&along);
            along.iter_mut().for_each(|v| *v /= length.max(f64::MIN_POSITIVE));
            [self.unit(block), along]
        });
        let mut values = [(); 3].map(|()| [vec![], vec![]]);
        for k in 0..BATCHES {
            let (_, d) = self.directions(&at, k);
            for ((values, units), block) in values.iter_mut().zip(&units).zip(Block::ALL) {
                for (values, u) in values.iter_mut().zip(units) {
                    values.push(dot(d.block(block), u));
                }
            }
        }
        Block::ALL.map(|block| {
            let i = block as usize;
            let all = units[i].iter().zip(&values[i]);
            let off = all.map(|(u, values)| off_mean(values, dot(full.directions.block(block), u)));
            let what = ["D_x, all samples", "D_y, all samples", "D_z, all samples"][i];
            Finding { what, off: off.fold(0.0, f64::max) }
        })
    }
}

/// Derivatives over all samples.
struct FullDirections {
    /// H_yy g z.
    hessian: Vec<f64>,
    /// grad_y f.
    upper: Vec<f64>,
    /// D_x, D_y and D_z.
    directions: Vars<f64>,
    /// grad_x f, grad_y g and grad_y f.
    parts: Vars<f64>,
}

/// How far the mean of `values` is from `expected`, in units of [`ERRORS`] standard errors times the
/// tolerance.
fn off_mean(values: &[f64], expected: f64) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    let error = (variance / (values.len() * (values.len() - 1)) as f64).sqrt();
    let scale = ERRORS * error + TOLERANCE * expected.abs();
    comparable(TOLERANCE * (mean - expected).abs() / scale.max(f64::MIN_POSITIVE))
}
