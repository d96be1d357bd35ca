//! The rules of the house that a compiler does not check: which crate may know which, that every file
//! says what it is for, lengths, who may print, and that each method has its script.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Which of our crates each one may depend on.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("rhapsode-tensor", "src/tensor", &[]),
    ("rhapsode-models", "src/models", &["rhapsode-tensor"]),
    ("rhapsode-plot", "src/plot", &[]),
    (
        "rhapsode-script",
        "src/script",
        &["rhapsode-models", "rhapsode-plot", "rhapsode-tensor"],
    ),
    ("rhapsode-kernel", "kernel", &["rhapsode-script"]),
    (
        "rhapsode",
        "src/cli",
        &["rhapsode-kernel", "rhapsode-script"],
    ),
    (
        "rhapsode-benches",
        "benches",
        &["rhapsode-models", "rhapsode-script", "rhapsode-tensor"],
    ),
];

/// Crates that only some of ours may use, and who.
const RESERVED: &[(&str, &[&str])] = &[
    ("rhai", &["src/script"]),
    ("candle-core", &["src/tensor"]),
    ("candle-nn", &["src/tensor"]),
    ("plotters", &["src/plot"]),
    ("clap", &["src/cli"]),
    ("rustyline", &["src/cli"]),
    ("indicatif", &["src/cli"]),
];

/// Longest file, in lines.
const LONGEST: usize = 700;

/// Fails with all complaints at once.
#[track_caller]
fn complain(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// All files with one of these endings below a folder of the workspace, as paths from its root.
fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_output =
                name == ".git" || name == ".venv" || name == "runs" || name.starts_with("target");
            if path.is_dir() && !is_output {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let path = path.strip_prefix(root()).unwrap();
                found.push(
                    path.components()
                        .map(|c| c.as_os_str().to_string_lossy())
                        .collect::<Vec<_>>()
                        .join("/"),
                );
            }
        }
    }
    found.sort();
    found
}

/// A file of the workspace.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust files of the product.
fn sources() -> Vec<String> {
    let mut found = files("src", &[".rs"]);
    found.extend(files("kernel", &[".rs"]));
    assert!(found.len() > 10, "the sources were not found");
    found
}

/// The names under the dependency tables of a manifest, those for tests apart.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table == "dependencies" || table.ends_with(".dependencies");
        } else if let Some((name, _)) = line
            .split_once('=')
            .filter(|_| inside && !line.starts_with('#'))
        {
            names.push(
                name.trim()
                    .split('.')
                    .next()
                    .unwrap_or_default()
                    .to_string(),
            );
        }
    }
    names
}

#[test]
fn crates_know_only_those_below_them() {
    let mut complaints = Vec::new();
    for (name, folder, allowed) in ARROWS {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{folder} is not {name}"
        );
        for dependency in dependencies(&manifest) {
            if dependency.starts_with("rhapsode") && !allowed.contains(&dependency.as_str()) {
                complaints.push(format!(
                    "{folder}/Cargo.toml: {name} must not know {dependency}"
                ));
            }
            let reserved = RESERVED
                .iter()
                .find(|(reserved, _)| *reserved == dependency);
            if let Some((_, users)) = reserved.filter(|(_, users)| !users.contains(folder)) {
                complaints.push(format!(
                    "{folder}/Cargo.toml: {dependency} belongs to {}",
                    users.join(", ")
                ));
            }
        }
    }
    complain(complaints);
}

#[test]
fn every_member_has_its_arrows() {
    let manifest = read("Cargo.toml");
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "))
        .unwrap();
    for member in members
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|member| *member != "tests")
    {
        assert!(
            ARROWS.iter().any(|(_, folder, _)| *folder == member),
            "{member} is missing in tests/tidy.rs"
        );
    }
}

#[test]
fn dependency_tables_are_read() {
    let manifest = "[dependencies]\na.workspace = true\nb = { version = \"1\" }\n# c = \"1\"\n\
                    [dev-dependencies]\nd = \"1\"\n[target.'cfg(unix)'.dependencies]\ne = \"2\"\n[lints]\nworkspace = true\n";
    assert_eq!(dependencies(manifest), ["a", "b", "e"]);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut all = sources();
    all.extend(files("tests", &[".rs"]));
    let silent = all
        .into_iter()
        .filter(|path| !read(path).starts_with("//!"));
    complain(
        silent
            .map(|path| format!("{path}: begins without a `//!` comment"))
            .collect(),
    );
}

#[test]
fn no_file_is_too_long() {
    let mut all = sources();
    all.extend(files("tests", &[".rs"]));
    let lengths = all
        .into_iter()
        .map(|path| (read(&path).lines().count(), path));
    complain(
        lengths
            .filter(|(n, _)| *n > LONGEST)
            .map(|(n, path)| format!("{path}: {n} lines, at most {LONGEST}"))
            .collect(),
    );
}

#[test]
fn rhai_types_stay_in_script() {
    let outside = sources()
        .into_iter()
        .filter(|path| !path.starts_with("src/script/"));
    complain(
        outside
            .filter(|path| read(path).contains("rhai::"))
            .map(|path| format!("{path}: names a Rhai type"))
            .collect(),
    );
}

#[test]
fn only_the_program_prints() {
    let mut complaints = Vec::new();
    let printers = |path: &String| path.starts_with("src/cli/") || path.contains("/examples/");
    for path in sources().into_iter().filter(|path| !printers(path)) {
        for (n, line) in read(&path).lines().enumerate() {
            let code = line.trim_start();
            let prints = ["println!(", "eprintln!(", "print!(", "eprint!("]
                .iter()
                .any(|call| code.starts_with(call));
            if prints {
                complaints.push(format!(
                    "{path}:{}: prints; report through Observer or Frontend",
                    n + 1
                ));
            }
        }
    }
    complain(complaints);
}

#[test]
fn no_path_of_one_machine() {
    // Put together here, so that this file does not name one itself.
    let folders = ["root", "home", "Users", "work"].map(|folder| format!("/{folder}/"));
    let mut complaints = Vec::new();
    for path in files(
        "",
        &[
            ".rs", ".toml", ".md", ".sh", ".rhai", ".ipynb", ".json", ".yml",
        ],
    ) {
        let Ok(text) = fs::read_to_string(root().join(&path)) else {
            continue;
        };
        for (n, line) in text.lines().enumerate() {
            // A path begins a word: in the middle of one it is none.
            let named = folders.iter().find(|folder| {
                line.match_indices(folder.as_str()).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || ".-_".contains(c))
                })
            });
            if let Some(folder) = named {
                complaints.push(format!("{path}:{}: names a path under {folder}", n + 1));
            }
        }
    }
    complain(complaints);
}

#[test]
fn every_method_has_its_script() {
    let scripts: Vec<String> = files("scripts", &[".rhai"])
        .iter()
        .map(|path| read(path))
        .collect();
    let mut complaints = Vec::new();
    for path in files("src/models", &[".rs"]) {
        let source = read(&path);
        let Some((_, reference)) = source.split_once("pub const REFERENCE") else {
            continue;
        };
        // The first number of an arXiv paper behind it: `2209.03003`.
        let number = reference.split('"').find(|text| is_arxiv_number(text));
        match number {
            None => complaints.push(format!("{path}: REFERENCE has no arXiv number")),
            Some(number) if !scripts.iter().any(|script| script.contains(number)) => {
                complaints.push(format!(
                    "{path}: no file in scripts/ names its paper, arXiv {number}"
                ));
            }
            Some(_) => {}
        }
    }
    complain(complaints);
}

/// Whether a text is an arXiv number such as `2209.03003`.
fn is_arxiv_number(text: &str) -> bool {
    let Some((month, number)) = text.split_once('.') else {
        return false;
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    month.len() == 4 && (4..=5).contains(&number.len()) && digits(month) && digits(number)
}
