//! Sorts requests: cells to their shell, questions about code to the thread that answers them; interrupt,
//! shutdown and subshells are done here, at once.
//!
//! Clients send interrupt and shutdown on the control channel, older ones on shell: both are taken.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::Sender},
};

use serde_json::{Value, json};

use crate::{
    Kernel,
    execute::{Shell, Start},
    info,
    message::{Message, fresh_id},
    outbox::{Content, Outgoing, Route},
};

/// Where requests go.
pub struct Control {
    kernel: Arc<Kernel>,
    main: Shell,
    subshells: BTreeMap<String, Shell>,
    answers: Sender<Message>,
    leaving: bool,
}

impl Control {
    /// With the main shell, and who answers questions about code.
    pub fn new(kernel: Arc<Kernel>, main: Shell, answers: Sender<Message>) -> Self {
        Self {
            kernel,
            main,
            subshells: BTreeMap::new(),
            answers,
            leaving: false,
        }
    }

    /// Takes a request from the control or the shell channel.
    pub fn request(&mut self, message: Message, on_control: bool) {
        let kind = message.kind.as_str();
        if kind == "execute_request" {
            return self.execute(message);
        }
        if !on_control && !matches!(kind, "interrupt_request" | "shutdown_request") {
            // It ends only with the kernel.
            let _ = self.answers.send(message);
            return;
        }
        let outbox = Arc::clone(&self.kernel.outbox);
        outbox.status(&message.header, "busy");
        let reply = match kind {
            "kernel_info_request" => Some(("kernel_info_reply", info::reply())),
            "interrupt_request" => {
                self.kernel.interrupt();
                Some(("interrupt_reply", json!({"status": "ok"})))
            }
            "shutdown_request" => {
                self.kernel.interrupt();
                self.leaving = true;
                let restart = message.flag("restart", false);
                Some((
                    "shutdown_reply",
                    json!({"status": "ok", "restart": restart}),
                ))
            }
            "create_subshell_request" => Some(("create_subshell_reply", self.create())),
            "delete_subshell_request" => Some((
                "delete_subshell_reply",
                self.delete(message.text("subshell_id")),
            )),
            "list_subshell_request" => {
                let ids: Vec<&String> = self.subshells.keys().collect();
                Some((
                    "list_subshell_reply",
                    json!({"status": "ok", "subshell_id": ids}),
                ))
            }
            other => {
                (self.kernel.log)(&format!("nothing is known of a {other}"));
                None
            }
        };
        if let Some((kind, content)) = reply {
            let to = message.identities.clone();
            outbox.push(Outgoing {
                route: if on_control {
                    Route::Control(to)
                } else {
                    Route::Shell(to)
                },
                kind,
                parent: Arc::clone(&message.header),
                content: Content::Other(content),
            });
        }
        outbox.status(&message.header, "idle");
    }

    fn execute(&self, message: Message) {
        let shell = match &message.subshell {
            None => Some(&self.main),
            Some(id) => self.subshells.get(id),
        };
        if let Some(shell) = shell {
            return shell.execute(message);
        }
        let outbox = &self.kernel.outbox;
        outbox.status(&message.header, "busy");
        outbox.reply(&message, "execute_reply", error("no such subshell"));
        outbox.status(&message.header, "idle");
    }

    fn create(&mut self) -> Value {
        let id = fresh_id();
        match Shell::start(&self.kernel, Some(id.clone()), Start::Beside) {
            Ok(shell) => {
                self.subshells.insert(id.clone(), shell);
                json!({"status": "ok", "subshell_id": id})
            }
            Err(reason) => error(&format!("the system gives no thread: {reason}")),
        }
    }

    fn delete(&mut self, id: &str) -> Value {
        match self.subshells.remove(id) {
            Some(shell) => {
                shell.close();
                json!({"status": "ok"})
            }
            None => error("no such subshell"),
        }
    }

    /// All that had arrived when a shell asked for this is in its queue now.
    pub fn marker(&self, shell: Option<&str>) {
        let shell = match shell {
            None => Some(&self.main),
            Some(id) => self.subshells.get(id),
        };
        if let Some(shell) = shell {
            shell.marker();
        }
    }

    /// Whether a client wants the kernel to end.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whether no cell runs or waits.
    pub fn is_idle(&self) -> bool {
        self.main.is_idle() && self.subshells.values().all(Shell::is_idle)
    }
}

fn error(message: &str) -> Value {
    json!({
        "status": "error",
        "ename": "subshell",
        "evalue": message,
        "traceback": [message],
    })
}
