//! Sums and maxima over lanes of a fixed number and order: the same bits on every processor.

/// Lanes over which maxima and sums run: four registers of sixteen.
pub const LANES: usize = 64;

/// Reduces the lanes in the fixed order of halves: 64 to 32, 32 to 16, and so on.
///
/// Arrays of constant lengths stay in registers, which one array with a running length would not.
#[inline(always)]
pub fn reduce<T: Copy>(lanes: [T; LANES], of: impl Fn(T, T) -> T) -> T {
    let a: [T; 32] = std::array::from_fn(|j| of(lanes[j], lanes[j + 32]));
    let b: [T; 16] = std::array::from_fn(|j| of(a[j], a[j + 16]));
    let c: [T; 8] = std::array::from_fn(|j| of(b[j], b[j + 8]));
    let d: [T; 4] = std::array::from_fn(|j| of(c[j], c[j + 4]));
    of(of(d[0], d[2]), of(d[1], d[3]))
}

/// Folds the values, each mapped by `one`, with `of`, whose order does not matter; `neutral` changes
/// no result and fills up the last lanes.
///
/// By hand over many lanes: of a maximum of floats the compiler makes a chain.
#[inline(always)]
pub fn fold<T: Copy, U: Copy>(
    values: &[T],
    neutral: T,
    one: impl Fn(T) -> U,
    of: impl Fn(U, U) -> U,
) -> U {
    let (chunks, tail) = values.as_chunks::<LANES>();
    let mut padded = [neutral; LANES];
    padded[..tail.len()].copy_from_slice(tail);
    let mut lanes = padded.map(&one);
    for chunk in chunks {
        for j in 0..LANES {
            lanes[j] = of(lanes[j], one(chunk[j]));
        }
    }
    reduce(lanes, of)
}
