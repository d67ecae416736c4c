//! The log of a run that was killed and will not be resumed.

use std::path::Path;

use super::hdf5::{Header, read_status};
use super::{CONFIG, JOURNAL, LOG, LogError, Record, Records, Status, build};
use crate::output::{Lock, OutputError};

/// What became of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// It was left alone: it was whole already, of a run with this status.
    Whole(String),
    /// It was built again.
    Built {
        /// Rows of the journal.
        rows: usize,
        /// Evaluations of the journal.
        evaluations: usize,
        /// Bytes at the journal's end that hold no whole record.
        torn: u64,
    },
}

/// Builds log.h5 from config.json and the journal in a folder that no run holds. The log of a run that came
/// to an end is left alone.
pub fn recover(folder: &Path) -> Result<Recovered, LogError> {
    // Before the folder is locked, which would make one that is not there.
    let header = read_header(folder)?;
    Records::read(folder)?;
    let (lock, notice) = Lock::take(folder)?;
    if let Some(notice) = notice {
        crate::system::say(&format!("sobaya: note: {notice}"));
    }
    if let Some(status) = read_status(&folder.join(LOG)).filter(|s| s != Status::Running.name()) {
        return Ok(Recovered::Whole(status));
    }
    let (mut rows, mut evaluations) = (0, 0);
    let journal = folder.join(JOURNAL);
    let mut records = Records::read(folder)?;
    let Some(first @ Record::Part(_)) = records.next() else {
        let problem = "no start of a run is there: nothing can be recovered".into();
        return Err(LogError::Damaged { path: journal, at: 0, problem });
    };
    let counted = records.by_ref().inspect(|record| match record {
        Record::Row(_) => rows += 1,
        Record::Evaluation(..) => evaluations += 1,
        Record::Part(_) | Record::Links(_) => (),
    });
    let counted = std::iter::once(first).chain(counted);
    build(lock.claim(), &header, counted, Status::Stopped, "recovered from the journal")?;
    let length =
        journal.metadata().map_err(|source| OutputError::Read { path: journal, source })?;
    Ok(Recovered::Built { rows, evaluations, torn: length.len() - records.end() })
}

fn read_header(folder: &Path) -> Result<Header, LogError> {
    let path = folder.join(CONFIG);
    let failed = |problem| LogError::Config { path: path.clone(), problem };
    let text = std::fs::read(&path).map_err(|e| failed(e.to_string()))?;
    let config = serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))?;
    Header::of(&config).ok_or_else(|| failed("it has no `seed` or no `workers`".into()))
}
