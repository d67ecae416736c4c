//! Key `dataset`: a name, or the user's own files.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::source::{Idx, Limits, Source};
use super::{Folder, MAX_FEATURES, Named};
use crate::config::{Count, KeyError, Share, parse};

/// No path is longer, on Linux.
const MAX_PATH: usize = 4095;

/// A classification data set: one that has a name, or the user's own files.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Dataset {
    /// One that has a name.
    Named(Named),
    /// Files of the user's.
    Files(Files),
}

/// Name, one line, and source of each format that [`Files`] may have, for `sobaya list`.
pub const FORMATS: [(&str, &str, &str); 2] = [
    (
        "svmlight",
        "label index:value ... lines, sparse or dense, plain, .gz or .xz",
        "Joachims 1999",
    ),
    (
        "idx",
        "images and labels in a file each, as those of MNIST, plain, .gz or .xz",
        "LeCun, Cortes, Burges",
    ),
];

/// Files of the user's, by their format. Paths are relative to the data folder, or absolute.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "format")]
pub enum Files {
    /// `label index:value ...` lines, plain, .gz or .xz.
    Svmlight(SvmlightFiles),
    /// The format of MNIST, plain, .gz or .xz.
    Idx(IdxFiles),
}

/// Files of the svmlight format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct SvmlightFiles {
    /// Training samples.
    train: PathBuf,
    /// Test samples; or give `test_fraction`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test: Option<PathBuf>,
    /// Share of the training file that is drawn for the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test_fraction: Option<Share>,
    /// Samples of the upper level, instead of a share of the training file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation: Option<PathBuf>,
    /// Entries of a sample; the largest index of the training file unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    features: Option<Count>,
}

/// Files of the idx format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct IdxFiles {
    /// Training samples.
    train_images: PathBuf,
    /// Their labels.
    train_labels: PathBuf,
    /// Test samples; or give `test_fraction`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test_images: Option<PathBuf>,
    /// Their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test_labels: Option<PathBuf>,
    /// Share of the training samples that is drawn for the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test_fraction: Option<Share>,
    /// Samples of the upper level, instead of a share of the training samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation_images: Option<PathBuf>,
    /// Their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation_labels: Option<PathBuf>,
}

/// Where a data set's test samples come from.
pub enum Test {
    /// Samples of their own.
    Source(Source),
    /// A share of the training samples.
    Share(Share),
}

/// Where a data set's samples come from.
pub struct Sources {
    pub train: Source,
    pub test: Test,
    /// Samples of the upper level, if they are not among the training samples.
    pub validation: Option<Source>,
    /// Entries of a sample, if that is said.
    pub features: Option<usize>,
}

impl Dataset {
    /// Where the samples come from.
    pub(super) fn sources(&self, folder: &Folder) -> Result<Sources, KeyError> {
        match self {
            Self::Named(named) => Ok(Sources {
                train: named.train(folder),
                test: Test::Source(named.test(folder)),
                validation: None,
                features: None,
            }),
            Self::Files(Files::Svmlight(files)) => files.sources(folder),
            Self::Files(Files::Idx(files)) => files.sources(folder),
        }
    }
}

impl SvmlightFiles {
    fn sources(&self, folder: &Folder) -> Result<Sources, KeyError> {
        let source = |path: &PathBuf| Source::Svmlight(folder.file(path));
        Ok(Sources {
            train: source(&self.train),
            test: test(self.test.as_ref().map(source), self.test_fraction, "test")?,
            validation: self.validation.as_ref().map(source),
            features: self.features.map(Count::get),
        })
    }

    fn check(&self) -> Result<(), KeyError> {
        check_paths([
            ("train", Some(&self.train)),
            ("test", self.test.as_ref()),
            ("validation", self.validation.as_ref()),
        ])?;
        match self.features.map(Count::get) {
            Some(features) if features > MAX_FEATURES => {
                let problem = format!("must be at most {MAX_FEATURES}, found {features}");
                Err(KeyError::value("features", problem))
            }
            _ => self.sources(&Folder::find(None)).map(drop),
        }
    }
}

impl IdxFiles {
    fn check(&self) -> Result<(), KeyError> {
        check_paths([
            ("train_images", Some(&self.train_images)),
            ("train_labels", Some(&self.train_labels)),
            ("test_images", self.test_images.as_ref()),
            ("test_labels", self.test_labels.as_ref()),
            ("validation_images", self.validation_images.as_ref()),
            ("validation_labels", self.validation_labels.as_ref()),
        ])?;
        self.sources(&Folder::find(None)).map(drop)
    }

    fn sources(&self, folder: &Folder) -> Result<Sources, KeyError> {
        let limits = Limits { features: MAX_FEATURES, classes: None };
        let source = |images: &PathBuf, labels: &PathBuf| {
            let [images, labels] = [images, labels].map(|path| folder.file(path));
            Source::Idx(Idx { images, labels, limits })
        };
        let both = |part: &str, images: &Option<PathBuf>, labels: &Option<PathBuf>| {
            let missing = |key: &str| {
                let problem = "missing; images and labels go together".to_owned();
                Err(KeyError::value(&format!("{part}_{key}"), problem))
            };
            match (images, labels) {
                (Some(images), Some(labels)) => Ok(Some(source(images, labels))),
                (None, None) => Ok(None),
                (Some(_), None) => missing("labels"),
                (None, Some(_)) => missing("images"),
            }
        };
        let of_test = both("test", &self.test_images, &self.test_labels)?;
        Ok(Sources {
            train: source(&self.train_images, &self.train_labels),
            test: test(of_test, self.test_fraction, "test_images")?,
            validation: both("validation", &self.validation_images, &self.validation_labels)?,
            features: None,
        })
    }
}

/// Refuses paths that no system opens.
fn check_paths<'a>(
    paths: impl IntoIterator<Item = (&'a str, Option<&'a PathBuf>)>,
) -> Result<(), KeyError> {
    for (key, path) in paths {
        let Some(bytes) = path.map(|path| path.as_os_str().as_encoded_bytes()) else { continue };
        if !(1..=MAX_PATH).contains(&bytes.len()) || bytes.contains(&0) {
            let problem = format!("must be a path of 1 to {MAX_PATH} bytes without NUL characters");
            return Err(KeyError::value(key, problem));
        }
    }
    Ok(())
}

/// Either samples of their own or a share of the training samples.
fn test(source: Option<Source>, share: Option<Share>, key: &str) -> Result<Test, KeyError> {
    match (source, share) {
        (Some(source), None) => Ok(Test::Source(source)),
        (None, Some(share)) => Ok(Test::Share(share)),
        (None, None) => {
            let problem = "missing; give it, or \"test_fraction\": 0.2".into();
            Err(KeyError::value(key, problem))
        }
        (Some(_), Some(_)) => {
            let problem = format!("stands beside `{key}`; give one of them");
            Err(KeyError::value("test_fraction", problem))
        }
    }
}

impl Files {
    fn new(value: Value) -> Result<Self, KeyError> {
        let Value::Object(mut map) = value else {
            return Err(KeyError::value("", "expected a name or an object".into()));
        };
        let format = map.remove("format").unwrap_or_default();
        let rest = Value::Object(map);
        match format.as_str() {
            Some("svmlight") => {
                let files: SvmlightFiles = parse(rest)?;
                files.check()?;
                Ok(Self::Svmlight(files))
            }
            Some("idx") => {
                let files: IdxFiles = parse(rest)?;
                files.check()?;
                Ok(Self::Idx(files))
            }
            _ => {
                let problem = format!("expected \"svmlight\" or \"idx\", found {format}");
                Err(KeyError::value("format", problem))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Dataset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrFiles;

        impl<'de> Visitor<'de> for NameOrFiles {
            type Value = Dataset;

            fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
                out.write_str("the name of a data set, or an object with a \"format\"")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Dataset, E> {
                Named::deserialize(serde::de::value::StrDeserializer::new(name)).map(Dataset::Named)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Dataset, A::Error> {
                let value = Value::deserialize(MapAccessDeserializer::new(map))?;
                // The place of this key is known to the caller, that of a key below it is not.
                Files::new(value).map(Dataset::Files).map_err(|error| match &*error.key {
                    "" => A::Error::custom(error.problem),
                    key => A::Error::custom(format!("`{key}`: {}", error.problem)),
                })
            }
        }

        deserializer.deserialize_any(NameOrFiles)
    }
}
