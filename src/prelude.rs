//! What a problem of one's own is written with: `use sobaya::prelude::*;`.
//!
//! The parameters derive `Serialize`, `Deserialize` and `JsonSchema` of this crate's own serde and
//! schemars, so that its versions are the right ones:
//!
//! ```
//! use sobaya::prelude::*;
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! #[serde(crate = "sobaya::serde", deny_unknown_fields)]
//! #[schemars(crate = "sobaya::schemars")]
//! struct Mine {
//!     /// Samples of a mini-batch.
//!     batch: Count,
//! }
//! ```

pub use std::ops::Range;

pub use ndarray;
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};

pub use crate::config::{Count, KeyError, NonNegative, Positive, Ratio, Share};
pub use crate::data::{DataError, DataProblem, Sampler};
pub use crate::key::{Key, Stream};
pub use crate::problems::{
    self, Draw, FullSample, LocalMetrics, Losses, Problem, ProblemContext, ProblemError,
    ProblemFacts, ProblemKind,
};
pub use crate::registry::Kind;
pub use crate::scalar::Scalar;
pub use crate::vars::{Block, Blocks, Dims, Layout, Vars};
