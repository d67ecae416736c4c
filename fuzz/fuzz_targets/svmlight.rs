//! The reader of svmlight files, plain, gzip and xz.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sobaya::data::{Indices, read_svmlight};
use sobaya::scalar::Scalar;
use sobaya_fuzz::seeds_folder;

/// Samples that use what the format has.
const PLAIN: &[u8] = b"# head\n+1 1:0.5 3:-2e1 # note\r\n-1 2:0 9:.5\n\n3\n0 1:1 2:2 40000:3e-7\n";
/// A sample by gzip, and by xz.
const GZIP: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 51, 84, 48, 180, 50, 228, 2, 0, 129, 75, 198, 248, 6, 0, 0, 0,
];
const XZ: &[u8] = &[
    253, 55, 122, 88, 90, 0, 0, 1, 105, 34, 222, 54, 2, 0, 33, 1, 22, 0, 0, 0, 116, 47, 229, 163,
    1, 0, 5, 49, 32, 49, 58, 49, 10, 0, 0, 0, 129, 75, 198, 248, 0, 1, 26, 6, 197, 234, 200, 121,
    144, 66, 153, 13, 1, 0, 0, 0, 0, 1, 89, 90,
];

fn try_all<F: Scalar>(bytes: &[u8], indices: Indices) {
    let most = match indices {
        Indices::Any => sobaya::data::MAX_FEATURES,
        Indices::Declared(most) | Indices::Trained(most) => most,
    };
    let _ = read_svmlight::<F>(Path::new("fuzz"), bytes, indices, |label, row| {
        assert!(label.is_finite() && row.values.iter().all(|v| v.is_finite()));
        assert!(row.columns.len() == row.values.len() && row.columns.is_sorted_by(|a, b| a < b));
        assert!(row.columns.last().is_none_or(|&last| (last as usize) < most));
        Ok(())
    })
    .inspect(|&largest| assert!(largest <= most));
}

fuzz_target!(
    init: {
        if let Some(folder) = seeds_folder() {
            std::fs::create_dir_all(&folder).expect("the folder can be made");
            for (name, seed) in [("plain", PLAIN), ("gzip", GZIP), ("xz", XZ)] {
                std::fs::write(folder.join(name), seed).expect("a seed can be written");
            }
        }
    },
    |bytes: &[u8]| {
        try_all::<f32>(bytes, Indices::Any);
        try_all::<f64>(bytes, Indices::Declared(9));
    }
);
