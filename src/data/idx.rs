//! The idx format of MNIST and its relatives, raw or gzipped: big-endian
//! `00 00 type dims`, one u32 per dimension, then the entries in row-major order.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{DataError, DataProblem};
use crate::scalar::Scalar;

const UNSIGNED_BYTE: u8 = 0x08;
const FLOAT: u8 = 0x0d;
const DOUBLE: u8 = 0x0e;
/// No sample has more entries than this.
const MAX_FEATURES: u64 = 1 << 24;

/// An open idx file behind its header.
pub struct Idx<'a> {
    file: PathBuf,
    reader: Box<dyn Read + 'a>,
    /// What one entry along the first dimension is called in messages.
    what: &'static str,
    kind: u8,
    /// Size of the first dimension.
    pub count: u64,
    /// Product of the others.
    pub features: usize,
}

impl<'a> Idx<'a> {
    /// Labels: one dimension of unsigned bytes.
    pub fn labels(file: &Path, bytes: impl BufRead + 'a) -> Result<Self, DataError> {
        Self::open(file, bytes, "label", "labels (unsigned bytes, one dimension)", |kind, dims| {
            kind == UNSIGNED_BYTE && dims == 1
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
        mut bytes: impl BufRead + 'a,
        what: &'static str,
        expected: &'static str,
        accept: impl Fn(u8, u8) -> bool,
    ) -> Result<Self, DataError> {
        let fail = |problem| DataError { file: file.to_owned(), problem };
        let gzipped = bytes.fill_buf().map_err(|e| fail(e.into()))?.starts_with(&[0x1f, 0x8b]);
        let mut reader: Box<dyn Read + 'a> = match gzipped {
            true => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(bytes))),
            false => Box::new(bytes),
        };
        let mut word = || -> Result<[u8; 4], DataProblem> {
            let mut word = [0; 4];
            read_full(&mut reader, &mut word, "header word", 0, 0)?;
            Ok(word)
        };
        let magic = word().map_err(fail)?;
        let [0, 0, kind, dims] = magic else {
            return Err(fail(DataProblem::Magic { found: magic, expected }));
        };
        if !accept(kind, dims) {
            return Err(fail(DataProblem::Magic { found: magic, expected }));
        }
        let mut sizes = vec![];
        for _ in 0..dims {
            sizes.push(u64::from(u32::from_be_bytes(word().map_err(fail)?)));
        }
        let features = sizes[1..].iter().try_fold(1u64, |product, &size| {
            product.checked_mul(size).filter(|&p| (1..=MAX_FEATURES).contains(&p))
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

    /// All entries of a label file.
    pub fn read_labels(mut self) -> Result<Vec<u8>, DataError> {
        let mut labels = vec![];
        let read = self.reader.by_ref().take(self.count).read_to_end(&mut labels);
        read.map_err(|e| self.error(in_data(e, self.what, labels.len() as u64, self.count)))?;
        if (labels.len() as u64) < self.count {
            let (what, at) = (self.what, labels.len() as u64);
            return Err(self.error(DataProblem::Truncated { what, at, count: self.count }));
        }
        self.expect_end()?;
        Ok(labels)
    }

    /// Streams the samples; `place` says where to put sample i, or `None` to skip it. Bytes are
    /// divided by 255, so that they lie in 0..=1; floats are taken as they are and must be finite.
    pub fn read_images<'b, F: Scalar>(
        mut self,
        mut place: impl FnMut(usize) -> Option<&'b mut [F]>,
    ) -> Result<(), DataError> {
        let width = match self.kind {
            FLOAT => 4,
            DOUBLE => 8,
            _ => 1,
        };
        let mut sample = vec![0; self.features * width];
        let unit: Vec<F> = (0..256).map(|v| F::lit(f64::from(v) / 255.0)).collect();
        for i in 0..self.count {
            let read = read_full(&mut self.reader, &mut sample, self.what, i, self.count);
            read.map_err(|problem| self.error(problem))?;
            let Some(row) = place(i as usize) else { continue };
            match self.kind {
                FLOAT => fill(row, &sample, |b: [u8; 4]| F::lit(f32::from_be_bytes(b).into())),
                DOUBLE => fill(row, &sample, |b: [u8; 8]| F::lit(f64::from_be_bytes(b))),
                _ => fill(row, &sample, |[b]: [u8; 1]| unit[usize::from(b)]),
            }
            if let Some(entry) = row.iter().position(|v| !v.is_finite()) {
                return Err(self.error(DataProblem::NotFinite { sample: i, entry }));
            }
        }
        self.expect_end()
    }

    fn expect_end(&mut self) -> Result<(), DataError> {
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.error(DataProblem::TooLong { what: self.what, count: self.count })),
            Err(e) => Err(self.error(in_data(e, self.what, self.count, self.count))),
        }
    }
}

fn fill<F, const N: usize>(row: &mut [F], bytes: &[u8], convert: impl Fn([u8; N]) -> F) {
    for (out, bytes) in row.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = convert(*bytes);
    }
}

fn read_full(
    reader: &mut dyn Read,
    bytes: &mut [u8],
    what: &'static str,
    at: u64,
    count: u64,
) -> Result<(), DataProblem> {
    reader.read_exact(bytes).map_err(|e| in_data(e, what, at, count))
}

/// A file that ends early says so; other errors (a broken gzip stream) keep their own words.
fn in_data(error: io::Error, what: &'static str, at: u64, count: u64) -> DataProblem {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => DataProblem::Truncated { what, at, count },
        _ => error.into(),
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
        let mut rows: Vec<_> = out.chunks_mut(idx.features).map(Some).collect();
        idx.read_images(|i| rows[i].take())?;
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
        assert!(matches!(problem(&nan), DataProblem::NotFinite { sample: 0, entry: 0 }));
        assert!(matches!(
            problem(&[0x1f, 0x8b, 9, 9, 9]),
            DataProblem::Truncated { .. } | DataProblem::Io(_)
        ));
    }
}
