//! The losses of hyper-representation as plain loops over hyper-dual numbers, whose arithmetic
//! yields exact first and mixed second derivatives: nothing is derived by hand.

use std::ops::{Add, Mul};

use ndarray::{Array2, ArrayView1};

use sobaya::config::Share;
use sobaya::data::{Dataset, Features, Label, Named, Request, Sampler, Scale, Split, load};
use sobaya::key::Stream;
use sobaya::problems::{Draw, Losses};
use sobaya::vars::{Block, Vars};

/// v + a e + b d + ab e d with e^2 = d^2 = 0.
#[derive(Clone, Copy)]
struct HyperDual {
    v: f64,
    a: f64,
    b: f64,
    ab: f64,
}

const ZERO: HyperDual = HyperDual { v: 0.0, a: 0.0, b: 0.0, ab: 0.0 };

impl HyperDual {
    /// f of this number, from f, f' and f'' at `v`.
    fn map(self, [f, first, second]: [f64; 3]) -> Self {
        let Self { a, b, ab, .. } = self;
        Self { v: f, a: first * a, b: first * b, ab: first * ab + second * a * b }
    }

    fn exp(self) -> Self {
        self.map([self.v.exp(); 3])
    }

    fn ln(self) -> Self {
        self.map([self.v.ln(), 1.0 / self.v, -1.0 / self.v.powi(2)])
    }

    fn activate(self, activation: &str) -> Self {
        let v = self.v;
        match activation {
            "tanh" => {
                let (t, slope) = (v.tanh(), 1.0 / v.cosh().powi(2));
                self.map([t, slope, -2.0 * t * slope])
            }
            "relu" if v > 0.0 => self,
            "relu" => ZERO,
            "softplus" => {
                let sigmoid = 1.0 / (1.0 + (-v).exp());
                self.map([(1.0 + v.exp()).ln(), sigmoid, sigmoid * (1.0 - sigmoid)])
            }
            other => panic!("no activation {other}"),
        }
    }
}

impl Add for HyperDual {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self { v: self.v + o.v, a: self.a + o.a, b: self.b + o.b, ab: self.ab + o.ab }
    }
}

impl Mul for HyperDual {
    type Output = Self;
    fn mul(self, o: Self) -> Self {
        Self {
            v: self.v * o.v,
            a: self.a * o.v + self.v * o.a,
            b: self.b * o.v + self.v * o.b,
            ab: self.ab * o.v + self.a * o.b + self.b * o.a + self.v * o.ab,
        }
    }
}

impl Mul<HyperDual> for f64 {
    type Output = HyperDual;
    fn mul(self, o: HyperDual) -> HyperDual {
        HyperDual { v: self * o.v, a: self * o.a, b: self * o.b, ab: self * o.ab }
    }
}

/// A worker's mini-batch of the embedded data set.
pub struct Batch {
    lower: Split<f64>,
    upper: Split<f64>,
    classes: usize,
}

impl Batch {
    /// What `draw` names for a worker of `workers`, with the (lower, upper) sizes of the batches.
    pub fn draw(draw: Draw, workers: usize, [lower, upper]: [usize; 2]) -> Self {
        let loaded = load::<f64>(&Request {
            dataset: &Dataset::Named(Named::MnistSmall),
            folder: &super::folder(),
            partition: &super::uneven(),
            workers,
            hosted: draw.worker..draw.worker + 1,
            validation: Share::constant(0.2),
            samples: None,
            scale: Scale::None,
            seed: draw.seed,
        });
        let loaded = loaded.expect("the embedded data set loads");
        let take = |split: &Split<f64>, stream: Stream, samples: usize| {
            let mut features = Array2::zeros((samples, loaded.features));
            let mut labels = vec![0; samples];
            Sampler::Uniform.gather(split, draw.key(stream), features.view_mut(), &mut labels);
            Split { features: Features::Dense(features), labels }
        };
        let shard = &loaded.shards[0];
        Self {
            lower: take(&shard.lower, Stream::BatchLower, lower),
            upper: take(&shard.upper, Stream::BatchUpper, upper),
            classes: loaded.classes,
        }
    }
}

/// The model: backbone of these widths, head of `classes`.
struct Model<'a> {
    activation: &'a str,
    hidden: &'a [usize],
    classes: usize,
}

impl Model<'_> {
    /// Mean cross-entropy over a split.
    fn loss(&self, split: &Split<f64>, x: &[HyperDual], y: &[HyperDual]) -> HyperDual {
        let mut room = vec![];
        let samples = split.features.dense(0..split.len(), &mut room);
        let rows = samples.rows().into_iter().zip(&split.labels);
        let sum = rows.fold(ZERO, |sum, (row, &label)| sum + self.sample(row, label, x, y));
        1.0 / split.len() as f64 * sum
    }

    fn sample(
        &self,
        sample: ArrayView1<f64>,
        label: Label,
        mut x: &[HyperDual],
        y: &[HyperDual],
    ) -> HyperDual {
        let mut layer: Vec<HyperDual> = sample.iter().map(|&v| HyperDual { v, ..ZERO }).collect();
        for &width in self.hidden {
            let parameters;
            (parameters, x) = x.split_at((layer.len() + 1) * width);
            let activate = |v: HyperDual| v.activate(self.activation);
            layer = affine(&layer, parameters).into_iter().map(activate).collect();
        }
        let scores = affine(&layer, &y[..(layer.len() + 1) * self.classes]);
        let sum = scores.iter().fold(ZERO, |sum, score| sum + score.exp());
        sum.ln() + -1.0 * scores[usize::from(label)]
    }
}

/// inputs W + bias, for parameters that hold W [inputs x outputs] row by row and then the bias.
fn affine(inputs: &[HyperDual], parameters: &[HyperDual]) -> Vec<HyperDual> {
    let width = parameters.len() / (inputs.len() + 1);
    let mut rows = parameters.chunks_exact(width);
    let mut out = vec![ZERO; width];
    for (&input, row) in inputs.iter().zip(&mut rows) {
        // Most pixels are 0 and change with nothing.
        if (input.v, input.a, input.b, input.ab) != (0.0, 0.0, 0.0, 0.0) {
            out.iter_mut().zip(row).for_each(|(out, &w)| *out = *out + input * w);
        }
    }
    let bias = rows.next().expect("the last row");
    out.iter().zip(bias).map(|(&out, &bias)| out + bias).collect()
}

/// D_x, D_y and D_z at (x, y, z), and the two losses.
pub fn directions(
    batch: &Batch,
    activation: &str,
    hidden: &[usize],
    l2: f64,
    at: &Vars<f64>,
) -> (Vars<f64>, Losses) {
    let model = Model { activation, hidden, classes: batch.classes };
    let lift = |v: &[f64]| v.iter().map(|&v| HyperDual { v, ..ZERO }).collect::<Vec<_>>();
    // y + e z, so that the part `a` of g is <grad_y g, z>.
    let along_z = |y: &[HyperDual]| -> Vec<HyperDual> {
        y.iter().zip(at.z()).map(|(&y, &z)| HyperDual { a: z, ..y }).collect()
    };
    let lower = |x: &[HyperDual], y: &[HyperDual]| {
        let y = along_z(y);
        let squares = y.iter().fold(ZERO, |sum, &y| sum + y * y);
        model.loss(&batch.lower, x, &y) + 0.5 * l2 * squares
    };
    let upper = |x: &[HyperDual], y: &[HyperDual]| model.loss(&batch.upper, x, y);

    let (mut x, mut y) = (lift(at.x()), lift(at.y()));
    let mut out = Vars::zeros(at.dims());
    for j in 0..x.len() {
        x[j].b = 1.0;
        out.block_mut(Block::X)[j] = upper(&x, &y).b + lower(&x, &y).ab;
        x[j].b = 0.0;
    }
    for j in 0..y.len() {
        y[j].b = 1.0;
        let lower = lower(&x, &y);
        out.block_mut(Block::Y)[j] = lower.b;
        out.block_mut(Block::Z)[j] = lower.ab + upper(&x, &y).b;
        y[j].b = 0.0;
    }
    (out, Losses { upper: upper(&x, &y).v, lower: lower(&x, &y).v })
}
