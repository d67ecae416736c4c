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

/// Entries that are coded and decoded together: they fit the first-level cache.
pub const BLOCK: usize = 256;

/// Tests that force a level wait for each other.
#[cfg(test)]
pub fn one_level_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
