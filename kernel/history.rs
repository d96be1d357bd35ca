//! What was run, kept across restarts: a line of JSON a cell, in one file for all kernels of a user.
//!
//! The file is read when a client asks, so a long session holds none of it in memory. Each line is written by
//! one call, so that kernels side by side do not mix theirs.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Log, message::Message};

/// A file that has grown beyond this loses its older half when a kernel starts.
const LARGEST: u64 = 16 << 20;
/// Bytes of an output that are kept.
const OUTPUT: usize = 16 << 10;

/// One cell.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Entry {
    session: u64,
    line: u64,
    input: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<String>,
}

/// The history of a kernel.
pub struct History {
    path: Option<PathBuf>,
    log: Log,
    // Opened with the first cell.
    open: Mutex<Option<Open>>,
}

struct Open {
    file: File,
    session: u64,
}

impl History {
    /// In a file; without one nothing is kept.
    pub fn new(path: Option<PathBuf>, log: Log) -> Self {
        Self {
            path,
            log,
            open: Mutex::default(),
        }
    }

    /// Does something with the file and the number of this session; opens it if need be.
    fn with<R>(&self, work: impl FnOnce(&mut Open, &Path) -> R) -> Option<R> {
        let path = self.path.as_deref()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            match Open::new(path) {
                Ok(fresh) => *open = Some(fresh),
                Err(error) => {
                    (self.log)(&format!("no history: {}: {error}", path.display()));
                    return None;
                }
            }
        }
        Some(work(open.as_mut()?, path))
    }

    /// Remembers a cell.
    pub fn add(&self, line: usize, input: &str, output: Option<&str>) {
        let log = &self.log;
        self.with(|open, _| {
            let entry = Entry {
                session: open.session,
                line: line as u64,
                input: input.to_string(),
                output: output.map(|text| text.chars().take(OUTPUT).collect()),
            };
            let text = json!(entry).to_string() + "\n";
            if let Err(error) = open.file.write_all(text.as_bytes()) {
                log(&format!("a cell is missing in the history: {error}"));
            }
        });
    }

    /// The answer to a `history_request`.
    pub fn reply(&self, request: &Message) -> Value {
        let found = self.with(|open, path| select(read(path), open.session, request));
        let with_output = request.flag("output", false);
        let row = |entry: Entry| match with_output {
            true => json!([entry.session, entry.line, [entry.input, entry.output]]),
            false => json!([entry.session, entry.line, entry.input]),
        };
        let rows: Vec<Value> = found.unwrap_or_default().into_iter().map(row).collect();
        json!({"status": "ok", "history": rows})
    }
}

impl Open {
    fn new(path: &Path) -> std::io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        // What is typed may be a secret.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        if file.metadata()?.len() > LARGEST {
            return Self::shortened(path, &options);
        }
        let session = read(path).last().map_or(0, |entry| entry.session) + 1;
        Ok(Self { file, session })
    }

    /// The newer half of a file that has become too large.
    fn shortened(path: &Path, options: &OpenOptions) -> std::io::Result<Self> {
        let entries = read(path);
        let kept = entries.get(entries.len() / 2..).unwrap_or(&[]);
        let text: String = kept
            .iter()
            .map(|entry| json!(entry).to_string() + "\n")
            .collect();
        rhapsode_script::write_atomic(path, text.as_bytes()).map_err(std::io::Error::other)?;
        let session = kept.last().map_or(0, |entry| entry.session) + 1;
        Ok(Self {
            file: options.open(path)?,
            session,
        })
    }
}

/// All entries; a line that is none, as a crash may leave it, is passed over.
fn read(path: &Path) -> Vec<Entry> {
    let mut bytes = Vec::new();
    // A file that cannot be read has no entries.
    let _ = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    let lines = bytes.split(|&byte| byte == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// The entries that a request wants. Clients leave fields out: `n`, `unique`, `stop`.
fn select(mut entries: Vec<Entry>, session: u64, request: &Message) -> Vec<Entry> {
    let number = |field: &str| request.get(field).as_i64();
    let mut most = number("n").and_then(|n| usize::try_from(n).ok());
    match request.text("hist_access_type") {
        "range" => {
            // 0 is this session, -1 the one before it.
            let given = number("session").unwrap_or(0);
            let wanted = if given > 0 {
                given
            } else {
                session as i64 + given
            };
            let lines = number("start").unwrap_or(0)..number("stop").unwrap_or(i64::MAX);
            entries.retain(|e| e.session as i64 == wanted && lines.contains(&(e.line as i64)));
            most = None;
        }
        "search" => {
            let pattern = request.text("pattern");
            entries.retain(|entry| matches(pattern, &entry.input));
            if request.flag("unique", false) {
                // The newest of each.
                let mut seen = HashSet::new();
                entries.reverse();
                entries.retain(|entry| seen.insert(entry.input.clone()));
                entries.reverse();
            }
        }
        _ => {}
    }
    if let Some(most) = most {
        entries.drain(..entries.len().saturating_sub(most));
    }
    entries
}

/// Whether a text is like a pattern with `*` for anything and `?` for one character.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how far it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&character) = text.get(t) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == character => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, eaten)) => {
                    star = Some((at, eaten + 1));
                    p = at + 1;
                    t = eaten + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|&c| c == '*'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::Signer;

    fn request(content: Value) -> Message {
        let signer = Signer::new("");
        signer
            .decode(signer.encode(Vec::new(), "history_request", b"{}", &content))
            .unwrap()
    }

    /// The inputs that a request finds.
    fn inputs(history: &History, content: Value) -> Vec<String> {
        let reply = history.reply(&request(content));
        let rows = reply["history"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row[2].as_str().unwrap().to_string())
            .collect()
    }

    #[test]
    fn a_history_outlives_its_kernel() {
        let folder = std::env::temp_dir().join(format!("rhapsode-{}", crate::message::fresh_id()));
        let path = folder.join("history.jsonl");
        let open = || History::new(Some(path.clone()), Arc::new(|_: &str| {}));
        let first = open();
        first.add(1, "let x = 1;", None);
        first.add(2, "x", Some("1"));
        drop(first);
        // What a crash in the middle of a line leaves.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"session\": 1, \"li\n").unwrap();
        let second = open();
        second.add(1, "x", Some("1"));
        assert_eq!(
            inputs(&second, json!({"hist_access_type": "tail", "n": 2})),
            ["x", "x"]
        );
        assert_eq!(
            inputs(&second, json!({"hist_access_type": "tail"})).len(),
            3
        );
        let range = |session| json!({"hist_access_type": "range", "session": session, "start": 1, "stop": 3});
        assert_eq!(inputs(&second, range(0)), ["x"]);
        assert_eq!(inputs(&second, range(-1)), ["let x = 1;", "x"]);
        assert_eq!(inputs(&second, range(1)), ["let x = 1;", "x"]);
        let search =
            |unique| json!({"hist_access_type": "search", "pattern": "*x", "unique": unique});
        assert_eq!(inputs(&second, search(false)), ["x", "x"]);
        assert_eq!(inputs(&second, search(true)), ["x"]);
        let reply = second.reply(&request(
            json!({"hist_access_type": "tail", "n": 1, "output": true}),
        ));
        assert_eq!(reply["history"], json!([[2, 1, ["x", "1"]]]));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn patterns_have_stars_and_question_marks() {
        let cases = [
            ("*", "anything", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*ab*ab", "abxab", true),
            ("", "", true),
            ("", "x", false),
            ("*é🎲", "caf é🎲", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
