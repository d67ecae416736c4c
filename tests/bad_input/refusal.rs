//! What it means to be refused.

use std::path::Path;

use serde_json::Value;

use super::process::{files, finish, mpirun, sobaya};

/// Stands for a run without launcher where a number of ranks is asked for.
pub const ALONE: usize = 0;

/// `command` ends with this code and one message with these words, on each of these numbers of
/// ranks, and leaves `folder` as it is.
pub fn refused(folder: &Path, arguments: &[&str], ranks: &[usize], code: i32, words: &[&str]) {
    let before = files(folder);
    for &ranks in ranks {
        let mut command = sobaya(arguments);
        command.current_dir(folder);
        let command = if ranks == ALONE { command } else { mpirun(ranks, &command) };
        let finished = finish(command);
        let what = format!("{arguments:?} on {ranks} ranks, {words:?}: {}", finished.err);
        assert_eq!(finished.code, code, "{what}");
        let [message] = finished.messages()[..] else { panic!("{what}") };
        assert!(words.iter().all(|word| message.contains(word)), "{what}");
        assert!(ranks != ALONE || finished.err.lines().count() == 1, "{what}");
        assert!(before == files(folder), "{what}\nthe folder has changed");
    }
}

/// A config with the value of a dotted key changed, or removed if `value` is empty.
pub fn changed(config: &Value, key: &str, value: &str) -> Value {
    let mut config = config.clone();
    let (parent, last) = key.rsplit_once('.').unwrap_or(("", key));
    let path = parent.split('.').filter(|part| !part.is_empty());
    let object = path.fold(&mut config, |at, part| &mut at[part]);
    match value {
        "" => drop(object.as_object_mut().expect("an object").remove(last)),
        _ => object[last] = serde_json::from_str(value).expect("JSON"),
    }
    config
}
