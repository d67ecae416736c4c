//! What a run must remember to go on: one visit of it, which writes it or reads it back.
//!
//! Whoever has state shows it to an [`Archive`], always in the same order. The same visit of an equally
//! built run then restores it, so that what is written and what is read cannot drift apart.

use crate::scalar::Scalar;
use crate::vars::all_finite;

/// Whose state is visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The server's, and what all ranks hold alike. Written at the root, read by every rank.
    Server,
    /// That of a worker, by the rank that hosts it.
    Worker(usize),
}

/// State that cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ArchiveError {
    #[error("the state is not finite")]
    NotFinite,
    #[error("the state has {found} bytes where the run needs {expected}")]
    Length { found: usize, expected: usize },
}

/// A visit of state: numbers as they are stored, little-endian, one after the other.
pub struct Archive<'b> {
    way: Way<'b>,
    finite: bool,
}

enum Way<'b> {
    Write(&'b mut Vec<u8>),
    Read { bytes: &'b [u8], needed: usize },
    Count(&'b mut u64),
}

impl<'b> Archive<'b> {
    /// A visit that appends what it is shown.
    pub fn writing(out: &'b mut Vec<u8>) -> Self {
        Self { way: Way::Write(out), finite: true }
    }

    /// A visit that overwrites what it is shown with what another one wrote.
    pub fn reading(bytes: &'b [u8]) -> Self {
        Self { way: Way::Read { bytes, needed: 0 }, finite: true }
    }

    /// Bytes that a visit would write; it looks at no number.
    pub fn length(visit: impl FnOnce(&mut Archive<'_>)) -> u64 {
        let mut length = 0;
        visit(&mut Archive { way: Way::Count(&mut length), finite: true });
        length
    }

    /// A vector. Its length is the run's: it is not written.
    pub fn vector<F: Scalar>(&mut self, v: &mut [F]) {
        if matches!(self.way, Way::Write(_)) {
            self.finite &= all_finite(v);
        }
        self.bytes(bytemuck::cast_slice_mut(v));
    }

    /// A number that is no entry of a vector.
    pub fn number(&mut self, number: &mut f64) {
        self.vector(std::slice::from_mut(number));
    }

    /// A count, or the bits of something else.
    pub fn word(&mut self, word: &mut u64) {
        self.bytes(bytemuck::bytes_of_mut(word));
    }

    fn bytes(&mut self, v: &mut [u8]) {
        match &mut self.way {
            Way::Write(out) => out.extend_from_slice(v),
            Way::Count(length) => **length += v.len() as u64,
            Way::Read { bytes, needed } => {
                let start = *needed;
                *needed += v.len();
                // What is missing is found in the end; until then the state stays as it is.
                if let Some(found) = bytes.get(start..*needed) {
                    v.copy_from_slice(found);
                }
            }
        }
    }

    /// The visit is over: everything written was finite, or exactly what was there has been read.
    pub fn finish(self) -> Result<(), ArchiveError> {
        match self.way {
            _ if !self.finite => Err(ArchiveError::NotFinite),
            Way::Read { bytes, needed } if bytes.len() != needed => {
                Err(ArchiveError::Length { found: bytes.len(), expected: needed })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(archive: &mut Archive, v: &mut [f32], number: &mut f64, word: &mut u64) {
        archive.vector(v);
        archive.number(number);
        archive.word(word);
    }

    #[test]
    fn what_one_visit_writes_the_next_one_reads() {
        let (mut v, mut number, mut word) = ([1.5f32, -2.0, 0.1], 0.3, u64::MAX);
        let mut bytes = vec![];
        let mut archive = Archive::writing(&mut bytes);
        visit(&mut archive, &mut v, &mut number, &mut word);
        archive.finish().unwrap();
        assert_eq!(bytes.len(), 3 * 4 + 8 + 8);
        let length = Archive::length(|archive| visit(archive, &mut v, &mut number, &mut word));
        assert_eq!(length, bytes.len() as u64);

        let read = |bytes: &[u8]| {
            let (mut v, mut number, mut word) = ([0f32; 3], 0.0, 0);
            let mut archive = Archive::reading(bytes);
            visit(&mut archive, &mut v, &mut number, &mut word);
            archive.finish().map(|()| (v, number, word))
        };
        assert_eq!(read(&bytes), Ok((v, number, word)));
        for wrong in [&bytes[..27], &[&bytes[..], &[0]].concat()] {
            let error = ArchiveError::Length { found: wrong.len(), expected: 28 };
            assert_eq!(read(wrong), Err(error));
        }
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let mut bytes = vec![];
        let mut archive = Archive::writing(&mut bytes);
        archive.vector(&mut [0.0, f64::NAN]);
        assert_eq!(archive.finish(), Err(ArchiveError::NotFinite));
    }
}
