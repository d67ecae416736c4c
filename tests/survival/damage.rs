//! Checkpoints that are not as they were written.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sobaya::error::Error;
use sobaya::net::StopReason;
use sobaya::run::{Options, Outcome};

use crate::job::{Dice, Job};
use crate::process::{self, copy, finish, plan, quadratic, report, run_on_threads, sets, trials};

/// What a set consists of on one node.
const FILES: [&str; 2] = ["part-0000", "manifest.json"];

fn config() -> Value {
    let mut config = quadratic();
    config["iterations"] = json!(40);
    config["checkpoint"] = json!({ "every_iterations": 5, "cost": 1.0 });
    config
}

/// Runs in this process, to be stopped after so many iterations more.
fn run(output: &Path, iterations: u64) -> Result<Option<Outcome>, Error> {
    let options = |_| {
        let left = std::cell::Cell::new(iterations);
        let asked_to_stop = move || {
            left.set(left.get().saturating_sub(1));
            (left.get() == 0).then_some(StopReason::User1)
        };
        let options = Options::new(Some(output.to_owned()));
        Options { asked_to_stop: Box::new(asked_to_stop), ..options }
    };
    run_on_threads(&plan(&config()), 1, options).remove(0)
}

/// A change to a set: of the files one behind the other, which byte, and what becomes of it.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut(u64),
    Flip(u64, u8),
    Longer(usize),
}

/// A run that was stopped with two sets, and room to try what becomes of it.
struct Stopped {
    _folder: tempfile::TempDir,
    from: PathBuf,
    scratch: PathBuf,
    older: u64,
    newest: u64,
}

impl Stopped {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [from, scratch] = ["stopped", "scratch"].map(|name| folder.path().join(name));
        assert!(matches!(run(&from, 18), Err(Error::Stopped { .. })));
        let [older, newest] = sets(&from)[..] else { panic!("two sets") };
        Self { _folder: folder, from, scratch, older, newest }
    }

    fn path(&self, set: u64, file: &str) -> PathBuf {
        self.scratch.join(format!("checkpoint-{set}")).join(file)
    }

    fn reset(&self) {
        copy(&self.from, &self.scratch);
    }

    /// Bytes of a set.
    fn length(&self, set: u64) -> u64 {
        let length = |&file| fs::metadata(self.path(set, file)).expect("a file of a set").len();
        FILES.iter().map(length).sum()
    }

    fn damage(&self, set: u64, damage: Damage) {
        let mut files = FILES.map(|file| fs::read(self.path(set, file)).expect("a file of a set"));
        let first = files[0].len() as u64;
        let place =
            |at: u64| if at < first { (0, at as usize) } else { (1, (at - first) as usize) };
        let changed = match damage {
            Damage::Cut(at) => {
                let (file, at) = place(at);
                files[file].truncate(at);
                file
            }
            Damage::Flip(at, bit) => {
                let (file, at) = place(at);
                files[file][at] ^= 1 << bit;
                file
            }
            Damage::Longer(file) => {
                files[file].push(0);
                file
            }
        };
        fs::write(self.path(set, FILES[changed]), &files[changed]).expect("a writable file");
    }

    /// That a run of which this is all that is wrong goes on from the older set.
    fn falls_back(&self, damage: Damage) {
        self.reset();
        self.damage(self.newest, damage);
        // Stopped again at once: it shows where the run went on.
        match run(&self.scratch, 1) {
            Err(Error::Stopped { done, .. }) => assert_eq!(done, self.older + 1, "{damage:?}"),
            other => panic!("{damage:?}: {other:?}"),
        }
        let aside = self.scratch.join(format!("damaged-checkpoint-{}", self.newest));
        assert!(aside.exists(), "{damage:?}");
    }
}

fn flip(dice: &mut Dice, length: u64) -> Damage {
    let bit = dice.below(8 * length);
    Damage::Flip(bit / 8, (bit % 8) as u8)
}

#[test]
fn damaged_sets_are_never_used() {
    let stopped = Stopped::new();
    stopped.reset();
    let length = stopped.length(stopped.newest);
    let cuts = trials(20, 100) as u64;
    for cut in 0..cuts {
        stopped.falls_back(Damage::Cut(cut * (length - 1) / (cuts - 1)));
    }
    let seen = "none accepted; the set before it is used, the damaged one put aside";
    report("newest checkpoint cut short", cuts as usize, seen);
    for file in 0..FILES.len() {
        stopped.falls_back(Damage::Longer(file));
    }
    let flips = trials(50, 1000);
    let mut dice = Dice::new(4);
    for _ in 0..flips {
        let damage = flip(&mut dice, length);
        stopped.falls_back(damage);
    }
    report("one bit of the newest checkpoint flipped", flips, seen);
}

#[test]
fn a_run_with_a_damaged_set_is_the_uncut_one() {
    let stopped = Stopped::new();
    stopped.reset();
    let length = stopped.length(stopped.newest);
    let job = Job::new(&config());
    let trials = trials(3, 20);
    let mut dice = Dice::new(5);
    for trial in 0..trials {
        let damage = match trial % 2 {
            0 => Damage::Cut(dice.below(length)),
            _ => flip(&mut dice, length),
        };
        stopped.reset();
        stopped.damage(stopped.newest, damage);
        let end = finish(job.program(&stopped.scratch)).well();
        let words = format!("resumed at iteration {} ", stopped.older);
        assert!(end.err.contains(&words) && end.err.contains("damaged-checkpoint"), "{}", end.err);
        job.assert_uncut(&stopped.scratch);
    }
    let seen = "a notice says so, and the run is bitwise the uncut one at its end";
    report(
        "newest checkpoint cut short or a bit flipped, then the program to its end",
        trials,
        seen,
    );
}

#[test]
fn without_a_good_set_nothing_is_touched() {
    let stopped = Stopped::new();
    let trials = trials(5, 100);
    let mut dice = Dice::new(6);
    for _ in 0..trials {
        stopped.reset();
        let sets = [stopped.older, stopped.newest];
        for set in sets {
            let damage = flip(&mut dice, stopped.length(set));
            stopped.damage(set, damage);
        }
        let before = process::files(&stopped.scratch);
        let error = run(&stopped.scratch, u64::MAX).expect_err("no good set");
        let words = error.to_string();
        assert_eq!(error.code(), 6, "{words}");
        assert!(sets.iter().all(|set| words.contains(&format!("checkpoint-{set}"))), "{words}");
        assert_eq!(process::files(&stopped.scratch), before);
    }
    report("a bit flipped in both checkpoints", trials, "code 6, and no file is touched");
}
