//! What one iteration of one worker is computed in.

use ndarray::Array2;

use super::backbone::{Backbone, Buffers};
use super::head::Head;
use crate::data::Label;
use crate::scalar::Scalar;

/// Room for one iteration of one worker: training rows first, then validation rows.
pub struct Batch<F> {
    pub lower: usize,
    /// For samples that are gathered [rows x features].
    pub room: Array2<F>,
    pub labels: Vec<Label>,
    pub layers: Buffers<F>,
    /// [Y | Z], then [Z | Y] [width + 1 x 2 classes].
    pub heads: Array2<F>,
    /// Scores, then M [rows x 2 classes].
    pub m: Array2<F>,
    /// Phi'M with the bias in the last row [width + 1 x 2 classes].
    pub products: Array2<F>,
}

impl<F: Scalar> Batch<F> {
    pub fn new(backbone: &Backbone, head: Head, lower: usize, upper: usize) -> Self {
        let rows = lower + upper;
        Self {
            lower,
            room: Array2::zeros((rows, backbone.widths[0])),
            labels: vec![0; rows],
            layers: backbone.buffers(rows),
            heads: Array2::zeros((head.width + 1, 2 * head.classes)),
            m: Array2::zeros((rows, 2 * head.classes)),
            products: Array2::zeros((head.width + 1, 2 * head.classes)),
        }
    }
}
