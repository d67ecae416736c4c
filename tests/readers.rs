//! Hostile bytes at the readers of configs, sweep files and data files: each returns, with an error that
//! says where, and takes no more memory than what it was given accounts for. `fuzz/` has the same targets.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use lzma_rust2::{XzOptions, XzWriter};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};
use sobaya::config::{Plan, read_bytes};
use sobaya::data::{DataError, Idx, Indices, read_svmlight};
use sobaya::sweep::{SweepFile, members};

/// The system's allocator, counting what each thread asks for at a time.
struct Counting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything to the system's allocator; the number is a thread's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(layout.size()));
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BYTE: u8 = 0x08;
const SHORT: u8 = 0x0b;
const FLOAT: u8 = 0x0d;
const DOUBLE: u8 = 0x0e;

type Samples = Vec<(Vec<u32>, Vec<f64>)>;
/// What a reader makes of a file: labels and samples.
type Reader = fn(&[u8]) -> Result<(Vec<f64>, Samples), DataError>;

fn images(bytes: &[u8]) -> Result<(Vec<f64>, Samples), DataError> {
    let mut samples = vec![];
    Idx::images(Path::new("file"), bytes)?.read_images::<f64>(|_, row| {
        samples.push((row.columns.to_vec(), row.values.to_vec()));
    })?;
    Ok((vec![], samples))
}

fn labels(bytes: &[u8]) -> Result<(Vec<f64>, Samples), DataError> {
    let mut labels = vec![];
    Idx::labels(Path::new("file"), bytes)?.read_labels(|label| {
        labels.push(label);
        Ok(())
    })?;
    Ok((labels, vec![]))
}

fn lines(bytes: &[u8]) -> Result<(Vec<f64>, Samples), DataError> {
    let (mut labels, mut samples) = (vec![], vec![]);
    read_svmlight::<f64>(Path::new("file"), bytes, Indices::Any, |label, row| {
        labels.push(label);
        samples.push((row.columns.to_vec(), row.values.to_vec()));
        Ok(())
    })?;
    Ok((labels, samples))
}

fn idx(kind: u8, sizes: &[u32], entries: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(entries);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory")
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = XzWriter::new(vec![], XzOptions::with_preset(1)).expect("memory");
    writer.write_all(bytes).expect("memory");
    writer.finish().expect("memory")
}

/// A good file of each sort with its reader.
fn good() -> [(Reader, Vec<u8>); 5] {
    let text: String =
        (0..40).map(|i| format!("{} 1:{i}.25 {}:-3e-2 # c\n", i % 3, i + 2)).collect();
    let numbers = |count: u8| (0..count).map(f64::from);
    [
        (images, idx(BYTE, &[7, 3, 5], (0..105).map(|i| i * 2))),
        (images, idx(FLOAT, &[6, 4], numbers(24).flat_map(|v| (v as f32).to_be_bytes()))),
        (images, idx(DOUBLE, &[3, 2, 2, 2], numbers(24).flat_map(f64::to_be_bytes))),
        (labels, idx(SHORT, &[50], (0..100).map(|i| i % 3))),
        (lines, text.into_bytes()),
    ]
}

/// The error names the file, and a byte, a line or what its header says.
fn is_placed(error: &DataError) -> bool {
    let words = error.to_string();
    let place = ["byte", "line ", "header", "first four bytes"];
    words.starts_with("data file file: ") && place.iter().any(|place| words.contains(place))
}

#[test]
fn every_truncation_is_an_error_with_a_place() {
    for (i, (read, whole)) in good().into_iter().enumerate() {
        let samples = read(&whole).expect("a good file");
        for (packed, name) in [(whole.clone(), "plain"), (gzip(&whole), "gzip"), (xz(&whole), "xz")]
        {
            assert_eq!(read(&packed).expect(name), samples);
            for end in 0..packed.len() {
                match read(&packed[..end]) {
                    // Lines that are whole, or nothing at all, are a file of lines, too.
                    Ok(_) => {
                        assert!(i == 4 && (name == "plain" || end == 0), "{i}, {name}: {end} bytes")
                    }
                    Err(error) => assert!(is_placed(&error), "{i}, {name}: {end} bytes: {error}"),
                }
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_packed_file_is_an_error_or_none() {
    for (i, (read, whole)) in good().into_iter().enumerate() {
        let samples = read(&whole).expect("a good file");
        for (packed, name) in [(gzip(&whole), "gzip"), (xz(&whole), "xz")] {
            for bit in 0..8 * packed.len() {
                let mut flipped = packed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                match read(&flipped) {
                    // A part of gzip's header, such as the time of packing, is not checked.
                    Ok(found) => assert_eq!(found, samples, "{i}, {name}: bit {bit}"),
                    Err(error) => assert!(is_placed(&error), "{i}, {name}: bit {bit}: {error}"),
                }
            }
        }
    }
}

/// What a header says is not what a file holds: room is made for what is there.
#[test]
fn headers_that_lie_take_no_memory() {
    let huge = [
        (images as Reader, idx(BYTE, &[u32::MAX, 4096, 4096], [])),
        (images, idx(DOUBLE, &[u32::MAX, 16, 1024, 1024], [1; 100])),
        (images, idx(DOUBLE, &[1 << 31, 1 << 12, 1 << 12], [0; 5000])),
        (images, idx(BYTE, &[1, u32::MAX, u32::MAX, u32::MAX], [])),
        (images, idx(FLOAT, &[2, 1 << 31, 2], [])),
        (labels, idx(SHORT, &[u32::MAX], [0; 9])),
    ];
    for (i, (read, bytes)) in huge.into_iter().enumerate() {
        for bytes in [gzip(&bytes), bytes] {
            LARGEST.set(0);
            let error = read(&bytes).expect_err("a header that lies");
            let largest = LARGEST.get();
            assert!(is_placed(&error), "{i}: {error}");
            assert!(largest <= 1 << 18, "{i}: {largest} bytes: {error}");
        }
    }
}

/// A byte of a bomb unpacks to a thousand: they are refused, or read, as they are unpacked.
#[test]
fn bombs_are_read_as_they_are_unpacked() {
    let spaces = gzip(&vec![b' '; 80 << 20]);
    let error = lines(&spaces).expect_err("a line that is too long").to_string();
    assert!(error.contains("line 1, byte 67108865: it is longer"), "{error}");
    let mut images_of_zeros = idx(BYTE, &[3, 4], []);
    images_of_zeros.resize(40 << 20, 0);
    let bomb = gzip(&images_of_zeros);
    LARGEST.set(0);
    let error = images(&bomb).expect_err("more than its header says").to_string();
    assert!(error.contains("left behind image 3"), "{error}");
    assert!(LARGEST.get() <= 1 << 18, "{}", LARGEST.get());
}

fn config() -> Value {
    json!({ "name": "a", "workers": 4, "iterations": 9, "problem": { "kind": "quadratic", "mu": 0.5 },
            "algorithm": { "kind": "ef-soba", "alpha": 0.1, "beta": 0.1, "gamma": 0.1 },
            "compressor": { "x": { "kind": "top-k", "ratio": 0.1 }, "y": { "kind": "identity" },
                            "z": { "kind": "multi-step", "rounds": 2, "inner": { "kind": "natural" } } },
            "evaluate": { "every": 5, "hypergradient": "end" } })
}

/// Reads a config as the program does; one that is right stays so when it is written back.
fn plan(bytes: &[u8]) {
    let Ok(value) = read_bytes(bytes) else { return };
    let Ok(plan) = Plan::new(value) else { return };
    let written = plan.resolved.to_string();
    let again = read_bytes(written.as_bytes()).map(Plan::new);
    assert_eq!(again.expect("JSON").expect("a plan").sha256, plan.sha256, "{written}");
}

fn sweep(bytes: &[u8]) {
    let Ok(value) = read_bytes(bytes) else { return };
    if let Ok(file) = SweepFile::new(Path::new("nowhere/sweep.json"), value) {
        let _ = members(&file);
    }
}

/// What takes the place of a part of a file.
fn damage() -> impl Strategy<Value = (prop::sample::Index, prop::sample::Index, Vec<u8>)> {
    let words = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "-0",
        "1e999",
        "1e-400",
        "18446744073709551616",
        "0.1",
        "\\ud800",
        "\\u0000",
        "\u{feff}",
        "\"kind\"",
        "\"top-k\"",
        " ",
        "\n",
        "#",
        "9:nan",
        "\0",
    ]);
    let words = words.prop_map(|word| word.as_bytes().to_vec());
    let bytes = prop::collection::vec(any::<u8>(), 0..9);
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop_oneof![words, bytes])
}

/// Puts other bytes in the place of up to 8 of a file.
fn damaged(
    whole: &[u8],
    damage: &[(prop::sample::Index, prop::sample::Index, Vec<u8>)],
) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for (at, length, other) in damage {
        let start = at.index(bytes.len() + 1);
        let end = bytes.len().min(start + length.index(8));
        bytes.splice(start..end, other.iter().copied());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_configs_and_sweeps_are_read_or_refused(damage in prop::collection::vec(damage(), 1..5)) {
        plan(&damaged(config().to_string().as_bytes(), &damage));
        let whole = json!({ "name": "s", "base": config(), "set": { "seed": 3 }, "ranks": 2,
            "grid": { "algorithm.alpha,algorithm.beta": [0.1, 1], "compressor.x.ratio": [0.1, 0.2] },
            "list": [{ "workers": 2 }, { "workers": 3 }] });
        sweep(&damaged(whole.to_string().as_bytes(), &damage));
    }

    #[test]
    fn damaged_data_files_are_read_or_refused(damage in prop::collection::vec(damage(), 1..5)) {
        for (read, whole) in good() {
            for whole in [gzip(&whole), xz(&whole), whole] {
                let result = read(&damaged(&whole, &damage));
                prop_assert!(result.as_ref().err().is_none_or(is_placed), "{result:?}");
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        plan(&bytes);
        sweep(&bytes);
        for (read, _) in good() {
            for bytes in [gzip(&bytes), xz(&bytes), bytes.clone()] {
                let result = read(&bytes);
                prop_assert!(result.as_ref().err().is_none_or(is_placed), "{result:?}");
            }
        }
    }
}
