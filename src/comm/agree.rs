//! Agreement over all ranks on whether a step of the setup went well everywhere.

use super::{Comm, CommError, Messages};

/// A rank's failure: the exit code and one message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Failure {
    pub code: u8,
    pub message: String,
}

/// `Ok` on all ranks if every rank is; else on all ranks the failure of the lowest rank that failed.
pub fn agree(
    comm: &mut dyn Comm,
    mine: Result<(), Failure>,
) -> Result<Result<(), Failure>, CommError> {
    let mut message = match &mine {
        Ok(()) => vec![0],
        Err(failure) => [&[failure.code.max(1)], failure.message.as_bytes()].concat(),
    };
    let mut inbox = Messages::default();
    comm.gather(&message, &mut inbox)?;
    if comm.is_root() {
        let failed = inbox.messages().find(|message| message.first() != Some(&0));
        message = failed.map_or_else(|| vec![0], <[u8]>::to_vec);
    }
    comm.broadcast(&mut message)?;
    Ok(match message.split_first() {
        Some((&code, words)) if code != 0 => {
            Err(Failure { code, message: String::from_utf8_lossy(words).into_owned() })
        }
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_each_rank(failing: &'static [usize]) -> Vec<Result<(), Failure>> {
        let ranks = crate::comm::threads::world(4).into_iter().map(|mut comm| {
            std::thread::spawn(move || {
                let rank = comm.rank();
                let message = format!("rank {rank}");
                let mine = match failing.contains(&rank) {
                    true => Err(Failure { code: 3 + rank as u8, message }),
                    false => Ok(()),
                };
                agree(&mut comm, mine).expect("no rank is gone")
            })
        });
        let handles: Vec<_> = ranks.collect();
        handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
    }

    #[test]
    fn the_lowest_failure_is_everybodys() {
        assert!(on_each_rank(&[]).iter().all(Result::is_ok));
        let expected = Failure { code: 5, message: "rank 2".into() };
        assert_eq!(on_each_rank(&[3, 2]), vec![Err(expected); 4]);
    }
}
