//! `sobaya bench wire`: the collectives over MPI against the length of the message.
//!
//! Of a message of B bytes: `gather` brings B bytes of every rank to the root, `broadcast` brings B
//! bytes of the root to all, `segments` is the ordered reduction (every rank sends each rank its
//! part of B bytes, and gets all B bytes of sums back). Times are wall time at the slowest rank, the
//! median over repetitions, each after a round that lines the ranks up.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::comm::mpi::{Exit, MpiComm, session};
use crate::comm::{Comm, Messages};
use crate::config::{Count, KeyError, Positive};
use crate::error::Error;

#[derive(clap::Args)]
pub struct Arguments {
    /// Lengths of a rank's message in bytes.
    #[arg(long, value_delimiter = ',', default_value = "16,1024,16384,78900,644000,4000000")]
    bytes: Vec<u32>,
    /// Seconds for each collective and length.
    #[arg(long, default_value = "0.5")]
    seconds: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Median seconds of the collectives at one length.
struct Row {
    bytes: usize,
    gather: f64,
    broadcast: f64,
    segments: f64,
}

pub fn main(arguments: &Arguments) -> ! {
    session(|comm| match measure(arguments, comm) {
        Ok(()) => Exit { code: 0, agreed: true },
        Err(error) => {
            super::super::complain(&error);
            Exit { code: error.code().into(), agreed: false }
        }
    })
}

fn measure(
    arguments: &Arguments,
    comm: Result<MpiComm, crate::comm::mpi::WrongLauncher>,
) -> Result<(), Error> {
    let mut comm = comm?;
    Positive::try_from(arguments.seconds).map_err(|e| KeyError::value("--seconds", e))?;
    let mut rows = vec![];
    for &bytes in &arguments.bytes {
        Count::try_from(f64::from(bytes)).map_err(|e| KeyError::value("--bytes", e))?;
        rows.push(row(&mut comm, bytes as usize, arguments.seconds)?);
    }
    if !comm.is_root() {
        return Ok(());
    }
    let ranks = comm.ranks();
    let library = crate::comm::mpi::library_version();
    if arguments.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        let all = json!({ "machine": crate::system::cpu(), "mpi": library, "ranks": ranks,
            "rows": rows });
        return super::super::print(&format!("{all:#}\n"));
    }
    let mut out = format!("{library}, {ranks} ranks\n");
    out += "    bytes    gather [ms]  broadcast [ms]  segments [ms]\n";
    for row in &rows {
        out += &format!(
            "{:>9}{:>15.3}{:>16.3}{:>15.3}\n",
            row.bytes,
            1e3 * row.gather,
            1e3 * row.broadcast,
            1e3 * row.segments
        );
    }
    super::super::print(&out)
}

impl Row {
    fn json(&self) -> Value {
        json!({ "bytes": self.bytes, "gather_seconds": self.gather,
            "broadcast_seconds": self.broadcast, "segments_seconds": self.segments })
    }
}

fn row(comm: &mut MpiComm, bytes: usize, seconds: f64) -> Result<Row, Error> {
    let (rank, ranks) = (comm.rank(), comm.ranks());
    let mine = vec![rank as u8; bytes];
    let (mut inbox, mut outbox, mut message) = (Messages::default(), Messages::default(), vec![]);
    let gather = median(comm, seconds, |comm| {
        comm.gather(&mine, &mut inbox)?;
        Ok(())
    })?;
    let broadcast = median(comm, seconds, |comm| {
        message.clear();
        message.extend_from_slice(&mine);
        comm.broadcast(&mut message)?;
        Ok(())
    })?;
    let segment = |rank: usize| bytes * rank / ranks..bytes * (rank + 1) / ranks;
    let there = vec![segment(rank).len(); ranks];
    let back: Vec<usize> = (0..ranks).map(|rank| segment(rank).len()).collect();
    let segments = median(comm, seconds, |comm| {
        outbox.clear();
        (0..ranks).for_each(|rank| outbox.push(|out| out.extend_from_slice(&mine[segment(rank)])));
        comm.exchange(&outbox, &there, &mut inbox)?;
        outbox.clear();
        (0..ranks).for_each(|_| outbox.push(|out| out.extend_from_slice(&mine[segment(rank)])));
        comm.exchange(&outbox, &back, &mut inbox)?;
        Ok(())
    })?;
    Ok(Row { bytes, gather, broadcast, segments })
}

/// Median over repetitions of the longest time that a rank took; known at the root.
fn median(
    comm: &mut MpiComm,
    seconds: f64,
    mut collective: impl FnMut(&mut MpiComm) -> Result<(), Error>,
) -> Result<f64, Error> {
    let (mut times, mut inbox) = (vec![], Messages::default());
    let start = Instant::now();
    loop {
        // The root says whether there is another repetition, which lines the ranks up.
        let enough = start.elapsed() > Duration::from_secs_f64(seconds) && times.len() >= 5;
        let mut again = vec![u8::from(!enough)];
        comm.broadcast(&mut again)?;
        if again == [0] {
            break;
        }
        let before = Instant::now();
        collective(comm)?;
        let took = before.elapsed().as_secs_f64();
        comm.gather(&took.to_le_bytes(), &mut inbox)?;
        let read = |bytes: &[u8]| bytes.try_into().map_or(f64::NAN, f64::from_le_bytes);
        times.push(inbox.messages().map(read).fold(took, f64::max));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
