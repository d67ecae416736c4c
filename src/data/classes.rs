//! From the labels of files to classes.

use std::collections::HashMap;

use super::{Label, MAX_CLASSES};

/// The distinct labels of a training file: its classes.
#[derive(Debug, Default)]
pub struct Classes {
    /// Class of each label, by the label's bits.
    known: HashMap<u64, Label>,
    labels: Vec<f64>,
}

impl Classes {
    /// The class of a label of the training file, in order of appearance until [`Classes::sort`].
    pub fn learn(&mut self, label: f64) -> Result<Label, String> {
        if let Some(&class) = self.known.get(&label.to_bits()) {
            return Ok(class);
        }
        if self.labels.len() == MAX_CLASSES {
            return Err(format!("follows {MAX_CLASSES} others, the most that are supported"));
        }
        let class = self.labels.len() as Label;
        self.known.insert(label.to_bits(), class);
        self.labels.push(label);
        Ok(class)
    }

    /// Numbers the classes in ascending order of their labels; changes those already given out.
    pub fn sort(&mut self, given: &mut [Label]) {
        let mut order: Vec<Label> = (0..self.labels.len()).map(|class| class as Label).collect();
        order.sort_by(|&a, &b| self.labels[usize::from(a)].total_cmp(&self.labels[usize::from(b)]));
        let mut class_of = vec![0; order.len()];
        for (class, &before) in order.iter().enumerate() {
            class_of[usize::from(before)] = class as Label;
        }
        self.labels.sort_by(f64::total_cmp);
        self.known.values_mut().for_each(|class| *class = class_of[usize::from(*class)]);
        given.iter_mut().for_each(|class| *class = class_of[usize::from(*class)]);
    }

    /// The class of a label of another file.
    pub fn of(&self, label: f64) -> Result<Label, String> {
        let class = self.known.get(&label.to_bits()).copied();
        class.ok_or_else(|| "is no label of the training file".into())
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.labels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_ascend_with_the_labels() {
        let mut classes = Classes::default();
        let mut given: Vec<Label> =
            [3.0, -1.0, 2.5, -1.0].map(|label| classes.learn(label).unwrap()).to_vec();
        classes.sort(&mut given);
        assert_eq!((given, classes.len()), (vec![2, 0, 1, 0], 3));
        assert_eq!(classes.of(2.5), Ok(1));
        assert!(classes.of(2.0).is_err());
    }

    #[test]
    fn there_are_at_most_so_many() {
        let mut classes = Classes::default();
        for label in 0..MAX_CLASSES {
            assert_eq!(classes.learn(label as f64), Ok(label as Label));
        }
        assert!(classes.learn(-1.0).unwrap_err().contains("65536"));
        assert_eq!(classes.learn(7.0), Ok(7));
    }
}
