//! The program from outside: exit codes, what it prints, what it leaves in folders, signals, pipes.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
};

use serde_json::Value;

/// An empty folder of a test's own, in which the program runs.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Puts a script there.
    fn script(self, name: &str, code: &str) -> Self {
        fs::File::create(self.0.join(name))
            .unwrap()
            .write_all(code.as_bytes())
            .unwrap();
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rhapsode"));
        command
            .args(arguments)
            .current_dir(&self.0)
            .env("XDG_DATA_HOME", &self.0)
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    fn run(&self, arguments: &[&str]) -> Finished {
        Finished::from(self.command(arguments).output().unwrap())
    }

    /// Runs the program with text on its standard input.
    fn pipe(&self, arguments: &[&str], input: &str) -> Finished {
        let mut child = self.start(arguments);
        stdin(&mut child).write_all(input.as_bytes()).unwrap();
        Finished::from(child.wait_with_output().unwrap())
    }

    /// Starts the program with all streams piped.
    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn manifest(&self, folder: &str) -> Value {
        serde_json::from_str(&self.read(&format!("{folder}/manifest.json"))).unwrap()
    }

    /// The names in a folder, in order.
    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(path)).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn stdin(child: &mut Child) -> ChildStdin {
    child.stdin.take().unwrap()
}

/// How a run of the program ended.
struct Finished {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Finished {
    /// It must have ended with this code.
    #[track_caller]
    fn code(self, expected: i32) -> Self {
        assert_eq!(
            self.code,
            Some(expected),
            "\n-- stdout\n{}\n-- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Each text must be in what it wrote to standard error.
    #[track_caller]
    fn complains(&self, texts: &[&str]) {
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "`{text}` is not in\n{}",
                self.stderr
            );
        }
    }
}

#[test]
fn the_last_expression_is_shown_and_nothing_left_behind() {
    let folder = Folder::new("last-expression").script("sum.rhai", "let x = 1;\nx + 1\n");
    let done = folder.run(&["run", "sum.rhai"]).code(0);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("2\n", ""));
    assert_eq!(folder.names("."), ["sum.rhai"]);
}

#[test]
fn an_error_shows_its_place_and_fails() {
    let folder =
        Folder::new("error").script("wrong.rhai", "print(\"before\");\nlet y = nowhere + 1;\n");
    let done = folder.run(&["run", "wrong.rhai"]).code(1);
    assert_eq!(done.stdout, "before\n");
    done.complains(&["wrong.rhai", "nowhere", "let y = nowhere + 1;", "^^^^^^^"]);
}

#[test]
fn a_missing_script_suggests_its_neighbour() {
    let folder = Folder::new("missing").script("quickstart.rhai", "1");
    let done = folder.run(&["run", "quikstart.rhai"]).code(1);
    done.complains(&[
        "there is no file `quikstart.rhai`",
        "did you mean `quickstart.rhai`?",
    ]);
    folder
        .run(&["run", "no/such/folder.rhai"])
        .code(1)
        .complains(&["there is no file"]);
    folder
        .run(&["run", "."])
        .code(1)
        .complains(&["cannot read `.`"]);
}

#[test]
fn settings_reach_the_script() {
    let folder = Folder::new("settings").script(
        "lr.rhai",
        "`${arg(\"lr\", 0.1)} ${arg(\"name\", \"none\")}`",
    );
    assert_eq!(
        folder
            .run(&["run", "lr.rhai", "--set", "lr=0.5"])
            .code(0)
            .stdout,
        "\"0.5 none\"\n"
    );
    let done = folder.run(&["run", "lr.rhai", "--set", "lr"]).code(2);
    done.complains(&["expected key=value, got `lr`"]);
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let folder = Folder::new("device").script("a.rhai", "print(\"ran\");");
    let done = folder
        .run(&["run", "a.rhai", "--device", "gpu", "--out", "out"])
        .code(1);
    assert_eq!(done.stdout, "");
    done.complains(&["\"gpu\" is not a device", "\"cuda\""]);
    assert_eq!(folder.names("."), ["a.rhai"]);
    folder.run(&["run", "a.rhai", "--device", "auto"]).code(0);
}

#[test]
fn a_folder_that_was_asked_for_has_a_manifest() {
    let folder = Folder::new("manifest").script("a.rhai", "print(arg(\"lr\", 1.0));");
    folder
        .run(&[
            "run",
            "a.rhai",
            "--out",
            "results/a",
            "--set",
            "lr=0.25",
            "--seed",
            "7",
        ])
        .code(0);
    let manifest = folder.manifest("results/a");
    assert_eq!(manifest["status"], "finished");
    assert_eq!(manifest["error"], Value::Null);
    assert_eq!(manifest["script"]["path"], "a.rhai");
    // sha256 of `print(arg("lr", 1.0));`
    assert_eq!(manifest["script"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(manifest["seed"], 7);
    assert_eq!(manifest["options"]["lr"], "0.25");
    assert_eq!(manifest["device"], "cpu");
    assert_eq!(manifest["versions"]["rhapsode"], env!("CARGO_PKG_VERSION"));
    assert!(manifest["machine"]["cores"].as_u64().unwrap() > 0);
    assert!(manifest["machine"]["memory_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(manifest["start_time"].as_str().unwrap().ends_with('Z'));
    assert!(manifest["seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(folder.names("results/a"), ["manifest.json"]);
}

#[test]
fn a_failed_run_says_so_in_its_manifest() {
    let folder = Folder::new("failed").script("a.rhai", "log(#{ loss: 0.5 });\nlet y = nowhere;\n");
    folder.run(&["run", "a.rhai", "--out", "out"]).code(1);
    let manifest = folder.manifest("out");
    assert_eq!(manifest["status"], "failed");
    assert!(
        manifest["error"].as_str().unwrap().contains("nowhere"),
        "{manifest}"
    );
    assert_eq!(manifest["metrics"]["log"]["loss"], 0.5);
    assert_eq!(manifest["files"], serde_json::json!(["metrics.jsonl"]));
}

#[test]
fn one_seed_gives_the_same_metrics_byte_for_byte() {
    let code = "seed(3); for i in 0..20 { log(#{ noise: randn([4]).sum().item(), i: i }); }";
    let folder = Folder::new("same-seed").script("noise.rhai", code);
    let metrics = |out: &str| {
        folder.run(&["run", "noise.rhai", "--out", out]).code(0);
        let text = folder.read(&format!("{out}/metrics.jsonl"));
        // Without what depends on the clock: `"seconds":0.012,`.
        text.lines()
            .map(|line| {
                line.split(',')
                    .filter(|field| !field.contains("seconds"))
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .collect::<Vec<_>>()
    };
    let first = metrics("one");
    assert_eq!(first.len(), 20);
    assert!(first[0].contains("\"noise\":"), "{}", first[0]);
    assert_eq!(first, metrics("two"));
}

#[test]
fn figures_are_written_as_svg_and_png() {
    let code = "show(plot::line([1, 2, 3]));\nplot::scatter([[0.0, 1.0], [1.0, 2.0]])";
    let folder = Folder::new("figures").script("figures.rhai", code);
    let done = folder.run(&["run", "figures.rhai", "--out", "out"]).code(0);
    // Without a terminal nothing is drawn.
    assert_eq!(
        done.stdout,
        "out/figure-01.svg\nout/figure-02.svg\nresults in out\n"
    );
    let files = [
        "figure-01.png",
        "figure-01.svg",
        "figure-02.png",
        "figure-02.svg",
        "manifest.json",
    ];
    assert_eq!(folder.names("out"), files);
    assert!(folder.read("out/figure-01.svg").contains("<svg"));
    let png = fs::read(folder.0.join("out/figure-02.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n"));
    let listed = serde_json::json!([
        "figure-01.svg",
        "figure-01.png",
        "figure-02.svg",
        "figure-02.png"
    ]);
    assert_eq!(folder.manifest("out")["files"], listed);
}

#[test]
fn metrics_are_written_in_the_formats_asked_for() {
    let folder = Folder::new("formats").script("a.rhai", "log(#{ loss: 0.5 });");
    folder
        .run(&["run", "a.rhai", "--out", "out", "--log", "csv,tensorboard"])
        .code(0);
    let names = folder.names("out");
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].starts_with("events.out.tfevents."), "{names:?}");
    assert_eq!(names[1..], ["manifest.json", "metrics.csv"]);
    assert!(
        folder
            .read("out/metrics.csv")
            .starts_with("source,step,seconds,loss\nlog,1,")
    );
    // What an earlier run wrote goes, event files too.
    folder.run(&["run", "a.rhai", "--out", "out"]).code(0);
    assert_eq!(folder.names("out"), ["manifest.json", "metrics.jsonl"]);
    let wrong = folder.run(&["run", "a.rhai", "--log", "xml"]).code(2);
    assert!(
        wrong
            .stderr
            .contains("expected one of jsonl, csv, tensorboard"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn an_older_run_in_the_same_folder_is_replaced() {
    let folder = Folder::new("replaced")
        .script("a.rhai", "log(#{ loss: 1.0 });")
        .script("b.rhai", "1");
    folder.run(&["run", "a.rhai", "--out", "out"]).code(0);
    let folder = folder.script("out/model.safetensors", "kept");
    assert_eq!(
        folder.names("out"),
        ["manifest.json", "metrics.jsonl", "model.safetensors"]
    );
    folder.run(&["run", "b.rhai", "--out", "out"]).code(0);
    assert_eq!(folder.names("out"), ["manifest.json", "model.safetensors"]);
}

#[test]
fn a_folder_that_cannot_be_made_stops_the_run_before_it_begins() {
    let folder = Folder::new("unwritable").script("a.rhai", "print(\"ran\")");
    let done = folder
        .run(&["run", "a.rhai", "--out", "a.rhai/out"])
        .code(1);
    assert_eq!(done.stdout, "");
    done.complains(&["cannot write `a.rhai/out`"]);
}

#[test]
fn without_out_the_folder_has_the_scripts_name() {
    let folder = Folder::new("default-folder").script("short.rhai", "log(#{ loss: 1.0 });");
    let done = folder.run(&["run", "short.rhai"]).code(0);
    let [name] = &folder.names("runs")[..] else {
        panic!("not one folder")
    };
    assert!(name.starts_with("short-20"), "{name}");
    assert!(
        done.stdout.contains(&format!("runs/{name}")),
        "{}",
        done.stdout
    );
    assert_eq!(
        folder.names(&format!("runs/{name}")),
        ["manifest.json", "metrics.jsonl"]
    );
}

#[test]
fn a_script_may_come_through_a_pipe() {
    let folder = Folder::new("piped");
    assert_eq!(
        folder
            .pipe(&["run", "-"], "let x = 20;\nx + 1")
            .code(0)
            .stdout,
        "21\n"
    );
}

#[test]
fn the_repl_reads_a_pipe_cell_by_cell() {
    let folder = Folder::new("repl-pipe");
    let done = folder
        .pipe(&[], "let x = 1;\nfn f(a) {\n    a + x\n}\nf(2)\n:vars\n")
        .code(0);
    assert!(done.stdout.starts_with("3\n"), "{}", done.stdout);
    assert!(done.stdout.contains("x     int"), "{}", done.stdout);
    let done = folder.pipe(&[], "1 / 0\n2\n:lod x\n").code(1);
    assert_eq!(done.stdout, "2\n");
    done.complains(&[
        "division by zero",
        "there is no command `:lod`",
        "did you mean `:load`?",
    ]);
}

#[test]
fn cells_that_worked_become_a_script() {
    let folder = Folder::new("repl-save");
    let cells = "let x = 2\nnowhere\nx * 3 // six\nfn f(a) { a + 1 }\nf(x)\n:save kept.rhai\n:save kept.rhai\n";
    folder
        .pipe(&[], cells)
        .code(1)
        .complains(&["`kept.rhai` exists already", ":save! FILE"]);
    assert_eq!(
        folder.read("kept.rhai"),
        "let x = 2;\nshow(x * 3 // six\n);\nfn f(a) { a + 1 }\nshow(f(x));\n"
    );
    assert_eq!(folder.run(&["run", "kept.rhai"]).code(0).stdout, "6\n3\n");
    let done = folder.pipe(&[], ":load kept.rhai\nx\n").code(0);
    assert_eq!(done.stdout, "6\n3\n2\n");
}

#[test]
fn help_is_found_and_misspelt_names_are_suggested() {
    let folder = Folder::new("doc");
    assert!(
        folder
            .run(&["doc", "seed"])
            .code(0)
            .stdout
            .starts_with("seed(")
    );
    let modules = folder.run(&["doc"]).code(0).stdout;
    assert!(
        modules.contains("\n  flow") && modules.contains("\n  plot"),
        "{modules}"
    );
    folder.run(&["doc", "sead"]).code(1).complains(&["seed"]);
    folder.run(&["rum"]).code(2).complains(&["run"]);
}

#[test]
fn a_reader_who_leaves_ends_the_run_quietly() {
    let folder = Folder::new("head").script("yes.rhai", "loop { print(\"y\"); }");
    let mut child = folder.start(&["run", "yes.rhai"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "y\n");
    // The reader is dropped here.
    let done = Finished::from(child.wait_with_output().unwrap()).code(141);
    assert_eq!(done.stderr, "");
}

#[cfg(unix)]
mod signals {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    use super::*;

    /// Waits until the child has printed `ready`, then sends the signal.
    fn signal_when_ready(child: &mut Child, signal: Signal) {
        let mut byte = [0; 1];
        let mut line = Vec::new();
        let stdout = child.stdout.as_mut().unwrap();
        while !line.ends_with(b"ready\n") {
            assert_eq!(
                stdout.read(&mut byte).unwrap(),
                1,
                "ended before it was ready"
            );
            line.push(byte[0]);
        }
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    }

    const ENDLESS: &str = "log(#{ loss: 0.25 });\nprint(\"ready\");\nloop { }\n";

    #[test]
    fn ctrl_c_saves_what_was_learned() {
        let folder = Folder::new("ctrl-c").script("endless.rhai", ENDLESS);
        let mut child = folder.start(&["run", "endless.rhai", "--out", "out"]);
        signal_when_ready(&mut child, Signal::SIGINT);
        Finished::from(child.wait_with_output().unwrap())
            .code(130)
            .complains(&["interrupted"]);
        assert_eq!(folder.manifest("out")["status"], "interrupted");
        assert!(folder.read("out/metrics.jsonl").contains("\"loss\":0.25"));
    }

    #[test]
    fn ctrl_c_in_a_training_saves_the_model() {
        let code = "seed(1);\nlet flow = flow::rectified(#{ hidden: [8] });\nprint(\"ready\");\n\
                    let run = flow.fit(data::moons(64), #{ steps: 100_000_000, batch: 8 });\n";
        let folder = Folder::new("ctrl-c-fit").script("fit.rhai", code).script(
            "again.rhai",
            "load(\"out/models/flow.safetensors\").sample(3, #{ steps: 1 }).shape",
        );
        let mut child = folder.start(&["run", "fit.rhai", "--out", "out"]);
        signal_when_ready(&mut child, Signal::SIGINT);
        Finished::from(child.wait_with_output().unwrap()).code(130);
        assert!(
            folder.manifest("out")["files"]
                .to_string()
                .contains("models/flow.safetensors")
        );
        assert_eq!(
            folder.run(&["run", "again.rhai"]).code(0).stdout,
            "[3, 2]\n"
        );
    }

    #[test]
    fn a_scheduler_s_kill_saves_too() {
        let folder = Folder::new("sigterm").script("endless.rhai", ENDLESS);
        let mut child = folder.start(&["run", "endless.rhai", "--out", "out"]);
        signal_when_ready(&mut child, Signal::SIGTERM);
        Finished::from(child.wait_with_output().unwrap()).code(143);
        assert_eq!(folder.manifest("out")["status"], "interrupted");
    }

    #[test]
    fn ctrl_c_in_the_repl_stops_the_cell_and_not_the_program() {
        let folder = Folder::new("repl-ctrl-c");
        let mut child = folder.start(&[]);
        let mut input = stdin(&mut child);
        input
            .write_all(b"let n = 41; print(\"ready\"); loop { }\n")
            .unwrap();
        signal_when_ready(&mut child, Signal::SIGINT);
        input.write_all(b"n + 1\n").unwrap();
        drop(input);
        let done = Finished::from(child.wait_with_output().unwrap()).code(1);
        assert_eq!(done.stdout, "42\n");
        done.complains(&["interrupted"]);
    }
}

#[test]
fn a_setting_that_nobody_asked_for_is_warned_of() {
    let folder = Folder::new("unread").script("s.rhai", "arg(\"lr\", 0.5)");
    let run = folder.run(&["run", "s.rhai", "--set", "lr=0.25"]).code(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("0.25\n", ""));
    let run = folder.run(&["run", "s.rhai", "--set", "lrr=0.25"]).code(0);
    assert_eq!(run.stdout, "0.5\n");
    assert!(
        run.stderr.contains("the script never asked for `lrr`"),
        "{}",
        run.stderr
    );
}

#[test]
fn check_finds_mistakes_and_says_nothing_of_what_works() {
    let folder = Folder::new("check")
        .script("good.rhai", "let x = ones([2]);\nx.sum()\n")
        .script(
            "bad.rhai",
            "let m = flow::rectified(#{ hiden: [4] });\nm.fit(data::moons(9)).mor(3);\n",
        );
    let good = folder.run(&["check", "good.rhai"]).code(0);
    assert!(
        good.stdout.contains("no errors, no warnings"),
        "{}",
        good.stdout
    );
    let bad = folder.run(&["check", "bad.rhai"]).code(1);
    for text in [
        "bad.rhai:1:28",
        "did you mean `hidden`?",
        "bad.rhai:2:23",
        "did you mean `more`?",
    ] {
        assert!(bad.stderr.contains(text), "{text}: {}", bad.stderr);
    }
    assert!(bad.stdout.contains("2 errors"), "{}", bad.stdout);
}

#[test]
fn check_forecasts_what_a_script_costs() {
    let code = "let m = flow::rectified(#{ hidden: [8] });\nlet run = m.fit(data::moons(64), #{ steps: 1_000_000, batch: 8 });\nfor i in progress(0..1_000_000, \"own loop\") { log(#{ loss: 1.0 }); }\n";
    let folder = Folder::new("cost").script("long.rhai", code);
    let out = folder.run(&["check", "--cost", "long.rhai"]).code(0).stdout;
    let line = |label: &str| {
        out.lines()
            .find(|line| line.contains(label))
            .unwrap_or_else(|| panic!("{label}: {out}"))
    };
    assert!(line("fit").contains("1000000"), "{out}");
    assert!(line("own loop").contains("1000000"), "{out}");
    assert!(out.contains("about "), "{out}");
}

#[test]
fn the_help_of_a_script_lists_its_settings() {
    let code = "// Trains.\n// Quickly.\n\nlet lr = arg(\"lr\", 1e-3, #{ help: \"learning rate\", min: 0.0 });\nlet mode = arg(\"mode\", \"fast\", #{ allowed: [\"fast\", \"exact\"] });\nlet n = arg(\"n\", 2 * 8);\n";
    let folder = Folder::new("help-of-script").script("s.rhai", code);
    let out = folder.run(&["run", "s.rhai", "--help"]).code(0).stdout;
    for text in [
        "Trains.\nQuickly.",
        "--set lr=...    float = 1e-3",
        "learning rate; at least 0.0",
        "one of fast, exact",
        "= 2 * 8",
    ] {
        assert!(out.contains(text), "{text}: {out}");
    }
    let near = folder.run(&["run", "s.rhai", "--set", "lrr=1"]).code(0);
    assert!(
        near.stderr.contains("did you mean `--set lr=...`?"),
        "{}",
        near.stderr
    );
}

#[test]
fn the_reference_is_written_as_pages() {
    let folder = Folder::new("pages");
    folder.run(&["doc", "--html", "out"]).code(0);
    let names = folder.names("out");
    for name in [
        "index.html",
        "flow.html",
        "Tensor.html",
        "functions.html",
        "language.html",
    ] {
        assert!(names.contains(&name.to_string()), "{name}: {names:?}");
    }
    let mut links = 0;
    for name in &names {
        let page = folder.read(&format!("out/{name}"));
        assert!(
            !page.contains("src=\"http") && !page.contains("@import"),
            "{name} needs a network"
        );
        // Every link between pages leads to a page and a place on it.
        for link in page
            .split("href=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            if link.starts_with("https://arxiv.org/") {
                continue;
            }
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = folder.read(&format!("out/{file}"));
            assert!(
                place.is_empty() || target.contains(&format!("id=\"{place}\"")),
                "{name}: {link}"
            );
            links += 1;
        }
    }
    assert!(links > 300, "{links}");
    let flow = folder.read("out/flow.html");
    assert!(
        flow.contains("arxiv.org/abs/2209.03003") && flow.contains("<pre>let model"),
        "{flow}"
    );
}

#[test]
fn help_is_found_by_words() {
    let folder = Folder::new("doc-words");
    let out = folder
        .run(&["doc", "how do I train on labels"])
        .code(0)
        .stdout;
    assert!(out.contains("RectifiedFlow.fit"), "{out}");
    let out = folder.run(&["doc", "DataLoader"]).code(0).stdout;
    assert!(out.contains("data::batches"), "{out}");
}
