//! The logs of many runs in one file: a group for each.

use std::path::{Path, PathBuf};

use hdf5::types::VarLenArray;
use hdf5::{File, Group, ObjectReference, ObjectReference1, ReferencedObject, Result};

use super::{LogError, scales};

/// Writes a file with a group for each log, which holds the log's datasets and attributes. The file is
/// replaced at once.
pub fn collect(path: &Path, logs: &[(String, PathBuf)]) -> Result<(), LogError> {
    let temporary = path.with_extension("tmp");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LogError::Hdf5 { path, source }
    };
    let file = File::create(&temporary).map_err(failed(path))?;
    let written = logs.iter().try_for_each(|(name, log)| {
        let source = File::open(log).map_err(failed(log))?;
        copy(&source, &file, name).map_err(failed(log))
    });
    let written = written.and_then(|()| file.close().map_err(failed(path)));
    let renamed = written.and_then(|()| Ok(crate::output::publish(&temporary, path)?));
    renamed.inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

fn copy(log: &File, file: &File, name: &str) -> Result<()> {
    log.group("/")?.copy_to(file, name)?;
    let group = file.group(name)?;
    for dataset in group.datasets()? {
        let name = dataset.name();
        let name = name.rsplit('/').next().unwrap_or_default();
        let dimensions = dimensions(log, name)?;
        if !dimensions.is_empty() {
            // The copy refers to where the scales are in the log's file.
            dataset.delete_attr(scales::LIST)?;
            let names: Vec<&str> = dimensions.iter().map(|name| &name[..]).collect();
            scales::attach(&group, &dataset, &names)?;
        }
    }
    Ok(())
}

/// Names of a dataset's dimensions; none if they have no names.
pub(super) fn dimensions(log: &Group, dataset: &str) -> Result<Vec<String>> {
    let dataset = log.dataset(dataset)?;
    if !dataset.attr_names()?.iter().any(|name| name == scales::LIST) {
        return Ok(vec![]);
    }
    let list = dataset.attr(scales::LIST)?.read_raw::<VarLenArray<ObjectReference1>>()?;
    let names =
        list.iter().flat_map(|scales| scales.iter()).map(|scale| match scale.dereference(log)? {
            ReferencedObject::Dataset(scale) => Ok(scale.name().trim_start_matches('/').to_owned()),
            _ => Err(hdf5::Error::from("a dimension that is no dataset")),
        });
    names.collect()
}
