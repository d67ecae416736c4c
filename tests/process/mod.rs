//! Starting programs under MPI and looking at them and their files from outside.
#![allow(dead_code, unused_imports)] // Each test file uses a part of this.

mod folder;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sobaya::comm::mpi::{Exit, MpiComm, session};
use sobaya::comm::threads;
use sobaya::config::Plan;
use sobaya::data::Folder;
use sobaya::error::Error;
use sobaya::run::{Options, Outcome, run};

pub use folder::{copy, files, sets};

/// A program of a test that runs longer hangs, however busy the machine is.
pub const LIMIT: Duration = Duration::from_secs(300);
/// Names, in a process that a test started under MPI, what that process is to do.
const ROLE: &str = "SOBAYA_TEST_ROLE";

/// Whether as much is tried as jobs/faults.sh promises.
pub fn in_full() -> bool {
    std::env::var("SOBAYA_TRIALS").is_ok_and(|which| which == "full")
}

/// How many trials to make: a few, or all.
pub fn trials(few: usize, all: usize) -> usize {
    if in_full() { all } else { few }
}

/// Says what was seen, for the page on reliability.
pub fn report(promise: &str, trials: usize, seen: &str) {
    println!("reliability: {promise} | {trials} | {seen}");
}

/// The program without a launcher.
pub fn sobaya(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sobaya"));
    command.args(arguments).env_remove("SOBAYA_DATA");
    // Without a launcher, Open MPI then starts no helper process, which takes longer than most of these runs.
    command.env("OMPI_MCA_ess_singleton_isolated", "1");
    apart(&mut command);
    command
}

/// Keeps jobs that run at the same time out of each other's way: Open MPI's jobs share a folder that
/// one may remove while another makes its own in it.
fn apart(command: &mut Command) {
    static JOBS: AtomicUsize = AtomicUsize::new(0);
    let job = format!("{}-{}", std::process::id(), JOBS.fetch_add(1, Ordering::Relaxed));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(job);
    fs::create_dir_all(&folder).expect("the build's folder is writable");
    command.env("OMPI_MCA_orte_tmpdir_base", folder).env("OPENBLAS_NUM_THREADS", "1");
}

/// Lets Open MPI start as many ranks as a test wants, whoever runs it; whether it is Open MPI.
pub fn let_launch(launcher: &mut Command) -> bool {
    static OPEN_MPI: OnceLock<bool> = OnceLock::new();
    let open_mpi = OPEN_MPI.get_or_init(|| {
        let version = Command::new("mpirun").arg("--version").output().expect("mpirun is there");
        String::from_utf8_lossy(&version.stdout).contains("Open MPI")
    });
    if *open_mpi {
        for name in ["ALLOW_RUN_AS_ROOT", "ALLOW_RUN_AS_ROOT_CONFIRM"] {
            launcher.env(format!("OMPI_{name}"), "1");
        }
        for name in ["rmaps_base_oversubscribe", "mpi_yield_when_idle"] {
            launcher.env(format!("OMPI_MCA_{name}"), "1");
        }
    }
    *open_mpi
}

/// `command` on this many ranks.
pub fn mpirun(ranks: usize, command: &Command) -> Command {
    let mut launcher = Command::new("mpirun");
    if let_launch(&mut launcher) {
        launcher.arg("-q");
    }
    launcher.args(["-n", &ranks.to_string()]);
    behind(launcher, command)
}

/// `command` as what another program is to start, in its environment.
pub fn behind(mut launcher: Command, command: &Command) -> Command {
    launcher.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => launcher.env(name, value),
            None => launcher.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        launcher.current_dir(folder);
    }
    launcher
}

/// The running test on this many ranks, each of which finds `role` in [`role`].
pub fn relaunch(test: &str, role: &str, ranks: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path to this test"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role);
    apart(&mut command);
    mpirun(ranks, &command)
}

/// What a relaunched test is to do; `None` in the test itself.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// A relaunched test's part: ends the process, with 0 if no assertion failed.
pub fn on_mpi(body: impl FnOnce(MpiComm)) -> ! {
    session(|comm| {
        body(comm.expect("the launcher fits the MPI library"));
        Exit { code: 0, agreed: true }
    })
}

/// A started program. Dropped while running, it is killed with all that it started.
pub struct Running {
    child: Child,
    out: File,
    err: File,
}

/// How a program ended.
pub struct Finished {
    /// Exit code, or 128 + the signal that ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Finished {
    /// The program's messages on stderr.
    pub fn messages(&self) -> Vec<&str> {
        let said = |line: &&str| line.starts_with("sobaya: ") && !line.starts_with("sobaya: note:");
        self.err.lines().filter(said).collect()
    }

    /// The same, after checking that all is well.
    pub fn well(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }
}

/// Starts a program.
pub fn start(mut command: Command) -> Running {
    let file = || tempfile::tempfile().expect("a temporary file");
    let (out, err) = (file(), file());
    let to = |file: &File| Stdio::from(file.try_clone().expect("a second handle"));
    let child = command.stdin(Stdio::null()).stdout(to(&out)).stderr(to(&err)).spawn();
    Running { child: child.unwrap_or_else(|e| panic!("{command:?}: {e}")), out, err }
}

/// Runs a program to its end.
pub fn finish(command: Command) -> Finished {
    start(command).finish()
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// What it has said on stdout so far.
    pub fn said(&self) -> String {
        content(&self.out)
    }

    pub fn finish(mut self) -> Finished {
        until("the program's end", LIMIT, || !self.is_running());
        let status = self.child.wait().expect("a child");
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Finished { code, out: content(&self.out), err: content(&self.err) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            let ids = descendants(self.id());
            let _ = self.child.kill();
            let _ = self.child.wait();
            ids.into_iter().for_each(kill);
        }
    }
}

fn content(file: &File) -> String {
    let length = file.metadata().expect("an open file").len();
    let mut bytes = vec![0; length as usize];
    // At a given place: the program writes at the position that both handles share.
    file.read_exact_at(&mut bytes, 0).expect("a readable file");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for something to happen.
pub fn until(what: &str, limit: Duration, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn kill(id: u32) {
    // SAFETY: sends a signal to a process that a test started.
    unsafe { libc::kill(id as libc::pid_t, libc::SIGKILL) };
}

/// State letter and parent of a process.
fn state(id: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

pub fn is_alive(id: u32) -> bool {
    state(id).is_some_and(|(state, _)| !"ZX".contains(state))
}

/// All processes below a process.
pub fn descendants(id: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let all = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = all.filter_map(|id| Some((id, state(id)?.1))).collect();
    let mut found = vec![id];
    let mut at = 0;
    while at < found.len() {
        let below = parents.iter().filter(|(_, parent)| *parent == found[at]).map(|&(id, _)| id);
        found.extend(below.collect::<Vec<_>>());
        at += 1;
    }
    found.split_off(1)
}

/// Content of a process's memory line in /proc/ID/status, in bytes.
pub fn memory(id: u32, line: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let words = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))?;
    Some(1024 * words.trim().strip_suffix(" kB")?.parse::<u64>().ok()?)
}

/// A run on the quadratic, to be changed by the test.
pub fn quadratic() -> Value {
    json!({
        "name": "quadratic", "precision": "f64", "workers": 8, "iterations": 200,
        "problem": { "kind": "quadratic" },
        "algorithm": { "kind": "ef-soba", "alpha": 0.002, "beta": 0.01, "gamma": 0.01 },
        "compressor": { "kind": "rand-k", "ratio": 0.1 },
    })
}

/// A small run on the embedded images, to be changed by the test.
pub fn mnist_small() -> Value {
    json!({
        "name": "mnist-small", "workers": 8, "iterations": 200,
        "problem": { "kind": "hyper-representation", "dataset": "mnist-small", "hidden": [16],
                     "batch_lower": 4, "batch_upper": 4 },
        "partition": { "kind": "dirichlet", "concentration": 0.1 },
        "algorithm": { "kind": "ef-soba", "alpha": 0.1, "beta": 0.1, "gamma": 0.1 },
        "compressor": { "kind": "rand-k", "ratio": 0.1 },
    })
}

pub fn plan(config: &Value) -> Plan {
    Plan::new(config.clone()).unwrap_or_else(|e| panic!("{config}: {e}"))
}

/// Writes a config to a folder.
pub fn write(folder: &Path, config: &Value) -> PathBuf {
    let path = folder.join("config.json");
    fs::write(&path, config.to_string()).expect("a writable folder");
    path
}

/// A path or name as an argument.
pub fn text(path: &(impl AsRef<OsStr> + ?Sized)) -> &str {
    path.as_ref().to_str().expect("a name in UTF-8")
}

/// Runs a plan on this many threads of this process.
pub fn on_threads(plan: &Plan, ranks: usize, output: Option<&Path>) -> Outcome {
    let options = || Options::new(output.map(Path::to_owned));
    let mut results = run_on_threads(plan, ranks, |_| options());
    let outcome = results.swap_remove(0).expect("a good plan");
    outcome.expect("the server's outcome")
}

/// What a run on this many threads of this process comes to on each rank, with the options of each.
pub fn run_on_threads(
    plan: &Plan,
    ranks: usize,
    options: impl Fn(usize) -> Options + Sync,
) -> Vec<Result<Option<Outcome>, Error>> {
    let folder = Folder::find(None);
    std::thread::scope(|scope| {
        let start = |(rank, mut comm)| {
            let (folder, options) = (&folder, &options);
            scope.spawn(move || run(plan, &mut comm, folder, &options(rank)))
        };
        let threads: Vec<_> = threads::world(ranks).into_iter().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// A run's summary.json.
pub fn summary(output: &Path) -> Value {
    let bytes = fs::read(output.join("summary.json")).expect("a summary");
    serde_json::from_slice(&bytes).expect("JSON")
}

pub fn log(output: &Path) -> hdf5::File {
    hdf5::File::open(output.join("log.h5")).expect("a log that opens")
}

/// A text attribute of a log.
pub fn attribute(log: &hdf5::File, name: &str) -> String {
    let value = log.attr(name).and_then(|a| a.read_scalar::<hdf5::types::VarLenUnicode>());
    value.unwrap_or_else(|e| panic!("{name}: {e}")).as_str().to_owned()
}

/// The numbers of a dataset of a log, row by row.
pub fn column(log: &hdf5::File, name: &str) -> Vec<f64> {
    let values = log.dataset(name).and_then(|dataset| dataset.read_raw());
    values.unwrap_or_else(|e| panic!("{name}: {e}"))
}
