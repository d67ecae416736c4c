//! A run that is started again and again until it is complete, and what it must then be.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{
    Finished, Running, descendants, finish, is_alive, mpirun, quadratic, sets, sobaya, start,
    summary, text, until, write,
};

/// Time after which nothing of a job that was hit is alive.
pub const GONE: Duration = Duration::from_secs(10);

/// Numbers that look random and are the same each time.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 up to, but not, `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A run that takes some seconds and saves itself often.
pub fn config(iterations: u64) -> Value {
    let mut config = quadratic();
    config["iterations"] = json!(iterations);
    config["problem"]["noise"] = json!(0.1);
    config["evaluate"] = json!({ "every": 50 });
    config["checkpoint"] = json!({ "every_iterations": 30, "cost": 1.0 });
    config
}

/// A config with the uncut run of it.
pub struct Job {
    folder: tempfile::TempDir,
    config: PathBuf,
    hash: Value,
    /// What the uncut run took.
    pub took: Duration,
}

impl Job {
    pub fn new(config: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = write(folder.path(), config);
        let mut job = Self { folder, config: path, hash: Value::Null, took: Duration::ZERO };
        let uncut = job.output("uncut");
        let started = Instant::now();
        finish(mpirun(3, &job.program(&uncut))).well();
        job.took = started.elapsed();
        job.hash = summary(&uncut)["state_hash"].clone();
        job
    }

    pub fn output(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn program(&self, output: &Path) -> Command {
        sobaya(&["run", text(&self.config), "--out", text(output)])
    }

    pub fn start(&self, ranks: usize, output: &Path) -> Running {
        start(mpirun(ranks, &self.program(output)))
    }

    pub fn finish(&self, ranks: usize, output: &Path) -> Finished {
        finish(mpirun(ranks, &self.program(output)))
    }

    /// That a completed run is the uncut one, bit for bit.
    pub fn assert_uncut(&self, output: &Path) {
        assert_eq!(summary(output)["status"], "completed");
        assert_eq!(summary(output)["state_hash"], self.hash);
        let uncut = self.output("uncut");
        let diff = finish(sobaya(&["log", "diff", text(&uncut), text(output)])).well();
        assert_eq!(diff.out, "", "sobaya log diff prints nothing");
    }
}

/// The process of a rank among those of a job, if it has come so far.
pub fn of_rank(job: &Running, rank: usize) -> Option<u32> {
    let is_rank = |&id: &u32| {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        let ours = format!("RANK={rank}");
        environment.split(|&byte| byte == 0).any(|variable| {
            ["OMPI_COMM_WORLD_", "PMI_"]
                .iter()
                .any(|prefix| variable.strip_prefix(prefix.as_bytes()) == Some(ours.as_bytes()))
        })
    };
    descendants(job.id()).into_iter().find(is_rank)
}

/// Waits for the end of a job that was hit, with all that belongs to it; its exit code.
pub fn end_of(mut job: Running) -> Finished {
    let hit = Instant::now();
    let ids = descendants(job.id());
    until("the job's end", GONE, || !job.is_running());
    until("the ranks' end", GONE.saturating_sub(hit.elapsed()), || {
        !ids.iter().any(|&id| is_alive(id))
    });
    job.finish()
}

/// Iterations of the newest sealed set.
pub fn saved(output: &Path) -> Option<u64> {
    sets(output).pop()
}
