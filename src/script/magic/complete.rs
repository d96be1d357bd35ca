//! Completion, help under the cursor and colours in cells with magics: what is code is answered as code.

use super::{
    ALL, Magic, Takes, find, help,
    scan::{Found, Head, Part, Room, code_ranges, only, parts},
};
use crate::{
    Completion, Completions, Help, Token, TokenKind,
    cell::Machine,
    complete::{complete_code, files, inspect_code},
};

/// Where a cursor stands.
struct Place {
    /// In bytes.
    cursor: usize,
    parts: Vec<Part>,
}

impl Place {
    /// Nothing where the cell has no magics.
    fn of(machine: &Machine, code: &str, cursor: usize) -> Option<Self> {
        let parts = parts(code, &|name| super::is_known(machine, name))?;
        let cursor = code
            .char_indices()
            .nth(cursor)
            .map_or(code.len(), |(at, _)| at);
        Some(Self { cursor, parts })
    }

    /// The magic on whose lines the cursor stands.
    fn magic(&self) -> Option<&Found> {
        self.parts.iter().find_map(|part| match part {
            Part::Magic(found) => {
                let start = found.sign.start.min(found.name.start);
                let end = found.arguments.end.max(found.sign.end).max(found.body.end);
                (start..=end).contains(&self.cursor).then_some(found)
            }
            Part::Code(_) => None,
        })
    }

    /// The code around the cursor, with spaces for everything else.
    fn code(&self, code: &str) -> Option<String> {
        let own = |part: &Part| match part {
            Part::Code(range) => Some(range.clone()),
            Part::Magic(found) => found.code(code),
        };
        let ranges = self.parts.iter().filter_map(own);
        // Behind the end of a piece one still types it.
        let around = ranges.filter(|range| (range.start..=range.end + 1).contains(&self.cursor));
        let around: Vec<_> = around.collect();
        (!around.is_empty()).then(|| only(code, &around, Room::Columns))
    }
}

/// Ways to go on typing at the cursor (in code points), where magics have a say.
pub(crate) fn complete(machine: &Machine, code: &str, cursor: usize) -> Option<Completions> {
    if let Some(names) = names(code, cursor) {
        return Some(names);
    }
    let place = Place::of(machine, code, cursor)?;
    if let Some(code) = place.code(code) {
        return Some(complete_code(machine, &code, cursor));
    }
    let Some(found) = place.magic() else {
        return Some(Completions::default());
    };
    let before = code.get(..place.cursor).unwrap_or("");
    let magic = find(code.get(found.name.clone()).unwrap_or(""));
    let takes = magic.map_or(Takes::Words, |magic| magic.takes);
    Some(match (found.head, takes) {
        (Head::Shell, _) | (_, Takes::File | Takes::Folder) => {
            paths(machine, before, cursor, takes)
        }
        (Head::Help, _) => {
            let name = std::slice::from_ref(&found.name);
            complete_code(machine, &only(code, name, Room::Columns), cursor)
        }
        _ => Completions::default(),
    })
}

/// The names of magics, where one is being typed.
fn names(code: &str, cursor: usize) -> Option<Completions> {
    let byte = code
        .char_indices()
        .nth(cursor)
        .map_or(code.len(), |(at, _)| at);
    let before = code.get(..byte)?;
    let line = before
        .get(before.rfind('\n').map_or(0, |at| at + 1)..)?
        .trim_start();
    let help = line.strip_prefix('?').unwrap_or(line);
    let typed = help.trim_start_matches('%');
    let signs = help.len() - typed.len();
    let is_name = typed.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_name || !(1..=2).contains(&signs) {
        return None;
    }
    let item = |magic: &Magic, signs: &str, usage: &str| Completion {
        text: format!("{signs}{}", magic.name),
        kind: "magic",
        detail: format!("{usage}  {}", magic.summary())
            .trim_start()
            .to_string(),
    };
    let fitting = ALL.iter().filter(|magic| magic.name.starts_with(typed));
    let mut items = Vec::new();
    for magic in fitting {
        if let Some(usage) = magic.line.filter(|_| signs == 1) {
            items.push(item(magic, "%", usage));
        }
        if let Some(usage) = magic.cell {
            items.push(item(magic, "%%", usage));
        }
    }
    Some(Completions {
        start: cursor - help.chars().count(),
        end: cursor,
        items,
    })
}

/// Files for the word before the cursor.
fn paths(machine: &Machine, before: &str, cursor: usize, takes: Takes) -> Completions {
    let word = before
        .rsplit(|c: char| c.is_whitespace() || "\"'=".contains(c))
        .next();
    let word = word.unwrap_or("");
    let name = word.rsplit('/').next().unwrap_or("");
    let folder = word.get(..word.len() - name.len()).unwrap_or("");
    let folder = super::session::home(folder);
    let mut items = files(&machine.context, &folder);
    items.retain(|item| {
        item.text.starts_with(name) && (takes != Takes::Folder || item.text.ends_with('/'))
    });
    Completions {
        start: cursor - name.chars().count(),
        end: cursor,
        items,
    }
}

/// Help on what is under the cursor (in code points), in a cell with magics.
pub(crate) fn inspect(machine: &Machine, code: &str, cursor: usize) -> Option<Option<Help>> {
    let place = Place::of(machine, code, cursor)?;
    if let Some(found) = place.magic()
        && matches!(found.head, Head::Line | Head::Cell)
        && place.cursor <= found.sign.end
    {
        return Some(help(code.get(found.sign.clone())?).and_then(Result::ok));
    }
    if let Some(found) = place.magic().filter(|found| found.head == Head::Help) {
        let name = only(code, std::slice::from_ref(&found.name), Room::Columns);
        return Some(inspect_code(machine, &name, cursor));
    }
    Some(
        place
            .code(code)
            .and_then(|code| inspect_code(machine, &code, cursor)),
    )
}

/// The code of a cell with spaces for its magics, byte for byte, and colours for their signs and names.
pub(crate) fn highlight(code: &str) -> Option<(String, Vec<Token>)> {
    let found = parts(code, &|_| false)?;
    let heads = found.iter().filter_map(|part| match part {
        Part::Magic(found) => Some(Token {
            start: found.sign.start,
            end: found.sign.end,
            kind: TokenKind::Keyword,
        }),
        Part::Code(_) => None,
    });
    Some((
        only(code, &code_ranges(code, &found), Room::Bytes),
        heads.collect(),
    ))
}
