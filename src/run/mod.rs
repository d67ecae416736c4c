//! The loop: build from the plan, step, observe, stop.

pub mod build;
pub mod memory;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::algorithms::{self, Algorithm};
use crate::comm::{Comm, Placement, agree};
use crate::config::{Plan, Precision};
use crate::data::Folder;
use crate::error::Error;
use crate::evaluate::{self, Evaluation};
use crate::log::{Log, Progress, Row, Status, Summary, table};
use crate::net::{Net, NetError, PHASES, Setting, Traffic};
use crate::scalar::Scalar;
use crate::vars::{Vars, all_finite};
use crate::workers::Workers;

/// What a finished run leaves in memory; at the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// 64-bit hash of (x, y, z) as stored, in that order.
    pub state_hash: u64,
    /// What travelled.
    pub traffic: Traffic,
    /// Every evaluation with its iteration.
    pub evaluations: Vec<(u64, Evaluation)>,
}

/// Runs a plan on the ranks of `comm`, logging to `output` if one is given. Every rank calls this
/// with the same plan; the server returns the outcome.
pub fn run(
    plan: &Plan,
    comm: &mut dyn Comm,
    folder: &Folder,
    output: Option<&Path>,
) -> Result<Option<Outcome>, Error> {
    crate::system::use_one_blas_thread();
    match plan.precision {
        Precision::F32 => Run::<f32>::start(plan, comm, folder, output)?.finish(),
        Precision::F64 => Run::<f64>::start(plan, comm, folder, output)?.finish(),
    }
}

struct Run<'r, F> {
    plan: &'r Plan,
    net: Net<'r, F>,
    workers: Workers<F>,
    algorithm: Box<dyn Algorithm<F>>,
    /// The server's, shown to all ranks for an evaluation.
    shown: Vars<F>,
    observer: Option<Observer>,
    start: Instant,
    /// Iterations completed and observed.
    done: u64,
    evaluations: Vec<(u64, Evaluation)>,
}

/// What the server writes and says.
struct Observer {
    log: Log,
    progress: Progress,
    /// Whether it was said that the lower level could not be solved.
    said_unsolved: bool,
}

impl Observer {
    /// Says once a run why metrics at the solution of the lower level are missing.
    fn say_unsolved(&mut self, k: u64) {
        if !std::mem::replace(&mut self.said_unsolved, true) {
            self.progress.note(&format!(
                "iteration {k}: the lower level cannot be solved, so the hypergradient and what else \
                 needs its solution are NaN here: it is not strongly convex, or too badly conditioned; \
                 stronger regularization of the lower level would help; said once a run"
            ));
        }
    }
}

impl<'r, F: Scalar> Run<'r, F> {
    /// Builds everything, or fails on every rank alike.
    fn start(
        plan: &'r Plan,
        comm: &'r mut dyn Comm,
        folder: &Folder,
        output: Option<&Path>,
    ) -> Result<Self, Error> {
        let (rank, ranks) = (comm.rank(), comm.ranks());
        if ranks > plan.workers {
            let error = Error::TooManyRanks { ranks, workers: plan.workers };
            return Err(Error::Agreed(error.failure()));
        }
        let placement = Placement { workers: plan.workers, ranks };
        let hosted = placement.hosted(rank);
        let build = || -> Result<_, Error> {
            let problem = memory::problem_that_fits::<F>(plan, folder, placement, rank)?;
            let links = build::links::<F>(plan, &*problem, hosted.clone())?;
            let algorithm = build::algorithm::<F>(plan, &*problem, hosted)?;
            Ok((problem, links, algorithm))
        };
        let built = build();
        let (problem, links, algorithm) = agreed(comm, built)?;
        // Nothing is written before everything is known to be right on every rank.
        let log = match output {
            Some(output) if rank == 0 => Log::create(output, plan, ranks).map(Some),
            _ => Ok(None),
        };
        let log = agreed(comm, log.map_err(Error::from))?;
        let progress = || Progress::new(&plan.name, plan.iterations);
        let observer = log.map(|log| Observer { log, progress: progress(), said_unsolved: false });

        let dims = problem.dims();
        let setting = Setting {
            workers: plan.workers,
            dims,
            seed: plan.seed,
            fingerprint: plan.fingerprint(),
        };
        let net = Net::new(comm, setting, links);
        Ok(Self {
            plan,
            net,
            workers: Workers::new(problem),
            algorithm,
            shown: Vars::zeros(dims),
            observer,
            start: Instant::now(),
            done: 0,
            evaluations: vec![],
        })
    }

    /// Runs to the end. A failure that the server knows of is written to the log first.
    fn finish(mut self) -> Result<Option<Outcome>, Error> {
        let result = self.iterate().and_then(|()| self.close());
        let Err(error) = result else { return result };
        if let Some(observer) = self.observer.take() {
            observer.progress.finish();
            let summary = self.summary(vec![], crate::system::peak_rss_bytes());
            // A log that cannot be finished is not the reason: the first error is.
            let _ = observer.log.finish(Status::Failed, &error.to_string(), &summary.json());
        }
        Err(error)
    }

    fn iterate(&mut self) -> Result<(), Error> {
        let last = self.plan.iterations;
        self.start = Instant::now();
        self.net.clock.skip();
        self.observe(0)?;
        for k in 0..last {
            self.algorithm.step(k, &mut self.workers, &mut self.net)?;
            if let Some(observer) = &mut self.observer {
                // This step's messages brought the reports of the step before.
                observer.log.reports(self.net.reports())?;
            }
            self.observe(k + 1)?;
            self.done = k + 1;
        }
        Ok(())
    }

    /// Row and, if due, evaluation of the state after k iterations.
    fn observe(&mut self, k: u64) -> Result<(), Error> {
        self.net.clock.charge(crate::net::Phase::Server);
        let evaluation = match self.plan.evaluate.due(k, self.plan.iterations) {
            true => Some(self.evaluate(k)?),
            false => None,
        };
        if let Some(Observer { log, progress, .. }) = &mut self.observer {
            log.row(Row {
                iteration: k,
                wall_time: self.start.elapsed().as_secs_f64(),
                losses: self.net.losses(),
                traffic: self.net.traffic(),
                ranks: vec![],
            });
            if let Some(evaluation) = evaluation {
                log.evaluation(k, evaluation)?;
                progress.evaluation(&evaluation);
            }
            progress.at(k);
        }
        self.net.clock.skip();
        Ok(())
    }

    fn evaluate(&mut self, k: u64) -> Result<Evaluation, Error> {
        let Self { plan, net, workers, algorithm, shown, observer, .. } = self;
        net.show(k, algorithm.iterate(), shown)?;
        if !all_finite(shown.as_slice()) {
            return Err(Error::Diverged { iteration: k });
        }
        let mut evaluation = evaluate::metrics(net, workers.problem(), shown, plan.workers)?;
        if plan.evaluate.hypergradient_due(k, plan.iterations) {
            let problem = workers.problem();
            match evaluate::with_solution(net, problem, shown, plan.workers, evaluation)? {
                Some(solved) => evaluation = solved,
                None => {
                    if let Some(observer) = observer {
                        observer.say_unsolved(k);
                    }
                }
            }
            if !algorithms::registry().facts(&plan.algorithm).auxiliary {
                evaluation.auxiliary_distance = f64::NAN;
            }
        }
        self.evaluations.push((k, evaluation));
        Ok(evaluation)
    }

    /// The last reports, the log, the table.
    fn close(&mut self) -> Result<Option<Outcome>, Error> {
        let report = self.net.report();
        let mut mine: Vec<f64> = self.net.clock.totals().to_vec();
        mine.extend(report.seconds.map(f64::from));
        mine.extend([report.wire_bytes_up as f64, report.wire_bytes_down as f64]);
        mine.push(crate::system::peak_rss_bytes() as f64);
        let Some(ranks) = self.net.values_of_ranks(&mine)? else { return Ok(None) };

        let mut reports = self.net.reports().to_vec();
        for (report, values) in reports.iter_mut().zip(&ranks) {
            report.seconds = std::array::from_fn(|phase| values[PHASES + phase] as f32);
            report.wire_bytes_up = values[2 * PHASES] as u64;
            report.wire_bytes_down = values[2 * PHASES + 1] as u64;
        }
        let seconds =
            ranks.iter().map(|values| std::array::from_fn(|phase| values[phase])).collect();
        let peak = ranks.iter().map(|values| values[2 * PHASES + 2] as u64).max();
        let summary = self.summary(seconds, peak.unwrap_or(0));
        if let Some(Observer { mut log, progress, .. }) = self.observer.take() {
            progress.finish();
            log.reports(&reports)?;
            log.finish(Status::Completed, "", &summary.json())?;
            // Whoever was to read the table may have gone away; the run is complete all the same.
            let _ = std::io::stdout().write_all(table(&summary).as_bytes());
        }
        Ok(Some(Outcome {
            state_hash: summary.state_hash,
            traffic: summary.traffic,
            evaluations: std::mem::take(&mut self.evaluations),
        }))
    }

    fn summary(&self, seconds: Vec<[f64; PHASES]>, peak_rss_bytes: u64) -> Summary {
        let iterate = self.algorithm.iterate();
        let traffic = self.net.traffic();
        let workers = self.plan.workers;
        let dense = self.net.dense_upload(&self.algorithm.rounds());
        Summary {
            name: self.plan.name.clone(),
            iterations: self.done,
            workers,
            ranks: self.net.reports().len(),
            state_hash: iterate.hash(),
            traffic,
            uncompressed_upload: self.done * workers as u64 * dense,
            wall_seconds: self.start.elapsed().as_secs_f64(),
            seconds,
            peak_rss_bytes,
            losses: self.net.losses(),
            evaluation: self.evaluations.last().map(|&(_, evaluation)| evaluation),
        }
    }
}

/// A result that fails on all ranks if it fails on one, with the error of the lowest such rank.
pub fn agreed<T>(comm: &mut dyn Comm, mine: Result<T, Error>) -> Result<T, Error> {
    let (value, told) = match mine {
        Ok(value) => (Some(value), Ok(())),
        Err(error) => (None, Err(error.failure())),
    };
    match (agree(comm, told)?, value) {
        (Ok(()), Some(value)) => Ok(value),
        (Err(failure), _) => Err(Error::Agreed(failure)),
        (Ok(()), None) => Err(NetError::Elsewhere.into()),
    }
}
