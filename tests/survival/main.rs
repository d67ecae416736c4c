//! What a run survives, by real processes: killed, stopped and started again.
//!
//! Each test makes a few trials; with SOBAYA_TRIALS=full as many as docs/reliability.md promises, which
//! `jobs/faults.sh` runs. A line that begins with `reliability: ` says what was seen.

mod job;
#[path = "../process/mod.rs"]
mod process;
mod scenario;
mod strace;
mod volatile;

mod crash;
mod damage;
mod disk;
mod kills;
mod locks;
mod power;
mod scale;
mod signals;
mod stuck;
