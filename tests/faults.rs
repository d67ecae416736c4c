//! A rank that fails ends the whole job, at once and with one message.

mod process;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use process::{LIMIT, Running, attribute, descendants, finish, is_alive, log, mpirun, quadratic};
use process::{relaunch, role, sobaya, start, summary, text, until, write};
use serde_json::{Value, json};
use sobaya::comm::mpi::{Exit, session};
use sobaya::comm::{Comm, Messages};

/// The promised time from the fault to the end of the job.
const PROMISE: Duration = Duration::from_secs(5);
/// Exit code of the rank that fails.
const CODE: i32 = 42;

/// Ranks that talk to each other until rank 1 misbehaves. It says so first.
fn job(fault: &str) -> ! {
    session(|comm| {
        let mut comm = comm.expect("the launcher fits the MPI library");
        let mut inbox = Messages::default();
        for round in 0.. {
            if round == 10 && comm.rank() == 1 {
                println!("now");
                match fault {
                    "panic" => panic!("on purpose"),
                    "panic of a helper" => {
                        let helper = std::thread::spawn(|| panic!("on purpose"));
                        assert!(helper.join().is_err());
                    }
                    _ => return Exit { code: CODE, agreed: false },
                }
            }
            let mut message = vec![1; 100_000];
            comm.gather(&message, &mut inbox).expect("a gather");
            comm.broadcast(&mut message).expect("a broadcast");
        }
        unreachable!()
    })
}

/// Waits for the end that a fault brings about; the exit code.
fn ends_soon(mut running: Running, fault: Instant) -> i32 {
    let ids = descendants(running.id());
    until("the job's end", PROMISE.saturating_sub(fault.elapsed()), || !running.is_running());
    until("the ranks' end", PROMISE.saturating_sub(fault.elapsed()), || {
        !ids.iter().any(|&id| is_alive(id))
    });
    println!("{:.1?} after the fault all {} ranks are gone", fault.elapsed(), ids.len());
    running.finish().code
}

fn a_job_ends(test: &str, fault: &str, code: i32) {
    if role().is_some() {
        job(fault);
    }
    let mut running = start(relaunch(test, fault, 3));
    until("the fault", LIMIT, || !running.is_running() || running.said().contains("now"));
    assert_eq!(ends_soon(running, Instant::now()), code);
}

#[test]
fn a_panic_ends_the_job() {
    a_job_ends("a_panic_ends_the_job", "panic", 70);
}

#[test]
fn a_panic_of_a_helper_thread_ends_the_job() {
    a_job_ends("a_panic_of_a_helper_thread_ends_the_job", "panic of a helper", 70);
}

#[test]
fn an_error_of_one_rank_ends_the_job() {
    a_job_ends("an_error_of_one_rank_ends_the_job", "error", CODE);
}

#[test]
fn a_killed_rank_ends_the_run_and_leaves_a_log_that_opens() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["iterations"] = json!(100_000_000);
    let path = write(folder.path(), &config);
    for victim in [0, 2] {
        let output = folder.path().join(victim.to_string());
        let program = sobaya(&["run", text(&path), "--out", text(&output)]);
        let running = start(mpirun(3, &program));
        let journal = output.join("log.journal");
        until("the first rows", LIMIT, || journal.metadata().is_ok_and(|file| file.len() > 0));
        let of_victim = |&id: &u32| {
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            let ours = format!("RANK={victim}");
            environment.split(|&byte| byte == 0).any(|variable| {
                ["OMPI_COMM_WORLD_", "PMI_"]
                    .iter()
                    .any(|prefix| variable.strip_prefix(prefix.as_bytes()) == Some(ours.as_bytes()))
            })
        };
        let ids: Vec<u32> = descendants(running.id()).into_iter().filter(of_victim).collect();
        assert_eq!(ids.len(), 1, "rank {victim} is one process");
        process::kill(ids[0]);
        assert_ne!(ends_soon(running, Instant::now()), 0);
        assert_eq!(attribute(&log(&output), "status"), "running");
    }
}

/// As on a full disk: from now on no file of the process may grow.
fn let_no_file_grow(id: u32) {
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    let id = id as libc::pid_t;
    // SAFETY: reads the limit that it is given; the null pointer asks for no old limit.
    let status = unsafe { libc::prlimit(id, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut()) };
    assert_eq!(status, 0);
}

#[test]
fn a_log_that_cannot_grow_ends_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["iterations"] = json!(100_000_000);
    let path = write(folder.path(), &config);
    let output = folder.path().join("out");
    // With the signal ignored, writing fails as it does on a full disk.
    let program = format!(
        "trap '' XFSZ; exec {} run {} --out {} 2> /dev/null",
        env!("CARGO_BIN_EXE_sobaya"),
        text(&path),
        text(&output)
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &program]).env("OPENBLAS_NUM_THREADS", "1");
    let running = start(shell);
    let journal = output.join("log.journal");
    until("the first rows", LIMIT, || journal.metadata().is_ok_and(|file| file.len() > 0));
    let_no_file_grow(running.id());
    assert_eq!(running.finish().code, 5);
    assert_eq!(attribute(&log(&output), "status"), "running");
}

#[test]
fn divergence_is_one_message_on_any_number_of_ranks() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["iterations"] = json!(5000);
    config["algorithm"]["alpha"] = json!(1e3);
    let identity = json!({ "kind": "identity" });
    let sum = json!({ "kind": "sum" });
    // Found by the server as it sends the iterate, or at an evaluation; or by a worker, where every
    // rank makes the server's step.
    for (every, downlink, collective, words) in [
        (5000, json!({ "kind": "dense" }), "star", "what is to be sent of"),
        (1, json!({ "kind": "dense" }), "star", "iterate is not finite"),
        (4999, sum.clone(), "star", "worker "),
        (4998, sum, "segments", "worker "),
    ] {
        config["evaluate"] = json!({ "every": every });
        config["compressor"] = identity.clone();
        config["downlink"] = downlink;
        config["wire"] = json!({ "collective": collective });
        diverges_at_one_place(folder.path(), &config, words);
    }
}

/// Found by an agent while its messages are under way.
#[test]
fn divergence_without_a_server_is_one_message_on_any_number_of_ranks() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["iterations"] = json!(5000);
    config["evaluate"] = json!({ "every": 5000 });
    config["compressor"] = json!({ "kind": "identity" });
    config["mixing"] = json!({ "lazy": true });
    // Directions are larger than iterates, and overflow first.
    config["precision"] = json!("f32");
    for strategy in ["extra", "non-atc-gt"] {
        config["algorithm"] = json!({ "kind": "sparkle", "order": "jacobi", "alpha": 0.01,
            "beta": 0.01, "gamma": 0.3, "strategy": { "x": strategy, "y": strategy, "z": strategy } });
        diverges_at_one_place(folder.path(), &config, "the direction of");
    }
}

/// On 1 rank and on 4: exit code 4, one message with these words, and a log that has it, too.
fn diverges_at_one_place(folder: &Path, config: &Value, words: &str) {
    let path = write(folder, config);
    let mut places = vec![];
    for ranks in [1, 4] {
        let top = tempfile::tempdir_in(folder).expect("a folder");
        let output = top.path().join("out");
        let program = sobaya(&["run", text(&path), "--out", text(&output)]);
        let finished = finish(mpirun(ranks, &program));
        assert_eq!(finished.code, 4, "{}", finished.err);
        let [message] = finished.messages()[..] else { panic!("{}", finished.err) };
        assert!(message.contains(words) && message.contains("step sizes"), "{message}");
        let place = message.split(": ").nth(1).expect("a place");
        assert!(place.contains("rank ") && place.contains("iteration "), "{message}");
        // Which rank hosts the worker depends on their number; the rest does not.
        places.push(place.split_once(", ").expect("rank, place").1.to_owned());

        let log = log(&output);
        assert_eq!(attribute(&log, "status"), "failed");
        assert!(message.ends_with(&attribute(&log, "stop_reason")), "{message}");
        let summary = summary(&output);
        assert_eq!(summary["status"], json!("failed"));
        let rows = log.dataset("iteration").expect("rows").size() as u64;
        assert_eq!(Some(rows - 1), summary["iterations"].as_u64());
    }
    assert_eq!(places[0], places[1]);
    println!("diverges at {}", places[0]);
}

#[test]
fn a_wrong_command_line_is_said_once() {
    let finished = finish(mpirun(3, &sobaya(&["run", "config.json", "--bogus"])));
    assert_eq!(finished.code, 2, "{}", finished.err);
    assert_eq!(finished.err.matches("Usage:").count(), 1, "{}", finished.err);
}

/// Steps are tiny: only the evaluations fail.
#[test]
fn a_lower_level_without_a_solution_is_said_once_and_the_run_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["problem"]["heterogeneity"] = json!(100.0);
    config["evaluate"] = json!({ "every": 1, "hypergradient": true });
    config["iterations"] = json!(3);
    for step in ["alpha", "beta", "gamma"] {
        config["algorithm"][step] = json!(1e-9);
    }
    let path = write(folder.path(), &config);
    for ranks in [1, 3] {
        let output = folder.path().join(ranks.to_string());
        let program = sobaya(&["run", text(&path), "--out", text(&output)]);
        let finished = finish(mpirun(ranks, &program)).well();
        let notes = finished.err.matches("sobaya: note: ").count();
        assert_eq!(notes, finished.err.matches("the lower level cannot be solved").count());
        assert_eq!(notes, 1, "{}", finished.err);
        let log = log(&output);
        assert_eq!(attribute(&log, "status"), "completed");
        let read = |name: &str| -> Vec<f64> {
            log.dataset(name).and_then(|metric| metric.read_raw()).expect("a metric")
        };
        for name in ["hypergradient_norm", "objective", "lower_distance", "auxiliary_distance"] {
            let values = read(name);
            assert!(values.len() == 4 && values.iter().all(|v| v.is_nan()), "{name}: {values:?}");
        }
        assert!(read("validation_loss").iter().all(|loss| loss.is_finite()));
    }
}
