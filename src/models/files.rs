//! Files that are either old or new: written beside and renamed.

use std::{
    fs,
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use rhapsode_tensor::memory;

use crate::{Error, Result};

/// Writes a file so that a crash or a full disk leaves the old one whole. Folders on the way are made.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// As [`write_atomic`], of what `write` puts into the file.
pub fn write_atomic_with(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> std::io::Result<()>,
) -> Result<()> {
    let fail = |error: std::io::Error| failed(path, &error);
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(fail)?;
    let beside = beside(path);
    let written = fs::File::create(&beside).and_then(|file| {
        let mut file = BufWriter::with_capacity(1 << 16, file);
        write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&beside, path)) {
        // Best effort: what matters is that the old file is untouched.
        let _ = fs::remove_file(&beside);
        return Err(fail(error));
    }
    Ok(())
}

/// Reads a whole file, if memory holds it.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let (mut file, size) = open(path)?;
    memory::ensure(usize::try_from(size).unwrap_or(usize::MAX), 1)?;
    let mut bytes = Vec::with_capacity(size as usize);
    let read = file.read_to_end(&mut bytes);
    read.map_err(|error| failed(path, &error))?;
    Ok(bytes)
}

/// Opens a file to read; gives its size in bytes as well.
pub fn open(path: &Path) -> Result<(fs::File, u64)> {
    let open = || {
        let file = fs::File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        Ok((file, about.len()))
    };
    open().map_err(|error| failed(path, &error))
}

/// What went wrong with a file.
pub fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        message: explain(error),
    }
}

/// A file that is not what it should be.
pub fn damaged(path: &Path, message: impl Into<String>) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        message: message.into(),
    }
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
        K::UnexpectedEof => "ends too early".into(),
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
