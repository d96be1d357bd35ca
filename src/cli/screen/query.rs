//! Asks the terminal what it can: writes a question to it and waits a moment for the answer.

/// Pixels of a character cell's width where the terminal does not say.
pub const CELL_WIDTH: usize = 9;

/// Kitty graphics? Size of a cell? Device attributes? Every terminal answers the last one, so its
/// answer ends the wait.
#[cfg(unix)]
const QUESTION: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c";

/// How long to wait for more of an answer, in tenths of a second: enough for a connection around the world.
#[cfg(unix)]
const PATIENCE: u8 = 4;

/// The terminal's answer, if it gives one in time.
#[cfg(unix)]
pub fn ask() -> Option<String> {
    use std::{fs::OpenOptions, io::Write};

    use nix::sys::termios::{SetArg, SpecialCharacterIndices, cfmakeraw, tcgetattr, tcsetattr};

    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .ok()?;
    let before = tcgetattr(&terminal).ok()?;
    let mut raw = before.clone();
    cfmakeraw(&mut raw);
    // The terminal's own timer, as macOS cannot poll a terminal.
    for (index, value) in [
        (SpecialCharacterIndices::VMIN, 0),
        (SpecialCharacterIndices::VTIME, PATIENCE),
    ] {
        *raw.control_chars.get_mut(index as usize)? = value;
    }
    tcsetattr(&terminal, SetArg::TCSANOW, &raw).ok()?;
    let asked = terminal.write_all(QUESTION).and_then(|()| terminal.flush());
    let answer = asked.ok().and_then(|()| read_answer(&mut terminal));
    // Nothing can be done about a terminal that does not take its settings back.
    let _ = tcsetattr(&terminal, SetArg::TCSANOW, &before);
    answer
}

/// Reads until the answer about the device attributes is there, or nothing more comes.
#[cfg(unix)]
fn read_answer(terminal: &mut impl std::io::Read) -> Option<String> {
    let mut answer = Vec::new();
    let mut buffer = [0; 256];
    // What is typed meanwhile is read, too; an answer is much shorter than this.
    while answer.len() < 4096 {
        let count = terminal.read(&mut buffer).ok().filter(|&count| count > 0)?;
        answer.extend_from_slice(buffer.get(..count)?);
        let text = String::from_utf8_lossy(&answer);
        if let Some(start) = text.find("\x1b[?")
            && let Some(end) = text.get(start..).and_then(|rest| rest.find('c'))
        {
            return text.get(..=start + end).map(str::to_string);
        }
    }
    None
}

/// Elsewhere terminals are not asked: figures are drawn with characters.
#[cfg(not(unix))]
pub fn ask() -> Option<String> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_answer_ends_with_the_device_attributes_even_in_pieces() {
        let mut pieces = (b"\x1b[6;20;".as_slice())
            .chain(b"9t\x1b[?62".as_slice())
            .chain(b";4cx".as_slice());
        assert_eq!(
            read_answer(&mut pieces).as_deref(),
            Some("\x1b[6;20;9t\x1b[?62;4c")
        );
    }

    #[test]
    fn silence_and_rubbish_are_no_answer() {
        assert_eq!(read_answer(&mut b"".as_slice()), None);
        assert_eq!(read_answer(&mut std::io::repeat(b'x')), None);
    }
}
