//! What the server writes and says of a run.

use std::io::Write;

use super::schedule::Schedule;
use crate::error::Error;
use crate::evaluate::Evaluation;
use crate::log::{Log, Progress, Row, Status, Summary, table};
use crate::net::RankReport;
use crate::output::Lock;

pub struct Observer {
    pub log: Log,
    pub progress: Progress,
    pub schedule: Schedule,
    /// Held as long as anything is written.
    pub lock: Lock,
    /// Whether it was said that the lower level could not be solved.
    pub said_unsolved: bool,
}

impl Observer {
    /// Row and, if there is one, evaluation of the state after so many iterations.
    pub fn observe(&mut self, row: Row, evaluation: Option<Evaluation>) -> Result<(), Error> {
        let k = row.iteration;
        self.log.row(row);
        if let Some(evaluation) = evaluation {
            self.log.evaluation(k, evaluation)?;
            self.progress.evaluation(&evaluation);
        }
        self.progress.at(k);
        Ok(())
    }

    /// Says once a run why metrics at the solution of the lower level are missing.
    pub fn say_unsolved(&mut self, k: u64) {
        if !std::mem::replace(&mut self.said_unsolved, true) {
            self.progress.note(&format!(
                "iteration {k}: the lower level cannot be solved, so the hypergradient and what else \
                 needs its solution are NaN here: it is not strongly convex, or too badly conditioned; \
                 stronger regularization of the lower level would help; said once a run"
            ));
        }
    }

    /// Says once a run that checkpoints come later than they were asked for.
    pub fn say_stretched(&mut self) {
        if self.schedule.is_stretched() {
            self.progress.note(
                "checkpoints are made less often than asked for: they would take a larger share of the \
                 time than the config key `checkpoint.cost`; said once a run",
            );
        }
    }

    /// The last reports, the log, the table. The lock is given back: the folder is not yet done with.
    pub fn complete(mut self, reports: &[RankReport], summary: &Summary) -> Result<Lock, Error> {
        self.progress.finish();
        self.log.reports(reports)?;
        self.log.links(&summary.links)?;
        self.log.finish(Status::Completed, "", &summary.json())?;
        // Whoever was to read the table may have gone away; the run is complete all the same.
        let _ = std::io::stdout().write_all(table(summary).as_bytes());
        Ok(self.lock)
    }

    /// The log of a run that ends before its end.
    pub fn give_up(self, error: &Error, summary: &Summary) {
        self.progress.finish();
        let (status, reason) = match error {
            Error::Stopped { reason, .. } => (Status::Stopped, reason.words().to_owned()),
            error => (Status::Failed, error.to_string()),
        };
        // A log that cannot be finished is not the reason: the first error is.
        let _ = self.log.finish(status, &reason, &summary.json());
    }
}
