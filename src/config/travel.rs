//! The keys that say how vectors travel: `compressor`, `feedback`, `downlink`, `wire`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Count, KeyError, Positive, parse};
use crate::algorithms::AlgorithmFacts;
use crate::compressors::{self, Bound, Coder, Site};
use crate::feedback::{self, Needs};
use crate::net::Collective;
use crate::vars::{Block, Layout};

/// Key `wire`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Wire {
    /// How packets are summed: at rank 0 (star), or by all ranks, a segment each (segments; with
    /// downlink "sum" and compressors whose packets may be summed).
    pub collective: Collective,
    /// Speed of the slowest link in Gbit/s: codes that take longer than what they save are left out.
    pub link_gbit: Positive,
}

impl Default for Wire {
    fn default() -> Self {
        Self { collective: Collective::default(), link_gbit: Positive::constant(1.0) }
    }
}

/// Key `downlink`: what comes down to the workers.
// Empty braces: only then are unknown keys refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Downlink {
    /// The server's iterate, uncompressed.
    Dense {},
    /// The compressed difference between the server's iterate and the workers' copy.
    Difference {
        /// One compressor for x, y and z, or {"x": .., "y": .., "z": ..}.
        compressor: Value,
    },
    /// The sums of the workers' packets: every rank makes the server's step.
    Sum {},
}

impl Default for Downlink {
    fn default() -> Self {
        Self::Dense {}
    }
}

/// These keys as written.
#[derive(Clone, Debug)]
pub struct Written<'a> {
    pub compressor: Option<&'a Value>,
    pub feedback: Option<&'a Value>,
    pub downlink: &'a Downlink,
    pub wire: Wire,
    /// D_x has few entries, which travel as they are.
    pub sparse_upper: bool,
}

/// How vectors travel, every default filled in.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Travel {
    /// Resolved objects of the compressor registry for x, y and z.
    pub compressors: [Value; 3],
    /// x, y and z are sent in every N-th iteration, N for each.
    pub every: [u64; 3],
    /// Resolved object of the feedback registry.
    pub feedback: Value,
    pub downlink: DownlinkPlan,
    pub wire: Wire,
}

/// What comes down, compressors resolved for x, y and z.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum DownlinkPlan {
    Dense,
    Difference([Value; 3]),
    Sum,
}

pub(super) const IDENTITY: &str = <crate::compressors::Identity as crate::registry::Kind>::KIND;
const EVERY: &str = "every";

impl Travel {
    /// Checks the keys for an algorithm; adds remarks to `notices`.
    pub fn new(
        written: Written<'_>,
        algorithm: &Value,
        facts: AlgorithmFacts,
        notices: &mut Vec<String>,
    ) -> Result<Self, KeyError> {
        let name = &algorithm["kind"];
        let (mut compressors, mut every) = uplinks(written.compressor, name, facts)?;
        if written.sparse_upper {
            leave_upper(written.compressor, &mut compressors, &mut every)?;
        }
        let feedback = feedback_of(written.feedback, name, facts)?;
        let downlink = match written.downlink {
            Downlink::Dense {} => DownlinkPlan::Dense,
            Downlink::Sum {} => DownlinkPlan::Sum,
            Downlink::Difference { compressor } => DownlinkPlan::Difference(
                per_variable(compressor, compressors::resolve_unshared)
                    .map_err(|e| e.below("downlink.compressor"))?,
            ),
        };
        let travel = Self { compressors, every, feedback, downlink, wire: written.wire };
        travel.check(written.sparse_upper)?;
        let feedback = feedback::registry().facts(&travel.feedback);
        let biased = travel.compressors.iter().any(|c| !promises(c).is_some_and(is_unbiased));
        if feedback.averages && algorithm["theta"].as_f64().is_some_and(|theta| theta < 1.0) {
            notices.push(format!(
                "feedback: {} averages at the workers, and theta averages once more; set \
                 algorithm.theta to 1 to average once",
                travel.feedback["kind"]
            ));
        }
        if feedback.needs == Needs::Open && biased {
            notices.push(format!(
                "compressor: a biased compressor under {name} without feedback has no guarantee; \
                 ef-soba, or \"feedback\": {{\"kind\": \"residual\"}}, corrects the bias",
            ));
        }
        Ok(travel)
    }

    /// What does not go together.
    fn check(&self, sparse_upper: bool) -> Result<(), KeyError> {
        let facts = feedback::registry().facts(&self.feedback);
        let kind = &self.feedback["kind"];
        for block in Block::ALL {
            let (compressor, name) = (&self.compressors[block as usize], block.name());
            let promise = promises(compressor);
            let refuse = |key: &str, problem: String| Err(KeyError::value(key, problem));
            if facts.needs == Needs::Unbiased && !promise.is_some_and(is_unbiased) {
                let problem = format!(
                    "{kind} needs unbiased compressors, and {} of {name} is biased; use \"memory\", \
                     \"ef21\" or \"econtrol\"",
                    compressor["kind"]
                );
                return refuse("feedback.kind", problem);
            }
            let two_rounds = compressors::coders().facts(compressor).two_rounds;
            if two_rounds && facts.needs == Needs::Open {
                let key = format!("compressor.{name}.kind");
                let problem = "what low rank leaves out would be lost; use c-soba or cm-soba with \
                               \"feedback\": {\"kind\": \"residual\"}, or ef-soba";
                return refuse(&key, problem.into());
            }
            if facts.needs == Needs::Open && self.every[block as usize] > 1 {
                let key = format!("compressor.{name}.{EVERY}");
                let problem = "without feedback the directions that are not sent are lost; add \
                               \"feedback\": {\"kind\": \"residual\"}";
                return refuse(&key, problem.into());
            }
            if self.downlink == DownlinkPlan::Sum && two_rounds {
                let problem = format!(
                    "{} of {name} needs a server between its rounds; use \"dense\" or \"difference\"",
                    compressor["kind"]
                );
                return refuse("downlink.kind", problem);
            }
            let segments = self.wire.collective == Collective::Segments;
            if segments && !promise.is_some_and(|(_, summable)| summable) {
                let problem = format!(
                    "packets of {} of {name} cannot be summed; \"segments\" needs identity, or rand-k \
                     or rand-block with \"shared\": true",
                    compressor["kind"]
                );
                return refuse("wire.collective", problem);
            }
            if segments && sparse_upper {
                let problem = "the entries of x that this problem's workers send differ, so that \
                               their packets cannot be summed; use \"star\"";
                return refuse("wire.collective", problem.into());
            }
            if segments && self.downlink != DownlinkPlan::Sum {
                let problem = "\"segments\" leaves the sums on every rank; add \"downlink\": \
                               {\"kind\": \"sum\"}";
                return refuse("wire.collective", problem.into());
            }
        }
        Ok(())
    }

    /// The key `compressor` with every default filled in.
    pub fn written_compressor(&self) -> Value {
        let mut all = self.compressors.clone();
        for (compressor, &every) in all.iter_mut().zip(&self.every) {
            if every > 1 {
                compressor[EVERY] = json!(every);
            }
        }
        by_variable(all)
    }

    /// The key `downlink` with every default filled in.
    pub fn written_downlink(&self) -> Downlink {
        match &self.downlink {
            DownlinkPlan::Dense => Downlink::Dense {},
            DownlinkPlan::Sum => Downlink::Sum {},
            DownlinkPlan::Difference(all) => {
                Downlink::Difference { compressor: by_variable(all.clone()) }
            }
        }
    }
}

/// One value for all three variables, or one each.
pub(super) fn by_variable([x, y, z]: [Value; 3]) -> Value {
    if x == y && y == z { x } else { json!({ "x": x, "y": y, "z": z }) }
}

/// The compressors of x, y and z, and how often each is sent.
fn uplinks(
    written: Option<&Value>,
    algorithm: &Value,
    facts: AlgorithmFacts,
) -> Result<([Value; 3], [u64; 3]), KeyError> {
    let Some(given) = written else {
        if facts.compressed {
            let problem = format!(
                "missing; the algorithm {algorithm} needs one, such as {{\"kind\": \"rand-k\", \
                 \"ratio\": 0.1}}"
            );
            return Err(KeyError::value("compressor", problem));
        }
        return Ok(([IDENTITY; 3].map(|kind| json!({ "kind": kind })), [1; 3]));
    };
    let unused = || {
        let problem = format!(
            "the algorithm {algorithm} sends everything uncompressed, in every iteration; remove \
             this key, or use \
             \"c-soba\", \"cm-soba\" or \"ef-soba\""
        );
        KeyError::unused("compressor", problem)
    };
    // Whatever else it says, it has no use.
    if !facts.compressed && !is_identity(given) {
        return Err(unused());
    }
    let mut given = given.clone();
    let every = take_every(&mut given).map_err(|e| e.below("compressor"))?;
    let all = per_variable(&given, |one| compressors::coders().resolve(one))
        .map_err(|e| e.below("compressor"))?;
    if !facts.compressed && every != [1; 3] {
        return Err(unused());
    }
    Ok((all, every))
}

/// Whether nothing but identity is asked for.
fn is_identity(given: &Value) -> bool {
    match is_separate(given) {
        true => Block::ALL.iter().all(|block| given[block.name()]["kind"] == IDENTITY),
        false => given["kind"] == IDENTITY,
    }
}

/// Where D_x has few entries they travel as they are: one compressor for all is for y and z.
fn leave_upper(
    written: Option<&Value>,
    compressors: &mut [Value; 3],
    every: &mut [u64; 3],
) -> Result<(), KeyError> {
    let separate = written.is_some_and(is_separate);
    if separate && (compressors[0]["kind"] != IDENTITY || every[0] != 1) {
        let problem = format!(
            "x of this problem is never compressed: a worker sends the entries of its mini-batch \
             alone; use {{\"kind\": \"{IDENTITY}\"}} for x"
        );
        return Err(KeyError::value("compressor.x", problem));
    }
    compressors[0] = json!({ "kind": IDENTITY });
    every[0] = 1;
    Ok(())
}

/// Takes the keys `every` out of the compressor objects.
fn take_every(given: &mut Value) -> Result<[u64; 3], KeyError> {
    fn take(object: &mut Value) -> Result<u64, KeyError> {
        let value = object.as_object_mut().and_then(|map| map.remove(EVERY)).unwrap_or(json!(1));
        let every: Count = parse(value).map_err(|e| e.below(EVERY))?;
        Ok(every.get() as u64)
    }
    if !is_separate(given) {
        return Ok([take(given)?; 3]);
    }
    let mut every = [1; 3];
    for block in Block::ALL {
        let name = block.name();
        if let Some(one) = given.get_mut(name) {
            every[block as usize] = take(one).map_err(|e| e.below(name))?;
        }
    }
    Ok(every)
}

/// Whether an object has a value for each variable.
pub(super) fn is_separate(given: &Value) -> bool {
    given.as_object().is_some_and(|map| {
        !map.contains_key("kind") && Block::ALL.iter().any(|block| map.contains_key(block.name()))
    })
}

/// What x, y and z have, from one object or from {"x", "y", "z"}.
pub(super) fn per_variable<T: Clone>(
    given: &Value,
    resolve: impl Fn(&Value) -> Result<T, KeyError>,
) -> Result<[T; 3], KeyError> {
    if !is_separate(given) {
        let one = resolve(given)?;
        return Ok([one.clone(), one.clone(), one]);
    }
    let empty = Map::new();
    let map = given.as_object().unwrap_or(&empty);
    let names = Block::ALL.map(Block::name);
    if let Some(key) = map.keys().find(|key| !names.contains(&key.as_str())) {
        return Err(KeyError::unused(key, "unknown key; known here: x, y, z".into()));
    }
    let one = |name: &str| {
        let missing = || KeyError::value(name, "missing; x, y and z each need one".into());
        let object = map.get(name).ok_or_else(missing)?;
        resolve(object).map_err(|e| e.below(name))
    };
    let [x, y, z] = names;
    Ok([one(x)?, one(y)?, one(z)?])
}

fn feedback_of(
    written: Option<&Value>,
    algorithm: &Value,
    facts: AlgorithmFacts,
) -> Result<Value, KeyError> {
    let default = json!({ "kind": facts.feedback[0] });
    if !facts.compressed && written.is_some_and(|given| given["kind"] != default["kind"]) {
        let problem = format!("the algorithm {algorithm} loses nothing; remove this key");
        return Err(KeyError::unused("feedback", problem));
    }
    let resolved = feedback::registry()
        .resolve(written.unwrap_or(&default))
        .map_err(|e| e.below("feedback"))?;
    let kind = resolved["kind"].as_str().unwrap_or_default();
    if facts.feedback.contains(&kind) {
        return Ok(resolved);
    }
    let problem = format!(
        "the algorithm {algorithm} does not use \"{kind}\"; it may use {}",
        facts.feedback.join(", ")
    );
    Err(KeyError::value("feedback.kind", problem))
}

/// What a compressor promises and whether its packets may be summed; `None` where that depends on
/// the variable, as for low rank.
fn promises(compressor: &Value) -> Option<(Bound, bool)> {
    // Neither depends on the length of the vector.
    let layout = Layout::flat(1 << 20);
    let coder = compressors::coders().build::<f64>(compressor, Site::new(&layout)).ok()?;
    match &*coder {
        Coder::Packet(compressor) => Some((compressor.bound(), compressor.summable().is_some())),
        Coder::LowRank(_) => None,
    }
}

fn is_unbiased((bound, _): (Bound, bool)) -> bool {
    matches!(bound, Bound::Unbiased { .. })
}
