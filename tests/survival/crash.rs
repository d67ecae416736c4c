//! A crash, or an error, at every call to the file system that touches the output folder.
//!
//! The signal comes as the call begins, which then does nothing: what a crash after a call leaves is what one
//! before the next call leaves.

use crate::job::{Job, saved};
use crate::process::{report, trials};
use crate::scenario::{Scenario, config, goes_on};
use crate::strace;

#[test]
fn a_crash_at_any_call_costs_nothing_but_time() {
    if let Some(reason) = strace::refusal() {
        return println!("skipped: {reason}");
    }
    let job = Job::new(&config());
    let (mut tried, mut made, mut resumed) = (0, 0, 0);
    for scenario in Scenario::all(&job) {
        for call in scenario.some(trials(7, usize::MAX)) {
            tried += 1;
            let Some(end) = scenario.go_wrong(call, "signal=KILL") else { continue };
            let case = format!("{} {:?}", call.name, call.paths());
            assert_eq!(end.code, 128 + libc::SIGKILL, "{case}: {}", end.err);
            made += 1;
            let sealed = saved(&scenario.output());
            resumed += usize::from(sealed.is_some());
            goes_on(&job, &scenario.output(), sealed, &case);
        }
    }
    assert!(made + 1 + tried / 20 >= tried, "{made} of {tried} crashes took place");
    let seen = format!(
        "{resumed} left a checkpoint; the same command completes from the newest one, each bitwise the uncut run"
    );
    report("kill at every file system call on the output folder, fresh and resumed", made, &seen);
}

#[test]
fn an_error_of_any_call_is_one_message_and_loses_nothing() {
    if let Some(reason) = strace::refusal() {
        return println!("skipped: {reason}");
    }
    let job = Job::new(&config());
    let (mut tried, mut made, mut failed) = (0, 0, 0);
    for scenario in Scenario::all(&job) {
        for call in scenario.some(trials(7, usize::MAX)) {
            tried += 1;
            let Some(end) = scenario.go_wrong(call, "error=EIO") else { continue };
            made += 1;
            let case = format!("{} {:?}: {}", call.name, call.paths(), end.err);
            match end.code {
                // What is left aside, or a lock that is not given back, does not hurt.
                0 => job.assert_uncut(&scenario.output()),
                code => {
                    assert_eq!((code, end.messages().len()), (5, 1), "{case}");
                    assert!(end.messages()[0].contains(&*scenario.top.to_string_lossy()), "{case}");
                    failed += 1;
                }
            }
            goes_on(&job, &scenario.output(), saved(&scenario.output()), &case);
        }
    }
    assert!(made + 1 + tried / 20 >= tried, "{made} of {tried} errors took place");
    let seen = format!(
        "{failed} ended with 5 and one message that names the file, the others could go on; then the same command \
         completes, each bitwise the uncut run"
    );
    report("input/output error at every file system call on the output folder", made, &seen);
}
