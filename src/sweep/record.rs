//! `sweep.json`: what sweep a folder holds, and its members.

use std::fs;
use std::io::ErrorKind;

use serde_json::{Value, json};

use super::folder::MemberFolder;
use super::{Member, Sweep, SweepError};
use crate::log;
use crate::output::{self, OutputError, SWEEP_RECORD};

impl Sweep {
    /// What the folder says that it holds; `None` if nothing has said so yet. A folder of another sweep, or of a
    /// run, is refused.
    pub(super) fn recorded(&self) -> Result<Option<Value>, SweepError> {
        let path = self.folder.join(SWEEP_RECORD);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return match log::exists(&self.folder) {
                    true => Err(self.holds("a run, and no sweep")),
                    false => Ok(None),
                };
            }
            Err(source) => return Err(OutputError::Read { path, source }.into()),
        };
        let record: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match record["name"].as_str() {
            Some(name) if record["members"].is_array() => match name == self.file.name {
                true => Ok(Some(record)),
                false => {
                    Err(SweepError::Other { folder: self.folder.clone(), found: name.to_owned() })
                }
            },
            _ => Err(self.holds("a sweep.json that is no sweep's record")),
        }
    }

    fn holds(&self, what: &'static str) -> SweepError {
        SweepError::NoSweep { folder: self.folder.clone(), what }
    }

    /// What the folder is to say.
    pub(super) fn record(&self) -> Value {
        let members: Vec<Value> = self.members.iter().map(Member::record).collect();
        json!({ "name": self.file.name, "members": members })
    }

    /// Writes it.
    pub(super) fn write_record(&self) -> Result<(), SweepError> {
        let text = format!("{:#}\n", self.record());
        Ok(output::replace(&self.folder.join(SWEEP_RECORD), text.as_bytes())?)
    }

    /// Refuses if a member of this record is finished, and none of the sweep's any more.
    pub(super) fn keeps_all(&self, record: &Value) -> Result<(), SweepError> {
        let recorded = record["members"].as_array().into_iter().flatten();
        let lost = recorded.filter_map(|member| member["hash"].as_str()).find(|&hash| {
            self.members.iter().all(|member| member.hash != hash)
                && MemberFolder::named(&self.folder, hash).completed().is_some()
        });
        match lost {
            Some(hash) => {
                Err(SweepError::Lost { folder: self.folder.clone(), hash: hash.to_owned() })
            }
            None => Ok(()),
        }
    }
}
