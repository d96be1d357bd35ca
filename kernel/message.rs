//! Messages as frames: `[identities.., <IDS|MSG>, signature, header, parent, metadata, content, buffers..]`.
//!
//! The signature is HMAC-SHA256 over the four JSON frames, compared in constant time before anything is
//! parsed. Contents are read leniently, every field has a default: clients leave out what they do not use
//! (jupyter_client's `execute_request` of old versions has no `stop_on_error`, Lab's history search no `unique`).

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

/// The version of the protocol that the kernel speaks.
pub const PROTOCOL: &str = "5.5";

const DELIMITER: &[u8] = b"<IDS|MSG>";

/// A header as it came: a parent is sent back byte for byte.
pub type Parent = Arc<[u8]>;

/// The parent of what no request has caused.
pub fn no_parent() -> Parent {
    Arc::from(b"{}".as_slice())
}

/// A request of a client.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who sent it: the frames that lead back.
    pub identities: Vec<Vec<u8>>,
    /// Its header, for the messages that answer it.
    pub header: Parent,
    /// `execute_request`, `complete_request`, ...
    pub kind: String,
    /// When the client made it, where it says so in a form that we read.
    pub date: Option<SystemTime>,
    /// The subshell that it is for; nothing for the main shell.
    pub subshell: Option<String>,
    content: Map<String, Value>,
}

impl Message {
    /// A field of the content.
    pub fn get(&self, field: &str) -> &Value {
        self.content.get(field).unwrap_or(&Value::Null)
    }

    /// A text of the content; empty where there is none.
    pub fn text(&self, field: &str) -> &str {
        self.get(field).as_str().unwrap_or("")
    }

    /// A flag of the content.
    pub fn flag(&self, field: &str, default: bool) -> bool {
        self.get(field).as_bool().unwrap_or(default)
    }

    /// A position in code points in the text of the field `of`; what is out of range is its end.
    pub fn position(&self, field: &str, of: &str) -> usize {
        let end = self.text(of).chars().count();
        let given = self
            .get(field)
            .as_u64()
            .and_then(|n| usize::try_from(n).ok());
        given.map_or(end, |position| position.min(end))
    }
}

/// Makes and checks signatures, and numbers what is sent.
pub struct Signer {
    key: Option<Hmac<Sha256>>,
    session: String,
    count: AtomicU64,
}

impl Signer {
    /// A signer with the key of the connection file; an empty key signs nothing and checks nothing.
    pub fn new(key: &str) -> Self {
        // HMAC takes keys of any length.
        let mac = Hmac::new_from_slice(key.as_bytes()).ok();
        Self {
            key: mac.filter(|_| !key.is_empty()),
            session: fresh_id(),
            count: AtomicU64::new(0),
        }
    }

    /// The message in the frames, or why they hold none.
    pub fn decode(&self, mut frames: Vec<Vec<u8>>) -> Result<Message, &'static str> {
        let delimiter = frames.iter().position(|frame| frame == DELIMITER);
        let parts = frames.split_off(delimiter.ok_or("no delimiter")?);
        let [_, signature, header, parent, metadata, content, ..] = parts.as_slice() else {
            return Err("frames are missing");
        };
        if let Some(key) = &self.key {
            let mut mac = key.clone();
            for part in [header, parent, metadata, content] {
                mac.update(part);
            }
            let signature = unhex(signature).ok_or("a signature that is no hexadecimal number")?;
            mac.verify_slice(&signature)
                .map_err(|_| "a wrong signature")?;
        }
        let fields: Map<String, Value> =
            serde_json::from_slice(header).map_err(|_| "a header that is no JSON object")?;
        // Echoed as a parent, a header without these makes Python clients fail.
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        text("msg_id").ok_or("a header without msg_id")?;
        let kind = text("msg_type").ok_or("a header without msg_type")?;
        Ok(Message {
            kind: kind.to_string(),
            date: text("date").and_then(|date| humantime::parse_rfc3339(date).ok()),
            subshell: text("subshell_id").map(str::to_string),
            content: serde_json::from_slice(content)
                .map_err(|_| "a content that is no JSON object")?,
            header: Arc::from(header.as_slice()),
            identities: frames,
        })
    }

    /// The frames of a message.
    pub fn encode(
        &self,
        mut frames: Vec<Vec<u8>>,
        kind: &str,
        parent: &[u8],
        content: &Value,
    ) -> Vec<Vec<u8>> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let header = json!({
            "msg_id": format!("{}_{number}", self.session),
            "session": self.session,
            "username": "rhapsode",
            "date": humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            "msg_type": kind,
            "version": PROTOCOL,
        });
        let parts = [
            header.to_string().into_bytes(),
            parent.to_vec(),
            b"{}".to_vec(),
            content.to_string().into_bytes(),
        ];
        let signature = self.key.as_ref().map_or(String::new(), |key| {
            let mut mac = key.clone();
            parts.iter().for_each(|part| mac.update(part));
            hex(&mac.finalize().into_bytes())
        });
        frames.push(DELIMITER.to_vec());
        frames.push(signature.into_bytes());
        frames.extend(parts);
        frames
    }
}

/// 128 random bits: no two sessions, subshells or displays have the same. No secret.
pub fn fresh_id() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word().rotate_left(32))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(signer: &Signer) -> Vec<Vec<u8>> {
        let content = json!({"code": "e\u{301}🎲x", "cursor_pos": 3});
        signer.encode(vec![b"who".to_vec()], "complete_request", b"{}", &content)
    }

    #[test]
    fn a_message_comes_back_as_it_was_sent() {
        let signer = Signer::new("key");
        let message = signer.decode(frames(&signer)).unwrap();
        assert_eq!(message.identities, [b"who"]);
        assert_eq!(message.kind, "complete_request");
        assert!(message.date.is_some());
        assert_eq!(message.position("cursor_pos", "code"), 3);
        assert_eq!(message.position("missing", "code"), 4);
        assert!(message.flag("missing", true) && message.text("missing").is_empty());
    }

    #[test]
    fn what_is_not_a_message_is_told_apart() {
        let signer = Signer::new("key");
        let with = |change: fn(&mut Vec<Vec<u8>>)| {
            let mut frames = frames(&signer);
            change(&mut frames);
            signer.decode(frames).map(|message| message.kind)
        };
        assert_eq!(with(|f| f[6].push(b' ')), Err("a wrong signature"));
        assert_eq!(
            with(|f| f[2] = b"xyz".to_vec()),
            Err("a signature that is no hexadecimal number")
        );
        assert_eq!(with(|f| f[2].truncate(20)), Err("a wrong signature"));
        assert_eq!(with(|f| f.truncate(6)), Err("frames are missing"));
        assert_eq!(with(|f| f.truncate(1)), Err("no delimiter"));
        // Without a key nothing is checked, and what is no JSON is found.
        let open = Signer::new("");
        let mut bad = frames(&open);
        bad[3] = b"[]".to_vec();
        assert_eq!(
            open.decode(bad).map(|m| m.kind),
            Err("a header that is no JSON object")
        );
        let mut bad = frames(&open);
        bad[3] = br#"{"msg_id": 3, "msg_type": "x"}"#.to_vec();
        assert_eq!(
            open.decode(bad).map(|m| m.kind),
            Err("a header without msg_id")
        );
        let mut bad = frames(&open);
        bad[6] = b"\xff".to_vec();
        assert_eq!(
            open.decode(bad).map(|m| m.kind),
            Err("a content that is no JSON object")
        );
    }

    #[test]
    fn ids_differ() {
        assert_ne!(fresh_id(), fresh_id());
        assert_eq!(fresh_id().len(), 32);
    }
}
