//! Dealing samples out to workers.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, Gamma};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Label;
use crate::config::{KeyError, Positive, Share};
use crate::key::{Key, Stream};

/// How the data set's samples are dealt out to the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum PartitionKind {
    /// Shuffled, equal parts.
    #[default]
    Iid,
    /// Each worker draws class proportions from Dir(concentration).
    Dirichlet,
    /// Sorted by label and cut into equal blocks.
    ByLabel,
}

/// Key `partition`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    kind: PartitionKind,
    /// Concentration of the Dirichlet distribution: 0.1 is strongly heterogeneous, 10 nearly iid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concentration: Option<Positive>,
}

/// No worker may end up with fewer samples than this allows.
#[derive(Debug, thiserror::Error)]
#[error(
    "worker {worker} would get {lower} training and {upper} validation samples of {samples} in \
     {attempts} draws, it needs {need_lower} and {MIN_UPPER}; use fewer workers, more data{more}"
)]
pub struct PartitionError {
    worker: usize,
    lower: usize,
    upper: usize,
    samples: usize,
    attempts: u32,
    need_lower: usize,
    more: &'static str,
}

/// One worker's samples by position in the data set, each list shuffled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Lower level: training samples.
    pub lower: Vec<u32>,
    /// Upper level: validation samples, of the same class mix.
    pub upper: Vec<u32>,
}

/// Where the upper level's samples come from.
#[derive(Clone, Copy, Debug)]
pub enum Validation<'a> {
    /// This share of each worker's samples.
    Share(Share),
    /// Samples of their own, which have these labels.
    Apart(&'a [Label]),
}

const ATTEMPTS: u32 = 100;
const MIN_LOWER: usize = 10;
const MIN_UPPER: usize = 2;
/// Added to the number of an attempt for the draw that shuffles validation samples of their own.
const APART: u32 = 1 << 16;

impl Partition {
    /// Checks that the keys fit the kind.
    pub fn check(&self) -> Result<(), KeyError> {
        match (self.kind, self.concentration) {
            (PartitionKind::Dirichlet, None) => Err(KeyError::value(
                "concentration",
                "missing; 0.1 is strongly heterogeneous, 10 nearly iid".into(),
            )),
            (PartitionKind::Iid | PartitionKind::ByLabel, Some(_)) => {
                Err(KeyError::value("concentration", "only \"dirichlet\" has this key".into()))
            }
            _ => Ok(()),
        }
    }

    /// The parts of all workers: a pure function of its arguments. Every sample is dealt to one
    /// worker; validation samples of their own are dealt out by the same kind, with the same class
    /// proportions. A draw that leaves a worker with fewer than max(10, classes) training or 2
    /// validation samples is repeated, up to 100 times.
    pub fn deal(
        &self,
        labels: &[Label],
        classes: usize,
        workers: usize,
        validation: Validation<'_>,
        seed: u64,
    ) -> Result<Vec<Parts>, PartitionError> {
        let need_lower = MIN_LOWER.max(classes);
        let error = |worker, part: &Parts, attempts| PartitionError {
            worker,
            lower: part.lower.len(),
            upper: part.upper.len(),
            samples: labels.len() + validation.apart().len(),
            attempts,
            need_lower,
            more: match (self.kind, attempts) {
                (PartitionKind::Dirichlet, 1..) => ", or a larger concentration",
                _ => "",
            },
        };
        let (from_lower, from_upper) = match validation {
            Validation::Share(_) => (need_lower + MIN_UPPER, 0),
            Validation::Apart(_) => (need_lower, MIN_UPPER),
        };
        let short = |need: usize, samples: usize| workers.saturating_mul(need) > samples;
        if short(from_lower, labels.len()) || short(from_upper, validation.apart().len()) {
            return Err(error(workers - 1, &Parts::default(), 0));
        }
        let attempts = if self.kind == PartitionKind::Dirichlet { ATTEMPTS } else { 1 };
        let mut poorest = (0, Parts::default());
        for attempt in 0..attempts {
            let key = Key::shared(seed, Stream::Partition).numbered(attempt);
            let parts = self.draw(labels, classes, workers, validation, key);
            let poor = |p: &Parts| p.lower.len() < need_lower || p.upper.len() < MIN_UPPER;
            match parts.iter().position(poor) {
                None => return Ok(parts),
                Some(worker) => poorest = (worker, parts[worker].clone()),
            }
        }
        Err(error(poorest.0, &poorest.1, attempts))
    }

    fn draw(
        &self,
        labels: &[Label],
        classes: usize,
        workers: usize,
        validation: Validation<'_>,
        key: Key,
    ) -> Vec<Parts> {
        let mut rng = key.rng();
        let order = shuffled(labels.len(), &mut rng);
        let mixes = self.mixes(classes, workers, &mut rng);
        let dealt = self.distribute(order, labels, mixes.as_deref(), workers).into_iter();
        let own = |worker: usize| key.worker(worker + 1);
        match validation {
            Validation::Share(share) => (dealt.enumerate())
                .map(|(worker, samples)| split(samples, labels, share.get(), own(worker)))
                .collect(),
            Validation::Apart(labels) => {
                let mut rng = key.numbered(key.sub + APART).rng();
                let order = shuffled(labels.len(), &mut rng);
                let upper = self.distribute(order, labels, mixes.as_deref(), workers);
                (dealt.zip(upper).enumerate())
                    .map(|(worker, (lower, upper))| Parts { lower, upper }.shuffled(own(worker)))
                    .collect()
            }
        }
    }

    /// Class proportions of each worker ~ Dir(concentration), for the kind that has them.
    fn mixes(&self, classes: usize, workers: usize, rng: &mut impl Rng) -> Option<Vec<Vec<f64>>> {
        let concentration = self.concentration.filter(|_| self.kind == PartitionKind::Dirichlet)?;
        let Ok(gamma) = Gamma::new(concentration.get(), 1.0) else { return Some(vec![]) };
        let mix = |_| {
            let mix: Vec<f64> = (0..classes).map(|_| gamma.sample(rng)).collect();
            let total: f64 = mix.iter().sum();
            mix.into_iter().map(|weight| weight / total).collect()
        };
        Some((0..workers).map(mix).collect())
    }

    /// Deals out samples in this order. With class proportions, a class is dealt out to the workers
    /// in proportion to the weight they give it, so that no sample is left over.
    fn distribute(
        &self,
        mut order: Vec<u32>,
        labels: &[Label],
        mixes: Option<&[Vec<f64>]>,
        workers: usize,
    ) -> Vec<Vec<u32>> {
        let class = |i: &u32| usize::from(labels[*i as usize]);
        if mixes.is_some() || self.kind == PartitionKind::ByLabel {
            order.sort_by_key(class);
        }
        let Some(mixes) = mixes else { return blocks(&order, workers) };
        let mut dealt = vec![vec![]; workers];
        // At a very small concentration all weights of a worker or class may round to zero: no draw.
        let weight_of = |class: usize| mixes.iter().map(|mix| mix[class]).sum::<f64>();
        let classes = mixes.first().map_or(0, Vec::len);
        if (0..classes).any(|class| weight_of(class).is_nan() || weight_of(class) <= 0.0) {
            return dealt;
        }
        for members in order.chunk_by(|a, b| class(a) == class(b)) {
            let class = class(&members[0]);
            let total = weight_of(class);
            let (mut cumulated, mut start) = (0.0, 0);
            for (mix, dealt) in mixes.iter().zip(&mut dealt) {
                cumulated += mix[class];
                let end = (cumulated / total * members.len() as f64).round() as usize;
                let end = end.clamp(start, members.len());
                dealt.extend_from_slice(&members[start..end]);
                start = end;
            }
        }
        dealt
    }
}

impl<'a> Validation<'a> {
    /// Labels of the samples that are the upper level's own.
    fn apart(self) -> &'a [Label] {
        match self {
            Self::Share(_) => &[],
            Self::Apart(labels) => labels,
        }
    }
}

impl Parts {
    fn shuffled(mut self, key: Key) -> Self {
        let mut rng = key.rng();
        self.lower.shuffle(&mut rng);
        self.upper.shuffle(&mut rng);
        self
    }
}

fn shuffled(samples: usize, rng: &mut impl Rng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..samples as u32).collect();
    order.shuffle(rng);
    order
}

fn blocks(order: &[u32], workers: usize) -> Vec<Vec<u32>> {
    let cut = |w: usize| w * order.len() / workers;
    (0..workers).map(|w| order[cut(w)..cut(w + 1)].to_vec()).collect()
}

/// Training and validation samples of one worker: every (1/share)-th of the samples in class order
/// goes to validation, so both parts have the worker's class mix; then each is shuffled.
fn split(mut samples: Vec<u32>, labels: &[Label], share: f64, key: Key) -> Parts {
    samples.sort_by_key(|&i| labels[i as usize]);
    let mut parts = Parts::default();
    for (at, &i) in samples.iter().enumerate() {
        let quota = |n: usize| (n as f64 * share).floor();
        let part = if quota(at + 1) > quota(at) { &mut parts.upper } else { &mut parts.lower };
        part.push(i);
    }
    parts.shuffled(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(kind: PartitionKind, concentration: Option<f64>) -> Partition {
        let concentration = concentration.map(|c| Positive::try_from(c).unwrap());
        Partition { kind, concentration }
    }

    fn fifth() -> Validation<'static> {
        Validation::Share(Share::constant(0.2))
    }

    fn deal(partition: &Partition, labels: &[Label], workers: usize) -> Vec<Parts> {
        partition.deal(labels, 10, workers, fifth(), 3).unwrap()
    }

    fn labels() -> Vec<Label> {
        (0..6000).map(|i| (i * 7 % 10) as Label).collect()
    }

    /// Total variation distance between a worker's class mix and the uniform one.
    fn skew(part: &[u32], labels: &[Label]) -> f64 {
        let mut counts = [0.0; 10];
        part.iter().for_each(|&i| counts[usize::from(labels[i as usize])] += 1.0);
        counts.iter().map(|c| (c / part.len() as f64 - 0.1).abs()).sum::<f64>() / 2.0
    }

    #[test]
    fn every_sample_is_dealt_exactly_once_and_shares_are_kept() {
        let labels = labels();
        let kinds = [
            partition(PartitionKind::Iid, None),
            partition(PartitionKind::Dirichlet, Some(0.1)),
            partition(PartitionKind::ByLabel, None),
        ];
        for kind in kinds {
            let parts = deal(&kind, &labels, 8);
            let mut all: Vec<u32> =
                parts.iter().flat_map(|p| p.lower.iter().chain(&p.upper).copied()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..6000).collect::<Vec<u32>>());
            for part in &parts {
                let (lower, upper) = (part.lower.len() as f64, part.upper.len() as f64);
                assert!((upper - 0.2 * (lower + upper)).abs() <= 1.0);
                assert!((skew(&part.lower, &labels) - skew(&part.upper, &labels)).abs() < 0.15);
            }
            assert_eq!(parts, deal(&kind, &labels, 8));
        }
    }

    #[test]
    fn heterogeneity_is_ordered() {
        let labels = labels();
        let mean_skew = |kind: Partition| {
            let parts = deal(&kind, &labels, 8);
            parts.iter().map(|p| skew(&p.lower, &labels)).sum::<f64>() / 8.0
        };
        let iid = mean_skew(partition(PartitionKind::Iid, None));
        let mild = mean_skew(partition(PartitionKind::Dirichlet, Some(10.0)));
        let strong = mean_skew(partition(PartitionKind::Dirichlet, Some(0.1)));
        let sorted = mean_skew(partition(PartitionKind::ByLabel, None));
        assert!(
            iid < 0.1 && iid < mild && mild < strong && strong < sorted,
            "{iid} {mild} {strong} {sorted}"
        );
    }

    #[test]
    fn a_tiny_concentration_loses_no_sample() {
        let labels = labels();
        for concentration in [1e-2, 1e-3, 1e-4] {
            let kind = partition(PartitionKind::Dirichlet, Some(concentration));
            if let Ok(parts) = kind.deal(&labels, 10, 2, fifth(), 3) {
                let dealt: usize = parts.iter().map(|p| p.lower.len() + p.upper.len()).sum();
                assert_eq!(dealt, labels.len(), "{concentration}");
            }
        }
    }

    #[test]
    fn too_many_workers_are_refused() {
        let labels = vec![0; 50];
        let kind = partition(PartitionKind::Iid, None);
        let error = kind.deal(&labels, 10, 8, fifth(), 0).unwrap_err();
        assert!(error.to_string().contains("fewer workers"), "{error}");
    }

    #[test]
    fn validation_samples_of_their_own_have_the_same_class_mix() {
        let labels = labels();
        let validation: Vec<Label> = (0..1500).map(|i| (i * 3 % 10) as Label).collect();
        for kind in [
            partition(PartitionKind::Iid, None),
            partition(PartitionKind::Dirichlet, Some(0.5)),
            partition(PartitionKind::ByLabel, None),
        ] {
            let parts = kind.deal(&labels, 10, 8, Validation::Apart(&validation), 3).unwrap();
            for (part, count) in [(0, labels.len()), (1, validation.len())] {
                let mut all: Vec<u32> =
                    parts.iter().flat_map(|p| [&p.lower, &p.upper][part].clone()).collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..count as u32));
            }
            for part in &parts {
                let skews = skew(&part.lower, &labels) - skew(&part.upper, &validation);
                assert!(skews.abs() < 0.15, "{kind:?} {skews}");
            }
        }
        let few =
            partition(PartitionKind::Iid, None).deal(&labels, 10, 8, Validation::Apart(&[1; 9]), 0);
        assert!(few.unwrap_err().to_string().contains("of 6009"));
    }
}
