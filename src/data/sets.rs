//! The data sets by name: one embedded, the others in a folder of the user's.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::idx::Idx;
use super::{DataError, DataProblem};

/// Where data sets lie: FOLDER/NAME/FILE.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The given folder, else $SOBAYA_DATA, else ./data.
    pub fn find(given: Option<PathBuf>) -> Self {
        let from_env = || std::env::var_os("SOBAYA_DATA").filter(|v| !v.is_empty());
        Self(given.or_else(|| from_env().map(PathBuf::from)).unwrap_or_else(|| "data".into()))
    }
}

/// A classification data set of images with a training and a test part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dataset {
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

/// What the samples of every known data set have at most; a file that says more is damaged.
pub const MOST_FEATURES: usize = 28 * 28;
/// As [`MOST_FEATURES`].
pub const MOST_CLASSES: usize = 10;

/// Which of a data set's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Part {
    Train,
    Test,
}

macro_rules! embedded {
    ($name:literal) => {
        (concat!($name, ".gz"), include_bytes!(concat!("mnist-small/", $name, ".gz")))
    };
}

impl Dataset {
    /// Name in the config.
    pub fn name(self) -> &'static str {
        DATASETS[self as usize].0
    }

    /// Opens a part's samples.
    pub fn images(self, part: Part, folder: &Folder) -> Result<Idx<'static>, DataError> {
        let (file, bytes) = self.open(part, true, folder)?;
        Idx::images(&file, bytes)
    }

    /// Reads a part's labels, from the file that is returned with them.
    pub fn labels(self, part: Part, folder: &Folder) -> Result<(PathBuf, Vec<u8>), DataError> {
        let (file, bytes) = self.open(part, false, folder)?;
        let labels = Idx::labels(&file, bytes)?.read_labels()?;
        Ok((file, labels))
    }

    fn open(
        self,
        part: Part,
        images: bool,
        folder: &Folder,
    ) -> Result<(PathBuf, Box<dyn BufRead>), DataError> {
        if self == Self::MnistSmall {
            let (name, bytes): (_, &'static [u8]) = match (part, images) {
                (Part::Train, true) => embedded!("train-images-idx3-ubyte"),
                (Part::Train, false) => embedded!("train-labels-idx1-ubyte"),
                (Part::Test, true) => embedded!("t10k-images-idx3-ubyte"),
                (Part::Test, false) => embedded!("t10k-labels-idx1-ubyte"),
            };
            return Ok((Path::new("mnist-small (embedded)").join(name), Box::new(bytes)));
        }
        let prefix = if part == Part::Train { "train" } else { "t10k" };
        let suffix = if images { "images-idx3-ubyte" } else { "labels-idx1-ubyte" };
        let raw = folder.0.join(self.name()).join(format!("{prefix}-{suffix}"));
        let gzipped = raw.with_file_name(format!("{prefix}-{suffix}.gz"));
        for file in [&raw, &gzipped] {
            match File::open(file) {
                Ok(open) => {
                    return Ok((file.clone(), Box::new(BufReader::with_capacity(1 << 16, open))));
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(DataError { file: file.clone(), problem: e.into() }),
            }
        }
        let remedy = format!(
            "nor with .gz; fill the folder by `bash jobs/get-data.sh {} {}`, or name another with \
             --data or SOBAYA_DATA",
            self.name(),
            folder.0.display()
        );
        Err(DataError { file: raw, problem: DataProblem::NotFound { remedy } })
    }
}
