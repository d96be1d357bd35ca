//! Comms: channels that a front end opens to a part of the kernel.
//!
//! There is one target, `rhapsode.variables`: whoever opens it is sent the list of variables, again after every
//! cell that has changed it, and at any message; a panel of variables needs nothing else. What opens another
//! target (Lab's widgets do, in old notebooks) is told at once that nobody is there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use crate::{
    Kernel,
    message::{Message, no_parent},
    outbox::Content,
};

const VARIABLES: &str = "rhapsode.variables";

/// The comms that are open.
#[derive(Default)]
pub struct Comms(Mutex<Open>);

#[derive(Default)]
struct Open {
    ids: Vec<String>,
    /// What was sent last: a list that has not changed is not sent again.
    sent: Value,
}

impl Comms {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `comm_open`, `comm_msg` or `comm_close`.
    pub fn take(&self, kernel: &Kernel, message: &Message) {
        let id = message.text("comm_id").to_string();
        let send = |kind, content| {
            kernel
                .outbox
                .output(kind, &message.header, Content::Other(content));
        };
        let is_open = self.lock().ids.contains(&id);
        match message.kind.as_str() {
            "comm_open" if message.text("target_name") == VARIABLES => {
                if !is_open {
                    self.lock().ids.push(id.clone());
                }
                send("comm_msg", told(&id, &variables(kernel)));
            }
            "comm_msg" if is_open => send("comm_msg", told(&id, &variables(kernel))),
            "comm_close" => self.lock().ids.retain(|open| *open != id),
            // Nobody is there.
            _ => send("comm_close", json!({"comm_id": id, "data": {}})),
        }
    }

    /// The answer to a `comm_info_request`.
    pub fn info(&self, message: &Message) -> Value {
        let wanted = message.get("target_name").as_str();
        let ids = match wanted {
            None | Some("" | VARIABLES) => self.lock().ids.clone(),
            Some(_) => Vec::new(),
        };
        let comms: Map<String, Value> = ids
            .into_iter()
            .map(|id| (id, json!({"target_name": VARIABLES})))
            .collect();
        json!({"status": "ok", "comms": comms})
    }

    /// A cell is over: tells those who watch the variables.
    pub fn variables_changed(&self, kernel: &Kernel) {
        if self.lock().ids.is_empty() {
            return;
        }
        let now = variables(kernel);
        let mut open = self.lock();
        if open.sent != now {
            for id in &open.ids {
                let content = Content::Other(told(id, &now));
                kernel.outbox.output("comm_msg", &no_parent(), content);
            }
            open.sent = now;
        }
    }
}

fn told(id: &str, variables: &Value) -> Value {
    json!({"comm_id": id, "data": {"variables": variables}})
}

fn variables(kernel: &Kernel) -> Value {
    let row = |variable: rhapsode_script::Variable| {
        json!({
            "name": variable.name,
            "type": variable.kind,
            "summary": variable.summary,
            "bytes": variable.bytes,
        })
    };
    kernel
        .glance
        .wait()
        .variables()
        .into_iter()
        .map(row)
        .collect()
}
