//! What a user of the program sees: data, runs and their results, logs and job scripts.

#[path = "../process/mod.rs"]
mod process;

mod accuracy;
mod bench;
mod data;
mod hyper_cleaning;
mod job_script;
mod log_file;
mod own_data;
