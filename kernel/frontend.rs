//! What a running cell tells, as messages with the header of its request as parent.

use rhapsode_script::{Display, Event, Frontend, ProgressState};
use serde_json::{Map, Value, json};

use crate::{
    Kernel,
    message::Message,
    outbox::{Content, Outgoing, Route},
    progress::{Bars, Shown},
};

/// The front end of one cell.
pub struct Output<'a> {
    kernel: &'a Kernel,
    request: &'a Message,
    bars: Bars,
    /// What `%load` has put into the next cell.
    pub next_input: Option<String>,
}

impl<'a> Output<'a> {
    /// For the cell of a request.
    pub fn new(kernel: &'a Kernel, request: &'a Message) -> Self {
        Self {
            kernel,
            request,
            bars: Bars::new(kernel.display_prefix()),
            next_input: None,
        }
    }

    /// The cell is over: what still runs ended so, and nobody is asked any more.
    pub fn end(mut self, state: ProgressState) {
        for shown in self.bars.close(state) {
            self.show(shown);
        }
        self.kernel.questions.forget(self.request);
    }

    fn send(&self, kind: &'static str, content: Content) {
        self.kernel
            .outbox
            .output(kind, &self.request.header, content);
    }

    fn show(&self, shown: Shown) {
        let Shown { display, update } = shown;
        match update {
            true => self.update(&display),
            false => self.display(&display),
        }
    }

    fn display(&self, display: &Display) {
        self.send("display_data", Content::Other(content(display)));
    }

    fn update(&self, display: &Display) {
        let id = display.id.clone().unwrap_or_default();
        self.send("update_display_data", Content::Update(id, content(display)));
    }
}

impl Frontend for Output<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Stdout(text) => self.send("stream", Content::Text("stdout", text)),
            Event::Stderr(text) => self.send("stream", Content::Text("stderr", text)),
            Event::Display(display) => self.display(&display),
            Event::UpdateDisplay(display) => self.update(&display),
            Event::Clear { wait } => {
                self.send("clear_output", Content::Other(json!({"wait": wait})));
            }
            Event::Progress(progress) => {
                if let Some(shown) = self.bars.update(progress) {
                    self.show(shown);
                }
            }
            Event::Record(record) => self.bars.record(&record),
            Event::NextInput(text) => self.next_input = Some(text),
            Event::Input {
                prompt,
                password,
                reply,
            } => {
                if !self.request.flag("allow_stdin", false) {
                    // The asking cell may have been stopped; then nobody waits for the answer.
                    let _ = reply.send(None);
                    return;
                }
                self.kernel.questions.ask(self.request, reply);
                self.kernel.outbox.push(Outgoing {
                    route: Route::Stdin(self.request.identities.clone()),
                    kind: "input_request",
                    parent: self.request.header.clone(),
                    content: Content::Other(json!({"prompt": prompt, "password": password})),
                });
            }
        }
    }
}

/// The content of `display_data` and `update_display_data`.
fn content(display: &Display) -> Value {
    let transient = match &display.id {
        Some(id) => json!({"display_id": id}),
        None => json!({}),
    };
    json!({"data": bundle(display), "metadata": {}, "transient": transient})
}

/// The forms of a display by their types: JSON as JSON, all else as text. A drawing in coloured characters is for
/// terminals alone.
pub fn bundle(display: &Display) -> Value {
    let form = |(mime, content): &(String, String)| {
        let is_json = mime == "application/json" || mime.ends_with("+json");
        let parsed = is_json
            .then(|| serde_json::from_str(content).ok())
            .flatten();
        let value = parsed.unwrap_or_else(|| Value::String(content.clone()));
        (mime.clone(), value)
    };
    let forms = display
        .forms
        .iter()
        .filter(|(mime, _)| mime != "text/x-ansi");
    Value::Object(forms.map(form).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_out_as_json() {
        let display = Display::text("x")
            .with("application/vnd.vegalite.v5+json", r#"{"mark": "bar"}"#)
            .with("application/json", "no json")
            .with("image/svg+xml", "<svg/>");
        let expected = json!({
            "text/plain": "x",
            "application/vnd.vegalite.v5+json": {"mark": "bar"},
            "application/json": "no json",
            "image/svg+xml": "<svg/>",
        });
        assert_eq!(bundle(&display), expected);
    }
}
