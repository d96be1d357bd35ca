//! `!command` and `%%bash`: commands of the shell, whose output is shown as it comes.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::{Call, Magic, Outcome, Takes};
use crate::{Diagnostic, Event, Kind, bind::io_words};

pub(super) const BASH: Magic = Magic {
    name: "bash",
    line: None,
    cell: Some(""),
    takes: Takes::Nothing,
    code: false,
    doc: "Runs the cell in bash and shows what it writes as it comes. It runs in the session's folder, reads nothing, \
          ends with an interrupt, and is an error when it fails.",
    run: bash,
};

/// How often a running command looks whether the user wants it to stop.
const POLL: Duration = Duration::from_millis(20);
/// How long an interrupted command may take to end by itself.
const GRACE: Duration = Duration::from_millis(60);
/// How long after the end of a command what it has started in the background may still write.
const REST: Duration = Duration::from_millis(500);

/// `!command`.
pub(super) fn command(call: &mut Call) -> Outcome {
    let text = call.arguments().to_string();
    run(call, if cfg!(windows) { "cmd" } else { "sh" }, &text)
}

fn bash(call: &mut Call) -> Outcome {
    let text = call.body().to_string();
    run(call, "bash", &text)
}

/// Runs a text in a shell.
fn run(call: &mut Call, shell: &str, text: &str) -> Outcome {
    let context = std::sync::Arc::clone(&call.machine.context);
    let mut command = Command::new(shell);
    command
        .arg(if shell == "cmd" { "/C" } else { "-c" })
        .arg(text)
        .current_dir(context.folder())
        .envs(context.environment().iter())
        // A command that asks would wait for ever.
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A group of its own: an interrupt reaches all that it has started, and Ctrl-C in a terminal only through us.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|error| {
        let message = format!("cannot run `{shell}`: {}", io_words(&error));
        call.wrong(Kind::Io, message)
    })?;
    let events = output_of(&mut child);
    let stop = || context.must_stop();
    let status = follow(&mut child, &events, stop, |event| context.send(event));
    match status {
        Ok(Some(status)) if status.success() => Ok(None),
        Ok(Some(status)) => Err(failed(call, status)),
        Ok(None) => Err(Diagnostic::new(Kind::Interrupted, "stopped by the user")),
        Err(error) => {
            let message = format!("cannot wait for the command: {}", io_words(&error));
            Err(call.wrong(Kind::Io, message))
        }
    }
}

fn failed(call: &Call, status: std::process::ExitStatus) -> Diagnostic {
    let message = match status.code() {
        Some(code) => format!("the command failed with exit status {code}"),
        None => format!("the command was ended: {status}"),
    };
    let mut error = call.wrong(Kind::Thrown, message);
    if status.code() == Some(127) {
        error
            .hints
            .push("status 127: there is no such command".into());
    }
    error
}

/// What a child writes, piece by piece; the channel ends when nobody can write any more.
fn output_of(child: &mut Child) -> Receiver<Event> {
    let (send, events) = sync_channel(64);
    if let Some(stdout) = child.stdout.take() {
        read(stdout, send.clone(), Event::Stdout);
    }
    if let Some(stderr) = child.stderr.take() {
        read(stderr, send, Event::Stderr);
    }
    events
}

/// Reads a pipe on a thread of its own: text goes on as soon as it is there, whole characters at a time.
fn read(mut pipe: impl Read + Send + 'static, to: SyncSender<Event>, event: fn(String) -> Event) {
    thread::spawn(move || {
        let mut bytes = vec![0; 16 << 10];
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let count = match pipe.read(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            rest.extend_from_slice(bytes.get(..count).unwrap_or(&[]));
            let whole = rest.len() - unfinished(&rest);
            let tail = rest.split_off(whole);
            let text = String::from_utf8_lossy(&rest).into_owned();
            rest = tail;
            if !text.is_empty() && to.send(event(text)).is_err() {
                return;
            }
        }
        if !rest.is_empty() {
            // Nobody may be listening any more.
            let _ = to.send(event(String::from_utf8_lossy(&rest).into_owned()));
        }
    });
}

/// How many bytes at the end are the beginning of a character that is not all there.
fn unfinished(bytes: &[u8]) -> usize {
    for length in 1..=bytes.len().min(3) {
        let byte = bytes.get(bytes.len() - length).copied().unwrap_or(0);
        let needs = match byte {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            // It goes on with the character before it.
            0x80..=0xBF => continue,
            _ => return 0,
        };
        return if needs > length { length } else { 0 };
    }
    0
}

/// Hands on what a child writes until it ends: its status, or nothing when it was stopped.
fn follow(
    child: &mut Child,
    events: &Receiver<Event>,
    stop: impl Fn() -> bool,
    send: impl Fn(Event),
) -> std::io::Result<Option<std::process::ExitStatus>> {
    let mut ended: Option<(std::process::ExitStatus, Instant)> = None;
    let mut open = true;
    loop {
        if stop() {
            end(child, events, &send)?;
            return Ok(None);
        }
        if !open {
            // The pipes are closed; the command may go on for a while.
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            thread::sleep(POLL / 4);
            continue;
        }
        match events.recv_timeout(POLL) {
            Ok(event) => send(event),
            Err(RecvTimeoutError::Disconnected) => open = false,
            Err(RecvTimeoutError::Timeout) => match ended {
                Some((status, when)) if when.elapsed() > REST => return Ok(Some(status)),
                Some(_) => {}
                None => ended = child.try_wait()?.map(|status| (status, Instant::now())),
            },
        }
    }
}

/// Ends a command and what it has started: first as Ctrl-C does, then for certain.
fn end(child: &mut Child, events: &Receiver<Event>, send: &impl Fn(Event)) -> std::io::Result<()> {
    signal(child, false);
    let since = Instant::now();
    while since.elapsed() < GRACE && child.try_wait()?.is_none() {
        if let Ok(event) = events.recv_timeout(POLL / 4) {
            send(event);
        }
    }
    signal(child, true);
    child.wait()?;
    Ok(())
}

/// Interrupts or kills the group of a child.
#[cfg(unix)]
fn signal(child: &mut Child, kill: bool) {
    use nix::{
        sys::signal::{Signal, killpg},
        unistd::Pid,
    };
    let signal = if kill {
        Signal::SIGKILL
    } else {
        Signal::SIGINT
    };
    if let Ok(id) = i32::try_from(child.id()) {
        // A group that is gone needs no signal.
        let _ = killpg(Pid::from_raw(id), signal);
    }
}

/// There are no signals: the child alone is killed, at the second call.
#[cfg(not(unix))]
fn signal(child: &mut Child, kill: bool) {
    if kill {
        // One that has ended needs nothing.
        let _ = child.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_torn() {
        for text in ["aé", "a€", "a😀"] {
            let bytes = text.as_bytes();
            for cut in 2..bytes.len() {
                assert_eq!(unfinished(&bytes[..cut]), cut - 1, "{text} {cut}");
            }
            assert_eq!(unfinished(bytes), 0, "{text}");
        }
        assert_eq!(unfinished(b""), 0);
        // What is no UTF-8 waits for nothing.
        assert_eq!(unfinished(&[0xFF, 0xFE]), 0);
        assert_eq!(unfinished(&[0x80, 0x80, 0x80, 0x80]), 0);
    }
}
