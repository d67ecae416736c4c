//! The journal: rows as they come, each framed by its length and CRC-32C.
//!
//! ```text
//! u32 length | u32 crc32c of the body | body = u8 kind, fields little-endian
//! ```
//!
//! A frame that is torn or damaged ends what can be read. Each start or resume of the run begins with a
//! [`Part`], to which the rows behind it belong.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::LogError;
use crate::evaluate::Evaluation;
use crate::net::{LinkBytes, PHASES, RankReport, Traffic};
use crate::output::{Claim, OutputError};
use crate::problems::Losses;

/// Name of the journal in the output folder.
pub const JOURNAL: &str = "log.journal";

/// A start of the run: from here to the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// 0 for the first start, 1 more a resume.
    pub part: u32,
    /// Number of ranks.
    pub ranks: u32,
    /// What it runs on: JSON.
    pub provenance: String,
}

/// The state after so many iterations.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Iterations done.
    pub iteration: u64,
    /// Seconds since the start of the first iteration of its part; in the journal, of all parts up to then.
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
    Part(Part),
    Row(Row),
    Evaluation(u64, Evaluation),
    /// What links have carried so far; some of them, or all.
    Links(Vec<LinkBytes>),
}

const ROW: u8 = 1;
const EVALUATION: u8 = 2;
const PART: u8 = 3;
const LINKS: u8 = 4;
/// No run has more ranks.
const MAX_RANKS: u32 = 1 << 20;
/// No frame is longer: that of a row of so many ranks.
const MAX_FRAME: usize = 64 * MAX_RANKS as usize;
/// Links of a record at most: its frame is then short enough.
pub const MAX_LINKS: usize = 1 << 20;

/// The journal of a running run.
pub struct Journal {
    path: PathBuf,
    writer: BufWriter<File>,
    frame: Vec<u8>,
    /// Length with all that was appended.
    bytes: u64,
}

impl Journal {
    /// The journal of a run that was interrupted, cut to this length. The part that is kept moves to a new
    /// file: a process that still writes to the old one, as it was cut off from this folder, harms nothing.
    pub fn cut(claim: &Claim, bytes: u64) -> Result<Self, LogError> {
        let path = claim.folder().join(JOURNAL);
        let file = claim.replace_by(JOURNAL, |file| match bytes {
            0 => Ok(()),
            _ => match std::io::copy(&mut File::open(&path)?.take(bytes), file)? {
                copied if copied < bytes => Err(ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            },
        })?;
        let writer = BufWriter::with_capacity(1 << 16, file);
        Ok(Self { path, writer, frame: vec![], bytes })
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
        self.bytes += self.frame.len() as u64;
        let written = self.writer.write_all(&self.frame);
        written.map_err(|source| self.failed(source))
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), LogError> {
        let flushed = self.writer.flush();
        flushed.map_err(|source| self.failed(source))
    }

    /// Makes everything durable; the length of the file.
    pub fn sync(&mut self) -> Result<u64, LogError> {
        self.flush()?;
        self.writer.get_ref().sync_data().map_err(|source| self.failed(source))?;
        Ok(self.bytes)
    }

    fn failed(&self, source: std::io::Error) -> LogError {
        OutputError::Write { path: self.path.clone(), source }.into()
    }
}

/// The records of a journal up to its end or first damaged frame.
pub struct Records {
    reader: BufReader<File>,
    body: Vec<u8>,
    end: u64,
}

impl Records {
    /// Opens a folder's journal.
    pub fn read(folder: &Path) -> Result<Self, LogError> {
        let path = folder.join(JOURNAL);
        let file = File::open(&path).map_err(|source| OutputError::Read { path, source })?;
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Self { reader, body: vec![], end: 0 })
    }

    /// Length of the frames that were read.
    pub fn end(&self) -> u64 {
        self.end
    }
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let mut word = || -> Option<u32> {
            let mut word = [0; 4];
            self.reader.read_exact(&mut word).ok()?;
            Some(u32::from_le_bytes(word))
        };
        let (length, crc) = (word()? as usize, word()?);
        if length > MAX_FRAME {
            return None;
        }
        self.body.resize(length, 0);
        self.reader.read_exact(&mut self.body).ok()?;
        if crc32c::crc32c(&self.body) != crc {
            return None;
        }
        let record = decode(&self.body)?;
        self.end += 8 + length as u64;
        Some(record)
    }
}

/// Bytes that a record takes.
pub fn length(record: &Record) -> u64 {
    let mut body = vec![];
    encode(record, &mut body);
    8 + body.len() as u64
}

fn encode(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Part(part) => {
            out.push(PART);
            out.extend(part.part.to_le_bytes());
            out.extend(part.ranks.to_le_bytes());
            out.extend(part.provenance.as_bytes());
        }
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
        Record::Links(links) => {
            out.push(LINKS);
            for link in links {
                out.extend((link.from as u32).to_le_bytes());
                out.extend((link.to as u32).to_le_bytes());
                out.extend(link.bytes.to_le_bytes());
            }
        }
    }
}

fn decode(body: &[u8]) -> Option<Record> {
    let (&kind, rest) = body.split_first()?;
    let mut fields = Fields(rest);
    match kind {
        PART => {
            let (part, ranks) = (fields.u32()?, fields.u32()?);
            if ranks == 0 || ranks > MAX_RANKS {
                return None;
            }
            let provenance = String::from_utf8(fields.0.to_vec()).ok()?;
            Some(Record::Part(Part { part, ranks, provenance }))
        }
        ROW => {
            let iteration = fields.u64()?;
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
            let iteration = fields.u64()?;
            let mut values = Evaluation::NONE.values();
            for v in &mut values {
                *v = fields.f64()?;
            }
            Some(Record::Evaluation(iteration, Evaluation::from_values(values)))
        }
        LINKS => {
            let mut links = vec![];
            while !fields.0.is_empty() {
                let (from, to) = (fields.u32()? as usize, fields.u32()? as usize);
                links.push(LinkBytes { from, to, bytes: fields.u64()? });
            }
            Some(Record::Links(links))
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
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
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
    use crate::output::Lock;

    fn records() -> Vec<Record> {
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
        let part = Part { part: 3, ranks: 2, provenance: "{\"host\":\"a\"}".into() };
        let links = [(0, 1), (1, 0)].map(|(from, to)| LinkBytes { from, to, bytes: 1 << 40 });
        let mut records = vec![Record::Part(part), Record::Row(row)];
        records.extend([Record::Evaluation(7, evaluation), Record::Links(links.to_vec())]);
        records
    }

    /// Writes the records; the lengths of the file after each.
    fn write(claim: &Claim, records: &[Record]) -> Result<Vec<u64>, LogError> {
        let mut journal = Journal::cut(claim, 0)?;
        let mut ends = vec![];
        for record in records {
            journal.append(record)?;
            ends.push(journal.sync()?);
        }
        Ok(ends)
    }

    #[test]
    fn whole_records_are_read_up_to_any_cut() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (lock, _) = Lock::take(folder.path())?;
        let records = records();
        let ends = write(lock.claim(), &records)?;
        let path = folder.path().join(JOURNAL);
        let bytes = std::fs::read(&path)?;
        assert_eq!(Some(bytes.len() as u64), ends.last().copied());
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut])?;
            let whole = ends.iter().filter(|&&end| end <= cut as u64).count();
            let mut read = Records::read(folder.path())?;
            assert_eq!(read.by_ref().collect::<Vec<_>>(), records[..whole], "cut to {cut}");
            assert_eq!(read.end(), [&[0], &ends[..]].concat()[whole]);
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(&path, &damaged)?;
            let whole = ends.iter().filter(|&&end| end <= at as u64).count();
            let read: Vec<_> = Records::read(folder.path())?.collect();
            assert_eq!(read, records[..whole], "byte {at}");
        }
        Ok(())
    }

    #[test]
    fn a_cut_journal_goes_on_in_a_file_of_its_own() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (lock, _) = Lock::take(folder.path())?;
        let records = records();
        let mut cut_off = Journal::cut(lock.claim(), 0)?;
        cut_off.append(&records[0])?;
        let kept = cut_off.sync()?;
        cut_off.append(&records[1])?;
        cut_off.flush()?;

        let mut journal = Journal::cut(lock.claim(), kept)?;
        journal.append(&records[2])?;
        cut_off.append(&records[1])?;
        cut_off.flush()?;
        let end = journal.sync()?;
        assert_eq!(std::fs::metadata(folder.path().join(JOURNAL))?.len(), end);
        let read: Vec<_> = Records::read(folder.path())?.collect();
        assert_eq!(read, [records[0].clone(), records[2].clone()]);

        let error = Journal::cut(lock.claim(), end + 1).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains(JOURNAL)));
        assert_eq!(std::fs::metadata(folder.path().join(JOURNAL))?.len(), end, "it is as it was");
        Ok(())
    }
}
