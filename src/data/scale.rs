//! Scaling of features by what the lower level's samples of all workers say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Features, Row};
use crate::scalar::Scalar;

/// How features are scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// As they are.
    #[default]
    None,
    /// Mean 0 and variance 1 of each feature over the lower level's samples of all workers; dense
    /// data only.
    Standard,
    /// Each feature divided by its largest magnitude among those samples; zeros stay zeros.
    MaxAbs,
}

/// What has been seen of each feature.
pub enum Seen {
    Nothing,
    /// Number of samples, means, and sums of squares around them (Welford 1962).
    Moments(f64, Vec<[f64; 2]>),
    /// Largest magnitudes.
    Largest(Vec<f64>),
}

impl Seen {
    pub fn new(scale: Scale, features: usize) -> Self {
        match scale {
            Scale::None => Self::Nothing,
            Scale::Standard => Self::Moments(0.0, vec![[0.0; 2]; features]),
            Scale::MaxAbs => Self::Largest(vec![0.0; features]),
        }
    }

    /// Takes in one sample; the order of samples decides the last bits.
    pub fn add<F: Scalar>(&mut self, row: Row<'_, F>) {
        match self {
            Self::Nothing => {}
            Self::Moments(count, moments) => {
                *count += 1.0;
                let share = 1.0 / *count;
                let mut kept = row.columns.iter().zip(row.values).peekable();
                for (j, [mean, squares]) in moments.iter_mut().enumerate() {
                    let here = kept.next_if(|(column, _)| **column as usize == j);
                    let v = here.map_or(0.0, |(_, v)| v.wide());
                    let off = v - *mean;
                    *mean += off * share;
                    *squares += off * (v - *mean);
                }
            }
            Self::Largest(largest) => {
                for (&column, v) in row.columns.iter().zip(row.values) {
                    let largest = &mut largest[column as usize];
                    *largest = largest.max(v.wide().abs());
                }
            }
        }
    }

    /// Scales samples.
    pub fn apply<F: Scalar>(&self, features: &mut Features<F>) {
        // Relative to the mean, what rounding leaves of the variance of a constant feature.
        let rounding = f64::EPSILON.sqrt();
        match self {
            Self::Nothing => {}
            Self::Moments(count, moments) => {
                let scales: Vec<[f64; 2]> = (moments.iter())
                    .map(|&[mean, squares]| {
                        let deviation = (squares / count).sqrt();
                        let constant = deviation <= rounding * mean.abs();
                        [mean, if constant { 0.0 } else { 1.0 / deviation }]
                    })
                    .collect();
                features.map(|j, v| F::lit((v.wide() - scales[j][0]) * scales[j][1]));
            }
            Self::Largest(largest) => features.map(|j, v| match largest[j] > 0.0 {
                true => F::lit(v.wide() / largest[j]),
                false => v,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn scaled(scale: Scale, seen: &Array2<f64>, of: &Array2<f64>) -> Array2<f64> {
        let mut all = Seen::new(scale, seen.ncols());
        let columns: Vec<u32> = (0..seen.ncols() as u32).collect();
        for row in seen.rows() {
            all.add(Row { columns: &columns, values: row.as_slice().unwrap() });
        }
        let mut features = Features::Dense(of.clone());
        all.apply(&mut features);
        match features {
            Features::Dense(array) => array,
            Features::Sparse(_) => unreachable!("dense before"),
        }
    }

    #[test]
    fn features_are_scaled_by_what_was_seen() {
        let seen = array![[1.0, 7.1, 0.0, -8.0], [3.0, 7.1, 0.0, 4.0]];
        let of = array![[5.0, 9.0, 2.0, 2.0]];
        assert_eq!(scaled(Scale::None, &seen, &of), of);
        assert_eq!(scaled(Scale::Standard, &seen, &of), array![[3.0, 0.0, 0.0, 4.0 / 6.0]]);
        assert_eq!(scaled(Scale::MaxAbs, &seen, &of), array![[5.0 / 3.0, 9.0 / 7.1, 2.0, 0.25]]);
    }

    #[test]
    fn entries_that_are_not_kept_count_as_zero() {
        let mut seen = Seen::new(Scale::Standard, 2);
        for values in [[2.0], [4.0], [0.0], [2.0]] {
            seen.add(Row { columns: &[1], values: &values });
        }
        let Seen::Moments(count, moments) = seen else { unreachable!("asked for moments") };
        assert_eq!((count, moments), (4.0, vec![[0.0, 0.0], [2.0, 8.0]]));
    }
}
