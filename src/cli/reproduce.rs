//! `rhapsode reproduce`: the experiments of the papers, each a script of its own that makes a report, and one table of all.
//!
//! Every script runs as a program of its own, so that one that fails takes nothing along. The table is written after each:
//! what is done stays done. Reports that an earlier call left in the same folder stay in the table until their script runs again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use rhapsode_script::{Session, SessionOptions, words};
use serde_json::{Value, json};

use crate::{args::ReproduceArgs, error::Error, files, screen::Screen};

/// Runs the scripts; the exit code is 1 when one of them failed, 0 also when targets were missed.
pub fn run(args: &ReproduceArgs) -> Result<ExitCode, Error> {
    let slugs = match args.slugs.as_slice() {
        [] => with_reports(&args.scripts)?,
        some => some.to_vec(),
    };
    for slug in &slugs {
        // Before anything long begins.
        files::read_script(&script(args, slug))?;
    }
    fs::create_dir_all(&args.out).map_err(|source| Error::Write {
        path: args.out.clone(),
        source,
    })?;
    let session = Session::new(SessionOptions::default());
    let mut screen = Screen::new(session.interrupt_handle(), true);
    let mut failed = Vec::new();
    for slug in &slugs {
        screen.lines(&format!("== {slug}"));
        let begun = Instant::now();
        match one(args, slug)? {
            true => {}
            false => failed.push(slug.as_str()),
        }
        screen.lines(&format!("{slug}: {}", words::duration(begun.elapsed())));
        write(&args.out)?;
    }
    let rows = rows(&args.out);
    let (met, missed): (Vec<&Value>, _) = rows.iter().partition(|row| row["verdict"] == "met");
    for row in missed {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
        screen.lines(&format!("missed: {}: {}", text("slug"), text("quantity")));
    }
    let met = met.len();
    let table = args.out.join("reproduce.md");
    screen.lines(&format!(
        "{met} of {} targets met; {}",
        rows.len(),
        table.display()
    ));
    let code = match failed.as_slice() {
        [] => ExitCode::SUCCESS,
        some => {
            screen.lines(&format!("failed: {}", some.join(", ")));
            ExitCode::FAILURE
        }
    };
    Ok(screen.close()?.unwrap_or(code))
}

fn script(args: &ReproduceArgs, slug: &str) -> PathBuf {
    args.scripts.join(format!("{slug}.rhai"))
}

/// The names of all scripts that make a report.
fn with_reports(folder: &Path) -> Result<Vec<String>, Error> {
    let unread = |source: io::Error| Error::Read {
        path: folder.to_path_buf(),
        source,
    };
    let mut slugs = Vec::new();
    for entry in fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        let is_script = path.extension().is_some_and(|ending| ending == "rhai");
        if is_script
            && files::read_script(&path)?.contains("report(\"")
            && let Some(stem) = path.file_stem()
        {
            slugs.push(stem.to_string_lossy().into_owned());
        }
    }
    slugs.sort();
    Ok(slugs)
}

/// Runs one script; whether it came to its end.
fn one(args: &ReproduceArgs, slug: &str) -> Result<bool, Error> {
    let program = std::env::current_exe().map_err(|source| Error::Stream {
        what: "find this program",
        source,
    })?;
    let mut command = Command::new(program);
    command.arg("run").arg(script(args, slug)).arg("--quiet");
    command.arg("--out").arg(args.out.join(slug));
    for (key, value) in &args.settings {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    let status = command.status().map_err(|source| Error::Stream {
        what: "run a script",
        source,
    })?;
    Ok(status.success())
}

/// The rows of all reports below a folder, by name of the script.
fn rows(out: &Path) -> Vec<Value> {
    let mut folders: Vec<PathBuf> = fs::read_dir(out)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("report.json"))
        .collect();
    folders.sort();
    let read =
        |path: &PathBuf| -> Option<Value> { serde_json::from_slice(&fs::read(path).ok()?).ok() };
    let reports = folders.iter().filter_map(read);
    reports
        .flat_map(|report| report["rows"].as_array().cloned().unwrap_or_default())
        .collect()
}

/// Writes the joint table, as JSON and as Markdown.
fn write(out: &Path) -> Result<(), Error> {
    let rows = rows(out);
    let text = serde_json::to_string_pretty(&json!({ "rows": rows })).unwrap_or_default();
    files::write(&out.join("reproduce.json"), text.as_bytes())?;
    files::write(&out.join("reproduce.md"), markdown(&rows).as_bytes())
}

fn markdown(rows: &[Value]) -> String {
    let mut text = String::from(
        "| method | quantity | expected | measured | seeds | verdict |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let cell = |key: &str| match &row[key] {
            Value::String(text) => text.replace('|', "\\|"),
            Value::Array(values) => {
                let short = |v: &Value| v.as_f64().map_or_else(|| "-".into(), words::number);
                values.iter().map(short).collect::<Vec<_>>().join(" / ")
            }
            other => other.to_string(),
        };
        let cells = [
            "slug", "quantity", "expected", "measured", "seeds", "verdict",
        ]
        .map(cell);
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_a_row() {
        let row = json!({ "slug": "a", "quantity": "x | y", "expected": "<= 1", "measured": [0.5, 1e-9], "seeds": 2, "verdict": "missed" });
        let text = markdown(&[row]);
        let last = text.lines().last().unwrap_or_default();
        assert_eq!(
            last,
            "| a | x \\| y | <= 1 | 0.5000 / 1.000e-9 | 2 | missed |"
        );
    }
}
