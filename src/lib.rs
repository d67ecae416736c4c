//! Distributed bilevel optimization with compressed communication.
//!
//! Data flows one way, and a module knows only its neighbours:
//!
//! ```text
//! config -> plan -> data shards -> problem -> workers -> compressor -> packet -> comm -> server step -> log
//! ```
//!
//! - [`config`]: JSON as written -> validated, hashable plan
//! - [`data`]: readers, embedded set, partition -> one shard per worker
//! - [`problems`]: one file per problem; [`workers`]: their stochastic directions
//! - [`compressors`]: one file per compressor; [`packet`]: what travels
//! - [`graph`]: neighbours and mixing matrices of methods without a server
//! - [`comm`]: bytes between ranks, as threads or over MPI; [`net`]: patterns over packets
//! - [`algorithms`]: one file per algorithm, reading like its pseudo-code
//! - [`output`]: the output folder and its lock; [`archive`]: what a run must remember to go on, and
//!   [`checkpoint`]: where that is kept
//! - [`run`]: the loop; [`evaluate`]: metrics and the exact hypergradient; [`log`]: what is kept
//! - [`sweep`]: many configs from one file, each run by this program as a child
//! - [`cli`]: one file per subcommand
//!
//! A problem of one's own, in a crate of one's own, begins at [`main_with`] and [`prelude`].

#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

// What the parameters and the arithmetic of a problem need, in the versions that this crate uses.
pub use {ndarray, schemars, serde};

/// The program with problems of one's own: the whole command line. `registry` is usually
/// `problems::built_in().with::<Mine>()`; see `examples/own-problem`.
pub fn main_with(registry: registry::Registry<problems::Problems>) -> ! {
    problems::use_registry(registry);
    cli::main()
}

pub mod algorithms;
pub mod archive;
pub mod checkpoint;
pub mod cli;
pub mod comm;
pub mod compressors;
pub mod config;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod feedback;
pub mod gradients;
pub mod graph;
pub mod key;
pub mod log;
pub mod net;
pub mod output;
pub mod packet;
pub mod prelude;
pub mod problems;
pub mod product;
pub mod registry;
pub mod run;
pub mod scalar;
pub mod simd;
pub mod sweep;
pub mod system;
pub mod vars;
pub mod workers;
