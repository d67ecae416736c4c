//! Two logs compared: what must be the same for runs of one config, whatever they ran on and however
//! often they were interrupted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hdf5::types::{TypeDescriptor, VarLenUnicode};
use hdf5::{Container, File, Location, Result};

use super::collect::dimensions;
use super::{LOG, LogError};

/// Attributes of the file that tell of the machine, the program and its starts.
const OTHER_ATTRIBUTES: [&str; 5] =
    ["git_commit", "n_ranks", "parts_json", "program_version", "provenance_json"];
/// Characters that are shown of a long text, from a little before the first that differs.
const SHOWN: usize = 60;

/// Whether a dataset tells of times, ranks or starts rather than of the iterates.
fn is_other(dataset: &str) -> bool {
    ["part", "rank", "wall_time"].contains(&dataset)
        || ["time_", "wire_bytes_"].iter().any(|prefix| dataset.starts_with(prefix))
}

/// The differences between two logs, each a file or a run's folder, in words; none if they are the same.
/// Numbers are the same if their bits are, or if both are NaN.
pub fn differences(a: &Path, b: &Path) -> std::result::Result<Vec<String>, LogError> {
    let [a, b] = [Side::open(a)?, Side::open(b)?];
    let mut found = vec![];
    for name in union(a.try_do(attribute_names)?, b.try_do(attribute_names)?) {
        if !OTHER_ATTRIBUTES.contains(&&*name) {
            let read = |file: &File| attribute(file, &name);
            found.extend(first_difference(&name, &a.try_do(read)?, &b.try_do(read)?));
        }
    }
    for name in union(a.try_do(|file| file.member_names())?, b.try_do(|file| file.member_names())?)
    {
        if !is_other(&name) {
            let read = |file: &File| read_dataset(file, &name);
            compare(&name, a.try_do(read)?, b.try_do(read)?, &mut found);
        }
    }
    Ok(found)
}

/// One of the logs.
struct Side {
    path: PathBuf,
    file: File,
}

impl Side {
    fn open(path: &Path) -> std::result::Result<Self, LogError> {
        let path = if path.is_dir() { path.join(LOG) } else { path.to_owned() };
        match File::open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(LogError::Unreadable { path, source }),
        }
    }

    fn try_do<T>(&self, read: impl Fn(&File) -> Result<T>) -> std::result::Result<T, LogError> {
        read(&self.file).map_err(|source| LogError::Unreadable { path: self.path.clone(), source })
    }
}

fn attribute_names(file: &File) -> Result<Vec<String>> {
    file.attr_names()
}

fn union(a: Vec<String>, b: Vec<String>) -> BTreeSet<String> {
    a.into_iter().chain(b).collect()
}

/// What a dataset or an attribute holds.
enum Content {
    Absent,
    Text(String),
    Floats(Vec<f64>),
    Integers(Vec<i128>),
    /// Of a type that a log does not use.
    Else(TypeDescriptor),
}

/// A dataset as it is compared.
struct Column {
    content: Content,
    /// Type, dimensions, units and words.
    form: Vec<(&'static str, Content)>,
}

fn read_dataset(file: &File, name: &str) -> Result<Column> {
    if !file.member_names()?.iter().any(|member| member == name) {
        return Ok(Column { content: Content::Absent, form: vec![] });
    }
    let dataset = file.dataset(name)?;
    let kind = Content::Text(dataset.dtype()?.to_descriptor()?.to_string());
    let dimensions = Content::Text(dimensions(file, name)?.join(", "));
    let mut form = vec![(" type", kind), (" dimensions", dimensions)];
    for (words, attribute) in [(" units", "units"), (" long_name", "long_name")] {
        form.push((words, self::attribute(&dataset, attribute)?));
    }
    Ok(Column { content: content(&dataset)?, form })
}

fn attribute(location: &Location, name: &str) -> Result<Content> {
    if !location.attr_names()?.iter().any(|found| found == name) {
        return Ok(Content::Absent);
    }
    let attribute = location.attr(name)?;
    content(&attribute)
}

fn content(container: &Container) -> Result<Content> {
    Ok(match container.dtype()?.to_descriptor()? {
        TypeDescriptor::VarLenUnicode => {
            Content::Text(container.read_scalar::<VarLenUnicode>()?.as_str().to_owned())
        }
        TypeDescriptor::Float(_) => Content::Floats(container.read_raw()?),
        TypeDescriptor::Integer(_) => Content::Integers(wide(container.read_raw::<i64>()?)),
        TypeDescriptor::Unsigned(_) => Content::Integers(wide(container.read_raw::<u64>()?)),
        other => Content::Else(other),
    })
}

fn wide<T: Into<i128>>(values: Vec<T>) -> Vec<i128> {
    values.into_iter().map(Into::into).collect()
}

fn compare(name: &str, a: Column, b: Column, found: &mut Vec<String>) {
    found.extend(first_difference(name, &a.content, &b.content));
    for ((words, a), (_, b)) in a.form.iter().zip(&b.form) {
        found.extend(first_difference(&format!("{name}{words}"), a, b));
    }
}

/// The first place in which two of a name differ, and the lengths if they do.
fn first_difference(name: &str, a: &Content, b: &Content) -> Vec<String> {
    match (a, b) {
        (Content::Absent, Content::Absent) => vec![],
        (Content::Text(a), Content::Text(b)) => text_difference(name, a, b).into_iter().collect(),
        (Content::Integers(a), Content::Integers(b)) => number_differences(name, a, b, i128::eq),
        (Content::Floats(a), Content::Floats(b)) => number_differences(name, a, b, same_float),
        (Content::Else(a), Content::Else(b)) if a == b => {
            vec![format!("{name}: of a type that cannot be compared: {a}")]
        }
        _ => vec![format!("{name}: {} and {}", kind(a), kind(b))],
    }
}

fn kind(content: &Content) -> String {
    match content {
        Content::Absent => "absent".into(),
        Content::Text(_) => "text".into(),
        Content::Floats(v) => format!("{} real numbers", v.len()),
        Content::Integers(v) => format!("{} integers", v.len()),
        Content::Else(kind) => kind.to_string(),
    }
}

fn same_float(a: &f64, b: &f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

fn number_differences<T: std::fmt::Debug>(
    name: &str,
    a: &[T],
    b: &[T],
    same: impl Fn(&T, &T) -> bool,
) -> Vec<String> {
    let mut found = vec![];
    if let Some(at) = a.iter().zip(b).position(|(a, b)| !same(a, b)) {
        found.push(format!("{name}[{at}]: {:?} and {:?}", a[at], b[at]));
    }
    if a.len() != b.len() {
        found.push(format!("{name}: {} and {} values", a.len(), b.len()));
    }
    found
}

fn text_difference(name: &str, a: &str, b: &str) -> Option<String> {
    if a == b {
        return None;
    }
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(SHOWN / 2);
    let shown = |text: &str| text.chars().skip(from).take(SHOWN).collect::<String>();
    Some(format!("{name}, character {same}: {:?} and {:?}", shown(a), shown(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_their_bits() {
        let floats = |v: &[f64]| Content::Floats(v.to_vec());
        let nan = f64::from_bits(f64::NAN.to_bits() + 1);
        assert!(first_difference("a", &floats(&[nan, 1.0]), &floats(&[f64::NAN, 1.0])).is_empty());
        let found = first_difference("a", &floats(&[1.0, 0.0, 2.0]), &floats(&[1.0, -0.0]));
        assert_eq!(found, ["a[1]: 0.0 and -0.0", "a: 3 and 2 values"]);
        let found = first_difference("a", &floats(&[1.0]), &Content::Absent);
        assert_eq!(found, ["a: 1 real numbers and absent"]);
    }

    #[test]
    fn long_texts_are_shown_where_they_differ() {
        let [a, b] = ["y", "z"].map(|end| format!("{}{end}", "x".repeat(1000)));
        let found = text_difference("a", &a, &b).unwrap();
        assert!(found.starts_with("a, character 1000: \"xxx") && found.len() < 120, "{found}");
        assert!(found.contains("xy\" and \"xxx") && found.ends_with("xz\""), "{found}");
    }
}
