//! Who holds a folder: the content of its lock.

use std::fmt;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::OutputError;

/// Name of the lock in the output folder.
pub const LOCK: &str = "lock";
/// Digits of the counter in the file; those that are not needed are blanks, so that the file keeps its
/// length and a reader never sees half a number.
const DIGITS: usize = 20;

/// A process that holds, or held, a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub host: String,
    /// Tells one start of a machine from another, and from other machines of the same name.
    pub boot_id: String,
    /// Process numbers mean something in here alone.
    pub pid_namespace: String,
    pub pid: u32,
    /// When the process began, in clock ticks since boot: numbers are given again to later processes.
    pub start_ticks: u64,
    /// Slurm's job.
    pub job: Option<String>,
    /// How often Slurm has started that job again.
    pub restart_count: u64,
    /// Tells this lock from every other one; 16 hexadecimal digits.
    nonce: String,
    /// Grows while the holder lives.
    pub counter: u64,
}

/// What can be said of a holder from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Alive,
    /// And why.
    Dead(String),
    /// Its counter must tell.
    Unknown,
}

impl Holder {
    /// This process, with a nonce of its own.
    pub fn here() -> Result<Self, OutputError> {
        let line = |path: &str| {
            fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let job = std::env::var("SLURM_JOB_ID").ok().filter(|job| !job.is_empty());
        let restarts = std::env::var("SLURM_RESTART_COUNT").ok();
        Ok(Self {
            host: crate::system::host(),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            pid_namespace: namespace.to_string_lossy().into_owned(),
            pid: std::process::id(),
            start_ticks: Process::read("/proc/self/stat").map_or(0, |process| process.start_ticks),
            job,
            restart_count: restarts.and_then(|count| count.parse().ok()).unwrap_or(0),
            nonce: format!("{:016x}", random()?),
            counter: 0,
        })
    }

    /// The number that tells this lock from every other one.
    pub fn nonce(&self) -> u64 {
        u64::from_str_radix(&self.nonce, 16).unwrap_or(0)
    }

    /// Whether this is the lock with that nonce.
    pub fn has_nonce(&self, nonce: u64) -> bool {
        self.nonce == format!("{nonce:016x}")
    }

    /// The holder that a lock names; `None` if it cannot be read.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Content of the lock, with the counter last.
    pub fn to_text(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            map.remove("counter");
        }
        let head = value.to_string();
        let head = head.strip_suffix('}').unwrap_or_default();
        format!("{head},\"counter\":{}}}\n", counter_text(self.counter))
    }

    /// What is known of this holder at `me`, without looking at the counter.
    pub fn standing(&self, me: &Self) -> Standing {
        let place = |holder: &Self| [holder.boot_id.clone(), holder.pid_namespace.clone()];
        let known = !self.boot_id.is_empty() && !self.pid_namespace.is_empty();
        if known && place(self) == place(me) {
            match self.lives() {
                Some(true) => return Standing::Alive,
                Some(false) => return Standing::Dead("whose process has ended".into()),
                None => (),
            }
        }
        match &self.job {
            Some(job) if me.job == self.job && self.restart_count < me.restart_count => {
                Standing::Dead(format!("before job {job} was started again"))
            }
            _ => Standing::Unknown,
        }
    }

    /// Whether the process lives, which must be one of this machine and process namespace; `None` if
    /// `/proc` does not tell.
    fn lives(&self) -> Option<bool> {
        if !process_exists(self.pid) {
            return Some(false);
        }
        // /proc may have been mounted in another namespace, where the number is another process's.
        let seen_as = fs::read_link("/proc/self").ok()?;
        if seen_as != Path::new(&std::process::id().to_string()) {
            return None;
        }
        let process = Process::read(&format!("/proc/{}/stat", self.pid))?;
        Some(process.start_ticks == self.start_ticks && !"ZX".contains(process.state))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)?;
        match &self.job {
            Some(job) => write!(f, " (job {job})"),
            None => Ok(()),
        }
    }
}

/// The counter as it stands in the file.
pub fn counter_text(counter: u64) -> String {
    format!("{counter:>DIGITS$}")
}

/// Where the counter stands in a lock's content.
pub fn counter_offset(text: &str) -> u64 {
    (text.len() - "}\n".len() - DIGITS) as u64
}

/// A line of `/proc/PID/stat`.
struct Process {
    state: char,
    start_ticks: u64,
}

impl Process {
    fn read(path: &str) -> Option<Self> {
        let stat = fs::read_to_string(path).ok()?;
        // The second field, a name in parentheses, may hold blanks and parentheses itself.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let (state, start) = (fields.first()?, fields.get(22 - 3)?);
        Some(Self { state: state.chars().next()?, start_ticks: start.parse().ok()? })
    }
}

/// Whether a process of this number is in this process namespace.
fn process_exists(pid: u32) -> bool {
    let Ok(pid @ 1..) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is sent to nobody; the call only looks whether the process is there.
    let status = unsafe { libc::kill(pid, 0) };
    status == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// A random number of the system. Runs do not depend on it.
fn random() -> Result<u64, OutputError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 8];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(OutputError::read(path))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Content of a folder's lock; `None` if it has none.
pub fn read_lock(folder: &Path) -> Result<Option<Vec<u8>>, OutputError> {
    let path = folder.join(LOCK);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OutputError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_lock_keeps_its_length_and_is_read_back() {
        let mut holder = Holder::here().unwrap();
        let first = holder.to_text();
        holder.counter = u64::MAX;
        let last = holder.to_text();
        assert_eq!(first.len(), last.len());
        let at = counter_offset(&first) as usize;
        assert_eq!(&last[at..at + DIGITS], counter_text(u64::MAX));
        assert_eq!(Holder::parse(last.as_bytes()), Some(holder.clone()));
        assert!(holder.has_nonce(holder.nonce()));
        assert_eq!(Holder::parse(&last.as_bytes()[..at]), None);
        assert_ne!(Holder::here().unwrap().nonce(), holder.nonce());
    }

    #[test]
    fn a_process_is_known_by_its_number_and_start() {
        let me = Holder::here().unwrap();
        assert_eq!(me.standing(&me), Standing::Alive);
        // Its number was given to another process.
        let reused = Holder { start_ticks: me.start_ticks - 1, ..me.clone() };
        assert!(matches!(reused.standing(&me), Standing::Dead(_)));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let path = format!("/proc/{}/stat", child.id());
        let start_ticks = Process::read(&path).unwrap().start_ticks;
        let ended = Holder { pid: child.id(), start_ticks, ..me.clone() };
        // Ended, but still in the table of processes.
        while Process::read(&path).is_some_and(|process| process.state != 'Z') {}
        assert!(matches!(ended.standing(&me), Standing::Dead(_)));
        child.wait().unwrap();
        assert!(matches!(ended.standing(&me), Standing::Dead(_)));
    }

    #[test]
    fn what_cannot_be_seen_is_unknown_unless_its_job_was_started_again() {
        let job = |job: Option<&str>, restart_count| {
            let job = job.map(str::to_owned);
            Holder { job, restart_count, ..Holder::here().unwrap() }
        };
        for place in ["boot", "namespace"] {
            let away = |mut holder: Holder| {
                match place {
                    "boot" => holder.boot_id = "another".into(),
                    _ => holder.pid_namespace = "another".into(),
                }
                holder
            };
            let unknown = [
                (job(None, 0), job(None, 1)),
                (job(Some("7"), 1), job(Some("7"), 1)),
                (job(Some("7"), 0), job(Some("8"), 1)),
            ];
            for (holder, me) in unknown {
                assert_eq!(away(holder).standing(&me), Standing::Unknown);
            }
            let dead = away(job(Some("7"), 0)).standing(&job(Some("7"), 1));
            assert_eq!(dead, Standing::Dead("before job 7 was started again".into()));
        }
    }
}
