//! Every registered problem's directions are derivatives of its losses, by finite differences; and the
//! check that says so finds what is wrong.

use std::ops::Range;

use serde_json::{Value, json};

use crate::common::{SEED, problem, problem_examples};
use sobaya::gradients::{self, Finding};
use sobaya::problems::{Draw, FullSample, LocalMetrics, Losses, Problem};
use sobaya::vars::{Block, Blocks, Dims, Vars, add_scaled};

#[test]
fn directions_agree_with_finite_differences() {
    for config in problem_examples() {
        let mut problem = problem::<f64>(&config, 4, 1..3);
        for worker in [1, 2] {
            for Finding { what, off } in gradients::check(&mut *problem, SEED, worker) {
                assert!(off < gradients::TOLERANCE, "{config}, worker {worker}, {what}: {off:e}");
            }
        }
    }
}

/// What is wrong with a problem.
#[derive(Clone, Copy)]
enum Mistake {
    /// One of its directions is 1e-4 too long.
    TooLong(Block),
    /// One of its directions is not a number.
    NotANumber(Block),
    /// Its mini-batches, in losses and directions alike, have F twice.
    UpperTwice,
    /// Its directions are right, f over all samples is not reported.
    Silent,
}

struct Wrong {
    problem: Box<dyn Problem<f64>>,
    mistake: Mistake,
}

impl Problem<f64> for Wrong {
    fn dims(&self) -> Dims {
        self.problem.dims()
    }
    fn start(&self) -> Vars<f64> {
        self.problem.start()
    }
    fn directions(
        &mut self,
        draw: Draw,
        wanted: Blocks,
        at: &Vars<f64>,
        out: &mut Vars<f64>,
    ) -> Losses {
        let mut losses = self.problem.directions(draw, wanted, at, out);
        match self.mistake {
            Mistake::TooLong(block) => {
                out.block_mut(block).iter_mut().for_each(|d| *d *= 1.0 + 1e-4);
            }
            Mistake::NotANumber(block) => out.block_mut(block).fill(f64::NAN),
            Mistake::UpperTwice => {
                // Where z = 0, D_x and D_z are the derivatives of F.
                let (mut at, mut upper) = (at.clone(), Vars::zeros(at.dims()));
                at.block_mut(Block::Z).fill(0.0);
                self.problem.directions(draw, wanted, &at, &mut upper);
                for block in [Block::X, Block::Z] {
                    add_scaled(out.block_mut(block), 1.0, upper.block(block));
                }
                losses.upper *= 2.0;
            }
            Mistake::Silent => {}
        }
        losses
    }
    fn lower_gradient_x(&mut self, draw: Draw, at: &Vars<f64>, out: &mut [f64]) {
        self.problem.lower_gradient_x(draw, at, out);
    }
    fn metrics(&mut self, worker: usize, at: &Vars<f64>) -> LocalMetrics {
        match self.mistake {
            Mistake::Silent => LocalMetrics::untested(f64::NAN),
            _ => self.problem.metrics(worker, at),
        }
    }
    fn full<'a>(&'a self, worker: usize, x: &'a [f64]) -> Box<dyn FullSample + 'a> {
        self.problem.full(worker, x)
    }
    fn footprint(&self, workers: Range<usize>) -> usize {
        self.problem.footprint(workers)
    }
}

fn findings_of(config: &Value, mistake: Mistake) -> Vec<Finding> {
    let mut wrong = Wrong { problem: problem(config, 4, 1..3), mistake };
    gradients::check(&mut wrong, SEED, 1)
}

#[test]
fn the_check_finds_a_direction_that_is_slightly_wrong() {
    for config in problem_examples() {
        for block in Block::ALL {
            let finding = findings_of(&config, Mistake::TooLong(block))[block as usize];
            let Finding { what, off } = finding;
            assert!(
                finding.is_wrong() && off > 10.0 * gradients::TOLERANCE,
                "{config}, {what}: {off:e}"
            );
        }
    }
}

#[test]
fn the_check_takes_no_direction_that_is_not_a_number() {
    let config = &problem_examples()[0];
    for block in Block::ALL {
        let finding = findings_of(config, Mistake::NotANumber(block))[block as usize];
        assert!(finding.is_wrong(), "{}: {:e}", finding.what, finding.off);
    }
    let findings = findings_of(config, Mistake::Silent);
    let silent: Vec<&str> = findings.iter().filter(|f| f.off.is_nan()).map(|f| f.what).collect();
    assert_eq!(silent, ["grad_y f, all samples", "grad_x f + J z, all samples"]);
    assert!(!findings.iter().any(Finding::is_wrong), "{findings:?}");
}

/// On a mini-batch, directions and losses agree; over all samples they do not.
#[test]
fn the_check_finds_mini_batches_of_another_loss() {
    let uniform = problem_examples().into_iter().filter(|config| config["sampler"] != "slice");
    for mut config in uniform {
        // With little noise.
        for key in ["batch_lower", "batch_upper"] {
            if let Some(batch) = config.get_mut(key) {
                *batch = json!(100);
            }
        }
        let findings = findings_of(&config, Mistake::UpperTwice);
        let wrong: Vec<&str> = findings.iter().filter(|f| f.is_wrong()).map(|f| f.what).collect();
        assert!(wrong.contains(&"D_z, all samples"), "{config}: {findings:?}");
        assert!(wrong.iter().all(|what| what.ends_with("all samples")), "{config}: {findings:?}");
    }
}
