//! Evaluations: metrics on all samples, and the exact hypergradient.

mod exact;
mod metrics;

pub use exact::{Exact, exact, room};
pub use metrics::{metrics, with_solution};

/// One evaluation; NaN where a problem has no such thing or it was not asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// |grad Phi(x)|, exact.
    pub hypergradient_norm: f64,
    /// Phi(x) = f(x, y*(x)).
    pub objective: f64,
    /// |y - y*(x)|.
    pub lower_distance: f64,
    /// |z - z*(x)|.
    pub auxiliary_distance: f64,
    /// Share of the test set that is classified correctly at (x, y*(x)).
    pub solution_accuracy: f64,
    /// Share of the test set that is classified correctly at (x, y).
    pub test_accuracy: f64,
    /// Mean loss over the test set.
    pub test_loss: f64,
    /// f(x, y) over all samples: the mean of the workers' means.
    pub validation_loss: f64,
    /// How well x tells clean from corrupted samples: area under the ROC curve, the chance that a clean
    /// one weighs more.
    pub weight_auc: f64,
    /// The same for the samples' losses at y*(x): the chance that a clean one's is smaller.
    pub solution_loss_auc: f64,
    /// How far the agents of a run without a server are apart in x: the root of the mean of
    /// |x_i - mean|^2, both means weighted as mixing conserves them.
    pub consensus_error_x: f64,
    /// The same for y.
    pub consensus_error_y: f64,
    /// The same for z.
    pub consensus_error_z: f64,
}

/// Number of metrics.
const METRICS: usize = 13;

impl Evaluation {
    /// Name and meaning of each metric, in the order of [`Evaluation::values`].
    pub const METRICS: [(&'static str, &'static str); METRICS] = [
        ("hypergradient_norm", "Euclidean norm of the exact hypergradient"),
        ("objective", "upper-level loss at the solution of the lower level"),
        ("lower_distance", "distance of y from the solution of the lower level"),
        ("auxiliary_distance", "distance of z from the solution of its linear system"),
        ("solution_accuracy", "test accuracy at the solution of the lower level"),
        ("test_accuracy", "share of the test set classified correctly"),
        ("test_loss", "mean loss over the test set"),
        ("validation_loss", "upper-level loss over all validation samples"),
        ("weight_auc", "area under the ROC curve of x for clean against corrupted samples"),
        (
            "solution_loss_auc",
            "the same for the losses of the samples at the lower level's solution",
        ),
        ("consensus_error_x", "root mean square distance of the agents' x from their mean"),
        ("consensus_error_y", "the same for y"),
        ("consensus_error_z", "the same for z"),
    ];

    /// Nothing measured.
    pub const NONE: Self = Self::from_values([f64::NAN; METRICS]);

    /// Every metric.
    pub fn values(&self) -> [f64; METRICS] {
        [
            self.hypergradient_norm,
            self.objective,
            self.lower_distance,
            self.auxiliary_distance,
            self.solution_accuracy,
            self.test_accuracy,
            self.test_loss,
            self.validation_loss,
            self.weight_auc,
            self.solution_loss_auc,
            self.consensus_error_x,
            self.consensus_error_y,
            self.consensus_error_z,
        ]
    }

    /// The same with the consensus errors of x, y and z.
    pub fn with_consensus(self, [x, y, z]: [f64; 3]) -> Self {
        Self { consensus_error_x: x, consensus_error_y: y, consensus_error_z: z, ..self }
    }

    /// The inverse of [`Evaluation::values`].
    pub const fn from_values(values: [f64; METRICS]) -> Self {
        let [
            hypergradient_norm,
            objective,
            lower_distance,
            auxiliary_distance,
            solution_accuracy,
            test_accuracy,
            test_loss,
            validation_loss,
            weight_auc,
            solution_loss_auc,
            consensus_error_x,
            consensus_error_y,
            consensus_error_z,
        ] = values;
        Self {
            hypergradient_norm,
            objective,
            lower_distance,
            auxiliary_distance,
            solution_accuracy,
            test_accuracy,
            test_loss,
            validation_loss,
            weight_auc,
            solution_loss_auc,
            consensus_error_x,
            consensus_error_y,
            consensus_error_z,
        }
    }
}
