//! What a call finds: members that have ended, which are kept, and those that it is to run.

use std::collections::BTreeMap;

use super::folder::{Failure, MemberFolder, State};
use super::{Member, Sweep, SweepError};
use crate::system::say;

/// How far a sweep is before a call runs anything.
#[derive(Default)]
pub struct Standing<'a> {
    /// Members that are to be run.
    pub due: Vec<&'a Member>,
    /// How many are finished, and stay so.
    pub finished: usize,
    /// Those that have diverged, and stay so.
    pub diverged: Vec<Failure>,
}

impl Sweep {
    /// What is to be run, and what is kept. Kept members that this program with this data folder has not
    /// made are spoken of once.
    pub(super) fn standing(&self) -> Result<Standing<'_>, SweepError> {
        let mut standing = Standing::default();
        let mut others: BTreeMap<String, usize> = BTreeMap::new();
        for member in &self.members {
            let folder = MemberFolder::new(&self.folder, member);
            let state = self.state(member)?;
            if self.is_due(&folder, &state) {
                standing.due.push(member);
                continue;
            }
            match state {
                State::Diverged(failure) => standing.diverged.push(failure),
                _ => standing.finished += 1,
            }
            let origin = folder.origin();
            if origin.as_ref() != Some(&self.origin) {
                let words = origin.map_or("an unknown program".into(), |found| found.to_string());
                *others.entry(words).or_default() += 1;
            }
        }
        self.speak_of(&others);
        Ok(standing)
    }

    /// Whether a member in this state is to be run: one that has ended only if all of those are to be made
    /// again that this program has not finished with this data folder.
    pub(super) fn is_due(&self, folder: &MemberFolder, state: &State) -> bool {
        match state {
            State::Finished(_) => self.redo && folder.origin().as_ref() != Some(&self.origin),
            State::Diverged(_) => self.redo,
            _ => true,
        }
    }

    /// Whether the run of a member that is due goes on where it was stopped; else it starts anew.
    pub(super) fn goes_on(&self, folder: &MemberFolder, state: &State) -> bool {
        let again = self.redo
            && (matches!(state, State::Diverged(_))
                || folder.origin().as_ref() != Some(&self.origin));
        folder.checkpoint().is_some() && !again
    }

    fn speak_of(&self, others: &BTreeMap<String, usize>) {
        if others.is_empty() {
            return;
        }
        let count: usize = others.values().sum();
        let lines: Vec<String> =
            others.iter().map(|(words, count)| format!("    {count} by {words}")).collect();
        say(&format!(
            "{}: note: {count} of {} members are kept that another program or another data folder has \
             made; --redo runs them again\n{}\n    now {}",
            self.file.name,
            self.members.len(),
            lines.join("\n"),
            self.origin
        ));
    }
}

/// What these failures make of a call over so many members: one that is no divergence, which the next call
/// may mend, gives its exit code.
pub fn judged(failures: &[Failure], total: usize) -> Result<(), SweepError> {
    if failures.is_empty() {
        return Ok(());
    }
    let first = failures.iter().find(|failure| !failure.is_divergence());
    let diverged = failures.iter().filter(|failure| failure.is_divergence()).count();
    Err(SweepError::Failed {
        diverged,
        failed: failures.len() - diverged,
        total,
        code: first.map_or(Failure::DIVERGED, |failure| failure.code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_the_next_call_may_mend_gives_the_exit_code() {
        let code = |codes: &[u8]| {
            let failure = |&code: &u8| Failure { code, said: String::new() };
            let failures: Vec<Failure> = codes.iter().map(failure).collect();
            judged(&failures, 5).map_err(|error| (error.code(), error.to_string()))
        };
        assert_eq!(code(&[]), Ok(()));
        let diverged = "2 of 5 members diverged, which --redo runs again";
        assert_eq!(code(&[4, 4]), Err((4, diverged.into())));
        let failed = "2 of 5 members failed, which the next call tries again";
        assert_eq!(code(&[4, 3, 5, 4]), Err((3, format!("{failed}; {diverged}"))));
        assert_eq!(code(&[3, 5]), Err((3, failed.into())));
    }
}
