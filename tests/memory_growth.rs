//! Memory stays where it is while a run goes on, and its peak is reported.

mod process;

use std::path::Path;
use std::time::{Duration, Instant};

use process::{finish, memory, mnist_small, quadratic, report};
use process::{sobaya, start, summary, text, trials, write};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// What a process held while it ran, and the most that the system ever saw.
struct Seen {
    resident: Vec<u64>,
    peak: u64,
    out: String,
}

/// Runs a config without launcher and looks at its memory between its first log and its last.
fn watch(folder: &Path, config: &Value) -> Seen {
    let path = write(folder, config);
    let mut command = sobaya(&["run", text(&path), "--out", "out"]);
    command.current_dir(folder);
    let mut running = start(command);
    let [first, last] = ["log.h5", "summary.json"].map(|name| folder.join("out").join(name));
    let (mut resident, mut peak) = (vec![], 0);
    let started = Instant::now();
    while running.is_running() {
        assert!(started.elapsed() < process::LIMIT);
        if first.exists() && !last.exists() {
            resident.extend(memory(running.id(), "VmRSS"));
        }
        peak = memory(running.id(), "VmHWM").unwrap_or(peak).max(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    Seen { resident, peak, out: running.finish().well().out }
}

fn median(samples: &[u64]) -> u64 {
    let mut samples = samples.to_vec();
    samples.sort();
    samples[samples.len() / 2]
}

/// Between a fifth of the run and its end the level does not rise by more than `drift`, and no sample
/// lies above it by more than 1 MiB and what rebuilding the log takes.
///
/// A rebuild holds the log three times: the columns as read from the journal, HDF5's file in memory,
/// which grows in steps of 1 MiB, and the image of that file which is written. All of it is freed, but
/// the allocator may keep as much as one rebuild took while the next one is made. Returns the rise in bytes.
fn does_not_grow(config: &Value, drift: u64) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let Seen { resident, peak, out } = watch(folder.path(), config);
    let (name, count) = (&config["name"], resident.len());
    assert!(count > 100, "{name}: {count} samples are too few");
    let level = median(&resident[count / 5 - count / 20..count / 5 + count / 20]);
    let end = median(&resident[count - count / 5..]);
    let highest = resident[count / 5..].iter().copied().max().unwrap_or(0);
    let output = folder.path().join("out");
    let rebuild = MIB + 3 * output.join("log.h5").metadata().expect("a log").len();
    println!("{name}: {level} bytes at a fifth of the run, {end} at the end, at most {highest}");
    println!("  a rebuild of the log may take {rebuild}; {count} samples");
    assert!(end < level + drift, "{name}: the level rose from {level} to {end}");
    assert!(highest < level + MIB + 2 * rebuild, "{name}: from {level} to {highest}");

    let reported = summary(&output)["peak_rss_bytes"].as_u64().expect("a number");
    println!("  peak {reported} reported, {peak} seen");
    let ratio = reported as f64 / peak as f64;
    assert!((1.0 / 1.5..1.5).contains(&ratio), "{name}: reported {reported}, seen {peak}");
    let line = format!("peak memory of a rank {}", sobaya::log::bytes(reported));
    assert!(out.contains(&line), "{out}");
    end.saturating_sub(level)
}

/// With two rows the log is not rebuilt on the way: a leak of 40 bytes an iteration would show.
#[test]
fn ten_thousand_iterations_leak_nothing() {
    let mut config = quadratic();
    config["iterations"] = json!(10_000);
    config["evaluate"] = json!({ "every": 10_000 });
    config["log"] = json!({ "every": 10_000 });
    does_not_grow(&config, MIB / 4);
}

/// Every row logged, many evaluations.
#[test]
fn a_run_on_images_grows_by_no_more_than_its_log() {
    let mut config = mnist_small();
    let iterations = trials(1500, 10_000);
    config["iterations"] = json!(iterations);
    let rose = does_not_grow(&config, 4 * MIB);
    let seen =
        format!("resident memory grew by {} kB, the log, every row in it, included", rose / 1024);
    report(&format!("{iterations} iterations on images"), 1, &seen);
}

#[test]
fn the_peak_is_the_programs_own_whoever_starts_it() {
    // What a large process starts inherits its peak in getrusage, until the program is loaded.
    let large = std::hint::black_box(vec![1u8; 400 << 20]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = quadratic();
    config["iterations"] = json!(10);
    let path = write(folder.path(), &config);
    let output = folder.path().join("out");
    finish(sobaya(&["run", text(&path), "--out", text(&output)])).well();
    let reported = summary(&output)["peak_rss_bytes"].as_u64().expect("a number");
    println!("reported {reported}, held by the starter {}", std::hint::black_box(large).len());
    assert!(reported < 200 * MIB, "reported {reported}");
}
