//! Named dimensions: HDF5 dimension scales as netCDF-4, xarray and h5py read them.
//!
//! A scale carries CLASS and NAME; a dataset refers to the scale of each of its dimensions in
//! DIMENSION_LIST (HDF5 Dimension Scales Specification).

use std::ffi::CString;

use hdf5::types::VarLenArray;
use hdf5::{Dataset, Group, ObjectReference1, Result};
use hdf5_sys::h5a::{H5Aclose, H5Acreate2, H5Awrite};
use hdf5_sys::h5p::H5P_DEFAULT;
use hdf5_sys::h5s::{H5S_SCALAR, H5Sclose, H5Screate};
use hdf5_sys::h5t::{H5T_C_S1, H5Tclose, H5Tcopy, H5Tset_size};

/// The attribute in which a dataset names its dimensions.
pub const LIST: &str = "DIMENSION_LIST";

/// Makes a dataset the scale of the dimension that has its name.
pub fn make_scale(dataset: &Dataset, name: &str) -> Result<()> {
    c_string_attribute(dataset, "CLASS", "DIMENSION_SCALE")?;
    c_string_attribute(dataset, "NAME", name)
}

/// Names the dimensions of a dataset after existing scales of its group.
pub fn attach(group: &Group, dataset: &Dataset, dimensions: &[&str]) -> Result<()> {
    let mut list = vec![];
    for name in dimensions {
        let scale = group.reference::<ObjectReference1>(name)?;
        list.push(VarLenArray::from_slice(&[scale]));
    }
    let attribute =
        dataset.new_attr::<VarLenArray<ObjectReference1>>().shape(list.len()).create(LIST)?;
    attribute.write(&ndarray::Array1::from(list))
}

/// A null-terminated string attribute of fixed length, which scales must have and the safe
/// interface does not write.
fn c_string_attribute(dataset: &Dataset, name: &str, value: &str) -> Result<()> {
    let fail = |_| hdf5::Error::from("a name holds a zero byte");
    let name = CString::new(name).map_err(fail)?;
    let value = CString::new(value).map_err(fail)?;
    let size = value.as_bytes_with_nul().len();
    // SAFETY: every handle is made here and closed once, and the library answers a bad handle with
    // an error; the buffer that is written has the size of the type and outlives the call. The
    // library is locked meanwhile.
    let written = hdf5::sync::sync(|| unsafe {
        let kind = H5Tcopy(*H5T_C_S1);
        H5Tset_size(kind, size);
        let space = H5Screate(H5S_SCALAR);
        let attribute =
            H5Acreate2(dataset.id(), name.as_ptr(), kind, space, H5P_DEFAULT, H5P_DEFAULT);
        let mut status = -1;
        if attribute >= 0 {
            status = H5Awrite(attribute, kind, value.as_ptr().cast());
            H5Aclose(attribute);
        }
        H5Sclose(space);
        H5Tclose(kind);
        status
    });
    if written < 0 {
        Err(hdf5::Error::from("a dimension's name cannot be written"))
    } else {
        Ok(())
    }
}
