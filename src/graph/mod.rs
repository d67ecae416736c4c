//! Graphs on which agents without a server work: who is whose neighbour, and the mixing matrix
//! W = (w_ij) by which agent i averages, `s_i <- sum_j w_ij s_j`.
//!
//! A [`Topology`] names the graph and a [`Mixing`] its weights; both are what the config holds. A
//! [`Graph`] is what they come to for a number of agents. It is checked: connected, its rows sum to 1,
//! and repeated mixing leads to agreement.

mod edges;
mod mixing;
mod spectrum;
mod topology;

use crate::config::KeyError;

pub use edges::Edge;
pub use mixing::{Mixing, Rule};
pub use topology::Topology;

/// One mixing matrix: of each agent i the j with w_ij > 0 and their weights, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: Vec<Vec<(usize, f64)>>,
}

impl Matrix {
    /// Those j, agent i among them unless w_ii = 0, with their w_ij.
    pub fn row(&self, i: usize) -> &[(usize, f64)] {
        &self.rows[i]
    }
}

/// A connected graph of agents with its mixing matrices.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// In iteration k the one at k modulo their number.
    matrices: Vec<Matrix>,
    /// The weights of the mean that mixing conserves, lambda'W = lambda' [n]; their sum is 1.
    lambda: Vec<f64>,
}

impl Graph {
    /// The graph of a topology of `agents` agents. With `lambda` the matrix is the row-stochastic one
    /// that conserves the mean with these weights (they sum to 1); without, all weigh alike.
    pub fn new(
        topology: &Topology,
        mixing: Mixing,
        agents: usize,
        lambda: Option<&[f64]>,
    ) -> Result<Self, KeyError> {
        if let Topology::OnePeerExponential {} = topology {
            mixing::refuse_weights_of_one_peer(lambda.is_some())?;
            let matrices = mixing::one_peer(agents, mixing.lazy);
            return Ok(Self { matrices, lambda: vec![1.0 / agents as f64; agents] });
        }
        let edges = topology.edges(agents).map_err(|e| e.below("topology"))?;
        edges::check_connected(&edges, agents).map_err(|e| e.below("topology"))?;
        let weights = topology.weights();
        let matrix = mixing::matrix(mixing, &edges, weights.as_deref(), agents, lambda)?;
        let equal = || vec![1.0 / agents as f64; agents];
        let lambda = lambda.map_or_else(equal, <[f64]>::to_vec);
        let graph = Self { matrices: vec![matrix], lambda };
        if mixing.kind == Some(Rule::Weights) && graph.spectral_gap() < 1e-9 {
            let problem = "these weights never lead to agreement: an eigenvalue other than that of \
                           the mean has modulus 1; set \"lazy\": true, or give agents weights that \
                           sum to less than 1";
            return Err(KeyError::value("mixing", problem.into()));
        }
        Ok(graph)
    }

    /// Number of agents, n.
    pub fn agents(&self) -> usize {
        self.lambda.len()
    }

    /// Number of matrices that follow each other in turn.
    pub fn period(&self) -> usize {
        self.matrices.len()
    }

    /// The matrix of a phase below [`Graph::period`].
    pub fn matrix(&self, phase: usize) -> &Matrix {
        &self.matrices[phase]
    }

    /// The weights of the mean that mixing conserves [n].
    pub fn lambda(&self) -> &[f64] {
        &self.lambda
    }

    /// Most neighbours that an agent hears in one iteration.
    pub fn degree(&self) -> usize {
        let heard =
            |matrix: &Matrix, i: usize| matrix.row(i).iter().filter(|(j, _)| *j != i).count();
        let all = self.matrices.iter().flat_map(|m| (0..self.agents()).map(move |i| heard(m, i)));
        all.max().unwrap_or(0)
    }

    /// How many vectors agents hear from each other in one exchange; alike in every phase.
    pub fn heard(&self) -> usize {
        let rows = self.matrices[0].rows.iter().enumerate();
        rows.map(|(i, row)| row.iter().filter(|(j, _)| *j != i).count()).sum()
    }

    /// The directed links (sender, receiver) of all matrices, ascending.
    pub fn links(&self) -> Vec<(usize, usize)> {
        let mut links = vec![];
        for matrix in &self.matrices {
            for (i, row) in matrix.rows.iter().enumerate() {
                links.extend(row.iter().filter(|(j, _)| *j != i).map(|&(j, _)| (j, i)));
            }
        }
        links.sort_unstable();
        links.dedup();
        links
    }
}
