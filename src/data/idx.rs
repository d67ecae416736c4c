//! The idx format of MNIST and its relatives, raw or compressed: big-endian
//! `00 00 type dims`, one u32 per dimension, then the entries in row-major order.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use super::decompress::decompressed;
use super::{DataError, DataProblem, MAX_FEATURES, Row};
use crate::scalar::Scalar;

const UNSIGNED_BYTE: u8 = 0x08;
const SHORT: u8 = 0x0b;
const INT: u8 = 0x0c;
const FLOAT: u8 = 0x0d;
const DOUBLE: u8 = 0x0e;
/// Bytes that room is made for at a time.
const PART: usize = 1 << 16;

/// An open idx file behind its header.
pub struct Idx<'a> {
    file: PathBuf,
    reader: Content<'a>,
    /// What one entry along the first dimension is called in messages.
    what: &'static str,
    kind: u8,
    /// Size of the first dimension.
    pub count: u64,
    /// Product of the others.
    pub features: usize,
}

impl<'a> Idx<'a> {
    /// Labels: one dimension of whole numbers.
    pub fn labels(file: &Path, bytes: impl BufRead + 'a) -> Result<Self, DataError> {
        let expected = "labels (unsigned bytes, shorts or ints, one dimension)";
        Self::open(file, bytes, "label", expected, |kind, dims| {
            [UNSIGNED_BYTE, SHORT, INT].contains(&kind) && dims == 1
        })
    }

    /// Samples: unsigned bytes, floats or doubles in two or more dimensions.
    pub fn images(file: &Path, bytes: impl BufRead + 'a) -> Result<Self, DataError> {
        let expected = "samples (unsigned bytes, floats or doubles, two to four dimensions)";
        Self::open(file, bytes, "image", expected, |kind, dims| {
            [UNSIGNED_BYTE, FLOAT, DOUBLE].contains(&kind) && (2..=4).contains(&dims)
        })
    }

    fn open(
        file: &Path,
        bytes: impl BufRead + 'a,
        what: &'static str,
        expected: &'static str,
        accept: impl Fn(u8, u8) -> bool,
    ) -> Result<Self, DataError> {
        let fail = |problem| DataError { file: file.to_owned(), problem };
        let bytes = decompressed(bytes).map_err(|e| fail(e.into()))?;
        let mut reader = Content { bytes, read: 0 };
        let mut word = |at: u64, words: u64| -> Result<[u8; 4], DataProblem> {
            let mut word = [0; 4];
            reader.fill(&mut word, "header word", at, words)?;
            Ok(word)
        };
        // How many words there are is the fourth byte of the first.
        let magic = word(0, 1).map_err(fail)?;
        let [0, 0, kind, dims] = magic else {
            return Err(fail(DataProblem::Magic { found: magic, expected }));
        };
        if !accept(kind, dims) {
            return Err(fail(DataProblem::Magic { found: magic, expected }));
        }
        let mut sizes = vec![];
        for at in 1..=u64::from(dims) {
            let size = word(at, u64::from(dims) + 1).map_err(fail)?;
            sizes.push(u64::from(u32::from_be_bytes(size)));
        }
        let features = sizes[1..].iter().try_fold(1u64, |product, &size| {
            product.checked_mul(size).filter(|&p| (1..=MAX_FEATURES as u64).contains(&p))
        });
        let features = features.ok_or_else(|| {
            let expected = format!("a product from 1 to {MAX_FEATURES}");
            let found = sizes[1..].iter().fold(1u64, |p, &s| p.saturating_mul(s));
            fail(DataProblem::Count { what: "entries in a sample", found, expected })
        })? as usize;
        Ok(Self { file: file.to_owned(), reader, what, kind, count: sizes[0], features })
    }

    /// An error about this file.
    pub fn error(&self, problem: DataProblem) -> DataError {
        DataError { file: self.file.clone(), problem }
    }

    fn width(&self) -> usize {
        match self.kind {
            SHORT => 2,
            INT | FLOAT => 4,
            DOUBLE => 8,
            _ => 1,
        }
    }

    /// Streams the labels of a label file; an error of `visit` says what is wrong with one.
    pub fn read_labels(
        mut self,
        mut visit: impl FnMut(f64) -> Result<(), String>,
    ) -> Result<(), DataError> {
        let mut bytes = [0; 4];
        let (width, kind) = (self.width(), self.kind);
        for i in 0..self.count {
            let byte = self.reader.read;
            let read = self.reader.fill(&mut bytes[..width], self.what, i, self.count);
            read.map_err(|problem| self.error(problem))?;
            let label: f64 = match kind {
                SHORT => i16::from_be_bytes([bytes[0], bytes[1]]).into(),
                INT => i32::from_be_bytes(bytes).into(),
                _ => bytes[0].into(),
            };
            visit(label).map_err(|problem| {
                self.error(DataProblem::Label { label, sample: i, byte, problem })
            })?;
        }
        self.expect_end()
    }

    /// Streams the samples. Bytes are divided by 255, so that they lie in 0..=1; floats are taken as
    /// they are and must be finite. Memory is that of one sample, and none before the first one is there:
    /// what a header says may not be so.
    pub fn read_images<F: Scalar>(
        mut self,
        mut visit: impl FnMut(usize, Row<'_, F>),
    ) -> Result<(), DataError> {
        let bytes = self.features * self.width();
        let mut sample = vec![];
        let unit: Vec<F> = (0..256).map(|v| F::lit(f64::from(v) / 255.0)).collect();
        let (mut columns, mut values): (Vec<u32>, Vec<F>) = (vec![], vec![]);
        for i in 0..self.count {
            let byte = self.reader.read;
            let read = self.reader.fill_vec(&mut sample, bytes, self.what, i, self.count);
            read.map_err(|problem| self.error(problem))?;
            if i == 0 {
                columns = (0..self.features as u32).collect();
                values = vec![F::zero(); self.features];
            }
            match self.kind {
                FLOAT => {
                    fill(&mut values, &sample, |b: [u8; 4]| F::lit(f32::from_be_bytes(b).into()))
                }
                DOUBLE => fill(&mut values, &sample, |b: [u8; 8]| F::lit(f64::from_be_bytes(b))),
                _ => fill(&mut values, &sample, |[b]: [u8; 1]| unit[usize::from(b)]),
            }
            if let Some(entry) = values.iter().position(|v| !v.is_finite()) {
                let byte = byte + (entry * self.width()) as u64;
                return Err(self.error(DataProblem::NotFinite { sample: i, entry, byte }));
            }
            visit(i as usize, Row { columns: &columns, values: &values });
        }
        self.expect_end()
    }

    fn expect_end(&mut self) -> Result<(), DataError> {
        let (what, count, byte) = (self.what, self.count, self.reader.read);
        let more = self.reader.bytes.fill_buf().map(|bytes| !bytes.is_empty());
        match more.map_err(|e| in_data(e, what, count, count, byte)) {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.error(DataProblem::TooLong { what, count, byte })),
            Err(problem) => Err(self.error(problem)),
        }
    }
}

fn fill<F, const N: usize>(row: &mut [F], bytes: &[u8], convert: impl Fn([u8; N]) -> F) {
    for (out, bytes) in row.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = convert(*bytes);
    }
}

/// What a file holds, unpacked.
struct Content<'a> {
    bytes: Box<dyn BufRead + 'a>,
    /// Number of bytes that have been read.
    read: u64,
}

impl Content<'_> {
    /// Fills `out`, a part of the `at`-th of `count` things.
    fn fill(
        &mut self,
        mut out: &mut [u8],
        what: &'static str,
        at: u64,
        count: u64,
    ) -> Result<(), DataProblem> {
        while !out.is_empty() {
            let read = match self.bytes.read(out) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other,
            };
            let read = read.map_err(|e| in_data(e, what, at, count, self.read))?;
            self.read += read as u64;
            out = &mut out[read..];
        }
        Ok(())
    }

    /// The same for a vector, which becomes `length` long. It grows with what is there.
    fn fill_vec(
        &mut self,
        out: &mut Vec<u8>,
        length: usize,
        what: &'static str,
        at: u64,
        count: u64,
    ) -> Result<(), DataProblem> {
        let mut filled = 0;
        while filled < length {
            let part = length.min(filled + PART);
            out.resize(part.max(out.len()), 0);
            self.fill(&mut out[filled..part], what, at, count)?;
            filled = part;
        }
        Ok(())
    }
}

/// A file that ends early says so; other errors (a broken gzip stream) keep their own words.
fn in_data(source: io::Error, what: &'static str, at: u64, count: u64, byte: u64) -> DataProblem {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => DataProblem::Truncated { what, at, count, byte },
        _ => DataProblem::Broken { byte, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, sizes: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, sizes.len() as u8];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes
    }

    fn images(bytes: &[u8]) -> Result<Vec<f32>, DataError> {
        let idx = Idx::images(Path::new("f"), bytes)?;
        let mut out = vec![0.0; idx.count as usize * idx.features];
        let mut rows = out.chunks_mut(idx.features);
        idx.read_images(|_, row| rows.next().expect("count rows").copy_from_slice(row.values))?;
        Ok(out)
    }

    #[test]
    fn bytes_and_floats_are_read() {
        let mut bytes = header(UNSIGNED_BYTE, &[2, 1, 2]);
        bytes.extend([0, 255, 51, 102]);
        assert_eq!(images(&bytes).unwrap(), [0.0, 1.0, 0.2, 0.4]);
        let mut floats = header(FLOAT, &[1, 2]);
        floats.extend([1.5f32, -2.0].iter().flat_map(|v| v.to_be_bytes()));
        assert_eq!(images(&floats).unwrap(), [1.5, -2.0]);
    }

    #[test]
    fn labels_of_every_width_are_read() {
        let labels = |kind: u8, bytes: &[u8]| {
            let file = [header(kind, &[2]), bytes.to_vec()].concat();
            let mut labels = vec![];
            let idx = Idx::labels(Path::new("f"), &*file).unwrap();
            idx.read_labels(|label| {
                labels.push(label);
                Ok(())
            })
            .unwrap();
            labels
        };
        assert_eq!(labels(UNSIGNED_BYTE, &[3, 255]), [3.0, 255.0]);
        assert_eq!(labels(SHORT, &[1, 0, 255, 255]), [256.0, -1.0]);
        assert_eq!(labels(INT, &[0, 1, 0, 0, 0, 0, 0, 7]), [65536.0, 7.0]);
    }

    #[test]
    fn bad_files_are_told_apart() {
        let problem = |bytes: &[u8]| images(bytes).unwrap_err().problem;
        let mut good = header(UNSIGNED_BYTE, &[2, 2]);
        good.extend([1, 2, 3, 4]);
        for end in 0..good.len() {
            assert!(matches!(problem(&good[..end]), DataProblem::Truncated { .. }), "{end}");
        }
        let mut long = good.clone();
        long.push(0);
        assert!(matches!(problem(&long), DataProblem::TooLong { .. }));
        assert!(matches!(problem(b"<html>"), DataProblem::Magic { .. }));
        let huge = header(UNSIGNED_BYTE, &[2, u32::MAX, u32::MAX, u32::MAX]);
        assert!(matches!(problem(&huge), DataProblem::Count { .. }));
        let mut nan = header(FLOAT, &[1, 1]);
        nan.extend(f32::NAN.to_be_bytes());
        let problem_of_nan = problem(&nan);
        assert!(matches!(problem_of_nan, DataProblem::NotFinite { sample: 0, entry: 0, byte: 12 }));
        assert!(matches!(
            problem(&[0x1f, 0x8b, 9, 9, 9]),
            DataProblem::Truncated { .. } | DataProblem::Broken { .. }
        ));
    }
}
