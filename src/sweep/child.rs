//! A run as a child process that never outlives this one.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use xxhash_rust::xxh3::xxh3_64;

use super::SweepError;
use super::lock::Lock;

/// A running child, the leader of its own process group, with a folder for what its MPI keeps there.
pub struct Child {
    process: std::process::Child,
    session: PathBuf,
}

/// What a child is to do.
pub struct Job {
    /// Program and arguments.
    pub words: Vec<OsString>,
    /// The run's folder, in which its stdout and stderr go to files.
    pub folder: PathBuf,
    /// Whether other runs share the machine's cores with it.
    pub crowded: bool,
}

impl Child {
    /// Starts a child. It keeps the lock for as long as it lives, and is told to end (TERM) when this
    /// process has ended in whatever way. To be called from a thread that lives as long as the process.
    pub fn start(job: &Job, lock: &Lock) -> Result<Self, SweepError> {
        let session = session_folder(&job.folder)?;
        let mut command = Command::new(&job.words[0]);
        command.args(&job.words[1..]).stdin(Stdio::null()).process_group(0);
        command.stdout(new_file(job.folder.join("stdout"))?);
        command.stderr(new_file(job.folder.join("stderr"))?);
        environment(&mut command, &session, job.crowded);
        let (parent, kept) = (std::process::id() as libc::pid_t, lock.descriptor());
        // SAFETY: what runs between fork and exec calls three async-signal-safe functions with numbers.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0
                    || libc::fcntl(kept, libc::F_SETFD, 0) != 0
                {
                    return Err(io::Error::last_os_error());
                }
                match libc::getppid() == parent {
                    true => Ok(()),
                    false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
                }
            });
        }
        match command.spawn() {
            Ok(process) => Ok(Self { process, session }),
            Err(source) => {
                remove(&session);
                let program = job.words[0].to_string_lossy().into_owned();
                Err(SweepError::Launcher { program, source })
            }
        }
    }

    /// Its exit code if it has ended; of a signal 128 and more, as shells count.
    pub fn ended(&mut self) -> io::Result<Option<i32>> {
        let code = |status: ExitStatus| {
            status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
        };
        Ok(self.process.try_wait()?.map(code))
    }

    /// Sends a signal to the child's whole group.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: a signal to the group of a child that has not been waited for: the number is its own.
        unsafe { libc::kill(-(self.process.id() as libc::pid_t), signal) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Ok(None) = self.ended() {
            self.signal(libc::SIGKILL);
            let _ = self.process.wait();
        }
        remove(&self.session);
    }
}

/// Where a run's MPI keeps its session: jobs of Open MPI that share a folder get in each other's way as
/// they start and end. It lies where paths are short, for sockets are made in it, and has the same name
/// each time, so that what a killed sweep has left is found.
fn session_of(folder: &Path) -> io::Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    let hash = xxh3_64(folder.as_os_str().as_encoded_bytes());
    Ok(std::env::temp_dir().join(format!("sobaya-{hash:016x}")))
}

fn session_folder(folder: &Path) -> Result<PathBuf, SweepError> {
    let session =
        session_of(folder).map_err(|source| SweepError::Io { path: folder.to_owned(), source })?;
    remove(&session);
    match fs::create_dir(&session) {
        Ok(()) => Ok(session),
        Err(source) => Err(SweepError::Io { path: session, source }),
    }
}

fn new_file(path: PathBuf) -> Result<fs::File, SweepError> {
    fs::File::create(&path).map_err(|source| SweepError::Io { path, source })
}

/// Removes what a sweep that was killed has left of the session of a run that came to its end.
pub fn clear_session(folder: &Path) {
    if let Ok(session) = session_of(folder)
        && session.exists()
    {
        remove(&session);
    }
}

fn remove(session: &Path) {
    // What cannot be removed is no reason to fail: the system's folder for such files is cleared.
    let _ = fs::remove_dir_all(session);
}

/// What a run finds in its environment, where the user has not said otherwise.
fn environment(command: &mut Command, session: &Path, crowded: bool) {
    command.env("OMPI_MCA_orte_tmpdir_base", session).env("PMIX_SYSTEM_TMPDIR", session);
    let mut default = |name: &str, value: &str| {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    };
    default("OPENBLAS_NUM_THREADS", "1");
    if crowded {
        // Jobs do not know of each other: each would take the first core.
        default("OMPI_MCA_hwloc_base_binding_policy", "none");
        default("OMPI_MCA_mpi_yield_when_idle", "1");
    }
}
