//! How large a log becomes.

use super::{Evaluation, LOG, LogError, Part, RankReport, Record, Row, Status, hdf5, journal};
use crate::config::{GraphPlan, Plan};
use crate::net::{LinkBytes, Traffic};
use crate::problems::Losses;

/// Bytes of the files of a run that was never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Of `log.journal`.
    pub journal: u64,
    /// Of `log.h5`.
    pub image: u64,
}

impl Size {
    /// That of a plan's log on this many ranks.
    pub fn of(plan: &Plan, ranks: usize) -> Result<Self, LogError> {
        let (every, last) = (plan.log.every.get() as u64, plan.iterations);
        let rows = last / every + 1 + u64::from(!last.is_multiple_of(every));
        let evaluations = plan.evaluate.count(last);
        let provenance = crate::system::provenance(ranks).to_string();
        let part = Record::Part(Part { part: 0, ranks: ranks as u32, provenance });
        let row = Record::Row(Row {
            iteration: 0,
            wall_time: 0.0,
            losses: Losses::NONE,
            traffic: Traffic::default(),
            ranks: vec![RankReport::default(); ranks],
        });
        let evaluation = Record::Evaluation(0, Evaluation::NONE);
        let links = plan.graph.as_ref().map(GraphPlan::links).unwrap_or_default();
        let link = |(from, to)| LinkBytes { from, to, bytes: 0 };
        let links = Record::Links(links.into_iter().map(link).collect());
        // At the end, and with the checkpoint there. A run with a server has none.
        let ends = match plan.graph {
            Some(_) => 1 + u64::from(plan.checkpoint.at_end),
            None => 0,
        };
        let journal = [(1, &part), (rows, &row), (evaluations, &evaluation), (ends, &links)]
            .into_iter()
            .fold(0u64, |sum, (n, record)| {
                sum.saturating_add(n.saturating_mul(journal::length(record)))
            });
        // One chunk of every column; more of them make it longer by their lengths.
        let header = hdf5::Header::new(plan);
        let records = [part, row, evaluation, links].into_iter();
        let first = hdf5::image(&header, records, Status::Running, "")
            .map_err(|source| LogError::Hdf5 { path: LOG.into(), source })?;
        let more = |rows: u64, chunk: usize, bytes: usize| {
            let chunks = rows.div_ceil(chunk as u64).saturating_sub(1);
            chunks.saturating_mul((chunk * bytes) as u64)
        };
        let [alone, by_rank] = hdf5::ROW;
        let image = [
            first.len() as u64,
            more(rows, hdf5::CHUNK, alone),
            more(rows, hdf5::CHUNK.div_ceil(ranks), by_rank * ranks),
            more(evaluations, hdf5::CHUNK, hdf5::EVALUATION),
        ];
        Ok(Self { journal, image: image.into_iter().fold(0, u64::saturating_add) })
    }

    /// Both files.
    pub fn total(self) -> u64 {
        self.journal.saturating_add(self.image)
    }
}
