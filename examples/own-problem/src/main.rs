//! Ridge regression on a CSV file; the l2 weight of each feature is learnt on validation samples.
use sobaya::ndarray::{Array1, Array2, Axis, aview_mut1, aview1, s};
use sobaya::prelude::*;

fn main() {
    sobaya::main_with(problems::built_in().with::<Ridge>())
}

/// The config's `problem`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sobaya::serde", deny_unknown_fields)]
#[schemars(crate = "sobaya::schemars")]
struct Ridge {
    /// CSV file below a line of names: the target, then the features. Its path from the data folder.
    csv: String,
    /// Samples of a mini-batch.
    batch: Count,
}
impl Kind for Ridge {
    const KIND: &'static str = "ridge";
    const SUMMARY: &'static str = "ridge regression with a learnt l2 weight for each feature";
}

impl ProblemKind for Ridge {
    fn build<F: Scalar>(&self, c: ProblemContext) -> Result<Box<dyn Problem<F>>, ProblemError> {
        let samples = c.folder.table(&self.csv, [2 * c.workers, 2])?;
        Ok(Box::new(Rank { samples, workers: c.workers, batch: self.batch.get() }))
    }
}

/// Samples (b, a), one a row, dealt out in turn to the workers' lower and upper levels.
struct Rank {
    samples: Array2<f64>,
    workers: usize,
    batch: usize,
}
impl Rank {
    /// A worker's losses at x on the mini-batches of a draw, or on all of its samples.
    fn losses(&self, worker: usize, draw: Option<Draw>, x: &[f64]) -> RidgeLosses {
        let level = |l: usize, stream| {
            let all = self.samples.slice(s![l * self.workers + worker..; 2 * self.workers, ..]);
            let batch = |draw: Draw| draw.batch(stream, all.nrows(), self.batch);
            draw.map_or_else(|| all.to_owned(), |draw| all.select(Axis(0), &batch(draw)))
        };
        let (lower, upper) = (level(0, Stream::BatchLower), level(1, Stream::BatchUpper));
        RidgeLosses { lower, upper, exp_x: aview1(x).exp() }
    }
}

impl<F: Scalar> Problem<F> for Rank {
    fn dims(&self) -> Dims {
        Dims { upper: self.samples.ncols() - 1, lower: self.samples.ncols() - 1 }
    }
    fn directions(&mut self, draw: Draw, want: Blocks, at: &Vars<F>, out: &mut Vars<F>) -> Losses {
        let batch = self.losses(draw.worker, Some(draw), at.wide().x());
        problems::directions_of(&batch, want, at, out)
    }
    fn lower_gradient_x(&mut self, _: Draw, at: &Vars<F>, out: &mut [F]) {
        let gradient = at.x().iter().zip(at.y()).map(|(x, &y)| F::lit(0.5) * x.exp() * y * y);
        out.iter_mut().zip(gradient).for_each(|(out, v)| *out = v);
    }
    fn full<'a>(&'a self, worker: usize, x: &'a [f64]) -> Box<dyn FullSample + 'a> {
        Box::new(self.losses(worker, None, x))
    }
    fn footprint(&self, _: Range<usize>) -> usize {
        8 * self.samples.len()
    }
}

struct RidgeLosses {
    lower: Array2<f64>,
    upper: Array2<f64>,
    exp_x: Array1<f64>,
}
/// |A v - t b|^2 / 2m and A'(A v - t b) / m for the m samples (b, A).
fn fit(samples: &Array2<f64>, v: &[f64], t: f64) -> (f64, Array1<f64>) {
    let (a, m) = (samples.slice(s![.., 1..]), samples.nrows() as f64);
    let r = a.dot(&aview1(v)) - t * &samples.column(0);
    (r.dot(&r) / (2.0 * m), a.t().dot(&r) / m)
}

impl FullSample for RidgeLosses {
    fn losses(&self, y: &[f64]) -> Losses {
        let penalty = 0.5 * (&self.exp_x * &aview1(y)).dot(&aview1(y));
        Losses { upper: fit(&self.upper, y, 1.0).0, lower: fit(&self.lower, y, 1.0).0 + penalty }
    }
    fn lower_gradient(&self, y: &[f64], out: &mut [f64]) {
        aview_mut1(out).assign(&(fit(&self.lower, y, 1.0).1 + &self.exp_x * &aview1(y)));
    }
    fn lower_hessian(&self, _: &[f64], v: &[f64], out: &mut [f64]) {
        aview_mut1(out).assign(&(fit(&self.lower, v, 0.0).1 + &self.exp_x * &aview1(v)));
    }
    fn upper_gradient(&self, y: &[f64], out: &mut [f64]) {
        aview_mut1(out).assign(&fit(&self.upper, y, 1.0).1);
    }
    fn hypergradient(&self, y: &[f64], z: &[f64], out: &mut [f64]) {
        aview_mut1(out).assign(&(&self.exp_x * &aview1(y) * aview1(z)));
    }
}
