//! What one worker holds of a data set.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sets::{Dataset, Folder, MOST_CLASSES, MOST_FEATURES, Part};
use super::{DataError, DataProblem, Partition, PartitionError};
use crate::config::Share;
use crate::key::Key;
use crate::scalar::Scalar;

/// Samples with labels.
#[derive(Clone, Debug)]
pub struct Split<F> {
    /// One sample a row [n x features].
    pub features: Array2<F>,
    /// Class of each sample [n].
    pub labels: Vec<u8>,
}

impl<F: Scalar> Split<F> {
    fn zeros(samples: usize, features: usize) -> Self {
        Self { features: Array2::zeros((samples, features)), labels: vec![0; samples] }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Consecutive parts of at most `size` samples.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = (ArrayView2<'_, F>, &[u8])> {
        (self.labels.chunks(size).enumerate()).map(move |(i, labels)| {
            (self.features.slice(s![i * size..i * size + labels.len(), ..]), labels)
        })
    }
}

/// One worker's samples.
#[derive(Clone, Debug)]
pub struct Shard<F> {
    /// Lower level: training samples.
    pub lower: Split<F>,
    /// Upper level: validation samples.
    pub upper: Split<F>,
    /// The worker's equal share of the test set.
    pub test: Split<F>,
}

/// How a mini-batch is drawn from a worker's samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Uniform with replacement.
    #[default]
    Uniform,
    /// A contiguous slice, at a uniform position, of the worker's shuffled samples.
    Slice,
}

impl Sampler {
    /// Copies the samples of a batch to `room` [batch x features] and their labels to `labels`.
    ///
    /// # Panics
    /// If `split` is empty or, for slices, smaller than the batch.
    pub fn gather<F: Scalar>(
        self,
        split: &Split<F>,
        key: Key,
        mut room: ArrayViewMut2<'_, F>,
        labels: &mut [u8],
    ) {
        if self == Self::Slice {
            room.assign(&Self::slice(split, key, labels));
            return;
        }
        let mut rng = key.rng();
        for (mut row, label) in room.rows_mut().into_iter().zip(labels) {
            let i = rng.random_range(0..split.len());
            row.assign(&split.features.row(i));
            *label = split.labels[i];
        }
    }

    /// The samples of a slice [batch x features] where they lie; their labels go to `labels`.
    ///
    /// # Panics
    /// If `split` is smaller than the batch.
    pub fn slice<'s, F: Scalar>(
        split: &'s Split<F>,
        key: Key,
        labels: &mut [u8],
    ) -> ArrayView2<'s, F> {
        let start = key.rng().random_range(0..=split.len() - labels.len());
        let end = start + labels.len();
        labels.copy_from_slice(&split.labels[start..end]);
        split.features.slice(s![start..end, ..])
    }
}

/// What to load.
pub struct Request<'a> {
    /// Which data set.
    pub dataset: Dataset,
    /// Where it lies.
    pub folder: &'a Folder,
    /// How it is dealt out.
    pub partition: &'a Partition,
    /// Number of workers it is dealt to.
    pub workers: usize,
    /// The workers whose samples are kept in memory.
    pub hosted: Range<usize>,
    /// Share of a worker's samples that goes to the upper level.
    pub validation: Share,
    /// The run's seed.
    pub seed: u64,
}

/// A data set as one rank holds it.
pub struct Loaded<F> {
    /// Shards of the hosted workers.
    pub shards: Vec<Shard<F>>,
    /// Samples (lower, upper, test) of every worker.
    pub sizes: Vec<[usize; 3]>,
    /// Entries of a sample.
    pub features: usize,
    /// Number of classes.
    pub classes: usize,
}

/// Why a data set cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LoadError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Partition(#[from] PartitionError),
}

/// Reads the labels, deals the samples out, and keeps those of the hosted workers. Every file is
/// read to its end and checked, whether or not a sample of it is kept.
pub fn load<F: Scalar>(request: &Request) -> Result<Loaded<F>, LoadError> {
    let Request { dataset, folder, workers, .. } = *request;
    let (file, labels) = dataset.labels(Part::Train, folder)?;
    let (test_file, test_labels) = dataset.labels(Part::Test, folder)?;
    let images = dataset.images(Part::Train, folder)?;
    let test_images = dataset.images(Part::Test, folder)?;
    let features = images.features;
    expect_count(&images, "images", images.count, labels.len())?;
    expect_count(&test_images, "images", test_images.count, test_labels.len())?;
    expect_count(&test_images, "entries in an image", test_images.features as u64, features)?;
    if let Some(sample) = labels.iter().position(|&l| usize::from(l) >= MOST_CLASSES) {
        let (label, sample, classes) = (labels[sample], sample as u64, MOST_CLASSES);
        return Err(
            DataError { file, problem: DataProblem::Label { label, sample, classes } }.into()
        );
    }
    if features > MOST_FEATURES {
        let (what, found) = ("entries in an image", features as u64);
        let expected = format!("at most {MOST_FEATURES}");
        return Err(images.error(DataProblem::Count { what, found, expected }).into());
    }
    let classes = labels.iter().max().map_or(0, |&max| usize::from(max) + 1);
    if let Some(sample) = test_labels.iter().position(|&l| usize::from(l) >= classes) {
        let (label, sample) = (test_labels[sample], sample as u64);
        let problem = DataProblem::Label { label, sample, classes };
        return Err(DataError { file: test_file, problem }.into());
    }

    let parts =
        request.partition.deal(&labels, classes, workers, request.validation, request.seed)?;
    let cut = |w: usize| w * test_labels.len() / workers;
    let sizes: Vec<[usize; 3]> = (parts.iter().enumerate())
        .map(|(w, part)| [part.lower.len(), part.upper.len(), cut(w + 1) - cut(w)])
        .collect();
    let mut shards: Vec<Shard<F>> = (request.hosted.clone())
        .map(|w| {
            let [lower, upper, test] = sizes[w].map(|samples| Split::zeros(samples, features));
            Shard { lower, upper, test }
        })
        .collect();

    // Where each sample goes: (row of features, label), taken when its turn in the file comes.
    let mut rows: Vec<Option<&mut [F]>> = labels.iter().map(|_| None).collect();
    let mut test_rows: Vec<Option<&mut [F]>> = test_labels.iter().map(|_| None).collect();
    for (worker, shard) in request.hosted.clone().zip(&mut shards) {
        let part = &parts[worker];
        for (split, chosen) in [(&mut shard.lower, &part.lower), (&mut shard.upper, &part.upper)] {
            let targets = split.features.rows_mut().into_iter().zip(&mut split.labels);
            for ((row, label), &i) in targets.zip(chosen) {
                *label = labels[i as usize];
                rows[i as usize] = row.into_slice();
            }
        }
        for ((row, label), i) in shard
            .test
            .features
            .rows_mut()
            .into_iter()
            .zip(&mut shard.test.labels)
            .zip(cut(worker)..)
        {
            *label = test_labels[i];
            test_rows[i] = row.into_slice();
        }
    }
    images.read_images(|i| rows[i].take())?;
    test_images.read_images(|i| test_rows[i].take())?;
    Ok(Loaded { shards, sizes, features, classes })
}

fn expect_count(
    idx: &super::idx::Idx<'_>,
    what: &'static str,
    found: u64,
    expected: usize,
) -> Result<(), DataError> {
    if found == expected as u64 {
        return Ok(());
    }
    let expected = format!("{expected} as in its companion file");
    Err(idx.error(DataProblem::Count { what, found, expected }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(
        folder: &Folder,
        partition: &'static Partition,
        hosted: Range<usize>,
    ) -> Loaded<f32> {
        load(&Request {
            dataset: Dataset::MnistSmall,
            folder,
            partition,
            workers: 8,
            hosted,
            validation: Share::try_from(0.2).unwrap(),
            seed: 1,
        })
        .unwrap()
    }

    #[test]
    fn the_embedded_set_is_the_documented_one() {
        let folder = Folder::find(Some("nowhere".into()));
        static IID: std::sync::LazyLock<Partition> = std::sync::LazyLock::new(Partition::default);
        let all = request(&folder, &IID, 0..8);
        assert_eq!((all.features, all.classes, all.shards.len()), (784, 10, 8));
        let total = |part: usize| all.sizes.iter().map(|sizes| sizes[part]).sum::<usize>();
        assert_eq!((total(0) + total(1), total(2)), (6000, 1000));
        let mut counts = [0; 10];
        for shard in &all.shards {
            for label in shard.lower.labels.iter().chain(&shard.upper.labels) {
                counts[usize::from(*label)] += 1;
            }
        }
        assert_eq!(counts, [592, 674, 596, 613, 584, 542, 592, 627, 585, 595]);
        // Mean pixel of MNIST: 0.1307.
        let pixels: f32 = all.shards.iter().map(|s| s.lower.features.mean().unwrap()).sum();
        assert!((pixels / 8.0 - 0.1307).abs() < 0.005);

        let few = request(&folder, &IID, 3..5);
        assert_eq!(few.shards.len(), 2);
        assert_eq!(few.shards[0].lower.features, all.shards[3].lower.features);
        assert_eq!(few.shards[1].test.labels, all.shards[4].test.labels);
    }
}
