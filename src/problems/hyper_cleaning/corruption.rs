//! Corrupted labels, known to all ranks without anybody's samples.

use rand::RngExt;

use crate::data::Label;
use crate::key::{Key, Stream};

/// Which of a worker's labels are replaced: each with the given probability by a uniform one, which may
/// be the same. What is drawn is how far the label moves on, 0 for not at all, so that every rank can
/// tell whose labels are wrong.
pub fn shifts(
    seed: u64,
    worker: usize,
    samples: usize,
    probability: f64,
    classes: usize,
) -> impl Iterator<Item = Label> {
    let mut rng = Key::shared(seed, Stream::Corruption).worker(worker).rng();
    (0..samples).map(move |_| {
        let replaced = rng.random_bool(probability);
        let shift = rng.random_range(0..classes) as Label;
        if replaced { shift } else { 0 }
    })
}

/// The label that a shift makes of a label.
pub fn corrupted(label: Label, shift: Label, classes: usize) -> Label {
    ((usize::from(label) + usize::from(shift)) % classes) as Label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_replaced_by_uniform_ones_with_the_given_probability() {
        let (samples, classes) = (100_000, 10);
        let shifts: Vec<Label> = shifts(1, 2, samples, 0.5, classes).collect();
        let mut counts = [0.0; 10];
        shifts.iter().for_each(|&shift| counts[usize::from(shift)] += 1.0 / samples as f64);
        // 0.5 are replaced, a tenth of those by the same label.
        assert!((counts[0] - 0.55).abs() < 0.01, "{counts:?}");
        assert!(counts[1..].iter().all(|share| (share - 0.05).abs() < 0.005), "{counts:?}");
        assert_eq!([corrupted(9, 0, 10), corrupted(9, 3, 10)], [9, 2]);
        assert!(super::shifts(1, 2, 100, 0.0, classes).all(|shift| shift == 0));
    }
}
