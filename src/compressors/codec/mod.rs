//! Coding tools that compressors share, one file each.

pub mod bits;
pub mod chunks;
pub mod compact;
pub mod entropy;
pub mod lane;
pub mod levels;
pub mod pack;
pub mod quantise;
pub mod rice;
pub mod scale;
pub mod select;
pub mod values;
pub mod words;

use crate::packet::DecodeError;

/// Entries that are coded and decoded together: they fit the first-level cache.
pub const CODE_BLOCK: usize = 256;

/// What indices from a packet must be: ascending from block to block, and below the dimension.
struct Ascending {
    /// No index is lower.
    lowest: u64,
    dim: u64,
}

impl Ascending {
    fn below(dim: usize) -> Self {
        Self { lowest: 0, dim: dim as u64 }
    }

    /// Fails unless the next indices, of which there is one at least, are.
    #[inline(always)]
    fn check(&mut self, indices: &[u32]) -> Result<(), DecodeError> {
        let (first, last) = (indices[0], indices[indices.len() - 1]);
        let ascend = (indices.windows(2)).fold(true, |ascend, pair| ascend & (pair[0] < pair[1]));
        if !ascend || u64::from(first) < self.lowest || u64::from(last) >= self.dim {
            return Err(DecodeError::Index { index: last.into(), dim: self.dim as usize });
        }
        self.lowest = u64::from(last) + 1;
        Ok(())
    }
}

/// Tests that force a level wait for each other.
#[cfg(test)]
pub fn one_level_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
