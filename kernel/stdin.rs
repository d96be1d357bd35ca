//! Questions to the user: a cell waits for the `input_reply` of the client that runs it.
//!
//! jupyter_client gives a client's shell and stdin sockets one identity, so the question goes to the
//! identity of the execute request. Its answers name no question; the newest one of that client is meant.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender};

use crate::message::{Message, Parent};

/// The questions that are open.
#[derive(Default)]
pub struct Questions(Mutex<Vec<Question>>);

struct Question {
    /// Who was asked.
    identities: Vec<Vec<u8>>,
    /// Which cell asks.
    cell: Parent,
    reply: Sender<Option<String>>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Vec<Question>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers who waits for the answer of the client that runs a cell.
    pub fn ask(&self, cell: &Message, reply: Sender<Option<String>>) {
        self.lock().push(Question {
            identities: cell.identities.clone(),
            cell: Arc::clone(&cell.header),
            reply,
        });
    }

    /// Forgets a cell's questions: it is over.
    pub fn forget(&self, cell: &Message) {
        self.lock().retain(|question| question.cell != cell.header);
    }

    /// Hands an answer to who waits for it; one that nobody waits for is dropped.
    pub fn answer(&self, message: &Message) {
        if message.kind != "input_reply" {
            return;
        }
        let mut questions = self.lock();
        let newest = questions
            .iter()
            .rposition(|question| question.identities == message.identities);
        if let Some(at) = newest {
            let question = questions.remove(at);
            // The cell may have been interrupted meanwhile.
            let _ = question.reply.send(Some(message.text("value").to_string()));
        }
    }
}
