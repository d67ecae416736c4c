//! Rounding of a bucket to the levels 0, u, 2u, .. su of its scale m = su, with signs.

use super::scale::Unit;
use crate::key::Lanes;
use crate::scalar::Scalar;

/// Entries that are rounded together.
pub const ROUND_BLOCK: usize = 32;

/// How entries between two levels are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dice {
    /// To the nearest level.
    None,
    /// Up with the probability of the distance from the level below, from 16 random bits: a
    /// probability is off by at most 2^-17. For up to 127 levels, where levels and draws add exactly.
    Halves,
    /// The same from 23 random bits, for any number of levels.
    Words,
}

impl Dice {
    /// Stochastic rounding to `levels` levels in buckets of `len` entries.
    ///
    /// Entries below 2^-17 of a level are lost to 16 bits. In a bucket of n entries they weigh at
    /// most n 2^-34 of a squared level, which 23 bits keep negligible in long buckets, too.
    pub fn stochastic(levels: usize, len: usize) -> Self {
        if levels <= 127 && len <= 4096 { Self::Halves } else { Self::Words }
    }
}

/// The levels of a bucket.
#[derive(Clone, Copy, Debug)]
pub struct Grid<F> {
    first: F,
    per_level: F,
}

impl<F: Scalar> Grid<F> {
    /// 0, m/s, 2m/s, .. m for the scale m >= 0 and s levels.
    ///
    /// |v|/u is computed as |v| first * per_level; per_level is rounded down so that no |v| <= m is
    /// above level s. For m = 0 all is level 0.
    pub fn new(scale: F, levels: usize) -> Self {
        let Unit { first, second } = Unit::of(scale);
        if scale == F::zero() {
            return Self { first, per_level: F::zero() };
        }
        let levels = F::lit(levels as f64);
        let mut per_level = levels / (scale * first * second) * second;
        while scale * first * per_level > levels {
            per_level = per_level.below();
        }
        Self { first, per_level }
    }

    /// |v| in levels.
    #[inline(always)]
    fn position(self, v: F) -> F {
        v.abs() * self.first * self.per_level
    }
}

/// Length that a buffer for the symbols of `len` entries needs: whole blocks, and as many zeros
/// behind the last entry as any packing pads with.
pub fn symbols_len(len: usize) -> usize {
    (len + 8).next_multiple_of(ROUND_BLOCK)
}

/// The symbols level | sign << `shift` of a bucket, in `symbols` [`symbols_len(v.len())`]; behind the last
/// entry they are 0.
#[inline(always)]
pub fn quantise<F: Scalar>(
    v: &[F],
    grid: Grid<F>,
    shift: u32,
    dice: Dice,
    lanes: &mut Lanes,
    symbols: &mut [u16],
) {
    match dice {
        Dice::None => in_blocks(v, symbols, |v, out| nearest(v, grid, shift, out)),
        Dice::Halves => in_blocks(v, symbols, |v, out| halves(v, grid, shift, lanes, out)),
        Dice::Words => in_blocks(v, symbols, |v, out| words(v, grid, shift, lanes, out)),
    }
}

#[inline(always)]
fn in_blocks<F: Scalar>(
    v: &[F],
    symbols: &mut [u16],
    mut block: impl FnMut(&[F; ROUND_BLOCK], &mut [u16; ROUND_BLOCK]),
) {
    let (full, tail) = v.as_chunks::<ROUND_BLOCK>();
    let (blocks, _) = symbols.as_chunks_mut::<ROUND_BLOCK>();
    let (head, rest) = blocks.split_at_mut(full.len());
    for (v, out) in full.iter().zip(head) {
        block(v, out);
    }
    if let Some((last, _)) = rest.split_first_mut().filter(|_| !tail.is_empty()) {
        let mut padded = [F::zero(); ROUND_BLOCK];
        padded[..tail.len()].copy_from_slice(tail);
        block(&padded, last);
    }
    symbols[v.len()..].fill(0);
}

#[inline(always)]
fn nearest<F: Scalar>(
    v: &[F; ROUND_BLOCK],
    grid: Grid<F>,
    shift: u32,
    out: &mut [u16; ROUND_BLOCK],
) {
    for j in 0..ROUND_BLOCK {
        out[j] = (grid.position(v[j]).nearest().1 | v[j].sign_bit() << shift) as u16;
    }
}

/// nearest(t + r) with r uniform on (-1/2, 1/2): two entries share a draw of 32 bits.
#[inline(always)]
fn halves<F: Scalar>(
    v: &[F; ROUND_BLOCK],
    grid: Grid<F>,
    shift: u32,
    lanes: &mut Lanes,
    out: &mut [u16; ROUND_BLOCK],
) {
    let draw = lanes.draw();
    let symbol = |v: F, bits: u32| {
        // 16 of 23 bits, and the middle of what the others could be.
        let r = F::one_plus(bits & 0x7f_ff80 | 0x40) - F::lit(1.5);
        ((grid.position(v) + r).nearest().1 | v.sign_bit() << shift) as u16
    };
    for j in 0..ROUND_BLOCK / 2 {
        out[j] = symbol(v[j], draw[j] >> 9);
        out[j + ROUND_BLOCK / 2] = symbol(v[j + ROUND_BLOCK / 2], draw[j] << 7);
    }
}

/// n + nearest(t - n + r), n = nearest(t): t - n is exact, so that no bit of r is lost to a large t.
#[inline(always)]
fn words<F: Scalar>(
    v: &[F; ROUND_BLOCK],
    grid: Grid<F>,
    shift: u32,
    lanes: &mut Lanes,
    out: &mut [u16; ROUND_BLOCK],
) {
    let (halves, _) = out.as_chunks_mut::<{ ROUND_BLOCK / 2 }>();
    for (v, out) in v.as_chunks::<{ ROUND_BLOCK / 2 }>().0.iter().zip(halves) {
        let draw = lanes.draw();
        for j in 0..ROUND_BLOCK / 2 {
            let r = F::one_plus(draw[j] >> 9) - F::lit(1.5);
            let t = grid.position(v[j]);
            let (whole, level) = t.nearest();
            let (_, step) = (t - whole + r).nearest();
            out[j] = (level.wrapping_add(step) & 0x7fff | v[j].sign_bit() << shift) as u16;
        }
    }
}

/// Decoding factor of a level: the largest c near 1/s for which s c is not rounded above 1, so that
/// level s of the scale m is no larger than m.
pub fn per_scale<F: Scalar>(levels: usize) -> F {
    let s = F::lit(levels as f64);
    let c = F::one() / s;
    if s * c > F::one() { c.below() } else { c }
}

/// out += (level c) m for the symbols of a bucket.
#[inline(always)]
pub fn add_symbols<F: Scalar>(symbols: &[u16], shift: u32, c: F, scale: F, out: &mut [F]) {
    for (out, &symbol) in out.iter_mut().zip(symbols) {
        *out += F::of_int(signed(symbol, shift)) * c * scale;
    }
}

/// The level with its sign.
#[inline(always)]
pub fn signed(symbol: u16, shift: u32) -> i32 {
    let negative = -i32::from(symbol >> shift);
    let level = i32::from(symbol) & ((1 << shift) - 1);
    (level ^ negative) - negative
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Key, Stream};

    fn levels_of<F: Scalar>(v: &[F], scale: F, levels: usize, dice: Dice) -> Vec<i32> {
        let mut lanes = Key::shared(3, Stream::CompressX).lanes();
        let mut symbols = vec![9; symbols_len(v.len())];
        quantise(v, Grid::new(scale, levels), 15, dice, &mut lanes, &mut symbols);
        assert!(symbols[v.len()..].iter().all(|&s| s == 0));
        symbols[..v.len()].iter().map(|&s| signed(s, 15)).collect()
    }

    fn never_above_the_last<F: Scalar>(scales: &[F]) {
        for &m in scales {
            for levels in [1, 2, 3, 7, 49, 100, 127, 128, 255, 1000, 32767] {
                for dice in [Dice::None, Dice::stochastic(levels, 300)] {
                    let top = levels as i32;
                    assert!(levels_of(&[m; 300], m, levels, dice).iter().all(|&l| l == top));
                    let below = levels_of(&[-m.below(); 300], m, levels, dice);
                    assert!(below.iter().all(|&l| l <= 0 && l >= -top), "{m} {levels} {dice:?}");
                }
                assert!(F::of_int(levels as i32) * per_scale::<F>(levels) <= F::one());
            }
        }
    }

    #[test]
    fn no_entry_is_above_the_last_level() {
        never_above_the_last(&[f32::MAX, 1.0, 0.3, 7.7e-12, f32::MIN_POSITIVE, f32::from_bits(1)]);
        never_above_the_last(&[f64::MAX, 0.3, 1e-300, f64::from_bits(1)]);
    }

    #[test]
    fn a_bucket_of_zeros_is_level_0() {
        for dice in [Dice::None, Dice::Halves, Dice::Words] {
            assert_eq!(levels_of(&[0.0f32, -0.0], 0.0, 7, dice), [0, 0]);
        }
    }

    #[test]
    fn the_probability_of_the_level_above_is_the_distance_from_the_one_below() {
        for (levels, dice) in [(7, Dice::Halves), (7, Dice::Words), (32767, Dice::Words)] {
            let draws = 200_000;
            let v = (levels as f64 - 0.7) / levels as f64;
            let found = levels_of(&vec![v; draws], 1.0, levels, dice);
            assert!(found.iter().all(|&l| l == levels as i32 - 1 || l == levels as i32));
            let up = found.iter().filter(|&&l| l == levels as i32).count() as f64;
            let sigma = (draws as f64 * 0.3 * 0.7).sqrt();
            assert!((up - 0.3 * draws as f64).abs() < 4.0 * sigma, "{up} of {draws}");
        }
    }
}
