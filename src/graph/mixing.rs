//! Mixing matrices.
//!
//! ```text
//! metropolis   w_ij = 1 / (1 + max(d_i, d_j))     (Metropolis, Hastings; Xiao, Boyd 2004)
//! uniform      w_ij = 1 / (1 + max_l d_l)         1/n on the complete graph, 1/3 on a ring
//! weights      w_ij as the edges say
//! w_ii = 1 - sum_j w_ij;   lazy: (I + W) / 2, which is positive semidefinite
//! ```
//!
//! d_i is the number of neighbours. All are symmetric, and so doubly stochastic. With weights lambda of
//! the agents the matrix is the lambda-induced row-stochastic one, P = I - diag(1/lambda) L with a
//! symmetric L, here in Metropolis' form:
//!
//! ```text
//! p_ij = min(w_ij, w_ij lambda_j / lambda_i),   p_ii = 1 - sum_j p_ij:   lambda'P = lambda'
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::topology::steps;
use super::{Matrix, Topology};
use crate::config::KeyError;

/// Where the weights of a mixing matrix come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// By the larger number of neighbours of an edge's two agents.
    Metropolis,
    /// The same on every edge.
    Uniform,
    /// Those of the edges.
    Weights,
}

/// Key `mixing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mixing {
    /// Where the weights come from: by default metropolis, or the weights of the edges if they have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Rule>,
    /// (I + W) / 2 in place of W.
    #[serde(default)]
    pub lazy: bool,
}

impl Mixing {
    /// The same with its rule for this topology.
    pub fn resolved(self, topology: &Topology) -> Result<Self, KeyError> {
        let weighted = topology.weights().is_some();
        let kind = match (self.kind, topology) {
            (_, Topology::OnePeerExponential {}) => None,
            (None, _) if weighted => Some(Rule::Weights),
            (None, _) => Some(Rule::Metropolis),
            (Some(Rule::Weights), _) if !weighted => {
                let problem = "the edges have no weights; use \"metropolis\" or \"uniform\"";
                return Err(KeyError::value("mixing.kind", problem.into()));
            }
            (Some(kind), _) => Some(kind),
        };
        Ok(Self { kind, ..self })
    }
}

/// The one-peer matrices are what they are.
pub(super) fn refuse_weights_of_one_peer(induced: bool) -> Result<(), KeyError> {
    let problem = "each agent of \"one-peer-exponential\" averages with one other by halves; use \
                   \"scaled\", or another topology";
    match induced {
        true => Err(KeyError::value("weights.mode", problem.into())),
        false => Ok(()),
    }
}

/// (I + P_s) / 2 with P_s the shift by s = 1, 2, 4, .. below n.
pub(super) fn one_peer(agents: usize, lazy: bool) -> Vec<Matrix> {
    let other = if lazy { 0.25 } else { 0.5 };
    let shifted = |step: usize| {
        let row = |i: usize| {
            let mut row = vec![(i, 1.0 - other), ((i + step) % agents, other)];
            row.sort_unstable_by_key(|&(j, _)| j);
            row
        };
        Matrix { rows: (0..agents).map(row).collect() }
    };
    match agents {
        1 => vec![Matrix { rows: vec![vec![(0, 1.0)]] }],
        _ => steps(agents).map(shifted).collect(),
    }
}

/// The matrix of a graph with these edges.
pub(super) fn matrix(
    mixing: Mixing,
    edges: &[(usize, usize)],
    weights: Option<&[((usize, usize), f64)]>,
    agents: usize,
    lambda: Option<&[f64]>,
) -> Result<Matrix, KeyError> {
    let mut degrees = vec![0usize; agents];
    for &(i, j) in edges {
        degrees[i] += 1;
        degrees[j] += 1;
    }
    let most = degrees.iter().copied().max().unwrap_or(0);
    let weight = |at: usize, i: usize, j: usize| match (mixing.kind, weights) {
        (Some(Rule::Weights), Some(weights)) => weights[at].1,
        (Some(Rule::Uniform), _) => 1.0 / (1 + most) as f64,
        _ => 1.0 / (1 + degrees[i].max(degrees[j])) as f64,
    };
    let lazy = if mixing.lazy { 0.5 } else { 1.0 };
    let towards =
        |i: usize, j: usize| lambda.map_or(1.0, |lambda| (lambda[j] / lambda[i]).min(1.0));
    let mut rows = vec![vec![]; agents];
    for (at, &(i, j)) in edges.iter().enumerate() {
        let w = lazy * weight(at, i, j);
        rows[i].push((j, w * towards(i, j)));
        rows[j].push((i, w * towards(j, i)));
    }
    for (i, row) in rows.iter_mut().enumerate() {
        let sum: f64 = row.iter().map(|(_, w)| w).sum();
        // Rounding of a sum of parts of 1 is no loss.
        let rest = if sum > 1.0 && sum < 1.0 + 1e-12 { 0.0 } else { 1.0 - sum };
        if rest < 0.0 {
            let problem = format!(
                "the matrix is not stochastic: the weights of agent {i} sum to {sum}, above 1; give \
                 smaller weights, or set \"kind\": \"metropolis\""
            );
            return Err(KeyError::value("mixing", problem));
        }
        if rest > 0.0 {
            row.push((i, rest));
        }
        row.sort_unstable_by_key(|&(j, _)| j);
    }
    Ok(Matrix { rows })
}
