//! The keys of methods without a server: `topology`, `mixing`, `weights`, `gossip`, and `compressor` as
//! they use it.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::travel::{IDENTITY, by_variable, is_separate, per_variable};
use super::{KeyError, Positive, Ratio, parse};
use crate::compressors::{self, Bound, Site};
use crate::graph::{Graph, Mixing, Topology};
use crate::vars::Layout;

/// Key `weights`: how much each agent's losses count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// The importance of each agent; their sum is 1.
    pub lambda: Vec<Positive>,
    /// How they enter.
    #[serde(default)]
    pub mode: WeightsMode,
}

/// How the importance of agents enters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WeightsMode {
    /// Agent i's directions are multiplied by n lambda_i; the mixing matrix is doubly stochastic.
    #[default]
    Scaled,
    /// The mixing matrix is the row-stochastic one that conserves the weighted mean.
    RowStochastic,
}

/// Key `gossip`: steps of compressed mixing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Step towards the neighbours: 0.005 by default for an unbiased compressor, 0.3 for a contractive one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<Ratio>,
    /// Step of the dual variable of ed and extra: 0.005 by default, and 0.01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_dual: Option<Ratio>,
}

/// These keys as written.
#[derive(Debug, Default)]
pub struct Written<'a> {
    pub topology: Option<&'a Value>,
    pub mixing: Option<Mixing>,
    pub weights: Option<&'a Weights>,
    pub gossip: Option<&'a Value>,
    pub compressor: Option<&'a Value>,
}

/// The graphs of a run without a server and what travels on them, every default filled in.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct GraphPlan {
    /// Of x, y and z.
    pub topologies: [Topology; 3],
    pub mixing: Mixing,
    pub graphs: [Graph; 3],
    pub weights: Option<Weights>,
    /// Resolved objects of the compressor registry.
    pub compressors: [Value; 3],
    /// eta and eta_dual of x, y and z; `None` for a variable that is not compressed.
    pub rates: [Option<[f64; 2]>; 3],
}

impl Written<'_> {
    /// Refuses the keys that a method with a server does not use.
    pub fn refuse(&self, algorithm: &Value) -> Result<(), KeyError> {
        let given = [
            ("topology", self.topology.is_some()),
            ("mixing", self.mixing.is_some()),
            ("weights", self.weights.is_some()),
            ("gossip", self.gossip.is_some()),
        ];
        let Some((key, _)) = given.into_iter().find(|(_, given)| *given) else { return Ok(()) };
        let kind = &algorithm["kind"];
        let problem = format!("the algorithm {kind} has a server; remove this key");
        Err(KeyError::unused(key, problem))
    }

    /// Checks the keys for so many agents. `read` reads a file of edges, or says why not.
    pub fn plan(
        &self,
        agents: usize,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<GraphPlan, KeyError> {
        let ring = json!({ "kind": "ring" });
        let topology = |given: &Value| -> Result<Topology, KeyError> {
            parse::<Topology>(given.clone())?.resolved(agents, &read)
        };
        let topologies = per_variable(self.topology.unwrap_or(&ring), topology)
            .map_err(|e| e.below("topology"))?;
        let given = self.mixing.unwrap_or_default();
        let mixings = [0, 1, 2].map(|at| given.resolved(&topologies[at]));
        let [x, y, z] = mixings;
        let mixings = [x?, y?, z?];
        if given.kind.is_some() && mixings.iter().all(|mixing| mixing.kind.is_none()) {
            let problem = "\"one-peer-exponential\" averages by halves; remove this key";
            return Err(KeyError::unused("mixing.kind", problem.into()));
        }
        let alike = mixings.iter().all(|mixing| *mixing == mixings[0]);
        let mixing = if alike { mixings[0] } else { given };
        let lambda = self.weights.map(|weights| lambda(weights, agents)).transpose()?;
        let induced = self.weights.is_some_and(|w| w.mode == WeightsMode::RowStochastic);
        let lambda = lambda.as_deref().filter(|_| induced);
        let graph = |at: usize| Graph::new(&topologies[at], mixings[at], agents, lambda);
        let graphs = [graph(0)?, graph(1)?, graph(2)?];
        let identity = json!({ "kind": IDENTITY });
        let compressors = per_variable(self.compressor.unwrap_or(&identity), compressor)
            .map_err(|e| e.below("compressor"))?;
        let rates = rates(self.gossip, &compressors).map_err(|e| e.below("gossip"))?;
        for (at, rates) in rates.iter().enumerate() {
            if rates.is_some() && graphs[at].period() > 1 {
                let problem = "neighbours follow compressed vectors from one iteration to the next, \
                               and the neighbours of this graph change; use \"exponential\", or the \
                               compressor \"identity\"";
                return Err(KeyError::value("topology.kind", problem.into()));
            }
        }
        let weights = self.weights.cloned();
        Ok(GraphPlan { topologies, mixing, graphs, weights, compressors, rates })
    }
}

impl GraphPlan {
    /// n lambda_i [n], where agents count differently.
    pub fn importance(&self) -> Option<Vec<f64>> {
        let Weights { lambda, .. } = self.weights.as_ref()?;
        let sum: f64 = lambda.iter().map(|l| l.get()).sum();
        Some(lambda.iter().map(|l| lambda.len() as f64 * l.get() / sum).collect())
    }

    /// Of the graphs of x, y and z.
    pub fn spectral_gaps(&self) -> [f64; 3] {
        self.graphs.each_ref().map(Graph::spectral_gap)
    }

    /// The directed links (sender, receiver) of these graphs, ascending.
    pub fn links(&self) -> BTreeSet<(usize, usize)> {
        self.graphs.iter().flat_map(Graph::links).collect()
    }

    /// Whether directions are multiplied by it.
    pub fn scaled(&self) -> bool {
        self.weights.as_ref().is_some_and(|w| w.mode == WeightsMode::Scaled)
    }

    /// The key `topology` with every default filled in.
    pub fn written_topology(&self) -> Value {
        by_variable(self.topologies.clone().map(|t| json!(t)))
    }

    /// The key `compressor`, likewise.
    pub fn written_compressor(&self) -> Value {
        by_variable(self.compressors.clone())
    }

    /// The key `gossip`, likewise; of no use where nothing is compressed.
    pub fn written_gossip(&self) -> Option<Value> {
        let some = self.rates.iter().flatten().next()?;
        // What stands for a variable that is not compressed is not read.
        let all = self.rates.map(|rates| rates.unwrap_or(*some));
        Some(by_variable(all.map(|[eta, dual]| json!({ "eta": eta, "eta_dual": dual }))))
    }
}

/// lambda, if it is one weight for each agent and sums to 1.
fn lambda(weights: &Weights, agents: usize) -> Result<Vec<f64>, KeyError> {
    let all: Vec<f64> = weights.lambda.iter().map(|l| l.get()).collect();
    let sum: f64 = all.iter().sum();
    let refuse = |problem: String| Err(KeyError::value("weights.lambda", problem));
    if all.len() != agents {
        return refuse(format!("{} weights for {agents} agents; give one each", all.len()));
    }
    if (sum - 1.0).abs() > 1e-6 {
        return refuse(format!("the weights sum to {sum}; divide them by that, their sum is 1"));
    }
    Ok(all.into_iter().map(|l| l / sum).collect())
}

/// A compressor without a second round and without a support that all share.
fn compressor(given: &Value) -> Result<Value, KeyError> {
    let coder = compressors::coders().resolve(given)?;
    if compressors::coders().facts(&coder).two_rounds {
        let problem = format!("{} needs a server between its rounds; use another", coder["kind"]);
        return Err(KeyError::value("kind", problem));
    }
    compressors::resolve_unshared(given)
}

fn rates(
    given: Option<&Value>,
    compressors: &[Value; 3],
) -> Result<[Option<[f64; 2]>; 3], KeyError> {
    let coded = compressors.each_ref().map(|c| c["kind"] != IDENTITY);
    if coded == [false; 3] && given.is_some() {
        let problem = "nothing is compressed, so neighbours mix by W itself; remove this key";
        return Err(KeyError::unused("", problem.into()));
    }
    let empty = json!({});
    let given = given.unwrap_or(&empty);
    let written = match is_separate(given) {
        true => per_variable(given, |one| parse::<Rates>(one.clone()))?,
        false => [parse::<Rates>(given.clone())?; 3],
    };
    let mut rates = [None; 3];
    for at in (0..3).filter(|&at| coded[at]) {
        let defaults = default_rates(&compressors[at])?;
        let or = |key: Option<Ratio>, default: f64| key.map_or(default, Ratio::get);
        let Rates { eta, eta_dual } = written[at];
        rates[at] = Some([or(eta, defaults[0]), or(eta_dual, defaults[1])]);
    }
    Ok(rates)
}

/// What was seen to be stable at 10 %.
fn default_rates(compressor: &Value) -> Result<[f64; 2], KeyError> {
    // What a compressor promises does not depend much on the length of the vector.
    let layout = Layout::flat(1 << 10);
    let built = compressors::registry().build::<f64>(compressor, Site::new(&layout))?;
    Ok(match built.bound() {
        Bound::Unbiased { .. } => [0.005, 0.005],
        Bound::Contractive { .. } => [0.3, 0.01],
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::Plan;

    fn example() -> Value {
        json!({ "name": "t", "workers": 6, "iterations": 10, "problem": { "kind": "quadratic" },
            "algorithm": { "kind": "d-soba", "alpha": 0.1, "beta": 0.1, "gamma": 0.1 } })
    }

    fn refused(key: &str, value: Value) -> String {
        let mut config = example();
        config[key] = value;
        Plan::new(config).expect_err("a config that cannot be run").to_string()
    }

    #[test]
    fn defaults_are_filled_in_and_resolving_is_idempotent() {
        let rand_k = json!({ "kind": "rand-k", "ratio": 0.1 });
        let top_k = json!({ "kind": "top-k", "ratio": 0.1 });
        let identity = json!({ "kind": "identity" });
        for (topology, compressor) in [
            (json!(null), json!(null)),
            (json!({ "kind": "torus" }), rand_k.clone()),
            (
                json!({ "x": { "kind": "ring" }, "y": { "kind": "star" }, "z": { "kind": "complete" } }),
                json!({ "x": rand_k, "y": top_k, "z": identity }),
            ),
        ] {
            let mut config = example();
            config["topology"] = topology;
            config["compressor"] = compressor;
            let plan = Plan::new(config).expect("a config that can be run");
            let again = Plan::new(plan.resolved.clone()).expect("its resolved form");
            assert_eq!((again.resolved, again.sha256), (plan.resolved, plan.sha256));
        }
        let plan = Plan::new(example()).expect("a config that can be run");
        assert_eq!(plan.resolved["topology"], json!({ "kind": "ring" }));
        assert_eq!(plan.resolved["mixing"], json!({ "kind": "metropolis", "lazy": false }));
        assert_eq!(plan.resolved.get("gossip"), None);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_key_and_the_remedy() {
        let error = refused("weights", json!({ "lambda": [0.5, 0.5] }));
        assert!(error.contains("`weights.lambda`: 2 weights for 6 agents"), "{error}");
        let error = refused("weights", json!({ "lambda": [1, 1, 1, 1, 1, 1] }));
        assert!(error.contains("sum to 6"), "{error}");
        let error = refused("gossip", json!({ "eta": 0.1 }));
        assert!(error.contains("`gossip`: nothing is compressed"), "{error}");
        let error = refused("compressor", json!({ "kind": "low-rank", "rank": 1 }));
        assert!(error.contains("`compressor.kind`: \"low-rank\" needs a server"), "{error}");
        let error = refused("topology", json!({ "kind": "file", "file": "/no/such/file" }));
        assert!(error.contains("`topology.file`: "), "{error}");
        let error = refused("downlink", json!({ "kind": "sum" }));
        assert!(error.contains("`downlink`: "), "{error}");
        let mut config = example();
        config["algorithm"]["kind"] = json!("soba");
        config["mixing"] = json!({ "lazy": true });
        let error = Plan::new(config).expect_err("a key of no use").to_string();
        assert!(error.contains("`mixing`: the algorithm \"soba\" has a server"), "{error}");
    }
}
