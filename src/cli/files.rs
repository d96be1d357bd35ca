//! Files of the program: results written whole or not at all, scripts read with a word on what is wrong.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use rhapsode_script::{nearest, write_atomic};

use crate::error::Error;

/// Writes a whole file.
pub fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    write_atomic(path, content).map_err(|reason| Error::Write {
        path: path.to_path_buf(),
        source: io::Error::other(reason),
    })
}

/// Reads a script; a missing one suggests the nearest name in its folder.
pub fn read_script(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing {
            path: path.to_path_buf(),
            nearest: nearest_file(path),
        },
        _ => Error::Read {
            path: path.to_path_buf(),
            source,
        },
    })?;
    String::from_utf8(bytes).map_err(|_| Error::NotText {
        path: path.to_path_buf(),
    })
}

/// The file whose name is most like this one's, in the same folder.
fn nearest_file(path: &Path) -> Option<PathBuf> {
    let wrong = path.file_name()?.to_str()?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let files = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
    let mut names: Vec<String> = files
        .map(|entry| entry.file_name())
        .filter_map(|n: OsString| n.into_string().ok())
        .collect();
    // The order of a folder is the system's; with equal likeness the result should not be.
    names.sort();
    let name = nearest(wrong, names.iter().map(String::as_str))?;
    Some(folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name)))
}

/// The folder of this user's data for the program.
pub fn data_folder() -> Option<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = if cfg!(windows) {
        variable("APPDATA")
    } else {
        variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")))
    };
    base.map(|base| base.join("rhapsode"))
}
