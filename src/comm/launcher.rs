//! What the launcher of an MPI job tells its processes.

/// Number of processes by the launcher's environment, or 1.
pub fn launched_processes() -> usize {
    first_number(&["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"]).unwrap_or(1)
}

/// Whether the launcher's environment calls this process the first one, or says nothing.
pub fn launched_first() -> bool {
    first_number(&["OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"]).unwrap_or(0) == 0
}

fn first_number(names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| std::env::var(name).ok()?.parse().ok())
}
