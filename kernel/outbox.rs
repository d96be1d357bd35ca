//! Everything that leaves the kernel, in one ordered queue: a reply never overtakes its outputs, and `idle`
//! comes last.
//!
//! Text of one stream and request is gathered in one message, and an update of a display replaces the one
//! that still waits, so that a loop of 100,000 prints makes a few dozen messages. A lone text or update
//! waits until 20 ms after the last message for more of its kind; anything behind it releases it at once.
//! Above 64 MiB the cell that prints waits; the wire thread itself never does.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    message::{Message, Parent},
    waker::Waker,
};

/// Bytes that may wait.
const ROOM: usize = 64 << 20;
/// A text is not gathered beyond this.
const PIECE: usize = 1 << 20;
/// A text of this size does not wait for more.
const ENOUGH: usize = 64 << 10;
/// How long after the last message a lone text waits.
pub const PACE: Duration = Duration::from_millis(20);

/// Where a message goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// To all who listen.
    Iopub,
    /// To one client.
    Shell(Vec<Vec<u8>>),
    /// To one client.
    Control(Vec<Vec<u8>>),
    /// To one client, as a question.
    Stdin(Vec<Vec<u8>>),
    /// To nobody: the wire thread reads all that has arrived, then tells this shell.
    Marker(Option<String>),
}

/// A message that waits.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where it goes.
    pub route: Route,
    /// Its type.
    pub kind: &'static str,
    /// The header of the request that caused it.
    pub parent: Parent,
    /// What it says.
    pub content: Content,
}

/// What a message says.
#[derive(Clone, Debug)]
pub enum Content {
    /// Text of `stdout` or `stderr`.
    Text(&'static str, String),
    /// The new state of a display.
    Update(String, Value),
    /// Anything else.
    Other(Value),
}

impl Content {
    /// As JSON.
    pub fn json(self) -> Value {
        match self {
            Content::Text(name, text) => json!({"name": name, "text": text}),
            Content::Update(_, value) | Content::Other(value) => value,
        }
    }
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<(Outgoing, usize)>,
    bytes: usize,
    closed: bool,
}

/// The queue.
pub struct Outbox {
    queue: Mutex<Queue>,
    room: Condvar,
    /// Ends the poll of the wire thread.
    pub waker: Waker,
}

impl Outbox {
    /// An empty queue.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            queue: Mutex::default(),
            room: Condvar::new(),
            waker: Waker::new()?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues output of a cell; waits while too much is queued.
    pub fn output(&self, kind: &'static str, parent: &Parent, content: Content) {
        let mut queue = self.lock();
        while queue.bytes > ROOM && !queue.closed {
            queue = self
                .room
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(queue);
        self.push(Outgoing {
            route: Route::Iopub,
            kind,
            parent: Arc::clone(parent),
            content,
        });
    }

    /// Queues a message at once.
    pub fn push(&self, message: Outgoing) {
        let size = size(&message.content);
        let mut queue = self.lock();
        let Queue {
            messages, bytes, ..
        } = &mut *queue;
        match messages.back_mut() {
            Some((last, last_size))
                if last.route == message.route && last.parent == message.parent =>
            {
                match (&mut last.content, message.content) {
                    (Content::Text(name, text), Content::Text(new, more))
                        if *name == new && text.len() < PIECE =>
                    {
                        text.push_str(&more);
                        *last_size += more.len();
                        *bytes += more.len();
                    }
                    (Content::Update(id, value), Content::Update(new, newer)) if *id == new => {
                        *value = newer;
                        *bytes = *bytes + size - *last_size;
                        *last_size = size;
                    }
                    (_, content) => {
                        *bytes += size;
                        messages.push_back((Outgoing { content, ..message }, size));
                    }
                }
            }
            _ => {
                *bytes += size;
                messages.push_back((message, size));
            }
        }
        drop(queue);
        self.waker.wake();
    }

    /// The execution state around a request.
    pub fn status(&self, parent: &Parent, state: &str) {
        self.push(Outgoing {
            route: Route::Iopub,
            kind: "status",
            parent: Arc::clone(parent),
            content: Content::Other(json!({"execution_state": state})),
        });
    }

    /// The answer to a request that came on the shell channel.
    pub fn reply(&self, request: &Message, kind: &'static str, content: Value) {
        self.push(Outgoing {
            route: Route::Shell(request.identities.clone()),
            kind,
            parent: Arc::clone(&request.header),
            content: Content::Other(content),
        });
    }

    /// Whether anything waits.
    pub fn is_waiting(&self) -> bool {
        !self.lock().messages.is_empty()
    }

    /// The next message; a lone text or update only when the last message left long enough ago.
    pub fn pop(&self, last: Instant) -> Option<Outgoing> {
        let mut queue = self.lock();
        let alone = queue.messages.len() == 1;
        let (first, _) = queue.messages.front()?;
        let may_grow = match &first.content {
            Content::Text(_, text) => text.len() < ENOUGH,
            Content::Update(..) => true,
            Content::Other(_) => false,
        };
        if alone && may_grow && !queue.closed && last.elapsed() < PACE {
            return None;
        }
        let (message, size) = queue.messages.pop_front()?;
        queue.bytes = queue.bytes.saturating_sub(size);
        drop(queue);
        self.room.notify_all();
        Some(message)
    }

    /// Nobody needs to wait any more: the kernel ends.
    pub fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
        self.waker.wake();
    }
}

/// Bytes that a message takes, roughly: of large contents the texts count.
fn size(content: &Content) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(of).sum(),
            Value::Object(map) => map.iter().map(|(key, value)| key.len() + of(value)).sum(),
            _ => 8,
        }
    }
    match content {
        Content::Text(_, text) => text.len(),
        Content::Update(_, value) | Content::Other(value) => of(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::no_parent;

    fn text(outbox: &Outbox, name: &'static str, text: &str) {
        outbox.output("stream", &no_parent(), Content::Text(name, text.into()));
    }

    fn update(outbox: &Outbox, id: &str, state: i32) {
        let content = Content::Update(id.into(), json!(state));
        outbox.output("update_display_data", &no_parent(), content);
    }

    /// All that waits, as JSON.
    fn all(outbox: &Outbox) -> Vec<Value> {
        outbox.close();
        let now = Instant::now();
        std::iter::from_fn(|| outbox.pop(now))
            .map(|message| message.content.json())
            .collect()
    }

    #[test]
    fn texts_are_gathered_and_updates_replaced() {
        let outbox = Outbox::new().unwrap();
        for (name, piece) in [
            ("stdout", "a"),
            ("stdout", "b"),
            ("stderr", "c"),
            ("stdout", "d"),
        ] {
            text(&outbox, name, piece);
        }
        for (id, state) in [("x", 1), ("x", 2), ("y", 3), ("x", 4)] {
            update(&outbox, id, state);
        }
        let texts = ["ab", "c", "d"]
            .into_iter()
            .zip(["stdout", "stderr", "stdout"]);
        let mut expected: Vec<Value> = texts
            .map(|(text, name)| json!({"name": name, "text": text}))
            .collect();
        expected.extend([json!(2), json!(3), json!(4)]);
        assert_eq!(all(&outbox), expected);
    }

    #[test]
    fn a_lone_text_waits_for_more_and_anything_behind_releases_it() {
        let outbox = Outbox::new().unwrap();
        text(&outbox, "stdout", "a");
        let now = Instant::now();
        assert!(outbox.pop(now).is_none() && outbox.is_waiting());
        outbox.status(&no_parent(), "idle");
        assert!(outbox.pop(now).is_some());
        assert!(outbox.pop(now).is_some());
        text(&outbox, "stdout", &"x".repeat(ENOUGH));
        assert!(outbox.pop(Instant::now()).is_some());
    }

    #[test]
    fn a_cell_that_prints_too_much_waits_until_there_is_room() {
        let outbox = Arc::new(Outbox::new().unwrap());
        let printer = Arc::clone(&outbox);
        let cell = std::thread::spawn(move || {
            for _ in 0..300 {
                text(&printer, "stdout", &"x".repeat(PIECE));
            }
        });
        let (mut bytes, mut most) = (0, 0);
        while bytes < 300 * PIECE {
            most = most.max(outbox.lock().bytes);
            if let Some(Outgoing {
                content: Content::Text(_, text),
                ..
            }) = outbox.pop(Instant::now())
            {
                bytes += text.len();
            }
        }
        cell.join().unwrap();
        assert!(most <= ROOM + 2 * PIECE, "{most}");
        assert!(!outbox.is_waiting() && outbox.lock().bytes == 0);
    }
}
