//! Who of the graph is on which rank: what this rank sends where, and whom its agents hear.

use std::ops::Range;

use crate::comm::Placement;
use crate::graph::Graph;

/// One summand w_ij v_j of a hosted agent's mix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// The agent j.
    pub agent: usize,
    /// Its place in [`Routes::known`].
    pub known: usize,
    /// w_ij.
    pub weight: f64,
}

/// One mixing matrix as this rank sees it.
#[derive(Clone, Debug, Default)]
pub struct Phase {
    /// Of each hosted agent: its row of the matrix, ascending.
    pub rows: Vec<Vec<Term>>,
    /// By rank: the hosted agents that someone there hears, as places in [`Routes::known`], ascending.
    pub to: Vec<Vec<usize>>,
    /// By rank: its agents that someone here hears, likewise.
    pub from: Vec<Vec<usize>>,
    /// Of each hosted agent: the links on which it is heard, as places in [`Routes::links`].
    pub heard_on: Vec<Vec<usize>>,
}

/// One variable's graph as this rank sees it.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The first hosted agent.
    pub first: usize,
    /// The hosted agents and those that one of them hears, ascending.
    pub known: Vec<usize>,
    /// The directed links (sender, receiver) whose sender is hosted, ascending.
    pub links: Vec<(usize, usize)>,
    /// One for each matrix of the graph.
    pub phases: Vec<Phase>,
}

impl Routes {
    pub fn new(graph: &Graph, placement: Placement, rank: usize) -> Self {
        let hosted = placement.hosted(rank);
        let rank_of = rank_of(placement);
        let links = graph.links();
        let mut known: Vec<usize> = hosted.clone().collect();
        known.extend(links.iter().filter(|(_, i)| hosted.contains(i)).map(|&(j, _)| j));
        known.sort_unstable();
        known.dedup();
        let links = links.into_iter().filter(|(j, _)| hosted.contains(j)).collect();
        let mut routes = Self { first: hosted.start, known, links, phases: vec![] };
        for phase in 0..graph.period() {
            let phase = routes.phase(graph, phase, placement.ranks, &hosted, &rank_of);
            routes.phases.push(phase);
        }
        routes
    }

    fn phase(
        &self,
        graph: &Graph,
        phase: usize,
        ranks: usize,
        hosted: &Range<usize>,
        rank_of: &[usize],
    ) -> Phase {
        let matrix = graph.matrix(phase);
        let mut all = Phase {
            rows: vec![],
            to: vec![vec![]; ranks],
            from: vec![vec![]; ranks],
            heard_on: vec![vec![]; hosted.len()],
        };
        for i in 0..graph.agents() {
            let row = matrix.row(i);
            let heard = || row.iter().map(|&(j, _)| j).filter(move |&j| j != i);
            if hosted.contains(&i) {
                let term = |&(agent, weight)| Term { agent, known: self.place(agent), weight };
                all.rows.push(row.iter().map(term).collect());
                let others = heard().filter(|j| !hosted.contains(j));
                others.for_each(|j| all.from[rank_of[j]].push(self.place(j)));
            }
            for j in heard().filter(|j| hosted.contains(j)) {
                if !hosted.contains(&i) {
                    all.to[rank_of[i]].push(self.place(j));
                }
                all.heard_on[j - hosted.start].extend(self.links.binary_search(&(j, i)));
            }
        }
        for places in all.to.iter_mut().chain(&mut all.from) {
            places.sort_unstable();
            places.dedup();
        }
        all
    }

    /// The matrix that counts in iteration k.
    pub fn at(&self, k: u64) -> &Phase {
        &self.phases[(k % self.phases.len() as u64) as usize]
    }

    /// A hosted agent's row of it.
    pub fn row(&self, k: u64, agent: usize) -> &[Term] {
        &self.at(k).rows[agent - self.first]
    }

    /// Where a known agent stands in [`Routes::known`].
    pub fn place(&self, agent: usize) -> usize {
        self.known.partition_point(|&known| known < agent)
    }
}

fn rank_of(placement: Placement) -> Vec<usize> {
    (0..placement.ranks).flat_map(|rank| placement.hosted(rank).map(move |_| rank)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Mixing, Topology};

    #[test]
    fn what_one_rank_sends_another_awaits() {
        let topologies = [
            Topology::Ring {},
            Topology::Star {},
            Topology::Exponential {},
            Topology::OnePeerExponential {},
        ];
        for topology in topologies {
            let mixing = Mixing::default().resolved(&topology).expect("a rule");
            let graph = Graph::new(&topology, mixing, 9, None).expect("a graph");
            for ranks in [1, 2, 4, 9] {
                let placement = Placement { workers: 9, ranks };
                let all: Vec<Routes> =
                    (0..ranks).map(|rank| Routes::new(&graph, placement, rank)).collect();
                let links: Vec<_> = all.iter().flat_map(|routes| routes.links.clone()).collect();
                assert_eq!(links, graph.links(), "{topology:?} on {ranks} ranks");
                let agents = |routes: &Routes, places: &[usize]| -> Vec<usize> {
                    places.iter().map(|&place| routes.known[place]).collect()
                };
                for phase in 0..graph.period() {
                    for (a, b) in (0..ranks).flat_map(|a| (0..ranks).map(move |b| (a, b))) {
                        let sent = agents(&all[a], &all[a].phases[phase].to[b]);
                        assert_eq!(sent, agents(&all[b], &all[b].phases[phase].from[a]));
                        assert!(a != b || sent.is_empty());
                    }
                }
            }
        }
    }
}
