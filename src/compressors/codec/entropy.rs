//! Static rANS (Duda 2013): symbols below 256 in about their entropy, with the packet's own
//! frequencies.
//!
//! ```text
//! u8 n - 1 | u16 frequency x n | u32 state x 4 | u16 words           n: highest symbol used + 1
//! ```
//!
//! Frequencies add up to 2^12. Symbol i belongs to state i mod 4, so that four chains of divisions
//! run side by side; states lie in [2^16, 2^32) and move 16 bits at a time. The encoder starts from
//! 2^16 at the last symbol; the decoder must be back there after it, at the end of the words.

use crate::packet::DecodeError;

/// log2 of the sum of the frequencies.
const BITS: u32 = 12;
const TOTAL: u32 = 1 << BITS;
const STATES: usize = 4;
const LOWEST: u32 = 1 << 16;
/// A symbol is a byte.
const ALPHABET: usize = 256;

/// The most bytes that `len` symbols of an alphabet of 2^`width` take.
///
/// With p the share of a symbol, its frequency is at least p (2^12 - 2^8) / 2 of 2^12, so that it costs
/// at most log2(1/p) + 1.1 bits, the mean of which is below width + 1.1; a step of a state loses less
/// than log2(1 + 2^12 / 2^16) < 0.1 bits.
pub fn max_len(len: usize, width: u32) -> usize {
    1 + 2 * (1 << width) + 4 * STATES + 2 + (len * (width as usize + 2)).div_ceil(8)
}

/// Encoder and decoder with their buffers.
pub struct Rans {
    frequency: [u16; ALPHABET],
    /// Sum of the frequencies of smaller symbols.
    below: [u16; ALPHABET],
    /// The symbol of every slot of the sum, for the decoder.
    slots: Box<[u8]>,
    words: Vec<u16>,
}

impl Default for Rans {
    fn default() -> Self {
        Self {
            frequency: [0; ALPHABET],
            below: [0; ALPHABET],
            slots: vec![0; TOTAL as usize].into(),
            words: vec![],
        }
    }
}

impl Rans {
    /// Appends the code of `symbols` to `out`.
    pub fn encode(&mut self, symbols: &[u8], out: &mut Vec<u8>) {
        let used = self.count(symbols);
        out.push((used - 1) as u8);
        out.extend_from_slice(bytemuck::cast_slice(&self.frequency[..used]));
        self.words.clear();
        let mut states = [LOWEST; STATES];
        let (quads, tail) = symbols.as_chunks::<STATES>();
        for (state, &symbol) in states.iter_mut().zip(tail) {
            self.push(state, symbol);
        }
        for quad in quads.iter().rev() {
            for (state, &symbol) in states.iter_mut().zip(quad).rev() {
                self.push(state, symbol);
            }
        }
        // The decoder takes first what was written last.
        self.words.reverse();
        out.extend_from_slice(bytemuck::cast_slice(&states));
        out.extend_from_slice(bytemuck::cast_slice(&self.words));
    }

    #[inline(always)]
    fn push(&mut self, state: &mut u32, symbol: u8) {
        let frequency = u32::from(self.frequency[usize::from(symbol)]);
        if *state >> (32 - BITS) >= frequency {
            self.words.push(*state as u16);
            *state >>= 16;
        }
        let (whole, part) = (*state / frequency, *state % frequency);
        *state = (whole << BITS) + part + u32::from(self.below[usize::from(symbol)]);
    }

    /// Frequencies that add up to 2^12 from the symbols' counts, and how many symbols have one.
    ///
    /// Each symbol that occurs gets at least 1; what rounding down leaves goes to the commonest.
    fn count(&mut self, symbols: &[u8]) -> usize {
        let mut counts = [[0u32; ALPHABET]; 2];
        let (pairs, odd) = symbols.as_chunks::<2>();
        for pair in pairs {
            counts[0][usize::from(pair[0])] += 1;
            counts[1][usize::from(pair[1])] += 1;
        }
        odd.iter().for_each(|&symbol| counts[0][usize::from(symbol)] += 1);
        let count = |symbol: usize| u64::from(counts[0][symbol]) + u64::from(counts[1][symbol]);

        let shared = u64::from(TOTAL) - ALPHABET as u64;
        let (mut left, mut commonest, mut used) = (TOTAL as u16, 0, 1);
        for symbol in 0..ALPHABET {
            let count_here = count(symbol);
            let frequency = count_here * shared / (symbols.len() as u64).max(1);
            self.frequency[symbol] = frequency.max(u64::from(count_here > 0)) as u16;
            left -= self.frequency[symbol];
            if count_here > 0 {
                used = symbol + 1;
            }
            if count_here > count(commonest) {
                commonest = symbol;
            }
        }
        self.frequency[commonest] += left;
        self.sum();
        used
    }

    fn sum(&mut self) {
        let mut sum = 0;
        for (below, frequency) in self.below.iter_mut().zip(&self.frequency) {
            *below = sum;
            sum += frequency;
        }
    }

    /// Decodes exactly `symbols.len()` symbols below `alphabet`, which must take all of `bytes`.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        alphabet: usize,
        symbols: &mut [u8],
    ) -> Result<(), DecodeError> {
        let mut rest = self.read_frequencies(bytes, alphabet)?;
        let mut states = [0; STATES];
        for state in &mut states {
            *state = u32::from_le_bytes(take(&mut rest)?);
            if *state < LOWEST {
                let (found, expected) = (u64::from(*state), LOWEST.into());
                return Err(DecodeError::Field { field: "coder state", found, expected });
            }
        }
        let (quads, tail) = symbols.as_chunks_mut::<STATES>();
        for quad in quads {
            for (state, symbol) in states.iter_mut().zip(quad) {
                *symbol = self.pop(state, &mut rest)?;
            }
        }
        for (state, symbol) in states.iter_mut().zip(tail) {
            *symbol = self.pop(state, &mut rest)?;
        }
        for state in states {
            DecodeError::expect("last coder state", state as usize, LOWEST as usize)?;
        }
        DecodeError::expect("bytes behind the code", rest.len(), 0)
    }

    #[inline(always)]
    fn pop(&self, state: &mut u32, rest: &mut &[u8]) -> Result<u8, DecodeError> {
        let slot = *state & (TOTAL - 1);
        let symbol = self.slots[slot as usize];
        let frequency = u32::from(self.frequency[usize::from(symbol)]);
        // slot is in the symbol's range: slot >= below, and the state stays below 2^32.
        *state = frequency * (*state >> BITS) + slot - u32::from(self.below[usize::from(symbol)]);
        if *state < LOWEST {
            *state = *state << 16 | u32::from(u16::from_le_bytes(take(rest)?));
        }
        Ok(symbol)
    }

    /// Reads the frequencies and returns what follows them.
    fn read_frequencies<'a>(
        &mut self,
        bytes: &'a [u8],
        alphabet: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let mut rest = bytes;
        let [last] = take(&mut rest)?;
        let last = usize::from(last);
        if last >= alphabet {
            let (found, expected) = (last as u64, alphabet as u64 - 1);
            return Err(DecodeError::Field { field: "highest symbol", found, expected });
        }
        self.frequency.fill(0);
        let mut sum = 0;
        for frequency in &mut self.frequency[..=last] {
            *frequency = u16::from_le_bytes(take(&mut rest)?);
            sum += usize::from(*frequency);
        }
        DecodeError::expect("sum of frequencies", sum, TOTAL as usize)?;
        if self.frequency[last] == 0 {
            return Err(DecodeError::Field { field: "last frequency", found: 0, expected: 1 });
        }
        self.sum();
        let mut slots = &mut self.slots[..];
        for (symbol, &frequency) in self.frequency[..=last].iter().enumerate() {
            let (own, behind) = slots.split_at_mut(usize::from(frequency));
            own.fill(symbol as u8);
            slots = behind;
        }
        Ok(rest)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let Some((head, behind)) = rest.split_first_chunk::<N>() else {
        return Err(DecodeError::Truncated { need: N, have: rest.len() });
    };
    *rest = behind;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coded(symbols: &[u8]) -> Vec<u8> {
        let mut bytes = vec![];
        Rans::default().encode(symbols, &mut bytes);
        bytes
    }

    fn comes_back(symbols: &[u8], alphabet: usize) -> usize {
        let bytes = coded(symbols);
        let mut back = vec![0; symbols.len()];
        assert_eq!(Rans::default().decode(&bytes, alphabet, &mut back), Ok(()));
        assert!(back == symbols);
        bytes.len()
    }

    #[test]
    fn one_symbol_alone_takes_no_bits() {
        for symbol in [0, 1, 255] {
            let table = 1 + 2 * (symbol as usize + 1);
            for len in [0, 1, 5, 100_000] {
                let table = if len == 0 { 3 } else { table };
                assert_eq!(comes_back(&vec![symbol; len], 256), table + 16);
            }
        }
    }

    #[test]
    fn skewed_symbols_take_about_their_entropy() {
        let mut lanes = crate::key::Key::shared(1, crate::key::Stream::Noise).lanes();
        let symbols: Vec<u8> = (0..10_000)
            .flat_map(|_| lanes.draw().map(|r| r.leading_zeros().min(14) as u8))
            .collect();
        // Geometric: two bits a symbol.
        let bits = 8.0 * comes_back(&symbols, 15) as f64 / symbols.len() as f64;
        assert!((1.98..2.02).contains(&bits), "{bits} bits a symbol");
    }

    #[test]
    fn the_longest_codes_are_no_longer_than_said() {
        for width in 1..=8 {
            for len in [0, 1, 3, 64, 1000, 100_000] {
                let even: Vec<u8> = (0..len).map(|i| (i % (1 << width)) as u8).collect();
                // Each rare symbol costs 12 bits.
                let rare: Vec<u8> =
                    (0..len).map(|i| if i < 1 << width { i as u8 } else { 0 }).collect();
                for symbols in [even, rare] {
                    assert!(comes_back(&symbols, 1 << width) <= max_len(len, width));
                }
            }
        }
    }

    #[test]
    fn every_truncation_and_a_byte_too_many_are_errors() {
        let symbols: Vec<u8> = (0..300u32).map(|i| (7 * i % 15) as u8).collect();
        let bytes = coded(&symbols);
        let mut back = vec![0; symbols.len()];
        for end in 0..bytes.len() {
            assert!(Rans::default().decode(&bytes[..end], 15, &mut back).is_err(), "{end} bytes");
        }
        let long = [&bytes[..], &[0]].concat();
        assert!(Rans::default().decode(&long, 15, &mut back).is_err());
        assert!(Rans::default().decode(&bytes, 14, &mut back).is_err(), "a smaller alphabet");
    }

    proptest! {
        #[test]
        fn any_symbols_come_back(symbols in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(comes_back(&symbols, 256) <= max_len(symbols.len(), 8));
        }

        #[test]
        fn hostile_bytes_are_decoded_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            len in 0usize..100,
        ) {
            let mut back = vec![0; len];
            let _ = Rans::default().decode(&bytes, 15, &mut back);
            // Behind a true table.
            let head = 1 + 2 * 15;
            let table = &coded(&(0..150).map(|i| i % 15).collect::<Vec<u8>>())[..head];
            bytes.splice(0..0, table.iter().copied());
            if Rans::default().decode(&bytes, 15, &mut back).is_ok() {
                prop_assert!(back.iter().all(|&symbol| symbol < 15));
            }
        }
    }
}
