//! A shell: a queue of cells and the thread that runs them one after the other. There is the main one, and
//! one for every subshell (JEP 91), over the same variables.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant, SystemTime},
};

use rhapsode_script::{Diagnostic, Display, InterruptHandle, Kind, ProgressState, Session};
use serde_json::{Map, Value, json};

use crate::{
    Kernel,
    frontend::{Output, bundle},
    message::Message,
    outbox::{Content, Outgoing, Route},
    wire::spawn,
};

/// How long after an error cells are dropped that were sent before it.
///
/// "Run all" sends its cells one by one; the kernel has answered the first with an error before the second has
/// arrived. What carries a later date than the error may come from a client that has seen it, and is run.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Where a shell's session comes from.
pub enum Start {
    /// Made by this on the shell's own thread: it takes a moment, and the kernel answers meanwhile.
    Main(Box<dyn FnOnce() -> Session + Send>),
    /// Beside the main one.
    Beside,
}

/// The handle of a shell.
pub struct Shell {
    work: Sender<Work>,
    state: Arc<State>,
    kernel: Arc<Kernel>,
    id: u64,
}

enum Work {
    Execute(Box<Message>),
    /// All that had arrived when it was asked for stands before it.
    Marker,
}

#[derive(Default)]
struct State {
    /// Cells that run or wait.
    cells: AtomicUsize,
    closed: AtomicBool,
}

impl Shell {
    /// Starts the thread of a shell.
    pub fn start(kernel: &Arc<Kernel>, name: Option<String>, start: Start) -> io::Result<Self> {
        let (work, queue) = channel();
        let state = Arc::new(State::default());
        let id = kernel.new_shell();
        let (shared, own) = (Arc::clone(kernel), Arc::clone(&state));
        let thread = if name.is_some() { "subshell" } else { "shell" };
        spawn(thread, move || {
            let session = match start {
                Start::Main(make) => {
                    let session = make();
                    // Set once: there is one main shell.
                    let _ = shared.glance.set(session.glance());
                    session
                }
                Start::Beside => shared.glance.wait().session(),
            };
            shared.add_interrupt(id, session.interrupt_handle());
            let mut runner = Runner {
                kernel: shared,
                session,
                queue,
                state: own,
                name,
                payload: Vec::new(),
                failed: None,
            };
            runner.run();
        })?;
        Ok(Self {
            work,
            state,
            kernel: Arc::clone(kernel),
            id,
        })
    }

    /// Queues a cell.
    pub fn execute(&self, message: Message) {
        self.state.cells.fetch_add(1, Ordering::SeqCst);
        // The thread ends only with the kernel.
        let _ = self.work.send(Work::Execute(Box::new(message)));
    }

    /// Tells the shell that all which had arrived is queued.
    pub fn marker(&self) {
        let _ = self.work.send(Work::Marker);
    }

    /// Whether no cell runs or waits.
    pub fn is_idle(&self) -> bool {
        self.state.cells.load(Ordering::SeqCst) == 0
    }

    /// Ends the shell: its cell is interrupted, what waits is aborted.
    pub fn close(self) {
        self.state.closed.store(true, Ordering::SeqCst);
        if let Some(handle) = self.kernel.remove_interrupt(self.id) {
            handle.interrupt();
        }
    }
}

/// The thread of a shell.
struct Runner {
    kernel: Arc<Kernel>,
    session: Session,
    queue: Receiver<Work>,
    state: Arc<State>,
    name: Option<String>,
    /// What the reply to the running cell asks the front end to do.
    payload: Vec<Value>,
    /// When a cell failed that asked for an end of the queue.
    failed: Option<(Instant, SystemTime)>,
}

impl Runner {
    fn run(&mut self) {
        while let Ok(work) = self.queue.recv() {
            let Work::Execute(message) = work else {
                continue;
            };
            if self.state.closed.load(Ordering::SeqCst) || self.is_late(&message) {
                self.abort(&message);
            } else {
                self.execute(&message);
            }
        }
    }

    /// Whether a cell was sent before the error of an earlier one, and has only now arrived.
    fn is_late(&self, message: &Message) -> bool {
        self.failed.is_some_and(|(at, when)| {
            at.elapsed() < AFTER_ERROR && message.date.is_some_and(|date| date <= when)
        })
    }

    fn abort(&self, message: &Message) {
        let outbox = &self.kernel.outbox;
        outbox.status(&message.header, "busy");
        let count = self.kernel.count.load(Ordering::SeqCst);
        let content = json!({"status": "aborted", "execution_count": count});
        outbox.reply(message, "execute_reply", content);
        outbox.status(&message.header, "idle");
        self.state.cells.fetch_sub(1, Ordering::SeqCst);
    }

    fn execute(&mut self, message: &Message) {
        let kernel = Arc::clone(&self.kernel);
        // From here on an interrupt is meant for this cell.
        self.session.prepare();
        kernel.outbox.status(&message.header, "busy");
        let code = message.text("code");
        let silent = message.flag("silent", false);
        let store = message.flag("store_history", !silent) && !silent && !code.trim().is_empty();
        let count =
            kernel.count.fetch_add(usize::from(store), Ordering::SeqCst) + usize::from(store);
        if !silent {
            let content = json!({"code": code, "execution_count": count});
            kernel
                .outbox
                .output("execute_input", &message.header, Content::Other(content));
        }
        kernel.tell_of_crash(message);
        self.payload.clear();
        let outcome = match question(code) {
            // Front ends show it in their pager; Lab below the cell.
            Some(name) => kernel.glance.wait().help(name).map(|help| {
                let data = json!({"text/plain": help.text, "text/markdown": help.markdown});
                self.payload
                    .push(json!({"source": "page", "start": 0, "data": data}));
                None
            }),
            // A cell that is not counted must not pass for the one that was counted last.
            None if store => self.cell(message, &format!("cell {count}"), code),
            None => self.cell(message, "uncounted cell", code),
        };
        let mut shown = None;
        let mut reply = match &outcome {
            Ok(display) => {
                if let Some(display) = display.as_ref().filter(|_| !silent) {
                    let content =
                        json!({"execution_count": count, "data": bundle(display), "metadata": {}});
                    kernel.outbox.output(
                        "execute_result",
                        &message.header,
                        Content::Other(content),
                    );
                    shown = Some(display.plain().to_string());
                }
                json!({"status": "ok", "user_expressions": self.expressions(message)})
            }
            Err(error) => {
                kernel
                    .outbox
                    .output("error", &message.header, Content::Other(told(error)));
                with_status(told(error))
            }
        };
        if let Some(fields) = reply.as_object_mut() {
            fields.insert("execution_count".into(), count.into());
            fields.insert("payload".into(), std::mem::take(&mut self.payload).into());
        }
        if store {
            kernel.history.add(count, code, shown.as_deref());
        }
        self.failed = None;
        let mut dropped = Vec::new();
        if outcome.is_err() && message.flag("stop_on_error", true) {
            dropped = self.queued();
            self.failed = Some((Instant::now(), SystemTime::now()));
        }
        kernel.outbox.reply(message, "execute_reply", reply);
        kernel.outbox.status(&message.header, "idle");
        kernel.comms.variables_changed(&kernel);
        self.state.cells.fetch_sub(1, Ordering::SeqCst);
        dropped.iter().for_each(|message| self.abort(message));
    }

    /// Runs code for a request. A panic of ours outside of the cell is an error as well.
    fn cell(
        &mut self,
        message: &Message,
        name: &str,
        code: &str,
    ) -> Result<Option<Display>, Diagnostic> {
        let mut io = Output::new(&self.kernel, message);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.session.execute_as(name, code, &mut io)
        }));
        let outcome = outcome.unwrap_or_else(|_| {
            Err(Diagnostic::new(
                Kind::Internal,
                "a defect of the kernel; the session goes on",
            ))
        });
        if let Some(text) = io.next_input.take() {
            // Behind the cell: in its place would be what asked for the text.
            self.payload
                .push(json!({"source": "set_next_input", "text": text, "replace": false}));
        }
        let interrupted = matches!(&outcome, Err(error) if error.kind == Kind::Interrupted);
        io.end(if interrupted {
            ProgressState::Interrupted
        } else {
            ProgressState::Failed
        });
        outcome
    }

    /// The values of the expressions that the client wants to know after the cell.
    fn expressions(&mut self, message: &Message) -> Value {
        let mut values = Map::new();
        let wanted = message.get("user_expressions").as_object();
        for (name, code) in wanted.into_iter().flatten() {
            let outcome = self.cell(
                message,
                &format!("expression {name}"),
                code.as_str().unwrap_or(""),
            );
            let value = match outcome {
                Ok(display) => {
                    let display = display.unwrap_or_else(|| Display::text("()"));
                    json!({"status": "ok", "data": bundle(&display), "metadata": {}})
                }
                Err(error) => with_status(told(&error)),
            };
            values.insert(name.clone(), value);
        }
        Value::Object(values)
    }

    /// Takes all cells out of the queue that had arrived before this was called.
    fn queued(&self) -> Vec<Message> {
        self.kernel.outbox.push(Outgoing {
            route: Route::Marker(self.name.clone()),
            kind: "",
            parent: crate::message::no_parent(),
            content: Content::Other(Value::Null),
        });
        let mut messages = Vec::new();
        while let Ok(Work::Execute(message)) = self.queue.recv() {
            messages.push(*message);
        }
        messages
    }
}

/// The name in a cell that asks for nothing but help: `?name` or `name?`.
fn question(code: &str) -> Option<&str> {
    let code = code.trim();
    let asked = code.strip_prefix('?').or_else(|| code.strip_suffix('?'))?;
    let name = asked.trim_matches(['?', ' ']);
    let is_name = |c: char| c.is_alphanumeric() || "_:.".contains(c);
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// An error as messages tell it.
fn told(error: &Diagnostic) -> Value {
    let lines = error.render(true);
    let lines: Vec<&str> = lines.lines().collect();
    json!({"ename": error.kind.name(), "evalue": error.message, "traceback": lines})
}

/// The same in a reply.
fn with_status(mut told: Value) -> Value {
    if let Some(fields) = told.as_object_mut() {
        fields.insert("status".into(), "error".into());
    }
    told
}

/// Stops the cells of all shells.
#[derive(Default)]
pub struct Interrupts(Vec<(u64, InterruptHandle)>);

impl Interrupts {
    /// A shell is there.
    pub fn add(&mut self, shell: u64, handle: InterruptHandle) {
        self.0.push((shell, handle));
    }

    /// A shell is gone.
    pub fn remove(&mut self, shell: u64) -> Option<InterruptHandle> {
        let at = self.0.iter().position(|(id, _)| *id == shell)?;
        Some(self.0.remove(at).1)
    }

    /// Interrupts whatever runs.
    pub fn interrupt(&self) {
        self.0.iter().for_each(|(_, handle)| handle.interrupt());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_name_with_a_question_mark() {
        let cases = [
            ("?flow::rectified", Some("flow::rectified")),
            (" linspace? ", Some("linspace")),
            ("??Tensor.sum", Some("Tensor.sum")),
            ("?", None),
            ("a + b?", None),
            ("?a\nb", None),
            ("linspace", None),
        ];
        for (code, name) in cases {
            assert_eq!(question(code), name, "{code}");
        }
    }
}
