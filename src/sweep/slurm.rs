//! A sweep as a Slurm job array: a task for each member that is not finished.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Sweep, SweepError, program};
use crate::log;

impl Sweep {
    /// Writes DIR/array.sbatch and submits it; what sbatch answers, or `None` if every member is finished.
    pub fn submit(&self) -> Result<Option<String>, SweepError> {
        let lock = self.claim()?;
        let unfinished = self.unfinished()?;
        if unfinished.is_empty() {
            return Ok(None);
        }
        let ranks = unfinished.iter().map(|member| self.file.ranks(member.plan.workers)).max();
        let hashes: Vec<&str> = unfinished.iter().map(|member| &member.hash[..]).collect();
        let script = self.folder.join("array.sbatch");
        let text = self.script(&hashes, ranks.unwrap_or(1))?;
        log::replace(&script, text.as_bytes())?;
        // The first task may start before sbatch has answered.
        drop(lock);
        let answer = match Command::new("sbatch").arg(&script).output() {
            Err(source) => return Err(SweepError::NoSbatch { script, source }),
            Ok(answer) => answer,
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match answer.status.success() {
            true => Ok(Some(text(&answer.stdout))),
            false => Err(SweepError::Refused { script, said: text(&answer.stderr) }),
        }
    }

    fn script(&self, hashes: &[&str], ranks: usize) -> Result<String, SweepError> {
        let folder = absolute(&self.folder)?;
        let output = folder.join("slurm-%A_%a.out");
        let output = output.to_string_lossy().replace('%', "%%");
        let output = output.replace("%%A_%%a", "%A_%a");
        let mut command = format!(
            "{} sweep {} run --member \"${{members[SLURM_ARRAY_TASK_ID]}}\" --out {}",
            shell(&program()?),
            shell(&absolute(&self.path)?),
            shell(&folder)
        );
        if let Some(data) = &self.data {
            command += &format!(" --data {}", shell(&absolute(data)?));
        }
        Ok(format!(
            "#!/usr/bin/env bash\n\
             # The members of the sweep {name} that were not finished when this was written, a task each.\n\
             # A task that is requeued, or whose member is finished, does no harm. Options of sbatch, and\n\
             # its variables such as SBATCH_TIMELIMIT, SBATCH_ACCOUNT and SBATCH_PARTITION, replace the\n\
             # lines below. The modules with which the program was built are to be loaded before sbatch.\n\
             \n\
             #SBATCH --job-name={name}\n\
             #SBATCH --array=0-{last}\n\
             #SBATCH --ntasks={ranks}\n\
             #SBATCH --cpus-per-task=1\n\
             #SBATCH --mem-per-cpu=1G\n\
             #SBATCH --time=01:00:00\n\
             #SBATCH --requeue\n\
             #SBATCH --open-mode=append\n\
             #SBATCH --output=\"{output}\"\n\
             \n\
             set -euo pipefail\n\
             cd -- {here}\n\
             export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1\n\
             members=(\n    {members}\n)\n\
             exec {command}\n",
            name = self.file.name,
            last = hashes.len() - 1,
            here = shell(&absolute(Path::new("."))?),
            members = hashes.join("\n    "),
        ))
    }
}

fn absolute(path: &Path) -> Result<PathBuf, SweepError> {
    let failed = |source: io::Error| SweepError::Io { path: path.to_owned(), source };
    std::path::absolute(path).map_err(failed)
}

/// A path as one word of a shell.
fn shell(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(shell(Path::new("a b's")), r"'a b'\''s'");
    }
}
