//! Do the directions agree with finite differences of the losses?

use rand_distr::{Distribution, StandardNormal};

use crate::key::{Key, Stream};
use crate::problems::{Draw, Losses, Problem};
use crate::vars::{Block, Vars, add_scaled, dot, norm};

/// Relative difference at or below which a direction counts as right.
pub const TOLERANCE: f64 = 1e-6;

/// Step of the central differences along a unit vector.
const STEP: f64 = 1e-5;
/// Directions along which each variable is checked.
const PROBES: u32 = 4;

/// How far the directions of a problem are from finite differences, relative, by variable.
///
/// With u a random unit vector, the directional derivatives that must agree are
///
/// ```text
/// <D_y, u> = d/de g(x, y + e u)
/// <D_z, u> = d/de <grad_y g(x, y + e z), u> + d/de f(x, y + e u)
/// <D_x, u> = d/de f(x + e u, y) + d/de <grad_y g(x + e u, y), z>
/// ```
///
/// at a random point near the start, on one mini-batch, in double precision. The first line ties
/// grad_y g to the loss, so the others may use it.
pub fn check(problem: &mut dyn Problem<f64>, seed: u64, worker: usize) -> [f64; 3] {
    let draw = Draw { seed, worker, iteration: 0 };
    let mut rng = Key::shared(seed, Stream::Start).numbered(1).rng();
    let mut normal = |v: &mut [f64], scale: f64| {
        v.iter_mut().for_each(|v| {
            let n: f64 = StandardNormal.sample(&mut rng);
            *v += scale * n;
        });
    };
    let mut at = problem.start();
    let (x, y, z) = at.split_mut();
    normal(x, 0.01);
    normal(y, 0.1);
    normal(z, 0.1);

    let mut eval = |at: &Vars<f64>| -> (Losses, Vars<f64>) {
        let mut d = Vars::zeros(at.dims());
        (problem.directions(draw, at, &mut d), d)
    };
    // (change of the losses, change of grad_y g) per unit step along v in a variable.
    let mut along = |block: Block, v: &[f64]| -> (Losses, Vec<f64>) {
        let mut moved = |step: f64| {
            let mut moved = at.clone();
            add_scaled(moved.block_mut(block), step, v);
            eval(&moved)
        };
        let (ahead, mut change) = moved(STEP);
        let (behind, behind_d) = moved(-STEP);
        add_scaled(change.block_mut(Block::Y), -1.0, behind_d.y());
        let rate = |ahead: f64, behind: f64| (ahead - behind) / (2.0 * STEP);
        let losses = Losses {
            upper: rate(ahead.upper, behind.upper),
            lower: rate(ahead.lower, behind.lower),
        };
        (losses, change.y().iter().map(|c| c / (2.0 * STEP)).collect())
    };

    let hessian_z = along(Block::Y, at.z()).1;
    let mut expected = vec![];
    for _ in 0..PROBES {
        for block in Block::ALL {
            let mut u = vec![0.0; at.block(block).len()];
            normal(&mut u, 1.0);
            let length = norm(&u);
            u.iter_mut().for_each(|u| *u /= length);
            let derivative = match block {
                Block::Y => along(Block::Y, &u).0.lower,
                Block::Z => dot(&hessian_z, &u) + along(Block::Y, &u).0.upper,
                Block::X => {
                    let (losses, change) = along(Block::X, &u);
                    losses.upper + dot(&change, at.z())
                }
            };
            expected.push((block, u, derivative));
        }
    }
    let (_, directions) = eval(&at);
    let mut worst = [0.0f64; 3];
    for (block, u, derivative) in expected {
        let d = directions.block(block);
        // A derivative along a random u is about |d| / sqrt(length): the scale of the comparison.
        let scale = norm(d) / (d.len() as f64).sqrt();
        let off = (dot(d, &u) - derivative).abs() / scale.max(f64::MIN_POSITIVE);
        worst[block as usize] = worst[block as usize].max(off);
    }
    worst
}
