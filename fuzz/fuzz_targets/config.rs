//! Configs: read and planned as the program does. One that is right stays so when it is written back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sobaya::config::{Plan, read_bytes};
use sobaya_fuzz::seeds_folder;

/// Configs that use what there is.
const SEEDS: [&[u8]; 7] = [
    include_bytes!("../../configs/demo.json"),
    include_bytes!("../../configs/mnist.json"),
    include_bytes!("../../configs/regularization-ijcnn1.json"),
    include_bytes!("../../configs/quadratic/c-soba.json"),
    include_bytes!("../../configs/quadratic/cm-soba-msc.json"),
    include_bytes!("../../configs/quadratic/ef-soba.json"),
    include_bytes!("../../configs/quadratic/soba.json"),
];

fuzz_target!(
    init: {
        if let Some(folder) = seeds_folder() {
            sobaya_fuzz::write_all(&folder, &SEEDS);
        }
    },
    |bytes: &[u8]| {
        let Ok(value) = read_bytes(bytes) else { return };
        let Ok(plan) = Plan::new(value) else { return };
        let written = plan.resolved.to_string();
        let again = read_bytes(written.as_bytes()).expect("what was written is JSON");
        let again = Plan::new(again).unwrap_or_else(|e| panic!("{written}: {e}"));
        assert_eq!(again.sha256, plan.sha256, "{written}");
    }
);
