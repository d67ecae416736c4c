//! From a data set to the shards of a rank's workers.

use std::ops::Range;

use rand::seq::SliceRandom;

use super::classes::Classes;
use super::dataset::{Sources, Test};
use super::partition::{Partition, PartitionError, Validation};
use super::scale::{Scale, Seen};
use super::source::{Scan, Source};
use super::svmlight::Indices;
use super::{DataError, DataProblem, Dataset, Features, Folder, Label, Shard, Split};
use crate::config::{Count, KeyError, Share};
use crate::key::{Key, Stream};
use crate::scalar::Scalar;

/// Draws of [`Stream::Partition`] beside those of the partition itself.
const TEST: u32 = 1 << 17;
const SUBSET: u32 = TEST + 1;

/// What to load.
pub struct Request<'a> {
    /// Which data set.
    pub dataset: &'a Dataset,
    /// Where data sets lie.
    pub folder: &'a Folder,
    /// How it is dealt out.
    pub partition: &'a Partition,
    /// Number of workers it is dealt to.
    pub workers: usize,
    /// The workers whose samples are kept in memory.
    pub hosted: Range<usize>,
    /// Share of a worker's samples that goes to the upper level, which may have its own file instead.
    pub validation: Share,
    /// A random subset of so many training samples, instead of all.
    pub samples: Option<Count>,
    /// How features are scaled.
    pub scale: Scale,
    /// The run's seed.
    pub seed: u64,
}

/// A data set as one rank holds it.
pub struct Loaded<F> {
    /// Shards of the hosted workers.
    pub shards: Vec<Shard<F>>,
    /// Samples (lower, upper, test) of every worker.
    pub sizes: Vec<[usize; 3]>,
    /// Bytes that the samples of every worker take.
    pub bytes: Vec<usize>,
    /// Bytes of the lower and upper level of every worker in double precision.
    pub wide: Vec<usize>,
    /// Entries of a sample.
    pub features: usize,
    /// Whether every one of them is kept, or only those that are not zero.
    pub dense: bool,
    /// Number of classes.
    pub classes: usize,
}

/// Why a data set cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LoadError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Partition(#[from] PartitionError),
}

/// Where each worker's samples (lower, upper, test) stand in their files.
type Places = Vec<[Vec<u32>; 3]>;

/// A file after its first pass.
struct Scanned {
    source: Source,
    scan: Scan,
    indices: Indices,
}

/// Reads the labels, deals the samples out, and keeps those of the hosted workers. Every file is
/// read to its end and checked, whether or not a sample of it is kept.
pub fn load<F: Scalar>(request: &Request) -> Result<Loaded<F>, LoadError> {
    let below = |error: KeyError| error.below("dataset");
    let sources = request.dataset.sources(request.folder).map_err(below)?;
    let test_share = match &sources.test {
        Test::Source(_) => None,
        Test::Share(share) => Some(*share),
    };
    let (files, file_of, classes) = scan::<F>(sources)?;
    let (features, dense) = (files[0].scan.features, is_dense(&files[0].scan));
    if !dense && request.scale == Scale::Standard {
        let problem = "\"standard\" would fill in every entry of sparse data; use \"max-abs\"";
        return Err(KeyError::value("scale", problem.into()).into());
    }
    let places = deal(request, &files, file_of, test_share, classes)?;
    let scan_of = |level: usize| &files[file_of[level]].scan;
    let bytes = |places: &[Vec<u32>; 3]| {
        let levels = places.iter().enumerate().map(|(level, list)| {
            let entries = list.iter().map(|&i| scan_of(level).entries_of(i)).sum();
            Features::<F>::bytes(dense, list.len(), features, entries)
                + list.len() * size_of::<Label>()
        });
        levels.sum()
    };
    let wide = |places: &[Vec<u32>; 3]| {
        let levels = places.iter().enumerate().take(2).map(|(level, list)| {
            let entries = list.iter().map(|&i| scan_of(level).entries_of(i)).sum();
            Features::<f64>::bytes(dense, list.len(), features, entries)
        });
        levels.sum()
    };
    let mut shards = vec![];
    for worker in request.hosted.clone() {
        let split = |level: usize| {
            let Scanned { source, scan, .. } = &files[file_of[level]];
            Split::zeros(&places[worker][level], scan, dense).ok_or_else(|| {
                let samples = places[worker][level].len();
                source.error(DataProblem::Memory { samples, features })
            })
        };
        shards.push(Shard { lower: split(0)?, upper: split(1)?, test: split(2)? });
    }
    let mut seen = Seen::new(request.scale, features);
    for (i, file) in files.iter().enumerate() {
        let levels = [0, 1, 2].map(|level| file_of[level] == i);
        fill(file, levels, &places, request.hosted.clone(), &mut shards, &mut seen)?;
    }
    let splits = shards.iter_mut().flat_map(|s| [&mut s.lower, &mut s.upper, &mut s.test]);
    splits.for_each(|split| seen.apply(&mut split.features));
    let sizes = places.iter().map(|lists| [0, 1, 2].map(|level| lists[level].len())).collect();
    let (bytes, wide) = (places.iter().map(bytes).collect(), places.iter().map(wide).collect());
    Ok(Loaded { shards, sizes, bytes, wide, features, dense, classes })
}

/// The first pass through each file; the number of the file that each level's samples stand in; the
/// number of classes.
fn scan<F: Scalar>(sources: Sources) -> Result<(Vec<Scanned>, [usize; 3], usize), DataError> {
    let mut classes = Classes::default();
    let indices = sources.features.map_or(Indices::Any, Indices::Declared);
    let source = sources.train;
    let mut scan = source.scan::<F>(indices, |label| classes.learn(label))?;
    classes.sort(&mut scan.labels);
    let features = scan.features;
    let mut files = vec![Scanned { source, scan, indices }];
    let indices = sources.features.map_or(Indices::Trained(features), Indices::Declared);
    let mut further = |source: Option<Source>| -> Result<usize, DataError> {
        let Some(source) = source else { return Ok(0) };
        let scan = source.scan::<F>(indices, |label| classes.of(label))?;
        if scan.features != features {
            let (what, found) = ("entries in an image", scan.features as u64);
            let expected = format!("{features} as in the training file");
            return Err(source.error(DataProblem::Count { what, found, expected }));
        }
        files.push(Scanned { source, scan, indices });
        Ok(files.len() - 1)
    };
    let upper = further(sources.validation)?;
    let test = further(match sources.test {
        Test::Source(source) => Some(source),
        Test::Share(_) => None,
    })?;
    Ok((files, [0, upper, test], classes.len()))
}

/// Whether the training file is better kept dense: a pure function of the file. An entry of a sparse
/// matrix takes up to three times the memory, and more time in products.
fn is_dense(scan: &Scan) -> bool {
    scan.entries.as_ref().is_none_or(|entries| {
        let kept: u64 = entries.iter().map(|&entries| u64::from(entries)).sum();
        4 * kept >= scan.features as u64 * entries.len() as u64
    })
}

/// Deals out the samples of all levels.
fn deal(
    request: &Request,
    files: &[Scanned],
    [_, upper, test]: [usize; 3],
    test_share: Option<Share>,
    classes: usize,
) -> Result<Places, LoadError> {
    let train = &files[0].scan.labels;
    let all = |file: usize| (0..files[file].scan.labels.len() as u32).collect::<Vec<u32>>();
    let draw = |sub: u32, from: Vec<u32>, count: usize| {
        subset(from, count, Key::shared(request.seed, Stream::Partition).numbered(sub))
    };
    let (for_test, mut pool) = match test_share {
        None => (all(test), all(0)),
        Some(share) => {
            let count = (share.get() * train.len() as f64).round() as usize;
            draw(TEST, all(0), count.max(1))
        }
    };
    if let Some(samples) = request.samples.map(Count::get) {
        if samples > pool.len() {
            let problem = format!("must be at most {}, the training samples there are", pool.len());
            return Err(KeyError::value("samples", format!("{problem}; found {samples}")).into());
        }
        pool = draw(SUBSET, pool, samples).0;
    }
    let labels: Vec<Label> = pool.iter().map(|&i| train[i as usize]).collect();
    let validation = match upper {
        0 => Validation::Share(request.validation),
        file => Validation::Apart(&files[file].scan.labels),
    };
    let workers = request.workers;
    let parts = request.partition.deal(&labels, classes, workers, validation, request.seed)?;
    let cut = |worker: usize| worker * for_test.len() / workers;
    let in_file = |list: Vec<u32>| list.into_iter().map(|i| pool[i as usize]).collect();
    Ok((parts.into_iter().enumerate())
        .map(|(worker, part)| {
            let of_upper = if upper == 0 { in_file(part.upper) } else { part.upper };
            [in_file(part.lower), of_upper, for_test[cut(worker)..cut(worker + 1)].to_vec()]
        })
        .collect())
}

/// `count` of these and the others, both in ascending order.
fn subset(mut from: Vec<u32>, count: usize, key: Key) -> (Vec<u32>, Vec<u32>) {
    from.shuffle(&mut key.rng());
    let mut others = from.split_off(count.min(from.len()));
    from.sort_unstable();
    others.sort_unstable();
    (from, others)
}

/// The second pass through a file, which holds the samples of some levels.
fn fill<F: Scalar>(
    file: &Scanned,
    levels: [bool; 3],
    places: &Places,
    hosted: Range<usize>,
    shards: &mut [Shard<F>],
    seen: &mut Seen,
) -> Result<(), DataError> {
    let samples = file.scan.labels.len();
    let mut in_lower = vec![false; samples];
    if levels[0] {
        places.iter().flat_map(|lists| &lists[0]).for_each(|&i| in_lower[i as usize] = true);
    }
    // Shard, level and row of each sample that is kept.
    let mut targets: Vec<Option<(u32, u8, u32)>> = vec![None; samples];
    for (shard, lists) in places[hosted].iter().enumerate() {
        for level in (0..3).filter(|&level| levels[level]) {
            for (row, &i) in lists[level].iter().enumerate() {
                targets[i as usize] = Some((shard as u32, level as u8, row as u32));
            }
        }
    }
    file.source.read(&file.scan, file.indices, |i, row| {
        if in_lower[i] {
            seen.add(row);
        }
        let Some((shard, level, to)) = targets[i] else { return true };
        let Shard { lower, upper, test } = &mut shards[shard as usize];
        [lower, upper, test][usize::from(level)].features.set(to as usize, row)
    })
}

impl<F: Scalar> Split<F> {
    /// These samples of a file, with their labels and no entry yet; `None` if they do not fit memory.
    fn zeros(places: &[u32], scan: &Scan, dense: bool) -> Option<Self> {
        let entries = places.iter().map(|&i| scan.entries_of(i));
        let features = Features::zeros(dense, scan.features, entries)?;
        let labels = places.iter().map(|&i| scan.labels[i as usize]).collect();
        Some(Self { features, labels })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::data::Named;

    fn request(
        folder: &Folder,
        partition: &'static Partition,
        hosted: Range<usize>,
    ) -> Loaded<f32> {
        load(&Request {
            dataset: &Dataset::Named(Named::MnistSmall),
            folder,
            partition,
            workers: 8,
            hosted,
            validation: Share::constant(0.2),
            samples: None,
            scale: Scale::None,
            seed: 1,
        })
        .unwrap()
    }

    #[test]
    fn the_embedded_set_is_the_documented_one() {
        let folder = Folder::find(Some("nowhere".into()));
        static IID: LazyLock<Partition> = LazyLock::new(Partition::default);
        let all = request(&folder, &IID, 0..8);
        assert_eq!((all.features, all.classes, all.shards.len()), (784, 10, 8));
        let total = |part: usize| all.sizes.iter().map(|sizes| sizes[part]).sum::<usize>();
        assert_eq!((total(0) + total(1), total(2)), (6000, 1000));
        assert_eq!(all.bytes.iter().sum::<usize>(), 7000 * (784 * 4 + 2));
        let mut counts = [0; 10];
        let mut pixels = 0.0;
        for shard in &all.shards {
            for label in shard.lower.labels.iter().chain(&shard.upper.labels) {
                counts[usize::from(*label)] += 1;
            }
            let mut room = vec![];
            pixels += shard.lower.features.dense(0..shard.lower.len(), &mut room).mean().unwrap();
        }
        assert_eq!(counts, [592, 674, 596, 613, 584, 542, 592, 627, 585, 595]);
        // Mean pixel of MNIST: 0.1307.
        assert!((pixels / 8.0 - 0.1307).abs() < 0.005);

        let few = request(&folder, &IID, 3..5);
        assert_eq!(few.shards.len(), 2);
        assert_eq!(few.shards[0].lower.features, all.shards[3].lower.features);
        assert_eq!(few.shards[1].test.labels, all.shards[4].test.labels);
    }
}
