//! Sweep files: read, and their members planned if they are few.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sobaya::config::read_bytes;
use sobaya::sweep::{SweepFile, members};
use sobaya_fuzz::seeds_folder;

/// Sweeps that use what the format has.
const SEEDS: [&[u8]; 2] = [
    br#"{"name": "s", "ranks": 2, "launcher": ["mpirun", "-n", "{ranks}"], "set": {"seed": 3},
 "base": {"workers": 4, "iterations": 9, "problem": {"kind": "quadratic"},
 "algorithm": {"kind": "ef-soba", "alpha": 0.1, "beta": 0.1, "gamma": 0.1},
 "compressor": {"kind": "rand-k", "ratio": 0.1}},
 "grid": {"algorithm.alpha,algorithm.beta": [0.1, 1], "compressor.ratio": [0.1, 0.2]},
 "list": [{"workers": 2}, {"algorithm.kind": "c-soba", "precision": "f64"}]}"#,
    br#"{"name": "t", "base": "config.json", "grid": {"seed": [1, 2]}}"#,
];
/// Members beyond these take their time alone.
const MOST: usize = 64;

fuzz_target!(
    init: {
        if let Some(folder) = seeds_folder() {
            sobaya_fuzz::write_all(&folder, &SEEDS);
        }
    },
    |bytes: &[u8]| {
        let Ok(value) = read_bytes(bytes) else { return };
        // A file of the machine would make what is found depend on it.
        if value["base"].is_string() {
            return;
        }
        let Ok(file) = SweepFile::new(Path::new("fuzz/sweep.json"), value) else { return };
        let lengths = file.grid.iter().map(|axis| axis.values.len());
        if lengths.fold(file.list.len(), usize::saturating_mul) > MOST {
            return;
        }
        for member in members(&file).into_iter().flatten() {
            assert!(member.plan.name.starts_with(&file.name), "{}", member.plan.name);
        }
    }
);
