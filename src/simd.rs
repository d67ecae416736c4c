//! Loops compiled for the widest vectors of the processor at hand.

/// Runs a loop as compiled for this processor (AVX-512, AVX2 or the baseline, chosen at run time).
///
/// The compiler never fuses a multiplication with an addition or reorders a sum by itself, so all
/// versions of a loop give the same bits. Write the closure as `#[inline(always)] || ..`: only what
/// is inlined is compiled for each processor.
#[inline(always)]
pub fn vectorized<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}
