//! The features of samples, dense or sparse, and the two products that linear models need.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::csr::Csr;
use crate::product::product;
use crate::scalar::Scalar;

/// One sample a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Features<F> {
    /// Every entry [n x features].
    Dense(Array2<F>),
    /// The entries that are not zero.
    Sparse(Csr<F>),
}

/// Some rows of a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows<'a> {
    /// Consecutive ones.
    Slice(Range<usize>),
    /// Any, in this order, also more than once.
    Chosen(&'a [u32]),
}

impl Rows<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Slice(range) => range.len(),
            Self::Chosen(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their positions.
    fn positions(&self) -> impl Iterator<Item = usize> {
        let (range, rows): (_, &[u32]) = match self {
            Self::Slice(range) => (range.clone(), &[]),
            Self::Chosen(rows) => (0..0, rows),
        };
        range.chain(rows.iter().map(|&row| row as usize))
    }
}

/// One row as it is read: its entries that are not zero, in ascending columns.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a, F> {
    /// Columns, each below the number of features.
    pub columns: &'a [u32],
    /// What stands there.
    pub values: &'a [F],
}

impl<F: Scalar> Features<F> {
    /// Room for rows of these numbers of entries, all of them zero: a matrix that is dense, or that
    /// has room for just these entries. `None` if a dense one does not fit memory.
    pub(super) fn zeros(
        dense: bool,
        features: usize,
        entries: impl Iterator<Item = usize>,
    ) -> Option<Self> {
        if !dense {
            return Some(Self::Sparse(Csr::zeros(features, entries)));
        }
        let rows = entries.count();
        // Asks before `zeros` ends the process. Sparse rows take no more than their file did.
        Vec::<F>::new().try_reserve_exact(rows.checked_mul(features)?).ok()?;
        Some(Self::Dense(Array2::zeros((rows, features))))
    }

    /// Writes a row of zeros. `false` if it does not have the entries that there is room for.
    pub(super) fn set(&mut self, i: usize, row: Row<'_, F>) -> bool {
        let array = match self {
            Self::Sparse(csr) => return csr.set(i, row.columns, row.values),
            Self::Dense(array) => array,
        };
        let mut out = array.row_mut(i);
        if row.columns.len() == out.len() {
            out.iter_mut().zip(row.values).for_each(|(out, &v)| *out = v);
        } else {
            row.columns.iter().zip(row.values).for_each(|(&j, &v)| out[j as usize] = v);
        }
        true
    }

    /// Number of samples.
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense(array) => array.nrows(),
            Self::Sparse(csr) => csr.rows(),
        }
    }

    /// Entries of a sample.
    pub fn columns(&self) -> usize {
        match self {
            Self::Dense(array) => array.ncols(),
            Self::Sparse(csr) => csr.columns(),
        }
    }

    /// Whether only the entries that are not zero are kept.
    pub fn is_sparse(&self) -> bool {
        matches!(self, Self::Sparse(_))
    }

    /// Copies rows to `room` [rows x features].
    ///
    /// # Panics
    /// If there is no such row, or the shapes differ.
    pub fn gather(&self, rows: Rows<'_>, mut room: ArrayViewMut2<'_, F>) {
        assert_eq!(room.dim(), (rows.len(), self.columns()));
        match (self, &rows) {
            (Self::Dense(array), Rows::Slice(range)) => {
                room.assign(&array.slice(s![range.clone(), ..]));
            }
            _ => {
                for (i, out) in rows.positions().zip(room.rows_mut()) {
                    self.copy_row(i, out);
                }
            }
        }
    }

    /// Copies one row to `room` [features].
    pub(super) fn copy_row(&self, i: usize, mut room: ndarray::ArrayViewMut1<'_, F>) {
        match self {
            Self::Dense(array) => room.assign(&array.row(i)),
            Self::Sparse(csr) => {
                room.fill(F::zero());
                csr.row(i).for_each(|(j, v)| room[j] = v);
            }
        }
    }

    /// Consecutive rows as a dense matrix: where they lie, or written out in `room`, which grows to
    /// their size once.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn dense<'a>(&'a self, rows: Range<usize>, room: &'a mut Vec<F>) -> ArrayView2<'a, F> {
        match self {
            Self::Dense(array) => array.slice(s![rows, ..]),
            Self::Sparse(_) => self.copied(Rows::Slice(rows), room),
        }
    }

    /// Rows ready to be multiplied. Dense rows that are not consecutive are gathered in `room`, which
    /// grows to their size once; others are used where they lie.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn choose<'a>(&'a self, rows: Rows<'a>, room: &'a mut Vec<F>) -> Chosen<'a, F> {
        match (self, rows) {
            (Self::Sparse(csr), rows) => Chosen(Kept::Sparse(csr, rows)),
            (Self::Dense(array), Rows::Slice(range)) => {
                Chosen(Kept::Dense(array.slice(s![range, ..])))
            }
            (Self::Dense(_), rows) => Chosen(Kept::Dense(self.copied(rows, room))),
        }
    }

    fn copied<'a>(&self, rows: Rows<'_>, room: &'a mut Vec<F>) -> ArrayView2<'a, F> {
        let shape = (rows.len(), self.columns());
        let len = shape.0 * shape.1;
        if room.len() < len {
            room.resize(len, F::zero());
        }
        let room = &mut room[..len];
        let view = ArrayViewMut2::from_shape(shape, &mut *room).expect("room for the rows");
        self.gather(rows, view);
        ArrayView2::from_shape(shape, room).expect("room for the rows")
    }

    /// Copy in double precision.
    pub fn wide(&self) -> Features<f64> {
        match self {
            Self::Dense(array) => Features::Dense(array.mapv(F::wide)),
            Self::Sparse(csr) => Features::Sparse(csr.wide()),
        }
    }

    /// Changes every kept entry, given its column: what is zero and not kept stays zero.
    pub(super) fn map(&mut self, change: impl Fn(usize, F) -> F) {
        match self {
            Self::Dense(array) => {
                for mut row in array.rows_mut() {
                    row.iter_mut().enumerate().for_each(|(j, v)| *v = change(j, *v));
                }
            }
            Self::Sparse(csr) => csr.map(change),
        }
    }

    /// Bytes that rows with this many entries that are not zero take.
    pub(super) fn bytes(dense: bool, rows: usize, features: usize, entries: usize) -> usize {
        match dense {
            true => rows * features * F::BYTES,
            false => Csr::<F>::bytes(rows, entries),
        }
    }
}

/// Rows A [rows x features] of [`Features`], as [`Features::choose`] lends them.
#[derive(Clone, Debug)]
pub struct Chosen<'a, F>(Kept<'a, F>);

#[derive(Clone, Debug)]
enum Kept<'a, F> {
    Dense(ArrayView2<'a, F>),
    Sparse(&'a Csr<F>, Rows<'a>),
}

impl<F: Scalar> Chosen<'_, F> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match &self.0 {
            Kept::Dense(array) => array.nrows(),
            Kept::Sparse(_, rows) => rows.len(),
        }
    }

    /// Entries of a row.
    pub fn columns(&self) -> usize {
        match &self.0 {
            Kept::Dense(array) => array.ncols(),
            Kept::Sparse(csr, _) => csr.columns(),
        }
    }

    /// out [rows x n] = A Y, for Y [features x n]; both row-major.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn scores_into(&self, y: &[F], n: usize, out: &mut [F]) {
        match &self.0 {
            Kept::Dense(array) => {
                let y = ArrayView2::from_shape((array.ncols(), n), y).expect("Y [features x n]");
                let out = ArrayViewMut2::from_shape((array.nrows(), n), out);
                product(array.view(), y, false, out.expect("out [rows x n]"));
            }
            Kept::Sparse(csr, rows) => csr.scores_into(rows.positions(), y, n, out),
        }
    }

    /// out [features x n] += A'R, for R [rows x n]; both row-major.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn add_transposed(&self, r: &[F], n: usize, out: &mut [F]) {
        match &self.0 {
            Kept::Dense(array) => {
                let r = ArrayView2::from_shape((array.nrows(), n), r).expect("R [rows x n]");
                let out = ArrayViewMut2::from_shape((array.ncols(), n), out);
                product(array.t(), r, true, out.expect("out [features x n]"));
            }
            Kept::Sparse(csr, rows) => csr.add_transposed(rows.positions(), r, n, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same numbers, dense and sparse.
    fn both() -> [Features<f64>; 2] {
        let entry = |i: usize, j: usize| {
            if (i + j).is_multiple_of(3) { 0.5 + i as f64 - j as f64 } else { 0.0 }
        };
        let array = Array2::from_shape_fn((7, 5), |(i, j)| entry(i, j));
        [true, false].map(|dense| {
            let entries =
                array.rows().into_iter().map(|row| row.iter().filter(|v| **v != 0.0).count());
            let mut features = Features::zeros(dense, 5, entries).unwrap();
            for (i, row) in array.rows().into_iter().enumerate() {
                let kept = (0..5).filter(|&j| row[j] != 0.0);
                let (columns, values): (Vec<u32>, Vec<f64>) =
                    kept.map(|j| (j as u32, row[j])).unzip();
                assert!(features.set(i, Row { columns: &columns, values: &values }));
            }
            features
        })
    }

    #[test]
    fn dense_and_sparse_agree_with_the_definition() {
        let [dense, sparse] = both();
        let all = match &dense {
            Features::Dense(array) => array.clone(),
            Features::Sparse(_) => unreachable!("asked for a dense one"),
        };
        for rows in [Rows::Slice(2..6), Rows::Chosen(&[3, 0, 3, 6])] {
            let mut expected = Array2::zeros((4, 5));
            for (i, mut row) in rows.positions().zip(expected.rows_mut()) {
                row.assign(&all.row(i));
            }
            for n in [1, 3] {
                let y: Vec<f64> = (0..5 * n).map(|i| i as f64 - 4.0).collect();
                let r: Vec<f64> = (0..4 * n).map(|i| 3.0 - i as f64).collect();
                let y_array = ArrayView2::from_shape((5, n), &y).unwrap();
                let r_array = ArrayView2::from_shape((4, n), &r).unwrap();
                for features in [&dense, &sparse] {
                    let mut room = vec![];
                    let chosen = features.choose(rows.clone(), &mut room);
                    assert_eq!((chosen.rows(), chosen.columns()), (4, 5));
                    let mut scores = vec![9.0; 4 * n];
                    chosen.scores_into(&y, n, &mut scores);
                    assert_eq!(scores, expected.dot(&y_array).into_raw_vec_and_offset().0);
                    let mut sums = vec![1.0; 5 * n];
                    chosen.add_transposed(&r, n, &mut sums);
                    let exact = expected.t().dot(&r_array) + 1.0;
                    assert!(exact.iter().eq(&sums), "{exact} {sums:?}");
                    let mut gathered = Array2::ones((4, 5));
                    features.gather(rows.clone(), gathered.view_mut());
                    assert_eq!(gathered, expected);
                }
            }
        }
        assert_eq!(sparse.dense(0..7, &mut vec![]), all);
        assert_eq!(sparse.wide(), sparse);
    }

    #[test]
    fn a_row_with_other_entries_than_there_is_room_for_is_refused() {
        let mut sparse = Features::<f32>::zeros(false, 9, [2, 0].into_iter()).unwrap();
        assert!(!sparse.set(0, Row { columns: &[1], values: &[1.0] }));
        assert!(!sparse.set(1, Row { columns: &[1], values: &[1.0] }));
        assert!(sparse.set(0, Row { columns: &[1, 8], values: &[1.0, 2.0] }));
    }
}
