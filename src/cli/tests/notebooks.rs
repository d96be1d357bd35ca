//! Notebooks from outside: run without Jupyter, checked, converted, and the tour as it is written.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// An empty folder of a test's own.
fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("notebooks")
        .join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Runs the program in a folder: its exit code and what it wrote to standard error.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_rhapsode"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (
        done.status.code().unwrap(),
        String::from_utf8(done.stderr).unwrap(),
    )
}

fn code(source: &str, tags: &[&str]) -> Value {
    json!({
        "cell_type": "code", "execution_count": 9, "metadata": { "tags": tags }, "source": source,
        "outputs": [{ "output_type": "stream", "name": "stdout", "text": "old\n" }],
    })
}

fn write(folder: &Path, name: &str, cells: Vec<Value>) {
    let notebook =
        json!({ "nbformat": 4, "nbformat_minor": 4, "metadata": { "mine": 1 }, "cells": cells });
    rhapsode_script::write_atomic(&folder.join(name), notebook.to_string().as_bytes()).unwrap();
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect(),
    }
}

#[test]
fn outputs_are_written_back_and_the_rest_stays() {
    let folder = folder("run");
    let text = json!({ "cell_type": "markdown", "metadata": {}, "source": "# x" });
    write(
        &folder,
        "a.ipynb",
        vec![
            text,
            code("print(1);\n2", &[]),
            code("plot::line([1, 2])", &[]),
        ],
    );
    assert_eq!(run(&folder, &["run", "a.ipynb", "--quiet"]).0, 0);
    let notebook = read(&folder.join("a.ipynb"));
    assert_eq!(
        (&notebook["nbformat_minor"], &notebook["metadata"]["mine"]),
        (&json!(5), &json!(1))
    );
    let cells = &notebook["cells"];
    assert_eq!(cells[0]["source"], json!(["# x"]));
    assert_eq!(cells[0]["id"], "cell-1");
    assert_eq!(cells[1]["execution_count"], 1);
    assert_eq!(joined(&cells[1]["outputs"][0]["text"]), "1\n");
    let result = &cells[1]["outputs"][1];
    assert_eq!(
        (
            &result["output_type"],
            joined(&result["data"]["text/plain"])
        ),
        (&json!("execute_result"), "2".into())
    );
    let figure = &cells[2]["outputs"][0]["data"];
    for mime in ["image/svg+xml", "image/png", "text/plain"] {
        assert!(!figure[mime].is_null(), "{mime}");
    }
    assert!(figure["text/x-ansi"].is_null());
}

#[test]
fn an_error_ends_the_run_and_what_there_is_is_written() {
    let folder = folder("error");
    let cells = vec![
        code("print(1);", &[]),
        code("nowhere", &["raises-exception"]),
        code("let x = (;", &[]),
        code("3", &[]),
    ];
    write(&folder, "a.ipynb", cells);
    let (status, stderr) = run(
        &folder,
        &["run", "a.ipynb", "--out", "out/b.ipynb", "--quiet"],
    );
    assert_eq!(status, 1);
    assert!(stderr.contains("--> cell 3:1:10"), "{stderr}");
    assert!(folder.join("out/b.ipynb").exists());
    let (status, stderr) = run(&folder, &["run", "a.ipynb", "--out", "out", "--quiet"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("--> cell 3:1:10"), "{stderr}");
    let cells = &read(&folder.join("out/a.ipynb"))["cells"];
    assert_eq!(joined(&cells[0]["outputs"][0]["text"]), "1\n");
    let error = &cells[1]["outputs"][0];
    assert_eq!(
        (&error["ename"], &error["evalue"]),
        (&json!("name error"), &json!("unknown variable `nowhere`"))
    );
    assert_eq!(cells[2]["outputs"][0]["output_type"], "error");
    assert_eq!(
        (&cells[3]["outputs"], &cells[3]["execution_count"]),
        (&json!([]), &Value::Null)
    );
    // The notebook itself was left alone.
    assert_eq!(
        read(&folder.join("a.ipynb"))["cells"][0]["execution_count"],
        9
    );
}

#[test]
fn parameters_are_injected_and_asked_for() {
    let folder = folder("parameters");
    let cells = vec![
        code("let lr = 0.1;\nlet name = \"a\";", &["parameters"]),
        code("`${lr} ${name} ${arg(\"n\", 1)}`", &[]),
    ];
    write(&folder, "a.ipynb", cells);
    let set = [
        "--set", "lr=2e-3", "--set", "name=b", "--set", "n=7", "--set", "nam=1",
    ];
    let (status, stderr) = run(
        &folder,
        &[&["run", "a.ipynb", "--quiet"], &set[..]].concat(),
    );
    assert_eq!(status, 0);
    assert!(
        stderr.contains("did you mean `--set name=...`?") && !stderr.contains("--set lr"),
        "{stderr}"
    );
    let cells = &read(&folder.join("a.ipynb"))["cells"];
    assert_eq!(cells[1]["metadata"]["tags"], json!(["injected-parameters"]));
    let text = joined(&cells[2]["outputs"][0]["data"]["text/plain"]);
    assert_eq!(text, "\"0.002 b 7\"");
}

#[test]
fn a_training_leaves_one_bar() {
    let folder = folder("bar");
    let cell = "let m = flow::rectified(#{ dim: 2, hidden: [8] });\nlet run = m.fit(randn([64, 2]), #{ steps: 20, batch: 16 });";
    write(&folder, "a.ipynb", vec![code(cell, &[])]);
    assert_eq!(run(&folder, &["run", "a.ipynb", "--quiet"]).0, 0);
    let outputs = read(&folder.join("a.ipynb"))["cells"][0]["outputs"].clone();
    assert_eq!(outputs.as_array().unwrap().len(), 1, "{outputs}");
    let html = joined(&outputs[0]["data"]["text/html"]);
    assert!(
        html.contains("20 steps in") && !html.contains("<progress"),
        "{html}"
    );
}

#[test]
fn a_notebook_is_checked_by_cell_and_line() {
    let folder = folder("check");
    write(
        &folder,
        "a.ipynb",
        vec![
            code("let x = 1;\nx", &[]),
            code("%time x\nplot::lin([x])", &[]),
        ],
    );
    let (status, stderr) = run(&folder, &["check", "a.ipynb"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("--> a.ipynb, cell 2:2:1"), "{stderr}");
}

#[test]
fn conversions_replace_nothing_unasked() {
    let folder = folder("convert");
    write(
        &folder,
        "a.ipynb",
        vec![code("%time 1\nlet x = 1;", &["t"])],
    );
    assert_eq!(run(&folder, &["convert", "a.ipynb", "b.rhai"]).0, 0);
    let script = fs::read_to_string(folder.join("b.rhai")).unwrap();
    assert!(script.contains("//> %time 1\nlet x = 1;\n"), "{script}");
    let (status, stderr) = run(&folder, &["convert", "b.rhai", "a.ipynb"]);
    assert!(
        status == 1 && stderr.contains("`--force` replaces it"),
        "{stderr}"
    );
    assert_eq!(
        run(&folder, &["convert", "b.rhai", "a.ipynb", "--force"]).0,
        0
    );
    let cell = read(&folder.join("a.ipynb"))["cells"][0].clone();
    assert_eq!(
        (joined(&cell["source"]), &cell["metadata"]["tags"]),
        ("%time 1\nlet x = 1;".into(), &json!(["t"]))
    );
    assert_eq!(run(&folder, &["run", "b.rhai"]).0, 0);
    assert_eq!(run(&folder, &["convert", "a.ipynb", "b.txt"]).0, 1);
}

/// What an output says, without what depends on the clock or the room: of pictures that they are there.
fn essence(output: &Value) -> Value {
    if !output["text"].is_null() {
        let text = joined(&output["text"]);
        let lines = text.lines().filter(|line| !line.starts_with("took "));
        return json!([output["name"], lines.collect::<Vec<_>>()]);
    }
    if output["output_type"] == "error" {
        return json!([output["ename"], output["evalue"]]);
    }
    let data = output["data"].as_object().unwrap();
    let kinds: Vec<&String> = data.keys().collect();
    // A model names the path that this machine takes: `(fused network, AVX-512)`.
    let text = joined(&data["text/plain"]);
    let text: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("  ("))
        .collect();
    let text = text.join("\n");
    let is_picture = kinds.iter().any(|kind| kind.starts_with("image/"));
    json!([kinds, if is_picture { String::new() } else { text }])
}

fn is_bar(text: &str) -> bool {
    text.contains(" steps in ") || text.contains(" step in ")
}

#[test]
fn the_tour_gives_what_is_written() {
    let folder = folder("tour");
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../notebooks/tour.ipynb");
    assert!(fs::metadata(&written).unwrap().len() < 1_500_000);
    fs::copy(&written, folder.join("tour.ipynb")).unwrap();
    let (status, stderr) = run(&folder, &["run", "tour.ipynb", "--quiet"]);
    assert_eq!(status, 0, "{stderr}");
    let (old, new) = (read(&written), read(&folder.join("tour.ipynb")));
    let cells = old["cells"]
        .as_array()
        .unwrap()
        .iter()
        .zip(new["cells"].as_array().unwrap());
    for (old, new) in cells.filter(|(old, _)| old["cell_type"] == "code") {
        let of = |cell: &Value| -> Vec<Value> {
            cell["outputs"]
                .as_array()
                .unwrap()
                .iter()
                .map(essence)
                // Whether a short piece of work has a bar is a matter of the machine.
                .filter(|output| !output[1].as_str().is_some_and(is_bar))
                .collect()
        };
        assert_eq!(of(old), of(new), "{}", joined(&old["source"]));
    }
}

#[test]
fn the_tour_is_its_script() {
    let folder = folder("tour-script");
    let notebooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../notebooks");
    let tour = notebooks.join("tour.ipynb").display().to_string();
    assert_eq!(run(&folder, &["convert", &tour, "tour.rhai"]).0, 0);
    let (made, kept) = (folder.join("tour.rhai"), notebooks.join("tour.rhai"));
    // Else: rhapsode convert notebooks/tour.ipynb notebooks/tour.rhai --force
    assert_eq!(
        fs::read_to_string(made).unwrap(),
        fs::read_to_string(kept).unwrap()
    );
}
