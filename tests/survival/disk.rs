//! Output folders that cannot be written: full, read-only, another user's, gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::job::{self, Dice, Job, end_of, saved};
use crate::process::{
    Finished, LIMIT, attribute, behind, copy, files, finish, log, mpirun, report, sobaya, start,
    text, trials, until, write,
};
use crate::scenario::{self, goes_on};

/// A file system of its own in memory.
struct Mount(PathBuf);

/// The smallest unit in which it is filled.
const PAGE: u64 = 4096;
const PAGES: u64 = 1024;

impl Mount {
    /// `None` if this user may not mount; only root may.
    fn new(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).expect("a folder of this test");
        let size = format!("size={}", PAGES * PAGE);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "none", text(&at)]);
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(at))
    }

    fn remount(&self, how: &str) {
        let mut mount = Command::new("mount");
        finish({
            mount.args(["-o", &format!("remount,{how}"), text(&self.0)]);
            mount
        })
        .well();
    }

    fn output(&self) -> PathBuf {
        self.0.join("out")
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves so many bytes free, behind what `start` holds.
    fn fill(&self, start: Option<&Path>, free: u64) {
        let _ = fs::remove_file(self.ballast());
        let _ = fs::remove_dir_all(self.output());
        if let Some(start) = start {
            copy(start, &self.output());
        }
        let pages = |bytes: u64| bytes.div_ceil(PAGE);
        let used: u64 = match start {
            Some(_) => files(&self.output()).values().map(|file| pages(file.len() as u64)).sum(),
            None => 0,
        };
        let ballast = (PAGES - used).saturating_sub(free / PAGE) * PAGE;
        fs::write(self.ballast(), vec![0; ballast as usize]).expect("the ballast fits");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// State that is large beside the other files.
fn config() -> Value {
    let mut config = scenario::config();
    config["problem"] = json!({ "kind": "quadratic", "dim_upper": 200, "dim_lower": 300 });
    config
}

/// A folder with a checkpoint after the first iteration.
fn stopped(job: &Job) -> PathBuf {
    let output = job.output("stopped");
    fs::create_dir(&output).expect("a folder of this test");
    fs::write(output.join("STOP"), "").expect("a file of this test");
    assert_eq!(finish(job.program(&output)).code, 75);
    assert_eq!(saved(&output), Some(1));
    output
}

/// That a run ended because its folder cannot be written, and said so once.
fn assert_refused(end: &Finished, output: &Path) {
    assert_eq!((end.code, end.messages().len()), (5, 1), "{}", end.err);
    assert!(end.messages()[0].contains(text(output)), "{}", end.err);
}

/// Space in which a run from `start` gets to its end, to a page.
fn enough(job: &Job, mount: &Mount, start: Option<&Path>) -> u64 {
    let (mut fails, mut completes) = (0, PAGES);
    while completes - fails > 1 {
        let pages = (fails + completes) / 2;
        mount.fill(start, pages * PAGE);
        match finish(job.program(&mount.output())).code {
            0 => completes = pages,
            _ => fails = pages,
        }
    }
    completes * PAGE
}

#[test]
fn a_full_disk_loses_nothing() {
    let job = Job::new(&config());
    let Some(mount) = Mount::new(job.output("disk")) else {
        return println!("skipped: this user may not mount a small file system");
    };
    let stopped = stopped(&job);
    let (offsets, mut kept) = (trials(5, 50), 0);
    for start in [None, Some(&*stopped)] {
        let enough = enough(&job, &mount, start);
        for offset in 0..offsets as u64 {
            mount.fill(start, offset * enough / offsets as u64);
            let output = mount.output();
            let end = finish(job.program(&output));
            assert_refused(&end, &output);
            let sealed = saved(&output);
            assert!(sealed.is_some() || start.is_none(), "the checkpoint is still there");
            kept += usize::from(sealed.is_some());
            if output.join("log.h5").exists() {
                attribute(&log(&output), "status");
            }
            fs::remove_file(mount.ballast()).expect("the ballast");
            goes_on(&job, &output, sealed, &format!("{offset} of {offsets}: {}", end.err));
        }
    }
    let seen = format!(
        "code 5, one message that names the file; {kept} with a checkpoint, from which each went on when there \
         was space, bitwise the uncut run"
    );
    report("disk full at an offset, fresh and resumed", 2 * offsets, &seen);
}

#[test]
fn a_folder_on_a_read_only_disk_is_refused_untouched() {
    let job = Job::new(&config());
    let Some(mount) = Mount::new(job.output("disk")) else {
        return println!("skipped: this user may not mount a small file system");
    };
    copy(&stopped(&job), &mount.output());
    mount.remount("ro");
    let before = files(&mount.0);
    for output in [mount.output(), mount.0.join("new")] {
        let end = finish(job.program(&output));
        assert_refused(&end, &output);
        assert_eq!(files(&mount.0), before);
    }
    mount.remount("rw");
    goes_on(&job, &mount.output(), Some(1), "writable again");
    report("output folder on a read-only disk", 2, "code 5, one message, no file touched");
}

#[test]
fn a_folder_of_another_user_is_refused_untouched() {
    let job = Job::new(&config());
    let stopped = stopped(&job);
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    open(stopped.parent().expect("its folder")).expect("a folder of this test");
    let scratch = tempfile::tempdir().expect("a folder");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).expect("its owner");
    let other = |program: &Command| {
        let mut user = Command::new("setpriv");
        user.args(["--reuid=65534", "--regid=65534", "--clear-groups", "env"]);
        user.arg(format!("OMPI_MCA_orte_tmpdir_base={}", text(scratch.path())));
        user.arg(format!("TMPDIR={}", text(scratch.path())));
        behind(user, program)
    };
    let version = other(&sobaya(&["--version"])).output();
    if !version.is_ok_and(|output| output.status.success()) {
        return println!("skipped: this user may not start programs as another one");
    }
    let before = files(&stopped);
    for output in [stopped.clone(), job.output("new")] {
        let mut program = job.program(&output);
        program.env_remove("OMPI_MCA_orte_tmpdir_base");
        assert_refused(&finish(other(&program)), &output);
        assert_eq!(files(&stopped), before);
        assert!(!job.output("new").exists());
    }
    report("output folder of another user", 2, "code 5, one message, no file touched");
}

#[test]
fn a_folder_that_vanishes_ends_the_run_and_is_not_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = job::config(10_000_000);
    config["log"] = json!({ "every": 100 });
    let path = write(folder.path(), &config);
    let trials = trials(1, 10);
    let mut dice = Dice::new(7);
    for trial in 0..trials {
        for ranks in [1, 3] {
            let output = folder.path().join("out");
            let program = sobaya(&["run", text(&path), "--out", text(&output)]);
            let running = start(if ranks == 1 { program } else { mpirun(ranks, &program) });
            until("a checkpoint", LIMIT, || saved(&output).is_some());
            std::thread::sleep(Duration::from_millis(dice.below(200)));
            if trial % 2 == 0 {
                // Files may come while it is emptied.
                until("an empty folder", LIMIT, || {
                    let _ = fs::remove_dir_all(&output);
                    !output.exists()
                });
            } else {
                let gone = folder.path().join("gone");
                fs::rename(&output, &gone).expect("another name");
                fs::remove_dir_all(&gone).expect("a folder of this test");
            }
            assert_refused(&end_of(running), &output);
            let left: Vec<PathBuf> = files(folder.path()).into_keys().collect();
            assert_eq!(left, std::slice::from_ref(&path), "nothing is made again");
        }
    }
    report(
        "output folder removed or renamed while the run goes on, on 1 and 3 ranks",
        2 * trials,
        "code 5, one message, nothing is made again",
    );
}
