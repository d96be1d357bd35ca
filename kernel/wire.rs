//! The wire thread: it alone touches the sockets. It polls them, sorts what comes, and sends what the outbox
//! holds. What takes longer than a moment happens elsewhere, so that an interrupt is never behind it.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    Log,
    connection::Sockets,
    control::Control,
    message::{Message, Signer},
    outbox::{Outbox, Outgoing, PACE, Route},
    parent::ParentProcess,
    stdin::Questions,
};

/// How long running cells may take to stop when the kernel is asked to leave.
const FAREWELL: Duration = Duration::from_millis(500);

/// All that the wire thread works with.
pub struct Wire {
    /// Where messages come from and go to.
    pub sockets: Sockets,
    /// Signs and checks them.
    pub signer: Signer,
    /// What is to be sent.
    pub outbox: Arc<Outbox>,
    /// Who takes the requests.
    pub control: Control,
    /// Who waits for an answer of the user.
    pub questions: Arc<Questions>,
    /// Where dropped messages are told.
    pub log: Log,
    /// The process that started the kernel, when it wants the kernel to end with it.
    pub parent: ParentProcess,
}

impl Wire {
    /// Works until a client wants the kernel to leave or its parent is gone.
    pub fn run(mut self) {
        let mut sent = Instant::now();
        let mut leaving: Option<Instant> = None;
        loop {
            self.outbox.waker.clear();
            let markers = self.flush(&mut sent);
            match leaving {
                Some(since) if self.control.is_idle() || since.elapsed() > FAREWELL => break,
                None if self.control.is_leaving() => leaving = Some(Instant::now()),
                _ => {}
            }
            if self.parent.is_gone() {
                (self.log)("the process that started the kernel is gone");
                break;
            }
            let ready = match self.poll(sent, !markers.is_empty(), leaving.is_some()) {
                Ok(ready) => ready,
                // A signal.
                Err(_) => continue,
            };
            self.read(ready);
            for shell in markers {
                self.control.marker(shell.as_deref());
            }
        }
        self.outbox.close();
        self.flush(&mut sent);
    }

    /// Sends what waits; gives the shells that want to know when all that has arrived is read.
    fn flush(&mut self, sent: &mut Instant) -> Vec<Option<String>> {
        let mut markers = Vec::new();
        while let Some(message) = self.outbox.pop(*sent) {
            let Outgoing {
                route,
                kind,
                parent,
                content,
            } = message;
            let (socket, frames) = match route {
                Route::Iopub => (
                    &self.sockets.iopub,
                    vec![format!("kernel.{kind}").into_bytes()],
                ),
                Route::Shell(to) => (&self.sockets.shell, to),
                Route::Control(to) => (&self.sockets.control, to),
                Route::Stdin(to) => (&self.sockets.stdin, to),
                Route::Marker(shell) => {
                    markers.push(shell);
                    continue;
                }
            };
            let frames = self.signer.encode(frames, kind, &parent, &content.json());
            // A client that has gone gets no reply.
            if let Err(error) = socket.send_multipart(frames, 0) {
                (self.log)(&format!("a {kind} was not sent: {error}"));
            }
            *sent = Instant::now();
        }
        markers
    }

    /// Waits until something comes: which of shell, control, stdin, iopub.
    fn poll(&self, sent: Instant, at_once: bool, leaving: bool) -> zmq::Result<[bool; 4]> {
        let sockets = &self.sockets;
        let all = [
            &sockets.shell,
            &sockets.control,
            &sockets.stdin,
            &sockets.iopub,
        ];
        let mut items = Vec::from(all.map(|socket| socket.as_poll_item(zmq::POLLIN)));
        items.push(zmq::PollItem::from_fd(self.outbox.waker.fd(), zmq::POLLIN));
        let pace = PACE.saturating_sub(sent.elapsed()).as_millis() as i64 + 1;
        let wait = match () {
            () if at_once => 0,
            () if self.outbox.is_waiting() => pace,
            () if leaving => PACE.as_millis() as i64,
            () => self
                .parent
                .patience()
                .map_or(-1, |wait| wait.as_millis() as i64),
        };
        zmq::poll(&mut items, wait)?;
        let mut ready = [false; 4];
        for (flag, item) in ready.iter_mut().zip(&items) {
            *flag = item.is_readable();
        }
        Ok(ready)
    }

    /// Reads all that has come. Control first: an interrupt must not be behind a heap of cells.
    fn read(&mut self, [shell, control, stdin, iopub]: [bool; 4]) {
        if iopub {
            self.welcome();
        }
        if control {
            for message in self.received(&self.sockets.control) {
                self.control.request(message, true);
            }
        }
        if stdin {
            for message in self.received(&self.sockets.stdin) {
                self.questions.answer(&message);
            }
        }
        if shell {
            for message in self.received(&self.sockets.shell) {
                self.control.request(message, false);
            }
        }
    }

    /// The messages that a socket holds; what is none is dropped and told.
    fn received(&self, socket: &zmq::Socket) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Ok(frames) = socket.recv_multipart(zmq::DONTWAIT) {
            match self.signer.decode(frames) {
                Ok(message) => messages.push(message),
                Err(reason) => (self.log)(&format!("a message was dropped: {reason}")),
            }
        }
        messages
    }

    /// Greets those who begin to listen: from then on they miss nothing (JEP 65).
    fn welcome(&self) {
        // All of them: the socket tells of new ones only once.
        while let Ok(frame) = self.sockets.iopub.recv_bytes(zmq::DONTWAIT) {
            let Some((1, topic)) = frame.split_first() else {
                continue;
            };
            let content = json!({"subscription": String::from_utf8_lossy(topic)});
            let frames = self
                .signer
                .encode(vec![topic.to_vec()], "iopub_welcome", b"{}", &content);
            if let Err(error) = self.sockets.iopub.send_multipart(frames, 0) {
                (self.log)(&format!("a welcome was not sent: {error}"));
            }
        }
    }
}

/// A thread of the kernel.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
}
