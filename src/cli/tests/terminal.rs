//! The REPL in a terminal: typing, completing, interrupting, leaving.

#![cfg(unix)]

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use nix::{
    pty::openpty,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A program that says nothing for so long hangs; what it does in time is not measured here.
const HANGS: Duration = Duration::from_secs(120);

/// The program at the far end of a terminal.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What was shown and not yet waited for.
    shown: String,
}

impl Terminal {
    fn start() -> Self {
        let pty = openpty(None, None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("terminal");
        std::fs::create_dir_all(&folder).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_rhapsode"))
            .current_dir(&folder)
            .env("XDG_DATA_HOME", &folder)
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        let keyboard = File::from(pty.master.try_clone().unwrap());
        let mut output = File::from(pty.master);
        let (send, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            keyboard,
            screen,
            shown: String::new(),
        }
    }

    fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until a text is shown, and forgets all up to its end.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return;
            }
            let more = self.screen.recv_timeout(HANGS);
            let more = more.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.shown));
            self.shown.push_str(&plain(&String::from_utf8_lossy(&more)));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have left already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A text without the sequences that move the cursor and colour.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\x1b' {
            out.push(c);
        } else if chars.next() == Some('[') {
            chars.by_ref().find(char::is_ascii_alphabetic);
        }
    }
    out
}

#[test]
fn a_dialogue() {
    let mut terminal = Terminal::start();
    terminal.expect("[1]> ");
    terminal.type_keys("let alphabet = 41;\r");
    terminal.expect("[2]> ");
    terminal.type_keys("alphab\t");
    terminal.expect("alphabet");
    terminal.type_keys(" + 1\r");
    terminal.expect("\n42\r\n");
    terminal.expect("[3]> ");
    terminal.type_keys("print(\"go\"); loop { }\r");
    terminal.expect("\ngo\r\n");
    let id = Pid::from_raw(i32::try_from(terminal.child.id()).unwrap());
    kill(id, Signal::SIGINT).unwrap();
    terminal.expect("interrupted");
    terminal.expect("[4]> ");
    // At the prompt Ctrl-C clears the line and the session goes on.
    terminal.type_keys("alphabet + \x03");
    terminal.expect("[4]> ");
    terminal.type_keys("?view\r");
    terminal.expect("`view` is `Tensor.reshape` here.");
    terminal.expect("[5]> ");
    terminal.type_keys("\x04");
    assert!(terminal.child.wait().unwrap().success());
}
