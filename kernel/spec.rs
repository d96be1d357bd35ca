//! The kernelspec: the folder by which Jupyter finds the kernel and learns how to start it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    Error,
    message::{PROTOCOL, fresh_id},
};

/// The pictures of the launcher.
const LOGOS: [(&str, &[u8]); 3] = [
    ("logo-svg.svg", include_bytes!("logo/logo-svg.svg")),
    ("logo-64x64.png", include_bytes!("logo/logo-64x64.png")),
    ("logo-32x32.png", include_bytes!("logo/logo-32x32.png")),
];

/// Where kernels are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the user's own folder.
    User,
    /// In the Python environment that is active.
    Environment,
    /// Below a folder that is named.
    Prefix(PathBuf),
}

impl Place {
    /// The folder of all kernels there.
    pub fn folder(&self) -> Result<PathBuf, Error> {
        let share = |prefix: PathBuf| prefix.join("share/jupyter");
        let data = match self {
            Place::User => user_data(&variable)?,
            Place::Environment => share(environment()?),
            Place::Prefix(prefix) => share(prefix.clone()),
        };
        Ok(data.join("kernels"))
    }
}

/// An environment variable that is set and not empty.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Jupyter's folder of the user, as jupyter_core finds it.
fn user_data(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(folder) = variable("JUPYTER_DATA_DIR") {
        return Ok(folder);
    }
    let no_home = || Error::Nowhere {
        reason: "the environment names no home folder",
    };
    if cfg!(windows) {
        return Ok(variable("APPDATA").ok_or_else(no_home)?.join("jupyter"));
    }
    let home = variable("HOME");
    if cfg!(target_os = "macos") {
        let modern = variable("JUPYTER_PLATFORM_DIRS").is_some_and(|flag| flag != Path::new("0"));
        let below = if modern {
            "Library/Application Support/Jupyter"
        } else {
            "Library/Jupyter"
        };
        return Ok(home.ok_or_else(no_home)?.join(below));
    }
    let base = variable("XDG_DATA_HOME").or_else(|| home.map(|home| home.join(".local/share")));
    Ok(base.ok_or_else(no_home)?.join("jupyter"))
}

/// The Python environment that is active: named by the environment, the one that this program lies in, or the
/// one of the `python` that would be started.
fn environment() -> Result<PathBuf, Error> {
    if let Some(prefix) = variable("VIRTUAL_ENV").or_else(|| variable("CONDA_PREFIX")) {
        return Ok(prefix);
    }
    let program = env::current_exe().ok();
    let above = program
        .as_deref()
        .and_then(Path::parent)
        .and_then(Path::parent);
    let is_environment =
        |folder: &&Path| folder.join("pyvenv.cfg").exists() || folder.join("conda-meta").exists();
    if let Some(folder) = above.filter(is_environment) {
        return Ok(folder.to_path_buf());
    }
    ["python3", "python"]
        .into_iter()
        .find_map(prefix_of)
        .ok_or(Error::Nowhere {
            reason: "there is no Python environment; `--user` and `--prefix` need none",
        })
}

fn prefix_of(python: &str) -> Option<PathBuf> {
    let output = Command::new(python)
        .args(["-c", "import sys; print(sys.prefix)"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let prefix = Path::new(text.trim());
    (output.status.success() && prefix.is_absolute()).then(|| prefix.to_path_buf())
}

/// What a kernel is called.
#[derive(Clone, Debug)]
pub struct Name {
    /// The folder's, as `jupyter console --kernel NAME` wants it.
    pub name: String,
    /// What launchers show.
    pub display: String,
}

impl Name {
    fn check(&self) -> Result<(), Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        // A leading dot would be a hidden folder, or the one above.
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(fits) {
            return Err(Error::Name {
                name: self.name.clone(),
            });
        }
        Ok(())
    }
}

/// Installs the kernel; one of ours with that name is replaced. `program` must be absolute: a bare name would be
/// looked up in the PATH of the *server*, and one started as `venv/bin/jupyter` has no venv in it.
pub fn install(place: &Place, name: &Name, program: &Path) -> Result<PathBuf, Error> {
    name.check()?;
    let kernels = place.folder()?;
    let folder = kernels.join(&name.name);
    if folder.exists() {
        ours(&folder)?;
    }
    // Made beside and renamed: a server never sees half of it.
    let fresh = kernels.join(format!(".{}-{}", name.name, fresh_id()));
    fs::create_dir_all(&fresh).map_err(failed("write", &fresh))?;
    let installed = fill(&fresh, name, program).and_then(|()| replace(&fresh, &folder));
    if installed.is_err() {
        // It may be there or not.
        let _ = fs::remove_dir_all(&fresh);
    }
    installed.map(|()| folder)
}

fn fill(folder: &Path, name: &Name, program: &Path) -> Result<(), Error> {
    let spec = json!({
        "argv": [program, "kernel", "start", "{connection_file}"],
        "display_name": name.display,
        "language": "rhai",
        // By message: without signals it works through gateways and on Windows too.
        "interrupt_mode": "message",
        "kernel_protocol_version": PROTOCOL,
        "metadata": {},
        "env": {},
    });
    let text = format!("{spec:#}\n");
    let files = LOGOS.into_iter().chain([("kernel.json", text.as_bytes())]);
    for (file, content) in files {
        let path = folder.join(file);
        rhapsode_script::write_atomic(&path, content).map_err(|reason| Error::File {
            what: "write",
            path: path.clone(),
            reason,
        })?;
    }
    Ok(())
}

fn replace(fresh: &Path, folder: &Path) -> Result<(), Error> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed("remove", folder))?;
    }
    fs::rename(fresh, folder).map_err(failed("write", folder))
}

/// Removes the kernel.
pub fn uninstall(place: &Place, name: &Name) -> Result<PathBuf, Error> {
    name.check()?;
    let kernels = place.folder()?;
    let folder = kernels.join(&name.name);
    if !folder.exists() {
        return Err(Error::Missing {
            name: name.name.clone(),
            folder: kernels,
        });
    }
    ours(&folder)?;
    fs::remove_dir_all(&folder).map_err(failed("remove", &folder))?;
    Ok(folder)
}

/// Whether a kernelspec starts this program; another one's is left alone.
fn ours(folder: &Path) -> Result<(), Error> {
    let file = folder.join("kernel.json");
    let text = fs::read(&file).map_err(failed("read", &file))?;
    let spec: Value = serde_json::from_slice(&text).unwrap_or_default();
    let word = |i: usize| {
        spec.pointer(&format!("/argv/{i}"))
            .and_then(Value::as_str)
            .unwrap_or("")
    };
    let stem = Path::new(word(0))
        .file_stem()
        .and_then(|stem| stem.to_str());
    if stem == Some("rhapsode") && (word(1), word(2)) == ("kernel", "start") {
        return Ok(());
    }
    Err(Error::Foreign {
        folder: folder.to_path_buf(),
        program: word(0).to_string(),
    })
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |error| Error::File {
        what,
        path: path.to_path_buf(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name {
            name: name.into(),
            display: "Rhapsode".into(),
        }
    }

    #[test]
    fn a_kernel_is_installed_replaced_and_removed() {
        let prefix = env::temp_dir().join(format!("rhapsode-{}", fresh_id()));
        let place = Place::Prefix(prefix.clone());
        let program = Path::new("/opt/rhapsode");
        let folder = install(&place, &name("rhapsode"), program).unwrap();
        assert_eq!(folder, prefix.join("share/jupyter/kernels/rhapsode"));
        install(&place, &name("rhapsode"), program).unwrap();
        let spec: Value =
            serde_json::from_slice(&fs::read(folder.join("kernel.json")).unwrap()).unwrap();
        assert_eq!(
            spec["argv"],
            json!(["/opt/rhapsode", "kernel", "start", "{connection_file}"])
        );
        assert!(folder.join("logo-64x64.png").exists());
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(uninstall(&place, &name("rhapsode")).unwrap(), folder);
        let missing = uninstall(&place, &name("rhapsode")).unwrap_err();
        assert!(matches!(missing, Error::Missing { .. }));
        fs::remove_dir_all(prefix).unwrap();
    }

    #[test]
    fn the_kernel_of_another_program_is_left_alone() {
        let prefix = env::temp_dir().join(format!("rhapsode-{}", fresh_id()));
        let place = Place::Prefix(prefix.clone());
        let folder = place.folder().unwrap().join("other");
        fs::create_dir_all(&folder).unwrap();
        let spec = br#"{"argv": ["/usr/bin/python3", "-m", "ipykernel_launcher"]}"#;
        rhapsode_script::write_atomic(&folder.join("kernel.json"), spec).unwrap();
        for error in [
            uninstall(&place, &name("other")).unwrap_err(),
            install(&place, &name("other"), Path::new("/opt/rhapsode")).unwrap_err(),
        ] {
            assert!(
                error.to_string().contains("it starts `/usr/bin/python3`"),
                "{error}"
            );
        }
        assert!(folder.join("kernel.json").exists());
        fs::remove_dir_all(prefix).unwrap();
    }

    #[test]
    fn names_are_folders_and_no_paths() {
        for bad in ["", "a b", "../x", ".hidden", "a/b", "é"] {
            assert!(
                matches!(name(bad).check(), Err(Error::Name { .. })),
                "{bad}"
            );
        }
        assert!(name("rhapsode-0.1_dev").check().is_ok());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_users_folder_is_where_jupyter_looks() {
        let with = |set: &'static [(&str, &str)]| {
            user_data(&move |name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| PathBuf::from(value))
            })
        };
        assert_eq!(
            with(&[("HOME", "/h")]).unwrap(),
            Path::new("/h/.local/share/jupyter")
        );
        assert_eq!(
            with(&[("HOME", "/h"), ("XDG_DATA_HOME", "/x")]).unwrap(),
            Path::new("/x/jupyter")
        );
        assert_eq!(
            with(&[("HOME", "/h"), ("JUPYTER_DATA_DIR", "/j")]).unwrap(),
            Path::new("/j")
        );
        assert!(matches!(with(&[]), Err(Error::Nowhere { .. })));
    }
}
