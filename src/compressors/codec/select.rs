//! The K entries of largest magnitude, exactly; of ties the lowest indices; in ascending order.
//!
//! A bracket [lo, hi) around the K-th largest magnitude is guessed, from the last vector's or from a
//! sample. One pass compacts the entries that reach `lo`; a selection among those below `hi` finds
//! the threshold, and a second pass over what was compacted drops the rest. A wrong guess costs time
//! but changes nothing: a selection over all entries is what remains.

use super::compact::{self, SLACK};
use crate::scalar::Scalar;

/// Below this length a selection over all entries is as fast as a sample.
const SMALL: usize = 8192;

/// Selected entries, and the buffers for the selection.
pub struct Selection<F> {
    indices: Vec<u32>,
    values: Vec<F>,
    selected: usize,
    scratch: Vec<F>,
}

impl<F: Scalar> Default for Selection<F> {
    fn default() -> Self {
        Self { indices: vec![], values: vec![], selected: 0, scratch: vec![] }
    }
}

/// The threshold of the last selection at one place, as [`Scalar::magnitude`] has it.
pub type Guess = Option<u64>;

impl<F: Scalar> Selection<F> {
    /// Indices of what is selected.
    pub fn indices(&self) -> &[u32] {
        &self.indices[..self.selected]
    }

    /// Values of what is selected.
    pub fn values(&self) -> &[F] {
        &self.values[..self.selected]
    }

    /// Forgets what is selected.
    pub fn clear(&mut self) {
        self.selected = 0;
    }

    /// Adds the `count` largest of `v`, `offset` added to their indices; 1 <= count <= [v].
    pub fn add(&mut self, v: &[F], offset: u32, count: usize, guess: &mut Guess) {
        let room = (2 * count + 4096).min(v.len()) + SLACK;
        if self.indices.len() < self.selected + room {
            self.indices.resize(self.selected + room, 0);
            self.values.resize(self.selected + room, F::zero());
        }
        let warm = guess.and_then(|last| {
            let margin = margin::<F>();
            self.bracketed(v, offset, count, last.saturating_sub(margin), last + margin)
        });
        let found = warm.or_else(|| {
            let (lo, hi) = (v.len() >= SMALL).then(|| self.sample(v, count))?;
            self.bracketed(v, offset, count, lo, hi)
        });
        *guess = Some(found.unwrap_or_else(|| self.exhaustive(v, offset, count)));
        self.selected += count;
    }

    /// Selects if the compaction from `lo` on has room and finds enough; returns the threshold.
    fn bracketed(&mut self, v: &[F], offset: u32, count: usize, lo: u64, hi: u64) -> Option<u64> {
        if self.scratch.len() < self.indices.len() {
            self.scratch.resize(self.indices.len(), F::zero());
        }
        let indices = &mut self.indices[self.selected..];
        let values = &mut self.values[self.selected..];
        let found = compact::at_least(v, offset, lo, indices, values)?;
        if found < count {
            return None;
        }
        let (indices, values) = (&mut indices[..found], &mut values[..found]);
        let mut inside = compact::below(values, hi, &mut self.scratch);
        if found - inside >= count {
            inside = compact::below(values, u64::MAX, &mut self.scratch);
        }
        let above = found - inside;
        let (threshold, more) = nth_largest(&mut self.scratch[..inside], count - above);
        let kept = compact::shrink(threshold, indices, values);
        drop_last_ties(&mut indices[..kept], &mut values[..kept], threshold, count, above + more);
        Some(threshold)
    }

    /// A bracket from a stratified sample: the magnitudes 3.5 standard deviations of its rank above and
    /// below that of the K-th largest.
    fn sample(&mut self, v: &[F], count: usize) -> (u64, u64) {
        let size = (v.len() / 64).clamp(2048, 1 << 16);
        self.scratch.resize(self.scratch.len().max(size), F::zero());
        let sample = &mut self.scratch[..size];
        let mut jitter = 0u32;
        for (stratum, place) in sample.iter_mut().enumerate() {
            let (from, to) = (stratum * v.len() / size, (stratum + 1) * v.len() / size);
            // The golden ratio's multiples: evenly spread, and no period that a layout might have.
            jitter = jitter.wrapping_add(0x9e37_79b9);
            *place = v[from + (((to - from) as u64 * u64::from(jitter)) >> 32) as usize];
        }
        let share = count as f64 / v.len() as f64;
        let rank = share * size as f64;
        let spread = 3.5 * (rank * (1.0 - share)).sqrt();
        let (low, high) = ((rank + spread) as usize + 2, (rank - spread) as usize);
        let order = |a: &F, b: &F| b.magnitude().cmp(&a.magnitude());
        let (larger, lo) = match low < size {
            true => {
                let (larger, at, _) = sample.select_nth_unstable_by(low, order);
                (larger, at.magnitude())
            }
            false => (sample, 0),
        };
        let hi = match high {
            0 => u64::MAX,
            high => larger.select_nth_unstable_by(high - 1, order).1.magnitude() + 1,
        };
        (lo, hi)
    }

    /// Selects by looking at all entries; returns the threshold.
    fn exhaustive(&mut self, v: &[F], offset: u32, count: usize) -> u64 {
        self.scratch.clear();
        self.scratch.extend_from_slice(v);
        let (threshold, above) = nth_largest(&mut self.scratch, count);
        let indices = &mut self.indices[self.selected..];
        let values = &mut self.values[self.selected..];
        let mut ties = count - above;
        let mut at = 0;
        for (index, &v) in (offset..).zip(v) {
            let magnitude = v.magnitude();
            let tie = magnitude == threshold && ties > 0;
            (indices[at], values[at]) = (index, v);
            ties -= usize::from(tie);
            at += usize::from(magnitude > threshold || tie);
        }
        threshold
    }
}

/// About 2 % of a magnitude, as a distance of [`Scalar::magnitude`]: 1.6 to 3.2 %.
fn margin<F: Scalar>() -> u64 {
    if F::BYTES == 4 { 1 << 18 } else { 1 << 47 }
}

/// The n-th largest magnitude and how many are larger.
fn nth_largest<F: Scalar>(values: &mut [F], n: usize) -> (u64, usize) {
    let (larger, at, _) =
        values.select_nth_unstable_by(n - 1, |a, b| b.magnitude().cmp(&a.magnitude()));
    let threshold = at.magnitude();
    (threshold, larger.iter().filter(|v| v.magnitude() > threshold).count())
}

/// Of pairs that reach the threshold, `above` of them strictly, leaves `count`: the last that are
/// equal to it go.
fn drop_last_ties<F: Scalar>(
    indices: &mut [u32],
    values: &mut [F],
    threshold: u64,
    count: usize,
    above: usize,
) {
    if values.len() == count {
        return;
    }
    let mut ties = count - above;
    let mut kept = 0;
    for at in 0..values.len() {
        let v = values[at];
        let tie = v.magnitude() == threshold;
        (indices[kept], values[kept]) = (indices[at], v);
        kept += usize::from(!tie || ties > 0);
        ties -= usize::from(tie && ties > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compressors::codec::one_level_at_a_time;
    use crate::key::{Key, Stream};
    use crate::simd::Level;

    /// Vectors on which a bracket fails in different ways.
    fn vectors<F: Scalar>(dim: usize) -> Vec<Vec<F>> {
        let tiny = F::min_positive_value() * F::lit(0.25);
        let special = [F::zero(), -F::zero(), tiny, -tiny, F::one(), -F::one(), F::lit(1e30)];
        let mut lanes = Key::shared(1, Stream::Noise).lanes();
        let mut draws = std::iter::repeat_with(move || lanes.draw()).flatten();
        let mut sum = |terms: u32| -> F {
            let sum: f64 =
                (0..terms).map(|_| f64::from(draws.next().unwrap()) * 2f64.powi(-32) - 0.5).sum();
            F::lit(sum)
        };
        let bell: Vec<F> = (0..dim).map(|_| sum(6)).collect();
        let coarse = bell.iter().map(|v| (*v * F::lit(4.0)).round()).collect();
        let layered = |(j, v): (usize, &F)| *v * F::lit(10f64.powi((8 * j / dim) as i32 - 4));
        vec![
            bell.iter().enumerate().map(layered).collect(),
            bell.iter().map(|v| *v * F::lit(1.01)).collect(),
            bell,
            coarse,
            (0..dim).map(|j| special[j * j % 7]).collect(),
            vec![F::zero(); dim],
            vec![-F::one(); dim],
            (0..dim).map(|j| if j % 97 == 5 { F::one() } else { F::zero() }).collect(),
            (0..dim).map(|j| F::lit(j as f64)).collect(),
            vec![F::lit(1e-3); dim],
        ]
    }

    fn is_a_stable_sort<F: Scalar>() {
        for dim in [1, 2, 17, 300, SMALL - 1, SMALL, SMALL + 7, 30_000] {
            for count in [1, dim / 100, dim / 10, dim / 2, dim - 1, dim].map(|k| k.clamp(1, dim)) {
                let mut guess = None;
                let mut selection = Selection::default();
                for v in vectors::<F>(dim) {
                    selection.clear();
                    selection.add(&v[..1], 7, 1, &mut None);
                    selection.add(&v, 9, count, &mut guess);
                    let mut order: Vec<u32> = (0..dim as u32).collect();
                    order.sort_by_key(|&j| std::cmp::Reverse(v[j as usize].magnitude()));
                    order.truncate(count);
                    order.sort_unstable();
                    let values: Vec<F> = order.iter().map(|&j| v[j as usize]).collect();
                    order.iter_mut().for_each(|j| *j += 9);
                    assert_eq!(selection.indices()[1..], order, "{count} of {dim}");
                    let bits = |v: &[F]| bytemuck::cast_slice::<F, u8>(v).to_vec();
                    assert_eq!(bits(&selection.values()[1..]), bits(&values), "{count} of {dim}");
                }
            }
        }
    }

    #[test]
    fn selection_is_a_stable_sort_whatever_the_guess_and_the_instructions() {
        let _alone = one_level_at_a_time();
        for level in Level::ALL {
            Level::at_most(level);
            is_a_stable_sort::<f32>();
        }
        is_a_stable_sort::<f64>();
    }

    /// As many entries of one magnitude as the buffers just hold, or just do not.
    fn ties_around_the_room<F: Scalar>() {
        let count = 300;
        let around = 2 * count + 4090..2 * count + 4116;
        for (ties, tail) in around.flat_map(|ties| (0..16).map(move |tail| (ties, tail))) {
            // None of the ties behind the last full vector, or all that have a place there.
            for behind in [0, tail.min(8), tail] {
                let mut v = vec![F::zero(); 20_000 + tail];
                v[..ties - behind].fill(F::one());
                v[20_000 + tail - behind..].fill(-F::one());
                let expected: Vec<u32> = (0..count as u32).collect();
                for mut guess in [None, Some(F::one().magnitude())] {
                    let mut selection = Selection::default();
                    selection.add(&v, 0, count, &mut guess);
                    assert_eq!(selection.indices(), expected, "{ties} ties, tail {tail}");
                }
            }
        }
    }

    #[test]
    fn ties_that_just_fit_the_buffers_are_selected_from() {
        let _alone = one_level_at_a_time();
        for level in Level::ALL {
            Level::at_most(level);
            ties_around_the_room::<f32>();
            ties_around_the_room::<f64>();
        }
    }

    #[test]
    fn what_is_not_a_number_is_largest() {
        let mut v = vec![1.0f32; 10_000];
        (v[77], v[99], v[5000]) = (f32::NAN, -f32::INFINITY, -f32::NAN);
        let mut selection = Selection::default();
        for _ in 0..2 {
            selection.clear();
            selection.add(&v, 0, 3, &mut Some(1f32.magnitude()));
            assert_eq!(selection.indices(), [77, 99, 5000]);
        }
    }
}
