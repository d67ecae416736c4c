//! jobs/slurm.sbatch with a Slurm and a program that only write down what they are asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Finished, LIMIT, Running, finish, start, text, until};

/// A run that does 10 iterations a part and stops for $REASON: at once unless that is a signal.
const PROGRAM: &str = r#"#!/bin/bash
stop() {
    [[ $PROGRESS == no ]] || { mkdir -p "$out/checkpoint-$k"; echo '{}' > "$out/checkpoint-$k/manifest.json"; }
    printf '{\n  "status": "stopped",\n  "stop_reason": "%s",\n  "iterations": %s\n}\n' "$1" "$k" > "$out/summary.json"
    exit "${CODE:-75}"
}
echo "$*" >> said
out=${@: -1}
mkdir -p "$out"
k=$((10 * (1 + ${SLURM_RESTART_COUNT:-0})))
[[ $REASON == signal* ]] || stop "$REASON"
trap 'stop "signal USR1"' USR1
touch ready
while :; do sleep 0.01; done
"#;
const MPIRUN: &str = "#!/bin/bash\nexec \"${@:4}\"\n";
const SCONTROL: &str = "#!/bin/bash\necho \"$*\" >> requeued\n[[ $REFUSE != yes ]]\n";
const SQUEUE: &str =
    "#!/bin/bash\n[[ $5 == %l ]] && echo 1:00:00 || echo \"/jobs/slurm.sbatch $ARGUMENTS\"\n";

/// A folder from which jobs are submitted.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        let bin = place.path("bin");
        fs::create_dir(&bin).expect("a writable folder");
        let programs =
            [("sobaya", PROGRAM), ("mpirun", MPIRUN), ("scontrol", SCONTROL), ("squeue", SQUEUE)];
        for (name, content) in programs {
            fs::write(bin.join(name), content).expect("a writable folder");
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(bin.join(name), mode).expect("our own file");
        }
        fs::write(place.path("a config.json"), "{}").expect("a writable folder");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The job as Slurm would start it, for a run that stops for this reason.
    fn job(&self, reason: &str, variables: &[(&str, &str)]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/slurm.sbatch");
        let arguments = ["a config.json", "--set", "seed=2"];
        let mut command = Command::new("bash");
        command.arg(script).args(arguments).current_dir(self.0.path());
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", text(&self.path("bin"))));
        let program = self.path("bin/sobaya");
        let defaults = [
            ("SLURM_JOB_ID", "7"),
            ("SLURM_SUBMIT_DIR", text(self.0.path())),
            ("SLURM_NTASKS", "3"),
            ("SOBAYA", text(&program)),
            ("SOBAYA_LAUNCHER", "mpirun"),
            ("REASON", reason),
            ("ARGUMENTS", &arguments.join(" ")),
        ];
        command.envs(defaults).envs(variables.iter().copied());
        command
    }

    fn run(&self, reason: &str, variables: &[(&str, &str)]) -> Finished {
        finish(self.job(reason, variables))
    }

    /// Starts it, and waits until the program runs.
    fn start(&self, variables: &[(&str, &str)]) -> Running {
        let running = start(self.job("signal USR1", variables));
        until("the program's start", LIMIT, || self.path("ready").exists());
        running
    }

    /// What scontrol was asked since the last call.
    fn requeued(&self) -> String {
        let said = fs::read_to_string(self.path("requeued")).unwrap_or_default();
        let _ = fs::remove_file(self.path("requeued"));
        said
    }
}

fn signal(running: &Running, signal: libc::c_int) {
    // SAFETY: a signal to a process that the test has started.
    unsafe { libc::kill(running.id() as libc::pid_t, signal) };
}

#[test]
fn a_job_is_requeued_for_its_time_alone() {
    let place = Place::new();
    let array = [("SLURM_ARRAY_JOB_ID", "5"), ("SLURM_ARRAY_TASK_ID", "2")];
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], i32, &'c str);
    let cases: [Case; 4] = [
        ("time limit", &[], 75, "requeue 7\n"),
        ("time limit", &array, 75, "requeue 5_2\n"),
        ("STOP file", &[], 75, ""),
        ("time limit", &[("CODE", "5")], 5, ""),
    ];
    for (reason, variables, code, requeued) in cases {
        let ended = place.run(reason, variables);
        assert_eq!((ended.code, &place.requeued()[..]), (code, requeued), "{}", ended.err);
        let advice = ended.err.contains("to go on");
        assert_eq!(advice, code == 75 && requeued.is_empty(), "{}", ended.err);
    }
    let said = fs::read_to_string(place.path("said")).expect("what was run");
    assert!(said.lines().all(|line| line == "run a config.json --set seed=2 --out runs/a config"));
}

#[test]
fn signals_reach_the_run_and_only_slurms_own_brings_it_back() {
    let place = Place::new();
    // INT is left out: where this test runs in the background it is ignored.
    for (sent, requeued) in [(libc::SIGUSR1, "requeue 7\n"), (libc::SIGTERM, "")] {
        let _ = fs::remove_file(place.path("ready"));
        let running = place.start(&[]);
        signal(&running, sent);
        let ended = running.finish();
        // The run's own code, not that of a wait that a signal has ended.
        assert_eq!((ended.code, &place.requeued()[..]), (75, requeued), "{}", ended.err);
    }
    let lonely = {
        let mut command = place.job("time limit", &[]);
        command.env_remove("SLURM_JOB_ID");
        finish(command)
    };
    assert_eq!((lonely.code, place.requeued()), (75, String::new()), "{}", lonely.err);
}

#[test]
fn restarts_that_bring_nothing_have_an_end() {
    let place = Place::new();
    let part = |count: &str, progress: &str| {
        let ended =
            place.run("time limit", &[("SLURM_RESTART_COUNT", count), ("PROGRESS", progress)]);
        assert_eq!(ended.code, 75, "{}", ended.err);
        (place.requeued() == "requeue 7\n", ended.err)
    };
    // Those with progress are not counted.
    let parts = [("0", "no"), ("1", "no"), ("2", "no"), ("3", ""), ("4", "no"), ("5", "no")];
    for (count, progress) in parts {
        let (requeued, said) = part(count, progress);
        assert!(requeued, "{count}: {said}");
    }
    let (requeued, said) = part("6", "no");
    assert!(!requeued && said.contains("3 restarts in a row"), "{said}");
    let command = "sbatch --nodes=1 --ntasks=3 --time=1:00:00 /jobs/slurm.sbatch a\\ config.json \
                   --set seed=2";
    assert!(said.contains(command), "{said}");
    // Submitted again by hand, it has its chances again.
    assert!(part("0", "no").0);

    let refused = place.run("time limit", &[("REFUSE", "yes")]);
    assert_eq!((refused.code, &place.requeued()[..]), (75, "requeue 7\n"));
    assert!(refused.err.contains(command), "{}", refused.err);
}
