//! `sobaya bench compress`: speed, bytes and error of compressors on standard normal vectors.
//!
//! Times are the process's CPU time (on an idle core the same as wall time) of one call, the median
//! over chunks of some milliseconds; the JSON has the lowest chunk, too. Chunks of copying the
//! vector (`memcpy`), of encoding it and of adding a decoded packet take turns, so that what else the
//! machine does hits all three. Vectors, keys and packets change from call to call.

mod bound;
mod sets;

use std::hint::black_box;
use std::time::{Duration, Instant};

use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

use crate::compressors::{Bound, Compressor, Site, registry};
use crate::config::{Count, KeyError, Positive};
use crate::error::Error;
use crate::key::{Key, Stream};
use crate::packet::Packet;
use crate::scalar::Scalar;
use crate::simd::Level;
use crate::system;
use crate::vars::{Layout, dot};

#[derive(clap::Args)]
pub struct Arguments {
    /// Lengths of the vectors.
    #[arg(long, value_delimiter = ',', default_value = "25450,1000000,10000000")]
    dim: Vec<u32>,
    /// Seconds for each row.
    #[arg(long, default_value = "0.5")]
    seconds: f64,
    /// Instructions to use, or the best that the processor has if that is less.
    #[arg(long, default_value = "avx512", value_parser = ["avx512", "avx2", "baseline"])]
    kernels: String,
    /// Number type.
    #[arg(long, default_value = "f32", value_parser = ["f32", "f64"])]
    precision: String,
    /// Compressor to measure, as in a config, instead of the built-in list; may be repeated.
    #[arg(long, value_name = "JSON")]
    compressor: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Seconds of one call.
struct Time {
    median: f64,
    lowest: f64,
}

/// One compressor at one length.
struct Row {
    /// The parameters as given and with all defaults.
    given: Value,
    resolved: Value,
    dim: usize,
    promise: Bound,
    memcpy: Time,
    encode: Time,
    decode_add: Time,
    /// Mean length of a packet, header included.
    packet_bytes: f64,
    /// See [`bound::bytes`].
    bound_bytes: Option<f64>,
    /// Mean of |C(v) - v|^2 / |v|^2.
    relative_error: f64,
    value_bytes: usize,
}

pub fn main(arguments: Arguments) -> Result<(), Error> {
    Positive::try_from(arguments.seconds).map_err(|e| KeyError::value("--seconds", e))?;
    for &dim in &arguments.dim {
        Count::try_from(f64::from(dim)).map_err(|e| KeyError::value("--dim", e))?;
    }
    let kernels = (Level::ALL.into_iter())
        .find(|level| level.name() == arguments.kernels)
        .map_or(Level::best(), Level::at_most);
    let sets = match &arguments.compressor[..] {
        [] => sets::built_in(),
        given => given.iter().map(|text| parse(text)).collect::<Result<_, _>>()?,
    };
    let mut rows = vec![];
    for &dim in &arguments.dim {
        for set in &sets {
            rows.push(match arguments.precision.as_str() {
                "f64" => measure::<f64>(set, dim as usize, arguments.seconds)?,
                _ => measure::<f32>(set, dim as usize, arguments.seconds)?,
            });
        }
    }
    let machine = system::cpu();
    if arguments.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        return super::super::print(&format!(
            "{:#}\n",
            json!({
                "machine": machine,
                "kernels": kernels.name(),
                "precision": arguments.precision,
                "rows": rows,
            })
        ));
    }
    let names: Vec<String> = rows.iter().map(|row| sets::name(&row.given)).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let mut out = format!("{machine}\n{}, {}, ", kernels.name(), arguments.precision);
    out += "medians; encode and add in times of copying the vector\n";
    out += &format!("{:<width$}", "compressor");
    out += "       dim   GB/s  encode     add     bytes     bound     error   bits    alpha 4^b\n";
    for (row, name) in rows.iter().zip(names) {
        out += &format!("{name:<width$}{}\n", row.line());
    }
    super::super::print(&out)
}

fn parse(text: &str) -> Result<Value, KeyError> {
    serde_json::from_str(text).map_err(|e| KeyError::value("--compressor", e.to_string()))
}

impl Row {
    fn bits_per_coordinate(&self) -> f64 {
        8.0 * self.packet_bytes / self.dim as f64
    }

    /// alpha 4^b: at least 1 for every code of independent normal numbers at b bits each (Shannon's
    /// rate-distortion function). alpha is the relative error of the contractive version: that of
    /// C(v) / (1 + omega) for an unbiased C, omega / (1 + omega) with the measured omega.
    fn rate_distortion(&self) -> f64 {
        let alpha = match self.promise {
            Bound::Unbiased { .. } => self.relative_error / (1.0 + self.relative_error),
            Bound::Contractive { .. } => self.relative_error,
        };
        alpha * self.bits_per_coordinate().exp2().powi(2)
    }

    fn line(&self) -> String {
        let gigabytes = (self.dim * self.value_bytes) as f64 / 1e9;
        let bound = self.bound_bytes.map_or("-".into(), |bytes| format!("{bytes:.0}"));
        format!(
            "{:>10}{:>7.1}{:>8.2}{:>8.2}{:>10.0}{bound:>10}{:>10.2e}{:>7.3}{:>13.4}",
            self.dim,
            gigabytes / self.encode.median,
            self.encode.median / self.memcpy.median,
            self.decode_add.median / self.memcpy.median,
            self.packet_bytes,
            self.relative_error,
            self.bits_per_coordinate(),
            self.rate_distortion(),
        )
    }

    fn json(&self) -> Value {
        let mut parameters = self.resolved.clone();
        let kind = parameters.as_object_mut().and_then(|object| object.remove("kind"));
        let promise = match self.promise {
            Bound::Unbiased { omega } => json!({ "omega": omega }),
            Bound::Contractive { delta } => json!({ "delta": delta }),
        };
        json!({
            "compressor": kind,
            "parameters": parameters,
            "name": sets::name(&self.given),
            "dim": self.dim,
            "promise": promise,
            "encode_seconds": self.encode.median,
            "decode_add_seconds": self.decode_add.median,
            "memcpy_seconds": self.memcpy.median,
            "lowest_encode_seconds": self.encode.lowest,
            "lowest_decode_add_seconds": self.decode_add.lowest,
            "lowest_memcpy_seconds": self.memcpy.lowest,
            "packet_bytes": self.packet_bytes,
            "bound_bytes": self.bound_bytes,
            "relative_error": self.relative_error,
            "bits_per_coordinate": self.bits_per_coordinate(),
            "rate_distortion": self.rate_distortion(),
        })
    }
}

/// A vector and its packet.
struct Sample<'v, F> {
    v: &'v [F],
    key: Key,
    bytes: Vec<u8>,
}

fn key(iteration: u64) -> Key {
    Key { iteration, ..Key::shared(0, Stream::CompressX) }
}

/// A standard normal vector; `sub` tells draws apart.
fn normal<F: Scalar>(dim: usize, sub: u32) -> Vec<F> {
    let mut rng = Key::shared(0, Stream::ProblemData).numbered(sub).rng();
    (0..dim).map(|_| F::lit(StandardNormal.sample(&mut rng))).collect()
}

fn measure<F: Scalar>(set: &Value, dim: usize, seconds: f64) -> Result<Row, Error> {
    let registry = registry();
    let layout = Layout::flat(dim);
    let below = |e: KeyError| e.below("--compressor");
    let resolved = registry.resolve(set).map_err(below)?;
    let mut compressor = registry.build::<F>(&resolved, Site::new(&layout)).map_err(below)?;
    let vectors = [normal::<F>(dim, 0), normal(dim, 1)];
    // Enough for branches not to be learnt by heart, within some 16 MB of packets.
    let draws = ((1 << 22) / dim as u64).clamp(2, 64);
    let mut samples = vec![];
    for draw in 0..draws {
        let (v, key, mut bytes) = (&vectors[draw as usize % 2][..], key(draw), vec![]);
        compressor.encode(v, key, &mut bytes).expect("a finite vector");
        samples.push(Sample { v, key, bytes });
    }
    let (mut relative_error, mut packet_bytes, mut bound_bytes) = (0.0, 0.0, Some(0.0));
    for sample in &samples {
        let mut value = vec![F::zero(); dim];
        add(&mut *compressor, sample, F::one(), &mut value);
        let bytes = bound::bytes(&resolved, sample.v, &value, packet(sample));
        bound_bytes = bound_bytes.zip(bytes).map(|(sum, bytes)| sum + bytes / draws as f64);
        packet_bytes += sample.bytes.len() as f64 / draws as f64;
        value.iter_mut().zip(sample.v).for_each(|(value, &v)| *value -= v);
        let error = dot(&value, &value) / dot(sample.v, sample.v);
        relative_error += error / draws as f64;
    }
    let [memcpy, encode, decode_add] = time(&mut *compressor, &samples, seconds);
    Ok(Row {
        given: set.clone(),
        resolved,
        dim,
        promise: compressor.bound(),
        memcpy,
        encode,
        decode_add,
        packet_bytes,
        bound_bytes,
        relative_error,
        value_bytes: F::BYTES,
    })
}

fn packet<'s, F>(sample: &'s Sample<'_, F>) -> Packet<'s> {
    Packet::split(&sample.bytes).expect("a packet just written").0
}

fn add<F: Scalar>(
    compressor: &mut dyn Compressor<F>,
    sample: &Sample<'_, F>,
    scale: F,
    out: &mut [F],
) {
    (compressor.decode_add(packet(sample), sample.key, scale, out)).expect("a packet just written");
}

/// Times of copying, encoding and adding, in chunks that take turns.
fn time<F: Scalar>(
    compressor: &mut dyn Compressor<F>,
    samples: &[Sample<'_, F>],
    seconds: f64,
) -> [Time; 3] {
    let dim = samples[0].v.len();
    let (mut copy, mut sum) = (vec![F::one(); dim], vec![F::one(); dim]);
    let (mut bytes, mut calls) = (vec![], 0);
    let sample = |call: u64| &samples[call as usize % samples.len()];
    let mut run = |what: usize, times: u64| {
        let start = system::cpu_seconds();
        for call in calls..calls + times {
            match what {
                0 => black_box(&mut copy[..]).copy_from_slice(black_box(sample(call).v)),
                1 => {
                    bytes.clear();
                    let encoded = compressor.encode(sample(call).v, key(call), &mut bytes);
                    encoded.expect("a finite vector");
                    black_box(&bytes);
                }
                // Scales of both signs keep the sum bounded.
                _ => {
                    let scale = F::lit(if call / 2 % 2 == 0 { 1e-3 } else { -1e-3 });
                    add(compressor, sample(call), scale, &mut sum);
                }
            }
        }
        calls += times;
        (system::cpu_seconds() - start) / times as f64
    };
    // One call of each warms up, the second says how many make a chunk.
    let chunks = [0, 1, 2].map(|what| {
        run(what, 2);
        (5e-3 / run(what, 2).max(1e-9)).clamp(1.0, 1e6) as u64
    });
    let mut times = [vec![], vec![], vec![]];
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs_f64(seconds) || times[0].len() < 5 {
        for (what, times) in times.iter_mut().enumerate() {
            times.push(run(what, chunks[what]));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        Time { median: times[times.len() / 2], lowest: times[0] }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_to_what_is_possible() {
        for set in sets::built_in() {
            let row = measure::<f32>(&set, 5000, 1e-3).expect("a compressor");
            let name = sets::name(&set);
            let bound = row.bound_bytes.unwrap_or_else(|| panic!("{name} has no bound"));
            assert!(bound <= row.packet_bytes, "{name}: {bound} over {}", row.packet_bytes);
            // Shannon's bound holds for the mean; a draw may lie a little below.
            let distance = row.rate_distortion();
            assert!(row.relative_error == 0.0 || distance > 0.9, "{name}: {distance}");
            let lowest = [&row.memcpy, &row.encode, &row.decode_add].map(|time| time.lowest);
            assert!(lowest.iter().all(|&time| time > 0.0), "{name}: {lowest:?}");
            let json = row.json();
            assert_eq!(json["compressor"], set["kind"], "{json}");
        }
    }
}
