//! When a run is evaluated.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Count;

/// When the exact hypergradient is computed: false, true (with every evaluation), N (every N
/// iterations), or "end". It costs a lower-level solve over all samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected false, true, a number of iterations of 1 or more, or \"end\""
)]
pub enum Hypergradient {
    /// Never, or with every evaluation.
    Switch(bool),
    /// At the start, at every multiple of N, and at the end.
    Every(std::num::NonZeroU64),
    /// After the last iteration.
    End(End),
}

/// The word `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// After the last iteration.
    End,
}

/// Key `evaluate`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// Test accuracy and full losses at the start, at every multiple of this, and at the end.
    pub every: Count,
    /// When the exact hypergradient is computed.
    pub hypergradient: Hypergradient,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self { every: Count::constant(50.0), hypergradient: Hypergradient::Switch(false) }
    }
}

impl Evaluate {
    /// Whether an evaluation is due after `k` of `last` iterations.
    pub fn due(&self, k: u64, last: u64) -> bool {
        self.metrics_due(k, last) || self.hypergradient_due(k, last)
    }

    /// How many evaluations a run of `last` iterations makes.
    pub fn count(&self, last: u64) -> u64 {
        let every = self.every.get() as u64;
        let end = u64::from(!last.is_multiple_of(every));
        let metrics = last / every + 1;
        let Hypergradient::Every(n) = self.hypergradient else { return metrics + end };
        let (mut a, mut b) = (every, n.get());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let both = (every / a).saturating_mul(n.get());
        let end = end & u64::from(!last.is_multiple_of(n.get()));
        metrics + last / n.get() - last / both + end
    }

    fn metrics_due(&self, k: u64, last: u64) -> bool {
        k.is_multiple_of(self.every.get() as u64) || k == last
    }

    /// Whether it includes the exact hypergradient.
    pub fn hypergradient_due(&self, k: u64, last: u64) -> bool {
        match self.hypergradient {
            Hypergradient::Switch(on) => on && self.metrics_due(k, last),
            Hypergradient::Every(n) => k.is_multiple_of(n.get()) || k == last,
            Hypergradient::End(_) => k == last,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn evaluations_are_counted_as_they_are_due() {
        for (every, hypergradient) in [(5, json!(true)), (6, json!(4)), (7, json!("end"))] {
            let plan: Evaluate =
                serde_json::from_value(json!({ "every": every, "hypergradient": hypergradient }))
                    .unwrap();
            for last in 0..50 {
                let due = (0..=last).filter(|&k| plan.due(k, last)).count();
                assert_eq!(plan.count(last), due as u64, "{every} {hypergradient} {last}");
            }
        }
    }

    #[test]
    fn evaluations_are_due_at_the_start_and_the_end() {
        let evaluate = Evaluate {
            every: Count::constant(4.0),
            hypergradient: Hypergradient::Every(std::num::NonZeroU64::new(6).unwrap()),
        };
        let due: Vec<u64> = (0..=10).filter(|&k| evaluate.due(k, 10)).collect();
        assert_eq!(due, [0, 4, 6, 8, 10]);
        let exact: Vec<u64> = (0..=10).filter(|&k| evaluate.hypergradient_due(k, 10)).collect();
        assert_eq!(exact, [0, 6, 10]);
    }
}
