//! What the kernel says about itself.

use serde_json::{Value, json};

use crate::message::PROTOCOL;

/// The content of `kernel_info_reply`.
///
/// CodeMirror has no mode for Rhai: of all that were tried `javascript` colours most of it, back-ticks with
/// `${}` included. For Pygments `typescript` does; the wheel brings a lexer of our own.
pub fn reply() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "status": "ok",
        "protocol_version": PROTOCOL,
        "implementation": "rhapsode",
        "implementation_version": version,
        "language_info": {
            "name": "rhai",
            "version": version,
            "mimetype": "text/x-rhai",
            "file_extension": ".rhai",
            "pygments_lexer": "typescript",
            "codemirror_mode": "javascript",
        },
        "banner": format!("Rhapsode {version}: experiments with generative and sequence models. `help()` lists what there is."),
        "debugger": false,
        "help_links": [
            {"text": "The Rhai language", "url": "https://rhai.rs/book/"},
        ],
        "supported_features": ["kernel subshells"],
    })
}
