//! The data sets by name: one embedded, the others in a folder of the user's.

use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decompress::decompressed;
use super::source::{DataFile, Idx, Limits, Source};
use super::{DataError, DataProblem};

/// No text file that is read as a whole holds more.
const MAX_TEXT: u64 = 1 << 32;

/// Where data sets lie: those with a name as FOLDER/NAME/FILE, others where their paths say.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The given folder, else $SOBAYA_DATA, else ./data.
    pub fn find(given: Option<PathBuf>) -> Self {
        let from_env = || std::env::var_os("SOBAYA_DATA").filter(|v| !v.is_empty());
        Self(given.or_else(|| from_env().map(PathBuf::from)).unwrap_or_else(|| "data".into()))
    }

    /// Where it is, as given.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What a text file in a format of one's own (plain, .gz or .xz) holds: `parse` reads all of it, and
    /// its error is given the file's name. The path is one from the folder, or absolute.
    pub fn read<T>(
        &self,
        path: &Path,
        parse: impl FnOnce(&str) -> Result<T, DataProblem>,
    ) -> Result<T, DataError> {
        let (file, bytes) = self.file(path).open()?;
        let mut text = String::new();
        let limit = MAX_TEXT + 1;
        let read =
            decompressed(bytes).and_then(|bytes| bytes.take(limit).read_to_string(&mut text));
        let parsed =
            read.map_err(DataProblem::from).and_then(|read| match read as u64 > MAX_TEXT {
                true => Err(DataProblem::TooMuch { most: MAX_TEXT }),
                false => parse(&text),
            });
        parsed.map_err(|problem| DataError { file, problem })
    }

    /// A file of the user's: a path from the folder, or an absolute one.
    pub(super) fn file(&self, path: &Path) -> DataFile {
        let remedy = format!(
            "give its path from the data folder {} (--data, SOBAYA_DATA), or an absolute one",
            self.0.display()
        );
        DataFile { path: self.0.join(path), embedded: None, or_gzipped: false, remedy }
    }
}

/// A classification data set of images with a training and a test part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Named {
    /// 6,000 training and 1,000 test images of MNIST, embedded in the program.
    MnistSmall,
    /// MNIST: 60,000 training and 10,000 test images.
    Mnist,
    /// Fashion-MNIST: 60,000 training and 10,000 test images.
    FashionMnist,
}

/// Name, one line, and source of each data set, for `sobaya list`.
pub const DATASETS: [(&str, &str, &str); 3] = [
    (
        "mnist-small",
        "6,000 training and 1,000 test images of MNIST, class-balanced as the original; embedded",
        "LeCun, Cortes, Burges",
    ),
    (
        "mnist",
        "60,000 training and 10,000 test digits; jobs/get-data.sh mnist",
        "LeCun, Cortes, Burges",
    ),
    (
        "fashion-mnist",
        "60,000 training and 10,000 test pieces of clothing; jobs/get-data.sh fashion-mnist",
        "Xiao, Rasul, Vollgraf 2017",
    ),
];

/// What every data set with a name has at most; a file that says more is damaged.
const LIMITS: Limits = Limits { features: 28 * 28, classes: Some(10) };

macro_rules! embedded {
    ($name:literal) => {
        (concat!($name, ".gz"), include_bytes!(concat!("mnist-small/", $name, ".gz")))
    };
}

impl Named {
    /// Name in the config.
    fn name(self) -> &'static str {
        DATASETS[self as usize].0
    }

    /// The training samples.
    pub fn train(self, folder: &Folder) -> Source {
        self.source(folder, "train", |file| match file {
            "images" => embedded!("train-images-idx3-ubyte"),
            _ => embedded!("train-labels-idx1-ubyte"),
        })
    }

    /// The test samples.
    pub fn test(self, folder: &Folder) -> Source {
        self.source(folder, "t10k", |file| match file {
            "images" => embedded!("t10k-images-idx3-ubyte"),
            _ => embedded!("t10k-labels-idx1-ubyte"),
        })
    }

    fn source(
        self,
        folder: &Folder,
        part: &str,
        embedded: fn(&str) -> (&'static str, &'static [u8]),
    ) -> Source {
        let [images, labels] = [("images", "idx3"), ("labels", "idx1")].map(|(file, format)| {
            if self == Self::MnistSmall {
                let (name, bytes) = embedded(file);
                let path = Path::new("mnist-small (embedded)").join(name);
                return DataFile { path, embedded: Some(bytes), or_gzipped: false, remedy: String::new() };
            }
            let path = folder.0.join(self.name()).join(format!("{part}-{file}-{format}-ubyte"));
            let remedy = format!(
                "nor with .gz; fill the folder by `bash jobs/get-data.sh {} {}`, or name another with \
                 --data or SOBAYA_DATA",
                self.name(),
                folder.0.display()
            );
            DataFile { path, embedded: None, or_gzipped: true, remedy }
        });
        Source::Idx(Idx { images, labels, limits: LIMITS })
    }
}
