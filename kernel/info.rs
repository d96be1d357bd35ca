//! What the kernel says about itself.

use serde_json::{Value, json};

use crate::message::PROTOCOL;

/// The content of `kernel_info_reply`.
///
/// CodeMirror has no mode for Rhai: of all that were tried `javascript` colours most of it, back-ticks with
/// `${}` included. For Pygments `typescript` does, which is always there; the wheel brings a lexer of our own, and its
/// kernelspec says so in the environment.
pub fn reply() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let lexer = std::env::var("RHAPSODE_PYGMENTS_LEXER").unwrap_or_else(|_| "typescript".into());
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
            "pygments_lexer": lexer,
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
