//! Lists of edges: written in a config or a file, and whether they connect all agents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::KeyError;

/// An undirected edge, `[i, j]` or with its weight `[i, j, w]`: w_ij = w_ji.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected an edge [i, j] or [i, j, weight]")]
pub enum Edge {
    /// An edge whose weight follows from the mixing rule.
    Plain([usize; 2]),
    /// An edge with its weight.
    Weighted(usize, usize, f64),
}

impl Edge {
    /// Its two agents, the lower one first.
    pub(super) fn ends(self) -> (usize, usize) {
        let (Self::Plain([i, j]) | Self::Weighted(i, j, _)) = self;
        (i.min(j), i.max(j))
    }

    /// w_ij, if it has one of its own.
    pub(super) fn weight(self) -> Option<f64> {
        match self {
            Self::Plain(_) => None,
            Self::Weighted(_, _, weight) => Some(weight),
        }
    }
}

/// The edges of a text with an edge a line, `i j` or `i j weight`; `#` begins a comment.
pub(super) fn read(text: &str) -> Result<Vec<Edge>, String> {
    let mut edges = vec![];
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> =
            line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let wrong =
            || format!("line {}: expected `i j` or `i j weight`, found {:?}", at + 1, line.trim());
        let agent = |word: &str| word.parse::<usize>().map_err(|_| wrong());
        edges.push(match words[..] {
            [] => continue,
            [i, j] => Edge::Plain([agent(i)?, agent(j)?]),
            [i, j, w] => Edge::Weighted(agent(i)?, agent(j)?, w.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        });
    }
    Ok(edges)
}

/// The edges with ends in ascending order; refused if they are no graph of that many agents.
pub(super) fn checked(edges: &[Edge], agents: usize) -> Result<Vec<(usize, usize)>, KeyError> {
    let refuse = |problem: String| Err(KeyError::value("edges", problem));
    let mut all: Vec<(usize, usize)> = edges.iter().map(|edge| edge.ends()).collect();
    all.sort_unstable();
    if let Some((i, j)) = all.iter().find(|(_, j)| *j >= agents) {
        return refuse(format!(
            "the edge {i} {j} names an agent beyond the last one, {}",
            agents - 1
        ));
    }
    if let Some((i, _)) = all.iter().find(|(i, j)| i == j) {
        return refuse(format!(
            "the edge {i} {i} is a loop; w_{i}{i} is what the others leave of 1"
        ));
    }
    if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
        let (i, j) = pair[0];
        return refuse(format!("the edge {i} {j} stands there twice; edges go both ways"));
    }
    let weighted = edges.iter().filter(|edge| edge.weight().is_some()).count();
    if weighted != 0 && weighted != edges.len() {
        return refuse(format!(
            "{weighted} of {} edges have a weight; give all or none",
            edges.len()
        ));
    }
    let wrong = |edge: &&Edge| edge.weight().is_some_and(|w| !(w > 0.0 && w.is_finite()));
    if let Some(edge) = edges.iter().find(wrong) {
        let ((i, j), weight) = (edge.ends(), edge.weight().unwrap_or_default());
        return refuse(format!("the edge {i} {j} has weight {weight}; weights are above 0"));
    }
    Ok(all)
}

/// Refuses edges that do not connect all agents, naming one that agent 0 cannot reach.
pub(super) fn check_connected(edges: &[(usize, usize)], agents: usize) -> Result<(), KeyError> {
    let Some(lost) = unreached(edges, agents) else { return Ok(()) };
    let problem = format!(
        "the graph is not connected: agent {lost} cannot be reached from agent 0, and agents that \
         cannot hear of each other never agree; add edges"
    );
    Err(KeyError::value("", problem))
}

/// The lowest agent that cannot be reached from agent 0.
pub(super) fn unreached(edges: &[(usize, usize)], agents: usize) -> Option<usize> {
    let mut neighbours = vec![vec![]; agents];
    for &(i, j) in edges {
        neighbours[i].push(j);
        neighbours[j].push(i);
    }
    let mut reached = vec![false; agents];
    let mut next = vec![0];
    while let Some(i) = next.pop() {
        if !std::mem::replace(&mut reached[i], true) {
            next.extend(&neighbours[i]);
        }
    }
    reached.iter().position(|reached| !reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_line_by_line() {
        let edges = read("# a path\n0 1\n 2 1 0.25 # weighted\n\n").expect("a list");
        assert_eq!(edges, [Edge::Plain([0, 1]), Edge::Weighted(2, 1, 0.25)]);
        for (wrong, line) in [("0 1\n0 x", 2), ("0", 1), ("0 1 2 3", 1), ("-1 2", 1)] {
            let error = read(wrong).expect_err("no list");
            assert!(error.starts_with(&format!("line {line}: ")), "{error}");
        }
    }

    #[test]
    fn what_is_no_graph_is_refused_with_its_reason() {
        let refused = |edges: &[Edge]| checked(edges, 3).expect_err("no graph").problem;
        assert!(refused(&[Edge::Plain([0, 3])]).contains("beyond the last one, 2"));
        assert!(refused(&[Edge::Plain([1, 1])]).contains("is a loop"));
        assert!(refused(&[Edge::Plain([0, 1]), Edge::Plain([1, 0])]).contains("twice"));
        assert!(refused(&[Edge::Plain([0, 1]), Edge::Weighted(1, 2, 0.5)]).contains("1 of 2"));
        assert!(refused(&[Edge::Weighted(0, 1, -0.5)]).contains("weight -0.5"));
        assert_eq!(unreached(&[(0, 1)], 3), Some(2));
        assert_eq!(unreached(&[(0, 1), (1, 2)], 3), None);
    }
}
