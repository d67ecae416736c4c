//! Randomness: every draw is a pure function of (seed, stream, worker, iteration, sub).
//!
//! Nothing depends on the number of ranks, on time, or on what was drawn before. Single draws come
//! from ChaCha8; bulk draws (supports of random sparsifiers) from 16 lanes of xoshiro128+ (Blackman,
//! Vigna 2021) seeded by it, which compile to vector instructions and give the same numbers on all.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a draw is for. The number is part of the wire format: it never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Stream {
    Start = 1,
    Partition = 2,
    ProblemData = 3,
    BatchLower = 4,
    BatchUpper = 5,
    Noise = 6,
    CompressX = 7,
    CompressY = 8,
    CompressZ = 9,
    /// The second round of a low-rank coder, for x, y and z.
    SecondX = 10,
    SecondY = 11,
    SecondZ = 12,
    /// What the server sends; `worker` tells the iterate (0) from the factors of low rank (1, 2).
    DownX = 13,
    DownY = 14,
    DownZ = 15,
    /// The first right factor of a low-rank coder.
    FactorStart = 16,
    /// Wrong labels.
    Corruption = 17,
    /// Random graphs.
    Topology = 18,
}

/// Coordinates of a draw; nothing else may seed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The run's seed.
    pub seed: u64,
    /// What the draw is for.
    pub stream: Stream,
    /// Worker, or 0 where a draw is common to all.
    pub worker: u32,
    /// Iteration, or 0 outside the loop.
    pub iteration: u64,
    /// Counts several draws of one stream in an iteration.
    pub sub: u32,
}

impl Key {
    /// A draw outside the loop that all workers share.
    pub fn shared(seed: u64, stream: Stream) -> Self {
        Self { seed, stream, worker: 0, iteration: 0, sub: 0 }
    }

    /// The same draw for another `sub`.
    pub fn numbered(self, sub: u32) -> Self {
        Self { sub, ..self }
    }

    /// The same draw for another worker.
    pub fn worker(self, worker: usize) -> Self {
        Self { worker: worker as u32, ..self }
    }

    /// Generator for single draws.
    pub fn rng(self) -> ChaCha8Rng {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..12].copy_from_slice(&(self.stream as u32).to_le_bytes());
        seed[12..16].copy_from_slice(&self.worker.to_le_bytes());
        seed[16..24].copy_from_slice(&self.iteration.to_le_bytes());
        seed[24..28].copy_from_slice(&self.sub.to_le_bytes());
        ChaCha8Rng::from_seed(seed)
    }

    /// Generator for bulk draws.
    pub fn lanes(self) -> Lanes {
        let mut rng = self.rng();
        let mut state = [[0u32; LANES]; 4];
        for lane in 0..LANES {
            loop {
                state.iter_mut().for_each(|word| word[lane] = rng.next_u32());
                if state.iter().any(|word| word[lane] != 0) {
                    break;
                }
            }
        }
        Lanes { state }
    }
}

/// Coordinates that follow from a key, so that sender and receiver need not tell each other.
pub trait Support: Send {
    /// The coordinates, ascending and distinct, written over `out`. Of `key` all but the stream counts.
    fn positions(&self, key: Key, out: &mut Vec<u32>);

    /// The most that there are.
    fn most(&self) -> usize;
}

/// Numbers of one bulk draw.
pub const LANES: usize = 16;

/// Sixteen independent xoshiro128+ generators advanced together.
#[derive(Clone, Debug)]
pub struct Lanes {
    state: [[u32; LANES]; 4],
}

impl Lanes {
    /// The next 16 numbers, uniform on 0..2^32; the low bits are the weaker ones.
    #[inline(always)]
    pub fn draw(&mut self) -> [u32; LANES] {
        let [a, b, c, d] = &mut self.state;
        let mut out = [0; LANES];
        for i in 0..LANES {
            out[i] = a[i].wrapping_add(d[i]);
            let shifted = b[i] << 9;
            c[i] ^= a[i];
            d[i] ^= b[i];
            b[i] ^= c[i];
            a[i] ^= d[i];
            c[i] ^= shifted;
            d[i] = d[i].rotate_left(11);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { seed: 1, stream: Stream::CompressX, worker: 2, iteration: 3, sub: 4 };

    #[test]
    fn every_coordinate_of_a_key_matters() {
        let first = |key: Key| key.rng().next_u64();
        let others = [
            Key { seed: 2, ..KEY },
            Key { stream: Stream::CompressY, ..KEY },
            Key { worker: 3, ..KEY },
            Key { iteration: 4, ..KEY },
            Key { sub: 5, ..KEY },
        ];
        assert_eq!(first(KEY), first(KEY));
        for other in others {
            assert_ne!(first(KEY), first(other), "{other:?}");
        }
    }

    #[test]
    fn lanes_follow_the_scalar_generator() {
        let mut lanes = KEY.lanes();
        let mut word = lanes.state.map(|word| word[5]);
        for _ in 0..100 {
            let expected = word[0].wrapping_add(word[3]);
            let t = word[1] << 9;
            word[2] ^= word[0];
            word[3] ^= word[1];
            word[1] ^= word[2];
            word[0] ^= word[3];
            word[2] ^= t;
            word[3] = word[3].rotate_left(11);
            assert_eq!(lanes.draw()[5], expected);
        }
    }

    #[test]
    fn lanes_are_uniform() {
        let mut lanes = KEY.lanes();
        let mut counts = [0u32; 64];
        for _ in 0..4000 {
            lanes.draw().iter().for_each(|&v| counts[(v >> 26) as usize] += 1);
        }
        let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
        assert!((30.0..110.0).contains(&chi2), "chi-square {chi2} at 63 degrees of freedom");
    }
}
