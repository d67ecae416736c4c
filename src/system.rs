//! The machine and the libraries of a run.

use std::ffi::{CStr, c_char, c_int};

use serde_json::{Value, json};

unsafe extern "C" {
    fn openblas_set_num_threads(threads: c_int);
    fn openblas_get_config() -> *const c_char;
}

/// One BLAS thread: ranks are the parallelism, and the bits of a product must not depend on threads.
pub fn use_one_blas_thread() {
    // SAFETY: sets a number inside OpenBLAS; callable at any time.
    unsafe { openblas_set_num_threads(1) }
}

/// Version of OpenBLAS.
pub fn blas_version() -> String {
    // SAFETY: returns a pointer to a static C string.
    let config = unsafe { CStr::from_ptr(openblas_get_config()) }.to_string_lossy().into_owned();
    config.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Version of HDF5.
pub fn hdf5_version() -> String {
    let (major, minor, patch) = hdf5::library_version();
    format!("HDF5 {major}.{minor}.{patch}")
}

/// Version of this package.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Commit that the program was built from, with a `+` if files were changed; `unknown` without git.
pub fn git_commit() -> &'static str {
    env!("SOBAYA_GIT_COMMIT")
}

/// Largest memory that this process has held so far, in bytes. `getrusage` would count what the
/// process was before it became this program.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Memory and swap of this machine, or what the control groups of this process leave of them, in
/// bytes; `None` if the system does not say.
pub fn memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let machine = 1024 * (line("MemTotal:")? + line("SwapTotal:").unwrap_or(0));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // Version 2 has one line; a group is held to the limits of those above it, too.
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let limits = std::path::Path::new(group).ancestors().filter_map(|group| {
        let limit = std::path::Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        std::fs::read_to_string(limit).ok()?.trim().parse().ok()
    });
    Some(limits.fold(machine, u64::min))
}

/// CPU time of this process so far, in seconds.
pub fn cpu_seconds() -> f64 {
    // SAFETY: an all-zero timespec is valid, and clock_gettime only writes to the one it is given.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time);
        time
    };
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

/// Ends this process without waiting for anything, whatever its other threads do.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(code) }
}

/// A line on stderr. Whoever was to read it may have gone away: that is no reason to stop.
pub fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Name of this host.
pub fn host() -> String {
    let read = |path| std::fs::read_to_string(path).ok().map(|name| name.trim().to_owned());
    read("/proc/sys/kernel/hostname").unwrap_or_else(|| "unknown".into())
}

/// Name of the matrix products that this processor gets. The bits of a run depend on it.
pub use crate::product::kernels as product_kernels;

/// Model name of the processor.
pub fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned()
}

/// What a run ran on, for its log.
pub fn provenance(ranks: usize) -> Value {
    let env = |name: &str| std::env::var(name).ok();
    json!({
        "program": "sobaya",
        "program_version": version(),
        "git_commit": git_commit(),
        "created": humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        "command_line": std::env::args().collect::<Vec<_>>(),
        "host": host(),
        "cpu": cpu(),
        "ranks": ranks,
        "mpi": crate::comm::mpi::library_version(),
        "hdf5": hdf5_version(),
        "product_kernels": product_kernels(),
        "lapack": blas_version(),
        "slurm_job_id": env("SLURM_JOB_ID"),
    })
}

/// The same in lines, for `--version`.
pub fn long_version() -> String {
    format!(
        "{} (git {})\n{}\n{}\n{} for LAPACK\nproducts by {}",
        version(),
        git_commit(),
        crate::comm::mpi::library_version(),
        hdf5_version(),
        blas_version(),
        product_kernels()
    )
}
