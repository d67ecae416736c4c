//! The reader of idx files, plain, gzip and xz: labels and samples.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sobaya::data::{DataError, Idx, MAX_FEATURES};
use sobaya::scalar::Scalar;
use sobaya_fuzz::{allocated, seeds_folder};

/// Labels as bytes, shorts and ints; samples as bytes, floats and doubles; samples by gzip.
const SEEDS: [&[u8]; 7] = [
    b"\0\0\x08\x01\0\0\0\x03\x01\x02\xff",
    b"\0\0\x0b\x01\0\0\0\x02\0\x01\xff\xff",
    b"\0\0\x0c\x01\0\0\0\x01\0\x01\0\0",
    b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02\x01\x02\xff\0",
    b"\0\0\x0d\x02\0\0\0\x01\0\0\0\x02\x3f\x80\0\0\xc0\0\0\0",
    b"\0\0\x0e\x02\0\0\0\x01\0\0\0\x01\x3f\xf0\0\0\0\0\0\0",
    &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 99, 96, 224, 96, 98, 96, 96, 0, 99, 70, 166, 255, 12, 0,
        183, 213, 148, 195, 16, 0, 0, 0,
    ],
];

/// What reading may allocate beside the samples of the file: the unpackers' state, and the parts that
/// room is made in.
const ROOM: usize = 1 << 20;

fn labels(bytes: &[u8]) -> Result<(), DataError> {
    Idx::labels(Path::new("fuzz"), bytes)?.read_labels(|label| {
        assert!(label.is_finite() && label.fract() == 0.0);
        Ok(())
    })
}

fn images<F: Scalar>(bytes: &[u8]) -> Result<(), DataError> {
    let images = Idx::images(Path::new("fuzz"), bytes)?;
    let (count, features) = (images.count, images.features);
    assert!((1..=MAX_FEATURES).contains(&features));
    let mut seen = 0;
    images.read_images::<F>(|i, row| {
        assert!(i as u64 == seen && row.values.len() == features && row.columns.len() == features);
        assert!(row.values.iter().all(|v| v.is_finite()));
        seen += 1;
    })?;
    assert_eq!(seen, count);
    Ok(())
}

fn try_all<F: Scalar>(bytes: &[u8]) {
    let before = allocated();
    // Errors are what is expected of nearly all of them.
    let _ = images::<F>(bytes);
    let used = allocated() - before;
    // A plain file accounts for what it takes; a packed one for a thousand times as much.
    let packed = !bytes.starts_with(&[0, 0]);
    assert!(packed || used <= ROOM + 32 * bytes.len(), "{used} bytes for {}", bytes.len());
}

fuzz_target!(
    init: {
        if let Some(folder) = seeds_folder() {
            sobaya_fuzz::write_all(&folder, &SEEDS);
        }
    },
    |bytes: &[u8]| {
        let _ = labels(bytes);
        try_all::<f32>(bytes);
        try_all::<f64>(bytes);
    }
);
