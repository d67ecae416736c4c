//! The logs of many runs in one file: a group for each.

use std::path::{Path, PathBuf};

use ::hdf5::types::VarLenArray;
use ::hdf5::{File, Group, ObjectReference, ObjectReference1, ReferencedObject, Result};

use super::{LogError, hdf5, scales};

/// Writes a file with a group for each log, which holds the log's datasets and attributes. It is built in
/// memory and replaced at once.
pub fn collect(path: &Path, logs: &[(String, PathBuf)]) -> Result<(), LogError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LogError::Hdf5 { path, source }
    };
    let file = hdf5::in_memory().map_err(failed(path))?;
    for (name, log) in logs {
        let source = File::open(log).map_err(failed(log))?;
        copy(&source, &file, name).map_err(failed(log))?;
    }
    let image = hdf5::read_image(&file).map_err(failed(path))?;
    Ok(crate::output::replace(path, &image)?)
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
            _ => Err(::hdf5::Error::from("a dimension that is no dataset")),
        });
    names.collect()
}
