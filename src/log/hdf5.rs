//! `log.h5`, built in memory from the journal.
//!
//! ```text
//! attributes  Conventions schema_version config_json config_sha256 provenance_json parts_json
//!             program_version git_commit seed n_workers n_ranks status stop_reason
//! iteration   i8 (iteration, unlimited)            rank, worker   i4
//! upper_loss lower_loss wall_time[s] part          (iteration)
//! upload_bytes download_bytes upload_bits_per_worker   i8 (iteration), cumulative
//! wire_bytes_up wire_bytes_down                    i8 (iteration, rank), cumulative
//! time_compute time_compress time_communicate time_wait time_server   f4 (iteration, rank) [s]
//! eval        i8 (eval, unlimited)
//! eval_iteration i8, hypergradient_norm test_accuracy test_loss validation_loss f8   (eval)
//! without a server:
//! attribute   spectral_gap f8 [3]
//! link        i4                                   link_from link_to i4, link_bytes i8   (link)
//! ```
//!
//! A run that was resumed has several parts, maybe on different numbers of ranks: `rank` is as long as the
//! widest, the bytes of ranks that a part did not have are -1, their times NaN.
//!
//! Row k is the state after k iterations, row 0 the start; the losses are those of the last
//! iteration's mini-batches. NaN: a problem has no such thing, or it was not asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, H5Type, Location, Result};

use serde_json::Value;

use super::journal::{Part, Record, Row};
use super::{Status, scales};
use crate::config::{GraphPlan, Plan, sha256_hex};
use crate::evaluate::Evaluation;
use crate::net::{LinkBytes, PHASES, Phase};

/// Rows a chunk holds.
pub const CHUNK: usize = 1024;
/// Bytes of a row of all columns over (iteration), and of one over (iteration, rank) for each rank.
pub const ROW: [usize; 2] = [8 + 3 * 8 + 4 + 3 * 8, 2 * 8 + PHASES * 4];
/// Bytes of a row of all columns over (eval).
pub const EVALUATION: usize = 8 + 8 + 8 * Evaluation::METRICS.len();

/// What does not change during a run.
pub struct Header {
    config_json: String,
    config_sha256: String,
    seed: u64,
    workers: usize,
    /// Of the graphs of x, y and z, where there is no server.
    spectral_gaps: Option<[f64; 3]>,
}

impl Header {
    /// Header of a run of this plan.
    pub fn new(plan: &Plan) -> Self {
        Self::with(&plan.resolved, plan.seed, plan.workers, plan.graph.as_ref())
    }

    /// Header of a run that had this config, with every default filled in, maybe under an older program;
    /// `None` if it is no config.
    pub fn of(config: &Value) -> Option<Self> {
        let workers = usize::try_from(config["workers"].as_u64()?).ok().filter(|&n| n > 0)?;
        // Who wrote the config may have known keys that this program does not.
        let graph = Plan::new(config.clone()).ok().and_then(|plan| plan.graph);
        Some(Self::with(config, config["seed"].as_u64()?, workers, graph.as_ref()))
    }

    fn with(config: &Value, seed: u64, workers: usize, graph: Option<&GraphPlan>) -> Self {
        Self {
            config_json: config.to_string(),
            config_sha256: sha256_hex(config),
            seed,
            workers,
            spectral_gaps: graph.map(GraphPlan::spectral_gaps),
        }
    }
}

/// The bytes of the file.
pub fn image(
    header: &Header,
    records: impl Iterator<Item = Record>,
    status: Status,
    reason: &str,
) -> Result<Vec<u8>> {
    let file = in_memory()?;
    let mut columns = Columns::default();
    records.for_each(|record| columns.push(record));
    write_header(&file, header, &columns.parts)?;
    number(&file, "n_ranks", columns.ranks as i32)?;
    text(&file, "status", status.name())?;
    text(&file, "stop_reason", reason)?;
    columns.write(&file, header)?;
    read_image(&file)
}

/// An empty file in memory. The library's own driver for files does not always tell that a disk is full.
pub fn in_memory() -> Result<File> {
    // Without a backing store nothing is written to disk, but the library tells open files apart by
    // their names.
    static IMAGES: AtomicU64 = AtomicU64::new(0);
    let name = format!("log.h5 in memory {}", IMAGES.fetch_add(1, Ordering::Relaxed));
    File::with_options().with_fapl(|list| list.core_options(1 << 20, false)).create(name)
}

fn write_header(file: &File, header: &Header, parts: &[Part]) -> Result<()> {
    text(file, "Conventions", "CF-1.11 sobaya-log-1.2")?;
    file.new_attr_builder().with_data(&[1i32, 2]).create("schema_version")?;
    text(file, "config_json", &header.config_json)?;
    text(file, "config_sha256", &header.config_sha256)?;
    let provenances: Vec<&str> = parts.iter().map(|part| &*part.provenance).collect();
    let last = provenances.last().copied().unwrap_or("{}");
    text(file, "provenance_json", last)?;
    text(file, "parts_json", &format!("[{}]", provenances.join(",")))?;
    // The program that wrote the rows, which need not be the one that builds this file.
    let program: Value = serde_json::from_str(last).unwrap_or_default();
    for name in ["program_version", "git_commit"] {
        text(file, name, program[name].as_str().unwrap_or("unknown"))?;
    }
    if let Some(gaps) = &header.spectral_gaps {
        file.new_attr_builder().with_data(gaps).create("spectral_gap")?;
    }
    number(file, "seed", header.seed)?;
    number(file, "n_workers", header.workers as i32)
}

/// The journal turned on its side.
#[derive(Default)]
struct Columns {
    parts: Vec<Part>,
    /// Ranks of the widest part.
    ranks: usize,
    /// Ranks of each row.
    widths: Vec<usize>,
    part: Vec<i32>,
    iteration: Vec<i64>,
    floats: [Vec<f64>; 3],
    bytes: [Vec<i64>; 2],
    wire: [Vec<i64>; 2],
    times: [Vec<f32>; PHASES],
    eval_iteration: Vec<i64>,
    evals: [Vec<f64>; Evaluation::METRICS.len()],
    /// Bytes by sender and receiver.
    links: BTreeMap<(usize, usize), u64>,
}

impl Columns {
    fn push(&mut self, record: Record) {
        match record {
            Record::Part(part) => {
                self.ranks = self.ranks.max(part.ranks as usize);
                self.parts.push(part);
            }
            Record::Row(Row { iteration, wall_time, losses, traffic, ranks }) => {
                self.ranks = self.ranks.max(ranks.len());
                self.widths.push(ranks.len());
                self.part.push(self.parts.last().map_or(0, |part| part.part as i32));
                self.iteration.push(iteration as i64);
                let floats = [losses.upper, losses.lower, wall_time];
                self.floats.iter_mut().zip(floats).for_each(|(column, v)| column.push(v));
                self.bytes[0].push(traffic.upload_bytes as i64);
                self.bytes[1].push(traffic.download_bytes as i64);
                for rank in ranks {
                    self.wire[0].push(rank.wire_bytes_up as i64);
                    self.wire[1].push(rank.wire_bytes_down as i64);
                    self.times.iter_mut().zip(rank.seconds).for_each(|(column, s)| column.push(s));
                }
            }
            Record::Evaluation(iteration, e) => {
                self.eval_iteration.push(iteration as i64);
                self.evals.iter_mut().zip(e.values()).for_each(|(column, v)| column.push(v));
            }
            Record::Links(links) => {
                let each = |LinkBytes { from, to, bytes }| ((from, to), bytes);
                self.links.extend(links.into_iter().map(each));
            }
        }
    }

    fn write(self, file: &File, header: &Header) -> Result<()> {
        write_links(file, &self.links)?;
        let row = ["iteration"];
        let by_rank = ["iteration", "rank"];
        scale(file, "iteration", &self.iteration, true, "iterations done")?;
        scale(file, "rank", &count(self.ranks), false, "MPI rank")?;
        scale(file, "worker", &count(header.workers), false, "logical worker")?;
        let evals: Vec<i64> = (0..self.eval_iteration.len() as i64).collect();
        scale(file, "eval", &evals, true, "evaluation")?;

        let per_worker: Vec<i64> =
            self.bytes[0].iter().map(|bytes| 8 * bytes / header.workers as i64).collect();
        let [upper, lower, wall] = self.floats;
        series(file, "upper_loss", upper, &row, "1", "mean mini-batch loss of the upper level")?;
        series(file, "lower_loss", lower, &row, "1", "mean mini-batch loss of the lower level")?;
        let long = "time since the start of the first iteration, all parts together";
        series(file, "wall_time", wall, &row, "s", long)?;
        series(file, "part", self.part, &row, "1", "0 for the first start, 1 more a resume")?;
        let [up, down] = self.bytes;
        series(file, "upload_bytes", up, &row, "byte", "packets, all workers to the server")?;
        series(file, "download_bytes", down, &row, "byte", "packets, server to all workers")?;
        let long = "uploaded bits per worker";
        series(file, "upload_bits_per_worker", per_worker, &row, "bit", long)?;
        let [up, down] = self.wire;
        let long = "bytes handed to MPI in this part, envelopes in";
        let wide = |column| widened(column, &self.widths, self.ranks, -1);
        series(file, "wire_bytes_up", wide(up), &by_rank, "byte", long)?;
        series(file, "wire_bytes_down", wide(down), &by_rank, "byte", long)?;
        for (phase, times) in Phase::ALL.into_iter().zip(self.times) {
            let name = format!("time_{}", phase.name());
            let times = widened(times, &self.widths, self.ranks, f32::NAN);
            series(file, &name, times, &by_rank, "s", "time in this phase of the last iteration")?;
        }
        let eval = ["eval"];
        let long = "iterations done at this evaluation";
        series(file, "eval_iteration", self.eval_iteration, &eval, "1", long)?;
        for ((name, long), values) in Evaluation::METRICS.into_iter().zip(self.evals) {
            series(file, name, values, &eval, "1", long)?;
        }
        Ok(())
    }
}

/// Nothing where there is a server, or where no bytes are known yet.
fn write_links(file: &File, links: &BTreeMap<(usize, usize), u64>) -> Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    let link = ["link"];
    let from = links.keys().map(|&(from, _)| from as i32).collect();
    let to = links.keys().map(|&(_, to)| to as i32).collect();
    let bytes: Vec<i64> = links.values().map(|&bytes| bytes as i64).collect();
    scale(file, "link", &count(links.len()), false, "directed link of the graphs")?;
    series(file, "link_from", from, &link, "1", "sender")?;
    series(file, "link_to", to, &link, "1", "receiver")?;
    let long = "packets on this link, up to the last stop or the end";
    series(file, "link_bytes", bytes, &link, "byte", long)
}

/// 0, 1, 2, ...
fn count(n: usize) -> Vec<i32> {
    (0..n as i32).collect()
}

/// Rows of these widths, each filled up to the largest width.
fn widened<T: Copy>(column: Vec<T>, widths: &[usize], widest: usize, fill: T) -> Vec<T> {
    if column.len() == widths.len() * widest {
        return column;
    }
    let mut wide = Vec::with_capacity(widths.len() * widest);
    let mut rest = &column[..];
    for (row, &width) in widths.iter().enumerate() {
        let (values, behind) = rest.split_at(width);
        wide.extend_from_slice(values);
        wide.resize((row + 1) * widest, fill);
        rest = behind;
    }
    wide
}

/// A dimension with its values.
fn scale<T: H5Type>(file: &File, name: &str, v: &[T], unlimited: bool, long: &str) -> Result<()> {
    let dataset = create(file, name, v, &[v.len()], unlimited)?;
    describe(&dataset, "1", long)?;
    scales::make_scale(&dataset, name)
}

/// A variable over named dimensions, unlimited if the first of them is.
fn series<T: H5Type>(
    file: &File,
    name: &str,
    values: Vec<T>,
    dimensions: &[&str],
    units: &str,
    long: &str,
) -> Result<()> {
    let shape: Vec<usize> = match dimensions {
        [_, rank] => {
            let ranks = file.dataset(rank)?.size();
            vec![values.len() / ranks.max(1), ranks]
        }
        _ => vec![values.len()],
    };
    let unlimited = file.dataset(dimensions[0])?.is_resizable();
    let dataset = create(file, name, &values, &shape, unlimited)?;
    describe(&dataset, units, long)?;
    scales::attach(file, &dataset, dimensions)
}

fn create<T: H5Type>(
    file: &File,
    name: &str,
    values: &[T],
    shape: &[usize],
    unlimited: bool,
) -> Result<Dataset> {
    let shape_error = |_| hdf5::Error::from("rows of unequal length");
    match (shape, unlimited) {
        (&[rows], true) => {
            let dataset = file.new_dataset::<T>().chunk(CHUNK).shape((rows..,)).create(name)?;
            dataset.write(values)?;
            Ok(dataset)
        }
        (&[rows, width], true) => {
            let builder = file.new_dataset::<T>().chunk((CHUNK.div_ceil(width), width));
            let dataset = builder.shape((rows.., width)).create(name)?;
            let values = ndarray::ArrayView2::from_shape((rows, width), values);
            dataset.write(values.map_err(shape_error)?)?;
            Ok(dataset)
        }
        _ => {
            let dataset = file.new_dataset::<T>().shape(shape.to_vec()).create(name)?;
            dataset.write(values)?;
            Ok(dataset)
        }
    }
}

fn describe(dataset: &Dataset, units: &str, long: &str) -> Result<()> {
    text(dataset, "units", units)?;
    text(dataset, "long_name", long)
}

/// Variable-length text: HDF5 refuses fixed-length attributes above 64 KiB.
fn text(location: &Location, name: &str, value: &str) -> Result<()> {
    let value: VarLenUnicode =
        value.replace('\0', " ").parse().map_err(|_| hdf5::Error::from("text with a zero byte"))?;
    location.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&value)
}

fn number<T: H5Type>(location: &Location, name: &str, value: T) -> Result<()> {
    location.new_attr::<T>().create(name)?.write_scalar(&value)
}

/// The bytes of a file in memory.
pub fn read_image(file: &File) -> Result<Vec<u8>> {
    use hdf5_sys::h5f::H5Fget_file_image;
    file.flush()?;
    let id = file.id();
    // SAFETY: with a null buffer the call returns the size; the second call gets a buffer of that
    // size. The library is locked meanwhile, and nothing writes to the file in between.
    let (size, copied, image) = hdf5::sync::sync(|| unsafe {
        let size = H5Fget_file_image(id, std::ptr::null_mut(), 0);
        let mut image = vec![0u8; usize::try_from(size).unwrap_or(0)];
        let copied = H5Fget_file_image(id, image.as_mut_ptr().cast(), image.len());
        (size, copied, image)
    });
    if size <= 0 || copied != size {
        return Err(hdf5::Error::from("the library gave no image of the file"));
    }
    Ok(image)
}

/// The status in a log; `None` if it cannot be read.
pub fn read_status(path: &Path) -> Option<String> {
    let status = File::open(path).and_then(|file| file.attr("status")?.read_scalar());
    status.ok().map(|status: VarLenUnicode| status.as_str().to_owned())
}
