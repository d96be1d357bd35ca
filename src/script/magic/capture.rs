//! `%%capture`: keeps what a cell prints and shows.

use rhai::{Dynamic, NativeCallContext};

use super::{Call, Magic, Outcome, Takes};
use crate::{
    Display, Event, Kind,
    context::{self, Context},
    library::Library,
    value::Object,
};

pub(super) const CAPTURE: Magic = Magic {
    name: "capture",
    line: None,
    cell: Some("[NAME]"),
    takes: Takes::Words,
    code: true,
    doc: "Runs a cell and keeps what it prints and shows. With a name it becomes a variable: `NAME.stdout`, \
          `NAME.stderr`, and `NAME.show()` shows all of it. The cell's last value is kept, too.",
    run: capture,
};

/// One piece of output.
#[derive(Clone)]
enum Piece {
    Stdout(String),
    Stderr(String),
    Display(Display),
}

/// What a cell has printed and shown.
#[derive(Clone, Default)]
pub(crate) struct Captured(Vec<Piece>);

impl Captured {
    /// Keeps an event, or gives back one that is none of its business.
    pub fn take(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Stdout(text) => match self.0.last_mut() {
                Some(Piece::Stdout(before)) => before.push_str(&text),
                _ => self.0.push(Piece::Stdout(text)),
            },
            Event::Stderr(text) => match self.0.last_mut() {
                Some(Piece::Stderr(before)) => before.push_str(&text),
                _ => self.0.push(Piece::Stderr(text)),
            },
            Event::Display(display) => self.0.push(Piece::Display(display)),
            Event::UpdateDisplay(display) => self.update(display),
            Event::Clear { .. } => self.0.clear(),
            // A bar is no result; without an owner it would stay on the screen.
            Event::Progress(_) => {}
            other => return Some(other),
        }
        None
    }

    fn update(&mut self, display: Display) {
        for piece in &mut self.0 {
            if let Piece::Display(shown) = piece
                && shown.id == display.id
            {
                *shown = display.clone();
            }
        }
    }

    /// What was printed, of one of the two streams.
    fn written(&self, of: fn(&Piece) -> Option<&str>) -> String {
        self.0.iter().filter_map(of).collect()
    }

    fn stdout(&self) -> String {
        self.written(|piece| match piece {
            Piece::Stdout(text) => Some(text),
            _ => None,
        })
    }

    fn stderr(&self) -> String {
        self.written(|piece| match piece {
            Piece::Stderr(text) => Some(text),
            _ => None,
        })
    }

    fn displays(&self) -> usize {
        let is_display = |piece: &&Piece| matches!(piece, Piece::Display(_));
        self.0.iter().filter(is_display).count()
    }

    /// Prints and shows all of it.
    fn replay(&self, context: &Context) {
        for piece in &self.0 {
            context.send(match piece.clone() {
                Piece::Stdout(text) => Event::Stdout(text),
                Piece::Stderr(text) => Event::Stderr(text),
                // A display that is shown twice cannot be updated in both places.
                Piece::Display(display) => Event::Display(Display {
                    id: None,
                    ..display
                }),
            });
        }
    }
}

impl Object for Captured {
    const NAME: &'static str = "Captured";

    fn text(&self) -> String {
        format!("Captured: {}", self.summary())
    }

    fn summary(&self) -> String {
        let lines = |text: String| text.lines().count();
        format!(
            "{} lines of output, {} of errors, {} displays",
            lines(self.stdout()),
            lines(self.stderr()),
            self.displays()
        )
    }

    fn bytes(&self) -> Option<u64> {
        let of = |piece: &Piece| match piece {
            Piece::Stdout(text) | Piece::Stderr(text) => text.len(),
            Piece::Display(display) => display.forms.iter().map(|(_, form)| form.len()).sum(),
        };
        Some(self.0.iter().map(of).sum::<usize>() as u64)
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Binds what it makes.
pub(crate) fn bind(library: &mut Library) {
    library.object::<Captured>("What a cell with `%%capture name` has printed and shown.");
    library
        .property::<Captured>("stdout", "string", "What was printed.")
        .call(|it: &mut Captured| -> String { it.stdout() });
    library
        .property::<Captured>("stderr", "string", "What was written to standard error.")
        .call(|it: &mut Captured| -> String { it.stderr() });
    library
        .method::<Captured>(
            "show",
            "()",
            r#"
            Prints and shows all of it again.

            ```rhai,no_run
            output.show();   // after a cell that begins with `%%capture output`
            ```
            "#,
        )
        .call(
            |call: NativeCallContext, it: &mut Captured| -> crate::bind::Outcome<()> {
                it.replay(&*context::of_call(&call)?);
                Ok(())
            },
        );
}

fn capture(call: &mut Call) -> Outcome {
    let name = call.arguments().to_string();
    let mut letters = name.chars();
    let is_name = letters.next().is_none_or(|c| c.is_alphabetic() || c == '_')
        && letters.all(|c| c.is_alphanumeric() || c == '_');
    if !is_name {
        let message = format!("`%%capture` takes the name of a variable, got `{name}`");
        return Err(call.wrong(Kind::Value, message));
    }
    let context = std::sync::Arc::clone(&call.machine.context);
    context.capture();
    let outcome = call.run_body();
    if let Ok(Some(value)) = &outcome
        && let Some(display) = call.machine.display(value)
    {
        context.send(Event::Display(display));
    }
    let captured = context.release();
    if let Err(error) = outcome {
        // What led to the error would be lost.
        captured.replay(&context);
        return Err(error);
    }
    if !name.is_empty() {
        call.machine.define(&name, Dynamic::from(captured));
    }
    Ok(None)
}
