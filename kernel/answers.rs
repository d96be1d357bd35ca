//! Answers what a front end asks about code while cells run: completion, help, whether a cell is complete, the
//! history, comms. On a thread of its own: neither a training nor a long piece of code delays an interrupt.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc::Receiver},
};

use rhapsode_script::{Completeness, Completion};
use serde_json::{Value, json};

use crate::{Kernel, info, message::Message, page};

/// Answers requests until the kernel ends.
pub fn run(kernel: &Arc<Kernel>, requests: &Receiver<Message>) {
    while let Ok(message) = requests.recv() {
        kernel.outbox.status(&message.header, "busy");
        let answered = catch_unwind(AssertUnwindSafe(|| answer(kernel, &message)));
        match answered {
            Ok(Some((kind, content))) => kernel.outbox.reply(&message, kind, content),
            Ok(None) => {}
            Err(_) => (kernel.log)(&format!("a defect: a {} was not answered", message.kind)),
        }
        kernel.outbox.status(&message.header, "idle");
    }
}

fn answer(kernel: &Kernel, message: &Message) -> Option<(&'static str, Value)> {
    Some(match message.kind.as_str() {
        "kernel_info_request" => ("kernel_info_reply", info::reply()),
        "complete_request" => ("complete_reply", complete(kernel, message)),
        "inspect_request" => ("inspect_reply", inspect(kernel, message)),
        "is_complete_request" => ("is_complete_reply", is_complete(kernel, message)),
        "history_request" => ("history_reply", kernel.history.reply(message)),
        "comm_info_request" => ("comm_info_reply", kernel.comms.info(message)),
        "comm_open" | "comm_msg" | "comm_close" => {
            kernel.comms.take(kernel, message);
            return None;
        }
        other => {
            (kernel.log)(&format!("nothing is known of a {other}"));
            return None;
        }
    })
}

fn complete(kernel: &Kernel, message: &Message) -> Value {
    let cursor = message.position("cursor_pos", "code");
    let found = kernel.glance.wait().complete(message.text("code"), cursor);
    let texts: Vec<&str> = found.items.iter().map(|item| item.text.as_str()).collect();
    // IPython's addition to the protocol: Lab shows the types beside the names.
    let typed = |item: &Completion| {
        json!({
            "text": item.text,
            "type": item.kind,
            "signature": item.detail,
            "start": found.start,
            "end": found.end,
        })
    };
    let types: Vec<Value> = found.items.iter().map(typed).collect();
    json!({
        "status": "ok",
        "matches": texts,
        "cursor_start": found.start,
        "cursor_end": found.end,
        "metadata": {"_jupyter_types_experimental": types},
    })
}

fn inspect(kernel: &Kernel, message: &Message) -> Value {
    let cursor = message.position("cursor_pos", "code");
    let help = kernel.glance.wait().inspect(message.text("code"), cursor);
    let data = help.as_ref().map_or_else(
        || json!({}),
        |help| json!({"text/plain": help.text, "text/html": page::html(&help.markdown)}),
    );
    json!({"status": "ok", "found": help.is_some(), "data": data, "metadata": {}})
}

fn is_complete(kernel: &Kernel, message: &Message) -> Value {
    match kernel.glance.wait().is_complete(message.text("code")) {
        Completeness::Complete => json!({"status": "complete"}),
        Completeness::Incomplete(indent) => {
            json!({"status": "incomplete", "indent": " ".repeat(indent)})
        }
        Completeness::Invalid => json!({"status": "invalid"}),
    }
}
