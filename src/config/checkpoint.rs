//! The keys that say how a run survives. They change nothing of its results.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::numbers::{Count, Positive, Ratio};

/// Key `checkpoint`: when the state of the run is saved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointPlan {
    /// So many minutes after the last one.
    pub every_minutes: Positive,
    /// At every multiple of this, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_iterations: Option<Count>,
    /// Share of the run's time that checkpoints may take, as measured; they are made less often where they
    /// would take more.
    pub cost: Ratio,
    /// A completed run keeps one, so that it can be given more iterations later.
    pub at_end: bool,
}

impl Default for CheckpointPlan {
    fn default() -> Self {
        Self {
            every_minutes: Positive::constant(10.0),
            every_iterations: None,
            cost: Ratio::constant(0.01),
            at_end: true,
        }
    }
}

/// Seconds without any progress after which a rank gives up.
pub(super) fn watchdog_seconds() -> Count {
    Count::constant(1800.0)
}
