//! The linear head: softmax regression on the representation, and its second derivatives.
//!
//! y holds Y [width x classes] row-major and a bias [classes]; z is shaped alike. With Phi the
//! representation, P = softmax(Phi Y + bias), T the one-hot labels, B the batch size:
//!
//! ```text
//! R  = (P - T) / B
//! S  = Phi Z + bias of Z,    dR = P o (S - rowsum(P o S)) / B
//! grad_y CE = Phi'R,   H_yy CE z = Phi'dR,   J z: backprop of R Z' + dR Y'
//! ```

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::product::product;
use crate::scalar::Scalar;

/// Shape of the head.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Width of the representation.
    pub width: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Head {
    /// Number of entries of y and of z.
    pub fn dim(self) -> usize {
        (self.width + 1) * self.classes
    }

    /// The same for a width that may be beyond all machines.
    pub fn checked_dim(self) -> Option<usize> {
        self.width.checked_add(1)?.checked_mul(self.classes)
    }

    /// [Y | Z]: two heads side by side [width + 1 x 2 classes], the biases in the last row.
    pub fn side_by_side<F: Scalar>(self, y: &[F], z: &[F], out: &mut Array2<F>) {
        let c = self.classes;
        let rows = out.rows_mut().into_iter().zip(y.chunks_exact(c).zip(z.chunks_exact(c)));
        for (mut out, (y, z)) in rows {
            out.iter_mut().zip(y.iter().chain(z)).for_each(|(out, &v)| *out = v);
        }
    }

    /// out = Phi W + bias, for W [width x n] with its bias as the last row of `weights`.
    pub fn scores<F: Scalar>(
        self,
        representation: ArrayView2<'_, F>,
        weights: ArrayView2<'_, F>,
        mut out: ArrayViewMut2<'_, F>,
    ) {
        let (weights, bias) = weights.split_at(ndarray::Axis(0), self.width);
        for mut row in out.rows_mut() {
            row.assign(&bias.row(0));
        }
        product(representation, weights, true, out);
    }
}
