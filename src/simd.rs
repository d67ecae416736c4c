//! Loops compiled for the widest vectors of the processor at hand.

use std::sync::atomic::{AtomicU8, Ordering};

/// Sets of instructions that loops are compiled for; the largest that the processor has is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Level {
    /// What every processor of the target has.
    Baseline = 1,
    /// AVX2 (x86-64-v3).
    Avx2 = 2,
    /// AVX-512 (x86-64-v4).
    Avx512 = 3,
}

/// The level in use, or 0 before it is known.
static LEVEL: AtomicU8 = AtomicU8::new(0);

impl Level {
    /// From the smallest.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Avx2, Self::Avx512];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        ["baseline", "avx2", "avx512"][self as usize - 1]
    }

    /// The largest level that the processor has.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if pulp::x86::V4::try_new().is_some() {
                return Self::Avx512;
            }
            if pulp::x86::V3::try_new().is_some() {
                return Self::Avx2;
            }
        }
        Self::Baseline
    }

    /// The level in use.
    #[inline]
    pub fn current() -> Self {
        match LEVEL.load(Ordering::Relaxed) {
            1 => Self::Baseline,
            2 => Self::Avx2,
            3 => Self::Avx512,
            _ => Self::at_most(Self::Avx512),
        }
    }

    /// From now on uses this level, or the largest that the processor has if that is smaller; all
    /// give the same bits. Returns what is used.
    pub fn at_most(most: Self) -> Self {
        let level = most.min(Self::best());
        LEVEL.store(level as u8, Ordering::Relaxed);
        level
    }
}

/// Runs a loop as compiled for this processor (AVX-512, AVX2 or the baseline, chosen at run time).
///
/// The compiler never fuses a multiplication with an addition or reorders a sum by itself, so all
/// versions of a loop give the same bits. Write the closure as `#[inline(always)] || ..`: only what
/// is inlined is compiled for each processor.
#[inline(always)]
pub fn vectorized<R>(body: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        match Level::current() {
            Level::Avx512 => {
                if let Some(simd) = pulp::x86::V4::try_new() {
                    return simd.vectorize(body);
                }
            }
            Level::Avx2 => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return simd.vectorize(body);
                }
            }
            Level::Baseline => {}
        }
        body()
    }
    #[cfg(not(target_arch = "x86_64"))]
    pulp::Arch::new().dispatch(body)
}
