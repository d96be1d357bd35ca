//! Keys that lay out a cell of several lines: Enter, Tab and the closing brace.

use rustyline::{Cmd, ConditionalEventHandler, Event, EventContext, RepeatCount};

use super::{helper::Shared, input::missing};

/// One step of indentation.
const INDENT: &str = "    ";

/// Enter in an unfinished cell begins an indented line.
pub struct Enter(pub Shared);

impl ConditionalEventHandler for Enter {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, ctx: &EventContext) -> Option<Cmd> {
        let at_end = ctx
            .line()
            .get(ctx.pos()..)
            .is_some_and(|rest| rest.trim().is_empty());
        let indent = missing(&self.0.session(), ctx.line()).filter(|_| at_end)?;
        Some(Cmd::Insert(1, format!("\n{}", " ".repeat(indent))))
    }
}

/// Tab at the start of a line of a cell indents it.
pub struct Tab;

impl ConditionalEventHandler for Tab {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, ctx: &EventContext) -> Option<Cmd> {
        let (_, line) = ctx.line().get(..ctx.pos())?.rsplit_once('\n')?;
        line.trim()
            .is_empty()
            .then(|| Cmd::Insert(1, INDENT.to_string()))
    }
}

/// A closing brace at the start of an indented line goes back by one indentation. No command of the
/// editor both deletes and leaves the cursor behind what it inserts, except completion: see `helper::Language`.
pub struct CloseBrace;

impl ConditionalEventHandler for CloseBrace {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, ctx: &EventContext) -> Option<Cmd> {
        closing_brace(ctx.line().get(..ctx.pos())?).map(|_| Cmd::Complete)
    }
}

/// Where a closing brace belongs that is typed behind this text, if that is an indented empty line.
pub fn closing_brace(typed: &str) -> Option<usize> {
    let (_, line) = typed.rsplit_once('\n')?;
    let outer = line
        .strip_suffix(INDENT)
        .filter(|_| line.trim().is_empty())?;
    Some(typed.len() - line.len() + outer.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_brace_goes_back_by_one_step_in_an_empty_line() {
        assert_eq!(closing_brace("fn f() {\n    "), Some(9));
        assert_eq!(closing_brace("if a {\n    if b {\n        "), Some(22));
        assert_eq!(closing_brace("fn f() {\n    1 "), None);
        assert_eq!(closing_brace("fn f() {\n"), None);
        assert_eq!(closing_brace("    "), None);
    }
}
