//! What the library promises, by its own functions: algorithms, compressors, problems, and their structure.
//! One program, because each is linked with, and much of it compiled for, the whole library once more.

#[path = "../common/mod.rs"]
mod common;

mod algorithms;
mod compressors;
mod decentralized;
mod decoders;
mod double_loops;
mod feedback;
mod gradients;
mod layers;
mod net;
mod numpy;
mod own_problem;
mod problems;
mod quantisers;
mod top_k;
