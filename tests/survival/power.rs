//! The power goes, and with it everything that was not synced.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use crate::job::{Job, saved};
use crate::process::{report, trials};
use crate::scenario::{Scenario, config, goes_on};
use crate::strace::{self, Call};
use crate::volatile::{Content, Disk, Image, LOSSES, Loss};

/// Writes an image to a folder.
fn write(image: &Image, to: &Path) {
    let _ = fs::remove_dir_all(to);
    for (path, content) in image {
        let path = to.join(path);
        match content {
            None => fs::create_dir_all(&path),
            Some(bytes) => fs::write(&path, bytes),
        }
        .expect("a folder of this test");
    }
}

/// The newest set that the program has finished, by what it does.
struct Sealed {
    newest: Option<u64>,
    /// That whose manifest has its name, but maybe not for ever.
    named: Option<u64>,
}

impl Sealed {
    fn watch(&mut self, call: &Call) {
        match call.name.as_str() {
            "rename" | "renameat" | "renameat2" => {
                let set = call.paths()[1].parent().and_then(Path::file_name).map(OsStr::to_owned);
                let of = |set: &OsStr| set.to_str()?.strip_prefix("checkpoint-")?.parse().ok();
                let is_seal = call.paths()[1].ends_with("manifest.json");
                self.named = set.filter(|_| is_seal).and_then(|set| of(&set)).or(self.named);
            }
            "open" | "openat" | "fsync" => (),
            // It goes on to something else.
            _ => self.newest = self.newest.max(self.named),
        }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn a_loss_of_power_costs_nothing_that_was_sealed() {
    if let Some(reason) = strace::refusal() {
        return println!("skipped: {reason}");
    }
    let job = Job::new(&config());
    let scratch = job.output("after");
    let (mut points, mut made, mut went_on) = (0, 0, 0);
    for scenario in Scenario::all(&job) {
        scenario.reset();
        let mut disk = Disk::new(&scenario.top);
        let mut sealed = Sealed { newest: saved(&scenario.output()), named: None };
        let mut tried = HashSet::new();
        // Many calls change nothing that is found afterwards: few of the points are many of the images.
        let step = scenario.calls.len().div_ceil(trials(7, usize::MAX).min(scenario.calls.len()));
        for (index, call) in scenario.calls.iter().enumerate() {
            disk.apply(call);
            sealed.watch(call);
            if index % step != step - 1 {
                continue;
            }
            points += 1;
            for loss in LOSSES {
                let image = disk.after(loss);
                if !tried.insert(hash(&(&image, sealed.newest))) {
                    continue;
                }
                write(&image, &scratch);
                let case = format!("after {} {:?}, {loss:?}", call.name, call.paths());
                went_on += usize::from(goes_on(&job, &scratch.join("out"), sealed.newest, &case));
                made += 1;
            }
        }
    }
    let seen = format!(
        "{made} different folders, of which {} were complete; the others completed from the newest sealed set or \
         a later one, each bitwise the uncut run",
        made - went_on
    );
    report(
        "power loss after a file system call: what was not synced is lost, half there, or zeros",
        points,
        &seen,
    );
}

/// The model itself, on a program that never syncs.
#[test]
fn the_model_loses_what_is_not_synced() {
    let folder = tempfile::tempdir().expect("a folder");
    let top = folder.path();
    fs::write(top.join("old"), "old").expect("a file of this test");
    let string = |text: &str| text.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let path = |name: &str| string(&top.join(name).to_string_lossy());
    let (new, below, moved) = (path("new"), path("below"), path("below/moved"));
    let trace = [
        format!("7 openat(AT_FDCWD, \"{new}\", O_WRONLY|O_CREAT, 0666) = 3<{new}>"),
        format!("7 write(3<{new}>, \"{}\", 3 <unfinished ...>", string("new")),
        format!("8 mkdir(\"{below}\", 0777) = 0"),
        "7 <... write resumed>) = 3".into(),
        format!("7 rename(\"{new}\", \"{moved}\") = 0"),
        format!("7 unlinkat(5<{}>, \"{}\", 0) = 0", path(""), string("old")),
        format!("7 unlink(\"{moved}\") = -1 EIO (Input/output error) (INJECTED)"),
        "7 +++ killed by SIGKILL +++".into(),
    ];
    let mut disk = Disk::new(top);
    let before = disk.after(LOSSES[0]);
    strace::parse(&trace.join("\n")).iter().for_each(|call| disk.apply(call));
    let file = |names_kept, content, name: &str| {
        disk.after(Loss { names_kept, content }).remove(Path::new(name)).flatten()
    };
    assert_eq!(disk.after(Loss { names_kept: false, content: Content::Lost }), before);
    assert_eq!(file(true, Content::Lost, "below/moved"), Some(vec![]));
    assert_eq!(file(true, Content::Half, "below/moved"), Some(b"n".to_vec()));
    assert_eq!(file(true, Content::Zeros, "below/moved"), Some(vec![0; 3]));
    assert_eq!(file(true, Content::Lost, "old"), None);
}
