//! `sobaya bench step`: iterations per second of one worker's SOBA step, computation only.
//!
//! The problem is hyper-representation on synthetic samples of MNIST's shape, 20,000 for the lower
//! level and 5,000 for the upper; or the selection of regularization, an l2 weight for each feature, on
//! 49,990 and 91,701 synthetic samples of two classes. One iteration draws two mini-batches, computes
//! the three directions and updates x, y and z. Rates are per second of the process's CPU time (on an
//! idle core the same as wall time), the median over chunks of about a tenth of a second.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::{Count, Positive};
use crate::error::Error;
use crate::problems::{self, Draw, Problem, ProblemError};
use crate::scalar::Scalar;
use crate::system;
use crate::vars::{Blocks, Vars, add_scaled};
use crate::workers::Workers;

#[derive(clap::Args)]
pub struct Arguments {
    /// Problem to measure.
    #[arg(long, default_value = "hyper-representation", value_enum)]
    problem: Measured,
    /// Samples of each of the two mini-batches.
    #[arg(long, value_delimiter = ',', default_value = "64,512")]
    batch: Vec<u32>,
    /// Width of the hidden layer of hyper-representation.
    #[arg(long, value_delimiter = ',', default_value = "32,128,512")]
    hidden: Vec<u32>,
    /// Features of regularization-selection.
    #[arg(long, value_delimiter = ',', default_value = "22")]
    features: Vec<u32>,
    /// Number type.
    #[arg(long, value_delimiter = ',', default_value = "f32", value_parser = ["f32", "f64"])]
    precision: Vec<String>,
    /// Nonlinearity of hyper-representation.
    #[arg(long, default_value = "relu", value_parser = ["relu", "tanh", "softplus"])]
    activation: String,
    /// How mini-batches are drawn.
    #[arg(long, default_value = "slice", value_parser = ["slice", "uniform"])]
    sampler: String,
    /// Seconds for each row.
    #[arg(long, default_value = "2.5")]
    seconds: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Problems that are measured.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Measured {
    HyperRepresentation,
    RegularizationSelection,
}

impl Measured {
    fn name(self) -> &'static str {
        match self {
            Self::HyperRepresentation => "hyper-representation",
            Self::RegularizationSelection => "regularization-selection",
        }
    }

    /// Name of the size that is measured for, besides the batch.
    fn size(self) -> &'static str {
        match self {
            Self::HyperRepresentation => "hidden",
            Self::RegularizationSelection => "features",
        }
    }

    /// Floating-point operations of the products of one iteration.
    fn operations(self, batch: u32, size: u32) -> f64 {
        let multiplications = match self {
            // Four products with the 785 x hidden weights, nine with the heads.
            Self::HyperRepresentation => 4.0 * 785.0 + 90.0,
            // Scores and derivatives of y and z on one batch, of y on the other.
            Self::RegularizationSelection => 6.0,
        };
        2.0 * f64::from(batch) * f64::from(size) * multiplications
    }

    /// The problem on synthetic samples.
    fn build<F: Scalar>(
        self,
        arguments: &Arguments,
        batch: u32,
        size: u32,
    ) -> Result<Box<dyn Problem<F>>, ProblemError> {
        let mut parameters = json!({
            "dataset": "mnist-small", "batch_lower": batch, "batch_upper": batch,
            "sampler": arguments.sampler,
        });
        match self {
            Self::HyperRepresentation => {
                parameters["hidden"] = json!([size]);
                parameters["activation"] = json!(arguments.activation);
                problems::synthetic_hyper_representation(parameters, 20_000, 5_000)
            }
            Self::RegularizationSelection => {
                parameters["start"] = json!("random");
                let features = size as usize;
                problems::synthetic_regularization_selection(parameters, features, 49_990, 91_701)
            }
        }
    }
}

/// One measurement.
struct Row {
    batch: u32,
    size: u32,
    precision: String,
    rate: f64,
    best_wall_rate: f64,
    gflops: f64,
}

pub fn main(arguments: Arguments) -> Result<(), Error> {
    system::use_one_blas_thread();
    Positive::try_from(arguments.seconds)
        .map_err(|e| crate::config::KeyError::value("--seconds", e))?;
    let problem = arguments.problem;
    let sizes = match problem {
        Measured::HyperRepresentation => &arguments.hidden,
        Measured::RegularizationSelection => &arguments.features,
    };
    let mut rows = vec![];
    for precision in &arguments.precision {
        for &batch in &arguments.batch {
            for &size in sizes {
                let (rate, best_wall_rate) = match precision.as_str() {
                    "f64" => measure::<f64>(&arguments, batch, size)?,
                    _ => measure::<f32>(&arguments, batch, size)?,
                };
                let gflops = rate * problem.operations(batch, size) / 1e9;
                let precision = precision.clone();
                rows.push(Row { batch, size, precision, rate, best_wall_rate, gflops });
            }
        }
    }
    let machine = system::cpu();
    let kernels = format!("{}, 1 thread", crate::product::kernels());
    if arguments.json {
        let rows: Vec<Value> = rows.iter().map(|row| row.json(problem)).collect();
        return super::super::print(&format!(
            "{:#}\n",
            json!({ "machine": machine, "kernels": kernels, "rows": rows })
        ));
    }
    let mut out = format!("{machine}\n{kernels}, {} batches\n", arguments.sampler);
    out += &format!("precision  batch{:>10}  iterations/s   GFLOP/s\n", problem.size());
    for Row { batch, size, precision, rate, gflops, .. } in &rows {
        out += &format!("{precision:<9}{batch:>7}{size:>10}{rate:>14.0}{gflops:>10.1}\n");
    }
    super::super::print(&out)
}

impl Row {
    fn json(&self, problem: Measured) -> Value {
        json!({
            "problem": problem.name(),
            "batch": self.batch,
            problem.size(): self.size,
            "precision": self.precision,
            "iterations_per_second": self.rate,
            "best_wall_iterations_per_second": self.best_wall_rate,
            "gflops": self.gflops,
        })
    }
}

/// Median rate by CPU time and best rate by wall time.
fn measure<F: Scalar>(arguments: &Arguments, batch: u32, size: u32) -> Result<(f64, f64), Error> {
    let name = format!("--{}", arguments.problem.size());
    for (key, value) in [("--batch", batch), (&name, size)] {
        Count::try_from(f64::from(value)).map_err(|e| crate::config::KeyError::value(key, e))?;
    }
    let problem = arguments.problem.build::<F>(arguments, batch, size)?;
    let mut at = problem.start();
    let mut d = Vars::zeros(at.dims());
    let mut workers = Workers::new(problem);
    let (alpha, beta) = (F::lit(0.01), F::lit(0.05));
    let mut k = 0;
    let mut step = |iterations: u64| -> Result<(), Error> {
        for _ in 0..iterations {
            let draw = Draw::first(0, 0, k);
            (workers.directions(draw, Blocks::ALL, &at, &mut d))
                .map_err(|e| crate::net::NetError::Worker(e.to_string()))?;
            let (x, y, z) = at.split_mut();
            add_scaled(x, -alpha, d.x());
            add_scaled(y, -beta, d.y());
            add_scaled(z, -beta, d.z());
            k += 1;
        }
        Ok(())
    };
    step(10)?;
    let warm = Instant::now();
    step(10)?;
    let chunk = (0.12 / (warm.elapsed().as_secs_f64() / 10.0)).ceil() as u64;
    let (mut rates, mut best) = (vec![], 0.0f64);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs_f64(arguments.seconds) || rates.len() < 3 {
        let (wall, cpu) = (Instant::now(), system::cpu_seconds());
        step(chunk)?;
        rates.push(chunk as f64 / (system::cpu_seconds() - cpu));
        best = best.max(chunk as f64 / wall.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    Ok((rates[rates.len() / 2], best))
}
