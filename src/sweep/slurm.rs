//! A sweep as Slurm job arrays: a task for each member that has not ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::standing::judged;
use super::{Member, Sweep, SweepError, program};
use crate::output;

/// The job of a single run, a part of which stands in every array.
const JOB: &str = include_str!("../../jobs/slurm.sbatch");
/// How that part begins.
const IN_PARTS: &str = "# --- in parts: ";
/// Tasks of an array at most: Slurm's MaxArraySize is 1001 unless a cluster says otherwise.
const MAX_TASKS: usize = 1000;

impl Sweep {
    /// Writes DIR/array.sbatch, and as many more as the members need, and submits them; what sbatch answers,
    /// or `None` if every member is finished.
    pub fn submit(&self) -> Result<Option<String>, SweepError> {
        let lock = self.claim()?;
        let standing = self.standing()?;
        if standing.due.is_empty() {
            judged(&standing.diverged, self.members.len())?;
            return Ok(None);
        }
        let scripts = self.write_scripts(&standing.due)?;
        // The first task may start before sbatch has answered.
        drop(lock);
        let mut answers = vec![];
        for (at, script) in scripts.iter().enumerate() {
            let answer = match Command::new("sbatch").arg(script).output() {
                Ok(answer) => answer,
                Err(source) => {
                    return Err(SweepError::NoSbatch { scripts: scripts[at..].to_vec(), source });
                }
            };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            if !answer.status.success() {
                let (scripts, said) = (scripts[at..].to_vec(), text(&answer.stderr));
                return Err(SweepError::Refused { scripts, before: at, said });
            }
            answers.push(text(&answer.stdout));
        }
        Ok(Some(answers.join("\n")))
    }

    /// The scripts of as many arrays as these members need; those of an earlier call are gone.
    fn write_scripts(&self, members: &[&Member]) -> Result<Vec<PathBuf>, SweepError> {
        let path = |number: usize| match number {
            1 => self.folder.join("array.sbatch"),
            _ => self.folder.join(format!("array-{number}.sbatch")),
        };
        let mut scripts = vec![];
        for piece in members.chunks(MAX_TASKS) {
            let script = path(scripts.len() + 1);
            output::replace(&script, self.script(piece)?.as_bytes())?;
            scripts.push(script);
        }
        let mut left = scripts.len() + 1;
        while fs::remove_file(path(left)).is_ok() {
            left += 1;
        }
        Ok(scripts)
    }

    fn script(&self, members: &[&Member]) -> Result<String, SweepError> {
        let ranks = members.iter().map(|member| self.file.ranks(member.plan.workers)).max();
        let hashes: Vec<&str> = members.iter().map(|member| &member.hash[..]).collect();
        let folder = absolute(&self.folder)?;
        let output = folder.join("slurm-%A_%a.out");
        let output = output.to_string_lossy().replace('%', "%%");
        let output = output.replace("%%A_%%a", "%A_%a");
        Ok(format!(
            "#!/usr/bin/env bash\n\
             # Members of the sweep {name} that had not ended when this was written, a task each, which\n\
             # Slurm starts again at its time limit until the member is done. A task whose member has ended\n\
             # does no harm. Options of sbatch, and its variables such as SBATCH_TIMELIMIT, SBATCH_ACCOUNT\n\
             # and SBATCH_PARTITION, replace the lines below. The modules with which the program was built\n\
             # are to be loaded before sbatch.\n\
             \n\
             #SBATCH --job-name={name}\n\
             #SBATCH --array=0-{last}\n\
             #SBATCH --ntasks={ranks}\n\
             #SBATCH --cpus-per-task=1\n\
             #SBATCH --mem-per-cpu=1G\n\
             #SBATCH --time=01:00:00\n\
             #SBATCH --signal=B:USR1@180\n\
             #SBATCH --requeue\n\
             #SBATCH --open-mode=append\n\
             #SBATCH --output=\"{output}\"\n\
             \n\
             set -euo pipefail\n\
             \n\
             {in_parts}\
             # --- the member ---\n\
             \n\
             cd -- {here}\n\
             members=(\n    {members}\n)\n\
             member=${{members[SLURM_ARRAY_TASK_ID]}}\n\
             run_in_parts {folder}/\"$member\" {command}\n",
            name = self.file.name,
            ranks = ranks.unwrap_or(1),
            last = hashes.len() - 1,
            in_parts = in_parts(),
            here = shell(&absolute(Path::new("."))?),
            members = hashes.join("\n    "),
            folder = shell(&folder),
            command = self.command(&folder)?,
        ))
    }

    /// What runs the member in the variable `member`.
    fn command(&self, folder: &Path) -> Result<String, SweepError> {
        let mut command = format!(
            "{} sweep {} run --member \"$member\" --out {}",
            shell(&program()?),
            shell(&absolute(&self.path)?),
            shell(folder)
        );
        if let Some(data) = &self.data {
            command += &format!(" --data {}", shell(&absolute(data)?));
        }
        if self.redo {
            command += " --redo";
        }
        Ok(command)
    }
}

/// The functions of jobs/slurm.sbatch that run a command in parts, from the heading to the next one.
fn in_parts() -> &'static str {
    let start = JOB.find(IN_PARTS).unwrap_or(JOB.len());
    let functions = &JOB[start..];
    let end = functions.find("\n# --- the run").map_or(functions.len(), |at| at + 1);
    &functions[..end]
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
    fn arrays_have_the_functions_of_a_single_job() {
        let functions = in_parts();
        assert!(functions.starts_with(IN_PARTS) && functions.ends_with("}\n\n"), "{functions}");
        for name in ["run_in_parts() {", "makes_progress() {", "run_to_end() {"] {
            assert!(functions.contains(name), "{name}");
        }
        assert!(!functions.contains("# --- the run") && !functions.contains("#SBATCH"));
    }

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(shell(Path::new("a b's")), r"'a b'\''s'");
    }
}
