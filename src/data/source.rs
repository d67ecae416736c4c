//! Where one part of a data set is read from: a first pass tells labels and numbers of entries, a
//! second one the entries, so that a rank holds no others than its workers'.

use std::fs::File;
use std::io::{BufRead, ErrorKind};
use std::path::PathBuf;

use super::decompress::buffered;
use super::svmlight::{self, Indices};
use super::{DataError, DataProblem, Label, Row, idx};
use crate::scalar::Scalar;

/// No file has more samples.
const MAX_SAMPLES: usize = 1 << 26;

/// One file of a data set.
pub struct DataFile {
    pub path: PathBuf,
    /// What it holds, if it is part of the program.
    pub embedded: Option<&'static [u8]>,
    /// It may as well lie there with .gz.
    pub or_gzipped: bool,
    /// What to do if it is not there.
    pub remedy: String,
}

impl DataFile {
    /// The file that is there.
    pub fn open(&self) -> Result<(PathBuf, Box<dyn BufRead>), DataError> {
        if let Some(bytes) = self.embedded {
            return Ok((self.path.clone(), Box::new(bytes)));
        }
        let mut gzipped = self.path.clone().into_os_string();
        gzipped.push(".gz");
        let also = self.or_gzipped.then(|| PathBuf::from(gzipped));
        for path in [Some(self.path.clone()), also].into_iter().flatten() {
            match File::open(&path) {
                Ok(file) => return Ok((path, Box::new(buffered(file)))),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(DataError { file: path, problem: e.into() }),
            }
        }
        let problem = DataProblem::NotFound { remedy: self.remedy.clone() };
        Err(DataError { file: self.path.clone(), problem })
    }
}

/// What an idx file may say of itself.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of a sample.
    pub features: usize,
    /// What labels lie below, if that is known.
    pub classes: Option<usize>,
}

/// A pair of idx files.
pub struct Idx {
    pub images: DataFile,
    pub labels: DataFile,
    pub limits: Limits,
}

/// Samples with labels.
pub enum Source {
    Idx(Idx),
    Svmlight(DataFile),
}

/// What the first pass tells.
pub struct Scan {
    /// Class of each sample.
    pub labels: Vec<Label>,
    /// Number of entries of each sample that are not zero, if that was looked at.
    pub entries: Option<Vec<u32>>,
    /// Entries of a sample.
    pub features: usize,
}

impl Scan {
    /// Entries of a sample that are not zero, as far as that is known.
    pub fn entries_of(&self, sample: u32) -> usize {
        let entries = self.entries.as_ref().map(|entries| entries[sample as usize] as usize);
        entries.unwrap_or(self.features)
    }
}

impl Source {
    /// The first pass. `class` says the class of a label.
    pub fn scan<F: Scalar>(
        &self,
        indices: Indices,
        class: impl FnMut(f64) -> Result<Label, String>,
    ) -> Result<Scan, DataError> {
        let scan = match self {
            Self::Idx(idx) => idx.scan(class)?,
            Self::Svmlight(file) => scan_lines::<F>(file, indices, class)?,
        };
        match scan.labels.is_empty() || scan.features == 0 {
            true => Err(self.error(DataProblem::Empty)),
            false => Ok(scan),
        }
    }

    /// The second pass: each sample's place in the file and its entries.
    pub fn read<F: Scalar>(
        &self,
        scan: &Scan,
        indices: Indices,
        mut visit: impl FnMut(usize, Row<'_, F>) -> bool,
    ) -> Result<(), DataError> {
        let samples = scan.labels.len();
        let (mut i, mut same) = (0, true);
        let mut count = |row: Row<'_, F>| {
            same = same && i < samples && visit(i, row);
            i += 1;
        };
        match self {
            Self::Idx(idx) => {
                let (file, bytes) = idx.images.open()?;
                let images = idx::Idx::images(&file, bytes)?;
                if images.features == scan.features {
                    images.read_images(|_, row| count(row))?;
                }
            }
            Self::Svmlight(file) => {
                let (path, bytes) = file.open()?;
                svmlight::read(&path, bytes, indices, |_, row| {
                    count(row);
                    Ok(())
                })?;
            }
        }
        match same && i == samples {
            true => Ok(()),
            false => Err(self.error(DataProblem::Changed)),
        }
    }

    /// An error about the file that holds the samples.
    pub fn error(&self, problem: DataProblem) -> DataError {
        let (Self::Idx(Idx { images: file, .. }) | Self::Svmlight(file)) = self;
        DataError { file: file.path.clone(), problem }
    }
}

impl Idx {
    fn scan(&self, mut class: impl FnMut(f64) -> Result<Label, String>) -> Result<Scan, DataError> {
        let (file, bytes) = self.labels.open()?;
        let mut labels = vec![];
        idx::Idx::labels(&file, bytes)?.read_labels(|label| {
            let class = match self.limits.classes {
                Some(classes) if label >= classes as f64 => {
                    Err(format!("is not below the number of classes, {classes}"))
                }
                _ => room(&labels).and_then(|()| class(label)),
            };
            labels.push(class?);
            Ok(())
        })?;
        let (file, bytes) = self.images.open()?;
        let images = idx::Idx::images(&file, bytes)?;
        let features = images.features;
        if images.count != labels.len() as u64 {
            let expected = format!("{} as in its companion file", labels.len());
            let (what, found) = ("images", images.count);
            return Err(images.error(DataProblem::Count { what, found, expected }));
        }
        if features > self.limits.features {
            let (what, found) = ("entries in an image", features as u64);
            let expected = format!("at most {}", self.limits.features);
            return Err(images.error(DataProblem::Count { what, found, expected }));
        }
        Ok(Scan { labels, entries: None, features })
    }
}

/// Whether one more sample is allowed.
fn room(labels: &[Label]) -> Result<(), String> {
    match labels.len() < MAX_SAMPLES {
        true => Ok(()),
        false => Err(format!("follows {MAX_SAMPLES} others, the most samples that are supported")),
    }
}

fn scan_lines<F: Scalar>(
    file: &DataFile,
    indices: Indices,
    mut class: impl FnMut(f64) -> Result<Label, String>,
) -> Result<Scan, DataError> {
    let (path, bytes) = file.open()?;
    let (mut labels, mut entries) = (vec![], vec![]);
    let largest = svmlight::read::<F>(&path, bytes, indices, |label, row| {
        let class = room(&labels).and_then(|()| class(label));
        labels.push(class.map_err(|problem| format!("label {label} {problem}"))?);
        entries.push(row.columns.len() as u32);
        Ok(())
    })?;
    let features = match indices {
        Indices::Any => largest,
        Indices::Declared(features) | Indices::Trained(features) => features,
    };
    Ok(Scan { labels, entries: Some(entries), features })
}
