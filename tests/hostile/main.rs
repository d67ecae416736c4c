//! Hostile configs and sweep files: each is refused with exit 2 and one line, soon and in little memory.
//!
//! They stand alone: the system counts to a process what the one that started it held.

mod cases;
#[path = "../process/mod.rs"]
mod process;
#[path = "../bad_input/refusal.rs"]
mod refusal;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use process::{LIMIT, files, quadratic, sobaya, text, until};
use refusal::refused;

/// What each refusal may take. Machines that do other things at the same time are given ten times as
/// long: the test prints the longest.
const SECONDS: f64 = 1.0;
const SLACK: f64 = 10.0;
const MEGABYTES: u64 = 50;
/// Bytes of a message at most: characters beyond ASCII and escapes take several.
const MESSAGE: usize = 12_000;

/// A case: its name, the file, and a word of the message.
type Case = (&'static str, Vec<u8>, &'static str);

/// The most time and memory that any case took.
#[derive(Default)]
struct Worst {
    seconds: (f64, &'static str),
    bytes: (u64, &'static str),
}

/// Runs a command to its end; its code, stderr, seconds, and the most memory it held.
///
/// The system counts to a process what its parent held when it was started, so that the last number is
/// not too small, and too large only if this test itself holds more than it allows.
#[allow(clippy::zombie_processes)] // `wait4` waits for it.
fn measured(mut command: Command) -> (i32, String, f64, u64) {
    let err = tempfile::NamedTempFile::new().expect("a temporary file");
    let handle = err.reopen().expect("a second handle");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(handle);
    let start = Instant::now();
    let child = command.spawn().expect("the program is there");
    let id = child.id() as libc::pid_t;
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    until("the refusal", LIMIT, || {
        // SAFETY: waits for the child just started, which nothing else waits for, and writes to two locals.
        unsafe { libc::wait4(id, &mut status, libc::WNOHANG, &mut usage) == id }
    });
    let seconds = start.elapsed().as_secs_f64();
    let status = ExitStatus::from_raw(status);
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    let said = fs::read(err.path()).expect("a readable file");
    let said = String::from_utf8(said).expect("a message in UTF-8");
    (code, said, seconds, 1024 * usage.ru_maxrss as u64)
}

impl Worst {
    /// The command ends with exit 2 and one line with this word, within the limits.
    fn refused(&mut self, name: &'static str, command: Command, word: &str) {
        let (code, err, seconds, bytes) = measured(command);
        let what = format!("{name}, {word:?}: exit {code}, {seconds} s, {bytes} bytes: {err:.300}");
        assert_eq!(code, 2, "{what}");
        assert!(err.starts_with("sobaya: ") && err.contains(word), "{what}");
        let line = err.strip_suffix('\n').expect("a whole line");
        // No line break, no escape sequence, nothing that hides or reverses what stands there.
        let shown = |c: char| !c.is_control() && !('\u{200b}'..='\u{202e}').contains(&c);
        assert!(line.chars().all(shown) && err.len() <= MESSAGE, "{what}");
        assert!(seconds <= SLACK * SECONDS && bytes <= MEGABYTES << 20, "{what}");
        if seconds > self.seconds.0 {
            self.seconds = (seconds, name);
        }
        if bytes > self.bytes.0 {
            self.bytes = (bytes, name);
        }
    }

    fn print(&self, cases: usize) {
        let (seconds, longest) = self.seconds;
        let (bytes, largest) = self.bytes;
        println!(
            "{cases} refusals; the longest ({longest}) took {seconds:.2} s, the largest ({largest}) {} MB",
            bytes >> 20
        );
    }
}

fn check(path: &Path, further: &[&str]) -> Command {
    sobaya(&[&["check", text(path)], further].concat())
}

#[test]
fn hostile_configs_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let all =
        [cases::no_json(), cases::sizes(), cases::keys_and_numbers(), cases::words()].concat();
    let mut worst = Worst::default();
    let cases = all.len();
    assert!(cases >= 60);
    for (i, (name, bytes, word)) in all.into_iter().enumerate() {
        let path = folder.path().join("config.json");
        fs::write(&path, bytes).expect("a writable folder");
        worst.refused(name, check(&path, &[]), word);
        if i % 10 == 0 {
            refused(folder.path(), &["run", text(&path)], &[1, 2, 8], 2, &[word]);
        }
    }
    worst.print(cases);
}

#[test]
fn files_without_end_are_refused_soon_and_in_little_memory() {
    let mut worst = Worst::default();
    // A gigabyte that takes no room on the disk.
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.as_file().set_len(1 << 30).expect("a file system with holes");
    worst.refused("a gigabyte", check(file.path(), &[]), "at most");
    worst.refused("zeros", check(Path::new("/dev/zero"), &[]), "at most");
    worst.refused("noise", check(Path::new("/dev/urandom"), &[]), "at most");
    worst.refused("nothing", check(Path::new("/dev/null"), &[]), "empty");
    worst.refused("a folder", check(Path::new("/dev"), &[]), "directory");
    worst.refused(
        "a name with a line break",
        check(Path::new("/a\nb\x1b[2J"), &[]),
        r"a\nb\u{1b}[2J",
    );
    worst.print(6);
}

#[test]
fn hostile_overrides_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    fs::write(&path, quadratic().to_string()).expect("a writable folder");
    let deep = |length| format!("problem.x={}", "[".repeat(length));
    let (long, closed) = (deep(100_000), format!("{}{}", deep(40), "]".repeat(40)));
    let [far, many] =
        [format!("{}a=1", "a.".repeat(60_000)), format!("problem.x=[{}1]", "1,".repeat(60_000))];
    let cases = [
        ("seed", "no `=`"),
        ("", "no `=`"),
        ("=", "empty"),
        ("=1", "empty"),
        (".=1", "empty"),
        ("algorithm.=1", "empty"),
        ("algorithm..alpha=1", "empty"),
        ("seed.x=1", "`seed`"),
        ("seed=", "`seed`"),
        ("seed=-1", "`seed`"),
        ("workers=1e999", "`workers`"),
        ("workers=NaN", "`workers`"),
        ("workers=", "`workers`"),
        ("name=..", "`name`"),
        ("name=a\nb", r"a\nb"),
        ("problem.kind=\u{1b}[2J", r"\u{1b}[2J"),
        ("\u{1b}[2J=1", r"\u{1b}[2J"),
        ("problem={\"kind\": \"quadratic\", \"mu\": 1, \"mu\": 2}", "`mu` stands twice"),
        ("problem={\"kind\": \"quadratic\"", "EOF"),
        ("problem={\"kind\": \"quadratic\"}}", "trailing"),
        ("problem.hidden=[1,", "EOF"),
        ("name=\"\\ud800\"", "hex escape"),
        (&long, "deeper"),
        (&closed, "deeper"),
        (&far, "more than 16 parts"),
        (&many, "more than 10000"),
    ];
    let mut worst = Worst::default();
    for (given, word) in cases {
        worst.refused("--set", check(&path, &["--set", given]), word);
    }
    worst.print(cases.len());
}

#[test]
fn hostile_sweeps_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).expect("a writable folder")
    };
    config("good.json", quadratic().to_string().as_bytes());
    config("twice.json", br#"{"name": "a", "name": "b"}"#);
    let good = json!({ "name": "s", "base": "good.json", "grid": { "seed": [1, 2] } });
    let with = |key: &str, value: Value| -> Vec<u8> {
        let mut sweep = good.clone();
        sweep[key] = value;
        sweep.to_string().into()
    };
    let axes: Value =
        (0..18).map(|i| (format!("problem.k{i}"), json!((0..10).collect::<Vec<_>>()))).collect();
    let all: Vec<Case> = vec![
        ("empty sweep", vec![], "empty"),
        ("sweep of a list", b"[]".into(), "top level"),
        ("deep sweep", "[".repeat(100_000).into(), "deeper"),
        (
            "sweep with a mark",
            [b"\xef\xbb\xbf", &with("name", json!("s"))[..]].concat(),
            "byte order mark",
        ),
        (
            "sweep with a key twice",
            br#"{"name": "a", "base": {}, "grid": {"seed": [1], "seed": [2]}}"#.into(),
            "`seed` stands twice",
        ),
        ("base with a key twice", with("base", json!("twice.json")), "`name` stands twice"),
        ("base that is not there", with("base", json!("nowhere.json")), "No such file"),
        ("base with NUL", with("base", json!("a\0b")), "NUL"),
        ("base that is the folder", with("base", json!("")), "directory"),
        ("base without end", with("base", json!("/dev/zero")), "at most"),
        ("base that is the sweep", with("base", json!("sweep.json")), "unknown key"),
        ("base that is a number", with("base", json!(1)), "`base`"),
        ("base of nothing", with("base", json!({})), "missing"),
        ("sweep above", with("name", json!("../s")), "`name`"),
        ("sweep of two lines", with("name", json!("a\nb\u{1b}")), r"a\nb\u{1b}"),
        ("sweep with a long name", with("name", json!("s".repeat(500_000))), "`name`"),
        ("unknown key", with("grd", json!({})), "grd"),
        ("no values", with("grid", json!({ "seed": [] })), "`grid.seed`"),
        ("values that are none", with("grid", json!({ "seed": 1 })), "`grid.seed`"),
        ("1e18 members", with("grid", axes), "1000000000000000000"),
        ("seeds below 0", with("grid", json!({ "seed": [-1] })), "`seed`"),
        ("a key of nothing", with("grid", json!({ "": [1] })), "empty"),
        ("a deep key", with("grid", json!({ "a.".repeat(100_000): [1] })), "parts"),
        ("a key twice on an axis", with("grid", json!({ "seed,seed": [1] })), "`grid.seed`"),
        ("a key that clears the screen", with("grid", json!({ "\u{1b}[2J": [1] })), r"\u{1b}[2J"),
        ("names of runs", with("grid", json!({ "name": ["a"] })), "`grid.name`"),
        ("a list of numbers", with("list", json!([1])), "`list"),
        ("a list on the grid", with("list", json!([{ "seed": 1 }])), "`list[0].seed`"),
        ("no ranks", with("ranks", json!(0)), "`ranks`"),
        ("1e30 ranks", with("ranks", json!(1e30)), "`ranks`"),
        ("a launcher that is a word", with("launcher", json!("mpirun")), "`launcher`"),
        ("many members", with("list", json!(vec![json!({ "seed": 1 }); 6000])), "more than 10000"),
    ];
    let path = folder.path().join("sweep.json");
    let out = folder.path().join("out");
    let mut worst = Worst::default();
    let cases = all.len();
    for (name, bytes, word) in all {
        fs::write(&path, bytes).expect("a writable folder");
        let before = files(folder.path());
        for action in ["run", "status"] {
            worst.refused(name, sobaya(&["sweep", text(&path), action, "--out", text(&out)]), word);
        }
        assert!(before == files(folder.path()), "{name}: the folder has changed");
    }
    worst.print(2 * cases);
}
