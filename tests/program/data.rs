//! Data of the user's own: the same samples in every format, the same bits on any number of ranks,
//! and the files of public collections where they are.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde_json::{Value, json};
use sobaya::config::{Count, Share};
use sobaya::data::{Dataset, Features, Folder, LoadError, Loaded, Partition, Request, Scale, load};

use crate::process::{mnist_small, on_threads, plan};

/// Sample i of a set of 9 features: label 3, 5 or 8 and bytes, a part of them zero.
fn sample(i: usize, nonzero: usize) -> (u8, [u8; 9]) {
    let byte =
        |j: usize| if (i * 5 + j * 7) % 9 < nonzero { (i * 31 + j * 57 + 1) % 256 } else { 0 };
    ([3, 5, 8][i % 3], std::array::from_fn(|j| byte(j) as u8))
}

fn svmlight(file: &Path, samples: std::ops::Range<usize>, nonzero: usize) {
    let line = |i: usize| {
        let (label, bytes) = sample(i, nonzero);
        let kept = bytes.iter().enumerate().filter(|(_, b)| **b != 0);
        let entries = kept.map(|(j, b)| format!(" {}:{}", j + 1, f64::from(*b) / 255.0));
        format!("{label}{}\n", entries.collect::<String>())
    };
    fs::write(file, samples.map(line).collect::<String>()).expect("a writable folder");
}

fn idx(images: &Path, labels: &Path, samples: std::ops::Range<usize>, nonzero: usize) {
    let count = (samples.len() as u32).to_be_bytes();
    let mut all = [&[0, 0, 8, 3], &count[..], &[0, 0, 0, 3], &[0, 0, 0, 3]].concat();
    let mut classes = [&[0, 0, 8, 1], &count[..]].concat();
    for (label, bytes) in samples.map(|i| sample(i, nonzero)) {
        all.extend(bytes);
        classes.push(label);
    }
    fs::write(images, all).expect("a writable folder");
    fs::write(labels, classes).expect("a writable folder");
}

/// Every file of the set, as both formats; their folder and the two values of the key.
fn both_formats(folder: &Path, nonzero: usize) -> [Value; 2] {
    let parts = [("train", 0..240), ("test", 240..300), ("validation", 300..390)];
    for (part, samples) in parts {
        let file = |name: &str| folder.join(format!("{part}{name}"));
        svmlight(&file(".svm"), samples.clone(), nonzero);
        idx(&file("-images"), &file("-labels"), samples, nonzero);
    }
    let path = |name: &str| folder.join(name);
    [
        json!({ "format": "svmlight", "train": path("train.svm"), "test": path("test.svm"),
                "validation": path("validation.svm") }),
        json!({ "format": "idx",
                "train_images": path("train-images"), "train_labels": path("train-labels"),
                "test_images": path("test-images"), "test_labels": path("test-labels"),
                "validation_images": path("validation-images"),
                "validation_labels": path("validation-labels") }),
    ]
}

fn loaded(
    dataset: &Value,
    workers: usize,
    samples: Option<usize>,
    scale: Scale,
) -> Result<Loaded<f64>, LoadError> {
    load(&Request {
        dataset: &serde_json::from_value::<Dataset>(dataset.clone()).expect("a data set"),
        folder: &Folder::find(None),
        partition: &Partition::default(),
        workers,
        hosted: 0..workers,
        validation: Share::constant(0.25),
        samples: samples.map(|samples| Count::constant(samples as f64)),
        scale,
        seed: 3,
    })
}

fn written_out(features: &Features<f64>) -> Array2<f64> {
    features.dense(0..features.rows(), &mut vec![]).to_owned()
}

#[test]
fn both_formats_give_the_same_samples() {
    let folder = tempfile::tempdir().expect("a folder");
    for (nonzero, sparse) in [(8, false), (2, true)] {
        let [svmlight, idx] = both_formats(folder.path(), nonzero);
        for scale in [Scale::None, Scale::MaxAbs] {
            let [svmlight, idx] =
                [&svmlight, &idx].map(|d| loaded(d, 4, None, scale).expect("good"));
            assert_eq!((svmlight.sizes[0], svmlight.classes), ([60, 22, 15], 3));
            assert_eq!((&svmlight.sizes, svmlight.classes), (&idx.sizes, idx.classes));
            for (a, b) in svmlight.shards.iter().zip(&idx.shards) {
                for (a, b) in [(&a.lower, &b.lower), (&a.upper, &b.upper), (&a.test, &b.test)] {
                    assert_eq!((a.features.is_sparse(), b.features.is_sparse()), (sparse, false));
                    assert_eq!(a.labels, b.labels);
                    assert_eq!(written_out(&a.features), written_out(&b.features));
                }
            }
        }
    }
}

#[test]
fn scaled_features_are_what_the_key_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let [dense, _] = both_formats(folder.path(), 8);
    let all = |scale| {
        let loaded = loaded(&dense, 4, None, scale).expect("good");
        let lower: Vec<Array2<f64>> =
            loaded.shards.iter().map(|shard| written_out(&shard.lower.features)).collect();
        let views: Vec<_> = lower.iter().map(|array| array.view()).collect();
        ndarray::concatenate(ndarray::Axis(0), &views).expect("the same columns")
    };
    for column in all(Scale::Standard).columns() {
        assert!(column.mean().expect("samples").abs() < 1e-12);
        assert!((column.std(0.0) - 1.0).abs() < 1e-12);
    }
    for column in all(Scale::MaxAbs).columns() {
        assert_eq!(column.iter().fold(0.0, |most: f64, v| most.max(v.abs())), 1.0);
    }
}

#[test]
fn parts_of_the_training_file_do_not_overlap_and_do_not_depend_on_workers() {
    let folder = tempfile::tempdir().expect("a folder");
    let [mut dataset, _] = both_formats(folder.path(), 8);
    dataset["test"] = json!(null);
    dataset["validation"] = json!(null);
    dataset["test_fraction"] = json!(0.2);
    let rows = |loaded: &Loaded<f64>, test: bool| {
        let mut rows: Vec<String> = vec![];
        for shard in &loaded.shards {
            let splits = if test { vec![&shard.test] } else { vec![&shard.lower, &shard.upper] };
            for split in splits {
                let features = written_out(&split.features);
                rows.extend(features.rows().into_iter().map(|row| format!("{row}")));
            }
        }
        rows.sort();
        rows
    };
    let [two, three] =
        [2, 3].map(|workers| loaded(&dataset, workers, Some(100), Scale::None).expect("good"));
    let total = |part: usize| two.sizes.iter().map(|sizes| sizes[part]).sum::<usize>();
    assert_eq!((total(0) + total(1), total(2)), (100, 48));
    for test in [false, true] {
        assert_eq!(rows(&two, test), rows(&three, test));
    }
    let test = rows(&two, true);
    assert!(rows(&two, false).iter().all(|row| test.binary_search(row).is_err()));
}

#[test]
fn ranks_change_no_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    for (nonzero, scales) in [(8, ["standard", "max-abs"]), (2, ["none", "max-abs"])] {
        let [dataset, _] = both_formats(folder.path(), nonzero);
        for (scale, sampler) in scales.into_iter().zip(["uniform", "slice"]) {
            let mut config = mnist_small();
            config["workers"] = json!(4);
            config["iterations"] = json!(10);
            config["evaluate"] = json!({ "every": 5, "hypergradient": true });
            let problem = &mut config["problem"];
            problem["dataset"] = dataset.clone();
            problem["sampler"] = json!(sampler);
            problem["scale"] = json!(scale);
            problem["samples"] = json!(200);
            let plan = plan(&config);
            let [one, three] = [1, 3].map(|ranks| on_threads(&plan, ranks, None));
            assert_eq!(one.state_hash, three.state_hash, "{config}");
        }
    }
}

/// A file of the collections that tests may find in the data folder, and what it holds.
fn real(file: &str, [samples, features]: [usize; 2], counts: &[usize]) {
    let Some(folder) = std::env::var_os("SOBAYA_DATA").map(PathBuf::from) else { return };
    if !folder.join(file).exists() {
        return println!("{file} is not there");
    }
    let dataset = json!({ "format": "svmlight", "train": file, "test_fraction": 0.1 });
    let loaded = loaded(&dataset, 1, None, Scale::None).expect("a good file");
    let Loaded { shards, sizes, features: found, classes, .. } = loaded;
    assert_eq!((sizes[0].iter().sum::<usize>(), found), (samples, features), "{file}");
    let mut seen = vec![0; classes];
    let splits = [&shards[0].lower, &shards[0].upper, &shards[0].test];
    splits.iter().flat_map(|s| &s.labels).for_each(|&label| seen[usize::from(label)] += 1);
    match counts {
        [number] => assert_eq!(classes, *number, "{file}"),
        counts => assert_eq!(seen, counts, "{file}"),
    }
    println!("{file}: sparse {}", shards[0].lower.features.is_sparse());
}

#[test]
fn public_files_hold_what_they_are_known_to_hold() {
    real("libsvm/a9a.gz", [32561, 123], &[24720, 7841]);
    real("libsvm/a9a.t.gz", [16281, 122], &[12435, 3846]);
    real("libsvm/w7a.gz", [24692, 300], &[2]);
    real("libsvm/mushrooms.gz", [8124, 112], &[4208, 3916]);
    real("libsvm/phishing.gz", [11055, 68], &[4898, 6157]);
    real("libsvm/ijcnn1.val.gz", [14990, 22], &[13552, 1438]);
    real("libsvm/letter.scale.gz", [15000, 16], &[26]);
    real("libsvm/pendigits.gz", [7494, 16], &[10]);
    real("usps/usps.xz", [7291, 256], &[1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]);
    real("libsvm/sector.scale.xz", [6412, 55197], &[105]);
    real("20news/20news-counts-train.svm.xz", [11314, 22931], &[20]);
}
