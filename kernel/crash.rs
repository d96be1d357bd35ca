//! Tells the user that the kernel before this one did not end by itself.
//!
//! Jupyter restarts a kernel that died with the same connection file. A mark beside that file says that a kernel
//! is at work; one that leaves takes it away. Where the mark is found at the start, the former kernel was killed
//! or has crashed, and the first cell says so.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The ending of the mark.
const MARK: &str = "rhapsode";

/// The mark of a kernel at work.
pub struct Mark {
    path: PathBuf,
    /// Whether the former kernel left it.
    pub found: bool,
}

impl Mark {
    /// Sets the mark beside a connection file, and takes away those whose connection file is gone.
    pub fn set(connection_file: &Path) -> Self {
        let folder = connection_file.parent().unwrap_or(Path::new("."));
        for path in fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
        {
            let is_mark = path.extension().is_some_and(|ending| ending == MARK);
            if is_mark && !path.with_extension("json").exists() {
                // Another kernel may do the same.
                let _ = fs::remove_file(path);
            }
        }
        let path = connection_file.with_extension(MARK);
        let found = path.exists();
        // Without a mark a crash is not told, no more.
        let _ = fs::File::create(&path);
        Self { path, found }
    }

    /// The kernel leaves by itself.
    pub fn clear(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
