//! Sparse rows: the compressed sparse row format.

use crate::scalar::Scalar;

/// A matrix [rows x columns] of which only some entries are kept, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr<F> {
    /// Where each row begins in the two lists below, and where the last one ends [rows + 1].
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<F>,
    width: usize,
}

impl<F: Scalar> Csr<F> {
    /// Rows of these numbers of entries, all of them zero.
    pub fn zeros(width: usize, entries: impl Iterator<Item = usize>) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        starts.extend(entries.map(|entries| {
            end += entries;
            end
        }));
        Self { starts, columns: vec![0; end], values: vec![F::zero(); end], width }
    }

    /// Bytes that rows with this many entries take.
    pub fn bytes(rows: usize, entries: usize) -> usize {
        (rows + 1) * size_of::<usize>() + entries * (size_of::<u32>() + F::BYTES)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Entries of a row.
    pub fn columns(&self) -> usize {
        self.width
    }

    /// Writes a row; `false` if it does not have as many entries as there is room for.
    pub fn set(&mut self, i: usize, columns: &[u32], values: &[F]) -> bool {
        let range = self.starts[i]..self.starts[i + 1];
        let fits = range.len() == columns.len();
        if fits {
            self.columns[range.clone()].copy_from_slice(columns);
            self.values[range].copy_from_slice(values);
        }
        fits
    }

    /// Column and value of each entry of a row that is kept.
    #[inline]
    pub fn row(&self, i: usize) -> impl Iterator<Item = (usize, F)> {
        let range = self.starts[i]..self.starts[i + 1];
        let columns = self.columns[range.clone()].iter().map(|&column| column as usize);
        columns.zip(self.values[range].iter().copied())
    }

    /// Changes every entry that is kept, given its column.
    pub fn map(&mut self, change: impl Fn(usize, F) -> F) {
        for (&column, v) in self.columns.iter().zip(&mut self.values) {
            *v = change(column as usize, *v);
        }
    }

    /// Copy in double precision.
    pub fn wide(&self) -> Csr<f64> {
        let Self { starts, columns, values, width } = self;
        let values = values.iter().map(|v| v.wide()).collect();
        Csr { starts: starts.clone(), columns: columns.clone(), values, width: *width }
    }

    /// out [rows x n] = A Y for these rows of A and Y [columns x n]: each sum in ascending columns.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn scores_into(&self, rows: impl Iterator<Item = usize>, y: &[F], n: usize, out: &mut [F]) {
        assert_eq!(y.len(), self.width * n);
        let rows = rows.zip(out.chunks_exact_mut(n));
        if n == 1 {
            for (i, out) in rows {
                out[0] = self.row(i).fold(F::zero(), |sum, (j, v)| sum + v * y[j]);
            }
            return;
        }
        for (i, out) in rows {
            out.fill(F::zero());
            for (j, v) in self.row(i) {
                let y = &y[j * n..][..n];
                out.iter_mut().zip(y).for_each(|(out, &y)| *out += v * y);
            }
        }
    }

    /// out [columns x n] += A'R for these rows of A and R [rows x n]: row after row.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn add_transposed(
        &self,
        rows: impl Iterator<Item = usize>,
        r: &[F],
        n: usize,
        out: &mut [F],
    ) {
        assert_eq!(out.len(), self.width * n);
        let rows = rows.zip(r.chunks_exact(n));
        if n == 1 {
            for (i, r) in rows {
                self.row(i).for_each(|(j, v)| out[j] += v * r[0]);
            }
            return;
        }
        for (i, r) in rows {
            for (j, v) in self.row(i) {
                let out = &mut out[j * n..][..n];
                out.iter_mut().zip(r).for_each(|(out, &r)| *out += v * r);
            }
        }
    }
}
