//! What made a run: a program, and the folder of its data.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::SweepError;
use crate::data::Folder;
use crate::system;

/// This program, also when its file was replaced since it was started.
const EXECUTABLE: &str = "/proc/self/exe";

/// A program and a data folder; `origin.json` in a member's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    version: String,
    git_commit: String,
    /// XXH3 of the program's file, 16 hexadecimal digits: builds from one commit may differ.
    executable_xxh3: String,
    /// The data folder without symbolic links if it is there, absolute in any case.
    data: String,
}

impl Origin {
    /// This program with this data folder.
    pub fn here(data: &Folder) -> Result<Self, SweepError> {
        let failed = |path: &Path, source| SweepError::Io { path: path.to_owned(), source };
        let executable = fs::read(EXECUTABLE).map_err(|e| failed(Path::new(EXECUTABLE), e))?;
        let data = data.path();
        let found = fs::canonicalize(data).or_else(|_| std::path::absolute(data));
        let data = found.map_err(|e| failed(data, e))?;
        Ok(Self {
            version: system::version().to_owned(),
            git_commit: system::git_commit().to_owned(),
            executable_xxh3: format!("{:016x}", xxh3_64(&executable)),
            data: data.to_string_lossy().into_owned(),
        })
    }

    /// The program in words.
    pub fn program(&self) -> String {
        format!("{} git {} executable {}", self.version, self.git_commit, self.executable_xxh3)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, data {}", self.program(), self.data)
    }
}
