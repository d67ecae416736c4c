//! What the program asks of the system about its output folder, seen by strace, and calls that go wrong.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Finished, LIMIT, behind, start, text};

/// Calls that change a file system, and those that open files; what a machine does not have is left out.
const CALLS: &str = "trace=?open,?openat,?creat,?mkdir,?mkdirat,write,pwrite64,writev,?pwritev,fsync,fdatasync,\
                     ftruncate,?rename,?renameat,?renameat2,?link,?linkat,?unlink,?unlinkat,?rmdir,\
                     ?copy_file_range,?sendfile";

/// A system call.
pub struct Call {
    pub name: String,
    /// How many calls of this name its thread had made, with this one.
    pub ordinal: usize,
    arguments: Vec<String>,
    /// `None` if the process was killed in it.
    pub result: Option<i64>,
    /// Whether strace had it fail.
    pub injected: bool,
}

/// Why calls cannot be traced here.
pub fn refusal() -> Option<String> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-xx", "-o", "/dev/null", "-e", CALLS]);
    strace.args(["-e", "inject=rename:error=EIO:when=9999", "true"]);
    match strace.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr);
            Some(format!("strace does not work here: {}", words.lines().next().unwrap_or_default()))
        }
        Err(error) => Some(format!("strace is not there: {error}")),
    }
}

/// Runs a program; the calls that name the folder or anything in it, in the order in which they ended.
/// `inject` is strace's: what is to go wrong. A program that does not end is killed.
pub fn trace(
    program: &Command,
    folder: &Path,
    inject: Option<&str>,
) -> (Option<Finished>, Vec<Call>) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut strace = Command::new("strace");
    // All strings in full and in hexadecimal, with the paths of descriptors.
    strace.args(["-f", "-y", "-xx", "-s", "4000000", "-o", text(file.path()), "-e", CALLS]);
    if let Some(inject) = inject {
        strace.args(["-e", &format!("inject={inject}")]);
    }
    let (mut running, started) = (start(behind(strace, program)), Instant::now());
    while running.is_running() && started.elapsed() < LIMIT / 5 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let end = if running.is_running() {
        drop(running);
        None
    } else {
        Some(running.finish())
    };
    let trace = fs::read_to_string(file.path()).expect("a trace");
    // The last line may be half a line.
    let calls = parse(trace.rsplit_once('\n').map_or("", |(lines, _)| lines));
    (end, calls.into_iter().filter(|call| call.touches(folder)).collect())
}

/// The calls of a trace with a line for each, `THREAD name(arguments) = result`, which is in two pieces where
/// another thread came between.
pub fn parse(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<u32, String> = HashMap::new();
    let mut made: HashMap<(u32, String), usize> = HashMap::new();
    let mut calls = vec![];
    for line in trace.lines() {
        let (thread, words) = line.split_once(' ').expect("a thread");
        let (thread, words) = (thread.parse().expect("its number"), words.trim_start());
        let whole = if let Some(head) = words.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, head.to_owned());
            continue;
        } else if words.starts_with("<... ") {
            let (_, tail) = words.split_once(" resumed>").expect("the end of a call");
            begun.remove(&thread).expect("its begin") + tail
        } else {
            words.to_owned()
        };
        // Others are about signals and ends.
        if let Some(call) = Call::parse(thread, &whole, &mut made) {
            calls.push(call);
        }
    }
    let cut = begun.into_iter();
    calls
        .extend(cut.filter_map(|(thread, head)| Call::parse(thread, &(head + ") = ?"), &mut made)));
    calls
}

impl Call {
    fn parse(thread: u32, words: &str, made: &mut HashMap<(u32, String), usize>) -> Option<Self> {
        let (name, rest) = words.split_once('(')?;
        // Strings and paths are in hexadecimal: they hold none of this.
        let (arguments, result) = rest.rsplit_once(" = ")?;
        let arguments = arguments.trim_end().strip_suffix(')')?;
        let ordinal = made.entry((thread, name.to_owned())).or_default();
        *ordinal += 1;
        let number = result.split([' ', '<']).next();
        Some(Self {
            name: name.to_owned(),
            ordinal: *ordinal,
            arguments: arguments.split(", ").map(str::to_owned).collect(),
            result: number.and_then(|number| number.parse().ok()),
            injected: result.contains("(INJECTED)"),
        })
    }

    /// An argument as it was given, but for strings.
    pub fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", |argument| argument)
    }

    /// An argument that is a number or a descriptor.
    pub fn number(&self, index: usize) -> i64 {
        let digits = self.argument(index).split('<').next().unwrap_or_default();
        digits.parse().unwrap_or_else(|_| panic!("argument {index} of {}: {digits}", self.name))
    }

    /// An argument that is a string.
    pub fn bytes(&self, index: usize) -> Vec<u8> {
        string(self.argument(index)).expect("a string")
    }

    /// The paths that it is about, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![];
        let mut base = PathBuf::new();
        for argument in &self.arguments {
            if let Some(name) = string(argument) {
                paths.push(base.join(OsStr::from_bytes(&name)));
            } else if let Some(path) = annotation(argument) {
                base = path;
            }
        }
        if paths.is_empty() { vec![base] } else { paths }
    }

    /// The path of its first descriptor, or the first path that it is given.
    fn path(&self) -> PathBuf {
        match self.name.contains("write") {
            true => annotation(self.argument(0)).unwrap_or_default(),
            false => self.paths().swap_remove(0),
        }
    }

    fn touches(&self, folder: &Path) -> bool {
        self.path().starts_with(folder)
    }

    /// Whether it is this call of another run with the same folder.
    pub fn is_like(&self, other: &Self) -> bool {
        let key = |call: &Self| (call.name.clone(), without_nonce(&call.path()));
        key(self) == key(other)
    }
}

/// The path that strace gives of a descriptor, `3<PATH>`.
fn annotation(argument: &str) -> Option<PathBuf> {
    let path = argument.split_once('<')?.1.split_once('>')?.0;
    let bytes = hexadecimal(path).unwrap_or_else(|| path.as_bytes().to_vec());
    Some(PathBuf::from(OsStr::from_bytes(&bytes)))
}

fn string(argument: &str) -> Option<Vec<u8>> {
    let inside = argument.strip_prefix('"')?;
    hexadecimal(inside.strip_suffix('"').expect("a string that is not cut short"))
}

/// The bytes that are written as \xHH each.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes().chunks(4).map(|chunk| {
        let digits = std::str::from_utf8(chunk.strip_prefix(b"\\x")?).ok()?;
        u8::from_str_radix(digits, 16).ok()
    });
    bytes.collect()
}

/// The name of a temporary file without the number that is another one in each run.
fn without_nonce(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    match name.strip_suffix(".tmp").and_then(|name| name.rsplit_once('.')) {
        Some((name, _)) => path.with_file_name(format!("{name}.tmp")),
        None => path.to_owned(),
    }
}
