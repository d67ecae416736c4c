//! `sobaya bench step`: iterations per second of one worker's SOBA step, computation only.
//!
//! The problem is hyper-representation on synthetic samples of MNIST's shape, 20,000 for the lower
//! level and 5,000 for the upper. One iteration draws two mini-batches, computes the three
//! directions and updates x, y and z. Rates are per second of the process's CPU time (on an idle
//! core the same as wall time), the median over chunks of about a tenth of a second.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::{Count, Positive};
use crate::error::Error;
use crate::problems::{self, Draw};
use crate::scalar::Scalar;
use crate::system;
use crate::vars::{Blocks, Vars, add_scaled};
use crate::workers::Workers;

#[derive(clap::Args)]
pub struct Arguments {
    /// Problem to measure.
    #[arg(long, default_value = "hyper-representation", value_parser = ["hyper-representation"])]
    problem: String,
    /// Samples of each of the two mini-batches.
    #[arg(long, value_delimiter = ',', default_value = "64,512")]
    batch: Vec<u32>,
    /// Width of the hidden layer.
    #[arg(long, value_delimiter = ',', default_value = "32,128,512")]
    hidden: Vec<u32>,
    /// Number type.
    #[arg(long, value_delimiter = ',', default_value = "f32", value_parser = ["f32", "f64"])]
    precision: Vec<String>,
    /// Nonlinearity.
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

/// One measurement.
struct Row {
    batch: u32,
    hidden: u32,
    precision: String,
    rate: f64,
    best_wall_rate: f64,
    gflops: f64,
}

pub fn main(arguments: Arguments) -> Result<(), Error> {
    system::use_one_blas_thread();
    Positive::try_from(arguments.seconds)
        .map_err(|e| crate::config::KeyError::value("--seconds", e))?;
    let mut rows = vec![];
    for precision in &arguments.precision {
        for &batch in &arguments.batch {
            for &hidden in &arguments.hidden {
                let (rate, best_wall_rate) = match precision.as_str() {
                    "f64" => measure::<f64>(&arguments, batch, hidden)?,
                    _ => measure::<f32>(&arguments, batch, hidden)?,
                };
                // Four products with the 785 x hidden weights, nine with the heads.
                let flops = 2.0 * f64::from(batch) * f64::from(hidden) * (4.0 * 785.0 + 90.0);
                let gflops = rate * flops / 1e9;
                let precision = precision.clone();
                rows.push(Row { batch, hidden, precision, rate, best_wall_rate, gflops });
            }
        }
    }
    let machine = system::cpu();
    let kernels = format!("{}, 1 thread", crate::product::kernels());
    if arguments.json {
        let rows: Vec<Value> = rows.iter().map(|row| row.json(&arguments.problem)).collect();
        return super::super::print(&format!(
            "{:#}\n",
            json!({ "machine": machine, "kernels": kernels, "rows": rows })
        ));
    }
    let mut out = format!("{machine}\n{kernels}, {} batches\n", arguments.sampler);
    out += "precision  batch  hidden  iterations/s   GFLOP/s\n";
    for Row { batch, hidden, precision, rate, gflops, .. } in &rows {
        out += &format!("{precision:<9}{batch:>7}{hidden:>8}{rate:>14.0}{gflops:>10.1}\n");
    }
    super::super::print(&out)
}

impl Row {
    fn json(&self, problem: &str) -> Value {
        json!({
            "problem": problem,
            "batch": self.batch,
            "hidden": self.hidden,
            "precision": self.precision,
            "iterations_per_second": self.rate,
            "best_wall_iterations_per_second": self.best_wall_rate,
            "gflops": self.gflops,
        })
    }
}

/// Median rate by CPU time and best rate by wall time.
fn measure<F: Scalar>(arguments: &Arguments, batch: u32, hidden: u32) -> Result<(f64, f64), Error> {
    for (key, value) in [("--batch", batch), ("--hidden", hidden)] {
        Count::try_from(f64::from(value)).map_err(|e| crate::config::KeyError::value(key, e))?;
    }
    let parameters = json!({
        "dataset": "mnist-small", "hidden": [hidden], "activation": arguments.activation,
        "batch_lower": batch, "batch_upper": batch, "sampler": arguments.sampler,
    });
    let problem = problems::synthetic_hyper_representation::<F>(parameters, 20_000, 5_000)?;
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
