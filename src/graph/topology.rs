//! Topologies: which agents are neighbours.

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edges::{self, Edge};
use crate::config::{Count, KeyError, Ratio};
use crate::key::{Key, Stream};

/// Key `topology`: who is whose neighbour among agents 0 .. n - 1.
// Empty braces: only then are unknown keys refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Topology {
    /// i and i + 1 modulo n.
    Ring {},
    /// A grid whose rows and columns are rings.
    Torus {
        /// Number of rows, a divisor of n; by default the largest one up to the square root of n.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rows: Option<Count>,
    },
    /// i and i + 1, i + 2, i + 4, .. below n, modulo n.
    Exponential {},
    /// In iteration k agent i hears i + 2^(k mod log2 n) alone, log2 rounded up, and averages with it
    /// (Ying, Yuan, Chen, Hu, Pan, Yin: Exponential graph is provably efficient for decentralized
    /// deep training, NeurIPS 2021). One way, changing over time: for uncorrected gossip.
    OnePeerExponential {},
    /// Each pair with this probability; drawn again until the graph is connected.
    ErdosRenyi {
        /// Probability of an edge.
        probability: Ratio,
        /// Seed of the graph, apart from the run's.
        #[serde(default)]
        seed: u64,
    },
    /// Agent 0 and every other.
    Star {},
    /// Every pair.
    Complete {},
    /// The edges of a text file, `i j` or `i j weight` a line. The config is resolved to them.
    File {
        /// Path of the file.
        file: String,
    },
    /// These edges.
    Edges {
        /// Each `[i, j]` or `[i, j, weight]`.
        edges: Vec<Edge>,
    },
}

/// How often a random graph is drawn before it is given up.
const DRAWS: u32 = 1000;

impl Topology {
    /// The same with every default filled in for `agents` agents and, in place of a file, what `read`
    /// finds in it: words say what is wrong with a file.
    pub fn resolved(
        &self,
        agents: usize,
        read: impl FnOnce(&str) -> Result<String, String>,
    ) -> Result<Self, KeyError> {
        Ok(match self {
            Self::Torus { rows: None } => {
                let square = |rows: &usize| rows * rows <= agents && agents.is_multiple_of(*rows);
                let rows = (2..agents).rev().find(square).ok_or_else(|| {
                    let problem = format!(
                        "{agents} agents are no rows and columns of 2 or more; change `workers`, or \
                         use \"ring\""
                    );
                    KeyError::value("kind", problem)
                })?;
                Self::Torus { rows: Some(Count::constant(rows as f64)) }
            }
            Self::File { file } => {
                let edges = read(file).and_then(|text| edges::read(&text));
                let edges = edges.map_err(|problem| KeyError::value("file", problem))?;
                Self::Edges { edges }
            }
            other => other.clone(),
        })
    }

    /// The edges' own weights in the order of [`Topology::edges`], if they have them.
    pub(super) fn weights(&self) -> Option<Vec<((usize, usize), f64)>> {
        let Self::Edges { edges } = self else { return None };
        let weighted = edges.iter().map(|edge| Some((edge.ends(), edge.weight()?)));
        let mut all: Vec<_> = weighted.collect::<Option<_>>()?;
        all.sort_unstable_by_key(|&(ends, _)| ends);
        (!all.is_empty()).then_some(all)
    }

    /// Edges (i, j), i < j, ascending.
    pub(super) fn edges(&self, agents: usize) -> Result<Vec<(usize, usize)>, KeyError> {
        let n = agents;
        let mut edges: Vec<(usize, usize)> = match self {
            Self::Ring {} => (0..n).map(|i| (i, (i + 1) % n)).collect(),
            Self::Torus { rows } => torus(n, rows.map_or(1, Count::get))?,
            Self::Exponential {} => {
                steps(n).flat_map(|step| (0..n).map(move |i| (i, (i + step) % n))).collect()
            }
            Self::ErdosRenyi { probability, seed } => erdos_renyi(n, probability.get(), *seed)?,
            Self::Star {} => (1..n).map(|i| (0, i)).collect(),
            Self::Complete {} => (0..n).flat_map(|i| (0..i).map(move |j| (j, i))).collect(),
            Self::Edges { edges } => edges::checked(edges, n)?,
            // One way each, and read, before anybody asks for edges.
            Self::OnePeerExponential {} | Self::File { .. } => vec![],
        };
        edges.iter_mut().for_each(|edge| *edge = (edge.0.min(edge.1), edge.0.max(edge.1)));
        edges.retain(|(i, j)| i != j);
        edges.sort_unstable();
        edges.dedup();
        Ok(edges)
    }
}

/// 1, 2, 4, .. below n.
pub(super) fn steps(agents: usize) -> impl Iterator<Item = usize> + Clone {
    std::iter::successors(Some(1usize), |step| step.checked_mul(2)).take_while(move |&s| s < agents)
}

fn torus(agents: usize, rows: usize) -> Result<Vec<(usize, usize)>, KeyError> {
    if rows < 2 || !agents.is_multiple_of(rows) || agents / rows < 2 {
        let problem = format!(
            "{agents} agents are not {rows} rows of 2 or more columns, nor may there be fewer than 2 \
             rows; give a divisor of `workers`, or use \"ring\""
        );
        return Err(KeyError::value("rows", problem));
    }
    let columns = agents / rows;
    let at = |row: usize, column: usize| (row % rows) * columns + column % columns;
    let both = |i: usize| {
        let (row, column) = (i / columns, i % columns);
        [(i, at(row, column + 1)), (i, at(row + 1, column))]
    };
    Ok((0..agents).flat_map(both).collect())
}

fn erdos_renyi(
    agents: usize,
    probability: f64,
    seed: u64,
) -> Result<Vec<(usize, usize)>, KeyError> {
    for draw in 0..DRAWS {
        let mut rng = Key::shared(seed, Stream::Topology).numbered(draw).rng();
        let pairs = (0..agents).flat_map(|i| (0..i).map(move |j| (j, i)));
        let edges: Vec<_> = pairs.filter(|_| rng.random::<f64>() < probability).collect();
        if edges::unreached(&edges, agents).is_none() {
            return Ok(edges);
        }
    }
    let enough = ((agents as f64).ln() / agents as f64 * 2.0).min(1.0);
    let problem = format!(
        "none of {DRAWS} graphs drawn with probability {probability} is connected; {enough:.2} would \
         do for {agents} agents"
    );
    Err(KeyError::value("probability", problem))
}
