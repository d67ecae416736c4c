//! Hyper-representation learning: the upper level trains a backbone, the lower level a linear head.
//!
//! ```text
//! g_i = mean_train CE(Y phi_x(a), label) + l2/2 |y|^2       f_i = mean_val CE(Y phi_x(a), label)
//! ```
//!
//! (Franceschi, Frasconi, Salzo, Grazzi, Pontil, ICML 2018; as an experiment of He et al., ICML 2024.)
//!
//! One iteration is two passes through the backbone, the training and the validation batch stacked:
//! with [Y | Z] side by side and M the matrix
//!
//! ```text
//!                    class of Y    class of Z
//! training rows     [     R      |     dR     ]
//! validation rows   [     0      |     R      ]
//! ```
//!
//! Phi'M holds D_y and D_z (but for the l2 terms), and M [Z | Y]' is what goes back through the
//! backbone to give D_x: two large matrix products and three thin ones for all three directions.

mod backbone;
mod batch;
mod full;
mod head;

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, s};
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::batches::{Batches, default_batch, default_validation};
use super::softmax;
use super::{
    Draw, FullSample, LocalMetrics, Losses, Problem, ProblemContext, ProblemError, ProblemFacts,
    ProblemKind,
};
use crate::config::{Count, KeyError, Positive, Share};
use crate::data::{Dataset, Features, Label, Loaded, Request, Sampler, Scale, Shard, Split, load};
use crate::key::{Key, Stream};
use crate::product::product;
use crate::registry::Kind;
use crate::scalar::Scalar;
use crate::vars::{Block, Blocks, Dims, Layout, Vars, dot};
use backbone::{Activation, Backbone, Buffers};
use batch::{Batch, Input, scores_to_m};
use head::Head;

/// Rows that go through the backbone at a time outside the loop.
const CHUNK: usize = 512;
/// From this width of the first layer on, slices are copied into one matrix: two products with its
/// weights cost more than the copy.
const STACK_FROM: usize = 256;

/// Parameters of hyper-representation.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HyperRepresentation {
    dataset: Dataset,
    /// A random subset of so many training samples, instead of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    samples: Option<Count>,
    /// How features are scaled.
    #[serde(default)]
    scale: Scale,
    /// Widths of the hidden layers; the last one is the representation.
    #[serde(default = "default_hidden")]
    hidden: Vec<Count>,
    #[serde(default)]
    activation: Activation,
    /// Weight of |y|^2 / 2 in the lower level.
    #[serde(default = "default_l2")]
    l2: Positive,
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

fn default_hidden() -> Vec<Count> {
    vec![Count::constant(200.0)]
}
fn default_l2() -> Positive {
    Positive::constant(1e-3)
}

impl Kind for HyperRepresentation {
    const KIND: &'static str = "hyper-representation";
    const SUMMARY: &'static str = "upper level: an MLP backbone on validation data; lower level: a linear head on training data";
    const SOURCE: &'static str = "Franceschi et al., ICML 2018";

    fn check(&self) -> Result<(), KeyError> {
        if self.hidden.is_empty() {
            let problem = "at least one hidden layer is needed, such as [200]".into();
            return Err(KeyError::value("hidden", problem));
        }
        self.batches().check()
    }
}

impl ProblemKind for HyperRepresentation {
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

/// The problem on random samples of MNIST's shape for one worker, for measurements: a sample is half
/// its class's normal prototype and normal noise. `parameters` as in the config.
pub fn synthetic<F: Scalar>(
    parameters: serde_json::Value,
    lower: usize,
    upper: usize,
) -> Result<Box<dyn Problem<F>>, ProblemError> {
    let kind: HyperRepresentation = crate::registry::parameters(parameters)?;
    let (features, classes) = (784, 10);
    let mut rng = Key::shared(0, Stream::ProblemData).rng();
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let prototypes = Array2::from_shape_simple_fn((classes, features), &mut normal);
    let mut split = |samples: usize| {
        let labels: Vec<Label> = (0..samples).map(|i| (i * 7 % classes) as Label).collect();
        let features = Array2::from_shape_fn((samples, features), |(i, j)| {
            let mean = 0.5 * prototypes[(usize::from(labels[i]), j)];
            F::lit((mean + normal()).into())
        });
        Split { features: Features::Dense(features), labels }
    };
    let shard = Shard { lower: split(lower), upper: split(upper), test: split(0) };
    let sizes = vec![[lower, upper, 0]];
    let bytes = vec![(lower + upper) * (features * F::BYTES + size_of::<Label>())];
    let wide = vec![(lower + upper) * features * f64::BYTES];
    let loaded = Loaded { shards: vec![shard], sizes, bytes, wide, features, dense: true, classes };
    Ok(Box::new(kind.rank(loaded, 0, 0)?))
}

impl HyperRepresentation {
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
        let mut widths = vec![loaded.features];
        widths.extend(self.hidden.iter().map(|h| h.get()));
        let backbone = Backbone { widths, activation: self.activation };
        let head = Head { width: backbone.width(), classes: loaded.classes };
        super::dims::<F>(backbone.checked_dim(), head.checked_dim())?;
        let (lower, upper) = (self.batch_lower.get(), self.batch_upper.get());
        // A plan's check hosts no worker, and may be made on a machine smaller than the run's.
        let rows = |rows: usize| if loaded.shards.is_empty() { 0 } else { rows };
        Ok(Rank {
            batch_rows: lower + upper,
            batch: Batch::new(&backbone, head, rows(lower), rows(upper)),
            chunk: backbone.buffers(rows(CHUNK)),
            scores: Array2::zeros((rows(CHUNK), head.classes)),
            seed,
            l2: F::lit(self.l2.get()),
            sampler: self.sampler,
            first,
            shards: loaded.shards,
            sizes: loaded.sizes,
            sample_bytes: loaded.bytes,
            samples_room: vec![],
            backbone,
            head,
        })
    }
}

struct Rank<F> {
    backbone: Backbone,
    head: Head,
    l2: F,
    sampler: Sampler,
    seed: u64,
    first: usize,
    shards: Vec<Shard<F>>,
    sizes: Vec<[usize; 3]>,
    /// Bytes of every worker's samples.
    sample_bytes: Vec<usize>,
    batch: Batch<F>,
    batch_rows: usize,
    /// For evaluations.
    chunk: Buffers<F>,
    scores: Array2<F>,
    /// A chunk of sparse samples, written out.
    samples_room: Vec<F>,
}

impl<F: Scalar> Rank<F> {
    /// Sum of the losses and number of correct predictions over a split.
    fn score(&mut self, worker: usize, test: bool, at: &Vars<F>) -> (f64, f64) {
        let shard = &self.shards[worker - self.first];
        let split: &Split<F> = if test { &shard.test } else { &shard.upper };
        let weights = ArrayView2::from_shape((self.head.width + 1, self.head.classes), at.y())
            .expect("y has the head's shape");
        let (mut loss, mut correct) = (0.0, 0.0);
        for (rows, labels) in split.chunks(CHUNK) {
            let features = split.features.dense(rows, &mut self.samples_room);
            self.backbone.forward(at.x(), &[features], &mut self.chunk);
            let mut scores = self.scores.slice_mut(s![..labels.len(), ..]);
            self.head.scores(self.chunk.representation(labels.len()), weights, scores.view_mut());
            for (mut row, &label) in scores.rows_mut().into_iter().zip(labels) {
                let row = row.as_slice_mut().expect("rows are contiguous");
                if softmax::argmax(row) == usize::from(label) {
                    correct += 1.0;
                }
                let score = row[usize::from(label)];
                loss += (softmax::softmax(row) - score).wide();
            }
        }
        (loss, correct)
    }
}

impl<F: Scalar> Problem<F> for Rank<F> {
    fn dims(&self) -> Dims {
        Dims { upper: self.backbone.dim(), lower: self.head.dim() }
    }

    /// Each layer's weights with its bias as the last row; the head's likewise.
    fn layout(&self) -> [Layout; 2] {
        let widths = self.backbone.widths.windows(2);
        let head = [self.head.width + 1, self.head.classes];
        [Layout::new(widths.map(|w| [w[0] + 1, w[1]])), Layout::new([head])]
    }

    /// Weights ~ N(0, 1/inputs), biases, y and z zero.
    fn start(&self) -> Vars<F> {
        let mut start = Vars::zeros(self.dims());
        let mut rng = Key::shared(self.seed, Stream::Start).rng();
        let (mut x, ..) = start.split_mut();
        for widths in self.backbone.widths.windows(2) {
            let (weights, rest) = x.split_at_mut(widths[0] * widths[1]);
            let sigma = (1.0 / widths[0] as f64).sqrt();
            for v in weights {
                let normal: f64 = StandardNormal.sample(&mut rng);
                *v = F::lit(sigma * normal);
            }
            x = &mut rest[widths[1]..];
        }
        start
    }

    fn directions(
        &mut self,
        draw: Draw,
        wanted: Blocks,
        at: &Vars<F>,
        out: &mut Vars<F>,
    ) -> Losses {
        let needs_upper = wanted.has(Block::X) || wanted.has(Block::Z);
        let Self { backbone, head, batch, shards, sampler, .. } = self;
        let Batch { lower, room, labels, layers, heads, m, products } = batch;
        let rows = if needs_upper { labels.len() } else { *lower };
        let labels = &mut labels[..rows];
        let mut m = m.slice_mut(s![..rows, ..]);
        let shard = &shards[draw.worker - self.first];
        let in_place = backbone.widths[1] < STACK_FROM;
        let input = Input::draw(*sampler, in_place, shard, draw, room, labels.split_at_mut(*lower));
        let input = input.parts();

        backbone.forward(at.x(), input, layers);
        head.side_by_side(at.y(), at.z(), heads);
        head.scores(layers.representation(rows), heads.view(), m.view_mut());
        let mut losses = scores_to_m(m.view_mut(), labels, *lower);
        losses.lower += 0.5 * self.l2.wide() * dot(at.y(), at.y());

        let (dx, dy, dz) = out.split_mut();
        if wanted.has(Block::X) {
            head.side_by_side(at.z(), at.y(), heads);
            let (_, signal) = layers.representation_and_signal(rows);
            let weights = heads.slice(s![..head.width, ..]);
            product(m.view(), weights.t(), false, signal);
        }
        if wanted.has(Block::Y) || wanted.has(Block::Z) {
            let (body, mut bias) = products.view_mut().split_at(Axis(0), head.width);
            product(layers.representation(rows).t(), m.view(), false, body);
            bias.fill(F::zero());
            for row in m.rows() {
                bias.iter_mut().zip(row).for_each(|(b, &m)| *b += m);
            }
            for (i, row) in products.rows().into_iter().enumerate() {
                for c in 0..head.classes {
                    let j = i * head.classes + c;
                    dy[j] = row[c] + self.l2 * at.y()[j];
                    dz[j] = row[head.classes + c] + self.l2 * at.z()[j];
                }
            }
        }
        if wanted.has(Block::X) {
            backbone.backward(at.x(), input, layers, false, dx);
        }
        losses
    }

    fn lower_gradient_x(&mut self, draw: Draw, at: &Vars<F>, out: &mut [F]) {
        let Self { backbone, head, batch, shards, sampler, .. } = self;
        let Batch { lower, room, labels, layers, heads, m, .. } = batch;
        let labels = &mut labels[..*lower];
        let mut m = m.slice_mut(s![..*lower, ..]);
        let shard = &shards[draw.worker - self.first];
        let in_place = backbone.widths[1] < STACK_FROM;
        let input = Input::draw(*sampler, in_place, shard, draw, room, (labels, &mut []));
        let input = input.parts();

        // With Y in the place of Z, R is the left half of M; the right half does not count.
        backbone.forward(at.x(), input, layers);
        head.side_by_side(at.y(), at.y(), heads);
        head.scores(layers.representation(*lower), heads.view(), m.view_mut());
        scores_to_m(m.view_mut(), &batch.labels[..*lower], *lower);
        m.slice_mut(s![.., head.classes..]).fill(F::zero());
        let (_, signal) = layers.representation_and_signal(*lower);
        let weights = heads.slice(s![..head.width, ..]);
        product(m.view(), weights.t(), false, signal);
        backbone.backward(at.x(), input, layers, false, out);
    }

    fn metrics(&mut self, worker: usize, at: &Vars<F>) -> LocalMetrics {
        let (test_loss, test_correct) = self.score(worker, true, at);
        let (validation_loss, _) = self.score(worker, false, at);
        let [_, upper, test] = self.sizes[worker];
        LocalMetrics {
            test_correct,
            test_samples: test as f64,
            test_loss,
            validation_loss: validation_loss / upper as f64,
        }
    }

    fn full<'a>(&'a self, worker: usize, x: &'a [f64]) -> Box<dyn FullSample + 'a> {
        let shard = &self.shards[worker - self.first];
        Box::new(full::Full::new(&self.backbone, self.head, self.l2.wide(), shard, x))
    }

    fn footprint(&self, workers: Range<usize>) -> usize {
        let features = self.backbone.widths[0];
        let samples: usize = self.sample_bytes[workers].iter().sum();
        let layers: usize = self.backbone.widths[1..].iter().sum();
        let rows = self.batch_rows;
        let heads = 2 * (self.head.width + 1) * 2 * self.head.classes;
        let batch = rows * (features + 2 * layers + 2 * self.head.classes) + heads;
        let chunk = CHUNK * (2 * layers + self.head.classes);
        samples + (batch + chunk) * F::BYTES
    }
    fn full_footprint(&self, workers: Range<usize>) -> usize {
        let layers: usize = self.backbone.widths[1..].iter().sum();
        let numbers = |worker: usize| {
            let [lower, upper, _] = self.sizes[worker];
            (lower + upper) * self.head.width + CHUNK * 2 * layers
        };
        workers.map(numbers).sum::<usize>() * f64::BYTES
    }
}
