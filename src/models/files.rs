//! Files that are either old or new: written beside and renamed.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// Writes a file so that a crash or a full disk leaves the old one whole. Folders on the way are made.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |error: std::io::Error| Error::Io {
        path: path.to_path_buf(),
        message: explain(&error),
    };
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(fail)?;
    let beside = beside(path);
    let written = fs::File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&beside, path)) {
        // Best effort: what matters is that the old file is untouched.
        let _ = fs::remove_file(&beside);
        return Err(fail(error));
    }
    Ok(())
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::Io {
        path: path.to_path_buf(),
        message: explain(&error),
    })
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// The reason without the system's error number.
fn explain(error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::NotFound => "no such file or folder".into(),
        K::PermissionDenied => "permission denied".into(),
        K::StorageFull => "the disk is full".into(),
        K::IsADirectory => "is a folder".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = std::env::temp_dir().join(format!("rhapsode-files-{}", std::process::id()));
        let path = folder.join("a/b.txt");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert!(write_atomic(&folder, b"a folder is in the way").is_err());
        assert!(
            matches!(read(&folder.join("none")), Err(Error::Io { message, .. }) if message == "no such file or folder")
        );
        assert_eq!(
            fs::read_dir(folder.join("a")).unwrap().count(),
            1,
            "nothing is left beside"
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
