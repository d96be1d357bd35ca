//! How many characters a drawing may take: the front end knows, the cell that draws asks.

use std::cell::Cell;

/// Columns and rows where no front end has told any.
pub(crate) const DEFAULT: [usize; 2] = [80, 22];

thread_local! {
    // A cell runs on a thread of its own, which is told when it begins.
    static ROOM: Cell<[usize; 2]> = const { Cell::new(DEFAULT) };
}

/// Runs a cell that may draw in so many columns and rows.
pub(crate) fn with<R>(room: [usize; 2], cell: impl FnOnce() -> R) -> R {
    ROOM.set(room);
    cell()
}

/// The columns and rows that a drawing may take here.
pub(crate) fn room() -> [usize; 2] {
    ROOM.get()
}

/// The room for a drawing in a terminal of so many columns and rows: as wide as it, of the shape of a figure, and with
/// lines left for what was typed.
pub(crate) fn of_terminal(columns: usize, rows: usize) -> [usize; 2] {
    let columns = columns.clamp(20, 240);
    let shape = columns * DEFAULT[1] / DEFAULT[0];
    [
        columns,
        shape.clamp(10, 50).min(rows.saturating_sub(3).max(10)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_fit_terminals() {
        assert_eq!(of_terminal(80, 25), [80, 22]);
        assert_eq!(of_terminal(80, 24), [80, 21]);
        assert_eq!(of_terminal(200, 60), [200, 50]);
        assert_eq!(of_terminal(10, 3), [20, 10]);
        assert_eq!(of_terminal(usize::MAX, usize::MAX), [240, 50]);
    }
}
