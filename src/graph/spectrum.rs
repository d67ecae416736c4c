//! Eigenvalues of mixing matrices: how fast agents agree.
//!
//! Everything is computed on diag(lambda)^1/2 W diag(lambda)^-1/2, which is W itself for equal weights
//! and symmetric for the lambda-induced matrices, and so in the norm in which they are measured.

use ndarray::Array2;
use ndarray_linalg::{EigValsh, UPLO};

use super::{Graph, Matrix};

impl Graph {
    /// 1 - rho, rho the factor by which mixing shrinks disagreement in the worst case: the second
    /// largest modulus of W's eigenvalues. Of matrices that follow each other in turn: the geometric
    /// mean over a period of the largest singular value of their product. NaN if it cannot be computed.
    pub fn spectral_gap(&self) -> f64 {
        let n = self.agents();
        let mut product = Array2::eye(n);
        for matrix in &self.matrices {
            product = self.weighted(matrix).dot(&product);
        }
        for ((i, j), entry) in product.indexed_iter_mut() {
            *entry -= (self.lambda[i] * self.lambda[j]).sqrt();
        }
        let squared = largest(&product.t().dot(&product));
        1.0 - squared.max(0.0).sqrt().powf(1.0 / self.period() as f64)
    }

    /// The smallest eigenvalue of W, which must not change over time. NaN if it cannot be computed.
    pub fn smallest_eigenvalue(&self) -> f64 {
        -largest(&-self.weighted(&self.matrices[0]))
    }

    /// Whether there is one matrix, equal to its transpose in the lambda-weighted inner product:
    /// lambda_i w_ij = lambda_j w_ji.
    pub fn is_symmetric(&self) -> bool {
        let [matrix] = &self.matrices[..] else { return false };
        let weighted = self.weighted(matrix);
        weighted.indexed_iter().all(|((i, j), w)| (w - weighted[(j, i)]).abs() < 1e-12)
    }

    fn weighted(&self, matrix: &Matrix) -> Array2<f64> {
        let mut dense = Array2::zeros((self.agents(), self.agents()));
        for (i, row) in matrix.rows.iter().enumerate() {
            for &(j, w) in row {
                dense[(i, j)] = w * (self.lambda[i] / self.lambda[j]).sqrt();
            }
        }
        dense
    }
}

/// The largest eigenvalue of a symmetric matrix; NaN if it cannot be computed.
fn largest(matrix: &Array2<f64>) -> f64 {
    let values = matrix.eigvalsh(UPLO::Lower);
    values.map_or(f64::NAN, |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;
    use crate::config::{Count, Ratio};
    use crate::graph::{Edge, Mixing, Rule, Topology};

    fn graph(topology: &Topology, lazy: bool, agents: usize) -> Graph {
        let mixing = Mixing { kind: None, lazy }.resolved(topology).expect("a rule");
        Graph::new(topology, mixing, agents, None).expect("a graph")
    }

    fn all() -> Vec<(Topology, usize)> {
        let torus = Topology::Torus { rows: Some(Count::constant(3.0)) };
        let random = |seed| Topology::ErdosRenyi { probability: Ratio::constant(0.4), seed };
        let path = Topology::Edges { edges: (0..4).map(|i| Edge::Plain([i, i + 1])).collect() };
        let mut all = vec![(path, 5), (torus, 12), (random(0), 9), (random(1), 9)];
        for n in [1, 2, 3, 8, 9] {
            all.extend([Topology::Ring {}, Topology::Exponential {}].map(|t| (t, n)));
            all.extend([Topology::Star {}, Topology::Complete {}].map(|t| (t, n)));
        }
        all
    }

    #[test]
    fn matrices_are_symmetric_and_doubly_stochastic() {
        for (topology, n) in all() {
            for lazy in [false, true] {
                let graph = graph(&topology, lazy, n);
                assert!(graph.is_symmetric(), "{topology:?}");
                for i in 0..n {
                    let row = graph.matrix(0).row(i);
                    let sum: f64 = row.iter().map(|(_, w)| w).sum();
                    assert!((sum - 1.0).abs() < 1e-12 && row.is_sorted_by_key(|(j, _)| *j));
                }
                let gap = graph.spectral_gap();
                assert!(gap > 1e-3 && gap <= 1.0 + 1e-12, "{topology:?}: {gap}");
                assert!(!lazy || graph.smallest_eigenvalue() > -1e-12, "{topology:?}");
            }
        }
    }

    #[test]
    fn gaps_are_those_of_theory() {
        let gap = |topology, lazy, n| graph(&topology, lazy, n).spectral_gap();
        for n in [4, 8, 9, 32] {
            let second = (1.0 + 2.0 * (2.0 * PI / n as f64).cos()) / 3.0;
            assert!((gap(Topology::Ring {}, false, n) - (1.0 - second)).abs() < 1e-12);
            let lazy = (1.0 - second) / 2.0;
            assert!((gap(Topology::Ring {}, true, n) - lazy).abs() < 1e-12);
            // The square root of a rounding error.
            assert!((gap(Topology::Complete {}, false, n) - 1.0).abs() < 1e-7);
        }
        assert!(
            (graph(&Topology::Ring {}, false, 8).smallest_eigenvalue() + 1.0 / 3.0).abs() < 1e-12
        );
        // After log2 n iterations with one peer each, all agree: exactly, if n is a power of 2.
        assert_eq!(gap(Topology::OnePeerExponential {}, false, 16), 1.0);
        let other = gap(Topology::OnePeerExponential {}, false, 12);
        assert!(other > 0.1 && other < 1.0, "{other}");
    }

    #[test]
    fn the_induced_matrix_conserves_the_weighted_mean() {
        let lambda = [0.4, 0.3, 0.1, 0.15, 0.05];
        for topology in [Topology::Ring {}, Topology::Star {}, Topology::Complete {}] {
            let mixing = Mixing { kind: Some(Rule::Metropolis), lazy: false };
            let graph = Graph::new(&topology, mixing, 5, Some(&lambda)).expect("a graph");
            let mut mean = [0.0; 5];
            for (i, lambda) in lambda.into_iter().enumerate() {
                graph.matrix(0).row(i).iter().for_each(|&(j, w)| mean[j] += lambda * w);
            }
            let off = mean.iter().zip(lambda).map(|(m, l)| (m - l).abs()).fold(0.0, f64::max);
            assert!(off < 1e-15, "{topology:?}: {off:e}");
            assert!(graph.is_symmetric() && graph.spectral_gap() > 0.0);
        }
    }

    #[test]
    fn bad_graphs_are_refused_with_the_reason() {
        let edges = |edges: &[(usize, usize, f64)]| {
            let edges = edges.iter().map(|&(i, j, w)| Edge::Weighted(i, j, w)).collect();
            Topology::Edges { edges }
        };
        let refused = |topology: Topology, agents: usize| {
            let mixing = Mixing::default().resolved(&topology).expect("a rule");
            Graph::new(&topology, mixing, agents, None).expect_err("a bad graph").to_string()
        };
        let apart = refused(edges(&[(0, 1, 0.5), (2, 3, 0.5)]), 4);
        assert!(apart.contains("`topology`: the graph is not connected: agent 2"), "{apart}");
        let heavy = refused(edges(&[(0, 1, 0.7), (1, 2, 0.7)]), 3);
        assert!(heavy.contains("agent 1 sum to 1.4, above 1"), "{heavy}");
        // Two agents that swap their vectors for ever.
        let swap = refused(edges(&[(0, 1, 1.0)]), 2);
        assert!(swap.contains("never lead to agreement"), "{swap}");
        let sparse = Topology::ErdosRenyi { probability: Ratio::constant(1e-6), seed: 0 };
        assert!(refused(sparse, 9).contains("`topology.probability`"));
        let torus = Topology::Torus { rows: Some(Count::constant(4.0)) };
        assert!(refused(torus, 9).contains("`topology.rows`: 9 agents are not 4 rows"));
        let prime = Topology::Torus { rows: None }.resolved(7, |_| Ok(String::new()));
        assert!(prime.expect_err("a prime number").problem.contains("7 agents"));
        assert_eq!(
            Topology::Torus { rows: None }.resolved(12, |_| Ok(String::new())).expect("a torus"),
            Topology::Torus { rows: Some(Count::constant(3.0)) }
        );
    }
}
