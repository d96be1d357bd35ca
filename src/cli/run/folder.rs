//! The folder of a run: figures, metrics and the manifest.
//!
//! With `--out` it is made at once, so that a folder that cannot be written fails before a long run
//! and not after it. Without, it is `runs/SCRIPT-DATE-TIME` (UTC), made when there is something
//! to write: a script that only prints leaves nothing behind.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::manifest::Manifest;
use crate::{error::Error, files};

/// The manifest's file name; a folder that has one is a run's.
pub const MANIFEST: &str = "manifest.json";
/// The metrics' file names, event files of TensorBoard apart.
const METRICS: [&str; 2] = ["metrics.jsonl", "metrics.csv"];

/// The folder of one run.
pub struct Folder {
    /// Where it is, or will be made.
    path: PathBuf,
    /// Whether it is there.
    made: bool,
    /// The names of the files that were written, in order.
    files: Vec<String>,
}

impl Folder {
    /// The folder that the user named: made, or emptied of what an earlier run wrote.
    pub fn given(path: PathBuf) -> Result<Self, Error> {
        make(&path)?;
        if path.join(MANIFEST).is_file() {
            remove_earlier_run(&path)?;
        }
        Ok(Self {
            path,
            made: true,
            files: Vec::new(),
        })
    }

    /// The folder under `runs/` for this script and time, not yet made.
    pub fn default_for(stem: &str, started: SystemTime) -> Self {
        // 2026-08-01T10:20:30Z -> 20260801-102030
        let stamp = humantime::format_rfc3339_seconds(started).to_string();
        let stamp = stamp.replace(['-', ':', 'Z'], "").replace('T', "-");
        Self {
            path: Path::new("runs").join(format!("{stem}-{stamp}")),
            made: false,
            files: Vec::new(),
        }
    }

    /// Where it is, when it is there.
    pub fn path(&self) -> Option<&Path> {
        self.made.then_some(self.path.as_path())
    }

    /// The names of the files that were written, in order.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The path of a file in it; makes the folder with its first file, whose manifest says that the run
    /// is under way. The file joins the manifest's list.
    pub fn file(&mut self, name: &str, manifest: &mut Manifest) -> Result<PathBuf, Error> {
        if !self.made {
            self.make_unique()?;
        }
        if self.files.is_empty() {
            self.write_manifest(manifest)?;
        }
        if !self.files.iter().any(|file| file == name) {
            self.files.push(name.to_string());
        }
        Ok(self.path.join(name))
    }

    /// Writes the manifest.
    pub fn write_manifest(&self, manifest: &mut Manifest) -> Result<(), Error> {
        files::write(&self.path.join(MANIFEST), manifest.json().as_bytes())
    }

    /// Makes the folder; when another run of this second has it, one with a number behind its name.
    fn make_unique(&mut self) -> Result<(), Error> {
        let parent = self.path.parent().unwrap_or(Path::new("."));
        make(parent)?;
        let first = self.path.clone();
        let mut number = 1;
        while let Err(source) = fs::create_dir(&self.path) {
            if source.kind() != io::ErrorKind::AlreadyExists {
                return Err(Error::Write {
                    path: self.path.clone(),
                    source,
                });
            }
            number += 1;
            let mut name = first.clone().into_os_string();
            name.push(format!("-{number}"));
            self.path = PathBuf::from(name);
        }
        self.made = true;
        Ok(())
    }
}

/// Makes a folder and those above it.
fn make(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::Write {
        path: path.to_path_buf(),
        source,
    })
}

/// Removes what an earlier run wrote here, and nothing else: two runs must not mix.
fn remove_earlier_run(path: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(path).map_err(|source| Error::Read {
        path: path.to_path_buf(),
        source,
    })?;
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_ours) {
            let file = entry.path();
            fs::remove_file(&file).map_err(|source| Error::Write { path: file, source })?;
        }
    }
    Ok(())
}

/// Whether a run writes files of this name.
fn is_ours(name: &str) -> bool {
    let number = name
        .strip_prefix("figure-")
        .and_then(|rest| rest.strip_suffix(".svg").or(rest.strip_suffix(".png")));
    name == MANIFEST
        || METRICS.contains(&name)
        || name.starts_with("events.out.tfevents.")
        || number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_runs_own_files_are_removed() {
        for name in [
            "manifest.json",
            "metrics.jsonl",
            "metrics.csv",
            "events.out.tfevents.1700000000.rhapsode",
            "figure-01.svg",
            "figure-112.png",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "figure-.svg",
            "figure-a.png",
            "figure-01.html",
            "model.safetensors",
            "my-figure-01.svg",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }

    #[test]
    fn the_default_folder_has_the_scripts_name_and_the_time() {
        let started = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_785_579_630);
        let folder = Folder::default_for("quickstart", started);
        assert_eq!(folder.path, Path::new("runs/quickstart-20260801-102030"));
        assert_eq!(folder.path(), None);
    }
}
