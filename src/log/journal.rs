//! The journal: rows as they come, each framed by its length and CRC-32C.
//!
//! ```text
//! u32 length | u32 crc32c of the body | body = u8 kind, fields little-endian
//! ```
//!
//! A frame that is torn or damaged ends what can be read.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::LogError;
use crate::evaluate::Evaluation;
use crate::net::{PHASES, RankReport, Traffic};
use crate::problems::Losses;

/// The state after so many iterations.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Iterations done.
    pub iteration: u64,
    /// Seconds since the start of the first iteration.
    pub wall_time: f64,
    /// Mean mini-batch losses of the last iteration; NaN at the start.
    pub losses: Losses,
    /// What travelled so far.
    pub traffic: Traffic,
    /// Wire bytes and times of each rank.
    pub ranks: Vec<RankReport>,
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Record {
    Row(Row),
    Evaluation(u64, Evaluation),
}

const ROW: u8 = 1;
const EVALUATION: u8 = 2;
/// No frame is longer: 2^20 ranks.
const MAX_FRAME: usize = 64 << 20;

/// The journal of a running run.
pub struct Journal {
    path: PathBuf,
    writer: BufWriter<File>,
    frame: Vec<u8>,
}

impl Journal {
    /// Creates the file; it must not exist.
    pub fn create(path: &Path) -> Result<Self, LogError> {
        let file = File::create_new(path)
            .map_err(|source| LogError::Write { path: path.to_owned(), source })?;
        let writer = BufWriter::with_capacity(1 << 16, file);
        Ok(Self { path: path.to_owned(), writer, frame: vec![] })
    }

    /// Appends a record. It may stay in a buffer until [`Journal::flush`].
    pub fn append(&mut self, record: &Record) -> Result<(), LogError> {
        self.frame.clear();
        self.frame.extend([0; 8]);
        encode(record, &mut self.frame);
        let length = (self.frame.len() - 8) as u32;
        let crc = crc32c::crc32c(&self.frame[8..]);
        self.frame[..4].copy_from_slice(&length.to_le_bytes());
        self.frame[4..8].copy_from_slice(&crc.to_le_bytes());
        let written = self.writer.write_all(&self.frame);
        written.map_err(|source| LogError::Write { path: self.path.clone(), source })
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), LogError> {
        let flushed = self.writer.flush();
        flushed.map_err(|source| LogError::Write { path: self.path.clone(), source })
    }
}

/// The records of a journal up to its end or first damaged frame.
pub fn read(path: &Path) -> Result<impl Iterator<Item = Record> + use<>, LogError> {
    let file = File::open(path);
    let file = file.map_err(|source| LogError::Read { path: path.to_owned(), source })?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut body = vec![];
    Ok(std::iter::from_fn(move || {
        let mut head = [0; 8];
        reader.read_exact(&mut head).ok()?;
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = word(0) as usize;
        if length > MAX_FRAME {
            return None;
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
        if crc32c::crc32c(&body) != word(4) {
            return None;
        }
        decode(&body)
    }))
}

fn encode(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Row(row) => {
            out.push(ROW);
            out.extend(row.iteration.to_le_bytes());
            for value in [row.wall_time, row.losses.upper, row.losses.lower] {
                out.extend(value.to_le_bytes());
            }
            out.extend(row.traffic.upload_bytes.to_le_bytes());
            out.extend(row.traffic.download_bytes.to_le_bytes());
            for rank in &row.ranks {
                out.extend(rank.wire_bytes_up.to_le_bytes());
                out.extend(rank.wire_bytes_down.to_le_bytes());
                rank.seconds.iter().for_each(|s| out.extend(s.to_le_bytes()));
            }
        }
        Record::Evaluation(iteration, e) => {
            out.push(EVALUATION);
            out.extend(iteration.to_le_bytes());
            for v in e.values() {
                out.extend(v.to_le_bytes());
            }
        }
    }
}

fn decode(body: &[u8]) -> Option<Record> {
    let (&kind, rest) = body.split_first()?;
    let mut fields = Fields(rest);
    let iteration = fields.u64()?;
    match kind {
        ROW => {
            let wall_time = fields.f64()?;
            let losses = Losses { upper: fields.f64()?, lower: fields.f64()? };
            let traffic = Traffic { upload_bytes: fields.u64()?, download_bytes: fields.u64()? };
            let mut ranks = vec![];
            while !fields.0.is_empty() {
                let (wire_bytes_up, wire_bytes_down) = (fields.u64()?, fields.u64()?);
                let mut seconds = [0.0; PHASES];
                for s in &mut seconds {
                    *s = f32::from_le_bytes(fields.take()?);
                }
                ranks.push(RankReport { wire_bytes_up, wire_bytes_down, seconds });
            }
            Some(Record::Row(Row { iteration, wall_time, losses, traffic, ranks }))
        }
        EVALUATION => {
            let mut values = Evaluation::NONE.values();
            for v in &mut values {
                *v = fields.f64()?;
            }
            Some(Record::Evaluation(iteration, Evaluation::from_values(values)))
        }
        _ => None,
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
    fn f64(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_and_damage_ends_the_reading() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("log.journal");
        let rank = RankReport { wire_bytes_up: 1, wire_bytes_down: 2, seconds: [0.5; PHASES] };
        let row = Row {
            iteration: 7,
            wall_time: 1.5,
            losses: Losses { upper: 0.1, lower: 0.2 },
            traffic: Traffic { upload_bytes: 10, download_bytes: 20 },
            ranks: vec![rank; 3],
        };
        let mut metric = 0.0;
        let evaluation = Evaluation::from_values(Evaluation::NONE.values().map(|_| {
            metric += 0.5;
            metric
        }));
        let records = [Record::Row(row), Record::Evaluation(7, evaluation)];
        let mut journal = Journal::create(&path)?;
        records.iter().try_for_each(|record| journal.append(record))?;
        journal.flush()?;
        assert_eq!(read(&path)?.collect::<Vec<_>>(), records);

        let mut bytes = std::fs::read(&path)?;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&path, &bytes)?;
        assert_eq!(read(&path)?.count(), 1);
        std::fs::write(&path, &bytes[..last])?;
        assert_eq!(read(&path)?.count(), 1);
        Ok(())
    }
}
