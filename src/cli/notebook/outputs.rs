//! What a cell does, as the outputs that a notebook keeps.

use std::collections::BTreeMap;

use rhapsode_kernel::{Bars, Shown, bundle};
use rhapsode_script::{Diagnostic, Display, Event, ProgressState};
use serde_json::{Value, json};

/// Bytes that a cell may print: a notebook keeps all of it, and a browser lays it out.
const MOST_TEXT: usize = 1 << 20;

/// The outputs of one cell, in order.
pub struct Outputs {
    list: Vec<Value>,
    /// Where the display of an id stands.
    places: BTreeMap<String, usize>,
    bars: Bars,
    /// Clear before the next output.
    clear_next: bool,
    /// Bytes printed, and whether that was too much.
    printed: usize,
    cut: bool,
}

impl Outputs {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            list: Vec::new(),
            places: BTreeMap::new(),
            bars: Bars::new("bar".into()),
            clear_next: false,
            printed: 0,
            cut: false,
        }
    }

    /// Takes what a notebook keeps of an event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Stdout(text) | Event::NextInput(text) => self.print("stdout", text),
            Event::Stderr(text) => self.print("stderr", text),
            Event::Display(display) => self.display(display, "display_data", None),
            Event::UpdateDisplay(display) => self.update(display),
            Event::Clear { wait } => {
                self.clear_next = true;
                if !wait {
                    self.clear();
                }
            }
            Event::Progress(progress) => {
                let shown = self.bars.update(progress.clone());
                self.bar(shown);
            }
            Event::Record(record) => self.bars.record(record),
            Event::Input { .. } => {}
        }
    }

    /// The value of the cell.
    pub fn result(&mut self, display: &Display, count: u64) {
        self.display(display, "execute_result", Some(count));
    }

    /// What went wrong.
    pub fn error(&mut self, error: &Diagnostic) {
        let text = error.render(true);
        let lines: Vec<&str> = text.lines().collect();
        self.push(json!({
            "output_type": "error",
            "ename": error.kind.name(),
            "evalue": error.message,
            "traceback": lines,
        }));
    }

    /// The cell is over: bars that still run ended so. Gives all outputs.
    pub fn end(mut self, state: ProgressState) -> Vec<Value> {
        self.close_bars(state);
        self.list
    }

    /// Bars that still run ended so: before the error that ended them is shown.
    pub fn close_bars(&mut self, state: ProgressState) {
        for shown in self.bars.close(state) {
            self.bar(Some(shown));
        }
    }

    fn bar(&mut self, shown: Option<Shown>) {
        match shown {
            Some(Shown {
                display,
                update: true,
            }) => self.update(&display),
            Some(Shown { display, .. }) => self.display(&display, "display_data", None),
            None => {}
        }
    }

    fn print(&mut self, name: &str, text: &str) {
        if self.cut {
            return;
        }
        let room = MOST_TEXT.saturating_sub(self.printed);
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let kept = text.get(..end).unwrap_or("");
        self.printed += kept.len();
        self.cut = kept.len() < text.len();
        let note = match self.cut {
            true => "\n… (cut after 1 MiB: write long texts to a file)\n",
            false => "",
        };
        let kept = format!("{kept}{note}");
        if !self.clear_next
            && let Some(last) = self.list.last_mut()
            && last.get("output_type") == Some(&"stream".into())
            && last.get("name") == Some(&name.into())
            && let Some(Value::String(before)) = last.get_mut("text")
        {
            before.push_str(&kept);
            return;
        }
        self.push(json!({ "output_type": "stream", "name": name, "text": kept }));
    }

    fn display(&mut self, display: &Display, kind: &str, count: Option<u64>) {
        let mut output = json!({ "output_type": kind, "data": bundle(display), "metadata": {} });
        if let Some(count) = count {
            output["execution_count"] = json!(count);
        }
        self.push(output);
        if let Some(id) = &display.id {
            self.places.insert(id.clone(), self.list.len() - 1);
        }
    }

    fn update(&mut self, display: &Display) {
        let place = display.id.as_ref().and_then(|id| self.places.get(id));
        if let Some(output) = place.and_then(|place| self.list.get_mut(*place)) {
            output["data"] = bundle(display);
        }
    }

    fn push(&mut self, output: Value) {
        if self.clear_next {
            self.clear();
        }
        self.list.push(output);
    }

    fn clear(&mut self) {
        self.clear_next = false;
        self.list.clear();
        self.places.clear();
    }
}

#[cfg(test)]
mod tests {
    use rhapsode_script::Progress;

    use super::*;

    fn texts(outputs: Vec<Value>) -> Vec<String> {
        let text = |output: &Value| match output["output_type"].as_str() {
            Some("stream") => output["text"].as_str().unwrap().to_string(),
            _ => output["data"]["text/plain"].as_str().unwrap().to_string(),
        };
        outputs.iter().map(text).collect()
    }

    #[test]
    fn text_is_joined_and_displays_are_updated_in_place() {
        let mut outputs = Outputs::new();
        let shown = |text: &str, id: &str| Display {
            id: Some(id.into()),
            ..Display::text(text)
        };
        outputs.event(&Event::Stdout("a\n".into()));
        outputs.event(&Event::Stdout("b\n".into()));
        outputs.event(&Event::Display(shown("one", "x")));
        outputs.event(&Event::Stdout("c\n".into()));
        outputs.event(&Event::UpdateDisplay(shown("two", "x")));
        outputs.result(&Display::text("3").with("text/x-ansi", "3"), 7);
        let list = outputs.end(ProgressState::Finished);
        assert_eq!(list[3]["execution_count"], 7);
        assert_eq!(list[3]["data"], json!({ "text/plain": "3" }));
        assert_eq!(texts(list), ["a\nb\n", "two", "c\n", "3"]);
    }

    #[test]
    fn clearing_may_wait_for_what_comes() {
        let mut outputs = Outputs::new();
        outputs.event(&Event::Stdout("a".into()));
        outputs.event(&Event::Clear { wait: true });
        outputs.event(&Event::Stdout("b".into()));
        outputs.event(&Event::Stdout("c".into()));
        assert_eq!(texts(outputs.list.clone()), ["bc"]);
        outputs.event(&Event::Clear { wait: false });
        assert!(outputs.end(ProgressState::Finished).is_empty());
    }

    #[test]
    fn a_bar_is_one_output_that_ends() {
        let mut outputs = Outputs::new();
        let progress = |step| Progress {
            id: 3,
            label: "fit".into(),
            step,
            total: Some(9),
            metrics: vec![("loss".into(), 0.5)],
            state: ProgressState::Running,
        };
        for step in 1..9 {
            outputs.event(&Event::Progress(progress(step)));
        }
        let list = outputs.end(ProgressState::Interrupted);
        assert_eq!(list.len(), 1);
        let html = list[0]["data"]["text/html"].as_str().unwrap();
        assert!(html.contains("interrupted at step 8 of 9"), "{html}");
    }

    #[test]
    fn too_much_text_is_cut_with_a_note() {
        let mut outputs = Outputs::new();
        for _ in 0..3 {
            outputs.event(&Event::Stdout("ä".repeat(400_000)));
        }
        let text = texts(outputs.end(ProgressState::Finished)).concat();
        assert!(text.len() < MOST_TEXT + 100 && text.ends_with("to a file)\n"));
    }
}
