//! Records the commit that the program is built from.

use std::path::Path;
use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn main() {
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).map(|commit| {
        let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
        if changed.is_some_and(|files| !files.is_empty()) { commit + "+" } else { commit }
    });
    println!("cargo::rustc-env=SOBAYA_GIT_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    // The log of HEAD grows with each commit and checkout, but not by looking at the tree, as the index does.
    // A file that is not there would have everything built each time.
    let path =
        |name| git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists());
    if let Some(watched) = path("logs/HEAD").or_else(|| path("index")) {
        println!("cargo::rerun-if-changed={watched}");
    }
    println!("cargo::rerun-if-changed=src");
}
