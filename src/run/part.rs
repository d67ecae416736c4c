//! A part of a run: from its start or a checkpoint to its end or a stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::begin::{Begun, Root, begin};
use super::observer::Observer;
use super::schedule::Schedule;
use super::watchdog::{Watchdog, Watched, end_the_job};
use super::{Options, Outcome, agreed, build, memory};
use crate::algorithms::{self, Algorithm};
use crate::checkpoint::{Checkpoints, Identity};
use crate::comm::{Comm, Placement};
use crate::config::{GraphPlan, Plan};
use crate::data::Folder;
use crate::error::Error;
use crate::evaluate::{self, Evaluation};
use crate::log::{Progress, Row, Summary};
use crate::net::{LinkBytes, Net, PHASES, Phase, RankReport, Setting, StopReason, Wishes};
use crate::scalar::Scalar;
use crate::vars::{Dims, Vars, all_finite};
use crate::workers::Workers;

pub struct Part<'r, F> {
    plan: &'r Plan,
    options: &'r Options,
    net: Net<'r, F>,
    workers: Workers<F>,
    algorithm: Box<dyn Algorithm<F>>,
    checkpoints: Option<Checkpoints>,
    /// The server's iterate, shown to all ranks for an evaluation.
    shown: Vars<F>,
    observer: Option<Observer>,
    start: Instant,
    /// Seconds of the parts before.
    before: f64,
    /// Iterations completed and observed.
    done: u64,
    /// Whether the start, or the state that was restored, has been observed.
    observed: bool,
    evaluations: Vec<(u64, Evaluation)>,
    /// What each link has carried, at a stop and at the end; at the root, without a server.
    links: Vec<LinkBytes>,
    iteration: Arc<AtomicU64>,
    _watchdog: Watchdog,
}

impl<'r, F: Scalar> Part<'r, F> {
    /// Builds everything and begins or resumes, or fails on every rank alike; `None` if the run is complete.
    pub fn start(
        plan: &'r Plan,
        comm: &'r mut dyn Comm,
        folder: &Folder,
        options: &'r Options,
    ) -> Result<Option<Self>, Error> {
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
        let dims = problem.dims();
        // Nothing is written before everything is known to be right on every rank.
        let begun = match &options.output {
            Some(output) => match begin(comm, plan, identity::<F>(plan, dims), output, options)? {
                Some(begun) => Some(begun),
                None => return Ok(None),
            },
            None => None,
        };
        let setting = Setting {
            workers: plan.workers,
            dims,
            seed: plan.seed,
            fingerprint: plan.fingerprint(),
        };
        let net = Net::new(comm, setting, links);
        let iteration = Arc::new(AtomicU64::new(0));
        let watched = Watched { pulse: net.clock.pulse(), iteration: iteration.clone(), rank };
        let watchdog = Watchdog::start(watched, plan.watchdog_seconds, end_the_job);
        let watchdog = watchdog.map_err(Error::Thread)?;
        let mut part = Self {
            plan,
            options,
            net,
            workers: Workers::new(problem),
            algorithm,
            checkpoints: None,
            shown: Vars::zeros(dims),
            observer: None,
            start: Instant::now(),
            before: 0.0,
            done: 0,
            observed: false,
            evaluations: vec![],
            links: vec![],
            iteration,
            _watchdog: watchdog,
        };
        if let Some(begun) = begun {
            part.take_up(begun)?;
        }
        Ok(Some(part))
    }

    /// Restores the state and begins to log.
    fn take_up(&mut self, begun: Begun) -> Result<(), Error> {
        let Begun { checkpoints, restored, root } = begun;
        self.checkpoints = Some(checkpoints);
        if let Some(restored) = restored {
            let Self { algorithm, net, .. } = self;
            let applied = restored.apply(&mut |holder, archive| {
                algorithm.state(holder, archive);
                net.state(holder, archive);
            });
            agreed(net.comm(), applied.map_err(Error::from))?;
            self.done = restored.iteration;
            self.observed = true;
        }
        let Some(root) = root else { return Ok(()) };
        let progress = Progress::new(&self.plan.name, self.done, self.plan.iterations);
        root.notices.iter().for_each(|notice| progress.note(notice));
        self.before = root.before;
        let stop_file = root.lock.claim().folder().join("STOP");
        let now = (self.options.now)();
        let schedule = Schedule::new(self.plan.checkpoint, self.options.max_time, stop_file, now);
        let Root { lock, log, .. } = root;
        self.observer = Some(Observer { log, progress, schedule, lock, said_unsolved: false });
        Ok(())
    }

    /// Runs to the end or a stop. A failure that the server knows of is written to the log first.
    pub fn finish(mut self) -> Result<Option<Outcome>, Error> {
        let result = self.iterate().and_then(|()| self.close());
        let Err(error) = result else { return result };
        let summary = self.summary(vec![], crate::system::peak_rss_bytes());
        if let Some(observer) = self.observer.take() {
            observer.give_up(&error, &summary);
        }
        Err(error)
    }

    fn iterate(&mut self) -> Result<(), Error> {
        let last = self.plan.iterations;
        self.start = Instant::now();
        self.net.clock.skip();
        if !self.observed {
            self.observe(0)?;
        }
        for k in self.done..last {
            self.iteration.store(k, Ordering::Relaxed);
            self.wish(k + 1);
            self.algorithm.step(k, &mut self.workers, &mut self.net)?;
            if let Some(observer) = &mut self.observer {
                // This step's messages brought the reports of the step before.
                observer.log.reports(self.net.reports())?;
            }
            self.observe(k + 1)?;
            self.done = k + 1;
            let wishes = self.net.take_agreed();
            if self.done < last {
                self.heed(wishes)?;
            }
        }
        Ok(())
    }

    /// Has the messages of the step to iteration `next` carry what this rank wants after it.
    fn wish(&mut self, next: u64) {
        self.net.wish(Wishes { save: false, stop: (self.options.asked_to_stop)() });
        if let Some(observer) = &mut self.observer {
            let now = (self.options.now)();
            self.net.wish(observer.schedule.wishes(now, next));
            observer.say_stretched();
        }
    }

    /// Does what all ranks know to be wanted.
    fn heed(&mut self, wishes: Wishes) -> Result<(), Error> {
        if wishes != Wishes::default() {
            self.net.settle(self.done)?;
            if wishes.stop.is_some() {
                self.links = self.net.link_bytes()?;
            }
            self.save()?;
        }
        let Some(reason) = wishes.stop else { return Ok(()) };
        if let (StopReason::StopFile, Some(observer)) = (reason, &self.observer) {
            // Whoever started the run again would find it stopped again.
            if let Some(note) = observer.schedule.remove_stop_file() {
                observer.progress.note(&note);
            }
        }
        Err(Error::Stopped { reason, done: self.done, last: self.plan.iterations })
    }

    /// Makes a checkpoint of the state as it is.
    fn save(&mut self) -> Result<(), Error> {
        if self.checkpoints.is_none() {
            return Ok(());
        }
        let begun = (self.options.now)();
        // The row of this iteration has to be in the log that the checkpoint refers to.
        let reports = self.last_reports()?.map(|reports| reports.last);
        let Self { net, algorithm, checkpoints: Some(checkpoints), observer, links, .. } = self
        else {
            return Ok(());
        };
        let mut position = Value::Null;
        if let (Some(observer), Some(reports)) = (&mut *observer, reports) {
            observer.log.reports(&reports)?;
            observer.log.links(links)?;
            position = json!(observer.log.position()?);
        }
        let (rank, ranks) = (net.comm().rank(), net.comm().ranks());
        let state = checkpoints.state(rank, ranks, self.done, &mut |holder, archive| {
            algorithm.state(holder, archive);
            net.state(holder, archive);
        });
        checkpoints.save(net.comm(), self.done, position, state)?;
        if let Some(observer) = observer {
            let now = (self.options.now)();
            observer.schedule.saved(now, now - begun);
        }
        net.clock.skip();
        Ok(())
    }

    /// Row and, if due, evaluation of the state after k iterations.
    fn observe(&mut self, k: u64) -> Result<(), Error> {
        self.net.clock.charge(Phase::Server);
        let evaluation = match self.plan.evaluate.due(k, self.plan.iterations) {
            true => Some(self.evaluate(k)?),
            false => None,
        };
        if let Some(observer) = &mut self.observer {
            let row = Row {
                iteration: k,
                wall_time: self.start.elapsed().as_secs_f64(),
                losses: self.net.losses(),
                traffic: self.net.traffic(),
                ranks: vec![],
            };
            observer.observe(row, evaluation)?;
        }
        self.net.clock.skip();
        Ok(())
    }

    fn evaluate(&mut self, k: u64) -> Result<Evaluation, Error> {
        let Self { plan, net, workers, algorithm, shown, observer, .. } = self;
        let consensus = algorithm.show(k, net, shown)?;
        if !all_finite(shown.as_slice()) {
            return Err(Error::Diverged { iteration: k });
        }
        let metrics = evaluate::metrics(net, workers.problem(), shown, plan.workers)?;
        let mut evaluation = metrics.with_consensus(consensus);
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

    /// The reports of all ranks about the step that has just ended, and what they have to say of this part of
    /// the run; at the root.
    fn last_reports(&mut self) -> Result<Option<Reports>, Error> {
        let report = self.net.report();
        let mut mine: Vec<f64> = self.net.clock.totals().to_vec();
        mine.extend(report.seconds.map(f64::from));
        mine.extend([report.wire_bytes_up as f64, report.wire_bytes_down as f64]);
        mine.push(crate::system::peak_rss_bytes() as f64);
        let Some(ranks) = self.net.values_of_ranks(&mine)? else { return Ok(None) };
        let report = |values: &Vec<f64>| RankReport {
            seconds: std::array::from_fn(|phase| values[PHASES + phase] as f32),
            wire_bytes_up: values[2 * PHASES] as u64,
            wire_bytes_down: values[2 * PHASES + 1] as u64,
        };
        let of_rank = |values: &Vec<f64>| OfRank {
            seconds: std::array::from_fn(|phase| values[phase]),
            peak_rss_bytes: values[2 * PHASES + 2] as u64,
        };
        let last = ranks.iter().map(report).collect();
        Ok(Some(Reports { last, ranks: ranks.iter().map(of_rank).collect() }))
    }

    /// The last checkpoint, reports, the log, the table.
    fn close(&mut self) -> Result<Option<Outcome>, Error> {
        self.links = self.net.link_bytes()?;
        if self.plan.checkpoint.at_end {
            self.save()?;
        }
        if self.evaluations.is_empty() {
            // A run that was resumed at its end, for the summary.
            self.evaluate(self.done)?;
        }
        let Some(Reports { last: reports, ranks }) = self.last_reports()? else { return Ok(None) };
        let peak = ranks.iter().map(|rank| rank.peak_rss_bytes).max().unwrap_or(0);
        let seconds = ranks.into_iter().map(|rank| rank.seconds).collect();
        let summary = self.summary(seconds, peak);
        if let (Some(observer), Some(checkpoints)) = (self.observer.take(), &self.checkpoints) {
            let _lock = observer.complete(&reports, &summary)?;
            checkpoints.keep(usize::from(self.plan.checkpoint.at_end))?;
        }
        Ok(Some(Outcome {
            state_hash: summary.state_hash,
            traffic: summary.traffic,
            evaluations: std::mem::take(&mut self.evaluations),
        }))
    }

    fn summary(&self, seconds: Vec<[f64; PHASES]>, peak_rss_bytes: u64) -> Summary {
        let workers = self.plan.workers;
        let dense = self.net.dense_upload(&self.algorithm.rounds());
        let part_seconds = self.start.elapsed().as_secs_f64();
        Summary {
            name: self.plan.name.clone(),
            iterations: self.done,
            workers,
            ranks: self.net.reports().len(),
            state_hash: self.algorithm.iterate().hash(),
            traffic: self.net.traffic(),
            uncompressed_upload: self.done * dense,
            wall_seconds: self.before + part_seconds,
            part_seconds,
            seconds,
            peak_rss_bytes,
            checkpoints: self.observer.as_ref().map_or((0, 0.0), |o| o.schedule.cost()),
            losses: self.net.losses(),
            spectral_gaps: self.plan.graph.as_ref().map(GraphPlan::spectral_gaps),
            links: self.links.clone(),
            evaluation: self.evaluations.last().map(|&(_, evaluation)| evaluation),
        }
    }
}

/// What all ranks have to say.
struct Reports {
    /// Of the step that has just ended.
    last: Vec<RankReport>,
    /// Of this part of the run.
    ranks: Vec<OfRank>,
}

/// What a rank has to say of this part of the run.
struct OfRank {
    /// By phase.
    seconds: [f64; PHASES],
    peak_rss_bytes: u64,
}

fn identity<F: Scalar>(plan: &Plan, dims: Dims) -> Identity {
    Identity {
        precision: F::NAME.to_owned(),
        workers: plan.workers,
        dims: dims.blocks(),
        config: plan.state_config(),
    }
}
