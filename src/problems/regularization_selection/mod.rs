//! Selection of regularization: the upper level chooses l2 weights of a linear classifier by its
//! validation loss, the lower level trains it.
//!
//! ```text
//! two classes:  g_i = mean_train log(1 + exp(-b a'y)) + 1/2 sum_j exp(x_j) y_j^2,   b = -1 or 1
//! several:      g_i = mean_train CE(a'Y, label) + 1/2 sum_c exp(x_c) |Y_c|^2
//! f_i = the mean loss on validation samples
//! ```
//!
//! with x_j the logarithm of a feature's weight and x_c of a class's (column of Y [features x
//! classes], row-major). Either weights both kinds of models. With r the derivatives of the losses
//! with respect to the scores and w = exp(x) on the entries that it weighs,
//!
//! ```text
//! D_y = A'r / B + w o y,    D_z = A'dr / B + w o z + A_f'r_f / B_f,    D_x = sum of w o y o z
//! ```
//!
//! (Pedregosa, ICML 2016; as a problem of Dagreou, Ablin, Vaiter, Moreau, NeurIPS 2022.)

mod full;
mod loss;
mod model;
mod rank;
mod rows;
mod tiles;

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::batches::{Batches, default_batch, default_validation};
use super::{FullSample, Problem, ProblemContext, ProblemError, ProblemFacts, ProblemKind};
use crate::config::{Count, KeyError, Share};
use crate::data::{Dataset, Features, Label, Loaded, Request, Sampler, Scale, Shard, Split, load};
use crate::key::{Key, Stream};
use crate::registry::Kind;
use crate::scalar::Scalar;
use full::Full;
use model::{Model, Weights};
use rank::Rank;

/// No start lies further from 0: exp(x) is a number in both precisions.
const MAX_START: f64 = 80.0;

/// Parameters of the selection of regularization.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegularizationSelection {
    dataset: Dataset,
    /// A random subset of so many training samples, instead of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    samples: Option<Count>,
    /// How features are scaled.
    #[serde(default)]
    scale: Scale,
    /// What has a weight of its own: a feature (the default for two classes) or a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weights: Option<Weights>,
    /// Whether samples have one more entry, 1, that is weighed as the others.
    #[serde(default)]
    intercept: bool,
    #[serde(default)]
    start: Start,
    /// Share of each worker's samples that makes up its upper level.
    #[serde(default = "default_validation")]
    validation_fraction: Share,
    /// Samples of a lower-level mini-batch.
    #[serde(default = "default_batch")]
    batch_lower: Count,
    /// Samples of an upper-level mini-batch.
    #[serde(default = "default_batch")]
    batch_upper: Count,
    /// How mini-batches are drawn.
    #[serde(default)]
    sampler: Sampler,
}

/// Where a run starts; z = 0.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Start {
    /// Every entry of x; y = 0.
    At(f64),
    /// By draws.
    Drawn(Drawn),
}

/// How a start is drawn.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Drawn {
    /// exp(x) uniform on (0, 1), y standard normal.
    Random,
}

impl Default for Start {
    fn default() -> Self {
        Self::At(0.0)
    }
}

impl Kind for RegularizationSelection {
    const KIND: &'static str = "regularization-selection";
    const SUMMARY: &'static str = "upper level: an l2 weight for each feature or class; lower level: logistic or softmax regression";
    const SOURCE: &'static str = "Pedregosa, ICML 2016";

    fn check(&self) -> Result<(), KeyError> {
        if let Start::At(x) = self.start
            && x.abs() > MAX_START
        {
            let problem = format!(
                "must be \"random\" or a number from -{MAX_START} to {MAX_START}, the logarithm of \
                 a weight; found {x}"
            );
            return Err(KeyError::value("start", problem));
        }
        self.batches().check()
    }
}

impl ProblemKind for RegularizationSelection {
    const FACTS: ProblemFacts = ProblemFacts { partitioned: true, sparse_upper: false };

    fn build<F: Scalar>(
        &self,
        context: ProblemContext<'_>,
    ) -> Result<Box<dyn Problem<F>>, ProblemError> {
        let default = Default::default();
        let loaded = load::<F>(&Request {
            dataset: &self.dataset,
            folder: context.folder,
            partition: context.partition.unwrap_or(&default),
            workers: context.workers,
            hosted: context.hosted.clone(),
            validation: self.validation_fraction,
            samples: self.samples,
            scale: self.scale,
            seed: context.seed,
        })?;
        Ok(Box::new(self.rank(loaded, context.hosted.start, context.seed)?))
    }
}

/// The problem on random samples for one worker, for measurements: normal features, and two classes
/// that a normal vector separates up to noise. `parameters` as in the config.
pub fn synthetic<F: Scalar>(
    parameters: serde_json::Value,
    features: usize,
    lower: usize,
    upper: usize,
) -> Result<Box<dyn Problem<F>>, ProblemError> {
    let kind: RegularizationSelection = crate::registry::parameters(parameters)?;
    let mut rng = Key::shared(0, Stream::ProblemData).rng();
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let direction: Vec<f64> = (0..features).map(|_| normal()).collect();
    let mut split = |samples: usize| {
        let array = Array2::from_shape_simple_fn((samples, features), &mut normal);
        let labels: Vec<Label> = (array.rows().into_iter())
            .map(|row| {
                let score: f64 = row.iter().zip(&direction).map(|(a, u)| a * u).sum();
                (score + normal() > 0.0).into()
            })
            .collect();
        Split { features: Features::Dense(array.mapv(F::lit)), labels }
    };
    let shard = Shard { lower: split(lower), upper: split(upper), test: split(0) };
    let bytes = vec![(lower + upper) * (features * F::BYTES + size_of::<Label>())];
    let (shards, sizes) = (vec![shard], vec![[lower, upper, 0]]);
    let wide = vec![(lower + upper) * features * f64::BYTES];
    let loaded = Loaded { shards, sizes, bytes, wide, features, dense: true, classes: 2 };
    Ok(Box::new(kind.rank(loaded, 0, 0)?))
}

impl RegularizationSelection {
    fn batches(&self) -> Batches {
        Batches { lower: self.batch_lower, upper: self.batch_upper, sampler: self.sampler }
    }

    fn rank<F: Scalar>(
        &self,
        loaded: Loaded<F>,
        first: usize,
        seed: u64,
    ) -> Result<Rank<F>, KeyError> {
        self.batches().check_slices(&loaded.sizes)?;
        let (columns, weights) = match loaded.classes {
            0 | 1 => {
                let problem = "all of its samples are of one class".into();
                return Err(KeyError::value("dataset", problem));
            }
            2 => (1, Weights::Feature),
            classes => (classes, Weights::Class),
        };
        let model = Model {
            features: loaded.features,
            intercept: self.intercept,
            columns,
            weights: self.weights.unwrap_or(weights),
        };
        let dims = super::dims::<F>(Some(model.upper()), model.lower())?;
        Ok(Rank::new(model, dims, self.batches(), self.start, loaded, first, seed))
    }
}
